"""Ladders against a clerk who prices unit by unit, against published examples, and what must not matter."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import polars as pl
import pytest
import rating_worlds as made
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from rating_reference import in_force, nano
from rating_worlds import price

from etl.money import OutOfRange
from etl.periods import Month
from etl.rating import card, tiers
from etl.schemas import TIMED_LINES

MONTH = Month(2026, 9)
SEPTEMBER = MONTH.days
DAILY = {
    "account_id": pl.String, "rate_id": pl.String, "line": pl.String, "currency": pl.String, "date": pl.Date,
    "quantity": pl.Int64,
}  # fmt: skip
CALLS = {
    "account_id": pl.String, "rate_id": pl.String, "occurred_at": pl.Datetime("us", "UTC"), "record_id": pl.String,
    "quantity": pl.Int64, "connection_fee": pl.Decimal(18, 9),
}  # fmt: skip


def rung(tier_id: str, from_quantity: int, unit_price: str, **given) -> dict:
    """A rung of a graduated ladder in USD from 2026-01-01 unless told otherwise."""
    return dict.fromkeys(card.TIER_COLUMNS) | {
        "tier_id": tier_id, "model": "graduated", "from_quantity": from_quantity, "price": Decimal(unit_price),
        "currency": "USD", "valid_from": date(2026, 1, 1), "recorded_at": date(2026, 1, 1),
    } | given  # fmt: skip


def load(prices: list[dict], rungs: list[dict]) -> card.RateCard:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made.write_csv(folder / "prices.csv", card.PRICE_COLUMNS, prices)
        made.write_csv(folder / "carrier_fees.csv", card.FEE_COLUMNS, [])
        made.write_csv(folder / "tiers.csv", card.TIER_COLUMNS, rungs)
        return card.load(folder)


def text(rate_id: str, list_price: str, tier_id: str | None = "t", **given) -> dict:
    return price(
        rate_id, type="sms", prefix=given.pop("prefix", "1"), price=Decimal(list_price), tier_id=tier_id, **given
    )


def timed(rate_id: str, list_price: str, tier_id: str | None = "t", line: str = "call", **given) -> dict:
    terms = {"minimum_seconds": 1, "increment_seconds": 1, "clock": "answer", "bill_unanswered": False}
    return price(rate_id, line=line, price=Decimal(list_price), tier_id=tier_id, **(terms | given))


def daily(*rows: tuple, line: str = "text") -> pl.DataFrame:
    """(account, rate, day of September, quantity[, line])"""
    full = [(a, r, given[0] if given else line, "USD", SEPTEMBER[d - 1], q) for a, r, d, q, *given in rows]
    return pl.DataFrame(full, schema=DAILY, orient="row")


def calls(*rows: tuple) -> pl.DataFrame:
    """(account, rate, day of September, second of it, record, quantity)"""
    midnights = [datetime(2026, 9, d, tzinfo=UTC) for d in range(1, 31)]
    full = [(a, r, midnights[d - 1] + timedelta(seconds=s), i, q, None) for a, r, d, s, i, q in rows]
    return pl.DataFrame(full, schema=CALLS, orient="row")


def one(rows: pl.DataFrame, loaded: card.RateCard, **options) -> dict:
    (found,) = tiers.adjustments(rows, loaded, MONTH, **options).iter_rows(named=True)
    return found


def ladder_of(rungs: list[dict], quantity: int) -> Decimal:
    """What ``quantity`` texts on one day cost by the ladder."""
    found = tiers.adjustments(daily(("acme", "p", 7, quantity)), load([text("p", "1")], rungs), MONTH)
    return found["ladder_amount"].sum() if found.height else Decimal(0)


# ------------------------------------------------------------------------------------------------ published examples


@pytest.mark.parametrize(
    ("quantity", "amount"),
    [
        (0, "0"),
        (1, "1"),
        (100, "100"),  # 100 × 1
        (101, "100.50"),  # 100 × 1 + 1 × 0.50
        (200, "150"),  # 100 × 1 + 100 × 0.50
        (201, "150.10"),  # … + 1 × 0.10
    ],
)
def test_lago_graduated(quantity, amount):
    """The guide's API company: $1 for the first 100 calls, $0.50 for the next 100, $0.10 for any more."""
    assert ladder_of([rung("t", 0, "1"), rung("t", 100, "0.50"), rung("t", 200, "0.10")], quantity) == Decimal(amount)


