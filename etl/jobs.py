"""The verbs: pull, normalise, rate, roll up, state, close. What the DAGs and the command line call.

Each verb turns the heads of its input partitions into one commit of its output partition, and does nothing when those
inputs, the code and the settings are the ones its head was computed from. So every verb can be killed and run again.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

from etl import settings as configuration
from etl.periods import Month
from etl.settings import ConfigurationError, Resolver, Settings, StoreSettings, connection_from_environment

log = logging.getLogger("tollbook")

STALE_TRIES = 5

# polars, boto3 and httpx are imported where they are used: a DAG file and --help import this module.


class NotReady(Exception):
    """The day is not over, or what the job needs is not in the lake yet; the text says what to do first."""


@dataclass(frozen=True)
class Done:
    """What one verb did to one partition."""

    verb: str
    partition: str
    seq: int
    rows: int
    changed: bool
    counts: Mapping[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "counts": dict(self.counts)}


@dataclass(frozen=True)
class Report:
    """A run's outcome. ``held`` says in sentences what is not billed or not complete: exit code 3."""

    done: tuple[Done, ...] = ()
    held: tuple[str, ...] = ()

    def __add__(self, other: Report) -> Report:
        return Report(self.done + other.done, self.held + tuple(h for h in other.held if h not in self.held))


