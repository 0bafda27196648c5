"""Whose an event is: the frames against one event at a time, and what a person would check by hand."""

from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import directory_reference as slow
import polars as pl
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from etl import directory
from etl.schemas import DATASETS

patient, some = settings(max_examples=150, deadline=None), pytest.mark.brief(40)
DAY = date(2026, 10, 15)
NOON = datetime(2026, 10, 15, 12, tzinfo=UTC)
COLUMNS = (
    *("record_id", "kind", "provider_account", "direction", "occurred_at", "from_number", "to_number", "carrier"),
    "parent_id",
)
ADDED = (
    *("account_id", "owner_kind", "owner_id", "campaign_id", "registered", "number_class", "currency", "rate_card"),
    *("voice_detection", "caller_place", "callee_place", "direction", "carrier"),
)


def load(files: dict) -> directory.Directory:
    with tempfile.TemporaryDirectory() as folder:
        slow.write(Path(folder), files)
        return directory.load(Path(folder))


def frame(events: list[dict]) -> pl.DataFrame:
    types = {c: DATASETS["events"].types[c] for c in COLUMNS}
    return pl.DataFrame([[e[c] for c in COLUMNS] for e in events], schema=types, orient="row")


# ------------------------------------------------------------------------------------------------ worlds

OURS = ("+12025550101", "+12025550102", "+442071838750", "88811")
THEIRS = ("+13105550150", "+13105550", "+1310", "+4420", "+81398765432", "72345", "Acme", "+0123", "")
NAMES = ("mia", "Mia", "NOAH", "zoë", "ZOË", "front desk", "mia (ROOM)", "guest", "visitor", None)
PREFIXES = ("+1", "+1310", "+131055", "+13105550", "+13105550150", "+44", "+4420718", "1202", "813", "4")
CAMPAIGNS = (("acme", "spring"), ("acme", "autumn"), ("bolt", "spring"))
SIDS = ("AC1", "AC2", "AC3", "AC4")
CUTS = (DAY - timedelta(1), DAY, DAY + timedelta(1))
DICE = st.randoms(use_true_random=True)


def stretches(dice: Random) -> list[tuple[date | None, date | None]]:
    """Up to four stretches of days that do not overlap, cut around DAY."""
    cuts = sorted(dice.sample(CUTS, dice.randint(0, 3)))
    return [pair for pair in zip([None, *cuts], [*cuts, None], strict=True) if dice.random() < 0.7]


def world(dice: Random) -> dict:
    """The rows of every file."""
    accounts = [
        {
            "account_id": account_id, "name": account_id, "currency": currency, "rate_card": f"card-{account_id}",
            "provider_account_sid": sids,
        }
        for account_id, currency, sids in (("acme", "USD", "AC1;AC2"), ("bolt", "EUR", "AC3"))
    ]  # fmt: skip
    owners = []
    for account_id in ("acme", "bolt"):
        given_names = dice.sample([None, None, None, "Mia (Room)", "FRONT desk"], 5)
        who = (("member", "mia"), ("member", "noah"), ("member", "Zoë"), ("inbox", "support"), ("inbox", "mia"))
        owners += [
            {"account_id": account_id, "owner_kind": kind, "owner_id": owner_id, "identity": identity}
            for (kind, owner_id), identity in zip(who, given_names, strict=True)
        ]
        if dice.random() < 0.2:
            owners.append({"account_id": account_id, "owner_kind": "member", "owner_id": "NOAH", "identity": None})
    campaigns = [
        {
            "account_id": account_id, "campaign_id": campaign_id, "name": campaign_id,
            "voice_detection": dice.choice(("true", "TRUE", "false")), "valid_from": valid_from, "valid_to": valid_to,
        }
        for account_id, campaign_id in CAMPAIGNS
        for valid_from, valid_to in stretches(dice) or [(None, date(2020, 1, 1))]
    ]  # fmt: skip
    numbers = []
    for number in OURS:
        for valid_from, valid_to in stretches(dice):
            owner = dice.choice(owners)
            known = [campaign for account_id, campaign in CAMPAIGNS if account_id == owner["account_id"]]
            numbers.append(
                {
                    "number_e164": number, "account_id": owner["account_id"], "owner_kind": owner["owner_kind"],
                    "owner_id": owner["owner_id"], "campaign_id": dice.choice([None, *known]),
                    "registered": dice.choice(("true", "false")), "number_class": "local",
                    "valid_from": valid_from, "valid_to": valid_to,
                }
            )  # fmt: skip

    def by_prefix(column: str) -> list[dict] | None:
        if dice.random() < 0.2:
            return None
        chosen = dice.sample(PREFIXES, dice.randint(0, len(PREFIXES)))
        return [{"prefix_e164": p, column: f"US-{p.strip('+')}"} for p in chosen]

    return {
        "accounts": accounts, "owners": owners, "numbers": numbers, "campaigns": campaigns,
        "carriers": by_prefix("carrier"), "places": by_prefix("jurisdiction"),
    }  # fmt: skip


