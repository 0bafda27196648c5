"""Worth a look: each rule on a statement where it must speak, with its figures by hand, and on one just below its size."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

import polars as pl
import pytest
import statements_made as made
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.periods import Month
from reports import remarks
from reports.charges import Key
from reports.drivers import drivers
from reports.findings import (
    SHOWN,
    CreditsLost,
    CreditsPace,
    CreditsShort,
    Failed,
    Grown,
    OddDay,
    PriceMove,
    Records,
    Silent,
    Unregistered,
    Who,
)
from reports.formats import Formats
from reports.model import build

D = Decimal
OCTOBER = made.OCTOBER
AMARA, BEN, HUGO, LEASING = ("member", "amara"), ("member", "ben"), ("member", "hugo"), ("inbox", "leasing")
TWELFTH = date(2026, 10, 12)
"""A Monday."""


def texts(who, owner, day: date, count: int, **more) -> dict:
    return made.text(day, who, owner, "outbound", count, count, **more)


def steady(who, per_day: int = 100, back: int = 6, without=()) -> list[dict]:
    """So many segments of one member on each day; in October 100 a day are 3,100 for $25.73."""
    days = [d for m in OCTOBER.last(back) for d in m.days if d not in without]
    return [texts(who, AMARA, day, per_day) for day in days]


def found(kind, rows, **more) -> list:
    """The findings of one kind on a page; ``rows(account)`` come beside what is steady."""
    given = {"held_monthly": lambda *_: []} | more
    page = build(made.statement(lambda who: [*steady(who), *rows(who)], **given))
    return [f for f in page.findings if type(f) is kind]


def spread(who, owner, month: Month, count: int) -> list[dict]:
    """A month's segments, evenly over its days."""
    size = len(month.days)
    each = [count // size + (i < count % size) for i in range(size)]
    return [texts(who, owner, day, n) for day, n in zip(month.days, each, strict=True) if n]


# ------------------------------------------------------------------------------------------------ days


def monday(normally: int, then: int, *more, others: int = 100) -> list[OddDay]:
    """The odd days of a member with so many segments on Mondays and ``others`` on the other days, and ``then`` on one."""

    def rows(w):
        days = [d for m in OCTOBER.last(6) for d in m.days]
        sizes = [then if d == TWELFTH else normally if d.weekday() == 0 else others for d in days]
        return [*(texts(w, AMARA, d, n) for d, n in zip(days, sizes, strict=True) if n), *(row(w) for row in more)]

    page = build(made.statement(rows, held_monthly=lambda *_: []))
    return [f for f in page.findings if type(f) is OddDay]


def test_a_day_of_twice_what_its_weekday_has():
    (odd,) = monday(400, 400, lambda w: texts(w, LEASING, TWELFTH, 400))
    assert odd == OddDay(
        cost=D("3.32"), measure="segments", day=TWELFTH, value=800, typical=400,
        who=Who("inbox", "Leasing", 400, 0), others=0,
    )  # fmt: skip
    assert monday(400, 400, lambda w: texts(w, LEASING, TWELFTH, 399)) == []


def test_a_day_of_half_what_its_weekday_has():
    (odd,) = monday(400, 200)
    assert (odd.value, odd.typical, odd.cost, odd.who) == (
        200,
        400,
        D("-1.66"),
        Who("member", "Amara Okafor", 200, 400),
    )
    assert monday(400, 201) == []


def test_days_that_lack_a_price_say_nothing_of_what_is_usual():
    mondays = [d for m in OCTOBER.last(6) for d in m.days if d.weekday() == 0 and d != TWELFTH]

    def cost(lacking: int) -> D:
        lost = set(mondays[:lacking])

        def rows(w):
            # Texts of a lacking day have no price, so they cost nothing so far.
            return [texts(w, AMARA, d, 1_000 if d == TWELFTH else 400) | ({"charge": D(0), "unrated": 400} if d in lost else {})
                    for m in OCTOBER.last(6) for d in m.days]  # fmt: skip

        (odd,) = [f for f in build(made.statement(rows, held_monthly=lambda *_: [])).findings if type(f) is OddDay]
        return odd.cost

    assert cost(0) == cost(len(mondays) - 3) == D("4.98")
    assert cost(len(mondays) - 2) is None, "two Mondays have no middle"


def test_two_odd_days_are_told_the_dearest():
    def rows(w):
        for day in (d for m in OCTOBER.last(6) for d in m.days):
            sent = {12: 2_000, 13: 10}.get(day.day, 400) if Month.of(day) == OCTOBER else 400
            spoken = {14: 36_000, 15: 0}.get(day.day, 7_200) if Month.of(day) == OCTOBER else 7_200
            yield texts(w, AMARA, day, sent)
            yield made.call(day, w, AMARA, "outbound", 1, spoken)

    page = build(made.statement(lambda w: list(rows(w)), held_monthly=lambda *_: []))
    told = [f for f in page.findings if type(f) is OddDay]
    # 1,600 segments are $13.28, 28,800 seconds $11.52, 390 segments $3.24, 7,200 seconds $2.88.
    assert [(f.measure, f.day.day) for f in told] == [("segments", 12), ("minutes", 14)]


def test_a_difference_of_less_than_fifty_segments_is_a_chat():
    assert monday(40, 90, others=10)[0].value == 90 and monday(40, 89, others=10) == []


def test_and_of_less_than_a_thirtieth_of_the_month():
    # 3 Mondays of 20, 27 other days of 1,500 and the one: 40,560 + n.
    assert monday(20, 1_419, others=1_500)[0].typical == 20, "1,399 more of 41,979"
    assert monday(20, 1_418, others=1_500) == []


def test_a_day_without_texts_and_calls_is_told_once():
    calls = [lambda w, d=d: made.call(d, w, AMARA, "outbound", 9, 7_200)
             for m in OCTOBER.last(6) for d in m.days if d != TWELFTH]  # fmt: skip
    (odd,) = monday(400, 0, *calls)
    assert (odd.measure, odd.value, odd.typical, odd.also) == ("segments", 0, 400, ("minutes", 0, 7_200))


def test_where_many_days_are_odd_the_level_is_another_and_no_day_is():
    eight = [date(2026, 10, d) for d in range(1, 9)]
    many = found(OddDay, lambda w: [texts(w, BEN, d, 500) for d in eight])
    few = found(OddDay, lambda w: [texts(w, BEN, d, 500) for d in eight[:7]])
    assert many == [] and (few[0].day, few[0].others) == (eight[0], 6)


def test_a_first_sunday_has_nothing_to_be_a_multiple_of():
    page = build(
        made.statement(
            lambda w: [r for r in steady(w) if r["date"].weekday() < 6] + [texts(w, BEN, date(2026, 10, 18), 120)]
        )
    )
    (odd,) = page.findings
    assert (odd.typical, odd.who.usual) == (0, 0) and page.peak is None
    (said,) = remarks.remarks(page, Formats("en_US", "USD"))
    assert said.figure == "new" and "A typical Sunday has none." in said.text


def test_who_mostly_rests_has_no_usual_day():
    rows = lambda w: [texts(w, AMARA, date(2026, 10, d), 500) for d in (5, 6, 7, 8, 9)]  # noqa: E731
    assert build(made.statement(rows, held_monthly=lambda *_: [])).findings == ()


def test_call_minutes_have_their_odd_days_and_their_campaign():
    def rows(w, minutes):
        usual = [made.call(d, w, LEASING, "outbound", 5, 3_600, "campaign_call") | {"campaign_id": made.CAMPAIGN}
                 for m in OCTOBER.last(6) for d in m.days]  # fmt: skip
        more = made.call(TWELFTH, w, LEASING, "outbound", 5, minutes * 60, "campaign_call")
        return [*usual, more | {"campaign_id": made.CAMPAIGN}]

    (odd,) = found(OddDay, lambda w: rows(w, 65))
    assert (odd.measure, odd.value, odd.typical, odd.cost) == ("minutes", 7_500, 3_600, D("0.00036666") * 3_900)
    assert odd.who == Who("campaign", "Autumn viewings", 7_500, 3_600)
    assert found(OddDay, lambda w: rows(w, 63)) == [], "a thirtieth of 1,923 minutes is 64.1"


def test_a_running_month_is_not_below_on_days_that_are_not_all_in():
    def month(held):
        def rows(w):
            usual = [r for r in steady(w, without=[TWELFTH]) if r["date"] <= date(2026, 10, 17)]
            return [*usual, texts(w, AMARA, TWELFTH, 10)]

        given = {"state": "open", "through": "2026-10-17", "held": held, "held_monthly": lambda *_: []}
        return build(made.statement(rows, **given)).findings

    assert [f.day for f in month(())] == [TWELFTH]
    assert month(("day missing: 2026-10-12 of twilio: load it",)) == ()


def test_the_chart_annotates_the_day_that_is_told(pages_by_name):
    page = pages_by_name["usual"]
    odd = next(f for f in page.findings if type(f) is OddDay)
    assert (page.peak.day, page.peak.segments, page.peak.typical) == (odd.day, odd.value, odd.typical)
    assert page.peak.times == D("6.9")


# ------------------------------------------------------------------------------------------------ people


def test_somebody_who_doubled():
    def ben(before, now):
        return found(Grown, lambda w: [*spread(w, BEN, OCTOBER - 1, before), *spread(w, BEN, OCTOBER, now)])

    (grown,) = ben(60, 124)
    assert grown == Grown(cost=D("0.0083") * 64, measure="segments", who=Who("member", "Ben Castellanos", 124, 60))
    assert ben(60, 119) == [], "not doubled"
    assert ben(30, 79) == [] and len(ben(30, 80)) == 1, "less than fifty more"
    assert ben(0, 49) == [] and ben(0, 50)[0].who.usual == 0


def test_somebody_whose_odd_day_did_it_is_told_once():
    def rows(w):
        months = [*spread(w, LEASING, OCTOBER - 1, 60), *spread(w, LEASING, OCTOBER, 62)]
        return [*months, texts(w, LEASING, TWELFTH, 900)]

    assert found(Grown, rows) == []
    assert found(OddDay, rows)[0].who.name == "Leasing"


def test_a_running_month_is_compared_with_no_whole_one():
    def rows(w):
        before = [*spread(w, BEN, OCTOBER - 1, 60), *spread(w, HUGO, OCTOBER - 1, 60)]
        return [*before, *spread(w, BEN, OCTOBER, 310)]

    until = lambda w: [r for r in rows(w) if r["date"] <= date(2026, 10, 20)]  # noqa: E731
    given = {"state": "open", "through": "2026-10-20"}
    for kind in (Grown, Silent, PriceMove):
        assert found(kind, until, **given) == []
    assert found(Grown, rows) and found(Silent, rows)


def test_somebody_without_use():
    def hugo(before):
        return found(Silent, lambda w: spread(w, HUGO, OCTOBER - 1, before))

    (silent,) = hugo(50)
    assert silent == Silent(
        cost=D("-0.0083") * 50, names=("Hugo Sandoval",), kinds=frozenset({"member"}), segments=50, calls=0
    )
    assert hugo(49) == []


# ------------------------------------------------------------------------------------------------ costs


def fees(who, registered: int, unregistered: int, carrier: str = "Verizon") -> list[dict]:
    return [made.fee(TWELFTH, who, AMARA, registered, "sms", True, "Verizon"),
            made.fee(TWELFTH, who, AMARA, unregistered, "sms", False, carrier)]  # fmt: skip


def test_texts_sent_unregistered():
    (one,) = found(Unregistered, lambda w: fees(w, 10, 143))
    assert one == Unregistered(
        cost=D("1.001"), counts=(("segment", 143),), beside=0, paid=D("1.43"), price=D("0.01"), registered=D("0.003"),
        first=True, before=5,
    )  # fmt: skip
    assert found(Unregistered, lambda w: fees(w, 10, 142)) == [], "99 cents"
    assert found(Unregistered, lambda w: fees(w, 10, 500, "AT&T")) == [], "no registered price at that carrier"
    (more,) = found(Unregistered, lambda w: [*fees(w, 10, 143), *fees(w, 10, 7, "AT&T")])
    assert more.beside == 7 and more.counts == (("segment", 143),)


def test_texts_unregistered_before_are_not_new():
    earlier = lambda w: [*fees(w, 10, 143), made.fee(date(2026, 7, 1), w, AMARA, 1, "sms", False, "AT&T")]  # noqa: E731
    assert found(Unregistered, earlier)[0].first is False


def failures(who, count: int, price: str) -> list[dict]:
    return [
        made.row(
            TWELFTH,
            who,
            AMARA,
            "failed_message",
            count,
            "message",
            price,
            direction="outbound",
            type="sms",
            events=count,
        )
    ]


def test_texts_that_failed():
    (one,) = found(Failed, lambda w: failures(w, 100, "0.01"))
    assert one == Failed(cost=D("1.00"), count=100, of=3_200, before=0)
    assert found(Failed, lambda w: failures(w, 99, "0.01")) == []
    (free,) = found(Failed, lambda w: failures(w, 164, "0"))
    assert (free.count, free.of, free.cost) == (164, 3_264, 0), "one in twenty"
    assert found(Failed, lambda w: failures(w, 163, "0")) == []


def prices(per_day: int, was: str, now: str) -> list:
    def rows(w):
        return [
            r | {"charge": D(price) * r["quantity"], "rate_id": price}
            for r in steady(w, per_day)
            for price in [now if Month.of(r["date"]) == OCTOBER else was]
        ]

    page = build(made.statement(rows, held_monthly=lambda *_: []))
    return [f for f in page.findings if type(f) is PriceMove]


def test_a_price_that_moved():
    (move,) = prices(100, "0.0083", "0.0087")
    assert move == PriceMove(
        cost=D("1.24"), key=Key("text", "outbound", "sms", None, "segment"), unit="segment", was=D("0.0083"),
        now=D("0.0087"), difference=D("2.07"), price=D("1.24"), quantity=D("0.83"),
    )  # fmt: skip
    assert prices(100, "0.0083", "0.0086") == [], "93 cents"
    assert prices(1_000, "0.0083", "0.0084") == [], "1.2 %"
    assert prices(1_000, "0.0083", "0.0085")[0].price == D("6.20")
    assert prices(100, "0.0087", "0.0083")[0].price == D("-1.24")


def test_other_carriers_are_no_other_price():
    def rows(w):
        month = lambda m, carrier, kind: made.fee(m.days[0], w, AMARA, 1_000, kind, True, carrier) | {  # noqa: E731
            "rate_id": carrier}  # fmt: skip
        return [month(OCTOBER - 1, "AT&T", "sms"), month(OCTOBER, "Verizon", "sms") | {"charge": D("9")}]

    assert found(PriceMove, rows) == []


def test_where_no_price_changed_it_is_not_the_price():
    """The same two rates in both months, and more of the dearer one."""

    def moves(dear, rates=("near", "far", "near", "far")):
        def rows(w):
            called = lambda m, n, price, rate: made.call(m.days[0], w, AMARA, "outbound", 1, n) | {  # noqa: E731
                "charge": D(price) * n, "rate_id": rate}  # fmt: skip
            return [called(OCTOBER - 1, 90_000, "0.0001", rates[0]), called(OCTOBER - 1, 10_000, "0.001", rates[1]),
                    called(OCTOBER, 100_000 - dear, "0.0001", rates[2]), called(OCTOBER, dear, "0.001", rates[3])]  # fmt: skip

        return found(PriceMove, rows)

    (move,) = moves(13_000)
    # 19 dollars for 100,000 seconds, then 21.7: 14.2 % more, at the same quantity.
    assert (move.mixed, move.price, move.quantity, move.difference) == (True, D("2.70"), 0, D("2.70"))
    assert moves(12_000) == [], "9.5 %"
    (changed,) = moves(12_000, rates=("near", "far", "near", "far-2"))
    assert (changed.mixed, changed.price) == (False, D("1.80"))


def test_what_is_charged_by_the_month_has_no_price_to_compare():
    """More numbers for one day, and numbers at a price of their own, move an average that is nobody's price."""

    def moves(then, now):
        def held(w, m):
            rows = now if m == OCTOBER else then
            return [made.monthly(w, m, "number", "local", n, "number", price, days=days) for n, price, days in rows]

        return found(PriceMove, lambda w: made.usual(w, back=2), held_monthly=held)

    assert moves([(100, "1.15", 30)], [(100, "1.15", 31), (40, "0.037096774", 1)]) == []
    assert moves([(10, "1.15", None)], [(10, "1.15", None), (2, "15", None)]) == []


def test_where_no_rate_is_known_nothing_is_said_of_prices():
    rows = lambda w: [made.call(m.days[0], w, AMARA, "outbound", 1, 90_000) | {"charge": D(price)}  # noqa: E731
                      for m, price in ((OCTOBER - 1, 9), (OCTOBER, 18))]  # fmt: skip
    assert found(PriceMove, rows) == []


LINE = st.tuples(
    st.sampled_from(["text", "call", "number", "carrier_fee", "adjustment"]),
    st.sampled_from(["outbound", "inbound"]),
    st.sampled_from(["A", "B", None]),
    st.integers(0, 10_000),
    st.decimals(-1_000, 100_000, places=9, allow_nan=False, allow_infinity=False),
)


def stated(rows) -> list[dict]:
    unit = {
        "text": "segment",
        "call": "second",
        "number": "number",
        "carrier_fee": "segment",
        "adjustment": "adjustment",
    }
    return [
        {"section": "usage", "line": line, "direction": way, "type": None, "registered": None, "unit": unit[line],
         "item": None, "carrier": carrier if line == "carrier_fee" else None, "amount": exact, "amount_exact": exact,
         "quantity": quantity, "unrated": 0}
        for line, way, carrier, quantity, exact in rows
    ]  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(st.lists(LINE, max_size=12), st.lists(LINE, max_size=12))
def test_price_and_quantity_come_to_the_difference_exactly(now, before):
    made_of = drivers(stated(now), stated(before))
    whole = sum((Fraction(row[4]) for row in now), Fraction(0)) - sum((Fraction(row[4]) for row in before), Fraction(0))
    assert sum((d.price + d.quantity for d in made_of.values()), Fraction(0)) == whole
    for key, driver in made_of.items():
        mine = [[r for r in rows if (r[0], r[1]) == (key.line, key.direction)] for rows in (now, before)]
        after, then = (sum((Fraction(r[4]) for r in rows), Fraction(0)) for rows in mine)
        assert driver.price + driver.quantity == driver.difference == after - then


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 10_000), st.integers(1, 10_000), st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_price_that_stays_makes_nothing_and_neither_does_a_quantity_that_stays(one, two, old, new):
    rows = lambda quantity, nanos: stated([("text", "outbound", None, quantity, D(nanos * quantity).scaleb(-9))])  # noqa: E731
    (same_price,) = drivers(rows(two, old), rows(one, old)).values()
    assert same_price.price == 0
    (same_quantity,) = drivers(rows(one, new), rows(one, old)).values()
    assert same_quantity.quantity == 0 and same_quantity.price == Fraction((new - old) * one, 10**9)