def code_fingerprint() -> str:
    """sha256 of the package's own source: a figure computed by other code is computed again."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for file in sorted(root.rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


class Jobs:
    """The verbs, bound to one configuration and one run."""

    def __init__(
        self,
        settings: Settings,
        *,
        run_id: str | None = None,
        resolve: Resolver = connection_from_environment,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.settings = settings
        self.run_id = run_id or f"manual-{uuid.uuid4()}"
        self.resolve = resolve
        self.clock = clock

    @classmethod
    def open(cls, config: Path | str | None = None, **options: Any) -> Jobs:
        """Jobs for a settings file. ConfigurationError before anything is read or requested."""
        return cls(configuration.load(config), **options)

    # -------------------------------------------------------------------------------------------- what jobs stand on

    def open_store(self, store: StoreSettings):
        """The store a table of the settings describes."""
        from etl.lake import open_configured

        return open_configured(store, self.settings.home, self.resolve)

    @cached_property
    def lake(self):
        from etl.lake import Lake

        store = self.open_store(self.settings.lake)
        return Lake(
            store, run_id=self.run_id, config=self.settings.fingerprint(), code=code_fingerprint(), clock=self.clock
        )

    @cached_property
    def directory(self):
        from etl import directory

        return directory.load(self.settings.path(self.settings.directory))

    @cached_property
    def card(self):
        from etl.rating import card

        loaded = card.load(self.settings.path(self.settings.rates))
        for account in self.directory.accounts:
            if account.rate_card not in loaded.names():
                raise ConfigurationError(
                    f"account {account.account_id!r} uses rate card {account.rate_card!r}, which prices.csv does not "
                    f"have: it has {', '.join(sorted(loaded.names()))}"
                )
        return loaded

    @cached_property
    def sources(self) -> dict:
        from etl import sources

        context = sources.Context(
            resolve=self.resolve,
            home=self.settings.home,
            open_store=self.open_store,
        )
        return {name: sources.open_source(name, s, context) for name, s in self.settings.sources.items()}

    @cached_property
    def statements(self):
        from etl.statement import Statements

        return Statements(self.lake, self.directory, self.settings.sources, self.settings.start)

    def check_configuration(self) -> None:
        """Open everything that can be opened without a request; ConfigurationError names what is wrong."""
        _ = self.directory, self.card, self.sources, self.lake

    # -------------------------------------------------------------------------------------------- the verbs of a day

    def pull(self, day: date, source: str) -> Done:
        """Fetch the whole UTC day from a source and keep every page as received. NotReady if the day is not over."""
        import polars as pl

        from etl.lake import Partition
        from etl.schemas import DATASETS
        from etl.sources._packs import SUFFIX, pack

        if day >= self.clock().astimezone(UTC).date():
            raise NotReady(
                f"{day} (UTC) is not over: the earliest time to load it is {day + timedelta(days=1)} 00:00 UTC"
            )
        target = Partition.of("raw", date=day, source=source)

        def compute(_base):
            rows = pack(self.sources[source].fetch(day), lambda data: self.lake.put_blob("raw", data, SUFFIX, p=target))
            return DATASETS["raw"].arrange(pl.DataFrame(rows, schema=DATASETS["raw"].types, orient="row")), {}

        # A source is asked again each time: only it knows whether the day changed.
        return self._derive("pull", target, lambda: (None, compute))

    def normalise(self, day: date, source: str) -> list[Done]:
        """Kept pages → events and the provider's own totals."""
        from etl.lake import Partition
        from etl.schemas import DATASETS
        from etl.sources.normalise import counts, normalise

        readings = {}

        def reading(raw):
            if raw.sha256 not in readings:
                readings[raw.sha256] = self.sources[source].read(self._pages(raw), day)
            return readings[raw.sha256]

        def from_raw(make: Callable) -> Callable:
            def gather():
                raw = self._need(Partition.of("raw", date=day, source=source), f"python -m etl pull --date {day}")
                inputs = {f"raw/{source}": raw.sha256, "source": self.settings.sources[source].fingerprint()}
                return inputs, lambda base: make(reading(raw), base)

            return gather

        def events(read, base):
            previous = self.lake.read(base, DATASETS["events"].columns) if base else None
            result = normalise(read.events, previous)
            return result.events, {**counts(result.events), "duplicates": result.duplicates}

        def ledger(read, _base):
            return DATASETS["ledger"].arrange(read.ledger), {}

        return [
            self._derive("normalise", Partition.of("events", date=day, source=source), from_raw(events)),
            self._derive("normalise", Partition.of("ledger", date=day, source=source), from_raw(ledger)),
        ]

    def rate(self, day: date, source: str) -> Done:
        """Accepted events → charges, by the directory and the rate card."""
        import polars as pl

        from etl.lake import Partition
        from etl.rating.charge import rate

        columns = [
            "record_id", "kind", "outcome", "provider_account", "direction", "type", "status", "occurred_at",
            "from_number", "to_number", "segments_reported", "segments_computed", "segments", "carrier", "ended_at",
            "answered_seconds", "provider_cost", "provider_currency", "vanished",
        ]  # fmt: skip

        def gather():
            events = self._need(Partition.of("events", date=day, source=source), f"python -m etl run --date {day}")
            inputs = {
                f"events/{source}": events.sha256,
                "directory": self.directory.fingerprint,
                "rates": self.card.fingerprint,
            }

            def compute(_base):
                accepted = self.lake.read(events, columns).filter(pl.col("outcome") == "accepted")
                attributed = self.directory.attribute(accepted, day, self.settings.currency)
                charges = rate(attributed, self.card, day, credits_per_segment=self.settings.credits_per_segment)
                return charges, {"unrated": charges["unrated"].is_not_null().sum()}

            return inputs, compute

        return self._derive("rate", Partition.of("charges", date=day, source=source), gather)

    def roll_up(self, day: date) -> Done:
        """Charges of every source → daily."""
        from etl.lake import Partition
        from etl.rollup import daily

        def gather():
            charges = self.lake.heads("charges", date=day)
            if not charges:
                raise NotReady(f"nothing is rated for {day}: run python -m etl run --date {day}")

            def compute(_base):
                every = self.lake.scan(list(charges.values())).collect()
                _refuse_twice(every, day)
                rolled = daily(every.drop("date", "source"))
                return rolled, {"unrated": int(rolled["unrated"].sum())}

            return {f"charges/{p['source']}": v.sha256 for p, v in charges.items()}, compute

        return self._derive("roll up", Partition.of("daily", date=day), gather)

    def reconcile(self, day: date, source: str):
        """`reconcile.compare` of one day and source: what we hold against what the provider says it charged."""
        from etl.lake import Partition
        from etl.reconcile import compare

        need = f"python -m etl run --date {day}"
        events = self._need(Partition.of("events", date=day, source=source), need)
        ledger = self._need(Partition.of("ledger", date=day, source=source), need)
        columns = [
            "kind", "outcome", "provider_account", "direction", "type", "status", "segments", "answered_seconds",
            "provider_cost", "vanished",
        ]  # fmt: skip
        return compare(self.lake.read(events, columns), self.lake.read(ledger))

    def run_day(self, day: date, sources: Iterable[str] | None = None) -> Report:
        """pull → normalise → rate for each source, then roll up. A source that fails stops the day, not the others'."""
        done: list[Done] = []
        for source in sources or self.sources:
            done += [self.pull(day, source), *self.normalise(day, source), self.rate(day, source)]
        done.append(self.roll_up(day))
        return Report(tuple(done), tuple(held(done)))

    # -------------------------------------------------------------------------------------------- the verbs of a month

    def state(self, month: Month) -> Done:
        """daily → the month's statement lines, all accounts."""
        from etl.lake import Partition
        from etl.statement import lines

        def gather():
            rolled = self._month_days(month)

            def compute(_base):
                stated = lines(self._daily(rolled), self.directory.of_month(month))
                return stated, {"unrated": int(stated.filter(stated["section"] == "usage")["unrated"].sum())}

            inputs = {p["date"]: v.sha256 for p, v in rolled.items()} | {"directory": self.directory.fingerprint}
            return inputs, compute

        done = self._derive("state", Partition.of("statement", month=str(month)), gather)
        self.__dict__.pop("statements", None)  # what was read before is no longer the newest
        return done

    def close(self, month: Month, accounts: Iterable[str] | None = None, *, on: date | None = None) -> list:
        """Close the month for each account that may close; the others say why not. ``on`` is the day it is done."""
        import polars as pl

        from etl import statement

        head, stated, rolled = self._stated(month)
        lacking = statement.missing_days(self.lake, rolled, month, self.settings.sources, self.settings.start)
        lacking += [s for s in self._stale_days(rolled) if not any(s[:10] == named[:10] for named in lacking)]
        already = statement.closings(self.lake, month)
        earliest = month.end + timedelta(days=self.settings.close_after_days)
        results = []
        for account_id in accounts or [a.account_id for a in self.directory.of_month(month)]:
            account = self.directory.account(account_id)
            if account_id in already:
                later = statement.later(self.lake, already[account_id], stated)
                results.append(statement.Closing(account_id, month, already[account_id]["revision"], later=later))
                continue
            reasons = statement.holds(account_id, month, stated, lacking, earliest, on or self._today())
            if reasons:
                results.append(statement.Closing(account_id, month, 0, reasons))
                continue
            mine = (pl.col("account_id") == account_id) & (pl.col("section") == "total")
            total: Decimal = stated.filter(mine)["amount"].item()
            at = self.clock().astimezone(UTC).isoformat(timespec="seconds")
            results.append(statement.close(self.lake, account, month, head, rolled, total=total, closed_at=at))
        self.__dict__.pop("statements", None)
        return results

    # -------------------------------------------------------------------------------------------- inside

    def _stated(self, month: Month):
        """(statement version, its rows, the daily versions it says the same as): what closing pins must belong together,
        so a roll-up that came in between is stated again."""
        from etl.lake import Partition, Stale
        from etl.schemas import DATASETS
        from etl.statement import lines

        for _ in range(STALE_TRIES):
            self.state(month)
            head = self.lake.head(Partition.of("statement", month=str(month)))
            stated = self.lake.read(head, DATASETS["statement"].columns)
            rolled = self._month_days(month)
            daily = self._daily(rolled)
            if lines(daily, self.directory.of_month(month)).equals(stated):
                return head, stated, rolled
        raise Stale(f"{month} was rolled up again {STALE_TRIES} times while it was closing: is another run on?")

    def _stale_days(self, rolled: Mapping) -> list[str]:
        """Roll-ups that do not hold the newest charges, as sentences: a run died between rating and rolling up."""
        from etl.rollup import daily
        from etl.schemas import DATASETS

        if not rolled:
            return []
        dates = sorted(p["date"] for p in rolled)
        every = self.lake.heads("charges", date=(dates[0], dates[-1]))
        stale = []
        for partition, version in rolled.items():
            charges = {p: v for p, v in every.items() if p["date"] == partition["date"]}
            if {f"charges/{p['source']}": v.sha256 for p, v in charges.items()} == version.inputs:
                continue
            # Other inputs may still mean the same figures.
            newest = daily(self.lake.scan(list(charges.values())).drop("date", "source").collect())
            if not newest.equals(self.lake.read(version, DATASETS["daily"].columns)):
                stale.append(
                    f"{partition['date']} was rated again since: python -m etl rate --date {partition['date']}"
                )
        return stale

    def loose_ends(self, month: Month) -> list[str]:
        """What the month holds that no account pays for, as sentences: records in quarantine and usage of no account."""
        import polars as pl

        window = (month.first, month.days[-1])
        quarantined = sum(int(v.sums.get("quarantined", 0)) for v in self.lake.heads("events", date=window).values())
        daily = self._daily(self._month_days(month))
        billed = pl.col("account_id").is_in([a.account_id for a in self.directory.of_month(month)])
        strays = daily.filter(~billed & (pl.col("line") != "carrier_fee"))["events"].sum()
        ends = []
        if quarantined:
            ends.append(f"{month}: {quarantined} record(s) in quarantine: see docs/sources.md for each reason's remedy")
        if strays:
            ends.append(
                f"{month}: {strays} record(s) of no account of that month: complete accounts.csv, then etl rate"
            )
        return ends

    def has_days(self, month: Month) -> bool:
        """Whether any day of the month is rolled up."""
        return bool(self._month_days(month))

    def _daily(self, rolled: Mapping):
        """The rows of these daily partitions, without the date."""
        from etl.schemas import DATASETS

        return self.lake.scan(list(rolled.values())).drop("date").collect() if rolled else DATASETS["daily"].empty()

    def _today(self) -> date:
        return self.clock().astimezone(UTC).date()

    def _month_days(self, month: Month) -> dict:
        return self.lake.heads("daily", date=(month.first, month.days[-1]))

    def _need(self, partition, command: str):
        head = self.lake.head(partition)
        if head is None:
            raise NotReady(f"{partition} is not in the lake: run {command}")
        return head

    def _pages(self, raw) -> Iterator:
        from etl.sources._packs import SUFFIX, unpack

        return unpack(self.lake.read(raw), lambda sha: self.lake.get_blob("raw", sha, SUFFIX, p=raw.partition))

    def _derive(self, verb: str, target, gather: Callable) -> Done:
        """Compute and commit one partition, unless its head came from the same inputs, code and settings.

        ``gather() -> (inputs, compute)`` reads the input heads, and is asked after the base was read: whoever commits
        newer inputs in between moves the base, so an older answer never lands on a newer one.
        """
        from etl.lake import Stale

        for attempt in range(STALE_TRIES):
            base = self.lake.head(target)
            inputs, compute = gather()
            fresh = base is not None and inputs is not None and base.inputs == inputs
            if fresh and (base.code, base.config) == (self.lake.code, self.lake.config):
                self.lake.heal(target.dataset, **dict(target.keys))
                return Done(verb, target.path, base.seq, base.rows, False, _numbers(base.sums))
            frame, counted = compute(base)
            sums = {name: str(n) for name, n in counted.items()}
            try:
                version = self.lake.commit(target, frame, base=base, inputs=inputs or {}, sums=sums, reason=verb)
            except Stale:
                log.info("%s moved while %s was computing (attempt %d); computing again", target, verb, attempt + 1)
                continue
            changed = base is None or version.seq != base.seq
            return Done(verb, target.path, version.seq, version.rows, changed, counted)
        raise Stale(
            f"{target} moved {STALE_TRIES} times while {verb} was computing: is another run of the same day on?"
        )


def _refuse_twice(charges, day: date) -> None:
    """ValueError if two sources hold the same record: it would be billed twice."""
    import polars as pl

    key = ["kind", "record_id"]
    twice = charges.filter(charges.select(key).is_duplicated())
    if twice.height:
        first = twice.sort(key).row(0, named=True)
        sources = ", ".join(sorted(twice.filter(pl.col("record_id") == first["record_id"])["source"].unique()))
        raise ValueError(
            f"{day}: {twice.height} charges share a record, first {first['record_id']} of {sources}: they would be "
            "billed twice, so nothing is rolled up. Bring these records from one source, and give the other a lake of its own"
        )


def _numbers(sums: Mapping[str, str]) -> dict[str, int]:
    return {name: int(value) for name, value in sums.items()}


def held(done: Iterable[Done]) -> Iterator[str]:
    """What a day's outcome holds back, as sentences."""
    for one in done:
        if one.verb == "rate" and one.counts.get("unrated"):
            yield f"{one.partition}: {one.counts['unrated']} event(s) without a price"
        if one.verb == "normalise" and one.counts.get("quarantined"):
            yield f"{one.partition}: {one.counts['quarantined']} record(s) in quarantine"
