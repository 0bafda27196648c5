"""Taxes worked out by hand: the working stands beside each figure."""

from __future__ import annotations

from datetime import date
from decimal import Decimal as D

import polars as pl
import pytest
import taxes_made as made
from taxes_made import account, base, due, rule

from etl import taxes
from etl.money import LIMIT, OutOfRange


def rows(table: pl.DataFrame, *columns: str) -> list[tuple]:
    return table.select(columns).rows()


def amounts(table: pl.DataFrame) -> dict[str, D]:
    """Tax id, or 'rounding', → amount."""
    return {r["tax_id"] or r["section"]: r["amount"] for r in table.iter_rows(named=True)}


def both(bases: list[dict], *rules: dict, **given) -> tuple[dict, dict]:
    """(per_line, per_statement)"""
    return tuple(amounts(due(bases, *rules, rounding=r, **given)) for r in taxes.ROUNDINGS)


# ------------------------------------------------------------------------------------------------ how much


def test_a_percentage_of_a_share_of_voice():
    # 64.9 % of 123.45 is interstate: 80.11905; 37.6 % of that: 30.1247628, printed 30.12.
    usf = rule("usf", rate="37.6", share="0.649", lines="call;campaign_call")
    table = due([base("123.45", "call"), base("50", "text")], usf)
    assert rows(table, "base", "amount_exact", "amount", "rate", "share", "section") == [
        (D("123.45"), D("30.1247628"), D("30.12"), D("37.6"), D("0.649"), "tax")
    ]
    assert table["product"].to_list() == [False]


def test_a_fee_per_number_and_a_tax_per_minute():
    fee = rule("911", kind="per_unit", rate="0.75", lines="number")
    minute = rule("minute", kind="per_unit", rate="0.01", lines="call", share="0.5")
    # 3 numbers at 0.75: 2.25. 150 s are 2.5 minutes, at 0.01 and half of it: 0.0125.
    table = due([base("6.00", "number", quantity=3), base("1", "call", quantity=150)], fee, minute)
    assert rows(table, "tax_id", "base", "quantity", "unit", "amount_exact", "amount") == [
        ("911", None, 3, "number", D("2.25"), D("2.25")),
        ("minute", None, 150, "second", D("0.0125"), D("0.01")),
    ]


def test_seconds_are_added_before_they_become_minutes():
    minute = rule("minute", kind="per_unit", rate="0.01", lines="call")
    # One second: 0.01 / 60 = 0.000166666…, stored 0.000166667. Sixty of them are 0.01, not 60 × 0.000166667.
    one = due([base("0", "call", quantity=1)], minute)
    sixty = due([base("0", "call", quantity=1, date=made.DAYS[n % 4]) for n in range(60)], minute)
    assert (one["amount_exact"].item(), sixty["amount_exact"].item()) == (D("0.000166667"), D("0.01"))


def test_half_a_billionth_is_rounded_away_from_zero_once():
    # 10 % of 0.000000005 is half a nano-unit.
    for amount, tax in (("0.000000005", "0.000000001"), ("-0.000000005", "-0.000000001"), ("0.000000004", "0")):
        assert due([base(amount)], rule())["amount_exact"].item() == D(tax)
    # A thousand such rows of one line are 0.0000005 of tax: not 0.000001, not 0.
    assert due([base("0.000000005")] * 1000, rule())["amount_exact"].item() == D("0.0000005")


def test_quantities_of_lines_with_different_units_are_not_added_up():
    fee = rule("fee", kind="per_unit", rate="0.01", lines="call;text;number")
    bases = [
        base("1", "call", quantity=120),
        base("1", "text", quantity=5),
        base("1", "text", quantity=2, direction="inbound"),
    ]
    # 2 minutes and 7 segments: 0.09.
    assert rows(due(bases, fee), "quantity", "unit", "amount_exact") == [(None, None, D("0.09"))]
    assert rows(due(bases[1:], fee), "quantity", "unit", "amount_exact") == [(7, "segment", D("0.07"))]


