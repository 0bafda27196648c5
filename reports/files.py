"""The files beside a page: CSV for spreadsheets, Parquet for programs, and ``datapackage.json``, their dictionary.

`reports.tabular` says how they are written. The same statement gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from functools import cache
from typing import Any

import polars as pl

from etl.money import minor_digits
from etl.periods import Month
from etl.schemas import DATASETS, OWNER_KINDS, STATES
from reports.corrected import CHANGES
from reports.focus import export as focus
from reports.focus import rows as focus_rows
from reports.focus.columns import COLUMNS as FOCUS_COLUMNS
from reports.model import DayRow, MonthRow, Page, Usage
from reports.tabular import (
    GZIP,
    JSON,
    PARQUET,
    Column,
    File,
    from_frame,
    from_rows,
    gzipped,
    neutralise,
    parquet,
    restore,
)

__all__ = ["Column", "File", "amount", "make", "neutralise", "package", "restore"]

CHARGED = ("usage", "tax", "rounding", "correction")
"""Sections of a statement that come to its total."""


def make(page: Page, issuer: str = focus.ISSUER) -> tuple[File, ...]:
    """Every file of the page, the dictionary last. ``issuer`` is who sends the statement, as the FOCUS files name it."""
    files = [usage_daily(page), usage_by_owner(page), charges(page), monthly_charges(page)]
    if page.corrections.rows:
        files.append(corrections(page))
    if page.revised:
        files.append(changes(page))
    if page.products:
        files.append(products(page))
    if page.credits:
        files.append(credits(page))
    files += [history_daily(page), history_monthly(page)]
    if page.proof.rows:
        files.append(reconciliation(page))
    files += [usage(page), *focus_files(page, issuer)]
    return (*files, dictionary(page, files))


# ------------------------------------------------------------------------------------------------ columns

_DATE = Column("date", "date", "UTC day")
_USAGE = (
    Column("outbound_messages", "integer", "texts sent, SMS, MMS and others", False),
    Column("outbound_segments", "integer", "billed segments of the texts sent", False),
    Column("outbound_credits", "integer", "message credits that the texts sent burned", False),
    Column("inbound_messages", "integer", "texts received", False),
    Column("inbound_segments", "integer", "billed segments of the texts received", False),
    Column("inbound_credits", "integer", "message credits that the texts received burned", False),
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


@cache
def _contract(dataset: str, *names: str) -> tuple[Column, ...]:
    """Columns as a dataset's contract describes them."""
    return tuple(_contract_column(dataset, name) for name in names)


@cache
def _contract_column(dataset: str, name: str) -> Column:
    column = DATASETS[dataset].schema.columns()[name]
    enum = tuple((column.metadata or {}).get("enum", ()))
    description = (column.description or name).split(":")[0] if enum else column.description or name
    return Column(name, _TYPES.get(type(column).__name__, "string"), description, not column.nullable, enum)


def usage_daily(page: Page) -> File:
    columns = (_DATE, *_USAGE, _CURRENCY, _COMPLETE)
    return from_rows("usage_daily.csv", "One row per day of the month, days without usage too", columns, ("date",),
                 (_day(row, page) for row in page.days))  # fmt: skip


def usage_by_owner(page: Page) -> File:
    mine = page.details.owners.filter(pl.col("date").is_between(page.month.first, page.month.days[-1]))
    return from_frame("usage_by_owner.csv", "One row per day and member, shared inbox or unassigned with usage",
                      (_DATE, *_OWNER, *_USAGE, _CURRENCY), ("date", "owner_kind", "owner_id"), mine,
                      minor_digits(page.currency))  # fmt: skip


def charges(page: Page) -> File:
    names = ("section", "line", "item", "direction", "type", "carrier", "registered", "tax_level", "jurisdiction",
             "rate_id", "quantity", "unit", "base", "amount_exact", "amount", "currency", "events", "unrated")  # fmt: skip
    kind = Column("charge_type", "string", "what kind of line", enum=("usage", "tax", "adjustment", "correction"))
    what = "One row per charge line, tax and rounding difference; the amounts add up to the total"
    if page.corrections.months:
        names = (*names, "for_month")
        what = "One row per charge line, tax, rounding difference and correction; the amounts add up to the total"
    columns = (*_PERIOD, *_STANDING, _POSITION, kind, *_contract("statement", *names))
    rows = (
        [*_standing(page), row["position"], _charge_type(row), *_values(row, names, page)]
        for row in page.lines
        if row["section"] in CHARGED
    )
    return from_rows("charges.csv", what, columns, ("position",), rows)


def _charge_type(row: dict) -> str:
    if row["section"] in ("tax", "correction"):
        return row["section"]
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
    return from_rows("monthly_charges.csv", "One row per charge made by the month: numbers, storage, volume pricing, products",
                 columns, ("position",), rows)  # fmt: skip


