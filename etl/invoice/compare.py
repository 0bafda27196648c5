"""The invoice's lines against what we hold: a verdict on each, the variance split, and totals that add up. Pure.

Categories overlap: ``sms`` is ``sms-inbound`` plus ``sms-outbound``. Only the top of such a tree counts towards the
total; what lies below it is compared as a part. Where the invoice has parts only, a row of role ``sum`` stands for
the whole.

Money is exact throughout. variance = amount + fees − our amount, and quantity part + price part = variance.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from etl.invoice.files import Invoice, Line, as_of, shown
from etl.invoice.held import COUNTED, FAILED, TOLERANCE, UNITS, WHOLES, Claim, Held, Ours, Totals
from etl.money import SCALE
from etl.periods import Month, runs
from etl.redaction import mask
from etl.settings import ConfigurationError

TOTAL = "totalprice"
TOTALS = (TOTAL, "total", "total-price", "grand-total", "invoice-total", "amount-due")
ROUNDING = ("rounding", "rounding-difference", "rounding-adjustment")
OK, EXPLAINED, UNEXPLAINED = "ok", "explained", "unexplained"

_PART = r"(?:-(?:inbound|outbound|local|mobile|tollfree|toll-free|longcode|shortcode|canada|unitedstates))+$"
_FEES = "-messages-carrierfees"
_TEXTS = ("sms", "mms")
"""What carriers take a fee for."""
_DIRECTIONS = ("inbound", "outbound")
_NOTHING = Ours()


@dataclass(frozen=True)
class Row:
    """One compared line. Amounts are the invoice's and ours; null where that side does not say."""

    role: str
    """line · part (of a line above it, not counted again) · sum (of its parts) · fees (held in our records' price) ·
    missing (we have it, the invoice has not) · total"""
    category: str
    provider_account: str
    start: date
    end: date
    lines: tuple[int, ...]
    verdict: str
    why: str
    against: str = ""
    """What it was held against: records, daily totals, numbers, agreed, parts, or nothing."""
    amount: Decimal = Decimal(0)
    fees: Decimal = Decimal(0)
    """The invoice's carrier fees, where the price of our records holds them."""
    our_amount: Decimal | None = None
    variance: Decimal = Decimal(0)
    quantity_part: Decimal | None = None
    price_part: Decimal | None = None
    unit: str = ""
    quantity: Decimal | None = None
    our_quantity: Decimal | None = None
    count: Decimal | None = None
    our_count: int | None = None
    reading: str | None = None
    """Whether the price of our records holds the carrier fee: apart or included; null where there is no fee."""
    reading_by: str | None = None
    """What says so: the invoice fits it alone, it was agreed, the daily totals do, or it is only the nearer one."""

    @property
    def counts(self) -> bool:
        """Its money is part of the total."""
        return self.role != "part"


@dataclass(frozen=True)
class Comparison:
    """Every row, the sums, and what a dispute is made of. difference = explained + unexplained = invoice − ours."""

    rows: tuple[Row, ...]
    invoice: Decimal
    itemised: Decimal
    ours: Decimal
    explained: Decimal
    unexplained: Decimal
    claims: tuple[Claim, ...] = field(default=(), repr=False)

    @property
    def difference(self) -> Decimal:
        return self.invoice - self.ours

    @property
    def sound(self) -> bool:
        return all(row.verdict != UNEXPLAINED for row in self.rows)


@dataclass(frozen=True)
class _Entry:
    """The invoice's lines of one category and period, summed."""

    category: str
    lines: tuple[Line, ...]
    amount: Decimal
    quantity: Decimal | None
    count: Decimal | None
    unit: str | None
    notes: tuple[str, ...] = ()

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(sorted(line.number for line in self.lines))


@dataclass(frozen=True)
class _Judged:
    verdict: str
    why: tuple[str, ...] = ()
    only: tuple[str, ...] = ("counted",)


@dataclass(frozen=True)
class _Place:
    """Whose lines, of which days."""

    account: str | None
    """None: the invoice does not tell accounts apart."""
    named: str
    start: date
    end: date


