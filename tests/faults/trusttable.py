"""The trust table: what is promised, what may go wrong, and the tests that show what comes of it.

One file of `promises/` a group, one table of it an id: ``promise``, ``fault`` or ``risk``; of a fault or risk the
``outcome``; ``tests``, as pytest names them; ``gap``, what they do not cover and why. An invariant also names the
promises of the nightly ``audit`` that ask the same of what is stored.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROMISES = Path(__file__).with_name("promises")
DOCUMENT = ROOT / "docs" / "trust.md"
BEGIN, END = "<!-- table: make faults WRITE=1 -->", "<!-- end of the table -->"
GROUPS = {
    "invariants": ("Invariants", "promise", "I", 22),
    "process": ("Processes", "fault", "P", 6),
    "disk": ("Disks", "fault", "D", 5),
    "s3": ("S3", "fault", "S", 16),
    "provider": ("The provider", "fault", "V", 26),
    "time": ("Clocks and calendars", "fault", "T", 8),
    "mail": ("Mail", "fault", "M", 8),
    "config": ("Configuration", "fault", "C", 7),
    "hostile": ("Hostile data", "fault", "H", 6),
    "security": ("Security", "risk", "Sec", 18),
}
"""Group → its title, what its rows are, what their ids begin with, and how many there are."""


@dataclass(frozen=True)
class Row:
    """One id. ``what`` is the promise, fault or risk; ``outcome`` is empty for a promise."""

    group: str
    id: str
    what: str
    outcome: str
    tests: tuple[str, ...]
    gap: str
    audit: tuple[str, ...] = ()


def ids(group: str) -> list[str]:
    _, _, letter, count = GROUPS[group]
    return [f"{letter}{number}" for number in range(1, count + 1)]


def load() -> list[Row]:
    """Every row, group by group. ValueError names the file and the row with an unknown key, or neither test nor gap."""
    return [row for group in GROUPS for row in _group(group)]


def _group(group: str) -> Iterator[Row]:
    kind = GROUPS[group][1]
    path = PROMISES / f"{group}.toml"
    for name, table in tomllib.loads(path.read_text(encoding="utf-8")).items():
        where = f"{path.name} [{name}]"
        needed = {kind, "tests", "gap"} | ({"outcome"} if kind != "promise" else set())
        if unknown := (set(table) ^ needed) - {"audit"}:
            raise ValueError(f"{where}: {', '.join(sorted(unknown))} is unknown or missing")
        row = Row(
            group, name, table[kind], table.get("outcome", ""), tuple(table["tests"]), table["gap"],
            tuple(table.get("audit", ())),
        )  # fmt: skip
        if not row.what or not (row.tests or row.gap):
            raise ValueError(f"{where}: a row says what it is about, and names a test or says why there is none")
        yield row


@cache
def _functions(file: Path) -> frozenset[str]:
    return frozenset(n.name for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.FunctionDef))


def absent(row: Row) -> list[str]:
    """The tests it names that are not there."""
    parts = [(test, *test.partition("[")[0].split("::")) for test in row.tests]
    return [
        test for test, file, *names in parts
        if not names or not (ROOT / file).is_file() or names[-1] not in _functions(ROOT / file)
    ]  # fmt: skip


def rendered(rows: list[Row], results: Mapping[str, str], summary: str) -> str:
    """The table as Markdown, a section a group. ``results``: id → what came of its tests."""
    lines = [BEGIN, "", summary, ""]
    for group, (title, kind, *_) in GROUPS.items():
        lines += [
            f"### {title}",
            "",
            f"| id | {kind} | tests | result | not covered |",
            "| --- | --- | --- | --- | --- |",
        ]
        for row in rows:
            if row.group == group:
                what = f"{row.what} → {row.outcome}" if row.outcome else row.what
                if row.audit:
                    what += f" (audit: {', '.join(row.audit)})"
                cells = (row.id, what, _tests(row), results.get(row.id, ""), row.gap)
                lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
        lines.append("")
    return "\n".join([*lines, END])


def kept(text: str, rows: list[Row]) -> tuple[dict[str, str], str]:
    """What a document says of the last run: id → result, of rows that still name the same tests, and the summary."""
    table = text.partition(BEGIN)[2].partition(END)[0]
    shown = {
        line.split(" | ")[0].removeprefix("| "): line.split(" | ")
        for line in table.splitlines()
        if line.startswith("| ")
    }
    results = {
        row.id: shown[row.id][3] for row in rows if row.id in shown and shown[row.id][2] == _tests(row)
    }  # fmt: skip
    return results, next((line for line in table.splitlines() if line and not line.startswith(("|", "#"))), "")


def _tests(row: Row) -> str:
    return "<br>".join(f"`{test.removeprefix('tests/')}`" for test in row.tests) or "–"


def written(text: str, table: str) -> str:
    """The document with its table replaced."""
    before, _, rest = text.partition(BEGIN)
    return before + table + rest.partition(END)[2]
