"""taxes.csv: every bad row is named by line with what to do, all at once; and whom a missing place would spare is said."""

from __future__ import annotations

from datetime import date
from decimal import Decimal as D
from pathlib import Path

import polars as pl
import pytest
import taxes_made as made
from taxes_made import account, base, rule

from etl import taxes
from etl.settings import ConfigurationError

EXAMPLE = Path(__file__).resolve().parents[2] / "config" / "rates"


def complaints(*rules: dict) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        made.load(*rules)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_no_file_no_rules(tmp_path):
    loaded = taxes.load(tmp_path)
    assert loaded.is_empty()
    assert loaded.versions.schema == made.load(rule()).versions.schema
    assert made.load().versions.schema == loaded.versions.schema
    assert made.load().fingerprint != loaded.fingerprint


def test_every_cell_has_its_type():
    loaded = made.load(rule(rate="37.6", share="0.649", lines=" call; text ;", compound="TRUE", valid_to="2027-01-01"))
    assert not loaded.is_empty()
    assert loaded.versions.row(0, named=True) == rule() | {
        "rate": D("37.6"), "share": D("0.649"), "lines": ["call", "text"], "compound": True, "valid_from": date(2026, 1, 1),
        "valid_to": date(2027, 1, 1), "recorded_at": date(2026, 1, 1), "note": None,
    }  # fmt: skip
    assert made.load(rule()).versions.select("share", "valid_to", "compound").row(0) == (D(1), None, False)


def test_the_fingerprint_is_of_the_files_content():
    assert made.load(rule()).fingerprint == made.load(rule()).fingerprint != made.load(rule(rate="11")).fingerprint


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tax_id": ""}, "tax_id '' must be letters, digits, - and _"),
        ({"tax_id": "a;b"}, "tax_id 'a;b' must be letters"),
        ({"tax_id": "federal"}, "tax_id 'federal' must be letters, digits, - and _, and none of federal, state, local"),
        ({"tax_id": "all"}, "tax_id 'all' must be"),
        ({"level": "city"}, "level 'city' must be one of federal, state, local, other"),
        ({"level": ""}, "level None must be one of"),
        ({"jurisdiction": "us-wa"}, "jurisdiction 'us-wa' must be capitals with - between"),
        ({"jurisdiction": "US-"}, "jurisdiction 'US-' must be"),
        ({"jurisdiction": ""}, "jurisdiction '' must be"),
        ({"name": ""}, "name is empty"),
        ({"kind": "flat"}, "kind 'flat' must be one of percent, per_unit"),
        ({"rate": ""}, "rate None must be a number with at most 9 decimals"),
        ({"rate": "0.0000000001"}, "rate '0.0000000001' must be a number with at most 9 decimals"),
        ({"rate": "37,6"}, "rate '37,6' must be a number"),
        ({"rate": "37.6%"}, "rate '37.6%' must be a number"),
        ({"rate": "1e2"}, "rate '1e2' must be a number"),
        ({"rate": "-1"}, "rate -1 is negative"),
        ({"lines": ""}, "lines is empty"),
        ({"lines": " ; "}, "lines is empty"),
        ({"lines": "call;tax"}, "'tax' is no charge line: use some of number, call"),
        ({"lines": "call,text"}, "'call,text' is no charge line"),
        ({"lines": "call;call"}, "'call' stands twice in lines"),
        ({"share": "1.000000001"}, "share '1.000000001' must be empty or between 0 and 1"),
        ({"share": "64.9"}, "share '64.9' must be empty or between 0 and 1"),
        ({"share": "-0.1"}, "share '-0.1' must be empty or between 0 and 1"),
        ({"share": "half"}, "share 'half' must be empty or between 0 and 1"),
        ({"share": "0.6490000001"}, "share '0.6490000001' must be empty or between 0 and 1, with at most 9 decimals"),
        ({"sourcing": "address"}, "sourcing 'address' must be one of service_address, caller, callee"),
        ({"sourcing": ""}, "sourcing None must be one of"),
        ({"compound": "yes"}, "compound 'yes' must be true or false"),
        ({"compound": ""}, "compound None must be true or false"),
        ({"compound": "true", "kind": "per_unit"}, "compound is for taxes in percent"),
        ({"valid_from": ""}, "valid_from None must be a day, YYYY-MM-DD"),
        ({"valid_from": "2026-1-1"}, "valid_from '2026-1-1' must be a day"),
        ({"recorded_at": ""}, "recorded_at None must be a day"),
        ({"recorded_at": "yesterday"}, "recorded_at 'yesterday' must be a day"),
        ({"valid_to": "2026-02-30"}, "valid_to '2026-02-30' must be empty or a day"),
        ({"valid_to": "2026-01-01"}, "valid_to must lie after valid_from"),
    ],
)
def test_a_bad_cell_is_named_with_its_line(wrong, said):
    (told,) = complaints(rule("fine"), rule("bad") | wrong)
    assert told.startswith("taxes.csv line 3: ")
    assert said in told


