"""Operations made by hand for the tests of the operator's page: a usual October, one in order, a hostile one, a huge one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl

from etl import operations as ops
from etl.money import MONEY
from etl.operations import Operations
from etl.periods import Month
from etl.schemas import DATASETS

OCTOBER = Month(2026, 10)
NOW = datetime(2026, 11, 9, 6, 30, tzinfo=UTC)
UTC_TIME = pl.Datetime("us", "UTC")

SCHEMAS = {
    "loads": {"date": pl.Date, "source": pl.String, "state": pl.String, "compared": pl.String, "records": pl.Int64,
              "accepted": pl.Int64, "excluded": pl.Int64, "quarantined": pl.Int64, "unrated": pl.Int64, "pages": pl.Int64,
              "first_at": UTC_TIME, "changed_at": UTC_TIME, "run_id": pl.String, "totals": pl.Int64,
              "explained": pl.Int64, "unexplained": pl.Int64},
    "unrated": {"reason": pl.String, "line": pl.String, "account_id": pl.String, "by": pl.String, "records": pl.Int64,
                "first_date": pl.Date, "last_date": pl.Date, "example": pl.String, "fix": pl.String},
    "quarantine": {"reason": pl.String, "source": pl.String, "kind": pl.String, "records": pl.Int64,
                   "first_date": pl.Date, "last_date": pl.Date, "example": pl.String, "fix": pl.String},
    "unassigned": {"account_id": pl.String, "known": pl.Boolean, "records": pl.Int64, "segments": pl.Int64,
                   "charge": MONEY, "currency": pl.String},
    "unpriced": {"line": pl.String, "records": pl.Int64, "unpriced": pl.Int64, "oldest": pl.Date},
    "accounts": {"account_id": pl.String, "name": pl.String, "state": pl.String, "revision": pl.Int64,
                 "closed_at": UTC_TIME, "currency": pl.String, "total": MONEY, "total_now": MONEY,
                 "held": pl.List(pl.String)},
}  # fmt: skip
RECONCILED = {**DATASETS["reconciled"].types, "date": pl.Date, "source": pl.String}


def frame(schema: dict, *rows: tuple) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def load(day: date, source: str, records: int | None = 100, state: str = "loaded", compared: str | None = "matches",
         unexplained: int = 0) -> tuple:  # fmt: skip
    if records is None:
        return (day, source, state, None, *[None] * 12)
    at = datetime(day.year, day.month, day.day, 2, 30, tzinfo=UTC) + timedelta(days=1)
    return (day, source, state, compared, records, records, 0, 0, 0, 4, at, at, f"scheduled__{day}T02:00:00+00:00", 20, 0,
            unexplained)  # fmt: skip


def total(day: date, category: str, cost: str, theirs: str | None, fees: str | None = None, reading: str | None = "apart",
          verdict: str = "ok", source: str = "twilio", why: str | None = None) -> tuple:  # fmt: skip
    """A row of `schemas.Reconciled` with date and source."""
    amounts = [None if amount is None else Decimal(amount) for amount in (cost, theirs, fees)]
    return ("AC1", category, 5, None if theirs is None else 5, 7, None if theirs is None else 7, "segments", *amounts, 0,
            reading, verdict, why, "acme", day, source)  # fmt: skip


def margin_of(
    accounts: list[tuple], charged: list[tuple], costs: list[tuple], waiting: list[tuple] = ()
) -> pl.DataFrame:
    """`etl.operations.margin` of small lists: (id, currency), (id, charged, products), (id, currency, cost), (id, unpriced)."""
    return ops.margin(
        frame({"account_id": pl.String, "currency": pl.String}, *accounts),
        frame({"account_id": pl.String, "charged": MONEY, "products": MONEY},
              *((a, Decimal(c), Decimal(p)) for a, c, p in charged)),
        frame({"account_id": pl.String, "provider_currency": pl.String, "cost": MONEY},
              *((a, c, Decimal(cost)) for a, c, cost in costs)),
        frame({"account_id": pl.String, "unpriced": pl.Int64}, *waiting),
    )  # fmt: skip


def account(account_id: str, state: str = "provisional", held: tuple[str, ...] = (), total: str = "100.00",
            now: str | None = None, name: str | None = None, currency: str = "USD") -> tuple:  # fmt: skip
    closed = datetime(2026, 11, 8, 4, tzinfo=UTC) if state == "final" else None
    return (account_id, name or account_id.title(), state, int(state == "final"), closed, currency, Decimal(total),
            Decimal(now or total), list(held))  # fmt: skip


def usual(month: Month = OCTOBER) -> Operations:
    """The 6th is missing, the 9th differs from the provider, two charges have no price, one record is in quarantine; acme
    is closed, bolt has no price for something, euro's costs are in dollars."""
    gap, odd, *_ = month.days[5], month.days[8]
    loads = frame(SCHEMAS["loads"], *(
        load(day, "twilio", None, "missing") if day == gap
        else load(day, "twilio", compared="differs", unexplained=1) if day == odd
        else load(day, "twilio", state="late" if day == month.days[1] else "loaded")
        for day in month.days
    ))  # fmt: skip
    rate = f"python -m etl rate --month {month}"
    unrated = frame(
        SCHEMAS["unrated"],
        ("no price", "text", "bolt", "record", 2, month.days[2], month.days[3], "SM01", f"add the price to prices.csv, then {rate}"),
    )  # fmt: skip
    quarantine = frame(
        SCHEMAS["quarantine"],
        ("bad_price", "twilio", "message", 1, month.days[7], month.days[7], "SM02",
         f"ask the provider with the record id (docs/sources.md), then python -m etl run --date {month.days[7]}"),
    )  # fmt: skip
    gap_said = f"day missing: {gap} of twilio: load it with python -m etl run --date {gap}"
    accounts = frame(
        SCHEMAS["accounts"],
        account("acme", "final"),
        account("bolt", "open", (gap_said, f"2 charge(s) without a price: add the price to the rate card, then {rate}"), "10.00"),
        account("euro", "open", (gap_said,), "50.00", currency="EUR"),
    )  # fmt: skip
    reconciled = frame(
        RECONCILED,
        total(month.days[0], "sms", "3.50", "3.00", "0.50", "included"),
        total(month.days[0], "sms-outbound", "3.50", "3.00", None, None),
        total(month.days[0], "calls", "2.00", "2.00"),
        total(odd, "sms", "4.00", "3.00", "0.40", None, "unexplained", why="the cost differs"),
        total(odd, "failed-message-processing-fee", "0", "0.10"),
    )
    return Operations(
        month=month,
        now=NOW,
        as_of=datetime(2026, 11, 9, 2, 40, tzinfo=UTC),
        through=month.days[-1],
        sources=("twilio",),
        loads=loads,
        unrated=unrated,
        quarantine=quarantine,
        unassigned=frame(
            SCHEMAS["unassigned"],
            ("unassigned", False, 3, 4, Decimal("0.0180"), "USD"),
            ("acme", True, 7, 9, Decimal("0.0630"), "USD"),
        ),
        unpriced=frame(SCHEMAS["unpriced"], ("text", 300, 3, date(2026, 10, 30)), ("call", 100, 0, None)),
        reconciled=reconciled,
        money=ops.money(reconciled, frame({"source": pl.String, "currency": pl.String}, ("twilio", "USD"))),
        margin=margin_of(
            [("acme", "USD"), ("bolt", "USD"), ("euro", "EUR")],
            [("acme", "100.00", "29.00"), ("bolt", "10.00", "0"), ("euro", "50.00", "0")],
            [("acme", "USD", "40.125"), ("bolt", "USD", "12.50"), ("euro", "USD", "20"), ("unassigned", "USD", "1.00")],
            [("acme", 3)],
        ),
        accounts=accounts,
        todo=ops.todo(month, loads, unrated, accounts, (), [f"{month}: 1 record(s) in quarantine"]),
        corrections=frame(
            ops.CORRECTED,
            ("acme", "2026-09", "USD", Decimal("3.10"), Decimal("0"), 12, "late (12 records), follows"),
            ("bolt", "2026-08", "USD", Decimal("-41.07"), Decimal("-29"), 3, "gone (3 records)"),
            ("euro", "2026-09", "EUR", Decimal("0.02"), Decimal("0"), 0, "follows"),
        ),
        revisions=frame(
            ops.REVISED,
            ("acme", 2, 1, "Texts of October 5 were billed to bolt", "manual__2026-11-08T04:00:00", datetime(2026, 11, 8, 4, tzinfo=UTC)),
        ),
    )  # fmt: skip


