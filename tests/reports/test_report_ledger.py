"""Credits: the page's rows are the ledger's sums, lot by lot, and a ledger whose balances do not follow is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
import statements_made as made
from hypothesis import given
from hypothesis import strategies as st
from test_report_pages import render, text_of

from reports import charts, ledger, words
from reports.checks import DoesNotAddUp
from reports.formats import Formats
from reports.model import build

US = Formats("en_US", "USD")


def credits_of(*entries):
    return ledger.build("2026-10-acct", made.table("credits", made.moved(*entries)))


def test_an_account_without_credits_has_no_section(pages_by_name):
    assert pages_by_name["usual"].credits is None
    html = render(pages_by_name["usual"])
    assert 'id="credits"' not in html and "Credits left" not in text_of(html) and "allotment" not in html


def test_rows_are_what_came_and_what_went(pages_by_name):
    c = pages_by_name["rich"].credits
    assert [(r.label, r.simulated, r.allotment, r.bought, r.total) for r in c.rows] == [
        ("Opened with", False, 3_412, 5_620, 9_032),
        ("Granted by the plan", False, 10_000, None, 10_000),
        ("Packs added", False, None, 250, 250),
        ("Auto-recharges, reported", False, None, 5_000, 5_000),
        ("Auto-recharges", True, None, 5_000, 5_000),
        ("Used", False, -12_208, -13_990, -26_198),
        ("Lost at reset", False, -1_204, None, -1_204),
    ]
    assert (c.left_allotment, c.left_bought, c.left, c.overage, c.used, c.lost) == (0, 1_880, 1_880, 532, 26_198, 1_204)
    assert sum(row.total for row in c.rows) == c.left


def test_lots_say_what_was_bought_and_what_is_left(pages_by_name):
    c = pages_by_name["rich"].credits
    assert [
        (lot.lot, lot.bought_at.date(), lot.opened, lot.added, lot.used, lot.left, lot.simulated) for lot in c.lots
    ] == [
        ("pack-0812", date(2026, 8, 12), 620, 0, 620, 0, False),
        ("pack-0930", date(2026, 9, 30), 5_000, 0, 5_000, 0, False),
        ("goodwill-1006", date(2026, 10, 6), 0, 250, 250, 0, False),
        ("recharge-1024", date(2026, 10, 24), 0, 5_000, 5_000, 0, False),
        ("simulated-1028", date(2026, 10, 28), 0, 5_000, 3_120, 1_880, True),
    ]
    total = c.lot_total
    assert total.opened + total.added - total.used == total.left == c.left_bought


def test_the_page_says_it(pages_by_name):
    page = pages_by_name["rich"]
    text = text_of(render(page))
    lead = text[text.index("Credits The allotment was") :]
    assert lead.startswith("Credits The allotment was reset on October 15 and ran out on October 20; bought credits covered the rest as "
                           "far as there were any. 1,880 bought ones are left; they do not expire. 26,730 credits were needed "
                           "12,208 from the allotment 13,990 bought 532 charged as overage, $10.64 ")  # fmt: skip
    assert text.count("1,204 credits were lost at the reset of October 15.") == 1
    assert lead.count("simulated") == 2 and "simulated-1028" not in text, "the recharges and their lot"
    assert "Oct 28, 2026 simulated 14:05 UTC" in text and "Oct 24, 2026 recharge-1024" in text
    assert words.credits_brief(page, US) == "26,198 used, 1,204 lost at reset, 532 charged as overage, 1,880 left"


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([(1, "open", "allotment", 10), (1, "burn", "allotment", -1)],
         "1 credit was used, out of the allotment. 9 of the allotment are left until its next reset."),
        ([(1, "open", "a", 4), (1, "burn", "a", -3)],
         "3 credits were used, out of what was bought. 1 bought one is left; it does not expire."),
        ([(1, "open", "allotment", 10), (1, "open", "a", 5)],
         "No credits were used. 15 are left: 10 of the allotment until its next reset, and 5 bought, which do not expire."),
        ([(2, "grant", "allotment", 10), (2, "burn", "allotment", -10)],
         "The allotment was reset on October 2 and ran out on October 2. None are left."),
        ([(2, "grant", "allotment", 10), (2, "burn", "allotment", -10), (3, "overage", "overage", 5)],
         "The allotment was reset on October 2 and ran out on October 2; what followed is overage. None are left."),
        ([(1, "open", "allotment", 5), (1, "open", "a", 9), (4, "burn", "allotment", -5), (5, "burn", "a", -2),
          (9, "grant", "allotment", 5), (20, "burn", "allotment", -5), (21, "burn", "a", -1)],
         "The allotment ran out on October 4, was reset on October 9 and ran out again on October 20; bought credits covered "
         "the rest. 6 bought ones are left; they do not expire."),
        ([(2, "grant", "allotment", 1), (9, "expire", "allotment", -1)],
         "The allotment was reset on October 2. No credits were used. None are left."),
    ],
)  # fmt: skip
def test_sentences(entries, said):
    page = build(made.rich(ledger=made.moved(*entries)))
    assert words.credits_lead(page, US).replace("\u00a0", " ") == said


def test_credits_left_are_one_of_the_four_figures_and_drawn_day_by_day(pages_by_name):
    page = pages_by_name["rich"]
    figure = page.figures[3]
    assert (figure.label, figure.value, figure.change.before, figure.level, figure.months) == (
        "Credits left",
        1_880,
        9_032,
        True,
        (),
    )
    assert words.began(page, US, figure) == "9,032 when October began"
    chart = charts.levels(page, US)
    assert (
        len(chart.bars) == 31
        and chart.bars[0].title == "Oct\u00a01: 8,652 left"
        and chart.bars[-1].title == "Oct\u00a031: 1,880 left"
    )
    assert chart.bars[13].title == "Oct\u00a014: 7,074 left" and chart.bars[14].title == "Oct\u00a015: 6,770 left"
    assert pages_by_name["usual"].figures[3].label == "Call minutes"


def test_a_bar_of_where_credits_came_from_is_cut_in_proportion(pages_by_name):
    parts = charts.split(words.burned(pages_by_name["rich"], US))
    assert [part.kind for part in parts] == ["sent", "received", "over"]
    assert [round(part.x, 1) for part in parts] == [0, 45.7, 98.0] and parts[-1].x + parts[-1].width <= 100.01
    assert all(one.x + one.width < two.x for one, two in zip(parts, parts[1:], strict=False)), "they never touch"


def test_simulated_packs_are_known_by_the_ledger_not_by_their_name():
    def named(w, m):
        rows = [r for r in made.richly_held(w, m) if r["line"] != "credit_pack"]
        packs = [made.monthly(w, m, "credit_pack", f"5000 credits, {what}", 1, "pack", "50", rate_id=rate_id)
                 for what, rate_id in (("recharge", "sub_1"), ("pack (simulated)", "recharge-1024"))]  # fmt: skip
        return [*rows, *(packs if m == made.OCTOBER else [])]

    page = build(made.rich(held_monthly=named))
    rows = {row.label: row.simulated for row in page.products.rows if row.line == "credit_pack"}
    assert rows == {"5000 credits, recharge": True, "5000 credits, pack (simulated)": False}


@pytest.mark.parametrize(
    ("label", "said"),
    [("1000 credits", "1,000 credits"), ("5000 credits, recharge", "5,000 credits, recharge"), ("999 credits", "999 credits"),
     ("10000 credits", "10,000 credits"), ("Plan 2026", "Plan 2026"), ("1,000 credits", "1,000 credits"), ("X1000 credits", "X1000 credits")],
)  # fmt: skip
def test_counts_of_credits_in_names_have_thousands_marks(label, said):
    assert words.marked(label, US) == said
    assert words.marked("5000 credits", Formats("de_DE", "EUR")) == "5.000 credits"


def test_many_lots_become_few_rows_and_lose_nothing():
    bought = [datetime(2026, 10, 1, i, tzinfo=UTC) for i in range(23)]
    entries = [(1, "recharge", f"r{i:02}", 100, at, True) for i, at in enumerate(bought)]
    used = [(1, "burn", f"r{i:02}", -100, at) for i, at in enumerate(bought[:5])]
    c = credits_of(*entries, *used)
    assert len(c.lots) == ledger.LOTS_SHOWN
    assert [words.lot_name(lot) for lot in (c.lots[0], c.lots[-1])] == ["5 lots used up", "8 more lots"]
    for name in ("opened", "added", "used", "left", "count"):
        assert sum(getattr(lot, name) for lot in c.lots) == getattr(c.lot_total, name)
    assert c.lot_total.count == 23 and c.left == 1_800


MOVES = st.lists(
    st.tuples(
        st.integers(1, 31),
        st.sampled_from(["grant", "purchase", "recharge", "simulated", "burn", "expire", "overage"]),
        st.sampled_from(["allotment", "a", "b", "c"]),
        st.integers(1, 500),
    ),
    max_size=40,
)


def ledger_from(moves) -> list[dict]:
    """Moves in order of their days, as far as there are credits to take."""
    left = {"allotment": 7, "a": 3}
    entries = [(1, "open", "allotment", 7), (1, "open", "a", 3)]
    for day, entry, lot, size in sorted(moves, key=lambda m: m[0]):
        at = datetime(2026, 10, day, tzinfo=UTC)
        if entry == "overage":
            entries.append((day, entry, "overage", size))
        elif entry in ("burn", "expire"):
            size = min(size, left.get(lot, 0))
            if size:
                left[lot] -= size
                entries.append((day, entry, lot, -size))
        else:
            lot = "allotment" if entry == "grant" else "b" if lot == "allotment" else lot
            left[lot] = left.get(lot, 0) + size
            entries.append((day, entry.replace("simulated", "recharge"), lot, size, at, entry == "simulated"))
    return made.moved(*entries)


@given(MOVES)
def test_any_ledger_is_the_sum_of_its_entries(moves):
    rows = ledger_from(moves)
    c = ledger.build("2026-10-acct", made.table("credits", rows))

    def total(entry: str, part=None) -> int:
        chosen = [r for r in rows if r["entry"] == entry and part in (None, r["lot"] == "allotment")]
        return sum(r["credits"] for r in chosen)

    assert c.left == sum(total(e) for e in ("open", "grant", "purchase", "recharge", "burn", "expire"))
    assert (c.left_allotment, c.left_bought) == (rows[-1]["balance_allotment"], rows[-1]["balance_purchased"])
    assert (c.used, c.lost, c.overage) == (-total("burn"), -total("expire"), total("overage"))
    for row in c.rows:
        chosen = [
            r for r in rows if r["entry"] == row.entry and (row.entry != "recharge" or r["simulated"] == row.simulated)
        ]
        for part, shown in ((True, row.allotment), (False, row.bought)):
            mine = [r["credits"] for r in chosen if (r["lot"] == "allotment") == part]
            assert shown == (sum(mine) if mine else None)
    for lot in c.lots:
        assert lot.left == sum(r["credits"] for r in rows if r["lot"] == lot.lot and r["entry"] != "overage")
        assert lot.opened + lot.added - lot.used == lot.left


@given(MOVES, st.integers(0, 100), st.sampled_from(["balance_allotment", "balance_purchased"]), st.integers(1, 9))
def test_a_balance_that_is_off_is_refused(moves, which, name, by):
    rows = ledger_from(moves)
    rows[which % len(rows)][name] += by
    with pytest.raises(DoesNotAddUp, match="the ledger says"):
        ledger.build("2026-10-acct", made.table("credits", rows))


def test_a_lot_below_zero_is_refused():
    with pytest.raises(DoesNotAddUp, match="more credits were taken from a than there were"):
        credits_of((1, "open", "a", 3), (1, "open", "b", 9), (2, "burn", "a", -4))


def test_entries_nobody_knows_are_refused():
    rows = made.table("credits", made.moved((1, "open", "a", 3), (2, "gift", "a", 4)))
    with pytest.raises(DoesNotAddUp, match="unknown kind"):
        ledger.build("2026-10-acct", rows)
