"""Ours against the provider's own totals, account by account and day by day. Pure.

Whether a message's price already holds the carrier fee is an open question of the provider's documentation, so both
readings are tried and the one that fits is named: ``apart`` (the category is the price alone) and ``included`` (category
plus its carrier-fee category).
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from etl.money import MONEY

TOLERANCE = "0.01"
"""In the ledger's currency: the provider rounds its totals."""

CATEGORIES = {
    "messages": ("sms", "sms-inbound", "sms-outbound", "mms", "mms-inbound", "mms-outbound",
                 "failed-message-processing-fee"),
    "calls": ("calls", "calls-inbound", "calls-outbound"),
    "recordings": ("recordings",),
}  # fmt: skip
"""What a source is asked for → the provider's totals of it."""

COST_DIFFERS = "the cost differs"

GONE_AFTER = {"recordings": 40}
"""Category → days after which the provider lists what was deleted no more, and still counts it."""

_SCHEMA = {
    "provider_account": pl.String,
    "category": pl.String,
    "count": pl.Int64,
    "quantity": pl.Int64,
    "cost": MONEY,
    "unpriced": pl.Int64,
    "waiting": pl.Int64,
}


def ours(events: pl.DataFrame) -> pl.DataFrame:
    """`schemas.Events` of one day and source, or of a bucket of it → provider_account, category, count, quantity (segments,
    messages or started minutes) and cost of the records with a price, unpriced (records still without one) and waiting
    (their quantity): in the provider's categories, which hold a record from the moment it is priced."""
    billable = events.filter((pl.col("outcome") == "accepted") & ~pl.col("vanished"))
    messages = billable.filter((pl.col("kind") == "message") & (pl.col("status") != "failed"))
    one = pl.lit(1, pl.Int64)
    texts = [
        _totals(messages.filter(pl.col("type") == kind), kind, quantity)
        for kind, quantity in (("sms", pl.col("segments")), ("mms", one))
    ]
    minutes = (pl.col("answered_seconds") + 59) // 60
    calls = _totals(billable.filter((pl.col("kind") == "call") & (pl.col("answered_seconds") > 0)), "calls", minutes)
    recordings = _totals(billable.filter(pl.col("kind") == "recording"), "recordings", minutes, by_direction=False)
    failed = _totals(
        billable.filter((pl.col("kind") == "message") & (pl.col("status") == "failed")),
        "failed-message-processing-fee",
        one,
        by_direction=False,
        priced=pl.lit(True),  # the fee stands in the ledger only, never on the record
    )
    return pl.concat([*texts, calls, recordings, failed], how="vertical").cast(_SCHEMA)


def _totals(
    rows: pl.DataFrame, category: str, quantity: pl.Expr, *, by_direction: bool = True, priced: pl.Expr | None = None
) -> pl.DataFrame:
    counted = pl.col("provider_cost").is_not_null() if priced is None else priced
    rows = rows.with_columns(_priced=counted, _quantity=quantity)

    def grouped(name: pl.Expr) -> pl.DataFrame:
        return (
            rows.with_columns(category=name)
            .group_by("provider_account", "category")
            .agg(
                count=pl.col("_priced").sum(),
                quantity=pl.col("_quantity").filter("_priced").sum(),
                cost=pl.col("provider_cost").sum(),
                unpriced=(~pl.col("_priced")).sum(),
                waiting=pl.col("_quantity").filter(~pl.col("_priced")).sum(),
            )
            .cast(_SCHEMA)
        )

    whole = grouped(pl.lit(category))
    return pl.concat([whole, grouped(pl.lit(f"{category}-") + pl.col("direction"))]) if by_direction else whole


