"""Processes that die, run out of memory, come twice or come late. Random kills are in tests/runs/test_kill.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from killrun import compare
from smallnight import DAY, ROOT, Place, night, sound, stored

from etl.lake import Lake, Stale


def sweep(folder: Path, *options: str) -> dict[str, int]:
    """`smallnight` as a program of its own: what it counted."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("smallnight.py")), str(folder), *options],
        env=os.environ | {"PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_killed_at_every_call(long, tmp_path, record_property):
    """SIGKILL before each store call of a night, publishing included, and before each call that changes the disk."""
    done = sweep(
        tmp_path, *(["--every", "1", "--changes"] if long else ["--every", "170", "--first", "60", "--most", "2"])
    )
    record_property("kills on disk", done["kills"])
    assert done["kills"] > (700 if long else 1)
    assert done["objects"] > 100


def test_killed_at_every_call_on_s3(long, tmp_path, request, record_property):
    if not long:
        pytest.skip("only in the long form; tests/runs/test_kill.py kills on S3 in the short one")
    done = sweep(tmp_path, "--every", "4", "--s3", *request.getfixturevalue("s3"))
    record_property("kills on seaweedfs", done["kills"])
    assert done["kills"] > 80


def test_out_of_memory(long, tmp_path, record_property):
    """An address space too small for the night, at limits from nothing spare to almost enough."""
    done = sweep(tmp_path, "--memory", "20" if long else "1")
    record_property("nights out of memory", done["starved"])
    assert done["starved"] >= 1


def test_three_times_is_once(place, undisturbed):
    """A task that is retried after it succeeded writes no version and no page again."""
    assert night(place, "first") > 100
    before = {path: path.stat().st_mtime_ns for path in place.folder.rglob("*") if path.is_file()}
    assert [night(place, "second"), night(place, "third")] == [0, 0]
    assert {path: path.stat().st_mtime_ns for path in place.folder.rglob("*") if path.is_file()} == before
    assert stored(place).keys() == undisturbed.keys()


@pytest.mark.parametrize("where", ["disk", "seaweedfs"])
def test_two_nights_of_one_day_at_once(where, request, place, undisturbed, record_property):
    """Nobody is told to wait: each partition gets one version, by whoever was first."""
    if where == "seaweedfs":
        place = request.getfixturevalue("remote")()
    with ThreadPoolExecutor(2) as pool:
        for result in pool.map(lambda n: night(place, "night"), range(2)):
            assert result >= 0
    record_property("rival runs", 2)
    compare(undisturbed, stored(place))
    sound(place, healed=True)


def test_two_hosts_share_nothing_but_the_bucket(remote, template, tmp_path, s3, undisturbed, record_property):
    """The second host has a folder, settings and clock of its own; it finds everything done."""
    first = remote()
    night(first)
    prefix = first.stores()["lake"].url.removeprefix("s3://").removesuffix("/lake")
    second = Place.copy(template, tmp_path / "second", s3=s3, prefix=prefix)
    assert night(second, "another host") == 0
    record_property("rival runs", 2)
    compare(undisturbed, stored(second))


def test_a_zombie_finishes_late(place, monkeypatch, undisturbed):
    """An attempt given up for lost has computed its charges and sleeps; a retry does the whole night; it wakes."""
    zombie, awake = place.jobs("night"), []  # of the same run: a scheduler's retry has its name
    plain = Lake.commit

    def slow(self, p, *args, **kwargs):
        if self is zombie.lake and p.dataset == "charges" and not awake:
            awake.append(night(place))
        return plain(self, p, *args, **kwargs)

    monkeypatch.setattr(Lake, "commit", slow)
    try:
        zombie.run_day(DAY)
    except Stale:
        pytest.fail("what it computed is what is there: no reason to complain")
    assert awake
    compare(undisturbed, stored(place))
    sound(place, healed=True)
