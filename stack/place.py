"""The folder a local run lives in, and the environment its processes see. Nothing outside it is touched."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
LAKE_BUCKET, REPORTS_BUCKET = "tollbook-lake", "tollbook-statements"

SETTINGS = """\
# Written by `make run`; its stack listens on loopback only.
start = {start}
directory = "directory"
rates = "rates"
settle_hours = 0

[lake]
url = "s3://{lake}"
connection = "store"

[sources.twilio]
kind = "twilio"
connection = "twilio"
base_url = "{provider}"

[reports]
contact = "billing@example.com"
base_url = "{out}"  # the copy that opens when the S3 server is gone

[reports.store]
url = "s3://{reports}"
connection = "store"

[mail]
connection = "mail"
sender = "billing@example.com"
starttls = false
max_age_days = {mail_age}  # counted from the sandbox provider's today, not from yours
"""


@dataclass(frozen=True)
class Place:
    """``root`` holds everything: settings, S3 data, Airflow's home, mail, logs, and the published copy in ``out``."""

    root: Path

    def __post_init__(self) -> None:
        for name in ("s3", "mail", "log", "airflow", "out"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    @property
    def settings(self) -> Path:
        return self.root / "tollbook.toml"

    @property
    def out(self) -> Path:
        return self.root / "out"

    def secret(self, name: str) -> str:
        """A random secret, made once and kept readable by its owner only."""
        file = self.root / f".{name}"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(secrets.token_hex(20))
        return file.read_text()

    def write(self, *, start: str, provider: str, mail_age: int) -> None:
        """Settings, directory and rate card for the sandbox provider at this address."""
        text = SETTINGS.format(
            start=start,
            provider=provider,
            mail_age=mail_age,
            out=self.out.as_uri(),
            lake=LAKE_BUCKET,
            reports=REPORTS_BUCKET,
        )
        self.settings.write_text(text)
        command = [sys.executable, "-m", "sandbox", "directory", "--out", str(self.root / "directory")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own module
        shutil.copytree(REPOSITORY / "config" / "rates", self.root / "rates", dirs_exist_ok=True)

    def environment(
        self, *, twilio: tuple[str, str], store: tuple[str, str, str], mail: tuple[str, int]
    ) -> dict[str, str]:
        """For every child process: our connections, a private Airflow, no bytecode rebuilt at each start."""
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW") and k != "PYTHONDONTWRITEBYTECODE"
        }
        home = self.root / "airflow"
        return inherited | {
            "TOLLBOOK_CONFIG": str(self.settings),
            "AIRFLOW_CONN_TWILIO": _connection("http", login=twilio[0], password=twilio[1]),
            "AIRFLOW_CONN_STORE": _connection(
                "aws", login=store[1], password=store[2], extra={"endpoint_url": store[0]}
            ),
            "AIRFLOW_CONN_MAIL": _connection(
                "smtp", host=mail[0], port=mail[1], extra={"disable_tls": True, "disable_ssl": True}
            ),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__FERNET_KEY": "",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
            "AIRFLOW__API_AUTH__JWT_SECRET": self.secret("jwt"),
            "AIRFLOW__API__SECRET_KEY": self.secret("api"),
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        }


def _connection(kind: str, **fields: object) -> str:
    return json.dumps({"conn_type": kind, **fields})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def as_environment(variables: Mapping[str, str]) -> None:
    """Make this process see what its children see."""
    os.environ.update(variables)
