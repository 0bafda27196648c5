"""The mail about a late night, sent by Airflow's triggerer when the deadline of `usage_daily` has passed.

It stands apart from the DAG files because the triggerer imports it by name and has no DAG folder.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.smtp.notifications.smtp import SmtpNotifier

from etl import alerts


class LateNight(SmtpNotifier):
    """Tells of a run of the schedule only: what waits its turn in a backfill was due at no hour. ``done_by``: hours after
    midnight UTC."""

    def __init__(self, *, done_by: int, **options: Any) -> None:
        super().__init__(**options)
        self.done_by = done_by

    async def async_notify(self, context: Any) -> None:
        run = context["dag_run"]
        if run["run_type"] != "scheduled":
            self.log.info("%s is no run of the schedule: nobody is told that it takes long", run["dag_run_id"])
            return
        message = alerts.late(str(run["partition_key"]), self.done_by)
        self.subject, self.html_content = message.subject, message.html
        await super().async_notify(context)
