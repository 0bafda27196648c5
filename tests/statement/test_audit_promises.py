"""The nightly audit: silent on what is whole, and every broken promise named with its partition and its remedy."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from statement_made import SEPTEMBER, event_frame, on

from etl.audit import audit
from etl.audit.days import adds_up, charged, conserved, look, rolled
from etl.lake import Partition

DAY = date(2026, 9, 20)


def head(jobs, dataset: str, **keys) -> pl.DataFrame:
    frame = jobs.lake.read(jobs.lake.head(Partition.of(dataset, date=DAY, **keys)))
    return frame.drop("date", *keys)


@pytest.fixture
def day(jobs):
    """(events, charges, daily) of a day with an outbound and an inbound text."""
    return head(jobs, "events", source="twilio"), head(jobs, "charges", source="twilio"), head(jobs, "daily")


def test_a_sound_month_has_no_finding(jobs):
    assert audit(jobs.lake, SEPTEMBER.days, ["twilio"]) == []


def test_what_is_not_loaded_or_not_rolled_up_is_a_finding(jobs):
    missing = date(2026, 10, 1)
    assert audit(jobs.lake, [missing], ["twilio"]) == [
        "complete: date=2026-10-01/source=twilio is not loaded: run python -m etl run --date 2026-10-01",
        "complete: date=2026-10-01 is not rolled up: run python -m etl run --date 2026-10-01",
    ]
    assert audit(jobs.lake, [DAY], ["twilio", "exports"]) == [
        "complete: date=2026-09-20/source=exports is not loaded: run python -m etl run --date 2026-09-20"
    ]


def test_an_event_without_charge_and_a_charge_without_event_are_findings(day):
    events, charges, _ = day
    assert list(conserved(look(events, charges, DAY), "here")) == []
    (lost,) = conserved(look(events, charges.head(1), DAY), "here")
    assert str(lost).startswith(
        "nothing lost: here has 1 accepted record(s) without a charge and 0 charge(s) without a record"
    )
    (unfounded,) = conserved(look(events.head(1), charges, DAY), "here")
    assert "0 accepted record(s) without a charge and 1 charge(s)" in str(unfounded)


def test_the_same_id_on_a_message_and_a_call_is_two_records(day):
    events, charges, _ = day
    (found,) = conserved(look(events, charges.with_columns(kind=pl.lit("call")), DAY), "here")
    assert "2 accepted record(s) without a charge and 2 charge(s) without a record" in str(found)


def test_a_record_that_is_not_billed_needs_a_reason(day):
    _, charges, _ = day
    quiet = [e | {"outcome": "excluded"} for e in on(DAY)]
    (found,) = conserved(look(event_frame(quiet), charges.clear(), DAY), "here")
    assert str(found).startswith("nothing lost: here has 2 record(s) that are not billed and say no reason")
    given = [e | {"reason": "status: queued"} for e in quiet]
    assert list(conserved(look(event_frame(given), charges.clear(), DAY), "here")) == []


@pytest.mark.parametrize("column", ["messages", "segments", "credits", "billed_seconds"])
def test_a_roll_up_that_counts_otherwise_is_a_finding(day, column):
    _, charges, daily = day
    assert list(adds_up(charged(charges), rolled(daily), "here")) == []
    (found,) = adds_up(charged(charges), rolled(daily.with_columns(pl.col(column) + 1)), "here")
    assert column in str(found)


def test_a_roll_up_that_is_a_nano_off_is_a_finding(day):
    _, charges, daily = day
    nano = pl.lit(Decimal("0.000000001"), pl.Decimal(18, 9))
    first = pl.int_range(pl.len()) == 0
    off = daily.with_columns(charge=pl.when(first).then(pl.col("charge") + nano).otherwise("charge"))
    (found,) = adds_up(charged(charges), rolled(off), "here")
    assert "lines add up" in str(found)
