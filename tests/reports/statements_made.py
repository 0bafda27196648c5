"""Statements made by hand: no lake, no provider. Figures come from arithmetic on dates, so every run makes the same.

The lines are added up here, row by row in plain Python, not by the code that makes real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal

import polars as pl

from etl.directory import Account
from etl.money import round_half_up
from etl.periods import Month
from etl.schemas import DATASETS, HELD_LINES, LINES, PRODUCT_LINES, SECTIONS
from etl.statement import RECONCILED, MonthTotals, Statement

OCTOBER = Month(2026, 10)
MEMBERS = (
    ("amara", "Amara Okafor"), ("ben", "Ben Castellanos"), ("dmitri", "Dmitri Halloran"), ("chloe", "Chloé Marchetti"),
    ("esther", "Esther Nakamura"), ("farid", "Farid Benali"), ("greta", "Greta Lindqvist"), ("hugo", "Hugo Sandoval"),
)  # fmt: skip
INBOXES = (
    ("leasing", "Leasing"),
    ("maintenance", "Maintenance"),
    ("front-desk", "Front desk"),
    ("after-hours", "After hours"),
)
PRICES = {
    ("text", "outbound", "sms"): "0.0083", ("text", "inbound", "sms"): "0.0045",
    ("text", "outbound", "mms"): "0.0220", ("text", "inbound", "mms"): "0.0165",
    ("call", "outbound", None): "0.0004", ("call", "inbound", None): "0.00026666",
    ("campaign_call", "outbound", None): "0.00036666",
    ("carrier_fee", "sms", True): "0.003", ("carrier_fee", "sms", False): "0.01", ("carrier_fee", "mms", True): "0.01",
    ("recording_storage", None, None): "0.001", ("number", None, None): "1.15", ("voice_detection", None, None): "0.01",
    ("video", "outbound", None): "0.00005", ("video", "inbound", None): "0.000025", ("failed_message", None, None): "0.001",
    ("carrier_fee", "mms", False): "0.015", ("carrier_fee", "inbound", None): "0.0025",
}  # fmt: skip
CAMPAIGN = "+13125550177"
CARRIERS = ("AT&T", "T-Mobile US", "Verizon")


def account(**changes) -> Account:
    given = {
        "account_id": "acct_7Q2M", "name": "Harbor & Finch Realty", "company": "Harbor & Finch", "currency": "USD",
        "rate_card": "standard", "email_to": ("billing@harborfinch.example", "lena@harborfinch.example"),
    }  # fmt: skip
    return Account(**(given | changes))


def row(day: date, who: Account, owner: tuple[str, str], line: str, quantity: int, unit: str, price, **more) -> dict:
    """One row of `schemas.Daily` with its date."""
    given = {
        "date": day, "account_id": who.account_id, "owner_kind": owner[0], "owner_id": owner[1], "campaign_id": None,
        "line": line, "direction": None, "type": None, "carrier": None, "registered": None, "rate_id": None,
        "caller_place": None, "callee_place": None, "currency": who.currency,
        "unit": unit, "events": 1, "quantity": quantity, "messages": 0, "segments": 0, "billed_seconds": 0, "credits": 0,
        "charge": Decimal(price) * quantity, "provider_cost": Decimal(0), "unpriced": 0, "unrated": 0,
        "segments_differ": 0, "vanished": 0,
    }  # fmt: skip
    return given | more


def text(
    day: date, who: Account, owner, direction: str, messages: int, segments: int, kind: str = "sms", **more
) -> dict:
    sms = kind == "sms"
    return row(
        day, who, owner, "text", segments if sms else messages, "segment" if sms else "message",
        PRICES["text", direction, kind], direction=direction, type=kind, messages=messages,
        segments=segments if sms else 0, events=messages, credits=segments, **more,
    )  # fmt: skip


def fee(day: date, who: Account, owner, quantity: int, kind: str, registered: bool, carrier: str | None) -> dict:
    return row(
        day, who, owner, "carrier_fee", quantity, "segment" if kind == "sms" else "message",
        PRICES["carrier_fee", kind, registered], direction="outbound", type=kind, registered=registered, carrier=carrier,
        events=quantity,
    )  # fmt: skip


def call(day: date, who: Account, owner, direction: str, calls: int, seconds: int, line: str = "call") -> dict:
    return row(
        day, who, owner, line, seconds, "second", PRICES[line, direction, None], direction=direction, type="voice",
        billed_seconds=seconds, events=calls,
    )  # fmt: skip


def usual_day(day: date, who: Account, members: Iterable, inboxes: Iterable) -> list[dict]:
    """A working day of a letting agency; little on week-ends."""
    rows = []
    busy = 6 if day.weekday() < 5 else 1
    growth = 100 + (day.year * 12 + day.month - 2026 * 12 - 5) * 4
    people = [(("member", m[0]), 18 - i) for i, m in enumerate(members)]
    people += [(("inbox", b[0]), 30 - 7 * i) for i, b in enumerate(inboxes)]
    for i, (owner, weight) in enumerate(people):
        wave = (day.day * (i + 3) + day.month * 5) % 7
        sent = max(weight, 2) * busy * growth // 500 + wave
        if sent:
            rows.append(text(day, who, owner, "outbound", sent, sent + sent // 3))
            rows.append(fee(day, who, owner, sent + sent // 3, "sms", True, CARRIERS[i % 3]))
        if sent // 3:
            rows.append(text(day, who, owner, "inbound", sent // 3, sent // 3 + wave % 2))
        if owner[0] == "member" and busy > 1:
            rows.append(call(day, who, owner, "outbound", wave + 1, 60 * (wave * 4 + 3)))
            rows.append(call(day, who, owner, "inbound", wave // 2 + 1, 60 * (wave + 2)))
            if wave == 3:
                rows.append(text(day, who, owner, "outbound", 2, 0, "mms"))
                rows.append(fee(day, who, owner, 2, "mms", True, CARRIERS[i % 3]))
    everyone = ("unassigned", "unassigned")
    if busy > 1 and people:
        rows.append(call(day, who, ("inbox", inboxes[0][0]) if inboxes else everyone, "outbound", 40, 60 * 310, "campaign_call")
                    | {"campaign_id": CAMPAIGN})  # fmt: skip
    if day.weekday() == 2:
        rows.append(text(day, who, everyone, "inbound", 2, 3))
    # What is held has a quantity on every day, and its charge in the month.
    rows.append(row(day, who, everyone, "number", 14, "number", 0) | {"events": 14})
    rows.append(row(day, who, everyone, "recording_storage", 90, "stored minute", 0) | {"events": 30})
    return rows


def usual(who: Account, month: Month = OCTOBER, back: int = 6, members=MEMBERS, inboxes=INBOXES) -> list[dict]:
    rows = [r for m in month.last(back) for day in m.days for r in usual_day(day, who, members, inboxes)]
    for m in month.last(1):
        leasing = ("inbox", inboxes[0][0]) if inboxes else ("unassigned", "unassigned")
        rows.append(text(date(m.year, m.number, 12), who, leasing, "outbound", 1800, 2662))
        rows.append(fee(date(m.year, m.number, 12), who, leasing, 324, "sms", False, "Verizon"))
    return rows


def frame(rows: list[dict]) -> pl.DataFrame:
    schema = {"date": pl.Date, **DATASETS["daily"].empty().schema}
    return pl.DataFrame(rows, schema=schema, orient="row")


def table(dataset: str, rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=DATASETS[dataset].empty().schema, orient="row")


# ------------------------------------------------------------------------------------------------ by the month


def monthly(who: Account, month: Month, line: str, item: str | None, quantity: int, unit: str, price, **more) -> dict:
    """One row of `schemas.Monthly`; ``price`` is that of one unit."""
    given = {
        "account_id": who.account_id, "owner_kind": "unassigned", "owner_id": "unassigned", "campaign_id": None,
        "line": line, "item": item, "date": month.days[-1], "days": None, "quantity": quantity, "unit": unit,
        "rate_id": f"{line}-{item or 'all'}"[:40], "unit_price": Decimal(price), "charge": Decimal(price) * quantity,
        "currency": who.currency, "taxable": True, "unrated": None,
    }  # fmt: skip
    return given | more


def usually_held(who: Account, month: Month) -> list[dict]:
    """Fourteen numbers and a growing shelf of recordings, of nobody in particular."""
    return [
        monthly(who, month, "number", "local", 14, "number", PRICES["number", None, None]),
        monthly(who, month, "recording_storage", None, 42_000 + month.number * 404, "stored minute",
                PRICES["recording_storage", None, None]),
    ]  # fmt: skip


@dataclass(frozen=True)
class Tax:
    """A rule on some lines: in percent of their amount, or an amount for each of their units."""

    level: str
    jurisdiction: str
    name: str
    percent: str
    lines: tuple[str, ...]
    rate_id: str = "rule-1"
    each: bool = False


def stated(
    who: Account, daily: pl.DataFrame, months: list[dict], taxes: Iterable[Tax] = (), per_statement: bool = False
) -> pl.DataFrame:
    """`schemas.Statement` of one account's month."""
    sums: dict[tuple, list] = {}

    def add(key: tuple, charge: Decimal | None, quantity: int, events: int, unrated: int) -> None:
        into = sums.setdefault(key, [Decimal(0), 0, 0, 0])
        for i, value in enumerate((charge or Decimal(0), quantity, events, unrated)):
            into[i] += value

    for r in daily.iter_rows(named=True):
        if r["line"] not in HELD_LINES:
            fee = r["line"] == "carrier_fee"
            key = (r["line"], None, r["direction"], r["type"], r["carrier"] if fee else None,
                   r["registered"] if fee else None, r["unit"])  # fmt: skip
            add(key, r["charge"], r["quantity"], r["events"], r["unrated"])
    for r in months:
        add(
            (r["line"], r["item"], None, None, None, None, r["unit"]), r["charge"], r["quantity"], 1, bool(r["unrated"])
        )

    def one(section: str, line: str, exact: Decimal, amount: Decimal | None = None, **more) -> dict:
        empty = dict.fromkeys(DATASETS["statement"].columns)
        amount = round_half_up(exact, who.currency) if amount is None else amount
        return empty | {
            "account_id": who.account_id, "section": section, "line": line, "amount_exact": exact, "amount": amount,
            "currency": who.currency, "events": 0, "unrated": 0,
        } | more  # fmt: skip

    rows = []
    for key in sorted(sums, key=lambda k: (LINES.index(k[0]), [str(part) for part in k])):
        exact, quantity, events, unrated = sums[key]
        named = dict(zip(("line", "item", "direction", "type", "carrier", "registered", "unit"), key, strict=True))
        more = named | {"quantity": quantity, "events": events, "unrated": unrated}
        rows.append(one("product" if key[0] in PRODUCT_LINES else "usage", more.pop("line"), exact, **more))
    usage = [r for r in rows if r["section"] == "usage"]
    products = [r for r in rows if r["section"] == "product"]
    levied = []
    for tax in taxes:
        of = [r for r in usage if r["line"] in tax.lines]
        base, quantity = sum((r["amount_exact"] for r in of), Decimal(0)), sum(r["quantity"] for r in of)
        exact = Decimal(tax.percent) * quantity if tax.each else base * Decimal(tax.percent) / 100
        taxed = {"quantity": quantity, "unit": of[0]["unit"]} if tax.each and of else {"base": base}
        levied.append(one("tax", "tax", exact.quantize(Decimal("1e-9"), ROUND_HALF_UP), item=tax.name,
                          tax_level=tax.level, jurisdiction=tax.jurisdiction, rate_id=tax.rate_id, **taxed))  # fmt: skip
    if per_statement and levied:
        whole = round_half_up(sum((r["amount_exact"] for r in levied), Decimal(0)), who.currency)
        left = whole - sum((r["amount"] for r in levied), Decimal(0))
        if left:
            levied.append(one("rounding", "rounding", left))
    charged = [*usage, *levied]
    total = one("total", "total", *(sum((r[n] for r in charged), Decimal(0)) for n in ("amount_exact", "amount")))
    rows = [*charged, total | {"unrated": sum(r["unrated"] for r in usage)}, *products]
    if products:
        both = (sum((r[n] for r in products), Decimal(0)) for n in ("amount_exact", "amount"))
        rows.append(one("product_total", "product_total", *both))
    return table("statement", [r | {"position": i} for i, r in enumerate(rows)])


