"""kill -9 at every change a small job makes on disk, then a clean run: the tree must be as if nothing happened.

A program of its own, run by test_lake_crash.py: it imports everything once and forks for each attempt, so no thread
of the test session is ever forked.

    python tests/lake/killsweep.py /empty/folder            # before each call that changes the disk
    python tests/lake/killsweep.py /empty/folder --all      # before and after each system call; minutes
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from etl.lake import Lake, Partition, open_store

CHANGES = ("write", "replace", "link", "mkdir", "unlink")  # fsync changes nothing that a kill could show
_ALL = (*CHANGES, "fsync", "open", "close", "scandir", "stat")
KILLED = -signal.SIGKILL


def job(root: Path, run_id: str, generation: int) -> None:
    """Two partitions and a page as received; the second partition is made from the first."""
    lake = Lake(open_store(root), run_id=run_id, clock=lambda: datetime.now(UTC))
    day = {"date": "2026-10-01"}
    events, daily = Partition.of("events", source="twilio", **day), Partition.of("daily", **day)
    base = lake.head(events)
    page = lake.put_blob("raw", b'{"page": %d}' % generation, ".json")
    frames = [pl.DataFrame({"id": [n], "units": [generation]}) for n in range(generation)]
    head = lake.commit(events, frames, base=base, inputs={"raw": page})
    base = lake.head(daily)
    total = lake.read(lake.head(events))["units"].sum()
    lake.commit(daily, pl.DataFrame({"units": [total]}), base=base, inputs={"events": head.sha256})
    lake.pin(f"close/generation={generation}", {"events": head.sha256})
    lake.heal()


def fork(work, *arguments) -> int:
    """Run in a child; its exit code, negative for the signal that killed it."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            work(*arguments)
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status)


def killed(root: Path, generation: int, at: int, after: bool, calls: tuple[str, ...]) -> None:
    """The job, killed just before or just after number `at` of its calls of these kinds."""
    count = 0

    def doomed(real):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count == at and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            mine = count
            try:
                return real(*args, **kwargs)
            finally:
                if mine == at:
                    os.kill(os.getpid(), signal.SIGKILL)

        return call

    for name in calls:
        setattr(os, name, doomed(getattr(os, name)))
    job(root, "doomed", generation)


def sound(root: Path) -> None:
    """No error in the audit, and every head can be read."""
    lake = Lake(open_store(root), run_id="auditor")
    errors = [str(finding) for finding in lake.audit() if finding.level == "error"]
    assert not errors, errors
    for dataset in ("events", "daily"):
        for head in lake.heads(dataset).values():
            lake.read(head)


def again(root: Path, generation: int) -> None:
    """What is there after the kill is sound, and a clean run completes it."""
    if root.exists():
        sound(root)
    job(root, "again", generation)
    sound(root)


def tree(root: Path) -> dict[str, bytes]:
    """Every file below the root but temporary ones; in log entries, what must differ between runs is left out."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_dir() or name.startswith(".tmp/"):
            continue
        data = path.read_bytes()
        if name.startswith("_log/"):
            entry = json.loads(data)
            for volatile in ("run_id", "recorded_at", "parent"):
                del entry[volatile]
            data = json.dumps(entry, sort_keys=True).encode()
        found[name] = data
    return found


def sweep(folder: Path, generation: int, start: Path | None, everywhere: bool) -> int:
    """Kill at every point, beginning from a copy of `start`; how many points there were."""
    root = folder / "lake"

    def fresh() -> None:
        shutil.rmtree(root, ignore_errors=True)
        if start is not None:
            shutil.copytree(start, root)

    fresh()
    assert fork(job, root, "clean", generation) == 0
    wanted = tree(root)
    points = 0
    at = 0
    while True:
        at += 1
        for after in (False, True) if everywhere else (False,):
            fresh()
            code = fork(killed, root, generation, at, after, _ALL if everywhere else CHANGES)
            if code == 0:
                return points
            assert code == KILLED, f"point {at}: exit {code}"
            points += 1
            where = f"killed {'after' if after else 'before'} call {at}"
            assert fork(again, root, generation) == 0, f"{where}: damage, or the next run failed"
            found = tree(root)
            differ = [name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)]
            assert not differ, f"{where}: {differ}"


def main() -> None:
    folder = Path(sys.argv[1])
    everywhere = "--all" in sys.argv
    first = sweep(folder, 1, None, everywhere)
    start = folder / "start"
    shutil.rmtree(start, ignore_errors=True)
    assert fork(job, start, "before", 1) == 0
    # a restatement, from one file to two, over what is there
    second = sweep(folder, 2, start, everywhere)
    print(f"{first} {second}")


if __name__ == "__main__":
    main()
