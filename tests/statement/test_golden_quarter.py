"""Sixteen accounts' statements of early 2028, worked out by hand to the last digit.

Prices: SMS out 0.0100 a segment to 14 February, 0.0120 from the 15th; MMS out 0.0300; calls 0.0600 a minute from the
moment of dialling; campaign calls 0.0300; voice detection 0.0100; video 0.0040 a participant minute; a stored minute
0.0010 a month; a number 1.00 a month; a credit beyond the plan 0.0400. Each line is rounded half-up once; totals add
the rounded lines.
"""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest
from golden_world import ACCOUNTS, FEBRUARY, JANUARY, MARCH, build, opened

COLUMNS = ["section", "line", "direction", "type", "quantity", "unit", "amount_exact", "amount"]
NUMBER = ("usage", "number", None, None, 1, "number", "1.00", "1.00")


def total(exact: str, amount: str) -> tuple:
    return ("total", "total", None, None, None, None, exact, amount)


def texts(segments: int, exact: str, amount: str) -> tuple:
    return ("usage", "text", "outbound", "sms", segments, "segment", exact, amount)


def calls(seconds: int, exact: str, amount: str) -> tuple:
    return ("usage", "call", "outbound", "voice", seconds, "second", exact, amount)


def subscription(amount: str) -> tuple:
    return ("product", "subscription", None, None, 1, "subscription", amount, amount)


def products(amount: str) -> tuple:
    return ("product_total", "product_total", None, None, None, None, amount, amount)


BY_HAND = {
    # 10 Feb 20 × 0.0100 = 0.2000; 29 Feb 10 × 0.0120 = 0.1200. The plan of 31 January falls due on 29 February.
    "a31": [NUMBER, texts(30, "0.3200", "0.32"), total("1.3200", "1.32"), subscription("10.00"), products("10.00")],
    # 7 and 8 February: 6 + 10 + 10 + 60 = 86 segments × 0.0100. Five recharges of 2.00, see the ledger below.
    "twice": [
        NUMBER, texts(86, "0.8600", "0.86"), total("1.8600", "1.86"), subscription("5.00"),
        ("product", "credit_pack", None, None, 5, "pack", "10.00", "10.00"), products("15.00"),
    ],
    # 0, 1, 59, 60, 61 seconds under 60/60: 0 + 60 + 60 + 60 + 120 = 300 s = 5 minutes × 0.0600
    "sixty": [NUMBER, calls(300, "0.3000", "0.30"), total("1.3000", "1.30")],
    # 30/6: 0, 30, 30 + 5·6 = 60, 30 + 5·6 = 60, 30 + 6·6 = 66: 216 s × 0.0600 / 60 = 0.2160
    "thirty": [NUMBER, calls(216, "0.2160", "0.22"), total("1.2160", "1.22")],
    # 6/6: 0, 6, 60, 60, 66: 192 s × 0.0010 = 0.1920
    "six": [NUMBER, calls(192, "0.1920", "0.19"), total("1.1920", "1.19")],
    # Dialled 23:59:30 on the 14th and 23:59:50 on the 29th: one minute each, both of February. 31 January's is January's.
    "midnight": [NUMBER, calls(120, "0.1200", "0.12"), total("1.1200", "1.12")],
    # 1 × 0.0100 at 23:59:59, then (1 + 3) × 0.0120 = 0.0480 from 00:00:00
    "switch": [NUMBER, texts(5, "0.0580", "0.06"), total("1.0580", "1.06")],
    "picture": [
        ("usage", "number", None, None, 2, "number", "2.00", "2.00"),
        texts(4, "0.0400", "0.04"),
        ("usage", "text", "outbound", "mms", 2, "message", "0.0600", "0.06"),
        # AT&T, from the registered number: 2 × 0.0035; from the other: 2 × 0.0120 whoever carries it
        ("usage", "carrier_fee", "outbound", "sms", 2, "segment", "0.0070", "0.01"),
        ("usage", "carrier_fee", "outbound", "sms", 2, "segment", "0.0240", "0.02"),
        # T-Mobile: registered 0.0100 as for any carrier, unregistered MMS 0.0210
        ("usage", "carrier_fee", "outbound", "mms", 1, "message", "0.0100", "0.01"),
        ("usage", "carrier_fee", "outbound", "mms", 1, "message", "0.0210", "0.02"),
        # exact 2.00 + 0.04 + 0.06 + 0.007 + 0.024 + 0.010 + 0.021 = 2.1620
        total("2.1620", "2.16"),
    ],
    # One number went on the 20th, its successor is owned at month end: one is charged.
    "release": [NUMBER, texts(1, "0.0100", "0.01"), total("1.0100", "1.01")],
    # -5.00 + 0.01 + 1.00
    "refund": [
        NUMBER, texts(1, "0.0100", "0.01"),
        ("usage", "adjustment", None, None, 1, "adjustment", "-5.00", "-5.00"), total("-3.9900", "-3.99"),
    ],
    "silent": [total("0", "0.00")],
    "taxed": [
        # 600 s = 10 minutes × 0.0600; 5 × 0.0100; a number
        NUMBER, calls(600, "0.6000", "0.60"), texts(5, "0.0500", "0.05"),
        # 0.60 × 37.6 % × 0.649 = 0.60 × 0.244024 = 0.1464144
        ("tax", "tax", None, None, None, None, "0.1464144", "0.15"),
        # 0.40 a number
        ("tax", "tax", None, None, 1, "number", "0.40", "0.40"),
        # 6.5 %: call 0.0390 → 0.04, text 0.00325 → 0.00, number 0.0650 → 0.07; exact 0.10725
        ("tax", "tax", None, None, None, None, "0.10725", "0.11"),
        # 0.60 × 6 % = 0.0360
        ("tax", "tax", None, None, None, None, "0.0360", "0.04"),
        # 1.65 + 0.15 + 0.40 + 0.11 + 0.04; exact 1.65 + 0.6896644
        total("2.3396644", "2.35"),
    ],
    "campaign": [
        ("usage", "number", None, None, 2, "number", "2.00", "2.00"),
        # the member 61 s → 2 minutes, the guest 10 s → 1 minute
        ("usage", "video", "outbound", "video", 120, "second", "0.0080", "0.01"),
        ("usage", "video", "inbound", "video", 60, "second", "0.0040", "0.00"),
        # 61 s → 120, nobody → 0, 10 s → 60, second leg 30 s → 60, the other campaign 30 s → 60: 300 s × 0.0300 / 60
        ("usage", "campaign_call", "outbound", "voice", 300, "second", "0.1500", "0.15"),
        # 61 s → 2 and 36,000 s → 600 minutes of January, 1 s → 1 minute; the third was deleted as February began
        ("usage", "recording_storage", None, None, 603, "stored minute", "0.6030", "0.60"),
        # answered by a human and by a machine; not the ringing, not the second leg, not the campaign that has it off
        ("usage", "voice_detection", "outbound", "voice", 2, "call", "0.0200", "0.02"),
        # exact 2.00 + 0.008 + 0.004 + 0.15 + 0.603 + 0.02
        total("2.7850", "2.78"),
    ],
    # 12 × 0.0100 at list; the ladder: 5 × 0.0100 + 5 × 0.0080 + 2 × 0.0050 = 0.1000, so 0.0200 less
    "ladder": [
        NUMBER, texts(12, "0.1200", "0.12"),
        ("usage", "tier_adjustment", None, None, 1, "adjustment", "-0.0200", "-0.02"), total("1.1000", "1.10"),
    ],
    # 23 × 0.0100. Ten granted, 16 burned: 6 beyond; five bought, 7 burned: 2 beyond. 8 × 0.0400
    "beyond": [
        NUMBER, texts(23, "0.2300", "0.23"),
        ("usage", "credit_overage", None, None, 8, "credit", "0.3200", "0.32"), total("1.5500", "1.55"),
        subscription("5.00"), ("product", "credit_pack", None, None, 1, "pack", "1.00", "1.00"), products("6.00"),
    ],
    # 2 × ¥1.25 = ¥2.50 → ¥3, and ¥120 for the number
    "yen": [
        ("usage", "number", None, None, 1, "number", "120", "120"), texts(2, "2.50", "3"), total("122.50", "123"),
    ],
}  # fmt: skip

