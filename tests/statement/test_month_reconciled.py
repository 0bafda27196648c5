"""Ours against the provider's own totals: kept like any other dataset, handed to statements without a cost, pinned."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from statement_made import MIA, NOAH, SEPTEMBER, at, event_frame, load_day, on, open_jobs, read_day, received, text

from etl import console
from etl.lake import Partition
from etl.manifests import closings
from etl.reconcile import compare, ours
from etl.schemas import DATASETS
from etl.statement import RECONCILED, Statements

DAY = date(2026, 9, 20)
"""Acme sends one text of two segments and receives one of two (a4, a5)."""


def said(*rows: tuple, account: str = "AC1") -> pl.DataFrame:
    """`schemas.Ledger` of (category, count, usage, unit[, cost])."""
    dataset = DATASETS["ledger"]
    return dataset.arrange(
        pl.DataFrame(
            [
                {"provider_account": account, "category": category, "count": count, "count_unit": "records",
                 "usage": Decimal(usage), "usage_unit": unit, "cost": Decimal(*cost or ["0"]), "currency": "USD"}
                for category, count, usage, unit, *cost in rows
            ],
            schema=dataset.types,
        )
    )  # fmt: skip


def told(jobs, day: date, ledger: pl.DataFrame, source: str = "twilio") -> None:
    """What the provider says of a day, and our records of it with a price."""
    target = Partition.of("ledger", date=day, source=source)
    jobs.lake.commit(target, ledger, base=jobs.lake.head(target))


def priced(jobs, day: date, *more: dict, cost: str | None = "0.0079") -> None:
    """The day's events, each with what the provider charges us for it."""
    rows = [e | {"provider_cost": cost and Decimal(cost), "provider_currency": cost and "USD"} for e in on(day)]
    read_day(jobs, day, [*rows, *more])


AGREED = said(
    ("sms", 2, "4", "segments", "0.0158"), ("sms-outbound", 1, "2", "segments", "0.0079"),
    ("sms-inbound", 1, "2", "segments", "0.0079"),
)  # fmt: skip


@pytest.fixture
def compared(jobs):
    """September with DAY compared."""
    priced(jobs, DAY)
    told(jobs, DAY, AGREED)
    jobs.reconcile(DAY, "twilio")
    return jobs


def compare_the_rest(jobs) -> None:
    """Every other day too; the provider says nothing of them."""
    for day in (d for d in SEPTEMBER.days if d != DAY):
        told(jobs, day, DATASETS["ledger"].empty())
        jobs.compare(day, "twilio")


def versions(jobs, day: date = DAY) -> int:
    return len(jobs.lake.history(Partition.of("reconciled", date=day, source="twilio")))


def shown(jobs, account_id: str = "acme", month=SEPTEMBER):
    return Statements(jobs.lake, jobs.directory, jobs.settings.sources).load(account_id, month)


def tree(jobs) -> dict[str, bytes]:
    root = jobs.settings.home / "lake"
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


# ------------------------------------------------------------------------------------------------ the dataset


def test_what_was_compared_is_in_the_lake(compared):
    head = compared.lake.head(Partition.of("reconciled", date=DAY, source="twilio"))
    rows = compared.lake.read(head, DATASETS["reconciled"].columns)
    assert_frame_equal(rows, compared.reconcile(DAY, "twilio"))
    mine = (
        "provider_account",
        "category",
        "count",
        "ledger_count",
        "quantity",
        "ledger_quantity",
        "verdict",
        "reading",
    )
    assert rows.select(mine).rows() == [
        ("AC1", "sms", 2, 2, 4, 4, "ok", "apart"),
        ("AC1", "sms-inbound", 1, 1, 2, 2, "ok", "apart"),
        ("AC1", "sms-outbound", 1, 1, 2, 2, "ok", "apart"),
    ]
    assert rows.filter(pl.col("category") == "sms").select("cost", "ledger_cost").row(0) == (Decimal("0.0158"),) * 2
    assert dict(head.sums) == {"compared": "3", "unexplained": "0"}
    assert DATASETS["reconciled"].partition == ("date", "source")


