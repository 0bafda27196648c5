"""What is charged by the month and not by the event → `schemas.Monthly` (mission rules 8 and 9).

Numbers owned, recordings stored, credits beyond every lot, what a tier ladder makes of the month, adjustments, and the
products an account bought. Pure: frames in, frames out.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from etl.money import MONEY, check_products, from_nanos, nanos, times
from etl.periods import Month
from etl.prefixes import find
from etl.rating.card import PRICE_KEY, RateCard, in_force
from etl.rating.charge import NO_ACCOUNT, NO_PRICE
from etl.schemas import DATASETS, UNASSIGNED

OWN_PRICE = "numbers.csv"
"""The rate of a number that has its own price in the directory."""

_OWNER = ("account_id", "owner_kind", "owner_id", "campaign_id")
STORED = (*_OWNER, "minutes")
"""The columns of `schemas.Holdings` that storage is charged by."""


# ------------------------------------------------------------------------------------------------ what is held


def held(previous: pl.DataFrame, recordings: pl.DataFrame, month: Month) -> pl.DataFrame:
    """Last month's `schemas.Holdings` and this month's recordings → this month's: each recording that was stored at some
    moment of it.

    ``recordings``: charges of kind recording with ``date`` and ``source``. One deleted before the month began is gone,
    and so is one that the provider listed no more when its day was read again: it forgets what is deleted for long.
    """
    own = recordings.select(
        "source", "record_id", *_OWNER, "held_until", "vanished", minutes="quantity", recorded_on="date"
    )  # fmt: skip
    begins = datetime.combine(month.first, time(), UTC)
    stored = (pl.col("held_until").is_null() & ~pl.col("vanished")) | (pl.col("held_until") > begins)
    kept = previous.filter(stored).join(own, on=["source", "record_id"], how="anti")
    columns = DATASETS["holdings"].columns
    return DATASETS["holdings"].arrange(pl.concat([kept.select(columns), own.select(columns)]))


def number_days(listed: pl.DataFrame, register: pl.DataFrame) -> pl.DataFrame:
    """Days on which a number was owned: what the provider listed, and what numbers.csv says.

    ``listed``: date, number_e164, account_id, owner_kind, owner_id, campaign_id. ``register``:
    `Directory.owned_numbers`. → those columns plus number_class and monthly_price, one row per number and day; of a
    number in both the register names the owner.
    """
    columns = ["date", "number_e164", *_OWNER, "number_class", "monthly_price"]
    by_day = (
        register.with_columns(date=pl.date_ranges("valid_from", "valid_to", closed="left"))
        .explode("date")
        .drop_nulls("date")
        .select(columns)
    )
    # A provider lists only what is owned today, so a past day read later lacks what was released since.
    only_listed = (
        listed.unique(subset=["date", "number_e164"], keep="first", maintain_order=True)
        .join(by_day, on=["date", "number_e164"], how="anti")
        .with_columns(number_class=pl.lit(None, pl.String), monthly_price=pl.lit(None, MONEY))
    )
    return pl.concat([by_day, only_listed.select(columns)])


# ------------------------------------------------------------------------------------------------ lines


def numbers(
    owned: pl.DataFrame, card: RateCard, accounts: pl.DataFrame, month: Month, until: date, billing: str
) -> pl.DataFrame:
    """`number_days` → the number lines: at month end (of an open month: on the last day loaded, ``until`` - 1) at each
    number's own price, or by days owned, half-up once per number, owner and price."""
    if billing == "month_end":
        last = until - timedelta(days=1)
        counted = owned.filter(pl.col("date") == last).with_columns(date=pl.lit(month.days[-1]))
    else:
        counted = owned
    priced = (
        price(counted.with_columns(line=pl.lit("number")), card, accounts, number="number_e164")
        .with_columns(monthly_price=pl.when(~pl.col("no_account")).then("monthly_price"))
        .with_columns(
            unit_price=pl.coalesce("monthly_price", "unit_price"),
            rate_id=pl.when(pl.col("monthly_price").is_not_null()).then(pl.lit(OWN_PRICE)).otherwise("rate_id"),
        )
        .group_by("number_e164", *_OWNER, "line", "number_class", "currency", "rate_id", "unit_price", "no_account")
        .agg(days=pl.len().cast(pl.Int64), date=pl.col("date").max())
        # A number that changed hands or price inside the month is several amounts and one number.
        .with_columns(last=pl.col("date") == pl.col("date").max().over("number_e164", "account_id"))
    )
    per = len(month.days)
    share = pl.lit(per, pl.Int64) if billing == "month_end" else pl.col("days")
    amounts = _amounts(priced, share, per=per).with_columns(
        days=pl.lit(None, pl.Int64) if billing == "month_end" else pl.col("days"), date=pl.lit(month.days[-1])
    )
    return _monthly(
        amounts.group_by(
            *_OWNER, "line", "number_class", "currency", "rate_id", "unit_price", "no_account", "days", "date"
        )
        .agg(quantity=pl.col("last").sum().cast(pl.Int64), _units=_sum_or_null("_units"))
        .with_columns(item="number_class", unit=pl.lit("number"))
    )


