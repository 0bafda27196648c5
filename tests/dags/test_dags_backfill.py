"""A month of the past in few fat tasks: what is cut how, what a failing day does, and that the bytes are those of the nights."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from etl import alerts, nights
from etl.jobs import Done, Jobs
from etl.periods import Month
from etl.schemas import DATASETS
from etl.settings import load

REPOSITORY = Path(__file__).resolve().parents[2]
MAY = Month(2026, 5)


def settings(start: date, settle_hours: int = 0):
    return SimpleNamespace(start=start, settle_hours=settle_hours)


def covered(windows: list[str]) -> list[date]:
    return [d for window in windows for d in nights.window_days(window)]


# ------------------------------------------------------------------------------------------------ how a month is cut


@pytest.mark.parametrize("month", [Month(2026, 2), Month(2024, 2), Month(2026, 4), MAY])
def test_a_month_is_cut_into_at_most_so_many_windows_and_each_day_is_in_one(month):
    windows = nights.plan_month(month, settings(date(2020, 1, 1)))
    assert covered(windows) == month.days
    assert len(windows) == nights.MONTH_WINDOWS


@pytest.mark.parametrize("day", range(1, 32))
def test_no_day_before_go_live_is_loaded(day):
    start = date(2026, 5, day)
    windows = nights.plan_month(MAY, settings(start))
    assert covered(windows) == [d for d in MAY.days if d >= start]
    assert len(windows) <= nights.MONTH_WINDOWS
    assert nights.plan_month(Month(2026, 4), settings(start)) == []


def test_of_a_month_under_way_the_days_that_are_settled_are_loaded(monkeypatch):
    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 5, 9, 3, tzinfo=UTC)

    monkeypatch.setattr(nights, "datetime", Clock)
    assert covered(nights.plan_month(MAY, settings(date(2026, 1, 1), 3)))[-1] == date(2026, 5, 8)
    assert covered(nights.plan_month(MAY, settings(date(2026, 1, 1), 4)))[-1] == date(2026, 5, 7)
    assert nights.plan_month(Month(2026, 6), settings(date(2026, 1, 1))) == []


# ------------------------------------------------------------------------------------------------ a day that fails


class Verbs:
    """Notes what it was asked for, and breaks as it is told."""

    def __init__(self, *broken: tuple[str, str]) -> None:
        self.asked, self.broken = [], broken

    def __getattr__(self, verb: str):
        def work(day, *_):
            self.asked.append((verb, str(day)))
            if (verb, str(day)) in self.broken:
                raise OSError(f"{verb} {day}")
            return Done(verb, str(day), 1, 0, False, {})

        return work

    def reconcile(self, day, source):
        self.__getattr__("reconcile")(day)
        return DATASETS["reconciled"].empty()

    def moved(self, days):
        self.asked.append(("moved", ",".join(map(str, days))))
        if ("moved", "") in self.broken:
            raise OSError("moved")
        return []


def test_a_day_has_all_verbs_in_order():
    verbs = Verbs()
    assert nights.load(verbs, "2026-05-01/2026-05-03", "twilio") == "2026-05-01/2026-05-03"
    for day in ("2026-05-01", "2026-05-02", "2026-05-03"):
        assert [v for v, d in verbs.asked if d == day] == ["pull", "normalise", "rate", "reconcile"]


def test_days_that_fail_stop_no_other_and_are_all_named():
    verbs = Verbs(("pull", "2026-05-01"), ("rate", "2026-05-04"))
    with pytest.raises(ExceptionGroup, match="2 of 9 days") as caught:
        nights.load(verbs, "2026-05-01/2026-05-09", "twilio")
    assert [str(e) for e in caught.value.exceptions] == ["pull 2026-05-01", "rate 2026-05-04"]
    assert sorted(d for v, d in verbs.asked if v == "reconcile") == [f"2026-05-0{n}" for n in (2, 3, 5, 6, 7, 8, 9)]


def test_what_did_load_is_rolled_up_whatever_failed_beside_it():
    windows, every = ["2026-05-01/2026-05-06", "2026-05-07/2026-05-08"], [f"2026-05-0{n}" for n in range(1, 9)]
    for broken in ([], [("moved", "")], [("roll_up", "2026-05-01"), ("roll_up", "2026-05-07")]):
        verbs = Verbs(*broken)
        if broken:
            with pytest.raises((OSError, ExceptionGroup)):
                nights.settle(verbs, windows)
        else:
            assert nights.settle(verbs, windows) == windows
        assert verbs.asked[0] == ("moved", ",".join(every))
        assert sorted(d for v, d in verbs.asked if v == "roll_up") == every, broken


# ------------------------------------------------------------------------------------------------ the DAG


def scheduled(dag):
    """The DAG as the scheduler knows it."""
    from airflow.serialization.serialized_objects import DagSerialization

    return DagSerialization.from_dict(DagSerialization.to_dict(dag))


def test_a_year_is_twelve_runs_of_few_tasks(bag):
    dag = bag.dags["usage_backfill"]
    infos = scheduled(dag).timetable.iter_partition_dagrun_infos(
        earliest=datetime(2025, 11, 1, tzinfo=UTC), latest=datetime(2026, 10, 1, tzinfo=UTC)
    )
    keys = [info.partition_key for info in infos]
    assert keys == [f"{m}-01" for m in (Month(2025, 11) + n for n in range(12))]
    assert dag.task_ids and set(dag.task_ids) == {"plan", "twilio.load", "settle", "state", "audit", "operate", "report"}


def test_it_never_runs_by_itself(bag):
    dag = bag.dags["usage_backfill"]
    known = scheduled(dag)
    due = known.timetable.next_dagrun_info_v2(last_dagrun_info=None, restriction=known._time_restriction)
    assert due is None
    assert dag.is_paused_upon_creation is False, "a backfill of a paused DAG waits for ever"


def test_only_the_first_day_of_a_month_is_a_key(bag):
    from airflow.exceptions import InvalidPartitionKeyError

    decode = scheduled(bag.dags["usage_backfill"]).timetable._decode_partition_date
    assert decode("2026-05-01") == datetime(2026, 5, 1, tzinfo=UTC)
    for key in ("2026-05-17", "2026-05", "May"):
        with pytest.raises(InvalidPartitionKeyError):
            decode(key)


def test_the_month_after_it_hears_of_it_and_the_provider_s_pool_bounds_it(bag):
    dag = bag.dags["usage_backfill"]
    assert {t.task_id: [o.name for o in t.outlets] for t in dag.tasks if t.outlets} == {"state": ["usage_daily"]}
    mapper = scheduled(bag.dags["usage_monthly"]).timetable.default_partition_mapper
    assert mapper.to_downstream("2026-05-01") == "2026-05"
    assert dag.get_task("twilio.load").pool == "tollbook_twilio"
    assert {dag.get_task(name).trigger_rule for name in ("settle", "state", "operate")} == {"all_done"}


def test_a_mail_about_it_says_which_days():
    window = {"window": "2026-05-09/2026-05-16", "source": "twilio"}
    told = alerts.remedy("usage_backfill", "twilio.load", "2026-05-01", **window)
    assert told.command.endswith("etl run --from 2026-05-09 --to 2026-05-16 --source twilio")
    assert alerts.remedy("usage_backfill", "audit", "2026-05-01").command == "python -m etl audit --month 2026-05"
    assert alerts.remedy("usage_backfill", "settle", "2026-05-01").command == "python -m etl run --month 2026-05"


# ------------------------------------------------------------------------------------------------ the bytes


@pytest.fixture
def own(tmp_path, provider, postbox, monkeypatch) -> Path:
    """A workplace that goes live on the last days of a month; the wiring reads its settings once, so it is imported anew."""
    from workplace import environment, workplace

    file = workplace(tmp_path / "backfilled", provider, start="2026-10-29")
    for name, value in environment(file, provider, postbox[1]).items():
        if name.startswith(("AIRFLOW_CONN", "TOLLBOOK")):
            monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(REPOSITORY / "dags"))
    sys.modules.pop("tollbook_wiring", None)
    from airflow.utils.db import initdb

    initdb()
    yield file
    sys.modules.pop("tollbook_wiring", None)


def files(jobs: Jobs) -> dict[str, list[str]]:
    return {p.path: [f.sha256 for f in v.files] for dataset in DATASETS for p, v in jobs.lake.heads(dataset).items()}


def test_a_month_at_once_has_the_bytes_of_its_nights(own, provider, tmp_path):
    from airflow.dag_processing.dagbag import DagBag
    from workplace import workplace

    dag = DagBag().dags["usage_backfill"]
    for one in dag.tasks:
        one.retries = 0
    run = dag.test(run_conf={"day": "2026-10-01"}, logical_date=None)
    assert run.state == "success"
    states = {(ti.task_id, ti.map_index): ti.state for ti in run.get_task_instances()}
    assert len(states) == 3 + 6 and set(states.values()) == {"success"}, states

    by_night = Jobs.open(workplace(tmp_path / "nightly", provider, start="2026-10-29"))
    for day in (date(2026, 10, 29), date(2026, 10, 30), date(2026, 10, 31)):
        [window] = nights.plan(day, 1, load())
        for verb in ("pull", "normalise", "rate"):
            nights.each(by_night, verb, window, "twilio")
        nights.reconcile(by_night, window, "twilio")
        nights.moved(by_night, [window])
        nights.each(by_night, "roll_up", window)
        nights.state(by_night, [window])
    found, expected = files(Jobs.open(own)), files(by_night)
    assert found == expected
    assert {p.split("/")[0] for p in found} >= {"raw", "events", "charges", "daily", "ledger", "reconciled"}
    page = own.parent / "published" / "_operator" / "runs" / "2026-10-01"
    assert [f.suffix for f in sorted(page.iterdir())] == [".html", ".json"]
