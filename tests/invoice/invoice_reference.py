"""What the comparison should find, counted one record at a time with Python's own numbers. Slow and plain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction

CENT = Decimal("0.01")


def counted(events: Iterable[Mapping]) -> dict[str, list]:
    """Category → [records with a price, their quantity, their cost, records without a price, their quantity]."""
    found: dict[str, list] = defaultdict(lambda: [0, 0, Decimal(0), 0, 0])
    for e in events:
        if e["outcome"] != "accepted" or e["vanished"]:
            continue
        cost, names = e["provider_cost"], []
        if e["kind"] == "message" and e["status"] == "failed":
            names, quantity, cost = ["failed-message-processing-fee"], 1, Decimal(0)
        elif e["kind"] == "message" and e["type"] in ("sms", "mms"):
            names, quantity = [e["type"], f"{e['type']}-{e['direction']}"], e["segments"] if e["type"] == "sms" else 1
        elif e["kind"] == "call" and e["answered_seconds"] > 0:
            names, quantity = ["calls", f"calls-{e['direction']}"], -(-e["answered_seconds"] // 60)
        elif e["kind"] == "recording":
            names, quantity = ["recordings"], -(-e["answered_seconds"] // 60)
        for name in names:
            if cost is None:
                found[name][3] += 1
                found[name][4] += quantity
            else:
                found[name][0] += 1
                found[name][1] += quantity
                found[name][2] += cost
    return dict(found)


def split(variance: Decimal, quantity: Decimal, ours: Decimal, amount: Decimal) -> tuple[Decimal, Decimal]:
    """(quantity part, price part) with fractions: (Q − q) × a/q, half-up to nine decimals, and the rest."""
    if not ours:
        return (variance, Decimal(0)) if quantity else (Decimal(0), variance)
    exact = (Fraction(quantity) - Fraction(ours)) * Fraction(amount) / Fraction(ours)
    with localcontext() as context:
        context.prec = 80
        digits = Decimal(exact.numerator) / Decimal(exact.denominator)
        part = digits.quantize(Decimal("1e-9"), ROUND_HALF_UP)
        return part, variance - part


def verdict(entry: Mapping, ours: list) -> str:
    """Of a line without carrier fees, records that wait, late, vanished or failed ones."""
    records, quantity, cost = ours[:3]
    same = entry["quantity"] in (None, quantity) and entry["count"] in (None, records)
    if same and entry["amount"] == cost:
        return "ok"
    return "explained" if same and abs(entry["amount"] - cost) <= CENT else "unexplained"
