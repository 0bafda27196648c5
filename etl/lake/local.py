"""A lake on a local disk: atomic by rename(2) and link(2), durable by fsync of file and folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from etl.lake.store import Conflict, NotFound, StoreError, check_key

_TMP = ".tmp"


class LocalStore:
    """Objects are files below `root`; half-written ones live only in `root/.tmp`, outside every glob.

    The order of each write is open (exclusive) → write → fsync(file) → rename or link → fsync(folder), and a folder
    met for the first time is made durable in its own parent. A failing fsync aborts: it is never tried again on the
    same file, for the kernel may have dropped the dirty pages while reporting the error.
    """

    parallel = 1

    def __init__(self, root: Path, *, single_writer: bool = False) -> None:
        self.root = Path(root).absolute()
        self.url = self.root.as_uri()
        self.single_writer = single_writer
        self._durable: set[Path] = set()

    def local_path(self, key: str) -> Path:
        return self.root / check_key(key)

    def get(self, key: str) -> bytes:
        path = self.local_path(key)
        try:
            return path.read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFound(key) from None
        except OSError as error:
            raise StoreError(f"cannot read {key}: {error}") from error

    def put(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str | None = None,
        cache_control: str | None = None,
        disposition: str | None = None,
    ) -> None:
        self._write(key, data, os.replace)

    def create(self, key: str, data: bytes) -> None:
        self._write(key, data, os.link)

    def digest(self, key: str) -> str:
        path = self.local_path(key)
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFound(key) from None
        except OSError as error:
            raise StoreError(f"cannot read {key}: {error}") from error

    def exists(self, key: str) -> bool:
        return self.local_path(key).is_file()

    def list(self, prefix: str, *, limit: int | None = None) -> Iterator[str]:
        folder = prefix.rpartition("/")[0]
        if folder:
            check_key(folder)
        left = limit
        for key in self._walk(self.root / folder, folder + "/" if folder else "", prefix):
            if left is not None and left <= 0:
                return
            yield key
            left = None if left is None else left - 1

    def delete(self, key: str) -> None:
        path = self.local_path(key)
        try:
            path.unlink()
            _fsync_folder(path.parent)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise StoreError(f"cannot delete {key}: {error}") from error

    def sweep(self, older_than: float) -> Sequence[str]:
        swept = []
        folder = self.root / _TMP
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            with contextlib.suppress(FileNotFoundError):  # its writer finished, or another sweep was faster
                if time.time() - path.stat().st_mtime > older_than:
                    path.unlink()
                    swept.append(f"{_TMP}/{path.name}")
        return swept

    def _walk(self, folder: Path, at: str, prefix: str) -> Iterator[str]:
        try:
            with os.scandir(folder) as entries:
                # a folder sorts as "name/", which is how S3 sorts the keys below it
                found = sorted((entry.name + "/" * entry.is_dir(follow_symlinks=False)) for entry in entries)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise StoreError(f"cannot list {at or '/'}: {error}") from error
        for name in found:
            key = at + name
            if name.startswith(".") or not (key.startswith(prefix) or prefix.startswith(key)):
                continue
            if name.endswith("/"):
                yield from self._walk(folder / name, key, prefix)
            elif key.startswith(prefix):
                yield key

    def _write(self, key: str, data: bytes, publish) -> None:
        target = self.local_path(key)
        temporary = self.root / _TMP / uuid.uuid4().hex
        try:
            try:
                self._make(temporary.parent)
                self._make(target.parent)
                _write_new(temporary, data)
                publish(temporary, target)
                _fsync_folder(target.parent)
            finally:
                # around the whole write: a full disk must not be filled further with leftovers
                with contextlib.suppress(FileNotFoundError):
                    temporary.unlink()
        except FileExistsError:
            raise Conflict(key) from None
        except OSError as error:
            hint = ""
            if publish is os.link and error.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.EXDEV, errno.EMLINK):
                hint = "; this file system has no hard links, which creating without overwriting needs"
            raise StoreError(f"cannot write {key}: {error}{hint}") from error

    def _make(self, folder: Path) -> None:
        """Make a folder and those above it. Each is made durable once a process, whoever made it."""
        if folder in self._durable:
            if folder.is_dir():
                return
            self._durable.discard(folder)
        if folder != self.root:
            self._make(folder.parent)
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
            _fsync_folder(folder.parent)
        else:
            missing = [path for path in (folder, *folder.parents) if not path.exists()]
            for path in reversed(missing):
                path.mkdir(exist_ok=True)
                _fsync_folder(path.parent)
        self._durable.add(folder)


def _write_new(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _fsync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
