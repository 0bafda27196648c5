"""The drop-down of every page: all published months, newest first, then the account's list and its products."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from etl.periods import Month
from reports.shelf import Shelved

STATEMENTS = "All statements"
PRODUCTS = "Products"
NEWEST = 60
"""So many months, the newest, are listed; those before are a step back from the oldest of them."""
_NAV = re.compile(rb'<nav class="pick".*?</nav>', re.DOTALL)


@dataclass(frozen=True)
class Menu:
    """``here`` is the month of the page, or `STATEMENTS` or `PRODUCTS`; ``months`` are all of them, newest first;
    ``products`` says whether the account has a page of them."""

    here: Month | str
    months: tuple[Shelved, ...]
    products: bool

    @property
    def listed(self) -> tuple[Shelved, ...]:
        """The newest months, and that of the page."""
        return tuple(s for n, s in enumerate(self.months) if n < NEWEST or s.month == self.here)

    @property
    def earlier(self) -> Month | None:
        return max((s.month for s in self.months if self._is_month and s.month < self.here), default=None)

    @property
    def later(self) -> Month | None:
        return min((s.month for s in self.months if self._is_month and s.month > self.here), default=None)

    @property
    def _is_month(self) -> bool:
        return isinstance(self.here, Month)


def menu(shelf: Iterable[Shelved], here: Month | str) -> Menu:
    rows = tuple(sorted(shelf, key=lambda s: s.month, reverse=True))
    return Menu(here, rows, any(s.products for s in rows) or here == PRODUCTS)


def fingerprint(shelf: Iterable[Shelved], links: str = "relative", base_url: str | None = None) -> str:
    """Changes when, and only when, a menu of these months would read otherwise or lead elsewhere. A signed link is not
    another one for being signed anew."""
    rows = menu(shelf, STATEMENTS)
    said = [[str(s.month), s.state, str(s.total) if s.state == "final" else "", s.currency] for s in rows.months]
    return hashlib.sha256(json.dumps([said, rows.products, links, base_url]).encode()).hexdigest()


def put_into(page: bytes, drawn: bytes) -> bytes | None:
    """A page with another menu, everything else as it is. None for a page without one."""
    found = _NAV.search(page)
    return page[: found.start()] + drawn + page[found.end() :] if found else None
