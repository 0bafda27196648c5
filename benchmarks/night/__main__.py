"""The reference night through Tollbook's real jobs, beside its peers and the floor: CPU seconds, memory, and the same answers.

    python -m benchmarks.night                                   a million messages and a tenth as many calls, three rounds
    python -m benchmarks.night --n 1000000 --n 10000000          both sizes, and what ten times the data cost
    python -m benchmarks.night --seed 7 --day 2026-04-02 --xdup 0.002       another day; no answer may depend on one
    python -m benchmarks.night --n 100000 --peers tollbook,duckdb,floor     a quick look
    python -m benchmarks.night --write docs/benchmarks.md        the tables go into the page, too

Each contender is a process of its own, measured from start to end. Rounds go forward and back (A B, B A), and ratios are
taken within a round: seconds of one session say little about another, ratios do. The day is made once and kept below
--data (10 million messages: 1.5 GB, ten minutes); while it runs it needs three times as much again.

tollbook  the verbs of etl.jobs: raw kept, contracts, each record once, charges, commits, daily
duckdb    the same figures in SQL, without the guarantees
pandas    the same in pandas; at most a million messages
plain     the same in plain Python; 100,000 messages, scaled
floor     decompress, write and read the same columns, compute nothing

What Tollbook stored is held to the known totals, or for a day that has none to DuckDB's. Up to --rows messages every
stored charge is held to plain Python as well. Ends with 1 where an answer is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from benchmarks.night.common import PUBLISHED, Totals, Workload, add_arguments
from benchmarks.night.measure import Failed, Run, run
from benchmarks.night.page import table, write_section

TITLES = {
    "tollbook": "**Tollbook**, all its guarantees",
    "duckdb": "DuckDB SQL, none",
    "pandas": "pandas, none",
    "plain": "plain Python, none",
    "floor": "floor: the bytes moved, nothing computed",
}
PEERS = tuple(TITLES)
MOST = {"pandas": 1_000_000, "plain": 100_000}
"""Messages a peer gets at most; of more its seconds are scaled."""
SCALED = ("plain",)
TARGETS = {
    1_000_000: {"CPU, × DuckDB": 1.0, "CPU, × floor": 3.5, "peak MiB": 700},
    10_000_000: {"CPU, × DuckDB": 0.85, "CPU, × floor": 3.5, "peak MiB": 1229},
}
GROWTH_TARGETS = {"CPU": 10.5, "peak memory": 2.5}


@dataclass
class Size:
    """One day and what was measured of it: contender → its runs, round by round."""

    work: Workload
    runs: dict[str, list[Run]] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)

    def cpu(self, peer: str) -> list[float]:
        return [self.scale(peer) * one.cpu for one in self.runs.get(peer, ())]

    def scale(self, peer: str) -> float:
        return self.work.n / of(peer, self.work).n

    def ratios(self, peer: str, to: str) -> list[float]:
        """Within each round."""
        return [a / b for a, b in zip(self.cpu(peer), self.cpu(to), strict=False)]

    def peak(self, peer: str) -> float:
        return median(one.peak_mib for one in self.runs[peer])


def of(peer: str, work: Workload) -> Workload:
    """The day a contender gets: a smaller one where this one is too large for it."""
    return replace(work, n=min(work.n, MOST[peer])) if peer in SCALED else work


class Bench:
    """Folders, and how each contender is started."""

    def __init__(self, data: Path, rows: int, keep: bool, say: Callable[[str], None]) -> None:
        self.data, self.rows, self.keep, self.say = data, rows, keep, say
        self.tables, self.out = data / "tables", data / "out"

    def make(self, work: Workload) -> None:
        """The day's files, the price tables, and Tollbook's own files about them."""
        if not (work.folder(self.data) / "_done").exists():
            self.say(f"making {work.name}, {work.day}: once")
        asked = ("--n", work.n, "--seed", work.seed, "--day", work.day, "--shard", work.shard, "--xdup", work.xdup)
        run("workload", "day", self.data, *asked)
        run("workload", "tables", self.data)
        run("mapping", self.data / work.name, self.tables, self.house(work), "--day", work.day)

    def house(self, work: Workload) -> Path:
        return self.data / "house" / f"{work.name}-{work.day}"

    def lake(self, work: Workload) -> Path:
        return self.house(work) / "lake"

    def start(self, peer: str, work: Workload) -> Run:
        """One contender, from nothing."""
        day, out = of(peer, work).folder(self.data), self.out / peer
        shutil.rmtree(out, ignore_errors=True)
        if peer == "tollbook":
            shutil.rmtree(self.lake(work), ignore_errors=True)
            return run("night", self.house(work) / "tollbook.toml", work.day)
        if peer == "floor":
            return run("floor", day, self.lake(work), out)
        return run(f"{peer}_peer", day, self.tables, out)

    def known(self, work: Workload) -> Totals:
        """The totals of a day: DuckDB's, which must agree with what is known of it."""
        found = self.start("duckdb", work).totals
        return self.agreed(found, work)

    def agreed(self, found: Totals, work: Workload) -> Totals:
        for name, value in PUBLISHED.get(work, {}).items():
            if getattr(found, name) != value:
                raise Failed(f"DuckDB says {found}, but {name} of that day is {value:,}")
        return found

    def check(self, work: Workload, known: Totals) -> str:
        """What Tollbook stored, held to the known totals; Failed where it is not equal."""
        more = ["--rows"] if work.n <= self.rows else []
        settings, day = self.house(work) / "tollbook.toml", work.folder(self.data)
        told = run("answers", settings, day, self.tables, "--expect", json.dumps(list(known)), *more).told
        return "equal" + (f", and {told['rows']:,} charges row by row" if told["rows"] else "")

    def clear(self, work: Workload) -> None:
        """What a size left, but for the day itself."""
        shutil.rmtree(self.out, ignore_errors=True)
        if not self.keep:
            shutil.rmtree(self.house(work), ignore_errors=True)


