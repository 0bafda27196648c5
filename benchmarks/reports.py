"""Statements of many accounts: the real publication and the real mail, from figures to the bucket, as a Markdown table.

    python benchmarks/reports.py [--accounts 1000] [--processes 1 2] [--stores folder s3] [--rounds 1]

Each account gets a final statement of its own (names, ids and figures differ), most of ordinary size, one in twenty with
200 members. A row is a run of `publish` into an empty store and of `mail` after it, in a process of its own: revision and
current page, explanations, every CSV, Parquet and FOCUS file, the account's list, its products, one mail each. Only the
lake is a stand-in: statements are made, which is counted with the parent's CPU. The folder is on this disk, S3 is SeaweedFS
on loopback and mails go to a catcher; neither of these two is counted.

The floor is Jinja alone: the page's template rendered again and again with one statement's values, nothing else.
CPU seconds are what counts; walls are of a machine that may have other work, so its load stands beside them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "reports")]

KINDS = ("usual", "rich", "no_usage", "first_month", "german", "yen")
CROWD_EVERY = 20
FLOOR_ROUNDS = 200
ENDPOINT = "TOLLBOOK_BENCH_S3"


class Made:
    """What `etl.statement.Statements` is to the verbs: the made statements of the tests, each under an id of its own."""

    def __init__(self, count: int) -> None:
        self.numbers = {f"acct_{number:05}": number for number in range(count)}

    @cached_property
    def kinds(self) -> dict:
        import statements_made as made

        return {kind: made.ALL[kind]() for kind in (*KINDS, "crowd")}

    def _kind(self, account_id: str):
        number = self.numbers[account_id]
        return self.kinds["crowd" if number % CROWD_EVERY == 0 else KINDS[number % len(KINDS)]]

    @cached_property
    def accounts(self) -> list:
        return [self._account(account_id) for account_id in self.numbers]

    def _account(self, account_id: str):
        given = self._kind(account_id).account
        return replace(
            given,
            account_id=account_id,
            name=f"{given.name} {self.numbers[account_id]}",
            email_to=(f"{account_id}@example.com",),
        )

    def accounts_of(self, _month) -> list:
        return self.accounts

    def load(self, account_id: str, month):
        import polars as pl

        given = self._kind(account_id)
        if month != given.month:
            raise LookupError(f"there is no statement for {month}")
        renamed = {
            name: frame.with_columns(account_id=pl.lit(account_id))
            for name in ("lines", "previous_lines", "daily", "ledger", "monthly")
            if "account_id" in (frame := getattr(given, name)).columns
        }
        return replace(given, account=self._account(account_id), **renamed)


def measured(count: int, processes: int, store: str, folder: Path, port: int) -> dict[str, float]:
    """One run in this process: CPU seconds of parent and workers, wall seconds, peaks in MiB."""
    import explanations_made
    from reportshelp import make_jobs
    from statements_made import OCTOBER

    from etl.settings import Connection
    from reports import jobs as verbs

    jobs = make_jobs(folder, [], port=port, base_url="https://statements.example")
    jobs.statements = Made(count)
    jobs.explanations = lambda: lambda who, month: explanations_made.of(jobs.statements.load(who, month))
    if store == "s3":
        endpoint, key, secret = json.loads(os.environ.pop(ENDPOINT))
        given = jobs.settings.reports.store.model_copy(
            update={"url": f"s3://pages/run-{processes}-{time.time_ns()}", "connection": "s3", "endpoint_url": endpoint}
        )
        reports = jobs.settings.reports.model_copy(update={"store": given})
        jobs.settings = jobs.settings.model_copy(update={"reports": reports})
        mail, s3 = jobs.connection, Connection(login=key, password=secret)
        jobs.resolve = lambda name: s3 if name == "s3" else mail
    accounts = jobs.statements.accounts  # the made figures are made before the clock starts
    bound = verbs.Reports(jobs, processes)
    opened, peaks = [], [0]
    drawing = bound._drawing

    def watched(*arguments):
        opened[:] = [drawing(*arguments)]
        return opened[0]

    bound._drawing = watched
    found: dict[str, float] = {}
    for verb in (bound.publish, bound.mail):
        began, cpu = time.perf_counter(), _cpu()
        for number, outcome in enumerate(verb(OCTOBER)):
            assert outcome.error is None and not outcome.held and outcome.done, outcome
            if number % 50 == 49 or number == len(accounts) - 1:
                peaks += [_peak(w._process.pid) for w in getattr(opened[0], "_all", ()) if w._process]
        found[verb.__name__] = time.perf_counter() - began
        for name, seconds in zip(("parent", "workers"), map(lambda a, b: b - a, cpu, _cpu()), strict=True):
            found[f"{verb.__name__} {name}"] = seconds
    return found | {"peak": _peak("self"), "peak worker": max(peaks)}


def floor() -> float:
    """CPU seconds of the page's template alone, once."""
    from statements_made import ALL

    from reports import pages
    from reports.links import Links, month_folder
    from reports.model import build

    page, kept = build(ALL["usual"]()), []
    make = pages._made
    pages._made = lambda *given, **values: kept.append((given, values)) or make(*given, **values)
    pages.statement(page, Links(page.account_id, month_folder(page.account_id, page.month)))
    (template,), values = kept[0]
    began = time.process_time()
    for _ in range(FLOOR_ROUNDS):
        make(template, **values | {"drawn": {}})
    return (time.process_time() - began) / FLOOR_ROUNDS


