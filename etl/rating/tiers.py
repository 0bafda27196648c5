"""Ladders: what a month's usage costs by its quantity, less what its events were charged (mission rules 2 and 4).

Every event is charged at its row's list price on its day. The month then gets, per account and ladder, the difference
between the ladder's price of all of it and the sum at list price, which may be negative.

A ladder counts the priced units (segments, messages, minutes) of all rate rows of an account that name it, from the
first of the UTC month. A rung begins when ``from_quantity`` units have been used: the next one is the first in it.

==========  ========================================================================================
graduated   each unit at the price of the rung it lies in, plus the flat fee of every rung reached
package     in each rung whole packages: ceil(units in it / package_size) × price, plus those flat fees
volume      every unit at the price of the one rung that holds the month's total, plus its flat fee
==========  ========================================================================================

No usage costs nothing, not even a flat fee. A ladder changes at midnight UTC and quantities count on: graduated and
package charge a day cost(before + of the day) - cost(before) in the day's version, so what was reached under an older
version is not reached again; volume charges a day's units at the rung the month's total picks in the day's version, and
the flat fee once, in the version of the first day with usage. On a day without a version the list price stands.

Seconds are sixtieths of a minute, exactly: amounts are summed in sixtieths of nano-units (Int128), divided half-up.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from etl.money import LIMIT, MONEY, NANOS, OutOfRange, from_nanos, nanos
from etl.periods import Month
from etl.rating.card import RateCard
from etl.schemas import LINES, TIMED_LINES, UNASSIGNED

SCHEMA = {
    "account_id": pl.String,
    "tier_id": pl.String,
    "currency": pl.String,
    "lines": pl.String,
    "quantity": pl.Int64,
    "list_amount": MONEY,
    "ladder_amount": MONEY,
    "connection_fees_returned": MONEY,
    "charge": MONEY,
}
"""What `adjustments` returns. quantity: segments, messages, calls, or seconds."""

DAILY = ("account_id", "rate_id", "line", "currency", "date", "quantity", "events", "charge")
"""The columns of `schemas.Daily` that ladders are computed of."""

_LADDER = ("account_id", "tier_id")
_EVENT = ("account_id", "rate_id", "occurred_at", "record_id", "quantity")
_BIG = pl.Int128
_ENDLESS = 2**62


def adjustments(
    daily: pl.DataFrame, card: RateCard, month: Month, calls: pl.DataFrame | None = None, *, as_of: date | None = None
) -> pl.DataFrame:
    """`schemas.Daily` with ``date``, at least `DAILY` → one row per account and ladder it used: `SCHEMA`.

    charge = ladder_amount - list_amount - connection_fees_returned. list_amount: list price × quantity, half-up once
    per rate row; ladder_amount: half-up once. ``lines``: the charge lines it belongs to, joined by "; ". What belongs
    to no account, and a ladder with no version on any day of usage, is left out.

    ``calls``: account_id, rate_id, occurred_at, record_id, quantity (seconds) of every call on the rates `needs_calls`
    names; other columns are ignored. A call wholly inside rungs of price 0 gets its connection fee back. Calls take
    their places by occurred_at, then record_id. ``as_of``: as it was known on a day. Raises OutOfRange when an amount
    does not fit, ValueError when ``calls`` are needed and missing.
    """
    used = _used(daily, card, month)
    if calls is None and used["rate_id"].is_in(needs_calls(card)).any():
        raise ValueError("the rate card gives connection fees back: adjustments need the calls of needs_calls()")
    days = _days(used)
    rungs = _rungs(card, month, as_of)
    returned = _returned(calls, card, rungs, month)
    found = (
        _climbed(days, rungs)
        .join(_listed(used), on=_LADDER)
        .join(_lines(used), on=_LADDER)
        .join(returned, on=_LADDER, how="left")
        .with_columns(pl.col("connection_fees_returned").fill_null(pl.lit(0, _BIG)))
        .with_columns(
            charge=pl.col("ladder_amount") - pl.col("list_amount") - pl.col("connection_fees_returned"),
        )
    )
    amounts = ("list_amount", "ladder_amount", "connection_fees_returned", "charge")
    _check(found, *amounts)
    return (
        found.with_columns(*(from_nanos(pl.col(c).cast(pl.Int64)).alias(c) for c in amounts))
        .select(pl.col(c).cast(t) for c, t in SCHEMA.items())
        .sort(_LADDER)
    )


def used(daily: pl.LazyFrame, card: RateCard) -> pl.DataFrame:
    """`schemas.Daily` with ``date`` → its usage on ladders as `DAILY`, added up over everybody inside an account."""
    on_ladder = pl.col("rate_id").is_in(_rates(card)["rate_id"].implode())
    summed = daily.select(*DAILY).filter(on_ladder).group_by(DAILY[:5]).agg(pl.col(DAILY[5:]).sum())
    return summed.with_columns(pl.col("charge").cast(MONEY)).collect(engine="streaming")


def needs_calls(card: RateCard) -> list[str]:
    """Rates whose single calls `adjustments` must see: of ladders with a rung of price 0 and a connection fee."""
    on_ladder = card.prices.filter(pl.col("tier_id").is_not_null())
    free = card.tiers.filter(pl.col("price") == 0)["tier_id"].unique().implode()
    with_fee = on_ladder.filter(pl.col("connection_fee") > 0)["tier_id"].unique().implode()
    return (
        on_ladder.filter(pl.col("tier_id").is_in(free) & pl.col("tier_id").is_in(with_fee))["rate_id"].sort().to_list()
    )


# ------------------------------------------------------------------------------------------------ usage


def _rates(card: RateCard) -> pl.DataFrame:
    """rate_id, line, tier_id, price and connection fee in nanos, and how many data units make one priced unit."""
    return card.prices.filter(pl.col("tier_id").is_not_null()).select(
        "rate_id",
        "line",
        "tier_id",
        _price=nanos(pl.col("price")).cast(_BIG),
        _fee=nanos(pl.col("connection_fee")).fill_null(0).cast(_BIG),
        _per=pl.when(pl.col("line").is_in(TIMED_LINES)).then(60).otherwise(1).cast(_BIG),
    )


def _used(daily: pl.DataFrame, card: RateCard, month: Month) -> pl.DataFrame:
    """Usage on ladders by account, rate row and day. A fee row may have a price row's id: the line tells them apart."""
    rates = _rates(card)
    on_ladder = pl.col("rate_id").is_in(rates["rate_id"].implode())
    return (
        daily.filter((pl.col("account_id") != UNASSIGNED) & _inside(pl.col("date"), month) & on_ladder)
        .group_by("account_id", "rate_id", "line", "currency", "date")
        .agg(pl.col("quantity").cast(_BIG).sum())
        .filter(pl.col("quantity") > 0)
        .join(rates, on=["rate_id", "line"])
    )


