"""What is worth a look in a month: figures that stand out against the account's own other days and months.

Pure: figures in, `Finding`s out, most important first. Every rule compares with something the account did itself, says
what it cost where that is known, and has a size below which it says nothing. `reports.remarks` has the sentences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from functools import cached_property
from statistics import median_low

import polars as pl

from etl.money import minor_digits, round_half_up
from etl.periods import Month
from etl.schemas import UNASSIGNED
from reports.charges import ZERO, ChargeRow, Key, sums
from reports.drivers import Driver, drivers
from reports.ledger import Credits
from reports.naming import presentable

SHOWN = 6
"""Findings of a page: a longer list is not read."""
EACH = 2
"""Findings of one kind: the third of a kind says nothing new."""

FAR = 2
"""A day or a person has at least twice or at most half of what is usual: working days differ by less."""
LIKE_DAYS = 3
"""Fewer days of the same weekday have no middle."""
LEVEL = 4
"""Where more than one day in four is odd, the level has changed, and no day is."""
SEGMENTS, MINUTES = 50, 60
"""Least difference of a day or a person: less is a chat or two."""
DAY_SHARE, SHARE = 30, 100
"""And a thirtieth of the month for a day, a hundredth for a person: less than an average day moves no month."""

CENTS = 100
"""Least amount in minor units of the currency (one dollar): nobody acts on less."""
PART = 400
"""And a four-hundredth of the month's charges, for the same reason."""
PRICE_PART, MIX_PART = 50, 10
"""An average price moves by at least 2 %; where no price changed and only where it went to did, by 10 %."""
FAILED, FAILED_PART = 50, 20
"""Failed texts that are told whatever they cost: fifty and one in twenty, the sign of a list gone stale."""

EARLY = 3
"""Days before its reset on which an allotment that ran out is worth telling: later, it was sized right."""
LOST, LOST_PART = 100, 20
"""Credits lost at a reset: a hundred, and one in twenty of what was granted."""
PACE_DAYS = 7
"""Days whose burning says how long credits last: a week has every weekday."""

DIFFER, DIFFER_PART = 10, 200
"""Texts counted otherwise by the provider: ten, and one in two hundred; below it is what redacted texts make."""
VANISHED = 10
"""Records no longer listed: below ten, a page fetched twice."""


@dataclass(frozen=True)
class Who:
    """Who made it: ``kind`` is member, inbox, unassigned or campaign; ``had`` and ``usual`` in the finding's unit."""

    kind: str
    name: str
    had: int
    usual: int


@dataclass(frozen=True, kw_only=True)
class Finding:
    """``cost`` is exact: what it cost more (negative: less) than what it is compared with; None where nobody knows or
    where there is no price to it."""

    cost: Decimal | None = None

    @property
    def urgent(self) -> bool:
        """Whether a figure of the statement lacks something."""
        return False


@dataclass(frozen=True, kw_only=True)
class OddDay(Finding):
    """A day far from what its weekday usually has. ``measure`` is segments or minutes; of the latter the counts are
    seconds. ``others``: days as odd as this one, in the same direction. ``also``: (measure, value, typical) of the
    other measure where it is as odd on the same day."""

    measure: str
    day: date
    value: int
    typical: int
    who: Who | None
    others: int
    also: tuple[str, int, int] | None = None

    @property
    def more(self) -> bool:
        return self.value > self.typical


@dataclass(frozen=True, kw_only=True)
class Unregistered(Finding):
    """Texts sent from numbers that are not registered, at carriers that also took registered ones in the month.
    ``counts``: unit → quantity. Prices are of one unit, None where there was more than one. ``before``: months before
    in the history; ``first``: in none of them was one unregistered. ``beside``: unregistered at other carriers."""

    counts: tuple[tuple[str, int], ...]
    beside: int
    paid: Decimal
    price: Decimal | None
    registered: Decimal | None
    first: bool
    before: int


