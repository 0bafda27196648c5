"""Export files in a folder or bucket: Twilio's console CSV and its BulkExport JSON lines, plain or gzipped.

A page is one file, as it lies there. A broken file fails the day; a broken line is quarantined.
"""

from __future__ import annotations

import codecs
import csv
import fnmatch
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

import polars as pl
from isal import igzip, igzip_lib
from pydantic import Field, field_validator

from etl.settings import LATEST_DAYS, SAFE_ID, ConfigurationError, Section, StoreSettings
from etl.sources import Context, Page, Reading, SourceError, whole
from etl.sources._decode import BAD_LINE, INDEX, PROBLEM, lines
from etl.sources._moved import OTHER_DAY
from etl.sources._packs import GZIP
from etl.sources._records import BATCH_ROWS, EVENTS, LEDGER, RESOURCES, to_events

FORMS = (".csv", ".json", ".jsonl", ".ndjson")
"""Endings we read, with or without .gz: CSV by its header, JSON one record a line."""
MAX_FILE_BYTES = 2 << 30
MAX_UNPACKED_BYTES = 4 << 30
MAX_RATIO = 250
"""Unpacked to packed size: usage logs reach about 30, a bomb a thousand."""
RATIO_AFTER_BYTES = 8 << 20
MAX_LINE_BYTES = 1 << 20
MAX_CELL = 1 << 17
CHUNK = 1 << 20
BATCH_BYTES = 16 << 20
"""Unpacked lines taken apart at once."""
CHECK_BYTES = 4 << 20

# A header as people and exports write it → our field. Compared without case, spaces and punctuation.
HEADERS = {
    "messages": {
        "sid": ("sid", "messagesid"), "account_sid": ("accountsid",), "from": ("from",), "to": ("to",), "body": ("body",),
        "status": ("status",), "direction": ("direction",), "num_segments": ("numsegments", "segments"),
        "num_media": ("nummedia",), "price": ("price",), "price_unit": ("priceunit", "currency"),
        "error_code": ("errorcode",), "date_sent": ("sentdate", "datesent"), "date_updated": ("dateupdated", "updateddate"),
    },
    "calls": {
        "sid": ("sid", "callsid"), "account_sid": ("accountsid",), "from": ("from",), "to": ("to",), "status": ("status",),
        "direction": ("direction",), "duration": ("duration",), "price": ("price",), "price_unit": ("priceunit", "currency"),
        "answered_by": ("answeredby",), "parent_call_sid": ("parentcallsid",), "start_time": ("starttime",),
        "end_time": ("endtime",), "date_updated": ("dateupdated",),
    },
}  # fmt: skip
SAID = ("member", "inbox", "campaign", "carrier", "registered")
"""What a record may say of itself, where ``columns`` names a field for it: ids of directory/owners.csv, a campaign's id (or
true), the other party's carrier, whether our number is registered."""
REQUIRED = {
    "messages": ("sid", "from", "to", "status", "direction", "date_sent"),
    "calls": ("sid", "from", "to", "status", "direction", "duration", "start_time"),
}


class Settings(Section):
    """Keys of ``[sources.<name>]`` with ``kind = "files"``."""

    store: StoreSettings = Field(description="the folder or bucket prefix the files are in")
    pattern: str = Field(description="file name with * and {date}: messages-{date}.csv, {date:%Y%m%d}/*.json.gz")
    resource: Literal["messages", "calls"] = "messages"
    provider_account: str | None = Field(
        None, pattern=SAFE_ID, description="the account of every record; else each names its own"
    )
    currency: str | None = Field(None, pattern="^[A-Z]{3}$", description="of prices in a file that does not say")
    columns: Mapping[str, str] = Field({}, description="our field → header or field in the file, where that is another")
    late_days: int = Field(
        0, ge=0, le=LATEST_DAYS, description="days before its own that a file may hold records of; they are billed on their own day"
    )

    @field_validator("pattern")
    @classmethod
    def _usable_pattern(cls, pattern: str) -> str:
        rest = re.sub(r"\{date(?::[%A-Za-z0-9._/-]+)?\}", "", pattern)
        if not pattern or "{" in rest or "}" in rest:
            raise ValueError(f"{pattern!r}: the only placeholder is {{date}}, or {{date:%Y%m%d}} for another form")
        if pattern.startswith("/") or ".." in PurePosixPath(pattern).parts or "\\" in pattern:
            raise ValueError(f"{pattern!r} must stay inside the store")
        return pattern


