"""Tollbook's DAGs on several machines, one of them killed in the middle: `make cluster`. Needs root; minutes.

    python tests/cluster/clusterrun.py                          # one worker, two workers, two of which one dies
    python tests/cluster/clusterrun.py --messages 20000 --days 2 --only killed
    python tests/cluster/clusterrun.py --cores 0.5 --repeat 2   # each worker half a core; the timed runs twice, A B B A
    python tests/cluster/clusterrun.py --days 4 --bucket 0      # days as they come, one window each and no shares

Starts what docker-compose.yml describes, with its commands, settings and health checks, each service on a machine of its
own (network namespaces; the provider is the sandbox): PostgreSQL and Redis from Debian, SeaweedFS, Airflow's parts and two
Celery workers. Loads the same days on one machine without Airflow, and compares. Writes .run/cluster.md; exits with 1 if
anything it promises does not hold.

A day large enough to be shared out takes long to load on a busy machine. So in the image that runs here, and nowhere else,
`etl.buckets.BUCKET_BYTES` is written over with --bucket: every process cuts there, the one without Airflow too.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import traceback
from datetime import date
from pathlib import Path

import machines

REPOSITORY = Path(__file__).resolve().parents[2]
REPORT = REPOSITORY / ".run" / "cluster.md"
SCENARIOS = ("one", "two", "killed")
SHARES = ("read_share", "make_share")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--day", type=date.fromisoformat, default=date(2026, 10, 6), help="last UTC day loaded")
    made.add_argument("--days", type=int, default=1, help="days loaded, all in one night (default 1)")
    made.add_argument("--messages", type=int, default=60_000, help="messages a day (default 60000)")
    text = "compressed bytes a bucket is cut for (default 1000000); 0 = those of the product, and no day is shared out"
    made.add_argument("--bucket", type=int, default=1_000_000, help=text)
    made.add_argument("--strike", choices=SHARES, default="make_share", help="what the worker is at when it is killed")
    made.add_argument("--cores", type=float, default=0.5, help="CPU each worker may use; 0 = all it gets (default 0.5)")
    made.add_argument("--concurrency", type=int, default=1, help="tasks a worker runs at once (default 1)")
    made.add_argument("--repeat", type=int, default=1, help="how often the timed runs are repeated, interleaved")
    made.add_argument("--only", action="append", choices=SCENARIOS, help="only this run (repeatable)")
    made.add_argument("--keep", action="store_true", help="keep the folder with logs and data")
    made.add_argument("--code", type=Path, default=REPOSITORY, help="checkout whose code is run (default: this one)")
    made.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    return made


def outside(arguments: list[str], keep: bool) -> int:
    """Make a folder and a world to run in; take both away again."""
    machines.fit()
    programs = (REPOSITORY / ".venv" / "cluster" / "bin" / "airflow", Path("/usr/bin/redis-check-rdb"))
    if missing := [str(program) for program in programs if not program.exists()]:
        raise machines.Unfit(f"{', '.join(missing)}: not here; start it as `make cluster`, which installs what is missing")
    folder = Path(tempfile.mkdtemp(prefix="tollbook-cluster-"))
    folder.chmod(0o755)
    try:
        code = machines.enter([str(Path(__file__).resolve()), *arguments, "--inside", str(folder)])
    finally:
        machines.forget_meters(folder.name)
        if keep:
            print(f"logs and data: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return code


def inside(options: argparse.Namespace) -> int:
    """Start everything, run the scenarios, compare; 0 if all that was promised holds."""
    from cluster import Cluster
    from scenarios import Results, check_image, compare, kill_one, load_here, load_there

    results = Results(options)
    with Cluster(options.inside, options) as cluster:
        try:
            results.promise("every service is well by its own health check", *cluster.start())
            check_image(cluster, results)
            load_here(cluster, results)
            wanted = options.only or SCENARIOS
            timed = [name for name in ("one", "two") if name in wanted]
            for turn in range(options.repeat):
                for name in timed if turn % 2 == 0 else reversed(timed):
                    load_there(cluster, results, name, turn)
            if "killed" in wanted:
                kill_one(cluster, results)
            compare(cluster, results)
        except BaseException:
            traceback.print_exc()
            cluster.tell()
            raise
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(results.rendered(), encoding="utf-8")
    print("\n" + results.rendered(), flush=True)
    return 0 if results.held else 1


def main() -> int:
    options = parser().parse_args()
    if options.inside:
        return inside(options)
    try:
        return outside(sys.argv[1:], options.keep)
    except machines.Unfit as error:
        print(f"make cluster: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
