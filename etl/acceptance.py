"""Holds that may be right all the same, and who said so: a person accepts one by its name, a hash of what it says.

The name is made of the month, the account and the sentence with its figures. When a figure moves, so does the name, and
what was accepted before accepts nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from typing import Any

from etl.lake import Conflict, Lake
from etl.periods import Month


def name(month: Month, account_id: str, sentence: str) -> str:
    """Eight hexadecimal digits that stand for this hold of this account's month."""
    return hashlib.sha256(f"{month}\n{account_id}\n{sentence}".encode()).hexdigest()[:8]


def command(month: Month, account_id: str, sentence: str) -> str:
    """What to type to accept it."""
    hold = name(month, account_id, sentence)
    return f'python -m etl accept --month {month} --account {account_id} {hold} --reason "…"'


def key(month: Month, account_id: str, hold: str) -> str:
    return f"accepted/month={month}/account={account_id}/{hold}"


def names(lake: Lake, month: Month) -> Mapping[str, frozenset[str]]:
    """account_id → the names of the holds accepted for its month."""
    found: dict[str, set[str]] = {}
    for pin in lake.list_pins(f"accepted/month={month}/"):
        *_, account, hold = pin.split("/")
        found.setdefault(account.removeprefix("account="), set()).add(hold)
    return {account: frozenset(holds) for account, holds in found.items()}


def accept(lake: Lake, month: Month, account_id: str, sentence: str, reason: str, at: str) -> dict[str, Any]:
    """Write down that a hold is accepted, once and for all; the document of whoever did first."""
    document = {
        "month": str(month),
        "account_id": account_id,
        "hold": name(month, account_id, sentence),
        "sentence": sentence,
        "reason": reason,
        "accepted_at": at,
        "run_id": lake.run_id,
    }
    pin = key(month, account_id, document["hold"])
    with contextlib.suppress(Conflict):
        return lake.pin(pin, document)
    return lake.get_pin(pin)
