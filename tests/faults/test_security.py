"""The security checklist as checks, row by row (Sec1–Sec18). What other tests show already is named in
promises/security.toml."""

from __future__ import annotations

import ast
import base64
import gzip
import hashlib
import io
import json
import logging
import os
import re
import ssl
import subprocess
import sys
import threading
import tomllib
import zipfile
from functools import lru_cache
from pathlib import Path

import polars as pl
import pytest
from faultynights import (
    CHILD,
    DAY,
    DIRECTORY,
    MAIN,
    MONTH,
    PASSWORD,
    REPOSITORY,
    Place,
    message,
    number,
    provider_running,
)
from rawsmtp import Script, smtp_running

from etl.settings import Connection

SHIPPED = ("etl", "reports", "dags", "stack", "sandbox")
SMTP_PASSWORD = "canary-31c9-smtp-password"
OURS = "canary-22b7"


@pytest.fixture(scope="module")
def provider():
    with provider_running() as running:
        yield running.reset()


@lru_cache(maxsize=1)
def nodes() -> list[tuple[str, ast.AST]]:
    """Every call, keyword, attribute and import of every Python file that is shipped, with the file's name."""
    files = [file for package in SHIPPED for file in sorted((REPOSITORY / package).rglob("*.py"))]
    trees = [(file.relative_to(REPOSITORY).as_posix(), ast.parse(file.read_text(encoding="utf-8"))) for file in files]
    kinds = ast.Call | ast.keyword | ast.Attribute | ast.Import | ast.ImportFrom
    return [(name, node) for name, tree in trees for node in ast.walk(tree) if isinstance(node, kinds)]


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of what is called so; of anything else its last name."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".lstrip(".")
    return node.id if isinstance(node, ast.Name) else ""


def said(path: Path) -> str:
    """A file as text: Parquet with its columns written out, what is packed unpacked, mail decoded."""
    data = path.read_bytes()
    if path.suffix == ".parquet":
        frame = pl.read_parquet(io.BytesIO(data))
        nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
        return frame.drop(nested).write_csv() + "".join(map(str, (frame[name].to_list() for name in nested)))
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    return data.decode("utf-8", "replace")


# --------------------------------------------------------------------------------------------- Sec1: secrets


@pytest.fixture(scope="module")
def whole_run(provider, tmp_path_factory):
    """(folder, log, mails) of a night, its statements published and one mailed, with a failure of each in between. Log lines
    of every logger, from DEBUG on."""
    from etl.sources import SourceError
    from reports.jobs import Reports

    place = Place(tmp_path_factory.mktemp("whole") / "place", provider.reset().url)
    place.now = place.now.replace(month=12, day=1)
    with (place.folder / "tollbook.toml").open("a") as file:
        file.write('[reports]\nbase_url = "https://statements.example.com"\n')
        file.write('[mail]\nconnection = "mail"\nsender = "billing@tollbook.example"\nstarttls = false\n')
    log: list[str] = []
    handler = logging.Handler(logging.DEBUG)
    formatter = logging.Formatter("%(name)s %(message)s")
    handler.emit = lambda record: log.append(formatter.format(record))
    before = logging.root.level
    with smtp_running(
        Script(extensions=("AUTH PLAIN LOGIN",), says={"AUTH": ["535 no", "535 no", "235 yes"]})
    ) as server:
        known = {
            "twilio": Connection(login=MAIN, password=PASSWORD),
            "mail": Connection("127.0.0.1", login="me", password=SMTP_PASSWORD, port=server.port),
        }
        logging.root.addHandler(handler)
        logging.root.setLevel(logging.DEBUG)
        try:
            jobs = place.night(resolve=known.__getitem__)
            with pytest.raises(SourceError) as caught:
                wrong = known | {"twilio": Connection(login="AC" + "e" * 32, password=PASSWORD)}
                provider.faults = [lambda request: _refusal()]
                place.jobs(resolve=wrong.__getitem__).pull(DAY, "twilio")
            log.append(str(caught.value))
            provider.faults = []
            for _ in range(2):
                reports = Reports(jobs)
                outcomes = [
                    *reports.publish(MONTH),
                    *reports.operator(MONTH),
                    *reports.preview(MONTH, to="me@acme.example"),
                ]
                log.extend(repr(one.as_dict()) for one in outcomes)
        finally:
            logging.root.removeHandler(handler)
            logging.root.setLevel(before)
        assert [line for line in server.heard if line.startswith("AUTH")] and server.taken
        mails = [data.decode() for _, data in server.taken]
    return place.folder, "\n".join(log), mails


