"""A month as the people see it who run it: what is loaded, what is held back, what does not match, what is earned.

Pure functions from frames to frames, and `gather`, which reads the lake and changes nothing. Figures of events are
counted where they lie: only what a figure needs is read, and nothing of a text or a phone number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

import polars as pl

from etl import closing
from etl.closing import PRICED_LINES
from etl.directory import Account, Directory, account_terms
from etl.lake import Lake, Partition, Version, each
from etl.manifests import closings
from etl.money import MONEY
from etl.periods import Month, runs
from etl.rating.charge import NO_ACCOUNT, NO_DETECTION, NO_FEE, NO_PRICE
from etl.schemas import DATASETS, PRODUCT_LINES, REASONS, SECOND_LINES, UNASSIGNED
from etl.settings import Settings

MISSING, BEHIND, LATE, LOADED, AHEAD, BEFORE, NONE = (
    "missing", "behind", "late", "loaded", "to come", "before go-live", "not read",
)  # fmt: skip
LOAD_STATES = (MISSING, BEHIND, LATE, LOADED, AHEAD, BEFORE, NONE)
"""Of one day of one source, the worst first. ``behind``: loaded, and not all of it in the figures; ``late``: loaded more
than a day after its night; ``to come``: its night has not begun; ``not read``: the settings do not name the source."""

DIFFERS, NOT_COMPARED, EXPLAINED, NO_TOTALS, MATCHES = ("differs", "not compared", "explained", "no totals", "matches")
COMPARISONS = (DIFFERS, NOT_COMPARED, EXPLAINED, NO_TOTALS, MATCHES)
"""Of one day of one source with the provider's own totals, the worst first."""

LATE_AFTER = timedelta(days=1)
"""After the moment its night may begin: what is loaded for the first time later than that missed its night."""

_FIXES = {
    NO_PRICE: "add the price to prices.csv, then python -m etl rate --month {month}",
    NO_FEE: "add the fee to carrier_fees.csv, then python -m etl rate --month {month}",
    NO_DETECTION: "add a voice_detection price to prices.csv, then python -m etl rate --month {month}",
    NO_ACCOUNT: "complete accounts.csv and numbers.csv, then python -m etl rate --month {month}",
}
_REMEDIES = {
    "unknown_": "the provider says something new: give it its outcome in etl/sources",
    "bad_date": "usually healed by the next night, else ask the provider with the record id",
    "missing_date": "usually healed by the next night, else ask the provider with the record id",
    "missing_currency": "set currency in the source's settings, or ask the provider",
    "cost_has_currency": "set currency in the source's settings, or ask the provider",
    "foreign_account": "check the credentials, or provider_account of the source; it may be someone else's data",
    "bad_line": "correct or deliver the file again",
    "conflicting_versions": "correct the file",
    "provider_account": "set provider_account in the source's settings",
}
_REMEDY = "ask the provider with the record id (docs/sources.md)"
"""Of `docs/sources.md`, by how a reason begins. Afterwards the days are loaded again."""


CORRECTED = {
    "account_id": pl.String, "for_month": pl.String, "currency": pl.String, "amount": MONEY, "products": MONEY,
    "records": pl.Int64, "reasons": pl.String,
}  # fmt: skip
REVISED = {
    "account_id": pl.String, "revision": pl.Int64, "replaces": pl.Int64, "reason": pl.String, "run_id": pl.String,
    "closed_at": pl.Datetime("us", "UTC"),
}  # fmt: skip


