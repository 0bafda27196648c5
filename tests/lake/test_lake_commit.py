"""What a commit promises, on every store."""

import hashlib
import json
import subprocess
import sys
from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from lakehelp import frame, ticking
from polars.testing import assert_frame_equal

from etl.lake import Conflict, Corrupt, Lake, NotFound, Partition, SchemaMismatch, Stale, StoreError


def test_first_commit(lake, store, p):
    assert lake.head(p) is None
    version = lake.commit(p, frame(1, 2), base=None, inputs={"raw": "abc"}, sums={"id": "3"}, reason="nightly")
    assert (version.seq, version.rows, version.parent, version.run_id) == (1, 2, None, "run-1")
    assert (version.config, version.code, version.reason) == ("c1", "v1", "nightly")
    assert version.recorded_at == "2026-10-02T00:00:00.000000+00:00"
    assert Lake(store, run_id="other").head(p) == version
    assert store.get("events/date=2026-10-01/source=twilio/part.parquet") == store.get(
        f"_hist/events/date=2026-10-01/source=twilio/{version.sha256}.parquet"
    )
    entry = store.get("_log/events/date=2026-10-01/source=twilio/00000001.json")
    assert entry == version.to_json()
    assert entry == json.dumps(json.loads(entry), sort_keys=True, separators=(",", ":")).encode() + b"\n"
    assert lake.audit() == []


def test_history_grows_by_a_chain(lake, store, p):
    versions = [lake.commit(p, frame(n), base=lake.head(p)) for n in range(1, 4)]
    assert [v.seq for v in versions] == [1, 2, 3]
    assert versions[2].parent == hashlib.sha256(versions[1].to_json()).hexdigest() == versions[1].entry
    assert Lake(store, run_id="reader").history(p) == versions
    for n, version in enumerate(versions, 1):
        assert lake.read(version)["id"].to_list() == [n]
    assert lake.version(p, 2) == versions[1]
    with pytest.raises(NotFound):
        lake.version(p, 9)


def test_identical_content_adds_nothing(lake, store, p):
    version = lake.commit(p, frame(1), base=None)
    before = list(store.list(""))
    again = Lake(store, run_id="run-2", clock=ticking())
    assert again.commit(p, frame(1), base=again.head(p), inputs={"other": "x"}) == version
    assert list(store.list("")) == before


def test_identical_rerun_does_not_touch_the_view(local_lake, local_store, p):
    version = local_lake.commit(p, frame(1), base=None)
    view = local_store.local_path(version.view_keys[0])
    before = view.stat()
    local_lake.commit(p, frame(1), base=version)
    local_lake.heal()
    after = view.stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)


def test_stale_base(lake, store, p):
    rival = Lake(store, run_id="rival", clock=ticking())
    base = lake.head(p)
    rival.commit(p, frame(7), base=None)
    with pytest.raises(Stale, match="from nothing to 1"):
        lake.commit(p, frame(8), base=base)
    first = lake.head(p)
    second = rival.commit(p, frame(9), base=first)
    with pytest.raises(Stale, match="from 1 to 2"):
        lake.commit(p, frame(10), base=first)
    # computing what the base holds is stale as well when the base is no longer the head
    with pytest.raises(Stale):
        lake.commit(p, frame(7), base=first)
    assert lake.head(p) == second
    # what was computed in vain stays in history, harmless
    assert {(f.level, f.kind) for f in lake.audit()} == {("note", "orphan")}


def test_two_attempts_of_one_job_end_as_one_version(lake, store, p):
    twin = Lake(store, run_id="run-1", clock=ticking())
    done = lake.commit(p, frame(1), base=None)
    twin._clock()  # a later moment, so the entries would differ
    assert twin.commit(p, frame(1), base=None) == done
    assert len(lake.history(p)) == 1


