"""Writes the customer's directory - who owns which number - as CSV files, as an operator would keep it."""

import csv
from pathlib import Path

from sandbox import prices
from sandbox.company import CONTACT_AREAS, CUSTOMERS

HEADERS = {
    "accounts": ("account_id", "name", "company", "currency", "rate_card", "email_to", "provider_account_sid"),
    "numbers": (
        *("number_e164", "account_id", "owner_kind", "owner_id", "campaign_id"),
        *("registered", "number_class", "valid_from", "valid_to"),
    ),
    "owners": ("account_id", "owner_kind", "owner_id", "name"),
    "campaigns": ("account_id", "campaign_id", "name", "voice_detection"),
    "carriers": ("prefix_e164", "carrier"),
}


def rows() -> dict[str, list[tuple[str, ...]]]:
    """The rows of every file by file name. `valid_to` is the first day no longer valid; empty means still valid."""
    accounts, numbers, owners, campaigns = [], [], [], []
    for a in CUSTOMERS:
        accounts.append((a.account_id, a.name, a.company, "USD", "standard", a.email_to, a.sid))
        owners += [(a.account_id, "member", owner_id, name) for owner_id, name in a.members]
        owners += [(a.account_id, "inbox", owner_id, name) for owner_id, name in a.inboxes]
        campaigns += [(a.account_id, c.campaign_id, c.name, str(c.voice_detection).lower()) for c in a.campaigns]
        for number in a.numbers:
            if not number.listed:
                continue
            ends = [since for since, _, _ in number.holders[1:]] + [number.released]
            for (since, kind, owner), until in zip(number.holders, ends, strict=True):
                numbers.append(
                    (
                        *(number.number, a.account_id, kind, owner, number.campaign or ""),
                        *(str(number.registered).lower(), number.number_class),
                        *(since.isoformat(), until.isoformat() if until else ""),
                    )
                )
    carriers = [
        (f"+1{area}55501{tens}", prices.CARRIERS[prices.CARRIER_OF_TENS[tens]])
        for area in sorted(CONTACT_AREAS)
        for tens in range(10)
    ]
    return {
        "accounts": accounts,
        "numbers": numbers,
        "owners": owners,
        "campaigns": campaigns,
        "carriers": carriers,
    }


def write(folder: Path) -> list[Path]:
    """Writes `accounts.csv`, `numbers.csv`, `owners.csv`, `campaigns.csv` and `carriers.csv`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, lines in rows().items():
        path = folder / f"{name}.csv"
        with path.open("w", encoding="utf-8", newline="") as out:
            table = csv.writer(out, lineterminator="\n")
            table.writerow(HEADERS[name])
            table.writerows(lines)
        written.append(path)
    return written
