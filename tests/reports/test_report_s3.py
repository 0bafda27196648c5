"""The same on a real S3 server: what a browser is told about each object, what publishing again costs, and links that
open for whoever has them, until they end, and open nothing else."""

from __future__ import annotations

import re
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from html import unescape
from urllib.parse import parse_qs, urlsplit, urlunsplit

import boto3
import pytest
import statements_made as made

from etl.lake import open_store
from etl.periods import Month
from etl.settings import ConfigurationError, ReportSettings
from reports.model import build
from reports.publish import TYPES, Publisher
from stack.seaweed import make_bucket, seaweedfs

BUCKET = "statements"
FEW = {"members": made.MEMBERS[:2], "inboxes": made.INBOXES[:1]}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with seaweedfs(tmp_path_factory.mktemp("seaweed"), keep=False) as endpoint:
        make_bucket(*endpoint, BUCKET)
        yield endpoint


def store_of(server, prefix: str):
    url, access, secret = server
    return open_store(
        f"s3://{BUCKET}/{prefix}", endpoint_url=url, region="us-east-1", access_key=access, secret_key=secret
    )


def test_objects_have_their_headers(server, statements):
    store = store_of(server, "site")
    written = Publisher(store).publish(statements["usual"]).written
    url, access, secret = server
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=access, aws_secret_access_key=secret
    )
    keys = list(store.list("acct_7Q2M/"))
    assert written == len(keys)
    for key in keys:
        head = client.head_object(Bucket=BUCKET, Key=f"site/{key}")
        ending = key[key.rindex(".") :]
        assert head["ContentType"] == TYPES[ending], key
        revised = "private, max-age=31536000, immutable" if "/rev-1/" in key else "private, no-cache"
        assert head["CacheControl"] == revised, key
        name = key.replace("/rev-1/", "/").replace("/", "_")
        is_data = ending in (".csv", ".gz", ".parquet")
        assert head["ContentDisposition"] == (f'attachment; filename="{name}"' if is_data else "inline"), key
    again = Publisher(store).publish(statements["usual"])
    assert (again.written, again.kept) == (0, written)


# ------------------------------------------------------------------------------------------------ signed links


@pytest.fixture(scope="module")
def signed(server):
    """Two accounts published with signed links: (publisher, store, the signed address of one's list of months)."""
    store = store_of(server, "signed")
    today = datetime.now(UTC).date()
    publisher = Publisher(store, ReportSettings(store={"url": "unused"}, links="presigned", link_days=2), lambda: today)
    who = made.account()
    for month in (Month(2026, 9), Month(2026, 10)):
        rows = lambda w, m=month: made.usual(w, month=m, back=1, **FEW)  # noqa: E731
        publisher.publish(made.statement(rows, who=who, month=month))
    other = made.account(account_id="acct_7Q2M1", name="Another account")
    publisher.publish(made.statement(lambda w: made.usual(w, back=1, **FEW), who=other))
    return publisher, store, store.presign("acct_7Q2M/index.html", 60)


def fetch(url: str) -> tuple[int, bytes]:
    """As somebody without an account anywhere: (status, body)."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def links(html: bytes) -> list[str]:
    found = re.findall(r'href="([^"#]+)"', re.sub(r"<script.*?</script>", "", html.decode(), flags=re.DOTALL))
    return [unescape(link) for link in found]


def key_of(url: str) -> str:
    return urlsplit(url).path.removeprefix(f"/{BUCKET}/signed/")


def one(found: list[str], key: str) -> str:
    return next(url for url in found if key_of(url) == key)


def test_a_page_opens_and_leads_on_with_nothing_but_its_links(signed):
    _, store, index = signed
    status, listing = fetch(index)
    assert status == 200 and listing == store.get("acct_7Q2M/index.html")
    found = links(listing)
    status, month = fetch(one(found, "acct_7Q2M/2026-09/index.html"))
    assert status == 200 and b"September" in month
    status, data = fetch(one(links(month), "acct_7Q2M/2026-09/usage_daily.csv"))
    assert status == 200 and data == store.get("acct_7Q2M/2026-09/usage_daily.csv")
    for url in {*found, *links(month)}:
        assert fetch(url) == (200, store.get(key_of(url))), url
    assert {key_of(u) for u in found} >= {"acct_7Q2M/all_daily.csv", "acct_7Q2M/2026-10/index.html"}


def test_a_page_leads_to_its_own_account_only_and_says_for_how_long(signed):
    publisher, store, _ = signed
    ends = publisher.today().toordinal() + 2
    for key in store.list("acct_7Q2M/"):
        if not key.endswith(".html"):
            continue
        html = store.get(key)
        for url in (found := links(html)):
            assert key_of(url).startswith("acct_7Q2M/"), f"{key}: {url}"
            assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == ["172800"]
        if "/rev-" in key:
            assert not found and b"X-Amz" not in html, "what is kept for ever carries no link that expires"
        elif "products" not in key:
            last = publisher.today().fromordinal(ends)
            assert f"{last.day}, {last.year}".encode() in html and b"links of this page work until" in html


def test_a_link_opens_one_object_and_no_other(signed):
    _, _, index = signed
    parts = urlsplit(index)
    for other in (
        "acct_7Q2M1/index.html",
        "acct_7Q2M/2026-10/index.html",
        "acct_7Q2M/2026-10/usage_daily.csv",
        "acct_7Q2M/",
        "",
    ):
        moved = urlunsplit(parts._replace(path=f"/{BUCKET}/signed/{other}"))
        status, body = fetch(moved)
        assert status == 403 and b"Another account" not in body, other
    assert fetch(urlunsplit(parts._replace(query="")))[0] == 403, "nothing opens without a signature"


@pytest.mark.parametrize(
    ("what", "now"),
    [
        (r"(X-Amz-Signature=)(.)", lambda m: m[1] + ("0" if m[2] != "0" else "1")),
        (r"(X-Amz-Expires=)\d+", r"\g<1>604800"),
        (r"(X-Amz-Date=)(\d)", r"\g<1>3"),
        (r"(X-Amz-Credential=)(.)", r"\g<1>x"),
    ],
)
def test_a_link_that_was_tampered_with_opens_nothing(signed, what, now):
    changed, count = re.subn(what, now, signed[2])
    assert count == 1 and changed != signed[2]
    assert fetch(changed)[0] == 403


def test_a_link_ends(signed):
    _, store, _ = signed
    url = store.presign("acct_7Q2M/index.html", 1)
    assert fetch(url)[0] == 200
    until = time.monotonic() + 10
    while fetch(url)[0] == 200 and time.monotonic() < until:
        time.sleep(0.3)
    assert fetch(url)[0] == 403


def test_no_link_is_made_that_s3_would_refuse(signed):
    publisher, store, _ = signed
    with pytest.raises(ValueError, match="604800"):
        store.presign("acct_7Q2M/index.html", 604_801)
    settings = ReportSettings.model_construct(
        store=None, links="presigned", link_days=8, base_url=None, contact=None, issuer=None
    )
    with pytest.raises(ConfigurationError, match="reports.link_days = 8"):
        Publisher(store, settings)
    mail = publisher.mail_links(build(made.statement(lambda w: made.usual(w, back=1, **FEW))))
    assert fetch(mail.file("index.html"))[0] == 200, "a mail's link opens the revision it tells of"
