"""A month of 200 accounts: statements and ledgers from `daily`, closing it with its audits, and a large rate card.

    python benchmarks/month.py [--messages 1000000] [--rounds 3] [--keep DIR] [--night SECONDS]

Writes a lake of thirty days as the nights before leave it (raw index, events, charges, daily), the directory of 200
accounts with members, plans and purchases, and the rate card. Then each verb runs in a process of its own, round after
round, and its CPU seconds (user and system) and peak memory are those that the kernel counted for that process; the work
apart from starting Python and opening the settings stands beside it. ``--keep`` leaves the lake there for the next time.

One day is rated by the real job; the others are the same traffic on another date with other record ids.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

YEAR, NUMBER = 2026, 9
FIRST = date(YEAR, NUMBER, 1)
DAYS = 30
TODAY = date(2026, 10, 20)
SOURCE = "twilio"
ACCOUNTS, MEMBERS, INBOXES = 200, 10, 2
AREAS = ("201", "206", "212", "303", "312", "404", "415", "503", "602", "617", "702", "808")
CARRIERS = ("AT&T", "T-Mobile")
WORDS = 4_000_000
"""Characters of the text that bodies are cut from."""

SETTINGS = """\
start = 2026-09-01
directory = "directory"
rates = "rates"
price_wait_days = 14
number_billing = "month_end"

[lake]
url = "lake"

[sources.twilio]
kind = "twilio"
connection = "twilio"

[reports.store]
url = "published"
"""

LEDGERS = ("holdings", "credits", "monthly", "statement", "corrections")
"""What a month's verbs write."""

# ------------------------------------------------------------------------------------------------ the place


def our_number(account: int, which: int) -> str:
    return f"+1{AREAS[account % len(AREAS)]}{2_000_000 + account * (MEMBERS + INBOXES) + which}"


def write_place(root: Path, prefixes: int = 0) -> Path:
    """Settings, directory and the shipped rate card in ``root``; returns the settings file. ``prefixes``: so many longer
    ones of each area have prices of their own, half of them on a ladder: `daily` has a line for each."""
    pick = random.Random(7)  # noqa: S311 - invented customers
    rows: dict[str, list[str]] = defaultdict(list)
    for a in range(ACCOUNTS):
        card = "plan" if a % 3 == 0 else "standard"
        rows["accounts"].append(f"acct{a:03d},Account {a},,USD,{card},,AC{a:032x},US-WA-SEATTLE")
        for i in range(MEMBERS + INBOXES):
            kind, name = ("member", f"m{i}") if i < MEMBERS else ("inbox", f"i{i}")
            rows["owners"].append(f"acct{a:03d},{kind},{name},Owner {i}")
            campaign = f"camp{a}" if i == 0 else ""
            registered = "false" if i == 1 else "true"
            rows["numbers"].append(f"{our_number(a, i)},acct{a:03d},{kind},{name},{campaign},{registered},local,,")
        rows["campaigns"].append(f"acct{a:03d},camp{a},Campaign {a},true")
        if card == "plan":
            anchor = date(2026, 8 if a % 2 else 7, 1 + pick.randrange(28))
            recharge = ",".join(["1000", "20000", "150.00", "simulated"]) if a % 2 else ",,,"
            rows["subscriptions"].append(f"sub{a},acct{a:03d},p{a % 4},{anchor},,1,{recharge}")
            for n in range(pick.randrange(3)):
                at = datetime(YEAR, NUMBER, 1 + pick.randrange(DAYS), pick.randrange(24), tzinfo=UTC)
                rows["purchases"].append(f"buy{a}-{n},acct{a:03d},{at.isoformat()},pack,30000,200.00,USD")
    rows["plans"] = [f"p{i},Plan {i},USD,{50 * (i + 1)}.00,month,{40_000 * (i + 1)}" for i in range(4)]
    columns = {
        "accounts": "account_id,name,company,currency,rate_card,email_to,provider_account_sid,service_address",
        "owners": "account_id,owner_kind,owner_id,name",
        "numbers": "number_e164,account_id,owner_kind,owner_id,campaign_id,registered,number_class,valid_from,valid_to",
        "campaigns": "account_id,campaign_id,name,voice_detection",
        "plans": "plan_id,name,currency,price,interval,credits",
        "subscriptions": "subscription_id,account_id,plan_id,anchor,ended_on,quantity,recharge_below,recharge_credits,"
        "recharge_price,recharges",
        "purchases": "purchase_id,account_id,bought_at,kind,credits,price,currency",
    }
    (root / "directory").mkdir(parents=True, exist_ok=True)
    for name, header in columns.items():
        (root / "directory" / f"{name}.csv").write_text("\n".join([header, *rows[name]]) + "\n")
    shutil.copytree(ROOT / "config" / "rates", root / "rates", dirs_exist_ok=True)
    with (root / "rates" / "prices.csv").open("a") as prices:
        for area, n, way in product(AREAS, range(prefixes), ("outbound", "inbound")):
            for card in ("standard", "plan"):
                own = "0.0095,,,,,,us-texts" if n % 2 and (card, way) == ("standard", "outbound") else f"0.00{n % 90 + 10},,,,,,"
                named = f"{card}-{way}-{area}{n:02d},{card},text,{way},sms,,+1{area}{n:02d}"
                prices.write(f"{named},USD,{own},2026-09-01,,2026-08-03,\n")
    settings = root / "tollbook.toml"
    settings.write_text(SETTINGS)
    return settings


