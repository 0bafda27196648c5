"""Decks of cards. A card holds everything about a record that has a price; a day deals its rows from a shuffled deck.

Row `i` of a day takes card `(a*k + b) mod D` in round `i div D` (`k = i mod D`, D prime), so any row is known without
the rows before it, and the exact totals of a day are `rounds x deck total + the started round`: no day is too large.
"""

import random
from dataclasses import dataclass, replace
from functools import cache

from sandbox import prices, words
from sandbox.company import Account, Campaign
from sandbox.segments import count_segments

DECK_SIZE = 2003
"""A prime, so that every stride deals every card once."""

PRICE_DELAYS = (0, 300, 14_400, 93_600)
"""Seconds from sending until status and price are final, by delay class; the last class is 26 hours."""

CALL_PRICE_DELAY = 900
"""Seconds from the end of a call until it has a price."""

DELETED_AFTER_DAYS = range(3, 21)
"""Days from the UTC day of a call to the one on which its recording is deleted, in business hours, if it is: a nightly
read of the day before always sees it stored first; the later ones lie behind a look-back of a week."""

CODE_WIDTH = 4

MAX_OFFSET = 30
"""Upper bound of `Leg.offset`, seconds."""

ERRORS = {
    30003: "Unreachable destination handset",
    30005: "Unknown destination handset",
    30006: "Landline or unreachable carrier",
    30007: "Message filtered",
    30034: "US A2P 10DLC - Message from an Unregistered Number",
}


@dataclass(frozen=True, slots=True)
class MessageCard:
    kind: str
    """sms | mms"""
    direction: str
    status: str
    """The final status."""
    error_code: int | None
    body: tuple[str, ...]
    """One piece, or two around the four digits."""
    segments: int
    media: int
    base: int
    """micro-USD without carrier fee; 0 when the record is not charged."""
    fee: int
    """Carrier fee in micro-USD."""
    delay: int
    """Delay class, an index into PRICE_DELAYS."""
    pick: str
    """Pool of the account's own numbers."""
    tens: int
    """Tens digit of the contact's last two digits (fixes the carrier)."""
    with_service: bool

    @property
    def inbound(self) -> bool:
        return self.direction == "inbound"

    @property
    def billable(self) -> bool:
        return self.status != "failed"


@dataclass(frozen=True, slots=True)
class Leg:
    """One call record. Times are seconds; `base` is micro-USD, None when nothing is charged."""

    offset: int
    """Seconds from the first leg's dial moment to this leg's."""
    direction: str
    status: str
    queue: int
    """Seconds from creation to dialling."""
    ring: int
    """Seconds from dialling to answer, or to giving up."""
    talk: int
    """Answered seconds."""
    base: int | None
    answered_by: str | None = None


@dataclass(frozen=True, slots=True)
class CallCard:
    legs: tuple[Leg, ...]
    """The parent leg, then the dialled leg if there is one."""
    pick: str
    campaign: bool
    recorded: str | None
    """Status of the recording made of it: completed, absent, or None."""
    kept: int | None = None
    """Seconds from midnight of the call's day until its recording is deleted; None while it is kept for good."""


def _message_card(account: Account, pick: random.Random, broadcast: bool) -> MessageCard:
    roll = pick.random()
    inbound_share = 0.12 if broadcast else 0.38
    if roll < inbound_share:
        direction = "inbound"
    elif roll < inbound_share + 0.04:
        direction = "outbound-reply"
    else:
        direction = "outbound-api"
    media = 0
    if direction != "outbound-reply" and pick.random() < 0.05:
        media = pick.choice((1, 1, 1, 2))
    kind = "mms" if media else "sms"
    if direction == "inbound":
        text = words.inbound(pick)
    elif direction == "outbound-reply":
        text = words.reply(pick)
    elif broadcast and pick.random() < 0.9:
        text = words.broadcast(account.account_id, pick)
    else:
        text = words.outbound(account.account_id, pick)
    if media and pick.random() < 0.4:
        text = ""
    segments = 1 if media else count_segments(text.replace(words.CODE, "0" * CODE_WIDTH))
    if account.account_id == "acct_clinic" and not media and pick.random() < 0.02:
        text = ""  # redacted: the text is gone, the count of segments stays
    pool = pick.choices(("registered", "unregistered", "tollfree"), (78, 6, 16))[0]
    tens = pick.randrange(10)
    carrier = prices.CARRIER_OF_TENS[tens]
    status, error_code, delay = "received", None, 0
    if direction != "inbound":
        roll = pick.random()
        delay = pick.choices((1, 2, 3), (925, 65, 10))[0]
        if roll < 0.90:
            status = "delivered"
        elif roll < 0.955:
            status = "sent"
        elif roll < 0.96:
            status = "read"
        elif roll < 0.985:
            status, error_code = "undelivered", pick.choice((30003, 30005, 30006, 30007))
        else:
            status, error_code, delay = "failed", 30034 if pool == "unregistered" else pick.choice((30005, 30007)), 0
    if status == "failed":
        base = fee = 0
    elif kind == "mms":
        base = prices.MMS_INBOUND if direction == "inbound" else prices.MMS_OUTBOUND
        fee = 0 if direction == "inbound" else prices.MMS_FEE[pool][carrier]
    else:
        base = prices.SMS_PER_SEGMENT * segments
        fee = 0 if direction == "inbound" else prices.SMS_FEE_PER_SEGMENT[pool][carrier] * segments
    return MessageCard(
        *(kind, direction, status, error_code, tuple(text.split(words.CODE, 1)), segments, media, base, fee, delay),
        *(pool, tens, direction == "outbound-api" and pick.random() < 0.5),
    )