def split(
    variance: Decimal, quantity: Decimal | None, our_quantity: Decimal | None, our_amount: Decimal | None
) -> tuple[Decimal | None, Decimal | None]:
    """(quantity part, price part) of a variance; they add up to it to the last digit. Null where a quantity is unknown.

    The standard price-volume variance with our side as the base. Quantity part = (quantity − our quantity) × our
    average price, half-up to nine decimals. Price part = the rest, which is quantity × (average price − our average
    price). Where we have no quantity there is no average price of ours: all of it is quantity, unless neither side
    has any.
    """
    if quantity is None or our_quantity is None or our_amount is None:
        return None, None
    if not our_quantity:
        return (variance, Decimal(0)) if quantity else (Decimal(0), variance)
    # In whole nano-units: a product of two amounts may have more digits than a Decimal keeps.
    whole, theirs, units, amount = (int(x.scaleb(SCALE)) for x in (variance, quantity, our_quantity, our_amount))
    product = (theirs - units) * amount
    part = (2 * abs(product) + abs(units)) // (2 * abs(units))
    by_quantity = part if (product < 0) == (units < 0) else -part
    return Decimal(f"{by_quantity}E-{SCALE}"), Decimal(f"{whole - by_quantity}E-{SCALE}")


def compare(
    invoice: Invoice, month: Month, held: Held, agreed: Mapping[str, Decimal | None] | None = None
) -> Comparison:
    """``invoice`` as `etl.invoice.files.select` leaves it. ``agreed``: categories we expect to pay and hold no record
    of, with their amount or None for any. ConfigurationError if lines of one category overlap in time."""
    return _Work(invoice, month, held, agreed or {}).done()


