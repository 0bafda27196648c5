"""A folder's files against its ``datapackage.json``: all there, no others, every byte and every cell as it says."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Container, Iterable
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from reports.verify.book import Book

PACKAGE = "datapackage.json"
Rows = list[dict[str, Any]]


def read(folder: Path, book: Book, beside: Iterable[str], only: Container[str] | None = None) -> dict[str, Rows]:
    """Tables of the folder by name. Cells of CSV files are typed as the dictionary says: Decimal, int, bool, text; None for
    empty.

    ``beside`` are the files that a dictionary does not list; ``only`` these are read, if it is given."""
    tables: dict[str, Rows] = {}
    listed = {PACKAGE}
    with book.readable(PACKAGE):
        for resource in json.loads((folder / PACKAGE).read_bytes())["resources"]:
            name = resource["path"]
            listed.add(name)
            there = (folder / name).is_file()
            book.same("files listed are there", name, "there" if there else "missing", "there")
            if not there:
                continue
            data = (folder / name).read_bytes()
            book.same("bytes of the files", name, len(data), resource["bytes"])
            book.same("SHA-256 of the files", name, f"sha256:{hashlib.sha256(data).hexdigest()}", resource["hash"])
            if only is not None and name not in only:
                continue
            if name.endswith((".csv", ".csv.gz")):
                with book.readable(f"{name} is a table"):
                    tables[name] = table(name, data, resource["schema"], book)
            elif name.endswith(".parquet"):
                with book.readable(f"{name} is a table"):
                    tables[name] = typed(name, data, resource["schema"], book)
    found = {path.name for path in folder.iterdir() if path.is_file()}
    strays = sorted(found - listed - set(beside))
    for name in strays:
        book.same("no other files", name, "there", "not listed")
    if not strays:
        book.same("no other files", str(folder), 0, 0)
    return tables


def table(name: str, data: bytes, schema: dict[str, Any], book: Book) -> Rows:
    """The rows of a CSV file; types, required, enum and the primary key are checked."""
    text = (gzip.decompress(data) if name.endswith(".gz") else data).decode("utf-8")
    head, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    fields = schema["fields"]
    book.same("columns of the files", name, ",".join(head), ",".join(field["name"] for field in fields))
    what, names = "cells are of their type", [field["name"] for field in fields]
    for number, line in enumerate(lines, 2):
        if len(line) != len(fields):
            book.same(what, f"{name} line {number}", f"{len(line)} cells", f"{len(fields)} cells")
    columns = list(zip(*(line for line in lines if len(line) == len(fields)), strict=True))
    read = []
    for field, cells in zip(fields, columns, strict=False):
        # Each value once: most cells of a column are alike.
        values: dict[str, Any] = {}
        for cell in dict.fromkeys(cells):
            try:
                values[cell] = _typed(field, cell)
            except (ValueError, InvalidOperation):
                values[cell] = None
                where = f"{name} line {cells.index(cell) + 2}, {field['name']}"
                book.same(what, where, repr(cell), _rule(field))
        read.append([values[cell] for cell in cells])
    rows = [dict(zip(names, row, strict=True)) for row in zip(*read, strict=True)]
    keys: set[tuple] = set()
    for number, row in enumerate(rows if "primaryKey" in schema else (), 2):
        key = tuple(row[column] for column in schema["primaryKey"])
        if key in keys:
            book.same("rows have keys of their own", f"{name} line {number}", key, "another key")
        keys.add(key)
    book.same(what, name, len(rows), len(lines))
    return rows


def typed(name: str, data: bytes, schema: dict[str, Any], book: Book) -> Rows:
    """The rows of a Parquet file; columns, required and enum are checked."""
    import polars as pl

    frame = pl.read_parquet(io.BytesIO(data))
    columns = ",".join(field["name"] for field in schema["fields"])
    book.same("columns of the files", name, ",".join(frame.columns), columns)
    for field in schema["fields"]:
        constraints, column = field.get("constraints", {}), frame[field["name"]]
        if constraints.get("required"):
            book.same("cells are of their type", f"{name} {field['name']}, empty cells", column.null_count(), 0)
        if "enum" in constraints:
            others = sorted(set(column.drop_nulls().cast(pl.String)) - set(constraints["enum"]))
            book.same("cells are of their type", f"{name} {field['name']}", ", ".join(others), "")
    return frame.to_dicts()


def _rule(field: dict[str, Any]) -> str:
    constraints = field.get("constraints", {})
    return f"a {field['type']}" + "".join(f", {key} {value}" for key, value in constraints.items())


def _typed(field: dict[str, Any], cell: str) -> Any:
    constraints = field.get("constraints", {})
    if not cell:
        if constraints.get("required"):
            raise ValueError("empty")
        return None
    if "enum" in constraints and cell not in constraints["enum"]:
        raise ValueError(cell)
    kind = field["type"]
    if kind == "boolean":
        return {"true": True, "false": False}[cell] if cell in ("true", "false") else _refuse(cell)
    if kind == "date":
        return date.fromisoformat(cell).isoformat()
    if kind == "yearmonth":
        return date.fromisoformat(f"{cell}-01").isoformat()[:7]
    if kind == "datetime":
        datetime.fromisoformat(cell)
        return cell
    if kind == "integer":
        return int(cell)
    if kind == "number":
        number = Decimal(cell)
        return number if number.is_finite() else _refuse(cell)
    return cell[1:] if cell.startswith("'") and "enum" not in constraints else cell


def _refuse(cell: str) -> None:
    raise ValueError(cell)
