"""Geometry of the drawn figures: x and width in percent, y and height in pixels, so that one drawing fits every width.

Coordinates are floats; they are ratios of figures, never figures. The macros of ``charts.html.j2`` draw what is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from reports import words
from reports.formats import Formats, day_short, month_short, month_year, weekday
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
    unknown: Part | None = None


def sparkline(figure: Figure, page: Page, f: Formats, height: int = 38) -> Chart:
    """Six bars, the last one strong. A negative month hangs below the line."""
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


def days(page: Page, f: Formats, height: int = 230) -> Chart:
    """Segments per day, sent and received stacked, Mondays named, the odd day annotated."""
    largest = max((row.usage.segments for row in page.days if row.usage), default=0)
    values, top_value = _ticks(largest)
    base, head = height - 24, 30
    room = base - head
    step = 100 / len(page.days)
    bars, note = [], None
    for i, row in enumerate(page.days):
        middle = _r(i * step + step / 2)
        name = day_short(row.day) if row.day.weekday() == 0 and 1 <= i < len(page.days) - 1 else ""
        if row.usage is None:
            bars.append(Bar((), "", middle, base, "", name))
            continue
        usage = row.usage
        parts, top = _stack(
            i * step + step * 0.12, step * 0.76, base, room, top_value, usage.outbound_segments, usage.inbound_segments
        )
        bars.append(Bar(parts, _day_title(row.day, usage, f), middle, _r(top), "", name))
        if page.peak and row.day == page.peak.day:
            left = i < len(page.days) * 0.6
            note = Note(middle, _r(max(top - 10, 10)), *words.peak(page, f), "start" if left else "end")
    known = max((i for i, row in enumerate(page.days) if row.usage is not None), default=-1) + 1
    unknown = None
    if known < len(page.days):
        unknown = Part(_r(known * step), head, _r(100 - known * step), room, "unknown")
    ticks = tuple(Tick(_r(base - room * v / top_value), f.short(v)) for v in values)
    label = "Segments per day (UTC), sent and received. Every day’s figures are in the table below."
    return Chart(height, base, tuple(bars), label, ticks, note, unknown)


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


def _day_title(day: date, usage, f: Formats) -> str:
    return (
        f"{weekday(day)}, {day_short(day)}: {f.count(usage.segments)} segments, "
        f"{f.count(usage.outbound_segments)} sent, {f.count(usage.inbound_segments)} received"
    )


def _r(number: float) -> float:
    """Two decimals: enough for a pixel, and the same text on every machine."""
    return round(float(number), 2)  # ratio
