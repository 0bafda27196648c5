"""The verbs of a day: pull, normalise, rate, reconcile, roll up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, timedelta
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING

from etl.jobs.base import STALE_TRIES, Done, NotReady, _numbers, log, weighed
from etl.jobs.reading import Found, ReadOnce, take_apart
from etl.jobs.shares import ShareVerbs
from etl.periods import Month

if TYPE_CHECKING:

    from etl.buckets import Cut
    from etl.lake import Partition, Version
    from etl.rating.charge import Prices

ROLLED = [
    "kind", "account_id", "owner_kind", "owner_id", "campaign_id", "line", "direction", "type", "carrier", "registered",
    "rate_id", "caller_place", "callee_place", "currency", "unit", "fee_id", "detection_rate_id", "quantity", "messages",
    "segments", "billed_seconds", "credits", "charge", "provider_cost", "carrier_fee", "detection_charge",
    "segments_differ", "vanished",
]  # fmt: skip
"""What `rollup.lines` reads of charges."""
LATE = "late"
"""Reason of events that came in the pages of a later day."""


class DayVerbs(ShareVerbs):
    """Each turns the heads of its inputs into one commit of one (date, source) or one date."""

    def pull(self, day: date, source: str) -> Done:
        """Fetch the whole UTC day from a source and keep every page as received. NotReady if the day is not over."""
        import polars as pl

        from etl.lake import EXPIRED, Partition, Stale
        from etl.schemas import DATASETS
        from etl.sources._packs import SUFFIX, pack

        if day >= self.clock().astimezone(UTC).date():
            raise NotReady(
                f"{day} (UTC) is not over: the earliest time to load it is {day + timedelta(days=1)} 00:00 UTC"
            )
        target = Partition.of("raw", date=day, source=source)
        packs: set[str] = set()

        def keep(data: bytes) -> str:
            sha = self.lake.put_blob("raw", data, SUFFIX, p=target)
            packs.add(sha)
            return sha

        def compute(_base):
            packs.clear()
            rows = pack(self.sources[source].fetch(day), keep)
            return DATASETS["raw"].arrange(pl.DataFrame(rows, schema=DATASETS["raw"].types, orient="row")), {}

        for _ in range(STALE_TRIES):
            # A source is asked again each time: only it knows whether the day changed.
            done = self._derive("pull", target, lambda: (None, compute))
            # Whoever erases what expired of this day may have taken a pack that no version named until just now.
            if all(self.lake.has_blob("raw", sha, SUFFIX, p=target) for sha in packs):
                return done
            if (head := self.lake.head(target)) and head.reason == EXPIRED:
                return done  # erased by right: it expired again already
            log.info("%s: pages were erased while they were fetched; fetching again", target)
        raise Stale(f"{target}: its pages were erased {STALE_TRIES} times while they were fetched: pull it again later")

    def normalise(self, day: date, source: str) -> list[Done]:
        """Kept pages → events and the provider's own totals; and what they bring late, into the events of its own days. Of a
        day whose pages retention has erased, all stay as they are: read again, it would have no record at all."""
        from etl.lake import EXPIRED, Partition
        from etl.schemas import DATASETS

        raw_at, events_at, ledger_at = (Partition.of(d, date=day, source=source) for d in ("raw", "events", "ledger"))
        raw, heads = self.lake.head(raw_at), [self.lake.head(p) for p in (events_at, ledger_at)]
        if raw and raw.reason == EXPIRED and all(heads):
            log.info("%s", _pages_erased(raw))
            return [Done("normalise", v.partition.path, v.seq, v.rows, False, _numbers(v.sums)) for v in heads]
        read = ReadOnce(lambda raw: self._found(raw, day, source))

        def from_raw(make: Callable, more: Callable[[], dict[str, str]] = dict) -> Callable:
            def gather():
                raw = self._need(raw_at, f"python -m etl pull --date {day}")
                if raw.reason == EXPIRED:
                    raise NotReady(_pages_erased(raw))
                inputs = {f"raw/{source}": raw.sha256, "source": self.settings.sources[source].fingerprint()}
                return inputs | more(), lambda base: make(read(raw, again=make is events), base)

            return gather

        def events(found: Found, base):
            listed = self._listed(day, source)
            prepared = self._prepared_events(day, source, found.raw, base, listed, found.cut.buckets)
            return self._events(found.cut, base, listed, prepared)

        handed: list[Done] = []

        def ledger(found: Found, _base):
            # Before this is committed, which says that the pages were read: who dies on the way finds it to do again.
            handed[:] = [] if found.late is None else self._hand_on(day, source, found.late)
            return DATASETS["ledger"].arrange(found.ledger), {}

        with read:
            done = [self._derive("normalise", events_at, from_raw(events, lambda: self._late_inputs(day, source)))]
            done.append(self._derive("normalise", ledger_at, from_raw(ledger)))
        return done + handed

    def _events(
        self, cut: Cut, base: Version | None, listed: frozenset[str] | None, prepared: Iterable = repeat(None)
    ) -> tuple[Iterable, Callable]:
        """(the partition's frames, one a bucket, or the file that a share made of it; what they count up to, once they were
        all taken)."""
        total: Counter[str] = Counter()

        def frames() -> Iterator:
            total.clear()
            for number, made in zip(range(cut.buckets), prepared, strict=False):
                events, counts = made or self._bucket_events(cut, base, listed, number)
                total.update(counts)
                yield events

        return frames(), lambda: dict(total)

    def _bucket_events(self, cut: Cut, base: Version | None, listed: frozenset[str] | None, number: int):
        """`schemas.Events` of one bucket, and what it counts."""
        from etl.sources.normalise import counts, normalise

        previous = self._bucket(base, number, cut.buckets) if base else None
        events, duplicates = normalise(cut.take(number), previous, listed=listed)
        return events, {**counts(events), "duplicates": duplicates}

    def _bucket(self, version: Version, number: int, buckets: int):
        """The rows of a version of events that lie in one of so many buckets, however many it has itself."""
        import polars as pl

        from etl import buckets as cuts
        from etl.schemas import DATASETS

        overlapping = cuts.overlapping(number, buckets, len(version.files))
        found = pl.concat([DATASETS["events"].filled(f) for f in self.lake.read_files(version, numbers=overlapping)])
        return found if len(version.files) >= buckets else cuts.within(found, number, buckets)

    # ------------------------------------------------------------------------------------------------- what came late

    def _late_days(self, source: str) -> int:
        """Days before its own that a file of this source may hold records of."""
        return int(getattr(self.settings.sources[source], "late_days", 0))

    def reached_back(self, days: Iterable[date]) -> list[date]:
        """The earliest days that pages of these days may bring records for, never before go-live."""
        most = max(map(self._late_days, self.settings.sources), default=0)
        return [max(day - timedelta(days=most), self.settings.start) for day in days]

    def brought_late(self, day: date, source: str) -> list[date]:
        """The days before this one that its pages may hold records of, where such came last: whoever brought them may have died
        before they were rated."""
        if not (late := self._late_days(source)):
            return []
        heads = self.lake.heads("events", date=(day - timedelta(days=late), day - timedelta(days=1)), source=source)
        return [date.fromisoformat(p["date"]) for p, v in heads.items() if v.reason == LATE]

    def _later(self, day: date, source: str) -> list[Version]:
        """The pages of the days after, which may hold records of this one."""
        late = self._late_days(source)
        if not late:
            return []
        window = (day + timedelta(days=1), day + timedelta(days=late))
        return list(self.lake.heads("raw", date=window, source=source).values())

    def _late_inputs(self, day: date, source: str) -> dict[str, str]:
        return {f"late/{raw.partition['date']}": raw.sha256 for raw in self._later(day, source)}

    def _listed(self, day: date, source: str) -> frozenset[str]:
        """The pages of other days that list records of this one."""
        return frozenset(sha for raw in self._later(day, source) for sha in self.lake.read(raw, ["sha256"])["sha256"])

    def _hand_on(self, day: date, source: str, late) -> list[Done]:
        """Records of earlier days → the events of those days, merged with what they have. Nothing is rated here: `moved` does."""
        import polars as pl

        from etl.lake import Partition

        done = []
        dated = late.with_columns(own=pl.col("occurred_at").dt.date())
        for (own,), rows in sorted(dated.partition_by("own", as_dict=True, include_key=False).items()):
            if own >= self.settings.start:
                done.append(self._merge_late(Partition.of("events", date=own, source=source), own, source, rows))
        return done

    def _merge_late(self, at: Partition, own: date, source: str, rows) -> Done:
        """Late events of one day → its events, merged with what it has. Stale where another run kept on moving the day."""
        from etl.buckets import Cut
        from etl.lake import Stale
        from etl.schemas import DATASETS

        for _ in range(STALE_TRIES):
            base = self.lake.head(at)
            # What retention cut is marked in the inputs; what comes now is whole.
            known = {k: v for k, v in base.inputs.items() if k.startswith(("raw/", "source", "late/"))} if base else {}
            duplicates = int(base.sums.get("duplicates", 0)) if base else 0
            with Cut(len(base.files) if base else 1, DATASETS["events"].empty()) as cut:
                cut.add(rows)
                frames, count = self._events(cut, base, None)
                sums = partial(_late_sums, count, duplicates)
                try:
                    # Not the later pages: only the day's own reading tells what they list no more.
                    version = self.lake.commit(at, frames, base=base, inputs=known, sums=sums, reason=LATE)
                except Stale:
                    continue
            changed = base is None or version.seq != base.seq
            return Done(LATE, at.path, version.seq, version.rows, changed, {"late": rows.height})
        raise Stale(f"{at} moved {STALE_TRIES} times while late records were merged: is another run of the same day on?")

    def read_again(self, day: date, source: str):
        """The day's events (`schemas.Events`) as its kept pages say today, merged with those stored. Writes nothing.
        NotReady once its pages are erased."""
        import polars as pl

        from etl.lake import EXPIRED, Partition

        raw, events = (self._need(Partition.of(d, date=day, source=source), "run") for d in ("raw", "events"))
        if raw.reason == EXPIRED:
            raise NotReady(_pages_erased(raw))
        with ReadOnce(lambda raw: self._found(raw, day, source)) as read:
            frames, _ = self._events(read(raw).cut, events, self._listed(day, source))
            return pl.concat(frames)

    def _found(self, raw: Version, day: date, source: str) -> Found:
        """What the pages say: as the shares found it, or taken apart here."""
        from etl.buckets import Cut
        from etl.schemas import DATASETS

        if shared := self._shared(raw, day, source):
            return shared
        index, buckets = self._cut_of(raw)
        cut = Cut(buckets, DATASETS["events"].empty())
        try:
            return Found(raw, cut, *take_apart(self.sources[source], self._pages(raw, index), day, cut))
        except BaseException:
            cut.__exit__()  # what it wrote to the temporary folder goes with it
            raise

    def rate(self, day: date, source: str) -> Done:
        """Accepted events → charges, by the directory and the rate card, bucket by bucket. ValueError where the tables have
        come to ask for more digits than retention left."""
        from etl.lake import Partition
        from etl.rating.charge import Prices

        def gather():
            events = self._need(Partition.of("events", date=day, source=source), f"python -m etl run --date {day}")
            inputs = {
                f"events/{source}": events.sha256,
                "directory": self.directory.fingerprint,
                "rates": self.card.fingerprint,
            }

            def compute(_base):
                prepared = self._prepared_charges(day, source)
                # An account that closed the month keeps the terms it closed it with.
                directory = self._directory_of(Month.of(day))
                prices = Prices(self.card, day)
                counted = Counter(unrated=0)

                def frames() -> Iterator:
                    counted.clear()
                    for file in events.files:
                        if made := prepared(file):
                            charges, counts = made
                            counted["unrated"] += counts["unrated"]
                        else:
                            (stored,) = self.lake.read_data(events.partition, [file], *self._rated_columns())
                            charges = self._bucket_charges(stored, events.partition, directory, prices)
                            counted["unrated"] += charges["unrated"].is_not_null().sum()
                        yield charges

                return frames(), lambda: {"unrated": counted["unrated"]}

            return inputs, compute

        done = self._derive("rate", Partition.of("charges", date=day, source=source), gather)
        self._cleared(day, source)
        return done

    def _rated_columns(self) -> tuple[list[str], dict]:
        """What is read of events to rate them, and which of it older files may lack."""
        from etl.directory.attribution import SAID
        from etl.schemas import DATASETS

        columns = [
            "record_id", "kind", "outcome", "provider_account", "direction", "type", "status", "occurred_at",
            "from_number", "to_number", "segments_reported", "segments_computed", "segments", "carrier", "ended_at",
            "answered_seconds", "parent_id", "provider_cost", "provider_currency", "vanished", *SAID,
        ]  # fmt: skip
        return columns, {c: DATASETS["events"].types[c] for c in SAID}

    def _bucket_charges(self, stored, at: Partition, directory, prices: Prices):
        """`schemas.Charges` of one bucket of a partition of events."""
        import polars as pl

        from etl.rating.charge import charges

        accepted = stored.filter(pl.col("outcome") == "accepted")
        self._refuse_beyond(accepted, prices.day, at)
        attributed = directory.attribute(accepted, prices.day, self.settings.currency)
        return charges(attributed, prices, credits_per_segment=self.settings.credits_per_segment)

    def _refuse_beyond(self, accepted, day: date, at: Partition) -> None:
        """ValueError where a cut number may be one of a longer prefix that came into the tables after the cut."""
        if (found := self._beyond(accepted, day)) and (new := found - weighed(self.lake.history(at))):
            raise ValueError(
                f"{at}: {min(new)}, and that is longer than what retention left of numbers it cut ({len(new)} such rows): "
                "nobody can tell any more whose it is, so the day keeps the charges it has. Shorten the prefix, or in a rate "
                f"card give it a valid_from after that day; or python -m etl run --date {day} brings the numbers back, if "
                "the provider still has them (docs/privacy.md)"
            )

    def roll_up(self, day: date) -> Done:
        """Charges of every source → daily."""
        import polars as pl

        from etl.buckets import Cut
        from etl.lake import Partition
        from etl.rollup import added, files, lines
        from etl.schemas import DATASETS

        def gather():
            charges = self.lake.heads("charges", date=day)
            if not charges:
                raise NotReady(f"nothing is rated for {day}: run python -m etl run --date {day}")

            def compute(_base):
                versions = list(charges.values())
                self._refuse_twice(day, versions)
                counted = Counter(unrated=0)

                def frames() -> Iterator:
                    counted.clear()
                    number, nothing = files(sum(v.rows for v in versions)), lines(DATASETS["charges"].empty())
                    with Cut(number, nothing, by=pl.col("account_id").cast(pl.String)) as cut:
                        for one in (f for v in versions for f in self.lake.read_files(v, ROLLED)):
                            cut.add(lines(one))
                        for rolled in (added(cut.take(n)) for n in range(number)):
                            counted["unrated"] += int(rolled["unrated"].sum())
                            yield rolled

                return frames(), lambda: {"unrated": counted["unrated"]}

            return {f"charges/{p['source']}": v.sha256 for p, v in charges.items()}, compute

        return self._derive("roll up", Partition.of("daily", date=day), gather)

    def _refuse_twice(self, day: date, versions: list[Version]) -> None:
        """ValueError if two charges are of one record: it would be billed twice. Ids are compared where hashes agree."""
        import polars as pl

        from etl.ordering import repeated

        key = ["kind", "record_id"]
        hashes = [file.hash_rows(seed=0) for version in versions for file in self.lake.read_files(version, key)]
        seen = pl.concat(hashes) if hashes else pl.Series(dtype=pl.UInt64)
        again = repeated(seen)
        if again.is_empty():
            return
        suspects = pl.concat(
            file.filter(file.select(key).hash_rows(seed=0).is_in(again.implode()))
            for version in versions
            for file in self.lake.read_files(version, [*key, "source"])
        )
        twice = suspects.filter(suspects.select(key).is_duplicated())
        if twice.height:
            first = twice.sort(key).row(0, named=True)
            sources = ", ".join(sorted(twice.filter(pl.col("record_id") == first["record_id"])["source"].unique()))
            raise ValueError(
                f"{day}: {twice.height} charges share a record, first {first['record_id']} of {sources}: they would be "
                "billed twice, so nothing is rolled up. Bring these records from one source, and give the other a lake of "
                "its own"
            )

    def compare(self, day: date, source: str) -> Done:
        """Events and the provider's own totals → reconciled: what we hold against what the provider says it counted."""
        from etl.lake import Partition

        need = f"python -m etl run --date {day}"

        def gather():
            keys = {"date": day, "source": source}
            events, totals = (self._need(Partition.of(dataset, **keys), need) for dataset in ("events", "ledger"))
            asked = self._asked(day, source)
            inputs = {
                f"events/{source}": events.sha256,
                f"ledger/{source}": totals.sha256,
                "asked": ",".join(asked),
                "directory": self.directory.fingerprint,
            }

            def compute(_base):
                found = self._comparison(day, events, totals, asked)
                counted = {"compared": found.height, "unexplained": int((found["verdict"] == "unexplained").sum())}
                return found, counted

            return inputs, compute

        return self._derive("reconcile", Partition.of("reconciled", date=day, source=source), gather)

    def _asked(self, day: date, source: str) -> list[str]:
        """The lists the source was asked for on a day, as its kept pages say."""
        from etl.lake import Partition

        raw = self.lake.head(Partition.of("raw", date=day, source=source))
        return sorted(set(self.lake.read(raw, ["resource"])["resource"])) if raw else []

    def _comparison(self, day: date, events, totals, asked: list[str]):
        """`schemas.Reconciled` of a version of the day's events, bucket by bucket, and one of the provider's totals."""
        import polars as pl

        from etl.reconcile import compare, ours
        from etl.schemas import DATASETS

        columns = [
            "kind", "outcome", "provider_account", "direction", "type", "status", "segments", "answered_seconds",
            "provider_cost", "vanished", "record_id", "parent_id", "occurred_at", "from_number", "to_number",
        ]  # fmt: skip
        mine, billed = [], []
        for records in self.lake.read_files(events, columns):
            mine.append(ours(records))
            billed.append(self.directory.billed(records.filter(pl.col("outcome") == "accepted"), day))
        whose = self.directory.billed_alone(billed)
        found = compare(mine, self.lake.read(totals), asked).join(whose, on="provider_account", how="left")
        return DATASETS["reconciled"].arrange(found)

    def reconcile(self, day: date, source: str):
        """`compare`, and the rows it found: `schemas.Reconciled`."""
        from etl.lake import Partition
        from etl.schemas import DATASETS

        self.compare(day, source)
        head = self.lake.head(Partition.of("reconciled", date=day, source=source))
        return self.lake.read(head, DATASETS["reconciled"].columns)


def _late_sums(count: Callable[[], dict[str, int]], duplicates: int) -> dict[str, str]:
    """What a day counts up to with what came late; copies among that are no copies of its own pages."""
    return {name: str(n) for name, n in (count() | {"duplicates": duplicates}).items()}


def _pages_erased(raw) -> str:
    """What to say of a day whose pages have expired."""
    return (
        f"{raw.partition}: its pages were erased by retention on {raw.recorded_at[:10]}, so its events stay as they are; "
        f"python -m etl run --date {raw.partition['date']} fetches them again, if the provider still has them"
    )