@dataclass(frozen=True)
class Operations:
    """One month. Holds no message body and no phone number; ``example`` is a record id or the name of a charge.

    ``loads``       date, source, state, compared, records, accepted, excluded, quarantined, unrated, pages, first_at,
                    changed_at, run_id, totals, explained, unexplained: one row for every day of every source
    ``unrated``     reason, line, account_id, by (record | month), records, first_date, last_date, example, fix
    ``quarantine``  reason, source, kind, records, first_date, last_date, example, fix
    ``unassigned``  account_id, known, records, segments, charge, currency: usage of nobody in particular, and of nobody
    ``unpriced``    line, records, unpriced, oldest
    ``reconciled``  `schemas.Reconciled` with date and source
    ``money``       source, date, currency, cost, ledger_cost, ledger_fees, with_fees, apart, included
    ``margin``      account_id, known, currency, charged, products, provider_currency, provider_cost, margin, unpriced
    ``accounts``    account_id, name, state, revision, closed_at, currency, total, total_now, held
    ``corrections`` account_id, for_month, currency, amount, products, records, reasons: booked on statements of the month
    ``revisions``   account_id, revision, replaces, reason, run_id, closed_at: of the month, those that replaced another
    ``todo``        what needs doing, as sentences with the command to run, the most pressing first
    """

    month: Month
    now: datetime
    as_of: datetime | None
    through: date | None
    sources: tuple[str, ...]
    loads: pl.DataFrame
    unrated: pl.DataFrame
    quarantine: pl.DataFrame
    unassigned: pl.DataFrame
    unpriced: pl.DataFrame
    reconciled: pl.DataFrame
    money: pl.DataFrame
    margin: pl.DataFrame
    accounts: pl.DataFrame
    todo: tuple[str, ...]
    corrections: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CORRECTED))
    revisions: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=REVISED))


# ------------------------------------------------------------------------------------------------ loads


def loads(
    days: Sequence[date],
    sources: Iterable[str],
    logged: Mapping[str, pl.DataFrame],
    rolled: pl.DataFrame,
    reconciled: pl.DataFrame,
    behind: Iterable[date],
    *,
    start: date,
    due: date,
    settle: timedelta,
) -> pl.DataFrame:
    """Every day of every source with its state (`LOAD_STATES`) and its comparison (`COMPARISONS`).

    ``logged``: `entries` of raw, events and charges. ``rolled``: date, source that a roll-up contains. ``behind``: days
    whose roll-up does not hold the newest charges. ``start``: go-live. ``due``: the first day whose night has not begun; it
    begins ``settle`` after the day's end.
    """
    wanted = list(sources)
    found = pl.concat([frame["source"] for frame in logged.values()]).unique().to_list()
    grid = pl.DataFrame({"date": days}, schema={"date": pl.Date}).join(
        pl.DataFrame({"source": sorted({*wanted, *found})}, schema={"source": pl.String}), how="cross"
    )
    key = ["date", "source"]
    raw, events, charges = (
        logged[name].rename({c: f"{c}_{name}" for c in logged[name].columns if c not in key})
        for name in ("raw", "events", "charges")
    )
    known = (
        grid.join(raw, on=key, how="left")
        .join(events, on=key, how="left")
        .join(charges, on=key, how="left")
        .join(rolled.with_columns(rolled=True), on=key, how="left")
        .join(_verdicts(reconciled), on=key, how="left")
    )
    there = pl.col("rows_events").is_not_null() | pl.col("rows_raw").is_not_null()
    # A source that is rated and has nothing to add is in no roll-up's inputs.
    contained = pl.col("rolled").fill_null(False) | (pl.col("rows_charges") == 0).fill_null(False)
    first = pl.coalesce("first_at_raw", "first_at_events")
    night = pl.col("date").cast(pl.Datetime("us", "UTC")) + timedelta(days=1) + settle
    state = (
        pl.when(there & (~contained | pl.col("date").is_in(list(behind)))).then(pl.lit(BEHIND))
        .when(there & (first > night + LATE_AFTER)).then(pl.lit(LATE))
        .when(there).then(pl.lit(LOADED))
        .when(~pl.col("source").is_in(wanted)).then(pl.lit(NONE))
        .when(pl.col("date") < start).then(pl.lit(BEFORE))
        .when(pl.col("date") >= due).then(pl.lit(AHEAD))
        .otherwise(pl.lit(MISSING))
    )  # fmt: skip
    compared = (
        pl.when(~there).then(None)
        .when(pl.col("totals").is_null()).then(pl.lit(NOT_COMPARED))
        .when(pl.col("unexplained") > 0).then(pl.lit(DIFFERS))
        .when(pl.col("explained") > 0).then(pl.lit(EXPLAINED))
        .when(pl.col("ok") == 0).then(pl.lit(NO_TOTALS))
        .otherwise(pl.lit(MATCHES))
    )  # fmt: skip
    return known.select(
        *key, state=state, compared=compared, records="rows_events",
        accepted=pl.coalesce("accepted_events", "rows_charges"), excluded="excluded_events",
        quarantined="quarantined_events", unrated="unrated_charges", pages="rows_raw", first_at=first,
        changed_at=pl.coalesce("changed_at_raw", "changed_at_events"), run_id=pl.coalesce("run_id_raw", "run_id_events"),
        totals="totals", explained="explained", unexplained="unexplained",
    ).sort(key)  # fmt: skip


