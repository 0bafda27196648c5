"""The product files: read, typed, and checked row by row, so that every bad one is named at once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import combinations, pairwise
from pathlib import Path

import polars as pl

from etl import tables
from etl.money import MONEY, parse
from etl.products.model import Products
from etl.settings import ConfigurationError

INTERVALS = ("month", "year")
RECHARGES = ("observed", "simulated")
PURCHASES = ("pack", "recharge", "goodwill")
RESERVED = ("allotment", "overage")
"""Lots of the credits ledger that are no purchase."""

COLUMNS = {
    "plans": ("plan_id", "name", "currency", "price", "interval", "credits"),
    "subscriptions": ("subscription_id", "account_id", "plan_id", "anchor"),
    "purchases": ("purchase_id", "account_id", "bought_at", "kind", "credits", "price", "currency"),
    "adjustments": ("adjustment_id", "account_id", "date", "amount", "currency", "taxable", "reason"),
}
OPTIONAL = {
    "plans": ("valid_from", "valid_to"),
    "subscriptions": ("ended_on", "quantity", "recharge_below", "recharge_credits", "recharge_price", "recharges"),
}

_UTC = pl.Datetime("us", "UTC")
_TYPES = {
    **dict.fromkeys(("anchor", "ended_on", "date", "valid_from", "valid_to"), pl.Date),
    **dict.fromkeys(("price", "amount", "recharge_price"), MONEY),
    **dict.fromkeys(("credits", "quantity", "recharge_below", "recharge_credits"), pl.Int64),
    "bought_at": _UTC,
    "taxable": pl.Boolean,
}
_MOMENT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})"
_EARLIEST, _LATEST = date(1970, 1, 1), date(2099, 12, 31)


def load(folder: Path) -> Products:
    """The products in ``folder``. ConfigurationError lists every bad row by file, line and what to do."""
    frames, digest = {}, hashlib.sha256()
    for name, columns in COLUMNS.items():
        text, sha = tables.read(folder / f"{name}.csv", columns, OPTIONAL.get(name, ()), may_lack=True)
        if sha:
            digest.update(name.encode() + sha)
        frames[name] = _typed(text)
    problems = list(_problems(frames, folder)) if any(f.height for f in frames.values()) else []
    if problems:
        raise ConfigurationError(f"the products in {folder} are not usable:\n" + "\n".join(f"  {p}" for p in problems))
    clean = {
        name: frame.select(c if c not in _TYPES else pl.col(_meant(c)).alias(c) for c in _columns(name))
        for name, frame in frames.items()
    }
    return Products(
        plans=clean["plans"].sort("plan_id", pl.col("valid_from").fill_null(date.min)),
        subscriptions=clean["subscriptions"].with_columns(pl.col("quantity").fill_null(1)).sort("subscription_id"),
        purchases=clean["purchases"].sort("bought_at", "purchase_id"),
        adjustments=clean["adjustments"].sort("date", "adjustment_id"),
        fingerprint=digest.hexdigest(),
    )


# ------------------------------------------------------------------------------------------------ what rows say


def _columns(name: str) -> tuple[str, ...]:
    return (*COLUMNS[name], *OPTIONAL.get(name, ()))


def _meant(column: str) -> str:
    """Where the typed value of a column stands, beside the cell as written."""
    return f"{column}_is"


def _typed(text: pl.DataFrame) -> pl.DataFrame:
    def value(column: str, kind: pl.DataType) -> pl.Expr:
        if kind == pl.Date:
            return tables.day(column)
        if kind == pl.Int64:
            return tables.whole(column)
        if kind == pl.Boolean:
            return tables.true_or_false(column)
        return pl.col(column).map_elements(_moment, return_dtype=_UTC) if kind == _UTC else parse(pl.col(column))

    return text.with_columns(value(c, kind).alias(_meant(c)) for c, kind in _TYPES.items() if c in text.columns)


def _moment(text: str) -> datetime | None:
    """ISO 8601 with an offset → UTC; null for anything else."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if re.fullmatch(_MOMENT, text) else None
    except (ValueError, OverflowError):
        return None


