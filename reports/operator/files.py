"""The files beside the operator's page: every row of every table, also those the page has no room for."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from etl.operations import COMPARISONS, LOAD_STATES, Operations
from etl.schemas import KINDS, LINES, STATES, VERDICTS
from reports.files import package
from reports.naming import masked, presentable
from reports.operator.page import percent
from reports.tabular import Column, File, from_frame

DECIMALS = 2

_DATE = Column("date", "date", "UTC day")
_SOURCE = Column("source", "string", "source of the settings")
_ACCOUNT = (
    Column("account_id", "string", "the account, or 'unassigned'"),
    Column("account_name", "string", "its name; empty for an account nobody bills", False),
)
_WHEN = (
    Column("first_date", "date", "UTC day of the first of them"),
    Column("last_date", "date", "UTC day of the last of them"),
)
_FIX = Column("fix", "string", "what to do, with the command to run")


def make(o: Operations) -> tuple[File, ...]:
    """Every file of the month, the dictionary last."""
    names = o.accounts.select("account_id", account_name="name")
    made = [
        days(o),
        unrated(o, names),
        quarantine(o),
        unassigned(o, names),
        reconciliation(o),
        margin(o, names),
        accounts(o),
        *([corrections(o, names)] if o.corrections.height else []),
        *([revisions(o, names)] if o.revisions.height else []),
    ]
    return (*made, package(made, name=f"operations-{o.month}", title=f"Operations, {o.month} (UTC)"))


def days(o: Operations) -> File:
    columns = (
        _DATE,
        _SOURCE,
        Column("state", "string", "of the day", enum=LOAD_STATES),
        Column(
            "compared", "string", "with the provider's own totals; empty where nothing is loaded", False, COMPARISONS
        ),
        Column("records", "integer", "records read, whatever their outcome", False),
        Column("accepted", "integer", "of those, records that are billed", False),
        Column("excluded", "integer", "of those, records that are not billed by a rule", False),
        Column("quarantined", "integer", "of those, records held back", False),
        Column("unrated", "integer", "accepted records without a price", False),
        Column("pages", "integer", "pages or files read", False),
        Column("first_at", "datetime", "when the day was first loaded", False),
        Column("changed_at", "datetime", "when what is loaded last changed", False),
        Column("run_id", "string", "the run that changed it last", False),
        Column("totals", "integer", "totals held against the provider's", False),
        Column("explained", "integer", "of those, differences that prices still to come explain", False),
        Column("unexplained", "integer", "of those, differences nothing explains", False),
    )
    return _file("days.csv", "One row per day and source", columns, ("date", "source"), o.loads)


def unrated(o: Operations, names: pl.DataFrame) -> File:
    columns = (
        Column("reason", "string", "why there is no price"),
        Column("line", "string", "the charge line", enum=LINES),
        *_ACCOUNT,
        Column("by", "string", "charged by the record or by the month", enum=("record", "month")),
        Column("records", "integer", "charges without a price"),
        *_WHEN,
        Column("example", "string", "a record's id at the provider, or the name of a charge by the month", False),
        _FIX,
    )
    rows = _with_names(o.unrated, names)
    return _file(
        "unrated.csv", "One row per reason, line and account", columns, ("reason", "line", "account_id", "by"), rows
    )


def quarantine(o: Operations) -> File:
    columns = (
        Column("reason", "string", "why it is held back, codes joined by '; '"),
        _SOURCE,
        Column("kind", "string", "of record", enum=KINDS),
        Column("records", "integer", "records in quarantine"),
        *_WHEN,
        Column("example", "string", "the id of one of them at the provider"),
        _FIX,
    )
    return _file(
        "quarantine.csv", "One row per reason, source and kind", columns, ("reason", "source", "kind"), o.quarantine
    )


def unassigned(o: Operations, names: pl.DataFrame) -> File:
    columns = (
        *_ACCOUNT,
        Column("known", "boolean", "whether the account is billed for the month"),
        Column("records", "integer", "records no member and no shared inbox had"),
        Column("segments", "integer", "billed segments of the texts among them"),
        Column("charge", "number", "what they are charged, at full precision"),
        Column("currency", "string", "ISO 4217 code of the charge"),
    )
    return _file("unassigned.csv", "One row per account with usage of nobody in particular", columns,
                 ("account_id", "currency"), _with_names(o.unassigned, names))  # fmt: skip


def reconciliation(o: Operations) -> File:
    columns = (
        _DATE,
        _SOURCE,
        Column("provider_account", "string", "the provider's account"),
        Column("category", "string", "the provider's name for what is counted; categories overlap"),
        Column("count", "integer", "our records that have a provider price"),
        Column("ledger_count", "integer", "the provider's count", False),
        Column("quantity", "integer", "segments, messages or started minutes of those records"),
        Column("ledger_quantity", "integer", "the provider's billed quantity in usage_unit", False),
        Column("usage_unit", "string", "unit of ledger_quantity", False),
        Column("cost", "number", "what our records say they cost"),
        Column("ledger_cost", "number", "what the provider's total says", False),
        Column("ledger_fees", "number", "what its carrier-fee total says", False),
        Column("difference_apart", "number", "cost - ledger_cost: if a record's price has no carrier fee in it", False),
        Column(
            "difference_included", "number",
            "cost - ledger_cost - ledger_fees: if a record's price holds its carrier fee", False,
        ),
        Column("unpriced", "integer", "our records without a provider price yet"),
        Column("reading", "string", "which of the two fits", False, ("apart", "included")),
        Column("verdict", "string", "of the comparison", enum=VERDICTS),
        Column("why", "string", "what differs, or explains it", False),
    )  # fmt: skip
    apart = pl.col("cost") - pl.col("ledger_cost")
    rows = o.reconciled.with_columns(
        difference_apart=apart, difference_included=apart - pl.col("ledger_fees").fill_null(0)
    ).sort("date", "source", "provider_account", "category")
    return _file("reconciliation.csv", "One row per total held against the provider's", columns,
                 ("date", "source", "provider_account", "category"), rows)  # fmt: skip


def margin(o: Operations, names: pl.DataFrame) -> File:
    columns = (
        *_ACCOUNT,
        Column("known", "boolean", "whether the account is billed for the month"),
        Column("currency", "string", "ISO 4217 code of charged, products and margin"),
        Column("charged", "number", "charges before taxes, without products", False),
        Column("products", "number", "subscriptions and credit packs before taxes; in no margin", False),
        Column("provider_currency", "string", "ISO 4217 code of provider_cost"),
        Column("provider_cost", "number", "what the provider says its records cost, where it has said so"),
        Column(
            "margin",
            "number",
            "charged less cost on records: charged - provider_cost; empty where the currencies differ",
            False,
        ),
        Column("margin_percent", "number", "of charged", False),
        Column("unpriced", "integer", "records without a provider price yet: in the cost they count as nothing", False),
    )
    share = [percent(part, whole) for part, whole in o.margin.select("margin", "charged").iter_rows()]
    rows = _with_names(o.margin, names).with_columns(margin_percent=pl.Series(share, dtype=pl.Decimal(18, 2)))
    return _file("margin.csv", "One row per account and currency of its cost", columns,
                 ("account_id", "provider_currency"), rows)  # fmt: skip


def accounts(o: Operations) -> File:
    columns = (
        *_ACCOUNT,
        Column("state", "string", "of its month", enum=STATES),
        Column("revision", "integer", "0 until the month is closed"),
        Column("closed_at", "datetime", "when it was closed", False),
        Column("currency", "string", "ISO 4217 code of the totals"),
        Column("total", "number", "of its statement", False),
        Column("total_now", "number", "what the newest figures come to", False),
        Column("held", "string", "what holds it, sentences joined by ' | '", False),
    )
    rows = o.accounts.rename({"name": "account_name"}).with_columns(pl.col("held").list.join(" | "))
    return _file("accounts.csv", "One row per account", columns, ("account_id",), rows)


def corrections(o: Operations, names: pl.DataFrame) -> File:
    columns = (
        *_ACCOUNT,
        Column("for_month", "string", "the closed month corrected"),
        Column("currency", "string", "ISO 4217 code of the amounts"),
        Column("amount", "number", "booked in this month's total: more (+) or less (-) than billed"),
        Column("products", "number", "booked among this month's products, which are paid apart"),
        Column("records", "integer", "records behind them, each counted once"),
        Column("reasons", "string", "why, with the number of records"),
    )
    return _file("corrections.csv", "One row per account and closed month that this month corrects", columns,
                 ("account_id", "for_month", "currency"), _with_names(o.corrections, names))  # fmt: skip


def revisions(o: Operations, names: pl.DataFrame) -> File:
    columns = (
        *_ACCOUNT,
        Column("revision", "integer", "the revision made"),
        Column("replaces", "integer", "the revision before it, which stays"),
        Column("reason", "string", "the reason given"),
        Column("run_id", "string", "the run that made it"),
        Column("closed_at", "datetime", "when it was made"),
    )
    return _file("revisions.csv", "One row per closed month of an account that was opened again", columns,
                 ("account_id", "revision"), _with_names(o.revisions, names))  # fmt: skip


def _file(name: str, what: str, columns: tuple[Column, ...], key: tuple[str, ...], rows: pl.DataFrame) -> File:
    return from_frame(name, what, columns, key, _hidden(rows), DECIMALS)


def _hidden(rows: pl.DataFrame) -> pl.DataFrame:
    """No phone number in a name, an id or a sentence. These frames are as long as a page's tables."""
    names = ("account_name", "example", "provider_account", "reason", "why", "run_id")
    changes = {**dict.fromkeys(names, presentable), "held": masked, "fix": masked}
    return rows.with_columns(
        pl.Series(column, _each(rows[column], change), pl.String)
        for column, change in changes.items()
        if column in rows.columns
    )


def _each(values: Iterable[str | None], change) -> list[str | None]:
    return [None if value is None else change(value) for value in values]


def _with_names(rows: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    return rows.join(names, on="account_id", how="left", maintain_order="left")
