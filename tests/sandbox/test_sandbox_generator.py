"""The generator itself: deterministic, believable, exact in its totals, bounded in memory."""

import hashlib
import json
import random
import re
import subprocess
import sys
import time
import tracemalloc
from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime

import pytest
from sandboxhelp import CLOCK

from sandbox import truth
from sandbox.company import ACCOUNTS, CLINIC, CUSTOMERS, HARBOR, LANTERN, MAIN
from sandbox.decks import DECK_SIZE
from sandbox.prices import CARRIERS, carrier_of, minutes, usd
from sandbox.records import Records
from sandbox.segments import count_segments
from sandbox.traffic import CALL, MESSAGE, SECONDS_PER_DAY, World, clock_at, midnight
from sandbox.usage import LEAVES, Ledger

DAY = date(2026, 10, 6)
LAST_DAYS = [date(2026, 11, d) for d in (5, 6, 7, 8, 9)]


def rows_of(world, account, day, clock=CLOCK):
    records, first = Records(world), midnight(day)
    last = first + SECONDS_PER_DAY - 1
    return (
        [records.message(at, clock) for at in world.messages(account, first, last, clock, False)],
        [records.call(at, clock) for at in world.calls(account, first, last, clock)],
        [records.recording(at, clock) for at in world.recordings(account, first, last, clock)],
    )


def moment(text):
    return int(parsedate_to_datetime(text).timestamp())


def test_the_same_seed_gives_the_same_bytes_in_another_process():
    code = (
        "import json,hashlib;from datetime import date;from sandbox.traffic import *;from sandbox.records import Records;"
        "from sandbox.company import CUSTOMERS;w=World(7);c=Clock(1794169807);r=Records(w);f=midnight(date(2026,10,6));"
        "print(hashlib.sha256(json.dumps([r.message(p,c) for a in CUSTOMERS for p in w.messages(a,f,f+86399,c,True)]"
        "+[r.call(p,c) for a in CUSTOMERS for p in w.calls(a,f,f+86399,c)]).encode()).hexdigest())"
    )
    runs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(runs) == 1


def test_what_the_first_release_served_is_still_the_same_bytes(world):
    """Messages, calls, numbers, and recordings as the night after sees them; the digests are older than video."""
    told = {}
    for account in CUSTOMERS:
        records, digest = Records(world), hashlib.sha256()
        for day in (date(2026, 3, 1), date(2026, 7, 3), DAY, date(2026, 11, 7)):
            for rows in rows_of(world, account, day, type(CLOCK)(midnight(day) + 129_600)):
                digest.update(json.dumps(rows).encode())
        digest.update(json.dumps([records.number(account, n) for n in account.numbers]).encode())
        told[account.account_id] = digest.hexdigest()[:16]
    assert told == {
        "acct_harbor": "b9433038aebc0577",
        "acct_clinic": "a8cdcea1a19b0b0a",
        "acct_lantern": "f9c9f91dc66571c0",
    }


def test_another_seed_gives_other_data():
    a, b = (rows_of(World(seed), HARBOR, DAY)[0] for seed in (7, 8))
    assert {m["sid"] for m in a}.isdisjoint(m["sid"] for m in b)


def test_a_sid_leads_back_to_its_position_and_a_foreign_one_to_nothing(world):
    for at in (
        *world.messages(CLINIC, midnight(DAY), midnight(DAY) + 86_399, CLOCK, True),
        *world.calls(CLINIC, midnight(DAY), midnight(DAY) + 86_399, CLOCK),
    ):
        assert world.position(world.sid("SM", *at)) == at
    assert World(8).position(world.sid("SM", MESSAGE, 1, DAY.toordinal(), 3)) is None
    assert world.position("SM" + "0" * 32) is None
    assert world.position("SMxyz") is None


def test_sids_are_unique_over_accounts_days_and_kinds(world):
    sids = Counter()
    for account in CUSTOMERS:
        for offset in range(20):
            for rows in rows_of(world, account, DAY + timedelta(offset)):
                sids.update(r["sid"] for r in rows)
    assert max(sids.values()) == 1
    assert len(sids) > 10_000


