"""Corrections of closed months on a statement, and what a new revision says otherwise than the one it replaces.

Rows only group and compare what the statement's lines and its `schemas.Corrections` say. `build` raises `DoesNotAddUp`
where the records behind a correction do not come to its line.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl

from etl.periods import Month
from etl.schemas import KINDS, LINES, REASONS, SECTIONS
from etl.statement import Statement
from reports.charges import ZERO, Change, Key, measured, part_name
from reports.checks import same
from reports.formats import month_year
from reports.naming import item_name, line_name, masked, presentable

BILLED = {"correction": "total", "product_correction": "product_total"}
"""Sections of corrections → the total they are in."""
LINE = (
    "line", "item", "direction", "type", "carrier", "registered", "tax_level", "jurisdiction", "rate_id", "unit",
)  # fmt: skip
"""What a correction has in common with the line it corrects."""
ADDED, GONE, CHANGED = "added", "gone", "changed"
CHANGES = (ADDED, GONE, CHANGED)
FOLLOWS = "follows"
"""The reason of what is computed from other corrections."""


@dataclass(frozen=True)
class Why:
    """So many records of one kind, the UTC days they are of, and the reason (`schemas.REASONS`) they are corrected for.
    ``records`` is 0 for what has no record."""

    reason: str
    kind: str | None = None
    records: int = 0
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True)
class CorrectedLine:
    """What a correction makes of one line of a closed month. ``quantity`` is signed, in ``unit``; ``unrated`` records have
    no price yet and are not in the amount."""

    line: str
    label: str
    place: str
    amount: Decimal
    quantity: Decimal | None
    unit: str | None
    whys: tuple[Why, ...]
    unrated: int = 0


@dataclass(frozen=True)
class CorrectedMonth:
    """The corrections of one closed month. ``records`` are counted once, on however many lines they are."""

    month: Month
    amount: Decimal
    records: int
    whys: tuple[Why, ...]
    rows: tuple[CorrectedLine, ...]


@dataclass(frozen=True)
class Corrections:
    """``months`` come to ``change.now``, which is in the total, and ``products`` are in the total of the products; oldest
    first. ``rows`` are `schemas.Corrections` with ``position``, that of the statement's line."""

    months: tuple[CorrectedMonth, ...]
    products: tuple[CorrectedMonth, ...]
    change: Change
    rows: tuple[dict, ...] = field(repr=False)


@dataclass(frozen=True)
class LineChange:
    """A line that one of two revisions has otherwise than the other; None where it has none. ``row`` is the line as the
    newer one has it, or the older one where only that has it."""

    label: str
    place: str
    kind: str
    before: Decimal | None
    after: Decimal | None
    row: Mapping = field(repr=False)
    was: Mapping | None = field(repr=False, default=None)

    @property
    def difference(self) -> Decimal:
        return (self.after or ZERO) - (self.before or ZERO)


@dataclass(frozen=True)
class Revised:
    """What a revision says otherwise than the one before it: lines of the total, lines of the products, both totals."""

    revision: int
    reason: str
    at: datetime | None
    changes: tuple[LineChange, ...]
    products: tuple[LineChange, ...]
    total: Change
    product_total: Change

    @property
    def replaces(self) -> int:
        return self.revision - 1


# ------------------------------------------------------------------------------------------------ corrections


def build(statement: Statement, lines: Iterable[dict], before: Iterable[dict] | None) -> Corrections:
    """The corrections of a statement. ``lines`` are its lines, ``before`` those of the month before, as they are shown."""
    mine = [row for row in lines if row["section"] in BILLED]
    rows = _rows(statement.corrections, mine)
    _same_exact(statement.statement_id, rows, mine)
    change = Change(_amount(mine), None if before is None else _amount(before))
    return Corrections(
        months=tuple(_months(mine, rows, "correction")),
        products=tuple(_months(mine, rows, "product_correction")),
        change=change,
        rows=rows,
    )


def _amount(rows: Iterable[dict]) -> Decimal:
    return sum((row["amount"] for row in rows if row["section"] == "correction"), ZERO)


