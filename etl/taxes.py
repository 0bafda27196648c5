"""Taxes (mission rule 10): rules people edit in ``taxes.csv`` → what is due on each statement line.

A rule applies to a row of usage when the row's line is one of its ``lines``, its version is in force on the row's UTC
date, the place its ``sourcing`` asks for lies within its ``jurisdiction``, and the account is not exempt. A place is
written from the large to the small, ``US-WA-SEATTLE``; ``US`` and ``US-WA`` contain it, ``US-W`` does not. A row whose
place is not known meets no rule of that sourcing: `unplaced` names whom that spares.

**Exactness.** Amounts and quantities are summed first, by account, version of a rule and statement line, in Int128 nano-units;
the sum is multiplied once by rate × share, unrounded, and divided once, half-up away from zero to one nano-unit. A sum of
integers knows no order, so splitting the same traffic over members, days, places or records moves no tax. Rounding each
row would: a thousand texts of half a nano-unit of tax each are either nothing or twice too much.

A compound rule's base holds, besides the amounts, the other taxes on the very rows it applies to: each computed as above
from those rows, to the nano-unit. So ``base`` as stored, × rate × share, is the tax as stored.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import combinations
from pathlib import Path

import polars as pl

from etl import periods, tables
from etl.money import LIMIT, MONEY, NANOS, OutOfRange, from_nanos, nanos, parse, rounded
from etl.schemas import LINES, TAX_LEVELS
from etl.settings import SAFE_ID, ConfigurationError

KINDS = ("percent", "per_unit")
SOURCINGS = ("service_address", "caller", "callee")
ROUNDINGS = ("per_line", "per_statement")
EVERY_TAX = "all"
"""In an account's tax_exempt: every rule there is."""

COLUMNS = (
    "tax_id", "level", "jurisdiction", "name", "kind", "rate", "lines", "share", "sourcing", "compound", "valid_from",
    "valid_to", "recorded_at", "note",
)  # fmt: skip

_FILE = "taxes.csv"
_PLACE = r"\w+(-\w+)*"
_DATES = ("valid_from", "valid_to", "recorded_at")
_PLACE_COLUMN = {"service_address": "service_address", "caller": "caller_place", "callee": "callee_place"}

_LINE = ("line", "item", "direction", "type", "carrier", "registered", "unit")
_BILL = ("account_id", "product", "currency")
"""What is summed and rounded apart: nobody pays two currencies at once, and products are paid by themselves."""
_RULE = ("tax_id", "tax_level", "jurisdiction", "name", "kind", "rate", "share", "valid_from", "recorded_at")
_DETAIL = (*_BILL, *_RULE, "sourcing", "compound", *_LINE, "base", "base_taxes", "quantity", "amount_exact")
_DUE = ("account_id", "product", "section", *_RULE, "base", "quantity", "unit", "amount_exact", "amount", "currency")

_LARGEST = LIMIT // NANOS * NANOS
"""One unit of currency short of `LIMIT`, so that no currency's rounding leads out of the range."""


@dataclass(frozen=True)
class TaxRules:
    """``taxes.csv``, typed: one row per version of a tax. rate and share Decimal(18, 9), lines List[String], compound
    Boolean, dates; valid_to null = open-ended. Key: tax_id, valid_from, recorded_at."""

    versions: pl.DataFrame
    fingerprint: str

    def is_empty(self) -> bool:
        return self.versions.is_empty()


# ------------------------------------------------------------------------------------------------ the file


def load(folder: Path) -> TaxRules:
    """The rules in ``folder``/taxes.csv; none where there is no such file. ConfigurationError lists every bad row by
    file, line and what to do."""
    text, sha = tables.read(folder / _FILE, COLUMNS[:-1], COLUMNS[-1:], may_lack=True)
    word = pl.element().str.strip_chars()
    typed = text.with_columns(
        *map(tables.day, _DATES),
        tables.true_or_false("compound"),
        parse(pl.col("rate")),
        pl.when(pl.col("share").is_null()).then(pl.lit(1, MONEY)).otherwise(parse(pl.col("share"))).alias("share"),
        pl.col("lines").fill_null("").str.split(";").list.eval(word.filter(word != "")),
    )
    rows, problems = [], []
    for raw, row in zip(text.iter_rows(named=True), typed.iter_rows(named=True), strict=True):
        wrong = list(_problems(raw, row))
        rows.append(row | {"sound": not wrong})
        problems += [(row[tables.LINE], sentence) for sentence in wrong]
    problems += [*_overlaps(rows), *_stacked([r for r in rows if r["sound"]])]
    if problems:
        told = "\n".join(f"  {_FILE} line {at}: {sentence}" for at, sentence in sorted(problems))
        raise ConfigurationError(f"the taxes in {folder} are not usable:\n{told}")
    return TaxRules(typed.select(COLUMNS), hashlib.sha256(sha).hexdigest())


