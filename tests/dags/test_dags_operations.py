"""What a night measures, reports and tells, on real DAG runs: StatsD over UDP, the report in the bucket, mail."""

from __future__ import annotations

import asyncio
import email
import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email import policy
from pathlib import Path

import pytest

from etl.metrics import METRICS

REPOSITORY = Path(__file__).resolve().parents[2]


def in_a_thread(coroutine):
    """Run to its end in a thread of its own: the browser's tests may have left a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


@pytest.fixture(scope="module")
def place(tmp_path_factory, provider, postbox) -> Iterator[Path]:
    """A workplace of these tests alone; the wiring reads its settings once, so it is imported anew, and again afterwards."""
    from workplace import environment, workplace

    folder = tmp_path_factory.mktemp("operations") / "place"
    settings = workplace(folder, provider, start="2026-10-01")
    settings.write_text('operators = ["ops@example.com"]\n' + settings.read_text())
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(settings, provider, postbox[1]).items():
            if name.startswith(("AIRFLOW_CONN", "TOLLBOOK")):
                patch.setenv(name, value)
        patch.syspath_prepend(str(REPOSITORY / "dags"))
        sys.modules.pop("tollbook_wiring", None)
        from airflow.utils.db import initdb

        initdb()
        yield folder
    sys.modules.pop("tollbook_wiring", None)


@pytest.fixture(scope="module")
def statsd() -> Iterator[tuple[int, list[str]]]:
    """A UDP listener on loopback: (its port, every line it got so far)."""
    lines: list[str] = []
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    server.settimeout(0.2)
    over = threading.Event()

    def listen() -> None:
        while not over.is_set():
            try:
                lines.extend(server.recv(65_536).decode().splitlines())
            except TimeoutError:
                continue

    thread = threading.Thread(target=listen)
    thread.start()
    yield server.getsockname()[1], lines
    over.set()
    thread.join()
    server.close()


@pytest.fixture(scope="module")
def measured(place, statsd):
    """Airflow's own interface as airflow.cfg would set it: to the listener."""
    from airflow.sdk._shared.observability.metrics import stats as module
    from airflow.sdk.configuration import conf
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics import stats_utils

    wanted = {"statsd_on": "True", "statsd_host": "127.0.0.1", "statsd_port": str(statsd[0]), "statsd_prefix": "airflow"}
    before = module._factory, module._export_legacy_names
    with pytest.MonkeyPatch.context() as patch:
        for name, value in wanted.items():
            patch.setenv(f"AIRFLOW__METRICS__{name.upper()}", value)
        stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)
        assert conf.getboolean("metrics", "statsd_on")
        yield
    stats.initialize(factory=before[0], export_legacy_names=before[1])


@pytest.fixture(scope="module")
def inbox(place) -> Iterator[list]:
    """Every mail to the operators, in the order they came: Airflow gives its own no Message-ID to tell them apart by."""
    from aiosmtpd.controller import Controller

    from stack.place import free_port

    mails: list = []

    class Keep:
        async def handle_DATA(self, server, session, envelope) -> str:
            mails.append(email.message_from_bytes(envelope.content, policy=policy.default))
            return "250 kept"

    controller = Controller(Keep(), hostname="127.0.0.1", port=free_port())
    controller.start()
    extra = {"disable_tls": True, "disable_ssl": True}
    mine = {"conn_type": "smtp", "host": "127.0.0.1", "port": controller.port, "extra": extra}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_MAIL", json.dumps(mine))
        yield mails
    controller.stop()


@pytest.fixture(scope="module")
def run(place, inbox):
    def start(dag_id: str, **conf):
        from airflow.dag_processing.dagbag import DagBag

        dag = DagBag().dags[dag_id]
        dag.deadline = None  # only a scheduler acts on it
        for one in dag.tasks:
            one.retries = 0
        return dag.test(run_conf=conf, logical_date=None)

    return start


def runs(place):
    return place / "published" / "_operator" / "runs"


def latest(place) -> dict:
    return json.loads((runs(place) / "latest.json").read_text())


def said(lines: list[str], name: str) -> list[str]:
    """The values of one name: ``12|g``."""
    for _ in range(20):
        found = [line.partition(":")[2] for line in lines if line.startswith(f"airflow.tollbook.{name}:")]
        if found:
            return found
        time.sleep(0.05)
    return []


@pytest.fixture(scope="module")
def night(run, measured, statsd, place) -> dict:
    """The report of one good night, as it lies in the bucket. Three days of the month before are read again first."""
    assert run("usage_daily", day="2026-10-20", lookback_days=3).state == "success"
    return latest(place)


