"""The verbs of a month's end: what is still open, why, and closing it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache, cached_property, partial
from itertools import groupby
from typing import TYPE_CHECKING

from etl.jobs.base import STALE_TRIES
from etl.jobs.months import MonthVerbs
from etl.periods import Month

if TYPE_CHECKING:
    import polars as pl

    from etl.audit import Result
    from etl.closing import Closing, Hold, Reopening, Standing
    from etl.explain import Explanation, Key
    from etl.lake import Partition, Version
    from etl.operations import Operations


@dataclass(frozen=True)
class _Stand:
    """A month as it would be closed: its statement, the rows, what they were computed from, who closed it, and what was
    compared."""

    head: Version
    stated: pl.DataFrame
    rolled: Mapping[Partition, Version]
    by_month: tuple[Version, ...]
    closed: Mapping[str, Mapping]
    reconciled: Mapping[Partition, Version]

    @cached_property
    def totals(self) -> Mapping[str, Decimal]:
        """account_id → what it is billed."""
        import polars as pl

        totals = self.stated.filter(pl.col("section") == "total").group_by("account_id").agg(pl.col("amount").sum())
        return dict(totals.iter_rows())


class CloseVerbs(MonthVerbs):
    """A month is closed account by account; what holds one says so and holds no other."""

    def close(self, month: Month, accounts: Iterable[str] | None = None, *, on: date | None = None) -> list[Closing]:
        """Close the month for each account that may close; the others say why not. ``on`` is the day it is done."""
        from etl import closing

        chosen = list(accounts or [a.account_id for a in self.directory.of_month(month)])
        for account_id in chosen:
            self.directory.account(account_id)
        stand, standing = self._judged_for(month, chosen, on or self._today())
        results, told, named = [], self._told(month), closing.every_named(self.directory)
        for account_id in chosen:
            if account_id in stand.closed:
                later = self._changed_since(month, stand.closed[account_id], stand.stated)
                revision = stand.closed[account_id]["revision"]
                results.append(closing.Closing(account_id, month, revision, later=later))
            elif standing[account_id].holds:
                results.append(closing.Closing(account_id, month, 0, standing[account_id].holds))
            else:
                accepted, names = standing[account_id].accepted, named(account_id)
                document = self._manifest(month, account_id, stand, accepted, told.get(account_id, {}), names)
                results.append(closing.close(self.lake, document))
        self.__dict__.pop("statements", None)
        return results

    def reopen(self, month: Month, account_id: str, reason: str) -> Reopening:
        """Close a closed month once more, as it stands now, as its next revision; the one before stays. Held like closing.
        Nothing has changed: no revision is made. Then the months after it are stated again, for what they corrected may
        no longer be due. Safe to repeat and to interrupt.

        ValueError without a reason, or for a month the account has not closed.
        """
        from etl import closing
        from etl.lake import Conflict, Stale

        self.directory.account(account_id)
        if not reason.strip():
            raise ValueError("say why: --reason TEXT is printed on the statement")
        for _ in range(STALE_TRIES):
            stand, standing = self._judged_for(month, [account_id], self._today(), again=True)
            last = stand.closed.get(account_id)
            if last is None:
                raise ValueError(
                    f"{month} is not closed for {account_id}: python -m etl close --month {month} --account {account_id}"
                )
            holds, accepted = standing[account_id].holds, standing[account_id].accepted
            document = self._manifest(
                month, account_id, stand, accepted, self._told(month).get(account_id, {}),
                closing.named(self.directory, account_id), last["revision"] + 1, reason.strip(),
            )  # fmt: skip

            def outcome(newest: Mapping, held: tuple[str, ...] = (), last: Mapping = last) -> Reopening:
                totals = Decimal(newest["total"]), Decimal(last["total"])
                return closing.Reopening(
                    account_id, month, newest["revision"], last["revision"], *totals, newest["currency"],
                    newest.get("reason", ""), held,
                )  # fmt: skip

            if closing.alike(self.lake, last, document):
                result = outcome(last)
            elif holds:
                return outcome(last, holds)
            else:
                try:
                    closing.close(self.lake, document)
                except Conflict:
                    continue  # a rival's revision came first: look what it left to do
                result = outcome(document)
            self.restate([month])
            self.__dict__.pop("statements", None)
            return result
        raise Stale(f"{month} of {account_id} was reopened {STALE_TRIES} times by others: is another run on?")

    def accept(self, month: Month, account_id: str, hold: str, reason: str) -> dict:
        """Write down that a person finds a hold right, by its name; what was written, be it by whoever came first.
        ValueError without a reason; LookupError if nothing of that name holds the account's month, or nobody may waive it."""
        from etl import acceptance

        self.directory.account(account_id)
        if not reason.strip():
            raise ValueError("say why: --reason TEXT is kept with it")
        if hold in acceptance.names(self.lake, month).get(account_id, ()):
            return self.lake.get_pin(acceptance.key(month, account_id, hold))
        rolled, changed = self._month_days(month), self._changed_before(month)
        found = self._holding(month, [account_id], self._stated_now(month), rolled, changed, self._today())
        holding = self._promised(month, found, changed)
        known = {h.name(month, account_id): h for h in holding[account_id] if h.sentence}
        if hold not in known:
            others = ", ".join(sorted(known)) or "nothing"
            raise LookupError(
                f"{hold} is not what holds {month} of {account_id}: what may be accepted there is {others}. A hold whose "
                "figures moved has another name"
            )
        at = self.clock().astimezone(UTC).isoformat(timespec="seconds")
        held = known[hold]
        return acceptance.accept(self.lake, held.month or month, account_id, held.sentence, reason.strip(), at)

    def withheld(self, month: Month, *, mail: bool = False) -> dict[str, str]:
        """Account → why its page of the month is not published or, with ``mail``, its final statement not mailed: a broken
        promise, and for the mail a day out of bounds that nobody accepted.

        Judged on the lake as it is now, and kept nowhere: what is mended is published by the next run, what broke since
        the night is not. Of a closed month only what it was closed with counts, for nothing else is on its page: its days
        were within bounds then, or accepted. Days that are missing are named on the page, and hold nothing here.
        """
        from etl.audit import BOUNDS, BROKEN, out_of_bounds
        from etl.closing import missing
        from etl.manifests import closings

        closed, rolled = closings(self.lake, month), self._month_days(month)
        customers = {a.account_id for a in self.directory.of_month(month)}
        due = [day for day in month.days if day >= self.settings.start]
        lacking = missing(self.lake, rolled, month, self.settings.sources, self.settings.start)
        days = [] if mail or customers <= set(closed) else [day for day in due if day not in lacking]
        results = self.audit(days, months=[month], notes="read")
        found = [r for r in results if r.verdict == BROKEN and r.invariant != BOUNDS]
        bounds = out_of_bounds(self.lake, due, self.settings.bounds) if mail else []
        held: dict[str, str] = {}
        for account in sorted(customers | set(closed)):
            pinned = ("closed stays closed", "one mail each") if account in closed else ()
            mine = [r for r in found if not pinned or r.invariant in pinned]
            mine += [r for r in bounds if r.verdict == BROKEN and not pinned]
            for result in mine:
                if result.concerns(account):
                    held.setdefault(account, str(result))
        return held

    def operations(self, month: Month) -> Operations:
        """The month as its operator sees it. Reads the lake and changes nothing."""
        from etl.operations import gather
        from etl.schemas import DATASETS

        rolled, charged = self._month_days(month), self.lake.head(self._partition("monthly", month))
        head = self.lake.head(self._partition("statement", month))
        stated = self.lake.read(head, DATASETS["statement"].columns) if head else None
        lags = bool(rolled) and (stated is None or not self._lines(month, rolled, charged).equals(stated))
        return gather(
            self.lake, self.directory, self.settings, month, now=self.clock(), lags=lags,
            behind=self._stale_days(rolled), ends=self.loose_ends(month), open_before=self._more_holds(month, rolled, stated),
        )  # fmt: skip

    def explain(self, account_id: str, month: Month, key: Key, records: int = 5) -> Explanation:
        """Where one line of an account's statement comes from. Reads the lake and changes nothing."""
        from etl.explain import gather

        return gather(
            self.lake, self.directory, self.card, self.taxes, self.settings, account_id, month, key, records=records
        )

    def explanations(self) -> Callable[[str, Month], tuple[Explanation, ...]]:
        """What explains every line of an account's month, for as many accounts as are asked for, with one pass over a
        month's records. What it has read once it does not read again."""

        @cache
        def reader():
            from etl.explain import Reader

            return Reader(self.lake, self.directory, self.card, self.taxes, self.settings, whole=True)

        def explain(account_id: str, month: Month) -> tuple[Explanation, ...]:
            from etl.explain import gather_account

            return gather_account(reader(), account_id, month)

        return explain

    def loose_ends(self, month: Month) -> list[str]:
        """What the month holds that no account pays for, as sentences: records in quarantine and usage of no account."""
        import polars as pl

        from etl.schemas import SECOND_LINES

        window = (month.first, month.days[-1])
        quarantined = sum(int(v.sums.get("quarantined", 0)) for v in self.lake.heads("events", date=window).values())
        daily = self._daily(self._month_days(month)).select("account_id", "line", "events").collect()
        billed = pl.col("account_id").is_in([a.account_id for a in self.directory.of_month(month)])
        second = pl.col("line").is_in(SECOND_LINES)
        strays = daily.filter(~billed & ~second)["events"].sum()
        ends = []
        if quarantined:
            ends.append(f"{month}: {quarantined} record(s) in quarantine: see docs/sources.md for each reason's remedy")
        if strays:
            ends.append(
                f"{month}: {strays} record(s) of no account of that month: complete accounts.csv, then python -m etl rate "
                f"--month {month}"
            )
        return ends + self._nobody_s_totals(month) + self._dated_too_early(month)

    # -------------------------------------------------------------------------------------------- inside

    def _open_before(self, month: Month) -> dict[str, tuple[str, ...]]:
        """Account → why the month before holds this one: storage and credits are carried on, so a month may not close
        before the one it rests on."""
        from etl.manifests import revisions

        before = month - 1
        if before < Month.of(self.settings.start):
            return {}
        still_open = {a.account_id for a in self.directory.of_month(before)} - set(revisions(self.lake, before))
        reason = f"{before} is still open: close it first, python -m etl close --month {before}"
        return dict.fromkeys(sorted(still_open), (reason,))

    def _judged_for(
        self, month: Month, accounts: list[str], today: date, *, again: bool = False
    ) -> tuple[_Stand, dict[str, Standing]]:
        """The month as it stands, and what holds those of these accounts that have not closed it (``again``: closed or
        not). What is judged is what is pinned: a roll-up that came in between is judged again."""
        from etl.lake import Stale
        from etl.manifests import closings

        for _ in range(STALE_TRIES):
            changed = self._changed_before(month)
            stand = _Stand(*self._stated(month), closings(self.lake, month), self._compared(month))
            waiting = [a for a in accounts if again or a not in stand.closed]
            standing = self._standing(month, waiting, stand.stated, stand.rolled, changed, today)
            unmoved = self._month_days(month) == stand.rolled and self._compared(month) == stand.reconciled
            if unmoved and self._changed_before(month) == changed:
                return stand, standing
        raise Stale(f"{month} was rolled up again {STALE_TRIES} times while it was closing: is another run on?")

    def _manifest(
        self, month: Month, account_id: str, stand: _Stand, accepted: Iterable[str], told: Mapping[str, int],
        names: Mapping[str, pl.DataFrame], revision: int = 1, reason: str = "",
    ) -> dict:  # fmt: skip
        from etl import closing

        return closing.manifest(
            self.lake, self.directory.account(account_id), month, stand.head, stand.rolled, stand.by_month,
            total=stand.totals.get(account_id, Decimal(0)),
            closed_at=self.clock().astimezone(UTC).isoformat(timespec="seconds"), reconciled=stand.reconciled.values(),
            provider_accounts=self.directory.own_provider_accounts(account_id), names=names, accepted=accepted, told=told,
            revision=revision, reason=reason,
        )  # fmt: skip

    def _told(self, month: Month) -> dict[str, dict[str, int]]:
        """account_id → earlier months and the revisions of them that are its newest."""
        from etl.manifests import revisions

        found: dict[str, dict[str, int]] = {}
        for earlier in self._earlier(month):
            for account_id, revision in revisions(self.lake, earlier).items():
                found.setdefault(account_id, {})[str(earlier)] = revision
        return found

    def _changed_since(self, month: Month, manifest: Mapping, stated: pl.DataFrame) -> str:
        """What changed since the month was closed, and on which statements it is corrected."""
        from etl.closing import corrected_in, later
        from etl.manifests import closings

        account_id, booked, current = manifest["account_id"], [], month + 1
        if not later(self.lake, manifest, stated, (), current):
            return ""
        while True:
            closed = closings(self.lake, current).get(account_id)
            statement = closed["statement"] if closed else self.lake.head(self._partition("statement", current))
            if statement and corrected_in(self.lake, account_id, month, statement):
                booked.append(current)
            if not closed:
                return later(self.lake, manifest, stated, booked, current)
            current += 1

    def _changed_before(self, month: Month) -> dict[str, dict[date, str]]:
        """Account → the days of its closed months that are rolled up otherwise for it now, with the hash of the roll-up:
        its corrections in ``month`` come from them, so they are judged with it."""
        import polars as pl

        from etl.manifests import rows

        closed, found = self._closed_before(month), {}
        if not closed:
            return {}
        heads = self.lake.heads("daily", date=(closed[0].month.first, closed[-1].month.days[-1]))
        unlike: dict[tuple[Partition, int], list[str]] = {}
        for one in closed:
            now = {p.path: v for p, v in heads.items() if Month.parse(p["date"][:7]) == one.month}
            for account, manifest in one.manifests.items():
                pins = {r["partition"]: r for r in manifest["daily"]}
                for path, version in now.items():
                    if path not in pins or pins[path]["sha256"] != version.sha256:
                        seq = pins[path]["seq"] if path in pins else 0
                        unlike.setdefault((version.partition, seq), []).append(account)
        for (at, seq), accounts in unlike.items():
            then = [rows(self.lake, self.lake.version(at, seq), accounts)] if seq else []
            both = pl.concat([rows(self.lake, heads[at], accounts), *then])
            for account in both.filter(both.is_unique())["account_id"].unique():
                found.setdefault(account, {})[date.fromisoformat(at["date"])] = heads[at].sha256
        return found

    def _accepted(self, month: Month, changed: Mapping[str, Mapping[date, str]]) -> dict[str, frozenset[str]]:
        """account_id → the names of the holds accepted for its month, and for closed months that changed."""
        from etl import acceptance

        found: dict[str, frozenset[str]] = {}
        for one in {month, *(Month.of(day) for days in changed.values() for day in days)}:
            for account, names in acceptance.names(self.lake, one).items():
                found[account] = found.get(account, frozenset()) | names
        return found

    def _standing(
        self, month: Month, accounts: Iterable[str], stated: pl.DataFrame, rolled: Mapping, changed: Mapping, today: date
    ) -> dict[str, Standing]:  # fmt: skip
        """What holds each account, without what a person accepted. The audit of the month is asked last, and only when
        nothing else holds some account."""
        from etl import closing

        accounts, accepted = list(accounts), self._accepted(month, changed)

        def judged(holding: Mapping[str, list[Hold]]) -> dict[str, Standing]:
            return {a: closing.standing(month, a, holding[a], accepted.get(a, ())) for a in accounts}

        holding = self._holding(month, accounts, stated, rolled, changed, today)
        found = judged(holding)
        return found if all(one.holds for one in found.values()) else judged(self._promised(month, holding, changed, notes="write"))

    def _holding(
        self, month: Month, accounts: Iterable[str], stated: pl.DataFrame, rolled: Mapping, changed: Mapping, today: date
    ) -> dict[str, list[Hold]]:  # fmt: skip
        """Every hold of each account but those of the audit, accepted or not."""
        from etl.closing import Hold, holds_of, missing_days

        lacking = missing_days(self.lake, rolled, month, self.settings.sources, self.settings.start)
        lacking += [s for s in self._stale_days(rolled) if not any(s[:10] == named[:10] for named in lacking)]
        earliest = month.end + timedelta(days=self.settings.close_after_days)
        more = self._held_more(month, accounts, rolled, changed, today)
        found = holds_of(accounts, month, stated, lacking, earliest, today)
        return {a: [*map(Hold, found[a]), *more[a]] for a in accounts}

    def _held_more(
        self, month: Month, accounts: Iterable[str], rolled: Mapping, changed: Mapping, today: date
    ) -> dict[str, list[Hold]]:
        """What the month before, the provider's totals and the provider's prices hold against each account."""
        import polars as pl

        from etl import closing
        from etl.closing import Hold

        before, window = self._open_before(month), (month.first, month.days[-1])
        found = {account: list(map(Hold, before.get(account, ()))) for account in accounts}
        reconciled = self._compared(month)
        unlike = self._unlike(month, reconciled)
        unsure = closing.not_compared(rolled.values(), *self._comparing(window, reconciled))
        without = self._daily(rolled).select("account_id", "date", "line", "unpriced").filter(pl.col("unpriced") > 0)
        waiting = closing.unpriced(month, without.collect(), today, self.settings.price_wait_days)
        for account, mine in found.items():
            mine += [
                Hold.waivable(month, account, sentence, remedy)
                for (_, sentence, remedy), concerned in unlike.items()
                if concerned is None or account in concerned
            ]
            mine += unsure + waiting.get(account, [])
        return self._held_before(found, changed)

    def _held_before(
        self, found: dict[str, list[Hold]], changed: Mapping[str, Mapping[date, str]]
    ) -> dict[str, list[Hold]]:
        """The holds found, and with them what the provider's totals hold against the days of closed months that changed
        for an account."""
        from etl import closing
        from etl.closing import Hold

        def hold(day: date, concerned: Iterable[str] | None, made: Callable[[str], Hold]) -> None:
            for account, mine in found.items():
                if day in changed.get(account, ()) and (concerned is None or account in concerned):
                    mine.append(made(account))

        every = sorted({day for account in found for day in changed.get(account, ())})
        for month, some in groupby(every, key=Month.of):
            days = list(some)
            rolled, compared = (
                {p: v for p, v in heads.items() if date.fromisoformat(p["date"]) in days}
                for heads in (self._month_days(month), self._compared(month))
            )
            for (day, sentence, remedy), concerned in self._unlike(month, compared).items():
                made = partial(Hold.waivable, month, sentence=sentence, remedy=remedy)
                hold(date.fromisoformat(day), concerned, made)
            comparing = self._comparing((days[0], days[-1]), compared)
            for p, version in rolled.items():
                for unsure in closing.not_compared([version], *comparing):
                    hold(date.fromisoformat(p["date"]), None, lambda _, unsure=unsure: unsure)
        return found

    def _promised(
        self, month: Month, holding: Mapping[str, list[Hold]], changed: Mapping[str, Mapping[date, str]],
        notes: str = "read",
    ) -> Mapping[str, list[Hold]]:  # fmt: skip
        """The holds of each account, and with them the promises that are not kept for it: of the month, and of the days of
        closed months that changed for it. ``notes``: as for `audit`."""
        from etl.audit import OK
        from etl.closing import unkept
        from etl.manifests import closings

        closed, more = closings(self.lake, month), {day for account in holding for day in changed.get(account, ())}
        results = self.audit(month.days, months=[month], notes=notes, **({"more": sorted(more)} if more else {}))
        found = [(r.day, r) for r in results if r.verdict != OK]

        def concerning(account: str) -> list[Result]:
            return [r for day, r in found if day not in more or day in changed.get(account, ())]

        return {a: holds + unkept(concerning(a), a, again=a in closed) for a, holds in holding.items()}

    def _more_holds(self, month: Month, rolled: Mapping, stated: pl.DataFrame | None) -> dict[str, tuple[str, ...]]:
        """Account → what holds it beyond missing days, missing prices and the calendar, as closing would say it."""
        from etl import closing
        from etl.manifests import revisions

        still_open = {a.account_id for a in self.directory.of_month(month)} - set(revisions(self.lake, month))
        lacking = closing.missing(self.lake, rolled, month, self.settings.sources, self.settings.start)
        changed = self._changed_before(month)
        found = self._held_more(month, sorted(still_open), rolled, changed, self._today())
        if still_open and stated is not None and not lacking:
            found = self._promised(month, found, changed)
        accepted = self._accepted(month, changed)
        return {a: closing.standing(month, a, holds, accepted.get(a, ())).holds for a, holds in found.items()}

    def _comparing(
        self, window: tuple[date, date], reconciled: Mapping
    ) -> tuple[set[str], Callable[[date, str], bool]]:
        """(the sources that give totals, whether a day of one is compared as it is now). Other inputs may still mean the
        same comparison, of which there is no new version: then it is made again, and kept nowhere."""
        from etl.lake import Partition
        from etl.schemas import DATASETS

        events, totals = (self.lake.heads(dataset, date=window) for dataset in ("events", "ledger"))
        columns = DATASETS["reconciled"].columns

        def compared(day: date, source: str) -> bool:
            at = {d: Partition.of(d, date=day, source=source) for d in ("events", "ledger", "reconciled")}
            found, records, said = reconciled.get(at["reconciled"]), events.get(at["events"]), totals.get(at["ledger"])
            if not (found and records and said):
                return False
            newest = {f"events/{source}": records.sha256, f"ledger/{source}": said.sha256}
            if newest.items() <= dict(found.inputs).items():
                return True
            return self._comparison(day, records, said, self._asked(day, source)).equals(self.lake.read(found, columns))

        return {p["source"] for p, v in totals.items() if v.rows}, compared

    def _compared(self, month: Month) -> dict:
        return self.lake.heads("reconciled", date=(month.first, month.days[-1]))

    def _unlike(self, month: Month, reconciled: Mapping) -> dict:
        """`closing.unlike_totals` of what was compared."""
        from etl.closing import unlike_totals

        return unlike_totals(month, self._rows("reconciled", reconciled).collect(), self._billed_for, self._first_read)

    def _first_read(self, day: date, source: str) -> date:
        """The UTC day on which a day was read for the first time; the day itself when the log does not say."""
        from etl.lake import Partition

        at = Partition.of("raw", date=day, source=source)
        if self.lake.head(at) is None:
            return day
        return datetime.fromisoformat(self.lake.version(at, 1).recorded_at).astimezone(UTC).date()

    def _billed_for(self, day: date, source: str, provider_account: str) -> set[str] | None:
        """The accounts charged for records of a provider account on a day, and those it is in accounts.csv; None when
        nobody is: it may be anybody's."""
        import polars as pl

        from etl.lake import Partition

        found = {a.account_id for a in self.directory.accounts if provider_account in a.provider_accounts}
        events, charges = (self.lake.head(Partition.of(d, date=day, source=source)) for d in ("events", "charges"))
        if events and charges:
            key = ["kind", "record_id"]
            mine = self.lake.read(events, [*key, "provider_account"]).filter(
                pl.col("provider_account") == provider_account
            )
            found |= set(self.lake.read(charges, [*key, "account_id"]).join(mine, on=key, how="semi")["account_id"])
        return found or None

    def _dated_too_early(self, month: Month) -> list[str]:
        """Purchases and adjustments entered for a month after it was closed, as sentences, until they are corrected."""
        import polars as pl

        from etl.manifests import revisions

        packs, adjustments = self.products.packs(month), self.products.adjustments_of(month)
        entered = pl.concat(
            [packs.select("account_id", name="purchase_id"), adjustments.select("account_id", name="adjustment_id")]
        ).filter(pl.col("account_id").is_in(list(revisions(self.lake, month))))
        head = self.lake.head(self._partition("monthly", month))
        if head is None or entered.is_empty():
            return []
        stated = self.lake.read(head, ["account_id", "rate_id"])
        late = entered.join(stated, left_on=["account_id", "name"], right_on=["account_id", "rate_id"], how="anti")
        return [
            f"{month} is closed for {account}: {name} is dated in it and billed nowhere yet; python -m etl rate --month "
            f"{month} books it as a correction, or give it a date in the open month"
            for account, name in late.sort("account_id", "name").iter_rows()
        ]

    def _nobody_s_totals(self, month: Month) -> list[str]:
        """Totals of the provider that differ and are no account's, as sentences: they hold nobody."""
        from etl.schemas import UNASSIGNED

        unlike = self._unlike(month, self._compared(month))
        return [
            f"{sentence}: {remedy}"
            for (_, sentence, remedy), whose in unlike.items()
            if list(whose or ()) == [UNASSIGNED]
        ]

    def _stated_now(self, month: Month) -> pl.DataFrame:
        from etl.schemas import DATASETS

        head = self.lake.head(self._partition("statement", month))
        return DATASETS["statement"].empty() if head is None else self.lake.read(head, DATASETS["statement"].columns)

    def _stated(self, month: Month):
        """(statement version, its rows, the daily versions and the monthly ones it says the same as): what closing pins
        must belong together, so a roll-up that came in between is stated again."""
        from etl.lake import Stale
        from etl.schemas import DATASETS

        for _ in range(STALE_TRIES):
            found = self._month_charges(month), self._month_days(month)
            self.state(month)
            head, charged, *others = (
                self.lake.head(self._partition(d, month)) for d in ("statement", "monthly", "credits", "corrections")
            )
            stated = self.lake.read(head, DATASETS["statement"].columns)
            rolled = self._month_days(month)
            unmoved = found == (self._month_charges(month), rolled)
            if unmoved and self._says_the_same(head, month, rolled, charged, stated):
                return head, stated, rolled, (charged, *others)
        raise Stale(f"{month} was rolled up again {STALE_TRIES} times while it was closing: is another run on?")

    def _stale_days(self, rolled: Mapping) -> list[str]:
        """Roll-ups that do not hold the newest charges, as sentences: a run died between rating and rolling up."""
        from etl.rollup import daily
        from etl.schemas import DATASETS

        if not rolled:
            return []
        dates = sorted(p["date"] for p in rolled)
        every = self.lake.heads("charges", date=(dates[0], dates[-1]))
        stale = []
        for partition, version in rolled.items():
            charges = {p: v for p, v in every.items() if p["date"] == partition["date"]}
            if {f"charges/{p['source']}": v.sha256 for p, v in charges.items()} == version.inputs:
                continue
            # Other inputs may still mean the same figures.
            newest = daily(self.lake.scan(list(charges.values())).drop("date", "source").collect())
            rolled_up = DATASETS["daily"].arrange(self.lake.read(version))  # of a large day, several files
            if not newest.equals(rolled_up):
                stale.append(
                    f"{partition['date']} was rated again since: python -m etl rate --date {partition['date']}"
                )
        return stale
