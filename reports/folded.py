"""A statement's daily rows, folded once: days, people, findings and the explorer are sums of it."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

CALL_LINES = ("call", "campaign_call")
KEYS = ("date", "owner_kind", "owner_id", "currency")
COUNTS = (
    "outbound_messages", "outbound_segments", "outbound_credits", "inbound_messages", "inbound_segments",
    "inbound_credits", "calls", "call_billed_seconds",
)  # fmt: skip
SUMS = (*COUNTS, "charge")


def fold(daily: pl.DataFrame, more: Mapping[str, pl.Expr]) -> pl.DataFrame:
    """`schemas.Daily` rows with ``date`` → `KEYS`, campaign_id, `SUMS` and the sums of ``more``, in no order."""
    ways = {"outbound": pl.col("direction") == "outbound", "inbound": pl.col("direction") == "inbound"}
    call = pl.col("line").is_in(CALL_LINES)
    counted = [
        pl.when(way).then(what).otherwise(0).alias(f"{name}_{what}")
        for name, way in ways.items()
        for what in ("messages", "segments", "credits")
    ]
    calls = pl.when(call).then("events").otherwise(0).alias("calls")
    seconds = pl.when(call).then("billed_seconds").otherwise(0).alias("call_billed_seconds")
    # Masked first and then added up: a filter inside each sum takes twice as long.
    values = daily.select(*KEYS, "campaign_id", *counted, calls, seconds, "charge", **more)
    return values.group_by(*KEYS, "campaign_id").agg(pl.all().sum())


def by_owner(folded: pl.DataFrame) -> pl.DataFrame:
    """Rows of `fold` without the campaigns: `KEYS` and `SUMS`, in no order."""
    return folded.group_by(KEYS).agg(pl.col(SUMS).sum())