LEDGER = ["date", "entry", "lot", "credits", "balance_allotment", "balance_purchased"]
A31 = {
    JANUARY: [("31", "grant", 100, 100, 0), ("31", "burn", -30, 70, 0)],
    # 31 January is clamped to the 29th: what is left lapses, then the next hundred come.
    FEBRUARY: [
        ("01", "open", 70, 70, 0), ("10", "burn", -20, 50, 0), ("29", "expire", -50, 0, 0), ("29", "grant", 100, 100, 0),
        ("29", "burn", -10, 90, 0),
    ],
    # ... and it does not drift: March's is the 31st again.
    MARCH: [
        ("01", "open", 90, 90, 0), ("30", "burn", -5, 85, 0), ("31", "expire", -85, 0, 0), ("31", "grant", 100, 100, 0),
        ("31", "burn", -7, 93, 0),
    ],
}  # fmt: skip
TWICE = [
    ("01", "grant", 10, 10, 0),
    # 09:00  6 of the allotment: 4 left, below 5, so a pack of 20
    ("07", "burn", -6, 4, 0), ("07", "recharge", 20, 4, 20),
    # 09:20  4 of the allotment and 6 of the pack; 09:50  10 more: 4 left, below 5, a second pack within the hour
    ("07", "burn", -4, 0, 20), ("07", "burn", -16, 0, 4), ("07", "recharge", 20, 0, 24),
    # 8 Feb  60: 24 are there, 36 are lacking, and 5 must be left: 41 takes three packs
    ("08", "burn", -4, 0, 20), ("08", "burn", -20, 0, 0), ("08", "recharge", 60, 0, 60), ("08", "burn", -36, 0, 24),
]  # fmt: skip
BEYOND = [
    ("01", "grant", 10, 10, 0), ("05", "burn", -10, 0, 0), ("05", "overage", 6, 0, 0), ("06", "purchase", 5, 0, 5),
    ("06", "burn", -5, 0, 0), ("06", "overage", 2, 0, 0),
]  # fmt: skip


