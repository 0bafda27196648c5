"""Every line of every golden statement is explained to the last digit, also after its month was closed."""

from __future__ import annotations

import json
import shutil
from datetime import date
from decimal import Decimal

import golden_world
import polars as pl
import pytest
from golden_world import ACCOUNTS, FEBRUARY, JANUARY, MARCH, at, build, opened, sms
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from statement_made import load_day
from typer.testing import CliRunner

from etl import explain
from etl.cli import app
from etl.explain import Key, gather_all, stated
from etl.lake import EXPIRED, Partition
from etl.schemas import LINES

FAILED = "failed,standard,failed_message,,,,,USD,0.0010,,,,,,,2028-01-01,,2028-01-01,\n"
PRICES = golden_world.FILES["rates/prices.csv"] + FAILED
BURST = date(2028, 2, 20)


@pytest.fixture(scope="module")
def built_once(tmp_path_factory):
    file = build(tmp_path_factory.mktemp("explained"), files={"rates/prices.csv": PRICES}, every_day=True)
    jobs = opened(file)
    load_day(jobs, BURST, [sms("switch", at(2, 20), 3, status="failed", record_id="failed-1")])
    jobs.state(FEBRUARY)
    return file


@pytest.fixture
def place(built_once, tmp_path):
    shutil.copytree(built_once.parent, tmp_path / "place")
    return tmp_path / "place" / built_once.name


def lines(jobs, account, month=FEBRUARY) -> list[dict]:
    return list(stated(jobs.lake, jobs.directory, account, month)[1].iter_rows(named=True))


def explained(jobs, account, row, month=FEBRUARY):
    return jobs.explain(account, month, Key(str(row["position"])))


