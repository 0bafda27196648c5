"""Prepared work: what the shares of a large day hand to each other, waiting in the lake's store where no reader looks."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from etl.lake import DataFile

SHARE_BUCKETS = 4
"""A share of pages is as large as so many buckets: each share may write a piece of each bucket, and pieces cost requests."""
MOST_SHARES = 128
"""Beyond, the shares of pages grow instead: so many tasks are enough, and each share more is a piece more of every bucket."""
SPLIT = ("messages", "calls")
"""Lists whose pages stand alone; of others, such as rooms and their sessions, all pages are one share."""


def pieces(index: pl.DataFrame, piece_bytes: int) -> list[pl.DataFrame]:
    """`schemas.Raw` of a day → its pages in shares of about so many compressed bytes, in order; of what is `SPLIT`, `MOST_SHARES`
    at most."""
    import polars as pl

    alone = pl.col("resource").is_in(SPLIT)
    big, rest = index.filter(alone), index.filter(~alone)
    piece_bytes = max(piece_bytes, -(-int(big["object_bytes"].sum()) // MOST_SHARES))
    numbered = big.with_columns(piece=(pl.col("object_bytes").cum_sum() - 1) // piece_bytes)
    found = numbered.partition_by("piece", include_key=False, maintain_order=True)
    return [*found, rest] if rest.height else found


class SharedCut:
    """What `buckets.Cut` offers, from the shares that took the pages apart; ``wrote`` is what each said that it wrote."""

    def __init__(self, work: Work, tag: str, wrote: Sequence[dict], buckets: int, empty: pl.DataFrame) -> None:
        self.buckets, self.taken = buckets, True  # another try looks anew for what is there
        self._work, self._tag, self._wrote, self._empty = work, tag, wrote, empty

    def __exit__(self, *_: object) -> None:
        """Nothing is held open."""

    def take(self, number: int) -> pl.DataFrame:
        """The events of one bucket. Stale where a share said that it wrote some and they are gone: then it is read again."""
        from etl.buckets import joined
        from etl.lake import Stale

        found = []
        for group in (n for n, wrote in enumerate(self._wrote) if number in wrote["buckets"]):
            frame = self._work.frame(f"{self._tag}/{group}-{number}.arrow")
            if frame is None:
                self._work.forget(self._tag, group)
                raise Stale(f"share {group} of the pages is gone while its buckets were made")
            found.append(frame)
        return joined(found, self._empty)

    def totals(self) -> tuple[list[pl.DataFrame], list[pl.DataFrame]] | None:
        """(`schemas.Ledger` of every share, late events of those that have some); None where one is gone."""
        ledgers = [self._work.frame(f"{self._tag}/{group}-ledger.arrow") for group in range(len(self._wrote))]
        late = [self._work.frame(f"{self._tag}/{group}-late.arrow") for group, wrote in enumerate(self._wrote) if wrote["late"]]
        return None if any(frame is None for frame in (*ledgers, *late)) else (ledgers, late)


class Work:
    """Prepared work of one day and source, in the lake's store under ``_work/``, where no reader looks."""

    def __init__(self, store, day: date, source: str) -> None:
        self._store, self._root = store, f"_work/date={day}/source={source}/"

    def get(self, name: str) -> bytes | None:
        from etl.lake import NotFound

        try:
            return self._store.get(self._root + name)
        except NotFound:
            return None

    def put(self, name: str, data: bytes) -> None:
        self._store.put(self._root + name, data)

    def wrote(self, tag: str, group: int) -> dict | None:
        """What a share of the pages wrote, when it had written all of it: ``buckets``, and whether there is ``late``."""
        data = self.get(f"{tag}/{group}.json")
        return None if data is None else json.loads(data)

    def forget(self, tag: str, group: int) -> None:
        self._store.delete(f"{self._root}{tag}/{group}.json")

    def frame(self, name: str) -> pl.DataFrame | None:
        import polars as pl

        data = self.get(name)
        return None if data is None else pl.read_ipc(io.BytesIO(data))

    def put_frame(self, name: str, frame: pl.DataFrame) -> None:
        import polars as pl

        buffer = io.BytesIO()
        frame.write_ipc(buffer, compression="zstd", compat_level=pl.CompatLevel.newest())
        self.put(name, buffer.getvalue())

    def prepared(self, name: str) -> tuple[DataFile, dict[str, int]] | None:
        """A file that a share has put into the history already, and what it counts."""
        from etl.lake import DataFile

        data = self.get(name)
        if data is None:
            return None
        said = json.loads(data)
        return DataFile(said["sha256"], said["rows"], said["bytes"]), said["counts"]

    def prepare(self, name: str, file: DataFile, counts: dict[str, int]) -> None:
        said = {"sha256": file.sha256, "rows": file.rows, "bytes": file.bytes, "counts": counts}
        self.put(name, json.dumps(said, sort_keys=True).encode())

    def clear(self) -> None:
        from etl.lake import each

        each(self._store, self._store.delete, self._store.list(self._root))
