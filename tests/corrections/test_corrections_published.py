"""What is booked in a lake is what people see: pages, files and revisions of it are published and verified by their files."""

from __future__ import annotations

from datetime import date

from correctionshelp import LATE, OCTOBER, THE_20TH, again
from statement_made import SEPTEMBER, on, open_jobs

from reports.jobs import Reports
from reports.verify.folders import verify


def verified(folder) -> int:
    books = list(verify(folder))
    assert [line for b in books for c in b.checks.values() for line in c.lines() if line.startswith("differs")] == []
    return sum(c.compared for b in books for c in b.checks.values())


def published(jobs, *months) -> None:
    for month in months:
        outcomes = list(Reports(jobs).publish(month))
        assert [o.error for o in outcomes if o.error] == []


def test_corrections_are_published_and_verify(jobs):
    again(jobs, THE_20TH, [*on(THE_20TH)[1:], LATE])
    published(jobs, SEPTEMBER, OCTOBER)
    folder = jobs.settings.home / "published" / "acme"
    page = (folder / "2026-10" / "index.html").read_text()
    assert "What changed since you last read" in page
    rows = (folder / "2026-10" / "corrections.csv").read_text()
    assert "late" in rows
    assert "2026-09-20" in rows
    assert not (folder.parent / "bolt" / "2026-10" / "corrections.csv").exists()
    assert verified(folder.parent) > 1000


def test_a_revision_is_published_beside_the_one_it_replaces(settings_file):
    jobs = open_jobs(settings_file, "run-2", date(2026, 10, 20))
    published(jobs, SEPTEMBER)
    folder = jobs.settings.home / "published" / "acme" / "2026-09"
    first = {p.name: p.read_bytes() for p in (folder / "rev-1").iterdir()}
    again(jobs, THE_20TH, [*on(THE_20TH), LATE])
    assert jobs.reopen(SEPTEMBER, "acme", "asked for one bill").revision == 2
    published(open_jobs(settings_file, "run-3", date(2026, 10, 21)), SEPTEMBER, OCTOBER)
    assert {p.name: p.read_bytes() for p in (folder / "rev-1").iterdir()} == first
    assert "asked for one bill" in (folder / "rev-2" / "index.html").read_text()
    assert "asked for one bill" in (folder / "index.html").read_text()
    assert "What changed" not in (folder.parent / "2026-10" / "index.html").read_text()
    assert verified(folder.parent.parent) > 1000


def test_nothing_is_published_twice(jobs):
    again(jobs, THE_20TH, [*on(THE_20TH), LATE])
    published(jobs, SEPTEMBER, OCTOBER)
    fresh = Reports(open_jobs(jobs.settings.home / "tollbook.toml", "run-9", date(2026, 10, 20)))
    assert sum(o.done for month in (SEPTEMBER, OCTOBER) for o in fresh.publish(month)) == 0