class _Work:
    def __init__(self, invoice: Invoice, month: Month, held: Held, agreed: Mapping[str, Decimal | None]) -> None:
        self.invoice, self.month, self.held, self.agreed = invoice, month, held, agreed
        self.as_of: datetime | None = as_of(invoice.lines)
        accounts = sorted({line.provider_account for line in invoice.lines if line.provider_account})
        self.by_account = len(accounts) > 1
        self.named = mask(accounts[0]) if len(accounts) == 1 else ""
        self.joined: set[_Place] = set()
        """Whose texts and fees are held together, of which days."""
        self.rows: list[Row] = []
        self.claims: list[Claim] = []

    def done(self) -> Comparison:
        places = self._places(line for line in self.invoice.lines if line.category not in TOTALS)
        for place, mine in sorted(places.items(), key=lambda item: (item[0].named, item[0].start, item[0].end)):
            self._compare_place(place, {entry.category: entry for entry in _entries(mine)})
        self._missing(places)
        totals, covered = self._totals()
        itemised = sum((row.amount for row in self.rows if row.counts), Decimal(0))
        loose = sum((row.amount for row in self.rows if row.counts and not covered(row)), Decimal(0))
        whole = sum((row.amount for row in totals), Decimal(0)) + loose
        ours = sum((row.our_amount or Decimal(0) for row in self.rows if row.counts), Decimal(0))
        # A total's own variance is what its lines do not add up to.
        gaps = [(row.verdict, row.variance) for row in (*self.rows, *totals) if row.counts]
        open_ = sum((gap for verdict, gap in gaps if verdict == UNEXPLAINED), Decimal(0))
        closed = sum((gap for verdict, gap in gaps if verdict != UNEXPLAINED), Decimal(0))
        order = {"total": 1}
        rows = sorted(
            (*self.rows, *totals), key=lambda r: (order.get(r.role, 0), r.provider_account, r.start, _order(r))
        )
        # The narrowest claim first: a record is listed under it alone.
        claims = sorted(
            self.claims, key=lambda c: (-c.category.count("-"), c.category, c.start, c.provider_account or "")
        )
        return Comparison(tuple(rows), whole, itemised, ours, closed, open_, tuple(claims))

    def _places(self, lines: Iterable[Line]) -> dict[_Place, list[Line]]:
        """The lines by whose they are and of which days. Texts by the day and their carrier fee by the month (or the
        reverse) are of the days of both: how much of the fee is of one day, no line says."""
        written: dict[_Place, list[Line]] = defaultdict(list)
        for line in lines:
            written[self._place(line)].append(line)
        _refuse_overlaps(written)
        spans = _text_spans(written)
        places: dict[_Place, list[Line]] = defaultdict(list)
        for place, mine in written.items():
            for line in mine:
                wide = next((p for p in spans.get(_text(line), ()) if _holds(p, place)), place)
                self.joined |= {wide} - {place}
                places[wide].append(line)
        return places

    def _place(self, line: Line) -> _Place:
        account = line.provider_account if self.by_account else None
        return _Place(
            account,
            mask(account) if account else self.named,
            line.start or self.month.first,
            line.end or self.month.days[-1],
        )

    # ---------------------------------------------------------------------------------------- one account and period

    def _compare_place(self, place: _Place, entries: dict[str, _Entry]) -> None:
        below = _parts(entries)
        fees = {kind: e for kind in _TEXTS if (e := entries.pop(kind + _FEES, None))}
        for kind in WHOLES:
            parts = [e for c, e in entries.items() if below.get(c) == kind]
            if kind in entries or parts or kind in fees:
                self._record_category(place, kind, entries.get(kind), parts, fees.get(kind))
        for category, entry in sorted(entries.items()):
            if category in WHOLES or (below.get(category) in WHOLES and _direction(category)):
                continue
            row = self._other(place, entry)
            if category in below:
                row = replace(row, role="part")
                if row.verdict == UNEXPLAINED and row.against == "nothing":
                    row = replace(
                        row, verdict=EXPLAINED, against="parts", why=f"part of {below[category]}: compared there"
                    )
            self.rows.append(row)

    def _record_category(
        self, place: _Place, kind: str, entry: _Entry | None, parts: list[_Entry], fee: _Entry | None
    ) -> None:
        """A category our records speak of, its parts by direction, and its carrier fees."""
        ours = self.held.ours(place.account, place.start, place.end)
        mine = ours.get(kind, _NOTHING)
        if entry is None and not parts and mine == _NOTHING:
            self.rows += [self._other(place, fee)] if fee else []
            return
        role = "line"
        if entry is None:
            top = [e for e in parts if not any(e.category.startswith(f"{o.category}-") for o in parts)]
            role, entry = (
                ("sum", _summed(kind, top)) if top else ("missing", _Entry(kind, (), Decimal(0), None, None, None))
            )
        fees = fee.amount if fee else Decimal(0)
        if kind == FAILED:
            self._failed(place, role, entry, mine)
            return
        readings = {"apart": _judge(entry, entry.amount, mine, kind, self.as_of)}
        if fees:
            readings["included"] = _judge(entry, entry.amount + fees, mine, kind, self.as_of)
        reading, by = self._reading(place, kind, readings, entry.amount, fees, mine)
        judged = readings[reading or "apart"]
        held = fees if reading == "included" else Decimal(0)
        daily = self.held.daily(place.account, place.start, place.end)
        whole = self._row(place, role, entry, kind, mine, judged, fees=held, reading=reading, reading_by=by)
        if judged.verdict == UNEXPLAINED:
            whole = replace(whole, why=_with_witness(whole, daily.get(kind), daily.get(kind + _FEES), reading))
        self.rows.append(whole)
        by_day = self._by_period(place, entry, kind, held)
        cleared = []
        for direction in _DIRECTIONS:
            name = f"{kind}-{direction}"
            part = next((e for e in parts if e.category == name), None)
            if part is None and (deeper := [e for e in parts if e.category.startswith(f"{name}-")]) and role == "sum":
                part = _summed(name, deeper)
            half = ours.get(name, _NOTHING)
            if part is None and (role != "sum" or half == _NOTHING):
                continue
            part = part or _Entry(name, (), Decimal(0), None, None, None)
            seen = _judge(part, part.amount, half, kind, self.as_of, share=held)
            row = self._row(place, "part", part, kind, half, seen)
            self.rows.append(row)
            self._claim(place, row, kind, seen)
            if row.verdict == OK:
                cleared.append(name)
        if len(cleared) == len(_DIRECTIONS):
            # Both directions are right and the whole is not: it is not their sum, so neither clears a record of it.
            cleared.clear()
        asked = len(self.claims)
        for of_it, row, seen in by_day:
            self._claim(of_it, row, kind, seen, tuple(cleared))
        if len(self.claims) == asked:
            self._claim(place, whole, kind, judged, tuple(cleared))
        if fee:
            self.rows.append(self._fee_row(place, fee, kind, reading))

    def _by_period(self, place: _Place, entry: _Entry, kind: str, share: Decimal) -> list[tuple[_Place, Row, _Judged]]:
        """Texts held together with a fee of other days, also by the days of their own lines: parts of the whole."""
        periods: dict[tuple[date, date], list[Line]] = defaultdict(list)
        for line in entry.lines if place in self.joined else ():
            own = self._place(line)
            periods[own.start, own.end].append(line)
        found = []
        for (start, end), lines in sorted(periods.items()) if len(periods) > 1 else ():
            own, one = replace(place, start=start, end=end), _summed(kind, map(_entry, lines))
            mine = self.held.ours(place.account, start, end).get(kind, _NOTHING)
            seen = _judge(one, one.amount, mine, kind, self.as_of, share=share)
            found.append((own, self._row(own, "part", one, kind, mine, seen), seen))
        self.rows += [row for _, row, _ in found]
        return found

    def _reading(
        self, place: _Place, kind: str, readings: Mapping[str, _Judged], amount: Decimal, fees: Decimal, mine: Ours
    ) -> tuple[str | None, str | None]:
        """Which reading of the carrier fee holds, and what says so."""
        if not fees:
            return None, None
        rank = {name: (OK, EXPLAINED, UNEXPLAINED).index(judged.verdict) for name, judged in readings.items()}
        if rank["apart"] != rank["included"]:
            return min(rank, key=rank.__getitem__), "the invoice"
        if kind + _FEES in self.agreed:
            return "apart", "what was agreed"
        if told := self.held.reading(place.account, kind):
            return told, "the daily totals"
        distance = {"apart": abs(amount - mine.cost), "included": abs(amount + fees - mine.cost)}
        return min(distance, key=distance.__getitem__), "only the nearer"

    def _fee_row(self, place: _Place, fee: _Entry, kind: str, reading: str | None) -> Row:
        if reading != "included":
            return self._other(place, fee)
        why = f"in the price of our records: compared with {kind}"
        row = self._blank(place, "fees", fee, EXPLAINED, (why,), "records")
        return replace(row, our_amount=None, variance=Decimal(0))

    def _failed(self, place: _Place, role: str, entry: _Entry, mine: Ours) -> None:
        """No record carries this fee: the number of failed messages is ours, the money the daily totals'."""
        said = self.held.daily(place.account, place.start, place.end).get(FAILED)
        cost = said.cost if said else entry.amount
        judged = _judge(entry, entry.amount, replace(mine, cost=cost), FAILED, self.as_of)
        if role == "missing" and not cost:
            return
        row = self._row(place, role, entry, FAILED, replace(mine, cost=cost), judged)
        if said is None:
            number_agrees = judged.verdict == OK
            why = "no record carries this fee and there are no daily totals; the number of failed messages agrees"
            row = replace(row, our_amount=None, variance=row.amount, quantity_part=None, price_part=None)
            row = replace(row, verdict=EXPLAINED, why=why) if number_agrees else row
        self.rows.append(row)
        self._claim(place, row, FAILED, judged)

    def _row(
        self, place: _Place, role: str, entry: _Entry, kind: str, mine: Ours, judged: _Judged, *,
        fees: Decimal = Decimal(0), reading: str | None = None, reading_by: str | None = None,
    ) -> Row:  # fmt: skip
        by_record = _by_record(entry, kind)
        if role == "missing" or not entry.lines:
            unit, quantity, count = UNITS[kind], Decimal(0), Decimal(0)
        else:
            unit, quantity, count = entry.unit or UNITS[kind], entry.quantity, entry.count
        comparable = by_record is not None
        our_quantity = Decimal(mine.records if by_record else mine.quantity) if comparable else None
        variance = entry.amount + fees - mine.cost
        by_quantity, by_price = split(variance, quantity if comparable else None, our_quantity, mine.cost)
        row = self._blank(place, role, entry, judged.verdict, (*_notes(entry, judged.verdict), *judged.why), "records")
        return replace(
            row, fees=fees, our_amount=mine.cost, variance=variance, quantity_part=by_quantity, price_part=by_price,
            unit=unit, quantity=quantity, our_quantity=our_quantity, count=count, our_count=mine.records,
            reading=reading, reading_by=reading_by,
        )  # fmt: skip

    def _blank(self, place: _Place, role: str, entry: _Entry, verdict: str, why: Iterable[str], against: str) -> Row:
        return Row(
            role, shown(entry.category), place.named, place.start, place.end, entry.numbers, verdict, "; ".join(why),
            against, entry.amount, variance=entry.amount, unit=entry.unit or "", quantity=entry.quantity,
            count=entry.count,
        )  # fmt: skip

    # ----------------------------------------------------------------------------------------- no record carries it

    def _other(self, place: _Place, entry: _Entry) -> Row:
        """A line that no record of ours carries, against the provider's daily totals, numbers, or what was agreed."""
        category = entry.category
        if category in self.agreed:
            return self._agreed(place, entry)
        said = self.held.daily(place.account, place.start, place.end).get(category)
        owned = (
            f"{self.held.numbers_owned(place.account)} number(s) seen that month" if category == "phonenumbers" else ""
        )
        if said is not None:
            return self._against_totals(place, entry, said, owned)
        if entry.amount == 0:
            return self._blank(place, "line", entry, OK, (), "nothing")
        if owned and entry.quantity == self.held.numbers_owned(place.account):
            return self._blank(place, "line", entry, EXPLAINED, (f"billed by the month: {owned}",), "numbers")
        if category in ROUNDING and abs(entry.amount) <= TOLERANCE * len(self.invoice.lines):
            return self._blank(place, "line", entry, EXPLAINED, ("rounding, at most a cent for each line",), "nothing")
        why = "neither our records nor the provider's daily totals know it: --agreed if it is a fee you expect"
        told = (*entry.notes, why, *([owned] if owned else []))
        return self._blank(place, "line", entry, UNEXPLAINED, told, "nothing")

    def _against_totals(self, place: _Place, entry: _Entry, said: Totals, owned: str) -> Row:
        variance = entry.amount - said.cost
        same_unit = entry.unit is None or said.unit is None or entry.unit == said.unit.lower()
        quantity = said.usage if same_unit else None
        by_quantity, by_price = split(variance, entry.quantity, quantity, said.cost)
        same = entry.quantity is None or quantity is None or entry.quantity == quantity
        if not entry.amount and not variance:
            verdict, why = OK, []
        elif abs(variance) <= TOLERANCE:
            # Units of what is held and not used are summed in more ways than one: money decides.
            though = "" if same else f", though {_plain(quantity)} {entry.unit or said.unit}"
            verdict = EXPLAINED
            why = [f"no record carries this price; the provider's own daily totals say the same{though}"]
        else:
            verdict, why = UNEXPLAINED, [*entry.notes, f"the provider's own daily totals say {_plain(said.cost)}"]
        row = self._blank(place, "line", entry, verdict, [*why, *([owned] if owned and why else [])], "daily totals")
        return replace(
            row, our_amount=said.cost, variance=variance, quantity_part=by_quantity, price_part=by_price,
            our_quantity=quantity,
        )  # fmt: skip

    def _agreed(self, place: _Place, entry: _Entry) -> Row:
        amount = self.agreed[entry.category]
        if amount is None:
            # Any amount, but not the same line twice.
            verdict = UNEXPLAINED if any(_repeated(entry.lines)) else EXPLAINED
            return self._blank(place, "line", entry, verdict, (*entry.notes, "agreed, any amount"), "agreed")
        fits = entry.amount == amount
        why = () if fits else (*entry.notes, f"agreed is {_plain(amount)}")
        row = self._blank(place, "line", entry, OK if fits else UNEXPLAINED, why, "agreed")
        return replace(row, our_amount=amount, variance=entry.amount - amount)

    # ---------------------------------------------------------------------------------------- what the invoice lacks

    def _missing(self, places: Mapping[_Place, list[Line]]) -> None:
        """Days on which we have records of a category and the invoice has no line of it."""
        # An account of ours that is not on the invoice at all is missing whole.
        accounts = {a: mask(a) for a in self.held.accounts()} if self.by_account else {}
        accounts |= {place.account: place.named for place in places} or {None: self.named}
        for account, named in accounts.items():
            for kind in WHOLES:
                covered = {
                    self.month.first + timedelta(days=n)
                    for place, lines in places.items()
                    if place.account == account and any(_root(line.category) in (kind, kind + _FEES) for line in lines)
                    for n in range((place.start - self.month.first).days, (place.end - self.month.first).days + 1)
                }
                for start, end in runs(day for day in self.month.days if day not in covered):
                    mine = self.held.ours(account, start, end).get(kind, _NOTHING)
                    if mine.records or mine.cost or mine.unpriced:
                        self._record_category(_Place(account, named, start, end), kind, None, [], None)

    # -------------------------------------------------------------------------------------------- totals

    def _totals(self):
        """(rows of the invoice's own totals, is a row covered by one of them)."""
        lines = [line for line in self.invoice.lines if line.category in TOTALS]
        groups: dict[tuple, list[Line]] = defaultdict(list)
        for line in lines:
            account = line.provider_account if self.by_account else None
            groups[account, line.start, line.end].append(line)
        _refuse_overlaps({_Place(a, a or "", s, e): g for (a, s, e), g in groups.items()})
        wide: dict[tuple, list[Line]] = defaultdict(list)
        for key, group in groups.items():
            wide[self._widened(*key)] += group
        groups = wide

        def under(row: Row, key: tuple) -> bool:
            account, start, end = key
            return (account is None or row.provider_account == mask(account)) and start <= row.start and row.end <= end

        rows = []
        for key, group in groups.items():
            account, start, end = key
            mine = [row for row in self.rows if under(row, key)]
            entry = next(iter(_entries([replace(line, category=TOTAL) for line in group])))
            gap = entry.amount - sum((row.amount for row in mine if row.counts), Decimal(0))
            place = _Place(account, mask(account) if account else self.named, start, end)
            judged = self._judge_total(place, entry, gap, mine)
            row = self._blank(place, "total", entry, judged.verdict, judged.why, "parts")
            rows.append(replace(row, variance=gap, quantity=None, count=None))
        return rows, lambda row: any(under(row, key) for key in groups)

    def _widened(self, account: str | None, start: date, end: date) -> tuple[str | None, date, date]:
        """A total's days, and all days of the texts and fees held together of which it has some."""
        near = [p for p in self.joined if account in (None, p.account)]
        while cut := [p for p in near if p.start <= end and start <= p.end and not start <= p.start <= p.end <= end]:
            start, end = min(start, *(p.start for p in cut)), max(end, *(p.end for p in cut))
        return account, start, end

    def _judge_total(self, place: _Place, entry: _Entry, gap: Decimal, rows: list[Row]) -> _Judged:
        if gap == 0:
            return _Judged(OK)
        lines_say = f"its lines add up to {_plain(entry.amount - gap)}"
        if abs(gap) <= TOLERANCE * max(1, sum(row.counts for row in rows)):
            return _Judged(EXPLAINED, (f"{lines_say}: rounding, at most a cent for each line",))
        said = self.held.daily(place.account, place.start, place.end).get(TOTAL)
        if said is not None and abs(said.cost - entry.amount) <= TOLERANCE:
            return _Judged(
                EXPLAINED, (f"{lines_say}; the provider's own daily totals say {_plain(said.cost)} in all too",)
            )
        written = {line.number: line.amount for line in self.invoice.lines}
        again = [r for r in rows if not r.counts and gap in (r.amount, *(written[n] for n in r.lines))]
        if again:
            return _Judged(UNEXPLAINED, (f"{lines_say}: it counts {again[0].category} a second time",))
        return _Judged(UNEXPLAINED, (lines_say, *entry.notes))

    # -------------------------------------------------------------------------------------------- dispute

    def _claim(self, place: _Place, row: Row, kind: str, judged: _Judged, cleared: tuple[str, ...] = ()) -> None:
        """Records to show where the invoice asks for more than ours; what it asks too little for is not disputed."""
        more = row.quantity is not None and row.our_quantity is not None and row.quantity > row.our_quantity
        more |= row.count is not None and row.our_count is not None and row.count > row.our_count
        if row.verdict != UNEXPLAINED or not (row.variance > TOLERANCE or more):
            return
        by_record = row.unit in (COUNTED[kind], COUNTED[kind][:-1])
        self.claims.append(
            Claim(
                row.category, place.start, place.end, place.account, row.lines, row.why, row.unit, by_record,
                judged.only, cleared,
            )
        )  # fmt: skip