def write_card(root: Path, prices: int) -> None:
    """A rate card of so many price rows, a tenth as many carrier fees, in folder ``root``."""
    pick = random.Random(11)  # noqa: S311 - invented prices
    codes = ("1", "33", "34", "39", "44", "49", "55", "61", "81", "91")
    made: dict[tuple, int] = {}
    while len(made) < prices // 2:
        prefix = pick.choice(codes) + "".join(pick.choices("0123456789", k=pick.randrange(2, 7)))
        made.setdefault((pick.choice(("standard", "plan")), pick.choice(("text", "call")), prefix), len(made))
    rows, fees = [], []
    for (card, line, prefix), n in made.items():
        call = "60,60,dial,false,0.01" if line == "call" else ",,,,"
        kind = "sms" if line == "text" else ""
        for version, (since, until) in enumerate((("2026-01-01", "2026-07-01"), ("2026-07-01", ""))):
            rows.append(
                f"r{n}-{version},{card},{line},outbound,{kind},,+{prefix},USD,0.{pick.randrange(10_000):05d},{call},,{since},"
                f"{until},2026-01-01,"
            )
    for n, (card, line, prefix) in enumerate(made):
        if card == "standard" and line == "text" and len(fees) < prices // 10:
            fees.append(f"f{n},,outbound,sms,true,,+{prefix},USD,0.003,2026-01-01,,2026-01-01,")
    header = "rate_id,rate_card,line,direction,type,number_class,prefix,currency,price,minimum_seconds,increment_seconds,"
    header += "clock,bill_unanswered,connection_fee,tier_id,valid_from,valid_to,recorded_at,note"
    root.mkdir(parents=True, exist_ok=True)
    (root / "prices.csv").write_text("\n".join([header, *rows]) + "\n")
    header = "fee_id,carrier,direction,type,registered,number_class,prefix,currency,price,valid_from,valid_to,recorded_at,note"
    (root / "carrier_fees.csv").write_text("\n".join([header, *fees]) + "\n")


# ------------------------------------------------------------------------------------------------ the lake


