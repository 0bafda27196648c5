"""What the accounts buy: credit plans, subscriptions, packs, recharges, and what was put right by hand.

The clinic's recharges are those its own texts set off: a pack as soon as its balance falls below the threshold. Once a
card was declined, and it ran out of credits until somebody bought a pack by hand.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import NamedTuple

from sandbox.company import CLINIC, HARBOR, LANTERN, Account
from sandbox.traffic import MESSAGE, SECONDS_PER_DAY, Clock, World, midnight
from sandbox.usage import Ledger

PLAIN_VOLUME = 900
"""Messages a day that the plans are made for; with many more, credits and prices grow in proportion."""

RECHARGE_SECONDS = 2
"""From the text that sets a recharge off to the purchase."""


@dataclass(frozen=True)
class Subscription:
    subscription_id: str
    account: Account
    plan_id: str
    anchor: date
    credits: int
    recharge_below: int
    recharge_credits: int
    recharge_price: int
    """USD cents."""
    recharges: str


AGENCY = Subscription("sub_harbor", HARBOR, "agency", date(2026, 3, 31), 12_500, 500, 1_000, 3_000, "simulated")
PRACTICE = Subscription("sub_clinic", CLINIC, "practice", date(2026, 3, 15), 12_000, 400, 1_000, 3_000, "observed")

PLANS = (
    # plan_id, name, USD cents, interval, credits, valid_from, valid_to
    ("starter", "Starter", 11_500, "month", 5_000, "2026-01-01", ""),
    ("agency", "Agency", 24_900, "month", 12_500, "2026-01-01", "2026-09-01"),
    ("agency", "Agency", 25_900, "month", 12_500, "2026-09-01", ""),
    ("practice", "Practice", 23_900, "month", 12_000, "2026-01-01", ""),
    ("practice-annual", "Practice, paid by the year", 258_000, "year", 150_000, "2026-01-01", ""),
)


class Purchase(NamedTuple):
    at: int
    """Seconds since 1970."""
    account: Account
    kind: str
    credits: int
    cents: int
    note: str = ""


def _moment(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


PACK = Purchase(_moment("2026-04-02T16:12:40Z"), CLINIC, "pack", 2_500, 7_000, "bought with the reminders")
GOODWILL = Purchase(_moment("2026-07-03T15:00:00Z"), HARBOR, "goodwill", 500, 0, "for the late receipts of 2 July")
DECLINED = date(2026, 8, 20)
"""The first recharge due from this day on is declined; two days later the pack below is bought by hand instead."""
BY_HAND = 15 * 3600 + 1800, 2_000, 5_600, "bought by hand: the card had been declined"


def rate_card(account: Account) -> str:
    """Who has a plan pays texts in credits, and nothing else for them."""
    return "plan" if account in (AGENCY.account, PRACTICE.account) else "standard"


def factor(world: World) -> int:
    """How many times the plain volume this world has: once at least, and no credits of ten digits."""
    return min(max(1, round(world.volume[MESSAGE] / PLAIN_VOLUME)), 6_000)


def reset_day(anchor: date, k: int) -> date:
    """The day on which credit period `k` begins: the anchor's day of the month, or the last of a shorter month."""
    months = anchor.month - 1 + k
    year, month = anchor.year + months // 12, months % 12 + 1
    following = date(year + month // 12, month % 12 + 1, 1)
    return date(year, month, min(anchor.day, (following - timedelta(1)).day))


class _Wallet:
    """The credits of an account whose recharges are observed, and what it buys."""

    def __init__(self, world: World, plan: Subscription) -> None:
        self.world, self.plan, self.scale, self.ledger = world, plan, factor(world), Ledger(world)
        self.allotment = self.purchased = 0
        self.declined, self.recharging = False, True
        self.packs = [PACK._replace(credits=PACK.credits * self.scale, cents=PACK.cents * self.scale)]

    def purchases(self, last: date) -> Iterator[Purchase]:
        """Everything bought from the anchor to a UTC day, in order."""
        day, periods = self.plan.anchor, 0
        while day <= last:
            if day == reset_day(self.plan.anchor, periods):
                self.allotment, periods = self.plan.credits * self.scale, periods + 1
            yield from self._day(day)
            day += timedelta(1)

    def _day(self, day: date) -> Iterator[Purchase]:
        start, burned = midnight(day), 0
        texts = self.world.plan(MESSAGE, self.plan.account, day)
        for pack in [pack for pack in self.packs if start <= pack.at < start + SECONDS_PER_DAY]:
            upto = texts.upto(pack.at - start - 1)
            yield from self._burn(day, burned, upto)
            burned = upto
            self.purchased, self.recharging = self.purchased + pack.credits, True
            yield pack
        yield from self._burn(day, burned, texts.count)

    def _burn(self, day: date, first: int, end: int) -> Iterator[Purchase]:
        """Burns the texts [first, end) of a day, recharging on the way."""
        plan = self.plan
        below = plan.recharge_below * self.scale
        while True:
            spent = self._credits(day, end) - self._credits(day, first)
            room = self.allotment + self.purchased - below
            if not self.recharging or spent <= max(0, room):
                self._spend(spent)
                return
            row = self._row(day, self._credits(day, first) + max(0, room) + 1, end)
            self._spend(self._credits(day, row) - self._credits(day, first))
            first = row
            if day >= DECLINED and not self.declined:
                self.declined, self.recharging = True, False
                second, credits, cents, note = BY_HAND
                at = midnight(day + timedelta(2)) + second
                self.packs.append(Purchase(at, plan.account, "pack", credits * self.scale, cents * self.scale, note))
                continue
            texts = self.world.plan(MESSAGE, plan.account, day)
            credits, cents = plan.recharge_credits * self.scale, plan.recharge_price * self.scale
            self.purchased += credits
            at = texts.start + texts.second(row - 1) + RECHARGE_SECONDS
            yield Purchase(at, plan.account, "recharge", credits, cents)

    def _spend(self, credits: int) -> None:
        """Allotment first, then what was bought; what neither covers is overage."""
        of_allotment = min(self.allotment, credits)
        self.allotment -= of_allotment
        self.purchased -= min(self.purchased, credits - of_allotment)

    def _credits(self, day: date, rows: int) -> int:
        return self.ledger.credits(self.plan.account, day, rows)

    def _row(self, day: date, credits: int, end: int) -> int:
        """How many of a day's first rows it takes to burn so many credits."""
        low, high = 0, end
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self._credits(day, middle) >= credits else (middle + 1, high)
        return low


# --- rows of the files ---

HEADERS = {
    "plans": ("plan_id", "name", "currency", "price", "interval", "credits", "valid_from", "valid_to"),
    "subscriptions": (
        *("subscription_id", "account_id", "plan_id", "anchor", "ended_on", "quantity"),
        *("recharge_below", "recharge_credits", "recharge_price", "recharges"),
    ),
    "purchases": ("purchase_id", "account_id", "bought_at", "kind", "credits", "price", "currency", "note"),
    "adjustments": ("adjustment_id", "account_id", "date", "amount", "currency", "taxable", "reason"),
}
_PORTLAND = timezone(timedelta(hours=-7))
"""Summer time: a pack's moment is written as the desk there would."""


def _dollars(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def rows(world: World, clock: Clock) -> dict[str, list[tuple]]:
    """The rows of every file by file name, with the purchases made by now."""
    scale = factor(world)
    bought = [*_Wallet(world, PRACTICE).purchases(clock.day), GOODWILL._replace(credits=GOODWILL.credits * scale)]
    purchases, count = [], {}
    for one in sorted((p for p in bought if p.at <= clock.now), key=lambda p: p.at):
        name = one.account.account_id.removeprefix("acct_")
        count[name] = count.get(name, 0) + 1
        at = datetime.fromtimestamp(one.at, _PORTLAND if one.kind == "pack" else UTC).isoformat()
        price = "" if one.kind == "goodwill" else _dollars(one.cents)
        purchases.append(
            (f"{name}_{count[name]:04d}", one.account.account_id, at, one.kind, one.credits, price, "USD", one.note)
        )
    return {
        "plans": [
            (plan_id, name, "USD", _dollars(cents * scale), interval, credits * scale, since, until)
            for plan_id, name, cents, interval, credits, since, until in PLANS
        ],
        "subscriptions": [
            (
                *(s.subscription_id, s.account.account_id, s.plan_id, s.anchor.isoformat(), "", 1),
                *(s.recharge_below * scale, s.recharge_credits * scale),
                *(_dollars(s.recharge_price * scale), s.recharges),
            )
            for s in (AGENCY, PRACTICE)
        ],
        "purchases": purchases,
        "adjustments": [
            (
                "lantern_0001",
                LANTERN.account_id,
                "2026-06-18",
                "-18.40",
                "USD",
                "false",
                "Refund: a broadcast sent twice",
            )
        ],
    }
