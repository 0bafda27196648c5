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
from decimal import Decimal
from typing import Any

from etl.money import minor_digits
from etl.periods import Month
from etl.schemas import DATASETS
from reports.model import DayRow, Page, Usage
from reports.pages import FileInfo

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
    files = (usage_daily(page), usage_by_owner(page), charges(page), history_daily(page), history_monthly(page))
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
        "charge", "number", "all charges of the row at full precision, before the statement rounds each line", False
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


def _schema_column(name: str, required: bool | None = None) -> Column:
    """A column as the statement dataset's contract describes it."""
    column = DATASETS["statement"].schema.columns()[name]
    kind = {"Decimal": "number", "Int64": "integer", "Int32": "integer", "Bool": "boolean"}.get(
        type(column).__name__, "string"
    )
    enum = tuple((column.metadata or {}).get("enum", ()))
    description = (column.description or name).split(":")[0] if enum else column.description or name
    return Column(name, kind, description, not column.nullable if required is None else required, enum)


def usage_daily(page: Page) -> File:
    columns = (_DATE, *_USAGE, _CURRENCY, _COMPLETE)
    return _file("usage_daily.csv", "One row per day of the month, days without usage too", columns, ("date",),
                 (_day(row, page) for row in page.days))  # fmt: skip


def usage_by_owner(page: Page) -> File:
    columns = (
        _DATE,
        Column("owner_kind", "string", "who inside the account", enum=("member", "inbox", "unassigned")),
        Column("owner_id", "string", "the member or shared inbox, or 'unassigned'"),
        Column("owner_name", "string", "its name when the statement was made"),
        *_USAGE,
        _CURRENCY,
    )
    rows = (
        [day, owner.kind, owner.owner_id, owner.name, *_usage(owner.usage, page), page.currency]
        for day, owner in page.owner_days
    )
    return _file("usage_by_owner.csv", "One row per day and member, shared inbox or unassigned with usage", columns,
                 ("date", "owner_kind", "owner_id"), rows)  # fmt: skip


def charges(page: Page) -> File:
    names = ("line", "direction", "type", "carrier", "registered", "quantity", "unit", "amount_exact", "amount",
             "currency", "events", "unrated")  # fmt: skip
    columns = (
        *_PERIOD,
        Column("statement_id", "string", "the statement the line belongs to"),
        Column("revision", "integer", "0 until the month is closed"),
        Column("state", "string", "standing of every figure in the row", enum=("open", "provisional", "final")),
        Column("position", "integer", "order on the statement"),
        Column("charge_type", "string", "what kind of line", enum=("usage", "adjustment")),
        *(_schema_column(name) for name in names),
    )
    start, end = _period(page.month)
    rows = (
        [start, end, page.statement_id, page.revision, page.state, row["position"],
         "usage" if row["section"] == "usage" else "adjustment",
         *(amount(row[n], page) if n == "amount" else row[n] for n in names)]
        for row in page.lines
        if row["section"] != "total"
    )  # fmt: skip
    return _file(
        "charges.csv", "One row per charge line; the amounts add up to the total", columns, ("position",), rows
    )


def history_daily(page: Page) -> File:
    columns = (_DATE, *_USAGE, _CURRENCY, _COMPLETE)
    return _file("history_daily.csv", "One row per day of up to six months", columns, ("date",),
                 (_day(row, page) for row in page.history_days))  # fmt: skip


def history_monthly(page: Page) -> File:
    columns = (
        Column("month", "yearmonth", "UTC month"),
        *_PERIOD,
        Column("state", "string", "standing of every figure in the row", enum=("open", "provisional", "final")),
        Column("revision", "integer", "0 until the month is closed"),
        *_USAGE,
        Column("total", "number", "the statement’s total"),
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


def _period(month: Month) -> tuple:
    return month.first, month.end
