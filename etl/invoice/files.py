"""An invoice file as lines: CSV or JSON, columns found by their names, every cell checked, nothing guessed.

A line that cannot be used is kept apart with its number and the reason: lines + refused + set aside is the file.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from etl import tables
from etl.periods import Month, parse_day
from etl.settings import ConfigurationError

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "category": ("category", "product", "service", "item"),
    "description": ("description",),
    "quantity": ("quantity", "usage", "qty"),
    "unit": ("unit", "usageunit"),
    "count": ("count", "records"),
    "unit_price": ("unitprice", "rate", "priceperunit"),
    "amount": ("amount", "total", "linetotal", "charge", "cost"),
    "currency": ("currency", "priceunit"),
    "provider_account": ("provideraccount", "account", "accountsid", "accountid", "subaccount"),
    "start": ("start", "startdate", "date"),
    "end": ("end", "enddate"),
    "as_of": ("asof",),
}
"""What we read → the names it may have in a file, in small letters without blanks, ``_`` and ``-``."""

DESCRIBED = {
    "sms": "sms",
    "inbound sms": "sms-inbound",
    "outbound sms": "sms-outbound",
    "sms carrier fees": "sms-messages-carrierfees",
    "mms": "mms",
    "inbound mms": "mms-inbound",
    "outbound mms": "mms-outbound",
    "mms carrier fees": "mms-messages-carrierfees",
    "failed message processing fee": "failed-message-processing-fee",
    "voice minutes": "calls",
    "inbound voice minutes": "calls-inbound",
    "outbound voice minutes": "calls-outbound",
    "recordings": "recordings",
    "recording storage": "recordingstorage",
    "phone numbers": "phonenumbers",
    "total price": "totalprice",
    "total": "totalprice",
    "grand total": "totalprice",
    "invoice total": "totalprice",
}
"""The provider's description → its category, for files and lines that name no category."""

MAX_BYTES = 64 * 2**20
MAX_LINES = 200_000
_PHONE = re.compile(r"\+?[0-9](?:[ ().-]{0,2}[0-9]){6,}")
_PLAIN = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")


@dataclass(frozen=True)
class Line:
    """One line as the file has it; ``start`` and ``end`` are its first and last UTC day, null for the whole month."""

    number: int
    category: str
    amount: Decimal
    quantity: Decimal | None = None
    unit: str | None = None
    count: Decimal | None = None
    unit_price: Decimal | None = None
    currency: str | None = None
    provider_account: str | None = None
    start: date | None = None
    end: date | None = None
    as_of: datetime | None = None


@dataclass(frozen=True)
class Refused:
    """A line that is not compared, and why; ``amount`` where it could be read."""

    number: int
    category: str
    amount: Decimal | None
    reason: str


@dataclass(frozen=True)
class Invoice:
    """The lines of a file. ``refused`` cannot be used; ``aside`` is of another month or account: not compared."""

    lines: tuple[Line, ...]
    refused: tuple[Refused, ...] = ()
    aside: tuple[Refused, ...] = ()
    read_as: tuple[tuple[str, str], ...] = ()
    """(our column, the file's) of everything that was read."""


class _Bad(ValueError):
    """A line's cell cannot be read."""


def shown(text: str) -> str:
    """A name without a phone number in it: the last two digits stay."""
    return _PHONE.sub(lambda found: f"…{found[0][-2:]}", text)


def read(file: Path) -> Invoice:
    """A CSV file, or JSON as the provider's usage records come (``.json``). ConfigurationError if it is not readable
    as a whole: absent, too large, not UTF-8, ambiguous or missing columns, rows of uneven length, one page of
    several."""
    try:
        size = file.stat().st_size
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from None
    if size > MAX_BYTES:
        raise ConfigurationError(f"{file} has {size} bytes: an invoice has at most {MAX_BYTES}")
    numbered, names = _from_json(file) if file.suffix.lower() == ".json" else _from_csv(file)
    if not numbered:
        raise ConfigurationError(f"{file} has no line")
    if len(numbered) > MAX_LINES:
        raise ConfigurationError(f"{file} has {len(numbered)} lines: an invoice has at most {MAX_LINES}")
    lines, refused = [], []
    for number, cells in numbered:
        try:
            lines.append(_line(number, cells))
        except _Bad as error:
            refused.append(Refused(number, _named(cells), _money_or_none(cells.get("amount")), str(error)))
    return Invoice(tuple(lines), tuple(refused), read_as=tuple(names.items()))


