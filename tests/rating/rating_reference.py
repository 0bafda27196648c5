"""What a careful clerk would compute: the billing rules once more, row by row, in plain Python and exact fractions.

Slow on purpose and written from the rules, not from the code under test. Rows are dictionaries; money is a Fraction
until `nano` turns it into the Decimal that is stored.
"""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

LINE_ORDER = (
    *("number", "call", "text", "video", "campaign_call", "recording_storage"),
    *("carrier_fee", "voice_detection", "failed_message"),
)
DETECTING_CAMPAIGN = "spring"
"""The campaign of the made worlds that has voice detection on."""
DIGITS = {"JPY": 0, "KRW": 0, "KWD": 3, "TND": 3}


def half_up(amount: Fraction, digits: int) -> Decimal:
    """Halves away from zero."""
    units = floor(abs(amount) * 10**digits + Fraction(1, 2))
    return Decimal(-units if amount < 0 else units).scaleb(-digits)


def nano(amount: Fraction) -> Decimal:
    return half_up(amount, 9)


# ------------------------------------------------------------------------------------------------ who


def in_force(row: dict, day: date) -> bool:
    """[valid_from, valid_to), an empty end open."""
    return (row["valid_from"] is None or row["valid_from"] <= day) and (
        row["valid_to"] is None or day < row["valid_to"]
    )


def attribute(event: dict, accounts: list[dict], numbers: list[dict], day: date, default_currency: str) -> dict:
    """Our number is the sender of what goes out, the recipient of anything else; it names account and owner. Else the
    provider's sub-account names the account. Else nobody."""
    ours = event["from_number"] if event["direction"] == "outbound" else event["to_number"]
    owned = [n for n in numbers if n["number_e164"] == ours and in_force(n, day)]
    account_id = owned[0]["account_id"] if owned else None
    if account_id is None:
        holders = [a for a in accounts if event["provider_account"] in a["provider_accounts"]]
        account_id = holders[0]["account_id"] if holders else "unassigned"
    account = next((a for a in accounts if a["account_id"] == account_id), None)
    return {
        "account_id": account_id,
        "owner_kind": owned[0]["owner_kind"] if owned else "unassigned",
        "owner_id": owned[0]["owner_id"] if owned else "unassigned",
        "campaign_id": owned[0]["campaign_id"] if owned else None,
        "registered": owned[0]["registered"] if owned else None,
        "number_class": owned[0]["number_class"] if owned else None,
        "voice_detection": bool(owned) and owned[0]["campaign_id"] == DETECTING_CAMPAIGN,
        "caller_place": None,
        "callee_place": None,
        "currency": account["currency"] if account else default_currency,
        "rate_card": account["rate_card"] if account else None,
    }


# ------------------------------------------------------------------------------------------------ which price


def starts_with(number: str | None, prefix: str) -> bool:
    """Prefixes are of E.164 numbers; whatever else a number is, only the empty prefix is its."""
    if prefix == "":
        return True
    return bool(re.fullmatch(r"\+[1-9][0-9]{0,14}", number or "")) and number[1:].startswith(prefix)


def known(rows: list[dict], key: tuple[str, ...], day: date, as_of: date | None = None) -> list[dict]:
    """Rows about ``day`` known on ``as_of``; of two about the same key, the one recorded later."""
    newest: dict[tuple, dict] = {}
    for row in rows:
        if in_force(row, day) and (as_of is None or row["recorded_at"] <= as_of):
            said = tuple(row[k] for k in key)
            if said not in newest or row["recorded_at"] > newest[said]["recorded_at"]:
                newest[said] = row
    return list(newest.values())


def choose(rows: list[dict], wild: tuple[str, ...], exact: tuple[str, ...], event: dict, id_column: str) -> dict | None:
    """The longest prefix wins; then the row that says more; then the id."""
    fitting = [
        row
        for row in rows
        if starts_with(event["to_number"], row["prefix"])
        and all(event[c] is not None and row[c] == event[c] for c in exact)
        and all(row[c] is None or row[c] == event[c] for c in wild)
    ]
    return min(
        fitting,
        key=lambda r: (-len(r["prefix"]), sum(r[c] is None for c in wild), r[id_column]),
        default=None,
    )


# ------------------------------------------------------------------------------------------------ how much


def increments(seconds: Fraction | int, minimum: int, increment: int) -> int:
    """0 if d = 0; M if d ≤ M; else M + ceil((d - M) / I) · I."""
    if seconds <= 0:
        return 0
    if seconds <= minimum:
        return minimum
    return minimum + ceil(Fraction(seconds - minimum) / increment) * increment


