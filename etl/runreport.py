"""The report of one night: what ran, over which days, what each verb wrote, how long it took, what is held back.

Pure: from the calls that were written down (`etl.metrics.Call`) and what the scheduler knows of its tasks to one plain
record, which is stored as JSON and drawn as a page. A record of one run, not of the lake: no two are alike.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from etl.jobs import code_fingerprint
from etl.lake import Store
from etl.metrics import OUTCOMES, Call, Figure, began, elapsed, ended, months_of, rows_read, seconds_by_source
from etl.settings import Settings

FORMAT = 1
FOLDER = "_operator/runs"
LATEST = f"{FOLDER}/latest.json"
IN_ORDER, HELD, FAILED = "in order", "held back", "failed"
"""What came of a night: all well; done, with something held back; a task failed or an error was met."""
ORDER = ("pull", "normalise", "rate", "reconcile", "moved", "roll_up", "restate", "audit", "expire", "operations", "close")
TOLD = 100
"""Sentences of one kind that a report has; the others are counted."""
FAILING, UNREACHED = "failed", "upstream_failed"
"""States of a task: it failed; it never ran, because one before it failed."""


def document(
    calls: Iterable[Call],
    *,
    run_id: str,
    dag_id: str,
    day: date,
    at: datetime,
    tasks: Sequence[Mapping[str, Any]] = (),
    versions: Mapping[str, str] | None = None,
    figures: Iterable[Figure] = (),
) -> dict[str, Any]:
    """One night as a plain record. ``day``: the UTC day it was for. ``at``: when the report was made. ``tasks``: task_id,
    map_index, state, duration of the run's tasks. ``versions``: of code, settings and programs, by name."""
    calls = sorted(calls, key=lambda call: (call.at, _place(call.verb), call.day or "", call.source or ""))
    days = sorted({call.day for call in calls if call.day})
    tasks = sorted(tasks, key=lambda one: (one["task_id"], one.get("map_index") or 0))
    failed, unreached = ([_task(one) for one in tasks if one.get("state") == s] for s in (FAILING, UNREACHED))
    errors = [{"verb": c.verb, "day": c.day, "source": c.source, "error": c.error} for c in calls if c.error]
    held, findings = _told(calls, "held"), _told((c for c in calls if c.verb == "audit"), "findings")
    months = months_of(calls)
    todo = [sentence for month in months for sentence in month["todo"]]
    state = FAILED if failed or unreached or errors or findings["count"] else HELD if held["count"] or todo else IN_ORDER
    started, finished = began(calls), ended(calls)
    return {
        "format": FORMAT,
        "run_id": run_id,
        "dag_id": dag_id,
        "day": day.isoformat(),
        "made_at": _moment(at),
        "state": state,
        "window": {"first": days[0], "last": days[-1], "days": len(days)} if days else None,
        "started_at": _moment(started) if started else None,
        "finished_at": _moment(finished) if finished else None,
        "seconds": elapsed(calls),
        "versions": dict(versions or {}),
        "rows": _rows(calls),
        "seconds_by_source": seconds_by_source(calls),
        "verbs": _verbs(calls),
        "partitions": _partitions(calls),
        "errors": errors[:TOLD],
        "failed_tasks": failed[:TOLD],
        "tasks_not_reached": unreached[:TOLD],
        "findings": findings,
        "held": held,
        "todo": todo[:TOLD],
        "months": months,
        "tasks": [
            {"task": _task(one), "state": one.get("state"), "seconds": one.get("duration")}
            for one in tasks
        ],
        "metrics": {figure.dotted: figure.value for figure in figures},
    }  # fmt: skip


