"""Statements of many accounts, from figures to finished bytes: page, mail and every file beside the page.

    python benchmarks/reports.py [--accounts 1000] [--workers 2] [--rounds 2]

Each account gets a statement of its own (names, ids and figures differ), most of ordinary size, one in twenty with 200
members. What is timed is what the real job does between reading the lake and writing the bucket. Beside it, in the same
processes: writing the same bytes to disk and nothing else, which is the floor.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "reports")]

KINDS = ("usual", "rich", "no_usage", "first_month", "german", "yen")
CROWD_EVERY = 20
BATCH = 25
STEPS = ("build and cross-foot", "files", "page", "mail")


def statements(numbers: range) -> Iterator:
    """One statement for each number: the made ones of the tests, each under an id and a name of its own."""
    import polars as pl
    import statements_made as made

    kinds = {kind: made.ALL[kind]() for kind in (*KINDS, "crowd")}
    for number in numbers:
        given = kinds["crowd" if number % CROWD_EVERY == 0 else KINDS[number % len(KINDS)]]
        account_id = f"acct_{number:04}"
        renamed = {
            name: frame.with_columns(account_id=pl.lit(account_id))
            for name in ("lines", "previous_lines", "daily", "ledger", "monthly")
            if "account_id" in (frame := getattr(given, name)).columns
        }
        account = replace(given.account, account_id=account_id, name=f"{given.account.name} {number}")
        yield replace(given, account=account, **renamed)


@contextmanager
def charged(spent: Counter, step: str):
    began = time.process_time()
    yield
    spent[step] += time.process_time() - began


def render(numbers: range) -> tuple[Counter, Counter]:
    """(CPU seconds by step, bytes by kind) of the statements with these numbers."""
    from etl.settings import MailSettings
    from reports import files, mail, model, pages
    from reports.links import Links, month_folder

    sender = MailSettings(connection="mail", sender="billing@tollbook.example", starttls=False)
    spent, size = Counter(), Counter()
    made = list(statements(numbers))
    began = time.perf_counter()
    for statement in made:
        with charged(spent, "build and cross-foot"):
            page = model.build(statement)
        links = Links(page.account_id, month_folder(page.account_id, page.month), base_url="https://s.example")
        with charged(spent, "files"):
            beside = files.make(page)
        with charged(spent, "page"):
            html = pages.statement(page, links, [file.info() for file in beside])
        with charged(spent, "mail"):
            letter = mail.compose(page, "someone@example.com", sender, links).as_bytes()
        size += Counter(page=len(html), mail=len(letter), files=sum(len(file.data) for file in beside))
        with charged(spent, "write"), tempfile.TemporaryDirectory() as folder:
            for i, data in enumerate([html, letter, *(file.data for file in beside)]):
                (Path(folder) / str(i)).write_bytes(data)
    spent["wall"] = time.perf_counter() - began
    return spent, size


def warm(_: int) -> int:
    """Imports and templates, once in every process; returns its peak memory in KiB."""
    render(range(1, 3))
    return peak()


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measured(numbers: range) -> tuple[Counter, Counter, int]:
    return *render(numbers), peak()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()

    batches = [range(i, min(i + BATCH, asked.accounts)) for i in range(0, asked.accounts, BATCH)]
    spents, peaks = [], [0]
    # Each process has a core of its own; threads of Polars would only get in each other's way.
    os.environ["POLARS_MAX_THREADS"] = "1"
    with ProcessPoolExecutor(asked.workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(warm, range(asked.workers * 2)))
        for _ in range(asked.rounds):
            spent, size = Counter(), Counter()
            for some, bytes_, memory in pool.map(measured, batches):
                spent, size = spent + some, size + bytes_
                peaks.append(memory)
            spents.append(spent)
    # Making up the figures is left out of the time.
    wall = statistics.median(s["wall"] for s in spents) / asked.workers
    whole = statistics.median(sum(s[step] for step in STEPS) for s in spents)
    floor = statistics.median(s["write"] for s in spents)
    print(f"{asked.accounts} statements, {asked.workers} processes: {wall:.1f} s, {asked.accounts / wall:.1f} a second")
    print(f"{whole / asked.accounts * 1000:.1f} ms CPU a statement, {whole / floor:.0f} × writing the bytes; ", end="")
    print(f"peak {max(peaks) / 1024:.0f} MiB a process")
    for step in STEPS:
        part = statistics.median(s[step] for s in spents)
        print(f"  {step:<22}{part / asked.accounts * 1000:7.1f} ms {part / whole:6.0%}")
    for kind, total in size.items():
        print(f"  {kind:<22}{total / asked.accounts / 1000:7.1f} kB")


if __name__ == "__main__":
    main()
