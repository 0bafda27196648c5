"""Files: bytes that never differ, cells that no spreadsheet runs, sums that are the page's sums."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from datetime import datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
import statements_made as made
from hypothesis import example, given
from hypothesis import strategies as st

from etl.money import MONEY, minor_digits
from etl.schemas import HELD_LINES, PRODUCT_LINES
from reports import files, tabular
from reports.details import KEYS
from reports.model import build


def read(file: files.File) -> list[dict[str, str]]:
    data = plain(file)
    assert not data.startswith(b"\xef\xbb\xbf") and b"\n" not in data.replace(b"\r\n", b"")
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def plain(file: files.File) -> bytes:
    return gzip.decompress(file.data) if file.name.endswith(".gz") else file.data


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
        ("outbound_credits", page.usage.outbound_credits), ("inbound_credits", page.usage.inbound_credits),
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
    for day in days:
        theirs = [row for row in owners if row["date"] == day["date"]]
        assert all(
            total(theirs, name) == total([day], name) for name in ("outbound_credits", "inbound_segments", "charge")
        )


def test_parquet_has_every_row_behind_the_day(each):
    page = build(each)
    file = files.usage(page)
    frame = pl.read_parquet(io.BytesIO(file.data))
    assert frame.columns == [column.name for column in file.columns] and frame.height == file.rows
    usage = frame.filter(~pl.col("line").is_in(HELD_LINES))
    assert (usage["charge"].sum() or 0) == page.usage.charge
    sent = usage.filter(pl.col("direction") == "outbound")
    assert (sent["messages"].sum(), sent["credits"].sum()) == (
        page.usage.outbound_messages,
        page.usage.outbound_credits,
    )
    assert not {"provider_cost", "campaign_id"} & set(frame.columns)
    assert (frame.schema["date"], frame.schema["charge"]) == (pl.Date, MONEY)
    assert not frame.select(frame.select(KEYS).is_duplicated()).to_series().any()
    about = pl.read_parquet_metadata(io.BytesIO(file.data))
    assert about["statement_id"] == page.statement_id and list(json.loads(about["columns"])) == frame.columns


def test_same_statement_same_bytes():
    one, two = (files.make(build(made.statement())) for _ in range(2))
    assert [f.data for f in one] == [f.data for f in two]
    (packed,) = [f.data for f in one if f.name.endswith(".gz")]
    assert packed[3:8] == bytes(5), "neither a name nor a time is in it"


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
        cell
        for file in others
        if file.name.endswith((".csv", ".gz"))
        for row in csv.reader(io.StringIO(plain(file).decode(), newline=""))
        for cell in row
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
    ends = files.Column("end", "string", "")
    frame = pl.DataFrame({"text": [value], "end": ["end"]})
    for file in (
        tabular.from_rows("x.csv", "", (column, ends), (), [[value, "end"]]),
        tabular.from_frame("x.csv", "", (column, ends), (), frame, 0),
    ):
        back = list(csv.reader(io.StringIO(file.data.decode(), newline="")))
        assert back[0] == ["text", "end"] and back[1] == [cell, "end"]
        assert files.restore(back[1][0]) == value


@given(st.decimals(-(10**8), 10**8, places=9), st.sampled_from([0, 1, 2, 3]))
def test_amounts_of_a_frame_are_exact_and_have_no_zeros_too_many(value, decimals):
    frame = pl.DataFrame({"amount": [value, None]}, schema={"amount": MONEY})
    column = files.Column("amount", "number", "", False)
    _, cell, unknown, _ = tabular.from_frame("x.csv", "", (column,), (), frame, decimals).data.decode().split("\r\n")
    assert Decimal(cell) == value and unknown == ""
    behind = cell.partition(".")[2]
    assert len(behind) == max(decimals, -value.normalize().as_tuple().exponent) and not cell.endswith(".")


def test_credits_and_products_have_files_where_there_are_any(statements, pages_by_name):
    names = {name: {file.name for file in files.make(page)} for name, page in pages_by_name.items()}
    with_credits = {name for name, given_ in statements.items() if given_.ledger.height}
    with_products = {name for name, given_ in statements.items() if "product" in given_.lines["section"]}
    assert {n for n in names if "credits.csv" in names[n]} == with_credits > {"rich"}
    assert {n for n in names if "products.csv" in names[n]} == with_products > {"rich"}
    made_ = {file.name: read(file) for file in files.make(pages_by_name["rich"]) if file.name.endswith(".csv")}
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
    assert len({resource["name"] for resource in package["resources"]}) == len(made_) - 1
    for file, resource in zip(made_[:-1], package["resources"], strict=True):
        assert all(f["description"] for f in resource["schema"]["fields"])
        assert resource["hash"] == "sha256:" + hashlib.sha256(file.data).hexdigest()
        assert resource["bytes"] == len(file.data) and resource["mediatype"] == file.media_type
        if file.name.endswith(".parquet"):
            frame = pl.read_parquet(io.BytesIO(file.data))
            assert [f["name"] for f in resource["schema"]["fields"]] == frame.columns
            rules = {f["name"]: f.get("constraints", {}) for f in resource["schema"]["fields"]}
            assert not [n for n in frame.columns if rules[n].get("required") and frame[n].has_nulls()]
            assert not [n for n in frame.columns if set(frame[n].drop_nulls()) - set(rules[n].get("enum", frame[n]))]
            continue
        header = plain(file).decode().split("\r\n")[0].split(",")
        assert [f["name"] for f in resource["schema"]["fields"]] == header
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


@pytest.mark.parametrize("name", ["rich", "hostile", "no_usage"])
def test_a_reader_of_packages_finds_nothing_wrong(name, pages_by_name, tmp_path):
    frictionless = pytest.importorskip("frictionless")
    for file in files.make(pages_by_name[name]):
        (tmp_path / file.name).write_bytes(file.data)
    report = frictionless.validate(str(tmp_path / "datapackage.json"))
    assert report.valid, report.flatten(["name", "title", "message"])
    checked = {task.name: task.type for task in report.tasks}
    assert checked["focus"] == "table" and checked["focus-parquet"] == "file"


def test_a_reader_of_packages_reads_what_is_in_gzip(pages_by_name, tmp_path):
    frictionless = pytest.importorskip("frictionless")
    made_ = {file.name: file for file in files.make(pages_by_name["rich"])}
    wrong = plain(made_["focus.csv.gz"]).replace(b",true,", b",perhaps,")
    (tmp_path / "focus.csv.gz").write_bytes(gzip.compress(wrong))
    package = json.loads(made_["datapackage.json"].data)
    (focus,) = [r for r in package["resources"] if r["path"] == "focus.csv.gz"]
    package["resources"] = [{key: value for key, value in focus.items() if key not in ("hash", "bytes")}]
    (tmp_path / "datapackage.json").write_text(json.dumps(package))
    report = frictionless.validate(str(tmp_path / "datapackage.json"))
    assert {found for (found,) in report.flatten(["type"])} == {"type-error"}


def test_no_phone_number_in_any_file(each):
    for file in files.make(build(each)):
        data = plain(file)
        if file.name.endswith(".parquet"):
            data = pl.read_parquet(io.BytesIO(data)).write_csv().encode()
        assert b"3125550177" not in data and b"555 0142" not in data
