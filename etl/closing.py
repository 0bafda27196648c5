"""Closing a UTC month for an account: what holds it, the manifest that freezes it, and how it is found again.

A month closes account by account. Closing creates ``close/month=…/account=…/rev-0001`` once and for all: the partitions
the statement was computed from, by sequence number and hash. From then on the statement is read from those, whatever
arrives later.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

import polars as pl

from etl.directory import Account, Directory
from etl.lake import Conflict, Lake, Partition, Version
from etl.periods import Month

NAMED = {"owners": ("owner_kind", "owner_id", "name"), "campaigns": ("campaign_id", "name")}
"""Names a statement shows, and by what they are found."""

_SHOWN = ("name", "company", "locale")
"""Of an account, beside its currency: what its page shows."""


@dataclass(frozen=True)
class Closing:
    """What became of closing one account's month: final with its revision, or held with every reason."""

    account_id: str
    month: Month
    revision: int
    held: tuple[str, ...] = ()
    later: str = ""
    """What arrived after closing, as a sentence: it is in the lake and on no statement yet."""

    @property
    def closed(self) -> bool:
        return not self.held


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
    unrated = mine.filter(pl.col("section").is_in(["usage", "product"]))["unrated"].sum()
    if unrated:
        reasons.append(
            f"{unrated} charge(s) without a price: add the price to the rate card, then python -m etl rate --month {month}"
        )
    if mine.height == 0:
        reasons.append("no statement: run python -m etl run for the month first")
    else:
        reasons += [f"{sentence}: this is a defect, do not send it" for sentence in cross_foot(mine)]
    return tuple(reasons)


def cross_foot(lines: pl.DataFrame) -> list[str]:
    """What does not add up in one account's `schemas.Statement` rows, as sentences: usage + tax + rounding is the total,
    the products are the product total."""
    wrong = []
    for total, parts in (("total", ("usage", "tax", "rounding")), ("product_total", ("product",))):
        said = lines.filter(pl.col("section") == total)["amount"].sum()
        added = lines.filter(pl.col("section").is_in(parts))["amount"].sum()
        if said != added:
            wrong.append(f"the {total} says {said}, its lines add up to {added}")
    return wrong


def later(lake: Lake, manifest: dict, stated: pl.DataFrame) -> str:
    """How the newest lines differ from those the month was closed with; empty while they do not."""
    mine = pl.col("account_id") == manifest["account_id"]
    reference = manifest["statement"]
    version = lake.version(Partition.parse(reference["partition"]), reference["seq"])
    pinned = lake.read(version, stated.columns).filter(mine)
    now = stated.filter(mine)
    if now.equals(pinned):
        return ""
    changes = []
    for section, name in (("total", "a total"), ("product_total", "products")):
        was, is_ = (f.filter(pl.col("section") == section)["amount"].sum() for f in (pinned, now))
        if was != is_:
            changes.append(f"{name} of {was.normalize():f}, which is now {is_.normalize():f}")
    what = " and ".join(changes) or "the same totals, and other lines than now"
    return f"{manifest['month']} was closed with {what}. The statement stays as it is"


def close_key(month: Month, account_id: str, revision: int) -> str:
    return f"close/month={month}/account={account_id}/rev-{revision:04d}"


def closings(lake: Lake, month: Month) -> dict[str, dict]:
    """account_id → the newest close manifest of the month."""
    keys = lake.list_pins(f"close/month={month}/")
    newest = {key.split("/")[2].removeprefix("account="): key for key in sorted(keys)}
    return {account: lake.get_pin(key) for account, key in newest.items()}


def close(
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
) -> Closing:
    """Freeze the account's month as revision 1. A second attempt, or a rival, finds the first one's manifest and is
    content with it: a closed month is immutable. ``provider_accounts``: those whose totals are this account's. ``names``:
    `named` of the account."""
    document = {
        "account_id": account.account_id,
        "month": str(month),
        "revision": 1,
        "closed_at": closed_at,
        "run_id": lake.run_id,
        "currency": account.currency,
        "account": {name: getattr(account, name) for name in _SHOWN},
        "total": str(total),
        "statement": _reference(statement),
        "daily": [_reference(v) for _, v in sorted(days.items(), key=lambda item: item[0].path)],
        **{v.partition.dataset: _reference(v) for v in by_month},
        "reconciled": [_reference(v) for v in sorted(reconciled, key=lambda v: v.partition.path)],
        "provider_accounts": list(provider_accounts),
        **{name: frame.rows() for name, frame in (names or {}).items()},
    }
    with contextlib.suppress(Conflict):
        lake.pin(close_key(month, account.account_id, 1), document)
    return Closing(account.account_id, month, revision=1)


def named(directory: Directory, account_id: str) -> dict[str, pl.DataFrame]:
    """What the directory calls the account's ``owners`` and ``campaigns``: the columns of `NAMED`."""
    frames = {"owners": directory.owners, "campaigns": directory.campaigns}
    mine = pl.col("account_id") == account_id
    return {name: frame.filter(mine).select(NAMED[name]) for name, frame in frames.items()}


def _reference(version: Version) -> dict:
    return {"partition": version.partition.path, "seq": version.seq, "sha256": version.sha256, "rows": version.rows}


def pinned(lake: Lake, reference: Mapping) -> Version:
    """The version a manifest names. LookupError if it is not what was pinned."""
    version = lake.version(Partition.parse(reference["partition"]), reference["seq"])
    if version.sha256 != reference["sha256"]:
        raise LookupError(f"{reference['partition']} version {reference['seq']} is not what the closed month pinned")
    return version


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