def make_events(messages: int, page: str):
    """`schemas.Events` of the first day: messages, a tenth as many calls, recordings of some, and all numbers listed."""
    import numpy as np
    import polars as pl

    from etl.schemas import DATASETS
    from etl.segments import segment_columns

    rng = np.random.default_rng(20260901)
    calls, owners = messages // 10, MEMBERS + INBOXES
    n = messages + calls
    share = 1 / np.arange(1, ACCOUNTS + 1) ** 0.6
    account = rng.choice(ACCOUNTS, n, p=share / share.sum())
    which = rng.integers(0, owners, n)
    ours = np.array([our_number(a, i) for a in range(ACCOUNTS) for i in range(owners)])[account * owners + which]
    theirs = np.char.add("+1" + rng.choice(np.array(AREAS), n).astype("U3"), rng.integers(2_000_000, 9_999_999, n).astype("U7"))
    ids = np.frombuffer(rng.bytes(16 * n).hex().encode(), dtype="S32").astype("U32")
    is_call = np.arange(n) >= messages
    frame = pl.DataFrame({
        "id": ids, "ours": ours, "theirs": theirs, "call": is_call, "out": rng.random(n) < 0.55,
        "mms": rng.random(n) < 0.06, "failed": rng.random(n) < 0.01, "carrier": rng.choice(np.array(CARRIERS), n),
        "talk": np.where(rng.random(n) < 0.68, rng.lognormal(4.4, 1.1, n).astype("int64") + 1, 0),
        "sid": np.char.add("AC", np.array([f"{a:032x}" for a in range(ACCOUNTS)]))[account],
        "ms": rng.integers(0, 86_000_000, n), "recorded": rng.random(n) < 0.3,
        "start": rng.integers(0, WORDS - 400, n), "length": rng.lognormal(np.log(78), 0.62, n).astype("int64").clip(2, 330),
        "row": np.arange(n),
    })  # fmt: skip
    sms = ~pl.col("call") & ~pl.col("mms")
    midnight = datetime(YEAR, NUMBER, 1, tzinfo=UTC)
    began = pl.lit(midnight) + pl.duration(milliseconds="ms")
    body = pl.Series("body", _bodies(rng, frame["start"].to_list(), frame["length"].to_list()))
    usage = frame.with_columns(body).select(
        record_id=pl.when("call").then(pl.lit("CA")).otherwise(pl.when("mms").then(pl.lit("MM")).otherwise(pl.lit("SM"))) + pl.col("id"),
        kind=pl.when("call").then(pl.lit("call")).otherwise(pl.lit("message")),
        outcome=pl.lit("accepted"),
        provider_account="sid",
        direction=pl.when("out").then(pl.lit("outbound")).otherwise(pl.lit("inbound")),
        type=pl.when("call").then(pl.lit("voice")).when("mms").then(pl.lit("mms")).otherwise(pl.lit("sms")),
        status=pl.when("call").then(pl.lit("completed")).when(pl.col("out") & pl.col("failed")).then(pl.lit("failed"))
        .when("out").then(pl.lit("delivered")).otherwise(pl.lit("received")),
        occurred_at=began,
        from_number=pl.when("out").then("ours").otherwise("theirs"),
        to_number=pl.when("out").then("theirs").otherwise("ours"),
        body=pl.when(~pl.col("call")).then("body"),
        carrier=pl.when(~pl.col("call")).then("carrier"),
        answered_seconds=pl.when("call").then("talk"),
        ended_at=pl.when("call").then(began + pl.duration(seconds=pl.col("talk") + 12)),
        provider_cost=pl.lit("0.0058").cast(pl.Decimal(18, 9)), provider_currency=pl.lit("USD"),
        _sms=sms, _recorded=pl.col("call") & pl.col("recorded") & (pl.col("talk") > 0), raw_index=pl.col("row").cast(pl.Int32),
    ).with_columns(  # fmt: skip
        pl.when("_sms").then(segment_columns("body").struct.field("segments").cast(pl.Int64)).alias("segments_computed"),
    ).with_columns(segments="segments_computed", segments_reported="segments_computed")
    recordings = usage.filter("_recorded").select(
        record_id=pl.lit("RE") + pl.col("record_id").str.slice(2), kind=pl.lit("recording"), outcome=pl.lit("accepted"),
        provider_account="provider_account", status=pl.lit("completed"), occurred_at="occurred_at",
        answered_seconds="answered_seconds", parent_id="record_id", raw_index="raw_index",
    )  # fmt: skip
    listed = [(f"PN{a:016x}{i:016x}", f"AC{a:032x}", our_number(a, i)) for a in range(ACCOUNTS) for i in range(owners)]
    numbers = pl.DataFrame(listed, schema=["record_id", "provider_account", "to_number"], orient="row").with_columns(
        kind=pl.lit("number"), outcome=pl.lit("accepted"), occurred_at=pl.lit(midnight), raw_index=pl.lit(0, pl.Int32)
    )
    events = DATASETS["events"]
    every = pl.concat([usage.drop("_sms", "_recorded"), recordings, numbers], how="diagonal_relaxed").with_columns(
        vanished=pl.lit(False), raw_sha256=pl.lit(page)
    )
    absent = [pl.lit(None, t).alias(c) for c, t in events.types.items() if c not in every.columns]
    return events.arrange(every.with_columns(absent).select(pl.col(c).cast(t) for c, t in events.types.items()))