def call_seconds(event: dict, terms: dict) -> int:
    if event["answered_seconds"] <= 0 and not terms["bill_unanswered"]:
        return 0
    if terms["clock"] == "dial" and event["ended_at"] is not None:
        duration = event["ended_at"] - event["occurred_at"]
        seconds = Fraction(duration // timedelta(microseconds=1), 1_000_000)
    else:
        seconds = event["answered_seconds"]
    return increments(seconds, terms["minimum_seconds"], terms["increment_seconds"])


PRICE_KEY = ("rate_card", "line", "direction", "type", "number_class", "prefix", "currency")
FEE_KEY = ("carrier", "direction", "type", "registered", "number_class", "prefix", "currency")


def charge(
    event: dict, prices: list[dict], fees: list[dict], day: date, credits_per_segment: int, as_of: date | None = None
) -> dict:
    """One attributed event → its charge."""
    is_call = event["kind"] in ("call", "video")  # timed
    held = event["kind"] in ("recording", "number")
    if event["kind"] == "call":
        line = "campaign_call" if event["campaign_id"] else "call"
    elif event["kind"] == "message":
        line = "failed_message" if event["status"] == "failed" else "text"
    else:
        line = {"video": "video", "recording": "recording_storage", "number": "number"}[event["kind"]]
    event = {**event, "line": line}
    wild = ("direction", "type", "number_class")
    row = choose(known(prices, PRICE_KEY, day, as_of), wild, ("rate_card", "line", "currency"), event, "rate_id")

    seconds = call_seconds(event, row) if is_call and row else 0
    per_segment = line == "text" and event["segments"] is not None
    quantity = seconds if is_call else event["segments"] if per_segment else 1
    unit = "second" if is_call else "segment" if per_segment else "message"
    if event["kind"] == "recording":
        quantity, unit = ceil(Fraction(event["answered_seconds"] or 0, 60)), "stored minute"
    if event["kind"] == "number":
        unit = "number"

    if held:
        # priced by the month it is held in
        row, amount = None, None if event["account_id"] == "unassigned" else Decimal(0)
    elif row is None:
        # a failed message costs nothing unless the card has a fee for it; any other event without a price has no amount
        amount = Decimal(0) if line == "failed_message" and event["rate_card"] else None
    elif is_call:
        connection = row["connection_fee"] or Decimal(0) if seconds else Decimal(0)
        amount = nano(Fraction(row["price"]) * seconds / 60) + connection
    else:
        amount = nano(Fraction(row["price"]) * quantity)

    fee_row, fee, gap = None, Decimal(0), False
    if line == "text":
        table = known(fees, FEE_KEY, day, as_of)
        fee_row = choose(table, FEE_KEY[:5], ("currency",), event, "fee_id")
        if fee_row:
            fee = nano(Fraction(fee_row["price"]) * quantity)
        # the table prices this prefix, but not for this sender
        elif choose(table, ("direction", "type"), (), event, "fee_id"):
            fee, gap = None, True

    detection, detected = None, Decimal(0)
    if (
        line == "campaign_call"
        and event["direction"] == "outbound"
        and event["answered_seconds"] > 0
        and event["parent_id"] is None
        and event["voice_detection"]
    ):
        asked = event | {"line": "voice_detection"}
        table = known(prices, PRICE_KEY, day, as_of)
        detection = choose(table, wild, ("rate_card", "line", "currency"), asked, "rate_id")
        detected = nano(Fraction(detection["price"])) if detection else None

    if event["account_id"] == "unassigned":
        unrated = "no account"
    elif amount is None:
        unrated = "no price"
    else:
        unrated = "no carrier fee" if gap else "no voice detection price" if detected is None else None
    return {
        **{k: event[k] for k in (
            "record_id", "kind", "account_id", "owner_kind", "owner_id", "campaign_id", "direction", "type", "carrier",
            "registered", "occurred_at", "currency", "caller_place", "callee_place", "provider_currency", "vanished",
        )},
        # For a call nobody answered the provider never names a price.
        "provider_cost": Decimal(0)
        if event["kind"] == "call" and event["answered_seconds"] == 0 and event["provider_cost"] is None
        else event["provider_cost"],
        "line": line,
        "quantity": quantity,
        "unit": unit,
        "messages": int(line == "text"),
        "segments": event["segments"] if per_segment else 0,
        "billed_seconds": seconds,
        "credits": quantity * credits_per_segment if line == "text" else 0,
        "segments_differ": bool(
            per_segment
            and event["segments_reported"] is not None
            and event["segments_computed"] is not None
            and event["segments_reported"] != event["segments_computed"]
        ),
        "rate_id": row and row["rate_id"],
        "charge": amount,
        "fee_id": fee_row and fee_row["fee_id"],
        "carrier_fee": fee,
        "detection_rate_id": detection and detection["rate_id"],
        "detection_charge": detected,
        "held_until": event["ended_at"] if event["kind"] == "recording" else None,
        "unrated": unrated,
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------ adding up

DAILY_KEY = (
    *("account_id", "owner_kind", "owner_id", "campaign_id", "line", "direction", "type", "carrier", "registered"),
    *("rate_id", "caller_place", "callee_place", "currency", "unit"),
)
COUNTS = ("events", "quantity", "messages", "segments", "billed_seconds", "credits")
FLAGS = ("unpriced", "unrated", "segments_differ", "vanished")


def daily(charges: list[dict]) -> dict[tuple, dict]:
    """key → sums. A carrier fee, and a voice detection, is a line of its own that counts no message, segment, credit or
    cost again."""
    rolled: dict[tuple, dict] = defaultdict(
        lambda: {**dict.fromkeys((*COUNTS, *FLAGS), 0), "charge": Decimal(0), "provider_cost": Decimal(0)}
    )
    for c in charges:
        main = c | {"carrier": None, "registered": None}
        row = rolled[tuple(main[k] for k in DAILY_KEY)]
        row["events"] += 1
        for name in COUNTS[1:]:
            row[name] += c[name]
        row["charge"] += c["charge"] or 0
        row["provider_cost"] += c["provider_cost"] or 0
        row["unpriced"] += c["provider_cost"] is None and c["kind"] in ("message", "call")
        row["unrated"] += c["charge"] is None
        row["segments_differ"] += c["segments_differ"]
        row["vanished"] += c["vanished"]
        if c["carrier_fee"] is None or c["carrier_fee"] != 0:
            own = c | {"line": "carrier_fee", "rate_id": c["fee_id"]}
            fee = rolled[tuple(own[k] for k in DAILY_KEY)]
            fee["events"] += 1
            fee["quantity"] += c["quantity"]
            fee["charge"] += c["carrier_fee"] or 0
            fee["unrated"] += c["carrier_fee"] is None
        if c["detection_rate_id"] is not None or c["detection_charge"] is None:
            own = main | {"line": "voice_detection", "rate_id": c["detection_rate_id"], "unit": "call"}
            detection = rolled[tuple(own[k] for k in DAILY_KEY)]
            detection["events"] += 1
            detection["quantity"] += 1
            detection["charge"] += c["detection_charge"] or 0
            detection["unrated"] += c["detection_charge"] is None
    return dict(rolled)


LINE_KEY = ("line", "direction", "type", "carrier", "registered", "unit", "currency")


def statement(rolled: dict[tuple, dict], accounts: list[dict]) -> dict[str, tuple[dict[tuple, dict], dict]]:
    """account → ({line key: quantity, events, unrated, amount_exact, amount}, total). Each line is rounded once."""
    result = {}
    for account in accounts:
        lines: dict[tuple, dict] = {}
        for key, sums in rolled.items():
            row = dict(zip(DAILY_KEY, key, strict=True))
            if row["account_id"] != account["account_id"] or row["line"] in ("number", "recording_storage"):
                continue
            if row["line"] != "carrier_fee":
                row["carrier"] = row["registered"] = None
            line = lines.setdefault(
                tuple(row[k] for k in LINE_KEY), {"quantity": 0, "events": 0, "unrated": 0, "amount_exact": Decimal(0)}
            )
            line["quantity"] += sums["quantity"]
            line["events"] += sums["events"]
            line["unrated"] += sums["unrated"]
            line["amount_exact"] += sums["charge"]
        for key, line in lines.items():
            line["amount"] = half_up(Fraction(line["amount_exact"]), DIGITS.get(key[-1], 2))
        total = {
            name: sum((line[name] for line in lines.values()), Decimal(0)) for name in ("amount_exact", "amount")
        } | {"unrated": sum(line["unrated"] for line in lines.values())}
        result[account["account_id"]] = (lines, total)
    return result
