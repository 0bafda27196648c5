"""A statement as FOCUS rows: the FinOps open cost and usage specification, version 1.2.

`reports.focus.rows` says what the rows are; here they get the specification's columns. The rows of one InvoiceId come to
its total exactly.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from etl.money import NANOS, nanos
from reports import lots
from reports.charges import Key, part_name
from reports.focus import rows as made
from reports.focus.columns import OWNERS, PRICE, QUANTITY, TIME, TYPES_BY_NAME
from reports.model import Page
from reports.naming import item_name, line_name, presentable

VERSION = "1.2"
ISSUER = "Tollbook"
VIRTUAL_CURRENCY = "CRD"
"""What a message credit is called where a currency is asked for; public checks want three capital letters."""

_TEXTS = ("Text messaging", "Mobile", "Other (Mobile)")
_VOICE = ("Voice", "Networking", "Other (Networking)")
_CREDITS = ("Message credits", "Mobile", "Other (Mobile)")
_ACCOUNT = ("Account", "Other", "Other (Other)")
SERVICES = {
    "text": _TEXTS,
    "carrier_fee": _TEXTS,
    "failed_message": _TEXTS,
    "call": _VOICE,
    "campaign_call": _VOICE,
    "number": ("Phone numbers", "Networking", "Other (Networking)"),
    "video": ("Video calls", "Media", "Other (Media)"),
    "recording_storage": ("Recording storage", "Storage", "Object Storage"),
    "voice_detection": ("AI voice detection", "AI and Machine Learning", "Other (AI and Machine Learning)"),
    "credit_overage": _CREDITS,
    "credit_pack": _CREDITS,
    "credits_used": _CREDITS,
    "credits_lapsed": _CREDITS,
    "subscription": ("Subscription", "Business Applications", "Other (Business Applications)"),
    "tax": ("Taxes", "Other", "Other (Other)"),
}
"""Charge line → ServiceName, ServiceCategory, ServiceSubcategory. Any other line is the account's."""

UNITS = {
    "segment": "Segments",
    "message": "Messages",
    "second": "Minutes",
    "call": "Calls",
    "number": "Number-Months",
    "stored minute": "Minute-Months",
    "credit": "Credits",
    "subscription": "Subscriptions",
    "pack": "Packs",
}
"""Our unit → PricingUnit."""
CONSUMED = UNITS | {"second": "Seconds"}

PRODUCTS = "-products"
"""What the InvoiceId of products ends with; they are paid apart."""

_SKU = ("line", "item", "direction", "type", "registered", "why")
"""What decides how a row is called, and what it is a sale of."""


def frame(page: Page, issuer: str = ISSUER) -> pl.DataFrame:
    """The rows of a statement with `reports.focus.columns.COLUMNS`, in a fixed order; ``issuer`` is who sends the statement.

    Raises `DoesNotAddUp` where a statement line is not what its rows come to. What has no price yet is in no row:
    `reports.focus.rows.left_out`.
    """
    rows = made.of(page)
    named = rows.join(_named(rows), on=_SKU, how="left", nulls_equal=True, maintain_order="left")
    named = named.with_columns(count=_count(), units=nanos(pl.col("cost")).cast(pl.Int128).abs())
    named = named.with_columns(price=_unit_price())
    columns = _columns(page, issuer)
    return named.select(_typed(columns[name], dtype).alias(name) for name, dtype in TYPES_BY_NAME.items())


