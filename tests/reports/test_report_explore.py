"""The explorer: its data adds up however it is cut, and a browser shows and exports what Python computes."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
import statements_made as made
from hypothesis import given, settings
from hypothesis import strategies as st
from test_report_pages import render

from etl.periods import Month, iso_week
from reports import charts, explore, files, pages, views
from reports.explore import COUNTS, FIGURES, Explorer, Series
from reports.formats import Formats
from reports.model import Page, build

OCTOBER = (date(2026, 10, 1), date(2026, 10, 31))
WIDEST = 12_000
"""Bytes the script may have."""


# ------------------------------------------------------------------------------------------------ any explorer

_values = st.one_of(st.just(0), st.integers(0, 40), st.integers(0, 10**7))
_names = st.text(max_size=12)


@st.composite
def explorers(draw, first: date = date(2026, 1, 1), most: int = 40) -> Explorer:
    days = draw(st.integers(1, most))
    states = "".join(draw(st.lists(st.sampled_from("cccciu"), min_size=days, max_size=days)))
    keys = draw(
        st.lists(st.tuples(st.sampled_from(["member", "inbox"]), st.sampled_from("abcdef")), unique=True, max_size=6)
    )
    keys += [("unassigned", "unassigned")] * draw(st.booleans())
    series = []
    for kind, owner_id in keys:
        figures = {}
        for n in FIGURES:
            row = draw(st.lists(_values, min_size=days, max_size=days)) if draw(st.booleans()) else [0] * days
            figures[n] = tuple(0 if state == "u" else v for v, state in zip(row, states, strict=True))
        if any(map(any, figures.values())):
            series.append(Series(kind, owner_id, draw(_names), figures))
    begin = first + timedelta(days=draw(st.integers(0, 400)))
    shown = (begin, begin + timedelta(days=days - 1))
    return Explorer(begin, days, states, explore._sorted(series), shown)


def totals(e: Explorer) -> dict[str, int]:
    return {n: sum(sum(s.figures[n]) for s in e.series) for n in FIGURES}


@settings(max_examples=50, deadline=None)
@given(explorers())
def test_the_compact_form_gives_everything_back(e):
    text = json.dumps(explore.pack(e), separators=(",", ":"))
    assert explore.unpack(json.loads(text)) == e
    drawn = pages.environment().from_string("{{ e|tojson }}").render(e=explore.pack(e))
    assert explore.size(e) == len(drawn.encode()), "as many bytes as on the page"


@settings(max_examples=30, deadline=None)
@given(explorers(), explorers(date(2027, 4, 1)), explorers(date(2028, 7, 1)))
def test_parts_are_joined_without_loss(a, b, c):
    whole = explore.join([c, a, b])
    assert {n: sum(totals(p)[n] for p in (a, b, c)) for n in FIGURES} == totals(whole)
    assert (whole.first, whole.last) == whole.shown == (a.first, c.last)
    known = sum(len(p.states.replace("u", "")) for p in (a, b, c))
    assert len(whole.states.replace("u", "")) == known, "days between two parts are unknown"
    for part in (a, b, c):
        again = explore.within(whole, part.first, part.last)
        assert {(s.kind, s.owner_id): s.figures for s in again.series} == {
            (s.kind, s.owner_id): s.figures for s in part.series
        }
    newest = {(s.kind, s.owner_id): s.name for p in (a, b, c) for s in p.series}
    assert {(s.kind, s.owner_id): s.name for s in whole.series} == newest


def test_parts_that_share_a_day_are_refused():
    one = Explorer(*OCTOBER[:1], 31, "c" * 31, (), OCTOBER)
    with pytest.raises(ValueError, match="two parts have 2026-10-31"):
        explore.join([one, replace(one, first=OCTOBER[1])])
    with pytest.raises(ValueError, match="nothing to join"):
        explore.join([])


@settings(max_examples=40, deadline=None)
@given(explorers(), st.integers(0, 3000))
def test_fewer_people_are_the_same_sums_in_fewer_bytes(e, limit):
    small = explore.fewer(e, limit)
    assert totals(small) == totals(e)
    for kind in ("member", "inbox", "unassigned"):
        before, now = ([s for s in x.series if s.kind == kind] for x in (e, small))
        assert sum(s.people for s in now) == len(before)
        assert sum(s.total("segments") for s in now) == sum(s.total("segments") for s in before)
    assert explore.size(small) <= limit or all(s.merged or s.kind == "unassigned" for s in small.series if s.people > 1)
    if explore.size(e) <= limit:
        assert small == e
    if explore.size(explore.fewer(e, 0)) <= limit:
        assert explore.size(small) <= limit


@settings(max_examples=40, deadline=None)
@given(explorers(), st.data())
def test_every_view_adds_up_to_the_account(e, data):
    first, last = (e.first + timedelta(days=data.draw(st.integers(0, e.days - 1))) for _ in range(2))
    by, count = data.draw(st.sampled_from(explore.BY)), data.draw(st.sampled_from(COUNTS))

    def whole(show: str, name: str) -> int:
        return sum(row[name] or 0 for row in explore.rows(e, by, count, show, first, last))

    total = whole("total", count)
    unassigned = sum(s.total(count) for s in explore.within(e, first, last).series if s.kind == "unassigned")
    assert total == whole("sent", f"{count}_sent") + whole("received", f"{count}_received")
    assert total == whole("members", count) + whole("inboxes", count) + unassigned
    rows = explore.rows(e, by, count, "total", first, last)
    assert rows[0]["period_start"] == min(first, last) and rows[-1]["period_end_exclusive"] == max(
        first, last
    ) + timedelta(1)
    assert all(a["period_end_exclusive"] == b["period_start"] for a, b in zip(rows, rows[1:], strict=False))
    for row in rows:
        start = (row["period_start"] - e.first).days
        assert row["days_missing"] == e.states[start : start + row["days"]].count("u")
        assert (row[count] is None) == (row["days_missing"] == row["days"]), "unknown is not zero"


# ------------------------------------------------------------------------------------------------ of a statement


def slow(days: list[dict], by: str, count: str, show: str, first: date, last: date) -> dict[tuple, int]:
    """(period, owner kind and id) → figure, row by row from the statement's own days."""
    named = {"day": date.isoformat, "week": iso_week, "month": lambda day: f"{day:%Y-%m}"}[by]
    kind = {"members": "member", "inboxes": "inbox"}.get(show)
    ways = {"sent": ("outbound",), "received": ("inbound",)}.get(show, ("outbound", "inbound"))
    found: dict[tuple, int] = {}
    for row in days:
        if first <= row["date"] <= last and row["direction"] in ways and (kind is None or row["owner_kind"] == kind):
            key = (named(row["date"]), *((row["owner_kind"], row["owner_id"]) if kind else ()))
            found[key] = found.get(key, 0) + row[count]
    return {key: value for key, value in found.items() if value}