def _problems(raw: dict, row: dict) -> Iterator[str]:
    """What is wrong with one row by itself."""
    tax_id = row["tax_id"] or ""
    if not re.fullmatch(SAFE_ID, tax_id) or tax_id in (*TAX_LEVELS, EVERY_TAX):
        words = ", ".join((*TAX_LEVELS, EVERY_TAX))
        yield f"tax_id {tax_id!r} must be letters, digits, - and _, and none of {words}: accounts are exempted by those"
    for column, values in (("level", TAX_LEVELS), ("kind", KINDS), ("sourcing", SOURCINGS)):
        if row[column] not in values:
            yield f"{column} {row[column]!r} must be one of {', '.join(values)}"
    place = row["jurisdiction"] or ""
    if not re.fullmatch(_PLACE, place) or place != place.upper():
        yield f"jurisdiction {place!r} must be capitals with - between them, the largest first, such as US-WA-SEATTLE"
    if not row["name"]:
        yield "name is empty: it is printed on the statement"
    if row["rate"] is None:
        yield f"rate {raw['rate']!r} must be a number with at most 9 decimals, in percent or in money per unit"
    elif row["rate"] < 0:
        yield f"rate {raw['rate']} is negative"
    if row["share"] is None or not 0 <= row["share"] <= 1:
        yield f"share {raw['share']!r} must be empty or between 0 and 1, with at most 9 decimals, such as 0.649"
    if not row["lines"]:
        yield f"lines is empty: name charge lines with ; between them, such as {LINES[1]};{LINES[2]}"
    for line in sorted(set(row["lines"])):
        if line not in LINES:
            yield f"{line!r} is no charge line: use some of {', '.join(LINES)}"
        if row["lines"].count(line) > 1:
            yield f"{line!r} stands twice in lines"
    if row["compound"] is None:
        yield f"compound {raw['compound']!r} must be true or false"
    elif row["compound"] and row["kind"] == "per_unit":
        yield "compound is for taxes in percent: a tax per unit has no amount to add other taxes to"
    for column in ("valid_from", "recorded_at"):
        if row[column] is None:
            yield f"{column} {raw[column]!r} must be a day, YYYY-MM-DD"
    if raw["valid_to"] and row["valid_to"] is None:
        yield f"valid_to {raw['valid_to']!r} must be empty or a day, YYYY-MM-DD"
    if row["valid_from"] and row["valid_to"] and row["valid_to"] <= row["valid_from"]:
        yield "valid_to must lie after valid_from"


def _end(row: dict) -> date:
    return row["valid_to"] or date.max


def _overlaps(rows: list[dict]) -> Iterator[tuple[int, str]]:
    """Two versions of a tax for the same day, recorded on the same day: nothing says which to believe."""
    dated = [r for r in rows if r["tax_id"] and r["valid_from"] and r["recorded_at"]]
    furthest: dict[tuple, dict] = {}
    for row in sorted(dated, key=lambda r: (r["valid_from"], r[tables.LINE])):
        key = (row["tax_id"], row["recorded_at"])
        before = furthest.get(key)
        if before and before["valid_from"] == row["valid_from"]:
            yield row[tables.LINE], f"this version of {row['tax_id']!r} stands already on line {before[tables.LINE]}"
        elif before and _end(before) > row["valid_from"]:
            yield (
                row[tables.LINE],
                f"{row['tax_id']!r} overlaps line {before[tables.LINE]} from {row['valid_from']}: end one of them, or give "
                "the correction a later recorded_at",
            )
        if before is None or _end(row) > _end(before):
            furthest[key] = row


