"""The files of one month against each other, in exact decimals."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

from etl.money import minor_digits
from reports.verify.book import Book
from reports.verify.package import Rows, read

ZERO = Decimal(0)
PRODUCTS = ("subscription", "credit_pack")
HELD = ("number", "recording_storage")
CALLS = ("call", "campaign_call")
COUNTS = (
    "outbound_messages", "outbound_segments", "outbound_credits", "inbound_messages", "inbound_segments",
    "inbound_credits", "calls", "call_billed_seconds", "charge",
)  # fmt: skip


def rounded(amount: Decimal, currency: str) -> Decimal:
    """Half-up at the currency's minor unit."""
    return amount.quantize(Decimal(1).scaleb(-minor_digits(currency)), ROUND_HALF_UP)


def total(rows: Iterable[dict[str, Any]], column: str) -> Any:
    """The sum of a column; what is empty is left out."""
    return sum((row[column] for row in rows if row[column] is not None), ZERO)


def by(rows: Iterable[dict[str, Any]], *columns: str) -> dict[Any, Rows]:
    """Rows by one column's value, or by several columns' as a tuple."""
    found: dict[Any, Rows] = defaultdict(list)
    for row in rows:
        key = tuple(row[column] for column in columns)
        found[key if len(columns) > 1 else key[0]].append(row)
    return found


def check(folder: Path, tables: dict[str, Rows], said: dict[str, Any], book: Book) -> None:
    """Every sum that the files of a month must come to. ``said`` is its ``statement.json``."""
    for one in (_charges, _days, _history, _products, _corrections, _changes, _credits, _focus, _summary):
        with book.readable(one.__doc__ or ""):
            one(folder, tables, said, book)


def _charges(folder: Path, tables: dict[str, Rows], said: dict[str, Any], book: Book) -> None:
    """charges.csv adds up"""
    charges, what = tables["charges.csv"], "charges.csv adds up"
    book.same(what, "amounts and the total in statement.json", Decimal(said["total"]), total(charges, "amount"))
    _rounded_once("charges.csv", charges, book)
    mine = [row for row in charges if row["section"] == "usage"]
    monthly = [row for row in tables["monthly_charges.csv"] if row["line"] not in PRODUCTS]
    behind = total(tables["usage_daily.csv"], "charge") + total(monthly, "charge")
    book.same(what, "days and charges by the month", total(mine, "amount_exact"), behind)
    daily = by(tables["usage.parquet"], "line")
    held, stated = by(monthly, "line"), by(mine, "line")
    for line in sorted({*daily, *held, *stated}):
        source = total(daily.get(line, ()), "charge") + total(held.get(line, ()), "charge")
        book.same("each line is its days and its month", line, total(stated.get(line, ()), "amount_exact"), source)


def _rounded_once(name: str, rows: Rows, book: Book) -> None:
    what = "amounts are rounded once"
    taxes = sum(row["line"] == "tax" for row in rows)
    for row in rows:
        where = f"{name} position {row['position']}"
        if row["line"] != "tax" and row.get("for_month"):
            # What a line comes to now, rounded, less what was billed, rounded.
            unit = Decimal(1).scaleb(-minor_digits(row["currency"]))
            off = abs(row["amount"] - row["amount_exact"])
            book.same("corrections are two rounded amounts apart", where, "more" if off > unit else "a unit", "a unit")
        elif row["line"] != "tax":
            book.same(what, where, row["amount"], rounded(row["amount_exact"], row["currency"]))
    if taxes:
        book.leave_out(
            "taxes are rounded once",
            "a tax may be rounded on each line it taxes, and no file has it line by line",
            taxes,
        )


def _days(folder: Path, tables: dict[str, Rows], said: dict[str, Any], book: Book) -> None:
    """days are their owners and their details"""
    owners = by(tables["usage_by_owner.csv"], "date")
    details = by((row for row in tables["usage.parquet"] if row["line"] not in HELD), "date")
    detailed = {day.isoformat(): _counted(rows) for day, rows in details.items()}
    days = {row["date"]: row for row in tables["usage_daily.csv"]}
    for day in sorted({*days, *owners, *detailed}):
        row = days.get(day, dict.fromkeys(COUNTS))
        for column in COUNTS:
            where, printed = f"usage_daily.csv {day} {column}", row[column] or 0
            book.same("days are the sums of their owners", where, printed, total(owners.get(day, ()), column))
            book.same("days are the sums of usage.parquet", where, printed, detailed.get(day, {}).get(column, 0))


def _counted(rows: Rows) -> dict[str, Any]:
    counted = {
        f"{way}_{what}": total((row for row in rows if row["direction"] == way), what)
        for way in ("outbound", "inbound")
        for what in ("messages", "segments", "credits")
    }
    calls = [row for row in rows if row["line"] in CALLS]
    return counted | {
        "calls": total(calls, "events"),
        "call_billed_seconds": total(calls, "billed_seconds"),
        "charge": total(rows, "charge"),
    }


