"""The statement page, the account's list of months and its products: one self-contained HTML file each.

A page loads nothing, runs no script and allows neither: its policy names the hash of its one style sheet.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from etl.periods import Month
from reports import charts, formats, words
from reports.charges import Products
from reports.formats import Formats
from reports.links import Links
from reports.model import OwnerTable, Page

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
LIMIT = 300_000
"""Bytes a page may have."""


@dataclass(frozen=True)
class FileInfo:
    """A file beside the page."""

    name: str
    what: str
    rows: int | None
    size: int
    sha256: str


@dataclass(frozen=True)
class Shelved:
    """A month that is published: what menus, the account's list and its products' page say of it."""

    month: Month
    state: str
    revision: int
    total: Decimal
    currency: str
    products: Products | None = None


@lru_cache(maxsize=1)
def environment() -> Environment:
    """For HTML: every value is escaped, an unknown name is an error."""
    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.globals.update(words=words, charts=charts, fmt=formats)
    return env


@lru_cache(maxsize=1)
def text_environment() -> Environment:
    """For plain text: nothing is escaped."""
    env = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=False,  # noqa: S701 - plain text has no markup to escape
        undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    env.globals.update(words=words, fmt=formats)
    return env


@lru_cache(maxsize=1)
def style() -> tuple[Markup, str]:
    """(the style sheet, its Content-Security-Policy source). Our own text, the only one that is not escaped."""
    lines = (TEMPLATES / "style.css").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line.strip() for line in lines if line.strip() and not line.strip().startswith("/*"))
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(text), f"'sha256-{digest}'"  # noqa: S704


def policy() -> str:
    return (
        f"default-src 'none'; style-src {style()[1]}; img-src data:; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


def statement(
    page: Page,
    links: Links,
    files: Iterable[FileInfo] = (),
    shelf: Iterable[Shelved] = (),
    *,
    contact: str | None = None,
    newest: str | None = None,
) -> bytes:
    """The page of one account's month. ``shelf`` are the months that can be opened, ``newest`` is the link from a
    revision's own copy to the month's current page."""
    f = Formats(page.locale, page.currency)
    others = {s.month: s for s in shelf}
    later = min((m for m in others if m > page.month), default=None)
    earlier = max((m for m in others if m < page.month), default=None)
    return _render(
        "page.html.j2",
        page=page,
        f=f,
        links=links,
        files=tuple(files),
        menu=sorted((s for s in others.values() if s.month != page.month), key=lambda s: s.month, reverse=True)[:11],
        openable=set(others) | {page.month},
        any_products=page.products is not None or any(s.products for s in others.values()),
        earlier=earlier,
        later=later,
        contact=contact,
        newest=newest,
        notes=words.notes(page, f),
        largest_part=_largest(page),
        Links=Links,
    )


def account(account_id: str, name: str, locale: str, shelf: Iterable[Shelved], links: Links) -> bytes:
    """The account's own page: every published month, newest first."""
    return _listing("account.html.j2", account_id, name, locale, shelf, links)


def products(account_id: str, name: str, locale: str, shelf: Iterable[Shelved], links: Links) -> bytes:
    """The account's subscriptions and credit packs, month by month, newest first. They are paid apart from statements."""
    return _listing("products.html.j2", account_id, name, locale, (s for s in shelf if s.products), links)


def _listing(template: str, account_id: str, name: str, locale: str, shelf: Iterable[Shelved], links: Links) -> bytes:
    rows = sorted(shelf, key=lambda s: s.month, reverse=True)
    formats_of = {s.currency: Formats(locale, s.currency) for s in rows}
    return _render(template, account_id=account_id, name=name, rows=rows, formats_of=formats_of, links=links)


def largest_people(table: OwnerTable) -> int:
    """What the longest bar of the table stands for; "others" together may be longer than any one person."""
    return max((row.usage.segments for row in table.rows), default=0)


def _largest(page: Page) -> dict[str, int]:
    return {"member": largest_people(page.members), "inbox": largest_people(page.inboxes)}


def _render(template: str, **values) -> bytes:
    css, _ = style()
    text = environment().get_template(template).render(css=css, policy=policy(), **values)
    data = "\n".join(line for line in text.split("\n") if line.strip()).encode() + b"\n"
    if len(data) > LIMIT:
        raise ValueError(f"a page of {len(data)} bytes is more than the {LIMIT} a page may have")
    return data
