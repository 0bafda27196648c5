"""The report of a night as operators read it: one page and one JSON document a run, below the operator's own prefix.

::

    _operator/runs/<YYYY-MM-DD>/<moment>-<run>.json    what happened, for programs
    _operator/runs/<YYYY-MM-DD>/<moment>-<run>.html    the same, for people
    _operator/runs/index.html, latest.json             the newest run, last

The record is made elsewhere (`etl.runreport`) and handed in; nothing here reads the lake.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from etl.lake import Store
from reports.formats import NBSP, Formats, day_short, moment
from reports.operator.page import LOCALE, Said, said
from reports.pages import environment, policy, style
from reports.publish import Publisher

OPERATOR = "_operator"
FOLDER = f"{OPERATOR}/runs"
LATEST = f"{FOLDER}/latest.json"
INDEX = f"{FOLDER}/index.html"
LISTED = 14
"""So many runs, the newest, are in the menu."""
SENTENCES = 12
PARTITIONS = 200
_KEY = re.compile(rf"\A{FOLDER}/(\d{{4}}-\d{{2}}-\d{{2}})/([0-9TZ]+)-([0-9a-f]{{8}})\.json\Z")

STATES = {"in order": "In order", "held back": "Something is held back", "failed": "Failed"}
VERBS = {
    "pull": "Read the provider’s log", "normalise": "Read the kept pages", "rate": "Price", "reconcile": "Compare with totals",
    "moved": "Settle what moved", "roll_up": "Roll up", "restate": "State the months", "audit": "Check every promise",
    "expire": "Erase what expired", "operations": "Draw the operator’s page", "close": "Close",
}  # fmt: skip
"""What each verb does, in words."""

EXPLANATIONS = (
    ("Changed", "A partition is written only when it differs from what is there. A night that finds nothing new changes nothing."),
    ("Rows", "Of the partitions as they are after the night, changed or not."),
    ("Time", "Of each verb, on whatever worker it ran. Verbs of several days and sources run beside each other, so the night is "
     "shorter than their sum. Times are of this run; they are in no bill and never the same twice."),
    ("Held back", "What is not billed yet, with what to do about it. The month’s page has all of it, also of other nights."),
)  # fmt: skip


@dataclass(frozen=True)
class Verb:
    """One line of the table: a verb for one source."""

    name: str
    source: str | None
    partitions: int
    changed: int
    rows: int
    failed: int
    time: str
    slowest: str


@dataclass(frozen=True)
class Night:
    """What is printed of one run."""

    day: date
    record: Mapping[str, Any]
    state: str
    warn: bool
    made: str
    headline: tuple[Said, ...]
    figures: tuple[tuple[str, str, str], ...]
    errors: tuple[tuple[str, str, tuple[Said, ...]], ...]
    unreached: tuple[str, ...]
    findings: tuple[tuple[Said, ...], ...]
    hidden_findings: int
    held: tuple[tuple[Said, ...], ...]
    hidden_held: int
    todo: tuple[tuple[Said, ...], ...]
    hidden_todo: int
    rows: tuple[tuple[str, int, int, int], ...]
    verbs: tuple[Verb, ...]
    partitions: tuple[Mapping[str, Any], ...]
    hidden_partitions: int
    versions: tuple[tuple[str, str], ...]
    explanations: tuple[tuple[str, str], ...] = EXPLANATIONS


def build(record: Mapping[str, Any]) -> Night:
    """The view of one report. Pure: the same record, the same view."""
    f = Formats(LOCALE, "USD")
    window, verbs = record["window"], [_verb(row) for row in record["verbs"]]
    held, findings = record["held"], record["findings"]
    rows = [
        (source, *(counts[name] for name in ("accepted", "excluded", "quarantined")))
        for source, counts in record["rows"].items()
    ]
    return Night(
        day=date.fromisoformat(record["day"]),
        record=record,
        state=STATES[record["state"]],
        warn=record["state"] != "in order",
        made=moment(datetime.fromisoformat(record["made_at"])),
        headline=_headline(record, f),
        figures=(
            ("Days", f.count(window["days"]) if window else "0", _days(window)),
            ("Records", f.count(sum(map(sum, (r[1:] for r in rows)))), _few([r[0] for r in rows]) or "none was read"),
            ("Partitions changed", f.count(sum(v.changed for v in verbs)), f"of {f.count(sum(v.partitions for v in verbs))}"),
            ("Time", duration(record["seconds"]), _from_to(record)),
        ),
        errors=tuple((*_where(one), said(one["error"])) for one in record["errors"])
        + tuple((task, "", (Said("The task failed and said nothing here: its log does."),)) for task in _silent(record)),
        unreached=tuple(record["tasks_not_reached"]),
        findings=tuple(map(said, findings["told"][:SENTENCES])),
        hidden_findings=max(0, findings["count"] - len(findings["told"][:SENTENCES])),
        held=tuple(map(said, held["told"][:SENTENCES])),
        hidden_held=max(0, held["count"] - len(held["told"][:SENTENCES])),
        todo=tuple(map(said, record["todo"][:SENTENCES])),
        hidden_todo=max(0, len(record["todo"]) - SENTENCES),
        rows=tuple(rows),
        verbs=tuple(verbs),
        partitions=tuple(record["partitions"][:PARTITIONS]),
        hidden_partitions=max(0, len(record["partitions"]) - PARTITIONS),
        versions=tuple(record["versions"].items()),
    )


def publish(publisher: Publisher, record: Mapping[str, Any], key: str) -> str:
    """Put a run's JSON and page into the store, then the newest run's as index and ``latest.json``; the page's key."""
    data, view = _json(record), build(record)
    known = sorted({*_known(publisher.store), f"{key}.json"}, key=_moment_of, reverse=True)
    objects = [(f"{key}.json", data, "inline"), (f"{key}.html", draw(view, known, publisher, key), "inline")]
    if known[0] == f"{key}.json":
        objects += [(INDEX, draw(view, known, publisher, key, INDEX), "inline"), (LATEST, data, "inline")]
    publisher.put(objects)
    return f"{key}.html"


