"""What is promised, by name, and how a verdict on it is said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

OK, BROKEN, NOT_CHECKED = "ok", "broken", "not checked"

OF_A_SOURCE = (
    "complete", "nothing lost", "raw kept", "one outcome each", "no price is never zero", "segments recounted",
    "in its day", "nobody else's",
)  # fmt: skip
"""Checked for each day and source."""
OF_A_MONTH = ("lines add up", "rounded once", "credits balance")
"""Checked for the month as a whole, on its statement and its ledger."""
INVARIANTS = (
    *OF_A_SOURCE,
    *OF_A_MONTH,
    "log whole",
    "view is head",
    "closed stays closed",
    "one mail each",
    "configured",
)


class AuditFailed(Exception):
    """A promise is broken: what rests on it must not be billed until it is repaired."""


@dataclass(frozen=True)
class Result:
    """The verdict on one invariant at one place: a partition, or an account's month. ``finding`` goes on from ``where``;
    ``remedy`` says what to do. Both are empty when all is well."""

    invariant: str
    where: str
    verdict: str
    finding: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        if self.verdict == OK:
            return f"{self.invariant}: {self.where}: ok"
        return f"{self.invariant}: {self.where} {self.finding}: {self.remedy}"

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def broken(invariant: str, where: str, finding: str, remedy: str) -> Result:
    return Result(invariant, where, BROKEN, finding, remedy)


def judged(invariant: str, where: str, *checks: Iterable[Result]) -> Iterator[Result]:
    """Everything the checks of one invariant found at one place; one ``ok`` when they found nothing."""
    found = [result for check in checks for result in check]
    yield from found or [Result(invariant, where, OK)]
