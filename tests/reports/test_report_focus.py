"""FOCUS rows: every rule of the specification that concerns us, held to every row and not only to one of them."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import json
import re
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from pathlib import Path

import polars as pl
import pytest
import statements_made as made
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.schemas import LINES, PRODUCT_LINES
from reports import files, lots
from reports.checks import DoesNotAddUp
from reports.focus import export as focus
from reports.focus import rows as focus_rows
from reports.focus.columns import COLUMNS
from reports.model import build

MANDATORY = {
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart",
    "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost",
    "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName",
    "ServiceCategory", "ServiceName",
}  # fmt: skip
ALWAYS = MANDATORY - {"ChargeClass", "PricingQuantity", "PricingUnit"} | {
    "ChargeFrequency", "InvoiceId", "ServiceSubcategory", "PricingCurrency", "PricingCurrencyEffectiveCost",
    "ServiceProviderName", "HostProviderName",
}  # fmt: skip
"""Columns that no row may leave empty."""
DECIMALS = {
    "BilledCost", "ContractedCost", "EffectiveCost", "ListCost", "ConsumedQuantity", "PricingQuantity",
    "ContractedUnitPrice", "ListUnitPrice", "PricingCurrencyContractedUnitPrice", "PricingCurrencyListUnitPrice",
    "PricingCurrencyEffectiveCost", "x_TaxBase",
}  # fmt: skip
MOMENTS = {"BillingPeriodEnd", "BillingPeriodStart", "ChargePeriodEnd", "ChargePeriodStart"}
ALLOWED = {
    "ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"},
    "ChargeClass": {"Correction"},
    "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
    "PricingCategory": {"Standard", "Dynamic", "Committed", "Other"},
    "CommitmentDiscountStatus": {"Used", "Unused"},
    "SubAccountType": {"Member", "Shared inbox", "Unassigned"},
    "x_BillingPeriodStatus": {"Open", "Closed"},
    "x_State": {"open", "provisional", "final"},
    "x_TaxLevel": {"federal", "state", "local", "other"},
}
SERVICES = {
    ("Mobile", "Other (Mobile)"), ("Networking", "Other (Networking)"), ("Media", "Other (Media)"),
    ("Storage", "Object Storage"), ("AI and Machine Learning", "Other (AI and Machine Learning)"),
    ("Business Applications", "Other (Business Applications)"), ("Other", "Other (Other)"),
}  # fmt: skip
"""Pairs of the specification's table of categories that we use."""
PRICED = (
    "SkuId", "SkuPriceId", "SkuMeter", "ListUnitPrice", "ContractedUnitPrice", "PricingCategory", "PricingQuantity",
    "PricingUnit", "PricingCurrencyListUnitPrice", "PricingCurrencyContractedUnitPrice",
)  # fmt: skip
"""Set on Usage and Purchase, empty on Tax; we leave them empty on Adjustments too."""
UNIT = re.compile(r"[A-Z][a-z]+(-(Months|Days))?")
BILLIONTH = Decimal("1e-9")


def file_of(page, name="focus.csv.gz"):
    return next(file for file in files.make(page) if file.name == name)


def table(file) -> csv.DictReader:
    return csv.DictReader(io.StringIO(gzip.decompress(file.data).decode(), newline=""))


def rows_of(page) -> list[dict]:
    """The CSV file's rows; numbers as Decimal, empty cells as None."""
    return [{name: _value(name, cell) for name, cell in row.items()} for row in table(file_of(page))]


