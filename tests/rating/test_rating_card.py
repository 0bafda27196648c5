"""The rate card's files: every bad row is named with file and line, what it lacks is said before it is missed."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
import rating_worlds as made
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE
from rating_reference import known
from rating_worlds import fee, price

from etl.money import MONEY
from etl.rating import card
from etl.schemas import LINES, TIMED_LINES
from etl.settings import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "config" / "rates"


def rung(tier_id: str, from_quantity: object, **given) -> dict:
    """A rung of a graduated ladder in USD from 2026-01-01 unless told otherwise."""
    return dict.fromkeys(card.TIER_COLUMNS) | {
        "tier_id": tier_id, "model": "graduated", "from_quantity": from_quantity, "price": Decimal("0.01"),
        "currency": "USD", "valid_from": date(2026, 1, 1), "recorded_at": date(2026, 1, 1),
    } | given  # fmt: skip


def load(folder: Path, prices=(), fees=(), tiers=()) -> card.RateCard:
    made.write_csv(folder / "prices.csv", card.PRICE_COLUMNS, list(prices))
    made.write_csv(folder / "carrier_fees.csv", card.FEE_COLUMNS, list(fees))
    made.write_csv(folder / "tiers.csv", card.TIER_COLUMNS, list(tiers))
    return card.load(folder)


def sentences_of(error: pytest.ExceptionInfo) -> list[str]:
    return [line.strip() for line in str(error.value).splitlines()[1:]]


def complaints(prices=(), fees=()) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        made.load_card(list(prices), list(fees))
    return sentences_of(caught)


# ------------------------------------------------------------------------------------------------ the example


def test_the_example_cards_load_and_have_no_gap():
    loaded = card.load(EXAMPLE)
    assert loaded.names() == {"standard", "plan"}
    assert card.gaps(loaded, date(2026, 1, 1), date(2027, 1, 1)) == []


@pytest.mark.parametrize("name", ["standard", "plan"])
def test_an_example_card_prices_every_line_that_a_price_makes(name):
    elsewhere = {"carrier_fee", "tier_adjustment", "adjustment", "subscription", "credit_pack"}
    prices = card.load(EXAMPLE).prices.filter(pl.col("rate_card") == name)
    assert set(prices["line"]) == set(LINES) - elsewhere


def test_on_the_plan_card_texts_cost_credits_and_no_money():
    prices = card.load(EXAMPLE).prices.filter(pl.col("line") == "text", pl.col("rate_card") == "plan")
    assert set(prices["price"]) == {Decimal(0)}


CARRIERS = ("AT&T", "T-Mobile", "Verizon", "US Cellular", "Other", None)
SENDERS = [*itertools.product((True, False), ("local", "tollfree", "shortcode", "mobile")), (None, None)]


def fees_on(fees: list[dict], day: date, **text) -> list[dict]:
    """The rows of the fee table that match a text, those with the fewest empty cells."""
    wild = ("carrier", "direction", "type", "registered", "number_class")
    fitting = [r for r in known(fees, card.FEE_KEY, day) if all(r[c] is None or r[c] == text[c] for c in wild)]
    empty = [sum(r[c] is None for c in wild) for r in fitting]
    return [r for r, n in zip(fitting, empty, strict=True) if n == min(empty)]


def test_in_the_example_every_text_has_one_fee_on_every_day_of_2026():
    """No gap, and no two rows between which only their names would decide."""
    fees = card.load(EXAMPLE).fees.to_dicts()
    days = {d for r in fees for d in (r["valid_from"], r["valid_to"]) if d and d.year == 2026} | {date(2026, 12, 31)}
    for day, carrier, direction, type_, (registered, number_class) in itertools.product(
        sorted(days), CARRIERS, ("inbound", "outbound"), ("sms", "mms"), SENDERS
    ):
        text = {"carrier": carrier, "direction": direction, "type": type_, "registered": registered}
        found = fees_on(fees, day, **text, number_class=number_class)
        assert len(found) == 1, (day, text, number_class, found)


@pytest.mark.parametrize(
    ("carrier", "day", "text", "amount"),
    [
        ("AT&T", "2026-03-31", "outbound sms local", "0.0030"),
        ("AT&T", "2026-04-01", "outbound sms local", "0.0035"),
        ("AT&T", "2026-11-01", "inbound mms shortcode", "0.0090"),
        ("T-Mobile", "2026-01-18", "outbound sms tollfree", "0.0030"),
        ("T-Mobile", "2026-01-19", "outbound sms tollfree", "0.0045"),
        ("T-Mobile", "2026-11-01", "inbound sms local", "0.0025"),
        ("Verizon", "2026-04-30", "outbound mms shortcode", "0.0065"),
        ("Verizon", "2026-05-01", "outbound mms shortcode", "0.0070"),
        ("Verizon", "2026-11-01", "inbound sms local", "0"),
        ("US Cellular", "2026-11-01", "outbound sms local", "0.0050"),
        ("Other", "2026-11-01", "outbound sms local", "0.0040"),
        ("Other", "2026-11-01", "outbound mms local", "0.0100"),
    ],
)
def test_carriers_revised_their_fees_in_2026(carrier, day, text, amount):
    direction, type_, number_class = text.split()
    (found,) = fees_on(
        card.load(EXAMPLE).fees.to_dicts(), date.fromisoformat(day), carrier=carrier, direction=direction, type=type_,
        registered=True, number_class=number_class,
    )  # fmt: skip
    assert found["price"] == Decimal(amount)


@pytest.mark.parametrize(
    ("day", "amounts"),
    [("2024-06-01", "0.0080 0.0170"), ("2025-01-31", "0.0120 0.0210"), ("2026-06-01", "0.0120 0.0210")],
)
def test_unregistered_texts_have_a_history_and_a_price_today(day, amounts):
    fees = card.load(EXAMPLE).fees.to_dicts()
    text = {"carrier": "T-Mobile", "direction": "outbound", "registered": False, "number_class": "local"}
    found = [fees_on(fees, date.fromisoformat(day), type=t, **text)[0]["price"] for t in ("sms", "mms")]
    assert found == [Decimal(a) for a in amounts.split()]


# ------------------------------------------------------------------------------------------------ prices and fees


def test_amounts_are_exact_wildcards_are_null_and_prefixes_lose_their_plus():
    loaded = made.load_card([price("p", prefix="+1", price=Decimal("0.000000001"))], [fee("f", registered=False)])
    row, fee_row = loaded.prices.row(0, named=True), loaded.fees.row(0, named=True)
    assert (row["price"], row["prefix"], row["direction"], row["valid_to"]) == (Decimal("0.000000001"), "1", None, None)
    assert (fee_row["registered"], fee_row["prefix"], fee_row["carrier"]) == (False, "", None)


@pytest.mark.parametrize(("written", "meant"), [("true", True), ("TRUE", True), ("False", False), ("FALSE", False)])
def test_true_and_false_may_stand_as_spreadsheets_write_them(written, meant):
    row = price("c", line="call") | {"bill_unanswered": written}
    loaded = made.load_card([row], [fee("f") | {"registered": written}])
    assert (loaded.prices["bill_unanswered"].item(), loaded.fees["registered"].item()) == (meant, meant)


@pytest.mark.parametrize("line", TIMED_LINES)
def test_what_is_priced_by_the_minute_needs_its_terms(line):
    terms = {"minimum_seconds": 60, "increment_seconds": 6, "clock": "dial", "bill_unanswered": True}
    row = price("c", line=line) | dict.fromkeys(terms)
    loaded = made.load_card([row | terms])
    assert {k: v for k, v in loaded.prices.row(0, named=True).items() if k in terms} == terms
    for lacking in terms:
        assert complaints([row | terms | {lacking: None}]), lacking


@pytest.mark.parametrize("line", [x for x in LINES if x not in TIMED_LINES])
def test_no_other_line_has_terms_of_a_call(line):
    for column in ("minimum_seconds", "clock", "connection_fee"):
        assert complaints([price("c", line=line) | {column: 60}]), column


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("carrier_fee", "stands in carrier_fees.csv"),
        ("tier_adjustment", "follows from tiers.csv"),
        ("adjustment", "stands in adjustments.csv"),
        ("subscription", "stands in plans.csv and subscriptions.csv"),
        ("credit_pack", "stands in purchases.csv"),
    ],
)
def test_lines_that_have_no_price_are_told_where_they_belong(line, said):
    (found,) = complaints([price("p", line=line)])
    assert found.startswith(f"prices.csv line 2: {line} has no price here: it {said}")


@pytest.mark.parametrize("line", ["number", "recording_storage"])
def test_what_is_held_goes_in_no_direction(line):
    (found,) = complaints([price("p", line=line, direction="outbound")])
    assert found == f"prices.csv line 2: {line} goes in no direction: leave direction empty"
    made.load_card([price("p", line=line)])


@pytest.mark.parametrize(
    "prefix", ["1", "4", "44", "442", "1206", "88", "979", "8835100", *(str(c) for c in COUNTRY_CODE_TO_REGION_CODE)]
)
def test_prefixes_that_reach_a_country_or_a_service_without_one(prefix):
    assert made.load_card([price("p", prefix=prefix)]).prices["prefix"].item() == prefix


@pytest.mark.parametrize("prefix", ["999", "210", "+2101", "3841", "8011", "9991206"])
def test_a_prefix_that_reaches_nobody_is_an_error(prefix):
    found = complaints([price("p", prefix=prefix)], [fee("f", prefix=prefix)])
    assert found == [
        f"{file} line 2: prefix {prefix!r} begins with no country calling code there is"
        for file in ("prices.csv", "carrier_fees.csv")
    ]


def test_the_library_of_numbers_is_not_loaded_before_it_is_used():
    code = "import sys, etl.rating.card; print('phonenumbers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rate_id": None}, "rate_id is empty"),
        ({"line": "txet"}, "line 'txet' must be one of number, call, text,"),
        ({"line": None}, "rate_card and line are needed"),
        ({"rate_card": None}, "rate_card and line are needed"),
        ({"direction": "out"}, "direction 'out' must be empty or one of inbound, outbound"),
        ({"type": "SMS"}, "type 'SMS' must be empty or one of"),
        ({"number_class": "free"}, "number_class 'free' must be empty or one of"),
        ({"price": "1e-3"}, "price '1e-3' must be a number with at most 9 decimals"),
        ({"price": "0.0000000001"}, "price '0.0000000001' must be a number with at most 9 decimals"),
        ({"price": "0,01"}, "price '0,01' must be a number"),
        ({"price": None}, "price None must be a number"),
        ({"price": "-0.01"}, "price -0.01 is negative"),
        ({"prefix": "0049"}, "prefix '0049' must be empty or the first digits"),
        ({"prefix": "²"}, "prefix '²' must be empty or the first digits"),
        ({"prefix": "٤٤"}, "prefix '٤٤' must be empty or the first digits"),
        ({"prefix": "1234567890123456"}, "must be empty or the first digits"),
        ({"prefix": "++1"}, "must be empty or the first digits"),
        ({"currency": "usd"}, "currency 'usd' must be three capital letters"),
        ({"currency": "US1"}, "currency 'US1' must be three capital letters"),
        ({"currency": None}, "currency None must be three capital letters"),
        ({"valid_from": None}, "valid_from None must be a day"),
        ({"valid_from": "01.01.2026"}, "valid_from '01.01.2026' must be a day"),
        ({"recorded_at": "2026-02-30"}, "recorded_at '2026-02-30' must be a day"),
        ({"valid_to": "never"}, "valid_to 'never' must be empty or a day"),
        ({"valid_to": "2026-01-01"}, "valid_to must lie after valid_from"),
        ({"minimum_seconds": 60}, "minimum_seconds belong to calls, not to text"),
        ({"line": "call", "minimum_seconds": "1.5"}, "minimum_seconds '1.5' must be whole seconds"),
        ({"line": "call", "increment_seconds": 0}, "increment_seconds '0' must be whole seconds"),
        ({"line": "campaign_call", "increment_seconds": None}, "increment_seconds None must be whole seconds"),
        ({"line": "call", "clock": None}, "needs clock (dial or answer) and bill_unanswered"),
        ({"line": "call", "clock": "answered"}, "clock 'answered' must be empty or one of dial, answer"),
        ({"line": "call", "bill_unanswered": "no"}, "bill_unanswered 'no' must be empty or one of true, false"),
        ({"line": "video", "clock": None}, "needs clock (dial or answer) and bill_unanswered"),
        ({"valid_from": "2026-1-1"}, "valid_from '2026-1-1' must be a day"),
        ({"line": "call", "connection_fee": "free"}, "connection_fee 'free' must be a number, 0 or more"),
        ({"line": "call", "connection_fee": "-1"}, "connection_fee '-1' must be a number, 0 or more"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_price_is_named_by_file_and_line(wrong, said):
    found = complaints([price("fine"), price("bad", line=wrong.get("line", "text")) | {"prefix": "49"} | wrong])
    assert any(line.startswith("prices.csv line 3: ") and said in line for line in found), found
    assert not any("line 2:" in line for line in found), found


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"fee_id": None}, "fee_id is empty"),
        ({"registered": "maybe"}, "registered 'maybe' must be empty or one of true, false"),
        ({"price": "free"}, "price 'free' must be a number"),
        ({"currency": "US"}, "currency 'US' must be three capital letters"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_fee_is_named_by_file_and_line(wrong, said):
    found = complaints(fees=[fee("fine"), fee("bad") | {"prefix": "49"} | wrong])
    assert any(line.startswith("carrier_fees.csv line 3: ") and said in line for line in found), found


def test_every_bad_row_is_listed_not_just_the_first():
    found = complaints(
        [price("a", currency="usd"), price("b", prefix="x"), price("a", prefix="2")], [fee("f", price="?")]
    )
    assert [line.split(":")[0] for line in found] == [
        "prices.csv line 2", "prices.csv line 3", "prices.csv line 4", "carrier_fees.csv line 2",
    ]  # fmt: skip
    assert "'a' stands already on line 2" in found[2]


# ------------------------------------------------------------------------------------------------ overlaps


def test_two_prices_for_one_day_recorded_together_are_refused():
    rows = [
        price("a", valid_to=date(2026, 6, 2)),
        price("b", valid_from=date(2026, 6, 1)),
    ]
    (found,) = complaints(rows)
    assert found.startswith("prices.csv line 3: 'b' overlaps 'a' from 2026-06-01: end one of them")


def test_an_overlap_is_found_whatever_stands_between():
    """A year's price, and two short ones within it: both lie inside the first."""
    rows = [
        price("year", valid_to=date(2027, 1, 1)),
        price("spring", valid_from=date(2026, 3, 1), valid_to=date(2026, 4, 1)),
        price("autumn", valid_from=date(2026, 9, 1), valid_to=date(2026, 10, 1)),
    ]
    assert complaints(rows)
    assert complaints([rows[0], rows[2]])


