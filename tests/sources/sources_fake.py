"""A provider that lives in the test process, and records to put into it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from urllib.parse import parse_qs, urlencode

import httpx
import polars as pl

from etl.settings import Connection
from etl.sources import Context, Page
from etl.sources._records import RESOURCES
from etl.sources.twilio import Settings, Twilio

DAY = date(2026, 11, 20)
MAIN = "AC" + "a" * 32
CHILD = "AC" + "b" * 32
PASSWORD = "canary-7f3d-auth-token"
BODY = "canary-body-b41c"
SAMPLES = Path(__file__).parent / "samples"
BASE = "https://api.example.test"


def stamp(clock: str = "10:00:00", day: date = DAY) -> str:
    return f"{day:%a, %d %b %Y} {clock} +0000"


def message(n: int = 1, **changes: object) -> dict:
    row = {
        "sid": f"SM{n:032x}", "account_sid": MAIN, "from": "+15005550006", "to": "+15017122661", "body": BODY,
        "status": "delivered", "direction": "outbound-api", "num_segments": "1", "num_media": "0", "price": "-0.00790",
        "price_unit": "USD", "error_code": None, "date_sent": stamp(), "date_updated": stamp("10:00:02"),
    }  # fmt: skip
    return row | changes


def call(n: int = 1, **changes: object) -> dict:
    row = {
        "sid": f"CA{n:032x}", "account_sid": MAIN, "from": "+15005550006", "to": "+15017122661", "status": "completed",
        "direction": "outbound-api", "duration": "61", "price": "-0.02800", "price_unit": "USD", "answered_by": None,
        "parent_call_sid": "", "start_time": stamp(), "end_time": stamp("10:01:10"), "date_updated": stamp("10:01:12"),
    }  # fmt: skip
    return row | changes


def recording(n: int = 1, **changes: object) -> dict:
    row = {
        "sid": f"RE{n:032x}", "account_sid": MAIN, "call_sid": f"CA{n:032x}", "status": "completed", "duration": "61",
        "price": "-0.00500", "price_unit": "USD", "error_code": None, "date_created": stamp(), "date_updated": stamp(),
    }  # fmt: skip
    return row | changes


def number(n: int = 1, **changes: object) -> dict:
    row = {
        "sid": f"PN{n:032x}", "account_sid": MAIN, "phone_number": f"+1500555{n:04d}",
        "date_created": stamp(day=date(2026, 1, 5)), "date_updated": stamp(day=date(2026, 1, 5)),
    }  # fmt: skip
    return row | changes


def usage(category: str = "sms", **changes: object) -> dict:
    row = {
        "account_sid": MAIN, "category": category, "count": "8", "count_unit": "messages", "usage": "11",
        "usage_unit": "segments", "price": "0.05990", "price_unit": "usd", "start_date": str(DAY), "end_date": str(DAY),
        "as_of": "2026-11-21T02:05:11+00:00",
    }  # fmt: skip
    return row | changes


def account(sid: str = MAIN, **changes: object) -> dict:
    row = {
        "sid": sid, "auth_token": PASSWORD, "status": "active", "date_created": "Wed, 01 Jan 2020 00:00:00 +0000",
        "date_updated": "Thu, 01 Jan 2026 00:00:00 +0000",
    }  # fmt: skip
    return row | changes


def envelope(resource: str, rows: list, **changes: object) -> bytes:
    found = {RESOURCES[resource].key: rows, "page": 0, "next_page_uri": None} | changes
    return json.dumps(found).encode()


def page(resource: str, rows: list | bytes, asked: str = MAIN, n: int = 0) -> Page:
    body = rows if isinstance(rows, bytes) else envelope(resource, rows, page=n)
    return Page(resource, asked, n, f"https://example.test/{resource}?Page={n}", body)


class Fake:
    """Lists by (account, resource), paged as the provider does; ``faults`` see each request first and may answer it."""

    def __init__(self) -> None:
        self.accounts = [account()]
        self.rows: dict[tuple[str, str], list] = {}
        self.faults: list[Callable[[httpx.Request], httpx.Response | None]] = []
        self.requests: list[httpx.Request] = []

    def put(self, resource: str, rows: list, sid: str = MAIN) -> Fake:
        self.rows[sid, resource] = [row | {"account_sid": sid} for row in copy.deepcopy(rows)]
        return self

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        for fault in self.faults:
            if (answer := fault(request)) is not None:
                return answer
        return self.answer(request)

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/2010-04-01/Accounts")
        if path == ".json":
            return self._list(request, "accounts", self.accounts)
        if path.count("/") == 1:
            return httpx.Response(200, json=account(path[1:].removesuffix(".json")))
        _, sid, rest = path.split("/", 2)
        resource = next(name for name, spec in RESOURCES.items() if spec.path == rest)
        return self._list(request, RESOURCES[resource].key, self.rows.get((sid, resource), []))

    @staticmethod
    def _list(request: httpx.Request, key: str, rows: list) -> httpx.Response:
        query = {k: v[0] for k, v in parse_qs(request.url.query.decode()).items()}
        size, n = int(query["PageSize"]), int(query.get("Page", 0))
        more = (n + 1) * size < len(rows)
        uri = f"{request.url.path}?{urlencode(query | {'Page': n + 1, 'PageToken': 'PA' + str(n)})}"
        answer = {key: rows[n * size : (n + 1) * size], "page": n, "next_page_uri": uri if more else None}
        return httpx.Response(200, json=answer)


def source(fake: Callable, **settings: object) -> Twilio:
    context = Context(resolve=lambda _: Connection(login=MAIN, password=PASSWORD))
    own = Settings(**{"connection": "c", "base_url": BASE, "page_size": 2, "attempts": 4, **settings})
    return Twilio("main", own, context, transport=httpx.MockTransport(fake))


def read(resource: str, rows: list | bytes, asked: str = MAIN) -> pl.DataFrame:
    return source(Fake()).read([page(resource, rows, asked)], DAY).events


def one(resource: str, row: object) -> dict:
    events = read(resource, [row])
    assert events.height == 1
    return events.row(0, named=True)
