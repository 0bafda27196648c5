"""Whether what a night stored is right.

    python -m benchmarks.night.answers SETTINGS DAY_FOLDER TABLES [--expect n,segments,seconds,credits,charge,cost,unrated] [--rows]

The known answers follow the reference's rule, which rounds each event to the millionth after the markup, counts carrier
fees within it, and adds detection and recording to a call. So each stored charge is taken back to the rows that priced it
(``rate_id``, ``fee_id``), its account's markup and its billed seconds, and the reference's amount reckoned from those; detection
and recording come from the provider's file. Sums must then be equal to the last digit.

Always: `daily` is the sum of the charges. ``--rows``: each stored charge, of each record, is held to plain Python (minutes
for a million).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import polars as pl

from benchmarks.night import plain_peer
from benchmarks.night.common import DETECTION_MICROS, RECORDED_MINUTE_MICROS, Totals, tell
from benchmarks.night.mapping import our_account
from etl.settings import load


class Wrong(Exception):
    """What was stored is not what should have been."""


def parts(lake: Path, dataset: str) -> Iterator[Path]:
    """The files of a dataset as an outsider finds them, in order."""
    yield from sorted((lake / dataset).rglob("part*.parquet"))


# ------------------------------------------------------------------------------------------------ the reference's totals


def totals(lake: Path, day: Path, tables: Path) -> Totals:
    """The reference's totals of all that is in the lake, file by file. Wrong where a file of charges does not hold exactly
    the accepted events of its twin."""
    reference = Reference(day, tables)
    found = [
        reference.sums(events, lake / "charges" / events.relative_to(lake / "events"))
        for events in parts(lake, "events")
    ]
    return Totals(*map(sum, zip(*found, strict=True)))


class Reference:
    """The reference's rule, on stored rows."""

    def __init__(self, day: Path, tables: Path) -> None:
        deck, fees, accounts = (
            pl.read_parquet(tables / f"{name}.parquet") for name in ("rate_deck", "carrier_fees", "accounts")
        )
        self.deck = deck
        self.rows = deck.select("rate_micros", deck_credits="credits").with_row_index("deck_row")
        self.fees = fees.select(fee_micros="fee_micros", fee_id=pl.int_range(pl.len()).cast(pl.String))
        self.markups = pl.DataFrame(
            {"account_id": [our_account(n) for n in range(accounts.height)], "markup_bps": accounts["markup_bps"]}
        )
        types = {"sid": pl.String, "amd": pl.Boolean, "recording_duration": pl.Int64}
        calls = pl.scan_ndjson(sorted(day.glob("calls-*.jsonl.gz")), schema=types)
        self.extras = (
            calls.select(
                record_id="sid",
                extras=pl.when("amd").then(DETECTION_MICROS).otherwise(0)
                + (pl.col("recording_duration") + 59) // 60 * RECORDED_MINUTE_MICROS,
            )
            .unique("record_id", keep="any")
            .collect()
        )

    def sums(self, events: Path, charges: Path) -> Totals:
        """Of one file of events and its twin of charges."""
        day = date.fromisoformat(next(p[5:] for p in events.parts if p.startswith("date=")))
        columns = [
            "record_id",
            "kind",
            "type",
            "status",
            "direction",
            "to_number",
            "segments_computed",
            "provider_cost",
        ]
        rows = pl.scan_parquet(events, hive_partitioning=False).filter(outcome="accepted").select(columns).collect()
        priced = pl.read_parquet(
            charges, hive_partitioning=False,
            columns=["record_id", "kind", "account_id", "line", "rate_id", "fee_id", "billed_seconds"],
        )  # fmt: skip
        both = rows.join(priced, on=["kind", "record_id"], how="inner")
        if not rows.height == priced.height == both.height:
            raise Wrong(f"{events}: {rows.height} accepted events, {priced.height} charges, {both.height} in both")
        number = pl.col("rate_id").str.extract(r"^(\d+)-").cast(self.rows.schema["deck_row"]).alias("deck_row")
        known = (
            both.with_columns(number)
            .join(self.rows, on="deck_row", how="left")
            .join(self.fees, on="fee_id", how="left")
            .join(self.markups, on="account_id", how="left")
            .with_columns(pl.col("rate_micros", "deck_credits", "fee_micros").fill_null(0))
        )
        if known["markup_bps"].null_count():
            raise Wrong(f"{charges}: {known['markup_bps'].null_count()} charges of no account")
        texts, calls = known.filter(kind="message"), known.filter(kind="call")
        texts = texts.with_columns(
            segments=pl.when(pl.col("type") == "mms").then(1).otherwise("segments_computed")
        ).with_columns(
            credits=pl.col("segments") * pl.col("deck_credits"),
            charge=(
                pl.col("segments") * (pl.col("rate_micros") + pl.col("fee_micros")) * (10_000 + pl.col("markup_bps")) + 5_000
            ) // 10_000,
        )  # fmt: skip
        seconds = pl.col("billed_seconds")
        campaign = (pl.col("line") == "campaign_call").cast(pl.Int64)
        calls = calls.join(self.extras, on="record_id", how="left").with_columns(
            segments=pl.lit(0, pl.Int64),
            credits=(seconds + 59) // 60 * pl.col("deck_credits") * (1 + campaign),
            charge=(
                2 * (seconds * pl.col("rate_micros") + 60 * pl.col("extras")) * (10_000 + pl.col("markup_bps")) + 600_000
            ) // 1_200_000,
        )  # fmt: skip
        if calls["charge"].null_count():
            raise Wrong(f"{charges}: {calls['charge'].null_count()} calls are not in the provider's files")
        same = [
            "status",
            "segments",
            "billed_seconds",
            "credits",
            "charge",
            "provider_cost",
            "deck_row",
            "to_number",
            "type",
            "direction",
        ]
        every = pl.concat([texts.select(same), calls.select(same)])
        due = pl.col("status") != "failed"
        costs = (pl.col("provider_cost").fill_null(0).sum() * 1_000_000).cast(pl.Int64)
        row = every.select(
            pl.len(), pl.col("segments").sum(), seconds.sum(), pl.col("credits").filter(due).sum(),
            pl.col("charge").filter(due).sum(), cost=costs,
        ).row(0)  # fmt: skip
        # Tollbook asks no price for a failed text; the reference does, and counts those it finds none for.
        unrated = every.filter(pl.col("deck_row").is_null())
        return Totals(*row, unrated.height - self._rated(unrated.filter(~due), day))

    def _rated(self, rows: pl.DataFrame, day: date) -> int:
        """How many of these have a row in the deck on ``day``."""
        in_force = self.deck.filter(
            (pl.col("effective_from") <= day) & (pl.col("effective_to").is_null() | (pl.col("effective_to") > day))
        ).select("prefix", "direction", "type")
        lengths = in_force["prefix"].str.len_chars().unique()
        found = [
            rows.with_row_index().with_columns(prefix=pl.col("to_number").str.slice(1, length))
            .filter(pl.col("prefix").str.len_chars() == length)
            .join(in_force, on=["prefix", "direction", "type"], how="semi")["index"]
            for length in lengths
        ]  # fmt: skip
        return pl.concat(found).n_unique() if found else 0


