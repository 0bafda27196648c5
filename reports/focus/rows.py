"""What a statement is made of, row by row, before `reports.focus` gives it the specification's columns.

Usage stands at full precision; what rounding makes of a statement line is a row of its own, so that the rows of one
invoice come to its total.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from etl.money import MONEY
from etl.schemas import DATASETS, HELD_LINES, LINES, PRODUCT_LINES
from reports import lots
from reports.checks import same
from reports.corrected import BILLED
from reports.model import ACCOUNT_LINES, Page
from reports.naming import masked

ROW = {
    "position": pl.Int32, "products": pl.Boolean, "category": pl.String, "frequency": pl.String, "start": pl.Date,
    "end": pl.Date, "line": pl.String, "item": pl.String, "direction": pl.String, "type": pl.String, "carrier": pl.String,
    "registered": pl.Boolean, "rate_id": pl.String, "owner_kind": pl.String, "owner_id": pl.String,
    "owner_name": pl.String, "campaign": pl.String, "unit": pl.String, "quantity": pl.Int64, "consumed": pl.Int64,
    "consumed_unit": pl.String, "days": pl.Int64, "billed": MONEY, "cost": MONEY, "effective": MONEY, "events": pl.Int64,
    "credits": pl.Int64, "unrated": pl.Int64, "known": pl.Boolean, "resource": pl.String, "resource_type": pl.String,
    "tax_level": pl.String, "jurisdiction": pl.String, "base": MONEY, "tax_rate": pl.String, "why": pl.String,
    "class": pl.String,
}  # fmt: skip
"""``billed``, ``cost`` and ``effective`` are BilledCost, ContractedCost = ListCost, and EffectiveCost; ``position`` is that of
the statement line; ``products``: on the products' invoice; ``known``: of credits, whether their price is; ``why``: in
words, what the row is beside its line; ``class``: `CORRECTION` where a closed month is corrected."""

CORRECTION = "Correction"

NO_QUANTITY = ("adjustment", "tier_adjustment")
"""Lines that count nothing."""

_LINE = ("line", "item", "direction", "type", "_carrier", "_registered", "unit")
"""What tells the lines of a statement apart; carrier and registration do on carrier fees only."""
_HELD = pl.col("line").is_in(HELD_LINES)
_UNPRICED = ~_HELD & (pl.col("unrated") > 0) & (pl.col("charge") == 0)
"""Usage of which nothing has a price: what it costs is unknown, not zero."""


def of(page: Page) -> pl.DataFrame:
    """`ROW` of one statement, sorted. Raises `DoesNotAddUp` where a line is not what its rows come to."""
    lines = _lines(page)
    charged = _placed(pl.concat([_usage(page), _by_month(page)]), lines, page)
    corrected = _corrections(page)
    fees = _fees(pl.concat([charged, corrected]))
    rows = pl.concat([charged, _rounding(charged, lines, page), _taxes(page), corrected, fees, _credits(page)])
    first = ("products", "position", "start")
    return rows.sort(*first, *(name for name in ROW if name not in first), nulls_last=True)


def left_out(page: Page) -> dict[str, int]:
    """What has no price yet and is in no row: rows of `reports.details`, their records, and charges of the month."""
    days = page.details.usage.filter(_UNPRICED)
    by_month = sum(row["charge"] is None for row in page.monthly)
    return {"rows": days.height, "records": days["unrated"].sum(), "charges_of_the_month": by_month}


def _rows(frame: pl.DataFrame, **values) -> pl.DataFrame:
    """``frame`` with ``values`` as `ROW`; what is not given is null."""
    if frame.is_empty():
        return pl.DataFrame(schema=ROW)
    given = frame.with_columns(**values)
    known = set(given.columns)
    return given.select(
        (pl.col(name) if name in known else pl.lit(None)).cast(dtype).alias(name) for name, dtype in ROW.items()
    )


def _table(rows: Iterable[Mapping], types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    return pl.DataFrame([tuple(row[name] for name in types) for row in rows], schema=types, orient="row")


def _word(text: str) -> pl.Expr:
    return pl.lit(text, pl.String)


# ------------------------------------------------------------------------------------------------ what is charged


def _usage(page: Page) -> pl.DataFrame:
    """One row per day, owner, campaign, line, direction, type, carrier, registration and price."""
    keys = (
        "date", "owner_kind", "owner_id", "owner_name", "campaign", "line", "direction", "type", "carrier", "registered",
        "rate_id", "unit",
    )  # fmt: skip
    rows = (
        page.details.usage.filter(~_HELD & ~_UNPRICED)
        .group_by(keys)
        .agg(pl.col("quantity", "messages", "events", "credits", "charge", "unrated").sum())
        # A call that nobody took lasts for nothing and costs nothing.
        .filter((pl.col("quantity") != 0) | (pl.col("charge") != 0))
    )
    text = pl.col("line") == "text"
    return _rows(
        rows,
        products=pl.lit(False),
        category=pl.when(pl.col("quantity") == 0).then(_word("Adjustment")).otherwise(_word("Usage")),
        frequency=_word("Usage-Based"),
        start=pl.col("date"),
        end=pl.col("date").dt.offset_by("1d"),
        consumed=pl.when(text).then("messages").otherwise("quantity"),
        consumed_unit=pl.when(text).then(_word("message")).otherwise("unit"),
        **dict.fromkeys(("billed", "cost", "effective"), pl.col("charge")),
    )


def _by_month(page: Page) -> pl.DataFrame:
    """What is charged by the month. A product's cost is effective where it is used up: `_fees`, `_credits`."""
    month, line = page.month, pl.col("line")
    product, one_off = line.is_in(PRODUCT_LINES), line.is_in(NO_QUANTITY)
    whole = line.is_in((*HELD_LINES, "tier_adjustment"))
    of_somebody = ~line.is_in((*ACCOUNT_LINES, *PRODUCT_LINES))
    pack = (line == "credit_pack") & ~pl.col("rate_id").is_in(lots.recharged_by_us(page.ledger))
    types = {name: type_ for name, type_ in DATASETS["monthly"].types.items() if name != "campaign_id"}
    rows = _table(page.monthly, types | {"owner_name": pl.String}).filter(pl.col("charge").is_not_null())
    return _rows(
        rows,
        products=product,
        category=pl.when(product)
        .then(_word("Purchase"))
        .when(one_off)
        .then(_word("Adjustment"))
        .otherwise(_word("Usage")),
        frequency=pl.when(line.is_in((*HELD_LINES, "subscription")))
        .then(_word("Recurring"))
        .when(line.is_in(("credit_overage", "tier_adjustment")))
        .then(_word("Usage-Based"))
        .otherwise(_word("One-Time")),
        start=pl.when(whole).then(month.first).otherwise("date"),
        end=pl.when(whole).then(month.end).otherwise(pl.col("date").dt.offset_by("1d")),
        **{name: pl.when(of_somebody).then(name) for name in ("owner_kind", "owner_id", "owner_name")},
        quantity=pl.when(~one_off).then("quantity"),
        consumed=pl.when(~one_off & ~product).then("quantity"),
        consumed_unit=pl.when(~one_off & ~product).then("unit"),
        billed=pl.col("charge"),
        cost=pl.col("charge"),
        effective=pl.when(~product).then("charge").otherwise(0),
        unrated=pl.lit(None),
        rate_id=pl.when(~product).then("rate_id"),
        resource=pl.when(product).then(pl.col("rate_id").map_elements(masked, return_dtype=pl.String)),
        resource_type=pl.when(pack).then(_word("Credit pack")).when(product).then(_word("Subscription")),
    )


