"""A large day's work in shares, each a task of its own on any machine: pages are taken apart, then buckets made.

What a share makes waits beside the lake, named by all it was made from. `normalise` and `rate` take what is there and make
what is not, so a share that was lost, or made of what has changed since, costs time and nothing else: the bytes are the same.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from datetime import date
from typing import TYPE_CHECKING

from etl.jobs.base import Base, NotReady
from etl.periods import Month

if TYPE_CHECKING:
    import polars as pl

    from etl.lake import DataFile, Version

SPLIT = ("messages", "calls")
"""Lists whose pages stand alone; of others, such as rooms and their sessions, all pages are one share."""


def pieces(index: pl.DataFrame, piece_bytes: int) -> list[pl.DataFrame]:
    """`schemas.Raw` of a day → its pages in shares of about so many compressed bytes, in order."""
    import polars as pl

    alone = pl.col("resource").is_in(SPLIT)
    big, rest = index.filter(alone), index.filter(~alone)
    numbered = big.with_columns(piece=(pl.col("object_bytes").cum_sum() - 1) // piece_bytes)
    found = numbered.partition_by("piece", include_key=False, maintain_order=True)
    return [*found, rest] if rest.height else found


class SharedCut:
    """What `buckets.Cut` offers, from the shares that took the pages apart."""

    def __init__(self, work: Work, tag: str, groups: int, buckets: int, empty: pl.DataFrame) -> None:
        self.buckets, self.taken = buckets, True  # another try looks anew for what is there
        self._work, self._tag, self._groups, self._empty = work, tag, groups, empty

    def __exit__(self, *_: object) -> None:
        """Nothing is held open."""

    def take(self, number: int) -> pl.DataFrame:
        """The events of one bucket. Stale where a share said that it wrote some and they are gone: then it is read again."""
        from etl.buckets import joined
        from etl.lake import Stale

        found = []
        for group in range(self._groups):
            wrote = self._work.wrote(self._tag, group)
            frame = self._work.frame(f"{self._tag}/{group}-{number}.arrow") if wrote and number in wrote["buckets"] else None
            if wrote is None or (frame is None and number in wrote["buckets"]):
                self._work.forget(self._tag, group)
                raise Stale(f"share {group} of the pages is gone while its buckets were made")
            found += [] if frame is None else [frame]
        return joined(found, self._empty)


class Work:
    """Prepared work of one day and source, in the lake's store under ``_work/``, where no reader looks."""

    def __init__(self, store, day: date, source: str) -> None:
        self._store, self._root = store, f"_work/date={day}/source={source}/"

    def get(self, name: str) -> bytes | None:
        from etl.lake import NotFound

        try:
            return self._store.get(self._root + name)
        except NotFound:
            return None

    def put(self, name: str, data: bytes) -> None:
        self._store.put(self._root + name, data)

    def wrote(self, tag: str, group: int) -> dict | None:
        """What a share of the pages wrote, when it had written all of it: ``buckets``, and whether there is ``late``."""
        data = self.get(f"{tag}/{group}.json")
        return None if data is None else json.loads(data)

    def forget(self, tag: str, group: int) -> None:
        self._store.delete(f"{self._root}{tag}/{group}.json")

    def frame(self, name: str) -> pl.DataFrame | None:
        import polars as pl

        data = self.get(name)
        return None if data is None else pl.read_ipc(io.BytesIO(data))

    def put_frame(self, name: str, frame: pl.DataFrame) -> None:
        import polars as pl

        buffer = io.BytesIO()
        frame.write_ipc(buffer, compression="zstd", compat_level=pl.CompatLevel.newest())
        self.put(name, buffer.getvalue())

    def prepared(self, name: str) -> tuple[DataFile, dict[str, int]] | None:
        """A file that a share has put into the history already, and what it counts."""
        from etl.lake import DataFile

        data = self.get(name)
        if data is None:
            return None
        said = json.loads(data)
        return DataFile(said["sha256"], said["rows"], said["bytes"]), said["counts"]

    def prepare(self, name: str, file: DataFile, counts: dict[str, int]) -> None:
        said = {"sha256": file.sha256, "rows": file.rows, "bytes": file.bytes, "counts": counts}
        self.put(name, json.dumps(said, sort_keys=True).encode())

    def clear(self) -> None:
        for key in list(self._store.list(self._root)):
            self._store.delete(key)


