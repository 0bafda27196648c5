"""daily → statement: the lines of one UTC month, and the statement a page is drawn from: of a closed month what its
manifest pins (`etl.closing`), else what is newest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal

import polars as pl

from etl.closing import as_closed, as_pinned, missing_days, named, uncompared_days
from etl.directory import Account, Directory, account_terms
from etl.lake import Lake, Partition, Version
from etl.manifests import close_key, closings, pinned
from etl.money import MONEY, rounded
from etl.periods import Month
from etl.reconcile import COST_DIFFERS
from etl.schemas import DATASETS, HELD_LINES, LINES, PRODUCT_LINES, SECTIONS, TAX_LEVELS
from etl.taxes import TaxRules, due

HISTORY_MONTHS = 6

RECONCILED = {"date": pl.Date} | {
    name: DATASETS["reconciled"].types[name]
    for name in (
        "category", "count", "ledger_count", "quantity", "ledger_quantity", "usage_unit", "unpriced", "verdict", "why",
    )
}  # fmt: skip
"""What a statement tells of `schemas.Reconciled`: what the provider charges us is not for a customer's page."""

LINE_KEYS = ("account_id", "line", "item", "direction", "type", "carrier", "registered", "unit", "currency")
_PLACES = ("caller_place", "callee_place")
_BY_DAY = (*(c for c in LINE_KEYS if c != "item"), "date", *_PLACES)
_SUMS = ("quantity", "events", "unrated", "charge")
_ORDER = (
    "account_id", "_section", "for_month", "_line", "_level", "direction", "type", "carrier", "registered", "item", "jurisdiction",
    "rate_id", "unit", "currency",
)  # fmt: skip
_DOWN = ("direction", "type", "registered")
"""Sent before received, SMS before MMS, registered before not."""


# ------------------------------------------------------------------------------------------------ lines


