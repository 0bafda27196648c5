"""The command against the sandbox's own invoice: exact, and wrong in every way it can be made wrong."""

from __future__ import annotations

import csv
import json
from datetime import date
from decimal import Decimal as D

import polars as pl
import pytest
from invoice_made import OCTOBER, VOLUME
from typer.testing import CliRunner

from etl.cli import app
from etl.export import neutralised
from etl.jobs import Jobs
from etl.jobs import invoice as verbs
from sandbox import invoice as provider
from sandbox.__main__ import main as sandbox


@pytest.fixture(scope="module", autouse=True)
def counted_once():
    """The sandbox counts its month once for each kind of invoice, not once for each test."""
    count, found, ledgers = provider.usage_rows, {}, []

    def rows(ledger, clock, account, members, first, last, period, *more):
        ledgers.append(ledger)
        key = account.sid, first, last, period
        if key not in found:
            found[key] = list(count(ledgers[0], clock, account, members, first, last, period, *more))
        return found[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provider, "usage_rows", rows)
        yield


@pytest.fixture
def made(tmp_path):
    """The sandbox's invoice of October as a file, with errors planted."""

    def make(*wrong: str, name: str = "october.csv", flags: tuple[str, ...] = ()):
        out = tmp_path / name
        planted = [word for spec in wrong for word in ("--wrong", spec)]
        assert sandbox(["invoice", "--month", "2026-10", "--out", str(out), *VOLUME, *flags, *planted]) == 0
        return out

    return make


def etl(place, *arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["invoice", *map(str, arguments), "--month", "2026-10", "--config", str(place)])
    return result.exit_code, result.output


def documents(text: str) -> tuple[list[dict], dict]:
    *rows, sums = [json.loads(one) for one in text.splitlines() if one.startswith("{")]
    return rows, sums


def our(place, **which: str) -> set[str]:
    """Ids of the records that are counted, priced, and of these columns."""
    jobs, found = Jobs.open(place), set()
    for version in jobs.lake.heads("events", date=(OCTOBER.first, OCTOBER.days[-1])).values():
        frame = jobs.lake.read(version)
        kept = (pl.col("outcome") == "accepted") & pl.col("provider_cost").is_not_null() & ~pl.col("vanished")
        found |= set(frame.filter(kept, **which)["record_id"])
    return found


@pytest.mark.parametrize(
    ("name", "flags"),
    [("o.csv", ()), ("o.json", ()), ("o.csv", ("--by-account",)), ("o.csv", ("--daily",))],
    ids=["all in one", "as JSON", "by account", "by day"],
)
def test_an_exact_invoice_is_explained_line_by_line(place, made, name, flags):
    code, text = etl(place, made(name=name, flags=flags), "--json")
    rows, sums = documents(text)
    assert code == 0 and {row["verdict"] for row in rows} == {"ok", "explained"}
    assert D(sums["invoice"]) == D(sums["ours"]) == D(sums["itemised"]) > 0 == D(sums["difference"])
    assert {r["reading"] for r in rows if r["category"] == "sms" and D(r["fees"])} == {"included"}


