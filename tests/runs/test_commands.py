"""The command line: what it says, what it exits with, and that it refuses before it asks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner
from workplace import REPOSITORY, environment, workplace

from etl.cli import app
from etl.jobs import Jobs

DAY = ("--date", "2026-10-06")


def etl(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    return result.exit_code, result.output.replace("│", " ")


def records(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("command", ["pull", "rate", "run", "reconcile", "close", "segments", "check"])
def test_every_command_explains_itself(command):
    code, text = etl(command, "--help")
    assert code == 0
    assert len(text) > 300


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run",), "give one of --date"),
        (("run", "--date", "2026-02-30"), "2026-02-30"),
        (("run", "--date", "yesterday"), "YYYY-MM-DD"),
        (("run", "--month", "2026-13"), "not a month"),
        (("run", "--from", "2026-10-02"), "belong together"),
        (("run", "--from", "2026-10-02", "--to", "2026-10-01"), "lies before"),
        (("run", "--date", "2026-10-02", "--month", "2026-10"), "give one of"),
        (("close", "--month", "october"), "YYYY-MM"),
        (("segments",), "give a text"),
        (("segments", "--in", "x.jsonl"), "--in with --out"),
        (("run", *DAY, "--source", "nobody"), "unknown source nobody"),
        (("run", *DAY, "--config", "nowhere.toml"), "nowhere.toml does not exist"),
    ],
)
def test_wrong_use_is_2_and_says_what_to_write(surroundings, arguments, said):
    code, text = etl(*arguments)
    assert code == 2
    assert said in " ".join(text.split())


def test_wrong_configuration_is_refused_before_the_first_request(surroundings, settings, provider):
    httpx.delete(f"{provider.url}/_sandbox/stats")
    before = httpx.get(f"{provider.url}/_sandbox/stats").json()
    numbers = settings.parent / "directory" / "numbers.csv"
    numbers.write_text(numbers.read_text().replace(",member,", ",person,", 1))
    code, text = etl("run", *DAY)
    assert code == 2
    assert "numbers.csv line" in text and "must be member or inbox" in text
    assert httpx.get(f"{provider.url}/_sandbox/stats").json() == before


def test_a_night_then_the_same_night(surroundings):
    code, text = etl("run", *DAY, "--json")
    first = records(text)
    assert code == 0
    assert [r["verb"] for r in first[:-1]] == [
        "pull", "normalise", "normalise", "rate", "reconcile", "roll up", "state",
    ]  # fmt: skip
    assert first[-1]["changed"] == 7
    code, text = etl("run", *DAY, "--json")
    assert code == 0
    assert records(text)[-1]["changed"] == 0


def test_what_is_held_back_is_3(surroundings, settings):
    prices = settings.parent / "rates" / "prices.csv"
    prices.write_text("".join(line for line in prices.read_text().splitlines(True) if "mms-out" not in line))
    code, text = etl("run", *DAY)
    assert code == 3
    assert "without a price" in text


def test_a_price_added_later_is_applied_without_asking_the_provider(surroundings, settings, provider):
    prices = settings.parent / "rates" / "prices.csv"
    whole = prices.read_text()
    prices.write_text("".join(line for line in whole.splitlines(True) if "mms-out" not in line))
    assert etl("run", *DAY)[0] == 3
    prices.write_text(whole)
    before = httpx.get(f"{provider.url}/_sandbox/stats").json()
    code, _ = etl("rate", *DAY)
    assert code == 0
    assert httpx.get(f"{provider.url}/_sandbox/stats").json() == before


def test_an_account_without_a_price_stays_open_and_stops_no_other(surroundings, settings):
    assert etl("run", "--month", "2026-10")[0] == 0
    numbers = settings.parent / "directory" / "accounts.csv"
    accounts = numbers.read_text().splitlines(True)
    prices = settings.parent / "rates" / "prices.csv"
    bare = [line for line in prices.read_text().splitlines(True) if ",plan," in line and "mms-out" not in line]
    prices.write_text(prices.read_text() + "".join(f"bare-{line.replace(',plan,', ',bare,')}" for line in bare))
    numbers.write_text("".join(a.replace(",plan,", ",bare,") if a.startswith("acct_harbor") else a for a in accounts))
    assert etl("rate", "--month", "2026-10")[0] == 3
    code, text = etl("close", "--month", "2026-10", "--json")
    closed = {r["account_id"]: r for r in records(text)}
    assert code == 3
    assert not closed["acct_harbor"]["closed"]
    assert "without a price" in closed["acct_harbor"]["held"][0]
    assert closed["acct_clinic"]["closed"] and closed["acct_lantern"]["closed"]


def test_a_month_with_a_gap_says_which_days(surroundings):
    etl("run", *DAY)
    code, text = etl("close", "--month", "2026-10")
    assert code == 3
    assert "day missing: 2026-10-01 of twilio" in text


@pytest.fixture(scope="module")
def september_once(tmp_path_factory, provider):
    """The settings file of a place that holds September, loaded by the command."""
    settings = workplace(tmp_path_factory.mktemp("september") / "place", provider, start="2026-09-01")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(settings, provider).items():
            patch.setenv(name, value)
        assert etl("run", "--month", "2026-09")[0] == 0
    return settings


@pytest.fixture
def september(september_once, surroundings, settings) -> Path:
    """The settings file of a copy."""
    shutil.rmtree(settings.parent)
    shutil.copytree(september_once.parent, settings.parent)
    return settings


def test_a_month_does_not_close_too_early(september):
    code, text = etl("close", "--month", "2026-09", "--on", "2026-10-01")
    assert code == 3
    assert "too early: 2026-09 may close from 2026-10-08" in text


def test_a_failing_provider_is_1_and_names_the_request(surroundings, settings, provider):
    settings.write_text(settings.read_text().replace('kind = "twilio"', 'kind = "twilio"\nattempts = 2'))
    httpx.post(f"{provider.url}/_sandbox/faults", json={"kind": "error", "path": "Messages", "times": 0})
    try:
        code, text = etl("run", *DAY)
    finally:
        httpx.delete(f"{provider.url}/_sandbox/faults")
    assert code == 1
    assert "messages of AC" in text and "500" in text
    assert not (settings.parent / "lake" / "daily").exists()


def test_one_day_s_failure_stops_no_other_day(surroundings, settings, provider):
    settings.write_text(settings.read_text().replace('kind = "twilio"', 'kind = "twilio"\nattempts = 1'))
    rule = {"kind": "error", "path": "Messages", "query": "2026-10-06", "times": 0}
    httpx.post(f"{provider.url}/_sandbox/faults", json=rule)
    try:
        code, text = etl("run", "--from", "2026-10-05", "--to", "2026-10-08")
    finally:
        httpx.delete(f"{provider.url}/_sandbox/faults")
    lake = settings.parent / "lake" / "daily"
    assert code == 1
    assert "2026-10-06" in text
    assert {p.name for p in lake.iterdir()} >= {"date=2026-10-08"}


def test_the_doctor(surroundings, settings):
    code, text = etl("check")
    assert "ok   lake" in text and "ok   source twilio" in text
    assert "FAIL mail" in text  # nothing listens there
    assert code == 1
    (settings.parent / "rates" / "prices.csv").write_text("rate_id\n")
    code, text = etl("check", "--offline")
    assert code == 2
    assert "FAIL rate card" in text


def test_wrong_credentials_are_named_and_never_printed(surroundings, monkeypatch):
    secret = json.loads(surroundings["AIRFLOW_CONN_TWILIO"])
    monkeypatch.setenv("AIRFLOW_CONN_TWILIO", json.dumps(secret | {"password": "a-wrong-password"}))
    code, text = etl("check")
    assert code == 1
    assert "401" in text and "a-wrong-password" not in text


def test_segments_of_a_text_and_of_a_file(tmp_path):
    code, text = etl("segments", "See you at 5 – bye")
    assert code == 0
    assert "UCS-2" in text and "–" in text
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"id": 1, "body": "hello"}\n{"body": null}\n{"body": "' + "x" * 161 + '"}\n')
    code, _ = etl("segments", "--in", str(source), "--out", str(target))
    assert code == 0
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert lines[0] == {"id": 1, "body": "hello", "encoding": "GSM-7", "units": 5, "segments": 1}
    assert lines[2]["segments"] == 2


def test_help_starts_without_the_heavy_libraries():
    script = "import sys, etl.cli; print([m for m in ('polars', 'boto3', 'airflow', 'httpx', 'pyarrow') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY, env=os.environ)
    assert run.stdout.strip() == "[]"


def test_closing_wants_the_newest_charges_and_says_what_came_after(september):
    prices = september.parent / "rates" / "prices.csv"

    def text_costs(price: str) -> None:
        lines = prices.read_text().splitlines(True)
        changed = ("text-out-us-2,", "plan-text-out-us-1,")
        prices.write_text("".join(r.replace(r.split(",")[8], price, 1) if r.startswith(changed) else r for r in lines))

    text_costs("0.0097")
    Jobs.open().rate(date(2026, 9, 10), "twilio")  # and died before the roll-up
    code, text = etl("close", "--month", "2026-09")
    assert code == 3
    assert "2026-09-10 was rated again since: python -m etl rate --date 2026-09-10" in text
    assert etl("rate", "--month", "2026-09")[0] == 0
    code, text = etl("close", "--month", "2026-09")
    assert (code, text.count("is final, revision 1")) == (0, 3), text
    text_costs("0.0098")
    assert etl("rate", "--month", "2026-09")[0] == 0
    code, text = etl("close", "--month", "2026-09")
    assert code == 0
    assert text.count("It stays as it is; what changed comes on the statement of 2026-10, as a correction") == 3


def test_usage_of_no_account_is_said_and_holds_nobody_else(surroundings, settings):
    for file in (settings.parent / "directory").glob("*.csv"):
        kept = [line for line in file.read_text().splitlines(True) if "acct_lantern" not in line]
        file.write_text("".join(kept))
    code, text = etl("run", *DAY)
    assert code == 3
    assert "without a price" in text
    code, text = etl("close", "--month", "2026-10")
    assert code == 3
    assert "record(s) of no account of that month: complete accounts.csv" in text


def test_a_month_that_has_not_begun_is_refused(surroundings):
    code, text = etl("run", "--month", "2199-01")
    assert code == 2
    assert "no day of 2199-01 is over yet" in text
