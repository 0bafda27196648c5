"""UTC days, months, ISO weeks (mission rule 3) and credit periods (rule 8). Every window is half-open: [start, end)."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


@dataclass(frozen=True, order=True)
class Month:
    """A UTC calendar month; prints and parses as ``YYYY-MM``."""

    year: int
    number: int

    def __post_init__(self) -> None:
        date(self.year, self.number, 1)

    @classmethod
    def parse(cls, text: str) -> Month:
        """``"2026-10"`` → Month. ValueError says what was expected."""
        found = _MONTH.fullmatch(text)
        if not found or found[1] == "0000":
            raise ValueError(f"{text!r} is not a month: write YYYY-MM, such as 2026-10")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of(cls, day: date) -> Month:
        return cls(day.year, day.month)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.number:02d}"

    def __add__(self, months: int) -> Month:
        index = self.year * 12 + self.number - 1 + months
        return Month(index // 12, index % 12 + 1)

    def __sub__(self, months: int) -> Month:
        return self + -months

    @property
    def first(self) -> date:
        return date(self.year, self.number, 1)

    @property
    def end(self) -> date:
        """First day after the month (exclusive end)."""
        return (self + 1).first

    @property
    def days(self) -> list[date]:
        return list(days(self.first, self.end))

    def last(self, count: int) -> list[Month]:
        """The ``count`` months ending with this one, oldest first."""
        return [self - back for back in range(count - 1, -1, -1)]


def days(start: date, end: date) -> Iterator[date]:
    """Every day of [start, end)."""
    while start < end:
        yield start
        start += timedelta(days=1)


def runs(some: Iterable[date]) -> list[tuple[date, date]]:
    """Sorted days → (first, last) of each unbroken run."""
    found: list[tuple[date, date]] = []
    for day in some:
        if found and found[-1][1] == day - timedelta(days=1):
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found


def parse_day(text: str) -> date:
    """``"2026-10-31"`` → date. ValueError says what was expected."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:  # fromisoformat reads 20261031 and 2026-W44-6 too
        raise ValueError(f"{text!r} is not a day: write YYYY-MM-DD, such as 2026-10-31")
    return day


def today() -> date:
    """The current UTC day."""
    return datetime.now(UTC).date()


def lookback(day: date, count: int) -> list[date]:
    """The ``count`` days ending with ``day``, oldest first: what one night re-reads (mission rule 11)."""
    return list(days(day - timedelta(days=count - 1), day + timedelta(days=1)))


def iso_week(day: date) -> str:
    """ISO 8601 week of a day, ``2026-W44``."""
    year, week, _ = day.isocalendar()
    return f"{year:04d}-W{week:02d}"


def anniversary(anchor: date, k: int) -> date:
    """``anchor`` plus ``k`` months, always counted from the anchor: 31 Jan, 28 or 29 Feb, 31 Mar (mission rule 8)."""
    month = Month.of(anchor) + k
    return date(month.year, month.number, min(anchor.day, calendar.monthrange(month.year, month.number)[1]))


def credit_period(anchor: date, day: date) -> tuple[date, date]:
    """The period [anchor + k months, anchor + (k+1) months) that ``day`` lies in. ValueError before the anchor."""
    if day < anchor:
        raise ValueError(f"{day} is before the first period, which starts on {anchor}")
    k = (day.year - anchor.year) * 12 + day.month - anchor.month
    if anniversary(anchor, k) > day:
        k -= 1
    return anniversary(anchor, k), anniversary(anchor, k + 1)
