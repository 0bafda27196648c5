"""Where one number of a statement comes from: the line, its price rows, its days, its records, and the partitions.

Reads the lake and changes nothing. It reads what the statement rests on and not what is newest: of a closed month the
partitions its manifest pins, else those the statement's log entry names; below them each log entry names its inputs by
hash. Every step down is added up again and compared with the step above, as Decimal. What is shown of a record is its id,
time and amounts: no body, no phone number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

import polars as pl

from etl.directory import Directory, account_terms
from etl.lake import EXPIRED, Lake, Partition, Version
from etl.manifests import close_key, closings, pinned
from etl.money import MONEY, minor_digits, round_half_up
from etl.periods import Month
from etl.rating import tiers
from etl.rating.card import RateCard
from etl.rating.monthly import OWN_PRICE
from etl.rollup import entries
from etl.schemas import DATASETS, PARTS, TIMED_LINES
from etl.settings import ConfigurationError, Settings
from etl.statement import LINE_KEYS, basis
from etl.taxes import TaxRules, detail

EXACT = Decimal(1).scaleb(-9)
_Rows = TypeVar("_Rows", pl.DataFrame, pl.LazyFrame)

CORRECTIONS = ("correction", "product_correction")
"""The sections of what a closed month would be billed otherwise now."""

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
    "correction": "the records by reason, and the two statements",
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
    if row["section"] in PARTS:
        return "total"
    if row["section"] in CORRECTIONS:
        return "correction"
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
    of = f"of {row['for_month']}" if row.get("for_month") else None
    return " ".join(n for n in (*names, registered, of) if n)


# ------------------------------------------------------------------------------------------------ what it rests on


class Evidence(NamedTuple):
    """What records say of one line. ``rates``, ``days``: `_SUMS` by price row and by day; ``pages``: raw pages;
    ``records``: examples, oldest first."""

    rates: Sequence[dict]
    days: Sequence[dict]
    pages: Sequence[dict]
    records: Sequence[dict]


class Reader:
    """What explanations read: each version, each rule and each account's rows once, for as long as it lives.

    ``whole``: lines are looked up in one digest of all records of the month, made by one pass over them; else each line
    reads its own records, which is less for one line and far more for all.
    """

    def __init__(
        self, lake: Lake, directory: Directory, card: RateCard, rules: TaxRules, settings: Settings, *,
        records: int = 5, whole: bool = False,
    ) -> None:  # fmt: skip
        self.lake, self.directory, self.card, self.rules, self.settings = lake, directory, card, rules, settings
        self.shown = records
        self.whole = whole
        self._versions: dict[tuple[str, str], Version] = {}
        self._heads: dict[Partition, Version] = {}
        self._listed: set[tuple[str, Month]] = set()
        self._manifests: dict[Month, dict[str, dict]] = {}
        self._entries: dict[tuple[str, int], dict] = {}
        self._beneath: dict[tuple[str, int, str], list[Version]] = {}
        self._rolled: tuple[tuple, dict[tuple, dict]] = ((), {})
        self._frames: dict[tuple, dict[str, pl.DataFrame]] = {}
        self._priced: dict[str, dict[str, dict]] = {}
        self._digests: dict[tuple[str, ...], dict[str, Digest]] = {}
        self._last: tuple[tuple, dict[tuple, Evidence]] = ((), {})
        self._taxed: dict[tuple, dict[tuple, pl.DataFrame]] = {}
        self._ladders: dict[tuple, pl.DataFrame] = {}
        self._holdings: dict[str, pl.DataFrame] = {}

    def manifests(self, month: Month) -> dict[str, dict]:
        if month not in self._manifests:
            self._manifests[month] = closings(self.lake, month)
        return self._manifests[month]

    def named(self, path: str, sha: str) -> Version:
        """The version of a partition with this content, the newest of several."""
        if (path, sha) not in self._versions:
            partition = Partition.parse(path)
            if self.whole and "date" in partition.names:
                self._list(partition.dataset, Month.of(date.fromisoformat(partition["date"])))
        if (path, sha) not in self._versions:
            self._versions[path, sha] = _named(self.lake, path, sha)
        return self._versions[path, sha]

    def _list(self, dataset: str, month: Month) -> None:
        """One listing of a month's newest versions instead of one for each day."""
        if (dataset, month) not in self._listed:
            self._listed.add((dataset, month))
            for p, version in self.lake.heads(dataset, date=(month.first, month.days[-1])).items():
                self._versions[p.path, version.sha256] = self._heads[p] = version

    def there(self, versions: Iterable[Version]) -> list[Version]:
        """The same versions; of those that retention has erased, what it left of them."""
        found = []
        for version in versions:
            if version.partition not in self._heads:
                self._heads[version.partition] = self.lake.head(version.partition)
            left = version
            if self._heads[version.partition].sha256 != version.sha256:
                later = [v for v in self.lake.history(version.partition) if v.seq > version.seq]
                left = next((v for v in reversed(later) if v.reason == EXPIRED), version)
            found.append(left)
        return found

    def entry(self, version: Version) -> dict:
        """What the log says of a version."""
        key = version.partition.path, version.seq
        if key not in self._entries:
            self._entries[key] = _entry(version)
        return self._entries[key]

    def rows(self, versions: Sequence[Version], account_id: str) -> pl.DataFrame | None:
        """The account's rows of these versions, with their partition keys; None without a version."""
        if not versions:
            return None
        if not self.whole:
            return self.lake.scan(versions).filter(pl.col("account_id") == account_id).collect()
        key = tuple((v.partition.path, v.seq) for v in versions)
        if key not in self._frames:
            frame = self.lake.scan(versions).collect()
            parts = frame.partition_by("account_id", as_dict=True, maintain_order=True)
            self._frames[key] = {name[0]: part for name, part in parts.items()} | {"": frame.clear()}
        return self._frames[key].get(account_id, self._frames[key][""])

    def beneath(self, version: Version, dataset: str) -> list[Version]:
        """The versions of a dataset by (date, source) that a version of one day was computed from."""
        key = version.partition.path, version.seq, dataset
        if key not in self._beneath:
            day = version.partition["date"]
            self._beneath[key] = [
                self.named(Partition.of(dataset, date=day, source=name.split("/")[1]).path, version.inputs[name])
                for name in sorted(version.inputs)
                if name.startswith(f"{dataset}/")
            ]
        return self._beneath[key]

    def all_beneath(self, versions: Iterable[Version], dataset: str) -> list[Version]:
        return [found for version in versions for found in self.beneath(version, dataset)]

    def price(self, file: str, rate_id: str) -> dict | None:
        """A price row or a carrier fee as it stands in its file."""
        if file not in self._priced:
            rows, name = (self.card.fees, "fee_id") if file == "carrier_fees.csv" else (self.card.prices, "rate_id")
            columns = [c for c in (*_PRICE, *_CALLS) if c in rows.columns]
            self._priced[file] = {row.pop("_id"): row for row in rows.select(*columns, _id=name).iter_rows(named=True)}
        return self._priced[file].get(rate_id)

    def rolled(self, row: Mapping[str, Any], ground: Ground) -> dict[str, Any]:
        """What the daily roll-ups have of a line: ``dates``, ``quantity``, ``records``, ``charge``."""
        key = row["account_id"], *(v.sha256 for v in ground.days)
        if self._rolled[0] != key:
            sums = (
                pl.col("quantity").sum(),
                pl.col("charge").sum().cast(MONEY),
                pl.col("events").sum().alias("records"),
            )
            found = _by_line(self.rows(ground.days, row["account_id"])).group_by(_KEYS).agg(
                *sums, dates=pl.col("date").cast(pl.String).unique()
            )  # fmt: skip
            lines = {tuple(one.pop(name) for name in _KEYS): one for one in found.iter_rows(named=True)}
            self._rolled = key, lines
        return self._rolled[1].get(_line(row), {"quantity": 0, "charge": Decimal(0), "records": 0, "dates": []})

    def evidence(self, row: Mapping[str, Any], charges: Sequence[Version], ground: Ground) -> Evidence:
        """What the records of these charges say of a line."""
        nothing = Evidence((), (), (), ())
        if not charges:
            return nothing
        if not self.whole:
            mine = (pl.col("account_id") == row["account_id"]) & _same(row, _keys(row))
            return _digest(self, charges, mine).by_line().get(_line(row), nothing)
        key = tuple(v.sha256 for v in ground.days)
        if key not in self._digests:
            self._digests[key] = _by_account(_digest(self, self.all_beneath(ground.days, "charges")))
        account_id = row["account_id"]
        if self._last[0] != (account_id, key):
            mine = self._digests[key].get(account_id)
            self._last = (account_id, key), mine.by_line() if mine else {}
        return self._last[1].get(_line(row), nothing)

    def taxed(self, ground: Ground, account_id: str, as_of: date | None) -> dict[tuple, pl.DataFrame]:
        """(tax_id, valid_from, product) → `taxes.detail` of the account's month, by the rules as they were known on a
        day; () → no rows."""
        key = (*ground.key(account_id), as_of)
        if key not in self._taxed:
            daily, monthly = self.rows(ground.days, account_id), self.rows(ground.charged, account_id)
            bases = basis(
                _frame("daily", daily, date=pl.Date).with_columns(pl.col("date").cast(pl.Date)),
                _frame("monthly", monthly),
            ).filter("taxable")
            terms = account_terms([self.directory.account(account_id)])
            found = detail(bases, self.rules, terms, as_of)
            rules = found.partition_by("tax_id", "valid_from", "product", as_dict=True, maintain_order=True)
            self._taxed[key] = rules | {(): found.clear()}
        return self._taxed[key]

    def ladders(self, ground: Ground, account_id: str) -> pl.DataFrame:
        """`tiers.adjustments` of the account's month, by the rate card as it stands."""
        key = ground.key(account_id)
        if key not in self._ladders:
            free, calls = tiers.needs_calls(self.card), None
            if free:
                rows = self.lake.scan(self.all_beneath(ground.days, "charges"))
                fees = self.card.prices.select("rate_id", "connection_fee").lazy()
                wanted = ("account_id", "rate_id", "occurred_at", "record_id", "quantity")
                mine = rows.filter((pl.col("account_id") == account_id) & pl.col("rate_id").is_in(free))
                calls = mine.select(wanted).join(fees, on="rate_id", how="left").collect()
            self._ladders[key] = tiers.adjustments(self.rows(ground.days, account_id), self.card, ground.month, calls)
        return self._ladders[key]

    def held(self, version: Version, month: Month) -> pl.DataFrame:
        """Recordings held and their minutes by account, those of the month and those carried into it."""
        if version.sha256 not in self._holdings:
            begun = pl.when(pl.col("recorded_on") < month.first).then(pl.lit("carried from earlier months"))
            by = self.lake.scan((version,)).group_by("account_id", what=begun.otherwise(pl.lit("made in the month")))
            sums = by.agg(recordings=pl.len(), minutes=pl.col("minutes").sum())
            self._holdings[version.sha256] = sums.sort("what").collect()
        return self._holdings[version.sha256]