def etl(file, *arguments) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["explain", "--config", str(file), *arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output


@pytest.mark.parametrize("line", [*LINES, "tax", "total", "product_total"])
def test_the_sums_of_every_line_are_the_line(built_once, line):
    jobs, met = opened(built_once), 0
    for account in ACCOUNTS:
        for row in (r for r in lines(jobs, account) if r["line"] == line):
            found = explained(jobs, account, row)
            assert found.sound, (account, row, found.checks)
            below = found.rates or found.months
            if below:
                assert sum(one["charge"] for one in below) == row["amount_exact"]
                assert sum(one["quantity"] for one in below) == row["quantity"]
            if found.days:
                assert sum(one["charge"] for one in found.days) == row["amount_exact"]
                assert sum(one["records"] for one in found.days) == row["events"] >= len(found.records) > 0
            if line in ("tax", "total", "product_total"):
                assert sum(one["amount_exact"] for one in found.parts) == row["amount_exact"]
            assert below or found.parts or line == "total"
            met += 1
    assert met


@pytest.mark.parametrize("month", [JANUARY, MARCH], ids=str)
def test_every_line_of_the_other_months_too(built_once, month):
    jobs = opened(built_once)
    for account in ACCOUNTS:
        for row in lines(jobs, account, month):
            assert explained(jobs, account, row, month).sound


def test_two_prices_in_one_month_are_two_rows_with_their_products(built_once):
    jobs = opened(built_once)
    found = jobs.explain("switch", FEBRUARY, Key("text"))
    assert [(r["rate_id"], r["quantity"], r["charge"], r["says"]) for r in found.rates] == [
        ("sms-1", 1, Decimal("0.01"), "1 × 0.01 = 0.01"),
        ("sms-2", 4, Decimal("0.048"), "4 × 0.012 = 0.048"),
    ]
    assert [(d["date"], d["quantity"]) for d in found.days] == [(date(2028, 2, 14), 1), (date(2028, 2, 15), 4)]
    assert found.rates[1]["row"]["valid_from"] == date(2028, 2, 15)


def test_calls_are_priced_by_the_minute(built_once):
    found = opened(built_once).explain("thirty", FEBRUARY, Key("call"))
    assert found.rates[0]["says"] == "216 s / 60 × 0.06 = 0.216"
    assert (found.rates[0]["row"]["minimum_seconds"], found.rates[0]["row"]["increment_seconds"]) == (30, 6)


def test_what_a_line_by_the_month_stands_on(built_once):
    jobs = opened(built_once)
    storage = jobs.explain("campaign", FEBRUARY, Key("recording_storage"))
    assert {one["what"]: (one["recordings"], one["minutes"]) for one in storage.below} == {
        "carried from earlier months": (2, 602), "made in the month": (1, 1),
    }  # fmt: skip
    overage = jobs.explain("beyond", FEBRUARY, Key("credit_overage"))
    assert sum(one["credits"] for one in overage.below) == overage.line["quantity"] == 8
    ladder = jobs.explain("ladder", FEBRUARY, Key("tier_adjustment"))
    assert [one["from_quantity"] for one in ladder.below] == [0, 5, 10]
    assert ladder.notes == (
        "steps: 12 used; by the ladder 0.1, charged event by event 0.12, connection fees given back 0",
    )


def test_a_tax_names_the_lines_of_its_base(built_once):
    jobs = opened(built_once)
    wa = next(r for r in lines(jobs, "taxed") if r["rate_id"] == "wa@2028-01-01")
    found = explained(jobs, "taxed", wa)
    assert {p["line"] for p in found.parts} == {"number local", "call outbound voice", "text outbound sms"}
    assert sum(p["base"] for p in found.parts) == wa["base"]
    assert (found.tax["rate"], found.tax["name"]) == (Decimal("6.5"), "Sales tax")


def test_a_rounding_line_is_what_is_left_over(place):
    place.write_text('tax_rounding = "per_statement"\n' + place.read_text())
    jobs = opened(place)
    jobs.state(FEBRUARY)
    rows = lines(jobs, "taxed")
    assert {"tax", "rounding"} <= {r["line"] for r in rows}
    assert all(explained(jobs, "taxed", row).sound for row in rows)


def test_a_closed_month_is_explained_as_it_was_closed(place):
    jobs = opened(place)
    for month in (JANUARY, FEBRUARY):
        assert all(r.closed for r in jobs.close(month, on=date(2028, 4, 9)))
    was = {(a, r["position"]): explained(jobs, a, r) for a in ACCOUNTS for r in lines(jobs, a)}
    prices = place.parent / "rates" / "prices.csv"
    prices.write_text(prices.read_text().replace("0.0100,,,,,,,2028", "0.0900,,,,,,,2028").replace("0.0600", "0.0700"))
    taxes = place.parent / "rates" / "taxes.csv"
    taxes.write_text(
        taxes.read_text() + "wa,state,US-WA,Sales tax,percent,9,text,,service_address,false,2028-01-01,,2028-04-20,\n"
    )
    jobs = opened(place)
    load_day(jobs, BURST, [sms("switch", at(2, 20), 9, record_id="late-1")])
    load_day(jobs, date(2028, 2, 5), [])
    jobs.state(FEBRUARY)
    newest = {r["line"]: r for r in jobs.lake.read(jobs.lake.head(Partition.of("statement", month=str(FEBRUARY)))).filter(
        pl.col("account_id") == "switch"
    ).iter_rows(named=True)}  # fmt: skip
    jobs = opened(place)
    now = {(a, r["position"]): explained(jobs, a, r) for a in ACCOUNTS for r in lines(jobs, a)}
    assert newest["text"]["quantity"] != now["switch", 1].line["quantity"]
    assert now.keys() == was.keys()
    for key, found in now.items():
        assert found.sound, (key, found.checks)
        assert (found.line, found.days, found.records, found.parts, found.partitions, found.checks) == (
            was[key].line, was[key].days, was[key].records, was[key].parts, was[key].partitions, was[key].checks
        )  # fmt: skip
        assert [r["charge"] for r in found.rates] == [r["charge"] for r in was[key].rates]
    text = next(f for f in now.values() if f.account_id == "switch" and f.line["line"] == "text")
    assert [r["linear"] for r in text.rates] == [False, True]


def test_a_tax_of_which_the_address_is_no_longer_known_says_why(place):
    accounts = place.parent / "directory" / "accounts.csv"
    accounts.write_text(accounts.read_text().replace("US-WA-SEATTLE", ""))
    found = opened(place).explain("taxed", FEBRUARY, Key("tax", item="Sales tax"))
    assert not found.sound
    assert "the account's address" in found.notes[0]
    assert found.line["base"] > 0


def test_a_statement_that_does_not_add_up_says_so_and_is_3(place):
    """The lines of one account changed by hand in the lake."""
    jobs = opened(place)
    target = Partition.of("statement", month=str(FEBRUARY))
    head = jobs.lake.head(target)
    cent = pl.lit(Decimal("0.01"), pl.Decimal(18, 9))
    wrong = (pl.col("account_id") == "switch") & (pl.col("line") == "text")
    frame = jobs.lake.read(head).drop("month").with_columns(
        pl.when(wrong).then((pl.col("amount_exact") + cent).cast(pl.Decimal(18, 9))).otherwise("amount_exact").alias(
            "amount_exact"
        )
    )  # fmt: skip
    jobs.lake.commit(target, frame, base=head, inputs=head.inputs)
    code, text = etl(place, "--account", "switch", "--month", "2028-02", "--line", "text")
    assert code == 3
    assert "NOT EQUAL: it is 0.058" in text


def test_the_command_lists_explains_and_speaks_json(built_once):
    asked = ("--account", "picture", "--month", "2028-02")
    code, text = etl(built_once, *asked)
    assert code == 0
    assert "carrier_fee outbound sms AT&T registered" in text
    code, text = etl(built_once, *asked, "--line", "text", "--type", "mms")
    assert code == 0
    assert "2 × 0.03 = 0.06" in text
    assert "NOT EQUAL" not in text
    code, text = etl(built_once, *asked, "--line", "text", "--type", "mms", "--json", "--records", "1")
    document = json.loads(text)
    assert (code, document["sound"], len(document["records"])) == (0, True, 1)
    assert document["line"]["amount"] == "0.060000000"
    assert all(len(p["sha256"]) == 64 and p["run_id"] and p["code"] for p in document["partitions"])
    assert "+1" not in text.replace("+00:00", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--account", "nobody", "--month", "2028-02"), "use one of a31"),
        (("--account", "six", "--month", "2027-02"), "the lake has 2028-01, 2028-02, 2028-03"),
        (("--account", "six", "--month", "2028-02", "--line", "video"), "--line video is no line of this statement"),
        (("--account", "six", "--month", "2028-02", "--line", "99"), "--line 1: call outbound voice"),
        (("--account", "picture", "--month", "2028-02", "--line", "text"), "--line text is several lines"),
        (("--account", "six", "--month", "2028-02", "--type", "sms"), "give --line too"),
        (("--account", "six", "--month", "february"), "YYYY-MM"),
    ],
)
def test_wrong_use_is_2_and_names_the_choices(built_once, arguments, said):
    code, text = etl(built_once, *arguments)
    assert code == 2
    assert said in " ".join(text.replace("│", " ").split())