def test_comparing_again_writes_nothing(compared):
    before = tree(compared)
    again = compared.compare(DAY, "twilio")
    assert (again.changed, again.seq, again.counts) == (False, 1, {"compared": 3, "unexplained": 0})
    assert tree(compared) == before


def test_the_same_content_from_another_ledger_is_no_new_version(compared):
    """A total nobody compares has changed."""
    told(
        compared, DAY, pl.concat([AGREED, said(("totalprice", None, "1", "usd"))]).sort("provider_account", "category")
    )
    assert not compared.compare(DAY, "twilio").changed and versions(compared) == 1


def test_a_changed_ledger_makes_a_new_version_and_keeps_the_old(compared):
    told(compared, DAY, said(("sms-outbound", 2, "3", "segments"), ("sms-inbound", 1, "2", "segments")))
    found = compared.reconcile(DAY, "twilio")
    assert versions(compared) == 2
    out = found.filter(pl.col("category") == "sms-outbound").row(0, named=True)
    assert (out["verdict"], out["why"], out["ledger_count"]) == ("unexplained", "the number of records differs", 2)
    first = compared.lake.version(Partition.of("reconciled", date=DAY, source="twilio"), 1)
    assert set(compared.lake.read(first)["verdict"]) == {"ok"}


@pytest.mark.parametrize("broken", ["_log/reconciled", "reconciled/"])
def test_cut_off_at_the_commit_or_before_the_view_a_second_run_ends_the_same(jobs, settings_file, monkeypatch, broken):
    priced(jobs, DAY)
    told(jobs, DAY, AGREED)
    store = type(jobs.lake.store)

    def doomed(real):
        def call(self, key, *arguments, **options):
            if key.startswith(broken):
                raise KeyboardInterrupt
            return real(self, key, *arguments, **options)

        return call

    for name in ("create", "put"):
        monkeypatch.setattr(store, name, doomed(getattr(store, name)))
    with pytest.raises(KeyboardInterrupt):
        jobs.compare(DAY, "twilio")
    monkeypatch.undo()
    later = open_jobs(settings_file, "run-2")
    later.compare(DAY, "twilio")
    assert versions(later) == 1
    view = settings_file.parent / "lake/reconciled" / f"date={DAY}/source=twilio/part.parquet"
    assert pl.read_parquet(view)["verdict"].to_list() == ["ok"] * 3


def test_a_source_without_totals_is_neither_right_nor_wrong(jobs, capsys):
    priced(jobs, DAY)
    told(jobs, DAY, DATASETS["ledger"].empty())
    found = jobs.reconcile(DAY, "twilio")
    assert set(found["verdict"]) == {"no totals"} and found["count"].sum() == 4
    unknown = found.select("ledger_count", "ledger_quantity", "ledger_cost", "ledger_fees", "reading")
    assert unknown.null_count().row(0) == (3,) * 5, "what is not said is not zero"
    assert console.reconciled(jobs, [DAY], ["twilio"], as_json=False) == console.DONE
    assert "AC1 sms: no totals, the source gives no totals; ours 2 records and 0.0158" in capsys.readouterr().out


def test_a_list_that_was_lost_whole_is_found():
    """The provider counted calls, the source was asked for them, and not one came."""
    ledger = said(
        ("calls", 3, "5", "minutes"), ("calls-outbound", 3, "5", "minutes"), ("recordings", 1, "2", "minutes")
    )
    none = [ours(event_frame([]))]
    assert compare(none, ledger, ["messages"]).is_empty(), "what was never asked for is no difference"
    lost = compare(none, ledger, ["messages", "calls", "usage"])
    assert lost["category"].to_list() == ["calls", "calls-outbound"]
    assert set(lost["verdict"]) == {"unexplained"} and lost["count"].sum() == 0


