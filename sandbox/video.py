"""Scheduled video consultations: rooms and who was in them, a pure function of (seed, account, UTC day).

There are few of them whatever the volume of messages, so a day is made whole. A room belongs to the day on which it was
created, a participant's session to the day on which it began: after midnight that is the day after the room's.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from sandbox.company import ACCOUNTS, FIRST_DAY, Account
from sandbox.traffic import EPOCH, PARTICIPANT, ROOM, SECONDS_PER_DAY, Clock, Position, World, midnight

PLACES = 8
"""A participant's index is its room's times this, plus its place by joining."""

SLOTS = range(14 * 3600, SECONDS_PER_DAY, 300)
"""Seconds of the day at which a consultation may be scheduled."""


@dataclass(frozen=True, slots=True)
class Session:
    """One participant in a room, from joining (seconds since 1970) to leaving."""

    identity: str
    host: bool
    """A member of the account, whose id is the identity; otherwise a guest."""
    start: int
    seconds: int

    @property
    def end(self) -> int:
        return self.start + self.seconds

    @property
    def direction(self) -> str:
        """Seen from the account: a member goes out to a room, a guest comes in."""
        return "outbound" if self.host else "inbound"


@dataclass(frozen=True, slots=True)
class Room:
    name: str
    created: int
    end: int
    sessions: tuple[Session, ...]
    """In the order of joining."""

    @property
    def first_host(self) -> str:
        return next(session.identity for session in self.sessions if session.host)


def _length(pick: random.Random) -> int:
    """Seconds a consultation takes from its slot: a quarter of an hour, more or less, and at most an hour."""
    if pick.random() < 0.06:
        return pick.choice((60, 61, 120, 1_800, 3_599, 3_600))
    return min(3_600, 180 + int(pick.lognormvariate(6.7, 0.7)))


def _session(identity: str, host: bool, join: int, leave: int, pick: random.Random) -> Session:
    roll = pick.random()
    if roll < 0.04:
        return Session(identity, host, join, 0)  # joined, and the connection failed at once
    if roll < 0.08:
        return Session(identity, host, join, pick.choice((1, 59, 60, 61)))
    return Session(identity, host, join, max(0, leave - join))


def _room(account: Account, name: str, slot: int, turn: int, pick: random.Random) -> Room:
    created = slot - pick.randrange(180)
    leave = slot + _length(pick)
    people = pick.choices((2, 3, 4), (70, 22, 8))[0]
    hosts = 2 if people > 2 and pick.random() < 0.4 else 1
    members = [account.members[(turn + i * 3) % len(account.members)][0] for i in range(hosts)]
    guests = [f"guest-{n}" for n in pick.sample(range(100, 1_000), people - hosts)]
    sessions = []
    for place, identity in enumerate((*members, *guests)):
        host = place < hosts
        late = pick.randrange(600, 1_500) if pick.random() < 0.06 else pick.randrange(-60, 300)
        # Hosts never join in one instant, so that it is plain who was first.
        join = created + 1 + pick.randrange(30) + 60 * place if host else max(created + 1, slot + late)
        sessions.append(_session(identity, host, min(join, leave), leave + pick.randrange(-15, 16), pick))
    end = max(session.end for session in sessions) + pick.randrange(1, 8)
    return Room(name, created, end, tuple(sorted(sessions, key=lambda s: (s.start, s.identity))))


def rooms_of(world: World, account: Account, day: date) -> tuple[Room, ...]:
    """The rooms an account created on a UTC day, oldest first."""
    if not account.index or day < FIRST_DAY or day in account.holidays:
        return ()
    pick = random.Random(f"{world.seed}/video/{account.account_id}/{day}")  # noqa: S311
    size = account.video_rooms * account.weekday_permille[day.weekday()] * pick.randrange(650, 1_351)
    count = (size + pick.randrange(10**9)) // 10**9
    turn = pick.randrange(len(account.members))
    return tuple(
        _room(account, f"visit-{day:%m%d}-{index + 1}", midnight(day) + slot, turn + index, pick)
        for index, slot in enumerate(sorted(pick.sample(SLOTS, count)))
    )


def sessions_on(world: World, account: Account, day: date) -> Iterator[tuple[Room, Session]]:
    """The sessions that began on a UTC day, each with its room."""
    first = midnight(day)
    for created_on in (day - timedelta(1), day):
        for room in rooms_of(world, account, created_on):
            yield from ((room, s) for s in room.sessions if first <= s.start < first + SECONDS_PER_DAY)


# --- positions ---


def room_at(world: World, at: Position) -> Room | None:
    """The room a position names, or the room of the participant it names."""
    found = rooms_of(world, ACCOUNTS[at.account], date.fromordinal(at.day))
    index = at.index // PLACES if at.stream == PARTICIPANT else at.index
    if index >= len(found) or (at.stream == PARTICIPANT and at.index % PLACES >= len(found[index].sessions)):
        return None
    return found[index]


def rooms(
    world: World, account: Account, first: int, last: int, clock: Clock, after: Position | None = None
) -> Iterator[Position]:
    """Rooms created from `first` to `last` (seconds since 1970, inclusive), newest first, behind `after`."""
    last, first = min(last, clock.now), max(first, midnight(FIRST_DAY))
    top = last // SECONDS_PER_DAY + EPOCH
    for day in range(top if after is None else min(top, after.day), first // SECONDS_PER_DAY + EPOCH - 1, -1):
        found = rooms_of(world, account, date.fromordinal(day))
        upto = after.index if after is not None and after.day == day else len(found)
        for index in range(upto - 1, -1, -1):
            if first <= found[index].created <= last:
                yield Position(ROOM, account.index, day, index)


def participants(world: World, at: Position, clock: Clock, after: Position | None = None) -> Iterator[Position]:
    """Who joined the room at a position by now, newest first, behind `after`."""
    room, base = room_at(world, at), at.index * PLACES
    upto = after.index - base if after is not None else len(room.sessions)
    for place in range(upto - 1, -1, -1):
        if room.sessions[place].start <= clock.now:
            yield Position(PARTICIPANT, at.account, at.day, base + place)