# ------------------------------------------------------------------------------------------------ Tollbook's own rule


def check_daily(lake: Path) -> None:
    """Wrong unless each day's `daily` is the sum of its charges: money, events, segments, seconds, credits."""
    days = sorted({p.parent.parent.name for p in parts(lake, "charges")})
    for day in days:
        charges = pl.scan_parquet(lake / "charges" / day / "**" / "part*.parquet", hive_partitioning=False)
        counts = ("segments", "billed_seconds", "credits")
        money = pl.sum_horizontal(pl.col("charge", "carrier_fee", "detection_charge").sum())
        wanted = (
            charges.select(pl.len().alias("events"), pl.col(counts).sum(), charge=money).collect().row(0, named=True)
        )
        rolled = pl.scan_parquet(lake / "daily" / day / "part*.parquet", hive_partitioning=False)
        first = ~pl.col("line").is_in(["carrier_fee", "voice_detection"])
        found = rolled.select(
            pl.col("events").filter(first).sum(), pl.col(*counts, "charge").sum()
        ).collect().row(0, named=True)  # fmt: skip
        if wanted != found:
            raise Wrong(f"{day}: daily says {found}, its charges add up to {wanted}")


def check_rows(lake: Path, day: Path, tables: Path) -> int:
    """Wrong unless each record has exactly one charge, on its UTC day, and that is what plain Python says. How many."""
    clerk, accounts = plain_peer.Night(tables), {}
    sids = pl.read_parquet(tables / "accounts.parquet")["account_sid"].to_list()
    accounts = {sid: our_account(number) for number, sid in enumerate(sids)}
    stored: dict[str, dict] = {}
    for file in parts(lake, "charges"):
        utc_day = next(p[5:] for p in file.parts if p.startswith("date="))
        for row in pl.read_parquet(file, hive_partitioning=False).iter_rows(named=True):
            if row["record_id"] in stored:
                raise Wrong(f"{file}: {row['record_id']} is charged twice")
            stored[row["record_id"]] = row | {"date": utc_day}
    checked = 0
    for kind, rule in (("messages", clerk.own_message), ("calls", clerk.own_call)):
        for record in plain_peer.read_newest(day, kind):
            inbox = record["member_id"] is None
            text = kind == "messages"
            wanted = rule(record) | {
                "campaign_id": record["campaign_id"] if text else "true" if record["campaign"] else None,
                "carrier": record.get("carrier"),
                "registered": record.get("registered"),
                "account_id": accounts[record["account_sid"]],
                "owner_kind": "inbox" if inbox else "member",
                "owner_id": record["inbox_id"] if inbox else record["member_id"],
                "date": record["date_created"][:10],
            }
            row = stored.pop(record["sid"], None)
            found = row and {name: row[name] for name in wanted}
            if found != wanted:
                raise Wrong(f"{record['sid']}: stored {found}, plain Python says {wanted}")
            checked += 1
    if stored:
        raise Wrong(f"{len(stored)} charges of records that are in no file, first {next(iter(stored))}")
    return checked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("settings", "day", "tables"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--expect", type=json.loads, help="the known totals, as a JSON list")
    parser.add_argument("--rows", action="store_true", help="hold every stored row to plain Python, too")
    asked = parser.parse_args()
    settings = load(asked.settings)
    lake = settings.path(settings.lake.url)
    try:
        found = totals(lake, asked.day, asked.tables)
        if asked.expect and found != Totals(*asked.expect):
            raise Wrong(f"stored: {found}\nknown:  {Totals(*asked.expect)}")
        check_daily(lake)
        rows = check_rows(lake, asked.day, asked.tables) if asked.rows else 0
    except Wrong as error:
        sys.exit(f"wrong: {error}")
    tell(found, rows=rows)


if __name__ == "__main__":
    main()