def products(page: Page) -> File:
    names = ("line", "item", "tax_level", "jurisdiction", "rate_id", "quantity", "unit", "base", "amount_exact", "amount",
             "currency")  # fmt: skip
    if page.corrections.products:
        names = (*names, "for_month")
    rows = (
        [*_standing(page), row["position"], *_values(row, names, page)]
        for row in page.lines
        if row["section"] in ("product", "product_correction")
    )
    return from_rows("products.csv", "One row per subscription, credit pack and tax on them; paid apart, not in the total",
                 (*_PERIOD, *_STANDING, _POSITION, *_contract("statement", *names)), ("position",), rows)  # fmt: skip


def credits(page: Page) -> File:
    names = ("date", "at", "entry", "lot", "bought_at", "credits", "simulated", "balance_allotment", "balance_purchased",
             "subscription_id")  # fmt: skip
    if any(row["for_month"] for row in page.ledger):
        names = (*names, "for_month")
    rows = ([*_standing(page), row["position"], *_values(row, names, page)] for row in page.ledger)
    return from_rows("credits.csv", "The credits ledger: one row per movement, with both balances after it",
                 (*_PERIOD, *_STANDING, _POSITION, *_contract("credits", *names)), ("position",), rows)  # fmt: skip


def corrections(page: Page) -> File:
    """Record by record why lines of closed months are corrected."""
    names = ("for_month", "section", "line", "item", "direction", "type", "carrier", "registered", "tax_level",
             "jurisdiction", "rate_id", "unit", "date", "source", "kind", "record_id", "reason", "rate_was", "rate_is",
             "quantity", "amount_exact", "currency")  # fmt: skip
    line = Column("line_position", "integer", "position in charges.csv or products.csv of the correction this is part of; "
                  "empty where all of it comes to nothing", False)  # fmt: skip
    rows = (
        [*_standing(page), position, row["position"], *_values(row, names, page)]
        for position, row in enumerate(page.corrections.rows)
    )
    return from_rows("corrections.csv", "One row per record behind a correction of a closed month, and what follows from it",
                 (*_PERIOD, *_STANDING, _POSITION, line, *_contract("corrections", *names)), ("position",), rows)  # fmt: skip


def changes(page: Page) -> File:
    """Every line that the revision before has otherwise."""
    names = ("section", "line", "item", "direction", "type", "carrier", "registered", "tax_level", "jurisdiction",
             "rate_id", "for_month", "unit")  # fmt: skip
    figures = tuple(
        Column(f"{name}{ending}", kind, f"{what} in {of}", False)
        for ending, of in (("_before", "the revision before; empty where it has no such line"),
                           ("", "this revision; empty where it has no such line"))
        for name, kind, what in (("quantity", "integer", "billed units"), ("amount_exact", "number", "before rounding"),
                                 ("amount", "number", "rounded to the currency's minor unit"))
    )  # fmt: skip
    kind = Column("change", "string", "what became of the line", enum=CHANGES)
    columns = (*_PERIOD, *_STANDING, _POSITION, kind, *_contract("statement", *names), *figures, _CURRENCY)
    both = (*page.revised.changes, *page.revised.products)

    def side(line: dict | None) -> list:
        return _values(line, ("quantity", "amount_exact", "amount"), page) if line else [None] * 3

    rows = (
        [*_standing(page), position, one.kind, *_values(one.row, names, page), *side(one.was),
         *side(None if one.after is None else one.row), page.currency]
        for position, one in enumerate(both)
    )  # fmt: skip
    return from_rows("changes.csv", f"One row per line that revision {page.revised.replaces} has otherwise", columns,
                 ("position",), rows)  # fmt: skip


def history_daily(page: Page) -> File:
    columns = (_DATE, *_USAGE, _CURRENCY, _COMPLETE)
    return from_rows("history_daily.csv", "One row per day of up to six months", columns, ("date",),
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
        [row.month, *_period(row.month), row.state, row.revision, *_usage(row.usage, row.currency),
         amount(row.total, row), row.currency]
        for row in page.history
    )  # fmt: skip
    return from_rows("history_monthly.csv", "One row per month, up to six months", columns, ("month",), rows)


def reconciliation(page: Page) -> File:
    names = ("category", "count", "ledger_count", "quantity", "ledger_quantity", "usage_unit", "unpriced", "verdict",
             "why")  # fmt: skip
    rows = ([position, row["date"], *_values(row, names, page)] for position, row in enumerate(page.proof.rows))
    return from_rows("reconciliation.csv", "Our records against the provider’s own totals: one row per day and category",
                 (_POSITION, _DATE, *_contract("reconciled", *names)), ("position",), rows)  # fmt: skip


# ------------------------------------------------------------------------------------------------ for programs

_DETAILS = {
    column.name: column
    for column in (
        _DATE,
        _OWNER[-1],
        Column("campaign", "string", "the call campaign’s name, or the last four digits of its number", False),
        Column("charge", "number", "sum of the rated charges, full precision; what is held has a quantity on its days and is "
               "charged by the month, in monthly_charges.csv"),
    )
}  # fmt: skip
"""Columns of `reports.details` that `schemas.Daily` has not, or says too little of."""


