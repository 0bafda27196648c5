"""Days that are fetched, forgotten or priced again while, or after, retention has been at them."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from privacyhelp import CANARY, DAY, STRANGER, Killed, holding, made_day, rows
from statement_made import open_jobs, write_place

from etl import nights
from etl.jobs import Jobs
from etl.lake import EXPIRED, Partition
from etl.sources import Page
from etl.sources._packs import SUFFIX

LATER = date(2028, 10, 1)
RAW, EVENTS = (Partition.of(dataset, date=DAY, source="twilio") for dataset in ("raw", "events"))


@pytest.fixture
def made(tmp_path):
    settings = write_place(tmp_path / "made")
    made_day(open_jobs(settings))
    return settings


class Source:
    """What the provider still has of the day."""

    def fetch(self, day):
        yield Page("messages", "AC1", 0, f"drop/{day}.json", f'{{"body": "{CANARY}"}}'.encode())


def by_hand(settings) -> Jobs:
    jobs = open_jobs(settings, "by hand", LATER)
    jobs.sources = {"twilio": Source()}
    return jobs


def pages_there(settings) -> bool:
    jobs = open_jobs(settings, "reader", LATER)
    packs = {*rows(jobs, "raw", DAY)["object_sha256"]}
    return packs != {None} and all(jobs.lake.has_blob("raw", sha, SUFFIX, p=RAW) for sha in packs)


def test_a_pack_erased_before_anything_named_it_is_fetched_again(made):
    open_jobs(made, "night", LATER).expire(DAY, "twilio")
    jobs, rival = by_hand(made), open_jobs(made, "rival", LATER)
    real, erased = jobs.lake.store.create, []

    def create(key: str, data: bytes) -> None:
        if key.startswith("_log/raw/") and not erased:
            erased.extend(rival.lake.erase(RAW))
        real(key, data)

    jobs.lake.store.create = create
    assert jobs.pull(DAY, "twilio").seq == rival.lake.head(RAW).seq
    assert any(key.endswith(SUFFIX) for key in erased)
    assert pages_there(made)
    # It expires again like any day fetched by hand.
    nights.expire(open_jobs(made, "next", LATER))
    assert holding(rival.lake.store, {CANARY}) == {}


def test_a_pack_that_a_pull_names_just_before_it_goes_comes_back(made):
    open_jobs(made, "night", LATER).expire(DAY, "twilio")
    leftover = by_hand(made)
    leftover.lake.store.create = lambda key, data: (_ for _ in ()).throw(Killed())
    with pytest.raises(Killed):
        leftover.pull(DAY, "twilio")
    jobs, pulled = open_jobs(made, "expire", LATER), []
    real = jobs.lake.store.delete

    def delete(key: str) -> None:
        if not pulled:
            pulled.append(by_hand(made).pull(DAY, "twilio"))
        real(key)

    jobs.lake.store.delete = delete
    jobs.expire(DAY, "twilio")
    assert pulled and pages_there(made)


def test_a_night_leaves_the_days_alone_that_it_loaded(made):
    """The audit beside it reads their pages."""
    window = f"{DAY - timedelta(days=1)}/{DAY}"
    nights.expire(open_jobs(made, "backfill", LATER), [window])
    assert holding(open_jobs(made).lake.store, {CANARY})
    nights.expire(open_jobs(made, "next", LATER), [f"{DAY + timedelta(days=1)}/{DAY + timedelta(days=1)}"])
    assert holding(open_jobs(made).lake.store, {CANARY}) == {}


def test_to_forget_looks_again_only_at_days_that_it_left_half_done(made, monkeypatch):
    calls: list[tuple[str, str]] = []

    def unfinished() -> tuple[int, int]:
        """(listings, everything else) that looking for half done days asks of the store."""
        jobs = open_jobs(made)
        store = jobs.lake.store
        for name in ("get", "put", "create", "delete", "exists", "digest", "list"):
            real = getattr(store, name)
            monkeypatch.setattr(
                store, name, lambda *a, name=name, real=real, **k: (calls.append((name, a[0])), real(*a, **k))[1]
            )
        calls.clear()
        assert jobs._unfinished() == []
        listings = [key for name, key in calls if name == "list"]
        return len(listings), len(calls) - len(listings)

    assert unfinished() == (1, 0)
    open_jobs(made, "later", LATER).expire(DAY, "twilio")
    assert unfinished() == (1, 0), "what expires is for expire to finish"
    made_day(open_jobs(made), 1)
    open_jobs(made).forget(number=STRANGER)
    assert unfinished() == (3, 0)


def test_who_is_forgotten_is_gone_though_it_was_broken_off_and_the_day_moved_on(made):
    jobs = open_jobs(made, "doomed")

    def delete(key: str) -> None:
        raise Killed

    jobs.lake.store.delete = delete
    with pytest.raises(Killed):
        jobs.forget(number=STRANGER)
    night = open_jobs(made, "night").lake
    for at in (RAW, EVENTS):
        base = night.head(at)
        frame = night.read(base).drop("date", "source")
        night.commit(at, frame.reverse() if frame.height > 1 else frame.clear(), base=base, reason="moved")
    assert night.head(EVENTS).reason != EXPIRED and holding(night.store, {CANARY})
    open_jobs(made, "again").forget(number=STRANGER)
    assert holding(night.store, {CANARY, STRANGER}) == {}


def test_a_longer_prefix_after_the_cut_is_refused(made):
    """+13105550150 is +1310555# now: whether it was one of 13105550 nobody can tell any more."""
    places = made.parent / "directory" / "places.csv"
    places.write_text("prefix_e164,jurisdiction\n1310,US-CA\n13105559,US-NV\n")
    jobs = open_jobs(made)
    jobs.rate(DAY, "twilio")
    open_jobs(made, "night", LATER).expire(DAY, "twilio")

    def again():
        return open_jobs(made, "again", LATER).rate(DAY, "twilio")

    places.write_text(places.read_text() + "1212,US-NY\n")
    assert not again().changed, "the longer one was there before the cut, and was not the number's"
    kept = places.read_text()
    places.write_text(kept + "13105550,US-TX\n")
    with pytest.raises(ValueError, match=r"places.csv has prefix 13105550 \(US-TX\), and .*\(1 such rows\)"):
        again()
    places.write_text(kept)
    assert not again().changed
