"""What holds a month: for each rule a world in which it closes, and the least change that holds just whom it concerns."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import polars as pl
import pytest
from closinghelp import DAY, WHOLE, configure, held, miscount, of_record, rewrite, tell_the_rest, told
from statement_made import CLOSING_DAY, SEPTEMBER, load_day, on, open_jobs

from etl.closing import not_compared, unlike_totals
from etl.manifests import closings
from etl.money import MONEY
from etl.schemas import DATASETS

AGREED = (
    ("sms-outbound", 1, "2", "segments", "0.0079"), ("sms-inbound", 1, "2", "segments", "0.0079"),
    ("sms", 2, "4", "segments", "0.0158"),
)  # fmt: skip


@pytest.fixture
def priced(jobs):
    """Acme's two texts of DAY (two segments each) have a price at the provider, so that its totals hold them."""
    cost = {"provider_cost": Decimal("0.0079"), "provider_currency": "USD"}
    load_day(jobs, DAY, [e | cost for e in on(DAY)])
    tell_the_rest(jobs)
    return jobs


# ------------------------------------------------------------------------------------------------ the provider's totals


def test_a_month_that_agrees_with_the_provider_closes(priced):
    told(priced, DAY, *AGREED)
    assert [a for a, why in held(priced).items() if not why] == WHOLE


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (("sms-outbound", 2, "2", "segments"), "sms-outbound 2 record(s), 2 segments, ours 1 and 2"),
        (("sms-outbound", 1, "3", "segments"), "sms-outbound 1 record(s), 3 segments, ours 1 and 2"),
    ],
)
def test_one_record_or_segment_more_at_the_provider_holds_its_account_alone(priced, row, says):
    told(priced, DAY, row, *AGREED[1:])
    found = held(priced)
    assert [a for a, why in found.items() if not why] == ["bolt", "cove", "kiri"]
    (why,) = found["acme"]
    assert why.startswith("the provider counts otherwise on 2026-09-20 for AC1 (twilio): ")
    assert says in why
    assert "python -m etl run --date 2026-09-20" in why
    assert "python -m etl accept --month 2026-09 --account acme " in why


def test_a_cost_that_differs_alone_holds_nobody(priced):
    told(priced, DAY, *AGREED[:2], ("sms", 2, "4", "segments", "9.99"))
    found = priced.reconcile(DAY, "twilio")
    assert found.filter(pl.col("verdict") == "unexplained")["why"].to_list() == ["the cost differs"]
    assert held(priced)["acme"] == ()


def test_a_record_that_changed_what_is_not_compared_is_compared_still(priced):
    """There is no new version of the same comparison, so its log entry names the records as they were."""
    told(priced, DAY, *AGREED)
    rewrite(priced, "events", lambda f: f.with_columns(of_record("a4", "status", "sent")), date=DAY, source="twilio")
    assert held(priced)["acme"] == ()


def test_a_day_whose_records_changed_since_they_were_compared_holds_everybody(priced):
    told(priced, DAY, *AGREED)
    less = of_record("a4", "provider_cost", Decimal("0.0078")).cast(MONEY)
    rewrite(priced, "events", lambda f: f.with_columns(less), date=DAY, source="twilio")
    why = "2026-09-20 of twilio is not compared with the provider's own totals: python -m etl run --date 2026-09-20"
    assert {a: w[-1] for a, w in held(priced).items()} == dict.fromkeys([*WHOLE[:3], "dune", "kiri"], why)
    priced.compare(DAY, "twilio")
    assert held(priced)["acme"] == ()


def test_a_source_that_never_gave_totals_need_not_be_compared(jobs):
    rolled = jobs.lake.heads("daily", date=(SEPTEMBER.first, SEPTEMBER.days[-1])).values()
    telling, compared = jobs._comparing((SEPTEMBER.first, SEPTEMBER.days[-1]), {})
    assert telling == set() and not_compared(rolled, telling, compared) == []
    assert len(not_compared(rolled, {"twilio"}, compared)) == sum("charges/twilio" in v.inputs for v in rolled) > 0


def test_totals_of_several_accounts_hold_those_billed_and_those_listed(jobs):
    row = {"provider_account": "AC1", "category": "sms", "count": 1, "ledger_count": 2, "quantity": 1,
           "ledger_quantity": 2, "usage_unit": "segments", "verdict": "unexplained", "why": "the number of records differs",
           "cost": Decimal(0), "unpriced": 0, "date": DAY, "source": "twilio"}  # fmt: skip
    types = DATASETS["reconciled"].types | {"date": pl.Date, "source": pl.String}
    found = pl.DataFrame([row], schema=types)

    def concerned(whom, frame=found):
        (accounts,) = unlike_totals(SEPTEMBER, frame, whom, lambda day, source: day).values()
        return accounts

    assert concerned(jobs._billed_for) == {"acme"}
    # Dune is listed for the same provider account; what nobody is billed for may be anybody's.
    shared = [replace(a, provider_accounts=("AC1",)) if a.account_id == "dune" else a for a in jobs.directory.accounts]
    jobs.__dict__["directory"] = replace(jobs.directory, accounts=tuple(shared))
    assert concerned(jobs._billed_for) == {"acme", "dune"}
    assert concerned(jobs._billed_for, found.with_columns(provider_account=pl.lit("AC77"))) is None
    assert concerned(None, found.with_columns(account_id=pl.lit("bolt"))) == ["bolt"]