def compare(mine: Iterable[pl.DataFrame], ledger: pl.DataFrame, asked: Iterable[str] = ()) -> pl.DataFrame:
    """`schemas.Reconciled` but its account_id: one row per account and category that our records or the provider's totals
    have.

    ``mine``: `ours` of every bucket of the day. ``asked``: the lists the source was asked for (keys of `CATEGORIES`). Their totals are compared even where not one
    record came of them: a list that was lost whole is the difference that matters most.
    """
    mine = pl.concat(mine).group_by("provider_account", "category").sum().cast(_SCHEMA)
    fees = ledger.filter(pl.col("category").str.ends_with("-messages-carrierfees")).select(
        "provider_account", category=pl.col("category").str.strip_suffix("-messages-carrierfees"), ledger_fees="cost"
    )
    theirs = ledger.select(
        "provider_account", "category", ledger_count="count", ledger_quantity=pl.col("usage").cast(pl.Int64),
        usage_unit="usage_unit", ledger_cost="cost",
    )  # fmt: skip
    known = {*mine["category"], *(name for one in asked for name in CATEGORIES.get(one, ()))}
    joined = (
        theirs.filter(pl.col("category").is_in(known))
        .join(mine, on=["provider_account", "category"], how="full", coalesce=True)
        .join(fees, on=["provider_account", "category"], how="left")
        .with_columns(
            pl.col("count", "quantity", "ledger_count", "ledger_quantity", "unpriced", "waiting").fill_null(0)
        )
        .with_columns(pl.col("cost", "ledger_cost", "ledger_fees").fill_null(0).cast(MONEY))
    )
    tolerance = pl.lit(TOLERANCE).cast(MONEY)
    fee_only = pl.col("category") == "failed-message-processing-fee"  # no record carries this price
    in_messages = pl.col("usage_unit") == "messages"
    same_quantity = pl.when(in_messages).then(True).otherwise(pl.col("quantity") == pl.col("ledger_quantity"))
    same_count = pl.col("count") == pl.col("ledger_count")
    apart = (pl.col("cost") - pl.col("ledger_cost")).abs() <= tolerance
    included = (pl.col("cost") - pl.col("ledger_cost") - pl.col("ledger_fees")).abs() <= tolerance
    # A direction's share of the carrier fee is not told apart by the provider, so money is held to the whole only.
    is_share = pl.col("category").str.contains(r"^(sms|mms)-")
    reading = pl.when(apart).then(pl.lit("apart")).when(included).then(pl.lit("included"))
    good_money = fee_only | is_share | reading.is_not_null()
    # Price and ledger do not appear in the same instant, so a difference no larger than what waits is explained. What
    # waits has no price to hold the money to, but it can only add some.
    more = pl.col("ledger_quantity") - pl.col("quantity")
    waiting = (
        (pl.col("ledger_count") - pl.col("count")).is_between(1, pl.col("unpriced"))
        & (in_messages | more.is_between(0, pl.col("waiting"))).fill_null(False)
        & (fee_only | is_share | (pl.col("ledger_cost") + pl.col("ledger_fees") - pl.col("cost") >= -tolerance))
    )
    units = pl.when(pl.col("category").str.starts_with("sms")).then(pl.lit("segments")).otherwise(pl.lit("minutes"))
    # A source without totals of its own (export files) can be neither right nor wrong.
    silent = ~pl.col("provider_account").is_in(ledger["provider_account"].unique().implode())
    said = ("ledger_count", "ledger_quantity", "ledger_cost", "ledger_fees")
    return (
        joined.with_columns(reading=pl.when(~silent).then(reading))
        .with_columns(
            # What is not said is unknown, not zero.
            *(pl.when(~silent).then(pl.col(name)).alias(name) for name in said),
            verdict=pl.when(silent)
            .then(pl.lit("no totals"))
            .when(same_count & same_quantity & good_money)
            .then(pl.lit("ok"))
            .when(waiting)
            .then(pl.lit("explained"))
            .otherwise(pl.lit("unexplained")),
            why=pl.when(silent)
            .then(pl.lit("the source gives no totals"))
            .when(waiting)
            .then(pl.lit("some records have no price yet"))
            .when(~same_count)
            .then(pl.lit("the number of records differs"))
            .when(~same_quantity)
            .then(units + " differ")
            .when(~good_money)
            .then(pl.lit(COST_DIFFERS)),
        )
        .select(
            "provider_account", "category", "count", "ledger_count", "quantity", "ledger_quantity", "usage_unit", "cost",
            "ledger_cost", "ledger_fees", "unpriced", "reading", "verdict", "why",
        )
        .sort("provider_account", "category")
    )  # fmt: skip