# ------------------------------------------------------------------------------------------------ one line's verdict


def _judge(
    entry: _Entry, amount: Decimal, ours: Ours, kind: str, until: datetime | None, share: Decimal = Decimal(0)
) -> _Judged:
    """Does ``amount`` with the entry's quantity and count fit our records, or is there a reason why not? ``share``:
    how much of our cost may stand on the carrier-fee line instead."""
    by_record = _by_record(entry, kind)
    quantity = entry.quantity if by_record is not None else None
    if not entry.lines:
        quantity = Decimal(0)
    mine = ours.by_record() if by_record else ours
    more = None if quantity is None else quantity - mine.quantity
    counted = None if entry.count is None else entry.count - mine.records
    money = amount - mine.cost
    if not more and not counted:
        if money == 0 and by_record is not None:
            return _Judged(OK)
        if abs(money) <= TOLERANCE:
            why = f"within the tolerance of {TOLERANCE}" if money else f"only money compared: it counts in {entry.unit}"
            return _Judged(EXPLAINED, (why,))
        if share and -share - TOLERANCE <= money <= 0:
            return _Judged(EXPLAINED, (f"its share of the carrier fees ({_plain(share)} in all) is on their own line",))
    if _waits(more, counted, money, mine, share):
        return _Judged(EXPLAINED, tuple(_waiting_for(mine, until)))
    vanished, failed = mine.vanished_records, mine.failed_records
    for with_vanished, with_failed in ((1, 0), (0, 1), (1, 1)):
        if (with_vanished and not vanished) or (with_failed and not failed):
            continue
        records = with_vanished * vanished + with_failed * failed
        of_them = with_vanished * mine.vanished_quantity + with_failed * mine.failed_quantity
        rest = money - with_vanished * mine.vanished_cost - with_failed * mine.failed_cost
        if more in (None, of_them) and counted in (None, records) and -share - TOLERANCE <= rest <= TOLERANCE:
            why = [f"{failed} failed message(s) were charged"] * with_failed
            why += [f"{vanished} record(s) no longer listed at the source were charged"] * with_vanished
            return _Judged(UNEXPLAINED, tuple(why), ("failed",)) if with_failed else _Judged(EXPLAINED, tuple(why))
    why = [*_differs(entry, kind, quantity, more, counted, money, mine)]
    why += [f"its share of the carrier fees ({_plain(share)} in all) is on their own line"] if share else []
    return _Judged(UNEXPLAINED, tuple(why))


