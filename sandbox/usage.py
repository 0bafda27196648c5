"""Totals of a day without walking its rows, and the provider's own ledger (usage records) made of them.

A message's price is base + carrier fee. In the ledger `sms` and `mms` hold the base, `sms-messages-carrierfees` and
`mms-messages-carrierfees` the fees, so both together are what the rows say. Amounts are integer micro-USD.
"""

import threading
from collections import defaultdict
from dataclasses import dataclass, fields
from datetime import date, timedelta
from functools import lru_cache

from sandbox import decks, prices, video
from sandbox.company import FIRST_DAY, Account
from sandbox.decks import DECK_SIZE, CallCard
from sandbox.records import recording_price
from sandbox.traffic import CALL, MESSAGE, SECONDS_PER_DAY, Clock, DayPlan, World, midnight


@dataclass(slots=True)
class Sum:
    """Sums over records. `dial_*` counts from the dial moment (ring time included), `talk_*` from the answer."""

    records: int = 0
    billable: int = 0
    """Messages that are charged whatever their price says yet; answered calls; completed recordings; video participants
    who stayed at all."""
    failed: int = 0
    priced: int = 0
    segments: int = 0
    """Segments of billable messages."""
    talk_seconds: int = 0
    dial_seconds: int = 0
    talk_minutes: int = 0
    """Started minutes, per record."""
    dial_minutes: int = 0
    detections: int = 0
    """Answered calls with machine detection."""
    base: int = 0
    """micro-USD without carrier fees."""
    fee: int = 0
    """Carrier fees, micro-USD."""

    def add(self, other: "Sum", times: int = 1) -> None:
        for name in _NAMES:
            setattr(self, name, getattr(self, name) + times * getattr(other, name))

    def values(self) -> tuple[int, ...]:
        return tuple(getattr(self, name) for name in _NAMES)


_NAMES = tuple(f.name for f in fields(Sum))

Key = tuple[str, str, str]
"""(kind, direction, number class): kind is sms, mms, call, campaign_call, recording or video."""
Sums = dict[Key, Sum]


def _number_class(pick: str) -> str:
    return "tollfree" if pick == "tollfree" else "local"


def _message_key(card) -> Key:
    return card.kind, "inbound" if card.inbound else "outbound", _number_class(card.pick)


def _message_sum(card) -> Sum:
    billable = int(card.billable)
    return Sum(
        records=1,
        billable=billable,
        failed=1 - billable,
        priced=billable,
        segments=card.segments * billable,
        base=card.base,
        fee=card.fee,
    )


def _call_sums(card: CallCard, finished: tuple[bool, ...], priced: tuple[bool, ...]) -> list[tuple[Key, Sum]]:
    """Sums of the legs of one call event and its recording, given which legs are over and which have a price."""
    kind = "campaign_call" if card.campaign else "call"
    found = []
    for leg, over, has_price in zip(card.legs, finished, priced, strict=True):
        one = Sum(records=1)
        if over and leg.status == "completed":
            one.billable = 1
            one.talk_seconds, one.dial_seconds = leg.talk, leg.ring + leg.talk
            one.talk_minutes, one.dial_minutes = prices.minutes(leg.talk), prices.minutes(leg.ring + leg.talk)
            one.detections = int(leg.answered_by is not None)
            if has_price:
                one.priced, one.base = 1, leg.base
        found.append(((kind, "inbound" if leg.direction == "inbound" else "outbound", _number_class(card.pick)), one))
    if card.recorded and finished[0]:
        one = Sum(records=1)
        if card.recorded == "completed":
            seconds = card.legs[0].talk
            one.billable = one.priced = 1
            one.talk_seconds, one.talk_minutes, one.base = seconds, prices.minutes(seconds), recording_price(seconds)
        found.append((("recording", "none", "local"), one))
    return found


def session_sum(session: video.Session) -> Sum:
    """Sum of one participant who has left a room. The record has no price; the ledger has one per started minute."""
    minutes = prices.minutes(session.seconds)
    return Sum(
        records=1,
        billable=int(session.seconds > 0),
        talk_seconds=session.seconds,
        dial_seconds=session.seconds,
        talk_minutes=minutes,
        dial_minutes=minutes,
        base=minutes * prices.VIDEO_PER_PARTICIPANT_MINUTE,
    )


