"""Pulling a day from a provider that misbehaves: what is asked, what is retried, what is refused, what is never written."""

from __future__ import annotations

import datetime as dt
import json
import logging
import ssl
import threading
import time
import traceback
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

import httpx
import polars as pl
import pytest
from sources_fake import (
    BASE,
    BODY,
    CHILD,
    DAY,
    MAIN,
    PASSWORD,
    SAMPLES,
    Fake,
    account,
    call,
    message,
    number,
    recording,
    session,
    source,
    stamp,
    usage,
)  # fmt: skip

from etl.settings import ConfigurationError, Connection
from etl.sources import Context, SourceError, _http
from etl.sources.twilio import Settings, Twilio

LISTS = ("messages", "calls", "recordings", "rooms", "video", "numbers", "usage")


def full(fake: Fake, sid: str = MAIN) -> Fake:
    fake.put("messages", [message(i) for i in range(5)], sid).put("calls", [call(i) for i in range(3)], sid)
    fake.meet({1: [session(1), session(2)]}, sid)
    return (
        fake.put("recordings", [recording()], sid)
        .put("numbers", [number()], sid)
        .put("usage", [usage(), usage("mms")], sid)
    )


def pull(fake, **settings) -> list:
    return sorted(source(fake, **settings).fetch(DAY), key=lambda p: (p.resource, p.provider_account, p.number))


def on_messages(page: int | None, answer):
    """A fault for one page of the messages list; ``answer`` is a Response, an exception, or a function of the request."""

    def fault(request):
        if "/Messages.json" not in request.url.path or (
            page is not None and f"&Page={page}" not in f"&{request.url.query.decode()}"
        ):
            return None
        found = answer(request) if callable(answer) and not isinstance(answer, type) else answer
        if isinstance(found, Exception):
            raise found
        return found

    return fault


def times(n: int, fault):
    left = [n]

    def limited(request):
        if left[0] and (answer := fault(request)) is not None:
            left[0] -= 1
            return answer
        return None

    return limited


# --------------------------------------------------------------------------------------------------------- what is asked


def test_every_list_of_every_account_is_read_whole(fake):
    fake.accounts += [account(CHILD, status="suspended"), account("AC" + "c" * 32, status="closed")]
    pages = pull(full(full(fake), CHILD))
    per_list = {}
    for p in pages:
        per_list.setdefault((p.provider_account, p.resource), []).append(p.number)
    assert set(per_list) == {(a["sid"], r) for a in fake.accounts[:2] for r in LISTS} | {
        (fake.accounts[2]["sid"], r) for r in LISTS if r != "video"
    }
    assert all(numbers == list(range(len(numbers))) for numbers in per_list.values())
    assert per_list[MAIN, "messages"] == [0, 1, 2]
    found = source(fake).read(pages, DAY)
    assert found.events.height == 2 * (5 + 3 + 1 + 2 + 1)
    assert set(found.events["outcome"]) == {"accepted"}
    assert found.ledger.height == 4


def test_days_are_asked_in_whole_dates(fake):
    pull(fake)
    asked = {
        r.url.path.split("/")[-1]: {k: v[0] for k, v in parse_qs(r.url.query.decode()).items()} for r in fake.requests
    }
    window = lambda name: {f"{name}>": "2026-11-20", f"{name}<": "2026-11-21", "PageSize": "2"}  # noqa: E731
    assert asked["Messages.json"] == window("DateSent")
    assert asked["Calls.json"] == window("StartTime")
    assert asked["Recordings.json"] == window("DateCreated") | {"IncludeSoftDeleted": "true"}
    assert asked["IncomingPhoneNumbers.json"] == {"PageSize": "2"}
    assert asked["Daily.json"] == {
        "StartDate": "2026-11-20", "EndDate": "2026-11-20", "IncludeSubaccounts": "false", "PageSize": "2",
    }  # fmt: skip


def test_pages_are_kept_byte_for_byte(fake):
    raw = b'{ "next_page_uri" : null,"messages":[],\n "page":0 , "unknown": 1.50}'
    fake.faults.append(on_messages(None, httpx.Response(200, content=raw)))
    assert [p.body for p in pull(fake, resources=["messages"])] == [raw]


