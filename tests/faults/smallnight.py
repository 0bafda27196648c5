"""A night as small as can be, from a dropped file to a published statement: every verb and store call, no network.

    python tests/faults/smallnight.py FOLDER                  # SIGKILL it before every 40th store call
    python tests/faults/smallnight.py FOLDER --every 1        # before each
    python tests/faults/smallnight.py FOLDER --every 1 --changes   # and before each call that changes the disk
    python tests/faults/smallnight.py FOLDER --memory 3       # let it run out of memory at as many limits
    python tests/faults/smallnight.py FOLDER --once           # one night in FOLDER/place, and nothing happens to it

A program of its own for what kills: it imports everything once and forks for each attempt, so that no thread of a test
session is ever forked.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
for _folder in ("", "tests/lake", "tests/runs", "tests/faults"):
    sys.path.insert(0, str(ROOT / _folder))

from killrun import compare, contents  # noqa: E402
from killsweep import CHANGES, KILLED, fork  # noqa: E402
from workplace import workplace  # noqa: E402

from etl.lake import Lake, Store  # noqa: E402
from etl.settings import Connection, connection_from_environment  # noqa: E402
from stack.seaweed import Endpoint  # noqa: E402

DAY = date(2026, 10, 31)
"""The last day of a month, and the first that is billed: one day is the whole month."""
MOMENT = datetime(2026, 11, 20, 3, tzinfo=UTC)
DROP = '[sources.drop]\nkind = "files"\ncurrency = "USD"\npattern = "*{date}*"\nstore = { url = "drop" }\n'
PRELOADED = ("polars", "pyarrow.parquet", "dataframely", "boto3", "httpx", "jinja2", "babel.dates", "pydantic_settings")
"""What every child needs and takes long; nothing that makes Polars start threads, which would not survive the fork."""
CALLS = ("get", "put", "create", "digest", "exists", "list", "delete", "sweep")
"""All a store can be asked."""


@dataclass(frozen=True)
class Place:
    """Where a night happens: a folder with its settings, and perhaps a bucket for what it stores."""

    settings: Path
    s3: Endpoint | None = None
    clock: Callable[[], datetime] = field(default=lambda: MOMENT)

    @classmethod
    def copy(cls, template: Path, folder: Path, *, s3: Endpoint | None = None, prefix: str = "") -> Place:
        """Another place with the same day to load; with ``s3`` everything is stored in the bucket below ``prefix``."""
        shutil.copytree(template.parent, folder, dirs_exist_ok=True)
        settings = folder / template.name
        if s3:
            text = re.sub(
                r'^url = "(lake|published)"',
                rf'connection = "s3"\nurl = "s3://{prefix}/\1"',
                settings.read_text(),
                flags=re.M,
            )
            settings.write_text(text)
        return cls(settings, s3)

    @property
    def folder(self) -> Path:
        return self.settings.parent

    def resolve(self, name: str) -> Connection:
        if self.s3 and name == "s3":
            return Connection(
                login=self.s3.access_key, password=self.s3.secret_key, extra={"endpoint_url": self.s3.endpoint}
            )
        return connection_from_environment(name)

    def jobs(self, run_id: str = "looker"):
        from etl.jobs import Jobs

        return Jobs.open(self.settings, run_id=run_id, clock=self.clock, resolve=self.resolve)

    def stores(self) -> dict[str, Store]:
        jobs = self.jobs()
        return {"lake": jobs.lake.store, "published": jobs.open_store(jobs.settings.reports.store)}


def make(folder: Path) -> Path:
    """The settings file of a workplace whose source is one day's export file."""
    settings = workplace(folder, None, start=str(DAY), source=DROP)
    subprocess.run(
        [sys.executable, "-m", "sandbox", "export", "--day", str(DAY), "--format", "bulkexport",
         "--messages-per-day", "40", "--out", str(folder / "drop")],
        check=True, cwd=ROOT, capture_output=True,
    )  # fmt: skip
    return settings


def night(place: Place, run_id: str = "night") -> int:
    """pull → normalise → rate → reconcile → roll up → state → close → publish; how many objects changed.

    A night that is tried again has the same run id, as a scheduler's retry has."""
    from etl.periods import Month
    from reports.jobs import Reports

    jobs, month = place.jobs(run_id), Month.of(DAY)
    done = [*jobs.run_day(DAY).done, jobs.state(month)]
    held = [reason for closing in jobs.close(month) for reason in closing.held]
    if held:
        raise RuntimeError(f"nothing may hold this month: {held}")
    published = list(Reports(jobs).publish(month))
    if errors := [outcome.error for outcome in published if outcome.error]:
        raise RuntimeError(f"not published: {errors}")
    return sum(one.changed for one in done) + sum(outcome.done for outcome in published)


