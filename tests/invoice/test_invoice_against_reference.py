"""Any month, any invoice: the same as counted one record at a time, and everything adds up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from invoice_made import DAY, OCTOBER, bill, events, held, line, text
from invoice_reference import counted, split, verdict

from etl import invoice, reconcile

MONEY = st.integers(-(10**10), 10**12).map(lambda n: Decimal(n).scaleb(-9))
COST = st.sampled_from(
    [None, Decimal("0.0079"), Decimal("0.0083"), Decimal("0.014"), Decimal("0.000000001"), Decimal(0)]
)


@st.composite
def record(draw, number: int):
    kind = draw(st.sampled_from(["message", "message", "call", "recording", "number"]))
    seconds = draw(st.sampled_from([0, 1, 59, 60, 61, 600]))
    failed = kind == "message" and draw(st.integers(0, 5)) == 0
    return text(
        f"R{number}", kind=kind, outcome=draw(st.sampled_from(["accepted"] * 5 + ["excluded"])),
        provider_account=draw(st.sampled_from(["AC1", "AC2"])),
        direction=draw(st.sampled_from(["inbound", "outbound"])),
        type=draw(st.sampled_from(["sms", "sms", "mms", "whatsapp"])) if kind == "message" else None,
        status="failed" if failed else "delivered", segments=draw(st.integers(1, 4)) if kind == "message" else None,
        answered_seconds=seconds if kind in ("call", "recording") else None,
        provider_cost=None if failed or kind == "number" else draw(COST), vanished=draw(st.integers(0, 9)) == 0,
    )  # fmt: skip


@st.composite
def months(draw):
    return [draw(record(n)) for n in range(draw(st.integers(0, 12)))]


@given(months())
@settings(max_examples=30, deadline=None)
def test_our_side_is_what_a_slow_count_finds_and_what_the_nightly_comparison_counts(rows):
    found = invoice.tally(events(rows), DAY)
    for account in ("AC1", "AC2"):
        mine = {r["category"]: r for r in found.filter(pl.col("provider_account") == account).iter_rows(named=True)}
        expected = counted(e for e in rows if e["provider_account"] == account)
        for name in mine.keys() | expected.keys():
            row = mine.get(name)
            # Records no longer listed are a row of their own figures only.
            got = [row[c] for c in ("records", "quantity", "cost", "unpriced", "waiting")] if row else [0] * 5
            assert got == expected.get(name, [0] * 5), name
    shown = {"kind": "message"} | dict.fromkeys(("parent_id", "from_number", "to_number"))
    nightly = reconcile.ours(events(rows).with_columns(**{k: pl.lit(v) for k, v in shown.items() if k != "kind"}))
    both = nightly.join(found, on=["provider_account", "category"], how="left")
    assert both.filter(
        (pl.col("count") != pl.col("records")) | (pl.col("quantity") != pl.col("quantity_right"))
        | (pl.col("cost") != pl.col("cost_right")) | (pl.col("unpriced") != pl.col("unpriced_right"))
        | pl.col("records").is_null()
    ).is_empty()  # fmt: skip


@given(MONEY, st.integers(0, 10**15), st.integers(0, 10**15), MONEY, st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=200, deadline=None)
def test_quantity_part_and_price_part_are_the_variance(variance, theirs, ours, amount, some, others):
    quantity, our_quantity = Decimal(theirs).scaleb(-some), Decimal(ours).scaleb(-others)
    parts = invoice.split(variance, quantity, our_quantity, amount)
    assert sum(map(Fraction, parts)) == Fraction(variance)
    assert parts == split(variance, quantity, our_quantity, amount)


NAMES = ("sms", "sms-inbound", "sms-outbound", "mms", "calls", "calls-inbound", "recordings",
         "sms-messages-carrierfees", "failed-message-processing-fee", "phonenumbers", "phonenumbers-local",
         "a-fee")  # fmt: skip
PERIODS = ({}, {"start": DAY, "end": DAY}, {"end": DAY})


@st.composite
def bills(draw):
    names = draw(st.lists(st.sampled_from(NAMES), max_size=10))
    accounts = draw(st.sampled_from([(None,), ("AC1",), ("AC1", "AC2")]))
    # Texts and their fees may be of other days.
    days = {name: draw(st.sampled_from(PERIODS)) for name in ("sms", "sms-messages-carrierfees")}
    lines = [
        line(
            n, name, f"{draw(MONEY):f}", draw(st.none() | st.integers(0, 40).map(str)),
            count=draw(st.none() | st.integers(0, 9).map(Decimal)), provider_account=draw(st.sampled_from(accounts)),
            unit=draw(st.sampled_from([None, None, "messages", "minutes", "parsecs"])),
            **days.get(name.removesuffix("-inbound").removesuffix("-outbound"), {}),
        )
        for n, name in enumerate(names, 2)
    ]  # fmt: skip
    total = draw(st.none() | MONEY)
    return bill(*lines, *([] if total is None else [line(99, "totalprice", f"{total:f}")]))


@given(months(), bills())
@settings(max_examples=40, deadline=None)
def test_lines_add_up_to_totals_whatever_the_invoice_says(rows, asked):
    found = invoice.compare(asked, OCTOBER, held(rows))
    tops = [row for row in found.rows if row.counts and row.role != "total"]
    assert sum(row.amount for row in tops) == found.itemised
    totals = [row for row in found.rows if row.role == "total"]
    assert found.invoice == (sum(row.amount for row in totals) if totals else found.itemised)
    assert found.ours == sum(row.our_amount or 0 for row in tops)
    # No daily totals here: all our side is records, and none of them counts twice.
    ours = counted(rows)
    for kind in ("sms", "mms", "calls", "recordings"):
        mine = sum(row.our_amount for row in tops if row.category == kind)
        assert mine == (ours[kind][2] if kind in ours else 0)
    assert found.difference == found.explained + found.unexplained == found.invoice - found.ours
    for row in found.rows:
        if row.role in ("line", "sum", "part", "missing"):
            assert row.variance == row.amount + row.fees - (row.our_amount or 0)
        if row.quantity_part is not None:
            assert row.quantity_part + row.price_part == row.variance
    # Every line of the file stands in a row, and no line in two rows that count.
    assert {n for row in found.rows for n in row.lines} == {one.number for one in asked.lines}
    counted_lines = [n for row in tops for n in row.lines]
    assert len(counted_lines) == len(set(counted_lines))


@given(months(), st.sampled_from(["sms", "mms", "calls", "recordings"]), st.integers(-2, 2), st.integers(-1, 1),
       st.sampled_from(["0", "0.01", "-0.005", "0.010000001", "-1", "3"]), st.booleans())  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_the_verdict_of_a_line_where_nothing_waits(rows, kind, more, others, extra, with_count):
    known = [e | {"vanished": False} for e in rows if e["provider_cost"] is not None]
    ours = counted(known).get(kind, [0, 0, Decimal(0), 0, 0])
    entry = {
        "quantity": ours[1] + more,
        "count": ours[0] + others if with_count else None,
        "amount": ours[2] + Decimal(extra),
    }
    asked = line(
        2, kind, f"{entry['amount']:f}", str(entry["quantity"]), count=entry["count"] and Decimal(entry["count"])
    )
    entry["count"] = entry["count"] or None
    found = invoice.compare(bill(asked), OCTOBER, held(known))
    row = next(r for r in found.rows if r.category == kind and r.role == "line")
    assert row.verdict == verdict(entry, ours)
    # What is asked too much is disputed with every record behind it, and with no other.
    claims = found.claims
    claimed = set(invoice.dispute(events(known), DAY, claims)["record_id"])
    behind = {e["record_id"] for e in known if kind in counted([e])}
    over = row.variance > Decimal("0.01") or more > 0 or (entry["count"] or ours[0]) > ours[0]
    assert claimed == (behind if row.verdict == "unexplained" and over else set())


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_an_invoice_that_only_waits_or_came_early_is_never_unexplained(data):
    """The provider priced some of what waits for us, at no more than the dearest we know, and lacks some of what is
    late."""
    made = datetime(2026, 10, 6, 12, tzinfo=UTC)
    prices = st.integers(1, 9).map(lambda n: Decimal(n).scaleb(-3))
    states = data.draw(
        st.lists(
            st.tuples(st.sampled_from(["known", "waits", "late"]), st.integers(1, 3), prices, st.booleans()), max_size=9
        )
    )
    rows, count, quantity, amount = [], 0, 0, Decimal(0)
    dearest = max((price for state, _, price, _ in states if state != "waits"), default=Decimal(0))
    for n, (state, segments, price, theirs) in enumerate(states):
        cost = None if state == "waits" else price * segments
        late = made + timedelta(hours=1)
        rows.append(
            text(f"R{n}", segments=segments, provider_cost=cost, **({"updated_at": late} if state == "late" else {}))
        )
        if state == "known" or theirs:
            count, quantity = count + 1, quantity + segments
            amount += min(price, dearest) * segments if state == "waits" else cost
    asked = line(2, "sms", f"{amount:f}", str(quantity), count=Decimal(count), as_of=made)
    found = invoice.compare(bill(asked), OCTOBER, held(rows, as_of=made))
    assert all(row.verdict != "unexplained" for row in found.rows)
    assert not found.claims
