"""T1–T8: clocks and calendars. Whatever the machine's time zone, whenever a run begins: every record is in one UTC day."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import time_machine
from faultynights import (
    DAY,
    REPOSITORY,
    Place,
    account,
    message,
    provider_running,
    stamp,
)

from etl import nights
from etl.jobs import NotReady
from etl.lake import Partition
from etl.periods import Month

SPRING, AUTUMN = date(2026, 3, 8), date(2026, 11, 1)
"""New York's 8 March has no 02:30, its 1 November has 01:30 twice."""


@pytest.fixture(scope="module")
def listening():
    with provider_running() as provider:
        yield provider


@pytest.fixture
def provider(listening):
    listening.reset()
    for key in list(listening.rows):
        listening.rows[key] = []
    listening.accounts = [account(date_created="Wed, 01 Jan 2020 00:00:00 +0000")]
    return listening


def texts(*moments: str) -> list[dict]:
    """One message at each moment, as the provider writes it."""
    return [message(n, date_sent=moment, date_updated=None) for n, moment in enumerate(moments, 1)]


def hours(day: date) -> list[str]:
    """Every other hour of a UTC day, all about the switch, and its last second; some of them told in New York's time."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    half_hours = {*range(0, 48, 4), *range(9, 16)}
    moments = [start + timedelta(minutes=30 * n) for n in sorted(half_hours)] + [start + timedelta(seconds=86_399)]
    new_york = [(m - timedelta(hours=5)).strftime("%a, %d %b %Y %H:%M:%S -0500") for m in moments[::5]]
    return [m.strftime("%a, %d %b %Y %H:%M:%S +0000") for m in moments] + new_york


def accepted(place: Place, *days: date) -> dict[date, int]:
    return {day: place.events(day).filter(pl.col("outcome") == "accepted").height for day in days}


# ------------------------------------------------------------------------------------------------ time zones


def test_the_machine_s_time_zone_changes_no_byte(provider, tmp_path):
    """T1: a process in New York against this one, on both days of the switch."""
    days = [SPRING, AUTUMN]
    provider.put("messages", texts(*(moment for day in days for moment in hours(day))))
    script = (
        "import json, sys, time; from datetime import date; from pathlib import Path\n"
        f"sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(REPOSITORY)!r}]\n"
        "from faultynights import Place\n"
        "place = Place(Path(sys.argv[1]), sys.argv[2], start=date(2026, 3, 1))\n"
        "place.night(*map(date.fromisoformat, sys.argv[3:]))\n"
        "print(json.dumps([place.heads(), time.tzname[0]]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "new york"), provider.url, *map(str, days)],
        env={**os.environ, "TZ": "America/New_York"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    heads, zone = json.loads(done.stdout.splitlines()[-1])
    here = Place(tmp_path / "here", provider.url, start=date(2026, 3, 1))
    here.night(*days)
    assert zone == "EST" and len(heads) > 4 * len(days) and heads == here.heads()


# ------------------------------------------------------------------------------------------------ calendars


EDGES = {
    "T2 leap day": date(2028, 2, 29),
    "T2 no leap day": date(2027, 2, 28),
    "T3 month end": date(2026, 4, 30),
    "T3 year end": date(2026, 12, 31),
}


@pytest.mark.parametrize("name", EDGES)
def test_the_last_moment_of_a_month_is_in_it_and_the_next_is_not(name, provider, tmp_path):
    day = EDGES[name]
    after = day + timedelta(days=1)
    iso = [f"{day}T23:59:59.999999Z", f"{after}T00:00:00.000000Z", f"{day}T00:00:00Z"]
    provider.put("messages", texts(*iso))
    place = Place(tmp_path / "place", provider.url, start=day.replace(day=1))
    place.now = datetime(after.year, after.month, 20, tzinfo=UTC)
    jobs = place.night(day, after)
    # The provider answers both days with all three, as its dates do not tell one from the other here.
    assert accepted(place, day, after) == {day: 2, after: 1}
    for month, quantity in ((Month.of(day), 2), (Month.of(after), 1)):
        lines = jobs.lake.read(jobs.lake.head(Partition.of("statement", month=str(month))))
        mine = lines.filter((pl.col("account_id") == "acme") & (pl.col("line") == "text"))
        assert mine["quantity"].sum() == quantity
    assert Month.of(day).end == after and Month.of(after).first == after


def test_a_year_of_months_has_every_day_once():
    """T2, T3: also the 29th of February."""
    days = [day for n in range(1, 13) for day in Month(2028, n).days]
    assert len(days) == len(set(days)) == 366 and date(2028, 2, 29) in days
    assert [
        n for n in range(1, 13) if Month(2028, n).end != Month(2028, n).first + timedelta(days=len(Month(2028, n).days))
    ] == []


# ------------------------------------------------------------------------------------------------ the clock


def test_a_run_a_moment_too_early_does_nothing(provider, tmp_path):
    """T4: at 23:59:59.9 the day is not over; at 00:00:00 it is."""
    provider.put("messages", [message(1)])
    place = Place(tmp_path / "place", provider.url)
    place.now = datetime(2026, 11, 20, 23, 59, 59, 900_000, tzinfo=UTC)
    with pytest.raises(
        NotReady, match="2026-11-20 .UTC. is not over: the earliest time to load it is 2026-11-21 00:00 UTC"
    ):
        place.night()
    assert provider.requests == [] and place.files() == {}
    place.now = datetime(2026, 11, 21, tzinfo=UTC)
    place.night()
    assert accepted(place, DAY) == {DAY: 1}


def test_a_day_over_elsewhere_is_not_over_in_utc(provider, tmp_path):
    """T4: Sydney's clock says the next day already, New York's says the day before."""
    from zoneinfo import ZoneInfo

    provider.put("messages", [message(1)])
    place = Place(tmp_path / "place", provider.url)
    place.now = datetime(2026, 11, 21, 9, tzinfo=ZoneInfo("Australia/Sydney"))
    with pytest.raises(NotReady):
        place.night()
    place.now = datetime(2026, 11, 20, 19, 30, tzinfo=ZoneInfo("America/New_York"))
    place.night()
    assert accepted(place, DAY) == {DAY: 1}


@pytest.mark.parametrize(("moment", "over"), [("2026-11-21T01:59:59.9Z", False), ("2026-11-21T02:00:00Z", True)])
def test_the_night_waits_for_late_logs_to_the_moment(moment, over):
    """T4: two hours after midnight UTC."""
    with time_machine.travel(moment, tick=False):
        assert nights.settled(DAY, 2) is over


@pytest.mark.parametrize("day", [date(2026, 3, 2), date(2028, 2, 29), date(2026, 12, 31), date(2027, 1, 2)])
def test_a_night_reads_the_days_before_it_and_no_other(day, tmp_path, provider):
    """T3: over the end of a month and of a year."""
    settings = Place(tmp_path / "place", provider.url, start=date(2026, 1, 1)).jobs().settings
    planned = [d for window in nights.plan(day, 7, settings) for d in nights.window_days(window)]
    assert planned == sorted(set(planned)) and planned[-1] == day
    assert set(planned) >= {d for n in range(7) if (d := day - timedelta(days=n)) >= settings.start}
    if (day + timedelta(days=1)).day in settings.reread_month_on:
        before = Month.of(day + timedelta(days=1)) - 1
        assert set(planned) >= {d for d in before.days if d >= settings.start} and len(planned) > 7
    else:
        assert len(planned) == min(7, (day - settings.start).days + 1)


def test_a_clock_that_jumps_back_undoes_nothing(provider, tmp_path):
    """T5: what is committed later is newer, whatever the clock says; before the end of the day nothing is done."""
    provider.put("messages", [message(1)])
    place = Place(tmp_path / "place", provider.url)
    place.night()
    provider.put("messages", [message(1), message(2)])
    place.now -= timedelta(days=2)
    jobs = place.night()
    head = jobs.lake.head(Partition.of("events", date=DAY, source="twilio"))
    assert (head.seq, accepted(place, DAY)) == (2, {DAY: 2})
    before = place.files()
    place.now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    with pytest.raises(NotReady):
        place.night()
    assert place.files() == before
    place.now = datetime(2026, 11, 23, 6, tzinfo=UTC)
    place.night()
    assert place.files() == before, "and forward again: nothing is new"
    assert not [r for r in jobs.audit([DAY]) if r.verdict == "broken" and r.invariant in ("log whole", "view is head")]


def test_waiting_between_tries_does_not_look_at_the_clock(provider, tmp_path, monkeypatch):
    """T5: a clock that jumps while a request is tried again neither hangs it nor hurries it."""
    import httpx
    from faultynights import on

    from etl.sources import _http

    monkeypatch.setattr(_http, "FIRST_DELAY", 0.01)
    provider.put("messages", [message(1)])
    with time_machine.travel("2026-11-23T06:00:00Z") as clock:

        def jump(request):
            clock.shift(timedelta(days=-400))
            return httpx.Response(503, headers={"Retry-After": "0"})

        provider.faults = [on("/Messages.json", jump, times=2)]
        place = Place(tmp_path / "place", provider.url)
        place.night()
    assert accepted(place, DAY) == {DAY: 1}


def test_a_clock_a_day_ahead_is_healed_by_the_next_night(provider, tmp_path):
    """T6: a day loaded before it was over lacks its evening; the look-back brings it, and the result is that of a clock that
    was right. No month closes on such a day."""
    morning, evening = message(1, date_sent=stamp("08:00:00")), message(2, date_sent=stamp("22:00:00"))
    ahead, right = (Place(tmp_path / name, provider.url) for name in ("ahead", "right"))
    ahead.now = datetime(2026, 11, 21, 9, tzinfo=UTC)  # it is the 20th, 09:00
    provider.put("messages", [morning])
    ahead.night()
    assert accepted(ahead, DAY) == {DAY: 1}
    provider.put("messages", [morning, evening])
    ahead.now = right.now = datetime(2026, 11, 22, 6, tzinfo=UTC)
    window = [d for w in nights.plan(DAY + timedelta(days=1), 7, ahead.jobs().settings) for d in nights.window_days(w)]
    assert DAY in window
    ahead.night()
    right.night()
    assert ahead.heads() == right.heads() and accepted(right, DAY) == {DAY: 2}


def test_a_month_does_not_close_a_day_too_early(provider, tmp_path):
    """T6: a clock a day ahead still is a week short of what a month waits for."""
    place = Place(tmp_path / "place", provider.url, start=date(2026, 10, 31))
    provider.put("messages", [message(1, date_sent=stamp(day=date(2026, 10, 31)))])
    place.night(date(2026, 10, 31))
    place.now = datetime(2026, 11, 2, 1, tzinfo=UTC)  # it is the 1st
    held = [reason for result in place.jobs().close(Month(2026, 10)) for reason in result.held]
    assert any("2026-11-08" in reason or "8 November" in reason or "days after" in reason for reason in held), held


def test_offsets_decide_the_utc_day(provider, tmp_path):
    """T7, T8: a far offset moves a moment into another UTC day; without one a moment is of no day."""
    provider.put("messages", [
        message(1, date_sent="Sat, 21 Nov 2026 13:44:59 +1345"), message(2, date_sent="Sat, 21 Nov 2026 13:45:00 +1345"),
        message(3, date_sent="2026-11-20T23:59:60Z"), message(4, date_sent="2026-11-20T23:59:59-00:00"),
        message(5, date_sent="2026-11-20T10:00:00"), message(6, date_sent="Fri, 20 Nov 2026 10:00:00"),
        message(7, date_sent="2026-11-20"), message(8, date_sent="Thu, 19 Nov 2026 12:00:00 -1200"),
    ])  # fmt: skip
    provider.by_day = False
    place = Place(tmp_path / "place", provider.url)
    place.night()
    ends = {
        int(sid[2:], 16): (outcome, reason)
        for sid, outcome, reason in place.events()["record_id", "outcome", "reason"].rows()
    }
    assert ends == {
        1: ("accepted", None), 2: ("excluded", "other_day"), 3: ("accepted", None), 4: ("accepted", None),
        5: ("quarantined", "bad_date"), 6: ("quarantined", "bad_date"), 7: ("quarantined", "bad_date"), 8: ("accepted", None),
    }  # fmt: skip
    place.conserved()
