"""A day's messages as the provider's file exports: the console's message log (CSV) and BulkExport (gzip JSON lines)."""

import csv
import gzip
import json
from collections.abc import Iterator
from datetime import date
from email.utils import parsedate_to_datetime
from pathlib import Path

from sandbox.company import CUSTOMERS
from sandbox.records import Records
from sandbox.traffic import SECONDS_PER_DAY, Clock, World, midnight

CONSOLE_HEADER = (
    *("From", "To", "Body", "Status", "SentDate", "ApiVersion", "NumSegments", "ErrorCode"),
    *("AccountSid", "Sid", "Direction", "Price", "PriceUnit"),
)
BULK_LEFT_OUT = ("price_unit", "api_version", "error_message", "uri", "subresource_uris")
FORMATS = ("console-csv", "bulkexport")


def _iso(text: str | None) -> str | None:
    return parsedate_to_datetime(text).strftime("%Y-%m-%dT%H:%M:%SZ") if text else None


def _rows(world: World, clock: Clock, day: date, accounts) -> Iterator[dict]:
    records = Records(world)
    first, last = midnight(day), midnight(day) + SECONDS_PER_DAY - 1
    for account in accounts:
        for at in world.messages(account, first, last, clock, False):
            yield records.message(at, clock)


def write(
    world: World, clock: Clock, day: date, file_format: str, folder: Path, accounts=CUSTOMERS
) -> tuple[Path, int]:
    """Writes one day of all accounts, newest first within each; returns (path, rows). Only sent messages are in it."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, count = _rows(world, clock, day, accounts), 0
    if file_format == "console-csv":
        path = folder / f"sms-log-{day}.csv"
        with path.open("w", encoding="utf-8", newline="") as out:
            table = csv.writer(out, lineterminator="\n")
            table.writerow(CONSOLE_HEADER)
            for count, row in enumerate(rows, 1):  # noqa: B007
                table.writerow(
                    (
                        *(
                            row["from"],
                            row["to"],
                            row["body"],
                            row["status"],
                            _iso(row["date_sent"]),
                            row["api_version"],
                        ),
                        *(row["num_segments"], row["error_code"] or 0, row["account_sid"], row["sid"]),
                        *(row["direction"], row["price"] or "", row["price_unit"]),
                    )
                )
        return path, count
    if file_format != "bulkexport":
        raise ValueError(f"format must be one of {', '.join(FORMATS)}")
    path = folder / f"Messages_{day}.json.gz"
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as out:
        for count, row in enumerate(rows, 1):  # noqa: B007
            kept = {key: value for key, value in row.items() if key not in BULK_LEFT_OUT}
            for name in ("date_created", "date_sent", "date_updated"):
                kept[name] = _iso(kept[name])
            for name in ("num_segments", "num_media"):
                kept[name] = int(kept[name])
            if kept["price"] is None:
                del kept["price"]
            out.write(json.dumps(kept, ensure_ascii=False).encode() + b"\n")
    return path, count
