"""The ledger, worked by hand. Each case says in its comments how its numbers come about."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

import credits_worlds as made
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from etl.credits import CORRECTIONS, CreditsError, closing, compare_recharges, ledger, lost
from etl.periods import Month, parse_day


def at(text: str):
    """'2026-01-31 10:00' in UTC."""
    day, clock = text.split(" ")
    return made.moment(parse_day(day), made.time.fromisoformat(clock))


def plan(
    anchor: str, allotment: int = 0, *, ended: str | None = None, below=None, pack=None, mode=None, name="s", **kw
):
    return {
        "subscription_id": name,
        "account_id": "acme",
        "anchor": parse_day(anchor),
        "ended_on": parse_day(ended) if ended else None,
        "versions": kw.get("versions", [(None, None, allotment)]),
        "recharge_below": below,
        "recharge_credits": pack,
        "recharges": mode,
    }


def bought(when: str, credits: int, kind: str = "pack", name: str = "p") -> dict:
    return {"purchase_id": name, "account_id": "acme", "bought_at": at(when), "kind": kind, "credits": credits}


def burned(*burns: tuple[str, int] | tuple[str, int, str]) -> list[dict]:
    return [
        {"account_id": "acme", "record_id": name[0] if name else f"SM{n}", "occurred_at": at(when), "credits": credits}
        for n, (when, credits, *name) in enumerate(burns)
    ]


def run(month: str, plans=(), purchases=(), burns=(), opening=None, until: str | None = None) -> pl.DataFrame:
    first, end = Month.parse(month).first, parse_day(until) if until else Month.parse(month).end
    return ledger(
        made.burns_frame(list(burns), (first, end)),
        opening,
        made.plans_frame(list(plans)),
        made.purchases_frame(list(purchases)),
        (first, end),
    )


def moves(frame: pl.DataFrame) -> list[tuple]:
    """(day, entry, lot, credits, allotment left, bought left)"""
    return frame.select(
        pl.col("date").dt.strftime("%m-%d"), "entry", "lot", "credits", "balance_allotment", "balance_purchased"
    ).rows()


# ------------------------------------------------------------------------------------------------ periods


@pytest.mark.parametrize(("year", "last"), [(2026, "28"), (2024, "29")])
def test_an_anchor_on_31_january_through_february(year, last):
    """100 credits a period: [31 Jan, last of Feb), [last of Feb, 31 Mar), [31 Mar, 30 Apr)."""
    plans = [plan(f"{year}-01-31", 100)]
    burns = burned(
        (f"{year}-01-30 12:00", 7),  # the day before the account has credits: none of the ledger's business
        (f"{year}-01-31 00:00", 10),  # 100 - 10 = 90
        (f"{year}-02-{int(last) - 1} 23:59", 30),  # 90 - 30 = 60: the last minute of the period
        (f"{year}-02-{last} 00:00", 5),  # 60 expire, 100 granted, 100 - 5 = 95: the first moment of the next
        (f"{year}-03-30 23:59", 95),  # 95 - 95 = 0
        (f"{year}-03-30 23:59", 4),  # nothing left: 4 of overage
        (f"{year}-03-31 09:00", 1),  # nothing expires, 100 granted, 99 left
    )
    january = run(f"{year}-01", plans, burns=burns)
    assert moves(january) == [("01-31", "grant", "allotment", 100, 100, 0), ("01-31", "burn", "allotment", -10, 90, 0)]
    february = run(f"{year}-02", plans, burns=burns, opening=january)
    assert moves(february) == [
        ("02-01", "open", "allotment", 90, 90, 0),
        (f"02-{int(last) - 1}", "burn", "allotment", -30, 60, 0),
        (f"02-{last}", "expire", "allotment", -60, 0, 0),
        (f"02-{last}", "grant", "allotment", 100, 100, 0),
        (f"02-{last}", "burn", "allotment", -5, 95, 0),
    ]
    march = run(f"{year}-03", plans, burns=burns, opening=february)
    assert moves(march) == [
        ("03-01", "open", "allotment", 95, 95, 0),
        ("03-30", "burn", "allotment", -95, 0, 0),
        ("03-30", "overage", "overage", 4, 0, 0),
        ("03-31", "grant", "allotment", 100, 100, 0),
        ("03-31", "burn", "allotment", -1, 99, 0),
    ]
    assert lost(february).rows() == [("acme", date(year, 2, int(last)), 60)]
    assert lost(march).is_empty()
    assert february["at"].to_list() == [None, None, *[at(f"{year}-02-{last} 00:00")] * 2, None]
    assert february["subscription_id"].to_list() == ["s"] * 5


def test_an_open_month_grants_nothing_before_its_day_is_loaded():
    plans = [plan("2026-01-20", 100)]
    before, on = run("2026-02", plans, until="2026-02-20"), run("2026-02", plans, until="2026-02-21")
    assert moves(before) == [("02-01", "grant", "allotment", 100, 100, 0)]
    assert moves(on)[1:] == [("02-20", "expire", "allotment", -100, 0, 0), ("02-20", "grant", "allotment", 100, 100, 0)]


def test_a_month_without_a_loaded_day_neither_grants_what_was_entered_late_nor_expires_what_ended():
    running, ended = [plan("2026-01-15", 100)], [plan("2026-01-15", 100, ended="2026-02-01")]
    assert moves(run("2026-02", running, until="2026-02-01")) == []
    assert moves(run("2026-02", running, until="2026-02-02")) == [("02-01", "grant", "allotment", 100, 100, 0)]
    january = run("2026-01", ended)
    opened = ("02-01", "open", "allotment", 100, 100, 0)
    assert moves(run("2026-02", ended, opening=january, until="2026-02-01")) == [opened]
    assert moves(run("2026-02", ended, opening=january, until="2026-02-02")) == [
        opened,
        ("02-01", "expire", "allotment", -100, 0, 0),
    ]


def test_a_month_without_a_loaded_day_opens_and_no_more():
    plans, packs = [plan("2026-01-01", 100)], [bought("2026-01-05 10:00", 30), bought("2026-02-01 00:00", 9, name="q")]
    january = run("2026-01", plans, packs)
    assert moves(run("2026-02", plans, packs, opening=january, until="2026-02-01")) == [
        ("02-01", "open", "allotment", 100, 100, 0),
        ("02-01", "open", "p", 30, 100, 30),
    ]


def test_the_version_of_the_plan_at_the_periods_start_counts():
    """100 up to 14 Feb, 200 from 15 Feb, 300 from 10 Apr: the period from 10 Feb still has 100, 10 Mar 200, 10 Apr 300;
    and no version from 10 May on: nothing is granted, and nothing is left."""
    changes = [None, date(2026, 2, 15), date(2026, 4, 10), date(2026, 5, 10)]
    versions = [(*days, credits) for days, credits in zip(pairwise(changes), (100, 200, 300), strict=True)]
    plans, opening, granted = [plan("2026-01-10", versions=versions)], None, []
    for month in Month(2026, 5).last(5):
        opening = run(str(month), plans, opening=opening)
        granted += opening.filter(pl.col("entry") == "grant").select("date", "credits").rows()
    assert [(str(day), credits) for day, credits in granted] == [
        ("2026-01-10", 100), ("2026-02-10", 100), ("2026-03-10", 200), ("2026-04-10", 300),
    ]  # fmt: skip
    assert moves(opening) == [("05-01", "open", "allotment", 300, 300, 0), ("05-10", "expire", "allotment", -300, 0, 0)]


# ------------------------------------------------------------------------------------------------ published examples


def test_750_credits_690_used_the_next_month_has_only_the_new_750():
    plans = [plan("2026-01-15", 750)]
    burns = burned(("2026-01-20 10:00", 400), ("2026-02-03 10:00", 290))
    february = run("2026-02", plans, burns=burns, opening=run("2026-01", plans, burns=burns))
    assert moves(february) == [
        ("02-01", "open", "allotment", 350, 350, 0),
        ("02-03", "burn", "allotment", -290, 60, 0),  # 400 + 290 = 690 used
        ("02-15", "expire", "allotment", -60, 0, 0),  # 750 - 690 = 60 do not roll over
        ("02-15", "grant", "allotment", 750, 750, 0),
    ]


def test_400_bought_100_used_300_remain_and_roll_over():
    """750 of the plan are used up first, so 850 used take 100 of what was bought; the reset leaves the 300 alone."""
    plans, packs = [plan("2026-01-15", 750)], [bought("2026-01-16 09:00", 400)]
    january = run("2026-01", plans, packs, burned(("2026-01-20 10:00", 850)))
    february = run("2026-02", plans, packs, opening=january)
    assert moves(january) == [
        ("01-15", "grant", "allotment", 750, 750, 0),
        ("01-16", "purchase", "p", 400, 750, 400),
        ("01-20", "burn", "allotment", -750, 0, 400),
        ("01-20", "burn", "p", -100, 0, 300),
    ]
    assert moves(february) == [
        ("02-01", "open", "allotment", 0, 0, 0),
        ("02-01", "open", "p", 300, 0, 300),
        ("02-15", "grant", "allotment", 750, 750, 300),
    ]
    assert february["bought_at"].to_list() == [None, at("2026-01-16 09:00"), None]


def test_auto_recharge_below_100_adds_1000():
    """750 - 650 = 100 is not below 100; one more is: 99, and 1000 are added."""
    plans = [plan("2026-01-01", 750, below=100, pack=1000, mode="simulated")]
    found = run("2026-01", plans, burns=burned(("2026-01-10 10:00", 650), ("2026-01-11 10:00", 1)))
    lot = "recharge-20260111T100000.000000Z-e084a13cc812"  # sha256("SM1")
    assert moves(found) == [
        ("01-01", "grant", "allotment", 750, 750, 0),
        ("01-10", "burn", "allotment", -650, 100, 0),
        ("01-11", "burn", "allotment", -1, 99, 0),
        ("01-11", "recharge", lot, 1000, 99, 1000),
    ]
    assert found["simulated"].to_list() == [False, False, False, True]
    assert found.row(3, named=True)["at"] == found.row(3, named=True)["bought_at"] == at("2026-01-11 10:00")


# ------------------------------------------------------------------------------------------------ recharges


def test_two_recharges_within_an_hour():
    """Threshold 20, pack 50. 30 - 15 = 15 < 20: +50 = 65. 65 - 10 = 55. 55 - 40 = 15 < 20: +50 = 65. 65 - 1 = 64."""
    plans = [plan("2026-01-01", 30, below=20, pack=50, mode="simulated")]
    burns = burned(
        ("2026-01-05 10:00", 15), ("2026-01-05 10:20", 10), ("2026-01-05 10:55", 40), ("2026-01-05 18:00", 1)
    )
    found = run("2026-01", plans, burns=burns)
    first, second = found.filter(pl.col("entry") == "recharge")["lot"]
    assert moves(found) == [
        ("01-01", "grant", "allotment", 30, 30, 0),
        ("01-05", "burn", "allotment", -15, 15, 0),
        ("01-05", "recharge", first, 50, 15, 50),
        ("01-05", "burn", "allotment", -15, 0, 50),  # 10 of the second burn and 5 of the third
        ("01-05", "burn", first, -35, 0, 15),  # the rest of the third
        ("01-05", "recharge", second, 50, 0, 65),
        ("01-05", "burn", first, -1, 0, 64),
    ]
    moments = found.filter(pl.col("entry") == "recharge")["at"].to_list()
    assert moments == [at("2026-01-05 10:00"), at("2026-01-05 10:55")]
    assert [lot for lot, *_ in closing(found).select("lot").rows()] == ["allotment", first, second]


def test_one_burn_buys_as_many_packs_as_it_takes_and_lacks_nothing():
    """10 left, 250 needed: 10 - 250 = -240, and ceil((100 - -240) / 50) = ceil(6.8) = 7 packs = 350; 110 are left."""
    plans = [plan("2026-01-01", 10, below=100, pack=50, mode="simulated")]
    found = run("2026-01", plans, burns=burned(("2026-01-05 10:00", 250)))
    lot = found.filter(pl.col("entry") == "recharge")["lot"].item()
    assert moves(found)[1:] == [
        ("01-05", "burn", "allotment", -10, 0, 0),
        ("01-05", "recharge", lot, 350, 0, 350),
        ("01-05", "burn", lot, -240, 0, 110),
    ]


def test_several_charges_of_one_record_are_one_burn():
    """5 bought, 4 + 4 burned by one record: 5 - 8 = -3, ceil((2 + 3) / 10) = 1 pack, which gives the 3. Burned one after
    the other the pack would be bought between them."""
    plans = [plan("2026-01-01", below=2, pack=10, mode="simulated")]
    twice = burned(("2026-01-05 10:00", 4, "SM1"), ("2026-01-05 10:00", 4, "SM1"))
    found = run("2026-01", plans, [bought("2026-01-02 10:00", 5)], twice)
    assert [(entry, credits, left) for _, entry, _, credits, _, left in moves(found)] == [
        ("purchase", 5, 5),
        ("burn", -5, 0),
        ("recharge", 10, 10),
        ("burn", -3, 7),
    ]
    apart = [twice[0], twice[1] | {"record_id": "SM2"}]
    found = run("2026-01", plans, [bought("2026-01-02 10:00", 5)], apart)
    assert [(entry, credits, left) for _, entry, _, credits, _, left in moves(found)] == [
        ("purchase", 5, 5),
        ("burn", -4, 1),
        ("recharge", 10, 11),
        ("burn", -1, 10),
        ("burn", -3, 7),
    ]


def test_the_threshold_is_tested_after_burns_only():
    """The plan ends with 60 bought credits left, below the threshold of the next one: nothing until somebody burns."""
    plans = [
        plan("2026-01-01", 100, ended="2026-01-20"),
        plan("2026-01-20", 10, below=80, pack=30, mode="simulated", name="t"),
    ]
    found = run("2026-01", plans, [bought("2026-01-02 09:00", 60)], burned(("2026-01-22 10:00", 1)))
    lot = found.filter(pl.col("entry") == "recharge")["lot"].item()
    assert moves(found) == [
        ("01-01", "grant", "allotment", 100, 100, 0),
        ("01-02", "purchase", "p", 60, 100, 60),
        ("01-20", "expire", "allotment", -100, 0, 60),
        ("01-20", "grant", "allotment", 10, 10, 60),
        ("01-22", "burn", "allotment", -1, 9, 60),  # 69 < 80: ceil(11 / 30) = 1
        ("01-22", "recharge", lot, 30, 9, 90),
    ]
    assert found["subscription_id"].to_list() == ["s", "s", "s", "t", "t", "t"]


def test_reported_recharges_are_facts_and_only_they_count():
    """30 - 35: 5 of overage, though the terms would have bought; the provider's recharge came a minute later."""
    plans = [plan("2026-01-01", 30, below=20, pack=50, mode="observed")]
    packs = [bought("2026-01-05 10:01", 50, "recharge", "r1")]
    burns = burned(("2026-01-05 10:00", 35), ("2026-01-05 11:00", 45))
    found = run("2026-01", plans, packs, burns)
    assert moves(found) == [
        ("01-01", "grant", "allotment", 30, 30, 0),
        ("01-05", "burn", "allotment", -30, 0, 0),
        ("01-05", "recharge", "r1", 50, 0, 50),
        ("01-05", "burn", "r1", -45, 0, 5),
        ("01-05", "overage", "overage", 5, 0, 5),
    ]
    assert not found["simulated"].any()
    # Ours: after 35, 30 - 35 = -5, ceil(25 / 50) = 1 pack, 45 left; after 45, 0, ceil(20 / 50) = 1 pack.
    month = (date(2026, 1, 1), date(2026, 2, 1))
    frames = made.burns_frame(burns), None, made.plans_frame(plans), made.purchases_frame(packs), month
    assert compare_recharges(*frames).rows(named=True) == [
        {
            "account_id": "acme", "observed_recharges": 1, "observed_credits": 50, "simulated_recharges": 2,
            "simulated_credits": 100,
        }
    ]  # fmt: skip