def stored(place: Place) -> dict[str, bytes]:
    """Every object in lake and reports, as `killrun.contents` reads them."""
    return {f"{name}/{key}": data for name, store in place.stores().items() for key, data in contents(store).items()}


def sound(place: Place, *, healed: bool) -> None:
    """No damage in the lake, and what an outsider's glob finds is whole. ``healed``: nothing lags or is left over."""
    import io

    import polars as pl

    store = place.stores()["lake"]
    levels = ("error", "warn", "note") if healed else ("error",)
    found = [str(finding) for finding in Lake(store, run_id="auditor").audit() if finding.level in levels]
    assert not found, found
    for key in store.list(""):
        if not key.startswith(("_", "audited/")) and "/date=" in key:
            assert key.endswith("/part.parquet"), key
            pl.read_parquet(io.BytesIO(store.get(key)))


# ------------------------------------------------------------------------------------------------ killing it


def _again(place: Place) -> None:
    sound(place, healed=False)
    night(place)
    sound(place, healed=True)


def _counted(at: int, changes: bool, strike: Callable[[], None]) -> None:
    """``strike`` before store call number ``at`` from now on, counting with ``changes`` what changes the disk too."""
    from etl.lake.local import LocalStore
    from etl.lake.s3 import S3Store

    count = 0

    def doomed(real):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            if count == at:
                strike()
            return real(*args, **kwargs)

        return call

    for owner in (LocalStore, S3Store):
        for name in CALLS:
            setattr(owner, name, doomed(getattr(owner, name)))
    for name in CHANGES if changes else ():
        setattr(os, name, doomed(getattr(os, name)))


def _killed(place: Place, at: int, changes: bool) -> None:
    _counted(at, changes, lambda: os.kill(os.getpid(), signal.SIGKILL))
    night(place)


def _starved(place: Place, allowed: int) -> None:
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - what it says while dying is long and known
        os.dup2(nowhere.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    night(place)


def _weighed(place: Place, into: Path) -> None:
    before = _virtual("VmSize")
    night(place)
    into.write_text(f"{before} {_virtual('VmPeak')}")


def _virtual(name: str) -> int:
    """Bytes of address space of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


class Sweep:
    """Many nights in one folder or bucket, each begun anew, hurt once, run again, and compared."""

    def __init__(self, folder: Path, s3: Endpoint | None) -> None:
        self.template, self.folder, self.s3 = make(folder / "template"), folder, s3
        self.number = 0
        place = self.place()
        self.weight = folder / "weight"
        assert fork(_weighed, place, self.weight) == 0, "a night that nobody disturbs"
        self.expected = stored(place)

    def place(self) -> Place:
        self.number += 1
        where = self.folder / "place"
        shutil.rmtree(where, ignore_errors=True)
        return Place.copy(self.template, where, s3=self.s3, prefix=f"lake/place-{self.number}")

    def hurt(self, work: Callable[..., None], *arguments: object) -> int:
        """The exit code of a night that something happened to, after a clean run was seen to mend it."""
        place = self.place()
        code = fork(work, place, *arguments)
        assert fork(_again, place) == 0, f"{work.__name__}{arguments}: damage, or the next run failed"
        compare(self.expected, stored(place))
        return code

    def kill(self, every: int, first: int, most: int, changes: bool) -> int:
        """SIGKILL before store call ``first`` and each ``every``-th after it; how often it was hit."""
        for kills in range(most):
            code = self.hurt(_killed, first + kills * every, changes)
            if code != KILLED:
                assert code == 0, f"kill {kills + 1}: exit {code}"
                return kills
        return most

    def starve(self, times: int) -> int:
        """Let it run out of address space at so many limits; how many nights died of it."""
        least, most = map(int, self.weight.read_text().split())
        limits = [least + (most - least) * (4 * n + 1) // (4 * times) for n in range(times)]
        died = sum(self.hurt(_starved, limit) != 0 for limit in limits)
        # how much a night takes varies; of nothing to spare it dies at the latest
        for part in (8, 32, 1000) if not died else ():
            died += self.hurt(_starved, least + (most - least) // part) != 0
        return died


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=40)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--most", type=int, default=100_000, help="kills")
    parser.add_argument("--changes", action="store_true")
    parser.add_argument("--memory", type=int, default=0)
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--s3", nargs=3, metavar=("URL", "KEY", "SECRET"), help="store in its bucket `lake`")
    options = parser.parse_args()
    if options.once:
        night(Place.copy(make(options.folder / "template"), options.folder / "place"))
        return
    for name in PRELOADED:
        import_module(name)
    sweep = Sweep(options.folder.absolute(), Endpoint(*options.s3) if options.s3 else None)
    done = {"objects": len(sweep.expected)}
    if options.memory:
        done["starved"] = sweep.starve(options.memory)
    else:
        done["kills"] = sweep.kill(options.every, options.first, options.most, options.changes)
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(done))


if __name__ == "__main__":
    main()
