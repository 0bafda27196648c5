"""Who owns which number, when: the directory files, and the attribution of events by them.

Four CSV files in one folder. Validity is [valid_from, valid_to) in UTC days; an empty cell is open-ended.

======================  ====================================================================================
``accounts.csv``        account_id, name, company, currency, rate_card, email_to (``;`` between addresses),
                        provider_account_sid (``;`` between several), optional locale and valid_from
``owners.csv``          account_id, owner_kind (member | inbox), owner_id, name
``numbers.csv``         number_e164, account_id, owner_kind, owner_id, campaign_id, registered, number_class,
                        valid_from, valid_to
``campaigns.csv``       account_id, campaign_id, name, voice_detection
======================  ====================================================================================
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import polars as pl

from etl import tables
from etl.periods import Month, parse_day
from etl.schemas import NUMBER_CLASSES, UNASSIGNED
from etl.settings import SAFE_ID, ConfigurationError

_COLUMNS = {
    "accounts": ("account_id", "name", "company", "currency", "rate_card", "email_to", "provider_account_sid"),
    "owners": ("account_id", "owner_kind", "owner_id", "name"),
    "numbers": (
        "number_e164", "account_id", "owner_kind", "owner_id", "campaign_id", "registered", "number_class",
        "valid_from", "valid_to",
    ),
    "campaigns": ("account_id", "campaign_id", "name", "voice_detection"),
}  # fmt: skip


@dataclass(frozen=True)
class Account:
    """A customer billed."""

    account_id: str
    name: str
    company: str
    currency: str
    rate_card: str
    email_to: tuple[str, ...]
    provider_accounts: tuple[str, ...] = ()
    locale: str = "en_US"
    valid_from: date | None = None
    """First UTC day as a customer; no statement is made for months before. None: from go-live."""


@dataclass(frozen=True)
class Directory:
    """The four files, checked. ``numbers`` has valid_from/valid_to as Date (null = open-ended), registered as Boolean."""

    accounts: tuple[Account, ...]
    owners: pl.DataFrame
    numbers: pl.DataFrame
    campaigns: pl.DataFrame
    fingerprint: str

    @cached_property
    def by_id(self) -> dict[str, Account]:
        return {a.account_id: a for a in self.accounts}

    def of_month(self, month: Month) -> tuple[Account, ...]:
        """Accounts that were customers on some day of the month."""
        return tuple(a for a in self.accounts if a.valid_from is None or a.valid_from < month.end)

    def account(self, account_id: str) -> Account:
        """Raises ConfigurationError for an account that accounts.csv does not list."""
        try:
            return self.by_id[account_id]
        except KeyError:
            known = ", ".join(sorted(self.by_id))
            raise ConfigurationError(f"account {account_id!r} is not in accounts.csv: use one of {known}") from None

    def attribute(self, events: pl.DataFrame, day: date, default_currency: str) -> pl.DataFrame:
        """events of one UTC day → the same rows plus account_id, owner_kind, owner_id, campaign_id, registered,
        number_class, currency and rate_card.

        Our number is the sender of what goes out and the recipient of what comes in. Its row in force on ``day`` names
        account and owner; a number without one leaves the owner unassigned and the account to the provider's
        sub-account. What neither knows is account ``unassigned``, shown and never billed.
        """
        in_force = self.numbers.filter(
            (pl.col("valid_from").is_null() | (pl.col("valid_from") <= day))
            & (pl.col("valid_to").is_null() | (pl.col("valid_to") > day))
        ).select(
            our_number="number_e164",
            _number_account="account_id",
            owner_kind="owner_kind",
            owner_id="owner_id",
            campaign_id="campaign_id",
            registered="registered",
            number_class="number_class",
        )
        by_provider = pl.DataFrame(
            [(sid, a.account_id) for a in self.accounts for sid in a.provider_accounts],
            schema={"provider_account": pl.String, "_provider_account_id": pl.String},
            orient="row",
        )
        by_account = pl.DataFrame(
            [(a.account_id, a.currency, a.rate_card) for a in self.accounts],
            schema={"account_id": pl.String, "currency": pl.String, "rate_card": pl.String},
            orient="row",
        )
        ours = pl.when(pl.col("direction") == "outbound").then("from_number").otherwise("to_number")
        return (
            events.with_columns(our_number=ours)
            .join(in_force, on="our_number", how="left", maintain_order="left")
            .join(by_provider, on="provider_account", how="left", maintain_order="left")
            .with_columns(
                account_id=pl.coalesce("_number_account", "_provider_account_id", pl.lit(UNASSIGNED)),
                owner_kind=pl.col("owner_kind").fill_null(UNASSIGNED),
                owner_id=pl.col("owner_id").fill_null(UNASSIGNED),
            )
            .join(by_account, on="account_id", how="left", maintain_order="left")
            .with_columns(currency=pl.col("currency").fill_null(default_currency))
            .drop("our_number", "_number_account", "_provider_account_id")
        )


def load(folder: Path) -> Directory:
    """The directory in ``folder``. ConfigurationError lists every bad row by file and line, not just the first."""
    frames, problems, digest = {}, [], hashlib.sha256()
    for name, columns in _COLUMNS.items():
        frame, sha = tables.read(folder / f"{name}.csv", columns)
        digest.update(name.encode() + sha)
        frames[name] = frame.with_row_index("line", offset=2)
    problems += _check_accounts(frames["accounts"])
    known = set(frames["accounts"]["account_id"].drop_nulls())
    for name in ("owners", "numbers", "campaigns"):
        problems += [
            f"{name}.csv line {line}: account {account!r} is not in accounts.csv"
            for line, account in frames[name].select("line", "account_id").iter_rows()
            if account not in known
        ]
    problems += _check_owners(frames["owners"])
    problems += _check_campaigns(frames["campaigns"])
    numbers, number_problems = _numbers(frames["numbers"], frames["owners"], frames["campaigns"])
    problems += number_problems
    if problems:
        raise ConfigurationError(f"the directory in {folder} is not usable:\n" + "\n".join(f"  {p}" for p in problems))
    return Directory(
        accounts=tuple(_accounts(frames["accounts"])),
        owners=frames["owners"].select(_COLUMNS["owners"]),
        numbers=numbers,
        campaigns=frames["campaigns"]
        .select(_COLUMNS["campaigns"])
        .with_columns(voice_detection=_true_or_false("voice_detection")),
        fingerprint=digest.hexdigest(),
    )


def _true_or_false(column: str) -> pl.Expr:
    """true and false however a spreadsheet writes them; null for anything else."""
    words = {"true": True, "false": False}
    return pl.col(column).str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)


def _day(text: str | None) -> date | None:
    try:
        return parse_day(text) if text else None
    except ValueError:
        return None


def _split(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(";") if part.strip())


def _accounts(frame: pl.DataFrame) -> Iterator[Account]:
    for row in frame.iter_rows(named=True):
        yield Account(
            account_id=row["account_id"],
            name=row["name"],
            company=row["company"] or row["name"],
            currency=row["currency"],
            rate_card=row["rate_card"],
            email_to=_split(row["email_to"]),
            provider_accounts=_split(row["provider_account_sid"]),
            locale=row.get("locale") or "en_US",
            valid_from=_day(row.get("valid_from")),
        )


def _check_accounts(frame: pl.DataFrame) -> Iterator[str]:
    seen: dict[str, int] = {}
    sids: dict[str, str] = {}
    for row in frame.iter_rows(named=True):
        where = f"accounts.csv line {row['line']}"
        account_id = row["account_id"] or ""
        if not re.fullmatch(SAFE_ID, account_id) or account_id == UNASSIGNED:
            yield (
                f"{where}: account_id {account_id!r} must be letters, digits, - and _ (at most 64), and not {UNASSIGNED}"
            )
        if account_id in seen:
            yield f"{where}: account_id {account_id!r} stands already on line {seen[account_id]}"
        seen.setdefault(account_id, row["line"])
        if not row["name"]:
            yield f"{where}: name is empty"
        if not re.fullmatch("[A-Z]{3}", row["currency"] or ""):
            yield f"{where}: currency {row['currency']!r} must be three capital letters, such as USD"
        if row.get("valid_from") and _day(row["valid_from"]) is None:
            yield f"{where}: valid_from {row['valid_from']!r} must be empty or a day, YYYY-MM-DD"
        if not row["rate_card"]:
            yield f"{where}: rate_card is empty: name a card of the rates folder"
        for address in _split(row["email_to"]):
            if not re.fullmatch(r"[^\s<>@,;]+@[^\s<>@,;]+", address):
                yield f"{where}: {address!r} is not an e-mail address"
        for sid in _split(row["provider_account_sid"]):
            if sid in sids:
                yield f"{where}: provider account {sid!r} already belongs to {sids[sid]!r}"
            sids.setdefault(sid, account_id)


def _check_owners(frame: pl.DataFrame) -> Iterator[str]:
    seen: dict[tuple, int] = {}
    for row in frame.iter_rows(named=True):
        where = f"owners.csv line {row['line']}"
        kind, owner_id = row["owner_kind"], row["owner_id"]
        if kind not in ("member", "inbox"):
            yield f"{where}: owner_kind {kind!r} must be member or inbox"
        if not owner_id or owner_id == UNASSIGNED:
            yield f"{where}: owner_id {owner_id!r} must be given, and not {UNASSIGNED}"
        key = (row["account_id"], kind, owner_id)
        if key in seen:
            yield f"{where}: {kind} {owner_id!r} stands already on line {seen[key]}"
        seen.setdefault(key, row["line"])


def _check_campaigns(frame: pl.DataFrame) -> Iterator[str]:
    seen: dict[tuple, int] = {}
    for row in frame.iter_rows(named=True):
        where = f"campaigns.csv line {row['line']}"
        if not row["campaign_id"]:
            yield f"{where}: campaign_id is empty"
        if (row["voice_detection"] or "").lower() not in ("true", "false"):
            yield f"{where}: voice_detection must be true or false"
        key = (row["account_id"], row["campaign_id"])
        if key in seen:
            yield f"{where}: campaign {row['campaign_id']!r} stands already on line {seen[key]}"
        seen.setdefault(key, row["line"])


def _numbers(frame: pl.DataFrame, owners: pl.DataFrame, campaigns: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    typed = frame.with_columns(
        pl.col("valid_from", "valid_to").str.to_date("%Y-%m-%d", strict=False).name.suffix("_date"),
        registered=_true_or_false("registered"),
    )
    known_owners = set(owners.select("account_id", "owner_kind", "owner_id").iter_rows())
    known_campaigns = set(campaigns.select("account_id", "campaign_id").iter_rows())
    problems = []
    last: dict[str, tuple[int, date | None]] = {}
    in_order = typed.sort("number_e164", pl.col("valid_from_date").fill_null(date.min), maintain_order=True)
    for row in in_order.iter_rows(named=True):
        where = f"numbers.csv line {row['line']}"
        number = row["number_e164"] or ""
        if not re.fullmatch(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}", number):
            problems.append(f"{where}: number_e164 must be + and 7 to 15 digits, or a short code")
        if row["owner_kind"] not in ("member", "inbox"):
            problems.append(f"{where}: owner_kind {row['owner_kind']!r} must be member or inbox")
        elif (row["account_id"], row["owner_kind"], row["owner_id"]) not in known_owners:
            problems.append(f"{where}: {row['owner_kind']} {row['owner_id']!r} is not in owners.csv")
        if row["campaign_id"] and (row["account_id"], row["campaign_id"]) not in known_campaigns:
            problems.append(f"{where}: campaign {row['campaign_id']!r} is not in campaigns.csv")
        if row["number_class"] not in NUMBER_CLASSES:
            problems.append(f"{where}: number_class {row['number_class']!r} must be one of {', '.join(NUMBER_CLASSES)}")
        if row["registered"] is None:
            problems.append(f"{where}: registered must be true or false")
        for column in ("valid_from", "valid_to"):
            if row[column] and row[f"{column}_date"] is None:
                problems.append(f"{where}: {column} {row[column]!r} must be a day, YYYY-MM-DD")
        start, end = row["valid_from_date"] or date.min, row["valid_to_date"]
        if end is not None and end <= start:
            problems.append(f"{where}: valid_to must lie after valid_from")
        if number in last and (last[number][1] is None or start < last[number][1]):
            since = row["valid_from"] or "its first day"
            problems.append(f"{where}: the number is already owned on {since} by line {last[number][0]}")
        last[number] = (row["line"], end)
    return (
        typed.select(
            "number_e164", "account_id", "owner_kind", "owner_id", "campaign_id", "registered", "number_class",
            valid_from="valid_from_date", valid_to="valid_to_date",
        ),
        problems,
    )  # fmt: skip
