"""The HTTP API as clients see it: the provider's own client library, filters, paging, errors, its published document."""

import re
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest
from sandboxhelp import BASE, CLOCK, Document, Redirected
from twilio.rest import Client

from sandbox.company import ACCOUNTS, CLINIC, CUSTOMERS, HARBOR, LANTERN, MAIN
from sandbox.launch import launch
from sandbox.records import Records
from sandbox.traffic import midnight
from sandbox.usage import CATEGORIES, LEAVES

DAY, NEXT = date(2026, 10, 6), date(2026, 10, 7)
DOCUMENT = Document("twilio_api_v2010.read.json")


def assert_documented(template: str, body: dict, status: str = "200"):
    DOCUMENT.check(f"/2010-04-01/Accounts{template}", body, status)


@pytest.fixture
def official(box):
    return lambda account: Client(MAIN.sid, MAIN.token, account.sid, http_client=Redirected(box.running.url))


def sids_of(world, account, first=DAY, last=NEXT):
    render = Records(world).message
    found = world.messages(account, midnight(first), midnight(last) - 1, CLOCK, False)
    return [render(at, CLOCK)["sid"] for at in found]


def test_the_official_client_pages_through_everything(official, world):
    for account in CUSTOMERS:
        client, (start, end) = official(account), (datetime(2026, 10, 6, tzinfo=UTC), datetime(2026, 10, 7, tzinfo=UTC))
        seen = list(client.messages.stream(date_sent_after=start, date_sent_before=end, page_size=37))
        seen = [m for m in seen if m.date_sent.date() == DAY]
        assert [m.sid for m in seen] == sids_of(world, account)
        assert all(m.price is None or Decimal(m.price) < 0 for m in seen)
        legs = client.calls.list(start_time_after=start, start_time_before=end, page_size=11)
        expected = [
            Records(world).call(at, CLOCK)["sid"]
            for at in world.calls(account, midnight(DAY), midnight(NEXT) - 1, CLOCK)
        ]
        assert [c.sid for c in legs] == expected
        made = client.recordings.list(date_created_after=start, date_created_before=end, page_size=3)
        assert {r.call_sid for r in made} <= {c.sid for c in legs}
        numbers = client.incoming_phone_numbers.list(page_size=4)
        assert {n.phone_number for n in numbers} == {n.number for n in account.numbers if n.active(CLOCK.day)}
        days = client.usage.records.daily.list(start_date=DAY, end_date=NEXT, category="totalprice")
        assert [d.start_date for d in days] == [NEXT, DAY] and all(d.price > 0 for d in days)
        assert client.messages(seen[0].sid).fetch().sid == seen[0].sid
        assert client.calls(legs[0].sid).fetch().duration == legs[0].duration
    assert [a.sid for a in official(MAIN).api.v2010.accounts.list(page_size=3)] == [a.sid for a in ACCOUNTS]


def test_the_whole_history_pages_without_loss_or_repetition(box, world):
    path = f"{BASE}/{LANTERN.sid}/Messages.json"
    pages = list(box.pages(path, PageSize=1000))
    rows = [m for page in pages for m in page["messages"]]
    sids = [m["sid"] for m in rows]
    assert len(sids) == len(set(sids)) and len(pages) > 30
    assert [m["sid"] for m in rows if m["date_sent"]] == sids_of(world, LANTERN, date(2026, 3, 1), date(2026, 11, 9))
    created = [parsedate_to_datetime(m["date_sent"] or m["date_created"]) for m in rows]
    assert created == sorted(created, reverse=True)
    assert {m["status"] for m in rows if not m["date_sent"]} >= {"canceled", "scheduled"}
    assert [p["page"] for p in pages] == list(range(len(pages)))
    assert pages[-1]["next_page_uri"] is None and pages[1]["start"] == 1000


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_page_size_does_not_change_what_is_listed(box, world, size):
    query = {"DateSent": "2026-10-11", "PageSize": size}
    rows = box.rows(f"{BASE}/{LANTERN.sid}/Messages.json", "messages", **query)
    assert [m["sid"] for m in rows] == sids_of(world, LANTERN, date(2026, 10, 11), date(2026, 10, 12))
    calls = {"StartTime>": "2026-10-05", "StartTime<": "2026-10-07", "PageSize": max(size, 3)}
    rows = box.rows(f"{BASE}/{HARBOR.sid}/Calls.json", "calls", **calls)
    found = world.calls(HARBOR, midnight(date(2026, 10, 5)), midnight(date(2026, 10, 7)) - 1, CLOCK)
    assert [c["sid"] for c in rows] == [Records(world).call(at, CLOCK)["sid"] for at in found]


