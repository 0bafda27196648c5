"""The generator: which records exist on a (account, UTC day), as a pure function of (seed, account, day).

Nothing is stored. Row `i` of a day is known without the rows before it: its time from a curve of the day, its priced
part from a card of the day's deck (see `decks`), everything else from a keyed hash of its position. A SID carries the
position, masked, so a page token or a single-resource request leads straight back to the row.
"""

import bisect
import heapq
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from sandbox import decks
from sandbox.company import ACCOUNTS, CONTACT_AREAS, FIRST_DAY, Account, Number
from sandbox.decks import DECK_SIZE, CallCard, Leg, MessageCard

MESSAGE, UNDATED, CALL, DIALLED, RECORDING, ROOM, PARTICIPANT = range(7)
"""Streams of records. UNDATED messages have no date_sent; DIALLED is the second leg of a call."""

SECONDS_PER_DAY = 86_400
EPOCH = date(1970, 1, 1).toordinal()
_MASK = (1 << 64) - 1
_STRIDE = 0x9E3779B97F4A7C15

BASE_DAY = date(2026, 3, 1), date(2026, 10, 31)
"""The eight months over which `messages_per_day` and `calls_per_day` are the average."""

# Weight of each UTC hour: business hours in North America.
CURVES = {
    "message": (30, 14, 8, 5, 4, 3, 3, 4, 6, 9, 14, 26, 52, 88, 104, 108, 100, 104, 108, 106, 98, 84, 64, 46),
    "broadcast": (20, 10, 6, 4, 3, 3, 3, 4, 6, 9, 14, 22, 40, 60, 70, 640, 260, 90, 80, 70, 60, 50, 40, 30),
    "call": (34, 12, 4, 3, 2, 2, 2, 2, 3, 5, 9, 18, 44, 92, 112, 110, 96, 108, 116, 112, 96, 76, 56, 44),
}


class Position(NamedTuple):
    stream: int
    account: int
    day: int
    """Proleptic ordinal of the UTC day."""
    index: int


class Clock(NamedTuple):
    """The provider's present moment, seconds since 1970 UTC."""

    now: int

    @property
    def day(self) -> date:
        return datetime.fromtimestamp(self.now, UTC).date()


def midnight(day: date) -> int:
    """Seconds since 1970 of the first second of a UTC day."""
    return (day.toordinal() - EPOCH) * SECONDS_PER_DAY


def clock_at(today: date, at: time = time(12, 0)) -> Clock:
    return Clock(midnight(today) + at.hour * 3600 + at.minute * 60 + at.second)


