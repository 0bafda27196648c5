"""What the commands show: a bar on a terminal, JSON lines for machines, one line for each account worth a line."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from etl import redaction
from etl.periods import Month
from etl.settings import ConfigurationError
from reports.jobs import Outcome, Reports

DONE, FAILED, WRONG_USE, HELD = 0, 1, 2, 3
_SAID = {
    "render": "{done} files written, {unchanged} unchanged: {where}",
    "pdf": "{done} printed, {unchanged} unchanged: {where}",
    "publish": "{done} objects written, {unchanged} unchanged: {where}",
    "mail": "{done} sent, {unchanged} sent before",
    "preview": "{done} copies: {where}",
    "operator": "{done} objects written, {unchanged} unchanged: {where}",
}


def run(
    verb: str, config: Path | None, month: Month, accounts: list[str] | None, as_json: bool,
    work: Callable[[Reports], Iterable[Outcome]], processes: int | None = None,
) -> int:  # fmt: skip
    """Open the lake, do the work account by account, say what came of it; the exit code."""
    _log(as_json)
    try:
        reports = Reports(_jobs(config), processes)
        return _show(verb, work(reports), len(reports.accounts(month, accounts)), as_json)
    except ConfigurationError as error:
        return _stop(WRONG_USE, error, as_json)
    except Exception as error:  # noqa: BLE001 - the last line of defence of a command: one sentence, no traceback
        return _stop(FAILED, error, as_json)


def verify(folder: Path, as_json: bool) -> int:
    """Verify every published folder at or below one; a line for each check, then one that sums up; the exit code."""
    from reports.verify.folders import verify as verified

    folders = compared = differ = 0
    for book in verified(folder) if folder.is_dir() else ():
        folders, compared, differ = folders + 1, compared + book.compared, differ + book.differences
        for check in book.checks.values():
            said = (
                [json.dumps({"folder": book.folder} | check.as_dict(), ensure_ascii=False)]
                if as_json
                else check.lines()
            )
            for line in said:
                print(line if as_json else f"{book.folder}: {line}", flush=True)
    if not folders:
        return _stop(WRONG_USE, ValueError(f"{folder}: no published statement is in it"), as_json)
    if as_json:
        print(json.dumps({"folders": folders, "compared": compared, "differences": differ}))
    else:
        outcome = f"{differ:,} differ" if differ else "all are found again"
        print(f"{folders:,} folders, {compared:,} values compared: {outcome}")
    return HELD if differ else DONE


def _jobs(config: Path | None):
    from etl.jobs import Jobs

    return Jobs.open(config)


def _show(verb: str, outcomes: Iterable[Outcome], total: int, as_json: bool) -> int:
    failed = held = 0
    for one in _bar(verb, outcomes, total, as_json):
        failed += one.error is not None
        held += bool(one.held)
        if as_json:
            print(json.dumps(one.as_dict(), ensure_ascii=False, default=str), flush=True)
            continue
        if one.error:
            print(f"{one.account_id}: failed: {one.error}", file=sys.stderr)
            continue
        print(f"{one.account_id}: {one.month} {one.state}: {_SAID[one.verb].format_map(one.__dict__)}")
        for sentence in one.held:
            print(f"  held back: {sentence}")
    return FAILED if failed else HELD if held else DONE


def _bar(verb: str, outcomes: Iterable[Outcome], total: int, as_json: bool) -> Iterator[Outcome]:
    """The outcomes, with a progress bar on stderr when there are many and someone is watching."""
    if as_json or total < 4 or not sys.stderr.isatty():
        yield from outcomes
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    ) as progress:  # fmt: skip
        task = progress.add_task(verb, total=total)
        for one in outcomes:
            progress.update(task, advance=1, description=f"{verb} {one.account_id}")
            yield one


def _stop(code: int, error: Exception, as_json: bool) -> int:
    if os.environ.get("TOLLBOOK_DEBUG"):
        print(redaction.mask(traceback.format_exc()), file=sys.stderr)
    text = redaction.mask(str(error)) or type(error).__name__
    print(json.dumps({"error": text, "exit_code": code}) if as_json else f"tollbook: {text}", file=sys.stderr)
    return code


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps({"level": record.levelname.lower(), "message": record.getMessage()}, ensure_ascii=False)


def _log(as_json: bool) -> None:
    redaction.install()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if as_json else logging.Formatter("%(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