def test_the_average_volume_is_the_one_asked_for():
    for asked in (900, 40_000):
        world = World(7, asked, asked)
        days = [date(2026, 3, 1) + timedelta(n) for n in range(245)]
        for stream in (MESSAGE, CALL):
            total = sum(world.plan(stream, a, d).count for a in CUSTOMERS for d in days)
            assert abs(total / 245 - asked) < asked * 0.01


def test_days_have_a_rhythm_zero_days_and_growth(world):
    def count(day):
        return world.plan(MESSAGE, CLINIC, day).count

    assert count(date(2026, 10, 4)) == 0 and count(date(2026, 9, 7)) == 0, "closed on Sundays and holidays"
    assert count(date(2026, 10, 5)) > 2 * count(date(2026, 10, 3)) > 0
    march, october = (
        sum(world.plan(MESSAGE, a, date(2026, m, d)).count for a in CUSTOMERS for d in range(1, 29)) for m in (3, 10)
    )
    assert october > 1.1 * march
    assert world.plan(MESSAGE, HARBOR, date(2026, 2, 28)).count == 0


def test_rows_are_newest_first_and_every_row_lies_on_its_day(world):
    for account in CUSTOMERS:
        for offset in range(20):
            day = DAY - timedelta(offset)
            messages, calls, recordings = rows_of(world, account, day)
            for rows, name in ((messages, "date_sent"), (calls, "start_time"), (recordings, "date_created")):
                moments = [moment(r[name]) for r in rows]
                assert moments == sorted(moments, reverse=True)
                assert all(midnight(day) <= m < midnight(day) + SECONDS_PER_DAY for m in moments)


def test_the_first_and_last_second_of_a_day_are_met(world):
    seconds = set()
    for account in CUSTOMERS:
        for offset in range(40):
            plan = world.plan(MESSAGE, account, DAY - timedelta(offset))
            if plan.count:
                seconds |= {plan.second(0), plan.second(plan.count - 1)}
    assert {0, SECONDS_PER_DAY - 1} <= seconds


def test_messages_are_believable(world):
    seen, pending = Counter(), 0
    own = {a.sid: {n.number for n in a.numbers} for a in CUSTOMERS}
    texts = set()
    for account in CUSTOMERS:
        for offset in range(18):
            for m in rows_of(world, account, DAY - timedelta(offset))[0]:
                kind = m["sid"][:2]
                seen[kind, m["direction"], m["status"]] += 1
                mine, other = (m["to"], m["from"]) if m["direction"] == "inbound" else (m["from"], m["to"])
                assert mine in own[account.sid] and other not in own[account.sid]
                assert re.fullmatch(r"\+1\d{3}55501\d\d", mine) and re.fullmatch(r"\+1\d{3}55501\d\d", other)
                assert (kind == "MM") == (m["num_media"] != "0")
                assert moment(m["date_created"]) <= moment(m["date_sent"]) <= moment(m["date_updated"])
                if kind == "SM" and m["body"]:
                    assert int(m["num_segments"]) == count_segments(m["body"])
                    texts.add(m["body"])
                if m["status"] == "failed":
                    assert m["price"] is None and m["error_code"] and m["error_message"]
                else:
                    assert re.fullmatch(r"-0\.\d{5}", m["price"])
                    pending += m["status"] == "sent"
    assert {s for _, _, s in seen} == {"delivered", "sent", "undelivered", "failed", "received", "read"}
    assert {d for _, d, _ in seen} == {"inbound", "outbound-api", "outbound-reply"}
    assert {k for k, _, _ in seen} == {"SM", "MM"} and pending
    for sign in ("🙂", "’", "ñ", "€"):
        assert any(sign in text for text in texts), sign
    assert {count_segments(text) for text in texts} >= {1, 2, 3}


