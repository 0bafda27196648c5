"""The reference day: messages and calls as gzip JSON lines, and the tables that price them. Seeded.

    python -m benchmarks.night.workload day DIR --n 1000000 --seed 1 --day 2026-03-15
    python -m benchmarks.night.workload tables DIR

A file depends on (seed, day, kind, number, rows a file) and on the versions of numpy and polars. What a day is made of:

* N messages: 55 % outbound, 6 % MMS, 200 accounts, 40 countries, 1 % of the rows up to three days late, 0.2 % of the
  destinations in a country nobody prices. Bodies are prose of median 90 characters; 12 % need UCS-2.
* N/10 calls: 68 % answered; campaign calls, answering-machine detection and recordings among them.
* 0.5 % of the records come again as a later version, 0.1 % byte for byte. With ``xdup`` a share of each file comes again,
  newer, in the next file.

Every number drawn is drawn in a fixed order, so the order of the statements below is part of the definition.
"""

from __future__ import annotations

import argparse
import hashlib
import zlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.night.common import LATE_DAYS, Workload, add_arguments

DIRECTIONS = ("outbound", "inbound")
TYPES = ("sms", "mms", "voice")
CARRIERS = ("verizon", "att", "tmobile", "uscellular", "vodafone", "orange", "telstra", "other")
CARRIER_SHARES = np.array([0.27, 0.24, 0.25, 0.04, 0.06, 0.05, 0.03, 0.06])
ACCOUNTS, MEMBERS, INBOXES, NUMBERS = 200, 20, 3, 8
"""Accounts, and of each: members, shared inboxes, telephone numbers."""
TABLES_SEED = 20260315
DAY_MS = 86_400_000

# (calling code, digits after it, share of the destinations)
COUNTRIES = (
    ("1", 10, 62.0), ("44", 10, 6.0), ("61", 9, 3.0), ("49", 10, 2.5), ("33", 9, 2.4), ("52", 10, 2.4), ("91", 10, 2.2),
    ("55", 11, 1.8), ("34", 9, 1.5), ("39", 10, 1.4), ("31", 9, 1.2), ("46", 9, 0.8), ("47", 8, 0.6), ("45", 8, 0.6),
    ("358", 9, 0.5), ("353", 9, 0.6), ("41", 9, 0.6), ("43", 10, 0.5), ("32", 9, 0.5), ("351", 9, 0.4), ("48", 9, 0.6),
    ("420", 9, 0.4), ("36", 9, 0.3), ("40", 9, 0.4), ("30", 10, 0.4), ("90", 10, 0.5), ("972", 9, 0.4), ("971", 9, 0.4),
    ("966", 9, 0.3), ("27", 9, 0.5), ("234", 10, 0.5), ("254", 9, 0.3), ("20", 10, 0.3), ("63", 10, 0.5), ("65", 8, 0.4),
    ("60", 9, 0.3), ("62", 10, 0.4), ("81", 10, 0.5), ("82", 10, 0.3), ("64", 9, 0.3),
)  # fmt: skip
UNKNOWN_COUNTRY = ("999", 9)
OWN_COUNTRIES = ("1", "1", "1", "44", "61")

CODES = np.array([int(code) for code, _, _ in COUNTRIES] + [int(UNKNOWN_COUNTRY[0])], dtype=np.int64)
DIGITS = np.array([digits for _, digits, _ in COUNTRIES] + [UNKNOWN_COUNTRY[1]], dtype=np.int64)
SHARES = np.array([share for _, _, share in COUNTRIES])

