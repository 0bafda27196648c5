"""What every source owes, whatever it reads: a source is one module behind one small interface."""

from __future__ import annotations

import importlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import httpx
import polars as pl
import pytest
from sources_fake import (
    BEFORE,
    CHILD,
    DAY,
    MAIN,
    PASSWORD,
    SAMPLES,
    Fake,
    account,
    call,
    iso,
    message,
    number,
    recording,
    session,
    usage,
)

from etl import sources
from etl.schemas import DATASETS
from etl.settings import ConfigurationError, Connection, Section, SourceSettings
from etl.sources import Context, Page, SourceError
from etl.sources.normalise import counts, normalise

DOCUMENT = Path(__file__).parents[2] / "docs" / "sources.md"
ACME_ROW = {
    "id": "a1", "sent": "2026-11-20T10:00:00Z", "changed": "2026-11-20T10:00:05Z", "from": "+1", "to": "+2", "text": "hi",
    "parts": 1, "way": "out", "state": "delivered", "amount": "0.01", "currency": "USD",
}  # fmt: skip
ACME_ROWS = [
    ACME_ROW, ACME_ROW, ACME_ROW | {"id": "a2", "way": "in", "amount": None, "text": "\u00ea" * 71, "parts": None},
    ACME_ROW | {"id": "a3", "sent": "2026-11-21T00:00:00Z"}, ACME_ROW | {"id": "a4", "state": "lost"}, 7,
    ACME_ROW | {"id": None}, ACME_ROW | {"id": "a5", "amount": "much"}, ACME_ROW | {"id": "a6", "to": None},
]  # fmt: skip


class Case(NamedTuple):
    """A source over known data, and how to break what it reads from."""

    settings: dict
    context: Context
    broken: Callable[[], object]
    accounts: set[str]
    kinds: set[str]


