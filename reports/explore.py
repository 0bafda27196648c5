"""Usage by day and by person, ready to be cut into any view: the data, its compact form, and the rows of a view.

Everything is integers by UTC day. ``templates/explore.js`` computes the same rows from the same packed form in the
reader's browser; `rows` is its twin.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property, lru_cache
from itertools import groupby
from operator import add, sub
from typing import TYPE_CHECKING, Any

import polars as pl

from etl.periods import Month, days, iso_week
from etl.schemas import UNASSIGNED

if TYPE_CHECKING:
    from reports.model import DayRow

COUNTS = ("segments", "messages", "credits")
FIGURES = (
    "messages_sent", "messages_received", "segments_sent", "segments_received", "credits_sent", "credits_received",
)  # fmt: skip
KINDS = ("member", "inbox", UNASSIGNED)
BY = ("day", "week", "month")
SHOW = ("total", "sent", "received", "members", "inboxes")
PEOPLE = {"members": "member", "inboxes": "inbox"}
"""The views that tell people apart → whose series they show."""

COMPLETE, INCOMPLETE, UNKNOWN = "c", "i", "u"
"""States of a day: every source is loaded; figures may still rise; nothing is known, which is not zero."""


@dataclass(frozen=True)
class Series:
    """One owner's figures, a value for each day of the explorer. ``people`` is above 1 where `fewer` merged some."""

    kind: str
    owner_id: str
    name: str
    figures: dict[str, tuple[int, ...]] = field(repr=False)
    people: int = 1

    @property
    def merged(self) -> bool:
        return self.owner_id == ""

    def total(self, count: str) -> int:
        return self.totals[count]

    # A page is drawn more than once of one series.

    @cached_property
    def totals(self) -> dict[str, int]:
        return {c: sum(self.figures[f"{c}_sent"]) + sum(self.figures[f"{c}_received"]) for c in COUNTS}

    @cached_property
    def packed(self) -> list:
        """See `pack`."""
        texts = []
        for n in FIGURES:
            base = self.figures.get(_LESS.get(n, ""))
            texts.append(_squeezed(map(sub, self.figures[n], base) if base else self.figures[n]))
        while texts and not texts[-1]:
            texts.pop()
        return [self.kind, self.owner_id, self.name, self.people, *texts]

    @cached_property
    def size(self) -> int:
        return _bytes(self.packed)


