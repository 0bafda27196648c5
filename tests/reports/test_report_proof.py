"""The proof on a page: sums formed again, our records against the provider's totals, every verdict with its reason."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
import statements_made as made
from hypothesis import given, settings
from hypothesis import strategies as st
from test_report_pages import TEMPLATES, _contrast, render, text_of

from etl.statement import RECONCILED
from reports import files, proof, words
from reports.formats import Formats
from reports.model import build
from reports.proof import DIFFERS, EXPLAINED, MATCH, NOT_COMPARED, Proof

F = Formats("en_US", "USD")
AMARA = ("member", "amara")
FEW = {"owners": [("member", "amara", "Amara")]}


def few(who) -> list[dict]:
    """Two days of October: 10 texts of 12 segments sent, 4 of 5 received, 2 MMS sent, 3 calls of 7 minutes."""
    first, second = date(2026, 10, 1), date(2026, 10, 2)
    return [
        made.text(first, who, AMARA, "outbound", 6, 8),
        made.text(second, who, AMARA, "outbound", 4, 4),
        made.text(second, who, AMARA, "inbound", 4, 5),
        made.text(second, who, AMARA, "outbound", 2, 0, "mms"),
        made.call(first, who, AMARA, "outbound", 3, 7 * 60),
    ]


def told(*rows: tuple) -> dict:
    """`compare=` of (day, category, count, ledger_count, quantity, ledger_quantity[, unpriced, verdict, why])."""

    def compare(_daily, _month) -> list[dict]:
        found = []
        for day, category, count, ledger_count, quantity, ledger_quantity, *more in rows:
            unpriced, verdict, why = more or (0, "ok", None)
            unit = {"sms": "segments", "mms": "messages"}.get(category[:3], "minutes")
            given = (
                date(2026, 10, day),
                category,
                count,
                ledger_count,
                quantity,
                ledger_quantity,
                unit,
                unpriced,
                verdict,
                why,
            )
            found.append(dict(zip(RECONCILED, given, strict=True)))
        return found

    return {"compare": compare}


AGREED = (
    (1, "calls-outbound", 3, 3, 7, 7), (1, "sms-outbound", 6, 6, 8, 8), (2, "mms-outbound", 2, 2, 2, 2),
    (2, "sms-inbound", 4, 4, 5, 5), (2, "sms-outbound", 4, 4, 4, 4),
)  # fmt: skip


def proved(*rows: tuple, **more) -> Proof:
    return build(made.statement(few, **FEW, **told(*rows), **more)).proof


def of(found: Proof) -> dict[str, tuple]:
    """What → (ours, theirs, difference, verdict), of the provider's side."""
    return {c.what: (c.ours, c.theirs, c.difference, c.verdict) for c in found.provider}


def check(found: Proof, begins: str) -> proof.Check:
    (one,) = [c for c in (*found.own, *found.provider) if c.what.startswith(begins)]
    return one


# ------------------------------------------------------------------------------------------------ against itself


def test_every_made_account_is_proved(each):
    page = build(each)
    assert {c.verdict for c in page.proof.own} <= {MATCH, EXPLAINED}
    assert all(c.ours == c.theirs and c.difference == 0 for c in page.proof.own if c.ours is not None)
    assert page.proof.own[0].ours == page.total.now
    assert page.proof.count(DIFFERS) == 0


