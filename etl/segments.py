"""SMS segments: how many billed parts a text has, for whole columns and, explained, for one text.

The rule (3GPP TS 23.038 section 6.2.1 for the alphabet, TS 23.040 section 9.2.3.24.1 for concatenation):

* A text is **GSM-7** if every character is in the GSM default alphabet or its extension table, else **UCS-2**
  (UTF-16 in practice).
* **Units** are septets in GSM-7 (an extension character takes two: escape + character) and UTF-16 code units in
  UCS-2 (a character above U+FFFF takes two). No normalisation: CR LF is two characters, CRLF two septets.
* One part holds 160 septets or 70 units. Longer texts are filled greedily into parts of 153 septets or 67 units,
  and a two-unit character never straddles two parts, so ``ceil(units / 153)`` is not the answer.
* The empty text is GSM-7, 0 units, 1 segment. A null body has no encoding, no units and no segments.

Public API: :func:`segment_columns` and :func:`with_segments` (Polars), :func:`explain` and
:func:`render_explanation` (one text), :func:`annotate_jsonl` (a file). Polars and NumPy are imported on first use
of a column function, so that explaining one text on a command line starts quickly.
"""

from __future__ import annotations

import functools
import json
import os
import re
import secrets
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import polars as pl

GSM7 = "GSM-7"
UCS2 = "UCS-2"
ENCODINGS = (GSM7, UCS2)
"""Categories of the ``encoding`` column, in the order of its Enum."""

# TS 23.038 6.2.1. U+001B (the escape) is absent on purpose: it introduces the extension table, it is no character.
GSM_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ"
    " !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
# TS 23.038 6.2.1.1.
GSM_EXTENSION = "\f^{}\\[~]|€"

_BASIC = frozenset(GSM_BASIC)
_EXTENSION = frozenset(GSM_EXTENSION)
# By byte: 1 is an ASCII extension character, 2 is ASCII and not GSM-7, 0 is anything else.
_ASCII_KINDS = bytes(0 if c > 127 or chr(c) in _BASIC else 1 if chr(c) in _EXTENSION else 2 for c in range(256))
_EXTENDED = re.compile(f"[{re.escape(GSM_EXTENSION)}]")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


class Capacity(NamedTuple):
    """Units that fit one part, per encoding."""

    gsm7: int
    """Septets."""
    ucs2: int
    """UTF-16 code units."""


SINGLE = Capacity(160, 70)
"""A message of one part: 140 octets, no header."""
MULTI = Capacity(153, 67)
"""A part of a concatenated message: 140 octets less a 6-octet header with an 8-bit reference."""
MULTI_16BIT = Capacity(152, 66)
"""The same with a 16-bit reference (7 octets), as some routes send."""


def _check_capacity(single: Capacity, multi: Capacity) -> tuple[Capacity, Capacity]:
    """Refuse capacities that no header arithmetic yields, and that would break the greedy fill."""
    single, multi = Capacity(*single), Capacity(*multi)
    for one, many in zip(single, multi, strict=True):
        if not 2 <= many <= one:
            raise ValueError(f"a part must hold 2 units or more and not exceed a single message: {single}, {multi}")
    return single, multi


# ------------------------------------------------------------------------------------------------------------------
# Columns
# ------------------------------------------------------------------------------------------------------------------


def _escaped(characters: str) -> str:
    return "".join(f"\\x{{{ord(c):x}}}" for c in characters)


def _any_of(characters: str) -> str:
    """A regex for one of `characters`.

    Small groups in alternation let the regex engine extract literals and scan for bytes; one large class falls back
    to its automaton, which is two to three times slower.
    """
    return "|".join(f"([{_escaped(characters[i : i + 5])}])" for i in range(0, len(characters), 5))


_ASCII_SPECIAL = _any_of("".join(chr(c) for c in range(128) if chr(c) not in _BASIC))


@functools.cache
def segments_dtype() -> pl.Struct:
    """Type of :func:`segment_columns`: Struct(encoding Enum["GSM-7", "UCS-2"], units Int32, segments Int32)."""
    import polars as pl

    return pl.Struct({"encoding": pl.Enum(ENCODINGS), "units": pl.Int32, "segments": pl.Int32})


