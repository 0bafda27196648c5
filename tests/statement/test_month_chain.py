"""Holdings and credits are carried on from month to month: in order, from what was closed, and never twice."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from golden_world import EVENTS, FEBRUARY, FILES, JANUARY, MARCH, at, build, number, opened, recording
from statement_made import event_frame, load_day

from etl import nights
from etl.lake import Partition
from etl.manifests import closings
from etl.periods import Month

SUBSCRIPTIONS, PURCHASES = "directory/subscriptions.csv", "directory/purchases.csv"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The quarter with every day of it, nothing closed."""
    return build(tmp_path_factory.mktemp("whole"), every_day=True)


@pytest.fixture
def quarter(whole, tmp_path):
    """A copy of it that a test may change."""
    import shutil

    shutil.copytree(whole.parent, tmp_path / "place")
    return tmp_path / "place" / whole.name


def edit(settings, name: str, *changes: tuple[str, str]) -> None:
    file = settings.parent / name
    text = file.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)


def ledger(jobs, account_id: str, month) -> list[tuple]:
    columns = ["entry", "lot", "credits", "balance_allotment", "balance_purchased"]
    return jobs.statements.load(account_id, month).ledger.select(columns).rows()


def closed(jobs, month) -> dict[str, tuple[str, ...]]:
    return {c.account_id: c.held for c in jobs.close(month)}


def test_a_month_closes_after_the_month_it_rests_on(quarter):
    jobs = opened(quarter)
    held = closed(jobs, FEBRUARY)
    assert set(held.values()) == {("2028-01 is still open: close it first, python -m etl close --month 2028-01",)}
    nights.close(jobs, "2028-02")
    assert set(closings(jobs.lake, JANUARY)) == set(closings(jobs.lake, FEBRUARY)) == set(held)


def test_a_day_that_arrives_after_a_gap_is_in_the_storage_of_every_later_month(quarter):
    jobs = opened(quarter)
    late = recording(at(1, 15), 60_000) | {"record_id": "late"}
    load_day(jobs, date(2028, 1, 15), [late])
    nights.state(jobs, ["2028-01-15/2028-01-15"])
    for month in (FEBRUARY, MARCH):
        jobs.state(month)
        (minutes,) = jobs.statements.load("campaign", month).lines.filter(pl.col("line") == "recording_storage")[
            "quantity"
        ]
        assert minutes == 603 + 1000


def test_a_closed_month_hands_on_what_its_packs_cost(quarter):
    nights.close(opened(quarter), "2028-02")
    # Dearer from now on: what was bought in the closed month was not.
    edit(quarter, SUBSCRIPTIONS, (",5,20,2.00,simulated", ",5,20,9.00,simulated"))
    after = opened(quarter)
    after.state(FEBRUARY)
    march = after.statements.load("twice", MARCH)
    (left,) = march.ledger.filter(pl.col("lot").str.starts_with("recharge"))["lot"]
    came_in = march.earlier_ledger.filter(pl.col("lot") == left)
    assert came_in.select("entry", "credits").rows() == [("recharge", 60)]
    paid = march.earlier_monthly.filter(pl.col("date") == came_in["date"][0])
    assert paid["charge"].to_list() == [Decimal("6")]


def test_a_closed_month_hands_on_the_credits_it_was_closed_with(quarter):
    jobs = opened(quarter)
    nights.close(jobs, "2028-02")
    # The operator switches recharging off for good, and enters a pack dated in the closed month.
    edit(quarter, SUBSCRIPTIONS, (",5,20,2.00,simulated", ",,,,"))
    edit(quarter, PURCHASES, ("pack-1,", "late,twice,2028-02-20T00:00:00+00:00,pack,500,25.00,USD,\npack-1,"))
    after = opened(quarter)
    after.restate([MARCH])  # a night: files alone change nothing of a month that is closed
    assert ledger(after, "twice", FEBRUARY)[-1][3:] == (0, 24)
    march = ledger(after, "twice", MARCH)
    assert sum(row[2] for row in march if row[0] == "open") == 24
    assert {row[0] for row in march} & {"correction"} == set()
    (said,) = [s for s in after.loose_ends(FEBRUARY) if "late" in s]
    assert "2028-02 is closed for twice" in said
    # What that sentence names, `etl rate --month 2028-02`: in the ledger, and among what is paid apart.
    after.restate([FEBRUARY])
    assert [s for s in after.loose_ends(FEBRUARY) if "late" in s] == []
    assert [row[2] for row in ledger(after, "twice", MARCH) if row[:2] == ("correction", "late")] != []
    paid = after.statements.load("twice", MARCH).lines.filter(pl.col("section") == "product_correction")
    assert (FEBRUARY, Decimal("25.00")) in [(Month.parse(m), a) for m, a in paid.select("for_month", "amount").rows()]


def test_a_purchase_moved_out_of_a_closed_month_counts_once(quarter):
    jobs = opened(quarter)
    extra = "big,a31,2028-02-20T00:00:00+00:00,pack,500,25.00,USD,\npack-1,"
    edit(quarter, PURCHASES, ("pack-1,", extra))
    jobs = opened(quarter)
    nights.close(jobs, "2028-02")
    edit(quarter, PURCHASES, ("big,a31,2028-02-20", "big,a31,2028-03-20"))
    moved = opened(quarter)
    moved.state(MARCH)
    # February is open for others, so computed again: what it was closed with is taken back, and bought in March.
    rows = [(row[0], row[2]) for row in ledger(moved, "a31", MARCH) if row[1] == "big"]
    assert rows == [("open", 500), ("correction", -500), ("purchase", 500)]
    # Not closed, it simply moves.
    edit(quarter, PURCHASES, ("pack-1,", "small,a31,2028-03-02T00:00:00+00:00,pack,5,1.00,USD,\npack-1,"))
    opened(quarter).state(MARCH)