def test_sums_are_formed_again_from_what_is_shown(statements):
    """Change one shown row behind the report's back: the check that adds it up says so."""
    good = statements["rich"]
    page = build(good)

    def differing(**changes) -> list[str]:
        return [c.what for c in proof.build(replace(page, **changes), good).own if c.verdict == DIFFERS]

    one = Decimal("0.01")
    row = page.charges[0]
    part = replace(row.parts[0], amount=row.parts[0].amount + one)
    assert differing(charges=(replace(row, parts=(part, *row.parts[1:])), *page.charges[1:])) == [
        "Charge lines + taxes + rounding difference = total"
    ]
    taxes = page.taxes[0].parts
    more = replace(page.taxes[0], parts=(replace(taxes[0], amount=taxes[0].amount - one), *taxes[1:]))
    assert len(differing(taxes=(more, *page.taxes[1:]))) == 1
    assert differing(rounding=page.rounding + one) == ["Charge lines + taxes + rounding difference = total"]

    day = page.days[4]
    dearer = replace(day, usage=replace(day.usage, charge=day.usage.charge + Decimal("1e-9")))
    assert differing(days=(*page.days[:4], dearer, *page.days[5:])) == ["Days + charges by the month = charge lines"]
    longer = replace(day, usage=replace(day.usage, outbound_segments=day.usage.outbound_segments + 1))
    assert differing(days=(*page.days[:4], longer, *page.days[5:])) == ["Segments of all days = month"]
    assert differing(monthly=page.monthly[1:]) == ["Days + charges by the month = charge lines"]

    member = page.members.rows[0]
    fewer = replace(member, usage=replace(member.usage, inbound_segments=member.usage.inbound_segments - 1))
    table = replace(page.members, rows=(fewer, *page.members.rows[1:]))
    assert differing(members=table) == ["Segments of members + shared inboxes + unassigned = month"]
    cheaper = replace(page.members, rows=(replace(member, by_month=Decimal(0)), *page.members.rows[1:]))
    assert differing(members=cheaper) == ["Charges of members + shared inboxes + unassigned + account = charge lines"]
    assert differing(carriers=page.carriers[1:]) == ["Carrier fees by carrier = carrier fees"]
    assert differing(products=replace(page.products, rows=page.products.rows[1:])) == [
        "Products, one by one = their total"
    ]
    assert differing(credits=replace(page.credits, left_bought=page.credits.left_bought - 1)) == [
        "Credits opened with + added − used − lost = left"
    ]


@settings(max_examples=25, deadline=None)
@given(at=st.integers(0, 10_000), by=st.integers(-9, 9).filter(bool))
def test_no_owner_or_day_can_be_off_by_a_segment(at, by):
    page = build(_rich())
    rows = page.members.rows
    i, d = at % len(rows), at % len(page.days)
    off = replace(rows[i], usage=replace(rows[i].usage, outbound_segments=rows[i].usage.outbound_segments + by))
    table = replace(page.members, rows=(*rows[:i], off, *rows[i + 1 :]))
    days = list(page.days)
    days[d] = replace(days[d], usage=replace(days[d].usage, inbound_segments=days[d].usage.inbound_segments + by))
    found = proof.build(replace(page, members=table, days=tuple(days)), _rich())
    wrong = [c for c in found.own if c.verdict == DIFFERS]
    assert [c.difference for c in wrong] == [-by, -by] and all(c.what.endswith("= month") for c in wrong)


_made = []


def _rich():
    if not _made:
        _made.append(made.rich())
    return _made[0]


def test_credits_used_are_those_the_texts_took(statements):
    found = build(statements["rich"]).proof
    used = check(found, "Credits used + not covered")
    # LEDGER: 380 + 1,828 + 9,100 + 900 + 620 + 2,480 + 2,520 + 250 + 3,410 + 1,590 + 3,120 used, 532 not covered
    assert (used.ours, used.theirs, used.verdict) == (26_730, 26_730, MATCH)
    more = statements["rich"].daily.with_columns(
        credits=pl.col("credits") + (pl.int_range(pl.len()) == pl.len() - 1).cast(pl.Int64)
    )
    assert (
        check(
            proof.build(build(statements["rich"]), replace(statements["rich"], daily=more)), "Credits used"
        ).difference
        == -1
    )


