"""One small interface over local disk and S3. Everything the lake promises rests on `create`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

_SEGMENT = re.compile(r"\A[A-Za-z0-9_][A-Za-z0-9_.=-]{0,199}\Z")

_T = TypeVar("_T")
_R = TypeVar("_R")


class StoreError(Exception):
    """The store could not do what was asked. Nothing was acknowledged."""


class NotFound(StoreError):
    """No object has this key."""


class Erased(NotFound):
    """The object was removed on purpose, because what it held may be kept no longer."""


class Conflict(StoreError):
    """`create` met an object that exists already (or a rival creating it at this moment)."""


class Unknown(StoreError):
    """The answer to a write was lost: it may have happened, or may still. Read back before concluding."""


class Corrupt(StoreError):
    """Stored bytes do not match the sha256 recorded for them."""


class Store(Protocol):
    """A flat map from key to bytes. Keys are `/`-separated segments that `check_key` accepts.

    Reads see whole objects only, never a part of one. Writes are durable when the call returns.
    """

    url: str
    single_writer: bool
    parallel: int
    """How many calls at a time are worth making (1 on local disk)."""

    def get(self, key: str) -> bytes:
        """The whole object. NotFound if there is none; transport errors, body read included, are retried first."""

    def put(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str | None = None,
        cache_control: str | None = None,
        disposition: str | None = None,
    ) -> None:
        """Write or replace atomically: a reader sees the old bytes or the new ones."""

    def create(self, key: str, data: bytes) -> None:
        """Write only if the key is free, else Conflict. Unknown if the answer was lost: the caller reads back."""

    def digest(self, key: str) -> str:
        """The sha256 of the stored bytes, without fetching them where the store remembers it. NotFound if absent."""

    def exists(self, key: str) -> bool: ...

    def list(self, prefix: str, *, limit: int | None = None) -> Iterator[str]:
        """Keys that start with `prefix`, sorted by code point, however many there are.

        With `limit`, so many of them at most, whichever the server names first.
        """

    def delete(self, key: str) -> None:
        """Remove the object; no error if it is gone already."""

    def sweep(self, older_than: float) -> Sequence[str]:
        """Remove temporary files of crashed writers, older than so many seconds; returns their names."""

    def local_path(self, key: str) -> Path | None:
        """Where the object lies on this machine's disk, or None if it does not."""


def each(store: Store, work: Callable[[_T], _R], items: Iterable[_T]) -> list[_R]:
    """What ``work`` makes of each item, in order, by as many calls at a time as the store is worth."""
    todo = list(items)
    if store.parallel < 2 or len(todo) < 2:
        return [work(item) for item in todo]
    with ThreadPoolExecutor(min(store.parallel, len(todo))) as pool:
        return list(pool.map(work, todo))


def check_key(key: str) -> str:
    """The key itself, or ValueError. An allow-list: nothing is escaped, so no key can leave the lake's root."""
    if not all(_SEGMENT.match(part) for part in key.split("/")) or len(key) > 900:
        raise ValueError(f"not a storable key: {key!r}")
    return key
