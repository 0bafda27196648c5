"""Video: rooms, and for each the sessions in it. What is asked and in whose name, what proves a day whole, and where a
session ends."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import httpx
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sources_fake import (
    AFTER,
    BASE,
    BEFORE,
    CHILD,
    DAY,
    MAIN,
    PASSWORD,
    Fake,
    account,
    call,
    envelope,
    iso,
    one,
    page,
    read,
    recording,
    room,
    session,
    source,
    stamp,
)
from video_reference import event

from etl.schemas import DATASETS, AcceptedEvent
from etl.settings import Connection
from etl.sources import Context, SourceError, _decode
from etl.sources._records import RESOURCES
from etl.sources.normalise import counts, normalise
from etl.sources.twilio import Settings, Twilio


def pull(fake, **changes) -> list:
    pages = source(fake, **{"resources": ["video"]} | changes).fetch(DAY)
    return sorted(pages, key=lambda p: (p.provider_account, p.resource, p.number))


def asked(fake: Fake) -> list[tuple[str, str]]:
    """(user, path) of every request for video, in order."""
    found = [r for r in fake.requests if r.url.path.startswith("/v1/")]
    return [(base64.b64decode(r.headers["authorization"].split()[1]).decode().split(":")[0], r.url.path) for r in found]


def on(path: str, answer):
    """A fault for the requests whose path ends so."""

    def fault(request):
        return answer(request) if request.url.path.endswith(path) else None

    return fault


# --------------------------------------------------------------------------------------------------------- what is asked


def test_every_room_of_every_account_is_asked_in_that_accounts_name(fake):
    fake.accounts.append(account(CHILD))
    fake.meet({1: [session(1)], 2: []}).meet({3: [session(3), session(4)]}, CHILD)
    pages = pull(fake)
    path = "/v1/Rooms/{}/Participants".format
    assert sorted(asked(fake)) == sorted(
        [(MAIN, "/v1/Rooms"), (CHILD, "/v1/Rooms"), (MAIN, path(room(1)["sid"])), (MAIN, path(room(2)["sid"])),
         (CHILD, path(room(3)["sid"]))]
    )  # fmt: skip
    assert [(p.resource, p.provider_account, p.number) for p in pages] == [
        ("rooms", MAIN, 0), ("video", MAIN, 0), ("video", MAIN, 1), ("rooms", CHILD, 0), ("video", CHILD, 0),
    ]  # fmt: skip
    found = source(fake).read(pages, DAY).events
    assert set(zip(found["provider_account"], found["record_id"], strict=True)) == {
        (MAIN, session(1)["sid"]), (CHILD, session(3)["sid"]), (CHILD, session(4)["sid"]),
    }  # fmt: skip


def test_an_api_key_asks_in_its_own_name(fake):
    key = "SK" + "1" * 32
    context = Context(resolve=lambda _: Connection(login=key, password=PASSWORD, extra={"account_sid": MAIN}))
    own = Settings(connection="c", base_url=BASE, resources=["video"])
    fake.faults = [on("/v1/Rooms", lambda r: httpx.Response(200, content=envelope("rooms", [])))]
    list(Twilio("main", own, context, transport=httpx.MockTransport(fake)).fetch(DAY))
    assert asked(fake) == [(key, "/v1/Rooms")]


def test_rooms_are_asked_for_from_the_day_before_and_their_sessions_without_a_filter(fake):
    pull(fake.meet({1: [session()]}))
    queries = [{k: v[0] for k, v in parse_qs(r.url.query.decode()).items()} for r in fake.requests[1:]]
    assert queries == [
        {"Status": "completed", "DateCreatedAfter": "2026-11-19", "DateCreatedBefore": "2026-11-21", "PageSize": "2"},
        {"PageSize": "2"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "https://video.twilio.com"),
        ({"base_url": "https://x.example/api"}, "https://x.example/api"),
        ({"video_base_url": "https://v.example/"}, "https://v.example"),
        ({"base_url": "http://localhost:1", "video_base_url": "https://v.example"}, "https://v.example"),
        ({"base_url": "https://api.twilio.com/"}, "https://video.twilio.com"),
    ],
)
def test_where_rooms_are_asked_for(given, url):
    assert Settings(connection="c", **given).video_url == url


def test_another_host_gets_the_rooms_and_nothing_else(fake):
    pages = pull(fake.meet({1: [session()]}), video_base_url="https://video.example.test", resources=["calls", "video"])
    hosts = {(r.url.host, r.url.path.startswith("/v1/")) for r in fake.requests}
    assert hosts == {("api.example.test", False), ("video.example.test", True)}
    assert {p.resource for p in pages} == {"calls", "rooms", "video"}


def test_without_video_nobody_is_asked_for_rooms(fake):
    fake.meet({1: [session()]})
    pull(fake, resources=["calls"], video_base_url="https://video.example.test")
    assert asked(fake) == []


@pytest.mark.parametrize("named", ["", "/api/laml"])
def test_video_under_a_path_works(named, fake):
    fake.meet({n: [session(10 * n + i) for i in range(3)] for n in range(3)})

    def under(request):
        assert request.url.path.startswith("/api/laml/")
        found = fake(httpx.Request("GET", str(request.url).replace("/api/laml", ""), headers=request.headers))
        return httpx.Response(
            found.status_code, content=found.content.replace(b"test/v1/", f"test{named}/v1/".encode())
        )

    pages = source(under, resources=["video"], base_url=BASE + "/api/laml").fetch(DAY)
    assert sum(1 for _ in pages) == 2 + 3 * 2


# ------------------------------------------------------------------------------------------------- pages and their places


def test_lists_are_followed_to_their_ends_and_kept_byte_for_byte(fake):
    fake.meet({n: [session(10 * n + i) for i in range(n)] for n in range(6)})
    pages = pull(fake)
    found = {r: [p.number for p in pages if p.resource == r] for r in ("rooms", "video")}
    assert found == {"rooms": [0, 1, 2], "video": list(range(1 + 1 + 1 + 2 + 2 + 3))}
    assert source(fake).read(pages, DAY).events.height == 15
    raw = b'{"rooms":[],\n "meta": {"next_page_url" : null}, "unknown": 1.50 }'
    fake.faults = [on("/v1/Rooms", lambda r: httpx.Response(200, content=raw))]
    assert [p.body for p in pull(fake)] == [raw]


@pytest.mark.parametrize("workers", [1, 3, 16])
def test_pages_have_the_same_places_however_fast_the_answers_come(workers, fake):
    fake.meet({n: [session(10 * n + i) for i in range(n % 4)] for n in range(40)})
    expected = [(p.resource, p.number, p.sha256) for p in pull(fake, concurrency=1)]
    delays = iter([n % 7 / 1000 for n in range(1000)])
    fake.faults = [lambda r: time.sleep(next(delays))]
    assert [(p.resource, p.number, p.sha256) for p in pull(fake, concurrency=workers)] == expected


def test_a_room_listed_on_two_pages_is_asked_once(fake):
    """A room that completes while paging pushes another over the border."""
    fake.meet({n: [session(n)] for n in range(4)})

    def shifted(request):
        if "Page=1" in request.url.query.decode():
            fake.meet({9: []})
            fake.rows[MAIN, "rooms"].insert(0, fake.rows[MAIN, "rooms"].pop())

    fake.faults = [on("/v1/Rooms", shifted)]
    found = source(fake).read(pull(fake), DAY).events
    assert sorted(found["record_id"]) == [session(n)["sid"] for n in range(4)]


def test_the_number_of_requests_at_a_time_is_bounded(fake):
    running, most, lock = [0], [0], threading.Lock()

    def slow(request):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.003)
        with lock:
            running[0] -= 1

    fake.accounts += [account("AC" + f"{i:032x}") for i in range(4)]
    for one_account in fake.accounts:
        fake.meet({n: [session(n)] for n in range(20)}, one_account["sid"])
    fake.faults = [slow]
    pull(fake, concurrency=3)
    assert most[0] == 3


def test_memory_stays_flat_when_the_reader_is_slow(fake):
    fake.meet({n: [session(n)] for n in range(200)})
    before = threading.active_count()
    pages = source(fake, resources=["video"], concurrency=2, page_size=1000).fetch(DAY)
    next(pages)
    time.sleep(0.3)
    # Waiting: in the queue, in the hand of the worker, and asked for ahead.
    assert len(fake.requests) <= 2 + 1 + 2 * 2 + 1 + 2 * 2
    next(pages)
    pages.close()
    assert threading.active_count() == before
    assert sum(1 for _ in source(fake, resources=["video"], page_size=1000).fetch(DAY)) == 201


def test_a_failure_leaves_no_thread_behind(fake, pauses):
    before = threading.active_count()
    fake.meet({n: [session(n)] for n in range(50)})
    fake.faults = [on(f"{room(7)['sid']}/Participants", lambda r: httpx.Response(400, json={"code": 20001}))]
    with pytest.raises(SourceError, match="20001"):
        pull(fake, concurrency=8)
    assert threading.active_count() == before


# ------------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("answer", [httpx.Response(404, json={"code": 20404}), httpx.Response(500, text="")])
def test_a_room_whose_sessions_cannot_be_read_fails_the_day_and_is_named(answer, fake, pauses):
    fake.meet({1: [session(1)], 2: [session(2)]})
    fake.faults = [on(f"{room(2)['sid']}/Participants", lambda r: answer)]
    where = f"main: video of {MAIN} for 2026-11-20, room {room(2)['sid']}, page 0: HTTP {answer.status_code}"
    with pytest.raises(SourceError, match=where):
        pull(fake)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_an_account_that_shows_no_rooms_says_what_can_be_done(status, fake, pauses):
    fake.accounts.append(account(CHILD))
    refused = on(
        "/v1/Rooms", lambda r: httpx.Response(status, json={"code": 20003}) if asked(fake)[-1][0] == CHILD else None
    )
    fake.faults = [refused]
    with pytest.raises(
        SourceError, match=rf"main: rooms of {CHILD} for 2026-11-20, page 0: HTTP {status}.*video_base_url"
    ):
        pull(fake)


@pytest.mark.parametrize(
    ("changes", "refused"),
    [({"status": "closed", "date_updated": "Thu, 19 Nov 2026 09:00:00 +0000"}, False),
     ({"date_created": "Sat, 21 Nov 2026 00:00:00 +0000"}, False),
     ({"status": "closed", "date_updated": "Fri, 20 Nov 2026 09:00:00 +0000"}, True),
     ({"status": "suspended", "date_updated": "Thu, 19 Nov 2026 09:00:00 +0000"}, True)],
)  # fmt: skip
def test_no_rooms_is_an_answer_only_outside_the_accounts_life(changes, refused, fake, pauses):
    fake.accounts.append(account(CHILD, **changes))
    fake.meet({1: [session()]})
    fake.faults = [on("/v1/Rooms", lambda r: httpx.Response(401) if asked(fake)[-1][0] == CHILD else None)]
    if refused:
        with pytest.raises(SourceError, match=f"rooms of {CHILD}"):
            pull(fake)
    else:
        assert {p.provider_account for p in pull(fake)} == {MAIN}


@pytest.mark.parametrize("path", ["/v1/Rooms", f"/v1/Rooms/{room()['sid']}/Participants"])
@pytest.mark.parametrize(
    "url",
    [
        "https://attacker.example{path}", "http://api.example.test{path}", "//attacker.example{path}",
        "https://u:p@api.example.test{path}", "https://api.example.test:444{path}",
        "https://api.example.test.attacker.example{path}", BASE + "{path}/../Rooms", BASE + "{path}s", BASE + "{path}/",
        BASE + "{path}/RM" + "7" * 32 + "/Participants", BASE + "/v1", BASE + "/2010-04-01/Accounts.json", BASE + "{path}#x",
        "?Page=1", "file:///etc/passwd", "http://[", BASE + "{path}?a=\r\nHost: x", BASE + "{path}?" + "x" * 5000,
    ],
)  # fmt: skip
def test_a_next_page_elsewhere_is_never_followed(url, path, fake, pauses):
    fake.meet({1: [session()]})
    key, rows = ("rooms", [room()]) if path == "/v1/Rooms" else ("video", [session()])
    answer = envelope(key, rows, next_page_url=url.replace("{path}", path))
    fake.faults = [on(path, lambda r: httpx.Response(200, content=answer))]
    with pytest.raises(SourceError, match=rf"{key} of {MAIN} for 2026-11-20.*page 0: its next page"):
        pull(fake)
    assert {r.url.host for r in fake.requests} == {"api.example.test"}
    assert len(fake.requests) <= 3


UNREADABLE = {
    "no meta": b'{"rooms": [], "next_page_url": null}',
    "no next": b'{"rooms": [], "meta": {"page": 0}}',
    "null meta": b'{"rooms": [], "meta": null, "x": {"next_page_url": null}}',
    "null list": b'{"rooms": null, "meta": {"next_page_url": null}}',
    "no list": b'{"participants": [], "meta": {"next_page_url": null}}',
    "odd next": b'{"rooms": [], "meta": {"next_page_url": ["x"]}}',
    "html": b"<html>",
    "nothing": b"",
    "half": envelope("rooms", [room()])[:-9],
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_list_of_rooms_is_asked_again_and_is_no_empty_one(name, fake, pauses):
    fake.meet({1: [session()]})
    left = [UNREADABLE[name]]
    fake.faults = [on("/v1/Rooms", lambda r: httpx.Response(200, content=left.pop()) if left else None)]
    assert {p.resource for p in pull(fake)} == {"rooms", "video"}
    assert len(pauses) == 1
    fake.faults = [on("/v1/Rooms", lambda r: httpx.Response(200, content=UNREADABLE[name]))]
    with pytest.raises(SourceError, match="rooms of .*4 times in a row"):
        pull(fake)


def test_the_participants_of_another_room_are_asked_for_again(fake, pauses):
    """A cache that mixes up answers would lose a room and double another."""
    fake.meet({1: [session(1)], 2: [session(2)]})
    wrong = fake.rows[MAIN, room(1)["sid"]]
    left = [1]
    mixed = lambda r: httpx.Response(200, content=envelope("video", wrong)) if left and left.pop() else None  # noqa: E731
    fake.faults = [on(f"{room(2)['sid']}/Participants", mixed)]
    assert len(source(fake).read(pull(fake), DAY).events) == 2
    fake.faults = [
        on(f"{room(2)['sid']}/Participants", lambda r: httpx.Response(200, content=envelope("video", wrong)))
    ]
    with pytest.raises(
        SourceError, match=f"room {room(2)['sid']}, page 0: answered with the participants of another room"
    ):
        pull(fake)


@pytest.mark.parametrize(
    ("rows", "says"),
    [([room(1), room(2, date_created=iso(day=BEFORE - timedelta(days=1)))], "ignored the date filter"),
     ([room(1), room(2, date_created=iso(day=DAY - timedelta(days=400))), room(3)], "ignored the date filter"),
     ([room(1), room(2, account_sid=CHILD)], "1 room.s. of another account"),
     ([room(1), room(2, sid=None)], "1 are without a usable id"), ([room(1), room(2, sid="../../x")], "1 are without a usable id"),
     ([None, 7], "2 are without a usable id"), ([room(sid={"a": 1})], "1 are without a usable id")],
)  # fmt: skip
def test_rooms_that_leave_the_day_in_doubt_fail_it_when_fetched_and_when_read(rows, says, fake, pauses):
    for n in (1, 2, 3):
        fake.meet({n: []})
    fake.faults = [on("/v1/Rooms", lambda r: httpx.Response(200, content=envelope("rooms", rows)))]
    with pytest.raises(SourceError, match=rf"^main: rooms of {MAIN}.*{says}"):
        pull(fake)
    with pytest.raises(SourceError, match=rf"^main: rooms of {MAIN}.*{says}"):
        source(fake).read([page("rooms", rows)], DAY)


def test_a_room_created_after_the_day_is_not_asked(fake):
    """What `before` means is the provider's business: the day is cut here."""
    fake.meet({1: [session(1)]})
    later = room(2, date_created=iso("00:00:00", AFTER))
    fake.faults = [on("/v1/Rooms", lambda r: httpx.Response(200, content=envelope("rooms", [room(1), later])))]
    pages = pull(fake)
    assert [p.resource for p in pages] == ["rooms", "video"]
    assert source(fake).read(pages, DAY).events.height == 1


