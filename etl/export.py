"""Daily rows as the tables people take away: any days, by day, ISO week, month or all at once, in seven views. Pure.

====================  ==================================================================================
``total``             one row per account and period
``sent, received``    the same of what went out, and of what came in
``members``           one row per member, one for all shared inboxes together, one for what is unassigned
``inboxes``           one row per shared inbox, one for all members together, one for what is unassigned
``campaigns``         one row per call campaign, one with an empty campaign_id for everything else
``lines``             one row per charge line, direction and type
====================  ==================================================================================

Every breakdown adds up to ``total``, per account, period and currency, in every figure and exactly. ``sent`` and
``received`` lack what has no direction: in ``lines``, the rows with an empty one.

What is priced by the month (`schemas.HELD_LINES`) has no charge on a day and is in no view; neither is what only a
statement knows: tiers, overage, adjustments, taxes, products.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal

import polars as pl

from etl.money import LIMIT, MONEY, NANOS, OutOfRange
from etl.periods import Month, iso_week
from etl.periods import days as days_of
from etl.schemas import HELD_LINES, LINES, UNASSIGNED

PERIODS = {
    "day": date.isoformat,
    "week": iso_week,
    "month": lambda day: str(Month.of(day)),
    "all": lambda _day: "all",
}
"""What a row covers → the label of the period a day lies in."""

VIEWS = {
    "total": (),
    "sent": (),
    "received": (),
    "members": ("owner_kind", "owner_id"),
    "inboxes": ("owner_kind", "owner_id"),
    "campaigns": ("campaign_id",),
    "lines": ("line", "direction", "type"),
}
"""View → the columns that tell its rows apart, beside account, period and currency."""

FIGURES = (
    "messages", "segments", "credits", "calls", "call_billed_seconds", "video_sessions", "video_billed_seconds",
    "charge", "unrated",
)  # fmt: skip

_PERIOD = ("period", "period_start", "period_end_exclusive")
_ONE_DIRECTION = {"sent": "outbound", "received": "inbound"}
_LISTED = {"members": "member", "inboxes": "inbox"}
_TOGETHER = {"member": "all members", "inbox": "all shared inboxes"}
_FILLED = ("total", "sent", "received")
_CALL_LINES = ("call", "campaign_call")


def view(
    daily: pl.DataFrame | pl.LazyFrame,
    by: str,
    which: str,
    accounts: Collection[str] | None = None,
    *,
    days: Iterable[date] | None = None,
    missing: Collection[date] = (),
    currencies: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """`schemas.Daily` rows with ``date`` → one of `VIEWS` by one of `PERIODS`, sorted by account, period and keys.

    ``accounts``: only these; ``days``: only these UTC days (default: from the first to the last of ``daily``);
    ``missing``: days of them that are not loaded, or not wholly; ``currencies``: account → currency of accounts that
    get their rows even without usage. ValueError for an unknown view or period, OutOfRange for a sum too large.

    Columns: account_id, period, period_start, period_end_exclusive (Date; the days asked for only, so a week cut by the
    range says so), the view's keys, messages, segments, credits, calls, call_billed_seconds, video_sessions,
    video_billed_seconds (Int64), charge (Decimal(18, 9), everything the rows cost: usage, carrier fees, voice
    detection), unrated (records whose price is missing from charge), currency, days_missing.
    total, sent and received have a row for every period, zeros where nothing was used and null where no day is known.
    """
    if by not in PERIODS or which not in VIEWS:
        raise ValueError(f"no view {which!r} by {by!r}: use {', '.join(VIEWS)} by {', '.join(PERIODS)}")
    rows = daily.lazy()
    if accounts is not None:
        rows = rows.filter(pl.col("account_id").is_in(sorted(accounts)))
    calendar = _calendar(_every_day(rows) if days is None else sorted(set(days)), by, missing)
    keys = ["account_id", "currency", *VIEWS[which]]
    used = _figures(rows.filter(~pl.col("line").is_in(list(HELD_LINES))), which, calendar, keys)
    customers = rows.select("account_id", "currency").unique()
    figures, known = pl.collect_all([used, customers])
    if which in _FILLED:
        figures = _filled(figures, calendar, _with_others(known, currencies or {}, accounts))
    else:
        figures = figures.join(_periods(calendar), on="period", how="left").drop("_days")
    columns = ["account_id", *_PERIOD, *VIEWS[which], *FIGURES, "currency", "days_missing"]
    return _money_fits(figures).select(columns).sort(_order(which), nulls_last=True)


def _every_day(rows: pl.LazyFrame) -> list[date]:
    first, last = rows.select(first=pl.col("date").min(), last=pl.col("date").max()).collect().row(0)
    return [] if first is None else list(days_of(first, last + timedelta(days=1)))


def _calendar(days: list[date], by: str, missing: Collection[date]) -> pl.DataFrame:
    """date → period, its first day and its end among ``days``, how many days it has and how many of them are missing."""
    label = PERIODS[by]
    gone = set(missing)
    return pl.DataFrame(
        {"date": days, "period": [label(d) for d in days], "_missing": [d in gone for d in days]},
        schema={"date": pl.Date, "period": pl.String, "_missing": pl.Boolean},
    ).with_columns(
        period_start=pl.col("date").min().over("period"),
        period_end_exclusive=pl.col("date").max().over("period") + pl.duration(days=1),
        days_missing=pl.col("_missing").sum().over("period").cast(pl.Int64),
        _days=pl.len().over("period").cast(pl.Int64),
    )


def _periods(calendar: pl.DataFrame) -> pl.DataFrame:
    return calendar.select(*_PERIOD, "days_missing", "_days").unique()


def _figures(rows: pl.LazyFrame, which: str, calendar: pl.DataFrame, keys: list[str]) -> pl.LazyFrame:
    """The sums of `FIGURES` by ``keys`` and period; charge as Decimal(38, 9)."""
    if which in _ONE_DIRECTION:
        rows = rows.filter(pl.col("direction") == _ONE_DIRECTION[which])
    if which in _LISTED:
        # The other kind is one row together, and so has no id.
        alone = pl.col("owner_kind").is_in([_LISTED[which], UNASSIGNED])
        rows = rows.with_columns(owner_id=pl.when(alone).then("owner_id"))
    call, video = pl.col("line").is_in(list(_CALL_LINES)), pl.col("line") == "video"
    return (
        rows.join(calendar.lazy().select("date", "period"), on="date", how="inner")
        .group_by(*keys, "period")
        .agg(
            pl.col("messages", "segments", "credits", "unrated").sum(),
            calls=pl.col("events").filter(call).sum(),
            call_billed_seconds=pl.col("billed_seconds").filter(call).sum(),
            video_sessions=pl.col("events").filter(video).sum(),
            video_billed_seconds=pl.col("billed_seconds").filter(video).sum(),
            charge=pl.col("charge").cast(pl.Decimal(38, MONEY.scale)).sum(),
        )
    )


def _with_others(known: pl.DataFrame, currencies: Mapping[str, str], accounts: Collection[str] | None) -> pl.DataFrame:
    """account_id, currency of who has rows, and of who has none but is a customer."""
    seen = set(known["account_id"])
    others = [(a, c) for a, c in currencies.items() if a not in seen and (accounts is None or a in accounts)]
    return pl.concat([known, pl.DataFrame(others, schema=known.schema, orient="row")])


def _filled(figures: pl.DataFrame, calendar: pl.DataFrame, customers: pl.DataFrame) -> pl.DataFrame:
    """A row for every customer and period. Unknown is not zero: a period without one whole day stays null."""
    nothing_known = pl.col("days_missing") == pl.col("_days")
    return (
        customers.join(_periods(calendar), how="cross")
        .join(figures, on=["account_id", "currency", "period"], how="left")
        .with_columns(pl.when(nothing_known).then(pl.col(c)).otherwise(pl.col(c).fill_null(0)) for c in FIGURES)
    )


def _money_fits(figures: pl.DataFrame) -> pl.DataFrame:
    bound = Decimal(LIMIT) / NANOS
    beyond = figures.filter(~pl.col("charge").is_between(-bound, bound))
    if beyond.height:
        row = beyond.sort("account_id", "period").row(0, named=True)
        raise OutOfRange(f"charge of {row['account_id']} in {row['period']} exceeds {bound:f}: ask for shorter periods")
    return figures.with_columns(pl.col("charge").cast(MONEY))


def _order(which: str) -> list:
    """Who is listed one by one comes first; lines as a statement prints them."""
    keys: list = list(VIEWS[which])
    if which in _LISTED:
        keys.insert(0, pl.col("owner_kind") != _LISTED[which])
    if which == "lines":
        order = {line: position for position, line in enumerate(LINES)}
        keys[0] = pl.col("line").replace_strict(order, return_dtype=pl.Int32)
    return ["account_id", "period_start", *keys, "currency"]


# ------------------------------------------------------------------------------------------------ names and files


def named(exported: pl.DataFrame, owners: pl.DataFrame, campaigns: pl.DataFrame) -> pl.DataFrame:
    """A view with owner_name or campaign_name beside the id: owners.csv and campaigns.csv as the directory has them."""
    if "owner_id" in exported.columns:
        name, key, names = "owner_name", ["account_id", "owner_kind", "owner_id"], owners
    elif "campaign_id" in exported.columns:
        name, key, names = "campaign_name", ["account_id", "campaign_id"], campaigns
    else:
        return exported
    known = names.select(*key, pl.col("name").alias(name)).unique(key, keep="last", maintain_order=True)
    joined = exported.join(known, on=key, how="left", maintain_order="left")
    if name == "owner_name":
        every = pl.col("owner_kind").replace_strict(_TOGETHER, default=None, return_dtype=pl.String)
        joined = joined.with_columns(owner_name=pl.when(pl.col("owner_id").is_null()).then(every).otherwise(name))
    at = exported.columns.index(key[-1]) + 1
    return joined.select(*exported.columns[:at], name, *exported.columns[at:])


def neutralised(text: pl.Expr) -> pl.Expr:
    """A text that no spreadsheet runs as a formula. One apostrophe goes before it, and before one that begins with an
    apostrophe already: taking one leading apostrophe off gives every value back."""
    return text.str.replace("^([=+\\-@\t\r\n＝＋－＠'])", "'$1")


def csv(exported: pl.DataFrame) -> bytes:
    """RFC 4180, UTF-8 without a byte order mark. An empty cell is unknown or does not apply, never zero."""
    texts = [name for name, kind in exported.schema.items() if kind == pl.String]
    return exported.with_columns(neutralised(pl.col(c)) for c in texts).write_csv(line_terminator="\r\n").encode()


def parquet(exported: pl.DataFrame) -> bytes:
    """The view as it is, types and all."""
    buffer = io.BytesIO()
    exported.rechunk().write_parquet(buffer, compression="zstd")
    return buffer.getvalue()
