"""What a careful clerk would tax: mission rule 10 once more, row by row, in plain Python and exact fractions.

Slow on purpose and written from the rule, not from the code under test. Rows are dictionaries; money is a Fraction until
`half_up` turns it into the Decimal that is stored.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from decimal import Decimal
from fractions import Fraction
from math import floor

LINE = ("line", "item", "direction", "type", "carrier", "registered", "unit")
BILL = ("account_id", "product", "currency")
RULE = ("tax_id", "level", "jurisdiction", "name", "kind", "rate", "share", "valid_from", "recorded_at")
DIGITS = {"JPY": 0, "KWD": 3}
PLACES = {"service_address": "service_address", "caller": "caller_place", "callee": "callee_place"}


def half_up(amount: Fraction, digits: int) -> Decimal:
    """Halves away from zero."""
    units = floor(abs(amount) * 10**digits + Fraction(1, 2))
    return Decimal(-units if amount < 0 else units).scaleb(-digits)


def nano(amount: Fraction) -> Decimal:
    return half_up(amount, 9)


def cents(amount: Decimal, currency: str) -> Decimal:
    return half_up(Fraction(amount), DIGITS.get(currency, 2))


# ------------------------------------------------------------------------------------------------ which rule


def in_force(rules: list[dict], day: date, as_of: date | None) -> list[dict]:
    """Of each tax the version of the day that was recorded last."""
    chosen: dict[str, dict] = {}
    for rule in rules:
        known = as_of is None or rule["recorded_at"] <= as_of
        valid = rule["valid_from"] <= day and (rule["valid_to"] is None or day < rule["valid_to"])
        before = chosen.get(rule["tax_id"])
        if known and valid and (before is None or before["recorded_at"] < rule["recorded_at"]):
            chosen[rule["tax_id"]] = rule
    return list(chosen.values())


def within(place: str | None, jurisdiction: str) -> bool:
    if place is None:
        return False
    inner, outer = place.split("-"), jurisdiction.split("-")
    return len(inner) >= len(outer) and all(a == b for a, b in zip(inner, outer, strict=False))


def applying(base: dict, rules: list[dict], accounts: list[dict], as_of: date | None) -> list[dict]:
    """The versions that tax one row of usage."""
    account = next(a for a in accounts if a["account_id"] == base["account_id"])
    known = base | {"service_address": account["service_address"]}
    return [
        rule
        for rule in in_force(rules, base["date"], as_of)
        if base["line"] in rule["lines"]
        and within(known[PLACES[rule["sourcing"]]], rule["jurisdiction"])
        and not any(word in ("all", rule["level"], rule["tax_id"]) for word in account["tax_exempt"])
    ]


# ------------------------------------------------------------------------------------------------ how much


def tax(rule: dict, unit: str, amount: Fraction, quantity: int) -> Decimal:
    if rule["kind"] == "percent":
        return nano(amount * Fraction(rule["rate"]) / 100 * Fraction(rule["share"]))
    priced = Fraction(quantity, 60) if unit == "second" else Fraction(quantity)
    return nano(priced * Fraction(rule["rate"]) * Fraction(rule["share"]))


def key_of(rule: dict) -> tuple:
    return rule["tax_id"], rule["valid_from"], rule["recorded_at"]


def amount_of(bases: list[dict]) -> Fraction:
    return sum((Fraction(b["amount_exact"] or 0) for b in bases), Fraction(0))


def quantity_of(bases: list[dict]) -> int:
    return sum(b["quantity"] for b in bases)


def detail(bases: list[dict], rules: list[dict], accounts: list[dict], as_of: date | None = None) -> dict:
    """(bill, version, line) → the rule, base, base_taxes, quantity, amount_exact."""
    by_key = {key_of(r): r for r in rules}
    met: dict[tuple, list[dict]] = defaultdict(list)  # (bill, version, line) → rows
    others: dict[tuple, dict] = defaultdict(lambda: defaultdict(list))  # the same of a compound → other version → rows
    for base in bases:
        bill, line = tuple(base[c] for c in BILL), tuple(base[c] for c in LINE)
        versions = applying(base, rules, accounts, as_of)
        for rule in versions:
            met[bill, key_of(rule), line].append(base)
            for other in versions if rule["compound"] else ():
                if not other["compound"]:
                    others[bill, key_of(rule), line][key_of(other)].append(base)
    found = {}
    for key, rows in met.items():
        rule, unit = by_key[key[1]], key[2][-1]
        inner = sum(
            (tax(by_key[k], unit, amount_of(some), quantity_of(some)) for k, some in others[key].items()), Decimal(0)
        )
        percent = rule["kind"] == "percent"
        base = amount_of(rows) + Fraction(inner)
        found[key] = {
            "rule": rule,
            "base": nano(base) if percent else None,
            "base_taxes": inner if percent else None,
            "quantity": None if percent else quantity_of(rows),
            "amount_exact": tax(rule, unit, base, quantity_of(rows)),
        }
    return found


def due(details: dict, rounding: str) -> list[dict]:
    """The rows of `taxes.summed`, in no order."""
    by_rule: dict[tuple, list] = defaultdict(list)
    for (bill, version, line), row in details.items():
        by_rule[bill, version].append((line, row))
    rows = []
    for (bill, _), parts in by_rule.items():
        rule, currency = parts[0][1]["rule"], bill[2]
        exact = sum((row["amount_exact"] for _, row in parts), Decimal(0))
        each = sum((cents(row["amount_exact"], currency) for _, row in parts), Decimal(0))
        units = {line[-1] for line, _ in parts}
        counted = rule["kind"] == "per_unit" and len(units) == 1
        rows.append(
            dict(zip(BILL, bill, strict=True))
            | {c: rule[c] for c in RULE if c != "level"}
            | {
                "section": "tax",
                "tax_level": rule["level"],
                "base": sum(row["base"] for _, row in parts) if rule["kind"] == "percent" else None,
                "quantity": sum(row["quantity"] for _, row in parts) if counted else None,
                "unit": units.pop() if counted else None,
                "amount_exact": exact,
                "amount": each if rounding == "per_line" else cents(exact, currency),
            }
        )
    if rounding == "per_statement":
        for bill in {tuple(r[c] for c in BILL) for r in rows}:
            mine = [r for r in rows if tuple(r[c] for c in BILL) == bill]
            owed = cents(sum((r["amount_exact"] for r in mine), Decimal(0)), bill[2])
            if difference := owed - sum(r["amount"] for r in mine):
                nothing = dict.fromkeys(mine[0])
                rows.append(
                    nothing
                    | dict(zip(BILL, bill, strict=True))
                    | {"section": "rounding", "amount_exact": Decimal(0), "amount": difference}
                )
    return rows