def choices(seed: int, e: Explorer, many: int) -> list[tuple]:
    """Made-up views: (by, count, show, first, last)."""
    chance = random.Random(seed)
    found = []
    for i in range(many):
        first, last = sorted(e.first + timedelta(days=chance.randrange(e.days)) for _ in range(2))
        if i % 3 == 0:
            month = chance.choice(e.months)
            first, last = explore.clamped(e, month.first, month.days[-1])
        found.append((chance.choice(explore.BY), chance.choice(COUNTS), explore.SHOW[i % 5], first, last))
    return found


@pytest.mark.parametrize(
    ("name", "many"), [("open", 15), ("rich", 15), ("crowd", 5), ("first_month", 5), ("stopped", 5)]
)
def test_views_are_sums_of_the_statements_days(statements, pages_by_name, name, many):
    e = pages_by_name[name].explorer
    days = statements[name].daily.select("date", "direction", "owner_kind", "owner_id", *COUNTS).to_dicts()
    for by, count, show, first, last in choices(7, e, many):
        column = f"{count}_{show}" if show in ("sent", "received") else count
        shown = {
            (row["period"], *((row["owner_kind"], row["owner_id"]) if "owner_id" in row else ())): row[column]
            for row in explore.rows(e, by, count, show, first, last)
            if row[column]
        }
        assert shown == slow(days, by, count, show, first, last)


def test_days_are_complete_incomplete_or_unknown(pages_by_name):
    e = pages_by_name["open"].explorer
    october = dict(zip(Month(2026, 10).days, e.states[-31:], strict=True))
    assert set(e.states[:-31]) == {"c"}
    assert {d.day for d, state in october.items() if state == "u"} == {7, *range(18, 32)}
    late = replace(made.open_month(), held=("day missing: 2026-10-05 of twilio",))
    assert build(late).explorer.states[-31 + 4] == "i", "it has usage and may get more"
    rows = explore.rows(e, "week", "segments", "total", *OCTOBER)
    assert [(row["days"], row["days_missing"]) for row in rows] == [(4, 0), (7, 1), (7, 1), (7, 7), (6, 6)]
    assert rows[-1]["segments"] is None and rows[1]["segments"] > 0


