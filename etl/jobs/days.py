"""The verbs of a day: pull, normalise, rate, reconcile, roll up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, timedelta

from etl.jobs.base import Base, Done, NotReady


class DayVerbs(Base):
    """Each turns the heads of its inputs into one commit of one (date, source) or one date."""

    def pull(self, day: date, source: str) -> Done:
        """Fetch the whole UTC day from a source and keep every page as received. NotReady if the day is not over."""
        import polars as pl

        from etl.lake import Partition
        from etl.schemas import DATASETS
        from etl.sources._packs import SUFFIX, pack

        if day >= self.clock().astimezone(UTC).date():
            raise NotReady(
                f"{day} (UTC) is not over: the earliest time to load it is {day + timedelta(days=1)} 00:00 UTC"
            )
        target = Partition.of("raw", date=day, source=source)

        def compute(_base):
            rows = pack(self.sources[source].fetch(day), lambda data: self.lake.put_blob("raw", data, SUFFIX, p=target))
            return DATASETS["raw"].arrange(pl.DataFrame(rows, schema=DATASETS["raw"].types, orient="row")), {}

        # A source is asked again each time: only it knows whether the day changed.
        return self._derive("pull", target, lambda: (None, compute))

    def normalise(self, day: date, source: str) -> list[Done]:
        """Kept pages → events and the provider's own totals."""
        from etl.lake import Partition
        from etl.schemas import DATASETS
        from etl.sources.normalise import counts, normalise

        readings = {}

        def reading(raw):
            if raw.sha256 not in readings:
                readings[raw.sha256] = self.sources[source].read(self._pages(raw), day)
            return readings[raw.sha256]

        def from_raw(make: Callable) -> Callable:
            def gather():
                raw = self._need(Partition.of("raw", date=day, source=source), f"python -m etl pull --date {day}")
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
        """The day's events (`schemas.Events`) as its kept pages say today, merged with those stored. Writes nothing."""
        from etl.lake import Partition
        from etl.schemas import DATASETS
        from etl.sources.normalise import normalise

        raw, events = (self._need(Partition.of(d, date=day, source=source), "run") for d in ("raw", "events"))
        stored = self.lake.read(events, DATASETS["events"].columns)
        return normalise(self.sources[source].read(self._pages(raw), day).events, stored).events

    def rate(self, day: date, source: str) -> Done:
        """Accepted events → charges, by the directory and the rate card."""
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
                attributed = self.directory.attribute(accepted, day, self.settings.currency)
                charges = rate(attributed, self.card, day, credits_per_segment=self.settings.credits_per_segment)
                return charges, {"unrated": charges["unrated"].is_not_null().sum()}

            return inputs, compute

        return self._derive("rate", Partition.of("charges", date=day, source=source), gather)

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
        import polars as pl

        from etl.lake import Partition
        from etl.reconcile import compare
        from etl.schemas import DATASETS

        need = f"python -m etl run --date {day}"
        columns = [
            "kind", "outcome", "provider_account", "direction", "type", "status", "segments", "answered_seconds",
            "provider_cost", "vanished", "record_id", "parent_id", "occurred_at", "from_number", "to_number",
        ]  # fmt: skip

        def gather():
            keys = {"date": day, "source": source}
            events, totals = (self._need(Partition.of(dataset, **keys), need) for dataset in ("events", "ledger"))
            raw = self.lake.head(Partition.of("raw", **keys))
            asked = sorted(set(self.lake.read(raw, ["resource"])["resource"])) if raw else []
            inputs = {
                f"events/{source}": events.sha256,
                f"ledger/{source}": totals.sha256,
                "asked": ",".join(asked),
                "directory": self.directory.fingerprint,
            }

            def compute(_base):
                records = self.lake.read(events, columns)
                billed = self.directory.billed(records.filter(pl.col("outcome") == "accepted"), day)
                found = compare(records, self.lake.read(totals), asked).join(billed, on="provider_account", how="left")
                counted = {"compared": found.height, "unexplained": int((found["verdict"] == "unexplained").sum())}
                return DATASETS["reconciled"].arrange(found), counted

            return inputs, compute

        return self._derive("reconcile", Partition.of("reconciled", date=day, source=source), gather)

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
