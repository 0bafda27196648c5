"""The rows of money on a statement: charges by line, carrier fees by carrier, taxes by level, products paid apart.

Rows only group and compare what the statement's lines say; averages are shown and never used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, replace
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple, TypeVar

from etl.schemas import LINES, NUMBER_CLASSES, TAX_LEVELS
from reports.naming import PRODUCT_NAMES, SIMULATED, TAX_NAMES, TYPE_NAMES, item_name, line_name, presentable

ZERO = Decimal(0)
SPLIT_LINES = ("call", "text", "video", "carrier_fee")
"""Lines whose parts are always shown; others when they have more than one, or one with a name of its own."""
ONE_OFF_LINES = ("adjustment",)
"""Lines whose parts are not compared with the month before: what was refunded then says nothing about this month."""
CORRECTION = "correction"
CORRECTIONS = "Corrections of closed months"
WHOLE_LINES = ("tier_adjustment", "adjustment")
"""Lines that move a total as a whole: one reason says less than their sum."""


@dataclass(frozen=True)
class Change:
    """A figure beside the same figure of the month before (None: there is no month before)."""

    now: Decimal
    before: Decimal | None

    @property
    def difference(self) -> Decimal:
        return self.now - (self.before or ZERO)

    @property
    def kind(self) -> str:
        """none, new, same, up or down. Less than 0.05 % is the same."""
        if self.before is None or (self.before == 0 and self.now == 0):
            return "none"
        if self.before == 0:
            return "new"
        if abs(self.difference) * 2000 < abs(self.before):
            return "same"
        return "up" if self.difference > 0 else "down"

    @property
    def percent(self) -> Decimal | None:
        """Size of the change in percent of the month before, one decimal; None where a percentage misleads."""
        if self.before is None or self.before <= 0 or self.now < 0:
            return None
        return (abs(self.difference) / self.before * 100).quantize(Decimal("0.1"), ROUND_HALF_UP)


class Key(NamedTuple):
    """What a row of charges is about; None where the row adds over it."""

    line: str
    direction: str | None = None
    type: str | None = None
    registered: bool | None = None
    unit: str | None = None
    item: str | None = None
    carrier: str | None = None


@dataclass(frozen=True)
class ChargeRow:
    """A row of the charges: a group with its parts, or a line of its own. ``quantity`` is in ``unit``."""

    key: Key
    label: str
    amount: Decimal
    exact: Decimal
    change: Change
    quantity: Decimal | None = None
    unit: str | None = None
    unrated: int = 0
    parts: tuple[ChargeRow, ...] = ()

    @property
    def price(self) -> Decimal | None:
        """Average price: charge / quantity. Shown, never used."""
        return self.exact / self.quantity if self.quantity else None


@dataclass(frozen=True)
class TaxRow:
    """A level of taxes with its parts, or one tax. ``base`` is the amount taxed, or ``quantity`` in ``unit`` is."""

    level: str
    label: str
    amount: Decimal
    change: Change
    jurisdiction: str = ""
    base: Decimal | None = None
    quantity: Decimal | None = None
    unit: str | None = None
    parts: tuple[TaxRow, ...] = ()


@dataclass(frozen=True)
class ProductRow:
    """A product of one month, or a tax on products: paid apart, in no total of a statement. ``days`` are those it fell due
    or was bought on and ``price`` is that of one, if all have the same; a tax has its ``place`` and the amount taxed,
    ``base``; a correction has the closed month ``of`` which it corrects a line."""

    line: str
    label: str
    amount: Decimal
    quantity: Decimal | None = None
    unit: str | None = None
    simulated: bool = False
    price: Decimal | None = None
    days: tuple[date, ...] = ()
    place: str = ""
    base: Decimal | None = None
    of: str = ""

    @property
    def kind(self) -> str:
        return _product_name(self.line)


@dataclass(frozen=True)
class Products:
    """The products of one month."""

    rows: tuple[ProductRow, ...]
    total: Decimal


Row = TypeVar("Row", ChargeRow, TaxRow)


def _product_name(line: str) -> str:
    return PRODUCT_NAMES.get(line, line_name(line))


def minutes(seconds: int) -> Decimal:
    return Decimal(seconds) / 60


# ------------------------------------------------------------------------------------------------ charges


def charge_rows(lines: Iterable[dict], before: Iterable[dict] | None) -> tuple[ChargeRow, ...]:
    """Rows by charge line, in statement order; a line billed last month only is kept, at zero."""
    now = sums(lines)
    then = sums(before) if before is not None else None
    keys = list(dict.fromkeys([*now, *(then or ())]))
    several = {line for line in {k.line for k in keys} if len({k.type for k in keys if k.line == line}) > 1}
    groups: dict[str, list[ChargeRow]] = defaultdict(list)
    for key in sorted(keys, key=_order):
        groups[key.line].append(_row(key, part_name(key, key.line in several), now, then))
    found = []
    for line in sorted(groups, key=_position):
        parts = tuple(groups[line])
        if line in ONE_OFF_LINES:
            found.append(_one_off(line, parts, now))
        elif len(parts) == 1 and line not in SPLIT_LINES and not parts[0].key.item:
            found.append(replace(parts[0], label=line_name(line)))
        else:
            found.append(_group(Key(line), line_name(line), parts))
    return tuple(found)


def carrier_rows(lines: Iterable[dict], before: Iterable[dict] | None) -> tuple[ChargeRow, ...]:
    """Carrier fees by carrier, for the table beneath the charges; empty when no carrier is named."""

    def fees(rows):
        return [r for r in rows if r["line"] == "carrier_fee"]

    now = sums(fees(lines), by_carrier=True)
    then = sums(fees(before), by_carrier=True) if before is not None else None
    keys = list(dict.fromkeys([*now, *(then or ())]))
    if not any(key.carrier for key in keys):
        return ()
    groups: dict[str | None, list[ChargeRow]] = defaultdict(list)
    for key in sorted(keys, key=_order):
        groups[key.carrier].append(_row(key, part_name(key, True), now, then))
    return tuple(
        _group(Key("carrier_fee", carrier=name), presentable(name) if name else "Other carriers", tuple(groups[name]))
        for name in sorted(groups, key=lambda name: (name is None, name or ""))
    )


def part_name(key: Key, several_types: bool) -> str:
    """A part beneath its line: ``Outbound``, ``SMS sent``, ``SMS sent, registered``, ``Toll-free``, a reason."""
    kind = TYPE_NAMES.get(key.type, key.type or "")
    if key.item:
        return item_name(key.line, key.item)
    way = {"outbound": "sent", "inbound": "received"}.get(key.direction, "")
    if key.line == "carrier_fee":
        # Who texts us decides what it costs, not how our number is registered.
        unknown = "" if key.direction == "inbound" else "registration unknown"
        known = {True: "registered", False: "unregistered", None: unknown}[key.registered]
        return ", ".join(filter(None, (f"{kind} {way}".strip(), known))) or "Other"
    if key.line == "text":
        return (f"{kind} {way}" if several_types and kind else way.capitalize()).strip() or "Other"
    direction = (key.direction or "").capitalize()
    return (f"{kind} {direction.lower()}".strip() if several_types else direction or kind) or "Other"


def sums(rows: Iterable[dict], *, by_carrier: bool = False) -> dict[Key, list]:
    """Key → [amount, exact, quantity, unrated] of the usage lines."""
    found: dict[Key, list] = {}
    for row in rows:
        if row["section"] != "usage":
            continue
        fee = row["line"] == "carrier_fee"
        key = Key(
            row["line"],
            row["direction"],
            row["type"],
            row["registered"] if fee else None,
            row["unit"],
            row["item"],
            row["carrier"] if by_carrier else None,
        )
        into = found.setdefault(key, [ZERO, ZERO, 0, 0])
        for i, value in enumerate((row["amount"], row["amount_exact"], row["quantity"] or 0, row["unrated"])):
            into[i] += value
    return found


def _row(key: Key, label: str, now: dict, then: dict | None) -> ChargeRow:
    amount, exact, quantity, unrated = now.get(key, (ZERO, ZERO, 0, 0))
    previous = None if then is None else then[key][0] if key in then else ZERO
    counted, unit = measured(key.line, quantity, key.unit)
    return ChargeRow(key, label, amount, exact, Change(amount, previous), counted, unit, unrated)


def measured(line: str, quantity: int, unit: str | None) -> tuple[Decimal | None, str | None]:
    """The quantity as people count it: minutes instead of seconds, nothing for an adjustment."""
    if unit is None or unit == "adjustment":
        return None, None
    if unit == "second":
        return minutes(quantity), "minute"
    return Decimal(quantity), "answered call" if line == "voice_detection" else unit


def _group(key: Key, label: str, parts: tuple[ChargeRow, ...]) -> ChargeRow:
    befores = [p.change.before for p in parts]
    amount = sum((p.amount for p in parts), ZERO)
    return ChargeRow(
        key=key,
        label=label,
        amount=amount,
        exact=sum((p.exact for p in parts), ZERO),
        change=Change(amount, None if None in befores else sum(befores, ZERO)),
        unrated=sum(p.unrated for p in parts),
        parts=parts,
    )


def _one_off(line: str, parts: tuple[ChargeRow, ...], now: dict) -> ChargeRow:
    """A group compared as a whole, with this month's parts only."""
    group = _group(Key(line), line_name(line), parts)
    shown = tuple(replace(p, change=Change(p.amount, None)) for p in parts if p.key in now)
    return replace(group, parts=shown)


