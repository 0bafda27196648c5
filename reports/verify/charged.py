"""The tables of charges, taxes and carrier fees against ``charges.csv``: labels are built again from its rows."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from reports.naming import CLASS_NAMES, TAX_NAMES, TYPE_NAMES, item_name, line_name, presentable
from reports.verify.cells import Printed, nearest, quantity
from reports.verify.markup import Cell, Row, plain
from reports.verify.sums import ZERO, by, total

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
REASONS = ("late", "changed", "repriced", "gone", "taken back", "follows")
KINDS = ("message", "call", "video", "recording", "number")
"""Reasons and kinds of records in the order in which a page tells them."""
MERGED = re.compile(r"\d more(, in (charges|changes)\.csv)?$")
"""What a row is called that is all the others of its group."""


class Charges(Printed):
    """The section of the charges."""

    def charges(self) -> None:
        first, *more = self.reader.of("charges")
        groups = self._labelled(self.usage)
        taxes = _taxes(row for row in self.lines if row["section"] == "tax")
        self.corrected = self._corrected(self.lines, "correction")
        names = {TAX_NAMES[level]: parts for level, parts in taxes.items()}
        self._charge_rows("charges", first.rows, groups, names)
        for row in first.foot:
            self.row("charges", row, None, None, None, self.total)
        for table in more:
            fees = by((row for row in self.usage if row["line"] == "carrier_fee"), "carrier")
            labelled = {
                presentable(name) if name else "Other carriers": next(iter(self._labelled(rows, True).values()))
                for name, rows in fees.items()
            }
            self._charge_rows("carrier fees", table.rows, labelled, {})
        for cell in self.reader.said("charges", "b"):
            self.cell("charges", "products, paid apart", cell, total(self.tables["products.csv"], "amount"))

    def _labelled(self, rows: Iterable[dict], always: bool = False) -> dict[str, dict[str, list[list]]]:
        """Line → label of its part → [amount, exact, quantity, unit] of each that is called so."""
        found: dict[str, dict[str, dict]] = defaultdict(lambda: defaultdict(dict))
        rows = list(rows)
        types = {line: {row["type"] for row in some} for line, some in by(rows, "line").items()}
        for row in rows:
            fee = row["line"] == "carrier_fee"
            # A type that only the month before had makes names longer too: both are tried.
            label = part_name(row, always or len(types[row["line"]]) > 1)
            key = (row["direction"], row["type"], row["registered"] if fee else None, row["unit"], row["item"])
            into = found[line_name(row["line"])][label].setdefault(key, [ZERO, ZERO, 0, row])
            into[0] += row["amount"]
            into[1] += row["amount_exact"]
            into[2] += row["quantity"] or 0
        return {line: {label: list(sums.values()) for label, sums in parts.items()} for line, parts in found.items()}

    def _charge_rows(self, what: str, rows: list[Row], groups: dict, taxes: dict) -> None:
        """Rows of a table of charges: a group, its parts, sums in between."""
        group, left, rest, parts = "", {}, ZERO, False
        seen = set()
        for row in [*rows, Row("end")]:
            kind, name = row.kind.split()[0] if row.kind else "", row.name
            if kind != "part" and parts:
                self.book.same(f"page: {what}", f"{group}: what its parts leave", rest, ZERO)
            parts = kind == "part"
            if kind == "end":
                break
            if kind == "sum":
                self.row(what, row, None, None, None, self.charged)
            elif kind == "part" and group in self.corrected and what == "charges":
                rest -= self._correction(what, row, left, rest, group)
            elif kind == "part" and group in taxes:
                rest -= self._tax(what, row, left, rest, group)
            elif kind == "part":
                rest -= self._part(what, row, left, rest, group)
            elif name == "Rounding difference":
                amount = total((r for r in self.lines if r["section"] == "rounding"), "amount")
                self.row(what, row, None, None, None, amount)
            else:
                every = groups | taxes | (self.corrected if what == "charges" else {})
                group, left = name, {label: list(sums) for label, sums in every.get(name, {}).items()}
                seen.add(name)
                rest = sum((one[0] for sums in left.values() for one in sums), ZERO)
                if name in self.corrected and "name" in row.head:
                    row.head["name"].checked = True
                alone = kind != "group"
                if alone:
                    merged = [one for sums in left.values() for one in sums]
                    counted, price = _measured(merged[0]) if merged else (ZERO, None)
                    counted = None if row.cells and not plain(row.cells[0].text) and not merged else counted
                    self.row(what, row, counted, price, None, rest)
                    self.sub(what, row, counted or None, price)
                else:
                    columns = [cell for cell in row.cells if cell.kind == "cell"]
                    self.row(what, row, *([None] * (len(columns) - 1)), rest)
        expected = groups | taxes | (self.corrected if what == "charges" else {})
        missing = [name for name in expected if name not in seen]
        self.book.same(f"page: {what}", "lines that are missing", ", ".join(missing), "")

    def _part(self, what: str, row: Row, left: dict, rest: Decimal, group: str) -> Decimal:
        sums = left.get(row.name) or left.get(_shorter(row.name, left))
        columns = [cell for cell in row.cells if cell.kind == "cell"]
        if MERGED.search(row.name) and not sums:
            self.row(what, row, *[None] * (len(columns) - 1), rest, group=group)
            return rest
        one = nearest(sums, columns, self.marks) if sums else None
        counted, price = _measured(one) if one else (ZERO, None)
        if one is None and not any(plain(cell.text) for cell in columns[:1]):
            counted = None
        amount = one[0] if one else ZERO
        values = [counted, price, *([None] * (len(columns) - 3)), amount]
        self.row(what, row, *values, group=group)
        self.sub(what, row, *((counted, price) if counted else ()))
        return amount

    def _corrected(self, lines: Iterable[dict], section: str) -> dict[str, dict[str, list[list]]]:
        """Heading of a closed month → label of a line → [[amount, quantity, unit, numbers of its reasons]]."""
        found: dict[str, dict[str, list[list]]] = defaultdict(lambda: defaultdict(list))
        of = [row for row in lines if row.get("for_month") and (section != "correction" or row["section"] == section)]
        for month, rows in by(of, "for_month").items():
            for (label, unit), some in _called(rows).items():
                positions = {row["position"] for row in some}
                behind = [r for r in self.tables.get("corrections.csv", ()) if r["line_position"] in positions]
                one = [total(some, "amount"), int(total(some, "quantity")), unit, reasons(behind)]
                found[f"Corrections of {month_name(month)}"][label].append(one)
        return found

    def _correction(self, what: str, row: Row, left: dict, rest: Decimal, group: str) -> Decimal:
        sums = left.get(row.name)
        columns = [cell for cell in row.cells if cell.kind == "cell"]
        if not sums:
            amount = rest if MERGED.search(row.name) else ZERO
            self.row(what, row, *[None] * (len(columns) - 1), amount, group=group)
            return amount
        amount, counted, unit, numbers = nearest(sums, columns, self.marks)
        moved = (
            quantity(Decimal(counted) / (60 if unit == "second" else 1)) if unit not in (None, "adjustment") else ZERO
        )
        self.row(what, row, moved or None, *[None] * (len(columns) - 2), amount, group=group)
        self.sub(what, row, moved or None)
        self.cell(what, f"{group} / {row.name}, why", row.head.get("what"), *numbers)
        return amount

    def _tax(self, what: str, row: Row, left: dict, rest: Decimal, group: str) -> Decimal:
        sums = left.get(row.name)
        one = next((s for s in sums or () if s[4] and s[4] in row.head.get("what", Cell("", "")).text), None)
        one = one or (sums[0] if sums else None)
        if one is None:
            amount = rest if MERGED.search(row.name) else ZERO
            self.row(what, row, None, None, None, amount, group=group)
            return amount
        sums.remove(one)
        base = None if one[1] is None else self.money(one[1])
        if base is None and one[3]:
            base = quantity(Decimal(one[2]) / (60 if one[3] == "second" else 1))
        self.row(what, row, base, None, None, one[0], group=group)
        place, on, figure = row.head["what"].text.rpartition("on ") if "what" in row.head else ("", "", "")
        if base is not None and on:
            self.cell(what, f"{group} / {row.name}, for narrow screens", Cell("charges", "what", figure), base)
            row.head["what"].checked = not re.search(r"\d", place)
        return one[0]


def _measured(one: list) -> tuple[Decimal | None, Decimal | None]:
    """(the quantity as it is printed, the average price with four decimals) of [amount, exact, quantity, row]."""
    _, exact, counted, row = one
    if row["unit"] in (None, "adjustment"):
        return None, None
    number = Decimal(counted) / (60 if row["unit"] == "second" else 1)
    price = (exact / number).quantize(Decimal("0.0001"), ROUND_HALF_UP) if number else None
    return quantity(number), price


def _called(rows: Iterable[dict]) -> dict[tuple[str, str | None], list[dict]]:
    """Correction lines by what the page calls them, and their unit."""
    found: dict = defaultdict(list)
    for row in rows:
        found[line_label(row), row["unit"]].append(row)
    return found


def line_label(row: dict[str, Any]) -> str:
    """What the page calls a line where it stands by itself; a tax with who levies it."""
    if row["line"] == "tax":
        return plain(
            ", ".join(filter(None, (presentable(row["item"] or "Tax"), presentable(row["jurisdiction"] or ""))))
        )
    if row["line"] == "rounding":
        return "Rounding difference"
    part = part_name(row, row["line"] == "text")
    return plain(line_name(row["line"]) if part == "Other" else f"{line_name(row['line'])}: {part}")


def reasons(rows: Iterable[dict]) -> list[int]:
    """The numbers in the sentences that say why: of each reason and kind of record how many, first and last day."""
    told: list[tuple] = []
    for (reason, kind), some in by(rows, "reason", "kind").items():
        records = {(row["source"], row["record_id"]) for row in some if row["record_id"] is not None}
        days = sorted(row["date"] for row in some if row["date"])
        ends = [int(day[8:]) for day in dict.fromkeys((days[0], days[-1]))] if days else []
        told.append((REASONS.index(reason), KINDS.index(kind) if kind else len(KINDS), len(records), ends))
    shown = sorted(one for one in told if one[2])
    return [number for _, _, count, ends in shown for number in (count, *ends)]


def month_name(month: str) -> str:
    """``2026-10`` → October 2026"""
    year, number = month.split("-")
    return f"{MONTHS[int(number) - 1]} {year}"


def _shorter(name: str, left: dict) -> str:
    """The label without its type, or the one with it: a type that only the month before had makes labels longer."""
    words = {kind.lower() for kind in TYPE_NAMES.values()}

    def bare(label: str) -> str:
        return " ".join(word for word in label.lower().split() if word not in words)

    return next((label for label, sums in left.items() if sums and bare(label) == bare(name)), "")


def _taxes(rows: Iterable[dict]) -> dict[str, dict[str, list[list]]]:
    """Level → name → [amount, base, quantity, unit, jurisdiction] of each jurisdiction."""
    found: dict = defaultdict(lambda: defaultdict(list))
    for (level, item, place), some in by(rows, "tax_level", "item", "jurisdiction").items():
        based = [row for row in some if row["base"] is not None]
        units = {row["unit"] for row in some}
        one = [total(some, "amount"), total(based, "base") if based else None, int(total(some, "quantity")),
               units.pop() if len(units) == 1 else None, presentable(place or "")]  # fmt: skip
        found[level or "other"][presentable(item or "Tax")].append(one)
    return found


def part_name(row: dict[str, Any], several: bool) -> str:
    """What the page calls a line's part."""
    kind = TYPE_NAMES.get(row["type"], row["type"] or "")
    if row["item"]:
        return CLASS_NAMES.get(row["item"], "") if row["line"] == "number" and row["item"] in CLASS_NAMES else plain(
            item_name(row["line"], row["item"]))  # fmt: skip
    way = {"outbound": "sent", "inbound": "received"}.get(row["direction"], "")
    if row["line"] == "carrier_fee":
        unknown = "" if row["direction"] == "inbound" else "registration unknown"
        known = {True: "registered", False: "unregistered", None: unknown}[row["registered"]]
        return ", ".join(filter(None, (f"{kind} {way}".strip(), known))) or "Other"
    if row["line"] == "text":
        return (f"{kind} {way}" if several and kind else way.capitalize()).strip() or "Other"
    direction = (row["direction"] or "").capitalize()
    return (f"{kind} {direction.lower()}".strip() if several else direction or kind) or "Other"
