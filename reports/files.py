"""The files beside a page: CSV for spreadsheets and programs, and ``datapackage.json``, their dictionary.

RFC 4180, CRLF, UTF-8 without a byte order mark. Numbers have a point and neither symbols nor thousands marks; an empty
cell is unknown or does not apply, never zero. The same statement gives the same bytes.

A text cell that a spreadsheet would run as a formula gets one apostrophe in front, and so does one that begins with an
apostrophe already: taking one leading apostrophe off every text cell that has one restores every value.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from etl.money import minor_digits
from etl.periods import Month
from etl.schemas import DATASETS, OWNER_KINDS, STATES
from reports.model import DayRow, Page, Usage
from reports.pages import FileInfo

CHARGED = ("usage", "tax", "rounding")
"""Sections of a statement that come to its total."""
DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")


def neutralise(text: str) -> str:
    """A text that no spreadsheet runs as a formula; `restore` gives the original back."""
    return "'" + text if text.startswith(DANGEROUS) else text


def restore(cell: str) -> str:
    return cell[1:] if cell.startswith("'") else cell


@dataclass(frozen=True)
class Column:
    """One column of a CSV file, as its dictionary describes it."""

    name: str
    type: str
    description: str
    required: bool = True
    enum: tuple[str, ...] = ()

    def as_field(self) -> dict[str, Any]:
        constraints: dict[str, Any] = {"required": True} if self.required else {}
        if self.enum:
            constraints["enum"] = list(self.enum)
        described = {"name": self.name, "type": self.type, "description": self.description}
        return described | ({"constraints": constraints} if constraints else {})


@dataclass(frozen=True)
class File:
    """A finished file: bytes, and what the page and the dictionary say of them."""

    name: str
    what: str
    data: bytes = field(repr=False)
    columns: tuple[Column, ...] = ()
    key: tuple[str, ...] = ()
    rows: int | None = None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def info(self) -> FileInfo:
        return FileInfo(self.name, self.what, self.rows, len(self.data), self.sha256)


def make(page: Page) -> tuple[File, ...]:
    """Every file of the page, the dictionary last."""
    files = [usage_daily(page), usage_by_owner(page), charges(page), monthly_charges(page)]
    if page.products:
        files.append(products(page))
    if page.credits:
        files.append(credits(page))
    files += [history_daily(page), history_monthly(page)]
    return (*files, dictionary(page, files))


# ------------------------------------------------------------------------------------------------ columns

_DATE = Column("date", "date", "UTC day")
_USAGE = (
    Column("outbound_messages", "integer", "texts sent, SMS, MMS and others", False),
    Column("outbound_segments", "integer", "billed segments of the texts sent", False),
    Column("inbound_messages", "integer", "texts received", False),
    Column("inbound_segments", "integer", "billed segments of the texts received", False),
    Column("calls", "integer", "calls, campaign calls included", False),
    Column("call_billed_seconds", "integer", "seconds of those calls after the rate card’s rounding of each", False),
    Column(
        "charge",
        "number",
        "what this usage costs at full precision, before the statement rounds each line; numbers, storage and what "
        "else is charged by the month are in monthly_charges.csv, taxes in charges.csv",
        False,
    ),
)
_CURRENCY = Column("currency", "string", "ISO 4217 code of every amount in the row")
_COMPLETE = Column(
    "complete", "boolean", "every source of the day is loaded; figures of an incomplete day may still rise"
)
_PERIOD = (
    Column("period_start", "date", "first UTC day of the month"),
    Column("period_end_exclusive", "date", "first UTC day after the month"),
)


_STANDING = (
    Column("statement_id", "string", "the statement the line belongs to"),
    Column("revision", "integer", "0 until the month is closed"),
    Column("state", "string", "standing of every figure in the row", enum=STATES),
)
_POSITION = Column("position", "integer", "order in the file")
_OWNER = (
    Column("owner_kind", "string", "who inside the account", enum=OWNER_KINDS),
    Column("owner_id", "string", "the member or shared inbox, or 'unassigned'"),
    Column("owner_name", "string", "its name when the statement was made"),
)
_TYPES = {
    "Decimal": "number", "Int64": "integer", "Int32": "integer", "Bool": "boolean", "Date": "date", "Datetime": "datetime",
}  # fmt: skip


def _contract(dataset: str, *names: str) -> tuple[Column, ...]:
    """Columns as a dataset's contract describes them."""
    return tuple(_contract_column(dataset, name) for name in names)


