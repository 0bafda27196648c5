"""A quarter of sixteen accounts (tests/statement/golden_world.py) whose closed months keep changing: taxes, tiers, recordings
carried on, a credits ledger with recharges and overage. Whatever changes, the audit's equation holds and pages add up."""

from __future__ import annotations

import random
import shutil
from datetime import date

import polars as pl
import pytest
from golden_world import ACCOUNTS, EVENTS, FEBRUARY, JANUARY, MARCH, at, build, number, opened, sms
from statement_made import load_day

from etl import audit
from etl.closing import cross_foot
from etl.lake import Partition
from etl.manifests import closings
from etl.schemas import DATASETS

APRIL = MARCH + 1
DAYS = {}
for _i, _event in enumerate(EVENTS):
    DAYS.setdefault(_event["occurred_at"].date(), []).append(_event | {"record_id": f"r{_i:02d}"})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The quarter with every day of it; January closed, February and March open."""
    settings = build(tmp_path_factory.mktemp("chain"), every_day=True)
    held = {c.account_id: c.held for c in opened(settings).close(JANUARY) if c.held}
    assert not held
    return settings


@pytest.fixture
def quarter(whole, tmp_path):
    shutil.copytree(whole.parent, tmp_path / "place")
    return tmp_path / "place" / whole.name


def shaken(day: date, chance: random.Random) -> list[dict]:
    """The day as a provider might give it later: records gone, changed, and new."""
    found = []
    for one in DAYS.get(day, []):
        what = chance.random()
        if what < 0.2:
            continue
        if what < 0.5 and one["kind"] == "message" and one["type"] == "sms":
            one = one | {"segments": chance.randint(1, 60)}
        elif what < 0.5 and one.get("answered_seconds"):
            one = one | {"answered_seconds": chance.randint(0, 4000), "ended_at": None}
        found.append(one)
    for n in range(chance.randint(0, 2)):
        account = chance.choice([a for a in ACCOUNTS if a not in ("silent", "campaign", "yen")])
        found.append(
            sms(account, at(day.month, day.day, f"1{n}:00:00"), chance.randint(1, 80))
            | {"record_id": f"late-{day}-{n}"}
        )
    return found


def equal(jobs, *days: date) -> None:
    """The audit finds nothing wrong with the months, closed or open, and every page adds up."""
    for result in jobs.audit(days):
        month_wide = result.invariant in (
            "closed and corrected",
            "credits balance",
            "lines add up",
            "closed stays closed",
        )
        assert not (month_wide and result.verdict == audit.BROKEN), str(result)
    for month in (JANUARY, FEBRUARY, MARCH):
        head = jobs.lake.head(Partition.of("statement", month=str(month)))
        lines = jobs.lake.read(head, DATASETS["statement"].columns)
        assert [s for _, mine in lines.group_by("account_id") for s in cross_foot(mine)] == []


@pytest.mark.parametrize("seed", range(3))
def test_whatever_changes_in_closed_months_is_booked_once(quarter, seed):
    chance = random.Random(seed)
    jobs = opened(quarter)
    first = {a: jobs.statements.load(a, JANUARY).lines for a in ACCOUNTS}
    picked = chance.sample([d for d in DAYS if d.month == 1], 2) + [date(2028, 1, 25)]
    for day in picked:
        load_day(jobs, day, shaken(day, chance))
    jobs.restate([JANUARY])
    equal(jobs, date(2028, 1, 31), date(2028, 2, 29), date(2028, 3, 31))
    closed = {c.account_id: c.held for c in jobs.close(FEBRUARY)}
    assert len(closings(jobs.lake, FEBRUARY)) >= len(ACCOUNTS) - 1, closed
    # Now both closed months change: January again, back to what it was, and February for the first time.
    for day in picked:
        load_day(jobs, day, DAYS.get(day, []))
    for day in chance.sample([d for d in DAYS if d.month == 2], 4):
        load_day(jobs, day, shaken(day, chance))
    jobs.restate([JANUARY])
    equal(jobs, date(2028, 1, 31), date(2028, 2, 29), date(2028, 3, 31))
    assert all(first[a].equals(jobs.statements.load(a, JANUARY).lines) for a in ACCOUNTS)
    booked = jobs.lake.heads("corrections", month=str(MARCH))
    assert all(v.rows for v in booked.values())


def test_late_texts_for_a_closed_credit_period_move_its_credits(quarter):
    """January left 70 of a31's 100, granted on the 31st: 12 late texts of 31 January leave 58 to open February with."""
    jobs = opened(quarter)
    day = date(2028, 1, 31)
    load_day(jobs, day, [*DAYS[day], sms("a31", at(1, 31, "11:00:00"), 12) | {"record_id": "late"}])
    jobs.restate([JANUARY])
    rows = jobs.statements.load("a31", FEBRUARY).ledger.head(2)
    assert rows.select("entry", "lot", "credits", "balance_allotment", "for_month").rows() == [
        ("open", "allotment", 70, 70, None),
        ("correction", "allotment", -12, 58, "2028-01"),
    ]
    equal(jobs, date(2028, 2, 29))


def test_an_account_that_left_has_no_month_to_be_corrected_in(quarter):
    jobs = opened(quarter)
    day = date(2028, 1, 31)
    for month in (FEBRUARY, MARCH):
        jobs.close(month)
    load_day(jobs, day, [*DAYS[day], sms("release", at(1, 31, "11:00:00"), 12) | {"record_id": "late"}])
    jobs.restate([JANUARY])
    (finding,) = [r for r in jobs.audit([day]) if r.invariant == "closed and corrected" and r.verdict != "ok"]
    assert "account=release" in finding.where
    assert "reopen --month 2028-01 --account release" in finding.remedy


def test_numbers_name_no_account_of_theirs():
    assert pl.Series([number(a) for a in ACCOUNTS]).n_unique() == len(ACCOUNTS)
