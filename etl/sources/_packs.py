"""Pages as received ↔ a few objects. A pack is gzip members one behind the other, so `zcat` reads it; the raw dataset says
which bytes of which pack are which page. Same pages, in any order of arrival, same packs. A page that arrived as gzip is its own
member."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import polars as pl

from etl.sources import Page

SUFFIX = ".gz"
GZIP = b"\x1f\x8b"
PACK_BYTES = 16 * 2**20
IN_MEMORY_BYTES = 64 * 2**20
"""Compressed pages of a day wait in memory up to here, then in a temporary file: they must be sorted before they are packed."""


def pack(pages: Iterable[Page], keep: Callable[[bytes], str], pack_bytes: int = PACK_BYTES) -> list[tuple]:
    """Rows of `schemas.Raw` for all pages; ``keep`` stores a pack and returns its sha256. Memory is flat in their number."""
    index = []
    with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) as spool, ThreadPoolExecutor(2) as pool:
        for page, member in _compressed(pool, pages):
            index.append(
                (
                    page.resource,
                    page.provider_account,
                    page.number,
                    page.url,
                    page.sha256,
                    len(page.body),
                    spool.tell(),
                    len(member),
                )
            )
            spool.write(member)
        rows, waiting, data = [], [], bytearray()

        def close() -> None:
            sha = keep(bytes(data))
            rows.extend((*described, sha, offset, length) for described, offset, length in waiting)
            waiting.clear()
            data.clear()

        for *described, position, length in sorted(index):
            if data and len(data) + length > pack_bytes:
                close()
            waiting.append((described, len(data), length))
            spool.seek(position)
            data += spool.read(length)
        if data:
            close()
    return rows


def unpack(raw: pl.DataFrame, fetch: Callable[[str], bytes]) -> Iterator[Page]:
    """The pages the rows of `schemas.Raw` describe; ``fetch`` returns a pack by its sha256. LookupError for one that
    retention erased."""
    held, data = None, b""
    for row in raw.iter_rows(named=True):
        if row["object_sha256"] is None:
            raise LookupError(
                f"page {row['page']} of {row['resource']} {row['provider_account']} is erased: its day has expired "
                "(docs/privacy.md). Fetch the day again with python -m etl run if the provider still has it"
            )
        if row["object_sha256"] != held:
            held, data = row["object_sha256"], fetch(row["object_sha256"])
        member = data[row["object_offset"] : row["object_offset"] + row["object_bytes"]]
        page = Page(row["resource"], row["provider_account"], row["page"], row["url"], bytes(member))
        if row["bytes"] != row["object_bytes"] or page.sha256 != row["sha256"]:
            page = replace(page, body=gzip.decompress(member))
        yield page


def _compressed(pool: ThreadPoolExecutor, pages: Iterable[Page]) -> Iterator[tuple[Page, bytes]]:
    """Each page with its gzip member, a few under way at once. No time stamp: the same bytes give the same member."""
    waiting = []
    for page in pages:
        if page.body[:2] == GZIP:
            yield page, page.body  # nothing to wait for, and it may be large
            continue
        waiting.append((page, pool.submit(_member, page.body)))
        if len(waiting) > 4:
            first, member = waiting.pop(0)
            yield first, member.result()
    for page, member in waiting:
        yield page, member.result()


def _member(body: bytes) -> bytes:
    return gzip.compress(body, 6, mtime=0)
