"""What an operator is told by mail: what happened, whom it concerns, and the command that mends it.

Pure: texts from keys. Whatever others said (an exception, a hold) is masked before it is in one; nothing here reads a
secret, a text or a phone number. Subjects are one line of plain characters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from html import escape
from typing import Any

from etl import redaction

RUNBOOK = "docs/runbook.md"
ACCOUNTS, REASONS = 10, 3
"""So many accounts, and of each so many reasons, are in one mail; the others are counted."""

EVERYBODY = "every account: no statement has these days yet"
LATER = "nobody: no figure depends on it"

_DAYS = {
    "wait_for_late_logs": ("the wait for the provider's late logs", EVERYBODY, "python -m etl run {days}"),
    "plan": ("planning which days to load", EVERYBODY, "python -m etl check --offline"),
    "pull": ("reading the provider's log", EVERYBODY, "python -m etl check, then python -m etl run {days}{source}"),
    "pages": ("sharing out a large day", LATER, "python -m etl run {days}{source}"),
    "buckets": ("sharing out a large day", LATER, "python -m etl run {days}{source}"),
    "read_share": ("a share of reading the kept pages", LATER, "python -m etl run {days}{source}"),
    "make_share": ("a share of a large day", LATER, "python -m etl run {days}{source}"),
    "normalise": ("reading the kept pages", EVERYBODY, "python -m etl run {days}{source}"),
    "rate": ("pricing", EVERYBODY, "python -m etl rates check, then python -m etl rate {days}{source}"),
    "reconcile": ("comparing with the provider's own totals", EVERYBODY, "python -m etl reconcile {days}{source}"),
    "moved": ("billing what moved to another day", EVERYBODY, "python -m etl run {days}"),
    "roll_up": ("rolling up", EVERYBODY, "python -m etl rate {days}"),
    "state": ("stating the months", EVERYBODY, "python -m etl rate {days}"),
    "audit": ("the audit", "whom the finding names; if nobody, everybody", "python -m etl audit {days}"),
    "operate": ("the operator's page", LATER, "python -m reports operator --month {month}"),
    "expire": ("erasing what has expired", LATER, "python -m etl expire"),
    "report": ("the report of the night", LATER, "python -m etl night"),
}
_MONTHS = {
    "plan": ("finding the months that are due", "every account", "python -m etl check"),
    "close": ("closing", "every account of the month", "python -m etl close --month {month}"),
    "publish": ("publishing", "the accounts that are named", "python -m reports publish --month {month}"),
    "mail": ("mailing", "the accounts that are named", "python -m reports mail --month {month}"),
    "operate": ("the operator's page", LATER, "python -m reports operator --month {month}"),
    "watcher": (
        "a task of the month's run",
        "see the mail about that task",
        "python -m reports operator --month {month}",
    ),
    "report": ("the measures of the month", LATER, "python -m reports operator --month {month}"),
}
_PAST = _DAYS | {
    "load": ("loading days of the past", EVERYBODY, "python -m etl check, then python -m etl run {days}{source}"),
    "state": ("stating a month of the past", EVERYBODY, "python -m etl rate --month {month}"),
    "settle": ("rolling up days of the past", EVERYBODY, "python -m etl run --month {month}"),
    "audit": ("the audit", "whom the finding names; if nobody, everybody", "python -m etl audit --month {month}"),
}


@dataclass(frozen=True)
class Remedy:
    """What failed, whom it concerns, and the command to run."""

    what: str
    whom: str
    command: str


def remedy(dag_id: str, task_id: str, key: str, *, window: str | None = None, source: str | None = None) -> Remedy:
    """Of a task that failed. ``key``: the day or month of its run, as far as it is one; ``window``: ``first/last`` day."""
    known = {"usage_monthly": _MONTHS, "usage_backfill": _PAST}.get(dag_id, _DAYS)
    what, whom, command = known.get(task_id.rsplit(".", 1)[-1], (f"task {task_id}", "unknown", "python -m etl check"))
    first, last = (window if _is_window(window) else f"{_day(key)}/{_day(key)}").split("/")
    words = {
        "days": f"--date {first}" if first == last else f"--from {first} --to {last}",
        "month": _month(key),
        "source": f" --source {source}" if source and re.fullmatch(r"[A-Za-z0-9_-]+", source) else "",
    }
    return Remedy(what, whom, command.format(**words))


@dataclass(frozen=True)
class Message:
    """A mail about the run of things: its subject and its body, escaped."""

    subject: str
    html: str


def late(day: str, done_by: int) -> Message:
    """The night of a UTC day is not done at its hour."""
    day = _day(day)
    hour, days = done_by % 24, done_by // 24
    due = date.fromisoformat(day) + timedelta(days=1 + days) if day != "DAY" else None
    when = f"{hour:02d}:00 UTC{f' on {due}' if due else ''}"
    return Message(
        f"Tollbook: the night of {day} is late",
        _paragraphs(
            f"The night of {day} should have been done by {when}, and is not.",
            f"Whom: {EVERYBODY}.",
            "What runs: <code>airflow dags list-runs usage_daily --state running</code>",
            f"To mend it, if nothing runs: <code>python -m etl check</code>, then <code>python -m etl run --date {day}</code>",
            f"More under “A night is late” in {RUNBOOK}.",
        ),
    )


def held(months: Sequence[Mapping[str, Any]]) -> Message:
    """Months that should be closed by now and are held. ``months``: `etl.metrics.of_month`, those that are overdue."""
    named = ", ".join(str(month["month"]) for month in months)
    parts = []
    for month in months:
        by_account: dict[str, list[str]] = {}
        for account, reason in month["held"]:
            by_account.setdefault(account, []).append(reason)
        parts.append(f"<b>{escape(str(month['month']))}</b>: {month['held_accounts']} account(s) are held.")
        for account, reasons in list(by_account.items())[:ACCOUNTS]:
            parts += [f"{escape(account)}: {_marked(reason)}" for reason in reasons[:REASONS]]
            if len(reasons) > REASONS:
                parts.append(f"{escape(account)}: and {len(reasons) - REASONS} more")
        if month["held_accounts"] > ACCOUNTS:
            parts.append(f"and {month['held_accounts'] - ACCOUNTS} more account(s)")
        parts.append(f"To see all: <code>python -m etl close --month {escape(str(month['month']))}</code>")
    return Message(
        f"Tollbook: {named} should be closed and is held",
        _paragraphs(
            *parts,
            f"More under “A month is held” in {RUNBOOK}. The other accounts are closed; nothing waits for these.",
        ),
    )


def _marked(sentence: str) -> str:
    """A sentence for a mail: masked, escaped, its commands marked."""
    text = escape(redaction.mask(sentence), quote=False)
    return re.sub(
        r"python -m (?:etl|reports)(?: [\w./:=-]+| &lt;?[\w-]+)*", lambda found: f"<code>{found[0]}</code>", text
    )


def _paragraphs(*texts: str) -> str:
    return "".join(f"<p>{text}</p>" for text in texts)


def _is_window(text: str | None) -> bool:
    return bool(text and re.fullmatch(r"\d{4}-\d{2}-\d{2}/\d{4}-\d{2}-\d{2}", text))


def _day(key: str) -> str:
    """The key where it is a day; a word to be replaced where it is not: whoever starts a run chooses its key."""
    return key if re.fullmatch(r"\d{4}-\d{2}-\d{2}", key) else "DAY"


def _month(key: str) -> str:
    return key[:7] if re.fullmatch(r"\d{4}-\d{2}(-\d{2})?", key) else "MONTH"
