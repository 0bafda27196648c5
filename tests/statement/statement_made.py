"""A small provider's September 2026 by hand: settings, directory, rate card and events, in a real lake on disk."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl

from etl.jobs import Jobs
from etl.lake import Partition
from etl.periods import Month
from etl.schemas import DATASETS
from etl.sources import Page
from etl.sources._packs import SUFFIX, pack

SEPTEMBER = Month(2026, 9)
NO_PAGE = "0" * 64
CLOSING_DAY = date(2026, 10, 3)

SETTINGS = """\
start = 2026-09-01
directory = "directory"
rates = "rates"
close_after_days = 2
price_wait_days = 0

[lake]
url = "lake"

[sources.twilio]
kind = "twilio"
connection = "twilio"

[reports.store]
url = "published"
"""

FILES = {
    "directory/accounts.csv": """\
account_id,name,company,currency,rate_card,email_to,provider_account_sid
acme,Acme,,USD,standard,,AC1
bolt,Bolt,,USD,standard,,AC2
cove,Cove,,USD,standard,,AC3
dune,Dune,,USD,standard,,AC4
kiri,Kiri,,JPY,yen,,AC5
""",
    "directory/owners.csv": """\
account_id,owner_kind,owner_id,name
acme,member,mia,Mia
acme,inbox,support,Support
bolt,member,noah,Noah
kiri,member,aoi,Aoi
""",
    "directory/numbers.csv": """\
number_e164,account_id,owner_kind,owner_id,campaign_id,registered,number_class,valid_from,valid_to
+12025550101,acme,member,mia,,true,local,,
+12025550102,acme,inbox,support,,false,local,,
+12025550111,bolt,member,noah,,true,local,,
+12025550112,bolt,member,noah,spring,true,local,,
+81312345678,kiri,member,aoi,,true,local,,
""",
    "directory/campaigns.csv": """\
account_id,campaign_id,name,voice_detection
bolt,spring,Spring,false
""",
    "rates/prices.csv": """\
rate_id,rate_card,line,direction,type,number_class,prefix,currency,price,minimum_seconds,increment_seconds,clock,bill_unanswered,connection_fee,valid_from,valid_to,recorded_at,note
sms-out-1,standard,text,outbound,sms,,+1,USD,0.0090,,,,,,2026-01-01,2026-09-15,2026-01-01,
sms-out-2,standard,text,outbound,sms,,+1,USD,0.0095,,,,,,2026-09-15,,2026-08-03,
sms-in,standard,text,inbound,sms,,+1,USD,0.0050,,,,,,2026-01-01,,2026-01-01,
mms-out,standard,text,outbound,mms,,+1,USD,0.0250,,,,,,2026-01-01,,2026-01-01,
mms-in,standard,text,inbound,mms,,+1,USD,0.0200,,,,,,2026-01-01,,2026-01-01,
failed,standard,failed_message,,,,,USD,0.0010,,,,,,2026-01-01,,2026-01-01,
call-out,standard,call,outbound,,,+1,USD,0.0200,60,60,dial,false,,2026-01-01,,2026-01-01,
call-in,standard,call,inbound,,,+1,USD,0.0120,60,60,dial,false,,2026-01-01,,2026-01-01,
campaign,standard,campaign_call,outbound,,,+1,USD,0.0220,60,60,dial,false,,2026-01-01,,2026-01-01,
number,standard,number,,,,,USD,0,,,,,,2026-01-01,,2026-01-01,numbers are free
yen-number,yen,number,,,,,JPY,0,,,,,,2026-01-01,,2026-01-01,numbers are free
yen-sms,yen,text,outbound,sms,,+81,JPY,1.25,,,,,,2026-01-01,,2026-01-01,
yen-call,yen,call,outbound,,,+81,JPY,30,60,60,dial,false,,2026-01-01,,2026-01-01,
""",
    "rates/carrier_fees.csv": """\
