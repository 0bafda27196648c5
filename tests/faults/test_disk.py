"""Disks that are full, fail, refuse, or change what was written: a whole night; single commits are in tests/lake/."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from killrun import compare
from smallnight import DAY, ROOT, Place, night, sound, stored

from etl.audit import BROKEN
from etl.lake import Corrupt, Lake, Partition, StoreError

ROOM = 4096
"""What the smallest file takes on tmpfs."""


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """A file system of so many bytes in memory, mounted on the folder. Skips where mounting is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tollbook-test", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small file system can only be mounted by root: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def used(folder: Path) -> int:
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def test_a_full_disk(template, tmp_path, long, undisturbed, record_property):
    """Full again and again, at raw pages, data, log, views and pages. Each time a sentence and nothing half-written; with
    a little more room it comes a little further."""
    step = ROOM if long else 200 * ROOM // 3
    full, met = 0, set()
    with small_disk(tmp_path / "disk", 64 << 20):
        place = Place.copy(template, tmp_path / "disk" / "place")
        size = used(tmp_path / "disk") + 3 * ROOM
        while True:
            remount(tmp_path / "disk", f"size={size}")
            try:
                night(place)
                break
            except (StoreError, RuntimeError) as error:
                assert os.strerror(errno.ENOSPC) in str(error)  # noqa: PT017
                met |= {key.split("/")[0] for key in re.findall(r"cannot write ([^:]+):", str(error))}
            full += 1
            if (place.folder / "lake").exists():
                sound(place, healed=False)
            assert not [path for path in place.folder.rglob(".tmp/*")], (
                "a full disk is not filled further with leftovers"
            )
            size += step
        compare(undisturbed, stored(place))
        sound(place, healed=True)
    record_property("full disks", full)
    assert full >= (60 if long else 3)
    if long:
        assert {"_hist", "_log", "events", "daily", "statement", "close", "acct_clinic"} <= met


def test_no_room_for_the_copies_a_run_works_on(remote, tmp_path, monkeypatch, undisturbed):
    """A lake in S3 is read through a folder of temporary files."""
    place = remote()
    with small_disk(tmp_path / "temporary", ROOM), monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
        with pytest.raises((StoreError, OSError), match=os.strerror(errno.ENOSPC)):
            night(place)
    sound(place, healed=False)
    night(place)
    compare(undisturbed, stored(place))


def command(place: Place, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "etl", "run", "--date", str(DAY), "--config", str(place.settings)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, **options,
    )  # fmt: skip


def test_a_quota(place, undisturbed):
    """No file may be larger than 2 KiB, as a quota has it: the command says so, with exit code 1 and no traceback."""
    done = command(place, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048)))
    assert done.returncode == 1, done.stderr
    assert "cannot write _hist/" in done.stderr
    assert os.strerror(errno.EFBIG) in done.stderr
    assert "Traceback" not in done.stderr
    night(place)
    compare(undisturbed, stored(place))


def test_a_lake_that_may_only_be_read(place, undisturbed, tmp_path):
    lake = place.folder / "lake"
    with contextlib.ExitStack() as stack:
        if os.getuid() == 0:  # whom permissions do not stop
            stack.enter_context(small_disk(lake, 64 << 20))
            closed, opened = (lambda: remount(lake, "ro")), (lambda: remount(lake, "rw"))
        else:
            lake.mkdir()
            closed, opened = (lambda: lake.chmod(0o555)), (lambda: lake.chmod(0o755))
        closed()
        with pytest.raises(StoreError, match="cannot write .*(Read-only|Permission denied)"):
            night(place)
        assert list(lake.iterdir()) == []
        opened()
        night(place)
        compare(undisturbed, stored(place))


@pytest.mark.parametrize("nth", [1, 30, 200])
def test_an_fsync_that_fails_ends_the_night(place, monkeypatch, nth, undisturbed):
    """EIO on one fsync: it is never asked again of the same file, and nothing after it is written."""
    count, failed = 0, []
    real = os.fsync

    def failing(handle):
        nonlocal count
        count += 1
        if count == nth:
            failed.append(Path(f"/proc/self/fd/{handle}").readlink())
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        assert not failed or Path(f"/proc/self/fd/{handle}").readlink() != failed[0], "asked again"
        return real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises((StoreError, RuntimeError), match=os.strerror(errno.EIO)):
            night(place)
    sound(place, healed=False)
    night(place)
    compare(undisturbed, stored(place))


def test_what_crashed_writers_left_is_swept_and_never_read(place, undisturbed):
    night(place)
    folder = place.folder / "lake" / ".tmp"
    for name, hours in (("old", 25), ("young", 1)):
        (folder / name).write_bytes(b"PAR1 half a file")
        os.utime(folder / name, times=(time.time() - hours * 3600,) * 2)
    assert stored(place) == undisturbed
    assert not [p for p in (place.folder / "lake").glob("*/*/**/*.parquet") if ".tmp" in p.parts]
    night(place)
    assert [path.name for path in folder.iterdir()] == ["young"]
    sound(place, healed=True)


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize("damage", [flipped, cut])
def test_damage_is_named_and_never_read(place, damage, long, undisturbed, record_property):
    """One bit, or half a file, of history, a raw page or a view. A view is written anew; the others raise the alarm."""
    night(place)
    lake = place.folder / "lake"
    objects = sorted(p for p in lake.rglob("*") if p.suffix in (".parquet", ".gz"))
    assert len(objects) > 20
    chosen = objects if long else [p for p in objects if "/events/" in p.as_posix() or p.suffix == ".gz"]
    for path in chosen:
        key = path.relative_to(lake).as_posix()
        whole = path.read_bytes()
        path.write_bytes(damage(whole))
        results = [r for r in place.jobs().audit([DAY], deep=True) if r.verdict == BROKEN]
        partition = key.removeprefix("_hist/").rpartition("/")[0]
        assert any(partition in f"{r.where} {r.finding}" for r in results), f"nobody noticed {key}: {results}"
        assert all(r.remedy for r in results)
        if key.startswith("_hist/"):
            if path.suffix == ".parquet":
                fresh = Lake(place.stores()["lake"], run_id="reader")
                with pytest.raises(Corrupt):
                    fresh.read(fresh.head(Partition.parse(partition)))
            path.write_bytes(whole)
        else:
            night(place)
    record_property("damaged objects", len(chosen))
    compare(undisturbed, stored(place))
    sound(place, healed=True)


def test_a_log_entry_that_is_cut_raises_the_alarm(place, long):
    night(place)
    entries = sorted((place.folder / "lake" / "_log").rglob("*.json"))
    for path in entries if long else entries[:2]:
        whole = path.read_bytes()
        path.write_bytes(cut(whole))
        broken = [r for r in place.jobs().audit([DAY]) if r.verdict == BROKEN]
        assert any(r.invariant == "log whole" and path.parent.name in r.where for r in broken)
        path.write_bytes(whole)
    assert not [r for r in place.jobs().audit([DAY]) if r.verdict == BROKEN]
