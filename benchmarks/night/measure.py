"""CPU, memory and output of a process, from its start to its end.

This module and whoever starts contenders stay small on purpose: on Linux the peak memory of a process counts from before
its program was loaded, when it still is a copy of the one that started it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.night.common import Totals

ROOT = Path(__file__).resolve().parents[2]
LAST_LINES = 30


class Run(NamedTuple):
    """One process. ``cpu``: seconds of user and system time, of all its threads; ``told``: what it printed last, as JSON."""

    cpu: float
    peak_mib: float
    wall: float
    told: dict

    @property
    def totals(self) -> Totals | None:
        found = self.told.get("totals")
        return Totals(*found) if found else None


class Failed(Exception):
    """A contender ended with an error; the text holds the last it said."""


def run(module: str, *arguments: object, environment: Mapping[str, str] | None = None) -> Run:
    """``python -m benchmarks.night.<module>`` with these arguments, measured."""
    return measured([sys.executable, "-m", f"benchmarks.night.{module}", *map(str, arguments)], environment)


def measured(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Run:
    """A command, measured. A process may say ``setup_cpu``: seconds of its own that are no part of what is measured."""
    # Recompiling what it imports would be measured, too.
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile() as out:
        began = time.perf_counter()
        child = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT, env=kept | dict(environment or {})
        )
        try:
            _, status, used = os.wait4(child.pid, 0)
        except BaseException:
            child.kill()
            child.wait()
            raise
        wall = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        said = out.read().decode(errors="replace").strip().splitlines()
    if child.returncode:
        raise Failed(f"{' '.join(command)} ended with {child.returncode}:\n" + "\n".join(said[-LAST_LINES:]))
    told = json.loads(said[-1]) if said and said[-1].startswith("{") else {}
    cpu = used.ru_utime + used.ru_stime - told.get("setup_cpu", 0)
    return Run(cpu, used.ru_maxrss / 1024, wall, told)
