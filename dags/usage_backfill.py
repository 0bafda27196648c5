"""
### The past

Loads whole UTC months with the verbs of the night, in few fat tasks: the same bytes as a night a day, and a fraction
of the scheduler's work. It never runs by itself.

**The partition key is the first UTC day of the month** (`2026-05-01`). A month in windows of days: pull → normalise → rate →
reconcile for each source and window, then what moved, the roll-up and the statements, once; then one audit of it all.

| to do this | do that |
| --- | --- |
| load a year | `airflow backfill create --dag-id usage_backfill --from-date 2025-11-01 --to-date 2026-10-01 --max-active-runs 1` |
| load one month again | trigger with partition key `2026-05-01` |
| see what it did | `_operator/runs/2026-05-01/` in the reports store, or `python -m etl night --date 2026-05-01` |

Updates the asset `usage_daily`, which starts `usage_monthly`, as a night does.
"""

from __future__ import annotations

from datetime import date, timedelta

from airflow.sdk import CronPartitionTimetable, Param, dag, task, task_group
from tollbook_wiring import DEFAULTS, SETTINGS, audit, jobs, last, operate, pool, report_night, run_day, state

from etl import nights
from etl.periods import Month


@dag(
    schedule=CronPartitionTimetable("0 0 1 * *", timezone="UTC", key_format="%Y-%m-01"),
    end_date=nights.midnight(date(2000, 1, 1)),  # no month is ever due: only a backfill or a trigger starts it
    catchup=False,
    max_active_runs=1,
    default_args={**DEFAULTS, "execution_timeout": timedelta(hours=12)},
    is_paused_upon_creation=False,
    params={
        "day": Param(
            None, type=["null", "string"], format="date", description="a UTC day of it, for a run without a partition key"
        )
    },
    doc_md=__doc__,
    tags=["tollbook", "billing"],
)
def usage_backfill():
    @task(execution_timeout=timedelta(minutes=5))
    def plan() -> list[str]:
        return nights.plan_month(Month.of(run_day()), SETTINGS)

    @task
    def load(source: str, window: str) -> str:
        return nights.load(jobs(), window, source)

    # What did load is rolled up and stated, whatever failed beside it; the audit then fails the run by name.
    @task(trigger_rule="all_done")
    def settle(windows: list[str]) -> list[str]:
        return nights.settle(jobs(), windows)

    windows = plan()
    settled = settle(windows)
    for source in SETTINGS.sources:

        @task_group(group_id=source)
        def days(source: str = source):
            load.override(pool=pool(source)).partial(source=source).expand(window=windows)

        days() >> settled
    settled >> state(windows) >> [audit(windows), operate(windows)] >> last(report_night)


usage_backfill()
