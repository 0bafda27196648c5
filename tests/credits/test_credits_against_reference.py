"""The ledger against the bookkeeper of `credits_reference`, over chained months; and what must not matter."""

from __future__ import annotations

import copy
from datetime import timedelta

import credits_reference as bookkeeper
import credits_worlds as made
import polars as pl
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from etl.credits import closing, compare_recharges, joined, ledger, ledger_of_days, lost
from etl.schemas import DATASETS

COLUMNS = [
    "date", "at", "entry", "lot", "bought_at", "credits", "simulated", "balance_allotment", "balance_purchased",
    "subscription_id",
]  # fmt: skip

thorough, some = settings(max_examples=200, deadline=None), pytest.mark.brief(60)
modest, few = settings(max_examples=50, deadline=None), pytest.mark.brief(25)


def windows(world) -> list:
    return [(month.first, month.end) for month in world["months"]]


def inputs(world, window) -> tuple:
    return (
        made.burns_frame(made.everyone(world["burns"]), window),
        made.plans_frame(made.everyone(world["plans"])),
        made.purchases_frame(made.everyone(world["purchases"])),
    )


def chained(world, cuts) -> list[pl.DataFrame]:
    ledgers, opening = [], None
    for window in cuts:
        burns, plans, purchases = inputs(world, window)
        opening = ledger(burns, opening, plans, purchases, window)
        ledgers.append(opening)
    return ledgers


def rows_of(frame: pl.DataFrame, account: str) -> list[tuple]:
    own = frame.filter(pl.col("account_id") == account)
    assert own["position"].to_list() == list(range(own.height))
    return own.select(COLUMNS).rows()


def in_one(ledgers: list[pl.DataFrame]) -> pl.DataFrame:
    """Chained ledgers without what each writes again."""
    again = [frame.filter(pl.col("entry") != "open") for frame in ledgers[1:]]
    return pl.concat([ledgers[0], *again]).sort("account_id", maintain_order=True).drop("position")


def totals(frame: pl.DataFrame) -> pl.DataFrame:
    """Per account, day and entry, the allotment apart from what was bought."""
    bought = pl.col("lot") != "allotment"
    return frame.group_by("account_id", "date", "entry", bought).agg(pl.col("credits").sum()).sort(pl.all())


@some
@thorough
@given(made.worlds())
def test_every_row_is_what_a_bookkeeper_writes(world):
    ledgers = chained(world, windows(world))
    entries = set()
    for account in world["plans"]:
        own = [world[kind][account] for kind in ("plans", "purchases", "burns")]
        book = bookkeeper.Bookkeeper()
        own[0] = made.counting(own[0])
        for window, frame in zip(windows(world), ledgers, strict=True):
            expected = book.walk(*window, *own)
            assert rows_of(frame, account) == expected
            left = closing(frame).filter(pl.col("account_id") == account, pl.col("credits") > 0)
            allotment = [("allotment", book.allotment)] if book.allotment else []
            expected_lots = allotment + [(lot["lot"], lot["credits"]) for lot in book.lots]
            assert left.select("lot", "credits").rows() == expected_lots
            entries |= {f"{row[2]}{' of our own' * row[6]}" for row in expected}
    for entry in sorted(entries):
        event(entry)


@some
@thorough
@given(made.worlds(), st.randoms(use_true_random=False))
def test_sums_of_days_make_the_same_ledger_as_single_burns(world, chance):
    """Whatever part of the days is given burn by burn; and no day is asked for that was not summed, none twice."""
    opening, day = None, pl.col("occurred_at").dt.date()
    for window in windows(world):
        burns, plans, purchases = inputs(world, window)
        one_by_one = [d for d in burns.select(day.unique()).to_series() if chance.random() < 0.3]
        rest = burns.filter(~day.is_in(one_by_one))
        summed = rest.group_by("account_id", date=day).agg(pl.col("credits").sum())
        asked: set = set()

        def burns_on(days, columns, rest=rest, summed=summed, asked=asked):
            assert days.join(summed, on=["account_id", "date"], how="anti").is_empty()
            assert asked.isdisjoint((*row, *columns) for row in days.iter_rows())
            asked |= {(*row, *columns) for row in days.iter_rows()}
            found = rest.with_columns(date=day).join(days, on=["account_id", "date"], how="semi")
            return found.select(*columns)

        given_ = (opening, plans, purchases, window)
        found = ledger_of_days(summed, burns.filter(day.is_in(one_by_one)), burns_on, *given_)
        opening = ledger(burns, *given_)
        assert_frame_equal(found, opening)
        event("asked for a day" if asked else "asked for no day")