@pytest.mark.parametrize(
    ("quantity", "amount"),
    [
        (0, "0"),  # no usage, no flat fee
        (1, "10.0010"),
        (10_000, "20"),  # 10,000 × 0.0010 + 10
        (10_001, "18.0008"),  # 10,001 × 0.0008 + 10: less, for more
        (65_000, "49"),  # 65,000 × 0.0006 + 10, as the guide has it
    ],
)
def test_lago_volume(quantity, amount):
    steps = [(0, "0.0010"), (10_000, "0.0008"), (50_000, "0.0006"), (100_000, "0.0004")]
    ladder = [rung("t", q, p, model="volume", flat_fee=Decimal(10)) for q, p in steps]
    assert ladder_of(ladder, quantity) == Decimal(amount)


@pytest.mark.parametrize(("quantity", "amount"), [(0, 0), (100, 0), (101, 5), (200, 5), (201, 10)])
def test_lago_package(quantity, amount):
    """$5 per 100 and the first 100 free: 201 units are 0 + 5 + 5."""
    free = rung("t", 0, "0", model="package")
    assert ladder_of([free, rung("t", 100, "5", model="package", package_size=100)], quantity) == amount


def test_kill_bill_all_tiers_and_top_tier():
    """Tiers of 10, 100 and 1000 units at 1.5, 1.0 and 0.5."""
    steps = [(0, "1.5"), (10, "1.0"), (110, "0.5")]
    # 10 × 1.5 + 100 × 1.0 + 1 × 0.5
    assert ladder_of([rung("t", q, p) for q, p in steps], 111) == Decimal("115.5")
    # all of it at the third: 111 × 0.5
    assert ladder_of([rung("t", q, p, model="volume") for q, p in steps], 111) == Decimal("55.5")


def test_kill_bill_blocks_are_started_whole_within_each_tier():
    """Blocks of 100 to 1000 units, then of 1000, each at 1: 5325 are 10 blocks and ceil(4325 / 1000) = 5."""
    ladder = [rung("t", 0, "1", model="package", package_size=100)]
    ladder += [rung("t", 1000, "1", model="package", package_size=1000)]
    assert ladder_of(ladder, 5325) == 15


def test_twilio_s_discount_is_for_later_units_only():
    """Past 150,000 messages the next are cheaper, those before stay: 150,000 × 0.0083 + 10,000 × 0.0081."""
    loaded = load([text("p", "0.0083")], [rung("t", 0, "0.0083"), rung("t", 150_000, "0.0081")])
    found = one(daily(("acme", "p", 3, 100_000), ("acme", "p", 20, 60_000)), loaded)
    assert (found["quantity"], found["list_amount"], found["ladder_amount"], found["charge"]) == (
        160_000, Decimal("1328"), Decimal("1326"), Decimal("-2"),
    )  # fmt: skip


def test_a_ladder_in_minutes_is_proportional_by_the_second():
    """100 minutes at 0.006, then 0.003. 6,078 s = 101.3 min: 0.6 + 1.3 × 0.003; list 101.3 × 0.006."""
    loaded = load([timed("c", "0.006")], [rung("t", 0, "0.006"), rung("t", 100, "0.003")])
    found = one(daily(("acme", "c", 1, 6_078), line="call"), loaded)
    assert (found["quantity"], found["lines"]) == (6_078, "call")
    assert (found["list_amount"], found["ladder_amount"]) == (Decimal("0.6078"), Decimal("0.6039"))


def test_a_package_of_minutes_is_begun_with_its_first_second():
    """5 free minutes, then 10-minute packages at 1: 300 s, 301 s, 900 s, 901 s."""
    loaded = load(
        [timed("c", "1")],
        [rung("t", 0, "0", model="package"), rung("t", 5, "1", model="package", package_size=10)],
    )
    amounts = [one(daily(("acme", "c", 1, s), line="call"), loaded)["ladder_amount"] for s in (300, 301, 900, 901)]
    assert amounts == [0, 1, 1, 2]


# ------------------------------------------------------------------------------------------------ rules


def test_a_ladder_that_costs_more_than_the_list_is_charged_too():
    found = one(daily(("acme", "p", 1, 10)), load([text("p", "0.01")], [rung("t", 0, "0.02", flat_fee=Decimal("1"))]))
    assert (found["list_amount"], found["ladder_amount"], found["charge"]) == (
        Decimal("0.10"), Decimal("1.20"), Decimal("1.10"),
    )  # fmt: skip


