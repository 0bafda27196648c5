"""The operator's page of a world with a gap, a record nobody can judge, one without a price and one of no account."""

from __future__ import annotations

import csv
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from html import unescape

import pytest
from typer.testing import CliRunner

from etl.jobs import Jobs
from etl.periods import Month
from reports.cli import app

OCTOBER = Month(2026, 10)
LOADED = (date(2026, 10, 5), date(2026, 10, 7))
GAP = date(2026, 10, 6)
HEADER = "Sid,Account Sid,From,To,Body,Status,Direction,Num Segments,Price,Price Unit,Date Sent"
SECRET = "a text nobody else may read"
OURS, LONDON, SEATTLE = "+12065550101", "+442071838750", "+12065550150"


@pytest.fixture
def world(settings, surroundings, provider):
    """Two days of the sandbox beside a folder of export files; the day between is missing."""
    table = '[sources.exports]\nkind = "files"\ncurrency = "USD"\npattern = "texts-{date}.csv"\nstore = { url = "drop" }\n\n'
    text = settings.read_text().replace("start = 2026-10-01", "start = 2026-10-05")
    settings.write_text(text.replace("[reports.store]", f"{table}[reports.store]", 1))
    sid = provider.accounts["acct_harbor"][0]
    drop = settings.parent / "drop"
    drop.mkdir()
    for n, day in enumerate(LOADED):
        at = f"{day}T10:00:00Z"
        rows = [
            f"SM{n}a,{sid},{OURS},{LONDON},{SECRET},delivered,outbound-api,1,-0.0400,USD,{at}",
            f"SM{n}b,{sid},{OURS},{SEATTLE},{SECRET},beamed,outbound-api,1,-0.0075,USD,{at}",
            f"SM{n}c,AC99,+12065550199,{SEATTLE},{SECRET},delivered,outbound-api,2,-0.0150,USD,{at}",
        ]
        (drop / f"texts-{day}.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    jobs = Jobs.open(run_id="a night in October", clock=lambda: datetime(2026, 10, 8, 1, tzinfo=UTC))
    for day in LOADED:
        jobs.run_day(day)
    jobs.state(OCTOBER)
    return jobs


def test_the_page_says_what_the_month_needs_and_what_it_earns(world, settings):
    done = CliRunner().invoke(app, ["operator", "--month", "2026-10"])
    assert done.exit_code == 3, done.output
    folder = settings.parent / "published" / "_operator" / "2026-10"
    html = (folder / "index.html").read_text()
    said = " ".join(
        unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.DOTALL)).replace("\u00a0", " ").split()
    )

    for sentence in (
        "4 charges have no price",
        "of exports, twilio",
        "No price for 2 charges of 1 account: add the price to prices.csv, then python -m etl rate --month 2026-10",
        "2026-10: 2 records in quarantine",
        "2026-10: 2 records of no account of that month",
        "Oct 6 Tu missing missing Oct 7 We",
        "unknown_status message The provider says something new",
        "for example SM0b 2 records",
        "Every account that is open waits for:",
    ):
        assert sentence in said, sentence

    margin = {row["account_id"]: row for row in csv.DictReader((folder / "margin.csv").open(newline=""))}
    daily = world.statements.load("acct_harbor", OCTOBER).daily
    assert Decimal(margin["acct_harbor"]["provider_cost"]) == daily["provider_cost"].sum()
    assert margin["unassigned"]["margin"] == "-0.03"
    days = {(row["date"], row["source"]): row for row in csv.DictReader((folder / "days.csv").open(newline=""))}
    assert days["2026-10-06", "twilio"]["state"] == "missing"
    assert (days["2026-10-05", "twilio"]["compared"], days["2026-10-05", "exports"]["compared"]) == (
        "matches",
        "no totals",
    )
    assert (days["2026-10-05", "exports"]["records"], days["2026-10-05", "exports"]["quarantined"]) == ("3", "1")

    for file in folder.parent.rglob("*.*"):
        text = file.read_text()
        assert SECRET not in text and not re.search(r"\+?1206555\d{4}|442071838750", text), file.name


def test_the_figures_are_those_the_lake_holds(world):
    import polars as pl

    found = world.operations(OCTOBER)
    events = [world.lake.read(v, ["outcome", "reason"]) for v in world.lake.heads("events").values()]
    assert found.loads["records"].sum() == sum(frame.height for frame in events)
    assert found.quarantine["records"].sum() == sum((f["outcome"] == "quarantined").sum() for f in events)
    charges = pl.concat(world.lake.read(v) for v in world.lake.heads("charges").values())
    assert found.unrated.filter(pl.col("by") == "record")["records"].sum() == charges["unrated"].count()
    assert found.margin["provider_cost"].sum() == charges["provider_cost"].sum()
    daily = pl.concat(world.lake.read(v) for v in world.lake.heads("daily").values())
    assert found.margin["provider_cost"].sum() == daily["provider_cost"].sum()
    # the sandbox's texts hold their carrier fee in the price
    money = found.money.filter(pl.col("source") == "twilio")
    assert (money["cost"] - money["ledger_cost"] - money["ledger_fees"]).abs().max() < Decimal("0.15")
    assert money["included"].sum() > 0