def _position(line: str) -> int:
    return LINES.index(line) if line in LINES else len(LINES)


def _order(key: Key) -> tuple:
    """Outbound before inbound, SMS before MMS, registered before not, number classes as the contract lists them."""
    types = [*TYPE_NAMES, None]
    return (
        _position(key.line), key.line, types.index(key.type) if key.type in types else len(types),
        {"outbound": 0, "inbound": 1}.get(key.direction, 2), {True: 0, False: 1}.get(key.registered, 2),
        NUMBER_CLASSES.index(key.item) if key.item in NUMBER_CLASSES else len(NUMBER_CLASSES),
        key.item or "", key.unit or "",
    )  # fmt: skip


def fewer(rows: tuple[Row, ...], most: int, name: Callable[[int], str]) -> tuple[Row, ...]:
    """At most ``most`` rows of one line or level: the largest of either month, in their order, and the sum of the others,
    which ``name`` names by their number."""
    if len(rows) <= most:
        return rows
    place = sorted(range(len(rows)), key=lambda i: -max(abs(rows[i].amount), abs(rows[i].change.before or ZERO)))
    kept = sorted(place[: most - 1])
    rest = tuple(rows[i] for i in sorted(place[most - 1 :]))
    first, label = rest[0], name(len(rest))
    whole = _level(first.level, rest) if isinstance(first, TaxRow) else _group(Key(first.key.line), label, rest)
    return (*(rows[i] for i in kept), replace(whole, label=label, parts=()))


