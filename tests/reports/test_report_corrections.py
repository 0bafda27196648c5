"""Corrections of closed months and new revisions: on the page, in the files and in the mail, from one made statement each."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from dataclasses import replace
from datetime import date
from decimal import Decimal

import polars as pl
import pytest
import statements_made as made
from hypothesis import given, settings
from hypothesis import strategies as st
from reportshelp import make_jobs
from test_report_focus import rows_of, total
from test_report_mail import message, parts
from test_report_pages import render, text_of
from test_report_publish import contents
from test_report_verify import change, differing, found, repair

from etl.lake import open_store
from etl.schemas import REASONS
from reports import corrected, files, words
from reports.checks import DoesNotAddUp
from reports.corrected import Why
from reports.formats import Formats
from reports.jobs import Reports
from reports.model import build
from reports.publish import Publisher

US = Formats("en_US", "USD")
SEPTEMBER = made.OCTOBER - 1
NEWS = "What changed since you last read"


@pytest.fixture(scope="module")
def page(statements):
    return build(statements["corrected"])


@pytest.fixture(scope="module")
def later(tmp_path_factory, statements):
    """The published account of the corrected statement."""
    root = tmp_path_factory.mktemp("corrected")
    Publisher(open_store(root)).publish(statements["corrected"])
    return root / "acct_later"


@pytest.fixture(scope="module")
def again(tmp_path_factory, statements):
    """Both revisions of an account, published one after the other."""
    root = tmp_path_factory.mktemp("revised")
    for statement in (made.replaced(), statements["revised"]):
        Publisher(open_store(root)).publish(statement)
    return root / "acct_again"


def table_of(page, name: str) -> list[dict]:
    file = next(file for file in files.make(page) if file.name == name)
    return list(csv.DictReader(io.StringIO(file.data.decode(), newline="")))


def said(document: str) -> str:
    return re.sub(r"\s+", " ", document.replace("\u00a0", " "))


# ------------------------------------------------------------------------------------------------ the page


def test_corrections_by_hand(page):
    """August: a call 1.26 cheaper, a credit of 20, a booked correction of 0.05 taken back; September: 12 late texts of two
    segments and their fees, a text of three gone, a number, the tax on them."""
    assert [(str(m.month), m.amount, m.records) for m in page.corrections.months] == [
        ("2026-08", Decimal("-21.31"), 2), ("2026-09", Decimal("1.40"), 13),
    ]  # fmt: skip
    assert page.corrections.change.now == Decimal("-19.91")
    assert page.charged.now + page.taxed.now + page.corrections.change.now == page.total.now == Decimal("513.06")
    texts = page.corrections.months[1].rows[0]
    assert (texts.label, texts.amount, texts.quantity, texts.unit) == (
        "Texts: SMS sent",
        Decimal("0.17"),
        12 * 2 - 3,
        "segment",
    )
    assert words.whys(texts, SEPTEMBER, US).replace("\u00a0", " ") == (
        "12 texts of Sep 26 to Sep 30 arrived after September was closed. 1 text of Sep 11 no longer belongs to September."
    )
    fees = page.corrections.months[1].rows[1]
    assert (fees.label, fees.amount) == ("Carrier fees: SMS sent, registered", Decimal("0.07")), "carriers together"
    (products,) = page.corrections.products
    assert products.amount == Decimal("-108.70") and page.products.total == 149 + products.amount


def test_the_page_says_first_what_changed(page):
    html = render(page)
    text = said(text_of(html))
    assert html.index('<p class="lead"') < html.index('<section id="changed"') < html.index('<dl class="figures"')
    assert NEWS in text and "September 2026 12 texts of Sep 26 to Sep 30 arrived" in text
    assert "Corrections of August 2026 −$21.31" in text and "Corrections of September 2026 $1.40" in text
    assert ", products paid apart Added after September was closed." in text and "−$108.70" in text


@pytest.mark.parametrize("name", ["usual", "rich", "open", "no_usage"])
def test_nothing_is_said_where_nothing_changed(statements, name):
    page = build(statements[name])
    html, text = parts(message(page).as_bytes())
    for document in (render(page), html, text):
        assert "changed since" not in document.lower() and "orrections of" not in document
    assert not {"corrections.csv", "changes.csv"} & {file.name for file in files.make(page)}
    assert not page.news


def test_an_ordinary_months_files_have_no_new_column(statements):
    for file in files.make(build(statements["rich"])):
        assert "for_month" not in [column.name for column in file.columns]


def test_a_month_with_nothing_but_corrections_is_no_month_without_charges(statements):
    page = build(statements["corrected_yen"])
    lead = words.plain(words.headline(page, Formats("ja_JP", "JPY")))
    assert "No usage" not in lead and page.total.now == -3
    closed = build(
        replace(statements["corrected_yen"], state="final", revision=1, closed_at="2026-11-03T06:12:00+00:00")
    )
    assert "ends with a credit of" in words.plain(words.headline(closed, Formats("ja_JP", "JPY")))


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("count", [0, 1, 1204])
def test_every_reason_has_words(reason, count):
    why = Why(reason, "message" if count else None, count, date(2026, 9, 3), date(2026, 9, 4 if count > 1 else 3))
    sentence = words.why(why, SEPTEMBER, US)
    assert sentence.endswith(".") and "{" not in sentence
    if count:
        noun = "1 text of Sep\u00a03" if count == 1 else "1,204 texts of Sep\u00a03 to Sep\u00a04"
        assert noun in sentence


def test_ids_that_are_phone_numbers_stay_apart_and_hidden(statements):
    rows = build(statements["corrected_hostile"]).corrections.rows
    assert [row["record_id"] for row in rows][1:4] == ["=cmd|'/C calc'!A0", "•••• 0142", "•••• 0142 (2)"]
    assert build(statements["corrected_hostile"]).corrections.months[0].records == 3


# ------------------------------------------------------------------------------------------------ it adds up


def test_records_that_do_not_come_to_their_line_are_refused(statements):
    given = statements["corrected"]
    with pytest.raises(DoesNotAddUp, match="the correction of 2026-09, text comes exactly to"):
        build(replace(given, corrections=given.corrections.filter(pl.col("reason") != "gone")))
    with pytest.raises(DoesNotAddUp, match="corrections"):
        build(replace(given, lines=given.lines.with_columns(
            amount=pl.when(pl.col("for_month") == "2026-08").then(pl.col("amount") + 1).otherwise("amount"))))  # fmt: skip


amounts = st.decimals(-999, 999, places=2).filter(bool)


@settings(max_examples=15, deadline=None)
@given(
    fixes=st.lists(
        st.tuples(st.integers(6, 9), amounts, st.sampled_from(REASONS)),
        min_size=1,
        max_size=6,
        unique_by=lambda f: f[0],
    )
)
def test_any_corrections_add_up_everywhere(fixes):
    """Whatever is corrected: the page, the files and FOCUS come to the same."""
    bare = made.statement([], held_monthly=lambda who, month: [])
    given = made.corrected_by(bare, *(
        made.fix(month, "text", str(amount), (3, "message", f"SM{month}", reason, 1 if amount > 0 else -1, str(amount)), **made.SENT)
        for month, amount, reason in fixes
    ))  # fmt: skip
    page, expected = build(given), sum(amount for _, amount, _ in fixes)
    assert page.total.now == page.corrections.change.now == expected
    assert sum(Decimal(row["amount"]) for row in table_of(page, "charges.csv")) == expected
    assert sum(Decimal(row["amount_exact"]) for row in table_of(page, "corrections.csv")) == expected
    rows = rows_of(page)
    assert total(rows) == expected and {row["ChargeClass"] for row in rows} == {"Correction"}


def test_focus_rows_are_corrections_with_their_own_dates(page):
    mine = [row for row in rows_of(page) if row["ChargeClass"] == "Correction"]
    billed = [row for row in mine if not row["InvoiceId"].endswith("-products")]
    assert total(billed) == page.corrections.change.now
    late = [row for row in billed if row["x_Line"] == "text" and row["ChargePeriodStart"].day >= 26]
    assert {row["ChargePeriodStart"].day for row in late} == {26, 27, 28, 29, 30}
    assert total(late, "PricingQuantity") == 24 and total(late, "ConsumedQuantity") == 12
    (gone,) = [row for row in billed if row["x_Line"] == "text" and row["ChargePeriodStart"].day == 11]
    assert (gone["PricingQuantity"], gone["ConsumedQuantity"], gone["BilledCost"]) == (-3, -1, Decimal("-0.0249"))
    repriced = [row for row in billed if row["x_Line"] == "call"]
    assert [(r["ChargeCategory"], r["BilledCost"]) for r in repriced] == [("Adjustment", Decimal("-1.26"))]
    bought = [row for row in mine if row["ChargeCategory"] == "Purchase"]
    assert total(bought) == 50 - 149 and {row["EffectiveCost"] for row in bought} == {0}
    assert {row["BillingPeriodStart"].month for row in mine} == {10}


# ------------------------------------------------------------------------------------------------ verify


@pytest.mark.parametrize(
    ("after", "old", "new", "told"),
    [
        ('<section id="changed"', "+$1.40", "+$1.41", "what changed: September 2026, column 2: printed 1.41, recomputed 1.40"),
        ('<section id="changed"', "12 texts", "13 texts", "what changed: September 2026, why: printed 13, recomputed 12"),
        ('<section id="changed"', "Sep\xa030", "Sep\xa029", "what changed: September 2026, why: printed 29, recomputed 30"),
        ('<section id="changed"', "$108.70", "$108.71", "what changed: September 2026, products paid apart"),
        ("Corrections of August", "$21.31", "$21.32", "Corrections of August 2026, column 5: printed -21.32"),
        ("Corrections of September", "+21", "+22", "charges: Texts: SMS sent, for narrow screens: printed 22"),
        ('<section id="charges"', '<td class="wide">+21', '<td class="wide">+22',
         "Corrections of September 2026 / Texts: SMS sent, column 2: printed 22"),
        ("Corrections of September", "1 text of", "2 texts of", "Corrections of September 2026 / Texts: SMS sent, why"),
        ("Corrections, record by record", "<td class=\"wide\">−$1", "<td class=\"wide\">−$2",
         "Corrections, record by record = their lines, column 2: printed -228.603457"),
    ],
)  # fmt: skip
def test_a_digit_of_a_correction_is_named(later, tmp_path, after, old, new, told):
    folder = copied(later / "2026-10" / "rev-1", tmp_path)
    change(folder / "index.html", old, new, after)
    assert told in differing(folder)


def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / folder.name)


def test_a_changed_record_is_seen(later, tmp_path):
    folder = copied(later / "2026-10" / "rev-1", tmp_path)
    change(folder / "corrections.csv", "0.016600000", "0.016600001", "late")
    repair(folder, "corrections.csv")
    assert "corrections come to their lines: line" in differing(folder)


def test_nothing_of_a_correction_is_left_out(later):
    left = [line for line in found(later / "2026-10" / "rev-1") if line.startswith("not checked") and "changed" in line]
    assert left == []


# ------------------------------------------------------------------------------------------------ revisions


def test_a_revision_by_hand(statements):
    r = build(statements["revised"]).revised
    assert (r.revision, r.replaces, r.reason) == (2, 1, made.REOPENED)
    assert (r.total.before, r.total.now) == (Decimal("532.97"), Decimal("529.86"))
    assert [(c.label, c.place, c.kind, c.before, c.after) for c in r.changes] == [
        ("Texts: SMS sent", "", "changed", Decimal("102.99"), Decimal("103.08")),
        ("Carrier fees: SMS sent, registered", "Regional Cellular", "added", None, Decimal("0.03")),
        ("Carrier fees: SMS sent, unregistered", "Verizon", "gone", Decimal("3.24"), None),
        ("Retail sales tax", "US-WA", "changed", Decimal("16.05"), Decimal("16.06")),
    ]
    assert sum(c.difference for c in r.changes) == r.total.difference


def test_a_revision_is_verified_against_the_one_before(again, tmp_path):
    assert differing(again) == ""
    rev = copied(again, tmp_path) / "2026-10" / "rev-2"
    change(rev / "index.html", "+$0.09", "+$0.08", '<section id="changed"')
    assert "what changed: Texts: SMS sent, column 4: printed 0.08, recomputed 0.09" in differing(rev)
    before = rev.parent / "rev-1" / "charges.csv"
    change(before, "102.99", "102.98", "text")
    assert "changes.csv is what two revisions have otherwise" in differing(rev)


def test_a_revision_that_changed_nothing_says_so(statements):
    given = replace(statements["revised"], lines=made.replaced().lines, daily=made.replaced().daily)
    page = build(replace(given, history=made.replaced().history, monthly=made.replaced().monthly))
    assert page.revised.changes == () and "No line differs." in said(text_of(render(page)))


def test_both_revisions_stand_and_the_month_shows_the_new_one(again):
    month = again / "2026-10"
    first, second, now = (
        json.loads((p / "statement.json").read_text()) for p in (month / "rev-1", month / "rev-2", month)
    )
    assert (first["revision"], second["revision"], now["revision"]) == (1, 2, 2)
    assert second["replaces"] == {"revision": 1, "total": first["total"], "product_total": "0.00"} and second == now
    assert (month / "rev-2" / "changes.csv").read_bytes() == (month / "changes.csv").read_bytes()
    assert not (month / "rev-1" / "changes.csv").exists()
    assert 'href="../index.html"' in (month / "rev-1" / "index.html").read_text(), "the old one leads to the new"


def test_publishing_a_revision_again_writes_nothing_and_leaves_the_first(tmp_path, statements):
    publisher = Publisher(open_store(tmp_path))
    publisher.publish(made.replaced())
    first = {k: v for k, v in contents(tmp_path).items() if "/rev-1/" in k}
    publisher.publish(statements["revised"])
    before = contents(tmp_path)
    assert publisher.publish(statements["revised"]).written == 0
    assert {k: v for k, v in before.items() if "/rev-1/" in k} == first and contents(tmp_path) == before


# ------------------------------------------------------------------------------------------------ the mail


@pytest.mark.parametrize("name", ["corrected", "corrected_yen", "corrected_hostile", "revised"])
def test_a_mail_says_first_what_changed(statements, name):
    html, text = parts(message(build(statements[name]), preview=True).as_bytes())
    head, plain = said(text_of(html)), said(text)
    assert head.index(NEWS) < head.index("View the") and plain.index(NEWS.upper()) < plain.index("View the report")
    assert "<script" not in html


def test_a_mail_links_the_corrected_months(statements):
    html, text = parts(message(build(statements["corrected"])).as_bytes())
    for month in ("2026-08", "2026-09"):
        address = f"https://statements.example.com/acct_later/{month}/index.html"
        assert f'href="{address}"' in html and address in text


def test_one_mail_per_revision_and_recipient_each_to_its_own_bytes(tmp_path, catcher, statements):
    first, second = made.replaced(), statements["revised"]
    jobs = make_jobs(tmp_path, [first], port=catcher.port)

    def run() -> None:
        list(Reports(jobs).publish(made.OCTOBER))
        list(Reports(jobs).mail(made.OCTOBER))
        list(Reports(jobs).mail(made.OCTOBER))

    run()
    jobs.statements.given = [second]
    run()
    addresses = [address for address, _ in catcher.messages]
    assert sorted(addresses) == sorted(first.account.email_to * 2), "each once for each revision"
    subjects, links = [], []
    for _, data in catcher.messages:
        _, text = parts(data)
        subjects.append(re.search(rb"Subject: (.*?)\r\n(?!\s)", data, re.DOTALL)[1])
        links.append(
            re.search(r"https://statements.example.com/(\S+/index.html)\s", text.split("View the report:")[1])[1]
        )
    assert [b"Corrected:" in subject for subject in subjects] == [False, False, True, True]
    for (_, data), link, revision in zip(catcher.messages, links, (1, 1, 2, 2), strict=True):
        assert link == f"acct_again/2026-10/rev-{revision}/index.html"
        html = (tmp_path / "published" / link).read_text()
        assert f"revision {revision}" in html and (NEWS in html) == (revision == 2)
        assert (b"In-Reply-To: <usage.acct_again.2026-10.r1@tollbook.example>" in data) == (revision == 2)


def test_a_month_opened_again_long_after_is_mailed(tmp_path, catcher, statements):
    jobs = make_jobs(tmp_path, [made.replaced()], port=catcher.port, mail={"max_age_days": 3})
    list(Reports(jobs).publish(made.OCTOBER))
    assert [one.details for one in Reports(jobs).mail(made.OCTOBER)] == [{"too_old": 4}]
    jobs.statements.given = [replace(statements["revised"], closed_at="2026-11-04T09:00:00+00:00")]
    list(Reports(jobs).publish(made.OCTOBER))
    assert [one.done for one in Reports(jobs).mail(made.OCTOBER)] == [2]


def test_many_corrected_months_stay_readable():
    bare = made.statement([], held_monthly=lambda who, month: [])
    given = made.corrected_by(bare, *(
        made.fix(month, "number", "1", (None, None, None, "follows", 1, "1"), item=f"kind {n}", unit="number")
        for month in range(1, 10) for n in range(30)
    ))  # fmt: skip
    page = build(given)
    text = said(text_of(render(page)))
    assert "more $" in text or "more, in" in text
    html, _ = parts(message(page).as_bytes())
    assert "4 earlier months" in said(text_of(html))
    assert corrected.fewer(page.corrections.months[0], 4, lambda n: f"{n} more").rows[-1].amount == 27