def _rows(corrections: pl.DataFrame, lines: Iterable[dict]) -> tuple[dict, ...]:
    """The rows as they are shown: no phone number in what people wrote, nor in an id. Two ids stay two."""
    places = {_key(row): row["position"] for row in lines}
    ids: dict[str, str] = {}
    taken: dict[str, int] = {}
    found = []
    for row in corrections.iter_rows(named=True):
        shown = row | {name: row[name] and masked(row[name]) for name in ("item", "jurisdiction")}
        if (known := row["record_id"]) is not None:
            if known not in ids:
                hidden = masked(known)
                taken[hidden] = taken.get(hidden, 0) + 1
                ids[known] = hidden if taken[hidden] == 1 else f"{hidden} ({taken[hidden]})"
            shown["record_id"] = ids[known]
        found.append(shown | {"position": places.get(_key(shown))})
    return tuple(found)


def _key(row: Mapping) -> tuple:
    """What tells correction lines apart: of a record's row and of a statement's line alike."""
    products = row["section"] in ("product", "product_correction")
    return products, row["for_month"], *(row[name] for name in LINE)


def _same_exact(statement_id: str, rows: Iterable[dict], lines: Iterable[dict]) -> None:
    sums: dict[tuple, list] = defaultdict(lambda: [ZERO, ZERO])
    for n, some in enumerate((lines, rows)):
        for row in some:
            sums[_key(row)][n] += row["amount_exact"]
    for key, (stated, behind) in sums.items():
        what = f"the correction of {key[1]}, {key[2]} comes exactly to"
        same(statement_id, what, stated, "its records to", behind)


def _months(lines: Iterable[dict], rows: Iterable[dict], section: str) -> Iterable[CorrectedMonth]:
    products = section == "product_correction"
    by_month: dict[str, list[dict]] = defaultdict(list)
    for line in lines:
        if line["section"] == section:
            by_month[line["for_month"]].append(line)
    behind: dict[str, list[dict]] = defaultdict(list)
    for row in rows:
        if (row["section"] == "product") == products:
            behind[row["for_month"]].append(row)
    for month in sorted(by_month):
        # Records whose lines came out as they were are no correction.
        placed = [row for row in behind[month] if row["position"] is not None]
        yield CorrectedMonth(
            month=Month.parse(month),
            amount=sum((line["amount"] for line in by_month[month]), ZERO),
            records=len({_record(row) for row in placed if row["record_id"] is not None}),
            whys=whys(placed),
            rows=tuple(_lines(by_month[month], placed)),
        )


def _lines(lines: Iterable[dict], rows: Iterable[dict]) -> Iterable[CorrectedLine]:
    """One row for each thing that is called otherwise, in statement order: carriers together, as among the charges."""
    behind: dict[int, list[dict]] = defaultdict(list)
    for row in rows:
        behind[row["position"]].append(row)
    groups: dict[tuple, list[dict]] = defaultdict(list)
    for line in lines:
        groups[*label(line), line["unit"]].append(line)
    for (name, place, unit), some in groups.items():
        quantities = [line["quantity"] for line in some if line["quantity"] is not None]
        counted, shown = measured(some[0]["line"], sum(quantities), unit) if quantities else (None, None)
        yield CorrectedLine(
            line=some[0]["line"],
            label=name,
            place=place,
            amount=sum((line["amount"] for line in some), ZERO),
            quantity=counted or None,
            unit=shown,
            whys=whys(row for line in some for row in behind[line["position"]]),
            unrated=sum(line["unrated"] for line in some),
        )


def label(line: Mapping) -> tuple[str, str]:
    """What a line is called by itself, and where a tax is levied: ``Texts: SMS sent``, ``Carrier fees: SMS sent,
    registered``."""
    name, item = line["line"], line["item"]
    if name == "tax":
        return presentable(item or "Tax"), presentable(line["jurisdiction"] or "")
    if name == "rounding":
        return "Rounding difference", ""
    key = Key(name, line["direction"], line["type"], line["registered"], None, item)
    part = item_name(name, item) if item else part_name(key, name == "text")
    return line_name(name) if part == "Other" else f"{line_name(name)}: {part}", ""


def whys(rows: Iterable[Mapping]) -> tuple[Why, ...]:
    """Reasons in the contract's order, records by kind. Taxes and rounding that only follow are told where nothing else is."""
    records: dict[tuple, set] = defaultdict(set)
    days: dict[tuple, list[date]] = defaultdict(list)
    by_hand = False
    for row in rows:
        key = REASONS.index(row["reason"]), row["kind"]
        by_hand = by_hand or (row["reason"] == FOLLOWS and row["line"] not in ("tax", "rounding"))
        records[key] |= {_record(row)} if row["record_id"] is not None else set()
        days[key] += [row["date"]] if row["date"] is not None else []
    order = sorted(records, key=lambda key: (key[0], KINDS.index(key[1]) if key[1] else len(KINDS)))
    found = [
        Why(REASONS[reason], kind, len(records[reason, kind]), *_ends(days[reason, kind])) for reason, kind in order
    ]
    # A reason told with records needs no second sentence for what has none.
    told = {why.reason for why in found if why.records}
    found = [why for why in found if why.records or why.reason not in told]
    first_hand = tuple(why for why in found if why.reason != FOLLOWS)
    return tuple(found) if by_hand or not first_hand else first_hand


