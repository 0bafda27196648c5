"""Calls of a made-up night, and the report of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from etl.metrics import Call

START = datetime(2026, 11, 3, 2, 0, tzinfo=UTC)
DAY = date(2026, 11, 2)


def done(partition: str, rows: int, *, changed: bool = True, **counts: int) -> dict:
    return {"partition": partition, "seq": 1 if changed else 3, "rows": rows, "changed": changed, "counts": counts}


def call(verb: str, after: int = 0, seconds: float = 1.0, **fields) -> Call:
    return Call(verb, (START + timedelta(seconds=after)).isoformat(), seconds, **fields)


def month(**changed) -> dict:
    """As `etl.metrics.of_month` gives it."""
    counts = {
        "days_missing": 0, "days_behind": 0, "accepted": 90, "excluded": 8, "quarantined": 2, "unrated": 0, "unexplained": 0,
    }  # fmt: skip
    return {
        "month": "2026-11", "sources": {"twilio": counts}, "complete": "2026-11-02", "accounts": {"open": 2},
        "held": [], "held_accounts": 0, "todo": [],
    } | changed  # fmt: skip


def night() -> list[Call]:
    """Two days of one source, one of them changed; nothing is wrong."""
    calls = []
    for n, day in enumerate(("2026-11-01", "2026-11-02")):
        place, changed = {"day": day, "source": "twilio"}, n == 1
        at = f"date={day}/source=twilio"
        calls += [
            call("pull", n, 2.5, done=[done(f"raw/{at}", 4, changed=changed)], **place),
            call(
                "normalise", 4 + n, 0.5, **place,
                done=[
                    done(f"events/{at}", 50, changed=changed, accepted=45, excluded=4, quarantined=1),
                    done(f"ledger/{at}", 12, changed=changed),
                ],
            ),
            call("rate", 6 + n, 0.25, done=[done(f"charges/{at}", 45, changed=changed, unrated=0)], **place),
        ]  # fmt: skip
    return [
        *calls,
        call("audit", 9, 0.75, checked=40),
        call("operations", 10, 2.0, month="2026-11", months={"2026-11": month()}),
    ]
