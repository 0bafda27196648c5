"""Mutation testing: change the code in one small way after another and see whether the tests notice.

    python tests/mutation/run.py segments --sample 150        # or rating, credits, lake

Works on a copy of the project, never on the checkout. Polars is imported once and each mutant tried in a fork of that
process: mutmut warms up by running tests before it forks, after which the threads of Polars are missing in the child.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ |= {"POLARS_MAX_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "LAKE_SEEDS": "300"}
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
sys.dont_write_bytecode = True

# Imported before the forks, for speed; no code of the project is, for that is what changes.
import boto3  # noqa: E402, F401
import dataframely  # noqa: E402, F401
import greenlet  # noqa: E402, F401
import httpx  # noqa: E402, F401
import hypothesis  # noqa: E402
import phonenumbers  # noqa: E402, F401
import polars  # noqa: E402, F401
import pydantic_settings  # noqa: E402, F401
import pytest  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
from operators import Mutant, lines, mutants, plain  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
GROUPS = {
    "segments": (["etl/segments.py"], ["tests/segments"]),
    "rating": (
        [*(f"etl/rating/{m}.py" for m in ("charge", "card", "tiers", "monthly", "diff")), "etl/prefixes.py",
         "etl/money.py"],
        ["tests/rating", "tests/money", "tests/settings/test_settings_tables.py"],
    ),
    "credits": (["etl/credits.py"], ["tests/credits", "tests/corrections/test_corrections_lines.py"]),
    "lake": (
        [f"etl/lake/{m}.py" for m in ("lake", "model", "checks", "local", "frames")],
        [f"tests/lake/test_lake_{t}.py" for t in ("simulation", "commit", "disk", "store", "requests", "erase", "faults")],
    ),
}  # fmt: skip
"""Files that are changed, and the tests that should notice."""

UNTRACED = ("test_lake_simulation.py", "test_segment_columns.py")
"""Run in greenlets and in threads of Polars, where nothing tells which lines they reach: held to reach all."""

LEFT_OUT = ("[s3", "_bites_", "a_seed_is_one_schedule")
"""Tests that need a server to start, or that test the simulation's own checker."""

EXAMPLES = 15


class Chosen:
    """Runs only ``wanted`` tests, fastest first, each property with few examples; without ``wanted`` all of them, and
    notes how long each took and which lines of ``files`` it reached."""

    def __init__(self, wanted: dict[str, float] | None, files: list[str]) -> None:
        self.wanted = wanted
        self.files = {str(Path(f).resolve()): f for f in files}
        self.noted: dict[str, dict] = {}
        self.failed = ""

    def pytest_collection_modifyitems(self, config, items):
        items[:] = [i for i in items if "server" not in i.fixturenames and not any(o in i.nodeid for o in LEFT_OUT)]
        for item in items:
            asked = getattr(getattr(item, "obj", None), "_hypothesis_internal_use_settings", None)
            if asked is not None:
                few = hypothesis.settings(
                    asked, max_examples=min(EXAMPLES, asked.max_examples), derandomize=True, database=None,
                    deadline=None, phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
                )  # fmt: skip
                item.obj._hypothesis_internal_use_settings = few
        if self.wanted is not None:
            items[:] = sorted((i for i in items if i.nodeid in self.wanted), key=lambda i: self.wanted[i.nodeid])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        if self.wanted is not None:
            return (yield)
        lines: set[tuple[str, int]] = set()

        def local(frame, event, _):
            if event == "line":
                lines.add((self.files[frame.f_code.co_filename], frame.f_lineno))
            return local

        def enter(frame, event, _):
            if frame.f_code.co_filename not in self.files:
                return None
            return local

        began = time.perf_counter()
        threading.settrace(enter)
        sys.settrace(enter)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)
            self.noted[item.nodeid] = {"seconds": time.perf_counter() - began, "lines": sorted(lines)}

    def pytest_runtest_logreport(self, report):
        if report.failed and not self.failed:
            self.failed = report.nodeid