def _refusal():
    import httpx

    return httpx.Response(401, json={"code": 20003, "message": f"bad password {PASSWORD}"})


def secrets() -> list[str]:
    """The secrets of the run in each way they may be written."""
    pairs = [f"{MAIN}:{PASSWORD}", f"{CHILD}:{PASSWORD}", f"\0me\0{SMTP_PASSWORD}"]
    return [PASSWORD, SMTP_PASSWORD, *(base64.b64encode(pair.encode()).decode() for pair in pairs)]


def test_no_secret_is_in_anything_that_is_written(whole_run):
    folder, log, mails = whole_run
    texts = {path.relative_to(folder).as_posix(): said(path) for path in folder.rglob("*") if path.is_file()}
    texts |= {"log": log, "mail": "\n".join(mails)}
    kinds = {Path(name).suffix for name in texts}
    assert {".parquet", ".gz", ".json", ".html", ".csv"} <= kinds and len(log) > 1000 and mails
    found = {name: secret[:9] for name, text in texts.items() for secret in secrets() if secret in text}
    assert found == {}
    assert PASSWORD in json.dumps(__import__("sources_fake").account()), "the provider did tell it"


def test_no_secret_is_in_airflow_s_database_or_log(long, provider, tmp_path):
    """A whole DAG run in a process of its own, then its database, logs and output. Long: half a minute of Airflow."""
    if not long:
        pytest.skip("long form only: starts a whole Airflow")
    provider.reset()
    place = Place(tmp_path / "place", provider.url, start=DAY)
    home = tmp_path / "airflow"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "TOLLBOOK"))} | {
        "TOLLBOOK_CONFIG": str(place.folder / "tollbook.toml"), "AIRFLOW_HOME": str(home), "PYTHONPATH": str(REPOSITORY),
        "AIRFLOW_CONN_TWILIO": json.dumps({"conn_type": "http", "login": MAIN, "password": PASSWORD}),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
    }  # fmt: skip
    requests = json.dumps([["usage_daily", {"day": str(DAY), "lookback_days": 1}]])
    command = [sys.executable, "-m", "stack.dagrun", requests]
    done = subprocess.run(command, env=environment, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    texts = {str(p): p.read_bytes().decode("utf-8", "replace") for p in home.rglob("*") if p.is_file()}
    texts |= {"out": done.stdout, "err": done.stderr}
    assert any(name.endswith("airflow.db") for name in texts)
    assert {name for name, text in texts.items() for secret in secrets() if secret in text} == set()


KEYS = {
    "a private key": r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s*[A-Za-z0-9+/]",
    "an access key of AWS": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a token of GitHub": r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40})",
    "a token of Slack": r"\bxox[abprs]-[A-Za-z0-9-]{12,}",
    "an API key of the provider": r"\bSK[0-9a-f]{32}\b",
    "a token of somebody": r"\beyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{10,}",
    "a password in a URL": r"\b[a-z][a-z0-9+]{1,9}://[^\s/:@\"'{}<>]{1,40}:[^\s/:@\"'{}<>]{8,}@[a-z0-9.-]+\.[a-z]{2,}",
    "a secret beside its name": r"(?i)\b(?:auth_token|password|passwd|secret(?:_key)?|api_key|token)[\"']?\s*[:=]\s*"
    r"[\"'](?=[^\"']*[0-9])(?=[^\"']*[A-Za-z])[A-Za-z0-9+/=]{20,}[\"']",
}


MADE_UP = ("test_settings_connections.py",)
"""Whose passwords are what is tested: how they are written in a URL."""


def test_no_secret_is_in_the_repository():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True)
    if listed.returncode == 0:
        files = [REPOSITORY / name for name in listed.stdout.decode().split("\0") if name]
    else:  # a copy without its history
        skipped = {".venv", "node_modules", ".git", "__pycache__"}
        files = [p for p in REPOSITORY.rglob("*") if p.is_file() and not skipped & set(p.relative_to(REPOSITORY).parts)]
    assert len(files) > 100
    found = []
    for file in files:
        if file.suffix in (".png", ".gz", ".parquet") or not file.is_file():
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        if file.name in MADE_UP:
            continue
        found += [
            f"{file.relative_to(REPOSITORY)}: {what}" for what, pattern in KEYS.items() if re.search(pattern, text)
        ]
    assert found == []


