"""Nights of two small customers against a provider that misbehaves over real sockets: what is served, what is kept."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import re
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import polars as pl

REPOSITORY = Path(__file__).resolve().parents[2]
# The provider of the source tests, and its records.
sys.path.insert(0, str(REPOSITORY / "tests" / "sources"))

from sources_fake import (  # noqa: E402
    CHILD,
    DAY,
    MAIN,
    PASSWORD,
    Fake,
    account,
    call,
    message,
    number,
    recording,
    session,
    stamp,
    usage,
)  # fmt: skip

from etl.jobs import Jobs  # noqa: E402
from etl.periods import Month  # noqa: E402
from etl.settings import Connection  # noqa: E402
from etl.sources._records import RESOURCES  # noqa: E402

NEXT = DAY + timedelta(days=1)
MONTH = Month.of(DAY)
COMPUTED = ("events", "ledger", "charges", "daily", "reconciled", "statement")

SETTINGS = """\
start = {start}
directory = "directory"
rates = "rates"
settle_hours = 0

[lake]
url = "lake"

[sources.twilio]
kind = "twilio"
connection = "twilio"
base_url = "{url}"
page_size = 2
attempts = 3
timeout_seconds = 10
concurrency = 2

[reports.store]
url = "published"
"""
ACCOUNTS = f"""\
account_id,name,company,currency,rate_card,email_to,provider_account_sid
acme,Acme,,USD,standard,a@acme.example,{MAIN}
bolt,Bolt,,USD,standard,b@bolt.example,{CHILD}
"""
DIRECTORY = {
    "accounts.csv": ACCOUNTS,
    "owners.csv": "account_id,owner_kind,owner_id,name\n",
    "numbers.csv": "number_e164,account_id,owner_kind,owner_id,campaign_id,registered,number_class,valid_from,valid_to\n",
    "campaigns.csv": "account_id,campaign_id,name,voice_detection\n",
}

Fault = Callable[[httpx.Request], "httpx.Response | Wire | None"]
Wire = Callable[[BaseHTTPRequestHandler], None]


class Provider(Fake):
    """The provider of the source tests on a port of this machine. A fault may also answer with a function of the handler,
    which then writes whatever it likes on the wire."""

    url = ""
    by_day = True
    """Whether lists hold the records of the day asked for alone; else those of any day."""

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Lists that are asked for a day hold what is of it, and what says of no day."""
        asked = next(
            (v for k, v in request.url.params.items() if k in ("DateSent>", "StartTime>", "DateCreated>")), None
        )
        if asked and self.by_day:
            field = {"M": "date_sent", "C": "start_time", "R": "date_created"}[request.url.path.rsplit("/", 1)[1][0]]
            of_day = {
                key: [row for row in rows if _day(row, field) in (asked, None)] for key, rows in self.rows.items()
            }
            answering = Fake()
            answering.accounts, answering.rows = self.accounts, of_day
            return answering.answer(request)
        return super().answer(request)

    def reset(self) -> Provider:
        """Two accounts with a usual day, and no fault."""
        self.__init__()
        self.by_day = True
        self.accounts = [account(), account(CHILD)]
        texts = [message(1), message(2, num_segments="3", price="-0.02370"), message(3, direction="inbound"),
                 message(4, status="undelivered"), message(5)]  # fmt: skip
        self.put("messages", texts).put("calls", [call(1), call(2, direction="inbound")])
        self.put("recordings", [recording(1)]).put("numbers", [number(1)])
        self.meet({1: [session(1), session(2)]})
        self.put("messages", [message(11), message(12)], CHILD)
        return self


def _day(row: object, field: str) -> str | None:
    """The UTC day of a record, None where it says none that can be read."""
    try:
        moment = parsedate_to_datetime(row[field])
        return moment.astimezone(UTC).date().isoformat() if moment.tzinfo and 2020 < moment.year < 2100 else None
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError):
        return None


@contextlib.contextmanager
def provider_running() -> Iterator[Provider]:
    """A `Provider` that listens until the block ends."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer = provider(httpx.Request("GET", provider.url + self.path, headers=list(self.headers.items())))
            if not isinstance(answer, httpx.Response):
                self.close_connection = True
                answer(self)
                return
            body = b"".join(answer.stream)
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name not in ("content-length", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the client had enough
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def on(path: str, answer: object, *, page: int | None = None, times: int = 0) -> Fault:
    """A fault for requests whose path holds ``path`` (and whose Page is ``page``), ``times`` times, 0 for ever.

    ``answer``: a Response, a function of the request that returns one, or a `Wire` made by `wire`."""
    acted = [0]
    lock = threading.Lock()

    def fault(request: httpx.Request):
        if path not in request.url.path or (page is not None and int(request.url.params.get("Page", 0)) != page):
            return None
        with lock:
            if times and acted[0] >= times:
                return None
            acted[0] += 1
        made = answer(request) if callable(answer) and not getattr(answer, "wire", False) else answer
        return (
            httpx.Response(made.status_code, headers=made.headers, content=b"".join(made.stream))
            if isinstance(made, httpx.Response)
            else made
        )

    return fault


def wire(work: Wire) -> Wire:
    """Marks a function of the handler as an answer in itself."""
    work.wire = True
    return work


def changed(provider: Provider, path: str, change: Callable[[bytes], bytes], **more) -> Fault:
    """The provider's own answer with other bytes."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=change(provider.answer(request).content))

    return on(path, answer, **more)


