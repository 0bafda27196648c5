"""Every invariant of the audit: it holds in a small world, and the least damage to it is found under its name."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from statement_made import CLOSING_DAY, MIA, SEPTEMBER, event_frame, load_day, on, open_jobs, text
from typer.testing import CliRunner

from etl import nights
from etl.audit import BROKEN, INVARIANTS, NOT_CHECKED, OK, AuditFailed, examine
from etl.buckets import bucket
from etl.lake import Lake, Partition
from etl.money import MONEY
from etl.schemas import DATASETS
from etl.sources import Page
from etl.sources._packs import SUFFIX, pack
from reports.outbox import Entry, Outbox

DAY = date(2026, 9, 20)
SOURCE = f"date={DAY}/source=twilio"
ACME = "month=2026-09/account=acme"
AT_DAY = {"date": DAY, "source": "twilio"}
BODY = "bring the keys " * 12
PAGES = [Page("messages", "AC1", number, f"page {number}", b"[%d]" % number) for number in range(3)]


BUCKETS = 1
"""A day's events and charges are cut into so many."""


def rewrite(jobs, dataset: str, change, **keys) -> None:
    """Commit other rows to a partition, past the contract that its job would hold them to."""
    at = Partition.of(dataset, **keys)
    head = jobs.lake.head(at)
    rows = jobs.lake.read(head).drop(at.names)
    if dataset in ("events", "charges"):
        rows = change(rows.sort("record_id"))
        ids = rows.select("record_id", kind=pl.lit("message"), parent_id=pl.lit(None))
        of = ids.with_columns(n=bucket(BUCKETS))["n"]
        jobs.lake.commit(at, [rows.filter(of == n) for n in range(BUCKETS)], base=head)
    else:
        jobs.lake.commit(at, change(rows), base=head)


def first(column: str, value) -> list[pl.Expr]:
    """The column with another value in its first row."""
    value = value if isinstance(value, pl.Expr) else pl.lit(value)
    other = pl.when(pl.int_range(pl.len()) == 0).then(value).otherwise(pl.col(column))
    return [(other.cast(MONEY) if column == "charge" else other).alias(column)]


def ledger(*rows: tuple) -> pl.DataFrame:
    """(entry, lot, credits, balance of the allotment, balance of what was bought) of Acme → `schemas.Credits`."""
    types = DATASETS["credits"].types
    made = [
        {"account_id": "acme", "position": i, "date": DAY, "entry": e, "lot": lot, "credits": c, "simulated": False,
         "balance_allotment": a, "balance_purchased": b}
        for i, (e, lot, c, a, b) in enumerate(rows)
    ]  # fmt: skip
    return DATASETS["credits"].arrange(pl.DataFrame(made, schema=types))


AUGUST_LEDGER = ledger(
    ("grant", "allotment", 100, 100, 0), ("purchase", "p1", 50, 100, 50), ("burn", "p1", -10, 100, 40)
)
LEDGER = ledger(
    ("open", "allotment", 100, 100, 0), ("open", "p1", 40, 100, 40), ("burn", "allotment", -100, 0, 40),
    ("burn", "p1", -40, 0, 0), ("overage", "overage", 5, 0, 0),
)  # fmt: skip


