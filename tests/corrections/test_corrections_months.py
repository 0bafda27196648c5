"""Closed months stay closed: what changes later is a dated line of the open month, to the cent, and never twice.

The worlds are September 2026 of tests/statement (five small accounts). September is closed on 3 October.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import polars as pl
from correctionshelp import LATE, NOVEMBER, OCTOBER, THE_20TH, again
from statement_made import SEPTEMBER, at, call, load_day, on, open_jobs

from etl.closing import cross_foot
from etl.corrections import CHANGES, changed_lines
from etl.lake import Partition
from etl.manifests import closings
from etl.schemas import CORRECTED, DATASETS


def corrected(jobs, account_id: str, month=OCTOBER) -> list[tuple]:
    lines = jobs.statements.load(account_id, month).lines.filter(pl.col("section") == "correction")
    return lines.select(
        "for_month", "line", "direction", "carrier", "quantity", "amount_exact", "amount", "events"
    ).rows()


def owed(jobs, account_id: str, *later) -> None:
    """September as closed + everything booked for it = September as it stands, line by line."""
    closed = jobs.statements.load(account_id, SEPTEMBER)
    head = jobs.lake.head(Partition.of("statement", month=str(SEPTEMBER)))
    now = jobs.lake.read(head, DATASETS["statement"].columns).filter(pl.col("account_id") == account_id)
    booked = pl.concat([jobs.statements.load(account_id, m).lines for m in later])
    assert changed_lines(closed.lines, now, booked, str(SEPTEMBER)).is_empty()
    total = now.filter(pl.col("section") == "total")["amount"].item()
    mine = booked.filter(pl.col("for_month") == str(SEPTEMBER), pl.col("section") == "correction")
    assert closed.total + mine["amount"].sum() == total


def test_a_late_text_is_a_dated_line_of_the_open_month(jobs):
    before = jobs.statements.load("acme", SEPTEMBER)
    again(jobs, THE_20TH, [*on(THE_20TH), LATE])
    # Texts: 0.0740 was 0.07 and with 3 × 0.0095 more is 0.1025, which is 0.10. Fees: 0.024 was 0.02 and with 3 × 0.0120
    # more is 0.060, which is 0.06. A tenth of 0.0285 more tax: of each line 0.01 as before.
    assert corrected(jobs, "acme") == [
        ("2026-09", "text", "outbound", None, 3, Decimal("0.0285"), Decimal("0.03"), 1),
        ("2026-09", "carrier_fee", "outbound", None, 3, Decimal("0.036"), Decimal("0.04"), 1),
        ("2026-09", "tax", None, None, None, Decimal("0.00285"), Decimal(0), 0),
    ]
    october = jobs.statements.load("acme", OCTOBER)
    records = october.corrections.drop_nulls("record_id")
    assert records.select("record_id", "date", "reason").unique().rows() == [("late", THE_20TH, "late")]
    assert not cross_foot(october.lines)
    assert jobs.statements.load("acme", SEPTEMBER).lines.equals(before.lines)
    owed(jobs, "acme", OCTOBER)
    assert corrected(jobs, "bolt") == []


def test_records_say_how_a_line_came_about(jobs):
    gone, *rest = on(THE_20TH)
    dearer = [e | {"segments": 7} if e["record_id"] == "a5" else e for e in rest]
    again(jobs, THE_20TH, [*dearer, LATE])
    october = jobs.statements.load("acme", OCTOBER)
    reasons = dict(october.corrections.drop_nulls("record_id").select("record_id", "reason").rows())
    assert reasons == {gone["record_id"]: "gone", "a5": "changed", "late": "late"}
    by_line = october.corrections.group_by("line", "direction").agg(pl.col("amount_exact").sum())
    lines = october.lines.filter(pl.col("section") == "correction")
    for line, direction, exact in by_line.rows():
        mine = lines.filter(pl.col("line") == line, pl.col("direction").eq_missing(pl.lit(direction)))
        assert mine["amount_exact"].sum() == exact
    owed(jobs, "acme", OCTOBER)


def test_what_was_booked_in_a_month_that_closed_is_not_booked_again(settings_file):
    jobs = open_jobs(settings_file, "run-2", date(2026, 10, 20))
    again(jobs, THE_20TH, [*on(THE_20TH), LATE])
    booked = corrected(jobs, "acme")
    closing = open_jobs(settings_file, "run-3", date(2026, 11, 4))
    assert all(c.closed for c in closing.close(OCTOBER)), [c.held for c in closing.close(OCTOBER)]
    for day in NOVEMBER.days:
        load_day(closing, day, [])
    closing.restate([NOVEMBER])
    assert corrected(closing, "acme", OCTOBER) == booked
    assert corrected(closing, "acme", NOVEMBER) == []
    # The record goes again: what October billed for it is given back in November.
    again(closing, THE_20TH, on(THE_20TH))
    back = corrected(closing, "acme", NOVEMBER)
    assert [(r[1], r[4], r[5], r[6]) for r in back] == [(r[1], r[4] and -r[4], -r[5], -r[6]) for r in booked]
    november = closing.statements.load("acme", NOVEMBER)
    assert set(november.corrections["reason"]) == {"taken back", "follows"}
    assert corrected(closing, "acme", OCTOBER) == booked
    owed(closing, "acme", OCTOBER, NOVEMBER)


def test_a_month_reopened_after_its_correction_was_closed_gives_the_correction_back(settings_file):
    """And the closed page tells of the month before what it told then, whatever revision there is now."""
    jobs = open_jobs(settings_file, "run-2", date(2026, 10, 20))
    again(jobs, THE_20TH, [*on(THE_20TH), LATE])
    booked = corrected(jobs, "acme")
    closing = open_jobs(settings_file, "run-3", date(2026, 11, 4))
    closing.close(OCTOBER)
    for day in NOVEMBER.days:
        load_day(closing, day, [])
    closing.restate([NOVEMBER])
    told = closing.statements.load("acme", OCTOBER)
    again_closed = closing.reopen(SEPTEMBER, "acme", "asked for one bill")
    assert (again_closed.revision, closings(closing.lake, SEPTEMBER)["bolt"]["revision"]) == (2, 1)
    after = open_jobs(settings_file, "run-4", date(2026, 11, 5))
    tells = after.statements.load("acme", OCTOBER)
    assert [(t.month, t.revision, t.total) for t in tells.history] == [
        (t.month, t.revision, t.total) for t in told.history
    ]
    assert tells.previous_lines.equals(told.previous_lines)
    assert corrected(after, "acme", OCTOBER) == booked
    assert [(r[1], r[6]) for r in corrected(after, "acme", NOVEMBER)] == [(r[1], -r[6]) for r in booked]
    september = after.statements.load("acme", SEPTEMBER)
    assert (september.revision, september.reopened) == (2, "asked for one bill")
    assert september.replaced_lines.filter(pl.col("section") == "total")["amount"].item() == Decimal("0.20")
    assert september.total == Decimal("0.27")


def test_nothing_moves_and_nothing_is_written(jobs):
    again(jobs, THE_20TH, [*on(THE_20TH), LATE])
    seqs = {p: v.seq for d in ("statement", "corrections", "credits") for p, v in jobs.lake.heads(d).items()}
    again(jobs, THE_20TH, [*on(THE_20TH), LATE])
    assert {p: v.seq for d in ("statement", "corrections", "credits") for p, v in jobs.lake.heads(d).items()} == seqs


def test_a_price_changed_for_a_closed_month_says_so(settings_file):
    prices = settings_file.parent / "rates" / "prices.csv"
    prices.write_text(
        prices.read_text().replace(
            "sms-in,standard,text,inbound,sms,,+1,USD,0.0050", "sms-in,standard,text,inbound,sms,,+1,USD,0.0070"
        )
    )
    jobs = open_jobs(settings_file, "run-2", date(2026, 10, 20))
    jobs.rate_day(THE_20TH)
    jobs.restate([SEPTEMBER])
    rows = jobs.statements.load("acme", OCTOBER).corrections.drop_nulls("record_id")
    assert rows.select("record_id", "reason", "quantity", "amount_exact", "rate_was", "rate_is").rows() == [
        ("a5", "repriced", 0, Decimal("0.004"), "sms-in", "sms-in")
    ]
    owed(jobs, "acme", OCTOBER)


def test_a_late_text_without_a_price_holds_the_open_month(settings_file):
    jobs = open_jobs(settings_file, "run-2", date(2026, 11, 4))
    again(jobs, THE_20TH, [*on(THE_20TH), LATE | {"to_number": "+442071838750"}])
    held = {c.account_id: c.held for c in jobs.close(OCTOBER)}
    assert any("without a price" in reason for reason in held["acme"])
    assert not held["bolt"]


def test_a_call_over_the_end_of_a_closed_month_is_corrected_there(jobs):
    day = date(2026, 9, 30)
    again(jobs, day, [*on(day), call("bz", at(30, "23:59:59"), "+12025550111", talk=61)])
    ((month, line, _, _, quantity, exact, _, records),) = corrected(jobs, "bolt")
    assert (month, line, quantity, exact, records) == ("2026-09", "call", 120, Decimal("0.04"), 1)
    owed(jobs, "bolt", OCTOBER)


def test_corrections_name_the_sections_they_may_be_of():
    assert set(DATASETS["corrections"].schema.columns()["section"].metadata["enum"]) == set(CORRECTED)
    assert set(CHANGES) <= set(DATASETS["statement"].columns)


# ------------------------------------------------------------------------------------------------ the audit


def verdicts(jobs, account_id: str | None = None) -> list[str]:
    results = jobs.audit([THE_20TH, date(2026, 10, 2)])
    return [str(r) for r in results if r.invariant == "closed and corrected" and r.verdict != "ok"]


def test_the_audit_holds_a_closed_month_and_its_corrections_to_what_stands_now(jobs):
    assert verdicts(jobs) == []
    load_day(jobs, THE_20TH, [*on(THE_20TH), LATE])
    jobs.state(SEPTEMBER)  # what a run that was killed before it stated October leaves
    (finding,) = verdicts(jobs)
    assert "month=2026-09/account=acme differs by 0.070000000 USD in 3 line(s) that no later month books" in finding
    assert "python -m etl run for a day of 2026-10" in finding
    jobs.restate([SEPTEMBER])
    assert verdicts(jobs) == []


def test_the_audit_adds_up_the_records_behind_a_correction(jobs):
    again(jobs, THE_20TH, [*on(THE_20TH), LATE])
    target = Partition.of("corrections", month=str(OCTOBER))
    head = jobs.lake.head(target)
    rows = jobs.lake.read(head, DATASETS["corrections"].columns)
    jobs.lake.commit(target, rows.filter(pl.col("line") != "text"), base=head)
    (finding,) = verdicts(jobs)
    assert "month=2026-10/account=acme has 1 correction line(s), first text of 2026-09" in finding