def test_a_recording_its_provider_forgot_is_not_stored_for_ever(quarter):
    jobs = opened(quarter)
    day = date(2028, 1, 20)
    target = Partition.of("events", date=day, source="twilio")
    head = jobs.lake.head(target)
    events = (
        jobs.lake.read(head)
        .drop("date", "source")
        .with_columns(vanished=(pl.col("kind") == "recording") & (pl.col("answered_seconds") == 36_000))
    )
    jobs.lake.commit(target, event_frame(events.to_dicts()), base=head)
    jobs.rate(day, "twilio")
    jobs.roll_up(day)
    quantities = {}
    for month in (JANUARY, FEBRUARY):
        jobs.state(month)
        lines = jobs.statements.load("campaign", month).lines
        quantities[str(month)] = lines.filter(pl.col("line") == "recording_storage")["quantity"].item()
    assert quantities == {"2028-01": 604, "2028-02": 3}


def test_each_number_may_have_its_own_price_and_is_one_number(tmp_path):
    header, *rows = FILES["directory/numbers.csv"].splitlines()
    own = {number("picture", 1): "1.50", number("picture", 2): "2.50"}
    priced = [header + ",monthly_price", *(f"{row},{own.get(row.split(',')[0], '')}" for row in rows)]
    prices = FILES["rates/prices.csv"].replace(
        "number,standard,number,,,local,,USD,1.00,,,,,,,2028-01-01,,2028-01-01,",
        "number,standard,number,,,local,,USD,1.00,,,,,,,2028-01-01,2028-02-15,2028-01-01,\n"
        "number-2,standard,number,,,local,,USD,1.10,,,,,,,2028-02-15,,2028-01-01,",
    )
    files = {"directory/numbers.csv": "\n".join(priced) + "\n", "rates/prices.csv": prices}
    jobs = opened(build(tmp_path, 'number_billing = "days"', files=files))
    (owned,) = jobs.statements.load("picture", FEBRUARY).lines.filter(pl.col("line") == "number").rows(named=True)
    assert (owned["quantity"], owned["amount"]) == (2, Decimal("4.00"))
    taxed = jobs.statements.load("taxed", FEBRUARY).lines
    # 14/29 of 1.00 and 15/29 of 1.10: 0.482758621 + 0.568965517 → 1.05, and one emergency fee
    assert taxed.row(0, named=True)["quantity"] == 1
    assert taxed.row(0, named=True)["amount_exact"] == Decimal("1.051724138")
    assert taxed.filter(pl.col("item") == "Emergency line")["amount"].item() == Decimal("0.40")


def test_a_customer_since_mid_month_pays_a_number_from_that_day(tmp_path):
    header, *rows = FILES["directory/accounts.csv"].splitlines()
    since = [f"{row},{'2028-02-15' if row.startswith('six,') else ''}" for row in rows]
    accounts = {"directory/accounts.csv": "\n".join([header + ",valid_from", *since]) + "\n"}
    jobs = opened(build(tmp_path, 'number_billing = "days"', files=accounts))
    line = jobs.statements.load("six", FEBRUARY).lines.row(0, named=True)
    assert line["amount_exact"] == Decimal("0.517241379")  # 1.00 × 15/29


def test_a_ladder_does_not_count_with_prices_that_the_days_were_not_rated_with(quarter):
    edit(
        quarter,
        "rates/prices.csv",
        ("sms-tier,tier,text,outbound,sms,,+1,USD,0.0100", "sms-tier,tier,text,outbound,sms,,+1,USD,0.0500"),
    )
    jobs = opened(quarter)
    jobs.state(FEBRUARY)
    (step,) = (
        jobs.statements.load("ladder", FEBRUARY).monthly.filter(pl.col("line") == "tier_adjustment").rows(named=True)
    )
    assert (step["charge"], step["unrated"]) == (None, "no price")
    for day in sorted({e["occurred_at"].date() for e in EVENTS if e["provider_account"] == "AC-ladder"}):
        jobs.rate(day, "twilio")
        jobs.roll_up(day)
    jobs.state(FEBRUARY)
    (step,) = (
        jobs.statements.load("ladder", FEBRUARY).monthly.filter(pl.col("line") == "tier_adjustment").rows(named=True)
    )
    assert step["charge"] == Decimal("0.10") - Decimal("0.60")


def test_one_run_of_the_whole_quarter_is_a_run_every_day(whole, tmp_path):
    """Stated after every day of February or once at its end: the same statement, ledger and monthly charges."""
    settings = build(tmp_path)
    jobs = opened(settings)
    for day in FEBRUARY.days:
        load_day(
            jobs, day, [e | {"record_id": f"r{i:02d}"} for i, e in enumerate(EVENTS) if e["occurred_at"].date() == day]
        )
        jobs.state(FEBRUARY)
    once = opened(whole)
    for dataset in ("holdings", "credits", "monthly", "statement"):
        target = Partition.of(dataset, month="2028-02")
        assert jobs.lake.head(target).sha256 == once.lake.head(target).sha256, dataset