def segment_columns(body: pl.Expr | str = "body", *, single: Capacity = SINGLE, multi: Capacity = MULTI) -> pl.Expr:
    """Encoding, units and segments of a column of texts.

    In: `body`, String (a column name or an expression). Out: Struct named ``segments`` with ``encoding``
    Enum["GSM-7", "UCS-2"], ``units`` Int32 (septets or UTF-16 code units), ``segments`` Int32 (parts). A null body
    gives a struct of nulls, an empty one GSM-7, 0, 1. Elementwise: it streams, and keeps the order of the rows.
    Polars sums Int32 in Int32: cast to Int64 before summing many rows.

    Raises ValueError on an impossible `single` or `multi`, and when the query runs
    polars.exceptions.SchemaError if `body` is not a String column.
    """
    import polars as pl

    single, multi = _check_capacity(single, multi)
    expr = pl.col(body) if isinstance(body, str) else body
    kernel = functools.partial(_segment_series, single=single, multi=multi)
    return expr.map_batches(kernel, return_dtype=segments_dtype(), is_elementwise=True).alias("segments")


def with_segments(
    frame: pl.LazyFrame, body: pl.Expr | str = "body", *, single: Capacity = SINGLE, multi: Capacity = MULTI
) -> pl.LazyFrame:
    """`frame` with the columns ``encoding``, ``units`` and ``segments`` of `body` appended.

    Types, units and errors as in :func:`segment_columns`. Computed once per batch; columns of these names that are
    already there raise polars.exceptions.DuplicateError when the query runs.
    """
    return frame.with_columns(segment_columns(body, single=single, multi=multi).alias("__segments")).unnest(
        "__segments"
    )


def _segment_series(body: pl.Series, *, single: Capacity, multi: Capacity) -> pl.Series:
    """The kernel: String in, :func:`segments_dtype` out, in the order of the rows."""
    import numpy as np
    import polars as pl

    if body.dtype == pl.Null:
        body = body.cast(pl.String)
    if body.dtype != pl.String:
        raise pl.exceptions.SchemaError(f"segments need a String column, not {body.dtype}")
    ucs2 = np.zeros(len(body), dtype=np.bool_)
    units, wide = np.zeros(len(body), dtype=np.int32), np.zeros(len(body), dtype=np.int32)
    for i in range(0, len(body), _SLICE_ROWS):
        rows = slice(i, i + _SLICE_ROWS)
        _scan(body[rows], ucs2[rows], units[rows], wide[rows])

    segments = np.ones(len(body), dtype=np.int32)
    long = np.flatnonzero(np.where(ucs2, units > single.ucs2, units > single.gsm7))
    long_ucs2 = ucs2[long]
    # One capacity at a time: NumPy divides by a scalar several times faster than by an array.
    for rows, many, is_ucs2 in ((long[~long_ucs2], multi.gsm7, False), (long[long_ucs2], multi.ucs2, True)):
        u, w = units[rows], wide[rows]
        least = (u + (many - 1)) // many
        segments[rows] = least
        # A part falls short of `many` by one unit at most, and only before a wide character.
        open_rows = rows[u + np.minimum(w, least) > least * many]
        if len(open_rows):
            segments[open_rows] = [_greedy_count(t, is_ucs2, many) for t in body.gather(open_rows).to_list()]

    gsm7_name, ucs2_name = _names()
    encoding = ucs2_name.zip_with(pl.Series(ucs2), gsm7_name)
    columns = pl.DataFrame([encoding, pl.Series("units", units), pl.Series("segments", segments)])
    if body.null_count():
        columns = columns.select(pl.when(body.is_not_null()).then(pl.all()))
    return columns.to_struct(body.name)


_SLICE_ROWS = 131_072
"""Rows scanned at a time, so that the temporaries stay small."""


