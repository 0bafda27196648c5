"""The provider's HTTP API, version 2010-04-01, and its Video API, version 1: as publicly specified, read-only."""

import asyncio
import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import islice
from urllib.parse import quote, urlencode, urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox import video
from sandbox.company import ACCOUNTS, BY_SID, MAIN, Account
from sandbox.faults import PAGE_KINDS, REQUEST_KINDS, FaultBook, FaultError, build
from sandbox.records import API, Records, isoformat, rfc2822
from sandbox.traffic import (
    CALL,
    DIALLED,
    MESSAGE,
    PARTICIPANT,
    RECORDING,
    ROOM,
    SECONDS_PER_DAY,
    UNDATED,
    Clock,
    Position,
    World,
    midnight,
)
from sandbox.usage import CATEGORIES, Ledger
from sandbox.usage_pages import PERIODS, usage_rows

RETENTION_DAYS = 400
MAX_PAGE_SIZE = 1000
VIDEO_API = "/v1/"
"""Where the Video API's paths begin. They name no account: it is the one of the user name."""
ROOM_STATUSES = ["in-progress", "completed", "failed"]
PARTICIPANT_STATUSES = ["connected", "disconnected", "reconnecting"]
CALL_STATUSES = ["queued", "ringing", "in-progress", "canceled", "completed", "failed", "busy", "no-answer"]


