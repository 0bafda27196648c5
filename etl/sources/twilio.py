"""Twilio, and services that speak its API: every list of every sub-account for one UTC day.

The lists have no "changed since", so a day is read whole each time. Video is a list of rooms, and for each room the list of
its participants' sessions. See docs/sources.md for the facts relied on.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Literal
from urllib.parse import urlencode, urlsplit

import httpx
import polars as pl
from pydantic import Field, field_validator

from etl.settings import SAFE_ID, ConfigurationError, Connection, Section
from etl.sources import Context, Page, Reading, SourceError, whole
from etl.sources._decode import PAGE, Peek, Unreadable, peek, records, together
from etl.sources._http import AnswerError, Api, check_base_url
from etl.sources._records import (
    BATCH_ROWS,
    EVENTS,
    LEDGER,
    RESOURCES,
    Resource,
    settle_ledger,
    to_events,
    to_ledger,
    to_rooms,
)
from etl.sources._walks import Agenda, Step, Walk, drain

log = logging.getLogger(__name__)

ROOT = "/2010-04-01/Accounts"
MAX_PAGES = 100_000
"""Per list: more is a provider that never ends."""
UNOPENED = {"messages": MAX_PAGES, "calls": MAX_PAGES, "video": 2}
"""A guess at the pages of a list before its first one came; of the others 1. Lists that may be long are opened before all."""
TOGETHER_BYTES = 256 << 10
"""Pages are taken apart together up to here: one of a thousand records alone, those of rooms a hundred at a time."""
NO_SUCH_RESOURCE = 20404
BASE_URL = "https://api.twilio.com"
VIDEO_BASE_URL = "https://video.twilio.com"
NO_VIDEO = (
    'If there is no video here, leave "video" out of resources; if it is elsewhere, set video_base_url; if a sub-account '
    "refuses the main account's token, read its video as a source of its own"
)

_ROOM = re.compile(r"/v1/Rooms/([A-Za-z0-9_-]{1,64})/Participants\Z")

ResourceName = Literal["messages", "calls", "recordings", "video", "numbers", "usage"]


class Settings(Section):
    """Keys of ``[sources.<name>]`` with ``kind = "twilio"``."""

    connection: str = Field(
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="login: account SID and password: auth token; or an API key (SK…) with extra account_sid",
    )
    base_url: str = Field(BASE_URL, description="of a service that speaks Twilio's API")
    video_base_url: str | None = Field(
        None, description=f"of its video API; not given: {VIDEO_BASE_URL}, or base_url where that is given"
    )
    resources: tuple[ResourceName, ...] = Field(
        ("messages", "calls", "recordings", "video", "numbers", "usage"), min_length=1
    )
    subaccounts: bool = Field(True, description="also read every sub-account, suspended and closed ones included")
    concurrency: int = Field(4, ge=1, le=16, description="requests at a time; the provider limits these, not the rate")
    page_size: int = Field(1000, ge=1, le=1000)
    timeout_seconds: int = Field(60, ge=1, le=600)
    attempts: int = Field(8, ge=1, le=20, description="tries for one request, with growing pauses")

    @field_validator("base_url", "video_base_url")
    @classmethod
    def _base_urls(cls, url: str | None) -> str | None:
        return None if url is None else check_base_url(url)

    @field_validator("resources")
    @classmethod
    def _each_once(cls, resources: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(resources)) != len(resources):
            raise ValueError("name each resource once")
        return resources

    @property
    def video_url(self) -> str:
        """Where rooms are asked for: a service of its own has them where it has everything."""
        return self.video_base_url or (VIDEO_BASE_URL if self.base_url == BASE_URL else self.base_url)


@dataclass(frozen=True)
class Account:
    """What is kept of a provider account. Its auth token is not."""

    sid: str
    created: date | None = None
    closed: date | None = None

    def lived_on(self, day: date) -> bool:
        return not ((self.created and day < self.created) or (self.closed and day > self.closed))


@dataclass(frozen=True)
class Listing:
    """One list of one account and day: how to get a page of it, and how to follow what a page names as the next."""

    resource: str
    account: Account
    day: date
    url: str
    get: Callable[[str], tuple[bytes, Peek]]
    follow: Callable[[str], str]
    where: str = ""

    def __str__(self) -> str:
        return f"{self.resource} of {self.account.sid} for {self.day}{self.where}"


def open_source(name: str, settings: Settings, context: Context) -> Twilio:
    """The source; the connection is resolved when the first request is made, so reading kept pages needs no secret."""
    return Twilio(name, settings, context)


class Twilio:
    """One main account and its sub-accounts."""

    def __init__(
        self, name: str, settings: Settings, context: Context, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.name = name
        self.settings = settings
        self._context = context
        self._transport = transport
        self._turns = threading.Semaphore(settings.concurrency)  # for all days fetched at once

    # ----------------------------------------------------------------------------------------------------- fetch

    def fetch(self, day: date) -> Iterator[Page]:
        """Every page of every (account, resource) for [day, day + 1), numbered from 0 within each; any order.

        One page of each list at a time, `_walks.drain`: memory stays flat. The first failure stops all and raises SourceError.
        """
        stop = threading.Event()
        who, own = self._login()
        api = self._open(self.settings.base_url, who, stop)
        video = api if self.settings.video_url == api.base_url else self._open(self.settings.video_url, who, stop)

        def walk(account: Account, resource: str) -> Walk:
            if resource == "video":
                return self._video(video, account, who.login if account.sid == own else account.sid, day)
            return self._pages(self._list(api, account, resource, day))

        def lists(accounts: list[Account], resource: str) -> Iterator[Walk]:
            return (walk(account, resource) for account in accounts)

        try:
            accounts = self._accounts(api, own)
            unopened = [(UNOPENED.get(r, 1), lists(accounts, r)) for r in self.settings.resources]
            yield from drain(Agenda(unopened, stop), self.settings.concurrency, stop, self.name)
        finally:
            stop.set()
            api.close()
            video.close()

    def _list(self, api: Api, account: Account, resource: str, day: date) -> Listing:
        """One list of the account-addressed API."""
        spec = RESOURCES[resource]
        prefix = f"{ROOT}/{account.sid}/"
        url = api.url(f"{prefix}{spec.path}?{urlencode(self._query(resource, day))}")

        def get(url: str) -> tuple[bytes, Peek]:
            return api.get(url, lambda body: peek(body, spec.key, spec.date_field))

        return Listing(resource, account, day, url, get, lambda uri: api.follow(uri, prefix))

    def _video(self, api: Api, account: Account, login: str, day: date) -> Walk:
        """The pages of rooms; the last one makes known a walk for the sessions of each room."""
        spec, path = RESOURCES["rooms"], RESOURCES["rooms"].path
        listing = Listing(
            "rooms", account, day, api.url(f"{path}?{urlencode(self._query('rooms', day))}"),
            lambda url: api.get(url, lambda body: peek(body, spec.key, spec.date_field, meta=True), login=login),
            lambda uri: api.follow(uri, path, exact=True),
        )  # fmt: skip
        rooms: dict[str, None] = {}
        for step in self._pages(listing):
            rooms |= dict.fromkeys(self._rooms(step.page, day))
            yield step if step.left else step._replace(more=self._sessions(api, list(rooms), account, login, day))

    def _sessions(self, api: Api, rooms: list[str], account: Account, login: str, day: date) -> Iterator[Walk]:
        """A walk for each room, to be made in any order.

        A page has the same number however fast the answers come: a room's first page that of the room's place. The pages
        after it, of which hardly a room has any, follow all first pages, room by room.
        """
        longer: dict[int, Walk] = {}
        answered = count(1)

        def first(place: int) -> Walk:
            walk = self._pages(self._of_room(api, rooms[place], account, login, day))
            step = next(walk)
            if step.left:
                longer[place] = walk
            last = next(answered) == len(rooms)
            yield Step(replace(step.page, number=place), 0, iter([others()]) if last and longer else None)

        def others() -> Walk:
            numbers = count(len(rooms))
            for after, place in zip(reversed(range(len(longer))), sorted(longer), strict=True):
                for step in longer[place]:
                    yield Step(replace(step.page, number=next(numbers)), step.left + after)

        return map(first, range(len(rooms)))

    def _of_room(self, api: Api, room: str, account: Account, login: str, day: date) -> Listing:
        path = RESOURCES["video"].path.format(room=room)
        return Listing(
            "video", account, day, api.url(f"{path}?{urlencode({'PageSize': self.settings.page_size})}"),
            lambda url: api.get(url, lambda body: _sessions_of(room, body), login=login),
            lambda uri: api.follow(uri, path, exact=True), f", room {room}",
        )  # fmt: skip

    def _pages(self, listing: Listing) -> Walk:
        """The pages of one list, following what each names as the next."""
        resource, account, url = listing.resource, listing.account, listing.url
        seen: set[str] = set()
        first_number, first = 0, None
        for number in range(MAX_PAGES):
            try:
                body, page = listing.get(url)
                self._check_paging(page, number, first_number, seen, url, body)
                self._check_dates(page, resource, listing.day)
                following = listing.follow(page.next_uri) if page.next_uri else None
            except AnswerError as error:
                if _never_was(listing, error):
                    return
                hint = f". {NO_VIDEO}" if resource == "rooms" and error.status in (401, 403, 404) else ""
                raise SourceError(f"{self.name}: {listing}, page {number}: {error}{hint}") from None
            if number == 0:
                first_number, first = page.page or 0, page.dates[0] if page.dates else None
            left = _pages_left(number + 1, first, page.dates, listing.day) if following else 0
            yield Step(Page(resource, account.sid, number, url, body), left)
            if following is None:
                return
            url = following
        raise SourceError(f"{self.name}: {listing}: more than {MAX_PAGES} pages, it does not end")

    def _rooms(self, page: Page, day: date) -> list[str]:
        try:
            return to_rooms(self._rows([page]), day)["room"].to_list()
        except SourceError as error:
            raise SourceError(f"{self.name}: {error}") from None

    def _query(self, resource: str, day: date) -> dict[str, str]:
        """Bounds are whole dates, one day more than asked: what `<` means at midnight is documented both ways."""
        size = {"PageSize": str(self.settings.page_size)}
        after = (day + timedelta(days=1)).isoformat()
        if resource == "usage":
            return {"StartDate": day.isoformat(), "EndDate": day.isoformat(), "IncludeSubaccounts": "false", **size}
        if resource == "numbers":
            return size
        if resource == "rooms":
            before = (day - timedelta(days=1)).isoformat()
            return {"Status": "completed", "DateCreatedAfter": before, "DateCreatedBefore": after, **size}
        name = {"messages": "DateSent", "calls": "StartTime", "recordings": "DateCreated"}[resource]
        deleted = {"IncludeSoftDeleted": "true"} if resource == "recordings" else {}
        return {f"{name}>": day.isoformat(), f"{name}<": after, **deleted, **size}

    @staticmethod
    def _check_paging(page: Peek, number: int, first: int, seen: set[str], url: str, body: bytes) -> None:
        """AnswerError if a page comes a second time or one was left out."""
        marks = {"url " + url, "body " + hashlib.sha256(body).hexdigest()}
        if page.rows:
            marks.add("ids " + hashlib.sha256(repr(page.ids).encode()).hexdigest())
        if page.next_uri:
            marks.add("next " + page.next_uri)
        if marks & seen:
            raise AnswerError("the provider sends a page a second time, so the list is not whole. Run the day again")
        seen |= marks
        if number and page.page is not None and page.page > first + number:
            raise AnswerError(f"it calls itself page {page.page}: a page before it is missing. Run the day again")

    @staticmethod
    def _check_dates(page: Peek, resource: str, day: date) -> None:
        """AnswerError if the filter was ignored, before the whole history is pulled. `read` checks every record."""
        for text in page.dates:
            found = _date(text)
            if found and 2000 <= found.year < 2100 and abs((found - day).days) > 1:
                raise AnswerError(
                    f"holds a record of {found}: the provider ignored the date filter of {resource}, and nothing of its answer "
                    "is used. Run the day again; if it repeats, ask the provider"
                )

    # --------------------------------------------------------------------------------------------------- accounts

    def _login(self) -> tuple[Connection, str]:
        """The connection, and the main account's SID."""
        connection = self._context.resolve(self.settings.connection)
        own = str(connection.extra.get("account_sid") or connection.login)
        where = f"connection {self.settings.connection!r} of source {self.name!r}"
        if not connection.login or not connection.password:
            raise ConfigurationError(
                f"{where} needs a login (account SID or API key) and a password (auth token or secret)"
            )
        if own.startswith("SK"):
            raise ConfigurationError(
                f'{where}: the login is an API key; name its account in extra: {{"account_sid": "AC…"}}'
            )
        if not re.fullmatch(SAFE_ID, own):
            raise ConfigurationError(
                f"{where}: the account SID must be letters and digits, such as AC followed by 32 of them"
            )
        return connection, own

    def _open(self, base_url: str, who: Connection, stop: threading.Event) -> Api:
        settings = self.settings
        return Api(
            base_url, who.login, who.password, timeout_seconds=settings.timeout_seconds, attempts=settings.attempts,
            concurrency=settings.concurrency, stop=stop, turns=self._turns, transport=self._transport,
        )  # fmt: skip

    def _accounts(self, api: Api, own: str) -> list[Account]:
        """The main account and its sub-accounts whatever their status, by SID. Answers hold tokens: nothing is kept of them."""
        what = "the list of accounts" if self.settings.subaccounts else f"account {own}"
        try:
            if not self.settings.subaccounts:
                return [api.get(api.url(f"{ROOT}/{own}.json"), _one_account)[1] or Account(own)]
            found: dict[str, Account] = {}
            url: str | None = api.url(f"{ROOT}.json?{urlencode({'PageSize': self.settings.page_size})}")
            seen: set[str] = set()
            while url:
                if url in seen:
                    raise AnswerError(
                        "the provider sends a page a second time, so the list is not whole. Run the day again"
                    )
                seen.add(url)
                _, (listed, following) = api.get(url, _account_page)
                found |= {account.sid: account for account in listed}
                url = api.follow(following, f"{ROOT}.json") if following else None
        except AnswerError as error:
            raise SourceError(f"{self.name}: {what}: {error}") from None
        found.setdefault(own, Account(own))
        return [found[sid] for sid in sorted(found)]

    def check(self) -> str:
        """Reads the main account's own record. Raises SourceError if it cannot."""
        who, own = self._login()
        api = self._open(self.settings.base_url, who, threading.Event())
        try:
            api.get(api.url(f"{ROOT}/{own}.json"), _one_account)
        except AnswerError as error:
            raise SourceError(f"{self.name}: account {own}: {error}") from None
        finally:
            api.close()
        return f"account {own} at {self.settings.base_url}"

    # ------------------------------------------------------------------------------------------------------- read

    def read(self, pages: Iterable[Page], day: date) -> Reading:
        """Kept pages → events, one row per record, and the provider's totals. Pages are taken as they come, in batches."""
        return whole(self.parts(pages, day))

    def parts(self, pages: Iterable[Page], day: date) -> Iterator[Reading]:
        """`read`, a batch at a time; the totals come last."""
        totals: list[pl.DataFrame] = []
        listed: set[tuple[str, str]] = set()
        fetched: set[tuple[str, str]] = set()
        small: dict[str, list[Page]] = defaultdict(list)
        size: dict[str, int] = defaultdict(int)
        waiting: dict[str, list[pl.DataFrame]] = defaultdict(list)
        height: dict[str, int] = defaultdict(int)

        def decode(resource: str) -> Iterator[Reading]:
            rows = self._rows(small.pop(resource))
            size[resource] = 0
            waiting[resource].append(rows)
            height[resource] += rows.height
            if height[resource] >= BATCH_ROWS:
                yield from flush(resource)

        def flush(resource: str) -> Iterator[Reading]:
            rows = pl.concat(waiting.pop(resource))
            height[resource] = 0
            try:
                if resource == "usage":
                    totals.append(to_ledger(rows, day))
                elif resource == "rooms":
                    listed.update(to_rooms(rows, day).rows())
                else:
                    # Sessions are asked for by room, so no date filter can have been ignored.
                    events = to_events(rows, resource, day, filtered=resource != "video")
                    yield Reading(events, LEDGER.empty())
            except SourceError as error:
                raise SourceError(f"{self.name}: {error}") from None

        for page in pages:
            if page.resource == "video":
                fetched.add((page.provider_account, self._room(page)))
            small[page.resource].append(page)
            size[page.resource] += len(page.body)
            if size[page.resource] >= TOGETHER_BYTES:
                yield from decode(page.resource)
        for resource in sorted(small):
            yield from decode(resource)
        for resource in sorted(waiting):
            yield from flush(resource)
        self._refuse_other_rooms(listed, fetched, day)
        ledger = LEDGER.arrange(settle_ledger(pl.concat(totals))) if totals else LEDGER.empty()
        yield Reading(EVENTS.empty(), ledger)

    def _rows(self, pages: list[Page]) -> pl.DataFrame:
        """The records of pages of one resource, as text."""
        spec = RESOURCES.get(pages[0].resource)
        if spec is None:
            raise SourceError(
                f"{self._place(pages[0])}: this source has no such list; was the page kept by another kind of source?"
            )
        if len(pages) == 1:
            rows = self._decoded(pages[0], spec)
            return rows.with_columns(pl.lit(text).alias(name) for name, text in self._facts(pages[0]).items())
        rows = together([page.body for page in pages], spec.key, spec.fields)
        if rows is None:
            each = (self._decoded(p, spec).with_columns(pl.lit(n, pl.Int32).alias(PAGE)) for n, p in enumerate(pages))
            rows = pl.concat(each)
        facts = pl.DataFrame([self._facts(page) for page in pages])
        return pl.concat([rows.drop(PAGE), facts[rows[PAGE]]], how="horizontal")

    def _facts(self, page: Page) -> dict[str, str]:
        """What every record of a page has in common."""
        of_room = {"asked_room": self._room(page)} if page.resource == "video" else {}
        return {"asked": page.provider_account, "raw_sha256": page.sha256, **of_room}

    def _decoded(self, page: Page, spec: Resource) -> pl.DataFrame:
        try:
            return records(page.body, spec.key, spec.fields)
        except Unreadable as error:
            raise SourceError(f"{self._place(page)}: {error}. The kept page is damaged: pull the day again") from None

    def _place(self, page: Page) -> str:
        return f"{self.name}: {page.resource} of {page.provider_account}, page {page.number}"

    def _room(self, page: Page) -> str:
        """The room a page of sessions was asked of: an empty list does not say."""
        found = _ROOM.search(urlsplit(page.url).path)
        if found is None:
            raise SourceError(f"{self._place(page)}: {page.url} names no room: pull the day again")
        return found[1]

    def _refuse_other_rooms(self, listed: set[tuple[str, str]], fetched: set[tuple[str, str]], day: date) -> None:
        """SourceError unless the sessions of exactly the rooms that were listed are there."""
        for account, room in sorted(listed ^ fetched):
            missing, extra = len(listed - fetched), len(fetched - listed)
            raise SourceError(
                f"{self.name}: video of {account} for {day}: of {len(listed)} room(s) listed, the participants of {missing} are "
                f"missing, and those of {extra} room(s) not listed are there, the first {room}: pull the day again"
            )