def test_base_of_another_partition_is_refused(lake, p):
    version = lake.commit(p, frame(1), base=None)
    with pytest.raises(ValueError, match="the base is a version of"):
        lake.commit(Partition.of("events", date="2026-10-02", source="twilio"), frame(1), base=version)


def test_inputs_and_sums_are_text(lake, p):
    for wrong in ({"inputs": {"a": 1}}, {"sums": {"a": Decimal(1)}}, {"inputs": {1: "a"}}):
        with pytest.raises(TypeError, match="text to text"):
            lake.commit(p, frame(1), base=None, **wrong)
    assert lake.head(p) is None


def test_keys_become_columns_and_are_never_stored(lake, store, p):
    given = frame(1, 2).with_columns(date=pl.lit(date(2026, 10, 1)), source=pl.lit("twilio"))
    version = lake.commit(p, given, base=None)
    assert pl.read_parquet(store.get(version.view_keys[0]), hive_partitioning=False).columns == ["id", "text"]
    assert_frame_equal(lake.read(version), given)
    assert lake.read(version, ["source", "id"]).columns == ["source", "id"]
    assert_frame_equal(lake.read(version, ["date"]), given.select("date"))
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        lake.read(version, ["nope"])
    with pytest.raises(ValueError, match="the partition says"):
        lake.commit(p, given.with_columns(source=pl.lit("plivo")), base=version)


def test_empty_frames_keep_their_columns(lake, p):
    version = lake.commit(p, frame(1).clear(), base=None)
    assert version.rows == 0
    assert lake.read(version).columns == ["id", "text", "date", "source"]
    assert lake.scan([version]).collect().height == 0
    with pytest.raises(ValueError, match="no frame"):
        lake.commit(p, [], base=version)


def test_several_files_and_back(lake, store, p):
    one = lake.commit(p, frame(1), base=None)
    three = lake.commit(p, (frame(n) for n in (1, 2, 2)), base=one)
    names = [f"{p.path}/part-0000{n}.parquet" for n in range(3)]
    assert list(store.list(p.path + "/")) == names
    assert lake.read(three)["id"].to_list() == [1, 2, 2]
    assert (three.rows, len(three.files)) == (3, 3)
    assert lake.commit(p, [frame(n) for n in (1, 2, 2)], base=three) == three
    lake.commit(p, frame(1), base=three)
    assert list(store.list(p.path + "/")) == [f"{p.path}/part.parquet"]
    assert lake.audit() == []


def test_files_of_one_version_share_a_schema(lake, p):
    with pytest.raises(SchemaMismatch, match="frame 1 differs from frame 0: id: String, not id: Int64"):
        lake.commit(p, [frame(1), frame(1).cast({"id": pl.String})], base=None)
    assert lake.head(p) is None


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (pl.Decimal(18, 2), r"amount: Decimal\(precision=18, scale=2\), not amount: Decimal\(precision=18, scale=1\)"),
        (pl.Decimal(17, 1), "precision=17"),
        (pl.Float64, "Float64"),
    ],
)
def test_scan_refuses_to_mix_scales(lake, other, said):
    days = [Partition.of("charges", date=f"2026-10-0{n}") for n in (1, 2)]
    money = pl.DataFrame({"amount": [Decimal("1.2")]}, schema={"amount": pl.Decimal(18, 1)})
    versions = [lake.commit(days[0], money, base=None), lake.commit(days[1], money.cast({"amount": other}), base=None)]
    with pytest.raises(SchemaMismatch, match=said):
        lake.scan(versions)


def test_scan_puts_partitions_together(lake):
    versions = [lake.commit(Partition.of("daily", date=f"2026-10-{n:02d}"), frame(n), base=None) for n in (3, 1, 2)]
    whole = lake.scan(versions)
    assert isinstance(whole, pl.LazyFrame)
    assert whole.collect()["id"].to_list() == [3, 1, 2]
    assert whole.collect_schema()["date"] == pl.Date
    assert lake.scan(versions, ["date", "id"]).filter(pl.col("date") == date(2026, 10, 2)).collect().rows() == [
        (date(2026, 10, 2), 2)
    ]
    with pytest.raises(ValueError, match="nothing to scan"):
        lake.scan([])


