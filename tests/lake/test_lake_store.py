"""The same promises from every store."""

import threading
import time
import urllib.error
import urllib.request

import pytest

from etl.lake import Conflict, NotFound, open_store, probe


def test_round_trip_and_overwrite(store):
    store.put("a/b.txt", b"one", content_type="text/plain", cache_control="no-store", disposition="attachment")
    assert store.get("a/b.txt") == b"one"
    store.put("a/b.txt", b"")
    assert store.get("a/b.txt") == b""


def test_missing(store):
    for read in (store.get, store.digest):
        with pytest.raises(NotFound):
            read("no/such.txt")
    assert not store.exists("no/such.txt")
    assert list(store.list("no/")) == []
    store.delete("no/such.txt")


def test_create_only_once(store):
    store.create("x/1.json", b"first")
    with pytest.raises(Conflict):
        store.create("x/1.json", b"second")
    assert store.get("x/1.json") == b"first"
    store.delete("x/1.json")
    store.create("x/1.json", b"third")


def test_digest_is_of_the_bytes(store):
    store.put("a", b"abc")
    assert store.digest("a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_digest_without_our_metadata(s3_store):
    s3_store._client.put_object(Bucket="lake", Key=s3_store.prefix + "a", Body=b"abc")
    assert s3_store.digest("a").startswith("ba7816bf")


def test_list_is_sorted_as_s3_sorts_and_stops_at_the_prefix(store):
    keys = [
        "a-b/1",
        "a/1",
        "a/2/x",
        "a/10",
        "ab",
        "b/1",
        "d/date=2026-10-01/f",
        "d/date=2026-10-02/f",
        "d/date=2026-11-01/f",
    ]
    for key in reversed(keys):
        store.put(key, b"x")
    assert list(store.list("")) == sorted(keys)
    assert list(store.list("a/")) == ["a/1", "a/10", "a/2/x"]
    assert list(store.list("a")) == sorted(key for key in keys if key.startswith("a"))
    assert list(store.list("d/date=2026-10-")) == keys[-3:-1]
    assert len(list(store.list("", limit=2))) == 2
    assert list(store.list("d/date=2026-10-01/f/")) == []


def test_list_past_one_page(s3_store):
    from concurrent.futures import ThreadPoolExecutor

    keys = [f"many/{'a-b-c'[: 1 + 2 * (n % 3)]}/{n:05d}" for n in range(1001)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3_store.put(key, b"x"), keys))
    assert list(s3_store.list("many/")) == sorted(keys)
    assert len(list(s3_store.list("many/", limit=1000))) == 1000
    assert len(list(s3_store.list("many/", limit=1001))) == 1001
    for left in (1000, 999):  # a page that is just full, and one that is not
        s3_store.delete(keys.pop())
        assert list(s3_store.list("many/")) == sorted(keys)
        assert len(keys) == left


def test_list_many_on_disk(local_store):
    keys = [f"many/d{n % 7}/{n:05d}" for n in range(1203)]
    folder = local_store.root
    for key in keys:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(b"")
    assert list(local_store.list("many/")) == sorted(keys)


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/./b", ".tmp/x", "a\\b", "a\0", "a\n", "a b", "é", "a%2fb"]
)
def test_keys_that_could_leave_the_lake_are_refused(store, key):
    for call in (store.get, store.exists, store.delete, store.digest, store.local_path):
        with pytest.raises(ValueError, match="not a storable key"):
            call(key)
    for write in (store.put, store.create):
        with pytest.raises(ValueError, match="not a storable key"):
            write(key, b"x")


def test_readers_see_whole_objects_while_one_is_overwritten(store):
    bodies = [bytes([n]) * 200_000 for n in (1, 2)]
    store.put("hot", bodies[0])
    stop = threading.Event()
    torn = []

    def read():
        while not stop.is_set():
            if store.get("hot") not in bodies:
                torn.append(1)

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(40):
        store.put("hot", bodies[n % 2])
    stop.set()
    reader.join()
    assert not torn


def test_one_winner_among_many_creators(store):
    wins = []

    def race(who):
        try:
            store.create("race", who)
            wins.append(who)
        except Conflict:
            pass

    threads = [threading.Thread(target=race, args=(b"%d" % n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wins) == 1
    assert store.get("race") == wins[0]


def test_probe_of_a_sound_store_leaves_nothing(store):
    report = probe(store)
    assert report.ok, str(report)
    assert "Safe for several writers" in str(report)
    assert list(store.list("")) == []


def test_urls(tmp_path):
    assert open_store(tmp_path).url == tmp_path.as_uri()
    assert open_store(tmp_path.as_uri()).root == tmp_path
    assert open_store(f"file://{tmp_path}/a%20b").root == tmp_path / "a b"
    for bad in ("", "http://host/x", "file://host/x", "file:relative", "s3://", "s3://bucket/../x", "gs://b"):
        with pytest.raises(ValueError):
            open_store(bad)
    with pytest.raises(ValueError, match="both"):
        open_store("s3://bucket/x", access_key="only")


def test_a_signed_link_opens_one_object_until_it_expires(s3_store, server):
    s3_store.put("acct/2026-10/index.html", b"<p>yours</p>", content_type="text/html; charset=utf-8")
    s3_store.put("other/2026-10/index.html", b"<p>not yours</p>")
    link = s3_store.presign("acct/2026-10/index.html", 1)
    with urllib.request.urlopen(link) as answer:
        assert (answer.read(), answer.headers["Content-Type"]) == (b"<p>yours</p>", "text/html; charset=utf-8")
    for refused in (link.replace("/acct/", "/other/"), link.replace("Expires=1", "Expires=900")):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(refused)
        assert error.value.code == 403
    time.sleep(2.1)
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(link)
    assert error.value.code == 403
    with pytest.raises(ValueError, match="604800"):
        s3_store.presign("acct/2026-10/index.html", 604_801)