@pytest.mark.parametrize(
    "other",
    [
        {"valid_from": date(2026, 6, 1)},
        {"recorded_at": date(2026, 5, 1)},
        {"prefix": "1"},
        {"direction": "outbound"},
        {"rate_card": "other"},
        {"currency": "EUR"},
    ],
    ids=str,
)
def test_rows_that_follow_correct_or_differ_do_not_overlap(other):
    made.load_card([price("a", valid_to=date(2026, 6, 1)), price("b", **other)])


def test_fees_overlap_too():
    (found,) = complaints(fees=[fee("a", registered=True), fee("b", registered=True)])
    assert found.startswith("carrier_fees.csv line 3: 'b' overlaps 'a'")


# ------------------------------------------------------------------------------------------------ gaps


def gaps(*rows: dict) -> list[str]:
    """Within 2026-03 and 2026-04."""
    return card.gaps(made.load_card(list(rows)), date(2026, 3, 1), date(2026, 5, 1))


def test_a_price_that_lapses_before_the_next_is_a_gap():
    rows = price("a", valid_to=date(2026, 3, 10)), price("b", valid_from=date(2026, 3, 12))
    assert gaps(*rows) == ["prices.csv: nothing follows 'a' from 2026-03-10 until 2026-03-12"]


def test_a_gap_that_began_before_and_ends_within_is_one():
    rows = price("a", valid_to=date(2026, 2, 1)), price("b", valid_from=date(2026, 3, 5))
    assert gaps(*rows) == ["prices.csv: nothing follows 'a' from 2026-02-01 until 2026-03-05"]


