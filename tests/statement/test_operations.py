"""A month as its operator sees it, read from a real lake: every figure worked by hand, and nothing written."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from statement_made import MIA, SEPTEMBER, at, event_frame, load_day, on, open_jobs, text, write_place

from etl import operations
from etl.lake import Partition
from etl.schemas import DATASETS

GAP = date(2026, 9, 17)


def tree(settings) -> dict:
    return {p: p.read_bytes() for p in (settings.parent / "lake").rglob("*") if p.is_file()}


def states(month) -> dict[date, tuple[str, str | None]]:
    return {row["date"]: (row["state"], row["compared"]) for row in month.loads.iter_rows(named=True)}


@pytest.fixture(scope="module")
def gappy_once(tmp_path_factory):
    settings = write_place(tmp_path_factory.mktemp("gappy"))
    for day in [d for d in SEPTEMBER.days if d != GAP and d < date(2026, 9, 20)]:
        jobs = open_jobs(settings, run_id=f"night of {day}", today=day + timedelta(days=1))
        load_day(jobs, day, on(day))
    jobs.state(SEPTEMBER)
    return settings


@pytest.fixture
def gappy(gappy_once, tmp_path):
    """September but for the 17th, each day loaded by its own night, on the 20th; a copy for every test."""
    shutil.copytree(gappy_once.parent, tmp_path, dirs_exist_ok=True)
    return open_jobs(tmp_path / gappy_once.name, today=date(2026, 9, 20))


def test_every_day_of_every_source_has_a_state(gappy):
    found = gappy.operations(SEPTEMBER)
    assert states(found) == {
        day: (
            ("missing", None) if day == GAP else ("to come", None) if day >= date(2026, 9, 20) else ("loaded", "not compared")
        )
        for day in SEPTEMBER.days
    }  # fmt: skip
    third = found.loads.row(2, named=True)
    assert (third["records"], third["accepted"], third["run_id"]) == (4, 4, "night of 2026-09-03")
    assert third["first_at"] == third["changed_at"] == datetime(2026, 9, 4, 4, tzinfo=UTC)
    assert found.through == date(2026, 9, 19)
    assert found.as_of == datetime(2026, 9, 20, 4, tzinfo=UTC)


def test_a_day_whose_night_has_not_begun_is_no_gap(gappy):
    """The settings wait two hours after midnight: at one o'clock yesterday is still to come."""
    gappy.clock = lambda: datetime(2026, 9, 21, 1, tzinfo=UTC)
    assert states(gappy.operations(SEPTEMBER))[date(2026, 9, 20)] == ("to come", None)
    gappy.clock = lambda: datetime(2026, 9, 21, 2, tzinfo=UTC)
    assert states(gappy.operations(SEPTEMBER))[date(2026, 9, 20)] == ("missing", None)


def test_what_needs_doing_names_gaps_prices_and_records_of_nobody(gappy):
    assert gappy.operations(SEPTEMBER).todo == (
        "2026-09-17 of twilio is missing: load it with python -m etl run --date 2026-09-17",
        "no price for 1 charge(s) of 1 account(s): add the price to prices.csv, then python -m etl rate --month 2026-09",
        "2026-09: 1 record(s) of no account of that month: complete accounts.csv, then python -m etl rate --month 2026-09",
    )


def test_neighbouring_gaps_are_one_sentence_with_one_command(tmp_path):
    jobs = open_jobs(write_place(tmp_path))
    for day in SEPTEMBER.days[:-3]:
        load_day(jobs, day, [])
    jobs.state(SEPTEMBER)
    assert jobs.operations(SEPTEMBER).todo == (
        "2026-09-28 to 2026-09-30 (3 days) of twilio are missing: load them with python -m etl run --from 2026-09-28 "
        "--to 2026-09-30",
    )


def test_a_gap_that_was_filled_is_late(gappy):
    load_day(gappy, GAP, [])
    assert states(gappy.operations(SEPTEMBER))[GAP] == ("late", "not compared")


def test_a_day_that_was_changed_later_keeps_its_night(gappy):
    day = date(2026, 9, 3)
    load_day(gappy, day, on(day)[:2])
    row = gappy.operations(SEPTEMBER).loads.row(2, named=True)
    assert (row["state"], row["records"], row["run_id"]) == ("loaded", 2, "run-1")
    assert (row["first_at"], row["changed_at"]) == (
        datetime(2026, 9, 4, 4, tzinfo=UTC),
        datetime(2026, 9, 20, 4, tzinfo=UTC),
    )


