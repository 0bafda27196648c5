"""The same days loaded in several ways, and what must hold of all of them."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import time
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml
from cluster import REPOSITORY, Cluster, Run, kind
from composed import Service, services

REFERENCE = "lake-here"
SHARES = ("read_share", "make_share")


@dataclass
class Results:
    """What was promised, whether it holds, and what was measured."""

    options: Any
    promises: list[tuple[str, bool, str]] = field(default_factory=list)
    rows: list[tuple[str, ...]] = field(default_factory=list)
    lakes: list[str] = field(default_factory=list)
    peaks: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    """Run → task → machine → how many."""

    def promise(self, text: str, held: bool, told: str = "") -> None:
        self.promises.append((text, bool(held), told))
        print(f"{'ok    ' if held else 'BROKEN'} {text}{': ' + told if told else ''}", flush=True)

    @property
    def held(self) -> bool:
        return all(held for _, held, _ in self.promises)

    def measured(self, name: str, seconds: float, cpu: dict[str, float], tasks: str, lake: str) -> None:
        used = ", ".join(f"{machine} {used:.0f}" for machine, used in cpu.items())
        self.rows.append((name, f"{seconds:.0f}", used, tasks))
        self.lakes.append(lake)
        print(f"       {name}: {seconds:.0f} s; CPU seconds {used}; {tasks}", flush=True)

    def rendered(self) -> str:
        options = self.options
        lines = [
            "# The same days on several machines", "",
            f"{options.days} days up to {options.day}, {options.messages:,} messages a day. Each worker: {options.concurrency} "
            f"task(s) at once, {options.cores or 'all'} core(s). "
            + (f"A bucket is cut for {options.bucket:,} bytes." if options.bucket else "No day is shared out."), "",
            "| run | wall, s | CPU, s | tasks |", "| --- | ---: | --- | --- |",
            *(f"| {' | '.join(row)} |" for row in self.rows), "",
            *(f"{name}: " + "; ".join(f"{task} {_told(of)}" for task, of in kinds.items()) + ".\n"
              for name, kinds in self.kinds.items()),
            "Most memory each machine was seen to use, MB: " + ", ".join(f"{k} {v}" for k, v in sorted(self.peaks.items())) + ".",
            "", "| promise | | |", "| --- | --- | --- |",
            *(f"| {text} | {'ok' if held else '**BROKEN**'} | {told} |" for text, held, told in self.promises), "",
        ]  # fmt: skip
        return "\n".join(lines)


def _days(cluster: Cluster) -> list[str]:
    last, count = cluster.options.day, cluster.options.days
    return ["--from", (last - timedelta(days=count - 1)).isoformat(), "--to", last.isoformat()]


def _here(cluster: Cluster, lake: str) -> dict[str, str]:
    """What a worker sees, for the command line on a machine without Airflow."""
    return cluster.environment(cluster.service("worker", LAKE_BUCKET=lake, REPORTS_BUCKET="reports-here"))


def check_image(cluster: Cluster, results: Results) -> None:
    """What is in the image knows every setting, every executor, and the pod template of docs/deploy.md."""
    page = (REPOSITORY / "docs" / "deploy.md").read_text(encoding="utf-8")
    values, pod = re.findall(r"```yaml\n(.*?)```", page, re.S)
    template = cluster.folder / "pod.yaml"
    template.write_text(pod)
    known = {key for service in services(cluster.given).values() for key in service.environment}
    known |= {f"AIRFLOW__{s}__{o}".upper() for s, table in yaml.safe_load(values)["config"].items() for o in table}
    asked = json.dumps(sorted(key for key in known if key.startswith("AIRFLOW__")))
    script = str(REPOSITORY / "tests" / "cluster" / "imagecheck.py")
    machine, environment = cluster.machines["init"], cluster.environment(cluster.service("init"))
    done = machine.run(["python", script, asked, str(template)], environment)
    wrong = json.loads(_last(done.stdout)) if done.returncode == 0 else [_last(done.stdout)]
    results.promise("the image knows every setting, both executors and the pod template", not wrong, "; ".join(wrong))


def load_here(cluster: Cluster, results: Results) -> None:
    """The days by `python -m etl run`: one machine, one process, no shares, as much CPU as one worker."""
    for bucket in (REFERENCE, "reports-here"):
        cluster.bucket(bucket)
    machine = cluster.machine("here", Service("here", [], {}, ("work",), []))
    environment = _here(cluster, REFERENCE) | {"TOLLBOOK_SHARE_DAYS": "false"}
    cluster.forward(machine, environment)
    time.sleep(2)
    if cluster.options.cores:
        machine.meter.limit(cluster.options.cores)
    began, used = time.monotonic(), machine.meter.seconds()
    child = machine.start(["python", "-m", "etl", "run", *_days(cluster)], environment, log="run")
    while child.poll() is None:
        cluster.look()
        time.sleep(0.5)
    told = (machine.home / "run.log").read_text(errors="replace")
    results.promise("the days load on one machine", child.returncode == 0, "" if child.returncode == 0 else told[-500:])
    cpu = {"here": machine.meter.seconds() - used} if used is not None else {}
    results.measured("`python -m etl run`, no Airflow", time.monotonic() - began, cpu, "", REFERENCE)
    machine.meter.limit(8)


def _start(cluster: Cluster, lake: str, names: tuple[str, ...]) -> dict[str, float]:
    cluster.bucket(lake)
    for name in names:
        cluster.worker(name, lake)
    return _used(cluster)


def _used(cluster: Cluster) -> dict[str, float]:
    return {n: m.meter.seconds() for n, m in cluster.machines.items() if m.meter.seconds() is not None}


def _since(cluster: Cluster, before: dict[str, float], names: tuple[str, ...]) -> dict[str, float]:
    spent = {name: used - before.get(name, 0) for name, used in _used(cluster).items()}
    others = sum(spent.get(name, 0) for name in ("api-server", "scheduler", "dag-processor", "triggerer"))
    return {**{name: spent[name] for name in names if name in spent}, "rest of Airflow": others}


def load_there(cluster: Cluster, results: Results, name: str, turn: int) -> None:
    """The days by the DAG with one worker or with two."""
    names = ("worker1", "worker2")[: 1 if name == "one" else 2]
    called = "one worker" if name == "one" else "two workers"
    lake = f"lake-{name}-{turn}"
    before = _start(cluster, lake, names)
    cluster.trigger(lake)
    run = cluster.wait(lake)
    results.promise(f"the night succeeds with {called}", run.state == "success", run.state)
    _shared(cluster, results, run, names)
    results.measured(called, run.seconds, _since(cluster, before, names), _told(run.shares) + _again(run), lake)
    for worker in names:
        cluster.machines[worker].stop()


def _shared(cluster: Cluster, results: Results, run: Run, names: tuple[str, ...]) -> None:
    results.promise(f"work is done by {' and '.join(names)}", set(run.shares) == set(names), _told(run.shares))
    _kinds(results, run, " and ".join(names))
    for of in SHARES if cluster.options.bucket else ():
        done = run.kinds.get(of, {})
        results.promise(f"{of}: done by {' and '.join(names)}", set(done) == set(names), _told(done))


def _kinds(results: Results, run: Run, called: str) -> None:
    results.kinds[called] = run.kinds
    print("       " + "; ".join(f"{task} {_told(of)}" for task, of in run.kinds.items()), flush=True)
    spent: dict[str, float] = {}
    for task in run.tasks:
        spent[kind(task)] = spent.get(kind(task), 0) + (task["duration"] or 0)
    print("       wall s: " + ", ".join(f"{name} {seconds:.0f}" for name, seconds in spent.items()), flush=True)


def _again(run: Run) -> str:
    """Tasks that needed more than one try, where nobody was killed: a busy machine, and minutes of waiting."""
    tried = sorted({kind(t) for t in run.tasks if (t["try_number"] or 1) > 1})
    return f"; tried again: {', '.join(tried)}" if tried else ""


def _told(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def kill_one(cluster: Cluster, results: Results) -> None:
    """Two workers; in the middle of the night the second loses its power."""
    names, lake = ("worker1", "worker2"), "lake-killed"
    before = _start(cluster, lake, names)
    _alone(cluster, results)
    cluster.trigger(lake)
    struck = _strike_when_busy(cluster, lake, "worker2")
    died = time.monotonic()
    processes = cluster.machines["worker2"].power_off()
    print(f"       worker2 is dead: {processes} processes, at work on {sorted(struck)}", flush=True)
    run = cluster.wait(lake)
    after = time.monotonic() - died
    results.promise("a worker dies at work, and the night succeeds", run.state == "success" and bool(struck), run.state)
    later = {(t["task_id"], t["map_index"]): t for t in run.tasks}
    taken = {key: later[key] for key in struck}
    results.promise(
        "what it was at work on is done by the other",
        taken and all(t["state"] == "success" and t["hostname"] == "worker1" for t in taken.values()),
        ", ".join(f"{task}[{index}]: try {t['try_number']} on {t['hostname']}" for (task, index), t in sorted(taken.items())),
    )
    results.promise(
        "every attempt is accounted for",
        all(len(cluster.tries(t)) == t["try_number"] for t in taken.values()),
        f"{sum(t['try_number'] for t in run.tasks if t['try_number'])} attempts at {len(run.tasks)} tasks",
    )
    _kinds(results, run, "two workers, one killed")
    told = f"{_told(run.shares)}; {len(struck)} begun anew; over {after:.0f} s after the kill"
    results.measured("two workers, one killed", run.seconds, _since(cluster, before, names), told, lake)
    cluster.machines["worker1"].stop()


def _strike_when_busy(cluster: Cluster, run_id: str, name: str) -> set[tuple[str, int]]:
    """Wait until the machine is at work and a part of the night is done; what it is at work on."""
    until = time.monotonic() + 900
    while time.monotonic() < until:
        tasks = cluster.tasks(run_id)
        busy = {(t["task_id"], t["map_index"]) for t in tasks if t["state"] == "running" and t["hostname"] == name}
        mapped = [t for t in tasks if t["map_index"] >= 0 and (not cluster.options.bucket or kind(t) == cluster.options.strike)]
        done, here = sum(t["state"] == "success" for t in mapped), busy & {(t["task_id"], t["map_index"]) for t in mapped}
        if here and done * 3 >= len(mapped):
            return busy
        time.sleep(0.2)
    raise RuntimeError(f"{name} was never at work")


def _alone(cluster: Cluster, results: Results) -> None:
    """What a worker cannot reach and does not know."""
    worker = cluster.machines["worker1"]
    there = cluster.machines["postgres"].addresses["control"]
    script = (
        "import socket\n"
        f"for host in ('postgres', '{there}'):\n"
        "    try:\n        socket.create_connection((host, 5432), 2)\n        raise SystemExit(f'{host} answers')\n"
        "    except OSError: pass\n"
    )
    service = cluster.service("worker")
    tried = worker.run(["python", "-c", script], cluster.environment(service))
    home = cluster.folder / "airflow" / "worker1"
    opened = [name for file in home.glob("*.db") for name in _tables(file)]  # Airflow makes an empty file of its default
    knows = [k for k in service.environment if "SQL_ALCHEMY" in k or "JWT" in k]
    results.promise(
        "workers see no database and hold no key to sign with",
        tried.returncode == 0 and not opened and not knows,
        tried.stdout.strip() or ", ".join(opened + knows),
    )


def _tables(file: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as opened:
        return [name for (name,) in opened.execute("select name from sqlite_master")]


def compare(cluster: Cluster, results: Results) -> None:
    """Every lake against the one of one machine, byte by byte, and the audit of each."""
    heads, views = _heads(cluster, REFERENCE), _views(cluster, REFERENCE)
    files, size = sum(map(len, heads.values())), sum(found[1] for found in views.values())
    for lake in results.lakes[1:]:
        theirs = _heads(cluster, lake)
        differing = sorted(str(p) for p in heads.keys() | theirs.keys() if heads.get(p) != theirs.get(p))
        results.promise(
            f"{lake}: the same bytes in every partition", not differing,
            ", ".join(differing[:5]) or f"{len(heads)} partitions, {files} files, each with its sha256",
        )  # fmt: skip
        seen = _views(cluster, lake)
        other = sorted(key for key in views.keys() | seen.keys() if views.get(key) != seen.get(key))
        results.promise(
            f"{lake}: the same view for outsiders", not other,
            ", ".join(other[:5]) or f"{len(views)} objects, {size / 1e6:.1f} MB read back and hashed",
        )  # fmt: skip
        left = list(cluster.store(lake).list("_work/"))
        results.promise(f"{lake}: no share is left lying", not left, ", ".join(left[:3]))
        audited = cluster.machines["here"].run(
            ["python", "-m", "etl", "audit", "--deep", *_days(cluster)], _here(cluster, lake), timeout=1800
        )
        results.promise(f"{lake}: the audit finds every promise kept", audited.returncode == 0, _last(audited.stdout))
    _logs(cluster, results)
    results.peaks = {name: peak for name, peak in cluster.peaks.items() if peak}


def _heads(cluster: Cluster, lake: str) -> dict[str, tuple[str, ...]]:
    """Partition of the lake → sha256 of each of its files, in order, raw pages as they came too."""
    from etl.lake import Lake

    opened = Lake(cluster.store(lake), run_id="compare")
    datasets = {key.split("/")[1] for key in opened.store.list("_log/")}
    return {
        str(partition): tuple(file.sha256 for file in version.files)
        for dataset in sorted(datasets)
        for partition, version in opened.heads(dataset).items()
    }


def _views(cluster: Cluster, lake: str) -> dict[str, tuple[str, int]]:
    store = cluster.store(lake)
    found = {}
    for key in store.list(""):
        if not key.startswith(("_log/", "_lake.json", "audited/")):  # the last: what an audit noted for the next one
            data = store.get(key)
            found[key] = (sha256(data).hexdigest(), len(data))
    return found


def _logs(cluster: Cluster, results: Results) -> None:
    """A worker that is gone serves no logs: they are in the bucket."""
    kept = [key for key in cluster.store("tollbook-logs").list("airflow/") if key.endswith(".log")]
    named = [key for key in kept if "run_id=lake-" in key]
    results.promise("the logs of tasks are in the bucket", bool(named), json.dumps({"logs": len(named)}))


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