def _by_account(digest: Digest) -> dict[str, Digest]:
    parts = [f.partition_by("account_id", as_dict=True, maintain_order=True) for f in digest]
    return {
        name[0]: Digest(*(part.get(name, frame.clear()) for part, frame in zip(parts, digest, strict=True)))
        for name in parts[0]
    }


@dataclass(frozen=True)
class Ground:
    """The versions that an account's month rests on."""

    month: Month
    manifest: dict | None
    statement: Version
    days: tuple[Version, ...]
    monthly: Version | None

    @classmethod
    def of(cls, reader: Reader, account_id: str, month: Month) -> Ground:
        """ConfigurationError, naming the months there are, when the lake holds no statement of it."""
        lake, manifest = reader.lake, reader.manifests(month).get(account_id)
        if manifest:
            stated, *days = (pinned(lake, r) for r in (manifest["statement"], *manifest["daily"]))
            charged = pinned(lake, manifest["monthly"]) if "monthly" in manifest else None
            return cls(month, manifest, stated, tuple(days), charged)
        stated = lake.head(Partition.of("statement", month=str(month)))
        if stated is None:
            there = ", ".join(sorted(p["month"] for p in lake.heads("statement"))) or "none yet"
            raise ConfigurationError(f"there is no statement of {month}: the lake has {there}")
        days = (reader.named(p, sha) for p, sha in sorted(stated.inputs.items()) if p.startswith("daily/"))
        at = Partition.of("monthly", month=str(month))
        charged = reader.named(at.path, stated.inputs["monthly"]) if "monthly" in stated.inputs else None
        return cls(month, None, stated, tuple(days), charged)

    @property
    def charged(self) -> tuple[Version, ...]:
        """``monthly``, if there is one."""
        return (self.monthly,) if self.monthly else ()

    def key(self, account_id: str) -> tuple[str, ...]:
        """What an account's figures rest on, as hashes."""
        return (account_id, *(v.sha256 for v in (*self.days, *self.charged)))

    def corrections(self, reader: Reader) -> list[Version]:
        """Why closed months are corrected in this one."""
        at = Partition.of("corrections", month=str(self.month))
        if self.manifest:
            return [pinned(reader.lake, self.manifest["corrections"])] if "corrections" in self.manifest else []
        sha = self.statement.inputs.get("corrections")
        return [reader.named(at.path, sha)] if sha else []

    def carried(self, reader: Reader, dataset: str) -> Version | None:
        """The month's holdings or credits that ``monthly`` was computed from."""
        sha = self.monthly.inputs.get(dataset) if self.monthly else None
        return reader.named(Partition.of(dataset, month=str(self.month)).path, sha) if sha else None


