"""On paper: a PDF a finance team can file. A4, numbered, nothing hidden, the same bytes every time."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO

import pytest
import statements_made as made
from reportshelp import CHROMIUM, make_jobs
from typer.testing import CliRunner

from etl.periods import Month
from etl.settings import ConfigurationError
from reports import console, files, paper
from reports.cli import app
from reports.formats import Formats
from reports.jobs import Reports
from reports.model import build

LOOKED_AT = ("rich", "hostile", "open")
OCTOBER = Month(2026, 10)


def spaced(text: str) -> str:
    return re.sub(r"[\s\u00a0\u202f]+", " ", text)


@pytest.fixture(scope="module")
def printer(chromium) -> paper.Printer:
    return paper.Printer(str(CHROMIUM))


@pytest.fixture(scope="module")
def printed(printer, pages_by_name) -> dict[str, tuple[bytes, list[str]]]:
    """Name → (the PDF, the text of each of its pages)."""
    from pypdf import PdfReader

    found = {}
    for name in LOOKED_AT:
        page = pages_by_name[name]
        html = paper.document(page, [f.info() for f in files.make(page)], contact="help@tollbook.example")
        data = printer.pdf(html, datetime(2026, 11, 3, 6, 12, tzinfo=UTC))
        found[name] = data, [spaced(sheet.extract_text()) for sheet in PdfReader(BytesIO(data)).pages]
    return found


@pytest.mark.parametrize("name", LOOKED_AT)
def test_a_statement_on_a4_with_numbered_pages(printed, pages_by_name, name):
    from pypdf import PdfReader

    page, (data, sheets) = pages_by_name[name], printed[name]
    f = Formats(page.locale, page.currency)
    assert 4 <= len(sheets) <= 14
    for sheet in PdfReader(BytesIO(data)).pages:
        assert [round(float(side) * 25.4 / 72) for side in sheet.mediabox[2:]] == [210, 297]
    for number, text in enumerate(sheets, 1):
        assert f"Page {number} of {len(sheets)}" in text
        assert f"Statement {page.statement_id}" in text
        assert "October 2026" in text
    assert spaced(f.money(page.total.now)) in sheets[0]
    if name != "hostile":
        assert all(page.account_name in text for text in sheets)


@pytest.mark.parametrize("name", LOOKED_AT)
def test_every_charge_is_on_it(printed, pages_by_name, name):
    page, whole = pages_by_name[name], " ".join(printed[name][1])
    f = Formats(page.locale, page.currency)
    for row in (*page.charges, *page.taxes):
        for shown in (row, *row.parts):
            assert spaced(f.money(shown.amount)) in whole
            assert name == "hostile" or spaced(shown.label) in whole


def test_a_table_over_several_pages_repeats_its_head_and_not_its_total(printed):
    sheets = printed["rich"][1]
    head = "Category Quantity Average price Share of total Amount"
    assert sum(head in text for text in sheets) >= 2
    assert " ".join(sheets).count("Total for October 2026 $611.90") == 1


def test_what_is_folded_on_screen_is_open_on_paper(printed, pages_by_name):
    whole = " ".join(printed["rich"][1])
    f = Formats("en_US", "USD")
    for row in pages_by_name["rich"].carriers:
        assert spaced(row.label) in whole
    for row in pages_by_name["rich"].days:
        assert re.search(
            rf"{row.day:%a}, {spaced(f'{row.day:%b} {row.day.day}')} .{{0,80}}{re.escape(f.money(row.amount))}", whole
        )


def test_nothing_to_click_is_on_it(printed):
    for data, sheets in printed.values():
        whole = " ".join(sheets)
        assert b"file://" not in data and b"/JavaScript" not in data
        for said in ("Export", "Skip to the statement", "All statements", "On this page"):
            assert said not in whole


def test_the_same_statement_is_the_same_pdf_and_is_dated_when_it_was_closed(printer, printed, pages_by_name):
    from pypdf import PdfReader

    page = pages_by_name["open"]
    html = paper.document(page, [f.info() for f in files.make(page)], contact="help@tollbook.example")
    again = printer.pdf(html, datetime(2026, 11, 3, 6, 12, tzinfo=UTC))
    assert again == printed["open"][0]
    said = PdfReader(BytesIO(again)).metadata
    assert said.creation_date == said.modification_date == datetime(2026, 11, 3, 6, 12, tzinfo=UTC)
    assert said.title == "Harbor & Finch Realty, October 2026"


def test_links_lead_to_the_web_or_nowhere(pages_by_name):
    page = pages_by_name["usual"]
    infos = [f.info() for f in files.make(page)]
    web = paper.document(page, infos, base_url="https://statements.example.com").decode()
    assert 'href="https://statements.example.com/acct_7Q2M/2026-10/charges.csv"' in web
    none = paper.document(page, infos).decode()
    assert not re.search(r'href="(?!#)', none)


# ------------------------------------------------------------------------------------------------ the verb


@pytest.fixture
def reports(tmp_path, statements, chromium, monkeypatch) -> Reports:
    monkeypatch.setattr(paper, "BROWSERS", (str(CHROMIUM),))
    return Reports(make_jobs(tmp_path, [statements["usual"], statements["no_usage"]]))


def test_each_account_gets_a_pdf_under_a_name_that_says_what_it_is(reports, tmp_path, monkeypatch):
    monkeypatch.setattr(paper.Printer, "pdf", lambda self, html, on: b"%PDF-" + html)
    done = list(reports.pdf(OCTOBER, tmp_path / "out"))
    assert [(one.error, one.done, one.unchanged) for one in done] == [(None, 1, 0)] * 2
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["acct_7Q2M_2026-10_rev-1.pdf", "acct_quiet_2026-10_rev-1.pdf"]
    again = list(reports.pdf(OCTOBER, tmp_path / "out", ["acct_7Q2M"]))
    assert [(one.done, one.unchanged) for one in again] == [(0, 1)]


@pytest.mark.parametrize("name", ["open", "provisional"])
def test_an_estimate_is_never_filed_as_a_statement(pages_by_name, name):
    said = {"open": "estimated", "provisional": "provisional"}[name]
    assert paper.name(pages_by_name[name]) == f"acct_7Q2M_2026-10_{said}.pdf"


def test_two_at_once_do_not_meet(printer, pages_by_name, tmp_path):
    from pypdf import PdfReader

    page = pages_by_name["no_usage"]
    html, made_ = paper.document(page, ()), []
    threads = [
        threading.Thread(target=lambda: made_.append(paper.print_page(printer, page, html, tmp_path))) for _ in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made_) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["acct_quiet_2026-10_rev-1.pdf"]
    assert len(PdfReader(tmp_path / "acct_quiet_2026-10_rev-1.pdf").pages) >= 1


def test_without_a_browser_it_says_what_to_install(reports, tmp_path, monkeypatch):
    monkeypatch.setattr(paper, "BROWSERS", ("no-such-browser",))
    with pytest.raises(ConfigurationError, match="apt-get install chromium"):
        list(reports.pdf(OCTOBER, tmp_path / "out"))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo no display >&2; exit 7", "stopped with 7: no display"),
        ("true", "made no PDF"),
        ("sleep 60", "after 1 seconds"),
    ],
    ids=["fails", "prints nothing", "hangs"],
)
def test_a_browser_that_gives_nothing_fails_one_account_and_leaves_nothing(
    tmp_path, statements, monkeypatch, script, said
):
    program = tmp_path / "browser"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(paper, "BROWSERS", (str(program),))
    monkeypatch.setattr(paper, "SECONDS", 1)
    reports = Reports(make_jobs(tmp_path, [replace(statements["no_usage"])]))
    (one,) = reports.pdf(OCTOBER, tmp_path / "out")
    assert said in one.error
    assert not list((tmp_path / "out").glob("*")) if (tmp_path / "out").exists() else True


def test_a_statement_of_an_open_month_is_dated_by_its_last_day():
    page = build(made.open_month())
    assert paper.dated(page) == datetime(2026, 10, 18, tzinfo=UTC)


@pytest.fixture
def command(tmp_path, statements, monkeypatch):
    jobs = make_jobs(tmp_path, [statements["usual"], statements["no_usage"]])
    monkeypatch.setattr(console, "_jobs", lambda config: jobs)
    return lambda *arguments: CliRunner().invoke(app, ["pdf", "--month", "2026-10", *arguments])


def test_the_command_says_where_the_file_is(command, chromium, tmp_path):
    said = command("--out", str(tmp_path / "filed"), "--account", "acct_quiet")
    path = tmp_path / "filed/acct_quiet_2026-10_rev-1.pdf"
    assert said.exit_code == 0, said.output
    assert f"acct_quiet: 2026-10 final: 1 printed, 0 unchanged: {path}" in said.output
    assert path.read_bytes().startswith(b"%PDF-")
    assert "Chromium or Chrome" in command("--help").output


def test_the_command_without_a_browser_is_wrong_use(command, monkeypatch, tmp_path):
    monkeypatch.setattr(paper, "BROWSERS", ("no-such-browser",))
    said = command("--out", str(tmp_path))
    assert said.exit_code == 2 and "apt-get install chromium" in said.output