@pytest.mark.parametrize(
    ("first", "ours"),
    [((1, "open", "lot", 50), 21), ((2, "grant", "allotment", 50), 13), ((1, "purchase", "lot", 50), 13)],
)
def test_a_ledger_that_begins_inside_the_month_is_held_to_its_whole_days(first, ours):
    """8 credits on the 1st, 4 + 5 + 4 on the 2nd (the MMS take none here)."""
    burns = {21: ((1, "burn", first[2], -8), (2, "burn", first[2], -13)), 13: ((2, "burn", first[2], -13),)}[ours]
    extra = () if first[1] != "purchase" else ((1, "burn", first[2], -3),)
    rows = lambda who: [*few(who), made.text(date(2026, 10, 2), who, AMARA, "inbound", 4, 4)]  # noqa: E731
    page = build(made.statement(rows, **FEW, ledger=made.moved(first, *extra, *burns)))
    used = check(page.proof, "Credits used = credits of all texts")
    assert (used.ours, used.theirs, used.verdict) == (ours, ours, MATCH)


def test_segments_counted_otherwise_are_explained_and_billed_as_the_provider_says():
    rows = lambda who: [r | ({"segments_differ": 2} if i == 0 else {}) for i, r in enumerate(few(who))]  # noqa: E731
    page = build(made.statement(rows, **FEW, **told(*AGREED)))
    found = check(page.proof, "Our segments")
    assert (found.ours, found.theirs, found.difference, found.verdict) == (None, None, 2, EXPLAINED)
    assert words.proof_reason(found.reasons[0], F).endswith("the provider’s count is billed.")
    assert words.proof_lead(page, F).endswith("match to the unit and the cent, one difference is explained.")


# ------------------------------------------------------------------------------------------------ against the provider


def test_by_hand_everything_agrees():
    found = proved(*AGREED)
    assert of(found) == {
        "Texts sent": (12, 12, 0, MATCH), "Segments sent": (12, 12, 0, MATCH), "Texts received": (4, 4, 0, MATCH),
        "Segments received": (5, 5, 0, MATCH), "Outbound calls": (3, 3, 0, MATCH), "Outbound minutes": (7, 7, 0, MATCH),
    }  # fmt: skip
    tied = check(found, "Texts of this report")
    assert (tied.ours, tied.theirs, tied.verdict) == (16, 16, MATCH)
    page = build(made.statement(few, **FEW, **told(*AGREED)))
    assert words.proof_lead(page, F) == "13 checks ran. All match to the unit and the cent."


def test_records_without_a_price_explain_what_the_provider_has_more():
    waiting = (2, "sms-outbound", 3, 4, 3, 4, 1, "explained", "some records have no price yet")
    found = proved(*(row for row in AGREED if row[:2] != waiting[:2]), waiting)
    assert of(found)["Texts sent"] == (11, 12, -1, EXPLAINED)
    assert of(found)["Segments sent"] == (11, 12, -1, EXPLAINED)
    assert of(found)["Texts received"][-1] == MATCH
    assert check(found, "Texts of this report").verdict == MATCH, "it waits, and it is on the report"
    assert (
        words.proof_reason(check(found, "Texts sent").reasons[0], F)
        == "Oct\u00a02: 1 record has no provider price yet."
    )


def test_a_difference_without_a_reason_differs_and_names_its_days():
    days = range(3, 8)
    more = [(d, "sms-inbound", 1, 2, 1, 2, 0, "unexplained", "the number of records differs") for d in days]
    found = check(proved(*AGREED, *more), "Texts received")
    assert (found.ours, found.theirs, found.difference, found.verdict) == (9, 14, -5, DIFFERS)
    assert (
        words.proof_reason(found.reasons[0], F)
        == "Oct\u00a03, Oct\u00a04, Oct\u00a05 and 2 more: the number of records differs."
    )


def test_two_days_that_cancel_out_still_differ():
    more = [
        (3, "calls-inbound", 1, 2, 1, 1, 0, "unexplained", "the number of records differs"),
        (4, "calls-inbound", 2, 1, 1, 1, 0, "unexplained", "the number of records differs"),
    ]
    found = proved(*AGREED, *more)
    assert of(found)["Inbound calls"] == (3, 3, 0, DIFFERS)
    assert of(found)["Inbound minutes"] == (2, 2, 0, MATCH), "the minutes are equal on each of these days"