def _typed(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    return value.cast(pl.Datetime("us")).dt.replace_time_zone("UTC") if dtype == TIME else value.cast(dtype)


# ------------------------------------------------------------------------------------------------ names


def _named(rows: pl.DataFrame) -> pl.DataFrame:
    """For every `_SKU` there is: what it is called, and its service."""
    schema = rows.select(_SKU).schema | dict.fromkeys(("description", "meter", "sku", *_SERVICE), pl.String)
    every = rows.select(_SKU).unique(maintain_order=False).iter_rows(named=True)
    return pl.DataFrame([(*row.values(), *_names(row)) for row in every], schema=schema, orient="row")


_SERVICE = ("service", "service_category", "service_subcategory")


def _names(row: Mapping) -> tuple[str, ...]:
    """Description, meter, SKU and service of one `_SKU`."""
    line, item = row["line"], row["item"]
    what, part = _words(row)
    about = f"{what}: {part}" if part else what
    if row["why"] == "rounding":
        about = f"Rounding of {about}"
    elif row["why"] == "used":
        about = f"{about}, the fee on the day it fell due"
    elif row["why"] == "correction":
        about = f"Correction: {about}"
    elif row["why"] == "correction rounding":
        about = f"Rounding of a correction: {about}"
    sku = "/".join(filter(None, (line, item and presentable(item), row["direction"], row["type"])))
    return about, what, sku, *_service(line, item)


def _words(row: Mapping) -> tuple[str, str]:
    """A line, and which part of it."""
    line, item = row["line"], row["item"]
    if line in _OTHER_WORDS:
        return _OTHER_WORDS[line], presentable(item or "")
    key = Key(line, row["direction"], row["type"], row["registered"], None, item)
    part = item_name(line, item) if item else part_name(key, True)
    return line_name(line), "" if part == "Other" else part


_OTHER_WORDS = {
    "tax": "Tax",
    "rounding": "Rounding of the taxes",
    lots.USED: "Credits used",
    lots.LAPSED: "Credits lapsed",
}


def _service(line: str, item: str | None) -> tuple[str, str, str]:
    """A volume price belongs to the service of its lines, if that is one."""
    found = {SERVICES.get(name, _ACCOUNT) for name in (item or "").split("; ")} if line == "tier_adjustment" else set()
    return found.pop() if len(found) == 1 else SERVICES.get(line, _ACCOUNT)


# ------------------------------------------------------------------------------------------------ columns


def _columns(page: Page, issuer: str) -> dict[str, pl.Expr]:
    """Column → expression over `reports.focus.rows.ROW`, `_named`, count and price."""
    priced = pl.col("category").is_in(("Usage", "Purchase"))
    virtual = pl.col("line").is_in((lots.USED, lots.LAPSED))
    # Less of what costs nothing is less all the same.
    price, refund = pl.col("price"), (pl.col("cost") < 0) | ((pl.col("cost") == 0) & (pl.col("consumed") < 0))
    quantity = pl.col("count").cast(QUANTITY) / NANOS
    sku_price = pl.when(pl.col("rate_id").is_null()).then("sku").otherwise(pl.concat_str("sku", pl.lit("@"), "rate_id"))
    in_pricing = pl.when(virtual).then(pl.lit(1, PRICE)).otherwise(price)
    owner = pl.col("owner_kind")
    return {
        "BilledCost": pl.col("billed"),
        "BillingAccountId": pl.lit(page.account_id),
        "BillingAccountName": pl.lit(page.account_name),
        "BillingCurrency": pl.lit(page.currency),
        "BillingPeriodEnd": pl.lit(page.month.end),
        "BillingPeriodStart": pl.lit(page.month.first),
        "ChargeCategory": pl.col("category"),
        "ChargeClass": pl.col("class"),
        "ChargeDescription": pl.col("description"),
        "ChargeFrequency": pl.col("frequency"),
        "ChargePeriodEnd": pl.col("end"),
        "ChargePeriodStart": pl.col("start"),
        "CommitmentDiscountStatus": pl.lit(None),
        "ConsumedQuantity": pl.when(pl.col("category") == "Usage").then("consumed"),
        "ConsumedUnit": pl.when(pl.col("category") == "Usage").then(_renamed("consumed_unit", CONSUMED)),
        "ContractedCost": pl.col("cost"),
        "ContractedUnitPrice": pl.when(priced).then(price),
        "EffectiveCost": pl.col("effective"),
        "HostProviderName": pl.lit(issuer),
        "InvoiceId": pl.lit(page.statement_id) + pl.when("products").then(pl.lit(PRODUCTS)).otherwise(pl.lit("")),
        "InvoiceIssuerName": pl.lit(issuer),
        "ListCost": pl.col("cost"),
        "ListUnitPrice": pl.when(priced).then(price),
        "PricingCategory": pl.when(priced).then(pl.lit("Standard")),
        "PricingCurrency": pl.when(virtual).then(pl.lit(VIRTUAL_CURRENCY)).otherwise(pl.lit(page.currency)),
        "PricingCurrencyContractedUnitPrice": pl.when(priced).then(in_pricing),
        "PricingCurrencyEffectiveCost": pl.when(virtual)
        .then(pl.col("quantity").cast(QUANTITY))
        .otherwise(pl.col("effective").cast(QUANTITY)),
        "PricingCurrencyListUnitPrice": pl.when(priced).then(in_pricing),
        "PricingQuantity": pl.when(priced).then(pl.when(refund).then(-quantity).otherwise(quantity)),
        "PricingUnit": pl.when(priced).then(_unit()),
        "ProviderName": pl.lit(issuer),
        "PublisherName": pl.lit(issuer),
        "ResourceId": pl.col("resource"),
        "ResourceName": pl.lit(None),
        "ResourceType": pl.col("resource_type"),
        "ServiceCategory": pl.col("service_category"),
        "ServiceName": pl.col("service"),
        "ServiceProviderName": pl.lit(issuer),
        "ServiceSubcategory": pl.col("service_subcategory"),
        "SkuId": pl.when(priced).then("sku"),
        "SkuMeter": pl.when(priced).then("meter"),
        "SkuPriceDetails": pl.when(priced & pl.col("rate_id").is_not_null()).then(
            pl.struct(x_RateId="rate_id").struct.json_encode()
        ),
        "SkuPriceId": pl.when(priced).then(sku_price),
        "SubAccountId": pl.when(owner == "unassigned")
        .then(owner)
        .otherwise(pl.concat_str(owner, pl.lit("/"), "owner_id")),
        "SubAccountName": pl.col("owner_name"),
        "SubAccountType": _renamed("owner_kind", OWNERS),
        "Tags": pl.when(pl.col("campaign").is_not_null()).then(pl.struct("campaign").struct.json_encode()),
        "x_BillingPeriodStatus": pl.lit("Closed" if page.final else "Open"),
        "x_Carrier": pl.col("carrier"),
        "x_CreditPriceKnown": pl.col("known"),
        "x_Credits": pl.col("credits"),
        "x_Direction": pl.col("direction"),
        "x_Line": pl.col("line"),
        "x_Records": pl.col("events"),
        "x_Registered": pl.col("registered"),
        "x_Revision": pl.lit(page.revision),
        "x_RowNumber": pl.int_range(1, pl.len() + 1),
        "x_State": pl.lit(page.state),
        "x_StatementPosition": pl.col("position"),
        "x_TaxBase": pl.col("base"),
        "x_TaxJurisdiction": pl.col("jurisdiction"),
        "x_TaxLevel": pl.col("tax_level"),
        "x_TaxRateId": pl.col("tax_rate"),
        "x_Type": pl.col("type"),
        "x_UnratedRecords": pl.col("unrated"),
    }


def _renamed(column: str, names: Mapping[str, str]) -> pl.Expr:
    return pl.col(column).replace_strict(names, default=None, return_dtype=pl.String)


# ------------------------------------------------------------------------------------------------ quantities

_BY_DAYS = pl.col("days").is_not_null()
"""Numbers that are paid for by the days they were owned."""


def _unit() -> pl.Expr:
    return pl.when(_BY_DAYS).then(pl.lit("Number-Days")).otherwise(_renamed("unit", UNITS))


def _count() -> pl.Expr:
    """What is priced, in billionths of `_unit`, Int128: minutes for seconds, numbers times days."""
    whole = pl.col("quantity").cast(pl.Int128) * NANOS
    minutes = (whole + 30) // 60
    return (
        pl.when(_BY_DAYS).then(whole * pl.col("days")).when(pl.col("unit") == "second").then(minutes).otherwise(whole)
    )


def _unit_price() -> pl.Expr:
    """units / count, half-up, with as few decimals as give the units again to the billionth; `PRICE`."""
    cost, count = pl.col("units"), pl.col("count")
    found = []
    for decimals in (4, 6, 9, 12, 15, 18):
        step = 10**decimals
        price = (2 * cost * step + count) // (2 * count)
        again = (2 * price * count + step) // (2 * step)
        found.append(pl.when(again == cost).then(price * 10 ** (PRICE.scale - decimals)))
    digits = pl.coalesce(*found, price).cast(pl.String).str.zfill(PRICE.scale + 1)
    return (digits.str.head(-PRICE.scale) + "." + digits.str.tail(PRICE.scale)).cast(PRICE)