def measure(bench: Bench, work: Workload, peers: list[str], rounds: int) -> Size:
    """Every contender, round after round, forward and back."""
    size = Size(work)
    for each in {of(peer, work) for peer in peers}:
        bench.make(each)
    known: dict[Workload, Totals] = {}
    for number in range(rounds):
        for peer in peers if number % 2 == 0 else reversed(peers):
            one = bench.start(peer, work)
            size.runs.setdefault(peer, []).append(one)
            bench.say(
                f"n {work.n:,} round {number + 1} of {rounds} {peer:<9}{one.cpu:8.2f} CPU s {one.peak_mib:7.0f} MiB "
                f"{one.wall:7.1f} s"
            )
            if one.totals:  # of Tollbook they are taken from what it stored
                given = of(peer, work)
                if given not in known:
                    known[given] = bench.agreed(one.totals, given) if peer == "duckdb" else bench.known(given)
                if one.totals != known[given]:
                    raise Failed(f"{peer} says {one.totals}\nknown:  {known[given]}")
                size.answers[peer] = "equal"
        if number == 0 and "tollbook" in peers:
            expected = known.get(work) or bench.known(work)
            size.answers["tollbook"] = bench.check(work, expected)
            bench.say(f"n {work.n:,} answers of tollbook: {size.answers['tollbook']}: {expected}")
    bench.clear(work)
    return size


# ------------------------------------------------------------------------------------------------ what is said


def spread(values: Iterable[float], digits: int = 2) -> str:
    """Median [least–most]."""
    found = list(values)
    if not found:
        return "–"
    if len(found) == 1:
        return f"{found[0]:.{digits}f}"
    return f"{median(found):.{digits}f} [{min(found):.{digits}f}–{max(found):.{digits}f}]"


def contenders(size: Size) -> str:
    """The table of one size."""
    rows = []
    for peer in (p for p in PEERS if p in size.runs):
        scale = size.scale(peer)
        title = TITLES[peer] + (f" ({of(peer, size.work).n:,}, × {scale:g})" if scale != 1 else "")
        rows.append(
            [
                title, spread(size.cpu(peer), 1), spread(size.ratios(peer, "duckdb")), spread(size.ratios(peer, "floor")),
                f"{size.peak(peer):,.0f}" + (" at that size" if scale != 1 else ""), size.answers.get(peer, "–"),
            ]
        )  # fmt: skip
    return table(["", "CPU s", "× DuckDB", "× floor", "peak MiB", "answers"], rows)


def steps(size: Size, peer: str) -> str:
    """Where a contender's CPU went, as it says itself: medians."""
    told = [one.told for one in size.runs.get(peer, ())]
    names = list(dict.fromkeys(name for one in told for name in one.get("steps", {})))
    return ", ".join(f"{name} {median(one['steps'].get(name, 0) for one in told):.2f}" for name in names)