def test_page_uris_are_relative_and_lead_back(box):
    first, second = list(box.pages(f"{BASE}/{HARBOR.sid}/Messages.json", DateSent="2026-10-06", PageSize=200))[:2]
    assert first["next_page_uri"].startswith("/2010-04-01/") and re.search(
        r"PageToken=PA(SM|MM)", first["next_page_uri"]
    )
    assert first["previous_page_uri"] is None and box.get(second["previous_page_uri"])["messages"] == first["messages"]
    assert box.get(second["uri"])["messages"] == second["messages"]
    assert box.get(first["first_page_uri"])["messages"] == first["messages"]


@pytest.mark.parametrize(
    ("query", "first", "last"),
    [
        ({"DateSent": "2026-10-06"}, "2026-10-06T00:00:00", "2026-10-06T23:59:59"),
        ({"DateSent>": "2026-11-07"}, "2026-11-07T00:00:00", "2026-11-08T20:30:07"),
        ({"DateSent>": "2026-10-06", "DateSent<": "2026-10-07"}, "2026-10-06T00:00:00", "2026-10-07T00:00:00"),
        (
            {"DateSent>": "2026-10-06T15:00:00Z", "DateSent<": "2026-10-06 18:00:00.000"},
            *("2026-10-06T15:00:00", "2026-10-06T18:00:00"),
        ),
        (
            {"DateSent>": "Tue, 06 Oct 2026 23:00:00 +0000", "DateSent<": "2026-10-07"},
            "2026-10-06T23:00:00",
            "2026-10-07T00:00:00",
        ),
    ],
)
def test_date_filters(box, world, query, first, last):
    rows = box.rows(f"{BASE}/{HARBOR.sid}/Messages.json", "messages", PageSize=1000, **query)
    bounds = [int(datetime.fromisoformat(text + "+00:00").timestamp()) for text in (first, last)]
    expected = [Records(world).message(at, CLOCK)["sid"] for at in world.messages(HARBOR, *bounds, CLOCK, False)]
    assert [m["sid"] for m in rows] == expected and expected


