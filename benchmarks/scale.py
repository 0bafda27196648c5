"""What a very large day costs, and where each limit lies: reckoned from measured figures, which all stand in `Measured`.

    python benchmarks/scale.py                                   tables for a billion messages and 100 million calls
    python benchmarks/scale.py --messages 50000000               another day
    python benchmarks/scale.py --write docs/scale.md             the tables go into the page, too

Nothing is run here. Records are messages and a tenth as many calls, of one source, asked from an API page by page. Everything
grows with the records but for what is cut into buckets (`etl.buckets`), whose shares come in pairs of pages and buckets.
Bytes are bytes, MB 10⁶, MiB 2²⁰; times are seconds of CPU or, where it says wall, of a clock.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.night.page import table, write_section  # noqa: E402
from etl import buckets  # noqa: E402
from etl.jobs.work import MOST_SHARES, SHARE_BUCKETS  # noqa: E402
from etl.lake.s3 import S3Store  # noqa: E402
from etl.nights import MAX_SHARES  # noqa: E402
from etl.prefixes import MAX_GROUPS  # noqa: E402
from etl.sources._packs import PACK_BYTES  # noqa: E402

MIB, GIB = 2**20, 2**30
DAY_MESSAGES = 1_000_000_000
SIZES = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
CALLS_PER_MESSAGE = 0.1
MONTH_DAYS = 30
FEWEST, STEP, MOST_STEPS = 1e3, 10 ** (1 / 25), 226
"""Where limits are looked for: from a thousand messages a day to 10¹²."""

NIGHT = "`python -m benchmarks.night --n 1000000 --rounds 1 --peers tollbook --keep`"
SHARES = "`python -m benchmarks.shares SETTINGS 2026-03-15` on the day that kept"
LARGE = "the same of ten million messages and a million calls"
MONTH = "`python benchmarks/month.py --rounds 1 --verbs state`"
STATEMENTS = "`python benchmarks/reports.py --accounts 400 --processes 2 --stores folder`"
DEPLOY = "`make cluster` (docs/deploy.md)"


def given(value: float, unit: str, how: str):
    """A figure with its unit and where it is from."""
    return field(default=value, metadata={"unit": unit, "how": how})


# ------------------------------------------------------------------------------------------------ what was put in


@dataclass(frozen=True)
class Measured:
    """Figures of the reference day: a million messages, 100,000 calls, 200 accounts."""

    messages: float = given(1_000_000, "messages", "the reference day")
    records: float = given(1_100_000, "records", "the reference day")
    accounts: float = given(200, "accounts", "the reference day")
    alone_cpu: float = given(22.3, "CPU s", NIGHT + ": one process, no shares")
    alone_peak: float = given(584, "MiB", NIGHT)
    pull_cpu: float = given(1.97, "CPU s", SHARES)
    read_cpu: float = given(8.74, "CPU s", SHARES + ": `read share`")
    make_cpu: float = given(7.75, "CPU s", SHARES + ": `make share`, events and charges")
    normalise_cpu: float = given(0.97, "CPU s", SHARES + ": `normalise`, only the commit and the calls")
    rate_cpu: float = given(0.44, "CPU s", SHARES + ": `rate`, only the commit and the calls")
    reconcile_cpu: float = given(0.60, "CPU s", SHARES)
    roll_up_cpu: float = given(2.44, "CPU s", SHARES)
    audit_cpu: float = given(1.76, "CPU s", SHARES)
    open_cpu: float = given(1.08, "CPU s a process", SHARES + ": `open`, Python's start included")
    airflow_cpu: float = given(0.8, "CPU s a task", DEPLOY + ", Python and Airflow")
    open_peak: float = given(153, "MiB", SHARES + ": `open`")
    pull_peak: float = given(260, "MiB", LARGE)
    read_peak: float = given(478, "MiB", LARGE + ": `read share`, of 64 MiB of pages as one of any size")
    make_peak: float = given(571, "MiB", LARGE + ": `make share`, all in one process")
    make_bytes: float = given(11_460_000, "bytes", "raw pages of a bucket there: 1,466.6 MB in 128")
    normalise_peak: float = given(335, "MiB", LARGE)
    reconcile_peak: float = given(241, "MiB", SHARES)
    reconcile_memory: float = given(8.8, "bytes a record more", LARGE + ": 324 MiB")
    roll_up_peak: float = given(514, "MiB", SHARES)
    roll_up_memory: float = given(9.3, "bytes a record more", LARGE + ": 602 MiB")
    audit_peak: float = given(304, "MiB", SHARES)
    audit_memory: float = given(26, "bytes a record more", LARGE + ": 551 MiB")
    raw_bytes: float = given(146_700_000, "bytes", "files of the kept lake: packs of raw pages")
    events_bytes: float = given(100_300_000, "bytes", "files of the kept lake")
    charges_bytes: float = given(36_800_000, "bytes", "files of the kept lake")
    work_bytes: float = given(114_000_000, "bytes", SHARES + ": written by `read share`")
    read_back_bytes: float = given(811_000_000, "bytes", SHARES + ": sum of MB read")
    daily_rows: float = given(696_301, "rows", "`rows` in the log entry of daily of the kept lake")
    daily_rows_tenth: float = given(114_148, "rows", "the same of a tenth of the records, the same 200 accounts")
    daily_row_bytes: float = given(8.25, "bytes a row", "daily of the kept lake: 5,741,171 bytes")
    index_row_bytes: float = given(
        63, "bytes a page", "raw index of 100,000 made-up API pages, encoded as the lake does"
    )
    index_row_memory: float = given(405, "bytes a page", "the same in memory (`estimated_size`)")
    log_file_bytes: float = given(
        101, "bytes a file", "log entries of events of 16 and of 32 files: 2,379 and 3,995 bytes"
    )
    state_record_memory: float = given(
        10.8, "bytes a record of the month", MONTH + " and with `--messages 100000`: 570 and 264 MiB"
    )
    state_account_memory: float = given(404_000, "bytes an account", "the rest of those 264 MiB, of 200 accounts")
    state_row_cpu: float = given(1.36e-6, "CPU s a row", MONTH + ": credit, charge and state 1.65 CPU s, 1,215,810 rows of daily")
    hold_record_cpu: float = given(0.063e-6, "CPU s a record", MONTH + ": hold 2.07 CPU s, 33 million records")
    publish_cpu: float = given(0.159, "CPU s an account", STATEMENTS + ", start included")
    mail_cpu: float = given(0.042, "CPU s a mail", STATEMENTS)
    publish_requests: float = given(120, "requests an account", "docs/bucket.md, a night with new usage, 24 months")


@dataclass(frozen=True)
class Assumed:
    """What was not measured here: the world around, and prices."""

    records_per_account: float = given(
        5_500, "records a day", "as in the reference day; more messages are more accounts"
    )
    night_hours: float = given(2, "hours wall", "from the first page to the audit")
    task_hours: float = given(2, "hours wall", "`execution_timeout` in dags/tollbook_wiring.py")
    share_memory: float = given(2, "GiB", "the limit of a pod in docs/deploy.md")
    alone_memory: float = given(16, "GiB", "a larger machine for the tasks that are one a day")
    store_latency: float = given(
        0.020, "s a request", "a bucket in the same region; small objects, one after the other"
    )
    store_speed: float = given(100e6, "bytes a s", "one connection of such a bucket")
    put_rate: float = given(3_500, "a s and prefix", "as S3's makers publish it, for PUT, LIST and DELETE")
    get_rate: float = given(5_500, "a s and prefix", "as S3's makers publish it, for GET and HEAD")
    page_size: float = given(1_000, "records a page", "the most the provider gives, and our setting")
    page_latency: float = given(0.150, "s a page", "the target's; the provider publishes none")
    concurrency: float = given(4, "requests at a time", "our setting; 16 at most")
    lists: float = given(3, "lists an account", "messages, calls, recordings: asked even if empty")
    largest_account: float = given(
        0.01, "of all records", "of the largest account's longest list, whose pages follow each other"
    )
    lookback_days: float = given(7, "days", "our setting: as many windows share `MAX_SHARES`")
    cards_combined: float = given(12, "combinations a rate card", "line × direction × type × number class in use")
    own_card: float = given(0.01, "of the accounts", "that have a rate card of their own")
    publish_processes: float = given(8, "processes", "the most that one task starts")
    mail_seconds: float = given(0.1, "s a mail", "one connection, one mail after the other")
    vcpu_hour: float = given(0.0504, "dollars", "general purpose with 4 GiB a vCPU, list price, US East, as of 2025")
    gb_month: float = given(0.023, "dollars", "S3 Standard, list price, US East, as of 2025")
    thousand_puts: float = given(0.005, "dollars", "PUT and LIST, same list")
    thousand_gets: float = given(0.0004, "dollars", "GET and HEAD, same list; DELETE costs nothing")


# ------------------------------------------------------------------------------------------------ the day


@dataclass(frozen=True)
class Day:
    """A day of so many messages, and how it is cut."""

    messages: float
    m: Measured = Measured()
    a: Assumed = Assumed()
    most_shares: float = MOST_SHARES

    @property
    def records(self) -> float:
        return self.messages * (1 + CALLS_PER_MESSAGE)

    @property
    def times(self) -> float:
        """The reference day."""
        return self.records / self.m.records

    @property
    def accounts(self) -> int:
        return math.ceil(round(self.records / self.a.records_per_account, 6))

    @property
    def raw(self) -> float:
        """Compressed bytes of its pages."""
        return self.times * self.m.raw_bytes

    @property
    def pages(self) -> int:
        """Answers of the API; an account's last page of a list is seldom full, and an empty list is a page."""
        return math.ceil(self.records / self.a.page_size + self.accounts * self.a.lists)

    @property
    def packs(self) -> int:
        return math.ceil(self.raw / PACK_BYTES)

    @property
    def buckets(self) -> int:
        return buckets.count(math.ceil(self.raw))

    @property
    def bucket_bytes(self) -> float:
        """Compressed: of pages, in each bucket. No longer `BUCKET_BYTES` at most, once there are `MOST`."""
        return self.raw / self.buckets

    @property
    def group_bytes(self) -> float:
        """Compressed bytes of a share of pages."""
        return max(SHARE_BUCKETS * buckets.BUCKET_BYTES, self.raw / self.most_shares)

    @property
    def groups(self) -> int:
        """Shares of pages; those of lists that are never split are one."""
        return math.ceil(self.raw / self.group_bytes) + 1

    @property
    def pieces(self) -> int:
        """Objects that wait between the shares: what each share of pages found for each bucket."""
        return self.groups * self.buckets

    @property
    def shared(self) -> bool:
        return self.buckets > 1

    @property
    def daily_rows(self) -> float:
        """Distinct lines of an account grow with a power of its records (Heaps' law); measured twice, with as many accounts."""
        power = math.log(self.m.daily_rows / self.m.daily_rows_tenth) / math.log(10)
        each = self.m.daily_rows / self.m.accounts
        reference = self.m.records / self.m.accounts
        return self.accounts * each * (self.records / self.accounts / reference) ** power

    def in_a_task(self, shares: float) -> int:
        """Shares of one task: `nights.shares` makes so few tasks that Airflow maps them."""
        return math.ceil(shares * self.a.lookback_days / MAX_SHARES)

    @property
    def tasks(self) -> int:
        """Mapped tasks of the shares."""
        return sum(math.ceil(n / self.in_a_task(n)) for n in (self.groups, self.buckets)) if self.shared else 0


