"""``python -m stack``: the whole of Tollbook on one machine, on loopback, with nothing installed but this repository."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from etl.periods import Month
from stack.place import LAKE_BUCKET, REPORTS_BUCKET, REPOSITORY, Place, as_environment, free_port

START = date(2026, 3, 1)
TODAY = date(2026, 11, 8)
"""The sandbox provider's clock: eight whole months, and a week of the ninth."""
MONTH = Month(2026, 10)

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
console = Console(highlight=False)

Root = Annotated[Path, typer.Option("--root", help="Where the run keeps everything")]
Volume = Annotated[int, typer.Option("--messages-per-day", help="The sandbox provider's volume, all accounts together")]


@contextlib.contextmanager
def _stack(place: Place, volume: int, today: date) -> Iterator[dict[str, str]]:
    """Sandbox provider, S3 server and mail catcher until the block ends; yields the environment that reaches them."""
    from sandbox.launch import launch
    from stack.mailbox import mailbox
    from stack.seaweed import make_bucket, seaweedfs

    flags = ("--today", today.isoformat(), "--messages-per-day", str(volume))
    with contextlib.ExitStack() as running:
        with _step("S3 server (SeaweedFS)"):
            keys = {"access_key": place.secret("s3-access"), "secret_key": place.secret("s3-secret")}
            store = running.enter_context(seaweedfs(place.root / "s3", **keys))
            for bucket in (LAKE_BUCKET, REPORTS_BUCKET):
                make_bucket(*store, bucket)
        with _step("sandbox provider"):
            provider = running.enter_context(launch(*flags))
        with _step("mail catcher"):
            mail = running.enter_context(mailbox(place.root / "mail"))
        elapsed = (datetime.now(UTC).date() - TODAY).days
        place.write(start=START.isoformat(), provider=provider.url, mail_age=elapsed + 30)
        yield place.environment(twilio=provider.main, store=tuple(store), mail=mail)
        console.print("stopping the stack")


