"""S3 that is slow, lies, refuses or lives elsewhere: a whole night against SeaweedFS behind a proxy that spoils it.
What one request or one commit does under each fault is in tests/lake/test_lake_faults.py."""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import replace

import pytest
import time_machine
from botocore.config import Config
from faultproxy import faultproxy
from killrun import compare
from smallnight import MOMENT, night, sound, stored

import etl.lake.s3
from etl.lake import Conflict, Stale, StoreError, open_store

_number = itertools.count()
PASSING = ("500", "503", "409", "reset", "lost", "truncated", "flipped", "half-request", "flipped-request")
"""What goes away when one asks again."""
FATAL = ("flipped", "flipped-request")
"""What ends a night: nobody can tell that asking again would help."""


@pytest.fixture
def proxy(s3):
    with faultproxy(s3.endpoint) as proxy:
        yield proxy


@pytest.fixture
def store(s3, proxy):
    """A store of its own behind the proxy, and the same one without it."""
    url = f"s3://lake/one-{next(_number)}"
    keys = {"region": "us-east-1", "access_key": s3.access_key, "secret_key": s3.secret_key}
    return open_store(url, endpoint_url=proxy.url, **keys), open_store(url, endpoint_url=s3.endpoint, **keys)


@pytest.fixture
def hurried(monkeypatch):
    """The store's patience, in seconds instead of half-minutes."""
    shorter = Config(connect_timeout=1, read_timeout=1, retries={"mode": "standard", "total_max_attempts": 3})
    monkeypatch.setattr(etl.lake.s3, "_CONFIG", etl.lake.s3._CONFIG.merge(shorter))


def until_done(place, tries: int = 30) -> int:
    """Nights as a scheduler retries them; how many it took."""
    for attempt in range(1, tries + 1):
        try:
            night(place)
            return attempt
        except (StoreError, Stale, RuntimeError):
            continue
    pytest.fail(f"not done in {tries} nights")


@pytest.mark.parametrize("fault", ["mixed", *PASSING])
def test_a_night_in_bad_weather(fault, hurried, remote, proxy, long, undisturbed, record_property):
    """Requests go wrong at random; nights are tried until one is through: the same bytes, and nothing left over."""
    if fault != "mixed" and not long:
        pytest.skip("one fault at a time is for the long form")
    rng = random.Random(fault)
    faults = PASSING if fault == "mixed" else (fault,)

    def choose(method: str, path: str) -> str | None:
        chosen = rng.choice(faults)
        if chosen == "409":  # what only a creation is ever answered
            return (
                chosen if method == "PUT" and ("/_log/" in path or "/close/" in path) and rng.random() < 0.5 else None
            )
        return chosen if rng.random() < (0.005 if chosen in FATAL else 0.03) else None

    proxy.choose = choose
    place = remote(proxy.url)
    nights = until_done(place)
    record_property("requests spoiled", sum(found is not None for *_, found in proxy.seen))
    record_property("nights in bad weather", nights)
    proxy.choose = lambda method, path: None
    compare(undisturbed, stored(place))
    sound(place, healed=True)
    # never a multipart upload, so none can be left behind
    assert not [path for method, path, _ in proxy.seen if method == "POST" or "uploads" in path or "uploadId" in path]


@pytest.mark.parametrize("fault", ["503", "500", "reset", "hang"])
def test_a_server_that_never_recovers_ends_the_night_in_time(fault, hurried, store, proxy):
    """A bounded number of requests, then a sentence that names the store; no request is multiplied by a second loop."""
    far, _ = store
    proxy.patience = 1.3
    asked = ((lambda: far.get("a"), "GET"), (lambda: list(far.list("")), "GET"), (lambda: far.put("a", b"x"), "PUT"))
    for ask, method in asked:
        proxy.once(fault, method, "", times=99)
        began = time.monotonic()
        with pytest.raises(StoreError, match="s3://lake/one-") as told:
            ask()
        assert len(proxy.seen) == 3
        assert time.monotonic() - began < 15
        if fault in ("500", "503"):
            assert "run it again later" in str(told.value)


def test_the_patience_with_a_dead_server_is_minutes():
    config = etl.lake.s3._CONFIG
    attempts = config.retries["total_max_attempts"]
    assert attempts * config.read_timeout <= 5 * 60
    assert etl.lake.s3._READS * config.read_timeout <= 5 * 60


