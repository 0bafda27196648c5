"""docs/deploy.md: its Kubernetes values and pod template say the same as docker-compose.yml, in another form."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "cluster"))

import composed  # noqa: E402

PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
VALUES, POD = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.S))
SERVICES = composed.raw()["services"]
[CONTAINER] = POD["spec"]["containers"]
VARIABLES = {one["name"]: one.get("value", one.get("valueFrom")) for one in CONTAINER["env"]}


def secrets_of(text: str) -> set[str]:
    return set(re.findall(r"AIRFLOW_CONN_\w+", text))


def test_every_setting_of_the_values_is_one_of_airflow_s():
    from airflow.configuration import retrieve_configuration_description

    known = retrieve_configuration_description()
    for section, options in VALUES["config"].items():
        if section != "kubernetes_executor":  # a provider that is only in the image: `make cluster`
            assert set(options) <= set(known[section]["options"]), section


def test_a_pod_sees_what_a_worker_of_compose_sees():
    worker = SERVICES["worker"]["environment"]
    same = ("AIRFLOW_HOME", "AIRFLOW__CORE__DAGS_FOLDER", "PYTHONPATH", "TOLLBOOK_CONFIG", "AIRFLOW__LOGGING__REMOTE_LOGGING",
            "AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID", "AIRFLOW__CORE__LOAD_EXAMPLES")  # fmt: skip
    assert {key: VARIABLES[key] for key in same} == {key: worker[key] for key in same}
    assert {k for k in VARIABLES if "CONN_" in k} == {k for k in worker if "CONN_" in k}
    assert [k for k in VARIABLES if re.search("SQL_ALCHEMY|JWT|FERNET", k)] == [], "tasks sign nothing and see no database"


def test_no_secret_is_written_out():
    assert all("secretKeyRef" in value for name, value in VARIABLES.items() if name.startswith("AIRFLOW_CONN_"))
    for part in ("apiServer", "triggerer"):
        assert all("secretKeyRef" in one["valueFrom"] for one in VALUES[part]["env"])
    for name in ("fernetKeySecretName", "apiSecretKeySecretName", "jwtSecretName"):
        assert VALUES[name] == "tollbook-airflow"
    assert secrets_of(yaml.safe_dump(VALUES)) == {"AIRFLOW_CONN_STORE", "AIRFLOW_CONN_MAIL"}


def test_a_pod_may_do_little_and_has_a_size():
    spec = POD["spec"]
    assert spec["restartPolicy"] == "Never" and spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True and spec["securityContext"]["runAsUser"] == VALUES["uid"] == 50000
    assert CONTAINER["name"] == "base" and CONTAINER["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert set(CONTAINER["resources"]) == {"requests", "limits"}
    assert CONTAINER["image"] == f"{VALUES['defaultAirflowRepository']}:{VALUES['defaultAirflowTag']}"
    assert composed.filled(SERVICES["worker"]["image"], {}).endswith(f":{VALUES['defaultAirflowTag']}")
    assert {v["name"] for v in spec["volumes"]} == {m["name"] for m in CONTAINER["volumeMounts"]}


def test_every_part_that_runs_has_a_size():
    for part in ("apiServer", "scheduler", "dagProcessor", "triggerer"):
        assert {"requests", "limits"} == set(VALUES[part]["resources"]), part


def test_the_lost_are_found_as_soon_as_in_compose():
    scheduler = SERVICES["scheduler"]["environment"]
    for option in ("task_instance_heartbeat_timeout", "orphaned_tasks_check_interval"):
        assert str(VALUES["config"]["scheduler"][option]) == scheduler[f"AIRFLOW__SCHEDULER__{option.upper()}"]


def test_the_table_of_what_is_set_tighter_is_what_is_set():
    environment = SERVICES["scheduler"]["environment"]
    said = re.findall(r"^\| `(\w+)\.(\w+)` \| (\d+) (s|h) \|", PAGE, re.M)
    assert len(said) == 4
    for section, option, number, unit in said:
        seconds = int(number) * (3600 if unit == "h" else 1)
        assert int(environment[f"AIRFLOW__{section.upper()}__{option.upper()}"]) == seconds


def test_the_version_is_the_one_that_is_locked():
    lock = (ROOT / "requirements.cluster.lock").read_text(encoding="utf-8")
    assert f"apache-airflow=={VALUES['airflowVersion']} " in lock
