"""One sandbox provider for the session, and a workplace of its own for every test."""

from __future__ import annotations

import pytest
from workplace import environment, workplace

from etl.jobs import Jobs
from sandbox.launch import launch


@pytest.fixture(scope="session")
def provider():
    with launch("--messages-per-day", "150", "--calls-per-day", "40") as running:
        yield running


@pytest.fixture
def settings(tmp_path, provider):
    # What these tests load lies in October; a month closes only after every month since go-live.
    return workplace(tmp_path / "place", provider, start="2026-10-01")


@pytest.fixture
def surroundings(settings, provider, monkeypatch):
    """The workplace's environment, in this process and for its children."""
    found = environment(settings, provider)
    for name in ("TOLLBOOK_CONFIG", "AIRFLOW_CONN_TWILIO", "AIRFLOW_CONN_MAIL"):
        monkeypatch.setenv(name, found[name])
    return found


@pytest.fixture
def jobs(surroundings) -> Jobs:
    return Jobs.open(run_id="test")