@dataclass(slots=True)
class DayPlan:
    """One account's messages, or calls, of one UTC day."""

    world: "World"
    account: Account
    day: date
    stream: int
    count: int
    """Rows (messages) or call events; an event has one or two legs."""
    deck: tuple
    deck_key: tuple
    curve: tuple[int, ...]
    """Cumulative hour weights, 25 values."""
    edges: bool
    """True if the first row falls on 00:00:00 and the last on 23:59:59."""
    pools: dict[str, tuple[Number, ...]]
    start: int
    """Midnight, seconds since 1970."""

    def rounds(self, number: int) -> tuple[int, int]:
        return self.world.shuffle(self.stream, self.account.index, self.day.toordinal(), number)

    def card(self, index: int):
        number, k = divmod(index, DECK_SIZE)
        a, b = self.rounds(number)
        return self.deck[(a * k + b) % DECK_SIZE]

    def second(self, index: int, bits: int | None = None) -> int:
        """Seconds after midnight of row `index`; never decreases with the index. `bits`: its second drawn number."""
        if self.edges:
            if index == 0:
                return 0
            if index == self.count - 1:
                return SECONDS_PER_DAY - 1
        total = self.curve[-1]
        if bits is None:
            bits = self.world.draw(self.stream, self.account.index, self.day.toordinal(), index)[1]
        scaled = ((index << 16) + (bits & 0xFFFF)) * total
        unit = self.count << 16
        hour = bisect.bisect_right(self.curve, scaled // unit) - 1
        weight = self.curve[hour + 1] - self.curve[hour]
        return hour * 3600 + (scaled - self.curve[hour] * unit) * 3600 // (weight * unit)

    def upto(self, second: int) -> int:
        """Number of rows at or before this second of the day (seconds may lie outside the day)."""
        if second < 0:
            return 0
        if second >= SECONDS_PER_DAY - 1:
            return self.count
        return bisect.bisect_right(range(self.count), second, key=self.second)

    def own_number(self, card: MessageCard | CallCard, index: int) -> Number:
        pool = self.pools[card.pick]
        return pool[(self.world.draw(self.stream, self.account.index, self.day.toordinal(), index)[2] >> 8) % len(pool)]


class World:
    """Everything the sandbox knows. Volumes are averages per day over all accounts, March to October 2026."""

    def __init__(self, seed: int | str = 1, messages_per_day: int = 900, calls_per_day: int = 160) -> None:
        if not 0 <= messages_per_day <= 10_000_000 or not 0 <= calls_per_day <= 10_000_000:
            raise ValueError("messages_per_day and calls_per_day must lie between 0 and 10,000,000")
        self.seed = str(seed)
        self.volume = {MESSAGE: messages_per_day, CALL: calls_per_day}
        self._key = blake2b(self.seed.encode(), digest_size=32).digest()
        self._pack = struct.Struct(">Q").pack
        self._unpack = struct.Struct(">4Q").unpack
        self.plan = lru_cache(maxsize=2048)(self._plan)
        self.shuffle = lru_cache(maxsize=4096)(self._shuffle)
        self._mean = lru_cache(maxsize=None)(self._mean_permille)

    # --- hashing and identifiers ---

    def draw(self, stream: int, account: int, day: int, index: int) -> tuple[int, int, int, int]:
        """Four independent 64-bit numbers for a position."""
        packed = (stream << 60) | (account << 56) | ((day - EPOCH & 0xFFFF) << 40) | index
        return self._unpack(blake2b(self._pack(packed), digest_size=32, key=self._key).digest())

    def sid(self, prefix: str, stream: int, account: int, day: int, index: int) -> str:
        return self.sid_of(prefix, self.draw(stream, account, day, index)[0], stream, account, day, index)

    @staticmethod
    def sid_of(prefix: str, tag: int, stream: int, account: int, day: int, index: int) -> str:
        """The SID of a position whose first drawn number is known."""
        packed = (stream << 60) | (account << 56) | ((day - EPOCH & 0xFFFF) << 40) | index
        return f"{prefix}{tag:016x}{packed ^ (tag * _STRIDE & _MASK):016x}"

    def position(self, sid: str) -> Position | None:
        """Where a SID of this world points to, None if it is not one of this seed's."""
        try:
            tag, masked = int(sid[2:18], 16), int(sid[18:34], 16)
        except ValueError:
            return None
        packed = masked ^ (tag * _STRIDE & _MASK)
        found = Position(packed >> 60, packed >> 56 & 15, (packed >> 40 & 0xFFFF) + EPOCH, packed & (1 << 40) - 1)
        if len(sid) != 34 or found.account >= len(ACCOUNTS) or self.draw(*found)[0] != tag:
            return None
        return found

    def _shuffle(self, stream: int, account: int, day: int, number: int) -> tuple[int, int]:
        _, a, b, _ = self.draw(8 + stream, account, day, number)
        return 1 + a % (DECK_SIZE - 1), b % DECK_SIZE

    # --- volume ---

    def _permille(self, stream: int, account: Account, day: date) -> int:
        """Size of a day relative to the account's plain weekday."""
        if day < FIRST_DAY or day in account.holidays:
            return 0
        months = (day.year - 2026) * 12 + day.month - 3
        wobble = self.draw(12, account.index, date(day.year, day.month, 1).toordinal(), stream)[1] % 181 - 90
        size = account.weekday_permille[day.weekday()] * (1000 + 35 * months + wobble) // 1000
        size = size * (880 + self.draw(13, account.index, day.toordinal(), stream)[1] % 241) // 1000
        if stream == MESSAGE and self._broadcast(account, day):
            size = size * 27 // 10
        return size

    def _broadcast(self, account: Account, day: date) -> bool:
        every = account.broadcast_every
        return bool(every) and self.draw(14, account.index, day.toordinal(), 0)[1] % every == 0

    def _mean_permille(self, stream: int, account: Account) -> int:
        first, last = (d.toordinal() for d in BASE_DAY)
        days = range(first, last + 1)
        return max(1, sum(self._permille(stream, account, date.fromordinal(d)) for d in days) // len(days))

    def _count(self, stream: int, account: Account, day: date) -> int:
        share = account.message_share if stream == MESSAGE else account.call_share
        exact = self.volume[stream] * share * self._permille(stream, account, day)
        unit = 1000 * self._mean(stream, account)
        chance = self.draw(15, account.index, day.toordinal(), stream)[1] % unit
        return (exact + chance) // unit

    def _plan(self, stream: int, account: Account, day: date) -> DayPlan:
        broadcast = stream == MESSAGE and self._broadcast(account, day)
        if stream == MESSAGE:
            deck_key: tuple = ("messages", account.index, broadcast)
            deck = decks.message_deck(self.seed, account, broadcast) if account.index else ()
        else:
            dialling = tuple(c.campaign_id for c in account.campaigns if day.weekday() in c.weekdays)
            deck_key = ("calls", account.index, dialling)
            deck = decks.call_deck(self.seed, account, dialling) if account.index else ()
        weights = CURVES["broadcast" if broadcast else "message" if stream == MESSAGE else "call"]
        cumulative = [0]
        for weight in weights:
            cumulative.append(cumulative[-1] + weight)
        pools: dict[str, list[Number]] = {}
        for number in account.numbers:
            if number.active(day):
                pools.setdefault(number.pick, []).extend([number] * number.weight)
        count = self._count(stream, account, day) if account.index else 0
        edges = count >= 20 and self.draw(11, account.index, day.toordinal(), stream)[1] % 6 == 0
        return DayPlan(
            *(self, account, day, stream, count, deck, deck_key, tuple(cumulative), edges),
            *({pool: tuple(members) for pool, members in pools.items()}, midnight(day)),
        )

    def contact(self, random_bits: int, tens: int) -> str:
        """A contact's fictional number whose tens digit (and so its carrier) is given."""
        area = CONTACT_AREAS[random_bits % len(CONTACT_AREAS)]
        return f"+1{area}55501{tens}{random_bits // 64 % 10}"

    # --- listing, newest first ---

    def undated(self, account: Account, day: date) -> list[tuple[int, int]]:
        """(second of the day, index) of the messages created on a day and never sent, oldest first."""
        if not account.index or day < FIRST_DAY:
            return []
        ordinal = day.toordinal()
        how_many = 1 + self.draw(9, account.index, ordinal, 0)[1] % 3
        return sorted((self.draw(UNDATED, account.index, ordinal, j)[1] % SECONDS_PER_DAY, j) for j in range(how_many))

    def messages(
        self, account: Account, first: int, last: int, clock: Clock, undated: bool, after: Position | None = None
    ) -> Iterator[Position]:
        """Positions with first <= time <= last (seconds since 1970), newest first, beginning behind `after`."""
        last = min(last, clock.now)
        first = max(first, midnight(FIRST_DAY))
        day = last // SECONDS_PER_DAY + EPOCH
        if after is not None:
            day = min(day, after.day)
        while day >= first // SECONDS_PER_DAY + EPOCH:
            plan = self.plan(MESSAGE, account, date.fromordinal(day))
            top = plan.upto(last - plan.start)
            bottom = plan.upto(first - plan.start - 1)
            extras = []
            if undated:
                window = range(first - plan.start, last - plan.start + 1)
                extras = [(plan.upto(s), s, j) for s, j in self.undated(account, plan.day) if s in window]
            if after is not None and after.day == day:
                if after.stream == UNDATED:
                    place = next((i for i, (_, _, j) in enumerate(extras) if j == after.index), None)
                    if place is not None:
                        top = min(top, extras[place][0])
                        extras = extras[:place]
                else:
                    top = min(top, after.index)
                    extras = [extra for extra in extras if extra[0] <= after.index]
            for index in range(top - 1, bottom - 1, -1):
                while extras and extras[-1][0] > index:
                    yield Position(UNDATED, account.index, day, extras.pop()[2])
                yield Position(MESSAGE, account.index, day, index)
            while extras:
                yield Position(UNDATED, account.index, day, extras.pop()[2])
            day -= 1

    def leg_start(self, plan: DayPlan, index: int, leg: Leg) -> int:
        """Dial moment, seconds since 1970; the second leg stays on the UTC day of the first."""
        return plan.start + min(plan.second(index) + leg.offset, SECONDS_PER_DAY - 1)

    def calls(
        self, account: Account, first: int, last: int, clock: Clock, after: Position | None = None
    ) -> Iterator[Position]:
        """Legs dialled from `first` to `last` (seconds since 1970, inclusive), newest first, behind `after`."""
        last = min(last, clock.now)
        first = max(first, midnight(FIRST_DAY))
        limit = None
        if after is not None:
            plan = self.plan(CALL, account, date.fromordinal(after.day))
            leg = plan.card(after.index).legs[after.stream == DIALLED]
            limit = self.leg_start(plan, after.index, leg), after.index, after.stream
            last = min(last, limit[0])
        for day in range(last // SECONDS_PER_DAY + EPOCH, first // SECONDS_PER_DAY + EPOCH - 1, -1):
            plan = self.plan(CALL, account, date.fromordinal(day))
            top = plan.upto(last - plan.start)
            bottom = plan.upto(first - plan.start - 1 - decks.MAX_OFFSET)
            waiting: list[tuple[int, int, int]] = []
            for index in range(top - 1, bottom - 1, -1):
                began = plan.start + plan.second(index)
                while waiting and -waiting[0][0] > began + decks.MAX_OFFSET:
                    start, event, stream = heapq.heappop(waiting)
                    yield Position(-stream, account.index, day, -event)
                for stream, leg in zip((CALL, DIALLED), plan.card(index).legs, strict=False):
                    start = min(began + leg.offset, plan.start + SECONDS_PER_DAY - 1)
                    if first <= start <= last and (limit is None or (start, index, stream) < limit):
                        heapq.heappush(waiting, (-start, -index, -stream))
            while waiting:
                start, event, stream = heapq.heappop(waiting)
                yield Position(-stream, account.index, day, -event)
            limit = None

    def recordings(
        self, account: Account, first: int, last: int, clock: Clock, after: Position | None = None
    ) -> Iterator[Position]:
        """Recordings of calls that have ended, newest first. A recording is created at the dial moment of its call."""
        last = min(last, clock.now)
        first = max(first, midnight(FIRST_DAY))
        top_day = last // SECONDS_PER_DAY + EPOCH if after is None else min(last // SECONDS_PER_DAY + EPOCH, after.day)
        for day in range(top_day, first // SECONDS_PER_DAY + EPOCH - 1, -1):
            plan = self.plan(CALL, account, date.fromordinal(day))
            top = plan.upto(last - plan.start)
            if after is not None and after.day == day:
                top = min(top, after.index)
            for index in range(top - 1, plan.upto(first - plan.start - 1) - 1, -1):
                card = plan.card(index)
                if card.recorded:
                    ended = plan.start + plan.second(index) + card.legs[0].ring + card.legs[0].talk
                    if ended <= clock.now:
                        yield Position(RECORDING, account.index, day, index)
