"""Corrections the slow way: every line and record by hand in plain Python."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

CORRECTED = ("usage", "tax", "rounding", "product")
LINE = (
    "account_id", "section", "line", "item", "direction", "type", "carrier", "registered", "tax_level", "jurisdiction",
    "rate_id", "unit", "currency",
)  # fmt: skip


def lines(closed: list[dict], now: list[dict], booked: list[dict], for_month: str) -> dict[tuple, tuple]:
    """Line → (quantity, exact, amount) still owed, nothing where nothing is."""
    owed: dict[tuple, list] = defaultdict(lambda: [0, Decimal(0), Decimal(0)])

    def add(row: dict, section: str, sign: int) -> None:
        sums = owed[tuple(section if c == "section" else row[c] for c in LINE)]
        sums[0] += sign * (row["quantity"] or 0)
        sums[1] += sign * row["amount_exact"]
        sums[2] += sign * row["amount"]

    for row in now:
        if row["section"] in CORRECTED:
            add(row, row["section"], 1)
    for row in closed:
        if row["section"] in CORRECTED:
            add(row, row["section"], -1)
    for row in booked:
        if row["for_month"] == for_month:
            tax = row["line"] if row["line"] in ("tax", "rounding") else "usage"
            add(row, "product" if row["section"] == "product_correction" else tax, -1)
    return {key: tuple(sums) for key, sums in owed.items() if any(sums)}