_COUNTED = ("accepted", "excluded", "quarantined", "unrated")


def entries(heads: Mapping[Partition, Version], first: Mapping[Partition, Version]) -> pl.DataFrame:
    """Log entries of one dataset → date, source, rows, first_at, changed_at, run_id, and the counts they recorded
    (null where they did not)."""
    rows = [
        (
            date.fromisoformat(p["date"]), p["source"], v.rows, _moment(first[p].recorded_at), _moment(v.recorded_at),
            v.run_id, *(int(v.sums[name]) if name in v.sums else None for name in _COUNTED),
        )
        for p, v in heads.items()
    ]  # fmt: skip
    at = pl.Datetime("us", "UTC")
    return pl.DataFrame(
        rows,
        schema={"date": pl.Date, "source": pl.String, "rows": pl.Int64, "first_at": at, "changed_at": at,
                "run_id": pl.String, **dict.fromkeys(_COUNTED, pl.Int64)},
        orient="row",
    )  # fmt: skip


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _verdicts(reconciled: pl.DataFrame) -> pl.DataFrame:
    """date, source, totals, ok, explained, unexplained: how many totals were compared, and how they came out."""
    of = {name: (pl.col("verdict") == name).sum().cast(pl.Int64) for name in ("ok", "explained", "unexplained")}
    return reconciled.group_by("date", "source").agg(totals=pl.len().cast(pl.Int64), **of)


# ------------------------------------------------------------------------------------------------ held back


def unrated(charges: pl.LazyFrame, monthly: pl.DataFrame, month: Month) -> pl.DataFrame:
    """`schemas.Charges` with date, and `schemas.Monthly` of the accounts billed → what has no price, by reason, line and
    account. A charge by the month counts as one."""
    key = ["unrated", "line", "account_id"]
    dates = {"first_date": pl.col("date").min(), "last_date": pl.col("date").max()}
    without = pl.col("unrated").is_not_null()
    counted = {"records": pl.len().cast(pl.Int64), **dates}
    by_record = (
        charges.select(*key, "date", "record_id")
        .filter(without)
        .group_by(key)
        .agg(**counted, example=pl.col("record_id").min())
        .collect()
    )
    by_month = monthly.filter(without).group_by(key).agg(**counted, example=pl.col("item").min())
    found = pl.concat([by_record.with_columns(by=pl.lit("record")), by_month.with_columns(by=pl.lit("month"))])
    fixes = {reason: fix.format(month=month) for reason, fix in _FIXES.items()}
    other = f"see the rate card, then python -m etl rate --month {month}"
    return found.select(
        pl.col("unrated").alias("reason"), "line", "account_id", "by", "records", "first_date", "last_date", "example",
        fix=pl.col("unrated").replace_strict(fixes, default=other, return_dtype=pl.String),
    ).sort("records", "reason", "line", "account_id", "by", descending=[True, False, False, False, False])  # fmt: skip


def quarantine(events: pl.LazyFrame) -> pl.DataFrame:
    """`schemas.Events` with date and source → the records in quarantine, by reason, source and kind."""
    found = (
        events.select("outcome", "reason", "source", "kind", "date", "record_id")
        .filter(pl.col("outcome") == "quarantined")
        .group_by("reason", "source", "kind")
        .agg(
            records=pl.len().cast(pl.Int64),
            first_date=pl.col("date").min(),
            last_date=pl.col("date").max(),
            example=pl.col("record_id").min(),
        )
        .collect()
    )
    remedy = pl.lit(_REMEDY)
    for start, one in _REMEDIES.items():
        remedy = pl.when(pl.col("reason").str.starts_with(start)).then(pl.lit(one)).otherwise(remedy)
    one_day = pl.col("first_date") == pl.col("last_date")
    window = (
        pl.when(one_day).then(pl.format("--date {}", "first_date"))
        .otherwise(pl.format("--from {} --to {}", "first_date", "last_date"))
    )  # fmt: skip
    return found.with_columns(fix=pl.format("{}, then python -m etl run {}", remedy, window)).sort(
        "records", "reason", "source", "kind", descending=[True, False, False, False]
    )


