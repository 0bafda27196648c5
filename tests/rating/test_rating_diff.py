"""Two rate cards compared: row by row, and day by day against what a clerk finds in force."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import polars as pl
import rating_worlds as made
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from rating_reference import FEE_KEY, PRICE_KEY, known
from rating_worlds import fee, price
from test_rating_tiers import load as load_tiers
from test_rating_tiers import rung

from etl.rating.diff import EFFECTIVE, ROWS, diff, sentences

SEPTEMBER = date(2026, 9, 1)


def compare(old, new, old_fees=(), new_fees=()):
    return diff(made.load_card(list(old), list(old_fees)), made.load_card(list(new), list(new_fees)))


# ------------------------------------------------------------------------------------------------ what a person does


def test_a_price_that_rises_from_a_day_on():
    old = [price("a", direction="outbound", type="sms", prefix="1", price=Decimal("0.0095"))]
    new = [
        {**old[0], "valid_to": SEPTEMBER},
        {**old[0], "rate_id": "b", "price": Decimal("0.01"), "valid_from": SEPTEMBER},
    ]
    found = compare(old, new)
    assert found.rows.rows() == [
        ("prices.csv", "a", "changed", "valid_to", None, "2026-09-01"),
        ("prices.csv", "b", "added", None, None, None),
    ]
    assert found.effective.rows() == [
        ("prices.csv", "standard text outbound sms +1 USD", SEPTEMBER, None, "0.0095", "0.01"),
    ]
    assert sentences(found) == ["prices.csv: standard text outbound sms +1 USD: 0.0095 → 0.01 from 2026-09-01 on"]
    assert sentences(found, rows=True)[1:] == [
        "prices.csv: a is changed: valid_to empty → 2026-09-01",
        "prices.csv: b is added",
    ]


def test_keys_come_in_order_those_for_anything_after_those_for_something():
    old = [
        price(c, prefix=p, direction=d)
        for c, p, d in (("a", "1", None), ("b", "1", "outbound"), ("c", "44", "inbound"))
    ]
    new = [{**row, "price": Decimal("0.02")} for row in reversed(old)]
    assert [key for _, key, *_ in compare(old, new).effective.rows()] == [
        "standard text inbound +44 USD",
        "standard text outbound +1 USD",
        "standard text +1 USD",
    ]


def test_a_correction_changes_the_days_it_speaks_of():
    old = [price("a", price=Decimal("0.02"))]
    corrected = price(
        "b", price=Decimal("0.03"), valid_from=date(2026, 3, 1), valid_to=date(2026, 4, 1), recorded_at=SEPTEMBER
    )
    assert sentences(compare(old, [*old, corrected])) == [
        "prices.csv: standard text USD: 0.02 → 0.03 from 2026-03-01 until 2026-04-01"
    ]


def test_what_was_recorded_last_counts_whichever_began_first():
    old = [price("a", price=Decimal("0.02"), valid_from=date(2026, 3, 1))]
    corrected = price("b", price=Decimal("0.03"), recorded_at=date(2026, 2, 1))
    assert sentences(compare(old, [*old, corrected])) == [
        "prices.csv: standard text USD: no row → 0.03 from 2026-01-01 until 2026-03-01",
        "prices.csv: standard text USD: 0.02 → 0.03 from 2026-03-01 on",
    ]


def test_days_on_which_nothing_changes_meanwhile_are_told_together():
    old = [
        price("a", price=Decimal("0.02"), valid_to=SEPTEMBER),
        price("b", price=Decimal("0.02"), valid_from=SEPTEMBER),
    ]
    assert sentences(compare(old, [price("a", price=Decimal("0.03"))])) == [
        "prices.csv: standard text USD: 0.02 → 0.03 from 2026-01-01 on"
    ]


def test_a_price_that_ends_or_begins():
    rows = [price("a", price=Decimal("1.5")), price("b", prefix="44", price=Decimal("0"))]
    assert sentences(compare(rows, rows[:1])) == ["prices.csv: standard text +44 USD: 0.00 → no row from 2026-01-01 on"]
    assert sentences(compare(rows[1:], rows)) == ["prices.csv: standard text USD: no row → 1.50 from 2026-01-01 on"]


def test_other_rows_may_say_the_same():
    """Split at a date, under other ids, with another note, outdone by one recorded later: no day has another price."""
    old = [price("a"), price("wrong", prefix="44", price=Decimal("9"))]
    new = [
        price("a-1", valid_to=SEPTEMBER),
        price("a-2", valid_from=SEPTEMBER),
        {**old[1], "note": "in error", "valid_to": SEPTEMBER},
        price("still", prefix="44", price=Decimal("9"), recorded_at=date(2026, 2, 1)),
    ]
    found = compare(old, new)
    assert found.effective.height == 0
    assert sentences(found) == []
    assert sentences(found, rows=True) == [
        "no effective change: every day has the price it had",
        "prices.csv: a is removed",
        "prices.csv: a-1 is added",
        "prices.csv: a-2 is added",
        "prices.csv: still is added",
        "prices.csv: wrong is changed: valid_to empty → 2026-09-01",
        "prices.csv: wrong is changed: note empty → in error",
    ]


def test_the_same_card_says_the_same():
    loaded = made.load_card([price("a")], [fee("f")])
    found = diff(loaded, loaded)
    assert (dict(found.rows.schema), dict(found.effective.schema)) == (ROWS, EFFECTIVE)
    assert (found.rows.height, found.effective.height, sentences(found)) == (0, 0, [])
    assert sentences(found, rows=True) == ["the two rate cards say the same, row by row"]


def test_every_term_of_a_call_counts():
    row = price("c", line="call", connection_fee=Decimal("0"))
    assert compare([row], [{**row, "connection_fee": None}]).effective.height == 0
    changes = {
        "minimum_seconds": (30, "0.01 (30/60 from dial)"),
        "increment_seconds": (6, "0.01 (60/6 from dial)"),
        "clock": ("answer", "0.01 (60/60 from answer)"),
        "bill_unanswered": (True, "0.01 (60/60 from dial, unanswered billed)"),
        "connection_fee": (Decimal("0.05"), "0.01 (60/60 from dial, connection fee 0.05)"),
        "price": (Decimal("0.0125"), "0.0125 (60/60 from dial)"),
    }
    for column, (value, terms) in changes.items():
        ((*_, before, after),) = compare([row], [{**row, column: value}]).effective.rows()
        assert (before, after) == ("0.01 (60/60 from dial)", terms)


def test_fees_are_compared_by_carrier_and_registration():
    old = [fee("f", carrier="AT&T", direction="outbound", registered=True, price=Decimal("0.0030"))]
    found = compare([], [], old, [{**old[0], "price": Decimal("0.0035"), "registered": True}])
    assert found.rows.rows() == [("carrier_fees.csv", "f", "changed", "price", "0.003", "0.0035")]
    assert sentences(found) == ["carrier_fees.csv: AT&T outbound registered USD: 0.003 → 0.0035 from 2026-01-01 on"]
    other = compare([], [], old, [{**old[0], "registered": False}])
    assert other.rows.rows() == [("carrier_fees.csv", "f", "changed", "registered", "true", "false")]
    assert [key for _, key, *_ in other.effective.rows()] == [
        "AT&T outbound unregistered USD",
        "AT&T outbound registered USD",
    ]


def test_ladders_are_compared_rung_by_rung_and_as_a_whole():
    prices = [price("p", type="sms", tier_id="t")]
    old = [rung("t", 0, "0.0095"), rung("t", 10_000, "0.0085")]
    new = [old[0], rung("t", 5_000, "0.0085", flat_fee=Decimal(2))]
    found = diff(load_tiers(prices, old), load_tiers(prices, new))
    assert found.rows.select("id", "change").rows() == [
        ("t from 5000, valid from 2026-01-01, recorded 2026-01-01", "added"),
        ("t from 10000, valid from 2026-01-01, recorded 2026-01-01", "removed"),
    ]
    assert sentences(found) == [
        "tiers.csv: t: graduated in USD, from 0 at 0.0095; from 10000 at 0.0085 → "
        "graduated in USD, from 0 at 0.0095; from 5000 at 0.0085 + 2.00 once from 2026-01-01 on"
    ]
    packs = [rung("t", 0, "5", model="package", package_size=100)]
    (sentence,) = sentences(diff(load_tiers(prices, packs), load_tiers(prices, [{**packs[0], "package_size": 200}])))
    assert "package in USD, from 0 at 5.00 per 100 → package in USD, from 0 at 5.00 per 200" in sentence


def test_a_price_that_joins_a_ladder_is_charged_otherwise():
    row, ladder = price("p", type="sms"), [rung("t", 0, "0.01")]
    found = diff(load_tiers([row], ladder), load_tiers([{**row, "tier_id": "t"}], ladder))
    assert sentences(found) == ["prices.csv: standard text sms USD: 0.01 → 0.01 (ladder t) from 2026-01-01 on"]


# ------------------------------------------------------------------------------------------------ the clerk

HORIZON = [made.DAYS[0] + timedelta(days=n) for n in range(-1, 63)]


def in_words(row: dict, key: tuple[str, ...]) -> str:
    words = {True: "registered", False: "unregistered"}
    said = {k: words[row[k]] if isinstance(row[k], bool) else row[k] for k in key if row[k] not in (None, "")}
    return " ".join(f"+{v}" if k == "prefix" else v for k, v in said.items())


def charged_on(rows: list[dict], key: tuple[str, ...], day: date) -> dict[str, tuple]:
    terms = ("price", *made.CALL_TERMS) if "line" in key else ("price",)
    return {
        in_words(row, key): tuple(row[t] or None if t == "connection_fee" else row[t] for t in terms)
        for row in known(rows, key, day)
    }


def told_on(effective: pl.DataFrame, file: str, day: date) -> set[str]:
    return set(
        effective.filter(
            (pl.col("file") == file) & (pl.col("start") <= day) & (pl.col("end").is_null() | (pl.col("end") > day))
        )["key"]
    )


@settings(max_examples=25, deadline=None)
@given(made.price_rows(), made.price_rows(), made.fee_rows(), made.fee_rows(), st.integers(0, 12))
def test_every_day_on_which_something_is_charged_otherwise_is_told_and_no_other(old, new, old_fees, new_fees, kept):
    mixed = made.without_conflicts(
        [*old[:kept], *({**r, "rate_id": f"n-{r['rate_id']}"} for r in new[kept:])], PRICE_KEY
    )
    found = compare(old, mixed, old_fees, new_fees)
    for day in HORIZON:
        for file, key, before, after in (
            ("prices.csv", PRICE_KEY, old, mixed),
            ("carrier_fees.csv", FEE_KEY, old_fees, new_fees),
        ):
            was, is_ = charged_on(before, key, day), charged_on(after, key, day)
            assert told_on(found.effective, file, day) == {k for k in {**was, **is_} if was.get(k) != is_.get(k)}, day
    assert found.effective.filter(pl.col("before").eq_missing(pl.col("after"))).height == 0


@settings(max_examples=20, deadline=None)
@given(made.price_rows(), made.price_rows(), made.fee_rows(), made.fee_rows())
def test_the_other_way_round_it_is_the_same_reversed(old, new, old_fees, new_fees):
    there, back = compare(old, new, old_fees, new_fees), compare(new, old, new_fees, old_fees)
    turned = back.effective.rename({"before": "after", "after": "before"}).select(*EFFECTIVE)
    assert_frame_equal(there.effective, turned)
    assert_frame_equal(there.effective, compare(old[::-1], new[::-1], old_fees[::-1], new_fees[::-1]).effective)
    opposite = {"added": "removed", "removed": "added", "changed": "changed"}
    assert_frame_equal(
        there.rows,
        back.rows.with_columns(pl.col("change").replace_strict(opposite))
        .rename({"old": "new", "new": "old"})
        .select(*ROWS),
    )
