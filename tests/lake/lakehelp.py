"""What the lake's tests share."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import polars as pl


def ticking():
    """A clock that moves one second at each look."""
    seconds = itertools.count()
    return lambda: datetime(2026, 10, 2, tzinfo=UTC) + timedelta(seconds=next(seconds))


def frame(*values: int, text: str = "x") -> pl.DataFrame:
    return pl.DataFrame({"id": list(values), "text": [f"{text}{value}" for value in values]})
