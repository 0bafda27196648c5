"""Closing a UTC month for an account: what holds it, the manifest that freezes it, and how it is found again.

A month closes account by account. Closing creates ``close/month=…/account=…/rev-0001`` once and for all: the partitions
the statement was computed from, by sequence number and hash. From then on the statement is read from those, whatever
arrives later. Only reopening makes ``rev-0002``, and leaves the first where it is (docs/closing.md).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache

import polars as pl

from etl import acceptance
from etl.audit import BOUNDS, OK, Result
from etl.audit.corrected import CORRECTED
from etl.directory import Account, Directory
from etl.lake import Conflict, Lake, Partition, Version
from etl.manifests import close_key, pinned, terms
from etl.periods import Month
from etl.reconcile import COST_DIFFERS, GONE_AFTER
from etl.schemas import PARTS

NAMED = {"owners": ("owner_kind", "owner_id", "name"), "campaigns": ("campaign_id", "name")}
"""Names a statement shows, and by what they are found."""

PRICED = ("usage", "product", "correction", "product_correction")
"""The sections whose lines have prices."""

PRICED_LINES = ("text", "call", "campaign_call")
"""Lines whose records get a price at the provider, sooner or later. A failed text has none: its fee is in totals only."""

_SHOWN = ("name", "company", "locale")
"""Of an account, beside its currency: what its page shows."""


class Hold(str):
    """Why an account's month may not close, and what to do. ``sentence``: what a person may accept of it; empty when
    nobody may. ``month``: the one it is accepted in, where that is an earlier one: a closed one that is corrected now."""

    sentence = ""
    month: Month | None = None

    def name(self, month: Month, account_id: str) -> str:
        """By what it is accepted when it holds this month; empty when nobody may."""
        return acceptance.name(self.month or month, account_id, self.sentence) if self.sentence else ""

    @classmethod
    def waivable(cls, month: Month, account_id: str, sentence: str, remedy: str) -> Hold:
        """One that may be right all the same: it names the command that accepts it."""
        accept = acceptance.command(month, account_id, sentence)
        made = cls(f"{sentence}: {remedy}; if it is right, {accept}")
        made.sentence, made.month = sentence, month
        return made


@dataclass(frozen=True)
class Standing:
    """What holds an account's month, and which holds (by name) a person accepted."""

    holds: tuple[Hold, ...] = ()
    accepted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Closing:
    """What became of closing one account's month: final with its revision, or held with every reason."""

    account_id: str
    month: Month
    revision: int
    held: tuple[str, ...] = ()
    later: str = ""
    """What changed after closing, as a sentence that says on which statement it is corrected."""

    @property
    def closed(self) -> bool:
        return not self.held


@dataclass(frozen=True)
class Reopening:
    """What became of reopening: the newest revision, the one it replaces (the same when nothing had changed), and both
    totals; or every reason why not."""

    account_id: str
    month: Month
    revision: int
    replaces: int
    total: Decimal
    total_before: Decimal
    currency: str
    reason: str
    held: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        return self.revision != self.replaces


def missing_days(
    lake: Lake, days: Mapping[Partition, Version], month: Month, sources: Iterable[str], start: date = date.min
) -> list[str]:
    """What the month lacks from go-live (``start``) on, as sentences: days without a roll-up, and sources a day's roll-up
    did not contain."""
    return [lacks(day, absent) for day, absent in missing(lake, days, month, sources, start).items()]


def missing(
    lake: Lake, days: Mapping[Partition, Version], month: Month, sources: Iterable[str], start: date = date.min
) -> dict[date, list[str]]:
    """Each day that `missing_days` names, with the sources it lacks."""
    by_date = {p["date"]: v for p, v in days.items()}
    lacking = {}
    for day in (d for d in month.days if d >= start):
        version = by_date.get(day.isoformat())
        absent = [s for s in sorted(sources) if version is None or not _contains(lake, version, day, s)]
        if absent:
            lacking[day] = absent
    return lacking


def lacks(day: date, absent: Iterable[str]) -> str:
    """The sentence for a day that is missing."""
    return f"{day} of {', '.join(absent)}: load it with python -m etl run --date {day}"


