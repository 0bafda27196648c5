"""Publishing: files before the page, the account's list last, a final revision once and for ever."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
import statements_made as made

from etl.lake import StoreError, open_store
from etl.periods import Month
from etl.settings import ConfigurationError, ReportSettings
from reports import explore, files, publish
from reports.model import DoesNotAddUp, build
from reports.publish import TYPES, Changed, Damaged, Publisher, attachment

ACCOUNT = 5
"""Objects of the account: three all-time files, their package, the list of months."""


class Recorder:
    """A local store that remembers what was put, in order, with its headers, and may break at one put."""

    def __init__(self, root, break_at: int | None = None) -> None:
        self.inner = open_store(root)
        self.puts: list[tuple[str, dict]] = []
        self.break_at = break_at

    def put(self, key, data, **headers):
        if self.break_at is not None and len(self.puts) == self.break_at:
            raise StoreError("the disk is full")
        self.puts.append((key, headers))
        self.inner.put(key, data, **headers)

    def __getattr__(self, name):
        return getattr(self.inner, name)

    @property
    def keys(self) -> list[str]:
        return [key for key, _ in self.puts]


def settings(**more) -> ReportSettings:
    return ReportSettings(store={"url": "unused"}, **more)


def objects(statement, *, products: bool = False) -> int:
    """How many objects a final statement's first publication writes: its revision, its month, and the account's."""
    return 2 * (len(files.make(build(statement))) + 2) + ACCOUNT + products


@pytest.fixture
def quick(monkeypatch):
    """Each statement is built and its files are made once: what is tested is the writing."""
    monkeypatch.setattr(publish, "build", once(build))
    monkeypatch.setattr(files, "make", once(files.make))


def once(work):
    """The same, called once for each first argument."""
    done = {}

    def known(thing, *more):
        if id(thing) not in done:
            done[id(thing)] = thing, work(thing, *more)
        return done[id(thing)][1]

    return known


def contents(root) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_order_types_and_names(tmp_path, statements):
    store = Recorder(tmp_path / "out")
    done = Publisher(store).publish(statements["usual"])
    keys, month, rev = store.keys, "acct_7Q2M/2026-10", "acct_7Q2M/2026-10/rev-1"
    assert done.written == len(keys) == objects(statements["usual"])
    assert done.kept == 0 and done.page == f"{month}/index.html"
    assert keys[-2:] == ["acct_7Q2M/datapackage.json", "acct_7Q2M/index.html"], "the list of months is last"
    in_rev = [k for k in keys if k.startswith(rev)]
    assert in_rev[-1] == f"{rev}/index.html", "a revision's page is its last object"
    assert keys.index(f"{rev}/index.html") < keys.index(f"{month}/usage_daily.csv")
    assert keys.index(f"{month}/charges.csv") < keys.index(f"{month}/index.html")
    assert keys.index(f"{month}/statement.json") < keys.index("acct_7Q2M/all_daily.csv")
    head = dict(store.puts)
    assert head[f"{rev}/index.html"]["cache_control"] == "private, max-age=31536000, immutable"
    assert head[f"{month}/index.html"] == {
        "content_type": "text/html; charset=utf-8", "cache_control": "private, no-cache", "disposition": "inline",
    }  # fmt: skip
    csv = head[f"{month}/usage_daily.csv"]
    assert csv["content_type"] == "text/csv; charset=utf-8; header=present"
    assert csv["disposition"] == 'attachment; filename="acct_7Q2M_2026-10_usage_daily.csv"'
    joined = head["acct_7Q2M/all_daily.csv"]
    assert joined["disposition"] == 'attachment; filename="acct_7Q2M_all_daily.csv"'
    assert joined["cache_control"] == "private, no-cache"
    for key, headers in store.puts:
        assert headers["content_type"] == TYPES[key[key.rindex(".") :]]
        assert headers["disposition"].startswith(
            "attachment" if key.endswith((".csv", ".gz", ".parquet")) else "inline"
        )
        assert headers["cache_control"].endswith("immutable") == ("/rev-1/" in key)
    assert TYPES[".parquet"] == "application/vnd.apache.parquet"
    focus = head[f"{month}/focus.csv.gz"]
    assert focus["content_type"] == "application/gzip" and focus["disposition"].endswith('2026-10_focus.csv.gz"')


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("acct_1_2026-10_charges.csv", 'attachment; filename="acct_1_2026-10_charges.csv"'),
        ("Größe 1.csv", "attachment; filename=\"Gr__e_1.csv\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe%201.csv"),
        ('a"b\r\nX: y/../c.csv', "attachment; filename=\"a_b__X__y_.._c.csv\"; filename*=UTF-8''a%22b%0D%0AX%3A%20y%2F..%2Fc.csv"),
    ],
)  # fmt: skip
def test_names_of_downloads_are_plain_and_exact(name, header):
    assert attachment(name) == header and header.isascii()


def test_again_writes_nothing(tmp_path, statements):
    publisher = Publisher(open_store(tmp_path))
    publisher.publish(statements["usual"])
    before = contents(tmp_path)
    done = publisher.publish(statements["usual"])
    assert done.written == 0 and contents(tmp_path) == before


def test_a_published_revision_is_never_overwritten(tmp_path, statements):
    publisher = Publisher(open_store(tmp_path))
    publisher.publish(made.statement(lambda w: made.usual(w, back=6), month=Month(2026, 10)))
    before = {k: v for k, v in contents(tmp_path).items() if "/rev-1/" in k}
    # more months on the shelf, another contact: the month's own page follows, the revision's stays
    Publisher(open_store(tmp_path), settings(contact="new@tollbook.example")).publish(statements["usual"])
    after = contents(tmp_path)
    assert {k: v for k, v in after.items() if "/rev-1/" in k} == before
    assert b"new@tollbook.example" in after["acct_7Q2M/2026-10/index.html"]


def test_other_figures_under_a_published_revision_raise(tmp_path, statements):
    publisher = Publisher(open_store(tmp_path))
    publisher.publish(statements["usual"])
    before = contents(tmp_path)
    who = statements["usual"].account
    rows = [*made.usual(who), made.text(date(2026, 10, 5), who, ("member", "amara"), "outbound", 10, 10)]
    with pytest.raises(Changed, match="a closed month does not change"):
        publisher.publish(made.statement(rows, who=who))
    assert contents(tmp_path) == before


def test_how_an_amount_is_written_is_no_other_figure(tmp_path):
    who = made.account()
    given = made.statement(
        lambda w: [made.text(date(2026, 10, 5), w, ("member", "amara"), "outbound", 10000, 10000)], who=who
    )
    publisher = Publisher(open_store(tmp_path))
    publisher.publish(given)
    path = tmp_path / "acct_7Q2M/2026-10/rev-1/statement.json"
    said = json.loads(path.read_text())
    assert "E" not in "".join(said["figures"]["lines"])
    said["figures"]["lines"] = [f"{Decimal(line).normalize():E}" for line in said["figures"]["lines"]]
    path.write_text(json.dumps(said))
    assert publisher.publish(given).written == 0


@pytest.mark.parametrize("damage", ["{", "[]", '{"figures": {"total": "x", "lines": []}}', ""])
def test_a_damaged_revision_says_which_and_what_to_do(tmp_path, statements, damage):
    publisher = Publisher(open_store(tmp_path))
    publisher.publish(statements["usual"])
    (tmp_path / "acct_7Q2M/2026-10/rev-1/statement.json").write_text(damage)
    before = contents(tmp_path)
    with pytest.raises(
        Damaged, match=r"acct_7Q2M/2026-10/rev-1/statement.json cannot be read.*delete acct_7Q2M/2026-10/rev-1/"
    ):
        publisher.publish(statements["usual"])
    assert contents(tmp_path) == before


def test_revisions_stand_side_by_side_and_an_older_one_does_not_come_back(tmp_path, statements):
    publisher = Publisher(open_store(tmp_path))
    publisher.publish(statements["usual"])
    who = statements["usual"].account
    rows = [*made.usual(who), made.text(date(2026, 10, 5), who, ("member", "amara"), "outbound", 10, 10)]
    publisher.publish(made.statement(rows, who=who, revision=2))
    now = contents(tmp_path)
    assert b"revision 2" in now["acct_7Q2M/2026-10/index.html"] and "acct_7Q2M/2026-10/rev-2/index.html" in now
    assert b"$429.86" in now["acct_7Q2M/2026-10/rev-1/index.html"]
    for late in (statements["usual"], statements["open"]):
        done = publisher.publish(late)
        assert done.written == 0 and "revision 2 is published" in done.held[0]
    assert contents(tmp_path) == now


def test_broken_off_anywhere_the_next_run_completes_it(tmp_path, statements, quick):
    whole = tmp_path / "whole"
    Publisher(open_store(whole)).publish(statements["usual"])
    expected = contents(whole)
    for at in range(objects(statements["usual"])):
        broken = tmp_path / f"broken-{at}"
        with pytest.raises(StoreError, match="disk is full"):
            Publisher(Recorder(broken, break_at=at)).publish(statements["usual"])
        assert not (broken / "acct_7Q2M/index.html").exists()
        Publisher(open_store(broken)).publish(statements["usual"])
        assert contents(broken) == expected, at


def test_broken_off_no_page_leads_to_products_that_are_not_there(tmp_path, statements, quick):
    for at in range(0, objects(statements["rich"], products=True), 4):
        root = tmp_path / str(at)
        with pytest.raises(StoreError, match="disk is full"):
            Publisher(Recorder(root, break_at=at)).publish(statements["rich"])
        for page in root.rglob("index.html"):
            assert (root / "acct_rich/products.html").is_file() or "products.html" not in page.read_text()


def test_products_have_a_page_of_their_own(tmp_path, statements):
    store = Recorder(tmp_path)
    publisher = Publisher(store)
    who, september = statements["rich"].account, Month(2026, 9)
    rows = [r for r in made.rich_rows(who) if r["date"] <= september.days[-1]]
    publisher.publish(
        made.statement(
            rows, who=who, month=september, held_monthly=made.richly_held, state="provisional", taxes=made.TAXES
        )
    )
    store.puts.clear()
    done = publisher.publish(statements["rich"])
    assert store.keys[0] == "acct_rich/products.html" and done.written == len(store.keys)
    assert done.written == objects(statements["rich"], products=True) + 1, "and the menu of the month before"
    text = (tmp_path / "acct_rich/products.html").read_text()
    assert text.index("October\u00a02026") < text.index("September\u00a02026") and "Provisional" in text
    assert (
        "$249.00" in text and len(re.findall("5,?000 credits, recharge", text)) == 2 and text.count(">simulated<") == 1
    )
    listing = (tmp_path / "acct_rich/index.html").read_text()
    assert 'href="products.html"' in listing and "$249.00" in listing
    summary = json.loads((tmp_path / "acct_rich/2026-10/statement.json").read_text())
    assert summary["product_total"] == "249.00" and [p["amount"] for p in summary["products"]] == [
        "149.00",
        "50.00",
        "50.00",
    ]
    before = contents(tmp_path)
    assert publisher.publish(statements["rich"]).written == 0 and contents(tmp_path) == before


def test_products_that_were_withdrawn_leave_no_page_that_says_otherwise(tmp_path, statements):
    publisher = Publisher(open_store(tmp_path))
    publisher.publish(made.rich(state="provisional"))
    publisher.publish(made.rich(held_monthly=made.usually_held, ledger=[]))
    text = (tmp_path / "acct_rich/products.html").read_text()
    assert "Nothing was bought in any published month." in text and "$149.00" not in text
    assert "products.html" not in (tmp_path / "acct_rich/2026-10/index.html").read_text()


@pytest.mark.parametrize("what", ["ledger", "products"])
def test_other_credits_or_products_under_a_published_revision_raise(tmp_path, statements, what):
    publisher = Publisher(open_store(tmp_path))
    publisher.publish(statements["rich"])
    before = contents(tmp_path)
    if what == "ledger":
        other = made.rich(ledger=made.moved(*made.LEDGER, (30, "purchase", "late", 5)))
    else:
        pack = lambda w, m: [*made.richly_held(w, m), made.monthly(w, m, "credit_pack", "Late", 1, "pack", "5")]  # noqa: E731
        other = made.rich(held_monthly=pack)
    with pytest.raises(Changed, match="a closed month does not change"):
        publisher.publish(other)
    assert contents(tmp_path) == before


def _links(page) -> list[str]:
    """Every address in a page; those to a place in the page itself are looked up at once."""
    text = page.read_text()
    found = re.findall(
        r'(?:href|src|action|poster|data)="([^"]+)"', re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    )
    for link in found:
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in text, f"{page}: {link}"
    return [link for link in found if not link.startswith("#")]


@pytest.fixture(scope="module")
def tree(tmp_path_factory, statements):
    """Publishes several months of two accounts, products, revisions and a month published again, as a setting says."""

    def publish_(**more):
        root = tmp_path_factory.mktemp("tree")
        publisher = Publisher(open_store(root), settings(**more))
        who, few = made.account(), {"members": made.MEMBERS[:2], "inboxes": made.INBOXES[:1]}
        publisher.publish(statements["rich"])
        for month in (Month(2026, 8), Month(2026, 9), Month(2026, 10)):
            rows = lambda w, m=month: made.usual(w, month=m, back=3, **few)  # noqa: E731
            publisher.publish(made.statement(rows, who=who, month=month))
        rows = lambda w: made.usual(w, month=Month(2026, 9), back=3, members=made.MEMBERS[:3], inboxes=made.INBOXES[:1])  # noqa: E731
        publisher.publish(made.statement(rows, who=who, month=Month(2026, 9), revision=2))
        return root

    return publish_


def test_every_link_of_a_published_folder_leads_somewhere(tree):
    root = tree()
    pages = sorted(root.rglob("*.html"))
    assert len(pages) == 4 + 5 + 2 + 1, "months, revisions, lists, products"
    for page in pages:
        assert (found := _links(page))
        for link in found:
            assert (page.parent / link).resolve().is_relative_to(root / page.relative_to(root).parts[0]), link
            assert (page.parent / link).is_file(), f"{page}: {link}"
    september = (root / "acct_7Q2M/2026-09/index.html").read_text()
    assert "../2026-10/index.html" in september, "the menu leads forward too"
    assert "../2026-08/usage_daily.csv" in september
    listing = _links(root / "acct_7Q2M/index.html")
    assert {"2026-08/usage_daily.csv", "all_by_owner.csv", "datapackage.json"} <= set(listing)
    packages = [*root.rglob("datapackage.json")]
    for package in packages:
        for resource in json.loads(package.read_text())["resources"]:
            data = (package.parent / resource["path"]).read_bytes()
            assert resource["hash"] == f"sha256:{hashlib.sha256(data).hexdigest()}" and resource["bytes"] == len(data)
    assert len(packages) == 4 + 5 + 2


def test_every_link_through_a_service_names_an_object(tree):
    base = "https://s.example/x"
    root = tree(links="base_url", base_url=f"{base}/")
    for page in root.rglob("*.html"):
        assert (found := _links(page))
        for link in found:
            assert link.startswith(f"{base}/{page.relative_to(root).parts[0]}/"), f"{page}: {link}"
            assert (root / link.removeprefix(f"{base}/")).is_file(), f"{page}: {link}"


def test_nothing_is_written_when_the_figures_do_not_add_up(tmp_path, statements):
    good = statements["usual"]
    bad = replace(good, history=(*good.history[:-1], replace(good.history[-1], segments_sent=1)))
    with pytest.raises(DoesNotAddUp):
        Publisher(open_store(tmp_path)).publish(bad)
    assert contents(tmp_path) == {}


def test_accounts_never_meet(tmp_path, statements):
    publisher = Publisher(open_store(tmp_path))
    publisher.publish(statements["usual"])
    publisher.publish(statements["german"])
    for name, data in contents(tmp_path).items():
        other = b"acct_de" if name.startswith("acct_7Q2M") else b"acct_7Q2M"
        assert other not in data, name


def test_base_url_and_signed_links(tmp_path, statements):
    store = open_store(tmp_path)
    Publisher(store, settings(links="base_url", base_url="https://s.example/x/")).publish(statements["usual"])
    page = (tmp_path / "acct_7Q2M/2026-10/index.html").read_text()
    assert 'href="https://s.example/x/acct_7Q2M/2026-10/usage_daily.csv"' in page
    with pytest.raises(ConfigurationError, match="needs a store on S3"):
        Publisher(store, settings(links="presigned"))
    signing = Recorder(tmp_path / "signed")
    signing.presign = lambda key, seconds: f"https://bucket.example/{key}?X-Amz-Expires={seconds}"
    publisher = Publisher(signing, settings(links="presigned", link_days=2), lambda: date(2026, 11, 3))
    publisher.publish(statements["usual"])
    page = (tmp_path / "signed/acct_7Q2M/2026-10/index.html").read_text()
    assert "usage_daily.csv?X-Amz-Expires=172800" in page and "until November\u00a05, 2026" in page
    assert "acct_7Q2M/2026-10/" in page and "acct_de" not in page
    frozen = (tmp_path / "signed/acct_7Q2M/2026-10/rev-1/index.html").read_text()
    assert "X-Amz" not in frozen, "what is kept for ever carries no link that expires"
    mail = publisher.mail_links(build(statements["usual"]))
    assert mail.file("index.html").startswith("https://bucket.example/acct_7Q2M/2026-10/rev-1/index.html?")


def test_the_summary_says_what_is_published(tmp_path, statements):
    Publisher(open_store(tmp_path)).publish(statements["open"])
    summary = json.loads((tmp_path / "acct_7Q2M/2026-10/statement.json").read_text())
    assert (summary["state"], summary["total"], summary["through"]) == ("open", "261.38", "2026-10-17")
    days = explore.unpack(summary["explore"])
    assert (days.first, days.days, days.states[16:18]) == (date(2026, 10, 1), 31, "cu")
    assert not (tmp_path / "acct_7Q2M/2026-10/rev-0").exists(), "only final revisions get a folder"
