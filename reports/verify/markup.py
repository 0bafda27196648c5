"""A page as a program reads it: its sections, tables, texts and data, by the standard library's parser alone.

A text that has a digit is a `Cell`; whoever compares it marks it, so what nobody compared is known in the end.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "input", "br", "link", "img", "rect", "line", "circle", "path", "wbr", "hr"}
_ISOLATES = re.compile("[\u200e\u200f\u2066-\u2069]")
_PARTS = ("delta", "sub", "what", "tag")


@dataclass(eq=False)  # two places that say the same are still two
class Cell:
    """A text with a figure. ``kind``: cell, name, sub, what, delta, tag, drawn or text."""

    section: str
    kind: str
    text: str = ""
    checked: bool = False


@dataclass
class Row:
    """A table's row: the class, its parts by kind as texts, the day it is of, its cells."""

    kind: str
    day: str = ""
    head: dict[str, Cell] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    title: str = ""

    @property
    def name(self) -> str:
        return plain(self.head["name"].text) if "name" in self.head else ""


@dataclass
class Table:
    section: str
    caption: str = ""
    rows: list[Row] = field(default_factory=list)
    foot: list[Row] = field(default_factory=list)


class Reader(HTMLParser):
    """``tables``, ``texts`` (texts outside tables: kind is the class or the tag) and ``data`` of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.cells: list[Cell] = []
        self.tables: list[Table] = []
        self.texts: list[tuple[str, Cell]] = []
        self.data: Any = None
        self._open: list[tuple[str, str]] = []
        self._section, self._row, self._foot = "", None, False
        self._text: Cell | None = None
        self._json = ""
        self.feed(page)
        self.close()
        if self._json:
            self.data = json.loads(self._json)

    def of(self, section: str) -> list[Table]:
        return [table for table in self.tables if table.section == section]

    def said(self, section: str, kind: str) -> list[Cell]:
        """Texts of a section outside its tables, by the class or tag they stand in."""
        return [cell for where, cell in self.texts if cell.section == section and where == kind]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        kind = given.get("class", "")
        if tag == "main":
            self._section = "opening"
        elif tag == "section":
            self._section = given.get("id", "section")
        elif tag in ("header", "footer"):
            self._section = {"header": "menu"}.get(tag, tag)
        elif tag == "table":
            self.tables.append(Table(self._section))
        elif tag == "tfoot":
            self._foot = True
        elif tag == "tr" and self.tables:
            self._row = Row(kind)
            if not self._inside("thead"):
                (self.tables[-1].foot if self._foot else self.tables[-1].rows).append(self._row)
        elif tag == "td" and self._row is not None:
            self._row.cells.append(self._new("delta" if "delta" in kind.split() else "cell"))
        elif tag == "code" and self._row is not None:
            self._row.title = given.get("title", "")
        elif tag == "time" and self._row is not None:
            self._row.day = given.get("datetime", "")
        if tag in ("p", "li", "dd", "dt", "h1", "h2", "span", "b") and not self._inside("table", "svg"):
            self._text = None
        if tag not in VOID:
            self._open.append((tag, f"{kind} {given.get('type', '')}".strip()))

    def handle_endtag(self, tag: str) -> None:
        while self._open and any(name == tag for name, _ in self._open):
            name, _ = self._open.pop()
            if name == tag:
                break
        self._text = None
        if tag == "section":
            self._section = "opening"
        if tag == "tr":
            self._row = None
        elif tag == "tfoot":
            self._foot = False

    def handle_data(self, data: str) -> None:
        if self._inside("style"):
            return
        if self._inside("script"):
            if self._open[-1][1] == "application/json":
                self._json += data
            return
        if not self._section or not data.strip():
            return
        if self._inside("svg"):
            self._new("drawn").text = data
        elif self._inside("caption"):
            self.tables[-1].caption += data
        elif self._row is not None and self._inside("th"):
            inner = [word for _, kind in self._open[self._at("th") :] for word in kind.split()]
            part = next((name for name in _PARTS if name in inner), "name")
            if "mid" in inner and self._row.day:
                return
            if part not in self._row.head:
                self._row.head[part] = self._new(part)
            self._row.head[part].text += data
        elif self._row is not None and self._row.cells and self._inside("td"):
            self._row.cells[-1].text += data
        else:
            if self._text is None:
                self._text = self._new("text")
                tag, kind = self._open[-1]
                self.texts.append((kind or tag, self._text))
            self._text.text += data

    def _new(self, kind: str) -> Cell:
        self.cells.append(Cell(self._section, kind))
        return self.cells[-1]

    def _at(self, tag: str) -> int:
        return next(i for i, (name, _) in enumerate(self._open) if name == tag)

    def _inside(self, *tags: str) -> bool:
        return any(name in tags for name, _ in self._open)


def plain(text: str) -> str:
    """A text on one line, without the marks that only turn it."""
    return " ".join(_ISOLATES.sub("", text).split())


@dataclass(frozen=True)
class Marks:
    """How a page writes numbers: the mark between groups and the decimal mark, taken from the page itself. A folder does
    not say its account's locale."""

    group: str
    decimal: str

    def numbers(self, text: str) -> list[Decimal | None]:
        """Every number in a text, in its order. None for digits that are no number written this way."""
        marks = re.escape(self.group + self.decimal)
        mark = f"[{marks}]" if marks else "(?!)"
        text = _ISOLATES.sub("", text)
        return [self._read(sign, digits) for sign, digits in re.findall(rf"(−?)[^\d−]*?(\d+(?:{mark}\d+)*)", text)]

    def _read(self, sign: str, digits: str) -> Decimal | None:
        whole, _, part = digits.partition(self.decimal) if self.decimal else (digits, "", "")
        groups = whole.split(self.group) if self.group else [whole]
        lasts = groups[1:]
        if (part and not part.isdecimal()) or (lasts and (len(lasts[-1]) != 3 or len(groups[0]) > 3)):
            return None
        if any(len(group) not in (2, 3) for group in lasts):
            return None
        number = Decimal("".join(groups) + (f".{part}" if part else ""))
        return -number if sign else number


def marks(reader: Reader, digits: int) -> Marks:
    """From the explorer's data, or from what the cells look like: only a decimal mark has four digits after it."""
    if isinstance(reader.data, dict) and "marks" in reader.data:
        group, _, decimal = reader.data["marks"]
        return Marks(group, decimal)
    texts = [_ISOLATES.sub("", cell.text) for cell in reader.cells if cell.kind == "cell"]
    decimal = _commonest(texts, r"\d([^\w])\d{4}(?!\d)") or (
        _commonest(texts, rf"\d([^\w])\d{{{digits}}}(?!\d)") if digits in (1, 2) else ""
    )
    group = _commonest([text.replace(decimal, "d") if decimal else text for text in texts], r"\d([^\w])\d{3}(?!\d)")
    return Marks(group, decimal)


def _commonest(texts: Iterable[str], pattern: str) -> str:
    found = Counter(mark for text in texts for mark in re.findall(pattern, text))
    return found.most_common(1)[0][0] if found else ""