@dataclass(frozen=True, kw_only=True)
class Failed(Finding):
    """Texts that could not be sent, of so many that were to be; ``before``: a month ago, None where nothing compares."""

    count: int
    of: int
    before: int | None


@dataclass(frozen=True, kw_only=True)
class PriceMove(Finding):
    """A charge whose average price is another than a month ago. ``price`` + ``quantity`` = ``difference``, rounded to
    be shown; ``was`` and ``now`` are of one ``unit``. ``mixed``: every price of the month was one of the month before, so
    only how much went where is another."""

    key: Key
    unit: str
    was: Decimal
    now: Decimal
    difference: Decimal
    price: Decimal
    quantity: Decimal
    mixed: bool = False


@dataclass(frozen=True, kw_only=True)
class Grown(Finding):
    """A member or inbox with at least twice what it had a month ago, or with much and nothing then. ``who.usual`` is
    that month."""

    measure: str
    who: Who


@dataclass(frozen=True, kw_only=True)
class Silent(Finding):
    """Members and inboxes without any use this month who had some a month ago, by what they had."""

    names: tuple[str, ...]
    kinds: frozenset[str]
    segments: int
    calls: int


@dataclass(frozen=True, kw_only=True)
class CreditsShort(Finding):
    """The allotment did not do: it ran out on a day, recharges were bought, or credits that nothing covered were used.
    ``cost`` is what recharges (paid apart) and overage come to."""

    ran_out: date | None
    bought: int
    recharges: int
    simulated: int
    added: int
    paid: Decimal | None
    overage: int
    charged: Decimal


@dataclass(frozen=True, kw_only=True)
class CreditsLost(Finding):
    """Credits of an allotment that lapsed at a reset. ``granted`` in the month, 0 where nothing was."""

    lost: int
    days: tuple[date, ...]
    granted: int


@dataclass(frozen=True, kw_only=True)
class CreditsPace(Finding):
    """In a running month: how long the credits last if they go on burning as they did on the last ``days`` days."""

    left: int
    burned: int
    days: int
    until: date


@dataclass(frozen=True, kw_only=True)
class Records(Finding):
    """So many of the month's records: ``what`` is unrated, differ or vanished."""

    what: str
    count: int
    of: int

    @property
    def urgent(self) -> bool:
        return self.what == "unrated"


@dataclass(frozen=True)
class Basis:
    """What the rules look at. ``daily`` is `schemas.Daily` with date of up to six months, without what is only held, and
    ``folded`` is `reports.folded.fold` of it with `COLUMNS`; ``known`` are the loaded days, ``complete`` those whose every source is in, ``foreign`` those charged in another
    currency; ``comparable``: the month is whole and there is one before it. ``before`` are its lines, None where its
    money does not compare; ``owners`` and ``campaigns`` are names."""

    month: Month
    currency: str
    comparable: bool
    final: bool
    history: tuple[Month, ...]
    daily: pl.DataFrame = field(repr=False)
    folded: pl.DataFrame = field(repr=False)
    known: tuple[date, ...]
    complete: frozenset[date]
    foreign: frozenset[date]
    owners: Mapping[tuple[str, str], str]
    campaigns: Mapping[str, str]
    charges: tuple[ChargeRow, ...]
    charged: Decimal
    lines: tuple[dict, ...]
    before: tuple[dict, ...] | None
    monthly: tuple[dict, ...]
    credits: Credits | None
    ledger: tuple[dict, ...]
    records: int
    texts: int
    unrated: int
    differ: int
    vanished: int

    @property
    def paid_alike(self) -> bool:
        """Whether amounts compare with those of the month before."""
        return (self.month - 1).first not in self.foreign

    @cached_property
    def by_day(self) -> dict[date, dict[str, object]]:
        """`COLUMNS` of every day with usage."""
        return {row["date"]: row for row in self.folded.group_by("date").agg(_SUMMED).rows(named=True)}

    @cached_property
    def by_owner(self) -> tuple[dict[tuple, dict], dict[tuple, dict]]:
        """`COLUMNS` of every member and inbox in this month, and in the month before, by (owner_kind, owner_id)."""
        recent = self.folded.filter(
            pl.col("date").is_between((self.month - 1).first, self.month.days[-1]), pl.col("owner_kind") != UNASSIGNED
        )
        now = (pl.col("date") >= self.month.first).alias("now")
        found: tuple[dict, dict] = {}, {}
        for row in recent.group_by(*_OWNER, now).agg(_SUMMED).sort(_OWNER).iter_rows(named=True):
            found[0 if row["now"] else 1][row["owner_kind"], row["owner_id"]] = row
        return found

    @cached_property
    def by_weekday(self) -> dict[int, list[date]]:
        """The days that are wholly known."""
        found: dict[int, list[date]] = {}
        for day in self.known:
            if day in self.complete:
                found.setdefault(day.weekday(), []).append(day)
        return found

    def worth(self, amount: Decimal | None) -> bool:
        """Whether an amount is large enough to be told."""
        if amount is None:
            return False
        least = max(Decimal(CENTS).scaleb(-minor_digits(self.currency)), self.charged / PART)
        return abs(amount) >= least

    def round(self, amount: Decimal) -> Decimal:
        return round_half_up(amount, self.currency)


