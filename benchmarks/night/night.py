"""The night by Tollbook: the verbs of `etl.jobs.Jobs`, in one process, on the day and the days before it that got late rows.

    python -m benchmarks.night.night SETTINGS DAY

Raw files kept, events checked against the contract, each record once, charges, daily: everything committed to the lake of
the settings (or of ``TOLLBOOK_LAKE__URL``) as on any night.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from benchmarks.night.common import LATE_DAYS, tell
from etl.jobs import Jobs


def night(jobs: Jobs, day: date) -> Counter[str]:
    """All of it. CPU seconds by verb."""
    spent: Counter[str] = Counter()

    @contextmanager
    def timed(verb: str) -> Iterator[None]:
        began = time.process_time()
        yield
        spent[verb] += time.process_time() - began

    with timed("open"):
        jobs.check_configuration()
        _ = jobs.directory.terms
    for source in jobs.sources:
        with timed("pull"):
            jobs.pull(day, source)
        with timed("normalise"):
            jobs.normalise(day, source)
    for each, source in touched(jobs, day):
        with timed("rate"):
            jobs.rate(each, source)
    for each in sorted({each for each, _ in touched(jobs, day)}):
        with timed("roll up"):
            jobs.roll_up(each)
    return spent


def touched(jobs: Jobs, day: date) -> list[tuple[date, str]]:
    """(UTC day, source) of the events there are: the day, and those before it that its files had late rows of."""
    days = (day - timedelta(days=LATE_DAYS), day)
    heads = jobs.lake.heads("events", date=days)
    return [(date.fromisoformat(p["date"]), p["source"]) for p in heads]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", type=Path)
    parser.add_argument("day", type=date.fromisoformat)
    asked = parser.parse_args()
    next_morning = datetime(asked.day.year, asked.day.month, asked.day.day, 3, tzinfo=UTC) + timedelta(days=1)
    spent = night(Jobs.open(asked.settings, run_id="benchmark", clock=lambda: next_morning), asked.day)
    tell(
        steps={verb: round(seconds, 3) for verb, seconds in spent.items()},
        start=round(time.process_time() - sum(spent.values()), 3),
    )


if __name__ == "__main__":
    main()
