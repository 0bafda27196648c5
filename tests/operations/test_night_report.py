"""The report of a night: one record, one page, newest first."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from nightmade import DAY, START, call, done, month, night

from etl import runreport
from etl.lake import open_store
from reports.operator import night as page
from reports.publish import Publisher

MADE = START + timedelta(minutes=5)


def report(calls=None, *, run_id="scheduled__2026-11-03T00:00:00+00:00", at=MADE, **more) -> dict:
    return runreport.document(
        night() if calls is None else calls, run_id=run_id, dag_id="usage_daily", day=DAY, at=at,
        versions={"code": "c" * 64, "python": "3.11"}, **more,
    )  # fmt: skip


def task(task_id: str, state: str, map_index: int = -1) -> dict:
    return {"task_id": task_id, "state": state, "map_index": map_index, "duration": 1.5}


def test_a_good_night():
    made = report(tasks=[task("twilio.pull", "success", 1), task("audit", "success")])
    assert (made["state"], made["seconds"], made["window"]["days"]) == ("in order", 12.0, 2)
    assert [row["verb"] for row in made["verbs"]] == ["pull", "normalise", "rate", "audit", "operations"]
    assert made["verbs"][0] == {
        "verb": "pull", "source": "twilio", "calls": 2, "failed": 0, "partitions": 2, "changed": 1, "rows": 8,
        "seconds": 5.0, "slowest": 2.5, "slowest_of": "2026-11-01",
    }  # fmt: skip
    assert [p["partition"].split("/")[0] for p in made["partitions"]] == ["raw", "events", "ledger", "charges"] * 2
    assert json.loads(json.dumps(made)) == made


@pytest.mark.parametrize(
    ("calls", "tasks", "state"),
    [
        ([], [], "in order"),
        ([call("pull", error="SourceError: no", day="2026-11-02", source="a")], [], "failed"),
        ([], [task("expire", "failed")], "failed"),
        ([], [task("twilio.rate", "upstream_failed", 0)], "failed"),
        ([call("audit", findings=["nothing lost: x"], more=2)], [], "failed"),
        ([call("rate", held=["3 event(s) without a price"])], [], "held back"),
        ([call("operations", months={"2026-11": month(todo=["load it"])})], [], "held back"),
        ([], [task("wait", "skipped")], "in order"),
    ],
)
def test_what_came_of_it(calls, tasks, state):
    assert report(calls, tasks=tasks)["state"] == state


def test_what_was_said_twice_is_told_once_and_what_was_left_out_is_counted():
    calls = [call("rate", held=["a", "b"], more=7), call("rate", held=["b", "c"])]
    assert report(calls)["held"] == {"count": 10, "told": ["a", "b", "c"]}


def test_two_nights_of_a_day_stand_beside_each_other_and_the_newer_one_is_shown(tmp_path):
    publisher = Publisher(open_store(tmp_path))
    later = report(run_id="manual__again", at=MADE + timedelta(hours=3))
    for made in (later, report()):  # whichever is written last
        page.publish(publisher, made, runreport.key(made))
    store = publisher.store
    assert runreport.stored(store)["run_id"] == runreport.stored(store, DAY)["run_id"] == "manual__again"
    assert len(list((tmp_path / "_operator" / "runs" / "2026-11-02").glob("*.html"))) == 2
    assert "manual__again" in (tmp_path / "_operator" / "runs" / "index.html").read_text()
    assert runreport.stored(store, DAY - timedelta(days=1)) == {}
    assert runreport.stored(open_store(tmp_path / "empty")) == {}


def test_a_key_is_made_of_the_day_the_moment_and_a_hash_alone():
    """Whoever starts a run names it."""
    key = runreport.key(report(run_id="../../x\r\n<script>", at=datetime(2026, 11, 3, 2, 5, 6, 789, tzinfo=UTC)))
    assert key.startswith("_operator/runs/2026-11-02/20261103T020506Z-") and len(key.rsplit("-", 1)[1]) == 8


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag, attributes) -> None:
        self.seen.append(tag)
        self.links += [value for name, value in attributes if name == "href"]


def drawn(made: dict, tmp_path) -> str:
    key = runreport.key(made)
    page.publish(Publisher(open_store(tmp_path)), made, key)
    return (tmp_path / f"{key}.html").read_text()


def test_the_page_says_what_the_record_says_and_its_links_lead_somewhere(tmp_path):
    errors = [call("pull", 1, error="SourceError: HTTP 503, run python -m etl run --date 2026-11-02", day="2026-11-02", source="twilio")]
    made = report([*night(), *errors], tasks=[task("twilio.pull", "failed", 1), task("expire", "failed")])
    html = drawn(made, tmp_path)
    assert "2 things failed." in html and "HTTP 503" in html and "expire" in html
    assert '<code class="run">python -m etl run --date 2026-11-02</code>' in html
    assert "Read the provider’s log" in html and "events/date=2026-11-02/source=twilio" in html
    tags = Tags()
    tags.feed(html)
    folder = tmp_path / "_operator" / "runs" / "2026-11-02"
    files = [link for link in tags.links if not link.startswith("#") and "2026-11/index" not in link]
    assert files and all((folder / link).resolve().exists() for link in files)
    assert "script" not in tags.seen


def test_names_make_no_markup(tmp_path):
    evil = "<script>alert(1)</script>"
    calls = [call("pull", source=evil, day="2026-11-02", error=evil, held=[evil], findings=[evil],
                  done=[done(f"raw/{evil}", 1)])]  # fmt: skip
    html = drawn(report(calls, run_id=evil, tasks=[task(evil, "failed"), task(evil, "upstream_failed")]), tmp_path)
    assert evil not in html and html.count("<script") == 0


def test_a_long_night_is_cut_on_the_page_and_whole_in_the_json(tmp_path):
    many = [call("normalise", n, day="2026-11-02", source="twilio", done=[done(f"events/{n}", 1)]) for n in range(300)]
    made = report(many)
    html = drawn(made, tmp_path)
    assert len(made["partitions"]) == 300 and html.count("<code>events/") == page.PARTITIONS and "And 100 more" in html


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 ms"), (0.0421, "42 ms"), (4.25, "4.2 s"), (59.6, "1 min"), (12, "12 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds, said):
    assert page.duration(seconds).replace("\xa0", " ") == said


def test_a_terminal_sees_it_too():
    lines = runreport.lines(report([*night(), call("rate", held=["3 event(s) without a price"])]))
    assert lines[0].startswith("2026-11-02: held back") and "held back: 3 event(s) without a price" in lines
    assert "twilio: 90 accepted, 8 excluded, 2 quarantined; 4 partition(s) changed, 6.5 s of work" in lines
