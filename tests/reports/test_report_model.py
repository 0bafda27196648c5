"""Figures: they add up, unknown is not zero, and a statement that does not cross-foot is refused."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from datetime import date
from decimal import Decimal

import polars as pl
import pytest
import statements_made as made
from hypothesis import given
from hypothesis import strategies as st

from etl.periods import Month
from reports import model, words
from reports.formats import Formats
from reports.model import Change, DoesNotAddUp, Usage, build


def test_every_account_adds_up(each):
    page = build(each)
    parts = [p for row in page.charges for p in (row.parts or (row,))]
    assert sum((p.amount for p in parts), Decimal(0)) == page.total.now == each.total
    people = page.members.total.usage + page.inboxes.total.usage
    people += page.unassigned.usage if page.unassigned else Usage()
    assert people == page.usage == sum((d.usage for d in page.days if d.usage), Usage())
    assert [d.day for d in page.days] == each.month.days


def test_a_total_that_is_off_by_a_cent_is_refused(statements):
    good = statements["usual"]
    lines = good.lines.with_columns(
        amount=pl.when(pl.col("section") == "total")
        .then(pl.col("amount") + Decimal("0.01"))
        .otherwise(pl.col("amount"))
    )
    with pytest.raises(DoesNotAddUp, match="the total is 429.87"):
        build(replace(good, lines=lines))


def test_a_day_that_the_statement_does_not_know_is_refused(statements):
    good = statements["usual"]
    who = good.account
    more = made.frame([made.text(date(2026, 10, 30), who, ("member", "amara"), "outbound", 1, 1)])
    with pytest.raises(DoesNotAddUp, match="exact charge lines add up to"):
        build(replace(good, daily=pl.concat([good.daily, more])))


def test_a_history_that_counts_other_messages_is_refused(statements):
    good = statements["usual"]
    last = replace(good.history[-1], messages_sent=good.history[-1].messages_sent + 1)
    with pytest.raises(DoesNotAddUp, match="the history says"):
        build(replace(good, history=(*good.history[:-1], last)))


def test_another_currency_is_refused(statements):
    good = statements["usual"]
    with pytest.raises(DoesNotAddUp, match="EUR, not USD"):
        build(replace(good, lines=good.lines.with_columns(currency=pl.lit("EUR"))))


def test_days_not_loaded_are_unknown_not_zero(statements):
    page = build(statements["open"])
    by_day = {row.day.day: row for row in page.days}
    assert by_day[7].usage is None and not by_day[7].complete
    assert by_day[18].usage is None and by_day[31].usage is None
    assert by_day[4].usage.messages > 0 and by_day[4].complete
    assert build(statements["stopped"]).days[5].usage == Usage(), "a loaded day without usage is zero"


def test_at_most_forty_people_and_the_rest_in_one_row(statements):
    page = build(statements["crowd"])
    assert len(page.members.rows) == 41
    rest = page.members.rows[-1]
    assert rest.name == "Other members (160)" and rest.people == 160
    assert len({owner.owner_id for _, owner in page.owner_days if owner.kind == "member"}) == 200


def test_seconds_become_exact_minutes():
    assert model.minutes(66) == Decimal("1.1")
    assert model.minutes(60 * 5864) == 5864
    f = Formats("en_US", "USD")
    assert f.amount_of(model.minutes(66), "minute") == "1.1\u00a0min"
    assert f.amount_of(model.minutes(61), "minute") == "1.02\u00a0min"


def test_a_line_of_last_month_only_stays_visible(statements):
    page = build(statements["stopped"])
    assert page.total.now == 0
    assert {row.label for row in page.charges} >= {"Calls", "Texts", "Phone numbers"}
    assert all(row.amount == 0 and row.change.before > 0 for row in page.charges)


def test_names_that_are_phone_numbers_are_masked(statements):
    names = {owner.name for owner in build(statements["hostile"]).members.rows}
    assert "•••• 0142" in names and not any("312" in name for name in names)


def test_the_types_have_no_place_for_bodies_or_numbers():
    seen, todo = set(), [model.Page]
    while todo:
        kind = todo.pop()
        for field in fields(kind):
            seen.add(field.name)
            todo += [
                t for t in vars(model).values() if is_dataclass(t) and t.__name__ in str(field.type) and t is not kind
            ]
        if len(seen) > 500:
            break
    assert not seen & {"body", "from_number", "to_number", "number_e164", "campaign_id", "provider_cost", "recipient"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("usual", "You were charged $429.86 for October, $17.66 (4.3%) more than September. SMS sent cost $24.07 more, "
                  "everything else together $6.41 less."),
        ("first_month", "You were charged $429.86 for October, the first month of this account."),
        ("no_usage", "No usage and no charges in October."),
        ("stopped", "No usage and no charges in October. September came to $437.54."),
        ("open", "October is estimated at $261.38 so far through Oct\u00a017. All of September came to $412.20."),
        ("german", "You were charged 429,86\u00a0€ for October, 17,66\u00a0€ (4,3\u00a0%) more than September."),
    ],
)  # fmt: skip
def test_headlines(name, said, pages_by_name):
    page = pages_by_name[name]
    assert words.plain(words.headline(page, Formats(page.locale, page.currency))).startswith(said)


def test_a_negative_total_is_a_credit(pages_by_name):
    page = pages_by_name["negative"]
    text = words.plain(words.headline(page, Formats("en_US", "USD")))
    assert text.startswith("October ends with a credit of $470.14 in your favor, $882.34 less than September.")


def test_a_provisional_month_says_so(pages_by_name):
    page = pages_by_name["provisional"]
    text = words.plain(words.headline(page, Formats("en_US", "USD")))
    assert text.startswith("You will be charged $429.86") and "may still change" in text


def test_notes_of_an_open_month(pages_by_name):
    page = pages_by_name["open"]
    said = dict(words.notes(page, Formats("en_US", "USD")))
    assert "Oct\u00a07" in said["Incomplete"] and "python" not in " ".join(said.values())
    assert said["No price"].startswith("5 records have no price yet")
    assert set(said) == {"Incomplete", "No price", "Counts", "Pending"}


def test_changes():
    assert Change(Decimal(0), None).kind == "none"
    assert Change(Decimal(0), Decimal(0)).kind == "none"
    assert Change(Decimal(5), Decimal(0)).kind == "new"
    assert Change(Decimal("100.04"), Decimal(100)).kind == "same"
    assert Change(Decimal("100.06"), Decimal(100)).percent == Decimal("0.1")
    assert Change(Decimal(-5), Decimal(10)).percent is None


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=9))
def test_money_is_rounded_half_up_and_keeps_its_sign(amount):
    from etl.money import round_half_up

    text = Formats("en_US", "USD").money(amount)
    back = Decimal(text.replace("\u2212", "-").replace("$", "").replace(",", ""))
    assert back == round_half_up(amount, "USD")


def test_a_month_without_usage_between_two_is_compared_with_zero(statements):
    good = statements["usual"]
    gap = tuple(h for h in good.history if h.month != Month(2026, 9))
    daily = good.daily.filter(pl.col("date").dt.month() != 9)
    page = build(replace(good, history=gap, daily=daily, previous_lines=good.previous_lines.clear()))
    assert page.total.before == 0 and page.figures[1].change.kind == "new"
