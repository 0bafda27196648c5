"""Where usage comes from. A source is one module in this folder; ``kind`` in the settings names it.

A module offers ``class Settings(Section)`` (its keys) and ``open_source(name, settings, context) -> Source``.
"""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol

import polars as pl
from pydantic import ValidationError

from etl.settings import ConfigurationError, Connection, SourceSettings, StoreSettings, connection_from_environment


class SourceError(Exception):
    """A day could not be read whole; the text names the request or file and what to do. Nothing of it is used."""


@dataclass(frozen=True)
class Page:
    """One answer or file, byte for byte as received."""

    resource: str
    provider_account: str
    number: int
    url: str
    body: bytes = field(repr=False)

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


class Reading(NamedTuple):
    """What pages say: ``events`` with every column of `schemas.Events`, one row per raw record, and the provider's own
    totals with every column of `schemas.Ledger`. ``late``: events of the days before, accepted or quarantined, that these pages bring; in
    ``events`` they are excluded as another day's."""

    events: pl.DataFrame
    ledger: pl.DataFrame
    late: pl.DataFrame | None = None


class Source(Protocol):
    """One provider account tree, or one file drop."""

    name: str

    def fetch(self, day: date) -> Iterator[Page]:
        """Every page of the whole UTC day [day, day + 1), in any order. Raises SourceError if it cannot be complete."""
        ...

    def read(self, pages: Iterable[Page], day: date) -> Reading:
        """Pages of one day → events (accepted, excluded or quarantined; still with duplicates) and ledger. Pure."""
        ...

    # A source of large days also has ``parts(pages, day) -> Iterator[Reading]``: what ``read`` returns, piece by piece.

    def check(self) -> str:
        """One cheap authorised request; returns what was reached. Raises SourceError saying what to do."""
        ...


def parts(source: Source, pages: Iterable[Page], day: date) -> Iterator[Reading]:
    """What the pages say, piece by piece where the source can, else at once."""
    if hasattr(source, "parts"):
        yield from source.parts(pages, day)
    else:
        yield source.read(pages, day)


def whole(readings: Iterable[Reading]) -> Reading:
    """Pieces of one reading as one."""
    from etl.schemas import DATASETS

    pieces = list(readings)
    late = [piece.late for piece in pieces if piece.late is not None]
    return Reading(
        pl.concat([piece.events for piece in pieces]) if pieces else DATASETS["events"].empty(),
        pl.concat([piece.ledger for piece in pieces]) if pieces else DATASETS["ledger"].empty(),
        pl.concat(late) if late else None,
    )


@dataclass(frozen=True)
class Context:
    """What a source may ask of its surroundings."""

    resolve: Callable[[str], Connection] = connection_from_environment
    home: Path = Path()
    open_store: Callable[[StoreSettings], object] | None = None


def kinds() -> list[str]:
    """Names of the sources there are: every public module of this folder that has ``open_source``."""
    return sorted(
        m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_") and m.name != "normalise"
    )


def open_source(name: str, settings: SourceSettings, context: Context) -> Source:
    """The source ``[sources.<name>]`` describes. ConfigurationError names the key that is wrong; no request is made."""
    if settings.kind not in kinds():
        raise ConfigurationError(f"sources.{name}.kind: {settings.kind!r} is not a source: use {', '.join(kinds())}")
    module = importlib.import_module(f"etl.sources.{settings.kind}")
    try:
        own = module.Settings(**settings.model_dump(exclude={"kind"}))
    except ValidationError as error:
        lines = [f"  sources.{name}.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigurationError("a source is not usable:\n" + "\n".join(lines)) from None
    return module.open_source(name, own, context)
