"""Every dataset: its columns, types, units, keys and allowed values. The contract everyone reads first.

A dataset is Parquet under ``<dataset>/<partition keys>/part.parquet``; the partition keys (date, source, month) are in
the path, not in the file. Numbers carry their unit in the name; amounts are Decimal(18, 9) in the row's currency;
times are UTC with microseconds. Strings with a closed set of values name the set here.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property

import dataframely as dy
import polars as pl

from etl.money import SCALE
from etl.ordering import order, repeated

KINDS = ("message", "call", "video", "recording", "number")
DIRECTIONS = ("inbound", "outbound")
TYPES = ("sms", "mms", "whatsapp", "rcs", "voice", "video")
OUTCOMES = ("accepted", "excluded", "quarantined")
OWNER_KINDS = ("member", "inbox", "unassigned")
UNITS = (
    "segment",
    "message",
    "second",
    "call",
    "stored minute",
    "number",
    "credit",
    "subscription",
    "pack",
    "adjustment",
)
NUMBER_CLASSES = ("local", "tollfree", "shortcode", "mobile")
CLOCKS = ("dial", "answer")
STATES = ("open", "provisional", "final")
SECTIONS = ("usage", "tax", "rounding", "correction", "total", "product", "product_correction", "product_total")
"""usage + tax + rounding + correction = total. Products (subscriptions, credit packs) are paid apart, on their own page."""
PARTS = {"total": ("usage", "tax", "rounding", "correction"), "product_total": ("product", "product_correction")}
"""The sections that a total adds up."""
CORRECTED = ("usage", "tax", "rounding", "product")
"""The sections of a closed month that a correction may be of."""
REASONS = ("late", "changed", "repriced", "gone", "taken back", "follows")
"""Why a closed month is corrected: the record arrived after closing; it changed at the provider or whose it is; it is
priced by another row; it is no longer of that month or account; a correction booked before is no longer due; the line is
computed from what changed (taxes, rounding, what is charged by the month)."""
ENTRIES = ("open", "correction", "grant", "purchase", "recharge", "burn", "overage", "expire")
TAX_LEVELS = ("federal", "state", "local", "other")
VERDICTS = ("ok", "explained", "unexplained", "no totals")
"""Of a comparison with the provider's own total; ``no totals``: the source gives none, so nothing was compared."""
ENCODINGS = ("GSM-7", "UCS-2")
SEGMENT_SOURCES = ("reported", "computed")

UNASSIGNED = "unassigned"

# Charge lines, in the order a statement prints them.
LINES = (
    "number",
    "call",
    "text",
    "video",
    "campaign_call",
    "recording_storage",
    "carrier_fee",
    "voice_detection",
    "failed_message",
    "credit_overage",
    "tier_adjustment",
    "adjustment",
    "subscription",
    "credit_pack",
)
SECOND_LINES = ("carrier_fee", "voice_detection")
"""A second line of an event that another line counts already."""
PRODUCT_LINES = ("subscription", "credit_pack")
TIMED_LINES = ("call", "video", "campaign_call")
"""Priced per minute of a duration."""
HELD_LINES = ("number", "recording_storage")
"""Priced by the month something is held in; on the day itself they carry a quantity and no charge."""


def _utc(description: str, *, nullable: bool = True) -> dy.Datetime:
    return dy.Datetime(nullable=nullable, time_zone="UTC", time_unit="us", description=description)


def _money(description: str, *, nullable: bool = True) -> dy.Decimal:
    return dy.Decimal(18, SCALE, nullable=nullable, description=description)


def _one_of(values: tuple[str, ...], description: str, *, nullable: bool = False, key: bool = False) -> dy.String:
    return dy.String(
        nullable=nullable,
        primary_key=key,
        check=lambda column: column.is_in(list(values)),
        description=f"{description}: {', '.join(values)}",
        metadata={"enum": list(values)},
    )


def _text(description: str, *, nullable: bool = True, key: bool = False, **kw) -> dy.String:
    return dy.String(nullable=nullable and not key, primary_key=key, description=description, **kw)


def _count(description: str, *, nullable: bool = False, signed: bool = False) -> dy.Int64:
    return dy.Int64(nullable=nullable, min=None if signed else 0, description=description)


