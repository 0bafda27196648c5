"""Pages go into packs and come out byte for byte; the order they arrive in leaves no trace."""

from __future__ import annotations

import gzip
import hashlib

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.schemas import DATASETS
from etl.sources import Page
from etl.sources._packs import pack, unpack

pages = st.lists(
    st.builds(
        Page,
        resource=st.sampled_from(["messages", "calls"]),
        provider_account=st.sampled_from(["AC1", "AC10", ""]),
        number=st.integers(0, 30),
        url=st.just("https://example.com/x"),
        body=st.binary(max_size=300),
    ),
    max_size=20,
    unique_by=lambda p: (p.resource, p.provider_account, p.number),
)


def stored(given_pages, pack_bytes):
    kept = {}

    def keep(data):
        sha = hashlib.sha256(data).hexdigest()
        kept[sha] = data
        return sha

    rows = pack(iter(given_pages), keep, pack_bytes)
    return DATASETS["raw"].arrange(pl.DataFrame(rows, schema=DATASETS["raw"].types, orient="row")), kept


@given(pages, st.integers(1, 2000), st.randoms())
@settings(max_examples=60, deadline=None)
def test_every_page_comes_back_and_order_does_not_matter(given_pages, pack_bytes, random):
    raw, kept = stored(given_pages, pack_bytes)
    key = lambda p: (p.resource, p.provider_account, p.number)  # noqa: E731
    assert sorted(unpack(raw, kept.__getitem__), key=key) == sorted(given_pages, key=key)
    shuffled = list(given_pages)
    random.shuffle(shuffled)
    again, kept_again = stored(shuffled, pack_bytes)
    assert again.equals(raw) and kept_again == kept


def test_a_pack_is_ordinary_gzip_and_bounded():
    many = [
        Page("messages", "AC1", n, "u", bytes([n % 251]) * 5000 + hashlib.sha256(bytes([n])).digest() * 40)
        for n in range(60)
    ]
    raw, kept = stored(many, 4000)
    assert len(kept) > 1
    assert all(len(data) <= 4000 for data in kept.values())
    assert b"".join(gzip.decompress(kept[sha]) for sha in raw["object_sha256"].unique(maintain_order=True)) == b"".join(
        p.body for p in sorted(many, key=lambda p: p.number)
    )


def test_a_day_without_pages_is_an_empty_frame():
    raw, kept = stored([], 100)
    assert raw.height == 0 and kept == {}
