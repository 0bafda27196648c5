"""Mail as bytes: the same every time, small, with a text part that lacks no number, and headers nobody can break."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from email import message_from_bytes
from email.policy import default

import pytest
import statements_made as made
from test_report_pages import text_of

from etl.settings import MailSettings
from reports import remarks
from reports.formats import Formats
from reports.links import Links
from reports.mail import FINDINGS, HTML_LIMIT, TOP, NotSendable, compose, top
from reports.model import build

UNSUBSCRIBE = "https://statements.example.com/u/{account}?t=abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnop"
SETTINGS = MailSettings(connection="mail", sender="billing@tollbook.example", unsubscribe_url=UNSUBSCRIBE)


def links(page) -> Links:
    return Links(page.account_id, f"{page.account_id}/2026-10/rev-1", base_url="https://statements.example.com/")


def message(page, to="lena@harborfinch.example", settings=SETTINGS, **more):
    return compose(page, to, settings, links(page), contact="help@tollbook.example", **more)


def parts(data: bytes) -> tuple[str, str]:
    parsed = message_from_bytes(data, policy=default)
    return parsed.get_body(("html",)).get_content(), parsed.get_body(("plain",)).get_content()


def test_same_statement_same_bytes(statements):
    one = message(build(statements["usual"])).as_bytes()
    assert one == message(build(made.statement())).as_bytes()


def test_bytes_any_server_takes(each):
    data = message(build(each)).as_bytes()
    assert data.isascii() and b"\r\n" in data and b"\n" not in data.replace(b"\r\n", b"")
    assert max(len(line) for line in data.split(b"\r\n")) < 998
    assert data.count(b"Content-Transfer-Encoding: quoted-printable") == 2


def test_the_text_part_has_every_number_of_the_html(each):
    html, text = parts(message(build(each)).as_bytes())
    numbers = set(re.findall(r"[\d][\d.,]*", re.sub(r"https?://\S+", "", text_of(html))))
    have = set(re.findall(r"[\d][\d.,]*", text))
    assert {n.rstrip(".,") for n in numbers} <= {n.rstrip(".,") for n in have}


def test_the_charges_of_a_mail_add_up_to_its_total(each):
    page = build(each)
    shown = sum((amount for _, amount, _ in top(page)), Decimal(0))
    assert shown + page.taxed.now + (page.rounding or 0) + page.corrections.change.now == page.total.now
    assert len(top(page)) <= TOP


def test_a_mail_says_taxes_products_and_credits(pages_by_name):
    page = pages_by_name["rich"]
    html, text = parts(message(page).as_bytes())
    for said in (text_of(html), re.sub(r"\s+", " ", text)):
        assert "5 other charges $10.57" in said and "Taxes $135.41" in said and "Rounding difference $0.01" in said
        assert "Products, paid apart: $249.00" in said
        assert "Credits: 26,198 used, 1,204 lost at reset, 532 charged as overage, 1,880 left." in said
        assert "Credits left 1,880 9,032 when October began" in said
    address = "https://statements.example.com/acct_rich/products.html"
    assert f'href="{address}"' in html and address in text
    assert [label for label, *_ in top(page)] == [
        "Phone numbers", "Calls", "Texts", "Campaign calls", "Recording storage", "Carrier fees", "Adjustments",
        "5 other charges",
    ]  # fmt: skip
    bare = Links(page.account_id, "acct_rich/2026-10/rev-1", relative=False)
    html, _ = parts(compose(page, "a@b.example", SETTINGS, bare).as_bytes())
    assert "Products, paid apart" in html and "Subscriptions" not in html


def test_a_mail_tells_the_first_three_findings(each):
    page = build(each)
    f = Formats(page.locale, page.currency)
    html, text = parts(message(page).as_bytes())
    said = [re.sub(r"\s+", " ", part).replace("\u00a0", " ") for part in (text_of(html), text)]
    for i, remark in enumerate(remarks.remarks(page, f)):
        whole = f"{remark.bold} {remark.text}".strip().replace("\u00a0", " ")
        assert [whole in part for part in said] == [i < FINDINGS] * 2
        assert i >= FINDINGS or all(remark.figure.replace("\u00a0", " ") in part for part in said)
    assert ("Worth a look" in said[0]) == ("WORTH A LOOK" in said[1]) == bool(page.findings)


def test_a_mail_of_a_month_that_is_not_final_says_so(pages_by_name):
    html, text = parts(message(pages_by_name["open"], preview=True).as_bytes())
    for said in (text_of(html), re.sub(r"\s+", " ", text)):
        assert "October 2026 (estimated)" in said
        assert "Estimated, through October 17, less than 0.1% of records have no provider price yet." in said


def test_html_is_fit_for_mail(each):
    html, _ = parts(message(build(each)).as_bytes())
    assert len(html.encode()) < HTML_LIMIT
    assert not re.search(r"<(img|svg|script|link|form|main|nav|details)\b", html)
    assert "var(" not in html and "url(" not in html and not re.search(r"\brgba?\(|\bhsl|flex|grid", html)
    shown = re.findall(r"<td[^>]*>([^<>]*\d[^<>]*)</td>", html)
    assert shown and not any(" " in cell for cell in shown), "no value breaks in two"
    bars = re.findall(r'<td class="(?:fill|strong)"[^>]*>', html)
    assert all("bgcolor=" in bar and "height=" in bar for bar in bars)
    assert bars or not build(each).charges
    blocks = re.findall(r"<style[^>]*>(.*?)</style>", html, flags=re.DOTALL)
    assert sum(map(len, blocks)) < 16_384 and len(blocks) == 2
    assert html.index("charset") < html.index("@media")


def test_headers(statements):
    page = build(statements["usual"])
    head = message_from_bytes(message(page).as_bytes(), policy=default)
    assert head["Subject"] == "Harbor & Finch Realty: $429.86 for October 2026"
    assert head["Date"] == "Tue, 03 Nov 2026 06:12:00 +0000"
    assert head["Message-ID"] == "<usage.acct_7Q2M.2026-10.r1@tollbook.example>"
    assert head["In-Reply-To"] is None and head["Auto-Submitted"] == "auto-generated"
    assert head["List-Unsubscribe"] == f"<{UNSUBSCRIBE.replace('{account}', 'acct_7Q2M')}>"
    assert head["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert b"List-Unsubscribe: <https://" in message(page).as_bytes(), "never as encoded words"


def test_ways_to_stop_the_mails(pages_by_name):
    page = pages_by_name["usual"]
    by_mail = "<mailto:help@tollbook.example?subject=unsubscribe%20acct_7Q2M>"
    with_replies = SETTINGS.model_copy(update={"reply_to": "help@tollbook.example"})
    both = message(page, settings=with_replies)
    assert both["List-Unsubscribe"] == f"<{UNSUBSCRIBE.replace('{account}', 'acct_7Q2M')}>, {by_mail}"
    assert both["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    only = message(page, settings=with_replies.model_copy(update={"unsubscribe_url": None}))
    assert only["List-Unsubscribe"] == by_mail and only["List-Unsubscribe-Post"] is None
    none = message(page, settings=SETTINGS.model_copy(update={"unsubscribe_url": None}))
    assert none["List-Unsubscribe"] is None and "Stop these emails" not in parts(none.as_bytes())[1]


def test_a_corrected_statement_answers_the_first(statements):
    page = build(replace(statements["usual"], revision=2))
    head = message_from_bytes(message(page).as_bytes(), policy=default)
    assert head["Message-ID"] == "<usage.acct_7Q2M.2026-10.r2@tollbook.example>"
    assert head["In-Reply-To"] == head["References"] == "<usage.acct_7Q2M.2026-10.r1@tollbook.example>"
    assert head["Subject"].startswith("Corrected: ")


def test_long_ids_stay_whole():
    page = build(made.statement(who=made.account(account_id="a" * 64), revision=2))
    data = message(page).as_bytes()
    assert b"Message-ID: <usage." + b"a" * 64 + b".2026-10.r2@tollbook.example>\r\n" in data


def test_the_amount_can_be_kept_off_lock_screens(statements):
    page = build(statements["usual"])
    quiet = SETTINGS.model_copy(update={"amount_in_subject": False})
    assert "429" not in message(page, settings=quiet)["Subject"]


@pytest.mark.parametrize(
    "address",
    ["a@b.example\r\nBcc: all@b.example", "a@b.example, c@d.example", "a b@c.example", "<a@b.example>", "nobody", "",
     "a@b.example\n", "a@b\x00.example", '"x\\"@b.example'],
)  # fmt: skip
def test_addresses_that_would_split_a_header_are_refused(address, pages_by_name):
    with pytest.raises(NotSendable):
        message(pages_by_name["usual"], address)


def test_header_injection_through_names_is_refused(statements):
    evil = SETTINGS.model_copy(update={"sender_name": "Tollbook\r\nBcc: all@example.com"})
    with pytest.raises(NotSendable, match="control character"):
        message(build(statements["usual"]), settings=evil)
    who = replace(statements["usual"].account, name="Harbor\r\nBcc: all@example.com")
    data = message(build(replace(statements["usual"], account=who))).as_bytes()
    assert b"\r\nBcc:" not in data.partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize(
    "url", ["http://x.example", "https://x.example/>,<mailto:a@b", "https://x example", "https://ü.example"]
)
def test_unsubscribe_addresses_that_would_not_work_are_refused(url, pages_by_name):
    with pytest.raises(NotSendable, match="unsubscribe_url"):
        message(pages_by_name["usual"], settings=SETTINGS.model_copy(update={"unsubscribe_url": url}))


def test_without_an_address_on_the_web_the_mail_says_where_the_report_is(pages_by_name):
    page = pages_by_name["usual"]
    bare = Links(page.account_id, "acct_7Q2M/2026-10/rev-1", relative=False)
    html, text = parts(compose(page, "a@b.example", SETTINGS, bare).as_bytes())
    assert "acct_7Q2M/2026-10/rev-1" in html and "acct_7Q2M/2026-10/rev-1" in text
    assert "Download" not in text and 'href="None"' not in html


def test_hostile_names_stay_text_in_mail(pages_by_name):
    html, _ = parts(message(pages_by_name["hostile"]).as_bytes())
    assert "<img" not in html and "&lt;img src=x" in html


def test_no_phone_number_and_no_body(each):
    data = message(build(each)).as_bytes()
    assert b"3125550177" not in data and b"555 0142" not in data
