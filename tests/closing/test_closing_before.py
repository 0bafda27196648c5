"""What enters the open month from closed ones is judged with it: bounds, totals, prices."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from closinghelp import DAY, held, late, tell_the_rest, told
from statement_made import IN_LONDON, MIA, SEPTEMBER, at, load_day, on, open_jobs, text

from etl import acceptance
from etl.closing import holds
from etl.manifests import closings
from etl.schemas import DATASETS

OCTOBER, NOVEMBER = SEPTEMBER + 1, date(2026, 11, 12)


def october(settings, run_id: str = "november"):
    """The verbs of a run in November; every day of October is loaded."""
    jobs = open_jobs(settings, run_id, NOVEMBER)
    for day in OCTOBER.days[1:]:
        if jobs.lake.head(jobs._partition("daily", OCTOBER).of("daily", date=day)) is None:
            load_day(jobs, day, [])
    jobs.restate([SEPTEMBER])
    return jobs


def held_now(jobs) -> dict[str, tuple[str, ...]]:
    return {c.account_id: c.held for c in jobs.close(OCTOBER, ["acme", "bolt"])}


@pytest.fixture
def closed(jobs, settings_file):
    held(jobs)
    return settings_file


def test_a_month_closes_with_the_corrections_of_what_was_usual(closed):
    late(closed)
    assert held_now(october(closed)) == {"acme": (), "bolt": ()}


def test_a_late_burst_in_a_closed_month_holds_the_month_that_corrects_it_until_it_is_accepted(closed):
    late(closed, segments=1_000_000)
    jobs = october(closed)
    found = held_now(jobs)
    assert found["bolt"] == (), "what is not its own holds it not"
    (hold,) = found["acme"]
    assert hold.startswith("within bounds: date=2026-09-20/account=acme is charged 140")
    name = acceptance.name(SEPTEMBER, "acme", hold.sentence)
    assert f"python -m etl accept --month 2026-09 --account acme {name} " in hold
    assert jobs.operations(OCTOBER).accounts.filter(pl.col("account_id") == "acme")["held"].to_list() == [[hold]]
    assert jobs.accept(SEPTEMBER, "acme", name, "ordered by phone")["month"] == "2026-09"
    assert held_now(jobs)["acme"] == ()
    assert closings(jobs.lake, OCTOBER)["acme"]["accepted"] == [name]


def test_it_may_be_accepted_by_the_name_of_the_month_it_holds_too(closed):
    late(closed, segments=1_000_000)
    jobs = october(closed)
    name = acceptance.name(SEPTEMBER, "acme", held_now(jobs)["acme"][0].sentence)
    assert jobs.accept(OCTOBER, "acme", name, "ordered by phone")["month"] == "2026-09"
    assert held_now(jobs)["acme"] == ()


def test_a_record_doubled_into_a_closed_month_holds_whom_it_is_billed_to(closed):
    twice = text("o1", at(20, "14:00:00"), MIA)
    load_day(open_jobs(closed, "late", date(2026, 10, 20)), DAY, [*on(DAY), twice])
    found = held_now(october(closed))
    assert found["bolt"] == ()
    assert "charge o1 more than once (2026-09-20 twilio, 2026-10-01 twilio)" in found["acme"][0]


def test_totals_unlike_the_provider_s_hold_the_month_that_corrects_them(jobs, settings_file):
    cost = {"provider_cost": Decimal("0.0079"), "provider_currency": "USD"}
    load_day(jobs, DAY, [e | cost for e in on(DAY)])
    tell_the_rest(jobs)
    told(jobs, DAY, ("sms-outbound", 1, "2", "segments", "0.0079"), ("sms-inbound", 1, "2", "segments", "0.0079"),
         ("sms", 2, "4", "segments", "0.0158"))  # fmt: skip
    jobs.state(SEPTEMBER)
    assert held(jobs)["acme"] == ()
    moved = open_jobs(settings_file, "late", date(2026, 10, 20))
    load_day(moved, DAY, [e | cost for e in [*on(DAY), text("late", at(20, "13:00:00"), MIA)]])
    found = held_now(october(settings_file))
    assert found["bolt"] == ()
    assert any("2026-09-20 of twilio is not compared with the provider's own totals" in why for why in found["acme"])
    moved.compare(DAY, "twilio")
    again = october(settings_file)
    (hold,) = held_now(again)["acme"]
    assert hold.startswith("the provider counts otherwise on 2026-09-20 for AC1 (twilio): sms")
    name = acceptance.name(SEPTEMBER, "acme", hold.sentence)
    again.accept(SEPTEMBER, "acme", name, "it came late there, too")
    assert held_now(again)["acme"] == ()


def test_a_late_record_without_a_price_names_the_month_whose_prices_it_lacks(closed):
    jobs = open_jobs(closed, "late", date(2026, 10, 20))
    load_day(jobs, DAY, [*on(DAY), text("late", at(20, "13:00:00"), MIA, to_number=IN_LONDON)])
    (why,) = [w for w in held_now(october(closed))["acme"] if "without a price" in w]
    assert why == (
        "1 charge(s) of 2026-09 without a price: add the price to the rate card, then python -m etl rate --month 2026-09"
    )


def test_prices_are_asked_for_month_by_month():
    line = {"account_id": "a", "unrated": 2}
    sections = [("usage", None), ("correction", "2026-09"), ("correction", "2026-08"), ("tax", "2026-07")]
    made = [line | {"section": section, "for_month": month} for section, month in sections]
    lines = pl.DataFrame(made, schema=DATASETS["statement"].types)
    said = holds("a", OCTOBER, lines, [], NOVEMBER, NOVEMBER)
    assert [why.split(":")[0] for why in said[:3]] == [
        "2 charge(s) without a price", "2 charge(s) of 2026-08 without a price", "2 charge(s) of 2026-09 without a price"
    ]  # fmt: skip
    assert [why[-7:] for why in said[:3]] == ["2026-10", "2026-08", "2026-09"]


def test_a_late_burst_keeps_no_mail_of_a_closed_month_back(closed):
    late(closed, segments=1_000_000)
    jobs = open_jobs(closed, "later", date(2026, 10, 21))
    assert jobs.withheld(SEPTEMBER, mail=True) == {}