# ------------------------------------------------------------------------------------------------ statement lines


def _lines(page: Page) -> pl.DataFrame:
    """The statement's lines of charges and products: `_LINE`, position, amount, amount_exact."""
    names = ("position", "line", "item", "direction", "type", "carrier", "registered", "unit", "amount", "amount_exact")
    types = {name: DATASETS["statement"].types[name] for name in names}
    own = (row for row in page.lines if row["section"] in ("usage", "product") and row["line"] in LINES)
    rows = _table(own, types).rename({"carrier": "_carrier", "registered": "_registered"})
    # Two lines that differ in what was masked are one here.
    return rows.group_by(_LINE).agg(pl.col("position").min(), pl.col("amount", "amount_exact").sum())


def _placed(rows: pl.DataFrame, lines: pl.DataFrame, page: Page) -> pl.DataFrame:
    """The rows with their line's position. Raises `DoesNotAddUp` unless they come to the lines, one by one."""
    fee = pl.col("line") == "carrier_fee"
    by_line = rows.drop("position").with_columns(
        _carrier=pl.when(fee).then("carrier"), _registered=pl.when(fee).then("registered")
    )
    placed = by_line.join(lines.select(*_LINE, "position"), on=_LINE, how="left", nulls_equal=True)
    sums = placed.group_by("position").agg(pl.col("billed").sum())
    beside = lines.join(sums, on="position", how="full", coalesce=True).sort("position")
    for row in beside.iter_rows(named=True):
        same(page.statement_id, f"FOCUS rows of line {row['position']} ({row['line']}) come to", row["billed"] or 0,
             "the statement says", row["amount_exact"] or 0)  # fmt: skip
    return placed.select(*ROW)