def forked(copy: Path, paths: list[str], chosen: Chosen, seconds: float) -> tuple[str, dict]:
    """pytest in a child: ("passed" | "failed" | "too long", what it wrote)."""
    answer = copy / ".answer.json"
    answer.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))  # a mutant may grow a list for ever
            quiet = os.open(copy / ".output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            os.chdir(copy)
            sys.path[:] = [str(copy), *(p for p in sys.path if Path(p).resolve() != ROOT)]
            plugins = ["-p", "_hypothesis_pytestplugin", "-p", "pytest_timeout", "-p", "no:cacheprovider"]
            arguments = ["-x", "-q", "--tb=line", *plugins, "--rootdir", str(copy)]
            code = int(pytest.main([*arguments, *paths], plugins=[chosen]))
            answer.write_text(json.dumps({"failed": chosen.failed, "noted": chosen.noted}))
        finally:
            sys.stdout.flush()
            os._exit(code)
    end = time.monotonic() + seconds
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > end:
            break
        time.sleep(0.02)
    late = time.monotonic() > end
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what it started, too
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    written = json.loads(answer.read_text()) if answer.exists() else {}
    return "too long" if late else "passed" if code == 0 else "failed", written


def wilson(caught: int, tried: int) -> tuple[float, float]:
    """The 95 % interval of a share."""
    if not tried:
        return 0.0, 1.0
    z, p = 1.96, caught / tried
    middle = (p + z * z / (2 * tried)) / (1 + z * z / tried)
    half = z * math.sqrt(p * (1 - p) / tried + z * z / (4 * tried * tried)) / (1 + z * z / tried)
    return middle - half, middle + half


def named(folder: Path, files: list[str]) -> dict[str, tuple[str, Mutant]]:
    """Every mutant of the files by a name that says what and where; the second of two alike has a number."""
    found: dict[str, tuple[str, Mutant]] = {}
    for file in files:
        for m in mutants((folder / file).read_text()):
            name = f"{file}:{m.line} {m.operator}: {m.before} → {m.after or 'nothing'}"
            again = next(n for n in itertools.count(1) if f"{name} ({n})" not in found) if name in found else 0
            found[f"{name} ({again})" if again else name] = file, m
    return found


class Trial:
    """A copy of the project and what its tests reach."""

    def __init__(self, group: str, copy: Path) -> None:
        self.files, self.tests = GROUPS[group]
        self.copy = copy
        # Written as mutants are, so that what is held to be no mutant differs from one in nothing else.
        self.sources = {f: plain((copy / f).read_text()) for f in self.files}
        self.lines = {f: lines(source) for f, source in self.sources.items()}
        for file, source in self.sources.items():
            (copy / file).write_text(source)
        began = time.monotonic()
        result, written = forked(copy, self.tests, Chosen(None, [str(copy / f) for f in self.files]), 1800)
        if result != "passed":
            raise SystemExit(f"the tests fail without any mutant: {written.get('failed')}, see {copy / '.output'}")
        self.seconds = time.monotonic() - began
        self.noted = {test: note["seconds"] for test, note in written["noted"].items()}
        self.reached: dict[tuple[str, int], set[str]] = {}
        for test, note in written["noted"].items():
            for file, line in note["lines"]:
                self.reached.setdefault((str(Path(file).relative_to(copy)), line), set()).add(test)

    def run(self, file: str, m: Mutant) -> tuple[str, str]:
        """("caught" | "too long" | "survived", the test that caught it). Only tests that reach the line are run; of a line
        that none reaches, such as a constant of the module, all are."""
        near = self.reached.get((file, self.lines[file][m.place]), set())
        near = near | {t for t in self.noted if any(u in t for u in UNTRACED)} if near else set(self.noted)
        seconds = {t: self.noted[t] for t in near}
        paths = sorted({t.partition("::")[0] for t in near})
        path = self.copy / file
        path.write_text(m.source(self.sources[file]))
        try:
            result, written = forked(self.copy, paths, Chosen(seconds, []), min(180, 60 + 4 * sum(seconds.values())))
        finally:
            path.write_text(self.sources[file])
        return {"passed": "survived", "failed": "caught"}.get(result, result), written.get("failed", "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("group", choices=GROUPS)
    parser.add_argument("--sample", type=int, default=0, help="try so many at random; 0: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=24 * 60, help="stop after so many")
    parser.add_argument("--lines", help="FILE:FIRST-LAST, only these")
    parser.add_argument("--again", type=Path, help="only what survived in this file of results")
    parser.add_argument("--results", type=Path, help="append each result as a line of JSON")
    options = parser.parse_args()
    os.nice(15)
    with tempfile.TemporaryDirectory(prefix=f"mut-{options.group}-") as folder:
        copy = Path(folder).resolve()
        skip = shutil.ignore_patterns(".venv", ".git", "node_modules", ".run", "out", "__pycache__", ".pytest_cache")
        shutil.copytree(ROOT, copy, ignore=skip, dirs_exist_ok=True)
        attempt(copy, options)


def attempt(copy: Path, options: argparse.Namespace) -> None:
    """Try the mutants asked for and say what became of them."""
    every = named(copy, GROUPS[options.group][0])
    tried = list(every)
    if options.lines:
        file, _, span = options.lines.partition(":")
        first, last = map(int, span.split("-"))
        tried = [n for n in tried if every[n][0] == file and first <= every[n][1].line <= last]
    if options.again:
        told = {r["mutant"]: r["result"] for r in map(json.loads, options.again.read_text().splitlines())}
        tried = [n for n in tried if told.get(n) == "survived"]
    random.Random(options.seed).shuffle(tried)  # so that what was tried when time is up is a fair sample
    tried = tried[: options.sample or None]
    print(f"{options.group}: {len(every)} mutants, {len(tried)} tried", flush=True)
    trial = Trial(options.group, copy)
    print(f"the tests pass on the unchanged copy ({trial.seconds:.0f} s)", flush=True)
    counts = {"caught": 0, "too long": 0, "survived": 0}
    end = time.monotonic() + options.minutes * 60
    for number, name in enumerate(tried, 1):
        began = time.monotonic()
        if began > end:
            break
        result, test = trial.run(*every[name])
        counts[result] += 1
        if options.results:
            told = {"mutant": name, "result": result, "test": test, "seconds": round(time.monotonic() - began, 1)}
            with options.results.open("a") as out:
                out.write(json.dumps(told, ensure_ascii=False) + "\n")
        if result == "survived":
            print(f"survived: {name}", flush=True)
        if number % 50 == 0:
            print(f"{number} of {len(tried)}: {counts}", flush=True)
    caught = counts["caught"] + counts["too long"]
    total = sum(counts.values())
    low, high = wilson(caught, total)
    print(
        f"{options.group}: {caught} of {total} caught ({caught / max(total, 1):.1%}; of all {len(every)} "
        f"between {low:.0%} and {high:.0%}), of them {counts['too long']} by running too long"
    )


if __name__ == "__main__":
    main()
