"""The September of tests/statement, with October begun; each test works on a copy of its own."""

from __future__ import annotations

import shutil
import sys
from datetime import date
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "statement"))

from statement_made import MIA, SEPTEMBER, at, load_day, on, open_jobs, text, write_place  # noqa: E402


@pytest.fixture(scope="session")
def september(tmp_path_factory) -> Path:
    settings = write_place(tmp_path_factory.mktemp("closing"))
    jobs = open_jobs(settings)
    for day in SEPTEMBER.days:
        load_day(jobs, day, on(day))
    load_day(jobs, date(2026, 10, 1), [text("o1", at(1, month=10), MIA)])
    for month in (SEPTEMBER, SEPTEMBER + 1):
        jobs.state(month)
    return settings


@pytest.fixture
def settings_file(september, tmp_path) -> Path:
    shutil.copytree(september.parent, tmp_path / "place")
    return tmp_path / "place" / september.name


@pytest.fixture
def jobs(settings_file):
    return open_jobs(settings_file)
