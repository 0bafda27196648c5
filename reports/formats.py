"""Numbers as people read them: Babel by the account's locale, exact decimals in, no float in between.

The words of a page are English whatever the locale, so dates are written in English too, with the month in letters.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property, lru_cache
from unicodedata import bidirectional

from babel import Locale, UnknownLocaleError
from babel.numbers import NumberPattern

from etl.money import minor_digits
from etl.periods import Month

NBSP = "\u00a0"
MINUS = "\u2212"
_MARKS = "\u200e\u200f"
"""What a locale's pattern begins with to turn a paragraph its own way; ours run from left to right."""
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

UNITS = {
    "segment": ("segment", "segments"),
    "message": ("message", "messages"),
    "minute": ("min", "min"),
    "call": ("call", "calls"),
    "answered call": ("answered call", "answered calls"),
    "stored minute": ("stored min", "stored min"),
    "number": ("number", "numbers"),
}


@lru_cache(maxsize=64)
def _locale(name: str) -> Locale:
    try:
        return Locale.parse(name.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return Locale.parse("en_US")


@lru_cache(maxsize=256)
def _pattern(locale: str, kind: str, low: int, high: int) -> NumberPattern:
    known = _locale(locale)
    formats = {"money": known.currency_formats["standard"], "percent": known.percent_formats[None]}
    pattern = copy.copy(formats.get(kind, known.decimal_formats[None]))
    pattern.frac_prec = (low, high)
    return pattern


@dataclass(frozen=True)
class Formats:
    """How one account's figures are written."""

    locale: str
    currency: str

    @cached_property
    def digits(self) -> int:
        return minor_digits(self.currency)

    def money(self, amount: Decimal) -> str:
        return self._apply("money", amount, self.digits, self.digits)

    def money_in(self, amount: Decimal, currency: str) -> str:
        """An amount of a month in which the account had another currency."""
        return Formats(self.locale, currency).money(amount)

    def exact(self, amount: Decimal) -> str:
        """An amount before it is rounded: all its decimals, at least the currency's."""
        return self._apply("money", amount, self.digits, max(self.digits, -amount.normalize().as_tuple().exponent))

    def price(self, amount: Decimal, digits: int = 4) -> str:
        """A unit price: always four decimals, so that a column reads straight down."""
        return self._apply("money", amount, digits, digits)

    def count(self, number: int | Decimal) -> str:
        return self._apply("decimal", Decimal(number), 0, 0)

    def quantity(self, number: Decimal) -> str:
        """A quantity with at most two decimals, none when it is whole."""
        whole = number == number.to_integral_value()
        return self._apply("decimal", number, 0, 0 if whole else 2)

    def percent(self, number: Decimal) -> str:
        """``Decimal("11.9")`` → 11.9%; from a thousand on without decimals."""
        digits = 0 if abs(number) >= 1000 else 1
        return self._apply("percent", number / 100, digits, digits)

    def short(self, number: int) -> str:
        """A count short enough for a label above a narrow bar; the table below the chart has it in full."""
        for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
            if abs(number) >= size * (1 if size > 1000 else 100):
                digits = 1 if abs(number) < size * 100 else 0
                return self._apply("decimal", Decimal(number) / size, 0, digits) + letter
        return self.count(number)

    def amount_of(self, quantity: Decimal, unit: str) -> str:
        """``5,864 min``, ``1 segment``: the value and its unit never part at a line's end."""
        one, many = UNITS.get(unit, (unit, unit + "s"))
        return f"{self.quantity(quantity)}{NBSP}{(one if quantity == 1 else many).replace(' ', NBSP)}"

    @property
    def marks(self) -> list[str]:
        """How the explorer's script writes whole numbers: [mark between groups, where it stands as a regular expression,
        decimal mark]."""
        sample = self.count(10**11)
        mark = re.sub(r"\d", "", sample)[:1]
        *_, before, last = map(len, re.split(r"\D", sample)) if mark else (3, 3)
        decimal = re.sub(r"\d", "", self.quantity(Decimal("1.5")))
        return [mark, rf"\B(?=(\d{{{before}}})*\d{{{last}}}$)", decimal]

    def _apply(self, kind: str, number: Decimal, low: int, high: int) -> str:
        return _written(self.locale, self.currency if kind == "money" else None, kind, number, low, high)


@lru_cache(maxsize=65_536)
def _written(locale: str, currency: str | None, kind: str, number: Decimal, low: int, high: int) -> str:
    # Rounded here, half-up; Babel would round half-even.
    places = high + (2 if kind == "percent" else 0)
    rounded = number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    pattern = _pattern(locale, kind, low, high)
    text = pattern.apply(abs(rounded), _locale(locale), currency=currency, currency_digits=False)
    return _upright(MINUS + text if rounded < 0 else text)


def _upright(text: str) -> str:
    """A figure with letters that run from right to left: kept to itself and in the order of the page (UAX 9, isolates),
    so that it reads the same in a column, a sentence and a mail."""
    if not any(bidirectional(c) in ("R", "AL") for c in text):
        return text
    sign, rest = (MINUS, text[1:]) if text.startswith(MINUS) else ("", text)
    return f"\u2066{sign}{rest.lstrip(_MARKS)}\u2069"


def month_name(month: Month) -> str:
    return MONTHS[month.number - 1]


def month_year(month: Month) -> str:
    return f"{month_name(month)}{NBSP}{month.year}"


def month_short(month: Month) -> str:
    return month_name(month)[:3]


def day_short(day: date) -> str:
    return f"{MONTHS[day.month - 1][:3]}{NBSP}{day.day}"


def day_long(day: date) -> str:
    return f"{MONTHS[day.month - 1]}{NBSP}{day.day}"


def weekday(day: date) -> str:
    return WEEKDAYS[day.weekday()]


def moment(at: datetime) -> str:
    """``November 1, 2026, 06:12 UTC``"""
    return f"{MONTHS[at.month - 1]}{NBSP}{at.day}, {at.year}, {at:%H:%M}{NBSP}UTC"


def file_size(size: int) -> str:
    return f"{size}{NBSP}B" if size < 1000 else f"{Decimal(size) / 1000:.1f}{NBSP}kB"
