"""What becomes of a session in a room, record by record in plain Python, slowly: what the tests compare with."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from email.utils import parsedate_to_datetime

LONGEST = 7 * 86_400
TEXTS = ("sid", "account_sid", "room_sid", "identity", "status", "duration", "start_time", "end_time", "date_updated")


def moment(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text) if text[:4].isdigit() else parsedate_to_datetime(text)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else None


def text(value: object) -> str | None:
    if value is None or isinstance(value, (list, dict)):
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def event(row: object, index: int, asked: str, room: str, day: date, sha: str) -> dict:
    """The row of `schemas.Events`, without those columns a session never has; ``reason`` as a set."""
    start = datetime.combine(day, time(), UTC)
    given = {name: text(row.get(name)) for name in TEXTS} if isinstance(row, dict) else dict.fromkeys(TEXTS)
    began, ended, updated = (moment(given[name]) for name in ("start_time", "end_time", "date_updated"))
    usable = bool(re.fullmatch("[A-Za-z0-9_-]{1,64}", given["sid"] or ""))
    seconds = int(given["duration"]) if re.fullmatch("-?[0-9]{1,18}", given["duration"] or "") else None
    seconds = seconds if seconds is not None and 0 <= seconds <= LONGEST else None
    near = began is not None and start - timedelta(days=1) <= began < start + timedelta(days=2)

    hard, soft = set(), set()
    if not isinstance(row, dict):
        hard.add("not_an_object")
    else:
        nested = any(isinstance(row.get(name), (list, dict)) for name in TEXTS)
        if nested:
            hard.add("bad_field")
        elif not usable:
            hard.add("missing_id")
        if given["account_sid"] and given["account_sid"] != asked:
            hard.add("foreign_account")
        if given["status"] not in ("disconnected", "connected", "reconnecting"):
            soft.add("unknown_status")
        if not given["start_time"]:
            soft.add("missing_date")
        if given["status"] == "disconnected" and seconds is None:
            soft.add("bad_duration")
        unread = [given[n] and moment(given[n]) is None for n in ("start_time", "end_time", "date_updated")]
        if any(unread) or (began and not near) or (began and ended and ended < began):
            soft.add("bad_date")

    other = near and began.date() != day
    excluded = "other_day" if other else "in_progress" if given["status"] in ("connected", "reconnecting") else None
    if hard or (soft and not excluded):
        outcome, reason = "quarantined", hard | soft
    else:
        outcome, reason = ("excluded", {excluded}) if excluded else ("accepted", set())
    return {
        "record_id": given["sid"] if usable else f"{sha[:16]}:{index}", "kind": "video", "type": "video",
        "outcome": outcome, "reason": reason, "provider_account": asked, "parent_id": room, "direction": None,
        "status": given["status"], "occurred_at": began, "ended_at": ended, "updated_at": updated, "answered_at": None,
        "answered_seconds": seconds, "from_number": given["identity"] or None, "to_number": None, "provider_cost": None,
        "provider_currency": None, "vanished": False, "raw_sha256": sha, "raw_index": index,
    }  # fmt: skip
