"""Accepted events of one UTC day → charges: line, quantity, price, carrier fee (mission rules 2 to 7)."""

from __future__ import annotations

from datetime import date

import polars as pl

from etl.money import LIMIT, MONEY, check_products, from_nanos, nanos, times
from etl.prefixes import Prefixes, dialled
from etl.rating.card import FEE_KEY, PRICE_KEY, RateCard, in_force
from etl.schemas import DATASETS, HELD_LINES, TIMED_LINES, UNASSIGNED

NO_ACCOUNT = "no account"
NO_PRICE = "no price"
NO_FEE = "no carrier fee"
NO_DETECTION = "no voice detection price"

_FEE_EXACT = ("currency",)
_FEE_WILD = ("carrier", "direction", "type", "registered", "number_class")
_PRICE_EXACT = ("rate_card", "line", "currency")
_PRICE_WILD = ("direction", "type", "number_class")
_LINE_OF_KIND = {"video": "video", "recording": "recording_storage", "number": "number"}


class Prices:
    """The rate card as it counts on one UTC day, ready to be searched for many events. ``as_of``: as it was known then."""

    def __init__(self, card: RateCard, day: date, as_of: date | None = None) -> None:
        self.day = day
        prices = in_force(card.prices, day, PRICE_KEY, as_of)
        fees = in_force(card.fees, day, FEE_KEY, as_of)
        whoever = (pl.lit(None).cast(fees.schema[c]).alias(c) for c in ("carrier", "registered", "number_class"))
        self.usage = Prefixes(prices, id_column="rate_id", exact=_PRICE_EXACT, wild=_PRICE_WILD)
        self.fees = Prefixes(fees, id_column="fee_id", exact=_FEE_EXACT, wild=_FEE_WILD)
        self.covered = Prefixes(fees.with_columns(whoever), id_column="fee_id", exact=(), wild=("direction", "type"))
        self.terms = prices.select(
            "rate_id", "minimum_seconds", "increment_seconds", "clock", "bill_unanswered",
            _price=nanos(pl.col("price")), _connection=nanos(pl.col("connection_fee")),
        )  # fmt: skip
        self.fee_terms = fees.select("fee_id", _fee=nanos(pl.col("price")))


def rate(
    attributed: pl.DataFrame, card: RateCard, day: date, *, credits_per_segment: int, as_of: date | None = None
) -> pl.DataFrame:
    """`charges` by the rate card of UTC ``day``."""
    return charges(attributed, Prices(card, day, as_of), credits_per_segment=credits_per_segment)


def charges(attributed: pl.DataFrame, prices: Prices, *, credits_per_segment: int) -> pl.DataFrame:
    """Accepted events (`schemas.Events` plus what `Directory.attribute` adds) of a UTC day → `schemas.Charges`, one row per
    event.

    Charge, carrier fee and voice detection are exact to 10⁻⁹, half-up once per event. An event without a price keeps
    null and says why in ``unrated``: never zero. Recordings and numbers carry a quantity and no charge: they are priced
    by the month they are held in (`rating.monthly`). Raises OutOfRange when an amount does not fit.
    """
    events = attributed.with_columns(
        line=pl.when(pl.col("kind") == "call")
        .then(pl.when(pl.col("campaign_id").is_not_null()).then(pl.lit("campaign_call")).otherwise(pl.lit("call")))
        .when(pl.col("kind") == "message")
        .then(pl.when(pl.col("status") == "failed").then(pl.lit("failed_message")).otherwise(pl.lit("text")))
        .otherwise(pl.col("kind").replace_strict(_LINE_OF_KIND, default=None, return_dtype=pl.String))
    )
    at = dialled(events["to_number"])
    priced = _priced(_with_quantities(_beside(events, prices.terms, prices.usage.find(events, at))))
    detected = _with_detection(_with_fees(priced, prices, at), prices, at)
    return DATASETS["charges"].arrange(_complete(detected, credits_per_segment))


def _beside(events: pl.DataFrame, terms: pl.DataFrame, rows: pl.Series) -> pl.DataFrame:
    """``events`` with, beside each, the row of ``terms`` of that number; nulls where it is null."""
    return pl.concat([events, terms.select(pl.all().gather(rows))], how="horizontal")


def billed_seconds(seconds: pl.Expr, minimum: pl.Expr, increment: pl.Expr) -> pl.Expr:
    """Increment M/I (mission rule 4): 0 for 0 s, M up to M, then whole increments, rounded up per call."""
    beyond = (seconds - minimum + increment - 1) // increment * increment
    return pl.when(seconds <= 0).then(0).when(seconds <= minimum).then(minimum).otherwise(minimum + beyond)


