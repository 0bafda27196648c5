"""
### The night

Loads one UTC day, and reads the days before it again: providers deliver late and change what they delivered.

**The partition key is the UTC day** (`2026-10-31`), on the schedule, in a backfill and over REST. For each day of the
look-back window and each source of the settings: pull → normalise → rate, beside it a comparison with the provider's own
totals, then what moved to another day is billed there alone, and each day is rolled up. A day that did not
change writes nothing; a day that did is replaced as a whole; every task may be killed and run again.

| to do this | do that |
| --- | --- |
| load whole months | the DAG `usage_backfill` |
| load a few days | `airflow backfill create --dag-id usage_daily --from-date 2026-03-01 --to-date 2026-03-04 --max-active-runs 1 --dag-run-conf '{"lookback_days": 1}'` |
| load one day again | trigger with partition key `2026-10-31` |
| see what is held back, and what the last night did | `python -m reports operator --month 2026-10`, `python -m etl night` |

Updates the asset `usage_daily`, which starts `usage_monthly`, also when `audit` fails: the months leave out whom it concerns.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronPartitionTimetable, Param, dag, task, task_group
from tollbook_wiring import (
    DEADLINES,
    DEFAULTS,
    SETTINGS,
    audit,
    jobs,
    last,
    operate,
    pool,
    report_night,
    run_day,
    state,
)

from etl import nights

AFTER = "all_done" if SETTINGS.share_days else "all_success"
"""Shares help, and nothing fails for a share that was lost: it is made where it is missed."""
AT_ONCE = {"retries": 1, "retry_delay": timedelta(seconds=10), "retry_exponential_backoff": 0}


@dag(
    schedule=CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d"),
    start_date=nights.midnight(SETTINGS.start),
    catchup=True,
    max_active_runs=1,
    default_args=DEFAULTS,
    deadline=DEADLINES,
    params={
        "day": Param(
            None, type=["null", "string"], format="date", description="UTC day, for a run without a partition key"
        ),
        "lookback_days": Param(SETTINGS.lookback_days, type="integer", minimum=1, description="days read again"),
    },
    doc_md=__doc__,
    tags=["tollbook", "billing"],
)
def usage_daily():
    @task.sensor(
        poke_interval=300, timeout=timedelta(hours=SETTINGS.settle_hours + 6).total_seconds(), mode="reschedule"
    )
    def wait_for_late_logs() -> bool:
        return nights.settled(run_day(), SETTINGS.settle_hours)

    @task(execution_timeout=timedelta(minutes=5))
    def plan(params=None) -> list[str]:
        return nights.plan(run_day(), params["lookback_days"], SETTINGS)

    @task
    def pull(source: str, window: str) -> str:
        return nights.each(jobs(), "pull", window, source)

    @task
    def normalise(source: str, window: str) -> str:
        return nights.each(jobs(), "normalise", window, source)

    @task
    def rate(source: str, window: str) -> str:
        return nights.each(jobs(), "rate", window, source)

    @task
    def reconcile(source: str, window: str) -> str:
        return nights.reconcile(jobs(), window, source)

    # A large day on several machines: what these make is taken by normalise and rate, and what they could not is made there.
    @task(trigger_rule="all_done")
    def shares(of: str, source: str, windows: list[str]) -> list[str]:
        return nights.shares(jobs(), windows, source)[of]

    @task(**AT_ONCE)
    def read_share(source: str, share: str) -> str:
        return nights.share(jobs(), "read_share", share, source)

    @task(trigger_rule="all_done", **AT_ONCE)
    def make_share(source: str, share: str) -> str:
        return nights.share(jobs(), "make_share", share, source)

    # What did load is rolled up and stated, whatever failed beside it; the audit then fails the run by name.
    @task(trigger_rule="all_done")
    def moved(windows: list[str]) -> list[str]:
        return nights.moved(jobs(), windows)

    @task(trigger_rule="all_done")
    def roll_up(window: str) -> str:
        return nights.each(jobs(), "roll_up", window)

    # Beside the audit, which stays a leaf and fails the run: so never of days that this night loaded.
    @task(trigger_rule="all_done")
    def expire(windows: list[str] | None) -> None:
        nights.expire(jobs(), windows)

    windows = plan()
    wait_for_late_logs() >> windows
    settled, rolled = moved(windows), roll_up.expand(window=windows)
    settled >> rolled
    for source in SETTINGS.sources:

        pulling = pull.override(pool=pool(source))

        @task_group(group_id=source)
        def load(window: str, source: str = source, pulling=pulling):
            ready = window if SETTINGS.share_days else pulling(source, window)
            normalised = normalise.override(trigger_rule=AFTER)(source, ready)
            rate(source, normalised)
            reconcile(source, normalised)

        @task_group(group_id=f"{source}_shares")
        def share_out(source: str = source, pulling=pulling):
            pages, buckets = (shares.override(task_id=of)(of, source, windows) for of in ("pages", "buckets"))
            pulling.partial(source=source).expand(window=windows) >> [pages, buckets]
            read = read_share.partial(source=source).expand(share=pages)
            read >> make_share.partial(source=source).expand(share=buckets)

        loaded = load.expand(window=windows)
        loaded >> settled
        if SETTINGS.share_days:
            share_out() >> loaded
    rolled >> state(windows) >> [audit(windows), operate(windows), expire(windows)] >> last(report_night)


usage_daily()
