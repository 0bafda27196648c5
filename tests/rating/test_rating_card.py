"""The rate card's files: every bad row is named with file and line, and what the card lacks is said before it is missed."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
import rating_worlds as made
from rating_worlds import fee, price

from etl.rating import card
from etl.settings import ConfigurationError

EXAMPLE = Path(__file__).resolve().parents[2] / "config" / "rates"


def complaints(prices=(), fees=()) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        made.load_card(list(prices), list(fees))
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_the_example_card_loads_and_has_no_gap():
    loaded = card.load(EXAMPLE)
    assert loaded.names() == {"standard"}
    assert card.gaps(loaded, date(2026, 1, 1), date(2027, 1, 1)) == []


def test_amounts_are_exact_wildcards_are_null_and_prefixes_lose_their_plus():
    loaded = made.load_card([price("p", prefix="+1", price=Decimal("0.000000001"))], [fee("f", registered=False)])
    row, fee_row = loaded.prices.row(0, named=True), loaded.fees.row(0, named=True)
    assert (row["price"], row["prefix"], row["direction"], row["valid_to"]) == (Decimal("0.000000001"), "1", None, None)
    assert (fee_row["registered"], fee_row["prefix"], fee_row["carrier"]) == (False, "", None)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rate_id": None}, "rate_id is empty"),
        ({"line": "txet"}, "line 'txet' must be empty or one of"),
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
        ("rate_id,price\n1,2,3,4\n", r"prices\.csv is not readable as CSV"),
    ],
)
def test_a_file_that_is_no_table_is_named(tmp_path, content, said):
    with pytest.raises(ConfigurationError, match=said):
        card.load(write(tmp_path, content))


def test_a_missing_column_is_named(tmp_path):
    header = ",".join(c for c in card.PRICE_COLUMNS if c != "recorded_at")
    with pytest.raises(ConfigurationError, match=r"prices\.csv lacks the column recorded_at"):
        card.load(write(tmp_path, header + "\n"))


def test_columns_may_stand_in_any_order_beside_others_and_every_cell_may_be_quoted(tmp_path):
    """As spreadsheets write them: "" is an empty cell, not a text that matches nothing."""
    row = price("p", direction=None) | {"owner": "finance"}
    columns = ["owner", *reversed(card.PRICE_COLUMNS)]
    cells = ['"' + ("" if row[c] is None else str(row[c])) + '"' for c in columns]
    loaded = card.load(write(tmp_path, ",".join(columns) + "\r\n" + ",".join(cells) + "\r\n"))
    assert loaded.prices.columns == list(card.PRICE_COLUMNS)
    found = loaded.prices.row(0, named=True)
    assert (found["rate_id"], found["direction"], found["valid_to"], found["note"]) == ("p", None, None, None)


def test_the_fingerprint_changes_with_the_prices(tmp_path):
    one, two = made.load_card([price("p")]), made.load_card([price("p", price=Decimal("0.02"))])
    assert one.fingerprint != two.fingerprint
    assert one.fingerprint == made.load_card([price("p")]).fingerprint