def test_a_price_without_successor_is_a_gap_unless_it_was_retired_before():
    assert gaps(price("a", valid_to=date(2026, 4, 1))) == [
        "prices.csv: nothing follows 'a' from 2026-04-01 until further notice"
    ]
    assert gaps(price("a", valid_to=date(2026, 2, 1))) == []


def test_prices_that_follow_one_another_or_end_later_are_no_gap():
    assert gaps(price("a", valid_to=date(2026, 3, 10)), price("b", valid_from=date(2026, 3, 10))) == []
    assert gaps(price("a", valid_to=date(2026, 5, 1))) == []
    assert gaps(price("a", valid_to=date(2026, 3, 10)), price("b", recorded_at=date(2026, 1, 2))) == []


def test_a_lapsed_fee_is_a_gap_too():
    loaded = made.load_card([price("p")], [fee("f", valid_to=date(2026, 3, 2))])
    assert card.gaps(loaded, date(2026, 3, 1), date(2026, 5, 1)) == [
        "carrier_fees.csv: nothing follows 'f' from 2026-03-02 until further notice"
    ]


def test_a_ladder_that_lapses_says_that_list_prices_apply(tmp_path):
    first, second = {"valid_to": date(2026, 3, 10)}, {"valid_from": date(2026, 3, 12)}
    rungs = [rung("t", 0, **first), rung("t", 10, **first), rung("t", 0, **second), rung("t", 20, **second)]
    loaded = load(tmp_path, [price("p", type="sms", tier_id="t")], tiers=rungs)
    assert card.gaps(loaded, date(2026, 3, 1), date(2026, 5, 1)) == [
        "tiers.csv: nothing follows 't' from 2026-03-10 until 2026-03-12: list prices apply"
    ]
    loaded = load(
        tmp_path, [price("p", type="sms", tier_id="t")], tiers=[*rungs, rung("t", 0, recorded_at=date(2026, 1, 2))]
    )
    assert card.gaps(loaded, date(2026, 3, 1), date(2026, 5, 1)) == []


