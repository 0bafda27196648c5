"""What the commands show: progress on a terminal, JSON lines for machines, one clear line for an error."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from etl.jobs import Done, Jobs, NotReady, Report, held
from etl.periods import Month
from etl.settings import ConfigurationError

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
    if os.environ.get("TOLLBOOK_DEBUG"):
        traceback.print_exc()
    print(json.dumps({"error": message, "exit_code": code}) if as_json else f"tollbook: {message}", file=sys.stderr)
    return code


def emit(record: dict[str, Any]) -> None:
    print(json.dumps(record, ensure_ascii=False, default=str), flush=True)


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
        """Bring the statements of the months touched up to date."""
        for month in sorted({Month.of(day) for day in window}):
            if jobs.has_days(month):
                self.add([jobs.state(month)])

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
                print(
                    f"{day} {row['provider_account']} {row['category']}: {row['verdict']}, {row['why']}; ours {row['count']} "
                    f"records and {row['cost']:f}, the provider's {row['ledger_count']} and {row['ledger_cost']:f}"
                )
    if not as_json:
        print(f"reconcile: {compared} totals compared, {unexplained} unexplained")
    return HELD if unexplained else DONE


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
    return HELD if loose_ends or any(not r.closed or r.later for r in results) else DONE


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


def _worse(one: int, other: int) -> int:
    order = (DONE, HELD, FAILED, WRONG_USE)
    return max(one, other, key=order.index)


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