def _value(name: str, cell: str):
    if cell == "":
        return None
    if name in DECIMALS:
        assert re.fullmatch(r"-?(0|[1-9][0-9]*)\.[0-9]+", cell), (name, cell)
        return Decimal(cell)
    if name in MOMENTS:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", cell), (name, cell)
        return datetime.strptime(cell, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return cell


def total(rows, column="BilledCost") -> Decimal:
    return sum((row[column] or Decimal(0) for row in rows), Decimal(0))


# ------------------------------------------------------------------------------------------------ every row


def hold_to_the_rules(page) -> list[dict]:
    """Every rule on every row; the rows."""
    rows = rows_of(page)
    for row in rows:
        hold_row(row, page)
    one_each(rows, "SkuPriceId", "SkuId")
    one_each(rows, "SkuId", "SkuMeter")
    one_each(rows, "ServiceName", "ServiceSubcategory")
    assert [row["x_RowNumber"] for row in rows] == [str(n) for n in range(1, len(rows) + 1)]
    invoices = {page.statement_id: page.total.now}
    if page.products:
        invoices[f"{page.statement_id}-products"] = page.products.total
    billed = defaultdict(Decimal)
    for row in rows:
        billed[row["InvoiceId"]] += row["BilledCost"]
    assert {name: billed[name] for name in invoices} == invoices and not billed.keys() - invoices.keys()
    by_line = defaultdict(Decimal)
    for row in rows:
        by_line[row["x_StatementPosition"]] += row["BilledCost"]
    stated = {str(row["position"]): row["amount"] for row in page.lines if not row["section"].endswith("total")}
    assert {k: v for k, v in by_line.items() if k and v} == {k: v for k, v in stated.items() if v}
    assert by_line[None] == 0
    return rows


def hold_row(row: dict, page) -> None:
    category, unit = row["ChargeCategory"], row["PricingUnit"]
    assert not [name for name in ALWAYS if row[name] is None]
    assert not [name for name, values in ALLOWED.items() if row[name] not in values | {None}]
    assert row["BillingCurrency"] == page.currency and re.fullmatch("[A-Z]{3}", row["BillingCurrency"])
    assert (row["ServiceCategory"], row["ServiceSubcategory"]) in SERVICES
    # Periods: UTC, the end exclusive, the charge within its month.
    first, end = (datetime(d.year, d.month, d.day, tzinfo=UTC) for d in (page.month.first, page.month.end))
    assert (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == (first, end)
    assert row["ChargePeriodStart"] < row["ChargePeriodEnd"]
    if row["ChargeClass"] == "Correction":
        assert row["ChargePeriodEnd"] <= first, "a correction is of a month before, and has its dates"
    else:
        assert first <= row["ChargePeriodStart"] and row["ChargePeriodEnd"] <= end
    # What is priced.
    priced = category in ("Usage", "Purchase")
    assert {row[name] is not None for name in PRICED} == {priced}
    if priced:
        for price, cost in (("ContractedUnitPrice", "ContractedCost"), ("ListUnitPrice", "ListCost")):
            assert row[price] >= 0
            with localcontext(prec=60):
                assert (row[price] * row["PricingQuantity"]).quantize(BILLIONTH, ROUND_HALF_UP) == row[cost]
        assert UNIT.fullmatch(unit)
    else:
        assert row["ListCost"] == row["ContractedCost"] == row["EffectiveCost"] == row["BilledCost"]
    assert (row["ConsumedQuantity"] is None) == (row["ConsumedUnit"] is None) == (category != "Usage")
    assert row["SkuPriceDetails"] is None or row["SkuPriceId"]
    if category == "Purchase":
        assert row["EffectiveCost"] == 0 and row["ChargeFrequency"] != "Usage-Based"
        assert row["ContractedCost"] == row["BilledCost"]
    # Virtual currency.
    if row["PricingCurrency"] == page.currency:
        assert row["PricingCurrencyEffectiveCost"] == row["EffectiveCost"]
        assert row["PricingCurrencyContractedUnitPrice"] == row["ContractedUnitPrice"]
    else:
        assert (row["PricingCurrency"], unit, row["BilledCost"]) == ("CRD", "Credits", 0)
        assert row["PricingCurrencyEffectiveCost"] == row["PricingQuantity"]
        assert row["PricingCurrencyContractedUnitPrice"] == row["PricingCurrencyListUnitPrice"] == 1
    # Who, and what.
    assert len({row[name] is None for name in ("SubAccountId", "SubAccountName", "SubAccountType")}) == 1
    assert (row["ResourceId"] is None) == (row["ResourceType"] is None)
    for name in ("Tags", "SkuPriceDetails"):
        assert row[name] is None or all(isinstance(v, str) for v in json.loads(row[name]).values())
    assert (row["x_TaxLevel"] is None) == (row["x_TaxJurisdiction"] is None) == (category != "Tax")
    assert row["x_BillingPeriodStatus"] == ("Closed" if page.state == "final" else "Open")


def one_each(rows, column: str, parent: str) -> None:
    parents = defaultdict(set)
    for row in rows:
        parents[row[column]].add(row[parent])
    assert not {name: found for name, found in parents.items() if name and len(found) > 1}


def test_every_row_keeps_every_rule(each):
    page = build(each)
    rows = hold_to_the_rules(page)
    assert bool(rows) == any(line["section"] != "total" for line in page.lines)


def test_columns_are_the_specification_s_and_ours_after_them():
    names = [column.name for column in COLUMNS]
    theirs = [name for name in names if not name.startswith("x_")]
    assert set(theirs) >= MANDATORY and names == theirs + [n for n in names if n.startswith("x_")]
    assert all(re.fullmatch(r"(x_)?([A-Z][a-z]+)+", name) and len(name) <= 50 for name in names)
    assert {c.name for c in COLUMNS if c.required} >= ALWAYS and all(c.description for c in COLUMNS)


# ------------------------------------------------------------------------------------------------ what rows say


@pytest.fixture(scope="module")
def rich(pages_by_name):
    return pages_by_name["rich"]


@pytest.fixture(scope="module")
def rows(rich):
    return rows_of(rich)


def of_line(rows, line, **more):
    return [row for row in rows if row["x_Line"] == line and all(row[k] == v for k, v in more.items())]


def test_texts_are_consumed_in_messages_and_priced_in_segments(rich, rows):
    sent = of_line(rows, "text", x_Direction="outbound", ChargeCategory="Usage")
    assert total(sent, "ConsumedQuantity") == rich.usage.outbound_messages
    sms = [row for row in sent if row["x_Type"] == "sms"]
    assert total(sms, "PricingQuantity") == rich.usage.outbound_segments
    assert {(r["ConsumedUnit"], r["PricingUnit"], r["ContractedUnitPrice"]) for r in sms} == {
        ("Messages", "Segments", Decimal("0.0083"))
    }
    credits = sum(int(row["x_Credits"] or 0) for row in rows)
    assert credits == rich.usage.outbound_credits + rich.usage.inbound_credits


def test_calls_are_consumed_in_seconds_and_priced_in_minutes(rich, rows):
    calls = [row for line in ("call", "campaign_call") for row in of_line(rows, line, ChargeCategory="Usage")]
    assert total(calls, "ConsumedQuantity") == rich.usage.call_seconds == total(calls, "PricingQuantity") * 60
    assert sum(int(row["x_Records"]) for row in calls) == rich.usage.calls
    assert {(row["ConsumedUnit"], row["PricingUnit"]) for row in calls} == {("Seconds", "Minutes")}


def test_days_have_exclusive_ends_and_months_are_whole(rich, rows):
    day = timedelta(days=1)
    spans = defaultdict(set)
    for row in rows:
        spans[row["x_Line"], row["ChargeCategory"]].add(row["ChargePeriodEnd"] - row["ChargePeriodStart"])
    assert spans["text", "Usage"] == {day} and spans["number", "Usage"] == spans["tax", "Tax"] == {31 * day}
    assert spans["credit_overage", "Usage"] == spans["credit_pack", "Purchase"] == {day}


def test_people_and_the_account_come_to_the_charges(rich, rows):
    mine = [r for r in rows if r["ChargeCategory"] == "Usage" and r["InvoiceId"] == rich.statement_id]
    for table in (rich.members, rich.inboxes):
        for person in table.rows:
            charge = total(r for r in mine if r["SubAccountId"] == f"{person.kind}/{person.owner_id}")
            assert charge == person.usage.charge + person.by_month
    nobody = [r for r in mine if r["SubAccountId"] == "unassigned"]
    assert total(nobody) == rich.unassigned.usage.charge + rich.unassigned.by_month
    whole = {
        r["x_Line"] for r in rows if r["SubAccountId"] is None and not r["ChargeDescription"].startswith("Rounding")
    }
    assert whole == {
        "credit_overage",
        "tier_adjustment",
        "adjustment",
        "tax",
        "credits_used",
        "credits_lapsed",
        *PRODUCT_LINES,
    }


def test_one_row_per_tax_and_jurisdiction(rows):
    taxes = of_line(rows, "tax")
    (usf,) = [row for row in taxes if row["ChargeDescription"] == "Tax: Universal Service Fund"]
    assert (usf["x_TaxLevel"], usf["x_TaxJurisdiction"], usf["x_TaxRateId"]) == ("federal", "US", "usf-2026q4")
    assert usf["BilledCost"] == Decimal("82.58") and usf["x_TaxBase"] * Decimal("0.376") - usf["BilledCost"] < Decimal(
        "0.01"
    )
    assert len(taxes) == len(made.TAXES)
    (left,) = of_line(rows, "rounding")
    assert (left["ChargeCategory"], left["BilledCost"]) == ("Adjustment", Decimal("0.01"))


def test_refunds_and_volume_prices_are_adjustments(rows):
    refunds = [row for row in of_line(rows, "adjustment") if row["BilledCost"] < 0]
    assert [row["BilledCost"] for row in refunds] == [Decimal("-64.5")]
    assert "••" in refunds[0]["ChargeDescription"] and refunds[0]["ServiceName"] == "Account"
    tiers = {row["ChargeDescription"]: row["ServiceName"] for row in of_line(rows, "tier_adjustment")}
    assert tiers["Volume pricing: Texts"] == "Text messaging"
    assert tiers["Volume pricing: Calls, campaign calls"] == "Voice"


def test_products_are_purchases_under_an_invoice_of_their_own(rich, rows):
    bought = [row for row in rows if row["ChargeCategory"] == "Purchase"]
    assert {row["InvoiceId"] for row in bought} == {f"{rich.statement_id}-products"}
    assert {(row["x_Line"], row["ChargeFrequency"]) for row in bought} == {
        ("subscription", "Recurring"), ("credit_pack", "One-Time"),
    }  # fmt: skip
    # A subscription's fee is effective where it is used: in one piece, on its day.
    (fee,) = of_line(rows, "subscription", ChargeCategory="Usage")
    assert (fee["BilledCost"], fee["EffectiveCost"], fee["ResourceType"]) == (0, 149, "Subscription")


def test_credits_are_a_virtual_currency(rich, rows):
    used, lapsed = of_line(rows, "credits_used"), of_line(rows, "credits_lapsed")
    assert total(used, "PricingCurrencyEffectiveCost") == total(used, "ConsumedQuantity") == rich.credits.used
    assert total(lapsed, "PricingQuantity") == rich.credits.lost == 1204
    assert {row["ConsumedQuantity"] for row in lapsed} == {0}
    # Bought this month for 50, all used this month; nothing says what the packs of earlier months cost, and that is said.
    worth = defaultdict(Decimal)
    for row in used:
        worth[row["ResourceId"], row["x_CreditPriceKnown"]] += row["EffectiveCost"]
    assert worth["recharge-1024", "true"] == 50 and worth["goodwill-1006", "true"] == 0
    assert worth["pack-0812", "false"] == 0 and worth["sub_1", "true"] == 0


def test_a_recharge_of_ours_is_worth_its_price():
    day = date(2026, 10, 28)

    def held(who, month):
        rows = made.richly_held(who, month)
        return [row | ({"date": day} if "simulated" in (row["item"] or "") else {}) for row in rows]

    rows = of_line(rows_of(build(made.rich(held_monthly=held))), "credits_used", ResourceId="simulated-1028")
    assert total(rows, "EffectiveCost") == Decimal("31.2") and total(rows, "PricingQuantity") == 3120
    assert {row["x_CreditPriceKnown"] for row in rows} == {"true"}


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(1, n), min_size=1, max_size=6))),
    st.decimals(0, 10**6, places=2),
)
def test_a_packs_credits_are_worth_the_pack_over_two_months(pack, price):
    credits, cuts = pack
    ends = [0, *sorted(cuts), credits]
    burns = [b - a for a, b in zip(ends, ends[1:], strict=False)]
    at = {
        "at": None,
        "bought_at": None,
        "simulated": False,
        "subscription_id": None,
        "date": date(2026, 10, 2),
        "lot": "p1",
    }
    first = [at | {"entry": "purchase", "credits": credits}, at | {"entry": "burn", "credits": -burns[0]}]
    second = [at | {"entry": "open", "credits": credits - burns[0]}]
    second += [at | {"entry": "burn", "credits": -n} for n in burns[1:]]
    monthly = [{"line": "credit_pack", "rate_id": "p1", "charge": price, "date": date(2026, 10, 2)}]
    prices = lots.prices(first, monthly)
    gone = [*lots.gone(first, prices), *lots.gone(second, prices)]
    assert sum(row.value for row in gone) == price and sum(row.credits for row in gone) == credits
    assert all(row.value >= 0 for row in gone) and all(row.value is None for row in lots.gone(second, {}))