@pytest.fixture(scope="module")
def quarter(tmp_path_factory):
    return opened(build(tmp_path_factory.mktemp("quarter")))


def rows_of(jobs, account_id: str, month) -> list[tuple]:
    return jobs.statements.load(account_id, month).lines.select(COLUMNS).rows()


def typed(rows: list[tuple]) -> list[tuple]:
    return [(*row[:6], Decimal(row[6]), Decimal(row[7])) for row in rows]


def ledger_of(jobs, account_id: str, month) -> list[tuple]:
    rows = jobs.statements.load(account_id, month).ledger.select(LEDGER).rows()
    return [(f"{day:%d}", entry, credits, own, bought) for day, entry, _, credits, own, bought in rows]


@pytest.mark.parametrize("account_id", BY_HAND)
def test_february_is_what_was_worked_out_by_hand(quarter, account_id):
    assert rows_of(quarter, account_id, FEBRUARY) == typed(BY_HAND[account_id])


def test_every_account_is_worked_out():
    assert set(BY_HAND) == set(ACCOUNTS)


@pytest.mark.parametrize("month", A31, ids=str)
def test_a_plan_of_the_31st_resets_on_the_last_day_and_never_drifts(quarter, month):
    assert ledger_of(quarter, "a31", month) == A31[month]


def test_two_recharges_in_an_hour_and_three_packs_at_once(quarter):
    assert ledger_of(quarter, "twice", FEBRUARY) == TWICE


def test_what_no_credit_covers_is_overage_and_a_later_pack_does_not_pay_for_it(quarter):
    assert ledger_of(quarter, "beyond", FEBRUARY) == BEYOND


def test_carriers_and_registration_stand_on_the_fee_lines(quarter):
    fees = quarter.statements.load("picture", FEBRUARY).lines.filter(pl.col("line") == "carrier_fee")
    assert fees.select("type", "carrier", "registered").rows() == [
        ("sms", "AT&T", True), ("sms", "AT&T", False), ("mms", "T-Mobile", True), ("mms", "T-Mobile", False),
    ]  # fmt: skip


def test_taxes_say_who_levies_what_on_how_much(quarter):
    taxes = quarter.statements.load("taxed", FEBRUARY).lines.filter(pl.col("section") == "tax")
    assert taxes.select("tax_level", "jurisdiction", "item", "rate_id", "base").rows() == [
        ("federal", "US", "Universal service", "usf@2028-01-01", Decimal("0.60")),
        ("state", "US-WA", "Emergency line", "e911@2028-01-01", None),
        ("state", "US-WA", "Sales tax", "wa@2028-01-01", Decimal("1.65")),
        ("local", "US-WA-SEATTLE", "Utility tax", "sea@2028-01-01", Decimal("0.60")),
    ]


def test_the_storage_of_january_is_paid_in_january_and_again_in_february(quarter):
    # 2 + 600 + 2 minutes in January; in February the third recording is gone and a minute is new; March keeps 603.
    by_month = {
        str(m): [(r[4], r[6]) for r in rows_of(quarter, "campaign", m) if r[1] == "recording_storage"]
        for m in (JANUARY, FEBRUARY, MARCH)
    }
    assert by_month == {
        "2028-01": [(604, Decimal("0.604"))],
        "2028-02": [(603, Decimal("0.603"))],
        "2028-03": [(603, Decimal("0.603"))],
    }


def test_taxes_rounded_once_on_the_statement_show_the_difference(tmp_path):
    """Exact 0.1464144 + 0.40 + 0.10725 + 0.0360 = 0.6896644 → 0.69; the printed taxes add up to 0.70, so -0.01."""
    jobs = opened(build(tmp_path, 'tax_rounding = "per_statement"'))
    lines = jobs.statements.load("taxed", FEBRUARY).lines
    by_section = dict(lines.group_by("section").agg(pl.col("amount").sum()).iter_rows())
    assert by_section == {
        "usage": Decimal("1.65"), "tax": Decimal("0.70"), "rounding": Decimal("-0.01"), "total": Decimal("2.34"),
    }  # fmt: skip


def test_numbers_by_days_are_charged_for_the_days_they_were_owned(tmp_path):
    """1.00 × 19/29 = 0.655172414 and 1.00 × 10/29 = 0.344827586: together the price of the one that is always there."""
    jobs = opened(build(tmp_path, 'number_billing = "days"'))
    statement = jobs.statements.load("release", FEBRUARY)
    owned = statement.monthly.filter(pl.col("line") == "number").sort("days")
    assert owned.select("days", "quantity", "charge").rows() == [
        (10, 1, Decimal("0.344827586")), (19, 1, Decimal("0.655172414")),
    ]  # fmt: skip
    assert statement.lines.row(0, named=True)["amount_exact"] == Decimal("1.000000000")
    assert statement.total == Decimal("1.01")
