"""What has expired is nowhere, no figure has moved, and history says what became of it."""

from __future__ import annotations

import json

import polars as pl
import pytest
from privacyhelp import DAYS, everything, figures, holding, rows

from etl.audit import OK
from etl.jobs import Jobs, NotReady
from etl.lake import EXPIRED, Erased, Partition
from etl.periods import Month

OCTOBER = Month(2026, 10)
SOURCE = "twilio"


def expire(jobs: Jobs) -> list:
    return [one for due in jobs.expirable() for one in jobs.expire(*due)]


def secrets(jobs: Jobs) -> tuple[set[str], set[str], set[str]]:
    """(texts, other people's numbers, the company's own) of the days loaded."""
    events = pl.concat([rows(jobs, "events", day) for day in DAYS])
    listed = events.filter(pl.col("kind") == "number")["to_number"]
    own = {*jobs.directory.numbers["number_e164"], *listed}
    named = {*events["from_number"].drop_nulls(), *events["to_number"].drop_nulls()}
    others = {n for n in named - own if n.startswith("+") and len(n) > 10}
    return {b for b in events["body"].drop_nulls() if len(b) > 12}, others, own & named


def test_figures_stay_byte_for_byte_and_what_expired_is_nowhere(aged):
    young = aged(1)
    bodies, others, own = secrets(young)
    assert len(bodies) > 200 and len(others) > 100 and len(own) > 20
    before = figures(young)
    assert holding(young.lake.store, bodies) and holding(young.lake.store, others)

    jobs = aged(400)
    done = expire(jobs)
    assert [one.changed for one in done] == [True] * 6
    assert holding(jobs.lake.store, bodies) == {}
    still = holding(jobs.lake.store, others)
    assert still and all("events/" in key for key in still), "pages hold both; in the events they live longer"

    jobs = aged(800)
    assert sum(one.counts.get("numbers", 0) for one in expire(jobs)) > 400
    assert holding(jobs.lake.store, bodies | others) == {}
    assert holding(jobs.lake.store, own), "the company's own are no person's"

    assert figures(jobs) == before
    # Computed again from what is left, not only left alone.
    for day in DAYS:
        assert [one.changed for one in jobs.rate_day(day)] == [False] * 3
    jobs.state(OCTOBER)
    assert figures(jobs) == before


def test_what_tells_no_person_stays_in_the_events(aged):
    was = rows(aged(1), "events", DAYS[0])
    jobs = aged(800)
    expire(jobs)
    now = rows(jobs, "events", DAYS[0])
    touched = ("body", "from_number", "to_number", "carrier")
    assert now.drop(touched).equals(was.drop(touched))
    assert now["body"].null_count() == now.height
    listed = pl.col("kind") == "number"
    assert now.filter(listed)["to_number"].equals(was.filter(listed)["to_number"])
    told = was.with_columns(jobs.directory.carriers_of(was))["carrier"]
    assert now.filter(now["carrier"].ne_missing(told))["carrier"].drop_nulls().is_empty()


def test_a_key_joins_what_was_one_number_and_nothing_without_it(aged, monkeypatch):
    monkeypatch.setenv("TOLLBOOK_RETENTION__KEY_CONNECTION", "phones")
    monkeypatch.setenv("AIRFLOW_CONN_PHONES", '{"conn_type": "generic", "password": "' + "k" * 32 + '"}')
    was = pl.concat([rows(aged(1), "events", day) for day in DAYS])
    jobs = aged(800)
    expire(jobs)
    now = pl.concat([rows(jobs, "events", day) for day in DAYS])
    pairs = (
        pl.DataFrame({"was": was["to_number"], "now": now["to_number"]})
        .filter(pl.col("now").str.contains("#"))
        .unique()
    )
    assert pairs["now"].str.contains(r"^\+[1-9][0-9]{6}#[0-9a-f]{16}$").all()
    assert pairs["was"].n_unique() == pairs["now"].n_unique() == pairs.height > 50