def _all_call_sums(card: CallCard) -> list[tuple[Key, Sum]]:
    done = (True,) * len(card.legs)
    return _call_sums(card, done, done)


class Ledger:
    """Exact totals of any (account, UTC day) of a world, and usage records made of them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._deck_totals = lru_cache(maxsize=256)(self._sum_deck)
        self._card_sums = lru_cache(maxsize=64)(self._sums_of_cards)
        self._settled_day = lru_cache(maxsize=8192)(self._sum_settled_day)
        self._deletions = lru_cache(maxsize=8192)(self._find_deletions)
        self._stored: dict[int, list[tuple[int, int]]] = {}
        self._decks: dict[tuple, tuple] = {}
        self._lock = threading.Lock()

    # --- sums over a prefix of a day's rows ---

    def _sums_of_cards(self, deck_key: tuple) -> list[tuple[int, list[tuple[Key, tuple[int, ...]]]]]:
        """(delay class, [(key, values of a Sum), ...]) of each card of a deck."""
        found = []
        for card in self._decks[deck_key]:
            sums = _all_call_sums(card) if deck_key[0] == "calls" else [(_message_key(card), _message_sum(card))]
            found.append((getattr(card, "delay", 0), [(key, one.values()) for key, one in sums]))
        return found

    def _sum_deck(self, deck_key: tuple, delay: int | None) -> Sums:
        return self._sum_cards(self._card_sums(deck_key), range(DECK_SIZE), delay)

    @staticmethod
    def _sum_cards(cards: list, chosen, delay: int | None) -> Sums:
        groups: dict[Key, list[tuple[int, ...]]] = {}
        for place in chosen:
            of_card, entries = cards[place]
            if delay is None or of_card == delay:
                for key, values in entries:
                    groups.setdefault(key, []).append(values)
        return {key: Sum(*map(sum, zip(*rows, strict=True))) for key, rows in groups.items()}

    def _prefix(self, plan: DayPlan, rows: int, delay: int | None = None) -> Sums:
        """Sums over the first `rows` rows of a day, of one delay class or all."""
        self._decks.setdefault(plan.deck_key, plan.deck)
        sums: Sums = defaultdict(Sum)
        rounds, rest = divmod(rows, DECK_SIZE)
        if rounds:
            for key, one in self._deck_totals(plan.deck_key, delay).items():
                sums[key].add(one, rounds)
        if rest:
            a, b = plan.rounds(rounds)
            chosen = [(a * k + b) % DECK_SIZE for k in range(rest)]
            for key, one in self._sum_cards(self._card_sums(plan.deck_key), chosen, delay).items():
                sums[key].add(one)
        return sums

    # --- a day ---

    def day(self, account: Account, day: date, clock: Clock) -> Sums:
        """Sums by (kind, direction, number class) of the records that exist at the clock's moment."""
        if not account.index or day < FIRST_DAY or midnight(day) > clock.now:
            return {}
        if clock.now >= midnight(day) + SECONDS_PER_DAY + decks.PRICE_DELAYS[-1]:
            return self._settled_day(account, day)
        sums: Sums = defaultdict(Sum)
        plan = self.world.plan(MESSAGE, account, day)
        for key, one in self._prefix(plan, plan.upto(clock.now - plan.start)).items():
            one.priced = one.base = one.fee = 0
            sums[key].add(one)
        for delay, seconds in enumerate(decks.PRICE_DELAYS):
            for key, one in self._prefix(plan, plan.upto(clock.now - plan.start - seconds), delay).items():
                sums[key].add(Sum(priced=one.priced, base=one.base, fee=one.fee))
        self._add_open_calls(sums, account, day, clock)
        return {**sums, **self._video(account, day, clock)}

    def _sum_settled_day(self, account: Account, day: date) -> Sums:
        messages = self.world.plan(MESSAGE, account, day)
        calls = self.world.plan(CALL, account, day)
        return {
            **self._prefix(messages, messages.count),
            **self._prefix(calls, calls.count),
            **self._video(account, day, None),
        }

    def _video(self, account: Account, day: date, clock: Clock | None) -> Sums:
        """Sums of the participants who joined on a day and have left; without a clock, of all."""
        sums: Sums = defaultdict(Sum)
        for _, session in video.sessions_on(self.world, account, day):
            if clock is None or session.end <= clock.now:
                sums["video", session.direction, "none"].add(session_sum(session))
        return dict(sums)

    def credits(self, account: Account, day: date, rows: int) -> int:
        """Segments, an MMS counting one, of the charged ones among the first `rows` messages of a day."""
        return sum(one.segments for one in self._prefix(self.world.plan(MESSAGE, account, day), rows).values())

    def _add_open_calls(self, sums: Sums, account: Account, day: date, clock: Clock) -> None:
        plan = self.world.plan(CALL, account, day)
        settled = plan.upto(clock.now - plan.start - 7_200)
        for key, one in self._prefix(plan, settled).items():
            sums[key].add(one)
        for index in range(settled, plan.upto(clock.now - plan.start)):
            legs = plan.card(index).legs
            for place, (key, one) in enumerate(self.leg_sums(plan, index, clock)):
                if place >= len(legs) or self.world.leg_start(plan, index, legs[place]) <= clock.now:
                    sums[key].add(one)

    def leg_sums(self, plan: DayPlan, index: int, clock: Clock) -> list[tuple[Key, Sum]]:
        """Sums of each leg of a call event, then of its recording if there is one, as of the clock's moment."""
        card = plan.card(index)
        ends = [self.world.leg_start(plan, index, leg) + leg.ring + leg.talk for leg in card.legs]
        over = tuple(end <= clock.now for end in ends)
        priced = tuple(end + decks.CALL_PRICE_DELAY <= clock.now for end in ends)
        return _call_sums(card, over, priced)

    @staticmethod
    def message_sums(card, settled: bool) -> list[tuple[Key, Sum]]:
        """Sums of one message, without its price while that is not settled."""
        one = _message_sum(card)
        if not settled:
            one.priced = one.base = one.fee = 0
        return [(_message_key(card), one)]

    def stored(self, account: Account, day: date, clock: Clock) -> tuple[int, int]:
        """(recordings, started minutes) in storage at the end of a UTC day, or now."""
        if not account.index or day < FIRST_DAY:
            return 0, 0
        settled_until = (clock.now - SECONDS_PER_DAY - decks.PRICE_DELAYS[-1]) // SECONDS_PER_DAY
        wanted = (day - FIRST_DAY).days + 1
        safe = min(wanted, settled_until - midnight(FIRST_DAY) // SECONDS_PER_DAY + 1)
        with self._lock:
            past = self._stored.setdefault(account.index, [(0, 0)])
            while len(past) <= safe:
                one = self._settled_day(account, FIRST_DAY + timedelta(len(past) - 1)).get(_RECORDING, Sum())
                gone, gone_minutes = self.deleted_on(account, FIRST_DAY + timedelta(len(past) - 1), clock)
                past.append((past[-1][0] + one.billable - gone, past[-1][1] + one.talk_minutes - gone_minutes))
        start = max(0, min(safe, wanted))
        count, stored_minutes = past[start]
        for place in range(start, wanted):
            one = self.day(account, FIRST_DAY + timedelta(place), clock).get(_RECORDING, Sum())
            gone, gone_minutes = self.deleted_on(account, FIRST_DAY + timedelta(place), clock)
            count, stored_minutes = count + one.billable - gone, stored_minutes + one.talk_minutes - gone_minutes
        return count, stored_minutes

    def deleted_on(self, account: Account, day: date, clock: Clock) -> tuple[int, int]:
        """(recordings, started minutes) deleted on a UTC day by now."""
        count, deleted_minutes = 0, 0
        for after in decks.DELETED_AFTER_DAYS:
            made = day - timedelta(after)
            for kept, rows, minutes in self._deletions(account, made) if made >= FIRST_DAY else ():
                if kept // SECONDS_PER_DAY == after and midnight(made) + kept <= clock.now:
                    count, deleted_minutes = count + rows, deleted_minutes + rows * minutes
        return count, deleted_minutes

    def _find_deletions(self, account: Account, made: date) -> list[tuple[int, int, int]]:
        """(seconds kept, recordings, started minutes of each) of a day's recordings that are deleted some time."""
        plan = self.world.plan(CALL, account, made)
        rounds, rest = divmod(plan.count, DECK_SIZE)
        a, b = plan.rounds(rounds)
        back = pow(a, -1, DECK_SIZE)
        return [
            (card.kept, rounds + ((place - b) * back % DECK_SIZE < rest), prices.minutes(card.legs[0].talk))
            for place, card in enumerate(plan.deck)
            if card.kept is not None
        ]

    def numbers_charged(self, account: Account, day: date) -> dict[str, int]:
        """How many numbers of each class have their monthly charge on a UTC day (the day of the month they began)."""
        found: dict[str, int] = {}
        for number in account.numbers:
            if number.active(day) and day.day == min(number.bought.day, _days_in_month(day)):
                found[number.number_class] = found.get(number.number_class, 0) + 1
        return found

    # --- the provider's ledger ---

    def usage(self, account: Account, day: date, clock: Clock) -> dict[str, tuple[int, int, int]]:
        """(count, usage, price in micro-USD) by category, of one account and UTC day, without its sub-accounts."""
        sums = self.day(account, day, clock)
        found = {category: (0, 0, 0) for category in CATEGORIES}

        def total(kinds: tuple[str, ...], direction: str = "", number_class: str = "") -> Sum:
            whole = Sum()
            for (kind, way, which), one in sums.items():
                if kind in kinds and way.startswith(direction) and which.startswith(number_class):
                    whole.add(one)
            return whole

        def message_row(category: str, kind: str, direction: str = "", number_class: str = "") -> None:
            one = total((kind,), direction, number_class)
            # segments of rows still without a price are not in the ledger
            usage = one.priced if kind == "mms" else one.base // prices.SMS_PER_SEGMENT
            found[category] = one.priced, usage, one.base

        def call_row(category: str, direction: str = "", number_class: str = "") -> None:
            one = total(("call", "campaign_call"), direction, number_class)
            found[category] = (
                one.priced,
                self._priced_minutes(one, account, day, clock, direction, number_class),
                one.base,
            )

        for kind in ("sms", "mms"):
            message_row(kind, kind)
            for direction in ("inbound", "outbound"):
                message_row(f"{kind}-{direction}", kind, direction)
            fees = total((kind,), "outbound")
            usage = fees.priced if kind == "mms" else fees.base // prices.SMS_PER_SEGMENT
            found[f"{kind}-messages-carrierfees"] = fees.priced, usage, fees.fee
        for direction in ("inbound", "outbound"):
            for name, which in (("longcode", "local"), ("tollfree", "tollfree")):
                message_row(f"sms-{direction}-{name}", "sms", direction, which)
        failed = total(("sms", "mms")).failed
        found["failed-message-processing-fee"] = failed, failed, failed * prices.FAILED_MESSAGE_FEE
        call_row("calls")
        call_row("calls-inbound", "inbound")
        call_row("calls-inbound-local", "inbound", "local")
        call_row("calls-inbound-tollfree", "inbound", "tollfree")
        call_row("calls-outbound", "outbound")
        detections = total(("campaign_call",)).detections
        found["answering-machine-detection"] = (
            *(detections, detections),
            detections * prices.MACHINE_DETECTION_PER_CALL,
        )
        made = total(("recording",))
        found["recordings"] = made.billable, made.talk_minutes, made.base
        count, stored_minutes = self.stored(account, day, clock) if midnight(day) <= clock.now else (0, 0)
        found["recordingstorage"] = count, stored_minutes, stored_minutes * prices.RECORDING_STORAGE_PER_MINUTE_DAY
        joined = total(("video",))
        found["group-rooms-participant-minutes"] = joined.records, joined.talk_minutes, joined.base
        charged = self.numbers_charged(account, day)
        found["phonenumbers"] = (
            *(sum(charged.values()), sum(charged.values())),
            sum(prices.NUMBER_PER_MONTH[which] * n for which, n in charged.items()),
        )
        for which in ("local", "tollfree"):
            n = charged.get(which, 0)
            found[f"phonenumbers-{which}"] = n, n, n * prices.NUMBER_PER_MONTH[which]
        everything = sum(found[category][2] for category in LEAVES)
        found["totalprice"] = 0, everything, everything
        return found

    def _priced_minutes(
        self, one: Sum, account: Account, day: date, clock: Clock, direction: str, number_class: str
    ) -> int:
        """Minutes of the legs that have a price; differs from all answered minutes only within minutes of the call."""
        if one.priced == one.billable:
            return one.talk_minutes
        plan = self.world.plan(CALL, account, day)
        whole = one.talk_minutes
        for index in range(plan.upto(clock.now - plan.start - 7_200), plan.upto(clock.now - plan.start)):
            card = plan.card(index)
            for leg in card.legs:
                end = self.world.leg_start(plan, index, leg) + leg.ring + leg.talk
                unpriced = leg.base is not None and end <= clock.now < end + decks.CALL_PRICE_DELAY
                way = "inbound" if leg.direction == "inbound" else "outbound"
                if unpriced and way.startswith(direction) and _number_class(card.pick).startswith(number_class):
                    whole -= prices.minutes(leg.talk)
        return whole


_RECORDING = ("recording", "none", "local")

CATEGORIES = {
    # category: (description, count unit, usage unit)
    "sms": ("SMS", "messages", "segments"),
    "sms-inbound": ("Inbound SMS", "messages", "segments"),
    "sms-inbound-longcode": ("Inbound Long Code SMS", "messages", "segments"),
    "sms-inbound-tollfree": ("Inbound Toll-free SMS", "messages", "segments"),
    "sms-outbound": ("Outbound SMS", "messages", "segments"),
    "sms-outbound-longcode": ("Outbound Long Code SMS", "messages", "segments"),
    "sms-outbound-tollfree": ("Outbound Toll-free SMS", "messages", "segments"),
    "sms-messages-carrierfees": ("SMS Carrier Fees", "messages", "segments"),
    "mms": ("MMS", "messages", "messages"),
    "mms-inbound": ("Inbound MMS", "messages", "messages"),
    "mms-outbound": ("Outbound MMS", "messages", "messages"),
    "mms-messages-carrierfees": ("MMS Carrier Fees", "messages", "messages"),
    "failed-message-processing-fee": ("Failed Message Processing Fee", "messages", "messages"),
    "calls": ("Voice Minutes", "calls", "minutes"),
    "calls-inbound": ("Inbound Voice Minutes", "calls", "minutes"),
    "calls-inbound-local": ("Inbound Local Calls", "calls", "minutes"),
    "calls-inbound-tollfree": ("Inbound Toll-free Calls", "calls", "minutes"),
    "calls-outbound": ("Outbound Voice Minutes", "calls", "minutes"),
    "answering-machine-detection": ("Answering Machine Detection", "calls", "calls"),
    "recordings": ("Recordings", "recordings", "minutes"),
    "recordingstorage": ("Recording Storage", "recordings", "minutes"),
    "group-rooms-participant-minutes": ("Group Rooms Participant Minutes", "participants", "minutes"),
    "phonenumbers": ("Phone Numbers", "numbers", "numbers"),
    "phonenumbers-local": ("Local Phone Numbers", "numbers", "numbers"),
    "phonenumbers-tollfree": ("Toll-free Phone Numbers", "numbers", "numbers"),
    "totalprice": ("Total Price", "", "usd"),
}

LEAVES = (
    *("sms", "sms-messages-carrierfees", "mms", "mms-messages-carrierfees", "failed-message-processing-fee"),
    *("calls", "answering-machine-detection", "recordings", "recordingstorage", "group-rooms-participant-minutes"),
    "phonenumbers",
)
"""Disjoint categories whose prices add up to totalprice."""


def _days_in_month(day: date) -> int:
    following = date(day.year + day.month // 12, day.month % 12 + 1, 1)
    return (following - timedelta(1)).day