def test_the_page_opens_on_its_month_and_everybody_is_there(each):
    page = build(each)
    e = page.explorer
    assert e.shown == (page.month.first, page.month.days[-1]) and e.last == page.month.days[-1]
    inside = explore.within(e, *e.shown)
    names = {(r.kind, r.owner_id): r.name for t in (page.members, page.inboxes) for r in t.rows}
    for s in inside.series:
        assert names.get((s.kind, s.owner_id), s.name) == s.name
    assert sum(s.total("segments") for s in inside.series) == page.usage.segments


def test_credits_are_written_only_where_they_differ():
    same = build(made.statement()).explorer
    rows = made.frame(made.usual(made.account())).with_columns(credits=pl.col("segments") * 2).to_dicts()
    double = build(made.statement(rows)).explorer
    assert all(len(s) <= 8 for s in explore.pack(same)["series"] if s[0] == "unassigned")
    assert sum(s.total("credits") for s in double.series) == 2 * sum(s.total("credits") for s in same.series)
    assert explore.size(double) > explore.size(same) * 1.2


def test_forty_people_and_six_months_fit_a_page_and_two_hundred_do_not_break_it(pages_by_name):
    people = [(f"m{i}", f"Member with a name, number {i}") for i in range(40)]
    owners = [("member", *m) for m in people] + [("inbox", *b) for b in made.INBOXES]
    page = build(made.statement(lambda who: made.usual(who, members=people), owners=owners))
    assert explore.size(page.explorer) < 60_000
    assert len(render(page).encode()) < pages.LIMIT
    crowd = pages_by_name["crowd"]
    long = explore.join(
        replace(explore.within(crowd.explorer, *crowd.explorer.shown), first=m.first, shown=(m.first, m.days[-1]))
        for m in Month(2026, 12).last(24)
        if len(m.days) == 31
    )
    assert explore.size(long) > 200_000 >= explore.size(explore.fewer(long, 200_000))


# ------------------------------------------------------------------------------------------------ the page as text


def test_only_pages_with_the_explorer_allow_its_script(pages_by_name):
    html, none = render(pages_by_name["usual"]), render(pages_by_name["no_usage"])
    assert pages.script()[1].replace("'", "&#39;") in html and "script-src" not in none and "<script" not in none
    assert pages.policy(scripted=True).count("script-src") == 1 and "unsafe" not in pages.policy(scripted=True)
    assert 'class="explorer"' not in none


def test_the_script_is_small_and_makes_no_markup_from_text():
    text, _ = pages.script()
    assert len(text.encode()) < WIDEST
    source = (pages.TEMPLATES / "explore.js").read_text(encoding="utf-8")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function\(|fetch|XMLHttp|</script|<!--", source
    )


def test_controls_are_hidden_until_the_script_runs(pages_by_name):
    html = render(pages_by_name["usual"])
    section = html[html.index('class="explorer"') :]
    assert re.search(r'<form class="controls"[^>]* hidden>', section) and '<button type="button" hidden>' in section
    assert "October\u00a02026: 14,955 segments, 12,408 sent and 2,547 received." in html
    assert '<option value="2026-10-01/2026-10-31" selected>October\u00a02026' in section
    assert '<option value="2026-05-01/2026-10-31">All 6 months' in section


# ------------------------------------------------------------------------------------------------ in a browser


