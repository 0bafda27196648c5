"""Whole DAG runs, in this process, on the real DAG files: from the provider's API to the mail."""

from __future__ import annotations

import email
import os
from email import policy

import polars as pl
import pytest

from etl.jobs import Jobs
from etl.lake import Partition
from etl.periods import Month


@pytest.fixture(scope="module")
def run(place):
    def start(dag_id: str, **conf):
        from airflow.dag_processing.dagbag import DagBag

        dag = DagBag().dags[dag_id]
        dag.deadline = None  # only a scheduler acts on it
        for one in dag.tasks:
            one.retries = 0
        return dag.test(run_conf=conf, logical_date=None)

    return start


@pytest.fixture(scope="module")
def october(run) -> Jobs:
    """October, loaded by the night that reads the whole month before again, and closed by the run that follows."""
    assert run("usage_daily", day="2026-11-02", lookback_days=2).state == "success"
    assert run("usage_monthly", month="2026-11").state == "success"
    return Jobs.open()


def test_the_month_is_final_for_every_account(october):
    for account in october.directory.accounts:
        statement = october.statements.load(account.account_id, Month(2026, 10))
        assert (statement.state, statement.revision) == ("final", 1)
        assert statement.total > 0


def test_the_running_month_is_published_as_an_estimate_and_mailed_to_nobody(october, place, postbox):
    page = (place / "published" / "acct_harbor" / "2026-11" / "index.html").read_text()
    assert "estimated" in page.lower()
    assert [m for m in postbox[0].glob("*2026-11*.eml")] == []


def test_the_operator_sees_both_months(october, place):
    folder = place / "published" / "_operator"
    october_s, index = (folder / "2026-10" / "index.html").read_text(), (folder / "index.html").read_text()
    accounts = len(october.directory.accounts)
    assert f"all {accounts} accounts are closed" in october_s and "Every day of October is loaded" in october_s
    assert "<title>Operations, November" in index and 'href="2026-10/index.html"' in index


def test_everybody_gets_the_month_once(october, run, postbox, place):
    folder, _ = postbox
    mails = [
        email.message_from_bytes(f.read_bytes(), policy=policy.default) for f in sorted(folder.glob("*2026-10*.eml"))
    ]
    assert sorted(m["To"].addresses[0].addr_spec for m in mails) == sorted(
        a for account in october.directory.accounts for a in account.email_to
    )
    statement = october.statements.load("acct_harbor", Month(2026, 10))
    mine = next(m for m in mails if "harbor" in m["Message-ID"])
    assert f"{statement.total:,.2f}" in mine.get_body(("plain",)).get_content()
    before = {f.name: f.stat().st_mtime_ns for f in folder.iterdir()}
    assert run("usage_monthly", month="2026-11").state == "success"
    assert {f.name: f.stat().st_mtime_ns for f in folder.iterdir()} == before


def test_a_second_night_writes_nothing(october, run, place):
    lake = place / "lake"

    def tree():
        return {p: p.stat().st_mtime_ns for p in lake.rglob("*") if p.is_file()}

    before = tree()
    assert run("usage_daily", day="2026-11-02", lookback_days=2).state == "success"
    after = tree()
    assert sorted(p.name for p in after.keys() | before.keys() if after.get(p) != before.get(p)) == []


def test_a_run_without_a_day_is_refused_at_once_and_the_operator_is_told(run, postbox):
    before = set(postbox[0].iterdir())
    assert run("usage_daily").state == "failed"
    told = [email.message_from_bytes(f.read_bytes(), policy=policy.default) for f in set(postbox[0].iterdir()) - before]
    assert {str(m["To"]) for m in told} == {"ops@example.com"}
    [first] = [m for m in told if "usage_daily.wait_for_late_logs failed" in m["Subject"]]
    assert "no day: trigger this DAG with a partition key" in first.get_body().get_content()


def test_the_log_names_the_dag_run(october):
    runs = {v.run_id for v in october.lake.heads("daily").values()}
    assert len(runs) == 1 and next(iter(runs)).startswith("manual__")
    assert os.environ["TOLLBOOK_CONFIG"]


def test_a_night_that_fails_fails_and_draws_the_operator_s_page(october, run, place, monkeypatch):
    index = place / "published" / "_operator" / "2026-11" / "index.html"
    index.unlink()
    monkeypatch.setenv("AIRFLOW_CONN_TWILIO", '{"conn_type": "http", "login": "ACnobody", "password": "x"}')
    assert run("usage_daily", day="2026-11-03", lookback_days=1).state == "failed"
    page = index.read_text()
    assert "python -m etl run --date 2026-11-03" in page and "1 thing" in page


def test_one_account_s_broken_promise_fails_both_runs_and_keeps_nobody_else_s_page_back(october, run, place):
    lake, key = october.lake, {"date": "2026-11-02", "source": "twilio"}
    events, charges = (lake.head(Partition.of(dataset, **key)) for dataset in ("events", "charges"))
    texts = lake.read(charges).filter(pl.col("account_id") == "acct_harbor", pl.col("type") == "sms")
    theirs = pl.col("record_id").is_in(texts["record_id"].implode()) & pl.col("segments_reported").is_not_null()
    rows = lake.read(events).drop("date", "source").with_columns(
        segments_reported=pl.when(theirs).then(pl.col("segments_reported") + 1).otherwise("segments_reported")
    )  # fmt: skip
    # Read from the same pages, as far as the log knows: a night leaves it as it is.
    lake.commit(events.partition, rows, base=events, inputs=events.inputs, sums=events.sums)
    pages = {a.account_id: place / "published" / a.account_id / "2026-11" / "index.html" for a in october.directory.accounts}
    for page in pages.values():
        page.unlink()
    assert run("usage_daily", day="2026-11-02", lookback_days=2).state == "failed"
    assert run("usage_monthly", month="2026-11").state == "failed"
    assert [account for account, page in pages.items() if not page.exists()] == ["acct_harbor"]
