"""What the commands show: progress on a terminal, JSON lines for machines, one clear line for an error."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import traceback
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etl import redaction
from etl.jobs import Done, Jobs, NotReady, Report, held
from etl.periods import Month, days, parse_day, runs, today
from etl.settings import ConfigurationError

if TYPE_CHECKING:
    from etl.explain import Explanation

DONE, FAILED, WRONG_USE, HELD = 0, 1, 2, 3


class DaysFailed(Exception):
    """Some days of a range could not be loaded; the others were."""


class JsonLog(logging.Formatter):
    """One JSON object per log record."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        return json.dumps(entry, ensure_ascii=False)


def set_up_logging(as_json: bool) -> None:
    redaction.install()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLog() if as_json else logging.Formatter("%(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("tollbook").setLevel(logging.INFO if as_json else logging.WARNING)


def guarded(work: Callable[[], int], *, as_json: bool) -> int:
    """The exit code of ``work``; an error it raises becomes a sentence on stderr. TOLLBOOK_DEBUG=1 adds the traceback."""
    from etl.lake import Stale, StoreError
    from etl.sources import SourceError

    set_up_logging(as_json)
    try:
        return work()
    except ConfigurationError as error:
        return _failed(WRONG_USE, str(error), as_json)
    except (DaysFailed, NotReady, SourceError, StoreError, Stale, LookupError, ValueError, OSError) as error:
        return _failed(FAILED, f"{error}" or type(error).__name__, as_json)


def _failed(code: int, message: str, as_json: bool) -> int:
    message = redaction.mask(message)
    if os.environ.get("TOLLBOOK_DEBUG"):
        print(redaction.mask(traceback.format_exc()), file=sys.stderr)
    print(json.dumps({"error": message, "exit_code": code}) if as_json else f"tollbook: {message}", file=sys.stderr)
    return code


def emit(record: dict[str, Any]) -> None:
    print(json.dumps(record, ensure_ascii=False, default=_spelled), flush=True)


def _spelled(value: Any) -> str:
    """Days and times as ISO 8601, anything else as it prints."""
    return value.isoformat() if isinstance(value, date) else str(value)


class Progress:
    """A bar over days on a terminal (stderr), one JSON line per partition with --json, a summary at the end."""

    def __init__(self, verb: str, total: int, as_json: bool) -> None:
        self.verb, self.total, self.as_json = verb, total, as_json
        self.report = Report()
        self.failures: list[str] = []
        self._bar = None

    def __enter__(self) -> Progress:
        if not self.as_json and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self._bar.start()
            self._task = self._bar.add_task(self.verb, total=self.total)
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if self._bar:
            self._bar.stop()
        if kind is None:
            self._summary()

    def each_day(self, window: Iterable[date], work: Callable[[date], list[Done]], workers: int) -> None:
        """``work`` for every day, a few at once. One day's failure stops no other; `exit_code` names them."""
        from etl.lake import Stale, StoreError
        from etl.sources import SourceError

        failures: list[str] = []
        with ThreadPoolExecutor(workers) as pool:
            running = {pool.submit(work, day): day for day in window}
            for future in as_completed(running):
                day = running[future]
                try:
                    self.add(future.result())
                except (NotReady, SourceError, StoreError, Stale, LookupError, ValueError, OSError) as error:
                    failures.append(f"{day}: {error}")
                if self._bar:
                    self._bar.update(self._task, advance=1, description=f"{self.verb} {day}")
        self.failures = sorted(failures)

    def months(self, jobs: Jobs, window: Iterable[date]) -> None:
        """Bring the statements of the months touched, and of what rests on them, up to date."""
        self.add(jobs.restate(month for month in {Month.of(day) for day in window} if jobs.has_days(month)))

    def add(self, done: list[Done]) -> None:
        self.report += Report(tuple(done), tuple(held(done)))
        if self.as_json:
            for one in done:
                emit(one.as_dict())

    def exit_code(self) -> int:
        """3 if something is held back, else 0. DaysFailed names the days that could not be loaded."""
        if self.failures:
            count = f"{len(self.failures)} day(s) failed; the others are done"
            raise DaysFailed(f"{count}:\n  " + "\n  ".join(self.failures))
        return HELD if self.report.held else DONE

    def _summary(self) -> None:
        changed = [d for d in self.report.done if d.changed]
        if self.as_json:
            emit({"partitions": len(self.report.done), "changed": len(changed), "held": list(self.report.held)})
            return
        print(f"{self.verb}: {len(self.report.done)} partitions, {len(changed)} changed")
        for sentence in self.report.held[:20]:
            print(f"  held back: {sentence}")
        if len(self.report.held) > 20:
            print(f"  … and {len(self.report.held) - 20} more; --json lists all")


def reconciled(jobs: Jobs, window: list[date], sources: list[str], *, as_json: bool) -> int:
    """Print every total that differs and how many were compared. 3 if one is unexplained, else 0."""
    compared = unexplained = 0
    for day in window:
        for source in sources:
            found = jobs.reconcile(day, source)
            compared += found.height
            unexplained += (found["verdict"] == "unexplained").sum()
            shown = found if as_json else found.filter(found["verdict"] != "ok")
            for row in shown.iter_rows(named=True):
                if as_json:
                    emit({"date": day, "source": source, **row})
                    continue
                theirs = (
                    "" if row["ledger_count"] is None
                    else f", the provider's {row['ledger_count']} and {row['ledger_cost']:f}"
                )  # fmt: skip
                print(
                    f"{day} {row['provider_account']} {row['category']}: {row['verdict']}, {row['why']}; ours {row['count']} "
                    f"records and {row['cost']:f}{theirs}"
                )
    if not as_json:
        print(f"reconcile: {compared} totals compared, {unexplained} unexplained")
    return HELD if unexplained else DONE


def invoiced(jobs: Jobs, asked: Invoiced, *, as_json: bool) -> int:
    """Print the invoice's lines with their verdicts and totals, write the dispute. 3 if anything is unexplained or could not
    be compared, else 0."""
    from etl import export
    from etl.invoice import words

    if asked.dispute and not asked.dispute.parent.is_dir():
        raise ConfigurationError(f"--dispute {asked.dispute}: there is no folder {asked.dispute.parent}")
    checked = jobs.invoice(
        asked.file, asked.month, asked.source, asked.accounts, as_of=asked.as_of, agreed=dict(asked.agreed)
    )
    found, disputed = checked.found, None
    if asked.dispute:
        records, left = jobs.dispute(checked, asked.month)
        _replace(asked.dispute, export.csv(records))
        disputed = {"records": records.height, "left_out": left, "file": str(asked.dispute)}
    if as_json:
        for document in checked.documents():
            emit(document)
        emit({**checked.sums(), "dispute": disputed})
        return DONE if checked.sound else HELD
    read_as = (ours if ours == theirs else f"{ours} = {theirs}" for ours, theirs in checked.invoice.read_as)
    print(f"invoice of {asked.month} (UTC), {asked.source}, {checked.currency}: read as {', '.join(read_as)}")
    rows = words.told(found.rows)
    _table(words.TITLES, [words.cells(row) for row in rows], words.NUMERIC)
    if rest := len(found.rows) - len(rows):
        print(f"and {rest} more; --json lists all")
    for sentence in (*words.sentences(rows), *words.apart(checked.invoice)):
        print(sentence)
    for first, last in runs(checked.missing):
        print(f"missing: {first} to {last}, so our side lacks it: load with python -m etl run --from {first} --to {last}")
    print(words.sums(found))
    if disputed:
        more = f"; {disputed['left_out']} more are left out" if disputed["left_out"] else ""
        print(f"dispute: {disputed['records']} record(s) in {asked.dispute}{more}")
    return DONE if checked.sound else HELD


def closings(results: list, loose_ends: list[str], *, as_json: bool) -> int:
    """Print what became of each account's month. 3 if one stays open, or the month holds what no statement shows."""
    for result in results:
        if as_json:
            emit({"account_id": result.account_id, "month": str(result.month), "revision": result.revision,
                  "closed": result.closed, "held": list(result.held), "later": result.later})  # fmt: skip
        elif result.closed:
            print(f"{result.account_id}: {result.month} is final, revision {result.revision}")
            if result.later:
                print(f"  {result.later}")
        else:
            print(f"{result.account_id}: {result.month} stays open")
            for reason in result.held[:10]:
                print(f"  {reason}")
            if len(result.held) > 10:
                print(f"  … and {len(result.held) - 10} more")
    for sentence in loose_ends:
        emit({"held": sentence}) if as_json else print(f"held back: {sentence}")
    return HELD if loose_ends or any(not r.closed for r in results) else DONE


def reopened(result, *, as_json: bool) -> int:
    """Print both totals of a month reopened. 3 if it is held, else 0, also when nothing had changed."""
    from etl.explain import amount

    if as_json:
        emit({"account_id": result.account_id, "month": str(result.month), "revision": result.revision,
              "replaces": result.replaces, "changed": result.changed, "total": f"{result.total:f}",
              "total_before": f"{result.total_before:f}", "currency": result.currency, "reason": result.reason,
              "held": list(result.held)})  # fmt: skip
        return HELD if result.held else DONE
    before = f"{amount(result.total_before)} {result.currency}"
    if result.held:
        print(f"{result.account_id}: {result.month} stays as it is, revision {result.revision}")
        for hold in result.held[:10]:
            print(f"  {hold}")
        if len(result.held) > 10:
            print(f"  … and {len(result.held) - 10} more; --json lists all")
        return HELD
    if not result.changed:
        print(f"{result.account_id}: nothing of {result.month} changed since revision {result.revision}, {before}")
        return DONE
    print(f"{result.account_id}: {result.month} is final, revision {result.revision}, {amount(result.total)} {result.currency}")
    print(f"  revision {result.replaces} stays, {before}")
    return DONE


def accepted(document: dict, *, as_json: bool) -> int:
    """Print what a person accepted, and when."""
    if as_json:
        emit(document)
        return DONE
    print(f"{document['account_id']}: {document['sentence']}")
    print(f"  accepted as {document['hold']} at {document['accepted_at']}: {document['reason']}")
    return DONE


def verdicts(found: Iterable, *, as_json: bool) -> int:
    """Print the doctor's findings as they come. 2 if the configuration is wrong, 1 if something else failed, 3 for a
    warning, else 0."""
    worst = DONE
    for verdict in found:
        worst = _worse(worst, verdict.exit_code)
        if as_json:
            emit(verdict.as_dict())
        else:
            mark = {DONE: "ok  ", HELD: "warn"}.get(verdict.exit_code, "FAIL")
            print(f"{mark} {verdict.name}: {verdict.finding}")
            if verdict.remedy:
                print(f"     → {verdict.remedy}")
    return worst


def expired(jobs: Jobs, window: list[date] | None, *, dry_run: bool, as_json: bool) -> int:
    """Erase what is due, day by day, or only name it. DaysFailed names the days that could not be; the others are done."""
    from etl.lake import Stale, StoreError

    due = jobs.expirable(window)
    if dry_run:
        for day, source in due:
            emit({"date": day, "source": source}) if as_json else print(f"{day} {source}")
        if not as_json:
            print(f"expire: {len(due)} day(s) due, nothing erased")
        return DONE
    done: list[Done] = []
    failures = []
    for day, source in due:
        try:
            done += jobs.expire(day, source)
        except (StoreError, Stale, LookupError, ValueError) as error:
            failures.append(f"{day}: {error}")
    if failures:
        raise DaysFailed(f"{len(failures)} day(s) failed; the others are done:\n  " + "\n  ".join(failures))
    return rewritten("expire", done, as_json=as_json)


def rewritten(verb: str, done: list[Done], *, as_json: bool) -> int:
    """Print what retention took out of how many partitions."""
    if as_json:
        for one in done:
            emit(one.as_dict())
        return DONE
    taken = {name: sum(one.counts.get(name, 0) for one in done) for name in ("bodies", "numbers", "pages", "erased")}
    print(
        f"{verb}: {len(done)} partitions, {sum(one.changed for one in done)} changed; {taken['bodies']} texts, "
        f"{taken['numbers']} numbers and {taken['pages']} pages are gone, {taken['erased']} objects erased"
    )
    return DONE


def audited(results: list, *, as_json: bool) -> int:
    """Print one line for each invariant, and everything that is not ok with its remedy. 3 if anything is neither ok nor
    accepted, else 0."""
    from etl.audit import ACCEPTED, INVARIANTS, OK

    for name in INVARIANTS:
        mine = [r for r in results if r.invariant == name]
        amiss = [r for r in mine if r.verdict not in (OK, ACCEPTED)]
        if as_json:
            for result in mine:
                emit(result.as_dict())
            continue
        if not amiss:
            print(f"ok   {name}: {len(mine)} checked" if mine else f"--   {name}: nothing of it in these days")
        for result in amiss[:10]:
            print(f"{'??  ' if result.verdict == 'not checked' else 'FAIL'} {name}: {result.where} {result.finding}")
            print(f"     → {result.remedy}")
        if len(amiss) > 10:
            print(f"     … and {len(amiss) - 10} more; --json lists all")
    # Nothing looked at is nothing found sound.
    return DONE if results and all(r.verdict in (OK, ACCEPTED) for r in results) else HELD


def night(jobs: Jobs, day: date | None, *, as_json: bool) -> int:
    """Print the report of the newest night, or of the newest one of a UTC day. 3 unless all was in order."""
    from etl import runreport

    found = runreport.stored(jobs.open_store(jobs.settings.reports.store), day)
    if not found:
        raise NotReady(
            f"there is no report{f' of {day}' if day else ''}: the last task of usage_daily writes one each night"
        )
    if as_json:
        emit(found)
    else:
        print("\n".join(runreport.lines(found)))
    return DONE if found["state"] == runreport.IN_ORDER else HELD


def _worse(one: int, other: int) -> int:
    order = (DONE, HELD, FAILED, WRONG_USE)
    return max(one, other, key=order.index)


# ------------------------------------------------------------------------------------------------ export


@dataclass(frozen=True)
class Export:
    """What somebody wants to take away."""

    window: tuple[date, date] | None
    """First and last UTC day; None for everything there is."""
    accounts: tuple[str, ...]
    """Only these; empty for all, and for usage of no account."""
    by: str
    view: str


@dataclass(frozen=True)
class Invoiced:
    """An invoice file, and what it is to be held against."""

    file: Path
    month: Month
    source: str
    accounts: tuple[str, ...] = ()
    as_of: datetime | None = None
    agreed: tuple[tuple[str, Decimal | None], ...] = ()
    """(category, its amount or None for any) of fees we expect and hold no record of."""
    dispute: Path | None = None


def exported(jobs: Jobs, asked: Export, format_: str, out: Path | None) -> int:
    """Write a view as CSV or Parquet to ``out``, else to standard output; say on stderr what it lacks. 3 if it lacks
    anything, else 0."""
    from etl import export
    from etl.schemas import UNASSIGNED

    if out and not out.parent.is_dir():
        raise ConfigurationError(f"--out {out}: there is no folder {out.parent}")
    for account in set(asked.accounts) - {UNASSIGNED}:
        jobs.directory.account(account)
    heads, chosen = _days_of(jobs, asked.window)
    missing = _missing(jobs, heads, chosen)
    customers = {a.account_id: a.currency for a in jobs.directory.accounts if (a.valid_from or chosen[0]) <= chosen[-1]}
    customers |= {a: jobs.settings.currency for a in asked.accounts if a == UNASSIGNED}
    rows = export.view(
        _scanned(jobs, heads), asked.by, asked.view, asked.accounts or None,
        days=chosen, missing=missing, currencies=customers,
    )  # fmt: skip
    table = export.named(rows, jobs.directory.owners, jobs.directory.campaigns)
    data = export.csv(table) if format_ == "csv" else export.parquet(table)
    if out:
        _replace(out, data)
    else:
        _print_bytes(data)
    return _say_what_lacks(table, chosen, missing, out)


def _days_of(jobs: Jobs, window: tuple[date, date] | None) -> tuple[dict, list[date]]:
    """(heads of the daily roll-ups, the days to export): those of the window that are loaded, or should be."""
    heads = jobs.lake.heads("daily", **({} if window is None else {"date": window}))
    loaded = {parse_day(p["date"]) for p in heads}
    start = jobs.settings.start
    if window is None:
        if not loaded:
            raise NotReady("the lake holds no day yet: load some with python -m etl run --from … --to …")
        window = (min(start, *loaded), max(loaded))
    first, last = window
    chosen = [d for d in days(first, last + timedelta(days=1)) if d in loaded or d >= start]
    if not chosen:
        raise ConfigurationError(
            f"nothing from {first} to {last}: the first day loaded is {start} (start, in the settings)"
        )
    return heads, chosen


def _missing(jobs: Jobs, heads: dict, chosen: list[date]) -> list[date]:
    """Days from go-live on that are not rolled up, or not from every source."""
    from etl.closing import missing_days

    settings = jobs.settings
    named = [
        parse_day(sentence[:10])
        for month in sorted({Month.of(d) for d in chosen})
        for sentence in missing_days(jobs.lake, heads, month, settings.sources, settings.start)
    ]
    return sorted(set(named) & set(chosen))


def _scanned(jobs: Jobs, heads: dict):
    """The roll-ups with their date, as a lazy frame: only columns and accounts asked for are read."""
    import polars as pl

    from etl.schemas import DATASETS

    if heads:
        return jobs.lake.scan(list(heads.values()))
    return DATASETS["daily"].empty().with_columns(date=pl.lit(None, pl.Date))


def _replace(out: Path, data: bytes) -> None:
    """The whole file or none: nobody reads half of one."""
    half = out.with_name(f".{out.name}.{uuid.uuid4().hex}")
    try:
        half.write_bytes(data)
        half.replace(out)
    finally:
        half.unlink(missing_ok=True)


def _print_bytes(data: bytes) -> None:
    rest = memoryview(data)
    try:
        # Under PYTHONUNBUFFERED a write may take a part only.
        while rest:
            rest = rest[sys.stdout.buffer.write(rest) :]
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Whoever reads had enough, as head does; a flush at exit would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say_what_lacks(table, chosen: list[date], missing: list[date], out: Path | None) -> int:
    print(f"export: {table.height} rows, {chosen[0]} to {chosen[-1]}{f', in {out}' if out else ''}", file=sys.stderr)
    for first, last in runs(missing):
        when, load = (f"{first}", f"--date {first}") if first == last else (
            f"{first} to {last} ({(last - first).days + 1} days)", f"--from {first} --to {last}"
        )  # fmt: skip
        print(f"  missing: {when}: load with python -m etl run {load}", file=sys.stderr)
    unrated = table["unrated"].sum()
    if unrated:
        print(f"  held back: {unrated} record(s) have no price yet: charge lacks them", file=sys.stderr)
    return HELD if missing or unrated else DONE


# ------------------------------------------------------------------------------------------------ credits, rate cards


def credits(jobs: Jobs, account: str, month: Month, *, as_json: bool) -> int:
    """Print the account's credits ledger of the month."""
    from etl.lake import Partition
    from etl.schemas import DATASETS

    jobs.directory.account(account)
    head = jobs.lake.head(Partition.of("credits", month=str(month)))
    if head is None:
        raise NotReady(f"the credits of {month} are not in the lake: run python -m etl run --month {month}")
    ledger = jobs.lake.read(head, DATASETS["credits"].columns)
    rows = list(ledger.filter(ledger["account_id"] == account).sort("position").iter_rows(named=True))
    if as_json:
        for row in rows:
            emit(row)
    elif not rows:
        print(f"{account}: no credits moved in {month}")
    else:
        titles = ("date", "entry", "credits", "lot", "allotment left", "purchased left")
        lines = [
            (f"{r['date']}", r["entry"] + (" (simulated)" if r["simulated"] else ""),
             f"{r['credits']}" if r["entry"] == "overage" else f"{r['credits']:+}", r["lot"],
             f"{r['balance_allotment']}", f"{r['balance_purchased']}")
            for r in rows
        ]  # fmt: skip
        print(f"{account}: credits of {month} (UTC)")
        _table(titles, lines, right=(2, 4, 5))
        for row in jobs.recharges(month).iter_rows(named=True):
            if row["account_id"] == account:
                print(
                    f"recharges: {row['observed_recharges']} reported ({row['observed_credits']} credits); by the "
                    f"subscription's terms {row['simulated_recharges']} pack(s) ({row['simulated_credits']} credits)"
                )
    return DONE


def _table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]], right: tuple[int, ...]) -> None:
    """Columns as wide as their widest cell: a pipe gets what a terminal gets."""
    widths = [max(len(row[i]) for row in [titles, *rows]) for i in range(len(titles))]
    for row in [titles, *rows]:
        cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        print("  ".join(cells).rstrip())


