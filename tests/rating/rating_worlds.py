"""Made-up accounts, numbers, rate cards and events: as Python rows for the reference, as files for the code."""

from __future__ import annotations

import csv
import tempfile
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
from hypothesis import strategies as st

from etl import directory
from etl.rating import card
from etl.schemas import DATASETS, TIMED_LINES

DAY = date(2026, 9, 1)
DAYS = [DAY - timedelta(days=30), DAY - timedelta(days=1), DAY, DAY + timedelta(days=1), DAY + timedelta(days=30)]
USUAL_CURRENCIES = (*["USD"] * 8, "JPY", "KWD")
USUAL_CARDS = (*["standard"] * 8, "other")
OUR_NUMBERS = ("+12025550101", "+12025550102", "+18005550103", "88811")
THEIR_NUMBERS = (
    *("+12025550150", "+12025559999", "+13105550100", "+14155550000", "+1415555", "+1415", "+1", "+442071838750"),
    *(
        "+44200",
        "+4420",
        "+999999999999999",
        "+100000000000000",
        "72345",
        "ACME",
        "client:bob",
        "",
        "+0123",
        "15551234",
    ),
)
PREFIXES = ("", "1", "1202", "12025550150", "1415", "141555", "14155550000", "141555500000000", "44", "44207", "442000")
EVENT_COLUMNS = (
    *("record_id", "kind", "outcome", "provider_account", "direction", "type", "status", "occurred_at", "from_number"),
    *("to_number", "segments_reported", "segments_computed", "segments", "carrier", "ended_at", "answered_seconds"),
    *("parent_id", "provider_cost", "provider_currency", "vanished"),
)
DETECTING_CAMPAIGN = "spring"
"""The campaign that has voice detection on; every other has it off."""
CALL_TERMS = ("minimum_seconds", "increment_seconds", "clock", "bill_unanswered", "connection_fee")


# ------------------------------------------------------------------------------------------------ rows


def price(rate_id: str, **given) -> dict:
    """A price row: matches everything in USD from 2026-01-01 unless told otherwise."""
    row = dict.fromkeys(card.PRICE_COLUMNS) | {
        "rate_id": rate_id, "rate_card": "standard", "line": "text", "prefix": "", "currency": "USD",
        "price": Decimal("0.01"), "valid_from": date(2026, 1, 1), "recorded_at": date(2026, 1, 1),
    }  # fmt: skip
    if given.get("line") in TIMED_LINES:
        row |= {"minimum_seconds": 60, "increment_seconds": 60, "clock": "dial", "bill_unanswered": False}
    return row | given


def fee(fee_id: str, **given) -> dict:
    return dict.fromkeys(card.FEE_COLUMNS) | {
        "fee_id": fee_id, "prefix": "", "currency": "USD", "price": Decimal("0.003"), "valid_from": date(2026, 1, 1),
        "recorded_at": date(2026, 1, 1),
    } | given  # fmt: skip


def message(record_id: str, **given) -> dict:
    """An outbound SMS of one segment, delivered at noon."""
    return dict.fromkeys(EVENT_COLUMNS) | {
        "record_id": record_id, "kind": "message", "outcome": "accepted", "provider_account": "AC1",
        "direction": "outbound", "type": "sms", "status": "delivered", "from_number": OUR_NUMBERS[0],
        "to_number": THEIR_NUMBERS[0], "segments": 1, "vanished": False,
        "occurred_at": datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC),
    } | given  # fmt: skip


def call(record_id: str, seconds: float = 60, answered: int | None = None, **given) -> dict:
    """An outbound call at noon that ended ``seconds`` after dialling."""
    start = given.pop("occurred_at", datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC))
    return message(record_id) | {
        "kind": "call", "type": "voice", "status": "completed", "segments": None, "occurred_at": start,
        "ended_at": start + timedelta(seconds=seconds), "answered_seconds": int(seconds) if answered is None else answered,
    } | given  # fmt: skip


