"""A day worked in shares: CPU, memory, store requests and bytes of every step, each in a process of its own.

    python -m benchmarks.shares SETTINGS DAY [--bucket-mib 2]

SETTINGS are those of a day that `python -m benchmarks.night --keep` made; the lake is a new folder that goes when all is
measured. A step's process does all shares of that step, one after the other, so its peak is that of one share. CPU and peak
are the kernel's counts for the process, with those of a process that only opens the settings taken off the CPU.
`--bucket-mib` cuts a small day into as many shares as a large one. `benchmarks.scale` reckons from what this prints.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from benchmarks.night.measure import measured
from benchmarks.night.page import table
from etl.buckets import BUCKET_BYTES

ASKED = {
    "get": "GET",
    "digest": "HEAD",
    "exists": "HEAD",
    "put": "PUT",
    "create": "PUT",
    "list": "LIST",
    "delete": "DELETE",
}
"""What a store is asked → the S3 request it takes, of a listing one for each 1,000 keys."""


class Counting:
    """A store that counts requests and bytes. It keeps no files where readers could open them, as S3 does not."""

    def __init__(self, inner) -> None:
        self.inner = inner
        self.requests: Counter[str] = Counter()
        self.read = self.written = 0

    def local_path(self, key: str) -> None:
        return None

    def __getattr__(self, name: str):
        found = getattr(self.inner, name)
        if name not in ASKED:
            return found

        def counted(*arguments, **named):
            self.requests[ASKED[name]] += 1
            if name in ("put", "create"):
                self.written += len(arguments[1])
            answer = found(*arguments, **named)
            if name == "get":
                self.read += len(answer)
            if name == "list":
                answer = list(answer)
                self.requests["LIST"] += max(0, -(-len(answer) // 1000) - 1)
                return iter(answer)
            return answer

        return counted


def steps(jobs, day: date) -> dict[str, Callable[[], object]]:
    """Name → all of that step, of every source."""

    def each(verb: str) -> Callable[[], object]:
        return lambda: [getattr(jobs, verb)(day, source) for source in jobs.sources]

    def shared(verb: str, which: int) -> Callable[[], object]:
        def work() -> None:
            for source in jobs.sources:
                for number in range(jobs.shares(day, source)[which]):
                    getattr(jobs, verb)(day, source, number)

        return work

    return {
        "open": jobs.check_configuration, "pull": each("pull"), "read share": shared("read_share", 0),
        "make share": shared("make_share", 1), "normalise": each("normalise"), "rate": each("rate"),
        "reconcile": each("compare"), "roll up": lambda: jobs.roll_up(day), "audit": lambda: jobs.audit([day], notes="write"),
    }  # fmt: skip


def opened(settings: Path, day: date):
    from etl.jobs import Jobs

    after = datetime(day.year, day.month, day.day, 3, tzinfo=UTC) + timedelta(days=1)
    return Jobs.open(settings, run_id="shares", clock=lambda: after)


def one(step: str, settings: Path, day: date, bucket_bytes: int) -> dict:
    """The step in this process; what it asked of the store."""
    from etl import buckets

    buckets.BUCKET_BYTES = bucket_bytes
    jobs = opened(settings, day)
    jobs.lake.store = counting = Counting(jobs.lake.store)
    steps(jobs, day)[step]()
    shares = [jobs.shares(day, source) for source in jobs.sources] if step == "read share" else []
    return {
        "requests": dict(counting.requests), "read": counting.read, "written": counting.written, "shares": shares,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", type=Path)
    parser.add_argument("day", type=date.fromisoformat)
    parser.add_argument("--bucket-mib", type=float, default=BUCKET_BYTES >> 20)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    size = int(asked.bucket_mib * 2**20)
    if asked.step:
        print(json.dumps(one(asked.step, asked.settings, asked.day, size)))
        return
    rows, idle = [], 0.0
    with tempfile.TemporaryDirectory(prefix="tollbook-shares-") as lake:
        environment = {"TOLLBOOK_LAKE__URL": lake, "TOLLBOOK_SHARE_DAYS": "true"}
        for step in steps(opened(asked.settings, asked.day), asked.day):
            command = [sys.executable, "-m", "benchmarks.shares", str(asked.settings), str(asked.day)]
            run = measured([*command, "--bucket-mib", str(asked.bucket_mib), "--step", step], environment)
            idle = idle or run.cpu
            told = run.told
            if told["shares"]:
                print("shares (pages, buckets):", *told["shares"], file=sys.stderr)
            requests = [f"{told['requests'].get(name, 0):,}" for name in ("GET", "HEAD", "PUT", "LIST", "DELETE")]
            moved = [f"{told[name] / 1e6:,.1f}" for name in ("read", "written")]
            rows.append([step, f"{run.cpu - idle:.2f}", f"{run.peak_mib:,.0f}", *requests, *moved])
            print(rows[-1], file=sys.stderr, flush=True)
        daily = sum(f.stat().st_size for f in Path(lake).glob("daily/**/*.parquet"))
    header = ["step", "CPU s", "peak MiB", "GET", "HEAD", "PUT", "LIST", "DELETE", "MB read", "MB written"]
    print(
        table(header, rows) + f"\n\nOpening took {idle:.2f} CPU s, daily {daily / 1e6:,.2f} MB. {os.cpu_count()} cores."
    )


if __name__ == "__main__":
    main()