def test_one_account_alone_is_possible(fake):
    fake.accounts.append(account(CHILD))
    assert {p.provider_account for p in pull(full(fake), subaccounts=False)} == {MAIN}


def test_an_api_key_names_its_account(fake):
    def make(**extra):
        context = Context(resolve=lambda _: Connection(login="SK" + "1" * 32, password=PASSWORD, extra=extra))
        return Twilio("main", Settings(connection="c", base_url=BASE), context, transport=httpx.MockTransport(fake))

    assert MAIN in make(account_sid=MAIN).check()
    with pytest.raises(ConfigurationError, match="account_sid"):
        make().check()


@pytest.mark.parametrize("connection", [Connection(), Connection(login=MAIN), Connection(login="../x", password="p")])
def test_an_unusable_connection_says_what_it_needs(connection):
    with pytest.raises(ConfigurationError, match="connection 'c' of source 'main'"):
        next(Twilio("main", Settings(connection="c"), Context(resolve=lambda _: connection)).fetch(DAY))


# ------------------------------------------------------------------------------------------------------ what is retried

ERRORS = json.loads((SAMPLES / "errors.json").read_text())["cases"]


def error(status: int, code: int | None = None) -> httpx.Response:
    case = next(c for c in ERRORS if c["status"] == status and code in (None, c["body"]["code"]))
    return httpx.Response(status, json=case["body"], headers=case["headers"])


PASSING = {
    "429": lambda r: error(429),
    "429-no-retry-after": lambda r: httpx.Response(429, json={"code": 20429}),
    "500": lambda r: error(500),
    "503-html": lambda r: httpx.Response(503, text="<html>busy</html>"),
    "timeout": httpx.ReadTimeout("slow"),
    "refused": httpx.ConnectError("refused"),
    "dns": httpx.ConnectError("[Errno -2] Name or service not known"),
    "cut-body": httpx.RemoteProtocolError("peer closed connection without sending complete message body"),
    "half-json": lambda r: httpx.Response(200, content=Fake().put("messages", [message()]).answer(r).content[:-20]),
    "html-200": lambda r: httpx.Response(200, text="<!doctype html><html>we will be back</html>"),
    "empty-200": lambda r: httpx.Response(200, content=b""),
    "error-200": lambda r: httpx.Response(200, json={"code": 20500, "message": "oops"}),
    "no-next-key": lambda r: httpx.Response(200, json={"messages": []}),
    "null-list": lambda r: httpx.Response(200, json={"messages": None, "next_page_uri": None}),
    "bad-gzip": lambda r: httpx.Response(
        200, stream=httpx.ByteStream(b"not gzip"), headers={"content-encoding": "gzip"}
    ),
    "401-once": lambda r: error(401),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_retried_and_the_bytes_are_the_same(name, fake, pauses):
    expected = [(p.resource, p.number, p.sha256) for p in pull(full(fake))]
    for page in (None, 1):
        fake.faults = [times(1, on_messages(page, PASSING[name]))]
        if isinstance(PASSING[name], Exception):
            raised = [PASSING[name]]
            fake.faults = [on_messages(page, lambda r, raised=raised: raised.pop() if raised else None)]
        pauses.clear()
        assert [(p.resource, p.number, p.sha256) for p in pull(fake)] == expected
        assert len(pauses) == 1
        assert 0.25 <= pauses[0] <= 1


@pytest.mark.parametrize("name", [n for n in PASSING if n != "401-once"])
def test_what_does_not_pass_fails_the_day_and_names_the_page(name, fake, pauses):
    fake.faults = [on_messages(1, PASSING[name])]
    with pytest.raises(SourceError, match=rf"main: messages of {MAIN} for 2026-11-20, page 1: .*4 times in a row"):
        pull(full(fake), concurrency=1)
    assert len(pauses) == 3
    assert all(later >= sooner for sooner, later in zip(pauses, pauses[1:], strict=False))


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [("3", 3, 3), ("1000000000", 60, 60), ("9" * 400, 60, 60), ("0", 0.25, 0.5), ("-5", 0.25, 0.5), ("soon", 0.25, 0.5),
     ("", 0.25, 0.5), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.25, 0.5), ("Wed, 21 Oct 2099 07:28:00 GMT", 60, 60),
     ("Wed, 99 Oct 2099 07:28:00 GMT", 0.25, 0.5), ("1.5", 0.25, 0.5), ("\u0663".encode(), 0.25, 0.5)],
)  # fmt: skip
def test_retry_after_is_honoured_within_reason(header, low, high, fake, pauses):
    fake.faults = [times(1, on_messages(None, lambda r: httpx.Response(429, json={}, headers={"Retry-After": header})))]
    pull(full(fake))
    assert low <= pauses[0] <= high