def usage(page: Page) -> File:
    frame = page.details.usage
    columns = tuple(_DETAILS.get(name) or _contract_column("daily", name) for name in frame.columns)
    return parquet("usage.parquet", "The month’s daily roll-up at full detail", columns, frame, **_about(page))


def focus_files(page: Page, issuer: str) -> tuple[File, File]:
    """The statement as FOCUS rows, as CSV in gzip and as Parquet."""
    frame = focus.frame(page, issuer)
    what = f"The statement as FOCUS {focus.VERSION}: usage, products, taxes, rounding, credits"
    more = {"focus_version": focus.VERSION, "without_a_price": focus_rows.left_out(page)}
    typed = parquet(
        "focus.parquet", f"{what}; typed", FOCUS_COLUMNS, frame, **_about(page), focus_version=focus.VERSION
    )
    return (
        gzipped(from_frame("focus.csv", what, FOCUS_COLUMNS, ("x_RowNumber",), frame, 1, more=more)),
        replace(typed, more=more),
    )


def _about(page: Page) -> dict[str, str]:
    """What a Parquet file says of itself."""
    return {"statement_id": page.statement_id, "state": page.state, "revision": str(page.revision), "times": "UTC"}


# ------------------------------------------------------------------------------------------------ dictionary


def dictionary(page: Page, files: Iterable[File]) -> File:
    """``datapackage.json`` of a statement's files."""
    return package(
        files,
        name=f"statement-{page.month}-{page.account_id}".lower(),
        title=f"Usage and charges of {page.account_name}, {page.month} (UTC)",
        version=f"{page.month}.r{page.revision}",
        state=page.state,
    )


def package(files: Iterable[File], **about: str) -> File:
    """``datapackage.json``: every file with its columns, types, units and hash (Frictionless Data Package)."""
    head = {
        "profile": "data-package",
        **about,
        "text_rule": "A text cell of a CSV file that begins with an apostrophe has one too many: take the first one off. "
        "It keeps spreadsheets from running the text as a formula.",
    }
    # A line for each file: indented throughout, Python would write it five times slower.
    lines = [json.dumps(described, ensure_ascii=False) for described in (head, *map(_resource, files))]
    data = (lines[0][:-1] + ', "resources": [\n' + ",\n".join(lines[1:]) + "\n]}\n").encode()
    return File("datapackage.json", "What every column means, and the hash of every file", data, media_type=JSON)


def _resource(file: File) -> dict[str, Any]:
    name, _, ending = file.name.partition(".")
    fields = {"fields": [column.as_field() for column in file.columns]}
    described = {
        "name": f"{name}-{ending}" if file.media_type == PARQUET else name.replace("_", "-"),
        "path": file.name,
        "title": file.what,
        "format": ending.removesuffix(".gz"),
        "mediatype": file.media_type,
        "bytes": len(file.data),
        "hash": f"sha256:{file.sha256}",
        **file.more,
    }
    if file.media_type == PARQUET:
        # As a plain file, so that a reader of packages checks its bytes without a reader of Parquet.
        return described | {"profile": "data-resource", "type": "file", "schema": fields}
    return described | {
        "profile": "tabular-data-resource",
        "encoding": "utf-8",
        **({"compression": "gz"} if file.media_type == GZIP else {}),
        "dialect": {"delimiter": ",", "lineTerminator": "\r\n", "quoteChar": '"', "doubleQuote": True},
        "schema": fields | {"primaryKey": list(file.key), "missingValues": [""]},
    }


# ------------------------------------------------------------------------------------------------ cells


def _day(row: DayRow, page: Page) -> list:
    usage = [None] * len(_USAGE) if row.usage is None else _usage(row.usage, row.currency)
    return [row.day, *usage, row.currency, row.complete]


def _usage(usage: Usage, currency: str) -> list:
    return [usage.outbound_messages, usage.outbound_segments, usage.outbound_credits, usage.inbound_messages,
            usage.inbound_segments, usage.inbound_credits, usage.calls, usage.call_seconds,
            _exact(usage.charge, currency)]  # fmt: skip


def _exact(amount: Decimal, currency: str) -> Decimal:
    """All its decimals, at least those of the currency."""
    short = amount.normalize()
    least = Decimal(1).scaleb(-minor_digits(currency))
    return amount.quantize(least) if short.as_tuple().exponent > least.as_tuple().exponent else short


def amount(amount: Decimal, of: Page | MonthRow) -> Decimal:
    """An amount of whole minor units, with the currency's decimals. Raises if there is more behind the point."""
    shown = amount.quantize(Decimal(1).scaleb(-minor_digits(of.currency)))
    if shown != amount:
        raise ValueError(f"{amount} {of.currency} is not rounded to the currency's minor unit")
    return shown


def _values(row: dict, names: Iterable[str], page: Page) -> list:
    return [amount(row[name], page) if name == "amount" else row[name] for name in names]


def _standing(page: Page) -> list:
    return [*_period(page.month), page.statement_id, page.revision, page.state]


def _period(month: Month) -> tuple:
    return month.first, month.end
