"""The Video API: rooms and participants as clients see them, who may see them, faults on them, and what they cost."""

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import httpx
import pytest
from sandboxhelp import BASE, CLOCK, Document, Redirected
from twilio.rest import Client

from sandbox import truth, video
from sandbox.company import ACCOUNTS, CLINIC, CUSTOMERS, HARBOR, LANTERN, MAIN
from sandbox.prices import VIDEO_PER_PARTICIPANT_MINUTE, minutes
from sandbox.records import Records
from sandbox.traffic import SECONDS_PER_DAY, Clock, World, midnight
from sandbox.usage import LEAVES, Ledger

DOCUMENT = Document("twilio_video_v1.read.json")
DAY, NEXT = date(2026, 10, 6), date(2026, 10, 7)
ALL_DAYS = [date(2026, 3, 1) + timedelta(n) for n in range(253)]
WEEK = {"Status": "completed", "DateCreatedAfter": "2026-10-05", "DateCreatedBefore": "2026-10-12"}


class Reader:
    """A client of the Video API for one account, holding the main account's token only."""

    def __init__(self, box, account=CLINIC) -> None:
        self.url = box.running.url
        self.http = httpx.Client(base_url=self.url, auth=(account.sid, MAIN.token), timeout=30)

    def get(self, path, status=200, **query):
        answer = self.http.get(path, params=query or None)
        assert answer.status_code == status, answer.text
        return answer.json()

    def pages(self, path, **query):
        page = self.get(path, **query)
        yield page
        while page["meta"]["next_page_url"]:
            page = self.get(page["meta"]["next_page_url"])
            yield page

    def rows(self, path, **query):
        return [row for page in self.pages(path, **query) for row in page[page["meta"]["key"]]]

    def rooms(self, **query):
        return self.rows("/v1/Rooms", **query)

    def participants(self, room, **query):
        return self.rows(f"/v1/Rooms/{room['sid']}/Participants", **query)


@pytest.fixture
def clinic(box):
    return Reader(box)


def moment(text):
    return int(datetime.fromisoformat(text).timestamp())


def expected(world, account, first, last, clock=CLOCK):
    """Records of the completed rooms created on [first, last) and of each one's participants, from the generator."""
    render, found = Records(world), []
    for at in video.rooms(world, account, midnight(first), midnight(last) - 1, clock):
        room = render.room(at, clock)
        if room["status"] == "completed":
            found.append((room, [render.participant(p, clock) for p in video.participants(world, at, clock)]))
    return found


def test_the_official_client_reads_every_room_and_participant(box, world):
    for account in CUSTOMERS:
        client = Client(account.sid, MAIN.token, http_client=Redirected(box.running.url))
        start, end = datetime(2026, 10, 5, tzinfo=UTC), datetime(2026, 10, 12, tzinfo=UTC)
        rooms = client.video.v1.rooms.list(
            status="completed", date_created_after=start, date_created_before=end, page_size=4
        )
        wanted = expected(world, account, start.date(), end.date())
        assert [r.sid for r in rooms] == [r["sid"] for r, _ in wanted] and rooms
        for room, (record, people) in zip(rooms, wanted, strict=True):
            assert room.duration == record["duration"] and room.type == "group"
            seen = client.video.v1.rooms(room.sid).participants.list(page_size=1)
            assert [(p.sid, p.identity, p.duration) for p in seen] == [
                (p["sid"], p["identity"], p["duration"]) for p in people
            ]
        assert client.video.v1.rooms(rooms[0].sid).fetch().unique_name == rooms[0].unique_name
        first = client.video.v1.rooms(rooms[0].sid).participants.list()[0]
        assert client.video.v1.rooms(rooms[0].sid).participants(first.sid).fetch().start_time == first.start_time


def test_payloads_satisfy_the_published_document(clinic):
    page = clinic.get("/v1/Rooms", **WEEK, PageSize=3)
    DOCUMENT.check("/v1/Rooms", page)
    DOCUMENT.check("/v1/Rooms/{Sid}", clinic.get(f"/v1/Rooms/{page['rooms'][0]['sid']}"))
    DOCUMENT.check("/v1/Rooms", clinic.get("/v1/Rooms"))
    for room in page["rooms"]:
        people = clinic.get(f"/v1/Rooms/{room['sid']}/Participants", PageSize=2)
        DOCUMENT.check("/v1/Rooms/{RoomSid}/Participants", people)
        assert 1 <= len(people["participants"]) <= 2
        assert "price" not in room and not any("price" in p for p in people["participants"])