EXTENSION = ("€", "[", "]", "{", "}", "|", "^", "~", "\\")
ACCENTED = ("é", "ñ", "ü", "à", "Ø", "£", "¿", "ö", "É", "è")
TYPOGRAPHIC = ("’", "“", "”", "–", "…", "á", "ç", "™", "•", "ł")
EMOJI = ("😀", "🎉", "👍", "🔥", "🙏", "🎉🎉", "😀😀😀", "👩‍💻", "🇺🇸", "❤️")
_VOCABULARY = (
    "the to a you your is for and on in of we at be will have this are with call thanks please appointment tomorrow today "
    "order confirm reply stop yes no time meeting delivery invoice payment account team hi hello see can do not it that me "
    "my our from now back office available schedule reminder number link click here code verification password expires "
    "minutes visit details contact support service offer sale discount save free ship pick up ready at noon am pm monday "
    "tuesday wednesday thursday friday saturday sunday january march quote estimate project property listing showing client "
    "doctor clinic patient refill prescription ok sounds good great let know if any questions happy help sent email phone "
    "running late there soon"
)
WORDS = _VOCABULARY.split()
PROSE_BYTES, PROSE_END = 16_000_000, 4_000
"""Characters drawn for the pool, and how many at its end no body starts in."""
SCRIPTS = ((0x430, 0x450), (0x4E00, 0x5500), (0x627, 0x64B))
SCRIPT_CHARACTERS, SCRIPT_STARTS, SCRIPT_LONGEST = 400_000, 390_000, 400
HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


def account_id(number: int) -> str:
    """The provider's id of an account."""
    return "AC" + hashlib.md5(f"acct{number}".encode(), usedforsecurity=False).hexdigest()


def member_id(number: int) -> str:
    """Member ``number`` counted over all accounts, `MEMBERS` of each."""
    return f"mem_{number:06d}"


def inbox_id(number: int) -> str:
    """Shared inbox ``number`` counted over all accounts, `INBOXES` of each."""
    return f"ibx_{number:05d}"


# ------------------------------------------------------------------------------------------------ price tables


def tables() -> dict[str, pl.DataFrame]:
    """Name → table: rate_deck, carrier_fees, accounts, purchases. Amounts in millionths of a dollar."""
    return {"rate_deck": rate_deck(), "carrier_fees": carrier_fees(), "accounts": accounts(), "purchases": purchases()}


PRICE_RANGE = {"sms": (4_000, 90_000), "mms": (12_000, 180_000), "voice": (6_000, 300_000)}
CREDITS = {"sms": 1, "mms": 3, "voice": 2}
INCREMENTS = ((60, 60), (60, 6), (30, 6), (1, 1), (60, 1))
DECK_TYPES = {
    "prefix": pl.String, "direction": pl.String, "type": pl.String, "effective_from": pl.Date, "effective_to": pl.Date,
    "rate_micros": pl.Int64, "credits": pl.Int64, "init_sec": pl.Int64, "incr_sec": pl.Int64,
}  # fmt: skip


def rate_deck(rows: int = 5_000) -> pl.DataFrame:
    """Prices by prefix, direction and type in [effective_from, effective_to): a unit or a minute in millionths, credits of a
    unit or a begun minute, and the seconds of increments. Countries never lapse; longer prefixes may, or begin later."""
    rng = np.random.default_rng(TABLES_SEED)
    countries = [code for code, _, _ in COUNTRIES]
    weights = SHARES**0.5 / (SHARES**0.5).sum()
    deck: list[tuple] = []
    seen: set[tuple[str, str, str]] = set()
    for code in countries:
        for direction in DIRECTIONS:
            for kind in TYPES:
                deck += _versions(rng, code, direction, kind, country=True)
                seen.add((code, direction, kind))
    while len(deck) < rows:
        code = countries[int(rng.choice(len(countries), p=weights))]
        more = int(rng.choice([1, 2, 3, 4, 5], p=[0.1, 0.25, 0.4, 0.15, 0.1]))
        prefix = code + "".join(str(int(digit)) for digit in rng.integers(0, 10, more))
        if code == "1" and prefix[1] in "01":
            prefix = "1" + str(int(rng.integers(2, 10))) + prefix[2:]
        direction = DIRECTIONS[int(rng.random() < 0.3)]
        kind = TYPES[int(rng.choice(3, p=[0.4, 0.25, 0.35]))]
        if (prefix, direction, kind) not in seen:
            seen.add((prefix, direction, kind))
            deck += _versions(rng, prefix, direction, kind, country=prefix in countries)
    return pl.DataFrame(deck[:rows], schema=DECK_TYPES, orient="row")