def _talk(pick: random.Random) -> int:
    """Answered seconds: mostly minutes, now and then an hour; round values (60, 61, 120) are met on purpose."""
    if pick.random() < 0.04:
        return pick.choice((1, 59, 60, 61, 119, 120, 121))
    return min(5_400, 4 + int(pick.lognormvariate(4.4, 1.0)))


def _outbound_price(talk: int) -> int:
    return prices.minutes(talk) * prices.CALL_OUTBOUND_PER_MINUTE


def _missed(direction: str, pick: random.Random, offset: int = 0) -> Leg:
    status = pick.choices(("no-answer", "busy", "failed"), (60, 28, 12))[0]
    ring = {"no-answer": pick.randrange(25, 61), "busy": pick.randrange(1, 6), "failed": 0}[status]
    return Leg(offset, direction, status, pick.randrange(3), ring, 0, None)


def _campaign_card(campaigns: tuple[Campaign, ...], pick: random.Random) -> CallCard:
    campaign = pick.choice(campaigns)
    pool = "campaign:" + campaign.campaign_id
    if pick.random() < 0.32:
        return CallCard((_missed("outbound-api", pick),), pool, True, None)
    answered_by = None
    talk = _talk(pick)
    if campaign.voice_detection:
        answered_by = pick.choices(
            ("human", "machine_start", "machine_end_beep", "machine_end_silence", "unknown", "fax"),
            (56, 20, 14, 4, 5, 1),
        )[0]
        if answered_by != "human":
            talk = pick.randrange(3, 41)
    leg = Leg(
        *(0, "outbound-api", "completed", pick.randrange(4), pick.randrange(4, 28), talk, _outbound_price(talk)),
        answered_by,
    )
    return CallCard((leg,), pool, True, None)


def _call_card(pick: random.Random) -> CallCard:
    pool = pick.choices(("registered", "unregistered", "tollfree"), (72, 6, 22))[0]
    rate = prices.CALL_INBOUND_PER_MINUTE["tollfree" if pool == "tollfree" else "local"]
    recorded = pick.choices((None, "completed", "absent"), (74, 25, 1))[0]
    roll = pick.random()
    if roll < 0.22:
        if pick.random() < 0.12:
            missed = Leg(0, "inbound", "no-answer", 0, pick.randrange(12, 40), 0, None)
            return CallCard((missed,), pool, False, None)
        talk = _talk(pick)
        leg = Leg(0, "inbound", "completed", 0, pick.randrange(1, 9), talk, prices.minutes(talk) * rate)
        return CallCard((leg,), pool, False, recorded)
    if roll < 0.52:
        if pick.random() < 0.75:
            talk = _talk(pick)
            child = Leg(2, "outbound-dial", "completed", 0, pick.randrange(3, 25), talk, _outbound_price(talk))
            whole = 1 + child.ring + talk
        else:
            child = _missed("outbound-dial", pick, offset=2)
            whole = 1 + child.ring + pick.randrange(5, 50)
        parent = Leg(0, "inbound", "completed", 0, 1, whole, prices.minutes(whole) * rate)
        return CallCard((parent, child), pool, False, recorded)
    if pick.random() < 0.24:
        return CallCard((_missed("outbound-api", pick),), pool, False, None)
    talk = _talk(pick)
    parent = Leg(0, "outbound-api", "completed", pick.randrange(3), pick.randrange(3, 26), talk, _outbound_price(talk))
    if roll < 0.66 and talk > 20:
        gap = pick.randrange(6, 16)
        inner = talk - gap
        child = Leg(parent.ring + 1, "outbound-dial", "completed", 0, gap - 1, inner, _outbound_price(inner))
        return CallCard((parent, child), pool, False, recorded)
    return CallCard((parent,), pool, False, recorded)


@cache
def message_deck(seed: str, account: Account, broadcast: bool) -> tuple[MessageCard, ...]:
    pick = random.Random(f"{seed}/messages/{account.account_id}/{broadcast}")  # noqa: S311
    return tuple(_message_card(account, pick, broadcast) for _ in range(DECK_SIZE))


@cache
def call_deck(seed: str, account: Account, campaigns: tuple[str, ...]) -> tuple[CallCard, ...]:
    """The deck of a day on which these campaigns dial; with campaigns, 45 % of the calls are theirs."""
    dialling = tuple(c for c in account.campaigns if c.campaign_id in campaigns)
    pick = random.Random(f"{seed}/calls/{account.account_id}/{','.join(campaigns)}")  # noqa: S311
    cards = [
        _campaign_card(dialling, pick) if dialling and pick.random() < 0.45 else _call_card(pick)
        for _ in range(DECK_SIZE)
    ]
    pick = random.Random(f"{seed}/deletions/{account.account_id}/{','.join(campaigns)}")  # noqa: S311
    stored = [place for place, card in enumerate(cards) if card.recorded == "completed"]
    for place in pick.sample(stored, len(stored) // 25):
        kept = pick.choice(DELETED_AFTER_DAYS) * 86_400 + pick.randrange(14 * 3600, 23 * 3600)
        cards[place] = replace(cards[place], kept=kept)
    return tuple(cards)
