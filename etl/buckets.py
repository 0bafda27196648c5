"""How a large day is cut: into 1, 2, 4, … buckets by the record's id, so that one is worked at a time, on one machine or many.

All versions of a record are in one bucket, and so is what belongs together: a recording is with its call, a session with its room.
Buckets are ranges of one fixed hash: bucket k of 2n lies within bucket k // 2 of n, whenever and wherever it was written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import polars as pl

BUCKET_BYTES = 16 << 20
"""Compressed bytes of logs a bucket is cut for: about 115,000 messages. It decides what a night needs of memory."""
MOST = 4_096
WAITING_BYTES = 48 << 20
"""Rows wait in memory up to here, then in a temporary folder."""
COPY_MARK = "#"
"""Between the provider's id and the number of a conflicting version. Provider ids never hold it."""

_GOLDEN = 0x9E3779B97F4A7C15
"""2⁶⁴ divided by the golden ratio: multiplied with it, neighbours scatter evenly (Knuth, TAOCP 6.4)."""


def count(compressed_bytes: int) -> int:
    """Buckets for a day whose logs are that large: a power of two, so that one more page seldom moves anything."""
    buckets = 1
    while buckets < MOST and buckets * BUCKET_BYTES < compressed_bytes:
        buckets *= 2
    return buckets


def together() -> pl.Expr:
    """What an event (kind, record_id, parent_id) is kept together by."""
    parent = pl.when(pl.col("kind").is_in(["recording", "video"])).then(pl.coalesce("parent_id", "record_id"))
    return parent.otherwise("record_id").str.replace(f"{COPY_MARK}.*$", "")


def bucket(buckets: int, text: pl.Expr | None = None) -> pl.Expr:
    """UInt32 number of a row's bucket, of that many: the last eight bytes of ``text`` (of an event, `together`), scattered.

    Of whole numbers and texts only, so it is the same with every version of every library.
    """
    if buckets == 1:
        return pl.lit(0, pl.UInt32)
    last = (together() if text is None else text).str.pad_start(8, "0").cast(pl.Binary).bin.tail(8).bin.reinterpret(dtype=pl.UInt64, endianness="little")
    return (last * pl.lit(_GOLDEN, pl.UInt64) // (2**64 // buckets)).cast(pl.UInt32)


def within(events: pl.DataFrame, number: int, buckets: int) -> pl.DataFrame:
    """The events of one bucket."""
    return events if buckets == 1 else events.filter(bucket(buckets) == number)


def overlapping(number: int, buckets: int, others: int) -> range:
    """Which of ``others`` buckets hold what bucket ``number`` of ``buckets`` does."""
    if others >= buckets:
        return range(number * (others // buckets), (number + 1) * (others // buckets))
    return range(number // (buckets // others), number // (buckets // others) + 1)


class Cut:
    """Rows as they are read, put by bucket: in memory while they are few, in a temporary folder when they are not. ``by``: the
    text that decides, of events `together`.

    >>> with Cut(buckets, empty) as cut:
    ...     cut.add(events)
    ...     cut.take(0)
    """

    def __init__(self, buckets: int, empty: pl.DataFrame, by: pl.Expr | None = None) -> None:
        self.buckets = buckets
        self._by = by
        self.taken = False
        """Whether a bucket was handed out: it is not kept for another time."""
        self._empty = empty
        self._waiting: list[pl.DataFrame] = []
        self._bytes = 0
        self._left: dict[int, pl.DataFrame] = {}
        self._flushed = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting, self._left = [], {}
        if self._folder is not None:
            self._folder.cleanup()

    def add(self, rows: pl.DataFrame) -> None:
        """Keep these, of any bucket."""
        if rows.is_empty():
            return
        if self.buckets > 1:
            numbers = rows.select(bucket(self.buckets, self._by).alias("!bucket")).to_series()
            rows = _compact(rows).with_columns(numbers)
        self._waiting.append(rows)
        self._bytes += rows.estimated_size()
        if self.buckets > 1 and self._bytes >= WAITING_BYTES:
            self._flush()

    def take(self, number: int) -> pl.DataFrame:
        """The rows of one bucket, in the order they came; once, after the last `add`."""
        self.taken = True
        if self._waiting:
            self._left = self._parted()
        paths = [self._path(number, n) for n in range(self._flushed)]
        left = [self._left.pop(number)] if number in self._left else []
        return joined([*(pl.read_ipc_stream(path) for path in paths if path.exists()), *left], self._empty)

    def _parted(self) -> dict[int, pl.DataFrame]:
        """What waits, by bucket: cut when it is much, for a hundred small frames of each batch cost more than what is in them."""
        one = pl.concat(self._waiting, how="diagonal")
        self._waiting, self._bytes = [], 0
        if self.buckets == 1:
            return {0: one}
        return {which: part for (which,), part in one.partition_by("!bucket", as_dict=True, include_key=False).items()}

    def _path(self, number: int, flush: int) -> Path:
        return Path(self._folder.name) / f"{number}-{flush}.arrow"

    def _flush(self) -> None:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="tollbook-")
        for which, part in self._parted().items():
            part.write_ipc_stream(self._path(which, self._flushed), compat_level=pl.CompatLevel.newest())
        self._flushed += 1


def joined(parts: Sequence[pl.DataFrame], empty: pl.DataFrame) -> pl.DataFrame:
    """Compact pieces of a bucket as one frame with the columns and types of ``empty``."""
    if not parts:
        return empty
    one = pl.concat(parts, how="diagonal", rechunk=True)
    return one.select(
        pl.col(c).cast(t) if c in one.columns else pl.lit(None, t).alias(c) for c, t in empty.schema.items()
    )


_REPEATED = (
    "kind", "outcome", "reason", "provider_account", "direction", "type", "status", "encoding", "segments_source", "carrier",
    "answered_by", "owner_kind", "owner_id", "campaign_id", "error_code", "provider_currency", "raw_sha256",
)  # fmt: skip
"""Texts of few values: a number each, while they wait."""


def _compact(events: pl.DataFrame) -> pl.DataFrame:
    """Less than half as large: columns without a value left out, texts of few values as categories."""
    return events.select(
        pl.col(c).cast(pl.Categorical) if c in _REPEATED else pl.col(c)
        for c in events.columns
        if events[c].null_count() < events.height
    )