def test_a_secret_would_be_found():
    """Each pattern, on a secret put together here: written out it would be one of the repository."""
    mixed = "a1B2c3D4" * 8
    made = {
        "a private key": "-----BEGIN EC " + "PRIVATE KEY-----\nMHcCAQEE", "an access key of AWS": "AKIA" + "ABCDEFGH12345678",
        "a token of GitHub": "ghp_" + mixed[:36], "a token of Slack": "xoxb-" + "123456789012-abc",
        "an API key of the provider": "SK" + "0123456789abcdef" * 2,
        "a token of somebody": ".".join(["eyJ" + mixed[:20], "eyJ" + mixed[:20], mixed[:20]]),
        "a password in a URL": "https://me:" + "hunter2hunter2" + "@host.example", "a secret beside its name": f'auth_token = "{mixed[:32]}"',
    }  # fmt: skip
    assert made.keys() == KEYS.keys()
    assert [what for what, text in made.items() if not re.search(KEYS[what], text)] == []


# --------------------------------------------------------------------------------------------- Sec4: HTML


def test_every_template_is_escaped_and_an_unknown_name_is_an_error():
    from jinja2 import StrictUndefined, UndefinedError

    from reports.pages import environment

    assert environment().autoescape is True and environment().undefined is StrictUndefined
    assert environment().from_string("{{ x }}").render(x="<b>") == "&lt;b&gt;"
    with pytest.raises(UndefinedError):
        environment().from_string("{{ nothing_of_that_name }}").render()


def test_no_template_says_that_a_value_is_safe():
    for file in sorted((REPOSITORY / "templates").glob("*.j2")):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe\b|autoescape|Markup|\|\s*xmlattr", text), file.name
        assert file.suffixes[-2] == ".txt" or not re.search(r"\s[a-z-]+=\{\{", text), (
            f"{file.name}: an attribute without quotes"
        )


def test_markup_is_made_of_our_own_texts_alone():
    """The one ``Markup`` of the code is the style sheet or the script, read from its file."""
    found = {
        (file, ast.unparse(node.args[0]))
        for file, node in nodes()
        if isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] == "Markup"
    }
    assert found == {("reports/pages.py", "text")}


def test_environments_are_made_in_one_place():
    kinds = ("Environment", "Template", "select_autoescape")
    made = [
        (file, ast.unparse(node))
        for file, node in nodes()
        if isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] in kinds
    ]
    assert {file for file, _ in made} <= {"reports/pages.py", "reports/explained.py"}
    assert all("autoescape=True" in text or "autoescape=False" in text for _, text in made)
    assert sum("autoescape=False" in text for _, text in made) == 1, "plain text alone"


# --------------------------------------------------------------------------------------------- Sec9: TLS


def test_nothing_older_than_tls_1_2_and_no_word_of_the_environment(monkeypatch):
    import urllib3.util.ssl_

    from etl.sources._http import Api

    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    api = Api(
        "https://api.example.test", "a", "b", timeout_seconds=1, attempts=1, concurrency=1, stop=threading.Event()
    )
    try:
        used = api._client._transport._pool._ssl_context
        contexts = [used, ssl.create_default_context(), urllib3.util.ssl_.create_urllib3_context()]
        assert all(context.minimum_version >= ssl.TLSVersion.TLSv1_2 for context in contexts)
        assert used.verify_mode is ssl.CERT_REQUIRED and used.check_hostname
        assert api._client.trust_env is False
    finally:
        api.close()


def test_no_call_turns_verification_off():
    off = ("verify", "check_hostname", "ssl_verify", "verify_mode")
    for file, node in nodes():
        if isinstance(node, ast.keyword) and node.arg in off:
            assert ast.unparse(node.value) not in ("False", "None", "ssl.CERT_NONE"), file
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("CERT_NONE", "_create_unverified_context"), file
        if isinstance(node, ast.Call) and dotted(node.func).endswith(".starttls"):
            assert any(keyword.arg == "context" for keyword in node.keywords), f"{file}: without one nothing is checked"


# --------------------------------------------------------------------------------------------- Sec11, Sec16, Sec17: code