def frame(events: list[dict]) -> pl.DataFrame:
    types = {c: t for c, t in DATASETS["events"].types.items() if c in EVENT_COLUMNS}
    return pl.DataFrame(events, schema=types, orient="row")


# ------------------------------------------------------------------------------------------------ files


def write_csv(path: Path, columns: tuple[str, ...], rows: list[dict]) -> None:
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(columns)
        writer.writerows([[_cell(row.get(c)) for c in columns] for row in rows])


def _cell(value: object) -> str:
    if value is None:
        return ""
    return (
        str(value).lower()
        if isinstance(value, bool)
        else format(value, "f")
        if isinstance(value, Decimal)
        else str(value)
    )


def load_card(prices: list[dict], fees: list[dict] = ()) -> card.RateCard:
    """Through the CSV files people edit."""
    with tempfile.TemporaryDirectory() as folder:
        write_csv(Path(folder) / "prices.csv", card.PRICE_COLUMNS, prices)
        write_csv(Path(folder) / "carrier_fees.csv", card.FEE_COLUMNS, list(fees))
        return card.load(Path(folder))


ACCOUNT_COLUMNS = ("account_id", "name", "company", "currency", "rate_card", "email_to", "provider_account_sid")
NUMBER_COLUMNS = (
    *("number_e164", "account_id", "owner_kind", "owner_id", "campaign_id", "registered", "number_class"),
    *("valid_from", "valid_to"),
)


def load_directory(accounts: list[dict], numbers: list[dict]) -> directory.Directory:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        listed = [
            {**a, "name": a["account_id"].title(), "provider_account_sid": ";".join(a["provider_accounts"])}
            for a in accounts
        ]
        write_csv(folder / "accounts.csv", ACCOUNT_COLUMNS, listed)
        owners = {(n["account_id"], n["owner_kind"], n["owner_id"]) for n in numbers}
        campaigns = {(n["account_id"], n["campaign_id"]) for n in numbers if n["campaign_id"]}
        write_csv(
            folder / "owners.csv",
            ("account_id", "owner_kind", "owner_id", "name"),
            [{"account_id": a, "owner_kind": k, "owner_id": o, "name": o} for a, k, o in sorted(owners)],
        )
        write_csv(
            folder / "campaigns.csv",
            ("account_id", "campaign_id", "name", "voice_detection"),
            [
                {"account_id": a, "campaign_id": c, "name": c, "voice_detection": c == DETECTING_CAMPAIGN}
                for a, c in sorted(campaigns)
            ],
        )
        write_csv(folder / "numbers.csv", NUMBER_COLUMNS, numbers)
        return directory.load(folder)


def account(account_id: str, *provider_accounts: str, currency: str = "USD", rate_card: str = "standard") -> dict:
    return {
        "account_id": account_id, "currency": currency, "rate_card": rate_card, "provider_accounts": provider_accounts,
    }  # fmt: skip


def number(number_e164: str, account_id: str, owner_id: str = "mia", **given) -> dict:
    return {
        "number_e164": number_e164, "account_id": account_id, "owner_kind": "member", "owner_id": owner_id,
        "campaign_id": None, "registered": True, "number_class": "local", "valid_from": None, "valid_to": None,
    } | given  # fmt: skip


# ------------------------------------------------------------------------------------------------ strategies

recipients = [*THEIR_NUMBERS, *[n for n in THEIR_NUMBERS if n.startswith("+1")] * 3]
prefixes = st.sampled_from([*PREFIXES, *[""] * 8, *["1"] * 4, "1202", "1202", "1415"])
amounts = st.one_of(
    st.sampled_from([Decimal(p) for p in ("0", "0.000000001", "0.0075", "0.0083", "0.02", "1", "999.999999999")]),
    st.decimals(0, 5, places=9, allow_nan=False, allow_infinity=False),
)


# Most rows speak of the day, so that most events find several to choose from.
validity = st.sampled_from(
    [{"valid_from": since, "valid_to": until} for since, until in (
        *[(DAYS[0], None)] * 3, (DAYS[0], DAYS[4]), (DAYS[1], DAYS[3]), (DAY, None), (DAYS[0], DAY), (DAYS[3], None),
    )]
)  # fmt: skip


