"""A month computed night by night, from what was there already, is the month computed at once."""

from __future__ import annotations

import shutil
from datetime import date, timedelta

import polars as pl
import pytest
from golden_world import FEBRUARY, build, opened
from statement_made import load_day

from etl.lake import Partition
from etl.schemas import DATASETS

WRITTEN = ("holdings", "credits", "monthly", "statement")


@pytest.fixture(scope="module")
def quarter(tmp_path_factory):
    return build(tmp_path_factory.mktemp("again"), every_day=True)


def written(jobs) -> dict[str, pl.DataFrame]:
    return {d: jobs.lake.read(jobs.lake.head(Partition.of(d, month=str(FEBRUARY)))) for d in WRITTEN}


def without_month(settings, to):
    """A copy of the lake in which nothing of the months was computed."""
    shutil.copytree(settings.parent, to)
    for dataset in (*WRITTEN, "corrections"):
        for folder in ("", "_log/", "_hist/"):
            shutil.rmtree(to / "lake" / f"{folder}{dataset}")
    return opened(to / settings.name)


def at_once(settings, to) -> dict[str, pl.DataFrame]:
    jobs = without_month(settings, to)
    jobs.state(FEBRUARY)
    return written(jobs)


def events_of(jobs, day: date) -> list[dict]:
    head = jobs.lake.head(Partition.of("events", date=day, source="twilio"))
    return jobs.lake.read(head, DATASETS["events"].columns).to_dicts()


@pytest.mark.parametrize("day", [date(2028, 2, 1), date(2028, 2, 7), date(2028, 2, 20)])
def test_a_day_that_changes_changes_what_computing_all_again_would(quarter, tmp_path, day):
    shutil.copytree(quarter.parent, tmp_path / "place")
    jobs = opened(tmp_path / "place" / quarter.name)
    before = written(jobs)
    some = events_of(jobs, date(2028, 2, 7))[:3]
    moved = [
        e | {"record_id": f"more{i}", "occurred_at": e["occurred_at"] + (day - date(2028, 2, 7))} for i, e in enumerate(some)
    ]
    load_day(jobs, day, [*events_of(jobs, day), *moved])
    jobs.state(FEBRUARY)
    found, expected = written(jobs), at_once(jobs.settings.home / quarter.name, tmp_path / "other")
    assert all(found[d].equals(expected[d]) for d in WRITTEN)
    assert not found["credits"].equals(before["credits"])


def test_a_recording_that_goes_with_its_day_leaves_the_holdings(quarter, tmp_path):
    shutil.copytree(quarter.parent, tmp_path / "place")
    jobs = opened(tmp_path / "place" / quarter.name)
    held = written(jobs)["holdings"].filter(pl.col("recorded_on").is_between(FEBRUARY.first, FEBRUARY.days[-1]))
    day = held["recorded_on"][0]
    load_day(jobs, day, [e for e in events_of(jobs, day) if e["kind"] != "recording"])
    jobs.state(FEBRUARY)
    found, expected = written(jobs), at_once(jobs.settings.home / quarter.name, tmp_path / "other")
    assert found["holdings"].filter(pl.col("recorded_on") == day).is_empty()
    assert all(found[d].equals(expected[d]) for d in WRITTEN)


def test_night_by_night_is_at_once(quarter, tmp_path):
    """Nights in any order, with days that are not rolled up yet and one rolled up before it was rated again."""
    jobs = without_month(quarter, tmp_path / "nights")
    days = {day: events_of(jobs, day) for day in FEBRUARY.days}
    for dataset in ("raw", "events", "charges", "daily"):
        for folder in ("", "_log/", "_hist/"):
            for at in (tmp_path / "nights" / "lake" / f"{folder}{dataset}").glob("date=2028-02-*"):
                shutil.rmtree(at)
    jobs = opened(tmp_path / "nights" / quarter.name)
    order = [d for d in FEBRUARY.days if d.day % 3] + [d for d in FEBRUARY.days if not d.day % 3]
    for n, day in enumerate(order):
        load_day(jobs, day, days[day][1:] if n % 2 else days[day])
        if day.day in (6, 8, 14, 20, 29):
            jobs.state(FEBRUARY)
    for n, day in enumerate(order):
        if n % 2:
            load_day(jobs, day, days[day])
            if day.day in (7, 8, 20):
                jobs.state(FEBRUARY)
    jobs.state(FEBRUARY)
    expected = at_once(quarter, tmp_path / "once")
    assert all(frame.equals(expected[d]) for d, frame in written(jobs).items())
    assert timedelta(days=len(order)) == FEBRUARY.end - FEBRUARY.first