def _days(used: pl.DataFrame) -> pl.DataFrame:
    """By account, ladder and day: quantity, what was used before in the month and in all of it, and its list price."""
    summed = used.group_by(*_LADDER, "currency", "_per", "date").agg(
        pl.col("quantity").sum(), _priced=(pl.col("quantity") * pl.col("_price")).sum()
    )
    by_day = summed.sort("date").with_columns(
        _before=pl.col("quantity").cum_sum().over(_LADDER) - pl.col("quantity"),
        _total=pl.col("quantity").sum().over(_LADDER),
    )
    # Up to here no product of a price and a quantity reaches the end of Int128.
    _check(by_day, "_total", unit=1)
    return by_day


def _inside(day: pl.Expr, month: Month) -> pl.Expr:
    return (day >= month.first) & (day < month.end)


def _listed(used: pl.DataFrame) -> pl.DataFrame:
    by_rate = used.group_by(*_LADDER, "rate_id", "_per").agg(_priced=(pl.col("quantity") * pl.col("_price")).sum())
    return by_rate.group_by(_LADDER).agg(list_amount=_half_up(pl.col("_priced"), pl.col("_per")).sum())


def _lines(used: pl.DataFrame) -> pl.DataFrame:
    order = pl.col("line").replace_strict({name: i for i, name in enumerate(LINES)}, return_dtype=pl.Int32)
    named = used.select(*_LADDER, "line").unique().sort(order)
    return named.group_by(_LADDER, maintain_order=True).agg(lines=pl.col("line").str.join("; "))


# ------------------------------------------------------------------------------------------------ rungs


def _rungs(card: RateCard, month: Month, as_of: date | None) -> pl.DataFrame:
    """tier_id, date, model, and per rung: units before it and at its end, price and flat fee in nanos, package size."""
    known = card.tiers if as_of is None else card.tiers.filter(pl.col("recorded_at") <= as_of)
    day = ("tier_id", "date")
    return (
        known.join(pl.DataFrame({"date": month.days}), how="cross")
        .filter(
            (pl.col("valid_from") <= pl.col("date"))
            & (pl.col("valid_to").is_null() | (pl.col("valid_to") > pl.col("date")))
        )
        .filter(pl.col("recorded_at") == pl.col("recorded_at").max().over(day))
        .sort(*day, "from_quantity")
        .select(
            *day,
            "model",
            _low=pl.col("from_quantity").cast(_BIG),
            _high=pl.col("from_quantity").shift(-1).over(day).fill_null(_ENDLESS).cast(_BIG),
            _rung_price=nanos(pl.col("price")).cast(_BIG),
            _flat=nanos(pl.col("flat_fee")).cast(_BIG),
            _size=pl.col("package_size").fill_null(1).cast(_BIG),
        )
    )


