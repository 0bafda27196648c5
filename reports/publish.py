"""Publishing: the objects of one account's month, in the order that makes them visible.

::

    <account>/products.html              subscriptions and credit packs, if there are any; before the pages that link it
    <account>/<YYYY-MM>/rev-<n>/…        a final revision: written once, never overwritten, with explained.html
    <account>/<YYYY-MM>/index.html, …    the month as it stands
    <account>/all_….csv                  every published month in one file, and datapackage.json, which describes them
    <account>/index.html                 every month, last

In each folder the page comes after the files it links, and an object that is there already is left alone. Whoever wrote
something looks again afterwards: of two that publish months of one account at once, the last to finish has seen both.
What was put over a newer revision meanwhile, or tells of a month as it was, is named in ``follow``: that is read from what
stands in the bucket, so a run that breaks off loses none of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from etl.lake import NotFound, Store, StoreError, each
from etl.periods import Month
from etl.settings import ConfigurationError, ReportSettings
from etl.statement import Statement
from reports import alltime, explained, explore, menus, pages, shelf
from reports import files as making
from reports.charges import ProductRow
from reports.explained import EXPLAINED, Anchors
from reports.explore import UNKNOWN, Explorer
from reports.focus.export import ISSUER
from reports.links import PAGE, PRODUCTS, Links, account_folder, month_folder, revision_folder
from reports.model import Page, build
from reports.shelf import PACKAGE, SUMMARY, Shelf, Shelved

if TYPE_CHECKING:
    Explain = Callable[[], Iterable[explained.Explanation]]

CURRENT = "private, no-cache"
FOREVER = "private, max-age=31536000, immutable"
TOTALS = ("total", "product_total")
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".csv": "text/csv; charset=utf-8; header=present",
    ".json": "application/json",
    ".gz": "application/gzip",
    ".parquet": "application/vnd.apache.parquet",
}
DOWNLOADS = (".csv", ".gz", ".parquet")
LONGEST_LINK_DAYS = 7
"""S3 refuses links that live longer than 604,800 seconds."""
LOOKS = 4
"""How often what others wrote meanwhile is taken in."""


class Changed(Exception):
    """A published revision has other figures than the statement now says. Nothing was overwritten."""


class Damaged(Exception):
    """A published revision cannot be read, so nothing says whether its figures still stand. Nothing was overwritten."""


@dataclass(frozen=True)
class Published:
    """What publishing one account's month did. ``held`` says in sentences what it did not do; ``follow`` are the months
    to publish again: their pages tell of another month as it was, or stand below their own newest revision."""

    account_id: str
    month: Month
    state: str
    revision: int
    page: str
    written: int
    kept: int
    held: tuple[str, ...] = ()
    follow: tuple[Month, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "month": str(self.month),
            "held": list(self.held),
            "follow": [str(month) for month in self.follow],
        }


class Publisher:
    """Writes statements into one store. ``today`` only dates the end of signed links."""

    def __init__(
        self, store: Store, settings: ReportSettings | None = None, today: Callable[[], date] | None = None
    ) -> None:
        self.store = store
        self.links = settings.links if settings else "relative"
        self.base_url = settings.base_url if settings else None
        self.link_days = settings.link_days if settings else LONGEST_LINK_DAYS
        self.contact = settings.contact if settings else None
        self.issuer = settings.issuer if settings else ISSUER
        self.today = today or (lambda: datetime.now(UTC).date())
        if self.links == "presigned":
            if not hasattr(store, "presign"):
                raise ConfigurationError("reports.links = 'presigned' needs a store on S3: use relative or base_url")
            if not 1 <= self.link_days <= LONGEST_LINK_DAYS:
                raise ConfigurationError(
                    f"reports.link_days = {self.link_days}: a signed link lives from 1 to {LONGEST_LINK_DAYS} days"
                )

    def publish(self, statement: Statement, explain: Explain | None = None) -> Published:
        """Publish one statement. `reports.model.DoesNotAddUp` before anything is written if its figures do not.

        ``explain`` gives its lines' explanations. It is asked once, when a final revision is written for the first time.
        """
        page = build(statement)
        made = making.make(page, self.issuer)
        ours = month_folder(page.account_id, page.month)
        known = shelf.read(self.store, page.account_id)
        said = summary(page, made)
        done = Published(page.account_id, page.month, page.state, page.revision, f"{ours}/{PAGE}", 0, 0)
        if held := _held(known, page):
            return replace(done, held=(held,))
        if page.final:
            self._refuse_changed(page, said, known)
        count = _Count(self.store, known.keys)
        text, drawn = _json(said), {}
        for look in range(LOOKS):
            standing = known.hashes.get(page.month)
            known = known.with_month(page.month, text)
            if standing != known.hashes[page.month] and (held := self._held_now(page)):
                return replace(done, written=count.written, kept=count.kept, held=(held,))
            before = count.written
            self._products(page, known, count)
            if page.final and not look:
                known = self._revision(page, made, text, known, count, explain, drawn)
            self._month(page, made, text, known, count, drawn)
            self._menus(page, known, count)
            self._account(page, made, said, known, count)
            if count.written == before:
                break
            now = shelf.read(self.store, page.account_id)
            if held := _held(now, page):
                follow = tuple(sorted({page.month, *_follow(now, page.month)}))
                return replace(done, written=count.written, kept=count.kept, held=(held,), follow=follow)
            if now.hashes == known.hashes:
                break
            known = now
        return replace(done, written=count.written, kept=count.kept, follow=_follow(known, page.month))

    def put(self, objects: Iterable[tuple[str, bytes, str]]) -> tuple[int, int]:
        """Put objects that may change, each (key, bytes, disposition), in this order; how many were written, and how
        many were there already with the same bytes."""
        count = _Count(self.store)
        for key, data, disposition in objects:
            count.put(key, data, CURRENT, disposition)
        return count.written, count.kept

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

    def explanation(self, page: Page, links: Links) -> str | None:
        """The link to where the amounts of a revision are explained, if it was published with it."""
        key = f"{revision_folder(page.account_id, page.month, page.revision)}/{EXPLAINED}"
        return links.to(key) if page.final and self.store.exists(key) else None

    def is_published(self, page: Page) -> bool:
        """Whether the revision a mail would link is there."""
        return self.store.exists(f"{revision_folder(page.account_id, page.month, page.revision)}/{PAGE}")

    def shelf(self, account_id: str) -> tuple[Shelved, ...]:
        """The account's published months, oldest first."""
        return shelf.read(self.store, account_id).months

    # -------------------------------------------------------------------------------------------- the month

    def _refuse_changed(self, page: Page, now: dict[str, Any], known: Shelf) -> None:
        """Raises `Changed`, before anything is written, where the revision stands with other figures."""
        folder = revision_folder(page.account_id, page.month, page.revision)
        if f"{folder}/{PAGE}" not in known.keys or f"{folder}/{SUMMARY}" not in known.keys:
            return
        data = self.store.get(f"{folder}/{SUMMARY}")
        try:
            before = _figures(json.loads(data))
        except shelf.WRONG as error:
            raise Damaged(
                f"{folder}/{SUMMARY} cannot be read ({type(error).__name__}): restore it from the bucket's versions, or "
                f"delete {folder}/ and publish {page.month} again"
            ) from error
        if before != (figures := _figures(now)):
            raise Changed(
                f"{page.account_id} {page.month}: revision {page.revision} was published with other figures "
                f"(total {before['total']}, now {figures['total']}); a closed month does not change"
            )

    def _held_now(self, page: Page) -> str:
        """Why the statement may not be put over the month, looked up at this moment; empty where it may."""
        newest = shelf.newest_revision(self.store, page.account_id, page.month)
        return _over(page, "final", newest) if newest and (True, newest) > (page.final, page.revision) else ""

    def _revision(
        self, page: Page, made: tuple[making.File, ...], text: bytes, known: Shelf, count: _Count,
        explain: Explain | None, drawn: dict[int, dict[str, Any]],
    ) -> Shelf:  # fmt: skip
        """The revision's own folder. Its page is created last and once: where it stands, the folder is complete."""
        folder = revision_folder(page.account_id, page.month, page.revision)
        if f"{folder}/{PAGE}" in known.keys:
            count.kept += len(made) + 2
            return known
        links = self.links_of(page.account_id, folder, immutable=True)
        for file in made:
            count.put(f"{folder}/{file.name}", file.data, FOREVER, _disposition(page.account_id, page.month, file.name))
        count.put(f"{folder}/{SUMMARY}", text, FOREVER)
        given = tuple(explain()) if explain else ()
        if given and (data := explained.page_of(page, given, links, contact=self.contact)):
            count.put(f"{folder}/{EXPLAINED}", data, FOREVER)
            known = replace(known, keys=known.keys | {f"{folder}/{EXPLAINED}"})
        html = pages.statement(
            page,
            links,
            [f.info() for f in made],
            [s for s in known.months if s.month <= page.month],
            contact=self.contact,
            newest=links.month(page.month),
            explained=self._anchors(page, links, known),
            drawn=drawn,
        )
        count.put(f"{folder}/{PAGE}", html, FOREVER)
        return known

    def _anchors(self, page: Page, links: Links, known: Shelf) -> Anchors | None:
        """Where the amounts are explained: beside the revision's page, if it was published with it."""
        key = f"{revision_folder(page.account_id, page.month, page.revision)}/{EXPLAINED}"
        href = links.to(key) if page.final and key in known.keys else None
        return Anchors(page, href) if href else None

    def _month(
        self, page: Page, made: tuple[making.File, ...], text: bytes, known: Shelf, count: _Count,
        drawn: dict[int, dict[str, Any]],
    ) -> None:  # fmt: skip
        folder = month_folder(page.account_id, page.month)
        links = self.links_of(page.account_id, folder)
        for file in made:
            count.put(f"{folder}/{file.name}", file.data, CURRENT, _disposition(page.account_id, page.month, file.name))
        html = pages.statement(
            page, links, [f.info() for f in made], known.months, contact=self.contact,
            explained=self._anchors(page, links, known), drawn=drawn,
        )  # fmt: skip
        count.put(f"{folder}/{PAGE}", html, CURRENT)
        count.put(f"{folder}/{SUMMARY}", text, CURRENT)

    # -------------------------------------------------------------------------------------------- the account

    def _products(self, page: Page, known: Shelf, count: _Count) -> None:
        key = f"{page.account_id}/{PRODUCTS}"
        if any(s.products for s in known.months) or key in known.keys:
            links = self.links_of(page.account_id, page.account_id)
            html = pages.products(
                page.account_id, page.account_name, page.locale, known.months, links, contact=self.contact
            )
            count.put(key, html, CURRENT)

    def _menus(self, page: Page, known: Shelf, count: _Count) -> None:
        """Put the menu into the pages of the other months when it reads otherwise than when that was last done."""
        if known.package.get("menus") == self._fingerprint(known):
            return

        def put(other: Shelved) -> None:
            folder = month_folder(page.account_id, other.month)
            drawn = pages.drawn_menu(page.locale, known.months, other.month, self.links_of(page.account_id, folder))
            for _ in range(LOOKS):
                try:
                    before = self.store.get(f"{folder}/{PAGE}")
                    html = menus.put_into(before, drawn)
                    if html is None or count.change(f"{folder}/{PAGE}", before, html, CURRENT):
                        return
                except NotFound:
                    return

        each(self.store, put, [s for s in known.months if s.month != page.month])

    def _fingerprint(self, known: Shelf) -> str:
        return menus.fingerprint(known.months, self.links, self.base_url)

    def _account(
        self, page: Page, made: tuple[making.File, ...], said: dict[str, Any], known: Shelf, count: _Count
    ) -> None:
        """The all-time files, the package that describes them, and the list of months, unless they stand as they would be."""
        folder = account_folder(page.account_id)
        joined = alltime.refresh(self.store, known, {file.name: file for file in made}, page.month)
        for one in joined:
            if one.data is None:
                count.kept += 1
            else:
                name = one.kind.name
                count.put(f"{folder}/{name}", one.data, CURRENT, attachment(f"{page.account_id}_{name}"))
        recipe = self._recipe(page, known, joined)
        index, html = known.package.get("index"), None
        index = index if isinstance(index, dict) else {}
        if index.get("made_of") != recipe or not self._stands(f"{folder}/{PAGE}", index.get("sha256")):
            html = self._index(page, said, known, joined)
            index = {"made_of": recipe, "sha256": hashlib.sha256(html).hexdigest()}
        described = alltime.package(known, page.account_name, joined, menus=self._fingerprint(known), index=index)
        count.put(f"{folder}/{PACKAGE}", described, CURRENT)
        if html is None:
            count.kept += 1
        else:
            count.put(f"{folder}/{PAGE}", html, CURRENT)

    def _index(self, page: Page, said: dict[str, Any], known: Shelf, joined: tuple[alltime.Joined, ...]) -> bytes:
        days = dict(
            zip(
                known.readable,
                each(self.store, lambda m: self._days(page, said, known, m), known.readable),
                strict=True,
            )
        )
        parts = [found or _unknown(month) for month, found in days.items()]
        return pages.account(
            page.account_id,
            page.account_name,
            page.locale,
            known.months,
            self.links_of(page.account_id, page.account_id),
            files=[one.info for one in joined],
            explorer=explore.join(parts) if parts else None,
            dayless=[month for month, found in days.items() if found is None],
            lacking=[month for one in joined for month in one.lacking],
            contact=self.contact,
        )

    def _days(self, page: Page, said: dict[str, Any], known: Shelf, month: Month) -> Explorer | None:
        """The days of a month as its summary has them; None where it has none, or another publication is under way."""
        if month == page.month:
            return explore.unpack(said["explore"])
        try:
            data = self.store.get(f"{month_folder(page.account_id, month)}/{SUMMARY}")
            if hashlib.sha256(data).hexdigest() != known.hashes[month]:
                return None
            return explore.unpack(json.loads(data)["explore"])
        except (StoreError, *shelf.WRONG):
            return None

    def _recipe(self, page: Page, known: Shelf, joined: tuple[alltime.Joined, ...]) -> str:
        """Everything the list of months is drawn from, as one hash."""
        parts = [
            _release(), page.account_name, page.locale, self.contact, self.links, self.base_url,
            str(self.today()) if self.links == "presigned" else "",
            sorted((str(month), found) for month, found in known.hashes.items()),
            [[one.info.sha256, [str(month) for month in one.lacking]] for one in joined],
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _stands(self, key: str, sha256: str | None) -> bool:
        try:
            return self.store.digest(key) == sha256
        except NotFound:
            return False


class _Count:
    """Puts objects, leaves identical ones alone, and counts both."""

    def __init__(self, store: Store, there: Iterable[str] | None = None) -> None:
        self.store = store
        # What was not listed a moment ago need not be looked up; None: nothing was listed.
        self.there = None if there is None else set(there)
        self.written = self.kept = 0
        self._lock = Lock()

    def put(self, key: str, data: bytes, cache: str, disposition: str = "inline") -> None:
        same = False
        if self.there is None or key in self.there:
            with contextlib.suppress(NotFound):
                same = self.store.digest(key) == hashlib.sha256(data).hexdigest()
        if not same:
            self._put(key, data, cache, disposition)
        self._add(same)

    def change(self, key: str, before: bytes, data: bytes, cache: str) -> bool:
        """Put an object in the place of these bytes; False where others stand there by now."""
        if self.store.digest(key) != hashlib.sha256(before).hexdigest():
            return False
        if before != data:
            self._put(key, data, cache, "inline")
        self._add(before == data)
        return True

    def _put(self, key: str, data: bytes, cache: str, disposition: str) -> None:
        kind = TYPES[key[key.rindex(".") :]]
        self.store.put(key, data, content_type=kind, cache_control=cache, disposition=disposition)
        if self.there is not None:
            self.there.add(key)

    def _add(self, same: bool) -> None:
        with self._lock:
            self.kept += same
            self.written += not same


# ------------------------------------------------------------------------------------------------ summaries


def summary(page: Page, made: tuple[making.File, ...]) -> dict[str, Any]:
    """``statement.json``: what menus, the account's list and programs need to know of a published month, and its days for
    the explorer. Amounts are strings."""
    usage = page.usage
    total = str(making.amount(page.total.now, page))
    figures = {
        "total": total,
        "lines": [f"{row['amount'].normalize():f}" for row in page.lines if row["section"] not in TOTALS],
        "messages": [usage.outbound_messages, usage.inbound_messages],
        "segments": [usage.outbound_segments, usage.inbound_segments],
        "calls": [usage.calls, usage.call_seconds],
    }
    more: dict[str, Any] = {}
    if page.revised:
        totals = {"total": page.revised.total.before, "product_total": page.revised.product_total.before}
        more["replaces"] = {"revision": page.revised.replaces, **{k: str(making.amount(v, page)) for k, v in totals.items()}}
    if page.credits:
        figures["credits"] = [*(row.total for row in page.credits.rows), page.credits.overage, page.credits.left]
    if page.products:
        more["products"] = [_product(row, page) for row in page.products.rows]
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
        "tells": {str(row.month): [row.state, row.revision] for row in page.history if row.month != page.month},
        "explore": explore.pack(explore.within(page.explorer, page.month.first, page.month.days[-1])),
    }