def unassigned(daily: pl.LazyFrame, accounts: Iterable[str]) -> pl.DataFrame:
    """`schemas.Daily` → usage no member and no inbox had, by account; and, ``known`` false, of accounts nobody bills."""
    known = pl.col("account_id").is_in(list(accounts))
    main = ~pl.col("line").is_in(SECOND_LINES)
    return (
        daily.select("account_id", "owner_kind", "line", "events", "segments", "charge", "currency")
        .filter(~known | (pl.col("owner_kind") == UNASSIGNED))
        .group_by("account_id", "currency")
        .agg(
            records=pl.col("events").filter(main).sum(),
            segments=pl.col("segments").sum(),
            charge=pl.col("charge").sum().cast(MONEY),
        )
        .with_columns(known=known)
        .select("account_id", "known", "records", "segments", "charge", "currency")
        .sort("known", "records", "account_id", "currency", descending=[False, True, False, False])
        .collect()
    )


def unpriced(daily: pl.LazyFrame) -> pl.DataFrame:
    """`schemas.Daily` with date → records, those the provider has not priced yet, and the oldest day of those, by line."""
    return (
        daily.select("line", "events", "unpriced", "date")
        .filter(pl.col("line").is_in(PRICED_LINES))
        .group_by("line")
        .agg(
            records=pl.col("events").sum(),
            unpriced=pl.col("unpriced").sum(),
            oldest=pl.col("date").filter(pl.col("unpriced") > 0).min(),
        )
        .sort("unpriced", "line", descending=[True, False])
        .collect()
    )


# ------------------------------------------------------------------------------------------------ money


def money(reconciled: pl.DataFrame, currencies: pl.DataFrame) -> pl.DataFrame:
    """`schemas.Reconciled` with date and source → by source and day what our records say they cost and what the provider's
    totals say. Whole categories only: a direction is a part of one, and no record carries the price of a failed text.

    ``with_fees`` totals have a carrier fee beside them; ``apart`` and ``included`` count those that fit each reading of it.
    ``currencies``: source, currency of the provider's totals. A source with several gets null: its sum means nothing.
    """
    whole = ~pl.col("category").str.contains(r"-(inbound|outbound)$|^failed-")
    said = reconciled.filter(whole, pl.col("ledger_cost").is_not_null())
    fee = pl.col("ledger_fees").fill_null(0) != 0
    single = currencies.drop_nulls().group_by("source").agg(pl.col("currency").unique())
    only = pl.when(pl.col("currency").list.len() == 1).then(pl.col("currency").list.first())
    return (
        said.group_by("source", "date")
        .agg(
            **{c: pl.col(c).sum().cast(MONEY) for c in ("cost", "ledger_cost", "ledger_fees")},
            with_fees=fee.sum().cast(pl.Int64),
            **{r: (fee & (pl.col("reading") == r)).sum().cast(pl.Int64) for r in ("apart", "included")},
        )
        .join(single.select("source", currency=only), on="source", how="left")
        .select("source", "date", "currency", "cost", "ledger_cost", "ledger_fees", "with_fees", "apart", "included")
        .sort("source", "date")
    )


def costs(charges: pl.LazyFrame) -> pl.DataFrame:
    """`schemas.Charges` → account_id, provider_currency, cost: what the provider says its records cost."""
    return (
        charges.select("account_id", "provider_currency", "provider_cost")
        # What costs nothing, such as a call nobody answered, is in no currency.
        .filter(
            pl.col("provider_cost").is_not_null(),
            (pl.col("provider_cost") != 0) | pl.col("provider_currency").is_not_null(),
        )
        .group_by("account_id", "provider_currency")
        .agg(cost=pl.col("provider_cost").sum().cast(MONEY))
        .collect()
    )