def test_the_flat_fee_of_every_rung_reached_is_due_once():
    steps = [rung("t", 0, "0", flat_fee=Decimal(1)), rung("t", 10, "0", flat_fee=Decimal(2))]
    loaded = load([text("p", "0")], steps)
    for quantities, amount in {(10,): 1, (11,): 3, (4, 6): 1, (4, 7): 3, (11, 5): 3}.items():
        rows = daily(*(("acme", "p", day, q) for day, q in enumerate(quantities, 1)))
        assert one(rows, loaded)["ladder_amount"] == amount, quantities


def test_usage_is_pooled_over_rates_and_lines_and_by_account():
    """acme: 6 + 6 texts, inbound and outbound: 10 × 1 + 2 × 0.5. bolt has its own 10."""
    prices = [
        text("out", "1", direction="outbound"),
        text("in", "1", direction="inbound"),
        text("free", "7", None, prefix="2"),
    ]
    loaded = load(prices, [rung("t", 0, "1"), rung("t", 10, "0.5")])
    rows = daily(("acme", "out", 1, 6), ("acme", "in", 1, 6), ("bolt", "out", 1, 11), ("bolt", "free", 1, 100))
    found = tiers.adjustments(rows, loaded, MONTH)
    assert found.select("account_id", "quantity", "ladder_amount").rows() == [
        ("acme", 12, Decimal(11)), ("bolt", 11, Decimal("10.5")),
    ]  # fmt: skip
    timed_card = load([timed("k", "0.6", line="campaign_call"), timed("v", "0.6", line="video")], [rung("t", 0, "0.3")])
    found = one(daily(("acme", "k", 1, 60, "campaign_call"), ("acme", "v", 2, 60, "video")), timed_card)
    assert (found["quantity"], found["lines"], found["charge"]) == (120, "video; campaign_call", Decimal("-0.6"))


def test_other_lines_months_and_nobody_s_usage_do_not_count():
    loaded = load([text("p", "1")], [rung("t", 0, "2")])
    rows = daily(
        ("acme", "p", 1, 5), ("unassigned", "p", 1, 5), ("acme", "p", 1, 5, "carrier_fee"), ("acme", None, 2, 5)
    )
    elsewhere = rows.with_columns(date=pl.lit(date(2026, 8, 31))), rows.with_columns(date=pl.lit(date(2026, 10, 1)))
    found = tiers.adjustments(pl.concat([rows, *elsewhere]), loaded, MONTH)
    assert found.select("account_id", "quantity", "charge").rows() == [("acme", 5, Decimal(5))]


def test_no_usage_is_no_row():
    loaded = load([text("p", "1")], [rung("t", 0, "2", flat_fee=Decimal(3))])
    for rows in (daily(), daily(("acme", "p", 1, 0))):
        found = tiers.adjustments(rows, loaded, MONTH)
        assert (found.height, dict(found.schema)) == (0, tiers.SCHEMA)
    without = made.load_card([price("p")])
    assert tiers.adjustments(daily(("acme", "p", 1, 9)), without, MONTH).height == 0


def test_list_prices_are_rounded_half_up_once_a_rate_row_and_the_ladder_once():
    """1 s at 0.000000030 a minute is half a nano: two rows make 2 nanos at list price. By the ladder 2 s are 1 nano."""
    prices = [timed("a", "0.000000030"), timed("b", "0.000000030", line="video")]
    loaded = load(prices, [rung("t", 0, "0.000000030")])
    found = one(daily(("acme", "a", 1, 1, "call"), ("acme", "b", 1, 1, "video")), loaded)
    assert (found["list_amount"], found["ladder_amount"]) == (Decimal("2E-9"), Decimal("1E-9"))
    # 2 s on two days of one row: 1 nano, not 2
    found = one(daily(("acme", "a", 1, 1, "call"), ("acme", "a", 2, 1, "call")), loaded)
    assert (found["list_amount"], found["ladder_amount"]) == (Decimal("1E-9"), Decimal("1E-9"))


# ------------------------------------------------------------------------------------------------ versions


def two_versions(model: str, old: list[dict], new: list[dict]) -> card.RateCard:
    """``old`` until 10 September, ``new`` from then on: (from, price, what else)."""
    noon = date(2026, 9, 11)
    rungs = [rung("t", q, p, model=model, valid_to=noon, **more) for q, p, more in old]
    rungs += [rung("t", q, p, model=model, valid_from=noon, **more) for q, p, more in new]
    return load([text("p", "1")], rungs)


