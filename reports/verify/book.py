"""What verifying a folder found: numbers compared, what differs, and what could not be recomputed and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

OK, DIFFERS, NOT_CHECKED = "ok", "differs", "not checked"


@dataclass(frozen=True)
class Difference:
    """``printed`` is what stands in the folder at ``where``, ``recomputed`` what it should be."""

    where: str
    printed: str
    recomputed: str


@dataclass
class Check:
    """One check of one folder. ``compared`` counts the values that were set side by side; ``why`` is told of a check that
    was not made, of so many texts with a number."""

    what: str
    compared: int = 0
    differences: list[Difference] = field(default_factory=list)
    why: str = ""
    left_out: int = 0

    @property
    def result(self) -> str:
        return DIFFERS if self.differences else NOT_CHECKED if self.why else OK

    def lines(self) -> Iterator[str]:
        """A line for each difference, or one."""
        for found in self.differences:
            yield f"differs      {self.what}: {found.where}: printed {found.printed}, recomputed {found.recomputed}"
        if self.why:
            yield f"not checked  {self.what}: {self.left_out} with a figure: {self.why}"
        elif not self.differences:
            yield f"ok           {self.what}: {self.compared} compared"

    def as_dict(self) -> dict[str, Any]:
        return {
            "check": self.what,
            "result": self.result,
            "compared": self.compared,
            "differences": [found.__dict__ for found in self.differences],
            **({"why": self.why, "left_out": self.left_out} if self.why else {}),
        }


@dataclass
class Book:
    """The checks of one folder, in the order they were made."""

    folder: str
    checks: dict[str, Check] = field(default_factory=dict)

    @property
    def compared(self) -> int:
        return sum(check.compared for check in self.checks.values())

    @property
    def differences(self) -> int:
        return sum(len(check.differences) for check in self.checks.values())

    def same(self, what: str, where: str, printed: Any, recomputed: Any) -> bool:
        """Compare two values; numbers by their value, whatever their trailing zeros."""
        check = self.checks.setdefault(what, Check(what))
        check.compared += 1
        if printed != recomputed:
            check.differences.append(Difference(where, _text(printed), _text(recomputed)))
        return printed == recomputed

    def leave_out(self, what: str, why: str, count: int) -> None:
        self.checks[what] = Check(what, why=why, left_out=count)

    @contextmanager
    def readable(self, what: str) -> Iterator[None]:
        """A file that cannot be read as what it should be is a difference, and stops no other check."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever a damaged file raises is what is to be told
            said = f"{type(error).__name__}: {error}".split("\n", 1)[0]
            self.checks.setdefault(what, Check(what)).differences.append(Difference("unreadable", said, "readable"))


def _text(value: Any) -> str:
    if value is None:
        return "nothing"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