def cpu(day: Day) -> dict[str, float]:
    """CPU seconds by step; `state` is that of the last night of a month, whose days it reads."""
    names = ("pull", "read", "make", "normalise", "rate", "reconcile", "roll_up", "audit")
    found = {name.replace("_", " "): day.times * getattr(day.m, f"{name}_cpu") for name in names}
    month = day.daily_rows * day.m.state_row_cpu + day.records * day.m.hold_record_cpu
    found["state"] = MONTH_DAYS * month
    return found | {"start of tasks": (day.tasks + 7) * (day.m.airflow_cpu + day.m.open_cpu)}


PARALLEL = ("read", "make")
"""The steps in shares; of each other there is one task a day."""


class Requests(NamedTuple):
    """What a store is asked."""

    get: float = 0
    head: float = 0
    put: float = 0
    list: float = 0
    delete: float = 0

    def __add__(self, other: Requests) -> Requests:
        return Requests(*map(sum, zip(self, other, strict=True)))

    @property
    def all(self) -> float:
        return sum(self)

    @property
    def turns(self) -> float:
        """Of requests one after the other; what waited is deleted several at a time."""
        return self.all - self.delete + self.delete / S3Store.parallel


def requests(groups: int, cut: int, packs: int, packs_a_share: float, *, late: int = 0) -> dict[str, Requests]:
    """Requests of the lake by step, of a day new to it, of one source; what does not grow is left out. ``late``: 1 where its
    pages bring records of other days."""
    return {
        "pull": Requests(head=2 * packs, put=packs),
        "read": Requests(get=groups * (3 + packs_a_share), put=groups * (cut + 2 + late), list=groups),
        # Of each share of pages its mark and events; and the index of all pages.
        "make": Requests(get=cut * (2 * groups + 5), head=2 * cut, put=4 * cut, list=cut * (4 + 2 * late)),
        # The mark, totals and late records of each share. Then each file is copied into the view.
        "normalise": Requests(get=3 * groups + 2 * cut, head=3 * cut, put=cut),
        "rate": Requests(
            get=2 * cut, head=3 * cut, put=cut, list=groups * cut / 1_000, delete=groups * cut + (2 + late) * groups + 2 * cut
        ),
        "reconcile": Requests(get=cut),
        "roll up": Requests(get=2 * cut),
        "audit": Requests(get=2 * cut, head=2 * cut),
        "state": Requests(),
    }  # fmt: skip