def test_a_night_says_what_it_did(night, place):
    assert (night["dag_id"], night["day"], night["state"]) == ("usage_daily", "2026-10-20", "held back")
    assert night["window"] == {"first": "2026-10-18", "last": "2026-10-20", "days": 3}
    verbs = {row["verb"]: row for row in night["verbs"]}
    assert list(verbs) == [
        "pull", "normalise", "rate", "reconcile", "moved", "roll_up", "restate", "audit", "operations",
    ]  # fmt: skip
    assert (verbs["pull"]["calls"], verbs["pull"]["changed"], verbs["normalise"]["partitions"]) == (3, 3, 6)
    assert all(row["seconds"] > 0 and row["failed"] == 0 for row in verbs.values())
    assert night["seconds"] >= verbs["pull"]["slowest"]
    events = {p["partition"]: p for p in night["partitions"] if p["partition"].startswith("events/")}
    assert sum(p["rows"] for p in events.values()) == sum(night["rows"]["twilio"].values()) > 0
    assert not night["errors"] and not night["failed_tasks"] and night["findings"]["count"] == 0
    assert {task["state"] for task in night["tasks"]} == {"success"} and "twilio.pull[2]" in str(night["tasks"])


def test_what_the_months_lack_is_told_with_its_command(night):
    assert any("python -m etl run --from 2026-10-01 --to 2026-10-17" in sentence for sentence in night["todo"])
    [month] = night["months"]
    assert month["complete"] == "2026-10-20" and month["sources"]["twilio"]["days_missing"] >= 17


def test_the_report_names_code_settings_and_programs_as_the_log_does(night):
    from etl.jobs import Jobs

    lake = Jobs.open().lake
    assert (night["versions"]["code"], night["versions"]["settings"]) == (lake.code, lake.config)
    assert {"apache-airflow", "polars", "python"} <= set(night["versions"])
    assert night["run_id"] in {v.run_id for v in lake.heads("daily").values()}


def test_every_metric_of_a_night_arrives_over_udp_under_its_own_name(night, statsd):
    lines = statsd[1]
    assert said(lines, "rows.twilio.accepted")[-1] == f"{night['months'][0]['sources']['twilio']['accepted']}|g"
    assert said(lines, "night.rows.twilio.accepted")[-1] == f"{night['rows']['twilio']['accepted']}|g"
    assert said(lines, "days.missing.twilio")[-1] == f"{night['months'][0]['sources']['twilio']['days_missing']}|g"
    assert len(said(lines, "verb.duration.pull.twilio")) == 3
    assert all(re.fullmatch(r"[0-9.]+\|ms", value) for value in said(lines, "verb.duration.pull.twilio"))
    assert said(lines, "partitions.changed.rate.twilio") == ["1|c"] * 3
    assert said(lines, "night.findings") == ["0|g"]
    ours = {line.removeprefix("airflow.tollbook.").partition(":")[0] for line in lines if ".tollbook." in line}
    known = {name for name in METRICS if any(sent == name or sent.startswith(f"{name}.") for sent in ours)}
    assert known == set(METRICS) - {"verb.failed", "accounts.held"}, "a good night has neither"
    assert not [sent for sent in ours if not any(sent == name or sent.startswith(f"{name}.") for name in METRICS)]


def test_where_tags_are_sent_along_the_name_is_short(place, monkeypatch):
    from airflow.sdk.observability import stats
    from tollbook_wiring import send

    from etl.metrics import Figure

    sent = []
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "False")
    monkeypatch.setenv("AIRFLOW__METRICS__OTEL_ON", "True")
    for kind in ("timing", "incr", "gauge"):
        monkeypatch.setattr(stats, kind, lambda name, value, tags=None, kind=kind: sent.append((kind, name, value, tags)))
    send([Figure("rows", 7, {"source": "a", "outcome": "accepted"}), Figure("verb.failed", 1, {"verb": "audit", "source": ""})])
    assert sent == [
        ("gauge", "tollbook.rows", 7, {"source": "a", "outcome": "accepted"}),
        ("incr", "tollbook.verb.failed", 1, {"verb": "audit"}),
    ]