def test_graduated_quantities_count_on_over_a_change():
    """8 before, 4 after. Old: 10 at 1, then 0.5. New: 9 at 2, then 1. 8 × 1 + 1 × 2 + 3 × 1 = 13; the flat fee of the
    first rung was due under the old version, that of the second is under the new."""
    fee = [{"flat_fee": Decimal(n)} for n in (10, 20, 30, 40)]
    loaded = two_versions("graduated", [(0, "1", fee[0]), (10, "0.5", fee[1])], [(0, "2", fee[2]), (9, "1", fee[3])])
    assert one(daily(("acme", "p", 10, 8), ("acme", "p", 11, 4)), loaded)["ladder_amount"] == 13 + 10 + 40


def test_packages_begun_are_not_begun_again():
    """Packages of 10 at 1, from the 11th at 3: 15 before are 2 packages, so 5 more are covered, 1 beyond is new."""
    loaded = two_versions("package", [(0, "1", {"package_size": 10})], [(0, "3", {"package_size": 10})])
    assert one(daily(("acme", "p", 10, 15), ("acme", "p", 11, 5)), loaded)["ladder_amount"] == 2
    assert one(daily(("acme", "p", 10, 15), ("acme", "p", 11, 6)), loaded)["ladder_amount"] == 5


def test_volume_prices_each_day_by_its_version_and_the_month_s_total():
    """12 in all, so the second rung of both: 8 × 0.5 + 4 × 0.25, and the flat fee of the first day with usage."""
    fee = [{"flat_fee": Decimal(n)} for n in (10, 20, 30, 40)]
    loaded = two_versions("volume", [(0, "1", fee[0]), (10, "0.5", fee[1])], [(0, "2", fee[2]), (10, "0.25", fee[3])])
    assert one(daily(("acme", "p", 10, 8), ("acme", "p", 11, 4)), loaded)["ladder_amount"] == 4 + 1 + 20
    assert one(daily(("acme", "p", 11, 12)), loaded)["ladder_amount"] == 3 + 40


def test_where_no_version_is_in_force_the_list_price_stands_and_units_still_count():
    """4 before the ladder begins, 8 after: 4 × 1 (list) + 6 × 2 + 2 × 3."""
    start = date(2026, 9, 11)
    loaded = load([text("p", "1")], [rung("t", 0, "2", valid_from=start), rung("t", 10, "3", valid_from=start)])
    assert one(daily(("acme", "p", 10, 4), ("acme", "p", 11, 8)), loaded)["ladder_amount"] == 22
    assert tiers.adjustments(daily(("acme", "p", 10, 4)), loaded, MONTH).height == 0


def test_a_correction_replaces_the_whole_version_from_when_it_was_known():
    wrong = [rung("t", 0, "2"), rung("t", 5, "9")]
    right = [rung("t", 0, "3", recorded_at=date(2026, 9, 20))]
    loaded, rows = load([text("p", "1")], wrong + right), daily(("acme", "p", 1, 6))
    assert one(rows, loaded)["ladder_amount"] == 18
    assert one(rows, loaded, as_of=date(2026, 9, 20))["ladder_amount"] == 18
    assert one(rows, loaded, as_of=date(2026, 9, 19))["ladder_amount"] == 19


# ------------------------------------------------------------------------------------------------ connection fees

FEE = Decimal("0.05")
FREE_MINUTES = [rung("t", 0, "0"), rung("t", 10, "0.6")]


def test_a_call_covered_by_free_minutes_pays_no_connection_fee():
    """10 free minutes: 400 s and 200 s lie within, the third call is 1 s beyond."""
    loaded = load([timed("c", "0.6", connection_fee=FEE)], FREE_MINUTES)
    assert tiers.needs_calls(loaded) == ["c"]
    rows = [("acme", "c", 2, 5, "b", 200), ("acme", "c", 1, 9, "z", 400), ("acme", "c", 2, 6, "a", 1)]
    found = one(daily(("acme", "c", 1, 400), ("acme", "c", 2, 201), line="call"), loaded, calls=calls(*rows))
    # list 601 × 0.01; ladder 1 × 0.01; two of three fees
    assert (found["list_amount"], found["ladder_amount"]) == (Decimal("6.01"), Decimal("0.01"))
    assert (found["connection_fees_returned"], found["charge"]) == (Decimal("0.10"), Decimal("-6.10"))


