"""charges → daily: one UTC day by account, owner, campaign, line and direction. Pure; order never matters."""

from __future__ import annotations

import polars as pl

from etl.schemas import DATASETS

KEYS = (
    "account_id", "owner_kind", "owner_id", "campaign_id", "line", "direction", "type", "carrier", "registered",
    "currency", "unit",
)  # fmt: skip


def daily(charges: pl.DataFrame) -> pl.DataFrame:
    """`schemas.Charges` of one UTC day, all sources → `schemas.Daily`.

    Every charge counts on its own line; a carrier fee is a second line that carries quantity and amount only, so that
    messages, segments, credits and provider cost still add up over all lines.
    """
    main = charges.lazy().select(
        *KEYS,
        "quantity", "messages", "segments", "billed_seconds", "credits", "charge", "provider_cost",
        events=pl.lit(1, pl.Int64),
        unpriced=pl.col("provider_cost").is_null().cast(pl.Int64),
        unrated=pl.col("charge").is_null().cast(pl.Int64),
        segments_differ=pl.col("segments_differ").cast(pl.Int64),
        vanished=pl.col("vanished").cast(pl.Int64),
    )  # fmt: skip
    zero = pl.lit(0, pl.Int64)
    fees = (
        charges.lazy()
        .filter(pl.col("fee_id").is_not_null() | pl.col("carrier_fee").is_null())
        .with_columns(line=pl.lit("carrier_fee"), charge=pl.col("carrier_fee"))
        .select(
            *KEYS,
            "quantity", "charge",
            messages=zero, segments=zero, billed_seconds=zero, credits=zero,
            provider_cost=pl.lit(None, charges.schema["provider_cost"]),
            events=pl.lit(1, pl.Int64),
            unpriced=zero,
            unrated=pl.col("charge").is_null().cast(pl.Int64),
            segments_differ=zero,
            vanished=zero,
        )
    )  # fmt: skip
    sums = [
        "events", "quantity", "messages", "segments", "billed_seconds", "credits", "charge", "provider_cost",
        "unpriced", "unrated", "segments_differ", "vanished",
    ]  # fmt: skip
    rolled = (
        pl.concat([main, fees.select(main.collect_schema().names())], how="vertical")
        .group_by(KEYS)
        .agg(pl.col(sums).sum())
        .with_columns(pl.col("charge", "provider_cost").cast(pl.Decimal(18, 9)))
        .collect()
    )
    return DATASETS["daily"].arrange(rolled)
