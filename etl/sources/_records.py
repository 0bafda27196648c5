"""Twilio's records, from its API or its export files, as events: what each field means and where each record ends.

Input: frames of text (`_decode`) with ``asked`` (the account the page was asked of, null if the record names it),
``raw_sha256``, ``raw_index`` and ``problem``; sessions also with ``asked_room``. Output: `schemas.Events`, one row per record, in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

import polars as pl

from etl.money import MONEY, parse
from etl.schemas import DATASETS
from etl.segments import segment_columns
from etl.sources import SourceError
from etl.sources._decode import BAD_FIELD, BAD_LINE, NOT_AN_OBJECT, PROBLEM

UTC_TIME = pl.Datetime("us", "UTC")
EVENTS = DATASETS["events"]
LEDGER = DATASETS["ledger"]

RFC_2822 = "%a, %d %b %Y %H:%M:%S %z"
# Tried in turn on what the first did not take. A time without an offset is ambiguous and stays unread.
OTHER_TIMES = (
    "%+",
    "%a, %d %b %Y %H:%M:%S GMT",
    "%Y-%m-%d %H:%M:%S%#z",
    "%Y-%m-%d %H:%M:%S %z",
    "%Y-%m-%d %H:%M:%S UTC",
)

ID = r"^[A-Za-z0-9_-]{1,64}$"
PLAUSIBLE = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
MAX_SEGMENTS = 255
"""A concatenation header counts parts in one byte."""
MAX_MEDIA = 1000
MAX_SECONDS = 7 * 86_400
BATCH_ROWS = 32_768


@dataclass(frozen=True)
class Resource:
    """One list of the API: its path (under the account, or whole), the key of its records, the date that decides the UTC
    day, and the fields we read."""

    path: str
    key: str
    date_field: str | None
    fields: tuple[str, ...]
    kind: str | None = None
    accepted: frozenset[str] = frozenset()
    in_progress: frozenset[str] = frozenset()
    excluded: tuple[tuple[str, str], ...] = ()
    """Other statuses that are never charged, with the reason code they get."""

    @property
    def statuses(self) -> frozenset[str]:
        return self.accepted | self.in_progress | {status for status, _ in self.excluded}


RESOURCES = {
    "messages": Resource(
        "Messages.json", "messages", "date_sent",
        ("sid", "account_sid", "from", "to", "body", "status", "direction", "num_segments", "num_media", "price",
         "price_unit", "error_code", "date_sent", "date_updated"),
        "message",
        accepted=frozenset(["sent", "delivered", "undelivered", "failed", "read", "partially_delivered", "received"]),
        in_progress=frozenset(["accepted", "scheduled", "queued", "sending", "receiving"]),
        excluded=(("canceled", "canceled"),),
    ),
    "calls": Resource(
        "Calls.json", "calls", "start_time",
        ("sid", "account_sid", "from", "to", "status", "direction", "duration", "price", "price_unit", "answered_by",
         "parent_call_sid", "start_time", "end_time", "date_updated"),
        "call",
        accepted=frozenset(["completed", "busy", "failed", "no-answer", "canceled"]),
        in_progress=frozenset(["queued", "ringing", "in-progress"]),
    ),
    "recordings": Resource(
        "Recordings.json", "recordings", "date_created",
        ("sid", "account_sid", "call_sid", "status", "duration", "price", "price_unit", "error_code", "date_created",
         "date_updated"),
        "recording",
        accepted=frozenset(("completed", "deleted")),
        in_progress=frozenset(["in-progress", "paused", "stopped", "processing"]),
        excluded=(("absent", "not_recorded"),),
    ),
    "rooms": Resource(
        "/v1/Rooms", "rooms", "date_created", ("sid", "account_sid", "date_created"),
    ),
    "video": Resource(
        "/v1/Rooms/{room}/Participants", "participants", "start_time",
        ("sid", "account_sid", "room_sid", "identity", "status", "duration", "start_time", "end_time", "date_updated"),
        "video",
        accepted=frozenset(["disconnected"]),
        in_progress=frozenset(["connected", "reconnecting"]),
    ),
    "numbers": Resource(
        "IncomingPhoneNumbers.json", "incoming_phone_numbers", None,
        ("sid", "account_sid", "phone_number", "date_created", "date_updated"),
        "number",
    ),
    "usage": Resource(
        "Usage/Records/Daily.json", "usage_records", "start_date",
        ("account_sid", "category", "count", "count_unit", "usage", "usage_unit", "price", "price_unit", "start_date",
         "end_date", "as_of"),
    ),
}  # fmt: skip


def to_events(rows: pl.DataFrame, resource: str, day: date, *, filtered: bool) -> pl.DataFrame:
    """Text rows of one resource → events, one per row.

    ``filtered``: the source asked for this day only. A record more than a day outside [day, day + 1) means that the
    provider ignored the date filter, and raises SourceError; otherwise (a file of many days) it is excluded like any other
    day's.
    """
    start = datetime.combine(day, time(), UTC)
    typed = _typed(rows, resource, start)
    if resource == "video":
        _refuse_another_room(rows)
    if filtered:
        _refuse_ignored_filter(typed, resource, day)
    return complete(_decide(typed.with_columns(_judged(resource, start, "campaign_id" in typed.columns))))


@lru_cache(maxsize=32)
def _judged(resource: str, start: datetime, said: bool) -> list[pl.Expr]:
    """What is wrong with a record (Boolean columns, "!" before the reason code), and why it is ``excluded``. Remembered: a day
    is read in many batches."""
    spec = RESOURCES[resource]
    # Of an unreadable record, nothing else can be said.
    readable = ~pl.col(PROBLEM).is_in(list(UNREADABLE)).fill_null(False)
    problems = _problems(spec, resource, start, said=said).items()
    flags = [(flag.fill_null(False) & (readable | (code in UNREADABLE))).alias(f"!{code}") for code, flag in problems]
    return [*flags, _excluded(spec, resource, start).alias("excluded")]


def complete(frame: pl.DataFrame) -> pl.DataFrame:
    """``frame`` as `schemas.Events`: columns in order and type, null where it has none, ``vanished`` false."""
    return frame.select(
        pl.col(c).cast(t) if c in frame.columns else pl.lit(None, t).alias(c) for c, t in EVENTS.types.items()
    ).with_columns(vanished=pl.lit(False))


# ------------------------------------------------------------------------------------------------------------- values


def times(text: pl.Series) -> pl.Series:
    """RFC 2822 or ISO 8601 with an offset → UTC, microseconds; null where it is neither."""
    # A leap second belongs to the day it ends; Polars would move it into the next.
    text = text.str.replace(":60", ":59", literal=True) if text.str.contains(":60", literal=True).any() else text
    if (parsed := _iso_milliseconds(text)) is not None:
        return parsed
    parsed = text.str.strptime(UTC_TIME, RFC_2822, strict=False)
    for form in OTHER_TIMES:
        left = parsed.is_null() & (text.str.len_bytes() > 0)
        if not left.any():
            break
        parsed = parsed.zip_with(~left.fill_null(False), _strptime(text, form))
    return parsed


def _iso_milliseconds(text: pl.Series) -> pl.Series | None:
    """Times that are all written 2026-11-20T10:00:00.000Z, in a quarter of the time; None where one is not."""
    frame = text.alias("t").to_frame()
    seconds, rest = pl.col("t").str.head(19), pl.col("t").str.tail(5)
    parsed = frame.select(
        second=seconds.str.strptime(pl.Datetime("us"), "%Y-%m-%dT%H:%M:%S", strict=False),
        # One digit more in front: "042" and "+42" must not be the same.
        milli=pl.when(rest.str.starts_with(".") & rest.str.ends_with("Z"))
        .then(pl.lit("1") + rest.str.slice(1, 3))
        .cast(pl.Int64, strict=False),
        right=pl.col("t").is_null() | (pl.col("t").str.len_bytes() == 24),
    ) if len(text) and (text.head(1).str.len_bytes() == 24).any() else None
    if parsed is None or not parsed["right"].all() or parsed["second"].null_count() > text.null_count():
        return None
    if parsed["milli"].null_count() > text.null_count() or not parsed["milli"].is_between(1000, 1999).all():
        return None
    whole = parsed.select(pl.col("second") + pl.duration(milliseconds=pl.col("milli") - 1000, time_unit="us"))
    return whole.to_series().dt.replace_time_zone("UTC").alias(text.name)


def _strptime(text: pl.Series, form: str) -> pl.Series:
    if "z" in form or form == "%+":
        return text.str.strptime(UTC_TIME, form, strict=False)
    return text.str.strptime(pl.Datetime("us"), form, strict=False).dt.replace_time_zone("UTC")


def _given(column: str) -> pl.Expr:
    """Text, with the empty text as null: the provider writes both for absent."""
    return pl.when(pl.col(column) != "").then(pl.col(column))


def _whole(column: str) -> pl.Expr:
    """A whole number written as such → Int64; null otherwise."""
    return pl.when(pl.col(column).str.contains(r"^-?[0-9]{1,18}$")).then(pl.col(column)).cast(pl.Int64, strict=False)


def _absent(column: str) -> pl.Expr:
    return pl.col(column).is_null() | (pl.col(column) == "")


def _typed(rows: pl.DataFrame, resource: str, start: datetime) -> pl.DataFrame:
    spec = RESOURCES[resource]
    usable = pl.col("sid").str.contains(ID).fill_null(False)
    frame = rows.with_columns(
        usable_id=usable,
        record_id=pl.when(usable)
        .then(pl.col("sid"))
        .otherwise(pl.col("raw_sha256").str.head(16) + ":" + pl.col("raw_index").cast(pl.String)),
        kind=pl.lit(spec.kind),
        provider_account=pl.coalesce("asked", _given("account_sid")),
        updated_at=times(rows["date_updated"]),
    ).with_columns(
        # The newest version of a record counts: one of the year 9999 would count for ever.
        updated_at=pl.when(pl.col("updated_at").is_between(*PLAUSIBLE)).then("updated_at")
    )
    typed = {"messages": _messages, "calls": _calls, "recordings": _recordings, "video": _video, "numbers": _numbers}
    return _said(typed[resource](frame, start))


def _said(frame: pl.DataFrame) -> pl.DataFrame:
    """Owner, campaign, carrier and registration, where the rows have member, inbox, campaign, carrier or registered."""

    def given(column: str) -> pl.Expr:
        return _given(column) if column in frame.columns else pl.lit(None, pl.String)

    if not {"member", "inbox", "campaign", "carrier", "registered"} & set(frame.columns):
        return frame
    member, inbox = given("member"), given("inbox")
    return frame.with_columns(
        owner_kind=pl.when(member.is_not_null()).then(pl.lit("member")).when(inbox.is_not_null()).then(pl.lit("inbox")),
        owner_id=pl.coalesce(member, inbox),
        campaign_id=pl.when(given("campaign").str.to_lowercase() != "false").then(given("campaign")),
        carrier=given("carrier"),
        registered=given("registered").str.to_lowercase().replace_strict(
            {"true": True, "false": False}, default=None, return_dtype=pl.Boolean
        ),
    )  # fmt: skip


def _price(frame: pl.DataFrame) -> pl.DataFrame:
    """``provider_cost``: the provider writes a charge as a negative price. Null and empty are a state, not zero."""
    return frame.with_columns(
        provider_cost=(pl.lit(0, MONEY) - parse(pl.col("price"))).cast(MONEY),
        provider_currency=_given("price_unit").str.to_uppercase(),
    )


def _messages(frame: pl.DataFrame, _start: datetime) -> pl.DataFrame:
    def party(column: str, prefix: str) -> pl.Expr:
        return pl.col(column).str.starts_with(prefix).fill_null(False)

    def number(column: str) -> pl.Expr:
        return pl.when(pl.col("channel").is_in(["whatsapp", "rcs"])).then(
            _given(column).str.replace(r"^(?:whatsapp|rcs):", "")
        ).otherwise(_given(column))  # fmt: skip

    channel = (
        pl.when(party("from", "whatsapp:") | party("to", "whatsapp:")).then(pl.lit("whatsapp"))
        .when(party("from", "rcs:") | party("to", "rcs:")).then(pl.lit("rcs"))
        .when(pl.col("from").str.contains(":", literal=True) | pl.col("to").str.contains(":", literal=True))
        .then(pl.lit("unknown"))
    )  # fmt: skip
    frame = frame.with_columns(
        occurred_at=times(frame["date_sent"]), channel=channel, media_count=_whole("num_media"), reported=_whole("num_segments")
    ).with_columns(
        type=pl.when(pl.col("channel") != "unknown").then(pl.col("channel"))
        .when(pl.col("sid").str.starts_with("MM") | (pl.col("media_count") > 0)).then(pl.lit("mms"))
        .otherwise(pl.lit("sms")),
        from_number=number("from"),
        to_number=number("to"),
        direction=pl.when(pl.col("direction") == "inbound").then(pl.lit("inbound"))
        .when(pl.col("direction").str.starts_with("outbound-")).then(pl.lit("outbound")),
        error_code=pl.when(pl.col("error_code") != "0").then(_given("error_code")),
        segments_reported=pl.when(pl.col("reported").is_between(1, MAX_SEGMENTS)).then(pl.col("reported")),
        media_count=pl.when(pl.col("media_count").is_between(0, MAX_MEDIA)).then(pl.col("media_count")),
        media_wrong=~_absent("num_media") & ~pl.col("media_count").is_between(0, MAX_MEDIA).fill_null(False),
        parts_wrong=~_absent("num_segments") & ~pl.col("reported").is_between(0, MAX_SEGMENTS).fill_null(False),
    )  # fmt: skip
    # An empty body is usually a redacted one: it says nothing about how many segments were sent.
    counted = frame.select(
        segment_columns(pl.when((pl.col("type") == "sms") & (pl.col("body") != "")).then(pl.col("body"))).alias(
            "counted"
        )
    ).unnest("counted")
    frame = frame.with_columns(
        encoding=counted["encoding"].cast(pl.String), segments_computed=counted["segments"].cast(pl.Int64)
    )
    return _price(frame).with_columns(billed_segments())


def billed_segments() -> list[pl.Expr]:
    """``segments`` and ``segments_source`` of an SMS: the reported count, else the one computed from the body."""
    text = pl.col("type") == "sms"
    reported, computed = pl.col("segments_reported"), pl.col("segments_computed")
    return [
        pl.when(text).then(pl.coalesce(reported, computed)).alias("segments"),
        pl.when(text & reported.is_not_null()).then(pl.lit("reported"))
        .when(text & computed.is_not_null()).then(pl.lit("computed"))
        .alias("segments_source"),
    ]  # fmt: skip


def _calls(frame: pl.DataFrame, _start: datetime) -> pl.DataFrame:
    direction = pl.col("direction")
    unanswered = pl.col("status").is_in(["busy", "no-answer", "failed", "canceled"])
    seconds = pl.when(unanswered).then(pl.lit(0, pl.Int64)).otherwise(_whole("duration"))
    frame = frame.with_columns(
        occurred_at=times(frame["start_time"]),
        ended_at=times(frame["end_time"]),
        type=pl.lit("voice"),
        direction=pl.when((direction == "inbound") | (direction == "trunking-originating")).then(pl.lit("inbound"))
        .when(direction.str.starts_with("outbound-") | (direction == "trunking-terminating")).then(pl.lit("outbound")),
        from_number=_given("from"),
        to_number=_given("to"),
        answered_by=_given("answered_by"),
        parent_id=_given("parent_call_sid"),
        answered_seconds=pl.when(seconds.is_between(0, MAX_SECONDS)).then(seconds),
    ).with_columns(
        answered_at=pl.when(pl.col("answered_seconds") > 0).then(
            pl.max_horizontal(
                pl.col("ended_at") - pl.duration(seconds=pl.col("answered_seconds"), time_unit="us"), pl.col("occurred_at")
            )
        )
    )  # fmt: skip
    # max_horizontal skips nulls: without an end, the pick-up is not known.
    return _price(frame).with_columns(answered_at=pl.when(pl.col("ended_at").is_not_null()).then(pl.col("answered_at")))


def _recordings(frame: pl.DataFrame, _start: datetime) -> pl.DataFrame:
    seconds = _whole("duration")
    return _price(
        frame.with_columns(
            occurred_at=times(frame["date_created"]),
            # A deleted one is not changed any more: its last change was the deletion.
            ended_at=pl.when(pl.col("status") == "deleted").then(pl.col("updated_at")),
            answered_seconds=pl.when(seconds.is_between(0, MAX_SECONDS)).then(seconds),
            parent_id=_given("call_sid"),
            error_code=pl.when(pl.col("error_code") != "0").then(_given("error_code")),
        )
    ).with_columns(provider_cost=pl.col("provider_cost").abs())


def _video(frame: pl.DataFrame, _start: datetime) -> pl.DataFrame:
    """Sessions have no price of their own: the provider tells it in its totals only."""
    seconds = _whole("duration")
    return frame.with_columns(
        type=pl.lit("video"),
        occurred_at=times(frame["start_time"]),
        ended_at=times(frame["end_time"]),
        answered_seconds=pl.when(seconds.is_between(0, MAX_SECONDS)).then(seconds),
        from_number=_given("identity"),
        parent_id=pl.col("asked_room"),
    )


def _numbers(frame: pl.DataFrame, start: datetime) -> pl.DataFrame:
    return frame.with_columns(
        occurred_at=pl.lit(start, UTC_TIME),
        created_at=times(frame["date_created"]),
        status=pl.lit("owned"),
        to_number=_given("phone_number"),
    )


# ------------------------------------------------------------------------------------------------ where a record ends


# These say that we do not know whose record it is, or which: no other finding excuses them.
UNREADABLE = (NOT_AN_OBJECT, BAD_LINE)
HARD = (*UNREADABLE, BAD_FIELD, "missing_id", "foreign_account")


def _problems(spec: Resource, resource: str, start: datetime, *, said: bool = True) -> dict[str, pl.Expr]:
    """Reason code → where it holds. Nulls mean no."""
    problem = pl.col(PROBLEM)
    found = {code: problem == code for code in (*UNREADABLE, BAD_FIELD)}
    found["missing_id"] = ~pl.col("usable_id") & problem.is_null()
    found["foreign_account"] = ~_absent("account_sid") & (pl.col("account_sid") != pl.col("asked"))
    bad_times = [_unread("date_updated", "updated_at")]
    if resource == "numbers":
        found["bad_date"] = pl.any_horizontal(*bad_times, _unread("date_created", "created_at")).fill_null(False)
        found["missing_number"] = pl.col("to_number").is_null()
        return found
    if said and resource in ("messages", "calls"):
        found["bad_campaign"] = pl.col("campaign_id").is_not_null() & ~pl.col("campaign_id").str.contains(ID)
    found["unknown_status"] = ~pl.col("status").is_in(list(spec.statuses)).fill_null(False)
    occurred = pl.col("occurred_at")
    bad_times += [_unread(spec.date_field, "occurred_at"), ~_plausible(resource, start)]
    found["missing_date"] = _absent(spec.date_field)
    if resource != "video":
        found["bad_price"] = ~_absent("price") & pl.col("provider_cost").is_null()
        found["missing_currency"] = pl.col("provider_cost").is_not_null() & pl.col("provider_currency").is_null()
    if resource == "messages":
        found["price_sign"] = pl.col("provider_cost") < 0
        found["unknown_direction"] = pl.col("direction").is_null()
        found["unknown_channel"] = pl.col("channel") == "unknown"
        too_many = (pl.col("segments") > MAX_SEGMENTS).fill_null(False)  # counted from a body no message can have
        found["bad_count"] = pl.col("parts_wrong") | pl.col("media_wrong") | too_many
    elif resource == "calls":
        bad_times += [_unread("end_time", "ended_at"), *_ended_badly(occurred)]
        found["price_sign"] = pl.col("provider_cost") < 0
        found["unknown_direction"] = pl.col("direction").is_null()
    elif resource == "recordings":
        # Without its end it would be stored for ever.
        found["missing_date"] |= (pl.col("status") == "deleted") & _absent("date_updated")
        bad_times.append(pl.col("ended_at") < occurred)
    elif resource == "video":
        bad_times += [_unread("end_time", "ended_at"), *_ended_badly(occurred)]
    if resource in ("calls", "recordings", "video"):
        found["bad_duration"] = pl.col("answered_seconds").is_null() & pl.col("status").is_in(list(spec.accepted))
    found["bad_date"] = pl.any_horizontal(*(t.fill_null(False) for t in bad_times))
    return found


def _ended_badly(occurred: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Before it began, or longer after than anything lasts: what is billed from dialling to the end would be absurd."""
    return pl.col("ended_at") < occurred, pl.col("ended_at") > occurred + timedelta(seconds=MAX_SECONDS)