def asked(day: Day) -> dict[str, Requests]:
    """`requests` of a day."""
    if not day.shared:
        return requests(0, 1, day.packs, 0) | {step: Requests() for step in PARALLEL}
    return requests(day.groups, day.buckets, day.packs, 1 + day.group_bytes / PACK_BYTES)


def stored(day: Day) -> dict[str, float]:
    """Bytes that stay, by dataset: history and view of all but the raw packs."""
    m = day.m
    return {
        "raw": day.raw, "raw index": 2 * day.pages * m.index_row_bytes, "events": 2 * day.times * m.events_bytes,
        "charges": 2 * day.times * m.charges_bytes, "daily": 2 * day.daily_rows * m.daily_row_bytes,
    }  # fmt: skip


def objects(day: Day) -> int:
    """Objects that stay: packs, and files of events and charges in history and view; the rest is few."""
    return day.packs + 4 * day.buckets


def waiting(day: Day) -> float:
    """Bytes of the objects that wait between the shares."""
    return day.times * day.m.work_bytes * day.shared


def moved(day: Day) -> float:
    """Bytes read from the store: as measured, a month of daily, and the index that each share reads."""
    month = MONTH_DAYS * day.daily_rows * day.m.daily_row_bytes
    return month + day.times * day.m.read_back_bytes + (day.groups + day.buckets) * day.pages * day.m.index_row_bytes


