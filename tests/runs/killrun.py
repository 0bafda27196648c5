"""Kill a nightly run again and again at random moments; then let one run finish: the lake must be the one of a run that
was never killed, byte for byte.

    python tests/runs/killrun.py --kills 100 --store disk
    python tests/runs/killrun.py --kills 100 --store seaweedfs --rivals
    python tests/runs/killrun.py --kills 100 --store ceph --rivals      # where Debian's radosgw is installed
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

for _folder in ("", "tests/faults"):
    sys.path.append(str(Path(__file__).resolve().parents[2] / _folder))

from ceph import absent, ceph  # noqa: E402, F401
from workplace import REPOSITORY, environment, workplace  # noqa: E402

from etl.lake import Lake, Store, open_store  # noqa: E402
from sandbox.launch import Running, launch  # noqa: E402

DAYS = ("--from", "2026-10-06", "--to", "2026-10-07")
NEWEST = ("--date", "2026-10-07")
NOT_COMPARED = ("run_id", "recorded_at")
"""Who committed and when: the only things in the lake that differ between two runs."""


@contextlib.contextmanager
def stores(kind: str, root: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """(the [lake] table's extra lines, environment) for a kind of store."""
    if kind == "disk":
        yield "", {}
        return
    from stack.seaweed import make_bucket, seaweedfs

    with ceph(root / "s3") if kind == "ceph" else seaweedfs(root / "s3", keep=False) as server:
        make_bucket(*server, "lake")
        connection = {
            "conn_type": "aws", "login": server.access_key, "password": server.secret_key,
            "extra": {"endpoint_url": server.endpoint},
        }  # fmt: skip
        yield 'connection = "store"', {"AIRFLOW_CONN_STORE": json.dumps(connection)}


def contents(store: Store) -> dict[str, bytes]:
    """Everything in the lake but temporary files, with log entries freed of `NOT_COMPARED`."""
    found = {}
    for key in store.list(""):
        if key.startswith(".") or "/.tmp" in key:
            continue
        data = store.get(key)
        if key.startswith("_log/"):
            entry = json.loads(data)
            data = json.dumps({k: v for k, v in entry.items() if k not in NOT_COMPARED}, sort_keys=True).encode()
        found[key] = data
    return found


def standing(store: Store) -> dict[str, bytes]:
    """What counts when rivals may have stated a month half-way: raw pages, views, and the files of each head."""
    found = {k: store.get(k) for k in store.list("") if not k.startswith("_") or k.startswith("_hist/raw/")}
    lake = Lake(store, run_id="compares")
    for dataset in sorted({k.split("/")[1] for k in store.list("_log/")}):
        for p, head in lake.heads(dataset).items():
            found[f"head of {p}"] = head.sha256.encode()
    return found


def night(env: dict[str, str], days: tuple[str, ...] = DAYS) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "etl", "run", *days, "--json"],
        env=env, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def finish(env: dict[str, str]) -> float:
    """Seconds a run takes that nobody kills. AssertionError with its last words if it fails."""
    began = time.monotonic()
    run = night(env)
    _, words = run.communicate(timeout=300)
    assert run.returncode in (0, 3), words.decode()[-2000:]
    return time.monotonic() - began


def kill(env: dict[str, str], after: float, sign: signal.Signals = signal.SIGKILL) -> bool:
    """Start a run and kill it; False if it had finished by then."""
    run = night(env)
    try:
        return _strike(run, time.monotonic() + after, sign)
    finally:
        run.stderr.close()


def duel(env: dict[str, str], chance: random.Random, seconds: float) -> int:
    """A nightly run and a backfill of its day at once, each killed at a moment of its own; how many were hit."""
    began = time.monotonic()
    moments = [began + chance.uniform(0.2, 1.2) * seconds for _ in range(2)]
    runs = [night(env, days) for days in (NEWEST, DAYS)]
    try:
        return sum(_strike(run, at) for at, run in sorted(zip(moments, runs, strict=True), key=lambda pair: pair[0]))
    finally:
        for run in runs:
            run.stderr.close()


def _strike(run: subprocess.Popen, at: float, sign: signal.Signals = signal.SIGKILL) -> bool:
    try:
        run.wait(max(0.0, at - time.monotonic()))
        return False
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, sign)
        run.wait(20)
        return True