def with_plus(files: dict) -> dict:
    """The reference wants every prefix with its +; the files may leave it out."""
    return files | {
        name: files[name] and [row | {"prefix_e164": "+" + row["prefix_e164"].strip("+")} for row in files[name]]
        for name in ("carriers", "places")
    }


def day_of(dice: Random, count: int) -> list[dict]:
    """``count`` events of one day; record ids are unique within a kind."""

    def number() -> str | None:
        return dice.choice((None, *OURS, *OURS, *THEIRS))

    found = []
    for place in range(count):
        kind = dice.choice(("message", "call", "call", "number", "video", "video", "recording"))
        parent = {"video": (None, "RM1", "RM2"), "recording": (None, *(f"R{p:02d}" for p in range(count)))}
        found.append(
            {
                "record_id": f"R{place:02d}", "kind": kind, "provider_account": dice.choice(SIDS),
                "direction": dice.choice(("outbound", "inbound", None)),
                "occurred_at": NOON + timedelta(minutes=dice.randint(0, 2)),
                "from_number": dice.choice(NAMES) if kind == "video" else number(), "to_number": number(),
                "carrier": dice.choice((None, None, "Their Own")), "parent_id": dice.choice(parent.get(kind, (None,))),
            }
        )  # fmt: skip
    dice.shuffle(found)
    return found


def rows_of(found: pl.DataFrame, order: list[str]) -> list[tuple]:
    keyed = {row[0]: row[1:] for row in found.select("record_id", *ADDED).iter_rows()}
    return [keyed[r] for r in order]


@some
@patient
@given(DICE, st.integers(0, 40))
def test_attribution_is_what_one_event_at_a_time_says(dice, count):
    files, events = world(dice), day_of(dice, count)
    found = load(files).attribute(frame(events), DAY, "CHF")
    assert found["record_id"].to_list() == [e["record_id"] for e in events], "no row lost, doubled or moved"
    for row, given_event in zip(found.iter_rows(named=True), events, strict=True):
        assert {c: row[c] for c in ADDED} == slow.attribute(given_event, events, with_plus(files), DAY), row
        event(f"{row['kind']} {row['direction']}, owner known: {row['owner_id'] != 'unassigned'}")
        event(f"voice detection: {row['voice_detection']}")


@some
@patient
@given(DICE, st.integers(0, 40))
def test_neither_the_order_of_rows_nor_of_events_matters(dice, count):
    def shuffled(rows):
        return rows and dice.sample(rows, len(rows))

    files, events = world(dice), day_of(dice, count)
    straight = load(files).attribute(frame(events), DAY, "CHF")
    mixed = load({name: shuffled(rows) for name, rows in files.items()}).attribute(frame(shuffled(events)), DAY, "CHF")
    order = [e["record_id"] for e in events]
    assert rows_of(straight, order) == rows_of(mixed, order)


@some
@patient
@given(DICE, st.sampled_from(CUTS), st.integers(-1, 3))
def test_owned_numbers_are_those_owned_on_some_day(dice, first, length):
    """Day by day: what is owned, by whom, is what the rows say; nothing lies outside the window."""
    files, end = world(dice), first + timedelta(days=length)
    found = load(files).owned_numbers(first, end)
    owned = {
        (row["number_e164"], row["account_id"], row["owner_id"], row["valid_from"] + timedelta(days=n))
        for row in found.iter_rows(named=True)
        for n in range((row["valid_to"] - row["valid_from"]).days)
    }
    assert owned == {
        (row["number_e164"], row["account_id"], row["owner_id"], first + timedelta(days=n))
        for row in files["numbers"]
        for n in range(length)
        if slow.valid(row, first + timedelta(days=n))
    }
    assert found.rows() == sorted(found.rows(), key=lambda row: (row[0], row[-2]))
    assert all(first <= a < b <= end for a, b in found.select("valid_from", "valid_to").iter_rows())