@dataclass(frozen=True)
class Explorer:
    """Figures of ``days`` UTC days from ``first`` on. ``states`` has one letter a day (`COMPLETE`, `INCOMPLETE`,
    `UNKNOWN`); on an unknown day every figure is 0. ``series`` add up to the account: members, shared inboxes,
    unassigned, each kind largest first; owners without usage are left out. ``shown`` is the range a page opens with, its
    last day included."""

    first: date
    days: int
    states: str
    series: tuple[Series, ...]
    shown: tuple[date, date]

    @property
    def last(self) -> date:
        return self.first + timedelta(days=self.days - 1)

    @property
    def months(self) -> list[Month]:
        """Every month it touches, oldest first."""
        count = (self.last.year - self.first.year) * 12 + self.last.month - self.first.month + 1
        return Month.of(self.last).last(count)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to explore."""
        return not self.series

    @cached_property
    def everybody(self) -> dict[str, tuple[int, ...]]:
        """Each figure of all series together, a value for each day."""
        nobody = (0,) * self.days
        return {n: tuple(map(sum, zip(nobody, *(s.figures[n] for s in self.series), strict=True))) for n in FIGURES}


@dataclass(frozen=True)
class Period:
    """A day, an ISO week or a month, as far as it lies in the range: [``start``, ``end``)."""

    name: str
    start: date
    end: date
    missing: int
    incomplete: int

    @property
    def days(self) -> int:
        return (self.end - self.start).days

    @property
    def known(self) -> bool:
        return self.missing < self.days


# ------------------------------------------------------------------------------------------------ making


def of(
    folded: pl.DataFrame,
    name: Callable[[str, str], str],
    history_days: Sequence[DayRow],
    shown: tuple[date, date],
) -> Explorer:
    """Rows of `reports.folded` → the explorer of ``history_days`` (oldest first, at least one).

    ``name`` gives an owner's presentable name from kind and id. Rows of other days are left out, days between that are
    not in ``history_days`` are unknown; everything of kind unassigned is one series.
    """
    first = history_days[0].day
    count = (history_days[-1].day - first).days + 1
    known = {row.day: COMPLETE if row.complete else INCOMPLETE for row in history_days if row.usage is not None}
    states = "".join(known.get(first + timedelta(days=i), UNKNOWN) for i in range(count))
    columns = (f"{way}_{what}" for what in ("messages", "segments", "credits") for way in ("outbound", "inbound"))
    figures: dict[tuple[str, str], list[list[int]]] = {}
    for day, kind, id_, *values in folded.select("date", "owner_kind", "owner_id", *columns).rows():
        if day in known and any(values):
            owner = kind, UNASSIGNED if kind == UNASSIGNED else id_
            at = (day - first).days
            mine = figures.get(owner) or figures.setdefault(owner, [[0] * count for _ in FIGURES])
            for figure, value in zip(mine, values, strict=True):
                figure[at] += value
    series = [
        Series(*owner, name(*owner), dict(zip(FIGURES, map(tuple, mine), strict=True)))
        for owner, mine in figures.items()
    ]
    return Explorer(first, count, states, _sorted(series), shown)


def within(explorer: Explorer, first: date, last: date) -> Explorer:
    """The part from ``first`` to ``last``, both included, as far as there is one; shown in whole. Owners without usage in
    it are left out. ValueError if nothing is left."""
    first, last = clamped(explorer, first, last)
    start, end = (first - explorer.first).days, (last - explorer.first).days + 1
    series = [replace(s, figures={n: v[start:end] for n, v in s.figures.items()}) for s in explorer.series]
    kept = [s for s in series if any(map(any, s.figures.values()))]
    return Explorer(first, end - start, explorer.states[start:end], _sorted(kept), (first, last))


def join(parts: Iterable[Explorer]) -> Explorer:
    """One explorer of several, in any order; it opens on all of their days.

    An owner is its kind and id, and goes by its newest name. Days between two parts are unknown. ValueError for no parts,
    or for two that share a day.
    """
    ordered = sorted(parts, key=lambda part: part.first)
    if not ordered:
        raise ValueError("there is nothing to join")
    first, last = ordered[0].first, max(part.last for part in ordered)
    count = (last - first).days + 1
    states = [UNKNOWN] * count
    names: dict[tuple[str, str], tuple[str, int]] = {}
    figures: dict[tuple[str, str], dict[str, list[int]]] = {}
    through = first - timedelta(days=1)
    for part in ordered:
        if part.first <= through:
            raise ValueError(f"two parts have {part.first}")
        through = part.last
        at = (part.first - first).days
        states[at : at + part.days] = part.states
        for s in part.series:
            key = (s.kind, s.owner_id)
            names[key] = (s.name, s.people)
            mine = figures.setdefault(key, {n: [0] * count for n in FIGURES})
            for n in FIGURES:
                mine[n][at : at + part.days] = s.figures[n]
    series = [
        Series(*key, names[key][0], {n: tuple(v) for n, v in values.items()}, names[key][1])
        for key, values in figures.items()
    ]
    return Explorer(first, count, "".join(states), _sorted(series), (first, last))


def fewer(explorer: Explorer, limit: int) -> Explorer:
    """The same figures in at most ``limit`` bytes of packed JSON: as many of the largest people as fit, the others as
    "Other members (n)" and "Other shared inboxes (n)". Where not even that fits, it is what comes back."""
    people = [s for s in explorer.series if s.kind != UNASSIGNED and not s.merged]
    people.sort(key=lambda s: -s.total("segments") - s.total("messages"))
    bare = size(replace(explorer, series=()))

    def fits(tried: Explorer) -> bool:
        return bare + sum(s.size for s in tried.series) + max(len(tried.series) - 1, 0) <= limit

    # Mostly there is room for everybody.
    if people and fits(whole := _merged(explorer, [])):
        return whole
    low, high, best = 0, len(people), None
    while low <= high:
        keep = (low + high) // 2
        tried = _merged(explorer, people[keep:])
        if fits(tried):
            low, best = keep + 1, tried
        else:
            high = keep - 1
    return _merged(explorer, people) if best is None else best


def _merged(explorer: Explorer, rest: list[Series]) -> Explorer:
    gone = {(s.kind, s.owner_id) for s in rest}
    series = [s for s in explorer.series if not s.merged and (s.kind, s.owner_id) not in gone]
    for kind, plural in (("member", "members"), ("inbox", "shared inboxes")):
        merged = [s for s in explorer.series if s.kind == kind and (s.merged or (kind, s.owner_id) in gone)]
        if len(merged) == 1:
            series += merged
        elif merged:
            count = sum(s.people for s in merged)
            figures = {n: tuple(map(sum, zip(*(s.figures[n] for s in merged), strict=True))) for n in FIGURES}
            series.append(Series(kind, "", f"Other {plural} ({count})", figures, count))
    return replace(explorer, series=_sorted(series))


def _sorted(series: Iterable[Series]) -> tuple[Series, ...]:
    """By kind, largest first, the merged ones last."""

    def place(s: Series) -> tuple:
        largest = (-s.total("segments"), -s.total("messages"))
        return (KINDS.index(s.kind), s.merged, *largest, s.name.casefold(), s.owner_id)

    return tuple(sorted(series, key=place))


# ------------------------------------------------------------------------------------------------ the compact form

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_RUN = "."
_LESS = {
    "segments_sent": "messages_sent", "segments_received": "messages_received",
    "credits_sent": "segments_sent", "credits_received": "segments_received",
}  # fmt: skip
"""Figures are written as what they have more than another: mostly little, and credits mostly nothing."""


def pack(explorer: Explorer) -> dict[str, Any]:
    """A compact form for JSON; `unpack` gives the explorer back exactly.

    ``states`` are letters with run lengths (``c170u14``). A series is [kind, owner id, name, people, six strings], the
    strings in the order of `FIGURES`, empty ones at the end left out. A string holds one number a day, zeros at the end
    left out: zigzag (0, -1, 1, -2 → 0, 1, 2, 3), then base 32, lowest digit first, + 32 where more follow; a point and a
    number n stand for n zeros. Segments are what they have more than messages, credits more than segments.
    """
    return {
        "first": explorer.first.isoformat(),
        "days": explorer.days,
        "states": "".join(f"{state}{len(list(run))}" for state, run in groupby(explorer.states)),
        "shown": [day.isoformat() for day in explorer.shown],
        "series": [s.packed for s in explorer.series],
    }


def unpack(packed: dict[str, Any]) -> Explorer:
    """What `pack` made. ValueError, KeyError or TypeError for anything else."""
    count = packed["days"]
    states = "".join(state * int(run) for state, run in re.findall(r"([ciu])(\d+)", packed["states"]))
    if len(states) != count:
        raise ValueError(f"{count} days have {len(states)} states")
    series = []
    for kind, owner_id, name, people, *texts in packed["series"]:
        figures: dict[str, tuple[int, ...]] = {}
        for n, text in zip(FIGURES, [*texts, *[""] * (len(FIGURES) - len(texts))], strict=True):
            more = _unsqueezed(text, count)
            base = figures.get(_LESS.get(n, ""))
            figures[n] = tuple(map(add, more, base)) if base else tuple(more)
        series.append(Series(kind, owner_id, name, figures, people))
    first, last = (date.fromisoformat(day) for day in packed["shown"])
    return Explorer(date.fromisoformat(packed["first"]), count, states, tuple(series), (first, last))


def size(explorer: Explorer) -> int:
    """Bytes of the packed form as a page carries it: JSON in ASCII, with ``<``, ``>``, ``&`` and ``'`` escaped."""
    return _bytes(pack(explorer))