def _unread(text: str, parsed: str) -> pl.Expr:
    return ~_absent(text) & pl.col(parsed).is_null()


def _plausible(resource: str, start: datetime) -> pl.Expr:
    """Where ``occurred_at`` can be. A session belongs to a room created on this day or the one before, and a room lives for
    24 hours: a session farther off is of no day that is ever asked for, so it must be seen here."""
    occurred = pl.col("occurred_at")
    if resource == "video":
        return (occurred >= start - timedelta(days=1)) & (occurred < start + timedelta(days=2))
    return occurred.is_between(*PLAUSIBLE)


def _excluded(spec: Resource, resource: str, start: datetime) -> pl.Expr:
    """Reason code of a record that is right but not charged on this day, else null."""
    end = start + timedelta(days=1)
    if resource == "numbers":
        return pl.when(pl.col("created_at") >= end).then(pl.lit("not_yet_owned"))
    occurred = pl.col("occurred_at")
    rule = (
        pl.when(_plausible(resource, start) & ((occurred < start) | (occurred >= end))).then(pl.lit("other_day"))
        .when(pl.col("status").is_in(list(spec.in_progress))).then(pl.lit("in_progress"))
    )  # fmt: skip
    for status, code in spec.excluded:
        rule = rule.when(pl.col("status") == status).then(pl.lit(code))
    return rule


