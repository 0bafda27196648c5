"""`normalise`: each record once, in its newest version, whatever the order, however often."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from normalise_reference import reference, rows_of
from sources_fake import DAY, MAIN, SAMPLES, Fake, message, number, page, read, source, stamp

from etl.schemas import DATASETS
from etl.sources.normalise import counts, normalise

EVENTS = DATASETS["events"]
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def event(record_id: str = "SM1", **changes: object) -> dict:
    row = dict.fromkeys(EVENTS.columns) | {
        "record_id": record_id, "kind": "message", "outcome": "accepted", "provider_account": MAIN, "direction": "outbound",
        "type": "sms", "status": "delivered", "occurred_at": NOON, "updated_at": NOON, "from_number": "+15005550006",
        "to_number": "+15017122661", "body": "hi", "encoding": "GSM-7", "segments_reported": 1, "segments_computed": 1,
        "segments": 1, "segments_source": "reported", "media_count": 0, "provider_cost": Decimal("0.0079"),
        "provider_currency": "USD", "vanished": False, "raw_sha256": "0" * 64, "raw_index": 0,
    }  # fmt: skip
    return row | changes


def frame(*rows: dict) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=EVENTS.types, orient="row")


def later(hours: int) -> datetime:
    return NOON + timedelta(hours=hours)


# ---------------------------------------------------------------------------------------------------------- properties


@st.composite
def events(draw) -> dict:
    body = draw(st.sampled_from(["hi", "ho", "", None]))
    reported = draw(st.sampled_from([None, 1, 2]))
    computed = 1 if body else None
    segments = reported if reported is not None else computed
    outcome = draw(st.sampled_from(["accepted"] * 4 + ["excluded", "quarantined"]))
    hours = draw(st.sampled_from([None, 1, 1, 2, 3]))
    cost = draw(st.sampled_from([None, Decimal("0.0079"), Decimal("0.01")]))
    kind = draw(st.sampled_from(["message"] * 4 + ["call", "video", "recording"]))
    if kind in ("video", "recording"):
        return held(draw, kind, outcome, hours)
    return event(
        draw(st.sampled_from(["SM1", "SM2", "SM3", "0123456789abcdef:4"])),
        kind=kind,
        outcome=outcome,
        reason=None if outcome == "accepted" else draw(st.sampled_from(["bad_price", "other_day"])),
        status=draw(st.sampled_from(["delivered", "failed"])),
        from_number=draw(st.sampled_from(["+15005550006"] * 5 + [None])),
        updated_at=hours and later(hours),
        body=body,
        encoding="GSM-7" if body else None,
        segments_reported=reported,
        segments_computed=computed,
        segments=segments,
        segments_source=None if segments is None else "computed" if reported is None else "reported",
        provider_cost=cost,
        answered_seconds=0,
        raw_sha256=draw(st.sampled_from(["0" * 64, "1" * 64])),
        raw_index=draw(st.integers(0, 3)),
    )


def held(draw, kind: str, outcome: str, hours: int | None) -> dict:
    """A session in a room, or a recording that may have been deleted: no text, no parties, a session no price either."""
    nothing = dict.fromkeys(
        ["direction", "body", "encoding", "segments_reported", "segments_computed", "segments", "segments_source",
         "media_count", "to_number", "provider_cost", "provider_currency"]
    )  # fmt: skip
    changes = {
        "kind": kind, "type": "video" if kind == "video" else None, "outcome": outcome, "parent_id": "RM1",
        "reason": None if outcome == "accepted" else draw(st.sampled_from(["bad_duration", "other_day"])),
        "status": draw(st.sampled_from(["disconnected", "deleted"])), "updated_at": hours and later(hours),
        "from_number": draw(st.sampled_from(["ann", None])) if kind == "video" else None,
        "occurred_at": draw(st.sampled_from([NOON] * 5 + [None])), "ended_at": draw(st.sampled_from([None, later(1)])),
        "answered_seconds": draw(st.sampled_from([0, 61])), "raw_index": draw(st.integers(0, 3)),
    }  # fmt: skip
    return event(draw(st.sampled_from(["PA1", "PA2", "0123456789abcdef:4"])), **nothing | changes)


nights = st.lists(st.lists(events(), max_size=6), min_size=1, max_size=4)


@pytest.mark.brief(25)
@settings(max_examples=80, deadline=None)
@given(nights)
def test_night_after_night_it_is_what_the_reference_says(readings):
    held, expected = None, []
    for rows in readings:
        found = normalise(frame(*rows), held)
        expected = reference(rows, expected)
        assert rows_of(found.events) == expected
        assert found.duplicates == len(rows) - len(reference(rows, []))
        held = found.events


@pytest.mark.brief(25)
@settings(max_examples=50, deadline=None)
@given(st.lists(events(), max_size=8), st.lists(events(), max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_matter(rows, before, random):
    held = normalise(frame(*before)).events
    straight = normalise(frame(*rows), held)
    random.shuffle(rows)
    shuffled = normalise(
        frame(*rows), held.sample(fraction=1, shuffle=True, seed=random.randrange(99)) if held.height else held
    )
    assert straight.events.equals(shuffled.events)
    assert straight.duplicates == shuffled.duplicates


@pytest.mark.brief(25)
@settings(max_examples=50, deadline=None)
@given(st.lists(events(), max_size=8), st.lists(events(), max_size=8))
def test_doing_it_again_changes_nothing(rows, before):
    once = normalise(frame(*rows), normalise(frame(*before)).events).events
    assert normalise(frame(*rows), once).events.equals(once)
    assert normalise(frame(*rows, *rows), once).events.equals(once)


@settings(max_examples=30, deadline=None)
@given(st.lists(events(), max_size=8), st.lists(events(), max_size=8))
def test_what_is_gone_is_marked_and_what_comes_back_is_not(rows, before):
    held = normalise(frame(*before)).events
    gone = normalise(frame(), held).events
    assert gone["vanished"].all()
    assert set(gone["record_id"]) == {i for i in held["record_id"] if ":" not in i}
    back = normalise(frame(*rows), gone).events
    listed = {(r["kind"], r["record_id"].split("#")[0]) for r in rows}
    for row in rows_of(back):
        assert row["vanished"] == ((row["kind"], row["record_id"].split("#")[0]) not in listed)


# -------------------------------------------------------------------------------------------------------------- cases


def test_identical_copies_are_one():
    found = normalise(frame(event(raw_index=3), event(raw_index=1), event(raw_sha256="1" * 64)))
    assert found.duplicates == 2
    assert (found.events["raw_index"].item(), found.events["raw_sha256"].item()) == (1, "0" * 64)


def test_the_newest_version_counts():
    versions = [event(updated_at=later(h), status=s) for h, s in ((1, "sent"), (3, "delivered"), (2, "sent"))]
    assert normalise(frame(*versions)).events["status"].to_list() == ["delivered"]


def test_a_version_without_time_is_the_oldest():
    assert normalise(frame(event(updated_at=None, status="sent"), event())).events["status"].to_list() == ["delivered"]


def test_of_equally_new_versions_the_priced_one_counts():
    for rows in ((event(provider_cost=None), event()), (event(), event(provider_cost=None))):
        found = normalise(frame(*rows))
        assert (found.events["provider_cost"].item(), found.duplicates) == (Decimal("0.0079"), 1)


def test_versions_that_differ_without_any_time_are_all_quarantined():
    a, b = event(updated_at=None), event(updated_at=None, segments=2, segments_reported=2)
    found = normalise(frame(b, a, a))
    assert found.events["record_id"].to_list() == ["SM1#1", "SM1#2"]
    assert found.events["reason"].to_list() == ["conflicting_versions"] * 2
    assert found.duplicates == 1
    # Once the source is of one mind, the record is back under its own id and nothing stays in quarantine.
    settled = normalise(frame(a), found.events).events
    assert (settled["record_id"].to_list(), settled["outcome"].to_list()) == (["SM1"], ["accepted"])
    # And the other way about, the record accepted so far is not billed beside the two.
    assert normalise(frame(a, b), settled).events["outcome"].to_list() == ["quarantined"] * 2


def test_rules_of_the_contract_quarantine_by_their_name():
    rows = [
        event("SM1", from_number=None),
        event("SM2", provider_currency="dollars"),
        event("SM3", segments=None, segments_reported=None, segments_computed=None, segments_source=None, body=""),
        event("SM4", occurred_at=None),
        event("SM5", provider_account=""),
        event("SM6", direction=None, to_number=None),
        event("CA1", kind="call", type="voice", answered_seconds=None, segments=None),
        event(
            "CA2", kind="call", type="voice", answered_seconds=5, ended_at=NOON - timedelta(seconds=1), segments=None
        ),
        event("SM7", outcome="excluded", reason="in_progress", from_number=None),
        event("SM8", status="failed", segments=None, segments_reported=None, segments_source=None),
    ]
    found = {r["record_id"]: r["reason"] for r in rows_of(normalise(frame(*rows)).events)}
    assert found == {
        "SM1": "message_has_parties", "SM2": "cost_has_currency", "SM3": "message_has_segments",
        "SM4": "occurred_at_nullability", "SM5": "provider_account_min_length",
        "SM6": "message_has_direction; message_has_parties", "SM7": "in_progress", "SM8": None,
        "CA1": "call_has_seconds", "CA2": "call_ends_after_it_begins",
    }  # fmt: skip


def test_an_older_answer_does_not_undo_a_newer_one():
    held = normalise(frame(event(updated_at=later(5)))).events
    again = normalise(frame(event(updated_at=later(1), provider_cost=None)), held).events
    assert (again["provider_cost"].item(), again["vanished"].item()) == (Decimal("0.0079"), False)


def test_of_equally_new_answers_the_later_reading_counts():
    held = normalise(frame(event(provider_cost=None))).events
    assert normalise(frame(event()), held).events["provider_cost"].item() == Decimal("0.0079")


@pytest.mark.parametrize("reported", [None, 3])
@pytest.mark.parametrize("body", ["", None])
def test_a_redacted_text_keeps_what_was_counted(reported, body):
    source_of = "computed" if reported is None else "reported"
    before = event(
        segments_reported=reported,
        segments_computed=2,
        segments=reported or 2,
        segments_source=source_of,
        body="x" * 170,
    )
    after = event(
        updated_at=later(1), body=body, encoding=None, segments_computed=None, segments_reported=reported, segments=reported,
        segments_source=None if reported is None else "reported",
    )  # fmt: skip
    once = normalise(frame(after), normalise(frame(before)).events).events
    twice = normalise(frame(after), once).events
    row = twice.row(0, named=True)
    assert once.equals(twice)
    assert (row["outcome"], row["encoding"], row["segments_computed"], row["segments"]) == (
        "accepted",
        "GSM-7",
        2,
        reported or 2,
    )
    assert not row["body"]


def test_a_record_that_left_the_day_is_excluded_not_billed_twice():
    """V19: the provider moved it; the neighbour's reading accepts it."""
    held = normalise(read("messages", [message()])).events
    moved = read(
        "messages", [message(date_sent=stamp("00:00:01", DAY + timedelta(days=1)), date_updated=stamp("23:00:00"))]
    )
    found = normalise(moved, held).events.row(0, named=True)
    assert (found["outcome"], found["reason"], found["vanished"]) == ("excluded", "other_day", False)