class ShareVerbs(Base):
    """Take pages apart, make buckets, find what was made."""

    def shares(self, day: date, source: str) -> tuple[int, int]:
        """(shares of pages, buckets) of a day's kept pages; (0, 0) for a day of one bucket, or whose events are made of these
        pages already: neither is shared out."""
        from etl.lake import Partition

        raw, head = self._raw_head(day, source), self.lake.head(Partition.of("events", date=day, source=source))
        made_by = (self.lake.code, self.lake.config)
        if head and head.inputs.get(f"raw/{source}") == raw.sha256 and (head.code, head.config) == made_by:
            return 0, 0
        index, buckets = self._cut_of(raw)
        return (len(self._pieces(index)), buckets) if buckets > 1 else (0, 0)

    def read_share(self, day: date, source: str, group: int) -> None:
        """Some of the pages → events by bucket, the provider's totals and late events, each an object that waits."""
        from etl import sources
        from etl.buckets import Cut
        from etl.schemas import DATASETS

        raw = self._raw_head(day, source)
        index, buckets = self._cut_of(raw)
        work, tag = Work(self.lake.store, day, source), self._read_tag(raw, source, buckets)
        if work.wrote(tag, group) is not None:
            return
        ledgers, late = [DATASETS["ledger"].empty()], []
        with Cut(buckets, DATASETS["events"].empty()) as cut:
            pages = self._pages(raw, self._pieces(index)[group])
            for part in sources.parts(self.sources[source], pages, day):
                cut.add(part.events)
                ledgers.append(part.ledger)
                late += [part.late] if part.late is not None else []
            wrote = []
            for number in range(buckets):
                if (events := cut.take(number)).height:
                    work.put_frame(f"{tag}/{group}-{number}.arrow", events)
                    wrote.append(number)
        work.put_frame(f"{tag}/{group}-ledger.arrow", _stacked(ledgers))
        if late:
            work.put_frame(f"{tag}/{group}-late.arrow", _stacked(late))
        work.put(f"{tag}/{group}.json", json.dumps({"buckets": wrote, "late": bool(late)}).encode())

    def make_share(self, day: date, source: str, number: int) -> None:
        """One bucket → its file of events and its file of charges, in the history and not yet in any version."""
        from etl.lake import Partition
        from etl.rating.charge import Prices

        raw = self._raw_head(day, source)
        found = self._shared(raw, day, source)
        if found is None:
            raise NotReady(f"{day} {source}: not all of its pages are taken apart yet")
        events_at, charges_at = (Partition.of(d, date=day, source=source) for d in ("events", "charges"))
        base, listed = self.lake.head(events_at), self._listed(day, source)
        work = Work(self.lake.store, day, source)
        name = self._events_name(raw, source, base, listed, found.cut.buckets, number)
        made = self._there("events", day, source, name)
        if made is None:
            frame, counts = self._bucket_events(found.cut, base, listed, number)
            made = self.lake.put_file(events_at, frame), counts
            work.prepare(name, *made)
        file, _ = made
        name = self._charges_name(file, day)
        if self._there("charges", day, source, name) is None:
            (stored,) = self.lake.read_data(events_at, [file], *self._rated_columns())
            prices = Prices(self.card, day)
            charges = self._bucket_charges(stored, events_at, self._directory_of(Month.of(day)), prices)
            unrated = int(charges["unrated"].is_not_null().sum())
            work.prepare(name, self.lake.put_file(charges_at, charges), {"unrated": unrated})

    def sweep_work(self, keep: Iterable[date] = ()) -> int:
        """Remove prepared work, which holds texts, of all days but ``keep``: what a night left that never came to its end.
        Returns how many objects. Whoever was about to use it makes it again."""
        kept = {f"date={day}" for day in keep} if self.settings.share_days else set()
        gone = [key for key in self.lake.store.list("_work/") if key.split("/")[1] not in kept]
        for key in gone:
            self.lake.store.delete(key)
        return len(gone)

    # -------------------------------------------------------------------------------------------- inside

    def _raw_head(self, day: date, source: str) -> Version:
        from etl.lake import Partition

        return self._need(Partition.of("raw", date=day, source=source), f"python -m etl pull --date {day}")

    def _cut_of(self, raw: Version) -> tuple[pl.DataFrame, int]:
        """(the day's pages, the buckets it is cut into)."""
        from etl.buckets import count

        index = self.lake.read(raw)
        return index, count(int(index["object_bytes"].sum()))

    def _pieces(self, index: pl.DataFrame) -> list[pl.DataFrame]:
        from etl.buckets import BUCKET_BYTES

        return pieces(index, BUCKET_BYTES)

    def _shared(self, raw: Version, day: date, source: str):
        """What the shares found in these pages; None unless all of them are there."""
        from etl.jobs.days import Found
        from etl.schemas import DATASETS

        if not self.settings.share_days:
            return None
        index, buckets = self._cut_of(raw)
        groups = len(self._pieces(index))
        work, tag = Work(self.lake.store, day, source), self._read_tag(raw, source, buckets)
        said = [work.wrote(tag, group) for group in range(groups)] if buckets > 1 else [None]
        if None in said:
            return None
        ledgers = [work.frame(f"{tag}/{group}-ledger.arrow") for group in range(groups)]
        late = [work.frame(f"{tag}/{group}-late.arrow") for group, wrote in enumerate(said) if wrote["late"]]
        if any(frame is None for frame in (*ledgers, *late)):
            return None
        cut = SharedCut(work, tag, groups, buckets, DATASETS["events"].empty())
        return Found(raw, cut, _stacked(ledgers), _stacked(late) if late else None)

    def _prepared_events(
        self, day: date, source: str, raw: Version, base: Version | None, listed: Iterable[str], buckets: int
    ) -> Iterator:
        """For each bucket the file that a share made of it, with its counts, or None."""
        from etl.lake import EXPIRED

        # Beside one who erases a file must be written, not only named.
        if not self.settings.share_days or buckets == 1 or (base and base.reason == EXPIRED):
            yield from [None] * buckets
            return
        for number in range(buckets):
            yield self._there("events", day, source, self._events_name(raw, source, base, listed, buckets, number))

    def _prepared_charges(self, day: date, source: str, file: DataFile) -> tuple[DataFile, dict[str, int]] | None:
        return self._there("charges", day, source, self._charges_name(file, day)) if self.settings.share_days else None

    def _there(self, dataset: str, day: date, source: str, name: str) -> tuple[DataFile, dict[str, int]] | None:
        """What was prepared under that name, if its file is in the history whole."""
        from etl.lake import Partition

        made = Work(self.lake.store, day, source).prepared(name)
        there = made and self.lake.has_file(Partition.of(dataset, date=day, source=source), made[0])
        return made if there else None

    def _cleared(self, day: date, source: str) -> None:
        """What was prepared holds texts: it goes as soon as it is committed."""
        if self.settings.share_days:
            Work(self.lake.store, day, source).clear()

    def _read_tag(self, raw: Version, source: str, buckets: int) -> str:
        return _tag(raw.sha256, self.settings.sources[source].fingerprint(), self.lake.code, str(buckets))

    def _events_name(
        self, raw: Version, source: str, base: Version | None, listed: Iterable[str], buckets: int, number: int
    ) -> str:
        made_from = (self._read_tag(raw, source, buckets), base.entry if base else "", self.lake.config, *sorted(listed))
        return f"events-{_tag(*made_from)}-{number}.json"

    def _charges_name(self, events: DataFile, day: date) -> str:
        closed = self.lake.list_pins(f"close/month={Month.of(day)}/")  # an account keeps the terms it closed with
        made_from = (events.sha256, self.directory.fingerprint, self.card.fingerprint, self.lake.code, self.lake.config)
        return f"charges-{_tag(*made_from, *closed)}.json"


def _tag(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _stacked(frames: list[pl.DataFrame]) -> pl.DataFrame:
    import polars as pl

    return pl.concat(frames)