def targets(sizes: list[Size]) -> str:
    """What was asked, what was reached."""
    rows = []

    def row(what: str, asked: float, got: float, digits: int = 2) -> None:
        over = got / asked - 1
        rows.append([what, f"≤ {asked:g}", f"{got:,.{digits}f}", "met" if over <= 0 else f"over by {over:.0%}"])

    for size in (s for s in sizes if "tollbook" in s.runs and s.work.n in TARGETS):
        asked, label = TARGETS[size.work.n], f"{size.work.n // 10**6}M"
        for what, peer in (("CPU, × DuckDB", "duckdb"), ("CPU, × floor", "floor")):
            if peer in size.runs:
                row(f"{label}: {what}", asked[what], median(size.ratios("tollbook", peer)))
        row(f"{label}: peak MiB", asked["peak MiB"], size.peak("tollbook"), 0)
    small, large = sizes[0], sizes[-1]
    if large.work.n == 10 * small.work.n and "tollbook" in large.runs:
        cpu = median(large.cpu("tollbook")) / median(small.cpu("tollbook"))
        row("ten times the data: CPU ×", GROWTH_TARGETS["CPU"], cpu)
        row(
            "ten times the data: peak memory ×", GROWTH_TARGETS["peak memory"],
            large.peak("tollbook") / small.peak("tollbook"),
        )  # fmt: skip
    return table(["target", "asked", "measured", ""], rows) if rows else ""


def machine() -> str:
    """What it ran on."""
    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    packages = ", ".join(f"{name} {version(name)}" for name in ("polars", "duckdb", "pandas") if find_spec(name))
    return f"{os.cpu_count()} cores ({cpu}), Python {platform.python_version()}, {packages}"


def report(sizes: list[Size], command: str, rounds: int) -> str:
    """All of it in Markdown."""
    parts = ["## The reference night"]
    for size in sizes:
        work = size.work
        again = f", {work.xdup:.1%} of each file again in the next" if work.xdup else ""
        parts.append(
            f"{work.n:,} messages and {work.n // 10:,} calls of {work.day} (seed {work.seed}{again}), from gzip JSON lines to "
            f"`daily`. Median [least–most] of {rounds} round(s); ratios within a round."
        )
        parts.append(contenders(size))
        parts += [
            f"CPU seconds of {name}: {told}." for name, peer in (("Tollbook", "tollbook"), ("the floor", "floor"))
            if (told := steps(size, peer))
        ]  # fmt: skip
    parts += [targets(sizes), f"`{command}` on {machine()}."]
    return "\n\n".join(part for part in parts if part)


def command(asked: argparse.Namespace) -> str:
    """How to have the same again, anywhere."""
    default = Workload()
    named = [f"--n {n}" for n in sorted(set(asked.n or [default.n]))]
    named += [f"--rounds {asked.rounds}"]
    named += [
        f"--{k} {getattr(asked, k)}"
        for k in ("seed", "day", "shard", "xdup")
        if getattr(asked, k) != getattr(default, k)
    ]
    if asked.peers != ",".join(PEERS):
        named.append(f"--peers {asked.peers}")
    return " ".join(["python -m benchmarks.night", *named])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.night", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, action="append", help="messages, 1000000; again for another size")
    parser.add_argument("--rounds", type=int, default=3, help="of each contender, 3")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"contenders, {','.join(PEERS)}")
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "tollbook-bench"
    parser.add_argument("--data", type=Path, default=cache, help=f"cache folder, {cache}")
    parser.add_argument(
        "--rows", type=int, default=100_000, help="messages up to which every charge is checked, 100000"
    )
    parser.add_argument("--keep", action="store_true", help="leave the last lake there")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="Markdown page whose section `night` is replaced")
    add_arguments(parser)
    asked = parser.parse_args()
    peers = [p for p in asked.peers.split(",") if p]
    if wrong := [p for p in peers if p not in PEERS]:
        parser.error(f"--peers {', '.join(wrong)}: use {', '.join(PEERS)}")
    if "floor" in peers and peers.index("floor") < (peers.index("tollbook") if "tollbook" in peers else len(peers)):
        parser.error("--peers: the floor moves what Tollbook wrote, so name tollbook before it")

    say = partial(print, file=sys.stderr, flush=True)
    if "pandas" in peers and find_spec("pandas") is None:
        say("pandas is not installed and is left out: python -m pip install -r benchmarks/night/requirements.lock")
        peers.remove("pandas")
    bench = Bench(asked.data.expanduser().resolve(), asked.rows, asked.keep, say)
    sizes = []
    try:
        for n in sorted(set(asked.n or [Workload().n])):
            work = Workload(n, asked.seed, asked.day, asked.shard, asked.xdup)
            chosen = [p for p in peers if p in SCALED or n <= MOST.get(p, n)]
            sizes.append(measure(bench, work, chosen, asked.rounds))
    except Failed as error:
        sys.exit(f"{error}")
    text = report(sizes, command(asked), asked.rounds)
    print(text)
    if asked.write:
        write_section(asked.write, "night", text)


if __name__ == "__main__":
    main()