def test_versions_from_before_are_erased_and_say_so_others_are_not(aged):
    young = aged(1)
    at = {d: Partition.of(d, date=DAYS[0], source=SOURCE) for d in ("raw", "events", "charges")}
    packs = set(rows(young, "raw", DAYS[0])["object_sha256"])
    kept = [key for key in young.lake.store.list("_hist/") if not key.startswith(("_hist/raw/", "_hist/events/"))]
    logged = {key: young.lake.store.get(key) for key in young.lake.store.list("_log/")}

    jobs = aged(400)
    expire(jobs)
    for dataset in ("raw", "events"):
        *older, newest = jobs.lake.history(at[dataset])
        assert (len(older), newest.reason) == (3, EXPIRED)
        assert newest.sums == older[-1].sums and newest.inputs.items() >= {"retention": "bodies"}.items()
        for version in older:
            for read in (jobs.lake.read, lambda v: jobs.lake.scan([v])):
                with pytest.raises(Erased, match=r"erased by retention on 20\d\d-\d\d-\d\d; version 4 is in its place"):
                    read(version)
            assert jobs.lake.standing(version) == newest
        assert list(jobs.lake.store.list(f"_hist/{at[dataset].path}/")) == [
            f"_hist/{at[dataset].path}/{newest.files[0].sha256}.parquet"
        ]
        assert jobs.lake.standing(newest) == newest
    assert packs and not any(sha in key for key in jobs.lake.store.list("_hist/") for sha in packs)
    assert set(kept) <= set(jobs.lake.store.list("_hist/"))
    assert {key: jobs.lake.store.get(key) for key in logged} == logged, "the log stays whole"
    assert jobs.lake.audit() == []
    with pytest.raises(ValueError, match="has not expired"):
        jobs.lake.erase(at["charges"])


def test_a_closed_month_reads_the_same_and_names_nothing_that_goes(aged):
    jobs = aged(30)
    closed = [one for one in jobs.close(OCTOBER) if one.closed]
    assert len(closed) >= 3
    named = "".join(json.dumps(jobs.lake.get_pin(key)) for key in jobs.lake.list_pins("close/"))
    assert f"daily/date={DAYS[0]}" in named and "events/" not in named and "raw/" not in named

    def said(jobs: Jobs) -> list:
        return [jobs.statements.load(one.account_id, OCTOBER).lines.rows() for one in closed]

    was = said(jobs)
    later = aged(800)
    expire(later)
    assert said(later) == was
    assert [one.revision for one in later.close(OCTOBER) if one.closed and not one.later] == [1] * len(closed)
    results = later.audit(DAYS, deep=True)
    assert any(r.invariant == "closed stays closed" for r in results)
    assert [str(r) for r in results if r.verdict != OK] == []


def test_a_file_that_is_missing_without_retention_is_damage(aged):
    jobs = aged(400)
    expire(jobs)
    head = jobs.lake.head(Partition.of("events", date=DAYS[0], source=SOURCE))
    key = f"_hist/{head.partition.path}/{head.files[0].sha256}.parquet"
    jobs.lake.store.delete(key)
    assert [(f.level, f.kind, f.key) for f in jobs.lake.audit()] == [("error", "missing", key)]


def test_nothing_due_reads_nothing(aged, monkeypatch):
    assert aged(1).expirable() == aged(362).expirable() == []
    assert aged(363).expirable() == [(DAYS[0], SOURCE)]
    assert aged(365).expirable() == [(day, SOURCE) for day in DAYS]
    assert aged(364).expire(DAYS[-1], SOURCE) == []
    jobs = aged(400)
    expire(jobs)
    calls = []
    for name in ("get", "exists", "digest"):
        monkeypatch.setattr(type(jobs.lake.store), name, lambda self, key, name=name: calls.append((name, key)))
    assert (jobs.expirable(), calls) == ([], [])


def test_run_twice_changes_nothing(aged):
    jobs = aged(800)
    expire(jobs)
    before = everything(jobs.lake.store)
    jobs = aged(801, "again")
    assert expire(jobs) == []
    assert [one.changed for day in DAYS for one in jobs.expire(day, SOURCE)] == [False] * 6
    assert everything(jobs.lake.store) == before


