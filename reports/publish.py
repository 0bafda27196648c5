"""Publishing: the objects of one account's month, in the order that makes them visible.

::

    <account>/<YYYY-MM>/rev-<n>/…        a final revision: written once, never overwritten
    <account>/<YYYY-MM>/index.html, …    the month as it stands
    <account>/products.html              subscriptions and credit packs, if there are any; before the pages that link it
    <account>/index.html                 every month, last

In each folder the page comes after the files it links, and an object that is there already is left alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from etl.lake import NotFound, Store
from etl.periods import Month
from etl.settings import ConfigurationError, ReportSettings
from etl.statement import Statement
from reports import files as making
from reports import pages
from reports.charges import ProductRow, Products
from reports.links import PAGE, PRODUCTS, Links, account_folder, month_folder, revision_folder
from reports.model import Page, build
from reports.pages import Shelved

SUMMARY = "statement.json"
CURRENT = "private, no-cache"
TOTALS = ("total", "product_total")
FOREVER = "private, max-age=31536000, immutable"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".csv": "text/csv; charset=utf-8; header=present",
    ".json": "application/json",
}


class Changed(Exception):
    """A published revision has other figures than the statement now says. Nothing was overwritten."""


@dataclass(frozen=True)
class Published:
    """What publishing one account's month did. ``held`` says in sentences what it did not do."""

    account_id: str
    month: Month
    state: str
    revision: int
    page: str
    written: int
    kept: int
    held: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "month": str(self.month), "held": list(self.held)}


class Publisher:
    """Writes statements into one store. ``today`` only dates the end of signed links."""

    def __init__(
        self, store: Store, settings: ReportSettings | None = None, today: Callable[[], date] | None = None
    ) -> None:
        self.store = store
        self.links = settings.links if settings else "relative"
        self.base_url = settings.base_url if settings else None
        self.link_days = settings.link_days if settings else 7
        self.contact = settings.contact if settings else None
        self.today = today or (lambda: datetime.now(UTC).date())
        if self.links == "presigned" and not hasattr(store, "presign"):
            raise ConfigurationError("reports.links = 'presigned' needs a store on S3: use relative or base_url")

    def publish(self, statement: Statement) -> Published:
        """Publish one statement. `reports.model.DoesNotAddUp` before anything is written if its figures do not."""
        page = build(statement)
        made = making.make(page)
        account_folder(page.account_id)
        shelf = self.shelf(page.account_id)
        mine = shelved(page)
        ours = month_folder(page.account_id, page.month)
        standing = self._summary(ours)
        if standing and _rank(standing) > _rank(summary(page, made)):
            sentence = (
                f"{page.account_id} {page.month}: {standing['state']} revision {standing['revision']} is published; "
                f"the {page.state} one was not put over it"
            )
            return Published(
                page.account_id, page.month, page.state, page.revision, f"{ours}/{PAGE}", 0, 0, (sentence,)
            )
        shelf = [s for s in shelf if s.month != page.month] + [mine]
        count = _Count(self.store)
        listed = (
            page.account_id,
            page.account_name,
            page.locale,
            shelf,
            self.links_of(page.account_id, page.account_id),
        )
        if page.final:
            self._refuse_changed(page, made)
        bought = f"{page.account_id}/{PRODUCTS}"
        if any(s.products for s in shelf) or self.store.exists(bought):
            count.put(bought, pages.products(*listed), CURRENT)
        if page.final:
            self._revision(page, made, shelf, count)
        self._month(page, made, shelf, ours, count)
        count.put(f"{page.account_id}/{PAGE}", pages.account(*listed), CURRENT)
        return Published(
            page.account_id, page.month, page.state, page.revision, f"{ours}/{PAGE}", count.written, count.kept
        )

    def links_of(self, account_id: str, folder: str, *, immutable: bool = False) -> Links:
        """Links for what lies in a folder. A page that is kept for ever carries no link that expires."""
        if self.links == "base_url":
            return Links(account_id, folder, base_url=self.base_url)
        if self.links == "presigned":
            if immutable:
                return Links(account_id, folder, relative=False)
            days = self.link_days
            return Links(
                account_id,
                folder,
                sign=lambda key: self.store.presign(key, days * 86_400),
                expires=self.today() + timedelta(days=days),
            )
        return Links(account_id, folder)

    def mail_links(self, page: Page) -> Links:
        """Links a mail can carry: addresses on the web, into the revision it tells of. Without any, none."""
        folder = month_folder(page.account_id, page.month)
        if page.final:
            folder = revision_folder(page.account_id, page.month, page.revision)
        if self.links == "presigned":
            return self.links_of(page.account_id, folder)
        return Links(page.account_id, folder, base_url=self.base_url, relative=False)

    def is_published(self, page: Page) -> bool:
        """Whether the revision a mail would link is there."""
        return self.store.exists(f"{revision_folder(page.account_id, page.month, page.revision)}/{PAGE}")

    def shelf(self, account_id: str) -> list[Shelved]:
        """The account's published months, oldest first."""
        pattern = re.compile(rf"\A{re.escape(account_folder(account_id))}/(\d{{4}}-\d{{2}})/{re.escape(SUMMARY)}\Z")
        found = []
        for key in self.store.list(f"{account_id}/"):
            if match := pattern.match(key):
                known = json.loads(self.store.get(key))
                total, bought = Decimal(known["total"]), _products(known)
                found.append(
                    Shelved(Month.parse(match[1]), known["state"], known["revision"], total, known["currency"], bought)
                )
        return sorted(found, key=lambda s: s.month)

    # -------------------------------------------------------------------------------------------- folders

    def _refuse_changed(self, page: Page, made: tuple[making.File, ...]) -> None:
        """Raises `Changed`, before anything is written, where the revision stands with other figures."""
        folder = revision_folder(page.account_id, page.month, page.revision)
        if not self.store.exists(f"{folder}/{PAGE}"):
            return
        before, now = self._summary(folder), summary(page, made)
        if before and before["figures"] != now["figures"]:
            raise Changed(
                f"{page.account_id} {page.month}: revision {page.revision} was published with other figures "
                f"(total {before['figures']['total']}, now {now['figures']['total']}); a closed month does not change"
            )

    def _revision(self, page: Page, made: tuple[making.File, ...], shelf: list[Shelved], count: _Count) -> None:
        """The revision's own folder. Its page is created last and once: where it stands, the folder is complete."""
        folder = revision_folder(page.account_id, page.month, page.revision)
        if self.store.exists(f"{folder}/{PAGE}"):
            count.kept += len(made) + 2
            return
        known = [s for s in shelf if s.month <= page.month]
        links = self.links_of(page.account_id, folder, immutable=True)
        for file in made:
            count.put(f"{folder}/{file.name}", file.data, FOREVER, _attachment(page, file.name))
        count.put(f"{folder}/{SUMMARY}", _json(summary(page, made)), FOREVER)
        text = pages.statement(
            page, links, [f.info() for f in made], known, contact=self.contact, newest=links.month(page.month)
        )
        count.put(f"{folder}/{PAGE}", text, FOREVER)

    def _month(
        self, page: Page, made: tuple[making.File, ...], shelf: list[Shelved], folder: str, count: _Count
    ) -> None:
        links = self.links_of(page.account_id, folder)
        for file in made:
            count.put(f"{folder}/{file.name}", file.data, CURRENT, _attachment(page, file.name))
        text = pages.statement(page, links, [f.info() for f in made], shelf, contact=self.contact)
        count.put(f"{folder}/{PAGE}", text, CURRENT)
        count.put(f"{folder}/{SUMMARY}", _json(summary(page, made)), CURRENT)

    def _summary(self, folder: str) -> dict[str, Any] | None:
        try:
            return json.loads(self.store.get(f"{folder}/{SUMMARY}"))
        except NotFound:
            return None