def without_conflicts(rows: list[dict], key: tuple[str, ...]) -> list[dict]:
    """Drops rows that say something about a day another row of the same key, recorded the same day, speaks of."""
    kept: list[dict] = []
    for row in rows:
        end = row["valid_to"] or date.max
        rivals = [r for r in kept if all(r[k] == row[k] for k in (*key, "recorded_at"))]
        if all(end <= r["valid_from"] or row["valid_from"] >= (r["valid_to"] or date.max) for r in rivals):
            kept.append(row)
    return kept


@st.composite
def price_rows(draw) -> list[dict]:
    rows = []
    for i in range(draw(st.sampled_from([0, 3, *[12] * 6]))):
        lines = ("text", "call", "campaign_call", "failed_message", "video", "voice_detection")
        line = lines[(0, 0, 1, 1, 0, 1, 2, 2, 3, 4, 5, 5)[i]]
        row = price(
            f"p{i}",
            line=line,
            rate_card=draw(st.sampled_from(USUAL_CARDS)),
            direction=draw(st.sampled_from([*[None] * 4, "inbound", "outbound"])),
            type=draw(st.sampled_from([*[None] * 8, "sms", "mms", "voice"])),
            number_class=draw(st.sampled_from([*[None] * 6, "local", "tollfree"])),
            prefix=draw(prefixes),
            currency=draw(st.sampled_from(USUAL_CURRENCIES)),
            price=draw(amounts),
            recorded_at=draw(st.sampled_from(DAYS)),
            **draw(validity),
        )
        if line in TIMED_LINES:
            row["minimum_seconds"] = draw(st.sampled_from([0, 1, 6, 30, 60]))
            row["increment_seconds"] = draw(st.sampled_from([1, 6, 60]))
            row["clock"] = draw(st.sampled_from(["dial", "answer"]))
            row["bill_unanswered"] = draw(st.booleans())
            row["connection_fee"] = draw(st.one_of(st.none(), amounts))
        if draw(st.integers(0, 2)) == 0:  # a row most events fall back on
            row |= {"direction": None, "type": None, "number_class": None, "rate_card": "standard", "currency": "USD"}
            row |= {"prefix": draw(st.sampled_from(["", "1"])), "valid_from": DAYS[0], "valid_to": None}
        rows.append(row)
    return without_conflicts(rows, card.PRICE_KEY)


@st.composite
def fee_rows(draw) -> list[dict]:
    rows = [
        fee(
            f"f{i}",
            carrier=draw(st.sampled_from([None, None, None, "T-Mobile", "AT&T"])),
            direction=draw(st.sampled_from([*[None] * 4, "inbound", "outbound"])),
            type=draw(st.sampled_from([None, "sms", "mms"])),
            registered=draw(st.sampled_from([None, None, True, False])),
            number_class=draw(st.sampled_from([*[None] * 6, "local", "tollfree"])),
            prefix=draw(prefixes),
            currency=draw(st.sampled_from(USUAL_CURRENCIES)),
            price=draw(amounts),
            recorded_at=draw(st.sampled_from(DAYS)),
            **draw(validity),
        )
        for i in range(draw(st.sampled_from([0, 2, 8, 8, 8])))
    ]
    return without_conflicts(rows, card.FEE_KEY)