def _cpu() -> tuple[float, float]:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return tuple(used.ru_utime + used.ru_stime for used in both)


def _peak(process: int | str) -> float:
    """Peak memory of a process in MiB. The kernel's own figure: that of `wait4` has the parent's in it."""
    with contextlib.suppress(FileNotFoundError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0


# ------------------------------------------------------------------------------------------------ the table


@contextlib.contextmanager
def bucket(folder: Path) -> Iterator[tuple]:
    from stack.seaweed import make_bucket, seaweedfs

    with seaweedfs(folder, keep=False) as server:
        make_bucket(*server, "pages")
        yield server


@contextlib.contextmanager
def catcher() -> Iterator[int]:
    """A mail server that takes everything and keeps nothing."""
    from reportshelp import listening

    class Nothing:
        async def handle_DATA(self, server, session, envelope):
            return "250 taken"

    with listening(Nothing()) as port:
        yield port


def run(asked: argparse.Namespace, processes: int, store: str, port: int, s3: tuple | None) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable, __file__, "--one", store, folder, str(port),
            "--accounts", str(asked.accounts), "--processes", str(processes),
        ]  # fmt: skip
        environment = os.environ | ({ENDPOINT: json.dumps(s3)} if store == "s3" else {})
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--stores", nargs="+", choices=("folder", "s3"), default=["folder", "s3"])
    parser.add_argument("--rounds", type=int, default=1, help="runs of each row, interleaved; the least CPU is shown")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        store, folder, port = asked.one
        print(json.dumps(measured(asked.accounts, asked.processes[0], store, Path(folder), int(port))))
        return
    rows = [(store, processes) for store in asked.stores for processes in asked.processes]
    runs: dict[tuple, list[dict]] = {row: [] for row in rows}
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(catcher())
        s3 = None
        if "s3" in asked.stores:
            s3 = stack.enter_context(bucket(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
        floors = []
        for number in range(asked.rounds):
            floors.append(floor())
            for row in rows if number % 2 == 0 else rows[::-1]:
                found = run(asked, row[1], row[0], port, s3)
                runs[row].append(found | {"load": os.getloadavg()[0]})
                print(f"{row[0]}, {row[1]} processes: {json.dumps(found)}", file=sys.stderr)
    least = min(floors)
    print(f"{asked.accounts} accounts, a final month: publish and mail\n")
    print("| store | processes | CPU s per 1,000 | publish | mail | of it parent | wall, pages/s | load | × floor |", end="")
    print(" peak MiB, parent | worker |\n|" + " --- |" * 11)
    for (store, processes), of in runs.items():
        of.sort(key=_whole)
        best = of[0]
        each = 1000 / asked.accounts
        publish, mail = (sum(best[f"{verb} {who}"] for who in ("parent", "workers")) for verb in ("publish", "mail"))
        parent = best["publish parent"] + best["mail parent"]
        wall = best["publish"] + best["mail"]
        cells = (
            store, processes, f"{(publish + mail) * each:.0f}", f"{publish * each:.0f}", f"{mail * each:.0f}",
            f"{parent * each:.0f}" if best["peak worker"] else "all", f"{asked.accounts / wall:.1f}", f"{best['load']:.1f}",
            f"{(publish + mail) / asked.accounts / least:.1f}", f"{best['peak']:.0f}",
            f"{best['peak worker']:.0f}" if best["peak worker"] else "",
        )  # fmt: skip
        print("| " + " | ".join(map(str, cells)) + " |")
    print(f"\nFloor: {least * 1000:.1f} ms CPU to render one ordinary account's page from values that are there.")


def _whole(found: dict[str, float]) -> float:
    return sum(seconds for name, seconds in found.items() if name.endswith((" parent", " workers")))


if __name__ == "__main__":
    main()
