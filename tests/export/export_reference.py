"""The export once more, slowly: one loop over rows in plain Python, Decimal and int. Shares nothing with `etl.export`."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

LINES = (
    "number", "call", "text", "video", "campaign_call", "recording_storage", "carrier_fee", "voice_detection",
    "failed_message", "credit_overage", "tier_adjustment", "adjustment", "subscription", "credit_pack",
)  # fmt: skip
KEYS = {
    "members": ["owner_kind", "owner_id"],
    "inboxes": ["owner_kind", "owner_id"],
    "campaigns": ["campaign_id"],
    "lines": ["line", "direction", "type"],
}
ONE_BY_ONE = {"members": "member", "inboxes": "inbox"}
FIGURES = [
    "messages", "segments", "credits", "calls", "call_billed_seconds", "video_sessions", "video_billed_seconds",
    "charge", "unrated",
]  # fmt: skip


def label(day: date, by: str) -> str:
    if by == "day":
        return f"{day:%Y-%m-%d}"
    if by == "month":
        return f"{day:%Y-%m}"
    if by == "week":
        # The week belongs to the year its Thursday is in.
        thursday = day + timedelta(days=3 - day.weekday())
        return f"{thursday.year}-W{(thursday.timetuple().tm_yday - 1) // 7 + 1:02d}"
    return "all"


def nothing() -> dict:
    return {name: Decimal(0) if name == "charge" else 0 for name in FIGURES}


def view(
    rows: list[dict],
    by: str,
    which: str,
    accounts: list[str] | None,
    days: list[date],
    missing: list[date],
    currencies: dict[str, str],
) -> list[dict]:
    """The rows of the view, in its order."""
    keys = KEYS.get(which, [])
    periods: dict[str, list[date]] = {}
    for day in sorted(set(days)):
        periods.setdefault(label(day, by), []).append(day)
    found: dict[tuple, dict] = {}
    customers: set[tuple[str, str]] = set()
    for row in rows:
        if accounts is not None and row["account_id"] not in accounts:
            continue
        customers.add((row["account_id"], row["currency"]))
        if row["date"] not in days or row["line"] in ("number", "recording_storage"):
            continue
        if which == "sent" and row["direction"] != "outbound" or which == "received" and row["direction"] != "inbound":
            continue
        owner_id = row["owner_id"]
        if which in ONE_BY_ONE and row["owner_kind"] not in (ONE_BY_ONE[which], "unassigned"):
            owner_id = None
        values = {**row, "owner_id": owner_id}
        identity = (row["account_id"], row["currency"], label(row["date"], by), *(values[k] for k in keys))
        sums = found.setdefault(identity, nothing())
        for name in ("messages", "segments", "credits", "charge", "unrated"):
            sums[name] += row[name]
        if row["line"] == "call" or row["line"] == "campaign_call":
            sums["calls"] += row["events"]
            sums["call_billed_seconds"] += row["billed_seconds"]
        elif row["line"] == "video":
            sums["video_sessions"] += row["events"]
            sums["video_billed_seconds"] += row["billed_seconds"]
    if not keys:
        for account, currency in currencies.items():
            if (accounts is None or account in accounts) and account not in {a for a, _ in customers}:
                customers.add((account, currency))
        for account, currency in customers:
            for period, its_days in periods.items():
                unknown = all(d in missing for d in its_days)
                zero = dict.fromkeys(FIGURES) if unknown else nothing()
                found.setdefault((account, currency, period), zero)
    table = []
    for (account, currency, period, *values), sums in found.items():
        its_days = periods[period]
        table.append(
            {
                "account_id": account,
                "period": period,
                "period_start": its_days[0],
                "period_end_exclusive": its_days[-1] + timedelta(days=1),
                **dict(zip(keys, values, strict=True)),
                **sums,
                "currency": currency,
                "days_missing": sum(d in missing for d in its_days),
            }
        )
    return sorted(table, key=lambda row: _place(row, which))


def _place(row: dict, which: str) -> tuple:
    place = [row["account_id"], row["period_start"]]
    if which in ONE_BY_ONE:
        place.append(row["owner_kind"] != ONE_BY_ONE[which])
    for key in KEYS.get(which, []):
        value = row[key]
        place += [value is None, LINES.index(value) if key == "line" else value or ""]
    return (*place, row["currency"])