@contextmanager
def served(answer: Callable[[httpx.Request], httpx.Response]) -> Iterator[str]:
    """A function from request to response as a server on this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            found = answer(httpx.Request("GET", f"http://x{self.path}", headers=dict(self.headers)))
            self.send_response(found.status_code)
            self.send_header("Content-Length", str(len(found.content)))
            self.end_headers()
            self.wfile.write(found.content)

        def log_message(self, *_):
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def twilio(tmp_path, monkeypatch) -> Iterator[Case]:
    fake = Fake()
    fake.accounts.append(account(CHILD))
    for sid in (MAIN, CHILD):
        offset = 100 if sid == CHILD else 0
        fake.put("messages", [message(offset + i) for i in range(5)], sid).put("calls", [call(offset + 1)], sid)
        fake.put("recordings", [recording(offset + 1)], sid).put("numbers", [number(offset + 1)], sid).put(
            "usage", [usage()], sid
        )
        fake.meet({offset + n: [session(offset + 10 * n + i) for i in range(n)] for n in range(4)}, sid)
        yesterday = [session(offset + 91, start_time=iso(day=BEFORE)), session(offset + 92, start_time=iso("00:00:00"))]
        fake.meet({offset + 9: yesterday}, sid, date_created=iso(day=BEFORE))
    with served(fake) as url:
        context = Context(resolve=lambda _: Connection(login=MAIN, password=PASSWORD))
        given = {"connection": "c", "base_url": url, "page_size": 2, "attempts": 1}
        broken = lambda: fake.faults.append(lambda r: httpx.Response(500, json={}))  # noqa: E731
        yield Case(given, context, broken, {MAIN, CHILD}, {"message", "call", "video", "recording", "number"})


@contextmanager
def files(tmp_path, monkeypatch) -> Iterator[Case]:
    path = tmp_path / "2026-11-20.csv"
    path.write_bytes((SAMPLES / "console_sms_log.csv").read_bytes())
    yield Case({"store": {"url": str(tmp_path)}, "pattern": "{date}.csv"}, Context(), path.unlink, {MAIN}, {"message"})


@contextmanager
def documented(tmp_path, monkeypatch) -> Iterator[Case]:
    """The example in docs/sources.md, as if it lay in the folder of sources."""
    (tmp_path / "acme.py").write_text(re.search(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[1])
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(tmp_path)])
    monkeypatch.delitem(importlib.sys.modules, "etl.sources.acme", raising=False)
    importlib.invalidate_caches()
    broken = []

    def answer(request):
        return httpx.Response(404) if broken else httpx.Response(200, content=json.dumps({"texts": ACME_ROWS}))

    with served(answer) as url:
        context = Context(resolve=lambda _: Connection(login="acme-1", password=PASSWORD))
        yield Case({"connection": "c", "base_url": url}, context, lambda: broken.append(1), {"acme-1"}, {"message"})
    importlib.sys.modules.pop("etl.sources.acme", None)


KINDS = {"twilio": twilio, "files": files, "acme": documented}


@pytest.fixture(params=KINDS)
def case(request, tmp_path, monkeypatch) -> Iterator[tuple[str, Case]]:
    with KINDS[request.param](tmp_path, monkeypatch) as found:
        yield request.param, found


def open_it(kind: str, case: Case, **changes):
    return sources.open_source("mine", SourceSettings(kind=kind, **(case.settings | changes)), case.context)


def test_every_kind_there_is_is_held_to_this_contract():
    assert set(sources.kinds()) == set(KINDS) - {"acme"}


def test_a_module_offers_settings_and_open_source(case):
    kind, found = case
    assert kind in sources.kinds()
    module = importlib.import_module(f"etl.sources.{kind}")
    assert issubclass(module.Settings, Section)
    assert module.__doc__
    assert open_it(kind, found).name == "mine"


def test_an_unknown_key_is_named_before_any_request(case):
    kind, found = case
    found.broken()
    with pytest.raises(ConfigurationError, match="sources.mine.typo"):
        open_it(kind, found, typo=1)
    open_it(kind, found)


def test_an_unknown_kind_names_those_there_are():
    with pytest.raises(ConfigurationError, match="sources.mine.kind: 'fax' is not a source: use files, twilio"):
        sources.open_source("mine", SourceSettings(kind="fax"), Context())


def test_pages_have_a_place_of_their_own_and_no_secret(case):
    kind, found = case
    pages = list(open_it(kind, found).fetch(DAY))
    places = [(p.resource, p.provider_account, p.number) for p in pages]
    assert len(set(places)) == len(places)
    for resource, owner in {p[:2] for p in places}:
        numbers = sorted(n for r, a, n in places if (r, a) == (resource, owner))
        assert numbers == list(range(len(numbers)))
    for page in pages:
        assert isinstance(page.body, bytes)
        assert PASSWORD not in page.url
        assert PASSWORD.encode() not in page.body
        assert page.body.decode("latin-1") not in repr(page)


def test_fetching_again_gives_the_same_bytes(case):
    kind, found = case
    mine = open_it(kind, found)
    first, second = ({(p.resource, p.provider_account, p.number, p.sha256) for p in mine.fetch(DAY)} for _ in range(2))
    assert first == second


def test_a_reading_has_the_contract_columns_and_needs_nothing_but_the_kept_pages(case):
    kind, found = case
    pages = list(open_it(kind, found).fetch(DAY))
    found.broken()
    kept = [Page(p.resource, p.provider_account, p.number, p.url, p.body) for p in reversed(pages)]
    later = sources.open_source("mine", SourceSettings(kind=kind, **found.settings), Context(resolve=None))
    for given in (kept, iter(pages), []):
        reading = later.read(given, DAY)
        assert dict(reading.events.schema) == DATASETS["events"].types
        assert dict(reading.ledger.schema) == DATASETS["ledger"].types
    DATASETS["ledger"].arrange(later.read(kept, DAY).ledger)


def test_every_record_ends_once_and_accepted_ones_are_of_the_day(case):
    kind, found = case
    mine = open_it(kind, found)
    events = mine.read(mine.fetch(DAY), DAY).events
    places = events.select("raw_sha256", "raw_index")
    assert places.n_unique() == places.height > 0
    result = normalise(events)
    told = counts(result.events)
    assert told["accepted"] + told["excluded"] + told["quarantined"] + result.duplicates == events.height
    accepted = result.events.filter(pl.col("outcome") == "accepted")
    start = datetime.combine(DAY, datetime.min.time(), UTC)
    assert accepted["occurred_at"].is_between(start, start + timedelta(days=1), closed="left").all()
    assert accepted["reason"].null_count() == accepted.height
    assert result.events.filter(pl.col("outcome") != "accepted")["reason"].null_count() == 0
    assert set(accepted["provider_account"]) == found.accounts
    assert set(accepted["kind"]) == found.kinds


def test_the_order_of_pages_does_not_matter(case):
    kind, found = case
    mine = open_it(kind, found)
    pages = list(mine.fetch(DAY))
    straight, backwards = (mine.read(order, DAY) for order in (pages, pages[::-1]))
    assert normalise(straight.events).events.equals(normalise(backwards.events).events)
    assert straight.ledger.equals(backwards.ledger)


def test_what_cannot_be_read_whole_is_an_error_that_names_the_source(case):
    kind, found = case
    found.broken()
    with pytest.raises(SourceError, match="^mine: "):
        list(open_it(kind, found).fetch(DAY))


def test_check_says_what_was_reached(case):
    kind, found = case
    said = open_it(kind, found).check()
    assert said
    assert PASSWORD not in said


def test_the_example_in_the_documentation_quarantines_what_it_should(tmp_path, monkeypatch):
    with documented(tmp_path, monkeypatch) as found:
        mine = open_it("acme", found)
        result = normalise(mine.read(mine.fetch(DAY), DAY).events)
    by_id = {r["record_id"]: (r["outcome"], r["reason"]) for r in result.events.to_dicts() if ":" not in r["record_id"]}
    assert by_id == {
        "a1": ("accepted", None), "a2": ("accepted", None), "a3": ("excluded", "other_day"),
        "a4": ("quarantined", "unknown_status"), "a5": ("quarantined", "bad_price"), "a6": ("quarantined", "message_has_parties"),
    }  # fmt: skip
    assert sorted(result.events.filter(pl.col("record_id").str.contains(":"))["reason"]) == [
        "missing_id",
        "not_an_object",
    ]
    assert result.duplicates == 1


def test_the_documentation_knows_every_reason_and_status():
    from etl.sources import _records

    text = DOCUMENT.read_text()
    for resource, spec in _records.RESOURCES.items():
        reasons = (
            _records._problems(spec, resource, datetime.combine(DAY, datetime.min.time(), UTC)) if spec.kind else {}
        )
        for word in [*reasons, *spec.statuses, *(code for _, code in spec.excluded)]:
            assert word in text, word
