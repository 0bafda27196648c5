"""The rate card: CSV files people edit, typed and checked row by row.

``prices.csv`` and ``carrier_fees.csv``; beside them, if there are any, the ladders of ``tiers.csv``.
A cell left empty matches anything (``direction``, ``type``, ``number_class``, ``carrier``, ``registered``, ``prefix``).
Validity is [valid_from, valid_to) in UTC days; ``recorded_at`` says when a row became known, and where two rows say
different things about the same day, the one recorded later is believed. Of a ladder that is the whole version: all the
rungs with the same three dates.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property
from pathlib import Path

import polars as pl

from etl import tables
from etl.money import MONEY, parse
from etl.schemas import CLOCKS, DIRECTIONS, HELD_LINES, LINES, NUMBER_CLASSES, TIMED_LINES, TYPES
from etl.settings import ConfigurationError

PRICE_KEY = ("rate_card", "line", "direction", "type", "number_class", "prefix", "currency")
FEE_KEY = ("carrier", "direction", "type", "registered", "number_class", "prefix", "currency")
VERSION = ("tier_id", "valid_from", "valid_to", "recorded_at")
"""What the rungs of one version of a ladder have in common."""

_DATES = ("valid_from", "valid_to", "recorded_at")
_CALL_FIELDS = ("minimum_seconds", "increment_seconds", "clock", "bill_unanswered", "connection_fee")
PRICE_COLUMNS = ("rate_id", *PRICE_KEY, "price", *_CALL_FIELDS, "tier_id", *_DATES, "note")
FEE_COLUMNS = ("fee_id", *FEE_KEY, "price", *_DATES, "note")
TIER_COLUMNS = ("tier_id", "model", "from_quantity", "price", "flat_fee", "package_size", "currency", *_DATES, "note")
_OPTIONAL = ("tier_id",)

MODELS = ("graduated", "volume", "package")

_ELSEWHERE = {
    "carrier_fee": "stands in carrier_fees.csv",
    "tier_adjustment": "follows from tiers.csv",
    "adjustment": "stands in adjustments.csv of the directory folder",
    "subscription": "stands in plans.csv and subscriptions.csv of the directory folder",
    "credit_pack": "stands in purchases.csv of the directory folder",
}
"""Lines of a statement that no price makes."""

_TIER_LINES = ("text", *TIMED_LINES, "voice_detection", "failed_message")
"""Charged event by event, so that a quantity of the month stands behind them."""


@dataclass(frozen=True)
class RateCard:
    """``prices``, ``fees`` and ``tiers`` typed: price, connection_fee, flat_fee Decimal(18, 9), seconds and quantities
    Int64, booleans, dates; wildcards are null; prefix is digits without ``+`` and never null, nor is flat_fee."""

    prices: pl.DataFrame
    fees: pl.DataFrame
    tiers: pl.DataFrame
    fingerprint: str

    def names(self) -> set[str]:
        return self._names

    @cached_property
    def _names(self) -> set[str]:
        return set(self.prices["rate_card"].unique())


def load(folder: Path) -> RateCard:
    """The rate card in ``folder``. ConfigurationError lists every bad row by file, line and what to do."""
    digest, texts, frames = hashlib.sha256(), {}, {}
    for name, columns in (("prices", PRICE_COLUMNS), ("carrier_fees", FEE_COLUMNS), ("tiers", TIER_COLUMNS)):
        optional = _OPTIONAL if name == "prices" else ()
        required = [c for c in columns if c not in optional]
        texts[name], sha = tables.read(folder / f"{name}.csv", required, optional, may_lack=name == "tiers")
        texts[name] = texts[name].select(tables.LINE, *columns)
        frames[name] = _typed(texts[name])
        digest.update(name.encode() + sha)
    problems = [
        *_price_problems(texts["prices"], frames["prices"]),
        *_fee_problems(texts["carrier_fees"], frames["carrier_fees"]),
        *_tier_problems(texts["tiers"], frames["tiers"]),
        *_ladder_problems(frames["prices"], frames["tiers"]),
    ]
    if problems:
        raise ConfigurationError(f"the rate card in {folder} is not usable:\n" + "\n".join(f"  {p}" for p in problems))
    prices, fees, tiers = (frame.drop(tables.LINE) for frame in frames.values())
    return RateCard(prices, fees, tiers.with_columns(pl.col("flat_fee").fill_null(0).cast(MONEY)), digest.hexdigest())


def _typed(text: pl.DataFrame) -> pl.DataFrame:
    def present(*columns: str) -> list[str]:
        return [c for c in columns if c in text.columns]

    return text.with_columns(
        *map(tables.day, _DATES),
        *map(tables.whole, present("minimum_seconds", "increment_seconds", "from_quantity", "package_size")),
        *map(tables.true_or_false, present("registered", "bill_unanswered")),
        *(parse(pl.col(c)).alias(c) for c in present("price", "connection_fee", "flat_fee")),
        *(pl.col(c).str.strip_prefix("+").fill_null("") for c in present("prefix")),
    )


# ------------------------------------------------------------------------------------------------ row by row

# Expressions find the rows that are wrong, over all rows at once; what is wrong is then said of those, one by one. Both
# look at the cells as written (`_WRITTEN`) and as understood. An expression may name a row that turns out to be right,
# never the other way round: tests/rating/test_rating_card.py compares it with asking every row.

_WRITTEN = "written "


def _suspects(text: pl.DataFrame, typed: pl.DataFrame, wrong: pl.Expr) -> Iterator[tuple[dict, dict]]:
    """(cells as written, cells as understood) of the rows that may be ``wrong``."""
    found = typed.hstack(text.rename(lambda c: f"{_WRITTEN}{c}")).select(wrong.fill_null(True)).to_series()
    if found.any():
        yield from zip(text.filter(found).iter_rows(named=True), typed.filter(found).iter_rows(named=True), strict=True)


def _price_problems(text: pl.DataFrame, typed: pl.DataFrame, wrong: pl.Expr | None = None) -> Iterator[str]:
    """``wrong``: the rows to be asked, if not those that expressions suspect."""
    seen: dict[str, int] = {}
    prefix = _wrong_prefixes(typed)
    wrong = _any(_wrong_id("rate_id"), _wrong_key(text), prefix, _wrong_amount(), _wrong_line()) if wrong is None else wrong
    for raw, row in _suspects(text, typed, wrong):
        where = f"prices.csv line {raw[tables.LINE]}"
        yield from _id_problems(where, raw, "rate_id", seen)
        yield from _key_problems(where, raw, row)
        yield from _amount_problems(where, raw, row)
        yield from _line_problems(where, raw, row)
    yield from _overlaps("prices.csv", typed, PRICE_KEY, "rate_id")


def _fee_problems(text: pl.DataFrame, typed: pl.DataFrame, wrong: pl.Expr | None = None) -> Iterator[str]:
    """``wrong`` as for `_price_problems`."""
    seen: dict[str, int] = {}
    wrong = _any(_wrong_id("fee_id"), _wrong_key(text), _wrong_prefixes(typed), _wrong_amount()) if wrong is None else wrong
    for raw, row in _suspects(text, typed, wrong):
        where = f"carrier_fees.csv line {raw[tables.LINE]}"
        yield from _id_problems(where, raw, "fee_id", seen)
        yield from _key_problems(where, raw, row)
        yield from _amount_problems(where, raw, row)
    yield from _overlaps("carrier_fees.csv", typed, FEE_KEY, "fee_id")


def _any(*conditions: pl.Expr) -> pl.Expr:
    # Null is no answer, so one that has none must not be outvoted.
    return pl.any_horizontal(condition.fill_null(True) for condition in conditions)


def _cell(column: str) -> pl.Expr:
    """A cell as it is written; null when it is empty."""
    return pl.col(f"{_WRITTEN}{column}")


def _unlike(column: str, values: Collection[str]) -> pl.Expr:
    """A cell that is not empty and none of these."""
    return _cell(column).is_not_null() & ~_cell(column).is_in(list(values)).fill_null(False)


def _unread(column: str) -> pl.Expr:
    """A cell that is not empty and means nothing."""
    return _cell(column).is_not_null() & pl.col(column).is_null()


def _wrong_id(column: str) -> pl.Expr:
    return _cell(column).is_null() | _cell(column).is_duplicated()


def _id_problems(where: str, raw: dict, column: str, seen: dict[str, int]) -> Iterator[str]:
    identity = raw[column]
    if not identity:
        yield f"{where}: {column} is empty: charges name the row that priced them"
    elif identity in seen:
        yield f"{where}: {column} {identity!r} stands already on line {seen[identity]}"
    seen.setdefault(identity, raw[tables.LINE])


_ALLOWED = {"direction": DIRECTIONS, "type": TYPES, "number_class": NUMBER_CLASSES, "clock": CLOCKS}
_BOOLEANS = ("registered", "bill_unanswered")


_PREFIX = "([1-9][0-9]{0,14})?"
_CURRENCY = "[A-Z]{3}"


def _wrong_key(text: pl.DataFrame) -> pl.Expr:
    """But for its prefix."""
    words = (_unlike(c, values) for c, values in _ALLOWED.items() if c in text.columns)
    return _any(*words, *(_unread(c) for c in _BOOLEANS if c in text.columns))


def _wrong_prefixes(typed: pl.DataFrame) -> pl.Expr:
    # Whose country a prefix is in is decided by three digits: there are a thousand of them at most.
    heads = [h for h in typed["prefix"].str.head(3).unique() if re.fullmatch(_PREFIX, h) and not _reaches_a_country(h)]
    prefix = pl.col("prefix")
    return ~prefix.str.contains(rf"\A{_PREFIX}\z") | prefix.str.head(3).is_in(heads)


def _key_problems(where: str, raw: dict, row: dict) -> Iterator[str]:
    for column, values in _ALLOWED.items():
        if raw.get(column) and raw[column] not in values:
            yield f"{where}: {column} {raw[column]!r} must be empty or one of {', '.join(values)}"
    for column in _BOOLEANS:
        if raw.get(column) and row[column] is None:
            yield f"{where}: {column} {raw[column]!r} must be empty or one of true, false"
    prefix = row["prefix"]
    if not re.fullmatch(_PREFIX, prefix):
        yield f"{where}: prefix {raw['prefix']!r} must be empty or the first digits of an E.164 number"
    elif not _reaches_a_country(prefix):
        yield f"{where}: prefix {raw['prefix']!r} begins with no country calling code there is"


@cache
def _calling_codes() -> tuple[frozenset[str], frozenset[str]]:
    """(the assigned country calling codes, the digits some of them begin with)."""
    # Here and not above: the library takes longer to import than a card takes to read.
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    codes = frozenset(map(str, COUNTRY_CODE_TO_REGION_CODE))
    return codes, frozenset(code[:n] for code in codes for n in range(1, len(code)))


@cache
def _reaches_a_country(prefix: str) -> bool:
    if not prefix:
        return True
    codes, starts = _calling_codes()
    return prefix in starts or any(prefix[:n] in codes for n in (1, 2, 3))


def _wrong_amount() -> pl.Expr:
    since, until = pl.col("valid_from"), pl.col("valid_to")
    return _any(
        pl.col("price") < 0,
        ~_cell("currency").str.contains(rf"\A{_CURRENCY}\z"),
        since.is_null() | pl.col("recorded_at").is_null(),
        _unread("valid_to") | (until <= since).fill_null(False),
    )


def _amount_problems(where: str, raw: dict, row: dict) -> Iterator[str]:
    if row["price"] is None:
        yield f"{where}: price {raw['price']!r} must be a number with at most 9 decimals"
    elif row["price"] < 0:
        yield f"{where}: price {raw['price']} is negative"
    if not re.fullmatch(_CURRENCY, raw["currency"] or ""):
        yield f"{where}: currency {raw['currency']!r} must be three capital letters, such as USD"
    for column in ("valid_from", "recorded_at"):
        if row[column] is None:
            yield f"{where}: {column} {raw[column]!r} must be a day, YYYY-MM-DD"
    if raw["valid_to"] and row["valid_to"] is None:
        yield f"{where}: valid_to {raw['valid_to']!r} must be empty or a day, YYYY-MM-DD"
    if row["valid_from"] and row["valid_to"] and row["valid_to"] <= row["valid_from"]:
        yield f"{where}: valid_to must lie after valid_from"


def _wrong_line() -> pl.Expr:
    line, some = _cell("line"), [_cell(c).is_not_null() for c in _CALL_FIELDS]
    fee = _cell("connection_fee").is_not_null() & ~(pl.col("connection_fee") >= 0).fill_null(False)
    call = _any(
        pl.col("minimum_seconds") < 0,
        pl.col("increment_seconds") < 1,
        _cell("clock").is_null() | _cell("bill_unanswered").is_null(),
        fee,
    )
    return _any(
        _cell("rate_card").is_null(),
        ~line.is_in([x for x in LINES if x not in _ELSEWHERE]),
        line.is_in(HELD_LINES) & _cell("direction").is_not_null(),
        pl.when(line.is_in(TIMED_LINES)).then(call).otherwise(pl.any_horizontal(some)),
        _cell("tier_id").is_not_null() & ~line.is_in(_TIER_LINES),
    )


def _line_problems(where: str, raw: dict, row: dict) -> Iterator[str]:
    line = raw["line"]
    if not raw["rate_card"] or not line:
        yield f"{where}: rate_card and line are needed"
        return
    if line in _ELSEWHERE:
        yield f"{where}: {line} has no price here: it {_ELSEWHERE[line]}"
        return
    if line not in LINES:
        yield f"{where}: line {line!r} must be one of {', '.join(x for x in LINES if x not in _ELSEWHERE)}"
        return
    if line in HELD_LINES and raw["direction"]:
        yield f"{where}: {line} goes in no direction: leave direction empty"
    if line in TIMED_LINES:
        yield from _call_problems(where, raw, row)
    elif any(raw[c] for c in _CALL_FIELDS):
        yield f"{where}: {', '.join(c for c in _CALL_FIELDS if raw[c])} belong to calls, not to {line}"
    if raw["tier_id"] and line not in _TIER_LINES:
        yield f"{where}: tier_id belongs to lines charged event by event ({', '.join(_TIER_LINES)}), not to {line}"


def _call_problems(where: str, raw: dict, row: dict) -> Iterator[str]:
    for column in ("minimum_seconds", "increment_seconds"):
        if row[column] is None or row[column] < (1 if column == "increment_seconds" else 0):
            yield f"{where}: {column} {raw[column]!r} must be whole seconds, such as 60"
    if not raw["clock"] or not raw["bill_unanswered"]:
        yield f"{where}: a call's price needs clock (dial or answer) and bill_unanswered (true or false)"
    if raw["connection_fee"] and (row["connection_fee"] is None or row["connection_fee"] < 0):
        yield f"{where}: connection_fee {raw['connection_fee']!r} must be a number, 0 or more"


def _overlaps(file: str, typed: pl.DataFrame, key: tuple[str, ...], id_column: str) -> Iterator[str]:
    """Two rows for the same key and day, recorded on the same day: nothing says which to believe."""
    group, until = [*key, "recorded_at"], pl.col("valid_to").fill_null(date.max)
    # One number for a group: rows of two that share it by chance are looked at, too, and found apart below.
    near = typed.lazy().select(pl.struct(group).hash().alias("group"), "valid_from", until=until).sort("group", "valid_from", nulls_last=True)
    touching = near.filter((pl.col("group") == pl.col("group").shift(1)) & (pl.col("until").shift(1) > pl.col("valid_from")))
    groups = touching.select("group").unique().collect().to_series()
    if not len(groups):
        return
    some = typed.filter(pl.struct(group).hash().is_in(groups.implode()))
    ordered = some.sort(*key, "recorded_at", "valid_from", nulls_last=True)
    earlier = ordered.with_columns(
        _end=until.shift(1).over(group),
        _id=pl.col(id_column).shift(1).over(group),
    ).filter(pl.col("_end") > pl.col("valid_from"))
    for row in earlier.iter_rows(named=True):
        yield (
            f"{file} line {row[tables.LINE]}: {row[id_column]!r} overlaps {row['_id']!r} from {row['valid_from']}: "
            "end one of them, or give the correction a later recorded_at"
        )


# ------------------------------------------------------------------------------------------------ ladders


def _tier_problems(text: pl.DataFrame, typed: pl.DataFrame) -> Iterator[str]:
    unclear: list[str] = []
    for raw, row in zip(text.iter_rows(named=True), typed.iter_rows(named=True), strict=True):
        where = f"tiers.csv line {raw[tables.LINE]}"
        found = [*_rung_problems(where, raw, row), *_amount_problems(where, raw, row)]
        yield from found
        if found and raw["tier_id"]:
            unclear.append(raw["tier_id"])
    # A rung that cannot be read would make its ladder look as if the rung were missing.
    clear = typed.filter(~pl.col("tier_id").is_in(unclear))
    for rungs in clear.partition_by(VERSION, maintain_order=True):
        yield from _version_problems(rungs)
    whole = clear.unique(VERSION, keep="first", maintain_order=True)
    yield from _overlaps("tiers.csv", whole, ("tier_id",), "tier_id")


def _rung_problems(where: str, raw: dict, row: dict) -> Iterator[str]:
    if not raw["tier_id"]:
        yield f"{where}: tier_id is empty: prices.csv names the ladder by it"
    if raw["model"] not in MODELS:
        yield f"{where}: model {raw['model']!r} must be one of {', '.join(MODELS)}"
    if row["from_quantity"] is None:
        yield (
            f"{where}: from_quantity {raw['from_quantity']!r} must be a whole number, 0 or more: what was used before "
            "the rung begins"
        )
    if raw["flat_fee"] and (row["flat_fee"] is None or row["flat_fee"] < 0):
        yield f"{where}: flat_fee {raw['flat_fee']!r} must be empty or a number, 0 or more"
    if raw["package_size"] and raw["model"] != "package":
        yield f"{where}: package_size belongs to the model package, not to {raw['model']}"
    elif raw["model"] == "package" and not row["package_size"] and (raw["package_size"] or row["price"] != 0):
        yield f"{where}: package_size {raw['package_size']!r} must be a whole number, 1 or more"


def _version_problems(rungs: pl.DataFrame) -> Iterator[str]:
    """``rungs``: one version of a ladder, in the order of the file."""
    first = rungs.row(0, named=True)
    tier, seen = first["tier_id"], {}
    for row in rungs.iter_rows(named=True):
        where = f"tiers.csv line {row[tables.LINE]}"
        begins = row["from_quantity"]
        if begins in seen:
            yield f"{where}: {tier!r} has this rung, from {begins}, already on line {seen[begins]}"
        seen.setdefault(begins, row[tables.LINE])
        for column in ("model", "currency"):
            if row[column] != first[column]:
                yield f"{where}: {tier!r} has {column} {first[column]} on line {first[tables.LINE]}, here {row[column]}"
    if 0 not in seen:
        yield (
            f"tiers.csv line {first[tables.LINE]}: {tier!r} has no rung from 0 with these dates: the rungs of a ladder "
            "have the same valid_from, valid_to and recorded_at, and the lowest begins at 0"
        )


def _ladder_problems(prices: pl.DataFrame, tiers: pl.DataFrame, wrong: pl.Expr | None = None) -> Iterator[str]:
    """What prices.csv and tiers.csv say about each other. ``wrong`` as for `_price_problems`."""
    currencies = dict(tiers.group_by("tier_id").agg(pl.col("currency").unique().sort()).iter_rows())
    counted: dict[str, tuple[str, str]] = {}
    for row in prices.filter(_wrong_ladder(tiers) if wrong is None else wrong).iter_rows(named=True):
        where, tier = f"prices.csv line {row[tables.LINE]}", row["tier_id"]
        if tier not in currencies:
            yield f"{where}: tier_id {tier!r} is not in tiers.csv"
            continue
        if currencies[tier] != [row["currency"]]:
            theirs = ", ".join(map(str, currencies[tier]))
            yield f"{where}: its currency is {row['currency']}, that of {tier!r} is {theirs}"
        if row["line"] not in _TIER_LINES:
            continue
        unit = _unit(row)
        if unit is None:
            yield f"{where}: a text with a tier_id needs a type, such as sms: segments and messages make no common sum"
            continue
        first, known = counted.setdefault(tier, (row["rate_id"], unit))
        if unit != known:
            yield f"{where}: {tier!r} counts {known}s for {first!r}: {unit}s cannot be added to them"


def _wrong_ladder(tiers: pl.DataFrame) -> pl.Expr:
    """Rows whose ladder may be wrong, and with them all rows of a ladder whose units may differ."""
    tier, line = pl.col("tier_id"), pl.col("line")
    one = tiers.group_by("tier_id").agg(pl.col("currency").unique()).filter(pl.col("currency").list.len() == 1)
    currency = dict(one.select("tier_id", pl.col("currency").list.first()).drop_nulls().iter_rows())
    theirs = tier.replace_strict(currency, default=None, return_dtype=pl.String)
    # By what `_unit` tells units apart.
    counts = pl.when(line.is_in(_TIER_LINES)).then(
        pl.struct(pl.when(line.is_in(TIMED_LINES)).then(pl.lit("call")).otherwise(line), pl.when(line == "text").then("type"))
    )
    return tier.is_not_null() & _any(
        ~tier.is_in(list(currency)),  # of none, or of several currencies
        theirs.ne_missing(pl.col("currency")),
        (line == "text") & pl.col("type").is_null(),
        counts.n_unique().over(tier) > 1,
    )


def _unit(row: dict) -> str | None:
    """What one unit of a row's price is; null where it depends on the text."""
    if row["line"] in TIMED_LINES:
        return "minute"
    if row["line"] == "text":
        return {None: None, "sms": "segment"}.get(row["type"], "message")
    return {"failed_message": "message", "voice_detection": "call"}[row["line"]]