@pytest.mark.parametrize(
    ("category", "ours", "late", "holds"),
    [("recordings", 1, 40, False), ("recordings", 1, 39, True), ("recordings", 3, 40, True), ("sms", 1, 40, True)],
)
def test_a_recording_deleted_long_before_its_day_was_first_read_cannot_be_found(category, ours, late, holds):
    """The provider counts it for ever and lists it for forty days more."""
    row = {"provider_account": "AC1", "account_id": "acme", "category": category, "count": ours, "ledger_count": 2,
           "quantity": ours, "ledger_quantity": 2, "usage_unit": "minutes", "verdict": "unexplained", "cost": Decimal(0),
           "why": "the number of records differs", "unpriced": 0, "date": DAY, "source": "twilio"}  # fmt: skip
    types = DATASETS["reconciled"].types | {"date": pl.Date, "source": pl.String}
    found = unlike_totals(
        SEPTEMBER, pl.DataFrame([row], schema=types), None, lambda day, source: day + timedelta(days=late)
    )
    assert bool(found) == holds


def test_totals_of_a_provider_account_nobody_is_billed_for_are_a_loose_end(jobs):
    tell_the_rest(jobs, but=date(2026, 9, 8))
    told(jobs, date(2026, 9, 8), ("sms", 3, "3", "segments"), account="AC9")
    assert held(jobs)["acme"] == ()
    assert any("AC9 (twilio): sms 3 record(s)" in sentence for sentence in jobs.loose_ends(SEPTEMBER))


# ------------------------------------------------------------------------------------------------ the provider's prices


def test_a_price_the_provider_still_owes_holds_its_account_until_it_is_too_old(settings_file):
    """Bolt's call of the 30th is the youngest record without one."""
    configure(settings_file, "price_wait_days = 0", "price_wait_days = 3")
    found = held(open_jobs(settings_file))
    assert [a for a, why in found.items() if not why] == ["acme", "cove", "kiri"]
    (why,) = found["bolt"]
    assert why.startswith(
        "1 record(s) from 2026-09-30 to 2026-09-30 have no price from the provider yet: load them again with python -m etl "
        "run --from 2026-09-30 --to 2026-09-30; after 2026-10-03 they hold no more"
    )
    assert held(open_jobs(settings_file, today=date(2026, 10, 4)))["bolt"] == ()


def test_a_price_that_came_holds_nobody(settings_file):
    configure(settings_file, "price_wait_days = 0", "price_wait_days = 3")
    jobs, last = open_jobs(settings_file), SEPTEMBER.days[-1]
    load_day(jobs, last, [e | {"provider_cost": Decimal("0.01"), "provider_currency": "USD"} for e in on(last)])
    assert held(jobs)["bolt"] == ()


# ------------------------------------------------------------------------------------------------ the audit


def test_a_broken_promise_holds_its_account_and_no_other(jobs):
    miscount(jobs)
    found = held(jobs)
    assert [a for a, why in found.items() if not why] == ["bolt", "cove", "kiri"]
    (why,) = found["acme"]
    assert why.startswith("segments recounted: date=2026-09-20/source=twilio has 0 text(s) without a segment, 1 billed")
    assert "accept" not in why
    assert set(closings(jobs.lake, SEPTEMBER)) == {"bolt", "cove", "kiri"}


def test_what_may_be_anybody_s_holds_everybody(jobs):
    (jobs.settings.home / "lake" / f"daily/date={DAY}/part.parquet").write_bytes(b"")
    assert all(any(w.startswith("view is head:") for w in why) for why in held(jobs, accounts=WHOLE).values())


def test_what_could_not_be_checked_holds_too(jobs):
    import shutil

    shutil.rmtree(jobs.settings.home / "lake/_log/raw" / f"date={DAY}")
    assert "keeps no page of what it was read from" in held(jobs)["acme"][0]


def test_the_audit_is_asked_once_and_only_when_somebody_could_close(jobs, monkeypatch):
    asked = []
    real = jobs.audit
    monkeypatch.setattr(jobs, "audit", lambda *a, **k: asked.append(a) or real(*a, **k))
    held(jobs, on=date(2026, 10, 2))
    held(jobs, accounts=["dune"])
    assert asked == []
    held(jobs, on=CLOSING_DAY)
    assert len(asked) == 1


def test_the_operator_s_page_says_what_closing_says(jobs):
    miscount(jobs)
    seen = jobs.operations(SEPTEMBER).accounts
    said = {row["account_id"]: tuple(row["held"]) for row in seen.iter_rows(named=True)}
    assert said == held(jobs)
