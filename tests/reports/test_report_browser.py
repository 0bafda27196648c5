"""Pages as a browser shows them: nothing is asked for, nothing is reported, nothing sticks out, everyone can use it."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
import statements_made as made
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import expect

from reports.mail import HTML_LIMIT
from reports.pages import LIMIT, TEMPLATES

WIDTHS = (320, 360, 390, 600, 768, 1024, 1280, 1920)
GROUPS = (*made.ALL, "operator")
SCRIPTED = ("usual", "usual account", "crowd", "open account")
"""Some pages with the explorer."""
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]},
    "resultTypes": ["violations"],
}
MAIL_RULES = RULES | {"rules": {"region": {"enabled": False}, "landmark-one-main": {"enabled": False}}}


def group(published: dict[str, Path], name: str) -> list[str]:
    """The documents of one made statement, or those of operators; what is kept for ever looks like the month's page."""
    if name == "operator":
        return [document for document in published if document.startswith("operator ")]
    kinds = (name, f"{name} account", f"{name} products", f"{name} explained", f"mail {name}")
    return [document for document in kinds if document in published]


def heading(page, text: str) -> None:
    """The page that a click leads to is there: a click itself does not wait for it."""
    expect(page.locator("h1")).to_have_text(text)


def explore(page, show: str = "members") -> None:
    """Choose a view of the explorer and open its table."""
    page.locator(f".explorer input[value={show}]").check(force=True)
    page.eval_on_selector_all("details.more", "all => all.forEach(d => d.open = true)")


# ------------------------------------------------------------------------------------------------ quiet, and it fits

STICKS_OUT = """() => { const w = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= w) return [];
    return [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > w + 0.5)
        .map(e => `${e.localName}.${e.getAttribute('class')} ${(e.textContent || '').slice(0, 40)}`) }"""


@pytest.mark.parametrize("name", GROUPS)
def test_nothing_sticks_out_and_nothing_is_asked_for(see, published, name):
    wrong = {}
    for document in group(published, name):
        page, heard = see(document)
        if document in SCRIPTED:
            explore(page)
        page.eval_on_selector_all("details:not(.months)", "all => all.forEach(d => d.open = true)")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            if found := page.evaluate(STICKS_OUT):
                wrong[document, width] = found[:5]
        if heard:
            wrong[document, "heard"] = heard
        page.context.close()
    assert wrong == {}


def test_pages_and_mails_are_small(published):
    sizes = {name: path.stat().st_size for name, path in published.items()}
    assert {n: s for n, s in sizes.items() if s >= (HTML_LIMIT if n.startswith("mail") else LIMIT)} == {}
    assert (LIMIT, HTML_LIMIT) == (300_000, 80_000)


def test_links_open_the_other_pages(see):
    page, _ = see("usual")
    page.locator("details.months summary").click()
    page.get_by_role("link", name="All statements").click()
    heading(page, "All statements")
    page.locator("main").get_by_role("link", name=re.compile("October")).first.click()
    heading(page, "October\u00a02026")
    page.get_by_role("link", name=re.compile("September")).first.click()
    heading(page, "September\u00a02026")


def test_products_are_one_click_from_a_statement_and_back(see):
    page, _ = see("rich")
    page.locator("#charges").get_by_role("link", name="Subscriptions and credit packs").click()
    heading(page, "Products")
    page.locator("main").get_by_role("link", name=re.compile("October")).first.click()
    heading(page, "October\u00a02026")
    page.locator("details.months summary").click()
    page.get_by_role("link", name="Products", exact=True).click()
    heading(page, "Products")
    page.get_by_role("link", name="All statements").click()
    heading(page, "All statements")
    page.get_by_role("link", name="Subscriptions and credit packs").click()
    heading(page, "Products")


# ------------------------------------------------------------------------------------------------ without JavaScript


def figures(page) -> Counter:
    """Every number a reader sees, controls aside."""
    page.eval_on_selector_all("form, button", "all => all.forEach(e => e.hidden = true)")
    return Counter(re.findall(r"\d[\d.,\u00a0\u202f]*", page.locator("body").inner_text()))


@pytest.mark.parametrize("name", [*SCRIPTED, "rich products", "operator usual"])
def test_every_number_is_there_without_javascript(see, name):
    with_script, _ = see(name)
    without, _ = see(name, java_script_enabled=False)
    seen = figures(without)
    assert seen.total() > 12
    assert figures(with_script) == seen


def test_pages_work_without_javascript(see):
    page, _ = see("usual", java_script_enabled=False)
    heading(page, "October\u00a02026")
    page.locator("details.months summary").click()
    assert page.get_by_role("link", name="All statements").is_visible()
    page.get_by_text(re.compile("^Every day as a table")).click()
    assert page.locator("table.all tbody tr").count() == 31
    assert page.locator("table.all tbody tr").nth(30).is_visible()
    assert not page.locator(".explorer form").is_visible() and not page.locator(".explorer button").is_visible()


# ------------------------------------------------------------------------------------------------ for everyone


def violations(page, rules: dict) -> list[str]:
    """What axe objects to in the page as it is now. A link that is half out of the strip of links is one scroll away."""
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(AXE_SCRIPT)
    return page.evaluate(
        """rules => axe.run(document, rules).then(found => found.violations.flatMap(v => v.nodes
            .filter(n => !(v.id === 'target-size' && document.querySelector(n.target[0]).closest('.toc')))
            .map(n => `${v.id}: ${n.target} ${n.failureSummary}`)))""",
        rules,
    )