def test_what_is_not_rated_yet_is_taxed_as_nothing_and_its_quantity_counts():
    fee = rule("fee", kind="per_unit", rate="1")
    table = due([base(None, quantity=2), base("10", quantity=1)], rule(), fee)
    assert amounts(table) == {"vat": D("1.00"), "fee": D("3.00")}


# ------------------------------------------------------------------------------------------------ per line, per statement


def test_two_taxes_of_half_a_cent_leave_a_cent_to_take_back():
    # 10 % of 0.05 is 0.005, printed 0.01, twice. Exactly it is 0.010: 0.01 is owed.
    per_line, per_statement = both([base("0.05")], rule("wa", level="state"), rule("city", level="local"))
    assert per_line == {"wa": D("0.01"), "city": D("0.01")}
    assert per_statement == {"wa": D("0.01"), "city": D("0.01"), "rounding": D("-0.01")}


def test_the_difference_row_says_nothing_of_a_rule():
    table = due([base("0.05")], rule("a"), rule("b"), rounding="per_statement")
    difference = table.row(2, named=True)
    assert {k: v for k, v in difference.items() if v is not None} == {
        "account_id": "acme", "product": False, "section": "rounding", "amount_exact": 0, "amount": D("-0.01"), "currency": "USD",
    }  # fmt: skip


def test_two_lines_of_half_a_cent_are_one_cent_or_two():
    # 0.005 sent and 0.005 received: each line rounds to 0.01; the tax itself is 0.010.
    assert both([base("0.05"), base("0.05", direction="inbound")], rule()) == ({"vat": D("0.02")}, {"vat": D("0.01")})


def test_two_taxes_below_half_a_cent_make_one_that_is_seen():
    # odoo #20349: 0.003 + 0.004 = 0.007, a cent; each of them is printed as nothing.
    a, b = rule("a", rate="0.3"), rule("b", rate="0.4")
    assert both([base("1")], a, b) == ({"a": 0, "b": 0}, {"a": 0, "b": 0, "rounding": D("0.01")})


def test_no_difference_no_row():
    assert both([base("10")], rule("a"), rule("b"))[1] == {"a": D("1.00"), "b": D("1.00")}


def lines_of(*texts: str) -> list[dict]:
    """Statement lines of these amounts."""
    return [base(text, item=str(n)) for n, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("thread", "bases", "rates", "per_line", "per_statement"),
    [
        # 8180 × 9.975 % = 815.955, half-up 815.96 in both; one screen there said 815.95.
        ("invoiceninja/ui #3022", ["8180"], ["9.975"], ["815.96"], ["815.96"]),
        # 140 × 5 % = 7; 140 × 9.975 % = 13.965 → 13.97. Exactly 20.965, half-up 20.97 = 7.00 + 13.97.
        ("invoiceninja #1453, invoice 484", ["140"], ["5", "9.975"], ["7.00", "13.97"], ["7.00", "13.97"]),
        # 1140 × 5 % = 57; 1140 × 9.975 % = 113.715 → 113.72.
        ("invoiceninja #1453, invoice 479", ["1140"], ["5", "9.975"], ["57.00", "113.72"], ["57.00", "113.72"]),
        # 8500 less 7500: 19 % of it are 1615 - 1425 = 190, to the cent.
        ("invoiceninja #10856", ["8500", "-7500"], ["19"], ["190.00"], ["190.00"]),
        # 36.856 × 8.5 % = 3.13276 → 3.13; 9.21 × 8.5 % = 0.78285 → 0.78; 3.91. Exactly 3.91561, 3.92.
        ("odoo #46511", ["36.856", "9.21"], ["8.5"], ["3.91"], ["3.92"]),
        # 292.125 × 15 % = 43.81875 → 43.82; 66.5 × 15 % = 9.975 → 9.98; 53.80. Exactly 53.79375, 53.79.
        ("odoo #177192", ["292.125", "66.5"], ["15"], ["53.80"], ["53.79"]),
        # 348.35 × 16 less 4 % = 5350.656; 22 % of it 1177.14432. One line: no method may differ.
        ("odoo #37896", ["5350.656"], ["22"], ["1177.14"], ["1177.14"]),
        # Ten lines of 3.60: each 5.5 % = 0.198 → 0.20, 2.00; exactly 1.98.
        ("odoo #155833", ["3.60"] * 10, ["5.5"], ["2.00"], ["1.98"]),
        # 193.333333333 × 25 % = 48.33333333325 → 48.33.
        ("getlago/lago-api #4313", ["193.333333333"], ["25"], ["48.33"], ["48.33"]),
        # Two cents less a billionth are two cents, not one: no digit is cut off.
        ("NangoHQ/nango #7495", ["0.019999999"], ["100"], ["0.02"], ["0.02"]),
    ],
)  # fmt: skip
def test_cents_that_others_lost(thread, bases, rates, per_line, per_statement):
    rules = [rule(f"t{n}", rate=rate) for n, rate in enumerate(rates)]
    by_line, by_statement = both(lines_of(*bases), *rules)
    assert list(by_line.values()) == [D(t) for t in per_line], thread
    assert list(by_statement.values()) == [D(t) for t in per_statement], thread


