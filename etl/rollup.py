"""charges → daily: one UTC day by account, owner, campaign, line and direction. Pure; order never matters."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from etl.money import MONEY
from etl.schemas import DATASETS

PRICED_BY_PROVIDER = ("message", "call")
"""Kinds whose records get a price at the provider, sooner or later."""

KEYS = (
    "account_id", "owner_kind", "owner_id", "campaign_id", "line", "direction", "type", "carrier", "registered",
    "rate_id", "caller_place", "callee_place", "currency", "unit",
)  # fmt: skip
SUMS = (
    "events", "quantity", "messages", "segments", "billed_seconds", "credits", "charge", "provider_cost", "unpriced",
    "unrated", "segments_differ", "vanished",
)  # fmt: skip

_NOT_SPLIT = (pl.when(False).then("carrier"), pl.when(False).then("registered"))
"""Carrier and registration decide a carrier fee; any other line they would only split."""


def entries(charges: pl.LazyFrame, *more: str) -> pl.LazyFrame:
    """`schemas.Charges` → one row per record and charge line: `KEYS`, `SUMS` (``events`` is 1) and the columns ``more``.

    Every charge counts on its own line. A carrier fee and AI voice detection are second lines of the same event that
    carry quantity and amount only, so that messages, segments, credits and provider cost still add up over all lines.
    """
    counted = pl.lit(1, pl.Int64)
    main = charges.with_columns(_NOT_SPLIT).select(
        *KEYS, *more,
        "quantity", "messages", "segments", "billed_seconds", "credits", "charge", "provider_cost",
        events=counted,
        unpriced=_unpriced(),
        unrated=pl.col("charge").is_null().cast(pl.Int64),
        segments_differ=pl.col("segments_differ").cast(pl.Int64),
        vanished=pl.col("vanished").cast(pl.Int64),
    )  # fmt: skip
    fees = _second(
        # A carrier that takes nothing for a text makes no line.
        charges.filter((pl.col("carrier_fee") != 0) | pl.col("carrier_fee").is_null()),
        "carrier_fee", rate_id="fee_id", charge="carrier_fee",
    )  # fmt: skip
    detections = _second(
        charges.filter(pl.col("detection_rate_id").is_not_null() | pl.col("detection_charge").is_null()).with_columns(
            _NOT_SPLIT, quantity=counted, unit=pl.lit("call")
        ),
        "voice_detection", rate_id="detection_rate_id", charge="detection_charge",
    )  # fmt: skip
    columns = [*KEYS, *more, *SUMS]
    return pl.concat([f.select(columns) for f in (main, fees, detections)], how="vertical")


def daily(charges: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """`schemas.Charges` of one UTC day, all sources → `schemas.Daily`: the sums of `entries`."""
    return combined([partly(charges)])


def partly(charges: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    """Some of a day's `schemas.Charges` → their lines for `combined`: `KEYS`, texts as categories, and `SUMS`. Each row is read
    once: charges that also share what prices their second lines are added up before there are lines."""
    fee, detection = pl.col("carrier_fee"), pl.col("detection_charge")
    marked = charges.lazy().select(
        *KEYS, "fee_id", "detection_rate_id", "quantity", "messages", "segments", "billed_seconds", "credits", "charge",
        "provider_cost", "carrier_fee", "detection_charge",
        events=pl.lit(1, pl.Int64),
        unpriced=_unpriced(),
        unrated=pl.col("charge").is_null().cast(pl.Int64),
        segments_differ=pl.col("segments_differ").cast(pl.Int64),
        vanished=pl.col("vanished").cast(pl.Int64),
        fee_due=(fee != 0) | fee.is_null(),
        fee_unrated=fee.is_null().cast(pl.Int64),
        detection_due=pl.col("detection_rate_id").is_not_null() | detection.is_null(),
        detection_unrated=detection.is_null().cast(pl.Int64),
    )  # fmt: skip
    texts = [c for c in (*KEYS, "fee_id", "detection_rate_id") if c != "registered"]
    more = ("carrier_fee", "detection_charge", "fee_unrated", "detection_unrated")
    sums = (
        marked.with_columns(pl.col(texts).cast(pl.Categorical))
        .group_by(*KEYS, "fee_id", "detection_rate_id", "fee_due", "detection_due")
        .agg(pl.col(*SUMS, *more).sum())
        .collect(engine="streaming")
    )
    fees = _summed_second(sums.filter("fee_due"), "carrier_fee", "fee_id", "carrier_fee", "fee_unrated")
    detections = _summed_second(
        sums.filter("detection_due").with_columns(
            _NOT_SPLIT, quantity="events", unit=pl.lit("call").cast(sums.schema["unit"])
        ),
        "voice_detection", "detection_rate_id", "detection_charge", "detection_unrated",
    )  # fmt: skip
    return _added([sums.with_columns(_NOT_SPLIT), fees, detections])


def combined(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The lines of all of a day's charges (`partly`) → `schemas.Daily`."""
    return DATASETS["daily"].arrange(_added(parts))


def _added(lines: Iterable[pl.DataFrame]) -> pl.DataFrame:
    every = pl.concat([frame.lazy().select(*KEYS, *SUMS) for frame in lines])
    summed = every.group_by(KEYS).agg(pl.col(SUMS).sum()).with_columns(pl.col("charge", "provider_cost").cast(MONEY))
    return summed.collect(engine="streaming")


def _unpriced() -> pl.Expr:
    # What is held, and a video session, has no price of its own at the provider that could still come.
    return (pl.col("provider_cost").is_null() & pl.col("kind").is_in(PRICED_BY_PROVIDER)).cast(pl.Int64)


def _summed_second(sums: pl.DataFrame, line: str, rate_id: str, charge: str, unrated: str) -> pl.DataFrame:
    zeros = [c for c in SUMS if c not in ("events", "quantity", "charge", "provider_cost", "unrated")]
    return sums.with_columns(
        *(pl.lit(0, pl.Int64).alias(c) for c in zeros),
        line=pl.lit(line).cast(sums.schema["line"]), rate_id=rate_id, charge=charge, unrated=unrated,
        provider_cost=pl.lit(0, sums.schema["provider_cost"]),
    )  # fmt: skip


def _second(rows: pl.LazyFrame, line: str, *, rate_id: str, charge: str) -> pl.LazyFrame:
    """The second line an event gives rise to: its quantity and its own amount, nothing that was counted already."""
    zeros = [c for c in SUMS if c not in ("events", "quantity", "charge", "provider_cost", "unrated")]
    return rows.with_columns(
        *(pl.lit(0, pl.Int64).alias(c) for c in zeros),
        line=pl.lit(line),
        rate_id=rate_id,
        charge=charge,
        provider_cost=pl.lit(None, MONEY),
    ).with_columns(events=pl.lit(1, pl.Int64), unrated=pl.col("charge").is_null().cast(pl.Int64))
