"""S3 through a network that loses, repeats and spoils answers; and stores that do not keep their word."""

import random
import time

import pytest
from faultproxy import faultproxy
from lakehelp import frame, ticking

from etl.lake import Conflict, Corrupt, Lake, Partition, Stale, StoreError, Unknown, open_store, probe
from etl.lake.local import LocalStore


@pytest.fixture
def proxy(server):
    with faultproxy(server.endpoint) as proxy:
        yield proxy


@pytest.fixture
def far(server, s3_store, proxy):
    """The same place as `s3_store`, seen through the proxy."""
    return open_store(
        s3_store.url,
        endpoint_url=proxy.url,
        region="us-east-1",
        access_key=server.access_key,
        secret_key=server.secret_key,
    )


@pytest.mark.parametrize("fault", ["500", "503", "reset", "truncated", "lost"])
def test_reads_are_repeated(far, proxy, s3_store, fault):
    s3_store.put("a", b"x" * 1000)
    proxy.once(fault, "GET", "/a", times=2)
    assert far.get("a") == b"x" * 1000
    assert len(proxy.seen) == 3


def test_a_body_cut_forever_is_an_error(far, proxy, s3_store):
    s3_store.put("a", b"x" * 1000)
    proxy.once("truncated", "GET", "/a", times=99)
    with pytest.raises(StoreError, match="cannot read a"):
        far.get("a")


def test_a_bit_flipped_on_the_way_is_never_read(far, proxy, s3_store, p):
    version = Lake(s3_store, run_id="w").commit(p, frame(1), base=None)
    proxy.once("flipped", "GET", "_hist", times=99)
    with pytest.raises(Corrupt):
        Lake(far, run_id="r").read(version)
    with pytest.raises(Corrupt):
        Lake(far, run_id="r").scan([version])


@pytest.mark.parametrize("part", ["_hist", "_log", "/events/"])
@pytest.mark.parametrize("fault", ["500", "503", "reset", "lost", "half-request"])
def test_one_commit_despite_each_fault(far, proxy, s3_store, p, fault, part):
    lake = Lake(far, run_id="run-1", clock=ticking())
    first = lake.commit(p, frame(1), base=None)
    proxy.once(fault, "PUT", part)
    version = lake.commit(p, frame(2), base=first)
    assert [found for *_, found in proxy.seen].count(fault) == 1
    reader = Lake(s3_store, run_id="reader")
    assert reader.history(p) == [first, version]
    assert reader.audit() == []


def test_conflict_with_our_own_lost_answer_is_success(far, proxy, s3_store, p):
    lake = Lake(far, run_id="run-1", clock=ticking())
    lake._admit()
    proxy.once("lost", "PUT", "_log")
    version = lake.commit(p, frame(1), base=None)
    puts = [path for method, path, _ in proxy.seen if method == "PUT" and "_log" in path]
    assert len(puts) == 2  # the second was refused: the object was our own
    assert Lake(s3_store, run_id="reader").history(p) == [version]
    proxy.once("lost", "PUT", "close")
    assert lake.pin("close/a", {"n": 1}) == {"n": 1}


def test_409_is_a_lost_race_and_tried_again(far, proxy, p):
    lake = Lake(far, run_id="run-1")
    lake._admit()
    proxy.once("409", "PUT", "_log")
    assert lake.commit(p, frame(1), base=None).seq == 1
    proxy.once("409", "PUT", "_log", times=99)
    with pytest.raises(StoreError):
        lake.commit(p, frame(2), base=lake.head(p))


def test_a_rival_behind_a_lost_answer_is_stale(far, proxy, s3_store, p):
    lake = Lake(far, run_id="run-1", clock=ticking())
    lake._admit()
    base = lake.head(p)
    Lake(s3_store, run_id="rival").commit(p, frame(9), base=None)
    proxy.once("lost", "PUT", "_log")
    with pytest.raises(Stale):
        lake.commit(p, frame(1), base=base)


def test_silence_after_the_commit_is_settled_by_reading_back(s3_store, p, monkeypatch):
    lake = Lake(s3_store, run_id="run-1", clock=ticking())
    lake._admit()
    real = s3_store.create

    def silent(key, data):
        real(key, data)
        raise Unknown("no answer")

    monkeypatch.setattr(s3_store, "create", silent)
    assert lake.commit(p, frame(1), base=None).seq == 1


