"""Every published folder below one: a month, a revision, an account; and what is said of each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from reports.verify import printed, sums
from reports.verify.book import Book
from reports.verify.markup import Reader
from reports.verify.package import PACKAGE, Rows, read

MONTH = ("index.html", "statement.json", "explained.html")
ACCOUNT = ("index.html", "products.html")


def verify(root: Path) -> Iterator[Book]:
    """The checks of each folder at or below ``root``, those of an account after those of its months."""
    found = {path.parent for name in (PACKAGE, "charges.csv", "all_monthly.csv", *MONTH) for path in root.rglob(name)}
    for folder in sorted(found, key=lambda path: (-len(path.parts), path)):
        # What begins with "_" is the operator's, and no statement.
        if any(part.startswith("_") for part in folder.relative_to(root).parts):
            continue
        book = Book(str(folder.relative_to(root)))
        is_month = any((folder / name).is_file() for name in ("statement.json", "charges.csv"))
        (_month if is_month else _account)(folder, book)
        yield book


def _month(folder: Path, book: Book) -> None:
    tables = read(folder, book, MONTH)
    with book.readable("statement.json"):
        said = json.loads((folder / "statement.json").read_bytes())
        sums.check(folder, tables, said, book)
        printed.check(folder, tables, said, book)


def _account(folder: Path, book: Book) -> None:
    """All-time files against the months beside them."""
    tables = read(folder, book, ACCOUNT)
    kept: dict[str, Rows] = {"usage_daily.csv": [], "usage_by_owner.csv": []}
    totals = {}
    for month in sorted(path for path in folder.iterdir() if (path / "statement.json").is_file()):
        with book.readable(f"{month.name} can be read"):
            theirs = read(month, Book(""), MONTH, {*kept, "charges.csv"})
            for name, rows in kept.items():
                rows += theirs[name]
            totals[month.name] = sums.total(theirs["charges.csv"], "amount")
    for name, whole in (("usage_daily.csv", "all_daily.csv"), ("usage_by_owner.csv", "all_by_owner.csv")):
        with book.readable(whole):
            book.same(f"{whole} has the months' rows", "how many", len(tables[whole]), len(kept[name]))
            for mine, theirs in zip(tables[whole], kept[name], strict=False):
                book.same(f"{whole} has the months' rows", mine["date"], mine, theirs)
    with book.readable("all_monthly.csv"):
        for row in tables["all_monthly.csv"]:
            days = [day for day in kept["usage_daily.csv"] if day["date"][:7] == row["month"]]
            what = "all_monthly.csv is the months' sums"
            book.same(what, f"{row['month']} total", row["total"], totals.get(row["month"]))
            for column in sums.COUNTS:
                book.same(what, f"{row['month']} {column}", row[column] or 0, sums.total(days, column))
    with book.readable("page: explorer"):
        data = Reader((folder / "index.html").read_text(encoding="utf-8")).data
        if data is not None:
            days, owners = tables["all_daily.csv"], tables["all_by_owner.csv"]
            history = {"history_daily.csv": days, "usage_daily.csv": days, "usage_by_owner.csv": owners}
            sums.explored(data, history, "page: explorer", book)
    book.leave_out("pages: index.html and products.html", "lists of months, whose own pages were compared", 2)
