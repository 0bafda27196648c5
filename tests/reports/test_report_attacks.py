"""Whatever a name, a reason or a page contains: nothing runs, nothing is fetched, nothing leaves its cell or its header."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import threading
import unicodedata
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest
from test_report_mail import message

from reports.tabular import DANGEROUS, restore

SCRIPTED = ("usual", "usual account")
ATTACKED = (*SCRIPTED, "rich products", "operator usual")
INJECTED = {
    "inline script": "<script>document.title = 'run'</script>",
    "onerror": "<img src='OUTSIDE/x.png' onerror=\"document.title = 'run'\">",
    "inline style": "<p style='color:red' id='styled'>x</p><style>#styled{color:red!important}</style>",
    "remote image": "<img src='OUTSIDE/pixel.gif'><svg><image href='OUTSIDE/y.png'/></svg>",
    "iframe": "<iframe src='OUTSIDE/frame'></iframe><object data='OUTSIDE/object'></object><embed src='OUTSIDE/embed'>",
    "form": "<form id='sent' action='OUTSIDE/sent'><button>go</button></form>",
    "remote script": "<script src='OUTSIDE/x.js'></script><link rel='stylesheet' href='OUTSIDE/x.css'>",
}
STOPPED = {
    ("script-src-elem", "inline"), ("script-src-elem", "/x.js"), ("script-src-attr", "inline"), ("style-src-attr", "inline"),
    ("style-src-elem", "inline"), ("style-src-elem", "/x.css"), ("img-src", "/x.png"), ("img-src", "/pixel.gif"),
    ("img-src", "/y.png"), ("frame-src", ""), ("object-src", ""),
}  # fmt: skip
"""What the browser must say it did not do: the directive, and what was asked for; of frames it names the host alone."""


# ------------------------------------------------------------------------------------------------ what slipped through


@pytest.fixture
def outside():
    """A server that attackers would like pages to call; it keeps the paths it was asked for."""

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_):
            pass

    asked: list[str] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.fixture
def attacked(published, tmp_path, outside):
    """A page into which something slipped, before everything else in it."""

    def make(name: str, injected: str) -> Path:
        text = published[name].read_text(encoding="utf-8")
        path = tmp_path / "attacked.html"
        assert text.count("<body>") == 1
        path.write_text(text.replace("<body>", f"<body>{injected.replace('OUTSIDE', outside[0])}"), encoding="utf-8")
        return path

    return make


def test_the_injections_would_work_without_the_policy(chromium, attacked, outside, published):
    """So that what is stopped below was an attack."""
    path = attacked("rich products", "".join(INJECTED.values()))
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", path.read_text(encoding="utf-8"))
    path.write_text(bare, encoding="utf-8")
    context = chromium.new_context()
    page = context.new_page()
    page.goto(path.as_uri())
    assert page.title() == "run"
    assert page.evaluate("getComputedStyle(document.getElementById('styled')).color") == "rgb(255, 0, 0)"
    page.locator("#sent button").dispatch_event("click")
    page.wait_for_url("**/sent**")
    assert {"/x.png", "/pixel.gif", "/frame", "/x.js", "/x.css", "/sent?"} <= set(outside[1])
    context.close()


def stopped(page, expected: set) -> set:
    """What the policy stopped so far, once all that is expected is among it, or five seconds are over."""
    for _ in range(100):
        found = {tuple(pair) for pair in page.evaluate("stopped")}
        if found >= expected:
            break
        page.wait_for_timeout(50)
    return found


@pytest.mark.parametrize("name", ATTACKED)
def test_the_policy_stops_each_injection(chromium, attacked, outside, published, name):
    context = chromium.new_context()
    context.add_init_script(
        "window.stopped = []; addEventListener('securitypolicyviolation',"
        " e => stopped.push([e.effectiveDirective, e.blockedURI.replace(/^http:..[^/]+/, '')]), true)"
    )
    page, path = context.new_page(), attacked(name, "".join(INJECTED.values()))
    page.goto(path.as_uri())
    assert stopped(page, STOPPED) == STOPPED
    title = re.search(r"<title>(.*?)</title>", published[name].read_text(encoding="utf-8"))[1].replace("&amp;", "&")
    assert page.title() == title, "nothing ran"
    assert page.evaluate("getComputedStyle(document.getElementById('styled')).color") != "rgb(255, 0, 0)"
    page.locator("#sent button").dispatch_event("click")
    assert ("form-action", "/sent?") in stopped(page, {("form-action", "/sent?")})
    assert page.url == path.as_uri()
    assert outside[1] == [], "nothing was asked for"
    context.close()


@pytest.mark.parametrize("name", ATTACKED)
def test_markup_from_text_is_refused_in_scripts_too(see, name):
    page, _ = see(name)
    refused = page.evaluate(
        """() => ['innerHTML', 'outerHTML', 'insertAdjacentHTML', 'srcdoc', 'document.write', 'policy', 'eval'].map(way => {
            const at = document.querySelector('main').appendChild(document.createElement('p')), evil = '<img src=x>';
            try {
                if (way === 'insertAdjacentHTML') at.insertAdjacentHTML('beforeend', evil);
                else if (way === 'srcdoc') document.createElement('iframe').srcdoc = evil;
                else if (way === 'document.write') document.write(evil);
                else if (way === 'policy') trustedTypes.createPolicy('own', {createHTML: s => s});
                else if (way === 'eval') at.append(String(setTimeout('document.title = "run"')));
                else at[way] = evil;
                return way + ' worked';
            } catch (error) { return error.name }
        })"""
    )
    assert [said for said in refused if said not in ("TypeError", "EvalError")] == []
    page.wait_for_timeout(50)
    assert page.title() != "run"


@pytest.mark.parametrize("name", SCRIPTED)
def test_the_pages_own_script_still_works_beside_an_attack(see, attacked, name):
    page, _ = see(attacked(name, "".join(INJECTED.values())))
    page.locator(".explorer input[value=members]").check(force=True)
    assert page.locator(".explorer .tiles li").count() == 8


# ------------------------------------------------------------------------------------------------ hostile names


@pytest.fixture(scope="module")
def hostile(published) -> Path:
    """The bucket in which the account with hostile names is published."""
    return published["hostile"].parents[2]


def names(statement) -> list[str]:
    return statement.owners["name"].to_list()


@pytest.mark.parametrize("name", ["hostile", "hostile account", "hostile products", "operator hostile"])
def test_names_make_no_element_and_no_attribute(see, published, name):
    """Whatever is in the document was put there by a template: the same kinds of nodes as for a harmless account."""
    count = (
        "all => all.map(e => e.localName).filter(n => ['script','img','iframe','b','style','base','link'].includes(n))"
    )
    harmless, _ = see(name.replace("hostile", "rich" if "operator" not in name else "usual"))
    page, heard = see(name)
    kinds = set(page.eval_on_selector_all("*", count))
    assert kinds <= set(harmless.eval_on_selector_all("*", count)) | {"b"}
    assert (
        page.eval_on_selector_all(
            "*", "all => all.flatMap(e => [...e.attributes]).filter(a => /^on|^style$/i.test(a.name)).length"
        )
        == 0
    )
    assert page.locator("style").count() == 1 and page.locator("b:has-text('US')").count() == 0
    assert heard == []


def test_names_stay_names_in_the_explorer(see, statements):
    page, heard = see("hostile")
    page.locator(".explorer input[value=members]").check(force=True)
    page.locator(".explorer details summary").click()
    shown = page.locator(".explorer .tiles bdi").all_inner_texts()
    assert "<script>alert(1)</script>" in shown and "../../etc/passwd" in shown
    assert page.locator(".explorer :is(img, style, iframe)").count() == 0
    assert page.locator(".explorer script").count() == 1
    assert heard == []


def test_the_explorers_export_runs_nowhere(see, statements):
    page, _ = see("hostile")
    page.locator(".explorer input[value=members]").check(force=True)
    with page.expect_download() as download:
        page.locator(".explorer button").click()
    assert re.fullmatch(r"[A-Za-z0-9_.-]+\.csv", download.value.suggested_filename)
    data = Path(download.value.path()).read_bytes().decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(data, newline="")))
    assert {row["owner_name"][:6] for row in rows} >= {"'=cmd|", "''quot", "<scrip"}
    assert_harmless(data)


def assert_harmless(data: str) -> None:
    """No text cell a spreadsheet would run; no cell with a character nobody sees. Numbers may be negative."""
    cells = [cell for row in csv.reader(io.StringIO(data, newline="")) for cell in row]
    assert len(cells) > 20
    run = [cell for cell in cells if cell.startswith(DANGEROUS[:-1]) and not re.fullmatch(r"-\d+(\.\d+)?", cell)]
    assert run == []
    hidden = [
        cell for cell in cells if any(unicodedata.category(c) in ("Cc", "Cs") or c in "\u202e\u2066" for c in cell)
    ]
    assert hidden == []


def test_names_are_harmless_in_every_file(hostile, statements):
    files = [path for path in sorted(hostile.rglob("*")) if path.is_file()]
    for path in (p for p in files if p.suffix in (".csv", ".gz")):
        data = path.read_bytes()
        assert_harmless((gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8"))
    for path in (p for p in files if p.suffix == ".json"):
        said = json.dumps(json.loads(path.read_bytes()), ensure_ascii=False)
        assert not re.search(r"[\x00-\x1f\x7f\u202e]", said.replace("\\u0000", "\x00")), path
    assert {path.suffix for path in files} <= {".html", ".csv", ".gz", ".json", ".parquet"}


def test_parquet_has_the_names_as_they_are(hostile):
    """Typed columns run nowhere: what a formula would be is a plain string."""
    found = [path for path in hostile.rglob("*.parquet")]
    assert found
    for path in found:
        frame = pl.read_parquet(path)
        texts = [v for c in frame.select(pl.col(pl.String)).iter_columns() for v in c.drop_nulls().to_list()]
        assert not any("'=" in text[:2] for text in texts)
        assert not any(any(unicodedata.category(c) in ("Cc", "Cs") for c in text) for text in texts), path.name


def test_what_was_neutralised_can_be_restored(hostile):
    path = next(hostile.rglob("2026-10/usage_by_owner.csv"))
    rows = csv.DictReader(io.StringIO(path.read_bytes().decode(), newline=""))
    assert {"=cmd|' /C calc'!A0", "'quoted"} <= {restore(row["owner_name"]) for row in rows}


def test_object_keys_are_made_of_ids_and_months_alone(hostile):
    keys = [path.relative_to(hostile).as_posix() for path in hostile.rglob("*") if path.is_file()]
    pattern = r"acct_evil/((\d{4}-\d{2}/(rev-\d+/)?)?[a-z_]+\.(html|csv|csv\.gz|parquet|json))"
    assert [key for key in keys if not re.fullmatch(pattern, key)] == []


def test_mail_keeps_its_headers_and_its_text(pages_by_name):
    data = message(pages_by_name["hostile"]).as_bytes()
    head = data.partition(b"\r\n\r\n")[0]
    parsed = message_from_bytes(data, policy=default)
    assert b"\r\nBcc:" not in data and parsed["Bcc"] is None
    assert (
        len(parsed.keys()) == len(set(parsed.keys()))
        and parsed["To"].addresses[0].addr_spec == "lena@harborfinch.example"
    )
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", head)
    assert parsed["Subject"].startswith('</title><img src=x onerror="alert(1)"> & Co: ')
    html = parsed.get_body(("html",)).get_content()
    assert not re.search(r"<(img|script|iframe|svg)\b", html)
    assert {part.get_content_type() for part in parsed.walk()} == {"multipart/alternative", "text/plain", "text/html"}
