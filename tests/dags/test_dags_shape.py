"""The DAG files: thin, documented, bounded, and cheap to parse."""

from __future__ import annotations

import ast
import copy
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

from etl import nights
from etl.settings import load

DAGS = Path(__file__).resolve().parents[2] / "dags"
FILES = ["usage_backfill.py", "usage_daily.py", "usage_monthly.py"]


def test_all_dags_load(bag):
    assert set(bag.dags) == {"usage_backfill", "usage_daily", "usage_monthly"}


@pytest.mark.parametrize("dag_id", ["usage_backfill", "usage_daily", "usage_monthly"])
def test_every_dag_says_what_it_is_for(bag, dag_id):
    dag = bag.dags[dag_id]
    assert "|" in dag.doc_md, "the page in the UI says how to backfill, repeat and look"
    assert {"tollbook", "billing"} <= set(dag.tags)
    assert dag.max_active_runs == 1


@pytest.mark.parametrize("dag_id", ["usage_backfill", "usage_daily", "usage_monthly"])
def test_every_task_survives_a_lost_worker_and_ends(bag, dag_id):
    for one in bag.dags[dag_id].tasks:
        assert one.retries >= 1, one.task_id
        assert one.execution_timeout or one.task_id == "wait_for_late_logs", one.task_id


def deciding(dag) -> set[str]:
    """The tasks whose outcome is the run's, as Airflow itself says: leaves, but for what only a teardown follows."""
    from types import SimpleNamespace

    from airflow.models.dagrun import DagRun

    class Hashable(SimpleNamespace):
        __hash__ = object.__hash__

    tasks = [Hashable(task_id=one.task_id, state=None) for one in dag.tasks]
    return {ti.task_id for ti in DagRun._tis_for_dagrun_state(None, dag=dag, tis=tasks)}


@pytest.mark.parametrize(("dag_id", "decides"), [("usage_daily", {"audit", "operate", "expire"}), ("usage_monthly", {"watcher"})])
def test_the_report_is_last_whatever_failed_and_decides_nothing(bag, dag_id, decides):
    dag = bag.dags[dag_id]
    report = dag.get_task("report")
    assert report.is_teardown and not report.on_failure_fail_dagrun and report.downstream_task_ids == set()
    assert {t.task_id for t in dag.leaves} == {"report"} and deciding(dag) == decides


def test_the_operator_s_page_is_drawn_whatever_failed_and_holds_nothing(bag):
    """Nothing but the watcher waits for it, and its success hides nobody's failure."""
    daily, monthly = bag.dags["usage_daily"], bag.dags["usage_monthly"]
    for dag in (daily, monthly):
        assert dag.get_task("operate").trigger_rule == "all_done"
    assert daily.get_task("operate").downstream_task_ids == {"report"}
    assert "audit" in deciding(daily), "a failed audit fails the night"
    assert "mail" in monthly.get_task("operate").upstream_task_ids
    assert monthly.get_task("operate").downstream_task_ids == {"watcher"}
    assert "operate" in monthly.get_task("watcher").upstream_task_ids


def test_a_promise_broken_fails_the_night_and_keeps_no_month_from_going_on(bag):
    """The asset is updated before the audit judges; what it finds holds only whom it concerns (tests/closing)."""
    daily = bag.dags["usage_daily"]
    assert {t.task_id: [o.name for o in t.outlets] for t in daily.tasks if t.outlets} == {"state": ["usage_daily"]}
    assert daily.get_task("state").trigger_rule == "all_done"
    audit = daily.get_task("audit")
    assert audit.upstream_task_ids >= {"state"} and audit.downstream_task_ids == {"report"}


def test_retention_waits_for_all_that_was_loaded_and_hides_no_failure(bag):
    """It runs beside the audit, and is told which days the audit reads (tests/privacy)."""
    daily = bag.dags["usage_daily"]
    expire = daily.get_task("expire")
    assert expire.trigger_rule == "all_done" and expire.upstream_task_ids >= {"state", "plan"}
    assert deciding(daily) == {"audit", "operate", "expire"}