def _bodies(rng, starts: list[int], lengths: list[int]) -> list[str]:
    letters = rng.choice(list("eeeeetttaaooiinnsshhrrdlucmwfgypbvk      ,.'"), WORDS)
    pool = "".join(letters)
    return [pool[s : s + n] for s, n in zip(starts, lengths, strict=True)]


def fill_lake(settings: Path, messages: int) -> None:
    """Thirty days as the nights before leave them: raw, events, charges, the provider's totals, daily."""
    import polars as pl

    from etl.lake import Partition
    from etl.schemas import DATASETS
    from etl.sources import Page
    from etl.sources._packs import SUFFIX, pack

    jobs = open_jobs(settings)
    page = Page("messages", f"AC{0:032x}", 0, "page 0", gzip.compress(b"{}"))
    lake = jobs.lake
    first = {d: Partition.of(d, date=FIRST, source=SOURCE) for d in ("raw", "events", "charges", "ledger")}

    def keep(at):
        return pack([page], lambda data: lake.put_blob("raw", data, SUFFIX, p=at))

    events = charges = daily = None
    for offset in range(DAYS):
        day = FIRST + timedelta(days=offset)
        at = {name: Partition.of(name, date=day, source=SOURCE) for name in first}
        raw = pl.DataFrame(keep(at["raw"]), schema=DATASETS["raw"].types, orient="row")
        lake.commit(at["raw"], DATASETS["raw"].arrange(raw), base=None)
        totals = lake.commit(at["ledger"], DATASETS["ledger"].empty(), base=None)
        if events is None:
            events = moved(make_events(messages, page.sha256), 0)
            made = lake.commit(at["events"], events, base=None, reason="normalise")
            jobs.rate(day, SOURCE)
            charges = lake.read(lake.head(at["charges"])).drop("date", "source")
            jobs.roll_up(day)
            daily = lake.read(lake.head(Partition.of("daily", date=day))).drop("date")
            template = {name: lake.head(p).inputs for name, p in at.items()}
        else:
            made = lake.commit(at["events"], moved(events, offset), base=None, reason="normalise")
            inputs = template["charges"] | {f"events/{SOURCE}": made.sha256}
            rated = lake.commit(
                at["charges"], moved(charges, offset), base=None, inputs=inputs, sums=lake.head(first["charges"]).sums, reason="rate",
            )  # fmt: skip
            lake.commit(
                Partition.of("daily", date=day), daily, base=None, inputs={f"charges/{SOURCE}": rated.sha256},
                sums={"unrated": "0"}, reason="roll up",
            )  # fmt: skip
        compared = {f"events/{SOURCE}": made.sha256, f"ledger/{SOURCE}": totals.sha256, "asked": "messages"}
        lake.commit(
            Partition.of("reconciled", date=day, source=SOURCE), DATASETS["reconciled"].empty(), base=None, inputs=compared
        )
        print(f"  {day}: {daily.height} rows of daily, {charges.height} charges", file=sys.stderr)