# ------------------------------------------------------------------------------------------------ all lines at once


def all_of(jobs, month, **more) -> dict:
    return dict(gather_all(jobs.lake, jobs.directory, jobs.card, jobs.taxes, jobs.settings, month, **more))


def same_line_by_line(jobs, month) -> int:
    """How many lines were compared: all at once and each by itself."""
    every = all_of(jobs, month)
    for account, found in every.items():
        rows = lines(jobs, account, month)
        assert [one.line for one in found] == rows
        assert list(found) == [explained(jobs, account, row, month) for row in rows]
    return sum(map(len, every.values()))


@pytest.mark.parametrize("month", [JANUARY, FEBRUARY], ids=str)
def test_all_lines_at_once_are_explained_as_each_by_itself(built_once, month):
    assert same_line_by_line(opened(built_once), month) > 20


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.tuples(
            st.sampled_from(["switch", "picture", "taxed", "ladder"]), st.integers(20, 22), st.integers(1, 5),
            st.sampled_from(["delivered", "failed"]),
        ),
        min_size=1, max_size=12,
    )
)  # fmt: skip
def test_whatever_was_sent_both_explain_the_same(built_once, tmp_path_factory, texts):
    root = tmp_path_factory.mktemp("any")
    shutil.copytree(built_once.parent, root / "place")
    jobs = opened(root / "place" / built_once.name)
    for day in {day for _, day, _, _ in texts}:
        sent = [
            sms(account, at(2, day), segments, status=status, record_id=f"any-{number}")
            for number, (account, on, segments, status) in enumerate(texts)
            if on == day
        ]
        load_day(jobs, date(2028, 2, day), sent)
    jobs.state(FEBRUARY)
    jobs = opened(root / "place" / built_once.name)
    every = all_of(jobs, FEBRUARY, accounts=["switch", "picture", "taxed", "ladder"])
    assert all(one.sound for found in every.values() for one in found)
    for account, found in every.items():
        assert list(found) == [explained(jobs, account, one.line) for one in found]


