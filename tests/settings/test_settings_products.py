"""The product files: every bad row is named, and what is due when is what a calendar walked day by day says."""

from __future__ import annotations

import calendar
import tempfile
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from etl import products
from etl.periods import Month
from etl.settings import ConfigurationError

ACCOUNTS = """\
account_id,name,company,currency,rate_card,email_to,provider_account_sid,locale
acme,Acme,,USD,standard,,AC1,
bolt,Bolt,,EUR,standard,,AC2,
cove,Cove,,USD,standard,,AC3,
"""
GOOD = {
    "plans": """\
plan_id,name,currency,price,interval,credits,valid_from,valid_to
pro,Pro,USD,49.00,month,750,,2026-06-01
pro,Pro 2026,USD,59.00,month,800,2026-06-01,
annual,Annual,EUR,480,year,500,,
seat,Seat,USD,9.99,month,0,2025-01-01,
""",
    "subscriptions": """\
subscription_id,account_id,plan_id,anchor,ended_on,quantity,recharge_below,recharge_credits,recharge_price,recharges
s-acme,acme,pro,2026-01-31,,2,100,1000,40.00,simulated
s-bolt,bolt,annual,2024-02-29,2027-02-28,,,,,observed
s-seats,acme,seat,2026-03-15,2026-05-15,12,,,,
""",
    "purchases": """\
purchase_id,account_id,bought_at,kind,credits,price,currency,note
p1,acme,2026-05-31T23:30:00-05:00,pack,1000,35.00,USD,by card
p2,bolt,2026-05-31T23:59:59.999999Z,recharge,500,20,EUR,
p3,acme,2026-05-01T00:00:00+00:00,goodwill,50,,,sorry
""",
    "adjustments": """\
adjustment_id,account_id,date,amount,currency,taxable,reason
a1,acme,2026-05-31,-12.345678901,USD,true,Refund of a doubled pack
a2,bolt,2026-06-01,5,EUR,FALSE,Set-up
""",
}
MAY, JUNE = Month(2026, 5), Month(2026, 6)