def _rounding(charged: pl.DataFrame, lines: pl.DataFrame, page: Page) -> pl.DataFrame:
    """One row for each line that is rounded, with what rounding made of it."""
    products = charged.group_by("position").agg(pl.col("products").first())
    rows = (
        lines.with_columns(left=pl.col("amount") - pl.col("amount_exact"))
        .filter(pl.col("left") != 0)
        .join(products, on="position", how="left")
    )
    return _rows(
        rows.rename({"_carrier": "carrier", "_registered": "registered"}).drop("unit"),
        category=_word("Adjustment"),
        frequency=_word("One-Time"),
        start=page.month.first,
        end=page.month.end,
        why=_word("rounding"),
        **dict.fromkeys(("billed", "cost", "effective"), pl.col("left")),
    )


def _taxes(page: Page) -> pl.DataFrame:
    """One row per tax, jurisdiction and rate, of charges and of products, and what rounding their sum left."""
    names = ("position", "section", "line", "item", "tax_level", "jurisdiction", "rate_id", "base", "amount")
    types = {name: DATASETS["statement"].types[name] for name in names}
    own = (r for r in page.lines if r["section"] in ("tax", "rounding", "product") and r["line"] in ("tax", "rounding"))
    rows = _table(own, types)
    tax = pl.col("line") == "tax"
    return _rows(
        rows.drop("rate_id"),
        products=pl.col("section") == "product",
        category=pl.when(tax).then(_word("Tax")).otherwise(_word("Adjustment")),
        frequency=pl.when(tax & (pl.col("section") == "tax")).then(_word("Usage-Based")).otherwise(_word("One-Time")),
        start=page.month.first,
        end=page.month.end,
        tax_rate=rows["rate_id"],
        **dict.fromkeys(("billed", "cost", "effective"), pl.col("amount")),
    )


# ------------------------------------------------------------------------------------------------ corrections


def _corrections(page: Page) -> pl.DataFrame:
    """What closed months are corrected by: one row per line, day of the records and price, and what rounding makes of the
    line; a tax and a rounding difference in one row. What has no day is of its whole month."""
    names = ("position", "section", "line", "item", "direction", "type", "carrier", "registered", "tax_level",
             "jurisdiction", "rate_id", "unit", "amount", "amount_exact", "for_month")  # fmt: skip
    types = {name: DATASETS["statement"].types[name] for name in names}
    month = pl.col("for_month").str.to_date("%Y-%m")
    own = [row for row in page.lines if row["section"] in BILLED]
    if not own:
        return pl.DataFrame(schema=ROW)
    lines = (
        _table(own, types)
        .with_columns(start=month, end=month.dt.offset_by("1mo"), products=pl.col("section") == "product_correction")
        .drop("section", "for_month")
        .with_columns(**{"class": _word(CORRECTION), "why": _word("correction")})
        .rename({"rate_id": "tax_rate"})
    )
    charged = lines.filter(pl.col("line").is_in(LINES))
    tax = pl.col("line") == "tax"
    levied = _rows(
        lines.filter(~pl.col("line").is_in(LINES)).drop("unit"),
        category=pl.when(tax).then(_word("Tax")).otherwise(_word("Adjustment")),
        frequency=_word("One-Time"),
        **dict.fromkeys(("billed", "cost", "effective"), pl.col("amount")),
    )
    left = pl.col("amount") - pl.col("amount_exact")
    rounding = _rows(
        charged.filter(left != 0).drop("unit", "tax_rate"),
        category=_word("Adjustment"),
        frequency=_word("One-Time"),
        **{"why": _word("correction rounding"), **dict.fromkeys(("billed", "cost", "effective"), left)},
    )
    return pl.concat([_by_record(page, charged), rounding, levied])


