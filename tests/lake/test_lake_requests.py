"""What a lake asks of its store and how often, and what its files are made of."""

from __future__ import annotations

import hashlib
import io
import stat
import threading
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import date
from decimal import Decimal

import polars as pl
import pyarrow.parquet as pq
import pytest
from lakehelp import frame, ticking

from etl.lake import Conflict, Corrupt, Lake, NotFound, Partition, SchemaMismatch, open_store
from etl.lake.frames import ROW_GROUP, encode
from etl.lake.local import LocalStore


class Counted(LocalStore):
    """A disk that notes what it is asked, and says of no object where it lies."""

    def __init__(self, root, **options):
        super().__init__(root, **options)
        self.asked: list[tuple[str, str]] = []
        self.types: dict[str, set[str | None]] = defaultdict(set)

    def _note(self, call: str, key: str) -> None:
        self.asked.append((call, key))

    def get(self, key):
        self._note("get", key)
        return super().get(key)

    def put(self, key, data, **headers):
        self._note("put", key)
        self.types[key.rpartition(".")[2]].add(headers.get("content_type"))
        super().put(key, data, **headers)

    def create(self, key, data):
        self._note("create", key)
        super().create(key, data)

    def digest(self, key):
        self._note("digest", key)
        return super().digest(key)

    def list(self, prefix, *, limit=None):
        self._note("list", prefix)
        return super().list(prefix, limit=limit)


class Remote(Counted):
    parallel = 4

    def local_path(self, key):
        return None

    def get(self, key):
        self._note("get", key)
        try:
            return (self.root / key).read_bytes()
        except FileNotFoundError:
            raise NotFound(key) from None

    def _write(self, key, data, publish):
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        if publish.__name__ == "link" and path.exists():
            raise Conflict(key)
        path.write_bytes(data)

    def digest(self, key):
        path = self.root / key
        if not path.exists():
            raise NotFound(key)
        return hashlib.sha256(path.read_bytes()).hexdigest()


def days(lake: Lake, *names: str, sources=("twilio",)) -> None:
    for day in names:
        for source in sources:
            lake.commit(Partition.of("events", date=day, source=source), frame(1), base=None)


# ------------------------------------------------------------------------------------------------ listings


@pytest.mark.parametrize(
    ("keys", "prefix"),
    [
        ({}, "_log/events/"),
        ({"source": "twilio"}, "_log/events/"),
        ({"date": "2026-10-01"}, "_log/events/date=2026-10-01/"),
        ({"date": "2026-10-01", "source": "twilio"}, "_log/events/date=2026-10-01/source=twilio/"),
        ({"date": ("2026-10-01", "2026-10-31")}, "_log/events/date=2026-10-"),
        ({"date": ("2026-10-30", "2026-10-31")}, "_log/events/date=2026-10-3"),
        ({"date": ("2026-10-31", "2026-11-01")}, "_log/events/date=2026-1"),
        ({"date": ("2025-12-31", "2026-11-01")}, "_log/events/date=202"),
        ({"date": "2026-10-01", "source": ("a", "z")}, "_log/events/date=2026-10-01/source="),
        ({"date": "2026-10-01", "source": ("tw", "twilio")}, "_log/events/date=2026-10-01/source=tw"),
    ],
    ids=str,
)
def test_heads_list_no_more_than_they_must(tmp_path, keys, prefix):
    """A year of days lies beside the one that is asked for."""
    store = Counted(tmp_path)
    days(Lake(store, run_id="run-1"), "2026-10-01", "2026-10-31", "2026-11-01")
    store.asked.clear()
    Lake(store, run_id="reader").heads("events", **keys)
    looks = [key for call, key in store.asked if call == "list"]
    assert looks == (["_log/events/"] if keys else []) + [prefix]


def test_both_ends_of_a_range_are_included_and_compared_as_text(tmp_path):
    lake = Lake(Counted(tmp_path), run_id="run-1")
    days(lake, "2026-10-01", "2026-10-02", "2026-10-03", sources=("a", "tw", "twilio"))
    found = lake.heads("events", date=(date(2026, 10, 2), "2026-10-03"), source=("b", "tw"))
    assert [q.path for q in found] == [f"events/date=2026-10-0{n}/source=tw" for n in (2, 3)]
    assert lake.heads("events", date=("2026-10-03", "2026-10-01")) == {}


