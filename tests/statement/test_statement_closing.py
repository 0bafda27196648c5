"""A month closes once, account by account, only when whole; then nothing that arrives later moves its statement."""

from __future__ import annotations

import dataclasses
from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from statement_made import (
    CLOSING_DAY,
    MIA,
    SEPTEMBER,
    at,
    load_day,
    on,
    open_jobs,
    read_day,
    text,
    write_place,
)

from etl.closing import holds, missing_days
from etl.lake import Partition
from etl.manifests import close_key, closings
from etl.periods import Month
from etl.schemas import DATASETS
from etl.settings import ConfigurationError
from etl.statement import Statements, lines

WITHOUT_GAPS = ["acme", "bolt", "cove", "kiri"]

NO_DAYS = DATASETS["daily"].empty().with_columns(date=pl.lit(None, pl.Date))


def closed(jobs, **options) -> dict[str, tuple[str, ...]]:
    """account → why it stays open; empty when it closed."""
    return {c.account_id: c.held for c in jobs.close(SEPTEMBER, **options)}


def shown(jobs, account_id: str, month: Month = SEPTEMBER):
    return Statements(jobs.lake, jobs.directory, jobs.settings.sources).load(account_id, month)


def assert_same(before, after) -> None:
    for field in dataclasses.fields(before):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if isinstance(old, pl.DataFrame):
            assert_frame_equal(old, new)
        else:
            assert old == new, field.name


# ------------------------------------------------------------------------------------------------ states


def test_a_month_is_open_then_provisional_then_final(settings_file, tmp_path):
    young = open_jobs(write_place(tmp_path / "young"))
    load_day(young, date(2026, 9, 1), on(date(2026, 9, 1)))
    young.state(SEPTEMBER)
    open_ = shown(young, "acme")
    assert (open_.state, open_.revision, open_.through, open_.closed_at) == ("open", 0, "2026-09-01", None)
    assert len(open_.held) == 29
    assert open_.held[0] == "day missing: 2026-09-02 of twilio: load it with python -m etl run --date 2026-09-02"

    jobs = open_jobs(settings_file)
    provisional = shown(jobs, "acme")
    assert (provisional.state, provisional.revision, provisional.through) == ("provisional", 0, "2026-09-30")
    assert (provisional.held, provisional.closed_at) == ((), None)

    assert closed(jobs) == {"acme": (), "bolt": (), "cove": (), "kiri": (), "dune": shown_reasons(1)}
    final = shown(jobs, "acme")
    assert (final.state, final.revision, final.through) == ("final", 1, "2026-09-30")
    assert final.closed_at == "2026-10-03T04:00:00+00:00"
    assert final.total == provisional.total
    assert shown(jobs, "dune").state == "provisional"


def shown_reasons(unrated: int) -> tuple[str, ...]:
    return (
        f"{unrated} charge(s) without a price: add the price to the rate card, then python -m etl rate --month 2026-09",
    )


# ------------------------------------------------------------------------------------------------ holds


def test_one_account_s_hold_stops_no_other(jobs):
    reasons = closed(jobs)
    assert [a for a, why in reasons.items() if not why] == WITHOUT_GAPS
    assert set(closings(jobs.lake, SEPTEMBER)) == set(WITHOUT_GAPS)


def test_a_month_is_held_before_its_time_and_says_from_when(jobs):
    reasons = closed(jobs, on=date(2026, 10, 2))
    assert reasons["acme"] == ("too early: 2026-09 may close from 2026-10-03",)
    assert reasons["dune"] == ("too early: 2026-09 may close from 2026-10-03", *shown_reasons(1))
    assert closings(jobs.lake, SEPTEMBER) == {}
    assert closed(jobs, on=CLOSING_DAY)["acme"] == ()


def test_a_month_is_held_while_a_day_is_missing(tmp_path):
    jobs = open_jobs(write_place(tmp_path))
    for day in SEPTEMBER.days[:-2]:
        load_day(jobs, day, [])
    reasons = closed(jobs)
    assert reasons["acme"] == (
        "day missing: 2026-09-29 of twilio: load it with python -m etl run --date 2026-09-29",
        "day missing: 2026-09-30 of twilio: load it with python -m etl run --date 2026-09-30",
    )
    assert closings(jobs.lake, SEPTEMBER) == {}


