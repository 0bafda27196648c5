"""Accepted events of one UTC day → charges: line, quantity, price, carrier fee (mission rules 2 to 7)."""

from __future__ import annotations

from datetime import date

import polars as pl

from etl.money import LIMIT, MONEY, check_products, from_nanos, nanos, times
from etl.prefixes import find
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


def rate(
    attributed: pl.DataFrame, card: RateCard, day: date, *, credits_per_segment: int, as_of: date | None = None
) -> pl.DataFrame:
    """Accepted events (`schemas.Events` plus what `Directory.attribute` adds) of UTC ``day`` → `schemas.Charges`, one row
    per event.

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
    priced = _priced(_with_quantities(_with_prices(events, card, day, as_of)))
    detected = _with_detection(_with_fees(priced, card, day, as_of), card, day, as_of)
    return DATASETS["charges"].arrange(_complete(detected, credits_per_segment))


def _with_prices(events: pl.DataFrame, card: RateCard, day: date, as_of: date | None) -> pl.DataFrame:
    prices = in_force(card.prices, day, PRICE_KEY, as_of)
    rate_id = _find_price(events, prices)
    terms = prices.select(
        "rate_id", "price", "minimum_seconds", "increment_seconds", "clock", "bill_unanswered", "connection_fee"
    )
    return events.with_columns(rate_id).join(terms, on="rate_id", how="left", maintain_order="left")


def _find_price(events: pl.DataFrame, prices: pl.DataFrame) -> pl.Series:
    return find(events, prices, id_column="rate_id", exact=_PRICE_EXACT, wild=_PRICE_WILD, number="to_number")


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
    with_units = events.with_columns(_price=nanos(pl.col("price")), _connection=nanos(pl.col("connection_fee")))
    usage = (
        pl.when(timed)
        .then(times(pl.col("_price"), pl.col("quantity"), per=60))
        .otherwise(times(pl.col("_price"), pl.col("quantity")))
    )
    connection = pl.when(timed & (pl.col("billed_seconds") > 0)).then(pl.col("_connection")).fill_null(0)
    amount = usage + connection
    amounts = with_units.with_columns(_amount=pl.when(amount <= LIMIT).then(amount))
    checked = check_products(amounts, "_amount", "_price", "quantity")
    # A failed message is free unless the card has a fee for it (mission rule 7).
    free = (pl.col("line") == "failed_message") & pl.col("rate_id").is_null() & pl.col("rate_card").is_not_null()
    held = pl.col("line").is_in(HELD_LINES) & (pl.col("account_id") != UNASSIGNED)
    return checked.with_columns(
        rate_id=pl.when(~pl.col("line").is_in(HELD_LINES)).then("rate_id"),
        charge=pl.when(free | held).then(pl.lit(0, pl.Int64)).otherwise(pl.col("_amount")).pipe(from_nanos),
    )


def _with_fees(events: pl.DataFrame, card: RateCard, day: date, as_of: date | None) -> pl.DataFrame:
    """Adds fee_id and carrier_fee. A fee is due only for texts, and only where the table has a row for the prefix; a
    prefix it covers for other senders only is a gap in the table, hence unrated (``_fee_gap``)."""
    fees = in_force(card.fees, day, FEE_KEY, as_of)
    fee_id = find(events, fees, id_column="fee_id", exact=_FEE_EXACT, wild=_FEE_WILD, number="to_number")
    covered = find(
        events,
        fees.with_columns(
            pl.lit(None).cast(fees.schema[c]).alias(c) for c in ("carrier", "registered", "number_class")
        ),
        id_column="fee_id",
        exact=(),
        wild=("direction", "type"),
        number="to_number",
    ).alias("_covered")
    is_text = pl.col("line") == "text"
    with_fee = events.with_columns(fee_id=pl.when(is_text).then(fee_id), _covered=pl.when(is_text).then(covered)).join(
        fees.select("fee_id", _fee=nanos(pl.col("price"))), on="fee_id", how="left", maintain_order="left"
    )
    amounts = check_products(
        with_fee.with_columns(_fee_amount=times(pl.col("_fee"), pl.col("quantity"))), "_fee_amount", "_fee", "quantity"
    )
    gap = pl.col("_covered").is_not_null() & pl.col("fee_id").is_null()
    return amounts.with_columns(
        _fee_gap=gap, carrier_fee=pl.when(~gap).then(pl.col("_fee_amount").fill_null(0)).pipe(from_nanos)
    )


def _with_detection(events: pl.DataFrame, card: RateCard, day: date, as_of: date | None) -> pl.DataFrame:
    """Adds detection_rate_id and detection_charge: once per answered call of a campaign that has voice detection on
    (mission rule 4). The second leg of such a call connects a colleague; nothing is detected on it."""
    due = (
        (pl.col("line") == "campaign_call")
        & (pl.col("direction") == "outbound")
        & (pl.col("answered_seconds") > 0)
        & pl.col("parent_id").is_null()
        & pl.col("voice_detection")
    ).fill_null(False)
    prices = in_force(card.prices, day, PRICE_KEY, as_of).filter(pl.col("line") == "voice_detection")
    numbered = events.with_columns(_due=due).with_row_index("_row")
    calls = numbered.filter("_due").with_columns(line=pl.lit("voice_detection"))
    found = calls.select("_row", _find_price(calls, prices).alias("detection_rate_id"))
    terms = prices.select(detection_rate_id="rate_id", _detection=nanos(pl.col("price")))
    return numbered.join(
        found.join(terms, on="detection_rate_id", how="left"), on="_row", how="left", maintain_order="left"
    ).with_columns(detection_charge=pl.when("_due").then("_detection").otherwise(pl.lit(0, pl.Int64)).pipe(from_nanos))


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