@pytest.fixture(scope="module")
def whole_once(built_once, tmp_path_factory):
    """September with kept pages behind one day, a ledger carried on, a closed account and a mail that was sent."""
    folder = tmp_path_factory.mktemp("whole") / "place"
    shutil.copytree(built_once.parent, folder)
    jobs = open_jobs(folder / built_once.name)
    noon = on(DAY)[0]["occurred_at"]
    more = text("a4b", noon + timedelta(hours=1), MIA, 2, body=BODY, segments_computed=2, segments_source="computed")
    load_day(jobs, DAY, [e | {"raw_sha256": PAGES[i % 3].sha256} for i, e in enumerate([*on(DAY), more])])
    raw = Partition.of("raw", **AT_DAY)
    rows = pack(PAGES, lambda data: jobs.lake.put_blob("raw", data, SUFFIX, p=raw))
    types = DATASETS["raw"].types
    frame = DATASETS["raw"].arrange(pl.DataFrame(rows, schema=types, orient="row"))
    jobs.lake.commit(raw, frame, base=jobs.lake.head(raw))
    jobs.state(SEPTEMBER)
    jobs.close(SEPTEMBER, ["acme"], on=CLOSING_DAY)
    for month, rows in ((SEPTEMBER - 1, AUGUST_LEDGER), (SEPTEMBER, LEDGER)):
        at = Partition.of("credits", month=str(month))
        jobs.lake.commit(at, rows, base=jobs.lake.head(at))
    outbox, entry = Outbox(jobs.lake), Entry(SEPTEMBER, "acme", 1, "mia@example.com")
    outbox.intend(entry, "<m@example.com>")
    outbox.confirm(entry, "<m@example.com>")
    return folder / built_once.name


@pytest.fixture
def jobs(whole_once, tmp_path):
    shutil.copytree(whole_once.parent, tmp_path / "place")
    return open_jobs(tmp_path / "place" / whole_once.name)


def lake_of(jobs) -> Path:
    return jobs.settings.home / "lake"


def same(jobs, day: date, source: str) -> pl.DataFrame:
    return jobs.lake.read(jobs.lake.head(Partition.of("events", date=day, source=source)), DATASETS["events"].columns)


def verdicts(jobs, *, days=(DAY,), deep=False, read_again=None) -> list:
    # A Lake remembers the entries it has seen; a night has its own.
    fresh = open_jobs(jobs.settings.home / "tollbook.toml")
    read_again = read_again or (lambda day, source: same(fresh, day, source))
    bounds = fresh.settings.bounds
    return examine(fresh.lake, days, ["twilio"], fresh.directory, bounds=bounds, read_again=read_again, deep=deep)


@pytest.mark.parametrize("deep", [False, True])
def test_every_invariant_holds_in_a_whole_world(jobs, deep):
    found = verdicts(jobs, deep=deep)
    assert [str(r) for r in found if r.verdict != OK] == []
    assert {r.invariant for r in found} == set(INVARIANTS)


# ------------------------------------------------------------------------------------------------ damage


def _event(column, value):
    return lambda jobs: rewrite(jobs, "events", lambda f: f.with_columns(first(column, value)), **AT_DAY)


def _charge(column, value):
    return lambda jobs: rewrite(jobs, "charges", lambda f: f.with_columns(first(column, value)), **AT_DAY)


def _statement(change):
    return lambda jobs: rewrite(jobs, "statement", change, month="2026-09")


def _credits(*rows):
    return lambda jobs: rewrite(jobs, "credits", lambda _: ledger(*rows), month="2026-09")


def _acme_usage(column):
    mine = (pl.col("account_id") == "acme") & (pl.col("section") == "usage")
    at = mine & (mine.cum_sum() == 1)
    return lambda f: f.with_columns(
        pl.when(at).then(pl.col(column) + Decimal("0.01")).otherwise(column).cast(MONEY).alias(column)
    )


def _excluded_without_a_reason(jobs):
    _event("outcome", "excluded")(jobs)
    rewrite(jobs, "charges", lambda f: f.tail(-1), **AT_DAY)


def _twice_in_a_day(jobs):
    rewrite(jobs, "events", lambda f: pl.concat([f, f.head(1)]), **AT_DAY)


def _on_two_days(jobs):
    frame = jobs.lake.read(jobs.lake.head(Partition.of("charges", **AT_DAY))).drop("date", "source").sort("record_id")
    rewrite(jobs, "charges", lambda f: pl.concat([f, frame.head(1)]), date=DAY + timedelta(days=1), source="twilio")


def _pack(jobs) -> Path:
    at = Partition.of("raw", **AT_DAY)
    sha = jobs.lake.read(jobs.lake.head(at), ["object_sha256"])["object_sha256"][0]
    return lake_of(jobs) / "_hist" / at.path / f"{sha}.gz"