def test_calls_are_believable(world):
    directions, statuses, answered_by, crossing, children = Counter(), Counter(), Counter(), 0, 0
    for account in CUSTOMERS:
        for offset in range(40):
            day = DAY - timedelta(offset)
            calls = rows_of(world, account, day)[1]
            by_sid = {c["sid"]: c for c in calls}
            for c in calls:
                start, end, talk = moment(c["start_time"]), moment(c["end_time"]), int(c["duration"])
                directions[c["direction"]] += 1
                statuses[c["status"]] += 1
                answered_by[c["answered_by"]] += 1
                crossing += end >= midnight(day) + SECONDS_PER_DAY
                assert moment(c["date_created"]) <= start
                assert end - start >= talk
                assert (c["status"] == "completed") == (talk > 0) == (c["price"] is not None)
                if c["parent_call_sid"]:
                    parent = by_sid[c["parent_call_sid"]]
                    children += 1
                    assert moment(parent["start_time"]) <= start and moment(parent["end_time"]) >= end
                    assert c["direction"] == "outbound-dial" and parent["parent_call_sid"] is None
    assert set(directions) == {"inbound", "outbound-api", "outbound-dial"}
    assert set(statuses) == {"completed", "no-answer", "busy", "failed"}
    assert {"human", "machine_start", "machine_end_beep"} <= set(answered_by)
    assert crossing and children > 100


@pytest.mark.parametrize("volume", [(900, 160), (2_500, 900)])
def test_usage_is_the_sum_of_the_rows_to_the_cent(volume):
    world = World(7, *volume)
    ledger = Ledger(world)
    picked = random.Random(3)
    days = [date(2026, 3, 1) + timedelta(picked.randrange(250)) for _ in range(6)] + LAST_DAYS

    def price(rows):
        return sum((-Decimal(r["price"]) for r in rows if r["price"]), Decimal(0))

    for day in days:
        for account in CUSTOMERS:
            messages, calls, recordings = rows_of(world, account, day)
            usage = {k: (c, u, Decimal(usd(p))) for k, (c, u, p) in ledger.usage(account, day, CLOCK).items()}
            for kind, prefix in (("sms", "SM"), ("mms", "MM")):
                of_kind = [m for m in messages if m["sid"].startswith(prefix)]
                for category, ways in (
                    (kind, ("in", "out")),
                    (f"{kind}-inbound", ("in",)),
                    (f"{kind}-outbound", ("out",)),
                ):
                    priced = [m for m in of_kind if m["price"] and m["direction"].startswith(ways)]
                    fees = usage[f"{kind}-messages-carrierfees"][2] if "out" in ways else 0
                    assert usage[category][0] == len(priced)
                    assert usage[category][2] + fees == price(priced)
                    if kind == "sms":
                        assert usage[category][1] == sum(int(m["num_segments"]) for m in priced)
            failed = sum(m["status"] == "failed" for m in messages)
            assert usage["failed-message-processing-fee"] == (failed, failed, failed * Decimal("0.001"))
            for category, ways in (("calls", ("in", "out")), ("calls-inbound", ("in",)), ("calls-outbound", ("out",))):
                priced = [c for c in calls if c["price"] and c["direction"].startswith(ways)]
                assert usage[category] == (len(priced), sum(minutes(int(c["duration"])) for c in priced), price(priced))
            stored = [r for r in recordings if r["price"]]
            assert usage["recordings"][::2] == (len(stored), price(stored))
            assert usage["answering-machine-detection"][0] == sum(bool(c["answered_by"]) for c in calls)
            assert usage["totalprice"][2] == sum(usage[leaf][2] for leaf in LEAVES)
            both = usage["sms-inbound-longcode"][2] + usage["sms-inbound-tollfree"][2]
            assert both == usage["sms-inbound"][2]


def test_numbers_are_charged_once_a_month_while_owned(world):
    ledger = Ledger(world)
    month = [date(2026, 10, d) for d in range(1, 32)]
    assert sum(sum(ledger.numbers_charged(LANTERN, d).values()) for d in month) == len(LANTERN.numbers)
    assert sum(sum(ledger.numbers_charged(CLINIC, d).values()) for d in month) == len(CLINIC.numbers) - 1


def test_truth_says_how_many_of_a_days_numbers_are_still_listed(world):
    def owned(day, clock):
        (line,) = [
            x for x in truth.lines(world, clock, day, day) if x["kind"] == "number" and "clinic" in x["account_id"]
        ]
        return line["records"], line["listed"]

    whole, march = len(CLINIC.numbers), date(2026, 3, 10)
    assert owned(march, CLOCK) == (whole, whole - 1), "one was released in September"
    assert owned(march, clock_at(date(2026, 9, 14))) == (whole, whole)
    assert owned(date(2026, 10, 6), CLOCK) == (whole - 1, whole - 1)


