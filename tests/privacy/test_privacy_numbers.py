"""The form of a number that has expired: what it keeps, what it hides, and that it prices like the whole one."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.prefixes import digits, find
from etl.redaction import mask
from etl.retention import cut, expired_events, expired_raw, forgotten_events, keep_carriers, own_numbers
from etl.schemas import DATASETS

KEY = b"k" * 32
e164 = st.from_regex(r"\A\+[1-9][0-9]{6,14}\Z")
keys = st.sampled_from([None, KEY])


def events(*rows: dict) -> pl.DataFrame:
    given = [
        {"record_id": f"r{n}", "kind": "message", "outcome": "accepted", "raw_sha256": "0" * 64, "raw_index": n, "vanished": False}
        | row
        for n, row in enumerate(rows)
    ]  # fmt: skip
    return pl.DataFrame(given, schema=DATASETS["events"].types, orient="row")


def test_examples():
    assert cut("+15550100123") == "+1555010#"
    assert cut("+15550100123", KEY) == "+1555010#" + cut("+15550100123", KEY)[-16:]
    assert cut("+441632960961") == "+4416329#"
    assert cut("+6834001") == "+683#", "of a short number at least four digits go"
    for stays in ("12345", "ACME", "alice", "guest-662", "+12345", "+1555010#", "+1555010#0123456789abcdef", "#", ""):
        assert cut(stays, KEY) == stays
    for odd in ("15550100123", "client:15550100123", "(555) 010-0123", "+015550100123", "٠١٢٣٤٥٦٧٨", "+1555 010 0123"):
        assert cut(odd) == "#"
        assert cut(odd, KEY)[0] == "#" and len(cut(odd, KEY)) == 17


@given(e164, keys)
def test_a_prefix_is_kept_and_no_digit_of_the_rest(number, key):
    prefix, mark, rest = cut(number, key).partition("#")
    assert mark == "#" and number.startswith(prefix)
    assert 4 <= len(prefix) <= 8 and len(number) - len(prefix) >= 4
    assert len(rest) == (16 if key else 0)
    assert cut(cut(number, key), key) == cut(number, key)


@given(st.lists(e164, min_size=2, max_size=2, unique=True), st.binary(min_size=32, max_size=40))
def test_one_number_has_one_hash_and_another_key_another(pair, key):
    one, other = (cut(number, key).partition("#")[2] for number in pair)
    assert one != other
    assert cut(pair[0], key) == cut(pair[0], key) != cut(pair[0], key + b"x")


@given(e164, st.lists(st.integers(1, 7), max_size=6), keys)
def test_it_finds_the_price_that_the_whole_number_finds(number, lengths, key):
    kept = len(cut(number, key).partition("#")[0]) - 1
    prefixes = sorted({number[1 : 1 + n] for n in lengths if n <= kept} | {"", "1", "44"})
    rows = pl.DataFrame({"id": [f"p{p}" for p in prefixes], "prefix": prefixes, "g": 0})
    frame = pl.DataFrame({"number": [number, cut(number, key)], "g": [0, 0]})
    whole, short = find(frame, rows, id_column="id", exact=("g",), wild=(), number="number")
    assert whole == short


def test_what_is_no_number_has_no_digits():
    numbers = [
        "+1555010#",
        "+1555010#0123456789abcdef",
        "#0123456789abcdef",
        "#",
        "+15550100123",
        "12345",
        None,
        "+1555#x",
    ]
    found = pl.DataFrame({"number": numbers}).select(digits("number")).to_series().to_list()
    assert found == ["1555010", "1555010", "", "", "15550100123", "", "", ""]


def test_our_own_numbers_and_members_names_stay():
    ours, theirs = "+12025550101", "+13105550150"
    frame = events(
        {"from_number": ours, "to_number": theirs, "body": "hello", "direction": "outbound"},
        {"kind": "number", "to_number": "+12025550177"},
        {"from_number": "+12025550177", "to_number": "12345", "body": "", "status": "delivered", "error_code": "30008"},
        {"kind": "video", "from_number": "Agent-20250101"},
        {"outcome": "quarantined", "status": f"call {theirs} now", "body": "text", "from_number": "ACME"},
    )
    own = own_numbers(frame, {ours, "agent-20250101"})
    now, counts = expired_events(frame, numbers=True, own=own, key=None)
    assert counts == {"bodies": 3, "numbers": 1}
    assert now["from_number"].to_list() == [ours, None, "+12025550177", "Agent-20250101", "ACME"]
    assert now["to_number"].to_list() == ["+1310555#", "+12025550177", "12345", None, None]
    assert now["body"].null_count() == 5
    assert now["status"].to_list() == [None, None, "delivered", None, None], (
        "what holds a text or a number is no status"
    )
    assert now["error_code"].to_list()[2] == "30008"
    later, counts = expired_events(frame, numbers=False, own=own, key=None)
    assert counts == {"bodies": 3, "numbers": 0} and later["to_number"].equals(frame["to_number"])


def test_a_carrier_is_kept_where_the_number_no_longer_tells_it():
    frame = events({"from_number": "+12025550101", "to_number": "+13105550150"}, {"to_number": "12345"})
    now, _ = expired_events(frame, numbers=True, own={"+12025550101"}, key=None)
    kept = keep_carriers(frame, now, pl.Series("carrier", ["AT&T", "Verizon"]))
    assert kept["carrier"].to_list() == ["AT&T", None]


def test_one_person_is_forgotten_and_nobody_else():
    person, other = "+13105550150", "+13105550151"
    frame = events(
        {"from_number": "+12025550101", "to_number": person, "body": "for one"},
        {"from_number": other, "to_number": "+12025550101", "body": "of another"},
        {"from_number": cut(person, KEY), "to_number": cut(other, KEY)},
    )
    now, counts = forgotten_events(frame, {person, cut(person, KEY)})
    assert counts == {"bodies": 1, "numbers": 2}
    assert now["to_number"].to_list() == ["+1310555#", "+12025550101", cut(other, KEY)]
    assert now["from_number"].to_list() == ["+12025550101", other, "+1310555#"]
    assert now["body"].to_list() == [None, "of another", None]


@pytest.mark.parametrize(
    "name", ["drop/+13105550150/2026-10-31.csv", "from-13105550150.csv.gz", "tel 310-555-0150.csv"]
)
def test_a_page_keeps_its_proof_and_no_number_in_its_name(name):
    raw = pl.DataFrame(
        [("messages", "AC1", 0, name, "a" * 64, 10, "b" * 64, 0, 9)], schema=DATASETS["raw"].types, orient="row"
    )
    now, counts = expired_raw(raw, {name: mask(name)})
    DATASETS["raw"].arrange(now)
    assert counts == {"pages": 1}
    assert now.row(0)[4:] == ("a" * 64, 10, None, None, None)
    assert "3105550150" not in now["url"][0].replace("-", "") and now["url"][0].endswith(name.partition(".")[2])
    assert expired_raw(now, {})[1] == {"pages": 0}
