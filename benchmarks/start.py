"""What it costs to begin: a command's --help, a parse of the DAG files, a task that finds nothing to do.

    python benchmarks/start.py [--rounds 2]

Figures are CPU seconds, medians of interleaved rounds, beside what the same process costs without us: an empty program, a
DAG file of one empty task, an Airflow task that returns at once. A parse is *warm* as the DAG processor does it (a fork of a
process that has Airflow and the file's Airflow modules loaded; Airflow's own figure is the wall time of that), and *cold* in
a process of its own. The idle tasks load nothing: the day is in the lake already, and the lake's log must not grow.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "runs")]

DAY = "2026-10-06"
WINDOW = f"{DAY}/{DAY}"
SOURCE = "twilio"
DAGS = ("usage_daily.py", "usage_monthly.py")
ONE_TASK = '''\
from airflow.sdk import dag, task


@dag(schedule=None)
def one():
    @task
    def nothing() -> None: ...

    nothing()


one()
'''
HELP_LIMIT, PARSE_LIMIT, IDLE_LIMIT = 0.4, 0.5, 1.5
IDLE: dict[str, Callable] = {
    "normalise": lambda nights, jobs: nights.each(jobs, "normalise", WINDOW, SOURCE),
    "rate": lambda nights, jobs: nights.each(jobs, "rate", WINDOW, SOURCE),
    "reconcile": lambda nights, jobs: nights.reconcile(jobs, WINDOW, SOURCE),
    "moved": lambda nights, jobs: nights.moved(jobs, [WINDOW]),
    "roll_up": lambda nights, jobs: nights.each(jobs, "roll_up", WINDOW),
    "state": lambda nights, jobs: nights.state(jobs, [WINDOW]),
    "expire": lambda nights, jobs: nights.expire(jobs, [WINDOW]),
    "audit": lambda nights, jobs: nights.check(jobs, [WINDOW]),
    "pull": lambda nights, jobs: nights.each(jobs, "pull", WINDOW, SOURCE),
}
"""As the DAG calls them. ``pull`` asks the provider for the whole day again and finds the same pages; ``audit`` checks it."""


# ------------------------------------------------------------------------------------------------ measured processes


def run(*arguments: str, environment: dict[str, str]) -> tuple[float, str]:
    """(CPU seconds of the whole process, what it printed)."""
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process.stdout, process.stderr:
        printed, said = process.stdout.read(), process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{said[-2000:]}")
    return used.ru_utime + used.ru_stime, printed


def child_idle(verb: str) -> None:
    """An idle task without Airflow."""
    from etl import nights, settings
    from etl.jobs import Jobs

    if verb != "nothing":
        IDLE[verb](nights, Jobs(settings.load()))


def child_task(verb: str) -> None:
    """An idle task as Airflow's task process runs it: the runner, the DAG file, the task. Prints CPU seconds of each."""
    import airflow.sdk.execution_time.task_runner  # noqa: F401 - what every task process loads
    from airflow.dag_processing.dagbag import BundleDagBag
    from airflow.sdk.execution_time.context import set_current_context

    began = time.process_time()
    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    file = folder / ("one.py" if verb == "nothing" else DAGS[0])
    bag = BundleDagBag(dag_folder=str(file), bundle_path=folder, bundle_name="b", load_op_links=False, safe_mode=False)
    assert not bag.import_errors, bag.import_errors
    parsed = time.process_time()
    if verb != "nothing":
        import tollbook_wiring

        from etl import nights

        with set_current_context({"run_id": "benchmark", "partition_key": DAY, "params": {}}):
            IDLE[verb](nights, tollbook_wiring.jobs())
    print("\n" + json.dumps([began, parsed - began, time.process_time() - parsed]))


def child_parse(rounds: str) -> None:
    """Parse every file ``rounds`` times, each in a fork of a process that has Airflow loaded. Prints CPU and wall seconds."""
    import airflow.dag_processing.processor as processor
    from airflow.dag_processing.dagbag import BundleDagBag
    from airflow.serialization.serialized_objects import DagSerialization

    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    files = sorted(folder.glob("*.py"))
    for file in files:
        processor._pre_import_airflow_modules(str(file), None)
    for _ in range(int(rounds)):
        for file in files:
            sys.stdout.flush()
            if pid := os.fork():
                os.waitpid(pid, 0)
                continue
            began, spent = time.monotonic(), time.process_time()
            bag = BundleDagBag(dag_folder=str(file), bundle_path=folder, bundle_name="b", load_op_links=False)
            for dag in bag.dags.values():
                DagSerialization.to_dict(dag)
            spent, took = time.process_time() - spent, time.monotonic() - began
            assert not bag.import_errors, bag.import_errors
            print("\n" + json.dumps([file.name, spent, took]), flush=True)
            os._exit(0)


def child_cold(name: str) -> None:
    from airflow.dag_processing.dagbag import BundleDagBag

    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    bag = BundleDagBag(dag_folder=str(folder / name), bundle_path=folder, bundle_name="b", load_op_links=False)
    assert not bag.import_errors and bag.dags, bag.import_errors


# ------------------------------------------------------------------------------------------------ what they work on