def test_prices_arrive_late_and_statuses_change(world):
    records = Records(world)
    early = type(CLOCK)(midnight(DAY) + 43_200)
    first = {m["sid"]: m for m in rows_of(world, CLINIC, DAY, early)[0]}
    later = {m["sid"]: m for m in rows_of(world, CLINIC, DAY)[0]}
    assert set(first) < set(later)
    pending = [m for m in first.values() if m["price"] is None and m["status"] != "failed"]
    assert pending and all(m["status"] == "sent" for m in pending)
    for m in pending:
        final = later[m["sid"]]
        assert final["price"] and moment(final["date_updated"]) > moment(m["date_updated"])
    undated = [records.message(at, CLOCK) for at in world.messages(HARBOR, 0, CLOCK.now, CLOCK, True) if at.stream == 1]
    assert {"canceled", "scheduled"} <= {m["status"] for m in undated}
    assert all(m["date_sent"] is None and m["price"] is None for m in undated)


def test_ten_million_messages_a_day_are_served_page_by_page():
    world = World(7, 10_000_000, 100_000)
    records = Records(world)
    day = date(2026, 10, 7)
    plan = world.plan(MESSAGE, HARBOR, day)
    assert plan.count > 2_000_000
    tracemalloc.start()
    started = time.perf_counter()
    positions = world.messages(HARBOR, midnight(day), midnight(day) + 60_000, CLOCK, True)
    page = [records.message(next(positions), CLOCK) for _ in range(1000)]
    took = time.perf_counter() - started
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len({m["sid"] for m in page}) == 1000
    assert took < 2 and peak < 30_000_000
    sums = Ledger(world).day(HARBOR, day, CLOCK)
    assert sum(s.records for (kind, _, _), s in sums.items() if kind in ("sms", "mms")) == plan.count


def test_totals_of_many_rounds_equal_a_walk_over_the_rows():
    world = World(7, 30_000, 100)
    plan = world.plan(MESSAGE, CLINIC, DAY)
    assert plan.count > 3 * DECK_SIZE
    sums = Ledger(world).day(CLINIC, DAY, CLOCK)
    walked = Counter()
    for index in range(plan.count):
        card = plan.card(index)
        walked[card.kind, "inbound" if card.inbound else "outbound"] += card.base + card.fee
    merged = Counter()
    for (kind, way, _), one in sums.items():
        if kind in ("sms", "mms"):
            merged[kind, way] += one.base + one.fee
    assert walked == merged


def test_segments_by_the_standard():
    cases = {
        "": 1,
        "a" * 160: 1,
        "a" * 161: 2,
        "a" * 306: 2,
        "a" * 307: 3,
        "]" * 80: 1,
        "]" * 153: 3,
        "’" * 70: 1,
        "’" * 71: 2,
        "😀" * 35: 1,
        "😀" * 67: 3,
        "ê" * 70: 1,
    }
    assert {text: count_segments(text) for text in cases} == cases


def test_carriers_are_a_rule_on_the_number():
    assert carrier_of("+12015550100") == 0 and carrier_of("+12015550199") == 4
    assert CARRIERS == ("AT&T", "T-Mobile", "Verizon", "US Cellular", "Other")


def test_identifiers_are_well_formed_and_the_company_is_complete():
    assert all(re.fullmatch(r"AC[0-9a-f]{32}", a.sid) and re.fullmatch(r"[0-9a-f]{32}", a.token) for a in ACCOUNTS)
    assert not MAIN.numbers
    for account in CUSTOMERS:
        assert 6 <= len(account.members) <= 10 and 2 <= len(account.inboxes) <= 4 and account.campaigns
        assert sum(not n.listed for n in account.numbers) == 1
        for day in (date(2026, 3, 1), date(2026, 11, 8)):
            pools = {n.pick for n in account.numbers if n.active(day)}
            assert {"registered", "unregistered", "tollfree"} < pools