def _scan(body: pl.Series, ucs2, units, wide) -> None:
    """Fill in, for some rows: UCS-2 or not (NumPy bool), units and wide characters (NumPy int32); all zero before.

    Most texts are plain ASCII, so each step looks only at the rows that the step before left open: filtered, not
    masked, for a regex still visits the text under a mask. A null counts nothing.
    """
    import numpy as np
    import polars as pl

    characters = body.str.len_chars()
    # More bytes than characters means not ASCII; the byte length is stored, so this costs nothing.
    not_ascii = body.str.len_bytes() != characters
    if body.null_count():
        characters, not_ascii = characters.fill_null(0), not_ascii.fill_null(False)
    units[:] = characters.to_numpy()

    beyond = body.filter(not_ascii)
    if len(beyond):
        rows = np.flatnonzero(not_ascii.to_numpy())
        ucs2[rows], wide[rows] = _beyond_ascii(beyond)

    gsm7 = ~ucs2
    body = body.filter(pl.Series(gsm7))
    special = body.str.contains(_ASCII_SPECIAL)
    if special.null_count():
        special = special.fill_null(False)
    found = body.filter(special)
    if len(found):
        rows = np.flatnonzero(gsm7)[special.to_numpy()]
        bad, extended = _within_ascii(found)
        wide[rows] += extended
        # What becomes UCS-2 only here has no character above U+FFFF, or it would be already.
        ucs2[rows[bad]] = True
        wide[rows[bad]] = 0
    units += wide


@functools.cache
def _names() -> tuple[pl.Series, pl.Series]:
    """The encodings as columns of one row, GSM-7 and UCS-2, to be repeated."""
    import polars as pl

    gsm7, ucs2 = (pl.Series("encoding", [name], dtype=pl.Enum(ENCODINGS)) for name in ENCODINGS)
    return gsm7, ucs2