def test_an_entry_is_read_once_and_what_was_just_written_never(tmp_path, p):
    store = Counted(tmp_path)
    lake = Lake(store, run_id="run-1")
    version = lake.commit(p, frame(1), base=None)
    store.asked.clear()
    assert lake.head(p) == version
    assert [call for call, _ in store.asked] == ["list"]
    reader = Lake(store, run_id="reader")
    assert [reader.head(p), reader.head(p), *reader.history(p)] == [version] * 3
    assert [call for call, key in store.asked].count("get") == 1


def test_the_same_blob_is_written_once_and_a_damaged_one_again(tmp_path):
    store = Counted(tmp_path)
    lake = Lake(store, run_id="run-1")
    sha = lake.put_blob("raw", b"page", ".json")
    lake.put_blob("raw", b"page", ".json")
    key = f"_hist/raw/{sha}.json"
    assert store.asked.count(("put", key)) == 1
    store.put(key, b"other")
    lake.put_blob("raw", b"page", ".json")
    assert store.get(key) == b"page"


def test_what_the_base_holds_is_not_written_again(tmp_path, p):
    store = Counted(tmp_path)
    lake = Lake(store, run_id="run-1", clock=ticking())
    base = lake.commit(p, [frame(1), frame(2)], base=None)
    store.asked.clear()
    lake.commit(p, [frame(1), frame(3)], base=base)
    written = [key for call, key in store.asked if call == "put"]
    assert [key.split("/")[0] for key in written] == ["_hist", "events"]
    assert written[1].endswith("part-00001.parquet")


# ------------------------------------------------------------------------------------------------ a remote store


def test_a_remote_file_is_fetched_once_checked_and_read_from_disk(tmp_path):
    store = Remote(tmp_path / "far")
    lake = Lake(store, run_id="run-1", clock=ticking())
    names = [f"2026-10-0{n}" for n in range(1, 8)]
    days(lake, *names)
    versions = list(lake.heads("events").values())
    assert [v.partition["date"] for v in versions] == names
    store.asked.clear()
    assert lake.scan(versions).collect()["date"].to_list() == [date.fromisoformat(n) for n in names]
    assert lake.scan(versions, ["date"]).collect().columns == ["date"]
    # The same rows in every partition are the same bytes: one file, fetched by whoever came first.
    fetched = Counter(key for call, key in store.asked if call == "get")
    assert set(fetched.values()) == {1}
    assert all(key.startswith("_hist/events/") for key in fetched)


def test_a_damaged_remote_file_is_never_scanned(tmp_path, p):
    store = Remote(tmp_path / "far")
    version = Lake(store, run_id="run-1").commit(p, frame(1), base=None)
    store.put(f"_hist/{p.path}/{version.sha256}.parquet", b"damaged")
    with pytest.raises(Corrupt):
        Lake(store, run_id="reader").scan([version])


def test_work_on_many_partitions_is_shared_among_threads(tmp_path):
    store = Remote(tmp_path / "far")
    lake = Lake(store, run_id="run-1", clock=ticking())
    days(lake, *(f"2026-10-{n:02d}" for n in range(1, 7)))
    both = threading.Barrier(2, timeout=20)
    get = store.get

    def waits(key):
        both.wait()  # passes only if two are on their way at once
        return get(key)

    store.get = waits
    assert len(Lake(store, run_id="reader").heads("events")) == 6


# ------------------------------------------------------------------------------------------------ files


def test_a_file_is_zstd_in_groups_of_rows_with_statistics(p):
    data, file = encode(pl.DataFrame({"n": range(ROW_GROUP + 1)}), p)
    metadata = pq.ParquetFile(io.BytesIO(data)).metadata
    assert (file.rows, file.bytes) == (ROW_GROUP + 1, len(data))
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [122_880, 1]
    column = metadata.row_group(0).column(0)
    assert column.compression == "ZSTD"
    assert (column.statistics.min, column.statistics.max, column.statistics.null_count) == (0, ROW_GROUP - 1, 0)


