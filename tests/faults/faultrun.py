"""Run every test the trust table names, in its long form, and print the table: `make faults`.

    python tests/faults/faultrun.py                    # hours: every kill, every seed, every fault
    python tests/faults/faultrun.py --group s3         # one group (repeatable)
    python tests/faults/faultrun.py --short            # as `make test` runs them
    python tests/faults/faultrun.py --write            # put the table into docs/trust.md, too
    python tests/faults/faultrun.py --rows             # only bring the rows of docs/trust.md up to date; run nothing

Writes .run/faults.md. Exits with 1 if any test failed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from trusttable import DOCUMENT, GROUPS, ROOT, Row, kept, load, rendered, written

REPORT = ROOT / ".run" / "faults.md"
BAD = ("failed", "error")


class Results:
    """A pytest plugin: what became of each test function, and what tests counted (`record_property`)."""

    def __init__(self) -> None:
        self.outcomes: defaultdict[str, Counter] = defaultdict(Counter)
        self.reasons: dict[str, str] = {}
        self.counts: Counter = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.partition("[")[0]
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[name][report.outcome] += 1
        if report.skipped and isinstance(report.longrepr, tuple):
            self.reasons[name] = report.longrepr[2].removeprefix("Skipped: ")
        if report.when == "teardown":  # properties come with each phase again
            for key, value in report.user_properties:
                if isinstance(value, int):
                    self.counts[key] += value

    def of(self, row: Row) -> str:
        """The result of a row, as the table shows it."""
        found: Counter = Counter()
        for test in row.tests:
            found += self.outcomes[test.partition("[")[0]]
            if not self.outcomes[test.partition("[")[0]]:
                found["failed"] += 1
        if any(found[bad] for bad in BAD):
            return f"**BROKEN**: {sum(found[bad] for bad in BAD)} of {found.total()}"
        skipped = f", {found['skipped']} not run" if found["skipped"] else ""
        if found["passed"]:
            return f"ok ({found['passed']}{skipped})"
        reason = next((self.reasons[t] for t in row.tests if t in self.reasons), "no test")
        return f"not run: {reason}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="samples, as `make test` takes them")
    parser.add_argument("--group", action="append", choices=GROUPS)
    parser.add_argument("--write", action="store_true", help=f"put the table into {DOCUMENT.relative_to(ROOT)}")
    parser.add_argument("--rows", action="store_true", help="run nothing: rows anew, results as they were")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if options.rows:
        text, rows = DOCUMENT.read_text(encoding="utf-8"), load()
        DOCUMENT.write_text(written(text, rendered(rows, *kept(text, rows))), encoding="utf-8")
        return 0
    rows = [row for row in load() if not options.group or row.group in options.group]
    tests = sorted({test for row in rows for test in row.tests})
    results, began = Results(), time.monotonic()
    how = [] if options.short else ["--long", "-o", "timeout=0"]
    code = pytest.main(
        [*how, "-n", str(options.workers), "--dist", "loadfile", "--rootdir", str(ROOT), "-p", "no:cacheprovider",
         *(str(ROOT / test) for test in tests)],
        plugins=[results],
    )  # fmt: skip
    said = {row.id: results.of(row) for row in rows}
    broken = [row.id for row in rows if "BROKEN" in said[row.id]]
    counted = ", ".join(f"{count:,} {what}" for what, count in sorted(results.counts.items()))
    total = sum(counter.total() for counter in results.outcomes.values())
    summary = (
        f"{len(rows)} rows, {total:,} tests in {'short' if options.short else 'long'} form, {len(broken)} broken. "
        f"Counted: {counted or 'nothing'}."
    )
    table = rendered(rows, said, summary)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(table + "\n", encoding="utf-8")
    for row in rows:
        print(f"{row.id:6} {said[row.id]:28} {row.what}")
    minutes = (time.monotonic() - began) / 60
    print(f"\n{summary}\n{minutes:.0f} minutes; the table is in {REPORT.relative_to(ROOT)}")
    if options.write:
        if options.group:
            parser.error("--write is for the whole table")
        DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8"), table), encoding="utf-8")
    return int(bool(broken) or code not in (0,))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