def _waits(more: Decimal | None, counted: Decimal | None, money: Decimal, ours: Ours, share: Decimal) -> bool:
    """Can what has no price yet, or is later than the invoice, be the whole difference? A unit that waits can cost no
    more than the dearest that has a price, so a dearer price does not hide behind it."""
    if not (ours.unpriced or ours.late_records):
        return False
    if counted is not None and not -ours.late_records <= counted <= ours.unpriced:
        return False
    if more is not None and not -ours.late_quantity <= more <= ours.waiting:
        return False
    gained = ours.waiting if more is None else min(ours.waiting, more + ours.late_quantity)
    lost = ours.late_quantity if more is None else min(ours.late_quantity, ours.waiting - more)
    unknown = not ours.dearest and gained > 0
    least = -min(ours.late_cost, lost * ours.dearest) - share - TOLERANCE
    return least <= money and (unknown or money <= gained * ours.dearest + TOLERANCE)


def _waiting_for(ours: Ours, until: datetime | None) -> Iterator[str]:
    if ours.unpriced:
        yield f"{ours.unpriced} record(s) have no provider price yet"
    if ours.late_records and until:
        yield f"{ours.late_records} record(s) came or changed after the invoice ({until:%Y-%m-%d %H:%M} UTC)"


def _differs(
    entry: _Entry, kind: str, quantity: Decimal | None, more: Decimal | None, counted: Decimal | None, money: Decimal,
    ours: Ours
) -> Iterator[str]:  # fmt: skip
    unit = entry.unit or UNITS[kind]
    if not entry.lines:
        yield "the invoice has no line of it"
        return
    if _by_record(entry, kind) is None:
        yield f"it counts in {entry.unit}, our records in {UNITS[kind]}"
    if counted:
        yield f"{_plain(abs(counted))} {COUNTED[kind]} {'more' if counted > 0 else 'less'} than our records"
    if more and not (more == counted and _by_record(entry, kind)):
        yield f"{_plain(abs(more))} {unit} {'more' if more > 0 else 'less'} than our records"
    if not more and not counted:
        average = (
            f", ours on average {_plain(_average(ours.cost, ours.quantity))}" if quantity and ours.quantity else ""
        )
        yield f"{_plain(abs(money))} {'more' if money > 0 else 'less'} for the same{average}"