def statement_lines(jobs: Jobs, account: str, month: Month, *, as_json: bool) -> int:
    """Print the lines of a statement by number, with what stands behind each."""
    from etl.explain import amount, called, hint, stated

    state, lines = stated(jobs.lake, jobs.directory, account, month)
    rows = list(lines.iter_rows(named=True))
    if as_json:
        told = [{"position": r["position"], "line": called(r), "section": r["section"], "amount": f"{r['amount']:f}",
                 "currency": r["currency"], "behind": hint(r)} for r in rows]  # fmt: skip
        emit({"account_id": account, "month": str(month), "state": state, "lines": told})
        return DONE
    print(f"{account}: statement of {month} (UTC), {state}")
    cells = [(f"{r['position']}", called(r), amount(r["amount"]), r["currency"], hint(r)) for r in rows]
    _table(("no.", "line", "amount", "", "behind it"), cells, right=(0, 2))
    return DONE


def explained(found: Explanation, *, as_json: bool) -> int:
    """Print a line's way down to the records. 3 if a sum on the way is not what the line says, else 0."""
    if as_json:
        emit(found.document())
        return DONE if found.sound else HELD
    from etl.explain import opening, told, verdicts

    first, *more = opening(found)
    print(f"{found.account_id}: statement of {found.month} (UTC), {found.state}")
    print(f"line {found.line['position']}, {first}")
    for sentence in more:
        print(f"  {sentence}")
    for table in told(found):
        print(f"\n{table.title}")
        _table(table.columns, table.rows, tuple(i for i, numeric in enumerate(table.numeric) if numeric))
        for sentence in table.after:
            print(f"  {sentence}")
    print()
    for equal, sentence in verdicts(found):
        print(f"{'ok  ' if equal else 'FAIL'} {sentence}")
    for sentence in found.notes:
        print(f"note: {sentence}")
    return DONE if found.sound else HELD


