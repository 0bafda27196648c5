"""Kill a nightly run again and again at random moments; then let one run finish: the lake must be the one of a run that
was never killed, byte for byte.

    python tests/runs/killrun.py --kills 100 --store disk
    python tests/runs/killrun.py --kills 100 --store seaweedfs
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from workplace import REPOSITORY, environment, workplace  # noqa: E402

from etl.lake import Store, open_store  # noqa: E402
from sandbox.launch import Running, launch  # noqa: E402

DAYS = ("--from", "2026-10-05", "--to", "2026-10-07")
NOT_COMPARED = ("run_id", "recorded_at")
"""Who committed and when: the only things in the lake that differ between two runs."""


@contextlib.contextmanager
def stores(kind: str, root: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """(the [lake] table's extra lines, environment) for a kind of store."""
    if kind == "disk":
        yield "", {}
        return
    from stack.seaweed import make_bucket, seaweedfs

    with seaweedfs(root / "s3", keep=False) as server:
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


def night(env: dict[str, str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "etl", "run", *DAYS, "--json"],
        env=env, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def finish(env: dict[str, str]) -> float:
    """Seconds a run takes that nobody kills. AssertionError with its last words if it fails."""
    began = time.monotonic()
    run = night(env)
    _, words = run.communicate(timeout=300)
    assert run.returncode in (0, 3), words.decode()[-2000:]
    return time.monotonic() - began


def kill(env: dict[str, str], after: float) -> bool:
    """Start a run and SIGKILL it; False if it had finished by then."""
    run = night(env)
    try:
        run.wait(after)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        return True
    finally:
        run.stderr.close()


ROUND = 5
"""Kills before a night is let through: after that too little is left of it to be hit."""


def kill_and_compare(kills: int, kind: str, root: Path, provider: Running, seed: int = 1) -> dict[str, int]:
    """Nights on empty lakes, each killed up to `ROUND` times, let through, and compared, until so many kills have hit.
    Raises AssertionError with the first object that differs. Returns what was done."""
    chance = random.Random(seed)
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
        expected = contents(whole)
        hit = rounds = 0
        while hit < kills:
            rounds += 1
            env, killed = place(f"killed-{rounds}")
            for _ in range(min(ROUND, kills - hit)):
                hit += kill(env, chance.uniform(0.2, 1.0) * seconds)
            finish(env)
            compare(expected, contents(killed))
        return {"kills": hit, "lakes": rounds, "objects_compared": rounds * len(expected)}


def compare(expected: dict[str, bytes], found: dict[str, bytes]) -> None:
    differing = sorted(k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k))
    assert not differing, (
        f"{len(differing)} of {len(expected)} keys differ, first {differing[0]}:\n"
        f"{expected.get(differing[0], b'')[:900]}\n{found.get(differing[0], b'')[:900]}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--store", choices=("disk", "seaweedfs"), default="disk")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, launch("--messages-per-day", "300") as provider:
        print(kill_and_compare(options.kills, options.store, Path(folder), provider, options.seed))


if __name__ == "__main__":
    main()
