"""``python -m reports verify``: what was published is found again from its files, and one changed digit is not."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import statements_made as made
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl.lake import open_store
from reports import console
from reports.publish import Publisher
from reports.verify import printed
from reports.verify.book import Book
from reports.verify.folders import verify
from reports.verify.markup import Marks
from reports.verify.package import read

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def rich(tmp_path_factory, statements) -> Path:
    """The published account of a statement that has everything."""
    root = tmp_path_factory.mktemp("verify")
    Publisher(open_store(root)).publish(statements["rich"])
    return root / "acct_rich"


@pytest.fixture
def month(rich, tmp_path) -> Path:
    """A copy of its month, to be changed."""
    return Path(shutil.copytree(rich / "2026-10" / "rev-1", tmp_path / "rev-1"))


def found(folder: Path) -> list[str]:
    return [line for book in verify(folder) for check in book.checks.values() for line in check.lines()]


def differing(folder: Path) -> str:
    return "\n".join(line for line in found(folder) if line.startswith("differs"))


def change(path: Path, old: str, new: str, after: str = "") -> None:
    """Replace the first ``old`` after a text."""
    text = path.read_bytes().decode()
    at = text.index(old, text.index(after))
    path.write_bytes((text[:at] + new + text[at + len(old) :]).encode())


def repair(folder: Path, name: str) -> None:
    """Give a changed file its new size and hash in the dictionary, in statement.json and on the page."""
    data = (folder / name).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    package = json.loads((folder / "datapackage.json").read_text())
    before = (folder / "datapackage.json").read_bytes()
    for resource in package["resources"]:
        if resource["path"] == name:
            old = resource["hash"].removeprefix("sha256:")
            resource |= {"bytes": len(data), "hash": f"sha256:{digest}"}
    (folder / "datapackage.json").write_text(json.dumps(package))
    said = json.loads((folder / "statement.json").read_text())
    said["files"] |= {name: digest}
    dictionary = hashlib.sha256((folder / "datapackage.json").read_bytes()).hexdigest()
    said["files"]["datapackage.json"] = dictionary
    (folder / "statement.json").write_text(json.dumps(said))
    page = (folder / "index.html").read_text()
    for was, now in ((old, digest), (hashlib.sha256(before).hexdigest(), dictionary)):
        page = page.replace(was, now).replace(was[:14], now[:14])
    (folder / "index.html").write_text(page)


# ------------------------------------------------------------------------------------------------ all is found


def test_every_published_statement_is_found_again(each, tmp_path):
    Publisher(open_store(tmp_path)).publish(each)
    books = list(verify(tmp_path))
    assert len(books) == (3 if each.state == "final" else 2)
    assert [
        line for book in books for check in book.checks.values() for line in check.lines() if "differs" in line[:7]
    ] == []
    assert all(check.compared for book in books for check in book.checks.values() if not check.why)


@pytest.mark.parametrize(
    ("locale", "currency"), [("fr_FR", "EUR"), ("de_CH", "CHF"), ("en_IN", "INR"), ("ar_KW", "KWD"), ("hu_HU", "HUF")]
)
def test_every_way_to_write_numbers_is_read(tmp_path, locale, currency):
    Publisher(open_store(tmp_path)).publish(made.statement(who=made.account(locale=locale, currency=currency)))
    assert differing(tmp_path / "acct_7Q2M" / "2026-10" / "rev-1") == ""


def test_an_account_of_two_months_is_found_again(tmp_path):
    publisher = Publisher(open_store(tmp_path))
    for month in (made.OCTOBER - 1, made.OCTOBER):
        publisher.publish(made.statement(month=month))
    assert differing(tmp_path) == ""
    change(tmp_path / "acct_7Q2M" / "index.html", '["member","amara"', '["member","amaru"')
    assert "page: explorer: member amaru" in differing(tmp_path)


def test_the_page_alone_has_hundreds_of_numbers(rich):
    [book] = verify(rich / "2026-10" / "rev-1")
    of = {what: check.compared for what, check in book.checks.items()}
    tables = sum(count for what, count in of.items() if what.startswith("page: ") and "explorer" not in what)
    assert tables > 700
    assert {"page: charges", "page: carrier fees", "page: credits", "page: bought credits", "page: months", "page: days",
            "page: people", "page: campaigns", "page: reconciliation", "page: files", "page: figures"} <= of.keys()  # fmt: skip


def test_what_is_not_compared_is_listed_with_its_reason(rich):
    [book] = verify(rich / "2026-10" / "rev-1")
    left = {what: check for what, check in book.checks.items() if check.result == "not checked"}
    assert left["page: charges, delta"].left_out > 10 and "the month before" in left["page: charges, delta"].why
    assert left["page: findings, text"].left_out > 5
    cells = {what for what in left if what.endswith(", cell")}
    assert cells == {"page: reconciliation, cell"} and left["page: reconciliation, cell"].left_out == 3


# ------------------------------------------------------------------------------------------------ the page

DIGITS = re.compile(r'<td(?: class="(?!delta)[^"]*")?>(?:(?!</td>).)*?\d(?:(?!</td>).)*</td>', re.DOTALL)


def positions(page: str) -> list[int]:
    """Where a digit stands in a cell of a table, changes and what the reconciliation compares by day left out."""
    end = page.index('<section id="reconciliation"')
    cells = [m for m in DIGITS.finditer(page) if m.start() < end and not re.search("delta|export", m[0].split(">")[0])]
    visible = re.compile(r"\d(?![^<]*>)")
    return [m.start() + d.start() for m in cells for d in visible.finditer(m[0]) if "<svg" not in m[0]]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_digit_of_a_table_changes_unseen(month, data):
    page = (month / "index.html").read_text()
    at = data.draw(st.sampled_from(positions(page)))
    tables, said = (
        read(month, Book(""), ("index.html", "statement.json")),
        json.loads((month / "statement.json").read_text()),
    )
    try:
        (month / "index.html").write_text(page[:at] + str((int(page[at]) + 1) % 10) + page[at + 1 :])
        book = Book("")
        printed.check(month, tables, said, book)
    finally:
        (month / "index.html").write_text(page)
    assert book.differences, page[at - 120 : at + 40]


@pytest.mark.parametrize(
    ("after", "old", "new", "told"),
    [
        ('<nav class="pick"', "$611.90", "$611.91", "menu: October 2026: printed 611.91, recomputed 611.90"),
        ('<p class="lead"', "$611.90", "$611.80", "figures: the total in the first sentence: printed 611.80"),
        ('<dl class="figures"', "14,955", "14,956", "figures: Segments: printed 14956, recomputed 14955"),
        ('<dl class="figures"', "24.6%", "24.7%", "figures: Segments, beside the month before: printed 24.7"),
        ('<dl class="figures"', "9,032", "9,031", "figures: Credits left, beside the month before: printed 9031"),
        ('<section id="charges"', "<td>$56.64", "<td>$56.65", "charges: Calls / Outbound, column 5"),
        ('<section id="charges"', "2,360\xa0min", "2,361\xa0min", "charges: Outbound, for narrow screens: printed 2361"),
        ('<section id="charges"', ", on $323.37", ", on $323.38", "charges: Federal taxes / Regulatory Recovery Fee"),
        ('<section id="charges"', "<b>$249.00", "<b>$248.00", "charges: products, paid apart: printed 248.00"),
        ("Carrier fees by carrier", "<td>$3.24", "<td>$3.25", "carrier fees: Verizon / SMS sent, unregistered"),
        ('<section id="credits"', "+10,000", "−10,000", "credits: Granted by the plan, column 2: printed -10000"),
        ('<section id="credits"', "26,730", "26,731", "credits: needed: printed 26731, recomputed 26730"),
        ("Bought credits", "3,120", "3,121", "bought credits: Oct 28, 2026, column 4: printed 3121"),
        ('<section id="months"', "9,685 messages", "9,686 messages", "months: September 2026, for narrow screens"),
        ('<section id="months"', "$636.59", "$636.58", "months: September 2026, column 7: printed 636.58"),
        ('<section id="days"', "<td>410", "<td>411", "days: Oct 1, column 3: printed 411, recomputed 410"),
        ("From the days", "$0.03", "$0.02", "from days to the month: Rounding, column 2: printed 0.02"),
        ('<section id="days"', "11,656 messages", "11,655 messages", "days: messages and calls: printed 11655"),
        ('<section id="people"', "$25.47", "$25.48", "people: Amara Okafor, column 7: printed 25.48, recomputed 25.47"),
        ('<section id="people"', "892 sent", "893 sent", "people: Amara Okafor, for narrow screens: printed 893"),
        ('<section id="campaigns"', "<td>$", "<td>$1", "campaigns: "),
        ('<section id="reconciliation"', "<td class=\"wide\">$476.462439333", "<td class=\"wide\">$476.462439334",
         "reconciliation: Days + charges by the month = charge lines, column 2"),
        ("Our records against", "<td class=\"wide\">", "<td class=\"wide\">1", "reconciliation: Texts sent, column 2"),
        ('<section id="files"', "<td>31", "<td>32", "files: usage_daily.csv rows: printed 32, recomputed 31"),
        ('<section id="files"', "2.0", "2.1", "files: usage_daily.csv size"),
        ('<section id="files"', '<code title="', '<code title="0', "files: usage_daily.csv SHA-256: printed 0"),
    ],
)  # fmt: skip
def test_a_digit_of_the_page_is_named(month, after, old, new, told):
    change(month / "index.html", old, new, after)
    assert told in differing(month)


def test_a_row_that_is_missing_is_seen(month):
    page = (month / "index.html").read_text()
    at = page.index("<tr", page.index("<tbody>", page.index("<caption>Members</caption>")))
    (month / "index.html").write_text(page[:at] + page[page.index("<tr", at + 3) :])
    assert "people: Members: all in rows" in differing(month)


def test_the_explorer_says_what_the_files_say(month):
    page = (month / "index.html").read_text()
    series = re.search(r'\["member","amara","[^"]*",1,"(.)', page)
    (month / "index.html").write_text(page[: series.start(1)] + "C" + page[series.end(1) :])
    assert "page: explorer: " in differing(month)


def test_a_page_that_cannot_be_read_differs(month):
    (month / "index.html").write_bytes(b"\xff<main>")
    assert "index.html: unreadable: printed UnicodeDecodeError" in differing(month)


# ------------------------------------------------------------------------------------------------ the files


def test_a_changed_cell_is_seen_by_its_hash(month):
    change(month / "charges.csv", ",56.64,", ",56.65,")
    told = differing(month)
    assert "SHA-256 of the files: charges.csv" in told and "hash of charges.csv" in told


def test_a_changed_cell_with_a_repaired_hash_is_seen_by_its_sums(month):
    change(month / "charges.csv", ",56.64,", ",56.65,")
    repair(month, "charges.csv")
    told = differing(month)
    assert "SHA-256" not in told and "hash of" not in told
    assert "charges.csv adds up: amounts and the total in statement.json: printed 611.90, recomputed 611.91" in told
    assert "amounts are rounded once: charges.csv position 4: printed 56.65, recomputed 56.64" in told
    assert "charges: Calls / Outbound, column 5: printed 56.64, recomputed 56.65" in told
    assert "FOCUS invoices are the totals: focus.csv.gz 2026-10-acct_rich" in told


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("usage_daily.csv", ",410,", ",411,", "days are the sums of their owners: usage_daily.csv 2026-10-01 outbound_seg"),
        ("usage_by_owner.csv", ",17,17,", ",18,17,", "days are the sums of their owners: usage_daily.csv 2026-10-01"),
        ("history_daily.csv", ",341,341,", ",342,341,", "months are the sums of their days: history_monthly.csv 2026-05"),
        ("history_monthly.csv", ",611.90,", ",611.91,", "months are the sums of their days: total of 2026-10"),
        ("monthly_charges.csv", ",3.450000000,", ",3.460000000,", "each line is its days and its month: number"),
        ("products.csv", ",149.00,", ",148.00,", "products.csv adds up"),
        ("credits.csv", ",10000,false,10000", ",10000,false,10001", "credits.csv position 7, balance_allotment"),
        ("reconciliation.csv", ",19,19,", ",19,18,", "reconciliation: Inbound calls, column 3"),
        ("charges.csv", ",1,final,", ",1,closed,", "cells are of their type: charges.csv line 2, state: printed 'closed'"),
        ("charges.csv", ",2,0\r\n", ",,0\r\n", "cells are of their type: charges.csv line 2, events: printed ''"),
        ("usage_daily.csv", "2026-10-02", "2026-10-01", "rows have keys of their own: usage_daily.csv line 3"),
        ("usage_daily.csv", "calls", "rings", "columns of the files: usage_daily.csv"),
    ],
)  # fmt: skip
def test_files_are_held_against_each_other(month, name, old, new, told):
    change(month / name, old, new)
    repair(month, name)
    assert told in differing(month)


def test_a_missing_and_a_stray_file_are_seen(month):
    (month / "credits.csv").unlink()
    (month / "notes.txt").write_text("x")
    told = differing(month)
    assert "files listed are there: credits.csv: printed missing" in told and "no other files: notes.txt" in told


@pytest.mark.parametrize("name", ["datapackage.json", "statement.json", "index.html"])
def test_no_folder_is_well_without_what_describes_it(month, name):
    (month / name).unlink()
    assert f"{name}: unreadable" in differing(month)


def test_all_time_files_are_the_months(rich, tmp_path):
    account = Path(shutil.copytree(rich, tmp_path / "account"))
    change(account / "all_monthly.csv", ",611.90,", ",611.91,")
    change(account / "all_daily.csv", ",410,", ",411,")
    told = differing(account)
    assert "all_monthly.csv is the months' sums: 2026-10 total: printed 611.91, recomputed 611.90" in told
    assert "all_daily.csv has the months' rows: 2026-10-01" in told


# ------------------------------------------------------------------------------------------------ numbers, verb, arrows


@pytest.mark.parametrize(
    ("group", "decimal", "text", "numbers"),
    [
        (",", ".", "−$1,234.50", ["-1234.50"]),
        (".", ",", "1.234,50\xa0€", ["1234.50"]),
        ("\u202f", ",", "1\u202f234,5\xa0min", ["1234.5"]),
        (",", ".", "\u2066−1,000.00\xa0ج.م.\u200f\u2069", ["-1000.00"]),
        (",", ".", "12,34,567", ["1234567"]),
        (",", ".", "14 numbers × $1.1500", ["14", "1.1500"]),
        (",", ".", "1,23", [None]),
        (",", ".", "1234,567", [None]),
    ],
)
def test_numbers_are_read_as_the_page_writes_them(group, decimal, text, numbers):
    assert [n if n is None else str(n) for n in Marks(group, decimal).numbers(text)] == numbers


def test_the_verb_says_each_check_and_its_exit_code(month, capsys):
    assert console.verify(month, False) == 0
    assert "1 folders" in capsys.readouterr().out
    change(month / "index.html", "14,955", "14,956", '<dl class="figures"')
    assert console.verify(month, True) == 3
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    [wrong] = [line for line in lines[:-1] if line["result"] == "differs"]
    assert wrong["differences"] == [{"where": "Segments", "printed": "14956", "recomputed": "14955"}]
    assert lines[-1]["differences"] == 1 and lines[-1]["folders"] == 1
    assert console.verify(month / "nowhere", False) == 2


def test_it_shares_nothing_with_what_drew_the_page():
    """A mistake in a module that both sides use could hide itself."""
    code = "import sys, reports.verify.folders; print(*sorted(n for n in sys.modules if n.startswith(('reports.', 'etl.'))))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    others = {name for name in done.stdout.split() if not name.startswith("reports.verify")}
    assert others == {"reports.naming", "etl.money"}


def test_how_a_tax_was_rounded_line_by_line_is_not_checked_and_says_so(month):
    told = [line for line in found(month) if "taxes are rounded once" in line]
    assert len(told) == 1 and told[0].startswith("not checked") and "on each line it taxes" in told[0]
