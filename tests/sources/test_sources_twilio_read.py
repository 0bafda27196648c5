"""Pages → events and ledger: the samples, every status, every reason, and values a provider should never send."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from sources_fake import (
    CHILD,
    DAY,
    MAIN,
    SAMPLES,
    Fake,
    call,
    envelope,
    message,
    number,
    one,
    page,
    read,
    recording,
    session,
    source,
    stamp,
    usage,
)  # fmt: skip

from etl.schemas import DATASETS
from etl.sources import SourceError
from etl.sources._records import RESOURCES


def at(clock: str, day: date = DAY) -> datetime:
    return datetime.combine(day, datetime.strptime(clock, "%H:%M:%S").time(), UTC)  # noqa: DTZ007


# ------------------------------------------------------------------------------------------------------------ samples


def test_samples_become_the_events_the_provider_bills(sample_pages):
    events, ledger, _ = source(Fake()).read(sample_pages, DAY)
    expected = json.loads((SAMPLES / "EXPECTED_reconciliation_2026-11-20.json").read_text())
    texts = events.filter(
        (pl.col("kind") == "message") & (pl.col("type") == "sms") & pl.col("provider_cost").is_not_null()
    )
    assert events.filter(pl.col("kind") == "message").height == expected["messages_rows"]
    assert texts.height == expected["sms_billed_messages"]
    assert texts["segments"].sum() == expected["sms_billed_segments"]
    assert texts["provider_cost"].sum() == Decimal(expected["sum_abs_message_price_sms"])
    for direction in ("inbound", "outbound"):
        mine = texts.filter(pl.col("direction") == direction)
        assert {"count": mine.height, "segments": mine["segments"].sum()} == expected[f"sms_{direction}"]
        assert (
            events.filter((pl.col("type") == "mms") & (pl.col("direction") == direction)).height
            == expected["mms"][direction]
        )
    recordings = events.filter((pl.col("kind") == "recording") & (pl.col("outcome") == "accepted"))
    assert recordings.height == expected["recordings_billed"]
    assert recordings["provider_cost"].sum() == Decimal(expected["sum_abs_recording_price"])
    total = ledger.filter(pl.col("category") == "totalprice").row(0, named=True)
    assert (total["cost"], total["count"], total["currency"]) == (Decimal(expected["totalprice"]), None, "USD")
    assert ledger.height == 23


def test_samples_have_exactly_the_contract_columns_and_types(sample_pages):
    events, ledger, _ = source(Fake()).read(sample_pages, DAY)
    assert dict(events.schema) == DATASETS["events"].types
    assert dict(ledger.schema) == DATASETS["ledger"].types


def test_a_message_in_full():
    found = one("messages", message(7, body="Caf\u00e9 \U0001f642", num_segments="2", error_code=30006))
    assert found == {
        "record_id": f"SM{7:032x}", "kind": "message", "outcome": "accepted", "reason": None, "provider_account": MAIN,
        "direction": "outbound", "type": "sms", "status": "delivered", "occurred_at": at("10:00:00"),
        "updated_at": at("10:00:02"), "from_number": "+15005550006", "to_number": "+15017122661",
        "body": "Caf\u00e9 \U0001f642", "encoding": "UCS-2", "segments_reported": 2, "segments_computed": 1, "segments": 2,
        "segments_source": "reported", "media_count": 0, "carrier": None, "answered_at": None, "ended_at": None,
        "answered_seconds": None, "answered_by": None, "parent_id": None, "owner_kind": None, "owner_id": None,
        "campaign_id": None, "registered": None, "error_code": "30006", "provider_cost": Decimal("0.0079"), "provider_currency": "USD", "vanished": False,
        "raw_sha256": found["raw_sha256"], "raw_index": 0,
    }  # fmt: skip


def test_a_call_in_full():
    found = one("calls", call(7, answered_by="human", parent_call_sid="CA9"))
    shown = {k: v for k, v in found.items() if v is not None and k not in ("raw_sha256", "raw_index", "vanished")}
    assert shown == {
        "record_id": f"CA{7:032x}", "kind": "call", "outcome": "accepted", "provider_account": MAIN,
        "direction": "outbound", "type": "voice", "status": "completed", "occurred_at": at("10:00:00"),
        "updated_at": at("10:01:12"), "from_number": "+15005550006", "to_number": "+15017122661",
        "answered_at": at("10:00:09"), "ended_at": at("10:01:10"), "answered_seconds": 61, "answered_by": "human",
        "parent_id": "CA9", "provider_cost": Decimal("0.028"), "provider_currency": "USD",
    }  # fmt: skip


def test_a_call_over_midnight_belongs_to_its_start():
    row = call(start_time=stamp("23:58:30"), end_time=stamp("00:02:31", DAY + timedelta(days=1)), duration="241")
    found = one("calls", row)
    assert (found["outcome"], found["occurred_at"].date(), found["ended_at"].date()) == (
        "accepted",
        DAY,
        date(2026, 11, 21),
    )


def test_a_recording_and_a_number():
    found = one("recordings", recording(3, price="0.00500"))
    assert (found["provider_cost"], found["answered_seconds"], found["parent_id"]) == (
        Decimal("0.005"),
        61,
        f"CA{3:032x}",
    )
    found = one("numbers", number(4))
    assert (found["record_id"], found["to_number"], found["from_number"]) == (f"PN{4:032x}", "+15005550004", None)
    assert (found["status"], found["occurred_at"]) == ("owned", at("00:00:00"))


def test_a_number_bought_after_the_day_was_not_owned_on_it():
    found = one("numbers", number(date_created=stamp("00:00:00", DAY + timedelta(days=1))))
    assert (found["outcome"], found["reason"]) == ("excluded", "not_yet_owned")
    assert one("numbers", number(date_created=stamp("23:59:59")))["outcome"] == "accepted"


# ----------------------------------------------------------------------------------------------------------- statuses

STATUSES = [
    *[
        ("messages", s, "accepted", None)
        for s in ["sent", "delivered", "undelivered", "failed", "read", "partially_delivered", "received"]
    ],
    *[("messages", s, "excluded", "in_progress") for s in ["accepted", "scheduled", "queued", "sending", "receiving"]],
    ("messages", "canceled", "excluded", "canceled"),
    *[("calls", s, "accepted", None) for s in ["completed", "busy", "failed", "no-answer", "canceled"]],
    *[("calls", s, "excluded", "in_progress") for s in ["queued", "ringing", "in-progress"]],
    *[("recordings", s, "accepted", None) for s in ("completed", "deleted")],
    *[("recordings", s, "excluded", "in_progress") for s in ["in-progress", "paused", "stopped", "processing"]],
    ("recordings", "absent", "excluded", "not_recorded"),
    ("video", "disconnected", "accepted", None),
    *[("video", s, "excluded", "in_progress") for s in ("connected", "reconnecting")],
    *[(r, "teleported", "quarantined", "unknown_status") for r in ("messages", "calls", "recordings", "video")],
]


@pytest.mark.parametrize(("resource", "status", "outcome", "reason"), STATUSES)
def test_every_status_has_its_outcome(resource, status, outcome, reason):
    row = {"messages": message, "calls": call, "recordings": recording, "video": session}[resource](status=status)
    found = one(resource, row)
    assert (found["outcome"], found["reason"], found["status"]) == (outcome, reason, status)


def test_every_status_the_provider_documents_is_in_the_table():
    for resource in ("messages", "calls", "recordings", "video"):
        assert RESOURCES[resource].statuses == {s for r, s, o, _ in STATUSES if r == resource and o != "quarantined"}


@pytest.mark.parametrize("status", ["busy", "no-answer", "failed", "canceled"])
@pytest.mark.parametrize("duration", ["0", "", None])
def test_a_call_nobody_answered_has_no_seconds(status, duration):
    found = one("calls", call(status=status, duration=duration, price=None))
    assert (found["outcome"], found["answered_seconds"], found["answered_at"]) == ("accepted", 0, None)


@pytest.mark.parametrize(
    ("direction", "expected"),
    [("inbound", "inbound"), ("outbound-api", "outbound"), ("outbound-dial", "outbound"),
     ("trunking-terminating", "outbound"), ("trunking-originating", "inbound"), ("sideways", None), (None, None)],
)  # fmt: skip
def test_call_directions(direction, expected):
    found = one("calls", call(direction=direction))
    assert found["direction"] == expected
    assert found["reason"] == (None if expected else "unknown_direction")


@pytest.mark.parametrize("direction", ["outbound-api", "outbound-call", "outbound-reply"])
def test_message_directions(direction):
    assert one("messages", message(direction=direction))["direction"] == "outbound"


def test_a_message_without_date_that_was_never_sent_is_excluded_not_broken():
    rows = json.loads((SAMPLES / "messages_without_date_sent.json").read_text())["messages"]
    assert read("messages", rows)["reason"].to_list() == ["in_progress", "canceled", "in_progress"]


# -------------------------------------------------------------------------------------------------- types and segments


@pytest.mark.parametrize(
    ("changes", "kind", "sender", "segments"),
    [
        ({}, "sms", "+15005550006", 1),
        ({"num_media": "2"}, "mms", "+15005550006", None),
        ({"sid": "MM" + "1" * 32}, "mms", "+15005550006", None),
        ({"from": "whatsapp:+15005550006", "to": "whatsapp:+15017122661"}, "whatsapp", "+15005550006", None),
        ({"from": "rcs:brand_agent"}, "rcs", "brand_agent", None),
        ({"from": "12345"}, "sms", "12345", 1),
        ({"from": "Acme"}, "sms", "Acme", 1),
    ],
)
def test_message_types(changes, kind, sender, segments):
    found = one("messages", message(**changes))
    assert (found["type"], found["from_number"], found["segments"]) == (kind, sender, segments)
    assert (found["outcome"], found["segments_reported"], found["to_number"]) == ("accepted", 1, "+15017122661")


@pytest.mark.parametrize(
    ("body", "reported", "expected"),
    [
        ("hi", "1", (1, 1, 1, "reported", "GSM-7")),
        ("x" * 161, "1", (1, 2, 1, "reported", "GSM-7")),
        ("x" * 161, "0", (None, 2, 2, "computed", "GSM-7")),
        ("\u00eau" * 40, None, (None, 2, 2, "computed", "UCS-2")),
        ("", "3", (3, None, 3, "reported", None)),
        (None, "3", (3, None, 3, "reported", None)),
        ("", "0", (None, None, None, None, None)),
    ],
)
def test_reported_segments_are_billed_else_the_computed_ones(body, reported, expected):
    found = one("messages", message(body=body, num_segments=reported))
    names = ("segments_reported", "segments_computed", "segments", "segments_source", "encoding")
    assert tuple(found[n] for n in names) == expected


# ----------------------------------------------------------------------------------------- reasons, and absurd values

QUARANTINED = [
    ("messages", message(status="DELIVERED"), "unknown_status"),
    ("messages", message(status=None), "unknown_status"),
    ("messages", message(direction="outbound"), "unknown_direction"),
    ("messages", message(**{"from": "messenger:123"}), "unknown_channel"),
    ("messages", message(date_sent="yesterday"), "bad_date"),
    ("messages", message(date_sent="Sat, 20 Nov 2026 10:00:00 +0000"), "bad_date"),
    ("messages", message(date_sent="2026-11-20T10:00:00"), "bad_date"),
    ("messages", message(date_sent="Mon, 01 Jan 0001 00:00:00 +0000"), "bad_date"),
    ("messages", message(date_sent="Fri, 31 Dec 9999 23:59:59 +0000"), "bad_date"),
    ("messages", message(date_updated="soon"), "bad_date"),
    ("messages", message(date_sent=None), "missing_date"),
    ("messages", message(price="1e400"), "bad_price"),
    ("messages", message(price="NaN"), "bad_price"),
    ("messages", message(price="-1000000000000"), "bad_price"),
    ("messages", message(price="-0.0000000001"), "bad_price"),
    ("messages", message(price="-0,0079"), "bad_price"),
    ("messages", message(price="0.0079"), "price_sign"),
    ("messages", message(price_unit=None), "missing_currency"),
    ("messages", message(num_segments="-1"), "bad_count"),
    ("messages", message(num_segments="1000000000000"), "bad_count"),
    ("messages", message(num_segments="1.5"), "bad_count"),
    ("messages", message(num_media="many"), "bad_count"),
    ("messages", message(account_sid=CHILD), "foreign_account"),
    ("messages", message(sid=None), "missing_id"),
    ("messages", message(sid="../../etc"), "missing_id"),
    ("messages", message(body={"nested": 1}), "bad_field"),
    ("messages", 7, "not_an_object"),
    ("messages", None, "not_an_object"),
    ("messages", [message()], "not_an_object"),
    ("calls", call(duration="-5"), "bad_duration"),
    ("calls", call(duration=None), "bad_duration"),
    ("calls", call(duration="99999999999999999999"), "bad_duration"),
    ("calls", call(end_time="later"), "bad_date"),
    ("calls", call(price="0.01"), "price_sign"),
    ("recordings", recording(duration="-1"), "bad_duration"),
    ("video", session(duration=-1), "bad_duration"),
    ("video", session(duration=None), "bad_duration"),
    ("video", session(duration=604_801), "bad_duration"),
    ("video", session(start_time=None), "missing_date"),
    ("video", session(start_time="2026-11-20T10:00:00"), "bad_date"),
    ("video", session(start_time="2019-11-20T10:00:00Z"), "bad_date"),
    ("video", session(end_time="later"), "bad_date"),
    ("video", session(end_time="2026-11-20T09:59:59Z"), "bad_date"),
    ("video", session(date_updated="soon"), "bad_date"),
    ("video", session(account_sid=CHILD), "foreign_account"),
    ("video", session(sid="../x"), "missing_id"),
    ("video", session(identity={"a": 1}), "bad_field"),
    ("video", None, "not_an_object"),
    ("numbers", number(phone_number=""), "missing_number"),
    ("numbers", number(date_created="once"), "bad_date"),
    ("messages", message(status="x", price="x", direction="x"), "unknown_status; bad_price; unknown_direction"),
]


@pytest.mark.parametrize(
    ("resource", "row", "reason"), QUARANTINED, ids=[f"{r}-{c}-{i}" for i, (r, _, c) in enumerate(QUARANTINED)]
)
def test_what_is_wrong_is_quarantined_with_its_reason(resource, row, reason):
    found = one(resource, row)
    assert found["outcome"] == "quarantined"
    assert set(found["reason"].split("; ")) == set(reason.split("; "))


def test_a_wrong_record_takes_no_other_with_it():
    rows = [message(1), None, message(2, sid=5), 3, message(3)]
    found = read("messages", rows)
    assert found["raw_index"].to_list() == [0, 1, 2, 3, 4]
    assert found["outcome"].to_list() == ["accepted", "quarantined", "accepted", "quarantined", "accepted"]
    assert found["record_id"].n_unique() == 5


@pytest.mark.parametrize("number_as", [json.dumps, str])
def test_numbers_instead_of_texts_are_the_same_values(number_as):
    kind = (lambda v: v) if number_as is str else json.loads
    changed = message(num_segments=kind("2"), num_media=kind("0"), price=kind("-0.0079"), error_code=kind("30006"))
    found = one("messages", changed)
    assert (found["outcome"], found["segments"], found["provider_cost"]) == ("accepted", 2, Decimal("0.0079"))


def test_a_price_written_as_a_number_is_taken_digit_for_digit():
    raw = envelope("messages", [message(price=0)]).replace(b'"price": 0', b'"price": -123456789.123456789')
    assert read("messages", raw)["provider_cost"].item() == Decimal("123456789.123456789")
    raw = envelope("messages", [message(price=0)]).replace(b'"price": 0', b'"price": -0.0000001')
    assert read("messages", raw)["provider_cost"].item() == Decimal("0.0000001")
    raw = envelope("messages", [message(price=0), message(2)]).replace(b'"price": 0', b'"price": 1e400')
    assert read("messages", raw)["reason"].to_list() == ["bad_price", None]


@pytest.mark.parametrize("price", [None, ""])
def test_no_price_yet_is_a_state_not_zero(price):
    found = one("messages", message(price=price))
    assert (found["outcome"], found["provider_cost"]) == ("accepted", None)


@pytest.mark.parametrize("price", ["0", "-0", "0.00000", "-0.00000"])
def test_zero_is_a_price(price):
    assert one("messages", message(price=price))["provider_cost"] == Decimal(0)


@pytest.mark.parametrize("broken", [r"a\ud800b", r"a\udc00b", r"a\u0000b"])
def test_text_that_is_no_text_becomes_visible_and_the_record_stays(broken):
    raw = envelope("messages", [message(body="@@"), message(2)]).replace(b"@@", broken.encode())
    found = read("messages", raw)
    assert found["body"].to_list()[0] == "a\ufffdb"
    assert found["outcome"].to_list() == ["accepted", "accepted"]


def test_bytes_that_are_not_utf8_become_visible():
    raw = envelope("messages", [message(body="@@")]).replace(b"@@", b"a\xffb")
    assert read("messages", raw)["body"].item() == "a\ufffdb"


def test_an_emoji_written_as_a_pair_is_one_character():
    assert one("messages", message(body="\U0001f642"))["body"] == "\U0001f642"


def test_new_fields_are_ignored_and_optional_ones_may_be_missing():
    row = message(new_field={"a": [1]}, another="x")
    for optional in ("num_media", "error_code", "price", "price_unit", "date_updated", "account_sid"):
        del row[optional]
    found = one("messages", row)
    assert (found["outcome"], found["provider_account"], found["updated_at"]) == ("accepted", MAIN, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Fri, 20 Nov 2026 23:59:60 +0000", at("23:59:59")), ("Sat, 21 Nov 2026 01:30:00 +1345", at("11:45:00")),
     ("2026-11-20T10:00:00Z", at("10:00:00")), ("2026-11-20T10:00:00+00:00", at("10:00:00")),
     ("Fri, 20 Nov 2026 10:00:00 GMT", at("10:00:00")), ("2026-11-20 10:00:00 UTC", at("10:00:00")),
     ("2026-11-20 10:00:00 +0000", at("10:00:00")), ("2026-11-20T10:00:00.250Z", at("10:00:00") + timedelta(milliseconds=250))],
)  # fmt: skip
def test_times_in_other_forms_are_utc(text, expected):
    assert one("messages", message(date_sent=text))["occurred_at"] == expected


# ------------------------------------------------------------------------------------------------------------- window


@pytest.mark.parametrize(
    ("moment", "outcome"),
    [(stamp("00:00:00"), "accepted"), (stamp("23:59:59"), "accepted"), (stamp("23:59:59", DAY - timedelta(days=1)), "excluded"),
     (stamp("00:00:00", DAY + timedelta(days=1)), "excluded"), (stamp("23:59:59", DAY + timedelta(days=1)), "excluded")],
)  # fmt: skip
def test_the_day_is_half_open_and_neighbours_are_excluded(moment, outcome):
    found = one("messages", message(date_sent=moment))
    assert (found["outcome"], found["reason"]) == (outcome, None if outcome == "accepted" else "other_day")
    assert (found["body"] is None) == (outcome == "excluded")


@pytest.mark.parametrize("away", [-2, 2, -300])
def test_a_record_far_outside_means_the_filter_was_ignored(away):
    rows = [message(1), message(2, date_sent=stamp(day=DAY + timedelta(days=away)))]
    with pytest.raises(SourceError, match="ignored the date filter"):
        read("messages", rows)


def test_a_foreign_record_stays_quarantined_on_any_day():
    found = one("messages", message(account_sid=CHILD, date_sent=stamp(day=DAY + timedelta(days=1))))
    assert (found["outcome"], found["provider_account"]) == ("quarantined", MAIN)


# ------------------------------------------------------------------------------------------------------------- ledger


def ledger(*rows: dict) -> pl.DataFrame:
    return source(Fake()).read([page("usage", list(rows))], DAY).ledger


def test_the_ledger_keeps_nulls_and_reads_decimals():
    found = ledger(usage(count=None, count_unit="", usage="0.31040", price="0.31040", price_unit="usd"))
    row = found.row(0, named=True)
    assert (row["count"], row["count_unit"], row["usage"], row["currency"]) == (None, None, Decimal("0.3104"), "USD")


def test_of_two_totals_of_one_category_the_fresher_counts():
    older, newer = (
        usage(price="1", as_of="2026-11-21T01:00:00+00:00"),
        usage(price="2", as_of="2026-11-21T02:00:00+00:00"),
    )
    assert ledger(newer, older)["cost"].to_list() == ledger(older, newer)["cost"].to_list() == [Decimal(2)]


def test_totals_that_cannot_be_read_are_seen_not_guessed():
    found = ledger(usage(price="n/a", usage=None), usage(None), usage("mms"))
    assert found.height == 3
    assert found.filter(pl.col("category") == "sms")["cost"].item() is None
    assert found["category"].str.starts_with("unreadable ").sum() == 1


@pytest.mark.parametrize("changes", [{"account_sid": CHILD}, {"start_date": "2026-11-19"}, {"end_date": "2026-11-21"}])
def test_totals_of_another_account_or_day_are_refused(changes):
    with pytest.raises(SourceError, match="another account|not of 2026-11-20"):
        ledger(usage(), usage("mms", **changes))


# ------------------------------------------------------------------------------------------------------------ whole day


def test_the_order_of_pages_and_their_form_do_not_matter(sample_pages):
    keys = ["kind", "record_id"]
    straight = source(Fake()).read(sample_pages, DAY)
    backwards = source(Fake()).read(reversed(sample_pages), DAY)
    assert straight.events.sort(keys).equals(backwards.events.sort(keys))
    assert straight.ledger.equals(backwards.ledger)


def test_the_fast_and_the_slow_way_agree(sample_pages):
    from etl.sources import _decode

    for one_page in sample_pages:
        spec = RESOURCES[one_page.resource]
        fast = _decode.records(one_page.body, spec.key, spec.fields)
        slow = _decode.slow(_decode._load(one_page.body, spec.key)[1], spec.fields)
        assert fast.equals(slow), one_page.url


def test_a_key_written_twice_means_its_first_value_either_way():
    raw = envelope("messages", [message(status="@"), message(2)]).replace(
        b'"status": "@"', b'"status": "sent", "status": "x"'
    )
    assert read("messages", raw)["status"].to_list() == ["sent", "delivered"]
    slowly = raw.replace(b"}, {", b"}, null, {", 1)
    assert read("messages", slowly)["status"].to_list() == ["sent", None, "delivered"]


def test_pages_large_and_small_keep_every_record():
    pages = [page("messages", [message(n * 100 + i) for i in range(n)], n=n) for n in (0, 1, 40)]
    pages += [page("calls", [call(i) for i in range(3)]), page("messages", [], n=9)]
    found = source(Fake()).read(iter(pages), DAY).events
    assert found.height == 44


def test_no_pages_is_an_empty_day():
    found = source(Fake()).read([], DAY)
    assert (found.events.height, found.ledger.height) == (0, 0)
    assert found.events.columns == DATASETS["events"].columns


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b'{"messages": null}', b'{"messages": {}}', b'{"messages": [{"sid"']
)
def test_a_damaged_kept_page_is_an_error_never_an_empty_one(body):
    with pytest.raises(SourceError, match="pull the day again"):
        read("messages", body)


@pytest.mark.parametrize("depth", [100, 200_000])
def test_nesting_is_no_trap(depth):
    raw = b'{"next_page_uri": null, "messages": ' + b"[" * depth + b"]" * depth + b"}"
    try:
        assert read("messages", raw)["reason"].to_list() == ["not_an_object"]
    except SourceError as error:
        assert "damaged" in str(error)
