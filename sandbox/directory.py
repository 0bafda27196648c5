"""Writes the customer's directory - who owns which number, who bought what - as CSV files, as an operator keeps it."""

import csv
from pathlib import Path

from sandbox import plans, prices
from sandbox.company import CONTACT_AREAS, CUSTOMERS
from sandbox.traffic import Clock, World

HEADERS = {
    "accounts": (
        *("account_id", "name", "company", "currency", "rate_card", "email_to", "provider_account_sid"),
        *("service_address", "tax_exempt"),
    ),
    "numbers": (
        *("number_e164", "account_id", "owner_kind", "owner_id", "campaign_id"),
        *("registered", "number_class", "valid_from", "valid_to", "monthly_price"),
    ),
    "owners": ("account_id", "owner_kind", "owner_id", "name", "identity"),
    "campaigns": ("account_id", "campaign_id", "name", "voice_detection"),
    "carriers": ("prefix_e164", "carrier"),
    "places": ("prefix_e164", "jurisdiction"),
    **plans.HEADERS,
}

PLACES = {
    **{"206": "US-WA", "503": "US-OR", "312": "US-IL"},
    **{"201": "US-NJ", "203": "US-CT", "208": "US-ID", "213": "US-CA", "214": "US-TX", "215": "US-PA"},
    **{"217": "US-IL", "253": "US-WA", "262": "US-WI"},
}
"""Jurisdiction of an area code: the accounts' own, and those of some contacts. Of the others nothing is known."""


def rows(world: World, clock: Clock) -> dict[str, list[tuple]]:
    """The rows of every file by file name. `valid_to` is the first day no longer valid; empty means still valid."""
    accounts, numbers, owners, campaigns = [], [], [], []
    for a in CUSTOMERS:
        accounts.append(
            (a.account_id, a.name, a.company, "USD", plans.rate_card(a), a.email_to, a.sid, a.service_address, a.tax_exempt)
        )
        owners += [(a.account_id, "member", owner_id, name, owner_id) for owner_id, name in a.members]
        owners += [(a.account_id, "inbox", owner_id, name, "") for owner_id, name in a.inboxes]
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
                        *(since.isoformat(), until.isoformat() if until else "", number.monthly_price),
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
        "places": [(f"+1{area}", jurisdiction) for area, jurisdiction in PLACES.items()],
        **plans.rows(world, clock),
    }


def write(folder: Path, world: World, clock: Clock) -> list[Path]:
    """Writes a file for each of HEADERS; returns their paths. Only purchases.csv depends on the world and its clock."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, lines in rows(world, clock).items():
        path = folder / f"{name}.csv"
        with path.open("w", encoding="utf-8", newline="") as out:
            table = csv.writer(out, lineterminator="\n")
            table.writerow(HEADERS[name])
            table.writerows(lines)
        written.append(path)
    return written