def test_one_throttled_request_holds_back_all():
    stop = threading.Event()
    api = _http.Api(BASE, "a", "b", timeout_seconds=1, attempts=1, concurrency=1, stop=stop)
    api._everyone_waits(0.2)
    began = time.monotonic()
    api._wait_turn()
    assert time.monotonic() - began >= 0.19
    api.close()


def test_the_number_of_requests_at_a_time_is_bounded(fake):
    running, most, lock = [0], [0], threading.Lock()

    def slow(request):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.005)
        with lock:
            running[0] -= 1

    fake.accounts += [account("AC" + f"{i:032x}") for i in range(10)]
    fake.faults = [slow]
    pull(fake, concurrency=3)
    assert most[0] == 3


# ------------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda r: error(401), "credentials are refused"),
        (lambda r: httpx.Response(403, json={"code": 20003}), "credentials are refused"),
        (lambda r: error(400, 20001), "20001"),
        (lambda r: error(400, 20004), "older than the provider keeps"),
        (lambda r: error(404), "no such list"),
        (lambda r: httpx.Response(302, headers={"location": "https://attacker.example/"}), "redirect"),
        (lambda r: httpx.Response(307, headers={"location": "http://169.254.169.254/"}), "redirect"),
    ],
)
def test_final_answers_are_not_retried_and_say_what_to_do(answer, says, fake, pauses):
    fake.faults = [on_messages(1, answer)]
    with pytest.raises(SourceError, match=rf"messages of {MAIN} for 2026-11-20, page 1: .*{says}"):
        pull(full(fake), concurrency=1)
    assert len(pauses) <= 1  # a 401 is asked once more
    assert {r.url.host for r in fake.requests} == {"api.example.test"}


def test_credentials_revoked_in_the_middle_stop_everything(fake, pauses):
    served = []

    def revoked(request):
        served.append(request)
        return error(401) if len(served) > 4 else None

    fake.faults = [revoked]
    with pytest.raises(SourceError, match="credentials are refused"):
        pull(full(fake), concurrency=2)
    assert len(served) < 12


@pytest.mark.parametrize(
    "uri",
    [
        "https://attacker.example/2010-04-01/Accounts/@/Messages.json?Page=1", "http://api.example.test/2010-04-01/Accounts/@/Messages.json",
        "//attacker.example/2010-04-01/Accounts/@/Messages.json", "http://169.254.169.254/latest/meta-data/",
        "https://u:p@api.example.test/2010-04-01/Accounts/@/Messages.json", "https://api.example.test:444/2010-04-01/Accounts/@/Messages.json",
        "/2010-04-01/Accounts/@/../Other/Messages.json", "/2010-04-01/Accounts/@/%2e%2e/Other/Messages.json",
        "/2010-04-01/Accounts/" + CHILD + "/Messages.json", "/v1/Messages.json", "Messages.json", "?Page=1",
        "/2010-04-01/Accounts/@/Messages.json#x", "/2010-04-01/Accounts/@\\Messages.json", "/2010-04-01/Accounts/@/Mes sages.json",
        "/2010-04-01/Accounts/@/Messages.json?a=\r\nHost: x", "/2010-04-01/Accounts/@//Messages.json", "file:///etc/passwd",
        "https://api.example.test.attacker.example/2010-04-01/Accounts/@/Messages.json", "http://[", "https://api.example.test:x/",
        "/2010-04-01/Accounts/@/Messages.json?" + "x" * 5000,
    ],
)  # fmt: skip
def test_a_next_page_elsewhere_is_never_followed(uri, fake, pauses):
    answer = {"messages": [message()], "page": 0, "next_page_uri": uri.replace("@", MAIN) if "u:p@" not in uri else uri}
    fake.faults = [on_messages(None, lambda r: httpx.Response(200, json=answer))]
    with pytest.raises(SourceError, match=f"messages of {MAIN} for 2026-11-20, page 0: its next page"):
        pull(fake, resources=["messages"])
    assert len(fake.requests) == 2