def charged(lines: pl.DataFrame) -> pl.DataFrame:
    """`schemas.Statement` → account_id, charged (before taxes, without products), products (before taxes), total."""
    amount = pl.col("amount")
    section = pl.col("section")
    return lines.group_by("account_id").agg(
        charged=amount.filter(section == "usage").sum().cast(MONEY),
        products=amount.filter((section == "product") & pl.col("line").is_in(PRODUCT_LINES)).sum().cast(MONEY),
        total=amount.filter(section == "total").sum().cast(MONEY),
    )


def margin(accounts: pl.DataFrame, charged: pl.DataFrame, costs: pl.DataFrame, waiting: pl.DataFrame) -> pl.DataFrame:
    """What each account was charged, what the provider says its records cost, and the difference.

    ``accounts``: account_id, currency; ``waiting``: account_id, unpriced. A cost in another currency than the account's
    gets a row of its own, and the account no margin: currencies are never added. Costs of an account nobody bills are a
    row of ``known`` false, charged nothing.
    """
    billed = accounts.select("account_id", "currency", known=True)
    apart = costs.join(billed, on="account_id", how="left").with_columns(pl.col("known").fill_null(False))
    same = pl.col("provider_currency").eq_missing(pl.col("currency"))
    foreign = apart.filter(pl.col("known") & ~same)
    own = (
        billed.join(charged, on="account_id", how="left")
        .join(
            apart.filter(same).select("account_id", "provider_currency", provider_cost="cost"),
            on="account_id",
            how="left",
        )
        .with_columns(pl.col("provider_currency").fill_null(pl.col("currency")), pl.col("provider_cost").fill_null(0))
        .with_columns(
            margin=pl.when(~pl.col("account_id").is_in(foreign["account_id"].implode())).then(
                (pl.col("charged") - pl.col("provider_cost")).cast(MONEY)
            )
        )
    )
    strays = apart.filter(~pl.col("known")).select(
        "account_id", "known", currency="provider_currency", charged=pl.lit(0).cast(MONEY),
        products=pl.lit(0).cast(MONEY), provider_currency="provider_currency", provider_cost="cost",
        margin=(-pl.col("cost")).cast(MONEY),
    )  # fmt: skip
    others = foreign.select("account_id", "known", "currency", "provider_currency", provider_cost="cost")
    columns = ["account_id", "known", "currency", "charged", "products", "provider_currency", "provider_cost", "margin"]
    every = pl.concat([f.select(c for c in columns if c in f.columns) for f in (own, others, strays)], how="diagonal")
    main = pl.col("charged").is_not_null()
    return (
        every.join(waiting, on="account_id", how="left")
        .with_columns(pl.col("provider_cost").cast(MONEY), unpriced=pl.when(main).then(pl.col("unpriced").fill_null(0)))
        .select(*columns, "unpriced")
        .sort("currency", "margin", "account_id", "provider_currency", nulls_last=True)
    )


# ------------------------------------------------------------------------------------------------ closing


def accounts(
    known: Iterable[Account],
    stated: pl.DataFrame,
    newest: pl.DataFrame,
    manifests: Mapping[str, dict],
    holds: Mapping[str, tuple[str, ...]],
    *,
    whole: bool,
) -> pl.DataFrame:
    """Every account's state (`schemas.STATES`), what it was closed with, and what holds it.

    ``stated``: the lines as they stand on statements; ``newest``: as they would be now. ``whole``: no day is missing.
    """
    rows = [
        (
            a.account_id, a.name, "final" if a.account_id in manifests else "provisional" if whole else "open",
            manifests.get(a.account_id, {}).get("revision", 0),
            _moment(manifests[a.account_id]["closed_at"]) if a.account_id in manifests else None,
            a.currency, list(holds.get(a.account_id, ())),
        )
        for a in known
    ]  # fmt: skip
    frame = pl.DataFrame(
        rows,
        schema={"account_id": pl.String, "name": pl.String, "state": pl.String, "revision": pl.Int64,
                "closed_at": pl.Datetime("us", "UTC"), "currency": pl.String, "held": pl.List(pl.String)},
        orient="row",
    )  # fmt: skip
    totals = charged(stated).select("account_id", "total")
    now = charged(newest).select("account_id", total_now="total")
    return (
        frame.join(totals, on="account_id", how="left")
        .join(now, on="account_id", how="left")
        .select(
            "account_id", "name", "state", "revision", "closed_at", "currency", "total", "total_now", "held"
        )
        .sort("account_id")
    )  # fmt: skip