def test_records_are_read_once_however_many_lines_and_accounts(built_once, monkeypatch):
    jobs, read = opened(built_once), []
    scan = jobs.lake.scan

    def seen(versions, columns=None):
        read.extend(v.partition.path for v in versions if v.partition.dataset in ("charges", "events", "raw", "daily"))
        return scan(versions, columns)

    monkeypatch.setattr(jobs.lake, "scan", seen)
    found = all_of(jobs, FEBRUARY)
    assert sum(map(len, found.values())) > 20
    assert len([path for path in read if path.startswith("charges")]) >= 3
    free = explain.tiers.needs_calls(jobs.card)
    assert free or len(read) == len(set(read))


def test_a_batch_may_be_one_day(built_once, monkeypatch):
    """What is in memory at once is a batch of records: its size changes nothing."""
    jobs = opened(built_once)
    whole = all_of(jobs, FEBRUARY)
    monkeypatch.setattr(explain, "_BATCH", 1)
    assert all_of(opened(built_once), FEBRUARY) == whole


def test_accounts_that_closed_at_different_times_rest_on_different_ground(place):
    jobs = opened(place)
    for month in (JANUARY, FEBRUARY):
        assert all(r.closed for r in jobs.close(month, ["switch", "picture"], on=date(2028, 4, 9)))
    load_day(
        opened(place),
        BURST,
        [sms("switch", at(2, 20), 9, record_id="late-2"), sms("taxed", at(2, 20), 2, record_id="late-4")],
    )
    opened(place).state(FEBRUARY)
    assert same_line_by_line(opened(place), FEBRUARY) > 20


def test_a_correction_is_explained_by_its_records_and_the_two_statements(place):
    jobs = opened(place)
    for month in (JANUARY, FEBRUARY):
        assert all(r.closed for r in jobs.close(month, on=date(2028, 4, 9)))
    load_day(opened(place), BURST, [sms("switch", at(2, 20), 9, record_id="late-3")])
    for month in (FEBRUARY, MARCH):
        opened(place).state(month)
    jobs = opened(place)
    rows = [r for r in lines(jobs, "switch", MARCH) if r["section"] == "correction"]
    assert {r["for_month"] for r in rows} == {"2028-02"}
    for row in rows:
        found = explained(jobs, "switch", row, MARCH)
        assert found.sound, (found.checks, found.parts)
        assert [part["what"] for part in found.parts] == ["2028-02 as it stands", "2028-02 as closed, revision 1"]
        assert sum(part["amount"] for part in found.parts) == row["amount"]
        assert sum(one["charge"] for one in found.below) == row["amount_exact"]
    text = explained(jobs, "switch", next(r for r in rows if r["line"] == "text"), MARCH)
    assert {(r["record_id"], r["reason"]) for r in text.records} >= {("late-3", "late")}
    assert explained(jobs, "switch", lines(jobs, "switch", MARCH)[-1], MARCH).sound
    assert same_line_by_line(jobs, MARCH)


def test_a_month_whose_pages_retention_erased_is_still_explained(place):
    """What is left of the events still says where a record stood; of erased pages nothing is known but their hash."""
    jobs = opened(place)
    raw = jobs.lake.head(Partition.of("raw", date=BURST, source="twilio"))
    events = jobs.lake.head(Partition.of("events", date=BURST, source="twilio"))
    was = jobs.explain("switch", FEBRUARY, Key("text"))
    for head in (raw, events):
        frame = jobs.lake.read(head).drop("date", "source")
        frame = frame.with_columns(body=pl.lit(None, pl.String)) if head is events else frame.clear()
        jobs.lake.commit(head.partition, frame, base=head, inputs=head.inputs, reason=EXPIRED)
        jobs.lake.erase(head.partition)
    jobs = opened(place)
    now = jobs.explain("switch", FEBRUARY, Key("text"))
    assert now.sound
    assert (now.rates, now.days, now.records, now.partitions) == (was.rates, was.days, was.records, was.partitions)
    assert same_line_by_line(jobs, FEBRUARY)
