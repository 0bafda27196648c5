"""V1–V26: a provider that misbehaves, over real sockets. The same bytes after a retry, or quarantine in which nothing is lost,
or an error that names the page and the remedy and leaves the lake as it was."""

from __future__ import annotations

import gzip
import http.server
import random
import re
import socket
import ssl
import struct
import threading
import time
import tracemalloc
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache

import httpx
import polars as pl
import pytest
from faultynights import (
    CHILD,
    DAY,
    MAIN,
    MONTH,
    NEXT,
    PASSWORD,
    Place,
    at,
    call,
    changed,
    message,
    on,
    provider_running,
    recording,
    session,
    stamp,
    usage,
    wire,
)

from etl.lake import Partition
from etl.sources import SourceError, _http

TEXTS = "/Messages.json"
RAW = Partition.of("raw", date=DAY, source="twilio")


@pytest.fixture(scope="module")
def listening():
    with provider_running() as provider:
        yield provider


@pytest.fixture
def provider(listening, monkeypatch):
    """A usual day; pauses between tries are short."""
    monkeypatch.setattr(_http, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(_http, "LONGEST_RETRY_AFTER", 0.02)
    return listening.reset()


@pytest.fixture(scope="module")
def usual(listening, tmp_path_factory):
    """A lake in which the usual day is loaded."""
    listening.reset()
    place = Place(tmp_path_factory.mktemp("usual") / "place", listening.url)
    place.night()
    return place


@pytest.fixture
def place(tmp_path, provider):
    return Place(tmp_path / "place", provider.url)


# --------------------------------------------------------------------------------------------- what goes by itself


def throttled(header: str | None):
    return httpx.Response(429, json={"code": 20429}, headers={} if header is None else {"Retry-After": header})


def cut(handler):
    """Half of what was announced, then the end of the connection."""
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n{"messages": [{"sid": "SM')


def reset(handler):
    """RST instead of an answer."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def half_gzip(handler):
    body = gzip.compress(b'{"messages": [], "page": 0, "next_page_uri": null}' * 50)[:40]
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    handler.wfile.write(head.encode() + body)


def packed(encoding: str, body: bytes = b'{"messages": [], "page": 0, "next_page_uri": null}'):
    """An answer packed in a way nobody asked for."""

    def answer(handler):
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        handler.wfile.write(head.encode() + body)

    return wire(answer)


def silent(handler):
    time.sleep(1.3)


PASSING = {
    "V1 429": throttled("0"),
    "V1 429 without a hint": throttled(None),
    "V1 429 for ten million days": throttled("1000000000000"),
    "V1 429 until a past date": throttled("Wed, 21 Oct 2015 07:28:00 GMT"),
    "V1 429 until a date there is not": throttled("Wed, 99 Foo 2015"),
    "V2 500": httpx.Response(500, json={"code": 20500}),
    "V2 502 html": httpx.Response(502, html="<html>bad gateway</html>"),
    "V2 503": httpx.Response(503),
    "V3 no answer": wire(silent),
    "V3 reset": wire(reset),
    "V3 hung up": wire(lambda handler: None),
    "V8 cut body": wire(cut),
    "V8 cut gzip": wire(half_gzip),
    "V8 cut json": lambda request: httpx.Response(200, content=b'{"messages": [{"sid": "SM1", "page": 0, "next_page_uri"'),
    "V9 empty": httpx.Response(200, content=b""),
    "V9 no json": httpx.Response(200, content=b"next_page_uri"),
    "V9 a page that looks like an error": httpx.Response(200, json={"code": 20500, "message": "x", "status": 500}),
    "V9 html": httpx.Response(200, html="<!doctype html><title>We will be back</title>"),
    "V16 packed twice": packed("gzip, gzip"),
    "V16 packed otherwise": packed("br"),
    "V24 one stray 401": httpx.Response(401, json={"code": 20003}),
}  # fmt: skip


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_leaves_the_same_bytes(name, provider, usual, place):
    """Twice at most: the third of three tries gets the page. A page of the middle, so that something was read before it."""
    fault = on(TEXTS, PASSING[name], page=1, times=1 if "401" in name else 2)
    if name == "V3 no answer":
        settings = place.folder / "tollbook.toml"
        settings.write_text(settings.read_text().replace("timeout_seconds = 10", "timeout_seconds = 1"))
        fault = on(TEXTS, PASSING[name], page=1, times=1)
    provider.faults = [fault]
    place.jobs().pull(DAY, "twilio")
    asked = [r for r in provider.requests if TEXTS in r.url.path and MAIN in r.url.path]
    assert len(asked) == (4 if fault is not provider.faults[0] or "401" in name or "no answer" in name else 5), (
        "it was met"
    )
    assert place.jobs().lake.head(RAW).sha256 == usual.jobs().lake.head(RAW).sha256


def test_a_burst_in_every_list_leaves_the_same_bytes_to_the_end(provider, usual, place):
    """Every request of the night fails once, each in a way of its own."""
    answers = [PASSING[n] for n in PASSING if n not in ("V3 no answer",)]
    met: dict[str, int] = {}

    def each_once(request):
        url = str(request.url)
        if url in met:
            return None
        met[url] = len(met)
        found = answers[met[url] % len(answers)]
        return on("", found)(request)

    provider.faults = [each_once]
    jobs = place.night()
    assert len(met) >= 15
    assert place.heads(jobs) == usual.heads()


# --------------------------------------------------------------------------------------------- what does not


def loop(request):
    """V6: a page that names itself as the next."""
    return httpx.Response(
        200, json={"messages": [message(1)], "page": 0, "next_page_uri": request.url.raw_path.decode()}
    )


def again_under_another_token(request):
    """V4: the page before, as the next one."""
    n = int(request.url.params.get("Page", 0))
    following = f"{request.url.path}?Page={n + 1}&PageToken=t{n}"
    return httpx.Response(200, json={"messages": [message(1), message(2)], "page": n, "next_page_uri": following})


def leads_to(uri: str):
    return lambda request: httpx.Response(200, json={"messages": [message(1)], "page": 0, "next_page_uri": uri})


def skipping(request):
    """V6: page 0 names page 2."""
    following = f"{request.url.path}?Page=2" if "Page" not in request.url.params else None
    rows = [message(5)] if following is None else [message(1)]
    return httpx.Response(200, json={"messages": rows, "page": 0 if following else 2, "next_page_uri": following})


def history(request):
    """The date filter is ignored."""
    rows = [message(n, date_sent=stamp(day=date(2024, 1, 1 + n))) for n in range(3)]
    return httpx.Response(200, json={"messages": rows, "page": 0, "next_page_uri": None})


@lru_cache(maxsize=2)
def zeros(times: int) -> bytes:
    """200 MB of zeros, packed so many times."""
    return gzip.compress(bytes(200 << 20) if times == 1 else zeros(times - 1), 1)


def bomb(times: int = 1):
    """What unpacks to 200 MB; packed twice, from a thousand bytes."""
    return wire(lambda handler: packed(", ".join(["gzip"] * times), zeros(times))(handler))


LASTING = {
    "V1 429": (throttled("1"), "HTTP 429.* 3 times in a row.*Run the day again later"),
    "V2 503": (httpx.Response(503), "HTTP 503, 3 times in a row.*Run the day again later"),
    "V3 hung up": (wire(lambda handler: None), "connection failed.*3 times in a row"),
    "V4 duplicate page": (again_under_another_token, "a page a second time.*Run the day again"),
    "V6 loop": (loop, "a page a second time.*Run the day again"),
    "V6 a page left out": (skipping, "page before it is missing. Run the day again"),
    "V8 cut json": (httpx.Response(200, content=b'{"next_page_uri": null, "messages": [{'), "not a whole JSON page"),
    "V9 html": (httpx.Response(200, html="<html>"), "a web page instead of JSON"),
    "V9 empty": (httpx.Response(200), "an empty answer"),
    "V13 no list": (httpx.Response(200, json={"next_page_uri": None}), "no list named 'messages'"),
    "V14 a list that is none": (httpx.Response(200, json={"next_page_uri": None, "messages": {}}), "no list named"),
    "V14 a next page that is none": (httpx.Response(200, json={"next_page_uri": 7, "messages": []}), "its next page leaves"),
    "V16 bomb": (bomb(), "more than 64 MiB: not read. Lower page_size"),
    "V16 bomb in a bomb": (bomb(2), "packed in a way that was not asked for, 3 times in a row"),
    "V21 another host": (leads_to("https://attacker.example/2010-04-01/Accounts/x"), "attacker.example.*Tell the provider"),
    "V21 in the clear": (leads_to("http://api.example.test/2010-04-01/"), "not followed, the password would go there"),
    "V21 metadata": (leads_to("http://169.254.169.254/latest/meta-data/iam"), "169.254.169.254"),
    "V21 metadata v6": (leads_to("http://[fd00:ec2::254]/latest/"), "fd00:ec2::254"),
    "V22 redirect": (httpx.Response(302, headers={"Location": "https://attacker.example/"}), "redirect, which is not followed"),
    "V24 revoked": (httpx.Response(401, json={"code": 20003}), "HTTP 401 .*credentials are refused: check login and password"),
    "an ignored filter": (history, "ignored the date filter.*Run the day again"),
}  # fmt: skip


@pytest.mark.parametrize("name", LASTING)
def test_what_lasts_names_the_page_and_leaves_the_lake_as_it_was(name, provider, usual):
    answer, says = LASTING[name]
    before = usual.files()
    zeros(2)  # made before the request waits for it
    # From page 1 on where it can be: something good was read already.
    paged = (
        name not in ("V4 duplicate page", "V6 loop", "V6 a page left out", "an ignored filter") and "V21" not in name
    )
    provider.faults = [on(TEXTS, answer, page=1 if paged else None)]
    with pytest.raises(SourceError) as caught:
        usual.night()
    text = str(caught.value)
    # A page seen a second time is known by its own number; of what is served, only the first account's list is broken.
    assert re.match(rf"twilio: messages of AC\w{{32}} for {DAY}, page \d: ", text), text
    assert re.search(says, text), text
    assert PASSWORD not in text and len(text) < 500
    assert usual.files() == before
    assert {r.url.host for r in provider.requests} == {"127.0.0.1"}


def test_a_day_that_fails_the_first_time_leaves_nothing_to_bill(provider, place):
    """No half of a day, not even of the lists that were whole."""
    provider.faults = [on("/Calls.json", httpx.Response(503))]
    with pytest.raises(SourceError, match="calls of"):
        place.night()
    assert {name.split("/")[0] for name in place.files()} <= {"_probe"} or place.files() == {}
    provider.faults = []
    place.night()
    assert sum(place.conserved().values()) == 13


@pytest.mark.parametrize("host", ["refused", "dns"])
def test_nobody_there(host, tmp_path, provider, monkeypatch):
    """V3: nobody listens, or the name is not known."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}" if host == "refused" else "https://api.provider.invalid"
    if host == "dns":

        def unknown(*_, **__):
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
    place = Place(tmp_path / "place", url)
    with pytest.raises(
        SourceError, match=r"twilio: the list of accounts: the connection failed \(ConnectError\), 3 times"
    ):
        place.night()
    assert place.files() == {}


def test_a_redirect_is_not_followed_and_tells_no_password(provider, usual):
    """V22: the other host hears nothing, whatever the number of the redirect."""
    heard = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            heard.append(dict(self.headers))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener) as other:
        threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        for status in (301, 302, 303, 307, 308):
            there = httpx.Response(status, headers={"Location": f"http://127.0.0.1:{other.server_port}/"})
            provider.faults = [on(TEXTS, there)]
            with pytest.raises(SourceError, match=f"HTTP {status}.*redirect"):
                usual.night()
        other.shutdown()
    assert heard == []


def test_credentials_revoked_in_the_middle_leave_the_lake_as_it_was(provider, usual):
    """V24: from the tenth request on."""
    before, served = usual.files(), []

    def revoked(request):
        served.append(request)
        return httpx.Response(401, json={"code": 20003}) if len(served) > 10 else None

    provider.faults = [revoked]
    with pytest.raises(SourceError, match="credentials are refused"):
        usual.night()
    assert len(served) < 20 and usual.files() == before


def test_a_certificate_for_another_name_or_of_the_past_is_refused(tmp_path, provider):
    """V23: nothing is sent, not even once more."""
    for name, days in (("elsewhere.example", 1), ("localhost", -1)):
        file = certificate(tmp_path / f"{name}.pem", name, days)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        heard = []

        class Listener(http.server.BaseHTTPRequestHandler):
            def do_GET(self, heard=heard):
                heard.append(self.path)

        with http.server.HTTPServer(("127.0.0.1", 0), Listener) as server:
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.handle_error = lambda *_: None
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            place = Place(tmp_path / name, f"https://localhost:{server.server_port}")
            with pytest.raises(SourceError, match="certificate is not trusted: nothing was sent. Check base_url"):
                place.night()
            server.shutdown()
        assert heard == [] and place.files() == {}


def certificate(file, name: str, days: int):
    """A certificate nobody signed, for a name, valid until ``days`` from now."""
    import datetime as dt

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key()).serial_number(7)
        .not_valid_before(now - timedelta(days=9)).not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(private + made.public_bytes(pem))
    return file


@pytest.mark.parametrize("times", [1, 2])
def test_a_bomb_takes_no_memory(times, provider, usual):
    """V16: 200 MB of zeros, once and twice packed: never in memory as a whole."""
    provider.faults = [on(TEXTS, bomb(times), page=1)]
    jobs = usual.jobs()
    zeros(times)
    began = time.monotonic()
    tracemalloc.start()
    with pytest.raises(SourceError):
        jobs.pull(DAY, "twilio")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.monotonic() - began < 20
    assert most < 150 << 20


# --------------------------------------------------------------------------------------------- order


def test_the_order_of_pages_and_records_makes_no_difference(provider, usual, place):
    """V5: other pages, other order within them."""
    for key, rows in provider.rows.items():
        random.Random(7).shuffle(rows)
        provider.rows[key] = rows
    place.night()
    left_out = ["raw_sha256", "raw_index"]
    assert place.events().drop(left_out).sort("kind", "record_id").equals(usual.events().drop(left_out).sort("kind", "record_id"))
    assert place.billed() == usual.billed()


def test_pages_served_in_another_order_are_an_error(provider, usual):
    """V5: the third page where the second was asked for."""
    before = usual.files()

    def swapped(request):
        page = int(request.url.params.get("Page", 0))
        if page not in (1, 2):
            return provider.answer(request)
        other = httpx.Request("GET", request.url.copy_set_param("Page", 3 - page), headers=request.headers)
        return provider.answer(other)

    provider.faults = [on(f"{MAIN}{TEXTS}", swapped)]
    with pytest.raises(SourceError, match="a page before it is missing. Run the day again"):
        usual.night()
    assert usual.files() == before


def test_a_record_inserted_while_paging_is_kept_once(provider, usual, place):
    """V7: everything moves on by one, so one record is on two pages and the new one on none of those still to come."""
    rows = provider.rows[MAIN, "messages"]
    new = message(99, date_sent=stamp("23:59:00"))

    def insert(request):
        provider.rows[MAIN, "messages"] = [new, *rows]
        return provider.answer(request)

    provider.faults = [on(f"{MAIN}{TEXTS}", insert, page=1)]
    place.night()
    assert sum(place.conserved().values()) == 13
    assert set(place.events()["record_id"]) == set(usual.events()["record_id"])
    provider.faults = []
    place.night()
    assert sum(place.conserved().values()) == 14, "the next night brings the new one"


def totals(rows: list[dict]) -> list[dict]:
    """The provider's own total of texts with one segment each, as many as there are."""
    amount = sum(-Decimal(row["price"]) for row in rows)
    segments = sum(int(row["num_segments"]) for row in rows)
    return [usage("sms", count=str(len(rows)), usage=str(segments), price=str(amount))]


def test_a_record_lost_while_paging_is_told_that_night_and_there_the_next(provider, place):
    """V7: a record deleted while paging pulls another one over the border, so that it is on neither page. Pages cannot show
    that; the provider's own total does, and the next night reads the day again."""
    rows = provider.rows[MAIN, "messages"]
    provider.put("usage", totals(rows))  # what was sent is counted, deleted or not

    def delete(request):
        provider.rows[MAIN, "messages"] = rows[1:]
        return provider.answer(request)

    provider.faults = [on(f"{MAIN}{TEXTS}", delete, page=1)]
    jobs = place.night()
    lost = rows[2]["sid"]
    assert lost not in set(place.events()["record_id"])
    found = jobs.reconcile(DAY, "twilio").filter((pl.col("provider_account") == MAIN) & (pl.col("category") == "sms"))
    assert found["verdict"].item() == "unexplained"
    provider.faults = []
    place.night()
    assert lost in set(place.events()["record_id"])
    gone = place.events().filter(pl.col("record_id") == rows[0]["sid"])
    assert gone["vanished"].item() and gone["outcome"].item() == "accepted", "V20: what was listed once stays billed"


# --------------------------------------------------------------------------------------------- what records say

HUGE = "1000000000000"
ABSURD = {
    # V10
    "a lone surrogate": (message(body="@1@"), "accepted"),
    "no UTF-8": (message(body="@2@"), "accepted"),
    "NUL": (message(body="@3@"), "accepted"),
    "NUL in an id": (message(sid="SM\x00x"), "missing_id"),
    # V11
    "unknown status": (message(status="teleported"), "unknown_status"),
    "unknown direction": (message(direction="sideways"), "unknown_direction"),
    "unknown channel": (message(**{"from": "pigeon:7"}), "unknown_channel"),
    "unknown call status": (call(status="teleported"), "unknown_status"),
    # V12
    "new fields": (message(quality={"mos": [4.5]}, tags=["a"]), "accepted"),
    # V13
    "no id": ({k: v for k, v in message().items() if k != "sid"}, "missing_id"),
    "no status": ({k: v for k, v in message().items() if k != "status"}, "unknown_status"),
    "no date": ({k: v for k, v in message().items() if k != "date_sent"}, "missing_date"),
    "no direction": ({k: v for k, v in message().items() if k != "direction"}, "unknown_direction"),
    "no duration": ({k: v for k, v in call().items() if k != "duration"}, "bad_duration"),
    "no optional field": (
        {
            k: v
            for k, v in message().items()
            if k not in ("num_media", "error_code", "date_updated", "price", "price_unit")
        },
        "accepted",
    ),
    # V14
    "numbers for texts": (message(num_segments=1, num_media=0, error_code=30006), "accepted"),
    "a list for a text": (message(body=["x"]), "bad_field"),
    "true for a price": (message(price=True), "bad_price"),
    "a number for a date": (message(date_sent=1795168800), "bad_date"),
    "a number for an id": (message(sid=7), "accepted"),
    "no record": (7, "not_an_object"),
    "null": (None, "not_an_object"),
    "no price": (message(price=None, price_unit=None), "accepted"),
    # V15
    "1e400": (message(price="1e400"), "bad_price"),
    "1e400 as a number": (message(price="#1e400#"), "bad_price"),
    "NaN": (message(price="NaN"), "bad_price"),
    "NaN as a number": (message(price="#NaN#"), "bad_price"),
    "Infinity": (message(price="-Infinity"), "bad_price"),
    "a million million": (message(price=f"-{HUGE}"), "bad_price"),
    "less than can be kept": (message(price="-0.0000000001"), "bad_price"),
    "minus nothing": (message(price="-0"), "accepted"),
    "10^12 segments": (message(num_segments=HUGE), "bad_count"),
    "256 segments": (message(num_segments="256"), "bad_count"),
    "10^12 media": (message(num_media=HUGE), "bad_count"),
    "10^12 seconds": (call(duration=HUGE), "bad_duration"),
    "2^63 seconds": (call(duration=str(2**63)), "bad_duration"),
    "10^12 seconds recorded": (recording(duration=HUGE), "bad_duration"),
    "10^12 seconds of video": (session(duration=int(HUGE)), "bad_duration"),
    "year 1": (message(date_sent="Mon, 01 Jan 0001 00:00:00 +0000"), "bad_date"),
    "year 9999": (message(date_sent="Fri, 31 Dec 9999 23:59:59 +0000"), "bad_date"),
    "year 10000": (message(date_sent="Sat, 01 Jan 10000 00:00:00 +0000"), "bad_date"),
    "updated in year 0": (message(date_updated="Sat, 01 Jan 0000 00:00:00 +0000"), "bad_date"),
    "updated in year 9999": (message(date_updated="Fri, 31 Dec 9999 23:59:59 +0000"), "bad_date"),
    "a call until year 9999": (call(end_time="Fri, 31 Dec 9999 23:59:59 +0000"), "bad_date"),
    "a call until 2099": (call(end_time=stamp(day=date(2099, 1, 1))), "bad_date"),
    "a call for eight days": (call(end_time=stamp(day=date(2026, 11, 28))), "bad_date"),
    "a session until 2099": (session(end_time="2099-01-01T00:00:00Z"), "bad_date"),
    # V17
    "a call that ended before it began": (call(end_time=stamp("09:59:59")), "bad_date"),
    "a session that ended before it began": (session(end_time=f"{DAY}T09:59:59Z"), "bad_date"),
    "a price with the wrong sign": (message(price="0.0079"), "price_sign"),
    "a call with the wrong sign": (call(price="0.5"), "price_sign"),
    "-1 segment": (message(num_segments="-1"), "bad_count"),
    "-61 seconds": (call(duration="-61"), "bad_duration"),
    "-61 seconds recorded": (recording(duration="-61"), "bad_duration"),
    "-61 seconds of video": (session(duration=-61), "bad_duration"),
    # V25
    "somebody else's": (message(account_sid=CHILD), "foreign_account"),
    "a stranger's": (call(account_sid="AC" + "f" * 32), "foreign_account"),
    # T7, T8
    "a leap second": (message(date_sent=stamp("23:59:60")), "accepted"),
    "a far offset": (message(date_sent="Sat, 21 Nov 2026 01:30:00 +1345"), "accepted"),
    "Z": (message(date_sent=f"{DAY}T10:00:00Z"), "accepted"),
    "no offset": (message(date_sent=f"{DAY}T10:00:00"), "bad_date"),
}
WIRE = {
    b"@1@": b"a\\ud800b", b"@2@": b"a\xffb", b"@3@": b"a\\u0000b", b'"#1e400#"': b"1e400", b'"#NaN#"': b"NaN",
}  # fmt: skip
"""What a test can only write into the bytes of an answer."""
LISTS = {"SM": "messages", "CA": "calls", "RE": "recordings", "PA": "video"}


def on_the_wire(body: bytes) -> bytes:
    for text, bytes_ in WIRE.items():
        body = body.replace(text, bytes_)
    return body


def list_of(row) -> str:
    if not isinstance(row, dict) or "num_segments" in row or "body" in row:
        return "messages"
    return {"room_sid": "video", "call_sid": "recordings"}.get(
        next((k for k in ("room_sid", "call_sid") if k in row), ""), "calls"
    )


def spoil(provider) -> dict[str, str]:
    """Every absurd record among the usual ones. Returns what became of each by its name: its id, where it can have one."""
    ids = {}
    for n, (name, (row, _)) in enumerate(ABSURD.items(), 100):
        resource = list_of(row)
        if isinstance(row, dict):
            row = dict(row)
            if row.get("sid", "").__class__ is str and re.fullmatch("[A-Z]{2}0*1", row.get("sid", "")):
                row["sid"] = f"{row['sid'][:2]}{n:032x}"
                ids[name] = row["sid"]
        key = (MAIN, f"RM{1:032x}") if resource == "video" else (MAIN, resource)
        provider.rows[key] = [*provider.rows[key], row]
    provider.faults = [changed(provider, "/Messages.json", on_the_wire)]
    return ids


@pytest.fixture(scope="module")
def spoilt(listening, tmp_path_factory):
    """(place, ids) of a night with every absurd record in it."""
    ids = spoil(listening.reset())
    place = Place(tmp_path_factory.mktemp("spoilt") / "place", listening.url)
    place.night()
    listening.reset()
    return place, ids


def test_every_absurd_record_ends_once_with_a_reason(spoilt):
    place, ids = spoilt
    outcomes = place.conserved()
    wrong = sum(expected != "accepted" for _, expected in ABSURD.values())
    assert outcomes == {"accepted": 13 + len(ABSURD) - wrong, "quarantined": wrong}
    found = {row["record_id"]: row for row in place.events().iter_rows(named=True)}
    assert len(ids) > len(ABSURD) - 8
    for name, sid in ids.items():
        reason = found[sid]["reason"] if found[sid]["outcome"] == "quarantined" else "accepted"
        assert reason == ABSURD[name][1], name


def test_nothing_absurd_is_billed(spoilt, usual):
    """What is billed beside the usual day are the good records among the absurd ones, one segment each."""
    place, _ = spoilt
    good = [row for row, expected in ABSURD.values() if expected == "accepted"]
    more = {("acme", "text"): len(good), ("acme", "carrier_fee"): len(good)}
    expected = {key: quantity + more.get(key, 0) for key, (quantity, _) in usual.billed().items()}
    assert {key: quantity for key, (quantity, _) in place.billed().items()} == expected
    texts = usual.billed()["acme", "text"][1] + len(good) * Decimal("0.0095")
    assert place.billed()["acme", "text"][1] == texts
    assert place.billed()["bolt", "text"] == usual.billed()["bolt", "text"], "V25: nothing of it went next door"


def test_text_that_is_no_text_is_shown_and_kept(spoilt):
    """V10."""
    place, ids = spoilt
    bodies = {row["record_id"]: row["body"] for row in place.events().iter_rows(named=True)}
    assert {bodies[ids[name]] for name in ("a lone surrogate", "no UTF-8", "NUL")} == {"a\ufffdb"}


def test_moments_are_of_the_day_they_say(spoilt):
    """T7, T8."""
    place, ids = spoilt
    moments = {row["record_id"]: row["occurred_at"] for row in place.events().iter_rows(named=True)}
    assert moments[ids["a leap second"]] == at("23:59:59")
    assert moments[ids["a far offset"]] == at("11:45:00")
    assert moments[ids["Z"]] == at("10:00:00")


def test_a_byte_order_mark_changes_no_record(provider, usual, place):
    """V9: before every answer."""
    provider.faults = [changed(provider, path, lambda body: b"\xef\xbb\xbf" + body) for path in (".json", "/v1/")]
    place.night()
    assert place.conserved() == {"accepted": 13}
    assert place.events().drop("raw_sha256").sort("kind", "record_id").equals(usual.events().drop("raw_sha256").sort("kind", "record_id"))


def test_absurd_totals_are_no_bill_and_are_told(provider, place, usual):
    """V15 in the provider's own totals: they bill nothing, and what cannot be read differs."""
    provider.put("usage", [usage("sms", count=HUGE * 2, usage="1e400", price="NaN"), usage("mms", price="9" * 30)])
    jobs = place.night()
    assert place.billed() == usual.billed()
    verdicts = jobs.reconcile(DAY, "twilio").filter(pl.col("provider_account") == MAIN)
    assert set(verdicts.filter(pl.col("category") == "sms")["verdict"]) == {"unexplained"}


# --------------------------------------------------------------------------------------------- whose it is


def test_another_accounts_list_bills_nobody(provider, place, usual):
    """V25: the whole answer is another account's: every record is held back, and none of it is billed to either."""
    theirs = provider.rows[CHILD, "messages"]
    provider.rows[MAIN, "messages"] = [row | {"sid": f"SM{n:032x}"} for n, row in enumerate(theirs, 500)]
    place.night()
    assert place.conserved()["quarantined"] == len(theirs)
    assert ("acme", "text") not in place.billed()
    assert place.billed()["bolt", "text"] == usual.billed()["bolt", "text"]
    assert set(place.events().filter(pl.col("outcome") == "quarantined")["reason"]) == {"foreign_account"}


def test_the_same_record_in_two_accounts_lists_is_billed_to_its_own(provider, place, usual):
    """V25: a copy of a neighbour's record never replaces it, whichever is read first."""
    mine = dict(provider.rows[CHILD, "messages"][0])
    provider.rows[MAIN, "messages"] = [mine, *provider.rows[MAIN, "messages"]]
    place.night()
    assert place.billed() == usual.billed()
    kept = place.events().filter(pl.col("record_id") == mine["sid"])
    assert kept["outcome"].to_list() == ["accepted"] and kept["provider_account"].to_list() == [CHILD]


# --------------------------------------------------------------------------------------------- what changes later


def test_a_status_that_comes_late_is_billed_once(provider, place):
    """V18: queued, then delivered without a price, then undelivered with one."""
    nights = [
        ({"status": "queued", "price": None, "date_updated": stamp("10:00:01")}, "excluded", None),
        ({"status": "delivered", "price": None, "date_updated": stamp("10:00:05")}, "accepted", None),
        (
            {"status": "undelivered", "price": "-0.00790", "date_updated": stamp("10:09:00")},
            "accepted",
            Decimal("0.0079"),
        ),
    ]
    for changes, outcome, cost in nights:
        provider.put("messages", [message(1, **changes)])
        place.night()
        row = place.events().filter(pl.col("record_id") == message(1)["sid"]).row(0, named=True)
        assert (row["outcome"], row["provider_cost"], row["status"]) == (outcome, cost, changes["status"])
        assert place.billed().get(("acme", "text"), (0, None))[0] == (outcome == "accepted")
        place.conserved()


def test_a_price_restated_by_the_provider_changes_no_bill(provider, place):
    """V18: our bill is by our rate card; what the provider restates moves the cost alone."""
    place.night(date(2026, 11, 20))
    before = place.billed()
    provider.put(
        "messages",
        [row | {"price": "-0.09990", "date_updated": stamp("12:00:00")} for row in provider.rows[MAIN, "messages"]],
    )
    place.night(date(2026, 11, 20))
    assert place.billed() == before
    costs = place.events().filter((pl.col("kind") == "message") & (pl.col("provider_account") == MAIN))["provider_cost"]
    assert set(costs) == {Decimal("0.0999")}


def test_a_record_that_moves_and_is_listed_on_both_days_is_billed_once(provider, place):
    """V19: where the old day's list still holds it, as the provider's does whose ``<`` means the day too."""
    moved = message(1, date_sent=stamp("00:00:05", NEXT), date_updated=stamp("00:10:00", NEXT))
    provider.put("messages", [message(1)])
    place.night(DAY, NEXT)
    assert place.billed(DAY)["acme", "text"][0] == 1 and ("acme", "text") not in place.billed(NEXT)
    provider.faults = [
        on(f"{MAIN}{TEXTS}", httpx.Response(200, json={"messages": [moved], "page": 0, "next_page_uri": None}))
    ]
    place.night(DAY, NEXT)
    assert place.billed(NEXT)["acme", "text"][0] == 1 and ("acme", "text") not in place.billed(DAY)
    assert place.events(DAY).filter(pl.col("kind") == "message")["reason"].to_list() == ["other_day", None, None]


def test_a_record_that_moves_and_is_listed_on_its_new_day_alone_is_billed_once(provider, place):
    """V19: the old day marks it as gone, and gives it up once the new day lists it; night after night."""
    provider.put("messages", [message(1)])
    place.night(DAY, NEXT)
    provider.put("messages", [message(1, date_sent=stamp("00:00:05", NEXT), date_updated=stamp("00:10:00", NEXT))])
    for _ in range(2):
        jobs = place.night(DAY, NEXT)
        assert [result for result in jobs.audit([DAY, NEXT]) if result.verdict == "broken"] == []
        assert [place.billed(day).get(("acme", "text"), (0,))[0] for day in (DAY, NEXT)] == [0, 1]


def test_what_disappears_is_kept_billed_and_marked(provider, place, usual):
    """V20: and is like new when it comes back."""
    place.night()
    whole = provider.rows[MAIN, "messages"]
    provider.rows[MAIN, "messages"] = whole[1:]
    place.night()
    assert place.billed() == usual.billed()
    assert place.events().filter("vanished")["record_id"].to_list() == [whole[0]["sid"]]
    provider.rows[MAIN, "messages"] = whole
    place.night()
    assert (
        place.heads()["events/date=2026-11-20/source=twilio"] == usual.heads()["events/date=2026-11-20/source=twilio"]
    )


def test_a_whole_list_that_disappears_bills_on_and_is_told(provider, place, usual):
    """V20: an empty answer where there were records is no reason to bill nothing."""
    place.night()
    provider.rows[MAIN, "messages"] = []
    provider.put("usage", totals([]))
    jobs = place.night()
    assert place.billed() == usual.billed()
    assert place.events()["vanished"].sum() == 5
    assert jobs.lake.head(Partition.of("events", date=DAY, source="twilio")).sums["vanished"] == "5"


def test_a_provider_that_changes_its_currency_changes_no_bill(provider, place):
    """V26: in the middle of the month. Costs keep their own currency and are never added to another."""
    other = {"price": "-0.00700", "price_unit": "EUR", "date_sent": stamp(day=NEXT), "date_updated": stamp(day=NEXT)}
    rows = provider.rows[MAIN, "messages"]
    provider.rows[MAIN, "messages"] = rows + [message(n, **other) for n in range(21, 26)]

    jobs = place.night(DAY, NEXT)
    charges = jobs.lake.scan(list(jobs.lake.heads("charges").values())).filter(pl.col("line") == "text").collect()
    assert set(charges["currency"]) == {"USD"} and charges["charge"].null_count() == 0
    assert set(charges.filter(pl.col("date") == NEXT)["provider_currency"]) == {"EUR"}
    assert set(charges.filter(pl.col("date") == DAY)["provider_currency"]) == {"USD"}
    lines = jobs.lake.read(jobs.lake.head(Partition.of("statement", month=str(MONTH))))
    mine = lines.filter((pl.col("account_id") == "acme") & (pl.col("line") == "text"))
    assert set(mine["currency"]) == {"USD"} and mine["quantity"].sum() == 12
