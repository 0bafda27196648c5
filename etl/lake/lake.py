"""Partitions that change by commits: immutable files, a create-only log, and a plain view rolled forward from it."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
import threading
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from etl.lake import checks
from etl.lake.checks import VIEW_FILE, Finding, Inspected
from etl.lake.frames import check, decode, encode, key_columns, same_schema, stack
from etl.lake.model import (
    EXPIRED,
    DataFile,
    Partition,
    Version,
    as_value,
    canonical,
    check_name,
    check_sha,
    check_value,
    expired,
    hist_key,
    log_key,
    sha256,
)
from etl.lake.store import Conflict, Corrupt, Erased, NotFound, Store, StoreError, Unknown, check_key, each

_MARKER = "_lake.json"
_PARQUET = "application/vnd.apache.parquet"
_STALE_TEMPORARY = 24 * 3600.0
_SUFFIX = re.compile(r"\A(\.[a-z0-9]{1,10}){1,3}\Z")
_PIN = re.compile(r"\A[a-z][A-Za-z0-9_.=-]*(/[A-Za-z0-9][A-Za-z0-9_.=-]*)+\Z")
_CREATE_TRIES = 4
_ERASABLE = ("raw", "events")
"""The datasets that hold what people wrote and whom they called. Nothing else is ever erased."""

# stores seen to honour conditions, by identity of place; asked once a process
_admitted: set[tuple[str, str]] = set()


class Stale(Exception):
    """Another commit came first: what was computed rests on an old base. Read the head and the inputs, compute again."""


class Lake:
    """Commits and reads partitions of one store, for one run.

    A commit is the creation of one log entry and nothing else. Files are written before it under the name of their
    content; the view that outsiders read is brought up to the log after it, by whoever comes by. A crash at any
    point leaves either the old version or the new one, and the next run of the same job mends the rest.
    Two live attempts of one job are safe: one creates the entry, the other is `Stale` or finds its own work done.

    `run_id`, `config` and `code` (identifiers or hashes) are recorded with each commit. Threads may share one Lake.
    """

    def __init__(
        self,
        store: Store,
        *,
        run_id: str,
        config: str = "",
        code: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.store = store
        self.run_id = run_id
        self.config = config
        self.code = code
        self._clock = clock
        self._entries: dict[str, Version] = {}
        self._pins: dict[str, bytes] = {}
        self._checked: set[str] = set()
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.Lock()

    # ---------------------------------------------------------------- the log

    def head(self, p: Partition) -> Version | None:
        """The newest version, or None for a partition never written. Ask before reading the inputs of a commit."""
        seq = self._head_seq(p)
        return None if seq is None else self.version(p, seq)

    def heads(self, dataset: str, **keys: str | date | tuple[str | date, str | date]) -> dict[Partition, Version]:
        """The newest version of each partition, sorted by partition.

        A key is one value, or a pair (first, last), both included, compared as text:
        `heads("events", date=("2026-10-01", "2026-10-31"), source="twilio")`. ValueError for a key the dataset
        has not.
        """
        wanted = {name: _bounds(name, value) for name, value in keys.items()}
        root = f"_log/{check_name(dataset)}/"
        found = checks.entries(self.store.list(self._narrow(root, wanted)))
        for partition in found:
            if unknown := set(wanted) - set(partition.names):
                raise ValueError(f"{dataset} is partitioned by {partition.names}, not by {sorted(unknown)}")
        chosen = {
            partition: seqs[-1]
            for partition, seqs in found.items()
            if all(low <= partition[name] <= high for name, (low, high) in wanted.items())
        }
        return dict(zip(chosen, each(self.store, lambda item: self.version(*item), chosen.items()), strict=True))

    def newest(self, dataset: str) -> dict[Partition, int]:
        """The number of each partition's newest version. One listing, and nothing is read."""
        found = checks.entries(self.store.list(f"_log/{check_name(dataset)}/"))
        return {partition: seqs[-1] for partition, seqs in found.items()}

    def history(self, p: Partition) -> list[Version]:
        """Every version, oldest first."""
        return each(self.store, lambda seq: self.version(p, seq), self._seqs(p))

    def version(self, p: Partition, seq: int) -> Version:
        """One version. NotFound if there is none of that number, Corrupt if its entry was tampered with."""
        key = log_key(p, seq)
        if key not in self._entries:
            self._entries[key] = Version.from_json(self.store.get(key), p, seq)
        return self._entries[key]

    def standing(self, v: Version) -> Version:
        """The version itself while its files are there; once retention has erased them, the expired one in its place."""
        if all(self.store.exists(hist_key(v.partition, file.sha256)) for file in v.files):
            return v
        heir = expired(self.history(v.partition))
        return heir if heir and heir.seq > v.seq else v

    # ---------------------------------------------------------------- reading

    def read(self, v: Version, columns: list[str] | None = None) -> pl.DataFrame:
        """The rows of a version, partition keys as columns after the stored ones (`date` as Date, others String).

        Read from history and never through the view, each file checked against its sha256: Corrupt or NotFound
        rather than wrong rows, Erased where retention removed it. SchemaMismatch if its files disagree.
        """
        return stack(self.read_files(v, columns))

    def read_files(
        self,
        v: Version,
        columns: list[str] | None = None,
        numbers: Iterable[int] | None = None,
        newer: Mapping[str, pl.DataType] | None = None,
    ) -> Iterator[pl.DataFrame]:
        """`read`, one file after the other. ``numbers``: only these, from 0. ``newer``: columns that a file written before
        they came into the contract lacks, with their type: null there."""
        yield from self.read_data(v.partition, v.files if numbers is None else [v.files[n] for n in numbers], columns, newer)

    def read_data(
        self,
        p: Partition,
        files: Iterable[DataFile],
        columns: list[str] | None = None,
        newer: Mapping[str, pl.DataType] | None = None,
    ) -> Iterator[pl.DataFrame]:
        """The rows of files of a partition's history, whether or not a version names them."""
        for file in files:
            yield decode(self._data(p, file), file, p, columns, newer)

    def scan(self, versions: Sequence[Version], columns: list[str] | None = None) -> pl.LazyFrame:
        """Several versions as one lazy frame, in the order given, checked like `read` before the first row is used.

        Files of a remote store are copied once into a temporary folder that lives as long as this Lake.
        SchemaMismatch unless all files agree to the last scale of a Decimal; ValueError for no versions at all.
        """
        files = [(v.partition, file) for v in versions for file in v.files]
        if not files:
            raise ValueError("nothing to scan: no versions given, so no schema is known")
        with self._lock:  # a folder made twice is deleted once, under whoever reads from it
            if self._temporary is None:
                self._temporary = tempfile.TemporaryDirectory(prefix="tollbook-")
        paths = each(self.store, lambda item: self._fetch(*item, folder=self._temporary.name), files)
        frames = [
            pl.scan_parquet(path, hive_partitioning=False, glob=False).with_columns(key_columns(partition))
            for (partition, _), path in zip(files, paths, strict=True)
        ]
        same_schema([(f"{p}/{f.sha256[:12]}", x.collect_schema()) for (p, f), x in zip(files, frames, strict=True)])
        whole = pl.concat(frames, how="vertical") if len(frames) > 1 else frames[0]
        return whole if columns is None else whole.select(columns)

    # ---------------------------------------------------------------- writing

    def commit(
        self,
        p: Partition,
        frames: pl.DataFrame | Iterable[pl.DataFrame | DataFile],
        *,
        base: Version | None,
        inputs: Mapping[str, str] | None = None,
        sums: Mapping[str, str] | Callable[[], Mapping[str, str]] | None = None,
        reason: str = "",
    ) -> Version:
        """Make these frames the partition's content, one file a frame (or a file that `put_file` made); ``sums``, if it is a function, is asked after the last.

        `base` is the head as read before the inputs were. If the head has moved since, Stale is raised, unless what
        it moved to is exactly this content. Content equal to the head's adds no version and leaves the view alone
        (a view that lags, and a file lost from history, are mended on the way).
        StoreError means not acknowledged: the same commit may simply be tried again, and finds out how far it came.
        A reason of `EXPIRED` after another one makes a version even of equal content: it says what `erase` may remove.
        """
        if base is not None and base.partition != p:
            raise ValueError(f"the base is a version of {base.partition}, not of {p}")
        inputs = _texts("inputs", inputs)
        self._admit()
        beside_erasing = base is not None and base.reason == EXPIRED
        if beside_erasing and not isinstance(frames, pl.DataFrame):
            frames = list(frames)  # they are needed twice
        files, data = self._write_files(p, frames, base)
        sums = _texts("sums", sums() if callable(sums) else sums)
        same = base is not None and base.files == files
        if same and not (reason == EXPIRED != base.reason):
            return self._settle(p, files, base)
        version = Version(
            partition=p,
            seq=1 if base is None else base.seq + 1,
            files=files,
            parent=None if base is None else base.entry,
            run_id=self.run_id,
            inputs=inputs,
            config=self.config,
            code=self.code,
            rows=sum(file.rows for file in files),
            sums=sums,
            reason=reason,
            recorded_at=self._clock().astimezone(UTC).isoformat(timespec="microseconds"),
        )
        if not self._create(log_key(p, version.seq), version.to_json()):
            return self._settle(p, files, base)
        self._entries[log_key(p, version.seq)] = version
        if beside_erasing:
            # Whoever still erases for the base may have taken a file of ours, unnamed until just now, for an old one.
            self._write_files(p, frames, version)
        self._roll(version, data, fresh=not same)
        return version

    def put_file(self, p: Partition, frame: pl.DataFrame) -> DataFile:
        """Put a frame into the partition's history, for a later `commit`; until then no version names it."""
        self._admit()
        data, file = encode(frame, p)
        key = hist_key(p, file.sha256)
        if self._digest(key) != file.sha256:
            self.store.put(key, data, content_type=_PARQUET)
        return file

    def has_file(self, p: Partition, file: DataFile) -> bool:
        """Whether a file of the partition's history is there, whole."""
        return self._digest(hist_key(p, file.sha256)) == file.sha256

    def erase(self, p: Partition, keep: Callable[[], Collection[str]] = frozenset) -> list[str]:
        """Remove what the history of an expired partition holds beside the newest `EXPIRED` version and those after it;
        blobs stay whose sha256 ``keep`` names, which is asked again when the log has moved. Returns the keys. The log
        stays whole.

        To be called after the commit, and again by whoever finds it half done. ValueError for a dataset that is never
        erased, or a partition that did not expire.
        """
        if p.dataset not in _ERASABLE or expired(self.history(p)) is None:
            raise ValueError(f"{p} has not expired: nothing of it may be erased")
        seen = self._seqs(p)
        named = self._named(p) | {*keep()}
        gone = [k for k in self.store.list(f"_hist/{p.path}/") if _name_of(k) not in named]

        def remove(key: str) -> None:
            try:
                data = self.store.get(key)
            except NotFound:
                return  # another who erases was first
            self.store.delete(key)
            # A rival may have named it just before it went: the second look that a commit takes at the log, too.
            is_file, back = key.endswith(".parquet"), True
            try:
                back = self._seqs(p) != seen and _name_of(key) in (self._named(p) if is_file else {*keep()})
            finally:  # where it cannot be told, it comes back
                if back:
                    self.store.put(key, data, content_type=_PARQUET if is_file else None)

        files = [key for key in gone if key.endswith(".parquet")]
        each(self.store, remove, files)
        each(self.store, remove, [key for key in gone if key not in files])  # after the files that may name them
        return gone

    def put_blob(self, dataset: str, data: bytes, suffix: str, *, p: Partition | None = None) -> str:
        """Keep bytes as they are under the name of their content, in `_hist/<dataset>/` or the folder of `p`.

        Returns the sha256. Writing the same bytes again changes nothing. The suffix looks like `.json.gz`.
        """
        self._admit()
        sha = sha256(data)
        key = self._blob_key(dataset, sha, suffix, p)
        if self._digest(key) != sha:
            self.store.put(key, data)
        return sha

    def has_blob(self, dataset: str, sha: str, suffix: str, *, p: Partition | None = None) -> bool:
        """Whether a blob is there. Whoever commits rows that name blobs asks after the commit: a rival that erases may have
        taken one that nothing named before."""
        return self.store.exists(self._blob_key(dataset, check_sha(sha), suffix, p))

    def get_blob(self, dataset: str, sha: str, suffix: str | None = None, *, p: Partition | None = None) -> bytes:
        """The bytes kept under that sha256 (without `suffix`, found by one listing). NotFound, or Corrupt."""
        check_sha(sha)
        if suffix is None:
            prefix = self._blob_key(dataset, sha, "", p)
            key = next(self.store.list(prefix, limit=1), None)
            if key is None:
                raise NotFound(prefix)
        else:
            key = self._blob_key(dataset, sha, suffix, p)
        data = self.store.get(key)
        if sha256(data) != sha:
            raise Corrupt(f"{key}: its bytes are {sha256(data)}")
        return data

    def pin(self, key: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Create a JSON document once and for all, such as `close/period=2026-10/rev=0001`.

        Returns it. The same document again is no error (put the run id inside if only one run may own it);
        another document under a taken key is a Conflict.
        """
        self._admit()
        data = canonical(document)
        if not self._create(_pin_key(key), data):
            raise Conflict(f"{key} is pinned already, with other content")
        return json.loads(data)

    def get_pin(self, key: str) -> dict[str, Any]:
        """A pinned document. NotFound if there is none. It never changes, so it is read once."""
        if key not in self._pins:
            self._pins[key] = self.store.get(_pin_key(key))
        return json.loads(self._pins[key])

    def list_pins(self, prefix: str) -> list[str]:
        """The keys of pinned documents that start with a prefix such as `close/`, sorted."""
        if not re.match(r"\A[a-z][A-Za-z0-9_.=/-]*\Z", prefix) or ".." in prefix:
            raise ValueError(f"not a prefix of pinned documents: {prefix!r}")
        return sorted(k.removesuffix(".json") for k in self.store.list(prefix) if k.endswith(".json"))

    # ---------------------------------------------------------------- upkeep

    def heal(self, dataset: str | None = None, **keys: str | date | tuple[str | date, str | date]) -> list[str]:
        """Bring lagging views up to their log heads and sweep temporary files older than a day.

        Returns the keys it wrote or removed. Corrupt or NotFound if a head cannot be served from history.
        """
        changed = list(self.store.sweep(_STALE_TEMPORARY))
        names = [dataset] if dataset else sorted({p.dataset for p in checks.entries(self.store.list("_log/"))})
        for name in names:
            heads = self.heads(name, **keys).values()
            for wrote in each(self.store, lambda head: self._roll(head, {}, fresh=False), heads):
                changed += wrote
        return changed

    def audit(self, dataset: str | None = None, *, deep: bool = True) -> list[Finding]:
        """Check logs, history and view against one another; see `etl.lake.checks`. Empty when all is well."""
        return checks.audit(self.store, dataset, deep=deep)

    def inspect(self, p: Partition, *, deep: bool = True) -> tuple[list[Version], list[Finding]]:
        """`audit` of one partition, with its readable versions, oldest first."""
        return checks.inspect(self.store, p, deep=deep)

    def inspect_all(self, partitions: Iterable[Partition], *, deep: bool = True) -> dict[Partition, Inspected]:
        """`inspect` of many partitions: three listings for those of one dataset and month instead of three for each, and
        what remains several at a time. Without ``deep`` a log entry that this Lake has read is not read again."""
        wanted = list(dict.fromkeys(partitions))
        groups: dict[tuple[str, str], list[Partition]] = {}
        for p in wanted:
            groups.setdefault((p.dataset, p.keys[0][1][:7]), []).append(p)
        prefixes = [checks.covering(group) for group in groups.values()]

        def listed(root: str) -> dict[str, list[str]]:
            found = each(self.store, lambda prefix: list(self.store.list(root + prefix)), prefixes)
            return checks.by_folder(key for keys in found for key in keys)

        # The log first: what an entry names was written before it.
        log, history, view = listed("_log/"), listed("_hist/"), listed("")

        def entry(key: str) -> bytes:
            known = None if deep else self._entries.get(key)
            return self.store.get(key) if known is None else known.to_json()

        def inspect(p: Partition) -> Inspected:
            stored = set(history.get(f"_hist/{p.path}", ()))
            logged, shown = log.get(f"_log/{p.path}", []), view.get(p.path, [])
            found = checks.listed(self.store, p, logged, stored, shown, entry, deep=deep)
            self._entries.update((log_key(p, v.seq), v) for v in found.versions)
            return found

        return dict(zip(wanted, each(self.store, inspect, wanted), strict=True))

    def fetch(self, versions: Iterable[Version]) -> None:
        """Copy the files of these versions to this machine's disk, for `scan`; those that cannot be had are left to it."""
        with self._lock:
            if self._temporary is None:
                self._temporary = tempfile.TemporaryDirectory(prefix="tollbook-")

        def copy(item: tuple[Partition, DataFile]) -> None:
            with contextlib.suppress(StoreError):
                self._fetch(*item, folder=self._temporary.name)

        each(self.store, copy, [(v.partition, file) for v in versions for file in v.files])

    # ---------------------------------------------------------------- inside

    def _admit(self) -> None:
        """Refuse a store that lets a creation overwrite. One request, once a process and store."""
        place = (self.store.url, getattr(self.store, "endpoint", ""))
        if self.store.single_writer or place in _admitted:
            return
        marker = canonical({"format": 1, "lake": "tollbook"})
        for _ in range(2):  # the first creation of all succeeds by right, the second never may
            try:
                self.store.create(_MARKER, marker)
            except Conflict:
                _admitted.add(place)
                return
        raise StoreError(
            f"{self.store.url} ignores conditional writes: two jobs at once would destroy each other's commits. "
            "Use another store, or set single_writer = true and make sure that only one job writes at a time."
        )

    def _head_seq(self, p: Partition) -> int | None:
        return max(self._seqs(p), default=None)

    def _seqs(self, p: Partition) -> list[int]:
        return checks.entries(self.store.list(f"_log/{p.path}/")).get(p, [])

    def _narrow(self, root: str, wanted: Mapping[str, tuple[str, str]]) -> str:
        """The longest listing prefix that still covers what is wanted; one cheap look tells the order of keys."""
        first = next(self.store.list(root, limit=1), None) if wanted else None
        prefix = root
        for folder in first[len(root) :].split("/")[:-1] if first else ():
            name = folder.partition("=")[0]
            if name not in wanted:
                break
            low, high = wanted[name]
            if low != high:
                same = next((i for i, pair in enumerate(zip(low, high, strict=False)) if pair[0] != pair[1]), None)
                return f"{prefix}{name}={low[: min(len(low), len(high)) if same is None else same]}"
            prefix += f"{name}={low}/"
        return prefix

    def _write_files(
        self, p: Partition, frames: pl.DataFrame | Iterable[pl.DataFrame | DataFile], base: Version | None
    ) -> tuple[tuple[DataFile, ...], dict[str, bytes]]:
        """Put what history has not yet; returns the files, and the bytes of a single one for the view."""
        known = {file.sha256 for file in base.files} if base else set()
        files: list[DataFile] = []
        data: dict[str, bytes] = {}
        first: pl.Schema | None = None
        for frame in [frames] if isinstance(frames, pl.DataFrame) else frames:
            if isinstance(frame, DataFile):
                if self._digest(hist_key(p, frame.sha256)) != frame.sha256:
                    raise NotFound(hist_key(p, frame.sha256))
                files.append(frame)
                continue
            first = first or frame.schema
            same_schema([("frame 0", first), (f"frame {len(files)}", frame.schema)])
            encoded, file = encode(frame, p)
            key = hist_key(p, file.sha256)
            # what the base names was written once: put it again only if it has been lost or damaged since
            if file.sha256 not in known or self._digest(key) != file.sha256:
                self.store.put(key, encoded, content_type=_PARQUET)
            files.append(file)
            data = {file.sha256: encoded}  # only the last, so that a day of many shards does not pile up in memory
        if not files:
            raise ValueError(f"no frame for {p}: an empty partition is an empty frame with its columns")
        return tuple(files), data

    def _create(self, key: str, data: bytes) -> bool:
        """Create, settling lost answers by reading back. False if the key holds something else.

        StoreError if it stays unknown; then it may yet appear, and a later attempt will find it.
        """
        for _ in range(_CREATE_TRIES):
            try:
                if self.store.single_writer and self.store.exists(key):
                    raise Conflict(key)
                self.store.create(key, data)
                return True
            except (Conflict, Unknown) as error:
                failure = error
            try:
                # ours, if our first answer was lost and the transport repeated the request
                return self.store.get(key) == data
            except NotFound:
                if isinstance(failure, Unknown):
                    raise failure from None
        raise StoreError(f"{key}: refused as taken, yet it is not there") from failure

    def _settle(self, p: Partition, files: tuple[DataFile, ...], base: Version | None) -> Version:
        """The head, if it holds exactly these files; Stale otherwise."""
        head = self.head(p)
        if head is None or head.files != files:
            moved = f"from {base.seq if base else 'nothing'} to {head.seq if head else 'nothing'}"
            raise Stale(f"{p}: the head moved {moved} while this commit was computed")
        self._roll(head, {}, fresh=False)
        return head

    def _roll(self, version: Version, data: dict[str, bytes], *, fresh: bool) -> list[str]:
        """Publish, then look whether the log has moved on meanwhile, until it has not.

        Without the second look a writer that slept between log and view would leave an old view behind.
        """
        changed = wrote = self._publish(version, data, fresh=fresh)
        while wrote and (seq := self._head_seq(version.partition)) not in (None, version.seq):
            version = self.version(version.partition, seq)
            wrote = self._publish(version, {}, fresh=False)
            changed = changed + wrote
        return changed

    def _publish(self, version: Version, data: dict[str, bytes], *, fresh: bool) -> list[str]:
        changed = []
        for key, file in zip(version.view_keys, version.files, strict=True):
            # identical bytes are not rewritten: a re-run must not disturb those who read the view
            if fresh and len(version.files) == 1 or self._digest(key) != file.sha256:
                content = data.get(file.sha256)
                if content is None:
                    content = self.store.get(hist_key(version.partition, file.sha256))
                check(content, file, version.partition)
                self.store.put(key, content, content_type=_PARQUET)
                changed.append(key)
        folder = version.partition.path + "/"
        for key in self.store.list(folder):
            if key not in version.view_keys and VIEW_FILE.match(key[len(folder) :]):
                self.store.delete(key)
                changed.append(key)
        return changed

    def _named(self, p: Partition) -> set[str]:
        """The files of the newest expired version and of those after it."""
        versions = self.history(p)
        since = expired(versions)
        return {file.sha256 for v in versions if since is None or v.seq >= since.seq for file in v.files}

    def _data(self, p: Partition, file: DataFile) -> bytes:
        try:
            return self.store.get(hist_key(p, file.sha256))
        except NotFound as error:
            raise self._lost(p, file, error) from None

    def _lost(self, p: Partition, file: DataFile, error: NotFound) -> NotFound:
        """What it means that a file is not there: `Erased`, where a later version says so, else as it was."""
        versions = self.history(p)
        heir = expired(versions)
        if heir is None or any(file in version.files for version in versions if version.seq >= heir.seq):
            return error
        return Erased(f"{p}: erased by retention on {heir.recorded_at[:10]}; version {heir.seq} is in its place")

    def _digest(self, key: str) -> str | None:
        try:
            return self.store.digest(key)
        except NotFound:
            return None

    def _fetch(self, partition: Partition, file: DataFile, folder: str) -> Path:
        """A checked file on this machine's disk."""
        key = hist_key(partition, file.sha256)
        path = self.store.local_path(key)
        if path is not None:
            if key not in self._checked:
                try:
                    found = self.store.digest(key)
                except NotFound as error:
                    raise self._lost(partition, file, error) from None
                if found != file.sha256:
                    raise Corrupt(f"{key}: its bytes are {found}")
                self._checked.add(key)
            return path
        path = Path(folder) / f"{file.sha256}.parquet"
        if not path.exists():
            data = self._data(partition, file)
            check(data, file, partition)
            half = path.with_suffix(f".{uuid.uuid4().hex}")
            half.write_bytes(data)
            half.replace(path)
        return path

    def _blob_key(self, dataset: str, sha: str, suffix: str, p: Partition | None) -> str:
        if p is not None and p.dataset != dataset:
            raise ValueError(f"{p} is no partition of {dataset}")
        if suffix and (not _SUFFIX.match(suffix) or suffix == ".parquet"):
            raise ValueError(f"not a suffix for a blob: {suffix!r}")
        return f"_hist/{p.path if p else check_name(dataset)}/{sha}{suffix}"


def _bounds(name: str, value: str | date | tuple[str | date, str | date]) -> tuple[str, str]:
    low, high = value if isinstance(value, tuple) else (value, value)
    return check_value(name, as_value(low)), check_value(name, as_value(high))


def _texts(what: str, given: Mapping[str, str] | None) -> dict[str, str]:
    """A plain dictionary of text, for a number has several spellings and a log entry only one."""
    found = dict(given or {})
    if not all(isinstance(text, str) for pair in found.items() for text in pair):
        raise TypeError(f"{what} map text to text, not {found!r}")
    return found


def _name_of(key: str) -> str:
    """The sha256 in an object's name."""
    return key.rpartition("/")[2].partition(".")[0]


def _pin_key(key: str) -> str:
    key = key.removesuffix(".json")
    if not _PIN.match(key):
        raise ValueError(f"not a key for a pinned document: {key!r}")
    return check_key(key + ".json")