def _stacked(rows: list[dict]) -> Iterator[tuple[int, str]]:
    """Two compound taxes on the same usage: which comes first would decide the amount, and nothing says it."""
    versions: dict[str, list[dict]] = {}
    for row in rows:
        versions.setdefault(row["tax_id"], []).append(row)
    for one, other in combinations([r for r in rows if r["compound"]], 2):
        here, there = one["jurisdiction"], other["jurisdiction"]
        apart = one["sourcing"] == other["sourcing"] and not (_contains(here, there) or _contains(there, here))
        if one["tax_id"] == other["tax_id"] or apart or not set(one["lines"]) & set(other["lines"]):
            continue
        day = _first_day_of_both(one, other, versions)
        if day:
            yield (
                other[tables.LINE],
                f"{other['tax_id']!r} and {one['tax_id']!r} (line {one[tables.LINE]}) are both compound and can meet on "
                f"{day}: a compound tax holds only taxes that are not, so let one of them be compound = false",
            )


def _contains(jurisdiction: str, place: str) -> bool:
    return f"{place}-".startswith(f"{jurisdiction}-")


def _first_day_of_both(one: dict, other: dict, versions: dict[str, list[dict]]) -> date | None:
    """The first day on which both are in force, as known when the later of them became known; later, only more of them
    is overruled."""
    known = max(one["recorded_at"], other["recorded_at"])
    overruling = [
        v
        for row in (one, other)
        for v in versions[row["tax_id"]]
        if row["recorded_at"] < v["recorded_at"] <= known
    ]  # fmt: skip
    begin, end = max(one["valid_from"], other["valid_from"]), min(_end(one), _end(other))
    for day in sorted({begin, *(_end(v) for v in overruling)}):
        if begin <= day < end and not any(v["valid_from"] <= day < _end(v) for v in overruling):
            return day
    return None


# ------------------------------------------------------------------------------------------------ which rule where


def _in_force(rules: TaxRules, days: pl.Series, as_of: date | None) -> pl.DataFrame:
    """The version of each tax in force on each of ``days`` (named date), as known on ``as_of`` (default: now): the one
    recorded last. ``_rule`` is the row of ``rules.versions``."""
    known = rules.versions.with_row_index("_rule")
    if as_of is not None:
        known = known.filter(pl.col("recorded_at") <= as_of)
    day = pl.col("date")
    return (
        days.unique()
        .to_frame("date")
        .join(known, how="cross")
        .filter((pl.col("valid_from") <= day) & (pl.col("valid_to").is_null() | (pl.col("valid_to") > day)))
        .sort("recorded_at")
        .unique(subset=["date", "tax_id"], keep="last", maintain_order=True)
    )


def _hits(rows: pl.DataFrame, rules: TaxRules, accounts: pl.DataFrame, as_of: date | None) -> pl.DataFrame:
    """(_row, _rule) for every rule that applies to a row. ``rows``: _row, account_id, line, date and the places."""
    valid = _in_force(rules, rows["date"], as_of).explode("lines").rename({"lines": "line"})
    depths = sorted({place.count("-") + 1 for place in rules.versions["jurisdiction"]}) or [1]
    found = [rows.select("_row", "account_id", _rule=pl.lit(None, pl.get_index_type())).clear()]
    for sourcing, place in _PLACE_COLUMN.items():
        cell = ["line", "date", place]
        parts = pl.col(place).str.split("-")
        # A place that is less deep comes out as itself, more than once.
        around = pl.concat_list(parts.list.head(depth).list.join("-") for depth in depths).list.unique()
        met = (
            rows.select(cell)
            .drop_nulls(place)
            .unique()
            .with_columns(jurisdiction=around)
            .explode("jurisdiction")
            .join(valid.filter(pl.col("sourcing") == sourcing), on=["line", "date", "jurisdiction"])
            .select(*cell, "_rule")
        )
        found.append(rows.select("_row", "account_id", *cell).join(met, on=cell).select("_row", "account_id", "_rule"))
    words = rules.versions.with_row_index("_rule").select(
        "_rule", word=pl.concat_list("level", "tax_id", pl.lit(EVERY_TAX))
    )
    exempt = (
        accounts.select("account_id", word="tax_exempt")
        .explode("word")
        .join(words.explode("word"), on="word")
        .select("account_id", "_rule")
    )
    return pl.concat(found).join(exempt, on=["account_id", "_rule"], how="anti").select("_row", "_rule")