def test_a_refunded_price_has_a_negative_quantity(pages_by_name):
    (row,) = [r for r in rows_of(pages_by_name["negative"]) if r["BilledCost"] == -900]
    assert (row["ContractedUnitPrice"], row["PricingQuantity"], row["ConsumedQuantity"]) == (900, -1, 1)


def test_numbers_by_days_are_priced_by_the_day():
    def held(who, month):
        return [made.monthly(who, month, "number", "local", 2, "number", "0.6", days=12, charge=Decimal("0.48"))]

    (row,) = of_line(rows_of(build(made.statement(held_monthly=held))), "number")
    assert (row["PricingQuantity"], row["PricingUnit"], row["ContractedUnitPrice"]) == (
        24,
        "Number-Days",
        Decimal("0.02"),
    )


def test_campaigns_are_tags_by_name_and_never_by_number():
    rows = [
        made.call(date(2026, 10, 5), made.account(), ("member", "amara"), "outbound", 2, 120) | {"campaign_id": id_}
        for id_ in ("spring", "+13125550178", None)
    ]
    given_ = made.statement(lambda _: rows, held_monthly=lambda *_: [])
    named = pl.DataFrame({"campaign_id": ["spring"], "name": ['Spring "26"']})
    page = build(replace(given_, campaigns=named))
    tags = [row["Tags"] and json.loads(row["Tags"]) for row in rows_of(page) if row["ChargeCategory"] == "Usage"]
    assert sorted(map(str, tags)) == sorted(map(str, [{"campaign": 'Spring "26"'}, {"campaign": "•••• 0178"}, None]))


