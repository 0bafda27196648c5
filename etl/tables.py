"""CSV files that people edit, read one way: every cell as text, an empty or quoted-empty cell as null."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from etl.settings import ConfigurationError


def read(file: Path, columns: Sequence[str]) -> tuple[pl.DataFrame, bytes]:
    """(all cells as String, sha256 of the file). ConfigurationError if it is absent, empty, no CSV, or lacks a column."""
    try:
        data = file.read_bytes()
        frame = pl.read_csv(data, infer_schema=False, null_values="")
    except FileNotFoundError:
        raise ConfigurationError(f"{file} does not exist: its columns are {', '.join(columns)}") from None
    except pl.exceptions.NoDataError:
        raise ConfigurationError(f"{file} is empty: its first line must be {','.join(columns)}") from None
    except pl.exceptions.PolarsError as error:
        raise ConfigurationError(f"{file} is not readable as CSV: {error}") from None
    if absent := [c for c in columns if c not in frame.columns]:
        raise ConfigurationError(f"{file} lacks the column {', '.join(absent)}")
    return frame, hashlib.sha256(data).digest()
