"""Every amount of a final page leads to its explanation, which says what the command says and nothing a customer may not see."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import explanations_made
import pytest
import statements_made as made
from playwright.sync_api import expect
from typer.testing import CliRunner

from etl.explain import Check, opening, told, verdicts
from etl.lake import open_store
from etl.settings import MailSettings
from reports import explained, pages, workers
from reports.explained import EXPLAINED, Anchors, page_of
from reports.jobs import Reports
from reports.links import Links, revision_folder
from reports.mail import compose
from reports.model import build
from reports.publish import Publisher

sys.path.append(str(Path(__file__).resolve().parents[1] / "statement"))

BODY_CANARY, COST_CANARY = "canary-of-a-body", "0.987654321"


def anchors_in(html: str) -> set[str]:
    return set(re.findall(r'(?<![-\w])id="([^"]+)"', html))


def leads(html: str) -> list[tuple[str, str, str]]:
    """(where to, name, amount) of the amounts that are links."""
    return re.findall(r'<a class="why" href="([^"]+)" aria-label="([^"]+)">([^<]+)</a>', html)


def drawn(name: str, statements) -> str:
    statement = statements[name]
    page = build(statement)
    links = Links(page.account_id, revision_folder(page.account_id, page.month, page.revision))
    return page_of(page, explanations_made.of(statement), links).decode()


# ------------------------------------------------------------------------------------------------ a real month


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """(jobs, published folder): a month of the golden world with a body and a provider's cost nobody may read."""
    from golden_world import FEBRUARY, JANUARY, at, build, opened, sms
    from statement_made import load_day

    file = build(tmp_path_factory.mktemp("explained"), every_day=True)
    jobs = opened(file)
    more = {"record_id": "canary-1", "body": BODY_CANARY, "provider_cost": Decimal(COST_CANARY)}
    load_day(jobs, date(2028, 2, 20), [sms("switch", at(2, 20), 3, **more)])
    for month in (JANUARY, FEBRUARY):
        jobs.state(month)
    jobs = opened(file)
    assert all(r.closed for month in (JANUARY, FEBRUARY) for r in jobs.close(month, on=date(2028, 4, 9)))
    jobs = opened(file)
    out = tmp_path_factory.mktemp("published")
    outcomes = list(Reports(jobs).render(FEBRUARY, out))
    assert [(o.account_id, o.error, o.held) for o in outcomes if o.error or o.held] == []
    return file, jobs, out, FEBRUARY


def test_every_line_has_its_anchor_and_every_amount_leads_to_one(closed):
    _, jobs, out, month = closed
    met = 0
    for account in jobs.directory.of_month(month):
        folder = out / account.account_id / str(month)
        text = (folder / "rev-1" / EXPLAINED).read_text()
        ids = anchors_in(text)
        rows = jobs.statements.load(account.account_id, month).lines
        assert {f"line-{position}" for position in rows["position"]} <= ids
        assert len(re.findall(r'(?<![-\w])id="', text)) == len(ids), "an anchor stands there twice"
        for index, to in ((folder / "index.html", f"rev-1/{EXPLAINED}"), (folder / "rev-1" / "index.html", EXPLAINED)):
            found = leads(index.read_text())
            assert len(found) >= rows.filter(rows["section"] != "product").height - 1
            for href, name, amount in found:
                where, _, anchor = href.partition("#")
                assert (where, anchor in ids) == (to, True), href
                assert name.startswith("explain ")
                assert name.endswith(amount)
                met += 1
    assert met > 100


def test_several_processes_make_the_same_of_a_real_closed_month(closed, tmp_path, monkeypatch):
    from golden_world import opened

    file, _, out, month = closed
    monkeypatch.setattr(workers, "WORTH", 2)

    def tree(folder: Path) -> dict[str, bytes]:
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    outcomes = list(Reports(opened(file), 2).render(month, tmp_path))
    assert [o.error for o in outcomes if o.error] == []
    assert tree(tmp_path) == tree(out)


def test_what_a_link_leads_to_is_the_amount_it_is_on(closed):
    _, jobs, out, month = closed
    for account in jobs.directory.of_month(month):
        folder = out / account.account_id / str(month) / "rev-1"
        text = (folder / EXPLAINED).read_text()
        for href, _, amount in leads((folder / "index.html").read_text()):
            anchor = href.partition("#")[2]
            here = re.search(rf'id="{anchor}"(.*?)(</h3>|</tr>)', text, flags=re.DOTALL)[1]
            assert amount in here, (account.account_id, anchor)


