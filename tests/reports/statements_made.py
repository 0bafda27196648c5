"""Statements made by hand: no lake, no provider. Figures come from arithmetic on dates, so every run makes the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal

import polars as pl

from etl.directory import Account
from etl.periods import Month
from etl.schemas import DATASETS
from etl.statement import MonthTotals, Statement, lines

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
}  # fmt: skip
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
        "line": line, "direction": None, "type": None, "carrier": None, "registered": None, "currency": who.currency,
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
                    | {"campaign_id": "+13125550177"})  # fmt: skip
    if day.weekday() == 2:
        rows.append(text(day, who, everyone, "inbound", 2, 3))
    if day.day == 1:
        rows.append(row(day, who, everyone, "number", 14, "number", PRICES["number", None, None]))
        rows.append(row(day, who, everyone, "recording_storage", 42_000 + day.month * 404, "stored minute",
                        PRICES["recording_storage", None, None]))  # fmt: skip
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
) -> Statement:
    """A statement as the lake would give it."""
    who = who or account()
    daily = frame(rows(who) if callable(rows) else rows)
    if owners is None:
        owners = [("member", *m) for m in MEMBERS] + [("inbox", *b) for b in INBOXES]

    def part(m: Month) -> pl.DataFrame:
        return daily.filter(pl.col("date").is_between(m.first, m.days[-1]))

    def stated(m: Month) -> pl.DataFrame:
        return lines(part(m).drop("date"), [who])

    first = first or (Month.of(daily["date"].min()) if daily.height else month)
    months = [m for m in month.last(6) if m >= first]
    revision = revision if revision is not None else (1 if state == "final" else 0)
    history = tuple(
        MonthTotals(
            m, state if m == month else "final", revision if m == month else 1,
            Decimal(stated(m).filter(pl.col("section") == "total")["amount"].item()),
            *(
                part(m).filter(pl.col("direction") == way)[what].sum()
                for what in ("messages", "segments") for way in ("outbound", "inbound")
            ),
        )
        for m in months
    )  # fmt: skip
    before = stated(month - 1) if month - 1 in months else DATASETS["statement"].empty()
    return Statement(
        account=who,
        month=month,
        state=state,
        revision=revision,
        through=through or (month.days[-1].isoformat() if state != "open" else None),
        closed_at="2026-11-03T06:12:00+00:00" if state == "final" else None,
        lines=stated(month),
        previous_lines=before,
        daily=daily,
        owners=pl.DataFrame(list(owners), schema=["owner_kind", "owner_id", "name"], orient="row")
        if owners
        else pl.DataFrame(schema={"owner_kind": pl.String, "owner_id": pl.String, "name": pl.String}),
        campaigns=pl.DataFrame({"campaign_id": ["+13125550177"], "name": ["Autumn viewings"]}),
        history=history,
        held=held,
        computed_from=(("statement/month=2026-10", 3, "0" * 64),),
        published=published or tuple(months),
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
    )
    members = [(f"m{i}", name) for i, name in enumerate(names)]
    who = account(account_id="acct_evil", name='</title><img src=x onerror="alert(1)"> & Co', company="=1+1")
    owners = [("member", *m) for m in members] + [("inbox", "b0", '"><style>*{display:none}</style>')]
    return statement(lambda w: usual(w, members=members, inboxes=[("b0", "x")]), who=who, owners=owners)


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


def stopped() -> Statement:
    """Usage last month, none in this one."""
    who = account(account_id="acct_gone", name="Gone Fishing")
    return statement(usual(who, month=OCTOBER - 1, back=3), who=who)


def provisional() -> Statement:
    return statement(state="provisional")


ALL = {
    "usual": statement, "open": open_month, "provisional": provisional, "hostile": hostile, "crowd": crowd,
    "no_usage": no_usage, "first_month": first_month, "negative": negative, "yen": yen, "german": german,
    "stopped": stopped,
}  # fmt: skip
