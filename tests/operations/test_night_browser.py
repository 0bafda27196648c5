"""The page of a night as a browser shows it: nothing wider than the screen, nothing asked for, nothing axe objects to."""

from __future__ import annotations

from pathlib import Path

import pytest
from nightmade import call, done, month, night
from test_night_report import report, task

from etl import runreport
from etl.lake import open_store
from reports.operator import night as page
from reports.publish import Publisher


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """A good night, and one with all there can be: long names, errors, findings, holds."""
    folder = tmp_path_factory.mktemp("nights")
    source = "a_source_with_a_rather_long_name_of_its_own"
    at = {"day": "2026-11-02", "source": source}
    bad = [
        call("pull", 1, error="SourceError: " + "the connection failed, again and again. " * 12, **at),
        call("normalise", 2, 4000.0, done=[done(f"events/date=2026-11-02/source={source}", 123_456_789, accepted=123_456_789)], **at),
        call("rate", 3, held=[f"charges/date=2026-11-02/source={source}: {n} event(s) without a price" for n in range(20)], **at),
        call("audit", 4, findings=[f"nothing lost: date=2026-11-0{n} lacks: run python -m etl run --date 2026-11-0{n}" for n in range(1, 9)]),
        call("operations", 5, months={"2026-11": month(todo=["load it with python -m etl run --from 2026-11-01 --to 2026-11-02"])}),
    ]  # fmt: skip
    tasks = [task(f"{source}.pull", "failed", 0), *(task(f"{source}.rate", "upstream_failed", n) for n in range(20))]
    found = {}
    for name, made in {"good": report(), "bad": report([*night(), *bad], run_id="manual__" + "x" * 80, tasks=tasks)}.items():
        key = runreport.key(made)
        page.publish(Publisher(open_store(folder / name)), made, key)
        found[name] = folder / name / f"{key}.html"
    return found


@pytest.mark.parametrize("name", ["good", "bad"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_night_on_every_screen(chromium, files, name, scheme):
    from axe_playwright_python.base import AXE_SCRIPT

    context = chromium.new_context(color_scheme=scheme, bypass_csp=True)
    tab, asked, said = context.new_page(), [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: said.append(message.text))
    tab.goto(files[name].as_uri())
    tab.evaluate("document.querySelectorAll('details.more').forEach(one => one.open = true)")
    for width in (320, 390, 700, 1081, 1280, 1920):
        tab.set_viewport_size({"width": width, "height": 900})
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, width
        if width in (390, 1280):
            tab.evaluate(AXE_SCRIPT)
            found = tab.evaluate("axe.run(document).then(r => r.violations.map(v => v.id + ': ' + v.nodes[0].html))")
            assert found == [], width
    assert [url for url in asked if not url.startswith("file:")] == [] and said == []
    context.close()
