"""The columns of the FOCUS files, in order: those of the specification, then our own, which begin with ``x_``.

Version 1.2's names and rules. ServiceProviderName and HostProviderName are what 1.4 calls ProviderName and
PublisherName; both pairs are there, so that a reader of either finds what it looks for.
"""

from __future__ import annotations

import polars as pl

from etl.money import MONEY
from etl.schemas import DIRECTIONS, STATES, TAX_LEVELS, TYPES
from reports.tabular import Column

PRICE = pl.Decimal(38, 18)
QUANTITY = pl.Decimal(38, 9)
TIME = pl.Datetime("us", "UTC")

CATEGORIES = ("Usage", "Purchase", "Tax", "Credit", "Adjustment")
FREQUENCIES = ("One-Time", "Recurring", "Usage-Based")
PRICING = ("Standard", "Dynamic", "Committed", "Other")
OWNERS = {"member": "Member", "inbox": "Shared inbox", "unassigned": "Unassigned"}
"""Owner kind → SubAccountType."""

_MONEY_KINDS = {MONEY: "number", PRICE: "number", QUANTITY: "number"}
_KINDS = {pl.String: "string", TIME: "datetime", pl.Boolean: "boolean", pl.Int64: "integer", pl.Int32: "integer"}


def _column(dtype, name: str, description: str, *, null: bool = False, enum: tuple[str, ...] = ()):
    return Column(name, (_MONEY_KINDS | _KINDS)[dtype], description, not null, enum), dtype


