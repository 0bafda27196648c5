"""Every sum a reader could check, checked: the report against itself, and our records against the provider's own totals.

Each figure is added up again from the rows that are shown or stored, by another way than it came about. What the
provider charges for its side is not known here: only counts, segments and minutes are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl

from etl.schemas import PRODUCT_LINES
from etl.statement import Statement
from reports.charges import ZERO
from reports.corrected import BILLED

if TYPE_CHECKING:
    from reports.model import Page

MATCH, EXPLAINED, DIFFERS, NOT_COMPARED = "match", "explained", "differs", "not compared"

_MEASURES = (
    ("Texts sent", ("sms-outbound", "mms-outbound"), "count"),
    ("Segments sent", ("sms-outbound",), "quantity"),
    ("Texts received", ("sms-inbound", "mms-inbound"), "count"),
    ("Segments received", ("sms-inbound",), "quantity"),
    ("Failed texts", ("failed-message-processing-fee",), "count"),
    ("Outbound calls", ("calls-outbound",), "count"),
    ("Outbound minutes", ("calls-outbound",), "quantity"),
    ("Inbound calls", ("calls-inbound",), "count"),
    ("Inbound minutes", ("calls-inbound",), "quantity"),
    ("Recordings", ("recordings",), "count"),
    ("Recorded minutes", ("recordings",), "quantity"),
)
"""What a page calls it, the provider's categories of it, and which column of them."""
TEXTS = ("sms-outbound", "sms-inbound", "mms-outbound", "mms-inbound")


@dataclass(frozen=True)
class Reason:
    """Why two figures differ or were not compared, on which days, and how many records explain it."""

    text: str
    days: tuple[date, ...] = ()
    records: int = 0


@dataclass(frozen=True)
class Check:
    """Two figures that should be one. ``unit``: money (exact) | count | texts. Figures are None where there is nothing to
    show."""

    what: str
    verdict: str
    ours: Decimal | None = None
    theirs: Decimal | None = None
    difference: Decimal | None = None
    unit: str = "count"
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class Proof:
    """``own``: the report's sums. ``provider``: our records against its totals, over ``compared`` of ``loaded`` days.
    ``rows``: `etl.statement.RECONCILED`."""

    own: tuple[Check, ...] = ()
    provider: tuple[Check, ...] = ()
    compared: int = 0
    loaded: int = 0
    rows: tuple[dict, ...] = field(default=(), repr=False)

    def count(self, verdict: str) -> int:
        return sum(check.verdict == verdict for check in (*self.own, *self.provider))


def build(page: Page, statement: Statement) -> Proof:
    """The checks of a page that is added up and complete but for them."""
    rows = tuple(statement.reconciled.iter_rows(named=True))
    loaded = {row.day for row in page.days if row.usage is not None}
    compared = loaded - set(statement.uncompared) if statement.own_provider else set()
    return Proof(
        own=tuple(_own(page, statement, compared)),
        provider=tuple(_provider(rows, statement)),
        compared=len(compared),
        loaded=len(loaded),
        rows=rows,
    )


# ------------------------------------------------------------------------------------------------ the report itself


def _own(page: Page, statement: Statement, compared: set[date]) -> Iterator[Check]:
    parts = [part for row in (*page.charges, *page.taxes) for part in (row.parts or (row,))]
    more = (" + taxes" if page.taxes else "") + (" + rounding difference" if page.rounding is not None else "")
    more += " + corrections" if page.corrections.months else ""
    total = _sum(part.amount for part in parts) + (page.rounding or ZERO)
    total += _sum(line.amount for month in page.corrections.months for line in month.rows)
    yield _same(f"Charge lines{more} = total", page.total.now, total, "money")

    exact = _sum(row["amount_exact"] for row in page.lines if row["section"] == "usage")
    monthly = _sum(row["charge"] for row in page.monthly if row["line"] not in PRODUCT_LINES)
    by_day = _sum(row.usage.charge for row in page.days if row.usage)
    yield _same("Days + charges by the month = charge lines", exact, by_day + monthly, "money", "Before rounding.")

    owners = [*page.members.rows, *page.inboxes.rows, *([page.unassigned] if page.unassigned else [])]
    theirs = _sum(row.usage.charge + row.by_month for row in owners) + _sum(r.exact for r in page.account_charges)
    people = "members + shared inboxes" + (" + unassigned" if page.unassigned else "")
    whole = " + account" if page.account_charges else ""
    yield _same(f"Charges of {people}{whole} = charge lines", exact, theirs, "money", "Before rounding.")

    if page.usage.segments:
        days = sum(row.usage.segments for row in page.days if row.usage)
        yield _same("Segments of all days = month", page.usage.segments, days)
        yield _same(f"Segments of {people} = month", page.usage.segments, sum(r.usage.segments for r in owners))
        yield _counted_twice(page.quality.segments_differ)
    if page.carriers:
        fees = _sum(row.amount for row in page.charges if row.key.line == "carrier_fee")
        yield _same("Carrier fees by carrier = carrier fees", fees, _sum(row.amount for row in page.carriers), "money")
    if page.corrections.rows:
        stated = _sum(row["amount_exact"] for row in page.lines if row["section"] in BILLED)
        behind = _sum(row["amount_exact"] for row in page.corrections.rows)
        yield _same("Corrections, record by record = their lines", stated, behind, "money", "Before rounding.")
    if page.revised:
        moved = _sum(change.difference for change in page.revised.changes)
        what = f"Revision {page.revised.replaces} + what changed = revision {page.revised.revision}"
        yield _same(what, page.total.now, page.revised.total.before + moved, "money")
    if page.products:
        products = _sum(row.amount for row in page.products.rows)
        yield _same("Products, one by one = their total", page.products.total, products, "money")
    if page.credits:
        moved = sum(row.total for row in page.credits.rows)
        yield _same("Credits opened with + added − used − lost = left", page.credits.left, moved)
        yield from _credits_of_texts(statement)
    if compared:
        yield from _texts_compared(statement, compared)