def test_an_expired_day_is_never_counted_from_nothing(aged):
    young = aged(1)
    was = figures(young)
    jobs = aged(400)
    expire(jobs)
    before = everything(jobs.lake.store)
    jobs = aged(400, "again")
    assert [(one.verb, one.changed) for one in jobs.normalise(DAYS[0], SOURCE)] == [("normalise", False)] * 2
    with pytest.raises(NotReady, match="its pages were erased by retention"):
        jobs.read_again(DAYS[0], SOURCE)
    assert everything(jobs.lake.store) == before
    assert figures(jobs) == was
    results = jobs.audit(DAYS, deep=True)
    assert [str(r) for r in results if r.verdict != OK] == []
    assert any(r.invariant == "raw kept" for r in results)


def test_a_day_fetched_again_by_hand_expires_again_the_next_night(aged):
    bodies, others, _ = secrets(aged(1))
    was = figures(aged(1))
    jobs = aged(800)
    expire(jobs)
    jobs = aged(800, "by hand")
    jobs.run_day(DAYS[0])
    assert figures(jobs) == was
    assert holding(jobs.lake.store, bodies) and jobs.expirable() == [(DAYS[0], SOURCE)]
    assert [str(r) for r in jobs.audit(DAYS, deep=True) if r.verdict != OK] == []
    jobs = aged(801, "next night")
    assert [one.changed for one in expire(jobs)] == [True] * 2
    assert holding(jobs.lake.store, bodies | others) == {}
    assert (jobs.expirable(), jobs.lake.audit(), figures(jobs)) == ([], [], was)


def test_a_page_fetched_and_not_read_expires_too(aged):
    jobs = aged(400)
    expire(jobs)
    aged(400, "by hand").pull(DAYS[1], SOURCE)
    bodies, _, _ = secrets(aged(1))
    jobs = aged(401, "next")
    assert jobs.expirable() == [(DAYS[1], SOURCE)]
    expire(jobs)
    assert rows(jobs, "raw", DAYS[1])["object_sha256"].null_count() > 0
    assert list(jobs.lake.store.list(f"_hist/raw/date={DAYS[1]}/source={SOURCE}/"))[0].endswith(".parquet")
    assert jobs.lake.audit() == []


def test_explain_says_that_a_page_is_erased(aged):
    from etl.explain import Key

    jobs = aged(800)
    expire(jobs)
    account = next(a.account_id for a in jobs.directory.accounts)
    told = jobs.explain(account, OCTOBER, Key("text", "outbound", "sms", None))
    assert told.checks and all(check.equal for check in told.checks)
    assert sum(page["records"] for page in told.pages) > 0
    assert any("erased" in note for note in told.notes)


def test_a_price_that_needs_more_digits_keeps_the_numbers(aged, place):
    other = rows(aged(1), "events", DAYS[0]).filter(
        pl.col("kind") == "message", pl.col("direction") == "outbound", pl.col("to_number").str.starts_with("+1")
    )["to_number"][0]  # fmt: skip
    file = place.parent / "directory" / "places.csv"
    file.write_text(file.read_text() + f"{other[:-1]},US-XX\n")
    jobs = aged(800)
    before = rows(jobs, "events", DAYS[0])
    with pytest.raises(ValueError, match="would be priced or owned otherwise with its number cut"):
        jobs.expire(DAYS[0], SOURCE)
    assert rows(aged(800), "events", DAYS[0]).equals(before)
    with pytest.raises(ExceptionGroup, match="keep what they should not") as failed:
        from etl import nights

        nights.expire(aged(800))
    assert 1 <= len(failed.value.exceptions) <= len(DAYS)


def test_a_number_no_longer_listed_is_not_ours(aged, place):
    """What docs/privacy.md says of numbers that were taken out of numbers.csv before their days expired."""
    listed = rows(aged(1), "events", DAYS[0]).filter(pl.col("kind") == "number")["to_number"].to_list()
    ours = next(
        n for n in rows(aged(1), "events", DAYS[0]).filter(direction="outbound", kind="message")["from_number"]
        if n in set(aged(1).directory.numbers["number_e164"]) and n in listed
    )  # fmt: skip
    file = place.parent / "directory" / "numbers.csv"
    file.write_text("\n".join(line for line in file.read_text().splitlines() if ours not in line) + "\n")
    jobs = aged(800)
    expire(jobs)
    now = rows(jobs, "events", DAYS[0])
    assert ours in now["from_number"].to_list(), "the provider lists it as owned that day"
