"""Views of daily rows: equal to a slow loop, adding up to the total, and true at the edges of weeks and ranges."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta
from decimal import Decimal

import export_reference as reference
import polars as pl
import pytest
from exporthelp import frame, row
from hypothesis import example, given, settings
from hypothesis import strategies as st

from etl import export
from etl.money import OutOfRange
from etl.periods import iso_week
from reports import files

FIRST = date(2026, 12, 24)
DAYS = [FIRST + timedelta(days=n) for n in range(16)]
"""Over New Year: 2026 has 53 ISO weeks."""

modest = settings(max_examples=40, deadline=None)

BREAKDOWNS = ("members", "inboxes", "campaigns", "lines")


@st.composite
def rows(draw) -> dict:
    kind = draw(st.sampled_from(["member", "inbox", "unassigned"]))
    small = st.integers(0, 5)
    return row(
        draw(st.sampled_from(DAYS)),
        account_id=draw(st.sampled_from(["acct_a", "acct_b", "unassigned"])),
        owner_kind=kind,
        owner_id=kind if kind == "unassigned" else draw(st.sampled_from(["one", "two"])),
        campaign_id=draw(st.sampled_from([None, "spring", "autumn"])),
        line=draw(st.sampled_from(reference.LINES)),
        direction=draw(st.sampled_from([None, "inbound", "outbound"])),
        type=draw(st.sampled_from([None, "sms", "voice"])),
        currency=draw(st.sampled_from(["USD", "USD", "JPY"])),
        charge=Decimal(draw(st.integers(-(10**12), 10**15))).scaleb(-9),
        **{name: draw(small) for name in ("events", "messages", "segments", "billed_seconds", "credits", "unrated")},
    )


@st.composite
def questions(draw) -> dict:
    days = draw(st.lists(st.sampled_from(DAYS)))
    return {
        "rows": draw(st.lists(rows(), max_size=25)),
        "days": days,
        "missing": draw(st.lists(st.sampled_from(days), unique=True)) if days else [],
        "accounts": draw(st.none() | st.lists(st.sampled_from(["acct_a", "acct_b", "acct_c"]), unique=True)),
        "currencies": draw(st.dictionaries(st.sampled_from(["acct_a", "acct_c"]), st.sampled_from(["EUR", "USD"]))),
    }


def ask(question: dict, by: str, which: str, *, lazy: bool = False) -> pl.DataFrame:
    daily = frame(question["rows"])
    return export.view(
        daily.lazy() if lazy else daily, by, which, question["accounts"],
        days=question["days"], missing=question["missing"], currencies=question["currencies"],
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ against the loop


@settings(max_examples=200, deadline=None)
@given(questions(), st.sampled_from(list(export.PERIODS)), st.sampled_from(list(export.VIEWS)), st.booleans())
def test_every_view_is_what_a_loop_finds(question, by, which, lazy):
    expected = reference.view(
        question["rows"], by, which, question["accounts"], question["days"], question["missing"],
        question["currencies"],
    )  # fmt: skip
    found = ask(question, by, which, lazy=lazy)
    assert found.to_dicts() == expected
    assert found.columns == [
        "account_id", "period", "period_start", "period_end_exclusive", *export.VIEWS[which], *export.FIGURES,
        "currency", "days_missing",
    ]  # fmt: skip
    assert found.schema["charge"] == pl.Decimal(18, 9) and found.schema["period_end_exclusive"] == pl.Date


@modest
@given(st.lists(rows(), min_size=1, max_size=25), st.sampled_from(list(export.PERIODS)))
def test_without_days_every_day_from_the_first_to_the_last_is_meant(some, by):
    first, last = min(r["date"] for r in some), max(r["date"] for r in some)
    between = [d for d in DAYS if first <= d <= last]
    daily = frame(some)
    assert export.view(daily, by, "total").equals(export.view(daily, by, "total", days=between))
    assert export.view(daily, "all", "total").rows(named=True)[0]["period_start"] == first


# ------------------------------------------------------------------------------------------------ adding up


def sums(table: pl.DataFrame) -> dict[tuple, dict]:
    """Account, period, currency → its figures, for whoever used anything."""
    found: dict[tuple, dict] = {}
    for r in table.iter_rows(named=True):
        into = found.setdefault((r["account_id"], r["period"], r["currency"]), reference.nothing())
        for name in export.FIGURES:
            into[name] += r[name] or 0
    return {key: figures for key, figures in found.items() if any(figures.values())}


@modest
@given(questions(), st.sampled_from(list(export.PERIODS)))
def test_every_breakdown_adds_up_to_the_total(question, by):
    whole = sums(ask(question, by, "total"))
    for which in BREAKDOWNS:
        assert sums(ask(question, by, which)) == whole


@modest
@given(questions(), st.sampled_from(list(export.PERIODS)))
def test_sent_received_and_what_has_no_direction_add_up_to_the_total(question, by):
    neither = ask(question, by, "lines").filter(pl.col("direction").is_null())
    parts = pl.concat(
        [ask(question, by, which).select("account_id", "period", "currency", *export.FIGURES)
         for which in ("sent", "received")]
        + [neither.select("account_id", "period", "currency", *export.FIGURES)]
    )  # fmt: skip
    assert sums(parts) == sums(ask(question, by, "total"))


@modest
@given(questions())
def test_days_add_up_to_weeks_months_and_all(question):
    def whole(by: str) -> dict:
        found: dict[tuple, dict] = {}
        for (account, _, currency), figures in sums(ask(question, by, "total")).items():
            into = found.setdefault((account, currency), reference.nothing())
            for name, value in figures.items():
                into[name] += value
        return {key: figures for key, figures in found.items() if any(figures.values())}

    assert whole("day") == whole("week") == whole("month") == whole("all")


# ------------------------------------------------------------------------------------------------ examples


def test_new_year_s_week_is_the_53rd_of_the_old_year():
    daily = frame([row(d) for d in DAYS])
    weeks = export.view(daily, "week", "total").select(
        "period", "period_start", "period_end_exclusive", "messages", "charge"
    )
    assert weeks.rows() == [
        ("2026-W52", date(2026, 12, 24), date(2026, 12, 28), 4, Decimal("0.076")),
        ("2026-W53", date(2026, 12, 28), date(2027, 1, 4), 7, Decimal("0.133")),
        ("2027-W01", date(2027, 1, 4), date(2027, 1, 9), 5, Decimal("0.095")),
    ]
    by_day = export.view(daily, "day", "total")
    assert [iso_week(d) for d in (date(2027, 1, 1), date(2027, 1, 2), date(2027, 1, 3))] == ["2026-W53"] * 3
    assert by_day["period"].to_list() == [d.isoformat() for d in DAYS]
    months = export.view(daily, "month", "total")
    assert months["period"].to_list() == ["2026-12", "2027-01"]


def test_members_are_listed_and_inboxes_are_one_row():
    day = DAYS[0]
    daily = frame(
        [
            row(day, owner_id="bob"),
            row(day, owner_id="ada"),
            row(day, owner_kind="inbox", owner_id="front", messages=10),
            row(day, owner_kind="inbox", owner_id="back", messages=20),
            row(day, owner_kind="unassigned", owner_id="unassigned", messages=40),
        ]
    )
    shown = ("owner_kind", "owner_id", "messages")
    assert export.view(daily, "day", "members").select(shown).rows() == [
        ("member", "ada", 1), ("member", "bob", 1), ("inbox", None, 30), ("unassigned", "unassigned", 40)
    ]  # fmt: skip
    assert export.view(daily, "day", "inboxes").select(shown).rows() == [
        ("inbox", "back", 20), ("inbox", "front", 10), ("member", None, 2), ("unassigned", "unassigned", 40)
    ]  # fmt: skip


def test_calls_and_video_are_counted_on_their_own_lines_and_what_is_held_on_none():
    day = DAYS[0]
    silent = {"messages": 0, "segments": 0, "credits": 0}
    daily = frame(
        [
            row(day, line="call", direction="inbound", events=3, billed_seconds=180, **silent),
            row(day, line="campaign_call", campaign_id="spring", events=2, billed_seconds=120, **silent),
            row(day, line="voice_detection", campaign_id="spring", events=2, charge=Decimal("0.02"), **silent),
            row(day, line="video", direction=None, events=1, billed_seconds=600, **silent),
            row(day, line="number", direction=None, events=1, charge=Decimal(9), unrated=1, **silent),
            row(day, line="recording_storage", direction=None, events=7, charge=Decimal(9), **silent),
        ]
    )
    (found,) = export.view(daily, "day", "total").rows(named=True)
    assert (found["calls"], found["call_billed_seconds"]) == (5, 300)
    assert (found["video_sessions"], found["video_billed_seconds"]) == (1, 600)
    assert (found["charge"], found["unrated"], found["messages"]) == (Decimal("0.077"), 0, 0)
    lines = export.view(daily, "day", "lines")
    assert lines["line"].to_list() == ["call", "video", "campaign_call", "voice_detection"]


def test_an_unknown_day_is_null_and_a_quiet_day_is_zero():
    daily = frame([row(DAYS[0])])
    table = export.view(daily, "day", "sent", days=DAYS[:3], missing=[DAYS[2]], currencies={"acct_quiet": "EUR"})
    assert table.select("account_id", "messages", "charge", "unrated", "days_missing").rows() == [
        ("acct_a", 1, Decimal("0.019"), 0, 0), ("acct_a", 0, Decimal(0), 0, 0), ("acct_a", None, None, None, 1),
        ("acct_quiet", 0, Decimal(0), 0, 0), ("acct_quiet", 0, Decimal(0), 0, 0), ("acct_quiet", None, None, None, 1),
    ]  # fmt: skip


def test_an_empty_frame_is_an_empty_view():
    for which in export.VIEWS:
        assert export.view(frame([]), "week", which).is_empty()


def test_a_sum_that_does_not_fit_is_refused_by_name():
    most = Decimal("999999999.999999999")
    just = export.view(frame([row(DAYS[0], charge=most)]), "all", "total")
    assert just["charge"].item() == most
    with pytest.raises(OutOfRange, match="charge of acct_a in all exceeds 999999999.999999999"):
        export.view(frame([row(DAYS[0], charge=most), row(DAYS[0])]), "all", "total")


@pytest.mark.parametrize(("by", "which"), [("year", "total"), ("day", "owners"), ("", "")])
def test_an_unknown_view_names_the_known_ones(by, which):
    with pytest.raises(ValueError, match="total, sent, received.* by day, week, month, all"):
        export.view(frame([]), by, which)


# ------------------------------------------------------------------------------------------------ names and files


def test_names_stand_beside_ids_and_add_no_row():
    day = DAYS[0]
    daily = frame(
        [
            row(day),
            row(day, owner_id="gone"),
            row(day, owner_kind="inbox", owner_id="ada", campaign_id="spring"),
            row(day, owner_kind="unassigned", owner_id="unassigned"),
        ]
    )
    owners = pl.DataFrame({"account_id": ["acct_a"], "owner_kind": ["member"], "owner_id": ["ada"], "name": ["Ada"]})
    campaigns = pl.DataFrame(
        {"account_id": ["acct_a"] * 2, "campaign_id": ["spring"] * 2, "name": ["Spring 25", "Spring 26"]}
    )
    members = export.named(export.view(daily, "day", "members"), owners, campaigns)
    assert members.columns[5:8] == ["owner_id", "owner_name", "messages"]
    assert members.select("owner_id", "owner_name").rows() == [
        ("ada", "Ada"), ("gone", None), (None, "all shared inboxes"), ("unassigned", None)
    ]  # fmt: skip
    inboxes = export.named(export.view(daily, "day", "inboxes"), owners, campaigns)
    assert inboxes["owner_name"].to_list() == [None, "all members", None]
    by_campaign = export.named(export.view(daily, "day", "campaigns"), owners, campaigns)
    assert by_campaign.select("campaign_id", "campaign_name").rows() == [("spring", "Spring 26"), (None, None)]
    total = export.view(daily, "day", "total")
    assert export.named(total, owners, campaigns).equals(total)


@modest
@given(st.lists(st.none() | st.text(st.characters(exclude_categories=("Cs",))), min_size=1))
@example(["=1+1", "'=1", "''", "-5", "＝1", "\t@", 'a,"b"\r\nc', "", " "])
def test_a_csv_file_gives_every_text_back_and_runs_none(texts):
    data = export.csv(pl.DataFrame({"name": texts, "n": list(range(len(texts)))}, schema={"name": pl.String, "n": int}))
    cells = [line[0] for line in csv.reader(io.StringIO(data.decode(), newline=""))][1:]
    assert cells == [files.neutralise(t or "") for t in texts]
    assert [files.restore(c) for c in cells] == [t or "" for t in texts]


def test_a_csv_file_is_rfc_4180_and_tells_unknown_from_zero():
    daily = frame([row(DAYS[0], charge=Decimal("-0.5"))])
    data = export.csv(export.view(daily, "day", "total", days=DAYS[:2], missing=[DAYS[1]]))
    assert data == (
        b"account_id,period,period_start,period_end_exclusive,messages,segments,credits,calls,call_billed_seconds,"
        b"video_sessions,video_billed_seconds,charge,unrated,currency,days_missing\r\n"
        b"acct_a,2026-12-24,2026-12-24,2026-12-25,1,2,2,0,0,0,0,-0.500000000,0,USD,0\r\n"
        b"acct_a,2026-12-25,2026-12-25,2026-12-26,,,,,,,,,,USD,1\r\n"
    )


@modest
@given(questions(), st.sampled_from(list(export.VIEWS)))
def test_the_same_rows_in_any_order_are_the_same_bytes(question, which):
    other = {**question, "rows": question["rows"][::-1], "days": question["days"][::-1]}
    for write in (export.csv, export.parquet):
        assert write(ask(question, "week", which)) == write(ask(other, "week", which))
