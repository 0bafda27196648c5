"""Close manifests: what a closed month pins, found and read again. `etl.closing` makes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import polars as pl

from etl.directory import Account, Directory
from etl.lake import Lake, Partition, Version
from etl.periods import Month
from etl.schemas import DATASETS

TERMS = ("currency", "rate_card", "service_address", "tax_exempt")
"""Of an account: what decides its amounts and has no dates of its own in accounts.csv."""


def close_key(month: Month, account_id: str, revision: int) -> str:
    return f"close/month={month}/account={account_id}/rev-{revision:04d}"


def revisions(lake: Lake, month: Month) -> dict[str, int]:
    """account_id → the newest revision it closed the month with. One listing."""
    keys = (key.split("/") for key in sorted(lake.list_pins(f"close/month={month}/")))
    return {account.removeprefix("account="): int(name.removeprefix("rev-")) for _, _, account, name in keys}


def closings(lake: Lake, month: Month) -> dict[str, dict]:
    """account_id → the newest close manifest of the month."""
    return {a: lake.get_pin(close_key(month, a, revision)) for a, revision in revisions(lake, month).items()}


def pinned(lake: Lake, reference: Mapping) -> Version:
    """The version a manifest names. LookupError if it is not what was pinned."""
    version = lake.version(Partition.parse(reference["partition"]), reference["seq"])
    if version.sha256 != reference["sha256"]:
        raise LookupError(f"{reference['partition']} version {reference['seq']} is not what the closed month pinned")
    return version


def rows(lake: Lake, version: Version, accounts: Iterable[str]) -> pl.DataFrame:
    """The rows that a version of a dataset with accounts has of these, in the contract's columns: one that was added since
    is null."""
    dataset = DATASETS[version.partition.dataset]
    found = lake.read(version)
    lacking = [pl.lit(None, kind).alias(name) for name, kind in dataset.types.items() if name not in found.columns]
    return found.with_columns(lacking).select(dataset.columns).filter(pl.col("account_id").is_in(list(accounts)))


def rows_as_closed(lake: Lake, manifests: Mapping[str, Mapping], dataset: str, counted: str = "") -> pl.DataFrame:
    """`rows` of a dataset that these accounts (account_id → manifest) closed a month with. ``counted``: only of versions
    whose log entry counts some of it."""
    found: dict[Version, list[str]] = {}
    for account, manifest in manifests.items():
        if dataset in manifest:
            found.setdefault(pinned(lake, manifest[dataset]), []).append(account)
    parts = [rows(lake, v, a) for v, a in found.items() if not counted or int(v.sums.get(counted, 0))]
    return pl.concat([DATASETS[dataset].empty(), *parts])


def terms(account: Account) -> dict:
    """What a manifest keeps of an account's `TERMS`."""
    return {name: list(v) if isinstance(v := getattr(account, name), tuple) else v for name in TERMS}


def as_agreed(directory: Directory, manifests: Mapping[str, Mapping]) -> Directory:
    """The directory with the `TERMS` that accounts closed a month with: what is agreed later is not for that month."""

    def then(account: Account) -> Account:
        kept = manifests.get(account.account_id, {}).get("terms", {})
        return replace(account, **{n: tuple(v) if isinstance(v, list) else v for n, v in kept.items()})

    return replace(directory, accounts=tuple(then(a) for a in directory.accounts)) if manifests else directory
