"""The trust table is whole: every id once, every test it names is there, and the document shows the same rows."""

from __future__ import annotations

import re

import pytest
from faultrun import Results
from trusttable import BEGIN, DOCUMENT, END, GROUPS, Row, absent, ids, kept, load, rendered, written

from etl.audit.invariants import INVARIANTS

ROWS = load()


@pytest.mark.parametrize("group", GROUPS)
def test_every_id_is_there_once_and_in_order(group):
    assert [row.id for row in ROWS if row.group == group] == ids(group)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_every_test_it_names_is_there(row):
    assert absent(row) == []
    assert len(set(row.tests)) == len(row.tests)


def test_every_promise_of_the_audit_belongs_to_an_invariant():
    named = [name for row in ROWS for name in row.audit]
    assert set(named) == set(INVARIANTS)


def test_a_gap_says_what_and_why():
    for row in ROWS:
        assert not row.gap or len(row.gap) > 20, f"{row.id}: {row.gap!r} says too little"
        assert row.gap == row.gap.strip()


def test_the_document_lists_the_same_rows():
    """`python tests/faults/faultrun.py --rows` brings it up to date."""
    table = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert re.findall(r"^\| ([A-Za-z]+\d+) \|", table, re.MULTILINE) == [row.id for row in ROWS]
    fresh = {
        line.split(" | ")[0]: line.split(" | ")[1:3]
        for line in rendered(ROWS, {}, "").splitlines()
        if line.startswith("| ")
    }
    shown = {line.split(" | ")[0]: line.split(" | ")[1:3] for line in table.splitlines() if line.startswith("| ")}
    assert shown == fresh
    assert "BROKEN" not in table


def test_a_table_is_written_over_the_one_before():
    row = Row("s3", "S1", "a | b", "c", ("tests/x.py::test_y",), "")
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    new = written(text, rendered([row], {"S1": "ok (1)"}, "sum"))
    assert new.startswith("before\n")
    assert new.endswith("\nafter\n")
    assert "old" not in new
    assert "| S1 | a \\| b → c | `x.py::test_y` | ok (1) |  |" in new


def test_rows_that_did_not_change_keep_their_result():
    rows = [Row("s3", f"S{n}", "a", "b", (f"tests/x.py::test_{n}",), "") for n in (1, 2)]
    text = rendered(rows, {"S1": "ok (1)", "S2": "ok (7)"}, "2 rows.")
    moved = [rows[0], Row("s3", "S2", "a", "b", ("tests/x.py::test_other",), "")]
    assert kept(text, moved) == ({"S1": "ok (1)"}, "2 rows.")


class Report:
    """What pytest tells a plugin of one phase of a test."""

    def __init__(self, nodeid: str, outcome: str, when: str = "call", properties: tuple = ()) -> None:
        self.nodeid, self.outcome, self.when, self.user_properties = nodeid, outcome, when, properties
        self.skipped, self.longrepr = outcome == "skipped", ("x.py", 1, "Skipped: no server")


def test_a_row_is_as_good_as_its_worst_test():
    results = Results()
    for nodeid, outcome in (
        ("x.py::a[1]", "passed"),
        ("x.py::a[2]", "skipped"),
        ("x.py::b", "failed"),
        ("x.py::c", "skipped"),
    ):
        results.pytest_runtest_logreport(Report(nodeid, outcome))
    results.pytest_runtest_logreport(Report("x.py::a[1]", "passed", "teardown", (("kills", 3), ("note", "text"))))

    def of(*tests: str) -> str:
        return results.of(Row("s3", "S1", "w", "o", tests, ""))

    assert of("x.py::a") == "ok (1, 1 not run)"
    assert of("x.py::a", "x.py::b") == "**BROKEN**: 1 of 3"
    assert of("x.py::c") == "not run: no server"
    assert of("x.py::a", "x.py::never") == "**BROKEN**: 1 of 3"
    assert results.counts == {"kills": 3}