def test_an_absolute_next_page_on_the_same_origin_is_followed(fake):
    fake.put("messages", [message(i) for i in range(3)])

    def absolute(request):
        found = fake.answer(request).json()
        found["next_page_uri"] = found["next_page_uri"] and BASE + found["next_page_uri"]
        return httpx.Response(200, json=found)

    fake.faults = [on_messages(None, absolute)]
    assert len(pull(fake, resources=["messages"])) == 2


def test_a_service_under_a_path_works(fake):
    fake.put("messages", [message(i) for i in range(3)])

    def under(request):
        assert request.url.path.startswith("/api/laml/")
        inner = httpx.Request("GET", str(request.url).replace("/api/laml", ""), headers=request.headers)
        return fake(inner)

    for prefix in ("", "/api/laml"):  # next_page_uri with and without the service's own prefix

        def prefixed(request, prefix=prefix):
            found = under(request).json()
            found["next_page_uri"] = found["next_page_uri"] and prefix + found["next_page_uri"]
            return httpx.Response(200, json=found)

        assert len(pull(prefixed, resources=["messages"], base_url=BASE + "/api/laml")) == 2


def repeat(request):
    """The same page for ever, as an example server gives it."""
    return httpx.Response(
        200, json={"messages": [message()], "page": 0, "next_page_uri": f"{request.url.path}?Page=1&PageToken=x"}
    )


def same_ids(request):
    n = int(parse_qs(request.url.query.decode()).get("Page", ["0"])[0])
    rows = [message(1, body=str(n)), message(2)]
    return httpx.Response(
        200, json={"messages": rows, "page": n, "next_page_uri": f"{request.url.path}?Page={n + 1}&PageSize=2"}
    )


def itself(request):
    return httpx.Response(
        200, json={"messages": [message()], "page": 0, "next_page_uri": request.url.raw_path.decode()}
    )


@pytest.mark.parametrize("answer", [repeat, same_ids, itself])
def test_a_list_that_repeats_itself_ends_in_an_error(answer, fake, pauses):
    fake.faults = [on_messages(None, answer)]
    with pytest.raises(SourceError, match="a second time"):
        pull(fake, resources=["messages"])
    assert len(fake.requests) <= 4


def test_a_page_left_out_is_an_error(fake, pauses):
    def skip(request):
        found = fake.answer(request).json()
        found["next_page_uri"] = found["next_page_uri"] and found["next_page_uri"].replace("Page=1&", "Page=2&")
        return httpx.Response(200, json=found)

    fake.put("messages", [message(i) for i in range(6)])
    fake.faults = [on_messages(None, skip)]
    with pytest.raises(SourceError, match="a page before it is missing"):
        pull(fake, resources=["messages"])


def test_rows_that_shift_between_pages_come_twice_and_are_kept_once(fake):
    """A record inserted while paging pushes one over the border: it is on both pages."""
    from etl.sources.normalise import normalise

    rows = [message(i) for i in range(6)]
    fake.put("messages", rows)

    def shifted(request):
        if "Page=1" in request.url.query.decode():
            fake.put("messages", [message(99), *rows])

    fake.faults = [on_messages(None, shifted)]
    found = normalise(source(fake).read(pull(fake, resources=["messages"]), DAY).events)
    assert found.duplicates == 1
    assert set(found.events["record_id"]) == {r["sid"] for r in rows}


def test_an_ignored_filter_stops_at_the_first_page(fake, pauses):
    fake.put("messages", [message(i, date_sent=stamp(day=dt.date(2019, 1, 1 + i % 9))) for i in range(1000)])
    with pytest.raises(SourceError, match="ignored the date filter of messages"):
        pull(fake, resources=["messages"])
    assert len(fake.requests) == 2


