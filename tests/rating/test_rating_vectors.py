"""Published examples and the decisions of the billing rules, one promise a test."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
import rating_worlds as made
from rating_worlds import DAY, call, fee, message, price

from etl.money import OutOfRange
from etl.rating.charge import NO_ACCOUNT, NO_DETECTION, NO_FEE, NO_PRICE, billed_seconds, rate

ACME = made.load_directory([made.account("acme", "AC1")], [made.number(made.OUR_NUMBERS[0], "acme")])


def charges(events, prices, fees=(), world=ACME, day=DAY, credits=1, **options) -> list[dict]:
    attributed = world.attribute(made.frame(events), day, "USD")
    card = made.load_card(prices, fees)
    order = {e["record_id"]: i for i, e in enumerate(events)}
    found = rate(attributed, card, day, credits_per_segment=credits, **options).iter_rows(named=True)
    return sorted(found, key=lambda row: order[row["record_id"]])


def one(event, prices, fees=(), **options) -> dict:
    (charge,) = charges([event], prices, fees, **options)
    return charge


# ------------------------------------------------------------------------------------------------ calls

VOICE = {
    (60, 60): {0: 0, 1: 60, 59: 60, 60: 60, 61: 120, 90: 120, 121: 180},
    (1, 1): {0: 0, 1: 1, 59: 59, 60: 60, 61: 61, 90: 90, 121: 121},
    (6, 6): {0: 0, 1: 6, 59: 60, 60: 60, 61: 66, 90: 90, 121: 126},
    (30, 6): {0: 0, 1: 30, 59: 60, 60: 60, 61: 66, 90: 90, 121: 126},
    (60, 1): {0: 0, 1: 60, 59: 60, 60: 60, 61: 61, 90: 90, 121: 121},
}


@pytest.mark.parametrize("terms", VOICE, ids=lambda t: f"{t[0]}/{t[1]}")
def test_increments_round_each_call_up(terms):
    minimum, increment = terms
    seconds = list(VOICE[terms])
    frame = pl.DataFrame({"d": seconds, "m": minimum, "i": increment})
    found = frame.select(billed_seconds(pl.col("d"), pl.col("m"), pl.col("i"))).to_series().to_list()
    assert found == list(VOICE[terms].values())

    row = price("c", line="call", minimum_seconds=minimum, increment_seconds=increment, clock="answer")
    rated = charges([call(str(d), d) for d in seconds], [row])
    assert [c["billed_seconds"] for c in rated] == [c["quantity"] for c in rated] == list(VOICE[terms].values())
    assert {c["unit"] for c in rated} == {"second"}


@pytest.mark.parametrize(("seconds", "amount"), [(32, "0.0036"), (57, "0.006"), (75, "0.0078")])
def test_thirty_six_at_six_tenths_of_a_cent(seconds, amount):
    row = price("c", line="call", price=Decimal("0.006"), minimum_seconds=30, increment_seconds=6)
    assert one(call("r", seconds), [row])["charge"] == Decimal(amount)


def test_two_short_calls_are_two_minutes_not_one():
    row = price("c", line="call", price=Decimal("0.02"))
    assert [c["charge"] for c in charges([call("a", 10), call("b", 10)], [row])] == [Decimal("0.02")] * 2


def test_one_minute_and_one_second_from_dialling_is_two_minutes():
    """Ring time counts on the dial clock and only there."""
    ringing = call("r", 61, answered=41)
    on_dial, on_answer = (price("c", line="call", price=Decimal("0.02"), clock=c) for c in ("dial", "answer"))
    assert one(ringing, [on_dial])["charge"] == Decimal("0.04")
    assert one(ringing, [on_answer])["charge"] == Decimal("0.02")


@pytest.mark.parametrize(("seconds", "billed"), [(0.4, 60), (60.0, 60), (60.000001, 120), (60.4, 120), (61, 120)])
def test_a_begun_second_counts(seconds, billed):
    row = price("c", line="call", clock="dial")
    assert one(call("r", seconds, answered=1), [row])["billed_seconds"] == billed


@pytest.mark.parametrize(
    ("clock", "bill_unanswered", "billed"),
    [("dial", False, 0), ("dial", True, 60), ("answer", False, 0), ("answer", True, 0)],
)
def test_an_unanswered_call_is_billed_only_where_the_card_says_so(clock, bill_unanswered, billed):
    """Twenty seconds of ringing; on the answer clock there is nothing to bill either way."""
    row = price("c", line="call", clock=clock, bill_unanswered=bill_unanswered, connection_fee=Decimal("0.01"))
    found = one(call("r", 20, answered=0), [row])
    assert found["billed_seconds"] == billed
    assert found["charge"] == (Decimal("0.02") if billed else 0)
    assert found["unrated"] is None


def test_an_answered_call_that_says_no_end_is_billed_for_what_was_answered():
    """Free would be wrong: the ring time is unknown, the talk is not."""
    row = price("c", line="call", price=Decimal("0.02"), clock="dial")
    found = one(call("r", 90) | {"ended_at": None}, [row])
    assert (found["billed_seconds"], found["charge"]) == (120, Decimal("0.04"))


def test_the_connection_fee_is_charged_once_a_call_and_not_for_nothing():
    row = price("c", line="call", price=Decimal("0.02"), connection_fee=Decimal("0.015"))
    rated = charges([call("zero", 0), call("short", 1), call("long", 121)], [row])
    assert [c["charge"] for c in rated] == [0, Decimal("0.035"), Decimal("0.075")]


def test_a_call_is_rounded_half_up_to_the_ninth_decimal_once():
    """1 s of 0.000000030 a minute is half a nano: 0.0000000005 → 0.000000001."""
    row = price("c", line="call", price=Decimal("0.000000030"), minimum_seconds=1, increment_seconds=1)
    assert one(call("r", 1), [row])["charge"] == Decimal("0.000000001")


def test_a_call_over_midnight_belongs_to_its_start():
    """Dialled at 23:59:30 of the day before the price rises, ended on the day it has risen: the old price, all of it."""
    day = DAY - timedelta(days=1)
    rows = [
        price("old", line="call", price=Decimal("0.01"), valid_to=DAY),
        price("new", line="call", price=Decimal("0.09"), valid_from=DAY),
    ]
    late = call("r", 90, occurred_at=datetime(day.year, day.month, day.day, 23, 59, 30, tzinfo=UTC))
    found = one(late, rows, day=day)
    assert (found["rate_id"], found["charge"]) == ("old", Decimal("0.02"))


def test_a_campaign_number_s_calls_are_a_line_of_their_own_and_a_call_price_is_not_theirs():
    world = made.load_directory(
        [made.account("acme")], [made.number(made.OUR_NUMBERS[0], "acme", campaign_id="spring")]
    )
    rows = [price("c", line="call"), price("k", line="campaign_call", price=Decimal("0.03"))]
    found = one(call("r", 60), rows, world=world)
    assert (found["line"], found["campaign_id"], found["rate_id"], found["charge"]) == (
        "campaign_call", "spring", "k", Decimal("0.03"),
    )  # fmt: skip
    assert one(call("r", 60), rows[:1], world=world)["unrated"] == NO_PRICE


DETECTED = made.load_directory(
    [made.account("acme")],
    [made.number(made.OUR_NUMBERS[0], "acme", campaign_id=made.DETECTING_CAMPAIGN)],
)
QUIET = made.load_directory([made.account("acme")], [made.number(made.OUR_NUMBERS[0], "acme", campaign_id="autumn")])


@pytest.mark.parametrize(
    ("given", "due"),
    [
        ({}, True),
        ({"answered_seconds": 1}, True),
        ({"answered_seconds": 0}, False),
        ({"parent_id": "CA0"}, False),
        ({"direction": "inbound", "from_number": made.THEIR_NUMBERS[0], "to_number": made.OUR_NUMBERS[0]}, False),
    ],
    ids=["answered", "for a second", "not answered", "second leg", "inbound"],
)
def test_voice_detection_is_charged_once_an_answered_outbound_campaign_call(given, due):
    rows = [price("k", line="campaign_call"), price("vd", line="voice_detection", price=Decimal("0.0075"))]
    found = one(call("r", 90) | given, rows, world=DETECTED)
    expected = ("vd", Decimal("0.0075")) if due else (None, 0)
    assert (found["detection_rate_id"], found["detection_charge"], found["unrated"]) == (*expected, None)
    off = one(call("r", 90) | given, rows, world=QUIET)
    assert (off["detection_rate_id"], off["detection_charge"]) == (None, 0)


def test_voice_detection_without_a_price_is_unrated_and_never_free():
    found = one(call("r", 90), [price("k", line="campaign_call", price=Decimal("0.02"))], world=DETECTED)
    assert (found["charge"], found["detection_charge"], found["unrated"]) == (Decimal("0.04"), None, NO_DETECTION)


# ------------------------------------------------------------------------------------------------ texts


def test_sms_bills_segments_mms_bills_messages_and_both_burn_credits():
    sms = message("sms", segments=3)
    mms = message("mms", type="mms", segments=None)
    row = price("t", price=Decimal("0.01"))
    three, single = charges([sms, mms], [row], credits=2)
    assert (three["quantity"], three["unit"], three["segments"], three["credits"], three["charge"]) == (
        3, "segment", 3, 6, Decimal("0.03"),
    )  # fmt: skip
    assert (single["quantity"], single["unit"], single["segments"], single["credits"], single["charge"]) == (
        1, "message", 0, 2, Decimal("0.01"),
    )  # fmt: skip


def test_inbound_texts_are_charged_and_burn_credits_too():
    text = message(
        "r",
        direction="inbound",
        status="received",
        from_number=made.THEIR_NUMBERS[0],
        to_number=made.OUR_NUMBERS[0],
        segments=2,
    )
    found = one(text, [price("in", direction="inbound", price=Decimal("0.005"))])
    assert (found["account_id"], found["charge"], found["credits"]) == ("acme", Decimal("0.01"), 2)


def test_the_reported_count_is_billed_and_a_disagreement_is_flagged():
    differ, same, unknown = charges(
        [
            message("differ", segments=2, segments_reported=2, segments_computed=3),
            message("same", segments=2, segments_reported=2, segments_computed=2),
            message("unknown", segments=2, segments_reported=2),
        ],
        [price("t")],
    )
    assert [c["quantity"] for c in (differ, same, unknown)] == [2, 2, 2]
    assert [c["segments_differ"] for c in (differ, same, unknown)] == [True, False, False]


@pytest.mark.parametrize("status", ["delivered", "sent", "undelivered"])
def test_what_left_is_charged(status):
    assert one(message("r", status=status), [price("t")])["line"] == "text"


def test_a_failed_message_costs_the_failed_fee_per_message_or_nothing():
    """Not its segments, no credits, no carrier fee; and no price for it is no gap."""
    failed = message("r", status="failed", segments=4)
    rows = [price("t"), price("x", line="failed_message", price=Decimal("0.001"))]
    found = one(failed, rows, [fee("f")])
    assert (found["line"], found["quantity"], found["unit"], found["charge"]) == (
        "failed_message", 1, "message", Decimal("0.001"),
    )  # fmt: skip
    assert (found["messages"], found["segments"], found["credits"], found["carrier_fee"]) == (0, 0, 0, 0)
    free = one(failed, rows[:1], [fee("f")])
    assert (free["charge"], free["rate_id"], free["unrated"]) == (0, None, None)


def test_a_call_nobody_answered_waits_for_no_price_of_the_provider():
    missed, answered = charges([call("missed", answered=0), call("answered")], [price("c", line="call")])
    assert {c["record_id"]: c["provider_cost"] for c in (missed, answered)} == {"missed": 0, "answered": None}


# ------------------------------------------------------------------------------------------------ carrier fees


def test_the_carrier_fee_stands_beside_the_charge_and_is_never_in_the_provider_s_cost():
    sent = message("r", segments=3, provider_cost=Decimal("0.0249"), provider_currency="USD")
    found = one(sent, [price("t", price=Decimal("0.009"))], [fee("f", price=Decimal("0.0045"))])
    assert (found["charge"], found["carrier_fee"], found["provider_cost"]) == (
        Decimal("0.027"), Decimal("0.0135"), Decimal("0.0249"),
    )  # fmt: skip


def test_unregistered_senders_pay_their_own_fee_and_mms_pays_per_message():
    numbers = [made.number(made.OUR_NUMBERS[0], "acme"), made.number(made.OUR_NUMBERS[1], "acme", registered=False)]
    world = made.load_directory([made.account("acme")], numbers)
    table = [
        fee("reg", type="sms", registered=True, price=Decimal("0.0045")),
        fee("unreg", type="sms", registered=False, price=Decimal("0.012")),
        fee("mms", type="mms", price=Decimal("0.01")),
    ]
    sent = [
        message("a", segments=2),
        message("b", segments=2, from_number=made.OUR_NUMBERS[1]),
        message("c", type="mms", segments=None),
    ]
    found = charges(sent, [price("t")], table, world=world)
    assert [(c["fee_id"], c["carrier_fee"]) for c in found] == [
        ("reg", Decimal("0.009")), ("unreg", Decimal("0.024")), ("mms", Decimal("0.01")),
    ]  # fmt: skip


def test_a_prefix_the_table_does_not_price_has_no_fee_one_it_prices_for_others_only_is_a_gap():
    abroad = message("abroad", to_number="+442071838750")
    other_carrier = message("other", carrier="Verizon")
    table = [fee("att", prefix="1", carrier="AT&T")]
    free, gap = charges([abroad, other_carrier], [price("t")], table)
    assert (free["carrier_fee"], free["fee_id"], free["unrated"]) == (0, None, None)
    assert (gap["carrier_fee"], gap["fee_id"], gap["unrated"]) == (None, None, NO_FEE)
    assert gap["charge"] is not None, "the text itself has its price"


def test_calls_pay_no_carrier_fee():
    assert one(call("r", 60), [price("c", line="call")], [fee("f")])["carrier_fee"] == 0


# ------------------------------------------------------------------------------------------------ no price


def test_no_price_is_never_zero():
    unpriced = [message("abroad", to_number="+442071838750"), call("call", 60, to_number="+442071838750")]
    for found in charges(unpriced, [price("t", prefix="1"), price("c", line="call", prefix="1")]):
        assert (found["charge"], found["rate_id"], found["unrated"]) == (None, None, NO_PRICE)


def test_a_price_in_another_currency_is_no_price():
    assert one(message("r"), [price("t", currency="EUR")])["unrated"] == NO_PRICE


def test_nobody_s_usage_is_kept_unrated_and_shown_under_unassigned():
    stray = message("r", from_number="+12025550199", provider_account="AC9")
    found = one(stray, [price("t")])
    assert (found["account_id"], found["owner_kind"], found["owner_id"]) == ("unassigned",) * 3
    assert (found["charge"], found["unrated"], found["currency"]) == (None, NO_ACCOUNT, "USD")
    failed = one(stray | {"status": "failed"}, [price("t")])
    assert (failed["charge"], failed["unrated"]) == (None, NO_ACCOUNT)


def test_an_unlisted_number_of_a_known_sub_account_is_billed_with_its_owner_unassigned():
    found = one(message("r", from_number="+12025550199"), [price("t")])
    assert (found["account_id"], found["owner_kind"], found["owner_id"]) == ("acme", "unassigned", "unassigned")
    assert found["charge"] == Decimal("0.01")


def test_no_events_are_no_charges():
    assert charges([], [price("t")], [fee("f")]) == []
    assert charges([message("r")], [], [])[0]["unrated"] == NO_PRICE


def test_what_is_held_over_time_is_no_charge_of_the_day():
    """It is counted on the day, and priced by the month it is held in."""
    held = [
        message("r", kind="recording", segments=None, answered_seconds=61),
        message("n", kind="number", segments=None),
    ]
    found = [
        (c["line"], c["quantity"], c["unit"], c["rate_id"], c["charge"], c["unrated"])
        for c in charges(held, [price("t")])
    ]
    assert found == [
        ("recording_storage", 2, "stored minute", None, Decimal(0), None),
        ("number", 1, "number", None, Decimal(0), None),
    ]


def test_an_amount_that_cannot_be_stored_stops_the_day_and_names_the_record():
    with pytest.raises(OutOfRange, match="huge"):
        charges([message("huge", segments=2)], [price("t", price=Decimal("999999999"))])
    row = price("c", line="call", price=Decimal("1"), connection_fee=Decimal("999999999"))
    with pytest.raises(OutOfRange, match="huge"):
        charges([call("huge", 60)], [row])


# ------------------------------------------------------------------------------------------------ which row


def test_the_longest_prefix_wins_over_the_more_specific_row():
    rows = [price("deep", prefix="1202"), price("specific", prefix="1", direction="outbound", type="sms")]
    assert one(message("r", to_number="+12025550150"), rows)["rate_id"] == "deep"


def test_of_equal_prefixes_the_row_that_says_more_wins():
    rows = [price("any"), price("sms", type="sms"), price("out-sms", type="sms", direction="outbound")]
    assert one(message("r"), rows)["rate_id"] == "out-sms"


@pytest.mark.parametrize(
    "recipient", ["88811", "ACME", "client:bob", "+0123456", "15551234567", "+1202555015012345678"]
)
def test_what_is_not_e164_reaches_only_the_empty_prefix(recipient):
    assert one(message("r", to_number=recipient), [price("any"), price("us", prefix="1")])["rate_id"] == "any"
    assert one(message("r", to_number=recipient), [price("us", prefix="1")])["unrated"] == NO_PRICE


def test_a_number_cut_short_is_not_within_a_prefix_longer_than_itself():
    """+4420 filled up with zeros lies at the start of 442000; its price is that of 44."""
    rows = [price("uk", prefix="44"), price("deep", prefix="442000")]
    found = charges([message("short", to_number="+4420"), message("full", to_number="+442000123")], rows)
    assert [c["rate_id"] for c in found] == ["uk", "deep"]


def test_a_month_can_be_rated_again_as_it_was_known_on_a_day():
    """A fee announced on 15 January for the 1st, corrected on 2 February: each day's knowledge gives its own answer."""
    day = date(2026, 1, 20)
    at = {"occurred_at": datetime(2026, 1, 20, 12, tzinfo=UTC)}
    rows = [
        price("first", price=Decimal("0.01"), valid_from=date(2026, 1, 1), recorded_at=date(2026, 1, 1)),
        price("announced", price=Decimal("0.02"), valid_from=date(2026, 1, 1), recorded_at=date(2026, 1, 15)),
        price("corrected", price=Decimal("0.03"), valid_from=date(2026, 1, 19), recorded_at=date(2026, 2, 2)),
    ]
    known = {None: "corrected", date(2026, 2, 1): "announced", date(2026, 1, 14): "first"}
    for as_of, expected in known.items():
        assert one(message("r", **at), rows, day=day, as_of=as_of)["rate_id"] == expected
    assert one(message("r", **at), rows, day=day, as_of=date(2025, 12, 31))["unrated"] == NO_PRICE
