"""A month's invoice worked out by hand: three lines wrong in three ways, and every figure that follows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal as D

import pytest
from invoice_made import DAY, OCTOBER, bill, call, events, held, line, text, total

from etl.invoice import compare, dispute, split
from etl.settings import ConfigurationError

SENT = [text(f"SM{n}", segments=2, provider_cost=D("0.0200")) for n in range(5)]
"""Ten segments for 0.10: on average 0.01."""
GOT = [text("SMin", direction="inbound", provider_cost=D("0.0075"))]
CALLS = [call("CA1", 61, "0.028"), call("CA2", 60, "0.014")]
"""Three started minutes for 0.042."""


def by_name(found) -> dict:
    return {(row.role, row.category): row for row in found.rows}


def test_the_example_of_the_documentation():
    """12 segments for 0.15 where we have 10 for 0.10: 2 more at 0.01 are 0.02 of quantity, the other 0.03 is price."""
    found = compare(bill(line(2, "sms-outbound", "0.15", "12"), line(3, "totalprice", "0.15")), OCTOBER, held(SENT))
    row = by_name(found)["part", "sms-outbound"]
    assert (row.variance, row.quantity_part, row.price_part) == (D("0.05"), D("0.02"), D("0.03"))
    assert row.verdict == "unexplained" and row.why == "2 segments more than our records"
    assert (found.invoice, found.ours, found.difference, found.unexplained) == (
        D("0.15"),
        D("0.10"),
        D("0.05"),
        D("0.05"),
    )


@pytest.mark.parametrize(
    ("variance", "quantity", "ours", "amount", "parts"),
    [
        ("0.05", "12", "10", "0.10", ("0.02", "0.03")),
        ("-0.05", "8", "10", "0.10", ("-0.02", "-0.03")),
        ("0.01", "10", "10", "0.10", ("0", "0.01")),
        ("1", "3", "0", "0", ("1", "0")),  # we have none: all of it is quantity
        ("1", "0", "0", "0", ("0", "1")),
        ("0", "4", "3", "0.01", ("0.003333333", "-0.003333333")),  # 1/3 of a cent, and what was rounded away
        ("0", "2", "3", "0.01", ("-0.003333333", "0.003333333")),
        ("0.000000001", "2", "2", "0.5", ("0", "0.000000001")),
        ("0", "1.5", "1", "0.000000001", ("0.000000001", "-0.000000001")),  # half a unit of the last digit goes up
        ("0", "0.5", "1", "0.000000001", ("-0.000000001", "0.000000001")),
        ("5", "3", "-2", "-10", ("25", "-20")),  # a credit note: average price 5
    ],
)
def test_the_split(variance, quantity, ours, amount, parts):
    assert split(D(variance), D(quantity), D(ours), D(amount)) == tuple(map(D, parts))


def test_no_split_without_a_quantity():
    assert split(D(1), None, D(2), D(3)) == (None, None) == split(D(1), D(2), D(3), None)


def test_a_tree_is_counted_once():
    """sms = inbound + outbound: the whole counts, its parts are compared and not added."""
    lines = (line(2, "sms", "0.1075", "11"), line(3, "sms-inbound", "0.0075", "1"),
             line(4, "sms-outbound", "0.1000", "10"), line(5, "calls", "0.042", "3"), line(6, "totalprice", "0.1495"))  # fmt: skip
    found = compare(bill(*lines), OCTOBER, held([*SENT, *GOT, *CALLS]))
    assert {(r.role, r.category, r.verdict) for r in found.rows} == {
        ("line", "sms", "ok"), ("part", "sms-inbound", "ok"), ("part", "sms-outbound", "ok"), ("line", "calls", "ok"),
        ("total", "totalprice", "ok"),
    }  # fmt: skip
    assert found.sound and found.difference == 0 and found.itemised == found.invoice == found.ours == D("0.1495")


def test_a_total_that_counts_a_part_again_says_which():
    lines = (line(2, "sms", "0.10", "10"), line(3, "sms-outbound", "0.10", "10"), line(4, "totalprice", "0.20"))
    found = compare(bill(*lines), OCTOBER, held(SENT))
    row = by_name(found)["total", "totalprice"]
    assert row.verdict == "unexplained" and row.variance == D("0.10")
    assert row.why == "its lines add up to 0.1: it counts sms-outbound a second time"
    assert found.unexplained == found.difference == D("0.10") and found.itemised == D("0.10")


def test_parts_alone_are_held_as_a_sum():
    found = compare(
        bill(line(2, "sms-inbound", "0.0075", "1"), line(3, "sms-outbound", "0.10", "10")), OCTOBER, held([*SENT, *GOT])
    )
    assert by_name(found)["sum", "sms"].lines == (2, 3)
    assert found.sound and found.invoice == D("0.1075") == found.ours


@pytest.mark.parametrize(
    ("said", "reading"),
    [("0.07", "included"), ("0.10", "apart")],
    ids=["the price holds the fee", "the price is the base alone"],
)
def test_both_readings_of_the_carrier_fee(said, reading):
    """Our records say 0.10. Either the line says 0.07 and its fee of 0.03 makes up the rest, or it says 0.10 itself."""
    lines = (line(2, "sms", said, "10"), line(3, "sms-messages-carrierfees", "0.03", "10"))
    found = compare(bill(*lines), OCTOBER, held(SENT, [total("sms-messages-carrierfees", "0.03")]))
    row = by_name(found)["line", "sms"]
    assert (row.reading, row.reading_by, row.verdict) == (reading, "the invoice", "ok")
    assert found.sound and found.difference == found.explained + found.unexplained
    fee = by_name(found)["fees" if reading == "included" else "line", "sms-messages-carrierfees"]
    assert fee.verdict == "explained"


def test_where_neither_reading_fits_the_daily_totals_decide():
    said = [total("sms", "0.07"), total("sms-messages-carrierfees", "0.03")]
    lines = (line(2, "sms", "0.19", "10"), line(3, "sms-messages-carrierfees", "0.03", "10"))
    row = by_name(compare(bill(*lines), OCTOBER, held(SENT, said)))["line", "sms"]
    assert (row.reading, row.reading_by, row.variance) == ("included", "the daily totals", D("0.12"))
    assert row.why.endswith("the provider's own daily totals agree with us")
    row = by_name(compare(bill(*lines), OCTOBER, held(SENT)))["line", "sms"]
    assert (row.reading, row.reading_by, row.variance) == ("apart", "only the nearer", D("0.09"))


def test_a_share_of_the_fee_may_be_missing_from_a_direction():
    lines = (line(2, "sms", "0.0775", "11"), line(3, "sms-inbound", "0.0075", "1"),
             line(4, "sms-outbound", "0.07", "10"), line(5, "sms-messages-carrierfees", "0.03"))  # fmt: skip
    found = by_name(compare(bill(*lines), OCTOBER, held([*SENT, *GOT])))
    assert found["line", "sms"].verdict == "ok"
    assert found["part", "sms-outbound"].why == "its share of the carrier fees (0.03 in all) is on their own line"
    dearer = replace(lines[1], amount=D("0.0195"))  # more than our price, so more than any share can be
    assert (
        by_name(compare(bill(lines[0], dearer, *lines[2:]), OCTOBER, held([*SENT, *GOT])))[
            "part", "sms-inbound"
        ].verdict
        == "unexplained"
    )


FEE = "sms-messages-carrierfees"
ONE_A_DAY = [text(f"SM{day.day}", day=day, provider_cost=D(1)) for day in OCTOBER.days]


def by_day(each: str, **wrong: str) -> list:
    """A line of texts for each day of October; ``d7``: what the seventh says instead."""
    return [
        line(n, "sms", wrong.get(f"d{day.day}", each), "1", start=day, end=day) for n, day in enumerate(OCTOBER.days, 2)
    ]


def test_a_fee_of_the_month_beside_texts_of_the_days_counts_our_side_once():
    """31 days at 1.00 are ours to the cent; the fee of 3.00 is held against the daily totals or what was agreed."""
    bare, said = held(ONE_A_DAY), held(ONE_A_DAY, [total(FEE, "3")])
    for month, agreed, ours, verdict in (
        (bare, {}, "31", "unexplained"), (said, {}, "34", "explained"), (bare, {FEE: D(3)}, "34", "ok"),
        (bare, {FEE: D(2)}, "33", "unexplained"), (bare, {FEE: None}, "31", "explained"),
    ):  # fmt: skip
        found = compare(bill(*by_day("1.00"), line(40, FEE, "3.00")), OCTOBER, month, agreed)
        rows = by_name(found)
        assert found.ours == D(ours) and rows["line", FEE].verdict == verdict
        assert (rows["line", "sms"].verdict, rows["line", "sms"].reading) == ("ok", "apart")
        assert sum(r.role == "part" and r.verdict == "ok" for r in found.rows) == 31 and len(found.rows) == 33
        assert found.unexplained == (found.difference if verdict == "unexplained" else 0)
    # A fee alone, with what was agreed: it is not in the price of our records.
    found = by_name(compare(bill(line(40, FEE, "3.00")), OCTOBER, bare, {FEE: D(2)}))
    assert found["line", FEE].why == "agreed is 2" and found["missing", "sms"].reading_by == "what was agreed"


def test_a_fee_of_the_month_may_be_in_the_price_of_the_days():
    """0.90 a day and 3.10 of fees are our 31. Where the seventh says 5.00, that day is named and disputed alone."""
    fee, said = line(40, FEE, "3.10"), [total("sms", "0.90"), total(FEE, "0.10")]
    found = compare(bill(*by_day("0.90"), fee), OCTOBER, held(ONE_A_DAY))
    assert found.sound and found.invoice == found.ours == 31 and by_name(found)["line", "sms"].reading == "included"
    found = compare(bill(*by_day("0.90", d7="5"), fee), OCTOBER, held(ONE_A_DAY, said))
    assert found.ours == 31 and found.unexplained == D("4.10")
    seventh = date(2026, 10, 7)
    assert [r.start for r in found.rows if r.role == "part" and r.verdict == "unexplained"] == [seventh]
    assert [(c.start, c.end) for c in found.claims] == [(seventh, seventh)]


def test_fees_of_the_days_beside_texts_of_the_month_and_totals_of_the_days():
    fees = [line(40 + day.day, FEE, "0.10", start=day, end=day) for day in OCTOBER.days]
    sums = [line(80 + day.day, "totalprice", "1.00", start=day, end=day) for day in OCTOBER.days]
    found = compare(bill(line(2, "sms", "27.90", "31"), *fees), OCTOBER, held(ONE_A_DAY))
    assert found.sound and found.ours == found.invoice == 31
    found = compare(bill(*by_day("0.90"), line(40, FEE, "3.10"), *sums), OCTOBER, held(ONE_A_DAY))
    assert found.sound and found.ours == found.invoice == 31
    with pytest.raises(ConfigurationError, match="both cover 2026-10-01 of sms"):
        compare(bill(*by_day("0.90"), line(40, FEE, "3.10"), line(41, "sms", "27.90")), OCTOBER, held(ONE_A_DAY))


# ------------------------------------------------------------------------------------------------ explained


def test_records_without_a_price_explain_more_but_not_a_dearer_price():
    waiting = [text("SMw", segments=3, provider_cost=None)]

    def judged(quantity: str, amount: str) -> tuple[str, str]:
        row = by_name(compare(bill(line(2, "sms", amount, quantity)), OCTOBER, held([*SENT, *waiting])))["line", "sms"]
        return row.verdict, row.why

    assert judged("13", "0.13") == ("explained", "1 record(s) have no provider price yet")
    assert judged("11", "0.11")[0] == "explained"
    assert judged("14", "0.14")[0] == "unexplained"
    assert judged("10", "0.13")[0] == "unexplained"  # nothing more was counted, so nothing more may be asked
    assert judged("13", "0.15")[0] == "unexplained"  # three segments for more than the dearest of ours
    assert judged("9", "0.09")[0] == "unexplained"  # what waits cannot make it less


def test_what_came_after_the_invoice_explains_less():
    made = datetime(2026, 10, 20, tzinfo=UTC)
    late = [text("SMl", day=date(2026, 10, 21), provider_cost=D("0.01"))]
    month = held([*SENT, *late], as_of=made)

    def judged(quantity: str, amount: str) -> str:
        found = compare(bill(line(2, "sms", amount, quantity, as_of=made)), OCTOBER, month)
        return by_name(found)["line", "sms"].verdict

    assert judged("10", "0.10") == "explained"
    assert judged("11", "0.11") == "ok"
    assert judged("9", "0.09") == judged("10", "0.13") == "unexplained"
    assert (
        judged("10", "0.09") == "explained" and judged("10", "0.085") == "unexplained"
    )  # it takes its own cost with it


def test_a_cent_is_tolerated_and_said():
    row = by_name(compare(bill(line(2, "sms", "0.11", "10")), OCTOBER, held(SENT)))["line", "sms"]
    assert (row.verdict, row.why, row.price_part) == ("explained", "within the tolerance of 0.01", D("0.01"))
    assert not compare(bill(line(2, "sms", "0.110000001", "10")), OCTOBER, held(SENT)).sound


def test_what_vanished_at_the_source_may_have_been_charged():
    gone = [text("SMgone", vanished=True, segments=4, provider_cost=D("0.04"))]
    row = by_name(compare(bill(line(2, "sms", "0.14", "14")), OCTOBER, held([*SENT, *gone])))["line", "sms"]
    assert (row.verdict, row.why) == ("explained", "1 record(s) no longer listed at the source were charged")


def test_what_vanished_without_a_price_explains_nothing():
    gone = [text("SMgone", vanished=True, segments=4, provider_cost=None)]
    for amount in ("0.10", "0.14"):
        assert not compare(bill(line(2, "sms", amount, "14")), OCTOBER, held([*SENT, *gone])).sound


def test_a_direction_may_lack_its_share_and_still_wait():
    waiting = [text("SMw", provider_cost=None)]
    lines = (
        line(2, "sms", "0.08", "11"),
        line(3, "sms-outbound", "0.08", "11"),
        line(4, "sms-messages-carrierfees", "0.03"),
    )
    found = by_name(compare(bill(*lines), OCTOBER, held([*SENT, *waiting])))
    assert found["line", "sms"].verdict == found["part", "sms-outbound"].verdict == "explained"
    least = replace(lines[1], amount=D("0.05"))
    found = by_name(compare(bill(lines[0], least, lines[2]), OCTOBER, held([*SENT, *waiting])))
    assert found["part", "sms-outbound"].verdict == "unexplained"


def test_failed_messages_that_were_charged_are_the_dispute():
    failed = [text("SMbad", status="failed", segments=2, provider_cost=D("0.0200"))]
    rows = [*SENT, *GOT, *failed]
    lines = (line(2, "sms", "0.1275", "13"), line(3, "failed-message-processing-fee", "0.001", "1"))
    found = compare(bill(*lines), OCTOBER, held(rows, [total("failed-message-processing-fee", "0.001")]))
    row = by_name(found)["line", "sms"]
    assert (row.verdict, row.why) == ("unexplained", "1 failed message(s) were charged")
    assert by_name(found)["line", "failed-message-processing-fee"].verdict == "ok"
    assert dispute(events(rows), DAY, found.claims)["record_id"].to_list() == ["SMbad"]


def test_minutes_or_calls():
    found = compare(bill(line(2, "calls", "0.042", "3", unit="minutes")), OCTOBER, held(CALLS))
    assert found.sound and by_name(found)["line", "calls"].our_quantity == 3
    found = compare(bill(line(2, "calls", "0.042", "2", unit="calls")), OCTOBER, held(CALLS))
    assert found.sound and by_name(found)["line", "calls"].our_quantity == 2
    row = by_name(compare(bill(line(2, "calls", "0.042", "121", unit="seconds")), OCTOBER, held(CALLS)))[
        "line", "calls"
    ]
    assert (row.verdict, row.our_quantity) == ("explained", None) and "only money compared" in row.why


def test_what_no_record_carries_is_held_against_the_daily_totals():
    said = [total("phonenumbers", "3.45", "3", "numbers"), total("totalprice", "3.95", "3.95", "usd")]
    owned = [text(f"PN{n}", kind="number", type=None, segments=None, provider_cost=None) for n in range(3)]
    lines = (line(2, "phonenumbers", "3.45", "3", unit="numbers"), line(3, "totalprice", "3.95"))
    found = compare(bill(*lines), OCTOBER, held(owned, said))
    row = by_name(found)["line", "phonenumbers"]
    assert (row.verdict, row.against, row.our_amount) == ("explained", "daily totals", D("3.45"))
    assert "3 number(s) seen" in row.why
    assert by_name(found)["total", "totalprice"].verdict == "explained"  # costs in no category, and both sides say so
    wrong = compare(bill(replace(lines[0], amount=D("4.60"), quantity=D(4))), OCTOBER, held(owned, said))
    assert [r.why for r in wrong.rows] == ["the provider's own daily totals say 3.45; 3 number(s) seen that month"]
    alone = compare(bill(lines[0]), OCTOBER, held(owned))
    assert (alone.rows[0].verdict, alone.rows[0].against) == ("explained", "numbers")


def test_a_fee_nobody_knows_is_unexplained_until_it_is_agreed():
    fee = bill(line(2, "support-plan", "250"))
    assert "--agreed" in compare(fee, OCTOBER, held(SENT)).rows[-1].why
    for agreed, verdict in ((None, "explained"), (D(250), "ok"), (D(200), "unexplained")):
        found = compare(fee, OCTOBER, held([]), {"support-plan": agreed})
        assert [row.verdict for row in found.rows] == [verdict]
        assert found.difference == found.explained + found.unexplained
    assert compare(bill(line(2, "rounding", "0.01")), OCTOBER, held([])).rows[0].verdict == "explained"
    assert compare(bill(line(2, "rounding", "0.02")), OCTOBER, held([])).rows[0].verdict == "unexplained"


def test_a_fee_agreed_at_any_amount_is_agreed_once():
    twice = bill(line(2, "support-plan", "250"), line(3, "support-plan", "250"))
    found = compare(twice, OCTOBER, held([]), {"support-plan": None})
    assert [(r.verdict, r.why) for r in found.rows] == [
        ("unexplained", "line 3 repeats line 2: charged twice; agreed, any amount")
    ]
    odd = bill(line(2, "support-plan", "250", "2", unit_price=D(100)))
    (row,) = compare(odd, OCTOBER, held([]), {"support-plan": None}).rows
    assert (row.verdict, row.why) == ("explained", "line 2 is not quantity × unit price; agreed, any amount")


def test_what_we_have_and_the_invoice_has_not_is_a_line():
    found = compare(bill(line(2, "sms", "0.10", "10")), OCTOBER, held([*SENT, *CALLS]))
    row = by_name(found)["missing", "calls"]
    assert (row.verdict, row.lines, row.our_amount, row.variance) == ("unexplained", (), D("0.042"), D("-0.042"))
    assert found.unexplained == D("-0.042") and not found.claims  # asked too little: nothing to dispute


def test_an_account_that_is_not_on_the_invoice_is_missing_whole():
    other = [text("SMo", provider_account="AC3", provider_cost=D("0.02"))]
    lines = (line(2, "sms", "0.10", "10", provider_account="AC1"), line(3, "sms", "0", "0", provider_account="AC2"))
    found = compare(bill(*lines), OCTOBER, held([*SENT, *other]))
    assert [(r.provider_account, r.role) for r in found.rows if r.verdict == "unexplained"] == [("AC3", "missing")]


def test_days_the_invoice_leaves_out_are_missing():
    later = [text("SMx", day=date(2026, 10, 9), provider_cost=D("0.01"))]
    lines = [line(n, "sms", "0.10", "10", start=DAY, end=DAY) for n in (2,)]
    found = compare(bill(*lines), OCTOBER, held([*SENT, *later]))
    missing = [r for r in found.rows if r.role == "missing"]
    assert [(r.start, r.end, r.our_amount) for r in missing] == [(date(2026, 10, 7), date(2026, 10, 31), D("0.01"))]


# ------------------------------------------------------------------------------------------------ odd lines


def test_a_line_that_stands_twice_is_charged_twice():
    again = compare(bill(line(2, "sms", "0.10", "10"), line(3, "sms", "0.10", "10")), OCTOBER, held(SENT))
    row = by_name(again)["line", "sms"]
    assert row.verdict == "unexplained" and row.why.startswith("line 3 repeats line 2: charged twice")
    assert again.unexplained == D("0.10")
    half = [line(n, "sms", "0.05", "5") for n in (2, 3)]  # the same figures, and together they are ours
    assert compare(bill(*half), OCTOBER, held(SENT)).sound


def test_a_line_that_does_not_multiply_says_so():
    row = by_name(compare(bill(line(2, "sms", "0.20", "10", unit_price=D("0.01"))), OCTOBER, held(SENT)))["line", "sms"]
    assert row.why.startswith("line 2 is not quantity × unit price")


def test_a_month_and_its_days_are_refused_together():
    day = line(9, "sms-outbound", "0.10", "10", start=DAY, end=DAY)
    with pytest.raises(ConfigurationError, match="lines 2 and 9 both cover 2026-10-06 of sms"):
        compare(bill(line(2, "sms", "0.10", "10"), day), OCTOBER, held(SENT))
    with pytest.raises(ConfigurationError, match="both cover 2026-10-06"):
        compare(bill(line(2, "sms", "0.10", "10", end=DAY), replace(day, end=OCTOBER.days[-1])), OCTOBER, held(SENT))


def test_a_prefix_is_a_part_only_where_it_adds_up():
    said = [
        total("marketplace", "3"),
        total("marketplace-a", "1"),
        total("marketplace-b", "2"),
        total("calls-client", "0.04"),
    ]
    lines = (line(2, "marketplace", "3"), line(3, "marketplace-a", "1"), line(4, "marketplace-b", "2"),
             line(5, "calls", "0.042", "3"), line(6, "calls-client", "0.04"))  # fmt: skip
    found = compare(bill(*lines), OCTOBER, held(CALLS, said))
    assert {r.category for r in found.rows if r.role == "part"} == {"marketplace-a", "marketplace-b"}
    assert found.sound and found.invoice == D("3.082")


# ------------------------------------------------------------------------------------------------ dispute


def test_a_whole_that_is_dearer_than_its_right_parts_is_disputed_whole():
    rows = [*SENT, *GOT]
    lines = (
        line(2, "sms", "0.2075", "11"),
        line(3, "sms-inbound", "0.0075", "1"),
        line(4, "sms-outbound", "0.10", "10"),
    )
    claims = compare(bill(*lines), OCTOBER, held(rows)).claims
    assert dispute(events(rows), DAY, claims).height == len(rows)


def test_the_dispute_leaves_out_the_part_both_agree_on():
    rows = [*SENT, *GOT, *CALLS, text("SMu", status="undelivered", provider_cost=D("0.01"))]
    lines = (line(2, "sms", "0.1375", "12"), line(3, "sms-inbound", "0.0075", "1"), line(4, "calls", "0.042", "3"))
    claims = compare(bill(*lines), OCTOBER, held(rows)).claims
    found = dispute(events(rows), DAY, claims)
    assert found["record_id"].to_list() == [*(f"SM{n}" for n in range(5)), "SMu"]
    assert set(found["category"]) == {"sms-outbound"} and set(found["invoice_lines"]) == {"2"}
    reasons = dict(found.select("record_id", "reason").iter_rows())
    assert reasons["SM0"].startswith("0.02 more for the same") and reasons["SMu"].startswith(
        "undelivered, yet charged; "
    )
    assert found["occurred_at"][0] == "2026-10-06T09:00:00Z" and found["our_cost"].sum() == D("0.11")
    assert dispute(events(rows), date(2026, 11, 1), claims).is_empty()