def test_the_smallest_connection_fee_there_is_comes_back_too():
    least = Decimal("0.000000001")
    loaded = load([timed("c", "0.6", connection_fee=least)], FREE_MINUTES)
    rows = daily(("acme", "c", 1, 60), line="call")
    assert one(rows, loaded, calls=calls(("acme", "c", 1, 0, "a", 60)))["connection_fees_returned"] == least


def test_a_call_that_leaves_the_free_minutes_pays_its_connection_fee():
    loaded = load([timed("c", "0.6", connection_fee=FEE)], FREE_MINUTES)
    rows = daily(("acme", "c", 1, 601), line="call")
    assert one(rows, loaded, calls=calls(("acme", "c", 1, 0, "a", 601)))["connection_fees_returned"] == 0


def test_a_call_after_the_last_paid_minute_is_free_from_its_first_second():
    """One paid minute, then none: a call that begins where it ends pays no connection fee, one a second before does."""
    loaded = load([timed("c", "0.6", connection_fee=FEE)], [rung("t", 0, "0.6"), rung("t", 1, "0")])
    for first, returned in ((60, FEE), (59, 0)):
        rows, two = (
            daily(("acme", "c", 1, first + 30), line="call"),
            [("acme", "c", 1, 0, "a", first), ("acme", "c", 1, 90, "b", 30)],
        )
        assert one(rows, loaded, calls=calls(*two))["connection_fees_returned"] == returned


def test_calls_of_one_instant_take_their_places_by_record():
    """Two calls at once, 300 s and 301 s: the first of them is free, whichever file it came from."""
    prices = [timed("c", "0.6", connection_fee=FEE), timed("d", "0.6", line="video", connection_fee=2 * FEE)]
    loaded = load(prices, FREE_MINUTES)
    rows = daily(("acme", "c", 1, 300, "call"), ("acme", "d", 1, 301, "video"))
    for first, returned in (("c", FEE), ("d", 2 * FEE)):
        records = {"c": "1", "d": "2"} if first == "c" else {"c": "2", "d": "1"}
        two = [("acme", "c", 1, 0, records["c"], 300), ("acme", "d", 1, 0, records["d"], 301)]
        assert one(rows, loaded, calls=calls(*two))["connection_fees_returned"] == returned
        assert one(rows, loaded, calls=calls(*reversed(two)))["connection_fees_returned"] == returned


def test_calls_without_a_connection_fee_use_up_free_minutes_too():
    prices = [timed("c", "0.6", connection_fee=FEE), timed("v", "0.6", line="video")]
    loaded = load(prices, FREE_MINUTES)
    assert tiers.needs_calls(loaded) == ["c", "v"]
    rows = daily(("acme", "v", 1, 550, "video"), ("acme", "c", 1, 100, "call"))
    both = calls(("acme", "v", 1, 1, "v", 550), ("acme", "c", 1, 2, "c", 100))
    assert one(rows, loaded, calls=both)["connection_fees_returned"] == 0
    later = calls(("acme", "v", 1, 2, "v", 550), ("acme", "c", 1, 1, "c", 100))
    assert one(rows, loaded, calls=later)["connection_fees_returned"] == FEE


def test_in_a_volume_ladder_the_month_decides_whether_all_calls_were_free():
    loaded = load(
        [timed("c", "0.6", connection_fee=FEE)],
        [rung("t", 0, "0", model="volume"), rung("t", 10, "0.6", model="volume")],
    )
    free, beyond = (
        calls(("acme", "c", 1, 0, "a", 600)),
        calls(("acme", "c", 1, 0, "a", 600), ("acme", "c", 2, 0, "b", 1)),
    )
    assert one(daily(("acme", "c", 1, 600), line="call"), loaded, calls=free)["connection_fees_returned"] == FEE
    rows = daily(("acme", "c", 1, 600), ("acme", "c", 2, 1), line="call")
    assert one(rows, loaded, calls=beyond)["connection_fees_returned"] == 0


def test_nothing_is_given_back_on_days_without_a_version_or_to_nobody():
    late = [{**r, "valid_from": date(2026, 9, 2)} for r in FREE_MINUTES]
    loaded = load([timed("c", "0.6", connection_fee=FEE)], late)
    rows = daily(("acme", "c", 1, 60), ("acme", "c", 2, 60), line="call")
    two = calls(("acme", "c", 1, 0, "a", 60), ("acme", "c", 2, 0, "b", 60), ("unassigned", "c", 2, 0, "n", 60))
    assert one(rows, loaded, calls=two)["connection_fees_returned"] == FEE