def _with_witness(row: Row, said: Totals | None, fees: Totals | None, reading: str | None) -> str:
    """What the provider's own daily totals say to it: as we do, as the invoice does, or neither."""
    if said is None:
        return row.why
    theirs = said.cost + (fees.cost if fees and reading == "included" else 0)
    if abs(theirs - (row.our_amount or 0)) <= TOLERANCE:
        return f"{row.why}; the provider's own daily totals agree with us"
    if abs(theirs - row.amount - row.fees) <= TOLERANCE:
        return f"{row.why}; the provider's own daily totals agree with the invoice: see python -m etl reconcile"
    return row.why


def _by_record(entry: _Entry, kind: str) -> bool | None:
    """Does the line count records (messages, calls) instead of segments or minutes? None if in neither."""
    unit = (entry.unit or UNITS[kind]).rstrip("s")
    if unit == UNITS[kind].rstrip("s"):
        return False
    return True if unit == COUNTED[kind].rstrip("s") else None


# ------------------------------------------------------------------------------------------------ lines and trees


def _entries(lines: Iterable[Line]) -> Iterator[_Entry]:
    """Lines of one account and period, summed by category; what is odd about them becomes a note."""
    groups: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        groups[line.category].append(line)
    for category, mine in groups.items():
        notes = [*_repeated(mine), *filter(None, map(_arithmetic, mine))]
        yield replace(_summed(category, [_entry(line) for line in mine]), notes=tuple(notes))