def uncompared_days(days: Iterable[Version], reconciled: Iterable[Version]) -> tuple[date, ...]:
    """The days of these roll-ups of which some source was not compared with the provider's own totals."""
    compared = {(v.partition["date"], v.partition["source"]) for v in reconciled}
    return tuple(
        date.fromisoformat(day)
        for day, inputs in sorted((v.partition["date"], v.inputs) for v in days)
        if any((day, name.removeprefix("charges/")) not in compared for name in inputs)
    )


def _contains(lake: Lake, rolled: Version, day: date, source: str) -> bool:
    """Whether a day's roll-up names the source, or the source is rated and has nothing to add: rolled up again, the
    same content is no new version, so the old one cannot name it."""
    if f"charges/{source}" in rolled.inputs:
        return True
    charges = lake.head(Partition.of("charges", date=day, source=source))
    return charges is not None and charges.rows == 0


def holds(
    account_id: str, month: Month, statement: pl.DataFrame, lacking: list[str], earliest: date, today: date
) -> tuple[str, ...]:
    """Why the month may not close for the account; empty when it may. Fails closed: what is not known holds it."""
    reasons = [f"day missing: {sentence}" for sentence in lacking]
    if today < earliest:
        reasons.append(f"too early: {month} may close from {earliest}")
    mine = statement.filter(pl.col("account_id") == account_id)
    unrated = mine.filter(pl.col("section").is_in(PRICED)).group_by("for_month").agg(pl.col("unrated").sum())
    for corrected, count in unrated.filter(pl.col("unrated") > 0).sort("for_month").rows():
        what = f"{count} charge(s) of {corrected}" if corrected else f"{count} charge(s)"
        remedy = f"add the price to the rate card, then python -m etl rate --month {corrected or month}"
        reasons.append(f"{what} without a price: {remedy}")
    if mine.height == 0:
        reasons.append("no statement: run python -m etl run for the month first")
    else:
        reasons += [f"{sentence}: this is a defect, do not send it" for sentence in cross_foot(mine)]
    return tuple(reasons)


def holds_of(
    accounts: Iterable[str], month: Month, statement: pl.DataFrame, lacking: list[str], earliest: date, today: date
) -> dict[str, tuple[str, ...]]:
    """`holds` of each account. Most have statements that add up, with nothing unrated on them: those need not be asked one
    by one."""
    priced = pl.when(pl.col("section").is_in(PRICED)).then("unrated").otherwise(0).sum() > 0
    sums = {t: [pl.when(pl.col("section").is_in(s)).then("amount").sum() for s in ([t], list(p))] for t, p in PARTS.items()}
    unlike = [said.fill_null(0) != added.fill_null(0) for said, added in sums.values()]
    amiss = statement.group_by("account_id").agg(amiss=pl.any_horizontal(priced, *unlike).fill_null(True))
    well = set(amiss.filter(~pl.col("amiss"))["account_id"])
    nobody = statement.clear()
    # Of an account without rows all is said but that it has no statement: that is the last sentence.
    usual = holds("", month, nobody, lacking, earliest, today)[:-1]
    return {a: usual if a in well else holds(a, month, statement, lacking, earliest, today) for a in accounts}


def cross_foot(lines: pl.DataFrame) -> list[str]:
    """What does not add up in one account's `schemas.Statement` rows, as sentences: usage + tax + rounding + correction is
    the total, the products and their corrections are the product total."""
    wrong = []
    for total, parts in PARTS.items():
        said = lines.filter(pl.col("section") == total)["amount"].sum()
        added = lines.filter(pl.col("section").is_in(parts))["amount"].sum()
        if said != added:
            wrong.append(f"the {total} says {said}, its lines add up to {added}")
    return wrong