@some
@thorough
@given(made.worlds(), st.integers(1, 27))
def test_a_ledger_goes_on_from_any_day_as_if_it_had_never_stopped(world, later):
    opening = None
    for first, end in windows(world):
        cut = first + timedelta(days=later)
        pieces = [opening]
        for window in ((first, cut), (cut, end)):
            burns, plans, purchases = inputs(world, window)
            pieces.append(ledger(burns, pieces[-1], plans, purchases, window))
        burns, plans, purchases = inputs(world, (first, end))
        opening = ledger(burns, opening, plans, purchases, (first, end))
        assert_frame_equal(joined(*pieces[1:]), opening)


@few
@modest
@given(made.worlds())
def test_the_identity_holds_at_every_row_and_nothing_is_owed(world):
    for window, frame in zip(windows(world), chained(world, windows(world)), strict=True):
        moved = frame.filter(pl.col("entry") != "overage").with_columns(
            running=pl.col("credits").cum_sum().over("account_id"),
            balance=pl.col("balance_allotment") + pl.col("balance_purchased"),
        )
        assert (moved["running"] == moved["balance"]).all()
        assert frame.filter((pl.col("balance_allotment") < 0) | (pl.col("balance_purchased") < 0)).is_empty()
        assert frame.select("account_id", "date").equals(frame.sort("account_id", "date").select("account_id", "date"))
        signs = {"open": 0, "grant": 1, "purchase": 1, "recharge": 1, "overage": 1, "burn": -1, "expire": -1}
        for entry, credits in frame.select("entry", "credits").iter_rows():
            assert credits * signs[entry] > 0 or (signs[entry] == 0 and credits >= 0)
        for account in world["plans"]:
            since = made.begins(world, account)
            own = frame.filter(pl.col("account_id") == account, pl.col("entry").is_in(["burn", "overage"]))
            burned = made.burns_frame(world["burns"][account], window)
            due = burned.filter(pl.col("occurred_at") >= since)["credits"].sum() if since is not None else 0
            assert own["credits"].abs().sum() == due