# ------------------------------------------------------------------------------------------------ credits


def credits(kind, *entries, **more) -> list:
    return found(kind, lambda w: [], ledger=made.moved(*entries), **more)


@pytest.mark.parametrize(("day", "told"), [(29, True), (30, False)])
def test_an_allotment_that_ran_out_early(day, told):
    ran_out = credits(CreditsShort, (1, "open", "allotment", 9), (day, "burn", "allotment", -9))
    assert [f.ran_out for f in ran_out] == ([date(2026, 10, day)] if told else [])


def test_an_allotment_that_ran_out_before_its_reset():
    entries = (
        (1, "open", "allotment", 9),
        (12, "burn", "allotment", -9),
        (14, "grant", "allotment", 99),
        (31, "burn", "allotment", -99),
    )
    assert credits(CreditsShort, *entries) == []
    entries = (*entries[:2], (15, "grant", "allotment", 99))
    assert credits(CreditsShort, *entries)[0].ran_out == TWELFTH


def test_recharges_and_overage_are_one_story(pages_by_name):
    (story,) = [f for f in pages_by_name["rich"].findings if type(f) is CreditsShort]
    assert story == CreditsShort(
        cost=D("110.64"), ran_out=date(2026, 10, 20), bought=13_990, recharges=2, simulated=1, added=10_000,
        paid=D(100), overage=532, charged=D("10.64"),
    )  # fmt: skip


