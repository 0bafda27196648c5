"""What both DAGs share: their defaults, the one place that reads the run context, and how a run is measured and told of."""

from __future__ import annotations

from datetime import UTC, date, timedelta

from airflow.sdk import (
    Asset,
    AsyncCallback,
    Connection,
    DeadlineAlert,
    DeadlineReference,
    get_current_context,
    task,
    teardown,
)
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from etl import alerts, nights, redaction
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

DEADLINES: list[DeadlineAlert] = []
"""Of the night; none without somebody to tell."""

if SETTINGS.mail and SETTINGS.operators:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier

    _POST = {
        "from_email": SETTINGS.mail.sender, "to": list(SETTINGS.operators), "smtp_conn_id": SETTINGS.mail.connection,
    }  # fmt: skip

    class MaskedNotifier(SmtpNotifier):
        """A mail is no log: what an exception says is masked here. Says whom it concerns and what mends it."""

        SUBJECT = "Tollbook: {{ ti.dag_id }}.{{ ti.task_id }} failed for {{ (dag_run.partition_key or params.get('day') or params.get('month')) | string | urlencode }}"
        BODY = "<p>{{ exception | e }}</p><p>What: {{ remedy.what | e }}. Whom it concerns: {{ remedy.whom | e }}.</p><p>To mend it: <code>{{ remedy.command | e }}</code> (docs/runbook.md)</p><p><a href='{{ ti.log_url }}'>Log of {{ ti.task_id }}</a></p>"

        def render_template_fields(self, context, jinja_env=None):
            # What is rendered stays rendered: the next failure in this process would get this one's mail.
            self.subject, self.html_content = self.SUBJECT, self.BODY
            said = redaction.mask(str(context.get("exception")))
            super().render_template_fields({**context, "exception": said, "remedy": _remedy(context)}, jinja_env)

    DEFAULTS["on_failure_callback"] = MaskedNotifier(**_POST)

    # The triggerer sends it: also when no worker is left. It counts from midnight, when the run of the day is queued.
    DEADLINES.append(
        DeadlineAlert(
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=timedelta(hours=SETTINGS.done_by),
            callback=AsyncCallback("watch.late.LateNight", {**_POST, "done_by": SETTINGS.done_by}),
            name="night_done",
        )
    )


def _remedy(context) -> alerts.Remedy:
    """What to do about the task of this context."""
    ti, run, params = (context.get(name) or {} for name in ("ti", "dag_run", "params"))
    given = getattr(context.get("task"), "op_kwargs", None) or {}
    key = _of(run, "partition_key") or _of(params, "day") or _of(params, "month") or ""
    window = given.get("window") if isinstance(given.get("window"), str) else None
    source = _of(ti, "task_id").partition(".")[0] if "." in _of(ti, "task_id") else None
    return alerts.remedy(_of(ti, "dag_id"), _of(ti, "task_id"), given.get("month") or str(key), window=window, source=source)


def _of(holder, name: str):
    return holder.get(name) if hasattr(holder, "get") else getattr(holder, name, None)


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
    """The verbs, with credentials from Airflow's connections. The run id of the log entries is the DAG run's. Each call is
    measured, and kept with the task for the report of its run."""
    from etl import metrics
    from etl.journal import Observed

    context = get_current_context()
    calls = []

    def note(call: metrics.Call) -> None:
        calls.append(call.as_dict())
        context["ti"].xcom_push(key=JOURNAL, value=calls)
        send(metrics.of_call(call))

    return Observed(_unobserved(context), note)


def _unobserved(context) -> Jobs:
    return Jobs(SETTINGS, run_id=context["run_id"], resolve=_connection)


def _connection(name: str) -> configuration.Connection:
    found = Connection.get(name)
    return configuration.Connection(
        host=found.host or "",
        login=found.login or "",
        password=found.password or "",
        port=found.port,
        extra=found.extra_dejson or {},
    )


# ------------------------------------------------------------------------------------------------ how loading ends