def test_a_month_without_any_day_is_held_whatever_its_lines_say(tmp_path):
    jobs = open_jobs(write_place(tmp_path))
    assert len(closed(jobs)["cove"]) == 30


def test_every_source_of_the_settings_must_be_in_every_day(settings_file):
    write_place(settings_file.parent, sources=("twilio", "exports"))
    jobs = open_jobs(settings_file)
    reasons = closed(jobs)["acme"]
    assert len(reasons) == 30
    assert reasons[0] == "day missing: 2026-09-01 of exports: load it with python -m etl run --date 2026-09-01"


def test_a_source_that_joins_with_nothing_to_add_completes_the_days_it_was_asked_for(settings_file):
    """Rolled up again a day without its usage is the same day: no new version, yet the month may close."""
    write_place(settings_file.parent, sources=("twilio", "exports"))
    jobs = open_jobs(settings_file)
    for day in SEPTEMBER.days[:-1]:
        load_day(jobs, day, [], source="exports")
    assert closed(jobs)["acme"] == (
        "day missing: 2026-09-30 of exports: load it with python -m etl run --date 2026-09-30",
    )
    assert shown(jobs, "acme").state == "open"
    load_day(jobs, SEPTEMBER.days[-1], [], source="exports")
    assert shown(jobs, "acme").state == "provisional"
    assert closed(jobs)["acme"] == ()


def test_a_source_with_usage_that_is_not_rolled_up_yet_holds_the_month(settings_file):
    """Rated, then the night died before the roll-up."""
    write_place(settings_file.parent, sources=("twilio", "exports"))
    jobs = open_jobs(settings_file)
    for day in SEPTEMBER.days[:-1]:
        load_day(jobs, day, [], source="exports")
    last = SEPTEMBER.days[-1]
    read_day(jobs, last, [text("x1", at(30), MIA)], "exports")
    jobs.rate(last, "exports")
    assert closed(jobs)["acme"] == (
        "day missing: 2026-09-30 of exports: load it with python -m etl run --date 2026-09-30",
    )
    jobs.roll_up(last)
    assert closed(jobs)["acme"] == ()


def test_every_reason_is_given_at_once_and_what_is_not_known_holds():
    stated = lines(NO_DAYS, DATASETS["monthly"].empty(), [])
    assert holds("acme", SEPTEMBER, stated, ["2026-09-01 of twilio"], date(2026, 10, 3), date(2026, 10, 1)) == (
        "day missing: 2026-09-01 of twilio",
        "too early: 2026-09 may close from 2026-10-03",
        "no statement: run python -m etl run for the month first",
    )


def test_lines_that_do_not_add_up_are_never_frozen(jobs):
    stated = jobs.lake.read(jobs.lake.head(Partition.of("statement", month="2026-09")))
    broken = stated.with_columns(
        amount=pl.when(pl.col("section") == "total")
        .then(pl.col("amount") * 2)
        .otherwise("amount")
        .cast(pl.Decimal(18, 9))
    )
    (reason,) = holds("acme", SEPTEMBER, broken, [], CLOSING_DAY, CLOSING_DAY)
    assert reason == ("the total says 0.380000000, its lines add up to 0.190000000: this is a defect, do not send it")


def test_missing_days_names_each_absent_source(jobs):
    rolled = jobs.lake.heads("daily", date=(SEPTEMBER.first, SEPTEMBER.days[-1]))
    assert missing_days(jobs.lake, rolled, SEPTEMBER, ["twilio"]) == []
    rolled.popitem()
    assert missing_days(jobs.lake, rolled, SEPTEMBER, ["twilio", "exports"])[-1] == (
        "2026-09-30 of exports, twilio: load it with python -m etl run --date 2026-09-30"
    )


def test_an_unknown_account_cannot_be_closed(jobs):
    with pytest.raises(ConfigurationError, match="'acne' is not in accounts.csv"):
        jobs.close(SEPTEMBER, ["acne"])


def test_closing_some_accounts_leaves_the_others_open(jobs):
    assert closed(jobs, accounts=["bolt"]) == {"bolt": ()}
    assert set(closings(jobs.lake, SEPTEMBER)) == {"bolt"}


