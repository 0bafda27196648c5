"""The audit of some UTC days and of the months they lie in: what is read, and which invariant is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date

import polars as pl

import etl.audit.days as of_day
import etl.audit.months as of_month
import etl.audit.stored as stored
from etl.audit.invariants import BROKEN, NOT_CHECKED, OF_A_MONTH, OF_A_SOURCE, Result, broken, judged
from etl.directory import Directory
from etl.lake import Lake, Partition, SchemaMismatch, StoreError, Version
from etl.periods import Month
from etl.schemas import DATASETS

ReadAgain = Callable[[date, str], pl.DataFrame]
"""(day, source) → `schemas.Events` as the kept pages say today."""

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
    read_again: ReadAgain | None = None,
    deep: bool = False,
) -> list[Result]:
    """A verdict on every invariant (docs/audit.md) for these UTC days and the months they lie in; changes nothing.

    What cannot be checked is `NOT_CHECKED` and says why, never ok. ``deep`` reads and hashes every version ever
    committed of these partitions, and every kept page; with ``read_again`` it also reads the pages once more.
    """
    run = _Audit(lake, sorted(set(days)), list(sources), directory, read_again, deep)
    for day in run.days:
        run.day(day)
    run.over_all()
    for month in sorted({Month.of(day) for day in run.days}):
        run.month(month)
    return run.results


class _Audit:
    def __init__(
        self, lake: Lake, days: list[date], sources: list[str], directory: Directory | None, read_again: ReadAgain | None,
        deep: bool,
    ) -> None:  # fmt: skip
        self.lake, self.days, self.sources, self.directory = lake, days, sources, directory
        self.read_again, self.deep = read_again, deep
        self.results: list[Result] = []
        self._versions: dict[Partition, Version] = {}

    # ------------------------------------------------------------------------------------------------ a day

    def day(self, day: date) -> None:
        again = f"run python -m etl run --date {day}"
        charges = [self._source(day, source, again) for source in self.sources]
        rated = [frame for frame in charges if frame is not None]
        where = f"date={day}"
        daily = self._read(Partition.of("daily", date=day), DAILY, again)
        if daily is None:
            self._absent(Partition.of("daily", date=day), where, "is not rolled up", again)
            self._skip(["lines add up"], where, "has no roll-up to be read", again)
        elif len(rated) == len(self.sources):
            self._judge("lines add up", where, of_day.adds_up(pl.concat(rated), daily, where))
        else:
            self._skip(["lines add up"], where, "is not rated from every source", again)
            if rated:
                # What is there must be in the roll-up even so.
                self.results += of_day.adds_up(pl.concat(rated), daily, where)
        self._customers("daily", daily, where)

    def _source(self, day: date, source: str, again: str) -> pl.DataFrame | None:
        keys = {"date": day, "source": source}
        where = f"date={day}/source={source}"
        raw_at, events_at, charges_at = (Partition.of(d, **keys) for d in ("raw", "events", "charges"))
        raw = self._read(raw_at, None, again)
        events, charges = self._read(events_at, EVENTS, again), self._read(charges_at, CHARGES, again)
        for dataset in ("ledger", "reconciled"):
            self._scan(Partition.of(dataset, **keys), again)
        if events is None or charges is None:
            self._absent(events_at if events is None else charges_at, where, "is not loaded", again)
            self._skip([n for n in OF_A_SOURCE if n != "complete"], where, "is not loaded", again)
            return charges
        self._pages(raw_at, raw, events, day, source, again)
        self._judge("nothing lost", where, of_day.conserved(events, charges, where))
        self._judge("one outcome each", where, of_day.once(events, where))
        self._judge("no price is never zero", where, of_day.priced(charges, where))
        self._judge("segments recounted", where, of_day.recounted(events, where))
        self._judge("in its day", where, of_day.in_its_day(events, day, where))
        if self._customers("charges", charges, where):
            numbers = self.directory.numbers.select("number_e164", "account_id").unique()
            owners = pl.DataFrame(
                [(sid, a.account_id) for a in self.directory.accounts for sid in a.provider_accounts],
                schema={"provider_account": pl.String, "account_id": pl.String}, orient="row",
            )  # fmt: skip
            self._judge("nobody else's", where, of_day.belongs(charges, events, numbers, owners, where))
        return charges

    def _pages(
        self, at: Partition, raw: pl.DataFrame | None, events: pl.DataFrame, day: date, source: str, again: str
    ) -> None:
        where = f"date={day}/source={source}"
        if raw is None:
            self._skip(["complete", "raw kept"], where, "keeps no page of what it was read from", again)
            return
        self._judge("complete", where, of_day.pages_whole(raw, where))
        head = self._versions[at]
        checks = [
            stored.raw_kept(self.lake, head, raw, where, deep=self.deep),
            self._read_from(at, raw, events, where),
        ]
        if self.deep and self.read_again:
            checks.append(self._same_again(day, source, where, again))
        self._judge("raw kept", where, *checks)

    def _read_from(self, at: Partition, raw: pl.DataFrame, events: pl.DataFrame, where: str) -> Iterator[Result]:
        """The pages kept now; of earlier versions too when some record needs them, for an older page may say newer."""
        kept = set(raw["sha256"])
        if set(events["raw_sha256"]) - kept:
            for version in self.lake.history(at):
                kept |= set(self.lake.read(version, ["sha256"])["sha256"])
        yield from stored.read_from(events, kept, where)

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
            rows = self.lake.scan(heads, ["date", "source", "kind", "record_id"]).collect()
            self._judge("one outcome each", where, of_day.once_over_all(rows, where))

    # ------------------------------------------------------------------------------------------------ a month

    def month(self, month: Month) -> None:
        where, again = f"month={month}", f"run python -m etl run for a day of {month}"
        lines, monthly, ledger = (
            self._read(Partition.of(dataset, month=str(month)), columns, again)
            for dataset, columns in (("statement", None), ("monthly", MONTHLY), ("credits", None))
        )
        self._scan(Partition.of("holdings", month=str(month)), again)
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
        self._judge("closed stays closed", where, stored.closed_stays_closed(self.lake, month, deep=self.deep))
        self._judge("one mail each", where, stored.one_mail_each(self.lake, month))

    def _sums(self, month: Month, lines: pl.DataFrame, monthly: pl.DataFrame, where: str) -> Iterator[Result]:
        columns = ["account_id", "line", "currency", "charge"]
        heads = list(self.lake.heads("daily", date=(month.first, month.days[-1])).values())
        daily = self.lake.scan(heads, columns).collect() if heads else DATASETS["daily"].empty().select(columns)
        yield from of_month.sums(lines, daily, monthly, where)

    def _carried(self, month: Month, ledger: pl.DataFrame, where: str) -> Iterator[Result]:
        """Against the ledger of the month before, for each account as it closed with it."""
        month -= 1
        head = self.lake.head(Partition.of("credits", month=str(month)))
        newest = self.lake.read(head, ledger.columns[:-1]) if head else ledger.clear().drop("month")
        parts, closed = [], []
        keys = {key.split("/")[2].removeprefix("account="): key for key in self.lake.list_pins(f"close/month={month}/")}
        for account, key in keys.items():
            reference = self.lake.get_pin(key).get("credits")
            if reference:
                version = self.lake.version(Partition.parse(reference["partition"]), reference["seq"])
                parts.append(self.lake.read(version, newest.columns).filter(pl.col("account_id") == account))
                closed.append(account)
        left = pl.concat([newest.filter(~pl.col("account_id").is_in(closed)), *parts])
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
        self._judge("rounded once", p.path, of_day.typed(schema, p.dataset, p.path))
        if self._damaged(p):
            return None
        self._versions[p] = head
        return rows

    def _inspect(self, p: Partition, again: str) -> Version | None:
        """The head of a partition; None for one never written, or whose newest entry cannot be read."""
        versions, findings = self.lake.inspect(p, deep=self.deep)
        if not versions and not findings:
            return None
        self._judge("log whole", p.path, stored.log_whole(findings, p.path))
        self._judge("view is head", p.path, stored.view_is_head(findings, p.path, again))
        self._judge("configured", p.path, stored.configured(versions, p.path, again))
        return versions[-1] if versions else None

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
        except (StoreError, SchemaMismatch, pl.exceptions.PolarsError, ValueError, KeyError) as error:
            self.results.append(broken(invariant, where, f"needs what cannot be read: {error}", stored.RESTORE))

    def _skip(self, names: Iterable[str], where: str, why: str, remedy: str) -> None:
        self.results += [Result(name, where, NOT_CHECKED, why, remedy) for name in names]
