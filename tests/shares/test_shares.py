"""A large day in buckets, on one machine or shared out: the same rows, the same bytes, and nothing depends on a share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.night import common, mapping, workload
from etl import buckets, nights, ordering, rollup
from etl.jobs import Jobs, NotReady, shares, work
from etl.jobs.work import Work, pieces
from etl.lake import Partition
from etl.schemas import DATASETS

DAY = date(2026, 4, 1)
TINY = common.Workload(3_000, 5, DAY, 700, 0.02)
SOURCE = "messages"
DATA = ("raw", "events", "ledger", "charges", "daily")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shares")
    workload.write_tables(folder)
    workload.write(TINY, folder)
    return folder


def shrink(patch: pytest.MonkeyPatch) -> None:
    """So few bytes a bucket that the tiny day is a large one."""
    patch.setattr(buckets, "BUCKET_BYTES", 60_000)
    patch.setattr(buckets, "WAITING_BYTES", 200_000)
    patch.setattr(shares, "SHARE_BUCKETS", 1)


@pytest.fixture
def small(monkeypatch):
    shrink(monkeypatch)


def open_jobs(data: Path, lake: Path, share: bool) -> Jobs:
    settings = mapping.write(data / TINY.name, data / "tables", data / "house", DAY)
    text = settings.read_text()
    own = settings.with_name(f"{lake.name}.toml")
    own.write_text(f"share_days = {str(share).lower()}\n" + text)
    jobs = Jobs.open(own, clock=lambda: datetime(2026, 4, 2, 3, tzinfo=UTC), run_id="r")
    moved = jobs.settings.lake.model_copy(update={"url": lake.as_uri()})
    jobs.settings = jobs.settings.model_copy(update={"lake": moved})
    return jobs


def heads(jobs: Jobs) -> dict[str, list[str]]:
    return {p.path: [f.sha256 for f in v.files] for name in DATA for p, v in jobs.lake.heads(name).items()}


def night(jobs: Jobs) -> dict[str, list[str]]:
    jobs.run_day(DAY)
    return heads(jobs)


@pytest.fixture(scope="module")
def alone_once(data, tmp_path_factory) -> tuple[Path, dict[str, list[str]]]:
    """The lake of a large day that was not shared out, and its heads."""
    lake = tmp_path_factory.mktemp("once") / "alone"
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        return lake, night(open_jobs(data, lake, share=False))


@pytest.fixture
def alone(alone_once, small, tmp_path) -> dict[str, list[str]]:
    """Those heads; a copy of the lake is in ``tmp_path / "alone"``."""
    shutil.copytree(alone_once[0], tmp_path / "alone")
    return alone_once[1]


# ------------------------------------------------------------------------------------------------------- buckets


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1), st.sampled_from([1, 2, 4, 8, 64]))
def test_a_bucket_is_what_plain_python_says(ids, count):
    def reckoned(name: str) -> int:
        last = name.partition("#")[0].rjust(8, "0").encode()[-8:]
        return (int.from_bytes(last, "little") * 0x9E3779B97F4A7C15) % 2**64 * count // 2**64

    frame = pl.DataFrame(
        {"kind": "message", "record_id": ids, "parent_id": None}, schema_overrides={"parent_id": pl.String}
    )
    assert frame.with_columns(b=buckets.bucket(count))["b"].to_list() == [reckoned(name) for name in ids]


def test_what_belongs_together_is_in_one_bucket():
    rows = [("call", "CA1", None), ("recording", "RE1", "CA1"), ("recording", "RE2", "CA1"), ("message", "SM1", "CA1")]
    rows += [("message", "SM1#2", None), ("video", "PA1", "RM1"), ("video", "PA2", "RM1")]
    frame = pl.DataFrame(rows, schema=["kind", "record_id", "parent_id"], orient="row")
    found = frame.select(buckets.bucket(1024).alias("b"))["b"].to_list()
    assert found[0] == found[1] == found[2] and found[3] == found[4] and found[5] == found[6]


@given(st.sampled_from([1, 2, 4, 8]), st.sampled_from([1, 2, 4, 8]))
def test_buckets_of_two_counts_overlap_as_their_rows_do(some, others):
    ids = [f"SM{n:032x}" for n in range(2_000)]
    frame = pl.DataFrame(
        {"kind": "message", "record_id": ids, "parent_id": None}, schema_overrides={"parent_id": pl.String}
    )
    both = frame.with_columns(a=buckets.bucket(some), b=buckets.bucket(others)).select("a", "b").unique()
    for number in range(some):
        assert set(both.filter(a=number)["b"]) <= set(buckets.overlapping(number, some, others))
    assert both.height == max(some, others)


def test_a_day_has_as_many_buckets_as_its_logs_are_large():
    one = buckets.BUCKET_BYTES
    assert [buckets.count(n) for n in (0, 1, one, one + 1, 2 * one, 2 * one + 1, 5 * one)] == [1, 1, 1, 2, 2, 4, 8]


# ------------------------------------------------------------------------------------------------------- large days


def test_a_day_in_buckets_says_what_a_day_in_one_says(data, alone, tmp_path, monkeypatch):
    monkeypatch.undo()
    whole = open_jobs(data, tmp_path / "whole", share=False)
    whole.run_day(DAY)
    cut = open_jobs(data, tmp_path / "alone", share=False)
    for name in ("events", "charges"):
        at = Partition.of(name, date=DAY, source=SOURCE)
        one, many = whole.lake.head(at), cut.lake.head(at)
        assert (len(one.files), len(many.files)) == (1, 8), "else nothing is compared"
        keys = DATASETS[name].key
        assert whole.lake.read(one).sort(keys).equals(cut.lake.read(many).sort(keys))
    for at in (Partition.of("daily", date=DAY), Partition.of("reconciled", date=DAY, source=SOURCE)):
        assert whole.lake.head(at).files == cut.lake.head(at).files


def test_the_second_night_writes_nothing(data, alone, tmp_path):
    jobs = open_jobs(data, tmp_path / "alone", share=False)
    report = jobs.run_day(DAY)
    assert not any(one.changed for one in report.done)
    assert heads(jobs) == alone


def test_a_day_that_grows_into_more_buckets_keeps_every_record(data, small, tmp_path, monkeypatch):
    jobs = open_jobs(data, tmp_path / "grown", share=False)
    jobs.run_day(DAY)
    at = Partition.of("events", date=DAY, source=SOURCE)
    before = jobs.lake.read(jobs.lake.head(at)).sort("record_id")
    for size, count in ((20_000, 32), (1 << 30, 1)):
        monkeypatch.setattr(buckets, "BUCKET_BYTES", size)
        jobs.lake.code += "x"  # other code, so that it is made again
        jobs.run_day(DAY)
        head = jobs.lake.head(at)
        assert len(head.files) == count
        assert jobs.lake.read(head).sort("record_id").equals(before)


def test_a_large_day_is_rolled_up_in_files_of_whole_accounts(data, small, tmp_path, monkeypatch):
    jobs = open_jobs(data, tmp_path / "rolled", share=False)
    jobs.run_day(DAY)
    at = Partition.of("daily", date=DAY)
    one = jobs.lake.read(jobs.lake.head(at))
    monkeypatch.setattr(rollup, "ROWS", 500)
    jobs.lake.code += "x"
    done = jobs.roll_up(DAY)
    head = jobs.lake.head(at)
    assert len(head.files) == 8 and done.counts == {"unrated": one["unrated"].sum()}
    files = list(jobs.lake.read_files(head, one.columns))
    assert DATASETS["daily"].arrange(pl.concat(files)).equals(one.select(DATASETS["daily"].columns))
    accounts = [set(file["account_id"]) for file in files]
    assert sum(map(len, accounts)) == one["account_id"].n_unique(), "an account is in one file"
    assert not jobs.roll_up(DAY).changed
    found = {r.where: r.verdict for r in jobs.audit([DAY]) if r.invariant == "lines add up"}
    assert found[f"date={DAY}"] == "ok"


# ------------------------------------------------------------------------------------------------------- shared out


def shared_night(jobs: Jobs, *, reads=None, makes=None) -> dict[str, list[str]]:
    for source in jobs.sources:
        jobs.pull(DAY, source)
        groups, count = jobs.shares(DAY, source)
        for group in range(groups) if reads is None else reads:
            jobs.read_share(DAY, source, group)
        for number in range(count) if makes is None else makes:
            jobs.make_share(DAY, source, number)
    return night(jobs)


def test_shared_out_the_bytes_are_the_same(data, alone, tmp_path, monkeypatch):
    jobs = open_jobs(data, tmp_path / "shared", share=True)
    made = []
    monkeypatch.setattr(Jobs, "_bucket_events", _counted(Jobs._bucket_events, made))
    for source in jobs.sources:
        jobs.pull(DAY, source)
        groups, count = jobs.shares(DAY, source)
        for group in range(groups):
            jobs.read_share(DAY, source, group)
        for number in range(count):
            jobs.make_share(DAY, source, number)
            jobs.make_share(DAY, source, number)  # a task that is tried again
    assert len(made) == 8, "a share that is made again finds itself"
    made.clear()
    jobs.normalise(DAY, SOURCE)
    assert len(made) == 3, "what the shares made is taken; only the three days that got late records are merged here"
    assert night(jobs) == alone
    assert not list(jobs.lake.store.list("_work/")), "texts do not lie about"


def _counted(function, made: list):
    def wrapped(*args, **kwargs):
        made.append(DAY)
        return function(*args, **kwargs)

    return wrapped


@pytest.mark.parametrize(
    ("reads", "makes"), [([0], []), (None, [0, 3]), ([0, 1], [])], ids=["one read", "two made", "some read"]
)
def test_shares_that_were_lost_are_made_on_the_way(reads, makes, data, alone, tmp_path):
    jobs = open_jobs(data, tmp_path / "lost", share=True)
    jobs.pull(DAY, SOURCE)
    groups, _ = jobs.shares(DAY, SOURCE)
    for group in range(groups) if reads is None else reads:
        jobs.read_share(DAY, SOURCE, group)
    for number in makes:
        jobs.make_share(DAY, SOURCE, number)
    assert night(jobs) == alone


def test_a_bucket_waits_for_all_pages(data, small, tmp_path):
    jobs = open_jobs(data, tmp_path / "early", share=True)
    jobs.pull(DAY, SOURCE)
    jobs.read_share(DAY, SOURCE, 0)
    with pytest.raises(NotReady, match="not all of its pages"):
        jobs.make_share(DAY, SOURCE, 0)


def test_a_share_made_before_the_card_changed_is_not_taken(data, alone, tmp_path):
    jobs = open_jobs(data, tmp_path / "stale", share=True)
    jobs.pull(DAY, SOURCE)
    groups, count = jobs.shares(DAY, SOURCE)
    for group in range(groups):
        jobs.read_share(DAY, SOURCE, group)
    for number in range(count):
        jobs.make_share(DAY, SOURCE, number)
    later = open_jobs(data, tmp_path / "stale", share=True)
    fewer = later.card.prices.filter(pl.col("line") != "text")
    later.card = type(later.card)(fewer, later.card.fees, later.card.tiers, "other")
    later.normalise(DAY, SOURCE)
    later.rate(DAY, SOURCE)
    charges = later.lake.read(later.lake.head(Partition.of("charges", date=DAY, source=SOURCE)))
    assert charges.filter(pl.col("line") == "text")["charge"].null_count() > 0


def test_airflow_maps_over_shares_and_the_bytes_are_the_same(data, alone, tmp_path, monkeypatch):
    monkeypatch.setattr(nights, "MAX_SHARES", 3)
    jobs = open_jobs(data, tmp_path / "mapped", share=True)
    window = f"{DAY}/{DAY}"
    assert nights.shares(jobs, [window], SOURCE) == {"pages": [], "buckets": []}, "nothing is pulled yet"
    jobs.pull(DAY, SOURCE)
    found = nights.shares(jobs, [window], SOURCE)
    assert found["buckets"] == [f"{DAY}/0-2", f"{DAY}/3-5", f"{DAY}/6-7"]
    assert all(len(some) <= 3 for some in found.values())
    for one in found["pages"]:
        nights.share(jobs, "read_share", one, SOURCE)
    for one in found["buckets"]:
        nights.share(jobs, "make_share", one, SOURCE)
    assert night(jobs) == alone


def test_the_daily_dag_shares_days_out_where_the_settings_say_so(tmp_path):
    code = (
        "import runpy, sys; sys.path.insert(0, 'dags')\n"
        "import usage_daily as file\n"
        "from airflow.sdk import DAG\n"
        "dag = next(v for v in (file.usage_daily(),) if isinstance(v, DAG))\n"
        "print(*sorted(t for t in dag.task_ids if 'share' in t))\n"
        "print(dag.get_task('messages.normalise').trigger_rule, *sorted(dag.get_task('messages.normalise').upstream_task_ids))"
    )
    settings = tmp_path / "tollbook.toml"
    text = (Path(__file__).parents[2] / "config" / "tollbook.example.toml").read_text()
    settings.write_text("share_days = true\n" + text.replace("[sources.twilio]", "[sources.messages]"))
    environment = {**os.environ, "TOLLBOOK_CONFIG": str(settings)}
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    tasks, rule = done.stdout.strip().splitlines()[-2:]
    assert tasks.split() == [f"messages_shares.{name}" for name in ("buckets", "make_share", "pages", "pull", "read_share")]
    assert rule.split()[0].lower().endswith("all_done") and "messages_shares.make_share" in rule


def test_a_day_that_did_not_change_is_not_shared_out_again(data, alone, tmp_path):
    jobs = open_jobs(data, tmp_path / "alone", share=True)

    night(jobs)
    assert jobs.shares(DAY, SOURCE) == (0, 0)


def test_a_small_day_is_not_shared_out(data, tmp_path):
    jobs = open_jobs(data, tmp_path / "small", share=True)
    jobs.pull(DAY, SOURCE)
    assert jobs.shares(DAY, SOURCE) == (0, 0)


def test_pages_that_need_one_another_are_one_share():
    rows = [
        ("calls", 40),
        ("calls", 40),
        ("messages", 10),
        ("messages", 90),
        ("rooms", 1),
        ("video", 500),
        ("usage", 3),
    ]
    index = pl.DataFrame(rows, schema=["resource", "object_bytes"], orient="row")
    found = [part.rows() for part in pieces(index, 80)]
    assert found == [[("calls", 40), ("calls", 40)], [("messages", 10)], [("messages", 90)], rows[4:]]


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=60), st.integers(1, 10**9), st.integers(1, 9))
def test_shares_of_pages_are_no_more_than_the_most_and_lose_no_page(sizes, piece_bytes, most):
    index = pl.DataFrame({"resource": "messages", "object_bytes": sizes, "page": range(len(sizes))})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "MOST_SHARES", 10**9)
        as_asked = pieces(index, piece_bytes)
        patch.setattr(work, "MOST_SHARES", most)
        found = pieces(index, piece_bytes)
    assert len(found) <= most and pl.concat(found).equals(index)
    if sum(sizes) <= piece_bytes * most:
        assert [part.rows() for part in found] == [part.rows() for part in as_asked]


def test_prepared_work_is_of_its_day_alone(tmp_path, data, small):
    jobs = open_jobs(data, tmp_path / "own", share=True)
    mine, other = Work(jobs.lake.store, DAY, SOURCE), Work(jobs.lake.store, date(2026, 4, 2), SOURCE)
    mine.put("a", b"1")
    other.put("a", b"2")
    mine.clear()
    assert (mine.get("a"), other.get("a")) == (None, b"2")


# ------------------------------------------------------------------------------------------------------- ordering

values = st.one_of(st.none(), st.sampled_from(["", "a", "b", "é", "zz", "aa"]))


@given(
    st.lists(
        st.tuples(
            values, st.one_of(st.none(), st.booleans()), st.one_of(st.none(), st.integers(-(2**62), 2**62)), st.text()
        )
    )
)
def test_rows_are_ordered_as_polars_orders_them(rows):
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.Boolean, "c": pl.Int64, "d": pl.String}, orient="row")
    few, ordering.FEW_ROWS = ordering.FEW_ROWS, 0
    try:
        for keys in (["a", "b", "c", "d"], ["c", "a"], ["d"], ["b", "a", "d"]):
            expected = frame.sort(keys, nulls_last=True).select(keys)
            assert frame[ordering.order(frame, keys)].select(keys).equals(expected)
            marked = frame.with_columns(pl.col("a", "d").cast(pl.Categorical))
            assert ordering.order(marked, keys).equals(ordering.order(frame, keys))
    finally:
        ordering.FEW_ROWS = few


@given(st.lists(st.tuples(values, st.one_of(st.none(), st.booleans()), st.text(max_size=1))))
def test_groups_are_rows_that_agree(rows):
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.Boolean, "c": pl.String}, orient="row")
    number, groups = ordering.grouped(frame)
    assert [groups.row(n) for n in number] == frame.rows()
    assert groups.height == len(set(rows))


# ------------------------------------------------------------------------------------------------------- what may go wrong


def share_all(jobs: Jobs, source: str = SOURCE) -> int:
    jobs.pull(DAY, source)
    groups, count = jobs.shares(DAY, source)
    for group in range(groups):
        jobs.read_share(DAY, source, group)
    return count


@pytest.mark.parametrize("at", [0, 3, 7])
def test_a_rival_that_clears_the_shares_loses_no_record(at, data, alone, tmp_path, monkeypatch):
    jobs, taken = open_jobs(data, tmp_path / "rival", share=True), []
    share_all(jobs)
    plain = Jobs._bucket_events

    def cleared(self, cut, base, listed, number):
        taken.append(number)
        if number == at and len(taken) == at + 1:
            Work(jobs.lake.store, DAY, SOURCE).clear()
        return plain(self, cut, base, listed, number)

    monkeypatch.setattr(Jobs, "_bucket_events", cleared)
    assert night(jobs) == alone


def test_a_share_whose_file_is_gone_is_made_again(data, alone, tmp_path):
    jobs = open_jobs(data, tmp_path / "gone", share=True)
    for number in range(share_all(jobs)):
        jobs.make_share(DAY, SOURCE, number)
    for key in [k for k in jobs.lake.store.list("_hist/") if k.startswith(("_hist/events/", "_hist/charges/"))][::3]:
        jobs.lake.store.delete(key)
    assert night(jobs) == alone


def test_who_dies_while_late_records_are_handed_on_finds_it_to_do_again(data, alone, tmp_path, monkeypatch):
    jobs = open_jobs(data, tmp_path / "died", share=False)
    plain = Jobs._merge_late

    def dies(self, at, own, source, rows):
        if own == date(2026, 3, 30):
            raise RuntimeError("killed")
        return plain(self, at, own, source, rows)

    monkeypatch.setattr(Jobs, "_merge_late", dies)
    with pytest.raises(RuntimeError):
        jobs.run_day(DAY)
    monkeypatch.setattr(Jobs, "_merge_late", plain)
    assert night(jobs) == alone


def test_prepared_texts_go_with_the_night_that_never_ended(data, small, tmp_path):
    jobs = open_jobs(data, tmp_path / "left", share=True)
    share_all(jobs)
    assert jobs.sweep_work([DAY]) == 0 < len(list(jobs.lake.store.list("_work/")))
    off = open_jobs(data, tmp_path / "left", share=False)
    assert off.sweep_work([DAY]) > 0
    assert not list(jobs.lake.store.list("_work/"))


def test_a_day_that_got_late_records_passes_the_audit(data, alone, tmp_path):
    jobs = open_jobs(data, tmp_path / "alone", share=False)
    found = [r for r in jobs.audit([date(2026, 3, 31), DAY]) if r.invariant == "raw kept"]
    of_day = {r.verdict for r in found if str(DAY) in r.where}
    assert of_day == {"ok"} and "broken" not in {r.verdict for r in found}, found


# ------------------------------------------------------------------------------------------------------- audited


@pytest.fixture(scope="module")
def both(data, tmp_path_factory) -> Path:
    """The lakes of a night with the day in one bucket, and in eight."""
    folder = tmp_path_factory.mktemp("both")
    night(open_jobs(data, folder / "one", share=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buckets, "BUCKET_BYTES", 60_000)
        night(open_jobs(data, folder / "eight", share=False))
    return folder


def some(column: str, value) -> Callable:
    """That value in every fourth record or so, in whatever file it is."""
    value = value if isinstance(value, pl.Expr) else pl.lit(value)
    fourth = pl.when(pl.col("record_id").str.contains("[0-3]$"))
    return lambda files: [
        f.with_columns(fourth.then(value.cast(f.schema[column])).otherwise(column).alias(column)) for f in files
    ]


def lowest(files: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(files).sort("record_id").head(1)


def copied(files: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """A record twice, once in the last file."""
    assert len(files) == 1 or lowest(files)["record_id"][0] not in files[-1]["record_id"], "else it is in one bucket"
    return [*files[:-1], pl.concat([files[-1], lowest(files)])]


def moved(files: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """A record in the last file instead of its own."""
    without = [f.filter(pl.col("record_id") != lowest(files)["record_id"][0]) for f in files]
    return [*without[:-1], pl.concat([without[-1], lowest(files)])]


PLANTED = {
    "no reason": ("events", some("outcome", "excluded"), 2),
    "no charge": ("charges", lambda files: [f.filter(~pl.col("record_id").str.contains("[0-3]$")) for f in files], 2),
    "no event": ("events", lambda files: [f.filter(~pl.col("record_id").str.contains("[0-3]$")) for f in files], 1),
    "no segment": ("events", some("segments", 0), 1),
    "another body": ("events", some("body", pl.col("body") + "x" * 400), 1),
    "another day": ("events", some("occurred_at", pl.col("occurred_at") + timedelta(days=1)), 1),
    "no page": ("events", some("raw_sha256", "f" * 64), 1),
    "no amount": ("charges", some("charge", None), 2),
    "no price": ("charges", some("rate_id", None), 1),
    "a stranger": ("charges", some("account_id", "nobody"), 2),
    "nobody's": ("events", some("provider_account", None), 1),
    "twice": ("events", copied, 1),
    "charged twice": ("charges", copied, 2),
    "charged in another bucket": ("charges", moved, 0),
    "charges in one file": ("charges", lambda files: [pl.concat(files)], 0),
    "charges in three": ("charges", lambda files: [pl.concat(files), files[0].clear(), files[0].clear()], 0),
}


@pytest.mark.parametrize(("dataset", "change", "findings"), PLANTED.values(), ids=PLANTED)
def test_an_audit_finds_in_buckets_what_it_finds_in_one(dataset, change, findings, data, both, tmp_path):
    told = {}
    for name in ("one", "eight"):
        shutil.copytree(both / name, tmp_path / name)
        jobs = open_jobs(data, tmp_path / name, share=False)
        at = Partition.of(dataset, date=DAY, source=SOURCE)
        head = jobs.lake.head(at)
        assert len(head.files) == {"one": 1, "eight": 8}[name], "else nothing is compared"
        jobs.lake.commit(at, change([f.drop(at.names) for f in jobs.lake.read_files(head)]), base=head)
        told[name] = [r for r in jobs.audit([DAY]) if r.invariant != "configured"]
    assert told["one"] == told["eight"]
    assert findings <= len([r for r in told["one"] if r.verdict == "broken" and r.day == DAY])


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3)))
def test_what_is_there_more_than_once(numbers):
    found = ordering.repeated(pl.Series(numbers, dtype=pl.UInt64))
    assert sorted(found) == sorted({n for n in numbers if numbers.count(n) > 1})