def test_credits_lost_at_a_reset():
    def reset(lost, granted):
        entries = (
            (1, "open", "allotment", lost),
            (15, "expire", "allotment", -lost),
            (15, "grant", "allotment", granted),
        )
        return credits(CreditsLost, *entries)

    assert reset(100, 2_000) == [CreditsLost(lost=100, days=(date(2026, 10, 15),), granted=2_000)]
    assert reset(99, 1) == [] and reset(100, 2_001) == []


def test_how_long_credits_last():
    def open_until_17(left, *more):
        burned = [(d, "burn", "a", -100) for d in range(11, 18)]
        given = {
            "state": "open",
            "through": "2026-10-17",
            "ledger": made.moved((1, "open", "a", left + 700), *more, *burned),
        }
        rows = lambda w: [r for r in steady(w) if r["date"] <= date(2026, 10, 17)]  # noqa: E731
        return [f for f in build(made.statement(rows, **given)).findings if type(f) is CreditsPace]

    reset = (2, "grant", "allotment", 1)
    assert open_until_17(1_300, reset) == [CreditsPace(left=1_301, burned=700, days=7, until=date(2026, 10, 30))]
    assert open_until_17(1_400, reset) == [], "to the end of the month"
    assert open_until_17(1_300) == [], "a reset is still to come"
    assert open_until_17(9_999_999_999, reset) == [], "longer than there are dates"