def reconciled(daily: pl.DataFrame, month: Month) -> list[dict]:
    """`etl.statement.RECONCILED` rows of a month in which the provider counted what we hold."""
    sums: dict[tuple, list] = {}
    for r in daily.filter(pl.col("date").is_between(month.first, month.days[-1])).iter_rows(named=True):
        way = r["direction"]
        counted = {
            "text": (f"{r['type']}-{way}", r["events"], r["segments"] or r["messages"]),
            "call": (f"calls-{way}", r["events"], r["billed_seconds"] // 60),
            "campaign_call": (f"calls-{way}", r["events"], r["billed_seconds"] // 60),
            "failed_message": ("failed-message-processing-fee", r["events"], r["events"]),
        }.get(r["line"])
        if counted:
            category, count, quantity = counted
            into = sums.setdefault((r["date"], category), [0, 0, 0])
            # What has no price yet is in no total.
            for i, value in enumerate((count - r["unpriced"], quantity - r["unpriced"], r["unpriced"])):
                into[i] += value
    units = {"sms": "segments", "mms": "messages", "calls": "minutes", "failed": "messages"}
    return [
        {"date": day, "category": category, "count": count, "ledger_count": count, "quantity": quantity,
         "ledger_quantity": quantity, "usage_unit": units[category.split("-")[0]], "unpriced": unpriced, "verdict": "ok",
         "why": None}
        for (day, category), (count, quantity, unpriced) in sorted(sums.items())
    ]  # fmt: skip


def statement(
    rows: list[dict] | Callable[[Account], list[dict]] = usual,
    *,
    who: Account | None = None,
    month: Month = OCTOBER,
    state: str = "final",
    revision: int | None = None,
    through: str | None = None,
    owners: Iterable[tuple[str, str, str]] | None = None,
    held: tuple[str, ...] = (),
    first: Month | None = None,
    published: tuple[Month, ...] | None = None,
    held_monthly: Callable[[Account, Month], list[dict]] = usually_held,
    taxes: Iterable[Tax] = (),
    per_statement: bool = False,
    ledger: list[dict] | None = None,
    compare: Callable[[pl.DataFrame, Month], list[dict]] = reconciled,
    campaigns: Iterable[tuple[str, str | None]] = ((CAMPAIGN, "Autumn viewings"),),
    **more,
) -> Statement:
    """A statement as the lake would give it. What is charged by the month is charged in months in which something was
    held."""
    who = who or account()
    daily = frame(rows(who) if callable(rows) else rows)
    if owners is None:
        owners = [("member", *m) for m in MEMBERS] + [("inbox", *b) for b in INBOXES]

    def part(m: Month) -> pl.DataFrame:
        return daily.filter(pl.col("date").is_between(m.first, m.days[-1]))

    def by_month(m: Month) -> list[dict]:
        return held_monthly(who, m) if part(m).filter(pl.col("line").is_in(HELD_LINES)).height else []

    lines = {}

    def lines_of(m: Month) -> pl.DataFrame:
        if m not in lines:
            lines[m] = stated(who, part(m), by_month(m), taxes, per_statement)
        return lines[m]

    first = first or (Month.of(daily["date"].min()) if daily.height else month)
    months = [m for m in month.last(6) if m >= first]
    revision = revision if revision is not None else (1 if state == "final" else 0)
    history = tuple(
        MonthTotals(
            m, state if m == month else "final", revision if m == month else 1,
            Decimal(lines_of(m).filter(pl.col("section") == "total")["amount"].item()),
            *(
                part(m).filter(pl.col("direction") == way)[what].sum()
                for what in ("messages", "segments") for way in ("outbound", "inbound")
            ),
            who.currency,
        )
        for m in months
    )  # fmt: skip
    before = lines_of(month - 1) if month - 1 in months else DATASETS["statement"].empty()
    return Statement(
        account=who,
        month=month,
        state=state,
        revision=revision,
        through=through or (month.days[-1].isoformat() if state != "open" else None),
        closed_at="2026-11-03T06:12:00+00:00" if state == "final" else None,
        lines=lines_of(month),
        previous_lines=before,
        daily=daily,
        owners=pl.DataFrame(list(owners), schema=["owner_kind", "owner_id", "name"], orient="row")
        if owners
        else pl.DataFrame(schema={"owner_kind": pl.String, "owner_id": pl.String, "name": pl.String}),
        campaigns=pl.DataFrame(list(campaigns), schema={"campaign_id": pl.String, "name": pl.String}, orient="row"),
        history=history,
        held=held,
        computed_from=(("statement/month=2026-10", 3, "0" * 64),),
        published=published or tuple(months),
        ledger=table("credits", ledger or []),
        monthly=table("monthly", by_month(month)),
        reconciled=pl.DataFrame(compare(daily, month), schema=RECONCILED, orient="row"),
        **more,
    )


# ------------------------------------------------------------------------------------------------ odd accounts

BIDI = "شركة النور \u202eevil"


def open_month() -> Statement:
    """October up to the 17th, with one day missing and texts without a price."""
    who = account()
    rows = [r for r in usual(who) if r["date"] <= date(2026, 10, 17) and r["date"] != date(2026, 10, 7)]
    rows.append(text(date(2026, 10, 9), who, ("member", "amara"), "outbound", 5, 7) | {"charge": Decimal(0), "unrated": 5, "unpriced": 5, "segments_differ": 2})  # fmt: skip
    held = tuple(
        f"day missing: {d} of twilio: load it with python -m etl run --date {d}"
        for d in OCTOBER.days
        if d > date(2026, 10, 17) or d == date(2026, 10, 7)
    )
    return statement(rows, who=who, state="open", through="2026-10-17", held=held)


def hostile() -> Statement:
    names = (
        "<script>alert(1)</script>",
        "=cmd|' /C calc'!A0",
        "🦊 Fox & Söhne 🏳️‍🌈",
        BIDI,
        "W" * 60,
        "+1 312 555 0142",
        "'quoted",
        "Bell\x07 and nothing\x00\r\nBcc: all@example.com",
        "../../etc/passwd",
        "L" + "o" * 298 + "g",
    )
    members = [(f"m{i}", name) for i, name in enumerate(names)]
    who = account(account_id="acct_evil", name='</title><img src=x onerror="alert(1)"> & Co', company="=1+1")
    owners = [("member", *m) for m in members] + [("inbox", "b0", '"><style>*{display:none}</style>')]
    evil = '=1+1"><script>alert(2)</script>\x07\u202e call +1 312 555 0142'

    def held(w: Account, month: Month) -> list[dict]:
        return [
            *usually_held(w, month),
            monthly(w, month, "adjustment", evil, 1, "adjustment", "-1"),
            monthly(w, month, "subscription", evil, 1, "subscription", "9"),
        ]

    rows = usual(who, members=members, inboxes=[("b0", "x")])
    used = sum(r["credits"] for r in rows if r["date"] >= OCTOBER.first)
    return statement(
        rows, who=who, owners=owners, held_monthly=held, campaigns=[(CAMPAIGN, "\u202e" + evil)],
        taxes=[Tax("state", "<b>US\x1b[31m</b>", evil, "8.25", ("text",), rate_id="=2+2")],
        ledger=moved((1, "open", "=lot", 20_000), (2, "burn", "=lot", -used)),
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ everything at once

LONG = "Business Unlimited Plus with Advanced Campaign Messaging, 10,000 credits a month"
TAXES = (
    Tax("federal", "US", "Universal Service Fund", "37.6", ("call", "campaign_call"), "usf-2026q4"),
    Tax("federal", "US", "Regulatory Recovery Fee", "1.9", ("call", "campaign_call", "number"), "rrf-1"),
    Tax("state", "US-WA", "Retail sales tax", "6.5", ("text", "call", "number", "recording_storage"), "wa-sales"),
    Tax("state", "US-WA", "Utility and Telecommunications Excise Surcharge Recovery", "3.852", ("call", "campaign_call"), "wa-utility"),
    Tax("local", "US-WA-SEATTLE", "Seattle utility tax", "6", ("call", "campaign_call"), "sea-utility"),
    Tax("other", "US-WA", "Enhanced 911", "0.19", ("number",), "e911", each=True),
)  # fmt: skip


def moved(*entries: tuple) -> list[dict]:
    """`schemas.Credits` rows of October from (day, entry, lot, credits[, bought_at, simulated]), with their balances."""
    left = {"allotment": 0, "purchased": 0}
    rows = []
    for position, (day, entry, lot, credits, *more) in enumerate(entries):
        bought_at, simulated = (*more, None, None)[:2]
        if entry != "overage":
            left["allotment" if lot == "allotment" else "purchased"] += credits
        summed = entry in ("open", "burn", "overage")
        rows.append({
            "account_id": "acct_rich", "position": position, "date": date(2026, 10, day),
            "at": None if summed else bought_at or datetime(2026, 10, day, 9, 30, tzinfo=UTC), "entry": entry, "lot": lot,
            "bought_at": bought_at, "credits": credits, "simulated": bool(simulated),
            "balance_allotment": left["allotment"], "balance_purchased": left["purchased"], "subscription_id": "sub_1",
            "for_month": None,
        })  # fmt: skip
    return rows


def _at(month: int, day: int) -> datetime:
    return datetime(2026, month, day, 14, 5, 30, tzinfo=UTC)


LEDGER = (
    (1, "open", "allotment", 3_412), (1, "open", "pack-0812", 620, _at(8, 12)), (1, "open", "pack-0930", 5_000, _at(9, 30)),
    (1, "burn", "allotment", -380), (6, "purchase", "goodwill-1006", 250, _at(10, 6)), (6, "burn", "allotment", -1_828),
    (15, "expire", "allotment", -1_204), (15, "grant", "allotment", 10_000), (15, "burn", "allotment", -9_100),
    (20, "burn", "allotment", -900), (20, "burn", "pack-0812", -620, _at(8, 12)), (20, "burn", "pack-0930", -2_480, _at(9, 30)),
    (24, "recharge", "recharge-1024", 5_000, _at(10, 24)), (24, "burn", "pack-0930", -2_520, _at(9, 30)),
    (24, "burn", "goodwill-1006", -250, _at(10, 6)), (24, "burn", "recharge-1024", -3_410, _at(10, 24)),
    (28, "recharge", "simulated-1028", 5_000, _at(10, 28), True), (28, "burn", "recharge-1024", -1_590, _at(10, 24)),
    (28, "burn", "simulated-1028", -3_120, _at(10, 28)), (29, "overage", "overage", 532),
)  # fmt: skip


def richly_held(who: Account, month: Month) -> list[dict]:
    """Every line that is charged by the month, of members, inboxes, nobody and the account."""
    amara, leasing = ({"owner_kind": "member", "owner_id": "amara"}, {"owner_kind": "inbox", "owner_id": "leasing"})
    rows = [
        monthly(who, month, "number", "local", 3, "number", "1.15", **amara),
        monthly(who, month, "number", "local", 11, "number", "1.15"),
        monthly(who, month, "number", "tollfree", 2, "number", "2.15", **leasing),
        monthly(who, month, "number", "shortcode", 1, "number", "83.333333333"),
        monthly(who, month, "recording_storage", None, 30_000 + month.number * 404, "stored minute", "0.001", **leasing),
        monthly(who, month, "recording_storage", None, 12_007, "stored minute", "0.001"),
        monthly(who, month, "tier_adjustment", "text", 1, "adjustment", "-7.004132", unit_price=None, rate_id="sms-ladder"),
        monthly(who, month, "tier_adjustment", "call; campaign_call", 1, "adjustment", "-1.98011", unit_price=None, rate_id="minutes"),
        monthly(who, month, "subscription", LONG, 1, "subscription", "149"),
    ]  # fmt: skip
    if month == OCTOBER:
        reason = "Refund for the outage of October 6 and 7, as promised to Lena on +1 312 555 0142 (ticket 88121)"
        rows += [
            monthly(who, month, "credit_overage", None, 532, "credit", "0.02"),
            monthly(who, month, "adjustment", reason, 1, "adjustment", "-64.5"),
            monthly(who, month, "adjustment", "Number port fee", 1, "adjustment", "10"),
            monthly(who, month, "credit_pack", "5000 credits, recharge", 1, "pack", "50", rate_id="recharge-1024"),
            monthly(who, month, "credit_pack", "5000 credits, recharge (simulated)", 1, "pack", "50", rate_id="sub_1"),
        ]  # fmt: skip
    else:
        rows.append(monthly(who, month, "adjustment", "Goodwill", 1, "adjustment", "-5"))
    return rows


def rich_rows(who: Account) -> list[dict]:
    """Usual usage and everything that is not usual."""
    rows = usual(who)
    # The day of the many texts took as many credits as `LEDGER` says were used and lacked in all.
    rows[-2] |= {"credits": rows[-2]["credits"] + 11_775}
    amara, leasing = ("member", "amara"), ("inbox", "leasing")
    for month in OCTOBER.last(2):
        for day in (d for d in month.days if d.weekday() < 5):
            calls = 4 + day.day % 5
            rows += [
                text(day, who, leasing, "inbound", 3, 0, "mms"),
                fee(day, who, leasing, 4, "mms", False, "Regional Cellular of the Greater Pacific Northwest"),
                row(day, who, amara, "carrier_fee", 9, "segment", PRICES["carrier_fee", "inbound", None],
                    direction="inbound", type="sms", registered=None, carrier="T-Mobile US"),
                row(day, who, leasing, "voice_detection", 30, "call", PRICES["voice_detection", None, None],
                    direction="outbound", type="voice", events=30) | {"campaign_id": CAMPAIGN},
                row(day, who, amara, "failed_message", calls, "message", PRICES["failed_message", None, None],
                    direction="outbound", type="sms", events=calls),
            ]  # fmt: skip
            for direction, seconds in (("outbound", 1800), ("inbound", 60 * calls)):
                rows.append(row(day, who, amara, "video", seconds, "second", PRICES["video", direction, None],
                                direction=direction, type="video", events=2))  # fmt: skip
    return rows


def _waiting(daily: pl.DataFrame, month: Month) -> list[dict]:
    """The last two days are not compared; two days' texts wait for their price, which the provider has counted."""
    rows = [r for r in reconciled(daily, month) if r["date"].day < 30]
    for r in rows:
        if r["category"] == "sms-inbound" and r["date"].day in (6, 7):
            r |= {"count": r["count"] - 2, "quantity": r["quantity"] - 2, "unpriced": 2, "verdict": "explained",
                  "why": "some records have no price yet"}  # fmt: skip
    return rows


def rich(**more) -> Statement:
    """Every line, every level of tax, a rounding difference, credits, refunds, products."""
    who = account(account_id="acct_rich", name="Harbor & Finch Realty and Property Management")
    owners = [("member", *m) for m in MEMBERS] + [("inbox", *b) for b in INBOXES]
    owners[1] = ("member", "ben", "Benedikt-Maximilian Castellanos de la Vega y Montgomery")
    given = {
        "who": who, "owners": owners, "held_monthly": richly_held, "taxes": TAXES, "per_statement": True,
        "ledger": moved(*LEDGER), "compare": _waiting, "uncompared": OCTOBER.days[-2:],
    }  # fmt: skip
    return statement(rich_rows, **(given | more))


def crowd(count: int = 200) -> Statement:
    members = [(f"member_{i:03}", f"Member number {i:03} of many") for i in range(count)]
    who = account(account_id="acct_crowd", name="Crowded House Property Management of Greater Chicagoland LLC")
    rows = lambda w: usual(w, members=members, back=2)  # noqa: E731
    owners = [("member", *m) for m in members] + [("inbox", *b) for b in INBOXES]
    return statement(rows, who=who, owners=owners)


def no_usage() -> Statement:
    return statement([], who=account(account_id="acct_quiet", name="Quiet Corner"))


def first_month() -> Statement:
    return statement(lambda w: usual(w, back=1), who=account(account_id="acct_new", name="Newcomer"))


def negative() -> Statement:
    who = account(account_id="acct_credit", name="Credit where due")
    rows = usual(who)
    rows.append(row(date(2026, 10, 31), who, ("unassigned", "unassigned"), "failed_message", 1, "message", "-900"))
    return statement(rows, who=who)


def yen() -> Statement:
    return statement(who=account(account_id="acct_jp", name="東京不動産", currency="JPY", locale="ja_JP"))


def german() -> Statement:
    return statement(who=account(account_id="acct_de", name="Hafen & Fink Immobilien", currency="EUR", locale="de_DE"))


def arabic() -> Statement:
    """Names and a currency that are written from right to left."""
    who = account(account_id="acct_eg", name="عقارات النيل", currency="EGP", locale="ar_EG")
    members, inboxes = [("amara", "أمارة عبد الرحمن"), ("ben", "Ben Castellanos")], [("leasing", "التأجير")]
    owners = [("member", *m) for m in members] + [("inbox", *b) for b in inboxes]
    rows = lambda w: usual(w, members=members, inboxes=inboxes, back=2)  # noqa: E731
    ledger = moved(
        (1, "open", "allotment", 2_000), (12, "burn", "allotment", -2_000), (12, "overage", "overage", 4_717)
    )

    def held(w: Account, month: Month) -> list[dict]:
        over = [monthly(w, month, "credit_overage", None, 4_717, "credit", "0.01")] if month == OCTOBER else []
        return [*usually_held(w, month), *over]

    return statement(
        rows, who=who, owners=owners, campaigns=[(CAMPAIGN, "عروض الخريف")], held_monthly=held, ledger=ledger
    )


CAMPAIGNS = (
    (CAMPAIGN, "Autumn viewings", 12), ("+13125550178", "Renewals of everybody whose lease ends before the year does", 7),
    ("+13125550179", None, 3),
)  # fmt: skip
"""Caller id, name, calls a day."""


def campaign_rows(who: Account) -> list[dict]:
    """Two months of calls by three campaigns, one of them without a name, and one that began in the second month."""
    rows = []
    for month in OCTOBER.last(2):
        for day in (d for d in month.days if d.weekday() < 5):
            for caller, _, calls in CAMPAIGNS if month == OCTOBER else CAMPAIGNS[:2]:
                owner = ("inbox", "leasing")
                rows.append(
                    call(day, who, owner, "outbound", calls, 60 * calls, "campaign_call") | {"campaign_id": caller}
                )
                rows.append(row(day, who, owner, "voice_detection", calls // 2, "call", PRICES["voice_detection", None, None],
                                direction="outbound", type="voice", events=calls // 2) | {"campaign_id": caller})  # fmt: skip
    return rows


def campaigns() -> Statement:
    who = account(account_id="acct_dialer", name="Dialer & Sons")
    return statement(campaign_rows, who=who, campaigns=[named[:2] for named in CAMPAIGNS])


def stopped() -> Statement:
    """Usage last month, none in this one."""
    who = account(account_id="acct_gone", name="Gone Fishing")
    return statement(usual(who, month=OCTOBER - 1, back=3), who=who)


# ------------------------------------------------------------------------------------------------ corrections


def fix(month: int, line: str, amount: str, *records: tuple, section: str = "usage", **more) -> dict:
    """A correction of one line of a closed month of 2026: its rounded amount, and (day, kind, id, reason, quantity, exact
    amount[, row that priced it, row that does]) for each record behind it; day, kind and id None for what has none."""
    columns = ("item", "direction", "type", "carrier", "registered", "tax_level", "jurisdiction", "rate_id", "unit")
    about = dict.fromkeys(columns) | more
    about |= {"for_month": f"2026-{month:02d}", "line": line}
    rows = [
        about | {"section": section, "date": day and date(2026, month, day), "source": kind and "twilio", "kind": kind,
                 "record_id": name, "reason": reason, "quantity": quantity, "amount_exact": Decimal(exact),
                 "rate_was": (*rates, None, None)[0], "rate_is": (*rates, None, None)[1]}
        for day, kind, name, reason, quantity, exact, *rates in records
    ]  # fmt: skip
    quantities = [row["quantity"] for row in rows if row["quantity"] is not None]
    return {
        "about": about, "products": section == "product", "amount": Decimal(amount), "rows": rows,
        "quantity": sum(quantities) if quantities else None,
    }  # fmt: skip


def corrected_by(statement: Statement, *fixes: dict) -> Statement:
    """The statement with these corrections, added up again."""
    who, currency = statement.account.account_id, statement.account.currency
    lines = {section: [] for section in SECTIONS}
    for line in statement.lines.iter_rows(named=True):
        lines[line["section"]].append(line)
    for one in fixes:
        section = "product_correction" if one["products"] else "correction"
        exact = sum((row["amount_exact"] for row in one["rows"]), Decimal(0))
        empty = dict.fromkeys(DATASETS["statement"].columns)
        lines[section].append(empty | one["about"] | {
            "account_id": who, "section": section, "quantity": one["quantity"], "amount_exact": exact,
            "amount": one["amount"], "currency": currency, "events": 0, "unrated": 0,
        })  # fmt: skip
    for total, correction in (("total", "correction"), ("product_total", "product_correction")):
        if lines[correction] and not lines[total]:
            lines[total] = [
                lines["total"][0] | {"section": total, "line": total, "amount": Decimal(0), "amount_exact": Decimal(0)}
            ]
        for name in ("amount", "amount_exact"):
            for line in lines[total]:
                line[name] += sum((row[name] for row in lines[correction]), Decimal(0))
    every = [row | {"position": n} for n, row in enumerate(row for some in lines.values() for row in some)]
    last = replace(statement.history[-1], total=lines["total"][0]["amount"])
    rows = [row | {"account_id": who, "currency": currency} for one in fixes for row in one["rows"]]
    return replace(
        statement, lines=table("statement", every), corrections=table("corrections", rows),
        history=(*statement.history[:-1], last),
    )  # fmt: skip


SENT = {"direction": "outbound", "type": "sms", "unit": "segment"}
FEE = SENT | {"registered": True}


def late(month: int, days: Iterable[int], per: str, quantity: int = 2, reason: str = "late") -> list[tuple]:
    """A text on each day, of so many units at a price."""
    return [
        (day, "message", f"SM{month:02d}{day:02d}{n:028x}", reason, quantity, str(Decimal(per) * quantity), None, "sms-out")
        for n, day in enumerate(days)
    ]  # fmt: skip


def corrected() -> Statement:
    """Late texts with their carrier fee and tax, a text that is gone, a call priced anew, an earlier correction taken back, a
    credit in favour of the account, and products: of two closed months."""
    who = account(account_id="acct_later", name="Harbor & Finch Realty")
    ledger = moved(
        (1, "open", "allotment", 40), (1, "open", "pack-0812", 500, _at(8, 12)), (1, "correction", "pack-0812", -24, _at(8, 12)),
        (2, "burn", "allotment", -40), (2, "burn", "pack-0812", -300, _at(8, 12)),
    )  # fmt: skip
    ledger[2]["for_month"] = "2026-09"
    days = (26, 27, 28, 28, 29, 29, 29, 30, 30, 30, 30, 30)
    gone = (11, "message", "SM" + "9" * 32, "gone", -3, "-0.0249", "sms-out", None)
    fees = [(*row[:4], row[4], str(Decimal("0.003") * row[4]), None, "fee-vz") for row in late(9, days, "0.003")]

    def held(w: Account, month: Month) -> list[dict]:
        return [*usually_held(w, month), monthly(w, month, "subscription", LONG, 1, "subscription", "149")]

    def rows(w: Account) -> list[dict]:
        return [
            r | {"credits": 340 if r["date"] == date(2026, 10, 2) and i == first else 0} for i, r in enumerate(mine)
        ]

    mine = usual(who)
    first = next(i for i, r in enumerate(mine) if r["date"] == date(2026, 10, 2) and r["line"] == "text")
    whole = statement(rows, who=who, taxes=TAXES[:3], ledger=ledger, held_monthly=held)
    return corrected_by(
        whole,
        fix(8, "call", "-1.26", (3, "call", "CA" + "1" * 32, "repriced", 0, "-1.26", "call-out", "call-out-2"),
            direction="outbound", type="voice", unit="second"),
        fix(8, "adjustment", "-20", (None, None, None, "follows", 1, "-20"), unit="adjustment", item="Goodwill for August, as agreed on +1 312 555 0142"),
        fix(8, "text", "-0.05", (12, "message", "SM" + "7" * 32, "taken back", -6, "-0.0498"), **SENT),
        fix(9, "text", "0.17", *late(9, days, "0.0083"), gone, **SENT),
        fix(9, "carrier_fee", "0.05", *fees[:8], **FEE, carrier="Verizon"),
        fix(9, "carrier_fee", "0.02", *fees[8:], **FEE, carrier="AT&T"),
        fix(9, "number", "1.15", (None, None, None, "follows", 1, "1.15"), item="local", unit="number"),
        fix(9, "tax", "0.01", (None, None, None, "follows", None, "0.011343"), section="tax", item="Retail sales tax",
            tax_level="state", jurisdiction="US-WA", rate_id="wa-sales"),
        fix(9, "credit_pack", "50", (20, None, None, "late", 1, "50"), section="product", item="5000 credits", unit="pack"),
        fix(9, "subscription", "-149", (15, None, None, "changed", -1, "-149"), section="product", item=LONG, unit="subscription"),
        fix(9, "tax", "-9.7", (None, None, None, "follows", None, "-9.7013"), section="product", item="Retail sales tax",
            tax_level="state", jurisdiction="US-WA", rate_id="wa-sales"),
    )  # fmt: skip


def corrected_yen() -> Statement:
    """A currency without decimals; in the running month; nothing used in it."""
    who = account(account_id="acct_jp2", name="東京不動産", currency="JPY", locale="ja_JP")
    running = statement([], who=who, state="open", through="2026-10-04", held_monthly=lambda w, m: [])
    return corrected_by(
        running,
        fix(9, "text", "-3", *late(9, (4, 5), "1.25", -1, "gone"), (8, "message", "+81355501234567", "changed", -1, "-0.7"), **SENT),
        fix(9, "text", "0", (9, "message", "+81355502234567", "late", 1, "0.2"), direction="inbound", type="sms", unit="segment"),
    )  # fmt: skip


def corrected_hostile() -> Statement:
    """Names, ids and reasons that somebody wrote to do harm, in a correction and in the reason of a new revision."""
    evil = '=1+1"><script>alert(3)</script>\x07\u202e call +1 312 555 0142'
    now = hostile()
    fixed = corrected_by(
        now,
        fix(9, "adjustment", "4", (None, None, None, "follows", 1, "4"), item=evil, unit="adjustment"),
        fix(9, "text", "0.02", (3, "message", "=cmd|'/C calc'!A0", "late", 1, "0.009"), (3, "message", "+13125550142", "late", 1, "0.008"),
            (3, "message", "+14125550142", "late", 1, "0.003"), **SENT),
        fix(9, "tax", "0.3", (None, None, None, "follows", None, "0.3"), section="tax", item=evil, tax_level="local",
            jurisdiction="<b>x</b>", rate_id="=2+2"),
        fix(9, "subscription", "9", (3, None, None, "late", 1, "9"), section="product", item=evil, unit="subscription"),
    )  # fmt: skip
    return replace(
        fixed, revision=2, replaced_lines=now.lines, reopened=evil * 3, reopened_at="2026-11-12T09:00:00+00:00"
    )


REOPENED = "Eleven texts of October 5 were billed to the wrong account"


def replaced() -> Statement:
    """Revision 1 of `revised`."""
    return statement(who=account(account_id="acct_again", name="Again & Co"), taxes=TAXES[:3])


def revised() -> Statement:
    """Revision 2: a line more, one less, others changed, the tax on them too."""
    first = replaced()
    rows = usual(first.account)
    rows.append(text(date(2026, 10, 5), first.account, ("member", "amara"), "outbound", 10, 11))
    rows.append(fee(date(2026, 10, 5), first.account, ("member", "amara"), 11, "sms", True, "Regional Cellular"))
    rows = [r for r in rows if not (r["date"].month == 10 and r["line"] == "carrier_fee" and r["registered"] is False)]
    second = statement(rows, who=first.account, taxes=TAXES[:3], revision=2)
    return replace(
        second, closed_at="2026-11-12T09:00:00+00:00", replaced_lines=first.lines, reopened=REOPENED,
        reopened_at="2026-11-12T09:00:00+00:00",
    )  # fmt: skip


def provisional() -> Statement:
    return statement(state="provisional")


def huge() -> Statement:
    """A thousand times the usual."""
    counts = ("events", "quantity", "messages", "segments", "billed_seconds", "credits", "charge")
    who = account(account_id="acct_huge", name="Huge")
    rows = [r | {name: r[name] * 1000 for name in counts} for r in usual(who)]

    def held(w: Account, month: Month) -> list[dict]:
        return [r | {name: r[name] * 1000 for name in ("quantity", "charge")} for r in usually_held(w, month)]

    return statement(rows, who=who, held_monthly=held, taxes=TAXES)


ALL = {
    "usual": statement, "open": open_month, "provisional": provisional, "hostile": hostile, "crowd": crowd,
    "no_usage": no_usage, "first_month": first_month, "negative": negative, "yen": yen, "german": german,
    "stopped": stopped, "rich": rich, "huge": huge, "arabic": arabic, "campaigns": campaigns,
    "corrected": corrected, "corrected_yen": corrected_yen, "corrected_hostile": corrected_hostile, "revised": revised,
}  # fmt: skip
