"""The credits of one month, from the ledger: what was there, what came, what went, what is left, lot by lot.

Credits come from the period's allotment or from lots that were bought; what no credit covers is overage, charged in
money. `build` raises `DoesNotAddUp` where the ledger's balances are not the sum of its entries (mission rule 8).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime

import polars as pl

from reports.checks import DoesNotAddUp, same

ALLOTMENT = "allotment"
LOTS_SHOWN = 12

# (entry, simulated) → what it is called, in the order of the page.
_ROWS = {
    ("open", False): "Opened with",
    ("correction", False): "Corrections of closed months",
    ("grant", False): "Granted by the plan",
    ("purchase", False): "Packs added",
    ("recharge", False): "Auto-recharges, reported",
    ("recharge", True): "Auto-recharges",
    ("burn", False): "Used",
    ("expire", False): "Lost at reset",
}


@dataclass(frozen=True)
class CreditRow:
    """One kind of entry over the month, signed. None: nothing of the kind concerns that part."""

    entry: str
    label: str
    allotment: int | None
    bought: int | None
    simulated: bool = False
    days: tuple[date, ...] = ()
    months: tuple[str, ...] = ()
    """The closed months that a correction is for."""

    @property
    def total(self) -> int:
        return (self.allotment or 0) + (self.bought or 0)


@dataclass(frozen=True)
class Lot:
    """Credits that were bought at one moment. ``opened`` is after what was corrected of closed months; ``count`` is more
    than 1 for several shown as one."""

    lot: str
    bought_at: datetime | None
    opened: int
    added: int
    used: int
    left: int
    simulated: bool = False
    count: int = 1

    def __add__(self, other: Lot) -> Lot:
        sums = {
            name: getattr(self, name) + getattr(other, name) for name in ("opened", "added", "used", "left", "count")
        }
        return replace(self, **sums, lot="", bought_at=None, simulated=self.simulated and other.simulated)


@dataclass(frozen=True)
class Credits:
    """A month of credits. ``used`` and ``lost`` are positive counts; ``overage`` is what no credit covered. On the days
    ``ran_out`` the last credit of an allotment was used, on the days ``resets`` a new one was granted."""

    rows: tuple[CreditRow, ...]
    left_allotment: int
    left_bought: int
    overage: int
    lots: tuple[Lot, ...]
    lot_total: Lot | None
    ran_out: tuple[date, ...] = ()
    resets: tuple[date, ...] = ()
    balances: tuple[tuple[date, int], ...] = ()
    """What was left at the end of each day on which something moved."""

    @property
    def left(self) -> int:
        return self.left_allotment + self.left_bought

    @property
    def used(self) -> int:
        return -self.total("burn")

    @property
    def used_allotment(self) -> int:
        return -sum(row.allotment or 0 for row in self.rows if row.entry == "burn")

    @property
    def used_bought(self) -> int:
        return -sum(row.bought or 0 for row in self.rows if row.entry == "burn")

    @property
    def needed(self) -> int:
        """What the month's texts took: used credits and those nothing covered."""
        return self.used + self.overage

    @property
    def opened(self) -> int:
        return self.total("open")

    @property
    def corrected(self) -> bool:
        return any(row.entry == "correction" for row in self.rows)

    @property
    def lost(self) -> int:
        return -self.total("expire")

    def total(self, entry: str) -> int:
        return sum(row.total for row in self.rows if row.entry == entry)


