"""`etl.corrections` against the slow way, on made statements, charges and ledgers."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import corrections_reference as slow
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.corrections import CHANGES, LINE, changed_lines, changed_lots, changed_records
from etl.credits import CORRECTIONS, SUBSCRIPTIONS, CreditsError, closing, ledger
from etl.schemas import DATASETS

STATEMENT = DATASETS["statement"].types
MONTH = "2026-09"

_lines = st.sampled_from(
    [
        ("usage", "text", "outbound", "sms", None, None),
        ("usage", "text", "inbound", "sms", None, None),
        ("usage", "carrier_fee", "outbound", "sms", "AT&T", True),
        ("usage", "carrier_fee", "outbound", "sms", None, False),
        ("tax", "tax", None, None, None, None),
        ("rounding", "rounding", None, None, None, None),
        ("product", "subscription", None, None, None, None),
        ("product", "tax", None, None, None, None),
    ]
)
_amounts = st.integers(-5_000, 5_000)


def row(account: str, line: tuple, thousandths: int, *, for_month: str | None = None) -> dict:
    section, name, direction, kind, carrier, registered = line
    exact = Decimal(thousandths).scaleb(-3)
    return dict.fromkeys(STATEMENT) | {
        "account_id": account, "position": 0, "section": section, "line": name, "direction": direction, "type": kind,
        "carrier": carrier, "registered": registered, "rate_id": "levy@2026-01-01" if name == "tax" else None,
        "quantity": None if name in ("tax", "rounding") else thousandths, "amount_exact": exact,
        "amount": exact.quantize(Decimal("0.01")), "currency": "USD", "events": 0, "unrated": 0, "for_month": for_month,
    }  # fmt: skip


def frame(rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=STATEMENT, orient="row")


def _as_booked(changes: pl.DataFrame) -> pl.DataFrame:
    """What a statement makes of `CHANGES`."""
    product = pl.col("section") == "product"
    return pl.concat([frame([]), changes], how="diagonal").with_columns(
        section=pl.when(product).then(pl.lit("product_correction")).otherwise(pl.lit("correction"))
    )


_statements = st.lists(st.tuples(st.sampled_from(["a", "b"]), _lines, _amounts), max_size=8, unique_by=lambda r: r[:2])


@settings(max_examples=60, deadline=None)
@given(st.lists(_statements, min_size=2, max_size=5))
def test_closed_and_everything_booked_is_what_stands_now(versions):
    """However often a closed month changes, each open month books just what is still owed."""
    closed, *later = ([row(a, line, n) for a, line, n in version] for version in versions)
    booked = frame([])
    for now in later:
        changes = changed_lines(frame(closed), frame(now), booked, MONTH)
        owed = slow.lines(closed, now, booked.to_dicts(), MONTH)
        assert {r[:-3]: r[-3:] for r in _with_sums(changes)} == {
            k: (q if k[2] not in ("tax", "rounding") else None, exact, amount) for k, (q, exact, amount) in owed.items()
        }
        booked = pl.concat([booked, _as_booked(changes)])
        assert changed_lines(frame(closed), frame(now), booked, MONTH).is_empty()
        sections = pl.col("section").is_in(["correction", "product_correction"])
        sums = (sum(r["amount"] for r in rows) for rows in (closed, booked.filter(sections).to_dicts(), now))
        first, corrected, last = sums
        assert first + corrected == last


def _with_sums(changes: pl.DataFrame) -> list[tuple]:
    return changes.select(*LINE, "quantity", "amount_exact", "amount").rows()


def test_a_correction_of_another_month_is_not_taken_off():
    closed, now = [row("a", _text(), 10)], [row("a", _text(), 30)]
    other = frame([row("a", _text(), 20, for_month="2026-08") | {"section": "correction"}])
    assert changed_lines(frame(closed), frame(now), other, MONTH)["quantity"].to_list() == [20]
    same = other.with_columns(for_month=pl.lit(MONTH))
    assert changed_lines(frame(closed), frame(now), same, MONTH).is_empty()


def _text() -> tuple:
    return ("usage", "text", "outbound", "sms", None, None)


# ------------------------------------------------------------------------------------------------ records

_texts = st.dictionaries(
    st.sampled_from([f"r{n}" for n in range(6)]),
    st.tuples(st.integers(1, 30), st.integers(0, 4), st.sampled_from(["0.009", "0.0125"]), st.booleans()),
    max_size=6,
)


def charges(texts: dict[str, tuple]) -> pl.LazyFrame:
    """Texts by id: (day, segments, price, with a carrier fee)."""
    rows = [
        dict.fromkeys(DATASETS["charges"].columns) | {
            "record_id": name, "kind": "message", "account_id": "a", "owner_kind": "member", "owner_id": "m",
            "direction": "outbound", "type": "sms", "occurred_at": datetime(2026, 9, day, tzinfo=UTC), "line": "text",
            "quantity": segments, "unit": "segment", "messages": 1, "segments": segments, "billed_seconds": 0,
            "credits": segments, "segments_differ": False, "rate_id": f"sms-{price}", "charge": segments * Decimal(price),
            "carrier_fee": Decimal("0.004") * segments * fee, "fee_id": "fee" if fee else None, "currency": "USD",
            "detection_charge": Decimal(0), "vanished": False, "date": date(2026, 9, day), "source": "twilio",
        }
        for name, (day, segments, price, fee) in texts.items()
    ]  # fmt: skip
    schema = DATASETS["charges"].types | {"date": pl.Date, "source": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").lazy()


@settings(max_examples=60, deadline=None)
@given(st.lists(_texts, min_size=2, max_size=4))
def test_records_add_up_to_their_lines_and_none_is_booked_twice(versions):
    closed, *later = versions
    booked = DATASETS["corrections"].empty()
    for now in later:
        rows = changed_records(charges(closed), charges(now), booked, pl.DataFrame(schema=CHANGES), MONTH)
        booked = pl.concat([booked, rows])
        for name in {*closed, *now}:
            mine = booked.filter(pl.col("record_id") == name)
            for fee, line in ((False, "text"), (True, "carrier_fee")):
                owed = _exact(now.get(name), fee) - _exact(closed.get(name), fee)
                assert mine.filter(pl.col("line") == line)["amount_exact"].sum() == owed
        assert changed_records(charges(closed), charges(now), booked, pl.DataFrame(schema=CHANGES), MONTH).is_empty()


def _exact(given: tuple | None, fee: bool) -> Decimal:
    if given is None:
        return Decimal(0)
    _, segments, price, with_fee = given
    return segments * Decimal("0.004") * with_fee if fee else segments * Decimal(price)


def test_each_reason():
    closed = {"gone": (1, 1, "0.009", False), "more": (2, 1, "0.009", False), "dear": (3, 2, "0.009", False)}
    now = {"more": (2, 3, "0.009", False), "dear": (3, 2, "0.0125", False), "late": (4, 1, "0.009", True)}
    nothing = pl.DataFrame(schema=CHANGES)
    first = changed_records(charges(closed), charges(now), DATASETS["corrections"].empty(), nothing, MONTH)
    assert first.select("record_id", "line", "reason", "quantity", "amount_exact").rows() == [
        ("late", "carrier_fee", "late", 1, Decimal("0.004")),
        ("gone", "text", "gone", -1, Decimal("-0.009")),
        ("more", "text", "changed", 2, Decimal("0.018")),
        ("dear", "text", "repriced", 0, Decimal("0.007")),
        ("late", "text", "late", 1, Decimal("0.009")),
    ]
    back = changed_records(charges(closed), charges(closed), first, nothing, MONTH)
    assert set(back["reason"]) == {"taken back"}
    assert back["amount_exact"].sum() == -first["amount_exact"].sum()


def test_what_no_record_explains_follows():
    tax = row("a", ("tax", "tax", None, None, None, None), 12)
    lines = changed_lines(frame([]), frame([tax]), frame([]), MONTH)
    nothing = charges({})
    (only,) = changed_records(nothing, nothing, DATASETS["corrections"].empty(), lines, MONTH).to_dicts()
    assert (only["reason"], only["record_id"], only["date"], only["amount_exact"]) == (
        "follows",
        None,
        None,
        Decimal("0.012"),
    )


# ------------------------------------------------------------------------------------------------ credits

FIRST, END = date(2026, 10, 1), date(2026, 11, 1)
BURNS = {"account_id": pl.String, "record_id": pl.String, "occurred_at": pl.Datetime("us", "UTC"), "credits": pl.Int64}


def lot(name: str, credits: int, day: int = 1) -> tuple:
    return ("a", MONTH, name, datetime(2026, 9, day, tzinfo=UTC) if name != "allotment" else None, False, credits)


def opening(*lots: tuple[str, int, int]) -> pl.DataFrame:
    """A September ledger that leaves these lots (name, credits, day bought)."""
    rows = [
        dict.fromkeys(DATASETS["credits"].columns) | {
            "account_id": "a", "position": n, "date": date(2026, 9, 1), "entry": "purchase", "lot": name,
            "bought_at": datetime(2026, 9, day, tzinfo=UTC), "credits": credits, "simulated": False,
            "balance_allotment": 0, "balance_purchased": 0,
        }
        for n, (name, credits, day) in enumerate(lots)
    ]  # fmt: skip
    return pl.DataFrame(rows, schema=DATASETS["credits"].types, orient="row")


def october(before: pl.DataFrame, *corrections: tuple) -> pl.DataFrame:
    return ledger(
        pl.DataFrame(schema=BURNS), before, pl.DataFrame(schema=SUBSCRIPTIONS),
        pl.DataFrame(schema={"purchase_id": pl.String, "account_id": pl.String, "bought_at": pl.Datetime("us", "UTC"), "kind": pl.String, "credits": pl.Int64}),
        (FIRST, END), pl.DataFrame(list(corrections), schema=CORRECTIONS, orient="row"),
    )  # fmt: skip


def moved(rows: pl.DataFrame) -> list[tuple]:
    return rows.select("entry", "lot", "credits", "balance_purchased", "for_month").rows()


def test_a_correction_stands_beside_what_was_opened_with():
    rows = october(opening(("p1", 10, 2), ("p2", 20, 5)), lot("p1", -4, 2))
    assert moved(rows) == [
        ("open", "p1", 10, 10, None),
        ("open", "p2", 20, 30, None),
        ("correction", "p1", -4, 26, MONTH),
    ]


def test_a_lot_that_a_correction_empties_is_no_lot_any_more():
    rows = october(opening(("p1", 3, 2), ("p2", 4, 5)), lot("p1", -3, 2))
    assert moved(rows) == [("open", "p1", 3, 3, None), ("open", "p2", 4, 7, None), ("correction", "p1", -3, 4, MONTH)]
    assert closing(rows)["lot"].to_list() == ["p2"]
    with pytest.raises(CreditsError, match="a correction takes more from p1 than it has"):
        october(opening(("p1", 3, 2)), lot("p1", -4, 2))


def test_a_lot_bought_in_the_closed_month_comes_in():
    rows = october(opening(("p1", 3, 2)), lot("late", 50, 20))
    assert moved(rows) == [("open", "p1", 3, 3, None), ("correction", "late", 50, 53, MONTH)]
    assert closing(rows)["credits"].to_list() == [3, 50]


@settings(max_examples=60, deadline=None)
@given(*[st.dictionaries(st.sampled_from(["p0", "p1", "p2"]), st.integers(1, 40))] * 2)
def test_what_was_left_and_its_corrections_are_what_would_be_left_now(closed, now):
    def left(lots: dict[str, int]) -> pl.DataFrame:
        return opening(*((name, n, int(name[1]) + 1) for name, n in sorted(lots.items())))

    owed = changed_lots(left(closed), left(now), MONTH)
    rows = october(left(closed), *owed.rows())
    assert dict(closing(rows).select("lot", "credits").rows()) == now
    assert {r[1]: r[2] for r in moved(rows) if r[0] == "open"} == closed
    assert all((row[4] is None) == (row[0] == "open") for row in moved(rows))