# ------------------------------------------------------------------------------------------------ without a price


def test_what_has_no_price_is_left_out_and_counted():
    day, who, amara = date(2026, 10, 5), made.account(), ("member", "amara")
    unknown = made.text(day, who, amara, "outbound", 3, 4) | {"charge": Decimal(0), "unrated": 3}
    partly = made.text(day, who, amara, "inbound", 5, 5) | {"charge": Decimal("0.009"), "unrated": 3}

    def held(who, month):
        return [made.monthly(who, month, "number", "local", 2, "number", "0") | {"charge": None, "unrated": "no price"}]

    known = made.text(day, who, amara, "outbound", 2, 2, rate_id="r1")
    rows = [known, unknown, partly, made.row(day, who, amara, "number", 2, "number", 0)]
    page = build(made.statement(lambda _: rows, state="open", held_monthly=held))
    found = hold_to_the_rules(page)
    assert {(r["x_Direction"], r["x_UnratedRecords"]) for r in found if r["ChargeCategory"] == "Usage"} == {
        ("outbound", "0"), ("inbound", "3"),
    }  # fmt: skip
    left = {"rows": 1, "records": 3, "charges_of_the_month": 1}
    assert focus_rows.left_out(page) == left
    package = json.loads(file_of(page, "datapackage.json").data)
    said = [r["without_a_price"] for r in package["resources"] if r["path"].startswith("focus.")]
    assert said == [left, left]