def test_heads_of_a_range(lake, store):
    for day in ("2026-09-30", "2026-10-01", "2026-10-31", "2026-11-01"):
        for source in ("plivo", "twilio"):
            q = Partition.of("events", date=day, source=source)
            lake.commit(q, frame(2), base=lake.commit(q, frame(1), base=None))
    lake.commit(Partition.of("events_more", date="2026-10-01", source="twilio"), frame(1), base=None)
    fresh = Lake(store, run_id="reader")
    assert len(fresh.heads("events")) == 8
    assert {v.seq for v in fresh.heads("events").values()} == {2}
    month = fresh.heads("events", date=("2026-10-01", date(2026, 10, 31)))
    assert [q["date"] for q in month] == ["2026-10-01"] * 2 + ["2026-10-31"] * 2
    assert list(month) == sorted(month)
    assert [q.path for q in fresh.heads("events", source="twilio", date="2026-11-01")] == [
        "events/date=2026-11-01/source=twilio"
    ]
    assert len(fresh.heads("events", source="plivo")) == 4
    assert fresh.heads("events", date="2020-01-01") == {}
    assert fresh.heads("nothing_here") == {}
    assert fresh.heads("nothing_here", date="2026-10-01") == {}
    with pytest.raises(ValueError, match="partitioned by"):
        fresh.heads("events", account="a")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a/b",
        "../x",
        "a.b",
        "a b",
        "-a",
        "_a",
        "a\n",
        "a\0",
        "a%2fb",
        "é",
        "a=b",
        "x" * 65,
        "𝟙",
        "a\r\nB: c",
        None,
        7,
    ],
)
def test_values_outside_the_allow_list_are_refused(value):
    with pytest.raises(ValueError):
        Partition("events", (("source", value),))


@pytest.mark.parametrize("day", ["2026-02-29", "20261001", "2026-W01-1", "2026-1-1", "today"])
def test_dates_are_calendar_dates(day):
    with pytest.raises(ValueError):
        Partition.of("events", date=day)


def test_names_are_checked_and_partitions_parse():
    for bad in ("", "_log", "Events", "a/b", "a-b"):
        with pytest.raises(ValueError):
            Partition.of(bad, date="2026-10-01")
    with pytest.raises(ValueError):
        Partition("events", (("Date", "x"),))
    with pytest.raises(ValueError, match="twice"):
        Partition("events", (("a", "1"), ("a", "2")))
    q = Partition.of("events", date=date(2028, 2, 29), source="tw")
    assert q.path == "events/date=2028-02-29/source=tw"
    assert Partition.parse(q.path) == q
    assert q["date"] == "2028-02-29"
    with pytest.raises(ValueError):
        Partition.parse("events/nothing")


def test_blobs(lake, store, p):
    sha = lake.put_blob("raw", b"page", ".json.gz")
    assert lake.put_blob("raw", b"page", ".json.gz") == sha == hashlib.sha256(b"page").hexdigest()
    assert list(store.list("_hist/raw/")) == [f"_hist/raw/{sha}.json.gz"]
    assert lake.get_blob("raw", sha) == lake.get_blob("raw", sha, ".json.gz") == b"page"
    q = Partition.of("raw", source="twilio", date="2026-10-01")
    lake.put_blob("raw", b"page", ".json", p=q)
    assert lake.get_blob("raw", sha, p=q) == b"page"
    for missing in (lambda: lake.get_blob("raw", "0" * 64), lambda: lake.get_blob("raw", sha, ".csv")):
        with pytest.raises(NotFound):
            missing()
    for bad in ("json", ".parquet", "/x", ".a/b"):
        with pytest.raises(ValueError):
            lake.put_blob("raw", b"", bad)
    with pytest.raises(ValueError):
        lake.get_blob("raw", "../../x")
    with pytest.raises(ValueError, match="no partition of"):
        lake.put_blob("raw", b"", ".json", p=p)
    store.put(f"_hist/raw/{sha}.json.gz", b"pagE")
    with pytest.raises(Corrupt):
        lake.get_blob("raw", sha, ".json.gz")