# ------------------------------------------------------------------------------------------------ ladders


def tier_complaints(folder: Path, tiers, prices=None) -> list[str]:
    rows = [price("p", type="sms", tier_id="t")] if prices is None else prices
    with pytest.raises(ConfigurationError) as caught:
        load(folder, rows, tiers=tiers)
    return sentences_of(caught)


def test_ladders_are_typed_and_may_be_absent(tmp_path):
    rows = [rung("t", 0, flat_fee=Decimal("1.5")), rung("t", 500, model="graduated")]
    loaded = load(tmp_path, [price("p", type="sms", tier_id="t")], tiers=rows).tiers
    assert loaded.columns == list(card.TIER_COLUMNS)
    types = dict(zip(loaded.columns, loaded.dtypes, strict=True))
    assert [types[c] for c in ("from_quantity", "price", "flat_fee", "package_size", "valid_to")] == [
        pl.Int64, MONEY, MONEY, pl.Int64, pl.Date,
    ]  # fmt: skip
    assert loaded["flat_fee"].to_list() == [Decimal("1.5"), Decimal(0)]
    without = made.load_card([price("p")])
    assert (without.tiers.height, dict(without.tiers.schema)) == (0, types)
    assert without.prices["tier_id"].to_list() == [None]


def test_prices_need_no_column_for_ladders(tmp_path):
    made.write_csv(tmp_path / "prices.csv", tuple(c for c in card.PRICE_COLUMNS if c != "tier_id"), [price("p")])
    made.write_csv(tmp_path / "carrier_fees.csv", card.FEE_COLUMNS, [])
    assert card.load(tmp_path).prices["tier_id"].to_list() == [None]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model": "tiered"}, "model 'tiered' must be one of graduated, volume, package"),
        ({"model": None}, "model None must be one of"),
        ({"from_quantity": "-1"}, "from_quantity '-1' must be a whole number, 0 or more"),
        ({"from_quantity": "1.5"}, "from_quantity '1.5' must be a whole number"),
        ({"from_quantity": None}, "from_quantity None must be a whole number"),
        ({"price": "-0.01"}, "price -0.01 is negative"),
        ({"price": None}, "price None must be a number"),
        ({"flat_fee": "-1"}, "flat_fee '-1' must be empty or a number, 0 or more"),
        ({"flat_fee": "free"}, "flat_fee 'free' must be empty or a number"),
        ({"package_size": 100}, "package_size belongs to the model package, not to graduated"),
        ({"model": "package"}, "package_size None must be a whole number, 1 or more"),
        ({"model": "package", "package_size": 0}, "package_size '0' must be a whole number, 1 or more"),
        ({"model": "package", "package_size": "1.5", "price": 0}, "package_size '1.5' must be a whole number"),
        ({"currency": "usd"}, "currency 'usd' must be three capital letters"),
        ({"valid_from": None}, "valid_from None must be a day"),
        ({"valid_to": "2025-01-01"}, "valid_to must lie after valid_from"),
        ({"recorded_at": "soon"}, "recorded_at 'soon' must be a day"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_rung_is_named_by_file_and_line(wrong, said, tmp_path):
    """And only it: a rung that cannot be read must not make its ladder look incomplete."""
    found = tier_complaints(tmp_path, [rung("t", 0), rung("u", 10), rung("u", 0) | wrong])
    assert [line for line in found if not line.startswith("tiers.csv line 4: ")] == []
    assert any(said in line for line in found), found


def test_a_rung_of_no_ladder_is_named(tmp_path):
    (found,) = tier_complaints(tmp_path, [rung("t", 0), rung(None, 0)])
    assert found.startswith("tiers.csv line 3: tier_id is empty")


def test_a_free_rung_of_packages_needs_no_size(tmp_path):
    rows = [rung("t", 0, model="package", price=0), rung("t", 100, model="package", price=5, package_size=100)]
    assert load(tmp_path, [price("p", type="sms", tier_id="t")], tiers=rows).tiers["package_size"].to_list() == [
        None,
        100,
    ]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([rung("t", 1)], "tiers.csv line 2: 't' has no rung from 0 with these dates"),
        (
            [rung("t", 0), rung("t", 5), rung("t", 5)],
            "tiers.csv line 4: 't' has this rung, from 5, already on line 3",
        ),
        (
            [rung("t", 0), rung("t", 5, model="volume")],
            "tiers.csv line 3: 't' has model graduated on line 2, here volume",
        ),
        ([rung("t", 0), rung("t", 5, currency="EUR")], "tiers.csv line 3: 't' has currency USD on line 2, here EUR"),
        (
            [rung("t", 0), rung("t", 0, valid_from=date(2026, 6, 1))],
            "tiers.csv line 3: 't' overlaps 't' from 2026-06-01: end one of them, or give the correction a later",
        ),
        # One rung without the end the others have is a version of its own.
        (
            [rung("t", 0, valid_to=date(2026, 6, 1)), rung("t", 5)],
            "tiers.csv line 3: 't' has no rung from 0 with these dates",
        ),
    ],
    ids=["not from 0", "twice", "models", "currencies", "overlap", "one left open"],
)
def test_a_ladder_whose_rungs_do_not_fit_together_is_refused(rows, said, tmp_path):
    assert any(line.startswith(said) for line in tier_complaints(tmp_path, rows))


