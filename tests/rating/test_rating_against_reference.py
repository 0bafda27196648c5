"""Rating, roll-up and statement lines against the clerk of `rating_reference`, row by row, and what must not matter."""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal

import polars as pl
import pytest
import rating_reference as clerk
import rating_worlds as made
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from rating_worlds import DAY

from etl.directory import UNASSIGNED
from etl.rating.charge import rate
from etl.rollup import daily
from etl.schemas import DATASETS, HELD_LINES, SECOND_LINES
from etl.statement import lines

modest = settings(max_examples=20, deadline=None)
SECTIONS = ["usage", "total"]


def rated(events, world, card, day=DAY, credits=1, as_of=None) -> pl.DataFrame:
    attributed = world.attribute(made.frame(events), day, "USD")
    return rate(attributed, card, day, credits_per_segment=credits, as_of=as_of)


def by_clerk(events, accounts, numbers, prices, fees, day=DAY, credits=1, as_of=None) -> list[dict]:
    """The clerk attributes what has a number of ours; who a room or a recording belongs to is the directory's own test."""
    fast = {
        (r["kind"], r["record_id"]): r
        for r in made.load_directory(accounts, numbers).attribute(made.frame(events), day, "USD").iter_rows(named=True)
    }
    charged = []
    for e in events:
        by_number = e["kind"] in ("message", "call", "number")
        who = clerk.attribute(e, accounts, numbers, day, "USD") if by_number else fast[e["kind"], e["record_id"]]
        charged.append(clerk.charge(e | who, prices, fees, day, credits, as_of))
    return charged


def rows_of(charges: pl.DataFrame) -> dict:
    return {(r["kind"], r["record_id"]): r for r in charges.iter_rows(named=True)}


def money_total(charges: pl.DataFrame) -> Decimal:
    return sum(charges[c].sum() for c in ("charge", "carrier_fee", "detection_charge"))


def stated(rolled: pl.DataFrame, accounts, day=DAY) -> pl.DataFrame:
    """The lines of a month that had this one day and nothing charged by the month."""
    return lines(rolled.with_columns(date=pl.lit(day)), DATASETS["monthly"].empty(), accounts)


@pytest.mark.brief(30)
@settings(max_examples=60, deadline=None)
@given(made.directories(), made.price_rows(), made.fee_rows(), made.event_rows(), st.integers(0, 3), st.data())
def test_every_row_is_what_a_clerk_would_charge(world, prices, fees, events, credits, data):
    accounts, numbers = world
    loaded, card = made.load_directory(accounts, numbers), made.load_card(prices, fees)
    as_of = data.draw(st.sampled_from([None, *made.DAYS]))
    charges = rated(events, loaded, card, credits=credits, as_of=as_of)
    expected = by_clerk(events, accounts, numbers, prices, fees, credits=credits, as_of=as_of)

    assert rows_of(charges) == {(c["kind"], c["record_id"]): c for c in expected}

    rolled = daily(charges)
    assert {tuple(r[k] for k in clerk.DAILY_KEY): {k: v for k, v in r.items() if k not in clerk.DAILY_KEY}
            for r in rolled.iter_rows(named=True)} == clerk.daily(expected)  # fmt: skip

    every = stated(rolled, loaded.accounts)
    assert set(every["section"]) <= set(SECTIONS)
    for account_id, (by_key, total) in clerk.statement(clerk.daily(expected), accounts).items():
        mine = every.filter(pl.col("account_id") == account_id)
        usage = mine.filter(pl.col("section") == "usage")
        assert {
            tuple(r[k] for k in clerk.LINE_KEY): {k: r[k] for k in ("quantity", "events", "unrated", "amount_exact", "amount")}
            for r in usage.iter_rows(named=True)
        } == by_key  # fmt: skip
        last = mine.row(-1, named=True)
        own = {k: v for k, v in by_key.items() if k[-1] == last["currency"]}
        assert last["section"] == "total"
        assert last["amount"] == sum(v["amount"] for v in own.values())
        assert last["amount"] == total["amount"], "all of an account's lines are in its one currency"
        order = [clerk.LINE_ORDER.index(line) for line in usage["line"]]
        assert order == sorted(order)
        assert mine["position"].to_list() == list(range(mine.height))


@modest
@given(made.directories(), made.price_rows(), made.fee_rows(), made.event_rows(), st.randoms(use_true_random=False))
def test_order_of_events_and_rows_does_not_matter(world, prices, fees, events, rng: random.Random):
    accounts, numbers = world
    straight = rated(events, made.load_directory(accounts, numbers), made.load_card(prices, fees))
    for rows in (events, prices, fees, numbers, accounts):
        rng.shuffle(rows)
    shuffled = rated(events, made.load_directory(accounts, numbers), made.load_card(prices, fees))
    assert_frame_equal(straight, shuffled)
    assert_frame_equal(daily(straight), daily(straight.sample(fraction=1, shuffle=True, seed=1)))


@modest
@given(made.directories(), made.price_rows(), made.fee_rows(), made.event_rows(), st.data())
def test_two_sources_rolled_up_together_are_one(world, prices, fees, events, data):
    loaded, card = made.load_directory(*world), made.load_card(prices, fees)
    # A recording's call and a guest's host come from the source they themselves come from.
    events = [e for e in events if e["kind"] not in ("recording", "video")]
    cut = data.draw(st.integers(0, len(events)))
    one = rated(events, loaded, card)
    two = pl.concat([rated(events[:cut], loaded, card), rated(events[cut:], loaded, card)])
    assert_frame_equal(daily(one), daily(two))