def test_the_comparison_opens_with_what_was_there_and_leaves_out_who_cannot_be_compared():
    """60 left over, threshold 50, pack 40: 60 - 15 = 45 < 50 buys one; what was open stays open for both."""
    known = plan("2026-01-01", below=50, pack=40, mode="observed")
    january = run("2026-01", [known], [bought("2026-01-03 10:00", 60, "recharge")])
    month, burns = (date(2026, 2, 1), date(2026, 3, 1)), made.burns_frame(burned(("2026-02-02 10:00", 15)))

    def compared(terms: dict) -> list:
        packs = made.purchases_frame([bought("2026-01-03 10:00", 60, "recharge")])
        return compare_recharges(burns, january, made.plans_frame([terms]), packs, month).rows()

    assert compared(known) == [("acme", 0, 0, 1, 40)]
    assert compared(known | {"recharge_below": None}) == []
    assert compared(known | {"recharges": "simulated"}) == []
    assert compared(known | {"ended_on": date(2026, 2, 1)}) == []
    assert compared(known | {"anchor": date(2026, 3, 1)}) == []


# ------------------------------------------------------------------------------------------------ order and lots


def test_a_purchase_at_the_same_instant_as_a_burn_comes_first_and_both_after_the_reset():
    """At 00:00 of the reset: 20 expire, 20 are granted, 5 are bought, 24 are burned: 20 + 4, and no overage."""
    plans, packs = [plan("2026-01-01", 20)], [bought("2026-02-01 00:00", 5)]
    february = run("2026-02", plans, packs, burned(("2026-02-01 00:00", 24)), opening=run("2026-01", plans, packs))
    assert moves(february) == [
        ("02-01", "open", "allotment", 20, 20, 0),
        ("02-01", "expire", "allotment", -20, 0, 0),
        ("02-01", "grant", "allotment", 20, 20, 0),
        ("02-01", "purchase", "p", 5, 20, 5),
        ("02-01", "burn", "allotment", -20, 0, 5),
        ("02-01", "burn", "p", -4, 0, 1),
    ]