def _pages_replaced(jobs):
    _pack(jobs).write_bytes(b"".join(gzip.compress(b"[%d]" % (9 - n), 6, mtime=0) for n in range(3)))


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.chmod(0o644)
    file.write_bytes(data)


def _head_file(jobs, dataset: str, seq: int | None = None, **keys) -> Path:
    at = Partition.of(dataset, **keys)
    version = jobs.lake.version(at, seq) if seq else jobs.lake.head(at)
    return lake_of(jobs) / "_hist" / at.path / f"{version.files[0].sha256}.parquet"


def _closing(jobs) -> Path:
    return next((lake_of(jobs) / "close/month=2026-09/account=acme").glob("*.json"))


def _closed_otherwise(**changes):
    def damage(jobs):
        document = json.loads(_closing(jobs).read_text())
        document["statement"] |= changes.pop("statement", {})
        _closing(jobs).write_text(json.dumps(document | changes))

    return damage


def _pinned_file_lost(jobs):
    reference = json.loads(_closing(jobs).read_text())["daily"][0]
    (lake_of(jobs) / "_hist" / reference["partition"] / f"{reference['sha256']}.parquet").unlink()


def _never_intended(jobs):
    (sent,) = lake_of(jobs).glob("outbox/*/*/*/*.sent.json")
    sent.with_name(sent.name.replace(".sent", "")).unlink()


def _sent_twice(jobs):
    (sent,) = lake_of(jobs).glob("outbox/*/*/*/*.sent.json")
    shutil.copy(sent, sent.with_name(sent.name.replace(".sent", ".again.sent")))


def _committed_by_nobody(jobs):
    at = Partition.of("charges", **AT_DAY)
    head = jobs.lake.head(at)
    nobody = Lake(jobs.lake.store, run_id="by hand")
    nobody.commit(at, jobs.lake.read(head).drop(at.names).with_columns(carrier=pl.lit("x")), base=head)


FLOATING = lambda f: f.with_columns(pl.col("charge").cast(pl.Float64))  # noqa: E731  # ratio
NANO = Decimal("0.000000001")

