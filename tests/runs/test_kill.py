"""A night killed at random moments ends, after one clean run, as the same bytes as a night nobody disturbed.

The short form takes a sample on one store each; `--long` is 300 kills on each store there is.
"""

import signal

import pytest
from killrun import absent, kill_and_compare

STORES = pytest.mark.parametrize("store", ["disk", "seaweedfs", "ceph"])


def _kills(store: str, long: bool, many: int, sample: dict[str, int]) -> int:
    if store == "ceph" and absent():
        pytest.skip(f"Ceph's gateway needs {', '.join(absent())}")
    if not (long or store in sample):
        pytest.skip("only in the long form")
    return many if long else sample[store]


@STORES
def test_killed_nights_leave_no_trace(store, long, tmp_path, provider, record_property):
    kills = _kills(store, long, 100, {"disk": 4})
    done = kill_and_compare(kills, store, tmp_path, provider)
    record_property(f"kills on {store}", done["kills"])
    assert done["kills"] >= kills
    assert done["objects"] > 40


@STORES
def test_rivals_killed_at_once_leave_no_trace(store, long, tmp_path, provider, record_property):
    """A nightly run and a backfill of the same days at once, both killed, and somebody reads all the while."""
    kills = _kills(store, long, 200, {"seaweedfs": 2})
    done = kill_and_compare(kills, store, tmp_path, provider, seed=2, rivals=True)
    record_property(f"kills on {store}", done["kills"])
    record_property("rival runs", done["rivals"])
    record_property("reads meanwhile", done["read by the log"] + done["read from the view"])
    assert done["kills"] >= kills
    assert done["read by the log"] > 5
    assert done["read from the view"] > 5


def test_a_run_told_to_stop_stops_at_once(long, tmp_path, provider, record_property):
    """SIGTERM, as a scheduler sends it: the run is gone within seconds, and the next one mends what it left."""
    kills = 30 if long else 1
    done = kill_and_compare(kills, "disk", tmp_path, provider, seed=3, sign=signal.SIGTERM)
    record_property("SIGTERMs", done["kills"])
    assert done["kills"] == kills
