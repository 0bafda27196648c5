"""Twilio, and services that speak its API: every list of every sub-account for one UTC day.

The lists have no "changed since", so a day is read whole each time. See docs/sources.md for the facts relied on.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import urlencode

import httpx
import polars as pl
from pydantic import Field, field_validator

from etl.settings import SAFE_ID, ConfigurationError, Section
from etl.sources import Context, Page, Reading, SourceError
from etl.sources._decode import Peek, Unreadable, peek, records
from etl.sources._http import AnswerError, Api, Stopped, check_base_url
from etl.sources._records import BATCH_ROWS, EVENTS, LEDGER, RESOURCES, settle_ledger, to_events, to_ledger

log = logging.getLogger(__name__)

ROOT = "/2010-04-01/Accounts"
MAX_PAGES = 100_000
"""Per list: more is a provider that never ends."""
NO_SUCH_RESOURCE = 20404

ResourceName = Literal["messages", "calls", "recordings", "numbers", "usage"]


class Settings(Section):
    """Keys of ``[sources.<name>]`` with ``kind = "twilio"``."""

    connection: str = Field(
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="login: account SID and password: auth token; or an API key (SK…) with extra account_sid",
    )
    base_url: str = Field("https://api.twilio.com", description="of a service that speaks Twilio's API")
    resources: tuple[ResourceName, ...] = Field(("messages", "calls", "recordings", "numbers", "usage"), min_length=1)
    subaccounts: bool = Field(True, description="also read every sub-account, suspended and closed ones included")
    concurrency: int = Field(4, ge=1, le=16, description="requests at a time; the provider limits these, not the rate")
    page_size: int = Field(1000, ge=1, le=1000)
    timeout_seconds: int = Field(60, ge=1, le=600)
    attempts: int = Field(8, ge=1, le=20, description="tries for one request, with growing pauses")

    _base_url = field_validator("base_url")(check_base_url)

    @field_validator("resources")
    @classmethod
    def _each_once(cls, resources: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(resources)) != len(resources):
            raise ValueError("name each resource once")
        return resources


@dataclass(frozen=True)
class Account:
    """What is kept of a provider account. Its auth token is not."""

    sid: str
    created: date | None = None
    closed: date | None = None

    def lived_on(self, day: date) -> bool:
        return not ((self.created and day < self.created) or (self.closed and day > self.closed))


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
        api, own = self._api(stop)
        try:
            accounts = self._accounts(api, own)
            chains = iter([(account, resource) for account in accounts for resource in self.settings.resources])
            yield from self._drain(api, chains, day, stop)
        finally:
            stop.set()
            api.close()

    def _drain(
        self, api: Api, chains: Iterator[tuple[Account, str]], day: date, stop: threading.Event
    ) -> Iterator[Page]:
        workers = self.settings.concurrency
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
                    for page in self._chain(api, *chain, day):
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

    def _chain(self, api: Api, account: Account, resource: str, day: date) -> Iterator[Page]:
        """The pages of one list, following what each names as the next."""
        spec = RESOURCES[resource]
        prefix = f"{ROOT}/{account.sid}/"
        url = api.url(f"{prefix}{spec.path}?{urlencode(self._query(resource, day))}")
        seen: set[str] = set()
        first_number = 0
        for number in range(MAX_PAGES):
            try:
                body, page = api.get(url, lambda body: peek(body, spec.key, spec.date_field))
                self._check_paging(page, number, first_number, seen, url, body)
                self._check_dates(page, resource, day)
                following = api.follow(page.next_uri, prefix) if page.next_uri else None
            except AnswerError as error:
                never = resource == "usage" and (error.status, error.code) == (404, NO_SUCH_RESOURCE)
                if never and not account.lived_on(day):
                    return  # an account has no totals before it was opened or after it was closed
                raise SourceError(
                    f"{self.name}: {resource} of {account.sid} for {day}, page {number}: {error}"
                ) from None
            if number == 0:
                first_number = page.page or 0
            yield Page(resource, account.sid, number, url, body)
            if following is None:
                return
            url = following
        raise SourceError(
            f"{self.name}: {resource} of {account.sid} for {day}: more than {MAX_PAGES} pages, it does not end"
        )

    def _query(self, resource: str, day: date) -> dict[str, str]:
        """Bounds are whole dates, one day more than asked: what `<` means at midnight is documented both ways."""
        size = {"PageSize": str(self.settings.page_size)}
        after = (day + timedelta(days=1)).isoformat()
        if resource == "usage":
            return {"StartDate": day.isoformat(), "EndDate": day.isoformat(), "IncludeSubaccounts": "false", **size}
        if resource == "numbers":
            return size
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

    def _api(self, stop: threading.Event) -> tuple[Api, str]:
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
        settings = self.settings
        api = Api(
            settings.base_url, connection.login, connection.password, timeout_seconds=settings.timeout_seconds,
            attempts=settings.attempts, concurrency=settings.concurrency, stop=stop, turns=self._turns,
            transport=self._transport,
        )  # fmt: skip
        return api, own

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
        stop = threading.Event()
        api, own = self._api(stop)
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
        waiting: dict[str, list[pl.DataFrame]] = defaultdict(list)
        height: dict[str, int] = defaultdict(int)

        def flush(resource: str) -> None:
            rows = pl.concat(waiting.pop(resource))
            height[resource] = 0
            if resource == "usage":
                totals.append(to_ledger(rows, day))
            else:
                events.append(to_events(rows, resource, day, filtered=True))

        for page in pages:
            waiting[page.resource].append(self._rows(page))
            height[page.resource] += waiting[page.resource][-1].height
            if height[page.resource] >= BATCH_ROWS:
                flush(page.resource)
        try:
            for resource in sorted(waiting):
                flush(resource)
        except SourceError as error:
            raise SourceError(f"{self.name}: {error}") from None
        return Reading(
            pl.concat(events) if events else EVENTS.empty(),
            LEDGER.arrange(settle_ledger(pl.concat(totals))) if totals else LEDGER.empty(),
        )

    def _rows(self, page: Page) -> pl.DataFrame:
        spec = RESOURCES.get(page.resource)
        where = f"{self.name}: {page.resource} of {page.provider_account}, page {page.number}"
        if spec is None:
            raise SourceError(f"{where}: this source has no such list; was the page kept by another kind of source?")
        try:
            rows = records(page.body, spec.key, spec.fields)
        except Unreadable as error:
            raise SourceError(f"{where}: {error}. The kept page is damaged: pull the day again") from None
        return rows.with_columns(asked=pl.lit(page.provider_account), raw_sha256=pl.lit(page.sha256))


def _date(text: str | None) -> date | None:
    if not text:
        return None
    try:
        if text[:4].isdecimal():
            return date.fromisoformat(text[:10])
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