def corrections(stated: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """`schemas.Statement` and `schemas.Corrections` of one month → `CORRECTED`: what is booked for each account and closed
    month, of how many records, and why (``late (12 records), follows``). A record on several lines counts once."""
    key, section, amount = ["account_id", "for_month"], pl.col("section"), pl.col("amount")
    booked = (
        stated.filter(section.is_in(["correction", "product_correction"]))
        .group_by(*key, "currency")
        .agg(
            amount=amount.filter(section == "correction").sum().cast(MONEY),
            products=amount.filter(section == "product_correction").sum().cast(MONEY),
        )
    )
    record = pl.struct("source", "kind", "record_id").filter(pl.col("record_id").is_not_null())
    counted = record.n_unique().cast(pl.Int64)
    order = {reason: n for n, reason in enumerate(REASONS)}
    by_reason = (
        rows.group_by(*key, "reason")
        .agg(records=counted)
        .sort(pl.col("reason").replace_strict(order, return_dtype=pl.Int32))
    )
    noun = pl.when(pl.col("records") == 1).then(pl.lit("record")).otherwise(pl.lit("records"))
    told = (
        pl.when(pl.col("records") > 0)
        .then(pl.format("{} ({} {})", "reason", "records", noun))
        .otherwise("reason")
    )  # fmt: skip
    whys = by_reason.group_by(key, maintain_order=True).agg(reasons=told.str.join(", "))
    every = rows.group_by(key).agg(records=counted)
    return (
        booked.join(every, on=key, how="left")
        .join(whys, on=key, how="left")
        .with_columns(pl.col("records").fill_null(0), pl.col("reasons").fill_null(""))
        .select(*CORRECTED)
        .sort("account_id", "for_month", "currency")
    )


def revisions(lake: Lake, month: Month) -> pl.DataFrame:
    """`REVISED`: every close manifest of the month that replaced another, by account and revision."""
    pins = (lake.get_pin(key) for key in sorted(lake.list_pins(f"close/month={month}/")))
    rows = [
        (pin["account_id"], pin["revision"], pin["replaces"], pin["reason"], pin["run_id"], _moment(pin["closed_at"]))
        for pin in pins
        if "replaces" in pin
    ]
    return pl.DataFrame(rows, schema=REVISED, orient="row")


def todo(
    month: Month,
    loads: pl.DataFrame,
    unrated: pl.DataFrame,
    accounts: pl.DataFrame,
    behind: Iterable[str] = (),
    ends: Iterable[str] = (),
) -> tuple[str, ...]:
    """What needs doing, as sentences with their commands. ``behind`` and ``ends`` are what the verbs say themselves: of
    days whose roll-up lags, and of what no account pays for."""
    said = [*_gaps(loads.filter(~pl.col("date").cast(pl.String).is_in([s[:10] for s in behind]))), *behind]
    priced = unrated.filter(pl.col("reason") != NO_ACCOUNT)
    counted = priced.group_by("reason", "fix").agg(pl.col("records").sum(), accounts=pl.col("account_id").n_unique())
    for row in counted.sort("records", "reason", descending=[True, False]).iter_rows(named=True):
        said.append(f"{row['reason']} for {row['records']} charge(s) of {row['accounts']} account(s): {row['fix']}")
    said += ends
    differing = loads.filter(pl.col("compared") == DIFFERS)
    if differing.height:
        first = differing["date"].min()
        said.append(
            f"{differing['unexplained'].sum()} total(s) on {differing['date'].n_unique()} day(s) unlike the provider's "
            f"own: look at the first with python -m etl reconcile --date {first}"
        )
    ready = accounts.filter((pl.col("state") != "final") & (pl.col("held").list.len() == 0)).height
    if ready:
        said.append(f"{ready} account(s) ready to close: python -m etl close --month {month}")
    waiting = accounts["held"].explode().drop_nulls()
    said += sorted(set(waiting.filter(waiting.str.contains("is still open: close it first|^within bounds: "))))
    return tuple(dict.fromkeys(said))


def _gaps(loads: pl.DataFrame) -> list[str]:
    """Days that are not in the figures, neighbours in one sentence."""
    said = []
    for state, what in ((MISSING, "missing"), (BEHIND, "loaded and not rolled up")):
        lacking = loads.filter(pl.col("state") == state).group_by("date").agg(pl.col("source").sort())
        alike = lacking.with_columns(pl.col("source").list.join(", ")).partition_by("source", as_dict=True)
        for (sources,), part in sorted(alike.items()):
            for first, last in runs(part["date"].sort().to_list()):
                if first == last:
                    said.append(f"{first} of {sources} is {what}: load it with python -m etl run --date {first}")
                    continue
                count = (last - first).days + 1
                said.append(
                    f"{first} to {last} ({count} days) of {sources} are {what}: load them with python -m etl run "
                    f"--from {first} --to {last}"
                )
    return sorted(said, key=lambda sentence: ("missing" not in sentence, sentence))


# ------------------------------------------------------------------------------------------------ reading


def gather(
    lake: Lake,
    directory: Directory,
    settings: Settings,
    month: Month,
    *,
    now: datetime,
    lags: bool = False,
    behind: Sequence[str] = (),
    ends: Sequence[str] = (),
    open_before: Mapping[str, tuple[str, ...]] | None = None,
) -> Operations:
    """The month as the lake has it. Reads log entries, and of the files those columns and rows a figure needs.

    ``lags``: the newest statement is not what would be stated now. ``behind``: sentences that begin with the day whose
    roll-up lags. ``ends``: `jobs.Jobs.loose_ends`. ``open_before``: account → why its month before holds this one.
    """
    window = (month.first, month.days[-1])
    heads = {name: lake.heads(name, date=window) for name in ("raw", "events", "charges", "reconciled", "daily")}
    settle = timedelta(hours=settings.settle_hours)
    due = (now.astimezone(UTC) - settle).date()
    known = directory.of_month(month)
    ids = [a.account_id for a in known]
    charges, daily = _scan(lake, "charges", heads["charges"]), _scan(lake, "daily", heads["daily"])
    reconciled = _scan(lake, "reconciled", heads["reconciled"]).collect()
    stated, newest, manifests = _stated(lake, month)
    known = [replace(a, currency=manifests.get(a.account_id, {}).get("currency", a.currency)) for a in known]
    lacking = closing.missing(lake, heads["daily"], month, settings.sources, settings.start)
    loaded = loads(
        month.days,
        settings.sources,
        {name: entries(heads[name], _firsts(lake, heads[name])) for name in ("raw", "events", "charges")},
        _contained(heads["daily"]),
        reconciled,
        [date.fromisoformat(sentence[:10]) for sentence in behind],
        start=settings.start,
        due=due,
        settle=settle,
    )
    holding = _holds(known, month, newest, lacking, behind, manifests, settings, now, due, open_before or {})
    standing = accounts(known, stated, newest, manifests, holding, whole=not lacking)
    by_month = _of_month(lake, "monthly", month).filter(pl.col("account_id").is_in(ids))
    no_price = unrated(charges, by_month, month)
    waiting = (
        daily.filter(pl.col("line").is_in(PRICED_LINES)).group_by("account_id").agg(pl.col("unpriced").sum()).collect()
    )
    terms = account_terms(known)
    currencies = (
        _scan(lake, "ledger", lake.heads("ledger", date=window)).select("source", "currency").unique().collect()
    )
    if lags and standing.filter(pl.col("state") != "final").height:
        ends = [f"{month}: its statements lack what changed since: python -m etl rate --month {month}", *ends]
    versions = [v for found in heads.values() for v in found.values()]
    return Operations(
        month=month,
        now=now,
        as_of=max((_moment(v.recorded_at) for v in versions), default=None),
        through=max((date.fromisoformat(p["date"]) for p in heads["daily"]), default=None),
        sources=tuple(loaded["source"].unique().sort()),
        loads=loaded,
        unrated=no_price,
        quarantine=quarantine(_scan(lake, "events", _with_quarantine(heads["events"]))),
        unassigned=unassigned(daily, ids),
        unpriced=unpriced(daily),
        reconciled=reconciled,
        money=money(reconciled, currencies),
        margin=margin(terms, charged(stated), costs(charges), waiting),
        accounts=standing,
        todo=todo(month, loaded, no_price, standing, behind, ends),
        corrections=corrections(stated, _standing(lake, "corrections", month, manifests)),
        revisions=revisions(lake, month),
    )


def _scan(lake: Lake, dataset: str, heads: Mapping[Partition, Version]) -> pl.LazyFrame:
    """These partitions with their date and source, lazily; no partition, no row."""
    if heads:
        return lake.scan(list(heads.values()))
    keys = {"date": pl.lit(None, pl.Date), "source": pl.lit(None, pl.String)}
    return DATASETS[dataset].empty().lazy().with_columns(**{k: keys[k] for k in DATASETS[dataset].partition})


def _with_quarantine(events: Mapping[Partition, Version]) -> dict[Partition, Version]:
    """Those whose log entry counts records in quarantine, or does not say: the others are not opened."""
    return {p: v for p, v in events.items() if v.sums.get("quarantined") != "0"}


def _firsts(lake: Lake, heads: Mapping[Partition, Version]) -> dict[Partition, Version]:
    """Each partition's first version: when it came to be."""
    found = each(lake.store, lambda item: item[1] if item[1].seq == 1 else lake.version(item[0], 1), heads.items())
    return dict(zip(heads, found, strict=True))


def _contained(daily: Mapping[Partition, Version]) -> pl.DataFrame:
    """date, source: what each day's roll-up was made of."""
    rows = [
        (date.fromisoformat(p["date"]), name.removeprefix("charges/"))
        for p, v in daily.items()
        for name in v.inputs
        if name.startswith("charges/")
    ]
    return pl.DataFrame(rows, schema={"date": pl.Date, "source": pl.String}, orient="row")


def _of_month(lake: Lake, dataset: str, month: Month) -> pl.DataFrame:
    head = lake.head(Partition.of(dataset, month=str(month)))
    columns = DATASETS[dataset].columns
    return lake.read(head, columns) if head else DATASETS[dataset].empty()


def _stated(lake: Lake, month: Month) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, dict]]:
    """(lines as they stand on statements, the newest lines, close manifests): an account that closed keeps the lines it
    was closed with. Each pinned partition is read once."""
    newest = _of_month(lake, "statement", month)
    manifests = closings(lake, month)
    return _standing(lake, "statement", month, manifests, newest), newest, manifests


