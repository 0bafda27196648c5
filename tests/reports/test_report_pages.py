"""Pages as text: the same bytes, all figures, nothing that loads, runs or leaks."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
import statements_made as made

from etl.periods import Month
from reports import charts, files, formats, pages, words
from reports.formats import Formats
from reports.links import Links, account_folder
from reports.model import build

TEMPLATES = Path(pages.TEMPLATES)


def render(page, **more) -> str:
    links = Links(page.account_id, f"{page.account_id}/{page.month}")
    shelf = [pages.Shelved(h.month, h.state, h.revision, h.total, page.currency) for h in page.history]
    return pages.statement(page, links, [f.info() for f in files.make(page)], shelf, **more).decode()


def text_of(html: str) -> str:
    html = re.sub(r"<(style|head|script)\b.*?</\1>", " ", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", "\n", html))).replace("\u00a0", " ")


def attributes(html: str) -> set[str]:
    """The name of every attribute, as a browser would read them."""
    parser, found = HTMLParser(), set()
    parser.handle_starttag = lambda _, given: found.update(name for name, _ in given)
    parser.feed(html)
    return found


def test_same_statement_same_bytes(statements):
    assert render(build(statements["usual"])) == render(build(made.statement()))


def test_every_figure_of_the_model_is_on_the_page(each):
    page = build(each)
    f = Formats(page.locale, page.currency)
    text = text_of(render(page))
    shown = [f.money(page.total.now)]
    shown += [f.money(p.amount) for row in page.charges for p in (row, *row.parts)]
    shown += [f.money(r.amount) for level in page.taxes for r in (level, *level.parts)]
    shown += [f.money(r.base) for level in page.taxes for r in level.parts if r.base is not None]
    shown += [
        f.money(page.charged.now),
        f.money(page.days_amount),
        *([f.money(page.rounding)] if page.rounding else []),
    ]
    shown += [f.money(row.amount) for row in page.days if row.usage]
    shown += [f.money(row.total) for row in page.history]
    shown += [f.money(r.amount) for t in (page.members, page.inboxes) for r in (*t.rows, t.total)]
    shown += [f.money(page.people_rounding)] if page.people_rounding else []
    shown += [f.money(page.days_rounding)] if page.days_rounding else []
    shown += [f.money(page.products.total)] if page.products else []
    shown += [f.count(r.usage.segments) for t in (page.members, page.inboxes) for r in (*t.rows, t.total)]
    for figure in shown:
        assert figure.replace("\u00a0", " ") in text, figure


def test_charges_then_taxes_then_the_total(pages_by_name):
    text = text_of(render(pages_by_name["rich"]))
    text = text[text.index("Share of total") :]
    order = ["Phone numbers", "Calls", "Texts", "Video calls", "Campaign calls", "Recording storage", "Carrier fees",
             "AI voice detection", "Failed messages", "Credit overage", "Volume pricing", "Adjustments",
             "Charges before taxes", "Federal taxes", "State taxes", "Local taxes", "Other taxes and fees",
             "Rounding difference", "Total for October 2026", "Products, paid apart"]  # fmt: skip
    places = [text.index(f" {name} ") if not name.startswith("Products") else text.index(name) for name in order]
    assert places == sorted(places)
    assert "Charges before taxes $476.48" in text and "US-WA-SEATTLE" in text and "sea-utility" not in text
    assert "Charges before taxes" not in text_of(render(pages_by_name["usual"]))


def test_columns_add_up_as_they_are_printed(each):
    """Added by somebody who has the page and nothing else."""
    page = build(each)
    html = render(page)
    zero, point = Decimal(0), "," if page.locale == "de_DE" else "."

    def printed(cell: str) -> Decimal:
        number = re.search(r"\d[\d.,]*", cell)[0]
        kept = re.sub(r"[^\d" + re.escape(point) + "]", "", number)
        return Decimal(kept.replace(point, ".")) * (-1 if "−" in cell else 1)

    days = re.search(r'<table class="all">(.*?)</table>', html, flags=re.DOTALL)[1]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", r) for r in re.findall(r"<tr.*?</tr>", days, flags=re.DOTALL)[1:]]
    *each_day, all_days = [printed(r[-1]) for r in rows if r[-1] != "–"]
    assert sum(each_day, zero) == all_days
    bridge = re.search(r"<caption>From the days.*?</table>", html, flags=re.DOTALL)
    if bridge:
        *beside, charged = [printed(c) for c in re.findall(r"<td>(.*?)</td>", bridge[0])]
        assert sum(beside, zero) == charged == page.charged.now and beside[0] == all_days
    account = re.search(r"<caption>The account\b.*?</table>", html, flags=re.DOTALL)[0]
    *owners, whole = [
        printed(r[-1]) for r in (re.findall(r"<td[^>]*>(.*?)</td>", t) for t in account.split("</tr>")[1:-1])
    ]
    assert sum(owners, zero) == whole == page.charged.now


def test_products_are_listed_by_month_newest_first(pages_by_name):
    rich = pages_by_name["rich"]
    older = pages.Shelved(Month(2026, 9), "provisional", 0, Decimal(1), "USD", rich.products)
    none = pages.Shelved(Month(2026, 8), "final", 1, Decimal(1), "USD")
    shelf = [none, older, pages.Shelved(rich.month, "final", 1, rich.total.now, "USD", rich.products)]
    links = Links("acct_rich", "acct_rich")
    html = pages.products("acct_rich", "A & <b>", "en_US", shelf, links).decode()
    assert re.findall(r'href="(2026-\d\d)/index.html"', html.partition("<main")[2]) == ["2026-10", "2026-09"]
    assert "A &amp; &lt;b&gt;" in html and html.count(">simulated<") == 2
    assert html.count("$249.00") == 3, "the sentence and two months"
    assert "$498.00" in html, "and the year"
    assert "Provisional" in html and "August" not in html.partition("<main")[2]
    listing = pages.account("acct_rich", "A", "en_US", shelf, links).decode()
    assert 'href="products.html"' in listing and listing.count("$249.00") == 4 and "$498.00" in listing
    assert "products" not in pages.account("acct_rich", "A", "en_US", [none], links).decode().lower()


def test_every_day_is_listed_also_without_javascript(each):
    page = build(each)
    html = render(page)
    assert re.findall(r'<time datetime="([\d-]+)">', html) == [d.isoformat() for d in page.month.days]
    scripts = re.findall(r"<script\b[^>]*>", html)
    assert scripts == ([] if page.explorer.empty else ['<script type="application/json">', "<script>"])


def test_pages_are_small(pages_by_name):
    for page in pages_by_name.values():
        assert len(render(page).encode()) < (200_000 if page.explorer.series[100:] else 140_000)
    assert pages.LIMIT == 300_000


def _crowded():
    """An account with far more of everything than a page has rows."""

    def rows(w):
        made_ = made.usual(w, back=2)
        for m in made.OCTOBER.last(2):
            for i in range(300):
                made_ += [
                    made.fee(m.days[3], w, ("member", "ben"), 3 + i, "sms", known, f"Carrier {i:03}")
                    for known in (True, False)
                ]
            made_ += [made.call(m.days[5], w, ("inbox", "leasing"), "outbound", 1, 60, "campaign_call") | {"campaign_id": f"c{i}"}
                      for i in range(1_000)]  # fmt: skip
        return made_

    def held(w, m):
        each = [
            made.monthly(w, m, "adjustment", f"Refund for ticket {i:04}", 1, "adjustment", f"-{i}.01")
            for i in range(2_000)
        ]
        return [*made.usually_held(w, m), *each]

    taxes = [
        made.Tax(("state", "local")[i % 2], f"US-XX-{i:03}", f"City {i:03} tax", "0.5", ("call",), f"t{i}")
        for i in range(800)
    ]
    return build(made.statement(rows, taxes=taxes, held_monthly=held))


def test_a_page_has_so_many_rows_and_still_adds_up(monkeypatch):
    page = _crowded()
    html = render(page)
    assert len(html.encode()) <= pages.LIMIT and 'class="explorer"' in html
    section = re.search(r'<section id="charges".*?</section>', html, flags=re.DOTALL)[0]
    f = Formats(page.locale, page.currency)

    def printed(cell: str) -> Decimal:
        return Decimal(re.sub(r"[^\d.]", "", cell)) * (-1 if "−" in cell else 1)

    names, sums = [], 0
    for body in re.findall(r"<tbody>(.*?)</tbody>", section, flags=re.DOTALL):
        group, *parts = [(unescape(re.sub(r"<.*?>", "", r.split("</th>")[0])), re.findall(r"<td>(.*?)</td>", r)[0])
                         for r in re.findall(r"<tr.*?</tr>", body, flags=re.DOTALL)]  # fmt: skip
        if parts:
            assert len(parts) <= pages.PARTS_SHOWN and sum(printed(amount) for _, amount in parts) == printed(group[1])
            sums += 1
        names += [name for name, _ in (group, *parts)]
    more = [name.strip() for name in names if "in charges.csv" in name]
    assert more == ["1,961 more, in charges.csv", "361 more, in charges.csv", "361 more, in charges.csv",
                    "284 more, in charges.csv"] and sums > 20, more  # fmt: skip
    # The largest are shown, and what is not shown is in the file.
    assert "Refund for ticket 1999" in section and "Refund for ticket 0000" not in section
    assert f.money(sum((r.amount for r in page.carriers), Decimal(0))).replace("\u00a0", " ") in text_of(section)
    charges = next(file.data for file in files.make(page) if file.name == "charges.csv")
    assert b"Refund for ticket 0000" in charges and b"Carrier 000" in charges

    # The explorer gets the room that is left, then none; only then is a page too large.
    monkeypatch.setattr(pages, "LIMIT", len(html.encode()) - 3_000)
    less = render(page)
    assert 'class="explorer"' in less and "Other members (" in less and len(less.encode()) <= pages.LIMIT
    monkeypatch.setattr(pages, "LIMIT", len(html.encode()) - 25_000)
    assert 'class="explorer"' not in render(page) and "script-src" not in render(page)
    monkeypatch.setattr(pages, "LIMIT", 100_000)
    with pytest.raises(ValueError, match="a page may have"):
        render(page)


def test_nothing_inline_but_the_hashed_style(each):
    html = render(build(each))
    names = attributes(html)
    assert "href" in names and "style" not in names and not any(name.startswith("on") for name in names)
    assert not re.search(r"(src|href)=\"(https?:)?//", html)
    assert html.index("Content-Security-Policy") < html.index("<style>")
    assert html.count("<style>") == 1


def test_hostile_names_stay_text(pages_by_name):
    html = render(pages_by_name["hostile"])
    assert "<script>alert" not in html and "<img src=x" not in html and "*{display" in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_only_our_own_style_is_trusted():
    found = [p.name for p in TEMPLATES.iterdir() if re.search(r"\|\s*safe\b|autoescape", p.read_text(encoding="utf-8"))]
    assert found == []


def test_tables_have_captions_and_scopes(pages_by_name):
    html = render(pages_by_name["usual"])
    for table in re.findall(r"<table.*?</table>", html, flags=re.DOTALL):
        assert "<caption" in table
        assert all("scope=" in th for th in re.findall(r"<th\b[^>]*>", table))


def test_relative_links_open_a_file_in_an_unpacked_folder(pages_by_name):
    page = pages_by_name["usual"]
    html = render(page)
    links = set(re.findall(r'href="([^"#]+)"', html))
    assert "../2026-09/index.html" in links and "../index.html" in links and "usage_daily.csv" in links
    assert all(link.endswith((".html", ".csv", ".csv.gz", ".json", ".parquet")) for link in links)
    deeper = Links(page.account_id, f"{page.account_id}/2026-10/rev-1")
    assert deeper.month(Month(2026, 9)) == "../../2026-09/index.html"
    assert deeper.month(Month(2026, 10)) == "../index.html"
    assert deeper.account == "../../index.html" and deeper.file("x.csv") == "x.csv"


def test_months_that_are_not_published_are_not_linked(pages_by_name):
    page = pages_by_name["usual"]
    links = Links(page.account_id, f"{page.account_id}/{page.month}")
    html = pages.statement(page, links).decode()
    assert "2026-09/index.html" not in html and "September" in html


@pytest.mark.parametrize("bad", ["../x", "a/b", "", ".", "a b", "ä", "a\n", "-a", "x" * 65])
def test_unsafe_ids_are_refused(bad):
    with pytest.raises(ValueError, match="cannot name a folder"):
        account_folder(bad)


def test_the_account_page_lists_months_newest_first(pages_by_name):
    page = pages_by_name["usual"]
    shelf = [pages.Shelved(h.month, h.state, h.revision, h.total, page.currency) for h in page.history]
    html = pages.account("acct_7Q2M", "A & B <i>", "en_US", shelf, Links("acct_7Q2M", "acct_7Q2M")).decode()
    menu, _, html = html.partition("<main")
    assert re.findall(r'href="(\d{4}-\d{2})/index.html"', menu) == [f"2026-{m:02}" for m in range(10, 4, -1)]
    assert re.findall(r'href="(\d{4}-\d{2})/index.html"', html) == [f"2026-{m:02}" for m in range(10, 4, -1)]
    assert "A &amp; B &lt;i&gt;" in menu


# ------------------------------------------------------------------------------------------------ numbers and drawings


def test_numbers_follow_the_locale():
    from decimal import Decimal as D

    assert Formats("de_DE", "EUR").money(D("-1234.5")) == "\u22121.234,50\u00a0€"
    assert Formats("ja_JP", "JPY").money(D(1234)) in ("￥1,234", "¥1,234")
    assert Formats("en_US", "KWD").money(D("1.2345")).endswith("1.235")
    assert Formats("en_US", "USD").price(D("0.008349999")) == "$0.0083"
    assert Formats("xx_XX", "USD").money(D(1)) == "$1.00"
    assert Formats("en_US", "USD").percent(D("11.9")) == "11.9%"


def test_figures_from_right_to_left_stay_in_the_order_of_the_page(pages_by_name):
    pounds = Formats("ar_EG", "EGP")
    assert pounds.money(Decimal("-1234.5")) == "\u2066−1,234.50\u00a0ج.م.\u200f\u2069"
    assert Formats("he_IL", "ILS").money(Decimal(1)) == "\u20661.00\u00a0\u200f₪\u2069"
    assert pounds.count(12_345) == "12,345" and Formats("en_US", "USD").money(Decimal(1)) == "$1.00"
    html = render(pages_by_name["arabic"])
    assert "<bdi>عقارات النيل</bdi>" in html and "ج.م.\u200f\u2069</td>" in html
    # Whatever opens an isolate closes it before the element ends.
    for piece in re.split(r"<[^>]*>", html):
        assert piece.count("\u2066") + piece.count("\u2068") == piece.count("\u2069")


def test_a_section_of_findings_stands_first(pages_by_name):
    html = render(pages_by_name["rich"])
    assert (
        html.index('id="findings"')
        < html.index('id="charges"')
        < html.index('id="credits"')
        < html.index('id="months"')
    )
    assert html.index('id="people"') < html.index('id="campaigns"') < html.index('id="counted"')
    links = re.findall(r'<li><a href="#(\w+)">', html)
    assert links == re.findall(r'<section id="(\w+)"', html)
    assert 'id="findings"' not in render(pages_by_name["no_usage"])
    quiet = text_of(render(pages_by_name["campaigns"]))
    assert (
        "Worth a look Nothing stands out: no day, person or price of October is far from what is usual here." in quiet
    )


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (99_999, "99,999"), (123_456, "123K"), (1_234_567, "1.2M"), (45_600_000, "45.6M")]
)
def test_short_numbers_above_bars(number, text):
    assert Formats("en_US", "USD").short(number) == text


def test_bars_stay_inside_the_chart_and_never_touch(each):
    page = build(each)
    f = Formats(page.locale, page.currency)
    days = charts.explored(page.explorer, "day", "segments", *page.explorer.shown, f, charts.odd_day(page, f))
    for chart in (days, charts.months(page, f), *(charts.sparkline(g, page, f) for g in page.figures)):
        for bar in chart.bars:
            for part in bar.parts:
                assert part.x >= 0 and part.x + part.width <= 100.01
                assert part.y >= -0.01 and part.y + part.height <= chart.height + 0.01 and part.height > 0
            if len(bar.parts) == 2:
                sent, received = bar.parts
                assert sent.y - (received.y + received.height) >= 0.98


def _luminance(colour: str) -> float:
    colour = colour.lstrip("#")
    colour = "".join(c * 2 for c in colour) if len(colour) == 3 else colour
    parts = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    r, g, b = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def _contrast(one: str, two: str) -> float:
    low, high = sorted((_luminance(one), _luminance(two)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_colours_can_be_told_apart(scheme):
    blocks = re.findall(r":root\{(.*?)\}", (TEMPLATES / "style.css").read_text(), flags=re.DOTALL)
    tokens = dict(re.findall(r"--([a-z0-9-]+):(#[0-9a-f]{3,6})\b", blocks[scheme]))
    for surface in ("bg", "surface"):
        for text in ("ink", "ink2", "muted", "link"):
            assert _contrast(tokens[text], tokens[surface]) >= 4.5, (text, surface)
        for graphic in ("sent", "received", "dot"):
            assert _contrast(tokens[graphic], tokens[surface]) >= 3, (graphic, surface)
    assert _contrast(tokens["amber"], tokens["amber-bg"]) >= 4.5
    assert _contrast(tokens["ink2"], tokens["tag"]) >= 4.5
    assert _contrast(tokens["muted"], tokens["hover"]) >= 4.5


def test_templates_are_found_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pages.environment.cache_clear()
    assert pages.environment().get_template("page.html.j2")
    assert formats.month_year(Month(2026, 1)) == "January\u00a02026"


def test_an_account_that_pays_texts_in_credits_reads_so(pages_by_name):
    rich = pages_by_name["rich"]
    free = tuple(
        replace(row, exact=Decimal(0), parts=tuple(replace(part, exact=Decimal(0)) for part in row.parts))
        if row.key.line == "text"
        else row
        for row in rich.charges
    )
    f = Formats(rich.locale, rich.currency)
    assert words.charges_lead(replace(rich, charges=free), f).endswith(" Texts were paid in credits.")
    assert "credits" not in words.charges_lead(rich, f)
    assert "credits" not in words.charges_lead(replace(rich, charges=free, credits=None), f)
