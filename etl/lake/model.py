"""What the log records: partitions, data files, versions; and their one canonical spelling in JSON."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from etl.lake.store import Corrupt

FORMAT = 1
EXPIRED = "expire"
"""The reason of a version whose rows were rewritten without what may be kept no longer: files that only versions before
it name may be gone."""
_NAME = re.compile(r"\A[a-z][a-z0-9_]{0,63}\Z")
_VALUE = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_SHA = re.compile(r"\A[0-9a-f]{64}\Z")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def canonical(document: Any) -> bytes:
    """JSON with one spelling: sorted keys, no spaces, UTF-8. ValueError for NaN, TypeError for what JSON has not."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


@dataclass(frozen=True, order=True)
class Partition:
    """A dataset and the values of its hive keys, in the order of the folders.

    Names and values pass an allow-list or raise ValueError; nothing is ever escaped. A key called `date` must be a
    calendar date.
    """

    dataset: str
    keys: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        check_name(self.dataset)
        for name, value in self.keys:
            check_name(name)
            check_value(name, value)
        if len({name for name, _ in self.keys}) != len(self.keys):
            raise ValueError(f"a partition key is given twice: {self.keys}")

    @classmethod
    def of(cls, dataset: str, **keys: str | date) -> Partition:
        """`Partition.of("events", date="2026-10-01", source="twilio")`; a `datetime.date` is welcome too."""
        return cls(dataset, tuple((name, as_value(value)) for name, value in keys.items()))

    @classmethod
    def parse(cls, path: str) -> Partition:
        """The inverse of `path`. ValueError if it is not one."""
        dataset, *folders = path.split("/")
        pairs = tuple(tuple(folder.split("=", 1)) for folder in folders)
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError(f"not a partition path: {path!r}")
        return cls(dataset, pairs)

    @property
    def path(self) -> str:
        return "/".join([self.dataset, *(f"{name}={value}" for name, value in self.keys)])

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.keys)

    def __getitem__(self, name: str) -> str:
        return dict(self.keys)[name]

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True)
class DataFile:
    """One immutable Parquet file, named by its content."""

    sha256: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class Version:
    """One entry of a partition's log: what it held from this commit on, and where that came from."""

    partition: Partition
    seq: int
    files: tuple[DataFile, ...]
    parent: str | None
    """The sha256 of the previous log entry: each entry vouches for the whole history before it."""
    run_id: str
    inputs: Mapping[str, str] = field(hash=False)
    config: str = ""
    code: str = ""
    rows: int = 0
    sums: Mapping[str, str] = field(default_factory=dict, hash=False)
    reason: str = ""
    recorded_at: str = ""

    @property
    def sha256(self) -> str:
        """The identity of the content alone: equal for equal data, whoever wrote it and when. For `inputs=`."""
        if len(self.files) == 1:
            return self.files[0].sha256
        return sha256("\n".join(file.sha256 for file in self.files).encode())

    @property
    def entry(self) -> str:
        """The sha256 of this log entry, which the next one records as its parent."""
        return sha256(self.to_json())

    @property
    def view_keys(self) -> tuple[str, ...]:
        """Where outsiders find the files, in order."""
        if len(self.files) == 1:
            return (f"{self.partition.path}/part.parquet",)
        return tuple(f"{self.partition.path}/part-{number:05d}.parquet" for number in range(len(self.files)))

    def to_json(self) -> bytes:
        return canonical(
            {
                "format": FORMAT,
                "dataset": self.partition.dataset,
                "keys": [list(pair) for pair in self.partition.keys],
                "seq": self.seq,
                "files": [{"sha256": f.sha256, "rows": f.rows, "bytes": f.bytes} for f in self.files],
                "parent": self.parent,
                "run_id": self.run_id,
                "inputs": dict(self.inputs),
                "config": self.config,
                "code": self.code,
                "rows": self.rows,
                "sums": dict(self.sums),
                "reason": self.reason,
                "recorded_at": self.recorded_at,
            }
        )

    @classmethod
    def from_json(cls, data: bytes, partition: Partition, seq: int) -> Version:
        """The entry stored for this partition and sequence number. Corrupt if the bytes are anything else."""
        where = log_key(partition, seq)
        try:
            raw = json.loads(data)
            version = cls(
                partition=Partition(raw["dataset"], tuple((name, value) for name, value in raw["keys"])),
                seq=raw["seq"],
                files=tuple(DataFile(f["sha256"], f["rows"], f["bytes"]) for f in raw["files"]),
                parent=raw["parent"],
                **{name: raw[name] for name in _PLAIN},
            )
            sound = (
                raw["format"] == FORMAT
                and (version.partition, version.seq) == (partition, seq)
                and version.files != ()
                and all(_SHA.match(file.sha256) for file in version.files)
                and version.to_json() == data
            )
        except (ValueError, KeyError, TypeError) as error:
            raise Corrupt(f"{where} is not a log entry: {error!r}") from error
        if not sound:
            raise Corrupt(f"{where} is not the log entry its name promises")
        return version


_PLAIN = ("run_id", "inputs", "config", "code", "rows", "sums", "reason", "recorded_at")


def expired(versions: Sequence[Version]) -> Version | None:
    """The newest of these versions that was committed as `EXPIRED`."""
    return next((v for v in reversed(versions) if v.reason == EXPIRED), None)


def log_key(partition: Partition, seq: int) -> str:
    return f"_log/{partition.path}/{seq:08d}.json"


def hist_key(partition: Partition, sha: str) -> str:
    return f"_hist/{partition.path}/{sha}.parquet"


def as_value(value: str | date) -> str:
    return value.isoformat() if type(value) is date else value


def check_name(name: str) -> str:
    """A dataset's or partition key's name, or ValueError."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise ValueError(f"not a name for a dataset or partition key: {name!r}")
    return name


def check_value(name: str, value: str) -> str:
    """A partition key's value, or ValueError."""
    if not isinstance(value, str) or not _VALUE.match(value):
        raise ValueError(f"not a partition value: {name}={value!r}")
    if name == "date" and (len(value) != 10 or date.fromisoformat(value).isoformat() != value):
        raise ValueError(f"not a calendar date: {value!r}")
    return value


def check_sha(sha: str) -> str:
    """A lower-case hexadecimal sha256, or ValueError."""
    if not isinstance(sha, str) or not _SHA.match(sha):
        raise ValueError(f"not a sha256: {sha!r}")
    return sha
