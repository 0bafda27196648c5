"""The directory files: read, typed, and checked row by row, so that every bad one is named at once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

import polars as pl

from etl import tables
from etl.directory.attribution import Account, Directory
from etl.money import parse
from etl.schemas import NUMBER_CLASSES, UNASSIGNED
from etl.settings import SAFE_ID, ConfigurationError

COLUMNS = {
    "accounts": ("account_id", "name", "company", "currency", "rate_card", "email_to", "provider_account_sid"),
    "owners": ("account_id", "owner_kind", "owner_id", "name"),
    "numbers": (
        "number_e164", "account_id", "owner_kind", "owner_id", "campaign_id", "registered", "number_class",
        "valid_from", "valid_to",
    ),
    "campaigns": ("account_id", "campaign_id", "name", "voice_detection"),
    "carriers": ("prefix_e164", "carrier"),
    "places": ("prefix_e164", "jurisdiction"),
}  # fmt: skip
OPTIONAL = {
    "accounts": ("locale", "valid_from", "service_address", "tax_exempt"),
    "owners": ("identity",),
    "numbers": ("monthly_price",),
    "campaigns": ("valid_from", "valid_to"),
}
MAY_LACK = ("carriers", "places")

_SEPARATORS = r"[\s+.\-()/_:]"
_PHONE = r"[^\W\d_]{1,12}\d{10,15}|\d{7,}"
"""An id without its separators: the digits of a telephone number, or a word and ten of them. Longer mixtures, such as
UUIDs, are none."""
_E164 = r"(?<!\w)\+[\s.\-()]*\d(?:[\s.\-()]*\d){6,}"
_PLACE = r"\w+(-\w+)*"


def load(folder: Path) -> Directory:
    """The directory in ``folder``. ConfigurationError lists every bad row by file and line, not just the first."""
    frames, digest = {}, hashlib.sha256()
    for name, columns in COLUMNS.items():
        frame, sha = tables.read(folder / f"{name}.csv", columns, OPTIONAL.get(name, ()), may_lack=name in MAY_LACK)
        if sha:
            digest.update(name.encode() + sha)
        frames[name] = _typed(frame)
    problems = [
        *_check_accounts(frames["accounts"]),
        *_check_known(frames),
        *_check_owners(frames["owners"]),
        *_check_campaigns(frames["campaigns"]),
        *_check_numbers(frames["numbers"], frames["owners"], frames["campaigns"]),
        *_check_prefixes("carriers", frames["carriers"], "carrier"),
        *_check_prefixes("places", frames["places"], "jurisdiction"),
    ]
    if problems:
        raise ConfigurationError(f"the directory in {folder} is not usable:\n" + "\n".join(f"  {p}" for p in problems))
    return Directory(
        accounts=tuple(_accounts(frames["accounts"])),
        owners=frames["owners"].select(COLUMNS["owners"]),
        identities=_identities(frames["owners"]).select("account_id", "identity", "owner_kind", "owner_id"),
        numbers=_numbers(frames["numbers"]),
        campaigns=_last_rows(frames["campaigns"]),
        detection=_detection(frames["campaigns"]),
        carriers=frames["carriers"].select("prefix", "carrier"),
        places=frames["places"].select("prefix", "jurisdiction"),
        fingerprint=digest.hexdigest(),
    )


# ------------------------------------------------------------------------------------------------ what rows say


def _typed(frame: pl.DataFrame) -> pl.DataFrame:
    """The cells as written, and beside them what they mean: <day>_date, <word>_is, monthly_price_is, prefix."""
    meant = []
    for column in frame.columns:
        if column in ("valid_from", "valid_to"):
            meant.append(tables.day(column).alias(f"{column}_date"))
        elif column in ("registered", "voice_detection"):
            meant.append(tables.true_or_false(column).alias(f"{column}_is"))
        elif column == "monthly_price":
            meant.append(parse(pl.col(column)).alias("monthly_price_is"))
        elif column == "prefix_e164":
            meant.append(pl.col(column).str.strip_prefix("+").alias("prefix"))
    return frame.with_columns(meant)


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
            locale=row["locale"] or "en_US",
            valid_from=row["valid_from_date"],
            service_address=row["service_address"],
            tax_exempt=_split(row["tax_exempt"]),
        )


def _identities(owners: pl.DataFrame) -> pl.DataFrame:
    """Owners with the name they have in video rooms, in lower case: the identity given, else a member's owner_id. Of
    names that only differ in case none counts, because nothing says whose it is."""
    own = pl.when(pl.col("owner_kind") == "member").then("owner_id")
    return (
        owners.with_columns(identity=pl.coalesce("identity", own).str.to_lowercase())
        .drop_nulls("identity")
        .filter(pl.len().over("account_id", "identity") == 1)
    )  # fmt: skip


def _numbers(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        "number_e164", "account_id", "owner_kind", "owner_id", "campaign_id", "number_class",
        registered="registered_is", monthly_price="monthly_price_is",
        valid_from="valid_from_date", valid_to="valid_to_date",
    )  # fmt: skip


def _detection(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        "account_id", "campaign_id", voice_detection="voice_detection_is",
        valid_from="valid_from_date", valid_to="valid_to_date",
    )  # fmt: skip


def _last_rows(frame: pl.DataFrame) -> pl.DataFrame:
    return (
        frame.with_row_index("place")
        .sort("valid_from_date", nulls_last=False)
        .unique(["account_id", "campaign_id"], keep="last", maintain_order=True)
        .sort("place")
        .select("account_id", "campaign_id", "name", voice_detection="voice_detection_is")
    )


# ------------------------------------------------------------------------------------------------ what is wrong


def _by_line(file: str, frame: pl.DataFrame) -> Iterator[tuple[str, dict]]:
    """("numbers.csv line 7", row) of every row."""
    for row in frame.iter_rows(named=True):
        yield f"{file}.csv line {row[tables.LINE]}", row


def _check_known(frames: dict[str, pl.DataFrame]) -> Iterator[str]:
    known = set(frames["accounts"]["account_id"].drop_nulls())
    for name in ("owners", "numbers", "campaigns"):
        for where, row in _by_line(name, frames[name]):
            if row["account_id"] not in known:
                yield f"{where}: account {row['account_id']!r} is not in accounts.csv"


def _check_accounts(frame: pl.DataFrame) -> Iterator[str]:
    seen: dict[str, int] = {}
    sids: dict[str, str] = {}
    for where, row in _by_line("accounts", frame):
        account_id = row["account_id"] or ""
        if not re.fullmatch(SAFE_ID, account_id) or account_id == UNASSIGNED:
            allowed = f"letters, digits, - and _ (at most 64), and not {UNASSIGNED}"
            yield f"{where}: account_id {account_id!r} must be {allowed}"
        if account_id in seen:
            yield f"{where}: account_id {account_id!r} stands already on line {seen[account_id]}"
        seen.setdefault(account_id, row[tables.LINE])
        if not row["name"]:
            yield f"{where}: name is empty"
        if not re.fullmatch("[A-Z]{3}", row["currency"] or ""):
            yield f"{where}: currency {row['currency']!r} must be three capital letters, such as USD"
        if row["valid_from"] and row["valid_from_date"] is None:
            yield f"{where}: valid_from {row['valid_from']!r} must be empty or a day, YYYY-MM-DD"
        if not row["rate_card"]:
            yield f"{where}: rate_card is empty: name a card of the rates folder"
        if row["service_address"]:
            yield from _check_place(where, "service_address", row["service_address"])
        for address in _split(row["email_to"]):
            if not re.fullmatch(r"[^\s<>@,;]+@[^\s<>@,;]+", address):
                yield f"{where}: {address!r} is not an e-mail address"
        for sid in _split(row["provider_account_sid"]):
            if sid in sids:
                yield f"{where}: provider account {sid!r} already belongs to {sids[sid]!r}"
            sids.setdefault(sid, account_id)


def _check_place(where: str, column: str, text: str) -> Iterator[str]:
    if not re.fullmatch(_PLACE, text) or text != text.upper():
        yield f"{where}: {column} {text!r} must be capital letters, widest part first, such as US-WA-SEATTLE"


def _check_owners(frame: pl.DataFrame) -> Iterator[str]:
    seen: dict[tuple, int] = {}
    for where, row in _by_line("owners", frame):
        kind, owner_id = row["owner_kind"], row["owner_id"]
        if kind not in ("member", "inbox"):
            yield f"{where}: owner_kind {kind!r} must be member or inbox"
        if not owner_id or owner_id == UNASSIGNED:
            yield f"{where}: owner_id {owner_id!r} must be given, and not {UNASSIGNED}"
        if _is_phone(owner_id or ""):
            yield f"{where}: owner_id is a telephone number: give it an id such as front-desk, because ids are published"
            continue
        key = (row["account_id"], kind, owner_id)
        if key in seen:
            yield f"{where}: {kind} {owner_id!r} stands already on line {seen[key]}"
        seen.setdefault(key, row[tables.LINE])
    named = set(_identities(frame)[tables.LINE])
    for where, row in _by_line("owners", frame.filter(pl.col("identity").is_not_null())):
        if row[tables.LINE] not in named:
            yield f"{where}: identity {row['identity']!r} is another owner's too: give each their own"


def _is_phone(text: str) -> bool:
    return bool(re.search(_E164, text) or re.fullmatch(_PHONE, re.sub(_SEPARATORS, "", text)))


def _check_campaigns(frame: pl.DataFrame) -> Iterator[str]:
    for where, row in _by_line("campaigns", frame):
        if not row["campaign_id"]:
            yield f"{where}: campaign_id is empty"
        if row["voice_detection_is"] is None:
            yield f"{where}: voice_detection must be true or false"
        yield from _check_days(where, row)
    for where, row, other, since in _overlaps("campaigns", frame, ("account_id", "campaign_id")):
        yield f"{where}: campaign {row['campaign_id']!r} stands already on line {other} on {since}: end one by valid_to"


def _check_numbers(frame: pl.DataFrame, owners: pl.DataFrame, campaigns: pl.DataFrame) -> Iterator[str]:
    known_owners = set(owners.select("account_id", "owner_kind", "owner_id").iter_rows())
    known_campaigns = set(campaigns.select("account_id", "campaign_id").iter_rows())
    for where, row in _by_line("numbers", frame):
        if not re.fullmatch(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}", row["number_e164"] or ""):
            yield f"{where}: number_e164 must be + and 7 to 15 digits, or a short code"
        if row["owner_kind"] not in ("member", "inbox"):
            yield f"{where}: owner_kind {row['owner_kind']!r} must be member or inbox"
        elif (row["account_id"], row["owner_kind"], row["owner_id"]) not in known_owners:
            yield f"{where}: {row['owner_kind']} {row['owner_id']!r} is not in owners.csv"
        if row["campaign_id"] and (row["account_id"], row["campaign_id"]) not in known_campaigns:
            yield f"{where}: campaign {row['campaign_id']!r} is not in campaigns.csv"
        if row["number_class"] not in NUMBER_CLASSES:
            yield f"{where}: number_class {row['number_class']!r} must be one of {', '.join(NUMBER_CLASSES)}"
        if row["registered_is"] is None:
            yield f"{where}: registered must be true or false"
        if row["monthly_price"] and (row["monthly_price_is"] is None or row["monthly_price_is"] < 0):
            yield f"{where}: monthly_price {row['monthly_price']!r} must be a number, 0 or more, at most 9 decimals"
        yield from _check_days(where, row)
    for where, _, other, since in _overlaps("numbers", frame, ("number_e164",)):
        yield f"{where}: the number is already owned on {since} by line {other}"


def _check_days(where: str, row: dict) -> Iterator[str]:
    for column in ("valid_from", "valid_to"):
        if row[column] and row[f"{column}_date"] is None:
            yield f"{where}: {column} {row[column]!r} must be a day, YYYY-MM-DD"
    start, end = row["valid_from_date"], row["valid_to_date"]
    if end is not None and end <= (start or date.min):
        yield f"{where}: valid_to must lie after valid_from"


def _overlaps(file: str, frame: pl.DataFrame, key: tuple[str, ...]) -> Iterator[tuple[str, dict, int, str]]:
    """(where, row, line of the earlier row, since when) of every row that begins before an earlier one has ended."""
    last: dict[tuple, tuple[date, int]] = {}
    in_order = frame.sort(*key, pl.col("valid_from_date").fill_null(date.min), maintain_order=True)
    for where, row in _by_line(file, in_order):
        name = tuple(row[c] for c in key)
        start = row["valid_from_date"] or date.min
        if name in last and start < last[name][0]:
            yield where, row, last[name][1], row["valid_from"] or "its first day"
        here = (row["valid_to_date"] or date.max, row[tables.LINE])
        last[name] = here if name not in last or here[0] > last[name][0] else last[name]


def _check_prefixes(file: str, frame: pl.DataFrame, answer: str) -> Iterable[str]:
    """Problems of a file that may have a row for every area code: only the bad ones are looked at one by one."""
    places = frame[answer].drop_nulls().unique().to_list() if answer == "jurisdiction" else []
    wrong = [place for place in places if list(_check_place("", answer, place))]
    bad = frame.with_columns(
        first=pl.col(tables.LINE).first().over("prefix"),
        is_prefix=pl.col("prefix").str.contains(r"\A[1-9][0-9]{0,14}\z").fill_null(False),
    ).filter(
        ~pl.col("is_prefix")
        | (pl.col("first") != pl.col(tables.LINE))
        | pl.col(answer).is_null()
        | pl.col(answer).is_in(wrong)
    )
    for where, row in _by_line(file, bad):
        if not row["is_prefix"]:
            yield f"{where}: prefix_e164 must be the first digits of an E.164 number, such as +1206"
        elif row["first"] != row[tables.LINE]:
            yield f"{where}: the prefix stands already on line {row['first']}"
        if row[answer] is None:
            yield f"{where}: {answer} is empty"
        elif row[answer] in wrong:
            yield from _check_place(where, answer, row[answer])