def _history(folder: Path, tables: dict[str, Rows], said: dict[str, Any], book: Book) -> None:
    """the history is its days"""
    history = by(tables["history_daily.csv"], "date")
    for row in tables["usage_daily.csv"]:
        kept = history.get(row["date"], [{}])[0]
        for column, value in row.items():
            where = f"history_daily.csv {row['date']} {column}"
            book.same("history_daily.csv has the month's days", where, kept.get(column), value)
    for month in tables["history_monthly.csv"]:
        days = [row for row in tables["history_daily.csv"] if row["date"][:7] == month["month"]]
        for column in COUNTS:
            where = f"history_monthly.csv {month['month']} {column}"
            book.same("months are the sums of their days", where, month[column] or 0, total(days, column))
        if month["month"] == said["month"]:
            printed = total(tables["charges.csv"], "amount")
            book.same("months are the sums of their days", f"total of {said['month']}", month["total"], printed)


def _products(folder: Path, tables: dict[str, Rows], said: dict[str, Any], book: Book) -> None:
    """products.csv adds up"""
    rows = tables.get("products.csv", [])
    stated = Decimal(said.get("product_total", 0))
    book.same("products.csv adds up", "amounts and statement.json", stated, total(rows, "amount"))
    _rounded_once("products.csv", rows, book)


KEY = ("line", "item", "direction", "type", "carrier", "registered", "tax_level", "jurisdiction", "rate_id", "unit")


def _corrections(folder: Path, tables: dict[str, Rows], said: dict[str, Any], book: Book) -> None:
    """corrections come to their lines"""
    charges, products = tables["charges.csv"], tables.get("products.csv", [])
    lines = {row["position"]: row for row in (*charges, *products) if row.get("for_month")}
    records = tables.get("corrections.csv", [])
    behind = by(records, "line_position")
    what = "corrections come to their lines"
    for position, line in lines.items():
        rows = behind.get(position, [])
        book.same(what, f"line {position}", line["amount_exact"], total(rows, "amount_exact"))
        for row in rows:
            same = all(row[name] == line.get(name) for name in ("for_month", "line", "item", "unit", "currency"))
            book.same(
                what, f"corrections.csv position {row['position']}", "its line" if same else "another", "its line"
            )
    strays = [row for position, rows in behind.items() if position not in lines for row in rows]
    for key, rows in by(strays, "for_month", "section", *KEY).items():
        book.same(what, f"corrections.csv without a line, {key[0]} {key[2]}", total(rows, "amount_exact"), ZERO)


def _changes(folder: Path, tables: dict[str, Rows], said: dict[str, Any], book: Book) -> None:
    """changes.csv is what two revisions have otherwise"""
    before, changes = said.get("replaces"), tables.get("changes.csv", [])
    if not before:
        book.same("changes.csv is what two revisions have otherwise", "rows", len(changes), 0)
        return
    what = "changes.csv comes to the difference"
    for name, file in (("total", "charges.csv"), ("product_total", "products.csv")):
        mine = [row for row in changes if row["section"].startswith("product") == (file == "products.csv")]
        moved = total(mine, "amount") - total(mine, "amount_before")
        now = total(tables.get(file, []), "amount")
        book.same(what, f"{name} of revision {before['revision']}", Decimal(before[name]), now - moved)
    beside = next((path for path in (folder.parent, folder) for path in [path / f"rev-{before['revision']}"]
                   if (path / "charges.csv").is_file()), None)  # fmt: skip
    what = "changes.csv is what two revisions have otherwise"
    if beside is None:
        book.leave_out(what, "the folder of the revision before is not beside this one", len(changes))
        return
    theirs = read(beside, Book(""), ("index.html", "statement.json"), ("charges.csv", "products.csv"))
    then, now = ({_key(row): row for name in ("charges.csv", "products.csv") for row in some.get(name, ())}
                 for some in (theirs, tables))  # fmt: skip
    figures = ("quantity", "amount_exact", "amount")
    nothing = dict.fromkeys(figures)
    expected = {}
    for key in {*then, *now}:
        was, is_ = (tuple(some.get(key, nothing)[name] for name in figures) for some in (then, now))
        if was != is_:
            expected[key] = (*was, *is_)
    told = {_key(row): tuple(row[f"{n}{end}"] for end in ("_before", "") for n in figures) for row in changes}
    for key in sorted({*expected, *told}, key=str):
        book.same(what, " ".join(str(part) for part in key if part), told.get(key), expected.get(key))
    if not expected:
        book.same(what, "lines", len(told), 0)


def _key(row: dict[str, Any]) -> tuple:
    """What tells a statement's lines apart; a file without a column has it nowhere."""
    products = "tax_level" in row and "section" not in row or str(row.get("section", "")).startswith("product")
    return products, row.get("for_month"), *(row.get(name) for name in KEY)


def _credits(folder: Path, tables: dict[str, Rows], said: dict[str, Any], book: Book) -> None:
    """credits.csv balances"""
    left = {"balance_allotment": 0, "balance_purchased": 0}
    for row in sorted(tables.get("credits.csv", []), key=lambda row: row["position"]):
        if row["entry"] != "overage":
            left["balance_allotment" if row["lot"] == "allotment" else "balance_purchased"] += row["credits"]
        for column, balance in left.items():
            where = f"credits.csv position {row['position']}, {column}"
            book.same("credits.csv balances after each row", where, row[column], balance)