def test_rows_name_the_subscription_that_ran_on_the_eve_even_if_it_began_then():
    plans = [plan("2026-01-31", below=10, pack=50, mode="simulated")]
    january = run("2026-01", plans, [bought("2026-01-31 10:00", 30)])
    found = run("2026-02", plans, burns=burned(("2026-02-01 09:00", 4)), opening=january)
    assert moves(found) == [("02-01", "open", "p", 30, 0, 30), ("02-01", "burn", "p", -4, 0, 26)]
    assert found["subscription_id"].to_list() == ["s", "s"]


def test_what_was_left_is_there_from_the_first_moment_though_nothing_says_any_more_where_it_came_from():
    january = run("2026-01", (), [bought("2026-01-20 10:00", 30)])
    found = run("2026-02", burns=burned(("2026-02-01 00:00", 4)), opening=january)
    assert moves(found) == [("02-01", "open", "p", 30, 0, 30), ("02-01", "burn", "p", -4, 0, 26)]


def test_lots_go_oldest_first_and_by_name_where_they_are_equally_old():
    packs = [
        bought("2026-01-09 10:00", 3, name="a-late"),
        bought("2026-01-02 10:00", 4, name="z"),
        bought("2026-01-02 10:00", 5, "goodwill", name="b"),
    ]
    found = run("2026-01", (), packs, burned(("2026-01-10 10:00", 6), ("2026-01-10 11:00", 4)))
    assert moves(found) == [
        ("01-02", "purchase", "b", 5, 0, 5),
        ("01-02", "purchase", "z", 4, 0, 9),
        ("01-09", "purchase", "a-late", 3, 0, 12),
        ("01-10", "burn", "b", -5, 0, 7),
        ("01-10", "burn", "z", -4, 0, 3),
        ("01-10", "burn", "a-late", -1, 0, 2),
    ]
    assert closing(found).select("lot", "credits", "subscription_id").rows() == [("a-late", 2, None)]