def _sessions_of(room: str, body: bytes) -> Peek:
    key = RESOURCES["video"].key
    if (records(body, key, ("room_sid",))["room_sid"] != room).any():
        raise Unreadable("the participants of another room")
    return peek(body, key, None, meta=True)


def _never_was(listing: Listing, error: AnswerError) -> bool:
    """An account has no totals, and lets nobody see its rooms, before it was opened or after it was closed."""
    if listing.resource == "usage":
        none = (error.status, error.code) == (404, NO_SUCH_RESOURCE)
    else:
        none = listing.resource == "rooms" and error.status in (401, 403, 404)
    return none and not listing.account.lived_on(listing.day)


def _pages_left(pages: int, first: str | None, dates: tuple[str | None, ...], day: date) -> int:
    """A guess at how many pages follow the first ``pages`` of a list ordered by date, whose first record is of ``first``: as
    many as the part of the day still to come says; without dates as many again. At least 1."""
    begin, here = _seconds(first), _seconds(dates[-1] if dates else None)
    if begin is None or here is None:
        return pages
    midnight = int(datetime.combine(day, time(), UTC).timestamp())
    to_come = here - midnight if here <= begin else midnight + 86_400 - here
    return min(max(pages * to_come // max(abs(begin - here), 1), 1), MAX_PAGES)


def _seconds(text: str | None) -> int | None:
    """A date of a record → seconds since 1970; None if it cannot be read. Good enough for a guess."""
    try:
        moment = datetime.fromisoformat(text) if text[:4].isdecimal() else parsedate_to_datetime(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None


def _date(text: str | None) -> date | None:
    if not text:
        return None
    try:
        if text[:4].isdecimal():
            return date.fromisoformat(text[:10])
        if re.search(r" 00\d\d ", text):
            return None  # of the year 1, which the parser takes for 2001; `read` sees what it is
        moment = parsedate_to_datetime(text)
        return (moment.astimezone(UTC) if moment.tzinfo else moment).date()
    except (ValueError, OverflowError):
        return None


def _account_page(body: bytes) -> tuple[list[Account], str | None]:
    page = peek(body, "accounts", "date_created")
    rows = records(body, "accounts", ("sid", "status", "date_created", "date_updated"))
    return [_account(row) for row in rows.iter_rows(named=True)], page.next_uri


def _one_account(body: bytes) -> Account:
    wrapped = b'{"accounts":[' + body.removeprefix(b"\xef\xbb\xbf") + b"]}"
    rows = records(wrapped, "accounts", ("sid", "status", "date_created", "date_updated"))
    if rows.height != 1:
        raise Unreadable("no account in the answer")
    return _account(rows.row(0, named=True))


def _account(row: dict) -> Account:
    if not re.fullmatch(SAFE_ID, row["sid"] or ""):
        raise Unreadable("an account whose SID is missing or not letters and digits")
    closed = _date(row["date_updated"]) if row["status"] == "closed" else None
    return Account(row["sid"], _date(row["date_created"]), closed)
