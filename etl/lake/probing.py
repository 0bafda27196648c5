"""Does a store keep the promises the lake depends on? Asked once when a lake is set up, not at each commit."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from etl.lake.store import Conflict, NotFound, Store, StoreError, Unknown

_RACERS = 8
_ROUNDS = 2


@dataclass(frozen=True)
class Check:
    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True)
class ProbeReport:
    """What was tried, what came of it, and what to do about it; `str()` is meant to be read."""

    url: str
    checks: tuple[Check, ...]

    @property
    def usable(self) -> bool:
        """Plain reading and writing works, so at least a single writer is safe."""
        return all(check.passed for check in self.checks if not check.name.startswith("create"))

    @property
    def conditional(self) -> bool:
        """Creation is exclusive, so any number of writers is safe."""
        return all(check.passed for check in self.checks if check.name.startswith("create"))

    @property
    def ok(self) -> bool:
        return self.usable and self.conditional

    @property
    def verdict(self) -> str:
        if self.ok:
            return "Safe for several writers at once."
        if self.usable:
            return (
                "NOT safe for several writers: this store lets one overwrite what another has created. "
                "Upgrade the server or choose another; or set single_writer = true and make sure by other means "
                "(one scheduler, one worker) that no two jobs ever write at once."
            )
        return "NOT usable: mend the failed checks below (credentials, bucket, permissions, server), then probe again."

    def __str__(self) -> str:
        lines = [f"{self.url}: {self.verdict}"]
        for check in self.checks:
            lines.append(
                f"  {'ok  ' if check.passed else 'FAIL'} {check.name}{': ' * bool(check.detail)}{check.detail}"
            )
        return "\n".join(lines)


def probe(store: Store) -> ProbeReport:
    """Try a store's promises, a race of eight creators included, on keys of its own that it removes afterwards.

    About 40 requests. Never raises for what the store does: that is the report.
    """
    run = _Probe(store)
    try:
        run.plain()
        run.conditional()
    finally:
        run.clean()
    return ProbeReport(store.url, tuple(run.checks))


class _Probe:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.base = f"_probe-{uuid.uuid4().hex}"
        self.checks: list[Check] = []
        self.made: set[str] = set()

    def key(self, name: str) -> str:
        key = f"{self.base}-{name}"
        self.made.add(key)
        return key

    def check(self, name: str, test: Callable[[], str | None]) -> None:
        """Run one test: None or a remark on success, AssertionError or StoreError on failure."""
        try:
            self.checks.append(Check(name, True, test() or ""))
        except _Wrong as wrong:
            self.checks.append(Check(name, False, str(wrong)))
        except StoreError as error:
            self.checks.append(Check(name, False, f"{type(error).__name__}: {error}"))

    def plain(self) -> None:
        store, key = self.store, self.key("plain")

        def missing() -> None:
            with contextlib.suppress(NotFound):
                store.get(key)
                raise _Wrong("reading a key never written did not say so")

        def write() -> None:
            for data in (b"one", b"two, longer"):
                store.put(key, data)
                _expect(store.get(key) == data, "reading back gave other bytes")

        def listing() -> None:
            _expect(key in store.list(self.base), "a key just written is not listed")

        def remove() -> None:
            store.delete(key)
            _expect(not store.exists(key), "a deleted key still exists")
            store.delete(key)

        self.check("a missing object is reported as missing", missing)
        self.check("an object can be written, overwritten and read back", write)
        self.check("a new object is listed at once", listing)
        self.check("an object can be deleted", remove)

    def conditional(self) -> None:
        store, key = self.store, self.key("create")

        def first() -> None:
            store.create(key, b"first")
            _expect(store.get(key) == b"first", "reading back gave other bytes")

        def second() -> None:
            try:
                store.create(key, b"second")
            except Conflict:
                pass
            else:
                raise _Wrong("a second creation of the same key was accepted: conditions are ignored")
            _expect(store.get(key) == b"first", "a refused creation changed the object")

        self.check("create makes a new object", first)
        self.check("create refuses an existing object", second)
        self.check(f"create has one winner of {_RACERS}", self.race)

    def race(self) -> str:
        for number in range(_ROUNDS):
            key = self.key(f"race-{number}")
            start = threading.Barrier(_RACERS)
            outcomes: list[str | bytes] = []

            def run(who: bytes, key: str = key, start: threading.Barrier = start, into: list = outcomes) -> None:
                start.wait()
                try:
                    self.store.create(key, who)
                    into.append(who)
                except Conflict:
                    into.append("conflict")
                except Unknown:
                    into.append("unknown")
                except StoreError as error:
                    into.append(f"error: {error}")

            threads = [threading.Thread(target=run, args=(b"racer %d" % who,)) for who in range(_RACERS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            stored = self.store.get(key)
            winners = [outcome for outcome in outcomes if isinstance(outcome, bytes)]
            errors = [outcome for outcome in outcomes if isinstance(outcome, str) and outcome.startswith("error")]
            _expect(not errors, f"{len(errors)} of {_RACERS} failed, e.g. {errors[:1]}")
            # a winner whose answer got lost sees a conflict with itself, so none is possible; two never are
            _expect(len(winners) <= 1, f"{len(winners)} of {_RACERS} writers were told they had created one object")
            _expect(not winners or winners == [stored], "the object is not the one its winner wrote")
        return f"{_ROUNDS} rounds"

    def clean(self) -> None:
        for key in sorted(self.made):
            with contextlib.suppress(StoreError):
                self.store.delete(key)


class _Wrong(Exception):
    """A promise was not kept."""


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise _Wrong(otherwise)
