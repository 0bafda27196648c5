"""The audit of some UTC days and of the months they lie in: what is read, and which invariant is asked of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import cache, partial
from itertools import groupby
from typing import Literal, TypeVar

import polars as pl

import etl.audit.bounds as of_bounds
import etl.audit.corrected as corrected
import etl.audit.days as of_day
import etl.audit.months as of_month
import etl.audit.noted as noted
import etl.audit.stored as stored
from etl import acceptance
from etl.audit.invariants import BOUNDS, BROKEN, NOT_CHECKED, OF_A_MONTH, OF_A_SOURCE, OK, Result, broken, judged
from etl.buckets import overlapping
from etl.directory import Directory
from etl.lake import EXPIRED, Erased, Lake, Partition, SchemaMismatch, StoreError, Version
from etl.lake.checks import Inspected
from etl.manifests import closings, revisions, rows_as_closed
from etl.money import MONEY
from etl.ordering import repeated
from etl.periods import Month
from etl.schemas import DATASETS
from etl.settings import LATEST_DAYS, BoundsSettings

ReadAgain = Callable[[date, str], pl.DataFrame]
"""(day, source) → `schemas.Events` as the kept pages say today."""

Notes = Literal["", "read", "write"]
_T = TypeVar("_T")

EVENTS = (
    "record_id", "kind", "outcome", "reason", "provider_account", "direction", "type", "status", "occurred_at", "from_number",
    "to_number", "body", "segments_reported", "segments_computed", "segments", "answered_seconds", "vanished", "raw_sha256",
)  # fmt: skip
CHARGES = (
    "record_id", "kind", "account_id", "line", "quantity", "messages", "segments", "credits", "billed_seconds", "rate_id", "charge", "fee_id",
    "carrier_fee", "detection_rate_id", "detection_charge", "unrated",
)  # fmt: skip
DAILY = (
    "account_id", "line", "currency", "events", "messages", "segments", "credits", "billed_seconds", "charge",
)  # fmt: skip
MONTHLY = ("account_id", "line", "currency", "charge", "unrated")


def audit(lake: Lake, days: Iterable[date], sources: Iterable[str]) -> list[str]:
    """Every broken promise of these UTC days, as sentences; empty when all hold that can be checked on the lake alone."""
    return [str(result) for result in examine(lake, days, sources) if result.verdict == BROKEN]


def examine(
    lake: Lake,
    days: Iterable[date],
    sources: Iterable[str],
    directory: Directory | None = None,
    *,
    bounds: BoundsSettings | None = None,
    months: Iterable[Month] = (),
    more: Iterable[date] = (),
    read_again: ReadAgain | None = None,
    deep: bool = False,
    notes: Notes = "",
) -> list[Result]:
    """A verdict on every invariant (docs/audit.md) for these UTC days, the months they lie in, and more ``months`` as a
    whole; changes nothing. ``more``: days beside them, without their months.

    What cannot be checked is `NOT_CHECKED` and says why, never ok. ``bounds``: none, and nothing is out of bounds.
    ``deep`` reads and hashes every version ever committed of these partitions, and every kept page; with
    ``read_again`` it also reads the pages once more. ``notes``: with "read" a day whose rows were all found well before
    is not read again, with "write" what is found well now is noted, too (`etl.audit.noted`); never with ``deep``.
    """
    asked = set(days)
    run = _Audit(lake, sorted({*asked, *more}), list(sources), directory, read_again, deep, "" if deep else notes)
    for _, some in groupby(run.days, key=Month.of):
        run.look_at_days(together := list(some))
        for day in together:
            run.noted_day(day)
    run.over_all()
    if bounds:
        run.bounds(bounds)
    for month in sorted({*months, *(Month.of(day) for day in asked)}):
        run.month(month)
    return run.results


def out_of_bounds(lake: Lake, days: Iterable[date], bounds: BoundsSettings) -> list[Result]:
    """The verdict on ``bounds`` alone."""
    run = _Audit(lake, sorted(set(days)), [], None, None, False, "")
    run.bounds(bounds)
    return run.results


class _Audit:
    def __init__(
        self, lake: Lake, days: list[date], sources: list[str], directory: Directory | None, read_again: ReadAgain | None,
        deep: bool, notes: Notes,
    ) -> None:  # fmt: skip
        self.lake, self.days, self.sources, self.directory = lake, days, sources, directory
        self.read_again, self.deep, self.notes = read_again, deep, notes
        self.results: list[Result] = []
        self._versions: dict[Partition, Version] = {}
        self._seen: dict[Partition, Inspected] = {}
        self._known: dict[date, list[tuple[str, str]] | None] = {}
        self._owners = None if directory is None else pl.DataFrame(
            [(sid, a.account_id) for a in directory.accounts for sid in a.provider_accounts],
            schema={"provider_account": pl.String, "account_id": pl.String}, orient="row",
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------------ a day

    def look_at_days(self, days: Iterable[date]) -> None:
        """Ask the store for all that these days need at once, for it may be far away."""
        of_days = {day: self._of_day(day) for day in days}
        self._look(p for partitions in of_days.values() for p in partitions)
        self._known = {day: self._note(day, partitions) for day, partitions in of_days.items()} if self.notes else {}
        self._fetch(p for day, partitions in of_days.items() if not self._known.get(day) for p in partitions)

    def _of_day(self, day: date) -> list[Partition]:
        of_sources = ("raw", "events", "charges", "ledger", "reconciled")
        return [Partition.of("daily", date=day)] + [
            Partition.of(d, date=day, source=s) for s in self.sources for d in of_sources
        ]

    def _look(self, partitions: Iterable[Partition]) -> None:
        found = self.lake.inspect_all(partitions, deep=self.deep)
        # What is wrong is looked at again by itself: a commit may have come in between.
        self._seen |= {p: one for p, one in found.items() if not one.findings}

    def _fetch(self, partitions: Iterable[Partition]) -> None:
        self.lake.fetch(self._seen[p].versions[-1] for p in partitions if p in self._seen and self._seen[p].versions)

    # ------------------------------------------------------------------------------------------------ notes

    def noted_day(self, day: date) -> None:
        """`day`, or what is noted of its rows, with a new look at what the store has of them."""
        before, self.results = self.results, []
        known = self._known.get(day)
        if not (known and self._as_noted(day, known)):
            self.results = []
            self.day(day)
            if self.notes == "write" and (content := self._content(self._of_day(day))):
                noted.write(self.lake, noted.day_key(day, content), self.results)
        # A day asks often what was found of it so far: of a year, that must not be all of the year.
        self.results = [*before, *self.results]

    def _note(self, day: date, partitions: list[Partition]) -> list[tuple[str, str]] | None:
        content = self._content(partitions)
        return noted.read(self.lake, noted.day_key(day, content)) if content else None

    def _content(self, partitions: list[Partition]) -> str:
        """`noted.content` of the newest versions; empty where one could not be looked at or the day is not whole."""
        seen = {p: self._seen[p].versions for p in partitions if p in self._seen}
        whole = all(p in seen for p in partitions) and all(
            versions for p, versions in seen.items() if p.dataset not in ("ledger", "reconciled")
        )
        heads = [versions[-1] for versions in seen.values() if versions]
        return noted.content(self.lake, heads, self.directory, self.sources) if whole else ""

    def _as_noted(self, day: date, known: list[tuple[str, str]]) -> bool:
        """Whether all that is looked at every time is well, too; then that and what is noted are the verdicts."""
        again, begun = f"run python -m etl run --date {day}", len(self.results)
        for p in self._of_day(day):
            if head := self._inspect(p, again):
                self._versions[p] = head
        for source in self.sources:
            at = Partition.of("raw", date=day, source=source)
            where, head = f"date={day}/source={source}", self._versions[at]
            if head.reason == EXPIRED:
                self._judge("raw kept", where)
                continue
            try:
                raw = self.lake.read(head)
            except (StoreError, SchemaMismatch, pl.exceptions.PolarsError):
                return False
            kept = stored.raw_kept(self.lake, head, raw, where, lambda _: (), self._stored(at), deep=False)
            self._judge("raw kept", where, kept)
        if any(result.verdict != OK for result in self.results[begun:]):
            return False
        self.results += [Result(invariant, where, OK) for invariant, where in known]
        return True

    # ------------------------------------------------------------------------------------------------ rows

    def day(self, day: date) -> None:
        again = f"run python -m etl run --date {day}"
        charged = [self._source(day, source, again) for source in self.sources]
        rated = [sums for sums in charged if sums is not None]
        at, where = Partition.of("daily", date=day), f"date={day}"
        rolled = None
        if self._scan(at, again) is None:
            self._absent(at, where, "is not rolled up", again)
            self._skip(["lines add up"], where, "has no roll-up to be read", again)
        else:
            rolled = of_day.added(self._each([at], [DAILY], of_day.rolled))
            if len(rated) == len(self.sources):
                self._judge("lines add up", where, of_day.adds_up(of_day.added(rated), rolled, where))
            else:
                self._skip(["lines add up"], where, "is not rated from every source", again)
                if rated:
                    # What is there must be in the roll-up even so.
                    self.results += judged("lines add up", where, of_day.adds_up(of_day.added(rated), rolled, where))
        self._customers("daily", rolled, where)

    def _source(self, day: date, source: str, again: str) -> pl.DataFrame | None:
        """What its charges add up to (`of_day.charged`); None where they are not to be had."""
        keys = {"date": day, "source": source}
        where = f"date={day}/source={source}"
        raw_at, events_at, charges_at = (Partition.of(d, **keys) for d in ("raw", "events", "charges"))
        raw = self._read(raw_at, None, again)
        loaded, rated = (self._scan(at, again) is not None for at in (events_at, charges_at))
        for dataset in ("ledger", "reconciled"):
            self._scan(Partition.of(dataset, **keys), again)
        if not (loaded and rated):
            self._absent(charges_at if loaded else events_at, where, "is not loaded", again)
            self._skip([n for n in OF_A_SOURCE if n != "complete"], where, "is not loaded", again)
            return of_day.added(self._each([charges_at], [CHARGES], of_day.charged)) if rated else None
        both, numbers = (events_at, charges_at), None
        if self.directory is not None:
            numbers = self.directory.numbers.select("number_e164", "account_id").unique()
        look = partial(of_day.look, day=day, numbers=numbers, owners=self._owners)
        seen = of_day.together(self._each(both, (EVENTS, CHARGES), look))
        if seen.lost.height or seen.unfounded.height:
            columns = ((*of_day.KEY, "outcome"), of_day.KEY)
            seen = of_day.settled(seen, self._each(both, columns, partial(of_day.elsewhere, seen=seen)))
        whom = self._whom(both)
        self._pages(raw_at, raw, seen, both, whom, again)
        self._judge("nothing lost", where, of_day.conserved(seen, where, whom))
        self._judge("one outcome each", where, self._once(seen, both, where, whom))
        self._judge("no price is never zero", where, of_day.priced(seen, where))
        self._judge("segments recounted", where, of_day.recounted(seen, where, whom))
        self._judge("in its day", where, of_day.in_its_day(seen, where, whom))
        if self._customers("charges", seen.charged, where):
            self._judge("nobody else's", where, of_day.belongs(seen, where))
        return seen.charged

    def _each(self, at: Sequence[Partition], columns: Sequence[Sequence[str]], work: Callable[..., _T]) -> list[_T]:
        """What ``work`` makes of the rows of these partitions, one frame each, bucket by bucket: as many files of each at
        a time as may hold the same records."""
        heads = [self._versions[p] for p in at]
        cut = [len(head.files) for head in heads]
        buckets = min(cut) if max(cut) % min(cut) == 0 else 1

        def rows(head: Version, number: int, names: Sequence[str]) -> pl.DataFrame:
            files = tuple(head.files[n] for n in overlapping(number, buckets, len(head.files)))
            return self.lake.scan([replace(head, files=files)], list(names)).collect()

        return [work(*(rows(h, n, names) for h, names in zip(heads, columns, strict=True))) for n in range(buckets)]

    def _whom(self, both: Sequence[Partition]) -> of_day.Whom:
        """Who is charged for some record of a provider account on a day, and whose it is in the directory."""

        @cache
        def pairs() -> pl.DataFrame:
            charged = self._each(both, ((*of_day.KEY, "provider_account"), (*of_day.KEY, "account_id")), of_day.sharing)
            return pl.concat(charged if self._owners is None else [*charged, self._owners]).unique()

        return lambda sid: sorted(pairs().filter(pl.col("provider_account").eq_missing(sid))["account_id"])

    def _once(self, seen: of_day.Seen, both: Sequence[Partition], where: str, whom: of_day.Whom) -> Iterator[Result]:
        """Of each record only a number at first; ids of one number are looked at."""
        if (again := repeated(seen.records)).is_empty():
            return
        alike = pl.col("record_id").hash().is_in(again.implode())
        columns = ((*of_day.KEY, "provider_account"), (*of_day.KEY, "account_id"))
        found = self._each(both, columns, lambda *frames: [frame.filter(alike) for frame in frames])
        events, charges = (pl.concat(frames) for frames in zip(*found, strict=True))
        yield from of_day.once(events, charges, where, whom)

    def _pages(
        self, at: Partition, raw: pl.DataFrame | None, seen: of_day.Seen, both: Sequence[Partition], whom: of_day.Whom,
        again: str,
    ) -> None:  # fmt: skip
        day, source = date.fromisoformat(at["date"]), at["source"]
        where = f"date={day}/source={source}"
        if raw is None:
            self._skip(["complete", "raw kept"], where, "keeps no page of what it was read from", again)
            return
        self._judge("complete", where, of_day.pages_whole(raw, where, whom))
        head = self._versions[at]
        if head.reason == EXPIRED:
            # Erased on purpose (docs/privacy.md): the rows that say which pages there were are all there is to hold to.
            self._judge("raw kept", where)
            return
        checks = [
            stored.raw_kept(self.lake, head, raw, where, whom, self._stored(at), deep=self.deep),
            self._read_from(at, raw, seen, both, where, whom),
        ]
        if self.deep and self.read_again:
            checks.append(self._same_again(day, source, where, again))
        self._judge("raw kept", where, *checks)

    def _read_from(
        self, at: Partition, raw: pl.DataFrame, seen: of_day.Seen, both: Sequence[Partition], where: str,
        whom: of_day.Whom,
    ) -> Iterator[Result]:  # fmt: skip
        """The pages kept now; of earlier versions too when some record needs them, for an older page may say newer."""
        kept = set(raw["sha256"])
        if seen.pages - kept:
            for version in self.lake.history(at):
                try:
                    kept |= set(self.lake.read(version, ["sha256"])["sha256"])
                except Erased:
                    return  # fetched again after it had expired: which pages there were before is not known
        if seen.pages - kept:
            # A file may bring records of the days before its own.
            day = date.fromisoformat(at["date"])
            window = (day + timedelta(days=1), day + timedelta(days=LATEST_DAYS))
            for later in self.lake.heads("raw", date=window, source=at["source"]):
                for version in self.lake.history(later):
                    with contextlib.suppress(Erased):
                        kept |= set(self.lake.read(version, ["sha256"])["sha256"])
        if seen.pages - kept:
            columns = ((*of_day.KEY, "provider_account", "vanished", "raw_sha256"), (*of_day.KEY, "account_id"))
            orphans = self._each(both, columns, partial(of_day.orphans, pages=kept))
            yield from stored.read_from(sum(orphans, of_day.Wrong()), where, whom)

    def _same_again(self, day: date, source: str, where: str, again: str) -> Iterable[Result]:
        head = self._versions[Partition.of("events", date=day, source=source)]
        try:
            same = self.read_again(day, source).equals(self.lake.read(head, DATASETS["events"].columns))
        except (StoreError, ValueError, OSError, EOFError) as error:
            return [broken("raw kept", where, f"cannot be read again: {error}", stored.RESTORE)]
        return [] if same else [broken("raw kept", where, "reads otherwise from its pages than it is stored", again)]

    def over_all(self) -> None:
        """No record twice, in whatever source or on whatever day of those audited."""
        if not self.days:
            return
        heads = [v for p, v in self._versions.items() if p.dataset == "charges"]
        where = f"{self.days[0]} to {self.days[-1]}"
        if heads:
            begun, key = len(self.results), noted.once_key(self.days, noted.content(self.lake, heads, None, ()))
            if self.notes and noted.read(self.lake, key):
                self.results.append(Result("one outcome each", where, OK))
                return
            self._judge("one outcome each", where, self._twice(heads, where))
            if self.notes == "write":
                self._note_once(key, heads, self.results[begun:])

    def _note_once(self, key: str, heads: Sequence[Version], results: list[Result]) -> None:
        """Of all these days, and of each month of them by itself: that is what closing asks."""
        noted.write(self.lake, key, results)
        by_month = groupby(sorted(heads, key=lambda v: v.partition["date"]), key=lambda v: v.partition["date"][:7])
        for _, some in by_month:
            part = list(some)
            days = [date.fromisoformat(v.partition["date"]) for v in part]
            noted.write(self.lake, noted.once_key(days, noted.content(self.lake, part, None, ())), results)

    def _twice(self, heads: Sequence[Version], where: str) -> Iterator[Result]:
        """Of each record only a number at first, so that a month of millions a day fits; ids of one number are looked at."""
        record = pl.col("record_id").hash()
        files = [self.lake.scan([replace(head, files=(file,))]) for head in heads for file in head.files]
        listed = [rows.filter(pl.col("kind") != of_day.LISTED_DAILY).select(record) for rows in files]
        again = repeated(pl.concat([rows.collect().to_series() for rows in listed]))
        if len(again):
            rows = self.lake.scan(heads).filter(record.is_in(again.implode()))
            yield from of_day.once_over_all(rows.select("date", "source", "kind", "record_id", "account_id").collect(), where)

    def bounds(self, bounds: BoundsSettings) -> None:
        """No account's day out of bounds, unless it was accepted."""
        if not self.days:
            return
        first, last = of_bounds.first_day(self.days), self.days[-1]
        where, asked = f"{self.days[0]} to {last}", ["date", "account_id", "currency", "charge"]

        def found() -> Iterator[Result]:
            heads = list(self.lake.heads("daily", date=(first, last)).values())
            if heads:
                accepted = {month: acceptance.names(self.lake, month) for month in {Month.of(d) for d in self.days}}
                charged = self.lake.scan(heads, asked).group_by(asked[:-1]).agg(pl.col("charge").sum())
                yield from of_bounds.beyond(charged.collect(), self.days, bounds, accepted)

        self._judge(BOUNDS, where, found())

    # ------------------------------------------------------------------------------------------------ a month

    def month(self, month: Month) -> None:
        where, again = f"month={month}", f"run python -m etl run for a day of {month}"
        datasets = ("statement", "monthly", "credits", "holdings", "corrections")
        partitions = [Partition.of(d, month=str(month)) for d in datasets]
        self._look(partitions)
        self._fetch(partitions)
        lines, monthly, ledger = (
            self._read(Partition.of(dataset, month=str(month)), columns, again)
            for dataset, columns in (("statement", None), ("monthly", MONTHLY), ("credits", None))
        )
        for dataset in ("holdings", "corrections"):
            self._scan(Partition.of(dataset, month=str(month)), again)
        if lines is None or monthly is None:
            self._skip(OF_A_MONTH[:2], where, "has no statement yet", again)
        else:
            self._judge("lines add up", where, of_month.totals(lines, where), self._sums(month, lines, monthly, where))
            self._judge("rounded once", where, of_month.rounded_once(lines, where))
            self._judge("no price is never zero", where, of_month.priced(monthly, where))
            if self._customers("statement", lines, where):
                customers = [a.account_id for a in self.directory.of_month(month)]
                self._judge("complete", where, of_month.stated(lines, customers, where))
        if ledger is None:
            self._skip(["credits balance"], where, "has no credits ledger yet", again)
        else:
            self._judge("credits balance", where, of_month.balances(ledger, where), self._carried(month, ledger, where))
        # What else is promised of closed months, such as their corrections, is asked here.
        self._judge(corrected.CORRECTED, where, corrected.booked(self.lake, month, where), self._told(month, lines, where))
        self._judge("closed stays closed", where, stored.closed_stays_closed(self.lake, month, deep=self.deep))
        self._judge("one mail each", where, stored.one_mail_each(self.lake, month))

    def _sums(self, month: Month, lines: pl.DataFrame, monthly: pl.DataFrame, where: str) -> Iterator[Result]:
        columns = ["account_id", "line", "currency", "charge"]
        heads = list(self.lake.heads("daily", date=(month.first, month.days[-1])).values())
        rows = self.lake.scan(heads, columns) if heads else DATASETS["daily"].empty().lazy().select(columns)
        daily = rows.group_by(columns[:-1]).agg(pl.col("charge").sum().cast(MONEY)).collect()
        yield from of_month.sums(lines, daily, monthly, where)

    def _told(self, month: Month, lines: pl.DataFrame | None, where: str) -> Iterator[Result]:
        """The records behind the month's correction lines."""
        head = self.lake.head(Partition.of("corrections", month=str(month)))
        if lines is not None and head is not None:
            corrections = self.lake.read(head, DATASETS["corrections"].columns)
            yield from corrected.told_by_record(lines, corrections, where)

    def _carried(self, month: Month, ledger: pl.DataFrame, where: str) -> Iterator[Result]:
        """Against the ledger of the month before: as an account closed it, or as it is now for those that closed both."""
        head = self.lake.head(Partition.of("credits", month=str(month - 1)))
        columns = ["account_id", "entry", "lot", "credits"]
        newest = self.lake.read(head, columns) if head else ledger.clear().select(*columns)
        here = revisions(self.lake, month)
        before = {a: m for a, m in closings(self.lake, month - 1).items() if "credits" in m and a not in here}
        closed = rows_as_closed(self.lake, before, "credits").select(columns)
        left = pl.concat([newest.filter(~pl.col("account_id").is_in(list(before))), closed])
        yield from of_month.carried(left, ledger, where)

    # ------------------------------------------------------------------------------------------------ inside

    def _customers(self, dataset: str, frame: pl.DataFrame | None, where: str) -> bool:
        """Whether the accounts a frame names could be checked."""
        if frame is None:
            return False
        if self.directory is None:
            self._skip(["nobody else's"], f"{dataset}/{where}", "is not compared with a directory", "name one")
            return False
        names = frame["account_id"].unique().to_list()
        self._judge(
            "nobody else's", f"{dataset}/{where}", of_day.known(names, self.directory.by_id, f"{dataset}/{where}")
        )
        return True

    def _read(self, p: Partition, columns: Sequence[str] | None, again: str) -> pl.DataFrame | None:
        """The newest rows of a partition after its log, view and types were looked at; None if there are none to be had."""
        rows = self._scan(p, again)
        return None if rows is None else (rows if columns is None else rows.select(columns)).collect()

    def _scan(self, p: Partition, again: str) -> pl.LazyFrame | None:
        head = self._inspect(p, again)
        if head is None:
            return None
        try:
            rows = self.lake.scan([head])
            schema = rows.collect_schema()
        except (StoreError, SchemaMismatch, pl.exceptions.PolarsError) as error:
            if not self._damaged(p):
                self.results.append(broken("log whole", p.path, f"cannot be read: {error}", stored.RESTORE))
            return None
        self._judge("rounded once", p.path, of_day.typed(schema, p.dataset, p.path, p.names))
        if self._damaged(p):
            return None
        self._versions[p] = head
        return rows

    def _inspect(self, p: Partition, again: str) -> Version | None:
        """The head of a partition; None for one never written, or whose newest entry cannot be read."""
        if p in self._seen:
            versions, findings, _ = self._seen[p]
        else:
            versions, findings = self.lake.inspect(p, deep=self.deep)
        if not versions and not findings:
            return None
        self._judge("log whole", p.path, stored.log_whole(findings, p.path))
        self._judge("view is head", p.path, stored.view_is_head(findings, p.path, again))
        self._judge("configured", p.path, stored.configured(versions, p.path, again))
        return versions[-1] if versions else None

    def _stored(self, p: Partition) -> set[str]:
        """The keys of what the history of a partition holds."""
        return self._seen[p].stored if p in self._seen else set(self.lake.store.list(f"_hist/{p.path}/"))

    def _absent(self, p: Partition, where: str, finding: str, again: str) -> None:
        """A day that was never written is not complete; one that cannot be read was named already."""
        if self._damaged(p):
            self._skip(["complete"], where, f"needs {p}, which cannot be read", stored.RESTORE)
        else:
            self.results.append(broken("complete", where, finding, again))

    def _damaged(self, p: Partition) -> bool:
        """Whether its rows cannot be read, or not as the numbers they ought to be."""
        return any(
            r.invariant in ("log whole", "rounded once") and r.where == p.path and r.verdict == BROKEN
            for r in self.results
        )

    def _judge(self, invariant: str, where: str, *checks: Iterable[Result]) -> None:
        """What cannot be read is not whole: it counts against the invariant that needed it."""
        try:
            self.results += judged(invariant, where, *checks)
        except (StoreError, SchemaMismatch, pl.exceptions.PolarsError, ValueError, LookupError) as error:
            self.results.append(broken(invariant, where, f"needs what cannot be read: {error}", stored.RESTORE))

    def _skip(self, names: Iterable[str], where: str, why: str, remedy: str) -> None:
        self.results += [Result(name, where, NOT_CHECKED, why, remedy) for name in names]
