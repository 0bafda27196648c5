"""``python -m etl export`` on a small lake: the file is the view, standard output is the file, and what lacks is said."""

from __future__ import annotations

import sys
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import polars as pl
import pytest
from exporthelp import etl, etl_alone, frame, load, place, row

from etl import cli, console, export
from etl.jobs import Jobs
from etl.periods import today

DAYS = [date(2026, 10, d) for d in range(1, 11)]
RANGE = ("--from", "2026-10-01", "--to", "2026-10-10")
QUIET = {"messages": 0, "segments": 0, "credits": 0}
ROWS = [
    row(DAYS[0]),
    row(DAYS[0], line="carrier_fee", rate_id="fee", charge=Decimal("0.009"), **QUIET),
    row(DAYS[0], owner_kind="inbox", owner_id="front", direction="inbound", charge=Decimal("0.01")),
    row(DAYS[1], owner_kind="unassigned", owner_id="unassigned", messages=3, segments=7, credits=7),
    row(DAYS[4], line="campaign_call", campaign_id="spring", type="voice", events=2, billed_seconds=120, **QUIET),
    row(DAYS[5], line="number", direction=None, type=None, **QUIET),
    row(DAYS[6], account_id="acct_b", owner_kind="inbox", owner_id="front", currency="JPY", charge=Decimal("12")),
]
STRAY = row(DAYS[8], account_id="unassigned", owner_kind="unassigned", owner_id="unassigned", charge=Decimal(0),
            unrated=4)  # fmt: skip
CUSTOMERS = {"acct_a": "USD", "acct_b": "JPY"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Path:
    """Ten loaded days of October, go-live on the first of them. Nothing here may change it."""
    found = place(tmp_path_factory.mktemp("export"))
    load(found, ROWS, DAYS)
    return found


@pytest.fixture
def own(tmp_path) -> Path:
    """A place of the test's own, with nothing loaded."""
    return place(tmp_path / "own")


def expected(by: str, which: str, accounts=None) -> pl.DataFrame:
    """What the view itself says, with names."""
    owners = pl.DataFrame(
        {
            "account_id": ["acct_a", "acct_a", "acct_a", "acct_b"],
            "owner_kind": ["member", "member", "inbox", "inbox"],
            "owner_id": ["ada", "bob", "front", "front"],
            "name": ['=Ada, "first", A.', "Bob", "Front desk", "受付"],
        }
    )
    campaigns = pl.DataFrame({"account_id": ["acct_a"], "campaign_id": ["spring"], "name": ["Spring calls"]})
    table = export.view(frame(ROWS), by, which, accounts, days=DAYS, currencies=CUSTOMERS)
    return export.named(table, owners, campaigns)


def read_csv(data: bytes, like: pl.DataFrame) -> pl.DataFrame:
    return pl.read_csv(data, schema=like.schema)


# ------------------------------------------------------------------------------------------------ the file is the view


@pytest.mark.parametrize("which", list(export.VIEWS))
@pytest.mark.parametrize("by", list(export.PERIODS))
def test_csv_and_parquet_hold_the_view(settings, tmp_path, by, which):
    same = ("export", *RANGE, "--by", by, "--view", which, "--config", settings)
    whole = expected(by, which)
    restored = whole.with_columns(pl.col(pl.String).str.replace("^=", "'="))
    printed = etl(*same)
    assert printed.code == 0
    assert read_csv(printed.out, whole).equals(restored)
    written = etl(*same, "--out", tmp_path / "out.csv")
    assert (written.code, written.out) == (0, b"")
    assert (tmp_path / "out.csv").read_bytes() == printed.out
    assert etl(*same, "--out", tmp_path / "out.parquet").code == 0
    assert pl.read_parquet(tmp_path / "out.parquet").equals(whole)
    assert not list(tmp_path.glob(".*"))


def test_standard_output_is_the_csv_file_and_nothing_else(settings):
    """As a process of its own, without any connection: an export asks no provider."""
    process = etl_alone("export", *RANGE, "--view", "members", "--config", settings)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, export.csv(expected("day", "members")))
    assert err.decode().splitlines() == ["export: 5 rows, 2026-10-01 to 2026-10-10"]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_enough_is_no_error(own, unbuffered):
    load(own, ROWS[:1], [DAYS[0]])
    own.write_text(own.read_text().replace("start = 2026-10-01", "start = 2000-01-01"))
    process = etl_alone("export", "--all-time", "--config", own, unbuffered=unbuffered, bufsize=0)
    assert process.stdout.read(10) == b"account_id"
    process.stdout.close()
    assert process.wait(120) == 3
    said = process.stderr.read().decode()
    process.stderr.close()
    assert said.splitlines() == [
        "export: 19542 rows, 2000-01-01 to 2026-10-01",
        "  missing: 2000-01-01 to 2026-09-30 (9770 days): load with python -m etl run --from 2000-01-01 --to 2026-09-30",
    ]


