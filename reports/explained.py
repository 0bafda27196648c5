"""Where each amount of a month's page comes from: ``explained.html``, one section for each line of the statement, and the
anchors by which the page's amounts lead there.

It says what ``python -m etl explain`` says of each line. What is long is folded, and cut where the page would be too large.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from etl.explain import Explanation, Told, opening, told, verdicts
from reports import pages
from reports.charges import ChargeRow, TaxRow
from reports.corrected import CorrectedLine, CorrectedMonth, label
from reports.formats import Formats, month_year
from reports.links import PAGE, Links
from reports.model import Page
from reports.naming import TAX_NAMES, line_name, masked, presentable

EXPLAINED = "explained.html"

_NAMED = ("rate id", "rate was", "rate is", "record id", "line", "item", "what")
"""Columns with words from outside: no phone number in them is shown."""
_TOTALS = ("total", "product_total")


# ------------------------------------------------------------------------------------------------ anchors


@dataclass(frozen=True)
class Sum:
    """An amount of the page that adds up several lines of the statement: its anchor, its name, the lines' positions."""

    anchor: str
    label: str
    positions: tuple[int, ...]


class Anchors:
    """Where the amounts of a page are explained: ``line-<position>``, or the anchor of a `Sum`. ``href`` is the link to
    ``explained.html``; an amount that no line of the statement gave rise to has no link."""

    def __init__(self, page: Page, href: str = "") -> None:
        self.href = href
        self._found: dict[tuple, list[int]] = defaultdict(list)
        self._labels: dict[tuple, str] = {}
        for row in page.lines:
            for kind, key, name in _rows_of(row):
                self._found[kind, key].append(row["position"])
                self._labels.setdefault((kind, key), name)

    def charge(self, row: ChargeRow) -> str | None:
        """Of a row of the charges, or a part of one."""
        return self._to("part", _part(row.key._asdict())) or self._to("group", row.key.line)

    def carrier(self, row: ChargeRow, carrier: str | None) -> str | None:
        """Of a carrier's fees, or a part of them."""
        if row.key.unit is None and not row.parts:  # all the others in one row
            return self._to("group", row.key.line)
        return self._to("feepart", (carrier, _part(row.key._asdict()))) or self._to("carrier", carrier)

    def tax(self, row: TaxRow) -> str | None:
        """Of a level of taxes, or one tax."""
        return self._to("tax", (row.level, row.label, row.jurisdiction)) or self._to("level", row.level)

    def correction(self, month: CorrectedMonth, row: CorrectedLine | None = None) -> str | None:
        """Of the corrections of a closed month, or one of them."""
        one = self._to("correction", (str(month.month), row.label, row.place)) if row else None
        return one or self._to("month", str(month.month))

    def section(self, name: str) -> str | None:
        """Of a whole section: ``usage``, ``rounding``, ``total``, ``product_total``."""
        return self._to("section", name)

    @property
    def sums(self) -> tuple[Sum, ...]:
        return tuple(
            Sum(f"{kind}-{positions[0]}", self._labels[kind, key], tuple(positions))
            for (kind, key), positions in self._found.items()
            if len(positions) > 1
        )

    def _to(self, kind: str, key: object) -> str | None:
        positions = self._found.get((kind, key))
        if not positions:
            return None
        return f"{self.href}#{'line' if len(positions) == 1 else kind}-{positions[0]}"


def _rows_of(row: dict) -> Iterator[tuple[str, object, str]]:
    """(kind, key, name) of every amount of the page that a statement line is in."""
    section, line = row["section"], row["line"]
    yield "section", section, "Charges" if section == "usage" else line_name(section)
    if section == "usage":
        yield "group", line, line_name(line)
        yield "part", _part(row), label(row)[0]
        if line == "carrier_fee":
            carrier = presentable(row["carrier"]) if row["carrier"] else "Other carriers"
            yield "carrier", row["carrier"], f"Carrier fees: {carrier}"
            yield "feepart", (row["carrier"], _part(row)), f"{label(row)[0]}, {carrier}"
    elif section == "tax":
        level = row["tax_level"] or "other"
        name, place = presentable(row["item"] or "Tax"), presentable(row["jurisdiction"] or "")
        yield "level", level, TAX_NAMES[level]
        yield "tax", (level, name, place), ", ".join(filter(None, (name, place)))
    elif section == "correction":
        yield "month", row["for_month"], f"Corrections of {row['for_month']}"
        yield "correction", (row["for_month"], *label(row)), f"{label(row)[0]}, correction of {row['for_month']}"


