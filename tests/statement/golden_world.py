"""Sixteen accounts in the first quarter of 2028, a leap year: settings, files and events of the golden statements."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from statement_made import SETTINGS, load_day, open_jobs

from etl.jobs import Jobs
from etl.periods import Month

JANUARY, FEBRUARY, MARCH = (Month(2028, n) for n in (1, 2, 3))
ACCOUNTS = (
    "a31", "twice", "sixty", "thirty", "six", "midnight", "switch", "picture", "release", "refund", "silent", "taxed",
    "campaign", "ladder", "beyond", "yen",
)  # fmt: skip
CARDS = {"thirty": "thirty", "six": "six", "ladder": "tier", "yen": "yen"}


def number(account: str, which: int = 1) -> str:
    """A number of an account: +1 202 55501nn, two for each account; the yen account's is Japanese."""
    return "+81312345678" if account == "yen" else f"+1202555{100 + 2 * ACCOUNTS.index(account) + which:04d}"


def _accounts() -> str:
    rows = ["account_id,name,company,currency,rate_card,email_to,provider_account_sid,service_address"]
    for name in ACCOUNTS:
        address = "US-WA-SEATTLE" if name == "taxed" else ""
        money = "JPY" if name == "yen" else "USD"
        rows.append(f"{name},{name.title()},,{money},{CARDS.get(name, 'standard')},,AC-{name},{address}")
    return "\n".join(rows) + "\n"


def _numbers() -> str:
    rows = ["number_e164,account_id,owner_kind,owner_id,campaign_id,registered,number_class,valid_from,valid_to"]
    for name in ACCOUNTS:
        if name in ("silent", "release", "campaign", "picture"):
            continue
        rows.append(f"{number(name)},{name},member,cam,,true,local,,")
    rows += [
        f"{number('picture', 1)},picture,member,cam,,false,local,,",
        f"{number('picture', 2)},picture,member,cam,,true,local,,",
        f"{number('release', 1)},release,member,cam,,true,local,,2028-02-20",
        f"{number('release', 2)},release,member,cam,,true,local,2028-02-20,",
        f"{number('campaign', 1)},campaign,member,cam,on,true,local,,",
        f"{number('campaign', 2)},campaign,member,cam,off,true,local,,",
    ]
    return "\n".join(rows) + "\n"