def test_a_slow_drip_is_waited_for(store, proxy):
    far, near = store
    near.put("a", bytes(range(200)))
    proxy.patience = 2.0
    proxy.once("drip", "GET", "/a")
    began = time.monotonic()
    assert far.get("a") == bytes(range(200))
    assert time.monotonic() - began > 1.5
    assert len(proxy.seen) == 1


def test_a_bit_flipped_on_the_way_up_is_refused_by_the_server(store, proxy):
    far, near = store
    proxy.once("flipped-request", "PUT", "/a")
    with pytest.raises(StoreError, match="cannot write a"):
        far.put("a", b"one")
    assert not near.exists("a")


def test_credentials_that_expire_in_the_middle(remote, proxy, undisturbed):
    place, count = remote(proxy.url), iter(range(10_000))
    proxy.choose = lambda method, path: "expired" if next(count) > 150 else None
    with pytest.raises((StoreError, RuntimeError), match=r"(ExpiredToken|403).*check the connection's keys"):
        night(place)
    proxy.choose = lambda method, path: None
    sound(place, healed=False)
    night(place)
    compare(undisturbed, stored(place))


def test_a_server_that_ignores_conditions_is_refused(remote, proxy):
    """It says yes to creating what is there: nothing of the night is written, and the sentence says what to do."""
    proxy.choose = lambda method, path: "ignored" if method == "PUT" else None
    place = remote(proxy.url)
    with pytest.raises(StoreError, match="ignores conditional writes.*single_writer = true"):
        night(place)
    assert set(stored(place)) == {"lake/_lake.json"}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("elsewhere", "set region and endpoint_url"),
        ("moved", "set region and endpoint_url"),
        ("region", "set region and endpoint_url"),
        ("skewed", "set this machine's clock"),
    ],
)
def test_a_bucket_that_lives_elsewhere_and_a_clock_that_is_wrong(fault, said, hurried, store, proxy):
    """The sentence names the store and the remedy, and nothing is sent to where a redirect points."""
    far, _ = store
    asked = (
        lambda: far.get("a"),
        lambda: far.put("a", b"x"),
        lambda: far.create("a", b"x"),
        lambda: list(far.list("")),
    )
    with faultproxy(proxy.url) as other:
        proxy.redirect = other.url + "/stolen"
        proxy.choose = lambda method, path: fault
        for ask in asked:
            with pytest.raises(StoreError, match=rf"s3://lake/.*{said}"):
                ask()
        assert other.seen == []


def test_a_redirect_without_end_is_an_error_too(hurried, store, proxy):
    """A server that redirects whatever it is asked and never says where the bucket is."""
    far, _ = store
    proxy.region, proxy.choose = None, lambda method, path: "elsewhere"
    with pytest.raises(StoreError, match="cannot read a from s3://lake/"):
        far.get("a")


def test_a_missing_bucket_says_so(remote, s3):
    place = remote()
    place.settings.write_text(place.settings.read_text().replace("s3://lake/", "s3://no-such-bucket/"))
    with pytest.raises(StoreError, match="s3://no-such-bucket.*create the bucket, or correct url"):
        night(place)


def test_a_clock_an_hour_off_is_named(store):
    """SeaweedFS itself refuses what was signed at another hour."""
    _, near = store
    with time_machine.travel(time.time() + 3600, tick=True), pytest.raises(StoreError, match="clock"):
        near.put("a", b"x")


def test_a_bucket_that_keeps_versions(remote, s3, undisturbed):
    """SeaweedFS with versioning on: a deleted view leaves a marker and is written again; a creation is still one."""
    from stack.seaweed import make_bucket

    make_bucket(*s3, "versioned")
    place = remote()
    place.settings.write_text(place.settings.read_text().replace("s3://lake/", "s3://versioned/"))
    store = place.stores()["lake"]
    store._client.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    night(place)
    compare(undisturbed, stored(place))
    views = [key for key in store.list("") if key.startswith("daily/") or key.startswith("events/")]
    assert len(views) == 2
    for key in views:
        store.delete(key)
        assert not store.exists(key)
    assert not [key for key in store.list("") if key in views]
    night(replace(place, clock=lambda: MOMENT))
    compare(undisturbed, stored(place))
    store.create("marker/a", b"1")
    store.delete("marker/a")
    store.create("marker/a", b"2")
    with pytest.raises(Conflict):
        store.create("marker/a", b"3")
    assert store.get("marker/a") == b"2"
