"""Where one number of a statement comes from: the line, its price rows, its days, its records, and the partitions.

Reads the lake and changes nothing. It reads what the statement rests on and not what is newest: of a closed month the
partitions its manifest pins, else those the statement's log entry names; below them each log entry names its inputs by
hash. Every step down is added up again and compared with the step above, as Decimal. What is shown of a record is its id,
time and amounts: no body, no phone number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from etl.closing import closings, pinned
from etl.directory import Directory, account_terms
from etl.lake import Lake, Partition, Version
from etl.money import MONEY, minor_digits, round_half_up
from etl.periods import Month
from etl.rating import tiers
from etl.rating.card import RateCard
from etl.rating.monthly import OWN_PRICE
from etl.rollup import entries
from etl.schemas import DATASETS, TIMED_LINES
from etl.settings import ConfigurationError, Settings
from etl.statement import LINE_KEYS, basis
from etl.taxes import TaxRules, detail

EXACT = Decimal(1).scaleb(-9)

_PARTS = {"total": ("usage", "tax", "rounding"), "product_total": ("product",)}
"""The sections that a total adds up."""

_FILES = {
    "tier_adjustment": "tiers.csv",
    "adjustment": "adjustments.csv",
    "subscription": "subscriptions.csv",
    "credit_pack": "purchases.csv",
}
"""Where the row stands that a line by the month names, when it is no price row."""

_PRICE = ("price", "currency", "direction", "type", "number_class", "prefix", "valid_from", "valid_to", "recorded_at")
_CALLS = ("minimum_seconds", "increment_seconds", "clock", "connection_fee")
_WORDS = {
    "usage": "price rows, days and records",
    "month": "the month's rows and their prices",
    "tax": "the rule, its base and the lines in it",
    "rounding": "the exact sum of the taxes, rounded once",
    "total": "the lines it adds up",
}


@dataclass(frozen=True)
class Key:
    """Which line: its name or its position, and what tells lines of one name apart. None: not said."""

    line: str
    direction: str | None = None
    type: str | None = None
    item: str | None = None


@dataclass(frozen=True)
class Check:
    """One step of the way down: what the step above says, and what the step below adds up to."""

    what: str
    said: Decimal | int
    found: Decimal | int

    @property
    def equal(self) -> bool:
        return self.said == self.found


@dataclass(frozen=True)
class Explanation:
    """One statement line from the amount printed down to the provider's records.

    ``line``: its row of `schemas.Statement`. ``rates``: by price row; ``days``: by UTC day; ``months``: the rows of
    `schemas.Monthly`; ``below``: what those stand on (recordings held, overage by day, a ladder's rungs); ``tax``: the
    rule as taxes.csv has it; ``parts``: the lines that a tax or a total is made of; ``records``: examples; ``pages``: raw
    pages by day, source and resource; ``partitions``: what was read; ``checks``: every sum; ``notes``: sentences.
    """

    account_id: str
    month: Month
    state: str
    line: Mapping[str, Any]
    rates: tuple[dict, ...] = ()
    days: tuple[dict, ...] = ()
    months: tuple[dict, ...] = ()
    below: tuple[dict, ...] = ()
    tax: Mapping[str, Any] | None = None
    parts: tuple[dict, ...] = ()
    records: tuple[dict, ...] = ()
    pages: tuple[dict, ...] = ()
    partitions: tuple[dict, ...] = ()
    checks: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        return all(check.equal for check in self.checks)

    def document(self) -> dict[str, Any]:
        """For JSON: amounts as plain decimals in strings, days and times as ISO 8601."""
        checks = [{**c.__dict__, "equal": c.equal} for c in self.checks]
        return _plain({**self.__dict__, "checks": checks, "month": str(self.month), "sound": self.sound})


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat() if isinstance(value, date | datetime) else value


# ------------------------------------------------------------------------------------------------ which line


def hint(row: Mapping[str, Any]) -> str:
    """What stands behind a statement line, in words."""
    return _WORDS[_kind(row)]


def _kind(row: Mapping[str, Any]) -> str:
    if row["section"] in _PARTS:
        return "total"
    if row["line"] in ("tax", "rounding"):
        return row["line"]
    # An account-level amount has no records of its own.
    return "usage" if row["events"] else "month"


def chosen(lines: pl.DataFrame, key: Key) -> dict:
    """The one line of an account's `schemas.Statement` rows that ``key`` means. ConfigurationError names the choices when
    it is none or several."""
    rows = list(lines.iter_rows(named=True))
    if key.line.isdecimal():
        found = [r for r in rows if r["position"] == int(key.line)]
    else:
        found = [r for r in rows if r["line"] == key.line]
    for name in ("direction", "type", "item"):
        if (asked := getattr(key, name)) is not None:
            found = [r for r in found if r[name] == asked]
    if len(found) == 1:
        return found[0]
    said = " ".join(f"--{name} {value}" for name, value in key.__dict__.items() if value is not None)
    choices = "\n".join(f"  --line {r['position']}: {called(r)}" for r in found or rows)
    raise ConfigurationError(
        f"{said} is {'several lines' if found else 'no line'} of this statement; there are:\n{choices}"
    )


def called(row: Mapping[str, Any]) -> str:
    """A line's name with all that tells it apart."""
    names = [row[c] for c in ("line", "item", "direction", "type", "carrier")]
    registered = {True: "registered", False: "not registered", None: None}[row["registered"]]
    return " ".join(n for n in (*names, registered) if n)


# ------------------------------------------------------------------------------------------------ what it rests on


@dataclass(frozen=True)
class Ground:
    """The versions that an account's month rests on."""

    lake: Lake
    month: Month
    manifest: dict | None
    statement: Version
    days: tuple[Version, ...]
    monthly: Version | None

    @classmethod
    def of(cls, lake: Lake, account_id: str, month: Month) -> Ground:
        """ConfigurationError, naming the months there are, when the lake holds no statement of it."""
        manifest = closings(lake, month).get(account_id)
        if manifest:
            stated, *days = (pinned(lake, r) for r in (manifest["statement"], *manifest["daily"]))
            charged = pinned(lake, manifest["monthly"]) if "monthly" in manifest else None
            return cls(lake, month, manifest, stated, tuple(days), charged)
        stated = lake.head(Partition.of("statement", month=str(month)))
        if stated is None:
            there = ", ".join(sorted(p["month"] for p in lake.heads("statement"))) or "none yet"
            raise ConfigurationError(f"there is no statement of {month}: the lake has {there}")
        days = (_named(lake, p, sha) for p, sha in sorted(stated.inputs.items()) if p.startswith("daily/"))
        at = Partition.of("monthly", month=str(month))
        charged = _named(lake, at.path, stated.inputs["monthly"]) if "monthly" in stated.inputs else None
        return cls(lake, month, None, stated, tuple(days), charged)

    def rows(self, versions: Iterable[Version], account_id: str) -> pl.LazyFrame | None:
        """The account's rows of these versions, lazily, with their partition keys; None without a version."""
        found = list(versions)
        return self.lake.scan(found).filter(pl.col("account_id") == account_id) if found else None

    def beneath(self, version: Version, dataset: str) -> list[Version]:
        """The versions of a dataset by (date, source) that a version of one day was computed from."""
        names = [n for n in sorted(version.inputs) if n.startswith(f"{dataset}/")]
        day = version.partition["date"]
        return [
            _named(self.lake, Partition.of(dataset, date=day, source=n.split("/")[1]).path, version.inputs[n])
            for n in names
        ]

    def carried(self, dataset: str) -> Version | None:
        """The month's holdings or credits that ``monthly`` was computed from."""
        sha = self.monthly.inputs.get(dataset) if self.monthly else None
        return _named(self.lake, Partition.of(dataset, month=str(self.month)).path, sha) if sha else None


def _named(lake: Lake, path: str, sha: str) -> Version:
    """The version of a partition with this content, the newest of several."""
    partition = Partition.parse(path)
    head = lake.head(partition)
    if head and head.sha256 == sha:
        return head
    found = [v for v in lake.history(partition) if v.sha256 == sha]
    if not found:
        raise LookupError(f"{path}: the log has no version {sha[:12]}, which a later one was computed from")
    return found[-1]


def _entry(version: Version) -> dict:
    """What the log says of a version."""
    return {
        "partition": version.partition.path, "seq": version.seq, "sha256": version.sha256, "rows": version.rows,
        "run_id": version.run_id, "recorded_at": version.recorded_at, "config": version.config, "code": version.code,
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------ the way down


def stated(lake: Lake, directory: Directory, account_id: str, month: Month) -> tuple[str, pl.DataFrame]:
    """(how the month stands, the account's `schemas.Statement` rows). ConfigurationError for an unknown account or month."""
    directory.account(account_id)
    return _stated(Ground.of(lake, account_id, month), account_id)


def _stated(ground: Ground, account_id: str) -> tuple[str, pl.DataFrame]:
    rows = ground.lake.read(ground.statement, DATASETS["statement"].columns)
    mine = rows.filter(pl.col("account_id") == account_id)
    if mine.is_empty():
        raise ConfigurationError(f"{account_id} has no statement of {ground.month}: it was no customer then")
    closed = ground.manifest
    return f"closed {closed['closed_at']}, revision {closed['revision']}" if closed else "not closed", mine


def gather(
    lake: Lake, directory: Directory, card: RateCard, rules: TaxRules, settings: Settings, account_id: str, month: Month,
    key: Key, records: int = 5,
) -> Explanation:  # fmt: skip
    """One line explained, with up to ``records`` example records. ConfigurationError for an account, a month or a line
    that there is not."""
    directory.account(account_id)
    ground = Ground.of(lake, account_id, month)
    state, lines = _stated(ground, account_id)
    row = chosen(lines, key)
    start = Explanation(account_id, month, state, row, partitions=(_entry(ground.statement),))
    kind = _kind(row)
    if kind in ("tax", "rounding", "total"):
        if kind == "tax":
            terms = account_terms([directory.account(account_id)])
            return _of_tax(start, ground, lines, rules, terms, settings.tax_rounding)
        return _of_total(start, lines) if kind == "total" else _of_rounding(start, lines)
    rounded = round_half_up(row["amount_exact"], row["currency"])
    begun = replace(start, checks=(Check("the exact amount, rounded half-up once", row["amount"], rounded),))
    return _of_records(begun, ground, card, records) if kind == "usage" else _of_month(begun, ground, card)


def _same(row: Mapping[str, Any], keys: Iterable[str]) -> pl.Expr:
    return pl.all_horizontal(pl.col(name).eq_missing(pl.lit(row[name])) for name in keys)


def _keys(row: Mapping[str, Any]) -> list[str]:
    """What tells the line's rows apart: carrier and registration decide a carrier fee only."""
    free = {"account_id", "item", *(() if row["line"] == "carrier_fee" else ("carrier", "registered"))}
    return [name for name in LINE_KEYS if name not in free]


_SUMS = ("records", "quantity", "charge", "unrated")


def _summed(rows: pl.DataFrame, *by: str) -> pl.DataFrame:
    sums = (pl.col("records", "quantity", "unrated", "billed").sum(), pl.col("charge").sum().cast(MONEY))
    return rows.group_by(by).agg(*sums).sort(by, nulls_last=True)


def _of_records(start: Explanation, ground: Ground, card: RateCard, shown: int) -> Explanation:
    """A line charged event by event: the roll-ups, the records by price row and by day, examples, and raw pages."""
    row, account_id = start.line, start.account_id
    mine = _same(row, _keys(row))
    rolled = ground.rows(ground.days, account_id).filter(mine).select(
        "date", "quantity", "charge", "unrated", records="events"
    ).collect()  # fmt: skip
    dates = {str(d) for d in rolled["date"]}
    days = [v for v in ground.days if v.partition["date"] in dates]
    charges = [v for day in days for v in ground.beneath(day, "charges")]
    more = ("date", "source", "record_id", "kind", "occurred_at")
    found = entries(ground.rows(charges, account_id), *more).filter(mine)
    by_row = found.group_by("date", "rate_id").agg(
        pl.col("quantity", "unrated").sum(), pl.col("charge").sum().cast(MONEY), records=pl.col("events").sum(),
        billed=(pl.col("quantity") > 0).sum().cast(pl.Int64),
    )  # fmt: skip
    examples = found.sort("occurred_at", "source", "record_id").head(shown).drop("events")
    sums, first, keys = pl.collect_all([by_row, examples, found.select(*more[:4])])
    pages, named, opened = _raw(ground, charges, keys, first)
    rates = [_priced(line, card, row["line"]) for line in _summed(sums, "rate_id").iter_rows(named=True)]
    by_day = _summed(sums, "date").drop("billed").iter_rows(named=True)
    checks = [*start.checks]
    for name, above in (("quantity", "quantity"), ("records", "events"), ("charge", "amount_exact")):
        checks += [
            Check(f"{name} by the daily roll-ups", row[above], _total(rolled, name)),
            Check(f"{name} by the records themselves", row[above], _total(sums, name)),
        ]
    return replace(
        start, rates=tuple(rates), days=tuple(by_day), pages=pages, records=named, checks=tuple(checks),
        partitions=(*start.partitions, *map(_entry, [*days, *charges, *opened])),
    )  # fmt: skip


def _total(frame: pl.DataFrame, name: str) -> Decimal | int:
    return frame[name].sum() or (Decimal(0) if name == "charge" else 0)


def _priced(sums: dict, card: RateCard, line: str) -> dict:
    """What one price row was charged for, with the row as it stands in its file."""
    file, rows, name = "prices.csv", card.prices, "rate_id"
    if line == "carrier_fee":
        file, rows, name = "carrier_fees.csv", card.fees, "fee_id"
    rate_id = sums["rate_id"]
    found = rows.filter(pl.col(name) == rate_id).to_dicts() if rate_id else []
    told = {c: sums[c] for c in ("rate_id", *_SUMS)}
    if not found:
        why = f"no longer in {file}" if rate_id else "no price was found" if sums["unrated"] else "nothing is due"
        return {**told, "file": file if rate_id else None, "row": None, "says": why, "linear": False}
    row = {c: found[0][c] for c in (*_PRICE, *_CALLS) if found[0].get(c) not in (None, "")}
    says, expected = _product(row, sums, line)
    linear = expected == sums["charge"]
    says += f" = {_short(expected)}" if linear else ": each record rounded by itself, or the row has changed since"
    return {**told, "file": file, "row": row, "says": says, "linear": linear}


def _product(row: Mapping[str, Any], sums: Mapping[str, Any], line: str) -> tuple[str, Decimal]:
    """quantity × price as a formula, and what it gives exactly."""
    quantity, price = sums["quantity"], row["price"]
    if line not in TIMED_LINES:
        return f"{quantity} × {_short(price)}", (quantity * price).quantize(EXACT)
    fee = row.get("connection_fee") or Decimal(0)
    says = f"{quantity} s / 60 × {_short(price)}" + (f" + {sums['billed']} × {_short(fee)}" if fee else "")
    exact = quantity * price / 60 + sums["billed"] * fee
    return says, exact.quantize(EXACT) if exact == exact.quantize(EXACT) else exact


def _short(amount: Decimal) -> str:
    return f"{amount.normalize():f}"


def _raw(ground: Ground, charges: list[Version], keys: pl.DataFrame, first: pl.DataFrame):
    """(pages by day, source and resource; example records with their page; the versions read): the raw pages that the
    records of ``keys`` were read from."""
    events = [v for charge in charges for v in ground.beneath(charge, "events")]
    raw = [v for event in events for v in ground.beneath(event, "raw")]
    columns = ["date", "source", "record_id", "kind"]
    names = [*columns[2:], "occurred_at", "direction", "type", "quantity", "unit", "charge", "rate_id", "unrated"]
    if not events:
        return (), tuple(first.select(names).iter_rows(named=True)), []
    read = ground.lake.scan(events).select(*columns, "raw_sha256", "raw_index")
    where = read.join(keys.lazy().unique(), on=columns, how="semi")
    found = where.group_by("date", "source", "raw_sha256").agg(records=pl.len())
    examples = first.lazy().join(read, on=columns, how="left", maintain_order="left")
    counted, told = pl.collect_all([found, examples.select(*names, "raw_sha256", "raw_index")])
    pages = DATASETS["raw"].empty().select("resource", sha="sha256").with_columns(
        date=pl.lit(None, pl.Date), source=pl.lit(None, pl.String)
    )  # fmt: skip
    if raw:
        pages = ground.lake.scan(raw).select("resource", "date", "source", sha="sha256").unique().collect()
    by = ["date", "source"]
    of_day = pages.group_by(*by, "resource").agg(pages_of_day=pl.len())
    summed = (
        counted.join(pages, left_on=[*by, "raw_sha256"], right_on=[*by, "sha"], how="left")
        .group_by(*by, "resource")
        .agg(pl.col("records").sum(), pages=pl.len(), sha256=pl.col("raw_sha256").sort())
        .join(of_day, on=[*by, "resource"], how="left")
        .sort(*by, "resource")
    )
    return tuple(summed.iter_rows(named=True)), tuple(told.iter_rows(named=True)), [*events, *raw]


# ------------------------------------------------------------------------------------------------ by the month


def _of_month(start: Explanation, ground: Ground, card: RateCard) -> Explanation:
    """A line charged by the month: its rows, and what those stand on."""
    row, account_id = start.line, start.account_id
    rows = ground.rows([ground.monthly] if ground.monthly else [], account_id)
    found = DATASETS["monthly"].empty() if rows is None else rows.filter(
        _same(row, ("line", "item", "unit", "currency"))
    ).collect()  # fmt: skip
    by = ["rate_id", "date", "unit_price", "days", "taxable", "unrated"]
    summed = found.group_by(by).agg(
        pl.col("quantity").sum(), pl.col("charge").sum().cast(MONEY), rows=pl.len()
    ).sort(by, nulls_last=True)  # fmt: skip
    told = replace(
        start,
        months=tuple(_monthly(one, card, row["line"], ground.month) for one in summed.iter_rows(named=True)),
        partitions=(*start.partitions, *([_entry(ground.monthly)] if ground.monthly else [])),
        checks=(
            *start.checks,
            Check("quantity of the month's rows", row["quantity"], _total(found, "quantity")),
            Check("exact charge of the month's rows", row["amount_exact"], _total(found, "charge")),
        ),
    )
    more = {"recording_storage": _held, "credit_overage": _overage, "tier_adjustment": _ladder}.get(row["line"])
    return more(told, ground, card) if more else told


def _monthly(sums: dict, card: RateCard, line: str, month: Month) -> dict:
    """One rate of a line by the month, with where its price stands and whether price × quantity is the charge."""
    rate_id, price = sums["rate_id"], sums["unit_price"]
    file = "numbers.csv" if rate_id == OWN_PRICE else _FILES.get(line, "prices.csv")
    if line == "credit_pack":
        # A recharge of our own names the subscription that sets its terms.
        file = "purchases.csv or subscriptions.csv"
    row = None
    if file == "prices.csv" and rate_id:
        found = card.prices.filter(pl.col("rate_id") == rate_id).to_dicts()
        row = {c: found[0][c] for c in _PRICE if found[0].get(c) not in (None, "")} if found else None
    if price is None:
        says, linear = "no price was found" if sums["unrated"] else "one amount", False
    elif sums["days"] is not None:
        says, linear = f"{_short(price)} × {sums['days']} / {len(month.days)} days, for each number", False
    else:
        linear = (sums["quantity"] * price).quantize(EXACT) == sums["charge"]
        says = f"{sums['quantity']} × {_short(price)}" + (f" = {_short(sums['charge'])}" if linear else "")
    return {**sums, "file": file, "row": row, "says": says, "linear": linear}


def _held(told: Explanation, ground: Ground, _card: RateCard) -> Explanation:
    """Storage: the recordings held and their minutes, those of the month and those carried into it."""
    version = ground.carried("holdings")
    rows = ground.rows([version] if version else [], told.account_id)
    if rows is None:
        return told
    begun = pl.when(pl.col("recorded_on") < ground.month.first).then(pl.lit("carried from earlier months"))
    found = rows.group_by(what=begun.otherwise(pl.lit("made in the month"))).agg(
        recordings=pl.len(), minutes=pl.col("minutes").sum()
    ).sort("what").collect()  # fmt: skip
    check = Check("stored minutes of the recordings held", told.line["quantity"], int(found["minutes"].sum()))
    return _lower(told, version, found, check)


def _overage(told: Explanation, ground: Ground, _card: RateCard) -> Explanation:
    """Overage: what no credit covered, by day."""
    version = ground.carried("credits")
    rows = ground.rows([version] if version else [], told.account_id)
    if rows is None:
        return told
    beyond = rows.filter(pl.col("entry") == "overage").group_by("date").agg(pl.col("credits").sum())
    found = beyond.sort("date").collect()
    check = Check("credits of the ledger's overage rows", told.line["quantity"], int(found["credits"].sum()))
    return _lower(told, version, found, check)


def _lower(told: Explanation, version: Version, found: pl.DataFrame, *checks: Check) -> Explanation:
    return replace(
        told, below=tuple(found.iter_rows(named=True)), checks=(*told.checks, *checks),
        partitions=(*told.partitions, _entry(version)),
    )  # fmt: skip


def _ladder(told: Explanation, ground: Ground, card: RateCard) -> Explanation:
    """A tier adjustment: the ladder's rungs, and what it makes of the month where tiers.csv still says the same."""
    names = [one["rate_id"] for one in told.months]
    columns = ["tier_id", "model", "from_quantity", "price", "flat_fee", "package_size", "valid_from", "valid_to"]
    rungs = card.tiers.filter(pl.col("tier_id").is_in(names)).sort("tier_id", "valid_from", "from_quantity")
    told = replace(told, below=tuple(rungs.select(columns).iter_rows(named=True)))
    used = ground.rows(ground.days, told.account_id)
    free = tiers.needs_calls(card)
    calls = None
    if free:
        versions = [v for day in ground.days for v in ground.beneath(day, "charges")]
        rows = ground.rows(versions, told.account_id).filter(pl.col("rate_id").is_in(free))
        fees = card.prices.select("rate_id", "connection_fee").lazy()
        wanted = ("account_id", "rate_id", "occurred_at", "record_id", "quantity")
        calls = rows.select(wanted).join(fees, on="rate_id", how="left").collect()
    found = tiers.adjustments(used.collect(), card, ground.month, calls)
    mine = found.filter(pl.col("tier_id").is_in(names) & (pl.col("lines").eq_missing(pl.lit(told.line["item"]))))
    if _total(mine, "charge") != told.line["amount_exact"]:
        return replace(
            told, notes=(*told.notes, "tiers.csv or prices.csv says something else than when this was charged")
        )
    sentences = tuple(
        f"{r['tier_id']}: {r['quantity']} used; by the ladder {_short(r['ladder_amount'])}, charged event by event "
        f"{_short(r['list_amount'])}, connection fees given back {_short(r['connection_fees_returned'])}"
        for r in mine.iter_rows(named=True)
    )
    return replace(
        told, notes=(*told.notes, *sentences), partitions=(*told.partitions, *map(_entry, ground.days))
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ taxes and totals


def _of_tax(
    start: Explanation, ground: Ground, lines: pl.DataFrame, rules: TaxRules, terms: pl.DataFrame, rounding: str
) -> Explanation:
    """A tax: its rule, and how much of which line is in its base, by `taxes.detail`.

    The rules are taken as they stand, or else as they were known when the statement was made: whichever gives the tax.
    """
    row, account_id = start.line, start.account_id
    tax_id, _, since = row["rate_id"].rpartition("@")
    daily = ground.rows(ground.days, account_id)
    monthly = ground.rows([ground.monthly] if ground.monthly else [], account_id)
    bases = basis(
        _frame("daily", daily, date=pl.Date).with_columns(pl.col("date").cast(pl.Date)), _frame("monthly", monthly)
    ).filter("taxable")
    told = replace(
        start,
        partitions=(*start.partitions, *map(_entry, [*ground.days, *([ground.monthly] if ground.monthly else [])])),
    )
    product = row["section"] == "product"
    said = date.fromisoformat(ground.statement.recorded_at[:10])
    tried: pl.DataFrame | None = None
    for as_of in (None, said):
        taxes = detail(bases, rules, terms, as_of).filter(
            pl.col("tax_id") == tax_id, pl.col("valid_from") == date.fromisoformat(since), pl.col("product") == product
        )
        for _, version in taxes.group_by("recorded_at", maintain_order=True):
            if tried is None or _total(version, "amount_exact") == row["amount_exact"]:
                tried = version
        if tried is not None and tried["amount_exact"].sum() == row["amount_exact"]:
            break
    found = taxes.clear() if tried is None else tried
    shares = (_tax_part(one, lines, rounding) for one in found.iter_rows(named=True))
    parts = tuple(sorted(shares, key=lambda part: (part["position"] is None, part["position"] or 0, part["line"])))
    checks = [Check("exact tax of the lines in the base", row["amount_exact"], _total_of(parts, "amount_exact"))]
    if row["base"] is not None:
        checks.append(Check("base of the lines", row["base"], _total_of(parts, "base")))
    whole = round_half_up(row["amount_exact"], row["currency"])
    by_line = _total_of(parts, "amount")
    if row["amount"] == by_line:
        checks.append(Check("each line's tax rounded half-up, then added up", row["amount"], by_line))
    else:
        checks.append(Check("the exact tax rounded half-up, for show", row["amount"], whole))
    wanted = ("tax_id", "tax_level", "jurisdiction", "name", "kind", "rate", "share", "sourcing", "compound",
              "valid_from", "recorded_at")  # fmt: skip
    rule = found.select(wanted).row(0, named=True) if found.height else None
    notes = ()
    if not all(c.equal for c in checks):
        changed = ground.statement.inputs.get("taxes") != rules.fingerprint
        where = "taxes.csv" if changed else "the account's address, its exemptions or what it bought"
        notes = (f"the base cannot be shown line by line: {where} has changed since the statement was made",)
    return replace(told, tax=rule, parts=parts, checks=tuple(checks), notes=notes)


def _frame(dataset: str, rows: pl.LazyFrame | None, **keys: pl.DataType) -> pl.DataFrame:
    columns = [*DATASETS[dataset].columns, *keys]
    if rows is None:
        return DATASETS[dataset].empty().with_columns(pl.lit(None, t).alias(n) for n, t in keys.items())
    return rows.select(columns).collect()


def _tax_part(one: dict, lines: pl.DataFrame, rounding: str) -> dict:
    """One line's share of a tax's base, with the position where that line stands on the statement."""
    found = lines.filter(_same(one, LINE_KEYS), pl.col("section").is_in(["usage", "product"]))
    amount = round_half_up(one["amount_exact"], one["currency"]) if rounding == "per_line" else one["amount_exact"]
    return {
        "position": found["position"].item() if found.height == 1 else None,
        "line": called(one),
        "line_exact": found["amount_exact"].item() if found.height == 1 else None,
        **{name: one[name] for name in ("base", "base_taxes", "quantity", "unit", "amount_exact")},
        "amount": amount,
    }


def _total_of(parts: Iterable[Mapping[str, Any]], name: str) -> Decimal:
    return sum((part[name] for part in parts if part[name] is not None), Decimal(0))


def _of_rounding(start: Explanation, lines: pl.DataFrame) -> Explanation:
    """The difference between the taxes rounded for show and their exact sum rounded once."""
    row = start.line
    wanted = "product" if row["section"] == "product" else "tax"
    parts = _lines_of(lines.filter(pl.col("section") == wanted, pl.col("line") == "tax"))
    owed = round_half_up(_total_of(parts, "amount_exact"), row["currency"])
    check = Check("exact taxes rounded once, less the rounded taxes", row["amount"], owed - _total_of(parts, "amount"))
    return replace(start, parts=parts, checks=(check,))


def _of_total(start: Explanation, lines: pl.DataFrame) -> Explanation:
    """The lines it adds up, already rounded: what is printed adds up."""
    parts = _lines_of(lines.filter(pl.col("section").is_in(_PARTS[start.line["section"]])))
    checks = tuple(
        Check(f"{name} of the lines", start.line[name], _total_of(parts, name)) for name in ("amount", "amount_exact")
    )
    return replace(start, parts=parts, checks=checks)


def _lines_of(lines: pl.DataFrame) -> tuple[dict, ...]:
    return tuple(
        {"position": r["position"], "line": called(r), "amount_exact": r["amount_exact"], "amount": r["amount"]}
        for r in lines.iter_rows(named=True)
    )


def rounding(found: Explanation) -> str:
    """The step from the exact amount to the printed one, in words."""
    row = found.line
    if row["section"] in _PARTS:
        return "the sum of the rounded lines below"
    if row["line"] in ("tax", "rounding"):
        return found.checks[-1].what
    return f"rounded half-up once, to {minor_digits(row['currency'])} decimal(s) of {row['currency']}"