def build(statement_id: str, ledger: pl.DataFrame) -> Credits | None:
    """`schemas.Credits` of one account and month → its credits; None for an account without any."""
    entries = tuple(ledger.sort("position").iter_rows(named=True))
    if not entries:
        return None
    _check(statement_id, entries)
    sums: dict[tuple[str, bool], list] = {}
    lots: dict[str, Lot] = {}
    overage = 0
    for entry in entries:
        if entry["entry"] == "overage":
            overage += entry["credits"]
            continue
        kind = (entry["entry"], entry["entry"] == "recharge" and bool(entry["simulated"]))
        part = 0 if entry["lot"] == ALLOTMENT else 1
        into = sums.setdefault(kind, [None, None, [], []])
        into[part] = (into[part] or 0) + entry["credits"]
        into[2].append(entry["date"])
        into[3] += filter(None, [entry["for_month"]])
        if part:
            lots[entry["lot"]] = _with(lots.get(entry["lot"]), entry)
    sums.setdefault(("open", False), [0, 0, [], []])
    unknown = sums.keys() - _ROWS.keys()
    if unknown:
        raise DoesNotAddUp(f"{statement_id}: the credits ledger has entries of an unknown kind: {sorted(unknown)}")
    rows = tuple(
        CreditRow(
            kind[0],
            label,
            sums[kind][0],
            sums[kind][1],
            kind[1],
            tuple(dict.fromkeys(sums[kind][2])),
            tuple(dict.fromkeys(sums[kind][3])),
        )  # fmt: skip
        for kind, label in _ROWS.items()
        if kind in sums
    )
    last = entries[-1]
    found = Credits(
        rows=rows,
        left_allotment=last["balance_allotment"],
        left_bought=last["balance_purchased"],
        overage=overage,
        lots=_shown(lots.values()),
        lot_total=_merged(lots.values()),
        ran_out=_days(
            e for e in entries if (e["entry"], e["lot"]) == ("burn", ALLOTMENT) and not e["balance_allotment"]
        ),
        resets=_days(e for e in entries if e["entry"] == "grant"),
        balances=tuple({e["date"]: e["balance_allotment"] + e["balance_purchased"] for e in entries}.items()),
    )
    same(statement_id, "credits come to", sum(r.total for r in rows), "the ledger says that are left", found.left)
    bought = found.lot_total.left if found.lot_total else 0
    same(statement_id, "lots of credits have left", bought, "the balance of bought credits is", found.left_bought)
    return found


def _days(entries: Iterable[dict]) -> tuple[date, ...]:
    return tuple(dict.fromkeys(entry["date"] for entry in entries))


def _check(statement_id: str, entries: tuple[dict, ...]) -> None:
    """After every row both balances are the sums of what moved, and no lot is below zero."""
    left: dict[str, int] = {}
    allotment = bought = 0
    for entry in entries:
        lot, moved, day = entry["lot"], entry["credits"], entry["date"]
        if entry["entry"] != "overage":
            left[lot] = left.get(lot, 0) + moved
            allotment += moved if lot == ALLOTMENT else 0
            bought += moved if lot != ALLOTMENT else 0
        same(
            statement_id, f"on {day} allotted credits come to", allotment, "the ledger says", entry["balance_allotment"]
        )
        same(statement_id, f"on {day} bought credits come to", bought, "the ledger says", entry["balance_purchased"])
        if left.get(lot, 0) < 0:
            raise DoesNotAddUp(f"{statement_id}: on {day} more credits were taken from {lot} than there were")


def _with(lot: Lot | None, entry: dict) -> Lot:
    lot = lot or Lot(entry["lot"], entry["bought_at"], 0, 0, 0, 0)
    moved = entry["credits"]
    names = {"open": "opened", "correction": "opened", "purchase": "added", "recharge": "added", "grant": "added"}
    name = names.get(entry["entry"], "used")
    size = -moved if name == "used" else moved
    return replace(
        lot,
        **{name: getattr(lot, name) + size},
        left=lot.left + moved,
        simulated=lot.simulated or bool(entry["simulated"]),
    )


def _shown(lots: Iterable[Lot]) -> tuple[Lot, ...]:
    """Oldest first; where there are many, those used up in one row, and the newest in another."""
    rows = sorted(lots, key=lambda lot: (lot.bought_at is not None, lot.bought_at, lot.lot))
    if len(rows) <= LOTS_SHOWN:
        return tuple(rows)
    merged = []
    empty = [lot for lot in rows if not lot.left]
    if len(empty) > 1:
        rows = [lot for lot in rows if lot.left]
        merged.append(_merged(empty))
    room = LOTS_SHOWN - len(merged)
    if len(rows) > room:
        rows, rest = rows[: room - 1], rows[room - 1 :]
        return (*merged, *rows, _merged(rest))
    return (*merged, *rows)


def _merged(lots: Iterable[Lot]) -> Lot | None:
    found = None
    for lot in lots:
        found = found + lot if found else lot
    return found