def _decide(frame: pl.DataFrame) -> pl.DataFrame:
    """Flags → ``outcome`` and ``reason``. Hard findings first, then exclusions, then everything else."""
    codes = [c for c in frame.columns if c.startswith("!")]
    hard = pl.any_horizontal(f"!{c}" for c in HARD)
    bad = frame.select(
        pl.when(hard | pl.col("excluded").is_null()).then(pl.any_horizontal(codes)).otherwise(False)
    ).to_series()
    decided = frame.with_columns(
        outcome=pl.when(bad).then(pl.lit("quarantined"))
        .when(pl.col("excluded").is_not_null()).then(pl.lit("excluded"))
        .otherwise(pl.lit("accepted")),
        reason=pl.col("excluded"),
    )  # fmt: skip
    if bad.any():
        # Reasons are spelled out for the few rows that have one.
        spelled = frame.filter(bad).select(
            pl.concat_str([pl.when(c).then(pl.lit(c[1:])) for c in codes], separator="; ", ignore_nulls=True)
        ).to_series()  # fmt: skip
        position = pl.select(pl.when(bad).then(bad.cast(pl.UInt32).cum_sum() - 1)).to_series()
        decided = decided.with_columns(reason=pl.coalesce(spelled.gather(position), pl.col("reason")))
    if "body" in decided.columns:
        # Kept with its own day; a copy here would outlive a redaction there.
        decided = decided.with_columns(
            body=pl.when(pl.col("reason").eq_missing(pl.lit("other_day"))).then(None).otherwise("body")
        )
    return decided


