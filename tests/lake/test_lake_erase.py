"""Erasing what has expired: only that, wherever it lies, whoever writes beside it, and history says so."""

from __future__ import annotations

import pytest
from lakehelp import frame, ticking

from etl.lake import EXPIRED, Erased, Lake, NotFound, Partition, StoreError
from etl.lake.local import LocalStore


def key(version, number: int = 0) -> str:
    return f"_hist/{version.partition.path}/{version.files[number].sha256}.parquet"


@pytest.fixture
def written(local_lake, p):
    """Two versions, what is left of them expired, and one after that."""
    versions = []
    for rows, reason in ((frame(1), ""), (frame(1, 2), ""), (frame(8), EXPIRED), (frame(8, 9), "")):
        versions.append(local_lake.commit(p, rows, base=versions[-1] if versions else None, reason=reason))
    return versions


def test_what_came_before_is_erased_and_what_follows_stays(local_lake, local_store, p, written):
    first, second, heir, last = written
    raw = local_lake.put_blob(p.dataset, b"page", ".gz", p=p)
    kept = local_lake.put_blob(p.dataset, b"kept", ".gz", p=p)
    log = [local_store.get(f"_log/{p.path}/0000000{n}.json") for n in (1, 2, 3, 4)]
    gone = sorted([key(first), key(second), f"_hist/{p.path}/{raw}.gz"])
    assert sorted(local_lake.erase(p, keep=lambda: [kept])) == gone
    assert sorted(local_store.list(f"_hist/{p.path}/")) == sorted([key(heir), key(last), f"_hist/{p.path}/{kept}.gz"])
    assert [local_store.get(f"_log/{p.path}/0000000{n}.json") for n in (1, 2, 3, 4)] == log
    assert local_lake.erase(p, keep=lambda: [kept]) == []
    assert local_lake.audit() == []
    assert local_lake.inspect(p) == (written, [])
    for lost in (first, second):
        with pytest.raises(Erased, match=r"erased by retention on 2026-10-02; version 3 is in its place"):
            local_lake.read(lost)
        with pytest.raises(Erased):
            Lake(local_store, run_id="reader").scan([lost])
        assert local_lake.standing(lost) == heir
    assert [local_lake.standing(v) for v in (heir, last)] == [heir, last]
    assert local_lake.read(heir)["id"].to_list() == [8]


def test_what_a_log_says_of_expiry_is_understood_by_later_code(local_lake, local_store, p):
    """The word stands in entries that are there for good."""
    base = local_lake.commit(p, frame(1), base=None)
    local_lake.commit(p, frame(2), base=base, reason="expire")
    assert b'"reason":"expire"' in local_store.get(f"_log/{p.path}/00000002.json")
    assert local_lake.erase(p) == [key(base)]


def test_before_it_is_erased_an_old_version_stands_for_itself(local_lake, written):
    assert [local_lake.standing(v) for v in written] == written


def test_a_file_lost_otherwise_is_damage_and_no_erasure(local_lake, local_store, p, written):
    first, second, heir, last = written
    for lost in (heir, last):
        data = local_store.get(key(lost))
        local_store.delete(key(lost))
        with pytest.raises(NotFound) as error:
            local_lake.read(lost)
        assert not isinstance(error.value, Erased)
        assert local_lake.standing(lost) == lost
        assert [(f.level, f.kind, f.key) for f in local_lake.audit()] == [("error", "missing", key(lost))]
        local_store.put(key(lost), data)
    # What was kept of old and is damaged is damage, too.
    local_store.put(key(first), b"damaged")
    assert [(f.level, f.kind, f.key) for f in local_lake.audit()] == [("error", "corrupt", key(first))]
    local_store.delete(key(second))
    assert [f.key for f in local_lake.audit()] == [key(first)]


def test_without_expiry_every_version_must_be_whole(local_lake, local_store, p):
    first = local_lake.commit(p, frame(1), base=None)
    second = local_lake.commit(p, frame(2), base=first)
    local_store.delete(key(first))
    assert [(f.level, f.kind, f.key) for f in local_lake.audit()] == [("error", "missing", key(first))]
    with pytest.raises(NotFound) as error:
        local_lake.read(first)
    assert not isinstance(error.value, Erased)
    assert [local_lake.standing(v) for v in (first, second)] == [first, second]


def test_only_what_people_wrote_is_ever_erased_and_only_once_it_expired(local_lake, local_store, p):
    base = local_lake.commit(p, frame(1), base=None)
    local_lake.commit(p, frame(2), base=base)
    charges = Partition.of("charges", date="2026-10-01")
    local_lake.commit(charges, frame(2), base=local_lake.commit(charges, frame(1), base=None), reason=EXPIRED)
    before = list(local_store.list("_hist/"))
    for refused in (p, charges, Partition.of("events", date="2026-10-09", source="twilio")):
        with pytest.raises(ValueError, match="has not expired"):
            local_lake.erase(refused)
    assert list(local_store.list("_hist/")) == before
    raw = Partition.of("raw", date="2026-10-01", source="twilio")
    old = local_lake.commit(raw, frame(1), base=None)
    local_lake.commit(raw, frame(2), base=old, reason=EXPIRED)
    assert local_lake.erase(raw) == [key(old)]


