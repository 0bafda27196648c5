"""What a page may know: frozen figures of one statement, added up and checked. The types have no place for a message
body or a phone number.

`build` raises `DoesNotAddUp` rather than returning figures that do not cross-foot: such a statement is never shown.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from statistics import median_low

import polars as pl

from etl.periods import Month
from etl.schemas import LINES, UNASSIGNED
from etl.statement import Statement

HISTORY_MONTHS = 6
PEOPLE_SHOWN = 40
CALL_LINES = ("call", "campaign_call")
TRAFFIC_LINES = ("text", "call", "video", "campaign_call")
ZERO = Decimal(0)

LINE_NAMES = {
    "number": "Phone numbers",
    "call": "Calls",
    "text": "Texts",
    "video": "Video calls",
    "campaign_call": "Campaign calls",
    "recording_storage": "Recording storage",
    "carrier_fee": "Carrier fees",
    "voice_detection": "AI voice detection",
    "failed_message": "Failed messages",
}
TYPE_NAMES = {"sms": "SMS", "mms": "MMS", "whatsapp": "WhatsApp", "rcs": "RCS", "voice": "voice"}
SPLIT_LINES = ("call", "text", "video", "carrier_fee")
"""Lines whose parts are always shown; others only when they have more than one."""


class DoesNotAddUp(ValueError):
    """Figures that must be equal are not. The text names both."""


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


@dataclass(frozen=True)
class Figure:
    """One of the four figures at the top, with six months of it (None: before the account's first month)."""

    label: str
    unit: str
    change: Change
    months: tuple[Decimal | None, ...]

    @property
    def value(self) -> Decimal:
        return self.change.now


@dataclass(frozen=True)
class ChargeRow:
    """A row of the charges: a group with its parts, or a line of its own. ``quantity`` is in ``unit``."""

    key: tuple
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
class Usage:
    """Counts and exact charge of a day, an owner or a month. Adds up."""

    outbound_messages: int = 0
    outbound_segments: int = 0
    inbound_messages: int = 0
    inbound_segments: int = 0
    calls: int = 0
    call_seconds: int = 0
    charge: Decimal = ZERO

    @property
    def messages(self) -> int:
        return self.outbound_messages + self.inbound_messages

    @property
    def segments(self) -> int:
        return self.outbound_segments + self.inbound_segments

    @property
    def call_minutes(self) -> Decimal:
        return minutes(self.call_seconds)

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, name) + getattr(other, name) for name in USAGE_FIELDS))


USAGE_FIELDS = tuple(Usage.__dataclass_fields__)


@dataclass(frozen=True)
class DayRow:
    """One UTC day. ``usage`` is None where the day is not loaded: unknown is not zero."""

    day: date
    usage: Usage | None
    complete: bool


@dataclass(frozen=True)
class OwnerRow:
    """A member, a shared inbox, or what belongs to nobody."""

    kind: str
    owner_id: str
    name: str
    usage: Usage
    change: Change
    people: int = 1


@dataclass(frozen=True)
class OwnerTable:
    """Members or shared inboxes, most segments first, and their sum."""

    rows: tuple[OwnerRow, ...]
    total: OwnerRow


@dataclass(frozen=True)
class MonthRow:
    """One month of the history."""

    month: Month
    state: str
    revision: int
    total: Decimal
    usage: Usage


@dataclass(frozen=True)
class Peak:
    """A day far above what its weekday usually has."""

    day: date
    segments: int
    typical: int

    @property
    def times(self) -> Decimal:
        return (Decimal(self.segments) / self.typical).quantize(Decimal("0.1"), ROUND_HALF_UP)


@dataclass(frozen=True)
class Quality:
    """What is not known, or odd, about the month's records."""

    records: int = 0
    unrated: int = 0
    unpriced: int = 0
    segments_differ: int = 0
    vanished: int = 0
    missing: tuple[date, ...] = ()
    other: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """One account, one month: everything a page, a file or a mail is made from."""

    account_id: str
    account_name: str
    company: str
    currency: str
    locale: str
    month: Month
    state: str
    revision: int
    statement_id: str
    closed_at: datetime | None
    through: date | None
    total: Change
    figures: tuple[Figure, ...]
    charges: tuple[ChargeRow, ...]
    carriers: tuple[ChargeRow, ...]
    rounding: Decimal | None
    history: tuple[MonthRow, ...]
    days: tuple[DayRow, ...]
    usage: Usage
    members: OwnerTable
    inboxes: OwnerTable
    unassigned: OwnerRow | None
    driver: ChargeRow | None
    peak: Peak | None
    quality: Quality
    owner_days: tuple[tuple[date, OwnerRow], ...] = field(repr=False)
    history_days: tuple[DayRow, ...] = field(repr=False)
    lines: tuple[dict, ...] = field(repr=False)

    @property
    def final(self) -> bool:
        return self.state == "final"

    @property
    def compared(self) -> bool:
        """A running month is set beside the whole month before, never expressed in percent of it."""
        return self.state != "open"

    @property
    def before(self) -> MonthRow | None:
        """The month before, if the account had one."""
        return next((row for row in self.history if row.month == self.month - 1), None)


