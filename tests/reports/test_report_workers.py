"""Several processes publish and mail what one does, byte by byte and in the same order; one that dies takes one account."""

from __future__ import annotations

import email
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from email import policy
from pathlib import Path

import explanations_made
import polars as pl
import pytest
import statements_made as made
from reportshelp import Catcher, listening, make_jobs

from etl.settings import ConfigurationError, Connection, ReportSettings, StoreSettings
from reports import workers
from reports.jobs import Reports
from reports.workers import Died, Opening, Workers, count

SECRET = "wJalrXUtnFEMI-not-a-key"


def named(statement, account_id: str):
    """The same statement of another account."""
    renamed = {
        name: frame.with_columns(account_id=pl.lit(account_id))
        for name in ("lines", "previous_lines", "daily", "ledger", "monthly", "corrections", "replaced_lines")
        if "account_id" in (frame := getattr(statement, name)).columns
    }
    who = replace(statement.account, account_id=account_id, email_to=(f"{account_id}@example.com", "b@example.com"))
    return replace(statement, account=who, **renamed)


@pytest.fixture(scope="module")
def given(statements):
    kinds = ("usual", "rich", "german", "no_usage", "open", "yen", "corrected", "first_month")
    return [named(statements[kind], f"acct_{i}") for i, kind in enumerate(k for k in kinds if k in statements)]


@pytest.fixture
def several(monkeypatch):
    monkeypatch.setattr(workers, "WORTH", 1)


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def explaining(jobs, given):
    by_account = {s.account.account_id: s for s in given}
    jobs.explanations = lambda: lambda account_id, _: explanations_made.of(by_account[account_id])
    return jobs


def all_of_it(root: Path, given, processes: int) -> tuple[list, list, dict, list]:
    """(outcomes of publish, of mail, what is published, messages in order of their arrival)."""
    handler = Catcher()
    with listening(handler) as port:
        reports = Reports(explaining(make_jobs(root, given, port=port), given), processes)
        published = list(reports.publish(made.OCTOBER))
        mailed = list(reports.mail(made.OCTOBER))
        assert [o.done for o in reports.mail(made.OCTOBER)] == [0] * len(given)
    return published, mailed, tree(root / "published"), handler.messages


def test_the_same_bytes_outcomes_and_mails_in_the_same_order(tmp_path, given, several):
    one, two = (all_of_it(tmp_path / str(n), given, n) for n in (1, 3))
    assert [o.error for o in one[0]] == [None] * len(given) and sum(o.done for o in one[1]) > 6
    assert one[0] == two[0] and one[1] == two[1]
    assert any(name.endswith("explained.html") for name in one[2])
    assert one[2].keys() == two[2].keys() and [n for n in one[2] if one[2][n] != two[2][n]] == []
    dated = [[_undated(m) for m in run[3]] for run in (one, two)]
    assert dated[0] == dated[1]


def _undated(message: tuple[str, bytes]) -> tuple[str, bytes]:
    """Without the headers that the catcher adds."""
    who, data = message
    kept = email.message_from_bytes(data, policy=policy.SMTP)
    for name in ("X-Peer", "X-MailFrom", "X-RcptTo"):
        del kept[name]
    return who, kept.as_bytes()


def test_rendering_into_a_folder_too(tmp_path, given, several):
    jobs = make_jobs(tmp_path, given)
    for n in (1, 2):
        assert all(o.error is None for o in Reports(jobs, n).render(made.OCTOBER, tmp_path / f"out{n}"))
    assert tree(tmp_path / "out1") == tree(tmp_path / "out2") != {}
    assert not (tmp_path / "published").exists()


def test_a_worker_that_dies_is_an_error_of_its_account_and_the_rest_goes_on(tmp_path, given, several):
    killed, jobs = given[2].account.account_id, make_jobs(tmp_path, given)
    reports = Reports(jobs, 2)
    drawing = []
    make = reports._drawing

    def watched(*arguments):
        drawing.append(make(*arguments))
        return drawing[0]

    reports._drawing = watched

    def explain(account_id, _):
        if account_id == killed:  # asked by the worker, in the middle of publishing
            for worker in drawing[0]._all:
                if worker._process:
                    os.kill(worker._process.pid, signal.SIGKILL)
        return ()

    jobs.explanations = lambda: explain
    found = {o.account_id: o for o in reports.publish(made.OCTOBER)}
    assert list(found) == [s.account.account_id for s in given]
    assert "the process that drew it was ended by SIGKILL" in found[killed].error
    # The one beside it was killed as well; all the others are there.
    assert 1 <= sum(o.error is not None for o in found.values()) <= 2
    again = list(Reports(make_jobs(tmp_path, given), 2).publish(made.OCTOBER))
    assert [o.error for o in again] == [None] * len(given)
    alone = list(Reports(make_jobs(tmp_path / "alone", given), 1).publish(made.OCTOBER))
    assert len(alone) == len(given)
    assert tree(tmp_path / "published") == tree(tmp_path / "alone" / "published")