@pytest.mark.parametrize(
    "fine",
    [
        {"share": "0"}, {"share": "1"}, {"share": "1.000000000"}, {"rate": "0"}, {"rate": "250"}, {"valid_to": "2026-01-02"},
        {"rate": "0.000000001"}, {"jurisdiction": "DE"}, {"jurisdiction": "CA-QC-MONTRÉAL"}, {"jurisdiction": "US-NY-10001"}, {"compound": "True"},
        {"kind": "per_unit", "lines": "number"}, {"lines": "adjustment"}, {"lines": "credit_pack;subscription"},
    ],
)  # fmt: skip
def test_the_edges_of_what_is_allowed(fine):
    assert made.load(rule() | fine).versions.height == 1


def test_the_note_is_optional_and_a_column_nothing_reads_is_not(tmp_path):
    made.written(tmp_path, rule())
    text = (tmp_path / "taxes.csv").read_text(encoding="utf-8")
    (tmp_path / "taxes.csv").write_text(
        text.replace(",note", "").replace("2026-01-01,\n", "2026-01-01\n"), encoding="utf-8"
    )
    assert taxes.load(tmp_path).versions.equals(made.load(rule()).versions)
    (tmp_path / "taxes.csv").write_text(text.replace("note", "nota"), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="'nota' that nothing reads"):
        taxes.load(tmp_path)


def test_the_line_is_the_files_even_after_blank_ones_and_cells_of_several_lines(tmp_path):
    made.written(tmp_path, rule("fine", note="two\nlines"), rule("bad", rate="x"))
    text = (tmp_path / "taxes.csv").read_text(encoding="utf-8")
    (tmp_path / "taxes.csv").write_text(text.replace("\nbad", "\n\nbad"), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="taxes.csv line 5: rate 'x'"):
        taxes.load(tmp_path)


def test_all_bad_rows_are_named_at_once_in_the_order_of_the_file():
    told = complaints(rule("a", level="x", rate="-1"), rule("b"), rule("c", share="2", lines="tax"), rule("b"))
    assert [t.split(":")[0] for t in told] == ["taxes.csv line 2"] * 2 + ["taxes.csv line 4"] * 2 + ["taxes.csv line 5"]


