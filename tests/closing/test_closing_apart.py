"""One account's trouble is that account's: pages, mails, the night, and a record that moved."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from statistics import median

import polars as pl
import pytest
from closinghelp import DAY, held, miscount
from hypothesis import given
from hypothesis import strategies as st
from statement_made import MIA, SEPTEMBER, at, load_day, on, open_jobs, text

from etl import acceptance, nights
from etl.audit import ACCEPTED, BROKEN, AuditFailed, Result
from etl.audit.bounds import beyond
from etl.audit.invariants import NAMED, broken, judged
from etl.lake import Partition
from etl.money import MONEY
from etl.periods import Month
from etl.settings import BoundsSettings
from reports.jobs import Failed, publish_month

# ------------------------------------------------------------------------------------------------ pages and mails


def test_the_page_of_who_is_concerned_is_not_published_and_all_others_are(jobs):
    miscount(jobs)
    with pytest.raises(Failed, match="1 problem.s.: acme: not published: segments recounted: date=2026-09-20"):
        publish_month(jobs, "2026-09")
    published = jobs.settings.home / "published"
    assert {p.parent.parent.name for p in published.glob("*/2026-09/index.html")} == {"bolt", "cove", "dune", "kiri"}
    load_day(jobs, DAY, on(DAY))
    publish_month(open_jobs(jobs.settings.home / "tollbook.toml"), "2026-09")
    assert (published / "acme/2026-09/index.html").exists()


def test_a_missing_day_is_on_the_page_and_keeps_nobody_from_it(jobs):
    load_day(jobs, date(2026, 10, 3), [text("o3", at(3, month=10), MIA)])
    assert "lines add up: month=2026-10/account=acme states usage of" in jobs.withheld(SEPTEMBER + 1)["acme"]
    jobs.state(SEPTEMBER + 1)
    assert jobs.withheld(SEPTEMBER + 1) == {}
    publish_month(jobs, "2026-10")


def test_what_breaks_after_closing_keeps_no_closed_page_back(jobs):
    held(jobs)
    miscount(jobs)
    assert jobs.withheld(SEPTEMBER) == {}
    closing = jobs.settings.home / "lake" / "close/month=2026-09/account=acme/rev-0001.json"
    closing.write_text(closing.read_text().replace('"total":"0.19', '"total":"0.91'))
    later = open_jobs(jobs.settings.home / "tollbook.toml")
    assert set(later.withheld(SEPTEMBER)) == set(later.withheld(SEPTEMBER, mail=True)) == {"acme"}


def test_a_day_out_of_bounds_keeps_the_mail_back_and_not_the_page(settings_file):
    settings_file.write_text(settings_file.read_text() + "[bounds]\ndaily_factor = 3\ndaily_floor = 0.05\n")
    jobs = open_jobs(settings_file)
    assert jobs.withheld(SEPTEMBER) == {}
    (said,) = jobs.withheld(SEPTEMBER, mail=True).items()
    assert said[0] == "acme" and said[1].startswith("within bounds: date=2026-09-20/account=acme")
    (hold,) = held(jobs)["acme"]
    jobs.accept(SEPTEMBER, "acme", acceptance.name(SEPTEMBER, "acme", hold.sentence), "right")
    assert jobs.withheld(SEPTEMBER, mail=True) == {}


def test_the_night_names_the_promise_and_whom_it_concerns(jobs):
    miscount(jobs)
    with pytest.raises(
        AuditFailed, match=r"1 finding\(s\): segments recounted; they hold acme. First: .* python -m etl run"
    ):
        nights.check(jobs, [f"{DAY}/{DAY}"])


def test_a_night_states_the_months_after_it_too(jobs, settings_file):
    held(jobs)
    load_day(jobs, DAY, [*on(DAY), text("late", at(20, "13:00:00"), MIA, segments=9)])
    assert nights.state(jobs, [f"{DAY}/{DAY}"]) == ["2026-09"]
    lines = jobs.statements.load("acme", SEPTEMBER + 1).lines
    assert lines.filter(pl.col("section") == "correction").height > 0


# ------------------------------------------------------------------------------------------------ a record that moved

MOVED = text("m1", at(2), MIA)
NOW_ON = date(2026, 9, 10)


def move(jobs, *, updated: str | None = "2026-09-11") -> None:
    """m1 was on the 2nd; the provider now lists it on the 10th, and no more where it was."""
    when = at(11) if updated else None
    load_day(jobs, date(2026, 9, 2), [*on(date(2026, 9, 2)), MOVED | {"vanished": True}])
    load_day(jobs, NOW_ON, [MOVED | {"occurred_at": at(10), "updated_at": when}])


def charged_on(jobs) -> list[str]:
    rows = jobs.lake.scan(list(jobs.lake.heads("charges").values())).filter(pl.col("record_id") == "m1").collect()
    return [str(d) for d in rows["date"]]


def test_a_record_on_two_days_holds_its_account_alone(jobs):
    move(jobs)
    assert charged_on(jobs) == ["2026-09-02", "2026-09-10"]
    jobs.state(SEPTEMBER)
    found = held(jobs)
    assert [a for a, why in found.items() if not why] == ["bolt", "cove", "kiri"]
    assert "charge m1 more than once (2026-09-02 twilio, 2026-09-10 twilio), 2 in all" in found["acme"][0]


def test_a_record_that_moved_is_billed_where_it_is_now(jobs):
    move(jobs)
    done = jobs.moved(SEPTEMBER.days)
    assert [(d.verb, d.changed) for d in done] == [("moved", True), ("rate", True), ("roll up", True)]
    assert charged_on(jobs) == ["2026-09-10"]
    events = jobs.lake.read(jobs.lake.head(Partition.of("events", date="2026-09-02", source="twilio")))
    row = events.filter(pl.col("record_id") == "m1").row(0, named=True)
    assert (row["outcome"], row["reason"], row["vanished"]) == ("excluded", "other_day", True)
    assert jobs.moved(SEPTEMBER.days) == []
    assert held(jobs)["acme"] == ()


@pytest.mark.parametrize("killed", ["rate", "roll_up"])
def test_killed_before_the_charges_followed_the_next_run_ends_the_same(jobs, monkeypatch, killed):
    move(jobs)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(jobs, killed, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        jobs.moved(SEPTEMBER.days)
    after = open_jobs(jobs.settings.home / "tollbook.toml", "after")
    expected = {"rate": ["rate", "roll up"], "roll_up": ["roll up"]}[killed]
    assert [d.verb for d in after.moved(SEPTEMBER.days)] == expected
    assert charged_on(after) == ["2026-09-10"]
    daily = after.lake.read(after.lake.head(Partition.of("daily", date="2026-09-02")))
    assert set(daily["account_id"]) == {"bolt"}
    assert after.moved(SEPTEMBER.days) == []


def test_all_days_are_looked_through_once_however_many_have_vanished_records(jobs, monkeypatch):
    move(jobs)
    for day in (3, 5):
        lost = text(f"v{day}", at(day), MIA) | {"vanished": True}
        load_day(jobs, date(2026, 9, day), [*on(date(2026, 9, day)), lost])
    scanned, real = [], jobs.lake.scan
    monkeypatch.setattr(jobs.lake, "scan", lambda v, *a: scanned.append(v[0].partition.dataset) or real(v, *a))
    done = jobs.moved(SEPTEMBER.days)
    assert [d.partition for d in done if d.verb == "moved"] == ["events/date=2026-09-02/source=twilio"]
    assert scanned.count("events") == 2, "what vanished, and what is listed"


@pytest.mark.parametrize("days", [[date(2026, 9, 2)], [NOW_ON, date(2026, 9, 11)]])
def test_a_night_moves_only_what_it_read_on_both_days(jobs, days):
    move(jobs)
    assert jobs.moved(days) == []


def test_an_older_version_elsewhere_takes_nothing_away(jobs):
    move(jobs)
    load_day(jobs, date(2026, 9, 2), [*on(date(2026, 9, 2)), MOVED | {"vanished": True, "updated_at": at(12)}])
    assert jobs.moved(SEPTEMBER.days) == []


def test_what_vanished_and_is_nowhere_else_stays_billed(jobs):
    load_day(jobs, date(2026, 9, 2), [*on(date(2026, 9, 2)), MOVED | {"vanished": True}])
    assert jobs.moved(SEPTEMBER.days) == [] and charged_on(jobs) == ["2026-09-02"]


# ------------------------------------------------------------------------------------------------ bounds


def days_of(*amounts: str | None, account: str = "acme", currency: str = "USD", last: date = DAY) -> pl.DataFrame:
    """Charges of consecutive days, the last of them on ``last``; None for a day without."""
    first = last - timedelta(days=len(amounts) - 1)
    rows = [(first + timedelta(days=i), account, currency, Decimal(a)) for i, a in enumerate(amounts) if a]
    schema = {"date": pl.Date, "account_id": pl.String, "currency": pl.String, "charge": MONEY}
    return pl.DataFrame(rows, schema=schema, orient="row")


def out(daily: pl.DataFrame, accepted=None, **bounds) -> list[Result]:
    return list(beyond(daily, [DAY], BoundsSettings(**bounds), {SEPTEMBER: accepted or {}}))


@pytest.mark.parametrize(
    ("amounts", "bounds", "beyond_them"),
    [
        (("20", "20", "200"), {}, False),
        (("20", "20", "200.01"), {}, True),
        (("20", None, "200.01"), {}, True),
        (("1", "30", "155.01"), {}, True),
        (("1", "30", "155"), {}, False),
        (("0.01", "0.01", "100"), {}, False),
        (("0.01", "0.01", "100.01"), {}, True),
        (("9000",), {}, False),
        (("10000.01",), {}, True),
        (("20", "20", "200.01"), {"daily_factor": "off"}, False),
        (("10000.01",), {"daily_cap": "off"}, False),
        (("20", *[None] * 27, "200.01"), {}, True),
        (("20", *[None] * 28, "200.01"), {}, False),
    ],
)
def test_the_bounds_by_hand(amounts, bounds, beyond_them):
    assert [r.verdict for r in out(days_of(*amounts), **bounds)] == [BROKEN] * beyond_them


def test_bounds_count_in_the_size_of_the_currency():
    assert out(days_of("1", "9999", currency="JPY")) == [], "a yen is about a cent"
    assert len(out(days_of("1", "10001", currency="JPY"))) == 1


def test_what_is_nobody_s_is_not_bounded():
    assert out(days_of("99999", account="unassigned")) == []


def test_an_accepted_day_is_accepted_in_its_own_month_for_its_own_account():
    daily = days_of("10000.01")
    (found,) = out(daily)
    name = frozenset({acceptance.name(SEPTEMBER, "acme", found.sentence)})
    assert [r.verdict for r in out(daily, {"acme": name})] == [ACCEPTED]
    assert [r.verdict for r in out(daily, {"bolt": name})] == [BROKEN]
    assert [r.verdict for r in out(days_of("10000.02"), {"acme": name})] == [BROKEN]
    assert [r.verdict for r in beyond(daily, [DAY], BoundsSettings(), {Month(2026, 8): {"acme": name}})] == [BROKEN]


AMOUNTS = st.lists(
    st.none() | st.integers(1, 10**12).map(lambda n: str(Decimal(n).scaleb(-9))), min_size=1, max_size=32
)


@given(AMOUNTS, st.integers(1, 10**12), st.decimals("0.5", "9", places=2))
def test_the_bound_is_exactly_the_median_of_the_days_charged(before, last, factor):
    amount = Decimal(last).scaleb(-9)
    found = out(days_of(*before, str(amount)), daily_factor=factor, daily_floor=0, daily_cap="off")
    window = [Decimal(a) for a in before[-28:] if a]
    assert bool(found) == (bool(window) and amount > factor * median(window))


# ------------------------------------------------------------------------------------------------ a million findings


def test_a_report_stays_small_whatever_is_broken():
    many = (broken("lines add up", f"here/account=a{n:07d}", "is wrong", "mend it") for n in range(100_000))
    found = list(judged("lines add up", "here", many))
    assert len(found) == NAMED + 1
    assert found[-1].finding == f"has {100_000 - NAMED} more finding(s) like these"
    assert len(found[-1].accounts) == 100_000 - NAMED and not found[-1].concerns("a0000000")
    mixed = [*found[:NAMED], broken("lines add up", "here", "is wrong", "mend it")]
    assert list(judged("lines add up", "here", mixed))[-1].accounts == (), "it may be anybody's"


def test_what_was_accepted_takes_no_place_in_a_report():
    accepted = [Result("within bounds", f"d/account=a{n}", ACCEPTED) for n in range(NAMED * 2)]
    found = list(judged("within bounds", "d", [*accepted, broken("within bounds", "d/account=z", "is", "do")]))
    assert found[-1].accounts == ("z",) and len(found) == NAMED * 2 + 1