def test_other_filters(box):
    calls = box.rows(f"{BASE}/{CLINIC.sid}/Calls.json", "calls", **{"StartTime": "2026-10-06", "PageSize": 1000})
    busy = box.rows(f"{BASE}/{CLINIC.sid}/Calls.json", "calls", StartTime="2026-10-06", Status="busy")
    assert busy == [c for c in calls if c["status"] == "busy"] and busy
    child = next(c for c in calls if c["parent_call_sid"])
    found = box.rows(f"{BASE}/{CLINIC.sid}/Calls.json", "calls", ParentCallSid=child["parent_call_sid"])
    assert found == [child]
    ended = box.rows(f"{BASE}/{CLINIC.sid}/Calls.json", "calls", **{"EndTime>": "2026-10-06", "EndTime<": "2026-10-07"})
    assert {c["sid"] for c in ended} == {c["sid"] for c in calls if parsedate_to_datetime(c["end_time"]).date() == DAY}
    messages = box.rows(f"{BASE}/{CLINIC.sid}/Messages.json", "messages", DateSent="2026-10-06", PageSize=1000)
    number = messages[0]["to"]
    found = box.rows(f"{BASE}/{CLINIC.sid}/Messages.json", "messages", DateSent="2026-10-06", To=number, PageSize=2)
    assert found == [m for m in messages if m["to"] == number]
    recorded = box.rows(f"{BASE}/{CLINIC.sid}/Recordings.json", "recordings", DateCreated="2026-10-06")
    by_call = box.rows(
        f"{BASE}/{CLINIC.sid}/Recordings.json", "recordings", DateCreated="2026-10-06", CallSid=recorded[0]["call_sid"]
    )
    assert by_call == recorded[:1]


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("Messages", {"PageSize": "1001"}, 400, 20001),
        ("Messages", {"PageSize": "0"}, 400, 20001),
        ("Messages", {"PageSize": "many"}, 400, 20001),
        ("Messages", {"Page": "-1"}, 400, 20001),
        ("Messages", {"PageToken": "PASM" + "0" * 32}, 400, 20001),
        ("Messages", {"PageToken": "nonsense"}, 400, 20001),
        ("Messages", {"DateSent>": "yesterday"}, 400, 20001),
        ("Messages", {"DateSent>": "2026-13-01"}, 400, 20001),
        ("Messages", {"DateSent>": "2025-10-03"}, 400, 20004),
        ("Calls", {"Status": "sleeping"}, 400, 20001),
        ("Usage/Records/Daily", {"StartDate": "2025-01-01", "EndDate": "2025-01-31"}, 404, 20404),
        ("Usage/Records/Daily", {"StartDate": "2026-10-07", "EndDate": "2026-10-06"}, 404, 20404),
        ("Usage/Records/Daily", {"StartDate": "2026-12-01", "EndDate": "2026-12-02"}, 404, 20404),
        ("Usage/Records/Daily", {"StartDate": "soon"}, 400, 20001),
        ("Usage/Records/Daily", {"PageToken": "PAxx"}, 400, 20001),
        ("Nothing", {}, 404, 20404),
        ("Messages/SM" + "0" * 32, {}, 404, 20404),
    ],
)
def test_errors_have_the_providers_body(box, path, query, status, code):
    body = box.get(f"{BASE}/{HARBOR.sid}/{path}.json", status, **query)
    assert body == {
        "code": code,
        "message": body["message"],
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    assert_documented("/{AccountSid}/Messages.json", body, str(status))


def test_the_oldest_day_inside_the_retention_is_served(box):
    oldest = CLOCK.day - timedelta(400)
    assert box.get(f"{BASE}/{HARBOR.sid}/Messages.json", **{"DateSent>": str(oldest), "PageSize": 1})["messages"]


def test_who_may_read_what(box):
    def status(path, auth):
        return httpx.get(box.running.url + path, auth=auth).status_code

    harbor, clinic = ((a.sid, a.token) for a in (HARBOR, CLINIC))
    own = f"{BASE}/{HARBOR.sid}/Messages.json"
    assert status(own, harbor) == status(own, box.running.main) == 200
    assert (
        status(own, clinic) == status(own, None) == status(own, (HARBOR.sid, "wrong")) == status(own, ("x", "y")) == 401
    )
    assert status(f"{BASE}/AC{'0' * 32}/Messages.json", box.running.main) == 404
    refused = httpx.get(box.running.url + own, headers={"Authorization": "Basic ???"})
    assert refused.status_code == 401 and refused.json()["code"] == 20003
    mine = httpx.get(f"{box.running.url}{BASE}.json", auth=harbor).json()["accounts"]
    assert [a["sid"] for a in mine] == [HARBOR.sid]


def test_usage_over_http(box, main_base):
    def daily(base, **query):
        path = f"{base}/Usage/Records/Daily.json"
        rows = box.rows(path, "usage_records", StartDate="2026-10-06", EndDate="2026-10-07", **query)
        return {(r["start_date"], r["category"]): r for r in rows}

    whole = daily(main_base, PageSize=7)
    assert len(whole) == 2 * len(CATEGORIES)
    parts = [daily(f"{BASE}/{a.sid}", PageSize=1000) for a in CUSTOMERS]
    for key, row in whole.items():
        assert Decimal(row["price"]) == sum(Decimal(p[key]["price"]) for p in parts)
        assert row["price_unit"] == "usd" and row["start_date"] == row["end_date"]
        if key[1] != "totalprice":
            assert int(row["count"]) == sum(int(p[key]["count"]) for p in parts)
    for day in ("2026-10-06", "2026-10-07"):
        assert Decimal(whole[day, "totalprice"]["price"]) == sum(Decimal(whole[day, leaf]["price"]) for leaf in LEAVES)
    alone = daily(main_base, IncludeSubaccounts="false")
    assert all(Decimal(r["price"]) == 0 for r in alone.values())
    only = daily(main_base, Category="sms")
    assert set(only) == {("2026-10-06", "sms"), ("2026-10-07", "sms")}
    assert box.get(f"{main_base}/Usage/Records/Daily.json", Category="no-such-thing")["usage_records"] == []
    plain = box.rows(f"{main_base}/Usage/Records.json", "usage_records", StartDate="2026-10-06", EndDate="2026-10-07")
    assert Decimal(plain[0]["price"]) == sum(Decimal(whole[d, "sms"]["price"]) for d in ("2026-10-06", "2026-10-07"))
    month = box.rows(f"{main_base}/Usage/Records/Monthly.json", "usage_records", Category="totalprice")
    ever = box.rows(f"{main_base}/Usage/Records/AllTime.json", "usage_records", Category="totalprice")
    assert len(month) == 10 and Decimal(ever[0]["price"]) == sum(Decimal(m["price"]) for m in month)


def test_payloads_satisfy_the_published_document(box, main_base):
    harbor = f"{BASE}/{HARBOR.sid}"
    assert_documented(".json", box.get(f"{BASE}.json"))
    assert_documented("/{Sid}.json", box.get(f"{harbor}.json"))
    for name, key in (
        ("Messages", "messages"),
        ("Calls", "calls"),
        ("Recordings", "recordings"),
        ("IncomingPhoneNumbers", "incoming_phone_numbers"),
    ):
        page = box.get(f"{harbor}/{name}.json", PageSize=300)
        assert page[key]
        assert_documented(f"/{{AccountSid}}/{name}.json", page)
    for message in box.get(f"{harbor}/Messages.json", PageSize=3)["messages"]:
        assert_documented("/{AccountSid}/Messages/{Sid}.json", box.get(message["uri"]))
    for period in ("", "/Daily", "/Monthly", "/Today", "/Yesterday", "/AllTime", "/ThisMonth", "/LastMonth"):
        page = box.get(f"{main_base}/Usage/Records{period}.json", PageSize=60)
        assert page["usage_records"]
        assert_documented(f"/{{AccountSid}}/Usage/Records{period}.json", page)


def test_the_clock_moves_and_rows_follow(box):
    path = f"{BASE}/{HARBOR.sid}/Messages.json"
    before = box.rows(path, "messages", DateSent="2026-11-08", PageSize=1000)
    assert box.rows(path, "messages", DateSent="2026-11-09") == []
    assert box.http.post("/_sandbox/clock", json={"now": "2026-11-10T06:00:00Z"}).json() == {
        "now": "2026-11-10T06:00:00Z"
    }
    after = box.rows(path, "messages", DateSent="2026-11-08", PageSize=1000)
    assert {m["sid"] for m in before} < {m["sid"] for m in after}
    assert box.rows(path, "messages", DateSent="2026-11-09")
    assert box.http.post("/_sandbox/clock", json={}).status_code == 400


def test_a_page_far_inside_a_ten_million_message_day_is_quick():
    with (
        launch("--seed", "7", "--messages-per-day", "10000000") as big,
        httpx.Client(auth=big.main, timeout=30) as client,
    ):

        def resident():
            status = Path(f"/proc/{big.pid}/status").read_text()
            return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

        target = (
            f"{BASE}/{CLINIC.sid}/Messages.json?DateSent%3E=2026-10-06&DateSent%3C=2026-10-06T16:00:00Z&PageSize=1000"
        )
        took, sids, sizes = [], [], []
        for _ in range(15):
            started = time.perf_counter()
            page = client.get(big.url + target).json()
            took.append(time.perf_counter() - started)
            sids += [m["sid"] for m in page["messages"]]
            target = page["next_page_uri"]
            sizes.append(resident())
        assert len(set(sids)) == 15_000
        assert statistics.median(took) < 0.5
        assert sizes[-1] - sizes[4] < 20_000, "kB"
        usage = client.get(
            f"{big.url}{BASE}/{MAIN.sid}/Usage/Records/Daily.json?StartDate=2026-10-06&EndDate=2026-10-06"
        )
        counts = {r["category"]: r["count"] for r in usage.json()["usage_records"]}
        assert int(counts["sms"]) > 8_000_000


def test_concurrent_readers_get_the_same_answers(box):
    path = f"{box.running.url}{BASE}/{HARBOR.sid}/Messages.json?DateSent=2026-10-06&PageSize=500"
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: httpx.get(path, auth=box.running.main).text, range(12)))
    assert len(set(answers)) == 1
    assert 1 <= box.get("/_sandbox/stats")["max_concurrent"] <= 6