def minutes(seconds: int) -> Decimal:
    return Decimal(seconds) / 60


def build(statement: Statement) -> Page:
    """The page of a statement. Raises `DoesNotAddUp`; never rounds, guesses or drops a line."""
    account, month = statement.account, statement.month
    lines = tuple(statement.lines.sort("position").iter_rows(named=True))
    foreign = {row["currency"] for row in lines} - {account.currency}
    if foreign:
        raise DoesNotAddUp(f"{statement.statement_id}: lines in {', '.join(sorted(foreign))}, not {account.currency}")
    has_before = _has_before(statement)
    before = tuple(statement.previous_lines.iter_rows(named=True)) if has_before else None

    charges = _charges(lines, before)
    rounding = [row["amount"] for row in lines if row["section"] == "rounding"]
    daily = statement.daily
    mine = daily.filter(pl.col("date").is_between(month.first, month.days[-1]))
    by_month = {h.month: Usage() for h in statement.history}
    by_day: dict[date, Usage] = {}
    for day, usage in _usages(daily, "date"):
        by_day[day] = usage
        by_month[Month.of(day)] = by_month.get(Month.of(day), Usage()) + usage
    history = tuple(MonthRow(h.month, h.state, h.revision, h.total, by_month[h.month]) for h in statement.history)
    quality = _quality(statement, mine, lines)
    through = date.fromisoformat(statement.through) if statement.through else None
    loaded = {month: (through, set(quality.missing))} if statement.state == "open" else {}
    history_days = tuple(_day(d, by_day.get(d), h.state, loaded.get(h.month)) for h in history for d in h.month.days)
    days = tuple(row for row in history_days if Month.of(row.day) == month)
    members, inboxes, unassigned, owner_days = _owners(statement, mine, has_before)
    usage = by_month[month]
    total = Change(statement.total, _previous_total(statement) if has_before else None)
    page = Page(
        account_id=account.account_id,
        account_name=_presentable(account.name),
        company=_presentable(account.company),
        currency=account.currency,
        locale=account.locale,
        month=month,
        state=statement.state,
        revision=statement.revision,
        statement_id=statement.statement_id,
        closed_at=_utc(statement.closed_at),
        through=through,
        total=total,
        figures=_figures(history, month, total, has_before),
        charges=charges,
        carriers=_carriers(lines, before),
        rounding=sum(rounding, ZERO) if rounding else None,
        history=history,
        days=days,
        usage=usage,
        members=members,
        inboxes=inboxes,
        unassigned=unassigned,
        driver=_driver(charges, total),
        peak=_peak(days, history_days),
        quality=quality,
        owner_days=owner_days,
        history_days=history_days,
        lines=lines,
    )
    _cross_foot(statement, page, mine)
    return page


# ------------------------------------------------------------------------------------------------ charges


def _charges(lines: Iterable[dict], before: Iterable[dict] | None) -> tuple[ChargeRow, ...]:
    """Rows by charge line, in statement order; a line billed last month only is kept, at zero."""
    now = _sums(lines)
    then = _sums(before) if before is not None else None
    keys = list(dict.fromkeys([*now, *(then or ())]))
    several = {line for line in LINES if len({k[2] for k in keys if k[0] == line}) > 1}
    groups: dict[str, list[ChargeRow]] = defaultdict(list)
    for key in sorted(keys, key=_order):
        groups[key[0]].append(_row(key, _part_name(key, key[0] in several), now, then))
    found = []
    for line in sorted(groups, key=_position):
        parts = tuple(groups[line])
        label = LINE_NAMES.get(line, line.replace("_", " ").capitalize())
        if len(parts) == 1 and line not in SPLIT_LINES:
            found.append(_renamed(parts[0], label))
            continue
        previous = sum((p.change.before for p in parts), ZERO) if then is not None else None
        amount = sum((p.amount for p in parts), ZERO)
        found.append(
            ChargeRow(
                key=(line,),
                label=label,
                amount=amount,
                exact=sum((p.exact for p in parts), ZERO),
                change=Change(amount, previous),
                unrated=sum(p.unrated for p in parts),
                parts=parts,
            )
        )
    return tuple(found)