def test_yen_have_no_decimals_and_dinars_have_three():
    # 10 % of 5 yen is half a yen; 10 % of 0.005 dinars half a fils.
    for amount, currency, tax in (
        ("5", "JPY", "1"),
        ("4", "JPY", "0"),
        ("-5", "JPY", "-1"),
        ("0.005", "KWD", "0.001"),
        ("-0.005", "KWD", "-0.001"),
    ):
        assert both([base(amount, currency=currency)], rule()) == ({"vat": D(tax)}, {"vat": D(tax)})
    # Two halves of a yen: 1 + 1 printed, 1 owed.
    assert both([base("5", currency="JPY")], rule("a"), rule("b"))[1] == {"a": 1, "b": 1, "rounding": -1}


def test_a_month_of_refunds_has_a_negative_tax():
    # -10.25 × 10 % = -1.025 → -1.03, away from zero as 1.025 → 1.03; exactly -2.05 for two such taxes.
    refund = [base("-12.25"), base("2.00")]
    per_line, per_statement = both(refund, rule("a"), rule("b"))
    assert per_line == {"a": D("-1.03"), "b": D("-1.03")}
    assert per_statement == {"a": D("-1.03"), "b": D("-1.03"), "rounding": D("0.01")}


# ------------------------------------------------------------------------------------------------ compound


def test_a_compound_tax_is_a_tax_on_taxes_too():
    # Quebec before 2013: 5 % of 100 is 5.00; 7.5 % of 105 is 7.875.
    gst, qst = rule("gst", rate="5"), rule("qst", rate="7.5", compound="true", level="state")
    table = due([base("100")], gst, qst)
    assert rows(table, "tax_id", "base", "amount_exact", "amount") == [
        ("gst", D("100"), D("5"), D("5.00")),
        ("qst", D("105"), D("7.875"), D("7.88")),
    ]
    assert rows(made.detail([base("100")], gst, qst), "tax_id", "base", "base_taxes") == [
        ("gst", D("100"), D("0")),
        ("qst", D("105"), D("5")),
    ]


def test_a_compound_tax_holds_only_taxes_on_its_own_rows():
    # 5 % from the third on: of 200, 10. 10 % compound all the month: (100 + 200 + 10) × 10 % = 31.
    late, on_top = rule("late", rate="5", valid_from="2026-10-03"), rule("top", compound="true")
    assert amounts(due([base("100"), base("200", date=date(2026, 10, 3))], late, on_top)) == {
        "late": D("10.00"),
        "top": D("31.00"),
    }
    # 5 % of calls into Oregon only: of 200, 10.
    oregon = rule("oregon", rate="5", sourcing="callee", jurisdiction="US-OR")
    calls = [base("100", "call", callee_place="US-WA"), base("200", "call", callee_place="US-OR")]
    assert amounts(due(calls, oregon, on_top)) == {"oregon": D("10.00"), "top": D("31.00")}


