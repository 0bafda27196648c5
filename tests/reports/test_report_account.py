"""The account's list of months, its all-time files, the menus of all pages, and what publishing costs."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from datetime import date
from decimal import Decimal
from html import unescape
from pathlib import Path

import pytest
import statements_made as made
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from reportshelp import make_jobs
from test_report_publish import contents, once

from etl.lake import StoreError, open_store
from etl.periods import Month
from etl.settings import ReportSettings
from reports import account, alltime, explore, files, menus, pages, publish
from reports.formats import Formats
from reports.jobs import Reports
from reports.links import Links
from reports.model import build
from reports.publish import Publisher
from reports.shelf import Shelved, read
from reports.tabular import Column, from_rows, restore

OCTOBER = made.OCTOBER
ID = "acct_7Q2M"
FEW = {"members": made.MEMBERS[:2], "inboxes": made.INBOXES[:1]}


def telling(month: Month, people: int = 2, **more):
    """A statement with figures of the five months before."""
    few = {"members": made.MEMBERS[:people], "inboxes": made.INBOXES[:1]}
    return made.statement(lambda w: made.usual(w, month=month, back=6, **few), month=month, **more)


def statement(month: Month, who=None, **more):
    rows = more.pop("rows", lambda w: made.usual(w, month=month, back=1, **FEW))
    return made.statement(rows, who=who, month=month, **more)


@pytest.fixture(scope="module")
def months():
    """Statements of the six months up to October, each built once."""
    return {month: statement(month) for month in OCTOBER.last(6)}


@pytest.fixture
def quick(monkeypatch):
    """Each statement is built and its files are made once: what is tested comes after."""
    monkeypatch.setattr(publish, "build", once(build))
    monkeypatch.setattr(files, "make", once(files.make))


class Counted:
    """A local store that counts what it is asked, and does something at a put it is told of."""

    def __init__(self, root, at: int | None = None, then=None, at_list: int | None = None) -> None:
        self.inner = open_store(root)
        self.asked: Counter[str] = Counter()
        self.read: list[str] = []
        self.at, self.then, self.at_list = at, then, at_list

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def get(self, key):
        self.asked["get"] += 1
        self.read.append(key)
        return self.inner.get(key)

    def digest(self, key):
        self.asked["head"] += 1
        return self.inner.digest(key)

    def exists(self, key):
        self.asked["head"] += 1
        return self.inner.exists(key)

    def list(self, prefix, **more):
        if self.asked["list"] == self.at_list:
            self.at_list = None
            self.then()
        self.asked["list"] += 1
        return self.inner.list(prefix, **more)

    def put(self, key, data, **headers):
        if self.asked["put"] == self.at:
            self.at = None
            self.then()
        self.asked["put"] += 1
        self.inner.put(key, data, **headers)


def standing(tmp_path, statements_) -> Path:
    """A folder in which these are published."""
    for each in statements_:
        Publisher(open_store(tmp_path / "before")).publish(each)
    return tmp_path / "before"


def table(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def main_of(html: str) -> str:
    text = re.sub(r"</?b>", "", html.partition("<main")[2].partition("</main>")[0])
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", text))).replace("\u00a0", " ")


def menu_of(html: str) -> str:
    return html.partition('<nav class="pick"')[2].partition("</nav>")[0]


# ------------------------------------------------------------------------------------------------ joined records

CELLS = st.text(st.sampled_from("ab,\"'=\n\r ;é"), max_size=6)


@examples(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 2), CELLS, CELLS), max_size=12))
def test_joined_records_are_the_months_own(rows):
    """Whatever stands in a text cell, each record comes through byte for byte, in its month."""
    columns = (Column("date", "date", ""), Column("name", "string", ""), Column("note", "string", "", required=False))
    by_month: dict[str, list] = {}
    for offset, name, note in rows:
        by_month.setdefault(str(Month(2026, 1) + offset), []).append([date(2026, 1 + offset, 3), name, note])
    made_files = {m: from_rows("x.csv", "", columns, (), own).data for m, own in by_month.items()}
    header = b"date,name,note\r\n"
    whole = header + b"".join(alltime.own(data, header, m) for m, data in sorted(made_files.items()))
    together = from_rows("x.csv", "", columns, (), [row for m in sorted(by_month) for row in by_month[m]])
    assert whole == together.data and b"".join(alltime.records(whole)) == whole
    assert [restore(r["name"]) for r in table(whole)] == [row[1] for m in sorted(by_month) for row in by_month[m]]
    assert alltime.by_month(whole) == {m: data[len(header) :] for m, data in made_files.items()}


def test_cells_of_another_release_find_their_columns():
    theirs = b'date,gone,name,charge\r\n2026-05-01,x,\'=1+1,0.5\r\n2026-05-02,,"a,""b""",\r\n2026-06-01,x,y,1\r\n'
    placed = alltime.own(theirs, b"date,name,credits,charge\r\n", "2026-05")
    assert placed == b'2026-05-01,\'=1+1,,0.5\r\n2026-05-02,"a,""b""",,\r\n'


# ------------------------------------------------------------------------------------------------ what the months say