def test_explained_and_unexplained_days_are_told_apart():
    more = [
        (3, "recordings", 1, 2, 3, 4, 1, "explained", "some records have no price yet"),
        (4, "recordings", 2, 2, 6, 9, 0, "unexplained", "minutes differ"),
    ]
    found = proved(*AGREED, *more)
    assert check(found, "Recordings").verdict == EXPLAINED
    minutes = check(found, "Recorded minutes")
    assert (minutes.difference, minutes.verdict) == (-4, DIFFERS)
    assert [words.proof_reason(r, F) for r in minutes.reasons] == [
        "Oct\u00a04: minutes differ.", "Oct\u00a03: 1 record has no provider price yet.",
    ]  # fmt: skip


def test_segments_are_not_compared_where_the_provider_counts_messages():
    found = build(made.statement(few, **FEW, **told(*AGREED)))
    rows = made.statement(few, **FEW, **told(*AGREED))
    counted = rows.reconciled.with_columns(
        usage_unit=pl.lit("messages"), ledger_quantity=pl.col("ledger_count"), quantity=pl.col("quantity")
    )
    shown = of(proof.build(found, replace(rows, reconciled=counted)))
    assert "Segments sent" not in shown and shown["Texts sent"][-1] == MATCH


def test_days_that_were_not_compared_are_named_and_left_out():
    found = proved(*(row for row in AGREED if row[0] == 1), uncompared=(date(2026, 10, 2), date(2026, 10, 3)))
    assert of(found)["Segments sent"] == (8, 8, 0, MATCH) and "Segments received" not in of(found)
    tied = check(found, "Texts of this report")
    assert (tied.ours, tied.theirs, tied.verdict) == (6, 6, MATCH), "over the days compared"
    lacking = check(found, "Days not compared")
    assert lacking.verdict == NOT_COMPARED and words.proof_reason(lacking.reasons[0], F) == "Oct\u00a02 and Oct\u00a03"
    page = build(made.statement(few, **FEW, **told(*AGREED[:2]), uncompared=(date(2026, 10, 2),)))
    assert words.proof_caption(page) == "Our records against the provider’s own totals, 30 of 31 days"


def test_a_month_that_was_never_compared_says_so():
    page = build(made.statement(few, **FEW, **told(), uncompared=tuple(made.OCTOBER.days)))
    (only,) = page.proof.provider
    assert only.verdict == NOT_COMPARED
    assert words.proof_reason(only.reasons[0], F) == "Oct\u00a01, Oct\u00a02, Oct\u00a03 and 28 more"
    assert not [c for c in page.proof.own if c.what.startswith("Texts of this report")]
    assert words.proof_lead(page, F).endswith(
        "All match to the unit and the cent. The provider’s totals are not compared."
    )


def test_an_account_without_a_provider_account_of_its_own_says_why():
    page = build(made.statement(few, **FEW, **told(), own_provider=False))
    (only,) = page.proof.provider
    said = words.proof_reason(only.reasons[0], F)
    assert "No provider account is this account’s alone, so the provider’s totals cannot be set against" in said
    assert said in text_of(render(page)) and only.verdict == NOT_COMPARED
    assert words.proof_lead(page, F).endswith("The provider’s totals are not compared.")
    assert "reconciliation.csv" not in {f.name for f in files.make(page)}


def test_a_month_closed_before_comparisons_were_kept_says_so():
    page = build(made.statement(few, **FEW, **told(), own_provider=False, comparison_kept=False))
    (only,) = page.proof.provider
    said = words.proof_reason(only.reasons[0], F)
    assert "closed before comparisons were kept" in said and said in text_of(render(page))