def test_opentelemetry_gets_the_same_figures(place, monkeypatch):
    """By Airflow's own OpenTelemetry logger, into a reader in memory instead of a collector."""
    from airflow.sdk._shared.observability.metrics import stats as module
    from airflow.sdk._shared.observability.metrics.otel_logger import SafeOtelLogger
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from tollbook_wiring import send

    from etl.metrics import Figure

    reader = InMemoryMetricReader()
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "False")
    monkeypatch.setattr(module, "_backend", SafeOtelLogger(MeterProvider([reader]), "airflow"))
    send([Figure("lag.days", 1), Figure("rows", 7, {"source": "a", "outcome": "accepted"})])
    [scope] = reader.get_metrics_data().resource_metrics[0].scope_metrics
    points = {m.name: [(p.value, dict(p.attributes)) for p in m.data.data_points] for m in scope.metrics}
    assert points == {
        "airflow.tollbook.lag.days": [(1, {})],
        "airflow.tollbook.rows": [(7, {"source": "a", "outcome": "accepted"})],
    }


def test_a_page_and_a_json_document_of_each_run_stay_side_by_side(night, run, place):
    before = {f.name for f in runs(place).rglob("*.html")}
    assert run("usage_daily", day="2026-10-20", lookback_days=1).state == "success"
    after = {f.name for f in runs(place).rglob("*.html")}
    assert len(after) == len(before) + 1
    again = latest(place)
    assert again["run_id"] != night["run_id"] and sum(row["changed"] for row in again["verbs"]) == 0
    index = (runs(place) / "index.html").read_text()
    assert again["run_id"] in index and night["run_id"] not in index
    folder = runs(place) / "2026-10-20"
    assert len(list(folder.glob("*.json"))) == len(list(folder.glob("*.html"))) == 2


def test_a_night_that_fails_is_reported_measured_and_told_of(night, run, place, statsd, inbox, monkeypatch):
    inbox.clear()
    monkeypatch.setenv("AIRFLOW_CONN_TWILIO", '{"conn_type": "http", "login": "ACnobody", "password": "x"}')
    assert run("usage_daily", day="2026-10-22", lookback_days=1).state == "failed"
    report = latest(place)
    assert report["state"] == "failed" and report["day"] == "2026-10-22"
    [error] = [one for one in report["errors"] if one["verb"] == "pull"]
    assert (error["day"], error["source"]) == ("2026-10-22", "twilio") and "401" in error["error"]
    assert report["failed_tasks"] == ["audit", "roll_up[0]", "twilio.pull[0]"]
    assert said(statsd[1], "verb.failed.pull.twilio") == ["1|c"]
    assert int(said(statsd[1], "night.findings")[-1].partition("|")[0]) > 0, "the audit misses the day"
    about = {str(mail["Subject"]): mail.get_body().get_content() for mail in inbox}
    assert {subject.split()[1] for subject in about} == {f"usage_daily.{name}" for name in ("twilio.pull", "roll_up", "audit")}
    [body] = [text for subject, text in about.items() if "twilio.pull failed for 2026-10-22" in subject]
    assert "Whom it concerns: every account" in body
    assert "python -m etl check, then python -m etl run --date 2026-10-22 --source twilio" in body
    page = (runs(place) / "index.html").read_text()
    assert "What failed" in page and "Oct\xa022, twilio" in page and "Not reached for that" in page
    assert report["tasks_not_reached"] == ["twilio.normalise[0]", "twilio.rate[0]", "twilio.reconcile[0]"]


def test_nothing_secret_is_in_a_report_a_measure_or_a_mail(night, place, statsd, inbox):
    password = json.loads(os.environ["AIRFLOW_CONN_TWILIO"])["password"]
    texts = [f.read_text() for f in runs(place).rglob("*") if f.is_file()] + statsd[1]
    texts += [str(mail["Subject"]) + mail.get_body().get_content() for mail in inbox]
    assert inbox and len(password) > 8 and not any(password in text for text in texts)
    assert not any(re.search(r"\+1\d{10}", text) for text in texts)


def test_a_month_that_is_held_is_told_to_the_operators(night, run, place, statsd, inbox):
    """October 2026 is over, the week after it too, and days are missing: its accounts are held."""
    inbox.clear()
    assert run("usage_monthly", month="2026-10").state == "success", "held is not failed"
    [mail] = [m for m in inbox if "should be closed and is held" in str(m["Subject"])]
    body = mail.get_body().get_content()
    assert str(mail["To"]) == "ops@example.com" and "2026-10" in mail["Subject"]
    assert "python -m etl close --month 2026-10" in body and "python -m etl run --date" in body
    held = int(said(statsd[1], "accounts.held")[-1].partition("|")[0])
    assert held > 0 and f"{held} account(s) are held" in body