def lines(
    daily: pl.DataFrame | pl.LazyFrame,
    monthly: pl.DataFrame,
    accounts: Iterable[Account],
    rules: TaxRules | None = None,
    tax_rounding: str = "per_line",
    corrections: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """`schemas.Daily` with ``date`` and `schemas.Monthly` of one month → `schemas.Statement`, a total for every account,
    also for one without usage.

    Each line is rounded half-up to the currency's minor unit, once, here; the total adds the rounded lines, so what is
    printed adds up (mission rule 2). Taxes by ``rules`` (none: no taxes), rounded as ``tax_rounding`` says (rule 10).
    ``corrections``: `corrections.CHANGES` of closed months, lines as they are; those in another currency than the account's
    can be on no statement of it.
    """
    terms = account_terms(accounts)
    known = terms.select("account_id", "currency")
    bases = basis(daily, monthly).join(known.select("account_id"), on="account_id", how="semi")
    by_line = (
        bases.group_by(*LINE_KEYS, "product")
        .agg(pl.col("quantity", "events", "unrated").sum(), amount_exact=pl.col("amount_exact").sum().cast(MONEY))
        .with_columns(
            section=pl.when("product").then(pl.lit("product")).otherwise(pl.lit("usage")),
            amount=rounded(pl.col("amount_exact"), pl.col("currency")),
        )
    )
    every = pl.concat(
        [by_line, _tax_lines(bases, rules, terms, tax_rounding), _correction_lines(corrections, known)], how="diagonal"
    )
    on_products = pl.col("section").is_in(["product", "product_correction"])
    billed, products = every.filter(~on_products), every.filter(on_products)
    totals = [
        _totals_of(billed, known, "total"),
        _totals_of(products, known.join(products.select("account_id"), on="account_id", how="semi"), "product_total"),
    ]
    order = {name: i for i, name in enumerate((*LINES, "tax", "rounding"))}
    sections = {name: i for i, name in enumerate(SECTIONS)}
    return DATASETS["statement"].arrange(
        pl.concat([_no_lines(), every, *totals], how="diagonal")
        .with_columns(
            _section=pl.col("section").replace_strict(sections, return_dtype=pl.Int32),
            _line=pl.col("line").replace_strict(order, default=99, return_dtype=pl.Int32),
            _level=pl.col("tax_level").replace_strict({n: i for i, n in enumerate(TAX_LEVELS)}, default=99),
        )
        .sort(_ORDER, descending=[c in _DOWN for c in _ORDER], nulls_last=True)
        .with_columns(
            pl.col("events", "unrated").fill_null(0), position=pl.int_range(pl.len(), dtype=pl.Int32).over("account_id")
        )
    )  # fmt: skip


def _no_lines() -> pl.DataFrame:
    return DATASETS["statement"].empty().drop("position")


def added_up(daily: pl.LazyFrame) -> pl.LazyFrame:
    """`schemas.Daily` with ``date``, added up over all that tells no line and no tax apart: for `lines` as good as whole."""
    summed = _parted(daily).group_by(_BY_DAY).agg(pl.col(_SUMS).sum())
    return summed.with_columns(pl.col("charge").cast(MONEY))


def _parted(daily: pl.LazyFrame) -> pl.LazyFrame:
    # Carrier and registration decide a carrier fee; on any other line they would only split it.
    return daily.with_columns(
        pl.when(pl.col("line") == "carrier_fee").then(pl.col(c)).alias(c) for c in ("carrier", "registered")
    )


def basis(daily: pl.DataFrame | pl.LazyFrame, monthly: pl.DataFrame) -> pl.DataFrame:
    """What lines and taxes are computed of: amounts by statement line, date, places, and whether taxes may apply."""
    by_day = (
        # What is held has a quantity on the day and its charge in the month.
        _parted(daily.lazy()).filter(~pl.col("line").is_in(HELD_LINES))
        .with_columns(item=pl.lit(None, pl.String), product=pl.lit(False), taxable=pl.lit(True))
    )  # fmt: skip
    by_month = monthly.lazy().with_columns(
        *(pl.lit(None, pl.String).alias(c) for c in ("direction", "type", "carrier", *_PLACES)),
        registered=pl.lit(None, pl.Boolean),
        product=pl.col("line").is_in(PRODUCT_LINES),
        # An account-level amount has no records of its own behind it.
        events=pl.lit(0, pl.Int64),
        unrated=pl.col("unrated").is_not_null().cast(pl.Int64),
    )
    keys = [*LINE_KEYS, "date", *_PLACES, "product", "taxable"]
    return (
        pl.concat([f.select(*keys, *_SUMS) for f in (by_day, by_month)])
        .group_by(keys)
        .agg(pl.col("quantity", "events", "unrated").sum(), amount_exact=pl.col("charge").sum().cast(MONEY))
        .collect(engine="streaming")
    )


def _tax_lines(bases: pl.DataFrame, rules: TaxRules | None, terms: pl.DataFrame, rounding: str) -> pl.DataFrame:
    """The tax and rounding rows of every account; those on products belong to the products."""
    if rules is None or rules.is_empty():
        return _no_lines().clear()
    rows = due(bases.filter("taxable"), rules, terms, rounding)
    return rows.select(
        "account_id", "tax_level", "jurisdiction", "quantity", "unit", "base", "amount_exact", "amount", "currency",
        section=pl.when("product").then(pl.lit("product")).otherwise("section"),
        line=pl.col("section"),
        item="name",
        # A tax that changes inside the month stands there twice.
        rate_id=pl.format("{}@{}", "tax_id", "valid_from"),
    )  # fmt: skip


def _correction_lines(changes: pl.DataFrame | None, known: pl.DataFrame) -> pl.DataFrame:
    """`corrections.CHANGES` as rows of sections correction and product_correction."""
    if changes is None:
        return _no_lines()
    product = pl.col("section") == "product"
    return changes.join(known, on=["account_id", "currency"], how="semi").with_columns(
        section=pl.when(product).then(pl.lit("product_correction")).otherwise(pl.lit("correction"))
    )


def _totals_of(rows: pl.DataFrame, accounts: pl.DataFrame, section: str) -> pl.DataFrame:
    sums = rows.group_by("account_id", "currency").agg(
        pl.col("amount_exact", "amount").sum().cast(MONEY), pl.col("unrated").sum()
    )
    # A carrier fee is a second line of a text already counted, so events are not added up.
    return accounts.join(sums, on=["account_id", "currency"], how="left").with_columns(
        pl.col("amount_exact", "amount").fill_null(0).cast(MONEY),
        pl.col("unrated").fill_null(0),
        section=pl.lit(section),
        line=pl.lit(section),
    )


# ------------------------------------------------------------------------------------------------ reading


@dataclass(frozen=True)
class MonthTotals:
    """One month in the six-month history."""

    month: Month
    state: str
    revision: int
    total: Decimal
    messages_sent: int
    messages_received: int
    segments_sent: int
    segments_received: int
    currency: str = ""
    """Of ``total``: an account may have had another one in an earlier month."""

    @property
    def messages(self) -> int:
        return self.messages_sent + self.messages_received

    @property
    def segments(self) -> int:
        return self.segments_sent + self.segments_received


@dataclass(frozen=True)
class Statement:
    """Everything a page may be drawn from. Holds no message body and no phone number.

    ``lines`` and ``previous_lines``: `schemas.Statement` rows of this month and of the month before (may be empty).
    ``daily``: `schemas.Daily` rows of the last six months up to this one, with ``date``.
    ``owners``: owner_kind, owner_id, name. ``campaigns``: campaign_id, name. ``history``: oldest first, this month last;
    months before the account's first usage are left out, a month without usage after it is not. ``through``: last UTC day in the figures; ``held``: what the month
    lacks, as sentences. ``published``: every month with a statement, oldest first. ``ledger``: `schemas.Credits` and
    ``monthly``: `schemas.Monthly` of this month. ``reconciled``: `RECONCILED`, this month's records against the provider's
    own totals, never with an amount; ``uncompared``: loaded days for which there is no comparison; both empty when
    ``own_provider`` is false: no provider account is this account's alone. ``comparison_kept`` is false for a month closed
    before comparisons were kept. ``earlier_ledger`` and ``earlier_monthly``: how lots of the ledger came in, and what packs
    cost, in the earlier months in which those lots were bought. ``corrections``: `schemas.Corrections` booked in this month,
    behind the lines of section correction. Of a revision after the first, ``replaced_lines`` are the `schemas.Statement`
    rows of the one before, ``reopened`` the reason given and ``reopened_at`` when.

    Of a closed month everything is as it was when it closed, but ``account.email_to``.
    """

    account: Account
    month: Month
    state: str
    revision: int
    through: str | None
    closed_at: str | None
    lines: pl.DataFrame
    previous_lines: pl.DataFrame
    daily: pl.DataFrame
    owners: pl.DataFrame
    campaigns: pl.DataFrame
    history: tuple[MonthTotals, ...]
    held: tuple[str, ...]
    computed_from: tuple[tuple[str, int, str], ...]
    published: tuple[Month, ...] = ()
    ledger: pl.DataFrame = field(default_factory=DATASETS["credits"].empty)
    monthly: pl.DataFrame = field(default_factory=DATASETS["monthly"].empty)
    reconciled: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=RECONCILED))
    uncompared: tuple[date, ...] = ()
    own_provider: bool = True
    comparison_kept: bool = True
    earlier_ledger: pl.DataFrame = field(default_factory=DATASETS["credits"].empty)
    earlier_monthly: pl.DataFrame = field(default_factory=DATASETS["monthly"].empty)
    corrections: pl.DataFrame = field(default_factory=DATASETS["corrections"].empty)
    replaced_lines: pl.DataFrame = field(default_factory=DATASETS["statement"].empty)
    reopened: str = ""
    reopened_at: str = ""

    @property
    def statement_id(self) -> str:
        return f"{self.month}-{self.account.account_id}"

    @property
    def total(self) -> Decimal:
        return self.lines.filter(pl.col("section") == "total")["amount"].item()


