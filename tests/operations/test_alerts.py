"""What operators are told: the command fits the task, nothing said by others gets out unmasked or unescaped."""

from __future__ import annotations

import re
import shlex

import pytest
from nightmade import month

from etl import alerts

TASKS = ["wait_for_late_logs", "plan", "twilio.pull", "twilio.normalise", "twilio.rate", "twilio.reconcile", "moved", "roll_up", "state", "audit", "operate", "expire", "report"]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_of_the_night_has_its_own_remedy(task):
    found = alerts.remedy("usage_daily", task, "2026-11-02", source="twilio" if "." in task else None)
    assert "task " not in found.what and found.whom != "unknown"
    assert "{" not in found.command


def test_a_window_is_a_range_and_a_key_that_is_no_day_is_no_option():
    assert alerts.remedy("usage_daily", "twilio.pull", "x", window="2026-10-01/2026-10-04", source="twilio").command == (
        "python -m etl check, then python -m etl run --from 2026-10-01 --to 2026-10-04 --source twilio"
    )
    evil = alerts.remedy("usage_daily", "audit", "$(rm -rf /)", window="; reboot", source="`id`")
    assert evil.command == "python -m etl audit --date DAY"
    assert alerts.remedy("usage_monthly", "publish", "2026-10").command == "python -m reports publish --month 2026-10"
    assert alerts.remedy("usage_daily", "new_task", "2026-10-01").what == "task new_task"


@pytest.mark.parametrize(
    ("day", "hours", "when"),
    [("2026-10-31", 8, "08:00 UTC on 2026-11-01"), ("2026-12-31", 30, "06:00 UTC on 2027-01-02"), ("x\r\nBcc: a", 8, "08:00 UTC,")],
)
def test_a_late_night(day, hours, when):
    message = alerts.late(day, hours)
    assert when in message.html and "\n" not in message.subject and "\r" not in message.subject
    assert f"python -m etl run --date {day if day.startswith('2') else 'DAY'}" in message.html


def test_a_month_that_is_held_names_whom_why_and_the_command():
    reasons = [["acct_a", f"day missing: 2026-10-0{n}: load it with python -m etl run --date 2026-10-0{n}"] for n in range(1, 6)]
    reasons.append(["acct_b", "<b>+15550100123</b> differs: python -m etl reconcile --date 2026-10-09"])
    message = alerts.held([month(month="2026-10", held=reasons, held_accounts=14)])
    assert message.subject == "Tollbook: 2026-10 should be closed and is held"
    text = message.html
    assert "<code>python -m etl run --date 2026-10-01</code>" in text and "acct_a: and 2 more" in text
    assert "14 account(s) are held" in text and "and 4 more account(s)" in text
    assert "+1555" not in text and "&lt;b&gt;***123" in text and "<code>python -m etl close --month 2026-10</code>" in text


def test_every_command_that_is_mailed_is_one():
    from commandlines import parse

    said = [alerts.remedy(dag, task, "2026-11-02", source="twilio" if "." in task else None).command
            for dag in ("usage_daily", "usage_monthly") for task in (*TASKS, "close", "publish", "mail", "watcher")]  # fmt: skip
    said += re.findall(r"<code>(.*?)</code>", alerts.late("2026-11-02", 8).html)
    for line in {part for text in said for part in text.split(", then ")}:
        parse(shlex.split(line))
