"""What accounts bought, and what is due when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from etl.money import MONEY
from etl.periods import Month, anniversary


@dataclass(frozen=True)
class Products:
    """The four files, checked: their columns, Date, Datetime(us, UTC), Decimal(18, 9), Int64 and Boolean, by id; an
    absent file has no rows. ``quantity`` is never null."""

    plans: pl.DataFrame
    subscriptions: pl.DataFrame
    purchases: pl.DataFrame
    adjustments: pl.DataFrame
    fingerprint: str

    def allotments(self) -> pl.DataFrame:
        """What the credits ledger keeps to: one row per subscription with credits or recharges and version of its
        plan, in order. An account has one such subscription at a time.

        subscription_id, account_id, anchor, ended_on (null: runs), allotment (credits a month, quantity counted in),
        valid_from and valid_to (of the version; null = open), recharge_below, recharge_credits, recharge_price,
        recharges.
        """
        versions = self.subscriptions.join(self.plans, on="plan_id").filter(
            (
                pl.col("valid_from").is_null()
                | pl.col("ended_on").is_null()
                | (pl.col("valid_from") < pl.col("ended_on"))
            )
            & (pl.col("valid_to").is_null() | (pl.col("valid_to") > pl.col("anchor")))
        )
        counts = (pl.col("credits") > 0).any().over("subscription_id") | pl.col("recharges").is_not_null()
        return (
            versions.filter(counts)
            .select(
                "subscription_id", "account_id", "anchor", "ended_on",
                (pl.col("credits") * pl.col("quantity")).alias("allotment"), "valid_from", "valid_to",
                "recharge_below", "recharge_credits", "recharge_price", "recharges",
            )
            .sort("account_id", "anchor", "subscription_id", pl.col("valid_from").fill_null(date.min))
        )  # fmt: skip

    def fees(self, month: Month) -> pl.DataFrame:
        """Subscription fees due in a UTC month, in advance, on the anniversary of the anchor; a yearly plan's in the
        anchor's month only; none before the anchor, none from ended_on.

        account_id, subscription_id, plan_id, name, date, quantity, price (of one, by the plan's version in force on
        date; null when there is none, which is never free), currency.
        """
        versions = _versions(self.plans)
        types = {"account_id": pl.String, "subscription_id": pl.String, "plan_id": pl.String, "name": pl.String} | {
            "date": pl.Date, "quantity": pl.Int64, "price": MONEY, "currency": pl.String,
        }  # fmt: skip
        rows = []
        for row in self.subscriptions.iter_rows(named=True):
            every = versions[row["plan_id"]]
            due = _due(row["anchor"], row["ended_on"], every[-1]["interval"], month)
            if due is None:
                continue
            version = next((v for v in every if _is_in_force(v, due)), every[-1] | {"price": None})
            rows.append(row | version | {"date": due})
        return pl.DataFrame([[row[c] for c in types] for row in rows], schema=types, orient="row").sort(
            "account_id", "subscription_id"
        )

    def packs(self, month: Month) -> pl.DataFrame:
        """Packs and recharges bought in a UTC month: account_id, purchase_id, kind, bought_at, credits, price,
        currency. Goodwill has no price and is none of them."""
        return self.purchases.filter(
            pl.col("price").is_not_null()
            & pl.col("bought_at").dt.date().is_between(month.first, month.end, closed="left")
        ).select("account_id", "purchase_id", "kind", "bought_at", "credits", "price", "currency")

    def adjustments_of(self, month: Month) -> pl.DataFrame:
        """Adjustments of a UTC month: account_id, adjustment_id, date, amount, currency, taxable, reason."""
        return self.adjustments.filter(pl.col("date").is_between(month.first, month.end, closed="left")).select(
            "account_id", "adjustment_id", "date", "amount", "currency", "taxable", "reason"
        )


def _versions(plans: pl.DataFrame) -> dict[str, list[dict]]:
    """The rows of each plan, oldest first; name, currency, price, interval, valid_from, valid_to."""
    found: dict[str, list[dict]] = {}
    for row in plans.drop("credits").iter_rows(named=True):
        found.setdefault(row.pop("plan_id"), []).append(row)
    return found


def _is_in_force(version: Mapping, day: date) -> bool:
    return (version["valid_from"] or date.min) <= day < (version["valid_to"] or date.max)


def _due(anchor: date, ended_on: date | None, interval: str, month: Month) -> date | None:
    """The day of the month on which a fee is due, if one is."""
    elapsed = (month.year - anchor.year) * 12 + month.number - anchor.month
    if elapsed < 0 or (interval == "year" and elapsed % 12):
        return None
    day = anniversary(anchor, elapsed)
    return day if day < (ended_on or date.max) else None
