"""A comparison as an operator reads it: the cells of a table, and a sentence for whatever is not plainly ok."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal

from etl.invoice.compare import OK, UNEXPLAINED, Comparison, Row
from etl.invoice.files import Invoice

TITLES = (
    "lines", "category", "from", "quantity", "ours", "amount", "+ fees", "our amount", "variance", "by quantity",
    "by price", "verdict",
)  # fmt: skip
NUMERIC = (3, 4, 5, 6, 7, 8, 9, 10)
MOST, NAMED = 60, 8
"""Rows of a table; places named in one sentence."""


def told(rows: Sequence[Row]) -> list[Row]:
    """The rows worth a line of a table: not those of nothing on both sides; of many, only what is unexplained and the
    totals, and at most `MOST` of these."""
    some = [r for r in rows if r.amount or r.our_amount or r.verdict != OK]
    return some if len(some) <= MOST else [r for r in some if r.verdict == UNEXPLAINED or r.role == "total"][:MOST]


def cells(row: Row) -> tuple[str, ...]:
    """One row under `TITLES`; an empty cell is not known or does not apply."""
    indent, of = ("  ", "") if row.role == "part" else ("", " (sum of its parts)" if row.role == "sum" else "")
    numbers = " ".join(map(str, row.lines[:3])) + (f" … {len(row.lines)}" if len(row.lines) > 3 else "")
    return (
        numbers or "none", f"{indent}{row.category}{of}", f"{row.start:%m-%d}", _number(row.quantity),
        _number(row.our_quantity), amount(row.amount), amount(row.fees) if row.fees else "", _optional(row.our_amount),
        amount(row.variance), _optional(row.quantity_part), _optional(row.price_part), row.verdict,
    )  # fmt: skip


def sentences(rows: Sequence[Row]) -> Iterator[str]:
    """Why rows are what they are, what is unexplained first; rows of one reason share a sentence."""
    accounts, periods = {r.provider_account for r in rows}, {(r.start, r.end) for r in rows}
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        whose = f" of {row.provider_account}" if len(accounts) > 1 else ""
        days = f"{row.start}" if row.start == row.end else f"{row.start} to {row.end}"
        where = f"{row.category}{whose}{f' ({days})' if len(periods) > 1 else ''}"
        if row.reading:
            reasons["", f"carrier fees are {row.reading} (says {row.reading_by})"].append(where)
        if row.why:
            reasons[row.verdict, row.why].append(where)
    for (verdict, why), places in sorted(reasons.items(), key=lambda item: item[0][0] != UNEXPLAINED):
        more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
        yield f"{', '.join(places[:NAMED])}{more}: {verdict}{': ' if verdict else ''}{why}"


def apart(invoice: Invoice) -> Iterator[str]:
    """The lines that were not compared, each with its reason."""
    for what, lines in (("refused", invoice.refused), ("set aside", invoice.aside)):
        for one in lines:
            money = "" if one.amount is None else f" {amount(one.amount)}"
            yield f"{what}: line {one.number} ({one.category}{money}): {one.reason}"


def sums(found: Comparison) -> str:
    """The last line: both sides and the difference."""
    return (
        f"invoice {amount(found.invoice)}, ours {amount(found.ours)}: difference {amount(found.difference)} = "
        f"explained {amount(found.explained)} + unexplained {amount(found.unexplained)}"
    )


def amount(value: Decimal) -> str:
    """Two decimals at least, and as many more as it has."""
    text = f"{value:f}"
    whole, _, rest = text.partition(".")
    shown = f"{whole}.{rest.rstrip('0'):0<2}"
    return shown.removeprefix("-") if not value else shown


def _optional(value: Decimal | None) -> str:
    return "" if value is None else amount(value)


def _number(value: Decimal | None) -> str:
    return "" if value is None else f"{value:f}".rstrip("0").rstrip(".") if value % 1 else f"{int(value)}"