@few
@modest
@given(made.worlds(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(world, chance):
    shuffled = copy.deepcopy(world)
    for kind in ("plans", "purchases", "burns"):
        for rows in shuffled[kind].values():
            chance.shuffle(rows)
        names = list(shuffled[kind])
        chance.shuffle(names)
        shuffled[kind] = {name: shuffled[kind][name] for name in names}
    opening = None
    for window, straight in zip(windows(world), chained(world, windows(world)), strict=True):
        burns, plans, purchases = (frame.sample(fraction=1, shuffle=True, seed=3) for frame in inputs(shuffled, window))
        mixed = opening.sample(fraction=1, shuffle=True, seed=5) if opening is not None else None
        opening = ledger(burns, mixed, plans, purchases, window)
        assert_frame_equal(opening, straight)


@few
@modest
@given(made.worlds(), st.lists(st.integers(1, 120), max_size=4))
def test_a_month_in_pieces_is_the_month(world, offsets):
    first, end = world["months"][0].first, world["months"][-1].end
    # The same day twice is a window without a day.
    days = sorted([first, end, *(day for n in offsets if (day := first + timedelta(days=n)) < end)])
    pieces = chained(world, list(zip(days, days[1:], strict=False)))
    assert_frame_equal(in_one(pieces), in_one(chained(world, [(first, end)])))
    assert_frame_equal(in_one(pieces), in_one(chained(world, windows(world))))


@few
@modest
@given(made.worlds())
def test_accounts_do_not_know_each_other(world):
    both = chained(world, windows(world))
    for account in world["plans"]:
        alone = {"months": world["months"]} | {k: {account: world[k][account]} for k in ("plans", "purchases", "burns")}
        for frame, own in zip(both, chained(alone, windows(world)), strict=True):
            assert_frame_equal(frame.filter(pl.col("account_id") == account), own)


@few
@modest
@given(made.worlds())
def test_what_lies_after_a_window_does_not_reach_into_it(world):
    window = windows(world)[0]
    burns, plans, purchases = inputs(world, window)
    early = plans.filter(pl.col("anchor") < window[1]).with_columns(
        # An end that is still to come is no end yet.
        ended_on=pl.when(pl.col("ended_on") < window[1]).then("ended_on")
    )
    known = purchases.filter(pl.col("bought_at").dt.date() < window[1])
    assert_frame_equal(ledger(burns, None, plans, purchases, window), ledger(burns, None, early, known, window))


@few
@modest
@given(made.worlds(), st.randoms(use_true_random=False))
def test_records_of_one_instant_may_share_their_credits_as_they_like(world, chance):
    """Which record carries what decides when within the instant a recharge is bought, and no sum of a day."""
    other = copy.deepcopy(world)
    for account, rows in other["burns"].items():
        split = []
        for number, row in enumerate(rows):
            credits = row["credits"]
            while credits:
                piece = chance.randint(1, credits)
                split.append(row | {"record_id": f"{chance.random()}-{number}-{len(split)}", "credits": piece})
                credits -= piece
        other["burns"][account] = split
    for frame, again in zip(chained(world, windows(world)), chained(other, windows(world)), strict=True):
        kept = frame.filter(pl.col("entry") != "open"), again.filter(pl.col("entry") != "open")
        assert_frame_equal(*map(totals, kept))
        if not frame["simulated"].any():
            assert_frame_equal(frame, again)


@few
@modest
@given(made.worlds(), st.integers(1, 3))
def test_several_charges_of_one_record_are_one_burn(world, count):
    other = copy.deepcopy(world)
    for account, rows in other["burns"].items():
        other["burns"][account] = [
            row | {"credits": credits}
            for row in rows
            for credits in [
                *[row["credits"] // count] * (count - 1),
                row["credits"] - row["credits"] // count * (count - 1),
            ]
        ]
    for frame, again in zip(chained(world, windows(world)), chained(other, windows(world)), strict=True):
        assert_frame_equal(frame, again)


@few
@modest
@given(made.worlds(recharges=("observed", "observed", "simulated", None)))
def test_recharges_compare_as_a_bookkeeper_would_with_the_other_rule(world):
    opening, books = None, {account: bookkeeper.Bookkeeper() for account in world["plans"]}
    for window in windows(world):
        burns, plans, purchases = inputs(world, window)
        found = compare_recharges(burns, opening, plans, purchases, window)
        opening = ledger(burns, opening, plans, purchases, window)
        expected = []
        for account, book in books.items():
            relevant = made.counting(world["plans"][account])
            twin = copy.deepcopy(book)
            rows = book.walk(*window, relevant, world["purchases"][account], world["burns"][account])
            compared = {
                p["subscription_id"]: p["recharge_credits"]
                for p in relevant
                if p["recharges"] == "observed" and p["recharge_below"] is not None
            }
            running = [
                p for p in relevant
                if p["subscription_id"] in compared and p["anchor"] < window[1]
                and (p["ended_on"] is None or p["ended_on"] > window[0])
            ]  # fmt: skip
            if not running:
                continue
            reported = [row for row in rows if row[2] == "recharge" and not row[6] and row[9] in compared]
            theirs = {row[3] for row in reported}
            rows = twin.walk(
                *window,
                [p | ({"recharges": "simulated"} if p["subscription_id"] in compared else {}) for p in relevant],
                [p for p in world["purchases"][account] if p["purchase_id"] not in theirs],
                world["burns"][account],
            )
            ours = [row for row in rows if row[2] == "recharge" and row[6] and row[9] in compared]
            expected.append(
                (
                    account,
                    len(reported),
                    sum(row[5] for row in reported),
                    sum(row[5] // compared[row[9]] for row in ours),
                    sum(row[5] for row in ours),
                )
            )
        assert found.rows() == expected


@few
@modest
@given(made.worlds())
def test_what_was_lost_is_what_expired(world):
    for frame in chained(world, windows(world)):
        expected = {}
        for row in frame.iter_rows(named=True):
            if row["entry"] == "expire":
                key = (row["account_id"], row["date"])
                expected[key] = expected.get(key, 0) - row["credits"]
        assert {row[:2]: row[2] for row in lost(frame).rows()} == expected


def test_without_accounts_the_ledger_is_empty_and_of_its_type():
    world = {"months": [made.Month(2026, 1)], "plans": {}, "purchases": {}, "burns": {}}
    (empty,) = chained(world, windows(world))
    assert_frame_equal(empty, DATASETS["credits"].empty())
    assert closing(empty).is_empty() and lost(empty).is_empty()
