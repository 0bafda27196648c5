"""The invariants, checked on what was written. A finding names the promise, the partition and the remedy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date

import polars as pl

from etl.lake import Lake, Partition
from etl.schemas import DATASETS, SECOND_LINES


class AuditFailed(Exception):
    """A promise is broken: what rests on it must not be billed until it is repaired."""


def audit(lake: Lake, days: Iterable[date], sources: Iterable[str]) -> list[str]:
    """Every finding for these UTC days; empty when all promises hold."""
    names = list(sources)
    return [finding for day in days for finding in _day(lake, day, names)]


def _day(lake: Lake, day: date, sources: list[str]) -> Iterator[str]:
    charges = []
    for source in sources:
        events = lake.head(Partition.of("events", date=day, source=source))
        rated = lake.head(Partition.of("charges", date=day, source=source))
        where = f"date={day}/source={source}"
        if events is None or rated is None:
            yield f"complete: {where} is not loaded: run python -m etl run --date {day}"
            continue
        charges.append(lake.read(rated).drop("date", "source"))
        yield from conserved(lake.read(events, ["record_id", "kind", "outcome", "reason"]), charges[-1], where)
    rolled = lake.head(Partition.of("daily", date=day))
    if rolled is None:
        yield f"complete: date={day} is not rolled up: run python -m etl run --date {day}"
    elif charges:
        yield from adds_up(pl.concat(charges), lake.read(rolled, DATASETS["daily"].columns), f"date={day}")


def conserved(events: pl.DataFrame, charges: pl.DataFrame, where: str) -> Iterator[str]:
    """Every record has one outcome, every outcome but acceptance a reason, every accepted one a charge."""
    unexplained = events.filter((pl.col("outcome") != "accepted") & pl.col("reason").is_null()).height
    if unexplained:
        yield f"nothing lost: {unexplained} record(s) of {where} are not billed and say no reason: load the day again"
    due = events.filter(pl.col("outcome") == "accepted").select("kind", "record_id")
    key = ["kind", "record_id"]
    uncharged = due.join(charges, on=key, how="anti").height
    unfounded = charges.join(due, on=key, how="anti").height
    if uncharged or unfounded:
        yield (
            f"nothing lost: {where} has {uncharged} accepted record(s) without a charge and {unfounded} charge(s) "
            "without a record: run python -m etl rate for the day"
        )


def adds_up(charges: pl.DataFrame, daily: pl.DataFrame, where: str) -> Iterator[str]:
    """The roll-up holds exactly what the charges hold, in messages, segments, credits and money."""
    for column in ("messages", "segments", "credits", "billed_seconds"):
        ours, theirs = daily[column].sum(), charges[column].sum()
        if ours != theirs:
            yield f"lines add up: {where} has {ours} {column} rolled up, {theirs} charged: roll the day up again"
    counted = daily.filter(~pl.col("line").is_in(SECOND_LINES))["events"].sum()
    if counted != charges.height:
        yield f"lines add up: {where} has {counted} records rolled up, {charges.height} charged: roll the day up again"
    money = sum(charges[column].sum() for column in ("charge", "carrier_fee", "detection_charge"))
    if daily["charge"].sum() != money:
        yield f"lines add up: {where} has {daily['charge'].sum()} rolled up, {money} charged: roll the day up again"