class Raw(dy.Schema):
    """One page or file as received. Its bytes are a gzip member of the object ``_hist/raw/…/<object_sha256>.gz``; once
    retention has erased them, the three columns that say where they lay are null."""

    resource = _text("what was asked for: messages, calls, recordings, numbers, usage, or a file's kind", key=True)
    provider_account = _text("the provider's account the page belongs to; empty for a file drop", key=True)
    page = dy.Int32(primary_key=True, min=0, description="page number within (resource, account), from 0")
    url = _text("request without credentials, or the file's name", nullable=False)
    sha256 = _text("of the uncompressed bytes as received", nullable=False, regex="^[0-9a-f]{64}$")
    bytes = _count("length of the uncompressed bytes")
    object_sha256 = _text("of the object that holds it; its name; null once erased", regex="^[0-9a-f]{64}$")
    object_offset = _count("where in the object its gzip member begins; null once erased", nullable=True)
    object_bytes = _count("length of that member; null once erased", nullable=True)


class Events(dy.Schema):
    """One provider record as stored, whatever its outcome. Accepted rows also satisfy `AcceptedEvent`."""

    record_id = _text("the provider's id; for a record without one, <raw sha256, 16 digits>:<index>", key=True)
    kind = _one_of(KINDS, "what happened", key=True)
    outcome = _one_of(OUTCOMES, "where the record ended")
    reason = _text("why it was excluded or quarantined, codes joined by '; '; null when accepted")
    provider_account = _text("the provider's account or sub-account")
    direction = _one_of(DIRECTIONS, "seen from the account", nullable=True)
    type = _one_of(TYPES, "what kind of message or call", nullable=True)
    status = _text("the provider's status word")
    occurred_at = _utc("sent or dialled; decides the UTC date")
    updated_at = _utc("the provider's last change; the newest version of a record wins")
    from_number = _text("sender as the provider writes it (E.164, short code, name); cut when it has expired")
    to_number = _text("recipient as the provider writes it; cut when it has expired")
    body = _text("the text; lives in raw and here only, null once it has expired")
    encoding = _one_of(ENCODINGS, "of the body", nullable=True)
    segments_reported = _count("the provider's count", nullable=True)
    segments_computed = _count("counted from the body", nullable=True)
    segments = _count(
        "billed: reported when the provider gives one, else computed; null for what is no text", nullable=True
    )
    segments_source = _one_of(SEGMENT_SOURCES, "which count is billed", nullable=True)
    media_count = _count("attachments", nullable=True)
    carrier = _text("the other party's carrier, if the provider says, or carriers.csv when the number was cut")
    answered_at = _utc("when the call was picked up")
    ended_at = _utc("when the call ended")
    answered_seconds = _count("seconds from pick-up to the end; 0 when nobody answered", nullable=True)
    answered_by = _text("human or machine, as detected")
    parent_id = _text("the call leg or call this belongs to")
    owner_kind = _one_of(OWNER_KINDS, "who inside the account, where the record itself says", nullable=True)
    owner_id = _text("the member or shared inbox, where the record itself says")
    campaign_id = _text("campaign, where the record itself says")
    registered = dy.Bool(nullable=True, description="our number is registered, where the record itself says")
    error_code = _text("the provider's error code")
    provider_cost = _money("what the provider says it costs; positive is a cost; null until known")
    provider_currency = _text("ISO 4217, upper case")
    vanished = dy.Bool(description="no longer listed at the source: kept, still billed")
    raw_sha256 = _text("the page or file it was read from", nullable=False)
    raw_index = dy.Int32(min=0, description="position in that page or file, from 0")


class AcceptedEvent(Events):
    """What an accepted row must also satisfy; a row that does not is quarantined under the rule's name."""

    occurred_at = _utc("sent or dialled", nullable=False)
    provider_account = _text("the provider's account", nullable=False, min_length=1)

    @dy.rule()
    def message_has_direction(cls) -> pl.Expr:
        return (pl.col("kind") != "message") | pl.col("direction").is_not_null()

    @dy.rule()
    def message_has_parties(cls) -> pl.Expr:
        # A failed text may have failed before a sender was picked.
        both = pl.col("to_number").is_not_null() & pl.col("from_number").is_not_null()
        return (pl.col("kind") != "message") | both | (pl.col("status") == "failed").fill_null(False)

    @dy.rule()
    def message_has_segments(cls) -> pl.Expr:
        # Null must not pass: a rule that says neither yes nor no counts as kept.
        is_text = (pl.col("kind") == "message") & (pl.col("type") == "sms")
        failed = (pl.col("status") == "failed").fill_null(False)
        return ~is_text | failed | (pl.col("segments") >= 1).fill_null(False)

    @dy.rule()
    def call_has_seconds(cls) -> pl.Expr:
        return (pl.col("kind") != "call") | pl.col("answered_seconds").is_not_null()

    @dy.rule()
    def call_ends_after_it_begins(cls) -> pl.Expr:
        return (pl.col("kind") != "call") | pl.col("ended_at").is_null() | (pl.col("ended_at") >= pl.col("occurred_at"))

    @dy.rule()
    def cost_has_currency(cls) -> pl.Expr:
        named = pl.col("provider_currency").str.contains("^[A-Z]{3}$").fill_null(False)
        return pl.col("provider_cost").is_null() | named