def unlike_totals(
    month: Month,
    found: pl.DataFrame,
    whom: Callable[[date, str, str], Iterable[str] | None],
    first_read: Callable[[date, str], date],
) -> dict[tuple[str, str, str], list[str]]:
    """(day, what differs, what to do) → the accounts it concerns, none for anybody's: where the provider counts other
    records or quantities than the lake, without an explanation. A cost that differs alone is the operator's question.

    ``found``: `schemas.Reconciled` with date and source. ``whom``: date, source and provider account → the accounts
    billed for it, asked where a row names none; None when it may be anybody's. ``first_read``: date and source → the UTC
    day it was read for the first time: what was deleted and is listed no more (`GONE_AFTER`) cannot have been found then.
    """
    wrong = found.filter(pl.col("verdict") == "unexplained", pl.col("why").ne_missing(COST_DIFFERS))
    fewer = (pl.col("count") < pl.col("ledger_count")) & (pl.col("quantity") <= pl.col("ledger_quantity"))
    for category, days in GONE_AFTER.items():
        some = wrong.filter(fewer, pl.col("category") == category).select("date", "source").unique()
        gone = [at for at in some.rows() if (first_read(*at) - at[0]).days >= days]
        too_late = pl.DataFrame(gone, schema=some.schema, orient="row").with_columns(
            category=pl.lit(category), _gone=True
        )
        marked = wrong.join(too_late, on=["date", "source", "category"], how="left")
        wrong = marked.filter(~(fewer & pl.col("_gone").fill_null(False))).drop("_gone")
    differing = {}
    for (day, source, sid), rows in sorted(
        wrong.partition_by("date", "source", "provider_account", as_dict=True).items()
    ):
        named = sorted(rows["account_id"].drop_nulls().unique())
        concerned = named or whom(day, source, sid)
        counts = "; ".join(_counted(row) for row in rows.sort("category").iter_rows(named=True))
        sentence = f"the provider counts otherwise on {day} for {sid} ({source}): {counts}"
        differing[str(day), sentence, f"load the day again with python -m etl run --date {day}"] = concerned
    return differing


def _counted(row: Mapping) -> str:
    unit = row["usage_unit"] or "units"
    return (
        f"{row['category']} {row['ledger_count']} record(s), {row['ledger_quantity']} {unit}, "
        f"ours {row['count']} and {row['quantity']}"
    )


def not_compared(
    days: Iterable[Version],
    telling: Collection[str],
    compared: Callable[[date, str], bool],
) -> list[Hold]:
    """Days of these roll-ups that were not ``compared``, as they are now, with the totals the source gives. ``telling``:
    the sources that give any; the others have nothing to be compared with."""
    return [
        Hold(f"{day} of {source} is not compared with the provider's own totals: python -m etl run --date {day}")
        for day, inputs in sorted((v.partition["date"], v.inputs) for v in days)
        for source in sorted({name.removeprefix("charges/") for name in inputs} & set(telling))
        if not compared(date.fromisoformat(day), source)
    ]


def unpriced(month: Month, daily: pl.DataFrame, today: date, wait_days: int) -> dict[str, list[Hold]]:
    """Account → its billed records that the provider has not priced, not older than ``wait_days``. ``daily``:
    `schemas.Daily` with date."""
    young = pl.col("date") >= today - timedelta(days=wait_days)
    waiting = (
        daily.filter(young, pl.col("line").is_in(PRICED_LINES), pl.col("unpriced") > 0)
        .group_by("account_id")
        .agg(pl.col("unpriced").sum(), first=pl.col("date").min(), last=pl.col("date").max())
    )
    holds = {}
    for account, count, first, last in (
        waiting.select("account_id", "unpriced", "first", "last").sort("account_id").rows()
    ):
        sentence = f"{count} record(s) from {first} to {last} have no price from the provider yet"
        until = last + timedelta(days=wait_days)
        remedy = f"load them again with python -m etl run --from {first} --to {last}; after {until} they hold no more"
        holds[account] = [Hold.waivable(month, account, sentence, remedy)]
    return holds


def unkept(results: Iterable[Result], account_id: str, *, again: bool = False) -> list[Hold]:
    """What holds the account of the audit: all that is not ok. A day out of bounds may be accepted, or was. How a closed
    month is corrected does not keep it from being closed ``again``: that is one way to mend it."""
    found = []
    for result in results:
        if result.verdict != OK and result.concerns(account_id) and not (again and result.invariant == CORRECTED):
            hold = Hold(str(result))
            own = result.invariant == BOUNDS and result.where.endswith(f"/account={account_id}")
            hold.sentence = result.sentence if own else ""
            hold.month = Month.of(result.day) if own else None
            found.append(hold)
    return found


