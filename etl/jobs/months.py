"""The verbs of a month: hold, credit, charge, state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING

from etl.jobs.base import Base, Done
from etl.periods import Month

if TYPE_CHECKING:
    from etl.lake import Partition, Version


class MonthVerbs(Base):
    """Each turns the heads of its inputs into one commit of one month."""

    def hold(self, month: Month, *, settled: bool = False) -> Done:
        """charges → holdings: the recordings stored in the month, carried on from the month before."""
        import polars as pl

        from etl.rating.monthly import held
        from etl.schemas import DATASETS

        def gather():
            charges = self._charges(month)
            before = self._before("holdings", month, self.hold)

            def compute(_base):
                columns = ["source", "date", "record_id", "kind", "account_id", "owner_kind", "owner_id", "campaign_id",
                           "held_until", "vanished", "quantity"]  # fmt: skip
                recordings = self._rows("charges", charges).select(columns).filter(pl.col("kind") == "recording")
                previous = self.lake.read(before, DATASETS["holdings"].columns) if before else None
                holdings = held(_or_empty("holdings", previous), recordings.collect(), month)
                return holdings, {"minutes": int(holdings["minutes"].sum())}

            return _hashes(charges) | _hashes({"before": before}), compute

        return self._derive("hold", self._partition("holdings", month), gather, settled=settled)

    def credit(self, month: Month) -> Done:
        """charges and products → credits: the ledger, carried on from the month before."""
        import polars as pl

        from etl.credits import ledger

        def gather():
            charges = self._charges(month)
            before = self._ledgers_before(month)

            def compute(_base):
                moved = ledger(*self._ledger_inputs(month, charges, before))
                overage = moved.filter(pl.col("entry") == "overage")["credits"].sum()
                return moved, {"overage": int(overage)}

            inputs = _hashes(charges) | _hashes(before) | {"products": self.products.fingerprint}
            return inputs, compute

        return self._derive("credit", self._partition("credits", month), gather)

    def recharges(self, month: Month):
        """`credits.compare_recharges` of the month: what was reported against what ours would have bought."""
        from etl.credits import compare_recharges

        return compare_recharges(*self._ledger_inputs(month, self._charges(month), self._ledgers_before(month)))

    def _ledger_inputs(self, month: Month, charges: Mapping, before: Mapping[str, Version]) -> tuple:
        """Burns, opening, subscriptions, purchases and window, as `credits.ledger` wants them."""
        import polars as pl

        from etl.schemas import DATASETS

        opening = self._opening(before)
        terms, bought = self.products.allotments(), self.products.purchases
        if opening is not None:
            # Counted in a closed month, then moved to this one in the file: once is enough.
            counted = {"left_on": ["account_id", "purchase_id"], "right_on": ["account_id", "lot"]}
            bought = bought.join(opening, **counted, how="anti")
        known = opening if opening is not None else DATASETS["credits"].empty()
        accounts = pl.concat([f["account_id"] for f in (terms, bought, known)]).unique()
        burning = (pl.col("credits") > 0) & pl.col("account_id").is_in(accounts.implode())
        rows = self._rows("charges", charges).select("account_id", "record_id", "occurred_at", "credits")
        until = _loaded_until(month, charges)
        # What was carried into a month is its own even before a day of it is loaded.
        window = (month.first, max(until, month.first + timedelta(days=1)))
        return rows.filter(burning).collect(), opening, terms, bought, window

    def charge(self, month: Month) -> Done:
        """Numbers, holdings, credits, daily and products → monthly: what is charged by the month."""
        import polars as pl

        from etl.rating import monthly, tiers
        from etl.schemas import DATASETS

        def gather():
            charges, listed, rolled = self._charges(month), self._events(month), self._month_days(month)
            holdings, ledger = (self.lake.head(self._partition(d, month)) for d in ("holdings", "credits"))

            def compute(_base):
                accounts = self.directory.terms
                until = _loaded_until(month, rolled)
                register = self.directory.owned_numbers(max(month.first, self.settings.start), until)
                owned = monthly.number_days(self._listed_numbers(listed, charges), register)
                since = accounts.select("account_id", "valid_from")
                owned = owned.join(since, on="account_id", how="left").filter(
                    pl.col("date") >= pl.col("valid_from").fill_null(date.min)
                )
                daily = self._daily(rolled)
                calls = self._covered_calls(charges, tiers.needs_calls(self.card))
                credits_ = _or_empty("credits", self.lake.read(ledger, DATASETS["credits"].columns) if ledger else None)
                stored = _or_empty(
                    "holdings", self.lake.read(holdings, DATASETS["holdings"].columns) if holdings else None
                )
                due = pl.col("date").is_between(self.settings.start, until, closed="left")
                since_start = pl.col("bought_at").dt.date() >= self.settings.start
                parts = [
                    monthly.numbers(owned, self.card, accounts, month, until, self.settings.number_billing),
                    monthly.storage(stored, self.card, accounts, month),
                    monthly.overage(credits_, self.card, accounts),
                    monthly.tiered(tiers.adjustments(daily, self.card, month, calls), daily, self.card, month),
                    monthly.adjusted(self.products.adjustments_of(month)),
                    monthly.products(
                        self.products.fees(month).filter(due),
                        self.products.packs(month).filter(since_start),
                        credits_,
                        self.products.allotments(),
                    ),
                ]
                rows = monthly.monthly(parts, accounts, self.settings.currency)
                return rows, {"unrated": int(rows["unrated"].is_not_null().sum())}

            inputs = _hashes({**charges, **listed, **rolled, "holdings": holdings, "credits": ledger}) | {
                "directory": self.directory.fingerprint,
                "products": self.products.fingerprint,
                "rates": self.card.fingerprint,
            }
            return inputs, compute

        return self._derive("charge", self._partition("monthly", month), gather)

    def state(self, month: Month) -> Done:
        """daily and monthly → the month's statement lines, all accounts. Brings what is charged by the month up to date."""
        self._carry_on(month)
        for verb in (self.hold, self.credit, self.charge):
            verb(month)

        def gather():
            rolled, charged = self._month_days(month), self.lake.head(self._partition("monthly", month))

            def compute(_base):
                stated = self._lines(month, rolled, charged)
                return stated, {"unrated": int(stated.filter(stated["section"] == "usage")["unrated"].sum())}

            inputs = _hashes({**rolled, "monthly": charged}) | {
                "directory": self.directory.fingerprint,
                "taxes": self.taxes.fingerprint,
            }
            return inputs, compute

        done = self._derive("state", self._partition("statement", month), gather)
        self.__dict__.pop("statements", None)  # what was read before is no longer the newest
        return done

    # -------------------------------------------------------------------------------------------- inside

    def unclosed(self, month: Month) -> list[Month]:
        """Months from go-live to before ``month`` that some account has not closed, oldest first."""
        from etl.closing import closings

        earlier, found = Month.of(self.settings.start), []
        while earlier < month:
            if {a.account_id for a in self.directory.of_month(earlier)} - set(closings(self.lake, earlier)):
                found.append(earlier)
            earlier += 1
        return found

    def _carry_on(self, month: Month) -> None:
        """Bring every earlier month's holdings and ledger up to date: a day loaded again long ago moves them all. The
        ledger of a closed month stays; its recordings are counted again only when its days changed."""
        unclosed = set(self.unclosed(month))
        earlier = Month.of(self.settings.start)
        while earlier < month:
            self.hold(earlier, settled=earlier not in unclosed)
            if earlier in unclosed:
                self.credit(earlier)
            earlier += 1

    def _ledgers_before(self, month: Month) -> dict[str, Version]:
        """What the ledger of a month opens with: for accounts that closed the month before, the ledger they closed it
        with; for the others its head. Each account id, and '' for the others, with its version."""
        from etl.closing import closings
        from etl.lake import Partition

        if month <= Month.of(self.settings.start):
            return {}
        pinned = {
            account: self.lake.version(Partition.parse(manifest["credits"]["partition"]), manifest["credits"]["seq"])
            for account, manifest in closings(self.lake, month - 1).items()
            if "credits" in manifest
        }
        return pinned | {"": self._before("credits", month, self.credit)}

    def _opening(self, before: Mapping[str, Version]):
        """`_ledgers_before` → the rows of `schemas.Credits` to open with; None in the first month."""
        import polars as pl

        from etl.schemas import DATASETS

        if not before:
            return None
        parts = []
        for version in dict.fromkeys(before.values()):
            mine = [account for account, v in before.items() if v == version and account]
            others = [account for account in before if account]
            rows = self.lake.read(version, DATASETS["credits"].columns)
            own = pl.col("account_id").is_in(mine)
            parts.append(rows.filter(own | ~pl.col("account_id").is_in(others) if before[""] == version else own))
        return pl.concat(parts)

    def _before(self, dataset: str, month: Month, verb: Callable[[Month], Done]) -> Version | None:
        """The head of the month before, made now if it is not there yet; None in the first month."""
        if month <= Month.of(self.settings.start):
            return None
        return self.lake.head(self._partition(dataset, month - 1)) or (
            verb(month - 1) and self.lake.head(self._partition(dataset, month - 1))
        )

    def _partition(self, dataset: str, month: Month) -> Partition:
        from etl.lake import Partition

        return Partition.of(dataset, month=str(month))

    def _charges(self, month: Month) -> dict:
        return self.lake.heads("charges", date=(month.first, month.days[-1]))

    def _events(self, month: Month) -> dict:
        return self.lake.heads("events", date=(month.first, month.days[-1]))

    def _rows(self, dataset: str, heads: Mapping):
        """The rows of these partitions with their date and source, lazily."""
        import polars as pl

        from etl.schemas import DATASETS

        if heads:
            return self.lake.scan(list(heads.values()))
        return DATASETS[dataset].empty().lazy().with_columns(date=pl.lit(None, pl.Date), source=pl.lit(None, pl.String))

    def _listed_numbers(self, events: Mapping, charges: Mapping):
        """What the provider listed as owned, day by day, with the owners the day's charges name."""
        import polars as pl

        key = ["date", "source", "record_id"]
        numbers = pl.col("kind") == "number"
        accepted = self._rows("events", events).filter(numbers, pl.col("outcome") == "accepted")
        listed = accepted.select(*key, number_e164="to_number")
        owners = self._rows("charges", charges).filter(numbers)
        return (
            owners.select(*key, "account_id", "owner_kind", "owner_id", "campaign_id")
            .join(listed, on=key)
            .drop(key[1:])
        ).collect()

    def _covered_calls(self, charges: Mapping, rate_ids: list[str]):
        """The calls a ladder may give their connection fee back for; None when there is no such ladder."""
        import polars as pl

        if not rate_ids:
            return None
        fees = self.card.prices.select("rate_id", "connection_fee").lazy()
        columns = ["account_id", "rate_id", "occurred_at", "record_id", "quantity"]
        calls = self._rows("charges", charges).select(columns).filter(pl.col("rate_id").is_in(rate_ids))
        return calls.join(fees, on="rate_id", how="left").collect()

    def _lines(self, month: Month, rolled: Mapping, charged: Version | None):
        from etl.schemas import DATASETS
        from etl.statement import lines

        by_month = _or_empty("monthly", self.lake.read(charged, DATASETS["monthly"].columns) if charged else None)
        accounts = self.directory.of_month(month)
        return lines(self._daily(rolled), by_month, accounts, self.taxes, self.settings.tax_rounding)

    def has_days(self, month: Month) -> bool:
        """Whether any day of the month is rolled up."""
        return bool(self._month_days(month))

    def _daily(self, rolled: Mapping):
        """The rows of these daily partitions, with their date."""
        import polars as pl

        from etl.schemas import DATASETS

        rows = self._rows("daily", rolled).select(*DATASETS["daily"].columns, "date").collect()
        return rows.with_columns(pl.col("date").cast(pl.Date))

    def _month_days(self, month: Month) -> dict:
        return self.lake.heads("daily", date=(month.first, month.days[-1]))


def _hashes(heads: Mapping[object, Version | None]) -> dict[str, str]:
    """What each input held, by its path."""
    return {str(name): version.sha256 for name, version in heads.items() if version is not None}


def _loaded_until(month: Month, heads: Iterable[Partition]) -> date:
    """The day after the last one of these partitions; the month's first day when there are none."""
    last = max((p["date"] for p in heads), default=None)
    return date.fromisoformat(last) + timedelta(days=1) if last else month.first


def _or_empty(dataset: str, frame):
    from etl.schemas import DATASETS

    return DATASETS[dataset].empty() if frame is None else frame
