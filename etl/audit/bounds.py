"""What no account is charged on one UTC day before a person looked at it. Pure: frames in, what is out of bounds out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal

import polars as pl

from etl import acceptance
from etl.audit.invariants import ACCEPTED, BOUNDS, BROKEN, Result
from etl.money import MONEY, NANOS, from_nanos, minor_digits, nanos
from etl.periods import Month
from etl.schemas import UNASSIGNED
from etl.settings import BoundsSettings

DAYS_BEFORE = 28
_BILL = ("account_id", "currency")


def beyond(
    daily: pl.DataFrame,
    days: Collection[date],
    bounds: BoundsSettings,
    accepted: Mapping[Month, Mapping[str, frozenset[str]]],
) -> Iterator[Result]:
    """Each account's day whose charge is out of ``bounds``; `ACCEPTED` where a person accepted it with these figures.

    ``daily``: date, account_id, currency, charge of ``days`` and of the 28 days before each; a day is charged if it has
    a charge that is not 0. ``accepted``: month → `acceptance.names`.
    """
    charged = _charged(daily)
    found = charged.filter(pl.col("date").is_in(list(days))).join(_medians(charged), on=[*_BILL, "date"], how="left")
    scale = {code: Decimal(10) ** (2 - minor_digits(code)) for code in found["currency"].unique()}
    for code, factor in scale.items():
        mine = found.filter(pl.col("currency") == code)
        floor, cap = (_nanos(limit, factor) for limit in (bounds.daily_floor, bounds.daily_cap))
        above = pl.lit(False)
        if bounds.daily_factor != "off":
            times = bounds.daily_factor.as_integer_ratio()
            # Twice the median is a whole number of nano-units; the products are wider than Int64.
            usual = pl.col("_twice").cast(pl.Int128) * times[0] < pl.col("_nanos").cast(pl.Int128) * 2 * times[1]
            above = usual.fill_null(False) & (pl.col("_nanos") > floor)
        beyond_cap = pl.lit(False) if cap is None else pl.col("_nanos") > cap
        amounts = mine.filter(above | beyond_cap).with_columns(
            _charge=from_nanos(pl.col("_nanos")), _median=from_nanos(pl.col("_twice") // 2)
        )
        for row in amounts.sort("date", "account_id").iter_rows(named=True):
            yield _result(row, bounds, factor, accepted)


def _charged(daily: pl.DataFrame) -> pl.DataFrame:
    """date, account_id, currency, _nanos: what each account billed was charged on each day it was charged anything."""
    return (
        daily.filter(pl.col("account_id") != UNASSIGNED)
        .group_by("date", *_BILL)
        .agg(_nanos=nanos(pl.col("charge").sum().cast(MONEY)))
        .filter(pl.col("_nanos") != 0)
        .sort(*_BILL, "date")
    )


def _medians(charged: pl.DataFrame) -> pl.DataFrame:
    """date, account_id, currency, _twice: double the median of the days charged in the 28 days before."""
    before = charged.rolling("date", period=f"{DAYS_BEFORE}d", closed="left", group_by=list(_BILL)).agg(
        _before=pl.col("_nanos").sort()
    )
    middle = pl.col("_before").list.get((pl.col("_before").list.len() - 1) // 2, null_on_oob=True)
    upper = pl.col("_before").list.get(pl.col("_before").list.len() // 2, null_on_oob=True)
    some = before.filter(pl.col("_before").list.len() > 0)
    return some.select("date", *_BILL, _twice=middle + upper)


def first_day(days: Collection[date]) -> date:
    """The first day whose roll-up `beyond` wants to see."""
    return min(days) - timedelta(days=DAYS_BEFORE)


def _nanos(limit: Decimal | str, factor: Decimal) -> int | None:
    return None if limit == "off" else int(limit * factor * NANOS)


def _result(
    row: dict, bounds: BoundsSettings, factor: Decimal, accepted: Mapping[Month, Mapping[str, frozenset[str]]]
) -> Result:
    day, account, currency = row["date"], row["account_id"], row["currency"]
    cap = None if bounds.daily_cap == "off" else bounds.daily_cap * factor
    usual = "nothing" if row["_median"] is None else f"a median of {_plain(row['_median'])} {currency}"
    over = f", and the cap is {_plain(cap)}" if cap is not None and row["_charge"] > cap else ""
    finding = f"is charged {_plain(row['_charge'])} {currency} on one day, after {usual} in the {DAYS_BEFORE} days before{over}"
    where = f"date={day}/account={account}"
    month = Month.of(day)
    found = Result(BOUNDS, where, BROKEN, finding, accounts=(account,))
    hold = acceptance.name(month, account, found.sentence)
    verdict = ACCEPTED if hold in accepted.get(month, {}).get(account, ()) else BROKEN
    remedy = (
        f"look at the day with python -m etl export --from {day} --to {day} --account {account} --view lines; if it is right, "
        + acceptance.command(month, account, found.sentence)
    )
    return Result(BOUNDS, where, verdict, finding, remedy, (account,))


def _plain(amount: Decimal) -> str:
    """Two decimals at least, and as many more as it has."""
    plain = amount.normalize()
    return f"{plain:f}" if -plain.as_tuple().exponent >= 2 else f"{amount:.2f}"