# ------------------------------------------------------------------------------------------------ immutable


def test_late_usage_moves_the_day_but_not_the_closed_statement(jobs, settings_file):
    closed(jobs)
    before = {a: shown(jobs, a) for a in ("acme", "bolt", "cove", "dune", "kiri")}
    day = date(2026, 9, 20)
    rolled = Partition.of("daily", date=day)
    old = jobs.lake.head(rolled)

    later = open_jobs(settings_file, "run-2", date(2026, 10, 20))
    late = [
        text("late-a", at(20, "13:00:00"), MIA, segments=9),
        text("late-d", at(20, "13:00:00"), "+12025550199", segments=4, provider_account="AC4"),
    ]
    load_day(later, day, on(day) + late)
    later.state(SEPTEMBER)

    assert later.lake.head(rolled).seq == old.seq + 1
    newest = later.lake.read(later.lake.head(Partition.of("statement", month="2026-09")))
    assert (
        newest.filter((pl.col("account_id") == "acme") & (pl.col("line") == "total"))["amount"].item()
        > before["acme"].total
    )
    for account_id in WITHOUT_GAPS:
        assert_same(before[account_id], shown(later, account_id))
    # 0.0135 + 4 × (0.0095 + 0.0045): text 0.0090 + 0.0380 = 0.0470 → 0.05, fee 0.0045 + 0.0180 = 0.0225 → 0.02
    assert shown(later, "dune").total == Decimal("0.07")


def test_a_new_price_moves_no_closed_statement(jobs, settings_file):
    closed(jobs)
    before = shown(jobs, "acme")
    card = settings_file.parent / "rates" / "prices.csv"
    card.write_text(card.read_text().replace("0.0090", "0.0900"))
    later = open_jobs(settings_file, "run-2")
    for day in SEPTEMBER.days[:2]:
        later.rate(day, "twilio")
        later.roll_up(day)
    later.state(SEPTEMBER)
    assert_same(before, shown(later, "acme"))


def renamed(settings_file, *changes: tuple[str, str, str]) -> None:
    for name, old, new in changes:
        file = settings_file.parent / "directory" / f"{name}.csv"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))


def test_a_new_name_language_or_address_moves_no_closed_statement_but_mail_goes_to_the_new_address(jobs, settings_file):
    closed(jobs)
    before = {a: shown(jobs, a) for a in ("acme", "bolt", "dune")}
    renamed(
        settings_file,
        ("accounts", "provider_account_sid", "provider_account_sid,locale"),
        ("accounts", "acme,Acme,,USD,standard,,AC1", "acme,Acme Two,Two Inc,USD,standard,new@two.example,AC1,de_DE"),
        ("accounts", "bolt,Bolt,,USD,standard,,AC2", "bolt,Bolt,,USD,standard,,AC2,"),
        ("accounts", "cove,Cove,,USD,standard,,AC3", "cove,Cove,,USD,standard,,AC3,"),
        ("accounts", "dune,Dune,,USD,standard,,AC4", "dune,Dune Two,,USD,standard,,AC4,"),
        ("accounts", "kiri,Kiri,,JPY,yen,,AC5", "kiri,Kiri,,JPY,yen,,AC5,"),
        ("owners", "mia,Mia", "mia,Mia Two\nacme,member,zoe,Zoe"),
        ("campaigns", "Spring", "Autumn"),
    )
    later = open_jobs(settings_file, "run-2")
    after = shown(later, "acme")
    assert after.account.email_to == ("new@two.example",)
    same_mail = dataclasses.replace(after.account, email_to=before["acme"].account.email_to)
    assert_same(before["acme"], dataclasses.replace(after, account=same_mail))
    assert_same(before["bolt"], shown(later, "bolt"))
    assert before["bolt"].campaigns.rows() == [("spring", "Spring")]
    assert shown(later, "dune").account.name == "Dune Two", "which is not closed"


