"""From the provider's API to the roll-up: what the sandbox says it served is what is billed, whoever reads it."""

from __future__ import annotations

from datetime import date

import duckdb
import polars as pl
import pytest
from truthcheck import daily_of, differences, truth

from etl.closing import cross_foot
from etl.jobs import Jobs, NotReady
from etl.lake import Partition
from etl.periods import Month
from etl.schemas import PRODUCT_LINES

DAYS = [date(2026, 10, 5), date(2026, 10, 6), date(2026, 10, 7)]


@pytest.fixture
def loaded(jobs) -> Jobs:
    for day in DAYS:
        jobs.run_day(day)
    jobs.state(Month(2026, 10))
    return jobs


def test_every_quantity_is_the_sandbox_s_own(loaded, tmp_path):
    said = truth(DAYS[0], DAYS[-1], tmp_path, "--messages-per-day", "150", "--calls-per-day", "40")
    found, compared = differences(daily_of(loaded), said)
    assert found == []
    assert compared >= 3 * 3 * 15


def test_the_provider_s_ledger_reconciles_to_the_cent(loaded):
    for day in DAYS:
        found = loaded.reconcile(day, "twilio")
        assert found.height > 20
        assert found.filter(pl.col("verdict") != "ok").to_dicts() == []


def test_an_outsider_reads_the_same_totals_from_plain_parquet(loaded, settings):
    ours = daily_of(loaded)
    pattern = settings.parent / "lake" / "daily" / "*" / "part.parquet"
    messages, segments, charge = duckdb.sql(
        f"select sum(messages), sum(segments), sum(charge) from read_parquet('{pattern}', hive_partitioning = true)"
    ).fetchall()[0]
    assert (messages, segments, charge) == (ours["messages"].sum(), ours["segments"].sum(), ours["charge"].sum())


def test_a_second_night_changes_nothing(loaded, settings):
    lake = settings.parent / "lake"

    def tree():
        return {p.relative_to(lake).as_posix(): p.read_bytes() for p in lake.rglob("*") if p.is_file()}

    before = tree()
    again = Jobs.open(run_id="the next night")
    done = [d for day in DAYS for d in again.run_day(day).done]
    assert [d for d in done if d.changed] == []
    assert tree() == before


def test_any_order_and_grouping_of_days_gives_the_same_bytes(loaded, settings, tmp_path, provider, monkeypatch):
    from workplace import workplace

    other = workplace(tmp_path / "other", provider, start="2026-10-01")
    monkeypatch.setenv("TOLLBOOK_CONFIG", str(other))
    backwards = Jobs.open(run_id="backwards")
    for day in reversed(DAYS):
        backwards.run_day(day)
    backwards.state(Month(2026, 10))
    for dataset in (
        "events",
        "ledger",
        "reconciled",
        "charges",
        "daily",
        "holdings",
        "credits",
        "monthly",
        "statement",
    ):
        ours = {p: v.sha256 for p, v in loaded.lake.heads(dataset).items()}
        assert ours == {p: v.sha256 for p, v in backwards.lake.heads(dataset).items()}, dataset


def test_lines_and_owners_add_up(loaded):
    for account in loaded.directory.accounts:
        statement = loaded.statements.load(account.account_id, Month(2026, 10))
        assert cross_foot(statement.lines) == []
        parts = statement.lines.filter(pl.col("section").is_in(["usage", "tax", "rounding"]))
        assert parts["amount"].sum() == statement.total
        usage = statement.lines.filter(pl.col("section") == "usage")["amount_exact"].sum()
        by_month = statement.monthly.filter(~pl.col("line").is_in(PRODUCT_LINES))["charge"].sum()
        assert usage == statement.daily["charge"].sum() + by_month
        by_owner = statement.daily.group_by("owner_kind").agg(pl.col("segments").sum())
        assert by_owner["segments"].sum() == statement.history[-1].segments
        assert statement.state == "open"
        assert "2026-10-01" in statement.held[0]


def test_every_raw_record_ended_once(loaded):
    for version in loaded.lake.heads("events").values():
        events = loaded.lake.read(version)
        assert events.select("kind", "record_id").is_duplicated().sum() == 0
        assert events.filter((pl.col("outcome") != "accepted") & pl.col("reason").is_null()).height == 0


def test_raw_pages_are_kept_as_received(loaded):
    import gzip
    import hashlib

    raw = loaded.lake.head(Partition.of("raw", date=DAYS[0], source="twilio"))
    pages = loaded.lake.read(raw)
    assert pages.height >= 4 * 5
    for row in pages.iter_rows(named=True):
        pack = loaded.lake.get_blob("raw", row["object_sha256"], ".gz", p=raw.partition)
        body = gzip.decompress(pack[row["object_offset"] :][: row["object_bytes"]])
        assert hashlib.sha256(body).hexdigest() == row["sha256"]
        assert len(body) == row["bytes"]
        assert b"auth_token" not in body


def test_a_day_that_is_not_over_is_refused(jobs):
    from etl.periods import today

    with pytest.raises(NotReady, match="is not over"):
        jobs.pull(today(), "twilio")


def test_audit_finds_nothing_then_finds_a_charge_that_was_lost(loaded):
    from etl.audit import audit

    assert audit(loaded.lake, DAYS, ["twilio"]) == []
    target = Partition.of("charges", date=DAYS[0], source="twilio")
    head = loaded.lake.head(target)
    frame = loaded.lake.read(head).drop("date", "source")
    loaded.lake.commit(target, frame.head(frame.height - 1), base=head)
    findings = audit(loaded.lake, DAYS, ["twilio"])
    assert any("1 accepted record(s) without a charge" in f for f in findings)
    assert any("lines add up" in f for f in findings)


def test_days_loaded_at_once_share_the_provider_s_limit(jobs, provider):
    from concurrent.futures import ThreadPoolExecutor

    import httpx

    httpx.delete(f"{provider.url}/_sandbox/stats")
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda day: jobs.pull(date(2026, 9, day), "twilio"), range(1, 13)))
    stats = httpx.get(f"{provider.url}/_sandbox/stats").json()
    assert 2 <= stats["max_concurrent"] <= 4, stats