def test_the_taxes_within_a_base_are_rounded_once_too():
    # 10 % of 0.000000005, twice: 0.000000001 in all. Then 100 % of 0.000000011.
    table = due(
        [base("0.000000005"), base("0.000000005", date=made.DAYS[1])], rule(), rule("top", rate="100", compound="true")
    )
    assert [r for (r,) in rows(table, "amount_exact")] == [D("0.000000011"), D("0.000000001")]


def test_a_compound_tax_holds_fees_per_unit():
    # 2 numbers, 2.00, and 2 × 0.75 in fees: 10 % of 3.50.
    fee = rule("911", kind="per_unit", rate="0.75", lines="number")
    table = due([base("2", "number", quantity=2)], fee, rule("top", lines="number", compound="true"))
    assert amounts(table) == {"911": D("1.50"), "top": D("0.35")}


def test_a_compound_tax_holds_no_tax_the_account_is_exempt_from():
    gst, qst = rule("gst", rate="5"), rule("qst", rate="7.5", compound="true")
    assert amounts(due([base("100")], gst, qst, accounts=[account("acme", "US", "gst")])) == {"qst": D("7.50")}


def test_two_compound_taxes_in_different_places_do_not_meet():
    gst = rule("gst", rate="5")
    states = [rule(s, jurisdiction=f"US-{s.upper()}", compound="true") for s in ("wa", "or")]
    assert amounts(due([base("100")], gst, *states)) == {"gst": D("5.00"), "wa": D("10.50")}


# ------------------------------------------------------------------------------------------------ which rule where


@pytest.mark.parametrize(
    ("jurisdiction", "place", "applies"),
    [
        ("US", "US", True),
        ("US", "US-WA-SEATTLE", True),
        ("US-WA", "US-WA-SEATTLE", True),
        ("US-WA-SEATTLE", "US-WA-SEATTLE", True),
        ("US-W", "US-WA", False),
        ("U", "US", False),
        ("US-WA", "US-WASH", False),
        ("US-WA-SEATTLE", "US-WA", False),
        ("WA", "US-WA", False),
        ("US-WA-SEATTLE", "US-OR-SEATTLE", False),
        ("US", None, False),
    ],
)
def test_a_jurisdiction_contains_what_lies_within_it(jurisdiction, place, applies):
    one = rule(jurisdiction=jurisdiction)
    assert due([base("10")], one, accounts=[account("acme", place)]).height == applies
    for sourcing, column in (("caller", "caller_place"), ("callee", "callee_place")):
        assert due([base("10", **{column: place})], one | {"sourcing": sourcing}).height == applies


def test_a_large_place_meets_a_large_rule_once_beside_smaller_ones():
    rules = [rule("us"), rule("wa", jurisdiction="US-WA"), rule("seattle", jurisdiction="US-WA-SEATTLE")]
    for place, met in (("US", 1), ("US-WA", 2), ("US-WA-SEATTLE", 3), ("US-WA-SEATTLE-NORTH", 3)):
        assert [r for (r,) in rows(due([base("10")], *rules, accounts=[account("acme", place)]), "base")] == [
            D("10")
        ] * met


def test_caller_callee_and_service_address_are_three_places():
    rules = [rule(s, jurisdiction="US-WA", sourcing=s) for s in taxes.SOURCINGS]
    call = base("10", "call", caller_place="US-OR-PORTLAND", callee_place="US-WA-SEATTLE")
    assert set(amounts(due([call], *rules))) == {"service_address", "callee"}
    back = base("10", "call", caller_place="US-WA", callee_place="US-OR")
    assert set(amounts(due([back], *rules, accounts=[account("acme", "US-IL-CHICAGO")]))) == {"caller"}


def test_only_listed_lines_are_taxed_and_credit_packs_only_where_listed():
    bases = [base("10", "call"), base("20", "number"), base("40", "subscription", product=True)]
    assert rows(due(bases, rule(lines="call")), "base") == [(D("10"),)]
    assert rows(due(bases, rule(lines="subscription;number")), "product", "base") == [(False, D("20")), (True, D("40"))]


