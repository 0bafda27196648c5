"""
### The month

Starts whenever a day of the month was loaded or corrected. Open months are stated and published again as *estimated*;
a month whose every day is in the lake, with nothing unrated, closes account by account: final, frozen, mailed once.

**The partition key is the UTC month** (`2026-10`). A run also takes care of every earlier month that is
still open, and tries an address that refused a mail again.

| to do this | do that |
| --- | --- |
| see why a month stays open | the log of `close`, or `python -m etl close --month 2026-10` |
| publish a month again | trigger with partition key `2026-10` |

Reads the asset `usage_daily`; its readers are the people on each account's mailing list.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, PartitionedAssetTimetable, StartOfMonthMapper, dag, task
from tollbook_wiring import DEFAULTS, SETTINGS, USAGE_DAILY, jobs, run_month

from etl import nights


@dag(
    schedule=PartitionedAssetTimetable(
        assets=USAGE_DAILY, default_partition_mapper=StartOfMonthMapper(input_format="%Y-%m-%d", output_format="%Y-%m")
    ),
    start_date=nights.midnight(SETTINGS.start),
    max_active_runs=1,
    default_args=DEFAULTS,
    params={
        "month": Param(
            None,
            type=["null", "string"],
            pattern="^[0-9]{4}-[0-9]{2}$",
            description="UTC month, for a run without a partition key",
        )
    },
    doc_md=__doc__,
    tags=["tollbook", "billing"],
)
def usage_monthly():
    @task(execution_timeout=timedelta(minutes=10))
    def plan() -> list[str]:
        return nights.due_months(jobs(), run_month())

    @task
    def close(month: str) -> str:
        return nights.close(jobs(), month)

    @task
    def publish(month: str) -> str:
        from reports.jobs import publish_month

        return publish_month(jobs(), month)

    @task(retries=5)
    def mail(month: str) -> None:
        from reports.jobs import mail_month

        mail_month(jobs(), month)

    mail.expand(month=publish.expand(month=close.expand(month=plan())))


usage_monthly()