@pytest.mark.parametrize(
    "other",
    [
        {"valid_from": date(2026, 6, 1), "model": "volume"},
        {"recorded_at": date(2026, 2, 1)},
        {"tier_id": "u"},
    ],
    ids=str,
)
def test_versions_that_follow_correct_or_are_another_ladder_s_do_not_overlap(other, tmp_path):
    load(
        tmp_path,
        [price("p", type="sms", tier_id="t")],
        tiers=[rung("t", 0, valid_to=date(2026, 6, 1)), rung("t", 0) | other],
    )


CALL = {"line": "call", "type": None}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"tier_id": "u"}], "prices.csv line 2: tier_id 'u' is not in tiers.csv"),
        ([{"currency": "EUR"}], "prices.csv line 2: its currency is EUR, that of 't' is USD"),
        ([{"line": "number"}], "prices.csv line 2: tier_id belongs to lines charged event by event"),
        ([{"line": "credit_overage"}], "prices.csv line 2: tier_id belongs to lines charged event by event"),
        ([{"type": None}], "prices.csv line 2: a text with a tier_id needs a type, such as sms"),
        ([{}, CALL], "prices.csv line 3: 't' counts segments for 'p0': minutes cannot be added to them"),
        ([{}, {"type": "mms"}], "prices.csv line 3: 't' counts segments for 'p0': messages cannot be added to them"),
        ([CALL, {"line": "voice_detection"}], "prices.csv line 3: 't' counts minutes for 'p0': calls cannot be"),
    ],
    ids=["unknown", "currency", "held", "monthly", "any text", "minutes", "messages", "calls"],
)
def test_a_price_and_its_ladder_must_fit(rows, said, tmp_path):
    prices = [price(f"p{i}", **({"type": "sms", "tier_id": "t", "prefix": str(i + 1)} | r)) for i, r in enumerate(rows)]
    found = tier_complaints(tmp_path, [rung("t", 0)], prices)
    assert len(found) == 1 and found[0].startswith(said), found


