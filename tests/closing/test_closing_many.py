"""Many accounts at once are held as each of them by itself."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statement_made import SEPTEMBER, open_jobs

from etl.closing import every_named, holds, holds_of, named
from etl.lake import Partition

ACCOUNTS = ["acme", "bolt", "cove", "dune", "kiri", "nobody"]
NEW = st.one_of(
    st.tuples(st.just("amount"), st.sampled_from((0, 1, 2))),
    st.tuples(st.just("unrated"), st.sampled_from((0, 1))),
    st.tuples(st.just("section"), st.sampled_from(("usage", "tax", "total", "product", "product_total", "correction"))),
    st.tuples(st.just("for_month"), st.just("2026-08")),
    st.tuples(st.just("gone"), st.none()),
)
CHANGES = st.lists(st.tuples(st.integers(0, 200), NEW), max_size=4)


@pytest.fixture(scope="session")
def stated(september) -> pl.DataFrame:
    lake = open_jobs(september).lake
    return lake.read(lake.head(Partition.of("statement", month=str(SEPTEMBER))))


@given(changes=CHANGES, lacking=st.sampled_from(([], ["2026-09-01 of twilio"])), today=st.dates(date(2026, 10, 1), date(2026, 10, 9)))
@settings(max_examples=150, deadline=None)
def test_every_account_has_the_holds_it_has_by_itself(stated, changes, lacking, today):
    for place, (column, value) in changes:
        row = pl.int_range(pl.len()) == place % max(stated.height, 1)
        if column == "gone":
            stated = stated.filter(~row)
        else:
            new = pl.lit(value).cast(stated.schema[column])
            stated = stated.with_columns(pl.when(row).then(new).otherwise(column).alias(column))
    terms = (SEPTEMBER, stated, lacking, date(2026, 10, 3), today)
    assert holds_of(ACCOUNTS, *terms) == {a: holds(a, *terms) for a in ACCOUNTS}


def test_every_account_is_called_as_by_itself(september):
    directory = open_jobs(september).directory
    every = every_named(directory)
    for account in ACCOUNTS:
        one = named(directory, account)
        assert {n: f.rows() for n, f in every(account).items()} == {n: f.rows() for n, f in one.items()}
        assert {n: f.columns for n, f in every(account).items()} == {n: f.columns for n, f in one.items()}
