"""
### The month

Starts whenever a day of the month was loaded or corrected. Open months are stated and published again as *estimated*;
a month that nothing holds (docs/closing.md) closes account by account: final, frozen, mailed once. An account for which a
promise is broken is neither published nor mailed, and fails the run by name; the others go on.

**The partition key is the UTC month** (`2026-10`). A run also takes care of every earlier month that is
still open, and tries an address that refused a mail again.

| to do this | do that |
| --- | --- |
| see why a month stays open | `_operator/2026-10/index.html` in the reports store, or the log of `close` |
| publish a month again | trigger with partition key `2026-10` |

Reads the asset `usage_daily`; its readers are the people on each account's mailing list.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param, PartitionedAssetTimetable, StartOfMonthMapper, dag, task
from airflow.sdk.exceptions import AirflowFailException
from tollbook_wiring import DEFAULTS, SETTINGS, USAGE_DAILY, jobs, last, report_months, run_month

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

    # One account's trouble stops no other: each verb does what it can for every month, the watcher fails the run.
    @task(trigger_rule="all_done")
    def publish(month: str) -> str:
        from reports.jobs import publish_month

        return publish_month(jobs(), month)

    @task(trigger_rule="all_done", retries=5)
    def mail(month: str) -> None:
        from reports.jobs import mail_month

        mail_month(jobs(), month)

    # Last and whatever failed, so that it shows just that; nothing waits for it.
    @task(trigger_rule="all_done", retries=1)
    def operate(month: str) -> None:
        from reports.jobs import operate as draw

        draw(jobs(), month)

    @task(trigger_rule="one_failed")
    def watcher() -> None:
        raise AirflowFailException("a task before this one failed: its log says for which account and why")

    months = plan()
    closed = close.expand(month=months)
    published = publish.expand(month=months)
    mailed = mail.expand(month=months)
    operated = operate.expand(month=months)
    closed >> published >> mailed >> operated
    [months, closed, published, mailed, operated] >> watcher() >> last(report_months)


usage_monthly()
