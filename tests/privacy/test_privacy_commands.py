"""The commands, the night, the settings and the key."""

from __future__ import annotations

import json
from datetime import date

import polars as pl
import pytest
from privacyhelp import CANARY, DAY, STRANGER, figures, holding, made_day, rows
from statement_made import open_jobs, write_place
from typer.testing import CliRunner

from etl import nights
from etl import settings as configuration
from etl.cli import app
from etl.lake import Partition
from etl.settings import ConfigurationError

LATER = date(2028, 10, 1)
FOREVER = "\n[retention]\nbodies_days = 36000\nnumbers_days = 36000\n"


@pytest.fixture
def made(tmp_path):
    settings = write_place(tmp_path / "made")
    made_day(open_jobs(settings))
    return settings


def command(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output


@pytest.fixture
def short(made):
    """The place with the shortest ages there are: on any day this is run, September 2026 may be long ago or not yet."""
    made.write_text(made.read_text() + "\n[retention]\nbodies_days = 40\nnumbers_days = 40\n")
    return made


def test_the_command_names_what_is_due_and_erases_it(short, time_machine):
    time_machine.move_to("2026-10-29T04:00:00Z", tick=False)
    arguments = ("expire", "--config", str(short))
    assert command(*arguments, "--dry-run") == (0, "expire: 0 day(s) due, nothing erased\n")
    time_machine.move_to("2026-10-30T04:00:00Z", tick=False)
    assert command(*arguments, "--dry-run") == (0, f"{DAY} twilio\nexpire: 1 day(s) due, nothing erased\n")
    assert command(*arguments, "--date", "2026-09-19") == (
        0, "expire: 0 partitions, 0 changed; 0 texts, 0 numbers and 0 pages are gone, 0 objects erased\n",
    )  # fmt: skip
    store = open_jobs(short).lake.store
    assert holding(store, {CANARY})
    assert command(*arguments, "--from", "2026-09-01", "--to", "2026-09-30") == (
        0, "expire: 2 partitions, 2 changed; 2 texts, 2 numbers and 1 pages are gone, 6 objects erased\n",
    )  # fmt: skip
    assert holding(store, {CANARY, STRANGER}) == {}
    code, said = command(*arguments, "--json")
    assert (code, said) == (0, "")


def test_the_night_does_it(made):
    jobs = open_jobs(made, "night", LATER)
    nights.expire(jobs)
    assert holding(jobs.lake.store, {CANARY, STRANGER}) == {}
    before = list(jobs.lake.store.list(""))
    nights.expire(open_jobs(made, "next", LATER))
    assert list(jobs.lake.store.list("")) == before


def test_forget_one_person(made):
    jobs = open_jobs(made)
    was = figures(jobs)
    code, said = command("forget", STRANGER, "--config", str(made), "--json")
    assert code == 0
    assert [json.loads(line)["verb"] for line in said.splitlines()] == ["expire"] * 2
    assert holding(jobs.lake.store, {CANARY, STRANGER}) == {}
    assert figures(open_jobs(made)) == was and not open_jobs(made).rate(DAY, "twilio").changed
    assert command("forget", STRANGER, "--config", str(made))[1].startswith("forget: 0 partitions")
    # The rest of the day has its age still before it.
    assert open_jobs(made, today=LATER).expirable() == [(DAY, "twilio")]
    open_jobs(made, today=LATER).expire(DAY, "twilio")
    assert open_jobs(made, today=LATER).expirable() == []


def test_forget_leaves_everybody_else(made):
    jobs = open_jobs(made)
    at = Partition.of("events", date=DAY, source="twilio")
    base = jobs.lake.head(at)
    frame = jobs.lake.read(base).drop("date", "source")
    other = pl.when(pl.col("record_id") == "a4").then(pl.lit("+13105550151")).otherwise("to_number")
    jobs.lake.commit(at, frame.with_columns(to_number=other), base=base, inputs=base.inputs, reason="normalise")
    open_jobs(made).forget(number="+13105550151")
    kept = dict(rows(open_jobs(made), "events", DAY).select("record_id", "body").rows())
    assert kept == {"a4": None, "a5": f"{CANARY} 1"}
    now = rows(open_jobs(made), "events", DAY)
    assert now.filter(record_id="a5")["from_number"].to_list() == [STRANGER]


def test_forget_whom_one_account_texted(made):
    jobs = open_jobs(made)
    was = figures(jobs)
    assert command("forget", "--account", "acme", "--config", str(made))[0] == 0
    assert holding(jobs.lake.store, {CANARY, STRANGER}) == {}
    assert figures(open_jobs(made)) == was
    code, said = command("forget", "--account", "nobody", "--config", str(made))
    assert code == 2 and "not in accounts.csv" in said


def test_forget_wants_one_number_of_a_person(made):
    for wrong in ((), ("3105550150",), ("+1 310 555 0150",), (STRANGER, "--account", "acme")):
        assert command("forget", *wrong, "--config", str(made))[0] == 2
    code, said = command("forget", "+12025550101", "--config", str(made))
    assert code == 2 and "the company's own" in said and "2025550101" not in said


def test_a_forgotten_number_is_found_by_its_hash(made, monkeypatch):
    monkeypatch.setenv("TOLLBOOK_RETENTION__KEY_CONNECTION", "phones")
    monkeypatch.setenv("AIRFLOW_CONN_PHONES", json.dumps({"conn_type": "generic", "password": "k" * 32}))
    nights.expire(open_jobs(made, "night", LATER))
    numbers = rows(open_jobs(made), "events", DAY)["to_number"].to_list()
    assert sum("+1310555#" in n and len(n) == 25 for n in numbers) == 1
    open_jobs(made, today=LATER).forget(number=STRANGER)
    assert "+1310555#" in rows(open_jobs(made), "events", DAY)["to_number"].to_list()
    assert open_jobs(made).lake.audit() == []


def test_a_short_key_is_refused(made, monkeypatch):
    monkeypatch.setenv("TOLLBOOK_RETENTION__KEY_CONNECTION", "phones")
    monkeypatch.setenv("AIRFLOW_CONN_PHONES", json.dumps({"conn_type": "generic", "password": "short"}))
    for work in (lambda jobs: jobs.expire(DAY, "twilio"), lambda jobs: jobs.kept()):
        with pytest.raises(ConfigurationError, match="give 32 or more at random"):
            work(open_jobs(made, today=LATER))
    monkeypatch.delenv("TOLLBOOK_RETENTION__KEY_CONNECTION")
    assert open_jobs(made).kept() == "texts for 365 days, numbers for 730, then cut and joined by nothing"


def test_what_a_closed_month_names_is_never_erased(made):
    jobs = open_jobs(made, today=LATER)
    head = jobs.lake.head(Partition.of("events", date=DAY, source="twilio"))
    reference = {"partition": head.partition.path, "seq": head.seq, "sha256": head.sha256}
    jobs.lake.pin("close/month=2026-09/account=acme/rev-0001", {"daily": [reference]})
    with pytest.raises(ValueError, match="pins events/date=2026-09-20/source=twilio: what a closed month names"):
        jobs.expire(DAY, "twilio")
    assert holding(jobs.lake.store, {CANARY})


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ("bodies_days = 400\nnumbers_days = 399", "numbers_days = 399 is less than bodies_days = 400"),
        ("bodies_days = 39", "days up to 39 days old are read again"),
        ("bodies_days = 0", "greater than or equal to 1"),
        ("body_days = 365", "Extra inputs"),
    ],
)
def test_settings_that_make_no_sense_are_refused(made, table, why):
    made.write_text(made.read_text() + f"\n[retention]\n{table}\n")
    with pytest.raises(ConfigurationError, match=why):
        configuration.load(made)


def test_the_ages_change_no_figure(made):
    before = configuration.load(made)
    assert (before.retention.bodies_days, before.retention.numbers_days) == (365, 730)
    made.write_text(made.read_text() + FOREVER)
    assert configuration.load(made).fingerprint() == before.fingerprint()
