"""Figures: they add up, unknown is not zero, and a statement that does not cross-foot is refused."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from datetime import date
from decimal import Decimal
from functools import cache

import polars as pl
import pytest
import statements_made as made
from hypothesis import given, settings
from hypothesis import strategies as st
from test_report_mail import message, parts
from test_report_pages import render, text_of

from etl.money import minor_digits
from etl.periods import Month
from etl.schemas import DATASETS, HELD_LINES, LINES, PRODUCT_LINES
from etl.statement import lines as stated_lines
from reports import files, model, words
from reports.charges import Change, minutes
from reports.checks import DoesNotAddUp
from reports.formats import Formats
from reports.model import Usage, build
from reports.naming import LINE_NAMES, masked, presentable


def test_every_account_adds_up(each):
    page = build(each)
    parts = [p for row in page.charges for p in (row.parts or (row,))]
    taxes = [p for row in page.taxes for p in row.parts]
    charged, taxed = (sum((p.amount for p in rows), Decimal(0)) for rows in (parts, taxes))
    assert (charged, taxed) == (page.charged.now, page.taxed.now)
    corrections = sum((line.amount for month in page.corrections.months for line in month.rows), Decimal(0))
    assert charged + taxed + (page.rounding or 0) + corrections == page.total.now == each.total
    owners = [page.members.total, page.inboxes.total, *([page.unassigned] if page.unassigned else [])]
    shown = sum((o.amount for o in owners), Decimal(0)) + sum((r.amount for r in page.account_charges), Decimal(0))
    assert shown + page.people_rounding == charged
    exact = sum((o.usage.charge + o.by_month for o in owners), Decimal(0))
    exact += sum((r.exact for r in page.account_charges), Decimal(0))
    assert exact == sum((p.exact for p in parts), Decimal(0))
    by_month = sum((r.amount for r in page.by_month), Decimal(0))
    assert sum((d.amount for d in page.days), Decimal(0)) + by_month + page.days_rounding == charged
    cent = Decimal(1).scaleb(-minor_digits(page.currency))
    people = len(page.members.rows) + len(page.inboxes.rows) + sum(r.people - 1 for r in page.members.rows) + 1
    assert abs(page.days_rounding) <= cent * (len(page.days) + len(parts)) / 2
    assert abs(page.people_rounding) <= cent * (people + len(parts)) / 2
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
    with pytest.raises(DoesNotAddUp, match="exact charge lines of text add up to"):
        build(replace(good, daily=pl.concat([good.daily, more])))


def test_a_history_that_counts_other_messages_is_refused(statements):
    good = statements["usual"]
    last = replace(good.history[-1], messages_sent=good.history[-1].messages_sent + 1)
    with pytest.raises(DoesNotAddUp, match="the history says"):
        build(replace(good, history=(*good.history[:-1], last)))


def _with_amount(good, index: int, cents: int):
    lines = good.lines.with_row_index("_row").with_columns(
        pl.when(pl.col("_row") == index)
        .then(pl.col("amount") + Decimal(cents) / 100)
        .otherwise(pl.col("amount"))
        .alias("amount")
    )
    return replace(good, lines=lines.drop("_row").cast({"amount": pl.Decimal(18, 9)}))


@cache
def _rich():
    return made.rich()


@settings(max_examples=60, deadline=None)
@given(index=st.integers(0, 200), cents=st.integers(-5000, 5000).filter(bool))
def test_no_line_of_any_section_can_be_off_by_a_cent(index, cents):
    good = _rich()
    with pytest.raises(DoesNotAddUp):
        build(_with_amount(good, index % good.lines.height, cents))


@settings(max_examples=60, deadline=None)
@given(index=st.integers(0, 200), nanos=st.integers(-(10**9), 10**9).filter(bool))
def test_what_is_charged_by_the_month_must_be_what_the_lines_say(index, nanos):
    good = _rich()
    index %= good.monthly.height
    charges = [c + (Decimal(nanos).scaleb(-9) if i == index else 0) for i, c in enumerate(good.monthly["charge"])]
    monthly = good.monthly.with_columns(charge=pl.Series(charges, dtype=pl.Decimal(18, 9)))
    with pytest.raises(DoesNotAddUp, match="exact charge lines of"):
        build(replace(good, monthly=monthly))


def test_what_is_held_costs_nothing_on_its_days(statements):
    good = statements["usual"]
    paid = pl.when(pl.col("line") == "number").then(Decimal("1.15")).otherwise(pl.col("charge"))
    with pytest.raises(DoesNotAddUp, match="on its days what is held costs"):
        build(replace(good, daily=good.daily.with_columns(charge=paid.cast(pl.Decimal(18, 9)))))


def test_what_is_held_is_no_usage_of_its_days(statements):
    good = statements["rich"]
    page = build(good)
    without = good.daily.filter(~pl.col("line").is_in(HELD_LINES))
    assert without.height < good.daily.height
    assert build(replace(good, daily=without)) == page


def test_one_line_is_not_charged_by_the_day_and_by_the_month(statements):
    good = statements["rich"]
    line = (
        pl.when(pl.col("line") == "adjustment").then(pl.lit("failed_message")).otherwise(pl.col("line")).alias("line")
    )
    with pytest.raises(DoesNotAddUp, match="failed_message charged by the day and by the month"):
        build(replace(good, lines=good.lines.with_columns(line), monthly=good.monthly.with_columns(line)))


def test_a_section_no_sum_knows_is_refused(statements):
    good = statements["usual"]
    section = pl.when(pl.col("line") == "call").then(pl.lit("gift")).otherwise(pl.col("section"))
    with pytest.raises(DoesNotAddUp, match="unknown sections gift"):
        build(replace(good, lines=good.lines.with_columns(section=section)))


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
    assert page.details.owners.filter(owner_kind="member")["owner_id"].n_unique() == 200


def test_seconds_become_exact_minutes():
    assert minutes(66) == Decimal("1.1")
    assert minutes(60 * 5864) == 5864
    f = Formats("en_US", "USD")
    assert f.amount_of(minutes(66), "minute") == "1.1\u00a0min"
    assert f.amount_of(minutes(61), "minute") == "1.02\u00a0min"


def test_a_line_of_last_month_only_stays_visible(statements):
    page = build(statements["stopped"])
    assert page.total.now == 0
    assert {row.label for row in page.charges} >= {"Calls", "Texts", "Phone numbers"}
    assert all(row.amount == 0 and row.change.before > 0 for row in page.charges)


# ------------------------------------------------------------------------------------------------ every charge


def test_every_line_has_its_row_and_its_name(pages_by_name):
    page = pages_by_name["rich"]
    assert [row.key.line for row in page.charges] == [line for line in LINES if line not in PRODUCT_LINES]
    assert set(LINE_NAMES) == set(LINES) and all(row.label == LINE_NAMES[row.key.line] for row in page.charges)


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("number", [("Local", "14\u00a0numbers", "1.1500"), ("Toll-free", "2\u00a0numbers", "2.1500"), ("Short code", "1\u00a0number", "83.3333")]),
        ("call", [("Outbound", "2,360\u00a0min", "0.0240"), ("Inbound", "810\u00a0min", "0.0160")]),
        ("video", [("Outbound", "660\u00a0min", "0.0030"), ("Inbound", "131\u00a0min", "0.0015")]),
        ("campaign_call", [("Campaign calls", "6,820\u00a0min", "0.0220")]),
        ("recording_storage", [("Recording storage", "46,047\u00a0stored\u00a0min", "0.0010")]),
        ("voice_detection", [("AI voice detection", "660\u00a0answered\u00a0calls", "0.0100")]),
        ("failed_message", [("Failed messages", "131\u00a0messages", "0.0010")]),
        ("credit_overage", [("Credit overage", "532\u00a0credits", "0.0200")]),
        ("carrier_fee", [
            ("SMS sent, registered", "9,746\u00a0segments", "0.0030"), ("SMS sent, unregistered", "324\u00a0segments", "0.0100"),
            ("SMS received", "198\u00a0segments", "0.0025"), ("MMS sent, registered", "36\u00a0messages", "0.0100"),
            ("MMS sent, unregistered", "88\u00a0messages", "0.0150"),
        ]),
    ],
)  # fmt: skip
def test_quantities_and_average_prices(pages_by_name, line, parts):
    f = Formats("en_US", "USD")
    (row,) = (r for r in pages_by_name["rich"].charges if r.key.line == line)
    shown = [
        (p.label, f.amount_of(p.quantity, p.unit), f.price(p.price).removeprefix("$") if p.price is not None else None)
        for p in (row.parts or (row,))
    ]
    assert shown == parts


def test_volume_pricing_and_refunds_may_be_negative_and_have_no_price(pages_by_name):
    rows = {row.key.line: row for row in pages_by_name["rich"].charges}
    assert rows["tier_adjustment"].amount < 0 and rows["adjustment"].amount == Decimal("-54.5")
    parts = [p for line in ("tier_adjustment", "adjustment") for p in rows[line].parts]
    assert all(p.price is None and p.quantity is None for p in parts)
    assert [p.label for p in rows["tier_adjustment"].parts] == ["Calls, campaign calls", "Texts"]
    assert [p.label for p in rows["adjustment"].parts] == [
        "Number port fee",
        "Refund for the outage of October 6 and 7, as promised to Lena on •••• 0142 (ticket 88121)",
    ]
    assert all(p.change.kind == "none" for p in rows["adjustment"].parts), "last month's reasons are no comparison"
    assert rows["adjustment"].change == Change(Decimal("-54.5"), Decimal(-5))


def test_carrier_fees_by_carrier(pages_by_name):
    rows = pages_by_name["rich"].carriers
    assert [row.label for row in rows] == [
        "AT&T", "Regional Cellular of the Greater Pacific Northwest", "T-Mobile US", "Verizon",
    ]  # fmt: skip
    assert [p.label for p in rows[2].parts] == ["SMS sent, registered", "SMS received", "MMS sent, registered"]


def test_taxes_by_level_with_what_they_are_taken_of(pages_by_name):
    page = pages_by_name["rich"]
    assert [(row.label, len(row.parts)) for row in page.taxes] == [
        ("Federal taxes", 2), ("State taxes", 2), ("Local taxes", 1), ("Other taxes and fees", 1),
    ]  # fmt: skip
    fund = page.taxes[0].parts[1]
    assert (fund.label, fund.jurisdiction) == ("Universal Service Fund", "US")
    calls = sum(r.exact for r in page.charges if r.key.line in ("call", "campaign_call"))
    assert fund.base == calls and fund.amount == Decimal("82.58")
    (emergency,) = page.taxes[-1].parts
    assert (emergency.base, emergency.quantity, emergency.unit) == (None, 17, "number")
    html = render(page)
    assert '<td class="wide">on 17\u00a0numbers</td>' in html and '<td class="wide">on $219.64</td>' in html
    assert text_of(html).count("on 17 numbers") == 2, "once more for narrow screens"


def test_one_tax_with_two_rates_in_a_month_is_one_row(statements):
    tax = made.Tax("state", "US-WA", "Sales tax", "6", ("text",), "until-15")
    page = build(made.statement(taxes=[tax, replace(tax, percent="7", rate_id="from-15")]))
    (part,) = page.taxes[0].parts
    assert part.amount == page.taxed.now
    assert part.change.before > 0


def test_what_is_masked_is_compared_with_what_was_masked(pages_by_name):
    page = pages_by_name["hostile"]
    (tax,), (refund,) = page.taxes[0].parts, page.charges[-1].parts
    assert tax.label == refund.label and tax.label.endswith("call •••• 0142") and tax.change.before > 0


def test_products_are_in_no_total(pages_by_name):
    page = pages_by_name["rich"]
    assert [(r.kind, r.amount, r.simulated) for r in page.products.rows] == [
        ("Subscription", 149, False), ("Credit pack", 50, False), ("Credit pack", 50, True),
    ]  # fmt: skip
    assert page.products.total == 249
    assert [r.label for r in page.products.rows[1:]] == ["5000 credits, recharge"] * 2
    bare = build(
        made.rich(held_monthly=lambda w, m: [r for r in made.richly_held(w, m) if r["line"] not in PRODUCT_LINES])
    )
    assert bare.products is None and bare.total == page.total and bare.members == page.members


def test_products_that_do_not_add_up_are_refused(statements):
    good = statements["rich"]
    lines = good.lines.filter(pl.col("section") != "product_total")
    with pytest.raises(DoesNotAddUp, match="products add up to 249"):
        build(replace(good, lines=lines))


@pytest.mark.parametrize("name", ["usual", "rich", "hostile", "yen", "crowd", "no_usage"])
def test_made_statements_have_the_lines_real_ones_have(statements, name):
    """Without taxes, whose rules these statements only imitate."""
    given = statements[name]
    names = [
        "section",
        "line",
        "item",
        "direction",
        "type",
        "carrier",
        "registered",
        "quantity",
        "unit",
        "amount_exact",
        "amount",
    ]
    month = given.daily.filter(pl.col("date").is_between(given.month.first, given.month.days[-1]))
    real = stated_lines(month, given.monthly, [given.account])
    made_ = made.stated(given.account, month, given.monthly.to_dicts())
    untotalled = pl.col("section") != "total"
    one, two = (f.filter(untotalled).select(names).sort(names, nulls_last=True) for f in (real, made_))
    assert one.equals(two)
    assert real.filter(~untotalled)["amount"].to_list() == made_.filter(~untotalled)["amount"].to_list()
    assert given.lines.schema == DATASETS["statement"].empty().schema


# ------------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Refund, call +1 312 555 0142 today", "Refund, call •••• 0142 today"),
        ("(312) 555-0142", "•••• 0142"),
        ("ask 312.555.0142", "ask •••• 0142"),
        ("13125550142", "•••• 0142"),
        ("October 6 and 7, 2026, ticket 88121", "October 6 and 7, 2026, ticket 88121"),
        ("2026-10-06: 5,000 credits for $1,250.00", "2026-10-06: 5,000 credits for $1,250.00"),
        ("invoice 2026-10-0042", "invoice 2026-10-0042"),
        ("inbox_13125550142", "inbox_•••• 0142"),
        ("tel.3125550142", "tel.•••• 0142"),
        ("312 555 0142x", "•••• 0142x"),
        ("+1312·555·0142", "•••• 0142"),
        ("desk (312)555-0142", "desk •••• 0142"),
        ("3125550142a, 3125550143.3125550144", "•••• 0142a, •••• 0143.•••• 0144"),
        ("2026-10-acct_7Q2M of 2026-10-31 at $1234567890.50.", "2026-10-acct_7Q2M of 2026-10-31 at $1234567890.50."),
        ("a unit is 0.3125550142", "a unit is 0.3125550142"),
        ("SM3125550142" + "ab12" * 6, "SM3125550142" + "ab12" * 6),
    ],
)
def test_phone_numbers_in_sentences_are_masked(text, shown):
    assert masked(text) == presentable(text) == shown


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


def test_the_history_says_what_an_odd_day_makes(pages_by_name):
    page, f = pages_by_name["usual"], Formats("en_US", "USD")
    assert words.history_lead(page, f) == (
        "October has the most segments of the six months. The months before averaged 11,171. "
        "With a typical Monday on October\u00a012 it would have been 12,240."
    )
    assert 14_955 - 3_172 + 457 == 12_240
    even = replace(page, peak=replace(page.peak, segments=1_204))
    assert "With a typical" not in words.history_lead(even, f), "747 of 14,955 are less than a twentieth"


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
    said = dict(words.notes(page))
    assert "Oct\u00a07" in said["Incomplete"] and "python" not in " ".join(said.values())
    assert set(said) == {"Incomplete"}, "what else is odd is worth a look"
    assert words.pending(page, Formats("en_US", "USD")) == "less than 0.1% of records have no provider price yet"


def test_every_section_of_a_month_that_is_not_final_says_so(pages_by_name):
    for name, said in (("open", "Estimated"), ("provisional", "Provisional")):
        page = pages_by_name[name]
        unpriced = replace(page, quality=replace(page.quality, unpriced=100, records=1_000))
        html = render(unpriced)
        text = text_of(html)
        headings = re.findall(r'<h2 id="h-(\w+)">(.*?)</h2>', html, flags=re.DOTALL)
        shown = {key for key, heading in headings if f">{said}<" in heading}
        assert shown == {key for key, _ in headings} - {"months", "counted"}, "of six months each says its own"
        assert {"findings", "charges", "days", "people", "campaigns", "reconciliation", "files"} == shown
        assert text.count(f"{said} , 10.0% of records have no provider price yet") == len(shown)
        assert "<span>10.0% of records have no provider price yet</span>" in html.partition('id="findings"')[0]
        captions = re.findall(r"<caption.*?</caption>", html, flags=re.DOTALL)
        assert len(captions) >= 10 and [c for c in captions if said.lower() not in c] == []
    final = render(pages_by_name["usual"])
    assert 'class="tag state"' not in final and "estimated" not in "".join(re.findall(r"<caption.*?</caption>", final))


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


def test_a_month_in_another_currency_is_not_compared_in_money(statements):
    good = statements["usual"]
    before = Month(2026, 9)
    history = tuple(replace(h, currency="USD" if h.month == good.month else "JPY", total=h.total.quantize(1) if h.month
                            != good.month else h.total) for h in good.history)  # fmt: skip
    page = build(replace(good, history=history))
    amounts = [page.total, page.charged, page.taxed, page.campaign_charges]
    amounts += [p.change for row in page.charges for p in (row, *row.parts)] + [row.change for row in page.campaigns]
    assert {change.before for change in amounts} == {None} and page.driver is None
    assert page.figures[0].months == (None,) * 5 + (page.total.now,)
    assert page.figures[1].change == build(good).figures[1].change and page.members == build(good).members
    assert [row.currency for row in page.history] == ["JPY"] * 5 + ["USD"]
    assert {row.currency for row in page.history_days if Month.of(row.day) == before} == {"JPY"}
    assert all(row.amount == round(row.amount) for row in page.history_days if Month.of(row.day) == before)
    said = words.plain(words.headline(page, Formats("en_US", "USD")))
    assert said == "You were charged $429.86 for October. September was in JPY: amounts are not compared."
    months, people = (
        text_of(re.search(f'<section id="{name}".*?</section>', render(page), flags=re.DOTALL)[0])
        for name in ("months", "people")
    )
    assert all("¥412" in part and "$412" not in part for part in parts(message(page).as_bytes()))
    assert "¥412" in months and "$412" not in months and "vs Sep" in people
    rows = {
        file.name: file.data.decode()
        for file in files.make(page)
        if file.name.startswith("history_") and file.name.endswith(".csv")
    }
    assert [line.split(",")[-1] for line in rows["history_monthly.csv"].split()[1:]] == ["JPY"] * 5 + ["USD"]
    days = [line.split(",") for line in rows["history_daily.csv"].split()[1:]]
    assert {(cells[0] >= "2026-10", cells[-2]) for cells in days} == {(False, "JPY"), (True, "USD")}
