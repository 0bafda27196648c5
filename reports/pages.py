"""The statement page, the account's list of months and its products: one self-contained HTML file each.

A page loads nothing and allows nothing but what is in it: its policy names the hash of its one style sheet, and of the
explorer's script where it has one. Without the script every figure is there too.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from etl.periods import Month
from reports import account as accounts
from reports import charts, corrected, explore, formats, remarks, views, words
from reports.charges import Row, fewer
from reports.explore import Explorer
from reports.formats import Formats
from reports.links import Links
from reports.menus import NEWEST, PRODUCTS, STATEMENTS, Menu, menu
from reports.model import OwnerTable, Page
from reports.shelf import Shelved
from reports.views import View

if TYPE_CHECKING:
    from reports.explained import Anchors

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
LIMIT = 300_000
"""Bytes a page may have."""
EXPLORER_LIMIT = 120_000
"""Bytes the explorer's data may have of them where other sections need no more than usual."""
PARTS_SHOWN, CARRIERS_SHOWN, CORRECTED_SHOWN, CHANGES_SHOWN = 40, 20, 24, 20
"""Parts of a charge or of a level of taxes, carriers, corrected lines in all closed months, and lines that another revision
has otherwise, in rows of their own; the others are one row."""
EXPLORER_MOST = 200_000
"""Bytes it may have on the account's page."""
FEWER = 12
"""So many months are listed where `NEWEST` of them would not fit, because links are very long."""
WHOLE = (24, 12, 6, 3, 1)
"""So many months of products are listed item by item: the first that fits."""
EXPLORER_MARKUP = 40_000
"""Bytes its controls, its script and its first view take beside the data."""


@dataclass(frozen=True)
class FileInfo:
    """A file beside the page."""

    name: str
    what: str
    rows: int | None
    size: int
    sha256: str


@lru_cache(maxsize=1)
def environment() -> Environment:
    """For HTML: every value is escaped, an unknown name is an error."""
    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.globals.update(words=words, views=views, remarks=remarks, charts=charts, fmt=formats, accounts=accounts)
    env.globals["once"] = _once
    env.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return env


@pass_context
def _once(context: Context, name: str) -> Markup:
    """What including the template would give, rendered once for all pages that share ``drawn``: nothing in it may depend
    on where the page lies."""
    drawn = context["drawn"]
    if name not in drawn:
        template = context.environment.get_template(name)
        text = "".join(template.root_render_func(template.new_context(context.get_all(), shared=True)))
        drawn[name] = Markup(text)  # noqa: S704 - it was escaped when it was rendered
    return drawn[name]


@lru_cache(maxsize=1)
def text_environment() -> Environment:
    """For plain text: nothing is escaped."""
    env = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=False,  # noqa: S701 - plain text has no markup to escape
        undefined=StrictUndefined, auto_reload=False, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    env.globals.update(words=words, remarks=remarks, fmt=formats)
    return env


@lru_cache(maxsize=1)
def style() -> tuple[Markup, str]:
    """(the style sheet, its Content-Security-Policy source). Our own text, not escaped."""
    return _own("style.css", "/*")


@lru_cache(maxsize=1)
def script() -> tuple[Markup, str]:
    """(the explorer's script, its Content-Security-Policy source). Our own text, not escaped."""
    return _own("explore.js", "//")


def _own(name: str, comment: str) -> tuple[Markup, str]:
    lines = (TEMPLATES / name).read_text(encoding="utf-8").splitlines()
    text = "\n".join(line.strip() for line in lines if line.strip() and not line.strip().startswith(comment))
    text = re.sub(r"([,;{(\[])\n", r"\1", text)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(text), f"'sha256-{digest}'"  # noqa: S704