def test_an_account_that_changes_its_currency_keeps_the_old_one_in_closed_months(jobs, settings_file):
    closed(jobs)
    before = shown(jobs, "acme")
    renamed(settings_file, ("accounts", "acme,Acme,,USD,standard", "acme,Acme,,JPY,yen"))
    later = open_jobs(settings_file, "run-2", date(2026, 11, 3))
    assert_same(before, dataclasses.replace(shown(later, "acme"), account=before.account))
    assert shown(later, "acme").account.currency == "USD"
    load_day(later, date(2026, 10, 1), [text("o1", at(1, month=10), MIA, to_number="+81398765432")])
    later.state(SEPTEMBER + 1)
    of_acme = pl.col("account_id") == "acme"
    seen = later.operations(SEPTEMBER)
    assert {f.filter(of_acme)["currency"].item() for f in (seen.accounts, seen.margin)} == {"USD"}
    october = shown(later, "acme", SEPTEMBER + 1)
    assert (october.account.currency, [t.currency for t in october.history]) == ("JPY", ["USD", "JPY"])
    assert october.lines.filter(pl.col("section") == "total")["currency"].to_list() == ["JPY"]


def test_a_month_closed_before_names_were_kept_still_loads_with_the_directory_s(jobs):
    closed(jobs)
    reader = Statements(jobs.lake, jobs.directory, jobs.settings.sources)
    older = closings(jobs.lake, SEPTEMBER)["acme"]
    reader._closings[SEPTEMBER] = {
        "acme": {k: v for k, v in older.items() if k not in ("account", "owners", "campaigns")}
    }
    assert_same(reader.load("acme", SEPTEMBER), shown(jobs, "acme"))


def test_closing_again_changes_nothing(jobs, settings_file):
    first = closed(jobs)
    pinned = closings(jobs.lake, SEPTEMBER)
    before = shown(jobs, "acme")
    later = open_jobs(settings_file, "run-2", date(2026, 11, 1))
    assert closed(later) == first
    assert closings(later.lake, SEPTEMBER) == pinned
    assert {m["run_id"] for m in pinned.values()} == {"run-1"}
    assert later.lake.list_pins("close/") == [close_key(SEPTEMBER, a, 1) for a in WITHOUT_GAPS]
    assert_same(before, shown(later, "acme"))


def test_of_two_who_close_at_once_the_first_one_s_month_stands(settings_file, monkeypatch):
    """Both looked before either had closed."""
    first, second = open_jobs(settings_file, "first"), open_jobs(settings_file, "second", date(2026, 10, 4))
    assert closed(first)["acme"] == ()
    monkeypatch.setattr("etl.manifests.closings", lambda *_: {})
    (result,) = second.close(SEPTEMBER, ["acme"])
    monkeypatch.undo()
    assert (result.closed, result.revision) == (True, 1)
    assert closings(second.lake, SEPTEMBER)["acme"]["run_id"] == "first"


def test_an_account_held_at_first_closes_when_its_price_is_found(jobs, settings_file):
    closed(jobs)
    card = settings_file.parent / "rates" / "prices.csv"
    uk = "sms-uk,standard,text,outbound,sms,,+44,USD,0.0400,,,,,,2026-01-01,,2026-10-02,\n"
    card.write_text(card.read_text() + uk)
    later = open_jobs(settings_file, "run-2", date(2026, 10, 5))
    for day in SEPTEMBER.days:
        later.rate(day, "twilio")
        later.roll_up(day)
    reasons = closed(later)
    assert reasons == dict.fromkeys(reasons, ())
    # 0.0090 + 0.0400 = 0.0490 → 0.05; the fee's 0.0045 → 0.00
    assert (shown(later, "dune").state, shown(later, "dune").total) == ("final", Decimal("0.05"))


def test_the_manifest_names_what_the_statement_was_computed_from(jobs):
    closed(jobs)
    manifest = closings(jobs.lake, SEPTEMBER)["acme"]
    assert (manifest["month"], manifest["revision"], manifest["total"], manifest["currency"]) == (
        "2026-09", 1, "0.190000000", "USD",
    )  # fmt: skip
    assert manifest["statement"]["partition"] == "statement/month=2026-09"
    assert [d["partition"] for d in manifest["daily"]] == [f"daily/date={d}" for d in SEPTEMBER.days]
    assert shown(jobs, "acme").computed_from == tuple(
        (r["partition"], r["seq"], r["sha256"]) for r in (manifest["statement"], *manifest["daily"])
    )


