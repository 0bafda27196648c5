"""Ground truth: the sandbox's own totals, straight from the generator, to hold a bill against."""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from pathlib import Path

from sandbox import decks, prices, video
from sandbox.company import CUSTOMERS, Account
from sandbox.traffic import CALL, DIALLED, MESSAGE, RECORDING, SECONDS_PER_DAY, Clock, World, midnight
from sandbox.usage import Ledger, Sum, Sums, session_sum


def _line(account: Account, day: date, kind: str, direction: str, one: Sum, **more) -> dict:
    facts = asdict(one)
    base, fee, priced = facts.pop("base"), facts.pop("fee"), facts.pop("priced")
    return {
        "account_id": account.account_id,
        "provider_account_sid": account.sid,
        "day": day.isoformat(),
        "kind": kind,
        "direction": direction,
        **more,
        **facts,
        "unpriced": one.billable - priced,
        "provider_price": prices.usd(base + fee),
        "provider_base": prices.usd(base),
        "provider_carrier_fee": prices.usd(fee),
    }


def days(first: date, last: date) -> Iterator[date]:
    """UTC days from first to last, both included."""
    for ordinal in range(first.toordinal(), last.toordinal() + 1):
        yield date.fromordinal(ordinal)


def lines(world: World, clock: Clock, first: date, last: date, by_owner: bool = False) -> Iterator[dict]:
    """One line for each (account, day, kind, direction), and with `by_owner` for each owner; amounts are positive USD.

    Kinds: sms, mms, call, campaign_call (not part of call), recording, video (participants who have left a room, by the
    day they joined; members outbound, guests inbound), number (direction 'none'; `listed`: how many of them the
    provider still lists).
    """
    ledger = Ledger(world)
    for account in CUSTOMERS:
        for day in days(first, min(last, clock.day)):
            if by_owner:
                yield from _owner_lines(world, clock, account, day)
                continue
            merged: dict[tuple[str, str], Sum] = defaultdict(Sum)
            for (kind, direction, _), one in ledger.day(account, day, clock).items():
                merged[kind, direction].add(one)
            for (kind, direction), one in sorted(merged.items()):
                if one.records:
                    yield _line(account, day, kind, direction, one)
            owned = [n for n in account.numbers if n.active(day)]
            charged = ledger.numbers_charged(account, day)
            price = sum(prices.NUMBER_PER_MONTH[which] * n for which, n in charged.items())
            if owned:
                listed = sum(number.active(clock.day) for number in owned)
                facts = Sum(records=len(owned), billable=len(owned), base=price)
                yield _line(account, day, "number", "none", facts, listed=listed)


def _owner_lines(world: World, clock: Clock, account: Account, day: date) -> Iterator[dict]:
    """The same by who owned the number that day; in rooms by who joined, a guest's by the member who was there first.
    Walks the rows, so it costs time in proportion to the volume."""
    ledger = Ledger(world)
    found: dict[tuple[str, str, str, str, str], Sum] = defaultdict(Sum)
    if midnight(day) > clock.now:
        return

    def put(number, sums: Sums | list) -> None:
        kind_of_owner, owner = number.holder(day)
        for (kind, direction, _), one in sums:
            found[kind, direction, kind_of_owner, owner, number.campaign or ""].add(one)

    first, last = midnight(day), midnight(day) + SECONDS_PER_DAY - 1
    plan = world.plan(MESSAGE, account, day)
    for at in world.messages(account, first, last, clock, False):
        card = plan.card(at.index)
        sent = plan.start + plan.second(at.index)
        put(
            plan.own_number(card, at.index),
            ledger.message_sums(card, clock.now >= sent + decks.PRICE_DELAYS[card.delay]),
        )
    plan = world.plan(CALL, account, day)
    for stream, positions in (
        (CALL, world.calls(account, first, last, clock)),
        (RECORDING, world.recordings(account, first, last, clock)),
    ):
        for at in positions:
            card = plan.card(at.index)
            sums = ledger.leg_sums(plan, at.index, clock)
            chosen = sums[len(card.legs) :] if stream == RECORDING else [sums[at.stream == DIALLED]]
            put(plan.own_number(card, at.index), chosen)
    for room, session in video.sessions_on(world, account, day):
        if session.end <= clock.now:
            owner = session.identity if session.host else room.first_host
            found["video", session.direction, "member", owner, ""].add(session_sum(session))
    for (kind, direction, owner_kind, owner, campaign), one in sorted(found.items()):
        yield _line(account, day, kind, direction, one, owner_kind=owner_kind, owner_id=owner, campaign_id=campaign)


def write(path: Path, found: Iterator[dict]) -> int:
    """Writes lines as JSON Lines, or as one JSON array if the name ends in `.json`; returns their number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = path.suffix == ".json"
    count = 0
    with path.open("w", encoding="utf-8") as out:
        out.write("[\n" if array else "")
        for line in found:
            out.write((",\n" if array and count else "") + json.dumps(line) + ("" if array else "\n"))
            count += 1
        out.write("\n]\n" if array else "")
    return count
