"""Run by the image's own packages: what of our settings, and of docs/deploy.md, they do not know. Prints one line each."""

from __future__ import annotations

import json
import re
import sys
from importlib import import_module
from pathlib import Path

COMPONENTS = (
    "airflow.providers.celery.executors.celery_executor.CeleryExecutor",
    "airflow.providers.cncf.kubernetes.executors.kubernetes_executor.KubernetesExecutor",
    "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
    "airflow.providers.amazon.aws.log.s3_task_handler.S3TaskHandler",
)


def unknown(variables: list[str]) -> list[str]:
    """Those of these variables that set nothing in Airflow or a provider that is installed."""
    from airflow.configuration import retrieve_configuration_description

    known = retrieve_configuration_description()
    found = []
    for name in variables:
        section, option = re.fullmatch(r"AIRFLOW__([A-Z_]+?)__([A-Z_]+)", name).groups()
        options = known.get(section.lower(), {}).get("options", {})
        if option.lower() not in options:
            found.append(f"no such setting: {name}")
    return found


def main() -> None:
    wrong = unknown(json.loads(sys.argv[1]))
    for name in COMPONENTS:
        module, _, member = name.rpartition(".")
        try:
            getattr(import_module(module), member)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            wrong.append(f"{name}: {error!r}")
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

    pod = PodGenerator.deserialize_model_file(str(Path(sys.argv[2])))
    if not pod.spec or pod.spec.containers[0].name != "base":
        wrong.append("the pod template holds no container `base`")
    print(json.dumps(wrong))


if __name__ == "__main__":
    main()
