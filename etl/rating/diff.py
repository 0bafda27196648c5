"""Two rate cards compared: which rows differ, and what is charged otherwise on which days.

A row that changed need not change a price: it may say the same with other dates, under another id, or be outdone by one
recorded later. So both are told: rows by id, and per key and stretch of days what was in force before and is now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import polars as pl

from etl.rating.card import FEE_KEY, PRICE_KEY, VERSION, RateCard

ROWS = {c: pl.String for c in ("file", "id", "change", "column", "old", "new")}
"""One row per cell of a row that changed (added, removed: one row, column and cells null)."""

EFFECTIVE = {
    "file": pl.String,
    "key": pl.String,
    "start": pl.Date,
    "end": pl.Date,
    "before": pl.String,
    "after": pl.String,
}
"""What is charged otherwise in [start, end), a null end open: the terms before and after, null where no row speaks."""

_PRICES, _FEES, _TIERS = "prices.csv", "carrier_fees.csv", "tiers.csv"
_RUNG = ("tier_id", "from_quantity", "valid_from", "recorded_at")


@dataclass(frozen=True)
class CardDiff:
    """``rows``: `ROWS`; ``effective``: `EFFECTIVE`. Both in a fixed order: by file, then id or key and date."""

    rows: pl.DataFrame
    effective: pl.DataFrame


def diff(old: RateCard, new: RateCard) -> CardDiff:
    """What ``new`` says otherwise than ``old``, with all that each of them knows."""
    rows = [
        *_changed_rows(_PRICES, old.prices, new.prices, ("rate_id",)),
        *_changed_rows(_FEES, old.fees, new.fees, ("fee_id",)),
        *_changed_rows(_TIERS, old.tiers, new.tiers, _RUNG),
    ]
    effective = [
        *_changed_terms(_PRICES, *(_by_key(c.prices, PRICE_KEY, _price_terms) for c in (old, new))),
        *_changed_terms(_FEES, *(_by_key(c.fees, FEE_KEY, _fee_terms) for c in (old, new))),
        *_changed_terms(_TIERS, *(_by_tier(c.tiers) for c in (old, new))),
    ]
    return CardDiff(
        pl.DataFrame(rows, schema=ROWS, orient="row"), pl.DataFrame(effective, schema=EFFECTIVE, orient="row")
    )


def sentences(found: CardDiff, *, rows: bool = False) -> list[str]:
    """``found`` for a terminal: one sentence for each price that changes, none where none does. With ``rows`` also what
    differs row by row, which may be much without any effect."""
    told = [
        f"{r['file']}: {r['key']}: {r['before'] or 'no row'} → {r['after'] or 'no row'} from {r['start']} "
        + (f"until {r['end']}" if r["end"] else "on")
        for r in found.effective.iter_rows(named=True)
    ]
    if not rows:
        return told
    if found.rows.is_empty():
        return ["the two rate cards say the same, row by row"]
    by_row = [
        f"{r['file']}: {r['id']} is {r['change']}"
        + (f": {r['column']} {r['old'] or 'empty'} → {r['new'] or 'empty'}" if r["column"] else "")
        for r in found.rows.iter_rows(named=True)
    ]
    return [*(told or ["no effective change: every day has the price it had"]), *by_row]


# ------------------------------------------------------------------------------------------------ rows


def _changed_rows(file: str, old: pl.DataFrame, new: pl.DataFrame, key: tuple[str, ...]) -> Iterator[tuple]:
    before, after = ({tuple(r[k] for k in key): r for r in f.iter_rows(named=True)} for f in (old, new))
    for identity in sorted(before.keys() | after.keys()):
        name = _name(identity)
        if identity not in after:
            yield file, name, "removed", None, None, None
        elif identity not in before:
            yield file, name, "added", None, None, None
        else:
            for column, cell in before[identity].items():
                if cell != after[identity][column]:
                    yield file, name, "changed", column, _cell(cell), _cell(after[identity][column])


def _name(identity: tuple) -> str:
    if len(identity) == 1:
        return identity[0]
    tier, begins, valid_from, recorded_at = identity
    return f"{tier} from {begins}, valid from {valid_from}, recorded {recorded_at}"


def _cell(value: object) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return _plain(value)
    return None if value is None else str(value)


def _plain(amount: Decimal) -> str:
    """As people write it: 0.0095, 0.05, 1.50."""
    text = f"{amount:f}".rstrip("0")
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals:0<2}"


# ------------------------------------------------------------------------------------------------ what is charged

_Spoken = tuple[date, date, date, str, str]
"""valid_from, valid_to (open: the last day there is), recorded_at, id, terms."""


def _by_key(frame: pl.DataFrame, key: tuple[str, ...], terms: Callable[[dict], str]) -> dict[tuple, list[_Spoken]]:
    found = defaultdict(list)
    for row in frame.iter_rows(named=True):
        spoken = (row["valid_from"], row["valid_to"] or date.max, row["recorded_at"], row[frame.columns[0]], terms(row))
        found[tuple(row[k] for k in key)].append(spoken)
    return found


def _price_terms(row: dict) -> str:
    said = []
    if row["clock"]:
        said.append(f"{row['minimum_seconds']}/{row['increment_seconds']} from {row['clock']}")
        said.append("unanswered billed" if row["bill_unanswered"] else "")
        said.append(f"connection fee {_plain(row['connection_fee'])}" if row["connection_fee"] else "")
    said.append(f"ladder {row['tier_id']}" if row["tier_id"] else "")
    more = ", ".join(filter(None, said))
    return _plain(row["price"]) + (f" ({more})" if more else "")


def _fee_terms(row: dict) -> str:
    return _plain(row["price"])


def _by_tier(tiers: pl.DataFrame) -> dict[tuple, list[_Spoken]]:
    found = defaultdict(list)
    for rungs in tiers.sort("from_quantity").partition_by(VERSION, maintain_order=True):
        first = rungs.row(0, named=True)
        said = "; ".join(map(_rung_terms, rungs.iter_rows(named=True)))
        terms = f"{first['model']} in {first['currency']}, {said}"
        until = first["valid_to"] or date.max
        found[(first["tier_id"],)].append((first["valid_from"], until, first["recorded_at"], first["tier_id"], terms))
    return found


def _rung_terms(row: dict) -> str:
    per = f" per {row['package_size']}" if row["package_size"] else ""
    flat = f" + {_plain(row['flat_fee'])} once" if row["flat_fee"] else ""
    return f"from {row['from_quantity']} at {_plain(row['price'])}{per}{flat}"


def _changed_terms(file: str, old: dict[tuple, list[_Spoken]], new: dict[tuple, list[_Spoken]]) -> Iterator[tuple]:
    """One row per key and longest stretch of days over which before and after stay as they are and differ."""
    for key in sorted(old.keys() | new.keys(), key=lambda k: [(v is None, str(v)) for v in k]):
        before, after = old.get(key, []), new.get(key, [])
        if sorted(before) == sorted(after):
            continue
        cuts = sorted({day for spoken in (*before, *after) for day in spoken[:2]})
        stretches: list[list] = []
        for start, end in zip(cuts, cuts[1:], strict=False):
            pair = _terms_on(before, start), _terms_on(after, start)
            if stretches and stretches[-1][2:] == [*pair]:
                stretches[-1][1] = end
            else:
                stretches.append([start, end, *pair])
        for start, end, was, is_ in stretches:
            if was != is_:
                yield file, _key_name(key), start, None if end == date.max else end, was, is_


def _terms_on(rows: list[_Spoken], day: date) -> str | None:
    """Of the rows that speak of a day, the one recorded last, then the greater id (`card.in_force`)."""
    return max(((r[2], r[3], r[4]) for r in rows if r[0] <= day < r[1]), default=(None,))[-1]


def _key_name(key: tuple) -> str:
    """The cells of a key that say something, in words: "standard text outbound sms +1 USD"."""
    if len(key) == 1:
        return key[0]
    *dimensions, prefix, currency = key
    words = {True: "registered", False: "unregistered"}
    said = [words.get(cell, cell) if isinstance(cell, bool) else cell for cell in dimensions if cell is not None]
    return " ".join([*said, *([f"+{prefix}"] if prefix else []), currency])
