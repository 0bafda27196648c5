"""Why a charge is not what it was: so much is the price, so much the quantity, exactly.

``price × new quantity`` is what the change of the average price makes, ``quantity × old price`` what the change of
the quantity makes; the two come to the difference. Where there was none before, or is none now, there is no price to
compare and the whole difference is quantity. Carrier fees are taken apart by carrier first, so that other carriers are
not another price.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from reports.charges import Key, measured, sums


@dataclass(frozen=True)
class Driver:
    """One part of a charge line in two months. ``price`` + ``quantity`` = ``difference``, in the currency's units; the
    average prices are of one ``unit``, None where it has none. ``rated``: every record had a price in both months."""

    key: Key
    unit: str | None
    difference: Fraction
    price: Fraction
    quantity: Fraction
    was: Fraction | None
    now: Fraction | None
    rated: bool


def drivers(lines: Iterable[dict], before: Iterable[dict]) -> dict[Key, Driver]:
    """`schemas.Statement` rows of two months → what moved each part of each charge line."""
    after, then = (sums(rows, by_carrier=True) for rows in (lines, before))
    parts: dict[Key, list[Key]] = {}
    for key in dict.fromkeys([*after, *then]):
        parts.setdefault(key._replace(carrier=None), []).append(key)
    return {part: _driver(part, [(then.get(key), after.get(key)) for key in keys]) for part, keys in parts.items()}


def _driver(part: Key, pairs: list[tuple[list | None, list | None]]) -> Driver:
    price = quantity = Fraction(0)
    total_was, total_now, count_was, count_now = Fraction(0), Fraction(0), 0, 0
    rated = True
    for was, now in pairs:
        (_, old, few, lost), (_, new, many, lacking) = was or _NONE, now or _NONE
        old, new = Fraction(old), Fraction(new)
        rated &= not lost and not lacking
        by_quantity = (many - few) * old / few if few and many else new - old
        quantity += by_quantity
        price += new - old - by_quantity
        total_was, total_now, count_was, count_now = total_was + old, total_now + new, count_was + few, count_now + many
    (one, unit), (other, _) = measured(part.line, count_was, part.unit), measured(part.line, count_now, part.unit)
    return Driver(
        key=part,
        unit=unit,
        difference=price + quantity,
        price=price,
        quantity=quantity,
        was=total_was / Fraction(one) if one else None,
        now=total_now / Fraction(other) if other else None,
        rated=rated,
    )


_NONE = (Decimal(0), Decimal(0), 0, 0)