@pytest.mark.parametrize(
    ("exempt", "left"),
    [
        ([], {"usf", "wa", "city"}),
        (["state"], {"usf", "city"}),
        (["usf"], {"wa", "city"}),
        (["usf", "local"], {"wa"}),
        (["all"], set()),
        (["other", "oregon"], {"usf", "wa", "city"}),
    ],
)
def test_an_account_is_exempt_by_level_by_tax_or_from_all(exempt, left):
    rules = [rule("usf"), rule("wa", level="state"), rule("city", level="local")]
    others = account("blue", "US-WA")
    table = due(
        [base("10"), base("10", account_id="blue")], *rules, accounts=[account("acme", "US-WA", *exempt), others]
    )
    mine = pl.col("account_id") == "acme"
    assert set(table.filter(mine)["tax_id"]) == left
    assert set(table.filter(~mine)["tax_id"]) == {"usf", "wa", "city"}


def test_an_account_whose_exemptions_are_null_is_exempt_from_nothing():
    known = made.accounts_frame([account()]).with_columns(tax_exempt=pl.lit(None, pl.List(pl.String)))
    assert taxes.due(made.frame([base("10")]), made.load(rule()), known, "per_line").height == 1


# ------------------------------------------------------------------------------------------------ when


def test_a_rate_changes_within_the_month():
    # To the 14th 36.0 % of 100, from the 15th 38.1 % of 200.
    old = rule("usf", rate="36.0", valid_to="2026-10-15")
    new = rule("usf", rate="38.1", valid_from="2026-10-15")
    bases = [
        base("100", date=date(2026, 10, 14)),
        base("150", date=date(2026, 10, 15)),
        base("50", date=date(2026, 10, 31)),
    ]
    assert rows(due(bases, old, new), "rate", "base", "amount", "valid_from") == [
        (D("36.0"), D("100"), D("36.00"), date(2026, 1, 1)),
        (D("38.1"), D("200"), D("76.20"), date(2026, 10, 15)),
    ]


def test_a_rule_holds_on_its_first_day_and_not_on_its_end():
    one = rule(valid_from="2026-10-02", valid_to="2026-10-04")
    assert rows(due([base("1", date=day) for day in made.DAYS], one), "base") == [(D("2"),)]


def test_the_version_recorded_last_is_believed_as_far_as_it_was_known():
    first = rule(rate="10", recorded_at="2026-01-01")
    corrected = rule(rate="20", recorded_at="2026-10-20", valid_from="2026-10-02", valid_to="2026-10-03")
    bases = [base("100", date=day) for day in made.DAYS[:3]]
    # The first and the third day at 10 %, the second at 20 %.
    assert [r for (r,) in rows(due(bases, first, corrected), "amount")] == [D("20.00"), D("20.00")]
    assert due(bases, corrected, first, as_of=date(2026, 10, 20)).height == 2
    assert amounts(due(bases, corrected, first, as_of=date(2026, 10, 19))) == {"vat": D("30.00")}
    assert amounts(due(bases, corrected, first, as_of=date(2025, 12, 31))) == {}


def test_a_correction_that_moves_a_tax_away_leaves_nothing_of_the_old_version():
    old = rule(jurisdiction="US", lines="call;text")
    for change in ({"jurisdiction": "CA"}, {"lines": "number"}, {"sourcing": "caller"}):
        assert due([base("100")], old, old | change | {"recorded_at": "2026-02-01"}).is_empty()


# ------------------------------------------------------------------------------------------------ the table


def test_products_have_taxes_and_a_difference_of_their_own():
    # 0.05 of texts and 0.04 of a subscription, two taxes of 10 %: 0.005 twice, and 0.004 twice.
    rules = [rule("a", lines="text;subscription"), rule("b", lines="text;subscription")]
    table = due([base("0.05"), base("0.04", "subscription", product=True)], *rules, rounding="per_statement")
    assert rows(table, "product", "section", "tax_id", "amount") == [
        (False, "tax", "a", D("0.01")), (False, "tax", "b", D("0.01")), (False, "rounding", None, D("-0.01")),
        (True, "tax", "a", D("0.00")), (True, "tax", "b", D("0.00")), (True, "rounding", None, D("0.01")),
    ]  # fmt: skip