def _part(row: dict) -> tuple:
    registered = row["registered"] if row["line"] == "carrier_fee" else None
    return row["line"], row["direction"], row["type"], registered, row["unit"], row["item"]


# ------------------------------------------------------------------------------------------------ the page


@dataclass(frozen=True)
class Detail:
    """How much of each line is shown: days, example records, rows of other tables, lines in sections of their own (the
    others are one row each), and rows of what all was computed from."""

    days: int
    records: int
    rows: int
    whole: int
    partitions: int


LEVELS = (
    Detail(31, 5, 60, 400, 800),
    Detail(31, 2, 24, 80, 500),
    Detail(10, 2, 12, 60, 300),
    Detail(3, 1, 6, 60, 120),
    Detail(0, 1, 3, 20, 40),
    Detail(0, 0, 0, 0, 20),
)
"""The first that makes a page small enough is taken."""


@dataclass(frozen=True)
class Table:
    """A table as it is drawn. ``more`` rows are left out; ``folded`` ones are opened by a click."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    after: tuple[str, ...] = ()
    more: int = 0
    folded: bool = False

    @property
    def cells(self) -> list[list[tuple[str, str, bool]]]:
        """(text, class, whether it is the row's name) of every cell."""
        kinds = ["" if numeric else "t" for numeric in self.numeric]
        return [[(text, kinds[i], i == 0) for i, text in enumerate(row)] for row in self.rows]


@dataclass(frozen=True)
class Line:
    """A line of the statement as it is explained."""

    position: int
    title: str
    amount: str
    said: tuple[str, ...]
    tables: tuple[Table, ...]
    verdicts: tuple[tuple[bool, str], ...]
    notes: tuple[str, ...]
    read: str
    sound: bool


@dataclass(frozen=True)
class Group:
    """Lines under one heading: those in sections of their own, then those in one row each."""

    anchor: str
    title: str
    lines: tuple[Line, ...]
    short: tuple[Line, ...]


def page_of(
    page: Page, explanations: Iterable[Explanation], links: Links, *, contact: str | None = None
) -> bytes | None:
    """``explained.html`` of a month's page. None where even one row for each line is more than a page may have."""
    found = {e.line["position"]: e for e in explanations}
    for detail in LEVELS:
        data = pages.explained(**_values(page, found, links, detail), contact=contact)
        if len(data) <= pages.LIMIT:
            return data
    return None


def _values(page: Page, found: dict[int, Explanation], links: Links, detail: Detail) -> dict[str, object]:
    f = Formats(page.locale, page.currency)
    anchors = Anchors(page)
    left = detail.whole
    groups: dict[tuple[str, str], list[dict]] = {}
    for row in page.lines:
        if row["position"] in found:
            groups.setdefault(_group(row), []).append(row)
    drawn = []
    for (anchor, title), rows in groups.items():
        number = len(rows) if rows[0]["section"] in _TOTALS else min(left, len(rows))
        left -= number
        lines = [_line(row, found[row["position"]], f, detail) for row in rows]
        drawn.append(Group(anchor, title, tuple(lines[:number]), tuple(replace(n, tables=()) for n in lines[number:])))
    every = list(found.values())
    return {
        "page": page,
        "f": f,
        "groups": drawn,
        "sums": [(s, f.money(_amount(s, page)), _positions(s)) for s in anchors.sums],
        "partitions": _partitions(every, detail.partitions),
        "raw": _raw_pages(every, detail.partitions),
        "unsound": sum(not e.sound for e in every),
        "month": links.file(PAGE),
    }


def _group(row: dict) -> tuple[str, str]:
    """(anchor, heading) of the lines a line is shown among."""
    section, line = row["section"], row["line"]
    if section == "usage":
        return f"of-{line}", line_name(line)
    if section == "tax":
        level = row["tax_level"] or "other"
        return f"of-{level}-taxes", TAX_NAMES[level]
    if section.endswith("correction"):
        products = ", products paid apart" if section != "correction" else ""
        return f"of-{section}-{row['for_month']}", f"Corrections of {row['for_month']}{products}"
    names = {"product": "Products, paid apart", "product_total": "Products, paid apart"}
    return (f"of-{section.removesuffix('_total')}", names.get(section, line_name(section)))


def _title(row: dict) -> str:
    if row["section"] in _TOTALS:
        return {"total": "Total", "product_total": "All products"}[row["section"]]
    name, place = label(row)
    return ", ".join(filter(None, (name, place, presentable(row["carrier"] or ""))))


def _amount(one: Sum, page: Page) -> Decimal:
    wanted = set(one.positions)
    return sum((row["amount"] for row in page.lines if row["position"] in wanted), Decimal(0))


def _positions(one: Sum, most: int = 40) -> tuple[tuple[int, ...], int]:
    """(the first lines of a sum, how many more there are)."""
    return one.positions[:most], max(len(one.positions) - most, 0)


def _line(row: dict, found: Explanation, f: Formats, detail: Detail) -> Line:
    said, *more = opening(found)
    tables = [_table(t, detail) for t in told(replace(found, partitions=(), pages=()))]
    return Line(
        position=row["position"], title=_title(row), amount=f.money(row["amount"]),
        said=tuple(masked(sentence) for sentence in (said, *more)),
        tables=tuple(t for t in tables if t.rows or t.more), verdicts=verdicts(found),
        notes=tuple(map(masked, found.notes)), read=_read(found), sound=found.sound,
    )  # fmt: skip


def _table(one: Told, detail: Detail) -> Table:
    most = {"days": detail.days, "records": detail.records}.get(one.name, detail.rows)
    hidden = [i for i, column in enumerate(one.columns) if column in _NAMED]
    rows = [tuple(masked(cell) if i in hidden else cell for i, cell in enumerate(row)) for row in one.rows[:most]]
    title = f"{len(rows)} of the records" if one.name == "records" else one.title
    folded = one.name in ("days", "records") or len(rows) > 12
    after = tuple(map(masked, one.after[:most]))
    more = 0 if one.name == "records" else len(one.rows) - len(rows)
    return Table(title, one.columns, tuple(rows), one.numeric, after, more, folded)


def _read(found: Explanation) -> str:
    """What a line was read from, in one sentence; the versions and pages themselves stand once, below all lines."""
    datasets: dict[str, int] = defaultdict(int)
    for one in found.partitions:
        datasets[one["partition"].partition("/")[0]] += 1
    said = "Computed from " + ", ".join(f"{count} × {name}" if count > 1 else name for name, count in datasets.items())
    resources: dict[str, int] = defaultdict(int)
    for one in found.pages:
        resources[f"{one['source']} {one['resource'] or 'pages erased since'}"] += one["pages"]
    if not resources:
        return f"{said}."
    return f"{said}; its records stand on " + ", ".join(f"{n} raw pages: {what}" for what, n in resources.items()) + "."


def _partitions(found: Iterable[Explanation], most: int) -> Table:
    """Every version that any line was computed from, once."""
    entries = {(p["partition"], p["seq"]): p for e in found for p in e.partitions}
    rows = [
        (p["partition"], str(p["seq"]), p["sha256"][:12], str(p["rows"]), p["recorded_at"][:19], p["run_id"])
        for _, p in sorted(entries.items(), key=lambda item: (item[0][0].partition("/")[0] != "statement", item[0]))
    ]
    codes = sorted({f"code {p['code'][:12]}, settings {p['config'][:12]}" for p in entries.values()})
    columns = ("partition", "seq", "sha256", "rows", "recorded at (UTC)", "run id")
    return Table(
        "computed from", columns, tuple(rows[:most]), (False, True, False, True, False, False), tuple(codes[:6]),
        max(len(rows) - most, 0), True,
    )  # fmt: skip


def _raw_pages(found: Iterable[Explanation], most: int) -> Table | None:
    """Every raw page that a record behind any line stands on, by day, source and resource."""
    pages_of: dict[tuple, set[str]] = defaultdict(set)
    for one in (page for e in found for page in e.pages):
        pages_of[str(one["date"]), one["source"], one["resource"] or "erased since"] |= {*one["sha256"]}
    rows = []
    for (day, source, resource), hashes in sorted(pages_of.items()):
        first, rest = sorted(hashes)[:4], len(hashes) - 4
        said = " ".join(sha[:12] for sha in first) + (f" and {rest} more" if rest > 0 else "")
        rows.append((day, source, resource, str(len(hashes)), said))
    if not rows:
        return None
    columns, numeric = ("date", "source", "resource", "pages", "sha256"), (False, False, False, True, False)
    return Table("raw pages", columns, tuple(rows[:most]), numeric, (), max(len(rows) - most, 0), True)


def title(page: Page) -> str:
    """What the page is called."""
    return f"{page.account_name}: {month_year(page.month)} explained"