def rates_checked(folder: Path | None, config: Path | None, *, as_json: bool) -> int:
    """Print what the rates folder holds, every error in it, and every gap in time."""
    from etl import settings

    if folder is None:
        loaded = settings.load(config)
        return verdicts(_rates_found(loaded.path(loaded.rates), loaded.start), as_json=as_json)
    return verdicts(_rates_found(folder, None), as_json=as_json)


def _rates_found(folder: Path, start: date | None) -> Iterator:
    from etl import taxes
    from etl.doctor import OK, WARNING, WRONG, Verdict
    from etl.rating import card

    prices = None
    try:
        prices = card.load(folder)
        counted = f"{prices.prices.height} price(s), {prices.fees.height} carrier fee(s), {prices.tiers.height} rung(s)"
        yield Verdict("rate card", OK, counted)
    except ConfigurationError as error:
        yield Verdict("rate card", WRONG, f"{error}", "correct these rows; docs/rating.md explains every column")
    try:
        rules = taxes.load(folder)
        yield Verdict("taxes", OK, f"{rules.versions.height} rule(s)")
    except ConfigurationError as error:
        yield Verdict("taxes", WRONG, f"{error}", "correct these rows; docs/taxes.md explains every column")
    if prices is not None:
        # A folder on its own has no go-live: every gap since its first price counts.
        since = start or prices.prices["valid_from"].min() or today()
        for sentence in card.gaps(prices, since, today() + timedelta(days=31)):
            yield Verdict(
                "rate card", WARNING, sentence,
                "add the row that follows, unless a shorter prefix is meant to take over or nothing is sold there",
            )  # fmt: skip