@st.composite
def directories(draw) -> tuple[list[dict], list[dict]]:
    """(accounts, numbers): some numbers listed for a while only, some for two accounts one after the other."""
    accounts = [
        account(
            name,
            *[f"AC{i + 1}"] * draw(st.sampled_from([1, 1, 0])),
            currency=draw(st.sampled_from(USUAL_CURRENCIES)),
            rate_card=draw(st.sampled_from(USUAL_CARDS)),
        )
        for i, name in enumerate(("acme", "bolt", "cove")[: draw(st.sampled_from([1, 3, 3]))])
    ]
    numbers = []
    for e164 in OUR_NUMBERS:
        moved = draw(st.sampled_from(DAYS))
        for start, end in draw(
            st.sampled_from([[], *[[(None, None)]] * 2, [(None, moved), (moved, None)], [(moved, None)]])
        ):
            holder = draw(st.sampled_from(accounts))["account_id"]
            numbers.append(
                number(
                    e164,
                    holder,
                    draw(st.sampled_from(["mia", "noah"])),
                    owner_kind=draw(st.sampled_from(["member", "inbox"])),
                    campaign_id=draw(st.sampled_from([None, DETECTING_CAMPAIGN, "autumn"])),
                    registered=draw(st.booleans()),
                    number_class=draw(st.sampled_from(["local", "tollfree", "shortcode"])),
                    valid_from=start,
                    valid_to=end,
                )
            )
    return accounts, numbers


@st.composite
def event_rows(draw, most: int = 12) -> list[dict]:
    rows = []
    midnight = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    for i in range(draw(st.sampled_from([0, 1, *[most] * 6]))):
        kind = draw(st.sampled_from(["message", "message", "call", "call", "call", "recording", "video", "number"]))
        held = kind in ("recording", "video", "number")
        direction = None if held else draw(st.sampled_from(["inbound", "outbound"] + [None] * (kind == "call")))
        ours, theirs = draw(st.sampled_from([*OUR_NUMBERS, "+12025550199"])), draw(st.sampled_from(recipients))
        at = midnight + timedelta(seconds=draw(st.sampled_from([0, 1, 43200, 86399])))
        row = message(
            f"r{i}",
            kind=kind,
            provider_account=draw(st.sampled_from(["AC1", "AC1", "AC1", "AC2", "AC3", "AC9"])),
            direction=direction,
            from_number=ours if direction == "outbound" else theirs,
            to_number=theirs if direction == "outbound" else ours,
            carrier=draw(st.sampled_from([None, "T-Mobile", "AT&T", "Verizon"])),
            occurred_at=at,
            provider_cost=draw(st.one_of(st.none(), amounts)),
            vanished=draw(st.booleans()),
        )
        row["provider_currency"] = None if row["provider_cost"] is None else "USD"
        if kind == "message":
            row["type"] = draw(st.sampled_from(["sms", "sms", "mms"]))
            row["status"] = draw(st.sampled_from(["delivered", "undelivered", "failed", "received", "sent"]))
            row["segments"] = draw(st.integers(1, 10)) if row["type"] == "sms" else None
            row["segments_reported"] = draw(st.sampled_from([None, row["segments"]]))
            row["segments_computed"] = draw(st.sampled_from([None, row["segments"], 3]))
        else:
            row |= {"type": draw(st.sampled_from([None, "voice"])), "status": "completed", "segments": None}
            rang = draw(st.sampled_from([0, 0, 1, 29, 60, 61]))
            talked = draw(st.one_of(st.sampled_from([0, 0, 1, 59, 60, 61, 90, 121]), st.integers(0, 100_000)))
            row["answered_seconds"] = talked
            row["ended_at"] = draw(
                st.sampled_from([None, at, *[at + timedelta(seconds=rang + talked, microseconds=u) for u in (0, 0, 1)]])
            )
            if draw(st.integers(0, 9)) == 0:
                row["to_number"] = None
            calls = [r["record_id"] for r in rows if r["kind"] == "call"]
            row["parent_id"] = draw(st.sampled_from([None, None, "elsewhere", *calls]))
            if kind == "video":
                row |= {"type": "video", "from_number": draw(st.sampled_from(["mia", "guest-1"])), "to_number": None}
                row["parent_id"] = draw(st.sampled_from(["room-1", "room-2"]))
            if kind == "recording":
                row |= {"type": None, "from_number": None, "to_number": None}
            if kind == "number":
                row |= {
                    "type": None,
                    "from_number": None,
                    "status": "owned",
                    "answered_seconds": None,
                    "ended_at": None,
                }
        rows.append(row)
    return rows