def moved(frame, offset: int):
    """The same records so many days later, under other ids; a number keeps its own."""
    import polars as pl

    later = [pl.col(c) + pl.duration(days=offset) for c, t in frame.schema.items() if isinstance(t, pl.Datetime)]
    tag = pl.lit(f"{offset:02x}")
    renamed = [
        pl.when(pl.col("kind") == "number").then(c).otherwise(pl.col(c).str.slice(0, 2) + tag + pl.col(c).str.slice(4)).alias(c)
        for c in ("record_id", "parent_id")
        if c in frame.columns
    ]
    return frame.with_columns(*later, *renamed).sort(
        ["account_id", "kind", "occurred_at", "record_id"] if "account_id" in frame.columns else ["kind", "record_id"],
        nulls_last=True,
    )


def forget_month(root: Path) -> None:
    """Take away what the month's verbs wrote, and its closings."""
    lake = root / "lake"
    for name in LEDGERS:
        for folder in (lake / name, lake / "_log" / name, lake / "_hist" / name):
            shutil.rmtree(folder, ignore_errors=True)
    for name in ("close", "audited"):
        shutil.rmtree(lake / name, ignore_errors=True)


# ------------------------------------------------------------------------------------------------ verbs


def open_jobs(settings: Path):
    from etl.jobs import Jobs

    return Jobs.open(
        settings, run_id="benchmark", clock=lambda: datetime(TODAY.year, TODAY.month, TODAY.day, 4, tzinfo=UTC)
    )


def lose_one(jobs, day: date) -> None:
    """A record less on a day, rated and rolled up again: what a night finds changed."""
    from etl.lake import Partition

    keys = {"date": day, "source": SOURCE}
    events, charges = (jobs.lake.head(Partition.of(d, **keys)) for d in ("events", "charges"))
    gone = jobs.lake.read(charges, ["record_id", "kind"]).filter(kind="message")["record_id"][-1]
    inputs = charges.inputs
    for head in (events, charges):
        rows = jobs.lake.read(head).drop(list(keys))
        less = rows.filter(rows["record_id"] != gone)
        given = head.inputs if head is events else inputs
        made = jobs.lake.commit(head.partition, less, base=head, inputs=given, sums=head.sums, reason=head.reason)
        inputs = inputs | {f"events/{SOURCE}": made.sha256}
    jobs.roll_up(day)
    jobs.compare(day, SOURCE)


def work(verb: str, settings: Path, messages: int = 0) -> dict:
    """One verb, in this process; returns what it did and its own CPU seconds by step."""
    if verb == "card":
        from etl.rating import card

        before = time.process_time()
        loaded = card.load(settings.parent / "large_card")
        return {"cpu": time.process_time() - before, "said": f"{loaded.prices.height} prices, {loaded.fees.height} fees"}
    from etl.periods import Month

    jobs, month = open_jobs(settings), Month(YEAR, NUMBER)
    _ = jobs.directory, jobs.products, jobs.card, jobs.taxes, jobs.lake
    if verb == "fill":
        fill_lake(settings, messages)
        return {}
    if verb == "lose":
        lose_one(jobs, month.days[-1])
        return {}
    import etl.closing
    import etl.credits  # noqa: F401

    before = time.process_time()
    steps, said = {}, ""
    if verb in ("state", "state again"):
        for name in ("hold", "credit", "charge", "state"):
            begun = time.process_time()
            getattr(jobs, name)(month)
            steps[name] = round(time.process_time() - begun, 2)
        said = ", ".join(f"{n} {s}" for n, s in steps.items())
    elif verb == "night":
        for name in ("credit", "hold", "charge", "state"):
            begun = time.process_time()
            getattr(jobs, name)(month)
            steps[name] = round(time.process_time() - begun, 2)
        begun = time.process_time()
        results = jobs.audit([month.days[-1]], notes="write")
        steps["audit"] = round(time.process_time() - begun, 2)
        said = ", ".join(f"{n} {s}" for n, s in steps.items())
    elif verb == "read":
        found = [jobs.statements.load(a.account_id, month) for a in jobs.directory.accounts]
        said = f"{len(found)} statements"
    elif verb == "audit":
        results = jobs.audit(month.days, months=[month], notes="write")
        bad = [str(r) for r in results if r.verdict != "ok"]
        said = f"{len(results)} verdicts" + (f", {len(bad)} not ok: {bad[0]}" if bad else ", all ok")
    elif verb == "close":
        results = jobs.close(month)
        held = [r for r in results if r.held]
        said = f"{len(results) - len(held)} closed" + (f", held: {held[0].held[0]}" if held else "")
    return {"cpu": time.process_time() - before, "said": said}


