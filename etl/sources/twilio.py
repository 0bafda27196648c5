"""Twilio, and services that speak its API: every list of every sub-account for one UTC day.

The lists have no "changed since", so a day is read whole each time. Video is a list of rooms, and for each room the list of
its participants' sessions. See docs/sources.md for the facts relied on.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import re
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from email.utils import parsedate_to_datetime
from itertools import count, islice
from typing import Literal
from urllib.parse import urlencode, urlsplit

import httpx
import polars as pl
from pydantic import Field, field_validator

from etl.settings import SAFE_ID, ConfigurationError, Connection, Section
from etl.sources import Context, Page, Reading, SourceError
from etl.sources._decode import PAGE, Peek, Unreadable, peek, records, together
from etl.sources._http import AnswerError, Api, Stopped, check_base_url
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

log = logging.getLogger(__name__)

ROOT = "/2010-04-01/Accounts"
MAX_PAGES = 100_000
"""Per list: more is a provider that never ends."""
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

        Pages pass through a short queue, so memory stays flat. The first failure stops all and raises SourceError.
        """
        stop = threading.Event()
        who, own = self._login()
        workers = self.settings.concurrency
        api = self._open(self.settings.base_url, who, stop)
        video = api if self.settings.video_url == api.base_url else self._open(self.settings.video_url, who, stop)
        rooms = ThreadPoolExecutor(workers, thread_name_prefix=f"{self.name}-rooms")

        def pages_of(account: Account, resource: str) -> Iterator[Page]:
            if resource == "video":
                login = who.login if account.sid == own else account.sid
                return self._sessions(video, rooms, account, login, day)
            return self._pages(self._list(api, account, resource, day))

        try:
            accounts = self._accounts(api, own)
            chains = (pages_of(account, resource) for account in accounts for resource in self.settings.resources)
            yield from self._drain(chains, workers, stop)
        finally:
            stop.set()
            rooms.shutdown(cancel_futures=True)
            api.close()
            video.close()

    def _drain(self, chains: Iterator[Iterator[Page]], workers: int, stop: threading.Event) -> Iterator[Page]:
        """The pages of all chains, ``workers`` of them at a time."""
        pages: queue.Queue[Page | BaseException | None] = queue.Queue(maxsize=2 * workers)
        turn = threading.Lock()

        def put(item: Page | BaseException | None) -> None:
            while not stop.is_set():
                try:
                    return pages.put(item, timeout=0.2)
                except queue.Full:
                    continue
            raise Stopped

        def work() -> None:
            try:
                while True:
                    with turn:
                        chain = next(chains, None)
                    if chain is None:
                        break
                    for page in chain:
                        put(page)
                put(None)
            except Stopped:
                return
            except BaseException as error:  # noqa: BLE001 - handed to the consumer, who raises it
                with suppress(Stopped):  # somebody else's error is on its way already
                    put(error)

        threads = [threading.Thread(target=work, name=f"{self.name}-{i}", daemon=True) for i in range(workers)]
        for thread in threads:
            thread.start()
        try:
            running = workers
            while running:
                item = pages.get()
                if isinstance(item, BaseException):
                    raise item
                if item is None:
                    running -= 1
                else:
                    yield item
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _list(self, api: Api, account: Account, resource: str, day: date) -> Listing:
        """One list of the account-addressed API."""
        spec = RESOURCES[resource]
        prefix = f"{ROOT}/{account.sid}/"
        url = api.url(f"{prefix}{spec.path}?{urlencode(self._query(resource, day))}")

        def get(url: str) -> tuple[bytes, Peek]:
            return api.get(url, lambda body: peek(body, spec.key, spec.date_field))

        return Listing(resource, account, day, url, get, lambda uri: api.follow(uri, prefix))

    def _sessions(self, api: Api, pool: ThreadPoolExecutor, account: Account, login: str, day: date) -> Iterator[Page]:
        """The pages of rooms, then of each room's sessions in the order of the rooms, the first ones asked for ahead."""
        spec, path = RESOURCES["rooms"], RESOURCES["rooms"].path
        listing = Listing(
            "rooms", account, day, api.url(f"{path}?{urlencode(self._query('rooms', day))}"),
            lambda url: api.get(url, lambda body: peek(body, spec.key, spec.date_field, meta=True), login=login),
            lambda uri: api.follow(uri, path, exact=True),
        )  # fmt: skip
        rooms: dict[str, None] = {}
        for page in self._pages(listing):
            rooms |= dict.fromkeys(self._rooms(page, day))
            yield page

        def ask(room: str) -> Listing:
            path = RESOURCES["video"].path.format(room=room)
            url = api.url(f"{path}?{urlencode({'PageSize': self.settings.page_size})}")

            def get(url: str) -> tuple[bytes, Peek]:
                return api.get(url, lambda body: _sessions_of(room, body), login=login)

            first = pool.submit(get, url)
            return Listing(
                "video", account, day, url, lambda asked: first.result() if asked == url else get(asked),
                lambda uri: api.follow(uri, path, exact=True), f", room {room}",
            )  # fmt: skip

        numbers = count()
        left = iter(rooms)
        ahead = deque(map(ask, islice(left, 2 * self.settings.concurrency)))
        while ahead:
            listing = ahead.popleft()
            ahead.extend(map(ask, islice(left, 1)))
            yield from self._pages(listing, numbers)

    def _pages(self, listing: Listing, numbers: Iterator[int] | None = None) -> Iterator[Page]:
        """The pages of one list, following what each names as the next. ``numbers``: theirs, where several lists share them."""
        resource, account, url = listing.resource, listing.account, listing.url
        seen: set[str] = set()
        first_number = 0
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
                first_number = page.page or 0
            yield Page(resource, account.sid, number if numbers is None else next(numbers), url, body)
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
        events: list[pl.DataFrame] = []
        totals: list[pl.DataFrame] = []
        listed: set[tuple[str, str]] = set()
        fetched: set[tuple[str, str]] = set()
        small: dict[str, list[Page]] = defaultdict(list)
        size: dict[str, int] = defaultdict(int)
        waiting: dict[str, list[pl.DataFrame]] = defaultdict(list)
        height: dict[str, int] = defaultdict(int)

        def decode(resource: str) -> None:
            rows = self._rows(small.pop(resource))
            size[resource] = 0
            waiting[resource].append(rows)
            height[resource] += rows.height
            if height[resource] >= BATCH_ROWS:
                flush(resource)

        def flush(resource: str) -> None:
            rows = pl.concat(waiting.pop(resource))
            height[resource] = 0
            try:
                if resource == "usage":
                    totals.append(to_ledger(rows, day))
                elif resource == "rooms":
                    listed.update(to_rooms(rows, day).rows())
                else:
                    # Sessions are asked for by room, so no date filter can have been ignored.
                    events.append(to_events(rows, resource, day, filtered=resource != "video"))
            except SourceError as error:
                raise SourceError(f"{self.name}: {error}") from None

        for page in pages:
            if page.resource == "video":
                fetched.add((page.provider_account, self._room(page)))
            small[page.resource].append(page)
            size[page.resource] += len(page.body)
            if size[page.resource] >= TOGETHER_BYTES:
                decode(page.resource)
        for resource in sorted(small):
            decode(resource)
        for resource in sorted(waiting):
            flush(resource)
        self._refuse_other_rooms(listed, fetched, day)
        return Reading(
            pl.concat(events) if events else EVENTS.empty(),
            LEDGER.arrange(settle_ledger(pl.concat(totals))) if totals else LEDGER.empty(),
        )

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