def memory(day: Day) -> dict[str, float]:
    """Peak bytes of a task, by step. Those of one task a day grow with the records."""
    m, index = day.m, day.pages * day.m.index_row_memory
    more = day.records - m.records
    return {
        "pull": m.pull_peak * MIB + 2 * index,
        "read": m.read_peak * MIB + index,
        "make": m.open_peak * MIB + index + (m.make_peak - m.open_peak) * MIB * day.bucket_bytes / m.make_bytes,
        "normalise": m.normalise_peak * MIB + index,
        "reconcile": m.reconcile_peak * MIB + m.reconcile_memory * more,
        "roll up": m.roll_up_peak * MIB + m.roll_up_memory * more,
        "audit": m.audit_peak * MIB + m.audit_memory * more,
        "state": m.open_peak * MIB + m.state_account_memory * day.accounts + m.state_record_memory * day.records * MONTH_DAYS,
    }


def seconds(day: Day, step: str) -> float:
    """Wall seconds of all of a step on one core: computing, waiting and moving."""
    copied = {"normalise": day.times * day.m.events_bytes, "rate": day.times * day.m.charges_bytes}.get(step, 0)
    return cpu(day)[step] + asked(day)[step].turns * day.a.store_latency + 2 * copied / day.a.store_speed


def alone(day: Day) -> float:
    """Wall seconds of the steps that are one task a day and wait for each other; the audit is beside them, not before."""
    return sum(seconds(day, step) for step in ("pull", "normalise", "rate", "roll up", "state"))


