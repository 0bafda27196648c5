"""A large day's work in shares, each a task of its own on any machine: pages are taken apart, then buckets made.

What a share makes waits beside the lake, named by all it was made from. `normalise` and `rate` take what is there and make
what is not, so a share that was lost, or made of what has changed since, costs time and nothing else: the bytes are the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import TYPE_CHECKING

from etl.jobs.base import Base, NotReady
from etl.jobs.reading import Found, take_apart
from etl.jobs.work import SHARE_BUCKETS, SharedCut, Work, pieces
from etl.periods import Month

if TYPE_CHECKING:
    import polars as pl

    from etl.lake import DataFile, Version
    from etl.sources import Page


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
        from etl.buckets import Cut
        from etl.schemas import DATASETS

        raw = self._raw_head(day, source)
        index, buckets = self._cut_of(raw)
        work, tag = Work(self.lake.store, day, source), self._read_tag(raw, source, buckets)
        if work.wrote(tag, group) is not None:
            return
        with Cut(buckets, DATASETS["events"].empty()) as cut:
            pages = self._pages(raw, self._pieces(index)[group])
            ledger, late = take_apart(self.sources[source], pages, day, cut)
            wrote = []
            for number in range(buckets):
                if (events := cut.take(number)).height:
                    work.put_frame(f"{tag}/{group}-{number}.arrow", events)
                    wrote.append(number)
        work.put_frame(f"{tag}/{group}-ledger.arrow", ledger)
        if late is not None:
            work.put_frame(f"{tag}/{group}-late.arrow", late)
        work.put(f"{tag}/{group}.json", json.dumps({"buckets": wrote, "late": late is not None}).encode())

    def make_share(self, day: date, source: str, number: int) -> None:
        """One bucket → its file of events and its file of charges, in the history and not yet in any version."""
        from etl.lake import Partition
        from etl.rating.charge import Prices

        raw = self._raw_head(day, source)
        cut = self._shared_cut(raw, day, source)
        if cut is None:
            raise NotReady(f"{day} {source}: not all of its pages are taken apart yet")
        events_at, charges_at = (Partition.of(d, date=day, source=source) for d in ("events", "charges"))
        base, listed = self.lake.head(events_at), self._listed(day, source)
        work = Work(self.lake.store, day, source)
        name = self._events_name(raw, source, base, listed, cut.buckets, number)
        made = self._there("events", day, source, name)
        if made is None:
            frame, counts = self._bucket_events(cut, base, listed, number)
            made = self.lake.put_file(events_at, frame), counts
            work.prepare(name, *made)
        file, _ = made
        name = self._charges_name(file, self._closed(day))
        if self._there("charges", day, source, name) is None:
            (stored,) = self.lake.read_data(events_at, [file], *self._rated_columns())
            prices = Prices(self.card, day)
            charges = self._bucket_charges(stored, events_at, self._directory_of(Month.of(day)), prices)
            unrated = int(charges["unrated"].is_not_null().sum())
            work.prepare(name, self.lake.put_file(charges_at, charges), {"unrated": unrated})

    def sweep_work(self, keep: Iterable[date] = ()) -> int:
        """Remove prepared work, which holds texts, of all days but ``keep``: what a night left that never came to its end.
        Returns how many objects. Whoever was about to use it makes it again."""
        from etl.lake import each

        kept = {f"date={day}" for day in keep} if self.settings.share_days else set()
        gone = [key for key in self.lake.store.list("_work/") if key.split("/")[1] not in kept]
        each(self.lake.store, self.lake.store.delete, gone)
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

        return pieces(index, SHARE_BUCKETS * BUCKET_BYTES)

    def _shared_cut(self, raw: Version, day: date, source: str) -> SharedCut | None:
        """The events that the shares found in these pages; None unless all shares are there."""
        from etl.schemas import DATASETS

        index, buckets = self._cut_of(raw)
        if not self.settings.share_days or buckets == 1:
            return None
        work, tag = Work(self.lake.store, day, source), self._read_tag(raw, source, buckets)
        wrote = [work.wrote(tag, group) for group in range(len(self._pieces(index)))]
        return None if None in wrote else SharedCut(work, tag, wrote, buckets, DATASETS["events"].empty())

    def _shared(self, raw: Version, day: date, source: str) -> Found | None:
        """What the shares found in these pages; None unless all of it is there."""
        import polars as pl

        cut = self._shared_cut(raw, day, source)
        if cut is None:
            return None
        found = cut.totals()
        if found is None:
            return None
        ledgers, late = found
        return Found(raw, cut, pl.concat(ledgers), pl.concat(late) if late else None)

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

    def _prepared_charges(self, day: date, source: str) -> Callable[[DataFile], tuple[DataFile, dict[str, int]] | None]:
        """For a file of events the file of its charges that a share made, with its counts, or None."""
        if not self.settings.share_days:
            return lambda _: None
        closed = self._closed(day)
        return lambda file: self._there("charges", day, source, self._charges_name(file, closed))

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

    def _closed(self, day: date) -> list[str]:
        """The closings of the day's month: an account keeps the terms it closed with."""
        return self.lake.list_pins(f"close/month={Month.of(day)}/")

    def _charges_name(self, events: DataFile, closed: list[str]) -> str:
        made_from = (events.sha256, self.directory.fingerprint, self.card.fingerprint, self.lake.code, self.lake.config)
        return f"charges-{_tag(*made_from, *closed)}.json"

    def _pages(self, raw: Version, index: pl.DataFrame) -> Iterator[Page]:
        """Those pages of a version of raw."""
        from etl.sources._packs import SUFFIX, unpack

        return unpack(index, lambda sha: self.lake.get_blob("raw", sha, SUFFIX, p=raw.partition))


def _tag(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