class Ledger(dy.Schema):
    """The provider's own totals for one day: one row per account and category. Source of reconciliation."""

    provider_account = _text("the provider's account", key=True)
    category = _text("the provider's name for what is counted; an open, overlapping tree", key=True)
    count = _count("records", nullable=True)
    count_unit = _text("unit of count")
    usage = dy.Decimal(18, SCALE, nullable=True, description="billed quantity in usage_unit")
    usage_unit = _text("unit of usage: read it, it changes")
    cost = _money("positive is a cost")
    currency = _text("ISO 4217, upper case")


class Reconciled(dy.Schema):
    """Our records of one day against the provider's own totals: one row per account and category that either side has."""

    provider_account = _text("the provider's account", key=True)
    category = _text(
        "the provider's name for what is counted; sms, mms and calls are both directions together", key=True
    )
    count = _count("our records that have a provider price")
    ledger_count = _count("the provider's count; null where it gives none", nullable=True)
    quantity = _count("segments (sms), messages (mms) or started minutes (calls, recordings) of those records")
    ledger_quantity = dy.Int64(nullable=True, description="the provider's billed quantity in usage_unit")
    usage_unit = _text("unit of ledger_quantity")
    cost = _money("what our records say they cost us", nullable=False)
    ledger_cost = _money("what the provider's total says")
    ledger_fees = _money("what its carrier-fee total says")
    unpriced = _count("our records that have no provider price yet")
    reading = _one_of(("apart", "included"), "whether a record's price holds its carrier fee", nullable=True)
    verdict = _one_of(VERDICTS, "of the comparison")
    why = _text("what differs or explains it; null when ok")
    account_id = _text("the customer billed for every record of the provider's account that day; null when several are")


class Charges(dy.Schema):
    """One accepted event with its owner, quantities, every amount, and the rows that priced it."""

    record_id = _text("the event", key=True)
    kind = _one_of(KINDS, "what happened", key=True)
    account_id = _text("the customer billed, or 'unassigned'", nullable=False)
    owner_kind = _one_of(OWNER_KINDS, "who inside the account")
    owner_id = _text("the member or shared inbox, or 'unassigned'", nullable=False)
    campaign_id = _text("call campaign, by its caller-id number")
    direction = _one_of(DIRECTIONS, "seen from the account", nullable=True)
    type = _one_of(TYPES, "what kind", nullable=True)
    carrier = _text("the other party's carrier, if known")
    registered = dy.Bool(nullable=True, description="our number is registered for application texting")
    occurred_at = _utc("sent or dialled", nullable=False)
    line = _one_of(LINES, "the charge line")
    quantity = _count("billed units of the line")
    unit = _one_of(UNITS, "of quantity")
    messages = _count("1 for a text on the text line, else 0")
    segments = _count("billed segments of a text, else 0")
    billed_seconds = _count("after increments, else 0")
    credits = _count("credits burned")
    segments_differ = dy.Bool(description="the reported and the computed count disagree")
    rate_id = _text("row of the rate card; null when nothing is due or nothing was found")
    charge = _money("rated charge, full precision; null when unrated")
    fee_id = _text("row of the carrier-fee table")
    carrier_fee = _money("carrier fee, full precision; 0 when none is due; null when unrated")
    currency = _text("ISO 4217, of the account", nullable=False)
    detection_rate_id = _text("price row of AI voice detection; null when none is due or none was found")
    detection_charge = _money("AI voice detection, full precision; 0 when none is due; null when unrated")
    caller_place = _text("jurisdiction of the caller or sender, where places.csv names one")
    callee_place = _text("jurisdiction of the person called or texted, where places.csv names one")
    held_until = _utc("recordings: when it was deleted; null while stored")
    provider_cost = _money("what the provider says it costs us, 0 for a call nobody answered; never added to charge")
    provider_currency = _text("ISO 4217")
    unrated = _text("why no price was found; null when rated")
    vanished = dy.Bool(description="no longer listed at the source: kept, still billed")