def test_rows_stand_in_the_order_of_a_statement():
    rules = [
        rule("z", level="federal"), rule("a", level="other"), rule("m", level="local", jurisdiction="US-WA-SEATTLE"),
        rule("k", level="state", jurisdiction="US-WA"),
    ]  # fmt: skip
    bases = [base("10", account_id=a) for a in ("blue", "acme")]
    table = due(bases, *rules, accounts=[account("blue"), account("acme")])
    assert rows(table, "account_id", "tax_id") == [(a, t) for a in ("acme", "blue") for t in "zkma"]
    assert table.row(0, named=True)["name"] == "Tax z"


def test_the_detail_has_one_row_for_each_line_of_a_statement_a_rule_taxes():
    bases = [
        base("1", "call", quantity=60), base("2", "call", quantity=60, date=made.DAYS[1]),
        base("4", "call", quantity=60, direction="inbound"), base("8", "text"), base("16", "number"),
    ]  # fmt: skip
    table = made.detail(bases, rule(), rule("fee", kind="per_unit", rate="1", lines="call"))
    assert rows(table, "tax_id", "line", "direction", "base", "base_taxes", "quantity", "amount_exact") == [
        ("fee", "call", "inbound", None, None, 60, D("1")),
        ("fee", "call", "outbound", None, None, 120, D("2")),
        ("vat", "call", "inbound", D("4"), D("0"), None, D("0.4")),
        ("vat", "call", "outbound", D("3"), D("0"), None, D("0.3")),
        ("vat", "text", "outbound", D("8"), D("0"), None, D("0.8")),
    ]
    ordered = made.detail(bases[-3:], rule(lines="call;text;number"))
    assert ordered["line"].to_list() == ["number", "call", "text"]


def test_a_tax_of_nothing_is_still_said():
    assert rows(due([base("0"), base("5", "call")], rule("free", rate="0")), "tax_id", "base", "amount") == [
        ("free", D("5"), D("0"))
    ]


def test_without_rules_or_usage_or_accounts_there_are_no_taxes():
    full = due([base("10")], rule())
    for nothing in (
        due([base("10")]),
        due([], rule()),
        due([], accounts=[]),
        due([base("10")], rule(), accounts=[account("acme", None)]),
    ):
        assert nothing.is_empty()
        assert nothing.schema == full.schema
    assert made.detail([], rule()).schema == made.detail([base("10")], rule()).schema


def test_more_columns_than_needed_do_no_harm():
    wide = made.frame([base("10")]).with_columns(events=pl.lit(1), kind=pl.lit("call"), rate=pl.lit(3), taxable=True)
    known = made.accounts_frame([account()]).with_columns(name=pl.lit("Acme"), level=pl.lit("x"))
    assert amounts(taxes.due(wide, made.load(rule()), known, "per_line")) == {"vat": D("1.00")}


# ------------------------------------------------------------------------------------------------ refusals


def test_usage_of_an_account_nobody_lists_is_refused():
    with pytest.raises(ValueError, match="blue"):
        due([base("1"), base("1", account_id="blue")], rule())


def test_an_account_listed_twice_is_refused():
    with pytest.raises(pl.exceptions.ComputeError):
        due([base("1")], rule(), accounts=[account(), account()])


def test_an_unknown_rounding_is_refused():
    with pytest.raises(ValueError, match="per_line or per_statement, not 'half_even'"):
        due([base("1")], rule(), rounding="half_even")


MOST = D("999999999")