def standing(month: Month, account_id: str, holds: Iterable[Hold], accepted: Iterable[str]) -> Standing:
    """The holds that nobody accepted, and the names of those that somebody did."""
    known, left, used = set(accepted), [], []
    for hold in dict.fromkeys(holds):
        name = hold.name(month, account_id)
        if name and name in known:
            used.append(name)
        else:
            left.append(hold)
    return Standing(tuple(left), tuple(used))


def later(lake: Lake, manifest: Mapping, stated: pl.DataFrame, booked: Sequence[Month], open_month: Month) -> str:
    """How the newest lines differ from those the month was closed with, and where that is corrected; empty while they do
    not. ``booked``: months whose statement has corrections of this one; ``open_month``: where they come otherwise."""
    mine = pl.col("account_id") == manifest["account_id"]
    was, now = (f.filter(mine) for f in (_rows(lake, manifest["statement"], stated.columns), stated))
    if now.equals(was):
        return ""
    changes = []
    for section, name in (("total", "a total"), ("product_total", "products")):
        before, after = (f.filter(pl.col("section") == section)["amount"].sum() for f in (was, now))
        if before != after:
            changes.append(f"{name} of {before.normalize():f}, which is now {after.normalize():f}")
    what = " and ".join(changes) or "the same totals, and other lines than now"
    stands = f"is on the statement of {' and '.join(map(str, booked))}"
    comes = f"comes on the statement of {open_month}"
    return (
        f"{manifest['month']} was closed with {what}. It stays as it is; what changed {stands if booked else comes}, as a "
        "correction"
    )


def corrected_in(lake: Lake, account_id: str, month: Month, statement: Version | Mapping) -> bool:
    """Whether this version of a later month's statement has corrections of ``month`` for the account."""
    rows = _rows(lake, statement, ["account_id", "for_month"])
    return not rows.filter(pl.col("account_id") == account_id, pl.col("for_month") == str(month)).is_empty()


def _rows(lake: Lake, reference: Version | Mapping, columns: Sequence[str]) -> pl.DataFrame:
    """These columns of a version; null where it was written before they were."""
    frame = lake.read(reference if isinstance(reference, Version) else pinned(lake, reference))
    return _widened(frame, columns)