def select(invoice: Invoice, month: Month, currency: str | None, accounts: Collection[str] = ()) -> Invoice:
    """The lines that speak of ``month``, in ``currency`` (None: of the first line), and of ``accounts`` (empty: all).

    Another month's and another account's lines are set aside; another currency's, and a period that leaves the month,
    are refused: their money is asked for and cannot be held against anything. ConfigurationError if none is left.
    """
    currency = currency or next((line.currency for line in invoice.lines if line.currency), None)
    lines, refused, aside = [], list(invoice.refused), list(invoice.aside)
    for line in invoice.lines:
        start, end = line.start or month.first, line.end or line.start or month.days[-1]

        def out(reason: str, line: Line = line) -> Refused:
            return Refused(line.number, shown(line.category), line.amount, reason)

        if end < month.first or start >= month.end:
            aside.append(out(f"another month: {start} to {end}"))
        elif accounts and line.provider_account and line.provider_account not in accounts:
            aside.append(out(f"another account: {line.provider_account}"))
        elif start < month.first or end >= month.end:
            refused.append(out(f"{start} to {end} (both included) leaves {month}: write one line for each month"))
        elif line.currency and line.currency != currency:
            refused.append(out(f"another currency: {line.currency}, our records are in {currency}"))
        else:
            lines.append(replace(line, start=start, end=end, currency=currency))
    if len({line.provider_account for line in lines} - {None}) > 1:
        refused += [
            Refused(line.number, shown(line.category), line.amount, "no account, though other lines name several")
            for line in lines
            if not line.provider_account and line.category != "totalprice"
        ]
        lines = [line for line in lines if line.provider_account or line.category == "totalprice"]
    if not lines:
        first = min((*refused, *aside), key=lambda one: one.number)
        raise ConfigurationError(
            f"no line of the file is of {month}: line {first.number} ({first.category}): {first.reason}"
        )
    by_number = sorted(refused, key=lambda one: one.number)
    return replace(invoice, lines=tuple(lines), refused=tuple(by_number), aside=tuple(aside))


# ------------------------------------------------------------------------------------------------ files


def _from_csv(file: Path) -> tuple[list[tuple[int, dict]], dict[str, str]]:
    with file.open("rb") as opened:
        text = opened.read().decode("utf-8-sig", errors="replace")
    header = next((row for row in csv.reader(io.StringIO(text, newline="")) if "".join(row).strip()), [])
    names = _columns(file, header)
    frame, _ = tables.read(file, list(names.values()), others=True)
    cells = frame.rename({theirs: f"_{ours}" for ours, theirs in names.items()})
    rows = cells.iter_rows(named=True)
    return [(row[tables.LINE], {ours: row[f"_{ours}"] for ours in names}) for row in rows], names