def test_to_expire_makes_a_version_once_even_of_equal_content(local_lake, p):
    base = local_lake.commit(p, frame(1), base=None)
    heir = local_lake.commit(p, frame(1), base=base, reason=EXPIRED)
    assert (heir.seq, heir.files) == (2, base.files)
    assert local_lake.commit(p, frame(1), base=heir, reason=EXPIRED) == heir
    assert local_lake.commit(p, frame(1), base=heir) == heir
    assert local_lake.erase(p) == []
    # The newest expired version counts, not the first.
    again = local_lake.commit(p, frame(2), base=heir, reason=EXPIRED)
    assert local_lake.erase(p) == [key(heir)]
    assert local_lake.standing(heir) == again


class Interrupted(LocalStore):
    """A disk on which something happens just before a removal, or just after a creation in the log."""

    before_delete = after_create = None

    def __init__(self, root):
        super().__init__(root)
        self.deleted: list[str] = []

    def delete(self, name):
        self.deleted.append(name)
        act, self.before_delete = self.before_delete, None
        if act:
            act()
        super().delete(name)

    def create(self, name, data):
        super().create(name, data)
        act, self.after_create = self.after_create, None
        if act and name.startswith("_log/"):
            act()


def expired_lake(tmp_path, p) -> tuple[Interrupted, Lake, list]:
    store = Interrupted(tmp_path)
    lake = Lake(store, run_id="run-1", clock=ticking())
    old = lake.commit(p, frame(1), base=None)
    return store, lake, [old, lake.commit(p, frame(2), base=old, reason=EXPIRED)]


def test_a_file_that_a_rival_names_while_it_is_erased_comes_back(tmp_path, p):
    store, lake, (old, heir) = expired_lake(tmp_path, p)
    rival = Lake(store, run_id="rival", clock=ticking())
    # The day was fetched again, and holds once more what it held.
    store.before_delete = lambda: rival.commit(p, frame(1), base=heir)
    assert lake.erase(p) == [key(old)]
    assert Lake(store, run_id="reader").read(rival.head(p))["id"].to_list() == [1]
    assert lake.audit() == []


def test_a_page_that_a_rival_names_while_it_is_erased_comes_back_and_is_not_asked_for_otherwise(tmp_path, p):
    store, lake, (_old, heir) = expired_lake(tmp_path, p)
    pages = sorted(lake.put_blob(p.dataset, b"page %d" % n, ".gz", p=p) for n in range(3))
    keys = [f"_hist/{p.path}/{sha}.gz" for sha in pages]
    named, asked = [], []

    def keep():
        asked.append(len(asked))
        return named

    assert set(keys) < set(lake.erase(p, keep))
    assert asked == [0]  # the log stood still
    assert not lake.has_blob(p.dataset, pages[0], ".gz", p=p)

    for n in range(3):
        lake.put_blob(p.dataset, b"page %d" % n, ".gz", p=p)

    def rival():
        named.append(pages[0])
        Lake(store, run_id="rival", clock=ticking()).commit(p, frame(5), base=heir)

    store.before_delete = rival
    assert set(lake.erase(p, keep)) == set(keys)
    assert [lake.has_blob(p.dataset, sha, ".gz", p=p) for sha in pages] == [True, False, False]
    assert lake.get_blob(p.dataset, pages[0], ".gz", p=p) in (b"page 0", b"page 1", b"page 2")
    assert lake.audit() == []


def test_pages_go_after_the_files_that_may_name_them(tmp_path, p):
    store, lake, (old, _heir) = expired_lake(tmp_path, p)
    for n in range(6):
        lake.put_blob(p.dataset, b"page %d" % n, ".gz", p=p)
    gone = lake.erase(p)
    assert sorted(store.deleted) == sorted(gone)
    assert store.deleted[0] == key(old)


def test_what_cannot_be_told_to_be_unnamed_comes_back(tmp_path, p, monkeypatch):
    store, lake, (old, _heir) = expired_lake(tmp_path, p)

    def unplugged():
        monkeypatch.setattr(store, "list", lambda *_, **__: (_ for _ in ()).throw(StoreError("gone away")))

    store.before_delete = unplugged
    with pytest.raises(StoreError, match="gone away"):
        lake.erase(p)
    assert store.exists(key(old))


def test_two_that_erase_at_once_do_not_mind_each_other(tmp_path, p):
    store, lake, (old, _heir) = expired_lake(tmp_path, p)
    other = Lake(store, run_id="other")
    lake.put_blob(p.dataset, b"page", ".gz", p=p)
    store.before_delete = lambda: other.erase(p)
    assert len(lake.erase(p)) == 2
    assert not store.exists(key(old))
    assert lake.audit() == []


@pytest.mark.parametrize("frames", [lambda: frame(1), lambda: (frame(n) for n in (1, 3))], ids=["one", "several"])
def test_who_commits_while_another_erases_looks_again(tmp_path, p, frames):
    store, lake, (old, heir) = expired_lake(tmp_path, p)
    store.after_create = lambda: store.delete(key(old))
    version = lake.commit(p, frames(), base=heir)
    assert lake.read(version)["id"].to_list()[0] == 1
    assert lake.audit() == []


def test_the_newest_numbers_are_listed_without_reading(local_lake, local_store, p, written, monkeypatch):
    other = Partition.of("events", date="2026-10-02", source="twilio")
    local_lake.commit(other, frame(1), base=None)
    local_lake.commit(Partition.of("raw", date="2026-10-02", source="twilio"), frame(1), base=None)
    monkeypatch.setattr(local_store, "get", lambda name: pytest.fail(f"read {name}"))
    assert Lake(local_store, run_id="reader").newest("events") == {p: 4, other: 1}
