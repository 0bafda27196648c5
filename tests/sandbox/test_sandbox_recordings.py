"""Recordings that are deleted: who still sees them, for how long, and what storage costs until then."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime

import pytest
from sandboxhelp import BASE, CLOCK

from sandbox.company import CLINIC, CUSTOMERS, HARBOR, LANTERN
from sandbox.decks import DECK_SIZE
from sandbox.prices import minutes
from sandbox.records import SOFT_DELETED_SECONDS, Records
from sandbox.traffic import CALL, SECONDS_PER_DAY, Clock, World, midnight
from sandbox.usage import Ledger

FIRST = date(2026, 3, 1)


def made(world, account, first, last, clock=CLOCK):
    return list(world.recordings(account, midnight(first), midnight(last) + SECONDS_PER_DAY - 1, clock))


def moment(text):
    return int(parsedate_to_datetime(text).timestamp())


def test_about_one_in_twenty_five_is_deleted_days_later(world):
    records, kept_days, stored = Records(world), [], 0
    for account in CUSTOMERS:
        for at in made(world, account, FIRST, date(2026, 10, 31)):
            record, gone = records.recording(at, CLOCK), records.deleted_at(at)
            stored += record["price"] is not None
            if gone is not None:
                assert record["price"], "what was never stored is not deleted"
                kept_days.append((gone - midnight(date.fromordinal(at.day))) // SECONDS_PER_DAY)
    assert 0.03 < len(kept_days) / stored < 0.05
    assert min(kept_days) >= 3 and max(kept_days) <= 20 and len(set(kept_days)) > 10


def deleted_one(world):
    """A recording of the clinic, deleted some time in October, and the moment of its deletion."""
    records = Records(world)
    for at in made(world, CLINIC, date(2026, 10, 1), date(2026, 10, 10)):
        if records.deleted_at(at):
            return at, records.deleted_at(at)
    raise AssertionError("none was deleted")


def test_what_clients_see_of_a_deleted_recording(box, world):
    at, gone = deleted_one(world)
    path, day = f"{BASE}/{CLINIC.sid}/Recordings", date.fromordinal(at.day)
    sid = Records(world).recording(at, CLOCK)["sid"]

    def seen(second, **query):
        text = datetime.fromtimestamp(second, UTC).isoformat()
        assert box.http.post("/_sandbox/clock", json={"now": text}).status_code == 200
        window = {"DateCreated>": str(day), "DateCreated<": str(day + timedelta(1)), "PageSize": 2}
        listed = [r for r in box.rows(f"{path}.json", "recordings", **window, **query) if r["sid"] == sid]
        answer = box.http.get(f"{path}/{sid}.json", params=query)
        assert [answer.json()] == listed if listed else answer.json()["code"] == 20404
        return listed[0] if listed else None

    night = seen(midnight(day) + SECONDS_PER_DAY + 7_200)
    assert night["status"] == "completed" and moment(night["date_updated"]) < gone
    assert seen(gone - 1) == seen(gone - 1, IncludeSoftDeleted="true") == night
    assert seen(gone) is None and seen(gone, IncludeSoftDeleted="false") is None
    after = seen(gone, IncludeSoftDeleted="true")
    assert moment(after["date_updated"]) == gone
    assert after == {**night, "status": "deleted", "date_updated": after["date_updated"]}
    assert Decimal(after["price"]) < 0 and int(after["duration"]) > 0, "the metadata is kept"
    assert seen(gone + SOFT_DELETED_SECONDS - 1, IncludeSoftDeleted="true") == after
    assert seen(gone + SOFT_DELETED_SECONDS, IncludeSoftDeleted="true") is None


def test_a_page_token_outlives_the_deletion_of_its_row(box, world):
    at, gone = deleted_one(world)
    day = date.fromordinal(at.day)
    box.http.post("/_sandbox/clock", json={"now": datetime.fromtimestamp(gone - 1, UTC).isoformat()})
    path, sid = f"{BASE}/{CLINIC.sid}/Recordings.json", Records(world).recording(at, CLOCK)["sid"]
    behind = box.rows(path, "recordings", **{"DateCreated>": str(day), "PageToken": "PA" + sid})
    box.http.post("/_sandbox/clock", json={"now": datetime.fromtimestamp(gone, UTC).isoformat()})
    assert box.rows(path, "recordings", **{"DateCreated>": str(day), "PageToken": "PA" + sid}) == behind


def test_rows_of_a_day_for_a_fault_are_those_the_api_lists(box, world):
    at, gone = deleted_one(world)
    day = date.fromordinal(at.day)
    (rule,) = box.fault(kind="vanish", account="acct_clinic", day=str(day), resource="recordings", count=1000)
    window = {"DateCreated": str(day), "IncludeSoftDeleted": "true"}
    assert len(rule["sids"]) > 5 and box.rows(f"{BASE}/{CLINIC.sid}/Recordings.json", "recordings", **window) == []


def stored_by_walking(world, account, day, now):
    """(recordings, started minutes) stored at the end of a day or now, record by record."""
    at_end = Clock(min(midnight(day) + SECONDS_PER_DAY - 1, now.now))
    records, kept = Records(world), []
    for at in made(world, account, FIRST, day, now):
        record = records.recording(at, at_end)
        if record["status"] == "completed":
            kept.append(minutes(int(record["duration"])))
    return len(kept), sum(kept)


def test_storage_is_what_was_made_and_not_deleted(world):
    ledger = Ledger(world)
    for account in (HARBOR, LANTERN):
        for day in (FIRST, date(2026, 3, 20), date(2026, 11, 6), CLOCK.day):
            expected = stored_by_walking(world, account, day, CLOCK)
            assert ledger.stored(account, day, CLOCK) == expected, day
            usage = ledger.usage(account, day, CLOCK)["recordingstorage"]
            assert usage == (*expected, expected[1] * 20)


@pytest.mark.parametrize("second", [0, 50_000, 60_000, 70_000, 80_000, 86_399])
def test_storage_of_a_running_day_falls_with_each_deletion(world, second):
    at, gone = deleted_one(world)
    day = date(1970, 1, 1) + timedelta(gone // SECONDS_PER_DAY)
    now = Clock(midnight(day) + second)
    assert Ledger(world).stored(CLINIC, day, now) == stored_by_walking(world, CLINIC, day, now)
    assert Ledger(world).stored(CLINIC, day - timedelta(1), now)[0] > 0


def test_storage_where_a_day_goes_through_the_deck_several_times():
    world = World(7, 100, 20_000)
    assert world.plan(CALL, HARBOR, date(2026, 3, 6)).count > 2 * DECK_SIZE
    for day in (date(2026, 3, 6), date(2026, 3, 12)):
        now = Clock(midnight(day) + 61_234)
        assert Ledger(world).stored(HARBOR, day, now) == stored_by_walking(world, HARBOR, day, now)
        settled = Ledger(world).stored(HARBOR, day, CLOCK)
        assert settled == stored_by_walking(world, HARBOR, day, CLOCK)
