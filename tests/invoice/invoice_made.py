"""Events, daily totals and invoice lines made by hand, and how a month of them is held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl

from etl.invoice import Held, Invoice, Line, tally
from etl.invoice.held import EVENTS
from etl.periods import Month
from etl.schemas import DATASETS

OCTOBER = Month(2026, 10)
DAY = date(2026, 10, 6)
VOLUME = ("--messages-per-day", "30", "--calls-per-day", "6")
"""Of the sandbox."""
TYPES = {name: DATASETS["events"].types[name] for name in EVENTS}


def text(record_id: str, **given) -> dict:
    """One event: an outbound text of one segment for 0.0079, unless said otherwise."""
    at = datetime.combine(given.pop("day", DAY), datetime.min.time(), UTC) + timedelta(hours=9)
    return {
        "record_id": record_id, "kind": "message", "outcome": "accepted", "provider_account": "AC1",
        "direction": "outbound", "type": "sms", "status": "delivered", "occurred_at": at, "updated_at": at,
        "segments": 1, "answered_seconds": None,
        "provider_cost": Decimal("0.0079"), "provider_currency": "USD", "vanished": False, **given,
    }  # fmt: skip


def call(record_id: str, seconds: int, cost: str | None = "0.014", **given) -> dict:
    return text(
        record_id, kind="call", type="voice", status="completed", segments=None, answered_seconds=seconds,
        provider_cost=cost and Decimal(cost), **given,
    )  # fmt: skip


def events(rows: Iterable[Mapping]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=TYPES, orient="row")


def total(
    category: str, cost: str, usage: str = "0", unit: str = "segments", day: date = DAY, account: str = "AC1"
) -> dict:
    """One of the provider's own daily totals."""
    return {"date": day, "provider_account": account, "category": category, "count": None, "count_unit": None,
            "usage": Decimal(usage), "usage_unit": unit, "cost": Decimal(cost), "currency": "USD"}  # fmt: skip


def held(rows: Iterable[Mapping], totals: Iterable[Mapping] = (), as_of: datetime | None = None) -> Held:
    """A month that has these records and daily totals."""
    frame = events(rows)
    days = frame.with_columns(_day=pl.col("occurred_at").dt.date()).partition_by("_day", as_dict=True)
    tallies = [tally(of_day.drop("_day"), day, as_of) for (day,), of_day in days.items()]
    schema = {"date": pl.Date, **DATASETS["ledger"].types}
    return Held(
        pl.concat([tally(events([]), DAY), *tallies]), pl.DataFrame(list(totals), schema=schema, orient="row"),
        frame.filter(pl.col("kind") == "number").select("provider_account", "record_id"),
    )  # fmt: skip


def line(number: int, category: str, amount: str, quantity: str | None = None, **given) -> Line:
    """A line of October, in USD."""
    whole = {"currency": "USD", "start": OCTOBER.first, "end": OCTOBER.days[-1]}
    return Line(number, category, Decimal(amount), quantity and Decimal(quantity), **{**whole, **given})


def bill(*lines: Line) -> Invoice:
    return Invoice(tuple(lines))