class Daily(dy.Schema):
    """One UTC day rolled up by account, owner, campaign, line and direction. The dataset outsiders query."""

    account_id = _text("the customer billed, or 'unassigned'", nullable=False)
    owner_kind = _one_of(OWNER_KINDS, "who inside the account")
    owner_id = _text("the member or shared inbox, or 'unassigned'", nullable=False)
    campaign_id = _text("call campaign")
    line = _one_of(LINES, "the charge line")
    direction = _one_of(DIRECTIONS, "seen from the account", nullable=True)
    type = _one_of(TYPES, "what kind", nullable=True)
    carrier = _text("the other party's carrier, if known")
    registered = dy.Bool(nullable=True, description="our number is registered for application texting")
    rate_id = _text("row of the rate card or the fee table that priced it")
    caller_place = _text("jurisdiction of the caller or sender, where places.csv names one")
    callee_place = _text("jurisdiction of the person called or texted, where places.csv names one")
    currency = _text("ISO 4217", nullable=False)
    unit = _one_of(UNITS, "of quantity")
    events = _count("records charged on this line")
    quantity = _count("billed units")
    messages = _count("texts; on the text line only, so a sum never counts one twice")
    segments = _count("billed segments of those texts")
    billed_seconds = _count("call seconds after increments")
    credits = _count("credits burned")
    charge = _money("sum of the rated charges, full precision", nullable=False)
    provider_cost = _money("sum of the known provider costs; set on the event's main line only", nullable=False)
    unpriced = _count("records whose provider cost is not known yet")
    unrated = _count("records without a price; their charge is missing from the sum")
    segments_differ = _count("texts whose reported and computed segments disagree")
    vanished = _count("records no longer listed at the source")


class Holdings(dy.Schema):
    """Every recording stored at some moment of one month: last month's that were kept, and this month's own."""

    source = _text("where it was read from", key=True)
    record_id = _text("the recording", key=True)
    account_id = _text("the customer billed, or 'unassigned'", nullable=False)
    owner_kind = _one_of(OWNER_KINDS, "who inside the account")
    owner_id = _text("the member or shared inbox, or 'unassigned'", nullable=False)
    campaign_id = _text("call campaign")
    minutes = _count("stored minutes: its length rounded up")
    recorded_on = dy.Date(nullable=False, description="UTC day it was made")
    held_until = _utc("when it was deleted; null while stored")
    vanished = dy.Bool(
        description="no longer listed, and nothing says when it was deleted: not held after its own month"
    )


class Credits(dy.Schema):
    """The credits ledger of one month: what moved, per account, day and lot. ``open`` rows carry the month before over,
    ``correction`` rows what a closed month would have left otherwise.

    open + correction + grant + purchase + recharge + burn + expire = balance (burn and expire are negative). Overage is
    what no credit covered: it is charged in money and changes no balance.
    """

    account_id = _text("the customer billed", key=True)
    position = dy.Int32(primary_key=True, min=0, description="order within account and month")
    date = dy.Date(nullable=False, description="UTC day")
    at = _utc("the moment of a grant, a purchase, an expiry; null for what is summed over a day")
    entry = _one_of(ENTRIES, "what moved")
    lot = _text("'allotment', or the purchase the credits come from", nullable=False)
    bought_at = _utc("when the lot was bought; null for the allotment")
    credits = _count("added (+) or taken (-); of overage: credits not covered, positive", signed=True)
    simulated = dy.Bool(description="our own recharge, not one somebody reported")
    balance_allotment = _count("left of the period's allotment after this row")
    balance_purchased = _count("left of everything bought after this row")
    subscription_id = _text("the subscription in force")
    for_month = _text("of a correction: the closed month it corrects")