def _refuse_ignored_filter(frame: pl.DataFrame, resource: str, day: date) -> None:
    start = datetime.combine(day, time(), UTC)
    occurred = pl.col("occurred_at")
    far = frame.filter(
        occurred.is_between(*PLAUSIBLE)
        & ((occurred < start - timedelta(days=1)) | (occurred >= start + timedelta(days=2)))
    )
    if far.height:
        raise SourceError(
            f"{resource} of {far['provider_account'][0]}: {far.height} record(s) lie more than a day outside {day}, the "
            f"first on {far['occurred_at'][0]:%Y-%m-%d}. The provider ignored the date filter, so its answer may lack records "
            "too: nothing of it is used. Run the day again; if it repeats, ask the provider"
        )


# -------------------------------------------------------------------------------------------------------------- rooms


def _refuse_another_room(rows: pl.DataFrame) -> None:
    wrong = rows.filter(pl.col("room_sid") != pl.col("asked_room"))
    if wrong.height:
        raise SourceError(
            f"video of {wrong['asked'][0]}, room {wrong['asked_room'][0]}: {wrong.height} participant(s) are of another room, so "
            "its own are missing: pull the day again"
        )


def to_rooms(rows: pl.DataFrame, day: date) -> pl.DataFrame:
    """Rooms → ``provider_account`` and ``room`` (its id) of those that may hold a session begun on ``day``: all that were
    not created after it. In the order listed; a room listed twice is there twice.

    Raises SourceError for a room nobody can ask for, of another account, or far from the day: sessions would be missing.
    """
    start = datetime.combine(day, time(), UTC)
    rooms = rows.with_columns(provider_account="asked", occurred_at=times(rows["date_created"]))
    nameless = rooms.filter(pl.col(PROBLEM).is_not_null() | ~pl.col("sid").str.contains(ID).fill_null(False))
    if nameless.height:
        raise SourceError(
            f"rooms of {nameless['asked'][0]}: {nameless.height} are without a usable id: their participants cannot be "
            "asked for. Run the day again; if it repeats, ask the provider"
        )
    foreign = rooms.filter(~_absent("account_sid") & (pl.col("account_sid") != pl.col("asked")))
    if foreign.height:
        raise SourceError(
            f"rooms of {foreign['asked'][0]}: the answer holds {foreign.height} room(s) of another account. Nothing of it is "
            "used; check that the credentials belong to that account"
        )
    _refuse_ignored_filter(rooms, "rooms", day)
    later = (pl.col("occurred_at") >= start + timedelta(days=1)).fill_null(False)
    return rooms.filter(~later).select("provider_account", room="sid")