@modest
@given(made.price_rows(), made.fee_rows(), made.event_rows(), st.data())
def test_splitting_an_account_over_members_changes_no_total(prices, fees, events, data):
    # In a video room the member's name decides, not the number.
    events = [e for e in events if e["kind"] != "video"]
    accounts = [made.account("acme", "AC1")]
    whole = [made.number(n, "acme") for n in made.OUR_NUMBERS]
    split = [n | {"owner_id": data.draw(st.sampled_from(["mia", "noah", "lea"])),
                  "owner_kind": data.draw(st.sampled_from(["member", "inbox"]))} for n in whole]  # fmt: skip
    card = made.load_card(prices, fees)
    one, many = (rated(events, made.load_directory(accounts, n), card) for n in (whole, split))
    assert_frame_equal(
        stated(daily(one), made.load_directory(accounts, whole).accounts),
        stated(daily(many), made.load_directory(accounts, split).accounts),
    )


@modest
@given(made.directories(), made.price_rows(), made.fee_rows(), made.event_rows())
def test_lines_add_up_to_the_total_and_nothing_is_lost(world, prices, fees, events):
    loaded = made.load_directory(*world)
    charges = rated(events, loaded, made.load_card(prices, fees))
    rolled = daily(charges)
    assert charges.height == len(events)
    assert rolled["charge"].sum() == money_total(charges)
    assert rolled.filter(~pl.col("line").is_in(SECOND_LINES))["events"].sum() == charges.height
    every = stated(rolled, loaded.accounts)
    for account in loaded.accounts:
        mine = every.filter(pl.col("account_id") == account.account_id)
        assert mine.filter(pl.col("section") == "total").height == 1
        assert (
            mine.filter(pl.col("section") == "usage")["amount"].sum()
            == mine.filter(pl.col("section") == "total")["amount"].item()
        )
    billed = rolled.filter(pl.col("account_id") != UNASSIGNED)
    assert every.filter(pl.col("section") == "usage")["amount_exact"].sum() == billed["charge"].sum()


@modest
@given(made.directories(), made.price_rows(), made.fee_rows(), made.event_rows())
def test_a_row_that_matches_nothing_changes_nothing(world, prices, fees, events):
    loaded = made.load_directory(*world)
    strangers = [
        made.price("elsewhere", prefix="8888888"),
        made.price("no-such-card", rate_card="unused"),
        made.price("other-money", currency="CHF"),
        made.price("yesterday", prefix="7777", valid_to=DAY),
        made.price("tomorrow", prefix="7777", valid_from=DAY + timedelta(days=1)),
    ]
    with_strangers = made.load_card(prices + strangers, [*fees, made.fee("elsewhere", prefix="8888888")])
    assert_frame_equal(rated(events, loaded, made.load_card(prices, fees)), rated(events, loaded, with_strangers))


@modest
@given(
    st.lists(st.text("0123456789", min_size=1, max_size=6).map(lambda s: "1" + s), unique=True, max_size=12),
    st.lists(st.text("0123456789", min_size=0, max_size=14).map(lambda s: "+1" + s), min_size=1, max_size=12),
)
def test_the_longest_prefix_always_wins(prefixes, recipients):
    """Also where prefix or number ends in zeros, and where the number is shorter than a prefix."""
    prices = [made.price("1", prefix="1"), *[made.price(p, prefix=p) for p in prefixes]]
    accounts = [made.account("acme", "AC1")]
    events = [made.message(f"r{i}", to_number=n) for i, n in enumerate(recipients)]
    charges = rated(events, made.load_directory(accounts, []), made.load_card(prices))
    found = {r["record_id"]: r["rate_id"] for r in charges.iter_rows(named=True)}
    for event in events:
        fitting = [p for p in ("1", *prefixes) if event["to_number"][1:].startswith(p)]
        assert found[event["record_id"]] == max(fitting, key=len), event["to_number"]


@modest
@given(made.event_rows(), st.integers(-2, 2))
def test_a_price_change_at_midnight_splits_exactly_by_date(events, offset):
    """The day before pays the old price to the last second, the day itself the new one from the first."""
    old, new = Decimal("0.01"), Decimal("0.02")
    ways = [{"line": name} for name in ("text", "call", "failed_message", "video")]
    prices = [made.price(f"old-{i}", **w, price=old, valid_to=DAY) for i, w in enumerate(ways)]
    prices += [made.price(f"new-{i}", **w, price=new, valid_from=DAY, valid_to=None) for i, w in enumerate(ways)]
    accounts = [made.account("acme", "AC1", "AC2", "AC3", "AC9")]
    day = DAY + timedelta(days=offset)
    moved = [
        e | {k: e[k] + timedelta(days=offset) for k in ("occurred_at", "ended_at") if e[k] is not None} for e in events
    ]
    charges = rated(moved, made.load_directory(accounts, []), made.load_card(prices), day)
    side = "old-" if offset < 0 else "new-"
    priced = charges.filter(~pl.col("line").is_in(HELD_LINES))
    assert all(rate_id.startswith(side) for rate_id in priced["rate_id"])