class ApiError(Exception):
    """An answer with the provider's error body."""

    def __init__(self, status: int, code: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, headers or {}

    def response(self) -> Response:
        more = f"https://www.twilio.com/docs/errors/{self.code}"
        body = {"code": self.code, "message": self.message, "more_info": more, "status": self.status}
        return JSONResponse(body, self.status, headers=self.headers)


def _not_found(path: str) -> ApiError:
    return ApiError(404, 20404, f"The requested resource {path} was not found")


def _unauthorized() -> ApiError:
    return ApiError(401, 20003, "Authenticate", {"WWW-Authenticate": 'Basic realm="Twilio API"'})


def _credentials(request: Request) -> tuple[str, str]:
    """(user name, password) of a request; empty if it has none that can be read."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return (user, password) if scheme.lower() == "basic" else ("", "")


def parse_moment(text: str) -> tuple[int, bool]:
    """(seconds since 1970, True if only a date was given) of a filter value; ApiError 400/20001 if it is no date."""
    text = text.strip()
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            return midnight(date.fromisoformat(text)), True
        found = datetime.fromisoformat(text) if text[:4].isdigit() else parsedate_to_datetime(text)
        return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()), False
    except (ValueError, TypeError, OverflowError):
        raise ApiError(400, 20001, f"Invalid date value: {text}") from None


@dataclass
class Window:
    first: int = 0
    last: int = 1 << 40
    given: bool = False

    @classmethod
    def read(cls, query, name: str, clock: Clock, upper_inclusive: bool) -> "Window":
        """Reads `Name`, `Name>` and `Name<`. `>` is on or after; `<` is before, or also at the moment itself."""
        window = cls()
        oldest = midnight(clock.day - timedelta(RETENTION_DAYS))
        for operator in ("", ">", "<"):
            value = query.get(name + operator)
            if value in (None, ""):
                continue
            window.given = True
            moment, whole_day = parse_moment(value)
            if operator != "<" and moment < oldest:
                message = (
                    "Date range specified in query is partially or entirely outside of retention window of 400 days"
                )
                raise ApiError(400, 20004, message)
            if operator == "<":
                window.last = min(window.last, moment if upper_inclusive else moment - 1)
            elif operator == ">":
                window.first = max(window.first, moment)
            else:
                start = moment if whole_day else moment - moment % SECONDS_PER_DAY
                window.first, window.last = max(window.first, start), min(window.last, start + SECONDS_PER_DAY - 1)
        return window


@dataclass
class Stats:
    requests: int = 0
    in_flight: int = 0
    max_concurrent: int = 0
    by_status: Counter = field(default_factory=Counter)
    by_resource: Counter = field(default_factory=Counter)
    by_account: Counter = field(default_factory=Counter)

    def public(self) -> dict:
        return {
            "requests": self.requests,
            "max_concurrent": self.max_concurrent,
            "by_status": {str(k): v for k, v in sorted(self.by_status.items())},
            "by_resource": dict(self.by_resource),
            "by_account": dict(self.by_account),
        }


class HalfBody(Response):
    """Announces the whole length, sends half of it and drops the connection."""

    async def __call__(self, scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body[: len(self.body) // 2], "more_body": True})


@dataclass
class Listing:
    """One list endpoint's rows: `rows(after)` yields (token, record) newest first, beginning behind a token."""

    key: str
    rows: Callable[[str | None], Iterator[tuple[str, dict]]]


class Provider:
    """State of one running sandbox: a world, its clock, faults and counters."""

    def __init__(self, world: World, clock: Clock, latency_ms: int = 0, max_concurrent: int = 0) -> None:
        self.world, self.clock, self.latency_ms, self.max_concurrent = world, clock, latency_ms, max_concurrent
        self.records = Records(world)
        self.ledger = Ledger(world)
        self.faults = FaultBook()
        self.stats = Stats()

    # --- requests ---

    async def handle(self, request: Request) -> Response:
        stats = self.stats
        stats.requests += 1
        stats.in_flight += 1
        stats.max_concurrent = max(stats.max_concurrent, stats.in_flight)
        concurrent = str(stats.in_flight)
        try:
            response = await self._answer(request)
        except ApiError as error:
            response = error.response()
        finally:
            stats.in_flight -= 1
        stats.by_status[response.status_code] += 1
        response.headers["Twilio-Concurrent-Requests"] = concurrent
        return response

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        if path.startswith(VIDEO_API):
            account_sid, resource = _credentials(request)[0], path.removeprefix("/")
        else:
            account_sid = request.path_params.get("account", "")
            resource = path.split("/Accounts", 1)[-1].split("/", 2)[-1] if account_sid else "Accounts.json"
        self.stats.by_resource[re.sub(r"/[A-Z]{2}[0-9a-f]{32}", "/{Sid}", resource)] += 1
        self.stats.by_account[account_sid] += 1
        if self.latency_ms:
            await asyncio.sleep(self.latency_ms / 1000)
        if self.max_concurrent and self.stats.in_flight > self.max_concurrent:
            raise ApiError(429, 20429, "Too Many Requests")
        page_text = request.query_params.get("Page", "0")
        page = int(page_text) if page_text.isdecimal() and len(page_text) < 10 else -1
        request_facts = path, account_sid, request.url.query, page
        for fault in self.faults.take(REQUEST_KINDS, *request_facts):
            if fault.kind == "hang":
                await asyncio.sleep(fault.seconds)
            elif fault.kind == "throttle":
                headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
                raise ApiError(429, 20429, "Too Many Requests", headers)
            elif fault.kind == "unauthorized":
                raise _unauthorized()
            else:
                raise ApiError(fault.status, 20500, "An internal server error has occurred")
        self._authenticate(request, account_sid)
        body = await run_in_threadpool(self._body, request)
        return self._spoil(request, body, request_facts)

    def _authenticate(self, request: Request, account_sid: str) -> None:
        user, token = _credentials(request)
        who = BY_SID.get(user)
        by_main = request.url.path.startswith(VIDEO_API) and token == MAIN.token
        if who is None or not (token == who.token or by_main):
            raise _unauthorized()
        if account_sid and account_sid not in BY_SID:
            raise _not_found(request.url.path)
        if who is not MAIN and account_sid not in ("", who.sid):
            raise _unauthorized()
        request.state.who = who

    def _spoil(self, request: Request, body: dict, facts: tuple) -> Response:
        acting = self.faults.take(PAGE_KINDS, *facts)
        own = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        place, following, origin = body, "next_page_uri", ""
        if request.url.path.startswith(VIDEO_API):
            place, following, origin = body.get("meta", {}), "next_page_url", _origin(request)
        for fault in acting:
            if fault.kind == "loop-page" and following in place:
                place[following] = origin + own
            elif fault.kind == "foreign-host" and following in place:
                place[following] = f"https://{fault.host}{(place[following] or own).removeprefix(origin)}"
            elif fault.kind == "duplicate-page" and following in place:
                place[following] = origin + self._again(request, body, place["page"])
            elif fault.kind == "foreign-row":
                self._add_foreign_row(body)
        content = json.dumps(body, separators=(",", ":")).encode()
        for fault in acting:
            if fault.kind == "html":
                return Response("<!DOCTYPE html><title>Maintenance</title><p>Back soon.</p>", media_type="text/html")
            if fault.kind == "cut-json":
                content = content[: len(content) // 2]
            if fault.kind == "truncate":
                return HalfBody(content, media_type="application/json")
        return Response(content, media_type="application/json")

    @staticmethod
    def _again(request: Request, body: dict, page: int) -> str:
        """The URI of the same page under the next page number and a token written differently."""
        query = dict(request.query_params)
        rows = _rows(body)
        token = query.get("PageToken")
        again = "PA" + token[2:4] + token[4:].upper() if token else "PB" + (rows[0].get("sid", "") if rows else "")
        return f"{request.url.path}?{encode_query({**query, 'Page': str(page + 1), 'PageToken': again})}"

    def _add_foreign_row(self, body: dict) -> None:
        rows = _rows(body)
        if not rows:
            return
        mine = rows[0]["account_sid"]
        other = next(a for a in ACCOUNTS if a.index and a.sid != mine)
        text = json.dumps(rows[0]).replace(mine, other.sid)
        if "sid" in rows[0]:
            sid = rows[0]["sid"]
            text = text.replace(sid, sid[:2] + sid[:1:-1])
        rows.append(json.loads(text))

    # --- bodies ---

    def _body(self, request: Request) -> dict:
        of_video = request.url.path.startswith(VIDEO_API)
        account = request.state.who if of_video else BY_SID.get(request.path_params.get("account", ""))
        kind = request.scope["route"].name
        if kind == "accounts":
            return self._page(request, self._accounts(request))
        if kind == "account":
            return self.records.account(account)
        if kind.startswith("one-"):
            return self._single(request, account, kind[4:], request.path_params["sid"])
        if kind.startswith("usage-"):
            return self._page(request, self._usage(request, account, kind[6:]))
        return self._page(request, getattr(self, f"_{kind}")(request, account))

    def _page(self, request: Request, listing: Listing) -> dict:
        query = dict(request.query_params)
        size, page = self._number(query, "PageSize", 50), self._number(query, "Page", 0)
        if not 1 <= size <= MAX_PAGE_SIZE:
            raise ApiError(400, 20001, f"Page size must be between 1 and {MAX_PAGE_SIZE}")
        if page < 0:
            raise ApiError(400, 20001, "Page must not be negative")
        token = query.get("PageToken")
        if token and token[:2] not in ("PA", "PB"):
            raise ApiError(400, 20001, "Invalid PageToken")
        after = token[2:] if token and token.startswith("PA") else None
        rows = listing.rows(after)
        if page and not token:
            rows = islice(rows, page * size, None)
        found = list(islice(rows, size + 1))
        more, found = len(found) > size, found[:size]
        origin = _origin(request) if request.url.path.startswith(VIDEO_API) else ""

        def uri(number: int, page_token: str | None) -> str:
            rest = {k: v for k, v in query.items() if k not in ("PageSize", "Page", "PageToken")}
            asked = {**rest, "PageSize": str(size), "Page": str(number)}
            if page_token:
                asked["PageToken"] = page_token
            return f"{origin}{request.url.path}?{encode_query(asked)}"

        records = [record for _, record in found]
        following = uri(page + 1, "PA" + found[-1][0]) if more else None
        previous = uri(page - 1, "PB" + found[0][0]) if page and found else None
        if origin:
            meta = {
                "first_page_url": uri(0, None),
                "key": listing.key,
                "next_page_url": following,
                "page": page,
                "page_size": size,
                "previous_page_url": previous,
                "url": uri(page, token),
            }
            return {listing.key: records, "meta": meta}
        return {
            "end": page * size + max(len(found) - 1, 0),
            "first_page_uri": uri(0, None),
            "next_page_uri": following,
            "page": page,
            "page_size": size,
            "previous_page_uri": previous,
            "start": page * size,
            "uri": uri(page, token),
            listing.key: records,
        }

    @staticmethod
    def _number(query: dict, name: str, default: int) -> int:
        text = query.get(name, str(default))
        if not re.fullmatch(r"-?\d{1,9}", text):
            raise ApiError(400, 20001, f"Invalid {name}: {text}")
        return int(text)

    def _locate(self, token: str, streams: tuple[int, ...], account: Account) -> Position:
        at = self.world.position(token[:2] + token[2:].lower())
        if at is None or at.stream not in streams or at.account != account.index or not self._exists(at):
            raise ApiError(400, 20001, "Invalid PageToken")
        return at

    def _seen(self, key: str, record: dict) -> dict | None:
        """The record with row faults applied; None if it is gone."""
        for fault in self.faults.overlay():
            if record[key] not in fault.sids:
                continue
            if fault.kind == "vanish" and (fault.until is None or self.clock.now < fault.until):
                return None
            if fault.kind == "change":
                write = isoformat if record[key][:2] in ("RM", "PA") else rfc2822
                record = {**record, **fault.fields, "date_updated": write(self.clock.now)}
        return record

    def _filtered(self, positions, render, wanted: dict[str, str]) -> Iterator[tuple[str, dict]]:
        overlay = bool(self.faults.overlay())
        clock = self.clock
        for at in positions:
            record = render(at, clock)
            if overlay:
                record = self._seen("sid", record)
                if record is None:
                    continue
            if all(record[name] == value for name, value in wanted.items()):
                yield record["sid"], record

    @staticmethod
    def _wanted(query, names: dict[str, str]) -> dict[str, str]:
        return {name: query[parameter] for parameter, name in names.items() if query.get(parameter)}

    def _messages(self, request: Request, account: Account) -> Listing:
        query = request.query_params
        window = Window.read(query, "DateSent", self.clock, upper_inclusive=True)
        wanted = self._wanted(query, {"To": "to", "From": "from"})

        def rows(after: str | None) -> Iterator[tuple[str, dict]]:
            behind = self._locate(after, (MESSAGE, UNDATED), account) if after else None
            positions = self.world.messages(account, window.first, window.last, self.clock, not window.given, behind)
            return self._filtered(positions, self.records.message, wanted)

        return Listing("messages", rows)

    def _calls(self, request: Request, account: Account) -> Listing:
        query = request.query_params
        window = Window.read(query, "StartTime", self.clock, upper_inclusive=False)
        ended = Window.read(query, "EndTime", self.clock, upper_inclusive=False)
        names = {"To": "to", "From": "from", "Status": "status", "ParentCallSid": "parent_call_sid"}
        wanted = self._wanted(query, names)
        if wanted.get("status", "completed") not in CALL_STATUSES:
            raise ApiError(400, 20001, f"Invalid Status: {wanted['status']}")
        first, last = max(window.first, ended.first - SECONDS_PER_DAY), min(window.last, ended.last)
        parent = self.world.position(wanted["parent_call_sid"]) if "parent_call_sid" in wanted else None

        def render(at: Position, clock: Clock) -> dict:
            return self.records.call(at, clock)

        def rows(after: str | None) -> Iterator[tuple[str, dict]]:
            behind = self._locate(after, (CALL, DIALLED), account) if after else None
            if "parent_call_sid" in wanted and parent is None:
                return iter(())
            since, until = first, last
            if parent is not None:
                start = midnight(date.fromordinal(parent.day))
                since, until = max(first, start), min(last, start + SECONDS_PER_DAY - 1)
            positions = self.world.calls(account, since, until, self.clock, behind)
            found = self._filtered(positions, render, wanted)
            if not ended.given:
                return found
            return ((sid, r) for sid, r in found if r["end_time"] and self._within(r["end_time"], ended))

        return Listing("calls", rows)

    @staticmethod
    def _within(text: str, window: Window) -> bool:
        return window.first <= int(parsedate_to_datetime(text).timestamp()) <= window.last

    def _recordings(self, request: Request, account: Account) -> Listing:
        query = request.query_params
        window = Window.read(query, "DateCreated", self.clock, upper_inclusive=False)
        wanted = self._wanted(query, {"CallSid": "call_sid", "ConferenceSid": "conference_sid"})
        deleted = self._include_deleted(query)

        def rows(after: str | None) -> Iterator[tuple[str, dict]]:
            behind = self._locate(after, (RECORDING,), account) if after else None
            positions = self._recordings_shown(account, window.first, window.last, deleted, behind)
            return self._filtered(positions, self.records.recording, wanted)

        return Listing("recordings", rows)

    @staticmethod
    def _include_deleted(query) -> bool:
        return query.get("IncludeSoftDeleted", "").lower() == "true"

    def _recordings_shown(
        self, account: Account, first: int, last: int, deleted: bool, behind: Position | None = None
    ) -> Iterator[Position]:
        """Positions of the recordings listed now, with or without the deleted ones, newest first."""
        clock = self.clock
        made = self.world.recordings(account, first, last, clock, behind)
        return (at for at in made if not self.records.hidden(at, clock, deleted))

    def _rooms(self, request: Request, account: Account) -> Listing:
        query = request.query_params
        wanted = {"status": "in-progress", **self._wanted(query, {"Status": "status", "UniqueName": "unique_name"})}
        if wanted["status"] not in ROOM_STATUSES:
            raise ApiError(400, 20001, f"Invalid Status: {wanted['status']}")
        first, last = self._created_between(query)

        def rows(after: str | None) -> Iterator[tuple[str, dict]]:
            behind = self._locate(after, (ROOM,), account) if after else None
            positions = video.rooms(self.world, account, first, last, self.clock, behind)
            return self._filtered(positions, self.records.room, wanted)

        return Listing("rooms", rows)

    def _participants(self, request: Request, account: Account) -> Listing:
        query, sid = request.query_params, request.path_params["room"]
        room = self._single(request, account, "room", sid)
        # Of a room in progress those connected are listed if nothing is asked for, of a completed one the others alone.
        running = room["status"] == "in-progress"
        wanted = {"status": "connected" if running else "disconnected"}
        wanted |= self._wanted(query, {"Status": "status", "Identity": "identity"})
        if wanted["status"] not in PARTICIPANT_STATUSES:
            raise ApiError(400, 20001, f"Invalid Status: {wanted['status']}")
        first, last = self._created_between(query)

        def rows(after: str | None) -> Iterator[tuple[str, dict]]:
            at = self.world.position(sid)
            behind = self._locate(after, (PARTICIPANT,), account) if after else None
            if behind is not None and behind.index // video.PLACES != at.index:
                raise ApiError(400, 20001, "Invalid PageToken")
            positions = video.participants(self.world, at, self.clock, behind)
            found = self._filtered(positions, self.records.participant, wanted)
            return ((s, r) for s, r in found if first <= parse_moment(r["date_created"])[0] <= last)

        return Listing("participants", rows)

    @staticmethod
    def _created_between(query) -> tuple[int, int]:
        """(first, last) second of DateCreatedAfter, which is on or after, and DateCreatedBefore, which is before."""
        after, before = query.get("DateCreatedAfter"), query.get("DateCreatedBefore")
        first = parse_moment(after)[0] if after else 0
        return first, parse_moment(before)[0] - 1 if before else 1 << 40

    def _numbers(self, request: Request, account: Account) -> Listing:
        query = request.query_params
        wanted = self._wanted(query, {"PhoneNumber": "phone_number", "FriendlyName": "friendly_name"})
        owned = [n for n in account.numbers if n.active(self.clock.day)]
        records = [self.records.number(account, n) for n in reversed(owned)]
        found = [(r["sid"], r) for r in records if all(r[k] == v for k, v in wanted.items())]
        return Listing("incoming_phone_numbers", lambda after: behind_token(found, after))

    def _accounts(self, request: Request) -> Listing:
        query = request.query_params
        visible = ACCOUNTS if request.state.who is MAIN else (request.state.who,)
        wanted = self._wanted(query, {"FriendlyName": "friendly_name", "Status": "status"})
        records = [self.records.account(a) for a in visible]
        found = [(r["sid"], r) for r in records if all(r[k] == v for k, v in wanted.items())]
        return Listing("accounts", lambda after: behind_token(found, after))

    def _usage(self, request: Request, account: Account, period: str) -> Listing:
        query = request.query_params
        today = self.clock.day
        start = self._usage_day(query.get("StartDate"), account.created)
        end = self._usage_day(query.get("EndDate"), today)
        category = query.get("Category")
        if category and category not in CATEGORIES:
            category = "-"
        if period in ("Today", "Yesterday"):
            start = end = today - timedelta(period == "Yesterday")
        elif period == "ThisMonth":
            start, end = today.replace(day=1), today
        elif period == "LastMonth":
            end = today.replace(day=1) - timedelta(1)
            start = end.replace(day=1)
        if end < start or end < account.created or start > today:
            raise _not_found(request.url.path)
        include = query.get("IncludeSubaccounts", "true").lower()
        if include not in ("true", "false"):
            raise ApiError(400, 20001, f"Invalid IncludeSubaccounts: {include}")
        members = (account, *account.children) if include == "true" else (account,)
        start, end = max(start, account.created), min(end, today)

        def rows(after: str | None) -> Iterator[tuple[str, dict]]:
            if after is not None and not re.fullmatch(r"UR[0-9a-fA-F]{1,16}", after):
                raise ApiError(400, 20001, "Invalid PageToken")
            skip = int(after[2:], 16) + 1 if after else 0
            as_of = isoformat(self.clock.now).replace("Z", "+00:00")
            return usage_rows(self.ledger, self.clock, account, members, start, end, period, category, as_of, skip)

        return Listing("usage_records", rows)

    def _usage_day(self, text: str | None, default: date) -> date:
        if not text:
            return default
        ago = re.fullmatch(r"([+-]\d{1,4})days?", text)
        if ago:
            return self.clock.day + timedelta(int(ago[1]))
        try:
            return date.fromisoformat(text)
        except ValueError:
            raise ApiError(400, 20001, f"Invalid date value: {text}") from None

    def _single(self, request: Request, account: Account, kind: str, sid: str) -> dict:
        if kind == "number":
            for number in account.numbers:
                if number.sid == sid and number.active(self.clock.day):
                    return self.records.number(account, number)
            raise _not_found(request.url.path)
        streams, prefixes, render, start = {
            "message": ((MESSAGE, UNDATED), ("SM", "MM"), self.records.message, "date_created"),
            "call": ((CALL, DIALLED), ("CA",), self.records.call, "start_time"),
            "recording": ((RECORDING,), ("RE",), self.records.recording, "date_created"),
            "room": ((ROOM,), ("RM",), self.records.room, "date_created"),
            "participant": ((PARTICIPANT,), ("PA",), self.records.participant, "date_created"),
        }[kind]
        at = self.world.position(sid)
        if at is None or sid[:2] not in prefixes or at.stream not in streams or at.account != account.index:
            raise _not_found(request.url.path)
        if not self._exists(at):
            raise _not_found(request.url.path)
        if kind == "recording" and self.records.hidden(at, self.clock, self._include_deleted(request.query_params)):
            raise _not_found(request.url.path)
        record = render(at, self.clock)
        if kind == "participant" and record["room_sid"] != request.path_params["room"]:
            raise _not_found(request.url.path)
        late = parse_moment(record[start])[0] > self.clock.now
        record = None if late or record["sid"] != sid else self._seen("sid", record)
        if record is None:
            raise _not_found(request.url.path)
        return record

    def _exists(self, at: Position) -> bool:
        account, day = ACCOUNTS[at.account], date.fromordinal(at.day)
        if at.stream == UNDATED:
            return any(j == at.index for _, j in self.world.undated(account, day))
        if at.stream in (ROOM, PARTICIPANT):
            return video.room_at(self.world, at) is not None
        plan = self.world.plan(MESSAGE if at.stream == MESSAGE else CALL, account, day)
        if at.index >= plan.count:
            return False
        if at.stream == DIALLED:
            return len(plan.card(at.index).legs) == 2
        return at.stream != RECORDING or bool(plan.card(at.index).recorded)

    # --- control ---

    def day_sids(self, resource: str, account: Account, day: date) -> list[str]:
        """SIDs of an account's dated rows of a UTC day, newest first."""
        first, last = midnight(day), midnight(day) + SECONDS_PER_DAY - 1
        listed = {
            "messages": (lambda: self.world.messages(account, first, last, self.clock, False), self.records.message),
            "calls": (lambda: self.world.calls(account, first, last, self.clock), self.records.call),
            "recordings": (lambda: self._recordings_shown(account, first, last, True), self.records.recording),
            "rooms": (lambda: video.rooms(self.world, account, first, last, self.clock), self.records.room),
            "participants": (lambda: self._participants_of_rooms(account, first, last), self.records.participant),
        }
        if resource not in listed:
            raise FaultError(f"resource must be one of {', '.join(listed)}")
        positions, render = listed[resource]
        return [render(at, self.clock)["sid"] for at in islice(positions(), 10_000)]

    def _participants_of_rooms(self, account: Account, first: int, last: int) -> Iterator[Position]:
        for room in video.rooms(self.world, account, first, last, self.clock):
            yield from video.participants(self.world, room, self.clock)

    async def control_faults(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.faults.clear()
        elif request.method == "POST":
            try:
                rules = json.loads(await request.body())
                made = [build(rule, self.day_sids) for rule in (rules if isinstance(rules, list) else [rules])]
            except ValueError as error:
                return JSONResponse({"error": str(error)}, 400)
            for fault in made:
                self.faults.add(fault)
        return JSONResponse(self.faults.public())

    async def control_stats(self, request: Request) -> Response:
        if request.method == "DELETE":
            self.stats = Stats()
        return JSONResponse(self.stats.public())

    async def control_clock(self, request: Request) -> Response:
        if request.method == "POST":
            try:
                self.clock = Clock(parse_moment(str(json.loads(await request.body())["now"]))[0])
            except (ApiError, ValueError, KeyError, TypeError) as error:
                return JSONResponse({"error": f'expected {{"now": "2026-11-09T02:00:00Z"}}: {error}'}, 400)
        return JSONResponse({"now": isoformat(self.clock.now)})


def _rows(body: dict) -> list[dict]:
    """The records of a list; nothing for a single record."""
    return next((v for v in body.values() if isinstance(v, list) and v and isinstance(v[0], dict)), [])


def behind_token(found: list[tuple[str, dict]], after: str | None) -> Iterator[tuple[str, dict]]:
    """The rows behind the one a token names."""
    if after is None:
        return iter(found)
    names = [name.lower() for name, _ in found]
    if after.lower() not in names:
        raise ApiError(400, 20001, "Invalid PageToken")
    return iter(found[names.index(after.lower()) + 1 :])


def _origin(request: Request) -> str:
    """Scheme and host as the client knows them: the Video API's page URLs are absolute."""
    parts = urlsplit(str(request.url))
    return f"{parts.scheme}://{parts.netloc}"


def encode_query(query: dict[str, str]) -> str:
    """A query string as the provider writes it: `DateSent%3E=2026-11-20`."""
    return urlencode(query, quote_via=quote, safe=":")


def application(provider: Provider) -> Starlette:
    """The ASGI application of a provider."""
    base = f"/{API}/Accounts"
    handle = provider.handle
    lists = {
        "messages": "Messages",
        "calls": "Calls",
        "recordings": "Recordings",
        "numbers": "IncomingPhoneNumbers",
    }
    singles = {"message": "Messages", "call": "Calls", "recording": "Recordings", "number": "IncomingPhoneNumbers"}
    routes = [
        Route("/_sandbox/faults", provider.control_faults, methods=["GET", "POST", "DELETE"]),
        Route("/_sandbox/stats", provider.control_stats, methods=["GET", "DELETE"]),
        Route("/_sandbox/clock", provider.control_clock, methods=["GET", "POST"]),
        Route(f"{base}.json", handle, name="accounts"),
        Route(f"{base}/{{account}}/Usage/Records.json", handle, name="usage-Records"),
        *(Route(f"{base}/{{account}}/Usage/Records/{p}.json", handle, name=f"usage-{p}") for p in PERIODS),
        *(Route(f"{base}/{{account}}/{part}.json", handle, name=name) for name, part in lists.items()),
        *(Route(f"{base}/{{account}}/{part}/{{sid}}.json", handle, name=f"one-{n}") for n, part in singles.items()),
        Route(f"{base}/{{account}}.json", handle, name="account"),
        Route("/v1/Rooms", handle, name="rooms"),
        Route("/v1/Rooms/{sid}", handle, name="one-room"),
        Route("/v1/Rooms/{room}/Participants", handle, name="participants"),
        Route("/v1/Rooms/{room}/Participants/{sid}", handle, name="one-participant"),
    ]

    async def missing(request: Request, _: Exception) -> Response:
        return _not_found(request.url.path).response()

    return Starlette(routes=routes, exception_handlers={404: missing})
