"""Days, months and weeks are UTC, half-open and written in one way only."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.periods import Month, anniversary, credit_period, days, iso_week, lookback, parse_day

MONTHS = st.builds(Month, st.integers(1, 9998), st.integers(1, 12))


@given(MONTHS, st.integers(-240, 240))
def test_months_are_counted_like_the_calendar(month, count):
    if not 1 <= (month.year * 12 + month.number - 1 + count) // 12 <= 9998:
        return
    moved = month + count
    assert moved - count == month
    assert (moved > month) == (count > 0)
    assert (moved.year - month.year) * 12 + moved.number - month.number == count


@given(MONTHS)
def test_a_month_is_its_days_and_prints_as_it_parses(month):
    assert Month.parse(str(month)) == month
    assert month.days[0] == month.first and month.days[-1] + timedelta(days=1) == month.end == (month + 1).first
    assert len(month.days) == (month.end - month.first).days
    assert all(Month.of(day) == month for day in month.days)


def test_the_last_months_end_with_this_one_oldest_first():
    assert [str(m) for m in Month(2026, 2).last(4)] == ["2025-11", "2025-12", "2026-01", "2026-02"]


@pytest.mark.parametrize(
    "text",
    [
        "2026-13",
        "2026-00",
        "0000-01",
        "2026-1",
        "26-01",
        "2026-10-01",
        "2026/10",
        "٢٠٢٦-١٠",
        " 2026-10",
        "2026-10\n",
        "",
    ],
)
def test_what_is_no_month_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="is not a month: write YYYY-MM"):
        Month.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-29",
        "2026-1-01",
        "20261031",
        "2026-W44-6",
        "2026-10-31T00:00",
        "٢٠٢٦-١٠-٠١",
        "31.10.2026",
        "2026-10-31 ",
        "",
    ],
)
def test_what_is_no_day_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="is not a day: write YYYY-MM-DD"):
        parse_day(text)


@given(st.dates())
def test_a_day_reads_as_it_prints(day):
    assert parse_day(day.isoformat()) == day


def test_days_are_half_open_and_the_look_back_ends_with_the_day():
    assert list(days(date(2026, 2, 28), date(2026, 3, 1))) == [date(2026, 2, 28)]
    assert list(days(date(2026, 3, 1), date(2026, 3, 1))) == []
    assert lookback(date(2026, 3, 1), 3) == [date(2026, 2, 27), date(2026, 2, 28), date(2026, 3, 1)]


def test_iso_weeks_belong_to_the_year_of_their_thursday():
    assert [iso_week(d) for d in (date(2026, 1, 1), date(2027, 1, 1), date(2024, 12, 30))] == [
        "2026-W01", "2026-W53", "2025-W01",
    ]  # fmt: skip


ANCHORS = st.dates(date(1999, 1, 1), date(2104, 12, 31)) | st.builds(
    lambda year, month, day: date(year, month, min(day, (Month(year, month).end - timedelta(days=1)).day)),
    st.integers(1999, 2104),
    st.integers(1, 12),
    st.integers(28, 31),
)


@pytest.mark.parametrize(
    ("anchor", "expected"),
    [
        ("2026-01-31", "2026-02-28 2026-03-31 2026-04-30 2026-05-31"),
        ("2024-01-31", "2024-02-29 2024-03-31 2024-04-30 2024-05-31"),
        ("2024-01-30", "2024-02-29 2024-03-30 2024-04-30 2024-05-30"),
        ("2026-01-30", "2026-02-28 2026-03-30 2026-04-30 2026-05-30"),
        ("2026-01-29", "2026-02-28 2026-03-29 2026-04-29 2026-05-29"),
        ("2024-01-29", "2024-02-29 2024-03-29 2024-04-29 2024-05-29"),
        ("2026-01-28", "2026-02-28 2026-03-28 2026-04-28 2026-05-28"),
        ("2026-11-30", "2026-12-30 2027-01-30 2027-02-28 2027-03-30"),
        ("2099-12-31", "2100-01-31 2100-02-28 2100-03-31 2100-04-30"),  # 2100 is no leap year
    ],
)
def test_anniversaries_are_clamped_and_never_drift(anchor, expected):
    found = [str(anniversary(parse_day(anchor), k)) for k in range(1, 5)]
    assert found == expected.split()
    assert anniversary(parse_day(anchor), 0) == parse_day(anchor)


def test_a_leap_day_comes_back_every_fourth_year():
    found = [anniversary(date(2024, 2, 29), 12 * year) for year in range(5)]
    assert [str(d) for d in found] == ["2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"]


@given(ANCHORS, st.integers(-240, 240))
def test_an_anniversary_is_the_anchors_day_or_the_last_of_a_month_too_short_for_it(anchor, k):
    found = anniversary(anchor, k)
    assert Month.of(found) == Month.of(anchor) + k
    tomorrow = found + timedelta(days=1)
    assert found.day == anchor.day or (found.day < anchor.day and tomorrow.day == 1)


@given(ANCHORS, st.integers(0, 3000))
def test_periods_cover_every_day_once_as_walking_day_by_day_finds(anchor, offset):
    day = anchor + timedelta(days=offset)
    start, end = credit_period(anchor, day)

    def begins(d: date) -> bool:
        """On the anchor's day of the month, or on the last day of a month that has none."""
        tomorrow = d + timedelta(days=1)
        return d.day == anchor.day or (d.day < anchor.day and tomorrow.day == 1)

    walked = next(d for d in (day - timedelta(days=back) for back in range(32)) if begins(d))
    after = next(d for d in (day + timedelta(days=ahead) for ahead in range(1, 33)) if begins(d))
    assert (start, end) == (walked, after)
    assert credit_period(anchor, end)[0] == end


def test_there_is_no_period_before_the_anchor():
    with pytest.raises(ValueError, match="2026-01-30 is before the first period, which starts on 2026-01-31"):
        credit_period(date(2026, 1, 31), date(2026, 1, 30))