def measure(verb: str, settings: Path, messages: int = 0) -> dict:
    """The verb in a process of its own: CPU seconds and peak MiB by the kernel's count, and what it said."""
    read, write = os.pipe()
    command = [sys.executable, __file__, "--work", verb, "--settings", str(settings), "--messages", str(messages)]
    process = subprocess.Popen(command, stdout=write)
    os.close(write)
    with os.fdopen(read) as out:
        answer = out.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{verb} failed")
    return json.loads(answer) | {"whole": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss / 1024}


VERBS = {
    "state": "first statement of the month (hold, credit, charge, state)",
    "state again": "the same, nothing changed",
    "night": "the same and the audit of a day, of which a record changed",
    "read": "every account's statement read, as pages do",
    "audit": "audit of the month",
    "close": "close, audited before",
    "card": "load a rate card of 50,000 rows",
}


def run(args: argparse.Namespace) -> None:
    root = Path(args.keep) if args.keep else Path(tempfile.mkdtemp(prefix="tollbook-month-"))
    try:
        if not (root / "made").exists():
            settings = write_place(root, args.prefixes)
            write_card(root / "large_card", 50_000)
            # In a process of its own, for a child starts with its parent's peak of memory.
            measure("fill", settings, args.messages)
            (root / "made").write_text(str(args.messages))
        settings = root / "tollbook.toml"
        found: dict[str, list[dict]] = defaultdict(list)
        for _ in range(args.rounds):
            forget_month(root)
            for verb in args.verbs or VERBS:
                if verb == "night":
                    measure("lose", settings)
                found[verb].append(measure(verb, settings))
        print(f"\n{(root / 'made').read_text()} messages a day, {DAYS} days, {args.rounds} round(s), medians\n")
        print("| verb | CPU s | of it work | peak MiB | of a night | |\n| --- | ---: | ---: | ---: | ---: | --- |")
        for verb, runs in found.items():
            whole, cpu, peak = (statistics.median(r[k] for r in runs) for k in ("whole", "cpu", "peak"))
            ratio = f"{whole / args.night:.2f}" if args.night else ""
            print(f"| {VERBS[verb]} | {whole:.2f} | {cpu:.2f} | {peak:.0f} | {ratio} | {runs[-1]['said']} |")
    finally:
        if not args.keep:
            shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000, help="a day")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", help="folder of the lake, made there if it is not yet")
    parser.add_argument("--prefixes", type=int, default=0, choices=range(101), metavar="N", help="of each area with prices of their own")
    parser.add_argument("--night", type=float, help="CPU seconds of one reference night, for the ratios")
    parser.add_argument("--verbs", nargs="*", choices=VERBS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--settings", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        print(json.dumps(work(given.work, given.settings, given.messages)))
    else:
        run(given)