def judged(see, name: str, combinations) -> dict:
    """Axe's objections by width and scheme. In the dark on a phone all that folds is open, and people are explored."""
    rules, found = MAIL_RULES if name.startswith("mail") else RULES, {}
    page, _ = see(name, bypass_csp=True)
    for width, scheme in combinations:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        if (width, scheme) == (390, "dark"):
            if page.locator(".explorer form").count():
                explore(page)
            page.eval_on_selector_all("details", "all => all.forEach(d => d.open = true)")
        found[width, scheme] = violations(page, rules)
    return {combination: said for combination, said in found.items() if said}


@pytest.mark.parametrize("name", ["usual", "mail usual", "usual account", "operator usual"])
def test_axe_finds_nothing(see, name):
    assert judged(see, name, [(w, s) for s in ("light", "dark") for w in (1280, 390)]) == {}


@pytest.mark.parametrize(
    "name",
    ["rich", "mail rich", "rich products", "rich explained", "corrected", "mail corrected", "revised", "mail revised"],
)
def test_axe_finds_nothing_where_there_is_everything(see, name):
    assert judged(see, name, [(1280, "light"), (390, "dark")]) == {}


@pytest.mark.parametrize(
    "name",
    [
        "open",
        "mail open",
        "open account",
        "hostile",
        "corrected_hostile",
        "mail corrected_hostile",
        "corrected products",
        "huge",
        "no_usage",
        "first_month",
        "operator hostile",
        "operator nothing",
    ],
)
def test_axe_finds_nothing_on_odd_accounts(see, name):
    assert judged(see, name, [(390, "light")]) == {}


# ------------------------------------------------------------------------------------------------ colours


@cache
def tokens() -> dict[str, dict[str, str]]:
    """Scheme → the style sheet's colours by name; on paper and in the dark, what is not said is as in the light."""
    css = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    blocks = dict(zip(("light", "dark", "paper"), re.findall(r":root\{(.*?)\}", css, flags=re.DOTALL), strict=True))
    found = {name: dict(re.findall(r"--([\w-]+):(#[0-9a-f]+)", block)) for name, block in blocks.items()}
    assert found["paper"].keys() >= found["dark"].keys(), "what is printed in the dark would stay dark"
    return {name: found["light"] | colours for name, colours in found.items()}


def rgb(colour: str) -> list[int]:
    digits = colour.lstrip("#")
    digits = "".join(c * 2 for c in digits) if len(digits) < 6 else digits[:6]
    return [int(digits[i : i + 2], 16) for i in (0, 2, 4)]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2: (L1 + 0.05) / (L2 + 0.05) of the relative luminances."""

    def luminance(colour: str) -> float:
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in rgb(colour))]
        return sum(weight * v for weight, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


TEXTS = {
    "ink": ("bg", "surface", "hover", "tag"), "ink2": ("bg", "surface", "hover", "tag"), "muted": ("bg", "surface", "hover"),
    "link": ("bg", "surface", "hover"), "amber": ("amber-bg", "bg", "surface"), "green": ("green-bg", "bg", "surface"),
}  # fmt: skip
DRAWN = {"sent": ("bg", "surface"), "received": ("bg", "surface"), "dot": ("bg", "surface"), "pale": ("bg", "surface")}
BACKGROUNDS = {"bg", "surface", "hover", "tag", "amber-bg", "green-bg"}
DECORATION = {"line", "rule", "shadow"}
"""Hairlines repeat what the layout says."""


def test_contrast_is_computed():
    assert round(contrast("#000", "#ffffff"), 1) == 21.0
    assert round(contrast("#767676", "#fff"), 2) == 4.54


@pytest.mark.parametrize("scheme", ["light", "dark", "paper"])
def test_colours_can_be_told_apart(scheme):
    """SVG text and scrolled cells are out of axe's sight."""
    colours = tokens()[scheme]
    for names, least in ((TEXTS, 4.5), (DRAWN, 3.0)):
        for name, grounds in names.items():
            for ground in grounds:
                assert contrast(colours[name], colours[ground]) >= least, (name, ground)


def test_every_colour_has_its_place():
    known = {*TEXTS, *DRAWN, *BACKGROUNDS, *DECORATION}
    assert set(tokens()["light"]) - known == set(), "say what it stands on"
    assert set(tokens()["dark"]) == set(tokens()["light"])


def test_blues_that_touch_have_a_gap(see):
    """The two blues differ by less than 3 to 1, so a pixel of the ground keeps them apart."""
    page, _ = see("usual")
    for bars in ("#months .drawn g.b", ".explorer .drawn g.b"):
        pairs = page.eval_on_selector_all(
            bars,
            """all => all.map(bar => [...bar.querySelectorAll('.sent, .received')].map(r => r.getBoundingClientRect()))
                .filter(p => p.length === 2).map(p => [p[0].y, p[0].height, p[1].y, p[1].height])""",
        )
        assert len(pairs) >= 6
        for y, height, other, tall in pairs:
            assert max(y, other) - min(y + height, other + tall) >= 0.98


# ------------------------------------------------------------------------------------------------ on paper


@pytest.mark.parametrize("script", [True, False])
def test_on_paper_all_is_open_and_nothing_is_to_be_clicked(see, script):
    page, _ = see("usual", scheme="dark", java_script_enabled=script)
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    for gone in (".toc", "details.months", ".explorer form", ".explorer button", ".step"):
        assert not page.locator(gone).first.is_visible(), gone
    assert page.locator("table.all tbody tr").nth(30).bounding_box()["height"] > 5
    assert page.locator("table.charges tfoot").first.evaluate("e => getComputedStyle(e).display") == "table-row-group"