class _Count:
    """Puts objects, leaves identical ones alone, and counts both."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.written = self.kept = 0

    def put(self, key: str, data: bytes, cache: str, disposition: str = "inline") -> None:
        try:
            same = self.store.digest(key) == hashlib.sha256(data).hexdigest()
        except NotFound:
            same = False
        if same:
            self.kept += 1
            return
        kind = TYPES[key[key.rindex(".") :]]
        self.store.put(key, data, content_type=kind, cache_control=cache, disposition=disposition)
        self.written += 1


def summary(page: Page, made: tuple[making.File, ...]) -> dict[str, Any]:
    """``statement.json``: what menus and programs need to know of a published month. Amounts are strings."""
    usage = page.usage
    total = str(making.amount(page.total.now, page))
    figures = {
        "total": total,
        "lines": [str(row["amount"].normalize()) for row in page.lines if row["section"] not in TOTALS],
        "messages": [usage.outbound_messages, usage.inbound_messages],
        "segments": [usage.outbound_segments, usage.inbound_segments],
        "calls": [usage.calls, usage.call_seconds],
    }
    more: dict[str, Any] = {}
    if page.credits:
        figures["credits"] = [*(row.total for row in page.credits.rows), page.credits.overage, page.credits.left]
    if page.products:
        more["products"] = [
            {
                "line": row.line,
                "name": row.label,
                "quantity": None if row.quantity is None else int(row.quantity),
                "unit": row.unit,
                "amount": str(making.amount(row.amount, page)),
                "simulated": row.simulated,
            }
            for row in page.products.rows
        ]
        more["product_total"] = str(making.amount(page.products.total, page))
    return {
        "account_id": page.account_id,
        "month": str(page.month),
        "statement_id": page.statement_id,
        "state": page.state,
        "revision": page.revision,
        "closed_at": page.closed_at.isoformat() if page.closed_at else None,
        "through": page.through.isoformat() if page.through else None,
        "currency": page.currency,
        "total": total,
        "figures": figures,
        **more,
        "files": {file.name: file.sha256 for file in made},
    }


def shelved(page: Page) -> Shelved:
    return Shelved(page.month, page.state, page.revision, page.total.now, page.currency, page.products)


def _products(known: dict[str, Any]) -> Products | None:
    """The products a summary tells of."""
    if not known.get("products"):
        return None
    rows = tuple(
        ProductRow(
            r["line"],
            r["name"],
            Decimal(r["amount"]),
            None if r["quantity"] is None else Decimal(r["quantity"]),
            r["unit"],
            r["simulated"],
        )
        for r in known["products"]
    )
    return Products(rows, Decimal(known["product_total"]))


def _rank(known: dict[str, Any]) -> tuple[bool, int]:
    return known["state"] == "final", known["revision"]


def _attachment(page: Page, name: str) -> str:
    """CSV files are saved under a name that says whose and when; ids are plain ASCII, so nothing is escaped."""
    return f'attachment; filename="{page.account_id}_{page.month}_{name}"' if name.endswith(".csv") else "inline"


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"
