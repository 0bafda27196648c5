"""The statement as an e-mail: one message per recipient, HTML and a text part written for reading.

The same statement, recipient and settings give the same bytes: the Date is when the month was closed, the Message-ID
names account, month and revision, the MIME boundary follows from both.
"""

from __future__ import annotations

import hashlib
import re
import textwrap
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from email.errors import HeaderParseError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime
from functools import lru_cache
from urllib.parse import quote

from etl.periods import Month
from etl.settings import MailSettings
from reports import remarks, words
from reports.charges import Change
from reports.corrected import fewest
from reports.formats import Formats, month_year
from reports.links import PAGE, Links
from reports.model import Page
from reports.naming import isolated
from reports.pages import environment, text_environment

HTML_LIMIT = 80_000
"""Bytes of HTML; well below the 102 kB at which Gmail cuts a message off."""
FINDINGS = 3
"""Findings in a mail; the page has the others."""
TOP = 8
"""Rows of charges in a mail; the page has them all."""
CHANGES, CORRECTED, WHYS = 6, 6, 3
"""Lines of a revision that differ, corrected months, and reasons of each; the page has more, its files have all."""
WIDTH = 72
_ADDRESS = re.compile(r"\A[^\s<>@,;:()\[\]\\\"]{1,64}@[A-Za-z0-9.-]{1,255}\Z")
_VERBATIM = {"message-id", "in-reply-to", "references", "list-id", "list-unsubscribe"}


class _Policy(EmailPolicy):
    """SMTP's policy, but addresses and ids stay on one line: folded, a long one would come out as encoded words, which
    no mail client follows."""

    def fold(self, name: str, value: str) -> str:
        return f"{name}: {value}{self.linesep}" if name.lower() in _VERBATIM else super().fold(name, value)

    def fold_binary(self, name: str, value: str) -> bytes:
        if name.lower() in _VERBATIM:
            return self.fold(name, value).encode("ascii")
        return super().fold_binary(name, value)


_POLICY = _Policy(linesep="\r\n")


class NotSendable(ValueError):
    """An address or header that no message is built from."""


def compose(
    page: Page,
    recipient: str,
    settings: MailSettings,
    links: Links,
    *,
    contact: str | None = None,
    preview: bool = False,
    explained: str | None = None,
) -> EmailMessage:
    """The message for one recipient. NotSendable for an address or name that would not stay inside its header.
    ``explained`` is the link to where the amounts come from."""
    f = Formats(page.locale, page.currency)
    unsubscribe = _unsubscribe(page, settings)
    report = links.file(PAGE)
    values = {
        "page": page,
        "f": f,
        "subject": subject(page, f, settings, preview=preview),
        "report": report,
        "explained": explained,
        "products": links.products,
        "charges": top(page),
        "folder": links.folder,
        "downloads": [(n, links.file(n)) for n in ("usage_daily.csv", "charges.csv", "usage_by_owner.csv")],
        "expires": links.expires,
        "unsubscribe": unsubscribe[0] if unsubscribe else None,
        "contact": contact,
        "notes": words.notes(page),
        "findings": remarks.remarks(page, f, FINDINGS),
        "longest": max((row.usage.segments for row in page.history), default=0),
        "corrected": _corrected(page, f, links),
        "changed": fewest((*page.revised.changes, *page.revised.products), CHANGES) if page.revised else (),
        "revised_totals": _totals(page),
    }
    message = EmailMessage(policy=_POLICY)
    try:
        _head(message, page, recipient, settings, values["subject"], unsubscribe, preview)
    except (ValueError, IndexError, HeaderParseError) as error:
        raise NotSendable(f"no message to {recipient!r}: {error}") from None
    html = _html(values)
    if len(html.encode()) > HTML_LIMIT:
        raise NotSendable(f"the message has {len(html.encode())} bytes of HTML, more than {HTML_LIMIT}")
    message.set_content(_text(values), cte="quoted-printable")
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    identity = hashlib.sha256(message["Message-ID"].encode()).hexdigest()
    message.set_boundary(f"=_tollbook_{identity[:32]}")
    return message


def top(page: Page) -> list[tuple[str, Decimal, Change]]:
    """(label, amount, change) of the charges, in statement order: the largest, and the rest in one row."""
    if len(page.charges) <= TOP:
        return [(row.label, row.amount, row.change) for row in page.charges]
    shown = sorted(page.charges, key=lambda row: -max(abs(row.amount), abs(row.change.before or 0)))[: TOP - 1]
    rest = [row for row in page.charges if row not in shown]
    befores = [row.change.before for row in rest]
    amount = sum((row.amount for row in rest), Decimal(0))
    before = None if None in befores else sum(befores, Decimal(0))
    rows = [(row.label, row.amount, row.change) for row in page.charges if row in shown]
    return [*rows, (f"{len(rest)} other charges", amount, Change(amount, before))]


def _corrected(page: Page, f: Formats, links: Links) -> list[tuple[str, str | None, str, Decimal]]:
    """(month, link to its statement, why, amount) of what is corrected of closed months; of many, the newest and the rest."""
    rows = []
    for months, more in ((page.corrections.months, ""), (page.corrections.products, ", products paid apart")):
        shown = months if len(months) <= CORRECTED else months[1 - CORRECTED :]
        rest = months[: len(months) - len(shown)]
        if rest:
            amount = sum((month.amount for month in rest), Decimal(0))
            rows.append((f"{len(rest)} earlier months{more}", None, "", amount))
        rows += [
            (
                f"{month_year(month.month)}{more}", links.month(month.month),
                words.whys(month, month.month, f, WHYS), month.amount,
            )
            for month in shown
        ]  # fmt: skip
    return rows


