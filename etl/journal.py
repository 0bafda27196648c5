"""What the verbs of a run did, call by call: how long each took, what it returned, what it refused.

`Observed` stands before `etl.jobs.Jobs` and writes down every verb that is called on it, whoever calls it. Nothing of it is
in the lake: two runs that wrote the same bytes took different times.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from datetime import date, datetime
from typing import Any

from etl import redaction
from etl.jobs import Done, Jobs, held
from etl.metrics import Call, of_month
from etl.periods import Month

log = logging.getLogger("tollbook")

VERBS = frozenset(
    ("pull", "normalise", "rate", "reconcile", "moved", "roll_up", "restate", "audit", "expire", "close", "operations")
)
"""Verbs of `etl.jobs.Jobs` that are written down. A new one need only be named here."""

TOLD = 25
"""Sentences of a call that are kept; the others are counted."""


class Observed:
    """The verbs of ``jobs``, each call handed to ``note`` when it ends, also when it fails. All else is the jobs' own."""

    def __init__(self, jobs: Jobs, note: Callable[[Call], None]) -> None:
        self._jobs, self._note, self._lock = jobs, note, threading.Lock()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._jobs, name)
        return self._observed(name, found) if name in VERBS else found

    def _observed(self, verb: str, work: Callable) -> Callable:
        def call(*arguments: Any, **options: Any) -> Any:
            at, began = self._jobs.clock(), time.perf_counter()
            asked = _asked(arguments)
            try:
                result = work(*arguments, **options)
            except Exception as error:
                self._tell(Call(verb, _moment(at), _since(began), **asked, error=said(error)))
                raise
            self._tell(Call(verb, _moment(at), _since(began), **asked, **_returned(result)))
            return result

        return call

    def _tell(self, call: Call) -> None:
        with self._lock:  # a task works on several days at once
            try:
                self._note(call)
            except Exception:
                log.exception("%s was not written down; what it did stands", call.verb)  # measuring fails no night


def _asked(arguments: Iterable[Any]) -> dict[str, str]:
    """The day, month and source among a verb's arguments."""
    asked = {}
    for one in arguments:
        if isinstance(one, Month):
            asked["month"] = str(one)
        elif isinstance(one, date):
            asked["day"] = one.isoformat()
        elif isinstance(one, str):
            asked["source"] = one
    return asked


def _returned(result: Any) -> dict[str, Any]:
    """What a verb returned, as far as it is one of the things verbs return."""
    results = result if isinstance(result, list) else [result]
    done = [one for one in results if isinstance(one, Done)]
    if done:
        kept = [{k: v for k, v in one.as_dict().items() if k != "verb"} for one in done]
        return {"done": kept, **_some("held", held(done))}
    if results and all(hasattr(one, "verdict") for one in results):
        amiss = [f"{one}" for one in results if one.verdict in ("broken", "not checked")]
        return {"checked": len(results), **_some("findings", amiss)}
    if results and all(hasattr(one, "held") and hasattr(one, "account_id") for one in results):
        return _some("held", (f"{one.account_id}: {one.month}: {reason}" for one in results for reason in one.held))
    if hasattr(result, "loads"):
        return {"months": {str(result.month): of_month(result)}}
    if hasattr(result, "columns") and "verdict" in result.columns:
        differing = result.filter(result["verdict"] == "unexplained")
        told = (f"{row['provider_account']} {row['category']}: {row['why']}" for row in differing.iter_rows(named=True))
        return {"checked": result.height, **_some("held", told)}
    return {}


def _some(name: str, sentences: Iterable[str]) -> dict[str, Any]:
    found = [redaction.mask(sentence) for sentence in sentences]
    return {name: found[:TOLD], "more": max(0, len(found) - TOLD)}


def said(error: BaseException) -> str:
    """What an exception says, by its kind; masked, for it is read outside a log."""
    return redaction.mask(f"{type(error).__name__}: {error}")[:2000]


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")


def _since(began: float) -> float:
    return round(time.perf_counter() - began, 3)