@pytest.fixture
def load(tmp_path):
    def load_files(**changed: str | None) -> products.Products:
        for name, text in ({"accounts": ACCOUNTS} | GOOD | changed).items():
            if text is not None:
                (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
        return products.load(tmp_path)

    return load_files


def complaints(load, **changed) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(**changed)
    assert "are not usable:" in str(caught.value)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


# ------------------------------------------------------------------------------------------------ what it holds


def test_the_files_are_typed(load):
    found = load()
    assert found.plans.schema == {
        "plan_id": pl.String, "name": pl.String, "currency": pl.String, "price": pl.Decimal(18, 9),
        "interval": pl.String, "credits": pl.Int64, "valid_from": pl.Date, "valid_to": pl.Date,
    }  # fmt: skip
    assert found.subscriptions.row(0, named=True) == {
        "subscription_id": "s-acme", "account_id": "acme", "plan_id": "pro", "anchor": date(2026, 1, 31),
        "ended_on": None, "quantity": 2, "recharge_below": 100, "recharge_credits": 1000, "recharge_price": Decimal(40),
        "recharges": "simulated",
    }  # fmt: skip
    assert found.subscriptions["quantity"].to_list() == [2, 1, 12], "an empty quantity is one"
    assert found.purchases["bought_at"].to_list() == [
        datetime(2026, 5, 1, tzinfo=UTC),
        datetime(2026, 5, 31, 23, 59, 59, 999999, tzinfo=UTC),
        datetime(2026, 6, 1, 4, 30, tzinfo=UTC),
    ]
    assert found.adjustments["amount"].to_list() == [Decimal("-12.345678901"), Decimal(5)]
    assert found.adjustments["taxable"].to_list() == [True, False]


def test_without_any_file_nothing_is_bought(tmp_path):
    """Not even accounts.csv is asked for."""
    found = products.load(tmp_path)
    assert [found.plans.height, found.subscriptions.height, found.purchases.height, found.adjustments.height] == [0] * 4
    assert found.purchases.schema["bought_at"] == pl.Datetime("us", "UTC")
    for frame in (found.allotments(), found.fees(MAY), found.packs(MAY), found.adjustments_of(MAY)):
        assert frame.height == 0
    assert found.fees(MAY).schema == products.load(tmp_path).fees(MAY).schema
    assert found.fees(MAY).schema["price"] == pl.Decimal(18, 9)


@pytest.mark.parametrize("name", sorted(GOOD))
def test_each_file_changes_the_fingerprint(load, name):
    before = load().fingerprint
    assert load().fingerprint == before != load(**{name: GOOD[name] + "\n"}).fingerprint


def test_the_order_of_rows_does_not_matter(load):
    straight = load()
    upside_down = load(
        **{
            name: "\n".join([text.splitlines()[0], *reversed(text.splitlines()[1:])]) + "\n"
            for name, text in GOOD.items()
        }
    )
    for name in GOOD:
        assert getattr(straight, name).equals(getattr(upside_down, name))
    assert straight.allotments().equals(upside_down.allotments())
    assert straight.fees(MAY).equals(upside_down.fees(MAY))


def test_optional_columns_may_be_missing(load):
    found = load(
        plans="plan_id,name,currency,price,interval,credits\npro,Pro,USD,49,month,750\nannual,Annual,EUR,480,year,0\n",
        subscriptions="subscription_id,account_id,plan_id,anchor\ns1,acme,pro,2026-01-31\n",
    )
    assert found.subscriptions.row(0) == ("s1", "acme", "pro", date(2026, 1, 31), None, 1, None, None, None, None)
    assert found.fees(MAY).select("date", "quantity", "price").rows() == [(date(2026, 5, 31), 1, Decimal(49))]


# ------------------------------------------------------------------------------------------------ what is due


def test_allotments_are_by_version_and_for_subscriptions_with_credits(load):
    assert load().allotments().rows(named=True) == [
        {
            "subscription_id": "s-acme", "account_id": "acme", "anchor": date(2026, 1, 31), "ended_on": None,
            "allotment": allotment, "valid_from": valid_from, "valid_to": valid_to, "recharge_below": 100,
            "recharge_credits": 1000, "recharge_price": Decimal(40), "recharges": "simulated",
        }
        for allotment, valid_from, valid_to in (
            (1500, None, date(2026, 6, 1)), (1600, date(2026, 6, 1), None),
        )
    ] + [
        {
            "subscription_id": "s-bolt", "account_id": "bolt", "anchor": date(2024, 2, 29),
            "ended_on": date(2027, 2, 28), "allotment": 500, "valid_from": None, "valid_to": None,
            "recharge_below": None, "recharge_credits": None,
            "recharge_price": None, "recharges": "observed",
        }
    ]  # fmt: skip


def test_a_version_outside_the_subscription_grants_nothing(load):
    """Ended the day the next version begins, and begun the day the one before ends."""
    for days in ("2026-01-31,2026-06-01", "2026-06-01,"):
        found = load(subscriptions=f"subscription_id,account_id,plan_id,anchor,ended_on\ns1,acme,pro,{days}\n")
        assert found.allotments().height == 1


def test_recharges_without_credits_of_a_plan_are_in_the_ledger_too(load):
    header, _ = GOOD["subscriptions"].split("\n", 1)
    found = load(subscriptions=f"{header}\ns1,acme,seat,2026-03-15,,,0,100,4,simulated\n")
    assert found.allotments().select("subscription_id", "allotment").rows() == [("s1", 0)]


def test_a_fee_is_due_on_the_anniversary_and_does_not_drift(load):
    found = load()
    due = [found.fees(Month(2026, 1) + k).filter(pl.col("subscription_id") == "s-acme") for k in range(-1, 4)]
    assert [frame["date"].to_list() for frame in due] == [
        [], [date(2026, 1, 31)], [date(2026, 2, 28)], [date(2026, 3, 31)], [date(2026, 4, 30)],
    ]  # fmt: skip


def test_a_fee_is_at_the_version_in_force_that_day(load):
    found = load()
    assert found.fees(MAY).rows(named=True)[0] == {
        "account_id": "acme", "subscription_id": "s-acme", "plan_id": "pro", "name": "Pro", "date": date(2026, 5, 31),
        "quantity": 2, "price": Decimal(49), "currency": "USD",
    }  # fmt: skip
    assert found.fees(JUNE).select("name", "price").rows() == [("Pro 2026", Decimal(59))]


def test_a_yearly_fee_is_due_in_the_anchor_s_month_until_it_ends(load):
    found = load()
    due = [
        day
        for k in range(60)
        for day in found.fees(Month(2023, 1) + k).filter(pl.col("subscription_id") == "s-bolt")["date"]
    ]
    assert due == [date(2024, 2, 29), date(2025, 2, 28), date(2026, 2, 28)], "none on the day it ended"


def test_nothing_is_due_on_the_day_a_subscription_ended(load):
    dates = [load().fees(Month(2026, 4) + k).filter(pl.col("plan_id") == "seat")["date"].to_list() for k in range(3)]
    assert dates == [[date(2026, 4, 15)], [], []]


def test_a_fee_without_a_price_is_not_free(load):
    """The plan's row ended, the subscription did not: the line must show up and hold the month."""
    found = load(plans=GOOD["plans"].replace("2026-06-01,\n", "2026-06-01,2026-07-01\n"))
    assert found.fees(Month(2026, 7)).select("name", "price", "currency").rows() == [("Pro 2026", None, "USD")]


def test_packs_are_what_was_bought_for_money_in_the_utc_month(load):
    found = load()
    assert found.packs(MAY).rows(named=True) == [
        {
            "account_id": "bolt", "purchase_id": "p2", "kind": "recharge", "credits": 500, "price": Decimal(20),
            "bought_at": datetime(2026, 5, 31, 23, 59, 59, 999999, tzinfo=UTC), "currency": "EUR",
        }
    ]  # fmt: skip
    assert found.packs(JUNE)["purchase_id"].to_list() == ["p1"], "31 May in Chicago is 1 June in UTC"
    assert found.purchases.height == 3, "the ledger has the goodwill too"


def test_adjustments_of_a_month(load):
    found = load()
    assert found.adjustments_of(MAY).rows(named=True) == [
        {
            "account_id": "acme", "adjustment_id": "a1", "date": date(2026, 5, 31), "amount": Decimal("-12.345678901"),
            "currency": "USD", "taxable": True, "reason": "Refund of a doubled pack",
        }
    ]  # fmt: skip
    assert found.adjustments_of(JUNE)["adjustment_id"].to_list() == ["a2"]


# ------------------------------------------------------------------------------------------------ against a calendar

A_DAY = st.dates(date(2023, 12, 1), date(2025, 3, 31))
SOME_DAYS = st.lists(A_DAY, max_size=3, unique=True).map(sorted)


def slow_fees(subscription: dict, versions: list[dict], interval: str, month: Month) -> list[tuple]:
    """Every day of the month is asked whether it is an anniversary."""
    found = []
    for day in month.days:
        last = calendar.monthrange(day.year, day.month)[1]
        is_anniversary = day.day == min(subscription["anchor"].day, last)
        if interval == "year" and day.month != subscription["anchor"].month:
            continue
        runs = subscription["anchor"] <= day and (subscription["ended_on"] is None or day < subscription["ended_on"])
        if is_anniversary and runs:
            prices = [
                v["price"] for v in versions if (v["from"] or date.min) <= day and (v["to"] is None or day < v["to"])
            ]
            found.append((day, prices[0] if prices else None))
    return found


@settings(deadline=None)
@given(
    A_DAY | st.sampled_from((date(2024, 1, 31), date(2024, 2, 29), date(2023, 12, 30))),
    st.none() | st.integers(1, 400),
    SOME_DAYS,
    st.integers(0, 15),
    st.sampled_from(("month", "year")),
)
def test_fees_are_what_a_calendar_says(anchor, length, cuts, gone, interval):
    """A plan cut into versions, of which some may be gone; a year and a half of months."""
    ended_on = anchor + timedelta(days=length) if length else None
    versions = [
        {"from": start, "to": end, "price": Decimal(place + 1)}
        for place, (start, end) in enumerate(zip([None, *cuts], [*cuts, None], strict=True))
        if not gone >> place & 1
    ]
    lasting = [
        v for v in versions if (v["from"] or date.min) < (ended_on or date.max) and (v["to"] or date.max) > anchor
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "accounts.csv").write_text(ACCOUNTS)
        rows = "".join(f"p,P,USD,{v['price']},{interval},10,{v['from'] or ''},{v['to'] or ''}\n" for v in versions)
        (folder / "plans.csv").write_text("plan_id,name,currency,price,interval,credits,valid_from,valid_to\n" + rows)
        (folder / "subscriptions.csv").write_text(
            f"subscription_id,account_id,plan_id,anchor,ended_on\ns,acme,p,{anchor},{ended_on or ''}\n"
        )
        if not lasting:
            with pytest.raises(ConfigurationError, match="plans.csv|while the subscription runs"):
                products.load(folder)
            event("no version")
            return
        found = products.load(folder)
    subscription = {"anchor": anchor, "ended_on": ended_on}
    for month in (Month(2023, 11) + k for k in range(20)):
        fees = found.fees(month).select("date", "price").rows()
        assert fees == slow_fees(subscription, versions, interval, month), month
        if fees:
            event(f"{interval}, price found: {fees[0][1] is not None}")
    assert [v[:2] for v in found.allotments().select("valid_from", "valid_to").iter_rows()] == [
        (v["from"], v["to"]) for v in lasting
    ]


# ------------------------------------------------------------------------------------------------ what is refused

COLUMNS = {name: text.splitlines()[0].split(",") for name, text in GOOD.items()}
FINE = {
    "plans": {"plan_id": "new", "name": "New", "currency": "USD", "price": "1", "interval": "month", "credits": "1"},
    "subscriptions": {"subscription_id": "new", "account_id": "cove", "plan_id": "pro", "anchor": "2026-04-10"},
    "purchases": {
        "purchase_id": "new", "account_id": "cove", "bought_at": "2026-04-10T12:00:00Z", "kind": "pack", "credits": "1",
        "price": "1", "currency": "USD",
    },
    "adjustments": {
        "adjustment_id": "new", "account_id": "cove", "date": "2026-04-10", "amount": "1", "currency": "USD",
        "taxable": "true", "reason": "because",
    },
}  # fmt: skip
OFFSET = "must be a moment with its offset, such as 2026-10-31T14:05:00Z"
DAY = "must be a day, YYYY-MM-DD"


def line_of(file: str, /, **cells: str) -> str:
    row = FINE[file] | cells
    return ",".join(row.get(column, "") for column in COLUMNS[file]) + "\n"


@pytest.mark.parametrize("name", sorted(GOOD))
def test_the_fine_rows_are_fine(load, name):
    load(**{name: GOOD[name] + line_of(name)})


@pytest.mark.parametrize(
    ("name", "cells", "said"),
    [
        ("plans", {"plan_id": ""}, "plan_id is empty"),
        ("plans", {"name": ""}, "name is empty"),
        ("plans", {"currency": "usd"}, "currency 'usd' must be three capital letters, such as USD"),
        ("plans", {"price": ""}, "price None must be a number with at most 9 decimals; 0 for nothing"),
        ("plans", {"price": "-1"}, "price -1 is negative"),
        ("plans", {"price": "1.0000000001"}, "price '1.0000000001' must be a number"),
        ("plans", {"interval": "week"}, "interval 'week' must be one of month, year"),
        ("plans", {"credits": "-1"}, "credits '-1' must be a whole number, 0 or more, at most nine digits"),
        ("plans", {"credits": "1.5"}, "credits '1.5' must be a whole number"),
        ("plans", {"credits": ""}, "credits None must be a whole number"),
        ("plans", {"valid_from": "2026"}, f"valid_from '2026' {DAY}"),
        ("plans", {"valid_to": "2026-02-30"}, f"valid_to '2026-02-30' {DAY}"),
        ("plans", {"valid_from": "2026-02-03", "valid_to": "2026-02-03"}, "valid_to must lie after valid_from"),
        (
            "plans",
            {"plan_id": "seat", "credits": "0", "valid_from": "2026-02-01"},
            "plan 'seat' stands already on line 5 on 2026-02-01",
        ),
        (
            "plans",
            {"plan_id": "pro", "valid_from": "2026-05-31", "valid_to": "2026-06-01"},
            "plan 'pro' stands already on line 2 on 2026-05-31",
        ),
        (
            "plans",
            {"plan_id": "seat", "valid_to": "2025-01-01", "interval": "year"},
            "line 5: interval of plan 'seat' is 'year' on line 6: give a plan with another interval its own plan_id",
        ),
        (
            "plans",
            {"plan_id": "seat", "valid_to": "2025-01-01", "currency": "EUR"},
            "line 5: currency of plan 'seat' is 'EUR' on line 6: give a plan with another currency its own plan_id",
        ),
        ("subscriptions", {"subscription_id": ""}, "subscription_id is empty"),
        ("subscriptions", {"subscription_id": "s-acme"}, "subscription_id 's-acme' stands already on line 2"),
        ("subscriptions", {"account_id": "acne"}, "account 'acne' is not in accounts.csv"),
        ("subscriptions", {"plan_id": "por"}, "plan 'por' is not in plans.csv"),
        (
            "subscriptions",
            {"plan_id": "annual"},
            "plan 'annual' is in EUR, account 'cove' in USD: give it a plan in its",
        ),
        ("subscriptions", {"anchor": ""}, f"anchor None {DAY}"),
        ("subscriptions", {"anchor": "31.1.2026"}, f"anchor '31.1.2026' {DAY}"),
        ("subscriptions", {"anchor": "0206-01-31"}, "anchor '0206-01-31' must lie between 1970-01-01 and 2099-12-31"),
        ("subscriptions", {"ended_on": "x"}, "ended_on 'x' must be empty or a day, YYYY-MM-DD"),
        ("subscriptions", {"ended_on": "2026-04-10"}, "ended_on must lie after anchor: it is the first day without"),
        ("subscriptions", {"quantity": "0"}, "quantity '0' must be a whole number, 1 or more"),
        ("subscriptions", {"quantity": "-2"}, "quantity '-2' must be a whole number, 1 or more"),
        (
            "subscriptions",
            {"plan_id": "seat", "anchor": "2024-01-01", "ended_on": "2025-01-01"},
            "no row of plan 'seat' is in force while the subscription runs: widen its days",
        ),
        ("subscriptions", {"recharges": "on"}, "recharges 'on' must be empty or one of observed, simulated"),
        ("subscriptions", {"recharge_below": "9"}, "recharge_below need recharges: say observed"),
        (
            "subscriptions",
            {"recharges": "simulated", "recharge_below": "9"},
            "recharge_credits, recharge_price must be given too: a recharge needs recharge_below, recharge_credits",
        ),
        (
            "subscriptions",
            {"recharges": "simulated"},
            "recharge_below, recharge_credits, recharge_price must be given too",
        ),
        (
            "subscriptions",
            {"recharges": "observed", "recharge_price": "1"},
            "recharge_below, recharge_credits must be given too",
        ),
        (
            "subscriptions",
            {"recharges": "simulated", "recharge_below": "-1", "recharge_credits": "1", "recharge_price": "1"},
            "recharge_below '-1' must be a whole number, 0 or more",
        ),
        (
            "subscriptions",
            {"recharges": "simulated", "recharge_below": "1", "recharge_credits": "0", "recharge_price": "1"},
            "recharge_credits '0' must be a whole number, 1 or more",
        ),
        (
            "subscriptions",
            {"recharges": "simulated", "recharge_below": "1", "recharge_credits": "1", "recharge_price": "-1"},
            "recharge_price -1 is negative",
        ),
        (
            "subscriptions",
            {"account_id": "acme", "anchor": "2027-01-01"},
            "account 'acme' has credits from line 2 at the same time: end one by ended_on",
        ),
        (
            "subscriptions",
            {"account_id": "acme", "plan_id": "seat", "recharges": "observed"},
            "account 'acme' has credits from line 2 at the same time",
        ),
        ("purchases", {"purchase_id": ""}, "purchase_id is empty"),
        ("purchases", {"purchase_id": "p1"}, "purchase_id 'p1' stands already on line 2"),
        ("purchases", {"purchase_id": "allotment"}, "purchase_id must not be allotment or overage: the credits ledger"),
        ("purchases", {"account_id": "acne"}, "account 'acne' is not in accounts.csv"),
        ("purchases", {"bought_at": "2026-04-10T12:00:00"}, f"bought_at '2026-04-10T12:00:00' {OFFSET}"),
        ("purchases", {"bought_at": "2026-04-10"}, f"bought_at '2026-04-10' {OFFSET}"),
        ("purchases", {"bought_at": "2026-04-10 12:00:00Z"}, f"bought_at '2026-04-10 12:00:00Z' {OFFSET}"),
        ("purchases", {"bought_at": "2026-02-30T12:00:00Z"}, f"bought_at '2026-02-30T12:00:00Z' {OFFSET}"),
        ("purchases", {"bought_at": "2026-04-10T12:00:00+99:00"}, f"bought_at '2026-04-10T12:00:00+99:00' {OFFSET}"),
        ("purchases", {"bought_at": "0001-01-01T00:00:00+05:00"}, f"bought_at '0001-01-01T00:00:00+05:00' {OFFSET}"),
        ("purchases", {"bought_at": ""}, f"bought_at None {OFFSET}"),
        ("purchases", {"bought_at": "1926-04-10T12:00:00Z"}, "bought_at '1926-04-10T12:00:00Z' must lie between 1970"),
        ("purchases", {"kind": "gift"}, "kind 'gift' must be one of pack, recharge, goodwill"),
        ("purchases", {"credits": "0"}, "credits '0' must be a whole number, 1 or more"),
        ("purchases", {"credits": "-5"}, "credits '-5' must be a whole number, 1 or more"),
        ("purchases", {"price": ""}, "price None must be a number with at most 9 decimals; 0 for nothing"),
        ("purchases", {"price": "-1"}, "price -1 is negative"),
        ("purchases", {"price": "$1"}, "price '$1' must be a number"),
        ("purchases", {"kind": "goodwill"}, "goodwill costs nothing: leave price empty, or call it a pack"),
        ("purchases", {"currency": "EUR"}, "currency EUR must be USD, that of account 'cove'"),
        ("purchases", {"currency": ""}, "currency None must be three capital letters, such as USD"),
        (
            "purchases",
            {"account_id": "acme", "kind": "recharge"},
            "a reported recharge, but subscriptions.csv line 2 simulates them: say observed there, or take",
        ),
        ("adjustments", {"adjustment_id": ""}, "adjustment_id is empty"),
        ("adjustments", {"adjustment_id": "a1"}, "adjustment_id 'a1' stands already on line 2"),
        ("adjustments", {"account_id": "acne"}, "account 'acne' is not in accounts.csv"),
        ("adjustments", {"date": "soon"}, f"date 'soon' {DAY}"),
        ("adjustments", {"date": "2206-01-01"}, "date '2206-01-01' must lie between 1970-01-01 and 2099-12-31"),
        ("adjustments", {"amount": "0.00"}, "amount is 0: an adjustment changes something, take the row out"),
        (
            "adjustments",
            {"amount": "one"},
            "amount 'one' must be a number with at most 9 decimals; a refund is negative",
        ),
        ("adjustments", {"currency": "EUR"}, "currency EUR must be USD, that of account 'cove'"),
        ("adjustments", {"currency": "$"}, "currency '$' must be three capital letters, such as USD"),
        ("adjustments", {"taxable": ""}, "taxable must be true or false"),
        ("adjustments", {"taxable": "yes"}, "taxable must be true or false"),
        ("adjustments", {"reason": ""}, "reason is empty: the statement says it to the customer"),
    ],
)
def test_a_bad_row_is_named_by_line(load, name, cells, said):
    text = GOOD[name] + line_of(name, **cells)
    (found,) = complaints(load, **{name: text})
    where = said if said.startswith("line ") else f"line {text.count(chr(10))}: {said}"
    assert found.startswith(f"{name}.csv {where}"), found


def test_one_subscription_with_credits_may_follow_another(load):
    header, _ = GOOD["subscriptions"].split("\n", 1)
    rows = "s1,cove,pro,2026-01-31,2026-03-10,,,,,\ns2,cove,pro,2026-03-10,,,,,,\n"
    assert load(subscriptions=f"{header}\n{rows}").allotments()["subscription_id"].to_list() == ["s1", "s2", "s2"]


def test_a_reported_recharge_before_or_after_the_simulated_ones_is_one(load):
    header, _ = GOOD["subscriptions"].split("\n", 1)
    bounds = f"{header}\ns1,acme,pro,2026-04-11,2026-05-11,,1,1,1,simulated\n"
    for moment in ("2026-04-10T23:59:59Z", "2026-05-11T00:00:00Z"):
        load(
            subscriptions=bounds,
            purchases=GOOD["purchases"] + line_of("purchases", account_id="acme", kind="recharge", bought_at=moment),
        )
    inside = line_of("purchases", account_id="acme", kind="recharge", bought_at="2026-05-11T01:00:00+02:00")
    (found,) = complaints(load, subscriptions=bounds, purchases=GOOD["purchases"] + inside)
    assert found.startswith("purchases.csv line 5: a reported recharge")


def test_every_bad_row_of_every_file_is_listed(load):
    bad = {
        "plans": {"price": "x", "credits": "x"},
        "subscriptions": {"anchor": "x"},
        "purchases": {"credits": "x"},
        "adjustments": {"amount": "x"},
    }
    found = complaints(load, **{name: GOOD[name] + "\n" + line_of(name, **cells) for name, cells in bad.items()})
    assert [line.split(":")[0] for line in found] == [
        "plans.csv line 7", "plans.csv line 7", "subscriptions.csv line 6", "purchases.csv line 6",
        "adjustments.csv line 5",
    ]  # fmt: skip


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_misspelt_column_is_noticed(load, name):
    with pytest.raises(ConfigurationError, match=rf"{name}\.csv has a column 'acount' that nothing reads"):
        load(**{name: GOOD[name].splitlines()[0] + ",acount\n"})