def workers(day: Day) -> tuple[int, float]:
    """(cores that do all of the day's computing and waiting in a night if all of it could be shared out; hours that the tasks
    of one a day take whatever their number)."""
    every = sum(seconds(day, step) for step in asked(day)) + cpu(day)["start of tasks"]
    return math.ceil(every / (day.a.night_hours * 3600)), alone(day) / 3600


def provider(day: Day) -> tuple[int, float, float]:
    """(requests to the provider's API, hours they take so many at a time, hours of the longest list)."""
    chain = day.records * day.a.largest_account / day.a.page_size * day.a.page_latency
    return day.pages, max(day.pages / day.a.concurrency * day.a.page_latency, chain) / 3600, chain / 3600


def dollars(day: Day) -> dict[str, float]:
    """Of one day: computing, requests, and a month of what stays."""
    a, every = day.a, total(day)
    return {
        "vCPU hours, computing": sum(cpu(day).values()) / 3600 * a.vcpu_hour,
        "vCPU hours, waiting for the store": every.turns * a.store_latency / 3600 * a.vcpu_hour,
        "PUT and LIST": (every.put + every.list) / 1000 * a.thousand_puts,
        "GET and HEAD": (every.get + every.head) / 1000 * a.thousand_gets,
        "storage, a month of it": sum(stored(day).values()) / 1e9 * a.gb_month,
    }


# ------------------------------------------------------------------------------------------------ limits


class Limit(NamedTuple):
    """Something that ends. ``load`` of a day comes up to ``most``; ``basis`` says what the load is reckoned from."""

    name: str
    load: Callable[[Day], float]
    most: float
    unit: str
    basis: str
    move: str


def binds(limit: Limit, day: Day) -> float | None:
    """The fewest messages a day, to a percent, with which a limit is passed; None beyond a million millions. Some loads fall a
    little where a day is cut into twice the buckets, so it is looked for from below."""

    def passed(messages: float) -> bool:
        return limit.load(replace(day, messages=messages)) > limit.most

    high = next((at for n in range(MOST_STEPS) if passed(at := FEWEST * STEP**n)), None)
    if high is None or high == FEWEST:
        return high
    low = high / STEP
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if passed(middle) else (middle, high)
    return high