def _same(what: str, ours, theirs, unit: str = "count", note: str = "") -> Check:
    ours, theirs = Decimal(ours), Decimal(theirs)
    verdict = MATCH if ours == theirs else DIFFERS
    return Check(what, verdict, ours, theirs, ours - theirs, unit, (Reason(note),) if note else ())


def _counted_twice(differ: int) -> Check:
    reasons = (Reason("The provider counts other segments than we do; the provider’s count is billed."),)
    verdict = EXPLAINED if differ else MATCH
    what = "Our segments = the provider’s, text by text"
    return Check(what, verdict, difference=Decimal(differ), unit="texts", reasons=reasons if differ else ())


def _credits_of_texts(statement: Statement) -> Iterator[Check]:
    """The ledger knows nothing of what was burned before it began; from its first whole day on it must be everything."""
    ledger = statement.ledger.sort("position")
    first = ledger.row(0, named=True)
    since = first["date"] + timedelta(days=0 if first["entry"] in ("open", "grant") else 1)
    last = statement.month.days[-1]
    if since > last:
        return
    # What a correction left uncovered was used in the month it is for.
    moved = ledger.filter(pl.col("date") >= since, pl.col("for_month").is_null())
    used = moved.filter(pl.col("entry") == "overage")["credits"].sum()
    used -= moved.filter(pl.col("entry") == "burn")["credits"].sum()
    taken = statement.daily.filter(pl.col("date").is_between(since, last))["credits"].sum()
    what = "Credits used + not covered" if statement.ledger["entry"].is_in(["overage"]).any() else "Credits used"
    yield _same(f"{what} = credits of all texts", used, taken)


def _texts_compared(statement: Statement, compared: set[date]) -> Iterator[Check]:
    """What is set against the provider's totals is what this report is about: a text of the provider account that is on
    another account's statement, or the other way round, is seen here."""
    on = pl.col("date").is_in(sorted(compared))
    texts = statement.daily.filter(on, pl.col("line") == "text", pl.col("type").is_in(["sms", "mms"]))
    rows = statement.reconciled.filter(on, pl.col("category").is_in(TEXTS))
    ours = texts["messages"].sum()
    # A record that is no longer listed stays billed, and is in no total.
    theirs = rows["count"].sum() + rows["unpriced"].sum() + texts["vanished"].sum()
    if not ours and not theirs:
        return
    found = _same("Texts of this report = texts compared", ours, theirs)
    if found.verdict == DIFFERS:
        more = "texts of the provider account that are not in this report"
        less = "texts of this report that are not of its provider account"
        found = Check(found.what, DIFFERS, found.ours, found.theirs, found.difference,
                      reasons=(Reason(f"There are {more if ours < theirs else less}."),))  # fmt: skip
    yield found


def _sum(amounts: Iterable[Decimal | None]) -> Decimal:
    return sum((amount for amount in amounts if amount is not None), ZERO)


# ------------------------------------------------------------------------------------------------ the provider


def _provider(rows: tuple[dict, ...], statement: Statement) -> Iterator[Check]:
    if not (statement.own_provider and statement.comparison_kept):
        alone = (
            "No provider account is this account’s alone, so the provider’s totals cannot be set against this report."
        )
        reason = alone if statement.comparison_kept else "This month was closed before comparisons were kept."
        yield Check("The provider’s totals", NOT_COMPARED, reasons=(Reason(reason),))
        return
    told = [row for row in rows if row["verdict"] != "no totals"]
    for what, categories, column in _MEASURES:
        mine = [r for r in told if r["category"] in categories and (column == "count" or r["usage_unit"] != "messages")]
        if any(r[column] or r[f"ledger_{column}"] for r in mine):
            yield _measured(what, mine, column)
    silent = _days(row for row in rows if row["verdict"] == "no totals" and row["count"] + row["unpriced"])
    if silent:
        yield Check("Records of a source that gives no totals", NOT_COMPARED, reasons=(Reason("", silent),))
    if statement.uncompared:
        yield Check("Days not compared", NOT_COMPARED, reasons=(Reason("", statement.uncompared),))


def _measured(what: str, rows: list[dict], column: str) -> Check:
    ours, theirs = (Decimal(sum(row[name] or 0 for row in rows)) for name in (column, f"ledger_{column}"))
    differing = [row for row in rows if row[column] != row[f"ledger_{column}"]]
    unexplained = [row for row in differing if row["verdict"] != EXPLAINED]
    explained = [row for row in differing if row["verdict"] == EXPLAINED]
    whys = sorted({row["why"] for row in unexplained})
    reasons = [Reason(why, _days(row for row in unexplained if row["why"] == why)) for why in whys]
    if explained:
        waiting = sum(row["unpriced"] for row in explained)
        reasons.append(Reason("no provider price yet", _days(explained), waiting))
    verdict = DIFFERS if unexplained else EXPLAINED if explained else MATCH
    return Check(what, verdict, ours, theirs, ours - theirs, reasons=tuple(reasons))


def _days(rows: Iterable[dict]) -> tuple[date, ...]:
    return tuple(sorted({row["date"] for row in rows}))
