"""Files: bytes that never differ, cells that no spreadsheet runs, sums that are the page's sums."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
import statements_made as made
from hypothesis import example, given
from hypothesis import strategies as st

from etl.money import minor_digits
from etl.schemas import PRODUCT_LINES
from reports import files
from reports.model import build


def read(file: files.File) -> list[dict[str, str]]:
    assert not file.data.startswith(b"\xef\xbb\xbf") and b"\n" not in file.data.replace(b"\r\n", b"")
    return list(csv.DictReader(io.StringIO(file.data.decode(), newline="")))


def total(rows, column) -> Decimal:
    return sum((Decimal(row[column] or 0) for row in rows), Decimal(0))


def test_files_add_up_to_the_page(each):
    page = build(each)
    made_ = {file.name: file for file in files.make(page)}
    days, owners = read(made_["usage_daily.csv"]), read(made_["usage_by_owner.csv"])
    lines, months = read(made_["charges.csv"]), read(made_["history_monthly.csv"])
    assert [row["date"] for row in days] == [d.isoformat() for d in page.month.days]
    for column, value in (
        ("outbound_messages", page.usage.outbound_messages), ("outbound_segments", page.usage.outbound_segments),
        ("inbound_messages", page.usage.inbound_messages), ("inbound_segments", page.usage.inbound_segments),
        ("calls", page.usage.calls), ("call_billed_seconds", page.usage.call_seconds), ("charge", page.usage.charge),
    ):  # fmt: skip
        assert total(days, column) == total(owners, column) == value
    assert total(lines, "amount") == page.total.now == Decimal(months[-1]["total"])
    monthly = [r for r in read(made_["monthly_charges.csv"]) if r["line"] not in PRODUCT_LINES]
    usage = [row for row in lines if row["section"] == "usage"]
    assert total(usage, "amount_exact") == total(days, "charge") + total(monthly, "charge")
    assert total(usage, "amount") == page.charged.now
    assert total((row for row in lines if row["charge_type"] == "tax"), "amount") == page.taxed.now
    history = read(made_["history_daily.csv"])
    assert [row for row in history if row["date"] >= page.month.first.isoformat()] == days
    assert len(history) == sum(len(row.month.days) for row in page.history)


def test_same_statement_same_bytes():
    one, two = (files.make(build(made.statement())) for _ in range(2))
    assert [f.data for f in one] == [f.data for f in two]


def test_unknown_days_are_empty_cells(statements):
    rows = read(files.usage_daily(build(statements["open"])))
    assert rows[6]["complete"] == "false" and rows[6]["outbound_messages"] == "" and rows[6]["charge"] == ""
    assert rows[17]["inbound_segments"] == "" and rows[3]["complete"] == "true"


def test_amounts_have_the_decimals_of_their_currency(pages_by_name):
    for name in ("usual", "yen", "german"):
        page = pages_by_name[name]
        for row in read(files.charges(page)):
            assert len(row["amount"].partition(".")[2]) == minor_digits(page.currency)


def test_hostile_names_cannot_be_run(pages_by_name):
    rows = read(files.usage_by_owner(pages_by_name["hostile"]))
    names = {row["owner_name"] for row in rows}
    others = files.make(pages_by_name["hostile"])
    cells = [
        cell for file in others[:-1] for row in csv.reader(io.StringIO(file.data.decode(), newline="")) for cell in row
    ]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "\t", "\r"))]
    assert {"'=2+2", "'=lot"} <= set(cells)
    assert not any(name.startswith(("=", "+", "-", "@", "\t", "\r")) for name in names)
    assert "'=cmd|' /C calc'!A0" in names and "''quoted" in names
    assert files.restore("'=cmd|' /C calc'!A0") == "=cmd|' /C calc'!A0"


@given(st.text(st.characters(exclude_categories=("Cs",))))
@example("'")
@example("''=1")
@example("＝1")
@example("-155.08")
def test_neutralising_can_be_undone_through_a_csv_file(value):
    cell = files.neutralise(value)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))
    column = files.Column("text", "string", "")
    data = files._file("x.csv", "", (column, column), (), [[value, "end"]]).data
    back = list(csv.reader(io.StringIO(data.decode(), newline="")))[1]
    assert files.restore(back[0]) == value and back[1] == "end"


def test_credits_and_products_have_files_where_there_are_any(pages_by_name):
    names = {name: {file.name for file in files.make(page)} for name, page in pages_by_name.items()}
    assert {n for n in names if "credits.csv" in names[n]} == {"rich", "hostile"}
    assert {n for n in names if "products.csv" in names[n]} == {"rich", "hostile"}
    made_ = {file.name: read(file) for file in files.make(pages_by_name["rich"])[:-1]}
    moved = [row for row in made_["credits.csv"] if row["entry"] != "overage"]
    last = made_["credits.csv"][-1]
    assert total(moved, "credits") == int(last["balance_allotment"]) + int(last["balance_purchased"]) == 1880
    assert {row["at"] for row in moved if row["entry"] == "recharge"} == {
        "2026-10-24T14:05:30Z",
        "2026-10-28T14:05:30Z",
    }
    assert [row["lot"] for row in moved if row["simulated"] == "true"] == ["simulated-1028"]
    assert total(made_["products.csv"], "amount") == Decimal("249.00")
    assert not [row for row in made_["charges.csv"] if row["line"] in PRODUCT_LINES]


def test_taxes_and_rounding_are_rows_of_the_charges(pages_by_name):
    rows = read(files.charges(pages_by_name["rich"]))
    (usf,) = [row for row in rows if row["item"] == "Universal Service Fund"]
    assert (usf["section"], usf["charge_type"], usf["tax_level"], usf["jurisdiction"]) == (
        "tax",
        "tax",
        "federal",
        "US",
    )
    assert (usf["rate_id"], usf["amount"]) == ("usf-2026q4", "82.58")
    assert Decimal(usf["base"]) * Decimal("0.376") == Decimal(usf["amount_exact"])
    (left,) = [row for row in rows if row["section"] == "rounding"]
    assert (left["charge_type"], left["amount"]) == ("adjustment", "0.01")
    refund = min((row for row in rows if row["line"] == "adjustment"), key=lambda r: Decimal(r["amount"]))
    assert refund["charge_type"] == "adjustment" and refund["item"].startswith("Refund for the outage")


def test_campaigns_split_no_row_and_are_named_nowhere():
    ids = ("+13125550177", "+13125550178")

    def held(who, month):
        rows = made.usually_held(who, month)
        return [*(rows[0] | {"campaign_id": i, "quantity": 7, "charge": rows[0]["charge"] / 2} for i in ids), rows[1]]

    page = build(made.statement(held_monthly=held))
    rows = read(files.monthly_charges(page))
    assert [(row["line"], row["quantity"], Decimal(row["charge"])) for row in rows] == [
        ("number", "14", Decimal("16.1")), ("recording_storage", "46040", Decimal("46.04")),
    ]  # fmt: skip
    assert not any("campaign_id" in row for row in page.monthly)


def test_a_charge_that_is_not_known_is_an_empty_cell(statements):
    good = statements["rich"]
    unknown = {"charge": None, "unit_price": None, "rate_id": None, "unrated": "no price"}
    held = lambda w, m: [r | unknown if r["line"] == "recording_storage" else r for r in made.richly_held(w, m)]  # noqa: E731
    page = build(made.rich(held_monthly=held))
    rows = [row for row in read(files.monthly_charges(page)) if row["line"] == "recording_storage"]
    assert [row["charge"] for row in rows] == ["", ""] and {row["unrated"] for row in rows} == {"no price"}
    assert page.quality.unrated == 2 and page.charged.now < build(good).charged.now


@pytest.mark.parametrize("name", ["usual", "rich", "hostile"])
def test_the_dictionary_describes_every_file(name, pages_by_name):
    made_ = files.make(pages_by_name[name])
    package = json.loads(made_[-1].data)
    for file, resource in zip(made_[:-1], package["resources"], strict=True):
        header = file.data.decode().split("\r\n")[0].split(",")
        assert [f["name"] for f in resource["schema"]["fields"]] == header
        assert all(f["description"] for f in resource["schema"]["fields"])
        assert resource["hash"] == "sha256:" + hashlib.sha256(file.data).hexdigest()
        assert resource["bytes"] == len(file.data)
        rows = read(file)
        assert len(rows) == file.rows
        keys = [tuple(row[k] for k in resource["schema"]["primaryKey"]) for row in rows]
        assert len(set(keys)) == len(keys)
        for field in resource["schema"]["fields"]:
            values = [row[field["name"]] for row in rows]
            rules = field.get("constraints", {})
            assert all(values) or not rules.get("required"), f"{file.name} {field['name']}"
            assert set(values) - {""} <= set(rules.get("enum", values))
            if field["type"] in ("integer", "number"):
                assert all(Decimal(v) == Decimal(v) for v in values if v)
            if field["type"] == "datetime":
                assert all(datetime.fromisoformat(v).utcoffset() == timedelta(0) for v in values if v)
            if field["type"] == "boolean":
                assert set(values) <= {"true", "false", ""}


def test_no_phone_number_in_any_file(each):
    for file in files.make(build(each)):
        assert b"3125550177" not in file.data and b"555 0142" not in file.data