def find(b: Basis, days: list[OddDay]) -> tuple[Finding, ...]:
    """The findings of a month with these `odd_days`, most important first, at most `SHOWN`: what the figures lack, then
    by money, then what has no price."""
    odd = sorted(days, key=_weight)[:EACH]
    found = [*odd, *grown(b, days), *silent(b), *unregistered(b), *failed(b), *price_moves(b), *short(b), *lost(b),
             *pace(b), *records(b)]  # fmt: skip
    return tuple(sorted(found, key=_weight)[:SHOWN])


def _weight(finding: Finding) -> tuple:
    return not finding.urgent, not finding.cost, -abs(finding.cost or ZERO)


# ------------------------------------------------------------------------------------------------ days


@dataclass(frozen=True)
class _Measure:
    """What is counted a day: a column over some lines, the lines it costs on, and the least that counts."""

    name: str
    column: str
    over: tuple[str, ...]
    costs: tuple[str, ...]
    least: int

    @property
    def columns(self) -> dict[str, pl.Expr]:
        """Count, exact charge and records without a price, over `schemas.Daily`."""
        costs = pl.col("line").is_in(self.costs)
        return {
            self.name: pl.when(pl.col("line").is_in(self.over)).then(self.column),
            f"{self.name} charge": pl.when(costs).then("charge"),
            f"{self.name} unrated": pl.when(costs).then("unrated"),
        }

    def of(self, row: Mapping) -> tuple[int, Decimal, int]:
        """(count, exact charge, records without a price) of a row with `COLUMNS`."""
        return row[self.name], row[f"{self.name} charge"], row[f"{self.name} unrated"]


_OWNER = ("owner_kind", "owner_id")
_SEGMENTS = _Measure("segments", "segments", ("text",), ("text", "carrier_fee"), SEGMENTS)
_MINUTES = _Measure(
    "minutes", "billed_seconds", ("call", "campaign_call"), ("call", "campaign_call", "voice_detection"), MINUTES * 60
)
MEASURES = (_SEGMENTS, _MINUTES)
_NOTHING = (0, ZERO, 0)
COLUMNS = {
    **_SEGMENTS.columns, **_MINUTES.columns, "all segments": pl.col("segments"), "all seconds": pl.col("billed_seconds"),
    "all charges": pl.col("charge"), "all calls": pl.when(pl.col("line").is_in(_MINUTES.over)).then("events"),
}  # fmt: skip
"""What the rules add up of `schemas.Daily`."""
_SUMMED = pl.col(*COLUMNS).sum()