def test_keys_of_several_values_or_of_another_are_refused_and_none_is_fine(p):
    one = frame(1, 2).with_columns(source=pl.Series(["twilio", "plivo"]))
    with pytest.raises(ValueError, match="source"):
        encode(one, p)
    assert encode(one.clear(), p)[1].rows == 0


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (frame(1).with_columns(more=1), "frame 1 differs from frame 0: more: Int32, not no further column"),
        (frame(1).drop("text"), "frame 1 differs from frame 0: no further column, not text: String"),
        (frame(1).select("text", "id"), "frame 1 differs from frame 0: text: String, not id: Int64"),
    ],
    ids=["more", "fewer", "order"],
)
def test_the_first_column_that_differs_is_named(local_lake, p, other, said):
    with pytest.raises(SchemaMismatch) as error:
        local_lake.commit(p, [frame(1), other], base=None)
    assert str(error.value) == said


def test_every_parquet_file_is_sent_as_one(tmp_path, p):
    store = Counted(tmp_path)
    lake = Lake(store, run_id="run-1", clock=ticking())
    version = lake.commit(p, [frame(1), frame(2)], base=None)
    lake.put_blob("raw", b"page", ".json")
    store.delete(version.view_keys[0])
    lake.heal()
    assert store.types == {"parquet": {"application/vnd.apache.parquet"}, "json": {None}}


def test_files_that_disagree_are_never_put_together(local_lake, p):
    """No commit makes such a version; whoever forged one must not have money rounded by it."""
    whole = pl.DataFrame({"n": [Decimal(1)]}, schema={"n": pl.Decimal(18, 9)})
    first = local_lake.commit(p, whole, base=None)
    second = local_lake.commit(p, whole.cast({"n": pl.Decimal(18, 2)}), base=first)
    with pytest.raises(SchemaMismatch, match="file 1 differs from file 0"):
        local_lake.read(replace(second, files=first.files + second.files))


def test_a_file_of_fewer_rows_than_the_log_says_is_damage(local_lake, p):
    version = local_lake.commit(p, frame(1, 2), base=None)
    lying = replace(version, files=(replace(version.files[0], rows=3),))
    with pytest.raises(Corrupt, match="holds 2 rows, the log says 3"):
        local_lake.read(lying)


def test_a_folder_whose_name_looks_like_a_key_or_a_pattern_is_only_a_folder(tmp_path, p):
    lake = Lake(open_store(tmp_path / "env=prod" / "a[b]*"), run_id="run-1")
    version = lake.commit(p, frame(1), base=None)
    assert lake.scan([version]).collect().columns == lake.read(version).columns == ["id", "text", "date", "source"]


def test_columns_come_in_the_order_asked_for(local_lake, p):
    version = local_lake.commit(p, [frame(1), frame(2)], base=None)
    assert local_lake.read(version, ["text", "date", "id"]).rows() == [
        ("x1", date(2026, 10, 1), 1),
        ("x2", date(2026, 10, 1), 2),
    ]
    assert local_lake.read(version, ["source", "date"]).rows() == [("twilio", date(2026, 10, 1))] * 2


def test_files_are_written_for_others_to_read(tmp_path):
    store = open_store(tmp_path / "lake")
    store.put("a", b"1")
    mode = stat.S_IMODE((tmp_path / "lake" / "a").stat().st_mode)
    assert mode & 0o600 == 0o600
    assert not mode & 0o111


# ------------------------------------------------------------------------------------------------ the audit


def kinds(findings) -> list[tuple[str, str]]:
    return [(f.level, f.kind) for f in findings]


