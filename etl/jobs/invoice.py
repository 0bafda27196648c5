"""The verb that holds a provider's invoice against the lake. Reads, and changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etl.jobs.base import Base, NotReady
from etl.periods import Month
from etl.settings import ConfigurationError

if TYPE_CHECKING:
    import polars as pl

    from etl.invoice import Comparison, Invoice

DISPUTE_ROWS = 100_000
"""A dispute lists so many records at most; how many more there are is said."""


@dataclass(frozen=True)
class InvoiceCheck:
    """An invoice, what became of it, and the days of the month that are not loaded."""

    invoice: Invoice
    found: Comparison
    missing: tuple[date, ...]
    source: str
    accounts: tuple[str, ...]
    currency: str

    @property
    def sound(self) -> bool:
        """Every line explained, none refused, no day missing."""
        return self.found.sound and not self.invoice.refused and not self.missing

    def documents(self) -> Iterator[dict[str, Any]]:
        """Every compared row, then every line that was not compared, for a machine."""
        for row in self.found.rows:
            yield _spelled(asdict(row))
        for role, lines in (("refused", self.invoice.refused), ("set aside", self.invoice.aside)):
            yield from ({"role": role, **_spelled(asdict(one))} for one in lines)

    def sums(self) -> dict[str, Any]:
        """The totals, and what the file's columns were read as."""
        found = self.found
        amounts = {
            "invoice": found.invoice, "itemised": found.itemised, "ours": found.ours, "difference": found.difference,
            "explained": found.explained, "unexplained": found.unexplained,
        }  # fmt: skip
        missing = [str(day) for day in self.missing]
        return {
            **_spelled(amounts), "currency": self.currency, "read_as": dict(self.invoice.read_as),
            "missing_days": missing,
        }  # fmt: skip


class InvoiceVerbs(Base):
    """What the provider asks for, against what we hold."""

    def invoice(
        self,
        file: Path,
        month: Month,
        source: str,
        accounts: Collection[str] = (),
        *,
        as_of: datetime | None = None,
        agreed: Mapping[str, Decimal | None] | None = None,
    ) -> InvoiceCheck:
        """Read ``file`` and compare it with the month's records and daily totals of ``source``.

        ``accounts``: only these provider accounts, on both sides. ``as_of``: when the invoice was made, where it does
        not say. ConfigurationError for a file that cannot be read or is of another month, NotReady if no day is loaded.
        """
        import polars as pl

        from etl import invoice as held
        from etl.schemas import DATASETS

        read = held.read(file)
        days = self._loaded("events", month, source)
        if not days:
            raise NotReady(f"{month} of {source} is not in the lake: run python -m etl run --month {month}")
        until = as_of or min((line.as_of for line in read.lines if line.as_of), default=None)
        mine = pl.col("provider_account").is_in(list(accounts)) if accounts else pl.lit(True)
        tallies, numbers, money = [], [], set()
        for day, version in days.items():
            events = self.lake.read(version, list(held.EVENTS)).filter(mine)
            money |= set(events["provider_currency"].unique()) - {None}
            tallies.append(held.tally(events, day, until))
            numbers.append(events.filter(pl.col("kind") == "number").select("provider_account", "record_id").unique())
        if len(money) > 1:
            raise ConfigurationError(
                f"the records of {month} cost {', '.join(sorted(money))}: compare one currency at a time, "
                "--provider-account"
            )
        ledger = [
            self.lake.read(version, DATASETS["ledger"].columns).select(pl.lit(day).alias("date"), pl.all()).filter(mine)
            for day, version in self._loaded("ledger", month, source).items()
        ]
        none = DATASETS["ledger"].empty().select(pl.lit(month.first).alias("date"), pl.all())
        holds = held.Held(pl.concat(tallies), pl.concat([none, *ledger]), pl.concat(numbers).unique())
        currency = next(iter(money), None)
        chosen = held.select(read, month, currency, accounts)
        if as_of:
            chosen = replace(chosen, lines=tuple(replace(line, as_of=as_of) for line in chosen.lines))
        missing = tuple(day for day in month.days if day not in days)
        found = held.compare(chosen, month, holds, agreed)
        return InvoiceCheck(chosen, found, missing, source, tuple(accounts), currency or chosen.lines[0].currency or "")

    def dispute(self, one: InvoiceCheck, month: Month) -> tuple[pl.DataFrame, int]:
        """(at most `DISPUTE_ROWS` records behind what is asked too much, by time; how many more there are)."""
        import polars as pl

        from etl import invoice as held
        from etl.schemas import DATASETS

        kept, left = [held.dispute(DATASETS["events"].empty().select(held.EVENTS), month.first, ())], 0
        for rows in self._disputed(one, month):
            room = DISPUTE_ROWS - sum(frame.height for frame in kept)
            kept.append(rows.head(room))
            left += max(0, rows.height - room)
        return pl.concat(kept), left

    def _disputed(self, one: InvoiceCheck, month: Month) -> Iterator[pl.DataFrame]:
        import polars as pl

        from etl import invoice as held

        claims = one.found.claims
        mine = pl.col("provider_account").is_in(list(one.accounts)) if one.accounts else pl.lit(True)
        for day, version in self._loaded("events", month, one.source).items() if claims else ():
            if any(claim.start <= day <= claim.end for claim in claims):
                yield held.dispute(self.lake.read(version, list(held.EVENTS)).filter(mine), day, claims)

    def _loaded(self, dataset: str, month: Month, source: str) -> dict:
        """UTC day → the newest version of the source's partition."""
        from etl.periods import parse_day

        heads = self.lake.heads(dataset, date=(month.first, month.days[-1]), source=source)
        return {parse_day(partition["date"]): version for partition, version in heads.items()}


def _spelled(row: Mapping[str, Any]) -> dict[str, Any]:
    """Decimals without an exponent: a zero of nine decimals would be 0E-9."""
    return {name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in row.items()}
