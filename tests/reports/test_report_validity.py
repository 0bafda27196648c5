"""What checkers made by others say of the pages, the mails and the published folders."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HTML = Path(__file__).resolve().parents[1] / "html"
MAIL = "mail "
VNU = HTML / "node_modules/vnu-jar/build/dist/vnu.jar"
HTML_VALIDATE = HTML / "node_modules/html-validate/bin/html-validate.mjs"

# A mail is not a page: Outlook needs the namespace and attributes, every client the styles inline.
MAIL_MAY = {
    "Attribute “xmlns:o” not allowed here.",
    "Element “meta” is missing one or more of the following attributes: “content”, “property”.",  # x-apple-disable-…
    "no-conditional-comment",
    "no-deprecated-attr",
    "no-inline-style",
    "doctype-style",  # the inliner writes it in capitals
    "prefer-native-element",  # mail clients rewrite <article>
}
ANY_MAY = {"CSS: “vector-effect”: Property “vector-effect” doesn't exist."}
"""SVG 2 has it; the checker's list of properties does not."""
BROKEN = (
    '<!doctype html><html lang="en"><head><title>x</title></head><body><p style="color:red">a<b>b</p></body></html>\n'
)


@pytest.fixture(scope="module")
def documents(published, tmp_path_factory, long) -> dict[str, Path]:
    """Every page and mail, and one that is wrong: a checker that finds nothing in it was not at work. What a revision
    keeps for ever differs from the month's page in where its links lead: in the short form some are enough."""
    broken = tmp_path_factory.mktemp("broken") / "broken.html"
    broken.write_text(BROKEN, encoding="utf-8")
    kept = ("usual", "rich", "revised", "hostile")
    some = {n: p for n, p in published.items() if long or not n.endswith(" revision") or n.split()[0] in kept}
    return some | {"broken": broken}


def tool(name: str, path: Path) -> str:
    """The program that runs a checker. Without it or the checker the test fails, unless it is meant."""
    if os.environ.get("TOLLBOOK_NO_BROWSER") == "1":
        pytest.skip("TOLLBOOK_NO_BROWSER=1: pages are not looked at in this run")
    found = shutil.which(name)
    if not found or not path.exists():
        missing = f"{name} is not installed" if not found else f"{path.relative_to(HTML.parents[1])} is not there"
        pytest.fail(f"{missing}: `make test` installs it; TOLLBOOK_NO_BROWSER=1 leaves these tests out")
    return found


def test_a_missing_checker_is_a_failure_that_names_the_fix(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("TOLLBOOK_NO_BROWSER", raising=False)
    with pytest.raises(pytest.fail.Exception, match="java is not installed: `make test` installs it"):
        tool("java", VNU)


def complaints(documents: dict[str, Path], said: list[tuple[str, str, str]]) -> dict[str, list[str]]:
    """Document → what was said of it: (file, rule, message) without what a mail may."""
    names = {path.resolve().as_posix(): name for name, path in documents.items()}
    found: dict[str, list[str]] = {}
    for file, rule, message in said:
        name = names[file.removeprefix("file:")]
        if not {rule, message} & (ANY_MAY | (MAIL_MAY if name.startswith(MAIL) else set())):
            found.setdefault(name, []).append(message)
    return found


def run(*command: str | Path) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120)


def test_nu_html_checker_finds_no_error(documents):
    java = tool("java", VNU)
    done = run(java, "-jar", VNU, "--errors-only", "--exit-zero-always", "--format", "json", *documents.values())
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stderr)["messages"]
    found = complaints(documents, [(m["url"], m.get("subType", m["type"]), m["message"]) for m in said])
    assert found.pop("broken", None), "the checker did not see what is wrong"
    assert found == {}


def test_html_validate_finds_nothing(documents, tmp_path):
    node, answer = tool("node", HTML_VALIDATE), tmp_path / "said.json"
    settings = ("--config", HTML / "htmlvalidate.json", "--formatter", f"json={answer}")
    done = run(node, HTML_VALIDATE, *settings, *documents.values())
    assert done.returncode in (0, 1), done.stderr
    files = json.loads(answer.read_text(encoding="utf-8"))
    said = [(file["filePath"], m["ruleId"], m["message"]) for file in files for m in file["messages"]]
    found = complaints(documents, said)
    assert found.pop("broken", None), "the checker did not see what is wrong"
    assert found == {}


def test_every_kind_of_page_is_among_them(published):
    kinds = {
        name.removeprefix(MAIL).partition(" ")[2] or ("mail" if name.startswith(MAIL) else "month")
        for name in published
    }
    assert {"month", "account", "products", "revision", "explained", "mail"} <= kinds


def dictionary_says(folder: Path) -> list[str]:
    """What is wrong with a published folder according to its own dictionary."""
    from frictionless import Package, system

    with system.use_context(trusted=True):
        report = Package(str(folder / "datapackage.json")).validate()
    return [f"{kind}: {message}" for kind, message in report.flatten(["type", "message"])]