def _totals(page: Page) -> list[tuple[str, Change]]:
    """What a revision and the one before came to; of the products where that differs."""
    if page.revised is None:
        return []
    more = [("Products, paid apart", page.revised.product_total)] if page.revised.products else []
    return [("Total", page.revised.total), *more]


def subject(page: Page, f: Formats, settings: MailSettings, *, preview: bool = False) -> str:
    name = month_year(page.month).replace("\u00a0", " ")
    who = isolated(page.account_name)
    said = (
        f"{who}: {f.money(page.total.now)} for {name}" if settings.amount_in_subject else f"{who}: statement for {name}"
    )
    if page.state != "final":
        said += f" ({words.STATES[page.state].lower()})"
    if page.revision > 1:
        said = f"Corrected: {said}"
    return f"Preview: {said}" if preview else said


def message_id(account_id: str, month: Month, revision: int, sender: str) -> str:
    """The same for every attempt and recipient, so that a mailbox can tell a repeat."""
    return f"<usage.{account_id}.{month}.r{revision}@{sender.rpartition('@')[2]}>"


def check_address(address: str) -> str:
    """The address, or NotSendable: one address, nothing a header would be split by."""
    if not _ADDRESS.match(address):
        raise NotSendable(f"{address!r} is not one e-mail address")
    return address


def _head(
    message: EmailMessage, page: Page, recipient: str, settings: MailSettings, title: str, unsubscribe: list[str],
    preview: bool,
) -> None:  # fmt: skip
    domain = settings.sender.rpartition("@")[2]
    for text in (title, settings.sender_name):
        if re.search(r"[\x00-\x1f\x7f]", text):
            raise NotSendable(f"a control character in {text!r} would end the header")
    message["From"] = Address(settings.sender_name, addr_spec=check_address(settings.sender))
    message["To"] = Address(addr_spec=check_address(recipient))
    if settings.reply_to:
        message["Reply-To"] = Address(addr_spec=check_address(settings.reply_to))
    message["Subject"] = title
    message["Date"] = format_datetime(dated(page))
    mine = message_id(page.account_id, page.month, page.revision, settings.sender)
    if preview:
        mine = mine.replace("<usage.", "<preview.")
    message["Message-ID"] = mine
    if page.revision > 1 and not preview:
        first = message_id(page.account_id, page.month, 1, settings.sender)
        message["In-Reply-To"] = first
        message["References"] = first
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    message["List-Id"] = f"<{page.account_id.lower()}.usage.{domain}>"
    message["Content-Language"] = "en"
    if unsubscribe:
        message["List-Unsubscribe"] = ", ".join(f"<{way}>" for way in unsubscribe)
        if unsubscribe[0].startswith("https:"):
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"


def _unsubscribe(page: Page, settings: MailSettings) -> list[str]:
    """The ways to stop the mails, the best first: one click (RFC 8058), then a mail to whoever reads the replies."""
    ways = []
    if settings.unsubscribe_url:
        url = settings.unsubscribe_url.replace("{account}", quote(page.account_id))
        if not re.fullmatch(r"https://[!-~]+", url) or set(url) & set("<>,"):
            raise NotSendable(f"mail.unsubscribe_url must be an https address, not {url!r}")
        ways.append(url)
    if settings.reply_to:
        ways.append(f"mailto:{check_address(settings.reply_to)}?subject=unsubscribe%20{quote(page.account_id)}")
    return ways


def dated(page: Page) -> datetime:
    """The date a statement carries: when the month was closed; of an open one, the end of the last day in it."""
    if page.closed_at:
        return page.closed_at
    day = page.through or page.month.first
    return datetime.combine(day + timedelta(days=1), time(), UTC)


def _html(values: dict) -> str:
    text = (
        environment()
        .get_template("mail.html.j2")
        .render(preheader=words.plain(words.headline(values["page"], values["f"])), **values)
    )
    text = "\n".join(line.strip() for line in text.split("\n") if line.strip())
    return _inliner().inline(text)


def _text(values: dict) -> str:
    lead = textwrap.wrap(words.plain(words.headline(values["page"], values["f"])), WIDTH, break_on_hyphens=False)
    text = text_environment().get_template("mail.txt.j2").render(lead=lead, pad=_left, rpad=_right, **values)
    lines = []
    for line in text.replace("\u00a0", " ").split("\n"):
        line = line.rstrip()
        hang = "  " if line.startswith("* ") else ""
        sentence = len(line) > WIDTH and "://" not in line
        lines += textwrap.wrap(line, WIDTH, subsequent_indent=hang, break_on_hyphens=False) if sentence else [line]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def _left(text: str, width: int) -> str:
    return text.ljust(width - 1) + " "


def _right(text: str, width: int) -> str:
    return text.rjust(width)


@lru_cache(maxsize=1)
def _inliner():
    import css_inline

    return css_inline.CSSInliner(
        keep_style_tags=False, load_remote_stylesheets=False, minify_css=True, remove_inlined_selectors=False
    )