@contextmanager
def place() -> Iterator[tuple[dict[str, str], Path]]:
    """The environment of a small workplace with a loaded day, and its lake."""
    from workplace import environment, workplace

    from sandbox.launch import launch

    with tempfile.TemporaryDirectory() as made, launch() as provider:
        folder = Path(made)
        settings = workplace(folder / "place", provider, start="2026-10-01")
        settings.write_text('operators = ["ops@example.com"]\n' + settings.read_text())
        dags = folder / "dags"
        dags.mkdir()
        (dags / "one.py").write_text(ONE_TASK)
        for file in (ROOT / "dags").glob("*.py"):
            (dags / file.name).symlink_to(file)
        found = environment(settings, provider) | {
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder / 'airflow.db'}",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "PYTHONPATH": f"{dags}{os.pathsep}{ROOT}",
            "PYTHONWARNINGS": "ignore",
        }
        found.pop("PYTHONDONTWRITEBYTECODE", None)  # with it every start compiles Airflow again
        run("-m", "etl", "run", "--date", DAY, environment=found)
        for verb in IDLE:  # a first time, so that all is in the lake and compiled
            run(__file__, "--child", "idle", verb, environment=found)
        run(__file__, "--child", "task", "nothing", environment=found)
        yield found, folder / "place" / "lake" / "_log"


def median(values: list) -> float:
    return statistics.median(values)


def table(*head: str) -> None:
    print(f"\n| {' | '.join(head)} |\n| --- |{' --: |' * (len(head) - 1)}")


def commands(found: dict[str, str], rounds: int) -> None:
    asked = {"an empty program": ("-c", "pass"), "etl --help": ("-m", "etl", "--help")}
    asked |= {"etl run --help": ("-m", "etl", "run", "--help"), "reports --help": ("-m", "reports", "--help")}
    spent = defaultdict(list)
    for _ in range(rounds):
        for name, arguments in asked.items():
            spent[name].append(run(*arguments, environment=found)[0])
    table("command", "CPU s", f"÷ {HELP_LIMIT} s")
    for name, values in spent.items():
        print(f"| `{name}` | {median(values):.2f} | {median(values) / HELP_LIMIT:.2f} |")


def parses(found: dict[str, str], rounds: int) -> None:
    cold, warm = defaultdict(list), defaultdict(list)
    for line in run(__file__, "--child", "parse", str(rounds), environment=found)[1].splitlines():
        if line.startswith("["):
            name, cpu, wall = json.loads(line)
            warm[name].append((cpu, wall))
    for _ in range(rounds):
        for name in ("one.py", *DAGS):
            cold[name].append(run(__file__, "--child", "cold", name, environment=found)[0])
    base, nothing = median(cold["one.py"]), median([cpu for cpu, _ in warm["one.py"]])
    table("DAG file", "warm CPU s", "beyond one empty task", f"÷ {PARSE_LIMIT} s", "warm wall s", "cold CPU s", "beyond", f"÷ {PARSE_LIMIT} s")
    for name in sorted(warm, key=lambda n: (n != "one.py", n)):
        cpu, wall = (median(column) for column in zip(*warm[name], strict=True))
        alone = median(cold[name]) if name in cold else None
        whole = " | | " if alone is None else f"{alone:.2f} | {alone - base:.2f} | {(alone - base) / PARSE_LIMIT:.2f}"
        print(f"| `{name}` | {cpu:.2f} | {cpu - nothing:.2f} | {(cpu - nothing) / PARSE_LIMIT:.2f} | {wall:.2f} | {whole} |")


def idle(found: dict[str, str], log: Path, rounds: int) -> None:
    entries = sum(1 for _ in log.rglob("*.json"))
    alone, whole, parts = defaultdict(list), defaultdict(list), defaultdict(list)
    for _ in range(rounds):
        for verb in ("nothing", *IDLE):
            alone[verb].append(run(__file__, "--child", "idle", verb, environment=found)[0])
            cpu, printed = run(__file__, "--child", "task", verb, environment=found)
            whole[verb].append(cpu)
            parts[verb].append(json.loads(printed.splitlines()[-1]))
    if entries == 0 or sum(1 for _ in log.rglob("*.json")) != entries:
        raise SystemExit("a task found something to do: the code changed while this ran?")
    table("idle task", "without Airflow", f"÷ {IDLE_LIMIT} s", "with Airflow", "Airflow's start", "DAG file", "task", "file + task", f"÷ {IDLE_LIMIT} s")
    for verb, values in alone.items():
        start, file, task = (median(column) for column in zip(*parts[verb], strict=True))
        print(
            f"| `{verb}` | {median(values):.2f} | {median(values) / IDLE_LIMIT:.2f} | {median(whole[verb]):.2f} | {start:.2f} | "
            f"{file:.2f} | {task:.2f} | {file + task:.2f} | {(file + task) / IDLE_LIMIT:.2f} |"
        )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=2)
    options.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.child:
        kind, what = given.child
        {"idle": child_idle, "task": child_task, "parse": child_parse, "cold": child_cold}[kind](what)
        return
    with place() as (found, log):
        print(f"CPU seconds, medians of {given.rounds}.")
        commands(found, given.rounds)
        parses(found, given.rounds)
        idle(found, log, given.rounds)


if __name__ == "__main__":
    main()