def _standing(
    lake: Lake, dataset: str, month: Month, manifests: Mapping[str, dict], newest: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Rows of a dataset with one partition a month: of accounts that closed, as their manifests pin them."""
    newest = _of_month(lake, dataset, month) if newest is None else newest
    pinned: dict[tuple[str, int], list[str]] = {}
    for account_id, manifest in manifests.items():
        if reference := manifest.get(dataset):
            pinned.setdefault((reference["partition"], reference["seq"]), []).append(account_id)
    parts = [newest.filter(~pl.col("account_id").is_in(list(manifests)))]
    for (path, seq), ids in sorted(pinned.items()):
        rows = lake.read(lake.version(Partition.parse(path), seq), newest.columns)
        parts.append(rows.filter(pl.col("account_id").is_in(ids)))
    return pl.concat(parts)


def _holds(
    known: Iterable[Account],
    month: Month,
    newest: pl.DataFrame,
    lacking: Mapping[date, Sequence[str]],
    behind: Sequence[str],
    manifests: Mapping[str, dict],
    settings: Settings,
    now: datetime,
    due: date,
    open_before: Mapping[str, tuple[str, ...]],
) -> dict[str, tuple[str, ...]]:
    """What holds each account that has not closed, as closing would say it; days whose night has not begun left out."""
    gaps = [closing.lacks(day, absent) for day, absent in lacking.items() if day < due]
    gaps += [sentence for sentence in behind if not any(sentence[:10] == gap[:10] for gap in gaps)]
    earliest = month.end + timedelta(days=settings.close_after_days)
    today = now.astimezone(UTC).date()
    return {
        a.account_id: closing.holds(a.account_id, month, newest, gaps, earliest, today)
        + open_before.get(a.account_id, ())
        for a in known
        if a.account_id not in manifests
    }