def test_lines_of_one_unit_may_share_a_ladder(tmp_path):
    shared = {"tier_id": "t"}
    minutes = [price("c", line="call", **shared), price("k", line="campaign_call", **shared)]
    minutes.append(minutes[0] | {"rate_id": "v", "line": "video"})
    messages = [price("m", type="mms", tier_id="u"), price("f", line="failed_message", tier_id="u")]
    loaded = load(tmp_path, [*minutes, *messages], tiers=[rung("t", 0), rung("u", 0)])
    assert loaded.prices["tier_id"].to_list() == ["t", "t", "t", "u", "u"]


# ------------------------------------------------------------------------------------------------ the files themselves


def write(folder: Path, prices: str, fees: str = ",".join(card.FEE_COLUMNS) + "\n") -> Path:
    (folder / "prices.csv").write_text(prices, encoding="utf-8")
    (folder / "carrier_fees.csv").write_text(fees, encoding="utf-8")
    return folder


def test_a_missing_file_says_its_columns(tmp_path):
    with pytest.raises(ConfigurationError, match=r"prices\.csv does not exist: its columns are rate_id, rate_card"):
        card.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", r"prices\.csv is empty: its first line must be rate_id,rate_card,"),
        (",".join(card.PRICE_COLUMNS) + "\n1,2,3,4\n", r"prices\.csv is not readable as CSV"),
    ],
)
def test_a_file_that_is_no_table_is_named(tmp_path, content, said):
    with pytest.raises(ConfigurationError, match=said):
        card.load(write(tmp_path, content))