_ALL = (
    _column(MONEY, "BilledCost", "what the row adds to its invoice; all rows of one InvoiceId come to its total"),
    _column(pl.String, "BillingAccountId", "the account billed"),
    _column(pl.String, "BillingAccountName", "its name when the statement was made"),
    _column(pl.String, "BillingCurrency", "ISO 4217 code of every cost and unit price without a currency of its own"),
    _column(TIME, "BillingPeriodEnd", "first moment after the month, UTC: exclusive"),
    _column(TIME, "BillingPeriodStart", "first moment of the month, UTC"),
    _column(
        pl.String, "ChargeCategory", "Usage of a day or a month, Purchase of a product, Tax, Adjustment (refunds, volume "
        "pricing, rounding); Credit, money given away, is not used: message credits are no money", enum=CATEGORIES,
    ),
    _column(
        pl.String, "ChargeClass", "Correction where a row corrects a month that was closed before, else empty",
        null=True, enum=("Correction",),
    ),
    _column(pl.String, "ChargeDescription", "the row in words"),
    _column(
        pl.String, "ChargeFrequency", "Usage-Based, Recurring for what is charged every month, or One-Time", enum=FREQUENCIES
    ),
    _column(TIME, "ChargePeriodEnd", "first moment after the day or month that the row covers, UTC: exclusive"),
    _column(TIME, "ChargePeriodStart", "first moment of the day or month that the row covers, UTC"),
    _column(
        pl.String, "CommitmentDiscountStatus", "always empty: there are no commitments; public checks expect the column",
        null=True, enum=("Used", "Unused"),
    ),
    _column(
        QUANTITY, "ConsumedQuantity", "what was used, in ConsumedUnit: texts, billed seconds of calls, credits; on Usage only",
        null=True,
    ),
    _column(pl.String, "ConsumedUnit", "unit of ConsumedQuantity", null=True),
    _column(MONEY, "ContractedCost", "ContractedUnitPrice × PricingQuantity to the billionth, else BilledCost"),
    _column(
        PRICE, "ContractedUnitPrice", "price of one PricingUnit: the row's cost / PricingQuantity, with as few decimals as give "
        "that cost again to the billionth", null=True,
    ),
    _column(
        MONEY, "EffectiveCost", "the cost where it was used: 0 on a Purchase, whose price stands on the rows of the credits "
        "that it paid for, and on one Usage row for a subscription's fee",
    ),
    _column(pl.String, "HostProviderName", "who runs the service"),
    _column(
        pl.String, "InvoiceId", "the statement that the row belongs to; products are paid apart, under the statement's id "
        "with -products behind it",
    ),
    _column(pl.String, "InvoiceIssuerName", "who sends the statement"),
    _column(MONEY, "ListCost", "ListUnitPrice × PricingQuantity to the billionth, else BilledCost"),
    _column(PRICE, "ListUnitPrice", "ContractedUnitPrice: the rate card is the price list", null=True),
    _column(pl.String, "PricingCategory", "Standard on Usage and Purchase, else empty", null=True, enum=PRICING),
    _column(pl.String, "PricingCurrency", "BillingCurrency, or CRD on rows that are counted in message credits"),
    _column(PRICE, "PricingCurrencyContractedUnitPrice", "price of one PricingUnit in PricingCurrency", null=True),
    _column(
        QUANTITY, "PricingCurrencyEffectiveCost", "EffectiveCost in PricingCurrency; credits used or lapsed where that is CRD"
    ),
    _column(PRICE, "PricingCurrencyListUnitPrice", "PricingCurrencyContractedUnitPrice", null=True),
    _column(
        QUANTITY, "PricingQuantity", "what is priced, in PricingUnit: segments, messages, minutes, …; negative where the cost is",
        null=True,
    ),
    _column(pl.String, "PricingUnit", "unit of PricingQuantity", null=True),
    _column(pl.String, "ProviderName", "who provides the service (until FOCUS 1.3; then ServiceProviderName)"),
    _column(pl.String, "PublisherName", "who produces the service (until FOCUS 1.3)"),
    _column(
        pl.String, "ResourceId", "the subscription, or the pack of credits, that was bought or used up; never a phone number",
        null=True,
    ),
    _column(pl.String, "ResourceName", "always empty: such a thing has no name of its own", null=True),
    _column(
        pl.String, "ResourceType", "what ResourceId names", null=True, enum=("Credit pack", "Subscription"),
    ),
    _column(pl.String, "ServiceCategory", "the specification's kind of service"),
    _column(pl.String, "ServiceName", "what was provided"),
    _column(pl.String, "ServiceProviderName", "who provides the service"),
    _column(pl.String, "ServiceSubcategory", "the specification's kind of service, finer"),
    _column(pl.String, "SkuId", "charge line / direction / type, or line / item: what is sold, whatever its price", null=True),
    _column(pl.String, "SkuMeter", "what is counted", null=True),
    _column(pl.String, "SkuPriceDetails", "JSON: x_RateId is the row of the rate card", null=True),
    _column(pl.String, "SkuPriceId", "SkuId with the row of the rate card behind it", null=True),
    _column(
        pl.String, "SubAccountId", "kind/id of the member or shared inbox, or 'unassigned'; empty for what belongs to the "
        "account as a whole", null=True,
    ),
    _column(pl.String, "SubAccountName", "the member's or the inbox's name when the statement was made", null=True),
    _column(pl.String, "SubAccountType", "what SubAccountId names", null=True, enum=tuple(OWNERS.values())),
    _column(pl.String, "Tags", "JSON: campaign, the call campaign's name", null=True),
    _column(
        pl.String, "x_BillingPeriodStatus", "Closed once the month is final and changes no more", enum=("Open", "Closed")
    ),
    _column(pl.String, "x_Carrier", "the other party's carrier, if known", null=True),
    _column(
        pl.Boolean, "x_CreditPriceKnown", "on rows of credits: false where nothing says what the lot was bought for, so that "
        "EffectiveCost lacks its price", null=True,
    ),
    _column(pl.Int64, "x_Credits", "message credits that this usage burned, whoever paid for them", null=True),
    _column(pl.String, "x_Direction", "seen from the account", null=True, enum=DIRECTIONS),
    _column(pl.String, "x_Line", "charge line of the statement; credits_used and credits_lapsed are the ledger's"),
    _column(pl.Int64, "x_Records", "records behind a row of usage", null=True),
    _column(pl.Boolean, "x_Registered", "our number is registered for application texting", null=True),
    _column(pl.Int32, "x_Revision", "0 until the month is closed"),
    _column(pl.Int64, "x_RowNumber", "order in the file, from 1"),
    _column(pl.String, "x_State", "standing of every figure in the row", enum=STATES),
    _column(
        pl.Int32, "x_StatementPosition", "the line's position in charges.csv or products.csv; its rows come to its amount",
        null=True,
    ),
    _column(MONEY, "x_TaxBase", "on taxes: the amount taxed", null=True),
    _column(pl.String, "x_TaxJurisdiction", "on taxes: who levies it", null=True),
    _column(pl.String, "x_TaxLevel", "on taxes", null=True, enum=TAX_LEVELS),
    _column(pl.String, "x_TaxRateId", "on taxes: tax_id@valid_from of its row in taxes.csv", null=True),
    _column(pl.String, "x_Type", "what kind", null=True, enum=TYPES),
    _column(pl.Int64, "x_UnratedRecords", "records without a price in a row of usage: counted, not in its cost", null=True),
)  # fmt: skip

COLUMNS = tuple(column for column, _ in _ALL)
TYPES_BY_NAME = {column.name: dtype for column, dtype in _ALL}
"""Column → Polars type, in order."""
