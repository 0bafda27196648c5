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

# As many tests run at once as there are cores: more threads in each only get in the way. What must not depend on their
# number starts processes with several.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

# A lake flushes every write to the disk, and no test pulls the plug: in memory that costs nothing, where there is room.
_MEMORY, _ROOM = Path("/dev/shm"), 4 << 30
if "TMPDIR" not in os.environ and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM:
    os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)

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


CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium():
    """A browser, one for all: a second cannot start beside it in one process. Without one the tests that look at pages
    fail, unless TOLLBOOK_NO_BROWSER=1 says that is meant."""
    if os.environ.get("TOLLBOOK_NO_BROWSER") == "1":
        pytest.skip("TOLLBOOK_NO_BROWSER=1: pages are not looked at in this run")
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is missing: install chromium, or set TOLLBOOK_NO_BROWSER=1 to leave these tests out")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()
