"""Publishing what operators read: one page a month below a prefix that no account's id can begin with.

::

    _operator/<YYYY-MM>/…csv, operations.json    the files, and what menus and monitors need to know
    _operator/<YYYY-MM>/index.html               the month
    _operator/index.html                         the newest month, last

No page of an account leads here, and nothing here leads to an account's page.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from etl.lake import Store, StoreError
from etl.operations import Operations
from etl.periods import Month
from reports import pages
from reports.formats import Formats
from reports.links import PAGE
from reports.menus import NEWEST
from reports.naming import masked
from reports.operator import files, page
from reports.operator.page import LOCALE, View
from reports.publish import Publisher
from reports.shelf import WRONG, each
from reports.tabular import File

FOLDER = "_operator"
SUMMARY = "operations.json"
ASKED = 24
"""So many months, the newest, are listed with what needs doing in them."""
_MONTH = re.compile(rf"\A{FOLDER}/(\d{{4}}-\d{{2}})/{re.escape(SUMMARY)}\Z")


@dataclass(frozen=True)
class Shelved:
    """A month whose page is published, and how many things need doing in it; None where that is not known."""

    month: Month
    todo: int | None


@dataclass(frozen=True)
class Drawn:
    """What publishing did. ``newest`` is the month `index.html` shows; ``new`` says the month had no page before."""

    page: str
    state: str
    todo: tuple[str, ...]
    written: int
    kept: int
    newest: Month
    new: bool


def publish(publisher: Publisher, operations: Operations) -> Drawn:
    """Publish the operator's page of one month; the newest month is `_operator/index.html` too."""
    view, made = page.build(operations), files.make(operations)
    before = shelf(publisher.store)
    mine = Shelved(view.month, len(view.todo))
    months = sorted([s for s in before if s.month != view.month] + [mine], key=lambda s: s.month, reverse=True)
    newest = months[0].month
    folder = f"{FOLDER}/{view.month}"
    todo = tuple(masked(sentence) for sentence in operations.todo)
    objects = [
        *((f"{folder}/{file.name}", file.data, _disposition(view.month, file.name)) for file in made),
        (f"{folder}/{PAGE}", draw(view, made, months, publisher, folder), "inline"),
        (f"{folder}/{SUMMARY}", _json(_summary(operations, view, todo)), "inline"),
    ]
    if newest == view.month:
        objects.append((f"{FOLDER}/{PAGE}", draw(view, made, months, publisher, FOLDER), "inline"))
    written, kept = publisher.put(objects)
    return Drawn(
        f"{folder}/{PAGE}", view.state, todo, written, kept, newest, view.month not in {s.month for s in before}
    )


def draw(view: View, made: tuple[File, ...], months: list[Shelved], publisher: Publisher, folder: str) -> bytes:
    """The page as it lies in a folder. Its files lie beside the month's own page."""
    links = publisher.links_of(FOLDER, folder)
    return pages.operator(
        v=view,
        f=Formats(LOCALE, "USD"),
        of=lambda currency: Formats(LOCALE, currency),
        menu=[(s, links.to(f"{FOLDER}/{s.month}/{PAGE}")) for s in _listed(months, view.month)],
        newest=links.to(f"{FOLDER}/{PAGE}"),
        files=[(file.info(), links.to(f"{FOLDER}/{view.month}/{file.name}")) for file in made],
        csv={file.name: links.to(f"{FOLDER}/{view.month}/{file.name}") for file in made},
        expires=links.expires,
    )


def shelf(store: Store) -> list[Shelved]:
    """The months that have a page, oldest first. Only the newest are asked what needs doing in them."""
    months = sorted(Month.parse(found[1]) for key in store.list(f"{FOLDER}/") if (found := _MONTH.match(key)))

    def look(month: Month) -> Shelved:
        try:
            return Shelved(month, len(json.loads(store.get(f"{FOLDER}/{month}/{SUMMARY}"))["todo"]))
        except (StoreError, *WRONG):
            return Shelved(month, None)

    return [Shelved(month, None) for month in months[:-ASKED]] + each(store, look, months[-ASKED:])


def _listed(months: list[Shelved], here: Month) -> list[Shelved]:
    return [s for n, s in enumerate(months) if n < NEWEST or s.month == here]


def _summary(o: Operations, view: View, todo: tuple[str, ...]) -> dict[str, Any]:
    states = o.accounts["state"].value_counts().sort("state").iter_rows()
    return {
        "month": str(view.month),
        "state": view.state,
        "as_of": o.as_of.isoformat() if o.as_of else None,
        "through": o.through.isoformat() if o.through else None,
        "todo": list(todo),
        "records": o.loads["records"].sum(),
        "unrated": o.unrated["records"].sum(),
        "quarantined": o.quarantine["records"].sum(),
        "accounts": dict(states),
        "unpriced": o.margin["unpriced"].sum(),
        "margin": {table.currency: f"{table.total.margin.normalize():f}" for table in view.margins if table.total},
    }


def _disposition(month: Month, name: str) -> str:
    return f'attachment; filename="operator_{month}_{name}"' if name.endswith(".csv") else "inline"


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