def test_rows_that_are_not_what_the_statement_says_are_refused(rich):
    short = replace(rich, details=replace(rich.details, usage=rich.details.usage[1:]))
    with pytest.raises(DoesNotAddUp, match="FOCUS rows of line"):
        focus.frame(short)
    unheard_of = rich.details.usage.with_columns(line=pl.lit("video"), direction=pl.lit(None, pl.String))
    with pytest.raises(DoesNotAddUp):
        focus.frame(replace(rich, details=replace(rich.details, usage=unheard_of)))


# ------------------------------------------------------------------------------------------------ files


def test_both_files_say_the_same(rich):
    frame, rows = pl.read_parquet(io.BytesIO(file_of(rich, "focus.parquet").data)), rows_of(rich)
    assert frame.columns == list(rows[0])
    for name in frame.columns:
        values = frame[name].to_list()
        cells = [row[name] for row in rows]
        if frame.schema[name] in (pl.Int32, pl.Int64):
            cells = [None if cell is None else int(cell) for cell in cells]
        elif frame.schema[name] == pl.Boolean:
            cells = [cell and cell == "true" for cell in cells]
        elif name not in DECIMALS | MOMENTS:
            cells = [cell and files.restore(cell) for cell in cells]
        assert values == cells, name
    described = json.loads(pl.read_parquet_metadata(io.BytesIO(file_of(rich, "focus.parquet").data))["columns"])
    assert list(described) == frame.columns and all(described.values())