def test_the_lists_asked_for_are_those_of_the_day_s_pages(compared):
    page = {"resource": "calls", "provider_account": "AC1", "page": 0, "url": "x", "sha256": "0" * 64, "bytes": 1,
            "object_sha256": "0" * 64, "object_offset": 0, "object_bytes": 1}  # fmt: skip
    raw = pl.DataFrame([page], schema=DATASETS["raw"].types)
    told(compared, DAY, pl.concat([said(("calls", 3, "5", "minutes")), AGREED]))
    assert compared.reconcile(DAY, "twilio").height == 3
    at_day = Partition.of("raw", date=DAY, source="twilio")
    compared.lake.commit(at_day, raw, base=compared.lake.head(at_day))
    assert compared.reconcile(DAY, "twilio")["category"].to_list() == ["calls", "sms", "sms-inbound", "sms-outbound"]


# ------------------------------------------------------------------------------------------------ on a statement


def test_a_statement_has_its_own_provider_account_s_rows_and_no_cost(compared):
    other = said(("sms-outbound", 7, "7", "segments"), account="AC2")
    told(compared, DAY, pl.concat([AGREED, other]))
    compared.reconcile(DAY, "twilio")
    found = shown(compared)
    assert dict(found.reconciled.schema) == RECONCILED
    assert not {"provider_account", "cost", "ledger_cost", "ledger_fees", "reading"} & set(found.reconciled.columns)
    assert not [t for t in found.reconciled.dtypes if t.is_decimal()]
    assert found.reconciled.select("date", "category", "count", "ledger_count", "verdict").rows() == [
        (DAY, "sms", 2, 2, "ok"), (DAY, "sms-inbound", 1, 1, "ok"), (DAY, "sms-outbound", 1, 1, "ok"),
    ]  # fmt: skip
    assert shown(compared, "bolt").reconciled["ledger_count"].to_list() == [7]
    assert shown(compared, "cove").reconciled.is_empty() and shown(compared, "cove").own_provider
    assert shown(compared, month=SEPTEMBER - 1).reconciled.is_empty()


def test_what_only_the_cost_says_is_not_a_customer_s(compared):
    told(compared, DAY, said(("sms", 2, "4", "segments", "9.99")))
    assert set(compared.reconcile(DAY, "twilio").filter(pl.col("category") == "sms")["why"]) == {"the cost differs"}
    (row,) = shown(compared).reconciled.filter(pl.col("category") == "sms").rows(named=True)
    assert (row["verdict"], row["why"]) == ("ok", None)


def test_days_without_a_comparison_are_named(compared):
    assert shown(compared).uncompared == tuple(d for d in SEPTEMBER.days if d != DAY)
    priced(compared, SEPTEMBER.days[0])
    told(compared, SEPTEMBER.days[0], AGREED)
    compared.reconcile(SEPTEMBER.days[0], "twilio")
    assert len(shown(compared).uncompared) == 28


def test_a_day_is_compared_when_every_source_of_it_is(compared):
    extra = Partition.of("events", date=DAY, source="exports")
    compared.lake.commit(extra, event_frame([text("x1", at(20), MIA)]), base=None)
    told(compared, DAY, DATASETS["ledger"].empty(), source="exports")
    compared.rate(DAY, "exports")
    compared.roll_up(DAY)
    assert DAY in shown(compared).uncompared
    compared.reconcile(DAY, "exports")
    assert DAY not in shown(compared).uncompared
    assert shown(compared).reconciled["verdict"].to_list().count("no totals") == 2