def test_a_mail_about_a_failure_names_nobody(bag):
    [callback] = bag.dags["usage_daily"].get_task("audit").on_failure_callback
    mail = copy.copy(callback)  # what is rendered stays rendered
    about = {"dag_id": "usage_daily", "task_id": "audit", "log_url": "log"}
    mail.render_template_fields(
        {"exception": ValueError("<b> to +15550100123"), "ti": about, "dag_run": {"partition_key": "2026-10-31"}}
    )
    assert mail.html_content.startswith("<p>&lt;b&gt; to ***123</p>")
    assert "<code>python -m etl audit --date 2026-10-31</code>" in mail.html_content
    assert "2026-10-31" in mail.subject
    about["task_id"] = "twilio.pull"
    mail.render_template_fields({"exception": None, "ti": about, "dag_run": {"partition_key": "2026-11-01"}})
    assert "--date 2026-11-01 --source twilio" in mail.html_content, "the next mail of a process is its own"


def test_what_moved_is_settled_after_every_source_and_before_the_roll_up(bag):
    daily = bag.dags["usage_daily"]
    assert {"twilio.rate", "twilio.reconcile"} <= daily.get_task("moved").upstream_task_ids
    assert "roll_up" in daily.get_task("moved").downstream_task_ids


def test_asking_a_provider_is_bounded_by_its_pool(bag):
    assert bag.dags["usage_daily"].get_task("twilio.pull").pool == "tollbook_twilio"


def test_the_partition_key_of_the_daily_run_is_the_utc_day_that_ended(bag):
    timetable = bag.dags["usage_daily"].timetable
    assert (str(timetable.timezone), timetable.run_offset, timetable.key_format) == ("UTC", -1, "%Y-%m-%d")
    assert bag.dags["usage_daily"].catchup is True, "two nights of downtime leave no hole"


@pytest.mark.parametrize("dag_id", ["usage_backfill", "usage_daily", "usage_monthly"])
def test_a_dag_survives_the_trip_to_the_scheduler(bag, dag_id):
    from airflow.serialization.serialized_objects import DagSerialization

    dag = bag.dags[dag_id]
    again = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert again.task_ids == dag.task_ids


@pytest.mark.parametrize("file", FILES)
def test_parsing_a_dag_file_imports_nothing_heavy(place, file):
    script = (
        "import sys, runpy; import airflow.sdk; before = set(sys.modules);"
        f"sys.path.insert(0, {str(DAGS)!r}); runpy.run_path({str(DAGS / file)!r});"
        "heavy = {'polars', 'pyarrow', 'boto3', 'dataframely', 'jinja2.environment', 'httpx'};"
        "print(sorted(m for m in heavy if m in set(sys.modules) - before))"
    )
    run = subprocess.run([sys.executable, "-c", script], env=os.environ, capture_output=True, text=True, check=True)
    assert run.stdout.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize("file", FILES)
def test_a_dag_file_holds_schedule_and_wiring_only(file):
    tree = ast.parse((DAGS / file).read_text())
    loops = [n for n in ast.walk(tree) if isinstance(n, ast.While | ast.Try | ast.With)]
    assert loops == []
    assert len((DAGS / file).read_text().splitlines()) < 150


def test_a_night_draws_the_months_it_touches_and_its_own_where_its_plan_failed():
    assert nights.touched(date(2026, 11, 2), ["2026-10-27/2026-10-31", "2026-11-01/2026-11-02"]) == [
        "2026-10",
        "2026-11",
    ]
    assert nights.touched(date(2026, 11, 2), None) == ["2026-11"]


def test_a_usual_night_reads_the_look_back_day_by_day(place):
    windows = nights.plan(date(2026, 10, 20), 7, load())
    assert windows == [f"2026-10-{d}/2026-10-{d}" for d in range(14, 21)]


def test_the_third_and_the_eighth_read_the_month_before_again(place):
    for day in (date(2026, 11, 2), date(2026, 11, 7)):
        covered = [d for w in nights.plan(day, 2, load()) for d in nights.window_days(w)]
        assert covered == sorted(set(covered))
        assert {date(2026, 10, 1) + timedelta(days=i) for i in range(31)} <= set(covered)


def test_a_long_load_gets_wider_windows_and_loses_no_day(place):
    windows = nights.plan(date(2027, 9, 30), 365, load())
    assert len(windows) <= nights.MAX_WINDOWS
    covered = [d for w in windows for d in nights.window_days(w)]
    assert covered == [date(2026, 10, 1) + timedelta(days=i) for i in range(365)]


def test_nothing_is_read_before_go_live(place):
    assert nights.plan(date(2026, 10, 2), 7, load())[0].startswith("2026-10-01")
    assert nights.plan(date(2026, 9, 2), 7, load()) == []