def _widened(frame: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    return frame.with_columns(pl.lit(None, pl.String).alias(c) for c in columns if c not in frame.columns).select(
        columns
    )


def manifest(
    lake: Lake,
    account: Account,
    month: Month,
    statement: Version,
    days: Mapping[Partition, Version],
    by_month: Iterable[Version],
    *,
    total: Decimal,
    closed_at: str,
    reconciled: Iterable[Version] = (),
    provider_accounts: Iterable[str] = (),
    names: Mapping[str, pl.DataFrame] | None = None,
    accepted: Iterable[str] = (),
    told: Mapping[str, int] | None = None,
    revision: int = 1,
    reason: str = "",
) -> dict:
    """What freezes the account's month as ``revision``. ``provider_accounts``: those whose totals are this account's.
    ``names``: `named` of the account. ``accepted``: names of the holds a person accepted. ``told``: the revisions of earlier
    months that its page tells of. ``reason``: why it was reopened."""
    document = {
        "account_id": account.account_id,
        "month": str(month),
        "revision": revision,
        "closed_at": closed_at,
        "run_id": lake.run_id,
        "currency": account.currency,
        "account": {name: getattr(account, name) for name in _SHOWN},
        "terms": terms(account),
        "total": str(total),
        "statement": _reference(statement),
        "daily": sorted(map(_reference, days.values()), key=lambda reference: reference["partition"]),
        **{v.partition.dataset: _reference(v) for v in by_month},
        "reconciled": sorted(map(_reference, reconciled), key=lambda reference: reference["partition"]),
        "provider_accounts": list(provider_accounts),
        **{name: frame.rows() for name, frame in (names or {}).items()},
        "accepted": sorted(accepted),
        "told": dict(told or {}),
    }
    return document if revision == 1 else document | {"replaces": revision - 1, "reason": reason}


def close(lake: Lake, document: Mapping) -> Closing:
    """Freeze the account's month with a `manifest`. A second attempt to close, or a rival, finds the first one's and is
    content with it: a closed month is immutable. A rival's later revision is a Conflict: it may hold something else."""
    month, account_id, revision = Month.parse(document["month"]), document["account_id"], document["revision"]
    with contextlib.suppress(*([Conflict] if revision == 1 else [])):
        lake.pin(close_key(month, account_id, revision), document)
    return Closing(account_id, month, revision)


def alike(lake: Lake, closed: Mapping, document: Mapping) -> bool:
    """Whether a closing and a `manifest` of now say the same of the account: rows, names, what it was compared with."""
    plain = json.loads(json.dumps(document))
    if any(closed.get(name) != plain.get(name) for name in ("currency", "account", "provider_accounts", *NAMED)):
        return False
    mine = ("account_id", [plain["account_id"]])
    whose = dict.fromkeys(("statement", "monthly", "credits", "corrections", "daily"), mine)
    whose["reconciled"] = ("provider_account", plain["provider_accounts"])
    return all(_same_rows(lake, _listed(closed.get(n)), _listed(plain.get(n)), *which) for n, which in whose.items())


def _listed(references: list | Mapping | None) -> list:
    return references if isinstance(references, list) else [references] if references else []


def _same_rows(lake: Lake, then: list, now: list, column: str, values: list[str]) -> bool:
    """Whether two lists of references hold the same rows of these values; what has one hash is not read."""
    before, after = ({r["partition"]: r for r in references} for references in (then, now))
    for path in sorted(before.keys() | after.keys()):
        pair = [side[path] for side in (before, after) if path in side]
        if len(pair) == 2 and pair[0]["sha256"] == pair[1]["sha256"]:
            continue
        frames = [lake.read(pinned(lake, r)).filter(pl.col(column).is_in(values)) for r in pair]
        columns = list(dict.fromkeys(c for frame in frames for c in frame.columns))
        first, *other = (_widened(frame, columns) for frame in frames)
        if not (first.equals(other[0]) if other else first.is_empty()):
            return False
    return True


def named(directory: Directory, account_id: str) -> dict[str, pl.DataFrame]:
    """What the directory calls the account's ``owners`` and ``campaigns``: the columns of `NAMED`."""
    frames = {"owners": directory.owners, "campaigns": directory.campaigns}
    mine = pl.col("account_id") == account_id
    return {name: frame.filter(mine).select(NAMED[name]) for name, frame in frames.items()}


def every_named(directory: Directory) -> Callable[[str], dict[str, pl.DataFrame]]:
    """`named` of any account, for as many as are asked for."""
    frames = {"owners": directory.owners, "campaigns": directory.campaigns}
    parts = {n: f.partition_by("account_id", as_dict=True, maintain_order=True) for n, f in frames.items()}
    return lambda account_id: {n: parts[n].get((account_id,), f.clear()).select(NAMED[n]) for n, f in frames.items()}


@lru_cache(maxsize=4096)
def _reference(version: Version) -> dict:
    # Made once for all the accounts whose closings pin it.
    return {"partition": version.partition.path, "seq": version.seq, "sha256": version.sha256, "rows": version.rows}


def as_closed(account: Account, manifest: dict | None) -> Account:
    """The account as the month was closed with it; a manifest without a name leaves the directory's."""
    if manifest is None:
        return account
    return replace(account, currency=manifest["currency"], **manifest.get("account", {}))


def as_pinned(manifest: dict | None, names: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """`named`, as the month was closed with it."""
    pinned = {name: (manifest or {}).get(name) for name in names}
    return {
        name: frame if pinned[name] is None else pl.DataFrame(pinned[name], schema=frame.schema, orient="row")
        for name, frame in names.items()
    }
