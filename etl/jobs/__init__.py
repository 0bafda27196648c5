"""The verbs: pull, normalise, rate, reconcile, roll up, state, close. What the DAGs and the command line call.

Each verb turns the heads of its input partitions into one commit of its output partition, and does nothing when those
inputs, the code and the settings are the ones its head was computed from. So every verb can be killed and run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date

from etl.jobs.base import Done, NotReady, Report, code_fingerprint
from etl.jobs.closing import CloseVerbs
from etl.jobs.invoice import InvoiceVerbs
from etl.jobs.moved import MovedVerbs
from etl.jobs.retention import RetentionVerbs
from etl.periods import Month

__all__ = ["Done", "Jobs", "NotReady", "Report", "code_fingerprint", "held"]


class Jobs(MovedVerbs, RetentionVerbs, InvoiceVerbs, CloseVerbs):
    """The verbs, bound to one configuration and one run."""

    def run_day(self, day: date, sources: Iterable[str] | None = None) -> Report:
        """pull → normalise → rate and compare for each source, then roll up; the days before as well, for which records came
        late. A source that fails stops the day, not the others'."""
        done: list[Done] = []
        earlier: set[date] = set()
        for source in sources or self.sources:
            done += [self.pull(day, source), *self.normalise(day, source)]
            done += [self.rate(day, source), self.compare(day, source)]
            for own in self.brought_late(day, source):
                done.append(self.rate(own, source))
                earlier.add(own)
        done += [self.roll_up(own) for own in (*sorted(earlier), day)]
        return Report(tuple(done), tuple(held(done)))

    def audit(
        self, days: Iterable[date], *, months: Iterable[Month] = (), more: Iterable[date] = (), deep: bool = False,
        notes: str = "",
    ) -> list:  # fmt: skip
        """A verdict on every invariant for these UTC days from go-live on, their months, ``months`` as a whole, and ``more``
        days without their months: `etl.audit.examine`. Changes nothing but, with ``notes`` of "write", what is noted
        of days that are well; with it and with "read" they are not read again."""
        from etl.audit import examine

        due, beside = ([day for day in some if day >= self.settings.start] for some in (days, more))
        return examine(
            self.lake, due, self.settings.sources, self.directory, bounds=self.settings.bounds, months=months,
            more=beside, read_again=self.read_again, deep=deep, notes=notes,
        )  # fmt: skip

    def rate_day(self, day: date, sources: Iterable[str] | None = None) -> list[Done]:
        """rate what is in the lake again, then roll up. What was compared is compared again: whose a record is may have
        changed."""
        from etl.lake import Partition

        done: list[Done] = []
        for source in sources or self.sources:
            done.append(self.rate(day, source))
            if self.lake.head(Partition.of("reconciled", date=day, source=source)):
                done.append(self.compare(day, source))
        return [*done, self.roll_up(day)]


def held(done: Iterable[Done]) -> Iterator[str]:
    """What a day's outcome holds back, as sentences."""
    for one in done:
        if one.verb == "rate" and one.counts.get("unrated"):
            yield f"{one.partition}: {one.counts['unrated']} event(s) without a price"
        if one.verb == "normalise" and one.counts.get("quarantined"):
            yield f"{one.partition}: {one.counts['quarantined']} record(s) in quarantine"
