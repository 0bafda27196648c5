"""What is published of one account, read back from its folder: the shelf that menus, lists and all-time files stand on.

Each month says what it is in its own ``statement.json``. The account's ``datapackage.json`` repeats that beside the hash
of the file it was read from, so a month is read again only when its hash is another one; what the package says of a month
counts for nothing otherwise.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from etl.lake import NotFound, Store, StoreError, each
from etl.periods import Month
from reports.charges import ProductRow, Products
from reports.links import PAGE, account_folder, month_folder

SUMMARY = "statement.json"
PACKAGE = "datapackage.json"
UNREADABLE = "unreadable"
"""State of a month whose summary says nothing we can read."""
WRONG = (ValueError, KeyError, TypeError, AttributeError, InvalidOperation)
"""What reading a document raises that is not what it should be."""


@dataclass(frozen=True)
class Shelved:
    """A month that is published: what menus, the account's list and its products' page say of it. ``total`` is None and
    ``state`` is `UNREADABLE` where its summary cannot be read; counts are None where the summary has none. ``tells`` is
    (state, revision) of the other months its page has figures of, as they were then."""

    month: Month
    state: str
    revision: int
    total: Decimal | None
    currency: str
    products: Products | None = None
    messages: int | None = None
    segments: int | None = None
    through: date | None = None
    tells: Mapping[Month, tuple[str, int]] = field(default_factory=dict, compare=False)

    @property
    def readable(self) -> bool:
        return self.total is not None


@dataclass(frozen=True)
class Shelf:
    """The published months of an account. ``summaries`` are those that can be read, without the days they may have;
    ``hashes`` the SHA-256 of each month's ``statement.json``; ``revisions`` the newest complete one of each month."""

    account_id: str
    summaries: Mapping[Month, dict[str, Any]]
    hashes: Mapping[Month, str]
    revisions: Mapping[Month, int]
    package: Mapping[str, Any]
    keys: frozenset[str]

    @property
    def months(self) -> tuple[Shelved, ...]:
        """Oldest first, those that cannot be read too."""
        return tuple(
            entry(self.summaries[m]) if m in self.summaries else Shelved(m, UNREADABLE, 0, None, "")
            for m in sorted(self.hashes)
        )

    @property
    def readable(self) -> tuple[Month, ...]:
        return tuple(sorted(self.summaries))

    def with_month(self, month: Month, data: bytes) -> Shelf:
        """The shelf once ``data`` is the month's summary."""
        return replace(
            self,
            summaries={**self.summaries, month: _without_days(json.loads(data))},
            hashes={**self.hashes, month: hashlib.sha256(data).hexdigest()},
        )


def read(store: Store, account_id: str) -> Shelf:
    """One listing, one read of the account's package, a look at each month, and a read of each month that changed. A month
    that cannot be read is on the shelf all the same."""
    folder = account_folder(account_id)
    keys = frozenset(store.list(f"{folder}/"))
    listed, revisions = _months(folder, keys)
    package = _package(store, folder) if f"{folder}/{PACKAGE}" in keys else {}
    known = package.get("months") if isinstance(package.get("months"), dict) else {}

    def look(month: Month) -> tuple[Month, str | None, dict[str, Any] | None]:
        key = f"{month_folder(account_id, month)}/{SUMMARY}"
        try:
            found, before = store.digest(key), known.get(str(month))
            if isinstance(before, dict) and before.get("sha256") == found:
                summary = {name: value for name, value in before.items() if name != "sha256"}
            else:
                data = store.get(key)
                found, summary = hashlib.sha256(data).hexdigest(), _without_days(json.loads(data))
            entry(summary)
            return month, found, summary
        except NotFound:
            return month, None, None
        except (StoreError, *WRONG):
            return month, "", None

    looked = each(store, look, listed)
    return Shelf(
        account_id=account_id,
        summaries={month: summary for month, _, summary in looked if summary is not None},
        hashes={month: found for month, found, _ in looked if found is not None},
        revisions=revisions,
        package=package,
        keys=keys,
    )


def newest_revision(store: Store, account_id: str, month: Month) -> int:
    """The month's newest complete revision as the store has it now; 0 for none."""
    found = _months(account_folder(account_id), store.list(f"{month_folder(account_id, month)}/rev-"))[1]
    return found.get(month, 0)


def entry(summary: Mapping[str, Any]) -> Shelved:
    """What a summary says of its month. ValueError, KeyError or the like for one that is none of ours."""
    figures = summary.get("figures") or {}
    through, tells = summary.get("through"), summary.get("tells") or {}
    if not isinstance(summary.get("files", {}), Mapping):
        raise TypeError("files are a mapping from name to hash")
    return Shelved(
        month=Month.parse(summary["month"]),
        state=summary["state"],
        revision=int(summary["revision"]),
        total=Decimal(summary["total"]),
        currency=summary["currency"],
        products=_products(summary),
        messages=sum(figures["messages"]) if "messages" in figures else None,
        segments=sum(figures["segments"]) if "segments" in figures else None,
        through=date.fromisoformat(through) if through else None,
        tells={Month.parse(month): (state, int(revision)) for month, (state, revision) in tells.items()},
    )


def _months(folder: str, keys: Iterable[str]) -> tuple[list[Month], dict[Month, int]]:
    """(months with a summary, month → newest revision that has its page)."""
    current = re.compile(rf"\A{re.escape(folder)}/([0-9]{{4}}-[0-9]{{2}})/{re.escape(SUMMARY)}\Z")
    revision = re.compile(rf"\A{re.escape(folder)}/([0-9]{{4}}-[0-9]{{2}})/rev-([0-9]+)/{re.escape(PAGE)}\Z")
    listed, revisions = [], {}
    for key in keys:
        if found := current.match(key):
            listed.append(Month.parse(found[1]))
        elif found := revision.match(key):
            month = Month.parse(found[1])
            revisions[month] = max(int(found[2]), revisions.get(month, 0))
    return sorted(listed), revisions


def _package(store: Store, folder: str) -> dict[str, Any]:
    """The account's package; empty where it cannot be read, which makes everything be read anew."""
    try:
        found = json.loads(store.get(f"{folder}/{PACKAGE}"))
    except (NotFound, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _without_days(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in summary.items() if name != "explore"}


def _products(summary: Mapping[str, Any]) -> Products | None:
    if not summary.get("products"):
        return None
    rows = tuple(
        ProductRow(
            line=row["line"],
            label=row["name"],
            amount=Decimal(row["amount"]),
            quantity=None if row["quantity"] is None else Decimal(row["quantity"]),
            unit=row["unit"],
            simulated=row["simulated"],
            price=Decimal(row["price"]) if row.get("price") is not None else None,
            days=tuple(date.fromisoformat(day) for day in row.get("days", ())),
            place=row.get("place") or "",
            base=Decimal(row["base"]) if row.get("base") is not None else None,
            of=str(Month.parse(row["of"])) if row.get("of") else "",
        )
        for row in summary["products"]
    )
    return Products(rows, Decimal(summary["product_total"]))