def _bytes(packed: dict | list) -> int:
    text = json.dumps(packed, separators=(",", ":"))
    return len(text) + 5 * sum(map(text.count, "<>&'"))


def _squeezed(values: Iterable[int]) -> str:
    text = "".join(map(_ZIGZAG.__getitem__, values)).rstrip(_ZERO)
    # No longer number has this digit anywhere: its last one is not zero, and those before are other letters.
    return _ZEROS.sub(lambda found: _RUN + _digits(len(found[0])), text)


class _Zigzag(dict):
    """Number → its digits, kept for small ones."""

    def __missing__(self, value: int) -> str:
        digits = _digits(2 * value if value >= 0 else -2 * value - 1)
        if -1024 < value < 1024:
            self[value] = digits
        return digits


_ZIGZAG = _Zigzag()
_ZERO = _DIGITS[0]
_ZEROS = re.compile(f"{_ZERO}{{3,}}")


@lru_cache(maxsize=65_536)
def _digits(number: int) -> str:
    text = ""
    while number > 31:
        text += _DIGITS[32 + number % 32]
        number //= 32
    return text + _DIGITS[number]


def _unsqueezed(text: str, count: int) -> list[int]:
    values: list[int] = []
    for run, digits in _NUMBER.findall(text):
        if run:
            values += [0] * _number(digits)
        else:
            number = _number(digits)
            values.append(-(number + 1) // 2 if number % 2 else number // 2)
    if len(values) > count:
        raise ValueError(f"{len(values)} values for {count} days")
    return values + [0] * (count - len(values))


_NUMBER = re.compile(r"(\.?)([g-z0-9\-_]*[A-Za-f])")


@lru_cache(maxsize=65_536)
def _number(digits: str) -> int:
    return sum((_DIGITS.index(d) & 31) * 32**i for i, d in enumerate(digits))


# ------------------------------------------------------------------------------------------------ views


def clamped(explorer: Explorer, first: date, last: date) -> tuple[date, date]:
    """The range in order and inside the explorer's days. ValueError if it lies outside."""
    first, last = sorted((first, last))
    if last < explorer.first or first > explorer.last:
        raise ValueError(f"{first} to {last} is not in {explorer.first} to {explorer.last}")
    return max(first, explorer.first), min(last, explorer.last)


def periods(explorer: Explorer, by: str, first: date, last: date) -> list[Period]:
    """The days, ISO weeks or months from ``first`` to ``last``, both included. The first and the last may be cut."""
    first, last = clamped(explorer, first, last)
    name = {"day": date.isoformat, "week": iso_week, "month": lambda day: str(Month.of(day))}[by]
    found = []
    for period, run in groupby(days(first, last + timedelta(days=1)), key=name):
        inside = list(run)
        states = [explorer.states[(day - explorer.first).days] for day in inside]
        found.append(
            Period(period, inside[0], inside[-1] + timedelta(days=1), states.count(UNKNOWN), states.count(INCOMPLETE))
        )
    return found


def columns(count: str, show: str) -> tuple[str, ...]:
    """Names of the columns of `rows` and of the CSV a reader exports."""
    who = ("owner_kind", "owner_id", "owner_name") if show in PEOPLE else ()
    figures = (f"{count}_{show}",) if show in ("sent", "received") else (f"{count}_sent", f"{count}_received", count)
    return ("period", "period_start", "period_end_exclusive", *who, *figures, "days", "days_missing", "days_incomplete")


def rows(explorer: Explorer, by: str, count: str, show: str, first: date, last: date) -> list[dict[str, Any]]:
    """The rows of a view, in the order of the CSV a reader exports: by period, then people, largest in the range first.

    A row for each period, or for each period and person with any such figure in the range. A figure is None where no day
    of the period is known; where only some are, it is what they have, and ``days_missing`` says how many are not in it.
    """
    shown = [(s, s.figures) for s in people(explorer, count, show, first, last)] if show in PEOPLE else []
    made = []
    for p in periods(explorer, by, first, last):
        start = (p.start - explorer.first).days
        span = {"days": p.days, "days_missing": p.missing, "days_incomplete": p.incomplete}
        for who, figures in shown if show in PEOPLE else [(None, explorer.everybody)]:
            values = {
                name: sum(figures[name][start : start + p.days]) for name in (f"{count}_sent", f"{count}_received")
            }
            values[count] = sum(values.values())
            row = {"period": p.name, "period_start": p.start, "period_end_exclusive": p.end} | span
            row |= {name: value if p.known else None for name, value in values.items()}
            if who:
                row |= {"owner_kind": who.kind, "owner_id": who.owner_id, "owner_name": who.name}
            made.append({name: row[name] for name in columns(count, show)})
    return made


def people(explorer: Explorer, count: str, show: str, first: date, last: date) -> list[Series]:
    """The members or shared inboxes with any such figure in the range: largest first, merged ones last."""
    inside = within(explorer, first, last)
    totals = {(s.kind, s.owner_id): s.total(count) for s in inside.series}
    found = [s for s in explorer.series if s.kind == PEOPLE[show] and totals.get((s.kind, s.owner_id))]
    return sorted(found, key=lambda s: (s.merged, -totals[s.kind, s.owner_id]))
