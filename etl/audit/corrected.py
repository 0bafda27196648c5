"""Closed months and their corrections: what a month was closed with and everything booked for it since is what stands now."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from etl.audit.invariants import Result, broken
from etl.corrections import BOOKED, LINE, SECTIONS, booked_lines, changed_lines
from etl.lake import Lake, Partition
from etl.manifests import closings, rows, rows_as_closed
from etl.periods import Month
from etl.schemas import DATASETS

CORRECTED = "closed and corrected"


def booked(lake: Lake, month: Month, where: str) -> Iterator[Result]:
    """closed with + booked = as it stands, line by line to the cent, for each account that closed the month."""
    manifests = closings(lake, month)
    head = lake.head(Partition.of("statement", month=str(month)))
    if not manifests or head is None:
        return
    later, open_after, stated = _after(lake, month, set(manifests))
    owed = changed_lines(rows_as_closed(lake, manifests, "statement"), rows(lake, head, manifests), later, str(month))
    by_account = owed.group_by("account_id", "currency").agg(pl.col("amount").sum(), lines=pl.len()).sort("account_id")
    # One row per account that is owed something.
    for row in by_account.iter_rows(named=True):
        account = row["account_id"]
        billed = pl.col("account_id") == account, pl.col("section") == "total", pl.col("currency") == row["currency"]
        if account in open_after and stated[open_after[account]].filter(billed).height:
            remedy = f"python -m etl run for a day of {open_after[account]} books it"
        else:
            remedy = (
                f"no open month of {account} in {row['currency']} can book it (load the next month first; an account that left "
                f"stays in accounts.csv): python -m etl reopen --month {month} --account {account} --reason …"
            )
        finding = f"differs by {row['amount']} {row['currency']} in {row['lines']} line(s) that no later month books"
        yield broken(CORRECTED, f"{where}/account={account}", finding, remedy)


def told_by_record(lines: pl.DataFrame, corrections: pl.DataFrame, where: str) -> Iterator[Result]:
    """Each correction line of `schemas.Statement` is the sum of its `schemas.Corrections`, in quantity and exact amount."""
    key, sums = [*LINE, "for_month"], ("quantity", "amount_exact")
    signed = [booked_lines(lines).select(*key, *sums), corrections.select(*key, *(-pl.col(c) for c in sums))]
    wrong = pl.concat(signed).group_by(key).agg(pl.col(sums).sum()).filter(pl.any_horizontal(pl.col(sums) != 0))
    for account, found in wrong.sort(key, nulls_last=True).group_by("account_id", maintain_order=True):
        finding = f"has {found.height} correction line(s), first {found['line'][0]} of {found['for_month'][0]}, that its records do not add up to"  # fmt: skip
        yield broken(
            CORRECTED,
            f"{where}/account={account[0]}",
            finding,
            "python -m etl run for a day of the month books them again",
        )


def _after(
    lake: Lake, month: Month, accounts: set[str]
) -> tuple[pl.DataFrame, dict[str, Month], dict[Month, pl.DataFrame]]:
    """(correction lines of all months after, account → its first open month, what stands there): of closed months as they
    were closed."""
    heads = {Month.parse(p["month"]): v for p, v in lake.heads("statement").items()}
    found, open_after, stated = [], {}, {}
    waiting = set(accounts)
    for later in sorted(m for m in heads if m > month):
        manifests = {a: m for a, m in closings(lake, later).items() if a in waiting}
        first_open = sorted(waiting - set(manifests))
        open_after |= dict.fromkeys(first_open, later)
        found.append(rows_as_closed(lake, manifests, "statement", BOOKED))
        if first_open:
            stated[later] = rows(lake, heads[later], first_open)
            found.append(stated[later])
        waiting -= set(first_open)
    lines = pl.concat([DATASETS["statement"].empty(), *found])
    return lines.filter(pl.col("section").is_in(list(SECTIONS))), open_after, stated