def test_a_shallow_audit_reads_no_content_and_sees_what_is_missing(tmp_path, p):
    store = Counted(tmp_path)
    lake = Lake(store, run_id="run-1")
    version = lake.commit(p, frame(1), base=None)
    key = f"_hist/{p.path}/{version.sha256}.parquet"
    store.put(key, b"damaged")
    store.asked.clear()
    assert lake.audit(deep=False) == []
    assert {k for call, k in store.asked if call == "get"} == {f"_log/{p.path}/00000001.json"}
    assert kinds(lake.audit()) == [("error", "corrupt")]
    store.delete(key)
    assert kinds(lake.audit(deep=False)) == [("error", "missing")]
    store.put(version.view_keys[0], b"damaged")
    assert kinds(lake.audit(deep=False)) == [("error", "missing"), ("warn", "view")]


def test_one_partition_is_inspected_as_the_audit_sees_it(tmp_path, p):
    lake = Lake(open_store(tmp_path), run_id="run-1", clock=ticking())
    first = lake.commit(p, frame(1), base=None)
    second = lake.commit(p, frame(2), base=first)
    days(lake, "2026-10-02")
    assert lake.inspect(p) == ([first, second], [])
    lake.store.put(f"_hist/{p.path}/{first.sha256}.parquet", b"damaged")
    lake.store.delete(second.view_keys[0])
    other = Partition.of("events", date="2026-10-02", source="twilio")
    lake.store.delete(f"{other.path}/part.parquet")
    versions, findings = lake.inspect(p)
    assert versions == [first, second]
    assert kinds(findings) == [("error", "corrupt"), ("warn", "view")]
    assert findings == [f for f in lake.audit() if p.path in f.key]
    assert kinds(lake.inspect(p, deep=False)[1]) == [("warn", "view")]
    assert lake.inspect(Partition.of("events", date="2026-10-03", source="twilio")) == ([], [])


@pytest.mark.parametrize("deep", [False, True])
def test_a_month_is_inspected_as_each_of_its_partitions_with_three_listings(tmp_path, deep):
    store = Remote(tmp_path)
    lake = Lake(store, run_id="run-1", clock=ticking())
    names = [f"2026-10-{n:02d}" for n in range(1, 10)]
    days(lake, *names, sources=("tw", "twilio"))
    at = [Partition.of("events", date=day, source=s) for day in [*names, "2026-10-31"] for s in ("tw", "twilio")]
    for p, other in zip(at[:3], at[3:6], strict=True):
        lake.commit(p, frame(2, 3), base=lake.head(p))
        (tmp_path / f"{other.path}/part.parquet").unlink()
    (tmp_path / f"_log/{at[1].path}/00000001.json").unlink()
    (tmp_path / f"_log/{at[6].path}/00000001.json").write_bytes(b"damaged")
    (tmp_path / f"{at[7].path}/part-00001.parquet").write_bytes(b"stray")
    for one in (tmp_path / f"_hist/{at[8].path}").iterdir():
        one.unlink()
    alone = {p: Lake(store, run_id="reader").inspect(p, deep=deep) for p in at}
    store.asked.clear()
    together = Lake(store, run_id="reader").inspect_all(at, deep=deep)
    assert {p: (one.versions, one.findings) for p, one in together.items()} == alone
    assert sum(bool(findings) for _, findings in alone.values()) == 7
    looks = [key for call, key in store.asked if call == "list"]
    assert looks == [root + "events/date=2026-10-" for root in ("_log/", "_hist/", "")]
    if not deep:
        assert [call for call, _ in store.asked].count("get") == 20, "an entry each, and no content"


