"""Days that were found well are not read again, and nothing is found less often for it."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from closinghelp import DAY, miscount, rewrite
from statement_made import SEPTEMBER, open_jobs

from etl.audit import BROKEN, OK, examine
from etl.audit.run import _Audit
from etl.lake import Partition

WRITE, READ = {"notes": "write"}, {"notes": "read"}


def verdicts(jobs, **options) -> list[tuple[str, str, str]]:
    return sorted((r.invariant, r.where, r.verdict) for r in jobs.audit(SEPTEMBER.days, **options))


def broken(jobs, **options) -> set[str]:
    return {r.invariant for r in jobs.audit(SEPTEMBER.days, **options) if r.verdict == BROKEN}


def notes(jobs) -> list[str]:
    return jobs.lake.list_pins("audited/")


@pytest.fixture
def days_read(monkeypatch) -> list[date]:
    """The days whose rows an audit reads from here on."""
    found: list[date] = []
    as_it_is = _Audit.day

    def day(self, day):
        found.append(day)
        as_it_is(self, day)

    monkeypatch.setattr(_Audit, "day", day)
    return found


def test_what_is_noted_says_what_reading_says(jobs, settings_file, days_read):
    everything = verdicts(jobs)
    assert notes(jobs) == [] and len(days_read) == 30
    assert verdicts(jobs, **READ) == everything and notes(jobs) == []
    assert verdicts(jobs, **WRITE) == everything and len(notes(jobs)) == 31
    days_read.clear()
    for options in (READ, WRITE):
        assert verdicts(open_jobs(settings_file), **options) == everything
    assert days_read == [] and len(notes(jobs)) == 31
    deep = examine(jobs.lake, SEPTEMBER.days, ["twilio"], jobs.directory, deep=True, **WRITE)
    assert {r.verdict for r in deep} == {OK} and len(days_read) == 30


def test_a_day_that_changed_is_read_again_and_the_others_are_not(jobs, days_read):
    jobs.audit(SEPTEMBER.days, **WRITE)
    days_read.clear()
    miscount(jobs)
    assert broken(jobs, **WRITE) == {"segments recounted"} and days_read == [DAY]
    # What is not well is not noted: it is looked for every time.
    assert broken(jobs, **WRITE) == {"segments recounted"} and days_read == [DAY, DAY]


def test_a_record_on_two_days_is_found_though_one_of_them_is_noted(jobs):
    jobs.audit(SEPTEMBER.days, **WRITE)
    twin = pl.when(pl.col("record_id") == "b4")

    def again(rows):
        return rows.with_columns(
            record_id=twin.then(pl.lit("a4")).otherwise("record_id"), kind=twin.then(pl.lit("message")).otherwise("kind")
        )

    rewrite(jobs, "charges", again, date=date(2026, 9, 3), source="twilio")
    found = [r for r in jobs.audit(SEPTEMBER.days, **READ) if r.invariant == "one outcome each" and r.verdict != OK]
    assert [r.where for r in found] == ["2026-09-01 to 2026-09-30"]


def test_what_lies_in_the_store_is_looked_at_every_time(jobs, settings_file):
    jobs.audit(SEPTEMBER.days, **WRITE)
    at, store = {"date": DAY, "source": "twilio"}, settings_file.parent / "lake"
    raw, charges = (Partition.of(d, **at) for d in ("raw", "charges"))
    (pack,) = (store / "_hist" / raw.path).glob("*.gz")
    kept = pack.read_bytes()
    pack.unlink()
    assert broken(open_jobs(settings_file), **READ) == {"raw kept"}
    pack.write_bytes(kept)
    view = store / charges.path / "part.parquet"
    as_it_was = view.read_bytes()
    view.write_bytes(b"something else")
    assert broken(open_jobs(settings_file), **READ) == {"view is head"}
    view.write_bytes(as_it_was)
    (store / "_hist" / charges.path / f"{jobs.lake.head(charges).sha256}.parquet").unlink()
    assert "log whole" in broken(open_jobs(settings_file), **READ)


def test_another_directory_is_another_question(jobs, settings_file, days_read):
    jobs.audit(SEPTEMBER.days, **WRITE)
    days_read.clear()
    numbers = settings_file.parent / "directory" / "numbers.csv"
    numbers.write_text(numbers.read_text() + "+12025550190,acme,member,mia,,true,local,,\n")
    open_jobs(settings_file).audit(SEPTEMBER.days, **READ)
    assert len(days_read) == 30


def test_another_code_is_another_question(jobs, days_read):
    jobs.audit(SEPTEMBER.days, **WRITE)
    days_read.clear()
    jobs.lake.code = "another"
    jobs.audit(SEPTEMBER.days, **READ)
    assert len(days_read) == 30


def test_closing_after_the_night_reads_no_day_again(jobs, days_read):
    jobs.audit([*SEPTEMBER.days, date(2026, 10, 1)], **WRITE)
    days_read.clear()
    closed = [c for c in jobs.close(SEPTEMBER) if c.closed]
    assert closed and days_read == []