def open_source(name: str, settings: Settings, context: Context) -> Files:
    """The source; ConfigurationError if ``columns`` names a field there is not."""
    fields = (*HEADERS[settings.resource], *SAID)
    unknown = set(settings.columns) - set(fields)
    if unknown:
        raise ConfigurationError(
            f"sources.{name}.columns: {', '.join(sorted(unknown))} is no field of {settings.resource}: use {', '.join(fields)}"
        )
    return Files(name, settings, context)


class Files:
    """One file drop."""

    def __init__(self, name: str, settings: Settings, context: Context) -> None:
        self.name = name
        self.settings = settings
        self._context = context

    def fetch(self, day: date) -> Iterator[Page]:
        """Every file whose name matches for ``day``, in name order. SourceError if there is none, or one is broken."""
        pattern = self.settings.pattern.format(date=day)
        names = [
            n for n in self._names() if fnmatch.fnmatchcase(n, pattern) and not PurePosixPath(n).name.startswith(".")
        ]
        if not names:
            raise SourceError(
                f"{self.name}: no file in {self._where} matches {pattern!r}. Put the export of {day} there"
            )
        for number, name in enumerate(names):
            if not name.lower().removesuffix(".gz").endswith(FORMS):
                raise SourceError(
                    f"{self.name}: {name} is neither {', '.join(FORMS)}: narrow the pattern, or rename the file"
                )
            body = self._get(name)
            page = Page(self.settings.resource, self.settings.provider_account or "", number, name, body)
            self._check(page)
            yield page

    def check(self) -> str:
        """Lists the store. Raises SourceError if it cannot."""
        return f"{sum(1 for _ in self._names())} file(s) in {self._where}"

    def read(self, pages: Iterable[Page], day: date) -> Reading:
        """Files → events, one row per record or line. Records of other days are excluded. There is no ledger in a file."""
        return whole(self.parts(pages, day))

    def parts(self, pages: Iterable[Page], day: date) -> Iterator[Reading]:
        """`read`, some tens of thousands of lines at a time; what is late comes last."""
        first = day - timedelta(days=self.settings.late_days)
        late: list[pl.DataFrame] = []
        for page in pages:
            for rows in self._rows(page):
                rows = rows.with_columns(
                    pl.coalesce(
                        pl.when(pl.col("price_unit") != "").then("price_unit"),
                        pl.lit(self.settings.currency, pl.String),
                    ),
                    # Exports of other makers have one word where the API has several.
                    direction=pl.when(pl.col("direction") == "outbound").then(pl.lit("outbound-api")).otherwise("direction"),
                    asked=pl.lit(page.provider_account or None, pl.String),
                    raw_sha256=pl.lit(page.sha256),
                )
                events = to_events(rows, self.settings.resource, day, filtered=False)
                yield Reading(events, LEDGER.empty())
                if first < day:
                    own = events.select(own=pl.when(pl.col("reason") == OTHER_DAY).then(pl.col("occurred_at").dt.date()))
                    few = pl.concat([rows, own], how="horizontal").filter(
                        pl.col("own").is_between(first, day, closed="left")
                    )
                    # Copied: a few rows must not hold the texts of all.
                    late.append(pl.from_arrow(few.to_arrow(compat_level=pl.CompatLevel.oldest())))
        if late and (found := self._late(pl.concat(late))).height:
            yield Reading(EVENTS.empty(), LEDGER.empty(), found)

    def _late(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows of the days ``own`` as those have them."""
        dated = rows.partition_by("own", as_dict=True, include_key=False).items()
        found = [to_events(part, self.settings.resource, own, filtered=False) for (own,), part in dated]
        return pl.concat([EVENTS.empty(), *found]).filter(pl.col("outcome") != "excluded")

    # ------------------------------------------------------------------------------------------------- where they are

    @property
    def _where(self) -> str:
        return self.settings.store.url

    @property
    def _folder(self) -> Path | None:
        url = self.settings.store.url
        if url.startswith("s3://"):
            return None
        return Path(unquote(urlsplit(url).path)) if url.startswith("file:") else (self._context.home / url).resolve()

    def _store(self):
        if self._context.open_store is None:
            raise SourceError(f"{self.name}: {self._where} is a bucket, and no way to open one was given")
        return self._context.open_store(self.settings.store)

    def _names(self) -> list[str]:
        folder = self._folder
        try:
            if folder is None:
                return sorted(self._store().list(""))
            if not folder.is_dir():
                raise SourceError(f"{self.name}: {self._where} is not a folder: create it, or correct store.url")
            return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        except (OSError, _store_error()) as error:
            raise SourceError(f"{self.name}: {self._where} cannot be listed ({type(error).__name__})") from None

    def _get(self, name: str) -> bytes:
        folder = self._folder
        try:
            if folder is None:
                return self._store().get(name)
            if (folder / name).stat().st_size > MAX_FILE_BYTES:
                raise SourceError(f"{self.name}: {name} is larger than {MAX_FILE_BYTES >> 20} MiB: split it")
            return (folder / name).read_bytes()
        except (OSError, _store_error()) as error:
            raise SourceError(f"{self.name}: {name} cannot be read ({type(error).__name__})") from None

    # ------------------------------------------------------------------------------------------------ what they hold

    def _check(self, page: Page) -> None:
        """Unpack and decode once, before the file counts as received: a cut-off download must not shrink a day."""
        place = 0
        with self._unpacked(page) as stream:
            for chunk in _whole_lines(stream, CHECK_BYTES):
                if not _is_utf8(chunk):
                    try:
                        chunk.decode()
                    except UnicodeDecodeError as error:
                        line = self._line(page, place + error.start)
                        raise SourceError(
                            f"{self.name}: {page.url}, line {line} is not UTF-8: export the file as UTF-8"
                        ) from None
                place += len(chunk)
        if _is_csv(page.url):
            for _ in self._csv(page):
                pass

    def _unpacked(self, page: Page) -> io.BytesIO | _Unpacked:
        if page.body[:2] != GZIP:
            if page.url.lower().endswith(".gz"):
                raise SourceError(f"{self.name}: {page.url} is no gzip file: deliver it again")
            return io.BytesIO(page.body)
        return _Unpacked(page, self.name)

    def _rows(self, page: Page) -> Iterator[pl.DataFrame]:
        return self._csv(page) if _is_csv(page.url) else self._json_lines(page)

    def _json_lines(self, page: Page) -> Iterator[pl.DataFrame]:
        fields = {f: self.settings.columns.get(f, f) for f in self._fields}
        place, record = 0, 0
        with self._unpacked(page) as stream:
            for chunk in _whole_lines(stream, BATCH_BYTES):
                if (overlong := _overlong(chunk)) is not None:
                    at = self._line(page, place + overlong)
                    raise SourceError(f"{self.name}: {page.url}, line {at} is longer than {MAX_LINE_BYTES >> 20} MiB")
                rows = lines(chunk if place else chunk.removeprefix(codecs.BOM_UTF8), record, fields)
                place, record = place + len(chunk), record + rows.height
                if rows.height:
                    yield rows

    def _line(self, page: Page, place: int) -> int:
        """The number of the line a byte is in: counted only where somebody is told of it."""
        line = 1
        with self._unpacked(page) as stream:
            while place and (data := stream.read(min(place, CHUNK))):
                line, place = line + data.count(b"\n"), place - len(data)
        return line

    @property
    def _fields(self) -> tuple[str, ...]:
        """Of the resource, and those of `SAID` that ``columns`` names."""
        return (*RESOURCES[self.settings.resource].fields, *(f for f in SAID if f in self.settings.columns))

    def _csv(self, page: Page) -> Iterator[pl.DataFrame]:
        """Batches of text rows. Python's strict reader: it alone tells a cut-off quote or a short line from an empty cell."""
        fields = self._fields
        with self._unpacked(page) as stream:
            text = io.TextIOWrapper(io.BufferedReader(stream, CHUNK), encoding="utf-8-sig", errors="replace", newline="")
            rows = csv.reader(_bounded_lines(text, self.name, page.url), strict=True)
            try:
                header = next(rows, [])
                places = self._header(header, page)
                at = [places.get(f) for f in fields]
                number, batch, line = 0, [], rows.line_num
                for row in rows:
                    line, first = rows.line_num, line + 1
                    if len(row) == len(header):
                        batch.append((*(None if i is None else row[i] for i in at), number, None))
                    elif row and line > first:
                        raise csv.Error  # a stray quote took several lines for one cell
                    elif row:
                        batch.append((*(None for _ in fields), number, BAD_LINE))
                    number += bool(row)
                    if len(batch) >= BATCH_ROWS:
                        yield _frame(batch, fields)
                        batch = []
                if batch:
                    yield _frame(batch, fields)
            except csv.Error:
                raise SourceError(
                    f"{self.name}: {page.url}, before line {rows.line_num}: a quote is not closed, so the rows cannot be told "
                    "apart. Deliver the file again; nothing of it was used"
                ) from None
            finally:
                text.detach()

    def _header(self, header: list[str], page: Page) -> dict[str, int]:
        """Our field → position in the file. SourceError names what is missing or there twice."""
        resource = self.settings.resource
        known = {alias: field for field, aliases in HEADERS[resource].items() for alias in aliases}
        known |= {_plain(name): field for field, name in self.settings.columns.items()}
        places: dict[str, int] = {}
        for position, name in enumerate(header):
            field = known.get(_plain(name))
            if field in places:
                raise SourceError(
                    f"{self.name}: {page.url}, line 1: two columns are {field!r}: rename one, or set columns"
                )
            if field is not None:
                places[field] = position
        missing = [f for f in REQUIRED[resource] if f not in places]
        if missing:
            raise SourceError(
                f"{self.name}: {page.url}, line 1: no column for {', '.join(missing)}. Export it with headers, or name the "
                f"headers under sources.{self.name}.columns"
            )
        return places


def _is_utf8(text: bytes) -> bool:
    """Asked of Polars, which looks at many bytes at once."""
    try:
        return pl.Series([text], dtype=pl.Binary).cast(pl.String).null_count() == 0
    except pl.exceptions.PolarsError:
        return False


def _whole_lines(stream: io.RawIOBase | io.BytesIO, size: int) -> Iterator[bytes]:
    """What the stream holds, cut behind a line's end about every ``size`` bytes; a line without end is longer at once."""
    rest = b""
    while data := stream.read(size):
        end = data.rfind(b"\n") + 1
        if not end and len(rest) <= MAX_LINE_BYTES:
            rest += data
            continue
        yield b"".join((rest, memoryview(data)[:end])) if end else rest + data
        rest = data[end:] if end else b""
    if rest:
        yield rest


def _overlong(chunk: bytes) -> int | None:
    """Where a line of more than `MAX_LINE_BYTES` begins: it covers a whole window of half that without an end."""
    window = MAX_LINE_BYTES // 2
    for at in range(0, len(chunk), window):
        if chunk.find(b"\n", at, at + window) < 0:
            begin = chunk.rfind(b"\n", 0, at) + 1
            end = chunk.find(b"\n", at)
            if (len(chunk) if end < 0 else end) - begin > MAX_LINE_BYTES:
                return begin
    return None


class _Unpacked(io.RawIOBase):
    """gzip bytes → a bounded stream; SourceError for what is cut off, damaged or a bomb."""

    def __init__(self, page: Page, source: str) -> None:
        self._stream = igzip.IGzipFile(fileobj=io.BytesIO(page.body))
        self._packed = len(page.body)
        self._where = f"{source}: {page.url}"
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def read(self, size: int = CHUNK) -> bytes:
        """The next bytes, fewer only at the end."""
        try:
            data = self._stream.read(size)
        except (EOFError, igzip_lib.IsalError, OSError) as error:
            how = "is cut off" if isinstance(error, EOFError) else "is damaged"
            raise SourceError(f"{self._where} {how}: deliver it again. Nothing of it was used") from None
        self._size += len(data)
        bomb = self._size > RATIO_AFTER_BYTES and self._size > MAX_RATIO * self._packed
        if bomb or self._size > MAX_UNPACKED_BYTES:
            raise SourceError(f"{self._where} unpacks to more than {self._size >> 20} MiB, which no log does: not read")
        return data


def _bounded_lines(text: io.TextIOWrapper, source: str, name: str) -> Iterator[str]:
    for number, line in enumerate(iter(lambda: text.readline(MAX_CELL + 1), ""), 1):
        if len(line) > MAX_CELL:
            raise SourceError(f"{source}: {name}, line {number} is longer than {MAX_CELL} characters")
        yield line.replace("\0", "\ufffd")


def _frame(batch: list[tuple], fields: tuple[str, ...]) -> pl.DataFrame:
    schema = dict.fromkeys(fields, pl.String) | {INDEX: pl.Int32, PROBLEM: pl.String}
    return pl.DataFrame(batch, schema=schema, orient="row")


def _plain(header: str) -> str:
    return re.sub(r"[^a-z0-9]", "", header.lower())


def _is_csv(name: str) -> bool:
    return name.lower().removesuffix(".gz").endswith(".csv")


def _store_error() -> type[Exception]:
    from etl.lake.store import StoreError

    return StoreError