def _focus(folder: Path, tables: dict[str, Rows], said: dict[str, Any], book: Book) -> None:
    """FOCUS invoices are the totals"""
    statement = said["statement_id"]
    totals = {statement: total(tables["charges.csv"], "amount")}
    totals[f"{statement}-products"] = total(tables.get("products.csv", []), "amount")
    for name, rows in (("focus.csv.gz", tables["focus.csv.gz"]), ("focus.parquet", tables["focus.parquet"])):
        invoices = by(rows, "InvoiceId")
        for invoice in sorted({*totals, *filter(None, invoices)}):
            billed = total(invoices.get(invoice, ()), "BilledCost")
            book.same("FOCUS invoices are the totals", f"{name} {invoice}", billed, totals.get(invoice, ZERO))


def _summary(folder: Path, tables: dict[str, Rows], said: dict[str, Any], book: Book) -> None:
    """statement.json says the same"""
    what, days = "statement.json says the same", tables["usage_daily.csv"]
    for figure, columns in {
        "messages": ("outbound_messages", "inbound_messages"),
        "segments": ("outbound_segments", "inbound_segments"),
        "calls": ("calls", "call_billed_seconds"),
    }.items():
        sums = [int(total(days, column)) for column in columns]
        book.same(what, figure, list(said["figures"][figure]), sums)
    for row in tables["charges.csv"][:1]:
        standing = [row["statement_id"], row["revision"], row["state"]]
        book.same(what, "standing", [said[name] for name in ("statement_id", "revision", "state")], standing)
    for name, digest in said["files"].items():
        path = folder / name
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
        book.same(what, f"hash of {name}", digest, found)
    if "explore" in said:
        explored(said["explore"], tables, "statement.json explorer", book)


# ------------------------------------------------------------------------------------------------ the explorer

FIGURES = tuple(f"{way}_{what}" for what in ("messages", "segments", "credits") for way in ("outbound", "inbound"))
_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def explored(packed: dict[str, Any], tables: dict[str, Rows], what: str, book: Book) -> None:
    """The explorer's series: their sum on each day as the history has it, each person's month as usage_by_owner.csv has
    it. People merged into one row are compared with all of their kind that have no row."""
    first, count = date.fromisoformat(packed["first"]), packed["days"]
    days = [(first + timedelta(days=n)).isoformat() for n in range(count)]
    series = [(kind, owner, people, _figures(texts, count)) for kind, owner, _name, people, *texts in packed["series"]]
    history = {row["date"]: row for row in tables["history_daily.csv"]}
    states = "".join(state * int(run) for state, run in re.findall(r"([a-z])(\d+)", packed.get("states", f"c{count}")))
    known = {day for day, state in zip(days, states, strict=True) if state != "u"}
    for n, day in enumerate(days):
        if day not in known:
            continue
        for column in FIGURES:
            shown = sum(figures[column][n] for *_, figures in series)
            book.same(what, f"{day} {column}", shown, history.get(day, {}).get(column) or 0)
    owners = by((row for row in tables["usage_by_owner.csv"] if row["date"] in known), "owner_kind", "owner_id")
    month = {row["date"] for row in tables["usage_daily.csv"]}
    for column in FIGURES:
        rest: dict[str, int] = defaultdict(int)
        for (kind, _), rows in owners.items():
            rest[kind] += total(rows, column)
        merged = dict.fromkeys(rest, 0)
        for kind, owner, people, figures in series:
            shown = sum(value for day, value in zip(days, figures[column], strict=True) if day in month)
            if people > 1:
                merged[kind] = merged.get(kind, 0) + shown
                continue
            mine = total(owners.get((kind, owner), ()), column)
            rest[kind] -= mine
            book.same(what, f"{kind} {owner} {column}", shown, mine)
        for kind, shown in merged.items():
            book.same(what, f"other {kind} {column}", shown, rest[kind])


def _figures(texts: list[str], count: int) -> dict[str, list[int]]:
    """What six strings of a packed series stand for: see docs/reports.md, the explorer. Segments are written as what they
    have more than messages, credits as what they have more than segments."""
    figures: dict[str, list[int]] = {}
    base: list[list[int]] = [[0] * count, [0] * count]
    for n, column in enumerate(FIGURES):
        more = _unpacked(texts[n] if n < len(texts) else "", count)
        figures[column] = base[n % 2] = [a + b for a, b in zip(more, base[n % 2], strict=True)]
    return figures


def _unpacked(text: str, count: int) -> list[int]:
    values: list[int] = []
    number = place = 0
    run = False
    for letter in text:
        if letter == ".":
            run = True
            continue
        digit = _DIGITS.index(letter)
        number += (digit % 32) * 32**place
        place += 1
        if digit < 32:
            values += [0] * number if run else [-(number + 1) // 2 if number % 2 else number // 2]
            number, place, run = 0, 0, False
    if len(values) > count:
        raise ValueError(f"{len(values)} values for {count} days")
    return values + [0] * (count - len(values))
