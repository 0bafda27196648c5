"""Local disk: kill -9, the order of fsync, full and failing disks."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lakehelp import frame

from etl.lake import Conflict, Lake, Partition, StoreError, open_store

HERE = Path(__file__).parent


def test_kill_at_every_change_then_a_clean_run(tmp_path, long, record_property):
    path = ":".join([str(HERE.parents[1]), *sys.path])
    done = subprocess.run(
        [sys.executable, str(HERE / "killsweep.py"), str(tmp_path), *["--all"] * long],
        env=os.environ | {"PYTHONPATH": path, "POLARS_MAX_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = map(int, done.stdout.split())
    assert first > 40
    assert second > 40
    record_property("kills on disk", first + second)


class Recorder:
    """Notes the system calls a store makes, with the paths behind file descriptors."""

    def __init__(self, monkeypatch, root: Path) -> None:
        self.calls: list[tuple[str, str]] = []
        self.root = root
        self.names: dict[int, str] = {}
        for name in ("open", "write", "fsync", "replace", "link", "unlink", "mkdir"):
            monkeypatch.setattr(os, name, self._recorded(name, getattr(os, name)))

    def _recorded(self, name, real):
        def call(*args, **kwargs):
            result = real(*args, **kwargs)
            if name == "open":
                self.names[result] = self._short(args[0])
                self.calls.append(
                    ("create" if args[1] & os.O_CREAT and args[1] & os.O_EXCL else "open", self.names[result])
                )
            elif name in ("write", "fsync"):
                self.calls.append((name, self.names.get(args[0], "?")))
            else:
                self.calls.append(
                    (name, " > ".join(self._short(path) for path in args if isinstance(path, str | Path)))
                )
            return result

        return call

    def _short(self, path) -> str:
        path = Path(path)
        if path == self.root:
            return "."
        name = path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else "above"
        return "T" if name.startswith(".tmp/") else name


@pytest.mark.parametrize(("write", "publish"), [("put", "replace"), ("create", "link")])
def test_each_write_is_durable_before_it_is_acknowledged(tmp_path, monkeypatch, write, publish):
    root = tmp_path / "lake"
    root.mkdir()
    store = open_store(root)
    recorder = Recorder(monkeypatch, root)
    getattr(store, write)("a/b/file", b"data")
    assert recorder.calls == [
        ("mkdir", ".tmp"), ("open", "."), ("fsync", "."),
        ("mkdir", "a"), ("open", "."), ("fsync", "."),
        ("mkdir", "a/b"), ("open", "a"), ("fsync", "a"),
        ("create", "T"), ("write", "T"), ("fsync", "T"),
        (publish, "T > a/b/file"), ("open", "a/b"), ("fsync", "a/b"),
        *([("unlink", "T")] if write == "create" else []),
    ]  # fmt: skip
    recorder.calls.clear()
    getattr(store, write)("a/b/second", b"data")
    assert [name for name, _ in recorder.calls][:5] == ["create", "write", "fsync", publish, "open"]


def test_a_commit_is_written_in_order(local_lake, local_store, monkeypatch, p):
    recorder = Recorder(monkeypatch, local_store.root)
    local_lake.commit(p, frame(1), base=None)
    published = [what.split(" > ")[1].split("/")[0] for name, what in recorder.calls if name in ("link", "replace")]
    assert published == ["_lake.json", "_hist", "_log", "events"]


def test_a_new_root_is_made_durable(tmp_path, monkeypatch):
    root = tmp_path / "new" / "lake"
    synced = set()
    real = os.fsync

    def record(handle):
        synced.add(Path(f"/proc/self/fd/{handle}").readlink())
        real(handle)

    monkeypatch.setattr(os, "fsync", record)
    open_store(root).put("x", b"1")
    assert {tmp_path, tmp_path / "new", root} <= synced


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("call", ["write", "fsync", "open", "replace", "link", "mkdir"])
def test_a_failing_disk_leaves_the_old_version(tmp_path, monkeypatch, p, call, number):
    store = open_store(tmp_path / "lake")
    lake = Lake(store, run_id="run-1")
    old = lake.commit(p, frame(1), base=None)
    q = Partition.of("events", date="2026-10-02", source="twilio")
    view = store.get(old.view_keys[0])
    real = getattr(os, call)
    for nth in range(1, 12):
        count = 0

        def failing(*args, nth=nth, **kwargs):
            nonlocal count
            count += 1
            if count == nth:
                raise OSError(number, os.strerror(number))
            return real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            fresh = Lake(open_store(tmp_path / "lake"), run_id="run-2")
            for partition, base, value in ((p, fresh.head(p), 2), (q, fresh.head(q), nth)):
                try:
                    fresh.commit(partition, frame(value), base=base)
                except StoreError as error:
                    assert os.strerror(number) in str(error)  # noqa: PT017
        assert list((store.root / ".tmp").iterdir()) == []
        head = Lake(store, run_id="reader").head(p)
        assert store.get(head.view_keys[0]) in (view, store.get(f"_hist/{p.path}/{head.sha256}.parquet"))
        assert not [f for f in Lake(store, run_id="auditor").audit() if f.level == "error"]
    lake = Lake(store, run_id="run-3")
    assert lake.commit(p, frame(2), base=lake.head(p)).seq == 2
    lake.heal()
    assert not [f for f in lake.audit() if f.level != "note"]


def test_no_file_is_left_open(local_lake, local_store, p):
    local_lake.commit(p, frame(0), base=None)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for n in range(1, 4):
        version = local_lake.commit(p, frame(n), base=local_lake.head(p))
        local_store.delete(version.view_keys[0])
        local_lake.heal()
    with pytest.raises(Conflict):
        local_store.create(f"_log/{p.path}/00000001.json", b"")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_link_to_a_folder_is_not_followed(local_store):
    local_store.put("a/1", b"x")
    (local_store.root / "a" / "again").symlink_to(local_store.root, target_is_directory=True)
    assert "a/1" in list(local_store.list(""))
    assert not [key for key in local_store.list("") if key.startswith("a/again/")]


def test_short_writes_are_continued(local_store, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, bytes(data[:3])))
    local_store.put("a", b"0123456789")
    assert local_store.get("a") == b"0123456789"


def test_failing_fsync_of_the_folder_is_not_acknowledged(local_lake, local_store, monkeypatch, p):
    local_lake._admit()
    real = os.fsync

    def failing(handle):
        if str(Path(f"/proc/self/fd/{handle}").readlink()).endswith("_log/" + p.path):
            raise OSError(errno.EIO, "Input/output error")
        return real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(StoreError, match="Input/output"):
            local_lake.commit(p, frame(1), base=None)
    again = Lake(local_store, run_id="run-2")
    assert again.commit(p, frame(1), base=again.head(p)).seq == 1
    assert again.audit() == []


def test_a_read_only_folder_says_so(local_store, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    local_store.put("a", b"old")
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreError, match="Permission denied"):
        local_store.put("a", b"new")
    assert local_store.get("a") == b"old"


def test_a_file_system_without_links_says_what_is_missing(local_store, monkeypatch):
    def refuse(*args):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StoreError, match="no hard links"):
        local_store.create("a", b"x")


def test_old_temporary_files_are_swept_young_ones_are_not(local_lake, local_store, p):
    local_lake.commit(p, frame(1), base=None)
    folder = local_store.root / ".tmp"
    for name, age in (("old", 24.01), ("young", 23.99)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, times=(time.time() - age * 3600,) * 2)
    assert local_lake.heal() == [".tmp/old"]
    assert [path.name for path in folder.iterdir()] == ["young"]
    assert list(local_store.list("")) == list(local_store.list("_")) + list(local_store.list("events/"))
