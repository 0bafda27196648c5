"""Figures of a night by name, and what is kept of each verb."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightmade import call, done, month, night

from etl import metrics
from etl.jobs import Done
from etl.journal import TOLD, VERBS, Observed
from etl.metrics import METRICS, Call, Figure
from etl.periods import Month

DOCS = Path(__file__).resolve().parents[2] / "docs"
TODAY, LIVE = date(2026, 11, 3), date(2026, 3, 1)


def values(figures: list[Figure]) -> dict[str, float]:
    return {figure.dotted.removeprefix("tollbook."): figure.value for figure in figures}


def test_a_night_in_figures():
    assert values(metrics.of_night(night(), TODAY, LIVE)) == {
        "night.seconds": 12.0, "source.seconds.twilio": 6.5, "night.findings": 0,
        "night.rows.twilio.accepted": 90, "night.rows.twilio.excluded": 8, "night.rows.twilio.quarantined": 2,
        "rows.twilio.accepted": 90, "rows.twilio.excluded": 8, "rows.twilio.quarantined": 2,
        "days.missing.twilio": 0, "days.behind.twilio": 0, "unrated.twilio": 0, "unexplained.twilio": 0, "lag.days": 1,
    }  # fmt: skip


def test_months_are_added_up_and_looked_at_once():
    """A retry looks again: the last look counts, not the sum of both."""
    october = month(month="2026-10", complete="2026-10-31", sources={"twilio": month()["sources"]["twilio"] | {"days_missing": 3}})
    calls = [
        call("operations", 1, months={"2026-11": month(complete="2026-10-01")}),
        call("operations", 2, months={"2026-10": october}),
        call("operations", 3, months={"2026-11": month()}),
    ]
    found = values(metrics.of_night(calls, TODAY, LIVE))
    assert (found["days.missing.twilio"], found["rows.twilio.accepted"], found["lag.days"]) == (3, 180, 1)


def test_a_month_nobody_looked_at_has_no_figures_and_no_zero():
    """An absent measure is seen by whoever watches it; a zero would say that all is well."""
    assert set(values(metrics.of_night([], TODAY, LIVE))) == {"night.seconds", "night.findings"}
    assert metrics.lag([month(complete=None)], TODAY, LIVE) == (TODAY - LIVE).days + 1


def test_a_day_read_twice_counts_once():
    again = call("normalise", 20, day="2026-11-02", source="twilio",
                 done=[done("events/date=2026-11-02/source=twilio", 51, accepted=46, excluded=4, quarantined=1)])  # fmt: skip
    assert metrics.rows_read([*night(), again])["twilio", "accepted"] == 91


def test_what_a_verb_sends_when_it_ends():
    failed = call("pull", day="2026-11-02", source="a.b/c", error="SourceError: no")
    assert values(metrics.of_call(failed)) == {"verb.duration.pull.a_b_c": 1.0, "verb.failed.pull.a_b_c": 1}
    assert [f.dotted for f in metrics.of_call(call("audit"))] == ["tollbook.verb.duration.audit"]


def test_overdue_is_what_should_be_closed_by_now():
    held = month(month="2026-10", held_accounts=2)
    assert metrics.overdue([held], date(2026, 11, 8), 7) == []
    assert metrics.overdue([held], date(2026, 11, 9), 7) == [held]
    assert metrics.overdue([month(month="2026-10")], date(2026, 12, 9), 7) == []


@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 5_000)), min_size=1))
def test_elapsed_is_from_the_first_to_the_last(spans):
    calls = [call("pull", at, took / 1000) for at, took in spans]
    end = max(at + took / 1000 for at, took in spans)
    assert metrics.elapsed(calls) == pytest.approx(end - min(at for at, _ in spans), abs=0.002)


def test_every_name_is_one_every_transport_takes_and_is_in_the_table():
    for name, metric in METRICS.items():
        figure = Figure(name, 1, dict.fromkeys(metric.tags, "Ünï/cöde"))
        assert re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", figure.dotted), name
    assert metrics.table() in (DOCS / "airflow.md").read_text()


# ------------------------------------------------------------------------------------------------ the journal


class Verbs:
    """What `Jobs` offers, as far as it is called here."""

    settings = "theirs"

    def clock(self) -> datetime:
        return datetime(2026, 11, 3, 2, tzinfo=UTC)

    def pull(self, day: date, source: str) -> Done:
        if day.day == 13:
            raise ValueError("nothing from +15550100123 today")
        return Done("pull", f"raw/date={day}/source={source}", 1, 7, True)

    def rate(self, day: date, source: str) -> Done:
        return Done("rate", f"charges/date={day}/source={source}", 2, 9, False, {"unrated": 3})

    def moved(self, days) -> list[Done]:
        self.given = list(days)
        return []

    def audit(self, days) -> list:
        list(days)
        return [SimpleNamespace(verdict=v) for v in ("ok", "broken")] * (TOLD + 5)

    def close(self, asked: Month) -> list:
        return [SimpleNamespace(account_id="acct_a", month=asked, held=("a day is missing",))]

    def untold(self) -> str:
        return "as it is"


def observed() -> tuple[Observed, Verbs, list[Call]]:
    calls, verbs = [], Verbs()
    return Observed(verbs, calls.append), verbs, calls


def test_every_call_is_kept_with_what_it_did():
    jobs, _, calls = observed()
    assert jobs.pull(date(2026, 11, 2), "twilio").rows == 7
    assert (calls[0].verb, calls[0].day, calls[0].source, calls[0].error) == ("pull", "2026-11-02", "twilio", None)
    assert calls[0].done == [
        {"partition": "raw/date=2026-11-02/source=twilio", "seq": 1, "rows": 7, "changed": True, "counts": {}}
    ]
    jobs.rate(date(2026, 11, 2), "twilio")
    assert calls[1].held == ["charges/date=2026-11-02/source=twilio: 3 event(s) without a price"]
    jobs.close(Month(2026, 10))
    assert (calls[2].month, calls[2].held) == ("2026-10", ["acct_a: 2026-10: a day is missing"])


def test_an_error_is_kept_masked_and_goes_on():
    jobs, _, calls = observed()
    with pytest.raises(ValueError, match="nothing from"):
        jobs.pull(date(2026, 11, 13), "twilio")
    assert calls[0].error == "ValueError: nothing from ***123 today"


def test_measuring_fails_no_verb_and_hides_no_error(caplog):
    def lost(_call) -> None:
        raise ConnectionError("nobody listens")

    jobs = Observed(Verbs(), lost)
    assert jobs.pull(date(2026, 11, 2), "twilio").rows == 7
    with pytest.raises(ValueError, match="nothing from"):
        jobs.pull(date(2026, 11, 13), "twilio")
    assert "pull was not written down" in caplog.text


def test_what_is_given_once_reaches_the_verb():
    jobs, verbs, calls = observed()
    jobs.moved(day for day in [date(2026, 11, 1), date(2026, 11, 2)])
    assert len(verbs.given) == 2 and calls[0].done == []


def test_many_findings_are_counted_and_the_first_are_told():
    jobs, _, calls = observed()
    jobs.audit([date(2026, 11, 1)])
    assert (len(calls[0].findings), calls[0].more, calls[0].checked) == (TOLD, 5, 2 * TOLD + 10)


def test_all_else_is_the_jobs_own():
    jobs, _, calls = observed()
    assert (jobs.settings, jobs.untold(), calls) == ("theirs", "as it is", [])


def test_days_under_way_at_once_are_all_kept():
    jobs, _, calls = observed()
    days = [date(2026, 10, d) for d in range(1, 13)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda day: jobs.pull(day, "twilio"), days * 20))
    assert len(calls) == 240 and {c.day for c in calls} == {str(d) for d in days}


def test_a_call_survives_the_way_through_json_and_a_field_of_another_version():
    for one in night():
        assert Call.of(json.loads(json.dumps(one.as_dict())) | {"unknown": 1}) == one


def test_every_verb_that_is_written_down_is_one():
    from etl.jobs import Jobs

    assert all(callable(getattr(Jobs, verb)) for verb in VERBS)