def _product(row: ProductRow, page: Page) -> dict[str, Any]:
    return {
        "line": row.line,
        "name": row.label,
        "quantity": None if row.quantity is None else int(row.quantity),
        "unit": row.unit,
        "price": None if row.price is None else f"{row.price.normalize():f}",
        "days": [day.isoformat() for day in row.days],
        "place": row.place,
        "base": None if row.base is None else f"{row.base.normalize():f}",
        "amount": str(making.amount(row.amount, page)),
        "simulated": row.simulated,
        **({"of": row.of} if row.of else {}),
    }


def _held(known: Shelf, page: Page) -> str:
    """Why the statement is not put over what is published; empty where it may be. A revision's folder counts too, should
    the month's own summary be unreadable."""
    standing = known.summaries.get(page.month)
    ranks = [(True, known.revisions[page.month])] if page.month in known.revisions else []
    if standing:
        ranks.append((standing["state"] == "final", standing["revision"]))
    if max(ranks, default=(False, 0)) <= (page.final, page.revision):
        return ""
    final, revision = max(ranks)
    return _over(page, "final" if final else standing["state"], revision)


def _over(page: Page, state: str, revision: int) -> str:
    return (
        f"{page.account_id} {page.month}: {state} revision {revision} is published; "
        f"the {page.state} one was not put over it"
    )