class Corrections(dy.Schema):
    """Why a closed month's lines differ from what it was closed with, as booked in an open month: one row per record and
    line, and one per line for what has no record. ``amount_exact`` of a line's rows adds up to its correction line's.
    """

    account_id = _text("the customer billed", nullable=False)
    for_month = _text("the closed month corrected", nullable=False)
    section = _one_of(CORRECTED, "of the line corrected")
    line = _text("of the line corrected", nullable=False)
    item = _text("of the line corrected")
    direction = _one_of(DIRECTIONS, "seen from the account", nullable=True)
    type = _one_of(TYPES, "what kind", nullable=True)
    carrier = _text("for carrier fees")
    registered = dy.Bool(nullable=True, description="for carrier fees")
    tax_level = _one_of(TAX_LEVELS, "for taxes", nullable=True)
    jurisdiction = _text("for taxes: who levies it")
    rate_id = _text("for taxes: tax_id@valid_from of its row in taxes.csv")
    unit = _one_of(UNITS, "of quantity", nullable=True)
    currency = _text("ISO 4217", nullable=False)
    date = dy.Date(nullable=True, description="UTC date of the record; null for what belongs to the month as a whole")
    source = _text("where the record was read from; null where there is none")
    kind = _one_of(KINDS, "of the record; null where there is none", nullable=True)
    record_id = _text("the record; null where there is none")
    reason = _one_of(REASONS, "why it differs")
    rate_was = _text("row that priced the record when the month was closed")
    rate_is = _text("row that prices it now")
    quantity = _count("more (+) or less (-) than billed before", nullable=True, signed=True)
    amount_exact = _money("more (+) or less (-) than billed before, full precision", nullable=False)


class Monthly(dy.Schema):
    """What is charged by the month, not by the event: numbers, recording storage, overage, tiers, adjustments, products."""

    account_id = _text("the customer billed", nullable=False)
    owner_kind = _one_of(OWNER_KINDS, "who inside the account")
    owner_id = _text("the member or shared inbox, or 'unassigned'", nullable=False)
    campaign_id = _text("call campaign")
    line = _one_of(LINES, "the charge line")
    item = _text("which one, in words: number class, product, reason")
    date = dy.Date(nullable=False, description="UTC day that decides price and tax")
    days = _count("numbers by days: how many days of the month each was owned", nullable=True)
    quantity = _count("billed units")
    unit = _one_of(UNITS, "of quantity")
    rate_id = _text("price row, tier, plan, purchase or adjustment behind it")
    unit_price = _money("price of one unit for a whole month, where there is one")
    charge = _money("full precision; null when unrated")
    currency = _text("ISO 4217, of the account", nullable=False)
    taxable = dy.Bool(description="tax rules may apply")
    unrated = _text("why no price was found; null when rated")


class Statement(dy.Schema):
    """The lines of one month's statements, all accounts; amounts rounded once, here (mission rule 2)."""

    account_id = _text("the customer billed", key=True)
    position = dy.Int32(primary_key=True, min=0, description="order on the statement")
    section = _one_of(SECTIONS, "which part of the statement")
    line = _text("charge line; 'tax', 'rounding', 'total' and 'product_total' for those sections", nullable=False)
    item = _text("which one, in words: number class, tax, product, reason")
    direction = _one_of(DIRECTIONS, "seen from the account", nullable=True)
    type = _one_of(TYPES, "what kind", nullable=True)
    carrier = _text("for carrier fees")
    registered = dy.Bool(nullable=True, description="for carrier fees")
    tax_level = _one_of(TAX_LEVELS, "for taxes", nullable=True)
    jurisdiction = _text("for taxes: who levies it")
    rate_id = _text("for taxes: tax_id@valid_from of its row in taxes.csv")
    for_month = _text("of a correction: the closed month it corrects")
    quantity = _count("billed units; of a correction, more (+) or less (-)", nullable=True, signed=True)
    unit = _one_of(UNITS, "of quantity", nullable=True)
    base = _money("for taxes: the amount taxed")
    amount_exact = _money("before rounding", nullable=False)
    amount = _money("rounded half-up to the currency's minor unit", nullable=False)
    currency = _text("ISO 4217", nullable=False)
    events = _count("records behind the line")
    unrated = _count("records without a price, not in the amount")


class DuplicateKey(ValueError):
    """Two rows of a dataset have the same key."""


def without_key(schema: type[dy.Schema]) -> type[dy.Schema]:
    """The same rules, but for the key: a hash finds out sooner whether rows repeat one."""
    columns = {name: copy(column) for name, column in schema.columns().items() if column.primary_key}
    for column in columns.values():
        column.primary_key = False
    return type(schema)(f"{schema.__name__}Rules", (schema,), columns)