# The months go on from here: their tasks ask the audit themselves, and leave out only whom it concerns.
@task(trigger_rule="all_done", outlets=[USAGE_DAILY])
def state(windows: list[str]) -> list[str]:
    """The months of these days, stated anew; tells the asset."""
    return nights.state(jobs(), windows)


@task(retries=1)
def audit(windows: list[str]) -> None:
    """Fails by name what the days break."""
    nights.check(jobs(), windows)


# Beside the audit, not after it: a night that fails is what the page is for.
@task(trigger_rule="all_done", retries=1)
def operate(windows: list[str] | None) -> None:
    """The operator's page of what was touched."""
    from reports.jobs import operate as draw

    draw(jobs(), *nights.touched(run_day(), windows))


# ------------------------------------------------------------------------------------------------ measures and reports

JOURNAL = "journal"
"""The XCom in which a task keeps what its verbs did; tasks hand on nothing else but keys."""


def send(figures) -> None:
    """Through Airflow's own interface: airflow.cfg says whether to StatsD, OpenTelemetry or nowhere, and under which prefix.
    Where tags are not sent along (plain StatsD), they are in the name."""
    from airflow.sdk.configuration import conf
    from airflow.sdk.observability import stats

    tagged = conf.getboolean("metrics", "statsd_datadog_enabled") or conf.getboolean("metrics", "statsd_influxdb_enabled")
    tagged = tagged or not conf.getboolean("metrics", "statsd_on")
    for one in figures:
        name = one.tagged if tagged else one.dotted
        tags = {key: value for key, value in one.tags.items() if value} if tagged else None
        if one.metric.kind == "timer":
            stats.timing(name, timedelta(seconds=one.value), tags=tags)
        elif one.metric.kind == "counter":
            stats.incr(name, int(one.value), tags=tags)
        else:
            stats.gauge(name, one.value, tags=tags)


def _calls(context) -> list:
    """What every task of this run did so far."""
    from etl.metrics import Call

    kept = context["ti"].xcom_pull(task_ids=sorted(context["dag"].task_ids), key=JOURNAL)
    return [Call.of(record) for calls in kept or () for record in calls or ()]


def last(work):
    """``work`` as the task `report`, which runs after all others, whatever failed. A teardown: its success hides nobody's
    failure, and its own fails no run."""
    return teardown(task(task_id="report", retries=1)(work))()


def report_night() -> str:
    """Write the report of this night and send its measures; the key of its page."""
    from etl import metrics, runreport
    from reports.jobs import Reports
    from reports.operator import night

    context = get_current_context()
    day, run, calls = _day_or_skip(), _unobserved(context), _calls(context)
    at = run.clock()
    figures = metrics.of_night(calls, at.astimezone(UTC).date(), SETTINGS.start)
    send(figures)
    ti, mine = context["ti"], context["ti"].task_id
    states = [one for one in ti.get_task_breadcrumbs(ti.dag_id, context["run_id"]) if one["task_id"] != mine]
    document = runreport.document(
        calls, run_id=context["run_id"], dag_id=ti.dag_id, day=day, at=at, tasks=states,
        versions=runreport.versions(SETTINGS), figures=figures,
    )  # fmt: skip
    return night.publish(Reports(run).publisher, document, runreport.key(document))


def _day_or_skip() -> date:
    """The day of this run. A run that was started without one did nothing there is to report; its own failure says so."""
    try:
        return run_day()
    except AirflowFailException as error:
        raise AirflowSkipException(str(error)) from None


def report_months() -> None:
    """Send what is held, and tell the operators of months that should be closed by now."""
    from etl import metrics

    context = get_current_context()
    months = metrics.months_of(_calls(context))
    overdue = metrics.overdue(months, _unobserved(context).clock().astimezone(UTC).date(), SETTINGS.close_after_days)
    send([metrics.Figure("accounts.held", sum(month["held_accounts"] for month in overdue))])
    if overdue and SETTINGS.mail and SETTINGS.operators:
        message = alerts.held(overdue)
        SmtpNotifier(**_POST, subject=message.subject, html_content=message.html)(context)