def driver(
    charges: tuple[ChargeRow, ...], taxes: tuple[TaxRow, ...], total: Change, corrections: Change | None = None
) -> ChargeRow | TaxRow | None:
    """The row that moved most in the direction the total moved; ``corrections`` of closed months count as one."""
    if total.kind not in ("up", "down"):
        return None
    sign = 1 if total.difference > 0 else -1
    rows = [p for row in charges for p in ((row,) if row.key.line in WHOLE_LINES else row.parts or (row,))]
    if corrections:
        rows.append(ChargeRow(Key("correction"), CORRECTIONS, corrections.now, corrections.now, corrections))
    best = max([*rows, *taxes], key=lambda r: sign * r.change.difference, default=None)
    return best if best and sign * best.change.difference > 0 else None


# ------------------------------------------------------------------------------------------------ taxes


def tax_rows(lines: Iterable[dict], before: Iterable[dict] | None) -> tuple[TaxRow, ...]:
    """Taxes by level, federal first; one tax of one jurisdiction is one row, whichever of its rates were in force."""
    now = _taxes(lines)
    then = _taxes(before) if before is not None else None
    keys = list(dict.fromkeys([*now, *(then or ())]))
    levels: dict[str, list[TaxRow]] = defaultdict(list)
    for key in sorted(keys, key=lambda k: (TAX_LEVELS.index(k[0]), k[2], k[1])):
        level, name, jurisdiction = key
        amount, base, quantity, unit = now.get(key, _NO_TAX)
        previous = None if then is None else then.get(key, _NO_TAX)[0]
        counted, shown = measured("tax", quantity, unit)
        levels[level].append(
            TaxRow(
                level=level,
                label=presentable(name),
                amount=amount,
                change=Change(amount, previous),
                jurisdiction=presentable(jurisdiction),
                base=base,
                quantity=counted,
                unit=shown,
            )
        )
    return tuple(_level(level, tuple(parts)) for level, parts in levels.items())