def test_a_missing_column_is_named(tmp_path):
    (tmp_path / "taxes.csv").write_text("tax_id,level\nusf,federal\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="taxes.csv lacks the column jurisdiction, name, kind"):
        taxes.load(tmp_path)


# ------------------------------------------------------------------------------------------------ versions


def test_versions_that_follow_each_other_are_fine():
    quarters = ["2026-01-01", "2026-04-01", "2026-07-01"]
    rules = [rule(valid_from=a, valid_to=b) for a, b in zip(quarters, quarters[1:], strict=False)]
    assert made.load(rule(valid_from="2026-07-01"), *rules).versions.height == 3


def test_a_correction_may_overlap_what_it_corrects():
    assert made.load(rule(), rule(rate="11", recorded_at="2026-02-01")).versions.height == 2
    assert made.load(rule("a"), rule("b")).versions.height == 2


def test_versions_of_one_day_recorded_on_one_day_are_refused():
    (told,) = complaints(rule(), rule(valid_from="2026-06-01"))
    assert told == (
        "taxes.csv line 3: 'vat' overlaps line 2 from 2026-06-01: end one of them, or give the correction a later recorded_at"
    )


def test_an_overlap_with_a_version_further_back_is_found():
    far = [
        rule(),
        rule(valid_from="2026-02-01", valid_to="2026-03-01"),
        rule(valid_from="2026-04-01", valid_to="2026-05-01"),
    ]
    assert [t.split(": ")[1][:24] for t in complaints(*far)] == ["'vat' overlaps line 2 fr"] * 2


def test_a_row_that_stands_twice_is_refused():
    assert complaints(rule(), rule("b"), rule()) == ["taxes.csv line 4: this version of 'vat' stands already on line 2"]
    assert len(complaints(rule(), rule(rate="11", valid_to="2026-02-01"))) == 1


# ------------------------------------------------------------------------------------------------ compound on compound


def stacked(**second) -> bool:
    try:
        made.load(rule("one", compound="true"), rule("two", compound="true") | second)
    except ConfigurationError as error:
        assert "'two' and 'one' (line 2) are both compound" in str(error)
        return True
    return False


def test_a_compound_tax_on_a_compound_tax_is_refused_where_they_can_meet():
    assert stacked()
    assert stacked(lines="text;number")
    assert stacked(jurisdiction="US-WA")
    assert stacked(valid_from="2027-01-01")
    smaller_first = [rule("one", compound="true", jurisdiction="US-WA"), rule("two", compound="true")]
    assert len(complaints(*smaller_first)) == 1
    # Other sourcing: a call may well be from the one place to the other.
    assert stacked(sourcing="callee", jurisdiction="CA")


def test_compound_taxes_that_cannot_meet_are_fine():
    assert not stacked(compound="false")
    assert not stacked(lines="number")
    assert not stacked(jurisdiction="CA")
    assert not stacked(jurisdiction="USA")
    assert not stacked(valid_from="2025-01-01", valid_to="2026-01-01")
    assert made.load(rule(compound="true", valid_to="2026-06-01"), rule(compound="true", valid_from="2026-06-01"))


def test_a_compound_tax_that_was_corrected_away_meets_none():
    one = rule("one", compound="true")
    gone = rule("one", recorded_at="2026-02-01")
    other = rule("two", compound="true", recorded_at="2026-03-01")
    assert made.load(one, gone, other).versions.height == 3
    (told,) = complaints(one, gone | {"valid_to": "2026-05-01"}, other)
    assert "line 4" in told
    assert "can meet on 2026-05-01" in told
    # Known too late: between March and April both were in force.
    assert len(complaints(one, gone | {"recorded_at": "2026-04-01"}, other)) == 1


def test_compound_rows_with_other_faults_are_named_for_those():
    (told,) = complaints(rule("one", compound="true"), rule("two", compound="true", recorded_at=""))
    assert "recorded_at None must be a day" in told
    (told,) = complaints(rule("one", compound="true"), rule("one", compound="true", valid_from="2026-02-01"))
    assert "overlaps" in told


# ------------------------------------------------------------------------------------------------ what an operator is told

MONTH = (date(2026, 10, 1), date(2026, 11, 1))


def test_an_account_without_address_is_named_with_what_it_does_not_pay():
    rules = made.load(rule("usf"), rule("wa", level="state"), rule("gone", valid_to="2026-10-01"))
    accounts = made.accounts_frame(
        [account("blue", None, "state"), account("acme", None), account("seated"), account("free", None, "all")]
    )
    assert taxes.unplaced(accounts, rules, *MONTH) == [
        "accounts.csv: acme has no service_address, so it pays no usf, wa: write one, or exempt it in tax_exempt",
        "accounts.csv: blue has no service_address, so it pays no usf: write one, or exempt it in tax_exempt",
    ]
    assert taxes.unplaced(accounts.filter(pl.col("account_id") == "seated"), rules, *MONTH) == []
    assert taxes.unplaced(accounts, made.load(), *MONTH) == []
    assert taxes.unplaced(accounts, made.load(rule(sourcing="caller")), *MONTH, ["US-WA"]) == []


def test_a_rule_by_callers_that_no_place_can_meet_is_named():
    rules = made.load(
        rule("oregon", sourcing="callee", jurisdiction="US-OR"), rule("wa", sourcing="caller", jurisdiction="US-WA")
    )
    nobody = made.accounts_frame([])
    assert taxes.unplaced(nobody, rules, *MONTH, places=["US-WA-SEATTLE", "US-ORE", "US"]) == [
        "taxes.csv: oregon goes by the callee's place, and places.csv names none within US-OR: nobody pays it"
    ]
    assert len(taxes.unplaced(nobody, rules, *MONTH)) == 2


def test_an_exemption_that_exempts_from_nothing_is_named():
    accounts = made.accounts_frame([account("acme", "US", "usf", "fedral"), account("blue", "US", "all", "state")])
    assert taxes.unknown_exemptions(accounts, made.load(rule("usf"))) == [
        "accounts.csv: acme is exempt from 'fedral', which is no level, no tax_id of taxes.csv and not all"
    ]


# ------------------------------------------------------------------------------------------------ the example


def test_the_example_taxes_what_it_says():
    rules = taxes.load(EXAMPLE)
    assert all("EXAMPLE" in note and "tax adviser" in note for note in rules.versions["note"])
    accounts = [account("seattle"), account("portland", "US-OR-PORTLAND"), account("chicago", "US-IL-CHICAGO")]
    known = made.accounts_frame(accounts)
    assert taxes.unplaced(known, rules, *MONTH) == []
    bases = [
        base(amount, line, account_id=a["account_id"], quantity=2)
        for a in accounts
        for line, amount in (("call", "100"), ("number", "2"), ("text", "10"))
    ]
    table = taxes.due(made.frame(bases), rules, known, "per_line")
    # 100 × 64.9 % × 37.6 % = 24.4024; 7 % of 112, of each line, = 7.84; 6.5 % of 112 = 7.28 (6.50 + 0.13 + 0.65);
    # 6 % of 102 = 6.12; 5 % of 102 = 5.10; 2 × 0.75.
    told = {(r["account_id"], r["tax_id"]): str(r["amount"].normalize()) for r in table.iter_rows(named=True)}
    assert told == {
        ("chicago", "us-usf"): "24.4", ("chicago", "il-state"): "7.84", ("chicago", "il-chicago"): "7.84",
        ("chicago", "us-911"): "1.5", ("portland", "us-usf"): "24.4", ("portland", "or-portland"): "5.1",
        ("portland", "us-911"): "1.5", ("seattle", "us-usf"): "24.4", ("seattle", "wa-state"): "7.28",
        ("seattle", "wa-seattle"): "6.12", ("seattle", "us-911"): "1.5",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("day", "rate"),
    [("2025-07-01", "36.0"), ("2025-09-30", "36.0"), ("2025-10-01", "38.1"), ("2025-12-31", "38.1"), ("2026-01-01", "37.6"), ("2026-03-31", "37.6"), ("2026-04-01", "37.6")],
)  # fmt: skip
def test_the_examples_universal_service_factor_changes_by_the_quarter(day, rate):
    call = made.frame([base("100", "call", date=date.fromisoformat(day))])
    usf = taxes.due(call, taxes.load(EXAMPLE), made.accounts_frame([account()]), "per_line").filter(
        pl.col("tax_id") == "us-usf"
    )
    assert usf["rate"].to_list() == [D(rate)]
