"""A night and a month as Airflow runs them: how days are spread over tasks, and what each task does.

This is the one place that decides how fat a task is. A task gets a *window*, ``2026-10-25/2026-10-31``, both ends
included: one day each on a usual night, several in a long first load, so that the scheduler's work stays small.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta

from etl.jobs import Done, Jobs, NotReady, held
from etl.periods import Month, days, lookback, parse_day
from etl.settings import Settings

log = logging.getLogger("tollbook")

MAX_SHARES = 500
"""Tasks that share one source's days: Airflow maps over 1,024 at most."""
MAX_WINDOWS = 31
"""Mapped tasks per verb and source: a month of single days; a longer load gets wider windows."""

DAYS_AT_ONCE = 4

TOLD = 100
"""Findings of one audit that go into the log one by one."""


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


def shares(jobs: Jobs, windows: list[str], source: str) -> dict[str, list[str]]:
    """The shares of the large days of these windows: ``pages`` to take apart, then ``buckets`` to make, each
    ``<day>/<first>-<last>``, at most `MAX_SHARES` in all. A day whose pages are not there yet has none."""
    found: dict[str, list[str]] = {"pages": [], "buckets": []}
    for day in (day for window in windows for day in window_days(window)):
        try:
            counts = jobs.shares(day, source)
        except NotReady as error:
            log.warning("%s", error)
            continue
        for name, count in zip(found, counts, strict=True):
            width = -(-count * len(windows) // MAX_SHARES) or 1
            found[name] += [f"{day}/{at}-{min(at + width, count) - 1}" for at in range(0, count, width)]
    return found


def share(jobs: Jobs, verb: str, text: str, source: str) -> str:
    """One verb for what a share of `shares` names."""
    day, _, numbers = text.partition("/")
    first, last = map(int, numbers.split("-"))
    for number in range(first, last + 1):
        getattr(jobs, verb)(parse_day(day), source, number)
    return text


def months_of(windows: list[str]) -> list[Month]:
    return sorted({Month.of(d) for window in windows for d in window_days(window)})


def touched(day: date, windows: list[str] | None) -> list[str]:
    """The months a night loads days of, its own always: also where its plan came to nothing."""
    return [str(month) for month in sorted({Month.of(day), *months_of(windows or [])})]


def moved(jobs: Jobs, windows: list[str]) -> list[str]:
    """Bill what moved from one of these days to another where it is now, and there alone."""
    _tell(jobs.moved(day for window in windows for day in window_days(window)))
    return windows


def state(jobs: Jobs, windows: list[str]) -> list[str]:
    """Bring the statements of the months touched up to date, and of every month after them: what changed in a closed month
    is corrected in an open one."""
    months = sorted({*months_of(windows), *map(Month.of, jobs.reached_back(window_days(w)[0] for w in windows))})
    _tell(jobs.restate(months))
    return [str(month) for month in months]


def reconcile(jobs: Jobs, window: str, source: str) -> str:
    """Keep the comparison with the provider's totals and log each that differs; what differs in records holds the month."""
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
    """Check what the night wrote. Raises AuditFailed naming the invariants, whom they concern, the first place and its
    remedy. Fails closed: also for what could not be checked. What is broken holds those it concerns (`jobs.withheld`,
    `jobs.close`) and nobody else."""
    from etl import audit

    results = jobs.audit((day for window in windows for day in window_days(window)), notes="write")
    unsure = [r for r in results if r.verdict == audit.NOT_CHECKED]
    findings = [r for r in results if r.verdict == audit.BROKEN] or unsure
    for finding in findings[:TOLD]:
        log.error("%s", finding)
    if len(findings) > TOLD:
        log.error("… and %d more: python -m etl audit --json lists all", len(findings) - TOLD)
    if findings:
        named = ", ".join(sorted({f.invariant for f in findings}))
        raise audit.AuditFailed(
            f"{len(findings)} finding(s): {named}; they hold {_concerned(findings)}. First: {findings[0]}"
        )
    log.info("audit: %d verdicts on %d invariants, all ok", len(results), len({r.invariant for r in results}))


def _concerned(findings: list) -> str:
    """Whom findings hold, a few by name."""
    if not all(f.accounts for f in findings):
        return "every account"
    names = sorted({account for f in findings for account in f.accounts})
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more account(s)" if len(names) > 5 else "")


def expire(jobs: Jobs, windows: list[str] | None = None) -> None:
    """Erase what is older than the settings allow, but for the days of ``windows``: a backfill of long ago is audited at this
    moment, and expires the next night. A day that cannot be stops no other; ExceptionGroup names them all."""
    from etl.lake import Stale, StoreError

    failed, loaded = [], {day for window in windows or [] for day in window_days(window)}
    jobs.sweep_work(loaded)
    for day, source in jobs.expirable():
        if day in loaded:
            continue
        try:
            _tell(jobs.expire(day, source))
        except (StoreError, Stale, LookupError, ValueError) as error:
            log.error("expire %s %s: %s", day, source, error)
            failed.append(error)
    if failed:
        raise ExceptionGroup("retention: these days keep what they should not", failed)


def due_months(jobs: Jobs, upto: Month) -> list[str]:
    """Months that want attention, oldest first: the run's own, every earlier one that some account has not closed, and the
    closed ones young enough to be mailed, so that a refused address is tried again the next night."""
    from etl.manifests import revisions

    young = timedelta(days=jobs.settings.mail.max_age_days if jobs.settings.mail else 0)
    today = jobs.clock().astimezone(UTC).date()

    def due(month: Month) -> bool:
        return today - month.end <= young or bool(
            {a.account_id for a in jobs.directory.of_month(month)} - set(revisions(jobs.lake, month))
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
            log.info("%s: %s", result.account_id, result.later)
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


# ------------------------------------------------------------------------------------------------ the past, a month at a time

MONTH_WINDOWS = 4
"""Tasks per month and source of a backfill, each with all verbs of a week of days: what one machine does at once, or four."""


def plan_month(month: Month, settings: Settings) -> list[str]:
    """The windows in which a backfill loads a whole month, oldest first; of a month under way, the days that are settled."""
    due = [d for d in month.days if d >= settings.start and settled(d, settings.settle_hours)]
    width = -(-len(due) // MONTH_WINDOWS)
    return [f"{part[0]}/{part[-1]}" for at in range(0, len(due), width or 1) if (part := due[at : at + width])]


def load(jobs: Jobs, window: str, source: str) -> str:
    """pull → normalise → rate → reconcile for every day of a window: `_every`."""

    def whole(day: date) -> None:
        for verb in ("pull", "normalise", "rate"):
            each(jobs, verb, f"{day}/{day}", source)
        reconcile(jobs, f"{day}/{day}", source)

    _every(whole, window_days(window))
    return window


def settle(jobs: Jobs, windows: list[str]) -> list[str]:
    """`moved`, then the roll-up of every day, after all windows of all sources: what did load is rolled up, whatever failed
    beside it."""
    try:
        moved(jobs, windows)
    finally:
        _every(lambda day: each(jobs, "roll_up", f"{day}/{day}"), [d for window in windows for d in window_days(window)])
    return windows


def _every(work: Callable[[date], object], wanted: list[date]) -> None:
    """Do it for each day, a few at once. A day that fails stops no other; ExceptionGroup names them all, and the next try
    finds the others done."""

    def attempt(day: date) -> Exception | None:
        try:
            work(day)
        except Exception as error:  # noqa: BLE001 - raised below, with those of the other days
            log.error("%s: %s", day, error)
            return error
        return None

    with ThreadPoolExecutor(DAYS_AT_ONCE) as pool:
        failed = [error for error in pool.map(attempt, wanted) if error]
    if failed:
        raise ExceptionGroup(f"{len(failed)} of {len(wanted)} days are not done", failed)