@pytest.mark.parametrize(
    ("bases", "one"),
    [
        # The base, its tax being small; the tax, its base being fine; a quantity; a rate times a quantity.
        ([base(str(MOST)), base("0.000000001")], rule(rate="0.01")),
        ([base(str(MOST))], rule(rate="100.000001")),
        ([base(str(-MOST))], rule(rate="100.000001")),
        ([base(str(MOST))], rule(rate="999999999.999999999")),
        ([base("1", quantity=LIMIT), base("1", quantity=1)], rule(kind="per_unit", rate="0")),
        ([base("1", quantity=LIMIT)], rule(kind="per_unit", rate="999999999.999999999")),
        ([base("1", quantity=-(2**63))], rule(kind="per_unit", rate="0.000000001")),
        ([base("1", quantity=100_000_000)], rule(kind="per_unit", rate="10")),
    ],
)
def test_what_does_not_fit_is_refused_by_the_account(bases, one):
    for rounding in taxes.ROUNDINGS:
        with pytest.raises(OutOfRange, match="acme"):
            due(bases, one, rounding=rounding)


def test_sums_over_lines_and_taxes_that_do_not_fit_are_refused_too():
    half = str(MOST / 2 + 1)
    two_lines = [base(half), base(half, direction="inbound")]
    with pytest.raises(OutOfRange, match="base of a tax.*acme"):
        due(two_lines, rule(rate="1"))
    with pytest.raises(OutOfRange, match="amount_exact of a tax.*acme"):
        due([base(half)], rule("a", rate="100"), rule("b", rate="100"), rounding="per_statement")
    with pytest.raises(OutOfRange, match="quantity of a tax.*acme"):
        due([base("1", quantity=LIMIT), base("1", quantity=1, direction="inbound")], rule(kind="per_unit", rate="0"))


AROUND = [*[str(MOST)] * 18, "446744098.709551616"]
"""Nineteen amounts of 2⁶⁴ + 7,000,000,000 nano-units: in 64 bits they would be 7."""


def test_a_sum_that_would_come_out_small_in_64_bits_is_refused():
    for bases in ([base(a) for a in AROUND], lines_of(*AROUND)):
        with pytest.raises(OutOfRange, match="base of a tax.*acme"):
            due(bases, rule(rate="0"))
    counts = [*[LIMIT] * 18, 2**64 - 18 * LIMIT + 7]
    for bases in (
        [base("1", quantity=q) for q in counts],
        [base("1", quantity=q, item=str(n)) for n, q in enumerate(counts)],
    ):
        with pytest.raises(OutOfRange, match="of a tax.*acme"):
            due(bases, rule(kind="per_unit", rate="0"))


def test_taxes_that_would_add_up_to_little_in_64_bits_are_refused():
    # Eighteen taxes of 999999999 each and one of the rest: each fits, their sum does not.
    many = [rule(f"t{n}", rate="100") for n in range(18)]
    last = rule("t18", kind="per_unit", rate="446744098.709551616")
    with pytest.raises(OutOfRange, match="amount_exact of a tax.*acme"):
        due([base(str(MOST))], *many, last, rounding="per_statement")


def test_sums_that_leave_64_bits_on_the_way_come_back():
    # 20 × 999999999 are 2 × 10¹⁹ nano-units, more than an Int64 holds.
    up, down = [base(str(MOST))] * 20, [base(str(-MOST))] * 20
    assert due([*up, *down, base("7")], rule())["amount_exact"].item() == D("0.7")
    many = [base("1", quantity=LIMIT)] * 20 + [base("1", quantity=-LIMIT)] * 20 + [base("1", quantity=3)]
    assert due(many, rule(kind="per_unit", rate="1"))["amount"].item() == D("3")


@pytest.mark.parametrize("currency", ["USD", "JPY", "KWD"])
def test_the_largest_amounts_are_taxed_and_rounded(currency):
    table = due([base(str(MOST), currency=currency)], rule(rate="100"), rounding="per_statement")
    assert rows(table, "base", "amount_exact", "amount") == [(MOST, MOST, MOST)]
    almost = due([base(str(MOST - D("0.000000001")), currency=currency)], rule(rate="100"))
    assert rows(almost, "amount") == [(MOST,)]
