"""H1–H6: names, ids and texts written by somebody who means harm. They stay text: nothing runs, nothing leaves its place."""

from __future__ import annotations

import re
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl
import pytest
from faultynights import ACCOUNTS, DAY, DIRECTORY, Place, account, message, on, provider_running

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "reports"))

import httpx
import statements_made as made
from pagesmade import publish_all

from etl import directory
from etl.lake import Partition
from etl.settings import ConfigurationError, ReportSettings, Settings
from etl.sources import SourceError
from reports.links import Links, account_folder
from reports.tabular import DANGEROUS, neutralise, restore

IDS = (
    "..", "../etc", "a/b", "a\\b", "%2e%2e", "a%2fb", "a\x00b", "a\r\nb", "a\n", " a", "a b", "-a", "_operator", "", "a" * 65,
    "\u0430cme", "acme\u200b", "a:b", "acme.", "con|nul", "=1+1", "<b>", "acme?x", "acme#x",
)  # fmt: skip
"""What is no id; ``_operator`` is a folder of our own."""


@pytest.fixture(scope="module")
def provider():
    with provider_running() as running:
        yield running.reset()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Every kind of page and mail for the account with hostile names."""
    return publish_all(tmp_path_factory.mktemp("hostile"), {"hostile": made.ALL["hostile"]()})


# --------------------------------------------------------------------------------------------- H1, H2: names


class _Links(HTMLParser):
    """Every address a document names, every element and every attribute that runs something."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses, self.running = [], []

    def handle_starttag(self, tag: str, attributes: list) -> None:
        for name, value in attributes:
            if name in ("href", "src", "action", "formaction", "data", "poster", "srcset", "xlink:href", "background"):
                self.addresses.append(value)
            if name.startswith("on") or name == "style" and "url(" in value:
                self.running.append((tag, name))


@pytest.mark.parametrize("name", ["hostile", "hostile account", "hostile products", "mail hostile", "operator hostile"])
def test_no_address_runs_a_script_and_no_attribute_does(pages, name):
    """H2: autoescape lets ``javascript:`` through, so no name ever is an address."""
    found = _Links()
    found.feed(pages[name].read_text(encoding="utf-8"))
    assert found.addresses and found.running == []
    schemes = {urlsplit(address.strip().lower()).scheme for address in found.addresses if address}
    assert schemes <= {"", "https", "mailto"}, schemes


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "JAVASCRIPT:x", "//attacker.example", "ftp://x", "vbscript:x"]
)
def test_an_address_of_the_settings_is_on_the_web_or_none(url):
    """H2: what links are made of."""
    with pytest.raises(ValueError, match="base_url"):
        ReportSettings(store={"url": "x"}, links="base_url", base_url=url)


PAYLOADS = ("=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠A1", "'=1",
            '=HYPERLINK("http://x","y")', "=IMPORTXML(A1)")  # fmt: skip


@pytest.mark.parametrize("text", PAYLOADS)
def test_a_formula_is_a_text_and_comes_back_whole(text):
    """H1."""
    assert neutralise(text).startswith("'") and neutralise(text)[0] not in DANGEROUS[:-1]
    assert restore(neutralise(text)) == text


# --------------------------------------------------------------------------------------------- H3: ids


@pytest.mark.parametrize("text", IDS, ids=ascii)
def test_an_id_that_could_leave_its_place_is_refused_everywhere(text, tmp_path):
    """H3: as an account, as a folder, as a source, in the lake; never escaped, never shortened."""
    (tmp_path / "directory").mkdir()
    quoted = '"' + text.replace('"', '""') + '"'
    for name, content in (
        DIRECTORY | {"accounts.csv": ACCOUNTS.splitlines()[0] + f"\n{quoted},X,,USD,standard,,\n"}
    ).items():
        (tmp_path / "directory" / name).write_text(content, encoding="utf-8", newline="")
    with pytest.raises(ConfigurationError, match="(accounts.csv line 2: account_id|not readable as CSV)"):
        directory.load(tmp_path / "directory")
    with pytest.raises(ValueError, match="cannot name a folder"):
        account_folder(text)
    with pytest.raises(ValueError, match="cannot name a folder"):
        Links(text, "x").file("index.html", made.OCTOBER)
    whole = {
        "lake": {"url": "x"},
        "reports": {"store": {"url": "y"}},
        "directory": "d",
        "rates": "r",
        "start": "2026-03-01",
    }
    with pytest.raises(ValueError, match="sources"):
        Settings(**whole, sources={text: {"kind": "twilio"}})
    if text not in ("_operator", "-a", "acme."):  # in the lake these are harmless
        with pytest.raises(ValueError):
            Partition.of("events", date=DAY, source=text)


def test_hostile_record_ids_become_no_key(tmp_path, provider):
    """H3: in quarantine under a name of ours; nothing beside the lake's own kinds of keys."""
    provider.reset()
    odd = [text for text in IDS if text not in ("-a", "_operator")]
    provider.put("messages", [message(1), *(message(sid=text) for text in odd)])
    place = Place(tmp_path / "place", provider.url)
    jobs = place.night()
    outcomes = place.conserved()
    assert outcomes["quarantined"] == len(odd)
    held = place.events().filter(pl.col("outcome") == "quarantined")
    assert held["record_id"].str.contains(r"^[0-9a-f]{16}:[0-9]+$").all()
    assert all(re.fullmatch(r"[A-Za-z0-9_=./-]+", key) and ".." not in key for key in place.files())
    assert {p.relative_to(tmp_path).parts[0] for p in tmp_path.rglob("*")} == {"place"}
    assert place.billed()["acme", "text"][0] == 1 and jobs.lake is not None