# ------------------------------------------------------------------------------------------------ by hand

ACME = {
    "accounts": [
        {
            "account_id": "acme", "name": "Acme", "currency": "USD", "rate_card": "standard",
            "provider_account_sid": "AC1",
        }
    ],
    "owners": [
        {"account_id": "acme", "owner_kind": "member", "owner_id": "mia", "identity": "Mia (Acme)"},
        {"account_id": "acme", "owner_kind": "member", "owner_id": "noah"},
        {"account_id": "acme", "owner_kind": "inbox", "owner_id": "lobby"},
    ],
    "numbers": [
        {
            "number_e164": "+12025550101", "account_id": "acme", "owner_kind": "member", "owner_id": "noah",
            "campaign_id": "spring", "registered": "true", "number_class": "local", "valid_from": date(2026, 10, 10),
            "monthly_price": "1.15",
        }
    ],
    "campaigns": [
        {"account_id": "acme", "campaign_id": "spring", "name": "Spring", "voice_detection": "false", "valid_to": DAY},
        {"account_id": "acme", "campaign_id": "spring", "name": "II", "voice_detection": "true", "valid_from": DAY},
    ],
    "carriers": [{"prefix_e164": "+1310", "carrier": "Tern"}, {"prefix_e164": "13105550", "carrier": "Juniper"}],
    "places": [{"prefix_e164": "+1202", "jurisdiction": "US-DC"}, {"prefix_e164": "+1310", "jurisdiction": "US-CA"}],
}  # fmt: skip


def one(record_id: str, kind: str, **more) -> dict:
    return dict.fromkeys(COLUMNS) | {
        "record_id": record_id, "kind": kind, "provider_account": "AC1", "occurred_at": NOON,
    } | more  # fmt: skip


def attributed(*events: dict, day: date = DAY, **files) -> list[dict]:
    return load(ACME | files).attribute(frame(list(events)), day, "CHF").rows(named=True)


def joined(record_id: str, name: str, minute: int, room: str | None = "RM1", **more) -> dict:
    return one(
        record_id, "video", from_number=name, parent_id=room, occurred_at=NOON + timedelta(minutes=minute), **more
    )


def whose(*events: dict) -> list[tuple]:
    return [(row["owner_id"], row["direction"], row["campaign_id"]) for row in attributed(*events)]


def test_a_member_is_known_by_identity_else_by_owner_id_in_any_case():
    assert whose(joined("P1", "mia (acme)", 0), joined("P2", "NOAH", 1)) == [
        ("mia", "outbound", None),
        ("noah", "outbound", None),
    ]


def test_an_identity_given_replaces_the_owner_id():
    assert whose(joined("P1", "mia", 0)) == [("unassigned", "inbound", None)]


def test_an_inbox_without_identity_is_nobody_in_a_video_room():
    assert whose(joined("P1", "lobby", 0)) == [("unassigned", "inbound", None)]


def test_a_guest_belongs_to_the_member_who_joined_first():
    guest = joined("P1", "visitor", 0)
    assert whose(guest, joined("P3", "noah", 2), joined("P2", "Mia (Acme)", 5))[0] == ("noah", "inbound", None)
    assert whose(guest, joined("P3", "noah", 2), joined("P2", "Mia (Acme)", 2))[0] == ("mia", "inbound", None)


def test_a_guest_belongs_to_nobody_in_another_room_or_account():
    guest = joined("P1", "visitor", 0)
    assert whose(guest, joined("P2", "noah", 0, room="RM2"))[0] == ("unassigned", "inbound", None)
    assert whose(guest, joined("P2", "noah", 0, provider_account="AC9"))[0] == ("unassigned", "inbound", None)
    assert whose(joined("P1", "visitor", 0, room=None), joined("P2", "noah", 0, room=None))[0][0] == "unassigned"


