"""What used and lapsed credits are worth: each lot's price, spread over its credits as they go.

A pack's price is spread so that all its credits together come to it exactly, to the billionth. An allotment has no
price of its own: it comes with its subscription, whose fee is recognised as a whole on the day it falls due.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal

from reports.charges import ZERO

ALLOTMENT = "allotment"
BILLIONTH = Decimal("1e-9")
USED, LAPSED = "credits_used", "credits_lapsed"
GONE = {"burn": USED, "expire": LAPSED}
"""Entries of the ledger that take credits → the line of their rows."""
ADDED = ("purchase", "recharge")


@dataclass(frozen=True)
class Price:
    """What a lot of ``credits`` was paid with."""

    charge: Decimal
    credits: int

    def of(self, before: int, after: int) -> Decimal:
        """The part of the price that falls to the credits between two balances of the lot."""
        return self._left(before) - self._left(after)

    def _left(self, balance: int) -> Decimal:
        return (self.charge * balance / self.credits).quantize(BILLIONTH, ROUND_HALF_UP)


@dataclass(frozen=True)
class Gone:
    """Credits of one lot that were used or lapsed on a day. ``value`` is None where the lot's price is not known."""

    day: date
    line: str
    lot: str
    credits: int
    value: Decimal | None
    subscription_id: str | None

    @property
    def allotment(self) -> bool:
        return self.lot == ALLOTMENT


def gone(ledger: Iterable[Mapping], prices: Mapping[str, Price]) -> tuple[Gone, ...]:
    """`schemas.Credits` rows of a month in order → what was used and what lapsed."""
    left: dict[str, int] = {}
    found = []
    for entry in ledger:
        if entry["entry"] == "overage":
            continue
        lot = entry["lot"]
        before = left.get(lot, 0)
        left[lot] = before + entry["credits"]
        if entry["entry"] in GONE and entry["credits"]:
            price = prices.get(lot)
            value = ZERO if lot == ALLOTMENT else price.of(before, left[lot]) if price else None
            line, id_ = GONE[entry["entry"]], entry["subscription_id"]
            found.append(Gone(entry["date"], line, lot, -entry["credits"], value, id_))
    return tuple(found)


def recharged_by_us(ledger: Iterable[Mapping]) -> frozenset[str]:
    """Subscriptions of which we bought packs ourselves: those packs' charges name the subscription, not a purchase."""
    return frozenset(row["subscription_id"] for row in ledger if row["entry"] == "recharge" and row["simulated"])


def prices(ledger: Iterable[Mapping], monthly: Iterable[Mapping]) -> dict[str, Price]:
    """Lot → price of every lot that came in with these rows of `schemas.Credits`, which were paid with these of
    `schemas.Monthly`. Goodwill cost nothing."""
    entries = tuple(ledger)
    packs, ours = [row for row in monthly if row["line"] == "credit_pack"], recharged_by_us(entries)
    bought = {row["rate_id"]: row["charge"] for row in packs if row["rate_id"] not in ours}
    simulated = {(row["date"], row["rate_id"]): row["charge"] for row in packs if row["rate_id"] in ours}
    added = [entry for entry in entries if entry["entry"] in ADDED]
    recharged: dict[tuple, int] = {}
    for entry in added:
        if entry["simulated"]:
            key = entry["date"], entry["subscription_id"]
            recharged[key] = recharged.get(key, 0) + entry["credits"]
    found = {}
    for entry in added:
        charge = bought.get(entry["lot"], ZERO)
        if entry["simulated"]:
            # A day's recharges of one subscription are charged in one sum, all at one price.
            key = entry["date"], entry["subscription_id"]
            whole = simulated.get(key)
            charge = None if whole is None else whole * entry["credits"] / recharged[key]
        if charge is not None:
            found[entry["lot"]] = Price(charge, entry["credits"])
    return found