def test_silence_before_the_commit_is_an_error_and_can_be_tried_again(s3_store, p, monkeypatch):
    lake = Lake(s3_store, run_id="run-1", clock=ticking())
    lake._admit()

    def silent(key, data):
        raise Unknown("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(s3_store, "create", silent)
        with pytest.raises(Unknown):
            lake.commit(p, frame(1), base=None)
    assert lake.head(p) is None
    assert lake.commit(p, frame(1), base=None).seq == 1


def test_storms(far, proxy, s3_store):
    """One request in eight goes wrong, in every way; jobs retry as a scheduler would. Nothing is lost or doubled."""
    rng = random.Random(7)
    partitions = [Partition.of("events", date=f"2026-10-{n:02d}", source="s") for n in range(1, 5)]
    faults = ("500", "503", "409", "reset", "lost", "truncated", "half-request")
    proxy.choose = lambda method, path: rng.choice(faults) if rng.random() < 0.125 else None
    for value in range(3):
        for q in partitions:
            for _ in range(20):
                try:
                    lake = Lake(far, run_id=f"run-{value}")
                    lake.commit(q, frame(value), base=lake.head(q))
                    break
                except (StoreError, Stale):
                    continue
            else:
                pytest.fail("never succeeded")
    proxy.choose = lambda method, path: None
    reader = Lake(s3_store, run_id="reader")
    for q in partitions:
        assert [reader.read(v)["id"].to_list() for v in reader.history(q)] == [[0], [1], [2]]
    assert [f for f in reader.audit() if f.level != "note"] == []


def test_a_wrong_secret_a_missing_bucket_and_a_dead_server_say_so(server, s3_store):
    common = {"region": "us-east-1", "access_key": server.access_key}
    wrong = open_store("s3://lake/x", endpoint_url=server.endpoint, secret_key="wrong", **common)
    absent = open_store("s3://absent-bucket", endpoint_url=server.endpoint, secret_key=server.secret_key, **common)
    for store in (wrong, absent):
        for call in (lambda s: s.put("a", b"x"), lambda s: s.create("a", b"x"), lambda s: list(s.list(""))):
            with pytest.raises(StoreError) as caught:
                call(store)
            assert type(caught.value) is not Conflict
        report = probe(store)
        assert not report.usable
        assert "NOT usable" in str(report)


def test_environment_proxies_are_not_used(server, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    store = open_store(
        "s3://lake/env", endpoint_url=server.endpoint, region="us-east-1",
        access_key=server.access_key, secret_key=server.secret_key,
    )  # fmt: skip
    store.put("a", b"x")
    assert store.get("a") == b"x"


def test_tls_is_verified_whatever_the_environment(monkeypatch):
    for name in ("PYTHONHTTPSVERIFY", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, "0") if name == "PYTHONHTTPSVERIFY" else monkeypatch.delenv(name, raising=False)
    store = open_store(
        "s3://lake", endpoint_url="https://127.0.0.1:1", region="us-east-1", access_key="a", secret_key="b"
    )
    assert store._client._endpoint.http_session._verify is True


class Forgetful(LocalStore):
    """A store that answers yes to every condition and overwrites."""

    def create(self, key, data):
        self.put(key, data)


def test_a_store_that_ignores_conditions_is_refused(tmp_path, p):
    lake = Lake(Forgetful(tmp_path), run_id="run-1")
    for write in (
        lambda: lake.commit(p, frame(1), base=None),
        lambda: lake.put_blob("raw", b"", ".json"),
        lambda: lake.pin("close/a", {}),
    ):
        with pytest.raises(StoreError, match="ignores conditional writes"):
            write()
    assert lake.head(p) is None
    report = probe(lake.store)
    assert report.usable
    assert not report.conditional
    assert "NOT safe for several writers" in str(report)
    assert "conditions are ignored" in str(report)
    assert list((tmp_path / ".tmp").iterdir()) == []
    assert list(lake.store.list("_probe")) == []


class Racy(LocalStore):
    """A store that looks first and writes afterwards: honest until two come at once."""

    def create(self, key, data):
        if self.exists(key):
            raise Conflict(key)
        time.sleep(0.05)
        self.put(key, data)


def test_the_probe_sees_a_store_that_is_only_honest_one_at_a_time(tmp_path):
    report = probe(Racy(tmp_path))
    assert [check.name for check in report.checks if not check.passed] == ["create has one winner of 8"]
    assert "writers were told" in str(report)


def test_a_single_writer_may_use_it_and_still_notices_a_moved_head(tmp_path, p):
    store = Forgetful(tmp_path, single_writer=True)
    lake = Lake(store, run_id="run-1", clock=ticking())
    first = lake.commit(p, frame(1), base=None)
    with pytest.raises(Stale):
        lake.commit(p, frame(2), base=None)
    second = lake.commit(p, frame(2), base=first)
    assert lake.pin("close/a", {"n": 1}) == lake.pin("close/a", {"n": 1})
    with pytest.raises(Conflict):
        lake.pin("close/a", {"n": 2})
    assert Lake(store, run_id="reader").history(p) == [first, second]
    assert lake.audit() == []


def test_admission_costs_one_request_and_a_commit_six(s3_store, p):
    Lake(s3_store, run_id="setup").pin("setup/a", {})
    seen = []
    s3_store._client.meta.events.register(
        "before-send.s3.*",
        lambda request, **_: seen.append(f"{request.method} {'list' if 'list-type' in request.url else ''}".strip()),
    )

    def requests(value, lake):
        seen.clear()
        lake.commit(p, frame(value), base=lake.head(p))
        return sorted(seen)

    first = requests(1, Lake(s3_store, run_id="a"))
    assert first == ["GET list"] * 3 + ["PUT"] * 3
    restated = requests(2, Lake(s3_store, run_id="b"))
    assert restated == ["GET"] + ["GET list"] * 3 + ["PUT"] * 3
    identical = requests(2, Lake(s3_store, run_id="c"))
    assert identical == ["GET"] + ["GET list"] * 3 + ["HEAD"] * 2