def test_a_standard_output_that_takes_a_part_at_a_time_gets_all(settings, monkeypatch):
    taken = []

    class Sluggish:
        def write(self, data) -> int:
            taken.append(bytes(data[:100]))
            return len(taken[-1])

        def flush(self) -> None:
            pass

    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=Sluggish()))
    console.exported(Jobs.open(settings), console.Export((DAYS[0], DAYS[-1]), (), "day", "lines"), "csv", None)
    assert len(taken) > 1
    assert b"".join(taken) == export.csv(expected("day", "lines"))


def test_accounts_are_chosen(settings):
    one = etl("export", *RANGE, "--by", "month", "--account", "acct_b", "--config", settings)
    assert read_csv(one.out, expected("month", "total")).equals(expected("month", "total", ["acct_b"]))
    both = etl("export", *RANGE, "--account", "acct_a", "--account", "acct_b", "--config", settings)
    assert both.out == etl("export", *RANGE, "--config", settings).out


def test_every_day_has_a_row_for_every_customer_of_the_time(settings):
    lines = etl("export", *RANGE, "--config", settings).text.splitlines()[1:]
    assert [line.split(",")[:2] for line in lines] == [[a, str(d)] for a in CUSTOMERS for d in DAYS]


def test_usage_of_no_account_is_in_the_operator_s_own_export_only(own):
    load(own, [*ROWS, STRAY], DAYS)
    everybody = etl("export", *RANGE, "--by", "all", "--config", own)
    assert everybody.code == 3
    assert "held back: 4 record(s) have no price yet: charge lacks them" in everybody.err
    assert [line.split(",")[0] for line in everybody.text.splitlines()[1:]] == ["acct_a", "acct_b", "unassigned"]
    stray = etl("export", *RANGE, "--by", "all", "--account", "unassigned", "--config", own)
    assert stray.text.splitlines()[1].endswith(",0.000000000,4,USD,0")
    assert etl("export", *RANGE, "--account", "acct_a", "--config", own).code == 0


def test_no_usage_of_no_account_is_a_zero(settings):
    none = etl("export", *RANGE, "--by", "all", "--account", "unassigned", "--config", settings)
    assert none.text.splitlines()[1:] == ["unassigned,all,2026-10-01,2026-10-11,0,0,0,0,0,0,0,0.000000000,0,USD,0"]


# ------------------------------------------------------------------------------------------------ what lacks is said


def test_missing_days_are_named_and_left_empty(own):
    load(own, ROWS, [d for d in DAYS if d not in (DAYS[1], DAYS[2], DAYS[6])])
    done = etl("export", *RANGE, "--account", "acct_a", "--config", own)
    assert done.code == 3
    assert (
        "missing: 2026-10-02 to 2026-10-03 (2 days): load with python -m etl run --from 2026-10-02 --to 2026-10-03"
        in (done.err)
    )
    assert "missing: 2026-10-07: load with python -m etl run --date 2026-10-07" in done.err
    rows = {line.split(",")[1]: line for line in done.text.splitlines()[1:]}
    assert rows["2026-10-02"] == "acct_a,2026-10-02,2026-10-02,2026-10-03,,,,,,,,,,USD,1"
    assert rows["2026-10-04"] == "acct_a,2026-10-04,2026-10-04,2026-10-05,0,0,0,0,0,0,0,0.000000000,0,USD,0"
    month = etl("export", *RANGE, "--by", "month", "--account", "acct_a", "--config", own)
    assert month.text.splitlines()[1].endswith(",USD,3")


def test_a_day_that_lacks_a_source_is_missing_but_shown(own):
    load(own, ROWS, DAYS[:1], sources=("phone",))
    load(own, ROWS, DAYS[1:])
    done = etl("export", *RANGE, "--account", "acct_a", "--config", own)
    assert done.code == 3
    assert "missing: 2026-10-01: load with" in done.err
    assert done.text.splitlines()[1].startswith("acct_a,2026-10-01,2026-10-01,2026-10-02,2,4,4,")
    assert done.text.splitlines()[1].endswith(",USD,1")


def test_days_before_go_live_count_if_they_are_loaded_and_are_never_missing(own):
    early = date(2026, 9, 20)
    load(own, [row(early), *ROWS], [early, *DAYS])
    done = etl("export", "--from", "2026-09-01", "--to", "2026-10-10", "--by", "all", "--account", "acct_a",
               "--config", own)  # fmt: skip
    assert done.code == 0
    assert done.text.splitlines()[1].startswith("acct_a,all,2026-09-20,2026-10-11,6,")
    assert done.out == etl("export", "--all-time", "--by", "all", "--account", "acct_a", "--config", own).out


def test_all_time_reaches_from_go_live_to_the_newest_day(own):
    load(own, ROWS, DAYS[2:5])
    done = etl("export", "--all-time", "--by", "week", "--account", "acct_a", "--config", own)
    assert done.code == 3
    assert "missing: 2026-10-01 to 2026-10-02 (2 days)" in done.err
    assert [line.split(",")[1:4] for line in done.text.splitlines()[1:]] == [
        ["2026-W40", "2026-10-01", "2026-10-05"],
        ["2026-W41", "2026-10-05", "2026-10-06"],
    ]