def test_a_source_without_totals_is_not_compared_and_not_zero():
    silent = (2, "sms-inbound", 4, None, 5, None, 0, "no totals", "the source gives no totals")
    found = proved(*(row for row in AGREED if row[:2] != silent[:2]), silent)
    assert "Texts received" not in of(found)
    row = check(found, "Records of a source that gives no totals")
    assert (row.verdict, row.reasons[0].days) == (NOT_COMPARED, (date(2026, 10, 2),))
    assert check(found, "Texts of this report").verdict == MATCH
    page = build(made.statement(few, **FEW, **told(*AGREED[:3], silent, AGREED[4])))
    cells = [r for r in _read(page) if r["verdict"] == "no totals"]
    assert [(r["ledger_count"], r["ledger_quantity"], r["count"]) for r in cells] == [("", "", "4")]


@pytest.mark.parametrize(
    ("count", "said"),
    [(9, "texts of the provider account that are not in this report"), (2, "texts of this report that are not of its")],
)
def test_texts_of_another_statement_are_seen(count, said):
    """A number of the provider account that is billed to somebody else, or the other way round."""
    found = proved(*(row for row in AGREED if row[:2] != (2, "sms-inbound")), (2, "sms-inbound", count, count, 5, 5))
    tied = check(found, "Texts of this report")
    assert (tied.ours, tied.theirs, tied.verdict) == (16, 12 + count, DIFFERS)
    assert said in tied.reasons[0].text


def test_records_that_vanished_stay_on_the_report_and_in_no_total():
    rows = lambda who: [r | ({"vanished": 3} if i == 0 else {}) for i, r in enumerate(few(who))]  # noqa: E731
    less = [(1, "sms-outbound", 3, 3, 4, 4), *(row for row in AGREED if row[:2] != (1, "sms-outbound"))]
    tied = check(build(made.statement(rows, **FEW, **told(*less))).proof, "Texts of this report")
    assert (tied.ours, tied.theirs, tied.verdict) == (16, 16, MATCH)


_counts = st.integers(0, 3)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 31), st.sampled_from(["sms-outbound", "mms-outbound", "calls-inbound", "recordings"]),
                  _counts, _counts, _counts, _counts, _counts,
                  st.sampled_from(["ok", "explained", "unexplained", "no totals"])),
        max_size=12, unique_by=lambda r: r[:2],
    )
)  # fmt: skip
def test_what_is_shown_is_the_sum_of_the_rows_and_a_match_has_no_differing_day(drawn):
    rows = [
        (*r[:7], "ok" if r[7] == "ok" and r[2:5:2] == r[3:6:2] else "unexplained" if r[7] == "ok" else r[7], "because")
        for r in drawn
    ]
    frame = pl.DataFrame(told(*rows)["compare"](None, None), schema=RECONCILED)
    found = proof.build(_page(), replace(_statement(), reconciled=frame))
    for what, categories, column in proof._MEASURES:
        mine = [r for r in frame.iter_rows(named=True) if r["category"] in categories and r["verdict"] != "no totals"
                and (column == "count" or r["usage_unit"] != "messages")]  # fmt: skip
        ours, theirs = (sum(r[name] for r in mine) for name in (column, f"ledger_{column}"))
        differ = {r["verdict"] for r in mine if r[column] != r[f"ledger_{column}"]}
        verdict = MATCH if not differ else EXPLAINED if differ == {"explained"} else DIFFERS
        none = not any(r[column] or r[f"ledger_{column}"] for r in mine)
        assert of(found).get(what) == (None if none else (ours, theirs, ours - theirs, verdict))


def _statement():
    if len(_made) < 2:
        _rich()
        _made.append(made.statement(few, **FEW, **told(*AGREED)))
    return _made[1]


def _page():
    if len(_made) < 3:
        _made.append(build(_statement()))
    return _made[2]


# ------------------------------------------------------------------------------------------------ page and file


def _read(page) -> list[dict]:
    (file,) = [f for f in files.make(page) if f.name == "reconciliation.csv"]
    return list(csv.DictReader(io.StringIO(file.data.decode(), newline="")))