def _carriers(lines: Iterable[dict], before: Iterable[dict] | None) -> tuple[ChargeRow, ...]:
    """Carrier fees by carrier, for the table beneath the charges; empty when no carrier is named."""

    def fees(rows):
        return [r | {"direction": None} for r in rows if r["line"] == "carrier_fee"]

    now = _sums(fees(lines), by_carrier=True)
    then = _sums(fees(before), by_carrier=True) if before is not None else None
    keys = list(dict.fromkeys([*now, *(then or ())]))
    if not any(key[5] for key in keys):
        return ()
    keys.sort(key=lambda k: (k[5] is None, k[5] or "", _order(k)))
    return tuple(
        _row(key, f"{_presentable(key[5] or 'Other carriers')}, {_part_name(key, True)}", now, then) for key in keys
    )


def _sums(rows: Iterable[dict], *, by_carrier: bool = False) -> dict[tuple, list]:
    """(line, direction, type, registered, unit[, carrier]) → [amount, exact, quantity, unrated]."""
    sums: dict[tuple, list] = {}
    for row in rows:
        if row["section"] in ("total", "rounding"):
            continue
        fee = row["line"] == "carrier_fee"
        key = (
            row["line"],
            None if fee else row["direction"],
            row["type"],
            row["registered"] if fee else None,
            row["unit"],
            row["carrier"] if by_carrier else None,
        )
        into = sums.setdefault(key, [ZERO, ZERO, 0, 0])
        for i, value in enumerate((row["amount"], row["amount_exact"], row["quantity"] or 0, row["unrated"])):
            into[i] += value
    return sums


def _row(key: tuple, label: str, now: dict, then: dict | None) -> ChargeRow:
    amount, exact, quantity, unrated = now.get(key, (ZERO, ZERO, 0, 0))
    previous = None if then is None else then[key][0] if key in then else ZERO
    unit = key[4]
    return ChargeRow(
        key=key,
        label=label,
        amount=amount,
        exact=exact,
        change=Change(amount, previous),
        quantity=None if unit is None else minutes(quantity) if unit == "second" else Decimal(quantity),
        unit="minute" if unit == "second" else unit,
        unrated=unrated,
    )


def _renamed(row: ChargeRow, label: str) -> ChargeRow:
    return ChargeRow(row.key, label, row.amount, row.exact, row.change, row.quantity, row.unit, row.unrated)


def _part_name(key: tuple, several_types: bool) -> str:
    line, direction, type_, registered, unit = key[:5]
    kind = TYPE_NAMES.get(type_, type_ or "")
    if line == "carrier_fee":
        known = {True: "registered", False: "unregistered", None: "registration unknown"}[registered]
        return ", ".join(filter(None, (kind, known))) or "Other"
    if line == "text":
        way = {"outbound": "sent", "inbound": "received"}.get(direction, "")
        return (f"{kind} {way}" if several_types and kind else way.capitalize()).strip() or "Other"
    return (direction or kind or unit or "Other").capitalize()


def _position(line: str) -> int:
    return LINES.index(line) if line in LINES else len(LINES)


def _order(key: tuple) -> tuple:
    """Outbound before inbound, SMS before MMS, registered before not."""
    line, direction, type_, registered, unit = key[:5]
    types = [*TYPE_NAMES, None]
    return (
        _position(line), line, types.index(type_) if type_ in types else len(types),
        {"outbound": 0, "inbound": 1}.get(direction, 2), {True: 0, False: 1}.get(registered, 2), unit or "",
    )  # fmt: skip


def _driver(charges: tuple[ChargeRow, ...], total: Change) -> ChargeRow | None:
    """The row that moved most in the direction the total moved."""
    if total.kind not in ("up", "down"):
        return None
    sign = 1 if total.difference > 0 else -1
    rows = [p for row in charges for p in (row.parts or (row,))]
    best = max(rows, key=lambda r: sign * r.change.difference, default=None)
    return best if best and sign * best.change.difference > 0 else None


# ------------------------------------------------------------------------------------------------ usage


