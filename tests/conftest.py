"""A private Airflow for whatever test imports it first: it reads its home once, and must never be the user's."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no finding: what is slow is measured in benchmarks.
settings.register_profile("tollbook", deadline=None)
settings.load_profile("tollbook")

_HOME = Path(tempfile.mkdtemp(prefix="tollbook-airflow-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)

for _name in [n for n in os.environ if n.startswith(("AIRFLOW", "TOLLBOOK")) and n != "TOLLBOOK_NO_BROWSER"]:
    del os.environ[_name]
os.environ.update(
    AIRFLOW_HOME=str(_HOME),
    AIRFLOW__CORE__DAGS_FOLDER=str(Path(__file__).resolve().parents[1] / "dags"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{_HOME / 'airflow.db'}",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="faults in their long form: every kill, every seed; hours")


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether a test of faults is to try everything (`make faults`) rather than a sample (`make test`)."""
    return request.config.getoption("--long")