def _figures(document: dict[str, Any]) -> dict[str, Any]:
    """The figures of a summary, amounts as numbers: how one is written is no other figure."""
    figures = document["figures"]
    return {**figures, "total": Decimal(figures["total"]), "lines": [Decimal(line) for line in figures["lines"]]}


def _follow(known: Shelf, done: Month) -> tuple[Month, ...]:
    """The published months to be published again once this one was: whose figures are of another month as it was before,
    and whatever was put over a newer revision."""
    months = {s.month: s for s in known.months if s.readable}
    return tuple(
        s.month
        for s in months.values()
        if known.revisions.get(s.month, 0) > (s.revision if s.state == "final" else 0)
        # A closed month goes on telling what it told when it closed.
        or (s.month != done and s.state != "final" and any(_is_news(months[m], told) for m, told in s.tells.items() if m in months))
    )


def _is_news(now: Shelved, told: tuple[str, int]) -> bool:
    """Whether a month is otherwise than a page tells it. One that is told as closed already is news to nobody."""
    said = (now.state, now.revision)
    return said != told and (now.state == "final", now.revision) >= (told[0] == "final", told[1])


def _unknown(month: Month) -> Explorer:
    days = month.days
    return Explorer(month.first, len(days), UNKNOWN * len(days), (), (days[0], days[-1]))


@lru_cache(maxsize=1)
def _release() -> str:
    """Hash of what pages are made by."""
    digest = hashlib.sha256()
    for file in sorted((*Path(__file__).parent.glob("*.py"), *pages.TEMPLATES.iterdir())):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


# ------------------------------------------------------------------------------------------------ objects


def attachment(name: str) -> str:
    """Content-Disposition of a download (RFC 6266): the name in ASCII and, where that is not all of it, in UTF-8."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    exact = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'attachment; filename="{plain}"{exact}'


def _disposition(account_id: str, month: Month, name: str) -> str:
    """Data files are saved under a name that says whose and when."""
    return attachment(f"{account_id}_{month}_{name}") if name.endswith(DOWNLOADS) else "inline"


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"
