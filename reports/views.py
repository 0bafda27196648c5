"""What an explorer's view says in words. ``templates/explore.js`` says the same of every other view."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from etl.periods import Month
from reports import explore
from reports.explore import Explorer
from reports.formats import Formats, day_short, month_year, weekday


@dataclass(frozen=True)
class View:
    """The explorer as a page opens it. ``data`` is what the script redraws from; ``rows`` are the first view as a table,
    (name, (sent, received, both)), their sums last, where the page draws one."""

    explorer: Explorer
    by: str
    odd: tuple[date, str, str] | None
    f: Formats
    data: dict[str, Any]
    rows: tuple[tuple[str, tuple[int | None, ...]], ...]

    @property
    def span(self) -> tuple[date, date]:
        return self.explorer.shown

    @property
    def caption(self) -> str:
        return caption(self.by, "segments")

    @property
    def said(self) -> str:
        return said(self.explorer, "segments", *self.span, self.f)

    @property
    def counts(self) -> tuple[tuple[str, str], ...]:
        """(value, name) of what can be counted; credits only where some were used."""
        known = [c for c in explore.COUNTS if c != "credits" or any(s.total(c) for s in self.explorer.series)]
        return tuple((c, c.capitalize()) for c in known)

    @property
    def unsure(self) -> bool:
        """Whether a bar of the first view is of days whose figures may still rise."""
        rows = explore.rows(self.explorer, self.by, "segments", "total", *self.span)
        return any(row["segments"] is not None and (row["days_missing"] or row["days_incomplete"]) for row in rows)

    @property
    def ranges(self) -> tuple[tuple[str, str, bool], ...]:
        """(value, name, chosen) of the quick ranges: all of it, then each month, newest first."""
        e = self.explorer
        found = [((e.first, e.last), _all(e))]
        found += [(explore.clamped(e, m.first, m.days[-1]), month_year(m)) for m in reversed(e.months)]
        if len(e.months) == 1:
            found = found[:1]
        return tuple((f"{first}/{last}", name, (first, last) == self.span) for (first, last), name in found)


def _all(explorer: Explorer) -> str:
    return month_year(explorer.months[0]) if len(explorer.months) == 1 else f"All {len(explorer.months)} months"


def view(
    explorer: Explorer,
    account_id: str,
    f: Formats,
    by: str,
    odd: tuple[date, str, str] | None,
    table: bool,
) -> View:
    """The explorer as it opens: segments of its shown days, in all."""
    data = {
        "account": account_id,
        "marks": f.marks,
        "odd": odd and [odd[0].isoformat(), *odd[1:]],
        **explore.pack(explorer),
    }
    return View(explorer, by, odd, f, data, _table(explorer, by, f) if table else ())


def _table(explorer: Explorer, by: str, f: Formats) -> tuple[tuple[str, tuple[int | None, ...]], ...]:
    rows = explore.rows(explorer, by, "segments", "total", *explorer.shown)
    names = ("segments_sent", "segments_received", "segments")
    made = [(_noted(row, by, "segments", f), tuple(row[name] for name in names)) for row in rows]
    return (*made, ("Total", tuple(sum(row[name] or 0 for row in rows) for name in names)))


def _noted(row: dict[str, Any], by: str, count: str, f: Formats) -> str:
    """The label of a row, and what its figures lack; where there are none, that is plain to see."""
    return ". ".join([label(row, by), *(_quality([row], f) if row[count] is not None else [])])


def caption(by: str, count: str) -> str:
    return f"{count.capitalize()} per {by}, UTC"


def label(row: dict[str, Any], by: str) -> str:
    """What a row of `explore.rows` is of: a day, a week with its days, a month or the part of it that is in the range."""
    first, last = row["period_start"], row["period_end_exclusive"] - timedelta(days=1)
    if by == "week":
        return f"Week {int(row['period'][-2:])}, {_days(first, last)}"
    return span(first, last) if by == "month" else _days(first, last)


def title(row: dict[str, Any], by: str, count: str, f: Formats) -> str:
    """The tooltip of a bar."""
    sent, received = row[f"{count}_sent"], row[f"{count}_received"]
    text = f"{label(row, by)}: {counted(row[count], count, f)}, {f.count(sent)} sent, {f.count(received)} received"
    return ". ".join([text, *_quality([row], f)])


def said(explorer: Explorer, count: str, first: date, last: date, f: Formats) -> str:
    """The totals of a range, and what is not in them."""
    rows = explore.rows(explorer, "day", count, "total", first, last)
    sent, received = (sum(row[f"{count}_{way}"] or 0 for row in rows) for way in ("sent", "received"))
    what = f"{counted(sent + received, count, f)}, {f.count(sent)} sent and {f.count(received)} received"
    if all(row["days_missing"] for row in rows):
        return f"{span(first, last)}: nothing is loaded."
    return ". ".join([f"{span(first, last)}: {what}", *_quality(rows, f)]) + "."


def span(first: date, last: date) -> str:
    """A range of days, both included: its month's name where it is one."""
    month = Month.of(first)
    return month_year(month) if (first, last) == (month.first, month.days[-1]) else _days(first, last)


def _days(first: date, last: date) -> str:
    end = f"{day_short(last)}, {last.year}"
    if first == last:
        return f"{weekday(last)[:3]}, {end}"
    return f"{day_short(first)}{'' if first.year == last.year else f', {first.year}'} – {end}"


def counted(number: int, count: str, f: Formats) -> str:
    return f"{f.count(number)} {count.removesuffix('s') if number == 1 else count}"


def _quality(rows: Iterable[dict[str, Any]], f: Formats) -> list[str]:
    """What rows lack, as sentences without their last point."""
    rows = list(rows)
    missing, incomplete = (sum(row[f"days_{what}"] for row in rows) for what in ("missing", "incomplete"))
    said = []
    if missing:
        said.append(f"{counted(missing, 'days', f)} not loaded, so not counted")
    if incomplete:
        said.append(f"{counted(incomplete, 'days', f)} estimated")
    return said