def test_a_pinned_version_that_is_not_what_was_pinned_is_refused(jobs):
    closed(jobs)
    broken = {"acme": closings(jobs.lake, SEPTEMBER)["acme"] | {"daily": []}}
    broken["acme"]["statement"] = broken["acme"]["statement"] | {"sha256": "0" * 64}
    reader = Statements(jobs.lake, jobs.directory, jobs.settings.sources)
    reader._closings[SEPTEMBER] = broken
    with pytest.raises(LookupError, match="statement/month=2026-09 version 1 is not what the closed month pinned"):
        reader.load("acme", SEPTEMBER)


# ------------------------------------------------------------------------------------------------ reading


def test_what_is_not_there_is_a_sentence(jobs):
    with pytest.raises(LookupError, match="there is no statement for 2026-07: run python -m etl run"):
        shown(jobs, "acme", Month(2026, 7))
    with pytest.raises(ConfigurationError, match="'acne' is not in accounts.csv"):
        shown(jobs, "acne")


def test_a_month_without_usage_between_two_with_it_stays_in_the_history(tmp_path):
    """May is before the first usage and left out; August is quiet, and shown as quiet."""
    jobs = open_jobs(write_place(tmp_path))
    for month in (7, 9):
        load_day(jobs, date(2026, month, 1), [text(f"m{month}", at(1, month=month), MIA)])
    load_day(jobs, date(2026, 8, 1), [])
    load_day(jobs, date(2026, 6, 1), [])
    for month in (6, 7, 8, 9):
        jobs.state(Month(2026, month))
    found = shown(jobs, "acme")
    assert [(str(t.month), t.messages) for t in found.history] == [("2026-07", 1), ("2026-08", 0), ("2026-09", 1)]
    assert sorted(set(found.daily["date"])) == [date(2026, 7, 1), date(2026, 9, 1)]
    assert found.published == tuple(Month(2026, m) for m in (6, 7, 8, 9))
    quiet = shown(jobs, "cove")
    assert [str(t.month) for t in quiet.history] == ["2026-09"]
    assert (quiet.daily.height, quiet.total) == (0, 0)


def test_the_history_is_six_months_at_most(tmp_path):
    jobs = open_jobs(write_place(tmp_path))
    for month in range(1, 10):
        load_day(jobs, date(2026, month, 1), [text(f"m{month}", at(1, month=month), MIA)])
        jobs.state(Month(2026, month))
    assert [t.month.number for t in shown(jobs, "acme").history] == [4, 5, 6, 7, 8, 9]


def test_a_statement_knows_no_body_and_no_number(jobs):
    found = shown(jobs, "acme")
    for frame in (found.lines, found.previous_lines, found.daily, found.owners, found.campaigns):
        assert not {"body", "from_number", "to_number", "number_e164"} & set(frame.columns)
        assert not any("+1202" in str(row) for row in frame.iter_rows())


# ------------------------------------------------------------------------------------------------ verbs again


def test_doing_it_all_again_writes_nothing(jobs):
    day = date(2026, 9, 20)
    again = [jobs.rate(day, "twilio"), jobs.roll_up(day), jobs.state(SEPTEMBER)]
    assert [d.changed for d in again] == [False] * 3
    assert {d.seq for d in again} == {1}


def test_an_account_has_no_statement_for_months_before_it_was_a_customer(accounts_later):
    directory = accounts_later
    assert [a.account_id for a in directory.of_month(Month(2026, 9))] == ["old"]
    assert [a.account_id for a in directory.of_month(Month(2026, 10))] == ["old", "new"]


@pytest.fixture
def accounts_later(tmp_path):
    from etl import directory

    header = "account_id,name,company,currency,rate_card,email_to,provider_account_sid,valid_from\n"
    (tmp_path / "accounts.csv").write_text(
        header + "old,Old,Old,USD,standard,,AC1,\nnew,New,New,USD,standard,,AC2,2026-10-31\n"
    )
    (tmp_path / "owners.csv").write_text("account_id,owner_kind,owner_id,name\n")
    columns = "number_e164,account_id,owner_kind,owner_id,campaign_id,registered,number_class,valid_from,valid_to\n"
    (tmp_path / "numbers.csv").write_text(columns)
    (tmp_path / "campaigns.csv").write_text("account_id,campaign_id,name,voice_detection\n")
    return directory.load(tmp_path)