def _buffers(body: pl.Series):
    """The UTF-8 of all rows end to end (NumPy uint8) and the edges of the rows in it (NumPy int64, one more)."""
    import numpy as np

    # Arrow large_string in one chunk: 64-bit offsets, and possibly more text than these rows.
    array = body.to_arrow()
    _, offsets, data = array.buffers()
    edges = np.frombuffer(offsets, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    return np.frombuffer(data, dtype=np.uint8)[edges[0] : edges[-1]], edges - edges[0]


def _rows_of(hits, edges):
    """The row in which each of `hits` (positions in the text) lies."""
    import numpy as np

    return np.searchsorted(edges, hits, side="right") - 1


@functools.cache
def _lead_kinds():
    """By the first two UTF-8 bytes of a character from U+0080 to U+FFFF, first * 256 + second (NumPy uint8).

    0 is in the default alphabet, 1 needs the third byte (U+2080 to U+20BF, the euro sign among them), 2 is not GSM-7.
    """
    import numpy as np

    kinds = np.full(1 << 16, 2, dtype=np.uint8)
    for character in GSM_BASIC:
        if len(encoded := character.encode()) == 2:
            kinds[int.from_bytes(encoded)] = 0
    kinds[0xE282] = 1
    return kinds


@functools.cache
def _gsm7_leads():
    """By byte (NumPy bool): a GSM-7 character beyond ASCII begins with it."""
    import numpy as np

    leads = np.zeros(256, dtype=np.bool_)
    leads[[c.encode()[0] for c in GSM_BASIC + GSM_EXTENSION if ord(c) > 127]] = True
    return leads


def _within_ascii(body: pl.Series):
    """Of texts with a special ASCII character each: UCS-2 for one of them (NumPy bool), how many extend (int)."""
    import numpy as np

    text, edges = _buffers(body)
    kind = np.frombuffer(text.tobytes().translate(_ASCII_KINDS), dtype=np.uint8)
    bad = np.maximum.reduceat(kind, edges[:-1]) == 2
    return bad, np.bincount(_rows_of(np.flatnonzero(kind == 1), edges), minlength=len(body))


def _beyond_ascii(body: pl.Series):
    """Of texts that are not ASCII: UCS-2 for that (NumPy bool), their wide characters beyond ASCII (NumPy int).

    The greatest byte of a text is the first of a character. If no GSM-7 character begins with it, the text is UCS-2;
    that settles every text in another script or with an emoji. Only of the others is each character looked at.
    """
    import numpy as np
    import polars as pl

    text, edges = _buffers(body)
    greatest = np.maximum.reduceat(text, edges[:-1])
    ucs2 = ~_gsm7_leads()[greatest]
    wide = np.zeros(len(body), dtype=np.int32)
    astral = greatest >= 0xF0
    rows = np.flatnonzero(astral)
    if len(rows):
        text, edges = _buffers(body.filter(pl.Series(astral)))
        wide[rows] = np.bincount(_rows_of(np.flatnonzero(text >= 0xF0), edges), minlength=len(rows))
    rows = np.flatnonzero(~ucs2)
    if len(rows):
        text, edges = _buffers(body.filter(pl.Series(~ucs2)))
        leads = np.flatnonzero(text >= 0xC0)
        kind = _lead_kinds()[(text[leads].astype(np.uint16) << 8) | text[leads + 1]]
        unsure = np.flatnonzero(kind == 1)
        if len(unsure):
            kind[unsure[text[leads[unsure] + 2] != 0xAC]] = 2
            # In GSM-7 the euro sign takes two units.
            wide[rows] = np.bincount(_rows_of(leads[kind == 1], edges), minlength=len(rows))
        bad = rows[_rows_of(leads[kind == 2], edges)]
        ucs2[bad] = True
        wide[bad] = 0
    return ucs2, wide


def _greedy_count(text: str, ucs2: bool, capacity: int) -> int:
    """Parts of a text longer than one, stepping from cut to cut; only for the few rows that dividing leaves open.

    In UTF-16 a wide character is a surrogate pair; for GSM-7 an extension character stands in as one.
    """
    if not ucs2:
        text = _EXTENDED.sub("\U00010000", text)
    upper_bytes = text.encode("utf-16-be")[::2]
    parts, cut = 1, capacity
    while cut < len(upper_bytes):
        if 0xDC <= upper_bytes[cut] <= 0xDF:
            # The second half of a pair must not begin a part.
            cut -= 1
        parts += 1
        cut += capacity
    return parts


# ------------------------------------------------------------------------------------------------------------------
# One text, explained
# ------------------------------------------------------------------------------------------------------------------

# Characters whose compatibility decomposition does not already lead to the GSM alphabet. "" drops one that is
# invisible; the Greek capitals are drawn like the Latin ones, as handsets send them.
_LOOK_ALIKES = {
    **dict.fromkeys("‘’‚‛′`´ʹʻʼʽˈ", "'"),
    **dict.fromkeys("“”„‟″«»", '"'),
    **dict.fromkeys("‐‑‒–—―−⁃", "-"),
    **dict.fromkeys("•‣●▪∙⋅·∗", "*"),
    **dict.fromkeys("‹〈", "<"),
    **dict.fromkeys("›〉", ">"),
    **dict.fromkeys("\u2028\u2029\x85\x0b", "\n"),
    **dict.fromkeys("\t\u1680", " "),
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX", strict=True)),
    **{"×": "x", "÷": "/", "⁄": "/", "∕": "/", "∼": "~", "¦": "|", "¢": "c", "©": "(C)", "®": "(R)", "µ": "u"},
    **{"μ": "u", "ı": "i", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "ħ": "h", "Ħ": "H"},
    **{"þ": "th", "Þ": "Th", "œ": "oe", "Œ": "OE", "ŋ": "n", "Ŋ": "N", "ẞ": "SS", "№": "No", "✓": "OK", "✔": "OK"},
}

_CONTROL_NAMES = {
    "\x00": "NULL",
    "\x07": "BELL",
    "\x08": "BACKSPACE",
    "\t": "CHARACTER TABULATION",
    "\x0b": "LINE TABULATION",
    "\f": "FORM FEED",
    "\x1b": "ESCAPE",
    "\x7f": "DELETE",
    "\x85": "NEXT LINE",
}
_CATEGORY_NAMES = {"Cc": "CONTROL CHARACTER", "Cs": "LONE SURROGATE", "Co": "PRIVATE USE", "Cn": "UNASSIGNED"}


@dataclass(frozen=True, slots=True)
class CostlyCharacter:
    """A character that costs more than one unit would."""

    character: str
    code_point: str
    """``U+2019``."""
    name: str
    """Its Unicode name, or what it is if it has none (a control character, a lone surrogate)."""
    count: int
    positions: tuple[int, ...]
    """Where, in characters (code points) from 0."""
    replacement: str | None
    """UCS-2: what reads alike in GSM-7, "" if it can only be removed. GSM-7: None."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """A UCS-2 text without the characters that made it one."""

    text: str
    units: int
    """Septets."""
    segments: int
    readable: bool
    """False if letters or digits had to be removed: the text needs UCS-2, and this count is no advice."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a text has the segments it has."""

    encoding: str
    """``GSM-7`` or ``UCS-2``."""
    units: int
    """Septets or UTF-16 code units."""
    segments: int
    parts: tuple[str, ...]
    """The text as it is cut; joined, it is the text again."""
    part_units: tuple[int, ...]
    costly: tuple[CostlyCharacter, ...]
    """In order of appearance. UCS-2: all that forced it. GSM-7: extension characters, which count two septets."""
    alternative: Alternative | None
    """What the count would be in GSM-7; None if the text is GSM-7 already."""


def explain(text: str, *, single: Capacity = SINGLE, multi: Capacity = MULTI) -> Explanation:
    """Encoding, units, segments and parts of one text, and the characters that cost.

    A lone surrogate (possible in a Python string, not in UTF-8) counts as one UTF-16 unit. Raises ValueError on an
    impossible `single` or `multi`, TypeError if `text` is not a string.
    """
    if not isinstance(text, str):
        raise TypeError(f"explain needs a string, not {type(text).__name__}")
    single, multi = _check_capacity(single, multi)
    offenders: dict[str, list[int]] = {}
    extended: dict[str, list[int]] = {}
    for position, character in enumerate(text):
        if character in _BASIC:
            continue
        found = extended if character in _EXTENSION else offenders
        found.setdefault(character, []).append(position)
    if offenders:
        parts, part_units = _split(text, _ASTRAL, single.ucs2, multi.ucs2)
        costly = tuple(_costly(c, where, _look_alike(c)) for c, where in offenders.items())
    else:
        parts, part_units = _split(text, _EXTENDED, single.gsm7, multi.gsm7)
        costly = tuple(_costly(c, where, None) for c, where in extended.items())
    return Explanation(
        encoding=UCS2 if offenders else GSM7,
        units=sum(part_units),
        segments=len(parts),
        parts=parts,
        part_units=part_units,
        costly=costly,
        alternative=_alternative(text, single, multi) if offenders else None,
    )


def _split(text: str, wide: re.Pattern[str], single: int, multi: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The greedy fill: parts and the units of each. An empty text is one empty part."""
    doubled = frozenset(wide.findall(text))
    total = sum(2 if c in doubled else 1 for c in text)
    if total <= single:
        return (text,), (total,)
    parts, units = [], []
    start = used = 0
    for position, character in enumerate(text):
        cost = 2 if character in doubled else 1
        if used + cost > multi:
            parts.append(text[start:position])
            units.append(used)
            start, used = position, 0
        used += cost
    parts.append(text[start:])
    units.append(used)
    return tuple(parts), tuple(units)


def _costly(character: str, positions: list[int], replacement: str | None) -> CostlyCharacter:
    name = (
        unicodedata.name(character, None)
        or _CONTROL_NAMES.get(character)
        or _CATEGORY_NAMES.get(unicodedata.category(character), "UNNAMED")
    )
    return CostlyCharacter(character, f"U+{ord(character):04X}", name, len(positions), tuple(positions), replacement)


@functools.cache
def _look_alike(character: str) -> str:
    """The nearest text in the GSM alphabet, "" if there is none."""
    known = _LOOK_ALIKES.get(character)
    if known is not None:
        return known
    # Compatibility decomposition turns letters with marks, ligatures, wide forms and odd spaces into plain ones.
    plain = []
    for piece in unicodedata.normalize("NFKD", character):
        piece = _LOOK_ALIKES.get(piece, piece)
        if all(c in _BASIC or c in _EXTENSION for c in piece):
            plain.append(piece)
        elif not unicodedata.category(piece).startswith("M"):
            return ""
    return "".join(plain)


def _alternative(text: str, single: Capacity, multi: Capacity) -> Alternative:
    # Composed first: e + combining acute is é, which GSM-7 has.
    composed = unicodedata.normalize("NFC", text)
    readable = True
    pieces = []
    for character in composed:
        if character in _BASIC or character in _EXTENSION:
            pieces.append(character)
            continue
        piece = _look_alike(character)
        if not piece and unicodedata.category(character)[0] in "LN":
            readable = False
        pieces.append(piece)
    plain = "".join(pieces)
    parts, units = _split(plain, _EXTENDED, single.gsm7, multi.gsm7)
    return Alternative(plain, sum(units), len(parts), readable)


def _shown(text: str) -> str:
    """`text` safe for a terminal: what does not print (controls, escapes, bidi marks, surrogates) as an escape."""
    return "".join(
        "\\\\" if c == "\\" else c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def render_explanation(explanation: Explanation) -> str:
    """The explanation as lines of plain text for a terminal, without a final line break.

    Positions are counted from 1. Characters that do not print are shown as escapes, and a backslash as two. At most
    20 parts, 20 characters and 5 positions of each are listed; the rest is counted.
    """
    e = explanation
    unit = "septet" if e.encoding == GSM7 else "unit"
    lines = [f"{e.encoding}, {_plural(e.units, unit)}, {_plural(e.segments, 'segment')}"]
    if e.segments > 1:
        lines.append("")
        for number, (part, units) in enumerate(zip(e.parts[:20], e.part_units, strict=False), 1):
            lines.append(f"  part {number}, {_plural(units, unit)}: {_shown(part)}")
        if e.segments > 20:
            lines.append(f"  and {_plural(e.segments - 20, 'more part')}")
    if e.costly:
        lines.append("")
        lines.append("These characters force UCS-2:" if e.alternative else "These characters count double:")
        for c in e.costly[:20]:
            where = ", ".join(f"{p + 1:,}" for p in c.positions[:5]) + (", ..." if c.count > 5 else "")
            # A combining mark alone would print over the space before it.
            mark = unicodedata.category(c.character).startswith("M")
            symbol = f"\\u{ord(c.character):04x}" if mark else _shown(c.character)
            line = f"  {symbol}  {c.code_point} {c.name}, {_plural(c.count, 'time')}, at {where}"
            if c.replacement:
                line += f"; in GSM-7: {_shown(c.replacement)}"
            lines.append(line)
        if len(e.costly) > 20:
            lines.append(f"  and {_plural(len(e.costly) - 20, 'more character')}")
    if e.alternative:
        lines.append("")
        a = e.alternative
        if not a.readable:
            lines.append("Some of them are letters without a look-alike in GSM-7: this text needs UCS-2.")
        else:
            saved = e.segments - a.segments
            gain = f"{_plural(saved, 'segment')} saved" if saved > 0 else "no segment saved"
            lines.append(
                f"With look-alikes, or without them: {GSM7}, {_plural(a.units, 'septet')}, "
                f"{_plural(a.segments, 'segment')} ({gain})"
            )
            lines.append(f"  {_shown(a.text)}")
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------------------------
# A file of JSON lines
# ------------------------------------------------------------------------------------------------------------------

_ADDED = ("encoding", "units", "segments")
_BATCH_BYTES = 4 << 20
_SURROGATE = re.compile("[\ud800-\udfff]")
_SPACE = re.compile(r"[ \t\r\n]*")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# The line is written back as it came, so the value of a number is never needed, only that it is no string.
_DECODER = json.JSONDecoder(parse_int=len, parse_float=len, parse_constant=_refuse_constant)


def annotate_jsonl(
    path_in: str | Path,
    path_out: str | Path,
    progress: Callable[[int, int], None] | None = None,
    *,
    single: Capacity = SINGLE,
    multi: Capacity = MULTI,
) -> int:
    """Append ``encoding``, ``units`` and ``segments`` to every line of a JSON-lines file; returns the lines written.

    In: UTF-8, one JSON object a line, with a ``body`` that is a string or null. Out: the same lines in the same
    order, everything else in them byte for byte (members of the three names are replaced), plus ``encoding``
    "GSM-7" or "UCS-2", ``units`` (septets or UTF-16 code units), ``segments``; null all three for a null body. An
    escaped lone surrogate ("\\ud800"), which UTF-8 cannot hold, counts as one UTF-16 unit.

    `progress` is called after each batch with the lines and the bytes read so far. Memory is bounded by the batch
    (4 MiB of lines) and the longest line. The two paths may be the same.

    Raises ValueError, naming file and line, if a line is not UTF-8, not a JSON object, or its body is missing or
    neither string nor null; OSError if a file cannot be read or written. After an error `path_out` is as it was.
    """
    single, multi = _check_capacity(single, multi)
    path_in, path_out = Path(path_in), Path(path_out)
    # Beside the target: os.replace is atomic only within one file system.
    unfinished = path_out.with_name(f".{path_out.name}.{secrets.token_hex(4)}.tmp")
    lines = read = 0
    try:
        with path_in.open("rb") as source, unfinished.open("xb") as target:
            while batch := source.readlines(_BATCH_BYTES):
                read += sum(map(len, batch))
                target.writelines(_annotate(batch, path_in, lines + 1, single, multi))
                lines += len(batch)
                if progress is not None:
                    progress(lines, read)
            target.flush()
            os.fsync(target.fileno())
        unfinished.replace(path_out)
    finally:
        unfinished.unlink(missing_ok=True)
    return lines


def _annotate(lines: list[bytes], path: Path, first: int, single: Capacity, multi: Capacity) -> list[bytes]:
    import polars as pl

    texts, bodies = [], []
    for number, line in enumerate(lines, first):
        try:
            text, body = _parse(line)
        except (ValueError, RecursionError) as error:
            # Not chained, and never the text: a message body has no place in a log.
            raise ValueError(f"{path}, line {number}: {_reason(error)}") from None
        texts.append(text)
        bodies.append(body)
    try:
        column = pl.Series("body", bodies, dtype=pl.String)
    except UnicodeEncodeError:
        # U+FFFD counts like a lone surrogate: one unit, not GSM-7.
        column = pl.Series("body", [b and _SURROGATE.sub("\ufffd", b) for b in bodies], dtype=pl.String)
    counts = _segment_series(column, single=single, multi=multi).struct.unnest()
    annotated = []
    for text, row in zip(texts, counts.iter_rows(), strict=True):
        encoding, units, segments = row
        if encoding is None:
            added = '"encoding": null, "units": null, "segments": null'
        else:
            added = f'"encoding": "{encoding}", "units": {units}, "segments": {segments}'
        end = text.rindex("}")
        annotated.append(f"{text[:end]}, {added}{text[end:]}".encode())
    return annotated


def _parse(line: bytes) -> tuple[str, str | None]:
    """A line as (its text, without members of the names that will be added; its body)."""
    text = line.decode("utf-8")
    record = _DECODER.decode(text)
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    if "body" not in record:
        raise ValueError('"body" is missing')
    body = record["body"]
    if not (body is None or isinstance(body, str)):
        raise ValueError('"body" is neither a string nor null')
    if any(name in record for name in _ADDED):
        text = _without_added(text)
    return text, body


def _without_added(text: str) -> str:
    """The text of a valid JSON object less its members of the names that will be added; the others as written."""
    kept = []
    position = start = text.index("{") + 1
    while True:
        key, position = json.decoder.scanstring(text, _SPACE.match(text, position).end() + 1)
        colon = _SPACE.match(text, position).end()
        _, position = _DECODER.scan_once(text, _SPACE.match(text, colon + 1).end())
        if key not in _ADDED:
            kept.append(text[start:position])
        position = _SPACE.match(text, position).end()
        if text[position] == "}":
            return text[: text.index("{") + 1] + ",".join(kept) + text[position:]
        position = start = position + 1


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not valid JSON ({error.msg}, column {error.colno})"
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 (byte {error.start + 1})"
    if isinstance(error, RecursionError):
        return "not valid JSON (nested too deeply)"
    return str(error)
