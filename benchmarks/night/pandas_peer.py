"""The night in pandas, as one would write it: one frame a kind, joins for prices, whole numbers for money.

    python -m benchmarks.night.pandas_peer DAY TABLES OUT

All of the day is in memory at once, about 3 GB for a million messages.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from benchmarks.night.common import (
    CALLS,
    DELIVERED,
    DETECTION_MICROS,
    MESSAGES,
    MONEY,
    RECORDED_MINUTE_MICROS,
    TEXT,
    TIME,
    Totals,
    tell,
)
from benchmarks.night.plain_peer import measured

COMPRESSION = {"compression": "zstd", "compression_level": 1, "index": False}


def read(day: Path, kind: str, fields: dict[str, str]) -> pd.DataFrame:
    """The files of one kind, typed; each record once in its newest version; ``date`` is its UTC day."""
    texts = {name: "str" for name, kind in fields.items() if kind in (TEXT, MONEY, TIME)}
    files = sorted(day.glob(f"{kind}-*.jsonl.gz"))
    frame = pd.concat([pd.read_json(f, lines=True, dtype=texts) for f in files], ignore_index=True)
    for name in (name for name, kind in fields.items() if kind == TIME):
        frame[name] = pd.to_datetime(frame[name], format="%Y-%m-%dT%H:%M:%S.%fZ")
    frame["cost_micros"] = (-pd.to_numeric(frame.pop("price")) * 1_000_000).round().astype("Int64")
    frame = frame.sort_values("date_updated", kind="stable").drop_duplicates("sid", keep="last")
    frame["date"] = frame["date_created"].dt.normalize()
    return frame


def with_segments(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds encoding, units and segments. Most texts are plain ASCII of one width; the others are measured one by one."""
    plain = frame["body"].str.fullmatch(r"[\x20-\x5A\x5F\x61-\x7A\n\r]*")
    units = frame["body"].str.len()
    frame["encoding"], frame["units"] = "gsm7", units
    frame["segments"] = (units + 152) // 153
    frame.loc[units <= 160, "segments"] = 1
    special = [measured(body) for body in frame.loc[~plain, "body"]]
    for at, name in enumerate(("encoding", "units", "segments")):
        frame.loc[~plain, name] = [text[at] for text in special]
    frame.loc[frame["type"] == "mms", "segments"] = 1
    return frame


def with_prices(frame: pd.DataFrame, deck: pd.DataFrame) -> pd.DataFrame:
    """Adds the deck's row in force on the day with the longest prefix of ``to``; empty where there is none."""
    days = pd.DataFrame({"date": frame["date"].unique()})
    valid = deck.merge(days, how="cross")
    valid = valid[(valid["effective_from"] <= valid["date"]) & ~(valid["effective_to"] <= valid["date"])]
    keys = ["prefix", "direction", "type", "date"]
    found = pd.Series(float("nan"), index=frame.index)
    for length in sorted(deck["prefix"].str.len().unique(), reverse=True):
        left = frame.loc[found.isna(), ["to", "direction", "type", "date"]]
        left = left.assign(prefix=left["to"].str.slice(1, length + 1))
        found.loc[left.index] = left.merge(valid[[*keys, "deck_row"]], on=keys, how="left")["deck_row"].to_numpy()
    frame["deck_row"] = found
    terms = deck[["deck_row", "prefix", "rate_micros", "credits", "init_sec", "incr_sec"]]
    return frame.merge(terms, on="deck_row", how="left")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("day", "tables", "out"):
        parser.add_argument(name, type=Path)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    deck, fees, accounts = (
        pd.read_parquet(asked.tables / f"{name}.parquet") for name in ("rate_deck", "carrier_fees", "accounts")
    )
    deck = deck.assign(
        deck_row=range(len(deck)),
        effective_from=pd.to_datetime(deck["effective_from"]),
        effective_to=pd.to_datetime(deck["effective_to"]),
    )
    accounts = accounts[["account_sid", "markup_bps"]]

    messages = read(asked.day, "messages", MESSAGES)
    messages.to_parquet(asked.out / "messages.parquet", **COMPRESSION)
    messages = with_prices(with_segments(messages), deck).drop(columns="body")
    messages = messages.merge(fees, on=["carrier", "type", "registered"], how="left").merge(accounts, on="account_sid")
    due = messages["status"] != "failed"
    unit = messages["rate_micros"].fillna(0).astype("int64")
    unit += messages["fee_micros"].where(messages["direction"] == "outbound", 0).astype("int64")
    segments = messages["segments"].astype("int64")
    messages["charge_micros"] = ((segments * unit * (10_000 + messages["markup_bps"]) + 5_000) // 10_000).where(due, 0)
    messages["credits"] = (segments * messages["credits"].fillna(0).astype("int64")).where(due, 0)
    messages["category"], messages["billed_seconds"] = messages["type"], 0
    ordered(messages).to_parquet(asked.out / "rated_messages", partition_cols=["date"], **COMPRESSION)

    calls = read(asked.day, "calls", CALLS)
    calls.to_parquet(asked.out / "calls.parquet", **COMPRESSION)
    calls = with_prices(calls.assign(type="voice"), deck).merge(accounts, on="account_sid")
    rated, due = calls["prefix"].notna(), calls["status"] != "failed"
    initial, increment = calls["init_sec"].fillna(0).astype("int64"), calls["incr_sec"].fillna(1).astype("int64")
    seconds = initial + ((calls["duration"] - initial).clip(lower=0) + increment - 1) // increment * increment
    calls["billed_seconds"] = seconds.where(calls["answered"] & rated, 0)
    extras = calls["amd"].astype("int64") * DETECTION_MICROS
    extras += (calls["recording_duration"] + 59) // 60 * RECORDED_MINUTE_MICROS
    usage = calls["billed_seconds"] * calls["rate_micros"].fillna(0).astype("int64") + 60 * extras
    calls["charge_micros"] = ((2 * usage * (10_000 + calls["markup_bps"]) + 600_000) // 1_200_000).where(due, 0)
    minutes = (calls["billed_seconds"] + 59) // 60 * calls["credits"].fillna(0).astype("int64")
    calls["credits"] = (minutes * (1 + calls["campaign"].astype("int64"))).where(due, 0)
    calls["category"], calls["segments"] = calls["campaign"].map({True: "campaign_call", False: "voice"}), 0
    ordered(calls).to_parquet(asked.out / "rated_calls", partition_cols=["date"], **COMPRESSION)

    keys = ["date", "account_sid", "member_id", "inbox_id", "direction", "category"]
    sums = ["segments", "billed_seconds", "credits", "charge_micros", "cost_micros"]
    both = pd.concat([f[[*keys, *sums, "status", "prefix"]] for f in (messages, calls)], ignore_index=True)
    both = both.assign(n=1, delivered=both["status"].isin(DELIVERED), unrated=both["prefix"].isna())
    daily = both.groupby(keys, dropna=False)[["n", "delivered", *sums, "unrated"]].sum().reset_index()
    daily.to_parquet(asked.out / "daily.parquet", **COMPRESSION)
    tell(Totals(*(int(daily[name].sum()) for name in ("n", *sums, "unrated"))))


def ordered(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values(["account_sid", "date_created"])


if __name__ == "__main__":
    main()
