"""JSON answers → frames of text. Polars reads a page at once; a page it cannot take goes through Python's json, row by row.

Every field is read as String and typed later: a schema with dates or decimals is six times slower and fails as a whole.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

INDEX = "raw_index"
PAGE = "page"
"""Which of several pages a record was on, from 0."""
PROBLEM = "problem"
"""Why a record could not be taken apart: one of PROBLEMS, null for nearly all."""

NOT_AN_OBJECT = "not_an_object"
BAD_FIELD = "bad_field"
BAD_LINE = "bad_line"
SLOW_LINES = 256
"""So few lines are taken one by one when one of them is wrong."""

# Half of a surrogate pair is no character, and NUL ends texts in tools downstream.
_UNUSABLE = re.compile("[\ud800-\udfff\x00]")


class Unreadable(Exception):
    """Not the JSON that was asked for; the text says what it is instead, never what it holds."""


class Peek(NamedTuple):
    """What paging needs to know of a page."""

    rows: int
    page: int | None
    next_uri: str | None
    ids: tuple[str | None, ...]
    dates: tuple[str | None, ...]
    """Date texts of the first and the last record."""


def peek(body: bytes, key: str, date_field: str | None, *, meta: bool = False) -> Peek:
    """The envelope of a page and its record ids, without taking the records apart. Raises Unreadable.

    ``meta``: newer APIs keep page and next_page_url in an object of that name; older ones have page and next_page_uri.
    """
    following = "next_page_url" if meta else "next_page_uri"
    if f'"{following}"'.encode() not in body:
        raise Unreadable(_looks_like(body))
    fields = {"sid": pl.String} | ({date_field: pl.String} if date_field else {})
    paging = {"page": pl.String, following: pl.String}
    schema = ({"meta": pl.Struct(paging)} if meta else paging) | {key: pl.List(pl.Struct(fields))}
    try:
        frame = pl.read_json(io.BytesIO(body), schema=schema)
        if frame.height != 1 or frame[key].null_count():
            raise Unreadable(f"no list named {key!r} in the answer")
        if meta and frame["meta"].null_count():
            raise Unreadable("no object named 'meta' in the answer")
        head = frame["meta"].struct.unnest() if meta else frame
        page, uri, records = head["page"].item(), head[following].item(), frame[key].explode().struct
        ids = records.field("sid").to_list()
        dates = records.field(date_field) if date_field else pl.Series([None] * len(ids), dtype=pl.String)
        ends = (dates.head(1).to_list() + dates.tail(1).to_list()) if len(ids) else []
    except pl.exceptions.PolarsError:
        envelope, items = _load(body, key)
        head = envelope.get("meta") if meta else envelope
        if not isinstance(head, dict):
            raise Unreadable("no object named 'meta' in the answer") from None
        page, uri = head.get("page"), head.get(following)
        objects = [r if isinstance(r, dict) else {} for r in items]
        ids = [_text(r.get("sid")) for r in objects]
        ends = [_text(r.get(date_field)) for r in (objects[0], objects[-1])] if objects and date_field else []
    if uri is not None and not isinstance(uri, str):
        raise Unreadable(f"{following} is no text")
    number = int(page) if isinstance(page, str) and page.isdecimal() and len(page) < 10 else None
    return Peek(len(ids), number, uri or None, tuple(ids), tuple(ends))


def records(body: bytes, key: str, fields: Sequence[str]) -> pl.DataFrame:
    """The records of a page: ``fields`` as String, `INDEX` (Int32 from 0) and `PROBLEM`. Raises Unreadable."""
    try:
        frame = pl.read_json(io.BytesIO(body), schema={key: pl.List(pl.Struct(dict.fromkeys(fields, pl.String)))})
        if frame.height != 1 or frame[key].null_count():
            raise Unreadable(f"no list named {key!r} in the answer")
        items = frame[key].explode()
        if items.null_count() == 0:
            rows = items.struct.unnest()
            if not suspicious(rows):
                return _numbered(rows)
    except pl.exceptions.PolarsError:
        pass  # the slow way says which record it is
    return slow(_load(body, key)[1], fields)


def together(bodies: Sequence[bytes], key: str, fields: Sequence[str]) -> pl.DataFrame | None:
    """`records` of several pages one below the other, with `PAGE` (Int32): a frame of its own for each small page costs
    more than what is in it. None if one of them needs a closer look."""
    try:
        # One array: a body that holds two values, or none, is then an error and not a lost page.
        body = b'{"x":[' + b",".join(bodies) + b"]}"
        one = pl.Struct({key: pl.List(pl.Struct(dict.fromkeys(fields, pl.String)))})
        frame = pl.read_json(io.BytesIO(body), schema={"x": pl.List(one)})
        pages = frame["x"].explode()
    except pl.exceptions.PolarsError:
        return None
    if len(pages) != len(bodies) or pages.null_count():
        return None
    lists = pages.struct.field(key)
    if lists.null_count():
        return None
    heights = lists.list.len().cast(pl.Int32)
    items = lists.filter(heights > 0).explode()
    if items.null_count():
        return None
    rows = items.struct.unnest()
    if suspicious(rows):
        return None
    place = pl.select(page=pl.int_range(len(bodies), dtype=pl.Int32), rows=heights, before=heights.cum_sum() - heights)
    page = place.filter(pl.col("rows") > 0).select(pl.col(PAGE).repeat_by("rows").explode()).to_series()
    numbered = _numbered(rows)
    return numbered.with_columns(page, pl.col(INDEX) - place["before"].gather(page))


def lines(chunk: bytes, first: int, fields: Mapping[str, str]) -> pl.DataFrame:
    """Whole lines of JSON → the same frame; records, which blank lines are not, are counted from ``first``. A broken line is a
    row with `PROBLEM` bad_line."""
    try:
        # Strict: a line that holds two values, or no object, is an error and not a lost row. Blank lines are none.
        rows = _renamed(pl.read_ndjson(chunk, schema=dict.fromkeys(fields.values(), pl.String)), fields).rechunk()
    except pl.exceptions.PolarsError:
        pass  # one of them is broken
    else:
        return _mended(_numbered(rows), _odd(rows), chunk, fields).with_columns(pl.col(INDEX) + first)
    if chunk.count(b"\n") <= SLOW_LINES:
        return _slow_lines(_texts(chunk), fields).with_columns(pl.col(INDEX) + first)
    # Halves, until what is wrong is among few: one bad line must not make a million slow.
    half = chunk.find(b"\n", len(chunk) // 2) + 1 or chunk.rfind(b"\n", 0, len(chunk) - 1) + 1
    upper = lines(chunk[:half], first, fields)
    return pl.concat([upper, lines(chunk[half:], first + upper.height, fields)])


def _renamed(rows: pl.DataFrame, fields: Mapping[str, str]) -> pl.DataFrame:
    return rows.select(pl.col(name).alias(field) for field, name in fields.items())


def _texts(chunk: bytes) -> list[bytes]:
    return [text for text in chunk.split(b"\n") if text.strip()]


def _odd(rows: pl.DataFrame) -> pl.Series:
    """Rows to be looked at more closely: `suspicious` ones, and those where an object or list may have become a text."""
    # Compared, not searched: most texts differ in their first byte. Nearly always no column has one.
    opened = [(pl.col(c) >= begin) & (pl.col(c) < chr(ord(begin) + 1)) for c in rows.columns for begin in "[{"]
    some = rows.select(expr.any().alias(str(n)) for n, expr in enumerate(opened)).row(0)
    ended = [pl.col(c).str.ends_with(end) for c in rows.columns for end in "]}"]
    nested = [a & b for a, b, any_ in zip(opened, ended, some, strict=True) if any_]
    found = [*_suspicions(rows), *nested]
    return rows.select(pl.any_horizontal(pl.lit(False), *found).fill_null(False).alias("odd")).to_series()


def _mended(rows: pl.DataFrame, odd: pl.Series, chunk: bytes, fields: Mapping[str, str]) -> pl.DataFrame:
    if not odd.any():
        return rows
    texts, numbers = _texts(chunk), odd.arg_true()
    slowly = _slow_lines([texts[n] for n in numbers], fields).with_columns(numbers.cast(pl.Int32).alias(INDEX))
    return pl.concat([rows.filter(~odd), slowly]).sort(INDEX)


def _slow_lines(texts: Sequence[bytes], fields: Mapping[str, str]) -> pl.DataFrame:
    found: list[Any] = []
    for text in texts:
        try:
            found.append(_parse(text))
        except Unreadable:
            found.append(BrokenLine)
    rows = slow(found, list(dict.fromkeys(fields.values())))
    return pl.concat([_renamed(rows, fields), rows.select(INDEX, PROBLEM)], how="horizontal")


class BrokenLine:
    """Stands for a line that is no JSON."""


def suspicious(rows: pl.DataFrame) -> bool:
    """Whether Polars may have changed a value: it reads a lone surrogate as NUL and a JSON number through a double."""
    found = _suspicions(rows)
    return bool(found) and rows.height > 0 and bool(rows.select(pl.any_horizontal(found).any()).item())


def _suspicions(rows: pl.DataFrame) -> list[pl.Expr]:
    texts = [pl.col(c).str.contains("\0", literal=True) for c in _FREE_TEXT if c in rows.columns]
    numbers = [pl.col(c) for c in ("price", "usage") if c in rows.columns]
    # Beyond what a double keeps, or written as one: only the text in the page is exact.
    exponents = [n.str.contains(e, literal=True) for n in numbers for e in "eE"]
    return texts + exponents + [n.str.len_bytes() > 16 for n in numbers]


# Kept as they are; in any other field an odd character fails that field's own test.
_FREE_TEXT = (
    "from", "to", "body", "error_code", "answered_by", "parent_call_sid", "call_sid", "phone_number", "identity",
    "category", "usage_unit", "count_unit",
)  # fmt: skip


def slow(items: Iterable[Any], fields: Sequence[str]) -> pl.DataFrame:
    """Parsed records → the frame of `records`, keeping numbers as written and making unusable text visible (U+FFFD)."""
    rows = [_row(item, fields) for item in items]
    schema = dict.fromkeys(fields, pl.String) | {PROBLEM: pl.String}
    return _numbered(pl.DataFrame(rows, schema=schema, orient="row"))


def _row(item: Any, fields: Sequence[str]) -> tuple[str | None, ...]:
    if not isinstance(item, Mapping):
        return (*(None for _ in fields), BAD_LINE if item is BrokenLine else NOT_AN_OBJECT)
    nested = any(isinstance(item.get(f), (dict, list)) for f in fields)
    return (*(_text(item.get(f)) for f in fields), BAD_FIELD if nested else None)


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return _UNUSABLE.sub("\ufffd", value)
    if isinstance(value, bool):
        return str(value).lower()
    return None  # null, or nested and reported as such


def _numbered(rows: pl.DataFrame) -> pl.DataFrame:
    problem = pl.col(PROBLEM) if PROBLEM in rows.columns else pl.lit(None, pl.String).alias(PROBLEM)
    return rows.select(pl.exclude(PROBLEM), pl.int_range(pl.len(), dtype=pl.Int32).alias(INDEX), problem)


def _load(body: bytes, key: str) -> tuple[dict, list]:
    envelope = _parse(body)
    if not isinstance(envelope, dict) or not isinstance(envelope.get(key), list):
        raise Unreadable(f"no list named {key!r} in the answer")
    return envelope, envelope[key]


def _parse(body: bytes) -> Any:
    text = body.decode("utf-8", errors="replace").removeprefix("\ufeff")
    try:
        # Numbers stay as written; first of two equal keys wins, as Polars has it.
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_first_wins)
    except (ValueError, RecursionError):
        raise Unreadable(_looks_like(body)) from None


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def _looks_like(body: bytes) -> str:
    start = body[:64].lstrip().lower()
    if not start:
        return "an empty answer"
    if start.startswith(b"<"):
        return "a web page instead of JSON"
    return f"{len(body)} bytes that are not a whole JSON page"