def test_it_says_what_the_command_says(closed):
    from etl.cli import app

    file, jobs, out, month = closed
    for account_id, line in (("switch", "text"), ("thirty", "call"), ("ladder", "tier_adjustment")):
        text = (out / account_id / str(month) / "rev-1" / EXPLAINED).read_text()
        found = next(e for e in jobs.explanations()(account_id, month) if e.line["line"] == line)
        asked = ["explain", "--config", str(file), "--account", account_id, "--month", str(month), "--line"]
        printed = CliRunner().invoke(app, [*asked, str(found.line["position"])], env={"COLUMNS": "200"}).output
        plain = text.replace("&#39;", "'")
        for sentence in [*opening(found), *(sentence for _, sentence in verdicts(found)), *found.notes]:
            assert sentence in printed
            assert sentence in plain
        for table in told(found):
            shown = table.rows[:5] if table.name != "pages" else ()
            for cell in (cell for row in shown for cell in row):
                assert cell in printed
                assert cell[:19] in plain or cell in found.partitions[0].values() or table.name == "partitions"


def test_nothing_is_told_that_is_not_for_customers(closed):
    file, jobs, out, month = closed
    numbers = re.findall(r"^(\+\d+)", (file.parent / "directory" / "numbers.csv").read_text(), flags=re.MULTILINE)
    assert len(numbers) > 5
    secrets = [*numbers, "+14155550150", BODY_CANARY, COST_CANARY, str(file.parent), "provider_cost"]
    assert "canary-1" in (out / "switch" / str(month) / "rev-1" / EXPLAINED).read_text(), "the record itself is named"
    for account in jobs.directory.of_month(month):
        text = (out / account.account_id / str(month) / "rev-1" / EXPLAINED).read_text()
        assert [secret for secret in secrets if secret in text] == []
        others = {a.name for a in jobs.directory.accounts if a.account_id != account.account_id} - {account.name}
        assert not [name for name in others if f">{name}<" in text]


def test_published_again_nothing_is_explained_again(closed, monkeypatch):
    _, jobs, out, month = closed
    monkeypatch.setattr("etl.explain.gather_account", lambda *_: pytest.fail("explained again"))
    again = list(Reports(jobs).render(month, out))
    assert {(o.done, o.error) for o in again} == {(0, None)}


# ------------------------------------------------------------------------------------------------ where there is none


def test_an_open_month_and_one_without_explanations_have_no_dead_link(tmp_path, statements):
    publisher = Publisher(open_store(tmp_path))
    asked = []
    for name, given in (("open", lambda: asked.append(1) or ()), ("german", None), ("usual", lambda: ())):
        publisher.publish(statements[name], given)
    assert not asked, "an open month changes every night: it is not explained"
    assert not list(tmp_path.rglob(EXPLAINED))
    for page in tmp_path.rglob("index.html"):
        assert EXPLAINED not in page.read_text()


def test_what_goes_wrong_on_the_way_stops_no_statement(tmp_path, statements):
    from reportshelp import make_jobs

    class Lost:
        def __call__(self, account_id, month):
            raise LookupError("the log has no version 0123")

    jobs = make_jobs(tmp_path, [statements["usual"]])
    jobs.explanations = Lost
    (outcome,) = Reports(jobs).render(made.OCTOBER, tmp_path / "out")
    assert (outcome.error, len(outcome.held)) == (None, 1)
    assert "published without its explanations: LookupError: the log has no version" in outcome.held[0]
    assert list((tmp_path / "out").rglob("index.html"))


def test_a_line_that_does_not_add_up_says_so_and_is_held(tmp_path, statements):
    from reportshelp import make_jobs

    first, *rest = explanations_made.of(statements["usual"])
    wrong = replace(first, checks=(Check("charge by the records themselves", Decimal(2), Decimal(1)),))
    jobs = make_jobs(tmp_path, [statements["usual"]])
    jobs.explanations = lambda: lambda _account, _month: (wrong, *rest)
    (outcome,) = Reports(jobs).render(made.OCTOBER, tmp_path / "out")
    assert "line 0 does not add up: python -m etl explain" in outcome.held[0]
    text = next((tmp_path / "out").rglob(EXPLAINED)).read_text()
    assert "charge by the records themselves: 2.00, NOT EQUAL: it is 1.00" in text
    assert "1 of the lines does not add up" in text


# ------------------------------------------------------------------------------------------------ the page


