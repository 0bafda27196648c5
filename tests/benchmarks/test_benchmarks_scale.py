"""The model of a very large day: its sums, that each input moves what it should, and that it counts requests as the jobs make them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import fields, replace
from datetime import UTC, date, datetime

import pytest

from benchmarks import scale
from benchmarks.night import common, mapping, workload
from benchmarks.scale import Assumed, Day, Limit, Measured
from benchmarks.shares import Counting
from etl import buckets, nights
from etl.jobs import Jobs

M, A = Measured(), Assumed()
BILLION = Day(scale.DAY_MESSAGES)

# ------------------------------------------------------------------------------------------------ the day


def test_the_reference_day_comes_out_as_it_was_measured():
    day = Day(M.messages)
    assert day.records == M.records
    assert day.accounts == M.accounts
    assert day.raw == M.raw_bytes
    assert day.daily_rows == pytest.approx(M.daily_rows)
    found = scale.cpu(day)
    assert (found["pull"], found["roll up"]) == (M.pull_cpu, M.roll_up_cpu)


def test_a_tenth_of_the_records_of_as_many_accounts_has_the_rows_that_were_measured():
    assumed = replace(A, records_per_account=A.records_per_account / 10)
    assert Day(M.messages / 10, a=assumed).daily_rows == pytest.approx(M.daily_rows_tenth)


def test_as_many_records_an_account_make_daily_grow_with_the_day():
    assert Day(1e9).daily_rows == pytest.approx(1000 * Day(1e6).daily_rows, rel=1e-4)


def test_a_day_is_cut_as_the_lake_cuts_it():
    for messages in (1e4, 1e6, 1e8, 1e9, 1e11):
        day = Day(messages)
        assert day.buckets == buckets.count(math.ceil(day.raw))
        assert day.pieces == day.groups * day.buckets
        assert day.bucket_bytes * day.buckets == pytest.approx(day.raw)
    assert Day(1e11).buckets == buckets.MOST
    assert not Day(1e4).shared


@pytest.mark.parametrize("messages", [1e6, 3e7, 1e9])
def test_shares_fit_into_tasks_as_a_night_makes_them(messages, monkeypatch):
    day = Day(messages)

    class Planned:
        def shares(self, _day, _source):
            return day.groups, day.buckets

    windows = [f"2026-03-{n:02d}/2026-03-{n:02d}" for n in range(1, int(A.lookback_days) + 1)]
    found = nights.shares(Planned(), windows, "any")
    assert sum(map(len, found.values())) == day.tasks * len(windows)
    first, last = map(int, found["buckets"][0].partition("/")[2].split("-"))
    assert last - first + 1 == day.in_a_task(day.buckets)


# ------------------------------------------------------------------------------------------------ units


def test_units():
    day = BILLION
    assert scale.memory(day)["roll up"] == M.roll_up_peak * 2**20 + M.roll_up_memory * (1.1e9 - 1.1e6)
    assert scale.seconds(day, "reconcile") == M.reconcile_cpu * 1000 + buckets.MOST * A.store_latency
    copied = 2 * 1000 * M.charges_bytes / A.store_speed
    rate = scale.asked(day)["rate"]
    waited = (rate.all - rate.delete * 7 / 8) * A.store_latency
    assert scale.seconds(day, "rate") == pytest.approx(1000 * M.rate_cpu + waited + copied)
    pages, hours, chain = scale.provider(day)
    assert pages == 1_100_000 + 3 * 200_000
    assert hours == pytest.approx(pages * 0.150 / 4 / 3600)
    assert chain == pytest.approx(11_000 * 0.150 / 3600)
    paid = scale.dollars(day)
    assert paid["vCPU hours, computing"] == pytest.approx(sum(scale.cpu(day).values()) / 3600 * A.vcpu_hour)
    asked = scale.total(day)
    assert paid["PUT and LIST"] == pytest.approx((asked.put + asked.list) * 5e-6)
    assert paid["GET and HEAD"] == pytest.approx((asked.get + asked.head) * 4e-7)
    assert paid["storage, a month of it"] == pytest.approx(sum(scale.stored(day).values()) / 1e9 * A.gb_month)


def test_one_list_cannot_be_asked_faster_than_page_by_page():
    whole = replace(BILLION, a=replace(A, largest_account=1.0))
    assert scale.provider(whole)[1] == pytest.approx(1_100_000 * 0.150 / 3600)


def test_every_figure_says_its_unit_and_where_it_is_from():
    for one in (*fields(M), *fields(A)):
        assert one.metadata["unit"], one.name
        assert one.metadata["how"], one.name


# ------------------------------------------------------------------------------------------------ what moves what


def outputs(day: Day) -> dict[str, float]:
    """All the model says of a day, one number each."""
    asked = scale.total(day)
    return {
        **{f"cpu {k}": v for k, v in scale.cpu(day).items()}, **{f"memory {k}": v for k, v in scale.memory(day).items()},
        **{f"stored {k}": v for k, v in scale.stored(day).items()}, **{f"$ {k}": v for k, v in scale.dollars(day).items()},
        **{f"seconds {k}": scale.seconds(day, k) for k in scale.asked(day)},
        **{f"limit {one.name}": one.load(day) for one in scale.limits(day.m, day.a)},
        "requests": asked.all, "waiting": scale.waiting(day), "objects": scale.objects(day), "moved": scale.moved(day), "cores": scale.workers(day)[0],
        "alone": scale.alone(day), "pages": day.pages, "hours": scale.provider(day)[1],
    }  # fmt: skip


FALLING = {
    "make_bytes", "store_speed", "page_size", "concurrency", "night_hours", "records_per_account", "put_rate",
    "get_rate", "messages", "records", "accounts", "publish_processes", "daily_rows_tenth", "task_hours", "share_memory",
    "alone_memory",
}  # fmt: skip
"""The more of these, the less of what they move."""
SHOWN_ONLY = {"alone_cpu", "alone_peak", "messages"}
"""In the table of inputs and in no sum."""
BOUNDS = {"put_rate", "get_rate", "task_hours", "share_memory", "alone_memory"}
"""They move where a limit lies, not how near a day comes to it."""
MIXED = {
    "open_peak": ["memory state"],  # what a share takes beside it is less
    "raw_bytes": ["stored raw", "requests", "memory make"],  # fatter tasks, so fewer starts
    "accounts": [], "records": [], "records_per_account": [],  # the power of Heaps' law moves, too
}  # fmt: skip


@pytest.mark.parametrize("name", [f.name for f in fields(M)] + [f.name for f in fields(A)])
def test_an_input_moves_outputs_the_right_way(name):
    measured = name in {f.name for f in fields(M)}
    old = M if measured else A
    more = replace(old, **{name: getattr(old, name) * 1.3})
    day = replace(BILLION, **{"m" if measured else "a": more})
    before, after = outputs(BILLION), outputs(day)
    changed = {k: after[k] - before[k] for k in before if not math.isclose(after[k], before[k])}
    if name in SHOWN_ONLY:
        assert not changed
    elif name in BOUNDS:
        mosts = [(a.most, b.most) for a, b in zip(scale.limits(M, A), scale.limits(M, more), strict=True)]
        assert not changed
        assert any(b > a for a, b in mosts)
        assert all(b >= a for a, b in mosts)
    elif name == "daily_rows_tenth":
        # Only a day with more or fewer records an account tells: there its lines are nearer to those of the reference day.
        assert not changed
        few = replace(A, records_per_account=550)
        assert Day(1e9, more, few).daily_rows > Day(1e9, M, few).daily_rows
    elif name in MIXED:
        assert all(changed[k] > 0 for k in MIXED[name]), changed
    elif name == "lookback_days":
        assert changed["limit time of a `make share` task"] > 0
        assert changed["cpu start of tasks"] < 0  # fewer tasks are left for each day
    else:
        assert changed
        assert all((delta < 0) == (name in FALLING) for delta in changed.values()), changed


def test_larger_shares_of_pages_make_fewer_pieces():
    small, smaller = replace(BILLION, most_shares=1280), replace(Day(1e6), most_shares=math.inf)
    assert small.pieces == pytest.approx(BILLION.pieces * 10, rel=0.1)
    assert scale.total(small).all > scale.total(BILLION).all * 5
    assert scale.memory(small) == scale.memory(BILLION)  # a share of pages waits on disk, not in memory
    assert smaller.groups == Day(1e6).groups
    assert f"| shares of pages | {BILLION.groups:,} |" in scale.fatter(BILLION)


def test_more_messages_cost_more_of_everything():
    small, large = outputs(Day(1e8)), outputs(Day(1e9))
    assert not [k for k in small if large[k] < small[k] and not k.startswith(("memory read", "memory make"))]


# ------------------------------------------------------------------------------------------------ limits


def test_a_limit_binds_where_its_load_comes_up_to_it():
    simple = Limit("", lambda day: day.records, 1.1e6, "records", "", "")
    assert scale.binds(simple, BILLION) == pytest.approx(1e6, rel=0.011)
    assert scale.binds(simple._replace(most=2.2e6), BILLION) == pytest.approx(2e6, rel=0.011)
    assert scale.binds(simple._replace(most=1e20), BILLION) is None
    assert scale.binds(simple._replace(most=1), BILLION) == scale.FEWEST


def test_a_limit_binds_the_first_time_its_load_passes_it():
    dips = Limit("", lambda day: 10 if 1e6 < day.messages < 3e6 or day.messages > 1e9 else 1, 5, "", "", "")
    assert scale.binds(dips, BILLION) == pytest.approx(1e6, rel=0.011)


def test_every_limit_holds_just_below_and_not_above():
    for one in scale.limits(M, A):
        at = scale.binds(one, BILLION)
        if at is not None:
            assert one.load(Day(at)) > one.most, one.name
            assert one.load(Day(at * 0.98)) <= one.most, one.name


def test_more_memory_moves_where_memory_binds():
    def found(a: Assumed) -> dict[str, float | None]:
        return {one.name: scale.binds(one, replace(BILLION, a=a)) for one in scale.limits(M, a)}

    before, after = found(A), found(replace(A, alone_memory=2 * A.alone_memory))
    assert after["memory of `roll up`"] == pytest.approx(2 * before["memory of `roll up`"], rel=0.03)
    assert after["time of `roll up`, one task"] == before["time of `roll up`, one task"]


# ------------------------------------------------------------------------------------------------ requests as they are made

DAY = date(2026, 4, 1)
SOURCE = "messages"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scale")
    tiny = common.Workload(6_000, 5, DAY, 1_000)
    workload.write_tables(folder)
    workload.write(tiny, folder)
    return mapping.write(folder / tiny.name, folder / "tables", folder / "house", DAY)


def counted(place, lake, bucket_bytes: int, monkeypatch) -> tuple[int, int, dict[str, Counter]]:
    """(shares of pages, buckets, requests by step) of a day worked in shares, each by a process that knows nothing yet."""
    monkeypatch.setattr(buckets, "BUCKET_BYTES", bucket_bytes)
    monkeypatch.setenv("TOLLBOOK_LAKE__URL", str(lake))
    monkeypatch.setenv("TOLLBOOK_SHARE_DAYS", "true")
    found: dict[str, Counter] = {}

    def ask(step: str, verb: str, *arguments):
        jobs = Jobs.open(place, clock=lambda: datetime(2026, 4, 2, 3, tzinfo=UTC))
        jobs.lake.code = "0" * 64  # a share is only taken by the code that made it
        jobs.lake.store = store = Counting(jobs.lake.store)
        answer = getattr(jobs, verb)(*arguments)
        found.setdefault(step, Counter()).update(store.requests)
        return answer

    ask("pull", "pull", DAY, SOURCE)
    groups, cut = ask("plan", "shares", DAY, SOURCE)
    for number in range(groups):
        ask("read", "read_share", DAY, SOURCE, number)
    for number in range(cut):
        ask("make", "make_share", DAY, SOURCE, number)
    for step, verb in (("normalise", "normalise"), ("rate", "rate"), ("reconcile", "compare")):
        ask(step, verb, DAY, SOURCE)
    ask("roll up", "roll_up", DAY)
    ask("audit", "audit", [DAY])
    return groups, cut, found


def test_requests_grow_as_the_model_says(place, tmp_path, monkeypatch):
    """What the model leaves out is the same however finely the day is cut."""
    left: list[dict[str, dict[str, float]]] = []
    for bucket_bytes in (100_000, 50_000):
        groups, cut, found = counted(place, tmp_path / str(bucket_bytes), bucket_bytes, monkeypatch)
        assert groups > 1
        assert cut > 1
        said = scale.requests(groups, cut, 1, 1, late=1)
        left.append(
            {
                step: {k: found[step][k.upper()] - round(v) for k, v in said[step]._asdict().items()}
                for step in said
                if step in found
            }
        )
    assert set(left[0]) == {*scale.requests(1, 1, 1, 1)} - {"state"}
    coarse, fine = left
    assert coarse == fine
    assert all(0 <= n <= 80 for step in fine.values() for n in step.values())


# ------------------------------------------------------------------------------------------------ the page


def test_the_page_is_written_between_its_markers(tmp_path, monkeypatch, capsys):
    page = tmp_path / "scale.md"
    page.write_text(
        "# Scale\n\nfirst\n\n<!-- scale limits: written by the benchmark -->\nof the last time\n<!-- scale limits: end -->\n\nlast\n"
    )
    monkeypatch.setattr("sys.argv", ["scale", "--write", str(page)])
    scale.main()
    text = page.read_text()
    assert text.startswith("# Scale\n\nfirst\n\n<!-- scale limits")
    assert "of the last time" not in text
    assert text.index("`MOST` buckets") < text.index("last") < text.index("scale inputs")
    assert "| pull |" in capsys.readouterr().out


def test_numbers_are_said_shortly():
    assert [scale.short(n) for n in (None, 12, 1_500, 2e6, 703e6, 1e9, 3.2e12)] == [
        "never", "12", "1.5 k", "2 M", "703 M", "1 B", "3.2 T",
    ]  # fmt: skip
    assert scale.number(1234.5) == "1,234"
    assert scale.number(0.01234) == "0.0123"