# ------------------------------------------------------------------------------------------------------------- ledger


def to_ledger(rows: pl.DataFrame, day: date) -> pl.DataFrame:
    """Usage records of one day → `schemas.Ledger` with ``as_of`` still there (see `settle_ledger`).

    Amounts that cannot be read are null. A record without a category keeps its place under a name of its own.
    Raises SourceError for another account's or another day's totals: either would be reconciled against the wrong bill.
    """
    foreign = rows.filter(~_absent("account_sid") & (pl.col("account_sid") != pl.col("asked")))
    if foreign.height:
        raise SourceError(
            f"usage of {foreign['asked'][0]}: the answer holds {foreign.height} total(s) of another account. Nothing of it "
            "is used; check that the credentials belong to that account"
        )
    other = rows.filter(
        (~_absent("start_date") & (pl.col("start_date") != day.isoformat()))
        | (~_absent("end_date") & (pl.col("end_date") != day.isoformat()))
    )
    if other.height:
        raise SourceError(
            f"usage of {other['asked'][0]}: {other.height} total(s) are not of {day}: the date filter was ignored"
        )
    place = "unreadable " + pl.col("raw_sha256").str.head(16) + ":" + pl.col("raw_index").cast(pl.String)
    return rows.select(
        provider_account=pl.col("asked"),
        category=pl.coalesce(_given("category"), place),
        count=pl.when(_whole("count") >= 0).then(_whole("count")),
        count_unit=_given("count_unit"),
        usage=parse(pl.col("usage")).cast(LEDGER.types["usage"]),
        usage_unit=_given("usage_unit"),
        cost=parse(pl.col("price")).cast(MONEY),
        currency=_given("price_unit").str.to_uppercase(),
        as_of="as_of",
    )


def settle_ledger(rows: pl.DataFrame) -> pl.DataFrame:
    """One row per (account, category): of several, the one with the newest ``as_of``."""
    values = [c for c in rows.columns if c not in ("provider_account", "category", "as_of")]
    ordered = rows.sort("provider_account", "category", "as_of", *values, nulls_last=False)
    return ordered.unique(["provider_account", "category"], keep="last", maintain_order=True).select(LEDGER.columns)