def _by_record(page: Page, lines: pl.DataFrame) -> pl.DataFrame:
    types = {
        name: DATASETS["corrections"].types[name]
        for name in ("date", "record_id", "rate_is", "quantity", "amount_exact")
    }
    records = _table(
        (row for row in page.corrections.rows if row["position"] is not None), {"position": pl.Int32, **types}
    ).rename({"rate_is": "rate_id", "amount_exact": "exact"})
    quantity, exact = pl.col("quantity"), pl.col("exact")
    # More of one and less of another on a day are two rows: each has a price then.
    signs = {"_more": quantity.fill_null(0).sign(), "_dearer": exact.cast(pl.Float64).sign()}  # ratio
    rows = (
        records.with_columns(**signs)
        .group_by("position", "date", "rate_id", *signs)
        .agg(quantity.sum(), exact.sum(), events=pl.col("record_id").is_not_null().sum().cast(pl.Int64))
        .join(lines.drop("tax_rate"), on="position")
        .filter((quantity != 0) | (exact != 0))
    )
    line, day = pl.col("line"), pl.col("date").is_not_null()
    product, texts = pl.col("products"), (pl.col("line") == "text") & (pl.col("events") > 0)
    priced = ~line.is_in(NO_QUANTITY) & (quantity != 0) & (quantity * exact.cast(pl.Float64) >= 0)  # ratio
    usage = priced & ~product
    counted = pl.when(texts).then(pl.col("events") * quantity.sign()).otherwise(quantity)
    return _rows(
        rows,
        category=pl.when(usage)
        .then(_word("Usage"))
        .when(priced)
        .then(_word("Purchase"))
        .otherwise(_word("Adjustment")),
        frequency=pl.when(priced & line.is_in((*HELD_LINES, "subscription")))
        .then(_word("Recurring"))
        .when(usage)
        .then(_word("Usage-Based"))
        .otherwise(_word("One-Time")),
        start=pl.when(day).then("date").otherwise("start"),
        end=pl.when(day).then(pl.col("date").dt.offset_by("1d")).otherwise("end"),
        quantity=pl.when(priced).then(quantity.abs()),
        consumed=pl.when(usage).then(counted),
        consumed_unit=pl.when(usage & texts).then(_word("message")).when(usage).then("unit"),
        unit=pl.when(priced).then("unit"),
        rate_id=pl.when(usage).then("rate_id"),
        billed=exact,
        cost=exact,
        effective=pl.when(priced & product).then(0).otherwise(exact),
    )


# ------------------------------------------------------------------------------------------------ products used up


def _fees(charged: pl.DataFrame) -> pl.DataFrame:
    """Each subscription's fee once more, as what was used of it: effective on the day it fell due, billed as a Purchase."""
    given_back = (pl.col("class") == CORRECTION).fill_null(False) & (pl.col("cost") < 0)
    return _rows(
        charged.filter(pl.col("line") == "subscription", pl.col("category") == "Purchase").drop("position"),
        category=_word("Usage"),
        consumed=pl.when(given_back).then(-pl.col("quantity")).otherwise(pl.col("quantity")),
        consumed_unit=pl.col("unit"),
        billed=pl.lit(0),
        effective=pl.col("cost"),
        why=_word("used"),
    )


def _credits(page: Page) -> pl.DataFrame:
    """What was used and what lapsed of each lot of credits: billed with the pack or the subscription that it came with."""
    names = ("start", "line", "quantity", "consumed", "cost", "known", "resource", "resource_type")
    rows = []
    for gone in lots.gone(page.ledger, page.details.prices):
        used = gone.credits if gone.line == lots.USED else 0
        resource, kind = (gone.subscription_id, "Subscription") if gone.allotment else (gone.lot, "Credit pack")
        rows.append((gone.day, gone.line, gone.credits, used, gone.value or 0, gone.value is not None,
                     resource and masked(resource), resource and kind))  # fmt: skip
    return _rows(
        pl.DataFrame(rows, schema={name: ROW[name] for name in names}, orient="row"),
        products=pl.lit(False),
        category=_word("Usage"),
        frequency=_word("Usage-Based"),
        end=pl.col("start").dt.offset_by("1d"),
        unit=_word("credit"),
        consumed_unit=_word("credit"),
        billed=pl.lit(0),
        effective=pl.col("cost"),
    )
