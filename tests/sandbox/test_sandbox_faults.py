"""Every fault does what it says, as often as it says, and nothing afterwards."""

import json
import time

import httpx
import pytest
from sandboxhelp import BASE

from sandbox.company import CLINIC, HARBOR
from sandbox.faults import KINDS, FaultError, build, parse_spec
from sandbox.launch import launch

LIST = f"{BASE}/{HARBOR.sid}/Messages.json"
DAY = {"DateSent": "2026-10-06", "PageSize": 100}


def ask(box, **query):
    return box.http.get(LIST, params={**DAY, **query})


def test_throttling_with_and_without_a_hint(box):
    box.fault(kind="throttle", path="Messages", times=2, retry_after=3)
    answers = [ask(box) for _ in range(3)]
    assert [a.status_code for a in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "3" and answers[0].json()["code"] == 20429
    box.fault(kind="throttle")
    assert "Retry-After" not in ask(box).headers and ask(box).status_code == 200


def test_server_errors_some_times_or_for_ever(box):
    box.fault(kind="error", status=503, times=2, after=1)
    assert [ask(box).status_code for _ in range(4)] == [200, 503, 503, 200]
    box.fault(kind="error", times=0, account="acct_harbor")
    assert {ask(box).status_code for _ in range(5)} == {500}
    assert box.http.get(f"{BASE}/{CLINIC.sid}/Messages.json").status_code == 200
    box.clear()
    assert ask(box).status_code == 200


def test_hanging(box):
    box.fault(kind="hang", seconds=0.4)
    started = time.perf_counter()
    assert ask(box).status_code == 200 and time.perf_counter() - started >= 0.4
    box.fault(kind="hang", seconds=5)
    with pytest.raises(httpx.ReadTimeout):
        box.http.get(LIST, timeout=0.3)


def test_unauthorized_once(box):
    box.fault(kind="unauthorized")
    refused = ask(box)
    assert (refused.status_code, refused.json()["code"]) == (401, 20003) and ask(box).status_code == 200


@pytest.mark.parametrize("page", [0, 1])
def test_a_duplicate_page_comes_under_another_token(box, page):
    whole = box.rows(LIST, "messages", **DAY)
    box.fault(kind="duplicate-page", page=page)
    pages = list(box.pages(LIST, **DAY))
    assert pages[page]["messages"] == pages[page + 1]["messages"] and pages[page]["uri"] != pages[page + 1]["uri"]
    rows = [m for p in pages for m in p["messages"]]
    assert len(rows) == len(whole) + len(pages[page]["messages"])
    assert len({p["uri"] for p in pages}) == len(pages)
    assert {m["sid"] for m in rows} == {m["sid"] for m in whole}


def test_a_looping_page_points_to_itself(box):
    box.fault(kind="loop-page", times=0)
    page = ask(box).json()
    again = box.get(page["next_page_uri"])
    assert again["messages"] == page["messages"] and again["next_page_uri"] == page["next_page_uri"]


def test_a_next_page_on_another_host(box):
    box.fault(kind="foreign-host", host="elsewhere.example")
    assert ask(box).json()["next_page_uri"].startswith("https://elsewhere.example/2010-04-01/")


def test_a_body_shorter_than_announced(box):
    box.fault(kind="truncate")
    with pytest.raises(httpx.RemoteProtocolError):
        ask(box)
    assert ask(box).status_code == 200


def test_json_cut_at_a_valid_length(box):
    box.fault(kind="cut-json")
    answer = ask(box)
    assert answer.status_code == 200 and int(answer.headers["Content-Length"]) == len(answer.content)
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_html_with_200(box):
    box.fault(kind="html")
    answer = ask(box)
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/html")


def test_a_record_of_another_account(box):
    clean = ask(box).json()["messages"]
    box.fault(kind="foreign-row")
    rows = ask(box).json()["messages"]
    assert rows[:-1] == clean and rows[-1]["account_sid"] == CLINIC.sid and rows[-1]["sid"] != clean[0]["sid"]
    assert ask(box).json()["messages"] == clean


def test_a_row_vanishes_from_lists_and_as_a_single_record(box):
    before = box.rows(LIST, "messages", **DAY)
    (rule,) = box.fault(kind="vanish", account="acct_harbor", day="2026-10-06", row=2, count=2)
    assert rule["sids"] == [m["sid"] for m in before[2:4]]
    assert box.rows(LIST, "messages", **DAY) == before[:2] + before[4:]
    box.get(before[2]["uri"], 404)
    box.clear()
    assert box.rows(LIST, "messages", **DAY) == before


def test_a_row_that_appears_late(box):
    before = box.rows(LIST, "messages", **DAY)
    box.fault(kind="vanish", sid=before[0]["sid"], until="2026-11-09T00:00:00Z")
    assert box.rows(LIST, "messages", **DAY) == before[1:]
    box.http.post("/_sandbox/clock", json={"now": "2026-11-09T00:00:00Z"})
    assert box.rows(LIST, "messages", **DAY) == before


def test_a_row_changes_with_a_newer_date_updated(box):
    before = box.rows(LIST, "messages", **DAY)[0]
    box.fault(kind="change", sid=before["sid"], set={"status": "undelivered", "price": "-0.09990"})
    after = box.rows(LIST, "messages", **DAY)[0]
    assert (after["status"], after["price"]) == ("undelivered", "-0.09990")
    assert after["date_updated"] == "Sun, 08 Nov 2026 20:30:07 +0000" != before["date_updated"]
    assert box.get(before["uri"]) == after
    calls = box.fault(
        kind="change", account="acct_clinic", day="2026-10-06", resource="calls", set={"price": "-1.00000"}
    )
    assert box.get(f"{BASE}/{CLINIC.sid}/Calls.json", StartTime="2026-10-06")["calls"][0]["sid"] in calls[-1]["sids"]


def test_rules_that_make_no_sense_are_refused(box):
    for rule in (
        {},
        {"kind": "meteor"},
        {"kind": "vanish"},
        {"kind": "error", "tiems": 2},
        {"kind": "error", "times": "x"},
    ):
        assert box.http.post("/_sandbox/faults", json=rule).status_code == 400
    assert box.http.post("/_sandbox/faults", content=b"{").status_code == 400
    assert box.http.get("/_sandbox/faults").json() == []


def test_specs_of_the_command_line():
    assert parse_spec("change,sid=SM1,set.price=-0.02,set.status=sent") == {
        "kind": "change",
        "sid": "SM1",
        "set": {"price": "-0.02", "status": "sent"},
    }
    fault = build(parse_spec("throttle,path=Messages,times=2,retry_after=1"), None)
    assert (fault.times, fault.retry_after, fault.path) == (2, "1", "Messages")
    with pytest.raises(FaultError):
        parse_spec("error,503")
    assert len(KINDS) == 13


def test_faults_latency_and_limits_from_the_command_line():
    flags = ("--fault", "error,status=502,times=1", "--latency-ms", "60", "--max-concurrent", "1")
    with launch(*flags) as slow, httpx.Client(base_url=slow.url, auth=slow.main) as client:
        started = time.perf_counter()
        assert [client.get(LIST).status_code for _ in range(2)] == [502, 200]
        assert time.perf_counter() - started >= 0.12
        assert client.get("/_sandbox/stats").json()["by_status"] == {"200": 1, "502": 1}