# ------------------------------------------------------------------------------------------------ another currency


def test_counts_compare_with_a_month_in_another_currency_and_amounts_do_not():
    def rows(w):
        day = lambda m, n: made.row(m.days[0], w, AMARA, "failed_message", n, "message", "0.01", direction="outbound",  # noqa: E731
                                    type="sms", events=n)  # fmt: skip
        dearer = [r | {"charge": r["charge"] * 2, "rate_id": "new"} if Month.of(r["date"]) == OCTOBER else r | {"rate_id": "old"}
                  for r in steady(w)]  # fmt: skip
        return [*dearer, day(OCTOBER - 1, 50), day(OCTOBER, 300), *spread(w, BEN, OCTOBER - 1, 400), *spread(w, BEN, OCTOBER, 900),
                *spread(w, HUGO, OCTOBER - 1, 600), texts(w, LEASING, TWELFTH, 400)]  # fmt: skip

    same = made.statement(rows, held_monthly=lambda *_: [])
    other = replace(
        same, history=tuple(replace(h, currency="USD" if h.month == OCTOBER else "JPY") for h in same.history)
    )
    kinds = {Grown, Silent, Failed, OddDay}
    alike, apart = ({type(f): f for f in build(s).findings} for s in (same, other))
    assert alike.keys() == kinds | {PriceMove} and apart.keys() == kinds
    assert alike[Grown].cost and alike[Silent].cost and alike[Failed].before == 50
    assert apart[Grown].cost is None and apart[Silent].cost is None and apart[Failed].before is None
    assert apart[Grown].who == alike[Grown].who and apart[OddDay].typical == alike[OddDay].typical
    # The middle of the other Mondays of this month alone, which cost twice as much.
    assert apart[OddDay].cost != alike[OddDay].cost
    said = [r.text for r in remarks.remarks(build(other), Formats("en_US", "USD"))]
    assert any(text.endswith("In September they had 600 segments.".replace("they had", "it was")) for text in said)