# ------------------------------------------------------------------------------------------------ what is wrong


def _problems(frames: dict[str, pl.DataFrame], folder: Path) -> Iterator[str]:
    listed, _ = tables.read(folder / "accounts.csv", ("account_id", "currency"), others=True)
    accounts = dict(listed.select("account_id", "currency").iter_rows())
    plans, subscriptions, purchases, adjustments = (
        [(f"{name}.csv line {row[tables.LINE]}", row) for row in frames[name].iter_rows(named=True)] for name in COLUMNS
    )
    versions: dict[str, list[dict]] = {}
    for _, row in plans:
        versions.setdefault(row["plan_id"], []).append(row)
    for rows in (subscriptions, purchases, adjustments):
        yield from _check_ids(rows)
        for where, row in rows:
            if row["account_id"] not in accounts:
                yield f"{where}: account {row['account_id']!r} is not in accounts.csv"
    for where, row in plans:
        yield from _check_plan(where, row)
    for rows in versions.values():
        yield from _check_versions(rows)
    for where, row in subscriptions:
        yield from _check_subscription(where, row, versions, accounts)
    yield from _check_one_at_a_time(subscriptions, versions)
    for where, row in purchases:
        yield from _check_purchase(where, row, accounts)
        yield from _check_reported(where, row, [s for _, s in subscriptions if s["account_id"] == row["account_id"]])
    for where, row in adjustments:
        yield from _check_adjustment(where, row, accounts)


def _check_ids(rows: Iterable[tuple[str, dict]]) -> Iterator[str]:
    """The first column is the id: given, and on one line only."""
    seen: dict[str, int] = {}
    for where, row in rows:
        column = next(c for c in row if c != tables.LINE)
        identity = row[column]
        if not identity:
            yield f"{where}: {column} is empty"
        elif identity in seen:
            yield f"{where}: {column} {identity!r} stands already on line {seen[identity]}"
        seen.setdefault(identity, row[tables.LINE])


def _check_plan(where: str, row: dict) -> Iterator[str]:
    for column in ("plan_id", "name"):
        if not row[column]:
            yield f"{where}: {column} is empty"
    if not re.fullmatch("[A-Z]{3}", row["currency"] or ""):
        yield f"{where}: currency {row['currency']!r} must be three capital letters, such as USD"
    yield from _check_one_of(where, row, "interval", INTERVALS)
    yield from _check_money(where, row, "price")
    yield from _check_whole(where, row, "credits", 0)
    yield from _check_days(where, row, "valid_from", "valid_to")


def _check_versions(rows: Sequence[dict]) -> Iterator[str]:
    """One plan's rows: their days do not overlap, and currency and interval stay."""
    in_order = sorted(rows, key=lambda row: (row["valid_from_is"] or date.min, row[tables.LINE]))
    until, line = date.min, 0
    for row in in_order:
        where = f"plans.csv line {row[tables.LINE]}"
        if line and (row["valid_from_is"] or date.min) < until:
            since = row["valid_from"] or "its first day"
            yield f"{where}: plan {row['plan_id']!r} stands already on line {line} on {since}: end one by valid_to"
        if (row["valid_to_is"] or date.max) > until:
            until, line = row["valid_to_is"] or date.max, row[tables.LINE]
    for before, row in pairwise(in_order):
        for column in ("currency", "interval"):
            if row[column] != before[column]:
                yield (
                    f"plans.csv line {row[tables.LINE]}: {column} of plan {row['plan_id']!r} is {before[column]!r} on "
                    f"line {before[tables.LINE]}: give a plan with another {column} its own plan_id"
                )