def _climbed(days: pl.DataFrame, rungs: pl.DataFrame) -> pl.DataFrame:
    """account_id, tier_id, currency, quantity, ladder_amount: every day cut at the rungs of its version and summed."""
    low, high, per = pl.col("_low") * pl.col("_per"), pl.col("_high") * pl.col("_per"), pl.col("_per")
    before = pl.col("_before").clip(low, high) - low
    after = (pl.col("_before") + pl.col("quantity")).clip(low, high) - low
    pack = pl.col("_size") * per
    whole = (after + pack - 1) // pack - (before + pack - 1) // pack
    picked = (pl.col("_total") > low) & (pl.col("_total") <= high)
    volume, no_version = pl.col("model") == "volume", pl.col("model").is_null()
    entered = pl.when(volume).then(picked & (pl.col("_before") == 0)).otherwise((before == 0) & (after > 0))
    units = (
        pl.when(volume)
        .then(pl.when(picked).then("quantity").otherwise(pl.lit(0, _BIG)))
        .when(pl.col("model") == "package")
        .then(whole * per)
        .otherwise(after - before)
    )
    cut = days.join(rungs, on=["tier_id", "date"], how="left").with_columns(
        _amount=pl.when(no_version).then("_priced").otherwise(units * pl.col("_rung_price")),
        _flat=pl.when(entered).then("_flat").otherwise(pl.lit(0, _BIG)),
    )
    summed = cut.group_by(*_LADDER, "currency", "_per").agg(
        pl.col("_amount", "_flat").sum(), quantity=pl.col("_total").first(), _never=no_version.all()
    )
    return summed.filter(~pl.col("_never")).select(
        *_LADDER, "currency", "quantity", ladder_amount=_half_up(pl.col("_amount"), per) + pl.col("_flat")
    )


def _returned(calls: pl.DataFrame | None, card: RateCard, rungs: pl.DataFrame, month: Month) -> pl.DataFrame:
    """Connection fees of calls wholly inside rungs of price 0, by account and ladder, in nanos."""
    if calls is None or calls.is_empty():
        return pl.DataFrame(schema={"account_id": pl.String, "tier_id": pl.String, "connection_fees_returned": _BIG})
    rates = _rates(card).select("rate_id", "tier_id", "_per", fee=pl.col("_fee").cast(pl.Int64))
    placed = (
        calls.select(*_EVENT, date=pl.col("occurred_at").dt.date())
        .filter(_inside(pl.col("date"), month) & (pl.col("quantity") > 0))
        .join(rates, on="rate_id")
        .sort("occurred_at", "record_id", "rate_id", "quantity")
        .drop("occurred_at", "record_id", "rate_id")
        .with_columns(_end=pl.col("quantity").cum_sum().over(_LADDER), _total=pl.col("quantity").sum().over(_LADDER))
        .filter(pl.col("fee") > 0)
        .with_row_index("_call")
    )
    low, high = pl.col("_low") * pl.col("_per"), pl.col("_high") * pl.col("_per")
    touched = (
        pl.when(pl.col("model") == "volume")
        .then((pl.col("_total") > low) & (pl.col("_total") <= high))
        .otherwise((pl.col("_end") > low) & (pl.col("_end") - pl.col("quantity") < high))
    )
    costly = rungs.filter(pl.col("_rung_price") > 0).select("tier_id", "date", "model", "_low", "_high")
    paid = placed.join(costly, on=["tier_id", "date"]).filter(touched)
    covered = placed.join(rungs, on=["tier_id", "date"], how="semi").join(paid, on="_call", how="anti")
    return covered.group_by(_LADDER).agg(connection_fees_returned=pl.col("fee").cast(_BIG).sum())


# ------------------------------------------------------------------------------------------------ numbers


def _half_up(amount: pl.Expr, per: pl.Expr) -> pl.Expr:
    """``amount / per`` in whole nano-units; neither is ever negative here."""
    return (amount + per // 2) // per


def _check(frame: pl.DataFrame, *columns: str, unit: int = NANOS) -> None:
    for column in columns:
        beyond = frame.filter(~pl.col(column).is_between(-LIMIT, LIMIT)).select(_LADDER).sort(_LADDER)
        if beyond.height:
            account, tier = beyond.row(0)
            raise OutOfRange(f"{column.strip('_')} of ladder {tier!r} exceeds {LIMIT // unit} for account {account!r}")