def test_overage_is_one_row_a_day_and_leaves_no_debt():
    """10 bought. 3 + 9: 2 not covered. 8 bought at noon pay nothing back; 8 + 1 more: 1 not covered. 3 that day."""
    packs = [bought("2026-01-02 10:00", 10), bought("2026-01-03 12:00", 8, name="q")]
    burns = burned(("2026-01-03 08:00", 3), ("2026-01-03 09:00", 9), ("2026-01-03 13:00", 9), ("2026-01-04 09:00", 6))
    assert moves(run("2026-01", (), packs, burns)) == [
        ("01-02", "purchase", "p", 10, 0, 10),
        ("01-03", "burn", "p", -10, 0, 0),
        ("01-03", "purchase", "q", 8, 0, 8),
        ("01-03", "burn", "q", -8, 0, 0),
        ("01-03", "overage", "overage", 3, 0, 0),
        ("01-04", "overage", "overage", 6, 0, 0),
    ]
    # It goes on in the months after, when there is not even a lot to open with.
    later = run("2026-03", (), packs, burned(("2026-03-04 09:00", 6)), opening=run("2026-02", (), packs))
    assert moves(later) == [("03-04", "overage", "overage", 6, 0, 0)]


# ------------------------------------------------------------------------------------------------ who has a ledger


