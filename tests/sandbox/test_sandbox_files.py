"""Directory, truth and exports tell the same story as the API; the command line starts quickly and explains itself."""

import csv
import gzip
import json
import re
import subprocess
import sys
import time
from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime

import pytest
from sandboxhelp import BASE, NOW

from sandbox.company import CUSTOMERS
from sandbox.launch import launch

OPTIONS = ("--seed", "7", "--now", NOW)
BILLED = ("delivered", "sent", "undelivered", "received", "read")


def run(*arguments, check=True):
    command = [sys.executable, "-m", "sandbox", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=check)


def table(path):
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("directory")
    run("directory", "--out", folder)
    return {path.stem: table(path) for path in folder.iterdir()}


def test_the_directory_is_consistent_with_itself_and_the_api(box, listed):
    accounts = {a["account_id"]: a for a in listed["accounts"]}
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name) for name in accounts)
    owners = {(o["account_id"], o["owner_kind"], o["owner_id"]) for o in listed["owners"]}
    campaigns = {(c["account_id"], c["campaign_id"]) for c in listed["campaigns"]}
    spans = defaultdict(list)
    for n in listed["numbers"]:
        assert (n["account_id"], n["owner_kind"], n["owner_id"]) in owners
        assert not n["campaign_id"] or (n["account_id"], n["campaign_id"]) in campaigns
        assert not n["valid_to"] or n["valid_from"] < n["valid_to"]
        spans[n["number_e164"]].append((n["valid_from"], n["valid_to"]))
    moved = [sorted(s) for s in spans.values() if len(s) > 1]
    assert len(moved) == 1 and moved[0][0][1] == moved[0][1][0], "one number changes hands, without a gap"
    for account in CUSTOMERS:
        assert accounts[account.account_id]["provider_account_sid"] == account.sid
        owned = box.rows(f"{BASE}/{account.sid}/IncomingPhoneNumbers.json", "incoming_phone_numbers")
        missing = {n["phone_number"] for n in owned} - set(spans)
        assert len(missing) == 1, "one number of each company is in no directory"