def storage(holdings: pl.DataFrame, card: RateCard, accounts: pl.DataFrame, month: Month) -> pl.DataFrame:
    """`schemas.Holdings` → the storage lines: every stored minute, at the price of the month's last day."""
    stored = holdings.group_by(_OWNER).agg(quantity=pl.col("minutes").sum())
    rows = stored.with_columns(
        line=pl.lit("recording_storage"), unit=pl.lit("stored minute"), date=pl.lit(month.days[-1])
    )
    return _by_quantity(rows, card, accounts)


def overage(ledger: pl.DataFrame, card: RateCard, accounts: pl.DataFrame) -> pl.DataFrame:
    """`schemas.Credits` → the overage lines: credits no lot covered, at the price of their day."""
    beyond = (
        ledger.filter(pl.col("entry") == "overage").group_by("account_id", "date").agg(quantity=pl.col("credits").sum())
    )
    return _by_quantity(
        _of_account(beyond).with_columns(line=pl.lit("credit_overage"), unit=pl.lit("credit")), card, accounts
    )


def tiered(adjustments: pl.DataFrame, daily: pl.DataFrame, card: RateCard, month: Month) -> pl.DataFrame:
    """`tiers.adjustments` → one line per account and ladder: what the ladder makes of the month, less the list price.

    Unrated where the list price is not what ``daily`` (`schemas.Daily`) charged: the days were rated with another card.
    """
    rows = card.prices.filter(pl.col("tier_id").is_not_null()).select("rate_id", "tier_id", "connection_fee")
    charged = (
        daily.join(rows, on="rate_id", how="inner")
        .group_by("account_id", "tier_id")
        .agg(pl.col("charge").sum(), pl.col("events").sum(), plain=(pl.col("connection_fee").fill_null(0) == 0).all())
    )
    known = adjustments.join(charged, on=["account_id", "tier_id"], how="left", suffix="_list")
    # Each event was rounded to a billionth, the list amount once per price row: less than one apart an event.
    apart = (nanos(pl.col("list_amount")) - nanos(pl.col("charge_list"))).abs() > pl.col("events")
    return _monthly(
        _of_account(known).with_columns(
            pl.when(~(apart & pl.col("plain")).fill_null(False)).then(nanos(pl.col("charge"))).alias("_units"),
            line=pl.lit("tier_adjustment"),
            item="lines",
            date=pl.lit(month.days[-1]),
            quantity=pl.lit(1, pl.Int64),
            unit=pl.lit("adjustment"),
            rate_id="tier_id",
        )
    )


def adjusted(adjustments: pl.DataFrame) -> pl.DataFrame:
    """`Products.adjustments_of` → one line each; a refund is negative."""
    return _monthly(
        _of_account(adjustments).with_columns(
            pl.col("amount").pipe(nanos).alias("_units"),
            line=pl.lit("adjustment"),
            item="reason",
            quantity=pl.lit(1, pl.Int64),
            unit=pl.lit("adjustment"),
            rate_id="adjustment_id",
        )
    )


def products(fees: pl.DataFrame, packs: pl.DataFrame, ledger: pl.DataFrame, terms: pl.DataFrame) -> pl.DataFrame:
    """What an account bought in the month: subscription fees (`Products.fees`), packs (`Products.packs`), and the
    recharges we simulated (`schemas.Credits`), at the price of the subscription's ``terms`` (`Products.allotments`)."""
    subscriptions = _of_account(fees).with_columns(
        _units=times(nanos(pl.col("price")), pl.col("quantity")),
        line=pl.lit("subscription"),
        item="name",
        unit=pl.lit("subscription"),
        rate_id="subscription_id",
        unit_price="price",
    )
    bought = _of_account(packs).with_columns(
        _units=nanos(pl.col("price")),
        line=pl.lit("credit_pack"),
        item=pl.col("credits").cast(pl.String) + pl.lit(" credits, ") + pl.col("kind"),
        date=pl.col("bought_at").dt.date(),
        quantity=pl.lit(1, pl.Int64),
        unit=pl.lit("pack"),
        rate_id="purchase_id",
        unit_price="price",
    )
    prices = terms.select(
        "subscription_id", "recharge_credits", unit_price="recharge_price"
    ).unique("subscription_id", keep="last", maintain_order=True)  # fmt: skip
    recharged = _of_account(
        ledger.filter((pl.col("entry") == "recharge") & pl.col("simulated"))
        .group_by("account_id", "date", "subscription_id")
        .agg(pl.col("credits").sum())
        .join(prices, on="subscription_id", how="left")
    ).with_columns(
        quantity=pl.col("credits") // pl.col("recharge_credits"),
        line=pl.lit("credit_pack"),
        item=pl.col("recharge_credits").cast(pl.String) + pl.lit(" credits, recharge (simulated)"),
        unit=pl.lit("pack"),
        rate_id="subscription_id",
    ).with_columns(_units=times(nanos(pl.col("unit_price")), pl.col("quantity")))  # fmt: skip
    return pl.concat([_monthly(f) for f in (subscriptions, bought, recharged)])


