"""The verbs of a day: pull, normalise, rate, reconcile, roll up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, timedelta
from typing import TYPE_CHECKING

from etl.jobs.base import STALE_TRIES, Base, Done, NotReady, _numbers, log, weighed
from etl.periods import Month

if TYPE_CHECKING:
    from etl.lake import Partition


class DayVerbs(Base):
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
        """Kept pages → events and the provider's own totals. Of a day whose pages retention has erased, both stay as they
        are: read again, it would have no record at all."""
        from etl.lake import EXPIRED, Partition
        from etl.schemas import DATASETS
        from etl.sources.normalise import counts, normalise

        readings = {}
        raw_at, *made = (Partition.of(d, date=day, source=source) for d in ("raw", "events", "ledger"))
        raw, heads = self.lake.head(raw_at), [self.lake.head(p) for p in made]
        if raw and raw.reason == EXPIRED and all(heads):
            log.info("%s", _pages_erased(raw))
            return [Done("normalise", v.partition.path, v.seq, v.rows, False, _numbers(v.sums)) for v in heads]

        def reading(raw):
            if raw.sha256 not in readings:
                readings[raw.sha256] = self.sources[source].read(self._pages(raw), day)
            return readings[raw.sha256]

        def from_raw(make: Callable) -> Callable:
            def gather():
                raw = self._need(raw_at, f"python -m etl pull --date {day}")
                if raw.reason == EXPIRED:
                    raise NotReady(_pages_erased(raw))
                inputs = {f"raw/{source}": raw.sha256, "source": self.settings.sources[source].fingerprint()}
                return inputs, lambda base: make(reading(raw), base)

            return gather

        def events(read, base):
            previous = self.lake.read(base, DATASETS["events"].columns) if base else None
            result = normalise(read.events, previous)
            return result.events, {**counts(result.events), "duplicates": result.duplicates}

        def ledger(read, _base):
            return DATASETS["ledger"].arrange(read.ledger), {}

        return [
            self._derive("normalise", Partition.of("events", date=day, source=source), from_raw(events)),
            self._derive("normalise", Partition.of("ledger", date=day, source=source), from_raw(ledger)),
        ]

    def read_again(self, day: date, source: str):
        """The day's events (`schemas.Events`) as its kept pages say today, merged with those stored. Writes nothing.
        NotReady once its pages are erased."""
        from etl.lake import EXPIRED, Partition
        from etl.schemas import DATASETS
        from etl.sources.normalise import normalise

        raw, events = (self._need(Partition.of(d, date=day, source=source), "run") for d in ("raw", "events"))
        if raw.reason == EXPIRED:
            raise NotReady(_pages_erased(raw))
        stored = self.lake.read(events, DATASETS["events"].columns)
        return normalise(self.sources[source].read(self._pages(raw), day).events, stored).events

    def rate(self, day: date, source: str) -> Done:
        """Accepted events → charges, by the directory and the rate card. ValueError where the tables have come to ask for
        more digits than retention left."""
        import polars as pl

        from etl.lake import Partition
        from etl.rating.charge import rate

        columns = [
            "record_id", "kind", "outcome", "provider_account", "direction", "type", "status", "occurred_at",
            "from_number", "to_number", "segments_reported", "segments_computed", "segments", "carrier", "ended_at",
            "answered_seconds", "parent_id", "provider_cost", "provider_currency", "vanished",
        ]  # fmt: skip

        def gather():
            events = self._need(Partition.of("events", date=day, source=source), f"python -m etl run --date {day}")
            inputs = {
                f"events/{source}": events.sha256,
                "directory": self.directory.fingerprint,
                "rates": self.card.fingerprint,
            }

            def compute(_base):
                accepted = self.lake.read(events, columns).filter(pl.col("outcome") == "accepted")
                self._refuse_beyond(accepted, day, events.partition)
                # An account that closed the month keeps the terms it closed it with.
                attributed = self._directory_of(Month.of(day)).attribute(accepted, day, self.settings.currency)
                charges = rate(attributed, self.card, day, credits_per_segment=self.settings.credits_per_segment)
                return charges, {"unrated": charges["unrated"].is_not_null().sum()}

            return inputs, compute

        return self._derive("rate", Partition.of("charges", date=day, source=source), gather)

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
        from etl.lake import Partition
        from etl.rollup import daily

        def gather():
            charges = self.lake.heads("charges", date=day)
            if not charges:
                raise NotReady(f"nothing is rated for {day}: run python -m etl run --date {day}")

            def compute(_base):
                every = self.lake.scan(list(charges.values())).collect()
                _refuse_twice(every, day)
                rolled = daily(every.drop("date", "source"))
                return rolled, {"unrated": int(rolled["unrated"].sum())}

            return {f"charges/{p['source']}": v.sha256 for p, v in charges.items()}, compute

        return self._derive("roll up", Partition.of("daily", date=day), gather)

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
        """`schemas.Reconciled` of a version of the day's events and one of the provider's totals."""
        import polars as pl

        from etl.reconcile import compare
        from etl.schemas import DATASETS

        columns = [
            "kind", "outcome", "provider_account", "direction", "type", "status", "segments", "answered_seconds",
            "provider_cost", "vanished", "record_id", "parent_id", "occurred_at", "from_number", "to_number",
        ]  # fmt: skip
        records = self.lake.read(events, columns)
        billed = self.directory.billed(records.filter(pl.col("outcome") == "accepted"), day)
        found = compare(records, self.lake.read(totals), asked).join(billed, on="provider_account", how="left")
        return DATASETS["reconciled"].arrange(found)

    def reconcile(self, day: date, source: str):
        """`compare`, and the rows it found: `schemas.Reconciled`."""
        from etl.lake import Partition
        from etl.schemas import DATASETS

        self.compare(day, source)
        head = self.lake.head(Partition.of("reconciled", date=day, source=source))
        return self.lake.read(head, DATASETS["reconciled"].columns)

    def _pages(self, raw) -> Iterator:
        from etl.sources._packs import SUFFIX, unpack

        return unpack(self.lake.read(raw), lambda sha: self.lake.get_blob("raw", sha, SUFFIX, p=raw.partition))


def _pages_erased(raw) -> str:
    """What to say of a day whose pages have expired."""
    return (
        f"{raw.partition}: its pages were erased by retention on {raw.recorded_at[:10]}, so its events stay as they are; "
        f"python -m etl run --date {raw.partition['date']} fetches them again, if the provider still has them"
    )


def _refuse_twice(charges, day: date) -> None:
    """ValueError if two sources hold the same record: it would be billed twice."""
    import polars as pl

    key = ["kind", "record_id"]
    twice = charges.filter(charges.select(key).is_duplicated())
    if twice.height:
        first = twice.sort(key).row(0, named=True)
        sources = ", ".join(sorted(twice.filter(pl.col("record_id") == first["record_id"])["source"].unique()))
        raise ValueError(
            f"{day}: {twice.height} charges share a record, first {first['record_id']} of {sources}: they would be "
            "billed twice, so nothing is rolled up. Bring these records from one source, and give the other a lake of its own"
        )