# ----------------------------------------------------------------------------------------------- the proof in kept pages


def test_a_day_is_whole_when_every_room_listed_has_its_sessions_there(fake):
    fake.meet({n: [session(n)] for n in range(3)})
    pages = pull(fake)
    for left_out in range(len(pages)):
        kept = [p for n, p in enumerate(pages) if n != left_out]
        with pytest.raises(SourceError, match=rf"main: video of {MAIN} for 2026-11-20: of \d room.*pull the day again"):
            source(fake).read(kept, DAY)
    assert source(fake).read(reversed(pages), DAY).events.height == 3


def test_a_room_of_one_account_does_not_stand_for_anothers():
    pages = [page("rooms", [room(account_sid=CHILD)], CHILD), page("video", [session()])]
    with pytest.raises(
        SourceError, match="of 1 room.s. listed, the participants of 1 are missing, and those of 1 room"
    ):
        source(Fake()).read(pages, DAY)


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"participants": null}', b'{"participants": [{"sid"'])
def test_a_damaged_kept_page_is_an_error(body):
    with pytest.raises(SourceError, match="pull the day again"):
        read("video", body)


def test_a_kept_page_of_another_room_or_of_none_is_an_error():
    with pytest.raises(SourceError, match="another room"):
        read("video", [session(room_sid=room(2)["sid"])])
    strange = page("video", [session()])
    strange = type(strange)("video", MAIN, 0, BASE + "/v1/Rooms", strange.body)
    with pytest.raises(SourceError, match="names no room"):
        source(Fake()).read([strange], DAY)


# -------------------------------------------------------------------------------------------------- where a session ends


def test_a_session_in_full():
    found = one("video", session(7, price="-1.00", price_unit="USD"))
    shown = {k: v for k, v in found.items() if v is not None and k not in ("raw_sha256", "raw_index", "vanished")}
    at = lambda clock: datetime.fromisoformat(f"2026-11-20T{clock}+00:00")  # noqa: E731
    assert shown == {
        "record_id": session(7)["sid"], "kind": "video", "type": "video", "outcome": "accepted", "status": "disconnected",
        "provider_account": MAIN, "parent_id": room()["sid"], "from_number": "guest 7", "answered_seconds": 61,
        "occurred_at": at("10:00:00"), "ended_at": at("10:01:01"), "updated_at": at("10:01:02"),
    }  # fmt: skip
    kept = normalise(read("video", [session(7)])).events
    assert AcceptedEvent.is_valid(kept) and kept["outcome"].to_list() == ["accepted"]


def test_a_session_over_midnight_belongs_to_its_start():
    row = session(start_time=iso("23:58:30"), end_time=iso("00:02:31", AFTER), duration=241)
    found = one("video", row)
    assert (found["outcome"], found["ended_at"].date(), found["answered_seconds"]) == ("accepted", AFTER, 241)


def test_a_session_nobody_stayed_in_is_a_session():
    assert one("video", session(duration=0, end_time=iso()))["answered_seconds"] == 0


def test_the_same_person_twice_is_two_sessions_and_one_record_twice_is_one(fake):
    fake.meet({1: [session(1, identity="ann"), session(2, identity="ann"), session(1, identity="ann")]})
    found = normalise(source(fake).read(pull(fake, page_size=50), DAY).events)
    assert (found.events["record_id"].to_list(), found.duplicates) == ([session(1)["sid"], session(2)["sid"]], 1)


@pytest.mark.parametrize("broken", [r"a\ud800b", r"a\u0000b"])
def test_an_identity_that_is_no_text_becomes_visible(broken):
    raw = envelope("video", [session(identity="@@"), session(2)]).replace(b"@@", broken.encode())
    assert read("video", raw)["from_number"].to_list() == ["a\ufffdb", "guest 2"]


MOMENTS = st.sampled_from(
    [None, "", "soon", "2026-11-20T10:00:00", stamp(), stamp("12:00:00")]
    + [
        iso(clock, DAY + timedelta(days=d))
        for d in (-2, -1, 0, 0, 0, 1, 2)
        for clock in ("00:00:00", "10:00:00", "23:59:59")
    ]
)


@st.composite
def sessions(draw) -> object:
    row = session(
        draw(st.integers(1, 4)),
        start_time=draw(MOMENTS | st.just(iso())),
        end_time=draw(MOMENTS | st.just(iso("11:00:00"))),
        date_updated=draw(st.sampled_from([iso("12:00:00"), iso("13:00:00"), None, "never"])),
        duration=draw(st.sampled_from([0, 61, "61", None, "", -5, 1.5, "x", 604_800, 604_801, 10**20, True])),
        status=draw(st.sampled_from(["disconnected"] * 4 + ["connected", "reconnecting", "gone", None, ""])),
        identity=draw(st.sampled_from(["ann", "", None, "+15005550006", {"a": 1}, ["x"], "\U0001f642"])),
        account_sid=draw(st.sampled_from([MAIN] * 4 + [CHILD, None])),
    )
    if draw(st.integers(0, 9)) == 0:
        row = draw(
            st.sampled_from([None, 7, "x", [row], {}, row | {"sid": None}, row | {"sid": "a b"}, row | {"sid": 5}])
        )
    return row


@pytest.mark.brief(50)
@settings(max_examples=150, deadline=None)
@given(st.lists(sessions(), max_size=6))
def test_every_session_ends_where_the_reference_says(rows):
    found = read("video", rows)
    sha = hashlib.sha256(page("video", rows).body).hexdigest()
    expected = [event(row, n, MAIN, room()["sid"], DAY, sha) for n, row in enumerate(rows)]
    told = [{k: r[k] for k in e} for r, e in zip(found.to_dicts(), expected, strict=True)]
    for row in told:
        row["reason"] = set(row["reason"].split("; ")) if row["reason"] else set()
    assert told == expected
    result = normalise(found)
    ends = counts(result.events)
    assert ends["accepted"] + ends["excluded"] + ends["quarantined"] + result.duplicates == len(rows)
    accepted = result.events.filter(pl.col("outcome") == "accepted")
    assert AcceptedEvent.is_valid(accepted)
    assert accepted["answered_seconds"].null_count() == accepted["provider_cost"].is_not_null().sum() == 0


@settings(max_examples=80, deadline=None)
@given(st.lists(sessions(), max_size=5))
def test_the_fast_and_the_slow_way_agree(rows):
    body = envelope("video", rows, next_page_url=BASE, page=3)
    fields = ("sid", "room_sid", "status", "duration", "start_time")
    slow = _decode.slow(_decode._load(body, "participants")[1], fields)
    assert _decode.records(body, "participants", fields).equals(slow)
    seen = _decode.peek(body, "participants", None, meta=True)
    assert (seen.rows, seen.page, seen.next_uri, seen.ids) == (len(rows), 3, BASE, tuple(slow["sid"]))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(sessions(), max_size=3), min_size=2, max_size=4), st.booleans())
def test_pages_taken_apart_together_are_what_each_is_alone(pages, tame):
    """Where they cannot be, nothing comes out and each is read alone."""
    rows = [
        [r for r in page_rows if isinstance(r, dict) and not isinstance(r.get("identity"), (dict, list))]
        for page_rows in pages
    ]
    bodies = [envelope("video", kept if tame else whole) for kept, whole in zip(rows, pages, strict=True)]
    fields = RESOURCES["video"].fields
    each = [_decode.records(body, "participants", fields) for body in bodies]
    found = _decode.together(bodies, "participants", fields)
    if tame:
        assert found is not None
    if found is not None:
        assert found["page"].to_list() == [n for n, frame in enumerate(each) for _ in range(frame.height)]
        assert found.drop("page").equals(pl.concat(each))


GOOD = envelope("video", [session(1), session(2)])


@pytest.mark.parametrize(
    "bodies",
    [[GOOD, b""], [b"", GOOD], [GOOD, b" "], [GOOD, GOOD[:-1]], [GOOD, b"\xef\xbb\xbf" + GOOD], [GOOD, GOOD + b"," + GOOD],
     [GOOD, b"null"], [GOOD, b"{}"], [GOOD, b'{"participants": null}'], [GOOD, b"[]"], [GOOD, b"7"], [GOOD, b"<html>"],
     [GOOD, GOOD.replace(b"guest 1", rb"\ud800")], [GOOD, envelope("video", [None])], [b'{"participants": [{}', b"{}]}"]],
)  # fmt: skip
def test_a_page_that_needs_a_closer_look_is_not_taken_apart_with_others(bodies):
    assert _decode.together(bodies, "participants", ("sid", "identity")) is None


@pytest.mark.parametrize("bytes_at_once", [1, 3000, 1 << 20])
def test_how_many_pages_are_taken_apart_at_once_leaves_no_trace(bytes_at_once, fake, monkeypatch):
    fake.accounts.append(account(CHILD))
    for sid in (MAIN, CHILD):
        odd = [None, session(77, identity="\0"), session(78, sid=None)]
        fake.meet({n: [session(10 * n + i) for i in range(n % 4)] for n in range(20)} | {33: odd}, sid)
        fake.put("calls", [call(n) for n in range(9)], sid)
    pages = pull(fake, resources=["video", "calls"])
    alone = pl.concat(
        [source(fake).read([p], DAY).events for p in pages if p.resource == "calls"]
        + [source(fake).read([p, page("rooms", [room(account_sid=p.provider_account, sid=p.url.split("/")[-2])], p.provider_account)], DAY).events
           for p in pages if p.resource == "video"]
    )  # fmt: skip
    monkeypatch.setattr("etl.sources.twilio.TOGETHER_BYTES", bytes_at_once)
    place = ["raw_sha256", "raw_index"]
    assert source(fake).read(pages, DAY).events.sort(place).equals(alone.sort(place))
    monkeypatch.setattr("etl.sources.twilio.BATCH_ROWS", 7)
    assert source(fake).read(pages, DAY).events.sort(place).equals(alone.sort(place))


@st.composite
def provider(draw) -> Fake:
    """Rooms of five days that live for at most 24 hours, and sessions that begin while they do."""
    fake = Fake()
    for n in range(draw(st.integers(1, 5))):
        first = datetime.combine(DAY - timedelta(days=2), datetime.min.time(), UTC)
        created = first + timedelta(
            seconds=draw(st.integers(0, 5 * 86_400 - 1) | st.sampled_from([86_399, 86_400, 2 * 86_400]))
        )
        begun = [created + timedelta(seconds=draw(st.integers(0, 86_399))) for _ in range(draw(st.integers(0, 3)))]
        iso_of = lambda at: f"{at:%Y-%m-%dT%H:%M:%SZ}"  # noqa: E731
        made = [
            session(
                100 * n + i, start_time=iso_of(at), end_time=iso_of(at + timedelta(seconds=61)), date_updated=iso_of(at)
            )
            for i, at in enumerate(begun)
        ]
        fake.meet({n: made}, date_created=iso_of(created))
    return fake


@pytest.mark.brief(25)
@settings(max_examples=40, deadline=None)
@given(provider())
def test_day_after_day_every_session_is_accepted_once_on_the_day_it_began(fake):
    mine = source(fake, resources=["video"])
    accepted = []
    for day in (DAY + timedelta(days=n) for n in range(-3, 6)):
        found = normalise(mine.read(mine.fetch(day), day).events).events
        assert not found.filter(pl.col("outcome") == "quarantined").height
        accepted += [(day, sid) for sid in found.filter(pl.col("outcome") == "accepted")["record_id"]]
    every = [r for (_, key), rows in fake.rows.items() if key.startswith("RM") for r in rows]
    assert sorted(accepted) == sorted((datetime.fromisoformat(r["start_time"]).date(), r["sid"]) for r in every)


def test_a_session_no_day_asks_for_is_seen_where_its_room_was_created():
    """A room that outlives a day: the reading of the day after next will not ask for it."""
    row = session(
        start_time=iso("10:00:00", DAY + timedelta(days=2)), end_time=iso("11:00:00", DAY + timedelta(days=2))
    )
    found = one("video", row)
    assert (found["outcome"], found["reason"]) == ("quarantined", "bad_date")


def test_nights_of_a_session():
    """First in a room that is over, then with a corrected duration, then gone from the list."""
    held = normalise(read("video", [session(1), session(2)])).events
    held = normalise(read("video", [session(1, duration=60, date_updated=iso("12:00:00")), session(2)]), held).events
    held = normalise(read("video", [session(2)]), held).events.sort("record_id")
    assert held.select("answered_seconds", "vanished").rows() == [(60, True), (61, False)]


# ------------------------------------------------------------------------------------------------------------ recordings


def test_a_deleted_recording_says_when_it_was_deleted():
    gone = recording(status="deleted", date_updated=stamp("09:00:00", DAY + timedelta(days=9)))
    found = one("recordings", gone)
    assert (found["outcome"], found["ended_at"]) == ("accepted", datetime(2026, 11, 29, 9, tzinfo=UTC))
    assert AcceptedEvent.is_valid(read("recordings", [gone]))
    kept = one("recordings", recording(date_updated=stamp("12:00:00")))
    assert (kept["outcome"], kept["ended_at"]) == ("accepted", None)


def test_a_recording_deleted_after_it_was_loaded_gets_its_end():
    held = normalise(read("recordings", [recording()])).events
    held = normalise(read("recordings", [recording(status="deleted", date_updated=stamp("23:00:00"))]), held).events
    assert held.select("status", "ended_at").rows() == [("deleted", datetime(2026, 11, 20, 23, tzinfo=UTC))]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"date_updated": None}, "missing_date"), ({"date_updated": ""}, "missing_date"), ({"date_updated": "soon"}, "bad_date"),
     ({"date_updated": stamp("09:59:59")}, "bad_date"), ({"duration": None}, "bad_duration")],
)  # fmt: skip
def test_a_deleted_recording_nobody_can_date_is_quarantined_not_stored_for_ever(changes, reason):
    found = one("recordings", recording(status="deleted", **changes))
    assert (found["outcome"], found["reason"]) == ("quarantined", reason)


def test_every_kind_there_is_comes_out_of_one_account(fake):
    fake.put("calls", [call()]).put("recordings", [recording()]).meet({1: [session()]})
    found = source(fake).read(pull(fake, resources=["calls", "recordings", "video"]), DAY).events
    assert dict(found.schema) == DATASETS["events"].types
    assert set(found["kind"]) == {"call", "recording", "video"}