@pytest.mark.parametrize("shared", [("AC1",), ("AC1", "AC2"), ()])
def test_who_has_no_provider_account_of_their_own_is_compared_with_nothing(compared, shared):
    """Listed for two accounts, one of two listed for two, or none listed."""
    accounts = [
        replace(a, provider_accounts=shared) if a.account_id == "acme" else a for a in compared.directory.accounts
    ]
    accounts = [replace(a, provider_accounts=("AC1",)) if a.account_id == "dune" else a for a in accounts]
    directory = replace(compared.directory, accounts=tuple(accounts))
    found = Statements(compared.lake, directory, ["twilio"]).load("acme", SEPTEMBER)
    assert (found.own_provider, found.uncompared, found.reconciled.height) == (False, (), 0)
    assert directory.own_provider_accounts("bolt") == (() if "AC2" in shared else ("AC2",))


# ------------------------------------------------------------------------------------------------ closed


def test_a_closed_month_keeps_what_it_was_compared_with(compared, settings_file):
    compare_the_rest(compared)
    assert {c.account_id: c.held for c in compared.close(SEPTEMBER)}["acme"] == ()
    before = shown(compared)
    manifest = closings(compared.lake, SEPTEMBER)["acme"]
    assert [r["partition"] for r in manifest["reconciled"]] == [f"reconciled/date={d}/source=twilio" for d in SEPTEMBER.days]
    assert manifest["provider_accounts"] == ["AC1"]

    later = open_jobs(settings_file, "run-2", date(2026, 10, 20))
    told(later, DAY, said(("sms", 9, "9", "segments")))
    later.reconcile(DAY, "twilio")
    priced(later, SEPTEMBER.days[0])
    told(later, SEPTEMBER.days[0], AGREED)
    later.reconcile(SEPTEMBER.days[0], "twilio")
    accounts = settings_file.parent / "directory/accounts.csv"
    accounts.write_text(accounts.read_text().replace(",AC1", ",AC7").replace(",AC4", ",AC1"))
    after = shown(open_jobs(settings_file, "run-3"))
    assert_frame_equal(after.reconciled, before.reconciled)
    assert (after.uncompared, after.own_provider) == (before.uncompared, True)


def test_a_month_closed_before_comparisons_were_kept_still_loads(compared):
    compare_the_rest(compared)
    compared.close(SEPTEMBER)
    reader = Statements(compared.lake, compared.directory, compared.settings.sources)
    older = closings(compared.lake, SEPTEMBER)["acme"]
    reader._closings[SEPTEMBER] = {
        "acme": {k: v for k, v in older.items() if k not in ("reconciled", "provider_accounts")}
    }
    found = reader.load("acme", SEPTEMBER)
    assert (found.state, found.reconciled.height, found.own_provider) == ("final", 0, True)
    assert not found.comparison_kept and shown(compared).comparison_kept
    assert found.uncompared == tuple(SEPTEMBER.days)


def test_records_that_wait_for_their_price_explain_a_difference(jobs):
    priced(jobs, DAY, received("late", at(20), MIA, segments=3))
    told(jobs, DAY, said(("sms-outbound", 1, "2", "segments"), ("sms-inbound", 2, "5", "segments")))
    jobs.reconcile(DAY, "twilio")
    (row,) = shown(jobs).reconciled.filter(pl.col("category") == "sms-inbound").rows(named=True)
    assert (row["verdict"], row["why"], row["unpriced"]) == ("explained", "some records have no price yet", 1)


# ------------------------------------------------------------------------------------------------ what explains


def sms_of(*theirs: str, held: list[dict], late: list[dict]) -> tuple[str, str | None]:
    """(verdict, why) of the day's SMS: count, segments and cost as the provider says; ``late``: records without a price."""
    price = {"provider_cost": Decimal("0.01"), "provider_currency": "USD"}
    count, segments, cost = theirs
    records = event_frame([*[one | price for one in held], *late])
    found = compare([ours(records)], said(("sms", int(count), segments, "segments", cost)))
    return found.filter(pl.col("category") == "sms").select("verdict", "why").row(0)


HUNDRED = [text(f"m{n}", at(20), MIA) for n in range(100)]
LATE = [text("late", at(20), MIA, segments=3)]
RECORDS_DIFFER = ("unexplained", "the number of records differs")


