"""Made-up accounts with subscriptions, purchases and burns: few instants and small numbers, so that ties, thresholds
and month ends are hit all the time."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import polars as pl
from hypothesis import strategies as st

from etl.credits import BURNS, PURCHASES, SUBSCRIPTIONS
from etl.periods import Month

# A common year, a leap year, a year's end.
BEGINNINGS = st.sampled_from([Month(2026, 1), Month(2024, 1), Month(2025, 12), Month(2023, 11)])
CLOCK = st.sampled_from([time(0), time(0), time(0, 0, 0, 1), time(10), time(10, 30), time(23, 59, 59, 999999)])


def moment(day: date, at: time = time(12)) -> datetime:
    return datetime.combine(day, at, UTC)


def moments(first: date, end: date) -> st.SearchStrategy[datetime]:
    days = (end - first).days
    # Busy days, so that several things meet.
    busy = [n for n in (0, 27, 28, 29, 30, 31, 58, 59) if n < days]
    offset = st.integers(0, days - 1) | st.sampled_from([*busy, days - 1])
    return st.builds(lambda n, at: moment(first + timedelta(days=n), at), offset, CLOCK)


@st.composite
def plans(draw, account: str, first: date, recharges=(None, "observed", "simulated", "simulated")) -> list[dict]:
    """Subscriptions one after the other, some on the day the one before ended; each with versions of its plan."""
    made = []
    day = first + timedelta(days=draw(st.integers(-70, 40)))
    for number in range(draw(st.integers(0, 3))):
        if draw(st.booleans()):
            # 28 to 31, where months differ.
            day = max(day, date(day.year, day.month, 28)) + timedelta(days=draw(st.integers(0, 3)))
        ended = draw(st.none() | st.integers(0, 75).map(lambda n, day=day: day + timedelta(days=n)))
        change = first + timedelta(days=draw(st.integers(0, 80)))
        amounts = st.integers(0, 60)
        versions = draw(
            st.sampled_from(
                [
                    [(None, None)],
                    [(None, change), (change, None)],
                    [(date(2020, 1, 1), change), (change + timedelta(days=20), None)],
                ]
            )
        )
        mode = draw(st.sampled_from(recharges))
        known = mode == "simulated" or draw(st.booleans())
        made.append(
            {
                "subscription_id": f"{account}-s{number}",
                "account_id": account,
                "anchor": day,
                "ended_on": ended,
                "versions": [(*version, draw(amounts)) for version in versions],
                "recharge_below": draw(st.integers(0, 40)) if known else None,
                "recharge_credits": draw(st.integers(1, 50)) if known else None,
                "recharges": mode,
            }
        )
        if ended is None:
            break
        day = max(ended, day) + timedelta(days=draw(st.sampled_from([0, 0, 1, 9])))
    return made


@st.composite
def worlds(draw, accounts=("a", "b"), recharges=(None, "observed", "simulated", "simulated")) -> dict:
    """months, plans, purchases and burns (lists of dicts, per account) of one to four months."""
    start = draw(BEGINNINGS)
    months = [start + k for k in range(draw(st.integers(1, 4)))]
    first, end = months[0].first, months[-1].end
    world = {"months": months, "plans": {}, "purchases": {}, "burns": {}}
    for account in accounts:
        world["plans"][account] = draw(plans(account, first, recharges))
        world["purchases"][account] = [
            {"purchase_id": f"{account}-p{number}", "account_id": account, "bought_at": at, "kind": kind, "credits": n}
            for number, (at, kind, n) in enumerate(
                draw(
                    st.lists(
                        st.tuples(
                            moments(first, end), st.sampled_from(["pack", "recharge", "goodwill"]), st.integers(1, 60)
                        ),
                        max_size=6,
                    )
                )
            )
        ]
        # Names that do not sort as the burns were drawn.
        world["burns"][account] = [
            {"account_id": account, "record_id": f"{number * 7 % 10}{number}", "occurred_at": at, "credits": n}
            for number, (at, n) in enumerate(
                draw(st.lists(st.tuples(moments(first, end), st.integers(0, 12) | st.integers(0, 90)), max_size=25))
            )
        ]
    return world


def counting(plans: list[dict]) -> list[dict]:
    """Subscriptions that ever run, and grant or recharge."""
    return [
        p
        for p in plans
        if (p["ended_on"] is None or p["ended_on"] > p["anchor"])
        and (p["recharges"] or any(v[2] for v in p["versions"]))
    ]


def begins(world: dict, account: str) -> datetime | None:
    """When an account's ledger does."""
    moments = [moment(p["anchor"], time()) for p in counting(world["plans"][account])]
    return min(moments + [p["bought_at"] for p in world["purchases"][account]], default=None)


# ------------------------------------------------------------------------------------------------ frames


def burns_frame(rows: list[dict], window: tuple[date, date] | None = None) -> pl.DataFrame:
    kept = [r for r in rows if window is None or window[0] <= r["occurred_at"].date() < window[1]]
    return pl.DataFrame(kept, schema=BURNS)


def purchases_frame(rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=PURCHASES)


def plans_frame(rows: list[dict]) -> pl.DataFrame:
    flat = [
        {c: p[c] for c in SUBSCRIPTIONS if c in p} | {"valid_from": since, "valid_to": until, "allotment": credits}
        for p in rows
        for since, until, credits in p["versions"]
    ]
    return pl.DataFrame(flat, schema=SUBSCRIPTIONS)


def everyone(by_account: dict[str, list[dict]]) -> list[dict]:
    return [row for rows in by_account.values() for row in rows]
