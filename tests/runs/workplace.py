"""A small, complete configuration against a running sandbox provider."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from sandbox.launch import Running

REPOSITORY = Path(__file__).resolve().parents[2]

SETTINGS = """\
start = {start}
directory = "directory"
rates = "rates"
settle_hours = 0

[lake]
url = "{lake}"
{store}

{source}
[reports.store]
url = "{reports}"
{store}

[mail]
connection = "mail"
sender = "billing@example.com"
starttls = false
max_age_days = 36500
"""
TWILIO = """\
[sources.twilio]
kind = "twilio"
connection = "twilio"
base_url = "{provider}"
"""


@cache
def _directory() -> dict[str, bytes]:
    """The directory's files as the sandbox writes them, asked for once in a process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "sandbox", "directory", "--out", folder]
        subprocess.run(command, check=True, cwd=REPOSITORY, capture_output=True)
        return {file.name: file.read_bytes() for file in Path(folder).iterdir()}


def workplace(
    folder: Path,
    provider: Running | None,
    *,
    lake: str = "lake",
    reports: str = "published",
    store: str = "",
    start: str = "2026-03-01",
    source: str = TWILIO,
) -> Path:
    """Write settings, directory and rate card into ``folder``; the path of the settings file. ``source`` is the table
    of the settings that says where records come from, the sandbox if nothing else."""
    (folder / "directory").mkdir(parents=True, exist_ok=True)
    for name, data in _directory().items():
        (folder / "directory" / name).write_bytes(data)
    shutil.copytree(REPOSITORY / "config" / "rates", folder / "rates")
    settings = folder / "tollbook.toml"
    source = source.replace("{provider}", provider.url) if provider else source
    settings.write_text(SETTINGS.format(source=source, lake=lake, reports=reports, store=store, start=start))
    return settings


def environment(settings: Path, provider: Running, mail_port: int = 9) -> dict[str, str]:
    """What a process needs to see of it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "TOLLBOOK"))}
    return kept | {
        "TOLLBOOK_CONFIG": str(settings),
        "AIRFLOW_CONN_TWILIO": json.dumps(
            {"conn_type": "http", "login": provider.main[0], "password": provider.main[1]}
        ),
        "AIRFLOW_CONN_MAIL": json.dumps(
            {
                "conn_type": "smtp",
                "host": "127.0.0.1",
                "port": mail_port,
                "extra": {"disable_tls": True, "disable_ssl": True},
            }
        ),
        "PYTHONPATH": str(REPOSITORY),
    }
