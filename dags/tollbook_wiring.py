"""What both DAGs share: their defaults, and the one place that reads the run context."""

from __future__ import annotations

from datetime import date, timedelta

from airflow.sdk import Asset, Connection, get_current_context
from airflow.sdk.exceptions import AirflowFailException

from etl import redaction
from etl import settings as configuration
from etl.jobs import Jobs
from etl.periods import Month, parse_day

USAGE_DAILY = Asset("usage_daily")

SETTINGS = configuration.load()

DEFAULTS = {
    "owner": "tollbook",
    "retries": 3,
    "retry_delay": timedelta(minutes=2),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=30),
    "execution_timeout": timedelta(hours=2),
}

if SETTINGS.mail and SETTINGS.operators:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    class MaskedNotifier(SmtpNotifier):
        """A mail is no log: what an exception says is masked here."""

        def render_template_fields(self, context, jinja_env=None):
            said = redaction.mask(str(context.get("exception")))
            super().render_template_fields({**context, "exception": said}, jinja_env)

    DEFAULTS["on_failure_callback"] = MaskedNotifier(
        from_email=SETTINGS.mail.sender,
        to=list(SETTINGS.operators),
        subject="Tollbook: {{ ti.dag_id }}.{{ ti.task_id }} failed for {{ (dag_run.partition_key or params.get('day') or params.get('month')) | string | urlencode }}",
        html_content="<p>{{ exception | e }}</p><p><a href='{{ ti.log_url }}'>Log of {{ ti.task_id }}</a></p>",
        smtp_conn_id=SETTINGS.mail.connection,
    )


def pool(source: str) -> str:
    """Name of the pool that bounds how many tasks ask one provider at once."""
    return f"tollbook_{source}"


def _key(param: str) -> str:
    context = get_current_context()
    key = context.get("partition_key") or context["params"].get(param)
    if not key:
        raise AirflowFailException(f"no {param}: trigger this DAG with a partition key, or with the param {param!r}")
    return str(key)


def run_day() -> date:
    """The UTC day of this run: its partition key, or the param ``day`` of a run in one process."""
    return _or_fail(parse_day, _key("day"))


def run_month() -> Month:
    """The UTC month of this run: its partition key, or the param ``month``."""
    return _or_fail(Month.parse, _key("month")[:7])


def _or_fail(parse, text):
    try:
        return parse(text)
    except ValueError as error:
        raise AirflowFailException(str(error)) from None


def jobs() -> Jobs:
    """The verbs, with credentials from Airflow's connections. The run id of the log entries is the DAG run's."""
    return Jobs(SETTINGS, run_id=get_current_context()["run_id"], resolve=_connection)


def _connection(name: str) -> configuration.Connection:
    found = Connection.get(name)
    return configuration.Connection(
        host=found.host or "",
        login=found.login or "",
        password=found.password or "",
        port=found.port,
        extra=found.extra_dejson or {},
    )