def test_a_day_rated_again_and_not_rolled_up_is_behind(gappy):
    day = date(2026, 9, 3)
    target = Partition.of("events", date=day, source="twilio")
    gappy.lake.commit(target, event_frame(on(day)[:1]), base=gappy.lake.head(target))
    gappy.rate(day, "twilio")
    found = gappy.operations(SEPTEMBER)
    assert states(found)[day] == ("behind", "not compared")
    assert "2026-09-03 was rated again since: python -m etl rate --date 2026-09-03" in found.todo
    gappy.roll_up(day)
    lags = "2026-09: its statements lack what changed since: python -m etl rate --month 2026-09"
    assert lags in gappy.operations(SEPTEMBER).todo
    gappy.state(SEPTEMBER)
    assert lags not in gappy.operations(SEPTEMBER).todo


def test_a_day_that_is_loaded_and_not_rolled_up_is_behind_and_a_source_without_records_is_not(tmp_path):
    settings = write_place(tmp_path, ("twilio", "drop"))
    jobs = open_jobs(settings)
    first, second = SEPTEMBER.days[:2]
    for day in (first, second):
        load_day(jobs, day, on(day))
        dropped = [] if day == first else [text("x1", at(2), MIA)]
        jobs.lake.commit(Partition.of("events", date=day, source="drop"), event_frame(dropped), base=None)
        jobs.rate(day, "drop")
    found = jobs.operations(SEPTEMBER)
    by = {(r["date"], r["source"]): r["state"] for r in found.loads.iter_rows(named=True)}
    assert by[first, "drop"] == "late", "rated, and nothing to add to the roll-up"
    assert by[second, "drop"] == "behind"
    assert by[second, "twilio"] == "behind", "the roll-up of the day does not hold what is rated"


def test_unrated_charges_have_a_reason_an_example_and_a_fix(jobs):
    rate = "python -m etl rate --month 2026-09"
    assert jobs.operations(SEPTEMBER).unrated.rows() == [
        ("no account", "text", "unassigned", "record", 1, date(2026, 9, 8), date(2026, 9, 8), "u1",
         f"complete accounts.csv and numbers.csv, then {rate}"),
        ("no price", "text", "dune", "record", 1, date(2026, 9, 6), date(2026, 9, 6), "d2",
         f"add the price to prices.csv, then {rate}"),
    ]  # fmt: skip


def test_usage_of_nobody_is_counted_by_account(jobs):
    found = jobs.operations(SEPTEMBER).unassigned
    # dune's number is not listed: d1 at 0.0095 - 0.0005 before the 15th + 0.0045 fee; d2 has no price
    assert found.rows() == [
        ("unassigned", False, 1, 1, Decimal("0.0045"), "USD"),
        ("dune", True, 2, 2, Decimal("0.0135"), "USD"),
    ]


def test_charges_are_those_of_the_statement_before_taxes(jobs):
    found = jobs.operations(SEPTEMBER)
    for account in ("acme", "bolt", "kiri"):
        row = found.margin.row(by_predicate=pl.col("account_id") == account, named=True)
        assert row["charged"] == jobs.statements.load(account, SEPTEMBER).total
        assert (row["provider_cost"], row["margin"]) == (0, row["charged"])
    # of 11 calls two were not answered: no price will come for them
    assert dict(found.unpriced.select("line", "unpriced").iter_rows()) == {"text": 12, "call": 9, "campaign_call": 1}


def test_costs_count_for_the_month_they_are_known_in(jobs):
    day = date(2026, 9, 1)
    priced = [e | {"provider_cost": Decimal("0.0075"), "provider_currency": "USD"} for e in on(day)]
    load_day(jobs, day, priced)
    jobs.state(SEPTEMBER)
    row = jobs.operations(SEPTEMBER).margin.row(by_predicate=pl.col("account_id") == "acme", named=True)
    assert (row["provider_cost"], row["margin"], row["unpriced"]) == (
        Decimal("0.0075"), row["charged"] - Decimal("0.0075"), 7,
    )  # fmt: skip


def test_a_closed_month_keeps_its_charge_and_says_what_it_would_be_now(jobs):
    jobs.close(SEPTEMBER, ["acme"])
    before = jobs.operations(SEPTEMBER)
    row = before.accounts.row(by_predicate=pl.col("account_id") == "acme", named=True)
    assert (row["state"], row["revision"], row["held"]) == ("final", 1, [])
    assert row["closed_at"] == datetime(2026, 10, 3, 4, tzinfo=UTC)
    assert row["total"] == row["total_now"]
    day = date(2026, 9, 1)
    load_day(jobs, day, [*on(day), text("late", at(1), MIA, segments=10)])
    jobs.state(SEPTEMBER)
    after = jobs.operations(SEPTEMBER)
    row = after.accounts.row(by_predicate=pl.col("account_id") == "acme", named=True)
    assert row["total_now"] - row["total"] == Decimal("0.13"), "texts 0.074 to 0.164, fees 0.027 to 0.072"
    mine = pl.col("account_id") == "acme"
    assert after.margin.filter(mine)["charged"].to_list() == before.margin.filter(mine)["charged"].to_list()


