"""The statement on paper: its page, printed by an installed Chromium into a PDF that can be filed.

The PDF has the page's text, figures and links to the web; it asks nothing of the network. The same statement, browser and
fonts give the same bytes: the PDF is dated when the month was closed, not when it was printed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from etl.settings import ConfigurationError
from reports import pages, words
from reports.links import Links, month_folder
from reports.mail import dated
from reports.model import Page
from reports.pages import FileInfo

BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
"""Programs that can print, best first."""
SECONDS = 90
"""How long one page may take."""
_FLAGS = (
    "--headless", "--disable-gpu", "--no-first-run", "--no-default-browser-check", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic",
    "--disable-breakpad", "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND", "--no-pdf-header-footer",
)  # fmt: skip
_DATE = re.compile(rb"/(CreationDate|ModDate) \(D:\d{14}\+00'00'\)")


class NotPrinted(ChildProcessError):
    """The browser gave no PDF. The text says what it said last."""


@dataclass(frozen=True)
class Printer:
    """Prints pages with one browser. Each print has a profile of its own, so that several may run at once."""

    program: str

    @classmethod
    def found(cls) -> Printer:
        """The first browser on PATH. ConfigurationError if there is none."""
        for name in BROWSERS:
            if program := shutil.which(name):
                return cls(program)
        raise ConfigurationError(
            "printing needs Chromium or Chrome on PATH and found neither: apt-get install chromium"
        )

    def pdf(self, html: bytes, on: datetime) -> bytes:
        """The page as a PDF dated ``on``. `NotPrinted` if the browser fails or takes too long."""
        with tempfile.TemporaryDirectory(prefix="tollbook-paper-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            source, made, said = folder / "page.html", folder / "page.pdf", folder / "said"
            source.write_bytes(html)
            command = [self.program, *_FLAGS, f"--user-data-dir={folder / 'profile'}", f"--print-to-pdf={made}"]
            if os.geteuid() == 0:
                command.append("--no-sandbox")  # a browser run by root starts no other way
            with said.open("wb") as heard:
                code = _run([*command, source.as_uri()], heard)
            data = made.read_bytes() if made.exists() else b""
            if code or not data.startswith(b"%PDF-"):
                raise NotPrinted(f"{self.program} {_fate(code)}: {_last_line(said)}")
        return _DATE.sub(lambda found: _stamp(found[1], on), data)


def document(
    page: Page, files: Iterable[FileInfo], *, base_url: str | None = None, contact: str | None = None
) -> bytes:
    """The page that is printed. Paper has no folder beside it: its links are addresses on the web, or none."""
    links = Links(page.account_id, month_folder(page.account_id, page.month), base_url=base_url, relative=False)
    return pages.statement(page, links, files, contact=contact)


def print_page(printer: Printer, page: Page, html: bytes, out: Path) -> tuple[Path, bool]:
    """(the PDF in the folder ``out``, whether it was written: the same bytes are left alone). A reader never meets half a
    file."""
    data = printer.pdf(html, dated(page).astimezone(UTC))
    out.mkdir(parents=True, exist_ok=True)
    target = out / name(page)
    if target.exists() and target.read_bytes() == data:
        return target, False
    with tempfile.NamedTemporaryFile(dir=out, prefix=".", suffix=".part", delete=False) as draft:
        draft.write(data)
    Path(draft.name).chmod(0o644)
    Path(draft.name).replace(target)
    return target, True


def name(page: Page) -> str:
    """``acct_7Q2M_2026-10_rev-1.pdf``; of a month that is not final, its state: two of them are never mixed up."""
    standing = f"rev-{page.revision}" if page.final else words.STATES[page.state].lower()
    return f"{page.account_id}_{page.month}_{standing}.pdf"


def _run(command: list[str], heard) -> int | None:
    """Exit code, or None when the time was up. Nothing the browser started outlives it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=heard, stderr=heard, start_new_session=True)  # noqa: S603
    try:
        return process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _fate(code: int | None) -> str:
    if code is None:
        return f"had not printed after {SECONDS} seconds"
    return f"stopped with {code}" if code else "made no PDF"


def _last_line(said: Path) -> str:
    lines = [line for line in said.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def _stamp(field: bytes, on: datetime) -> bytes:
    return b"/%b (D:%b+00'00')" % (field, on.strftime("%Y%m%d%H%M%S").encode())