def test_free_minutes_of_other_months_are_not_this_month_s():
    loaded = load([timed("c", "0.6", connection_fee=FEE)], FREE_MINUTES)
    call = calls(("acme", "c", 1, 0, "b", 600))
    others = [call.with_columns(occurred_at=pl.col("occurred_at").dt.offset_by(by)) for by in ("-1d", "30d")]
    rows = daily(("acme", "c", 1, 600), line="call")
    assert one(rows, loaded, calls=pl.concat([call, *others]))["connection_fees_returned"] == FEE


def test_an_unanswered_call_paid_no_fee_and_gets_none_back():
    loaded = load([timed("c", "0.6", connection_fee=FEE)], FREE_MINUTES)
    two = calls(("acme", "c", 1, 0, "a", 0), ("acme", "c", 1, 5, "b", 60))
    assert one(daily(("acme", "c", 1, 60), line="call"), loaded, calls=two)["connection_fees_returned"] == FEE


def test_calls_are_needed_only_where_a_fee_may_come_back():
    paid = [rung("t", 0, "0.1"), rung("u", 0, "0")]
    fees = [
        timed("c", "0.6", connection_fee=FEE),
        timed("v", "0.6", "u", line="video"),
        timed("n", "1", None, "campaign_call", connection_fee=FEE),
    ]
    assert tiers.needs_calls(load(fees, paid)) == []
    assert tiers.needs_calls(load([timed("c", "0.6", connection_fee=Decimal(0))], FREE_MINUTES)) == []
    with pytest.raises(ValueError, match="need the calls"):
        tiers.adjustments(
            daily(("acme", "c", 1, 60), line="call"), load([timed("c", "0.6", connection_fee=FEE)], FREE_MINUTES), MONTH
        )


# ------------------------------------------------------------------------------------------------ range


def test_an_amount_that_cannot_be_stored_stops_the_month_and_names_the_ladder():
    loaded = load([text("p", "0")], [rung("t", 0, "999999999.999999999")])
    assert one(daily(("acme", "p", 1, 1)), loaded)["ladder_amount"] == Decimal("999999999.999999999")
    with pytest.raises(OutOfRange, match="ladder_amount of ladder 't' exceeds 999999999 for account 'acme'"):
        tiers.adjustments(daily(("acme", "p", 1, 2)), loaded, MONTH)
    loaded = load([text("p", "999999999")], [rung("t", 0, "1")])
    with pytest.raises(OutOfRange, match="list_amount"):
        tiers.adjustments(daily(("acme", "p", 1, 2)), loaded, MONTH)


def test_quantities_whose_sum_passes_int64_are_refused_not_wrapped():
    tiny = load([text("p", "0")], [rung("t", 0, "0.000000001")])
    assert one(daily(("acme", "p", 1, 10**17)), tiny)["ladder_amount"] == 10**8
    loaded = load([text("p", "0.01")], [rung("t", 0, "0.01")])
    huge = daily(*(("acme", "p", day, 2**62) for day in range(1, 8)))
    with pytest.raises(OutOfRange, match="total of ladder 't'"):
        tiers.adjustments(huge, loaded, MONTH)


# ------------------------------------------------------------------------------------------------ the clerk


def version_of(rungs: list[dict], tier_id: str, day: date) -> list[dict]:
    """The rungs of a ladder that price ``day``, lowest first: of those that speak of it, the ones recorded last."""
    speaking = [r for r in rungs if r["tier_id"] == tier_id and in_force(r, day)]
    newest = max((r["recorded_at"] for r in speaking), default=None)
    return sorted((r for r in speaking if r["recorded_at"] == newest), key=lambda r: r["from_quantity"])


def rung_of(version: list[dict], n: int, total: int, per: int) -> dict:
    """The rung that prices the ``n``-th data unit of the month; ``per`` of them make a priced unit."""
    place = total if version[0]["model"] == "volume" else n
    return [r for r in version if r["from_quantity"] * per < place][-1]


def unit_price(here: dict, n: int, per: int) -> Fraction:
    """What the ``n``-th data unit of the month adds, by its rung: price, and flat fee where it is the first there."""
    into = n - here["from_quantity"] * per - 1
    first = n == 1 if here["model"] == "volume" else into == 0
    flat = Fraction(here["flat_fee"] or 0) if first else Fraction(0)
    if here["model"] == "package":
        return flat + (Fraction(here["price"]) if into % ((here["package_size"] or 1) * per) == 0 else 0)
    return flat + Fraction(here["price"]) / per


