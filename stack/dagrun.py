"""Run Airflow's DAGs whole, one after the other, in this process: ``DAG.test()`` on the real DAG files.

Building Airflow's execution API takes seconds, once a process: so all runs share one.
"""

from __future__ import annotations

import json
import sys


def run(requests: list[tuple[str, dict]]) -> bool:
    """Each (dag id, run configuration) in turn; False as soon as one does not succeed."""
    from airflow.configuration import conf as airflow_conf
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils.db import initdb

    # What Airflow's own processes do with the folder of a DAG bundle.
    sys.path.insert(0, airflow_conf.get("core", "dags_folder"))
    initdb()
    make_pools()
    for dag_id, conf in requests:
        bag = DagBag()
        if bag.import_errors:
            raise SystemExit("\n".join(f"{file}: {error}" for file, error in bag.import_errors.items()))
        dag = bag.dags[dag_id]
        dag.deadline = None  # DAG.test looks deadlines up where it has stored none; only a scheduler acts on them
        for one in dag.tasks:
            one.retries = 0  # a retry would sleep for minutes in front of somebody waiting
        state = dag.test(run_conf=conf, logical_date=None).state
        print(f"tollbook: {dag_id} {json.dumps(conf)} {state}", flush=True)
        if state != "success":
            return False
    return True


def make_pools() -> None:
    """The pools the DAGs name: a task of a pool that is not there would wait for ever."""
    from airflow.models.pool import Pool

    from etl.settings import load

    for source in load().sources:
        Pool.create_or_update_pool(
            f"tollbook_{source}", 2, "tasks that ask this provider at once", include_deferred=False
        )


if __name__ == "__main__":
    sys.exit(0 if run(json.loads(sys.argv[1])) else 1)