def test_an_account_without_subscription_and_purchases_has_no_rows():
    seats_only = plan("2026-01-01", 0)
    later = plan("2026-02-01", 100, name="t")
    never = plan("2026-01-05", 100, ended="2026-01-05", name="u")
    for plans in ([], [seats_only], [later], [never], [seats_only, later, never]):
        assert run("2026-01", plans, burns=burned(("2026-01-04 09:00", 6))).is_empty()
    assert run("2026-01", (), [bought("2026-02-01 00:00", 5)], burned(("2026-01-04 09:00", 6))).is_empty()


def test_subscriptions_without_credits_stand_beside_one_with_credits():
    plans = [plan("2026-01-01", 0, name="seats"), plan("2026-01-10", 50)]
    assert moves(run("2026-01", plans)) == [("01-10", "grant", "allotment", 50, 50, 0)]


def test_what_ended_expires_and_what_comes_after_a_gap_is_overage():
    plans = [plan("2026-01-01", 50, ended="2026-01-10"), plan("2026-01-15", 70, name="t")]
    burns = burned(("2026-01-09 09:00", 20), ("2026-01-10 00:00", 3), ("2026-01-15 00:00", 1))
    found = run("2026-01", plans, burns=burns)
    assert moves(found) == [
        ("01-01", "grant", "allotment", 50, 50, 0),
        ("01-09", "burn", "allotment", -20, 30, 0),
        ("01-10", "expire", "allotment", -30, 0, 0),
        ("01-10", "overage", "overage", 3, 0, 0),
        ("01-15", "grant", "allotment", 70, 70, 0),
        ("01-15", "burn", "allotment", -1, 69, 0),
    ]
    assert found["subscription_id"].to_list() == ["s", "s", "s", None, "t", "t"]