def _contract_column(dataset: str, name: str) -> Column:
    column = DATASETS[dataset].schema.columns()[name]
    enum = tuple((column.metadata or {}).get("enum", ()))
    description = (column.description or name).split(":")[0] if enum else column.description or name
    return Column(name, _TYPES.get(type(column).__name__, "string"), description, not column.nullable, enum)


def usage_daily(page: Page) -> File:
    columns = (_DATE, *_USAGE, _CURRENCY, _COMPLETE)
    return _file("usage_daily.csv", "One row per day of the month, days without usage too", columns, ("date",),
                 (_day(row, page) for row in page.days))  # fmt: skip


def usage_by_owner(page: Page) -> File:
    columns = (_DATE, *_OWNER, *_USAGE, _CURRENCY)
    rows = (
        [day, owner.kind, owner.owner_id, owner.name, *_usage(owner.usage, page), page.currency]
        for day, owner in page.owner_days
    )
    return _file("usage_by_owner.csv", "One row per day and member, shared inbox or unassigned with usage", columns,
                 ("date", "owner_kind", "owner_id"), rows)  # fmt: skip


def charges(page: Page) -> File:
    names = ("section", "line", "item", "direction", "type", "carrier", "registered", "tax_level", "jurisdiction",
             "rate_id", "quantity", "unit", "base", "amount_exact", "amount", "currency", "events", "unrated")  # fmt: skip
    kind = Column("charge_type", "string", "what kind of line", enum=("usage", "tax", "adjustment"))
    columns = (*_PERIOD, *_STANDING, _POSITION, kind, *_contract("statement", *names))
    rows = (
        [*_standing(page), row["position"], _charge_type(row), *_values(row, names, page)]
        for row in page.lines
        if row["section"] in CHARGED
    )
    return _file("charges.csv", "One row per charge line, tax and rounding difference; the amounts add up to the total",
                 columns, ("position",), rows)  # fmt: skip


def _charge_type(row: dict) -> str:
    if row["section"] == "tax":
        return "tax"
    return "adjustment" if row["section"] == "rounding" or row["line"] == "adjustment" else "usage"


def monthly_charges(page: Page) -> File:
    names = ("line", "item", "date", "days", "quantity", "unit", "rate_id", "unit_price", "charge", "currency", "taxable",
             "unrated")  # fmt: skip
    columns = (*_PERIOD, *_STANDING, _POSITION, *_OWNER, *_contract("monthly", *names))
    owner = tuple(column.name for column in _OWNER)
    rows = (
        [*_standing(page), position, *(row[name] for name in owner), *_values(row, names, page)]
        for position, row in enumerate(page.monthly)
    )
    return _file("monthly_charges.csv", "One row per charge made by the month: numbers, storage, volume pricing, products",
                 columns, ("position",), rows)  # fmt: skip


def products(page: Page) -> File:
    names = ("line", "item", "tax_level", "jurisdiction", "rate_id", "quantity", "unit", "base", "amount_exact", "amount",
             "currency")  # fmt: skip
    rows = (
        [*_standing(page), row["position"], *_values(row, names, page)]
        for row in page.lines
        if row["section"] == "product"
    )
    return _file("products.csv", "One row per subscription, credit pack and tax on them; paid apart, not in the total",
                 (*_PERIOD, *_STANDING, _POSITION, *_contract("statement", *names)), ("position",), rows)  # fmt: skip


def credits(page: Page) -> File:
    names = ("date", "at", "entry", "lot", "bought_at", "credits", "simulated", "balance_allotment", "balance_purchased",
             "subscription_id")  # fmt: skip
    rows = ([*_standing(page), row["position"], *_values(row, names, page)] for row in page.ledger)
    return _file("credits.csv", "The credits ledger: one row per movement, with both balances after it",
                 (*_PERIOD, *_STANDING, _POSITION, *_contract("credits", *names)), ("position",), rows)  # fmt: skip


def history_daily(page: Page) -> File:
    columns = (_DATE, *_USAGE, _CURRENCY, _COMPLETE)
    return _file("history_daily.csv", "One row per day of up to six months", columns, ("date",),
                 (_day(row, page) for row in page.history_days))  # fmt: skip


