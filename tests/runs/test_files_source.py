"""The provider's export files, dropped in a folder, give the bill that its API gives."""

from __future__ import annotations

import subprocess
import sys
from datetime import date

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from workplace import REPOSITORY

from etl.jobs import Jobs
from etl.lake import Partition

DAY = date(2026, 10, 6)
VOLUME = ["--messages-per-day", "150", "--calls-per-day", "40"]


def charges(jobs: Jobs, source: str) -> pl.DataFrame:
    head = jobs.lake.head(Partition.of("charges", date=DAY, source=source))
    frame = jobs.lake.read(head).filter(pl.col("kind") == "message")
    return frame.drop("date", "source", "provider_cost", "provider_currency").sort("record_id")


@pytest.mark.parametrize("format_", ["console-csv", "bulkexport"])
def test_same_day_same_bill(jobs, settings, surroundings, format_):
    jobs.run_day(DAY)
    drop = settings.parent / "drop"
    command = [sys.executable, "-m", "sandbox", "export", "--day", str(DAY), "--format", format_, "--out", str(drop)]
    subprocess.run([*command, *VOLUME], check=True, cwd=REPOSITORY, capture_output=True)
    text = settings.read_text()
    table = '[sources.files]\nkind = "files"\ncurrency = "USD"\npattern = "*{date}*"\nstore = { url = "drop" }\n\n[reports.store]'
    start, end = text.index("[sources.twilio]"), text.index("[reports.store]")
    settings.write_text(text[:start] + text[end:].replace("[reports.store]", table, 1))
    api_and_files = Jobs.open(run_id="both")
    api_and_files.pull(DAY, "files")
    api_and_files.normalise(DAY, "files")
    api_and_files.rate(DAY, "files")
    with pytest.raises(ValueError, match="of files, twilio: they would be billed twice"):
        api_and_files.roll_up(DAY)
    settings.write_text(settings.read_text().replace('url = "lake"', 'url = "lake-of-files"'))
    dropped = Jobs.open(run_id="files")
    report = dropped.run_day(DAY)
    assert [h for h in report.held if "quarantine" in h] == []
    expected = charges(jobs, "twilio")
    assert expected.height > 100
    assert_frame_equal(charges(dropped, "files"), expected)