@pytest.mark.parametrize("sid", [text for text in IDS if text not in ("",)], ids=ascii)
def test_a_hostile_account_of_the_provider_is_asked_for_nothing(sid, provider, tmp_path):
    """H3: its id would be a part of every address asked for with the password."""
    provider.reset()
    provider.accounts = [account(), account(sid)]
    place = Place(tmp_path / "place", provider.url)
    with pytest.raises(SourceError, match="the list of accounts: .*SID is missing or not letters"):
        place.jobs().pull(DAY, "twilio")
    assert {r.url.path for r in provider.requests} == {"/2010-04-01/Accounts.json"} and place.files() == {}


# --------------------------------------------------------------------------------------------- H4, H5: texts


ODD_NAMES = (
    "Acme\r\nBcc: x@attacker.example",
    "Acme\n\n<script>",
    "\x1b[31mAcme",
    "Ac\u202eme",
    "\u200bAcme\u200d",
    "Acme\x00",
)


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_a_name_of_several_lines_stays_on_one(name, tmp_path):
    """H4, H5: in the page, the CSV and the mail's header; and hidden characters are in none of them."""
    from test_report_mail import message as mail

    from reports.model import build
    from reports.tabular import Column, from_rows

    page = build(made.statement(who=made.account(name=name)))
    data = mail(page).as_bytes()
    head = data.partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ")
    fields = [line.split(b":")[0].lower() for line in head.split(b"\r\n")]
    assert b"bcc" not in fields and len(set(fields)) == len(fields)
    assert not re.search(
        r"[\x00-\x08\x0b-\x1f\u200b\u202a-\u202e]" if "\u200b" not in name else r"[\x00-\x08\x0b-\x1f]",
        page.account_name,
    )
    assert "\n" not in page.account_name and "\r" not in page.account_name
    rows = from_rows("x.csv", "x", (Column("name", "string", "x"),), (), [[page.account_name]]).data
    assert rows.count(b"\r\n") == 2


def test_a_text_of_ten_megabytes_is_a_record_like_any_other(tmp_path, provider):
    """H5: it is counted by what the provider says, and holds up nobody."""
    provider.reset()
    provider.put(
        "messages", [message(1, body="é\u200b\u202e" * 2_000_000 + "x" * 5_000_000, num_segments="2"), message(2)]
    )
    place = Place(tmp_path / "place", provider.url)
    began = time.monotonic()
    place.night()
    assert time.monotonic() - began < 30
    assert place.conserved()["quarantined"] == 0
    assert place.billed()["acme", "text"][0] == 3


def test_a_text_of_ten_megabytes_without_a_count_is_billed_to_nobody(tmp_path, provider):
    """H5: no message has more than 255 parts, whoever counts them."""
    provider.reset()
    provider.put("messages", [message(1, body="x" * 10_000_000, num_segments=None), message(2)])
    place = Place(tmp_path / "place", provider.url)
    place.night()
    row = place.events().filter(pl.col("record_id") == message(1)["sid"]).row(0, named=True)
    assert row["outcome"] == "quarantined" and row["reason"] == "bad_count"
    assert place.billed()["acme", "text"][0] == 1


# --------------------------------------------------------------------------------------------- H6: ids that begin alike


def test_accounts_of_the_provider_whose_ids_begin_alike_never_meet(tmp_path, provider):
    """H6: AC1 and AC10: neither's page leads into the other's list, neither's records are the other's."""
    provider.reset()
    alike = {"one": "AC1", "ten": "AC10", "hundred": "AC100"}
    provider.accounts = [account(), *(account(sid) for sid in alike.values())]
    for n, sid in enumerate(alike.values(), 1):
        provider.put("messages", [message(100 * n + i, direction="inbound") for i in range(n)], sid)
    rows = "".join(f"{name},{name},,USD,standard,,{sid}\n" for name, sid in alike.items())
    place = Place(tmp_path / "place", provider.url, directory={"accounts.csv": ACCOUNTS.splitlines()[0] + "\n" + rows})
    place.night()
    billed = place.billed()
    assert {name: billed[name, "text"][0] for name in alike} == {"one": 1, "ten": 2, "hundred": 3}
    before = place.files()
    for mine, other in (("AC1", "AC10"), ("AC10", "AC1"), ("AC1", "AC1/../AC10")):
        page = {
            "messages": [message(1)],
            "page": 0,
            "next_page_uri": f"/2010-04-01/Accounts/{other}/Messages.json?Page=1",
        }
        provider.faults = [on(f"/{mine}/Messages.json", httpx.Response(200, json=page))]
        with pytest.raises(SourceError, match=f"messages of {mine} for {DAY}, page 0: its next page leaves .*/{mine}/"):
            place.night()
    assert place.files() == before