# ------------------------------------------------------------------------------------------------ records


def test_what_is_odd_about_records():
    def of(what, **more):
        rows = lambda w: [texts(w, AMARA, TWELFTH, 1, **more)]  # noqa: E731
        return [f for f in found(Records, rows) if f.what == what]

    assert of("unrated", unrated=1) == [Records(what="unrated", count=1, of=3_101)]
    assert of("differ", segments_differ=16) == [Records(what="differ", count=16, of=3_101)], "3,101 / 200 is 15.5"
    assert of("differ", segments_differ=15) == []
    assert (
        of("vanished", vanished=10) == [Records(what="vanished", count=10, of=3_101)]
        and of("vanished", vanished=9) == []
    )


def test_a_few_other_counts_of_a_few_texts_are_nothing():
    page = build(
        made.statement(lambda w: [texts(w, AMARA, TWELFTH, 100, segments_differ=9)], held_monthly=lambda *_: [])
    )
    assert page.findings == ()


# ------------------------------------------------------------------------------------------------ all of them


def everything():
    """An account of which every rule has something to say."""

    def rows(w):
        dearer = [r | {"charge": r["charge"] * 2} if Month.of(r["date"]) == OCTOBER else r for r in steady(w)]
        return [*dearer, *spread(w, BEN, OCTOBER - 1, 60), *spread(w, BEN, OCTOBER, 200), *spread(w, HUGO, OCTOBER - 1, 90),
                *fees(w, 10, 500), *failures(w, 400, "0.01"), texts(w, LEASING, TWELFTH, 700, vanished=12, segments_differ=90),
                texts(w, AMARA, TWELFTH, 1, unrated=1)]  # fmt: skip

    return build(made.statement(rows, ledger=made.moved(*made.LEDGER)))