def test_the_order_of_what_is_read_changes_no_byte(statements):
    given_ = statements["rich"]
    mixed = replace(
        given_,
        daily=given_.daily.sample(fraction=1, shuffle=True, seed=3),
        monthly=given_.monthly.sample(fraction=1, shuffle=True, seed=4),
    )
    for name in ("focus.csv.gz", "focus.parquet", "usage.parquet", "usage_by_owner.csv"):
        assert file_of(build(given_), name).data == file_of(build(mixed), name).data, name


def test_hostile_names_run_nowhere_and_are_whole_in_parquet(pages_by_name):
    page = pages_by_name["hostile"]
    names = {row["SubAccountName"] for row in rows_of(page)}
    assert "'=cmd|' /C calc'!A0" in names and "''quoted" in names
    frame = pl.read_parquet(io.BytesIO(file_of(page, "focus.parquet").data))
    assert {"=cmd|' /C calc'!A0", "'quoted"} <= set(frame["SubAccountName"].drop_nulls())


def test_who_sends_the_statement_is_named(rich):
    made_ = {file.name: file for file in files.make(rich, "Harbor Telecom")}
    rows = list(table(made_["focus.csv.gz"]))
    for name in ("ProviderName", "PublisherName", "InvoiceIssuerName", "ServiceProviderName", "HostProviderName"):
        assert {row[name] for row in rows} == {"Harbor Telecom"}


# ------------------------------------------------------------------------------------------------ any statement

AMOUNT = st.integers(0, 10**12).map(lambda n: Decimal(n) * BILLIONTH)
OWNER = st.sampled_from([("member", "amara"), ("inbox", "leasing"), ("unassigned", "unassigned")])
DAY = st.dates(date(2026, 10, 1), date(2026, 10, 31))


@st.composite
def daily_row(draw):
    who, day, owner = made.account(), draw(DAY), draw(OWNER)
    line = draw(st.sampled_from(["text", "call", "campaign_call", "video", "carrier_fee", "voice_detection"]))
    count, charge = draw(st.integers(0, 10**6)), draw(AMOUNT)
    unit = {"text": "segment", "carrier_fee": "segment", "voice_detection": "call"}.get(line, "second")
    row = made.row(day, who, owner, line, count, unit, 0, direction=draw(st.sampled_from(["inbound", "outbound"])))
    more = {
        "type": {"text": "sms", "carrier_fee": "sms", "video": "video"}.get(line, "voice"),
        "charge": charge,
        "carrier": draw(st.sampled_from([None, "Verizon"])),
        "registered": draw(st.sampled_from([None, True, False])),
        "rate_id": draw(st.sampled_from([None, "r1", "=r2"])),
    }
    if line == "text":
        more |= {"messages": count, "segments": count, "credits": count}
    if unit == "second":
        more |= {"billed_seconds": count}
    return row | more