class Place:
    """A folder with settings, directory, rate card and lake, and the verbs on it."""

    def __init__(
        self, folder: Path, url: str, *, start: date = date(2026, 11, 1), directory: dict | None = None
    ) -> None:
        self.folder = folder
        self.now = datetime(2026, 11, 23, 6, tzinfo=UTC)
        (folder / "directory").mkdir(parents=True)
        shutil.copytree(REPOSITORY / "config" / "rates", folder / "rates")
        for name, text in (DIRECTORY | (directory or {})).items():
            (folder / "directory" / name).write_text(text, encoding="utf-8")
        (folder / "tollbook.toml").write_text(SETTINGS.format(start=start, url=url))

    def jobs(self, **options) -> Jobs:
        given = {
            "run_id": "faults",
            "resolve": lambda _: Connection(login=MAIN, password=PASSWORD),
            "clock": lambda: self.now,
        }
        return Jobs.open(self.folder / "tollbook.toml", **(given | options))

    def night(self, *days: date, **options) -> Jobs:
        """Loads the days, oldest first, and states their months. Returns the verbs."""
        jobs = self.jobs(**options)
        for day in days or (DAY,):
            jobs.run_day(day)
        jobs.moved(days or (DAY,))
        for month in sorted({Month.of(day) for day in days or (DAY,)}):
            jobs.state(month)
        return jobs

    # ------------------------------------------------------------------------------------------------- what is kept

    def files(self) -> dict[str, str]:
        """Every file of the lake with its sha256, but for what a broken write left in the temporary folder."""
        lake = self.folder / "lake"
        found = (p for p in sorted(lake.rglob("*")) if p.is_file() and ".tmp" not in p.relative_to(lake).parts)
        return {p.relative_to(lake).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}

    def heads(self, jobs: Jobs | None = None) -> dict[str, str]:
        """Every computed partition with the sha256 of its rows: what two nights with the same outcome share."""
        jobs = jobs or self.jobs()
        return {v.partition.path: v.sha256 for d in COMPUTED for v in jobs.lake.heads(d).values()}

    def events(self, day: date = DAY) -> pl.DataFrame:
        from etl.lake import Partition

        jobs = self.jobs()
        return jobs.lake.read(jobs.lake.head(Partition.of("events", date=day, source="twilio")))

    def billed(self, day: date = DAY) -> dict[tuple[str, str], tuple[int, object]]:
        """(account, line) → (quantity, charge) of a day."""
        from etl.lake import Partition

        jobs = self.jobs()
        daily = jobs.lake.read(jobs.lake.head(Partition.of("daily", date=day)))
        grouped = daily.group_by("account_id", "line").agg(pl.col("quantity").sum(), pl.col("charge").sum())
        return {(a, line): (quantity, charge) for a, line, quantity, charge in grouped.iter_rows()}

    def conserved(self, day: date = DAY) -> Counter:
        """Outcomes of the day, once it is shown that every record of every kept page ended exactly once: counted from the
        pages with nothing but gzip and json."""
        from etl.lake import Partition

        jobs = self.jobs()
        raw = jobs.lake.read(jobs.lake.head(Partition.of("raw", date=day, source="twilio")))
        written = Counter()
        for row in raw.iter_rows(named=True):
            if row["resource"] in ("usage", "rooms"):
                continue
            (pack,) = (self.folder / "lake").rglob(f"{row['object_sha256']}.gz")
            member = pack.read_bytes()[row["object_offset"] :][: row["object_bytes"]]
            body = gzip.decompress(member)
            assert hashlib.sha256(body).hexdigest() == row["sha256"]
            text = body.decode("utf-8", "replace").removeprefix("\ufeff")
            written[row["sha256"]] += len(
                json.loads(text, parse_int=str, parse_float=str)[RESOURCES[row["resource"]].key]
            )
        head = jobs.lake.head(Partition.of("events", date=day, source="twilio"))
        events = jobs.lake.read(head).filter(~pl.col("vanished"))
        assert events.select("kind", "record_id").is_duplicated().sum() == 0
        duplicates = int(head.sums["duplicates"])
        assert events.height + duplicates == sum(written.values()), "every raw record ends once"
        assert events.select("raw_sha256", "raw_index").is_duplicated().sum() == 0
        assert set(events["raw_sha256"]) <= set(written)
        held = events.filter(pl.col("outcome") != "accepted")["reason"]
        assert held.null_count() == 0 and all(re.fullmatch(r"[a-z_]+(; [a-z_]+)*", reason) for reason in held)
        return Counter(events["outcome"].to_list())


def at(clock: str, day: date = DAY) -> datetime:
    return datetime.fromisoformat(f"{day}T{clock}+00:00")


__all__ = [
    "CHILD", "DAY", "MAIN", "MONTH", "NEXT", "PASSWORD", "REPOSITORY", "Place", "Provider", "account", "at", "call", "changed",
    "message", "number", "on", "provider_running", "recording", "session", "stamp", "usage", "wire",
]  # fmt: skip
