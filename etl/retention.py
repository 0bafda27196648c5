"""Rows without what may be kept no longer: texts, other people's numbers, pages as received. Pure, and no figure changes.

A number that has expired keeps so many of its first digits that it still finds its price, and says by ``#`` that it is
cut: ``+1555012#``, with a key ``+1555012#3f9c0d…``, the same for the same number everywhere.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Mapping, Set
from typing import NamedTuple

import polars as pl

from etl.prefixes import digits

KEPT_DIGITS = 7
"""Of a number in full. North America: country, area and exchange."""
DROPPED_DIGITS = 4
"""At least so many go, of a short number too."""
NUMBER_DIGITS = 7
"""Fewer digits are a short code or part of a name."""
HASH_DIGITS = 16
PARTIES = ("from_number", "to_number")
WORDS = ("status", "answered_by", "error_code")
"""Words of the provider that nothing holds to a list where the record is in quarantine: anything could stand there."""

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_CUT = re.compile(r"(?:\+[1-9][0-9]*)?#[0-9a-f]*")
_WORD = r"^[A-Za-z0-9_.-]{1,40}$"


class Rewritten(NamedTuple):
    """``rows`` as they may be kept, and what is no longer in them."""

    rows: pl.DataFrame
    counts: dict[str, int]


def cut(number: str, key: bytes | None = None) -> str:
    """A number without its last digits; ``key`` adds the hash by which it can still be told from others. What holds fewer
    than `NUMBER_DIGITS` digits, and what is cut already, stays. What is no E.164 keeps no digit: it never found a price by one."""
    if _CUT.fullmatch(number) or sum(c.isdecimal() for c in number) < NUMBER_DIGITS:
        return number
    length = len(number) - 1
    prefix = number[: 1 + min(KEPT_DIGITS, length - DROPPED_DIGITS)] if _E164.fullmatch(number) else ""
    mark = hmac.new(key, number.encode(), hashlib.sha256).hexdigest()[:HASH_DIGITS] if key else ""
    return f"{prefix}#{mark}"


def own_numbers(events: pl.DataFrame, listed: Collection[str]) -> set[str]:
    """The company's own: those the directory has (``listed``), and those the provider says it owns that day."""
    owned = events.filter(pl.col("kind") == "number")["to_number"]
    return {*listed, *owned.drop_nulls()}


def expired_events(
    events: pl.DataFrame, *, numbers: bool, own: Set[str], key: bytes | None, who: pl.Series | None = None
) -> Rewritten:
    """`schemas.Events` rows of one day → the same without texts, with ``numbers`` also without numbers but our ``own``.
    ``who``: only these rows."""
    chosen = pl.repeat(True, events.height, eager=True) if who is None else who
    found = events.filter(chosen)
    short = {}
    if numbers:
        named = pl.concat([found[party] for party in PARTIES]).drop_nulls().unique()
        short = {n: c for n in named if not own & {n, n.lower()} and (c := cut(n, key)) != n}
    return _without(events, chosen, short)


def forgotten_events(events: pl.DataFrame, person: Collection[str]) -> Rewritten:
    """The same without the texts of one person and without what tells the person's number from others. ``person``: the
    number in every form it may be stored in."""
    chosen = events.select(_sends_or_receives(person)).to_series()
    return _without(events, chosen, {form: cut(form).partition("#")[0] + "#" for form in person})


def naming(events: pl.LazyFrame, person: Collection[str]) -> pl.LazyFrame:
    """The rows in which the person sends or receives."""
    return events.filter(_sends_or_receives(person))


def expired_raw(raw: pl.DataFrame, redact: dict[str, str]) -> Rewritten:
    """`schemas.Raw` rows → the same without a place: the pages are erased, that they were there, how long, and with which
    sha256, stays. ``redact``: url → what may be kept of it."""
    places = ("object_sha256", "object_offset", "object_bytes")
    rows = raw.with_columns(
        pl.col("url").replace(redact), *(pl.lit(None, raw.schema[c]).alias(c) for c in places if c in raw.columns)
    )
    return Rewritten(rows, {"pages": raw["object_sha256"].drop_nulls().len()})


def keep_carriers(before: pl.DataFrame, after: pl.DataFrame, carriers: pl.Series) -> pl.DataFrame:
    """``after`` with the carrier of each row whose numbers are no longer those of ``before``: they would not tell it again."""
    sender, recipient = (before[party].ne_missing(after[party]) for party in PARTIES)
    return after.with_columns(carrier=carriers.zip_with(sender | recipient, after["carrier"]))


def any_cut(events: pl.DataFrame) -> bool:
    """Whether any number of these events is a cut one."""
    cut_ones = (pl.col(party).str.contains("#", literal=True).any() for party in PARTIES)
    return bool(events.select(pl.any_horizontal(cut_ones)).item())


def beyond(events: pl.DataFrame, tables: Mapping[str, tuple[pl.DataFrame, Collection[str]]]) -> set[str]:
    """``prices.csv has prefix 15550100 (r-17)``: each row whose prefix is longer than what is left of some cut number of ``events`` and
    begins with it. Nobody can tell any more whether it is that number's. ``tables``: file → its rows, the id first, with a
    column prefix; and the parties whose number finds them. Empty, at once, where no number is cut."""
    found: set[str] = set()
    for file, (rows, parties) in tables.items():
        numbers = pl.concat([events[party] for party in parties]).drop_nulls().unique().alias("number").to_frame()
        left = (
            numbers.filter(pl.col("number").str.contains("#")).select(digits("number").alias("left")).unique()["left"]
        )
        for length in left.str.len_chars().filter(left != "").unique():
            short = left.filter(left.str.len_chars() == length)
            longer = pl.col("prefix").str.len_chars() > length
            reached = rows.filter(longer & pl.col("prefix").str.slice(0, length).is_in(short.implode()))
            found |= {
                f"{file} has prefix {prefix} ({name})"
                for name, prefix in reached.select(rows.columns[0], "prefix").iter_rows()
            }
    return found


def _sends_or_receives(person: Collection[str]) -> pl.Expr:
    return pl.any_horizontal(pl.col(party).is_in(list(person)).fill_null(False) for party in PARTIES)


def _without(events: pl.DataFrame, chosen: pl.Series, short: dict[str, str]) -> Rewritten:
    """``events`` where the ``chosen`` rows have no text, and their numbers are as ``short`` says."""
    mine = events.with_columns(_chosen=chosen)
    gone = pl.col("_chosen") & pl.col("body").is_not_null()
    cuts = [pl.col("_chosen") & pl.col(party).is_in(list(short)).fill_null(False) for party in PARTIES]
    counts = mine.select(
        bodies=gone.sum(), numbers=pl.sum_horizontal(one.sum() for one in cuts) if short else pl.lit(0)
    ).row(0, named=True)
    rows = mine.with_columns(
        pl.when(~pl.col("_chosen")).then("body").alias("body"),
        *(
            pl.when(~pl.col("_chosen") | (pl.col(word).str.contains(_WORD) & (pl.col(word).str.count_matches(r"\d") < 7)))
            .then(word)
            .alias(word)
            for word in WORDS
        ),
        *(
            pl.when(one).then(pl.col(party).replace(short)).otherwise(party).alias(party)
            for party, one in zip(PARTIES, cuts, strict=True)
        ),
    ).drop("_chosen")  # fmt: skip
    return Rewritten(rows, {name: int(value) for name, value in counts.items()})
