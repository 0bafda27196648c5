"""C1–C7: settings, directory and rate card as people get them wrong. Refused by file and key or line before anything is asked
or written; what is right but changed in the middle of a month changes what it says and nothing else."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from faultynights import ACCOUNTS, CHILD, DAY, DIRECTORY, MAIN, MONTH, NEXT, Place, message, provider_running, stamp

from etl import settings
from etl.directory import files
from etl.jobs import Jobs
from etl.lake import Partition
from etl.settings import ConfigurationError, Settings
from etl.statement import Statements


@pytest.fixture(scope="module")
def listening():
    with provider_running() as provider:
        yield provider


@pytest.fixture
def provider(listening):
    return listening.reset()


@pytest.fixture
def place(tmp_path, provider):
    return Place(tmp_path / "place", provider.url)


def change(place: Place, name: str, old: str, new: str) -> None:
    file = place.folder / name
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


# --------------------------------------------------------------------------------------------- refused before anything

WRONG = {
    "C1 missing key": ("tollbook.toml", "start = 2026-11-01\n", "", "start: Field required"),
    "C1 unknown key": ("tollbook.toml", "settle_hours", "setle_hours", "setle_hours: Extra inputs are not permitted"),
    "C1 unknown key of a source": ("tollbook.toml", "attempts", "atempts", "sources.twilio.atempts: Extra inputs"),
    "C1 unknown table": ("tollbook.toml", "[lake]", "[lakes]\n[lake]", "lakes: Extra inputs are not permitted"),
    "C2 key twice": ("tollbook.toml", 'url = "lake"', 'url = "lake"\nurl = "elsewhere"', "is not valid TOML: Cannot overwrite a value"),
    "C2 table twice": ("tollbook.toml", "[lake]", '[lake]\nregion = "x"\n[lake]', "is not valid TOML: Cannot declare"),
    "C2 source twice": ("tollbook.toml", "[sources.twilio]", '[sources.twilio]\nkind = "files"\n[sources.twilio]', "is not valid TOML"),
    "C2 table and dotted key": ("tollbook.toml", "start =", 'lake.url = "x"\nstart =', "is not valid TOML"),
    "C2 column twice": ("directory/accounts.csv", "company,currency", "currency,currency", "lacks the column company"),
    "C2 account twice": ("directory/accounts.csv", "bolt,Bolt", "acme,Bolt", "line 3: account_id 'acme' stands already on line 2"),
    "C3 a word without quotes": ("tollbook.toml", "settle_hours = 0", "currency = NO", "is not valid TOML"),
    "C3 NO as a currency": ("tollbook.toml", "settle_hours = 0", 'currency = "NO"', "currency: String should match"),
    "C3 a leading zero": ("tollbook.toml", "settle_hours = 0", "settle_hours = 012", "is not valid TOML"),
    "C3 a time of day": ("tollbook.toml", "settle_hours = 0", "settle_hours = 12:30:00", "settle_hours: Input should be a valid integer"),
    "C3 yes for a number": ("tollbook.toml", "settle_hours = 0", "lookback_days = true", "lookback_days: Value error, true is no value"),
    "C3 no for a number": ("tollbook.toml", "settle_hours = 0", "credits_per_segment = false", "false is no value"),
    "C3 a number for a day": ("tollbook.toml", "start = 2026-11-01", "start = 0", "start: Value error, 0 is no value"),
    "C3 a day in another order": ("tollbook.toml", "start = 2026-11-01", 'start = "01.11.2026"', "start: Input should be a valid date"),
    "C3 no number": ("tollbook.toml", "settle_hours = 0", "settle_hours = nan", "settle_hours: Input should be a finite number"),
    "C3 decimal comma": ("rates/prices.csv", "USD,0.0090", 'USD,"0,0090"', "prices.csv line 2"),
    "C3 a number as spreadsheets shorten it": ("rates/prices.csv", "USD,0.0090", "USD,9.0E-03", "prices.csv line 2"),
    "C3 day of another order in CSV": ("rates/prices.csv", "2026-01-01,2026-09-01", "01/01/2026,2026-09-01", "prices.csv line 2"),
    "C3 another separator": ("directory/owners.csv", "account_id,owner_kind,owner_id,name", "account_id;owner_kind;owner_id;name", "save it with commas"),
    "C4 two prices for one day": ("rates/prices.csv", "us-texts,2026-09-01,,2026-08-03", "us-texts,2026-08-01,,2026-01-01", "prices.csv"),
    "C4 a period turned round": ("rates/prices.csv", "2026-01-01,2026-09-01", "2026-09-02,2026-09-01", "prices.csv line 2"),
    "C6 a card that is gone": ("directory/accounts.csv", "USD,standard,b@", "USD,gold,b@", "account 'bolt' uses rate card 'gold'"),
    "C7 one provider account of two": ("directory/accounts.csv", CHILD, MAIN, "already belongs to 'acme'"),
    "C7 an account called by another's folder": ("directory/accounts.csv", "bolt,Bolt", "acme/x,Bolt", "account_id 'acme/x' must be letters"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_and_nothing_is_asked_or_written(name, place, provider):
    file, old, new, says = WRONG[name]
    change(place, file, old, new)
    with pytest.raises(ConfigurationError) as caught:
        place.jobs().check_configuration()
    assert says in str(caught.value), str(caught.value)
    assert provider.requests == [] and place.files() == {}


def test_traps_of_yaml_that_toml_does_not_have(tmp_path):
    """C3: NO is no false, 0123 no octal, 12:30:00 no number of seconds, 1e3 no text: a text is what stands in quotes."""
    texts = (
        "NO",
        "no",
        "off",
        "~",
        "null",
        "0123",
        "12:30:00",
        "1e3",
        "2026-11-01",
        "1_000",
        "0o17",
        ".inf",
        "*a",
        "!x",
    )
    file = tmp_path / "tollbook.toml"
    base = 'start = 2026-11-01\ndirectory = "d"\nrates = "r"\n[lake]\nurl = "lake"\n[sources.t]\nkind = "twilio"\n[reports.store]\nurl = "p"\n'
    for text in texts:
        file.write_text(base.replace('"d"', f'"{text}"'))
        assert str(settings.load(file).directory) == text
    file.write_text(base.replace("2026-11-01", "2026-11-01T00:00:00"))
    assert settings.load(file).start == date(2026, 11, 1)


def test_cells_are_the_text_that_stands_in_them(tmp_path):
    """C3: no cell of a CSV is a number, a truth or nothing by itself."""
    names = ("0123", "NO", "1e5", "12:30:00", "null", "true", "NaN", "-0", "007")
    rows = "".join(f"acme,member,{name},{name}\n" for name in names)
    for name, text in (DIRECTORY | {"owners.csv": DIRECTORY["owners.csv"] + rows}).items():
        (tmp_path / name).write_text(text)
    found = files.load(tmp_path)
    assert found.owners["owner_id"].to_list() == list(names) == found.owners["name"].to_list()


def test_every_setting_of_a_number_refuses_a_truth():
    """C3: not only those above."""
    whole = {
        "lake": {"url": "x"}, "reports": {"store": {"url": "y"}}, "sources": {"t": {"kind": "twilio"}}, "directory": "d",
        "rates": "r", "start": "2026-03-01",
    }  # fmt: skip
    assert Settings(**whole)
    for name in (n for n, field in Settings.model_fields.items() if field.annotation is not bool):
        for truth in (True, False):
            with pytest.raises(ValueError, match=name):
                Settings(**(whole | {name: truth}))


# --------------------------------------------------------------------------------------------- changed in the middle


def texts_of(jobs: Jobs) -> dict[str, list[tuple]]:
    """(quantity, exact amount) of each line of texts of the month, by account."""
    lines = jobs.lake.read(jobs.lake.head(Partition.of("statement", month=str(MONTH))))
    mine = lines.filter((pl.col("line") == "text") & (pl.col("section") == "usage"))
    return {
        a: sorted(zip(rows["quantity"], rows["amount_exact"], strict=True))
        for (a,), rows in mine.group_by("account_id", maintain_order=True)
    }


def test_a_price_that_changes_in_the_month_splits_it_by_the_day(place, provider):
    """C5: and the days before keep their price, to the byte."""
    days = {DAY: range(1, 4), NEXT: range(4, 6)}
    rows = [message(n, date_sent=stamp(day=day), direction="inbound") for day, ns in days.items() for n in ns]
    provider.put("messages", rows)
    place.night(DAY, NEXT)
    before = place.heads()
    change(
        place, "rates/prices.csv", "text-in-us-1,standard,text,inbound,sms,,+1,USD,0.0050,,,,,,,2026-01-01,,2026-01-01,per segment\n",
        f"text-in-us-1,standard,text,inbound,sms,,+1,USD,0.0050,,,,,,,2026-01-01,{NEXT},2026-01-01,per segment\n"
        f"text-in-us-2,standard,text,inbound,sms,,+1,USD,0.0070,,,,,,,{NEXT},,2026-11-01,per segment\n",
    )  # fmt: skip
    place.night(DAY, NEXT)
    after = place.heads()
    assert place.billed(DAY)["acme", "text"] == (3, Decimal("0.015"))
    assert place.billed(NEXT)["acme", "text"] == (2, Decimal("0.014"))
    moved = {key for key in after if after[key] != before[key]}
    assert moved == {f"charges/date={NEXT}/source=twilio", f"daily/date={NEXT}", f"statement/month={MONTH}"}


def test_a_price_with_a_gap_bills_nothing_for_free(place, provider):
    """C4: a day without a price is not rated, and says so; it is never zero."""
    provider.put("messages", [message(1, direction="inbound")])
    change(
        place,
        "rates/prices.csv",
        "USD,0.0050,,,,,,,2026-01-01,,2026-01-01",
        f"USD,0.0050,,,,,,,2026-01-01,{DAY},2026-01-01",
    )
    report = place.jobs().run_day(DAY)
    assert [sentence for sentence in report.held if "without a price" in sentence]
    assert place.billed()["acme", "text"] == (1, Decimal(0))
    jobs = place.jobs()
    charges = jobs.lake.read(jobs.lake.head(Partition.of("charges", date=DAY, source="twilio")))
    mine = charges.filter((pl.col("account_id") == "acme") & (pl.col("kind") == "message"))
    assert mine["charge"].to_list() == [None] and mine["unrated"].null_count() == 0


def test_credits_that_cost_more_from_now_on_are_counted_again(place, provider):
    """C5: the setting is of all open days at once, and nothing else moves."""
    place.night()
    before = place.heads()
    change(place, "tollbook.toml", "settle_hours = 0", "settle_hours = 0\ncredits_per_segment = 2")
    place.night()
    after = place.heads()
    jobs = place.jobs()
    charges = jobs.lake.read(jobs.lake.head(Partition.of("charges", date=DAY, source="twilio")))
    assert (charges["credits"] == charges["segments"] * 2).all() and charges["credits"].sum() > 0
    assert {key.split("/")[0] for key in after if after[key] != before[key]} <= {"charges", "daily", "statement"}
    assert place.billed()["acme", "text"][1] > 0


def test_an_account_removed_and_added_again(place, provider):
    """C6: without its row its usage is nobody's, which is said; nobody else's bill moves; with it all is as before."""
    place.night()
    whole, bills = place.heads(), place.billed()
    (place.folder / "directory" / "accounts.csv").write_text(ACCOUNTS.replace(ACCOUNTS.splitlines()[2] + "\n", ""))
    place.night()
    without = place.billed()
    assert without["unassigned", "text"][0] == bills["bolt", "text"][0]
    assert {k: v for k, v in without.items() if k[0] == "acme"} == {k: v for k, v in bills.items() if k[0] == "acme"}
    assert not [k for k in without if k[0] == "bolt"]
    (place.folder / "directory" / "accounts.csv").write_text(ACCOUNTS)
    place.night()
    assert place.heads() == whole


def test_an_account_renamed_keeps_its_usage_under_the_new_id(place, provider):
    """C6: an id is a key: a new one is a new account, and no text is on both."""
    place.night()
    bills = place.billed()
    (place.folder / "directory" / "accounts.csv").write_text(ACCOUNTS.replace("bolt,Bolt", "volt,Volt"))
    jobs = place.night()
    assert {(("bolt" if a == "volt" else a), line): v for (a, line), v in place.billed().items()} == bills
    assert set(texts_of(jobs)) == {"acme", "volt"}
    (place.folder / "directory" / "accounts.csv").write_text(ACCOUNTS.replace("bolt,Bolt", "bolt,Another name"))
    place.night()
    assert place.billed() == bills, "another name is no other account"


def test_an_account_added_with_a_beginning_pays_nothing_before(place, provider):
    """C6."""
    rows = [message(n, date_sent=stamp(day=DAY if n < 33 else NEXT)) for n in range(31, 36)]
    provider.put("messages", rows, CHILD)
    head, acme, bolt = ACCOUNTS.splitlines()
    added = f"{head},valid_from\n{acme},\n{bolt},{NEXT}\n"
    (place.folder / "directory" / "accounts.csv").write_text(added)
    place.night(DAY, NEXT)
    both = {day: place.billed(day).get(("bolt", "text"), (0,))[0] for day in (DAY, NEXT)}
    nobody = {day: place.billed(day).get(("unassigned", "text"), (0,))[0] for day in (DAY, NEXT)}
    assert both[NEXT] == 3 and both[DAY] + nobody[DAY] == 2, "nothing is lost"


ALIKE = ("ac", "ac1", "ac10", "ac-1", "ac_1", "AC1")


def test_accounts_whose_ids_begin_alike_never_share_a_line(tmp_path, provider):
    """C7, H6: every statement, key and folder is of exactly one of them."""
    sids = {name: "AC" + f"{n:032x}" for n, name in enumerate(ALIKE, 1)}
    rows = "".join(f"{name},{name},,USD,standard,,{sid}\n" for name, sid in sids.items())
    provider.accounts = provider.accounts[:1]
    for n, sid in enumerate(sids.values(), 1):
        provider.accounts.append(dict(provider.accounts[0], sid=sid))
        provider.put("messages", [message(100 * n + i, direction="inbound") for i in range(n)], sid)
    directory = {"accounts.csv": ACCOUNTS.splitlines()[0] + "\n" + rows}
    place = Place(tmp_path / "alike", provider.url, directory=directory)
    jobs = place.night()
    found = texts_of(jobs)
    assert {name: found[name][0][0] for name in ALIKE} == {name: n for n, name in enumerate(ALIKE, 1)}
    statements: Statements = jobs.statements
    for n, name in enumerate(ALIKE, 1):
        assert statements.load(name, MONTH).history[-1].messages == n
