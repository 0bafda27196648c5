"""The rate card: two CSV files people edit, typed and checked row by row.

A cell left empty matches anything (``direction``, ``type``, ``number_class``, ``carrier``, ``registered``, ``prefix``).
Validity is [valid_from, valid_to) in UTC days; ``recorded_at`` says when a row became known, and where two rows say
different things about the same day, the one recorded later is believed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl

from etl import tables
from etl.money import parse
from etl.schemas import CLOCKS, DIRECTIONS, LINES, NUMBER_CLASSES, TYPES
from etl.settings import ConfigurationError

PRICE_KEY = ("rate_card", "line", "direction", "type", "number_class", "prefix", "currency")
FEE_KEY = ("carrier", "direction", "type", "registered", "number_class", "prefix", "currency")

_DATES = ("valid_from", "valid_to", "recorded_at")
_CALL_FIELDS = ("minimum_seconds", "increment_seconds", "clock", "bill_unanswered", "connection_fee")
PRICE_COLUMNS = ("rate_id", *PRICE_KEY, "price", *_CALL_FIELDS, *_DATES, "note")
FEE_COLUMNS = ("fee_id", *FEE_KEY, "price", *_DATES, "note")
_TIMED_LINES = ("call", "campaign_call")


@dataclass(frozen=True)
class RateCard:
    """``prices`` and ``fees`` typed: price and connection_fee Decimal(18, 9), seconds Int64, booleans, dates; wildcards
    are null, prefix is digits without ``+`` and never null."""

    prices: pl.DataFrame
    fees: pl.DataFrame
    fingerprint: str

    def names(self) -> set[str]:
        return set(self.prices["rate_card"])


def load(folder: Path) -> RateCard:
    """The rate card in ``folder``. ConfigurationError lists every bad row by file, line and what to do."""
    digest, frames, problems = hashlib.sha256(), {}, []
    for name, columns in (("prices", PRICE_COLUMNS), ("carrier_fees", FEE_COLUMNS)):
        frame, sha = tables.read(folder / f"{name}.csv", columns)
        digest.update(name.encode() + sha)
        text = frame.select(columns).with_row_index("row", offset=2)
        frames[name] = _typed(text)
        problems += list(_problems(f"{name}.csv", text, frames[name], PRICE_KEY if name == "prices" else FEE_KEY))
    if problems:
        raise ConfigurationError(f"the rate card in {folder} is not usable:\n" + "\n".join(f"  {p}" for p in problems))
    return RateCard(frames["prices"].drop("row"), frames["carrier_fees"].drop("row"), digest.hexdigest())


def _typed(text: pl.DataFrame) -> pl.DataFrame:
    booleans = [c for c in ("registered", "bill_unanswered") if c in text.columns]
    seconds = [c for c in ("minimum_seconds", "increment_seconds") if c in text.columns]
    money = [c for c in ("price", "connection_fee") if c in text.columns]
    return text.with_columns(
        pl.col(_DATES).str.to_date("%Y-%m-%d", strict=False),
        pl.col(seconds).cast(pl.Int64, strict=False),
        *[parse(pl.col(c)).alias(c) for c in money],
        *[
            pl.col(c).replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean).alias(c)
            for c in booleans
        ],
        prefix=pl.col("prefix").str.strip_prefix("+").fill_null(""),
    )


def _problems(file: str, text: pl.DataFrame, typed: pl.DataFrame, key: tuple[str, ...]) -> Iterator[str]:
    id_column = text.columns[1]
    allowed = {
        "line": LINES, "direction": DIRECTIONS, "type": TYPES, "number_class": NUMBER_CLASSES, "clock": CLOCKS,
        "registered": ("true", "false"), "bill_unanswered": ("true", "false"),
    }  # fmt: skip
    seen: dict[str, int] = {}
    for raw, row in zip(text.iter_rows(named=True), typed.iter_rows(named=True), strict=True):
        where = f"{file} line {row['row']}"
        identity = row[id_column]
        if not identity:
            yield f"{where}: {id_column} is empty: charges name the row that priced them"
        elif identity in seen:
            yield f"{where}: {id_column} {identity!r} stands already on line {seen[identity]}"
        seen.setdefault(identity, row["row"])
        for column, values in allowed.items():
            if raw.get(column) and raw[column] not in values:
                yield f"{where}: {column} {raw[column]!r} must be empty or one of {', '.join(values)}"
        if row["price"] is None:
            yield f"{where}: price {raw['price']!r} must be a number with at most 9 decimals"
        elif row["price"] < 0:
            yield f"{where}: price {raw['price']} is negative"
        if not re.fullmatch("([1-9][0-9]{0,14})?", row["prefix"]):
            yield f"{where}: prefix {raw['prefix']!r} must be empty or the first digits of an E.164 number"
        if not re.fullmatch("[A-Z]{3}", raw["currency"] or ""):
            yield f"{where}: currency {raw['currency']!r} must be three capital letters, such as USD"
        for column in ("valid_from", "recorded_at"):
            if row[column] is None:
                yield f"{where}: {column} {raw[column]!r} must be a day, YYYY-MM-DD"
        if raw["valid_to"] and row["valid_to"] is None:
            yield f"{where}: valid_to {raw['valid_to']!r} must be empty or a day, YYYY-MM-DD"
        if row["valid_from"] and row["valid_to"] and row["valid_to"] <= row["valid_from"]:
            yield f"{where}: valid_to must lie after valid_from"
        if "line" in raw:
            yield from _call_problems(where, raw, row)
    yield from _overlaps(file, typed, key, id_column)


def _call_problems(where: str, raw: dict, row: dict) -> Iterator[str]:
    if not raw["rate_card"] or not raw["line"]:
        yield f"{where}: rate_card and line are needed"
    if raw["line"] in _TIMED_LINES:
        for column in ("minimum_seconds", "increment_seconds"):
            if row[column] is None or row[column] < (1 if column == "increment_seconds" else 0):
                yield f"{where}: {column} {raw[column]!r} must be whole seconds, such as 60"
        if not raw["clock"] or not raw["bill_unanswered"]:
            yield f"{where}: a call's price needs clock (dial or answer) and bill_unanswered (true or false)"
        if raw["connection_fee"] and (row["connection_fee"] is None or row["connection_fee"] < 0):
            yield f"{where}: connection_fee {raw['connection_fee']!r} must be a number, 0 or more"
    elif any(raw[c] for c in _CALL_FIELDS):
        yield f"{where}: {', '.join(c for c in _CALL_FIELDS if raw[c])} belong to calls, not to {raw['line']}"


def _overlaps(file: str, typed: pl.DataFrame, key: tuple[str, ...], id_column: str) -> Iterator[str]:
    """Two rows for the same key and day, recorded on the same day: nothing says which to believe."""
    ordered = typed.sort(*key, "recorded_at", "valid_from", nulls_last=True)
    group = [*key, "recorded_at"]
    earlier = ordered.with_columns(
        _end=pl.col("valid_to").fill_null(date.max).shift(1).over(group),
        _id=pl.col(id_column).shift(1).over(group),
    ).filter(pl.col("_end") > pl.col("valid_from"))
    for row in earlier.iter_rows(named=True):
        yield (
            f"{file} line {row['row']}: {row[id_column]!r} overlaps {row['_id']!r} from {row['valid_from']}: "
            "end one of them, or give the correction a later recorded_at"
        )


def gaps(card: RateCard, start: date, end: date) -> list[str]:
    """Days in [start, end) on which a price that existed before has lapsed while nothing takes its place, as
    sentences; a price retired for good before ``start`` is none. A gap is not an error until an event falls into it;
    then that event is unrated."""
    found = []
    for name, frame, key in (("prices", card.prices, PRICE_KEY), ("carrier_fees", card.fees, FEE_KEY)):
        ordered = frame.sort(*key, "valid_from", nulls_last=True).with_columns(
            _next=pl.col("valid_from").shift(-1).over(key),
            _until=pl.col("valid_to").fill_null(date.max).cum_max().over(key),
        )
        holes = ordered.filter(
            (pl.col("_until") < pl.col("_next").fill_null(date.max))
            & (pl.col("_until") < end)
            & ((pl.col("_until") >= start) | (pl.col("_next") > start))
        )
        for row in holes.iter_rows(named=True):
            until = row["_next"] or "further notice"
            found.append(f"{name}.csv: nothing follows {row[frame.columns[0]]!r} from {row['_until']} until {until}")
    return found


def in_force(rows: pl.DataFrame, day: date, key: tuple[str, ...], as_of: date | None = None) -> pl.DataFrame:
    """Rows that price ``day``, one per key, as known on ``as_of`` (default: now). Later recorded_at wins, then id."""
    known = rows if as_of is None else rows.filter(pl.col("recorded_at") <= as_of)
    return (
        known.filter((pl.col("valid_from") <= day) & (pl.col("valid_to").is_null() | (pl.col("valid_to") > day)))
        .sort("recorded_at", rows.columns[0])
        .unique(subset=key, keep="last", maintain_order=True)
    )