class Statements:
    """Reads statements out of the lake for many accounts, each partition once."""

    def __init__(self, lake: Lake, directory: Directory, sources: Iterable[str], start: date = date.min) -> None:
        self.lake = lake
        self.directory = directory
        self.sources = tuple(sources)
        self.start = start
        self._heads = lake.heads("statement")
        self._closings: dict[Month, dict[str, dict]] = {}
        self._days: dict[Month, dict[Partition, Version]] = {}
        self._comparisons: dict[Month, tuple[Version, ...]] = {}
        self._lacking: dict[Month, list[str]] = {}
        self._frames: dict[tuple, dict[str, pl.DataFrame]] = {}

    @property
    def accounts(self) -> tuple[Account, ...]:
        return self.directory.accounts

    def accounts_of(self, month: Month) -> tuple[Account, ...]:
        """Accounts that were customers on some day of the month."""
        return self.directory.of_month(month)

    def months(self) -> list[Month]:
        """Months with a statement in the lake, oldest first."""
        return sorted(Month.parse(p["month"]) for p in self._heads)

    def load(self, account_id: str, month: Month) -> Statement:
        """The statement as it stands: from the pinned partitions where the month is closed for the account, else from
        the newest. LookupError if the lake has none; ConfigurationError for an unknown account."""
        account = self.directory.account(account_id)
        if month not in self.months():
            raise LookupError(f"there is no statement for {month}: run python -m etl run for its days first")
        shown = [m for m in month.last(HISTORY_MONTHS) if m in self.months()]
        told = self._told(account_id, month)
        parts = {m: self._month(account_id, m, told) for m in shown}
        totals = (_totals(m, self._state(account_id, m), account, *parts[m]) for m in shown)
        first = next((m for m in shown if parts[m][2].height), month)
        history = tuple(t for t in totals if t.month >= first)
        manifest, own_lines, _, versions = parts[month]
        ledger = self._by_month("credits", manifest, month, account_id)
        earlier_ledger, earlier_monthly = self._bought_before(account_id, month, ledger, told)
        compared, uncompared, own_provider = self._comparison(account_id, month, manifest, versions[1:])
        names = as_pinned(manifest, named(self.directory, account_id))
        before = parts.get(month - 1)
        lacking = [] if manifest else self._missing(month)
        through = max((p["date"] for p in self._month_days(month)), default=None)
        return Statement(
            account=as_closed(account, manifest),
            month=month,
            state=self._state(account_id, month),
            revision=manifest["revision"] if manifest else 0,
            through=month.days[-1].isoformat() if manifest else through,
            closed_at=manifest["closed_at"] if manifest else None,
            lines=own_lines,
            previous_lines=before[1] if before else DATASETS["statement"].empty(),
            daily=pl.concat([parts[m][2] for m in shown if m >= first], how="vertical"),
            owners=names["owners"],
            campaigns=names["campaigns"],
            history=history,
            held=tuple(f"day missing: {sentence}" for sentence in lacking),
            computed_from=tuple((v.partition.path, v.seq, v.sha256) for v in versions),
            published=tuple(self.months()),
            ledger=ledger,
            monthly=self._by_month("monthly", manifest, month, account_id),
            reconciled=compared,
            uncompared=uncompared,
            own_provider=own_provider,
            comparison_kept=manifest is None or "provider_accounts" in manifest,
            earlier_ledger=earlier_ledger,
            earlier_monthly=earlier_monthly,
            corrections=self._by_month("corrections", manifest, month, account_id),
            **self._replaced(account_id, month, manifest),
        )

    def _replaced(self, account_id: str, month: Month, manifest: dict | None) -> dict:
        """Of a later revision: the lines it replaces, why, and when."""
        if manifest is None or "replaces" not in manifest:
            return {}
        before = self.lake.get_pin(close_key(month, account_id, manifest["replaces"]))
        lines_ = self._of_account((pinned(self.lake, before["statement"]),), "statement", account_id)
        return {"replaced_lines": lines_, "reopened": manifest["reason"], "reopened_at": manifest["closed_at"]}

    def _comparison(
        self, account_id: str, month: Month, manifest: dict | None, days: Iterable[Version]
    ) -> tuple[pl.DataFrame, tuple[date, ...], bool]:
        """(`RECONCILED` rows, days not compared, whether a provider account is this account's alone), as pinned or as
        they stand. A day on which somebody else is billed for records of such a provider account is not compared: its
        totals are theirs too."""
        if manifest is None:
            versions = self._month_comparisons(month)
            own = self.directory.own_provider_accounts(account_id)
        elif "provider_accounts" not in manifest:
            return pl.DataFrame(schema=RECONCILED), uncompared_days(days, ()), True
        else:
            versions = tuple(pinned(self.lake, reference) for reference in manifest["reconciled"])
            own = tuple(manifest["provider_accounts"])
        if not own:
            return pl.DataFrame(schema=RECONCILED), (), False
        found = pl.concat(self._part(versions, "reconciled", "provider_account", sid) for sid in own)
        others = found.filter(pl.col("account_id").ne_missing(account_id))["date"].unique()
        cost_only = (pl.col("why") == COST_DIFFERS).fill_null(False)
        rows = (
            found.filter(~pl.col("date").is_in(others.implode()))
            .with_columns(
                verdict=pl.when(cost_only).then(pl.lit("ok")).otherwise("verdict"),
                why=pl.when(~cost_only).then("why"),
            )
            .sort("date", "category", "provider_account", "source")
            .select(*RECONCILED)
        )
        return rows, tuple(sorted({*uncompared_days(days, versions), *others})), True

    def _month_comparisons(self, month: Month) -> tuple[Version, ...]:
        if month not in self._comparisons:
            heads = self.lake.heads("reconciled", date=(month.first, month.days[-1]))
            self._comparisons[month] = tuple(v for _, v in sorted(heads.items(), key=lambda item: item[0].path))
        return self._comparisons[month]

    def _by_month(self, dataset: str, manifest: dict | None, month: Month, account_id: str) -> pl.DataFrame:
        """The account's rows of a dataset with one partition a month, as pinned or as they stand."""
        if manifest is None:
            version = self.lake.head(Partition.of(dataset, month=str(month)))
        else:
            version = pinned(self.lake, manifest[dataset]) if dataset in manifest else None
        rows = self._of_account((version,) if version else (), dataset, account_id)
        return rows.select(DATASETS[dataset].columns)

    def _told(self, account_id: str, month: Month) -> dict[str, int]:
        """Month → the revision of it that a closed month was closed beside: what a page says of earlier months stays."""
        return (self._closed(month).get(account_id) or {}).get("told", {})

    def _manifest(self, account_id: str, month: Month, told: Mapping[str, int]) -> dict | None:
        manifest = self._closed(month).get(account_id)
        revision = told.get(str(month))
        if manifest and revision and revision != manifest["revision"]:
            return self.lake.get_pin(close_key(month, account_id, revision))
        return manifest

    def _bought_before(
        self, account_id: str, month: Month, ledger: pl.DataFrame, told: Mapping[str, int]
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """What brought the ledger's lots in that were bought in earlier months: rows of those months' ledgers, and their
        packs. Months close in order, so where this one is closed they are pinned too."""
        days = ledger["bought_at"].drop_nulls().dt.date().unique().sort()
        found = {"credits": [DATASETS["credits"].empty()], "monthly": [DATASETS["monthly"].empty()]}
        for earlier in dict.fromkeys(Month.of(day) for day in days if day < month.first):
            manifest = self._manifest(account_id, earlier, told)
            for dataset, rows in found.items():
                rows.append(self._by_month(dataset, manifest, earlier, account_id))
        came_in = pl.col("entry").is_in(["purchase", "recharge"])
        pack = pl.col("line") == "credit_pack"
        return pl.concat(found["credits"]).filter(came_in), pl.concat(found["monthly"]).filter(pack)

    def _closed(self, month: Month) -> dict[str, dict]:
        """account_id → close manifest of the month."""
        if month not in self._closings:
            self._closings[month] = closings(self.lake, month)
        return self._closings[month]

    def _month_days(self, month: Month) -> dict[Partition, Version]:
        if month not in self._days:
            window = (month.first.isoformat(), (month.end - timedelta(days=1)).isoformat())
            self._days[month] = self.lake.heads("daily", date=window)
        return self._days[month]

    def _missing(self, month: Month) -> list[str]:
        if month not in self._lacking:
            self._lacking[month] = missing_days(self.lake, self._month_days(month), month, self.sources, self.start)
        return self._lacking[month]

    def _month(
        self, account_id: str, month: Month, told: Mapping[str, int]
    ) -> tuple[dict | None, pl.DataFrame, pl.DataFrame, list[Version]]:
        """(close manifest or None, statement lines, daily rows, versions read) of one account's month."""
        manifest = self._manifest(account_id, month, told)
        if manifest:
            statement = pinned(self.lake, manifest["statement"])
            days = [pinned(self.lake, reference) for reference in manifest["daily"]]
        else:
            statement = self._heads[Partition.of("statement", month=str(month))]
            days = list(self._month_days(month).values())
        lines_ = self._of_account((statement,), "statement", account_id)
        daily_ = self._of_account(tuple(days), "daily", account_id)
        return manifest, lines_, daily_, [statement, *days]

    def _state(self, account_id: str, month: Month) -> str:
        """final once closed; provisional when every day is there; open until then (`schemas.STATES`)."""
        if account_id in self._closed(month):
            return "final"
        return "open" if self._missing(month) else "provisional"

    def _of_account(self, versions: tuple[Version, ...], dataset: str, account_id: str) -> pl.DataFrame:
        return self._part(versions, dataset, "account_id", account_id)

    def _part(self, versions: tuple[Version, ...], dataset: str, column: str, value: str) -> pl.DataFrame:
        """The rows with this value of the column; what was read is kept for the other values."""
        key = (dataset, *((v.partition.path, v.seq) for v in versions))
        if key not in self._frames:
            frame = self.lake.scan(versions).collect() if versions else _nothing(dataset)
            self._frames[key] = {
                name[0]: part for name, part in frame.partition_by(column, as_dict=True, maintain_order=True).items()
            } | {"": frame.clear()}
        frames = self._frames[key]
        return frames.get(value, frames[""])


def _nothing(dataset: str) -> pl.DataFrame:
    types = {"date": pl.Date, "source": pl.String}
    keys = {"daily": ("date",), "reconciled": ("date", "source")}.get(dataset, ())
    return DATASETS[dataset].empty().with_columns(pl.lit(None, types[key]).alias(key) for key in keys)


def _totals(
    month: Month,
    state: str,
    account: Account,
    manifest: dict | None,
    lines_: pl.DataFrame,
    daily_: pl.DataFrame,
    _: list[Version],
) -> MonthTotals:
    sent, received = (daily_.filter(pl.col("direction") == d) for d in ("outbound", "inbound"))
    stated = lines_.filter(pl.col("section") == "total")
    total = stated["amount"].sum()
    return MonthTotals(
        month=month,
        state=state,
        revision=manifest["revision"] if manifest else 0,
        total=Decimal(total),
        messages_sent=sent["messages"].sum(),
        messages_received=received["messages"].sum(),
        segments_sent=sent["segments"].sum(),
        segments_received=received["segments"].sum(),
        currency=stated["currency"].item() if stated.height else as_closed(account, manifest).currency,
    )
