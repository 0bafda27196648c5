"""What every verb stands on: the settings, what they open, and how one partition is derived from others."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from etl import redaction
from etl import settings as configuration
from etl.periods import Month
from etl.settings import ConfigurationError, Resolver, Settings, StoreSettings, connection_from_environment

if TYPE_CHECKING:
    from etl.lake import Version

log = logging.getLogger("tollbook")

STALE_TRIES = 5
WEIGHED = "weighed"
"""Input of events with cut numbers: the rows of `retention.beyond` that were known, and theirs or not, before the cut."""
FILES = ("directory", "products", "rates", "taxes")
"""Inputs that are files of the operator."""

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
    root = Path(__file__).parent.parent
    for file in sorted(root.rglob("*.py")):
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


class Base:
    """One configuration and one run."""

    def __init__(
        self,
        settings: Settings,
        *,
        run_id: str | None = None,
        resolve: Resolver = connection_from_environment,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        redaction.install()  # here, because every command line and every task of Airflow comes by
        self.settings = settings
        self.run_id = run_id or f"manual-{uuid.uuid4()}"
        self.resolve = resolve
        self.clock = clock

    @classmethod
    def open(cls, config: Path | str | None = None, **options: Any) -> Self:
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
    def products(self):
        from etl import products

        return products.load(self.settings.path(self.settings.directory))

    @cached_property
    def taxes(self):
        from etl import taxes

        return taxes.load(self.settings.path(self.settings.rates))

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
        _ = self.directory, self.products, self.card, self.taxes, self.sources, self.lake

    # -------------------------------------------------------------------------------------------- inside

    def _directory_of(self, month: Month):
        """The directory as it counts for a month: an account that closed it keeps the terms it closed it with."""
        from etl.manifests import as_agreed, closings

        return as_agreed(self.directory, closings(self.lake, month))

    def _today(self) -> date:
        return self.clock().astimezone(UTC).date()

    def _need(self, partition, command: str):
        head = self.lake.head(partition)
        if head is None:
            raise NotReady(f"{partition} is not in the lake: run {command}")
        return head

    def _beyond(self, events, day: date) -> set[str]:
        """`retention.beyond` of a day's accepted events, by the rate card and the places in force."""
        import polars as pl

        from etl.rating.card import FEE_KEY, PRICE_KEY, in_force
        from etl.retention import PARTIES, any_cut, beyond

        if not any_cut(events):
            return set()
        tables = {
            "prices.csv": (in_force(self.card.prices, day, PRICE_KEY), ["to_number"]),
            "carrier_fees.csv": (in_force(self.card.fees, day, FEE_KEY), ["to_number"]),
            "places.csv": (self.directory.places.select("jurisdiction", "prefix"), PARTIES),
        }
        return beyond(events.filter(pl.col("outcome") == "accepted"), tables)

    def _derive(self, verb: str, target, gather: Callable, *, settled: bool = False) -> Done:
        """Compute and commit one partition, unless its head came from the same inputs, code and settings.

        ``gather() -> (inputs, compute)`` reads the input heads, and is asked after the base was read: whoever commits
        newer inputs in between moves the base, so an older answer never lands on a newer one. ``compute(base) -> (frames,
        counts)``: one frame or several; counts may be a function, asked when the last was taken. ``settled``: only other
        partitions are a reason to compute again, not other code, settings or files.
        """
        from etl.lake import Stale

        for attempt in range(STALE_TRIES):
            base = self.lake.head(target)
            inputs, compute = gather()
            same = base is not None and inputs is not None and base.inputs == inputs
            fresh = same or (settled and base is not None and _of_lake(base.inputs) == _of_lake(inputs))
            if fresh and (settled or (base.code, base.config) == (self.lake.code, self.lake.config)):
                self.lake.heal(target.dataset, **dict(target.keys))
                return Done(verb, target.path, base.seq, base.rows, False, _numbers(base.sums))
            frames, counted = compute(base)
            count = counted if callable(counted) else partial(dict, counted)
            sums = partial(_texts, count)
            try:
                version = self.lake.commit(target, frames, base=base, inputs=inputs or {}, sums=sums, reason=verb)
            except Stale:
                log.info("%s moved while %s was computing (attempt %d); computing again", target, verb, attempt + 1)
                continue
            changed = base is None or version.seq != base.seq
            return Done(verb, target.path, version.seq, version.rows, changed, count())
        raise Stale(
            f"{target} moved {STALE_TRIES} times while {verb} was computing: is another run of the same day on?"
        )


def weighed(history: Sequence[Version]) -> set[str]:
    """What the newest version that says so had `WEIGHED`."""
    return set(next((v.inputs[WEIGHED] for v in reversed(history) if WEIGHED in v.inputs), "").splitlines())


def _texts(count: Callable[[], Mapping[str, int]]) -> dict[str, str]:
    return {name: str(n) for name, n in count().items()}


def _numbers(sums: Mapping[str, str]) -> dict[str, int]:
    return {name: int(value) for name, value in sums.items()}


def _of_lake(inputs: Mapping[str, str]) -> dict[str, str]:
    """Inputs but for the files of the operator."""
    return {name: value for name, value in inputs.items() if name not in FILES}
