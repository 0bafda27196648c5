"""``python -m etl credits``: the ledger of one account and month as the lake has it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import polars as pl
import pytest
from exporthelp import etl, place

from etl.jobs import Jobs
from etl.lake import Partition
from etl.schemas import DATASETS


def entry(position: int, name: str, credits: int, allotment: int, purchased: int, **given) -> dict:
    usual = {
        "account_id": "acct_a", "position": position, "date": date(2026, 10, 5), "at": None, "entry": name,
        "lot": "allotment", "bought_at": None, "credits": credits, "simulated": False, "balance_allotment": allotment,
        "balance_purchased": purchased, "subscription_id": "sub_1",
    }  # fmt: skip
    return usual | given


BOUGHT = datetime(2026, 10, 7, 9, 30, tzinfo=UTC)
LEDGER = [
    entry(0, "open", 40, 40, 0, date=date(2026, 10, 1)),
    entry(1, "expire", -40, 0, 0),
    entry(2, "grant", 1000, 1000, 0),
    entry(3, "recharge", 500, 1000, 500, lot="pack-1", bought_at=BOUGHT, at=BOUGHT, simulated=True),
    entry(4, "burn", -1000, 0, 500, date=date(2026, 10, 9)),
    entry(5, "burn", -500, 0, 0, date=date(2026, 10, 9), lot="pack-1"),
    entry(6, "overage", 25, 0, 0, date=date(2026, 10, 9)),
    entry(0, "open", 7, 7, 0, account_id="acct_b"),
]


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    found = place(tmp_path_factory.mktemp("credits"))
    rows = pl.DataFrame(LEDGER, schema=DATASETS["credits"].types, orient="row")
    lake = Jobs.open(found, run_id="test").lake
    lake.commit(Partition.of("credits", month="2026-10"), DATASETS["credits"].arrange(rows), base=None)
    return found


def test_the_ledger_is_a_table_in_order_and_overage_has_no_sign(settings):
    done = etl("credits", "--account", "acct_a", "--month", "2026-10", "--config", settings)
    assert (done.code, done.err) == (0, "")
    assert done.text == (
        "acct_a: credits of 2026-10 (UTC)\n"
        "date        entry                 credits  lot        allotment left  purchased left\n"
        "2026-10-01  open                      +40  allotment              40               0\n"
        "2026-10-05  expire                    -40  allotment               0               0\n"
        "2026-10-05  grant                   +1000  allotment            1000               0\n"
        "2026-10-05  recharge (simulated)     +500  pack-1               1000             500\n"
        "2026-10-09  burn                    -1000  allotment               0             500\n"
        "2026-10-09  burn                     -500  pack-1                  0               0\n"
        "2026-10-09  overage                    25  allotment               0               0\n"
    )


def test_json_has_every_column(settings):
    done = etl("credits", "--account", "acct_a", "--month", "2026-10", "--json", "--config", settings)
    rows = [json.loads(line) for line in done.text.splitlines()]
    assert [r["credits"] for r in rows] == [40, -40, 1000, 500, -1000, -500, 25]
    assert list(rows[0]) == DATASETS["credits"].columns
    assert rows[3]["at"] == "2026-10-07T09:30:00+00:00"


def test_a_month_without_credits_says_so(settings):
    done = etl("credits", "--account", "acct_new", "--month", "2026-10", "--config", settings)
    assert (done.code, done.text) == (0, "acct_new: no credits moved in 2026-10\n")


@pytest.mark.parametrize(
    ("account", "month", "code", "said"),
    [
        ("acct_a", "2026-11", 1, "credits of 2026-11 are not in the lake: run python -m etl run --month 2026-11"),
        ("acct_x", "2026-10", 2, "account 'acct_x' is not in accounts.csv"),
        ("acct_a", "October", 2, "write YYYY-MM"),
    ],
)
def test_what_is_not_there_is_said(settings, account, month, code, said):
    done = etl("credits", "--account", account, "--month", month, "--config", settings)
    assert (done.code, done.out) == (code, b"")
    assert said in done.err
