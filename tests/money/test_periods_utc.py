"""Days, months and weeks are UTC, half-open and written in one way only."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.periods import Month, days, iso_week, lookback, parse_day

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
