"""Whose an event is, said slowly: one event at a time, in plain Python over the rows of the files."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path

UNASSIGNED = "unassigned"
HEADERS = {
    "accounts": (
        *("account_id", "name", "company", "currency", "rate_card", "email_to", "provider_account_sid"),
        *("service_address", "tax_exempt"),
    ),
    "owners": ("account_id", "owner_kind", "owner_id", "name", "identity"),
    "numbers": (
        *("number_e164", "account_id", "owner_kind", "owner_id", "campaign_id", "registered", "number_class"),
        *("valid_from", "valid_to", "monthly_price"),
    ),
    "campaigns": ("account_id", "campaign_id", "name", "voice_detection", "valid_from", "valid_to"),
    "carriers": ("prefix_e164", "carrier"),
    "places": ("prefix_e164", "jurisdiction"),
}

Row = Mapping[str, object]


def write(folder: Path, files: Mapping[str, Iterable[Row] | None]) -> None:
    """Each file's rows as CSV; None: no such file."""
    for name, rows in files.items():
        if rows is None:
            continue
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as out:
            table = csv.writer(out)
            table.writerow(HEADERS[name])
            table.writerows([["" if row.get(c) is None else str(row[c]) for c in HEADERS[name]] for row in rows])


def attribute(event: Row, events: Iterable[Row], files: Mapping[str, Iterable[Row] | None], day: date) -> dict:
    """What `Directory.attribute` says of one event, given the day's other events."""
    found = _whose(event, events, files, day)
    account = next((a for a in files["accounts"] if a["account_id"] == found["account_id"]), None)
    detecting = any(
        (c["account_id"], c["campaign_id"]) == (found["account_id"], found["campaign_id"])
        and c["voice_detection"].lower() == "true"
        and valid(c, day)
        for c in files["campaigns"]
    )
    theirs = event["to_number"] if found["direction"] == "outbound" else event["from_number"]
    carrier = event["carrier"]
    if carrier is None and event["kind"] == "message":
        carrier = _longest(theirs, files["carriers"], "carrier")
    return found | {
        "currency": account["currency"] if account else "CHF",
        "rate_card": account["rate_card"] if account else None,
        "voice_detection": detecting,
        "carrier": carrier,
        "caller_place": _longest(event["from_number"], files["places"], "jurisdiction"),
        "callee_place": _longest(event["to_number"], files["places"], "jurisdiction"),
    }


def _whose(event: Row, events: Iterable[Row], files: Mapping, day: date) -> dict:
    account_id = next((a["account_id"] for a in files["accounts"] if _billed_through(a, event)), UNASSIGNED)
    nobody = {
        "account_id": account_id, "owner_kind": UNASSIGNED, "owner_id": UNASSIGNED, "campaign_id": None,
        "registered": None, "number_class": None, "direction": event["direction"],
    }  # fmt: skip
    if event["kind"] == "recording":
        for other in events:
            if other["kind"] == "call" and other["record_id"] == event["parent_id"]:
                call = _whose(other, events, files, day)
                nobody |= {c: call[c] for c in ("account_id", "owner_kind", "owner_id", "campaign_id")}
        return nobody | {"direction": None}
    if event["kind"] == "video":
        own = _member(account_id, event, files)
        if own:
            return nobody | {"direction": "outbound", "owner_kind": own[0], "owner_id": own[1]}
        room = [
            (other["occurred_at"], other["record_id"], _member(account_id, other, files))
            for other in events
            if other["kind"] == "video"
            and event["parent_id"] is not None
            and other["parent_id"] == event["parent_id"]
            and any(_billed_through(a, other) and a["account_id"] == account_id for a in files["accounts"])
        ]
        hosts = sorted(entry for entry in room if entry[2])
        kind, owner_id = hosts[0][2] if hosts else (UNASSIGNED, UNASSIGNED)
        return nobody | {"direction": "inbound", "owner_kind": kind, "owner_id": owner_id}
    ours = event["from_number"] if event["direction"] == "outbound" else event["to_number"]
    for number in files["numbers"]:
        if number["number_e164"] == ours and valid(number, day):
            columns = ("account_id", "owner_kind", "owner_id", "campaign_id", "number_class")
            return nobody | {c: number[c] for c in columns} | {"registered": number["registered"] == "true"}
    return nobody


def _billed_through(account: Row, event: Row) -> bool:
    return event["provider_account"] in str(account["provider_account_sid"]).split(";")


def _member(account_id: str, event: Row, files: Mapping) -> tuple[str, str] | None:
    """The owner whose name in video rooms is the event's; nobody's, if two are called so."""
    called = (event["from_number"] or "").lower()
    fits = []
    for owner in files["owners"]:
        name = owner["identity"] or (owner["owner_id"] if owner["owner_kind"] == "member" else None)
        if owner["account_id"] == account_id and name and name.lower() == called:
            fits.append((owner["owner_kind"], owner["owner_id"]))
    return fits[0] if len(fits) == 1 else None


def valid(row: Row, day: date) -> bool:
    return (row["valid_from"] or date.min) <= day < (row["valid_to"] or date.max)


def _longest(number: str | None, rows: Iterable[Row] | None, answer: str) -> str | None:
    if not re.fullmatch(r"\+[1-9][0-9]{0,14}", number or ""):
        return None
    fits = [row for row in rows or () if number.startswith(str(row["prefix_e164"]))]
    return max(fits, key=lambda row: len(row["prefix_e164"]))[answer] if fits else None