FILES = {
    "directory/accounts.csv": _accounts(),
    "directory/owners.csv": "account_id,owner_kind,owner_id,name\n"
    + "".join(f"{name},member,cam,Cam\n" for name in ACCOUNTS),
    "directory/numbers.csv": _numbers(),
    "directory/campaigns.csv": "account_id,campaign_id,name,voice_detection\ncampaign,on,On,true\ncampaign,off,Off,false\n",
    "directory/carriers.csv": "prefix_e164,carrier\n+131055501,AT&T\n+131055502,T-Mobile\n",
    "directory/plans.csv": """\
plan_id,name,currency,price,interval,credits,valid_from,valid_to
p100,Hundred,USD,10.00,month,100,2028-01-01,
p10,Ten,USD,5.00,month,10,2028-01-01,
""",
    "directory/subscriptions.csv": """\
subscription_id,account_id,plan_id,anchor,ended_on,quantity,recharge_below,recharge_credits,recharge_price,recharges
s-a31,a31,p100,2028-01-31,,1,,,,
s-twice,twice,p10,2028-02-01,,1,5,20,2.00,simulated
s-beyond,beyond,p10,2028-02-01,,1,,,,
""",
    "directory/purchases.csv": """\
purchase_id,account_id,bought_at,kind,credits,price,currency,note
pack-1,beyond,2028-02-06T10:00:00+00:00,pack,5,1.00,USD,
""",
    "directory/adjustments.csv": """\
adjustment_id,account_id,date,amount,currency,taxable,reason
adj-1,refund,2028-02-12,-5.00,USD,false,Refund for January
""",
    "rates/prices.csv": """\
rate_id,rate_card,line,direction,type,number_class,prefix,currency,price,minimum_seconds,increment_seconds,clock,bill_unanswered,connection_fee,tier_id,valid_from,valid_to,recorded_at,note
sms-1,standard,text,outbound,sms,,+1,USD,0.0100,,,,,,,2028-01-01,2028-02-15,2028-01-01,
sms-2,standard,text,outbound,sms,,+1,USD,0.0120,,,,,,,2028-02-15,,2028-01-01,
sms-in,standard,text,inbound,sms,,+1,USD,0.0050,,,,,,,2028-01-01,,2028-01-01,
mms,standard,text,outbound,mms,,+1,USD,0.0300,,,,,,,2028-01-01,,2028-01-01,
call,standard,call,outbound,,,+1,USD,0.0600,60,60,dial,false,,,2028-01-01,,2028-01-01,
campaign,standard,campaign_call,outbound,,,+1,USD,0.0300,60,60,dial,false,,,2028-01-01,,2028-01-01,
detection,standard,voice_detection,,,,,USD,0.0100,,,,,,,2028-01-01,,2028-01-01,
video,standard,video,,,,,USD,0.0040,60,60,answer,false,,,2028-01-01,,2028-01-01,
store,standard,recording_storage,,,,,USD,0.0010,,,,,,,2028-01-01,,2028-01-01,
number,standard,number,,,local,,USD,1.00,,,,,,,2028-01-01,,2028-01-01,
overage,standard,credit_overage,,,,,USD,0.0400,,,,,,,2028-01-01,,2028-01-01,
call-30-6,thirty,call,outbound,,,+1,USD,0.0600,30,6,dial,false,,,2028-01-01,,2028-01-01,
number-30-6,thirty,number,,,local,,USD,1.00,,,,,,,2028-01-01,,2028-01-01,
call-6-6,six,call,outbound,,,+1,USD,0.0600,6,6,dial,false,,,2028-01-01,,2028-01-01,
number-6-6,six,number,,,local,,USD,1.00,,,,,,,2028-01-01,,2028-01-01,
sms-tier,tier,text,outbound,sms,,+1,USD,0.0100,,,,,,steps,2028-01-01,,2028-01-01,
number-tier,tier,number,,,local,,USD,1.00,,,,,,,2028-01-01,,2028-01-01,
yen-sms,yen,text,outbound,sms,,+81,JPY,1.25,,,,,,,2028-01-01,,2028-01-01,
yen-number,yen,number,,,local,,JPY,120,,,,,,,2028-01-01,,2028-01-01,
""",
    "rates/tiers.csv": """\
tier_id,model,from_quantity,price,flat_fee,package_size,currency,valid_from,valid_to,recorded_at,note
steps,graduated,0,0.0100,,,USD,2028-01-01,,2028-01-01,
steps,graduated,5,0.0080,,,USD,2028-01-01,,2028-01-01,
steps,graduated,10,0.0050,,,USD,2028-01-01,,2028-01-01,
""",
    # Only California's +1 310 has carrier fees, so that they stand on the one account that is about them.
    "rates/carrier_fees.csv": """\
fee_id,carrier,direction,type,registered,number_class,prefix,currency,price,valid_from,valid_to,recorded_at,note
att-sms,AT&T,outbound,sms,true,,+1310,USD,0.0035,2028-01-01,,2028-01-01,
any-sms-unregistered,,outbound,sms,false,,+1310,USD,0.0120,2028-01-01,,2028-01-01,
any-mms,,outbound,mms,true,,+1310,USD,0.0100,2028-01-01,,2028-01-01,
tmo-mms-unregistered,T-Mobile,outbound,mms,false,,+1310,USD,0.0210,2028-01-01,,2028-01-01,
""",
    "rates/taxes.csv": """\
tax_id,level,jurisdiction,name,kind,rate,lines,share,sourcing,compound,valid_from,valid_to,recorded_at,note
usf,federal,US,Universal service,percent,37.6,call,0.649,service_address,false,2028-01-01,,2028-01-01,
wa,state,US-WA,Sales tax,percent,6.5,call;text;number,,service_address,false,2028-01-01,,2028-01-01,
e911,state,US-WA,Emergency line,per_unit,0.40,number,,service_address,false,2028-01-01,,2028-01-01,
sea,local,US-WA-SEATTLE,Utility tax,percent,6.0,call,,service_address,false,2028-01-01,,2028-01-01,
""",
}

SOMEBODY, ON_ATT, ON_TMOBILE, IN_TOKYO = "+14155550150", "+13105550100", "+13105550200", "+81398765432"


def at(month: int, day: int, clock: str = "12:00:00") -> datetime:
    return datetime.fromisoformat(f"2028-{month:02d}-{day:02d}T{clock}+00:00").astimezone(UTC)


def event(account: str, when: datetime, **given) -> dict:
    return {
        "kind": "message", "outcome": "accepted", "provider_account": f"AC-{account}", "direction": "outbound",
        "type": "sms", "status": "delivered", "occurred_at": when, "from_number": number(account),
        "to_number": SOMEBODY, "vanished": False, "raw_sha256": "0" * 64, "raw_index": 0,
    } | given  # fmt: skip


def sms(account: str, when: datetime, segments: int, **given) -> dict:
    return event(account, when, segments=segments, **given)


def mms(account: str, when: datetime, **given) -> dict:
    return event(account, when, type="mms", **given)


def call(account: str, when: datetime, talk: int, ring: int = 0, **given) -> dict:
    timed = {"kind": "call", "type": "voice", "status": "completed", "answered_seconds": talk,
             "ended_at": when + timedelta(seconds=ring + talk)}  # fmt: skip
    return event(account, when, **timed | given)