def test_the_most_important_come_first_and_few_are_told():
    page = everything()
    first, *rest = page.findings
    assert len(page.findings) == SHOWN and first.what == "unrated"
    sizes = [abs(f.cost) for f in rest if f.cost]
    assert sizes == sorted(sizes, reverse=True) and len(sizes) >= 4
    assert [bool(f.cost) for f in rest] == [True] * len(sizes) + [False] * (len(rest) - len(sizes))


def test_every_finding_has_its_words(pages_by_name):
    for page in (*pages_by_name.values(), everything()):
        f = Formats(page.locale, page.currency)
        for said in remarks.remarks(page, f):
            assert said.tag in ("Usage", "Cost", "Credits", "Data") and said.figure
            assert said.bold.endswith(".") and (not said.text or said.text.endswith("."))
            assert "None" not in said.bold.replace("None were", "") and "  " not in said.text
            assert not re.search(r"\d{7}", said.bold + said.text)
        assert remarks.remarks(page, f, 3) == remarks.remarks(page, f)[:3]


SAID = [
    (OddDay(cost=D("25.98"), measure="segments", day=TWELFTH, value=3_172, typical=457, who=Who("member", "Amara", 2_733, 0), others=1),
     ("3,172 segments on Monday, October 12.", "A typical Monday has 457. 2,733 of them are of Amara, who usually has none. "
      "The day’s texts cost $25.98 more than usual. One other day stands out the same way.", "6.9×", "▲")),
    (OddDay(cost=D("-5"), measure="minutes", day=TWELFTH, value=0, typical=7_200, who=Who("campaign", "Autumn", 0, 7_000), others=2),
     ("No call minutes on Monday, October 12.", "A typical Monday has 120. The day’s calls cost $5.00 less than usual. "
      "2 other days stand out the same way.", "none", "▼")),
    (OddDay(cost=D("-5"), measure="segments", day=TWELFTH, value=100, typical=400, who=Who("campaign", "Autumn", 0, 300), others=0,
            also=("minutes", 0, 7_000)),
     ("Fewer segments than usual on Monday, October 12.", "There were 100; a typical Monday has 400. The campaign Autumn had none, "
      "usually 300. The day’s texts cost $5.00 less than usual. Of call minutes there were none; usually 116.67.", "−75.0%", "▼")),
    (OddDay(cost=None, measure="minutes", day=TWELFTH, value=7_260, typical=60, who=Who("unassigned", "", 7_000, 0), others=0),
     ("121 call minutes on Monday, October 12.", "A typical Monday has 1. 116.67 of them belong to no member and no inbox; usually none.",
      "121×", "▲")),
    (Grown(cost=D("31"), measure="segments", who=Who("inbox", "Leasing", 6_000, 3_000)),
     ("The Leasing inbox doubled.", "6,000 segments, 3,000 in September. Texts cost $31.00 more than in September.", "2×", "▲")),
    (Grown(cost=D("31"), measure="minutes", who=Who("member", "Ben", 60, 0)),
     ("Ben had 1 call minute, and none in September.", "Calls cost $31.00 more than in September.", "new", "▲")),
    (Silent(cost=D("-1.5"), names=("A", "B", "C", "D"), kinds=frozenset({"member"}), segments=1, calls=2),
     ("A, B and 2 more members had no use in October.", "In September they had 1 segment and 2 calls for $1.50.", "4 members", "▼")),
    (Silent(cost=D("-1.5"), names=("A", "B"), kinds=frozenset({"member", "inbox"}), segments=90, calls=0),
     ("A and B had no use in October.", "In September they had 90 segments for $1.50.", "2 of them", "▼")),
    (Unregistered(cost=D("2.268"), counts=(("segment", 324),), beside=0, paid=D("3.24"), price=D("0.01"), registered=D("0.003"), first=True, before=5),
     ("324 segments were sent unregistered.", "They cost $0.0100 each in carrier fees instead of $0.0030. None were unregistered in the five "
      "months before.", "$2.27 extra", "▲")),
    (Unregistered(cost=D("2.268"), counts=(("segment", 1), ("message", 2)), beside=3, paid=D("3.24"), price=None, registered=None, first=True, before=0),
     ("1 segment and 2 messages were sent unregistered.", "Their carrier fees are $3.24; registered, at the same carriers, $0.97. 3 more went to "
      "carriers that took no registered ones to compare with.", "$2.27 extra", "▲")),
    (Failed(cost=D("1.31"), count=131, of=10_000, before=120),
     ("131 texts could not be sent.", "That is 1.3% of all that were to be sent. In September it was 120.", "$1.31", "")),
    (CreditsShort(cost=D(0), ran_out=None, bought=9, recharges=1, simulated=1, added=500, paid=None, overage=0, charged=D(0)),
     ("1 auto-recharge, simulated, added 500 credits.", "", "9 bought", "")),
    (CreditsShort(cost=D(5), ran_out=None, bought=0, recharges=0, simulated=0, added=0, paid=None, overage=250, charged=D(5)),
     ("250 credits that nothing covered were used.", "They are charged as overage.", "$5.00", "")),
    (CreditsPace(left=1_880, burned=700, days=7, until=date(2026, 10, 30)),
     ("At this pace the credits last until October 30.", "The last seven days took 700 credits.", "1,880 left", "")),
    (Records(what="unrated", count=1, of=9),
     ("1 record has no price yet.", "It has no amount in the total. The month cannot close before that is settled.", "not in the total", "")),
    (Records(what="vanished", count=12, of=90_000),
     ("12 records are no longer listed by the provider.", "What was used stays billed.", "less than 0.1%", "")),
]  # fmt: skip