def in_order(month: Month = OCTOBER) -> Operations:
    """Everything loaded, rated, compared and closed."""
    made = usual(month)
    return replace(
        made,
        loads=frame(SCHEMAS["loads"], *(load(day, "twilio") for day in month.days)),
        unrated=made.unrated.clear(),
        quarantine=made.quarantine.clear(),
        unassigned=made.unassigned.clear(),
        unpriced=frame(SCHEMAS["unpriced"], ("text", 300, 0, None)),
        reconciled=made.reconciled.filter(pl.col("verdict") == "ok"),
        margin=margin_of([("acme", "USD")], [("acme", "100.00", "0")], [("acme", "USD", "40")]),
        accounts=frame(SCHEMAS["accounts"], account("acme", "final")),
        todo=(),
        corrections=made.corrections.clear(),
        revisions=made.revisions.clear(),
    )


def nothing(month: Month = OCTOBER) -> Operations:
    """A month nothing is known of, in a house without customers."""
    made = in_order(month)
    frames = ("unpriced", "reconciled", "money", "margin", "accounts")
    empty = {name: getattr(made, name).clear() for name in frames}
    loads_ = frame(SCHEMAS["loads"], *(load(day, "twilio", None, "missing") for day in month.days))
    todo = ops.todo(month, loads_, made.unrated, empty["accounts"])
    return replace(made, as_of=None, through=None, loads=loads_, todo=todo, **empty)