class Onlooker(threading.Thread):
    """Reads a lake all the while, through its log and as outsiders do. `errors` is what it must never have met."""

    def __init__(self, store: Store) -> None:
        super().__init__(daemon=True)
        self.store, self.counts, self.errors = store, Counter(), []
        self._seen: dict[object, int] = {}
        self._over = threading.Event()

    def __enter__(self) -> Onlooker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(0.05) and not self.errors:
            try:
                self._look()
            except BaseException as error:  # noqa: BLE001 - Polars panics with one that is no Exception
                self.errors.append(f"{type(error).__name__}: {error}")

    def _look(self) -> None:
        import polars as pl

        lake = Lake(self.store, run_id="onlooker")
        for dataset in ("events", "charges", "daily", "statement"):
            for p, head in lake.heads(dataset).items():
                assert self._seen.get(p, 0) <= head.seq, f"{p} went back from {self._seen[p]} to {head.seq}"
                self._seen[p] = head.seq
                lake.read(head)
                self.counts["read by the log"] += 1
            for key in self.store.list(f"{dataset}/"):
                assert key.endswith("/part.parquet"), key
                pl.read_parquet(io.BytesIO(self.store.get(key)))
                self.counts["read from the view"] += 1


ROUND = 5
"""Kills before a night is let through: after that too little is left of it to be hit."""


def kill_and_compare(
    kills: int, kind: str, root: Path, provider: Running, seed: int = 1, *, rivals: bool = False,
    sign: signal.Signals = signal.SIGKILL,
) -> dict[str, int]:  # fmt: skip
    """Nights on empty lakes, each killed up to `ROUND` times, let through, and compared, until so many kills have hit.
    With ``rivals`` a nightly run and a backfill compete, and an `Onlooker` reads.

    Raises AssertionError with the first object that differs. Returns what was done.
    """
    chance = random.Random(seed)
    done: Counter = Counter()
    with stores(kind, root) as (extra, more):

        def place(name: str) -> tuple[dict[str, str], Store]:
            url = "lake" if kind == "disk" else f"s3://lake/{name}"
            settings = workplace(root / name, provider, lake=url, store=extra)
            if kind == "disk":
                return environment(settings, provider) | more, open_store(root / name / "lake")
            key = json.loads(more["AIRFLOW_CONN_STORE"])
            endpoint = key["extra"]["endpoint_url"]
            store = open_store(url, endpoint_url=endpoint, access_key=key["login"], secret_key=key["password"])
            return environment(settings, provider) | more, store

        env, whole = place("whole")
        seconds = finish(env)
        look = standing if rivals else contents
        expected = look(whole)
        while done["kills"] < kills:
            done["lakes"] += 1
            env, killed = place(f"killed-{done['lakes']}")
            until = min(kills, done["kills"] + ROUND)
            with Onlooker(killed) if rivals else contextlib.nullcontext() as onlooker:
                for _ in range(ROUND):
                    if done["kills"] >= until:
                        break
                    if rivals:
                        done["rivals"] += 2
                        hits = duel(env, chance, seconds)
                    else:
                        hits = kill(env, chance.uniform(0.2, 1.0) * seconds, sign)
                    done["kills"] += hits
                    # this machine is faster or slower than a moment ago
                    seconds *= 1.05 if hits else 0.8
                    if not hits:
                        break  # done, so there is nothing left to be hit
                finish(env)
            if rivals:
                assert not onlooker.errors, onlooker.errors
                done += onlooker.counts
            findings = [str(f) for f in Lake(killed, run_id="auditor").audit() if f.level != "note"]
            assert not findings, findings
            compare(expected, look(killed))
            done["objects"] += len(expected)
        return dict(done)


def compare(expected: dict[str, bytes], found: dict[str, bytes]) -> None:
    differing = sorted(k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k))
    assert not differing, (
        f"{len(differing)} of {len(expected)} keys differ, first {differing[0]}:\n"
        f"{expected.get(differing[0], b'')[:900]}\n{found.get(differing[0], b'')[:900]}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--store", choices=("disk", "seaweedfs", "ceph"), default="disk")
    parser.add_argument(
        "--rivals", action="store_true", help="a nightly run and a backfill compete, and readers look on"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, launch("--messages-per-day", "300") as provider:
        done = kill_and_compare(
            options.kills, options.store, Path(folder), provider, options.seed, rivals=options.rivals
        )
        print(json.dumps(done))


if __name__ == "__main__":
    main()
