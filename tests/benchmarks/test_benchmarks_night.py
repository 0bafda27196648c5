"""The reference night's harness: the day is the one that is known, the mapping is usable, and a wrong answer is found."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from benchmarks.night import answers, common, floor, mapping, measure, night, page, plain_peer, workload
from etl import directory, rollup, segments
from etl.jobs import Jobs
from etl.rating import card
from etl.schemas import DATASETS

DAY = date(2026, 4, 1)
TINY = common.Workload(2_000, 5, DAY, 700, 0.02)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("night")
    workload.write_tables(folder)
    workload.write(TINY, folder)
    return folder


@pytest.fixture(scope="module")
def stored(data) -> Path:
    """A lake after the night of the tiny day."""
    settings = mapping.write(data / TINY.name, data / "tables", data / "house", DAY)
    night.night(Jobs.open(settings, clock=lambda: datetime(2026, 4, 2, 3, tzinfo=UTC)), DAY)
    return data / "house" / "lake"


# ------------------------------------------------------------------------------------------------ the day


def lines(folder: Path, kind: str) -> bytes:
    return b"".join(gzip.decompress(file.read_bytes()) for file in sorted(folder.glob(f"{kind}-*.jsonl.gz")))


def test_a_day_is_the_one_that_is_known_byte_for_byte(tmp_path):
    folder = workload.write(common.Workload(300, 3, DAY, 100, 0.05), tmp_path)
    found = {kind: hashlib.sha256(lines(folder, kind)).hexdigest() for kind in workload.KINDS}
    assert found == {
        "messages": "f5829aa702a8120b2473fe7ffa203b233d50cd8b531bffaef4b4e5492edd95fb",
        "calls": "8ac5c7b7655e84c364ef7941ac1c918ecf96290ee25ea25637f0d1155e611cf9",
    }


def test_the_tables_are_those_that_are_known():
    found = {
        name: hashlib.sha256(frame.write_csv().encode()).hexdigest()[:16] for name, frame in workload.tables().items()
    }
    assert found == {
        "rate_deck": "141319284aff2a8f",
        "carrier_fees": "0cc9cf1d0f3280c2",
        "accounts": "5c58c8834d67e099",
        "purchases": "4e4160d7a3bf0d64",
    }


def test_a_day_that_is_there_is_not_made_again(data):
    before = {f: f.stat().st_mtime_ns for f in TINY.folder(data).iterdir()}
    workload.write(TINY, data)
    assert {f: f.stat().st_mtime_ns for f in TINY.folder(data).iterdir()} == before


def test_the_known_alphabets_are_tollbooks():
    assert set(common.GSM_BASIC) == set(segments.GSM_BASIC)
    assert set(common.GSM_EXTENSION) == set(segments.GSM_EXTENSION)


@pytest.mark.parametrize("text", ["", "a" * 161, "a" * 152 + "€" * 9, "ж" * 71, "ж" * 66 + "😀😀", "{" * 80, "x" * 459])
def test_plain_python_counts_as_tollbook_does(text):
    told, found = segments.explain(text), plain_peer.measured(text)
    assert (found.units, found.segments) == (told.units, told.segments)


# ------------------------------------------------------------------------------------------------ the mapping


def test_the_files_are_usable_and_every_rate_row_is_there(data, stored):
    rates, people = card.load(data / "house" / "rates"), directory.load(data / "house" / "directory")
    deck = pl.read_parquet(data / "tables" / "rate_deck.parquet")
    lines = deck["type"].replace_strict({"voice": 2}, default=1).sum()
    assert rates.prices.height == lines * 6
    assert rates.fees.height == 32
    assert people.owners.height == 200 * 23
    assert {a.rate_card for a in people.accounts} == rates.names()


def test_a_price_has_its_markup_half_up_to_nine_decimals():
    deck = pl.DataFrame(
        {"prefix": ["44"], "direction": ["outbound"], "type": ["sms"], "effective_from": [DAY], "effective_to": [None],
         "rate_micros": [4_005], "credits": [1], "init_sec": [0], "incr_sec": [0]}
    )  # fmt: skip
    (row,) = mapping.prices_csv(deck, [1999])
    assert row["price"] == "0.004805600"  # 0.0048055995 or more is rounded up
    assert row["rate_id"] == "0-text-1999"


# ------------------------------------------------------------------------------------------------ the answers


def plain_totals(data: Path) -> common.Totals:
    return common.Totals(*measure.run("plain_peer", TINY.folder(data), data / "tables", data / "plain").told["totals"])


def test_what_the_jobs_stored_is_what_plain_python_and_duckdb_say(data, stored):
    found = answers.totals(stored, TINY.folder(data), data / "tables")
    assert found == plain_totals(data)
    assert found == measure.run("duckdb_peer", TINY.folder(data), data / "tables", data / "duckdb").totals
    answers.check_daily(stored)
    assert answers.check_rows(stored, TINY.folder(data), data / "tables") == found.n == 2_200


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("seconds", pl.col("billed_seconds") + 1),
        ("another account's markup", pl.lit("acct_001").alias("account_id")),
        ("another fee", pl.lit("7").alias("fee_id")),
        ("a lost charge", None),
    ],
)  # fmt: skip
def test_a_wrong_charge_is_found(data, stored, tmp_path, what, change):
    right = answers.totals(stored, TINY.folder(data), data / "tables")
    shutil.copytree(stored, tmp_path / "lake")
    source = "calls" if what == "seconds" else "messages"
    file = next((tmp_path / "lake" / "charges" / f"date={DAY}" / f"source={source}").glob("part*.parquet"))
    frame = pl.read_parquet(file, hive_partitioning=False)
    first = pl.int_range(pl.len()) == frame.with_row_index().filter(
        (pl.col("line") == ("call" if source == "calls" else "text"))
        & (pl.col("account_id") != "acct_001") & pl.col("fee_id").is_not_null().or_(source == "calls")
    )["index"][0]  # fmt: skip
    wrong = frame.filter(~first) if change is None else frame.with_columns(
        pl.when(first).then(change).otherwise(pl.col(change.meta.output_name())).alias(change.meta.output_name())
    )  # fmt: skip
    file.chmod(0o644)
    file.unlink()
    wrong.write_parquet(file)
    if change is None:
        with pytest.raises(answers.Wrong, match="accepted events"):
            answers.totals(tmp_path / "lake", TINY.folder(data), data / "tables")
    else:
        assert answers.totals(tmp_path / "lake", TINY.folder(data), data / "tables") != right
    with pytest.raises(answers.Wrong):
        answers.check_rows(tmp_path / "lake", TINY.folder(data), data / "tables")
    if what in ("seconds", "a lost charge"):
        with pytest.raises(answers.Wrong, match="add up to"):
            answers.check_daily(tmp_path / "lake")


# ------------------------------------------------------------------------------------------------ measuring


def test_the_floor_reads_the_columns_that_the_roll_up_reads():
    charges = DATASETS["charges"].empty().lazy()
    assert rollup.entries(charges.select(floor.ROLLED_UP)).collect().is_empty()
    for column in floor.ROLLED_UP:
        with pytest.raises(pl.exceptions.PolarsError):
            rollup.entries(charges.select(c for c in floor.ROLLED_UP if c != column)).collect()


def test_the_floor_moves_what_the_night_wrote(data, stored):
    one = measure.run("floor", TINY.folder(data), stored, data / "floor")
    assert set(one.told["steps"]) == {
        "decompress", "read events", "write events", "set-up", "write charges", "read charges"
    }  # fmt: skip
    assert one.told["setup_cpu"] > 0 and one.cpu > 0


def test_a_contender_that_fails_says_why(tmp_path):
    with pytest.raises(measure.Failed, match="No files found|No such file"):
        measure.run("duckdb_peer", tmp_path, tmp_path, tmp_path / "out")


def test_a_section_of_the_page_is_replaced_and_the_others_stay(tmp_path):
    file = tmp_path / "benchmarks.md"
    page.write_section(file, "night", "one")
    page.write_section(file, "month", r"two \1")
    before = file.read_text()
    page.write_section(file, "night", "three")
    assert file.read_text() == before.replace("one", "three")
    assert before.startswith("# Benchmarks\n") and r"two \1" in before
