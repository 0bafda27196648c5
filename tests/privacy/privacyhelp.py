"""What a whole store says, as text; a store that dies at a chosen call; a small lake made by hand."""

from __future__ import annotations

import gzip
import io
import sys
from datetime import date
from pathlib import Path

import polars as pl

from etl.jobs import Jobs
from etl.lake import Partition, Store
from etl.schemas import DATASETS
from etl.sources import Page
from etl.sources._packs import SUFFIX, pack

sys.path.insert(0, str(Path(__file__).parents[1] / "statement"))

DAYS = [date(2026, 10, day) for day in (29, 30, 31)]
"""What the sandbox's place holds."""
FIGURES = ("charges", "daily", "statement", "monthly", "credits", "holdings", "ledger", "reconciled")
CHANGES = ("put", "create", "delete")


def everything(store: Store) -> dict[str, str]:
    """Every object as text: Parquet with its columns written out, packs unpacked."""
    return {key: _text(key, store.get(key)) for key in store.list("")}


def _text(key: str, data: bytes) -> str:
    if key.endswith(".parquet"):
        frame = pl.read_parquet(io.BytesIO(data))
        return frame.with_columns(pl.col(pl.List).list.join(" ")).write_csv()
    return (gzip.decompress(data) if key.endswith(".gz") else data).decode("utf-8")


def holding(store: Store, words: set[str]) -> dict[str, str]:
    """Object → a word it holds, for each that holds one."""
    found = {}
    for key, text in everything(store).items():
        hit = next((word for word in words if word in text), None)
        if hit is not None:
            found[key] = hit
    return found


def figures(jobs: Jobs) -> dict[str, tuple[int, str]]:
    """Every partition that holds a figure: its newest version and what it holds."""
    return {
        p.path: (v.seq, v.sha256) for dataset in FIGURES for p, v in jobs.lake.heads(dataset).items()
    }  # fmt: skip


def rows(jobs: Jobs, dataset: str, day: date, source: str = "twilio") -> pl.DataFrame:
    return jobs.lake.read(jobs.lake.head(Partition.of(dataset, date=day, source=source)))


class Killed(BaseException):
    """The process is gone: nothing that catches errors catches this."""


class Doomed:
    """A store whose process dies right before change number ``at``."""

    def __init__(self, store: Store, at: int) -> None:
        self._store, self._left = store, at

    def __getattr__(self, name: str):
        real = getattr(self._store, name)
        if name not in CHANGES:
            return real

        def call(*args, **kwargs):
            self._left -= 1
            if self._left == 0:
                raise Killed
            return real(*args, **kwargs)

        return call


DAY = date(2026, 9, 20)
CANARY = "Heron at dusk, private to the bone"
STRANGER = "+13105550150"


def made_day(jobs: Jobs, times: int = 2) -> None:
    """September 20 with two texts, their page kept as received; loaded ``times`` times, each a little otherwise."""
    from statement_made import on

    at = Partition.of("raw", date=DAY, source="twilio")
    for n in range(times):
        body = f'{{"messages": [{{"body": "{CANARY} {n}", "to": "{STRANGER}"}}]}}'.encode()
        url = f"drop/{STRANGER}/{DAY}-{n}.json"
        packed = pack([Page("messages", "AC1", 0, url, body)], lambda d: jobs.lake.put_blob("raw", d, SUFFIX, p=at))
        raw = pl.DataFrame(packed, schema=DATASETS["raw"].types, orient="row")
        base = jobs.lake.head(at)
        raw_head = jobs.lake.commit(at, DATASETS["raw"].arrange(raw), base=base, reason="pull")
        target = Partition.of("events", date=DAY, source="twilio")
        events = pl.DataFrame(on(DAY), schema=DATASETS["events"].types, orient="row").with_columns(
            body=pl.lit(f"{CANARY} {n}"), raw_sha256=pl.lit(raw["sha256"][0])
        )
        jobs.lake.commit(
            target, DATASETS["events"].arrange(events), base=jobs.lake.head(target), reason="normalise",
            inputs={"raw/twilio": raw_head.sha256}, sums={"quarantined": "0"},
        )  # fmt: skip
    jobs.rate(DAY, "twilio")
    jobs.roll_up(DAY)
