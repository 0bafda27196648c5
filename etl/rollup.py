"""charges → daily: one UTC day by account, owner, campaign, line and direction. Pure; order never matters."""

from __future__ import annotations

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

ROWS = 1 << 19
"""Charges a file of daily is made of, at most, on a large day: they decide what a roll-up needs of memory."""

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


def daily(charges: pl.DataFrame) -> pl.DataFrame:
    """`schemas.Charges` of one UTC day, all sources → `schemas.Daily`: the sums of `entries`."""
    return added(lines(charges))


def files(rows: int) -> int:
    """Files of daily for so many charges, a power of two; each has the accounts of one bucket by their id."""
    count = 1
    while count * ROWS < rows:
        count *= 2
    return count


def lines(charges: pl.DataFrame) -> pl.DataFrame:
    """Some of a day's `schemas.Charges` → what they add up to: `KEYS`, texts as categories, and `SUMS`."""
    texts = [c for c in (*KEYS, "fee_id", "detection_rate_id") if c != "registered"]
    fee, detection = pl.col("carrier_fee"), pl.col("detection_charge")
    marked = (
        charges.lazy()
        .select(
            *KEYS, "fee_id", "detection_rate_id", "quantity", "messages", "segments", "billed_seconds", "credits",
            "charge", "provider_cost", "carrier_fee", "detection_charge", "segments_differ", "vanished",
            unpriced=_unpriced(),
        )
        .with_columns(pl.col(texts).cast(pl.Categorical))
        .collect()
        .lazy()
    )  # fmt: skip
    # No two of these share a line, so each is added up by itself, by what can differ within it.
    nowhere = {"carrier": pl.lit(None, pl.Categorical), "registered": pl.lit(None, pl.Boolean)}
    main = (
        marked.group_by(c for c in KEYS if c not in nowhere)
        .agg(
            pl.col("quantity", "messages", "segments", "billed_seconds", "credits", "charge", "provider_cost").sum(),
            pl.col("unpriced", "segments_differ", "vanished").sum().cast(pl.Int64),
            events=pl.len().cast(pl.Int64),
            unrated=pl.col("charge").null_count().cast(pl.Int64),
        )
        .with_columns(**nowhere)
    )
    fees = _summed_second(
        # A carrier that takes nothing for a text makes no line.
        marked.filter((fee != 0) | fee.is_null()),
        "carrier_fee", [c for c in KEYS if c != "line"], pl.col("quantity").sum(), rate_id="fee_id", charge="carrier_fee",
    )  # fmt: skip
    detections = _summed_second(
        marked.filter(pl.col("detection_rate_id").is_not_null() | detection.is_null()),
        "voice_detection", [c for c in KEYS if c not in ("line", "unit", *nowhere)], pl.len().cast(pl.Int64).alias("quantity"),
        rate_id="detection_rate_id", charge="detection_charge",
    ).with_columns(unit=pl.lit("call", pl.Categorical), **nowhere)  # fmt: skip
    parts = pl.collect_all([main, fees, detections], engine="streaming")
    return pl.concat([part.select(*KEYS, *SUMS).with_columns(pl.col("charge", "provider_cost").cast(MONEY)) for part in parts])


def added(lines: pl.DataFrame) -> pl.DataFrame:
    """All `lines` of some accounts → their rows of `schemas.Daily`."""
    summed = lines.lazy().group_by(KEYS).agg(pl.col(SUMS).sum()).with_columns(pl.col("charge", "provider_cost").cast(MONEY))
    return DATASETS["daily"].arrange(summed.collect(engine="streaming"))


def _unpriced() -> pl.Expr:
    # What is held, and a video session, has no price of its own at the provider that could still come.
    return (pl.col("provider_cost").is_null() & pl.col("kind").is_in(PRICED_BY_PROVIDER)).cast(pl.Int64)


def _summed_second(
    rows: pl.LazyFrame, line: str, keys: list[str], quantity: pl.Expr, *, rate_id: str, charge: str
) -> pl.LazyFrame:
    """The second lines these rows give rise to, added up by ``keys``: see `_second`."""
    own = rows.drop("rate_id", "charge").rename({rate_id: "rate_id", charge: "charge"})
    zeros = [c for c in SUMS if c not in ("events", "quantity", "charge", "provider_cost", "unrated")]
    return (
        own.group_by(keys)
        .agg(
            quantity,
            pl.col("charge").sum(),
            events=pl.len().cast(pl.Int64),
            unrated=pl.col("charge").null_count().cast(pl.Int64),
        )
        .with_columns(
            *(pl.lit(0, pl.Int64).alias(c) for c in zeros),
            line=pl.lit(line, pl.Categorical),
            provider_cost=pl.lit(0, MONEY),
        )
    )


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
