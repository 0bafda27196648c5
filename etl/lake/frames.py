"""Frames to Parquet bytes and back: the same frame gives the same bytes, and schemas are compared, not coerced."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

import polars as pl

from etl.lake.model import DataFile, Partition, sha256
from etl.lake.store import Corrupt

ROW_GROUP = 122_880


class SchemaMismatch(ValueError):
    """Two files that should be one table differ in column names, order or types (a Decimal's scale included)."""


def encode(frame: pl.DataFrame, partition: Partition) -> tuple[bytes, DataFile]:
    """Parquet bytes that depend on the frame alone: no clock, no writer's name, no thread count, no chunking.

    Partition keys are folders, not columns: a column of that name is dropped if every row agrees with the folder,
    and is a ValueError otherwise.
    """
    frame = _without_keys(frame, partition).rechunk()
    buffer = io.BytesIO()
    frame.write_parquet(
        buffer, compression="zstd", compression_level=1, statistics=True, row_group_size=ROW_GROUP, use_pyarrow=False
    )
    data = buffer.getvalue()
    return data, DataFile(sha256(data), frame.height, len(data))


def decode(
    data: bytes,
    file: DataFile,
    partition: Partition,
    columns: Sequence[str] | None,
    newer: Mapping[str, pl.DataType] | None = None,
) -> pl.DataFrame:
    """The rows of one file, partition keys as columns. Corrupt unless the bytes are the ones that were written. ``newer``:
    columns that may have come into the contract after the file was written: null then."""
    check(data, file, partition)
    source = io.BytesIO(data)
    stored = None if columns is None else [name for name in columns if name not in partition.names]
    absent = {c: t for c, t in (newer or {}).items() if c not in pl.read_parquet_schema(source)}
    if absent:
        known = None if columns is None else [c for c in columns if c not in absent]
        frame = decode(data, file, partition, known).with_columns(pl.lit(None, t).alias(c) for c, t in absent.items())
        return frame if columns is None else frame.select(columns)
    if stored == []:
        frame = pl.DataFrame(height=file.rows)
    else:
        frame = pl.read_parquet(source, columns=stored, hive_partitioning=False, glob=False)
    if frame.height != file.rows:
        raise Corrupt(f"{partition}: {file.sha256} holds {frame.height} rows, the log says {file.rows}")
    frame = frame.with_columns(key_columns(partition, None if columns is None else set(columns)))
    return frame if columns is None else frame.select(columns)


def check(data: bytes, file: DataFile, partition: Partition) -> None:
    """Corrupt unless the bytes carry the recorded sha256."""
    found = sha256(data)
    if found != file.sha256:
        raise Corrupt(f"_hist/{partition}: wanted {file.sha256}, its bytes are {found} ({len(data)} bytes)")


def key_columns(partition: Partition, wanted: set[str] | None = None) -> list[pl.Expr]:
    """The partition's keys as literal columns: `date` as a Date, others as String."""
    return [
        pl.lit(date.fromisoformat(value) if name == "date" else value).alias(name)
        for name, value in partition.keys
        if wanted is None or name in wanted
    ]


def stack(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """One below the other. SchemaMismatch unless all schemas are equal; Polars alone would round money silently."""
    parts = list(frames)
    same_schema([(f"file {number}", part.schema) for number, part in enumerate(parts)])
    return pl.concat(parts, how="vertical", rechunk=True) if len(parts) > 1 else parts[0]


def same_schema(named: Sequence[tuple[str, pl.Schema]]) -> None:
    """SchemaMismatch, naming the first column that differs, unless all schemas are equal."""
    first, schema = named[0]
    for name, other in named[1:]:
        if list(other.items()) == list(schema.items()):
            continue
        ours, theirs = list(schema.items()), list(other.items())
        at = next((i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), None)
        at = min(len(ours), len(theirs)) if at is None else at
        raise SchemaMismatch(f"{name} differs from {first}: {_at(theirs, at)}, not {_at(ours, at)}")


def _at(columns: list, index: int) -> str:
    return f"{columns[index][0]}: {columns[index][1]}" if index < len(columns) else "no further column"


def _without_keys(frame: pl.DataFrame, partition: Partition) -> pl.DataFrame:
    for name, value in partition.keys:
        if name not in frame.columns:
            continue
        found = frame[name].unique().cast(pl.String)
        if len(found) and found.to_list() != [value]:
            raise ValueError(f"column {name!r} holds {found.head(3).to_list()}, the partition says {value!r}")
        frame = frame.drop(name)
    return frame