def test_page_urls_are_absolute_and_lead_back(clinic):
    first, second, third = list(clinic.pages("/v1/Rooms", **WEEK, PageSize=7))[:3]
    for page in (first, second, third):
        meta = page["meta"]
        assert set(meta) == {
            *("page", "page_size", "first_page_url", "previous_page_url", "url", "next_page_url", "key")
        }
        assert meta["page_size"] == 7 and meta["key"] == "rooms"
        assert clinic.get(meta["url"])["rooms"] == page["rooms"]
        assert all(meta[name].startswith(clinic.url + "/v1/Rooms?") for name in ("url", "first_page_url"))
        assert clinic.get(meta["first_page_url"])["rooms"] == first["rooms"]
    assert first["meta"]["previous_page_url"] is None
    assert clinic.get(second["meta"]["previous_page_url"])["rooms"] == first["rooms"]
    created = [room["date_created"] for page in (first, second, third) for room in page["rooms"]]
    assert created == sorted(created, reverse=True) and len(set(created)) == 21


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_page_size_does_not_change_what_is_listed(clinic, world, size):
    wanted = expected(world, CLINIC, date(2026, 10, 5), date(2026, 10, 12))
    rooms = clinic.rooms(**WEEK, PageSize=size)
    assert rooms == [room for room, _ in wanted]
    for room, people in wanted[:5]:
        assert clinic.participants(room, PageSize=size) == people


def test_the_whole_history_of_an_account(box, world):
    rooms = Reader(box, LANTERN).rooms(Status="completed", PageSize=1000)
    assert rooms == [room for room, _ in expected(world, LANTERN, ALL_DAYS[0], date(2026, 11, 9))]
    assert len(rooms) > 60


def test_filters(clinic):
    rooms = clinic.rooms(**WEEK)
    days = {room["date_created"][:10] for room in rooms}
    assert min(days) == "2026-10-05" and max(days) <= "2026-10-11" and len(days) >= 5
    one_day = {"DateCreatedAfter": "2026-10-06", "DateCreatedBefore": "2026-10-07T00:00:00Z"}
    found = clinic.rooms(Status="completed", **one_day)
    assert found == [room for room in rooms if room["date_created"].startswith("2026-10-06")] and found
    assert clinic.rooms(**WEEK, UniqueName=rooms[3]["unique_name"]) == [rooms[3]]
    assert clinic.rooms(**{**WEEK, "Status": "failed"}) == clinic.rooms(**one_day) == []
    people = clinic.participants(rooms[0])
    assert clinic.participants(rooms[0], Identity=people[-1]["identity"]) == [people[-1]]
    assert clinic.participants(rooms[0], Status="connected") == []
    assert clinic.participants(rooms[0], DateCreatedAfter="2026-10-13") == []
    assert clinic.participants(rooms[0], DateCreatedBefore=people[0]["start_time"]) == [
        p for p in people if p["start_time"] < people[0]["start_time"]
    ]


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("/v1/Rooms", {"Status": "sleeping"}, 400, 20001),
        ("/v1/Rooms", {"DateCreatedAfter": "soon"}, 400, 20001),
        ("/v1/Rooms", {"PageSize": "1001"}, 400, 20001),
        ("/v1/Rooms", {"PageToken": "PARM" + "0" * 32}, 400, 20001),
        ("/v1/Rooms/RM" + "0" * 32, {}, 404, 20404),
        ("/v1/Rooms/RM" + "0" * 32 + "/Participants", {}, 404, 20404),
        ("/v1/Compositions", {}, 404, 20404),
    ],
)
def test_errors_have_the_providers_body(clinic, path, query, status, code):
    body = clinic.get(path, status, **query)
    assert (body["code"], body["status"]) == (code, status)


def test_a_participants_token_or_sid_of_another_room_is_refused(clinic):
    a, b = [room for room in clinic.rooms(**WEEK) if len(clinic.participants(room)) > 1][:2]
    person = clinic.participants(a)[0]
    clinic.get(f"/v1/Rooms/{b['sid']}/Participants", 400, PageToken="PA" + person["sid"])
    clinic.get(f"/v1/Rooms/{b['sid']}/Participants/{person['sid']}", 404)
    assert clinic.get(f"/v1/Rooms/{a['sid']}/Participants/{person['sid']}") == person


