"""One page and the rows it was made from: how a printed text is set beside the values it should have."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

from etl.money import minor_digits
from reports.verify.book import Book
from reports.verify.markup import Cell, Marks, Reader, Row, marks, plain
from reports.verify.package import Rows
from reports.verify.sums import PRODUCTS, rounded, total


class Printed:
    """A page being compared with its files."""

    def __init__(self, folder: Path, tables: dict[str, Rows], said: dict[str, Any], book: Book, reader: Reader) -> None:
        self.folder, self.tables, self.said, self.book, self.reader = folder, tables, said, book, reader
        self.currency = said["currency"]
        self.marks: Marks = marks(reader, minor_digits(self.currency))
        self.lines = tables["charges.csv"]
        self.usage = [row for row in self.lines if row["section"] == "usage"]
        self.total = total(self.lines, "amount")
        self.charged = total(self.usage, "amount")
        self.daily = tables["usage_daily.csv"]
        self.monthly = [row for row in tables["monthly_charges.csv"] if row["line"] not in PRODUCTS]

    # ---------------------------------------------------------------------------------------- one number, one row

    def cell(self, what: str, where: str, cell: Cell | None, *values: Decimal | int | None) -> None:
        """The numbers of one text are these, in this order. None: nothing is printed."""
        if cell is None:
            return
        cell.checked = True
        expected = [value for value in values if value is not None]
        printed = self.marks.numbers(cell.text)
        if len(printed) == len(expected) and None not in printed:
            for shown, value in zip(printed, expected, strict=True):
                self.book.same(f"page: {what}", where, shown, value)
        else:
            wanted = " and ".join(f"{value:f}" for value in map(Decimal, expected)) or "nothing"
            self.book.same(f"page: {what}", where, plain(cell.text) or "nothing", wanted)

    def row(self, what: str, row: Row, *values: Decimal | int | None, group: str = "") -> None:
        """The cells of a row from its first, the cells of a change left out."""
        cells = [cell for cell in row.cells if cell.kind == "cell"]
        head = self.reader_head(row)
        for place, (cell, value) in enumerate(zip(cells, values, strict=False)):
            self.cell(what, f"{group + ' / ' if group else ''}{head}, column {place + 2}", cell, value)

    @staticmethod
    def reader_head(row: Row) -> str:
        return row.name or row.day

    def sub(self, what: str, row: Row, *values: Decimal | int | None) -> None:
        self.cell(what, f"{self.reader_head(row)}, for narrow screens", row.head.get("sub"), *values)

    def money(self, amount: Decimal) -> Decimal:
        return rounded(amount, self.currency)


def quantity(number: Decimal) -> Decimal:
    """At most two decimals, none when it is whole."""
    return number if number == number.to_integral_value() else number.quantize(Decimal("0.01"), ROUND_HALF_UP)


def nearest(sums: list, columns: list[Cell], marks: Marks, last: int = 0) -> Any:
    """Of several called the same, the one whose amount is printed, or the first; it is taken out."""
    printed = marks.numbers(columns[-1].text)
    place = -1 if last else 0
    one = next((s for s in sums if printed and s[place] == printed[0]), sums[0])
    sums.remove(one)
    return one
