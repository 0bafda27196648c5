"""One small workplace for the DAGs, and the database of the private Airflow that tests/conftest.py set up."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests" / "runs"))


@pytest.fixture(scope="session")
def provider():
    from sandbox.launch import launch

    with launch("--messages-per-day", "90", "--calls-per-day", "30") as running:
        yield running


@pytest.fixture(scope="session")
def postbox(tmp_path_factory):
    from stack.mailbox import mailbox

    folder = tmp_path_factory.mktemp("mail")
    with mailbox(folder) as (_, port):
        yield folder, port


@pytest.fixture(scope="session")
def place(tmp_path_factory, provider, postbox) -> Path:
    """The workplace's folder. The process sees its settings and a private Airflow from here on."""
    from workplace import environment, workplace

    folder = tmp_path_factory.mktemp("dags")
    settings = workplace(folder / "place", provider)
    settings.write_text(
        settings.read_text().replace("start = 2026-03-01", 'start = 2026-10-01\noperators = ["ops@example.com"]')
    )
    found = environment(settings, provider, postbox[1])
    os.environ.update({k: v for k, v in found.items() if k.startswith(("AIRFLOW_CONN", "TOLLBOOK"))})
    sys.path.insert(0, str(REPOSITORY / "dags"))
    from airflow.utils.db import initdb

    initdb()
    return folder / "place"


@pytest.fixture
def bag(place):
    """The DAGs as Airflow loads them, fresh for every test: `DAG.test` leaves its configuration behind."""
    from airflow.dag_processing.dagbag import DagBag

    loaded = DagBag()
    assert loaded.import_errors == {}
    return loaded