@pytest.mark.parametrize(
    ("theirs", "verdict"),
    [
        (("101", "103", "1.03"), ("explained", "some records have no price yet")),
        (("100", "100", "1.00"), ("ok", None)),
        (("100", "900", "9.00"), ("unexplained", "segments differ")),
        (("100", "103", "1.03"), ("unexplained", "segments differ")),
        (("100", "100", "9.00"), ("unexplained", "the cost differs")),
        (("101", "104", "1.04"), RECORDS_DIFFER),
        (("101", "99", "1.03"), RECORDS_DIFFER),
        (("101", "103", "0.50"), RECORDS_DIFFER),
        (("102", "103", "1.03"), RECORDS_DIFFER),
        (("99", "99", "0.99"), RECORDS_DIFFER),
    ],
)
def test_what_waits_explains_no_more_than_it_can_bring(theirs, verdict):
    """Ours: 100 texts of one segment and a cent each, and one of three segments that waits for its price."""
    assert sms_of(*theirs, held=HUNDRED, late=LATE) == verdict


# ------------------------------------------------------------------------------------------------ whose totals


BOLT_S = text("b-on-AC1", at(20), NOAH, provider_account="AC1")
"""Bolt's number, sent through Acme's provider account."""


def mixed(jobs, day: date = DAY) -> None:
    """The day with a text of Bolt's in Acme's provider account, loaded and compared."""
    load_day(jobs, day, [*on(day), BOLT_S])
    priced(jobs, day, BOLT_S)
    told(jobs, day, said(("sms-outbound", 2, "3", "segments")))
    jobs.reconcile(day, "twilio")


def test_a_provider_account_with_somebody_else_s_records_is_compared_for_nobody(compared):
    first = SEPTEMBER.days[0]
    priced(compared, first)
    told(compared, first, said(("sms-outbound", 1, "3", "segments", "0.0079")))
    compared.reconcile(first, "twilio")
    mixed(compared)
    rows = compared.lake.read(compared.lake.head(Partition.of("reconciled", date=DAY, source="twilio")))
    assert rows.height and rows["account_id"].to_list() == [None] * rows.height, "the operator still sees them"
    found = shown(compared)
    assert found.own_provider and DAY in found.uncompared and first not in found.uncompared
    assert set(found.reconciled["date"]) == {first}, "another day is nobody else's"
    assert shown(compared, "bolt").reconciled.is_empty()


def test_a_provider_account_with_somebody_else_s_records_alone_is_not_compared(compared):
    """Not one record of its own that day, so every total is the other's."""
    load_day(compared, DAY, [BOLT_S])
    told(compared, DAY, said(("sms-outbound", 1, "1", "segments")))
    assert set(compared.reconcile(DAY, "twilio")["account_id"]) == {"bolt"}
    assert shown(compared).reconciled.is_empty() and DAY in shown(compared).uncompared


def test_a_number_given_to_somebody_else_afterwards_is_seen_when_the_day_is_rated_again(compared, settings_file):
    assert set(shown(compared).reconciled["date"]) == {DAY}
    numbers = settings_file.parent / "directory/numbers.csv"
    numbers.write_text(numbers.read_text().replace("acme,inbox,support", "bolt,member,noah"))
    later = open_jobs(settings_file, "run-2")
    assert [d.verb for d in later.rate_day(DAY)] == ["rate", "reconcile", "roll up"]
    assert shown(later).reconciled.is_empty() and DAY in shown(later).uncompared
    assert [d.verb for d in later.rate_day(SEPTEMBER.days[0])] == ["rate", "roll up"], (
        "what never was compared is not now"
    )


def test_a_closed_month_keeps_whose_the_totals_were(compared, settings_file):
    compare_the_rest(compared)
    compared.close(SEPTEMBER)
    mixed(open_jobs(settings_file, "run-2"))
    assert DAY in set(shown(open_jobs(settings_file, "run-3")).reconciled["date"])
