"""Daily rows made up, and a small lake that holds them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
from typer.testing import CliRunner

from etl.cli import app
from etl.jobs import Jobs
from etl.lake import Partition
from etl.schemas import DATASETS

REPOSITORY = Path(__file__).resolve().parents[2]
TYPES = {**DATASETS["daily"].types, "date": pl.Date}

SETTINGS = """\
start = {start}
directory = "directory"
rates = "rates"
[lake]
url = "lake"
[sources.phone]
kind = "twilio"
connection = "phone"
[sources.drop]
kind = "twilio"
connection = "drop"
[reports.store]
url = "published"
"""

DIRECTORY = {
    "accounts": """\
account_id,name,company,currency,rate_card,email_to,provider_account_sid,valid_from
acct_a,Ash & Co,Ash & Co,USD,standard,a@example.com,,
acct_b,Birch,Birch,JPY,standard,b@example.com,,
acct_new,New,New,USD,standard,n@example.com,,2026-10-20
""",
    "owners": """\
account_id,owner_kind,owner_id,name
acct_a,member,ada,"=Ada, ""first"", A."
acct_a,member,bob,Bob
acct_a,inbox,front,Front desk
acct_b,inbox,front,受付
""",
    "numbers": "number_e164,account_id,owner_kind,owner_id,campaign_id,registered,number_class,valid_from,valid_to\n",
    "campaigns": "account_id,campaign_id,name,voice_detection\nacct_a,spring,Spring calls,true\n",
}


def row(day: date, **given) -> dict:
    """One daily row: an outbound text of Ada's unless said otherwise."""
    usual = {
        "account_id": "acct_a", "owner_kind": "member", "owner_id": "ada", "campaign_id": None, "line": "text",
        "direction": "outbound", "type": "sms", "carrier": None, "registered": None, "rate_id": "r-1",
        "caller_place": None, "callee_place": None, "currency": "USD", "unit": "segment", "events": 1, "quantity": 2,
        "messages": 1, "segments": 2, "billed_seconds": 0, "credits": 2, "charge": Decimal("0.019"),
        "provider_cost": Decimal(0), "unpriced": 0, "unrated": 0, "segments_differ": 0, "vanished": 0, "date": day,
    }  # fmt: skip
    return usual | given


def frame(rows: Iterable[Mapping]) -> pl.DataFrame:
    """Rows as `schemas.Daily` with ``date``."""
    rows = list(rows)
    assert all(set(r) == set(TYPES) for r in rows)
    return pl.DataFrame(rows, schema=TYPES, orient="row")


def place(folder: Path, *, start: str = "2026-10-01", settings: str = SETTINGS) -> Path:
    """Settings and directory in ``folder``; the settings file."""
    (folder / "directory").mkdir(parents=True)
    for name, text in DIRECTORY.items():
        (folder / "directory" / f"{name}.csv").write_text(text, encoding="utf-8")
    file = folder / "tollbook.toml"
    file.write_text(settings.format(start=start))
    return file


def load(settings: Path, rows: Iterable[Mapping], days: Iterable[date], sources: tuple[str, ...] = ("phone", "drop")):
    """Commit a roll-up of these sources for each of ``days``, with its rows."""
    lake = Jobs.open(settings, run_id="test").lake
    every = frame(rows)
    for day in days:
        own = every.filter(pl.col("date") == day)
        target = Partition.of("daily", date=day)
        inputs = {f"charges/{source}": "0" * 64 for source in sources}
        lake.commit(target, DATASETS["daily"].arrange(own), base=lake.head(target), inputs=inputs)


class Said:
    """What a command printed and how it ended."""

    def __init__(self, code: int, out: bytes, err: str) -> None:
        self.code, self.out, self.err = code, out, " ".join(err.replace("│", " ").split())

    @property
    def text(self) -> str:
        return self.out.decode()


def etl(*arguments: object) -> Said:
    done = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Said(done.exit_code, done.stdout_bytes, done.stderr)


def etl_alone(*arguments: object, unbuffered: str = "", **options) -> subprocess.Popen:
    """The command as a process of its own, without a single connection in its environment."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "TOLLBOOK"))}
    return subprocess.Popen(
        [sys.executable, "-m", "etl", *map(str, arguments)],
        cwd=REPOSITORY, env=kept | {"PYTHONUNBUFFERED": unbuffered},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
    )  # fmt: skip