def test_a_missing_column_is_named(tmp_path):
    header = ",".join(c for c in card.PRICE_COLUMNS if c != "recorded_at")
    with pytest.raises(ConfigurationError, match=r"prices\.csv lacks the column recorded_at"):
        card.load(write(tmp_path, header + "\n"))


def test_columns_may_stand_in_any_order_and_every_cell_may_be_quoted(tmp_path):
    """As spreadsheets write them: "" is an empty cell, not a text that matches nothing."""
    row = price("p", direction=None)
    columns = [*reversed(card.PRICE_COLUMNS)]
    cells = ['"' + ("" if row[c] is None else str(row[c])) + '"' for c in columns]
    loaded = card.load(write(tmp_path, ",".join(columns) + "\r\n" + ",".join(cells) + "\r\n"))
    assert loaded.prices.columns == list(card.PRICE_COLUMNS)
    found = loaded.prices.row(0, named=True)
    assert (found["rate_id"], found["direction"], found["valid_to"], found["note"]) == ("p", None, None, None)


def test_a_misspelt_column_is_noticed(tmp_path):
    header = ",".join(card.PRICE_COLUMNS).replace("tier_id", "tier")
    with pytest.raises(ConfigurationError, match=r"prices\.csv has a column 'tier' that nothing reads"):
        card.load(write(tmp_path, header + "\n"))


def test_the_fingerprint_changes_with_prices_and_ladders(tmp_path):
    one, two = made.load_card([price("p")]), made.load_card([price("p", price=Decimal("0.02"))])
    assert one.fingerprint != two.fingerprint
    assert one.fingerprint == made.load_card([price("p")]).fingerprint
    first, second = (load(tmp_path, [price("p")], tiers=[rung("t", 0, price=p)]).fingerprint for p in ("1", "2"))
    assert first != second


# ------------------------------------------------------------------------------------------------ all rows at once

CELLS = {
    "rate_id": ("a", "b", "c", "d", "e", "f", None), "rate_card": ("standard", "standard", None),
    "line": ("text", "call", "video", "number", "recording_storage", "voice_detection", "carrier_fee", "Text", None),
    "direction": ("outbound", "up", None, None), "type": ("sms", "mms", "SMS", None), "number_class": ("local", "x", None),
    "prefix": ("+1202", "1", "+44", "+999", "+2", "+210", "01", "+1 2", "+12345678901234567", None, None),
    "currency": ("USD", "USD", "usd", "USDX", "USD\n", None), "price": ("0.01", "1", "-1", "x", "0.0000000001", None),
    "minimum_seconds": ("60", "0", "-1", "x", None, None), "increment_seconds": ("60", "0", "1", None, None),
    "clock": ("dial", "ring", None, None), "bill_unanswered": ("true", "FALSE", "maybe", None, None),
    "connection_fee": ("0", "-1", "x", None, None), "tier_id": ("t", "u", "v", None, None),
    "valid_from": ("2026-01-01", "2026-02-01", "soon", None), "valid_to": ("2026-02-01", "2026-01-01", "then", None, None),
    "recorded_at": ("2026-01-01", "2026-13-01", None), "note": (None,),
    "fee_id": ("a", "b", "c", "d", None), "carrier": ("AT&T", None), "registered": ("true", "yes", None),
}  # fmt: skip
RIGHT = {"rate_id": None, "fee_id": None} | {
    "rate_card": "standard", "line": "text", "type": "sms", "prefix": "+1202", "currency": "USD", "price": "0.01",
    "valid_from": "2026-01-01", "recorded_at": "2026-01-01",
}  # fmt: skip


