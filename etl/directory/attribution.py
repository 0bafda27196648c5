"""Whose an event is: by our number and the day, by the name in a video room, by the call that was recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import polars as pl

from etl.periods import Month
from etl.prefixes import find
from etl.schemas import UNASSIGNED
from etl.settings import ConfigurationError

NUMBERLESS = ("video", "recording")
"""Kinds of events whose owner no number tells."""
SAID = ("owner_kind", "owner_id", "campaign_id", "registered")
"""What a record itself may say; it goes before what its number says."""


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
    service_address: str | None = None
    """Jurisdiction that taxes by service address look at, widest part first: US-WA-SEATTLE."""
    tax_exempt: tuple[str, ...] = ()
    """Levels or ids of taxes that are not due; ("all",) for none at all."""


@dataclass(frozen=True)
class Directory:
    """The files, checked; days are Date (null = open-ended).

    ``owners``      account_id, owner_kind, owner_id, name
    ``identities``  account_id, identity (lower case), owner_kind, owner_id: names in video rooms
    ``numbers``     columns of the file; registered is Boolean, monthly_price Decimal(18, 9)
    ``campaigns``   account_id, campaign_id, name, voice_detection: one row a campaign, as its last row says
    ``detection``   account_id, campaign_id, voice_detection (Boolean), valid_from, valid_to
    ``carriers``    prefix (digits), carrier
    ``places``      prefix (digits), jurisdiction
    """

    accounts: tuple[Account, ...]
    owners: pl.DataFrame
    identities: pl.DataFrame
    numbers: pl.DataFrame
    campaigns: pl.DataFrame
    detection: pl.DataFrame
    carriers: pl.DataFrame
    places: pl.DataFrame
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

    def own_provider_accounts(self, account_id: str) -> tuple[str, ...]:
        """The provider's accounts that are this account's and no other's; none when one of them is another's too, for
        then the provider's totals are not this account's."""
        mine = self.account(account_id).provider_accounts
        others = {sid for a in self.accounts if a.account_id != account_id for sid in a.provider_accounts}
        return () if others & set(mine) else mine

    def owned_numbers(self, first: date, end: date) -> pl.DataFrame:
        """Who owned which number in [first, end): the columns of ``numbers``, one row per number and ownership, with
        valid_from and valid_to cut to [first, end), by number and day."""
        clipped = self.numbers.with_columns(
            valid_from=pl.max_horizontal(pl.col("valid_from").fill_null(first), pl.lit(first)),
            valid_to=pl.min_horizontal(pl.col("valid_to").fill_null(end), pl.lit(end)),
        )
        return clipped.filter(pl.col("valid_from") < pl.col("valid_to")).sort("number_e164", "valid_from")

    def attribute(self, events: pl.DataFrame, day: date, default_currency: str) -> pl.DataFrame:
        """Events of one UTC day → the same rows in the same order, plus account_id, owner_kind, owner_id,
        campaign_id, registered, number_class, currency, rate_card, voice_detection, caller_place and callee_place.

        Reads kind, provider_account, direction, from_number, to_number and carrier; of a day with recordings or video
        also record_id, parent_id and occurred_at. Fills direction (video) and carrier (messages, by carriers.csv).

        An owner that owners.csv knows, a campaign and a registration that the record itself names (`SAID`) go first.
        Our number is the sender of what goes out and the recipient of what comes in. Its row in force on ``day`` names
        account and owner; a number without one leaves the owner unassigned and the account to the provider's
        sub-account. What neither knows is account ``unassigned``, shown and never billed. A recording is whose its call
        is; a video session is its member's, and a guest's is the member's who was first in the room.
        """
        owned = self._owned(events, day)
        terms = self.terms.select("account_id", "currency", "rate_card")
        known = owned.join(terms, on="account_id", how="left", maintain_order="left").with_columns(
            currency=pl.col("currency").fill_null(default_currency)
        )
        return _with_places(_with_carriers(known, self.carriers), self.places)

    def carriers_of(self, events: pl.DataFrame) -> pl.Series:
        """The carrier of each event as `attribute` fills it. Reads kind, direction, from_number, to_number and carrier."""
        return _with_carriers(events, self.carriers)["carrier"]

    def billed(self, events: pl.DataFrame, day: date) -> pl.DataFrame:
        """Accepted events of one UTC day, or of a bucket of it → provider_account, account_id: who is billed for some of a
        provider account's events."""
        return self._owned(events, day).select("provider_account", "account_id").unique()

    def billed_alone(self, billed: Iterable[pl.DataFrame]) -> pl.DataFrame:
        """`billed` of every bucket of a day → provider_account, account_id: the account that all of a provider account's
        events are billed to, null when they are several's. One without an event is its sub-account's."""
        alone = pl.when(pl.col("account_id").n_unique() == 1).then(pl.col("account_id").first()).alias("account_id")
        found = pl.concat(billed).group_by("provider_account").agg(alone)
        quiet = self._of_provider.rename({"_provider_account_id": "account_id"})
        one = quiet.group_by("provider_account").agg(alone)
        return pl.concat([found, one.join(found, on="provider_account", how="anti")])

    def _owned(self, events: pl.DataFrame, day: date) -> pl.DataFrame:
        detecting = in_force(self.detection, day).select("account_id", "campaign_id", "voice_detection")
        numbers = in_force(self.numbers, day).join(detecting, on=["account_id", "campaign_id"], how="left")
        kinds = set(events["kind"].unique())
        said = [c for c in SAID if c in events.columns]
        bare = events.drop(said)
        owned = _by_number(bare, numbers, self._of_provider, [k for k in NUMBERLESS if k in kinds])
        if any(events[c].null_count() < events.height for c in said):
            owned = _as_said(owned, events.select(said), self.owners, detecting)
        if "video" in kinds:
            owned = _by_identity(owned, self.identities)
        return _by_call(owned) if "recording" in kinds else owned

    @cached_property
    def _of_provider(self) -> pl.DataFrame:
        return pl.DataFrame(
            [(sid, a.account_id) for a in self.accounts for sid in a.provider_accounts],
            schema={"provider_account": pl.String, "_provider_account_id": pl.String},
            orient="row",
        )

    @cached_property
    def terms(self) -> pl.DataFrame:
        """`account_terms` of every account."""
        return account_terms(self.accounts)


