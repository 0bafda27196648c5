"""A night killed at random moments ends, after one clean run, as the same bytes as a night nobody disturbed."""

import pytest
from killrun import kill_and_compare


@pytest.mark.parametrize(("store", "kills"), [("disk", 6), ("seaweedfs", 3)])
def test_killed_nights_leave_no_trace(store, kills, tmp_path, provider):
    done = kill_and_compare(kills, store, tmp_path, provider)
    assert done["kills"] == kills
    assert done["objects_compared"] > 40