def session(identity: str, when: datetime, seconds: int) -> dict:
    return event("campaign", when, kind="video", type="video", direction=None, status="disconnected",
                 from_number=identity, to_number=None, parent_id="room-1", answered_seconds=seconds,
                 ended_at=when + timedelta(seconds=seconds))  # fmt: skip


def recording(when: datetime, seconds: int, deleted: datetime | None = None) -> dict:
    return event("campaign", when, kind="recording", type=None, direction=None, status="completed", from_number=None,
                 to_number=None, parent_id="elsewhere", answered_seconds=seconds, ended_at=deleted)  # fmt: skip


EVENTS = [
    sms("a31", at(1, 31, "10:00:00"), 30),
    sms("a31", at(2, 10), 20),
    sms("a31", at(2, 29, "08:00:00"), 10),
    sms("a31", at(3, 30), 5),
    sms("a31", at(3, 31, "00:00:00"), 7),
    #
    sms("twice", at(2, 7, "09:00:00"), 6),
    sms("twice", at(2, 7, "09:20:00"), 10),
    sms("twice", at(2, 7, "09:50:00"), 10),
    sms("twice", at(2, 8), 60),
    #
    *[call(name, at(2, 2, f"12:0{i}:00"), talk) for name in ("sixty", "thirty", "six")
      for i, talk in enumerate((0, 1, 59, 60, 61))],
    #
    call("midnight", at(1, 31, "23:59:50"), 30),
    call("midnight", at(2, 14, "23:59:30"), 45),
    call("midnight", at(2, 29, "23:59:50"), 30),
    #
    sms("switch", at(2, 14, "23:59:59"), 1),
    sms("switch", at(2, 15, "00:00:00"), 1),
    sms("switch", at(2, 15, "00:00:00"), 3),
    #
    mms("picture", at(2, 3), to_number=ON_TMOBILE),
    sms("picture", at(2, 3), 2, to_number=ON_ATT),
    sms("picture", at(2, 4), 2, to_number=ON_ATT, from_number=number("picture", 2)),
    mms("picture", at(2, 4), to_number=ON_TMOBILE, from_number=number("picture", 2)),
    #
    sms("release", at(2, 10), 1),
    sms("refund", at(2, 12), 1),
    #
    call("taxed", at(2, 5), 600),
    sms("taxed", at(2, 5), 5),
    #
    call("campaign", at(2, 10, "09:00:00"), 61, answered_by="human"),
    call("campaign", at(2, 10, "09:10:00"), 0, ring=20, status="no-answer"),
    call("campaign", at(2, 10, "09:20:00"), 10, answered_by="machine_start"),
    call("campaign", at(2, 10, "09:30:00"), 30, parent_id="first-leg"),
    call("campaign", at(2, 10, "09:40:00"), 30, from_number=number("campaign", 2)),
    recording(at(1, 20), 61),
    recording(at(1, 20), 36_000),
    recording(at(1, 21), 120, deleted=at(2, 1, "00:00:00")),
    recording(at(2, 10), 1),
    session("cam", at(2, 11), 61),
    session("guest-1", at(2, 11), 10),
    #
    sms("ladder", at(2, 3), 4),
    sms("ladder", at(2, 5), 4),
    sms("ladder", at(2, 9), 4),
    #
    sms("beyond", at(2, 5), 16),
    sms("beyond", at(2, 6, "12:00:00"), 7),
    #
    sms("yen", at(2, 5), 2, to_number=IN_TOKYO),
]  # fmt: skip


def build(root: Path, *settings: str, files: dict[str, str] | None = None, every_day: bool = False) -> Path:
    """The quarter in a lake in ``root``, every month stated; returns the settings file. ``settings``: lines to add;
    ``files``: other contents; ``every_day``: also the days without usage, without which no month closes."""
    for name, content in (FILES | (files or {})).items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    file = root / "tollbook.toml"
    file.write_text(SETTINGS.replace("start = 2026-09-01", "\n".join(["start = 2028-01-01", *settings])))
    jobs = opened(file)
    days = defaultdict(list)
    for i, one in enumerate(EVENTS):
        days[one["occurred_at"].date()].append(one | {"record_id": f"r{i:02d}"})
    months = (JANUARY, FEBRUARY, MARCH)
    needed = {day for m in months for day in (m.days if every_day else m.days[-1:])}
    for day in sorted({*days, *needed}):
        load_day(jobs, day, days[day])
    for month in (JANUARY, FEBRUARY, MARCH):
        jobs.state(month)
    return file


def opened(settings: Path) -> Jobs:
    return open_jobs(settings, today=date(2028, 4, 9))