# ------------------------------------------------------------------------------------------------ in time


def gaps(card: RateCard, start: date, end: date) -> list[str]:
    """Days in [start, end) on which a price that existed before has lapsed while nothing takes its place, as
    sentences; a price retired for good before ``start`` is none. A gap is not an error until an event falls into it;
    then that event is unrated (of a ladder: charged at its list price)."""
    found = []
    for file, frame, key, meaning in (
        ("prices.csv", card.prices, PRICE_KEY, ""),
        ("carrier_fees.csv", card.fees, FEE_KEY, ""),
        ("tiers.csv", card.tiers, ("tier_id",), ": list prices apply"),
    ):
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
            name = row[frame.columns[0]]
            found.append(f"{file}: nothing follows {name!r} from {row['_until']} until {until}{meaning}")
    return found


def in_force(rows: pl.DataFrame, day: date, key: tuple[str, ...], as_of: date | None = None) -> pl.DataFrame:
    """Rows that price ``day``, one per key, as known on ``as_of`` (default: now). Later recorded_at wins, then id."""
    known = rows if as_of is None else rows.filter(pl.col("recorded_at") <= as_of)
    return (
        known.filter((pl.col("valid_from") <= day) & (pl.col("valid_to").is_null() | (pl.col("valid_to") > day)))
        .sort("recorded_at", rows.columns[0])
        .unique(subset=key, keep="last", maintain_order=True)
    )