def test_a_page_too_large_is_not_read(fake, pauses, monkeypatch):
    monkeypatch.setattr(_http, "MAX_PAGE_BYTES", 1 << 20)
    bomb = __import__("gzip").compress(b"\0" * (64 << 20))
    fake.faults = [
        on_messages(
            None, lambda r: httpx.Response(200, stream=httpx.ByteStream(bomb), headers={"content-encoding": "gzip"})
        )
    ]
    began = time.monotonic()
    with pytest.raises(SourceError, match="more than 1 MiB"):
        pull(fake, resources=["messages"])
    assert time.monotonic() - began < 5


def test_an_answer_that_drips_is_given_up(fake, pauses, monkeypatch):
    monkeypatch.setattr(_http, "SLOWEST", 0.01)

    class Drip(httpx.SyncByteStream):
        def __iter__(self):
            for _ in range(1000):
                time.sleep(0.005)
                yield b" " * (1 << 16)

    fake.faults = [on_messages(None, lambda r: httpx.Response(200, stream=Drip()))]
    began = time.monotonic()
    with pytest.raises(SourceError, match="ReadTimeout"):
        pull(fake, resources=["messages"], timeout_seconds=1, attempts=2)
    assert time.monotonic() - began < 3


def test_a_list_without_end_ends(fake, monkeypatch):
    monkeypatch.setattr("etl.sources.twilio.MAX_PAGES", 3)
    fake.put("messages", [message(i) for i in range(10)])
    with pytest.raises(SourceError, match="more than 3 pages"):
        pull(fake, resources=["messages"])


# ---------------------------------------------------------------------------------------------- totals and the account


@pytest.mark.parametrize(
    ("changes", "refused"),
    [({"date_created": "Sat, 21 Nov 2026 00:00:00 +0000"}, False), ({"status": "closed", "date_updated": "Thu, 19 Nov 2026 09:00:00 +0000"}, False),
     ({}, True), ({"date_created": "Fri, 20 Nov 2026 23:00:00 +0000"}, True), ({"status": "closed", "date_updated": "Fri, 20 Nov 2026 09:00:00 +0000"}, True),
     ({"status": "suspended", "date_updated": "Thu, 19 Nov 2026 09:00:00 +0000"}, True)],
)  # fmt: skip
def test_no_totals_is_an_answer_only_outside_the_accounts_life(changes, refused, fake, pauses):
    fake.accounts = [account(), account(CHILD, **changes)]
    fake.faults = [lambda r: error(404) if "/Usage/" in r.url.path and CHILD in r.url.path else None]
    full(fake)
    if refused:
        with pytest.raises(SourceError, match=f"usage of {CHILD} .*HTTP 404"):
            pull(fake)
    else:
        assert not [p for p in pull(fake) if p.resource == "usage" and p.provider_account == CHILD]


def test_the_list_of_accounts_is_paged_and_must_be_whole(fake, pauses):
    fake.accounts = [account("AC" + f"{i:032x}") for i in range(5)]
    assert {p.provider_account for p in pull(fake, resources=["numbers"])} == {a["sid"] for a in fake.accounts} | {MAIN}
    fake.faults = [
        lambda r: httpx.Response(200, json={"accounts": [], "page": 0, "next_page_uri": "https://attacker.example/"})
    ]
    with pytest.raises(SourceError, match="the list of accounts"):
        pull(fake)
    fake.faults = [
        lambda r: httpx.Response(200, json={"accounts": [account("../AC")], "page": 0, "next_page_uri": None})
    ]
    with pytest.raises(SourceError, match="SID is missing or not letters"):
        pull(fake)


# ------------------------------------------------------------------------------------------------- threads and memory


def test_memory_stays_flat_when_the_reader_is_slow(fake):
    fake.put("messages", [message(i) for i in range(200)])
    pages = source(fake, resources=["messages"], concurrency=2).fetch(DAY)
    next(pages)
    time.sleep(0.3)
    assert len(fake.requests) <= 1 + 1 + 2 * 2 + 2
    assert sum(1 for _ in pages) == 99


def test_a_reader_that_stops_leaves_no_thread_behind(fake):
    fake.put("messages", [message(i) for i in range(200)])
    before = threading.active_count()
    pages = source(fake).fetch(DAY)
    next(pages)
    pages.close()
    assert threading.active_count() == before


