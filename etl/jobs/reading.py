"""Kept pages of a day → what they say, taken apart once for all that is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import polars as pl

    from etl.buckets import Cut
    from etl.jobs.work import SharedCut
    from etl.lake import Version
    from etl.sources import Page, Source


@dataclass
class Found:
    """What the pages of a day say: events by bucket, the provider's totals, and events of earlier days."""

    raw: Version
    cut: Cut | SharedCut
    ledger: pl.DataFrame
    late: pl.DataFrame | None


def take_apart(
    source: Source, pages: Iterable[Page], day: date, cut: Cut
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Put the events of these pages into ``cut``. Returns `schemas.Ledger`, and events of earlier days if there are any."""
    import polars as pl

    from etl import sources
    from etl.schemas import DATASETS

    ledgers, late = [DATASETS["ledger"].empty()], []
    for part in sources.parts(source, pages, day):
        cut.add(part.events)
        ledgers.append(part.ledger)
        late += [] if part.late is None else [part.late]
    return pl.concat(ledgers), pl.concat(late) if late else None


class ReadOnce:
    """Pages → `Found`. ``read`` takes a version of raw apart; what it returns is closed with this."""

    def __init__(self, read: Callable[[Version], Found]) -> None:
        self._read = read
        self._found: Found | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._found is not None:
            self._found.cut.__exit__(*error)

    def __call__(self, raw: Version, *, again: bool = False) -> Found:
        """``again``: for its events, which are handed out once; another try takes the pages apart anew."""
        found = self._found
        if found is None or found.raw.sha256 != raw.sha256 or (again and found.cut.taken):
            self.__exit__()
            self._found = self._read(raw)
        return self._found
