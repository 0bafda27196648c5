"""A provider that lives in the test process, and records to put into it."""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Callable
from datetime import date, timedelta
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


BEFORE, AFTER = DAY - timedelta(days=1), DAY + timedelta(days=1)


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


def iso(clock: str = "10:00:00", day: date = DAY) -> str:
    return f"{day}T{clock}Z"


def room(n: int = 1, **changes: object) -> dict:
    row = {
        "sid": f"RM{n:032x}", "account_sid": MAIN, "status": "completed", "unique_name": f"room {n}", "type": "group",
        "duration": 3600, "date_created": iso("09:59:50"), "date_updated": iso("11:00:00"), "end_time": iso("11:00:00"),
    }  # fmt: skip
    return row | changes


def session(n: int = 1, **changes: object) -> dict:
    row = {
        "sid": f"PA{n:032x}", "account_sid": MAIN, "room_sid": room()["sid"], "identity": f"guest {n}", "status": "disconnected",
        "duration": 61, "date_created": iso(), "date_updated": iso("10:01:02"), "start_time": iso(), "end_time": iso("10:01:01"),
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
    key = RESOURCES[resource].key
    if resource in ("rooms", "video"):
        meta = {"page": 0, "page_size": 50, "next_page_url": None, "key": key} | changes
        return json.dumps({key: rows, "meta": meta}).encode()
    found = {key: rows, "page": 0, "next_page_uri": None} | changes
    return json.dumps(found).encode()


def page(resource: str, rows: list | bytes, asked: str = MAIN, n: int = 0, of: str = room()["sid"]) -> Page:
    """A kept page. ``of``: the room a page of sessions was asked of."""
    body = rows if isinstance(rows, bytes) else envelope(resource, rows, page=n)
    path = RESOURCES[resource].path.format(room=of).lstrip("/")
    return Page(resource, asked, n, f"{BASE}/{path}?Page={n}", body)


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

    def meet(self, rooms: dict[int, list], sid: str = MAIN, **changes: object) -> Fake:
        """Completed rooms of an account by number, with their sessions; ``changes`` are made to every room."""
        made = [room(n, account_sid=sid, **changes) for n in rooms]
        self.rows[sid, "rooms"] = self.rows.get((sid, "rooms"), []) + made
        for found, sessions in zip(made, rooms.values(), strict=True):
            own = {"account_sid": sid, "room_sid": found["sid"]}
            self.rows[sid, found["sid"]] = [s | own if isinstance(s, dict) else s for s in copy.deepcopy(sessions)]
        return self

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        for fault in self.faults:
            if (answer := fault(request)) is not None:
                return answer
        return self.answer(request)

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.startswith("/v1/"):
            return self._video(request)
        path = request.url.path.removeprefix("/2010-04-01/Accounts")
        if path == ".json":
            return self._list(request, "accounts", self.accounts)
        if path.count("/") == 1:
            return httpx.Response(200, json=account(path[1:].removesuffix(".json")))
        _, sid, rest = path.split("/", 2)
        resource = next(name for name, spec in RESOURCES.items() if spec.path == rest)
        return self._list(request, RESOURCES[resource].key, self.rows.get((sid, resource), []))

    def _video(self, request: httpx.Request) -> httpx.Response:
        """Whose rooms they are, the user name alone says."""
        user, _, password = base64.b64decode(request.headers["authorization"].split()[1]).decode().partition(":")
        if password != PASSWORD or user not in [a["sid"] for a in self.accounts]:
            return httpx.Response(401, json={"code": 20003})
        if request.url.path == "/v1/Rooms":
            asked = request.url.params
            since, until = asked["DateCreatedAfter"], asked["DateCreatedBefore"]
            rows = [r for r in self.rows.get((user, "rooms"), []) if since <= r["date_created"][:10] < until]
            return self._meta_list(request, "rooms", [r for r in rows if r["status"] == asked["Status"]])
        found = re.fullmatch("/v1/Rooms/(RM[0-9a-f]{32})/Participants", request.url.path)
        if not found or (user, found[1]) not in self.rows:
            return httpx.Response(404, json={"code": 20404})
        return self._meta_list(request, "participants", self.rows[user, found[1]])

    def _meta_list(self, request: httpx.Request, key: str, rows: list) -> httpx.Response:
        """The newer envelope: an object of absolute URLs."""
        found = self._list(request, key, rows).json()
        here = f"{request.url.scheme}://{request.headers['host']}"
        following = found["next_page_uri"] and here + found["next_page_uri"]
        meta = {
            "page": found["page"], "page_size": int(request.url.params["PageSize"]), "url": here + request.url.raw_path.decode(),
            "first_page_url": here + request.url.path, "previous_page_url": None, "next_page_url": following, "key": key,
        }  # fmt: skip
        return httpx.Response(200, json={key: found[key], "meta": meta})

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
    rooms = [page("rooms", [room(account_sid=asked)], asked)] if resource == "video" else []
    return source(Fake()).read([page(resource, rows, asked), *rooms], DAY).events


def one(resource: str, row: object) -> dict:
    events = read(resource, [row])
    assert events.height == 1
    return events.row(0, named=True)
