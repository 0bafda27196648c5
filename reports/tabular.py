"""How a file beside a page is written: CSV from rows or from a frame, Parquet, and what its dictionary says of it.

RFC 4180, CRLF, UTF-8 without a byte order mark. Numbers have a point and neither symbols nor thousands marks; an empty
cell is unknown or does not apply, never zero. The same content gives the same bytes.

A text cell that a spreadsheet would run as a formula gets one apostrophe in front, and so does one that begins with an
apostrophe already: taking one leading apostrophe off every text cell that has one restores every value. Parquet runs
nothing, so texts stand there as they are.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from reports.pages import FileInfo

DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")
_DANGEROUS = "^[" + "".join(f"\\x{{{ord(start):x}}}" for start in DANGEROUS) + "]"
CSV, GZIP, PARQUET, JSON = "text/csv", "application/gzip", "application/vnd.apache.parquet", "application/json"
ROW_GROUP = 122_880


def neutralise(text: str) -> str:
    """A text that no spreadsheet runs as a formula; `restore` gives the original back."""
    return "'" + text if text.startswith(DANGEROUS) else text


def restore(cell: str) -> str:
    return cell[1:] if cell.startswith("'") else cell


@dataclass(frozen=True)
class Column:
    """One column of a file, as its dictionary describes it."""

    name: str
    type: str
    description: str
    required: bool = True
    enum: tuple[str, ...] = ()

    @property
    def is_text(self) -> bool:
        """Whether somebody else may have written what stands in it."""
        return self.type == "string" and not self.enum

    def as_field(self) -> dict[str, Any]:
        constraints: dict[str, Any] = {"required": True} if self.required else {}
        if self.enum:
            constraints["enum"] = list(self.enum)
        described = {"name": self.name, "type": self.type, "description": self.description}
        return described | ({"constraints": constraints} if constraints else {})


@dataclass(frozen=True)
class File:
    """A finished file: bytes, and what the page and the dictionary say of them. ``more`` stands in the dictionary too."""

    name: str
    what: str
    data: bytes = field(repr=False)
    columns: tuple[Column, ...] = ()
    key: tuple[str, ...] = ()
    rows: int | None = None
    media_type: str = CSV
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def info(self) -> FileInfo:
        return FileInfo(self.name, self.what, self.rows, len(self.data), self.sha256)


# ------------------------------------------------------------------------------------------------ from rows


def from_rows(name: str, what: str, columns: tuple[Column, ...], key: tuple[str, ...], rows: Iterable[list]) -> File:
    """A CSV file of a page's rows: one value for each column."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow([column.name for column in columns])
    texts = [column.is_text for column in columns]
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


# ------------------------------------------------------------------------------------------------ from frames


def from_frame(
    name: str, what: str, columns: tuple[Column, ...], key: tuple[str, ...], frame: pl.DataFrame, decimals: int, **more
) -> File:
    """A CSV file of a frame with just these columns. Amounts have at least ``decimals`` decimals and no zeros after."""
    types = frame.select(column.name for column in columns).schema
    cells = frame.select(_cells(column, types[column.name], decimals) for column in columns)
    data = cells.write_csv(line_terminator="\r\n", quote_style="necessary").encode()
    return File(name, what, data, columns, key, frame.height, **more)


def gzipped(file: File) -> File:
    """The same file as ``.gz``. Neither a time nor a name is in it."""
    return replace(file, name=f"{file.name}.gz", data=gzip.compress(file.data, 6, mtime=0), media_type=GZIP)


def _cells(column: Column, dtype: pl.DataType, decimals: int) -> pl.Expr:
    value = pl.col(column.name)
    if isinstance(dtype, pl.Decimal):
        text, spare = value.cast(pl.String), dtype.scale - (decimals or -1)
        value = text
        if spare > 0:
            value = text.str.head(-spare) + text.str.tail(spare).str.strip_chars_end("0").str.strip_chars_end(".")
    elif isinstance(dtype, pl.Datetime):
        value = value.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    elif column.is_text:
        value = pl.when(value.str.contains(_DANGEROUS)).then(pl.lit("'") + value).otherwise(value)
    return value.alias(column.name)


def parquet(name: str, what: str, columns: tuple[Column, ...], frame: pl.DataFrame, **about: str) -> File:
    """A Parquet file of a frame: decimals, dates and UTC times as such. Its metadata holds ``about`` and, as JSON under
    ``columns``, what every column means."""
    buffer = io.BytesIO()
    described = {column.name: column.description for column in columns}
    frame.select(*described).rechunk().write_parquet(
        buffer,
        compression="zstd",
        compression_level=1,
        statistics=True,
        row_group_size=ROW_GROUP,
        metadata={**about, "columns": json.dumps(described, ensure_ascii=False)},
    )
    return File(name, what, buffer.getvalue(), columns, (), frame.height, PARQUET)
