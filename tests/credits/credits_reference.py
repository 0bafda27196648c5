"""A bookkeeper who walks through one account's days, event by event, with lots in a list. Slow, and easy to believe."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, time, timedelta

ONE = timedelta(days=1)
ALLOTMENT = "allotment"


def midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def starts_on(anchor: date, day: date) -> bool:
    """A period starts on the anchor's day of the month, or on the last day of a month that has no such day."""
    return day >= anchor and (day.day == anchor.day or (day.day < anchor.day and (day + ONE).day == 1))


def in_force(plans: list[dict], day: date) -> dict | None:
    return next((p for p in plans if p["anchor"] <= day and (p["ended_on"] is None or day < p["ended_on"])), None)


def allotment_on(plan: dict, day: date) -> int:
    for valid_from, valid_to, credits in plan["versions"]:
        if (valid_from is None or valid_from <= day) and (valid_to is None or day < valid_to):
            return credits
    return 0


class Bookkeeper:
    """One account. `walk` goes on from where the last call ended, and returns the rows of the days it walked."""

    def __init__(self) -> None:
        self.allotment = 0
        self.granted_by: str | None = None
        self.plan: dict | None = None
        self.lots: list[dict] = []
        self.begun = False
        self.totals = dict.fromkeys(("granted", "purchased", "recharged", "burned", "expired", "overage"), 0)
        self.trace: list[tuple[datetime, int]] = []

    @property
    def bought(self) -> int:
        return sum(lot["credits"] for lot in self.lots)

    @property
    def balance(self) -> int:
        return self.allotment + self.bought

    def walk(self, first: date, end: date, plans: list[dict], purchases: list[dict], burns: list[dict]) -> list[tuple]:
        self.rows: list[tuple] = []
        self.pending: list[list] = []
        self.day, self.short = first, 0
        begins = min([midnight(p["anchor"]) for p in plans] + [p["bought_at"] for p in purchases], default=None)
        if begins is None or begins >= midnight(end):
            assert not self.begun
            return []
        self.open(in_force(plans, first - ONE))
        self.begun = True
        while self.day < end:
            self.boundary(plans, first)
            today = [(p["bought_at"], 0, p["purchase_id"], p) for p in purchases if p["bought_at"].date() == self.day]
            today += [
                (b["occurred_at"], 1, b["record_id"], b)
                for b in burns
                if b["occurred_at"].date() == self.day and b["occurred_at"] >= begins
            ]
            for at, what, _, item in sorted(today, key=lambda event: event[:3]):
                self.burn(at, item) if what else self.buy(at, item)
                self.check(at)
            self.flush()
            if self.short:
                self.row("overage", "overage", self.short)
                self.short = 0
            self.day += ONE
        return self.rows

    # ---------------------------------------------------------------------------------------- what happens

    def open(self, eve: dict | None) -> None:
        """What was left is written again, at first with nothing on the books."""
        self.totals["opened"] = self.balance
        self.totals |= dict.fromkeys(("granted", "purchased", "recharged", "burned", "expired", "overage"), 0)
        held = self.plan["subscription_id"] if self.plan else None
        if self.allotment or (eve and eve["subscription_id"] == self.granted_by):
            name = held if self.allotment else eve["subscription_id"]
            self.row("open", ALLOTMENT, self.allotment, balances=(self.allotment, 0), subscription=name)
        name = held if self.allotment else eve["subscription_id"] if eve else None
        seen = 0
        for lot in self.lots:
            seen += lot["credits"]
            self.row("open", lot["lot"], lot["credits"], lot=lot, balances=(self.allotment, seen), subscription=name)

    def boundary(self, plans: list[dict], first: date) -> None:
        now = in_force(plans, self.day)
        start = self.day
        if now is not None:
            while not starts_on(now["anchor"], start):
                start -= ONE
        known = self.plan["subscription_id"] if self.plan else None
        changed = known != (now["subscription_id"] if now else None)
        # Within a walk a subscription begins on its anchor; what else is new was entered late.
        if not (changed or (now is not None and start == self.day)):
            self.plan = now
            return
        if self.allotment:
            self.totals["expired"] += self.allotment
            gone, self.allotment = self.allotment, 0
            self.row("expire", ALLOTMENT, -gone, at=midnight(self.day))
        self.plan = now
        granted = allotment_on(now, start) if now is not None else 0
        if granted:
            self.totals["granted"] += granted
            self.allotment = granted
            self.granted_by = now["subscription_id"]
            self.row("grant", ALLOTMENT, granted, at=midnight(self.day))
        self.check(midnight(self.day))

    def buy(self, at: datetime, purchase: dict) -> None:
        self.flush()
        recharge = purchase["kind"] == "recharge"
        self.add(at, purchase["purchase_id"], purchase["credits"], recharge=recharge, simulated=False)

    def add(self, at: datetime, name: str, credits: int, *, recharge: bool, simulated: bool) -> None:
        self.lots.append({"lot": name, "bought_at": at, "credits": credits, "simulated": simulated})
        self.totals["recharged" if recharge else "purchased"] += credits
        self.row("recharge" if recharge else "purchase", name, credits, at=at, lot=self.lots[-1])

    def burn(self, at: datetime, burn: dict) -> None:
        owed = burn["credits"]
        if owed == 0:
            return
        plan = self.plan or {}
        packs = 0
        if plan.get("recharges") == "simulated":
            while self.balance - owed + packs * plan["recharge_credits"] < plan["recharge_below"]:
                packs += 1
        owed = self.take(owed)
        if packs:
            self.flush()
            digest = hashlib.sha256(burn["record_id"].encode()).hexdigest()[:12]
            name = f"recharge-{at:%Y%m%dT%H%M%S.%f}Z-{digest}"
            self.add(at, name, packs * plan["recharge_credits"], recharge=True, simulated=True)
            owed = self.take(owed)
            assert owed == 0 and self.balance >= plan["recharge_below"]
        assert owed == 0 or self.balance == 0
        self.short += owed
        self.totals["overage"] += owed

    def take(self, owed: int) -> int:
        """What can be had: allotment, then lots oldest first. Returns what could not."""
        taken = min(owed, self.allotment)
        if taken:
            self.allotment -= taken
            self.note(ALLOTMENT, None, taken)
        owed -= taken
        while owed and self.lots:
            lot = self.lots[0]
            taken = min(owed, lot["credits"])
            lot["credits"] -= taken
            owed -= taken
            if lot["credits"] == 0:
                self.lots.pop(0)
            self.note(lot["lot"], lot, taken)
        return owed

    # ---------------------------------------------------------------------------------------- what is written

    def note(self, name: str, lot: dict | None, taken: int) -> None:
        """Burns are added up until something else happens; the balances are those after the last of them."""
        self.totals["burned"] += taken
        if not (self.pending and self.pending[-1][0] == name):
            self.pending.append([name, lot, 0, None])
        self.pending[-1][2] += taken
        self.pending[-1][3] = (self.allotment, self.bought)

    def flush(self) -> None:
        for name, lot, taken, balances in self.pending:
            self.row("burn", name, -taken, lot=lot, balances=balances)
        self.pending = []

    def row(self, entry, name, credits, *, at=None, lot=None, balances=None, subscription=None) -> None:
        self.rows.append(
            (
                self.day,
                at,
                entry,
                name,
                lot["bought_at"] if lot else None,
                credits,
                lot["simulated"] if lot else False,
                *(balances or (self.allotment, self.bought)),
                subscription or (self.plan["subscription_id"] if self.plan and entry != "open" else None),
            )
        )

    def check(self, at: datetime) -> None:
        """The identity of mission rule 8, at every event; and nothing is ever owed."""
        t = self.totals
        added = t["opened"] + t["granted"] + t["purchased"] + t["recharged"]
        assert added - t["burned"] - t["expired"] == self.balance
        assert self.allotment >= 0 and all(lot["credits"] > 0 for lot in self.lots)
        self.trace.append((at, self.balance))