def versions(settings: Settings) -> dict[str, str]:
    """What a run was made with: fingerprints of code and settings as log entries name them, and the programs' versions."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"code": code_fingerprint(), "settings": settings.fingerprint(), "python": platform.python_version()}
    for name in ("tollbook", "apache-airflow", "polars", "pyarrow"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def key(record: Mapping[str, Any]) -> str:
    """Where a report lies, without its ending: by day, then by the moment and the run, so that a second night of the same day
    stands beside the first."""
    moment = re.sub(r"[^0-9TZ]", "", record["made_at"].split(".")[0].split("+")[0]) + "Z"
    digest = hashlib.sha256(record["run_id"].encode()).hexdigest()[:8]
    return f"{FOLDER}/{record['day']}/{moment}-{digest}"


def stored(store: Store, day: date | None = None) -> dict[str, Any]:
    """The newest report, or the newest of one UTC day; empty where there is none."""
    from etl.lake import NotFound

    if day is None:
        found = LATEST
    else:
        found = max((k for k in store.list(f"{FOLDER}/{day.isoformat()}/") if k.endswith(".json")), default="")
    try:
        return json.loads(store.get(found)) if found else {}
    except NotFound:
        return {}


def lines(record: Mapping[str, Any]) -> list[str]:
    """A report as a terminal shows it: the outcome, the records, the time, then everything to be looked at."""
    window = record["window"]
    days = f"{window['first']} to {window['last']}, {window['days']} day(s)" if window else "no day was read"
    said = [
        f"{record['day']}: {record['state']} ({record['dag_id']}, run {record['run_id']})",
        f"read: {days}; {record['seconds']} s",
    ]
    for source, counts in record["rows"].items():
        changed = sum(row["changed"] for row in record["verbs"] if row["source"] == source)
        seconds = record["seconds_by_source"].get(source, 0)
        told = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES)
        said.append(f"{source}: {told}; {changed} partition(s) changed, {seconds} s of work")
    for one in record["errors"]:
        said.append(f"failed: {' '.join(filter(None, (one['verb'], one['day'], one['source'])))}: {one['error']}")
    said += [f"failed: task {task}" for task in record["failed_tasks"]]
    for name, what in (("findings", "broken"), ("held", "held back")):
        said += [f"{what}: {sentence}" for sentence in record[name]["told"]]
        if record[name]["count"] > len(record[name]["told"]):
            said.append(f"{what}: and {record[name]['count'] - len(record[name]['told'])} more")
    return said + [f"to do: {sentence}" for sentence in record["todo"]]


def _rows(calls: Sequence[Call]) -> dict[str, dict[str, int]]:
    """source → outcome → records of the days that were read."""
    found: dict[str, dict[str, int]] = {}
    for (source, outcome), count in sorted(rows_read(calls).items()):
        found.setdefault(source, dict.fromkeys(OUTCOMES, 0))[outcome] = count
    return found


def _verbs(calls: Sequence[Call]) -> list[dict[str, Any]]:
    """One row per verb and source, in the order of the night: calls, failed, partitions, changed, rows, seconds, slowest."""
    found: dict[tuple[str, str | None], list[Call]] = {}
    for call in calls:
        found.setdefault((call.verb, call.source), []).append(call)
    return [
        {
            "verb": verb,
            "source": source,
            "calls": len(mine),
            "failed": sum(call.error is not None for call in mine),
            "partitions": sum(len(call.done) for call in mine),
            "changed": sum(bool(one["changed"]) for call in mine for one in call.done),
            "rows": sum(one["rows"] for call in mine for one in call.done),
            "seconds": round(sum(call.seconds for call in mine), 3),
            "slowest": max(call.seconds for call in mine),
            "slowest_of": max(mine, key=lambda call: call.seconds).day,
        }
        for (verb, source), mine in sorted(found.items(), key=lambda item: (_place(item[0][0]), item[0][1] or ""))
    ]


def _partitions(calls: Sequence[Call]) -> list[dict[str, Any]]:
    """What was done to each partition, in the order of the night. ``seconds`` are those of the whole call, which may have
    made several."""
    return [
        {"partition": one["partition"], "verb": call.verb, "rows": one["rows"], "changed": bool(one["changed"]),
         "version": one["seq"], "seconds": call.seconds, "counts": dict(one["counts"])}
        for call in sorted(calls, key=lambda call: (call.day or "~", call.source or "~", _place(call.verb)))
        for one in call.done
    ]  # fmt: skip


def _told(calls: Iterable[Call], name: str) -> dict[str, Any]:
    """Each sentence once, and how many there are with those left out before."""
    calls = list(calls)
    found = list(dict.fromkeys(sentence for call in calls for sentence in getattr(call, name)))
    return {"count": len(found) + sum(call.more for call in calls if getattr(call, name)), "told": found[:TOLD]}


def _task(one: Mapping[str, Any]) -> str:
    """``twilio.pull[3]`` of a mapped task, else its id."""
    index = one.get("map_index", -1)
    return f"{one['task_id']}[{index}]" if index is not None and index >= 0 else f"{one['task_id']}"


def _place(verb: str) -> int:
    return ORDER.index(verb) if verb in ORDER else len(ORDER)


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds")
