"""End to end against the sandbox provider: a server of its own, written by somebody else."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta

import httpx
import polars as pl
import pytest

launch = pytest.importorskip("sandbox.launch").launch

from etl.settings import Connection, SourceSettings  # noqa: E402
from etl.sources import Context, SourceError, _http, open_source  # noqa: E402
from etl.sources.normalise import counts, normalise  # noqa: E402

TODAY = date(2026, 11, 22)
CLEAN = date(2026, 11, 20)
SIZE = ("--seed", "7", "--messages-per-day", "600", "--calls-per-day", "120", "--today", str(TODAY))
# One day each, so that one server serves all: what happens, and whether the day still comes out.
FAULTS = {
    "throttle,retry_after=0": None,
    "throttle": None,
    "error,status=503,times=2": None,
    "truncate": None,
    "cut-json": None,
    "html": None,
    "unauthorized": None,
    "hang,seconds=3": None,
    "unauthorized,times=0": "credentials are refused",
    "error,times=0": "HTTP 500.*3 times in a row",
    "loop-page": "second time",
    "duplicate-page": "second time",
    "foreign-host": "attacker.example",
}
# Every other day: a day's request names the day after, too.
DAYS = {fault: TODAY - timedelta(days=4 + 2 * n) for n, fault in enumerate(FAULTS)}


@pytest.fixture(scope="module")
def box():
    flags = []
    for fault, day in DAYS.items():
        flags += ["--fault", f"{fault},path=Messages,query={day}"]
    # Of an account that has calls: the main one has none, and acting on its empty page would use the fault up.
    flags += ["--fault", f"foreign-row,path=Calls,account=acct_harbor,query={CLEAN}"]
    with launch(*SIZE, *flags) as running:
        yield running


def source(box, **settings):
    given = {
        "kind": "twilio",
        "connection": "c",
        "base_url": box.url,
        "page_size": 50,
        "attempts": 3,
        "timeout_seconds": 30,
    }
    context = Context(resolve=lambda _: Connection(login=box.main[0], password=box.main[1]))
    return open_source("main", SourceSettings(**(given | settings)), context)


@pytest.fixture(scope="module")
def clean(box):
    mine = source(box)
    pages = list(mine.fetch(CLEAN))
    return mine, pages, mine.read(pages, CLEAN)


def test_a_day_comes_out_whole(box, clean):
    _, pages, reading = clean
    told = counts(normalise(reading.events).events)
    assert told["accepted"] > 500
    assert {p.provider_account for p in pages} == {box.main[0], *(sid for sid, _ in box.accounts.values())}
    assert told["quarantined"] == told["quarantined: foreign_account"] == 1


def test_the_providers_own_totals_agree_with_the_records(clean):
    _, _, reading = clean
    texts = (
        reading.events.filter(
            (pl.col("type") == "sms") & (pl.col("outcome") == "accepted") & (pl.col("status") != "failed")
        )
        .group_by("provider_account")
        .agg(messages=pl.len(), segments=pl.col("segments").sum())
    )
    totals = reading.ledger.filter((pl.col("category") == "sms") & (pl.col("count") > 0))
    both = texts.join(totals, on="provider_account", how="full")
    assert both.height == totals.height > 1
    assert both["messages"].to_list() == both["count"].to_list()
    assert both["segments"].to_list() == both["usage"].cast(pl.Int64).to_list()


def test_video_agrees_with_the_providers_own_totals(box):
    """Sessions have no price: what can be held against the totals is how many there were, and their started minutes."""
    mine = source(box, resources=["video", "usage"])
    compared = 0
    for day in (CLEAN - timedelta(days=n) for n in range(3)):
        reading = mine.read(mine.fetch(day), day)
        ours = (
            normalise(reading.events)
            .events.filter(pl.col("outcome") == "accepted")
            .group_by("provider_account")
            .agg(count=pl.len().cast(pl.Int64), minutes=((pl.col("answered_seconds") + 59) // 60).sum())
        )
        totals = reading.ledger.filter(
            (pl.col("category") == "group-rooms-participant-minutes") & (pl.col("count") > 0)
        )
        theirs = totals.select("provider_account", "count", minutes=pl.col("usage").cast(pl.Int64))
        # The main account's own total is of all: it is asked without sub-accounts, and has no rooms.
        assert ours.sort("provider_account").equals(theirs.sort("provider_account"))
        compared += ours.height
    assert compared > 3


@pytest.mark.parametrize(
    ("fault", "path", "says"),
    [
        ("throttle", "/v1/Rooms", None), ("cut-json", "/v1/Rooms", None), ("truncate", "/Participants", None),
        ("html", "/Participants", None), ("error", "/Participants", None), ("unauthorized", "/v1/Rooms", None),
        ("loop-page", "/v1/Rooms", "second time"), ("loop-page", "/Participants", "second time"),
        ("duplicate-page", "/Participants", "second time"), ("foreign-host", "/v1/Rooms", "attacker.example"),
        ("foreign-host", "/Participants", "attacker.example"), ("foreign-row", "/v1/Rooms", "of another account"),
    ],
)  # fmt: skip
def test_a_fault_in_video_is_survived_or_named(fault, path, says, box, monkeypatch):
    monkeypatch.setattr(_http, "FIRST_DELAY", 0.01)
    mine = source(box, resources=["video"])
    straight = normalise(mine.read(mine.fetch(CLEAN), CLEAN).events).events
    assert straight.filter(pl.col("outcome") == "accepted").height > 3
    with_rooms = straight["provider_account"][0]
    rule = {"kind": fault, "path": path, "account": with_rooms, "query": "DateCreated" if path == "/v1/Rooms" else ""}
    httpx.post(f"{box.url}/_sandbox/faults", json=rule).raise_for_status()
    acted = lambda: sum(f["acted"] for f in httpx.get(f"{box.url}/_sandbox/faults").json() if f["kind"] == fault)  # noqa: E731
    before = acted()
    if says:
        with pytest.raises(SourceError, match=rf"main: (rooms|video) of AC\w+.*{says}"):
            list(mine.fetch(CLEAN))
    else:
        assert normalise(mine.read(mine.fetch(CLEAN), CLEAN).events).events.equals(straight)
    assert acted() == before + 1


def test_pages_of_any_size_are_the_same_day(box, clean):
    _, _, reading = clean
    mine = source(box, page_size=1000, concurrency=1)
    other = mine.read(mine.fetch(CLEAN), CLEAN)
    left_out = ["raw_sha256", "raw_index"]
    ours, theirs = (
        normalise(r.events.filter(pl.col("outcome") != "quarantined")).events.drop(left_out).sort("kind", "record_id")
        for r in (reading, other)
    )
    assert ours.equals(theirs)
    assert reading.ledger.equals(other.ledger)


@pytest.mark.parametrize(("fault", "says"), FAULTS.items(), ids=[f.replace(",", "-") for f in FAULTS])
def test_a_fault_is_survived_or_named(fault, says, box, monkeypatch):
    monkeypatch.setattr(_http, "FIRST_DELAY", 0.01)
    day = DAYS[fault]
    mine = source(box, resources=["messages"], timeout_seconds=2 if fault.startswith("hang") else 30)
    if says:
        with pytest.raises(SourceError, match=rf"main: messages of AC\w+ for {day}, page \d+: .*{says}"):
            list(mine.fetch(day))
        return
    survived = mine.read(mine.fetch(day), day).events
    again = mine.read(mine.fetch(day), day).events  # the fault is used up
    assert survived.height > 100
    assert normalise(survived).events.equals(normalise(again).events)


@pytest.mark.parametrize("form", ["console-csv", "bulkexport"])
def test_an_export_of_the_day_gives_the_events_of_the_api(form, clean, tmp_path):
    command = [
        sys.executable,
        "-m",
        "sandbox",
        "export",
        *SIZE,
        "--day",
        str(CLEAN),
        "--format",
        form,
        "--out",
        str(tmp_path),
    ]
    subprocess.run(command, check=True, capture_output=True)
    given = SourceSettings(kind="files", store={"url": str(tmp_path)}, pattern="*{date}*", currency="USD")
    drop = open_source("drop", given, Context())
    from_file = normalise(drop.read(drop.fetch(CLEAN), CLEAN).events).events.sort("record_id")
    from_api = normalise(clean[2].events.filter(pl.col("kind") == "message")).events.sort("record_id")
    left_out = ["raw_sha256", "raw_index"] + (["updated_at", "media_count"] if form == "console-csv" else [])
    priced = ["provider_cost", "provider_currency"]
    assert from_file.drop(left_out + priced).equals(from_api.drop(left_out + priced))
    known = from_file["provider_cost"].is_not_null()
    assert known.sum() > known.len() / 2
    assert from_file.filter(known).select(priced).equals(from_api.filter(known).select(priced))