def _from_json(file: Path) -> tuple[list[tuple[int, dict]], dict[str, str]]:
    """Numbers keep the digits they are written with; a record's number is its place in the list, from 1."""
    try:
        found = json.loads(file.read_bytes().decode("utf-8-sig"), parse_float=str, parse_int=str, parse_constant=str)
    except UnicodeDecodeError:
        raise ConfigurationError(f"{file} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{file} is not JSON: line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise ConfigurationError(f"{file} is nested too deep") from None
    if isinstance(found, dict):
        if found.get("next_page_uri"):
            raise ConfigurationError(f"{file} is one page of several: put all pages' usage_records into one list")
        found = found.get("usage_records")
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ConfigurationError(f"{file} must be a list of records, or an object with usage_records")
    names = _columns(file, list(dict.fromkeys(key for one in found for key in one)))
    return [
        (number, {ours: one.get(theirs) for ours, theirs in names.items()}) for number, one in enumerate(found, 1)
    ], names


def _columns(file: Path, header: Sequence[str]) -> dict[str, str]:
    """Our column → the file's. A bare ``price`` is the amount only beside ``price_unit``, as in usage records."""
    plain = {name: re.sub(r"[\s_-]", "", name).lower() for name in header if name.strip()}
    found: dict[str, str] = {}
    for ours, known in COLUMNS.items():
        mine = [name for name, simple in plain.items() if simple in known]
        if len(mine) > 1:
            raise ConfigurationError(f"{file} has both {' and '.join(mine)}, which both say {ours}: leave one out")
        if mine:
            found[ours] = mine[0]
    price = next((name for name, simple in plain.items() if simple == "price"), None)
    if price and "amount" not in found:
        if "priceunit" not in plain.values():
            raise ConfigurationError(f"{file}: {price} may be the price of one or of all: call it unit_price or amount")
        found["amount"] = price
    lacking = [] if {"category", "description"} & set(found) else ["category or description"]
    lacking += [] if "amount" in found else ["amount"]
    if lacking:
        raise ConfigurationError(
            f"{file} lacks the column {', '.join(lacking)}: its first line must name the columns; "
            "docs/invoice.md lists them"
        )
    return found


# ------------------------------------------------------------------------------------------------ cells


def _line(number: int, cells: Mapping[str, object]) -> Line:
    texts = {name: _text(name, cell) for name, cell in cells.items()}
    given = texts.get("category") or texts.get("description")
    if not given:
        raise _Bad("it has no category")
    if texts.get("amount") is None:
        raise _Bad("it has no amount")
    currency = (texts.get("currency") or "").upper() or None
    if currency and not re.fullmatch("[A-Z]{3}", currency):
        raise _Bad(f"currency {currency[:20]!r} is not an ISO code such as USD")
    start, end = _day(texts, "start"), _day(texts, "end")
    if end and not start:
        raise _Bad("it has an end and no start")
    if start and end and end < start:
        raise _Bad(f"its end {end} lies before its start {start}")
    numbers = {name: _number(name, texts.get(name)) for name in ("amount", "quantity", "count", "unit_price")}
    return Line(
        number, _category(given), unit=(texts.get("unit") or "").lower() or None, currency=currency,
        provider_account=texts.get("provider_account"), start=start, end=end, as_of=_moment(texts.get("as_of")),
        **numbers,
    )  # fmt: skip


def _text(name: str, cell: object) -> str | None:
    if cell is None:
        return None
    if not isinstance(cell, str):
        raise _Bad(f"{name} is no text and no number")
    text = cell.strip()
    if not text.isprintable() or len(text) > 200:
        raise _Bad(f"{name} has a control character or more than 200 characters")
    return text or None


def _category(given: str) -> str:
    words = " ".join(given.lower().split())
    return DESCRIBED.get(words.replace("-", " "), words.replace(" ", "-").replace("_", "-"))


def _number(name: str, text: str | None) -> Decimal | None:
    """A plain decimal. Anything a spreadsheet or a country writes otherwise is refused: 1.234 may be a thousand."""
    if text is None:
        return None
    if not _PLAIN.fullmatch(text) or not text.isascii():
        remedy = "write 1234.56: a point, no thousands separator" if "," in text else "write a plain number: 1234.56"
        raise _Bad(f"{name} {shown(text)[:30]!r} is not a plain decimal number: {remedy}")
    whole, _, rest = text.lstrip("+-").partition(".")
    if len(whole.lstrip("0")) > 9 or len(rest) > 9:
        raise _Bad(f"{name} {text[:30]} has more than nine digits before the point or after it")
    return Decimal(text)


def _money_or_none(cell: object) -> Decimal | None:
    try:
        return _number("amount", _text("amount", cell))
    except _Bad:
        return None


def _named(cells: Mapping[str, object]) -> str:
    found = cells.get("category") or cells.get("description")
    text = "".join(c for c in found if c.isprintable()).strip()[:60] if isinstance(found, str) else ""
    return shown(text) or "(no category)"


def _day(texts: Mapping[str, str | None], name: str) -> date | None:
    text = texts.get(name)
    try:
        return parse_day(text) if text else None
    except ValueError as error:
        raise _Bad(f"{name}: {error}") from None


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise _Bad(f"as_of {text[:40]!r} is not a moment such as 2026-11-01T02:00:00+00:00") from None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def as_of(lines: Iterable[Line]) -> datetime | None:
    """The earliest moment to which a line says it is up to date."""
    return min((line.as_of for line in lines if line.as_of), default=None)