def api_totals(box, account, day):
    found = defaultdict(lambda: defaultdict(Decimal))

    def put(kind, way, **facts):
        for name, value in facts.items():
            found[kind, way][name] += value

    base, query = f"{BASE}/{account.sid}", {"PageSize": 1000}
    campaign_numbers = {n.number for n in account.numbers if n.campaign}
    for m in box.rows(f"{base}/Messages.json", "messages", DateSent=day, **query):
        billed = m["status"] in BILLED
        put(
            *("sms" if m["sid"].startswith("SM") else "mms", "inbound" if m["direction"] == "inbound" else "outbound"),
            records=1,
            billable=int(billed),
            segments=int(m["num_segments"]) if billed else 0,
            failed=int(m["status"] == "failed"),
            provider_price=-Decimal(m["price"] or 0),
            unpriced=int(billed and m["price"] is None),
        )
    for c in box.rows(f"{base}/Calls.json", "calls", StartTime=day, **query):
        talk = int(c["duration"] or 0)
        done = c["status"] == "completed"
        dial = done and int(
            (parsedate_to_datetime(c["end_time"]) - parsedate_to_datetime(c["start_time"])).total_seconds()
        )
        put(
            *(
                "campaign_call" if c["from"] in campaign_numbers else "call",
                "inbound" if c["direction"] == "inbound" else "outbound",
            ),
            records=1,
            billable=int(done),
            talk_seconds=talk,
            dial_seconds=int(dial),
            talk_minutes=-(-talk // 60),
            dial_minutes=-(-int(dial) // 60),
            provider_price=-Decimal(c["price"] or 0),
        )
    for r in box.rows(f"{base}/Recordings.json", "recordings", DateCreated=day, IncludeSoftDeleted="true", **query):
        put(
            "recording",
            "none",
            records=1,
            provider_price=-Decimal(r["price"] or 0),
            talk_seconds=int(r["duration"] or 0),
        )
    auth, since = (account.sid, account.token), date.fromisoformat(day) - timedelta(1)
    rooms = []
    for status in ("completed", "in-progress"):
        window = {
            "Status": status,
            "DateCreatedAfter": str(since),
            "DateCreatedBefore": str(since + timedelta(2)),
            **query,
        }
        rooms += box.http.get("/v1/Rooms", params=window, auth=auth).json()["rooms"]
    for room in rooms:
        path = f"/v1/Rooms/{room['sid']}/Participants"
        for p in box.http.get(path, params={"Status": "disconnected"}, auth=auth).json()["participants"]:
            if p["start_time"].startswith(day):
                put(
                    *("video", "inbound" if p["identity"].startswith("guest-") else "outbound"),
                    records=1,
                    billable=int(p["duration"] > 0),
                    talk_seconds=p["duration"],
                    talk_minutes=-(-p["duration"] // 60),
                    dial_minutes=-(-p["duration"] // 60),
                )
    return found


def test_truth_equals_what_the_api_serves(box, tmp_path):
    run("truth", *OPTIONS, "--from", "2026-10-06", "--to", "2026-10-06", "--out", tmp_path / "a.jsonl")
    run("truth", *OPTIONS, "--from", "2026-11-07", "--out", tmp_path / "b.json")
    run("truth", *OPTIONS, "--from", "2026-11-07", "--by-owner", "--out", tmp_path / "c.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    lines += json.loads((tmp_path / "b.json").read_text())
    assert {line["day"] for line in lines} == {"2026-10-06", "2026-11-07", "2026-11-08"}
    totals = {}
    for line in lines:
        if line["kind"] != "number":
            totals.setdefault((line["account_id"], line["day"]), {})[line["kind"], line["direction"]] = line
    for account in CUSTOMERS:
        for day in ("2026-10-06", "2026-11-07", "2026-11-08"):
            seen = api_totals(box, account, day)
            told = totals.get((account.account_id, day), {})
            assert set(seen) == set(told)
            for key, facts in seen.items():
                for name, value in facts.items():
                    assert Decimal(told[key][name]) == value, (account.account_id, day, key, name)
    summed = defaultdict(Decimal)
    for line in (json.loads(text) for text in (tmp_path / "c.jsonl").read_text().splitlines()):
        for name in ("records", "billable", "segments", "dial_minutes", "provider_price", "unpriced"):
            summed[line["account_id"], line["day"], line["kind"], line["direction"], name] += Decimal(line[name])
    assert summed
    for (account_id, day, kind, direction, name), value in summed.items():
        assert Decimal(totals[account_id, day][kind, direction][name]) == value, (
            account_id,
            day,
            kind,
            direction,
            name,
        )


@pytest.mark.parametrize("day", ["2026-10-06", "2026-11-08"])
def test_exports_hold_the_rows_of_the_api(box, tmp_path, day):
    for file_format in ("console-csv", "bulkexport"):
        run("export", *OPTIONS, "--day", day, "--format", file_format, "--out", tmp_path)
    api = {}
    for account in CUSTOMERS:
        for m in box.rows(f"{BASE}/{account.sid}/Messages.json", "messages", DateSent=day, PageSize=1000):
            api[m["sid"]] = m
    console = table(tmp_path / f"sms-log-{day}.csv")
    header = "From,To,Body,Status,SentDate,ApiVersion,NumSegments,ErrorCode,AccountSid,Sid,Direction,Price,PriceUnit"
    assert (tmp_path / f"sms-log-{day}.csv").read_text(encoding="utf-8").splitlines()[0] == header
    assert [r["Sid"] for r in console] == list(api)
    for row in console:
        m = api[row["Sid"]]
        assert (row["Price"] or None, row["NumSegments"], row["Body"]) == (m["price"], m["num_segments"], m["body"])
        assert row["SentDate"] == parsedate_to_datetime(m["date_sent"]).strftime("%Y-%m-%dT%H:%M:%SZ")
    with gzip.open(tmp_path / f"Messages_{day}.json.gz", "rt", encoding="utf-8") as lines:
        bulk = [json.loads(line) for line in lines]
    assert [r["sid"] for r in bulk] == list(api)
    for row in bulk:
        m = api[row["sid"]]
        assert row.get("price") == m["price"] and row["num_segments"] == int(m["num_segments"])
        assert not {"uri", "price_unit", "api_version"} & set(row)


def test_starting_is_quick_and_announced(tmp_path):
    ready = tmp_path / "port"
    started = time.perf_counter()
    with launch("--ready-file", str(ready)) as running:
        took = time.perf_counter() - started
        assert running.url == f"http://127.0.0.1:{ready.read_text().strip()}"
    assert took < 5


def test_the_command_line_teaches_and_refuses():
    top = run("--help").stdout
    assert all(word in top for word in ("serve", "truth", "directory", "export", "credentials", "--ready-file"))
    assert "duplicate-page" in run("serve", "--help").stdout
    assert run("--messages-per-day", "99999999", check=False).returncode == 2
    assert run("--fault", "meteor", check=False).returncode == 2
    assert len(json.loads(run("credentials", "--json").stdout)) == 4


def test_nothing_exists_after_today(tmp_path):
    done = run("export", *OPTIONS, "--day", date(2026, 11, 9), "--format", "console-csv", "--out", tmp_path)
    assert done.stdout.startswith("0 rows")
