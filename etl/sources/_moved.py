"""A record that changed its day at the provider: it is billed on the day it is on now. Pure."""

from __future__ import annotations

import polars as pl

from etl.schemas import DATASETS

OTHER_DAY = "other_day"
"""The reason of a record that is excluded where it was, because it is another day's."""
LISTED_DAILY = "number"
"""A number is listed again every day it is owned: it moves from none to another."""
KEY = ["kind", "record_id"]


def gone(events: pl.LazyFrame) -> pl.LazyFrame:
    """Of `schemas.Events` with date, what a day still bills although its source lists it there no more: date, kind,
    record_id, updated_at."""
    return events.filter(
        pl.col("vanished"), pl.col("outcome") == "accepted", pl.col("kind") != LISTED_DAILY
    ).select("date", *KEY, "updated_at")  # fmt: skip


def elsewhere(gone_: pl.DataFrame, events: pl.LazyFrame) -> pl.DataFrame:
    """Of the rows of `gone`, date and `KEY` of those that another day of the same source lists and accepts, in a version
    not older. ``events``: `schemas.Events` with date of all days, read once."""
    accepted = events.filter(~pl.col("vanished"), pl.col("outcome") == "accepted")
    listed = accepted.select(*KEY, listed_at="updated_at", listed_on="date")
    newer = (pl.col("listed_at") >= pl.col("updated_at")).fill_null(True)
    both = gone_.lazy().join(listed, on=KEY).filter(newer, pl.col("listed_on") != pl.col("date"))
    return both.select("date", *KEY).unique().collect()


def without(events: pl.DataFrame, moved: pl.DataFrame) -> pl.DataFrame:
    """`schemas.Events` of one day with the records that ``moved`` names excluded as another day's; their text is there."""
    named = events.join(moved.with_columns(_moved=pl.lit(True)), on=KEY, how="left", maintain_order="left")
    here = pl.col("_moved").fill_null(False)
    return DATASETS["events"].arrange(
        named.with_columns(
            outcome=pl.when(here).then(pl.lit("excluded")).otherwise("outcome"),
            reason=pl.when(here).then(pl.lit(OTHER_DAY)).otherwise("reason"),
            body=pl.when(~here).then("body"),
        )
    )