fee_id,carrier,direction,type,registered,number_class,prefix,currency,price,valid_from,valid_to,recorded_at,note
sms-registered,,outbound,sms,true,,+1,USD,0.0045,2026-01-01,,2026-01-01,
sms-unregistered,,outbound,sms,false,,+1,USD,0.0120,2026-01-01,,2026-01-01,
sms-unlisted,,outbound,sms,,,+1,USD,0.0045,2026-01-01,,2026-01-01,
mms-registered,,outbound,mms,true,,+1,USD,0.0100,2026-01-01,,2026-01-01,
""",
}

MIA, SUPPORT, NOAH, SPRING, AOI = "+12025550101", "+12025550102", "+12025550111", "+12025550112", "+81312345678"
SOMEBODY, IN_LONDON, IN_TOKYO = "+13105550150", "+442071838750", "+81398765432"


def at(day: int, clock: str = "12:00:00", month: int = 9) -> datetime:
    return datetime.fromisoformat(f"2026-{month:02d}-{day:02d}T{clock}+00:00").astimezone(UTC)


def text(record_id: str, when: datetime, ours: str, segments: int | None = 1, **given) -> dict:
    """An outbound SMS; ``segments=None`` makes it an MMS."""
    return {
        "record_id": record_id, "kind": "message", "outcome": "accepted", "provider_account": "AC1",
        "direction": "outbound", "type": "sms" if segments else "mms", "status": "delivered", "occurred_at": when,
        "from_number": ours, "to_number": SOMEBODY, "segments": segments, "vanished": False, "raw_sha256": "0" * 64,
        "raw_index": 0,
    } | given  # fmt: skip


def received(record_id: str, when: datetime, ours: str, segments: int | None = 1, **given) -> dict:
    parties = {"direction": "inbound", "status": "received", "from_number": SOMEBODY, "to_number": ours}
    return text(record_id, when, ours, segments, **parties, **given)


def call(record_id: str, when: datetime, ours: str, talk: int, ring: int = 0, **given) -> dict:
    """An outbound call: ``ring`` seconds of ringing, then ``talk`` seconds answered."""
    return text(record_id, when, ours) | {
        "kind": "call", "type": "voice", "status": "completed", "segments": None, "answered_seconds": talk,
        "ended_at": when + timedelta(seconds=ring + talk), "provider_account": "AC2",
    } | given  # fmt: skip


EVENTS = [
    # Acme
    text("a1", at(1), MIA, segments=3),
    text("a2", at(14, "23:59:59"), MIA),
    text("a3", at(15, "00:00:00"), MIA),
    text("a4", at(20), SUPPORT, segments=2),
    received("a5", at(20), MIA, segments=2),
    text("a6", at(21), MIA, segments=None),
    received("a7", at(21), SUPPORT, segments=None),
    text("a8", at(22), MIA, segments=5, status="failed"),
    text("a9", at(22), MIA, status="undelivered"),
    # Bolt
    call("b0", at(2), NOAH, talk=0),
    call("b1", at(2), NOAH, talk=1),
    call("b2", at(2), NOAH, talk=59),
    call("b3", at(3), NOAH, talk=60),
    call("b4", at(3), NOAH, talk=61),
    call("b5", at(3), NOAH, talk=40, ring=21),
    call("b6", at(3), NOAH, talk=0, ring=20, status="no-answer"),
    call("b7", at(9, "23:59:30"), NOAH, talk=45),
    call("b8", at(30, "23:59:50"), NOAH, talk=30),
    call("b9", at(5), NOAH, talk=61, direction="inbound", from_number=SOMEBODY, to_number=NOAH),
    call("bc", at(6), SPRING, talk=61),
    call("b-august", at(31, "23:59:50", month=8), NOAH, talk=30),
    # Dune: a number the directory does not list, and a country nobody has priced
    text("d1", at(5), "+12025550199", provider_account="AC4"),
    text("d2", at(6), "+12025550199", provider_account="AC4", to_number=IN_LONDON),
    # Kiri
    text("k1", at(7), AOI, segments=2, provider_account="AC5", to_number=IN_TOKYO),
    call("k2", at(7), AOI, talk=61, provider_account="AC5", to_number=IN_TOKYO),
    # a sub-account nobody knows
    text("u1", at(8), "+12025550198", provider_account="AC9"),
]


def write_place(root: Path, sources: tuple[str, ...] = ("twilio",)) -> Path:
    """Settings, directory and rate card in ``root``; returns the settings file."""
    for name, content in FILES.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    more = "".join(f'[sources.{name}]\nkind = "files"\n' for name in sources if name != "twilio")
    settings = root / "tollbook.toml"
    settings.write_text(SETTINGS + more, encoding="utf-8")
    return settings


def open_jobs(settings: Path, run_id: str = "run-1", today: date = CLOSING_DAY) -> Jobs:
    return Jobs.open(settings, run_id=run_id, clock=lambda: datetime(today.year, today.month, today.day, 4, tzinfo=UTC))


def event_frame(events: list[dict]) -> pl.DataFrame:
    dataset = DATASETS["events"]
    return dataset.arrange(pl.DataFrame(events, schema=dataset.types, orient="row"))


def load_day(jobs: Jobs, day: date, events: list[dict], source: str = "twilio") -> None:
    """What a night does after normalising: the day's events replaced as a whole, rated and rolled up."""
    read_day(jobs, day, events, source)
    jobs.rate(day, source)
    jobs.roll_up(day)


def read_day(jobs: Jobs, day: date, events: list[dict], source: str = "twilio") -> None:
    """The day's events, and the page they were read from."""
    target, raw = (Partition.of(dataset, date=day, source=source) for dataset in ("events", "raw"))
    page = Page("messages", "AC1", 0, "page 0", f"{day} {events}".encode())
    rows = pack([page], lambda data: jobs.lake.put_blob("raw", data, SUFFIX, p=raw))
    frame = DATASETS["raw"].arrange(pl.DataFrame(rows, schema=DATASETS["raw"].types, orient="row"))
    jobs.lake.commit(raw, frame, base=jobs.lake.head(raw))
    read = [e | ({"raw_sha256": page.sha256} if e["raw_sha256"] == NO_PAGE else {}) for e in events]
    jobs.lake.commit(target, event_frame(read), base=jobs.lake.head(target))


def on(day: date) -> list[dict]:
    return [e for e in EVENTS if e["occurred_at"].date() == day]


def money(*amounts: str) -> list[Decimal]:
    return [Decimal(a) for a in amounts]