def test_a_statement_that_lags_is_no_matter_where_every_account_is_closed(jobs):
    load_day(jobs, date(2026, 9, 6), [])
    jobs.state(SEPTEMBER)
    jobs.close(SEPTEMBER)
    load_day(jobs, date(2026, 9, 1), [])
    found = jobs.operations(SEPTEMBER)
    assert set(found.accounts["state"]) == {"final"}
    assert [s for s in found.todo if "lack what changed" in s] == []


def test_every_account_that_may_close_is_named_with_the_command(jobs):
    assert "4 account(s) ready to close: python -m etl close --month 2026-09" in jobs.operations(SEPTEMBER).todo
    jobs.close(SEPTEMBER)
    found = jobs.operations(SEPTEMBER)
    assert not [s for s in found.todo if "ready to close" in s]
    assert dict(found.accounts.select("account_id", "state").iter_rows())["dune"] == "provisional"
    (held,) = found.accounts.filter(pl.col("account_id") == "dune")["held"].to_list()
    assert held == [
        "1 charge(s) without a price: add the price to the rate card, then python -m etl rate --month 2026-09"
    ]


def test_a_running_month_is_held_by_its_date_and_not_by_days_to_come(gappy):
    held = gappy.operations(SEPTEMBER).accounts.filter(pl.col("account_id") == "acme")["held"].to_list()[0]
    assert held == [
        "day missing: 2026-09-17 of twilio: load it with python -m etl run --date 2026-09-17",
        "too early: 2026-09 may close from 2026-10-03",
    ]


def test_a_month_before_that_is_open_holds_every_account(jobs, settings_file):
    later = open_jobs(settings_file, today=date(2026, 11, 5))
    found = later.operations(SEPTEMBER + 1)
    assert "2026-09 is still open: close it first, python -m etl close --month 2026-09" in found.todo
    assert found.accounts.filter(pl.col("held").list.len() > 0).height == 5


def test_records_in_quarantine_are_counted_by_reason_with_one_s_id(jobs):
    for day, ids in ((date(2026, 9, 4), ("q2", "q1")), (date(2026, 9, 10), ("q3",))):
        bad = [text(i, at(day.day), MIA, outcome="quarantined", reason="bad_price", body="never shown") for i in ids]
        load_day(jobs, day, [*on(day), *bad])
    found = jobs.operations(SEPTEMBER)
    assert found.quarantine.rows() == [
        ("bad_price", "twilio", "message", 3, date(2026, 9, 4), date(2026, 9, 10), "q1",
         "ask the provider with the record id (docs/sources.md), then python -m etl run --from 2026-09-04 --to 2026-09-10"),
    ]  # fmt: skip
    assert "never shown" not in repr(found)


def test_no_column_of_a_text_or_a_number_is_read():
    """What would fail if it were touched is not."""

    def touched(_):
        raise AssertionError("read")

    events = DATASETS["events"].empty().lazy().with_columns(date=pl.lit(None, pl.Date), source=pl.lit(None, pl.String))
    trap = [pl.col(c).map_batches(touched, return_dtype=pl.String) for c in ("body", "from_number", "to_number")]
    assert operations.quarantine(events.with_columns(trap)).height == 0
    with pytest.raises(AssertionError, match="read"):
        events.with_columns(trap).collect()


def test_looking_changes_nothing(jobs, settings_file):
    before = tree(settings_file)
    jobs.operations(SEPTEMBER)
    jobs.operations(SEPTEMBER + 1)
    assert tree(settings_file) == before


def test_a_month_nobody_loaded_can_be_looked_at(tmp_path):
    found = open_jobs(write_place(tmp_path)).operations(SEPTEMBER)
    assert found.loads["state"].unique().to_list() == ["missing"]
    assert (found.through, found.as_of, found.quarantine.height, found.unrated.height) == (None, None, 0, 0)
    assert found.margin["margin"].to_list() == [None] * 5
    assert found.todo[0].startswith("2026-09-01 to 2026-09-30 (30 days) of twilio are missing")