def test_records_without_an_id_do_not_pile_up():
    """Their place is all they have, and it changes with every page."""
    first = normalise(read("messages", [None, message(1)])).events
    second = normalise(read("messages", [message(2), None, message(1)]), first).events
    assert counts(second)["quarantined"] == 1
    assert counts(second)["vanished"] == 0


def test_four_nights_of_one_message():
    """Recorded: accepted, sent without a price, delivered with one, redacted."""
    lines = (SAMPLES / "message_lifecycle_observations.jsonl").read_text().splitlines()
    held = None
    story = []
    for line in lines:
        held = normalise(read("messages", [json.loads(line)["message"]]), held).events
        row = held.row(0, named=True)
        story.append(
            (
                row["outcome"],
                row["reason"],
                row["status"],
                row["provider_cost"],
                row["segments"],
                row["segments_computed"],
            )
        )
    price = Decimal("0.0079")
    assert story == [
        ("excluded", "in_progress", "accepted", None, 1, 1), ("accepted", None, "sent", None, 1, 1),
        ("accepted", None, "delivered", price, 1, 1), ("accepted", None, "delivered", price, 1, 1),
    ]  # fmt: skip
    assert held["body"].item() == ""


def test_duplicate_pages_and_shuffled_pages_are_the_same_day(sample_pages):
    found = source(Fake())
    straight = normalise(found.read(sample_pages, DAY).events)
    doubled = normalise(found.read([*reversed(sample_pages), *sample_pages], DAY).events)
    assert straight.events.equals(doubled.events)
    assert (straight.duplicates, doubled.duplicates) == (0, straight.events.height)