def _versions(rng: np.random.Generator, prefix: str, direction: str, kind: str, *, country: bool) -> Iterator[tuple]:
    """One to three rows of one prefix, each in force until the next."""
    several = len(prefix) > 3 or rng.random() < 0.5
    count = int(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1])) if several else 1
    changes = {date(2026, 2, 15) + timedelta(days=int(x)) for x in rng.integers(0, 60, count - 1)}
    starts = [date(2025, 1, 1), *sorted(changes)]
    for at, start in enumerate(starts):
        last = at + 1 == len(starts)
        end = None if last else starts[at + 1]
        if last and not country and rng.random() < 0.15:
            end = max(start, date(2026, 3, 1)) + timedelta(days=int(rng.integers(1, 40)))
        if at == 0 and not country and rng.random() < 0.1 and last and end is None:
            start = date(2026, 3, 1) + timedelta(days=int(rng.integers(0, 40)))
        seconds = INCREMENTS[int(rng.choice(5, p=[0.5, 0.15, 0.15, 0.15, 0.05]))] if kind == "voice" else (0, 0)
        price = int(rng.integers(*PRICE_RANGE[kind]))
        price = price if direction == "outbound" else max(1, price // 3)
        credits = CREDITS[kind] * (1 if prefix[0] == "1" else int(rng.integers(1, 6)))
        yield prefix, direction, kind, start, end, price, credits, *seconds


def carrier_fees() -> pl.DataFrame:
    """What a carrier takes for each segment or MMS sent to it, dearer from a sender that is not registered."""
    rng = np.random.default_rng(TABLES_SEED + 1)
    rows = [
        (carrier, kind, registered, int(rng.integers(2000, 6000)) * CREDITS[kind] + (0 if registered else 3000))
        for carrier in CARRIERS
        for kind in ("sms", "mms")
        for registered in (True, False)
    ]
    types = {"carrier": pl.String, "type": pl.String, "registered": pl.Boolean, "fee_micros": pl.Int64}
    return pl.DataFrame(rows, schema=types, orient="row")


def accounts() -> pl.DataFrame:
    """The accounts: their markup in hundredths of a percent, and terms of credits that the night does not use."""
    rng = np.random.default_rng(TABLES_SEED + 2)
    rows = []
    for number in range(ACCOUNTS):
        allotment = int(rng.choice([0, 5_000, 20_000, 50_000, 150_000]))
        pack = int(rng.choice([1_000, 5_000, 20_000]))
        markup = int(rng.choice([0, 500, 1000, 1250, 1999, 2500]))
        anchor, opening = int(rng.integers(1, 29)), int(rng.integers(0, 50_000))
        used, recharges = int(rng.integers(0, max(1, allotment))), bool(rng.random() < 0.6)
        threshold = int(rng.choice([0, 500, 2000]))
        rows.append((account_id(number), markup, allotment, anchor, opening, used, recharges, threshold, pack))
    whole = ("markup_bps", "allotment", "anchor_day", "opening_purchased", "opening_cycle_used")
    types = {
        "account_sid": pl.String, **dict.fromkeys(whole, pl.Int64), "auto_recharge": pl.Boolean,
        "recharge_threshold": pl.Int64, "recharge_pack": pl.Int64,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=types, orient="row")


def purchases(year: int = 2026, month: int = 3, rows: int = 400) -> pl.DataFrame:
    """Credit packs bought in a month."""
    rng = np.random.default_rng(TABLES_SEED + 3)
    return pl.DataFrame(
        {
            "account_sid": [account_id(int(x)) for x in rng.integers(0, ACCOUNTS, rows)],
            "date": [date(year, month, 1) + timedelta(days=int(x)) for x in rng.integers(0, 30, rows)],
            "credits": rng.choice([1000, 5000, 10000], rows).astype(np.int64),
        }
    )


# ------------------------------------------------------------------------------------------------ texts


@cache
def _prose() -> str:
    rng = np.random.default_rng(7)
    weights = 1 / np.arange(1, len(WORDS) + 1) ** 0.7
    count = PROSE_BYTES // 5
    words = np.array(WORDS, dtype=object)[rng.choice(len(WORDS), count, p=weights / weights.sum())]
    kinds, numbers = rng.random(count), rng.integers(0, 100_000, count)
    out = []
    for word, kind, number in zip(words.tolist(), kinds.tolist(), numbers.tolist(), strict=True):
        if kind < 0.03:
            out.append(str(number))
        elif kind < 0.05:
            out.append(f"https://ex.co/{number * 7919:x}")
        elif kind < 0.055:
            out.append(word + ".\n")
        elif kind < 0.08:
            out.append(word.capitalize() + ",")
        elif kind < 0.085:
            out.append(f'"{word}"')
        else:
            out.append(word)
    return " ".join(out)


@cache
def _foreign() -> tuple[str, ...]:
    rng = np.random.default_rng(8)
    pools = []
    for first, end in SCRIPTS:
        points = rng.integers(first, end, SCRIPT_CHARACTERS)
        points[rng.random(SCRIPT_CHARACTERS) < 0.15] = ord(" ")
        pools.append("".join(map(chr, points.tolist())))
    return tuple(pools)


def _bodies(rng: np.random.Generator, n: int) -> pl.Series:
    """A slice of the prose, a fifth of them from 400 templates; in some an odd character at a random place; 3 % foreign."""
    prose = _prose()
    starts = len(prose) - PROSE_END
    length = np.clip(rng.lognormal(np.log(78), 0.62, n), 1, 1600).astype(np.int64)
    start = rng.integers(0, starts, n)
    from_template = rng.random(n) < 0.2
    template_start, template_length = rng.integers(0, starts, 400), rng.integers(60, 320, 400)
    template = rng.integers(0, 400, n)
    start = np.where(from_template, template_start[template], start)
    length = np.where(from_template, template_length[template], length)
    cut = start + (rng.random(n) * (length + 1)).astype(np.int64)
    end = start + length
    kind, pick = rng.random(n), rng.integers(0, 10**6, n)
    before = [prose[a:b] for a, b in zip(start.tolist(), cut.tolist(), strict=True)]
    after = [prose[a:b] for a, b in zip(cut.tolist(), end.tolist(), strict=True)]

    def one_of(characters: tuple[str, ...]) -> pl.Series:
        return pl.Series(characters).gather(pick % len(characters))

    parts = pl.DataFrame(
        {
            "before": before, "after": after, "kind": kind, "times": pick // 7 % 3 + 1, "emoji": one_of(EMOJI),
            "typographic": one_of(TYPOGRAPHIC), "extension": one_of(EXTENSION), "accented": one_of(ACCENTED),
        }
    )  # fmt: skip
    odd = (
        pl.when(pl.col("kind") < 0.03).then(pl.lit(""))
        .when(pl.col("kind") < 0.07).then(pl.col("emoji").repeat_by("times").list.join(" "))
        .when(pl.col("kind") < 0.12).then("typographic")
        .when(pl.col("kind") < 0.15).then(pl.col("extension").repeat_by("times").list.join(""))
        .when(pl.col("kind") < 0.21).then("accented")
        .otherwise(pl.lit(""))
    )  # fmt: skip
    body = parts.select(body=pl.concat_str(["before", odd, "after"]))["body"]
    at = np.flatnonzero(kind < 0.03)
    lengths = np.minimum(length[at], SCRIPT_LONGEST)
    begins, scripts = rng.integers(0, SCRIPT_STARTS, len(at)), rng.integers(0, len(SCRIPTS), len(at))
    foreign = [
        _foreign()[script][begin : begin + size]
        for script, begin, size in zip(scripts.tolist(), begins.tolist(), lengths.tolist(), strict=True)
    ]
    return body.scatter(at, foreign) if foreign else body


# ------------------------------------------------------------------------------------------------ columns


def _ids(prefix: str, rng: np.random.Generator, n: int) -> pl.Series:
    """Two letters and 128 random bits in hexadecimal."""
    raw = rng.integers(0, 256, size=(n, 16), dtype=np.uint8)
    letters = np.empty((n, 34), dtype=np.uint8)
    letters[:, 0], letters[:, 1] = map(ord, prefix)
    letters[:, 2::2], letters[:, 3::2] = HEX[raw >> 4], HEX[raw & 15]
    text = letters.tobytes().decode("ascii")
    return pl.Series([text[at : at + 34] for at in range(0, 34 * n, 34)], dtype=pl.String)


def _numbers(rng: np.random.Generator, country: np.ndarray) -> np.ndarray:
    """Digits of E.164 numbers; half of a country's lie in sixty areas."""
    drawn = rng.integers(0, 10**11, len(country))
    digits = DIGITS[country]
    national, first = drawn % 10**digits, 10 ** (digits - 1)
    national = np.where(national < 2 * first, national % first + (2 + drawn % 8) * first, national)
    busy = rng.random(len(country)) < 0.5
    area = (200 + (drawn % 60) * 13) % 1000
    area = np.where(area < 200, area + 200, area)
    national = np.where(busy & (digits >= 7), area * 10 ** (digits - 3) + national % 10 ** (digits - 3), national)
    return CODES[country] * 10**digits + national


@cache
def _own_numbers() -> np.ndarray:
    rng = np.random.default_rng(99)
    codes = [code for code, _, _ in COUNTRIES]
    own = np.array([codes.index(code) for code in OWN_COUNTRIES])
    return _numbers(rng, own[rng.integers(0, len(own), ACCOUNTS * NUMBERS)])


def _parties(rng: np.random.Generator, account: np.ndarray, outbound: np.ndarray) -> tuple[pl.Series, pl.Series]:
    """(from, to)"""
    n = len(account)
    unknown = rng.random(n) < 0.002
    country = np.where(unknown, len(COUNTRIES), rng.choice(len(COUNTRIES), n, p=SHARES / SHARES.sum()))
    other = _numbers(rng, country)
    own = _own_numbers()[account * NUMBERS + rng.integers(0, NUMBERS, n)]

    def number(values: np.ndarray) -> pl.Series:
        return "+" + pl.Series(values).cast(pl.String)

    return number(np.where(outbound, own, other)), number(np.where(outbound, other, own))


def _whose(rng: np.random.Generator, n: int) -> tuple[np.ndarray, dict[str, pl.Series]]:
    """(number of the account, account_sid, member_id and inbox_id): the busiest accounts and members have most."""
    weights = 1 / np.arange(1, ACCOUNTS + 1) ** 0.6
    account = rng.choice(ACCOUNTS, n, p=weights / weights.sum())
    shared = pl.Series(rng.random(n) < 0.15)
    member = np.minimum((rng.random(n) ** 1.6 * MEMBERS).astype(np.int64), MEMBERS - 1)
    inbox = rng.integers(0, INBOXES, n)

    def named(name, count: int, which: np.ndarray) -> pl.Series:
        return pl.Series([name(number) for number in range(count)]).gather(which)

    members = named(member_id, ACCOUNTS * MEMBERS, account * MEMBERS + member)
    inboxes = named(inbox_id, ACCOUNTS * INBOXES, account * INBOXES + inbox)
    nobody = pl.Series([None], dtype=pl.String)
    return account, {
        "account_sid": named(account_id, ACCOUNTS, account),
        "member_id": members.zip_with(~shared, nobody),
        "inbox_id": inboxes.zip_with(shared, nobody),
    }


def _created(rng: np.random.Generator, n: int, day: date) -> np.ndarray:
    """Milliseconds since 1970: busiest in the evening, 1 % on the three days before."""
    midnight = int(datetime.combine(day, time(), UTC).timestamp() * 1000)
    busy = rng.random(n) < 0.8
    evening, any_time = rng.normal(18.5 * 3600e3, 3.2 * 3600e3, n) % DAY_MS, rng.random(n) * DAY_MS
    of_day = np.where(busy, evening, any_time).astype(np.int64)
    late = np.where(rng.random(n) < 0.01, rng.integers(1, LATE_DAYS + 1, n), 0)
    return midnight + np.clip(of_day, 0, DAY_MS - 1) - late * DAY_MS


def _iso(ms: np.ndarray) -> pl.Series:
    return pl.Series(ms).cast(pl.Datetime("ms")).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")


def _price(rng: np.random.Generator, n: int, low: int, high: int) -> pl.Series:
    """What the provider writes: "-0.058700", null where it does not know yet."""
    micros, unknown = pl.Series(rng.integers(low, high, n) // 100 * 100), pl.Series(rng.random(n) < 0.005)
    whole, part = micros // 1_000_000, micros % 1_000_000
    text = "-" + whole.cast(pl.String) + "." + part.cast(pl.String).str.zfill(6)
    return text.zip_with(~unknown, pl.Series([None], dtype=pl.String))


def _words(words: tuple[str, ...], which: np.ndarray) -> pl.Series:
    return pl.Series(words).gather(which)


def messages(rng: np.random.Generator, n: int, day: date) -> pl.DataFrame:
    """``n`` messages and their repetitions, in the order of the file."""
    account, whose = _whose(rng, n)
    outbound, mms = rng.random(n) < 0.55, rng.random(n) < 0.06
    sender, recipient = _parties(rng, account, outbound)
    body = _bodies(rng, n)
    sent = _words(("delivered", "sent", "undelivered", "failed"), np.searchsorted([0.90, 0.95, 0.98], rng.random(n)))
    status = sent.zip_with(pl.Series(outbound), pl.Series(["received"]))
    price = _price(rng, n, 3000, 60_000)
    created = _created(rng, n, day)
    updated = created + rng.integers(200, 600_000, n)
    in_campaign = rng.random(n) < 0.3
    sid = _ids("SM", rng, n)
    carrier, registered = _words(CARRIERS, rng.choice(len(CARRIERS), n, p=CARRIER_SHARES)), rng.random(n) < 0.85
    campaign = "CP" + pl.Series(rng.integers(0, 2000, n)).cast(pl.String).str.zfill(6)
    media = np.where(mms, rng.integers(1, 4, n), 0)
    error = pl.Series(rng.integers(30001, 30010, n))
    frame = pl.DataFrame(
        {
            "sid": sid,
            **whose,
            "direction": _words(DIRECTIONS, (~outbound).astype(np.int64)),
            "type": _words(("sms", "mms"), mms.astype(np.int64)),
            "from": sender,
            "to": recipient,
            "carrier": carrier,
            "registered": registered,
            "campaign_id": campaign.zip_with(pl.Series(in_campaign & outbound), pl.Series([None], dtype=pl.String)),
            "num_media": media,
            "body": body,
            "status": status,
            "error_code": error.zip_with(status.is_in(["undelivered", "failed"]), pl.Series([None], dtype=pl.Int64)),
            "price": price,
            "price_unit": pl.repeat("USD", n, eager=True),
            "date_created": _iso(created),
            "date_updated": _iso(updated),
        }
    )
    return _with_repetitions(rng, frame, updated, "delivered")


def calls(rng: np.random.Generator, n: int, day: date) -> pl.DataFrame:
    """``n`` calls and their repetitions, in the order of the file."""
    account, whose = _whose(rng, n)
    outbound = rng.random(n) < 0.6
    sender, recipient = _parties(rng, account, outbound)
    answered = rng.random(n) < 0.68
    duration = np.where(answered, np.clip(rng.lognormal(4.4, 1.1, n), 1, 14_400).astype(np.int64), 0)
    campaign = outbound & (rng.random(n) < 0.35)
    detected = campaign & (rng.random(n) < 0.8)
    recorded = answered & (rng.random(n) < 0.3)
    created = _created(rng, n, day)
    updated = created + duration * 1000 + rng.integers(500, 60_000, n)
    price = _price(rng, n, 5000, 400_000)
    sid = _ids("CA", rng, n)
    status = _words(("completed", "no-answer", "busy", "failed"), np.where(answered, 0, rng.integers(1, 4, n)))
    frame = pl.DataFrame(
        {
            "sid": sid,
            **whose,
            "direction": _words(DIRECTIONS, (~outbound).astype(np.int64)),
            "from": sender,
            "to": recipient,
            "status": status,
            "answered": answered,
            "duration": duration,
            "campaign": campaign,
            "amd": detected,
            "recording_duration": np.where(recorded, np.maximum(duration - 3, 1), 0),
            "price": price,
            "price_unit": pl.repeat("USD", n, eager=True),
            "date_created": _iso(created),
            "date_updated": _iso(updated),
        }
    )
    return _with_repetitions(rng, frame, updated, "completed")


# ------------------------------------------------------------------------------------------------ repetitions


def _newer(rows: pl.DataFrame, updated: pl.Series, done: str) -> pl.DataFrame:
    """A later version of each row: delivered by now, and priced."""
    return rows.with_columns(
        updated.alias("date_updated"),
        status=pl.when(pl.col("status") == "sent").then(pl.lit(done)).otherwise("status"),
        price=pl.col("price").fill_null("-0.007900"),
    )


def _with_repetitions(rng: np.random.Generator, frame: pl.DataFrame, updated: np.ndarray, done: str) -> pl.DataFrame:
    n = frame.height
    later_count, same_count = int(n * 0.005), int(n * 0.001)
    again = rng.choice(n, later_count, replace=False)
    later = _newer(frame[again], _iso(updated[again] + rng.integers(1000, 7_200_000, later_count)), done)
    same = frame[rng.choice(n, same_count, replace=False)]
    # A later version comes up to 200,000 rows after the first, a copy anywhere.
    place = [np.arange(n, dtype=np.float64), again + rng.integers(1, 200_000, later_count), rng.random(same_count) * n]
    return pl.concat([frame, later, same])[np.argsort(np.concatenate(place), kind="stable")]


def _from_file_before(
    rng: np.random.Generator, before: pl.DataFrame, frame: pl.DataFrame, share: float
) -> pl.DataFrame:
    """``frame`` with a share of the file before it among its rows, six hours newer."""
    picked = before[rng.choice(before.height, max(1, int(before.height * share)), replace=False)]
    moment = pl.col("date_updated").str.head(19).str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="ms")
    updated = picked.select((moment + pl.duration(hours=6)).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ")).to_series()
    newer = _newer(picked, updated, "delivered").unique("sid", keep="first", maintain_order=True)
    return pl.concat([newer, frame])[rng.permutation(newer.height + frame.height)]


# ------------------------------------------------------------------------------------------------ files

KINDS = {"messages": (1, messages, 1), "calls": (2, calls, 10)}
"""Kind → its number in the seed, what makes it, and how many times fewer than messages there are."""


def files(work: Workload) -> Iterator[tuple[str, pl.DataFrame]]:
    """(name, rows) of every file of the day."""
    for kind, (number, make, fewer) in KINDS.items():
        left, before = work.n // fewer, None
        for file in range(-(-left // work.shard)):
            rows = min(work.shard, left)
            frame = make(np.random.default_rng([work.seed, work.day.toordinal(), number, file]), rows, work.day)
            if work.xdup and before is not None:
                again = np.random.default_rng([work.seed, work.day.toordinal(), 99, number, file])
                frame = _from_file_before(again, before, frame, work.xdup)
            yield f"{kind}-{file:03d}.jsonl.gz", frame
            left, before = left - rows, frame


def write(work: Workload, data: Path, say=lambda _line: None) -> Path:
    """The folder with the day's files, made unless it is there whole."""
    folder = work.folder(data)
    done = folder / "_done"
    if done.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in files(work):
        _write_gzip(frame, folder / name)
        say(f"{folder / name}: {frame.height:,} rows")
    done.touch()
    return folder


def write_tables(data: Path) -> Path:
    """The folder with the price tables as Parquet, made unless it is there."""
    folder = data / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in tables().items():
        frame.write_parquet(folder / f"{name}.parquet")
    return folder


def _write_gzip(frame: pl.DataFrame, path: Path, level: int = 6, rows: int = 50_000) -> None:
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    with path.open("wb") as out:
        for part in frame.iter_slices(rows):
            out.write(packer.compress(part.write_ndjson().encode()))
        out.write(packer.flush())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("day", "tables"))
    parser.add_argument("data", type=Path, help="cache folder, outside the repository")
    parser.add_argument("--n", type=int, default=Workload().n, help="messages; calls are a tenth")
    add_arguments(parser)
    asked = parser.parse_args()
    if asked.what == "tables":
        print(write_tables(asked.data))
    else:
        print(write(Workload(asked.n, asked.seed, asked.day, asked.shard, asked.xdup), asked.data, print))


if __name__ == "__main__":
    main()