@pytest.mark.parametrize("ended", ["2026-01-31", "2026-02-01"])
def test_what_ends_about_the_end_of_a_month_is_in_force_up_to_the_day_before(ended):
    """At 00:00 of 1 Feb the subscription still holds the credits that expire there; a day earlier it holds none."""
    plans, packs = [plan("2026-01-01", 50, ended=ended)], [bought("2026-01-05 10:00", 30)]
    january = run("2026-01", plans, packs)
    february = run("2026-02", plans, packs, opening=january)
    assert january.filter(pl.col("entry") == "expire").height == (ended == "2026-01-31")
    opened = february.select("entry", "lot", "credits", "subscription_id").rows()
    if ended == "2026-01-31":
        assert opened == [("open", "p", 30, None)]
    else:
        assert opened == [("open", "allotment", 50, "s"), ("open", "p", 30, "s"), ("expire", "allotment", -50, "s")]


def test_a_ledger_that_begins_in_the_middle_of_a_period_grants_it_on_its_first_day_once():
    plans = [plan("2025-11-20", 100)]
    start = run("2026-01", plans, burns=burned(("2026-01-05 10:00", 100)), until="2026-01-10")
    assert moves(start) == [("01-01", "grant", "allotment", 100, 100, 0), ("01-05", "burn", "allotment", -100, 0, 0)]
    # Used up is not the same as never granted.
    rest = ledger(
        made.burns_frame([]),
        start,
        made.plans_frame(plans),
        made.purchases_frame([]),
        (date(2026, 1, 10), date(2026, 1, 20)),
    )
    assert moves(rest) == [("01-10", "open", "allotment", 0, 0, 0)]


def test_what_was_entered_late_counts_from_the_next_ledger_on():
    """February knows of s only; in March it turns out that s ended on 10 Feb and t has run since."""
    packs = [bought("2026-02-02 10:00", 5)]
    february = run("2026-02", [plan("2026-01-20", 100)], packs, burned(("2026-02-27 10:00", 40)))
    told = [plan("2026-01-20", 100, ended="2026-02-10"), plan("2026-02-12", 80, name="t")]
    march = run("2026-03", told, packs, opening=february)
    assert moves(march) == [
        ("03-01", "open", "allotment", 60, 60, 0),
        ("03-01", "open", "p", 5, 60, 5),
        ("03-01", "expire", "allotment", -60, 0, 5),
        ("03-01", "grant", "allotment", 80, 80, 5),
        ("03-12", "expire", "allotment", -80, 0, 5),
        ("03-12", "grant", "allotment", 80, 80, 5),
    ]
    assert march["subscription_id"].to_list() == ["s", "s", "s", "t", "t", "t"]
    ended = run("2026-03", told[:1], packs, opening=february)
    assert moves(ended)[2:] == [("03-01", "expire", "allotment", -60, 0, 5)]