def test_a_released_number_is_marked_on_days_it_was_owned():
    held = normalise(read("numbers", [number(1), number(2)])).events
    found = normalise(read("numbers", [number(1)]), held).events.sort("record_id")
    assert found["vanished"].to_list() == [False, True]


def test_every_row_read_is_somewhere(sample_pages):
    read_rows = source(Fake()).read([*sample_pages, sample_pages[0], page("messages", [None, 3])], DAY).events
    found = normalise(read_rows)
    told = counts(found.events)
    assert read_rows.height == told["accepted"] + told["excluded"] + told["quarantined"] + found.duplicates


def test_counts():
    found = counts(normalise(frame(event(), event("SM2", from_number=None)), frame(event("SM9"))).events)
    assert found == {
        "accepted": 2, "excluded": 0, "quarantined": 1, "quarantined: message_has_parties": 1, "vanished": 1,
    }  # fmt: skip
    assert counts(EVENTS.empty()) == {"accepted": 0, "excluded": 0, "quarantined": 0, "vanished": 0}


def test_nothing_read_and_nothing_held_is_an_empty_day():
    assert normalise(EVENTS.empty()).events.height == 0
    assert normalise(EVENTS.empty(), EVENTS.empty()).events.schema == EVENTS.types


def test_the_inputs_are_left_alone():
    rows, held = frame(event(), event(status="sent", updated_at=later(1))), frame(event("SM2"))
    copies = rows.clone(), held.clone()
    normalise(rows, held)
    assert rows.equals(copies[0])
    assert held.equals(copies[1])