def _usages(daily: pl.DataFrame, *by: str) -> Iterable[tuple]:
    """(key, Usage) by one column, or (*keys, Usage) by several, in order."""
    out, inn = pl.col("direction") == "outbound", pl.col("direction") == "inbound"
    call = pl.col("line").is_in(CALL_LINES)
    frame = (
        daily.group_by(by)
        .agg(
            pl.col("messages").filter(out).sum().alias("outbound_messages"),
            pl.col("segments").filter(out).sum().alias("outbound_segments"),
            pl.col("messages").filter(inn).sum().alias("inbound_messages"),
            pl.col("segments").filter(inn).sum().alias("inbound_segments"),
            pl.col("events").filter(call).sum().alias("calls"),
            pl.col("billed_seconds").filter(call).sum().alias("call_seconds"),
            pl.col("charge").sum(),
        )
        .sort(by)
    )
    for row in frame.iter_rows():
        yield (*row[: len(by)], Usage(*row[len(by) :]))


def _day(day: date, usage: Usage | None, state: str, loaded: tuple[date | None, set[date]] | None) -> DayRow:
    complete = state != "open"
    if loaded:
        through, missing = loaded
        complete = through is not None and day <= through and day not in missing
    return DayRow(day, usage if usage else Usage() if complete else None, complete)


def _figures(history: tuple[MonthRow, ...], month: Month, total: Change, has_before: bool) -> tuple[Figure, ...]:
    rows = {row.month: row for row in history}
    shown = [rows.get(m) for m in month.last(HISTORY_MONTHS)]
    nothing = MonthRow(month - 1, "", 0, ZERO, Usage())

    def figure(label: str, unit: str, value) -> Figure:
        before = value(rows.get(month - 1, nothing)) if has_before else None
        return Figure(label, unit, Change(value(rows[month]), before), tuple(value(r) if r else None for r in shown))

    return (
        Figure("Total charges", "money", total, tuple(r.total if r else None for r in shown)),
        figure("Segments", "count", lambda r: Decimal(r.usage.segments)),
        figure("Messages", "count", lambda r: Decimal(r.usage.messages)),
        figure("Call minutes", "quantity", lambda r: r.usage.call_minutes),
    )


def _peak(days: tuple[DayRow, ...], history: tuple[DayRow, ...]) -> Peak | None:
    """The busiest day, if it has at least twice what its weekday has in the middle of six months, and 50 segments."""
    known = [row for row in days if row.usage]
    if not known:
        return None
    top = max(known, key=lambda row: row.usage.segments)
    like = [r.usage.segments for r in history if r.usage and r.day.weekday() == top.day.weekday() and r.day != top.day]
    typical = median_low(like) if len(like) >= 3 else 0
    if typical and top.usage.segments >= max(2 * typical, 50):
        return Peak(top.day, top.usage.segments, typical)
    return None


# ------------------------------------------------------------------------------------------------ people


def _owners(statement: Statement, mine: pl.DataFrame, has_before: bool):
    """(members, inboxes, unassigned or None, (day, owner) rows) of the month."""
    names = {(kind, id_): name for kind, id_, name in statement.owners.select("owner_kind", "owner_id", "name").rows()}
    earlier = statement.month - 1
    previous = statement.daily.filter(pl.col("date").is_between(earlier.first, earlier.days[-1]))
    keys = ("owner_kind", "owner_id")
    now = {key[:2]: key[2] for key in _usages(mine, *keys)}
    then = {key[:2]: key[2] for key in _usages(previous, *keys)} if has_before else {}

    def row(key: tuple[str, str]) -> OwnerRow:
        usage = now.get(key, Usage())
        before = Decimal(then.get(key, Usage()).segments) if has_before else None
        shown = "Unassigned" if key[0] == UNASSIGNED else _presentable(names.get(key) or key[1])
        return OwnerRow(*key, shown, usage, Change(Decimal(usage.segments), before))

    rows = [row(key) for key in dict.fromkeys([*names, *now, *then])]
    rows.sort(key=lambda r: (-r.usage.segments, -r.usage.messages, r.name.casefold(), r.owner_id))
    members, inboxes, rest = ([r for r in rows if r.kind == kind] for kind in ("member", "inbox", UNASSIGNED))
    unassigned = _merged(rest, UNASSIGNED, "Unassigned", has_before)
    shown = unassigned.usage != Usage() or unassigned.change.before
    owner_days = tuple(
        (day, OwnerRow(kind, id_, row((kind, id_)).name, usage, Change(Decimal(usage.segments), None)))
        for day, kind, id_, usage in _usages(mine, "date", *keys)
    )
    return (
        _table(members, "member", "members", has_before),
        _table(inboxes, "inbox", "shared inboxes", has_before),
        unassigned if shown else None,
        owner_days,
    )


