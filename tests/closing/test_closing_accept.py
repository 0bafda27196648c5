"""What a person may accept, and for how long it counts."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from closinghelp import configure, held, late
from statement_made import SEPTEMBER, open_jobs
from typer.testing import CliRunner

from etl import acceptance, nights
from etl.audit import AuditFailed
from etl.manifests import closings

# Acme is charged 0.0405 on the 1st, 0.0135 and 0.0140 in the middle of the month and 0.0530 on the 20th, which is over three
# times its median. Bolt's 0.1000 on the 3rd is less than three times its 0.0400.
TIGHT = "[bounds]\ndaily_factor = 3\ndaily_floor = 0.05\n"


@pytest.fixture
def tight(settings_file):
    """Bounds that one of acme's days is beyond, and no other account's."""
    settings_file.write_text(settings_file.read_text() + TIGHT)
    return settings_file


def accept_command(sentence: str) -> list[str]:
    """The command a hold ends with, as a shell would split it."""
    return shlex.split(re.search(r"python -m etl (accept .*)\Z", sentence)[1])


def run(settings, *arguments: str):
    from etl.cli import app

    return CliRunner().invoke(app, [*arguments, "--config", str(settings)], catch_exceptions=False)


@pytest.fixture(autouse=True)
def connection(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_TWILIO", '{"conn_type": "http", "login": "AC1", "password": "x"}')


def test_a_day_out_of_bounds_holds_its_account_until_a_person_accepts_it(tight):
    (hold, *others) = held(open_jobs(tight))["acme"]
    assert others == []
    # The median of 0.0135, 0.0140 and 0.0405 is 0.0140.
    assert hold.startswith(
        "within bounds: date=2026-09-20/account=acme is charged 0.053 USD on one day, after a median of 0.014 USD in the 28 "
        "days before: look at the day with python -m etl export --from 2026-09-20 --to 2026-09-20 --account acme --view lines"
    )
    done = run(tight, *accept_command(hold), "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert (document["account_id"], document["month"], document["reason"]) == ("acme", "2026-09", "…")
    jobs = open_jobs(tight)
    assert held(jobs)["acme"] == ()
    manifest = closings(jobs.lake, SEPTEMBER)["acme"]
    assert manifest["accepted"] == [document["hold"]]
    assert closings(jobs.lake, SEPTEMBER)["bolt"]["accepted"] == []


def test_the_night_fails_by_name_until_it_is_accepted(tight):
    jobs = open_jobs(tight)
    (hold,) = held(jobs)["acme"]
    windows = [f"{SEPTEMBER.days[0]}/{SEPTEMBER.days[-1]}"]
    with pytest.raises(AuditFailed, match="1 finding.s.: within bounds; they hold acme. First: within bounds: date="):
        nights.check(jobs, windows)
    *_, name = [a for a in accept_command(hold) if re.fullmatch("[0-9a-f]{8}", a)]
    jobs.accept(SEPTEMBER, "acme", name, "ordered by phone")
    nights.check(open_jobs(tight), windows)
    assert jobs.accept(SEPTEMBER, "acme", name, "said twice")["reason"] == "ordered by phone"


def test_an_acceptance_expires_when_the_figure_moves(tight):
    jobs = open_jobs(tight)
    (hold,) = held(jobs)["acme"]
    name = acceptance.name(SEPTEMBER, "acme", hold.sentence)
    jobs.accept(SEPTEMBER, "acme", name, "right")
    moved = late(tight)
    (again,) = held(moved)["acme"]
    assert "date=2026-09-20/account=acme" in again and again.sentence != hold.sentence
    with pytest.raises(
        LookupError, match="is not what holds 2026-09 of acme: what may be accepted there is [0-9a-f]{8}"
    ):
        moved.accept(SEPTEMBER, "acme", "00000000", "still right")


@pytest.mark.parametrize(("reason", "error"), [("", "say why"), ("  ", "say why")])
def test_an_acceptance_needs_a_reason(tight, reason, error):
    with pytest.raises(ValueError, match=error):
        open_jobs(tight).accept(SEPTEMBER, "acme", "00000000", reason)


def test_a_missing_price_is_no_matter_of_opinion(jobs):
    (hold,) = held(jobs)["dune"]
    assert hold.sentence == "" and "accept" not in hold
    with pytest.raises(LookupError, match="what may be accepted there is nothing"):
        jobs.accept(SEPTEMBER, "dune", acceptance.name(SEPTEMBER, "dune", str(hold)), "who cares")


def test_a_price_the_provider_owes_may_be_accepted_too(settings_file):
    configure(settings_file, "price_wait_days = 0", "price_wait_days = 30")
    jobs = open_jobs(settings_file)
    (hold,) = held(jobs)["bolt"]
    jobs.accept(SEPTEMBER, "bolt", acceptance.name(SEPTEMBER, "bolt", hold.sentence), "a free route")
    assert held(jobs)["bolt"] == ()


def test_one_account_s_acceptance_is_not_another_s(tight):
    names = {acceptance.name(m, a, "x") for m in (SEPTEMBER, SEPTEMBER + 1) for a in ("acme", "bolt")}
    assert len(names) == 4
