"""A closed month is opened again by name and reason only, and what it was stays."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from closinghelp import held, late, miscount
from statement_made import SEPTEMBER, open_jobs
from typer.testing import CliRunner

from etl.lake import Conflict
from etl.manifests import close_key, closings

OCTOBER = SEPTEMBER + 1


@pytest.fixture
def closed(jobs):
    held(jobs)
    return jobs


def total(jobs, revision: int) -> Decimal:
    return Decimal(jobs.lake.get_pin(close_key(SEPTEMBER, "acme", revision))["total"])


def corrections(jobs) -> int:
    """Correction lines on October's statement of acme."""
    lines = jobs.statements.load("acme", OCTOBER).lines
    return lines.filter(pl.col("section") == "correction").height


def test_reopening_makes_the_next_revision_and_keeps_the_last(closed, settings_file):
    first = closed.lake.get_pin(close_key(SEPTEMBER, "acme", 1))
    changed = late(settings_file)
    assert corrections(changed) > 0
    done = changed.reopen(SEPTEMBER, "acme", "  a text was lost  ")
    assert (done.revision, done.replaces, done.changed, done.held) == (2, 1, True, ())
    assert done.total_before == total(changed, 1) < done.total == total(changed, 2)
    assert changed.lake.get_pin(close_key(SEPTEMBER, "acme", 1)) == first
    manifest = closings(changed.lake, SEPTEMBER)["acme"]
    assert (manifest["revision"], manifest["replaces"], manifest["reason"]) == (2, 1, "a text was lost")
    assert closings(changed.lake, SEPTEMBER)["bolt"]["revision"] == 1
    assert corrections(changed) == 0, "what the new revision says is corrected no more"
    shown = changed.statements.load("acme", SEPTEMBER)
    assert (shown.revision, shown.total) == (2, done.total)


def test_reopening_twice_counts_on(closed, settings_file):
    late(settings_file).reopen(SEPTEMBER, "acme", "first")
    done = late(settings_file, "later", segments=20).reopen(SEPTEMBER, "acme", "second")
    assert (done.revision, done.replaces) == (3, 2)
    assert [total(closed, n) for n in (1, 2, 3)] == sorted(total(closed, n) for n in (1, 2, 3))


def test_nothing_changed_makes_no_revision(closed, settings_file):
    done = closed.reopen(SEPTEMBER, "acme", "to be sure")
    assert (done.revision, done.replaces, done.changed) == (1, 1, False)
    changed = late(settings_file)
    changed.reopen(SEPTEMBER, "acme", "lost")
    again = open_jobs(settings_file, "again", date(2026, 10, 21)).reopen(SEPTEMBER, "acme", "lost")
    assert (again.revision, again.changed, again.reason) == (2, False, "lost")
    assert changed.lake.list_pins("close/month=2026-09/account=acme/") == [
        close_key(SEPTEMBER, "acme", n) for n in (1, 2)
    ]


def test_what_is_of_another_account_is_no_change(closed, settings_file):
    changed = late(settings_file)
    assert not changed.reopen(SEPTEMBER, "bolt", "to be sure").changed


@pytest.mark.parametrize(
    ("account", "reason", "error"),
    [("acme", " ", "say why"), ("dune", "x", "2026-09 is not closed for dune: python -m etl")],
)
def test_without_a_reason_or_a_closing_nothing_is_opened(closed, account, reason, error):
    with pytest.raises(ValueError, match=error):
        closed.reopen(SEPTEMBER, account, reason)


def test_a_month_that_could_not_close_is_not_opened_either(closed, settings_file):
    changed = late(settings_file)
    miscount(changed)
    done = changed.reopen(SEPTEMBER, "acme", "lost")
    assert (done.revision, done.changed) == (1, False)
    assert done.held[0].startswith("segments recounted:")
    assert closings(changed.lake, SEPTEMBER)["acme"]["revision"] == 1


def test_of_two_who_reopen_at_once_one_s_revision_stands(closed, settings_file, monkeypatch):
    first, second = late(settings_file), open_jobs(settings_file, "second", date(2026, 10, 20))
    real = second._manifest

    def overtaken(*arguments, **options):
        if closings(first.lake, SEPTEMBER)["acme"]["revision"] == 1:
            first.reopen(SEPTEMBER, "acme", "mine")
        return real(*arguments, **options)

    monkeypatch.setattr(second, "_manifest", overtaken)
    done = second.reopen(SEPTEMBER, "acme", "no, mine")
    assert (done.revision, done.changed, done.reason) == (2, False, "mine")


def test_killed_between_the_pin_and_the_restatement_a_second_run_ends_the_same(closed, settings_file, monkeypatch):
    changed = late(settings_file)
    monkeypatch.setattr(changed, "restate", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        changed.reopen(SEPTEMBER, "acme", "lost")
    assert closings(changed.lake, SEPTEMBER)["acme"]["revision"] == 2
    after = open_jobs(settings_file, "after", date(2026, 10, 20))
    assert corrections(after) > 0, "what was killed left this undone"
    done = after.reopen(SEPTEMBER, "acme", "lost")
    assert (done.revision, done.changed) == (2, False)
    assert corrections(after) == 0


def test_killed_before_the_pin_nothing_has_happened(closed, settings_file, monkeypatch):
    changed = late(settings_file)
    monkeypatch.setattr(changed.lake, "pin", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        changed.reopen(SEPTEMBER, "acme", "lost")
    assert closings(closed.lake, SEPTEMBER)["acme"]["revision"] == 1


def test_a_rival_s_revision_is_never_taken_for_ours(closed):
    from etl import closing

    document = closings(closed.lake, SEPTEMBER)["acme"] | {"revision": 2, "reason": "one"}
    closing.close(closed.lake, document)
    with pytest.raises(Conflict):
        closing.close(closed.lake, document | {"reason": "two"})


def test_a_closed_month_says_on_which_statement_it_is_corrected(closed, settings_file):
    changed = late(settings_file)
    said = {c.account_id: c.later for c in changed.close(SEPTEMBER)}
    assert said["acme"].startswith("2026-09 was closed with a total of 0.19, which is now 0.")
    assert said["acme"].endswith("It stays as it is; what changed is on the statement of 2026-10, as a correction")
    assert said["bolt"] == ""


def test_the_sentence_holds_before_the_next_month_has_a_statement(closed, settings_file, monkeypatch):
    changed = late(settings_file)
    monkeypatch.setattr("etl.closing.corrected_in", lambda *_: False)
    (acme,) = changed.close(SEPTEMBER, ["acme"])
    assert acme.later.endswith("what changed comes on the statement of 2026-10, as a correction")


def test_the_command_prints_both_totals(closed, settings_file, monkeypatch):
    from etl.cli import app

    monkeypatch.setenv("AIRFLOW_CONN_TWILIO", '{"conn_type": "http", "login": "AC1", "password": "x"}')
    late(settings_file)
    asked = ["reopen", "--month", "2026-09", "--account", "acme", "--reason", "lost", "--config", str(settings_file)]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert (
        done.stdout.startswith("acme: 2026-09 is final, revision 2, 0.") and "revision 1 stays, 0.19 USD" in done.stdout
    )
    again = CliRunner().invoke(app, [*asked, "--json"])
    row = json.loads(again.stdout.splitlines()[-1])
    assert (again.exit_code, row["changed"], row["revision"]) == (0, False, 2)
    refused = CliRunner().invoke(app, [*asked[:4], "dune", *asked[5:]])
    assert refused.exit_code == 1