def _ends(days: list[date]) -> tuple[date | None, date | None]:
    return (min(days), max(days)) if days else (None, None)


def _record(row: Mapping) -> tuple:
    return row["source"], row["kind"], row["record_id"]


def fewer(month: CorrectedMonth, most: int, name) -> CorrectedMonth:
    """At most ``most`` rows: the largest in their order, and the sum of the others, which ``name`` names by their number."""
    if len(month.rows) <= most:
        return month
    rows = month.rows
    kept = sorted(sorted(range(len(rows)), key=lambda i: -abs(rows[i].amount))[: most - 1])
    rest = [row for i, row in enumerate(rows) if i not in set(kept)]
    whole = CorrectedLine("", name(len(rest)), "", sum((row.amount for row in rest), ZERO), None, None, ())
    return replace(month, rows=(*(rows[i] for i in kept), whole))


# ------------------------------------------------------------------------------------------------ revisions


def revised(statement: Statement, lines: tuple[dict, ...], replaced: tuple[dict, ...]) -> Revised | None:
    """What the revision says otherwise than ``replaced``, the lines of the one before; None for a first revision, and where
    nothing is known of the one before."""
    if statement.revision < 2 or not (replaced or statement.reopened):
        return None
    then, now = ({_line_key(row): row for row in rows} for rows in (replaced, lines))
    changes = [c for key in dict.fromkeys([*now, *then]) if (c := _change(then.get(key), now.get(key)))]
    changes.sort(key=lambda c: (SECTIONS.index(c.row["section"]), _position(c.row["line"])))
    products = ("product", "product_correction")
    return Revised(
        revision=statement.revision,
        reason=presentable(statement.reopened),
        at=datetime.fromisoformat(statement.reopened_at).astimezone(UTC) if statement.reopened_at else None,
        changes=tuple(c for c in changes if c.row["section"] not in products),
        products=tuple(c for c in changes if c.row["section"] in products),
        total=_totals(lines, replaced, "total"),
        product_total=_totals(lines, replaced, "product_total"),
    )


def _position(line: str) -> int:
    return LINES.index(line) if line in LINES else len(LINES)


def _line_key(row: Mapping) -> tuple:
    return row["section"], row["for_month"], *(row[name] for name in LINE), row["currency"]


def _change(was: Mapping | None, now: Mapping | None) -> LineChange | None:
    """None for totals, and where both say the same."""
    row = now or was
    if row["section"].endswith("total"):
        return None
    if was and now and all(was[name] == now[name] for name in ("quantity", "amount_exact", "amount")):
        return None
    name, place = label(row)
    if row["for_month"]:
        name = f"Correction of {month_year(Month.parse(row['for_month']))}, {name}"
    if row["line"] == "carrier_fee" and row["carrier"]:
        place = presentable(row["carrier"])
    kind = CHANGED if was and now else ADDED if now else GONE
    return LineChange(name, place, kind, was and was["amount"], now and now["amount"], row, was)


def _totals(lines: Iterable[dict], replaced: Iterable[dict], section: str) -> Change:
    now, then = (sum((row["amount"] for row in rows if row["section"] == section), ZERO) for rows in (lines, replaced))
    return Change(now, then)


def fewest(changes: tuple[LineChange, ...], most: int) -> tuple[LineChange, ...]:
    """At most ``most`` of them: those that moved most, in their order, and the sum of the others."""
    if len(changes) <= most:
        return changes
    kept = sorted(sorted(range(len(changes)), key=lambda i: -abs(changes[i].difference))[: most - 1])
    rest = [change for i, change in enumerate(changes) if i not in set(kept)]
    before, after = (sum((getattr(change, side) or ZERO for change in rest), ZERO) for side in ("before", "after"))
    whole = LineChange(f"{len(rest)} more, in changes.csv", "", CHANGED, before, after, {})
    return (*(changes[i] for i in kept), whole)
