"""Killed at every change that expiring makes in the store, then run again: as if it had never been killed."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import pytest
from privacyhelp import CANARY, DAY, STRANGER, Doomed, Killed, everything, holding, made_day
from statement_made import open_jobs, write_place

from etl.jobs import Jobs
from etl.lake import Lake, Partition

LATER = {"bodies": date(2027, 10, 1), "numbers": date(2028, 10, 1)}
VOLATILE = ("run_id", "recorded_at", "parent", "code")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    settings = write_place(tmp_path_factory.mktemp("made"))
    made_day(open_jobs(settings))
    return settings


def said(jobs: Jobs) -> dict[str, str]:
    """Every object; log entries without what differs between runs."""
    return {
        key: json.dumps({k: v for k, v in json.loads(text).items() if k not in VOLATILE}) if key.startswith("_log/") else text
        for key, text in everything(jobs.lake.store).items()
    }  # fmt: skip


def work(jobs: Jobs, what: str) -> None:
    if what == "forgotten":
        jobs.forget(number=STRANGER)
        return
    for day, source in jobs.expirable():
        jobs.expire(day, source)


def copy(made: Path, folder: Path, what: str, run_id: str) -> Jobs:
    """The place in ``folder``, made if it is not there; of one whose numbers go, the texts have gone before."""
    if not folder.exists():
        shutil.copytree(made.parent, folder)
        if what == "numbers":
            work(open_jobs(folder / made.name, "bodies", LATER["bodies"]), what)
    return open_jobs(folder / made.name, run_id, LATER.get(what, date(2026, 10, 9)))


@pytest.mark.parametrize("what", ["bodies", "numbers", "forgotten"])
def test_killed_at_every_change(made, tmp_path, what):
    clean = copy(made, tmp_path / "clean", what, "clean")
    assert bool(holding(clean.lake.store, {CANARY})) == (what != "numbers") and holding(clean.lake.store, {STRANGER})
    work(clean, what)
    wanted = said(clean)
    assert holding(clean.lake.store, {CANARY}) == {}
    assert (holding(clean.lake.store, {STRANGER}) == {}) == (what != "bodies")
    at = 0
    while True:
        # Dying after one change is dying before the next.
        at += 1
        jobs = copy(made, tmp_path / str(at), what, "doomed")
        jobs.lake.store = Doomed(jobs.lake.store, at)
        try:
            work(jobs, what)
        except Killed:
            pass
        else:
            assert at > 5
            return
        # What is there meanwhile can be read, and rated, and is sound.
        again = copy(made, tmp_path / str(at), what, "again")
        assert [f for f in again.lake.audit() if f.level == "error"] == []
        assert not again.rate(DAY, "twilio").changed
        work(again, what)
        assert said(again) == wanted, f"killed before change {at}"
        assert [f for f in again.lake.audit() if f.level != "note"] == []


def test_a_rival_that_names_a_file_just_erased_keeps_it(made, tmp_path):
    """Somebody fetches the day again while the old versions go, and commits just what one of them held."""
    jobs = copy(made, tmp_path / "place", "bodies", "expire")
    at = Partition.of("events", date=DAY, source="twilio")
    old = jobs.lake.head(at)
    held = jobs.lake.read(old).drop("date", "source")
    real, rival = jobs.lake.store.delete, Lake(jobs.lake.store, run_id="rival", config=jobs.lake.config)
    raced = []

    def delete(key: str) -> None:
        if old.files[0].sha256 in key and not raced:
            raced.append(rival.commit(at, held, base=rival.head(at), reason="normalise"))
        real(key)

    jobs.lake.store.delete = delete
    jobs.expire(DAY, "twilio")
    head = jobs.lake.head(at)
    assert raced == [head]
    assert jobs.lake.read(head).drop("date", "source").equals(held)
    assert [f for f in jobs.lake.audit() if f.level == "error"] == []
    jobs = copy(made, tmp_path / "place", "bodies", "next night")
    work(jobs, "bodies")
    assert holding(jobs.lake.store, {CANARY}) == {}