def _table(rows: list[OwnerRow], kind: str, plural: str, has_before: bool) -> OwnerTable:
    total = _merged(rows, kind, f"All {plural}", has_before)
    if len(rows) > PEOPLE_SHOWN:
        rest = rows[PEOPLE_SHOWN:]
        rows = [*rows[:PEOPLE_SHOWN], _merged(rest, kind, f"Other {plural} ({len(rest)})", has_before)]
    return OwnerTable(tuple(rows), total)


def _merged(rows: list[OwnerRow], kind: str, name: str, has_before: bool) -> OwnerRow:
    usage = sum((r.usage for r in rows), Usage())
    before = sum((r.change.before for r in rows), ZERO) if has_before else None
    return OwnerRow(kind, "", name, usage, Change(Decimal(usage.segments), before), len(rows))


# ------------------------------------------------------------------------------------------------ quality


def _quality(statement: Statement, mine: pl.DataFrame, lines: tuple[dict, ...]) -> Quality:
    traffic = mine.filter(pl.col("line").is_in(TRAFFIC_LINES))
    missing: set[date] = set()
    other = []
    for sentence in statement.held:
        found = re.search(r"\b\d{4}-\d{2}-\d{2}\b", sentence)
        if sentence.startswith("day missing") and found:
            missing.add(date.fromisoformat(found[0]))
        else:
            other.append(sentence)
    return Quality(
        records=traffic["events"].sum(),
        unrated=sum(row["unrated"] for row in lines if row["section"] == "usage"),
        unpriced=traffic["unpriced"].sum(),
        segments_differ=traffic["segments_differ"].sum(),
        vanished=traffic["vanished"].sum(),
        missing=tuple(sorted(missing)),
        other=tuple(other),
    )


def _previous_total(statement: Statement) -> Decimal:
    return next((h.total for h in statement.history if h.month == statement.month - 1), ZERO)


def _has_before(statement: Statement) -> bool:
    """Whether there is a month to compare with: one in the history, or one without usage after the account began."""
    earlier = statement.month - 1
    known = {h.month for h in statement.history}
    return earlier in known or (earlier in statement.published and min(known) < earlier)


def _utc(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def _presentable(name: str) -> str:
    """A name on one line; one that is a phone number is masked to its last four digits."""
    name = " ".join(name.split())
    digits = re.sub(r"\D", "", name)
    if len(digits) >= 7 and re.fullmatch(r"[+\d().\s/-]+", name):
        return f"•••• {digits[-4:]}"
    return name


# ------------------------------------------------------------------------------------------------ checks


def _cross_foot(statement: Statement, page: Page, mine: pl.DataFrame) -> None:
    """Every sum that a reader can form must come out."""

    def same(what: str, shown, other_name: str, other) -> None:
        if shown != other:
            raise DoesNotAddUp(f"{statement.statement_id}: {what} {shown}, {other_name} {other}: nothing was published")

    usage_lines = [row for row in page.lines if row["section"] == "usage"]
    parts = [part for row in page.charges for part in (row.parts or (row,))]
    rounding = page.rounding or ZERO
    same("charge lines add up to", sum((p.amount for p in parts), ZERO) + rounding, "the total is", page.total.now)
    same("groups add up to", sum((r.amount for r in page.charges), ZERO) + rounding, "the total is", page.total.now)
    exact = sum((row["amount_exact"] for row in usage_lines), ZERO)
    same("exact charge lines add up to", exact, "the days to", mine["charge"].sum() or ZERO)
    if page.carriers:
        fees = sum((r.amount for r in page.charges if r.key[0] == "carrier_fee"), ZERO)
        same("carriers add up to", sum((r.amount for r in page.carriers), ZERO), "carrier fees are", fees)
    days = sum((row.usage for row in page.days if row.usage), Usage())
    same("days add up to", days, "the month is", page.usage)
    people = page.members.total.usage + page.inboxes.total.usage
    people += page.unassigned.usage if page.unassigned else Usage()
    same("members, shared inboxes and unassigned add up to", people, "the month is", page.usage)
    for table in (page.members, page.inboxes):
        same("people add up to", sum((r.usage for r in table.rows), Usage()), "their total is", table.total.usage)
    last = statement.history[-1]
    shown = page.usage
    same("messages are", (shown.outbound_messages, shown.inbound_messages),
         "the history says", (last.messages_sent, last.messages_received))  # fmt: skip
    same("segments are", (shown.outbound_segments, shown.inbound_segments),
         "the history says", (last.segments_sent, last.segments_received))  # fmt: skip
    same("messages with a direction are", shown.messages, "all messages are", mine["messages"].sum())
    same("the history's last total is", last.total, "the statement's", page.total.now)
