"""Three days of the sandbox in a lake on disk, loaded once; each test works on a copy of its own, at the date it likes."""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from privacyhelp import DAYS

from etl.jobs import Jobs
from sandbox.launch import launch

sys.path.insert(0, str(Path(__file__).parents[1] / "runs"))

@pytest.fixture(scope="session")
def provider():
    with launch("--messages-per-day", "120", "--calls-per-day", "40") as running:
        yield running


@pytest.fixture(scope="session")
def variables(tmp_path_factory, provider):
    from workplace import environment, workplace

    settings = workplace(tmp_path_factory.mktemp("loaded") / "place", provider, start="2026-10-29")
    found = environment(settings, provider)
    return {k: v for k, v in found.items() if k.startswith(("TOLLBOOK", "AIRFLOW_CONN"))}


@pytest.fixture(scope="session")
def loaded(variables) -> Path:
    """The settings file of a place whose days were loaded twice: the first day's texts have an older version, too."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        jobs = Jobs.open(run_id="loaded")
        for day in DAYS:
            jobs.run_day(day)
        _changed_once(jobs)
        jobs.state(_october())
    return Path(variables["TOLLBOOK_CONFIG"])


def _october():
    from etl.periods import Month

    return Month(2026, 10)


def _changed_once(jobs: Jobs) -> None:
    """The first day once as it is not, then as it is: three versions of its pages and its records."""
    import polars as pl

    from etl.lake import Partition

    for dataset, column in (("raw", "url"), ("events", "body")):
        at = Partition.of(dataset, date=DAYS[0], source="twilio")
        base = jobs.lake.head(at)
        rows = jobs.lake.read(base).drop("date", "source")
        changed = rows.with_columns(pl.when(pl.col(column).is_not_null()).then(pl.lit("as it was once")).alias(column))
        jobs.lake.commit(at, changed, base=base, inputs=base.inputs, sums=base.sums, reason="once")
        jobs.lake.commit(at, rows, base=jobs.lake.head(at), inputs=base.inputs, sums=base.sums, reason=base.reason)


@pytest.fixture
def place(loaded, variables, tmp_path, monkeypatch) -> Path:
    """A copy of the loaded place; the settings file."""
    shutil.copytree(loaded.parent, tmp_path / "place")
    settings = tmp_path / "place" / loaded.name
    for name, value in {**variables, "TOLLBOOK_CONFIG": str(settings)}.items():
        monkeypatch.setenv(name, value)
    return settings


@pytest.fixture
def aged(place):
    """``aged(400)``: the verbs on the day on which the last day loaded is so many days old."""

    def at(days: int, run_id: str = "later") -> Jobs:
        today = datetime.combine(DAYS[-1] + timedelta(days=days), time(4), UTC)
        return Jobs.open(place, run_id=run_id, clock=lambda: today)

    return at
