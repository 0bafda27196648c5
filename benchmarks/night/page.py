"""Tables in Markdown, and the sections of a page that several benchmarks write, each its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_section(page: Path, name: str, text: str) -> None:
    """``text`` between the markers of ``name`` in the page; at its end if it has none yet. The rest stays as it is."""
    begin, end = f"<!-- {name}: written by the benchmark -->", f"<!-- {name}: end -->"
    section = f"{begin}\n{text.strip()}\n{end}"
    old = page.read_text(encoding="utf-8") if page.exists() else "# Benchmarks\n"
    found = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    new = found.sub(lambda _: section, old) if found.search(old) else f"{old.rstrip()}\n\n{section}\n"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(new, encoding="utf-8")
