"""The verbs of a month's end: what is still open, why, and closing it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from etl.jobs.base import STALE_TRIES
from etl.jobs.months import MonthVerbs
from etl.periods import Month

if TYPE_CHECKING:
    from etl.explain import Explanation, Key
    from etl.operations import Operations


class CloseVerbs(MonthVerbs):
    """A month is closed account by account; what holds one says so and holds no other."""

    def close(self, month: Month, accounts: Iterable[str] | None = None, *, on: date | None = None) -> list:
        """Close the month for each account that may close; the others say why not. ``on`` is the day it is done."""
        import polars as pl

        from etl import closing

        head, stated, rolled, by_month = self._stated(month)
        lacking = closing.missing_days(self.lake, rolled, month, self.settings.sources, self.settings.start)
        lacking += [s for s in self._stale_days(rolled) if not any(s[:10] == named[:10] for named in lacking)]
        already, open_before = closing.closings(self.lake, month), self._open_before(month)
        compared = self.lake.heads("reconciled", date=(month.first, month.days[-1])).values()
        earliest = month.end + timedelta(days=self.settings.close_after_days)
        results = []
        for account_id in accounts or [a.account_id for a in self.directory.of_month(month)]:
            account = self.directory.account(account_id)
            if account_id in already:
                later = closing.later(self.lake, already[account_id], stated)
                results.append(closing.Closing(account_id, month, already[account_id]["revision"], later=later))
                continue
            reasons = closing.holds(account_id, month, stated, lacking, earliest, on or self._today())
            reasons += open_before.get(account_id, ())
            if reasons:
                results.append(closing.Closing(account_id, month, 0, reasons))
                continue
            mine = (pl.col("account_id") == account_id) & (pl.col("section") == "total")
            total: Decimal = stated.filter(mine)["amount"].item()
            at = self.clock().astimezone(UTC).isoformat(timespec="seconds")
            results.append(
                closing.close(
                    self.lake, account, month, head, rolled, by_month, total=total, closed_at=at, reconciled=compared,
                    provider_accounts=self.directory.own_provider_accounts(account_id),
                    names=closing.named(self.directory, account_id),
                )
            )  # fmt: skip
        self.__dict__.pop("statements", None)
        return results

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
            behind=self._stale_days(rolled), ends=self.loose_ends(month), open_before=self._open_before(month),
        )  # fmt: skip

    def explain(self, account_id: str, month: Month, key: Key, records: int = 5) -> Explanation:
        """Where one line of an account's statement comes from. Reads the lake and changes nothing."""
        from etl.explain import gather

        return gather(
            self.lake, self.directory, self.card, self.taxes, self.settings, account_id, month, key, records=records
        )

    def loose_ends(self, month: Month) -> list[str]:
        """What the month holds that no account pays for, as sentences: records in quarantine and usage of no account."""
        import polars as pl

        from etl.schemas import SECOND_LINES

        window = (month.first, month.days[-1])
        quarantined = sum(int(v.sums.get("quarantined", 0)) for v in self.lake.heads("events", date=window).values())
        daily = self._daily(self._month_days(month))
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
        return ends + self._dated_too_early(month)

    # -------------------------------------------------------------------------------------------- inside

    def _open_before(self, month: Month) -> dict[str, tuple[str, ...]]:
        """Account → why the month before holds this one: storage and credits are carried on, so a month may not close
        before the one it rests on."""
        from etl.closing import closings

        before = month - 1
        if before < Month.of(self.settings.start):
            return {}
        still_open = {a.account_id for a in self.directory.of_month(before)} - set(closings(self.lake, before))
        reason = f"{before} is still open: close it first, python -m etl close --month {before}"
        return dict.fromkeys(sorted(still_open), (reason,))

    def _stated(self, month: Month):
        """(statement version, its rows, the daily versions and the monthly ones it says the same as): what closing pins
        must belong together, so a roll-up that came in between is stated again."""
        from etl.lake import Stale
        from etl.schemas import DATASETS

        for _ in range(STALE_TRIES):
            found = self._charges(month), self._month_days(month)
            self.state(month)
            head, charged, ledger = (
                self.lake.head(self._partition(d, month)) for d in ("statement", "monthly", "credits")
            )
            stated = self.lake.read(head, DATASETS["statement"].columns)
            rolled = self._month_days(month)
            unmoved = found == (self._charges(month), rolled)
            if unmoved and self._lines(month, rolled, charged).equals(stated):
                return head, stated, rolled, (charged, ledger)
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
            if not newest.equals(self.lake.read(version, DATASETS["daily"].columns)):
                stale.append(
                    f"{partition['date']} was rated again since: python -m etl rate --date {partition['date']}"
                )
        return stale

    def _dated_too_early(self, month: Month) -> list[str]:
        """Purchases and adjustments entered for a month after it was closed, as sentences: they are billed nowhere."""
        from etl.closing import closings
        from etl.lake import Partition

        entered = [
            *self.products.packs(month).select("account_id", "purchase_id").iter_rows(),
            *self.products.adjustments_of(month).select("account_id", "adjustment_id").iter_rows(),
        ]
        manifests, late = closings(self.lake, month), []
        for account_id, name in entered:
            if "monthly" not in (manifest := manifests.get(account_id, {})):
                continue
            reference = manifest["monthly"]
            pinned = self.lake.read(
                self.lake.version(Partition.parse(reference["partition"]), reference["seq"]), ["rate_id"]
            )
            if name not in pinned["rate_id"]:
                late.append(
                    f"{month} is closed for {account_id}: give {name} a date in the open month, else it is billed nowhere"
                )
        return late
