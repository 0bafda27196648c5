"""The night in plain Python: one record after the other, money in Decimal. The slow reference of the others.

    python -m benchmarks.night.plain_peer DAY TABLES OUT

Everything is held in memory, so it is meant for a hundred thousand messages; time and memory grow in proportion.
Also a library: `Night` reads, and rates a record by the reference's rule or by Tollbook's own.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from decimal import ROUND_HALF_UP, Context, Decimal
from pathlib import Path
from typing import NamedTuple

from benchmarks.night.common import (
    DELIVERED,
    DETECTION_MICROS,
    GSM_BASIC,
    GSM_EXTENSION,
    RECORDED_MINUTE_MICROS,
    Totals,
    tell,
)

BASIC, EXTENSION = frozenset(GSM_BASIC), frozenset(GSM_EXTENSION)
GSM = BASIC | EXTENSION
EXACT = Context(prec=60, rounding=ROUND_HALF_UP)
"""Enough digits that only a true half is taken for one."""
MICRO, NANO = Decimal("0.000001"), Decimal("0.000000001")


class Price(NamedTuple):
    """A row of the rate deck."""

    number: int
    prefix: str
    direction: str
    type: str
    effective_from: date
    effective_to: date | None
    rate_micros: int
    credits: int
    init_sec: int
    incr_sec: int


class Text(NamedTuple):
    """What a text is on the wire."""

    encoding: str
    units: int
    segments: int


def measured(body: str) -> Text:
    """Characters one by one into parts of 153 septets or 67 UTF-16 units; a wide character is never cut."""
    gsm = GSM.issuperset(body)
    encoding, single, part = ("gsm7", 160, 153) if gsm else ("ucs2", 70, 67)
    units, segments, used = 0, 1, 0
    for character in body:
        width = 2 if (character in EXTENSION if gsm else ord(character) > 0xFFFF) else 1
        units += width
        used += width
        if used > part:
            segments, used = segments + 1, width
    return Text(encoding, units, 1 if units <= single else segments)


def billed(seconds: int, price: Price) -> int:
    """The first increment whole, then whole further ones."""
    beyond = max(0, seconds - price.init_sec)
    return price.init_sec + -(-beyond // price.incr_sec) * price.incr_sec


def read_newest(day: Path, kind: str) -> Iterator[dict]:
    """The records of one kind, each once in its newest version, in the order first met."""
    newest: dict[str, dict] = {}
    for file in sorted(day.glob(f"{kind}-*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                known = newest.get(record["sid"])
                if known is None or record["date_updated"] > known["date_updated"]:
                    newest[record["sid"]] = record
    yield from newest.values()


class Night:
    """The price tables, and what they say of a record."""

    def __init__(self, tables: Path) -> None:
        # Rows of a small Parquet file; everything after this is plain Python.
        import pyarrow.parquet as parquet

        deck, fees, accounts = (
            parquet.read_table(tables / f"{name}.parquet").to_pylist()
            for name in ("rate_deck", "carrier_fees", "accounts")
        )
        self.prices: dict[tuple[str, str, str], list[Price]] = defaultdict(list)
        for number, row in enumerate(deck):
            price = Price(number, **row)
            self.prices[price.direction, price.type, price.prefix].append(price)
        self.longest = max(len(prefix) for _, _, prefix in self.prices)
        self.fees = {(f["carrier"], f["type"], f["registered"]): (n, f["fee_micros"]) for n, f in enumerate(fees)}
        self.markups = {a["account_sid"]: a["markup_bps"] for a in accounts}

    def price(self, record: dict, kind: str) -> Price | None:
        """The row in force on the record's UTC day with the longest prefix of its recipient."""
        digits, day = record["to"][1:], date.fromisoformat(record["date_created"][:10])
        for length in range(min(self.longest, len(digits)), 0, -1):
            for price in self.prices.get((record["direction"], kind, digits[:length]), ()):
                if price.effective_from <= day and (price.effective_to is None or day < price.effective_to):
                    return price
        return None

    def fee(self, message: dict) -> tuple[int | None, int]:
        """(row, what the carrier takes for a unit); nothing of what comes in."""
        if message["direction"] != "outbound":
            return None, 0
        return self.fees[message["carrier"], message["type"], message["registered"]]

    def with_markup(self, dollars: Decimal, record: dict, step: Decimal) -> Decimal:
        """The amount with the account's markup, half-up to ``step``: the one rounding there is."""
        factor = 1 + EXACT.divide(Decimal(self.markups[record["account_sid"]]), Decimal(10_000))
        return EXACT.multiply(dollars, factor).quantize(step, ROUND_HALF_UP, EXACT)

    def message(self, message: dict) -> dict:
        """A message by the reference's rule: encoding, units, segments, prefix, credits, charge, cost."""
        text, price = measured(message["body"] or ""), self.price(message, message["type"])
        segments = 1 if message["type"] == "mms" else text.segments
        due = message["status"] != "failed"
        micros = segments * ((price.rate_micros if price else 0) + self.fee(message)[1])
        return {
            "encoding": text.encoding,
            "units": text.units,
            "segments": segments,
            "billed_seconds": 0,
            "prefix": price and price.prefix,
            "credits": segments * price.credits if price and due else 0,
            "charge": self.with_markup(Decimal(micros) * MICRO, message, MICRO) if due else Decimal(0),
            "cost": -Decimal(message["price"] or 0),
        }

    def call(self, call: dict) -> dict:
        """A call by the reference's rule: billed seconds, prefix, credits, charge, cost."""
        price = self.price(call, "voice")
        seconds = billed(call["duration"], price) if price and call["answered"] else 0
        due = call["status"] != "failed"
        usage = EXACT.divide(Decimal(seconds * price.rate_micros), Decimal(60)) if price else Decimal(0)
        minutes = -(-call["recording_duration"] // 60)
        extras = (DETECTION_MICROS if call["amd"] else 0) + minutes * RECORDED_MINUTE_MICROS
        each = price.credits * (2 if call["campaign"] else 1) if price else 0
        return {
            "segments": 0,
            "billed_seconds": seconds,
            "prefix": price and price.prefix,
            "credits": -(-seconds // 60) * each if due else 0,
            "charge": self.with_markup((usage + extras) * MICRO, call, MICRO) if due else Decimal(0),
            "cost": -Decimal(call["price"] or 0),
        }

    # -------------------------------------------------------------------------------------------- Tollbook's own rule

    def own_message(self, message: dict) -> dict:
        """A message by Tollbook's rule: line, price row, quantity, credits, and charge and carrier fee to the billionth.
        The price has the markup in it, rounded once in the card; the fee has none."""
        price, sms = self.price(message, message["type"]), message["type"] == "sms"
        if message["status"] == "failed":
            return {
                "line": "failed_message", "rate_id": None, "quantity": 1, "credits": 0, "charge": Decimal(0),
                "fee_id": None, "carrier_fee": Decimal(0), "segments": 0, "billed_seconds": 0,
            }  # fmt: skip
        quantity = measured(message["body"]).segments if sms else 1
        row, fee = self.fee(message)
        return {
            "line": "text", "rate_id": self._rate_id(price, "text", message), "quantity": quantity, "credits": quantity,
            "charge": price and (quantity * self.card_price(price, message)).quantize(NANO),
            "fee_id": None if row is None else str(row), "carrier_fee": quantity * fee * MICRO,
            "segments": quantity if sms else 0, "billed_seconds": 0,
        }  # fmt: skip

    def own_call(self, call: dict) -> dict:
        """A call by Tollbook's rule: the same columns."""
        price, line = self.price(call, "voice"), "campaign_call" if call["campaign"] else "call"
        seconds = billed(call["duration"], price) if price and call["duration"] and call["answered"] else 0
        charge = None
        if price:
            minutes = EXACT.divide(EXACT.multiply(self.card_price(price, call), Decimal(seconds)), Decimal(60))
            charge = minutes.quantize(NANO, ROUND_HALF_UP, EXACT)
        return {
            "line": line, "rate_id": self._rate_id(price, line, call), "quantity": seconds, "credits": 0,
            "charge": charge, "fee_id": None, "carrier_fee": Decimal(0), "segments": 0, "billed_seconds": seconds,
        }  # fmt: skip

    def card_price(self, price: Price, record: dict) -> Decimal:
        """What the account's rate card says: the deck's price with the markup."""
        return self.with_markup(Decimal(price.rate_micros) * MICRO, record, NANO)

    def _rate_id(self, price: Price | None, line: str, record: dict) -> str | None:
        return price and f"{price.number}-{line}-{self.markups[record['account_sid']]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("day", "tables", "out"):
        parser.add_argument(name, type=Path)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    night = Night(asked.tables)
    rolled: dict[tuple, list] = defaultdict(lambda: [0, 0, 0, 0, 0, Decimal(0), Decimal(0), 0])
    for kind, rate in (("messages", night.message), ("calls", night.call)):
        with (asked.out / f"{kind}.csv").open("w", newline="", encoding="utf-8") as file:
            table = None
            for record in read_newest(asked.day, kind):
                found = rate(record)
                row = {k: v for k, v in record.items() if k != "body"} | found
                if table is None:
                    table = csv.DictWriter(file, list(row))
                    table.writeheader()
                table.writerow(row)
                category = record.get("type") or ("campaign_call" if record["campaign"] else "voice")
                sums = rolled[
                    record["date_created"][:10], record["account_sid"], record["member_id"] or "",
                    record["inbox_id"] or "", record["direction"], category,
                ]  # fmt: skip
                sums[0] += 1
                sums[1] += record["status"] in DELIVERED
                for at, name in enumerate(("segments", "billed_seconds", "credits", "charge", "cost"), 2):
                    sums[at] += found[name]
                sums[7] += found["prefix"] is None
    with (asked.out / "daily.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([*key, *sums] for key, sums in sorted(rolled.items()))
    n, _, segments, seconds, credits, charge, cost, unrated = map(sum, zip(*rolled.values(), strict=True))
    tell(Totals(n, segments, seconds, credits, int(charge * 10**6), int(cost * 10**6), unrated))


if __name__ == "__main__":
    main()