def limits(m: Measured, a: Assumed) -> Iterator[Limit]:
    """Every limit known; `binds` says where each lies."""
    task, share, big = a.task_hours * 3600, a.share_memory * GIB, a.alone_memory * GIB
    night = a.night_hours * 3600

    def in_memory(step: str, most: float, basis: str, move: str) -> Limit:
        return Limit(f"memory of `{step}`", lambda day: memory(day)[step] / GIB, most / GIB, "GiB", basis, move)

    def in_time(step: str, basis: str, move: str) -> Limit:
        return Limit(
            f"time of `{step}`, one task", lambda day: seconds(day, step) / 3600, task / 3600, "h", basis, move
        )

    def make_task(day: Day) -> float:
        return seconds(day, "make") / day.buckets * day.in_a_task(day.buckets) / 3600

    yield in_memory("audit", big, "measured at two sizes", "what is told of all records of a day, bucket by bucket")
    yield in_memory("reconcile", big, "measured at two sizes", "count in the shares")
    yield in_memory(
        "roll up", big, "measured at two sizes: nearly all are hashes of records",
        "look for doubles bucket by bucket: within a source the same one has all copies of a record",
    )  # fmt: skip
    yield Limit(
        "audit: no record twice, in all days of a night", lambda d: 16 * d.records * a.lookback_days / GIB, big / GIB, "GiB",
        "8 bytes a record and a sorted copy", "compare bucket with bucket over the days",
    )  # fmt: skip
    yield Limit(
        "audit: no record twice, in a month without notes, at closing", lambda d: 16 * d.records * MONTH_DAYS / GIB, big / GIB, "GiB",
        "8 bytes a record and a sorted copy", "compare bucket with bucket over the days",
    )  # fmt: skip
    yield in_memory("state", big, "measured at two sizes, of as many accounts", "statements by groups of accounts in mapped tasks")
    yield in_time("rate", "requests counted; latency assumed", "let a life-cycle rule delete the pieces; copy in the shares")
    yield Limit("time of a `make share` task", make_task, task / 3600, "h", "requests counted; latency assumed",
                "one object a share of pages, read by range; marks and totals read once")  # fmt: skip
    yield in_time("normalise", "requests counted; copies files into the view", "let the store copy; copy in the shares")
    yield in_time("roll up", "CPU measured, on one core", "add up in the shares, then in a tree")
    yield in_time("reconcile", "CPU measured, on one core", "count in the shares")
    yield in_time("audit", "CPU measured, on one core", "audit bucket by bucket in mapped tasks")
    yield in_time(
        "state", "CPU measured on another month, on one core", "statements by groups of accounts in mapped tasks"
    )
    yield in_time("pull", "CPU measured, from files", "one pull for each group of accounts or files")
    yield Limit("PUT of pieces below one prefix", lambda d: d.pieces * d.shared / night, a.put_rate, "a second",
                "counted, spread over the night", "fewer pieces; the hash before the date in their names")  # fmt: skip
    yield Limit("GET below one prefix", lambda d: asked(d)["make"].get / night, a.get_rate, "a second",
                "counted, spread over the night", "fewer pieces")  # fmt: skip
    yield Limit("`MOST` buckets", lambda d: d.raw / buckets.BUCKET_BYTES, buckets.MOST, "buckets", "bytes measured",
                "a larger `MOST`: then buckets no longer grow; soft, memory is next")  # fmt: skip
    yield in_memory("make", share, "measured, by bytes of a bucket", "a larger `MOST`, a smaller index")
    yield in_memory("read", share, "measured, by bytes of a share; index reckoned", "an index cut like the shares")
    yield Limit("index read by the shares", lambda d: (d.groups + d.buckets) * d.pages * m.index_row_bytes / 1e12, 1, "TB",
                "measured bytes a page; a terabyte is no wall", "an index cut like the shares")  # fmt: skip
    yield Limit("asking the provider", lambda d: provider(d)[1], night / 3600, "h", "latency and concurrency assumed",
                f"16 at a time, then {a.page_size:,.0f} records a page is the end: export files instead of an API")  # fmt: skip
    yield Limit("longest list of one account", lambda d: provider(d)[2], night / 3600, "h", "latency and share assumed",
                "ask a list by hours: several chains of pages")  # fmt: skip
    yield Limit("`MAX_GROUPS` of prefixes, with rate cards", lambda d: d.accounts * a.own_card * a.cards_combined, MAX_GROUPS,
                "groups", "share of own cards assumed", "an axis for each group of rate cards")  # fmt: skip
    yield Limit("mapped tasks", lambda d: d.tasks / 2, 1_024, "tasks", "`MAX_SHARES` a source; Airflow's max_map_length",
                "never reached: shares get fatter instead")  # fmt: skip
    yield Limit(
        "XCom of the shares",
        lambda d: d.tasks * 30 / 1e6,
        1,
        "MB",
        "30 bytes a task",
        "never reached: keys, never data",
    )
    yield Limit("a log entry", lambda d: d.buckets * m.log_file_bytes / 1e6, 1, "MB", "measured bytes a file",
                "never reached with `MOST`; beyond, a list of files beside the entry")  # fmt: skip
    yield Limit("publishing statements, each night", lambda d: d.accounts * m.publish_cpu / a.publish_processes / 3600,
                task / 3600, "h", "CPU measured; processes of one task", "mapped tasks by groups of accounts")  # fmt: skip
    yield Limit("requests of publishing", lambda d: d.accounts * m.publish_requests * a.store_latency / 8 / 3600, task / 3600,
                "h", "docs/bucket.md; eight at a time", "mapped tasks by groups of accounts")  # fmt: skip
    yield Limit("sending mail, once a month", lambda d: d.accounts * (a.mail_seconds + m.mail_cpu) / 3600, task / 3600, "h",
                "assumed; one connection", "several connections; a broken-off task goes on where it was")  # fmt: skip
    yield Limit(
        "rating a day of a closed month", lambda d: d.buckets * d.accounts / 1000 * a.store_latency / 3600, task / 3600, "h",
        "each bucket lists all closings, 1,000 a request", "list them once a task",
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ what is said


def short(value: float | None) -> str:
    """A number of messages."""
    if value is None:
        return "never"
    for size, name in ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:.3g}{name}"
    return f"{value:.3g}"


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def inputs(m: Measured, a: Assumed) -> str:
    rows = []
    for one in (m, a):
        rows.append([f"**{type(one).__name__.lower()}**", "", "", ""])
        rows += [
            [f.name, f"{getattr(one, f.name):,.12g}", f.metadata["unit"], f.metadata["how"]] for f in fields(one)
        ]  # fmt: skip
    return "\n".join(
        [
            "| input | value | unit | from |",
            "| --- | --: | --- | --- |",
            *("| " + " | ".join(row) + " |" for row in rows),
        ]
    )


