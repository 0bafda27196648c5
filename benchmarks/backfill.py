"""What loading the past costs the scheduler: a run a day (`usage_daily`), a run a month (`usage_backfill`), and the verbs alone.

    python benchmarks/backfill.py --month 2026-06 --days 2 --messages-per-day 2000

Each way gets a lake and an Airflow of its own (LocalExecutor, SQLite), all against one sandbox provider, whose work is not
counted. CPU seconds are those of all processes of Airflow from just before `airflow backfill create` to the end of the last
run. ``--days`` bounds the run-a-day way only: the first days of the month. At the end the data files are compared by SHA-256.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "runs")]
TICK = os.sysconf("SC_CLK_TCK")


def cpu(roots: list[int]) -> float:
    """CPU seconds of these processes and all they started, those that ended included."""
    parents, used = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(") ")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
            used[int(entry.name)] = sum(map(int, fields[11:15])) / TICK
    known, grew = set(roots), True
    while grew:
        found = {pid for pid, parent in parents.items() if parent in known} - known
        known, grew = known | found, bool(found)
    return sum(used.get(pid, 0) for pid in known)


def timed(command: list[str], environment: dict[str, str]) -> float:
    """CPU seconds of a command that does its work; 3 says that something in the lake wants attention."""
    child = subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in (0, 3):
        raise SystemExit(f"{command} ended with {child.returncode}")
    return usage.ru_utime + usage.ru_stime


def digests(environment: dict[str, str], first: date, last: date) -> dict[str, list[str]]:
    """Partition → SHA-256 of the data files of its head, of the days asked for and of all months."""
    script = (
        "import json; from etl.jobs import Jobs; from etl.schemas import DATASETS; lake = Jobs.open().lake;"
        "print(json.dumps({p.path: [f.sha256 for f in v.files] for d in DATASETS for p, v in lake.heads(d).items()}))"
    )
    command = [sys.executable, "-c", script]
    out = subprocess.run(command, env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE, check=True).stdout  # noqa: S603
    found = json.loads(out)
    keyed = {p: p.partition("date=")[2][:10] for p in found}
    return {p: found[p] for p, day in keyed.items() if not day or str(first) <= day <= str(last)}


@contextmanager
def airflow(environment: dict[str, str], folder: Path) -> Iterator[list[int]]:
    """A scheduler, an api-server and a DAG processor; yields their ids."""
    running = []
    try:
        for part in ("api-server", "scheduler", "dag-processor"):
            log = (folder / f"{part}.log").open("w")
            command = [sys.executable, "-m", "airflow", part]
            running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True))  # noqa: S603
        yield [one.pid for one in running]
    finally:
        for one in running:
            os.killpg(one.pid, signal.SIGTERM)
        for one in running:
            try:
                one.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(one.pid, signal.SIGKILL)
                one.wait()


def ask(home: Path, query: str, *given: str) -> list:
    with sqlite3.connect(f"file:{home / 'airflow.db'}?mode=ro", uri=True, timeout=30) as database:
        return database.execute(query, given).fetchall()


def backfill(environment: dict[str, str], folder: Path, dag_id: str, first: date, last: date, conf: dict) -> dict:
    """One backfill on an Airflow of its own → what it took."""
    home = Path(environment["AIRFLOW_HOME"])
    with airflow(environment, folder) as pids:
        while not ask(home, "select 1 from serialized_dag where dag_id = ?", dag_id):
            time.sleep(1)
        time.sleep(8)  # the other DAGs are parsed, the first loops are over
        before, began = cpu(pids), time.monotonic()
        time.sleep(20)
        idle = (cpu(pids) - before) / (time.monotonic() - began)
        subprocess.run([sys.executable, "-m", "airflow", "dags", "unpause", dag_id, "-y"], env=environment, check=True,  # noqa: S603
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        before, began = cpu(pids), time.monotonic()
        command = [sys.executable, "-m", "airflow", "backfill", "create", "--dag-id", dag_id, "--from-date", str(first)]
        command += ["--to-date", str(last), "--max-active-runs", "1"]
        command += ["--dag-run-conf", json.dumps(conf)] if conf else []
        created = timed(command, environment)
        states = [("queued",)]
        while not states or any(state in ("queued", "running") for (state,) in states):
            time.sleep(2)
            states = ask(home, "select state from dag_run where dag_id = ?", dag_id)
        wall, used = time.monotonic() - began, cpu(pids) - before + created
        tasks = ask(home, "select state, count(*) from task_instance where dag_id = ? group by state", dag_id)
    return {
        "dag": dag_id, "runs": [state for (state,) in states], "tasks": dict(tasks), "cpu_s": round(used, 1),
        "idle_cpu_per_s": round(idle, 3), "wall_s": round(wall), "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def main() -> None:
    from workplace import environment, workplace

    from etl.periods import Month
    from sandbox.launch import launch
    from stack.place import free_port

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--month", type=Month.parse, default=Month(2026, 6))
    parser.add_argument("--months", type=int, default=1, help="so many of them, one after the other")
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--from-day", type=int, default=1, help="go-live of the settings: the first day of the month loaded")
    parser.add_argument("--messages-per-day", type=int, default=2000)
    parser.add_argument("--ways", nargs="+", default=["alone", "month", "daily"])
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # so that no server is left behind
    month = given.month
    first = month.first + timedelta(days=given.from_day - 1)
    few, whole = (first, first + timedelta(days=given.days - 1)), (first, (month + (given.months - 1)).end - timedelta(days=1))
    flags = ("--today", "2026-11-08", "--messages-per-day", str(given.messages_per_day))
    kept = {}
    with tempfile.TemporaryDirectory(prefix="tollbook-backfill-") as root, launch(*flags) as provider:

        def place(name: str) -> tuple[dict[str, str], Path]:
            folder, port = Path(root) / name, free_port()
            seen = environment(workplace(folder, provider, start=str(first)), provider)
            seen.pop("PYTHONDONTWRITEBYTECODE", None)
            (folder / "airflow").mkdir()
            shutil.copytree(REPOSITORY / "dags", folder / "dags")
            night = folder / "dags" / "usage_daily.py"  # its own schedule would catch up with today beside the backfill
            off = "catchup=False, end_date=nights.midnight(SETTINGS.start),"
            night.write_text(night.read_text().replace("catchup=True,", off))
            return seen | {
                "AIRFLOW_HOME": str(folder / "airflow"),
                "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__CORE__PARALLELISM": "2",
                "AIRFLOW__CORE__MAX_TEMPLATED_FIELD_LENGTH": "4096",
                "AIRFLOW__API__HOST": "127.0.0.1",
                "AIRFLOW__API__PORT": str(port),
                "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
                "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
                "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
                "AIRFLOW__API__WORKERS": "1",
            }, folder

        for way, (start, end) in {"few": few, "whole": whole}.items():
            if "alone" in given.ways and (way == "few" and "daily" in given.ways or way == "whole" and "month" in given.ways):
                seen, _ = place(f"alone-{way}")
                span = ["--from", str(start), "--to", str(end)]
                run = timed([sys.executable, "-m", "etl", "run", *span, "--json"], seen)
                rest = timed([sys.executable, "-m", "etl", "audit", *span, "--json"], seen)
                for number in range(given.months if way == "whole" else 1):
                    rest += timed([sys.executable, "-m", "reports", "operator", "--month", str(month + number)], seen)
                days = (end - start).days + 1
                kept[f"alone-{way}"] = digests(seen, start, end)
                print(json.dumps({"way": f"verbs alone, one process, {days} days", "run_cpu_s": round(run, 1),
                                  "audit_and_page_cpu_s": round(rest, 1)}), flush=True)  # fmt: skip
        pools = ["pools", "set", "tollbook_twilio", "4", "asks"]

        def through(name: str, dag_id: str, start: date, end: date, last: date, conf: dict) -> None:
            seen, folder = place(name)
            for command in (["db", "migrate"], pools):
                subprocess.run([sys.executable, "-m", "airflow", *command], env=seen, check=True,  # noqa: S603
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
            print(json.dumps(backfill(seen, folder, dag_id, start, end, conf)), flush=True)
            kept[name] = digests(seen, first, last)

        if "month" in given.ways:
            through("month", "usage_backfill", month.first, whole[1], whole[1], {})
        if "daily" in given.ways:
            through("daily", "usage_daily", *few, few[1], {"lookback_days": 1})
    for one, other in (("alone-few", "daily"), ("alone-whole", "month"), ("daily", "month")):
        if one in kept and other in kept:
            a, b = kept[one], kept[other]
            if other == "month" and one == "daily":  # the month has more days: only what is of the same days
                a, b = ({p: f for p, f in x.items() if "date=" in p and p in kept["daily"]} for x in (a, b))
            differ = sorted(p for p in a.keys() | b.keys() if a.get(p) != b.get(p))
            print(f"{one} = {other}: {len(a)} partitions, {sum(map(len, a.values()))} files, {len(differ)} differ", *differ[:8])


if __name__ == "__main__":
    main()