def as_csv(e: Explorer, by: str, count: str, show: str, first: date, last: date) -> bytes:
    """What the browser should export, made by Python's own CSV writer."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(explore.columns(count, show))
    for row in explore.rows(e, by, count, show, first, last):
        cells = {name: "" if value is None else str(value) for name, value in row.items()}
        cells |= {name: files.neutralise(cells[name]) for name in ("owner_id", "owner_name") if name in cells}
        writer.writerow(cells.values())
    return buffer.getvalue().encode()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory, pages_by_name):
    """Month pages as files, each written when it is first asked for."""
    root = tmp_path_factory.mktemp("explored")

    def path(page: Page | str | views.View) -> Path:
        if isinstance(page, views.View):
            alone = '{% extends "base.html.j2" %}{% block body %}<main><h1>x</h1>{{ x.explorer(explored) }}</main>{% endblock %}'
            env = pages.environment()
            template = env.from_string('{% import "explore.html.j2" as x %}' + alone)
            own = {"css": pages.style()[0], "script": pages.script()[0], "policy": pages.policy(scripted=True)}
            (root / "alone.html").write_text(template.render(explored=page, **own), encoding="utf-8")
            return root / "alone.html"
        page = pages_by_name[page] if isinstance(page, str) else page
        file = root / f"{page.account_id}-{page.locale}-{page.state}.html"
        file.write_text(render(page), encoding="utf-8")
        return file

    return path


@pytest.fixture
def visit(chromium, drawn):
    """Open a page; its ``heard`` are requests, console lines, errors and violations of its policy."""
    contexts = []

    def open_(page: Page | str, width: int = 1280, scheme: str = "light", **options):
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True, **options
        )
        contexts.append(context)
        tab = context.new_page()
        tab.heard = []
        tab.on("request", lambda r: tab.heard.append(r.url))
        tab.on("console", lambda m: tab.heard.append(m.text))
        tab.on("pageerror", lambda e: tab.heard.append(str(e)))
        tab.add_init_script(
            """addEventListener('securitypolicyviolation', e => console.log('violation ' + e.violatedDirective));
            window.changes = 0;
            new MutationObserver(all => { for (const m of all) if (m.target.closest?.('.explorer')
                && document.readyState !== 'loading') window.changes++ })
                .observe(document, {childList: true, characterData: true, subtree: true})"""
        )
        url = drawn(page).as_uri()
        tab.goto(url)
        tab.heard.remove(url)
        return tab

    yield open_
    for context in contexts:
        context.close()


def choose(tab, by: str, count: str, show: str, first: date, last: date) -> None:
    """What a reader chooses, without the way there."""
    wanted = {"by": by, "count": count, "show": show, "first": first.isoformat(), "last": last.isoformat()}
    tab.evaluate(
        """wanted => { const form = document.querySelector('.controls');
        for (const name in wanted) { form.elements[name].value = wanted[name];
            const one = [...form.querySelectorAll(`[name=${name}]`)].find(e => e.type !== 'radio' || e.checked);
            one.dispatchEvent(new Event('change', {bubbles: true})) }
        form.elements.last.dispatchEvent(new Event('focusout', {bubbles: true})) }""",
        wanted,
    )


def exported(tab) -> tuple[str, bytes]:
    """Name and bytes of what the button makes, without a file on disk."""
    name, data = tab.evaluate(
        """async () => { const [make, click] = [URL.createObjectURL, HTMLAnchorElement.prototype.click]; let blob, name;
        URL.createObjectURL = b => make(blob = b);
        HTMLAnchorElement.prototype.click = function () { name = this.download };
        document.querySelector('.explorer button').click();
        [URL.createObjectURL, HTMLAnchorElement.prototype.click] = [make, click];
        return [name, Array.from(new Uint8Array(await blob.arrayBuffer()))] }"""
    )
    return name, bytes(data)


def figures(tab) -> list[list[str]]:
    """The table as it is shown: head first."""
    tab.locator(".explorer details").evaluate("d => d.open = true")
    tab.locator(".explorer table").wait_for()
    return tab.eval_on_selector_all(".explorer tr", "all => all.map(r => [...r.cells].map(c => c.textContent))")


def number(text: str) -> int:
    return int(re.sub(r"\D", "", text))


@pytest.mark.parametrize(("name", "many"), [("usual", 25), ("open", 10), ("hostile", 5), ("crowd", 3)])
def test_sentence_table_and_csv_are_what_python_computes(visit, pages_by_name, name, many):
    page = pages_by_name[name]
    e, f, tab = page.explorer, Formats(page.locale, page.currency), visit(page)
    for by, count, show, first, last in choices(11, e, many):
        choose(tab, by, count, show, first, last)
        said = tab.locator(".insum").inner_text()
        rows = explore.rows(e, by, count, show, first, last)
        column = f"{count}_{show}" if show in ("sent", "received") else count
        total = sum(row[column] or 0 for row in rows)
        file, data = exported(tab)
        assert data.startswith(b"\xef\xbb\xbf") and data[3:] == as_csv(e, by, count, show, first, last)
        assert file == f"{page.account_id}_{first}_{last}_{count}_by_{by}_{show}.csv"
        table = figures(tab)
        if show == "total":
            assert said.replace("\u00a0", " ") == views.said(e, count, first, last, f).replace("\u00a0", " ")
        if all(row["days_missing"] == row["days"] for row in rows):
            assert said.endswith(": nothing is loaded.") if show not in explore.PEOPLE else not rows
        elif show in explore.PEOPLE:
            word = {"members": "member", "inboxes": "inbox"}[show]
            assert (
                f": {views.counted(total, count, f)} across " in said if total else f": no {word} has {count}" in said
            )
            whole = sum(row[count] or 0 for row in explore.rows(e, by, count, "total", first, last))
            assert total == whole or said.split(" of the account’s ")[1].startswith(f.count(whole))
        else:
            assert f": {views.counted(total, count, f)}" in said
        # The total of the column or row that says so, and the sum of what is above or before it.
        if show not in explore.PEOPLE:
            assert number(table[-1][-1]) == total == sum(number(r[-1]) for r in table[1:-1] if r[-1] != "–")
            assert len(table) == len(rows) + 2
        else:
            turned = table if table[0][0] != "Name" else list(map(list, zip(*table, strict=True)))
            everyone = next(i for i, name in enumerate(turned[0]) if name in ("All members", "All shared inboxes"))
            assert number(turned[-1][everyone]) == total == sum(map(number, turned[-1][1:everyone]))
            assert number(turned[-1][-1]) == sum(map(number, turned[-1][everyone:-1])), "everyone is the account"
            assert turned[-1][0] == "Total" and all(
                sum(number(r[i]) for r in turned[1:-1] if r[i] != "–") == number(turned[-1][i])
                for i in range(1, len(turned[0]))
            )
    assert tab.heard == []


def test_exports_are_the_files_beside_the_page(visit, pages_by_name):
    """Members and inboxes of the month by day are usage_by_owner.csv, the six months by day history_daily.csv."""
    page = pages_by_name["usual"]
    tab = visit(page)

    def rows_of(data: bytes) -> list[dict]:
        return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))

    mine = {}
    for show in explore.PEOPLE:
        choose(tab, "day", "segments", show, *OCTOBER)
        for r in rows_of(exported(tab)[1]):
            if r["segments"] != "0":
                mine[r["period"], r["owner_id"]] = (r["owner_name"], r["segments_sent"], r["segments_received"])
    theirs = {
        (r["date"], r["owner_id"]): (r["owner_name"], r["outbound_segments"], r["inbound_segments"])
        for r in rows_of(files.usage_by_owner(page).data)
        if r["owner_kind"] != "unassigned" and (r["outbound_segments"], r["inbound_segments"]) != ("0", "0")
    }
    assert mine == theirs
    choose(tab, "day", "messages", "total", page.explorer.first, page.explorer.last)
    whole = [(r["period"], r["messages_sent"], r["messages_received"]) for r in rows_of(exported(tab)[1])]
    history = rows_of(files.history_daily(page).data)
    assert whole == [(r["date"], r["outbound_messages"], r["inbound_messages"]) for r in history]


@pytest.mark.parametrize("name", ["open", "stopped"])
def test_nothing_is_redrawn_on_load_and_nothing_is_heard(visit, name):
    tab, plain = visit(name), visit(name, java_script_enabled=False)
    for part in (".explorer figure", ".insum", ".explorer details"):
        with_script, without = (
            t.locator(part).evaluate("e => e.outerHTML.replace(' hidden=\"\"', '')") for t in (tab, plain)
        )
        assert with_script == without
    assert tab.evaluate("window.changes") == 0 and tab.heard == []
    choose(tab, "week", "segments", "total", *OCTOBER)
    assert tab.evaluate("window.changes") > 0, "the observer sees what the script does"


def test_without_a_script_the_chart_and_the_days_are_there(visit):
    tab = visit("usual", java_script_enabled=False)
    assert tab.locator(".explorer svg.drawn g.b").count() == 31
    assert not tab.locator(".controls").is_visible() and not tab.locator(".explorer button").is_visible()
    assert not tab.locator(".explorer summary").is_visible()
    tab.get_by_text("Every day as a table").click()
    assert tab.locator("table.all tbody tr").count() == 31


_DRAWN = """() => {
    const chart = document.querySelector('.explorer svg.drawn'), n = s => parseFloat(s);
    const bars = [...chart.querySelectorAll('rect[class^="sent"], rect[class^="received"], rect.unknown')].map(r =>
        [r.className.baseVal, n(r.getAttribute('x')), n(r.getAttribute('y')), n(r.getAttribute('height'))]);
    const inner = chart.querySelector('svg');
    if (inner) for (const p of inner.querySelectorAll('path'))
        for (const m of p.getAttribute('d').matchAll(/M([\\d.]+) ([\\d.]+)h[\\d.]+v([\\d.]+)/g))
            bars.push([p.className.baseVal, m[1] * 100 / inner.viewBox.baseVal.width, +m[2] + 30, +m[3]]);
    const texts = [...document.querySelectorAll('.explorer .plot text')].map(t =>
        [t.textContent, t.getAttribute('text-anchor'), n(t.getAttribute('x') || 0), n(t.getAttribute('y')), t.getAttribute('class')]);
    const titles = [...chart.querySelectorAll('title')].map(t => t.textContent);
    return {bars, texts, titles, dots: [...chart.querySelectorAll('circle')].map(c => [n(c.getAttribute('cx')), n(c.getAttribute('cy'))]),
        lines: [...chart.querySelectorAll('line')].map(l => [l.className.baseVal, n(l.getAttribute('y1'))])};
}"""


@pytest.mark.parametrize("name", ["usual", "open", "huge"])
def test_the_script_draws_what_python_draws(visit, pages_by_name, name):
    page = pages_by_name[name]
    tab = visit(page)

    def close(one, two) -> bool:
        alike = [x if not isinstance(x, float | int) else 0 for x in one] == [
            x if not isinstance(x, float | int) else 0 for x in two
        ]
        numbers = ([x for x in row if isinstance(x, float | int)] for row in (one, two))
        return alike and all(abs(a - b) < 0.03 for a, b in zip(*numbers, strict=True))

    first = tab.evaluate(_DRAWN)
    caption = tab.locator(".explorer figcaption").inner_text()
    choose(tab, "month", "credits", "members", *OCTOBER)
    choose(tab, "day", "segments", "total", *OCTOBER)
    again = tab.evaluate(_DRAWN)
    order = [sorted(r["texts"], key=str) for r in (first, again)]
    assert len(order[0]) == len(order[1]) and all(map(close, *order)), "names, scale and the odd day survive"
    assert len(first["lines"]) == len(again["lines"])
    assert all(map(close, sorted(first["lines"]), sorted(again["lines"])))
    assert len(first["dots"]) == len(again["dots"]) and all(map(close, first["dots"], again["dots"]))
    assert tab.locator(".explorer figcaption").inner_text() == caption
    # Python draws one field where the script draws one for each day of it.
    bars = [sorted(b for b in r["bars"] if b[0] != "unknown") for r in (first, again)]
    assert len(bars[0]) == len(bars[1]) and all(map(close, *bars))
    assert set(first["titles"]) - {"Not loaded"} <= set(again["titles"])
    assert ("Not loaded" in first["titles"]) == any(b[0] == "unknown" for b in again["bars"])


def test_a_page_of_all_time_opens_by_month_with_its_table(visit, drawn, pages_by_name):
    """Three months, the middle one unknown: what Python writes into the table is what the script would."""
    page = pages_by_name["open"]
    parts = [explore.within(page.explorer, m.first, m.days[-1]) for m in (Month(2026, 10), Month(2026, 8))]
    f = Formats(page.locale, page.currency)
    values = pages.explorer_values(explore.join(parts), page.account_id, f, by="month", table=True)
    tab = visit(values["explored"])
    assert tab.locator(".insum").inner_text().endswith(". 45 days not loaded, so not counted.")
    cells = "all => all.map(r => [...r.cells].map(c => c.textContent))"
    written = tab.eval_on_selector_all(".explorer tr", cells)
    assert [row[0] for row in written] == [
        "Month", "August\u00a02026", "September\u00a02026", "October\u00a02026. 15 days not loaded, so not counted", "Total",
    ]  # fmt: skip
    assert written[2][1:] == ["–"] * 3
    choose(tab, "week", "credits", "inboxes", date(2026, 8, 1), date(2026, 8, 9))
    choose(tab, "month", "segments", "total", date(2026, 8, 1), date(2026, 10, 31))
    assert figures(tab) == written and tab.heard == []


@pytest.mark.parametrize("locale", ["de_DE", "hi_IN", "fr_FR", "es_ES", "ar_EG"])
def test_figures_look_as_the_servers(visit, locale):
    who = made.account(locale=locale, currency="EUR")
    rows = [r | {n: r[n] * 7919 for n in ("messages", "segments", "credits")} for r in made.usual(who, back=2)]
    page = build(made.statement(rows, who=who))
    f, e, tab = Formats(locale, "EUR"), page.explorer, visit(page)
    tab.locator(".controls select").select_option("2026-09-01/2026-10-31")
    assert tab.locator(".insum").text_content() == views.said(e, "segments", e.first, e.last, f)
    shown = tab.locator(".explorer .axis text").all_text_contents()
    assert shown == [t.label for t in charts.explored(e, "day", "segments", e.first, e.last, f).ticks]


@pytest.mark.parametrize("by", explore.BY)
def test_names_below_a_chart_are_pythons(visit, pages_by_name, by):
    page = pages_by_name["usual"]
    e, f, tab = page.explorer, Formats(page.locale, page.currency), visit(page)
    for _, _, _, first, last in choices(3, e, 6):
        choose(tab, by, "segments", "total", first, last)
        wanted = [b.name for b in charts.explored(e, by, "segments", first, last, f).bars if b.name]
        assert tab.locator(".explorer .drawn > text:not(.a)").all_text_contents() == wanted
        assert len(wanted) <= 8


def test_quick_ranges_dates_and_the_other_days(visit):
    tab = visit("usual")
    ranges, (first, last) = (
        tab.locator(".controls select"),
        (tab.locator(f".controls input[name={n}]") for n in ("first", "last")),
    )
    ranges.select_option(label="August\u00a02026")
    assert (first.input_value(), last.input_value()) == ("2026-08-01", "2026-08-31")
    assert tab.locator(".insum").inner_text().startswith("August\u00a02026: ")
    first.fill("2026-08-05")
    last.focus()
    assert ranges.input_value() == "" and tab.locator(".insum").inner_text().startswith(
        "Aug\u00a05 – Aug\u00a031, 2026: "
    )
    last.fill("2026-07-01")
    first.focus()
    assert first.input_value() == last.input_value() == "2026-07-01", "the date chosen last wins"
    said = tab.locator(".insum").inner_text()
    for wrong in ("", "2031-01-01"):
        last.fill(wrong)
        assert tab.locator(".insum").inner_text() == said, "no other view before there is a date"
    first.focus()
    assert last.input_value() == "2026-07-01"
    ranges.select_option(label="All 6 months")
    assert (first.input_value(), last.input_value()) == ("2026-05-01", "2026-10-31")


def test_everything_works_from_the_keyboard(visit):
    tab = visit("usual")
    tab.locator(".controls input[name=first]").focus()
    seen = []
    for _ in range(20):
        seen.append(tab.evaluate("document.activeElement.name || document.activeElement.tagName"))
        if seen[-1] == "show":
            break
        tab.keyboard.press("Tab")
    assert [n for n in dict.fromkeys(seen)] == ["first", "last", "range", "by", "count", "show"]
    outline = "getComputedStyle(document.activeElement.nextElementSibling).outlineStyle"
    assert tab.evaluate(outline) == "solid", "focus is seen"
    for _ in range(3):
        tab.keyboard.press("ArrowRight")
    assert tab.locator(".explorer .tiles li").count() == 8
    tab.keyboard.press("Enter")
    assert tab.locator(".explorer .tiles li").count() == 8
    tab.keyboard.press("Tab")
    with tab.expect_download() as got:
        tab.keyboard.press("Enter")
    assert got.value.suggested_filename.endswith("_by_day_members.csv")
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    tab.locator(".explorer table").wait_for()
    assert tab.locator(".explorer table tbody tr").count() == 32
    assert tab.heard == []


@pytest.mark.parametrize(("name", "widths"), [("usual", (320, 768)), ("hostile", (320,)), ("crowd", (320,))])
def test_nothing_sticks_out_in_any_view(visit, name, widths):
    tab = visit(name, 320)
    tab.locator(".explorer details").evaluate("d => d.open = true")
    for width in widths:
        tab.set_viewport_size({"width": width, "height": 900})
        for show in explore.SHOW:
            choose(tab, "day", "segments", show, *OCTOBER)
            assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), (
                width,
                show,
            )


def test_small_multiples_are_on_one_scale_largest_first(visit, pages_by_name):
    tab = visit("usual")
    choose(tab, "day", "segments", "members", *OCTOBER)
    page = pages_by_name["usual"]
    rows = page.members.rows
    people = explore.people(page.explorer, "segments", "members", *OCTOBER)
    assert tab.locator(".tiles bdi").all_text_contents() == [s.name for s in people]
    assert [number(t) for t in tab.locator(".tiles b").all_text_contents()] == [r.usage.segments for r in rows]
    tallest = tab.eval_on_selector_all(
        ".tiles svg", "all => all.map(s => 56 - Math.min(...[...s.querySelectorAll('path')].map(p => p.getBBox().y)))"
    )
    days = page.details.owners.filter(pl.col("date").is_between(*OCTOBER)).with_columns(
        segments=pl.col("outbound_segments") + pl.col("inbound_segments")
    )
    largest = [days.filter(pl.col("owner_id") == s.owner_id)["segments"].max() for s in people]
    assert [round(t / 56 * max(largest)) for t in tallest] == pytest.approx(largest, abs=1)
    assert tab.locator(".tiles title").first.text_content().startswith("Thu, Oct\u00a01, 2026: ")


def test_many_people_are_forty_pictures_and_a_word_on_the_rest(visit):
    tab = visit("crowd")
    choose(tab, "day", "segments", "members", *OCTOBER)
    assert tab.locator(".tiles li").count() == 40
    shown = sum(number(t) for t in tab.locator(".tiles b").all_text_contents())
    people, segments = map(
        number, re.search(r"and ([\d,]+) more: ([\d,]+) segments", tab.locator(".beyond").inner_text()).groups()
    )
    assert people == 160 and f"{shown + segments:,} segments across 200 members" in tab.locator(".insum").inner_text()


def test_hostile_names_stay_text_in_the_browser(visit, pages_by_name):
    tab = visit("hostile")
    choose(tab, "day", "segments", "members", *OCTOBER)
    names = [s.name for s in pages_by_name["hostile"].explorer.series if s.kind == "member"]
    assert sorted(tab.locator(".tiles bdi").all_text_contents()) == sorted(names)
    assert tab.locator(".explorer script").count() == 1 and tab.heard == []
    assert b"\r\n2026-10-01,2026-10-01,2026-10-02,member,m1,'=cmd|' /C calc'!A0," in exported(tab)[1]


def test_days_that_are_not_loaded_are_a_field_and_never_zero(visit):
    tab = visit("open")
    keys = tab.locator(".explorer .key")
    assert [keys.nth(i).is_visible() for i in range(4)] == [True, True, False, True]
    choose(tab, "week", "segments", "total", *OCTOBER)
    assert keys.nth(2).inner_text() == "Incomplete" and keys.nth(2).is_visible()
    assert [row[1:] for row in figures(tab)[4:6]] == [["–"] * 3] * 2
    assert "Week 41, Oct\u00a05 – Oct\u00a011, 2026. 1 day not loaded, so not counted" in [
        row[0] for row in figures(tab)
    ]
    choose(tab, "day", "segments", "members", date(2026, 10, 18), date(2026, 10, 31))
    assert tab.locator(".insum").inner_text() == "Oct\u00a018 – Oct\u00a031, 2026: nothing is loaded."
    choose(tab, "day", "segments", "members", date(2026, 10, 1), date(2026, 10, 31))
    assert tab.locator(".tiles path.unknown").count() == 8


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_explorer(visit, scheme):
    from axe_playwright_python.sync_playwright import Axe

    tab = visit("open", 390, scheme, bypass_csp=True)
    for by, show in (("day", "total"), ("week", "members"))[scheme == "dark" :]:
        choose(tab, by, "segments", show, *OCTOBER)
        figures(tab)
        found = Axe().run(tab, context="#days")
        assert found.violations_count == 0, found.generate_report()


def test_paper_has_the_view_and_no_controls(visit):
    tab = visit("usual", scheme="dark")
    choose(tab, "week", "segments", "inboxes", *OCTOBER)
    tab.emulate_media(media="print")
    assert not tab.locator(".controls").is_visible() and not tab.locator(".explorer button").is_visible()
    assert not tab.locator(".explorer summary").is_visible()
    assert tab.locator(".explorer .tiles li").count() == 4 and tab.locator(".tiles").is_visible()
    assert tab.locator(".insum").is_visible()
