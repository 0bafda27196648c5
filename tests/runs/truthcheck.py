"""Hold what is billed against what the sandbox provider says it served, account by account and day by day.

python tests/runs/truthcheck.py --from 2026-03-01 --to 2026-10-31

Each month is read when it has just ended: of a recording deleted weeks ago the provider shows nothing any more.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import httpx  # noqa: E402
import polars as pl  # noqa: E402
from workplace import REPOSITORY, environment, workplace  # noqa: E402

OF_KIND = {
    "sms": (pl.col("line") == "text") & (pl.col("type") == "sms"),
    "mms": (pl.col("line") == "text") & (pl.col("type") == "mms"),
    "call": pl.col("line") == "call",
    "campaign_call": pl.col("line") == "campaign_call",
    "video": pl.col("line") == "video",
    "recording": pl.col("line") == "recording_storage",
    "number": pl.col("line") == "number",
}
UNPRICED = ("video", "number")
"""Kinds whose records have no price at the provider: it is in its totals only."""


def truth(first: date, last: date, folder: Path, *volume: str) -> pl.DataFrame:
    """The sandbox's own totals, straight from its generator and not through HTTP."""
    file = folder / "truth.jsonl"
    command = [sys.executable, "-m", "sandbox", "truth", "--from", str(first), "--to", str(last), "--out", str(file)]
    subprocess.run([*command, *volume], check=True, cwd=REPOSITORY, capture_output=True)
    return pl.DataFrame([json.loads(line) for line in file.read_text().splitlines()], infer_schema_length=None)


def differences(daily: pl.DataFrame, said: pl.DataFrame) -> tuple[list[str], int]:
    """(what differs, totals compared): messages, segments, started and stored minutes, numbers and provider cost per
    account, day, kind and direction; and nothing billed on a day the sandbox knows nothing of. Numbers are those the
    provider still listed when it was read, so ``said`` must have been told at that moment."""
    rolled = daily.with_columns(pl.col("date").cast(pl.String), pl.col("direction").fill_null("none"))
    found, compared = [], 0
    for kind, chosen in OF_KIND.items():
        ours = rolled.filter(chosen).group_by("account_id", "date", "direction").agg(
            pl.col("messages", "segments", "events", "quantity", "billed_seconds", "provider_cost").sum()
        )  # fmt: skip
        both = said.filter(pl.col("kind") == kind).join(
            ours, left_on=["account_id", "day", "direction"], right_on=["account_id", "date", "direction"], how="full",
            coalesce=True, suffix="_ours",
        )  # fmt: skip
        for row in both.iter_rows(named=True):
            where = f"{row['account_id']} {row['day']} {kind} {row['direction']}"
            price = 0 if kind in UNPRICED else row["provider_price"]
            pairs = {"provider cost": (row["provider_cost"] or Decimal(0), Decimal(price or 0))}
            if kind == "number":
                pairs["numbers"] = (row["quantity"], row["listed"])
            elif kind == "recording":
                pairs["recordings"] = (row["events"], row["billable"])
                pairs["stored minutes"] = (row["quantity"], row["talk_minutes"])
            elif kind in ("sms", "mms"):
                pairs["messages"] = (row["messages"], row["billable"])
            else:
                pairs["records"] = (row["events"], row["records"])
                pairs["seconds"] = (row["billed_seconds"], 60 * (row["dial_minutes"] or 0))
            if kind == "sms":
                pairs["segments"] = (row["segments_ours"], row["segments"])
            for what, (mine, theirs) in pairs.items():
                compared += 1
                if (mine or 0) != (theirs or 0):
                    found.append(f"{where}: {what} {mine}, the sandbox says {theirs}")
    return found, compared


def daily_of(jobs) -> pl.DataFrame:
    """Every day of the lake."""
    return jobs.lake.scan(list(jobs.lake.heads("daily").values())).collect()


def months(first: date, last: date) -> Iterator[tuple[date, date]]:
    """The window cut at the ends of months, both days included."""
    while first <= last:
        end = (first.replace(day=1) + timedelta(days=31)).replace(day=1) - timedelta(days=1)
        yield first, min(end, last)
        first = end + timedelta(days=1)


def main() -> None:
    from etl.jobs import Jobs
    from sandbox.launch import launch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="first", type=date.fromisoformat, default=date(2026, 3, 1))
    parser.add_argument("--to", dest="last", type=date.fromisoformat, default=date(2026, 10, 31))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, launch() as provider:
        settings = workplace(Path(folder) / "place", provider)
        os.environ.update(
            {k: v for k, v in environment(settings, provider).items() if k.startswith(("AIRFLOW", "TOLLBOOK"))}
        )
        began, said = time.monotonic(), []
        for first, last in months(options.first, options.last):
            now = f"{last + timedelta(days=3)}T12:00:00Z"
            httpx.post(f"{provider.url}/_sandbox/clock", json={"now": now}).raise_for_status()
            window = ["--from", str(first), "--to", str(last)]
            subprocess.run([sys.executable, "-m", "etl", "run", *window], check=True, cwd=REPOSITORY)
            said.append(truth(first, last, Path(folder), "--now", now))
        print(f"{time.monotonic() - began:.0f} s")
        found, compared = differences(daily_of(Jobs.open()), pl.concat(said, how="diagonal_relaxed"))
        print("\n".join(found[:20]))
        print(f"{compared} totals compared, {len(found)} differ")
        window = ["--from", str(options.first), "--to", str(options.last)]
        code = subprocess.run([sys.executable, "-m", "etl", "reconcile", *window], cwd=REPOSITORY).returncode
    sys.exit(1 if found or code else 0)


if __name__ == "__main__":
    main()