def rates_compared(old: Path, new: Path, *, rows: bool, exit_code: bool) -> int:
    """Print what the rates folder ``new`` charges otherwise than ``old``, with ``rows`` also which rows differ."""
    from etl.rating import card, diff

    found = diff.diff(card.load(old), card.load(new))
    for sentence in diff.sentences(found, rows=rows) or ["no price changes"]:
        print(sentence)
    return HELD if exit_code and not found.effective.is_empty() else DONE


def segments(text: str | None, in_: Path | None, out: Path | None, *, as_json: bool) -> int:
    """Explain one text, or count a file of them with a bar over its bytes."""
    from etl import segments as counting

    if in_ is None:
        explanation = counting.explain(sys.stdin.read() if text == "-" else text)
        if as_json:
            emit(asdict(explanation))
        else:
            print(counting.render_explanation(explanation))
        return DONE
    with _bytes_bar(in_, shown=not as_json) as advance:
        lines = counting.annotate_jsonl(in_, out, progress=lambda _lines, read: advance(read))
    print(f"{lines} lines written to {out}", file=sys.stderr)
    return DONE


@contextlib.contextmanager
def _bytes_bar(file: Path, *, shown: bool) -> Iterator[Callable[[int], None]]:
    if not (shown and sys.stderr.isatty()):
        yield lambda _read: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(file.name, total=file.stat().st_size if file.exists() else None)
        yield lambda read: bar.update(task, completed=read)