def test_who_may_read_what(box):
    def rooms(user, token, status=200, path="/v1/Rooms"):
        answer = httpx.get(box.running.url + path, params=WEEK, auth=(user, token))
        assert answer.status_code == status
        return answer.json().get("rooms")

    for account in CUSTOMERS:
        own = rooms(account.sid, account.token)
        assert own == rooms(account.sid, MAIN.token)
        assert own and {room["account_sid"] for room in own} == {account.sid}
    assert rooms(MAIN.sid, MAIN.token) == [], "the main account has no rooms of its own"
    rooms(CLINIC.sid, HARBOR.token, 401)
    rooms(MAIN.sid, CLINIC.token, 401)
    rooms(CLINIC.sid, "wrong", 401)
    rooms("x", "y", 401)
    assert httpx.get(f"{box.running.url}/v1/Rooms").json()["code"] == 20003
    foreign = rooms(CLINIC.sid, CLINIC.token)[0]["sid"]
    for path in (f"/v1/Rooms/{foreign}", f"/v1/Rooms/{foreign}/Participants"):
        rooms(HARBOR.sid, HARBOR.token, 404, path)
    by_main = httpx.get(f"{box.running.url}{BASE}/{CLINIC.sid}/Calls.json", auth=(CLINIC.sid, MAIN.token))
    assert by_main.status_code == 401, "elsewhere the main account's token belongs to the main account's SID"


def test_a_room_is_in_progress_until_everybody_has_left(box, clinic, world):
    found = next(
        room
        for day in (date(2026, 11, 9) + timedelta(n) for n in range(30))
        for room in video.rooms_of(world, CLINIC, day)
        if len(room.sessions) > 2 and min(s.seconds for s in room.sessions) > 120
    )
    last = max(found.sessions, key=lambda s: s.start)
    during = last.start - 1

    def at(second):
        text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        assert box.http.post("/_sandbox/clock", json={"now": text}).status_code == 200

    at(found.created - 1)
    assert clinic.rooms(UniqueName=found.name, Status="in-progress") == []
    at(during)
    (room,) = clinic.rooms(UniqueName=found.name)
    assert (room["status"], room["end_time"], room["duration"]) == ("in-progress", None, None)
    assert clinic.rooms(UniqueName=found.name, Status="completed") == []
    here = clinic.participants(room)
    assert last.identity not in {p["identity"] for p in here} and here
    assert all(p["status"] == "connected" and p["end_time"] is None and p["duration"] is None for p in here)
    assert clinic.participants(room, Status="disconnected") == []
    at(found.end)
    assert clinic.rooms(UniqueName=found.name, Status="in-progress") == []
    (room,) = clinic.rooms(UniqueName=found.name, Status="completed")
    assert (moment(room["end_time"]), room["duration"]) == (found.end, found.end - found.created)
    assert {p["identity"] for p in clinic.participants(room)} == {s.identity for s in found.sessions}


def test_rooms_are_believable(world):
    sizes, lengths, per_day = Counter(), [], Counter()
    over_midnight = after_midnight = 0
    for account in CUSTOMERS:
        members = {owner_id for owner_id, _ in account.members}
        for day in ALL_DAYS:
            found, end = video.rooms_of(world, account, day), midnight(day) + SECONDS_PER_DAY
            per_day[account.account_id] += len(found)
            if account is CLINIC and (day.weekday() == 6 or day in account.holidays):
                assert not found
            assert [r.created for r in found] == sorted({r.created for r in found})
            for room in found:
                sizes[len(room.sessions)] += 1
                assert midnight(day) <= room.created < end
                assert len({s.identity for s in room.sessions}) == len(room.sessions)
                assert any(s.host for s in room.sessions) and any(not s.host for s in room.sessions)
                assert [s.start for s in room.sessions] == sorted(s.start for s in room.sessions)
                for s in room.sessions:
                    assert (s.identity in members) == s.host
                    assert s.host or s.identity.startswith("guest-")
                    assert room.created < s.start <= s.end < room.end
                    lengths.append(s.seconds)
                    over_midnight += s.start < end <= s.end
                    after_midnight += s.start >= end
    weeks = len(ALL_DAYS) / 7
    assert set(sizes) == {2, 3, 4}
    assert min(lengths) == 0 and {1, 59, 60, 61} <= set(lengths) and 3_600 < max(lengths) < 3_900
    assert over_midnight > 10 and after_midnight
    assert 15 < per_day["acct_clinic"] / weeks < 35
    assert all(1 < per_day[a.account_id] / weeks < 7 for a in (HARBOR, LANTERN))
    assert video.rooms_of(world, HARBOR, date(2026, 2, 28)) == video.rooms_of(world, MAIN, DAY) == ()


def test_the_same_seed_gives_the_same_rooms_whatever_the_volume():
    def told(world):
        return json.dumps(expected(world, CLINIC, DAY, NEXT))

    assert told(World(7)) == told(World(7, 50_000, 9_000)) != told(World(8))


