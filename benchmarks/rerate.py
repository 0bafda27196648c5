"""The reference night rated again under another rate card, against the whole night: CPU seconds, and the same bytes.

    python -m benchmarks.rerate [--n 1000000] [--rounds 1] [--data DIR]

One price of the card is raised, the one most records were charged by. What is kept of the night is then rated and rolled up
again, with nothing pulled and nothing parsed; beside it stands the night made from nothing under the raised card. Charges
and daily of both must be the same bytes, and others than before. Each is a process of its own, counted from start to end.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median

from benchmarks.night.common import Workload, add_arguments, tell
from benchmarks.night.measure import Run, measured, run

MADE = ("charges", "daily")
RAISED = Decimal("0.001")


def again(settings: Path, day: date) -> None:
    """Rate and roll up what is there, in this process."""
    from benchmarks.night.night import touched
    from etl.jobs import Jobs

    morning = datetime.combine(day + timedelta(days=1), time(3), UTC)
    jobs = Jobs.open(settings, run_id="benchmark", clock=lambda: morning)
    there = touched(jobs, day)
    for each, source in there:
        jobs.rate(each, source)
    for each in sorted({each for each, _ in there}):
        jobs.roll_up(each)
    tell()


def stored(settings: Path) -> dict[str, str]:
    """Partition → the sha256 of its head."""
    from etl.jobs import Jobs

    lake = Jobs.open(settings).lake
    return {p.path: v.sha256 for dataset in MADE for p, v in lake.heads(dataset).items()}


def raise_price(settings: Path, day: date) -> str:
    """Raise the price that most of the day's texts were charged by; its rate_id."""
    import polars as pl

    from etl.jobs import Jobs
    from etl.lake import Partition

    lake = Jobs.open(settings).lake
    daily = lake.read(lake.head(Partition.of("daily", date=day)), ["line", "rate_id", "events"])
    used = daily.filter(line="text").group_by("rate_id").agg(pl.col("events").sum())
    rate = used.sort("events", "rate_id")["rate_id"][-1]
    path = settings.parent / "rates" / "prices.csv"
    header, *lines = path.read_text().splitlines()
    at = header.split(",").index("price")
    for number, line in enumerate(lines):
        cells = line.split(",")
        if cells[0] == rate:
            cells[at] = str(Decimal(cells[at]) + RAISED)
            lines[number] = ",".join(cells)
    path.write_text("\n".join([header, *lines]) + "\n")
    return rate


def measure(work: Workload, data: Path, house: Path) -> tuple[Run, Run, Run]:
    """(the night, the night rated again under a raised card, the night from nothing under that card), in a folder that is
    new."""
    day, tables = work.day, data / "tables"
    run("mapping", data / work.name, tables, house, "--day", day)
    settings = house / "tollbook.toml"
    night = run("night", settings, day)
    before = stored(settings)
    rate = raise_price(settings, day)
    rated = measured([sys.executable, "-m", "benchmarks.rerate", "--again", str(settings), "--day", str(day)])
    found = stored(settings)
    shutil.rmtree(house / "lake")
    afresh = run("night", settings, day)
    if found != stored(settings):
        sys.exit("rated again is not what a night from nothing makes")
    changed = [path for path, sha in found.items() if before[path] != sha]
    if not changed:
        sys.exit(f"raising {rate} changed nothing")
    print(f"{rate} raised: {len(changed)} of {len(found)} partitions changed, all as from nothing", file=sys.stderr)
    return night, rated, afresh


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=Workload.n, help="messages, 1000000")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--data", type=Path, default=Path("~/.cache/tollbook-bench"), help="cache folder of benchmarks.night")
    parser.add_argument("--again", type=Path, help=argparse.SUPPRESS)
    add_arguments(parser)
    asked = parser.parse_args()
    if asked.again:
        again(asked.again, asked.day)
        return
    work, data = Workload(asked.n, asked.seed, asked.day, asked.shard, asked.xdup), asked.data.expanduser().resolve()
    day = ("--n", work.n, "--seed", work.seed, "--day", work.day, "--shard", work.shard, "--xdup", work.xdup)
    run("workload", "day", data, *day)
    run("workload", "tables", data)
    rounds = []
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory(dir=data) as folder:
            rounds.append(measure(work, data, Path(folder) / "house"))
    print("| | CPU s | × the night |\n| --- | --: | --: |")
    for name, which in (("the night", 0), ("rated again under another card", 1), ("the night under that card", 2)):
        cpu, ratio = median(r[which].cpu for r in rounds), median(r[which].cpu / r[0].cpu for r in rounds)
        print(f"| {name} | {cpu:.1f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
