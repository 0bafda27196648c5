"""A month of the sandbox provider, pulled once: its records and daily totals in a lake, nothing rated."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from invoice_made import OCTOBER, VOLUME

from etl.jobs import Jobs
from sandbox.launch import launch

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS = """\
start = 2026-10-01
directory = "directory"
rates = "rates"
[lake]
url = "lake"
[sources.twilio]
kind = "twilio"
connection = "twilio"
base_url = "{url}"
resources = ["messages", "calls", "recordings", "usage"]
[reports.store]
url = "published"
"""


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Path:
    """The settings file of a lake that holds October."""
    folder = tmp_path_factory.mktemp("invoice")
    with launch(*VOLUME) as running:
        login = {"conn_type": "http", "login": running.main[0], "password": running.main[1]}
        patch = pytest.MonkeyPatch()
        patch.setenv("AIRFLOW_CONN_TWILIO", json.dumps(login))
        (folder / "tollbook.toml").write_text(SETTINGS.format(url=running.url), encoding="utf-8")
        (folder / "directory").mkdir()
        for name, head in {
            "accounts": "account_id,name,company,currency,rate_card,email_to,provider_account_sid",
            "owners": "account_id,owner_kind,owner_id,name",
            "numbers": "number_e164,account_id,owner_kind,owner_id,campaign_id,registered,number_class,"
            "valid_from,valid_to",
            "campaigns": "account_id,campaign_id,name,voice_detection",
        }.items():
            (folder / "directory" / f"{name}.csv").write_text(head + "\n", encoding="utf-8")
        shutil.copytree(REPOSITORY / "config" / "rates", folder / "rates")
        jobs = Jobs.open(folder / "tollbook.toml", run_id="test")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda day: (jobs.pull(day, "twilio"), jobs.normalise(day, "twilio")), OCTOBER.days))
        yield folder / "tollbook.toml"
        patch.undo()