def policy(*, scripted: bool = False) -> str:
    """What a page allows; no script unless it is the explorer's."""
    scripts = f"script-src {script()[1]}; " if scripted else ""
    return (
        f"default-src 'none'; {scripts}style-src {style()[1]}; img-src data:; base-uri 'none'; form-action 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )


def explorer_values(
    explorer: Explorer | None,
    account_id: str,
    f: Formats,
    *,
    by: str,
    odd: tuple[date, str, str] | None = None,
    table: bool = False,
    limit: int = EXPLORER_LIMIT,
) -> dict[str, View | None]:
    """What a page with the explorer is rendered with (``explore.html.j2`` says how). ``by`` is how it opens, ``odd`` the
    annotated day, ``table`` draws the first view's figures too, ``limit`` are the bytes its data may have."""
    if explorer is None or explorer.empty:
        return {"explored": None}
    return {"explored": views.view(explore.fewer(explorer, limit), account_id, f, by, odd, table)}


def statement(
    page: Page,
    links: Links,
    files: Iterable[FileInfo] = (),
    shelf: Iterable[Shelved] = (),
    *,
    contact: str | None = None,
    newest: str | None = None,
    explained: Anchors | None = None,
    drawn: dict[int, dict[str, Any]] | None = None,
) -> bytes:
    """The page of one account's month. ``shelf`` are the months that can be opened, ``newest`` is the link from a
    revision's own copy to the month's current page, ``explained`` is where its amounts are explained. ``drawn`` keeps what
    is alike wherever the page lies, for its next copy: an empty one at first."""
    f = Formats(page.locale, page.currency)
    own = Shelved(page.month, page.state, page.revision, page.total.now, page.currency, page.products)
    months = [s for s in shelf if s.month != page.month] + [own]
    files = tuple(files)
    where = ", in charges.csv" if any(file.name == "charges.csv" for file in files) else ""

    def more(count: int) -> str:
        return f"{f.count(count)} more{where}"

    def briefly(rows: tuple[Row, ...]) -> list[Row]:
        return [replace(row, parts=fewer(row.parts, PARTS_SHOWN, more)) for row in rows]

    values = {
        "page": page,
        "f": f,
        "links": links,
        "files": files,
        "openable": {s.month for s in months},
        **_header(page.account_id, page.account_name, page.locale, menu(months, page.month)),
        "contact": contact,
        "newest": newest,
        "why": explained,
        "notes": words.notes(page),
        "largest_part": _largest(page),
        "charges": briefly(page.charges),
        "taxes": briefly(page.taxes),
        "carriers": briefly(fewer(page.carriers, CARRIERS_SHOWN, more)),
        "corrected": [
            corrected.fewer(month, CORRECTED_SHOWN // len(page.corrections.months) + 2, more)
            for month in page.corrections.months
        ],
        "changed_lines": corrected.fewest(page.revised.changes, CHANGES_SHOWN) if page.revised else (),
        "changed_products": corrected.fewest(page.revised.products, CHANGES_SHOWN) if page.revised else (),
        "Links": Links,
    }

    def made(limit: int) -> bytes:
        alike = {} if drawn is None else drawn.setdefault(limit, {})
        if "explored" not in alike:
            odd = charts.odd_day(page, f)
            alike |= explorer_values(page.explorer, page.account_id, f, by="day", odd=odd, limit=limit)
        return _made("page.html.j2", **values, drawn=alike, explored=alike["explored"])

    data = made(EXPLORER_LIMIT)
    if len(data) > LIMIT and page.explorer:
        data = made(explore.size(explore.fewer(page.explorer, EXPLORER_LIMIT)) - len(data) + LIMIT)
    return data if len(data) <= LIMIT else _render("page.html.j2", **values, drawn={}, explored=None)


def account(
    account_id: str,
    name: str,
    locale: str,
    shelf: Iterable[Shelved],
    links: Links,
    *,
    files: Iterable[FileInfo] = (),
    explorer: Explorer | None = None,
    dayless: Iterable[Month] = (),
    lacking: Iterable[Month] = (),
    contact: str | None = None,
) -> bytes:
    """The account's own page: every published month, newest first, and all of their days. ``files`` are the all-time
    files; the days of ``dayless`` months are unknown, the files of ``lacking`` ones are not in them."""
    rows = _newest_first(shelf)
    f = Formats(locale, next((s.currency for s in rows if s.readable), "USD"))
    values = {
        "rows": rows,
        "years": accounts.years(rows),
        "f": f,
        "files": tuple(files),
        "chart": accounts.chart(rows, f),
        "notes": accounts.notes(rows, dayless, lacking),
        "contact": contact,
        "links": links,
        **_header(account_id, name, locale, menu(rows, STATEMENTS)),
        "listed": _months_of(rows, NEWEST),
    }

    def made(part: Explorer | None, limit: int) -> bytes:
        since = part.first if part and part is not explorer else None
        explored = explorer_values(part, account_id, f, by="month", table=True, limit=limit)
        return _made("account.html.j2", **values, **explored, since=since)

    bare = made(None, 0)
    if len(bare) > LIMIT:
        return _render("account.html.j2", **values | {"listed": _months_of(rows, FEWER)}, explored=None, since=None)
    room = min(max(LIMIT - len(bare) - EXPLORER_MARKUP, 0), EXPLORER_MOST)
    drawn = (made(part, room) for part in accounts.parts(explorer))
    return next((data for data in drawn if len(data) <= LIMIT), bare)


def products(
    account_id: str, name: str, locale: str, shelf: Iterable[Shelved], links: Links, *, contact: str | None = None
) -> bytes:
    """The account's subscriptions and credit packs, month by month, newest first. They are paid apart from statements."""
    rows = _newest_first(shelf)
    bought = tuple(s for s in rows if s.products)
    values = {
        "rows": bought,
        "years": accounts.years(bought),
        "links": links,
        "contact": contact,
        "listed": _months_of(bought, NEWEST),
        **_header(account_id, name, locale, menu(rows, PRODUCTS)),
    }
    drawn = (_made("products.html.j2", **values, whole=_months_of(bought, count)) for count in WHOLE)
    return next((data for data in drawn if len(data) <= LIMIT), None) or _render(
        "products.html.j2", **values, whole=frozenset()
    )


def explained(**values) -> bytes:
    """Where a page's amounts come from, however long; `reports.explained` says what it is rendered with."""
    return _made("explained.html.j2", **values)


def operator(**values) -> bytes:
    """The operator's page of a month; `reports.operator.desk` says what it is rendered with."""
    return _render("operator.html.j2", **values)


def drawn_menu(locale: str, shelf: Iterable[Shelved], month: Month, links: Links) -> bytes:
    """The menu alone, as it is in the month's page."""
    template = environment().get_template("menu.html.j2")
    return _dense(template.render(links=links, **_header("", "", locale, menu(shelf, month)))).strip()


def _months_of(rows: Iterable[Shelved], count: int) -> frozenset[Month]:
    """The first so many, of rows newest first."""
    return frozenset(s.month for s in tuple(rows)[:count])


def _newest_first(shelf: Iterable[Shelved]) -> tuple[Shelved, ...]:
    return tuple(sorted(shelf, key=lambda s: s.month, reverse=True))


def _header(account_id: str, name: str, locale: str, shown: Menu) -> dict[str, object]:
    """What the top of every page is rendered with."""
    formats_of = {s.currency: Formats(locale, s.currency) for s in shown.months if s.readable}
    return {"account_id": account_id, "name": name, "menu": shown, "formats_of": formats_of}


def largest_people(table: OwnerTable) -> int:
    """What the longest bar of the table stands for; "others" together may be longer than any one person."""
    return max((row.usage.segments for row in table.rows), default=0)


def _largest(page: Page) -> dict[str, int]:
    return {"member": largest_people(page.members), "inbox": largest_people(page.inboxes)}


def _render(template: str, **values) -> bytes:
    data = _made(template, **values)
    if len(data) > LIMIT:
        raise ValueError(f"a page of {len(data)} bytes is more than the {LIMIT} a page may have")
    return data


def _made(template: str, **values) -> bytes:
    css, _ = style()
    scripted = values.get("explored") is not None
    own = {"css": css, "script": script()[0] if scripted else None, "policy": policy(scripted=scripted)}
    return _dense(environment().get_template(template).render(**own, **values))


def _dense(text: str) -> bytes:
    """The text without empty lines."""
    return "\n".join(line for line in text.split("\n") if line.strip()).encode() + b"\n"