def account_terms(accounts: Iterable[Account]) -> pl.DataFrame:
    """Accounts → account_id, currency, rate_card, valid_from (Date), service_address, tax_exempt (List[String])."""
    return pl.DataFrame(
        [(a.account_id, a.currency, a.rate_card, a.valid_from, a.service_address, list(a.tax_exempt)) for a in accounts],
        schema={
            "account_id": pl.String, "currency": pl.String, "rate_card": pl.String, "valid_from": pl.Date,
            "service_address": pl.String, "tax_exempt": pl.List(pl.String),
        },
        orient="row",
    )  # fmt: skip


def in_force(rows: pl.DataFrame, day: date) -> pl.DataFrame:
    """Rows whose [valid_from, valid_to) contains ``day``."""
    return rows.filter(
        (pl.col("valid_from").is_null() | (pl.col("valid_from") <= day))
        & (pl.col("valid_to").is_null() | (pl.col("valid_to") > day))
    )


def _by_number(
    events: pl.DataFrame, numbers: pl.DataFrame, of_provider: pl.DataFrame, numberless: Sequence[str]
) -> pl.DataFrame:
    """Adds account_id, owner_kind, owner_id, campaign_id, registered, number_class and voice_detection, by our number,
    else by the provider's account. Events of the kinds ``numberless`` have no number of ours."""
    ours = pl.when(pl.col("direction") == "outbound").then("from_number").otherwise("to_number")
    if numberless:
        ours = pl.when(~pl.col("kind").is_in(numberless)).then(ours)
    rows = numbers.select(
        "owner_kind", "owner_id", "campaign_id", "registered", "number_class", "voice_detection",
        _our_number="number_e164", _number_account="account_id",
    )  # fmt: skip
    asked = events.with_columns(_our_number=ours)
    if rows.is_empty():
        found = asked.with_columns(pl.lit(None, t).alias(c) for c, t in rows.schema.items() if c != "_our_number")
    else:
        found = asked.join(rows, on="_our_number", how="left", maintain_order="left")
    return (
        found.join(of_provider, on="provider_account", how="left", maintain_order="left")
        .with_columns(
            account_id=pl.coalesce("_number_account", "_provider_account_id", pl.lit(UNASSIGNED)),
            owner_kind=pl.col("owner_kind").fill_null(UNASSIGNED),
            owner_id=pl.col("owner_id").fill_null(UNASSIGNED),
            voice_detection=pl.col("voice_detection").fill_null(False),
        )
        .drop("_our_number", "_number_account", "_provider_account_id")
    )


def _as_said(
    events: pl.DataFrame, said: pl.DataFrame, owners: pl.DataFrame, detecting: pl.DataFrame
) -> pl.DataFrame:
    """``events``, where those whose record names an owner that owners.csv knows, a campaign or a registration (`SAID`, the
    same rows) take that. A campaign's voice detection is the campaign's."""
    known = owners.select("account_id", "owner_kind", "owner_id").unique()
    told = said.with_columns(events["account_id"])
    believed = told.join(
        known.with_columns(_known=pl.lit(True)), on=known.columns, how="left", maintain_order="left"
    ).with_columns(pl.when("_known").then(c).alias(c) for c in ("owner_kind", "owner_id"))
    campaigns = detecting.rename({"voice_detection": "_detected"})
    switched = believed.join(campaigns, on=["account_id", "campaign_id"], how="left", maintain_order="left")
    mine = pl.DataFrame([switched[c].alias(f"_{c}") for c in (*SAID, "_detected")])
    return (
        pl.concat([events, mine], how="horizontal")
        .with_columns(
            *(pl.coalesce(f"_{c}", c).alias(c) for c in SAID),
            voice_detection=pl.when(pl.col("_campaign_id").is_not_null())
            .then(pl.col("__detected").fill_null(False))
            .otherwise("voice_detection"),
        )
        .drop(mine.columns)
    )