def test_what_is_wrong_with_one_account_is_said_as_ever(tmp_path, given, several, caplog):
    wrong = replace(given[0], lines=given[0].lines.filter(pl.col("section") != "total"))
    off = replace(given[1], lines=given[1].lines.with_columns(amount=pl.col("amount") + 1))
    said = [
        [o.error for o in Reports(make_jobs(tmp_path / str(n), [wrong, off, *given[2:4]]), n).publish(made.OCTOBER)]
        for n in (1, 2)
    ]
    assert said[0] == said[1] and said[0][0] and said[0][1] and said[0][2:] == [None, None]
    # Where it went wrong is in our log, wherever it did.
    assert caplog.text.count("reports/model.py") >= 2 and "reports/workers.py" in caplog.text


def test_credentials_are_in_no_listing_and_come_from_the_parent_alone(tmp_path, given, several, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_BUCKET", f"aws://AKIA:{SECRET}@")
    opening = Opening(
        StoreSettings(url=str(tmp_path / "bucket"), connection="bucket"), tmp_path,
        ReportSettings(store=StoreSettings(url="x")), made.OCTOBER.end, Connection(login="AKIA", password=SECRET),
    )  # fmt: skip
    assert SECRET not in repr(opening) and pickle.loads(pickle.dumps(opening)) == opening
    with Workers(2, opening) as several_:
        assert several_.publish(given[0]).written > 10
        (process,) = [worker._process for worker in several_._all if worker._process]
        listed = [Path(f"/proc/{process.pid}/{what}").read_bytes().decode() for what in ("cmdline", "environ")]
    assert all(SECRET not in text for text in listed) and "AIRFLOW_CONN" not in listed[1]
    assert process.returncode == 0


def test_a_wrong_store_stops_everything_and_leaves_no_process(tmp_path, given, several):
    reports = Reports(make_jobs(tmp_path, given, links="presigned"), 2)
    with pytest.raises(ConfigurationError, match="needs a store on S3"):
        list(reports.publish(made.OCTOBER))


@pytest.fixture
def two(tmp_path) -> Workers:
    settings = ReportSettings(store=StoreSettings(url="x"))
    return Workers(2, Opening(StoreSettings(url=str(tmp_path)), tmp_path, settings, made.OCTOBER.end))


@pytest.mark.parametrize("idle", [False, True], ids=["at work", "with nothing to do"])
def test_breaking_off_ends_the_workers(two, given, idle):
    with pytest.raises(KeyboardInterrupt), two:
        for _ in two.each(two.publish, given[:4] if idle else given * 3):
            started = [worker._process for worker in two._all if worker._process]
            while idle and two._idle.qsize() < two.width:
                time.sleep(0.05)
            raise KeyboardInterrupt
    assert started and all(process.poll() is not None for process in started)
    for worker in two._all:
        with pytest.raises(Died, match="broken off"):
            worker.call(("publish", given[0], False), None)


def test_one_that_is_being_started_when_all_is_broken_off_ends_too(two, given, monkeypatch):
    started, begun, start = [], threading.Event(), subprocess.Popen

    def slow(*arguments, **options):
        started.append(start(*arguments, **options))
        begun.set()
        time.sleep(0.3)
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", slow)
    with pytest.raises(KeyboardInterrupt), two:
        two._threads.submit(two.publish, given[0])
        assert begun.wait(30)
        raise KeyboardInterrupt
    assert started and all(process.poll() is not None for process in started)


def test_few_accounts_are_not_worth_a_process():
    cores = len(os.sched_getaffinity(0))
    assert [count(n, 4) for n in (1, 12, 23, 24, 40, 48, 1000)] == [0, 0, 0, 2, 3, 4, 4]
    assert count(1000, 1) == 0 and count(100_000) == (min(cores, 8) if cores > 1 else 0)


def test_the_parent_imports_nothing_for_it():
    code = "import sys, reports.workers; print(*sorted({'polars', 'jinja2', 'boto3'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).parents[2])  # fmt: skip
    assert done.stdout.split() == []