@contextlib.contextmanager
def _step(name: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    console.print(f"  {name:<28} {time.monotonic() - began:5.1f} s")


def _dags(place: Place, environment: dict[str, str]) -> None:
    """The real DAGs, whole, in one child process, with a bar that counts the partitions they report."""
    from etl import nights
    from etl.settings import load

    first = not (place.root / "airflow" / "loaded").exists()
    lookback = (TODAY - START).days if first else 7
    day = TODAY - timedelta(days=1)
    requests = [
        ("usage_daily", {"day": day.isoformat(), "lookback_days": lookback}),
        ("usage_monthly", {"month": str(Month.of(day))}),
    ]
    log = place.root / "log" / "dags.log"
    command = [sys.executable, "-m", "stack.dagrun", json.dumps(requests)]
    child = subprocess.Popen(  # noqa: S603 - our own module
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        cwd=REPOSITORY, start_new_session=True,
    )  # fmt: skip
    settings = load()
    loaded = sum(len(nights.window_days(w)) for w in nights.plan(day, lookback, settings))
    steps = loaded * (4 * len(settings.sources) + 1)  # pull, two normalised datasets, rate; roll up
    columns = (TextColumn("  {task.description:<30}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
    daily = re.compile(r"\b(pull|normalise|rate|roll up) [a-z]+/\S+: \d+ rows")
    monthly = re.compile(r"\b(publish|mail) \w+ (\d{4}-\d{2}): \d+ done")
    try:
        with log.open("w") as file, Progress(*columns, console=console) as progress:
            nightly = progress.add_task("usage_daily: starting Airflow", total=steps)
            closing = progress.add_task("usage_monthly", total=None, visible=False)
            for line in child.stdout:
                file.write(line)
                if found := daily.search(line):
                    progress.update(nightly, advance=1, description=f"usage_daily: {found[1]}")
                elif found := monthly.search(line):
                    progress.update(
                        closing, advance=1, visible=True, description=f"usage_monthly: {found[1]} {found[2]}"
                    )
            done = next(t.completed for t in progress.tasks if t.id == closing)
            progress.update(nightly, completed=steps, description="usage_daily: done")
            progress.update(closing, total=done, description="usage_monthly: done")
        if child.wait() != 0:
            wrong = [
                line
                for line in log.read_text().splitlines()
                if re.search(r"\[error|^\w*(Error|Failed)\b|^tollbook:", line)
            ]
            console.print("\n".join(wrong[-8:]), markup=False)
            raise SystemExit(f"the DAGs did not succeed; the whole log is {log}")
    finally:
        if child.poll() is None:
            _end(child)
    (place.root / "airflow" / "loaded").touch()


def _end(child: subprocess.Popen, patience: float = 30) -> None:
    """Stop a child and all it started: politely, then not."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(max(0.1, patience))
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _take_home(place: Place) -> None:
    """Copy what was published out of the bucket, so that it can be opened when the S3 server is gone."""
    from etl.jobs import Jobs

    jobs = Jobs.open()
    store = jobs.open_store(jobs.settings.reports.store)
    shutil.rmtree(place.out, ignore_errors=True)
    for key in store.list(""):
        file = place.out / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(store.get(key))


def _tell(place: Place) -> None:
    """What the month came to, and where to look."""
    from etl.jobs import Jobs

    jobs = Jobs.open()
    console.print(f"\n[bold]{MONTH}[/bold], as billed:")
    for account in jobs.directory.accounts:
        statement = jobs.statements.load(account.account_id, MONTH)
        month = statement.history[-1]
        console.print(
            f"  {account.name:<24} {statement.total:>10.2f} {account.currency}   {month.messages:,} messages, "
            f"{month.segments:,} segments   {statement.state}, revision {statement.revision}",
            soft_wrap=True,
        )
        folder = place.out / account.account_id / str(MONTH)
        console.print(f"    statement  {folder / 'index.html'}", soft_wrap=True)
        for file in sorted(folder.glob("*.csv")):
            console.print(f"    file       {file}", soft_wrap=True)
        for mail in sorted((place.root / "mail").glob(f"*{account.account_id}*{MONTH}*.eml")):
            console.print(f"    e-mail     {mail}", soft_wrap=True)
    console.print(
        f"\n  bucket     s3://{REPORTS_BUCKET} (its data: {place.root / 's3'}; `make up` serves it)", soft_wrap=True
    )


@app.callback()
def _stop_in_order() -> None:
    """The whole of Tollbook on one machine, on loopback."""
    # A closed terminal or a cancelled job must not leave servers behind: their clean-up runs on SystemExit.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: sys.exit(128 + received))


@app.command()
def run(root: Root = REPOSITORY / ".run", messages_per_day: Volume = 900) -> None:
    """Start the stack, run the DAGs over the sandbox's data, say what the month came to, stop everything."""
    place = Place(root.resolve())
    began = time.monotonic()
    console.print("Tollbook on this machine, nothing but loopback:")
    with _stack(place, messages_per_day, TODAY) as environment:
        as_environment(environment)
        _dags(place, environment)
        _take_home(place)
        _tell(place)
    console.print(f"done in {time.monotonic() - began:.0f} s; nothing is left running")


@app.command()
def up(root: Root = REPOSITORY / ".run", messages_per_day: Volume = 900) -> None:
    """The same, then keep the stack and Airflow's UI up until Ctrl-C. DAGs start paused: switch them on in the UI."""
    place = Place(root.resolve())
    with _stack(place, messages_per_day, max(TODAY, datetime.now(UTC).date())) as environment:
        as_environment(environment)
        _dags(place, environment)
        _take_home(place)
        _tell(place)
        port = free_port()
        airflow = environment | {
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "TOLLBOOK_START": (datetime.now(UTC).date() - timedelta(days=3)).isoformat(),
        }
        with _airflow(place, airflow):
            console.print(
                f"\nAirflow's UI:  http://127.0.0.1:{port}   (no login; loopback only)\nCtrl-C stops everything."
            )
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()


@contextlib.contextmanager
def _airflow(place: Place, environment: dict[str, str]) -> Iterator[None]:
    """The api-server, the scheduler and the DAG processor, each in a session of its own, so that none is orphaned."""
    running = []
    try:
        for part in ("api-server", "scheduler", "dag-processor"):
            log = (place.root / "log" / f"{part}.log").open("w")
            command = [sys.executable, "-m", "airflow", part]
            running.append(
                subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)  # noqa: S603
            )
        yield
    finally:
        for child in running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
        deadline = time.monotonic() + 30
        for child in running:
            _end(child, deadline - time.monotonic())


if __name__ == "__main__":
    app(prog_name="python -m stack")