# ------------------------------------------------------------------------------------------------ what is due


def detail(bases: pl.DataFrame, rules: TaxRules, accounts: pl.DataFrame, as_of: date | None = None) -> pl.DataFrame:
    """Every tax before it is summed: one row per account, version of a rule and statement line.

    ``bases``: account_id, line, item, direction, type, carrier, registered, unit, currency, product (Boolean), date,
    caller_place, callee_place, quantity Int64, amount_exact Decimal(18, 9); any number of rows per statement line. An
    amount that is null is not rated yet and adds nothing. ``accounts``: account_id, service_address, tax_exempt
    (List[String]: levels, tax ids, or ``all``); every account of ``bases`` stands there once.

    → account_id, product, currency; the rule (tax_id, tax_level, jurisdiction, name, kind, rate, share, valid_from,
    recorded_at, sourcing, compound); the statement line; ``base`` (percent only) the amount taxed, before the share, with
    ``base_taxes`` of it being other taxes; ``quantity`` (per unit only) in the line's ``unit``; ``amount_exact`` the tax
    to the nano-unit. A rate per unit is in the account's currency, and per minute where the unit is a second.

    Raises OutOfRange where a base, a quantity or a tax does not fit, ValueError for an account that is not listed.
    """
    if absent := sorted(set(bases["account_id"].unique()) - set(accounts["account_id"])):
        raise ValueError(f"taxes need to know the account(s) {', '.join(absent[:3])}")
    addresses = accounts.select("account_id", "service_address")
    lines = bases.select(*_BILL, *_LINE).unique().with_row_index("_line")
    rows = (
        bases.join(lines, on=[*_BILL, *_LINE], nulls_equal=True)
        .join(addresses, on="account_id", validate="m:1")
        .with_row_index("_row")
    )
    versions = rules.versions.with_row_index("_rule").rename({"level": "tax_level"})
    figures = rows.select(
        "_row",
        "_line",
        _amount=nanos(pl.col("amount_exact")).cast(pl.Int128),
        _quantity=pl.col("quantity").cast(pl.Int128),
    )
    hits = _hits(rows, rules, accounts, as_of).join(figures, on="_row")
    per_line = (
        hits.group_by("_line", "_rule")
        .agg(pl.col("_amount", "_quantity").sum())
        .join(_within(hits, lines, versions), on=["_line", "_rule"], how="left")
        .with_columns(pl.col("_within").fill_null(0))
        .with_columns(_amount=pl.col("_amount") + pl.col("_within"))
    )
    percent = pl.col("kind") == "percent"
    taxed = _taxed(per_line, lines, versions).with_columns(
        base=pl.when(percent).then("_amount"),
        base_taxes=pl.when(percent).then("_within"),
        quantity=pl.when(~percent).then("_quantity"),
    )
    return _sorted(_stored(taxed, "base", "base_taxes", "amount_exact").pipe(_counted).select(_DETAIL))


def _within(hits: pl.DataFrame, lines: pl.DataFrame, versions: pl.DataFrame) -> pl.DataFrame:
    """(_line, _rule, _within): for each compound rule, the other taxes on the rows it applies to, in nano-units."""
    compound = versions.filter("compound").select("_rule")
    outer = hits.join(compound, on="_rule", how="semi").select("_row", _outer="_rule")
    inner = (
        hits.join(compound, on="_rule", how="anti")
        .join(outer, on="_row")
        .group_by("_line", "_rule", "_outer")
        .agg(pl.col("_amount", "_quantity").sum())
    )
    return (
        _taxed(inner, lines, versions)
        .group_by("_line", _rule="_outer")
        .agg(_within=pl.col("amount_exact").sum())
    )  # fmt: skip