UNSAFE_MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "marshal",
    "shelve",
    "jsonpickle",
    "yaml",
    "ruamel",
    "xml",
    "lxml",
}
UNSAFE_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "pl.read_excel",
    "DataFrame.deserialize",
}


def test_nothing_is_read_that_could_run():
    """No pickle and its kin, no YAML, no eval, no shell, wherever the data may come from."""
    for file, node in nodes():
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            unsafe = {name.split(".")[0] for name in names} & UNSAFE_MODULES
            # Between a process and the workers it started itself, through pipes that nobody else has.
            assert not unsafe or (str(file).endswith("reports/workers.py") and unsafe == {"pickle"}), file
        if isinstance(node, ast.Call):
            called = dotted(node.func)
            own = str(file).endswith("reports/workers.py") and called.startswith("pickle.")
            assert (called not in UNSAFE_CALLS or own) and not called.endswith(".deserialize"), (file, called)
            shell = [keyword for keyword in node.keywords if keyword.arg == "shell"]
            assert all(ast.unparse(keyword.value) == "False" for keyword in shell), (file, called)


def dag_trees() -> list[tuple[str, ast.Module]]:
    return [
        (file.name, ast.parse(file.read_text(encoding="utf-8"))) for file in sorted((REPOSITORY / "dags").glob("*.py"))
    ]


def test_no_operator_of_a_dag_runs_a_command_or_a_template():
    """No shell, no virtual environment, no container; whoever starts a run chooses Params, so no template reads one but the
    subject of the operators' mail, where every odd character is escaped."""
    templates = []
    for name, tree in dag_trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = getattr(node, "module", "") or ""
                names = {module, *(alias.name for alias in node.names)}
                assert not any(
                    re.search(r"(?i)bash|ssh|docker|kubernetes|virtualenv|subprocess|^os$", n) for n in names
                ), (name, names)
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("bash", "virtualenv", "external_python", "docker", "kubernetes", "ssh"), name
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in ("eval", "exec", "open", "__import__"), name
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"\{\{|\{%", node.value):
                templates.append((name, node.value))
    assert {name for name, _ in templates} <= {"tollbook_wiring.py"} and len(templates) == 2
    for _, text in templates:
        for inner in re.findall(r"\{\{(.*?)\}\}", text):
            outside = re.search(r"params|partition_key|conf|exception", inner)
            assert not outside or re.search(r"\|\s*(?:urlencode|e)\s*$", inner), inner


def test_the_subject_of_a_failed_run_is_one_line_whatever_its_key():
    from jinja2.sandbox import SandboxedEnvironment

    (text,) = [
        node.value for _, tree in dag_trees() for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("Tollbook: {{")
    ]  # fmt: skip
    template = SandboxedEnvironment().from_string(text)
    names = {"ti": {"dag_id": "usage_daily", "task_id": "plan"}, "params": {"month": None}}
    for key, shown in (
        ("2026-10-31", "2026-10-31"),
        ("x\r\nBcc: a@b.example", "x%0D%0ABcc"),
        ("{{ 7 * 7 }}", "%7B%7B"),
    ):
        said_ = template.render(dag_run={"partition_key": key}, **names)
        assert "\n" not in said_ and "\r" not in said_ and shown in said_


def test_every_param_of_a_dag_says_what_it_may_be():
    for name, tree in dag_trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Param":
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                text = "string" in given["type"]
                assert ("format" in given or "pattern" in given) if text else "minimum" in given, (name, given)


# --------------------------------------------------------------------------------------------- Sec14: supply chain