@dataclass(frozen=True)
class Dataset:
    """A dataset's name, contract, partition keys, and the columns that order its rows (the same rows are the same bytes).

    ``key``: what no two rows share, where it is less than what orders them.
    """

    name: str
    schema: type[dy.Schema]
    partition: tuple[str, ...]
    sort: tuple[str, ...]
    unique: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        return self.unique or self.sort

    @property
    def columns(self) -> list[str]:
        return self.schema.column_names()

    @cached_property
    def types(self) -> dict[str, pl.DataType]:
        """Column → Polars type, in contract order."""
        return dict(self.empty().schema)

    def arrange(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns in contract order and type (texts may come as categories), rows in the total order. Raises ValidationError where the contract is
        broken, and DuplicateKey where two rows share the key: nothing may be counted twice."""
        chosen = frame.select(self.columns).rechunk()  # rows of several chunks take three times as long to reorder
        del frame
        narrow = set(self.schema.primary_key())
        # What is unique by less than the key is unique by the key.
        unique = bool(narrow) and narrow <= set(self.key) and not self._repeated(chosen, self.schema.primary_key()).height
        if not unique and (found := self._repeated(chosen)).height:
            raise DuplicateKey(f"{self.name}: {found.height} rows repeat a key, first {found.sort(self.key).row(0)}")
        places = order(chosen, self.sort)
        chosen = (chosen if places.is_sorted() else chosen[places]).cast({pl.Categorical: pl.String})
        # Whoever breaks the contract is told how by the whole check, which costs twice as much.
        unique = unique or not narrow or set(self.key) <= narrow
        return chosen if unique and self._rules.is_valid(chosen) else self.schema.validate(chosen)

    @cached_property
    def _rules(self) -> type[dy.Schema]:
        return without_key(self.schema)

    def filled(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Columns in contract order; those that came into the contract after the rows were written are null."""
        return frame.select(
            pl.col(c) if c in frame.columns else pl.lit(None, t).alias(c) for c, t in self.types.items()
        )

    def _repeated(self, frame: pl.DataFrame, key: Sequence[str] = ()) -> pl.DataFrame:
        """The keys (or that one) of rows that share theirs with another row."""
        keys = frame.select(key or self.key)
        hashes = keys.hash_rows(seed=0)
        again = repeated(hashes)
        few = keys.clear() if again.is_empty() else keys.filter(hashes.is_in(again.implode()))
        return few.filter(few.is_duplicated()) if few.height else few

    def empty(self) -> pl.DataFrame:
        return self._empty

    @cached_property
    def _empty(self) -> pl.DataFrame:
        return self.schema.create_empty()


DATASETS = {
    d.name: d
    for d in (
        Dataset("raw", Raw, ("date", "source"), ("resource", "provider_account", "page")),
        Dataset(
            "events",
            Events,
            ("date", "source"),
            ("raw_sha256", "raw_index", "kind", "record_id"),
            unique=("kind", "record_id"),
        ),
        Dataset("ledger", Ledger, ("date", "source"), ("provider_account", "category")),
        Dataset("reconciled", Reconciled, ("date", "source"), ("provider_account", "category")),
        Dataset("charges", Charges, ("date", "source"), ("account_id", "kind", "occurred_at", "record_id")),
        Dataset(
            "daily",
            Daily,
            ("date",),
            (
                "account_id",
                "line",
                "direction",
                "type",
                "owner_kind",
                "owner_id",
                "campaign_id",
                "carrier",
                "registered",
                "rate_id",
                "caller_place",
                "callee_place",
                "unit",
                "currency",
            ),
        ),
        Dataset("holdings", Holdings, ("month",), ("account_id", "source", "record_id")),
        Dataset("credits", Credits, ("month",), ("account_id", "position")),
        Dataset(
            "monthly",
            Monthly,
            ("month",),
            (
                "account_id",
                "line",
                "item",
                "date",
                "owner_kind",
                "owner_id",
                "campaign_id",
                "rate_id",
                "unit_price",
                "days",
                "currency",
            ),
        ),
        Dataset("statement", Statement, ("month",), ("account_id", "position")),
        Dataset(
            "corrections",
            Corrections,
            ("month",),
            (
                "account_id",
                "for_month",
                "section",
                "line",
                "item",
                "direction",
                "type",
                "carrier",
                "registered",
                "tax_level",
                "jurisdiction",
                "rate_id",
                "unit",
                "currency",
                "date",
                "source",
                "kind",
                "record_id",
                "reason",
            ),
        ),
    )
}