def _entry(line: Line) -> _Entry:
    return _Entry(line.category, (line,), line.amount, line.quantity, line.count, line.unit)


def _summed(category: str, entries: Iterable[_Entry]) -> _Entry:
    """One entry of several; a quantity or count that one of them lacks, or counts otherwise, is unknown."""
    some = list(entries)
    units = {e.unit for e in some}

    def total(values: list[Decimal | None]) -> Decimal | None:
        return None if any(v is None for v in values) else sum(values, Decimal(0))

    return _Entry(
        category, tuple(line for e in some for line in e.lines), sum((e.amount for e in some), Decimal(0)),
        total([e.quantity for e in some]) if len(units) == 1 else None, total([e.count for e in some]),
        units.pop() if len(units) == 1 else None, tuple(note for e in some for note in e.notes),
    )  # fmt: skip


def _repeated(lines: Iterable[Line]) -> Iterator[str]:
    first: dict[Line, int] = {}
    for line in lines:
        same = replace(line, number=0)
        if same in first:
            yield f"line {line.number} repeats line {first[same]}: charged twice"
        first.setdefault(same, line.number)


def _arithmetic(line: Line) -> str | None:
    """A line whose amount is not its quantity × its unit price, but for a cent and the unit price's last digit."""
    if line.quantity is None or line.unit_price is None:
        return None
    step = Decimal(1).scaleb(line.unit_price.as_tuple().exponent)
    off = abs(line.quantity * line.unit_price - line.amount)
    return (
        f"line {line.number} is not quantity × unit price" if off > TOLERANCE + abs(line.quantity) * step / 2 else None
    )


