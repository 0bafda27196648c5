"""CSV files that people edit, read one way: every cell as text, an empty or quoted-empty cell as null."""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from etl.settings import ConfigurationError

LINE = "line_number"
"""Column that says on which line of the file a row begins; errors name it."""

FREE = "note"
"""The one column that any file may have and nothing reads."""


def read(
    file: Path, columns: Sequence[str], optional: Sequence[str] = (), *, may_lack: bool = False, others: bool = False
) -> tuple[pl.DataFrame, bytes]:
    """(``line_number`` and all cells of ``columns`` and ``optional`` as String, sha256 of the file).

    A byte-order mark, any line ends, quoted cells, blank lines and rows of empty cells make no difference. An optional
    column that the file does not have is null. Columns nobody reads are refused, so that a misspelt optional one is
    noticed; ``note`` may always stand there, and anything with ``others``. With ``may_lack`` no file is (no rows, b"").

    ConfigurationError if the file is absent, empty, not UTF-8 or no CSV, lacks a column or has one too many.
    """
    wanted = [*columns, *optional]
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        if may_lack:
            return _frame([], [], wanted), b""
        raise ConfigurationError(f"{file} does not exist: its columns are {', '.join(columns)}") from None
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from None
    sha = hashlib.sha256(data).digest()
    if (frame := _plain(data, columns, optional, others)) is not None:
        return frame, sha
    rows = _rows(file, data)
    if not rows:
        raise ConfigurationError(f"{file} is empty: its first line must be {','.join(columns)}")
    (_, header), *body = rows
    names = header[: max((place for place, name in enumerate(header, 1) if name.strip()), default=0)]
    if len(names) == 1 and (mark := next((m for m in ";\t|" if m in names[0]), None)):
        raise ConfigurationError(f"{file} has {mark!r} between its cells: save it with commas")
    # A spreadsheet may save columns without a name to the right of the last; they must be empty.
    uneven = [
        f"line {line} has {len(cells)} cells"
        for line, cells in body
        if len(cells) != len(names) and (len(cells) != len(header) or any(cells[len(names) :]))
    ]
    if uneven:
        shown = ", ".join(uneven[:20]) + (f" and {len(uneven) - 20} more" if len(uneven) > 20 else "")
        raise ConfigurationError(f"{file} is not readable as CSV: {shown}; its first line has {len(names)}")
    if found := list(_header_problems(names, columns, optional, others)):
        raise ConfigurationError(f"{file} {'; '.join(found)}")
    return _frame(names, body, wanted), sha


def day(column: str) -> pl.Expr:
    """YYYY-MM-DD → Date; null for anything else."""
    written = pl.col(column).str.contains(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\z") & ~pl.col(column).str.starts_with("0000")
    return pl.when(written).then(pl.col(column)).str.to_date("%Y-%m-%d", strict=False).alias(column)


def whole(column: str) -> pl.Expr:
    """A whole number of at most nine digits → Int64; null for anything else."""
    plain = pl.col(column).str.contains(r"\A[0-9]{1,9}\z")
    return pl.when(plain).then(pl.col(column)).cast(pl.Int64, strict=False).alias(column)


def true_or_false(column: str) -> pl.Expr:
    """true and false however a spreadsheet writes them; null for anything else."""
    words = {"true": True, "false": False}
    return pl.col(column).str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean).alias(column)


_ODD = (b'"', b"\0", b"\x1c", b"\x1d", b"\x1e", b"\x1f")
"""Bytes that need a reader of CSV: quotes, and what Python takes for a space and Polars does not."""
_LONGEST = 100_000


def _plain(data: bytes, columns: Sequence[str], optional: Sequence[str], others: bool) -> pl.DataFrame | None:
    """What `read` returns of a file without a quote, all lines of which are whole; null of any other. Cut at its commas
    for all lines at once: a large rate card is read many times faster so."""
    if any(odd in data for odd in _ODD):
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = pl.DataFrame({"text": text.split("\n")}).with_row_index(LINE, offset=1)
    lines = lines.filter(pl.col("text").str.replace_all(",", "", literal=True).str.strip_chars() != "")
    if lines.is_empty():
        return None
    names = lines["text"][0].split(",")
    if any(_header_problems(names, columns, optional, others)) or len(names) < 2:
        return None
    body = lines.slice(1)
    cells = pl.col("text").str.count_matches(",", literal=True) + 1
    if not body.select(((cells == len(names)) & (pl.col("text").str.len_bytes() < _LONGEST)).all()).item():
        return None
    cut = body.select(pl.col(LINE).cast(pl.Int64), pl.col("text").str.split_exact(",", len(names) - 1).alias("cells"))
    place = {name: f"field_{i}" for i, name in enumerate(names)}
    cell = pl.col("cells").struct.field
    none = pl.lit(None, pl.String)
    return cut.select(
        LINE, *((cell(place[c]).replace("", None) if c in place else none).alias(c) for c in dict.fromkeys([*columns, *optional]))
    )


def _rows(file: Path, data: bytes) -> list[tuple[int, list[str]]]:
    """(line it begins on, cells) of every row that is not blank."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{file} line {line} is not UTF-8: save the file as CSV UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows, line = [], 1
    try:
        for cells in reader:
            if "".join(cells).strip():
                rows.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise ConfigurationError(f"{file} is not readable as CSV: line {line}: {error}") from None
    return rows


def _header_problems(
    names: Sequence[str], columns: Sequence[str], optional: Sequence[str], others: bool
) -> Iterable[str]:
    if absent := [c for c in columns if c not in names]:
        yield f"lacks the column {', '.join(absent)}"
    for place, name in enumerate(names, 1):
        if not name.strip():
            yield f"has no name over column {place}"
        elif name in names[: place - 1]:
            yield f"has the column {name} twice"
        elif not others and name not in (*columns, *optional, FREE):
            free = [c for c in (*columns, *optional) if c not in names]
            near = difflib.get_close_matches(name.strip().lower(), free, n=1)
            every = ", ".join(dict.fromkeys((*columns, *optional, FREE)))
            remedy = f"did you mean {near[0]}?" if near else f"it may have {every}"
            yield f"has a column {name!r} that nothing reads: {remedy}"


def _frame(names: Sequence[str], body: Sequence[tuple[int, list[str]]], wanted: Sequence[str]) -> pl.DataFrame:
    def cells(column: str) -> pl.Series:
        if column not in names:
            return pl.Series(column, [None] * len(body), dtype=pl.String)
        place = names.index(column)
        return pl.Series(column, [row[place] or None for _, row in body], dtype=pl.String)

    lines = pl.Series(LINE, [line for line, _ in body], dtype=pl.Int64)
    return pl.DataFrame([lines, *map(cells, dict.fromkeys(wanted))])