def test_pins(lake):
    document = {"rows": 2, "parts": [{"seq": 1}]}
    assert lake.pin("close/period=2026-10/rev=0001", document) == document
    assert lake.pin("close/period=2026-10/rev=0001.json", document) == document
    with pytest.raises(Conflict, match="pinned already"):
        lake.pin("close/period=2026-10/rev=0001", {"rows": 3})
    assert lake.get_pin("close/period=2026-10/rev=0001") == document
    lake.pin("close/period=2026-11/rev=0001", {})
    assert lake.list_pins("close/") == ["close/period=2026-10/rev=0001", "close/period=2026-11/rev=0001"]
    assert lake.list_pins("close/period=2026-11/") == ["close/period=2026-11/rev=0001"]
    with pytest.raises(NotFound):
        lake.get_pin("close/period=2026-12/rev=0001")
    for bad in ("", "close", "_log/x", "close/../x", "/close/x", "close/a b", "close//x"):
        with pytest.raises(ValueError):
            lake.pin(bad, {})
    with pytest.raises(ValueError):
        lake.pin("close/x", {"bad": float("nan")})


def test_damaged_history_is_never_read(lake, store, p):
    version = lake.commit(p, frame(*range(2000)), base=None)
    key = f"_hist/{p.path}/{version.sha256}.parquet"
    good = store.get(key)
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    for damage in (bytes(flipped), good[:-1], b"", good + b"\0"):
        store.put(key, damage)
        with pytest.raises(Corrupt):
            lake.read(version)
        with pytest.raises(Corrupt):
            Lake(store, run_id="reader").scan([version])
        assert ("error", "corrupt") in {(f.level, f.kind) for f in lake.audit()}
    store.delete(key)
    with pytest.raises(NotFound):
        lake.read(version)
    assert [(f.level, f.kind, f.key) for f in lake.audit()] == [("error", "missing", key)]
    # the same job, run again, puts back what was lost, without a new version
    assert lake.commit(p, frame(*range(2000)), base=version) == version
    assert store.get(key) == good
    assert lake.audit() == []


def test_the_view_is_healed(lake, store, p):
    version = lake.commit(p, frame(1), base=None)
    view = version.view_keys[0]
    good = store.get(view)
    store.put(view, b"something else")
    store.put(f"{p.path}/part-00007.parquet", good)
    kinds = [(f.level, f.kind, f.key) for f in lake.audit()]
    assert kinds == [("warn", "view", view), ("warn", "view", f"{p.path}/part-00007.parquet")]
    assert lake.heal() == [view, f"{p.path}/part-00007.parquet"]
    assert store.get(view) == good
    assert lake.heal() == []
    store.delete(view)
    assert lake.heal("events", date="2026-10-02") == []
    assert lake.commit(p, frame(1), base=version) == version
    assert store.get(view) == good
    assert lake.audit() == []


def test_heal_never_publishes_damaged_bytes(lake, store, p):
    version = lake.commit(p, frame(1), base=None)
    good = store.get(version.view_keys[0])
    store.delete(version.view_keys[0])
    store.put(f"_hist/{p.path}/{version.sha256}.parquet", good[:-9])
    with pytest.raises(Corrupt):
        lake.heal()
    assert not store.exists(version.view_keys[0])


