"""The operator's page: what needs doing, hand-worked figures, nothing private, and no way to it from a customer's page."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from datetime import date
from decimal import Decimal
from html import unescape

import operations_made as made
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reportshelp import make_jobs
from typer.testing import CliRunner

from etl import operations as ops
from etl.lake import StoreError, open_store
from etl.periods import Month
from reports import console
from reports.cli import app
from reports.jobs import Failed, operate
from reports.operator import desk
from reports.operator import page as operator
from reports.pages import LIMIT
from reports.publish import Publisher
from reports.tabular import restore

RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
}


def publish(root, operations=None):
    publisher = Publisher(open_store(root))
    return desk.publish(publisher, operations or made.usual())


def page(root, operations=None) -> str:
    drawn = publish(root, operations)
    return (root / drawn.page).read_text(encoding="utf-8")


def text(html: str) -> str:
    """What the page says, on one line."""
    inside = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", inside)).replace("\u00a0", " ").split())


def rows(root, name: str, month: Month = made.OCTOBER) -> list[dict]:
    data = (root / desk.FOLDER / str(month) / name).read_bytes()
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def plain(pieces) -> str:
    return "".join(piece.text for piece in pieces)


# ------------------------------------------------------------------------------------------------ what it says


def test_one_sentence_says_whether_all_is_loaded_rated_and_closed():
    assert plain(operator.build(made.usual()).headline).replace("\u00a0", " ") == (
        "1 day of October is not in the figures, 2 charges have no price, and 1 of 3 accounts is closed. "
        "4 things need doing, the most pressing first."
    )
    assert plain(operator.build(made.in_order()).headline) == (
        "Every day of October is loaded, everything has a price, and the one account is closed. Nothing needs doing."
    )
    assert plain(operator.build(made.nothing()).headline) == (
        "No day of October is in the figures yet, and no account is closed. 1 thing needs doing."
    )


def test_what_needs_doing_comes_with_the_command_the_most_pressing_first():
    view = operator.build(made.usual())
    assert [[p.text for p in sentence if p.kind == "command"] for sentence in view.todo] == [
        ["python -m etl run --date 2026-10-06"],
        ["python -m etl rate --month 2026-10"],
        [],
        ["python -m etl reconcile --date 2026-10-09"],
    ]
    assert plain(view.todo[1]).startswith("No price for 2 charges of 1 account: add the price to prices.csv, then")


@pytest.mark.parametrize(
    ("sentence", "command"),
    [
        ("load them with python -m etl run --from 2026-10-06 --to 2026-10-08", "python -m etl run --from 2026-10-06 --to 2026-10-08"),
        ("close it first, python -m etl close --month 2026-09", "python -m etl close --month 2026-09"),
        ("a | python -m etl run --date 2026-10-06 | b", "python -m etl run --date 2026-10-06"),
        ("then python -m etl rate.", "python -m etl rate"),
    ],
)  # fmt: skip
def test_a_command_ends_where_the_sentence_goes_on(sentence, command):
    assert [p.text for p in operator.said(sentence) if p.kind == "command"] == [command]
    assert plain(operator.said(sentence)).lower() == sentence.lower()


def test_the_four_figures_are_those_worked_by_hand():
    figures = operator.build(made.usual()).figures
    assert [(f.label, f.value, f.note) for f in figures] == [
        ("Records loaded", "3,000", "30 of 31 days due"),
        ("Without a price", "2", "of 1 account"),
        ("In quarantine", "1", "for 1 reason"),
        ("Charged less cost on records", "$56.38", "51.3% of $110.00; 3 records not priced yet"),
    ]


def test_every_state_of_a_day_is_a_word(tmp_path):
    said = text(page(tmp_path))
    assert "Oct 5 Mo loaded, matches 100 Oct 6 Tu missing Oct 7 We loaded, matches 100" in said
    assert "Oct 2 Fr late, matches 100" in said and "Oct 9 Fr loaded, differs 100" in said
    assert "2026-10-07 02:30 scheduled__2026-10-06" not in said
    assert "Oct 7 twilio loaded, matches 100 4 2026-10-08 02:30 scheduled__2026-10-07T02:00:00+00:00" in said


def test_days_that_are_still_to_come_fill_no_calendar(tmp_path):
    o = made.in_order()
    begun = pl.col("date") < date(2026, 10, 4)
    none = {c: pl.when(begun).then(pl.col(c)) for c in o.loads.columns if c not in ("date", "source", "state")}
    loads = o.loads.with_columns(state=pl.when(begun).then("state").otherwise(pl.lit("to come")), **none)
    view = operator.build(replace(o, loads=loads, through=date(2026, 10, 3)))
    assert [len(c.days) for c in view.calendars] == [3]
    assert plain(view.headline).replace("\u00a0", " ").startswith("Every day of October through Oct 3 is loaded")
    assert view.figures[0].note == "3 of 3 days due"


def test_both_readings_of_the_carrier_fee_are_named_with_their_money(tmp_path):
    said = text(page(tmp_path))
    # whole categories only: 3.50 + 2.00 + 4.00 ours, 3.00 + 2.00 + 3.00 theirs, fees 0.50 + 0.40
    assert "twilio 2 $9.50 $8.00 $0.90 $1.50 $0.60" in said
    assert "twilio: of 2 totals with carrier fees 1 fits included." in said
    assert "Oct 9 sms twilio AC1 the cost differs 5 $4.00 5 $3.00 the cost differs" in said


def test_a_source_without_totals_and_a_day_that_was_not_compared_say_so():
    silent = made.frame(
        made.RECONCILED, made.total(date(2026, 10, 1), "sms", "3", None, verdict="no totals", reading=None)
    )
    o = replace(made.in_order(), reconciled=silent, money=made.in_order().money.clear())
    assert operator.build(o).compared_said == "The sources give no totals of their own, so nothing can be compared."
    o = replace(o, reconciled=silent.clear(), loads=o.loads.with_columns(compared=pl.lit("not compared")))
    assert operator.build(o).compared_said.startswith("Not compared: no day of the month")
    assert operator.build(o).loads_said.endswith("31 days are not compared with the provider’s own totals.")


def test_unpriced_records_have_a_share_and_an_age():
    assert operator.build(made.usual()).unpriced_said.replace("\u00a0", " ") == (
        "The provider has not said its price for 3 of 400 texts and calls (0.8%). The oldest are of October 30, 10 days ago."
    )


def test_what_holds_every_open_account_is_said_once():
    view = operator.build(made.usual())
    assert [plain(sentence) for sentence in view.common] == [
        "Day missing: 2026-10-06 of twilio: load it with python -m etl run --date 2026-10-06"
    ]
    held = {row["account_id"]: [plain(s) for s in row["held"]] for row in view.accounts}
    assert held["euro"] == [] and len(held["bolt"]) == 1 and held["bolt"][0].startswith("2 charges without a price")
    assert [row["state"] for row in view.accounts] == ["Open", "Open", "Final, revision 1"]


def test_a_closed_account_that_changed_since_says_from_what_to_what():
    o = replace(
        made.in_order(), accounts=made.frame(made.SCHEMAS["accounts"], made.account("acme", "final", now="103.50"))
    )
    row = operator.build(o).accounts[0]
    assert row["total"] == "$100.00"
    assert "closed with $100.00; the newest figures come to $103.50" in plain(row["held"][0]).lower()


# ------------------------------------------------------------------------------------------------ margin


def test_margins_are_those_worked_by_hand_and_no_currency_is_added_to_another():
    dollars, euros = operator.build(made.usual()).margins
    assert [(r.account_id, r.margin, r.percent) for r in dollars.rows] == [
        ("bolt", Decimal("-2.50"), Decimal("-25.00")),
        ("unassigned", Decimal("-1.00"), None),
        ("acme", Decimal("59.875"), Decimal("59.88")),
    ]
    assert (dollars.total.charged, dollars.total.cost, dollars.total.margin) == (
        Decimal("110"), Decimal("53.625"), Decimal("56.375"),
    )  # fmt: skip
    assert (dollars.total.products, dollars.left_out) == (Decimal("29"), 0)
    assert euros.total is None and euros.left_out == 1
    assert [(r.cost_currency, r.cost, r.margin) for r in euros.rows] == [
        ("EUR", Decimal(0), None),
        ("USD", Decimal(20), None),
    ]


def test_a_cost_in_two_currencies_leaves_no_margin():
    found = made.margin_of([("a", "USD")], [("a", "10", "0")], [("a", "USD", "3"), ("a", "EUR", "1")])
    assert found.select("provider_currency", "provider_cost", "charged", "margin").rows() == [
        ("EUR", Decimal(1), None, None),
        ("USD", Decimal(3), Decimal(10), None),
    ]


def test_an_account_without_a_statement_has_costs_and_no_margin():
    found = made.margin_of([("a", "USD")], [], [("a", "USD", "3")])
    assert found.select("charged", "provider_cost", "margin").rows() == [(None, Decimal(3), None)]


AMOUNTS = st.decimals(min_value=0, max_value=10**6, places=2)
COSTS = st.decimals(min_value=0, max_value=10**6, places=9)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(AMOUNTS, COSTS), min_size=1, max_size=60))
def test_the_rows_and_the_rest_come_to_the_total(amounts):
    ids = [f"a{n:02d}" for n in range(len(amounts))]
    frame = made.margin_of(
        [(i, "USD") for i in ids],
        [(i, charged, "0") for i, (charged, _) in zip(ids, amounts, strict=True)],
        [(i, "USD", cost) for i, (_, cost) in zip(ids, amounts, strict=True)],
    )
    known = made.frame(made.SCHEMAS["accounts"], *(made.account(i, "final") for i in ids))
    (table,) = operator.build(replace(made.in_order(), margin=frame, accounts=known)).margins
    shown = [*table.rows, *([table.rest] if table.rest else [])]
    for column in ("charged", "cost", "margin"):
        assert sum(getattr(row, column) for row in shown) == getattr(table.total, column)
    assert table.total.margin == sum(a for a, _ in amounts) - sum(c for _, c in amounts)
    assert [row.margin for row in table.rows] == sorted(row.margin for row in table.rows)


def test_the_files_hold_the_exact_figures(tmp_path):
    publish(tmp_path)
    margin = {(r["account_id"], r["provider_currency"]): r for r in rows(tmp_path, "margin.csv")}
    assert margin["acme", "USD"] == {
        "account_id": "acme", "account_name": "Acme", "known": "true", "currency": "USD", "charged": "100.00",
        "products": "29.00", "provider_currency": "USD", "provider_cost": "40.125", "margin": "59.875",
        "margin_percent": "59.88", "unpriced": "3",
    }  # fmt: skip
    assert (margin["euro", "EUR"]["margin"], margin["euro", "USD"]["charged"]) == ("", "")
    gap = next(r for r in rows(tmp_path, "days.csv") if r["date"] == "2026-10-06")
    assert (gap["state"], gap["records"], gap["run_id"]) == ("missing", "", "")
    off = [(r["difference_apart"], r["difference_included"]) for r in rows(tmp_path, "reconciliation.csv")]
    assert off == [("0.00", "0.00"), ("0.50", "0.00"), ("0.50", "0.50"), ("-0.10", "-0.10"), ("1.00", "0.60")]
    assert [r["fix"] for r in rows(tmp_path, "unrated.csv")] == [
        "add the price to prices.csv, then python -m etl rate --month 2026-10"
    ]


# ------------------------------------------------------------------------------------------------ private and safe


def test_nothing_hostile_and_no_number_gets_through(tmp_path):
    html = page(tmp_path, made.hostile())
    assert "<script" not in html and "<img" not in html and "12065550142" not in html and "555-0142" not in html
    assert not re.search(r"<[^>]+\s(style|on\w+)=", html)
    for file in (tmp_path / desk.FOLDER).rglob("*.*"):
        assert "5550142" not in file.read_text(encoding="utf-8"), file.name
    names = {restore(r["account_name"]) for r in rows(tmp_path, "margin.csv")}
    assert any("•••• 0142" in name for name in names)
    accounts = {r["provider_account"] for r in rows(tmp_path, "reconciliation.csv")}
    assert accounts == {"'=cmd()|•••• 0142"}


def test_no_customer_s_object_leads_to_it_and_no_account_can_be_called_so(tmp_path, statements):
    from reports.links import account_folder

    publisher = Publisher(open_store(tmp_path))
    publish(tmp_path)
    publisher.publish(statements["usual"])
    publish(tmp_path)
    theirs = [f for f in tmp_path.rglob("*.*") if f.is_file() and desk.FOLDER not in f.parts]
    assert len(theirs) > 10
    for file in theirs:
        assert b"_operator" not in file.read_bytes(), file
    with pytest.raises(ValueError, match="cannot name a folder"):
        account_folder(desk.FOLDER)


# ------------------------------------------------------------------------------------------------ size


def test_a_page_of_a_thousand_accounts_shows_the_worst_and_counts_the_rest(tmp_path):
    html = page(tmp_path, made.huge())
    assert len(html.encode()) < LIMIT
    said = text(html)
    assert "975 more all in margin.csv $499,200.00" in said, "the smallest 25 charges are 0 + 1 + … + 24 = 300"
    assert "Together $499,500.00 $12,345.68 $487,154.32 97.5%" in said
    for phrase in ("975 more rows, all in unrated.csv", "275 more reasons, all in quarantine.csv",
                   "975 more accounts, all in unassigned.csv", "3,075 more totals, all in reconciliation.csv",
                   "975 more accounts, all in accounts.csv", "19 more: python -m reports operator"):  # fmt: skip
        assert phrase in said, phrase
    for name, count in (("margin.csv", 1000), ("accounts.csv", 1000), ("unrated.csv", 1000), ("days.csv", 155),
                        ("quarantine.csv", 300), ("reconciliation.csv", 3100)):  # fmt: skip
        assert len(rows(tmp_path, name)) == count


def test_more_sources_than_columns_are_counted(tmp_path):
    html = page(tmp_path, made.huge(accounts=3, sources=9))
    assert "And 3 more sources, all in days.csv" in text(html)
    assert len(html.encode()) < LIMIT


# ------------------------------------------------------------------------------------------------ published


def test_the_same_operations_are_the_same_bytes_and_nothing_is_written_twice(tmp_path):
    first = publish(tmp_path / "one")
    assert (first.written, first.kept) == (13, 0)
    publish(tmp_path / "two")
    one, two = (
        {f.relative_to(root): f.read_bytes() for f in (root / desk.FOLDER).rglob("*.*")}
        for root in (tmp_path / "one", tmp_path / "two")
    )
    assert one == two
    again = publish(tmp_path / "one")
    assert (again.written, again.kept) == (0, 13)


def test_the_files_are_what_their_dictionary_says(tmp_path):
    """Frictionless, an independent reader of Table Schema, checks types, keys, sizes and hashes of every file."""
    from frictionless import Package, system

    for name in ("usual", "hostile", "nothing"):
        publish(tmp_path / name, made.ALL[name]())
        with system.use_context(trusted=True):
            found = Package(str(tmp_path / name / desk.FOLDER / "2026-10/datapackage.json")).validate()
        assert found.flatten(["type", "message"]) == [], name


def test_the_newest_month_is_the_index_and_every_month_is_in_its_menu(tmp_path):
    september, november = made.OCTOBER - 1, made.OCTOBER + 1
    index = tmp_path / desk.FOLDER / "index.html"
    publish(tmp_path)
    assert 'href="2026-10/days.csv"' in index.read_text()
    earlier = publish(tmp_path, made.in_order(september))
    assert (earlier.newest, earlier.new) == (made.OCTOBER, True)
    assert "<title>Operations, October" in index.read_text(), "an earlier month drawn later takes no newer one's place"
    assert "../2026-10/index.html" in (tmp_path / earlier.page).read_text()
    publish(tmp_path, made.in_order(november))
    menu = index.read_text().partition("<main")[0]
    assert "<title>Operations, November" in index.read_text()
    assert 'href="2026-10/index.html"><span>October\u00a02026</span><span>4 to do' in menu
    assert 'href="2026-09/index.html"><span>September\u00a02026</span><span>in order' in menu


def test_a_monitor_reads_what_needs_doing(tmp_path):
    publish(tmp_path)
    known = json.loads((tmp_path / desk.FOLDER / "2026-10/operations.json").read_text())
    assert known["todo"][0] == "2026-10-06 of twilio is missing: load it with python -m etl run --date 2026-10-06"
    assert known["unpriced"] == made.usual().margin["unpriced"].sum() > 0
    assert (known["margin"], known["accounts"], known["records"]) == ({"USD": "56.375"}, {"final": 1, "open": 2}, 3000)


def test_a_damaged_month_stops_no_page_and_old_months_are_not_asked(tmp_path, monkeypatch):
    for n in (2, 1):
        publish(tmp_path, made.in_order(made.OCTOBER - n))
    for damage in (b"", b"[]", b"{}", b'{"todo": 3}'):
        (tmp_path / desk.FOLDER / "2026-09/operations.json").write_bytes(damage)
        menu = page(tmp_path).partition("<main")[0]
        assert 'href="../2026-09/index.html"><span>September\u00a02026</span><span></span>' in menu
        assert 'href="../2026-08/index.html"><span>August\u00a02026</span><span>in order' in menu
    monkeypatch.setattr(desk, "ASKED", 1)
    assert [s.todo for s in desk.shelf(open_store(tmp_path))] == [None, None, 4]
    years = [desk.Shelved(m, 0) for m in reversed(made.OCTOBER.last(240))]
    listed = desk._listed(years, years[-1].month)
    assert len(listed) == 61 and listed[-1] == years[-1]


def test_links_can_be_addresses_or_signed(tmp_path):
    from etl.settings import ReportSettings

    settings_ = ReportSettings(store={"url": "x"}, links="base_url", base_url="https://statements.example.com")
    desk.publish(Publisher(open_store(tmp_path), settings_), made.usual())
    html = (tmp_path / desk.FOLDER / "index.html").read_text()
    assert 'href="https://statements.example.com/_operator/2026-10/margin.csv"' in html


# ------------------------------------------------------------------------------------------------ the verb


@pytest.fixture
def run(tmp_path, monkeypatch, statements):
    jobs = make_jobs(tmp_path, [statements["usual"]], links="relative")
    jobs.months = {made.OCTOBER: made.usual()}
    jobs.operations = lambda month: jobs.months[month]
    monkeypatch.setattr(console, "_jobs", lambda config: jobs)

    def call(*arguments: str):
        return CliRunner().invoke(app, ["operator", *arguments])

    call.jobs = jobs
    return call


def test_the_verb_publishes_and_prints_what_needs_doing(run, tmp_path):
    done = run("--month", "2026-10")
    assert done.exit_code == 3
    assert "_operator: 2026-10 needs attention: 13 objects written" in done.stdout
    assert "python -m etl run --date 2026-10-06" in done.stdout
    assert (tmp_path / "published/_operator/index.html").is_file()
    run.jobs.months[made.OCTOBER] = made.in_order()
    assert run("--month", "2026-10").exit_code == 0


def test_the_verb_writes_into_a_folder_and_touches_no_store(run, tmp_path):
    assert run("--month", "2026-10", "--out", str(tmp_path / "out")).exit_code == 3
    assert 'href="margin.csv"' in (tmp_path / "out/_operator/2026-10/index.html").read_text()
    assert not (tmp_path / "published").exists()


def test_the_newest_month_s_menu_follows_an_earlier_one(run, tmp_path):
    run.jobs.months[made.OCTOBER - 1] = made.in_order(made.OCTOBER - 1)
    operate(run.jobs, "2026-10")
    operate(run.jobs, "2026-09")
    assert "2026-09/index.html" in (tmp_path / "published/_operator/index.html").read_text()


def test_a_month_that_cannot_be_read_stops_no_other(run, tmp_path):
    def broken(month):
        if month == made.OCTOBER:
            raise StoreError("the store is gone")
        return made.in_order(month)

    run.jobs.operations = broken
    with pytest.raises(Failed, match="1 problem.*the store is gone"):
        operate(run.jobs, "2026-10", "2026-09")
    assert (tmp_path / "published/_operator/2026-09/index.html").is_file()
    assert run("--month", "2026-10").exit_code == 1


def test_the_command_asks_for_the_accounts_of_its_month(run):
    """An account that became a customer on a day must not end the command before it began."""
    asked = []
    statements = run.jobs.statements
    statements.accounts_of = lambda month: asked.append(month) or statements.accounts
    run("--month", "2026-10")
    assert asked == [made.OCTOBER]


# ------------------------------------------------------------------------------------------------ in a browser


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("operator")
    return {name: root / name / publish(root / name, make()).page for name, make in made.ALL.items()}


@pytest.fixture
def look(chromium, drawn):
    opened = []

    def open_(name: str, width: int = 1280, scheme: str = "light", **options):
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        opened.append(context)
        shown, heard = context.new_page(), []
        shown.on("request", lambda r: heard.append(r.url))
        shown.on("console", lambda m: heard.append(m.text))
        shown.goto(drawn[name].as_uri())
        heard.remove(drawn[name].as_uri())
        return shown, heard

    yield open_
    for context in opened:
        context.close()


@pytest.mark.parametrize("name", made.ALL)
def test_nothing_sticks_out_of_the_page_and_nothing_is_asked_for(look, name):
    shown, heard = look(name)
    shown.eval_on_selector_all("details.more", "all => all.forEach(d => d.open = true)")
    for width in (320, 390, 768, 1080, 1280, 1920):
        shown.set_viewport_size({"width": width, "height": 900})
        assert shown.evaluate("document.documentElement.scrollWidth") <= width, width
    assert heard == []


@pytest.mark.parametrize("name", ["usual", "hostile"])
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_axe_finds_nothing_on_the_operator_s_page(look, name, width, scheme, long):
    if not long and (width, scheme) in ((1280, "dark"), (390, "light")):
        pytest.skip("only in the long form: each width and each scheme is looked at in the short one")
    from axe_playwright_python.sync_playwright import Axe

    shown, _ = look(name, width, scheme, bypass_csp=True)
    shown.eval_on_selector_all("details", "all => all.forEach(d => d.open = true)")
    found = Axe().run(shown, options=RULES)
    assert found.violations_count == 0, found.generate_report()


def test_the_operator_s_page_works_without_javascript(look):
    shown, _ = look("usual", java_script_enabled=False)
    shown.locator("details.months summary").click()
    assert shown.get_by_role("link", name="Newest month").is_visible()
    shown.get_by_text("Every load with its pages").click()
    assert shown.locator("table.all tbody tr").count() == 30
    assert shown.locator("code.run").first.inner_text() == "python -m etl run --date 2026-10-06"


def test_states_are_words_of_the_contract():
    assert set(ops.LOAD_STATES) >= {ops.MISSING, ops.BEHIND, ops.LATE, ops.LOADED}
    assert set(made.usual().loads["state"]) <= set(ops.LOAD_STATES)
    assert set(made.usual().loads["compared"].drop_nulls()) <= set(ops.COMPARISONS)