DAMAGE = [
    ("nothing lost", SOURCE, lambda j: rewrite(j, "charges", lambda f: f.head(1), **AT_DAY)),
    ("nothing lost", SOURCE, _excluded_without_a_reason),
    ("complete", f"date={DAY}", lambda j: shutil.rmtree(lake_of(j) / "_log/daily" / f"date={DAY}")),
    ("complete", SOURCE, lambda j: shutil.rmtree(lake_of(j) / "_log/charges" / f"date={DAY}")),
    ("complete", SOURCE, lambda j: rewrite(j, "raw", lambda f: f.filter(pl.col("page") != 1), **AT_DAY)),
    ("complete", SOURCE, lambda j: rewrite(j, "raw", lambda f: f.filter(pl.col("page") != 0), **AT_DAY)),
    ("complete", "month=2026-09/account=cove", _statement(lambda f: f.filter(pl.col("account_id") != "cove"))),
    ("raw kept", SOURCE, lambda j: _pack(j).unlink()),
    ("raw kept", SOURCE, _event("raw_sha256", "f" * 64)),
    ("one outcome each", SOURCE, _twice_in_a_day),
    ("one outcome each", "2026-09-20 to 2026-09-21", _on_two_days),
    ("no price is never zero", SOURCE, _charge("charge", None)),
    ("no price is never zero", SOURCE, _charge("rate_id", None)),
    (
        "no price is never zero", SOURCE,
        lambda j: rewrite(j, "charges", lambda f: f.with_columns(*first("rate_id", None), *first("charge", Decimal(0))), **AT_DAY),
    ),
    (
        "no price is never zero", ACME,
        lambda j: rewrite(j, "monthly", lambda f: f.with_columns(first("charge", None)), month="2026-09"),
    ),
    ("segments recounted", SOURCE, _event("segments", 0)),
    ("segments recounted", SOURCE, _event("answered_seconds", -1)),
    ("segments recounted", SOURCE, _event("segments_reported", 3)),
    (
        "segments recounted", SOURCE,
        lambda j: rewrite(j, "events", lambda f: f.with_columns(body=pl.col("body") + "x" * 200), **AT_DAY),
    ),
    ("in its day", SOURCE, _event("occurred_at", pl.col("occurred_at") + timedelta(hours=12))),
    ("nobody else's", SOURCE, _charge("account_id", "nobody")),
    ("nobody else's", f"{SOURCE}/account=bolt", _charge("account_id", "bolt")),
    ("nobody else's", "month=2026-09", _statement(lambda f: f.with_columns(first("account_id", "nobody")))),
    (
        "lines add up", f"date={DAY}",
        lambda j: rewrite(j, "daily", lambda f: f.with_columns(first("charge", pl.col("charge") + NANO)), date=DAY),
    ),
    ("lines add up", ACME, _statement(_acme_usage("amount_exact"))),
    ("lines add up", ACME, _statement(_acme_usage("amount"))),
    ("rounded once", ACME, _statement(_acme_usage("amount"))),
    ("rounded once", f"charges/{SOURCE}", lambda j: rewrite(j, "charges", FLOATING, **AT_DAY)),
    (
        "within bounds", f"date={DAY}/account=acme",
        lambda j: rewrite(j, "daily", lambda f: f.with_columns(first("charge", Decimal("100.1"))), date=DAY),
    ),
    ("credits balance", ACME, _credits(("open", "allotment", 100, 100, 0), ("open", "p1", 40, 100, 41))),
    ("credits balance", ACME, _credits(("open", "allotment", 100, 100, 0), ("open", "p1", 39, 100, 39))),
    ("credits balance", ACME, _credits(("open", "allotment", 100, 100, 0))),
    (
        "credits balance", ACME,
        _credits(
            ("open", "allotment", 100, 100, 0), ("open", "p1", 40, 100, 40), ("purchase", "p2", 9, 100, 49),
            ("burn", "p1", -41, 100, 8),
        ),
    ),
    ("log whole", f"daily/date={DAY}", lambda j: (lake_of(j) / "_log/daily" / f"date={DAY}" / "00000001.json").unlink()),
    ("log whole", f"charges/{SOURCE}", lambda j: _head_file(j, "charges", **AT_DAY).unlink()),
    ("log whole", f"charges/{SOURCE}", lambda j: _flip(_head_file(j, "charges", **AT_DAY))),
    ("view is head", f"daily/date={DAY}", lambda j: _flip(lake_of(j) / f"daily/date={DAY}/part.parquet")),
    ("closed stays closed", ACME, _pinned_file_lost),
    ("closed stays closed", ACME, _closed_otherwise(total="1.00")),
    ("closed stays closed", ACME, _closed_otherwise(statement={"sha256": "e" * 64})),
    ("closed stays closed", ACME, lambda j: _closing(j).rename(_closing(j).with_name("rev-0002.json"))),
    ("closed and corrected", ACME, _statement(_acme_usage("amount"))),
    ("one mail each", ACME, _never_intended),
    ("one mail each", None, _sent_twice),
    ("configured", f"charges/{SOURCE}", _committed_by_nobody),
]  # fmt: skip


@pytest.mark.parametrize(("invariant", "where", "damage"), DAMAGE, ids=[f"{i}-{d[0]}" for i, d in enumerate(DAMAGE)])
def test_the_least_damage_is_found_by_name_and_place(jobs, invariant, where, damage):
    damage(jobs)
    days = (DAY, DAY + timedelta(days=1)) if where and " to " in where else (DAY,)
    mine = [r for r in verdicts(jobs, days=days) if r.invariant == invariant and r.verdict == BROKEN]
    assert mine, "not found"
    assert where is None or any(r.where in (where, f"charges/{where}", f"statement/{where}") for r in mine), mine
    assert all(r.finding and r.remedy for r in mine)


OF_A_DAY = [d for d in DAMAGE if d[1] and str(DAY) in d[1]]


