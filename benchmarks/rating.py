"""Rating and rolling up a day of a million messages and a hundred thousand calls: CPU and memory, step by step.

    python benchmarks/rating.py [--messages 1000000] [--calls 100000] [--accounts 200] [--rounds 3]

The steps are those of the real job from accepted events to `daily`, with the shipped rate card. Beside them, in the same
process and rounds: reading and writing the same columns as Parquet and computing nothing, which is the floor, and the
slow reference of the tests in plain Python on a sample, which must give the same charges.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "rating")]

import rating_reference as clerk  # noqa: E402

from etl import directory  # noqa: E402
from etl.rating import card, charge  # noqa: E402
from etl.rollup import daily  # noqa: E402
from etl.schemas import DATASETS  # noqa: E402

DAY = date(2026, 10, 6)
SAMPLE = 2_000
NUMBERS_EACH = 8
AREAS = (201, 206, 212, 303, 312, 404, 415, 503, 602, 617, 702, 808)
STEPS = {
    "_with_prices": "price look-up",
    "_with_quantities": "quantities",
    "_priced": "amounts",
    "_with_fees": "carrier fees",
    "_with_detection": "voice detection",
    "_complete": "credits, reasons",
}


# ------------------------------------------------------------------------------------------------ data


def make_directory(folder: Path, accounts: int) -> directory.Directory:
    numbers, owners, campaigns = [], [], []
    for a in range(accounts):
        owners += [f"acct{a},member,m{i},Member {i}" for i in range(NUMBERS_EACH)]
        campaigns.append(f"acct{a},camp{a},Campaign,true")
        for i in range(NUMBERS_EACH):
            campaign = f"camp{a}" if i == 0 else ""
            numbers.append(f"{our_number(a, i)},acct{a},member,m{i},{campaign},{'false' if i == 1 else 'true'},local,,")
    files = {
        "accounts": ("account_id,name,company,currency,rate_card,email_to,provider_account_sid",
                     [f"acct{a},Account {a},,USD,standard,,AC{a}" for a in range(accounts)]),
        "owners": ("account_id,owner_kind,owner_id,name", owners),
        "numbers": ("number_e164,account_id,owner_kind,owner_id,campaign_id,registered,number_class,valid_from,valid_to",
                    numbers),
        "campaigns": ("account_id,campaign_id,name,voice_detection", campaigns),
    }  # fmt: skip
    for name, (header, rows) in files.items():
        (folder / f"{name}.csv").write_text("\n".join([header, *rows]) + "\n")
    return directory.load(folder)


def our_number(account: int, which: int) -> str:
    return f"+1{AREAS[account % len(AREAS)]}{2_000_000 + account * NUMBERS_EACH + which}"


def make_events(messages: int, calls: int, accounts: int, seed: int) -> pl.DataFrame:
    """Accepted events as normalise leaves them, only the columns that rating reads."""
    pick = random.Random(seed)  # noqa: S311 - invented traffic
    rows: dict[str, list] = defaultdict(list)
    start = datetime.combine(DAY, datetime.min.time(), UTC)
    for i in range(messages + calls):
        is_call = i >= messages
        account, ours = pick.randrange(accounts), pick.randrange(NUMBERS_EACH)
        out = pick.random() < 0.7
        own, other = our_number(account, ours), f"+1{pick.choice(AREAS)}{pick.randrange(2_000_000, 9_999_999)}"
        began = start + timedelta(milliseconds=pick.randrange(86_000_000))
        talk = pick.randrange(600) if pick.random() < 0.8 else 0
        mms = not is_call and pick.random() < 0.05
        segments = None if is_call or mms else pick.choice((1, 1, 1, 2, 3))
        values = {
            "record_id": f"{'CA' if is_call else 'SM'}{i:032x}", "kind": "call" if is_call else "message",
            "outcome": "accepted", "provider_account": f"AC{account}", "direction": "outbound" if out else "inbound",
            "type": "voice" if is_call else "mms" if mms else "sms",
            "status": "completed" if is_call else "failed" if out and pick.random() < 0.01 else "delivered",
            "occurred_at": began, "from_number": own if out else other, "to_number": other if out else own,
            "segments_reported": segments, "segments_computed": segments, "segments": segments, "carrier": None,
            "ended_at": began + timedelta(seconds=talk + 12) if is_call else None,
            "answered_seconds": talk if is_call else None, "parent_id": None, "provider_cost": None,
            "provider_currency": None, "vanished": False,
        }  # fmt: skip
        for name, value in values.items():
            rows[name].append(value)
    types = DATASETS["events"].types
    return pl.DataFrame(rows, schema={name: types[name] for name in rows})


# ------------------------------------------------------------------------------------------------ measuring


class Meter:
    """CPU seconds (user and system, all threads) and wall seconds by step."""

    def __init__(self) -> None:
        self.cpu: dict[str, float] = defaultdict(float)
        self.wall: dict[str, float] = defaultdict(float)

    @contextmanager
    def step(self, name: str):
        cpu, wall = cpu_seconds(), time.perf_counter()
        yield
        self.cpu[name] += cpu_seconds() - cpu
        self.wall[name] += time.perf_counter() - wall

    def watch(self, module, function: str, name: str) -> None:
        """Time a private step of a module from outside, so that the job itself holds no measuring code."""
        inner = getattr(module, function)

        def timed(*args, **kwargs):
            with self.step(name):
                return inner(*args, **kwargs)

        setattr(module, function, timed)


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def same_as_the_clerk(
    events: pl.DataFrame, charges: pl.DataFrame, made: directory.Directory, rates: card.RateCard
) -> float:
    """CPU seconds a row of the plain Python reference on a sample; SystemExit if one charge differs."""
    sample = events.sample(min(SAMPLE, events.height), seed=7)
    accounts = [
        {"account_id": a.account_id, "currency": a.currency, "rate_card": a.rate_card,
         "provider_accounts": a.provider_accounts} for a in made.accounts
    ]  # fmt: skip
    numbers, prices, fees = (f.to_dicts() for f in (made.numbers, rates.prices, rates.fees))
    of_number = defaultdict(list)
    for number in numbers:
        of_number[number["number_e164"]].append(number)
    began = cpu_seconds()
    expected = {}
    for event in sample.iter_rows(named=True):
        ours = event["from_number"] if event["direction"] == "outbound" else event["to_number"]
        who = clerk.attribute(event, accounts, of_number[ours], DAY, "USD")
        said = clerk.charge(event | who, prices, fees, DAY, 1)
        expected[event["record_id"]] = (said["line"], said["quantity"], said["charge"], said["carrier_fee"])
    each = (cpu_seconds() - began) / sample.height
    mine = charges.filter(pl.col("record_id").is_in(list(expected)))
    for row in mine.iter_rows(named=True):
        found = (row["line"], row["quantity"], row["charge"], row["carrier_fee"])
        if found != expected[row["record_id"]]:
            raise SystemExit(f"{row['record_id']}: charged {found}, the reference says {expected[row['record_id']]}")
    return each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--accounts", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        made, rates = make_directory(place, options.accounts), card.load(ROOT / "config" / "rates")
        make_events(options.messages, options.calls, options.accounts, options.seed).write_parquet(
            place / "events.parquet"
        )
        before = peak_mib()
        rounds, floors = [], []
        for _ in range(options.rounds):
            floor = Meter()
            with floor.step("floor"):
                same = pl.read_parquet(place / "events.parquet")
                same.write_parquet(place / "copy.parquet", compression="zstd", compression_level=3)
            floors.append(floor.cpu["floor"])
            rounds.append(meter := Meter())
            undo = {name: getattr(charge, name) for name in STEPS}
            for function, name in STEPS.items():
                meter.watch(charge, function, name)
            with meter.step("whole"):
                with meter.step("read"):
                    events = pl.read_parquet(place / "events.parquet")
                with meter.step("attribute"):
                    attributed = made.attribute(events, DAY, "USD")
                with meter.step("rate"):
                    charges = charge.rate(attributed, rates, DAY, credits_per_segment=1)
                with meter.step("write charges"):
                    charges.write_parquet(place / "charges.parquet", compression="zstd", compression_level=3)
                with meter.step("roll up"):
                    rolled = daily(charges)
            for name, function in undo.items():
                setattr(charge, name, function)
        each = same_as_the_clerk(events, charges, made, rates)
        report(options, rounds, floors, each, rolled, before)


def report(options, rounds: list[Meter], floors: list[float], each: float, rolled: pl.DataFrame, before: int) -> None:
    cpu = {name: statistics.median(m.cpu[name] for m in rounds) for name in rounds[0].cpu}
    wall = {name: statistics.median(m.wall[name] for m in rounds) for name in rounds[0].wall}
    cpu["rate: order, contract, rest"] = cpu["rate"] - sum(cpu[name] for name in STEPS.values())
    wall["rate: order, contract, rest"] = wall["rate"] - sum(wall[name] for name in STEPS.values())
    whole, floor = cpu["whole"], statistics.median(floors)
    print(
        f"{options.messages:,} messages, {options.calls:,} calls, {options.accounts} accounts; median of {options.rounds}\n"
    )
    print("| step | CPU s | part | wall s |\n| --- | ---: | ---: | ---: |")
    order = (
        "read",
        "attribute",
        "rate",
        *STEPS.values(),
        "rate: order, contract, rest",
        "write charges",
        "roll up",
        "whole",
    )
    for name in order:
        indent = "&nbsp;&nbsp;" if name in STEPS.values() or name.startswith("rate:") else ""
        print(
            f"| {indent}{name.removeprefix('rate: ')} | {cpu[name]:.2f} | {cpu[name] / whole:.0%} | {wall[name]:.2f} |"
        )
    rows = options.messages + options.calls
    print(f"\n{rolled.height:,} rows in daily; peak memory {peak_mib():,} MiB ({before:,} MiB before the first round)")
    print(f"{whole / floor:.1f} x the floor (read and write the events, compute nothing: {floor:.2f} CPU s)")
    print(
        f"{each * rows / whole:,.0f} x less CPU than the plain Python reference ({each * 1e6:.0f} us a row, equal on a sample)"
    )


if __name__ == "__main__":
    main()
