"""What all tests share: a private Airflow for whatever imports it first (it reads its home once, and must never be the
user's), files in memory, the short and the long form, who runs what, and a browser."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import tempfile
from pathlib import Path

import hypothesis
import pytest

# A busy machine is no finding: what is slow is measured in benchmarks.
hypothesis.settings.register_profile("tollbook", deadline=None)
hypothesis.settings.load_profile("tollbook")

# As many tests run at once as there are cores: more threads in each only get in the way. What must not depend on their
# number starts processes with several.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

# A lake flushes every write to the disk, and no test pulls the plug: in memory that costs nothing, where there is room.
# What killed processes leave there goes at the end; pytest itself keeps the folders of tests that failed.
_MEMORY, _ROOM = Path("/dev/shm"), 4 << 30
if "TMPDIR" not in os.environ and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM:
    os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp(prefix="tollbook-tests-", dir=_MEMORY)
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))
    atexit.register(shutil.rmtree, tempfile.tempdir, ignore_errors=True)

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
    parser.addoption("--long", action="store_true", help="everything in its long form: every kill, every seed; hours")


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether a test of faults is to try everything (`make faults`) rather than a sample (`make test`)."""
    return request.config.getoption("--long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A property that takes long is marked ``brief(n)``: without ``--long`` it is tried on so many examples, others every
    time. `make mutants` finds its planted mistakes with 15."""
    for item in items:
        brief = item.get_closest_marker("brief")
        if brief and not config.getoption("--long"):
            asked = item.obj._hypothesis_internal_use_settings
            few = hypothesis.settings(asked, max_examples=min(brief.args[0], asked.max_examples))
            item.obj._hypothesis_internal_use_settings = few
    if hasattr(config, "workerinput"):  # one of several processes: by itself pytest keeps its own order
        items.sort(key=lambda item: rank(unit(item.nodeid)))


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: not to be looked through for garbage again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


TOGETHER = {
    "tests/dags/": "dags",
    **{f"tests/reports/test_report_{name}.py": "pages" for name in ("browser", "validity", "attacks", "explained")},
}
"""Where making what the tests share (Airflow's database; every page, a browser) takes longer than most of them."""
FIRST = (
    "dags", "pages", "reports/test_report_operator", "reports/test_report_explore", "faults/test_s3", "runs/test_kill",
    "runs/test_commands", "reports/test_report_verify", "reports/test_report_account", "reports/test_report_workers",
    "credits/", "faults/test_process", "closing/test_closing_before", "corrections/", "statement/", "lake/", "closing/",
    "taxes/", "faults/", "sources/",
)  # fmt: skip
"""What takes longest begins first, so that all come to an end at the same time."""


def unit(nodeid: str) -> str:
    """What stays in one process: a file, or what is ``TOGETHER``."""
    return next((name for start, name in TOGETHER.items() if nodeid.startswith(start)), nodeid.split("::")[0])


def rank(name: str) -> int:
    name = name.removeprefix("tests/")
    return next((n for n, start in enumerate(FIRST) if name.startswith(start)), len(FIRST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Unit by unit, in the order of ``FIRST``."""
    from xdist.scheduler import LoadScopeScheduling

    class Units(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit(nodeid)

        def schedule(self) -> None:
            config.option.loadscopereorder = False  # by the number of tests: one that takes a minute would come last
            super().schedule()

    return Units(config, log)


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
