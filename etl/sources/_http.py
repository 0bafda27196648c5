"""Asking an API of JSON pages: one origin only, retries that back off together, bounded answers, no secret in any text."""

from __future__ import annotations

import logging
import random
import re
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import urlsplit

import httpx

from etl.sources import SourceError
from etl.sources._decode import Unreadable

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_PAGE_BYTES = 64 << 20
FIRST_DELAY = 0.5
LONGEST_DELAY = 30
LONGEST_RETRY_AFTER = 60
RETRIED = frozenset((408, 425, 429, 500, 502, 503, 504))
REFUSED_TRIES = 2
"""A 401 is asked once more: the provider's edge sends stray ones."""
SLOWEST = 5
"""A whole answer may take this many times the time-out, however steadily it drips."""

_PATH = re.compile(r"\A/[A-Za-z0-9._~/-]*\Z")
_QUERY = re.compile(r"\A[!-~]*\Z")


class Stopped(Exception):
    """Another request failed; this one is no longer wanted."""


class AnswerError(SourceError):
    """The request failed for good. ``status`` and the provider's ``code`` say how, where there was an answer."""

    def __init__(self, text: str, status: int | None = None, code: int | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.code = code


def check_base_url(url: str) -> str:
    """``url`` without its trailing slash. ValueError unless it is https (http on this machine only) and nothing but an
    origin and a path."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(f"{url!r} is no URL: write https://api.example.com") from None
    if parts.username or parts.password or "@" in parts.netloc:
        raise ValueError("the URL must hold no user name or password: they belong into the connection")
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not parts.hostname or parts.scheme not in ("https", "http"):
        raise ValueError(f"{url!r} is no URL of a service: write https://api.example.com")
    if parts.scheme == "http" and not local:
        raise ValueError(f"{url!r} would send the password unencrypted: use https (http is for this machine only)")
    if parts.query or parts.fragment or not _PATH.match(parts.path or "/"):
        raise ValueError(f"{url!r}: only a host and a path, such as https://example.com/api")
    return url.rstrip("/")


class Api:
    """GET requests to one origin with one login. Safe to share between threads; close it after use.

    ``stop`` ends every wait. ``turns`` is shared by clients that together may ask ``concurrency`` things at a time. Redirects are errors: a provider's list does not move, a man in the middle's does.
    """

    def __init__(
        self,
        base_url: str,
        login: str,
        password: str,
        *,
        timeout_seconds: int,
        attempts: int,
        concurrency: int,
        stop: threading.Event,
        turns: threading.Semaphore | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.base_url = base_url
        self._origin = urlsplit(base_url)
        self._password = password
        self._timeout = timeout_seconds
        self._attempts = attempts
        self._stop = stop
        self._turns = turns or threading.Semaphore(concurrency)
        self._not_before = 0.0
        self._lock = threading.Lock()
        self._client = httpx.Client(
            auth=httpx.BasicAuth(login, password),
            timeout=httpx.Timeout(timeout_seconds),
            limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
            headers={"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "tollbook"},
            follow_redirects=False,
            trust_env=False,  # no proxy, certificate store or .netrc from the environment
            transport=transport,
        )

    def close(self) -> None:
        self._client.close()

    def url(self, path_and_query: str) -> str:
        return f"{self.base_url}{path_and_query}"

    def follow(self, uri: str, prefix: str, *, exact: bool = False) -> str:
        """The URL a page names as its next, if it stays on this origin and under ``prefix`` (``exact``: is that path).
        AnswerError otherwise."""
        base_path = self._origin.path
        try:
            parts = urlsplit(uri)
            port = parts.port
        except ValueError:
            raise AnswerError("its next page is no URL") from None
        foreign = bool(parts.scheme or parts.netloc) and (
            (parts.scheme, parts.hostname, port, "@" in parts.netloc)
            != (self._origin.scheme, self._origin.hostname, self._origin.port, False)
        )
        if foreign:
            raise AnswerError(
                f"its next page leads to {parts.scheme or 'another'}://{_shown(parts.hostname)}, not to "
                f"{self._origin.scheme}://{self._origin.netloc}: not followed, the password would go there. Tell the provider"
            )
        path = parts.path
        if base_path and path.startswith(prefix):
            path = base_path + path
        whole = (
            len(uri) <= 4096
            and _PATH.match(path)
            and _QUERY.match(parts.query)
            and not parts.fragment
            and not any(step in ("", ".", "..") for step in path.split("/")[1:])
        )
        stays = path == base_path + prefix if exact else path.startswith(base_path + prefix)
        if not whole or not stays:
            raise AnswerError(f"its next page leaves {base_path}{prefix}: not followed. Tell the provider")
        return f"{self._origin.scheme}://{self._origin.netloc}{path}" + (f"?{parts.query}" if parts.query else "")

    def get(self, url: str, check: Callable[[bytes], T], *, login: str | None = None) -> tuple[bytes, T]:
        """The body of a 200 answer that ``check`` accepts (it raises Unreadable), and what ``check`` made of it.
        ``login`` asks in another account's name, with the same password.

        Transport faults, 429, 5xx and unreadable answers are asked again. AnswerError when that does not help.
        """
        refused = 0
        trouble = ""
        for attempt in range(1, self._attempts + 1):
            self._wait_turn()
            delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** (attempt - 1)) * random.uniform(0.5, 1)  # noqa: S311
            status, code = None, None
            try:
                status, headers, body = self._once(url, login)
                if status == 200:
                    return body, check(body)
                code = _code(body)
                if status == 401:
                    refused += 1
                trouble = f"HTTP {status}" + (f" (code {code})" if code else "")
                if status not in RETRIED and not (status == 401 and refused < REFUSED_TRIES):
                    raise AnswerError(f"{trouble}. {_remedy(status, code)}", status, code)
                if asked := retry_after(headers.get("retry-after")):
                    delay = max(delay, asked)
                if status == 429:
                    self._everyone_waits(delay)
            except Unreadable as error:
                trouble = f"answered with {error}"
            except httpx.HTTPError as error:
                if _untrusted(error):
                    raise AnswerError(
                        "the server's certificate is not trusted: nothing was sent. Check base_url, and what stands between"
                    ) from None
                trouble = f"the connection failed ({type(error).__name__})"
            if attempt < self._attempts:
                log.info("%s: attempt %d of %d; next in %.1f s", trouble, attempt, self._attempts, delay)
                self._pause(delay)
        raise AnswerError(
            f"{trouble}, {self._attempts} times in a row. Run the day again later; if it lasts, see the provider's status page",
            status,
            code,
        )

    def _once(self, url: str, login: str | None) -> tuple[int, httpx.Headers, bytes]:
        deadline = time.monotonic() + SLOWEST * self._timeout
        auth = httpx.BasicAuth(login, self._password) if login else httpx.USE_CLIENT_DEFAULT
        with self._turns, self._client.stream("GET", url, auth=auth) as answer:
            if answer.is_redirect or 300 <= answer.status_code < 400:
                return answer.status_code, answer.headers, b""
            if answer.headers.get("content-encoding", "gzip").strip().lower() not in ("gzip", "identity", ""):
                # Packed twice, a few kilobytes unpack to gigabytes at once, before any of it can be counted.
                raise Unreadable("an answer packed in a way that was not asked for")
            chunks, size = [], 0
            for chunk in answer.iter_bytes(1 << 16):
                size += len(chunk)
                if size > MAX_PAGE_BYTES:
                    raise AnswerError(f"an answer of more than {MAX_PAGE_BYTES >> 20} MiB: not read. Lower page_size")
                if self._stop.is_set():
                    raise Stopped
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the answer drips")
                chunks.append(chunk)
            return answer.status_code, answer.headers, b"".join(chunks)

    def _wait_turn(self) -> None:
        while (left := self._not_before - time.monotonic()) > 0:
            self._pause(left)
        if self._stop.is_set():
            raise Stopped

    def _everyone_waits(self, seconds: float) -> None:
        with self._lock:
            self._not_before = max(self._not_before, time.monotonic() + seconds)

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Stopped


def retry_after(value: str | None) -> float | None:
    """Seconds to wait by a ``Retry-After`` header (seconds or an HTTP date): 0 to `LONGEST_RETRY_AFTER`; None if it says
    nothing usable."""
    if not value:
        return None
    value = value.strip()
    if value.isdecimal() and value.isascii():
        return min(int(value[:12]), LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max((moment - datetime.now(UTC)).total_seconds(), 0), LONGEST_RETRY_AFTER)


def _code(body: bytes) -> int | None:
    """The provider's error number; its message is left out, it may quote a number or a text."""
    found = re.search(rb'"code"\s*:\s*([0-9]{1,6})\b', body[:4096])
    return int(found[1]) if found else None


def _remedy(status: int, code: int | None) -> str:
    if status in (401, 403):
        return "The credentials are refused: check login and password of the connection, and that they may read this account"
    if code == 20004:
        return (
            "The day is older than the provider keeps (400 days): load it from an export with a source of kind 'files'"
        )
    if 300 <= status < 400:
        return "The answer is a redirect, which is not followed: check base_url"
    if status == 404:
        return "There is no such list: check base_url and that the account still exists"
    return "The provider does not take this request; its code is explained in its error dictionary"


def _untrusted(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _shown(host: str | None) -> str:
    return re.sub(r"[^A-Za-z0-9.:-]", "?", host or "")[:80]
