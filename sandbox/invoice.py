"""The provider's invoice of a month, as its usage records come: one line for each category. Exact, or wrong on
purpose."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from sandbox import prices
from sandbox.company import CUSTOMERS, MAIN
from sandbox.records import isoformat
from sandbox.traffic import Clock, World
from sandbox.usage import CATEGORIES, Ledger
from sandbox.usage_pages import usage_rows

COLUMNS = (
    "account_sid", "category", "description", "start_date", "end_date", "count", "count_unit", "usage", "usage_unit",
    "price",
    "price_unit", "as_of",
)  # fmt: skip
KINDS = ("overcharge", "more", "double", "fee")
WRONGS = """\
what can be wrong (--wrong, repeatable)
  overcharge,sms-outbound,10     10 % more for the same quantity; what holds the category grows with it, and the total
  more,calls-inbound,25          25 units more than there were, at the average price
  double,sms-outbound            the line stands twice, and the total counts both
  fee,platform-fee,49.50         a line of a fee that no usage has
"""


@dataclass(frozen=True)
class Wrong:
    """One planted error."""

    kind: str
    category: str
    amount: str = ""

    @classmethod
    def parse(cls, text: str) -> "Wrong":
        """``overcharge,sms-outbound,10``. ValueError says what was expected."""
        kind, category, amount = [*text.split(","), "", ""][:3]
        known = kind in KINDS and (category in CATEGORIES or kind == "fee") and category not in ("", "totalprice")
        if not known or (kind == "double") != (not amount) or text.count(",") > 2:
            raise ValueError(
                f"{text!r}: write one of overcharge,CATEGORY,PERCENT more,CATEGORY,UNITS double,CATEGORY fee,NAME,USD"
            )
        if amount and not amount.replace(".", "", 1).isdigit():
            raise ValueError(f"{text!r}: {amount!r} is not a number")
        return cls(kind, category, amount)


def lines(
    world: World, clock: Clock, first: date, *, by_account: bool = False, daily: bool = False, wrong: Sequence[Wrong]
    = ()
) -> Iterator[dict[str, str]]:  # fmt: skip
    """Lines of the month that begins with ``first``: of the main account with all it holds, or of each sub-account."""
    ledger, last = Ledger(world), (first + timedelta(31)).replace(day=1) - timedelta(1)
    as_of = isoformat(clock.now).replace("Z", "+00:00")
    period = "Daily" if daily else "Monthly"
    for account, members in [(a, (a,)) for a in CUSTOMERS] if by_account else [(MAIN, CUSTOMERS)]:
        found = usage_rows(ledger, clock, account, members, first, last, period, None, as_of, 0)
        rows = [{name: row[name] or "" for name in COLUMNS} for _, row in found]
        for one in wrong:
            _spoil(rows, one)
        yield from rows


def write(path: Path, found: Iterator[dict[str, str]]) -> int:
    """Writes the lines as CSV, or as the API's JSON if the name ends in ``.json``; returns their number."""
    rows = list(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        path.write_text(json.dumps({"next_page_uri": None, "usage_records": rows}, indent=1) + "\n", encoding="utf-8")
        return len(rows)
    with path.open("w", encoding="utf-8", newline="") as out:
        table = csv.DictWriter(out, COLUMNS)
        table.writeheader()
        table.writerows(rows)
    return len(rows)


def _spoil(rows: list[dict[str, str]], wrong: Wrong) -> None:
    """Plants one error on every period's line of the category, on those that hold it, and on the total."""
    if wrong.kind == "fee":
        _add(rows[-1], _micros(wrong.amount), "")
        fee = {**rows[-1], "category": wrong.category, "description": wrong.category, "price": wrong.amount}
        rows.insert(0, {**fee, "usage": "", "usage_unit": "", "count": ""})
        return
    for row in [r for r in rows if r["category"] == wrong.category]:
        price, usage = _micros(row["price"]), int(row["usage"])
        more = int(wrong.amount) if wrong.kind == "more" else 0
        extra = {
            "overcharge": price * _micros(wrong.amount or "0") // 100_000_000,
            "more": price * more // usage if usage else 0,
            "double": price,
        }[wrong.kind]
        above = ["totalprice"]
        if wrong.kind == "double":
            rows.insert(rows.index(row), dict(row))
        else:
            above += [c for c in CATEGORIES if wrong.category == c or wrong.category.startswith(f"{c}-")]
        for other in rows:
            if other["category"] in above and other["start_date"] == row["start_date"]:
                _add(other, extra, "" if other["category"] == "totalprice" else str(more))


def _add(row: dict[str, str], micros: int, units: str) -> None:
    row["price"] = prices.usd(_micros(row["price"]) + micros)
    if row["category"] == "totalprice":
        row["usage"] = row["price"]
    elif units:
        row["usage"] = str(int(row["usage"]) + int(units))


def _micros(usd: str) -> int:
    whole, _, rest = usd.partition(".")
    return int(whole or "0") * 1_000_000 + int(f"{rest:0<6}"[:6])
