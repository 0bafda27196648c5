"""Geometry of the drawn figures: x and width in percent, y and height in pixels, so that one drawing fits every width.

Coordinates are floats; they are ratios of figures, never figures. The macros of ``charts.html.j2`` draw what is here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

from etl.periods import Month
from reports import explore, views, words
from reports.explore import Explorer
from reports.formats import Formats, day_short, month_short, month_year
from reports.model import Figure, Page


@dataclass(frozen=True)
class Part:
    """A rectangle: x and width in percent, y and height in pixels, and a class that gives the colour."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True)
class Bar:
    """Stacked parts with one tooltip, a value above and a name below."""

    parts: tuple[Part, ...]
    title: str
    middle: float
    top: float
    value: str = ""
    name: str = ""
    anchor: str = "middle"


@dataclass(frozen=True)
class Tick:
    y: float
    label: str


@dataclass(frozen=True)
class Note:
    """An annotation with its dot."""

    x: float
    y: float
    text: str
    brief: str
    anchor: str


@dataclass(frozen=True)
class Chart:
    height: int
    base: float
    bars: tuple[Bar, ...]
    label: str
    ticks: tuple[Tick, ...] = ()
    note: Note | None = None
    unknown: tuple[Part, ...] = ()


def sparkline(figure: Figure, page: Page, f: Formats, height: int = 38) -> Chart:
    """Six bars, the last one strong. A negative month hangs below the line. Of credits left, a bar for each day."""
    if figure.level:
        return levels(page, f, height)
    known = [v for v in figure.months if v is not None]
    top, low = max([*known, Decimal(0)]), min([*known, Decimal(0)])
    span = top - low or Decimal(1)
    zero = float(top / span) * height  # ratio
    step = 100 / len(figure.months)
    bars, said = [], []
    for i, (month, value) in enumerate(zip(page.month.last(len(figure.months)), figure.months, strict=True)):
        if value is None:
            continue
        size = max(float(abs(value) / span) * height, 1.0)  # ratio
        kind = "now" if month == page.month else "past"
        y = zero - size if value >= 0 else zero
        part = Part(_r(i * step), _r(min(max(y, 0), height - 1)), _r(step * 0.93), _r(size), kind)
        text = f"{month_year(month)}: {words.value(value, figure.unit, f)}"
        bars.append(Bar((part,), text, _r(i * step + step / 2), y))
        said.append(text)
    return Chart(height, zero, tuple(bars), f"{figure.label} by month. " + "; ".join(said))


def levels(page: Page, f: Formats, height: int = 38) -> Chart:
    """The credits left at the end of each day of the month, the last one strong."""
    balances = dict(page.credits.balances)
    last = page.through or page.month.days[-1]
    shown, left = [], page.credits.opened
    for day in page.month.days:
        left = balances.get(day, left)
        if day <= last:
            shown.append((day, left))
    top = max([left for _, left in shown], default=0) or 1
    step = 100 / len(page.month.days)
    bars = []
    for i, (day, left) in enumerate(shown):
        size = max(left / top * height, 1.0)  # ratio
        kind = "now" if i == len(shown) - 1 else "past"
        part = Part(_r(i * step), _r(height - size), _r(step * 0.8), _r(size), kind)
        bars.append(Bar((part,), f"{day_short(day)}: {f.count(left)} left", _r(i * step + step / 2), _r(height - size)))
    return Chart(height, height, tuple(bars), f"Credits left on each day of {month_year(page.month)}")


def months(page: Page, f: Formats, height: int = 190) -> Chart:
    """Segments per month, sent and received stacked, values above."""
    shown = page.month.last(max(len(page.history), 3))
    rows = {row.month: row for row in page.history}
    largest = max((row.usage.segments for row in page.history), default=0) or 1
    base, head = height - 24, 22
    step = 100 / len(shown)
    bars = []
    for i, month in enumerate(shown):
        row = rows.get(month)
        x, width = i * step + step * 0.13, step * 0.74
        name = month_short(month)
        if row is None:
            bars.append(Bar((), "", _r(i * step + step / 2), base, "", name))
            continue
        usage = row.usage
        parts, top = _stack(x, width, base, base - head, largest, usage.outbound_segments, usage.inbound_segments)
        text = (
            f"{month_year(month)}: {f.count(usage.segments)} segments, "
            f"{f.count(usage.outbound_segments)} sent, {f.count(usage.inbound_segments)} received"
        )
        bars.append(Bar(parts, text, _r(i * step + step / 2), _r(top), f.short(usage.segments), name))
    label = "Segments per month, sent and received. The table below has the same figures."
    return Chart(height, base, tuple(bars), label)


def odd_day(page: Page, f: Formats) -> tuple[date, str, str] | None:
    """The day a chart annotates, its annotation, and a brief one for narrow screens."""
    return (page.peak.day, *words.peak(page, f)) if page.peak else None