def _level(level: str, parts: tuple[TaxRow, ...]) -> TaxRow:
    amount = sum((p.amount for p in parts), ZERO)
    befores = [p.change.before for p in parts]
    change = Change(amount, None if None in befores else sum(befores, ZERO))
    return TaxRow(level, TAX_NAMES[level], amount, change, parts=parts)


_NO_TAX = (ZERO, None, 0, None)


def _taxes(rows: Iterable[dict]) -> dict[tuple[str, str, str], tuple]:
    """(level, name, jurisdiction) → (amount, amount taxed, quantity taxed, its unit). A quantity in more than one
    unit is none."""
    found: dict = {}
    for row in rows:
        if row["section"] != "tax":
            continue
        key = (row["tax_level"] or "other", row["item"] or "Tax", row["jurisdiction"] or "")
        amount, base, quantity, unit = found.get(key, _NO_TAX)
        if row["base"] is not None:
            base = (base or ZERO) + row["base"]
        unit = row["unit"] if key not in found or row["unit"] == unit else None
        found[key] = amount + row["amount"], base, quantity + (row["quantity"] or 0), unit
    return found


# ------------------------------------------------------------------------------------------------ products


def products(
    lines: Iterable[dict], simulated: Container[str] = (), monthly: Iterable[dict] = (), corrected: Iterable = ()
) -> Products | None:
    """Subscriptions and credit packs of the month, and the taxes on them; None without any. ``simulated``: the items
    that are our own recharges, reported by nobody. ``monthly``: `schemas.Monthly` rows, which have days and prices.
    ``corrected``: `reports.corrected.CorrectedMonth` of earlier months' products, which come last."""
    days: dict[tuple, set[date]] = defaultdict(set)
    prices: dict[tuple, set[Decimal | None]] = defaultdict(set)
    for row in monthly:
        days[row["line"], row["item"]].add(row["date"])
        prices[row["line"], row["item"]].add(row["unit_price"])
    found: dict[tuple, list] = {}
    total = ZERO
    for row in lines:
        if row["section"] == "product_total":
            total += row["amount"]
        if row["section"] == "product":
            key = (row["line"], row["item"] or _product_name(row["line"]), row["unit"])
            into = found.setdefault(key, [ZERO, 0, None, []])
            into[0] += row["amount"]
            into[1] += row["quantity"] or 0
            into[2] = into[2] if row["base"] is None else (into[2] or ZERO) + row["base"]
            into[3] += filter(None, [row["jurisdiction"]])
    later = [
        ProductRow(CORRECTION, row.label, row.amount, row.quantity, row.unit, place=row.place, of=str(month.month))
        for month in corrected
        for row in month.rows
    ]
    if not found and not total and not later:
        return None
    rows = []
    for (line, item, unit), (amount, quantity, base, places) in found.items():
        counted, shown = measured(line, quantity, unit)
        ours = line == "credit_pack" and item in simulated
        label = presentable(item.removesuffix(SIMULATED) if ours else item)
        price = next(iter(prices[line, item])) if len(prices[line, item]) == 1 else None
        place = ", ".join(presentable(name) for name in dict.fromkeys(places))
        rows.append(
            ProductRow(
                line, label, amount, counted, shown, ours, price, tuple(sorted(days[line, item])), place, base
            )
        )  # fmt: skip
    rows.sort(key=lambda r: (_position(r.line), r.label, r.simulated))
    return Products((*rows, *later), total)