def odd_days(b: Basis) -> list[OddDay]:
    """Of each measure the day furthest above and the one furthest below the middle of its weekday over six months."""
    found = []
    for measure in MEASURES:
        totals = {day: measure.of(row) for day, row in b.by_day.items()}
        mine = [day for day in b.known if day >= b.month.first]
        # Who mostly rests has no usual day that a busy one would be far from.
        rests = median_low(totals.get(day, _NOTHING)[0] for day in b.known) == 0 if b.known else True
        least = max(measure.least, sum(totals.get(day, _NOTHING)[0] for day in mine) // DAY_SHARE)
        above, below = [], []
        for day in mine:
            like = _like(b, day)
            if len(like) < LIKE_DAYS:
                continue
            value, typical = totals.get(day, _NOTHING)[0], median_low(totals.get(d, _NOTHING)[0] for d in like)
            if value >= FAR * typical and value - typical >= least and (typical or not rests):
                above.append((value - typical, day, value, typical))
            # What is not all in may still rise.
            if value * FAR <= typical and typical - value >= least and day in b.complete:
                below.append((typical - value, day, value, typical))
        for days in (above, below):
            if not days or len(days) * LEVEL > len(mine):
                continue
            gap, day, value, typical = max(days, key=lambda d: (d[0], -d[1].toordinal()))
            like = _like(b, day)
            _, charge, lacking = totals.get(day, _NOTHING)
            # A day that lacks a price costs less than it will: it says nothing about what is usual.
            charges = [c for c, lacks in (totals.get(d, _NOTHING)[1:] for d in like if d not in b.foreign) if not lacks]
            cost = charge - median_low(charges) if not lacking and len(charges) >= LIKE_DAYS else None
            found.append(
                OddDay(
                    measure=measure.name, day=day, value=value, typical=typical, others=len(days) - 1,
                    who=_who(b, measure, day, like, gap, value > typical), cost=cost,
                )
            )  # fmt: skip
    return _together(found)


def _together(found: list[OddDay]) -> list[OddDay]:
    """A day that is odd in both measures, and in the same direction, is one finding."""
    kept: dict[tuple[date, bool], OddDay] = {}
    for odd in found:
        first = kept.setdefault((odd.day, odd.more), odd)
        if first is not odd:
            kept[odd.day, odd.more] = replace(first, also=(odd.measure, odd.value, odd.typical))
    return list(kept.values())


def _like(b: Basis, day: date) -> list[date]:
    """The other days of the same weekday that are wholly known."""
    return [d for d in b.by_weekday.get(day.weekday(), ()) if d != day]


def _who(b: Basis, measure: _Measure, day: date, like: list[date], gap: int, more: bool) -> Who | None:
    """The campaign, else the member or inbox, behind at least half of the difference, by its own middle."""
    rows = b.folded.filter(pl.col("date").is_in([day, *like]))
    for keys in (("campaign_id",), _OWNER):
        of: dict[tuple, dict[date, int]] = {}
        sums = rows.drop_nulls(keys).group_by(*keys, "date").agg(pl.col(measure.name).sum()).sort(keys)
        for *key, when, count in sums.iter_rows():
            of.setdefault(tuple(key), {})[when] = count
        best: tuple[int, Who] | None = None
        for key, counts in of.items():
            had, usual = counts.get(day, 0), median_low(counts.get(d, 0) for d in like)
            by = had - usual if more else usual - had
            if 2 * by >= gap and (best is None or by > best[0]):
                best = by, _named(b, key, had, usual)
        if best:
            return best[1]
    return None


def _named(b: Basis, key: tuple, had: int, usual: int) -> Who:
    if len(key) == 1:
        return Who("campaign", presentable(b.campaigns.get(key[0]) or key[0]), had, usual)
    kind, owner_id = key
    return Who(kind, "" if kind == UNASSIGNED else presentable(b.owners.get(key) or owner_id), had, usual)


# ------------------------------------------------------------------------------------------------ people


def grown(b: Basis, days: list[OddDay]) -> list[Grown]:
    """Members and inboxes that at least doubled, also without the odd days, which are told by themselves."""
    if not b.comparable:
        return []
    found: dict[tuple, Grown] = {}
    for measure in MEASURES:
        now, then = ({key: measure.of(row) for key, row in rows.items()} for rows in b.by_owner)
        whole, was_whole = (sum(count for count, *_ in of.values()) for of in (now, then))
        if not was_whole:
            continue
        least = max(measure.least, whole // SHARE)
        told = [d.day for d in days if d.more and d.measure == measure.name]
        apart = _counts(b, measure, told) if told else {}
        for key, (count, charge, lacking) in now.items():
            was, was_charge, was_lacking = then.get(key, _NOTHING)
            rest = count - apart.get(key, 0)
            if key in found or rest - was < least or rest < FAR * was:
                continue
            cost = None if lacking or was_lacking or not b.paid_alike else charge - was_charge
            found[key] = Grown(measure=measure.name, who=_named(b, key, count, was), cost=cost)
    return sorted(found.values(), key=lambda g: (-(g.cost or ZERO), g.who.name))[:EACH]


def _counts(b: Basis, measure: _Measure, days: list[date]) -> dict[tuple, int]:
    """What every owner had on these days."""
    rows = b.folded.filter(pl.col("date").is_in(days)).group_by(_OWNER).agg(pl.col(measure.name).sum())
    return {(kind, owner_id): count for kind, owner_id, count in rows.iter_rows()}


def silent(b: Basis) -> list[Silent]:
    """One finding of everybody who had more than a little a month ago and nothing at all now."""
    if not b.comparable:
        return []
    now, then = b.by_owner
    gone = [
        (key, row)
        for key, row in then.items()
        if key not in now and (row["all segments"] >= SEGMENTS or row["all seconds"] >= MINUTES * 60)
    ]
    if not now or not gone:
        return []
    gone.sort(key=lambda found: (-found[1]["all charges"], found[0][1]))
    rows = [row for _, row in gone]
    return [
        Silent(
            names=tuple(_named(b, key, 0, 0).name for key, _ in gone), kinds=frozenset(kind for (kind, _), _ in gone),
            segments=sum(row["all segments"] for row in rows), calls=sum(row["all calls"] for row in rows),
            cost=-sum(row["all charges"] for row in rows) if b.paid_alike else None,
        )
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------ costs


def unregistered(b: Basis) -> list[Unregistered]:
    """What unregistered texts cost beyond the registered fee of the same carrier and month, where both were charged."""
    fees: dict[tuple, dict[bool, list]] = {}
    for key, (_, exact, quantity, lacking) in sums(b.lines, by_carrier=True).items():
        # A fee without a price would make the average too low.
        known = key.carrier and key.registered is not None and quantity and not lacking
        if key.line == "carrier_fee" and key.direction == "outbound" and known:
            fees.setdefault((key.carrier, key.type, key.unit), {})[key.registered] = [exact, quantity]
    pairs = {key: (both[False], both[True]) for key, both in fees.items() if len(both) == 2}
    if not pairs:
        return []
    paid = sum((out[0] for out, _ in pairs.values()), ZERO)
    extra = sum((out[0] - reg[0] * out[1] / reg[1] for out, reg in pairs.values()), ZERO)
    if extra <= 0 or not b.worth(extra):
        return []
    counts: dict[str, int] = {}
    for (_, _, unit), (out, _) in pairs.items():
        counts[unit] = counts.get(unit, 0) + out[1]
    prices, registered = ({side[0] / side[1] for side in sides} for sides in zip(*pairs.values(), strict=True))
    one = len(counts) == 1 and all(len({p.quantize(Decimal("1e-9")) for p in s}) == 1 for s in (prices, registered))
    sent = (pl.col("line") == "carrier_fee") & (pl.col("direction") == "outbound") & ~pl.col("registered")
    earlier = b.daily.filter(sent & (pl.col("date") < b.month.first))
    others = sum(both[False][1] for key, both in fees.items() if False in both and key not in pairs)
    return [
        Unregistered(
            counts=tuple(counts.items()), beside=others, paid=paid, cost=extra, price=min(prices) if one else None,
            registered=min(registered) if one else None, first=earlier["quantity"].sum() == 0,
            before=len(b.history) - 1,
        )
    ]  # fmt: skip


def failed(b: Basis) -> list[Failed]:
    """Texts that could not be sent and were charged, or that were too many."""
    now = _failed(b.lines)
    if not now:
        return []
    count, amount = now
    mine = pl.col("date").is_between(b.month.first, b.month.days[-1]) & (pl.col("direction") == "outbound")
    of = count + b.daily.filter(mine)["messages"].sum()
    if not (amount > 0 and b.worth(amount)) and (count < FAILED or count * FAILED_PART < of):
        return []
    compared = b.comparable and b.before is not None
    was = _failed(b.before) if compared else None
    before = (was[0] if was else 0) if compared else None
    return [Failed(count=count, of=of, before=before, cost=amount)]


def _failed(lines: Iterable[dict]) -> tuple[int, Decimal] | None:
    rows = [row for row in lines if row["section"] == "usage" and row["line"] == "failed_message"]
    return (sum(r["quantity"] or 0 for r in rows), sum((r["amount"] for r in rows), ZERO)) if rows else None


def price_moves(b: Basis) -> list[PriceMove]:
    """Charges whose average price changed, by what that makes at this month's quantity."""
    if not b.comparable or b.before is None:
        return []
    shown = {part.key: part for row in b.charges for part in (row.parts or (row,))}
    large = []
    for key, driver in drivers(b.lines, b.before).items():
        if key in shown and driver.rated and driver.unit and driver.was and driver.now:
            price = Decimal(driver.price.numerator) / driver.price.denominator
            # Other carriers or destinations may move the average against the prices: that is nobody's price.
            if (driver.now > driver.was) == (price > 0) and b.worth(price):
                large.append((driver, shown[key], price))
    rates = _rates(b) if large else {}
    found = [
        move
        for driver, row, price in large
        # What is charged by the month has its rates on no day: whether a price of it changed is not known here.
        if (used := rates.get((row.key.line, row.key.direction, row.key.type, row.key.registered))) and used[0]
        for move in _price_move(b, driver, row, price, mixed=used[0] <= used[1])
    ]
    return sorted(found, key=lambda move: -abs(move.cost))[:EACH]


def _price_move(b: Basis, driver: Driver, row: ChargeRow, price: Decimal, *, mixed: bool) -> list[PriceMove]:
    at_old_price = Decimal(row.exact) - price
    if abs(price) * (MIX_PART if mixed else PRICE_PART) < abs(at_old_price):
        return []
    by_price = b.round(price)
    difference = row.change.difference
    was, now = (Decimal(p.numerator) / p.denominator for p in (driver.was, driver.now))
    return [
        PriceMove(
            key=row.key, unit=driver.unit, was=was, now=now, difference=difference, price=by_price,
            quantity=difference - by_price, cost=price, mixed=mixed,
        )
    ]  # fmt: skip


def _rates(b: Basis) -> dict[tuple, tuple[set, set]]:
    """(line, direction, type, registered) → the rates that priced it this month, and those of the month before."""
    registered = pl.when(pl.col("line") == "carrier_fee").then("registered").alias("registered")
    used = (
        b.daily.filter(pl.col("date").is_between((b.month - 1).first, b.month.days[-1]))
        .group_by("line", "direction", "type", registered, (pl.col("date") >= b.month.first).alias("now"))
        .agg(pl.col("rate_id").drop_nulls().unique())
    )
    found: dict[tuple, tuple[set, set]] = {}
    for *key, now, rates in used.filter(pl.col("rate_id").list.len() > 0).iter_rows():
        found.setdefault(tuple(key), (set(), set()))[0 if now else 1].update(rates)
    return found


# ------------------------------------------------------------------------------------------------ credits


def short(b: Basis) -> list[CreditsShort]:
    """The story of credits that did not do, told once: the allotment ran out, others were bought, some were lacking."""
    c = b.credits
    if c is None:
        return []
    early = {day: (next((r for r in c.resets if r > day), b.month.end) - day).days for day in c.ran_out}
    day = max(early, key=lambda d: (early[d], -d.toordinal()), default=None)
    added = [row for row in b.ledger if row["entry"] == "recharge"]
    lots = {row["lot"] for row in added if not row["simulated"]}
    ours = {row["subscription_id"] for row in added if row["simulated"]}
    packs = [row for row in b.monthly if row["line"] == "credit_pack" and row["rate_id"] in lots | ours]
    charges = [row["charge"] for row in packs]
    paid = None if None in charges or not packs else sum(charges, ZERO)
    charged = sum((row.amount for row in b.charges if row.key.line == "credit_overage"), ZERO)
    ran_out = day if day and early[day] >= EARLY else None
    if not (ran_out or added or b.worth(charged)):
        return []
    simulated = sum(row["quantity"] for row in packs if row["rate_id"] in ours)
    return [
        CreditsShort(
            ran_out=ran_out, bought=c.used_bought, recharges=len(lots) + simulated, simulated=simulated,
            added=sum(row["credits"] for row in added), paid=paid, overage=c.overage, charged=charged,
            cost=charged + (paid or ZERO),
        )
    ]  # fmt: skip


def lost(b: Basis) -> list[CreditsLost]:
    """Credits that lapsed at a reset."""
    c = b.credits
    granted = c.total("grant") if c else 0
    if c is None or c.lost < LOST or c.lost * LOST_PART < granted:
        return []
    days = tuple(day for row in c.rows if row.entry == "expire" for day in row.days)
    return [CreditsLost(lost=c.lost, days=days, granted=granted)]


def pace(b: Basis) -> list[CreditsPace]:
    """In a running month whose reset is behind it: the day on which the credits end at the pace of the last days."""
    c = b.credits
    mine = [day for day in b.known if Month.of(day) == b.month and day in b.complete]
    if b.final or c is None or not c.left or len(mine) < PACE_DAYS or len(mine) == len(b.month.days):
        return []
    # Without a reset so far one is still to come, and this ledger does not say when.
    if not c.resets and any(row["subscription_id"] for row in b.ledger):
        return []
    last = mine[-PACE_DAYS:]
    burned = sum(abs(r["credits"]) for r in b.ledger if r["entry"] in ("burn", "overage") and r["date"] in last)
    if not burned:
        return []
    # Days first: credits that are hardly used last longer than there are dates.
    lasts = c.left * PACE_DAYS // burned
    if lasts >= (b.month.days[-1] - mine[-1]).days:
        return []
    return [CreditsPace(left=c.left, burned=burned, days=PACE_DAYS, until=mine[-1] + timedelta(days=lasts))]


# ------------------------------------------------------------------------------------------------ records


def records(b: Basis) -> list[Records]:
    """What is not known, or odd, about the month's records."""
    found = []
    if b.unrated:
        found.append(Records(what="unrated", count=b.unrated, of=b.records))
    if b.differ >= DIFFER and b.differ * DIFFER_PART >= b.texts:
        found.append(Records(what="differ", count=b.differ, of=b.texts))
    if b.vanished >= VANISHED:
        found.append(Records(what="vanished", count=b.vanished, of=b.records))
    return found
