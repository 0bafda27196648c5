"""The verb for records that changed their day at the provider."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date, timedelta
from typing import TYPE_CHECKING

from etl.jobs.base import STALE_TRIES, Done
from etl.jobs.days import LATE, DayVerbs

if TYPE_CHECKING:
    import polars as pl

    from etl.lake import Version


class MovedVerbs(DayVerbs):
    """After the days were read, for it takes all of them to know where a record is now."""

    def moved(self, days: Iterable[date], sources: Iterable[str] | None = None) -> list[Done]:
        """What vanished from one of these days and is listed on another of them is billed there alone: its old day is
        committed, rated and rolled up again. A second time finds nothing to do."""
        from etl.lake import Stale

        wanted, done = sorted(set(days)), []
        for source in (sources or self.settings.sources) if wanted else ():
            for attempt in range(STALE_TRIES):
                try:
                    self._move_all(wanted, source, done)
                    break
                except Stale:
                    if attempt + 1 == STALE_TRIES:
                        raise
        return done

    def _move_all(self, days: list[date], source: str, done: list[Done]) -> None:
        """One pass over the events of all these days, and only when some of them had a record that vanished."""
        from etl.sources import _moved as moved

        late = range(self._late_days(source) + 1)
        days = sorted({day - timedelta(days=back) for day in days for back in late})
        window = {day.isoformat() for day in days}
        heads = self.lake.heads("events", date=(days[0], days[-1]), source=source)
        heads = {p: v for p, v in heads.items() if p["date"] in window}
        vanished = [v for v in heads.values() if v.sums.get("vanished") != "0"]
        named = {}
        if vanished and len(heads) > 1:
            gone = moved.gone(self.lake.scan(vanished)).collect()
            if not gone.is_empty():
                found = moved.elsewhere(gone, self.lake.scan(list(heads.values())))
                named = {
                    day: rows for (day,), rows in found.partition_by("date", as_dict=True, include_key=False).items()
                }
        for partition, head in heads.items():
            day = date.fromisoformat(partition["date"])
            if day in named:
                done += self._move_away(head, named[day], day)
            elif head.reason in ("moved", LATE):
                # The charges have yet to follow what came late; and who moved a record may have died before they did.
                done += [one for one in (self.rate(day, source), self.roll_up(day)) if one.changed]

    def _move_away(self, head: Version, found: pl.DataFrame, day: date) -> list[Done]:
        from etl.schemas import DATASETS
        from etl.sources import _moved as moved
        from etl.sources.normalise import counts

        at = head.partition
        total: Counter[str] = Counter()

        def frames():
            for stored in self.lake.read_files(head):
                frame = moved.without(DATASETS["events"].filled(stored), found)
                total.update(counts(frame))
                yield frame

        def sums():
            # Another reason may have gone with its last record.
            kept = {name: n for name, n in head.sums.items() if name not in total and ": " not in name}
            return kept | {name: str(n) for name, n in total.items()}

        # Its inputs stay: the day was read from the same pages, and need not be read again.
        version = self.lake.commit(at, frames(), base=head, inputs=head.inputs, sums=sums, reason="moved")
        done = Done("moved", at.path, version.seq, version.rows, True, {"moved": found.height})
        return [done, self.rate(day, at["source"]), self.roll_up(day)]