def _by_identity(events: pl.DataFrame, identities: pl.DataFrame) -> pl.DataFrame:
    """Owner and direction of video sessions: a member's own goes out; a guest's comes in, to the member who joined the
    same room first (of two in one instant, the lower record_id)."""
    members = identities.rename({"owner_kind": "_member_kind", "owner_id": "_member_id"})
    sessions = (
        events.filter(pl.col("kind") == "video")
        .select(
            "record_id",
            "occurred_at",
            "account_id",
            room="parent_id",
            identity=pl.col("from_number").str.to_lowercase(),
        )
        .join(members, on=["account_id", "identity"], how="left")
    )
    is_member = pl.col("_member_id").is_not_null()
    hosts = (
        sessions.filter(is_member)
        .sort("occurred_at", "record_id")
        .unique(["account_id", "room"], keep="first", maintain_order=True)
        .select("account_id", "room", _host_kind="_member_kind", _host_id="_member_id")
    )
    known = sessions.join(hosts, on=["account_id", "room"], how="left").select(
        "record_id",
        owner_kind=pl.coalesce("_member_kind", "_host_kind"),
        owner_id=pl.coalesce("_member_id", "_host_id"),
        direction=pl.when(is_member).then(pl.lit("outbound")).otherwise(pl.lit("inbound")),
    )
    return _laid_over(events, "video", known, "record_id")


def _by_call(events: pl.DataFrame) -> pl.DataFrame:
    """Account, owner and campaign of recordings: those of the call recorded, where the same events have it. They have
    no direction."""
    recorded = events.filter(pl.col("kind") == "recording").select("parent_id").drop_nulls().unique()
    calls = (
        events.filter(pl.col("kind") == "call")
        .join(recorded, left_on="record_id", right_on="parent_id", how="semi")
        .unique("record_id", keep="first", maintain_order=True)
        .select("account_id", "owner_kind", "owner_id", "campaign_id", "voice_detection", parent_id="record_id")
    )
    pointless = events.with_columns(direction=pl.when(pl.col("kind") != "recording").then("direction"))
    return _laid_over(pointless, "recording", calls, "parent_id")


def _laid_over(events: pl.DataFrame, kind: str, known: pl.DataFrame, key: str) -> pl.DataFrame:
    """``events``, where those of ``kind`` take each value that ``known`` has for their ``key``."""
    columns = [c for c in known.columns if c != key]
    return (
        events.with_columns(_key=pl.when(pl.col("kind") == kind).then(key))
        .join(known.rename({c: f"_{c}" for c in columns} | {key: "_key"}), on="_key", how="left", maintain_order="left")
        .with_columns(pl.coalesce(f"_{c}", c).alias(c) for c in columns)
        .drop("_key", *(f"_{c}" for c in columns))
    )


def _with_carriers(events: pl.DataFrame, carriers: pl.DataFrame) -> pl.DataFrame:
    """Fills the carrier of messages that name none, by the other party's number."""
    if carriers.is_empty():
        return events
    theirs = pl.when(pl.col("direction") == "outbound").then("to_number").otherwise("from_number")
    asked = events.select(number=pl.when((pl.col("kind") == "message") & pl.col("carrier").is_null()).then(theirs))
    return events.with_columns(carrier=pl.coalesce("carrier", _by_prefix(asked["number"], carriers, "carrier")))


def _with_places(events: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """Adds caller_place and callee_place, by the sender's and the recipient's number."""
    if places.is_empty():
        nowhere = pl.lit(None, pl.String)
        return events.with_columns(caller_place=nowhere, callee_place=nowhere)
    both = pl.concat([events["from_number"].alias("number"), events["to_number"].alias("number")])
    found = _by_prefix(both, places, "jurisdiction")
    return events.with_columns(caller_place=found.head(events.height), callee_place=found.tail(events.height))


def _by_prefix(numbers: pl.Series, rows: pl.DataFrame, answer: str) -> pl.Series:
    """The ``answer`` of the row with the longest prefix of each number; null where none fits."""
    one = pl.lit(0).alias("_all")
    return find(
        numbers.alias("number").to_frame().with_columns(one), rows.with_columns(one),
        id_column=answer, exact=("_all",), wild=(), number="number",
    )  # fmt: skip