@pytest.mark.parametrize("name", ["usual", "rich", "hostile", "arabic", "corrected", "huge"])
def test_every_amount_of_made_pages_leads_somewhere(statements, name):
    page = build(statements[name])
    ids = anchors_in(drawn(name, statements))
    html = pages.statement(page, Links(page.account_id, "x"), explained=Anchors(page, EXPLAINED)).decode()
    charges = re.search(r'<section id="charges".*?</section>', html, flags=re.DOTALL)[0]
    found = leads(charges)
    assert {href.partition("#")[2] for href, _, _ in found} <= ids
    groups = len(page.charges) + len(page.taxes) + len(page.corrections.months)
    assert len(found) >= groups + 1, "the total too"
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", one) for one in ids), "safe characters"


def test_policy_and_size(statements):
    for name in ("usual", "rich", "crowd", "huge"):
        text = drawn(name, statements)
        policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)[1].replace("&#39;", "'")
        assert policy == pages.policy()
        assert "<script" not in text
        assert " style=" not in text
        assert len(text.encode()) <= pages.LIMIT


def test_eight_hundred_taxes_fit_and_each_has_its_anchor(statements):
    statement = statements["crowd"]
    page, given = build(statement), list(explanations_made.of(statement))
    last = page.lines[-1]["position"]
    tax = {
        **page.lines[0],
        "section": "tax",
        "line": "tax",
        "tax_level": "local",
        "rate_id": "t@2026-01-01",
        "unit": None,
    }
    more = [
        {**tax, "position": last + 1 + n, "item": f"County transit tax {n}", "jurisdiction": f"US-WA-COUNTY-{n}"}
        for n in range(800)
    ]
    parts = tuple({"position": n, "line": "text outbound sms", "base": Decimal(n)} for n in range(25))
    given += [replace(given[0], line=row, rates=(), days=(), pages=(), records=(), parts=parts) for row in more]
    data = page_of(replace(page, lines=(*page.lines, *more)), given, Links(page.account_id, "x"))
    assert len(data) <= pages.LIMIT
    ids = anchors_in(data.decode())
    assert {f"line-{row['position']}" for row in (*page.lines, *more)} <= ids
    assert "more not listed here" in data.decode() or "lines in short" in data.decode()


def test_a_statement_of_more_lines_than_fit_has_no_page(statements, monkeypatch):
    page = build(statements["usual"])
    monkeypatch.setattr(explained, "LEVELS", explained.LEVELS[-1:])
    monkeypatch.setattr(pages, "LIMIT", 1000)
    assert page_of(page, explanations_made.of(statements["usual"]), Links(page.account_id, "x")) is None


def test_a_phone_number_somebody_wrote_is_masked(statements):
    statement = statements["usual"]
    first, *rest = explanations_made.of(statement)
    number = "+1 202 555 0147"
    rates = ({**first.rates[0], "rate_id": f"vip {number}"},)
    records = ({**(first.records or rest[0].records)[0], "record_id": "12025550147"},)
    page = build(statement)
    told_ = (replace(first, rates=rates, records=records, notes=(f"call {number}",)), *rest)
    text = page_of(page, told_, Links(page.account_id, "x")).decode()
    assert "0147" in text
    assert "555 0147" not in text
    assert "2025550147" not in text


def test_the_mail_has_one_sentence_and_no_link_for_each_figure(statements):
    page = build(statements["usual"])
    sender = MailSettings(connection="mail", sender="billing@tollbook.example", starttls=False)
    links = Links(page.account_id, "x", base_url="https://s.example")
    for href, count in ((f"https://s.example/{EXPLAINED}", 1), (None, 0)):
        message = compose(page, "someone@example.com", sender, links, explained=href)
        for part in message.walk():
            if part.get_content_maintype() == "text":
                assert part.get_content().count(EXPLAINED) == count
                assert part.get_content().count("explained down to its records") == count


def test_links_are_quiet_and_named(see):
    page, heard = see("usual")
    link = page.locator("#charges a.why").first
    colour = "e => getComputedStyle(e).color"
    assert link.evaluate(colour) == link.locator("xpath=..").evaluate(colour)
    line = "e => getComputedStyle(e).textDecorationLine"
    assert link.evaluate(line) == "none"
    link.focus()
    link.hover()
    expect(link).to_have_css("text-decoration-line", "underline")
    link.click()
    page.wait_for_url(re.compile(rf"/{re.escape(EXPLAINED)}#"))  # a click does not wait for where it leads
    expect(page.locator(":target")).to_have_count(1)
    page.locator("header a.up").click()
    page.wait_for_url(re.compile("/index.html$"))
    expect(page.locator("h1")).to_have_text(re.compile("^October"))
    assert [said for said in heard if not said.startswith("file:")] == []