def total(day: Day) -> Requests:
    """Of all steps."""
    return sum(asked(day).values(), Requests())


def fatter(day: Day) -> str:
    """The day as it is, and with all shares of pages of one size, however many they are."""
    small = replace(day, most_shares=math.inf)
    rows = [
        [name, *(of(d) for d in (day, small))]
        for name, of in (
            ("shares of pages", lambda d: f"{d.groups:,}"),
            ("objects that wait", lambda d: f"{d.pieces * d.shared:,}"),
            ("requests, k", lambda d: number(total(d).all / 1e3)),
            ("core hours, waiting too", lambda d: number(sum(seconds(d, step) for step in asked(d)) / 3600)),
            (f"cores for a night of {day.a.night_hours:g} h, if all is shared out", lambda d: f"{workers(d)[0]:,}"),
            ("hours of the tasks that are one a day", lambda d: number(workers(d)[1])),
            ("dollars for the day", lambda d: number(sum(dollars(d).values()))),
        )
    ]
    return table(["", "as it is", f"shares of {number(small.group_bytes / MIB)} MiB"], rows)


def sizes(days: list[Day]) -> str:
    """Days side by side."""
    night, at_a_time = f"{days[0].a.night_hours:g} h", f"{days[0].a.concurrency:g} at a time"

    def row(name: str, of: Callable[[Day], str]) -> list[str]:
        return [name, *(of(day) for day in days)]

    rows = [
        row("accounts", lambda d: f"{d.accounts:,}"),
        row("shares of pages, buckets", lambda d: f"{d.groups:,}, {d.buckets:,}" if d.shared else "–"),
        row("CPU hours", lambda d: number(sum(cpu(d).values()) / 3600)),
        row(
            f"cores for a night of {night}, computing alone",
            lambda d: number(sum(cpu(d).values()) / 3600 / d.a.night_hours),
        ),
        row(f"cores for a night of {night}, if all is shared out", lambda d: f"{workers(d)[0]:,}"),
        row("hours of the tasks that are one a day", lambda d: number(workers(d)[1])),
        row("memory of a share, GiB", lambda d: number(max(memory(d)["read"], memory(d)["make"]) / GIB)),
        row("memory of `roll up`, GiB", lambda d: number(memory(d)["roll up"] / GIB)),
        row("memory of `audit`, GiB", lambda d: number(memory(d)["audit"] / GIB)),
        row("rows of daily, M", lambda d: number(d.daily_rows / 1e6)),
        row("objects that stay", lambda d: f"{objects(d):,}"),
        row("objects that wait between the shares", lambda d: f"{d.pieces * d.shared:,}"),
        row("GB that wait there", lambda d: number(waiting(d) / 1e9)),
        row("GB that stay", lambda d: number(sum(stored(d).values()) / 1e9)),
        row("GB read", lambda d: number(moved(d) / 1e9)),
        row("GET and HEAD, k", lambda d: number((total(d).get + total(d).head) / 1e3)),
        row("PUT and LIST, k", lambda d: number((total(d).put + total(d).list) / 1e3)),
        row("DELETE, k", lambda d: number(total(d).delete / 1e3)),
        row("requests to the provider, k", lambda d: number(provider(d)[0] / 1e3)),
        row(f"hours they take, {at_a_time}", lambda d: number(provider(d)[1])),
        row("dollars for the day", lambda d: number(sum(dollars(d).values()))),
    ]
    return table(["messages a day", *(short(day.messages) for day in days)], rows)