def locked() -> dict[str, list[str]]:
    """Name==version → hashes of the lock file. AssertionError for a line that is neither."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in (REPOSITORY / "requirements.lock").read_text().splitlines():
        line = line.removesuffix("\\").strip()
        if line.startswith("--hash="):
            assert re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", line)
            found[name].append(line)
        else:
            name = line.split(";")[0].strip()
            assert re.fullmatch(r"[A-Za-z0-9._-]+(\[[a-z0-9,._-]+\])?==[A-Za-z0-9.+!-]+", name), line
            found.setdefault(name, [])
    return found


def test_every_package_is_pinned_by_version_and_hash_and_no_index_is_named():
    hashes = locked()
    assert len(hashes) > 100 and all(hashes.values())
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wanted = [
        *project["project"]["dependencies"],
        *(d for g in project["dependency-groups"].values() for d in g if isinstance(d, str)),
    ]
    normal = lambda name: re.sub(r"[-_.]+", "-", name).lower()  # noqa: E731
    pinned = {normal(re.split(r"[\[=]", name)[0]) for name in hashes}
    for other in ("requirements.cluster.lock", "benchmarks/night/requirements.lock"):
        text = (REPOSITORY / other).read_text()
        named = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==[^\s;]+", text, re.M)
        assert named and text.count("--hash=sha256:") >= len(named), other
        pinned |= {normal(name) for name in named}
    assert {normal(re.match(r"[A-Za-z0-9._-]+", d)[0]) for d in wanted} <= pinned
    for file in (REPOSITORY / "requirements.lock", REPOSITORY / "pyproject.toml", REPOSITORY / "Makefile"):
        assert not re.search(
            r"--(?:extra-)?index-url|--find-links|--trusted-host|git\+|tool\.uv\.index", file.read_text()
        ), file


def test_make_installs_by_hash_alone():
    installs = [
        line for line in (REPOSITORY / "Makefile").read_text().splitlines() if " pip install" in line and "-r " in line
    ]
    assert len(installs) >= 2
    assert all("--require-hashes" in line and "--no-deps" in line for line in installs)


def test_a_tampered_package_is_refused(tmp_path):
    """A wheel of our own, with its hash and with one bit of it changed: pip as the Makefile calls it, without a network."""
    wheel = tmp_path / "tampered-1.0-py3-none-any.whl"
    info = "tampered-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tampered.py", "value = 1\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tampered\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", f"tampered.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    right = hashlib.sha256(wheel.read_bytes()).hexdigest()
    wrong = f"{int(right, 16) ^ 1:064x}"
    for digest, refused in ((right, False), (wrong, True)):
        target = tmp_path / ("refused" if refused else "taken")
        lock = tmp_path / "lock.txt"
        lock.write_text(f"tampered==1.0 --hash=sha256:{digest}\n")
        command = [
            sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-cache-dir", "--require-hashes",
            "--no-deps", "--no-index", "--find-links", str(tmp_path), "--target", str(target), "-r", str(lock),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        assert (done.returncode != 0) is refused, done.stderr
        assert not refused or "DO NOT MATCH THE HASHES" in done.stderr
        assert (target / "tampered.py").exists() is not refused


# --------------------------------------------------------------------------------------------- Sec15: Airflow

ASKED = {
    "core": ("load_examples", "fernet_key", "auth_manager", "test_connection", "allowed_deserialization_classes",
             "dag_run_conf_overrides_params", "simple_auth_manager_all_admins"),
    "api": ("host", "secret_key", "expose_config", "expose_stacktrace"),
    "api_auth": ("jwt_secret",),
}  # fmt: skip


def airflow_says(environment: dict[str, str], home: Path) -> dict[str, str]:
    """Airflow's own answer, in a process of its own, for the options in ``ASKED``."""
    script = (
        "import json, sys; from airflow.configuration import conf\n"
        "asked = json.loads(sys.argv[1])\n"
        "print(json.dumps({f'{s}.{k}': conf.get(s, k, fallback=None) for s, ks in asked.items() for k in ks}))"
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")}
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(ASKED)], env=kept | environment | {"AIRFLOW_HOME": str(home)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def documented() -> dict[str, str]:
    """The variables that docs/airflow.md has people set; what it leaves to them is a word of its own here."""
    text = (REPOSITORY / "docs" / "airflow.md").read_text(encoding="utf-8")
    found = re.findall(r"(AIRFLOW__[A-Z_]+)=(\$\([^)]*\)|\"[^\"]*\"|\S+)", text)
    return {
        name: f"made by the operator for {name}" if value.startswith(("$(", '"$(')) else value for name, value in found
    }


def test_airflow_as_the_documentation_sets_it_up_is_closed(tmp_path):
    said_ = airflow_says(documented(), tmp_path)
    assert said_["core.load_examples"].lower() == "false"
    assert said_["api.host"] == "127.0.0.1", "TLS and logins are a proxy's"
    secrets_ = [said_[name] for name in ("core.fernet_key", "api.secret_key", "api_auth.jwt_secret")]
    assert all(secret.startswith("made by the operator") for secret in secrets_) and len(set(secrets_)) == 3
    assert said_["api.expose_config"].lower() == "false" and said_["api.expose_stacktrace"].lower() == "false"
    assert said_["core.test_connection"] == "Disabled"
    assert said_["core.simple_auth_manager_all_admins"].lower() == "false"
    assert "airflow" in said_["core.allowed_deserialization_classes"]
    assert not re.search(
        r"(?<!airflow)\.\*|^\*", said_["core.allowed_deserialization_classes"].replace("airflow.*", "")
    )


def test_airflow_of_the_local_stack_is_for_this_machine_alone(tmp_path):
    """No examples, secrets of its own that only their owner reads; the UI, which needs no login, on loopback."""
    from stack.place import Place as Stack

    stack = Stack(tmp_path)
    environment = stack.environment(twilio=("a", "b"), store=("http://127.0.0.1:1", "c", "d"), mail=("127.0.0.1", 25))
    mine = {k: v for k, v in environment.items() if k.startswith("AIRFLOW")}
    assert mine["AIRFLOW__CORE__LOAD_EXAMPLES"] == "False"
    assert str(tmp_path) in mine["AIRFLOW_HOME"] and str(tmp_path) in mine["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    keys = [mine["AIRFLOW__API_AUTH__JWT_SECRET"], mine["AIRFLOW__API__SECRET_KEY"]]
    assert len(set(keys)) == 2 and all(re.fullmatch("[0-9a-f]{40}", key) for key in keys)
    assert all((tmp_path / name).stat().st_mode & 0o077 == 0 for name in (".jwt", ".api"))
    source = (REPOSITORY / "stack" / "__main__.py").read_text()
    assert '"AIRFLOW__API__HOST": "127.0.0.1"' in source
    assert "0.0.0.0" not in "".join(file.read_text() for file in (REPOSITORY / "stack").glob("*.py"))


# --------------------------------------------------------------------------------------------- Sec18: tenants


def test_nothing_of_one_account_is_in_what_another_reads(tmp_path, provider):
    """A mark of each in every text, name, owner, number and address of its own; then each one's folder and mail searched for
    the others' marks."""
    from reports.jobs import Reports

    marks = {"acme": ("Wolverine", "+12025550147", MAIN), "bolt": ("Pangolin", "+12025550163", CHILD)}
    provider.reset()
    rows = {name: [] for name in DIRECTORY}
    for n, (account_id, (word, phone, sid)) in enumerate(marks.items(), 1):
        rows["accounts.csv"].append(f"{account_id},{word} Ltd,{word} Group,USD,standard,{word}@{word}.example,{sid}")
        rows["owners.csv"].append(f"{account_id},member,{word}-member,{word} Member")
        rows["numbers.csv"].append(f"{phone},{account_id},member,{word}-member,,true,local,,")
        rows["campaigns.csv"].append(f"{account_id},{word}-campaign,{word} Campaign,false")
        texts = [message(100 * n + i, body=f"{OURS} {word}", **{"from": phone}) for i in range(n + 1)]
        provider.put("messages", texts, sid).put("numbers", [number(n, phone_number=phone)], sid)
    directory = {name: DIRECTORY[name].splitlines()[0] + "\n" + "\n".join(lines) + "\n" for name, lines in rows.items()}
    place = Place(tmp_path / "place", provider.url, directory=directory)
    with (place.folder / "tollbook.toml").open("a") as file:
        file.write('[reports]\nbase_url = "https://statements.example.com"\n')
        file.write('[mail]\nconnection = "mail"\nsender = "billing@tollbook.example"\nstarttls = false\n')
    jobs = place.night()
    reports = Reports(jobs)
    assert [one.error for one in reports.publish(MONTH)] == [None, None]
    list(reports.preview(MONTH, folder=tmp_path / "eml"))
    for account_id, (word, phone, sid) in marks.items():
        folder = place.folder / "published" / account_id
        files = [p for p in folder.rglob("*") if p.is_file()] + list((tmp_path / "eml").glob(f"{account_id}_*"))
        mine = "\n".join(map(said, files))
        assert len(files) > 8 and word in mine
        for other, (its_word, its_phone, its_sid) in marks.items():
            if other != account_id:
                assert not [w for w in (its_word, its_word.lower(), its_phone[1:], its_sid, f"{other}/") if w in mine]
        assert phone[1:] not in mine and sid not in mine and OURS not in mine
    assert not (place.folder / "published" / "_operator").exists()
