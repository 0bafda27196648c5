"""The verbs of what changed in closed months: find it, and book it in the open month."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from etl.jobs.base import Base, Done
from etl.periods import Month

if TYPE_CHECKING:
    import polars as pl

    from etl.lake import Version


@dataclass(frozen=True)
class Closed:
    """A closed month as some accounts closed it: account → its newest manifest, and manifests of the closed months after."""

    month: Month
    manifests: Mapping[str, Mapping]
    after: tuple[Mapping[str, Mapping], ...]

    @property
    def accounts(self) -> list[str]:
        return sorted(self.manifests)


class CorrectionVerbs(Base):
    """An account's corrections are booked in the first month it has not closed."""

    def correct(self, month: Month) -> Done:
        """The charges of closed months, as closed and as they are now → corrections, for the accounts of which ``month`` is
        the first open one. Accounts that closed ``month`` keep what they closed it with."""
        from etl.lake import Partition

        def gather():
            closed, kept = self._closed_before(month), self._kept("corrections", month)
            inputs = {**self._rests_on(closed), **_names(kept)}

            def compute(_base):
                from etl.corrections import all_of
                from etl.manifests import rows
                from etl.schemas import DATASETS

                corrections = DATASETS["corrections"]
                found = [self._bookable(self._changed_records(one), month) for one in closed]
                found += [rows(self.lake, version, accounts) for version, accounts in kept.items()]
                every = corrections.arrange(all_of(found, corrections.empty()))
                return every, {"records": every["record_id"].drop_nulls().n_unique()}

            return inputs, compute

        return self._derive("correct", Partition.of("corrections", month=str(month)), gather, settled=True)

    # -------------------------------------------------------------------------------------------- inside

    def _corrections(self, month: Month) -> pl.DataFrame:
        """The correction lines of a month (`corrections.CHANGES`): as an account closed it, else as closed months now ask."""
        import polars as pl

        from etl.corrections import BOOKED, booked_lines, counted
        from etl.lake import Partition
        from etl.manifests import closings, rows, rows_as_closed

        kept = rows_as_closed(self.lake, closings(self.lake, month), "statement", BOOKED)
        closed = self._closed_before(month)
        head = self.lake.head(Partition.of("corrections", month=str(month)))
        if head is None or not closed:
            return booked_lines(kept)
        changes = pl.concat([self._changed_lines(one) for one in closed])
        return pl.concat([booked_lines(kept), counted(changes, rows(self.lake, head, changes["account_id"].unique()))])

    def _bookable(self, rows: pl.DataFrame, month: Month) -> pl.DataFrame:
        """Without what can be on no statement of the month: of an account that is gone, or in another currency."""
        from etl.directory import account_terms

        known = account_terms(self._directory_of(month).of_month(month)).select("account_id", "currency")
        return rows.join(known, on=["account_id", "currency"], how="semi")

    def _closed_before(self, month: Month) -> list[Closed]:
        """Every closed month before ``month``, oldest first, of the accounts whose first open month it is."""
        from etl.manifests import closings, revisions

        months = self._earlier(month)
        here = set(revisions(self.lake, month))
        open_here = set(revisions(self.lake, months[-1])) - here if months else set()
        found: list[Closed] = []
        later: tuple[Mapping[str, Mapping], ...] = ()
        for earlier in reversed(months):
            manifests = {a: m for a, m in closings(self.lake, earlier).items() if a in open_here} if open_here else {}
            open_here &= set(manifests)
            if manifests:
                found.append(Closed(earlier, manifests, later))
            later = (*later, manifests)
        return found[::-1]

    def _earlier(self, month: Month) -> list[Month]:
        """Every month from go-live to before ``month``, oldest first."""
        found, one = [], Month.of(self.settings.start)
        while one < month:
            found.append(one)
            one += 1
        return found

    def _rests_on(self, closed: Iterable[Closed]) -> dict[str, str]:
        """What corrections of closed months are computed from, by name."""
        from etl.lake import Partition

        inputs = {}
        for one in closed:
            head = self.lake.head(Partition.of("statement", month=str(one.month)))
            inputs[f"statement/{one.month}"] = head.sha256 if head else ""
            if head and any(m["statement"]["sha256"] != head.sha256 for m in one.manifests.values()):
                days = self.lake.heads("daily", date=(one.month.first, one.month.days[-1]))
                listed = "\n".join(f"{p} {v.sha256}" for p, v in sorted(days.items(), key=lambda item: item[0].path))
                inputs[f"days/{one.month}"] = hashlib.sha256(listed.encode()).hexdigest()
            for account, manifest in one.manifests.items():
                inputs[f"closed/{one.month}/{account}"] = f"revision {manifest['revision']}"
        return inputs

    def _kept(self, dataset: str, month: Month) -> dict[Version, list[str]]:
        """The versions that accounts closed this very month with, and which accounts."""
        from etl.manifests import closings, pinned

        kept: dict[Version, list[str]] = {}
        for account, manifest in closings(self.lake, month).items():
            if dataset in manifest:
                kept.setdefault(pinned(self.lake, manifest[dataset]), []).append(account)
        return kept

    def _changed_lines(self, one: Closed) -> pl.DataFrame:
        """`corrections.CHANGES` of a closed month."""
        from etl.corrections import BOOKED, changed_lines, no_lines
        from etl.lake import Partition
        from etl.manifests import rows, rows_as_closed

        head = self.lake.head(Partition.of("statement", month=str(one.month)))
        same = head is not None and all(m["statement"]["sha256"] == head.sha256 for m in one.manifests.values())
        booked = [rows_as_closed(self.lake, manifests, "statement", BOOKED) for manifests in one.after]
        if head is None or (same and not any(frame.height for frame in booked)):
            return no_lines()
        closed = rows_as_closed(self.lake, one.manifests, "statement")
        return changed_lines(closed, rows(self.lake, head, one.accounts), _all("statement", booked), str(one.month))

    def _changed_records(self, one: Closed) -> pl.DataFrame:
        """`schemas.Corrections` of a closed month: reads only the days that were rolled up otherwise since."""
        import polars as pl

        from etl.corrections import changed_records
        from etl.manifests import rows_as_closed
        from etl.schemas import DATASETS

        lines = self._changed_lines(one)
        if lines.is_empty():
            return DATASETS["corrections"].empty()
        heads = self.lake.heads("daily", date=(one.month.first, one.month.days[-1]))
        now_of = {p["date"]: self._rated(v) for p, v in heads.items()}
        closed, now = [], []
        for versions, accounts in self._days_closed(one).items():
            then_of = {v.partition["date"]: self._rated(v) for v in versions}
            mine = pl.col("account_id").is_in(accounts)
            for day in sorted(then_of.keys() | now_of.keys()):
                then, at_last = then_of.get(day, {}), now_of.get(day, {})
                differing = [s for s in then.keys() | at_last.keys() if then.get(s) != at_last.get(s)]
                closed += [self.lake.scan([then[s]]).filter(mine) for s in sorted(differing) if s in then]
                now += [self.lake.scan([at_last[s]]).filter(mine) for s in sorted(differing) if s in at_last]
        booked = [rows_as_closed(self.lake, manifests, "corrections") for manifests in one.after]
        nothing = self._rows("charges", {})
        return changed_records(
            pl.concat(closed) if closed else nothing, pl.concat(now) if now else nothing, _all("corrections", booked), lines,
            str(one.month),
        )  # fmt: skip

    def _changed_lots(self, month: Month) -> pl.DataFrame:
        """`credits.CORRECTIONS` of the accounts that closed the month before and not this one: what that month would leave
        now, less what it was closed with. What changed in months before it is in what it would leave."""
        import polars as pl

        from etl.corrections import changed_lots
        from etl.credits import CORRECTIONS
        from etl.lake import Partition
        from etl.manifests import rows, rows_as_closed

        last = self._closed_before(month)[-1:]
        manifests = {a: m for a, m in last[0].manifests.items() if "credits" in m} if last else {}
        head = self.lake.head(Partition.of("credits", month=str(last[0].month))) if last else None
        if head is None or all(m["credits"]["sha256"] == head.sha256 for m in manifests.values()):
            return pl.DataFrame(schema=CORRECTIONS)
        then = rows_as_closed(self.lake, manifests, "credits")
        return changed_lots(then, rows(self.lake, head, manifests), str(last[0].month))

    def _days_closed(self, one: Closed) -> dict[tuple[Version, ...], list[str]]:
        """The roll-ups that accounts closed the month with, and which accounts."""
        from etl.manifests import pinned

        found: dict[tuple[Version, ...], list[str]] = {}
        for account, manifest in one.manifests.items():
            days = tuple(pinned(self.lake, reference) for reference in manifest["daily"])
            found.setdefault(days, []).append(account)
        return found

    def _rated(self, rolled: Version) -> dict[str, Version]:
        """Source → the charges a roll-up was made of."""
        from etl.lake import Partition

        found = {}
        for name, sha in rolled.inputs.items():
            source = name.removeprefix("charges/")
            partition = Partition.of("charges", date=rolled.partition["date"], source=source)
            head = self.lake.head(partition)
            same = (
                [head] if head and head.sha256 == sha else [v for v in self.lake.history(partition) if v.sha256 == sha]
            )
            if not same:
                raise LookupError(
                    f"{partition}: the log has no version {sha[:12]}, which {rolled.partition} was made of"
                )
            found[source] = same[-1]
        return found

    def _rows(self, dataset: str, heads: Mapping):
        """The rows of these partitions with their date and source, lazily."""
        import polars as pl

        from etl.schemas import DATASETS

        if heads:
            return self.lake.scan(list(heads.values()))
        return DATASETS[dataset].empty().lazy().with_columns(date=pl.lit(None, pl.Date), source=pl.lit(None, pl.String))


def _all(dataset: str, frames: list[pl.DataFrame]) -> pl.DataFrame:
    from etl.corrections import all_of
    from etl.schemas import DATASETS

    return all_of(frames, DATASETS[dataset].empty())


def _names(kept: Iterable[Version]) -> dict[str, str]:
    """Versions that closed accounts keep, as inputs."""
    return {f"kept/{v.partition.dataset}/{v.seq}": v.sha256 for v in kept}
