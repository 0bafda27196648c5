"""Where the links of a page, a mail or a file list lead: a relative path, an address on the web, or a signed one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from urllib.parse import quote

from etl.periods import Month
from etl.settings import SAFE_ID

PAGE = "index.html"
PRODUCTS = "products.html"


def account_folder(account_id: str) -> str:
    """The account's folder. ValueError for an id that is not safe in a key: it is refused, never escaped."""
    if not re.match(SAFE_ID, account_id) or "\n" in account_id:
        raise ValueError(f"account id {account_id!r} cannot name a folder: use letters, digits, - and _")
    return account_id


def month_folder(account_id: str, month: Month) -> str:
    return f"{account_folder(account_id)}/{month}"


def revision_folder(account_id: str, month: Month, revision: int) -> str:
    return f"{month_folder(account_id, month)}/rev-{revision}"


@dataclass(frozen=True)
class Links:
    """Links of what lies in one folder of an account. ``sign`` turns a key into an address that expires."""

    account_id: str
    folder: str
    base_url: str | None = None
    sign: Callable[[str], str] | None = None
    expires: date | None = None
    relative: bool = True

    def to(self, key: str) -> str | None:
        """The link to an object, or None where there is no way to reach it."""
        if self.sign:
            return self.sign(key)
        if self.base_url:
            return f"{self.base_url.rstrip('/')}/{quote(key)}"
        return _relative(self.folder, key) if self.relative else None

    def file(self, name: str, month: Month | None = None) -> str | None:
        folder = month_folder(self.account_id, month) if month else self.folder
        return self.to(f"{folder}/{name}")

    def month(self, month: Month) -> str | None:
        return self.to(f"{month_folder(self.account_id, month)}/{PAGE}")

    @property
    def account(self) -> str | None:
        return self.to(f"{account_folder(self.account_id)}/{PAGE}")

    @property
    def products(self) -> str | None:
        """The account's subscriptions and credit packs."""
        return self.to(f"{account_folder(self.account_id)}/{PRODUCTS}")


def _relative(folder: str, key: str) -> str:
    here, there = folder.split("/"), key.split("/")
    while here and len(there) > 1 and here[0] == there[0]:
        here, there = here[1:], there[1:]
    return "/".join([".."] * len(here) + there)