def explored(
    explorer: Explorer,
    by: str,
    count: str,
    first: date,
    last: date,
    f: Formats,
    odd: tuple[date, str, str] | None = None,
    height: int = 230,
) -> Chart:
    """What was sent and received in each period, stacked. Days that are not loaded are a field of their own."""
    rows = explore.rows(explorer, by, count, "total", first, last)
    values, top_value = _ticks(max((row[count] or 0 for row in rows), default=0))
    base, head = height - 24, 30
    room = base - head
    step = 100 / len(rows)
    names = dict(_names([(row["period_start"], row["period_end_exclusive"]) for row in rows], by))
    bars, note, unknown = [], None, []
    for i, row in enumerate(rows):
        label, anchor = names.get(i, ("", "middle"))
        x = _r(i * step if anchor == "start" else i * step + step / 2)
        if row[count] is None:
            bars.append(Bar((), "", x, base, "", label, anchor))
            if unknown and rows[i - 1][count] is None:
                unknown[-1] += 1
            else:
                unknown += [i, 1]
            continue
        sent, received = row[f"{count}_sent"], row[f"{count}_received"]
        parts, top = _stack(i * step + step * 0.12, step * 0.76, base, room, top_value, sent, received)
        if row["days_missing"] or row["days_incomplete"]:
            parts = tuple(replace(part, kind=f"{part.kind} est") for part in parts)
        bars.append(Bar(parts, views.title(row, by, count, f), x, _r(top), "", label, anchor))
        if odd and by == "day" and count == "segments" and row["period_start"] == odd[0]:
            anchor = "start" if (i + 0.5) / len(rows) < 0.6 else "end"
            note = Note(_r(i * step + step / 2), _r(max(top - 10, 10)), *odd[1:], anchor)
    fields = tuple(
        Part(_r(at * step), head, _r(run * step), room, "unknown")
        for at, run in zip(unknown[::2], unknown[1::2], strict=True)
    )
    ticks = tuple(Tick(_r(base - room * v / top_value), f.short(v)) for v in values)
    return Chart(height, base, tuple(bars), views.caption(by, count), ticks, note, fields)


def _names(spans: list[tuple[date, date]], by: str) -> Iterable[tuple[int, tuple[str, str]]]:
    """(position, (name, anchor)) below a chart of periods: at most seven or so, however many there are."""
    count = len(spans)
    if (by == "day" and count <= 45) or (by == "week" and count <= 7):
        for i, (start, _) in enumerate(spans):
            if by == "week" or count <= 7 or (start.weekday() == 0 and 2 < (i + 0.5) / count * 100 < 98):
                yield i, (day_short(start), "middle")
        return
    first, last = spans[0][0], spans[-1][1] - timedelta(days=1)
    months = (last.year - first.year) * 12 + last.month - first.month + 1
    every = next((n for n in (1, 2, 3, 6, 12, 24) if months <= 7 * n), 60)
    before = None
    for i, (start, _) in enumerate(spans):
        month = Month.of(start)
        new, before = month != before and (by == "month" or start.day <= 7), month
        if new and (start.year * 12 + start.month - 1) % every == 0 and (by == "month" or i / count < 0.94):
            name = str(start.year) if start.month == 1 else month_short(month)
            yield i, (name, "middle" if by == "month" else "start")


def any_texts(rows) -> bool:
    """Whether a chart of these months would show anything."""
    return any(row.usage.segments for row in rows)


def share(part: Decimal, whole: Decimal) -> float:
    """Width of an inline bar in percent of its column."""
    if whole <= 0 or part <= 0:
        return 0.0
    return _r(max(float(part / whole) * 100, 0.8))  # ratio


def pair(sent: int, received: int, largest: int) -> tuple[float, float]:
    """Widths in percent of two adjoining inline bars."""
    if not largest:
        return 0.0, 0.0
    return _r(sent / largest * 100), _r(received / largest * 100)


def split(parts: Iterable[tuple[str, int, str]], height: int = 18) -> tuple[Part, ...]:
    """One bar of the width of the page, cut in proportion: (class, count, in words) of each part, none of them zero."""
    parts = list(parts)
    whole = sum(count for _, count, _ in parts)
    drawn, x = [], 0.0
    for kind, count, _ in parts:
        width = count / whole * 100  # ratio
        gap = 0.0 if len(drawn) == len(parts) - 1 else 0.2
        drawn.append(Part(_r(x), 0, _r(max(width - gap, 0.2)), height, kind))
        x += width
    return tuple(drawn)


def _stack(x: float, width: float, base: float, room: float, largest: int, sent: int, received: int):
    """Sent at the bottom, received on it with a pixel of air between, and the top's y."""
    high, low = received / largest * room, sent / largest * room  # ratio
    parts = []
    if sent:
        parts.append(Part(_r(x), _r(base - max(low, 1)), _r(width), _r(max(low, 1)), "sent"))
    top = base - max(low, 1) if sent else base
    if received:
        gap = 1 if sent else 0
        size = max(high - gap, 1)
        parts.append(Part(_r(x), _r(top - gap - size), _r(width), _r(size), "received"))
        top -= gap + size
    return tuple(parts), top


def _ticks(largest: int) -> tuple[list[int], int]:
    """Two to four round values from a step of 1, 2 or 5, and the top of the scale."""
    if largest <= 0:
        return [], 1
    size = 1
    while True:
        for step in (1, 2, 5):
            if largest <= step * size * 4:
                values = list(range(step * size, largest + 1, step * size))
                return values, max(largest, 1)
        size *= 10


def _r(number: float) -> float:
    """Two decimals, halves up as in the explorer's script: enough for a pixel, and the same text on every machine."""
    return math.floor(float(number) * 100 + 0.5) / 100  # ratio