def test_usage_is_the_sum_of_the_participants_to_the_cent(box, world):
    category = "group-rooms-participant-minutes"
    for account in CUSTOMERS:
        reader, by_day = Reader(box, account), {}
        for room in reader.rooms(Status="completed", DateCreatedAfter="2026-09-30", DateCreatedBefore="2026-11-09"):
            for p in reader.participants(room):
                row = by_day.setdefault(p["start_time"][:10], [0, 0])
                row[0], row[1] = row[0] + 1, row[1] + -(-p["duration"] // 60)
        path = f"{BASE}/{account.sid}/Usage/Records/Daily.json"
        window = {"StartDate": "2026-10-01", "EndDate": "2026-11-08"}
        rows = box.rows(path, "usage_records", **window, Category=category)
        assert len(rows) == 39 and any(row["count"] != "0" for row in rows)
        for row in rows:
            count, usage = by_day.get(row["start_date"], (0, 0))
            assert (row["count"], row["usage"]) == (str(count), str(usage)), row["start_date"]
            assert Decimal(row["price"]) == usage * Decimal("0.004")
            assert (row["count_unit"], row["usage_unit"]) == ("participants", "minutes")
    assert category in LEAVES


def test_the_ledger_of_a_running_day_holds_who_has_left(world):
    day = next(d for d in ALL_DAYS if len(video.rooms_of(world, CLINIC, d)) > 4)
    ledger, joined = Ledger(world), [s for _, s in video.sessions_on(world, CLINIC, day)]
    for second in (50_000, 60_000, 70_000, 80_000, 86_399, 200_000):
        now = midnight(day) + second
        gone = [s for s in joined if s.end <= now]
        used = sum(minutes(s.seconds) for s in gone)
        wanted = (len(gone), used, used * VIDEO_PER_PARTICIPANT_MINUTE)
        assert ledger.usage(CLINIC, day, Clock(now))["group-rooms-participant-minutes"] == wanted


def test_truth_has_members_outbound_and_guests_inbound(world):
    by_owner, plain = Counter(), Counter()
    for lines, found in ((truth.lines(world, CLOCK, ALL_DAYS[-14], ALL_DAYS[-1], by_owner=True), by_owner),) + (
        (truth.lines(world, CLOCK, ALL_DAYS[-14], ALL_DAYS[-1]), plain),
    ):
        for line in lines:
            if line["kind"] == "video":
                key = line["account_id"], line["day"], line["direction"]
                for name in ("records", "billable", "talk_seconds", "talk_minutes"):
                    found[(*key, name)] += line[name]
                assert (line["talk_seconds"], line["talk_minutes"]) == (line["dial_seconds"], line["dial_minutes"])
                assert line["unpriced"] == line["billable"], "a participant never has a price of his own"
                assert Decimal(line["provider_price"]) == line["talk_minutes"] * Decimal("0.004")
    assert by_owner == plain and {key[2] for key in plain} == {"inbound", "outbound"}
    counted = Counter()
    for account in CUSTOMERS:
        for day in ALL_DAYS[-14:]:
            for room, s in video.sessions_on(world, account, day):
                assert room.first_host == min((h for h in room.sessions if h.host), key=lambda h: h.start).identity
                counted[account.account_id, str(day), "outbound" if s.host else "inbound", "records"] += (
                    s.end <= CLOCK.now
                )
    assert counted == Counter({k: v for k, v in plain.items() if k[3] == "records"})


def test_a_guest_is_his_hosts_even_where_he_was_there_first(world):
    days = [day for day in ALL_DAYS if any(not r.sessions[0].host for r in video.rooms_of(world, CLINIC, day))][:5]
    assert len(days) == 5
    for day in days:
        told, wanted = Counter(), Counter()
        for line in truth.lines(world, CLOCK, day, day, by_owner=True):
            if (line["kind"], line["account_id"]) == ("video", "acct_clinic"):
                assert line["owner_kind"] == "member"
                told[line["direction"], line["owner_id"]] += line["records"]
        for room, s in video.sessions_on(world, CLINIC, day):
            hosts = [h.identity for h in room.sessions if h.host]
            wanted[s.direction, s.identity if s.host else hosts[0]] += 1
        assert told == wanted


def test_a_session_after_midnight_belongs_to_the_day_it_began(world):
    late = [
        (account, day, room, s)
        for account in CUSTOMERS
        for day in ALL_DAYS[:-1]
        for room, s in video.sessions_on(world, account, day)
        if room.created < midnight(day)
    ]
    assert late
    for account, day, room, session in late:
        assert room in video.rooms_of(world, account, day - timedelta(1))
        (own,) = [s for r, s in video.sessions_on(world, account, day) if r.name == room.name and s == session]
        assert own.direction == "inbound"


# --- faults ---


def test_requests_for_rooms_can_fail(box, clinic):
    box.fault(kind="throttle", path="/v1/Rooms", account="acct_clinic", retry_after=2)
    assert Reader(box, HARBOR).get("/v1/Rooms")["rooms"] == []
    refused = clinic.http.get("/v1/Rooms")
    assert (refused.status_code, refused.headers["Retry-After"], refused.json()["code"]) == (429, "2", 20429)
    box.fault(kind="error", path="Participants", status=503)
    room = clinic.rooms(**WEEK)[0]
    clinic.get(f"/v1/Rooms/{room['sid']}/Participants", 503)
    assert clinic.participants(room)
    stats = box.http.get("/_sandbox/stats").json()
    assert stats["by_resource"]["v1/Rooms/{Sid}/Participants"] == 2 and stats["by_account"][CLINIC.sid] >= 4


def test_a_room_page_is_served_again_under_another_token(box, clinic):
    whole = list(clinic.pages("/v1/Rooms", **WEEK, PageSize=8))
    for page in (0, 1):
        box.clear()
        box.fault(kind="duplicate-page", page=page, times=1)
        pages = list(clinic.pages("/v1/Rooms", **WEEK, PageSize=8))
        assert pages[page]["rooms"] == pages[page + 1]["rooms"]
        assert pages[page]["meta"]["url"] != pages[page + 1]["meta"]["url"]
        assert len(pages) == len(whole) + 1


def test_room_pages_that_loop_or_lead_elsewhere(box, clinic):
    box.fault(kind="loop-page")
    page = clinic.get("/v1/Rooms", **WEEK, PageSize=8)
    assert page["meta"]["next_page_url"].startswith(clinic.url)
    assert clinic.get(page["meta"]["next_page_url"])["rooms"] == page["rooms"]
    box.fault(kind="foreign-host", host="elsewhere.example")
    following = clinic.get("/v1/Rooms", **WEEK, PageSize=8)["meta"]["next_page_url"]
    assert following.startswith("https://elsewhere.example/v1/Rooms?") and "PageToken=PARM" in following
    box.fault(kind="foreign-host", host="elsewhere.example")
    following = clinic.get("/v1/Rooms", **WEEK)["meta"]["next_page_url"]
    assert following.startswith("https://elsewhere.example/v1/Rooms?"), "also where no page follows"


def test_a_room_or_participant_of_another_account(box, clinic):
    room = clinic.rooms(**WEEK)[0]
    people = clinic.participants(room)
    box.fault(kind="foreign-row", path="Participants")
    rows = clinic.participants(room)
    assert rows[:-1] == people and rows[-1]["account_sid"] == HARBOR.sid and rows[-1]["room_sid"] == room["sid"]
    box.fault(kind="foreign-row")
    assert clinic.rooms(**WEEK)[-1]["account_sid"] == HARBOR.sid
    box.fault(kind="foreign-row")
    assert clinic.get(f"/v1/Rooms/{room['sid']}") == room, "a single record has no further row"


def test_rooms_and_participants_vanish_and_change(box, clinic):
    before = clinic.rooms(**WEEK)
    (rule,) = box.fault(kind="vanish", account="acct_clinic", day="2026-10-06", resource="rooms")
    gone = next(room for room in before if room["date_created"].startswith("2026-10-06"))
    assert rule["sids"] == [gone["sid"]]
    assert clinic.rooms(**WEEK) == [room for room in before if room != gone]
    clinic.get(f"/v1/Rooms/{gone['sid']}", 404)
    clinic.get(f"/v1/Rooms/{gone['sid']}/Participants", 404)
    box.clear()
    (rule,) = box.fault(
        kind="change", account="acct_clinic", day="2026-10-06", resource="participants", set={"duration": 7}
    )
    person = clinic.participants(gone)[0]
    assert rule["sids"] == [person["sid"]]
    assert (person["duration"], person["date_updated"]) == (7, "2026-11-08T20:30:07Z")
    box.fault(kind="html", path="/v1/")
    assert clinic.http.get("/v1/Rooms").headers["Content-Type"].startswith("text/html")


def test_every_account_has_its_own_sids(world):
    sids = [
        record["sid"]
        for account in ACCOUNTS
        for room, people in expected(world, account, ALL_DAYS[0], date(2026, 11, 9))
        for record in (room, *people)
    ]
    assert len(sids) == len(set(sids)) > 2_000