def test_many_partitions_inspected_at_once_are_each_as_inspected_alone(tmp_path):
    store = Counted(tmp_path)
    lake = Lake(store, run_id="run-1", clock=ticking())
    days(lake, "2026-10-01", "2026-10-02", "2026-10-12", "2026-11-01", sources=("plivo", "twilio"))
    lake.commit(Partition.of("daily", date="2026-10-01"), frame(1), base=None)
    every = [Partition.of("events", date=d, source="twilio") for d in ("2026-10-01", "2026-10-12", "2026-11-01")]
    every += [Partition.of("daily", date="2026-10-01"), Partition.of("events", date="2026-12-01", source="twilio")]
    first, second, third = every[:3]
    lake.commit(first, frame(2), base=lake.head(first))
    store.put(f"_hist/{first.path}/{lake.version(first, 1).sha256}.parquet", b"damaged")
    store.delete(f"_hist/{second.path}/{lake.head(second).sha256}.parquet")
    store.delete(f"{third.path}/part.parquet")
    store.put(f"{third.path}/part-00001.parquet", b"left behind")
    for deep in (True, False):
        fresh = Lake(store, run_id="auditor")
        store.asked.clear()
        found = fresh.inspect_all([*every, first], deep=deep)
        # Log, history and view of October's events, November's, December's, and October's daily sums.
        assert sum(call == "list" for call, _ in store.asked) == 3 * 4
        assert list(found) == every
        assert {p: (i.versions, i.findings) for p, i in found.items()} == {p: lake.inspect(p, deep=deep) for p in every}
        assert {len(found[p].stored) for p in (first, second, every[4])} == {2, 0}
        assert all(k.startswith(f"_hist/{p.path}/") for p, i in found.items() for k in i.stored)
        store.asked.clear()
        fresh.inspect_all(every, deep=deep)
        entries = [k for call, k in store.asked if call == "get" and k.startswith("_log/")]
        assert len(entries) == (5 if deep else 0)
    assert lake.inspect_all(every) == lake.inspect_all(every, deep=True) != lake.inspect_all(every, deep=False)
    assert [(f.level, f.kind) for p in every for f in lake.inspect(p)[1]] == [
        ("error", "corrupt"), ("error", "missing"), ("warn", "view"), ("warn", "view"),
    ]  # fmt: skip


def test_what_is_fetched_before_is_scanned_from_disk_and_what_cannot_be_had_is_left_to_the_scan(tmp_path):
    store = Remote(tmp_path / "far")
    lake = Lake(store, run_id="run-1", clock=ticking())
    days(lake, "2026-10-01")
    good = lake.head(Partition.of("events", date="2026-10-01", source="twilio"))
    bad = lake.commit(Partition.of("events", date="2026-10-02", source="twilio"), frame(2), base=None)
    store.put(f"_hist/{bad.partition.path}/{bad.sha256}.parquet", b"damaged")
    reader = Lake(store, run_id="reader")
    reader.fetch([good, bad])
    store.asked.clear()
    assert reader.scan([good]).collect()["id"].to_list() == [1]
    assert store.asked == []
    with pytest.raises(Corrupt):
        reader.scan([bad])


def test_a_pinned_document_is_read_once_and_stays_as_it_was(tmp_path):
    store = Counted(tmp_path)
    lake = Lake(store, run_id="run-1")
    lake.pin("close/a", {"n": [1]})
    store.asked.clear()
    reader = Lake(store, run_id="reader")
    reader.get_pin("close/a")["n"].append(2)
    assert reader.get_pin("close/a") == {"n": [1]}
    assert [call for call, _ in store.asked] == ["get"]


def test_an_audit_of_one_dataset_leaves_the_others_alone(tmp_path, p):
    store = open_store(tmp_path)
    lake = Lake(store, run_id="run-1")
    lake.commit(p, frame(1), base=None)
    lake.commit(Partition.of("daily", date="2026-10-01"), frame(1), base=None)
    store.delete("daily/date=2026-10-01/part.parquet")
    assert lake.audit("events") == []
    assert kinds(lake.audit("daily")) == [("warn", "view")]
    store.put("nothing/date=2026-10-01/part.parquet", b"x")
    assert kinds(lake.audit("nothing")) == [("warn", "stray")]


def test_a_log_that_begins_late_or_lost_one_entry_says_which(tmp_path, p):
    store = open_store(tmp_path)
    lake = Lake(store, run_id="run-1", clock=ticking())
    versions = []
    for n in range(1, 6):
        versions.append(lake.commit(p, frame(n), base=versions[-1] if versions else None))
    log = f"_log/{p.path}/"
    for gone in (1, 3):
        store.delete(f"{log}{gone:08d}.json")
    found = [(f.kind, f.key) for f in lake.audit() if f.level == "error"]
    assert found == [("gap", f"{log}00000002.json"), ("gap", f"{log}00000004.json")]


