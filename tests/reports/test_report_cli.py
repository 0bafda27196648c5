"""The command line: it teaches, it says what it did, its exit code can be trusted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import statements_made as made
from reportshelp import make_jobs
from typer.testing import CliRunner

from etl.settings import ConfigurationError
from reports import console
from reports.cli import app

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(tmp_path, monkeypatch, catcher, statements):
    given = [statements["usual"], statements["german"]]
    jobs = make_jobs(tmp_path, given, port=catcher.port)
    monkeypatch.setattr(console, "_jobs", lambda config: jobs)

    def call(*arguments: str):
        return CliRunner().invoke(app, list(arguments))

    call.jobs = jobs
    return call


def test_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys\nfrom reports.cli import app\ntry:\n app(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'polars', 'jinja2', 'boto3', 'babel', 'css_inline', 'airflow'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    best = 9.0
    for _ in range(3):
        begun = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
        best = min(best, time.perf_counter() - begun)
    assert done.returncode == 0, done.stderr
    assert best < 0.75, f"{best:.2f} s"


def test_help_teaches(run):
    text = run("--help").output
    assert "python -m reports render --month 2026-10" in text and "held back" in text
    assert "--preview" in run("mail", "--help").output


def test_publish_then_mail_then_nothing_left_to_do(run, catcher):
    assert run("publish", "--month", "2026-10").exit_code == 0
    first = run("mail", "--month", "2026-10")
    assert first.exit_code == 0 and "2 sent, 0 sent before" in first.output and len(catcher.messages) == 4
    again = run("mail", "--month", "2026-10", "--json")
    assert again.exit_code == 0 and len(catcher.messages) == 4
    rows = [json.loads(line) for line in again.stdout.splitlines()]
    assert [(r["account_id"], r["done"], r["unchanged"]) for r in rows] == [("acct_7Q2M", 0, 2), ("acct_de", 0, 2)]


def test_one_account_only(run, tmp_path):
    done = run("render", "--month", "2026-10", "--out", str(tmp_path / "out"), "--account", "acct_de")
    assert done.exit_code == 0 and [
        p.name for p in (tmp_path / "out").iterdir() if p.is_dir() and p.name != ".tmp"
    ] == ["acct_de"]
    assert not (tmp_path / "published").exists()


def test_what_is_held_back_is_exit_code_3(run):
    done = run("mail", "--month", "2026-10")
    assert done.exit_code == 3 and "held back: 2026-10 revision 1 is not published" in done.output


def test_an_address_the_server_refuses_is_exit_code_3(run, catcher):
    run("publish", "--month", "2026-10")
    catcher.refuse = {"lena@harborfinch.example": "550 gone"}
    done = run("mail", "--month", "2026-10")
    assert done.exit_code == 3 and "l…@harborfinch.example: 550 gone" in done.output


def test_one_accounts_trouble_stops_no_other(run, statements):
    from dataclasses import replace

    good = statements["usual"]
    run.jobs.statements.given[0] = replace(
        good, history=(*good.history[:-1], replace(good.history[-1], segments_sent=1))
    )
    done = run("publish", "--month", "2026-10")
    assert done.exit_code == 1
    assert "acct_7Q2M: failed: 2026-10-acct_7Q2M: segments are" in done.stderr
    assert re.search(r"acct_de: 2026-10 final: \d+ objects written, 0 unchanged", done.stdout)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("publish", "--month", "2026-13"), "is not a month"),
        (("publish",), "--month"),
        (("publish", "--month", "2026-10", "--account", "nobody"), "unknown account nobody"),
    ],
)
def test_wrong_use_is_exit_code_2(run, arguments, said):
    done = run(*arguments)
    assert done.exit_code == 2 and said in done.output


def test_a_month_without_a_statement_is_exit_code_1(run):
    done = run("publish", "--month", "2020-01", "--json")
    assert done.exit_code == 1 and "there is no statement" in done.stdout


def test_a_wrong_configuration_is_one_sentence(monkeypatch):
    def broken(config):
        raise ConfigurationError("config/tollbook.toml does not exist")

    monkeypatch.setattr(console, "_jobs", broken)
    done = CliRunner().invoke(app, ["publish", "--month", "2026-10", "--json"])
    assert done.exit_code == 2
    assert json.loads(done.stderr) == {"error": "config/tollbook.toml does not exist", "exit_code": 2}


def test_rendering_from_another_folder_opens_from_disk(tmp_path):
    """The package finds its templates wherever the command is run."""
    code = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(REPOSITORY)!r}]
import statements_made as made
from reportshelp import make_jobs
from pathlib import Path
from reports.jobs import Reports
print([o.error for o in Reports(make_jobs(Path("."), [made.statement()])).render(made.OCTOBER, Path("out"))])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "[None]", done.stderr
    assert (tmp_path / "out/acct_7Q2M/2026-10/index.html").is_file()


def test_menus_of_earlier_months_follow(tmp_path):
    from etl.periods import Month
    from reports.jobs import Reports

    who, september, october = made.account(), Month(2026, 9), Month(2026, 10)
    earlier = made.statement(lambda w: made.usual(w, month=september), who=who, month=september)
    jobs = make_jobs(tmp_path, [earlier], links="relative")
    list(Reports(jobs).publish(september))
    page = tmp_path / "published/acct_7Q2M/2026-09/index.html"
    assert "../2026-10/" not in page.read_text()
    jobs.statements.given.append(made.statement(state="provisional", who=who))
    list(Reports(jobs).publish(october, ["acct_7Q2M"]))
    menu = page.read_text().partition("<main")[0]
    assert "../2026-10/index.html" in menu and "Provisional" in menu and "$429.86" not in menu
    jobs.statements.given[1] = made.statement(who=who)
    list(Reports(jobs).publish(october, ["acct_7Q2M"]))
    assert "$429.86" in page.read_text().partition("<main")[0]


@pytest.mark.parametrize("error", [OverflowError("too large"), TypeError("none"), AttributeError("gone")])
def test_what_nobody_foresaw_stops_no_other_account_and_is_named(run, tmp_path, monkeypatch, caplog, error):
    load = run.jobs.statements.load

    def broken(account_id, month):
        if account_id == "acct_7Q2M":
            raise error
        return load(account_id, month)

    monkeypatch.setattr(run.jobs.statements, "load", broken)
    done = run("publish", "--month", "2026-10")
    assert done.exit_code == 1 and f"acct_7Q2M: failed: {type(error).__name__}: {error}" in done.stderr
    assert "Traceback" in done.stderr
    assert (tmp_path / "published/acct_de/2026-10/index.html").is_file()


def test_a_wrong_configuration_is_nobodys_trouble_alone(run, monkeypatch):
    def broken(account_id, month):
        raise ConfigurationError("no such rates")

    monkeypatch.setattr(run.jobs.statements, "load", broken)
    assert run("publish", "--month", "2026-10").exit_code == 2


def test_dags_get_every_failure_in_one(tmp_path, statements):
    from dataclasses import replace

    from reports.jobs import Failed, publish_month

    good = statements["usual"]
    bad = replace(good, history=(*good.history[:-1], replace(good.history[-1], segments_sent=1)))
    jobs = make_jobs(tmp_path, [bad, statements["german"]])
    with pytest.raises(Failed, match="1 problem"):
        publish_month(jobs, str(made.OCTOBER))
    assert (tmp_path / "published/acct_de/2026-10/index.html").is_file()
