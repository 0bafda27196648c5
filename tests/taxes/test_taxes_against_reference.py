"""Taxes against the clerk of `taxes_reference`, row by row, and what must not matter: order, members, days, places."""

from __future__ import annotations

import random
from datetime import date
from decimal import Decimal

import polars as pl
import pytest
import taxes_made as made
import taxes_reference as clerk
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from etl import taxes
from etl.money import MONEY
from etl.taxes import ROUNDINGS

modest, few = settings(max_examples=80, deadline=None), pytest.mark.brief(25)
AS_OF = st.sampled_from([None, *made.DAYS])


def detail_rows(details: pl.DataFrame) -> dict:
    """As the clerk writes it."""
    return {
        (
            tuple(r[c] for c in clerk.BILL),
            (r["tax_id"], r["valid_from"], r["recorded_at"]),
            tuple(r[c] for c in clerk.LINE),
        ): {c: r[c] for c in ("base", "base_taxes", "quantity", "amount_exact")}
        for r in details.iter_rows(named=True)
    }


def in_any_order(rows) -> list:
    return sorted(sorted((k, str(v)) for k, v in row.items()) for row in rows)


def plain(row: dict) -> dict:
    """Decimals of one value look the same."""
    return {k: f"{v:.9f}" if isinstance(v, Decimal) else v for k, v in row.items()}


def whole(rules, bases, accounts, rounding, as_of=None) -> pl.DataFrame:
    return taxes.due(made.frame(bases), made.load(*rules), made.accounts_frame(accounts), rounding, as_of)


@pytest.mark.brief(75)
@settings(max_examples=300, deadline=None)
@given(made.rule_rows(), made.base_rows(), made.account_rows(), st.sampled_from(ROUNDINGS), AS_OF)
def test_every_row_is_what_a_clerk_would_tax(rules, bases, accounts, rounding, as_of):
    typed = [made.typed(r) for r in rules]
    expected = clerk.detail(bases, typed, accounts, as_of)
    details = taxes.detail(made.frame(bases), made.load(*rules), made.accounts_frame(accounts), as_of)

    assert len(details) == len(expected)
    assert detail_rows(details) == {k: {c: v for c, v in row.items() if c != "rule"} for k, row in expected.items()}
    rows = taxes.summed(details, rounding)
    told = clerk.due(expected, rounding)
    assert in_any_order(map(plain, rows.iter_rows(named=True))) == in_any_order(map(plain, told))
    assert_frame_equal(rows, whole(rules, bases, accounts, rounding, as_of))


@few
@modest
@given(
    made.rule_rows(),
    made.base_rows(),
    made.account_rows(),
    st.sampled_from(ROUNDINGS),
    st.randoms(use_true_random=False),
)
def test_no_order_matters(rules, bases, accounts, rounding, chance: random.Random):
    before = whole(rules, bases, accounts, rounding)
    for rows in (rules, bases, accounts):
        chance.shuffle(rows)
    assert_frame_equal(whole(rules, bases, accounts, rounding), before)


@st.composite
def split_up(draw, bases: list[dict]) -> list[dict]:
    """The same traffic in more rows, as members, inboxes or campaigns would split it: some parts even negative."""
    parts = []
    for row in bases:
        for _ in range(draw(st.integers(0, 3))):
            piece = row | {
                "amount_exact": draw(st.integers(-(10**6), 10**6).map(lambda n: Decimal(n).scaleb(-9))),
                "quantity": draw(st.integers(-5, 5)),
            }
            row = row | {
                "amount_exact": (row["amount_exact"] or 0) - piece["amount_exact"],
                "quantity": row["quantity"] - piece["quantity"],
            }
            parts.append(piece)
        parts.append(row)
    return draw(st.permutations(parts))


@few
@modest
@given(made.rule_rows(), made.base_rows(), made.account_rows(), st.sampled_from(ROUNDINGS), st.data())
def test_splitting_the_same_traffic_over_owners_changes_no_tax(rules, bases, accounts, rounding, data):
    parts = data.draw(split_up(bases))
    assert_frame_equal(whole(rules, parts, accounts, rounding), whole(rules, bases, accounts, rounding))


@few
@modest
@given(
    st.lists(st.sampled_from(made.DAYS), min_size=1, max_size=6),
    st.lists(st.sampled_from(["US-WA", "US-WA-SEATTLE", "US-OR", "US"]), min_size=1, max_size=6),
    st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=6),
    made.DECIMALS,
    st.sampled_from(["", "0.649"]),
    st.sampled_from(ROUNDINGS),
)
def test_splitting_over_days_and_places_within_a_rule_changes_no_tax(days, places, units, rate, share, rounding):
    """Where one version of a rule covers all of them, only their sum counts."""
    rules = [
        made.rule("a", rate=rate, share=share, sourcing="callee"),
        made.rule("b", rate=rate, share=share, sourcing="caller", compound="true"),
        made.rule("c", rate=rate, share=share, kind="per_unit"),
    ]
    parts = [
        made.base(
            str(Decimal(n).scaleb(-7)),
            "call",
            quantity=n,
            date=days[i % len(days)],
            callee_place=places[i % len(places)],
            caller_place=places[-1 - i % len(places)],
        )
        for i, n in enumerate(units)
    ]
    together = made.base(
        str(Decimal(sum(units)).scaleb(-7)), "call", quantity=sum(units), caller_place="US", callee_place="US"
    )
    assert_frame_equal(made.due(parts, *rules, rounding=rounding), made.due([together], *rules, rounding=rounding))