def test_what_lies_in_the_log_and_is_no_entry_is_ignored(tmp_path, p):
    store = open_store(tmp_path)
    lake = Lake(store, run_id="run-1")
    version = lake.commit(p, frame(1), base=None)
    entry = store.get(f"_log/{p.path}/00000001.json")
    foreign = [f"_log/{p.path}/2.json", f"_log/{p.path}/00000002.json.bak", "_log/Events/date=x/00000009.json"]
    for key in foreign:
        store.put(key, entry)
    assert Lake(store, run_id="reader").history(p) == [version]
    assert sorted(f.key for f in lake.audit() if f.kind == "foreign") == sorted(foreign)
    assert lake.heal() == []


def test_an_audit_says_who_is_older_than_the_head(tmp_path, p):
    """A view that lags, one file too many of it, and a page that no outsider would take for a part."""
    store = open_store(tmp_path)
    lake = Lake(store, run_id="run-1", clock=ticking())
    old = lake.commit(p, [frame(1), frame(2)], base=None)
    lake.commit(p, frame(3), base=old)
    store.put(f"{p.path}/part-00001.parquet", b"left behind")
    store.put(f"{p.path}/notes.txt", b"x")
    found = [(f.level, f.kind, f.key.rpartition("/")[2]) for f in lake.audit()]
    assert found == [("warn", "view", "part-00001.parquet"), ("warn", "stray", "notes.txt")]
    assert lake.heal() == [f"{p.path}/part-00001.parquet"]


# ------------------------------------------------------------------------------------------------ names and pins


def test_names_and_values_have_a_longest_form():
    longest = Partition.of("a" + "b" * 63, source="x" * 64)
    assert Partition.parse(longest.path) == longest
    for bad in (("a" + "b" * 64, "x"), ("events", "x" * 65)):
        with pytest.raises(ValueError):
            Partition(bad[0], (("source", bad[1]),))


def test_the_marker_says_what_lies_here(local_lake, local_store, p):
    local_lake.commit(p, frame(1), base=None)
    assert local_store.get("_lake.json") == b'{"format":1,"lake":"tollbook"}\n'


def test_versions_may_be_counted_in_sets(local_lake, p):
    version = local_lake.commit(p, frame(1), base=None, inputs={"raw": "a"}, sums={"id": "1"})
    assert {version, Lake(local_lake.store, run_id="reader").head(p)} == {version}


def test_partitions_sort_by_dataset_then_values():
    order = [
        Partition.of("daily", date="2026-10-02"),
        Partition.of("events", date="2026-10-01", source="plivo"),
        Partition.of("events", date="2026-10-01", source="twilio"),
        Partition.of("events", date="2026-10-02", source="plivo"),
    ]
    assert sorted(reversed(order)) == order


def test_a_listing_of_pins_ends_where_its_prefix_does(tmp_path):
    lake = Lake(open_store(tmp_path), run_id="run-1")
    for key in ("close/b", "close/a", "closing/a"):
        lake.pin(key, {"n": 1})
    lake.store.put("close/notes.txt", b"x")
    assert lake.list_pins("close/") == ["close/a", "close/b"]
    for bad in ("", "_log/", "/close", "close/../x", "Close/"):
        with pytest.raises(ValueError):
            lake.list_pins(bad)


def test_a_blob_is_found_by_its_name_alone_and_only_whole_names_count(tmp_path):
    lake = Lake(open_store(tmp_path), run_id="run-1")
    sha = lake.put_blob("raw", b"page", ".json.gz.a")
    assert lake.get_blob("raw", sha) == b"page"
    for bad in ("", "0" * 63, "0" * 65, "G" * 64, sha.upper()):
        with pytest.raises(ValueError):
            lake.get_blob("raw", bad)
    for bad in (".a.b.c.d", ".", ".JSON", "." + "x" * 11):
        with pytest.raises(ValueError):
            lake.put_blob("raw", b"page", bad)
    lake.put_blob("raw", b"page", "." + "x" * 10)