def _check_subscription(
    where: str, row: dict, versions: Mapping[str, list[dict]], accounts: Mapping[str, str]
) -> Iterator[str]:
    yield from _check_range(where, row, "anchor", row["anchor_is"])
    if row["ended_on"] and row["ended_on_is"] is None:
        yield f"{where}: ended_on {row['ended_on']!r} must be empty or a day, YYYY-MM-DD"
    elif row["ended_on"] and row["anchor_is"] and row["ended_on_is"] <= row["anchor_is"]:
        yield f"{where}: ended_on must lie after anchor: it is the first day without the subscription"
    if row["quantity"]:
        yield from _check_whole(where, row, "quantity", 1)
    yield from _check_recharges(where, row)
    plan = versions.get(row["plan_id"])
    if not plan:
        yield f"{where}: plan {row['plan_id']!r} is not in plans.csv"
        return
    if row["anchor_is"] and not _versions_of(row, plan):
        yield f"{where}: no row of plan {row['plan_id']!r} is in force while the subscription runs: widen its days"
    currency = plan[0]["currency"]
    if accounts.get(row["account_id"], currency) != currency:
        yield (
            f"{where}: plan {row['plan_id']!r} is in {currency}, account {row['account_id']!r} in "
            f"{accounts[row['account_id']]}: give it a plan in its own currency"
        )


def _check_recharges(where: str, row: dict) -> Iterator[str]:
    columns = ("recharge_below", "recharge_credits", "recharge_price")
    given = [c for c in columns if row[c]]
    if row["recharges"] not in (None, *RECHARGES):
        yield f"{where}: recharges {row['recharges']!r} must be empty or one of {', '.join(RECHARGES)}"
    elif given and not row["recharges"]:
        yield f"{where}: {', '.join(given)} need recharges: say observed (purchases.csv has them) or simulated"
    elif len(given) < len(columns) and (given or row["recharges"] == "simulated"):
        lacking = ", ".join(c for c in columns if c not in given)
        yield f"{where}: {lacking} must be given too: a recharge needs {', '.join(columns)}"
    for column in given:
        if column == "recharge_price":
            yield from _check_money(where, row, column)
        else:
            yield from _check_whole(where, row, column, 1 if column == "recharge_credits" else 0)


def _versions_of(subscription: dict, plan: Iterable[dict]) -> list[dict]:
    """Rows of the plan in force on some day of the subscription."""
    return [
        v
        for v in plan
        if (v["valid_from_is"] or date.min) < (subscription["ended_on_is"] or date.max)
        and (v["valid_to_is"] or date.max) > subscription["anchor_is"]
    ]


def _check_one_at_a_time(rows: Iterable[tuple[str, dict]], versions: Mapping[str, list[dict]]) -> Iterator[str]:
    """An account has one subscription with credits or recharges at a time: else nothing says which a text burns."""
    by_account: dict[str, list[tuple[str, dict]]] = {}
    for where, row in rows:
        if row["anchor_is"] is None:
            continue
        grants = any((v["credits_is"] or 0) > 0 for v in _versions_of(row, versions.get(row["plan_id"], ())))
        if grants or row["recharges"]:
            by_account.setdefault(row["account_id"], []).append((where, row))
    for held in by_account.values():
        for (_, first), (where, second) in combinations(held, 2):
            if first["anchor_is"] < (second["ended_on_is"] or date.max) and second["anchor_is"] < (
                first["ended_on_is"] or date.max
            ):
                yield (
                    f"{where}: account {second['account_id']!r} has credits from line {first[tables.LINE]} at the same "
                    "time: end one by ended_on"
                )