def test_the_page_shows_every_check_with_both_figures_and_its_verdict_in_words(each):
    page = build(each)
    f = Formats(page.locale, page.currency)
    html = re.search(r'<section id="reconciliation".*?</section>', render(page), flags=re.DOTALL)[0]
    rows = [
        [text_of(cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL)]
        for row in re.findall(r"<tr>(.*?)</tr>", html, flags=re.DOTALL)
    ]
    shown = [r for r in rows if r[0] != "Check"]
    checks = [*page.proof.own, *page.proof.provider]
    assert len(shown) == len(checks) > 0
    for (what, ours, theirs, difference, verdict), c in zip(shown, checks, strict=True):
        figures = [words.proof_figure(n, c, f).replace("\u00a0", " ") for n in (c.ours, c.theirs)]
        assert what.startswith(c.what) and [ours, theirs] == figures
        assert difference == words.proof_difference(c, f).replace("\u00a0", " ")
        assert verdict.endswith(words.VERDICTS[c.verdict]), "said in words, not by colour alone"
    green, amber = html.count('class="tag good"'), html.count('class="tag warn"')
    assert (green, amber) == (page.proof.count(MATCH), page.proof.count(DIFFERS))
    assert words.proof_lead(page, f).replace("\u00a0", " ") in text_of(html)


def test_a_difference_is_amber_and_has_a_shape():
    found = [*AGREED, (3, "recordings", 2, 1, 2, 2, 0, "unexplained", "the number of records differs")]
    html = render(build(made.statement(few, **FEW, **told(*found))))
    assert html.count('<span class="tag warn"><span aria-hidden="true">≠ </span>Differs</span>') == 1
    assert ">+1<" in html and 'href="#reconciliation"' in html


def test_the_file_has_every_row_and_no_cost(each):
    page = build(each)
    rows = each.reconciled
    if rows.is_empty():
        assert "reconciliation.csv" not in {f.name for f in files.make(page)}
        return
    read = _read(page)
    assert list(read[0]) == ["position", *RECONCILED]
    assert [(r["date"], r["category"], r["verdict"]) for r in read] == [
        (d.isoformat(), c, v) for d, c, v in rows.select("date", "category", "verdict").iter_rows()
    ]
    for column in ("count", "ledger_count", "quantity", "ledger_quantity", "unpriced"):
        assert sum(int(r[column] or 0) for r in read) == rows[column].sum()


def test_leads_count_in_words():
    def lead(matching: int, explained: int, differ: int) -> str:
        own = [
            proof.Check("x", verdict)
            for verdict, n in ((MATCH, matching), (EXPLAINED, explained), (DIFFERS, differ))
            for _ in range(n)
        ]
        return words.proof_lead(replace(_page(), proof=Proof(tuple(own), (), 1, 1)), F)

    assert lead(8, 1, 0) == "Nine checks ran: eight match to the unit and the cent, one difference is explained."
    assert lead(7, 2, 1) == (
        "Ten checks ran: seven match to the unit and the cent, two differences are explained, one is not explained."
    )
    assert lead(1, 0, 2) == "Three checks ran: one matches to the unit and the cent, two differences are not explained."
    assert lead(3, 0, 0) == "Three checks ran. All match to the unit and the cent."
    yen = words.proof_lead(build(made.yen()), Formats("ja_JP", "JPY"))
    assert yen.endswith("All match exactly.")


def test_exact_amounts_keep_every_decimal():
    assert F.exact(Decimal("476.462439333")) == "$476.462439333"
    assert (F.exact(Decimal("12.500000000")), F.exact(Decimal("-0.1"))) == ("$12.50", "−$0.10")
    assert Formats("en_US", "JPY").exact(Decimal("7E+2")) == "¥700"


def test_its_colours_can_be_told_apart():
    css = (Path(TEMPLATES) / "style.css").read_text()
    tokens = re.findall(r"--green:(#\w+);--green-bg:(#\w+)", css)
    assert len(tokens) >= 2 and all(_contrast(ink, ground) >= 4.5 for ink, ground in tokens)