def by_step(day: Day) -> str:
    """One day, step by step."""
    spent, held, rows = cpu(day), memory(day), []
    for step, r in asked(day).items():
        how = f"{day.in_a_task(day.groups if step == 'read' else day.buckets)} a task" if step in PARALLEL else "one"
        rows.append(
            [step, number(spent[step] / 3600), how if day.shared else "one", number(held[step] / GIB) if step in held else "–"]
            + [number(n / 1e3) for n in r] + [number(seconds(day, step) / 3600)]
        )  # fmt: skip
    rows.append(["start of tasks", number(spent["start of tasks"] / 3600), f"{day.tasks + 7:,}", *["–"] * 7])
    header = [
        "step",
        "CPU h",
        "tasks",
        "GiB a task",
        "GET k",
        "HEAD k",
        "PUT k",
        "LIST k",
        "DELETE k",
        "core hours, waiting too",
    ]
    return table(header, rows)


def prices(day: Day) -> str:
    found = dollars(day)
    rows = [[name, f"{value:,.2f}"] for name, value in found.items()]
    return table(["of one day", "dollars"], [*rows, ["**together**", f"{sum(found.values()):,.2f}"]])


def bounds(day: Day) -> str:
    """Every limit, the nearest first."""
    found = sorted(((binds(one, day), one) for one in limits(day.m, day.a)), key=lambda pair: pair[0] or math.inf)
    lines = ["| limit | most | at 1 B messages | binds at, messages a day | basis | what would move it |",
             "| --- | --: | --: | --: | --- | --- |"]  # fmt: skip
    for at, one in found:
        load = one.load(replace(day, messages=DAY_MESSAGES))
        lines.append(
            f"| {one.name} | {number(one.most)} {one.unit} | {number(load)} | {short(at)} | {one.basis} | {one.move} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=DAY_MESSAGES, help="of the day shown step by step, 1000000000")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="Markdown page whose sections are replaced")
    given_ = parser.parse_args()
    day = Day(given_.messages)
    sections = {
        "scale sizes": sizes([replace(day, messages=n) for n in SIZES]),
        "scale steps": f"{short(day.messages)} messages, {short(day.messages * CALLS_PER_MESSAGE)} calls:\n\n{by_step(day)}",
        "scale dollars": prices(day), "scale pieces": fatter(day), "scale limits": bounds(day), "scale inputs": inputs(day.m, day.a),
    }  # fmt: skip
    for name, text in sections.items():
        print(text, end="\n\n")
        if given_.write:
            write_section(given_.write, name, text)


if __name__ == "__main__":
    main()