def _named(lake: Lake, path: str, sha: str) -> Version:
    partition = Partition.parse(path)
    head = lake.head(partition)
    if head and head.sha256 == sha:
        return head
    found = [v for v in lake.history(partition) if v.sha256 == sha]
    if not found:
        raise LookupError(f"{path}: the log has no version {sha[:12]}, which a later one was computed from")
    return found[-1]


def _entry(version: Version) -> dict:
    return {
        "partition": version.partition.path, "seq": version.seq, "sha256": version.sha256, "rows": version.rows,
        "run_id": version.run_id, "recorded_at": version.recorded_at, "config": version.config, "code": version.code,
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------ the way down


def stated(lake: Lake, directory: Directory, account_id: str, month: Month) -> tuple[str, pl.DataFrame]:
    """(how the month stands, the account's `schemas.Statement` rows). ConfigurationError for an unknown account or month."""
    directory.account(account_id)
    manifest = closings(lake, month).get(account_id)
    head = pinned(lake, manifest["statement"]) if manifest else lake.head(Partition.of("statement", month=str(month)))
    if head is None:
        there = ", ".join(sorted(p["month"] for p in lake.heads("statement"))) or "none yet"
        raise ConfigurationError(f"there is no statement of {month}: the lake has {there}")
    rows = lake.read(head, DATASETS["statement"].columns)
    return _stated(manifest, rows.filter(pl.col("account_id") == account_id), account_id, month)


def _stated(manifest: dict | None, mine: pl.DataFrame, account_id: str, month: Month) -> tuple[str, pl.DataFrame]:
    if mine.is_empty():
        raise ConfigurationError(f"{account_id} has no statement of {month}: it was no customer then")
    return f"closed {manifest['closed_at']}, revision {manifest['revision']}" if manifest else "not closed", mine


def gather(
    lake: Lake, directory: Directory, card: RateCard, rules: TaxRules, settings: Settings, account_id: str, month: Month,
    key: Key, records: int = 5,
) -> Explanation:  # fmt: skip
    """One line explained, with up to ``records`` example records. ConfigurationError for an account, a month or a line
    that there is not."""
    reader = Reader(lake, directory, card, rules, settings, records=records)
    ground, state, lines = _opened(reader, account_id, month)
    return _explained(reader, ground, state, lines, chosen(lines, key))


def gather_all(
    lake: Lake, directory: Directory, card: RateCard, rules: TaxRules, settings: Settings, month: Month,
    accounts: Iterable[str] | None = None, records: int = 5,
) -> Iterator[tuple[str, tuple[Explanation, ...]]]:  # fmt: skip
    """Every line of every account's statement explained, account by account: the same as `gather` line by line, by one
    pass over the month's records. ``accounts``: only these, else all that were customers in the month."""
    reader = Reader(lake, directory, card, rules, settings, records=records, whole=True)
    for account_id in accounts or [a.account_id for a in directory.of_month(month)]:
        yield account_id, gather_account(reader, account_id, month)


def gather_account(reader: Reader, account_id: str, month: Month) -> tuple[Explanation, ...]:
    """Every line of one statement, in its order. What the reader has read for other accounts is not read again."""
    ground, state, lines = _opened(reader, account_id, month)
    return tuple(_explained(reader, ground, state, lines, row) for row in lines.iter_rows(named=True))


def _opened(reader: Reader, account_id: str, month: Month) -> tuple[Ground, str, pl.DataFrame]:
    reader.directory.account(account_id)
    ground = Ground.of(reader, account_id, month)
    mine = reader.rows((ground.statement,), account_id).select(DATASETS["statement"].columns)
    return ground, *_stated(ground.manifest, mine, account_id, month)


def _explained(reader: Reader, ground: Ground, state: str, lines: pl.DataFrame, row: dict[str, Any]) -> Explanation:
    start = Explanation(row["account_id"], ground.month, state, row, partitions=(reader.entry(ground.statement),))
    kind = _kind(row)
    if kind == "tax":
        return _of_tax(start, reader, ground, lines)
    if kind == "correction":
        return _of_correction(start, reader, ground)
    if kind in ("rounding", "total"):
        return _of_total(start, lines) if kind == "total" else _of_rounding(start, lines)
    rounded = round_half_up(row["amount_exact"], row["currency"])
    begun = replace(start, checks=(Check("the exact amount, rounded half-up once", row["amount"], rounded),))
    return _of_records(begun, reader, ground) if kind == "usage" else _of_month(begun, reader, ground)


def _same(row: Mapping[str, Any], keys: Iterable[str]) -> pl.Expr:
    return pl.all_horizontal(pl.col(name).eq_missing(pl.lit(row[name])) for name in keys)


def _keys(row: Mapping[str, Any]) -> list[str]:
    """What tells the line's rows apart: carrier and registration decide a carrier fee only."""
    free = {"account_id", "item", *(() if row["line"] == "carrier_fee" else ("carrier", "registered"))}
    return [name for name in LINE_KEYS if name not in free]


_LINE = ("line", "direction", "type", "carrier", "registered", "unit", "currency")
"""What tells apart the lines that records are charged on."""
_KEYS = tuple(f"_{name}" for name in _LINE)
"""The same beside a record's own columns: carrier and registration decide a carrier fee only."""
_SUMS = ("records", "quantity", "charge", "unrated")
_RECORD = ("record_id", "kind", "occurred_at", "direction", "type", "quantity", "unit", "charge", "rate_id", "unrated")
_OLDEST = ("occurred_at", "source", "record_id", "kind")
_BATCH = 50_000
"""Records digested at a time: so many are in memory at once, or one day of them."""


def _line(row: Mapping[str, Any]) -> tuple:
    fee = row["line"] == "carrier_fee"
    return tuple(None if name in ("carrier", "registered") and not fee else row[name] for name in _LINE)


def _by_line(rows: _Rows) -> _Rows:
    """Rows with `_KEYS`."""
    fee = pl.col("line") == "carrier_fee"
    return rows.with_columns(
        (pl.when(fee).then(name) if name in ("carrier", "registered") else pl.col(name)).alias(key)
        for name, key in zip(_LINE, _KEYS, strict=True)
    )


def _of_records(start: Explanation, reader: Reader, ground: Ground) -> Explanation:
    """A line charged event by event: the roll-ups, the records by price row and by day, examples, and raw pages."""
    row = start.line
    rolled = reader.rolled(row, ground)
    days = [v for v in ground.days if v.partition["date"] in rolled["dates"]]
    charges = reader.all_beneath(days, "charges")
    events = reader.all_beneath(charges, "events")
    found = reader.evidence(row, charges, ground)
    checks = [*start.checks]
    for name, above in (("quantity", "quantity"), ("records", "events"), ("charge", "amount_exact")):
        checks += [
            Check(f"{name} by the daily roll-ups", row[above], rolled[name]),
            Check(f"{name} by the records themselves", row[above], sum(one[name] for one in found.rates)),
        ]
    opened = [*days, *charges, *events, *reader.all_beneath(events, "raw")]
    erased = sorted({v.partition["date"] for v in reader.there(opened) if v.reason == EXPIRED})
    of_erased = (f"texts and raw pages are erased by retention: {', '.join(erased)}",) if erased else ()
    return replace(
        start, notes=(*start.notes, *of_erased), rates=tuple(_rate(one, reader, row["line"]) for one in found.rates), days=tuple(found.days),
        pages=tuple(found.pages), records=tuple(found.records), checks=tuple(checks),
        partitions=(*start.partitions, *map(reader.entry, opened)),
    )  # fmt: skip


def _total(frame: pl.DataFrame, name: str) -> Decimal | int:
    return frame[name].sum() or (Decimal(0) if name == "charge" else 0)


def _rate(sums: dict, reader: Reader, line: str) -> dict:
    """What one price row was charged for, with the row as it stands in its file."""
    file = "carrier_fees.csv" if line == "carrier_fee" else "prices.csv"
    rate_id = sums["rate_id"]
    found = reader.price(file, rate_id) if rate_id else None
    told = {c: sums[c] for c in ("rate_id", *_SUMS)}
    if not found:
        why = f"no longer in {file}" if rate_id else "no price was found" if sums["unrated"] else "nothing is due"
        return {**told, "file": file if rate_id else None, "row": None, "says": why, "linear": False}
    row = {c: found[c] for c in (*_PRICE, *_CALLS) if found.get(c) not in (None, "")}
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


class Digest(NamedTuple):
    """What records say of every line, by frames with account_id and `_LINE`: `Evidence` before it is taken apart."""

    rates: pl.DataFrame
    days: pl.DataFrame
    pages: pl.DataFrame
    records: pl.DataFrame

    def by_line(self) -> dict[tuple, Evidence]:
        """Of one account: line → what there is of it."""
        found: dict[tuple, Evidence] = defaultdict(lambda: Evidence([], [], [], []))
        for number, frame in enumerate(self):
            for row in frame.drop("account_id").iter_rows(named=True):
                key = tuple(row.pop(name) for name in _KEYS)
                found[key][number].append(row)
        return found


def _digest(reader: Reader, charges: Sequence[Version], wanted: pl.Expr | None = None) -> Digest:
    """One pass over the records of these charges: everything is summed by line before it is kept."""
    parts = [_part(reader, batch, wanted) for batch in _batches(charges)]
    sums, pages, records = (pl.concat(frames) for frames in zip(*parts, strict=True))
    keys = ["account_id", *_KEYS]
    added = (pl.col("records", "quantity", "unrated", "billed").sum(), pl.col("charge").sum().cast(MONEY))
    rates, days = (sums.group_by(*keys, by).agg(*added).sort(by, nulls_last=True) for by in ("rate_id", "date"))
    records = records.sort(_OLDEST).group_by(keys, maintain_order=True).head(reader.shown)
    columns = [*keys, *_RECORD, "raw_sha256", "raw_index"]
    return Digest(rates, days.drop("billed"), pages.sort("date", "source", "resource"), records.select(columns))


def _batches(charges: Sequence[Version]) -> Iterator[list[Version]]:
    """Whole days, `_BATCH` records at a time."""
    batch: list[Version] = []
    for version in charges:
        new_day = not batch or version.partition["date"] != batch[-1].partition["date"]
        if new_day and sum(v.rows for v in batch) + version.rows > _BATCH and batch:
            yield batch
            batch = []
        batch.append(version)
    yield batch


def _part(reader: Reader, charges: list[Version], wanted: pl.Expr | None) -> tuple[pl.DataFrame, ...]:
    """(sums by line, day and price row; raw pages by line; example records) of some days' charges."""
    events = reader.all_beneath(charges, "events")
    record = ["date", "source", "record_id", "kind"]
    found = entries(reader.lake.scan(charges), *record, "occurred_at")
    found = _by_line(found if wanted is None else found.filter(wanted))
    keys = ["account_id", *_KEYS]
    sums = found.group_by(*keys, "date", "rate_id").agg(
        pl.col("quantity", "unrated").sum(), pl.col("charge").sum().cast(MONEY), records=pl.col("events").sum(),
        billed=(pl.col("quantity") > 0).sum().cast(pl.Int64),
    )  # fmt: skip
    read = DATASETS["events"].empty().lazy().with_columns(date=pl.lit(None, pl.Date), source=pl.lit(None, pl.String))
    if events:
        read = reader.lake.scan(reader.there(events))
    told = found.join(read.select(*record, "raw_sha256", "raw_index"), on=record, how="left")
    by_page = told.filter(pl.col("raw_sha256").is_not_null()).group_by(*keys, "date", "source", "raw_sha256").agg(
        records=pl.len()
    )  # fmt: skip
    examples = told.select(*keys, "date", "source", *_RECORD, "raw_sha256", "raw_index").sort(_OLDEST).group_by(
        keys, maintain_order=True
    ).head(reader.shown)  # fmt: skip
    sums_, by_page_, examples_ = pl.collect_all([sums, by_page, examples])
    return sums_, _paged(reader, by_page_, reader.all_beneath(events, "raw"), keys), examples_


def _paged(reader: Reader, counted: pl.DataFrame, raw: list[Version], keys: list[str]) -> pl.DataFrame:
    """Records by line and raw page → by line, day, source and resource, with the pages' hashes and how many the day has."""
    by = ["date", "source"]
    pages = DATASETS["raw"].empty().select("resource", raw_sha256="sha256").with_columns(
        date=pl.lit(None, pl.Date), source=pl.lit(None, pl.String)
    )  # fmt: skip
    if raw:
        pages = reader.lake.scan(reader.there(raw)).select("resource", *by, raw_sha256="sha256").unique().collect()
    of_day = pages.group_by(*by, "resource").agg(pages_of_day=pl.len())
    return (
        counted.join(pages, on=[*by, "raw_sha256"], how="left")
        .group_by(*keys, *by, "resource")
        .agg(pl.col("records").sum(), pages=pl.len(), sha256=pl.col("raw_sha256").sort())
        .join(of_day, on=[*by, "resource"], how="left")
    )


# ------------------------------------------------------------------------------------------------ by the month


def _of_month(start: Explanation, reader: Reader, ground: Ground) -> Explanation:
    """A line charged by the month: its rows, and what those stand on."""
    row = start.line
    rows = reader.rows(ground.charged, start.account_id)
    found = (
        DATASETS["monthly"].empty() if rows is None else rows.filter(_same(row, ("line", "item", "unit", "currency")))
    )
    by = ["rate_id", "date", "unit_price", "days", "taxable", "unrated"]
    summed = found.group_by(by).agg(
        pl.col("quantity").sum(), pl.col("charge").sum().cast(MONEY), rows=pl.len()
    ).sort(by, nulls_last=True)  # fmt: skip
    told = replace(
        start,
        months=tuple(_monthly(one, reader, row["line"], ground.month) for one in summed.iter_rows(named=True)),
        partitions=(*start.partitions, *map(reader.entry, ground.charged)),
        checks=(
            *start.checks,
            Check("quantity of the month's rows", row["quantity"], _total(found, "quantity")),
            Check("exact charge of the month's rows", row["amount_exact"], _total(found, "charge")),
        ),
    )
    more = {"recording_storage": _held, "credit_overage": _overage, "tier_adjustment": _ladder}.get(row["line"])
    return more(told, reader, ground) if more else told


def _monthly(sums: dict, reader: Reader, line: str, month: Month) -> dict:
    """One rate of a line by the month, with where its price stands and whether price × quantity is the charge."""
    rate_id, price = sums["rate_id"], sums["unit_price"]
    file = "numbers.csv" if rate_id == OWN_PRICE else _FILES.get(line, "prices.csv")
    if line == "credit_pack":
        # A recharge of our own names the subscription that sets its terms.
        file = "purchases.csv or subscriptions.csv"
    row = None
    if file == "prices.csv" and rate_id:
        found = reader.price(file, rate_id)
        row = {c: found[c] for c in _PRICE if found.get(c) not in (None, "")} if found else None
    if price is None:
        says, linear = "no price was found" if sums["unrated"] else "one amount", False
    elif sums["days"] is not None:
        says, linear = f"{_short(price)} × {sums['days']} / {len(month.days)} days, for each number", False
    else:
        linear = (sums["quantity"] * price).quantize(EXACT) == sums["charge"]
        says = f"{sums['quantity']} × {_short(price)}" + (f" = {_short(sums['charge'])}" if linear else "")
    return {**sums, "file": file, "row": row, "says": says, "linear": linear}


def _held(told: Explanation, reader: Reader, ground: Ground) -> Explanation:
    """Storage: the recordings held and their minutes, those of the month and those carried into it."""
    version = ground.carried(reader, "holdings")
    if version is None:
        return told
    found = reader.held(version, ground.month).filter(pl.col("account_id") == told.account_id).drop("account_id")
    check = Check("stored minutes of the recordings held", told.line["quantity"], int(found["minutes"].sum()))
    return _lower(told, version, found, check)


def _overage(told: Explanation, reader: Reader, ground: Ground) -> Explanation:
    """Overage: what no credit covered, by day."""
    version = ground.carried(reader, "credits")
    rows = reader.rows((version,) if version else (), told.account_id)
    if rows is None:
        return told
    found = rows.filter(pl.col("entry") == "overage").group_by("date").agg(pl.col("credits").sum()).sort("date")
    check = Check("credits of the ledger's overage rows", told.line["quantity"], int(found["credits"].sum()))
    return _lower(told, version, found, check)


def _lower(told: Explanation, version: Version, found: pl.DataFrame, *checks: Check) -> Explanation:
    return replace(
        told, below=tuple(found.iter_rows(named=True)), checks=(*told.checks, *checks),
        partitions=(*told.partitions, _entry(version)),
    )  # fmt: skip


def _ladder(told: Explanation, reader: Reader, ground: Ground) -> Explanation:
    """A tier adjustment: the ladder's rungs, and what it makes of the month where tiers.csv still says the same."""
    names = [one["rate_id"] for one in told.months]
    columns = ["tier_id", "model", "from_quantity", "price", "flat_fee", "package_size", "valid_from", "valid_to"]
    rungs = reader.card.tiers.filter(pl.col("tier_id").is_in(names)).sort("tier_id", "valid_from", "from_quantity")
    told = replace(told, below=tuple(rungs.select(columns).iter_rows(named=True)))
    found = reader.ladders(ground, told.account_id)
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
        told, notes=(*told.notes, *sentences), partitions=(*told.partitions, *map(reader.entry, ground.days))
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ taxes and totals


def _of_tax(start: Explanation, reader: Reader, ground: Ground, lines: pl.DataFrame) -> Explanation:
    """A tax: its rule, and how much of which line is in its base, by `taxes.detail`.

    The rules are taken as they stand, or else as they were known when the statement was made: whichever gives the tax.
    """
    row, account_id = start.line, start.account_id
    tax_id, _, since = row["rate_id"].rpartition("@")
    told = replace(start, partitions=(*start.partitions, *map(reader.entry, (*ground.days, *ground.charged))))
    product = row["section"] == "product"
    said = date.fromisoformat(ground.statement.recorded_at[:10])
    tried: pl.DataFrame | None = None
    for as_of in (None, said):
        taxes = reader.taxed(ground, account_id, as_of)
        taxes = taxes.get((tax_id, date.fromisoformat(since), product), taxes[()])
        for _, version in taxes.group_by("recorded_at", maintain_order=True):
            if tried is None or _total(version, "amount_exact") == row["amount_exact"]:
                tried = version
        if tried is not None and tried["amount_exact"].sum() == row["amount_exact"]:
            break
    found = taxes.clear() if tried is None else tried
    stood = _standing(lines)
    shares = (_tax_part(one, stood, reader.settings.tax_rounding) for one in found.iter_rows(named=True))
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
        changed = ground.statement.inputs.get("taxes") != reader.rules.fingerprint
        where = "taxes.csv" if changed else "the account's address, its exemptions or what it bought"
        notes = (f"the base cannot be shown line by line: {where} has changed since the statement was made",)
    return replace(told, tax=rule, parts=parts, checks=tuple(checks), notes=notes)


def _frame(dataset: str, rows: pl.DataFrame | None, **keys: pl.DataType) -> pl.DataFrame:
    columns = [*DATASETS[dataset].columns, *keys]
    if rows is None:
        return DATASETS[dataset].empty().with_columns(pl.lit(None, t).alias(n) for n, t in keys.items())
    return rows.select(columns)


def _standing(lines: pl.DataFrame) -> dict[tuple, dict | None]:
    """What a line is about → its row; None where several lines are about the same."""
    found: dict[tuple, dict | None] = {}
    for row in lines.filter(pl.col("section").is_in(["usage", "product"])).iter_rows(named=True):
        key = tuple(row[name] for name in LINE_KEYS)
        found[key] = None if key in found else row
    return found


def _tax_part(one: dict, stood: Mapping[tuple, dict | None], rounding: str) -> dict:
    """One line's share of a tax's base, with the position where that line stands on the statement."""
    found = stood.get(tuple(one[name] for name in LINE_KEYS))
    amount = round_half_up(one["amount_exact"], one["currency"]) if rounding == "per_line" else one["amount_exact"]
    return {
        "position": found["position"] if found else None,
        "line": called(one),
        "line_exact": found["amount_exact"] if found else None,
        **{name: one[name] for name in ("base", "base_taxes", "quantity", "unit", "amount_exact")},
        "amount": amount,
    }


def _total_of(parts: Iterable[Mapping[str, Any]], name: str) -> Decimal:
    return sum((part[name] for part in parts if part[name] is not None), Decimal(0))


_CORRECTED = (
    "line", "item", "direction", "type", "carrier", "registered", "tax_level", "jurisdiction", "rate_id", "unit",
    "currency",
)  # fmt: skip
"""What a correction has in common with the line it corrects."""
_EXAMPLE = ("date", "source", "kind", "record_id", "reason", "rate_was", "rate_is", "quantity")


def _of_correction(start: Explanation, reader: Reader, ground: Ground) -> Explanation:
    """A correction: the records behind it by reason and day, and the lines of the closed month it is the difference of."""
    row, account_id, of = start.line, start.account_id, start.line["for_month"]
    product = row["section"] == "product_correction"
    versions = ground.corrections(reader)
    rows = reader.rows(versions, account_id)
    mine = DATASETS["corrections"].empty() if rows is None else rows.filter(
        _same(row, (*_CORRECTED, "for_month")), (pl.col("section") == "product") == product
    )  # fmt: skip
    by = ["reason", "date", "rate_was", "rate_is"]
    why = mine.group_by(by).agg(
        records=pl.struct("source", "kind", "record_id").filter(pl.col("record_id").is_not_null()).n_unique(),
        quantity=pl.col("quantity").sum(), charge=pl.col("amount_exact").sum().cast(MONEY),
    ).sort(by, nulls_last=True)  # fmt: skip
    known = mine.drop_nulls("record_id").sort("date", "source", "kind", "record_id").head(reader.shown)
    parts, read = _sides(row, reader, ground, Month.parse(of))
    checks = (
        Check("exact amount by the records and what follows", row["amount_exact"], _total(why, "charge")),
        Check(f"{of} as it stands, less as closed and as booked since", row["amount"], _total_of(parts, "amount")),
    )
    return replace(
        start, below=tuple(why.iter_rows(named=True)), parts=parts, checks=checks,
        records=tuple(known.select(*_EXAMPLE, charge="amount_exact").iter_rows(named=True)),
        partitions=(*start.partitions, *map(reader.entry, [*versions, *read])),
    )  # fmt: skip


def _sides(row: dict, reader: Reader, ground: Ground, of: Month) -> tuple[tuple[dict, ...], list[Version]]:
    """(the line as it stands, as closed and as booked since, the latter with their signs turned; the statements read)."""
    account_id, inputs = row["account_id"], ground.statement.inputs
    product = row["section"] == "product_correction"
    same = _same(row, _CORRECTED)
    its_own = pl.col("section") == "product" if product else pl.col("section").is_in(["usage", "tax", "rounding"])
    again = (pl.col("section") == row["section"]) & (pl.col("for_month") == str(of))
    sides: list[tuple[str, Version, pl.Expr, int]] = []
    if f"statement/{of}" in inputs:
        now = reader.named(Partition.of("statement", month=str(of)).path, inputs[f"statement/{of}"])
        sides.append((f"{of} as it stands", now, its_own, 1))
    said = inputs.get(f"closed/{of}/{account_id}", "")
    if said:
        revision = int(said.removeprefix("revision "))
        manifest = reader.lake.get_pin(close_key(of, account_id, revision))
        sides.append((f"{of} as closed, {said}", pinned(reader.lake, manifest["statement"]), its_own, -1))
    month = of + 1
    while month < ground.month:
        if later := reader.manifests(month).get(account_id):
            sides.append((f"booked in {month}", pinned(reader.lake, later["statement"]), again, -1))
        month += 1
    parts = []
    for what, version, section, sign in sides:
        lines = reader.rows((version,), account_id).filter(same, section)
        exact, amount = (sign * _total_of(lines.iter_rows(named=True), name) for name in ("amount_exact", "amount"))
        if lines.height or not what.startswith("booked"):
            parts.append({"what": what, "amount_exact": exact, "amount": amount})
    return tuple(parts), [version for _, version, _, _ in sides]


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
    parts = _lines_of(lines.filter(pl.col("section").is_in(PARTS[start.line["section"]])))
    checks = tuple(
        Check(f"{name} of the lines", start.line[name], _total_of(parts, name)) for name in ("amount", "amount_exact")
    )
    return replace(start, parts=parts, checks=checks)


def _lines_of(lines: pl.DataFrame) -> tuple[dict, ...]:
    return tuple(
        {"position": r["position"], "line": called(r), "amount_exact": r["amount_exact"], "amount": r["amount"]}
        for r in lines.iter_rows(named=True)
    )


# ------------------------------------------------------------------------------------------------ in words


@dataclass(frozen=True)
class Told:
    """A table of an explanation as it is printed. ``name`` is the field it is made of; ``after`` are sentences beneath."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    after: tuple[str, ...] = ()


_COLUMNS = {
    "rates": ("by price row", ("rate_id", "records", "quantity", "charge", "unrated", "says")),
    "months": ("by the month", ("rate_id", "file", "date", "rows", "quantity", "charge", "taxable", "says")),
    "days": ("by day (UTC)", ("date", "records", "quantity", "charge")),
    "below": ("what these stand on", ()),
    "parts": ("made of", ()),
    "pages": ("raw pages", ("date", "source", "resource", "records", "pages", "pages_of_day", "sha256")),
    "records": ("{} of the records", (
        "date", "occurred_at", "source", "kind", "record_id", "reason", "direction", "rate_was", "rate_is", "quantity",
        "charge", "rate_id", "raw_sha256",
    )),
    "partitions": ("computed from", ("partition", "seq", "sha256", "recorded_at", "run_id", "config", "code")),
}  # fmt: skip
"""Field of an explanation → title and columns; none named are those of its rows."""
_HASHES = ("sha256", "raw_sha256", "config", "code")


def told(found: Explanation) -> tuple[Told, ...]:
    """An explanation as tables, in their order; hashes are cut to 12 digits. `opening`, `verdicts` and ``notes`` are the
    sentences around them."""
    tables = []
    for name, (title, columns) in _COLUMNS.items():
        rows = getattr(found, name)
        if not rows:
            continue
        columns = tuple(c for c in columns or rows[0] if c in rows[0])
        numeric = tuple(
            any(isinstance(r.get(c), int | Decimal) and not isinstance(r.get(c), bool) for r in rows) for c in columns
        )
        cells = tuple(tuple(_told(c, r.get(c)) for c in columns) for r in rows)
        after = tuple(
            f"{r['file']}: {r['rate_id']}: " + ", ".join(f"{n} {cell(v)}" for n, v in r["row"].items() if n != "recorded_at")
            for r in (rows if name in ("rates", "months") else ())
            if r["row"]
        )  # fmt: skip
        tables.append(
            Told(name, title.format(len(rows)), tuple(c.replace("_", " ") for c in columns), cells, numeric, after)
        )
    return tuple(tables)


def opening(found: Explanation) -> tuple[str, ...]:
    """What a line says, and how its amount was rounded; of a tax, its rule."""
    row = found.line
    quantity = f"{row['quantity']} {row['unit']}(s), " if row["unit"] else ""
    said = [
        f"{called(row)}: {quantity}{amount(row['amount'])} {row['currency']}",
        f"exactly {amount(row['amount_exact'])} {row['currency']}; {rounding(found)}",
    ]
    if row["unrated"]:
        said.append(f"{row['unrated']} record(s) have no price yet: they are not in the amount")
    if rule := found.tax:
        unit = "%" if rule["kind"] == "percent" else f"{row['currency']} a unit"
        said.append(
            f"taxes.csv: {rule['tax_id']} from {rule['valid_from']}, {amount(rule['rate'])} {unit} of the share "
            f"{amount(rule['share'])}, by {rule['sourcing']}"
        )
    return tuple(said)


def verdicts(found: Explanation) -> tuple[tuple[bool, str], ...]:
    """(whether it is equal, what is compared, with its value) of every sum."""
    return tuple(
        (c.equal, f"{c.what}: {cell(c.said)}, {'equal' if c.equal else f'NOT EQUAL: it is {cell(c.found)}'}")
        for c in found.checks
    )


def _told(column: str, value: Any) -> str:
    if column == "sha256" and isinstance(value, list | tuple):
        return value[0][:12] + (f" and {len(value) - 1} more" if len(value) > 1 else "")
    return (value or "")[:12] if column in _HASHES else cell(value)


def cell(value: Any) -> str:
    """A value as explanations print it."""
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    if isinstance(value, Decimal):
        return amount(value)
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else str(value)


def amount(value: Decimal) -> str:
    """Two decimals at least, and as many more as it has."""
    plain = f"{value.normalize():f}"
    return plain if -value.normalize().as_tuple().exponent >= 2 else f"{value:.2f}"


def rounding(found: Explanation) -> str:
    """The step from the exact amount to the printed one, in words."""
    row = found.line
    if row["section"] in PARTS:
        return "the sum of the rounded lines below"
    if row["section"] in CORRECTIONS:
        return "the difference of rounded lines"
    if row["line"] in ("tax", "rounding"):
        return found.checks[-1].what
    return f"rounded half-up once, to {minor_digits(row['currency'])} decimal(s) of {row['currency']}"