@few
@modest
@given(made.rule_rows(), made.base_rows(), made.account_rows())
def test_what_is_shown_adds_up_to_what_is_owed(rules, bases, accounts):
    details = taxes.detail(made.frame(bases), made.load(*rules), made.accounts_frame(accounts))
    for rounding in ROUNDINGS:
        rows = taxes.summed(details, rounding)
        for bill in details.select(clerk.BILL).unique().iter_rows(named=True):
            of_bill = [pl.col(c).eq(v) for c, v in bill.items()]
            exact = details.filter(of_bill)["amount_exact"].to_list()
            mine = rows.filter(of_bill)
            assert mine["amount_exact"].sum() == sum(exact)
            if rounding == "per_statement":
                assert mine["amount"].sum() == clerk.cents(sum(exact), bill["currency"])
                taxed = mine.filter(pl.col("section") == "tax")
                assert all(
                    r["amount"] == clerk.cents(r["amount_exact"], r["currency"]) for r in taxed.iter_rows(named=True)
                )
                assert all(d != 0 for d in mine.filter(pl.col("section") == "rounding")["amount"])
            else:
                assert mine["amount"].sum() == sum(clerk.cents(e, bill["currency"]) for e in exact)
                assert set(mine["section"]) <= {"tax"}


@few
@modest
@given(made.rule_rows(), made.base_rows(), made.account_rows(), st.sampled_from(ROUNDINGS))
def test_a_refund_of_everything_is_the_same_tax_with_the_other_sign(rules, bases, accounts, rounding):
    back = [b | {"amount_exact": -(b["amount_exact"] or 0), "quantity": -b["quantity"]} for b in bases]
    paid, refunded = (whole(rules, rows, accounts, rounding) for rows in (bases, back))
    turned = refunded.with_columns(
        *(-pl.col(c).cast(pl.Decimal(38, 9)).cast(MONEY) for c in ("base", "amount_exact", "amount")),
        quantity=-pl.col("quantity"),
    )
    assert_frame_equal(turned.cast(dict(paid.schema)), paid)


@few
@modest
@given(made.rule_rows(), made.base_rows(), made.account_rows(), st.sampled_from(ROUNDINGS))
def test_no_column_is_a_float_and_every_amount_has_nine_decimals(rules, bases, accounts, rounding):
    details = taxes.detail(made.frame(bases), made.load(*rules), made.accounts_frame(accounts))
    rows = taxes.summed(details, rounding)
    for frame in (details, rows):
        assert not any(t.is_float() for t in frame.dtypes)
        assert {
            t for c, t in frame.schema.items() if c in ("base", "base_taxes", "amount_exact", "amount", "rate", "share")
        } == {MONEY}
        assert frame.schema["quantity"] == pl.Int64


# ------------------------------------------------------------------------------------------------ the file's own rules


@st.composite
def small_versions(draw) -> list[dict]:
    """Any versions at all: overlapping, doubled, compound on compound."""
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(1, 4))
        rows.append(
            made.rule(
                draw(st.sampled_from(["a", "b"])),
                compound=draw(st.sampled_from(["true", "true", "false"])),
                lines=draw(st.sampled_from(["call", "text", "call;text"])),
                jurisdiction=draw(st.sampled_from(["US", "US-WA", "US-OR"])),
                sourcing=draw(st.sampled_from(["caller", "callee"])),
                valid_from=f"2026-01-0{start}",
                valid_to=draw(st.sampled_from(["", *(f"2026-01-0{d}" for d in range(start + 1, 6))])),
                recorded_at=f"2026-01-0{draw(st.integers(1, 3))}",
            )
        )
    return rows


def undecided(rules: list[dict]) -> bool:
    """By trying every day, every state of knowledge, every line and every pair of places."""
    days = [date(2026, 1, d) for d in range(1, 8)]
    for day in days:
        valid = [r for r in rules if r["valid_from"] <= day and (r["valid_to"] is None or day < r["valid_to"])]
        if len({(r["tax_id"], r["recorded_at"]) for r in valid}) < len(valid):
            return True
    spots = ("US", "US-WA", "US-OR")
    return any(
        len([r for r in clerk.applying(row, rules, [made.account("acme")], as_of) if r["compound"]]) > 1
        for day in days
        for as_of in days[:4]
        for line in ("call", "text")
        for caller in spots
        for callee in spots
        for row in [made.base("1", line, date=day, caller_place=caller, callee_place=callee)]
    )


@settings(max_examples=200, deadline=None)
@given(small_versions())
def test_a_file_is_refused_exactly_when_it_leaves_something_undecided(rules):
    try:
        made.load(*rules)
        refused = False
    except taxes.ConfigurationError:
        refused = True
    assert refused == undecided([made.typed(r) for r in rules])