def draw(view: Night, known: Sequence[str], publisher: Publisher, key: str, at: str | None = None) -> bytes:
    """The page of one run as it lies at ``at``, its own place if nothing else. ``known``: keys of all runs, newest first."""
    links = publisher.links_of(OPERATOR, (at or f"{key}.html").rsplit("/", 1)[0])
    menu = [(_called(one), links.to(f"{one.removesuffix('.json')}.html"), one == f"{key}.json") for one in known[:LISTED]]
    html = environment().get_template("night.html.j2").render(
        v=view,
        f=Formats(LOCALE, "USD"),
        css=style()[0], script=None, policy=policy(),
        menu=menu,
        newest=links.to(INDEX), month=links.to(f"{OPERATOR}/{view.record['day'][:7]}/index.html"),
        document=links.to(f"{key}.json"), duration=duration,
    )  # fmt: skip
    return "\n".join(line for line in html.split("\n") if line.strip()).encode() + b"\n"


def _known(store: Store) -> list[str]:
    return [key for key in store.list(f"{FOLDER}/") if _KEY.match(key)]


def _moment_of(key: str) -> tuple[str, ...]:
    """When a run ended; two at one moment by their own names."""
    found = _KEY.match(key)
    return (found[2], found[1], found[3])


def _called(key: str) -> tuple[date, str]:
    """(the UTC day a run was for, when it ended)."""
    found = _KEY.match(key)
    at = datetime.strptime(found[2], "%Y%m%dT%H%M%SZ")  # noqa: DTZ007 - its name says Z
    return date.fromisoformat(found[1]), f"{day_short(at.date())}, {at:%H:%M}"


def duration(seconds: float) -> str:
    """``40 ms``, ``4.2 s``, ``12 s``, ``3 min 20 s``, ``2 h 5 min``: two units at most."""
    if seconds < 1:
        return f"{round(seconds * 1000)}{NBSP}ms"
    if seconds < 10:
        return f"{Decimal(str(seconds)):.1f}{NBSP}s"
    whole = round(seconds)
    for size, large, small, per in ((3600, "h", "min", 60), (60, "min", "s", 1)):
        if whole >= size:
            rest = whole % size // per
            return f"{whole // size}{NBSP}{large}" + (f"{NBSP}{rest}{NBSP}{small}" if rest else "")
    return f"{whole}{NBSP}s"


def _verb(row: Mapping[str, Any]) -> Verb:
    slowest = row["slowest_of"]
    return Verb(
        VERBS.get(row["verb"], row["verb"]), row["source"], row["partitions"], row["changed"], row["rows"], row["failed"],
        duration(row["seconds"]),
        f"{duration(row['slowest'])}, {day_short(date.fromisoformat(slowest))}" if slowest and row["calls"] > 1 else "",
    )  # fmt: skip


def _headline(record: Mapping[str, Any], f: Formats) -> tuple[Said, ...]:
    problems = len(record["errors"]) + len(_silent(record))
    if problems:
        return (Said(_several(problems, "thing", f) + " failed.", "strong"), Said(" What did load is in the figures all the same."))
    if record["findings"]["count"]:
        return (
            Said(_several(record["findings"]["count"], "promise", f) + " broken or not checked.", "strong"),
            Said(" Whom it concerns is neither published nor closed; everybody else is."),
        )
    if record["held"]["count"] or record["todo"]:
        return (Said("Every task ran.", "strong"), Said(" Something is held back, and says what to do about it."))
    return (Said("Everything ran, and nothing is held back.", "strong"),)


def _several(count: int, noun: str, f: Formats) -> str:
    return f"{f.count(count)} {noun}{'' if count == 1 else 's'}"


def _silent(record: Mapping[str, Any]) -> list[str]:
    """Tasks that failed and left no error of their own: killed, out of time, or never started."""
    told = {one["verb"] for one in record["errors"]} | ({"audit"} if record["findings"]["count"] else set())
    names = {"state": "restate", "operate": "operations"}
    short = ((task, task.rsplit(".", 1)[-1].split("[")[0]) for task in record["failed_tasks"])
    return [task for task, name in short if names.get(name, name) not in told]


def _where(one: Mapping[str, Any]) -> tuple[str, str]:
    """(what was done, of which day and source)."""
    day = day_short(date.fromisoformat(one["day"])) if one["day"] else None
    return VERBS.get(one["verb"], one["verb"]), ", ".join(part for part in (day, one["source"]) if part)


def _days(window: Mapping[str, Any] | None) -> str:
    if not window:
        return "none"
    first, last = (day_short(date.fromisoformat(window[name])) for name in ("first", "last"))
    return first if first == last else f"{first} to {last}"


def _from_to(record: Mapping[str, Any]) -> str:
    if not record["started_at"]:
        return "nothing ran"
    first, last = (datetime.fromisoformat(record[name]) for name in ("started_at", "finished_at"))
    return f"{first:%H:%M:%S} to {last:%H:%M:%S} UTC"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _json(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"
