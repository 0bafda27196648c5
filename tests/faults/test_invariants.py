"""Invariants that no test of a part holds: the same night on another machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from killrun import compare
from smallnight import ROOT, Place, stored

MACHINES = {
    "an island": {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONHASHSEED": "1", "POLARS_MAX_THREADS": "1"},
    "New York": {"TZ": "America/New_York", "LC_ALL": "de_DE.UTF-8", "PYTHONHASHSEED": "77", "POLARS_MAX_THREADS": "3"},
}


@pytest.mark.parametrize("machine", MACHINES)
def test_the_same_night_on_another_machine(machine, long, tmp_path, undisturbed):
    """Time zone, locale, hash seed and number of threads change no byte of the lake or of a page."""
    if not long and machine != "an island":
        pytest.skip("one machine is enough for the short form")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("smallnight.py")), str(tmp_path), "--once"],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | MACHINES[machine], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    compare(undisturbed, stored(Place(tmp_path / "place" / "tollbook.toml")))