def history_monthly(page: Page) -> File:
    columns = (
        Column("month", "yearmonth", "UTC month"),
        *_PERIOD,
        Column("state", "string", "standing of every figure in the row", enum=STATES),
        Column("revision", "integer", "0 until the month is closed"),
        *_USAGE,
        Column("total", "number", "the statement’s total: all charges, taxes and the rounding difference"),
        _CURRENCY,
    )
    rows = (
        [row.month, *_period(row.month), row.state, row.revision, *_usage(row.usage, page), amount(row.total, page),
         page.currency]
        for row in page.history
    )  # fmt: skip
    return _file("history_monthly.csv", "One row per month, up to six months", columns, ("month",), rows)


def dictionary(page: Page, files: Iterable[File]) -> File:
    """``datapackage.json``: every file with its columns, types, units and hash (Frictionless Data Package)."""
    document = {
        "profile": "tabular-data-package",
        "name": f"statement-{page.month}-{page.account_id}".lower(),
        "title": f"Usage and charges of {page.account_name}, {page.month} (UTC)",
        "version": f"{page.month}.r{page.revision}",
        "state": page.state,
        "text_rule": "A text cell that begins with an apostrophe has one too many: take the first one off. It keeps "
        "spreadsheets from running the text as a formula.",
        "resources": [
            {
                "name": file.name.removesuffix(".csv").replace("_", "-"),
                "path": file.name,
                "profile": "tabular-data-resource",
                "title": file.what,
                "format": "csv",
                "mediatype": "text/csv",
                "encoding": "utf-8",
                "bytes": len(file.data),
                "hash": f"sha256:{file.sha256}",
                "dialect": {"delimiter": ",", "lineTerminator": "\r\n", "quoteChar": '"', "doubleQuote": True},
                "schema": {
                    "fields": [column.as_field() for column in file.columns],
                    "primaryKey": list(file.key),
                    "missingValues": [""],
                },
            }
            for file in files
        ],
    }
    data = json.dumps(document, ensure_ascii=False, indent=1).encode() + b"\n"
    return File("datapackage.json", "What every column means, and the hash of every file", data)


# ------------------------------------------------------------------------------------------------ cells


def _file(name: str, what: str, columns: tuple[Column, ...], key: tuple[str, ...], rows: Iterable[list]) -> File:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow([column.name for column in columns])
    texts = [column.type == "string" and not column.enum for column in columns]
    count = 0
    for row in rows:
        writer.writerow([_cell(value, text) for value, text in zip(row, texts, strict=True)])
        count += 1
    return File(name, what, buffer.getvalue().encode(), columns, key, count)


def _cell(value: Any, is_text: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return neutralise(str(value)) if is_text else str(value)


def _day(row: DayRow, page: Page) -> list:
    usage = [None] * len(_USAGE) if row.usage is None else _usage(row.usage, page)
    return [row.day, *usage, page.currency, row.complete]


def _usage(usage: Usage, page: Page) -> list:
    return [usage.outbound_messages, usage.outbound_segments, usage.inbound_messages, usage.inbound_segments,
            usage.calls, usage.call_seconds, _exact(usage.charge, page)]  # fmt: skip


def _exact(amount: Decimal, page: Page) -> Decimal:
    """All its decimals, at least those of the currency."""
    short = amount.normalize()
    least = Decimal(1).scaleb(-minor_digits(page.currency))
    return amount.quantize(least) if short.as_tuple().exponent > least.as_tuple().exponent else short


def amount(amount: Decimal, page: Page) -> Decimal:
    """An amount of whole minor units, with the currency's decimals. Raises if there is more behind the point."""
    shown = amount.quantize(Decimal(1).scaleb(-minor_digits(page.currency)))
    if shown != amount:
        raise ValueError(f"{amount} {page.currency} is not rounded to the currency's minor unit")
    return shown


def _values(row: dict, names: Iterable[str], page: Page) -> list:
    return [amount(row[name], page) if name == "amount" else row[name] for name in names]


def _standing(page: Page) -> list:
    return [*_period(page.month), page.statement_id, page.revision, page.state]


def _period(month: Month) -> tuple:
    return month.first, month.end
