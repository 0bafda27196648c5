"""Campaigns: their rows come to the lines they are charged on, and no caller id is shown."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from decimal import Decimal

import polars as pl
import pytest
import statements_made as made
from hypothesis import given, settings
from hypothesis import strategies as st
from test_report_pages import render, text_of

from reports import campaigns, words
from reports.charges import Change
from reports.checks import DoesNotAddUp
from reports.formats import Formats
from reports.model import build

D = Decimal
DAY, BEFORE = date(2026, 10, 12), date(2026, 9, 14)
LEASING = ("inbox", "leasing")


def calls(who, caller, day: date, count: int, seconds: int, detected: int, price: str = "0.00036666") -> list[dict]:
    called = made.call(day, who, LEASING, "outbound", count, seconds, "campaign_call") | {"charge": D(price) * seconds}
    found = made.row(day, who, LEASING, "voice_detection", detected, "call", "0.01", direction="outbound", type="voice")
    return [row | {"campaign_id": caller} for row in (called, found)]


def test_a_row_for_each_campaign_of_either_month():
    rows = lambda w: [*calls(w, "+13125550177", DAY, 12, 600, 5, "0.0005"), *calls(w, "+13125550178", BEFORE, 9, 540, 4, "0.0005"),  # noqa: E731
                      *calls(w, "+13125550177", BEFORE, 1, 60, 1, "0.0005")]  # fmt: skip
    names = [("+13125550177", "Autumn viewings"), ("+13125550178", "Renewals")]
    page = build(made.statement(rows, campaigns=names, held_monthly=lambda *_: []))
    one, two = page.campaigns
    assert (one.name, one.calls, one.minutes, one.detected) == ("Autumn viewings", 12, 10, 5)
    assert (one.charge, one.amount, one.change) == (D("0.35"), D("0.35"), Change(D("0.35"), D("0.04")))
    assert (two.name, two.calls, two.amount, two.change) == ("Renewals", 0, 0, Change(D(0), D("0.31")))


def test_the_sum_is_what_the_lines_say(each):
    page = build(each)
    lines = [row for row in page.charges if row.key.line in campaigns.CAMPAIGN_LINES]
    assert bool(page.campaigns) == bool(lines)
    if not lines:
        return
    whole = words.campaign_total(page)
    assert whole.amount == sum(row.amount for row in lines) == page.campaign_charges.now
    assert sum((r.amount for r in page.campaigns), D(0)) + page.campaign_rounding == whole.amount
    assert whole.minutes == sum(row.quantity for row in lines if row.key.line == "campaign_call")
    assert whole.detected == sum(row.quantity for row in lines if row.key.line == "voice_detection")


ROWS = st.lists(
    st.tuples(st.integers(0, 30), st.booleans(), st.integers(1, 99), st.integers(0, 9_999), st.integers(0, 99)),
    max_size=60,
)


@settings(max_examples=30, deadline=None)
@given(ROWS)
def test_any_campaigns_add_up(rows):
    who = made.account()
    daily = [r for caller, now, *counts in rows
             for r in calls(who, f"+1312555{100 + caller:04}", DAY if now else BEFORE, *counts)]  # fmt: skip
    page = build(made.statement(daily, campaigns=[], held_monthly=lambda *_: []))
    now = [row for row in rows if row[1]]
    assert sum(c.calls for c in page.campaigns) == sum(row[2] for row in now)
    assert sum(c.seconds for c in page.campaigns) == sum(row[3] for row in now)
    assert sum(c.detected for c in page.campaigns) == sum(row[4] for row in now)
    assert len(page.campaigns) <= campaigns.SHOWN and sum(c.count for c in page.campaigns) == len(
        {row[0] for row in rows}
    )
    cent = D("0.01")
    assert abs(page.campaign_rounding) <= cent * (sum(c.count for c in page.campaigns) + 2) / 2
    shown = [c.charge for c in page.campaigns if not c.name.startswith("Other")]
    assert shown == sorted(shown, reverse=True)


def test_what_campaigns_have_and_their_lines_lack_is_refused(statements):
    good = statements["campaigns"]
    more = made.frame([made.call(DAY, good.account, LEASING, "outbound", 3, 0, "campaign_call")])
    build(replace(good, daily=pl.concat([good.daily, more])))
    paid = more.with_columns(charge=pl.lit(D("0.5")).cast(more.schema["charge"]))
    with pytest.raises(DoesNotAddUp):
        build(replace(good, daily=pl.concat([good.daily, paid])))


def test_no_caller_id_is_shown(statements):
    page = build(statements["campaigns"])
    html = render(page)
    assert [row.name for row in page.campaigns][-1] == "•••• 0179"
    assert "555017" not in re.sub(r"\D", "", text_of(html)) and "campaign_id" not in repr(page.campaigns)
    called = build(made.statement(made.campaign_rows, campaigns=[(made.CAMPAIGN, "+1 (312) 555-0177 sales")]))
    assert [row.name for row in called.campaigns if "sales" in row.name] == ["•••• 0177 sales"]


def test_the_section_is_there_where_there_are_campaigns(pages_by_name):
    said = text_of(render(pages_by_name["campaigns"]))
    assert "Autumn viewings 264 calls, 264 min, 132 with voice detection 264 264 132 $7.13 no change" in said
    assert "•••• 0179 66 calls, 66 min, 22 with voice detection 66 66 22 $1.67 ▲ up, new" in said
    assert (
        "Campaign calls and AI voice detection 484 calls, 484 min, 220 with voice detection 484 484 220 $12.85 ▲ up 14.9%"
        in said
    )
    assert 'href="#campaigns"' in render(pages_by_name["usual"])
    assert "campaign" not in text_of(render(pages_by_name["no_usage"])).lower()


def test_the_lead_says_whose_most_is(pages_by_name):
    f = Formats("en_US", "USD")
    assert words.campaigns_lead(pages_by_name["campaigns"], f).startswith(
        "Autumn viewings is 55.5% of what 3 campaigns cost. "
    )
    assert words.campaigns_lead(pages_by_name["usual"], f).startswith("A call belongs to the campaign")


def test_calls_of_no_campaign_are_shown_not_dropped():
    rows = lambda w: [made.call(DAY, w, LEASING, "outbound", 2, 120, "campaign_call")]  # noqa: E731
    (row,) = build(made.statement(rows, held_monthly=lambda *_: [])).campaigns
    assert (row.name, row.calls, row.count) == ("No campaign", 2, 0)


def test_many_campaigns_are_twenty_rows():
    who = made.account()
    daily = [r for i in range(30) for r in calls(who, f"+1312555{i:04}", DAY, 1, 60 * (i + 1), 0)]
    page = build(made.statement(daily, campaigns=[], held_monthly=lambda *_: []))
    assert len(page.campaigns) == campaigns.SHOWN
    assert (page.campaigns[-1].name, page.campaigns[-1].count, page.campaigns[-1].calls) == (
        "Other campaigns (11)",
        11,
        11,
    )