def clerk(events: list[dict], prices: list[dict], rungs: list[dict]) -> dict[tuple[str, str], tuple]:
    """Every unit of every event, one after the other. (account, ladder) → quantity, list, ladder, returned."""
    by_rate = {p["rate_id"]: p for p in prices if p["tier_id"]}
    pools = defaultdict(list)
    for event in events:
        if event["rate_id"] in by_rate and event["quantity"] and event["account_id"] != "unassigned":
            pools[event["account_id"], by_rate[event["rate_id"]]["tier_id"]].append(event)
    result = {}
    for (account, tier), pool in pools.items():
        total = sum(e["quantity"] for e in pool)
        listed, ladder, returned, n, ever = defaultdict(Fraction), Fraction(0), Decimal(0), 0, False
        for event in sorted(pool, key=lambda e: (e["occurred_at"], e["record_id"])):
            row = by_rate[event["rate_id"]]
            per = 60 if row["line"] in TIMED_LINES else 1
            version = version_of(rungs, tier, event["occurred_at"].date())
            ever, free = ever or bool(version), bool(version)
            for _ in range(event["quantity"]):
                n += 1
                listed[row["rate_id"]] += Fraction(row["price"]) / per
                if not version:
                    ladder += Fraction(row["price"]) / per
                    continue
                here = rung_of(version, n, total, per)
                ladder += unit_price(here, n, per)
                free = free and here["price"] == 0
            if free:
                returned += row["connection_fee"] or 0
        if ever:
            result[account, tier] = (total, sum(map(nano, listed.values())), nano(ladder), returned)
    return result


def rolled_up(events: list[dict]) -> pl.DataFrame:
    full = [
        (e["account_id"], e["rate_id"], e["line"], "USD", e["occurred_at"].date(), e["quantity"])
        for e in events
    ]  # fmt: skip
    frame = pl.DataFrame(full, schema=DAILY, orient="row")
    return frame.group_by("account_id", "rate_id", "line", "currency", "date").agg(pl.col("quantity").sum())


def as_calls(events: list[dict], rates: list[str]) -> pl.DataFrame:
    chosen = [e for e in events if e["rate_id"] in rates]
    return pl.DataFrame([{c: e.get(c) for c in CALLS} for e in chosen], schema=CALLS)


def rows_of(found: pl.DataFrame) -> dict:
    for row in found.iter_rows(named=True):
        assert row["charge"] == row["ladder_amount"] - row["list_amount"] - row["connection_fees_returned"]
    amounts = ("quantity", "list_amount", "ladder_amount", "connection_fees_returned")
    return {(r["account_id"], r["tier_id"]): tuple(r[a] for a in amounts) for r in found.iter_rows(named=True)}


money = st.sampled_from([Decimal(p) for p in ("0", "0", "0.000000001", "0.000000007", "0.0083", "0.02", "1.5")])
cut_days = [date(2026, 9, 9), date(2026, 9, 17)]


@st.composite
def ladders(draw, tier_id: str, most: int) -> list[dict]:
    """One to three versions, some days perhaps without one, perhaps corrected later; ``most`` bounds the rungs."""
    ends = [date(2026, 1, 1), *draw(st.sampled_from([[], cut_days[:1], cut_days])), None]
    spans = list(zip(ends, ends[1:], strict=False))
    if len(spans) > 1 and draw(st.booleans()):
        spans.pop(draw(st.integers(0, len(spans) - 1)))
    stays = [(*span, date(2026, 1, 1)) for span in spans]
    if draw(st.integers(0, 3)) == 0:
        stays.append((cut_days[0], draw(st.sampled_from([None, cut_days[1]])), date(2026, 2, 1)))
    rungs = []
    for start, end, known in stays:
        model = draw(st.sampled_from(["graduated", "package", "volume"]))
        for begins in [0, *sorted(draw(st.sets(st.integers(1, most), max_size=3)))]:
            size = draw(st.integers(1, 4)) if model == "package" else None
            rungs.append(
                rung(
                    tier_id,
                    begins,
                    "0",
                    model=model,
                    price=draw(money),
                    flat_fee=draw(st.one_of(st.none(), money)),
                    package_size=size,
                    valid_from=start,
                    valid_to=end,
                    recorded_at=known,
                )  # fmt: skip
            )
    return draw(st.permutations(rungs))


