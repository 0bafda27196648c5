"""Five accounts' September 2026, worked out by hand to the last digit."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from statement_made import SEPTEMBER, open_jobs

COLUMNS = ["line", "direction", "type", "registered", "quantity", "unit", "events", "amount_exact", "amount", "unrated"]

# Prices: SMS out 0.0090 a segment to 14 September, 0.0095 from the 15th; SMS in 0.0050; MMS out 0.0250, in 0.0200 a
# message; failed message 0.0010. Calls from the moment of dialling, 60/60: out 0.0200, in 0.0120, campaign 0.0220 a
# minute. Carrier fees out: SMS registered 0.0045, unregistered 0.0120, unlisted sender 0.0045 a segment; MMS 0.0100.

# Numbers are free, and a price of 0 is said, not left out.
TWO_NUMBERS, ONE_NUMBER = (("number", None, None, None, n, "number", 0, "0", "0.00", 0) for n in (2, 1))

ACME = [
    TWO_NUMBERS,
    # a1  1 Sep  3 segments × 0.0090 = 0.0270
    # a2 14 Sep  23:59:59, 1 × 0.0090 = 0.0090, the last second of the old price
    # a3 15 Sep  00:00:00, 1 × 0.0095 = 0.0095, the first second of the new one
    # a4 20 Sep  2 × 0.0095 = 0.0190
    # a9 22 Sep  undelivered is charged: 1 × 0.0095 = 0.0095
    #            0.0270 + 0.0090 + 0.0095 + 0.0190 + 0.0095 = 0.0740 → 0.07
    ("text", "outbound", "sms", None, 3 + 1 + 1 + 2 + 1, "segment", 5, "0.0740", "0.07", 0),
    # a6 21 Sep  1 message × 0.0250 = 0.0250 → 0.03, half up
    ("text", "outbound", "mms", None, 1, "message", 1, "0.0250", "0.03", 0),
    # a5 20 Sep  2 segments × 0.0050 = 0.0100
    ("text", "inbound", "sms", None, 2, "segment", 1, "0.0100", "0.01", 0),
    # a7 21 Sep  1 message × 0.0200 = 0.0200
    ("text", "inbound", "mms", None, 1, "message", 1, "0.0200", "0.02", 0),
    # a1, a2, a3, a9 from Mia's registered number: (3 + 1 + 1 + 1) × 0.0045 = 0.0270 → 0.03
    ("carrier_fee", "outbound", "sms", True, 6, "segment", 4, "0.0270", "0.03", 0),
    # a4 from Support's unregistered number: 2 × 0.0120 = 0.0240 → 0.02
    ("carrier_fee", "outbound", "sms", False, 2, "segment", 1, "0.0240", "0.02", 0),
    # a6 1 message × 0.0100
    ("carrier_fee", "outbound", "mms", True, 1, "message", 1, "0.0100", "0.01", 0),
    # a8 22 Sep  failed: five segments, one message × 0.0010 = 0.0010 → 0.00
    ("failed_message", "outbound", "sms", None, 1, "message", 1, "0.0010", "0.00", 0),
    # exact 0.0740 + 0.0250 + 0.0100 + 0.0200 + 0.0270 + 0.0240 + 0.0100 + 0.0010 = 0.1910
    # total 0.07 + 0.03 + 0.01 + 0.02 + 0.03 + 0.02 + 0.01 + 0.00 = 0.19: the lines as printed
    ("total", None, None, None, None, None, 0, "0.1910", "0.19", 0),
]

BOLT = [
    TWO_NUMBERS,
    # b0  0 s → 0      b1  1 s → 60     b2 59 s → 60     b3 60 s → 60     b4 61 s → 120
    # b5  rang 21 s, talked 40 s: 61 s from dialling → 120
    # b6  rang 20 s, nobody answered → 0
    # b7  dialled 23:59:30 on the 9th, 45 s → 60, of the 9th
    # b8  dialled 23:59:50 on the 30th, 30 s → 60, of September
    # b-august, dialled 23:59:50 on 31 August, is August's
    #     0 + 60 + 60 + 60 + 120 + 120 + 0 + 60 + 60 = 540 s = 9 minutes × 0.0200 = 0.1800
    ("call", "outbound", "voice", None, 540, "second", 9, "0.1800", "0.18", 0),
    # b9  61 s → 120 s = 2 × 0.0120 = 0.0240 → 0.02
    ("call", "inbound", "voice", None, 120, "second", 1, "0.0240", "0.02", 0),
    # bc  61 s → 120 s = 2 × 0.0220 = 0.0440 → 0.04
    ("campaign_call", "outbound", "voice", None, 120, "second", 1, "0.0440", "0.04", 0),
    # exact 0.1800 + 0.0240 + 0.0440 = 0.2480; total 0.18 + 0.02 + 0.04 = 0.24
    ("total", None, None, None, None, None, 0, "0.2480", "0.24", 0),
]

COVE = [("total", None, None, None, None, None, 0, "0", "0.00", 0)]

DUNE = [
    # d1  5 Sep  from a number the directory does not list: 1 × 0.0090 = 0.0090
    # d2  6 Sep  to London: no price. Counted, never zero, and the month stays open
    ("text", "outbound", "sms", None, 2, "segment", 2, "0.0090", "0.01", 1),
    # d1  registered or not is unknown: 1 × 0.0045 = 0.0045 → 0.00. No fee row reaches London
    ("carrier_fee", "outbound", "sms", None, 1, "segment", 1, "0.0045", "0.00", 0),
    ("total", None, None, None, None, None, 0, "0.0135", "0.01", 1),
]

KIRI = [
    ONE_NUMBER,
    # k2  61 s → 120 s = 2 × ¥30 = ¥60
    ("call", "outbound", "voice", None, 120, "second", 1, "60", "60", 0),
    # k1  2 × ¥1.25 = ¥2.50 → ¥3: the yen has no decimals, half up
    ("text", "outbound", "sms", None, 2, "segment", 1, "2.50", "3", 0),
    ("total", None, None, None, None, None, 0, "62.50", "63", 0),
]

BY_HAND = {"acme": ACME, "bolt": BOLT, "cove": COVE, "dune": DUNE, "kiri": KIRI}


@pytest.fixture(scope="module")
def september(built_once):
    return open_jobs(built_once)


@pytest.mark.parametrize("account_id", BY_HAND)
def test_the_month_is_what_was_worked_out_by_hand(september, account_id):
    statement = september.statements.load(account_id, SEPTEMBER)
    expected = [tuple(Decimal(v) if i in (7, 8) else v for i, v in enumerate(row)) for row in BY_HAND[account_id]]
    assert statement.lines.select(COLUMNS).rows() == expected
    assert statement.lines["position"].to_list() == list(range(len(expected)))
    assert statement.total == expected[-1][8]
    assert set(statement.lines["currency"]) == {"JPY" if account_id == "kiri" else "USD"}


def test_usage_is_on_the_day_it_began(september):
    daily = september.statements.load("bolt", SEPTEMBER).daily
    seconds = dict(daily.group_by("date").agg(pl.col("billed_seconds").sum()).sort("date").iter_rows())
    assert seconds == {
        date(2026, 8, 31): 60, date(2026, 9, 2): 120, date(2026, 9, 3): 300, date(2026, 9, 5): 120,
        date(2026, 9, 6): 120, date(2026, 9, 9): 60, date(2026, 9, 30): 60,
    }  # fmt: skip


def test_members_inboxes_and_unassigned_make_the_total(september):
    for account_id, rows in BY_HAND.items():
        own = pl.col("date") >= SEPTEMBER.first
        daily = september.statements.load(account_id, SEPTEMBER).daily.filter(own)
        by_owner = daily.group_by("owner_kind", "owner_id").agg(pl.col("charge").sum())
        assert by_owner["charge"].sum() == Decimal(rows[-1][7])
    acme = september.statements.load("acme", SEPTEMBER).daily
    assert set(acme.select("owner_kind", "owner_id").iter_rows()) == {("member", "mia"), ("inbox", "support")}
    dune = september.statements.load("dune", SEPTEMBER).daily
    assert set(dune.select("owner_kind", "owner_id").iter_rows()) == {("unassigned", "unassigned")}


def test_messages_segments_and_credits_count_each_text_once(september):
    """Acme: 8 segments out in 5 SMS, an MMS out; 2 segments in, an MMS in. The failed one is no message and burns none."""
    daily = september.statements.load("acme", SEPTEMBER).daily
    sums = daily.select(pl.col("messages", "segments", "credits").sum()).row(0)
    assert sums == (8, 10, 12)
    (totals,) = september.statements.load("acme", SEPTEMBER).history
    assert (totals.messages_sent, totals.messages_received, totals.messages) == (6, 2, 8)
    assert (totals.segments_sent, totals.segments_received, totals.segments) == (8, 2, 10)


def test_nobody_s_usage_is_rolled_up_and_stands_on_no_statement(september):
    heads = september.lake.heads("daily", date=date(2026, 9, 8))
    (rolled,) = (september.lake.read(v) for v in heads.values())
    assert rolled.select("account_id", "line", "messages", "unrated").rows() == [
        ("unassigned", "carrier_fee", 0, 0), ("unassigned", "text", 1, 1),
    ]  # fmt: skip
    assert {a.account_id for a in september.statements.accounts} == set(BY_HAND)


def test_august_keeps_its_call(september):
    statement = september.statements.load("bolt", SEPTEMBER - 1)
    assert (statement.total, statement.state) == (Decimal("0.02"), "provisional")
    assert september.statements.load("bolt", SEPTEMBER).previous_lines.equals(statement.lines)
    assert [str(t.month) for t in september.statements.load("bolt", SEPTEMBER).history] == ["2026-08", "2026-09"]
