"""Usage records as the API lists them: one row for each category and period, newest period first, zeros included."""

from collections.abc import Iterator
from datetime import date, timedelta

from sandbox import prices
from sandbox.company import Account
from sandbox.records import API
from sandbox.traffic import Clock
from sandbox.usage import CATEGORIES, Ledger

PERIODS = ("Daily", "Monthly", "Yearly", "AllTime", "Today", "Yesterday", "ThisMonth", "LastMonth")
_LINKS = {
    "all_time": "AllTime",
    "daily": "Daily",
    "last_month": "LastMonth",
    "monthly": "Monthly",
    "this_month": "ThisMonth",
    "today": "Today",
    "yearly": "Yearly",
    "yesterday": "Yesterday",
}


def _spans(start: date, end: date, period: str) -> list[tuple[date, date]]:
    """The periods from start to end, newest first, cut to the range asked for."""
    if period not in ("Daily", "Monthly", "Yearly"):
        return [(start, end)]
    spans: list[tuple[date, date]] = []
    while end >= start:
        first = {"Daily": end, "Monthly": end.replace(day=1), "Yearly": end.replace(month=1, day=1)}[period]
        spans.append((max(first, start), end))
        end = first - timedelta(1)
    return spans


def _add(ledger: Ledger, clock: Clock, members: tuple[Account, ...], first: date, last: date) -> dict[str, list[int]]:
    total = {category: [0, 0, 0] for category in CATEGORIES}
    for account in members:
        day = max(first, account.created)
        while day <= last:
            for category, amounts in ledger.usage(account, day, clock).items():
                row = total[category]
                for place in range(3):
                    row[place] += amounts[place]
            day += timedelta(1)
    return total


def usage_rows(
    ledger: Ledger,
    clock: Clock,
    account: Account,
    members: tuple[Account, ...],
    start: date,
    end: date,
    period: str,
    category: str | None,
    as_of: str,
    skip: int,
) -> Iterator[tuple[str, dict]]:
    """(token, usage record) from row `skip` on. `members` are the accounts summed up in each row."""
    names = [category] if category in CATEGORIES else [] if category else list(CATEGORIES)
    if not names:
        return
    spans = _spans(start, end, period)
    base = f"/{API}/Accounts/{account.sid}/Usage/Records"
    part = "" if period == "Records" else f"/{period}"
    for place in range(skip // len(names), len(spans)):
        first, last = spans[place]
        totals = _add(ledger, clock, members, first, last)
        for offset, name in enumerate(names):
            row = place * len(names) + offset
            if row < skip:
                continue
            count, usage, price = totals[name]
            description, count_unit, usage_unit = CATEGORIES[name]
            whole = name == "totalprice"
            yield (
                f"UR{row:016x}",
                {
                    "account_sid": account.sid,
                    "api_version": API,
                    "as_of": as_of,
                    "category": name,
                    "count": None if whole else str(count),
                    "count_unit": count_unit,
                    "description": description,
                    "end_date": last.isoformat(),
                    "price": prices.usd(price) if price else "0",
                    "price_unit": "usd",
                    "start_date": first.isoformat(),
                    "subresource_uris": {k: f"{base}/{v}.json?Category={name}" for k, v in _LINKS.items()},
                    "uri": f"{base}{part}.json?Category={name}&StartDate={first}&EndDate={last}",
                    "usage": (prices.usd(usage) if usage else "0") if whole else str(usage),
                    "usage_unit": usage_unit,
                },
            )