HOSTILE = "<script>alert(1)</script> \"'& =1+1 \u202e evil 🦊 +12065550142 " + "Wörter" * 12


def hostile(month: Month = OCTOBER) -> Operations:
    """Names, ids and sentences that somebody wrote to do harm, or a number into."""
    made = usual(month)
    written = pl.lit(HOSTILE)
    return replace(
        made,
        unrated=made.unrated.with_columns(example=pl.lit("12065550142"), reason=written, fix=written),
        quarantine=made.quarantine.with_columns(example=pl.lit("'><img src=x onerror=alert(1)>"), reason=written, fix=written),
        accounts=made.accounts.with_columns(name=written, held=pl.concat_list(written)),
        loads=made.loads.with_columns(
            run_id=pl.when(pl.col("run_id").is_not_null()).then(pl.lit("'><b>" + "run" * 80)), source=pl.lit("s" * 64)
        ),
        reconciled=made.reconciled.with_columns(provider_account=pl.lit("=cmd()|+12065550142"), why=written),
        margin=made.margin.with_columns(charged=pl.lit(Decimal("123456789.01")).cast(MONEY)),
        revisions=made.revisions.with_columns(reason=written, run_id=written),
        todo=(f"{HOSTILE}: python -m etl run --date 2026-10-06", "2026-10 is closed for acme: give +1 (206) 555-0142 a date"),
    )  # fmt: skip


def huge(month: Month = OCTOBER, accounts: int = 1000, sources: int = 5) -> Operations:
    """More of everything than a page has room for."""
    made = usual(month)
    ids = [f"acct_{n:04d}_with_quite_a_long_identifier" for n in range(accounts)]
    names = [f"source_number_{n}" for n in range(sources)]
    said = tuple(f"day missing: {day} of x: load it with python -m etl run --date {day}" for day in month.days)
    reasons = [f"reason_{n:03d}" for n in range(300)]
    return replace(
        made,
        sources=tuple(names),
        loads=frame(SCHEMAS["loads"], *(load(day, s, 1_234_567, "late", "differs", 3) for day in month.days for s in names)),
        unrated=pl.concat([made.unrated.with_columns(account_id=pl.lit(i)) for i in ids]),
        quarantine=pl.concat([made.quarantine.with_columns(reason=pl.lit(r)) for r in reasons]),
        unassigned=frame(SCHEMAS["unassigned"], *((i, True, 5, 5, Decimal("0.05"), "USD") for i in ids)),
        reconciled=frame(RECONCILED, *(
            total(day, f"category-{n}", "1", "2", verdict="unexplained", source=s, why="the number of records differs")
            for day in month.days for s in names for n in range(20)
        )),
        money=pl.concat([made.money.with_columns(source=pl.lit(s), date=pl.lit(d)) for s in names for d in month.days]),
        margin=margin_of([(i, "USD") for i in ids], [(i, f"{n}.00", "1") for n, i in enumerate(ids)],
                         [(i, "USD", "12.345678901") for i in ids]),
        corrections=pl.concat([made.corrections.with_columns(account_id=pl.lit(i)) for i in ids]),
        revisions=pl.concat([made.revisions.with_columns(account_id=pl.lit(i)) for i in ids]),
        accounts=frame(SCHEMAS["accounts"], *(account(i, "open", (*said, f"{i} has its own"), name="N" * 80) for i in ids)),
        todo=said,
    )  # fmt: skip


ALL = {"usual": usual, "in_order": in_order, "nothing": nothing, "hostile": hostile, "huge": huge}