def test_published_folders_are_what_their_dictionary_says(published):
    """Frictionless, an independent reader of Table Schema, checks types, keys, sizes and hashes of every file."""
    pages = (path for name, path in published.items() if not name.endswith(" revision") or name == "usual revision")
    folders = sorted({path.parent for path in pages if (path.parent / "datapackage.json").exists()})
    assert len(folders) > 20
    wrong = {folder.relative_to(folder.parents[3]).as_posix(): dictionary_says(folder) for folder in folders}
    assert {folder: said for folder, said in wrong.items() if said} == {}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("charges.csv", b"acct", b"acme"),
        ("usage_daily.csv", b"2026-10-05,", b"2026-10-04,"),
        ("charges.csv", b"\r\n", b"\n"),
        ("usage.parquet", b"\x15\x04", b"\x15\x06"),
    ],
    ids=["a name", "a day twice", "line ends", "in Parquet"],
)
def test_a_file_that_was_changed_is_not_what_the_dictionary_says(published, tmp_path, file, old, new):
    folder = shutil.copytree(published["usual"].parent, tmp_path / "copy")
    assert old in (folder / file).read_bytes()
    (folder / file).write_bytes((folder / file).read_bytes().replace(old, new, 1))
    assert dictionary_says(folder)


# ------------------------------------------------------------------------------------------------ what mail clients drop

# What at least one of Gmail, Outlook and Yahoo drops or breaks (Can I email, as of June 2026), by where it may not be.
NOWHERE = {
    "space-separated rgb(): Gmail drops the whole attribute": r"rgba?\(\s*[\d.]+%?\s+[\d.]|hsla?\(|hwb\(|oklch\(|color-mix\(",
    "alpha colours: not in Outlook on Windows": r"rgba\(|#[0-9a-f]{8}\b|(?<![-\w])opacity\s*:",
    "variables and functions": r"var\(|calc\(|min\(|max\(|clamp\(|env\(",
    "flex, grid, columns, floats, positions": r"display\s*:\s*(inline-)?(flex|grid)|(?<![-\w])(float|position|columns|gap|inset)\s*:",
    "pictures and gradients": r"url\(|gradient\(|background-image",
    "fonts and rules from elsewhere": r"@import|@font-face|@supports|@layer|@container",
    "what moves": r"(?<![-\w])(transform|transition|animation|filter)\s*:|@keyframes",
    "negative or automatic margins": r"margin[a-z-]*\s*:[^;}\"]*(-\d|auto)",
    "relative lengths": r":[^;}\"]*\d(rem|vw|vh|ch|lh)\b",
    "new selectors": r":(is|has|where|not|nth-)\b",
    "logical properties": r"(margin|padding|border)-(inline|block)",
}
UNKNOWN_TO_MAIL = (
    r"<(img|svg|picture|script|link|object|iframe|form|input|button|main|nav|section|details|dialog|video|canvas)\b"
)


@pytest.fixture(scope="module")
def mails(published) -> dict[str, str]:
    return {name: path.read_text(encoding="utf-8") for name, path in published.items() if name.startswith(MAIL)}


def styles(html: str) -> list[tuple[str, str]]:
    """(tag, its style) of each element that has one."""
    return re.findall(r"<(\w+)\b[^>]*\bstyle=\"([^\"]*)\"", html)


@pytest.mark.parametrize("what", NOWHERE)
def test_mail_uses_only_what_clients_know(mails, what):
    for name, html in mails.items():
        css = [*(style for _, style in styles(html)), *re.findall(r"<style[^>]*>(.*?)</style>", html, flags=re.DOTALL)]
        assert [found[0] for text in css for found in re.finditer(NOWHERE[what], text)] == [], name


def test_mail_is_tables_with_padded_cells(mails):
    """Outlook on Windows pads cells only, and knows max-width on tables only."""
    for name, html in mails.items():
        assert not re.search(UNKNOWN_TO_MAIL, html), name
        tags = styles(html)
        assert len(tags) > 20
        padded = {tag for tag, style in tags if re.search(r"padding[a-z-]*\s*:\s*[^0;]", style)}
        assert padded <= {"td", "th", "a", "p"}, "a link's or a paragraph's padding may be lost: nothing hangs on it"
        assert {tag for tag, style in tags if "max-width" in style} <= {"table", "div"}
        assert not re.search(r"<table\b(?![^>]*\b(role=\"presentation\"|width=))", html)


def test_styles_of_mail_stay_small_and_apart(mails):
    """Gmail drops all style blocks at 16 kB, and a block with a rule inside a rule that it does not know."""
    for name, html in mails.items():
        blocks = re.findall(r"<style[^>]*>(.*?)</style>", html, flags=re.DOTALL)
        assert sum(len(block.encode()) for block in blocks) < 16_384, name
        assert not [block for block in blocks if "max-width" in block and "prefers-color-scheme" in block]
        assert not any(re.search(r"@media[^{]*\{[^@]*?@", block.split("}}")[0]) for block in blocks)
        assert html.index("charset") < html.index("<style")