def _taxed(sums: pl.DataFrame, lines: pl.DataFrame, versions: pl.DataFrame) -> pl.DataFrame:
    """Adds the line, the rule, and amount_exact in Int128 nano-units: sum × rate × share, half-up once."""
    percent = pl.col("kind") == "percent"
    of = pl.when(percent).then("_amount").otherwise("_quantity")
    factor = (nanos(pl.col("rate")).cast(pl.Int128) * nanos(pl.col("share"))).alias("_factor")
    # Rate and share are in nano-units both; of what they multiply, an amount is in nano-units already.
    divisor = (
        pl.when(percent)
        .then(pl.lit(NANOS * NANOS * 100, pl.Int128))
        .when(pl.col("unit") == "second")
        .then(pl.lit(NANOS * 60, pl.Int128))
        .otherwise(pl.lit(NANOS, pl.Int128))
        .alias("_divisor")
    )
    # The largest product is 10⁹ × 10⁹ × 10²⁰ and a half, which Int128 holds.
    bound = pl.lit(_LARGEST, pl.Int128) * pl.col("_divisor") // pl.max_horizontal("_factor", pl.lit(1, pl.Int128))
    magnitude = (pl.col("_of").abs() * pl.col("_factor") + pl.col("_divisor") // 2) // pl.col("_divisor")
    computed = (
        sums.join(lines, on="_line")
        .join(versions, on="_rule")
        .with_columns(factor, divisor, _of=of)
        .with_columns(_fits=pl.col("_of").abs() <= bound)
        .with_columns(
            # Polars negates no Int128.
            amount_exact=pl.when(pl.col("_of") < 0).then(pl.lit(0, pl.Int128) - magnitude).otherwise(magnitude)
        )
    )
    _refuse(computed.filter(~pl.col("_fits")), "amount of a tax")
    return computed


def due(
    bases: pl.DataFrame, rules: TaxRules, accounts: pl.DataFrame, rounding: str, as_of: date | None = None
) -> pl.DataFrame:
    """The tax rows of every account: `summed` of `detail`."""
    return summed(detail(bases, rules, accounts, as_of), rounding)


def summed(taxes: pl.DataFrame, rounding: str) -> pl.DataFrame:
    """`detail` → one row per account, product and version of a rule, rounded half-up to the currency's minor unit:

    ``per_line``: each statement line's tax, then added up. ``per_statement``: each version's sum, for show; the account
    owes the sum of all exact taxes rounded once, and a row of section ``rounding`` holds the difference, if there is one.
    Products make their own rows and have their own difference. Either way the rows' ``amount`` add up to what is owed and
    their ``amount_exact`` to the exact tax.

    → account_id, product, section (tax | rounding), the rule, base, quantity and unit (per unit only; null where the lines
    do not share one unit), amount_exact, amount, currency; in the order of a statement.
    """
    if rounding not in ROUNDINGS:
        raise ValueError(f"taxes are rounded {' or '.join(ROUNDINGS)}, not {rounding!r}")
    wide = taxes.with_columns(
        nanos(pl.col("base", "amount_exact")).cast(pl.Int128),
        amount=_nanos_rounded(),
        quantity=pl.col("quantity").cast(pl.Int128),
    )
    per_unit = pl.col("kind") == "per_unit"
    one_unit = per_unit & (pl.col("_units") == 1)
    by_rule = (
        wide.group_by(*_BILL, *_RULE)
        .agg(pl.col("base", "quantity", "amount_exact", "amount").sum(), pl.col("unit").first(), _units=pl.col("unit").n_unique())
        .with_columns(
            base=pl.when(~per_unit).then("base"),
            quantity=pl.when(one_unit).then("quantity"),
            unit=pl.when(one_unit).then("unit"),
            section=pl.lit("tax"),
        )
    )  # fmt: skip
    by_rule = _stored(by_rule, "base", "amount_exact", "amount").pipe(_counted)
    if rounding == "per_statement":
        by_rule = by_rule.with_columns(amount=rounded(pl.col("amount_exact"), pl.col("currency")))
        by_rule = pl.concat([by_rule, _difference(by_rule)], how="diagonal")
    return _sorted(by_rule.select(_DUE))


def _difference(by_rule: pl.DataFrame) -> pl.DataFrame:
    """What the exact sum rounded once has more than the rounded rows; nothing of it is owed exactly."""
    sums = by_rule.group_by(_BILL).agg(nanos(pl.col("amount_exact", "amount")).cast(pl.Int128).sum())
    owed = _stored(sums, "amount_exact").with_columns(_owed=_nanos_rounded())
    return _stored(
        owed.select(
            *_BILL,
            section=pl.lit("rounding"),
            amount_exact=pl.lit(0, pl.Int64).pipe(from_nanos),
            amount=pl.col("_owed") - pl.col("amount"),
        ).filter(pl.col("amount") != 0),
        "amount",
    )


def _nanos_rounded() -> pl.Expr:
    return nanos(rounded(pl.col("amount_exact"), pl.col("currency"))).cast(pl.Int128)


def _stored(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """Int128 nano-units → Decimal(18, 9), exact, or OutOfRange."""
    for name in columns:
        _refuse(frame.filter(~pl.col(name).is_between(-_LARGEST, _LARGEST)), f"{name} of a tax")
    return frame.with_columns(from_nanos(pl.col(name).cast(pl.Int64)).alias(name) for name in columns)


def _counted(frame: pl.DataFrame) -> pl.DataFrame:
    """The quantity as Int64, or OutOfRange."""
    _refuse(frame.filter(~pl.col("quantity").is_between(-LIMIT, LIMIT)), "quantity of a tax")
    return frame.with_columns(pl.col("quantity").cast(pl.Int64))


def _refuse(lost: pl.DataFrame, what: str) -> None:
    if lost.height:
        ids = ", ".join(sorted(set(lost["account_id"]))[:3])
        raise OutOfRange(f"{what} is larger than an amount may be, for account(s) {ids}")


def _sorted(frame: pl.DataFrame) -> pl.DataFrame:
    """The order of a statement: usage before products, taxes before their rounding, federal before local."""
    level = pl.col("tax_level").replace_strict({n: i for i, n in enumerate(TAX_LEVELS)}, return_dtype=pl.Int32)
    keys = [*_BILL, level, "jurisdiction", "tax_id", "valid_from", "recorded_at"]
    if "line" in frame.columns:
        keys += [pl.col("line").replace_strict({n: i for i, n in enumerate(LINES)}, return_dtype=pl.Int32), *_LINE[1:]]
    return frame.sort(keys, nulls_last=True)


# ------------------------------------------------------------------------------------------------ what an operator checks


def unplaced(
    accounts: pl.DataFrame, rules: TaxRules, start: date, end: date, places: Collection[str] = ()
) -> list[str]:
    """Rules in force on some day of [start, end) that spare somebody for want of a place, as sentences: accounts without a
    service address, and caller or callee rules for which places.csv names no place (``places``: its jurisdictions)."""
    days = pl.Series("date", list(periods.days(start, end)), pl.Date)
    valid = _in_force(rules, days, None)
    by_address = valid.filter(pl.col("sourcing") == "service_address").select("tax_id", "level").unique().sort("tax_id")
    found = []
    for account, exempt in (
        accounts.filter(pl.col("service_address").is_null()).sort("account_id").select("account_id", "tax_exempt").iter_rows()
    ):  # fmt: skip
        spared = {t for t, level in by_address.iter_rows() if not {t, level, EVERY_TAX} & set(exempt or ())}
        if spared:
            found.append(
                f"accounts.csv: {account} has no service_address, so it pays no {', '.join(sorted(spared))}: write one, or "
                "exempt it in tax_exempt"
            )
    by_party = valid.filter(pl.col("sourcing") != "service_address").select("tax_id", "sourcing", "jurisdiction")
    for tax_id, sourcing, jurisdiction in by_party.unique().sort(pl.all()).iter_rows():
        if not any(_contains(jurisdiction, place) for place in places):
            found.append(
                f"{_FILE}: {tax_id} goes by the {sourcing}'s place, and places.csv names none within {jurisdiction}: "
                "nobody pays it"
            )
    return found


def unknown_exemptions(accounts: pl.DataFrame, rules: TaxRules) -> list[str]:
    """Words in an account's tax_exempt that exempt it from nothing, as sentences."""
    known = {*TAX_LEVELS, EVERY_TAX, *rules.versions["tax_id"]}
    return [
        f"accounts.csv: {account} is exempt from {word!r}, which is no level, no tax_id of {_FILE} and not {EVERY_TAX}"
        for account, words in accounts.sort("account_id").select("account_id", "tax_exempt").iter_rows()
        for word in sorted(set(words or ()) - known)
    ]
