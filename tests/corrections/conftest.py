"""The world of tests/statement with September closed; each test works on a copy of its own."""

from __future__ import annotations

import shutil
import sys
from datetime import date
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / "statement"))
from correctionshelp import closed_september
from statement_made import open_jobs


@pytest.fixture(scope="session")
def closed_once(tmp_path_factory):
    return closed_september(tmp_path_factory.mktemp("corrections"))


@pytest.fixture
def settings_file(closed_once, tmp_path):
    shutil.copytree(closed_once.parent, tmp_path / "place")
    return tmp_path / "place" / closed_once.name


@pytest.fixture
def jobs(settings_file):
    """The verbs in the middle of October."""
    return open_jobs(settings_file, "run-2", date(2026, 10, 20))
