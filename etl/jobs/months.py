"""The verbs of a month: hold, credit, charge, state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING

from etl.jobs.base import Done
from etl.jobs.corrections import CorrectionVerbs, _names
from etl.periods import Month

if TYPE_CHECKING:
    import polars as pl

    from etl.lake import Partition, Version


class MonthVerbs(CorrectionVerbs):
    """Each turns the heads of its inputs into one commit of one month."""

    def hold(self, month: Month, *, settled: bool = False) -> Done:
        """charges → holdings: the recordings stored in the month, carried on from the month before."""
        import polars as pl

        from etl.rating.monthly import held
        from etl.schemas import DATASETS

        def gather():
            charges = self._month_charges(month)
            before = self._before("holdings", month, self.hold)

            def compute(base):
                columns = ["source", "date", "record_id", "account_id", "owner_kind", "owner_id", "campaign_id",
                           "held_until", "vanished", "quantity"]  # fmt: skip
                known, same = self._held_already(base, charges)
                changed = {p: v for p, v in charges.items() if p not in same}
                recordings = self._rows("charges", changed).filter(pl.col("kind") == "recording").select(columns)
                previous = self.lake.read(before, DATASETS["holdings"].columns) if before else None
                every = pl.concat([known.select(columns), recordings.collect()])
                holdings = held(_or_empty("holdings", previous), every, month)
                return holdings, {"minutes": int(holdings["minutes"].sum())}

            return _hashes(charges) | _hashes({"before": before}), compute

        return self._derive("hold", self._partition("holdings", month), gather, settled=settled)

    def _held_already(self, base: Version | None, charges: Mapping[Partition, Version]) -> tuple[pl.DataFrame, set[Partition]]:
        """(recordings as charges, the partitions they are of): what the last holdings took from charges that are the same
        now. A night changes some days of a month, and the others need not be read again."""
        import polars as pl

        from etl.schemas import DATASETS

        own = base is not None and (base.code, base.config) == (self.lake.code, self.lake.config)
        same = {p for p, v in charges.items() if base.inputs.get(str(p)) == v.sha256} if own else set()
        rows = self.lake.read(base, DATASETS["holdings"].columns) if same else DATASETS["holdings"].empty()
        at = pl.DataFrame(
            [(date.fromisoformat(p["date"]), p["source"]) for p in same],
            schema={"recorded_on": pl.Date, "source": pl.String}, orient="row",
        )  # fmt: skip
        kept = rows.join(at, on=["recorded_on", "source"], how="semi")
        return kept.rename({"recorded_on": "date", "minutes": "quantity"}), same

    def credit(self, month: Month, *, settled: bool = False) -> Done:
        """charges and products → credits: the ledger, carried on from the month before. Of an account that closed the month
        it is what the ledger would be now; what that differs by, the first open month corrects."""
        import polars as pl

        from etl.credits import joined, ledger_of_days
        from etl.schemas import DATASETS

        def gather():
            charges, before = self._month_charges(month), self._ledgers_before(month)
            inputs = _hashes(charges) | _hashes(before) | {"products": self.products.fingerprint}

            def compute(base):
                accounts, opening, subscriptions, purchases, (first, end) = self._ledger_terms(month, charges, before)
                corrections, since = self._changed_lots(month), self._moved_since(base, inputs, first)
                kept = None
                if first < since < end:
                    kept = self.lake.read(base, DATASETS["credits"].columns).filter(pl.col("date") < since)
                    opening, corrections, first = kept, None, since
                due = {p: v for p, v in charges.items() if p["date"] >= str(first)}
                rolled = self._rolled_up(month, due)
                others = {p: v for p, v in due.items() if p["date"] not in {r["date"] for r in rolled}}
                moved = ledger_of_days(
                    self._burns_of_days(rolled, accounts), self._burns(others, accounts),
                    lambda days, columns: self._burns_on(days, due, columns), opening, subscriptions, purchases,
                    (first, end), corrections,
                )  # fmt: skip
                moved = moved if kept is None else joined(kept, moved)
                overage = moved.filter(pl.col("entry") == "overage")["credits"].sum()
                return moved, {"overage": int(overage)}

            return inputs, compute

        return self._derive("credit", self._partition("credits", month), gather, settled=settled)

    def _moved_since(self, base: Version | None, inputs: Mapping[str, str], first: date) -> date:
        """The first day whose charges are not those of the last ledger: its rows of the days before stand. ``first`` where
        anything else changed."""
        if base is None or (base.code, base.config) != (self.lake.code, self.lake.config):
            return first
        differ = {name for name in base.inputs.keys() | inputs.keys() if base.inputs.get(name) != inputs.get(name)}
        days = [name.partition("date=")[2][:10] for name in differ if name.startswith("charges/")]
        return date.fromisoformat(min(days)) if days and len(days) == len(differ) else first

    def recharges(self, month: Month):
        """`credits.compare_recharges` of the month: what was reported against what ours would have bought."""
        from etl.credits import compare_recharges

        return compare_recharges(*self._ledger_inputs(month, self._month_charges(month), self._ledgers_before(month)))

    def _ledger_inputs(self, month: Month, charges: Mapping, before: Mapping[str, Version]) -> tuple:
        """Burns, opening, subscriptions, purchases and window, as `credits.ledger` wants them."""
        accounts, *terms = self._ledger_terms(month, charges, before)
        return self._burns(charges, accounts), *terms

    def _ledger_terms(self, month: Month, charges: Mapping, before: Mapping[str, Version]) -> tuple:
        """The accounts that may have a ledger; then opening, subscriptions, purchases and window."""
        import polars as pl

        from etl.schemas import DATASETS

        opening = self._opening(before)
        terms, bought = self.products.allotments(), self.products.purchases
        if opening is not None:
            # Counted in a month before that was not computed again since it moved to this one: once is enough.
            counted = {"left_on": ["account_id", "purchase_id"], "right_on": ["account_id", "lot"]}
            bought = bought.join(self.lake.read(before[""], ["account_id", "lot"]), **counted, how="anti")
        known = opening if opening is not None else DATASETS["credits"].empty()
        accounts = pl.concat([f["account_id"] for f in (terms, bought, known)]).unique()
        until = _loaded_until(month, charges)
        # What was carried into a month is its own even before a day of it is loaded.
        window = (month.first, max(until, month.first + timedelta(days=1)))
        return accounts, opening, terms, bought, window

    def _burns(self, charges: Mapping, accounts: pl.Series, columns: Iterable[str] | None = None) -> pl.DataFrame:
        """`credits.BURNS` of these accounts, or some of its columns."""
        import polars as pl

        from etl.credits import BURNS

        burning = (pl.col("credits") > 0) & pl.col("account_id").is_in(accounts.implode())
        return self._rows("charges", charges).filter(burning).select(*(columns or BURNS)).collect()

    def _burns_on(self, days: pl.DataFrame, charges: Mapping, columns: Iterable[str]) -> pl.DataFrame:
        """The burns of account_id and date: of each day only the accounts asked for."""
        import polars as pl

        from etl.credits import BURNS

        parts = [pl.DataFrame(schema=BURNS).select(*columns)]
        for (day,), asked in days.partition_by("date", as_dict=True, maintain_order=True).items():
            same = {p: v for p, v in charges.items() if p["date"] == str(day)}
            parts.append(self._burns(same, asked["account_id"], columns))
        return pl.concat(parts)

    def _burns_of_days(self, rolled: Mapping, accounts: pl.Series) -> pl.DataFrame:
        """account_id, date, credits: what these accounts burned, by the roll-ups."""
        import polars as pl

        burning = (pl.col("credits") > 0) & pl.col("account_id").is_in(accounts.implode())
        rows = self._rows("daily", rolled).select("account_id", pl.col("date").cast(pl.Date), "credits").filter(burning)
        return rows.group_by("account_id", "date").agg(pl.col("credits").sum()).collect(engine="streaming")

    def _rolled_up(self, month: Month, charges: Mapping) -> dict:
        """The roll-ups that say themselves that they are of these charges."""
        made_of: dict[str, dict[str, str]] = {}
        for p, version in charges.items():
            made_of.setdefault(p["date"], {})[f"charges/{p['source']}"] = version.sha256
        return {p: v for p, v in self._month_days(month).items() if made_of.get(p["date"]) == v.inputs}

    def charge(self, month: Month, *, settled: bool = False) -> Done:
        """Numbers, holdings, credits, daily and products → monthly: what is charged by the month."""
        import polars as pl

        from etl.rating import monthly, tiers
        from etl.schemas import DATASETS

        def gather():
            charges, listed, rolled = self._month_charges(month), self._month_events(month), self._month_days(month)
            holdings, ledger = (self.lake.head(self._partition(d, month)) for d in ("holdings", "credits"))

            def compute(_base):
                accounts = self._directory_of(month).terms
                until = _loaded_until(month, rolled)
                register = self.directory.owned_numbers(max(month.first, self.settings.start), until)
                owned = monthly.number_days(self._listed_numbers(*self._counted(until, listed, charges)), register)
                since = accounts.select("account_id", "valid_from")
                owned = owned.join(since, on="account_id", how="left").filter(
                    pl.col("date") >= pl.col("valid_from").fill_null(date.min)
                )
                daily = tiers.used(self._daily(rolled), self.card)
                calls = self._covered_calls(charges, tiers.needs_calls(self.card))
                credits_ = _or_empty("credits", self.lake.read(ledger, DATASETS["credits"].columns) if ledger else None)
                stored = _or_empty(
                    "holdings", self.lake.read(holdings, [*monthly.STORED]) if holdings else None
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

        return self._derive("charge", self._partition("monthly", month), gather, settled=settled)

    def restate(self, months: Iterable[Month]) -> list[Done]:
        """`state` for these months and every later one there is, oldest first: what changes a month is carried on into the
        next ones, and what changes a closed month is corrected in an open one."""
        asked = set(months)
        known = {Month.parse(p["month"]) for p in self.lake.heads("statement")} if asked else set()
        later = {m for m in known if m > min(asked)} - asked
        unclosed = set(self.unclosed(max(later | asked) + 1)) if later else set()
        return [self.state(m, settled=m in later and m not in unclosed) for m in sorted(asked | later)]

    def state(self, month: Month, *, settled: bool = False) -> Done:
        """daily and monthly → the month's statement lines, all accounts. Brings what is charged by the month up to date, and
        books what changed in closed months. ``settled``: other files or code are no reason to compute it again."""
        import polars as pl

        from etl.corrections import BOOKED, SECTIONS

        self._carry_on(month)
        for verb in (self.hold, self.credit, self.charge):
            verb(month, settled=settled)
        self.correct(month)

        def gather():
            rolled, charged = self._month_days(month), self.lake.head(self._partition("monthly", month))

            def compute(_base):
                stated = self._lines(month, rolled, charged)
                usage, corrected = (stated.filter(pl.col("section").is_in(s)) for s in (["usage"], list(SECTIONS)))
                return stated, {"unrated": int(usage["unrated"].sum()), BOOKED: corrected.height}

            return self._state_inputs(month, rolled, charged), compute

        done = self._derive("state", self._partition("statement", month), gather, settled=settled)
        self.__dict__.pop("statements", None)  # what was read before is no longer the newest
        return done

    # -------------------------------------------------------------------------------------------- inside

    def _state_inputs(self, month: Month, rolled: Mapping, charged: Version | None) -> dict[str, str]:
        """What a statement is computed from, by name."""
        closed, corrections = self._closed_before(month), self.lake.head(self._partition("corrections", month))
        inputs = _hashes({**rolled, "monthly": charged, "corrections": corrections}) | {
            "directory": self.directory.fingerprint,
            "taxes": self.taxes.fingerprint,
        }
        return inputs | self._rests_on(closed) | _names(self._kept("statement", month))

    def _says_the_same(self, head: Version, month: Month, rolled: Mapping, charged: Version | None, stated: pl.DataFrame) -> bool:
        """Whether a statement is the one of these roll-ups and this monthly version: it names them, or its rows are those
        that would be computed of them."""
        ours = (head.code, head.config) == (self.lake.code, self.lake.config)
        if ours and head.inputs == self._state_inputs(month, rolled, charged):
            return True
        return self._lines(month, rolled, charged).equals(stated)

    def unclosed(self, month: Month) -> list[Month]:
        """Months from go-live to before ``month`` that some account has not closed, oldest first."""
        from etl.manifests import revisions

        customers = self.directory.of_month
        return [m for m in self._earlier(month) if {a.account_id for a in customers(m)} - set(revisions(self.lake, m))]

    def _carry_on(self, month: Month) -> None:
        """Bring every earlier month's holdings and ledger up to date: a day loaded again long ago moves them all. Of a
        closed month only when its days changed."""
        unclosed = set(self.unclosed(month))
        for earlier in self._earlier(month):
            self.hold(earlier, settled=earlier not in unclosed)
            self.credit(earlier, settled=earlier not in unclosed)

    def _ledgers_before(self, month: Month) -> dict[str, Version]:
        """What the ledger of a month opens with: for accounts that closed the month before and not this one, the ledger they
        closed it with; for the others its head. Each account id, and '' for the others, with its version."""
        from etl.manifests import closings, pinned, revisions

        if month <= Month.of(self.settings.start):
            return {}
        here = revisions(self.lake, month)
        closed = {
            account: pinned(self.lake, manifest["credits"])
            for account, manifest in closings(self.lake, month - 1).items()
            if "credits" in manifest and account not in here
        }
        return closed | {"": self._before("credits", month, self.credit)}

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
            found = self.lake.read(version)
            missing = [pl.lit(None, t).alias(c) for c, t in DATASETS["credits"].types.items() if c not in found.columns]
            own = pl.col("account_id").is_in(mine)
            whose = own | ~pl.col("account_id").is_in(others) if before[""] == version else own
            parts.append(found.with_columns(missing).select(DATASETS["credits"].columns).filter(whose))
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

    def _month_charges(self, month: Month) -> dict:
        return self.lake.heads("charges", date=(month.first, month.days[-1]))

    def _month_events(self, month: Month) -> dict:
        return self.lake.heads("events", date=(month.first, month.days[-1]))

    def _counted(self, until: date, *heads: Mapping) -> list[dict]:
        """Of these partitions those of days whose numbers are charged: what is owned at month end is charged by the last
        day loaded alone."""
        if self.settings.number_billing != "month_end":
            return list(heads)
        last = str(until - timedelta(days=1))
        return [{p: v for p, v in some.items() if p["date"] == last} for some in heads]

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
        import polars as pl

        from etl.schemas import DATASETS
        from etl.statement import added_up, lines

        by_month = _or_empty("monthly", self.lake.read(charged, DATASETS["monthly"].columns) if charged else None)
        accounts = self._directory_of(month).of_month(month)
        corrections = self._corrections(month)
        # Day by day, for most of a day's rows are on few lines.
        daily = pl.concat([added_up(self._daily({p: v})) for p, v in rolled.items()] or [self._daily({})])
        return lines(daily, by_month, accounts, self.taxes, self.settings.tax_rounding, corrections)

    def has_days(self, month: Month) -> bool:
        """Whether any day of the month is rolled up."""
        return bool(self._month_days(month))

    def _daily(self, rolled: Mapping) -> pl.LazyFrame:
        """The rows of these daily partitions, with their date."""
        import polars as pl

        from etl.schemas import DATASETS

        rows = self._rows("daily", rolled).select(*DATASETS["daily"].columns, "date")
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
