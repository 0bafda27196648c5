"""A night and a month as Airflow runs them: how days are spread over tasks, and what each task does.

This is the one place that decides how fat a task is. A task gets a *window*, ``2026-10-25/2026-10-31``, both ends
included: one day each on a usual night, several in a long first load, so that the scheduler's work stays small.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta

from etl.jobs import Done, Jobs, held
from etl.periods import Month, days, lookback, parse_day
from etl.settings import Settings

log = logging.getLogger("tollbook")

MAX_WINDOWS = 31
"""Mapped tasks per verb and source: a month of single days; a longer load gets wider windows."""

DAYS_AT_ONCE = 4


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def settled(day: date, hours: int) -> bool:
    """Whether ``hours`` have passed since the UTC day ended: the provider's late logs are in."""
    return datetime.now(UTC) >= midnight(day + timedelta(days=1)) + timedelta(hours=hours)


def plan(day: date, lookback_days: int, settings: Settings) -> list[str]:
    """The windows one night loads, oldest first: the look-back, and on some days of the month all of the month before
    (mission rule 11). Never before go-live."""
    wanted = set(lookback(day, lookback_days))
    if (day + timedelta(days=1)).day in settings.reread_month_on:
        wanted |= set((Month.of(day + timedelta(days=1)) - 1).days)
    chosen = sorted(d for d in wanted if d >= settings.start)
    width = -(-len(chosen) // MAX_WINDOWS)
    windows, chunk = [], []
    for current in chosen:
        if chunk and (len(chunk) == width or current != chunk[-1] + timedelta(days=1)):
            windows.append(f"{chunk[0]}/{chunk[-1]}")
            chunk = []
        chunk.append(current)
    return [*windows, f"{chunk[0]}/{chunk[-1]}"] if chunk else windows


def window_days(window: str) -> list[date]:
    first, last = window.split("/")
    return list(days(parse_day(first), parse_day(last) + timedelta(days=1)))


def each(jobs: Jobs, verb: str, window: str, source: str | None = None) -> str:
    """One verb for every day of a window; returns the window, so that tasks pass keys and never data."""
    work = getattr(jobs, verb)
    arguments = () if source is None else (source,)
    with ThreadPoolExecutor(DAYS_AT_ONCE) as pool:
        for result in pool.map(lambda d: work(d, *arguments), window_days(window)):
            _tell(result if isinstance(result, list) else [result])
    return window


def months_of(windows: list[str]) -> list[Month]:
    return sorted({Month.of(d) for window in windows for d in window_days(window)})


def touched(day: date, windows: list[str] | None) -> list[str]:
    """The months a night loads days of, its own always: also where its plan came to nothing."""
    return [str(month) for month in sorted({Month.of(day), *months_of(windows or [])})]


def state(jobs: Jobs, windows: list[str]) -> list[str]:
    """Bring the statements of the months touched up to date."""
    months = months_of(windows)
    _tell([jobs.state(month) for month in months])
    return [str(month) for month in months]


def reconcile(jobs: Jobs, window: str, source: str) -> str:
    """Keep the comparison with the provider's totals and log each that differs; a difference holds nothing back by itself."""
    for day in window_days(window):
        found = jobs.reconcile(day, source)
        differing = found.filter(found["verdict"] == "unexplained")
        for row in differing.iter_rows(named=True):
            log.warning(
                "reconcile %s %s %s: %s; ours %s records, %s, %s; theirs %s records, %s, %s", day, row["provider_account"],
                row["category"], row["why"], row["count"], row["quantity"], row["cost"], row["ledger_count"],
                row["ledger_quantity"], row["ledger_cost"],
            )  # fmt: skip
        log.info("reconcile %s %s: %d totals compared, %d differ", day, source, found.height, differing.height)
    return window


def check(jobs: Jobs, windows: list[str]) -> None:
    """Check what the night wrote. Raises AuditFailed naming the invariant, the place and the remedy. Fails closed: also for
    what could not be checked."""
    from etl import audit

    results = jobs.audit(day for window in windows for day in window_days(window))
    unsure = [r for r in results if r.verdict == audit.NOT_CHECKED]
    findings = [r for r in results if r.verdict == audit.BROKEN] or unsure
    for finding in findings:
        log.error("%s", finding)
    if findings:
        raise audit.AuditFailed(f"{len(findings)} finding(s), first: {findings[0]}")
    log.info("audit: %d verdicts on %d invariants, all ok", len(results), len({r.invariant for r in results}))


def due_months(jobs: Jobs, upto: Month) -> list[str]:
    """Months that want attention, oldest first: the run's own, every earlier one that some account has not closed, and the
    closed ones young enough to be mailed, so that a refused address is tried again the next night."""
    from etl.closing import closings

    young = timedelta(days=jobs.settings.mail.max_age_days if jobs.settings.mail else 0)
    today = jobs.clock().astimezone(UTC).date()

    def due(month: Month) -> bool:
        return today - month.end <= young or bool(
            {a.account_id for a in jobs.directory.of_month(month)} - set(closings(jobs.lake, month))
        )

    return [str(m) for m in jobs.statements.months() if m < upto and due(m)] + [str(upto)]


def close(jobs: Jobs, month: str) -> str:
    """Close the month for the accounts that may, after the months it rests on; log why the others may not."""
    asked = Month.parse(month)
    for each_month in (*jobs.unclosed(asked), asked):
        _close(jobs, each_month)
    return month


def _close(jobs: Jobs, month: Month) -> None:
    for result in jobs.close(month):
        if result.closed:
            log.info("%s: %s is final, revision %d", result.account_id, month, result.revision)
        if result.later:
            log.warning("%s: %s", result.account_id, result.later)
        for reason in result.held[:10]:
            log.warning("%s: %s stays open: %s", result.account_id, month, reason)
    for sentence in jobs.loose_ends(month):
        log.warning("%s", sentence)


def _tell(done: list[Done]) -> None:
    for one in done:
        log.info(
            "%s %s: %d rows, version %d%s",
            one.verb,
            one.partition,
            one.rows,
            one.seq,
            "" if one.changed else ", unchanged",
        )
    for sentence in held(done):
        log.warning("held back: %s", sentence)