@pytest.mark.parametrize(("finding", "said"), SAID, ids=[f"{type(f).__name__}-{i}" for i, (f, _) in enumerate(SAID)])
def test_sentences(finding, said, pages_by_name):
    page = replace(pages_by_name["usual"], findings=(finding,))
    (remark,) = remarks.remarks(page, Formats("en_US", "USD"))
    shown = (remark.bold, remark.text, remark.figure, remark.arrow)
    assert tuple(part.replace("\u00a0", " ") for part in shown) == said


def test_a_price_in_words(pages_by_name):
    page = pages_by_name["usual"]
    key = next(p.key for row in page.charges for p in row.parts if p.label == "SMS sent")
    move = PriceMove(cost=D("1.24"), key=key, unit="segment", was=D("0.00831"), now=D("0.00834"), difference=D("0.93"),
                     price=D("1.24"), quantity=D("-0.31"))  # fmt: skip
    (said,) = remarks.remarks(replace(page, findings=(move,)), Formats("en_US", "USD"))
    assert said.bold == "The average price of SMS sent went up." and said.figure == "+0.4%"
    assert said.text == (
        "$0.00834 a segment on average, $0.00831 in September. The price makes $1.24 more, the quantity $0.31 less: $0.93 more in all."
    )


def test_another_mix_in_words(pages_by_name):
    page = pages_by_name["usual"]
    key = next(p.key for row in page.charges for p in row.parts if p.label == "Outbound")
    move = PriceMove(cost=D("2.7"), key=key, unit="minute", was=D("0.0114"), now=D("0.01302"), difference=D("2.7"),
                     price=D("2.7"), quantity=D(0), mixed=True)  # fmt: skip
    (said,) = remarks.remarks(replace(page, findings=(move,)), Formats("en_US", "USD"))
    assert (
        said.bold == "The average price of outbound calls went up."
        and "$0.0130 a minute on average, $0.0114" in said.text
    )
    assert (
        "No price changed; where it went makes $2.70 more, the quantity no difference: $2.70 more in all." in said.text
    )


def test_nothing_worth_a_look_is_said_in_a_sentence_where_it_says_something(pages_by_name):
    assert remarks.nothing(pages_by_name["campaigns"]).startswith("Nothing stands out: ")
    assert remarks.nothing(pages_by_name["no_usage"]) == remarks.nothing(pages_by_name["stopped"]) == ""
    assert remarks.nothing(replace(pages_by_name["usual"], state="open")) == "Nothing stands out so far."
    assert remarks.nothing(pages_by_name["first_month"]) == ""


def test_names_from_right_to_left_turn_nothing_around(pages_by_name):
    page = pages_by_name["arabic"]
    odd = next(r for r in remarks.remarks(page, Formats("ar_EG", "EGP")) if r.tag == "Usage")
    assert "the \u2068التأجير\u2069 inbox" in odd.text and "\u206625.24\u00a0ج.م.\u200f\u2069 more" in odd.text


def test_findings_do_not_depend_on_the_order_of_rows(statements):
    good = statements["rich"]
    shuffled = replace(good, daily=good.daily.sample(fraction=1, shuffle=True, seed=7))
    assert build(shuffled).findings == build(good).findings
    assert good.daily.height == shuffled.daily.height and isinstance(good.daily, pl.DataFrame)
