"""Deterministic simulation of the commit protocol: one seed, one schedule, replayable to the last step.

Writers run as greenlets on a store in memory. Every store call is a point where the scheduler may run another
writer, kill this one before or after the call took effect, lose the answer, refuse, or let a write arrive late.
Then a checker looks at the log, the history and the view.

    python tests/lake/simulate.py --seeds 100000            # silence is success
    python tests/lake/simulate.py --seeds 5000 --broken ignores-conditions
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import polars as pl
from greenlet import getcurrent, greenlet

import etl.lake.lake as lake_module
from etl.lake import Conflict, Lake, NotFound, Partition, Stale, StoreError, Unknown
from etl.lake.frames import encode
from etl.lake.model import sha256

P = Partition.of("events", date="2026-10-01", source="sim")
BROKEN = ("ignores-conditions", "inputs-before-base", "no-second-look")
_FAULTS = ("crash-before", "crash-after", "refused", "lost", "repeated", "late")


class Crash(BaseException):
    """kill -9, as seen from inside."""


@dataclass
class Outcome:
    violations: list[str] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)


class SimStore:
    """A map in memory whose every call first hands over to the scheduler, and may fail in each way a store can."""

    single_writer = False
    parallel = 1
    url = "sim://"

    def __init__(self, rng: random.Random, rate: float, conditional: bool) -> None:
        self.rng, self.rate, self.conditional = rng, rate, conditional
        self.data: dict[str, bytes] = {}
        self.late: list[tuple[str, str, bytes]] = []
        self.overwritten: list[str] = []
        self.counts: Counter = Counter()
        self.hub: greenlet | None = None
        self.faulty: set[greenlet] = set()

    def get(self, key):
        return self._call(lambda: self._get(key))

    def digest(self, key):
        return self._call(lambda: sha256(self._get(key)))

    def exists(self, key):
        return self._call(lambda: key in self.data)

    def list(self, prefix, *, limit=None):
        return iter(self._call(lambda: sorted(key for key in self.data if key.startswith(prefix))[:limit]))

    def put(self, key, data, **headers):
        self._call(lambda: self._apply("put", key, data), ("put", key, data))

    def create(self, key, data):
        if key == "_lake.json":
            raise Conflict(key)  # honest at the door, whatever it does later
        self._call(lambda: self._apply("create", key, data), ("create", key, data))

    def delete(self, key):
        self._call(lambda: self.data.pop(key, None))

    def sweep(self, older_than):
        return []

    def local_path(self, key):
        return None

    def arrive(self) -> None:
        """One delayed write reaches the store after all."""
        with contextlib.suppress(Conflict):
            self._apply(*self.late.pop(self.rng.randrange(len(self.late))))

    def _get(self, key):
        if key not in self.data:
            raise NotFound(key)
        return self.data[key]

    def _apply(self, kind, key, data):
        if kind == "create" and key in self.data:
            if self.conditional:
                raise Conflict(key)
            self.overwritten.append(key)
        self.data[key] = data

    def _call(self, effect, write=None):
        self.counts["calls"] += 1
        if self.hub is None:
            return effect()
        self.hub.switch()
        fault = None
        if getcurrent() in self.faulty and self.rng.random() < self.rate:
            fault = self.rng.choice(_FAULTS if write else _FAULTS[:3])
            self.counts[fault] += 1
        match fault:
            case "crash-before":
                raise Crash
            case "refused":
                raise StoreError("refused")
            case "late":
                self.late.append(write)
                raise Unknown("still on its way")
        result = effect()
        match fault:
            case "crash-after":
                raise Crash
            case "lost":
                raise Unknown("the answer was lost")
            case "repeated":
                # the transport sent it twice: a creation now meets its own object
                if write[0] == "create":
                    effect()
        return result


class NoSecondLook(Lake):
    """What the protocol would be if a writer did not look at the log again after publishing."""

    def _roll(self, version, data, *, fresh):
        return self._publish(version, data, fresh=fresh)


@functools.cache
def content(value: int) -> tuple[pl.DataFrame, ...]:
    """What a job computes from an input value: one file, or two for every third value."""
    frames = [pl.DataFrame({"value": [value]})]
    if value % 3 == 0:
        frames.append(pl.DataFrame({"value": [-value]}))
    return tuple(frames)


@functools.cache
def _encoded(value: int):
    return encode(pl.DataFrame({"value": [value]}), P)


def run(seed: int, *, broken: str | None = None, writers: int = 3, jobs: int = 3) -> Outcome:
    """One schedule. Deterministic in its arguments."""
    rng = random.Random(seed)
    rate = rng.choice((0.0, 0.01, 0.05, 0.15))
    store = SimStore(rng, rate, conditional=broken != "ignores-conditions")
    ticks = itertools.count()
    outcome = Outcome()
    world = {"value": 1}
    acknowledged: list[tuple[int, str]] = []
    seen: list[int] = []
    kind = NoSecondLook if broken == "no-second-look" else Lake

    def clock():
        return datetime(2026, 10, 2, tzinfo=UTC) + timedelta(seconds=next(ticks))

    def look() -> int:
        store.hub.switch()
        return world["value"]

    def write(name: str) -> None:
        lake = kind(store, run_id=name, clock=clock)
        for _, _ in itertools.product(range(jobs), range(3)):
            with contextlib.suppress(Stale, StoreError):
                if broken == "inputs-before-base":
                    value = look()
                    base = lake.head(P)
                else:
                    base = lake.head(P)
                    value = look()
                version = lake.commit(P, content(value), base=base)
                acknowledged.append((version.seq, version.sha256))

    def read() -> None:
        for _ in range(6):
            lake = Lake(store, run_id="reader")
            head = lake.head(P)
            if head is not None:
                seen.append(head.seq)
                for file in head.files:
                    if sha256(store.get(f"_hist/{P.path}/{file.sha256}.parquet")) != file.sha256:
                        outcome.violations.append(f"version {head.seq} was read with other bytes")

    def alive(work, *arguments) -> greenlet:
        def body():
            try:
                work(*arguments)
            except Crash:
                outcome.counts["crashed"] += 1

        return greenlet(body, parent=getcurrent())

    store.hub = getcurrent()
    running = {name: alive(write, name) for name in (f"writer-{n}" for n in range(writers))}
    store.faulty = set(running.values())
    running["reader"] = alive(read)
    restarts = writers
    try:
        while running:
            if rng.random() < 0.1:
                world["value"] += 1
            if store.late and rng.random() < 0.05:
                store.arrive()
            name = rng.choice(sorted(running))
            task = running[name]
            task.switch()
            if task.dead:
                del running[name]
                store.faulty.discard(task)
                if restarts and name != "reader" and rng.random() < 0.5:
                    restarts -= 1
                    running[name] = alive(write, name)
                    store.faulty.add(running[name])
        while store.late and rng.random() < 0.7:
            store.arrive()
    except StoreError as error:  # only the reader, who meets no faults of its own, lets one out
        outcome.violations.append(f"a reader met {error!r}")
    store.hub = None
    outcome.counts += store.counts
    calm = not any(store.counts[fault] for fault in _FAULTS)
    _check(store, acknowledged, seen, calm, world["value"], outcome)
    return outcome


def _check(store: SimStore, acknowledged, seen, calm: bool, newest: int, outcome: Outcome) -> None:
    def wrong(text: str) -> None:
        outcome.violations.append(text)

    if store.overwritten:
        wrong(f"overwritten: {store.overwritten}")
    if seen != sorted(seen):
        wrong(f"the head went backwards: {seen}")
    lake = Lake(store, run_id="checker")
    try:
        versions = lake.history(P)
    except StoreError as error:
        wrong(f"history: {error!r}")
        return
    outcome.counts["versions"] += len(versions)
    outcome.counts["acknowledged"] += len(acknowledged)
    if [version.seq for version in versions] != list(range(1, len(versions) + 1)):
        wrong(f"not contiguous: {[version.seq for version in versions]}")
    by_seq = {version.seq: version for version in versions}
    for seq, sha in acknowledged:
        if seq not in by_seq or by_seq[seq].sha256 != sha:
            wrong(f"an acknowledged commit of version {seq} is lost")
    values = {tuple(_encoded(part["value"][0])[1] for part in content(n)): n for n in range(1, newest + 1)}
    told = [values.get(version.files) for version in versions]
    if None in told:
        wrong("a version holds what nobody wrote")
    elif told != sorted(told):
        wrong(f"newer data were overwritten by older: {told}")
    elif any(before == after for before, after in itertools.pairwise(told)):
        wrong(f"identical content made a new version: {told}")

    def lagging():
        return [str(finding) for finding in lake.audit() if finding.level in ("error", "warn")]

    if calm and (found := lagging()):
        wrong(f"without any fault: {found}")
    with contextlib.suppress(StoreError):
        lake.heal()
    if found := lagging():
        wrong(f"after healing: {found}")


@contextlib.contextmanager
def quick():
    """Encode each value once, for the simulation writes the same few frames very many times."""
    real = lake_module.encode
    lake_module.encode = lambda frame, p: _encoded(frame["value"][0])
    try:
        yield
    finally:
        lake_module.encode = real


def sweep(seeds: range, broken: str | None = None) -> tuple[dict[int, list[str]], Counter]:
    """Many schedules: the violations by seed, and what happened in all of them together."""
    bad: dict[int, list[str]] = {}
    counts: Counter = Counter()
    with quick():
        for seed in seeds:
            outcome = run(seed, broken=broken)
            counts += outcome.counts
            if outcome.violations:
                bad[seed] = outcome.violations
    return bad, counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--broken", choices=BROKEN, help="simulate a protocol with this flaw instead")
    options = parser.parse_args()
    start = time.perf_counter()
    bad, counts = sweep(range(options.first, options.first + options.seeds), options.broken)
    for seed, violations in itertools.islice(bad.items(), 5):
        print(f"seed {seed}: {violations}")
    print(f"{options.seeds} seeds, {len(bad)} with violations, {time.perf_counter() - start:.1f} s; {dict(counts)}")
    return bool(bad) != bool(options.broken)


if __name__ == "__main__":
    sys.exit(main())
