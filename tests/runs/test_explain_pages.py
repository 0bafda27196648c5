"""From a printed amount to the bytes the provider sent."""

from __future__ import annotations

import json
import re
from datetime import date

import pytest

from etl.explain import Key, stated
from etl.lake import Partition
from etl.periods import Month

DAY, OCTOBER = date(2026, 10, 6), Month(2026, 10)


@pytest.fixture
def loaded(jobs):
    jobs.run_day(DAY)
    jobs.state(OCTOBER)
    return jobs


def test_records_lead_to_the_pages_they_were_read_from(loaded):
    found = loaded.explain("acct_harbor", OCTOBER, Key("text", "outbound", "sms"), records=3)
    assert found.sound
    raw = loaded.lake.head(Partition.of("raw", date=DAY, source="twilio"))
    pages = {page.sha256: page for page in loaded._pages(raw, loaded.lake.read(raw))}
    assert {p["resource"] for p in found.pages} == {"messages"}
    for record in found.records:
        assert record["record_id"].encode() in pages[record["raw_sha256"]].body
    assert sum(p["records"] for p in found.pages) == found.line["events"]
    read = {p["partition"].split("/")[0] for p in found.partitions}
    assert read == {"statement", "daily", "charges", "events", "raw"}


def test_nothing_of_a_text_or_a_number_is_told(loaded):
    _, lines = stated(loaded.lake, loaded.directory, "acct_harbor", OCTOBER)
    assert lines.height > 5
    for position in lines["position"]:
        found = loaded.explain("acct_harbor", OCTOBER, Key(str(position)), records=50)
        assert found.sound
        told = json.dumps(found.document())
        assert not re.search(r"\+1?[0-9]{9,}|555-?01", told)
        assert '"body"' not in told