@pytest.mark.parametrize(("_", "where", "damage"), OF_A_DAY, ids=[f"{i}-{d[0]}" for i, d in enumerate(OF_A_DAY)])
def test_damage_to_a_day_in_buckets_is_told_the_same(jobs, whole_once, tmp_path, monkeypatch, _, where, damage):
    shutil.copytree(whole_once.parent, tmp_path / "cut" / "place")
    cut = open_jobs(tmp_path / "cut" / "place" / whole_once.name)
    days, named = (DAY, DAY + timedelta(days=1)) if " to " in where else (DAY,), ("configured", "log whole")
    damage(jobs)
    monkeypatch.setattr(sys.modules[__name__], "BUCKETS", 8)
    for dataset in ("events", "charges"):
        rewrite(cut, dataset, lambda rows: rows, **AT_DAY)
    assert len(cut.lake.head(Partition.of("charges", **AT_DAY)).files) == 8, "else nothing is compared"
    damage(cut)
    # Those name versions and files.
    one, many = ([r for r in verdicts(j, days=days) if r.invariant not in named] for j in (jobs, cut))
    assert one == many


def test_damage_is_known_for_every_invariant():
    assert {name for name, _, _ in DAMAGE} == set(INVARIANTS)


DEEP_DAMAGE = [
    ("raw kept", SOURCE, _pages_replaced),
    ("log whole", f"daily/date={DAY}", lambda j: _flip(_head_file(j, "daily", seq=1, date=DAY))),
]


@pytest.mark.parametrize(("invariant", "where", "damage"), DEEP_DAMAGE)
def test_damage_that_only_reading_every_byte_shows(jobs, invariant, where, damage):
    damage(jobs)
    assert not [r for r in verdicts(jobs) if r.verdict == BROKEN]
    assert (invariant, where) in {(r.invariant, r.where) for r in verdicts(jobs, deep=True) if r.verdict == BROKEN}


def test_pages_that_read_otherwise_than_what_is_stored(jobs):
    otherwise = verdicts(jobs, deep=True, read_again=lambda day, source: event_frame(on(day)))
    (found,) = [r for r in otherwise if r.verdict != OK]
    assert (found.invariant, found.where) == ("raw kept", SOURCE)


# ------------------------------------------------------------------------------------------------ the night and the command


def test_a_night_fails_by_invariant_place_and_remedy(jobs):
    window = [f"{DAY}/{DAY}"]
    nights.check(jobs, window)
    _statement(_acme_usage("amount_exact"))(jobs)
    with pytest.raises(
        AuditFailed, match=r"lines add up: month=2026-09/account=acme states usage .* python -m etl run"
    ):
        nights.check(jobs, window)


def test_what_cannot_be_checked_fails_the_night_too(jobs):
    shutil.rmtree(lake_of(jobs) / "_log/raw" / f"date={DAY}")
    assert {r.invariant for r in verdicts(jobs) if r.verdict == NOT_CHECKED} == {"raw kept", "complete"}
    with pytest.raises(AuditFailed, match="keeps no page"):
        nights.check(jobs, [f"{DAY}/{DAY}"])


def test_days_before_go_live_promise_nothing(jobs):
    assert jobs.audit([date(2026, 8, 31)]) == []


def test_the_command_gives_a_verdict_on_each_and_says_so_in_its_exit_code(jobs, monkeypatch):
    from etl.cli import app

    monkeypatch.setenv("AIRFLOW_CONN_TWILIO", '{"conn_type": "http", "login": "AC1", "password": "x"}')
    asked = ["audit", "--date", str(DAY), "--config", str(jobs.settings.home / "tollbook.toml")]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert [line.split(":")[0].removeprefix("ok   ") for line in done.output.splitlines()] == list(INVARIANTS)
    _charge("account_id", "bolt")(jobs)
    broken = CliRunner().invoke(app, [*asked, "--json"])
    assert broken.exit_code == 3
    rows = [json.loads(line) for line in broken.stdout.splitlines()]
    named = [r for r in rows if r["verdict"] == BROKEN and r["invariant"] == "nobody else's"]
    assert [r["where"] for r in named] == [f"{SOURCE}/account=bolt"]