def test_a_failure_leaves_no_thread_behind_and_stops_the_waiting(fake):
    before = threading.active_count()
    throttled, asked = threading.Event(), threading.Event()

    def throttle(request):
        asked.wait(5)
        throttled.set()
        return httpx.Response(429, json={}, headers={"Retry-After": "60"})

    def fail(request):
        if "/Calls" not in request.url.path:
            return None
        asked.set()
        throttled.wait(5)
        time.sleep(0.05)
        return error(400, 20001)

    fake.faults = [on_messages(None, throttle), fail]
    began = time.monotonic()
    with pytest.raises(SourceError, match="calls of"):
        pull(full(fake))
    assert time.monotonic() - began < 5
    assert threading.active_count() == before


# ------------------------------------------------------------------------------------------------------------- secrets


def test_no_secret_and_no_text_is_ever_said_or_kept(fake, pauses, caplog):
    caplog.set_level(logging.DEBUG)
    full(fake)
    fake.accounts.append(account(CHILD))
    said = []
    for name, answer in PASSING.items():
        fake.faults = [on_messages(1, answer)]
        try:
            pull(fake, attempts=2, concurrency=1)
        except SourceError as failure:
            said.append("".join(traceback.format_exception(failure)))
            assert failure.__cause__ is None, name
    fake.faults = [
        on_messages(None, lambda r: httpx.Response(400, json={"code": 20001, "message": f"{BODY} {PASSWORD}"}))
    ]
    with pytest.raises(SourceError) as caught:
        pull(fake)
    fake.faults = []
    pages = pull(fake)
    found = source(fake)
    said += [str(caught.value), caplog.text, repr(pages), repr(vars(found)), found.check(), *(p.url for p in pages)]
    for text in said:
        assert PASSWORD not in text
        assert BODY not in text
        assert "Authorization" not in text
    for kept in pages:
        assert PASSWORD.encode() not in kept.body
        assert b"auth_token" not in kept.body
        assert "@" not in kept.url


def test_nothing_from_the_environment_changes_where_requests_go(fake, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    api = _http.Api(BASE, "a", "b", timeout_seconds=1, attempts=1, concurrency=1, stop=threading.Event())
    assert api._client._mounts == {}
    assert api._client.follow_redirects is False
    api.close()


def test_a_certificate_nobody_signed_is_refused_at_once(tmp_path, pauses):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = tmp_path / "both.pem"
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pem.write_bytes(private + certificate.public_bytes(encoding))
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        context = Context(resolve=lambda _: Connection(login=MAIN, password=PASSWORD))
        found = Twilio("main", Settings(connection="c", base_url=f"https://localhost:{server.server_port}"), context)
        with pytest.raises(SourceError, match="certificate is not trusted"):
            found.check()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert not seen
    assert not pauses


# ------------------------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    "changes",
    [{"base_url": "http://api.twilio.com"}, {"base_url": "https://u:p@api.twilio.com"}, {"base_url": "ftp://x"}, {"base_url": "api.twilio.com"},
     {"base_url": "https://x?y=1"}, {"concurrency": 0}, {"concurrency": 17}, {"page_size": 1001}, {"timeout_seconds": 0},
     {"attempts": 0}, {"resources": []}, {"resources": ["rooms"]}, {"video_base_url": "http://video.twilio.com"}, {"video_base_url": ""}, {"resources": ["calls", "calls"]}, {"connection": ""}, {"typo": 1}],
)  # fmt: skip
def test_wrong_settings_are_refused_by_name(changes):
    from etl.settings import SourceSettings
    from etl.sources import open_source

    given = SourceSettings(**{"kind": "twilio", "connection": "c"} | changes)
    with pytest.raises(ConfigurationError, match=f"sources.main.{next(iter(changes))}") as caught:
        open_source("main", given, Context())
    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8010", "http://localhost:1/", "https://x.example/api/laml/", "http://[::1]:80"]
)
def test_usable_base_urls(url):
    assert Settings(connection="c", base_url=url).base_url == url.rstrip("/")


def test_reading_kept_pages_needs_no_credentials(sample_pages):
    def never(_name):
        raise AssertionError("no secret is needed here")

    found = Twilio("main", Settings(connection="c"), Context(resolve=never)).read(sample_pages, DAY)
    assert isinstance(found.events, pl.DataFrame)
