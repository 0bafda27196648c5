"""The reference tables as Tollbook's own files: settings, directory, rate cards, carrier fees.

    python -m benchmarks.night.mapping DATA TABLES OUT --day 2026-03-15

One rate card for each markup there is: its price is the deck's with the markup on it, half-up to nine decimals. A row of
the deck becomes a `text` row, or for voice a `call` and a `campaign_call` row, and its number stands in the `rate_id`.
Carrier fees know no markup in Tollbook; `answers` reckons the reference's amounts from the rows that priced each event.
The files name the owner, campaign, carrier and registration of each record, so `numbers.csv` is empty.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from benchmarks.night import workload
from benchmarks.night.common import LATE_DAYS, Workload
from etl.directory.files import COLUMNS
from etl.rating.card import FEE_COLUMNS, PRICE_COLUMNS

KNOWN_ON = date(2025, 1, 1)
NANOS_IN_MICRO = 1000
SOURCES = {
    "messages": {
        "date_sent": "date_created", "member": "member_id", "inbox": "inbox_id", "campaign": "campaign_id",
        "carrier": "carrier", "registered": "registered",
    },
    "calls": {"start_time": "date_created", "member": "member_id", "inbox": "inbox_id", "campaign": "campaign"},
}  # fmt: skip
"""Source → our field → its name in the file."""


def write(data: Path, tables: Path, out: Path, day: date) -> Path:
    """Tollbook's files in ``out`` for the days below ``data``; the settings file. The lake is ``out``/lake unless
    ``TOLLBOOK_LAKE__URL`` says otherwise."""
    deck, fees, accounts = (pl.read_parquet(tables / f"{t}.parquet") for t in ("rate_deck", "carrier_fees", "accounts"))
    sids, markups = accounts["account_sid"].to_list(), accounts["markup_bps"].to_list()
    files = {
        "directory/accounts": (COLUMNS["accounts"], accounts_csv(sids, markups)),
        "directory/owners": (COLUMNS["owners"], owners_csv(len(sids))),
        "directory/numbers": (COLUMNS["numbers"], ()),
        "directory/campaigns": (COLUMNS["campaigns"], ()),
        "rates/prices": (PRICE_COLUMNS, prices_csv(deck, sorted(set(markups)))),
        "rates/carrier_fees": (FEE_COLUMNS, fees_csv(fees)),
    }
    for name, (header, rows) in files.items():
        path = out / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, header, restval="")
            table.writeheader()
            table.writerows(rows)
    settings = out / "tollbook.toml"
    settings.write_text(settings_toml(data, day), encoding="utf-8")
    return settings


def settings_toml(data: Path, day: date) -> str:
    """The settings: a `files` source for each list, whose files lie in a folder a day."""
    lines = [
        f"start = {day - timedelta(days=LATE_DAYS)}",
        'directory = "directory"',
        'rates = "rates"',
        '[lake]\nurl = "lake"',
        '[reports.store]\nurl = "published"',
    ]
    for name, columns in SOURCES.items():
        lines += [
            f"[sources.{name}]",
            'kind = "files"',
            f'resource = "{name}"',
            f'pattern = "{{date}}/{name}-*.jsonl.gz"',
            f"late_days = {LATE_DAYS}",
            f"[sources.{name}.store]\nurl = {_quoted(data.resolve().as_uri())}",
            f"[sources.{name}.columns]",
            *(f"{ours} = {_quoted(theirs)}" for ours, theirs in columns.items()),
        ]
    return "\n".join(lines) + "\n"


def our_account(number: int) -> str:
    """The account of the provider's account ``number``."""
    return f"acct_{number:03d}"


def rate_card(markup_bps: int) -> str:
    """The card with that markup, in hundredths of a percent."""
    return f"markup-{markup_bps}"


def accounts_csv(sids: Iterable[str], markups: Iterable[int]) -> Iterator[dict]:
    for number, (sid, markup) in enumerate(zip(sids, markups, strict=True)):
        yield {
            "account_id": our_account(number), "name": f"Account {number}", "currency": "USD",
            "rate_card": rate_card(markup), "provider_account_sid": sid,
        }  # fmt: skip


def owners_csv(accounts: int) -> Iterator[dict]:
    for kind, each, name in (
        ("member", workload.MEMBERS, workload.member_id),
        ("inbox", workload.INBOXES, workload.inbox_id),
    ):
        for number in range(accounts * each):
            account = our_account(number // each)
            yield {"account_id": account, "owner_kind": kind, "owner_id": name(number), "name": f"{kind} {number}"}


def prices_csv(deck: pl.DataFrame, markups: Iterable[int]) -> Iterator[dict]:
    rows = list(deck.iter_rows(named=True))
    for markup in markups:
        for number, row in enumerate(rows):
            price = nanos_text((row["rate_micros"] * NANOS_IN_MICRO * (10_000 + markup) + 5_000) // 10_000)
            voice = row["type"] == "voice"
            for line in ("call", "campaign_call") if voice else ("text",):
                yield {
                    "rate_id": f"{number}-{line}-{markup}", "rate_card": rate_card(markup), "line": line,
                    "direction": row["direction"], "type": row["type"], "prefix": "+" + row["prefix"],
                    "currency": "USD", "price": price,
                    "minimum_seconds": row["init_sec"] if voice else "",
                    "increment_seconds": row["incr_sec"] if voice else "",
                    "clock": "answer" if voice else "", "bill_unanswered": "false" if voice else "",
                    "valid_from": row["effective_from"], "valid_to": row["effective_to"], "recorded_at": KNOWN_ON,
                }  # fmt: skip


def fees_csv(fees: pl.DataFrame) -> Iterator[dict]:
    for number, row in enumerate(fees.iter_rows(named=True)):
        yield {
            "fee_id": str(number), "carrier": row["carrier"], "direction": "outbound", "type": row["type"],
            "registered": str(row["registered"]).lower(), "currency": "USD",
            "price": nanos_text(row["fee_micros"] * NANOS_IN_MICRO), "valid_from": KNOWN_ON, "recorded_at": KNOWN_ON,
        }  # fmt: skip


def nanos_text(nanos: int) -> str:
    """Billionths as the decimal number they are."""
    return f"{nanos // 10**9}.{nanos % 10**9:09d}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "tables", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--day", type=date.fromisoformat, default=Workload().day)
    asked = parser.parse_args()
    print(write(asked.data, asked.tables, asked.out, asked.day))


if __name__ == "__main__":
    main()