def test_the_command_shows_the_newest_night_and_that_of_a_day(night, place, capsys):
    from etl import console
    from etl.jobs import Jobs
    from etl.periods import parse_day

    jobs = Jobs.open()
    assert console.night(jobs, parse_day("2026-10-20"), as_json=False) == console.HELD
    shown = capsys.readouterr().out
    assert shown.startswith("2026-10-20: held back") and "twilio: " in shown and "to do: " in shown
    assert console.night(jobs, None, as_json=True) == console.HELD
    assert json.loads(capsys.readouterr().out)["day"] == latest(place)["day"]
    with pytest.raises(Exception, match="there is no report of 2026-01-01"):
        console.night(jobs, parse_day("2026-01-01"), as_json=False)


# ------------------------------------------------------------------------------------------------ the deadline


def missed(run_type: str, run_id: str) -> tuple[float, dict]:
    """A run of the night as the scheduler makes it, and what its deadline does once it is missed: (hours from queueing to
    the deadline, the callback as the triggerer gets it). Nothing of it stays in the database."""
    from airflow.models.dagbag import DBDagBag
    from airflow.models.deadline import Deadline
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType
    from sqlalchemy import select

    with create_session() as session:
        dag = DBDagBag().get_latest_version_of_dag("usage_daily", session=session)
        made = dag.create_dagrun(
            run_id=run_id, run_type=DagRunType(run_type), state=DagRunState.QUEUED, partition_key="2026-10-23",
            run_after=datetime(2026, 10, 24, tzinfo=UTC), triggered_by=DagRunTriggeredByType.TIMETABLE, session=session,
        )  # fmt: skip
        session.flush()
        [deadline] = session.scalars(select(Deadline).where(Deadline.dagrun_id == made.id))
        hours = (deadline.deadline_time - made.queued_at).total_seconds() / 3600
        deadline.handle_miss(session)
        data = json.loads(json.dumps(deadline.callback.data, default=str))
        session.rollback()
    return hours, data


async def triggered(data: dict) -> list[str]:
    """The callback as the triggerer runs it; the states it went through."""
    from airflow.triggers.callback import PAYLOAD_BODY_KEY, PAYLOAD_STATUS_KEY, CallbackTrigger

    trigger = CallbackTrigger(data["path"], data["kwargs"])
    events = [event.payload async for event in trigger.run()]
    assert "failed" not in {str(event[PAYLOAD_STATUS_KEY]) for event in events}, events[-1][PAYLOAD_BODY_KEY]
    return [str(event[PAYLOAD_STATUS_KEY]) for event in events]


def test_a_late_night_is_told_of_by_the_triggerer(night, inbox):
    inbox.clear()
    hours, data = missed("scheduled", "scheduled__2026-10-24T00:00:00+00:00")
    assert hours == 6, "settle_hours is 0 here, and the default is six more"
    assert data["path"] == "watch.late.LateNight", "what the triggerer can import without a DAG folder"
    assert in_a_thread(triggered(data))[-1] == "success"
    [mail] = inbox
    assert str(mail["Subject"]) == "Tollbook: the night of 2026-10-23 is late" and mail["To"] == "ops@example.com"
    body = mail.get_body().get_content()
    assert "06:00 UTC on 2026-10-24" in body and "python -m etl run --date 2026-10-23" in body and "every account" in body


def test_a_day_that_waits_in_a_backfill_is_not_late(night, inbox):
    inbox.clear()
    _, data = missed("backfill", "backfill__2026-10-24T00:00:00+00:00")
    assert in_a_thread(triggered(data))[-1] == "success"
    assert inbox == []


def test_nobody_to_tell_is_no_deadline(place, tmp_path, monkeypatch):
    """Without [mail] or operators nothing is promised that nobody would get."""
    import importlib

    settings = tmp_path / "tollbook.toml"
    text = (place / "tollbook.toml").read_text().replace('operators = ["ops@example.com"]', "operators = []")
    settings.write_text(text.replace('directory = "directory"', f'directory = "{place / "directory"}"'))
    monkeypatch.setenv("TOLLBOOK_CONFIG", str(settings))
    before = sys.modules.pop("tollbook_wiring", None)
    try:
        wiring = importlib.import_module("tollbook_wiring")
        assert wiring.DEADLINES == [] and "on_failure_callback" not in wiring.DEFAULTS
    finally:
        sys.modules["tollbook_wiring"] = before