def _notes(entry: _Entry, verdict: str) -> tuple[str, ...]:
    """What is odd about its lines is told where it may be the reason."""
    return entry.notes if verdict == UNEXPLAINED else ()


def _root(category: str) -> str:
    return re.sub(_PART, "", category)


def _direction(category: str) -> bool:
    return category.endswith(tuple(f"-{d}" for d in _DIRECTIONS)) and _root(category) == category.rpartition("-")[0]


def _parts(entries: Mapping[str, _Entry]) -> dict[str, str]:
    """Category → the one it is a part of. By name for directions and number classes; for any other prefix only where
    what lies below adds up to it, because ``calls-client`` is no part of ``calls``."""
    found = {}
    for category in entries:
        root = _root(category)
        if root != category:
            above = [o for o in entries if o != category and category.startswith(f"{o}-") and _root(o) == root]
            # Parts of our records' categories are compared below a sum, where the invoice has no whole.
            if above or root in WHOLES:
                found[category] = root if root in WHOLES else min(above, key=len)
    for category, entry in entries.items():
        if category in WHOLES or not entry.amount:
            continue
        below = [o for o in entries if o.startswith(f"{category}-") and o not in found]
        top = [o for o in below if not any(o.startswith(f"{p}-") for p in below)]
        if top and sum((entries[o].amount for o in top), Decimal(0)) == entry.amount:
            found |= dict.fromkeys(below, category)
    return found


def _refuse_overlaps(places: Mapping[_Place, list[Line]]) -> None:
    """ConfigurationError where lines of one kind cover the same day in different periods: it would be counted twice."""
    seen: dict[tuple, dict[tuple[date, date], int]] = defaultdict(dict)
    for place, lines in places.items():
        for line in lines:
            seen[place.account, _root(line.category)].setdefault((place.start, place.end), line.number)
    for (_, root), periods in seen.items():
        ordered = sorted(periods.items())
        for ((start, end), one), ((later, _), other) in zip(ordered, ordered[1:], strict=False):
            if later <= end:
                raise ConfigurationError(
                    f"lines {min(one, other)} and {max(one, other)} both cover {max(start, later)} of {shown(root)}: "
                    "keep the days or the month, not both"
                )


def _text(line: Line) -> str:
    """The kind of text that a line, or its carrier fee, is of; empty for anything else."""
    kind = _root(line.category).removesuffix(_FEES)
    return kind if kind in _TEXTS else ""


def _text_spans(places: Mapping[_Place, list[Line]]) -> dict[str, list[_Place]]:
    """Kind of text → the days of its lines and of its fees, those that overlap in one piece."""
    found: dict[str, list[_Place]] = defaultdict(list)
    for kind in _TEXTS:
        mine = [place for place, lines in places.items() if any(_text(line) == kind for line in lines)]
        for place in sorted(mine, key=lambda p: (p.account or "", p.start, p.end)):
            last = found[kind][-1] if found[kind] else None
            if last and last.account == place.account and place.start <= last.end:
                found[kind][-1] = replace(last, end=max(last.end, place.end))
            else:
                found[kind].append(place)
    return found


def _holds(whole: _Place, place: _Place) -> bool:
    return whole.account == place.account and whole.start <= place.start and place.end <= whole.end


def _order(row: Row) -> tuple:
    root = _root(row.category).removesuffix(_FEES)
    known = WHOLES.index(root) if root in WHOLES else len(WHOLES)
    return known, root, row.category.endswith(_FEES), row.category, row.end


def _average(cost: Decimal, quantity: int) -> Decimal:
    return (cost / quantity).quantize(Decimal("0.000001"))


def _plain(value: Decimal) -> str:
    """No exponent, no needless zeros."""
    return f"{value.normalize():f}"
