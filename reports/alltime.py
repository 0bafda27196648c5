"""The account's all-time files: the published months' own CSV files, joined record by record.

No figure is computed and no cell is written anew, so what the whole says is what the months say. A file of one month is
read once: later its records are taken from the joined file, as long as that is what the account's package says it is.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from etl.lake import NotFound, Store, StoreError, each
from etl.periods import Month
from reports.links import month_folder
from reports.pages import FileInfo
from reports.shelf import WRONG, Shelf
from reports.tabular import Column, File

END = b"\r\n"


@dataclass(frozen=True)
class Kind:
    """An all-time file, the file of a month it is joined from, and what it is."""

    name: str
    source: str
    what: str


KINDS = (
    Kind("all_daily.csv", "usage_daily.csv", "Every day of every published month"),
    Kind("all_by_owner.csv", "usage_by_owner.csv", "Every day by member, shared inbox and unassigned, where there was usage"),
    Kind("all_monthly.csv", "history_monthly.csv", "Every published month, with its total"),
)  # fmt: skip


@dataclass(frozen=True)
class Joined:
    """One joined file: what a page and the package say of it, its bytes where they were made anew, and the months whose
    own file could not be read. ``made_of``: month → SHA-256 of the file its records come from."""

    kind: Kind
    info: FileInfo
    data: bytes | None
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    made_of: Mapping[str, str]
    lacking: tuple[Month, ...] = ()


def refresh(store: Store, shelf: Shelf, fresh: Mapping[str, File], month: Month) -> tuple[Joined, ...]:
    """The all-time files of the shelf. ``fresh`` are the files of ``month`` by name, which need not be read."""
    return tuple(_refreshed(store, shelf, kind, fresh[kind.source], month) for kind in KINDS)


def _refreshed(store: Store, shelf: Shelf, kind: Kind, model: File, month: Month) -> Joined:
    wanted = {str(m): shelf.summaries[m].get("files", {}).get(kind.source) for m in shelf.readable}
    before = _before(shelf.package, kind)
    known = before.made_of if before else {}
    key = f"{shelf.account_id}/{kind.name}"
    header = model.data[: model.data.index(END) + len(END)]
    usable = before is not None and key in shelf.keys and before.columns == [column.name for column in model.columns]
    if usable and known == wanted:
        return Joined(kind, before.info, None, model.columns, model.key, known)
    base = _read(store, key, before.info.sha256) if usable else None
    parts = by_month(base) if base is not None else {}

    def part(name: str) -> bytes | None:
        if name == str(month):
            return own(model.data, header, name)
        if base is not None and known.get(name) == wanted[name]:
            return parts.get(name, b"")
        data = _read(store, f"{month_folder(shelf.account_id, Month.parse(name))}/{kind.source}", wanted[name])
        return None if data is None else own(data, header, name)

    found = dict(zip(wanted, each(store, part, wanted), strict=True))
    data = header + b"".join(found[name] or b"" for name in sorted(found))
    info = FileInfo(kind.name, kind.what, sum(1 for _ in records(data)) - 1, len(data), _sha(data))
    made_of = {name: wanted[name] for name, rows in found.items() if rows is not None}
    lacking = tuple(Month.parse(name) for name, rows in found.items() if rows is None)
    return Joined(kind, info, data, model.columns, model.key, made_of, lacking)


def package(shelf: Shelf, name: str, joined: Iterable[Joined], **more: Any) -> bytes:
    """``datapackage.json`` of the account: every all-time file with its columns, hash and the months' files it is made of,
    and every month's summary with its own hash (Frictionless Data Package)."""
    document = {
        "profile": "tabular-data-package",
        "name": f"statements-{shelf.account_id}".lower(),
        "title": f"Usage and totals of {name}, all published months (UTC)",
        "text_rule": "A text cell that begins with an apostrophe has one too many: take the first one off. It keeps "
        "spreadsheets from running the text as a formula.",
        "resources": [_described(one) for one in joined],
        "months": {str(m): {"sha256": shelf.hashes[m], **shelf.summaries[m]} for m in shelf.readable},
        **more,
    }
    return json.dumps(document, ensure_ascii=False, indent=1).encode() + b"\n"


# ------------------------------------------------------------------------------------------------ records


def records(data: bytes) -> Iterator[bytes]:
    """The records of a CSV file of ours, the header first, each with its end of line. A quoted cell may hold one too."""
    held = b""
    for line in data.split(END)[:-1]:
        held += line + END
        if held.count(b'"') % 2 == 0:
            yield held
            held = b""
    if held:
        yield held


def by_month(data: bytes) -> dict[str, bytes]:
    """The records below the header by the UTC month their first cell begins with, in order."""
    found: dict[str, list[bytes]] = {}
    for number, record in enumerate(records(data)):
        if number:
            found.setdefault(record[:7].decode(), []).append(record)
    return {month: b"".join(rows) for month, rows in found.items()}


def own(data: bytes, header: bytes, month: str) -> bytes:
    """The month's records of one of its files under this header. Where the file has other columns its cells are put in
    their places as they are; what it does not have is unknown, which is an empty cell."""
    theirs = next(records(data))
    rows = by_month(data).get(month, b"")
    return rows if theirs == header else b"".join(_placed(rows, theirs, header))


def _placed(rows: bytes, theirs: bytes, header: bytes) -> Iterator[bytes]:
    have, want = (next(csv.reader([line.decode().rstrip()])) for line in (theirs, header))
    places = [have.index(name) if name in have else None for name in want]
    for cells in csv.reader(io.StringIO(rows.decode(), newline="")):
        out = io.StringIO(newline="")
        csv.writer(out, lineterminator="\r\n").writerow(["" if at is None else cells[at] for at in places])
        yield out.getvalue().encode()


# ------------------------------------------------------------------------------------------------ inside


def _described(one: Joined) -> dict[str, Any]:
    return {
        "name": one.kind.name.removesuffix(".csv").replace("_", "-"),
        "path": one.kind.name,
        "profile": "tabular-data-resource",
        "title": one.kind.what,
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "bytes": one.info.size,
        "hash": f"sha256:{one.info.sha256}",
        "rows": one.info.rows,
        "made_of": dict(sorted(one.made_of.items())),
        "dialect": {"delimiter": ",", "lineTerminator": "\r\n", "quoteChar": '"', "doubleQuote": True},
        "schema": {
            "fields": [column.as_field() for column in one.columns],
            "primaryKey": list(one.key),
            "missingValues": [""],
        },
    }


@dataclass(frozen=True)
class _Before:
    """What the package says of a file."""

    info: FileInfo
    columns: list[str]
    made_of: dict[str, str]


def _before(package: Mapping[str, Any], kind: Kind) -> _Before | None:
    """None where the package does not have the file, or is none of ours."""
    try:
        (found,) = (resource for resource in package["resources"] if resource["path"] == kind.name)
        sha256 = found["hash"].removeprefix("sha256:")
        return _Before(
            FileInfo(kind.name, kind.what, int(found["rows"]), int(found["bytes"]), sha256),
            [field["name"] for field in found["schema"]["fields"]],
            dict(found["made_of"]),
        )
    except WRONG:
        return None


def _read(store: Store, key: str, sha256: str | None) -> bytes | None:
    """The object if it is there and is what it should be."""
    try:
        data = store.get(key)
    except (NotFound, StoreError):
        return None
    return data if _sha(data) == sha256 else None


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