def test_the_account_says_what_its_months_say(tmp_path, months):
    publisher = Publisher(open_store(tmp_path))
    for month in OCTOBER.last(3):
        publisher.publish(months[month])
    publisher.publish(statement(OCTOBER - 2, revision=2, rows=lambda w: made.usual(w, month=OCTOBER - 2, back=1)))
    here = tmp_path / ID
    for name, source in (("all_daily.csv", "usage_daily.csv"), ("all_by_owner.csv", "usage_by_owner.csv")):
        whole = (here / name).read_bytes()
        parts = [(here / str(month) / source).read_bytes() for month in OCTOBER.last(3)]
        assert table(whole) == [row for part in parts for row in table(part)] and whole.count(b"\r\ndate,") == 0
    monthly = table((here / "all_monthly.csv").read_bytes())
    summaries = [json.loads((here / str(month) / "statement.json").read_text()) for month in OCTOBER.last(3)]
    assert [row["total"] for row in monthly] == [s["total"] for s in summaries]
    assert [row["revision"] for row in monthly] == ["2", "1", "1"]
    html = (here / "index.html").read_text()
    text, f = main_of(html), Formats("en_US", "USD")
    for s in summaries:
        assert f.money(Decimal(s["total"])) in text and f.count(sum(s["figures"]["messages"])) in text
    assert f.money(sum(Decimal(s["total"]) for s in summaries)) in text and "Final, revision 2" in text
    assert (
        f"You were charged {f.money(Decimal(summaries[-1]['total']))} for October 2026. The statement is final." in text
    )
    assert re.findall(r'href="(2026-\d\d)/usage_daily.csv"', html) == ["2026-10", "2026-09", "2026-08"]
    package = json.loads((here / "datapackage.json").read_text())
    for resource in package["resources"]:
        data = (here / resource["path"]).read_bytes()
        assert resource["hash"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
        assert (resource["bytes"], resource["rows"]) == (len(data), len(table(data)))
        assert [field["name"] for field in resource["schema"]["fields"]] == list(
            csv.reader([data.decode().split("\r\n")[0]])
        )[0]
    for month in OCTOBER.last(3):
        data = (here / str(month) / "statement.json").read_bytes()
        assert package["months"][str(month)]["sha256"] == hashlib.sha256(data).hexdigest()


def test_a_reader_of_packages_is_content(tmp_path, months):
    from frictionless import Package

    publisher = Publisher(open_store(tmp_path))
    publisher.publish(months[OCTOBER - 1])
    publisher.publish(
        statement(OCTOBER, rows=made.open_month().daily.rows(named=True), state="open", through="2026-10-17")
    )
    report = Package(str(tmp_path / ID / "datapackage.json")).validate()
    assert report.valid, report.flatten(["title", "message"])
    assert [task.name for task in report.tasks] == ["all-daily", "all-by-owner", "all-monthly"]


def test_the_explorer_has_all_days_of_all_months(tmp_path, months):
    publisher = Publisher(open_store(tmp_path))
    for month in (OCTOBER - 3, OCTOBER - 1, OCTOBER):
        publisher.publish(months[month])
    html = (tmp_path / ID / "index.html").read_text()
    data = json.loads(unescape(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', html, re.DOTALL)[1]))
    days = explore.unpack(data)
    assert (days.first, days.last) == (date(2026, 7, 1), date(2026, 10, 31))
    assert days.states == "c" * 31 + "u" * 31 + "c" * 61
    owners = table((tmp_path / ID / "all_by_owner.csv").read_bytes())
    for sent in ("messages", "segments"):
        from_csv = sum(int(row[f"outbound_{sent}"]) for row in owners)
        assert sum(sum(s.figures[f"{sent}_sent"]) for s in days.series) == from_csv > 0
    assert "There is no statement of August 2026." in main_of(html)


# ------------------------------------------------------------------------------------------------ what goes wrong


def test_a_month_that_cannot_be_read_is_named_and_mends(tmp_path, months):
    publisher = Publisher(open_store(tmp_path))
    for month in OCTOBER.last(3):
        publisher.publish(months[month])
    whole = contents(tmp_path)
    broken = tmp_path / ID / "2026-09/statement.json"
    for damage in (b"{", b"[]", b'{"month": "2026-09"}', b"\xff"):
        broken.write_bytes(damage)
        publisher.publish(months[OCTOBER])
        text = main_of((tmp_path / ID / "index.html").read_text())
        assert "What September 2026 came to cannot be read at the moment" in text and "Not readable" in text
        assert "All months – – –" in text, "no sum that lacks a month"
        assert {r["month"] for r in table((tmp_path / ID / "all_monthly.csv").read_bytes())} == {
            "2026-08",
            "2026-10",
        }
        menu = menu_of((tmp_path / ID / "index.html").read_text())
        assert "September" in menu, "its page is still there to be opened"
    publisher.publish(months[OCTOBER - 1])
    assert contents(tmp_path) == whole


def test_a_file_that_was_lost_or_changed_is_named_and_mends(tmp_path, months):
    publisher = Publisher(open_store(tmp_path))
    for month in OCTOBER.last(3):
        publisher.publish(months[month])
    whole = contents(tmp_path)
    (tmp_path / ID / "2026-09/usage_daily.csv").unlink()
    (tmp_path / ID / "2026-08/usage_daily.csv").write_bytes(b"date\r\n")
    (tmp_path / ID / "all_daily.csv").write_bytes(b"somebody was here")
    changed = statement(OCTOBER, rows=lambda w: made.usual(w, month=OCTOBER, back=1), revision=2)
    publisher.publish(changed)
    text = main_of((tmp_path / ID / "index.html").read_text())
    assert "The files below lack August 2026 and September 2026" in text
    days = table((tmp_path / ID / "all_daily.csv").read_bytes())
    assert {r["date"][:7] for r in days} == {"2026-10"}
    for month in (OCTOBER - 1, OCTOBER - 2):
        publisher.publish(months[month])
    assert len(table((tmp_path / ID / "all_daily.csv").read_bytes())) == 30 + 31 + 31
    assert "lack" not in main_of((tmp_path / ID / "index.html").read_text())
    now = contents(tmp_path)
    assert all(now[key] == whole[key] for key in whole if "/2026-09/" in key and not key.endswith("index.html"))


def test_a_lost_list_of_months_comes_back(tmp_path, months):
    publisher = Publisher(open_store(tmp_path))
    publisher.publish(months[OCTOBER])
    whole = contents(tmp_path)
    for name in ("index.html", "datapackage.json", "all_daily.csv"):
        (tmp_path / ID / name).unlink()
        publisher.publish(months[OCTOBER])
        assert contents(tmp_path) == whole, name
    (tmp_path / ID / "datapackage.json").write_text("no json")
    publisher.publish(months[OCTOBER])
    assert contents(tmp_path) == whole


def test_a_month_of_an_older_release_is_unknown_until_published_again(tmp_path, months):
    publisher = Publisher(open_store(tmp_path))
    publisher.publish(months[OCTOBER - 1])
    old = tmp_path / ID / "2026-09/statement.json"
    old.write_text(json.dumps({k: v for k, v in json.loads(old.read_text()).items() if k != "explore"}))
    publisher.publish(months[OCTOBER])
    html = (tmp_path / ID / "index.html").read_text()
    assert "The days of September 2026 are unknown on this page" in main_of(html)
    assert f"{Formats('en_US', 'USD').money(months[OCTOBER - 1].total)}" in main_of(html), "its total is known"
    publisher.publish(months[OCTOBER - 1])
    assert "unknown on this page" not in main_of((tmp_path / ID / "index.html").read_text())


def test_an_unreadable_summary_does_not_let_an_estimate_over_a_final_month(tmp_path, months):
    publisher = Publisher(open_store(tmp_path))
    publisher.publish(months[OCTOBER])
    before = contents(tmp_path)
    (tmp_path / ID / "2026-10/statement.json").write_text("{")
    done = publisher.publish(statement(OCTOBER, state="provisional"))
    assert done.written == 0 and "final revision 1 is published" in done.held[0]
    publisher.publish(months[OCTOBER])
    assert contents(tmp_path) == before


def test_broken_off_between_two_months_either_of_them_mends_the_list(tmp_path, months, quick):
    august, september, october = (months[m] for m in OCTOBER.last(3))
    whole = tmp_path / "whole"
    for each in (august, september, october):
        Publisher(open_store(whole)).publish(each)
    expected = contents(whole)

    def fail():
        raise StoreError("the disk is full")

    before, counted = standing(tmp_path, (august, september)), Counted(tmp_path / "counted")
    shutil.copytree(before, tmp_path / "counted")
    Publisher(counted).publish(october)
    puts = counted.asked["put"]
    for at in (1, puts // 2, *range(puts - 7, puts)):
        root = tmp_path / f"at-{at}"
        shutil.copytree(before, root)
        with pytest.raises(StoreError, match="disk is full"):
            Publisher(Counted(root, at, fail)).publish(october)
        for page in (p for p in root.rglob("*.html") if "rev-" not in p.parent.name):
            for link in re.findall(r'href="([^"#]+)"', page.read_text()):
                assert (page.parent / link).is_file(), f"broken off at {at}: {page} {link}"
        Publisher(open_store(root)).publish(august)
        if (root / ID / "2026-10/statement.json").exists():
            listed = json.loads((root / ID / "datapackage.json").read_text())["months"]
            assert set(listed) == {"2026-08", "2026-09", "2026-10"}, "the other month's publication takes it in"
        Publisher(open_store(root)).publish(october)
        assert contents(root) == expected, at


def test_two_that_publish_at_once_end_as_one_after_the_other(tmp_path, months, quick):
    july, august, september, october = (months[m] for m in OCTOBER.last(4))
    whole = tmp_path / "whole"
    for each in (july, august, september, october):
        Publisher(open_store(whole)).publish(each)
    expected = contents(whole)
    before, counted = standing(tmp_path, (july, august)), Counted(tmp_path / "counted")
    shutil.copytree(before, tmp_path / "counted")
    Publisher(counted).publish(september)
    puts = counted.asked["put"]
    for at in (0, puts // 3, puts // 2, *range(puts - 7, puts, 2)):
        root = tmp_path / f"at-{at}"
        shutil.copytree(before, root)
        rival = Publisher(open_store(root))
        done = Publisher(Counted(root, at, lambda rival=rival: rival.publish(october))).publish(september)
        assert done.follow == ()
        now = contents(root)
        different = {key for key in expected.keys() | now.keys() if expected.get(key) != now.get(key)}
        # a revision's menu is of the moment it was written
        assert different <= {f"{ID}/2026-10/rev-1/index.html"}, (at, different)


def test_an_estimate_never_stays_over_a_final_month_that_was_published_meanwhile(tmp_path, months, quick):
    september, final, estimate = months[OCTOBER - 1], months[OCTOBER], statement(OCTOBER, state="provisional")
    whole = tmp_path / "whole"
    for each in (september, final):
        Publisher(open_store(whole)).publish(each)
    expected = contents(whole)
    before, counted = standing(tmp_path, (september,)), Counted(tmp_path / "counted")
    shutil.copytree(before, tmp_path / "counted")
    Publisher(counted).publish(estimate)
    puts = counted.asked["put"]

    def race(name, **when):
        root = tmp_path / name
        shutil.copytree(before, root)
        rival = Publisher(open_store(root))
        done = Publisher(Counted(root, then=lambda: rival.publish(final), **when)).publish(estimate)
        assert "final revision 1 is published" in done.held[0], name
        return root, done

    root, done = race("before-the-first", at_list=1)
    assert contents(root) == expected and done.follow == () and done.written == 0, "looked up right before writing"
    for at in range(0, puts, 5):
        root, done = race(f"at-{at}", at=at)
        assert done.follow == (OCTOBER,), at
        again = Publisher(open_store(root))
        assert again.publish(september).follow == (OCTOBER,) or contents(root) == expected, "the next run finds it too"
        again.publish(final)
        assert contents(root) == expected, at
        assert again.publish(september).follow == ()


def test_the_verb_puts_the_final_month_back(tmp_path, months, quick):
    estimate = statement(OCTOBER, state="provisional")
    jobs = make_jobs(tmp_path, [estimate], links="relative")
    rival = Reports(make_jobs(tmp_path, [months[OCTOBER]], links="relative"))

    def closed():
        list(rival.publish(OCTOBER))
        jobs.statements.given[:] = [months[OCTOBER]]

    reports = Reports(jobs)
    reports.publisher.store = Counted(tmp_path / "published", 3, closed)
    (outcome,) = reports.publish(OCTOBER)
    assert outcome.error is None and outcome.held
    assert json.loads((tmp_path / "published" / ID / "2026-10/statement.json").read_text())["state"] == "final"


def test_a_menu_is_not_put_into_a_page_that_was_replaced_meanwhile(tmp_path, months, quick):
    august, september, october = (months[m] for m in OCTOBER.last(3))
    again = statement(OCTOBER - 1, revision=2, rows=lambda w: made.usual(w, month=OCTOBER - 1, back=1))
    root = tmp_path / "raced"
    for each in (august, september):
        Publisher(open_store(root)).publish(each)
    key = f"{ID}/2026-09/index.html"

    class Raced(Counted):
        def digest(self, asked):
            if asked == key and key in self.read and self.then:
                then, self.then = self.then, None
                then()
            return super().digest(asked)

    Publisher(Raced(root, then=lambda: Publisher(open_store(root)).publish(again))).publish(october)
    html = (root / key).read_text()
    assert "revision 2" in main_of(html) and "2026-10/index.html" in menu_of(html)


def test_followers_survive_a_run_that_breaks_off(tmp_path):
    months_ = OCTOBER.last(4)
    rest = [telling(m, state="provisional") for m in months_[1:]]
    jobs = make_jobs(tmp_path, [telling(months_[0]), *rest], links="relative")
    for month in months_:
        assert [o.error for o in Reports(jobs).publish(month, [ID])] == [None]
    jobs.statements.given[0] = telling(months_[0], 3, revision=2)
    publisher = Reports(jobs).publisher
    assert publisher.publish(jobs.statements.given[0]).follow == tuple(months_[1:]), "and here the run breaks off"
    assert publisher.publish(jobs.statements.given[0]).follow == tuple(months_[1:])
    assert publisher.publish(jobs.statements.given[3]).follow == tuple(months_[1:3]), "whichever month comes next"


def test_a_follower_that_fails_is_named_beside_what_was_published(tmp_path):
    months_ = OCTOBER.last(3)
    rest = [telling(m, state="provisional") for m in months_[1:]]
    jobs = make_jobs(tmp_path, [telling(months_[0]), *rest], links="relative")
    for month in months_:
        list(Reports(jobs).publish(month, [ID]))
    jobs.statements.given[:] = [telling(months_[0], 3, revision=2), jobs.statements.given[2]]
    (outcome,) = Reports(jobs).publish(months_[0], [ID])
    assert outcome.error.startswith(f"{months_[0]} was dealt with") and f"{months_[1]}: LookupError" in outcome.error
    assert str(months_[2]) not in outcome.error and outcome.revision == 2 and outcome.done > 0


@pytest.mark.parametrize(
    "damage",
    [{"resources": ["x"]}, {"resources": 3}, {"resources": [{"path": "all_daily.csv", "schema": []}]}, {"index": "x"}],
)
def test_a_damaged_package_is_made_anew(tmp_path, months, quick, damage):
    publisher = Publisher(open_store(tmp_path))
    publisher.publish(months[OCTOBER])
    whole = contents(tmp_path)
    path = tmp_path / ID / "datapackage.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    publisher.publish(months[OCTOBER])
    assert contents(tmp_path) == whole


# ------------------------------------------------------------------------------------------------ what it costs


def test_what_a_night_costs(tmp_path, months, quick):
    """Requests for one account with six months. Nothing grows with the months but one look at each of them and, when
    something changed, one read of each."""
    store = Counted(tmp_path)
    publisher = Publisher(store)
    for month in OCTOBER.last(6):
        publisher.publish(months[month])
    objects = len(files.make(publish.build(months[OCTOBER]))) + 2
    store.asked.clear()
    store.read.clear()
    publisher.publish(months[OCTOBER])
    # a look at each month, at the month's own objects, at the package and at the list
    assert store.asked == {"list": 1, "get": 2, "head": 6 + objects + 2}, "an unchanged night"
    assert sorted(store.read) == [f"{ID}/2026-10/rev-1/statement.json", f"{ID}/datapackage.json"]

    provisional = statement(OCTOBER, state="provisional")
    other = Counted(tmp_path / "open")
    publisher = Publisher(other)
    for month in OCTOBER.last(6)[:-1]:
        publisher.publish(months[month])
    publisher.publish(provisional)
    later = statement(
        OCTOBER,
        state="provisional",
        rows=lambda w: made.usual(w, month=OCTOBER, back=1, members=made.MEMBERS[:3], inboxes=made.INBOXES[:1]),
    )
    publish.build(later)
    other.asked.clear()
    other.read.clear()
    done = publisher.publish(later)
    joined = [f"{ID}/{kind.name}" for kind in alltime.KINDS]
    packages, summaries = [f"{ID}/datapackage.json"] * 2, [f"{ID}/{m}/statement.json" for m in OCTOBER.last(6)[:-1]]
    assert sorted(other.read) == sorted([*joined, *packages, *summaries]), "no month's own CSV is read again"
    assert other.asked["list"] == 3 and other.asked["get"] == 3 + 2 + 5
    assert other.asked["head"] == 6 + objects + 5 + 6, "twice a look at each month, once at each object"
    assert other.asked["put"] == done.written <= objects + 5
    other.asked.clear()
    publisher.publish(later)
    assert other.asked == {"list": 1, "get": 1, "head": 6 + objects + 2}


# ------------------------------------------------------------------------------------------------ menus


def test_every_page_has_every_month_in_its_menu(tmp_path, months, quick):
    publisher = Publisher(open_store(tmp_path))
    first = OCTOBER - 5
    publisher.publish(months[first])
    kept = (tmp_path / ID / str(first) / "rev-1/index.html").read_bytes()
    for month in OCTOBER.last(5):
        done = publisher.publish(months[month])
        assert done.follow == (), "closed months before this one have no word of it but in their menus"
    names = [f"{m}/index.html" for m in reversed(OCTOBER.last(6))]
    for month in OCTOBER.last(6):
        menu = menu_of((tmp_path / ID / str(month) / "index.html").read_text())
        linked = re.findall(r'<li><a href="\.\./(\d{4}-\d{2}/index.html)"', menu)
        assert linked == [n for n in names if not n.startswith(str(month))], month
        assert menu.count('aria-current="page"') == 1
    assert (tmp_path / ID / str(first) / "rev-1/index.html").read_bytes() == kept, "a revision's page never changes"
    listing = menu_of((tmp_path / ID / "index.html").read_text())
    assert re.findall(r'<li><a href="(\d{4}-\d{2}/index.html)"', listing) == names
    assert publisher.publish(months[first]).written == 0, "the menu put in is the one a publication draws"


def test_a_menu_follows_what_it_says_and_nothing_else(tmp_path, months, quick):
    publisher = Publisher(open_store(tmp_path))
    publisher.publish(months[OCTOBER - 1])
    page = tmp_path / ID / "2026-09/index.html"
    for state, said in (("provisional", "Provisional"), ("final", "$")):
        publisher.publish(statement(OCTOBER, state=state))
        october = re.search(r"October.2026</span>\s*<span>([^<]*)", menu_of(page.read_text()))[1]
        assert october.startswith(said)
    before = page.read_bytes()
    page.write_bytes(before.replace(b"<h1>", b"<h1>As it was: "))
    publisher.publish(replace(months[OCTOBER], account=replace(months[OCTOBER].account, name="Another name")))
    assert b"<h1>As it was: " in page.read_bytes(), "what a menu does not say touches no page"
    page.write_bytes(b"a page of somebody else, without a menu")
    publisher.publish(months[OCTOBER - 2])
    assert page.read_bytes() == b"a page of somebody else, without a menu"


def test_only_pages_that_tell_of_a_month_are_made_anew(tmp_path):
    """A month that was opened again is in the history of the five after it; a new month is in nobody's. A closed one goes
    on telling what it told."""
    given_ = [telling(m) for m in OCTOBER.last(8)[:3]] + [telling(m, state="provisional") for m in OCTOBER.last(8)[3:]]
    jobs = make_jobs(tmp_path, given_, links="relative")
    reports = Reports(jobs)
    loaded: list[Month] = []
    load = jobs.statements.load
    jobs.statements.load = lambda account_id, month: loaded.append(month) or load(account_id, month)
    for month in OCTOBER.last(8):
        loaded.clear()
        assert [o.error for o in reports.publish(month, [ID])] == [None]
        assert loaded == [month]
    again = OCTOBER - 6
    given_[1] = telling(again, 3, revision=2)
    jobs.statements.given[:] = given_
    loaded.clear()
    list(reports.publish(again, [ID]))
    assert loaded == [again, *(again + n for n in range(2, 6))], "the open ones of the five with it in their history"


def test_a_menu_has_the_newest_months_and_its_own():
    rows = shelf(menus.NEWEST + 9)
    old = menus.menu(rows, rows[3].month)
    assert [s.month for s in old.listed] == [s.month for s in [*reversed(rows[9:]), rows[3]]]
    assert (old.earlier, old.later) == (rows[2].month, rows[4].month), "a step back leads to every month"


def test_a_menu_has_every_month_of_some_years():
    rows = shelf(40)
    html = menu_of(listing(rows))
    assert re.findall(r'<li><a href="(\d{4}-\d{2})/', html) == [str(s.month) for s in reversed(rows)]
    assert html.rindex("2023-07/") < html.index("All statements</span><span aria-hidden")


def test_a_page_without_links_has_no_menu(months):
    page = build(months[OCTOBER])
    html = pages.statement(page, Links(ID, f"{ID}/2026-10/rev-1", relative=False)).decode()
    assert '<nav class="pick"' not in html and not re.findall(r'href="(?!#)', html)


def test_a_menu_reads_otherwise_when_its_fingerprint_does():
    one = Shelved(OCTOBER, "open", 0, Decimal("1.00"), "USD")
    same = replace(one, total=Decimal("2.00"), through=date(2026, 10, 3), messages=4)
    assert menus.fingerprint([one]) == menus.fingerprint([same])
    for other in (replace(one, state="final"), replace(one, month=OCTOBER - 1), replace(one, state="provisional")):
        assert menus.fingerprint([one]) != menus.fingerprint([other])
    final = replace(one, state="final")
    assert menus.fingerprint([final]) != menus.fingerprint([replace(final, total=Decimal("2.00"))])


def test_other_links_are_other_menus(tmp_path, months, quick):
    store = open_store(tmp_path)
    Publisher(store).publish(months[OCTOBER - 1])
    for base in ("https://one.example", "https://two.example"):
        settings = ReportSettings(store={"url": "x"}, links="base_url", base_url=base)
        Publisher(store, settings).publish(months[OCTOBER])
        assert f'href="{base}/{ID}/2026-10/index.html"' in menu_of((tmp_path / ID / "2026-09/index.html").read_text())


# ------------------------------------------------------------------------------------------------ the page


def shelf(count: int, last: Month = OCTOBER, **more) -> list[Shelved]:
    given_ = {"state": "final", "revision": 1, "currency": "USD", "messages": 10, "segments": 12} | more
    return [Shelved(month=m, total=Decimal(100 + i), **given_) for i, m in enumerate(last.last(count))]


def listing(rows: list[Shelved], locale: str = "en_US", **more) -> str:
    return pages.account(ID, "A & B <i>", locale, rows, Links(ID, ID), **more).decode()


@pytest.mark.parametrize("count", [1, 2, 8, 25, 40])
def test_months_are_in_years_when_there_is_more_than_one(count):
    html = listing(shelf(count))
    years = re.findall(r'<th scope="rowgroup">(\d{4})</th>', html)
    assert years == ([str(y) for y in range(2026, 2026 - (count + 13) // 12, -1)][: len(years)] if count > 10 else [])
    body = html.partition('<table class="shelf">')[2].partition("</table>")[0]
    assert len(re.findall(r'<th scope="row"><a href="\d{4}-\d{2}/index.html">', body)) == count
    bars = html.partition('<svg class="drawn totals"')[2].partition("</svg>")[0].count('<g class="b">')
    assert bars == (0 if count == 1 else min(count, 24)), "one month is no chart, two years are the most"


def test_years_add_up_to_all_months():
    rows = tuple(sorted(shelf(40), key=lambda s: s.month, reverse=True))
    years = account.years(rows)
    whole = account.sums(rows)
    assert sum(y.sums.total for y in years) == whole.total == sum(s.total for s in rows)
    assert sum(y.sums.segments for y in years) == whole.segments and [y.year for y in years] == [2026, 2025, 2024, 2023]


def test_currencies_are_never_added():
    rows = shelf(2) + [replace(s, currency="EUR") for s in shelf(2, OCTOBER - 2)]
    html = listing(rows)
    assert "€100.00" in html and "$101.00" in html and "Total charges</dt>" not in html
    text = main_of(html)
    assert "All months 40 48 –" in text and "Segments 48 since July 2026" in text


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"state": "open", "through": date(2026, 10, 17)}, "October 2026 is estimated at $103.00 so far through October 17. The newest final statement is September 2026, $102.00."),
        ({"state": "provisional"}, "You will be charged $103.00 for October 2026. Figures may still change until the month is closed. The newest final statement is September 2026, $102.00."),
        ({"total": Decimal("-5")}, "October 2026 ended with a credit of $5.00 in your favor."),
        ({"total": Decimal(0)}, "Nothing was charged for October 2026. The statement is final."),
        ({"state": "unreadable", "total": None}, "You were charged $102.00 for September 2026. The statement is final."),
    ],
)  # fmt: skip
def test_the_newest_month_is_told_in_a_sentence(more, said):
    *rows, last = shelf(4)
    assert said in main_of(listing([*rows, replace(last, **more)]))


def test_without_any_month_the_page_says_so():
    assert "There is no statement to show yet." in main_of(listing([]))
    nothing = replace(shelf(1)[0], state="unreadable", total=None)
    assert "No statement can be read at the moment." in main_of(listing([nothing]))


@examples(max_examples=40)
@given(
    st.lists(st.one_of(st.none(), st.decimals(-5000, 5000, places=2)), min_size=2, max_size=30),
    st.lists(st.sampled_from(["final", "open", "provisional"]), min_size=30, max_size=30),
)
def test_bars_stay_in_the_chart(totals, states):
    rows = [
        Shelved(m, state, 1, total, "USD")
        for m, total, state in zip(OCTOBER.last(len(totals)), totals, states, strict=False)
        if total is not None
    ]
    chart = account.chart(rows, Formats("en_US", "USD"))
    if chart is None:
        assert len(rows) < 2 or not any(s.total for s in rows[-24:])
        return
    known = {s.month: s for s in rows}
    assert len(chart.columns) <= 24
    scale = {abs(s.total): c.part.height for s, c in _drawn(chart, known) if c.part.height > 1}
    assert scale == dict(sorted(scale.items())) and sorted(scale.values()) == [scale[t] for t in sorted(scale)]
    for column in chart.columns:
        part = column.part
        assert part.x >= 0 and part.x + part.width <= 100.01
        assert part.y >= 20 and part.y + part.height <= chart.base + 0.05
    for s, column in _drawn(chart, known):
        above = column.part.y + column.part.height <= chart.zero + 0.05
        assert above if s.total >= 0 else column.part.y >= chart.zero - 0.05
        assert column.part.kind == ("sent" if s.state == "final" else "received")
        assert Formats("en_US", "USD").money(s.total) in column.title


def _drawn(chart, known):
    shown = max(known).last(len(chart.columns))
    return [(known[m], c) for m, c in zip(shown, chart.columns, strict=True) if m in known]


def test_a_month_without_a_statement_is_no_bar_of_nothing():
    rows = [s for s in shelf(4) if s.month != OCTOBER - 1]
    chart = account.chart(rows, Formats("en_US", "USD"))
    assert [c.part.kind for c in chart.columns] == ["sent", "sent", "unknown", "sent"]
    assert chart.columns[2].title == "September\u00a02026: no statement"


def test_a_page_of_many_months_and_people_with_long_links_still_fits():
    """Signed links are half a kilobyte each; the explorer gives way."""
    rows = shelf(48)
    days = [d for s in rows for d in s.month.days]
    series = tuple(
        explore.Series("member", f"m{i}", f"Member number {i} of many", {n: tuple((d.day * (i + 3)) % 9 for d in days) for n in explore.FIGURES})
        for i in range(60)
    )  # fmt: skip
    everyone = explore.Explorer(days[0], len(days), "c" * len(days), series, (days[0], days[-1]))
    links = Links(ID, ID, sign=lambda key: f"https://bucket.example/{key}?X-Amz-Signature={'0' * 450}")
    html = pages.account(ID, "Many", "en_US", rows, links, explorer=everyone)
    assert len(html) < pages.LIMIT and b"Other members (" in html


SIGNED = Links(ID, ID, sign=lambda key: f"https://bucket.example/{key}?X-Amz-Signature={'0' * 450}")


def test_a_page_of_twenty_years_with_signed_links_fits():
    rows = shelf(240)
    days = [d for s in rows for d in s.month.days]
    few = {n: tuple(10_000 + d.day * 37 % 900 for d in days) for n in explore.FIGURES}
    series = tuple(explore.Series("member", f"m{i}", f"Member {i}", few) for i in range(3))
    everyone = explore.Explorer(days[0], len(days), "c" * len(days), series, (days[0], days[-1]))
    html = pages.account(ID, "Old", "en_US", rows, SIGNED, explorer=everyone).decode()
    text = main_of(html)
    assert len(html) <= pages.LIMIT and "The 180 months before are in the sums and in all_monthly.csv" in text
    assert "Every day since November 1, 20" in text and "All days are in all_by_owner.csv" in text
    body = html.partition('<table class="shelf">')[2].partition("</table>")[0]
    assert body.count('<th scope="row"><a') == 60 and body.count('scope="rowgroup"') == 21
    longer = Links(ID, ID, sign=lambda key: f"https://bucket.example/{key}?X-Amz-Signature={'0' * 2300}")
    assert len(pages.account(ID, "Old", "en_US", rows, longer, explorer=everyone)) <= pages.LIMIT


@pytest.mark.parametrize("items", [1, 25, 100, 3000])
def test_products_of_twenty_years_fit(items):
    from reports.charges import ProductRow, Products

    row = ProductRow("subscription", "Business Unlimited Plus for everybody", Decimal(149), Decimal(1), "subscription", False,
                     price=Decimal(149), days=(date(2026, 10, 31),))  # fmt: skip
    bought = Products((row,) * items, Decimal(149 * items))
    rows = [replace(s, products=bought) for s in shelf(240)]
    html = pages.products(ID, "Old", "en_US", rows, SIGNED).decode()
    assert len(html) <= pages.LIMIT
    assert html.count('<th scope="rowgroup">') == 60 and "All of 2007" in html and "12 months not listed" in html
    whole = html.count("Business Unlimited Plus") / items
    assert whole == {1: 24, 25: 24, 100: 6, 3000: 0}[items]
    assert "items are in each month’s products.csv" in main_of(html)


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ([], []),
        ([3], ["There is no statement of July 2026."]),
        ([3, 4], ["There is no statement of July 2026 and August 2026."]),
        ([1, 3, 4, 5], ["There is no statement of May 2026 and July 2026 to September 2026."]),
    ],
)
def test_gaps_are_named(gone, said):
    rows = tuple(s for i, s in enumerate(shelf(7)) if i not in gone)
    assert [text.replace("\u00a0", " ") for _, text in account.notes(rows)] == said


def test_hostile_names_stay_text_on_the_accounts_pages(tmp_path, statements):
    Publisher(open_store(tmp_path)).publish(statements["hostile"])
    for name in ("index.html", "products.html"):
        html = (tmp_path / "acct_evil" / name).read_text()
        assert "<img src=x" not in html and "<script>alert" not in html and html.count("<style>") == 1
        assert not re.search(r"<[^>]*\s(style|on[a-z]+)=", re.sub(r'"[^"]*"', '""', html))
        assert "312 555 0142" not in html and html.index("Content-Security-Policy") < html.index("<style>")
    assert "&lt;script&gt;" in (tmp_path / "acct_evil/products.html").read_text()
    csv_text = (tmp_path / "acct_evil/all_by_owner.csv").read_text()
    assert ",'=cmd|" in csv_text and "''=" not in csv_text and ",''quoted," in csv_text, "neutralised once"


def test_products_say_when_how_many_and_what_nobody_reported(tmp_path, statements):
    Publisher(open_store(tmp_path)).publish(statements["rich"])
    text = main_of((tmp_path / "acct_rich/products.html").read_text())
    assert "In October 2026, 1 subscription and 2 credit packs came to $249.00, $50.00 of it simulated." in text
    assert re.search(r"Business Unlimited Plus.{1,90}Oct 31.{1,30}1 subscription \$149.00 \$149.00", text)
    summary = json.loads((tmp_path / "acct_rich/2026-10/statement.json").read_text())
    assert [(p["price"], p["days"], p["simulated"]) for p in summary["products"]] == [
        ("149", ["2026-10-31"], False), ("50", ["2026-10-31"], False), ("50", ["2026-10-31"], True),
    ]  # fmt: skip
    shelved = read(open_store(tmp_path), "acct_rich").months[0]
    assert [r.simulated for r in shelved.products.rows] == [False, False, True]
    assert shelved.products == build(statements["rich"]).products, "what is read back is what was published"


def test_taxes_on_products_say_of_what(tmp_path):
    """A tax on a product is a row of its own, in the product total."""
    from reports.charges import products

    line = dict.fromkeys(("item", "unit", "quantity", "base", "jurisdiction", "tax_level"))
    rows = [
        line | {"section": "product", "line": "subscription", "item": "Plan", "amount": Decimal(100), "quantity": 2, "unit": "subscription"},
        line | {"section": "product", "line": "tax", "item": "Sales tax", "amount": Decimal(8), "base": Decimal(100), "jurisdiction": "US-WA"},
        line | {"section": "product_total", "line": "product_total", "amount": Decimal(108)},
    ]  # fmt: skip
    monthly = [{"line": "subscription", "item": "Plan", "date": date(2026, 10, 5), "unit_price": Decimal(50)}]
    bought = products(rows, (), monthly)
    html = pages.products(
        ID, "A", "en_US", [Shelved(OCTOBER, "final", 1, Decimal(1), "USD", bought)], Links(ID, ID)
    ).decode()
    text = main_of(html)
    assert "In October 2026, 2 subscriptions came to $108.00 with taxes." in text
    assert "Oct 5 2 subscriptions $50.00 $100.00" in text and "US-WA, on $100.00 $8.00" in text


def test_settings_refuse_links_that_live_too_long(tmp_path):
    from pydantic import ValidationError

    with pytest.raises(ValidationError, match="link_days"):
        ReportSettings(store={"url": "x"}, links="presigned", link_days=8)