@st.composite
def worlds(draw) -> tuple[list[dict], list[dict], list[dict]]:
    """(price rows, rungs, events): a ladder of texts and one of minutes."""
    prices = [
        text("out", "0", "texts", direction="outbound", prefix=""),
        text("in", "0", "texts", direction="inbound", prefix=""),
        text("plain", "0", None, prefix="44"),
        timed("call", "0", "minutes"), timed("video", "0", "minutes", line="video"),
    ]  # fmt: skip
    for row in prices:
        row["price"] = draw(money)
        if row["line"] in TIMED_LINES:
            row["connection_fee"] = draw(st.sampled_from([None, Decimal("0.05"), Decimal("0.07")]))
    rungs = draw(ladders("texts", 12)) + draw(ladders("minutes", 6))
    events = []
    for i in range(draw(st.integers(0, 14))):
        row = draw(st.sampled_from(prices))
        events.append(
            {
                "account_id": draw(st.sampled_from(["acme", "acme", "acme", "bolt", "unassigned"])),
                "rate_id": row["rate_id"],
                "line": row["line"],
                "record_id": f"r{draw(st.integers(0, 99))}-{i}",
                "occurred_at": datetime(2026, 9, draw(st.sampled_from([1, 8, 9, 16, 17, 30])), tzinfo=UTC)
                + timedelta(seconds=draw(st.sampled_from([0, 1, 86_399]))),
                "quantity": draw(
                    st.integers(0, 8) if row["line"] == "text" else st.sampled_from([0, 1, 59, 60, 61, 120, 180])
                ),
            }
        )
    return prices, rungs, events


@pytest.mark.brief(50)
@settings(max_examples=150, deadline=None)
@given(worlds())
def test_every_ladder_is_what_a_clerk_makes_of_it_unit_by_unit(world):
    prices, rungs, events = world
    loaded = load(prices, rungs)
    found = tiers.adjustments(rolled_up(events), loaded, MONTH, as_calls(events, tiers.needs_calls(loaded)))
    assert rows_of(found) == clerk(events, prices, rungs)


@settings(max_examples=40, deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_neither_order_nor_the_splitting_of_rows_matters(world, random):
    prices, rungs, events = world
    loaded = load(prices, rungs)
    rates = tiers.needs_calls(loaded)
    whole = tiers.adjustments(rolled_up(events), loaded, MONTH, as_calls(events, rates))
    mixed = random.sample(events, len(events))
    split = pl.concat([rolled_up([e]) for e in mixed]) if mixed else rolled_up([])
    shuffled = load(random.sample(prices, len(prices)), random.sample(rungs, len(rungs)))
    assert_frame_equal(whole, tiers.adjustments(split, shuffled, MONTH, as_calls(mixed, rates)))


@settings(max_examples=60, deadline=None)
@given(ladders("t", 12), st.lists(st.integers(0, 5), min_size=30, max_size=30), st.sampled_from(["text", "call"]))
def test_thirty_days_come_to_what_their_versions_make_of_them_at_once(rungs, quantities, line):
    """All usage of the days between two changes, moved to the first of them that had any: the same amount."""
    row = text("p", "0.0083") if line == "text" else timed("p", "0.0083")
    loaded = load([row], rungs)
    spread = [("acme", "p", day, q * (1 if line == "text" else 31)) for day, q in enumerate(quantities, 1)]
    at_once: dict[tuple, list] = {}
    for account, rate_id, day, quantity in spread:
        stretch = sum(SEPTEMBER[day - 1] >= change for change in cut_days)
        if quantity:
            at_once.setdefault((account, rate_id, stretch), [day, 0])[1] += quantity
    joined = [(account, rate_id, day, quantity) for (account, rate_id, _), (day, quantity) in at_once.items()]
    found = tiers.adjustments(daily(*spread, line=line), loaded, MONTH)
    assert_frame_equal(found, tiers.adjustments(daily(*joined, line=line), loaded, MONTH))


@settings(max_examples=40, deadline=None)
@given(ladders("t", 12), st.integers(1, 40), st.integers(1, 40))
def test_one_version_graduated_or_in_packages_depends_on_the_total_alone(rungs, first, second):
    """cost(before + q) - cost(before), summed, is cost(all)."""
    newest = version_of(rungs, "t", date(2026, 9, 30))
    assume(newest and newest[0]["model"] != "volume")
    loaded = load([text("p", "1")], [{**r, "valid_from": date(2026, 1, 1), "valid_to": None} for r in newest])
    apart = one(daily(("acme", "p", 1, first), ("acme", "p", 30, second)), loaded)
    assert apart == one(daily(("acme", "p", 15, first + second)), loaded)
