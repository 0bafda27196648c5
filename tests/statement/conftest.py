"""September is built once; each test works on a copy of its own."""

from __future__ import annotations

import shutil
from datetime import date

import pytest
from statement_made import SEPTEMBER, load_day, on, open_jobs, write_place


@pytest.fixture(scope="session")
def built_once(tmp_path_factory):
    settings = write_place(tmp_path_factory.mktemp("september"))
    jobs = open_jobs(settings)
    for day in [date(2026, 8, 31), *SEPTEMBER.days]:
        load_day(jobs, day, on(day))
    jobs.state(SEPTEMBER)
    jobs.state(SEPTEMBER - 1)
    return settings


@pytest.fixture
def settings_file(built_once, tmp_path):
    shutil.copytree(built_once.parent, tmp_path / "place")
    return tmp_path / "place" / built_once.name


@pytest.fixture
def jobs(settings_file):
    """The verbs over a September whose every day is loaded, on the first day it may close."""
    return open_jobs(settings_file)