def test_a_name_two_owners_share_but_for_its_case_is_nobody_s():
    """Both were in the directory before anybody made video calls: nothing says which of them it was."""
    twins = [
        {"account_id": "acme", "owner_kind": "member", "owner_id": name, "identity": None} for name in ("noah", "Noah")
    ]
    assert attributed(joined("P1", "noah", 0), owners=twins)[0]["owner_id"] == "unassigned"


def test_a_recording_belongs_to_its_call():
    call = one("CA1", "call", direction="outbound", from_number="+12025550101", to_number="+13105550150")
    recording = one("RE1", "recording", parent_id="CA1", direction="outbound")
    (row, _) = attributed(recording, call)
    assert (row["account_id"], row["owner_id"], row["campaign_id"]) == ("acme", "noah", "spring")
    assert (row["direction"], row["number_class"], row["registered"], row["rate_card"]) == (
        None,
        None,
        None,
        "standard",
    )


def test_a_recording_whose_call_is_elsewhere_is_the_sub_account_s():
    message = one("CA1", "message", direction="outbound", from_number="+12025550101", to_number="+13105550150")
    (row, _) = attributed(one("RE1", "recording", parent_id="CA1"), message)
    assert (row["account_id"], row["owner_id"], row["campaign_id"]) == ("acme", "unassigned", None)


def test_a_recording_goes_with_its_call_to_the_number_s_account():
    """The call went through Bolt's sub-account from a number of Acme's."""
    call = one("CA1", "call", direction="inbound", to_number="+12025550101", provider_account="AC3")
    (row, _) = attributed(one("RE1", "recording", parent_id="CA1", provider_account="AC3"), call)
    assert (row["account_id"], row["owner_id"]) == ("acme", "noah")


def test_voice_detection_is_switched_by_the_day():
    call = one("CA1", "call", direction="outbound", from_number="+12025550101", to_number="+13105550150")
    assert [attributed(call, day=DAY - timedelta(days=n))[0]["voice_detection"] for n in (0, 1)] == [True, False]
    found = load(ACME)
    assert found.campaigns.select("campaign_id", "name", "voice_detection").rows() == [("spring", "II", True)]


def test_the_longest_prefix_names_the_carrier_of_whoever_is_not_us():
    sent = one("M1", "message", direction="outbound", from_number="+12025550101", to_number="+13105550150")
    got = one("M2", "message", direction="inbound", from_number="+13105551150", to_number="+12025550101")
    said = sent | {"record_id": "M3", "carrier": "Cobalt"}
    call = sent | {"record_id": "C1", "kind": "call"}
    assert [row["carrier"] for row in attributed(sent, got, said, call)] == ["Juniper", "Tern", "Cobalt", None]
    assert attributed(sent, carriers=None)[0]["carrier"] is None


def test_places_are_the_caller_s_and_the_callee_s():
    sent = one("M1", "message", direction="outbound", from_number="+12025550101", to_number="+13105550150")
    got = one("M2", "call", direction="inbound", from_number="+13105551150", to_number="88811")
    assert [(r["caller_place"], r["callee_place"]) for r in attributed(sent, got)] == [
        ("US-DC", "US-CA"),
        ("US-CA", None),
    ]
    assert [(r["caller_place"], r["callee_place"]) for r in attributed(sent, places=None)] == [(None, None)]


def test_owned_numbers_say_what_a_number_costs():
    (row,) = load(ACME).owned_numbers(date(2026, 10, 1), date(2026, 11, 1)).rows(named=True)
    assert row == {
        "number_e164": "+12025550101", "account_id": "acme", "owner_kind": "member", "owner_id": "noah",
        "campaign_id": "spring", "number_class": "local", "registered": True,
        "monthly_price": Decimal("1.15"),
        "valid_from": date(2026, 10, 10), "valid_to": date(2026, 11, 1),
    }  # fmt: skip


@pytest.mark.parametrize("kinds", [("message", "call", "number"), ()])
def test_a_day_without_recordings_and_video_needs_no_more_columns(kinds):
    """And an empty day comes back empty, with every column."""
    events = [one(f"E{n}", kind, direction="outbound") for n, kind in enumerate(kinds)]
    few = frame(events).select("kind", "provider_account", "direction", "from_number", "to_number", "carrier")
    found = load(ACME).attribute(few, DAY, "CHF")
    assert found.height == len(kinds) and set(ADDED) <= set(found.columns)
    assert found["voice_detection"].dtype == pl.Boolean