# ------------------------------------------------------------------------------------------------ wrong use


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "give --from with --to, or --all-time"),
        (("--from", "2026-10-01"), "belong together"),
        (("--to", "2026-10-01"), "belong together"),
        (("--from", "2026-10-02", "--to", "2026-10-01"), "--to 2026-10-01 lies before --from 2026-10-02"),
        (("--from", "2026-02-30", "--to", "2026-10-01"), "2026-02-30"),
        (("--all-time", "--from", "2026-10-01"), "leave out --from and --to"),
        (("--from", "2026-10-01", "--to", str(today())), f"{today()} is not over yet (UTC)"),
        (("--from", "2199-01-01", "--to", "2199-01-02"), "2199-01-02 is not over yet (UTC)"),
        (("--from", "2026-08-01", "--to", "2026-09-30"), "the first day loaded is 2026-10-01"),
        ((*RANGE, "--account", "acct_x"), "account 'acct_x' is not in accounts.csv: use one of acct_a"),
        ((*RANGE, "--by", "year"), "'day', 'week', 'month', 'all'"),
        ((*RANGE, "--view", "owners"), "'members', 'inboxes'"),
        ((*RANGE, "--format", "xlsx"), "'csv', 'parquet'"),
        ((*RANGE, "--format", "parquet"), "a Parquet file needs --out FILE"),
        ((*RANGE, "--out", "no-such-folder/out.csv"), "there is no folder no-such-folder"),
        ((*RANGE, "--out", "taken.csv"), "taken.csv is there already"),
    ],
)
def test_wrong_use_is_2_and_prints_nothing_on_standard_output(settings, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.csv").write_text("mine")
    done = etl("export", *arguments, "--config", settings)
    assert (done.code, done.out) == (2, b"")
    assert said in done.err


def test_yesterday_is_over(own):
    yesterday = today() - timedelta(days=1)
    own.write_text(own.read_text().replace("start = 2026-10-01", f"start = {yesterday}"))
    load(own, [], [yesterday])
    done = etl("export", "--from", yesterday, "--to", yesterday, "--account", "acct_a", "--config", own)
    assert done.code == 0
    assert done.text.splitlines()[1].startswith(f"acct_a,{yesterday},")


def test_an_empty_lake_says_what_to_run(own):
    done = etl("export", "--all-time", "--config", own)
    assert (done.code, done.out) == (1, b"")
    assert "the lake holds no day yet: load some with python -m etl run --from" in done.err


# ------------------------------------------------------------------------------------------------ the file


def test_a_file_is_replaced_on_demand_only(settings, tmp_path):
    out = tmp_path / "out.csv"
    out.write_text("mine")
    assert etl("export", *RANGE, "--out", out, "--config", settings).code == 2
    assert out.read_text() == "mine"
    assert etl("export", *RANGE, "--out", out, "--force", "--config", settings).code == 0
    assert out.read_bytes() == export.csv(expected("day", "total"))
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]


def test_a_file_is_whole_or_untouched(settings, tmp_path, monkeypatch):
    out = tmp_path / "out.csv"
    out.write_text("mine")
    real = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.parent != tmp_path:
            return real(path, data)
        real(path, data[:10])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    done = etl("export", *RANGE, "--out", out, "--force", "--config", settings)
    assert done.code == 1 and "no space left" in done.err
    assert out.read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["out.csv"]


def test_an_export_writes_nothing_into_the_lake(settings):
    lake = settings.parent / "lake"
    before = {p: p.stat().st_mtime_ns for p in lake.rglob("*")}
    assert etl("export", "--all-time", "--config", settings).code == 0
    assert {p: p.stat().st_mtime_ns for p in lake.rglob("*")} == before


# ------------------------------------------------------------------------------------------------ help


def test_the_choices_are_the_views_there_are():
    assert get_args(cli.View) == tuple(export.VIEWS)
    assert get_args(cli.By) == tuple(export.PERIODS)


@pytest.mark.parametrize("command", [("export",), ("credits",), ("rates",), ("rates", "check"), ("rates", "diff")])
def test_help_shows_an_example(command):
    done = etl(*command, "--help")
    assert done.code == 0
    assert f"python -m etl {' '.join(command)} " in " ".join(done.text.split())


def test_help_of_export_says_what_charge_lacks():
    text = " ".join(etl("export", "--help").text.split())
    assert "It lacks what is charged by the month: numbers, recording storage, tiers, credit overage, taxes." in text


def test_only_the_accounts_and_columns_asked_for_leave_the_files(settings, monkeypatch):
    jobs = Jobs.open(settings)
    scan = jobs.lake.scan(list(jobs.lake.heads("daily").values()))
    plans: list[str] = []
    collect = pl.collect_all
    monkeypatch.setattr(pl, "collect_all", lambda f: plans.extend(p.explain() for p in f) or collect(f))
    export.view(scan, "day", "members", ["acct_b"], days=DAYS)
    assert len(plans) == 2
    for plan in plans:
        chosen = plan.count('SELECTION: (col("account_id")') + plan.count('SELECTION: col("account_id")')
        assert chosen == plan.count("Parquet SCAN") > 0
        assert "FILTER" not in plan
        assert "provider_cost" not in plan and "PROJECT */" not in plan
