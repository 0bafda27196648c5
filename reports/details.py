"""The finest figures of a statement that leave the house: its daily rows with names, as frames for the files.

What the provider charges us is in none of them, and neither is a campaign's id, which is a phone number.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from etl.money import MONEY
from etl.schemas import UNASSIGNED
from etl.statement import Statement
from reports import lots
from reports.folded import COUNTS
from reports.lots import Price
from reports.naming import presentable

KEYS = (
    "date", "owner_kind", "owner_id", "owner_name", "campaign", "line", "direction", "type", "carrier", "registered",
    "rate_id", "caller_place", "callee_place", "unit", "currency",
)  # fmt: skip
SUMS = (
    "events", "quantity", "messages", "segments", "billed_seconds", "credits", "charge", "unrated", "segments_differ",
    "vanished",
)  # fmt: skip


@dataclass(frozen=True)
class Details:
    """``usage``: the month's daily rows, `KEYS` and `SUMS`. ``owners``: one row per day and owner with usage, of every
    month in the history; what is held is no usage of a day. ``prices``: lot of credits → what it was bought for."""

    usage: pl.DataFrame = field(repr=False)
    owners: pl.DataFrame = field(repr=False)
    prices: dict[str, Price] = field(default_factory=dict, repr=False)


def of(statement: Statement, folded: pl.DataFrame) -> Details:
    """The frames of one statement, sorted by every key. ``folded``: `reports.folded` of its daily rows but for what is
    held."""
    month = statement.month
    names = _owner_names(statement)
    usage = (
        statement.daily.filter(pl.col("date").is_between(month.first, month.days[-1]))
        .join(names, on=["owner_kind", "owner_id"], how="left")
        .join(_campaign_names(statement), on="campaign_id", how="left")
    )
    usage = usage.group_by(KEYS).agg(pl.col(SUMS).sum()).with_columns(pl.col("charge").cast(MONEY))
    usage = usage.select(*KEYS, *SUMS).sort(KEYS, nulls_last=True)
    paid = lots.prices(
        pl.concat([statement.earlier_ledger, statement.ledger]).iter_rows(named=True),
        # What was paid in another currency is no price in this one.
        pl.concat([statement.earlier_monthly, statement.monthly])
        .with_columns(charge=pl.when(pl.col("currency") == statement.account.currency).then("charge"))
        .iter_rows(named=True),
    )
    return Details(usage, _by_owner(folded, names), paid)


def _owner_names(statement: Statement) -> pl.DataFrame:
    """Every owner there is usage of, with the name that is shown."""
    names = {(kind, id_): name for kind, id_, name in statement.owners.select("owner_kind", "owner_id", "name").rows()}
    rows = [
        (kind, id_, "Unassigned" if kind == UNASSIGNED else presentable(names.get((kind, id_)) or id_))
        for kind, id_ in statement.daily.select("owner_kind", "owner_id").unique().rows()
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(("owner_kind", "owner_id", "owner_name"), pl.String), orient="row")


def _campaign_names(statement: Statement) -> pl.DataFrame:
    names = dict(statement.campaigns.select("campaign_id", "name").iter_rows())
    ids = statement.daily["campaign_id"].drop_nulls().unique()
    rows = [(id_, presentable(names.get(id_) or id_)) for id_ in ids]
    return pl.DataFrame(rows, schema={"campaign_id": pl.String, "campaign": pl.String}, orient="row")


def _by_owner(folded: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    keys = ("date", "owner_kind", "owner_id", "owner_name", "currency")
    named = folded.join(names, on=["owner_kind", "owner_id"], how="left")
    return named.select(*keys, *COUNTS, pl.col("charge").cast(MONEY)).sort(keys)