# ------------------------------------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("plans", "purchases", "burns", "said"),
    [
        ([plan("2026-01-01", 5), plan("2026-01-09", 5, name="t")], [], [], "acme: subscriptions s and t, both"),
        ([plan("2026-01-01", 5), plan("2026-01-09", 0, mode="observed", name="t")], [], [], "in force on 2026-01-09"),
        ([plan("2026-01-01", 5), plan("2026-01-02", 6)], [], [], "subscription s: its rows differ"),
        (
            [plan("2026-01-01", 5), plan("2026-01-01", 6) | {"account_id": "b"}],
            [],
            [],
            "subscription s: its rows differ",
        ),
        ([plan("2026-01-01", 5, mode="simulated", pack=3)], [], [], "subscription s: recharges are simulated and"),
        ([plan("2026-01-01", 5, mode="simulated", below=3)], [], [], "subscription s: recharges are simulated and"),
        ([plan("2026-01-01", 5, mode="simulated", below=-1, pack=3)], [], [], "subscription s: a threshold or"),
        ([plan("2026-01-01", 5, mode="observed", below=1, pack=0)], [], [], "subscription s: a threshold or"),
        ([plan("2026-01-01", -5)], [], [], "subscription s: a threshold or allotment below 0"),
        ([], [bought("2026-01-02 10:00", 0)], [], "purchase p: less than 1 credit"),
        ([], [bought("2026-01-02 10:00", 5, name="allotment")], [], "purchase allotment:"),
        ([], [bought("2026-01-02 10:00", 5, name="overage")], [], "purchase overage:"),
        ([], [bought("2026-01-02 10:00", 5), bought("2026-01-03 10:00", 5)], [], "acme: purchase p is there twice"),
        ([], [], burned(("2026-01-02 10:00", -1)), "less than 0 credits"),
    ],
)
def test_what_contradicts_itself_is_refused(plans, purchases, burns, said):
    with pytest.raises(CreditsError, match=said):
        run("2026-01", plans, purchases, burns)


def test_burns_of_other_days_and_a_window_turned_round_are_refused():
    none = made.plans_frame([]), made.purchases_frame([])
    for when in ("2025-12-31 23:59", "2026-02-01 00:00"):
        burns = made.burns_frame(burned((when, 1)))
        with pytest.raises(CreditsError, match="1 burns outside 2026-01-01 to 2026-02-01, first SM0"):
            ledger(burns, None, *none, (date(2026, 1, 1), date(2026, 2, 1)))
    with pytest.raises(CreditsError, match="2026-02-02 is after 2026-02-01"):
        ledger(made.burns_frame([]), None, *none, (date(2026, 2, 2), date(2026, 2, 1)))


def test_a_lot_bought_again_in_a_later_month_is_refused():
    january = run("2026-01", (), [bought("2026-01-02 10:00", 5)])
    with pytest.raises(CreditsError, match="acme: purchase p is there twice"):
        run("2026-02", (), [bought("2026-02-02 10:00", 5)], opening=january)


# ------------------------------------------------------------------------------------------------ exactness


def test_large_counts_stay_exact():
    """Beyond 2**53, where a float would begin to lose single credits."""
    huge = 2**60 + 1
    found = run(
        "2026-01",
        [plan("2026-01-01", huge)],
        [bought("2026-01-02 10:00", huge)],
        burned(("2026-01-03 10:00", huge + 3)),
    )
    assert moves(found)[2:] == [
        ("01-03", "burn", "allotment", -huge, 0, huge),
        ("01-03", "burn", "p", -3, 0, huge - 3),
    ]


def test_the_same_rows_come_out_every_time():
    plans = [plan("2026-01-01", 3, below=20, pack=7, mode="simulated")]
    burns = burned(*[(f"2026-01-{1 + n % 28:02d} 10:00", 1 + n % 5, f"r{n * 31 % 97}") for n in range(90)])
    once, again = run("2026-01", plans, burns=burns), run("2026-01", plans, burns=burns[::-1])
    assert once["simulated"].any()
    assert_frame_equal(once, again)


# ------------------------------------------------------------------------------------------------ corrections


def corrected(opening: pl.DataFrame, plans, purchases, burns, *rows: tuple) -> pl.DataFrame:
    """The ledger of February with (account, month, lot, bought at, simulated, credits) corrected before it begins."""
    window = (date(2026, 2, 1), date(2026, 3, 1))
    return ledger(
        made.burns_frame(burns, window), opening, made.plans_frame(plans), made.purchases_frame(purchases), window,
        pl.DataFrame(list(rows), schema=CORRECTIONS, orient="row"),
    )  # fmt: skip


def told(frame: pl.DataFrame) -> list[tuple]:
    """(entry, lot, credits, allotment left, bought left, corrected month, simulated)"""
    columns = ("entry", "lot", "credits", "balance_allotment", "balance_purchased", "for_month", "simulated")
    return frame.select(columns).rows()


