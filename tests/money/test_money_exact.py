"""Money is exact from the provider's text to the statement line, or refused; never rounded on the way, never wrapped."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import floor

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl import money
from etl.schemas import DATASETS

INT64 = st.integers(-(2**63), 2**63 - 1)


def half_up(amount: Fraction) -> int:
    """Halves away from zero."""
    magnitude = floor(abs(amount) + Fraction(1, 2))
    return -magnitude if amount < 0 else magnitude


def parsed(*texts: str | None) -> list[Decimal | None]:
    return (
        pl.DataFrame({"text": pl.Series(texts, dtype=pl.String)}).select(money.parse(pl.col("text")))["text"].to_list()
    )


def rounded(amount: str, currency: str) -> Decimal:
    frame = pl.DataFrame({"amount": pl.Series([Decimal(amount)], dtype=money.MONEY), "currency": [currency]})
    return frame.select(money.rounded(pl.col("amount"), pl.col("currency"))).item()


def products(prices: list[int | None], quantities: list[int | None], per: int = 1) -> list[int | None]:
    frame = pl.DataFrame(
        {"price": pl.Series(prices, dtype=pl.Int64), "quantity": pl.Series(quantities, dtype=pl.Int64)}
    )
    return frame.select(product=money.times(pl.col("price"), pl.col("quantity"), per))["product"].to_list()


# ------------------------------------------------------------------------------------------------ reading prices


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-0.00750", "-0.0075"), ("0.0083", "0.0083"), ("0", "0"), ("-0", "0"), ("+1", "1"), ("1.", "1"), (".5", "0.5"),
        ("-.5", "-0.5"), ("001.5", "1.5"), ("0.000000001", "0.000000001"),
        ("999999999.999999999", "999999999.999999999"), ("-999999999.999999999", "-999999999.999999999"),
    ],
)  # fmt: skip
def test_a_plain_decimal_is_read_to_its_last_digit(text, value):
    assert parsed(text) == [Decimal(value)]


@pytest.mark.parametrize(
    "text",
    [
        "1e400", "1e-3", "NaN", "nan", "inf", "-Infinity", "٣", "३", "1٫5", " 1", "1 ", "1\n", "1,5", "1,000", "1_000",
        "0.1234567891", "0.0000000000", "1000000000", "9" * 40, "", "-", "+", ".", "+-1", "--1", "0x10", "$1", "1.5.2",
        "null", "\u22121", "1\x00", None,
    ],
)  # fmt: skip
def test_anything_else_is_null_and_never_a_guess(text):
    assert parsed(text) == [None]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="0123456789.+-eE ,_٣n", max_size=24))
def test_what_is_read_is_exactly_what_was_written(text):
    (value,) = parsed(text)
    if value is not None:
        assert Fraction(value) == Fraction(text.rstrip(".").replace("-.", "-0.").replace("+.", "+0."))


@settings(max_examples=100, deadline=None)
@given(st.integers(-money.LIMIT, money.LIMIT))
def test_nanos_and_back_lose_nothing(units):
    frame = pl.DataFrame({"units": pl.Series([units], dtype=pl.Int64)}).with_columns(
        amount=money.from_nanos(pl.col("units"))
    )
    assert frame["amount"].dtype == money.MONEY
    assert frame["amount"].item() == Decimal(units).scaleb(-9)
    assert frame.select(money.nanos(pl.col("amount"))).item() == units
    assert parsed(format(frame["amount"].item(), "f")) == [frame["amount"].item()]


@pytest.mark.parametrize("units", [money.LIMIT + 1, -money.LIMIT - 1, 2**63 - 1, -(2**63)])
def test_an_amount_too_large_to_store_raises(units):
    with pytest.raises(pl.exceptions.PolarsError):
        pl.DataFrame({"units": [units]}).select(money.from_nanos(pl.col("units")))


# ------------------------------------------------------------------------------------------------ price × quantity


@settings(max_examples=300, deadline=None)
@given(INT64, INT64, st.sampled_from([1, 2, 3, 7, 60, 1000]))
def test_a_product_is_exact_half_up_or_null_but_never_wrong(price, quantity, per):
    (product,) = products([price], [quantity], per)
    exact = Fraction(price) * quantity / per
    assert product is None or product == half_up(exact)
    fits = abs(price * quantity) <= money.LIMIT and max(abs(price), abs(quantity)) <= money.LIMIT
    assert (product is not None) == fits


@settings(max_examples=200, deadline=None)
@given(st.integers(1 - 10**13, 10**13 - 1), st.integers(-(10**5), 10**5), st.integers(1, 10**6))
def test_what_bills_are_made_of_always_fits(price, quantity, per):
    assert products([price], [quantity], per) == [half_up(Fraction(price) * quantity / per)]


@pytest.mark.parametrize(
    ("price", "quantity"),
    [
        (-(2**63), 1),
        (1, -(2**63)),
        (2**63 - 1, 2),
        (2**32, 2**32),
        (3 * 2**61, 4),
        (money.LIMIT, 2),
        (money.LIMIT + 1, 1),
    ],
)
def test_where_an_int64_would_wrap_there_is_null(price, quantity):
    assert products([price], [quantity]) == products([price], [quantity], 60) == [None]


def test_a_null_operand_is_null_and_no_overflow():
    assert products([None, 1, None], [1, None, None]) == [None, None, None]
    frame = pl.DataFrame({"record_id": ["r"], "p": [None], "q": [1], "pq": [None]}, schema_overrides={"p": pl.Int64})
    assert money.check_products(frame, "pq", "p", "q") is frame


def test_an_overflow_names_the_record():
    frame = pl.DataFrame({"record_id": ["fine", "huge"], "p": [1, 10**17], "q": [1, 11]})
    with pytest.raises(money.OutOfRange, match="pq exceeds .* for 1 record.*huge"):
        money.check_products(frame.with_columns(pq=money.times(pl.col("p"), pl.col("q"))), "pq", "p", "q")


@pytest.mark.parametrize("per", [0, -60])
def test_a_divisor_below_one_is_refused(per):
    with pytest.raises(ValueError, match="at least 1"):
        money.times(pl.col("p"), pl.col("q"), per)


# ------------------------------------------------------------------------------------------------ rounding to cents


@pytest.mark.parametrize(
    ("amount", "currency", "cents"),
    [
        ("0.004999999", "USD", "0"), ("0.005", "USD", "0.01"), ("-0.005", "USD", "-0.01"), ("-0.004999999", "USD", "0"),
        ("0.015", "USD", "0.02"), ("0.025", "USD", "0.03"), ("-0.015", "USD", "-0.02"), ("1.005", "USD", "1.01"),
        ("2.675", "EUR", "2.68"), ("0", "USD", "0"), ("999999999.989999999", "USD", "999999999.99"),
        ("0.5", "JPY", "1"), ("-0.5", "JPY", "-1"), ("1.5", "JPY", "2"), ("0.499999999", "JPY", "0"), ("2.5", "JPY", "3"),
        ("0.0005", "KWD", "0.001"), ("-0.0005", "KWD", "-0.001"), ("0.000499999", "KWD", "0"), ("1.2345", "KWD", "1.235"),
    ],
)  # fmt: skip
def test_halves_go_away_from_zero_in_the_currency_s_own_unit(amount, currency, cents):
    """Half-even fails at 0.025, binary floats at 1.005 and 2.675."""
    assert rounded(amount, currency) == Decimal(cents)
    assert money.round_half_up(Decimal(amount), currency) == Decimal(cents)


@settings(max_examples=150, deadline=None)
@given(st.integers(-(10**17), 10**17), st.sampled_from(["USD", "JPY", "KWD", "EUR", "CLP", "TND"]))
def test_column_and_scalar_round_alike(units, currency):
    amount = Decimal(units).scaleb(-9)
    digits = money.minor_digits(currency)
    expected = Decimal(half_up(Fraction(units, 10 ** (9 - digits)))).scaleb(-digits)
    assert rounded(str(amount), currency) == money.round_half_up(amount, currency) == expected


def test_rounding_over_the_edge_of_what_can_be_stored_raises():
    with pytest.raises(pl.exceptions.PolarsError):
        rounded("999999999.995", "USD")


def test_every_currency_code_of_iso_4217_that_has_not_two_decimals():
    assert {c: money.minor_digits(c) for c in ("USD", "EUR", "GBP", "JPY", "KRW", "KWD", "BHD", "XAF", "jpy")} == {
        "USD": 2, "EUR": 2, "GBP": 2, "JPY": 0, "KRW": 0, "KWD": 3, "BHD": 3, "XAF": 0, "jpy": 0,
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------ in every dataset


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_no_dataset_holds_a_float_and_every_decimal_has_nine_digits(name):
    for column, kind in DATASETS[name].types.items():
        assert not kind.is_float(), column
        assert not kind.is_decimal() or kind == money.MONEY, column


def test_currencies_without_cents_and_with_mills():
    """ISO 4217: those without a minor unit, those of three decimals; every other one here has two."""
    none = ["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF"]
    none += ["XOF", "XPF"]
    three = ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"]
    for digits, codes in ((0, none), (3, three), (2, ["USD", "EUR", "CHF", "INR", "BRL", "ZAR", "XXX"])):
        for code in codes:
            assert money.minor_digits(code) == money.minor_digits(code.lower()) == digits, code
            assert rounded("1.555555555", code) == {0: 2, 2: Decimal("1.56"), 3: Decimal("1.556")}[digits], code