def test_audit_sees_what_is_wrong_with_a_log(lake, store, p):
    for n in (1, 2, 3, 4):
        lake.commit(p, frame(n), base=lake.head(p))
    log = f"_log/{p.path}/"
    entry = json.loads(store.get(log + "00000002.json"))
    forged = json.dumps(entry | {"reason": "forged"}, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    store.put(log + "00000002.json", forged)
    fresh = Lake(store, run_id="auditor")
    assert [(f.level, f.kind, f.key) for f in fresh.audit()] == [("error", "chain", log + "00000003.json")]
    store.put(log + "00000002.json", b'{"format":1}')
    assert ("error", "log", log + "00000002.json") in [(f.level, f.kind, f.key) for f in fresh.audit()]
    with pytest.raises(Corrupt):
        Lake(store, run_id="reader").history(p)
    store.delete(log + "00000002.json")
    kinds = [(f.level, f.kind, f.key) for f in fresh.audit()]
    assert kinds[0] == ("error", "gap", log + "00000003.json")
    assert ("note", "orphan") in [(level, kind) for level, kind, _ in kinds]
    store.put(log + "notes.txt", b"x")
    store.put("events/date=2026-10-09/source=twilio/part.parquet", b"x")
    assert {"foreign", "stray"} <= {f.kind for f in fresh.audit()}
    assert str(fresh.audit()[0]).startswith(("warn: foreign", "error: gap"))


def test_a_log_entry_has_one_spelling(lake, store, p):
    lake.commit(p, frame(1), base=None)
    key = f"_log/{p.path}/00000001.json"
    entry = json.loads(store.get(key))
    other_spellings = [
        json.dumps(entry).encode(),
        *(
            _canonical(entry | change)
            for change in ({"files": []}, {"seq": 2}, {"format": 2}, {"extra": 1}, {"keys": []})
        ),
        b"",
        b"\xff",
        b"[]",
    ]
    for data in other_spellings:
        store.put(key, data)
        with pytest.raises(Corrupt):
            Lake(store, run_id="reader").head(p)


def _canonical(entry: dict) -> bytes:
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def test_same_frame_same_bytes_on_any_number_of_threads():
    script = (
        "import polars as pl; from etl.lake.frames import encode; from etl.lake import Partition;"
        "f = pl.DataFrame({'n': range(300_000)}).with_columns(s=pl.col('n').cast(pl.String),"
        " d=pl.col('n').cast(pl.Decimal(18, 6)), c=(pl.col('n') % 7).cast(pl.String).cast(pl.Categorical));"
        "g = pl.concat([f[:777], f[777:]], rechunk=False);"
        "p = Partition.of('x', date='2026-10-01');"
        "print(encode(f, p)[1].sha256, encode(g, p)[1].sha256)"
    )
    seen = set()
    for threads in ("1", "2"):
        out = subprocess.run(
            [sys.executable, "-c", script], env={"POLARS_MAX_THREADS": threads, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        seen |= set(out.split())
    assert len(seen) == 1


def test_nothing_of_the_run_is_inside_a_data_file(local_store, p):
    other = Lake(local_store, run_id="a-very-particular-run", config="CONFIG-MARK", code="CODE-MARK")
    version = other.commit(p, frame(1), base=None, reason="REASON-MARK")
    data = local_store.get(version.view_keys[0])
    assert not any(mark in data for mark in (b"a-very", b"CONFIG-MARK", b"CODE-MARK", b"REASON-MARK", b"2026"))


def test_importing_the_lake_on_disk_does_not_import_boto3(tmp_path):
    script = f"import sys; from etl.lake import open_store, Lake; open_store({str(tmp_path)!r}); print('boto3' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "False"


def test_store_error_when_a_taken_key_is_never_there(local_lake, local_store, p, monkeypatch):
    def refuse(key, data):
        raise Conflict(key)

    local_lake._admit()
    monkeypatch.setattr(local_store, "create", refuse)
    with pytest.raises(StoreError, match="refused as taken"):
        local_lake.commit(p, frame(1), base=None)
