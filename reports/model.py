"""What a page may know: frozen figures of one statement, added up and checked. The types have no place for a message
body or a phone number.

`build` raises `DoesNotAddUp` rather than returning figures that do not cross-foot: such a statement is never shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from operator import add, attrgetter

import polars as pl

from etl.money import round_half_up
from etl.periods import Month
from etl.schemas import HELD_LINES, PRODUCT_LINES, SECTIONS, UNASSIGNED
from etl.statement import HISTORY_MONTHS, Statement
from reports import campaigns, corrected, details, explore, findings, ledger, proof
from reports.campaigns import CAMPAIGN_LINES, CampaignRow
from reports.charges import (
    ZERO,
    Change,
    ChargeRow,
    Products,
    TaxRow,
    carrier_rows,
    charge_rows,
    driver,
    minutes,
    products,
    tax_rows,
)
from reports.checks import DoesNotAddUp, same
from reports.corrected import Corrections, Revised
from reports.details import Details
from reports.explore import Explorer
from reports.findings import Basis, Finding, OddDay
from reports.folded import by_owner, fold
from reports.ledger import Credits
from reports.naming import masked, presentable
from reports.proof import Proof

PEOPLE_SHOWN = 40
TRAFFIC_LINES = ("text", "call", "video", "campaign_call")
ACCOUNT_LINES = ("credit_overage", "tier_adjustment", "adjustment")
"""Lines that belong to the account as a whole, to no member and no inbox."""


@dataclass(frozen=True)
class Figure:
    """One of the four figures at the top, with six months of it (None: before the account's first month, or in another currency). A ``level`` is
    what is there at the end of the month, beside what was there at its beginning; no month before it is known."""

    label: str
    unit: str
    change: Change
    months: tuple[Decimal | None, ...]
    level: bool = False

    @property
    def value(self) -> Decimal:
        return self.change.now


@dataclass(frozen=True)
class Usage:
    """Counts and exact charge of what happened on a day, in a month, or through an owner. Adds up. What is charged by the
    month (numbers, storage, …) is not in it."""

    outbound_messages: int = 0
    outbound_segments: int = 0
    inbound_messages: int = 0
    inbound_segments: int = 0
    calls: int = 0
    call_seconds: int = 0
    charge: Decimal = ZERO
    outbound_credits: int = 0
    inbound_credits: int = 0

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
        return Usage(*map(add, _FIGURES(self), _FIGURES(other)))


USAGE_FIELDS = tuple(Usage.__dataclass_fields__)
_FIGURES = attrgetter(*USAGE_FIELDS)


@dataclass(frozen=True)
class DayRow:
    """One UTC day. ``usage`` is None where the day is not loaded: unknown is not zero."""

    day: date
    usage: Usage | None
    complete: bool
    currency: str
    amount: Decimal = ZERO
    """The day's charge, rounded for show."""


@dataclass(frozen=True)
class OwnerRow:
    """A member, a shared inbox, or what belongs to nobody. ``by_month`` is the exact charge of the numbers and recordings
    they hold; ``amount`` is that and the usage, rounded for show. A sum adds the rounded amounts."""

    kind: str
    owner_id: str
    name: str
    usage: Usage
    change: Change
    by_month: Decimal = ZERO
    amount: Decimal = ZERO
    people: int = 1


@dataclass(frozen=True)
class OwnerTable:
    """Members or shared inboxes, most segments first, and their sum."""

    rows: tuple[OwnerRow, ...]
    total: OwnerRow


@dataclass(frozen=True)
class MonthRow:
    """One month of the history, its money in its own ``currency``."""

    month: Month
    state: str
    revision: int
    total: Decimal
    usage: Usage
    currency: str


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
    """One account, one month: everything a page, a file or a mail is made from.

    ``charges`` come to ``charged``, ``taxes`` to ``taxed``; charged + taxed + rounding + corrections = total. ``by_month``
    are the charges that no day and no event gave rise to. ``products`` are paid apart and in no other figure. Where the
    month before was charged in another currency, counts are compared with it and amounts are not. ``revised`` is what a
    later revision says otherwise than the one before.
    """

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
    charged: Change
    carriers: tuple[ChargeRow, ...]
    taxes: tuple[TaxRow, ...]
    taxed: Change
    rounding: Decimal | None
    corrections: Corrections
    revised: Revised | None
    products: Products | None
    credits: Credits | None
    by_month: tuple[ChargeRow, ...]
    history: tuple[MonthRow, ...]
    days: tuple[DayRow, ...]
    usage: Usage
    members: OwnerTable
    inboxes: OwnerTable
    unassigned: OwnerRow | None
    campaigns: tuple[CampaignRow, ...]
    driver: ChargeRow | TaxRow | None
    findings: tuple[Finding, ...]
    peak: Peak | None
    quality: Quality
    history_days: tuple[DayRow, ...] = field(repr=False)
    explorer: Explorer = field(repr=False)
    proof: Proof = field(repr=False)
    lines: tuple[dict, ...] = field(repr=False)
    monthly: tuple[dict, ...] = field(repr=False)
    ledger: tuple[dict, ...] = field(repr=False)
    details: Details = field(repr=False, compare=False)

    @property
    def final(self) -> bool:
        return self.state == "final"

    @property
    def compared(self) -> bool:
        """A running month is set beside the whole month before, never expressed in percent of it."""
        return self.state != "open"

    @property
    def has_before(self) -> bool:
        """Whether there is a month before, also one without usage."""
        return self.figures[1].change.before is not None

    @property
    def before(self) -> MonthRow | None:
        """The month before, if the account had one."""
        return next((row for row in self.history if row.month == self.month - 1), None)

    @property
    def news(self) -> bool:
        """Whether something is otherwise than a reader of earlier statements knows it."""
        return bool(self.corrections.months or self.corrections.products or self.revised)

    @property
    def account_charges(self) -> tuple[ChargeRow, ...]:
        """The charges of the account as a whole."""
        return tuple(row for row in self.charges if row.key.line in ACCOUNT_LINES)

    @property
    def campaign_charges(self) -> Change:
        """What the lines come to that campaigns are charged on."""
        rows = [row.change for row in self.charges if row.key.line in CAMPAIGN_LINES]
        befores = [change.before for change in rows]
        now = sum((change.now for change in rows), ZERO)
        return Change(now, None if None in befores else sum(befores, ZERO))

    @property
    def campaign_rounding(self) -> Decimal:
        """What rounding each campaign by itself leaves between the campaigns and their lines."""
        return self.campaign_charges.now - sum((row.amount for row in self.campaigns), ZERO)

    @property
    def days_amount(self) -> Decimal:
        return sum((row.amount for row in self.days), ZERO)

    @property
    def days_rounding(self) -> Decimal:
        """What rounding each day by itself leaves between the days and the charges."""
        return self.charged.now - self.days_amount - sum((row.amount for row in self.by_month), ZERO)

    @property
    def people_rounding(self) -> Decimal:
        """What rounding each person by themselves leaves between the people and the charges."""
        people = self.members.total.amount + self.inboxes.total.amount
        people += self.unassigned.amount if self.unassigned else ZERO
        return self.charged.now - people - sum((row.amount for row in self.account_charges), ZERO)


def build(statement: Statement, *, files: bool = True) -> Page:
    """The page of a statement. Raises `DoesNotAddUp`; never guesses or drops a line. ``files``: whether files are made of it
    too; a mail has none, and ``details`` are empty then."""
    account, month = statement.account, statement.month
    lines = _lines(statement)
    has_before = _has_before(statement)
    currencies = {h.month: h.currency or account.currency for h in statement.history}
    paid_alike = has_before and currencies.get(month - 1, account.currency) == account.currency
    before = _masked(statement.previous_lines) if paid_alike else None

    charges, taxes = charge_rows(lines, before), tax_rows(lines, before)
    corrections = corrected.build(statement, lines, before)
    rounding = [row["amount"] for row in lines if row["section"] == "rounding"]
    # What is held has a quantity on each day and its charge in ``monthly``: on a day it is no usage.
    daily = statement.daily.filter(~pl.col("line").is_in(HELD_LINES))
    mine = _by_line(statement)
    monthly = [row for row in statement.monthly.iter_rows(named=True) if row["line"] not in PRODUCT_LINES]
    names = _names(statement)
    by_month = {h.month: Usage() for h in statement.history}
    by_day: dict[date, Usage] = {}
    finest = fold(daily, findings.COLUMNS)
    folded = by_owner(finest)
    for day, usage in _usages(folded, "date"):
        by_day[day] = usage
        of = Month.of(day)
        by_month[of] = by_month.get(of, Usage()) + usage
    history = tuple(
        MonthRow(h.month, h.state, h.revision, h.total, by_month[h.month], currencies[h.month])
        for h in statement.history
    )
    quality = _quality(statement, mine, lines)
    through = date.fromisoformat(statement.through) if statement.through else None
    loaded = {month: (through, set(quality.missing))} if statement.state == "open" else {}
    history_days = tuple(
        _day(d, by_day.get(d), h.state, loaded.get(h.month), h.currency) for h in history for d in h.month.days
    )
    days = tuple(row for row in history_days if row.day >= month.first)
    members, inboxes, unassigned = _owners(statement, folded, monthly, names, has_before)
    credits, by_the_month = ledger.build(statement.statement_id, statement.ledger), _monthly(statement, names)
    moved = tuple(statement.ledger.sort("position").iter_rows(named=True))
    found = _basis(
        statement, daily, finest, names, history, history_days, charges, lines, has_before, before, quality, by_the_month,
        credits, moved,
    )  # fmt: skip
    odd = findings.odd_days(found)
    total = Change(statement.total, _previous_total(statement) if paid_alike else None)
    page = Page(
        account_id=account.account_id,
        account_name=presentable(account.name),
        company=presentable(account.company),
        currency=account.currency,
        locale=account.locale,
        month=month,
        state=statement.state,
        revision=statement.revision,
        statement_id=statement.statement_id,
        closed_at=_utc(statement.closed_at),
        through=through,
        total=total,
        figures=_figures(history, month, total, has_before, credits),
        charges=charges,
        charged=_sum(lines, before, "usage"),
        carriers=carrier_rows(lines, before),
        taxes=taxes,
        taxed=_sum(lines, before, "tax"),
        rounding=sum(rounding, ZERO) if rounding else None,
        corrections=corrections,
        revised=corrected.revised(statement, lines, _masked(statement.replaced_lines)),
        products=products(lines, _simulated(by_the_month, moved), by_the_month, corrections.products),
        credits=credits,
        by_month=tuple(row for row in charges if row.key.line in {row["line"] for row in monthly}),
        history=history,
        days=days,
        usage=by_month[month],
        members=members,
        inboxes=inboxes,
        unassigned=unassigned,
        campaigns=_campaigns(statement, daily, paid_alike),
        driver=driver(charges, taxes, total, corrections.change),
        findings=findings.find(found, odd),
        peak=_peak(odd),
        quality=quality,
        history_days=history_days,
        explorer=_explorer(statement, folded, names, history_days),
        proof=Proof(),
        lines=lines,
        monthly=by_the_month,
        ledger=moved,
        details=details.of(statement, folded) if files else details.Details(pl.DataFrame(), pl.DataFrame()),
    )
    _cross_foot(statement, page, mine, monthly)
    return replace(page, proof=proof.build(page, statement))


def _basis(
    statement: Statement,
    daily: pl.DataFrame,
    folded: pl.DataFrame,
    names: Mapping[tuple[str, str], str],
    history: tuple[MonthRow, ...],
    history_days: tuple[DayRow, ...],
    charges: tuple[ChargeRow, ...],
    lines: tuple[dict, ...],
    has_before: bool,
    before: tuple[dict, ...] | None,
    quality: Quality,
    monthly: tuple[dict, ...],
    credits: Credits | None,
    moved: tuple[dict, ...],
) -> Basis:
    """What the rules of `reports.findings` look at."""
    return Basis(
        month=statement.month, currency=statement.account.currency,
        comparable=has_before and statement.state != "open", final=statement.state == "final",
        history=tuple(row.month for row in history), daily=daily, folded=folded,
        known=tuple(row.day for row in history_days if row.usage is not None),
        complete=frozenset(row.day for row in history_days if row.complete),
        foreign=frozenset(
            day for row in history if row.currency != statement.account.currency for day in row.month.days
        ),
        owners=names, campaigns=_campaign_names(statement),
        charges=charges, charged=_sum(lines, None, "usage").now, lines=lines, before=before,
        monthly=monthly, credits=credits, ledger=moved,
        records=quality.records, texts=history[-1].usage.messages, unrated=quality.unrated,
        differ=quality.segments_differ, vanished=quality.vanished,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ lines


def _lines(statement: Statement) -> tuple[dict, ...]:
    """The statement's lines in order, without a phone number in what people wrote. Raises `DoesNotAddUp` for a line of
    another currency or of a section no sum knows."""
    rows = _masked(statement.lines)
    foreign = {row["currency"] for row in rows} - {statement.account.currency}
    if foreign:
        raise DoesNotAddUp(
            f"{statement.statement_id}: lines in {', '.join(sorted(foreign))}, not {statement.account.currency}"
        )
    if unknown := {row["section"] for row in rows} - set(SECTIONS):
        raise DoesNotAddUp(f"{statement.statement_id}: lines of unknown sections {', '.join(sorted(unknown))}")
    return rows


def _masked(lines: pl.DataFrame) -> tuple[dict, ...]:
    rows = lines.sort("position").iter_rows(named=True)
    return tuple(row | {name: row[name] and masked(row[name]) for name in ("item", "jurisdiction")} for row in rows)


def _sum(lines: Iterable[dict], before: Iterable[dict] | None, section: str) -> Change:
    now, then = (
        None if rows is None else sum((r["amount"] for r in rows if r["section"] == section), ZERO)
        for rows in (lines, before)
    )
    return Change(now, then)


def _monthly(statement: Statement, names: Mapping[tuple[str, str], str]) -> tuple[dict, ...]:
    """What is charged by the month, with the owner's name and without the campaign, whose id is a phone number."""
    keys = [c for c in statement.monthly.columns if c not in ("campaign_id", "quantity", "charge")]
    rows = (
        statement.monthly.group_by(keys, maintain_order=True)
        # An unrated charge is unknown: a sum that skipped it would say zero.
        .agg(pl.col("quantity").sum(), charge=pl.when(pl.col("charge").null_count() == 0).then(pl.col("charge").sum()))
        .iter_rows(named=True)
    )
    return tuple(
        row
        | {
            "item": row["item"] and masked(row["item"]),
            "owner_name": _owner_name(names, row["owner_kind"], row["owner_id"]),
        }
        for row in rows
    )


# ------------------------------------------------------------------------------------------------ usage


def _usages(folded: pl.DataFrame, *by: str | pl.Expr) -> Iterable[tuple]:
    """(key, Usage) by one column, or (*keys, Usage) by several, in order."""
    for row in sorted(folded.group_by(by).agg(pl.col(_USAGE).sum()).rows()):
        yield (*row[: len(by)], Usage(*row[len(by) :]))


_USAGE = (
    "outbound_messages", "outbound_segments", "inbound_messages", "inbound_segments", "calls", "call_billed_seconds",
    "charge", "outbound_credits", "inbound_credits",
)  # fmt: skip
"""Columns of `reports.folded` in the order of `USAGE_FIELDS`."""


def _day(
    day: date, usage: Usage | None, state: str, loaded: tuple[date | None, set[date]] | None, currency: str
) -> DayRow:
    complete = state != "open"
    if loaded:
        through, missing = loaded
        complete = through is not None and day <= through and day not in missing
    shown = usage or (Usage() if complete else None)
    return DayRow(day, shown, complete, currency, round_half_up(shown.charge if shown else ZERO, currency))


def _figures(
    history: tuple[MonthRow, ...], month: Month, total: Change, has_before: bool, credits: Credits | None
) -> tuple[Figure, ...]:
    rows = {row.month: row for row in history}
    shown = [rows.get(m) for m in month.last(HISTORY_MONTHS)]
    currency = rows[month].currency
    nothing = MonthRow(month - 1, "", 0, ZERO, Usage(), currency)

    def figure(label: str, unit: str, value) -> Figure:
        before = value(rows.get(month - 1, nothing)) if has_before else None
        return Figure(label, unit, Change(value(rows[month]), before), tuple(value(r) if r else None for r in shown))

    return (
        Figure(
            "Total charges", "money", total, tuple(r.total if r and r.currency == currency else None for r in shown)
        ),
        figure("Segments", "count", lambda r: Decimal(r.usage.segments)),
        figure("Messages", "count", lambda r: Decimal(r.usage.messages)),
        figure("Call minutes", "quantity", lambda r: r.usage.call_minutes)
        if credits is None
        else Figure("Credits left", "count", Change(Decimal(credits.left), Decimal(credits.opened)), (), level=True),
    )


def _peak(days: Iterable[OddDay]) -> Peak | None:
    """The day to be annotated in the chart of segments: the one furthest above what its weekday usually has."""
    for odd in days:
        if odd.measure == "segments" and odd.more and odd.typical:
            return Peak(odd.day, odd.value, odd.typical)
    return None


# ------------------------------------------------------------------------------------------------ people


def _owners(
    statement: Statement,
    folded: pl.DataFrame,
    monthly: Iterable[Mapping],
    names: Mapping[tuple[str, str], str],
    has_before: bool,
):
    """(members, inboxes, unassigned or None) of the month."""
    month = statement.month
    recent = folded.filter(pl.col("date").is_between((month - 1).first, month.days[-1]))
    now: dict[tuple[str, str], Usage] = {}
    then: dict[tuple[str, str], Usage] = {}
    for *key, earlier, usage in _usages(
        recent, "owner_kind", "owner_id", (pl.col("date") < month.first).alias("earlier")
    ):
        if not earlier:
            now[tuple(key)] = usage
        elif has_before:
            then[tuple(key)] = usage
    held: dict[tuple[str, str], Decimal] = {}
    for row in monthly:
        if row["line"] not in ACCOUNT_LINES:
            key = row["owner_kind"], row["owner_id"]
            held[key] = held.get(key, ZERO) + (row["charge"] or ZERO)

    def row(key: tuple[str, str]) -> OwnerRow:
        usage, by_month = now.get(key, Usage()), held.get(key, ZERO)
        before = Decimal(then.get(key, Usage()).segments) if has_before else None
        amount = round_half_up(usage.charge + by_month, statement.account.currency)
        change = Change(Decimal(usage.segments), before)
        return OwnerRow(*key, _owner_name(names, *key), usage, change, by_month, amount)

    rows = [row(key) for key in dict.fromkeys([*names, *now, *then, *held])]
    rows.sort(key=lambda r: (-r.usage.segments, -r.usage.messages, r.name.casefold(), r.owner_id))
    members, inboxes, rest = ([r for r in rows if r.kind == kind] for kind in ("member", "inbox", UNASSIGNED))
    unassigned = _merged(rest, UNASSIGNED, "Unassigned", has_before)
    shown = unassigned.usage != Usage() or unassigned.by_month or unassigned.change.before
    return (
        _table(members, "member", "members", has_before),
        _table(inboxes, "inbox", "shared inboxes", has_before),
        unassigned if shown else None,
    )


def _names(statement: Statement) -> dict[tuple[str, str], str]:
    return {(kind, id_): name for kind, id_, name in statement.owners.select("owner_kind", "owner_id", "name").rows()}


def _owner_name(names: dict[tuple[str, str], str], kind: str, owner_id: str) -> str:
    return "Unassigned" if kind == UNASSIGNED else presentable(names.get((kind, owner_id)) or owner_id)


def _campaign_names(statement: Statement) -> dict[str, str]:
    return dict(statement.campaigns.select("campaign_id", "name").iter_rows())


def _campaigns(statement: Statement, daily: pl.DataFrame, has_before: bool) -> tuple[CampaignRow, ...]:
    names = _campaign_names(statement)
    return campaigns.build(daily, statement.month, names, statement.account.currency, compared=has_before)


def _simulated(monthly: Iterable[dict], moved: Iterable[dict]) -> frozenset[str]:
    """The items of credit packs that the ledger says nobody reported."""
    ours = {row["subscription_id"] for row in moved if row["entry"] == "recharge" and row["simulated"]}
    return frozenset(row["item"] for row in monthly if row["line"] == "credit_pack" and row["rate_id"] in ours)


def _explorer(
    statement: Statement,
    folded: pl.DataFrame,
    names: Mapping[tuple[str, str], str],
    history_days: tuple[DayRow, ...],
) -> Explorer:
    """Six months that open on this one."""
    month = statement.month
    shown = (month.first, month.days[-1])
    return explore.of(folded, lambda kind, id_: _owner_name(names, kind, id_), history_days, shown)


def _table(rows: list[OwnerRow], kind: str, plural: str, has_before: bool) -> OwnerTable:
    total = _merged(rows, kind, f"All {plural}", has_before)
    if len(rows) > PEOPLE_SHOWN:
        rest = rows[PEOPLE_SHOWN:]
        rows = [*rows[:PEOPLE_SHOWN], _merged(rest, kind, f"Other {plural} ({len(rest)})", has_before)]
    return OwnerTable(tuple(rows), total)


def _merged(rows: list[OwnerRow], kind: str, name: str, has_before: bool) -> OwnerRow:
    usage = sum((r.usage for r in rows), Usage())
    before = sum((r.change.before for r in rows), ZERO) if has_before else None
    by_month, amount = (sum((getattr(r, what) for r in rows), ZERO) for what in ("by_month", "amount"))
    return OwnerRow(kind, "", name, usage, Change(Decimal(usage.segments), before), by_month, amount, len(rows))


# ------------------------------------------------------------------------------------------------ quality


def _by_line(statement: Statement) -> dict[str, dict]:
    """Charge line → sums of the month's daily rows of it, and whether any of them costs something (``charged``)."""
    in_month = pl.col("date").is_between(statement.month.first, statement.month.days[-1])
    sums = pl.col("events", "messages", "credits", "unpriced", "segments_differ", "vanished", "charge").sum()
    charged = (pl.col("charge") != 0).any().alias("charged")
    rows = statement.daily.filter(in_month).group_by("line").agg(sums, charged).sort("line")
    return {row["line"]: row for row in rows.iter_rows(named=True)}


def _total(rows: Iterable[Mapping], name: str) -> int | Decimal:
    """What a column of some rows comes to; unknown figures are left out."""
    return sum(row[name] for row in rows if row[name] is not None)


def _quality(statement: Statement, mine: Mapping[str, Mapping], lines: tuple[dict, ...]) -> Quality:
    traffic = [row for line, row in mine.items() if line in TRAFFIC_LINES]
    missing: set[date] = set()
    other = []
    for sentence in statement.held:
        found = re.search(r"\b\d{4}-\d{2}-\d{2}\b", sentence)
        if sentence.startswith("day missing") and found:
            missing.add(date.fromisoformat(found[0]))
        else:
            other.append(sentence)
    return Quality(
        records=_total(traffic, "events"),
        unrated=sum(row["unrated"] for row in lines if row["section"] == "usage"),
        unpriced=_total(traffic, "unpriced"),
        segments_differ=_total(traffic, "segments_differ"),
        vanished=_total(traffic, "vanished"),
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


# ------------------------------------------------------------------------------------------------ checks


def _cross_foot(statement: Statement, page: Page, by_line: Mapping[str, Mapping], monthly: Iterable[Mapping]) -> None:
    """Every sum that a reader can form must come out."""
    held = [row for line, row in by_line.items() if line in HELD_LINES]
    mine = {line: row for line, row in by_line.items() if line not in HELD_LINES}

    def equal(what: str, shown, other_name: str, other) -> None:
        same(statement.statement_id, what, shown, other_name, other)

    def amounts(rows) -> Decimal:
        return sum((row.amount for row in rows), ZERO)

    parts = [part for row in page.charges for part in (row.parts or (row,))]
    taxes = [part for row in page.taxes for part in row.parts]
    more = amounts(taxes) + (page.rounding or ZERO)
    more += page.corrections.change.now
    equal(
        "charge lines, taxes, rounding and corrections add up to", amounts(parts) + more, "the total is", page.total.now
    )
    equal("groups add up to", amounts(page.charges), "charge lines to", page.charged.now)
    equal("levels of taxes add up to", amounts(page.taxes), "taxes to", page.taxed.now)
    whole = page.charged.now + page.taxed.now + (page.rounding or ZERO)
    whole += amounts(page.corrections.months)
    equal("charges, taxes, rounding and corrections come to", whole, "the total is", page.total.now)
    for month in (*page.corrections.months, *page.corrections.products):
        equal(f"corrections of {month.month} add up to", amounts(month.rows), "in all they are", month.amount)
    if page.revised:
        for what, changes, both in (
            ("lines", page.revised.changes, page.revised.total),
            ("products", page.revised.products, page.revised.product_total),
        ):
            moved = sum((change.difference for change in changes), ZERO)
            equal(f"what changed of the {what} comes to", moved, "the totals differ by", both.difference)
    _same_exact(statement, page, mine)
    equal("on its days what is held costs", _total(held, "charge"), "it is charged by the month, not", ZERO)
    if page.products:
        equal("products add up to", amounts(page.products.rows), "their total is", page.products.total)
    if page.carriers:
        fees = amounts(r for r in page.charges if r.key.line == "carrier_fee")
        equal("carriers add up to", amounts(page.carriers), "carrier fees are", fees)
    if page.campaigns:
        calls = _total((row for line, row in mine.items() if line == CAMPAIGN_LINES[0]), "events")
        exact = _total((row for line, row in mine.items() if line in CAMPAIGN_LINES), "charge")
        shown = campaigns.total(page.campaigns, "")
        equal("campaigns have calls", shown.calls, "their lines", calls)
        equal("campaigns cost exactly", shown.charge, "their lines", exact)
        behind = sum((row.exact for row in page.charges if row.key.line in CAMPAIGN_LINES), ZERO)
        equal("campaigns cost exactly", shown.charge, "the statement's lines", behind)
    days = sum((row.usage for row in page.days if row.usage), Usage())
    equal("days add up to", days, "the month is", page.usage)
    equal("days cost exactly", days.charge, "their rows", _total(mine.values(), "charge"))
    owners = [page.members.total, page.inboxes.total, *([page.unassigned] if page.unassigned else [])]
    people = sum((row.usage for row in owners), Usage())
    equal("members, shared inboxes and unassigned add up to", people, "the month is", page.usage)
    theirs = sum((row.by_month for row in owners), ZERO) + sum((row.exact for row in page.account_charges), ZERO)
    by_month = _total(monthly, "charge")
    equal("by the month members, shared inboxes, unassigned and account are charged", theirs, "in all it is", by_month)
    for table in (page.members, page.inboxes):
        equal("people add up to", sum((r.usage for r in table.rows), Usage()), "their total is", table.total.usage)
        equal("people are charged", amounts(table.rows), "their total is", table.total.amount)
    last = statement.history[-1]
    shown = page.usage
    equal("messages are", (shown.outbound_messages, shown.inbound_messages),
          "the history says", (last.messages_sent, last.messages_received))  # fmt: skip
    equal("segments are", (shown.outbound_segments, shown.inbound_segments),
          "the history says", (last.segments_sent, last.segments_received))  # fmt: skip
    equal("messages with a direction are", shown.messages, "all messages are", _total(mine.values(), "messages"))
    explored = explore.within(page.explorer, page.month.first, page.month.days[-1])
    burned = _total(mine.values(), "credits")
    for what, count in (("messages", shown.messages), ("segments", shown.segments), ("credits", burned)):
        equal(
            f"{what} of everyone in the explorer are",
            sum(s.total(what) for s in explored.series),
            "the month has",
            count,
        )
    equal("the history's last total is", last.total, "the statement's", page.total.now)


def _same_exact(statement: Statement, page: Page, mine: Mapping[str, Mapping]) -> None:
    """Line by line, what the statement charges is what the days and the month add up to, to the last decimal."""
    monthly = statement.monthly.select("line", "charge").rows()
    behind: dict[str, Decimal] = {}
    for line, charge in (*((line, row["charge"]) for line, row in mine.items()), *monthly):
        behind[line] = behind.get(line, ZERO) + (charge or ZERO)
    stated: dict[str, Decimal] = {}
    for row in page.lines:
        if row["section"] == "usage" or (row["section"] == "product" and row["line"] in PRODUCT_LINES):
            stated[row["line"]] = stated.get(row["line"], ZERO) + row["amount_exact"]
    for line in sorted(behind.keys() | stated.keys()):
        same(statement.statement_id, f"exact charge lines of {line} add up to", stated.get(line, ZERO),
             "the days and the month to", behind.get(line, ZERO))  # fmt: skip
    if both := {line for line, row in mine.items() if row["charged"]} & {line for line, charge in monthly if charge}:
        raise DoesNotAddUp(f"{statement.statement_id}: {', '.join(sorted(both))} charged by the day and by the month")