@st.composite
def cards(draw, columns: tuple[str, ...]) -> pl.DataFrame:
    """A few rows as written: right ones with some cells that may be wrong, each under an id of its own or not."""
    rows = []
    for line in range(2, 2 + draw(st.integers(1, 6))):
        wrong = draw(st.lists(st.sampled_from([c for c in columns if c != "note"]), max_size=4))
        row = {c: RIGHT.get(c) for c in columns} | {columns[0]: f"id{line}"}
        rows.append({"line_number": line} | row | {c: draw(st.sampled_from(CELLS[c])) for c in wrong})
    return pl.DataFrame(rows, schema={"line_number": pl.Int64} | dict.fromkeys(columns, pl.String))


@pytest.mark.brief(75)
@settings(max_examples=300, deadline=None)
@given(cards(card.PRICE_COLUMNS), cards(card.FEE_COLUMNS))
def test_what_all_rows_are_asked_at_once_finds_what_each_by_itself_would_say(prices, fees):
    for text, problems in ((prices, card._price_problems), (fees, card._fee_problems)):
        typed = card._typed(text)
        assert list(problems(text, typed)) == list(problems(text, typed, pl.lit(True)))


@settings(max_examples=200, deadline=None)
@given(cards(card.PRICE_COLUMNS), st.sampled_from((("USD",), ("USD", "EUR"), (None,))))
def test_ladders_and_prices_that_do_not_fit_are_found_as_row_by_row(text, currencies):
    typed = card._typed(text)
    tiers = pl.DataFrame(
        [(t, c) for t in ("t", "u") for c in currencies], schema={"tier_id": pl.String, "currency": pl.String}, orient="row"
    )
    found = list(card._ladder_problems(typed, tiers))
    assert found == list(card._ladder_problems(typed, tiers, pl.col("tier_id").is_not_null()))


@settings(max_examples=200, deadline=None)
@given(cards(card.PRICE_COLUMNS))
def test_rows_that_overlap_are_found_as_by_looking_at_every_pair(text):
    typed = card._typed(text)
    found = {sentence.split(" overlaps ")[0] for sentence in card._overlaps("f", typed, card.PRICE_KEY, "rate_id")}
    rows = [r for r in typed.sort("valid_from", nulls_last=True, maintain_order=True).iter_rows(named=True)]
    pairs = [
        (one, other)
        for i, one in enumerate(rows) for other in rows[i + 1 :]
        if all(one[c] == other[c] for c in (*card.PRICE_KEY, "recorded_at"))
        and one["valid_from"] and other["valid_from"] and (one["valid_to"] or date.max) > other["valid_from"]
    ]  # fmt: skip
    # Of three that overlap, a neighbour names each; so some pair is found exactly where there is one.
    assert bool(found) == bool(pairs)


# ------------------------------------------------------------------------------------------------ speed


def test_a_card_of_twenty_thousand_prices_and_ladders_is_read_in_two_seconds_of_work(tmp_path):
    prefixes = (f"1{n:05d}" for n in itertools.count())
    rows = [price(f"p{i}", type="sms", prefix=next(prefixes), tier_id=f"t{i % 500}") for i in range(20_000)]
    until = date(2026, 6, 1)
    rungs = [
        rung(f"t{i}", q, **span)
        for i in range(500)
        for q in (0, 100)
        for span in ({"valid_to": until}, {"valid_from": until})
    ]
    load(tmp_path, rows, tiers=rungs)
    began = time.process_time()
    loaded = card.load(tmp_path)
    assert time.process_time() - began < 2
    assert (loaded.prices.height, loaded.tiers.height) == (20_000, 2_000)


def test_the_example_card_is_read_in_fifty_milliseconds_of_work():
    card.load(EXAMPLE)  # imports the library of numbers
    tries = []
    for _ in range(5):
        began = time.process_time()
        card.load(EXAMPLE)
        tries.append(time.process_time() - began)
    assert min(tries) < 0.05


def test_of_two_rows_recorded_on_one_day_the_greater_id_prices_it_in_any_order():
    loaded = made.load_card([price("a", valid_to=date(2026, 6, 1)), price("b", valid_from=date(2026, 6, 1))])
    both = loaded.prices.with_columns(valid_from=date(2026, 1, 1), valid_to=None)
    for rows in (both, both.reverse()):
        assert card.in_force(rows, date(2026, 7, 1), card.PRICE_KEY)["rate_id"].to_list() == ["b"]