def _check_purchase(where: str, row: dict, accounts: Mapping[str, str]) -> Iterator[str]:
    if row["purchase_id"] in RESERVED:
        yield f"{where}: purchase_id must not be {' or '.join(RESERVED)}: the credits ledger calls other lots so"
    moment = row["bought_at_is"]
    if moment is None:
        yield (
            f"{where}: bought_at {row['bought_at']!r} must be a moment with its offset, such as 2026-10-31T14:05:00Z "
            "or 2026-10-31T09:05:00-05:00"
        )
    else:
        yield from _check_range(where, row, "bought_at", moment.date())
    yield from _check_one_of(where, row, "kind", PURCHASES)
    yield from _check_whole(where, row, "credits", 1)
    if row["kind"] == "goodwill":
        if row["price"]:
            yield f"{where}: goodwill costs nothing: leave price empty, or call it a pack"
    else:
        yield from _check_money(where, row, "price")
    if row["currency"] or row["price"]:
        yield from _check_currency(where, row, accounts)


def _check_reported(where: str, purchase: dict, subscriptions: Iterable[dict]) -> Iterator[str]:
    """Recharges are reported or simulated: both would be bought twice."""
    if purchase["kind"] != "recharge" or purchase["bought_at_is"] is None:
        return
    day = purchase["bought_at_is"].date()
    for row in subscriptions:
        if (
            row["recharges"] == "simulated"
            and row["anchor_is"]
            and row["anchor_is"] <= day < (row["ended_on_is"] or date.max)
        ):
            yield (
                f"{where}: a reported recharge, but subscriptions.csv line {row[tables.LINE]} simulates them: say "
                "observed there, or take the recharge out"
            )


def _check_adjustment(where: str, row: dict, accounts: Mapping[str, str]) -> Iterator[str]:
    yield from _check_range(where, row, "date", row["date_is"])
    if row["amount_is"] is None:
        yield f"{where}: amount {row['amount']!r} must be a number with at most 9 decimals; a refund is negative"
    elif row["amount_is"] == 0:
        yield f"{where}: amount is 0: an adjustment changes something, take the row out"
    yield from _check_currency(where, row, accounts)
    if row["taxable_is"] is None:
        yield f"{where}: taxable must be true or false"
    if not row["reason"]:
        yield f"{where}: reason is empty: the statement says it to the customer"


def _check_currency(where: str, row: dict, accounts: Mapping[str, str]) -> Iterator[str]:
    own = accounts.get(row["account_id"])
    if not re.fullmatch("[A-Z]{3}", row["currency"] or ""):
        yield f"{where}: currency {row['currency']!r} must be three capital letters, such as USD"
    elif own and row["currency"] != own:
        yield f"{where}: currency {row['currency']} must be {own}, that of account {row['account_id']!r}"


def _check_one_of(where: str, row: dict, column: str, allowed: Sequence[str]) -> Iterator[str]:
    if row[column] not in allowed:
        yield f"{where}: {column} {row[column]!r} must be one of {', '.join(allowed)}"


def _check_money(where: str, row: dict, column: str) -> Iterator[str]:
    amount = row[_meant(column)]
    if amount is None:
        yield f"{where}: {column} {row[column]!r} must be a number with at most 9 decimals; 0 for nothing"
    elif amount < 0:
        yield f"{where}: {column} {row[column]} is negative"


def _check_whole(where: str, row: dict, column: str, least: int) -> Iterator[str]:
    number = row[_meant(column)]
    if number is None or number < least:
        yield f"{where}: {column} {row[column]!r} must be a whole number, {least} or more, at most nine digits"


def _check_days(where: str, row: dict, start: str, end: str) -> Iterator[str]:
    for column in (start, end):
        if row[column] and row[_meant(column)] is None:
            yield f"{where}: {column} {row[column]!r} must be a day, YYYY-MM-DD"
    if row[_meant(end)] and row[_meant(end)] <= (row[_meant(start)] or date.min):
        yield f"{where}: {end} must lie after {start}"


def _check_range(where: str, row: dict, column: str, day: date | None) -> Iterator[str]:
    if day is None:
        yield f"{where}: {column} {row[column]!r} must be a day, YYYY-MM-DD"
    elif not _EARLIEST <= day <= _LATEST:
        yield f"{where}: {column} {row[column]!r} must lie between {_EARLIEST} and {_LATEST}"