@st.composite
def monthly_row(draw):
    who, line = made.account(), draw(st.sampled_from([line for line in LINES if line in HELD]))
    unit, items = HELD[line]
    item, quantity = draw(st.sampled_from(items)), draw(st.integers(1, 5000))
    charge = draw(AMOUNT) * (draw(st.sampled_from([1, -1])) if line in ("adjustment", "tier_adjustment") else 1)
    days = draw(st.none() | st.integers(1, 31)) if line == "number" else None
    owner = (
        dict(zip(("owner_kind", "owner_id"), draw(OWNER), strict=True))
        if line in ("number", "recording_storage")
        else {}
    )
    more = {"date": draw(DAY), "charge": charge, "days": days, **owner}
    return made.monthly(who, made.OCTOBER, line, item, quantity, unit, "1") | more


HELD = {
    "number": ("number", ["local", "tollfree"]), "recording_storage": ("stored minute", [None]),
    "credit_overage": ("credit", [None]), "tier_adjustment": ("adjustment", ["text", "call; text"]),
    "adjustment": ("adjustment", ["Goodwill", "=1+1"]), "subscription": ("subscription", ["Basic"]),
    "credit_pack": ("pack", ["5000 credits, pack"]),
}  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.lists(daily_row(), max_size=6), st.lists(monthly_row(), max_size=5), st.sampled_from(["USD", "JPY", "KWD"]))
def test_any_statement_keeps_every_rule(daily, monthly, currency):
    who = made.account(currency=currency)
    anything = [made.row(date(2026, 10, 1), who, ("member", "amara"), "number", 1, "number", 0)]
    rows = [row | {"currency": currency} for row in daily + anything]
    given_ = made.statement(
        lambda _: rows, who=who, held_monthly=lambda *_: [row | {"currency": currency} for row in monthly]
    )
    page = build(given_)
    found = hold_to_the_rules(page)
    usage = [r for r in found if r["ChargeCategory"] == "Usage" and r["x_Records"]]
    texts = [r for r in usage if r["x_Line"] == "text"]
    assert total(texts, "ConsumedQuantity") == page.usage.messages
    packs = [r for r in found if r["x_Line"] == "credit_pack" and r["ChargeCategory"] == "Purchase"]
    assert total(found, "EffectiveCost") == total(found) - total(packs)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**15), st.integers(1, 10**14))
def test_a_unit_price_is_as_short_as_the_cost_allows(units, count):
    frame = pl.DataFrame({"units": [units], "count": [count]}, schema={"units": pl.Int128, "count": pl.Int128})
    price = frame.select(focus._unit_price()).item()
    with localcontext(prec=80):
        again = lambda p: (p * count).quantize(Decimal(1), ROUND_HALF_UP)  # noqa: E731
        assert again(price) == units
        shorter = [
            (Decimal(units) / count).quantize(Decimal(1).scaleb(-n), ROUND_HALF_UP) for n in (4, 6, 9, 12, 15, 18)
        ]
        assert price == next(p for p in shorter if again(p) == units)


# ------------------------------------------------------------------------------------------------ the public validator


def validator():
    path = Path(__file__).parent.parent / "focus" / "validate.py"
    spec = importlib.util.spec_from_file_location("focus_validate", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report(**rules: str) -> bytes:
    cases = "".join(f'<testcase name="{r.replace("_", "-")} :: Type">{tag}</testcase>' for r, tag in rules.items())
    return f"<testsuites><testsuite>{cases}</testsuite></testsuites>".encode()


def test_the_public_validators_report_decides(monkeypatch):
    found = validator()
    monkeypatch.setattr(found, "LEAST_RUN", 2)
    failed, skipped = '<failure message="no"/>', '<skipped message="no"/>'
    good = found.read(report(A_C_001_M="", InvoiceId_C_004_C=failed, B_C_001_M=skipped))
    assert found.verdict(good)[0] == 0 and Counter(map(len, (good.passed, good.failed, good.skipped))) == {1: 3}
    code, said = found.verdict(found.read(report(A_C_001_M="", B_C_001_M=failed)))
    assert code == 1 and "  FAILED: B-C-001-M" in said
    assert found.verdict(found.read(report(A_C_001_M="", B_C_001_M="<error/>")))[0] == 1
    assert found.verdict(found.read(report(A_C_001_M="", B_C_001_M=skipped)))[0] == 1
