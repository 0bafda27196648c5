"""Exact money in frames, in one place (mission rule 2).

Stored and printed as ``Decimal(18, 9)``; multiplied, divided and rounded as Int64 *nano-units* (10⁻⁹ of the currency),
because Polars rounds Decimal products half-even at every step and Int64 wraps without a word.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import polars as pl

SCALE = 9
NANOS = 10**SCALE
MONEY = pl.Decimal(18, SCALE)
"""The type of every amount in every dataset."""

LIMIT = 10**18 - 1
"""Largest magnitude of an amount in nano-units: what Decimal(18, 9) can hold."""

# Minor-unit digits that differ from two: ISO 4217, the currencies without or with three decimals.
_MINOR_DIGITS = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
}


class OutOfRange(ValueError):
    """An amount left the range that Decimal(18, 9) holds; nothing was rounded or wrapped."""


def minor_digits(currency: str) -> int:
    """Decimals of a currency's minor unit (ISO 4217): USD 2, JPY 0, KWD 3."""
    return _MINOR_DIGITS.get(currency.upper(), 2)


def round_half_up(amount: Decimal, currency: str) -> Decimal:
    """``amount`` in whole minor units of ``currency``, halves away from zero: -0.005 USD is -0.01."""
    return amount.quantize(Decimal(1).scaleb(-minor_digits(currency)), ROUND_HALF_UP)


def rounded(amount: pl.Expr, currency: pl.Expr) -> pl.Expr:
    """`round_half_up` for a column of Decimal(18, 9) and a column of currency codes; Decimal(18, 9), exact."""
    units = nanos(amount)
    step = currency.replace_strict(
        {code: 10 ** (SCALE - digits) for code, digits in _MINOR_DIGITS.items()},
        default=10 ** (SCALE - 2),
        return_dtype=pl.Int64,
    )
    magnitude = (units.abs() + step // 2) // step * step
    return from_nanos(pl.when(units < 0).then(-magnitude).otherwise(magnitude))


def nanos(amount: pl.Expr) -> pl.Expr:
    """Decimal(18, 9) → Int64 nano-units, exact."""
    return (amount.cast(pl.Decimal(38, SCALE)) * NANOS).cast(pl.Int64)


def from_nanos(units: pl.Expr) -> pl.Expr:
    """Int64 nano-units → Decimal(18, 9), exact. Out of range raises in the cast."""
    return (units.cast(pl.Decimal(38, SCALE)) / NANOS).cast(MONEY)


def times(price_nanos: pl.Expr, quantity: pl.Expr, per: int = 1) -> pl.Expr:
    """``price × quantity / per`` in Int64 nano-units, half-up once, null where it would not fit.

    ``per`` turns a price per minute into one per second (60). The guard is on the operands, so a product never wraps.
    Callers treat null from non-null operands as `OutOfRange`: see `check_products`.
    """
    if per < 1:
        raise ValueError(f"per must be at least 1, not {per}")
    bound = LIMIT // pl.max_horizontal(quantity.abs(), pl.lit(1, pl.Int64))
    # Not abs(): the smallest Int64 has no positive twin.
    safe = quantity.is_between(-LIMIT, LIMIT) & price_nanos.is_between(-bound, bound)
    product = pl.when(safe).then(price_nanos * quantity.cast(pl.Int64))
    if per == 1:
        return product
    half = per // 2
    magnitude = (product.abs() + half) // per
    return pl.when(product < 0).then(-magnitude).otherwise(magnitude)


def check_products(frame: pl.DataFrame, product: str, *operands: str, key: str = "record_id") -> pl.DataFrame:
    """``frame`` unchanged, or `OutOfRange` naming the first records whose ``product`` is null though no operand is."""
    lost = frame.filter(pl.col(product).is_null() & pl.all_horizontal(pl.col(c).is_not_null() for c in operands))
    if lost.height:
        ids = ", ".join(lost[key].head(3).to_list())
        raise OutOfRange(f"{product} exceeds {LIMIT // NANOS} for {lost.height} record(s), first: {ids}")
    return frame


def parse(text: pl.Expr) -> pl.Expr:
    """A price as the provider writes it ("-0.00750") → Decimal(18, 9); null where it is not a plain decimal number of
    at most nine decimals and nine integer digits, because Polars would round or fail on it."""
    plain = text.str.contains(r"^[+-]?(?:[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})$")
    return pl.when(plain).then(text.str.strip_chars_start("+")).cast(MONEY, strict=False)