def test_what_is_corrected_stands_after_all_that_was_left_and_is_burned_as_if_it_had_always_been_so():
    """100 - 40 = 60 and 30 bought are left; 10 of the allotment and 5 of the pack were burned late, and a pack of 7 that
    was bought before the other comes to light: 50 + 7 + 25. 80 burned: 50, then 7, then 23 of 25."""
    plans, packs = [plan("2026-01-15", 100)], [bought("2026-01-20 10:00", 30)]
    january = run("2026-01", plans, packs, burned(("2026-01-16 10:00", 40)))
    late = ("acme", "2026-01", "late", at("2026-01-17 10:00"), True, 7)
    found = corrected(
        january, plans, packs, burned(("2026-02-02 10:00", 80)),
        ("acme", "2026-01", "allotment", None, False, -10), late, ("acme", "2026-01", "p", at("2026-01-20 10:00"), False, -5),
    )  # fmt: skip
    assert told(found) == [
        ("open", "allotment", 60, 60, 0, None, False),
        ("open", "p", 30, 60, 30, None, False),
        ("correction", "allotment", -10, 50, 30, "2026-01", False),
        ("correction", "late", 7, 50, 37, "2026-01", True),
        ("correction", "p", -5, 50, 32, "2026-01", False),
        ("burn", "allotment", -50, 0, 32, None, False),
        ("burn", "late", -7, 0, 25, None, True),
        ("burn", "p", -23, 0, 2, None, False),
        ("grant", "allotment", 100, 100, 2, None, False),
    ]
    assert closing(found).select("lot", "credits").rows() == [("allotment", 100), ("p", 2)]
    assert found["position"].to_list() == list(range(found.height))


def test_a_lot_corrected_to_nothing_is_gone_and_one_asked_for_more_is_refused():
    packs = [bought("2026-01-20 10:00", 30)]
    january = run("2026-01", (), packs)
    when = at("2026-01-20 10:00")
    found = corrected(january, (), packs, [], ("acme", "2026-01", "p", when, False, -30))
    assert told(found) == [
        ("open", "p", 30, 0, 30, None, False),
        ("correction", "p", -30, 0, 0, "2026-01", False),
    ]
    assert closing(found).is_empty()
    with pytest.raises(CreditsError, match="takes more from p than it has"):
        corrected(january, (), packs, [], ("acme", "2026-01", "p", when, False, -31))


def test_an_allotment_corrected_to_nothing_was_granted_all_the_same():
    """60 left of the period from 15 January, all of it used late: nothing is granted before 15 February."""
    plans = [plan("2026-01-15", 100)]
    january = run("2026-01", plans, burns=burned(("2026-01-16 10:00", 40)))
    found = corrected(
        january, plans, [], burned(("2026-02-02 10:00", 5)), ("acme", "2026-01", "allotment", None, False, -60)
    )
    assert told(found) == [
        ("open", "allotment", 60, 60, 0, None, False),
        ("correction", "allotment", -60, 0, 0, "2026-01", False),
        ("overage", "overage", 5, 0, 0, None, False),
        ("grant", "allotment", 100, 100, 0, None, False),
    ]


def test_a_correction_of_one_account_leaves_the_others_as_they_open():
    mine, theirs = bought("2026-01-20 10:00", 30), bought("2026-01-21 10:00", 40) | {"account_id": "other"}
    january = run("2026-01", (), [mine, theirs])
    found = corrected(january, (), [mine, theirs], [], ("acme", "2025-12", "p", at("2026-01-20 10:00"), False, 2))
    assert found.select("account_id", "entry", "lot", "credits", "for_month").rows() == [
        ("acme", "open", "p", 30, None),
        ("acme", "correction", "p", 2, "2025-12"),
        ("other", "open", "p", 40, None),
    ]


def test_corrections_of_two_months_are_two_rows_of_one_lot():
    packs = [bought("2026-01-20 10:00", 30)]
    when = at("2026-01-20 10:00")
    rows = [("acme", month, "p", when, False, n) for month, n in (("2025-11", -4), ("2025-12", -3))]
    found = corrected(run("2026-01", (), packs), (), packs, burned(("2026-02-02 10:00", 23)), *rows)
    assert told(found) == [
        ("open", "p", 30, 0, 30, None, False),
        ("correction", "p", -4, 0, 26, "2025-11", False),
        ("correction", "p", -3, 0, 23, "2025-12", False),
        ("burn", "p", -23, 0, 0, None, False),
    ]
