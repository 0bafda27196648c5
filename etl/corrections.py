"""What changed in months that are closed, as lines and records of the month that is open. Pure.

A closed month stays what it was closed with. What it would be now differs from that line by line; the difference, less what
closed months in between have booked already, is billed in the open month (mission rule 12). So, to the cent:

    closed with + every correction booked for it = as it stands now
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from etl.credits import CORRECTIONS, closing
from etl.money import MONEY
from etl.rollup import entries
from etl.schemas import CORRECTED, DATASETS, HELD_LINES

SECTIONS = {"correction": ("usage", "tax", "rounding"), "product_correction": ("product",)}
"""Section of a correction line → the sections of the lines it corrects."""

BOOKED = "corrected"
"""What the log entry of a statement counts its correction lines as; none there, none to be read."""

LINE = (
    "account_id", "section", "line", "item", "direction", "type", "carrier", "registered", "tax_level", "jurisdiction",
    "rate_id", "unit", "currency",
)  # fmt: skip
"""What makes two statement lines of one month the same line."""

_DIFFERENCES = ("quantity", "base", "amount_exact", "amount", "unrated")
CHANGES = {name: DATASETS["statement"].types[name] for name in (*LINE, "for_month", *_DIFFERENCES, "events")}
"""What a correction line needs: `LINE` with the section of the line corrected, the differences, signed, and the number of
records behind them."""

_RECORD = ("date", "source", "kind", "record_id")
_SUMS = ("quantity", "amount_exact")


# ------------------------------------------------------------------------------------------------ lines


def changed_lines(closed: pl.DataFrame, now: pl.DataFrame, booked: pl.DataFrame, for_month: str) -> pl.DataFrame:
    """Three times `schemas.Statement` rows of the same accounts → `CHANGES`, one row per line that differs.

    ``closed``: of the month as it was closed. ``now``: of the month as it stands. ``booked``: of closed months after it;
    their corrections of ``for_month`` are taken off. Amounts are rounded lines, so that what is booked makes the closed
    lines into the present ones to the cent.
    """
    mine = pl.col("section").is_in(CORRECTED)
    before = booked.filter(pl.col("for_month") == for_month).with_columns(section=_section())
    signed = [
        rows.select(*LINE, *(pl.col(c) if sign > 0 else -pl.col(c) for c in _DIFFERENCES))
        for rows, sign in ((now.filter(mine), 1), (closed.filter(mine), -1), (before, -1))
    ]
    return (
        pl.concat(signed)
        .group_by(LINE)
        .agg(
            # A tax by the hundred has no quantity: none is not zero.
            *(_sum_or_null(c) for c in ("quantity", "base")),
            pl.col("amount_exact", "amount").sum().cast(MONEY),
            pl.col("unrated").sum().clip(0),
        )
        .filter(pl.any_horizontal(pl.col("quantity", "amount_exact", "amount", "unrated").fill_null(0) != 0))
        .with_columns(for_month=pl.lit(for_month), events=pl.lit(0))
        .select(pl.col(name).cast(kind) for name, kind in CHANGES.items())
        .sort(LINE, nulls_last=True)
    )


def _section() -> pl.Expr:
    """The section of the line that a correction line corrects."""
    taxes = pl.col("line").is_in(["tax", "rounding"])
    billed = pl.when(taxes).then("line").otherwise(pl.lit("usage"))
    return pl.when(pl.col("section") == "product_correction").then(pl.lit("product")).otherwise(billed)


def _sum_or_null(column: str) -> pl.Expr:
    summed = pl.col(column).sum()
    return pl.when(pl.col(column).is_not_null().any()).then(summed)


def booked_lines(stated: pl.DataFrame) -> pl.DataFrame:
    """The correction lines among `schemas.Statement` rows, as `CHANGES`."""
    booked = stated.filter(pl.col("section").is_in(list(SECTIONS))).with_columns(section=_section())
    return booked.select(pl.col(name).cast(kind) for name, kind in CHANGES.items())


def counted(changes: pl.DataFrame, corrections: pl.DataFrame) -> pl.DataFrame:
    """`CHANGES` with the number of records that `schemas.Corrections` name for each line."""
    key = [*LINE, "for_month"]
    records = corrections.drop_nulls("record_id").group_by(key).agg(events=pl.struct("kind", "record_id").n_unique())
    return (
        changes.drop("events")
        .join(records, on=key, how="left", nulls_equal=True, maintain_order="left")
        .select(
            pl.col(name).cast(kind) if name != "events" else pl.col(name).fill_null(0).cast(kind)
            for name, kind in CHANGES.items()
        )
    )


def no_lines() -> pl.DataFrame:
    """No `CHANGES`."""
    return pl.DataFrame(schema=CHANGES)


# ------------------------------------------------------------------------------------------------ records


def changed_records(
    closed: pl.LazyFrame, now: pl.LazyFrame, booked: pl.DataFrame, lines: pl.DataFrame, for_month: str
) -> pl.DataFrame:
    """Why lines differ: `schemas.Corrections` rows whose ``amount_exact`` adds up to each line's.

    ``closed`` and ``now``: `schemas.Charges` with ``date`` and ``source`` of the partitions that differ. ``booked``:
    `schemas.Corrections` of closed months after it. ``lines``: `changed_lines`. What no record explains (taxes, what is
    charged by the month) is one row without a record, reason follows.
    """
    before = booked.filter(pl.col("for_month") == for_month, pl.col("record_id").is_not_null())
    key = [*LINE, *_RECORD]
    sides = pl.concat(
        [
            _billed(now).with_columns(side=pl.lit("now")),
            _billed(closed).with_columns(side=pl.lit("closed")),
            before.lazy().select(*key, *_SUMS, rate=pl.lit(None, pl.String), side=pl.lit("booked")),
        ],
        how="diagonal_relaxed",
    )

    def of(side: str) -> pl.Expr:
        return pl.col("side") == side

    sign = pl.when(of("now")).then(1).otherwise(-1)
    summed = (
        sides.group_by(key)
        .agg(
            *((pl.col(c) * sign).sum() for c in ("quantity",)),
            # Decimal times an integer would change its scale: signs by subtraction.
            (pl.col("amount_exact").filter(of("now")).sum() - pl.col("amount_exact").filter(~of("now")).sum())
            .cast(MONEY)
            .alias("amount_exact"),
            more=pl.col("quantity").filter(of("now")).sum() - pl.col("quantity").filter(of("closed")).sum(),
            dearer=(
                pl.col("amount_exact").filter(of("now")).sum() - pl.col("amount_exact").filter(of("closed")).sum()
            ).cast(MONEY),
            rate_is=pl.col("rate").filter(of("now")).first(),
            rate_was=pl.col("rate").filter(of("closed")).first(),
            was=of("closed").any(),
            is_=of("now").any(),
            again=of("booked").any(),
        )
        # Whether a record is there at all is a matter of all its lines.
        .with_columns(pl.col("was", "is_", "again").any().over("account_id", "kind", "record_id"))
        .filter((pl.col("quantity") != 0) | (pl.col("amount_exact") != 0))
        .with_columns(reason=_reason(), for_month=pl.lit(for_month))
        .collect()
    )
    explained = summed.group_by(LINE).agg(pl.col("quantity").sum(), pl.col("amount_exact").sum().cast(MONEY))
    rest = (
        lines.join(explained, on=LINE, how="left", nulls_equal=True, suffix="_known")
        .with_columns(
            quantity=pl.col("quantity") - pl.col("quantity_known").fill_null(0),
            amount_exact=(pl.col("amount_exact") - pl.col("amount_exact_known").fill_null(0)).cast(MONEY),
        )
        .filter((pl.col("quantity").fill_null(0) != 0) | (pl.col("amount_exact") != 0))
        .with_columns(
            reason=pl.lit("follows"),
            **{c: pl.lit(None, DATASETS["corrections"].types[c]) for c in (*_RECORD, "rate_was", "rate_is")},
        )
    )
    columns = DATASETS["corrections"].columns
    return DATASETS["corrections"].arrange(pl.concat([summed.select(columns), rest.select(columns)]))


def _billed(charges: pl.LazyFrame) -> pl.LazyFrame:
    """`schemas.Charges` → per record and statement line its quantity, ``amount_exact`` and ``rate``."""
    fee = pl.col("line") == "carrier_fee"
    nothing = {c: pl.lit(None, DATASETS["statement"].types[c]) for c in ("item", "tax_level", "jurisdiction")}
    return (
        entries(charges, *_RECORD)
        # What is held has its charge in the month, not on the day.
        .filter(~pl.col("line").is_in(HELD_LINES))
        .with_columns(
            *(pl.when(fee).then(pl.col(c)).alias(c) for c in ("carrier", "registered")),
            section=pl.lit("usage"),
            rate="rate_id",
            rate_id=pl.lit(None, pl.String),
            amount_exact=pl.col("charge").fill_null(0),
            date=pl.col("date").cast(pl.Date),
            **nothing,
        )
        .select(*LINE, *_RECORD, *_SUMS, "rate")
    )


def _reason() -> pl.Expr:
    same = (pl.col("more") == 0) & (pl.col("dearer") == 0)
    return (
        pl.when(pl.col("again") & same)
        .then(pl.lit("taken back"))
        .when(~pl.col("was") & ~pl.col("again"))
        .then(pl.lit("late"))
        .when(~pl.col("is_"))
        .then(pl.lit("gone"))
        .when(pl.col("more") == 0)
        .then(pl.lit("repriced"))
        .otherwise(pl.lit("changed"))
    )


# ------------------------------------------------------------------------------------------------ credits


def changed_lots(closed: pl.DataFrame, now: pl.DataFrame, for_month: str) -> pl.DataFrame:
    """Two ledgers (`schemas.Credits`) of the same accounts and month → `credits.CORRECTIONS`: what the month would leave
    now, less what it was closed with, by lot. No lot is asked for more than it was closed with."""
    key = ["account_id", "lot"]
    then, is_ = closing(closed), closing(now)
    known = pl.concat([then, is_]).unique(key, keep="first", maintain_order=True).drop("credits", "subscription_id")
    sides = [is_.select(*key, "credits"), then.select(*key, credits=-pl.col("credits"))]
    moved = pl.concat(sides).group_by(key).agg(pl.col("credits").sum()).filter(pl.col("credits") != 0)
    return (
        moved.join(known, on=key, how="left")
        .with_columns(for_month=pl.lit(for_month))
        .select(*CORRECTIONS)
        .sort("account_id", "bought_at", "lot")
    )


def all_of(frames: Iterable[pl.DataFrame], none: pl.DataFrame) -> pl.DataFrame:
    """These frames as one; ``none`` if there is none."""
    return pl.concat([none, *frames])
