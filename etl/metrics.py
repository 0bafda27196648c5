"""What an operator measures, by name: figures of a month and of a run, and how each is called where metrics go.

Pure. Nothing is sent from here: Airflow's own interface does (`dags/tollbook_wiring.py`), to where airflow.cfg says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from etl.periods import Month

if TYPE_CHECKING:
    from etl.operations import Operations

PREFIX = "tollbook"
OUTCOMES = ("accepted", "excluded", "quarantined")
TOLD = 25
"""Holds of a month that are kept as sentences; accounts are counted all the same."""
TIMER, COUNTER, GAUGE = "timer", "counter", "gauge"


@dataclass(frozen=True)
class Metric:
    """One name. ``tags`` in the order in which they follow the name where a transport knows no tags."""

    name: str
    kind: str
    tags: tuple[str, ...]
    what: str


METRICS = {
    metric.name: metric
    for metric in (
        Metric("verb.duration", TIMER, ("verb", "source"), "how long one verb took for one day, or for all it was asked at once"),
        Metric("verb.failed", COUNTER, ("verb", "source"), "verbs that ended with an error, each try"),
        Metric("partitions.changed", COUNTER, ("verb", "source"), "partitions that got a new version"),
        Metric("night.seconds", GAUGE, (), "from the first verb of a night to the end of the last"),
        Metric("source.seconds", GAUGE, ("source",), "seconds of all verbs of a source in a night, one after the other"),
        Metric("night.rows", GAUGE, ("source", "outcome"), "records of the days a night read: accepted, excluded, quarantined"),
        Metric("night.findings", GAUGE, (), "promises of those days that are broken or could not be checked"),
        Metric("rows", GAUGE, ("source", "outcome"), "records of the months a night touched: accepted, excluded, quarantined"),
        Metric("days.missing", GAUGE, ("source",), "days of these months that are due and not loaded"),
        Metric("days.behind", GAUGE, ("source",), "days loaded and not, or not all, in the figures"),
        Metric("unrated", GAUGE, ("source",), "charges of these months without a price"),
        Metric("unexplained", GAUGE, ("source",), "totals unlike the provider's own, without an explanation"),
        Metric("lag.days", GAUGE, (), "UTC days from the newest day that is complete to today; 1 after a good night"),
        Metric("accounts.held", GAUGE, (), "accounts whose month should be closed and is held"),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """One value of one metric. ``value``: seconds of a timer, else a count."""

    name: str
    value: float
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def metric(self) -> Metric:
        return METRICS[self.name]

    @property
    def tagged(self) -> str:
        """The name where tags are sent beside it: ``tollbook.rows``."""
        return f"{PREFIX}.{self.name}"

    @property
    def dotted(self) -> str:
        """The name where they are not, as on plain StatsD: ``tollbook.rows.twilio.accepted``. A tag without value is left out."""
        parts = (re.sub(r"[^A-Za-z0-9_-]", "_", self.tags.get(tag, "")) for tag in self.metric.tags)
        return ".".join([self.tagged, *filter(None, parts)])


@dataclass(frozen=True)
class Call:
    """One verb, called once. A plain record: JSON in, JSON out.

    ``at``: when it began, UTC. ``seconds``: how long it took. ``day``, ``month``, ``source``: what it was asked for, as far as
    it was asked for one. ``done``: what it did to each partition (`Done`, without the verb). ``held``, ``findings``: what is held
    back or broken, as sentences; ``more``: how many sentences were left out. ``checked``: verdicts given. ``months``: the figures
    of a month (`of_month`). ``error``: the kind of exception and what it says, masked; None where it returned.
    """

    verb: str
    at: str
    seconds: float
    day: str | None = None
    month: str | None = None
    source: str | None = None
    done: list[dict[str, Any]] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    more: int = 0
    checked: int = 0
    months: dict[str, dict[str, Any]] = field(default_factory=dict)
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, record: dict[str, Any]) -> Call:
        """From what `as_dict` gave; unknown keys, of another version, are left out."""
        return cls(**{key: value for key, value in record.items() if key in cls.__dataclass_fields__})


# ------------------------------------------------------------------------------------------------ a month


def of_month(o: Operations) -> dict[str, Any]:
    """A month's figures as a plain record.

    ``sources``: source → days_missing, days_behind, accepted, excluded, quarantined, unrated, unexplained. ``complete``: the
    newest UTC day every source of which is in the figures, or None. ``accounts``: state → how many. ``held``: [account, why]
    of accounts that are not final, the first few; ``held_accounts``: how many they are. ``todo``: what needs doing.
    """
    import polars as pl

    from etl import redaction
    from etl.operations import BEFORE, BEHIND, LATE, LOADED, MISSING, NONE

    state = pl.col("state")
    by_source = o.loads.group_by("source").agg(
        days_missing=(state == MISSING).sum(), days_behind=(state == BEHIND).sum(),
        **{name: pl.col(name).sum() for name in (*OUTCOMES, "unrated", "unexplained")},
    ).sort("source")  # fmt: skip
    counted = o.loads.filter(~state.is_in([BEFORE, NONE]))
    whole = counted.group_by("date").agg(whole=state.is_in([LOADED, LATE]).all()).filter("whole")["date"]
    holding = o.accounts.filter((pl.col("state") != "final") & (pl.col("held").list.len() > 0))
    told = [
        [row["account_id"], redaction.mask(sentence)]
        for row in holding.sort("account_id").iter_rows(named=True)
        for sentence in row["held"]
    ]
    return {
        "month": str(o.month),
        "sources": {row.pop("source"): row for row in by_source.iter_rows(named=True)},
        "complete": whole.max().isoformat() if len(whole) else None,
        "accounts": dict(o.accounts["state"].value_counts().sort("state").iter_rows()),
        "held": told[:TOLD],
        "held_accounts": holding.height,
        "todo": [redaction.mask(sentence) for sentence in o.todo],
    }


def overdue(months: Iterable[Mapping[str, Any]], today: date, close_after_days: int) -> list[Mapping[str, Any]]:
    """The months that should be closed by now and are held for somebody. ``today`` in UTC."""
    return [
        month
        for month in months
        if month["held_accounts"] and today > Month.parse(month["month"]).end + timedelta(days=close_after_days)
    ]


# ------------------------------------------------------------------------------------------------ figures


def of_call(call: Call) -> list[Figure]:
    """What is sent the moment a verb ends."""
    tags = {"verb": call.verb, "source": call.source or ""}
    changed = sum(bool(one["changed"]) for one in call.done)
    return [
        Figure("verb.duration", call.seconds, tags),
        *([Figure("verb.failed", 1, tags)] if call.error else []),
        *([Figure("partitions.changed", changed, tags)] if changed else []),
    ]


def of_night(calls: Iterable[Call], today: date, start: date) -> list[Figure]:
    """What is sent when a night is over. ``today``: the UTC day it ends on; ``start``: go-live."""
    calls = list(calls)
    months = months_of(calls)
    figures = [
        Figure("night.seconds", elapsed(calls)),
        *(Figure("source.seconds", seconds, {"source": s}) for s, seconds in sorted(seconds_by_source(calls).items())),
        *(Figure("night.rows", n, {"source": s, "outcome": o}) for (s, o), n in sorted(rows_read(calls).items())),
        Figure("night.findings", sum(len(call.findings) + call.more for call in calls if call.verb == "audit")),
    ]
    if not months:
        return figures
    by_source: dict[str, dict[str, int]] = {}
    for month in months:
        for source, counts in month["sources"].items():
            sums = by_source.setdefault(source, {})
            for name, count in counts.items():
                sums[name] = sums.get(name, 0) + (count or 0)
    for source, sums in sorted(by_source.items()):
        figures += [Figure("rows", sums[outcome], {"source": source, "outcome": outcome}) for outcome in OUTCOMES]
        figures += [
            Figure(name, sums[of], {"source": source})
            for name, of in (
                ("days.missing", "days_missing"), ("days.behind", "days_behind"),
                ("unrated", "unrated"), ("unexplained", "unexplained"),
            )
        ]  # fmt: skip
    return [*figures, Figure("lag.days", lag(months, today, start))]


def months_of(calls: Iterable[Call]) -> list[dict[str, Any]]:
    """The figures of the months that a run looked at, each once, oldest first; the last look counts."""
    found = {month: record for call in calls for month, record in call.months.items()}
    return [found[month] for month in sorted(found)]


def rows_read(calls: Iterable[Call]) -> dict[tuple[str, str], int]:
    """(source, outcome) → records of the days that were normalised; of a day normalised twice the last counts."""
    counts: dict[str, tuple[str, Mapping[str, int]]] = {}
    for call in calls:
        for one in call.done if call.verb == "normalise" else ():
            if one["partition"].startswith("events/") and call.source:
                counts[one["partition"]] = (call.source, one["counts"])
    rows: dict[tuple[str, str], int] = {}
    for source, said in counts.values():
        for outcome in OUTCOMES:
            rows[source, outcome] = rows.get((source, outcome), 0) + said.get(outcome, 0)
    return rows


def seconds_by_source(calls: Iterable[Call]) -> dict[str, float]:
    found: dict[str, float] = {}
    for call in calls:
        if call.source:
            found[call.source] = round(found.get(call.source, 0.0) + call.seconds, 3)
    return found


def began(calls: Iterable[Call]) -> datetime | None:
    return min((datetime.fromisoformat(call.at) for call in calls), default=None)


def ended(calls: Iterable[Call]) -> datetime | None:
    return max((datetime.fromisoformat(call.at) + timedelta(seconds=call.seconds) for call in calls), default=None)


def elapsed(calls: Iterable[Call]) -> float:
    """Seconds from the first call's begin to the last one's end."""
    calls = list(calls)
    return round((ended(calls) - began(calls)).total_seconds(), 3) if calls else 0.0


def lag(months: Iterable[Mapping[str, Any]], today: date, start: date) -> int:
    """UTC days from the newest complete day to ``today``; from the day before go-live where none of these months has one."""
    complete = [date.fromisoformat(month["complete"]) for month in months if month["complete"]]
    return (today - max(complete, default=start - timedelta(days=1))).days


def table() -> str:
    """The names as docs/airflow.md prints them."""
    rows = [f"| `{PREFIX}.{m.name}` | {m.kind} | {', '.join(m.tags) or '–'} | {m.what} |" for m in METRICS.values()]
    return "\n".join(["| name | kind | tags | |", "| --- | --- | --- | --- |", *rows])


def utc_day(at: datetime) -> date:
    return at.astimezone(UTC).date()