CASES = {
    "a dearer price": (("overcharge,sms-outbound,10",), {"kind": "message", "type": "sms", "direction": "outbound"}),
    "more minutes": (("more,calls-inbound,25",), {"kind": "call", "direction": "inbound"}),
    "a line twice": (("double,mms-outbound",), {"kind": "message", "type": "mms", "direction": "outbound"}),
    "a dearer recording": (("overcharge,recordings,50",), {"kind": "recording"}),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_planted_is_found_with_its_records_and_nothing_else(place, made, tmp_path, case):
    wrong, which = CASES[case]
    out = tmp_path / "dispute.csv"
    code, text = etl(place, made(*wrong), "--dispute", out, "--json")
    rows, sums = documents(text)
    assert code == 3
    root = wrong[0].split(",")[1].split("-")[0]
    assert {row["category"].split("-")[0] for row in rows if row["verdict"] == "unexplained"} <= {root, "totalprice"}
    assert D(sums["unexplained"]) == D(sums["difference"]) == D(sums["invoice"]) - D(sums["ours"]) > 0
    with out.open(encoding="utf-8", newline="") as opened:
        listed = list(csv.DictReader(opened))
    ids = [row["record_id"] for row in listed]
    assert len(ids) == len(set(ids)) == sums["dispute"]["records"] and set(ids) == our(place, **which)
    assert [(r["occurred_at"], r["record_id"]) for r in listed] == sorted(
        (r["occurred_at"], r["record_id"]) for r in listed
    )
    assert "+1" not in out.read_text(encoding="utf-8")


def test_a_day_that_is_wrong_alone_names_that_days_records(place, made, tmp_path):
    file, out, day = made(flags=("--daily",)), tmp_path / "dispute.csv", date(2026, 10, 7)
    head, *rows = file.read_text(encoding="utf-8").splitlines()
    at = {name: place for place, name in enumerate(head.split(","))}
    changed = []
    for row in rows:
        cells = row.split(",")
        if cells[at["category"]] in ("calls", "totalprice") and cells[at["start_date"]] == f"{day}":
            cells[at["price"]] = f"{D(cells[at['price']]) + 1}"
        changed.append(",".join(cells))
    file.write_text("\n".join([head, *changed]), encoding="utf-8")
    code, text = etl(place, file, "--dispute", out)
    assert code == 3 and "calls (2026-10-07): unexplained: 1 more for the same" in text
    with out.open(encoding="utf-8", newline="") as opened:
        assert {row["occurred_at"][:10] for row in csv.DictReader(opened)} == {f"{day}"}


def test_a_fee_is_agreed_or_not(place, made):
    file = made("fee,platform-fee,49.50")
    assert etl(place, file)[0] == 3
    for agreed in ("platform-fee", "platform-fee=49.50"):
        assert etl(place, file, "--agreed", agreed)[0] == 0
    code, text = etl(place, file, "--agreed", "platform-fee=49")
    assert code == 3 and "agreed is 49" in text
    assert etl(place, file, "--agreed", "platform-fee=a lot")[0] == 2


def test_one_account_of_several(place, made):
    file = made(flags=("--by-account",))
    rows, _ = documents(etl(place, file, "--json")[1])
    sid = rows[0]["provider_account"]
    code, text = etl(place, file, "--provider-account", sid, "--json")
    mine, sums = documents(text)
    assert code == 0 and {r["provider_account"] for r in mine if r["role"] != "set aside"} == {sid}
    assert sum(r["role"] == "set aside" for r in mine) == 2 * 26


def test_the_table_says_what_a_person_needs(place, made):
    code, text = etl(place, made("overcharge,sms-outbound,10"))
    assert code == 3
    for said in (
        "read as category",
        "amount = price",
        "by quantity",
        "sms: carrier fees are included (says the daily totals)",
        "agree with us",
        "explained",
    ):
        assert said in text
    assert text.splitlines()[-1].startswith("invoice ")


def test_wrong_use_is_2_and_says_what_to_write(place, made, tmp_path):
    file, there = made(), tmp_path / "there.csv"
    there.write_text("kept", encoding="utf-8")
    for arguments, said in (
        ((tmp_path / "none.csv",), "cannot be read"),
        ((file, "--dispute", there), "is there already"),
        ((file, "--dispute", tmp_path / "no" / "d.csv"), "there is no folder"),
        ((file, "--source", "nobody"), "unknown source nobody"),
        ((file, "--as-of", "soon"), "is not a time"),
        ((file, "--provider-account", "ACnone"), "no line of the file"),
    ):
        code, text = etl(place, *arguments)
        assert code == 2 and said in " ".join(text.replace("│", " ").split()), arguments
    assert there.read_text(encoding="utf-8") == "kept"
    assert etl(place, file, "--dispute", there, "--force")[0] == 0
    assert there.read_text(encoding="utf-8").startswith("record_id,")


def test_a_month_that_is_not_loaded_fails_and_one_with_gaps_is_held(place, made, tmp_path):
    result = CliRunner().invoke(app, ["invoice", str(made()), "--month", "2026-09", "--config", str(place)])
    assert result.exit_code == 1 and "python -m etl run --month 2026-09" in result.output
    jobs = Jobs.open(place)
    whole = jobs._loaded
    jobs._loaded = lambda *given: {day: v for day, v in whole(*given).items() if day.day != 9}
    checked = jobs.invoice(made(), OCTOBER, "twilio")
    assert checked.missing == (date(2026, 10, 9),) and not checked.sound


def test_a_dispute_is_bounded_and_says_so(place, made, monkeypatch):
    jobs = Jobs.open(place)
    checked = jobs.invoice(made("overcharge,recordings,50"), OCTOBER, "twilio")
    every, none = jobs.dispute(checked, OCTOBER)
    monkeypatch.setattr(verbs, "DISPUTE_ROWS", 5)
    first, left = jobs.dispute(checked, OCTOBER)
    assert none == 0 and left == every.height - 5 and first.equals(every.head(5))


def test_no_cell_of_a_dispute_runs_as_a_formula(place, made):
    jobs = Jobs.open(place)
    checked = jobs.invoice(made("overcharge,recordings,50"), OCTOBER, "twilio")
    texts, _ = jobs.dispute(checked, OCTOBER)
    for name in (n for n, kind in texts.schema.items() if kind == pl.String):
        assert texts.select(same=neutralised(pl.col(name)) == pl.col(name)).to_series().all()