def monthly(parts: list[pl.DataFrame], accounts: pl.DataFrame, default_currency: str) -> pl.DataFrame:
    """The lines above together, in the order and with the checks of `schemas.Monthly`. ``accounts``: account_id,
    currency; a line without a currency has its account's."""
    named = accounts.select("account_id", _currency="currency")
    every = pl.concat(parts).join(named, on="account_id", how="left", maintain_order="left")
    currency = pl.coalesce("currency", "_currency", pl.lit(default_currency))
    return DATASETS["monthly"].arrange(every.with_columns(currency=currency))


# ------------------------------------------------------------------------------------------------ inside


def price(rows: pl.DataFrame, card: RateCard, accounts: pl.DataFrame, *, number: str | None = None) -> pl.DataFrame:
    """``rows`` with line, account_id and date → plus currency, rate_id, unit_price, no_account: the row of the rate card in
    force on each date. ``accounts``: account_id, currency, rate_card; ``number``: the column whose prefix counts."""
    absent = [c for c in ("direction", "type", "number_class") if c not in rows.columns]
    known = rows.join(accounts.select("account_id", "currency", "rate_card"), on="account_id", how="left").with_columns(
        *(pl.lit(None, pl.String).alias(c) for c in absent),
        _number=pl.lit(None, pl.String) if number is None else pl.col(number),
        no_account=pl.col("rate_card").is_null(),
    )
    lines = card.prices.filter(pl.col("line").is_in(rows["line"].unique().implode()))
    parts = [known.clear().with_columns(rate_id=pl.lit(None, pl.String), unit_price=pl.lit(None, MONEY))]
    for start, end in _eras(lines, known["date"]):
        inside = known.filter(pl.col("date").is_between(start, end, closed="left"))
        prices = in_force(lines, start, PRICE_KEY)
        found = find(
            inside, prices, id_column="rate_id", exact=("rate_card", "line", "currency"),
            wild=("direction", "type", "number_class"), number="_number",
        )  # fmt: skip
        terms = prices.select("rate_id", unit_price="price")
        parts.append(inside.with_columns(found).join(terms, on="rate_id", how="left", maintain_order="left"))
    return pl.concat(parts).drop(*absent, "_number", "rate_card")


def _eras(prices: pl.DataFrame, dates: pl.Series) -> list[tuple[date, date]]:
    """Stretches of the dates' range in which the same rows are in force."""
    if not len(dates):
        return []
    first, end = dates.min(), dates.max() + timedelta(days=1)
    changes = {d for d in (*prices["valid_from"], *prices["valid_to"]) if d is not None and first < d < end}
    cuts = [first, *sorted(changes), end]
    return list(zip(cuts, cuts[1:], strict=False))


def _by_quantity(rows: pl.DataFrame, card: RateCard, accounts: pl.DataFrame) -> pl.DataFrame:
    return _monthly(_amounts(price(rows, card, accounts), pl.col("quantity")))


def _amounts(priced: pl.DataFrame, quantity: pl.Expr, per: int = 1) -> pl.DataFrame:
    """Adds ``_units``: unit_price × quantity / per in nanos, half-up once; OutOfRange if it does not fit."""
    operands = priced.with_columns(_price=nanos(pl.col("unit_price")), _quantity=quantity)
    with_units = operands.with_columns(_units=times(pl.col("_price"), pl.col("_quantity"), per=per))
    return check_products(with_units, "_units", "_price", "_quantity", key="account_id").drop("_price", "_quantity")


def _sum_or_null(column: str) -> pl.Expr:
    """A sum that stays null when one of its parts is: no price is never zero."""
    return pl.when(pl.col(column).is_null().any()).then(None).otherwise(pl.col(column).sum())


def _of_account(rows: pl.DataFrame) -> pl.DataFrame:
    """What belongs to the account as a whole, and to nobody in it."""
    return rows.with_columns(
        owner_kind=pl.lit(UNASSIGNED), owner_id=pl.lit(UNASSIGNED), campaign_id=pl.lit(None, pl.String)
    )


def _monthly(rows: pl.DataFrame) -> pl.DataFrame:
    """``rows`` with ``_units`` (nanos, null when unrated) as `schemas.Monthly`, unsorted."""
    defaults = {
        "item": pl.lit(None, pl.String), "days": pl.lit(None, pl.Int64), "unit_price": pl.lit(None, MONEY),
        "currency": pl.lit(None, pl.String), "taxable": pl.lit(True), "no_account": pl.lit(False),
    }  # fmt: skip
    full = rows.with_columns(value.alias(name) for name, value in defaults.items() if name not in rows.columns)
    types = DATASETS["monthly"].types
    return full.with_columns(
        charge=from_nanos(pl.col("_units")),
        currency=pl.col("currency"),
        unrated=pl.when(pl.col("no_account"))
        .then(pl.lit(NO_ACCOUNT))
        .when(pl.col("_units").is_null())
        .then(pl.lit(NO_PRICE)),
    ).select(pl.col(name).cast(dtype) for name, dtype in types.items())
