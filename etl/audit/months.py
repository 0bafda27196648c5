"""The invariants of one month: its statements and its credits ledger. Pure: frames in, what is broken out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import polars as pl

from etl.audit.invariants import Result, broken
from etl.money import rounded
from etl.schemas import HELD_LINES, PARTS, PRODUCT_LINES

_BILL = ["account_id", "currency"]
STATE_AGAIN = "bring the statements up to date with python -m etl run for a day of the month"


def rounded_once(lines: pl.DataFrame, where: str) -> Iterator[Result]:
    """The amount of each line of usage and products is its exact amount, half-up to the currency's minor unit."""
    due = rounded(pl.col("amount_exact"), pl.col("currency"))
    wrong = lines.filter(pl.col("section").is_in(["usage", "product"]), pl.col("amount") != due)
    for account in wrong["account_id"].unique().sort():
        count = wrong.filter(pl.col("account_id") == account).height
        yield broken(
            "rounded once", f"{where}/account={account}", f"has {count} line(s) rounded otherwise", STATE_AGAIN
        )


def totals(lines: pl.DataFrame, where: str) -> Iterator[Result]:
    """usage + tax + rounding + correction is the total and the products are theirs, for each account and currency."""
    for total, parts in PARTS.items():
        said, added = (
            lines.filter(pl.col("section").is_in(sections)).group_by(_BILL).agg(pl.col("amount").sum())
            for sections in ([total], list(parts))
        )
        yield from _compared(said, added, "amount", where, f"a {total}", "its lines add up to")


def sums(lines: pl.DataFrame, daily: pl.DataFrame, monthly: pl.DataFrame, where: str) -> Iterator[Result]:
    """Usage is what the days and the month charge, products what the month charges for them; exactly, per account and
    currency. An account of no statement is none of this one's."""
    stated = lines.select("account_id").unique()
    days = daily.filter(~pl.col("line").is_in(HELD_LINES)).select(*_BILL, "charge", section=pl.lit("usage"))
    product = pl.col("line").is_in(PRODUCT_LINES)
    section = pl.when(product).then(pl.lit("product")).otherwise(pl.lit("usage"))
    due = pl.concat([days, monthly.select(*_BILL, "charge", section=section)]).join(stated, on="account_id", how="semi")
    for name in ("usage", "product"):
        said, charged = (
            frame.filter(pl.col("section") == name).group_by(_BILL).agg(amount_exact=pl.col(column).sum())
            for frame, column in ((lines, "amount_exact"), (due, "charge"))
        )
        yield from _compared(said, charged, "amount_exact", where, name, "its days and its month charge")


def _compared(said: pl.DataFrame, due: pl.DataFrame, column: str, where: str, what: str, verb: str) -> Iterator[Result]:
    both = said.join(due, on=_BILL, how="full", coalesce=True, suffix="_due").with_columns(
        pl.col(column, f"{column}_due").fill_null(0)
    )
    for row in both.filter(pl.col(column) != pl.col(f"{column}_due")).sort(_BILL).iter_rows(named=True):
        finding = f"states {what} of {row[column]} {row['currency']}, {verb} {row[f'{column}_due']}"
        yield broken("lines add up", f"{where}/account={row['account_id']}", finding, STATE_AGAIN)


def stated(lines: pl.DataFrame, customers: Iterable[str], where: str) -> Iterator[Result]:
    """Every customer of the month has a total, also one without usage."""
    for account in sorted(set(customers) - set(lines.filter(pl.col("section") == "total")["account_id"])):
        yield broken("complete", f"{where}/account={account}", "has no total on any statement", STATE_AGAIN)


def balances(ledger: pl.DataFrame, where: str) -> Iterator[Result]:
    """After every row the balance is what was added less what was taken, of the allotment and of what was bought, and
    neither falls below zero; what a row takes never exceeds its lot."""
    moved = pl.when(pl.col("entry") != "overage").then("credits").otherwise(0)
    allotment = pl.col("lot") == "allotment"
    rows = (
        ledger.sort("account_id", "position")
        .with_columns(_moved=moved)
        .with_columns(
            _allotment=pl.when(allotment).then("_moved").otherwise(0).cum_sum().over("account_id"),
            _purchased=pl.when(~allotment).then("_moved").otherwise(0).cum_sum().over("account_id"),
            _lot=pl.col("_moved").cum_sum().over("account_id", "lot"),
        )
    )
    wrong = rows.filter(
        (pl.col("_allotment") != pl.col("balance_allotment"))
        | (pl.col("_purchased") != pl.col("balance_purchased"))
        | (pl.col("_lot") < 0)
    )
    for account in wrong["account_id"].unique().sort():
        first = wrong.filter(pl.col("account_id") == account).row(0, named=True)
        finding = (
            f"has a balance of {first['balance_allotment']} + {first['balance_purchased']} credits after row "
            f"{first['position']}, its rows add up to {first['_allotment']} + {first['_purchased']}"
        )
        yield broken("credits balance", f"{where}/account={account}", finding, STATE_AGAIN)


def carried(before: pl.DataFrame, ledger: pl.DataFrame, where: str) -> Iterator[Result]:
    """What each lot opens with is what the month before left of it."""
    key = ["account_id", "lot"]
    left, opened = (
        f.filter(rows).group_by(key).agg(pl.col("credits").sum())
        for f, rows in ((before, pl.col("entry") != "overage"), (ledger, pl.col("entry") == "open"))
    )
    both = left.join(opened, on=key, how="full", coalesce=True, suffix="_opened").with_columns(
        pl.col("credits", "credits_opened").fill_null(0)
    )
    wrong = both.filter(pl.col("credits") != pl.col("credits_opened")).sort(key)
    for row in wrong.unique("account_id", keep="first", maintain_order=True).iter_rows(named=True):
        finding = f"opens {row['lot']} with {row['credits_opened']} credits, the month before left {row['credits']}"
        yield broken("credits balance", f"{where}/account={row['account_id']}", finding, STATE_AGAIN)


def priced(monthly: pl.DataFrame, where: str) -> Iterator[Result]:
    """What is charged by the month has an amount or a reason."""
    silent = monthly.filter(pl.col("charge").is_null(), pl.col("unrated").is_null())
    for account in silent["account_id"].unique().sort():
        finding = "has charges by the month without an amount or a reason"
        yield broken("no price is never zero", f"{where}/account={account}", finding, STATE_AGAIN)