def _with_quantities(events: pl.DataFrame) -> pl.DataFrame:
    """Adds billed_seconds, by the rate's clock and increments, quantity and unit."""
    timed = pl.col("line").is_in(TIMED_LINES)
    # A begun second counts whole. A call that says no end rang for an unknown time: what was answered is known.
    dialled = (((pl.col("ended_at") - pl.col("occurred_at")).dt.total_microseconds() + 999_999) // 1_000_000).fill_null(
        pl.col("answered_seconds")
    )
    on_clock = pl.when(pl.col("clock") == "dial").then(dialled).otherwise(pl.col("answered_seconds"))
    due = (pl.col("answered_seconds") > 0) | pl.col("bill_unanswered").fill_null(False)
    seconds = pl.when(timed & due).then(on_clock).otherwise(0).fill_null(0)
    billed = billed_seconds(seconds, pl.col("minimum_seconds"), pl.col("increment_seconds")).fill_null(0)
    per_segment = (pl.col("line") == "text") & pl.col("segments").is_not_null()
    stored = pl.col("line") == "recording_storage"
    return events.with_columns(billed_seconds=billed.cast(pl.Int64)).with_columns(
        quantity=pl.when(timed)
        .then("billed_seconds")
        .when(per_segment)
        .then("segments")
        .when(stored)
        .then((pl.col("answered_seconds").fill_null(0) + 59) // 60)
        .otherwise(1)
        .cast(pl.Int64),
        unit=pl.when(timed)
        .then(pl.lit("second"))
        .when(per_segment)
        .then(pl.lit("segment"))
        .when(stored)
        .then(pl.lit("stored minute"))
        .when(pl.col("line") == "number")
        .then(pl.lit("number"))
        .otherwise(pl.lit("message")),
    )


def _priced(events: pl.DataFrame) -> pl.DataFrame:
    """Adds charge (Decimal, null where no price was found)."""
    timed = pl.col("line").is_in(TIMED_LINES)
    usage = (
        pl.when(timed)
        .then(times(pl.col("_price"), pl.col("quantity"), per=60))
        .otherwise(times(pl.col("_price"), pl.col("quantity")))
    )
    connection = pl.when(timed & (pl.col("billed_seconds") > 0)).then(pl.col("_connection")).fill_null(0)
    amount = usage + connection
    amounts = events.with_columns(_amount=pl.when(amount <= LIMIT).then(amount))
    checked = check_products(amounts, "_amount", "_price", "quantity")
    # A failed message is free unless the card has a fee for it (mission rule 7).
    free = (pl.col("line") == "failed_message") & pl.col("rate_id").is_null() & pl.col("rate_card").is_not_null()
    held = pl.col("line").is_in(HELD_LINES) & (pl.col("account_id") != UNASSIGNED)
    return checked.with_columns(
        rate_id=pl.when(~pl.col("line").is_in(HELD_LINES)).then("rate_id"),
        charge=pl.when(free | held).then(pl.lit(0, pl.Int64)).otherwise(pl.col("_amount")).pipe(from_nanos),
    )


def _with_fees(events: pl.DataFrame, prices: Prices, at: pl.DataFrame) -> pl.DataFrame:
    """Adds fee_id and carrier_fee. A fee is due only for texts, and only where the table has a row for the prefix; a
    prefix it covers for other senders only is a gap in the table, hence unrated (``_fee_gap``)."""
    is_text = events["line"] == "text"
    row = prices.fees.find(events, at)
    with_fee = _beside(events, prices.fee_terms, row.set(~is_text, None))
    amounts = check_products(
        with_fee.with_columns(_fee_amount=times(pl.col("_fee"), pl.col("quantity"))), "_fee_amount", "_fee", "quantity"
    )
    free = is_text & row.is_null()
    covered = prices.covered.find(events.filter(free), at.filter(free)).is_not_null()
    gap = pl.repeat(False, events.height, eager=True).scatter(free.arg_true().filter(covered), True)
    return amounts.with_columns(
        _fee_gap=gap, carrier_fee=pl.when(~gap).then(pl.col("_fee_amount").fill_null(0)).pipe(from_nanos)
    )


def _with_detection(events: pl.DataFrame, prices: Prices, at: pl.DataFrame) -> pl.DataFrame:
    """Adds detection_rate_id and detection_charge: once per answered call of a campaign that has voice detection on
    (mission rule 4). The second leg of such a call connects a colleague; nothing is detected on it."""
    due = events.select(
        (
            (pl.col("line") == "campaign_call")
            & (pl.col("direction") == "outbound")
            & (pl.col("answered_seconds") > 0)
            & pl.col("parent_id").is_null()
            & pl.col("voice_detection")
        ).fill_null(False)
    ).to_series()
    rows = pl.repeat(None, events.height, dtype=pl.Int64, eager=True)
    if due.any():
        calls = events.filter(due).with_columns(line=pl.lit("voice_detection"))
        rows = rows.scatter(due.arg_true(), prices.usage.find(calls, at.filter(due)))
    terms = prices.terms.select(detection_rate_id="rate_id", _detection="_price")
    return _beside(events, terms, rows).with_columns(
        detection_charge=pl.when(due).then("_detection").otherwise(pl.lit(0, pl.Int64)).pipe(from_nanos)
    )


def _complete(events: pl.DataFrame, credits_per_segment: int) -> pl.DataFrame:
    """Adds the remaining columns of a charge."""
    is_text = pl.col("line") == "text"
    is_sms = is_text & pl.col("segments").is_not_null()
    return events.with_columns(
        messages=is_text.cast(pl.Int64),
        segments=pl.when(is_sms).then("segments").otherwise(0),
        credits=pl.when(is_text).then(pl.col("quantity") * credits_per_segment).otherwise(0),
        # Nobody answered: the provider names no price, and none will come.
        provider_cost=pl.when(pl.col("kind") == "call", pl.col("answered_seconds") == 0)
        .then(pl.coalesce("provider_cost", pl.lit(0, MONEY)))
        .otherwise("provider_cost"),
        segments_differ=(is_sms & (pl.col("segments_reported") != pl.col("segments_computed"))).fill_null(False),
        held_until=pl.when(pl.col("line") == "recording_storage").then("ended_at"),
        unrated=pl.when(pl.col("account_id") == UNASSIGNED)
        .then(pl.lit(NO_ACCOUNT))
        .when(pl.col("charge").is_null())
        .then(pl.lit(NO_PRICE))
        .when(pl.col("_fee_gap"))
        .then(pl.lit(NO_FEE))
        .when(pl.col("detection_charge").is_null())
        .then(pl.lit(NO_DETECTION)),
    )
