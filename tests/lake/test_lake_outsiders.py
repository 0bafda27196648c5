"""Others read the lake as plain Parquet; so do the examples of the documentation."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import duckdb
import polars as pl
from lakehelp import frame
from polars.testing import assert_frame_equal

from etl.lake import Lake, Partition

DOC = Path(__file__).parents[2] / "docs" / "lake.md"


def fill(lake: Lake) -> pl.DataFrame:
    versions = []
    for day in ("2026-10-01", "2026-10-02"):
        for source in ("plivo", "twilio"):
            q = Partition.of("events", date=day, source=source)
            old = lake.commit(q, frame(0, text="old"), base=None)
            versions.append(lake.commit(q, frame(1, 2, text=f"{day}-{source}-"), base=old))
    return lake.scan(versions).collect()


def test_duckdb_sees_the_same_rows(local_lake, local_store):
    ours = fill(local_lake)
    theirs = duckdb.sql(
        f"select id, text, date, source from read_parquet('{local_store.root}/events/*/*/part.parquet', hive_partitioning=true)"
        " order by date, source, id"
    ).fetchall()
    assert theirs == ours.rows()
    assert theirs[0][2] == date(2026, 10, 1)


def test_polars_sees_the_same_rows_on_disk_and_in_the_bucket(lake, store, request):
    ours = fill(lake)
    options = {}
    if hasattr(store, "bucket"):
        server = request.getfixturevalue("server")
        options["storage_options"] = {
            "aws_endpoint_url": server.endpoint, "aws_access_key_id": server.access_key,
            "aws_secret_access_key": server.secret_key, "aws_region": "us-east-1", "aws_allow_http": "true",
        }  # fmt: skip
    where = store.url.removeprefix("file://")
    theirs = pl.scan_parquet(
        f"{where}/events/**/part*.parquet", hive_partitioning=True, try_parse_hive_dates=True, **options
    )
    assert_frame_equal(theirs.select(ours.columns).sort("date", "source", "id").collect(), ours)


def test_nothing_but_parquet_lies_in_the_view(lake, store):
    fill(lake)
    assert all(key.endswith("/part.parquet") for key in store.list("events/"))
    assert {key.split("/")[0] for key in store.list("")} == {"_hist", "_log", "_lake.json", "events"}


def test_the_examples_in_the_documentation_run(local_lake, local_store, tmp_path, monkeypatch, capsys):
    fill(local_lake)
    monkeypatch.chdir(tmp_path)
    assert local_store.root == tmp_path / "lake"
    blocks = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        exec(compile(block, str(DOC), "exec"), {})
    printed = capsys.readouterr().out
    assert "twilio" in printed


def test_threads_may_share_a_lake_from_its_first_scan(store):
    lake = Lake(store, run_id="run-1")
    days = [Partition.of("events", date=f"2026-10-{day:02d}", source="twilio") for day in range(1, 9)]
    versions = [lake.commit(day, pl.DataFrame({"n": [i]}), base=None) for i, day in enumerate(days)]
    for _ in range(10):
        fresh = Lake(store, run_id="run-1")
        with ThreadPoolExecutor(8) as pool:
            totals = list(pool.map(lambda v, lake=fresh: lake.scan([v]).collect()["n"].item(), versions))
        assert totals == list(range(8))
