"""What is promised, by name, and how a verdict on it is said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Any

OK, BROKEN, NOT_CHECKED, ACCEPTED = "ok", "broken", "not checked", "accepted"
"""``accepted``: out of bounds, and a person said that it is right."""

NAMED = 20
"""Findings of one invariant at one place that are told one by one; the rest is counted."""

OF_A_SOURCE = (
    "complete", "nothing lost", "raw kept", "one outcome each", "no price is never zero", "segments recounted",
    "in its day", "nobody else's",
)  # fmt: skip
"""Checked for each day and source."""
OF_A_MONTH = ("lines add up", "rounded once", "credits balance")
"""Checked for the month as a whole, on its statement and its ledger."""
BOUNDS = "within bounds"
INVARIANTS = (
    *OF_A_SOURCE,
    *OF_A_MONTH,
    BOUNDS,
    "log whole",
    "view is head",
    "closed stays closed",
    "closed and corrected",
    "one mail each",
    "configured",
)

_ACCOUNT = re.compile(r"/account=([^/]+)\Z")
_DAY = re.compile(r"(?:\A|/)date=(\d{4}-\d\d-\d\d)(?:/|\Z)")


class AuditFailed(Exception):
    """A promise is broken: what rests on it must not be billed until it is repaired."""


@dataclass(frozen=True)
class Result:
    """The verdict on one invariant at one place: a partition, or an account's day or month. ``finding`` goes on from
    ``where``; ``remedy`` says what to do. Both are empty when all is well. ``accounts``: whom it concerns; empty when it
    may be anybody."""

    invariant: str
    where: str
    verdict: str
    finding: str = ""
    remedy: str = ""
    accounts: tuple[str, ...] = ()

    def concerns(self, account_id: str) -> bool:
        return not self.accounts or account_id in self.accounts

    @property
    def day(self) -> date | None:
        """The UTC day it is about; None when it is not about one alone."""
        named = _DAY.search(self.where)
        return date.fromisoformat(named[1]) if named else None

    @property
    def sentence(self) -> str:
        """What is found, without what to do."""
        return f"{self.invariant}: {self.where} {self.finding}"

    def __str__(self) -> str:
        if self.verdict == OK:
            return f"{self.invariant}: {self.where}: ok"
        return f"{self.sentence}: {self.remedy}"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"accounts": list(self.accounts)}


def broken(invariant: str, where: str, finding: str, remedy: str, accounts: Iterable[str] = ()) -> Result:
    """A place that ends in an account concerns that account."""
    named = _ACCOUNT.search(where)
    return Result(invariant, where, BROKEN, finding, remedy, (named[1],) if named else tuple(sorted(set(accounts))))


def judged(invariant: str, where: str, *checks: Iterable[Result]) -> Iterator[Result]:
    """What the checks of one invariant found at one place, the first `NAMED` of what is broken by name; one ``ok`` when
    they found nothing."""
    found = named = rest = 0
    last, concerned, anybody = None, set(), False
    for result in (result for check in checks for result in check):
        found += 1
        named += result.verdict == BROKEN
        if named <= NAMED or result.verdict != BROKEN:
            yield result
            continue
        rest, last = rest + 1, result
        concerned.update(result.accounts)
        anybody |= not result.accounts
    if last:
        accounts = () if anybody else tuple(sorted(concerned))
        yield replace(last, where=where, finding=f"has {rest} more finding(s) like these", accounts=accounts)
    elif not found:
        yield Result(invariant, where, OK)
