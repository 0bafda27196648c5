"""The credits ledger: what each account was granted, bought, burned and lost (mission rule 8). Pure, integers only.

Nothing walks from burn to burn. Within a period the allotment covers what was burned so far, up to itself; the excess
goes to what was bought. With running sums of both, after each burn

- ``packs = cummax(ceil((threshold - balance without recharges) / pack))`` is what auto-recharge has bought so far, and
- ``uncovered = cummax(excess - bought)`` is the overage so far: a balance that cannot fall below zero.

Lots are used oldest first: put end to end they are one axis of credits, cut where a lot ends and where a part of a day
ends. What changes the terms is a boundary at 00:00 UTC; accounts whose recharge terms change go round the loop again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

import polars as pl

from etl.periods import credit_period
from etl.schemas import DATASETS

ALLOTMENT = "allotment"
OVERAGE = "overage"
"""The lot of overage rows: the credits came from nowhere."""

_MOMENT = pl.Datetime("us", "UTC")
BURNS = {"account_id": pl.String, "record_id": pl.String, "occurred_at": _MOMENT, "credits": pl.Int64}
SUBSCRIPTIONS = {
    "subscription_id": pl.String, "account_id": pl.String, "anchor": pl.Date, "ended_on": pl.Date,
    "allotment": pl.Int64, "valid_from": pl.Date, "valid_to": pl.Date,
    "recharge_below": pl.Int64, "recharge_credits": pl.Int64, "recharges": pl.String,
}  # fmt: skip
PURCHASES = {
    "purchase_id": pl.String, "account_id": pl.String, "bought_at": _MOMENT, "kind": pl.String, "credits": pl.Int64,
}  # fmt: skip
LOTS = {
    "account_id": pl.String, "subscription_id": pl.String, "lot": pl.String, "bought_at": _MOMENT,
    "credits": pl.Int64, "simulated": pl.Boolean,
}  # fmt: skip

CORRECTIONS = {
    "account_id": pl.String, "for_month": pl.String, "lot": pl.String, "bought_at": _MOMENT, "simulated": pl.Boolean,
    "credits": pl.Int64,
}  # fmt: skip
"""What a closed month would have left otherwise, by lot, signed."""

Window = tuple[date, date]

# What comes first at one instant.
_OPENING, _BOUNDARY, _PURCHASE, _BURN = range(4)

_PIECE = {
    "account": pl.Int64, "at": _MOMENT, "what": pl.Int8, "piece": pl.Int64, "subscription_id": pl.String,
    "allotment": pl.Int64, "below": pl.Int64, "pack": pl.Int64, "terms": pl.Int64,
}  # fmt: skip
_HOLDS = ("piece", "allotment", "below", "pack", "terms")
"""Columns of a piece that hold until the next begins."""

_ROW = {
    "account": pl.Int64, "date": pl.Date, "last": pl.Boolean, "part": pl.Int64, "order": pl.Int64, "number": pl.Int64,
    "piece": pl.Int64, "at": _MOMENT, "entry": pl.String, "lot": pl.String, "bought_at": _MOMENT,
    "credits": pl.Int64, "simulated": pl.Boolean, "for_month": pl.String,
}  # fmt: skip
_ROW_ORDER = ("account", "date", "last", "part", "order", "number")
_EXPIRE, _GRANT, _ADD, _FROM_ALLOTMENT, _FROM_LOTS = range(5)
"""Rows within one part."""


class CreditsError(ValueError):
    """The input contradicts itself; says where and how."""


# ------------------------------------------------------------------------------------------------ what others call


def ledger(
    burns: pl.DataFrame,
    opening: pl.DataFrame | None,
    subscriptions: pl.DataFrame,
    purchases: pl.DataFrame,
    window: Window,
    corrections: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """`BURNS` of the UTC days [first, end), a month or part of one → `schemas.Credits`. Rows come in any order; a
    window without a day opens and does no more.

    ``opening`` is the ledger of the window before, None for the first. `SUBSCRIPTIONS` has one row per version of a
    subscription's plan, ``allotment`` in credits per period. `SUBSCRIPTIONS` and `PURCHASES` are given whole: an
    account's ledger begins with its first of either, and what it burned before that is no row here. ``corrections``
    (`CORRECTIONS`) change what is opened with.

    Per account and day: at 00:00 expire, then grant; then purchases, recharges and burns in their order, where the
    burns between two of those are one row per lot; overage last, one row a day. Raises `CreditsError`.
    """
    left = closing(opening) if opening is not None else pl.DataFrame(schema=LOTS)
    corrections = corrections if corrections is not None else pl.DataFrame(schema=CORRECTIONS)
    lots = _correct(left, corrections)
    plans = _plans(subscriptions)
    _check(burns, purchases, lots, window)
    members = _members(plans, purchases, pl.concat([left, lots]), window)
    if members.is_empty():
        return DATASETS["credits"].empty()
    lots = lots.join(members, on="account_id", maintain_order="left").with_row_index("number")
    pieces = _pieces(members, plans, lots, window)
    bought = purchases.filter(_within("bought_at", window)).join(members, on="account_id")
    events = _settle(_events(pieces, bought, burns.join(members, on="account_id")), lots)

    opened, added = _opened(lots, events, pieces), _added(events, bought)
    flows = _flows(events)
    parts = [_boundaries(events), added, _burns_of_allotment(flows), _burns_of_lots(flows, opened, added)]
    if corrections.height:
        asked = (frame.join(members, on="account_id", maintain_order="left") for frame in (left, corrections))
        opened = _told_apart(opened, *asked, events)
    return _finish(pl.concat([opened, *parts, _overage(events)]).sort(_ROW_ORDER), members, pieces)


def ledger_of_days(
    summed: pl.DataFrame,
    burns: pl.DataFrame,
    burns_on: Callable[[pl.DataFrame, Iterable[str]], pl.DataFrame],
    opening: pl.DataFrame | None,
    subscriptions: pl.DataFrame,
    purchases: pl.DataFrame,
    window: Window,
    corrections: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """`ledger`, from what each account burned on each day: account_id, date, credits. ``burns``: of days that are not
    ``summed``, one by one. ``burns_on``: account_id and date → these columns of the `BURNS` of these days of these accounts,
    asked only where the order inside a day matters.

    From 00:00 to a purchase, and from there to the next, all that burns and recharges goes one way, so the packs bought
    and the credits nothing covered at its end follow from its sum; which burn bought them, only its burns tell.
    """
    day = ["account_id", "date"]
    bought = purchases.filter(_within("bought_at", window)).select("account_id", occurred_at="bought_at")
    parted = summed.select(day).join(_dated(bought), on=day, how="semi")
    whole = summed.join(parted, on=day, how="anti").with_columns(occurred_at=pl.col("date").cast(_MOMENT))
    columns = ["account_id", "occurred_at", "credits"]
    sums = pl.concat([f.select(*columns, "date") for f in (whole, _between(burns_on(parted, columns), bought))])

    def moved(sums: pl.DataFrame, *named: pl.DataFrame) -> pl.DataFrame:
        every = pl.concat([f.select(*BURNS) for f in (sums.with_columns(record_id=pl.lit("")), burns, *named)])
        return ledger(every, opening, subscriptions, purchases, window, corrections)

    found = moved(sums)
    recharged = found.filter(pl.col("entry") == "recharge", pl.col("simulated")).select(day).unique()
    days = summed.select(day).join(recharged, on=day, how="semi").sort(day)
    return moved(sums.join(days, on=day, how="anti"), burns_on(days, BURNS)) if days.height else found


def _dated(moments: pl.DataFrame) -> pl.DataFrame:
    return moments.with_columns(date=pl.col("occurred_at").dt.date())


def _between(burns: pl.DataFrame, bought: pl.DataFrame) -> pl.DataFrame:
    """Burns summed up from one purchase of the account to the next, day by day; purchases as account_id, occurred_at."""
    at = bought.with_columns(since="occurred_at").sort("occurred_at")
    apart = burns.sort("occurred_at").join_asof(at, on="occurred_at", by="account_id", check_sortedness=False)
    return _dated(apart).group_by("account_id", "date", "since").agg(pl.col("occurred_at").min(), pl.col("credits").sum())


def joined(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """A ledger and the one of the days that follow, which opened with it, as the one ledger of both windows."""
    rows = pl.concat([before.with_columns(_after=False), after.filter(pl.col("entry") != "open").with_columns(_after=True)])
    ordered = rows.sort("account_id", "_after", "position")
    return DATASETS["credits"].arrange(
        ordered.with_columns(position=pl.int_range(pl.len(), dtype=pl.Int32).over("account_id"))
    )


def closing(ledger: pl.DataFrame) -> pl.DataFrame:
    """`schemas.Credits` → the `LOTS` left at its end, in the order they will be used: what the next ledger opens with.

    A lot's balance is the sum of its rows. The allotment is listed at 0 too, with the subscription it came from: that
    it was granted must not be forgotten once it is used up.
    """
    lots = (
        ledger.filter(pl.col("entry") != "overage")
        .sort("account_id", "position")
        .group_by("account_id", "lot", maintain_order=True)
        .agg(pl.col("bought_at", "simulated").first(), pl.col("subscription_id").last(), pl.col("credits").sum())
    )
    allotment = pl.col("lot") == ALLOTMENT
    return (
        lots.filter(allotment | (pl.col("credits") > 0))
        .sort("account_id", ~allotment, maintain_order=True)
        .select(*LOTS)
    )


def lost(ledger: pl.DataFrame) -> pl.DataFrame:
    """Credits that expired: account_id, date, credits (positive). A reset at which nothing was left has no row."""
    return (
        ledger.filter(pl.col("entry") == "expire")
        .group_by("account_id", "date")
        .agg(credits=-pl.col("credits").sum())
        .sort("account_id", "date")
    )


def compare_recharges(
    burns: pl.DataFrame,
    opening: pl.DataFrame | None,
    subscriptions: pl.DataFrame,
    purchases: pl.DataFrame,
    window: Window,
) -> pl.DataFrame:
    """What a provider's auto-recharge bought against what ours would have bought by the same terms. Input as `ledger`.

    One row per account with a subscription in force whose recharges are observed and whose terms are known: account_id,
    observed_recharges, observed_credits, simulated_recharges, simulated_credits. A reported recharge counts once, a
    simulated one by its packs. Both open with the same lots.
    """
    first, end = window
    observed = subscriptions.filter(
        pl.col("recharges") == "observed",
        pl.col("recharge_below").is_not_null(),
        pl.col("recharge_credits").is_not_null(),
        pl.col("anchor") < end,
        pl.col("ended_on").is_null() | ((pl.col("ended_on") > first) & (pl.col("ended_on") > pl.col("anchor"))),
    )
    accounts = observed.select("account_id").unique().sort("account_id")
    packs = observed.select("subscription_id", pack="recharge_credits").unique()
    burns, subscriptions, purchases = (
        frame.join(accounts, on="account_id", how="semi") for frame in (burns, subscriptions, purchases)
    )
    opening = opening.join(accounts, on="account_id", how="semi") if opening is not None else None

    facts = ledger(burns, opening, subscriptions, purchases, window)
    reported = facts.filter(pl.col("entry") == "recharge", ~pl.col("simulated")).join(packs, on="subscription_id")
    ours = ledger(
        burns,
        opening,
        subscriptions.join(
            packs.select("subscription_id", mode=pl.lit("simulated")), on="subscription_id", how="left"
        ).with_columns(recharges=pl.coalesce("mode", "recharges")),
        purchases.join(reported, left_on=["account_id", "purchase_id"], right_on=["account_id", "lot"], how="anti"),
        window,
    )
    simulated = ours.filter(pl.col("entry") == "recharge", pl.col("simulated")).join(packs, on="subscription_id")
    return (
        accounts.join(
            reported.group_by("account_id").agg(
                observed_recharges=pl.len().cast(pl.Int64), observed_credits=pl.col("credits").sum()
            ),
            on="account_id",
            how="left",
        )
        .join(
            simulated.group_by("account_id").agg(
                simulated_recharges=(pl.col("credits") // pl.col("pack")).sum(),
                simulated_credits=pl.col("credits").sum(),
            ),
            on="account_id",
            how="left",
        )
        .with_columns(pl.exclude("account_id").fill_null(0))
        .sort("account_id")
    )


# ------------------------------------------------------------------------------------------------ subscriptions


@dataclass(frozen=True)
class _Subscription:
    """A subscription that grants or recharges, with every version of its plan: (valid_from, valid_to, credits)."""

    subscription_id: str
    anchor: date
    ended_on: date
    recharges: str | None
    below: int | None
    pack: int | None
    versions: tuple[tuple[date, date, int], ...]

    @property
    def terms(self) -> tuple[int, int]:
        """Threshold and pack of our own recharges; a pack of 0 buys nothing."""
        return (self.below, self.pack) if self.recharges == "simulated" else (0, 0)

    def in_force(self, day: date) -> bool:
        return self.anchor <= day < self.ended_on

    def allotment(self, start: date) -> int:
        """Credits of the period that starts on ``start``, by the version in force on that day."""
        return next((credits for valid_from, valid_to, credits in self.versions if valid_from <= start < valid_to), 0)

    def starts(self, first: date, end: date) -> Iterator[date]:
        """The days in [first, end) on which a period starts."""
        day = max(first, self.anchor)
        while day < min(end, self.ended_on):
            start, after = credit_period(self.anchor, day)
            if start >= first:
                yield start
            day = after


def _plans(subscriptions: pl.DataFrame) -> dict[str, list[_Subscription]]:
    """Subscriptions with credits by account, oldest first. Those without allotment and recharges are none of ours."""
    known: dict[str, _Subscription] = {}
    accounts: dict[str, str] = {}
    for row in subscriptions.sort("valid_from").iter_rows(named=True):
        name, account = row["subscription_id"], row["account_id"]
        plan = _subscription(row)
        same = replace(known.get(name, plan), versions=())
        if accounts.setdefault(name, account) != account or same != replace(plan, versions=()):
            raise CreditsError(f"subscription {name}: its rows differ in more than the plan's version")
        known[name] = replace(plan, versions=(known[name].versions if name in known else ()) + plan.versions)
    plans: dict[str, list[_Subscription]] = {}
    for plan in sorted(known.values(), key=lambda plan: (plan.anchor, plan.subscription_id)):
        if plan.anchor < plan.ended_on and (plan.recharges or any(credits for *_, credits in plan.versions)):
            plans.setdefault(accounts[plan.subscription_id], []).append(plan)
    for account, own in plans.items():
        for one, other in pairwise(own):
            if other.anchor < one.ended_on:
                raise CreditsError(
                    f"account {account}: subscriptions {one.subscription_id} and {other.subscription_id}, both with"
                    f" credits, are in force on {other.anchor}"
                )
    return plans


def _subscription(row: dict) -> _Subscription:
    """One row of `SUBSCRIPTIONS`: a subscription with one version of its plan."""
    name, below, pack = row["subscription_id"], row["recharge_below"], row["recharge_credits"]
    if row["recharges"] == "simulated" and (below is None or pack is None):
        raise CreditsError(f"subscription {name}: recharges are simulated and threshold or pack is missing")
    if (below or 0) < 0 or (pack is not None and pack < 1) or (row["allotment"] or 0) < 0:
        raise CreditsError(f"subscription {name}: a threshold or allotment below 0, or a pack below 1")
    version = (row["valid_from"] or date.min, row["valid_to"] or date.max, row["allotment"] or 0)
    return _Subscription(
        name, row["anchor"], row["ended_on"] or date.max, row["recharges"], below, pack, versions=(version,)
    )


def _pieces(
    members: pl.DataFrame, plans: dict[str, list[_Subscription]], lots: pl.DataFrame, window: Window
) -> pl.DataFrame:
    """Per account the opening and then every boundary of the window, with what holds until the next (`_PIECE`)."""
    allotments = lots.filter(pl.col("lot") == ALLOTMENT).select("account", "subscription_id", "credits")
    carried = {account: (name, credits) for account, name, credits in allotments.iter_rows()}
    rows: list[tuple] = []
    for account, account_id in members.select("account", "account_id").iter_rows():
        terms, before = 0, None
        timeline = _timeline(plans.get(account_id, []), *carried.get(account, (None, 0)), window)
        for at, what, name, allotment, below, pack in timeline:
            terms += before is not None and before != (below, pack)
            before = (below, pack)
            rows.append((account, at, what, len(rows), name, allotment, below, pack, terms))
    return pl.DataFrame(rows, schema=_PIECE, orient="row")


def _timeline(plans: list[_Subscription], carried: str | None, left: int, window: Window) -> Iterator[tuple]:
    """(at, what, subscription, allotment, threshold, pack) of one account: the opening, then its boundaries.

    ``left`` credits are carried over from subscription ``carried``. A subscription in force whose running period nobody
    granted (the ledger begins, or it was entered late) is granted that period at the window's start; what is left of
    one that is no longer in force expires there.
    """
    first, end = window
    now = next((plan for plan in plans if plan.in_force(first)), None)
    eve = next((plan for plan in plans if plan.in_force(first - timedelta(days=1))), None)
    cuts: dict[date, tuple[_Subscription | None, int]] = {}
    if now is not None and now.subscription_id != carried and first < end:
        cuts[first] = (now, now.allotment(credit_period(now.anchor, first)[0]))
    elif now is None and left and first < end:
        cuts[first] = (None, 0)
    cuts |= {plan.ended_on: (None, 0) for plan in plans if first <= plan.ended_on < end}
    cuts |= {start: (plan, plan.allotment(start)) for plan in plans for start in plan.starts(first, end)}

    owner = carried if left else eve.subscription_id if eve is not None else None
    yield (_midnight(first), _OPENING, owner, left, *(now.terms if now is not None else (0, 0)))
    for day in sorted(cuts):
        plan, granted = cuts[day]
        facts = (plan.subscription_id, granted, *plan.terms) if plan is not None else (None, 0, 0, 0)
        yield (_midnight(day), _BOUNDARY, *facts)


# ------------------------------------------------------------------------------------------------ accounts and checks


def _members(
    plans: dict[str, list[_Subscription]], purchases: pl.DataFrame, lots: pl.DataFrame, window: Window
) -> pl.DataFrame:
    """The accounts that keep a ledger, by number, and since when."""
    eve, end = window[0] - timedelta(days=1), window[1]
    subscribed = {"account_id": list(plans), "begins": [_midnight(own[0].anchor) for own in plans.values()]}
    known = [
        pl.DataFrame(subscribed, schema={"account_id": pl.String, "begins": _MOMENT}),
        purchases.select("account_id", begins="bought_at"),
        lots.filter(pl.col("credits") > 0).select("account_id", begins=pl.lit(_midnight(eve), _MOMENT)),
    ]
    return (
        pl.concat(known)
        .group_by("account_id")
        .agg(pl.col("begins").min())
        .filter(pl.col("begins") < _midnight(end))
        .sort("account_id")
        .select(pl.int_range(pl.len()).alias("account"), "account_id", "begins")
    )


def _check(burns: pl.DataFrame, purchases: pl.DataFrame, lots: pl.DataFrame, window: Window) -> None:
    if window[0] > window[1]:
        raise CreditsError(f"{window[0]} is after {window[1]}")
    outside = burns.filter(~_within("occurred_at", window))
    if outside.height:
        raise CreditsError(
            f"{outside.height} burns outside {window[0]} to {window[1]}, first {outside['record_id'][0]}"
        )
    if burns.filter(pl.col("credits") < 0).height:
        raise CreditsError("a burn of less than 0 credits")
    bought = purchases.filter(_within("bought_at", window))
    wrong = bought.filter((pl.col("credits") < 1) | pl.col("purchase_id").is_in([ALLOTMENT, OVERAGE]))
    if wrong.height:
        raise CreditsError(
            f"purchase {wrong['purchase_id'][0]}: less than 1 credit, or a name that means something else"
        )
    names = pl.concat([bought.select("account_id", lot="purchase_id"), lots.select("account_id", "lot")])
    if (twice := names.filter(names.is_duplicated())).height:
        raise CreditsError(f"account {twice['account_id'][0]}: purchase {twice['lot'][0]} is there twice")


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _within(column: str, window: Window) -> pl.Expr:
    return pl.col(column).is_between(_midnight(window[0]), _midnight(window[1]), closed="left")


# ------------------------------------------------------------------------------------------------ events, settled


def _events(pieces: pl.DataFrame, bought: pl.DataFrame, burns: pl.DataFrame) -> pl.DataFrame:
    """Openings, boundaries, purchases and burns in the one order in which they count."""
    none = pl.lit(0, pl.Int64)
    others = [
        pieces.drop("subscription_id").with_columns(id=pl.lit(""), burn=none, bought=none),
        bought.select(
            "account", at="bought_at", what=pl.lit(_PURCHASE, pl.Int8), id="purchase_id", burn=none, bought="credits"
        ),
    ]
    burned = burns.filter(pl.col("credits") > 0, pl.col("occurred_at") >= pl.col("begins")).select(
        "account", at="occurred_at", what=pl.lit(_BURN, pl.Int8), id="record_id", burn="credits", bought=none
    )
    key = ["account", "at", "what", "id"]
    events = pl.concat([*others, burned], how="diagonal").sort(key)
    if events.select(pl.all_horizontal(pl.col(c) == pl.col(c).shift(1) for c in key).any()).item():
        # Several charges of one record are one burn: nothing says which of them came first.
        whole = burned.group_by(key).agg(pl.col("burn", "bought").sum())
        events = pl.concat([*others, whole], how="diagonal").sort(key)
    return events


def _settle(events: pl.DataFrame, lots: pl.DataFrame) -> pl.DataFrame:
    """What each burn took from where: from_allotment, from_lots, from_recharge (its own), uncovered; packs it bought;
    ``left`` of the allotment; and ``part``, a number that grows where burns may no longer be summed."""
    starts = pl.col("what") <= _BOUNDARY
    events = (
        events.with_columns(pl.col(_HOLDS).forward_fill(), burned=pl.col("burn").cum_sum())
        .with_columns(burned=pl.col("burned") - pl.when(starts).then("burned").forward_fill())
        .with_columns(left=pl.max_horizontal(pl.col("allotment") - pl.col("burned"), 0))
        .with_columns(from_allotment=pl.when(starts).then(0).otherwise(pl.col("left").shift(1) - pl.col("left")))
        .with_columns(excess=pl.col("burn") - pl.col("from_allotment"))
        .drop("burn", "burned")
    )
    asked = events.select("account", "what", "left", "excess", "bought", "below", "pack", "terms").with_row_index("row")
    balances = lots.filter(pl.col("lot") != ALLOTMENT).group_by("account").agg(balance=pl.col("credits").sum())
    answered = []
    for terms in range(events["terms"].max() + 1):
        part = _reflect(asked.filter(pl.col("terms") == terms), balances)
        balances = part.group_by("account").agg(pl.col("balance").last())
        answered.append(part.select("row", "packs", "uncovered", "from_recharge"))
    recharge = pl.col("packs") > 0
    return (
        events.drop("below", "terms")
        .hstack(pl.concat(answered).sort("row").drop("row"))
        .with_columns(
            date=pl.col("at").dt.date(),
            from_lots=pl.col("excess") - pl.col("from_recharge") - pl.col("uncovered"),
            part=(pl.col("what") < _BURN).cum_sum().cast(pl.Int64) + recharge.cum_sum() - recharge,
        )
    )


def _reflect(events: pl.DataFrame, balances: pl.DataFrame) -> pl.DataFrame:
    """Adds packs, uncovered, from_recharge and the bought ``balance`` to events under unchanging recharge terms.

    ``balances``: what each account has of bought credits at the start, nothing where it is not listed.
    """
    burn = pl.col("what") == _BURN
    need = pl.col("below") - pl.col("left") - pl.col("own")
    per_pack = pl.max_horizontal("pack", 1)
    packs = pl.when(burn & (pl.col("pack") > 0)).then((need + per_pack - 1) // per_pack).otherwise(0)
    # The row before a burn is of the same account and terms: each begins with an opening or a boundary.
    new = {
        name: pl.when(burn).then(pl.col(name) - pl.col(name).shift(1)).otherwise(0) for name in ("packs", "uncovered")
    }
    lacked = pl.when(pl.col("packs") > 0).then((pl.col("excess") - pl.col("before")).clip(0)).otherwise(0)
    return (
        events.join(balances, on="account", how="left", maintain_order="left")
        .with_columns(
            own=pl.col("balance").fill_null(0) + (pl.col("bought") - pl.col("excess")).cum_sum().over("account")
        )
        .with_columns(packs=packs.cum_max().over("account"))
        .with_columns(own=pl.col("own") + pl.col("packs") * pl.col("pack"))
        .with_columns(uncovered=(-pl.col("own")).clip(0).cum_max().over("account"))
        .with_columns(balance=pl.col("own") + pl.col("uncovered"))
        .with_columns(**new, before=pl.col("balance").shift(1))
        .with_columns(from_recharge=lacked)
    )


# ------------------------------------------------------------------------------------------------ corrections


def _correct(lots: pl.DataFrame, corrections: pl.DataFrame) -> pl.DataFrame:
    """`LOTS` after these `CORRECTIONS`. CreditsError for one that asks a lot for more than it has."""
    if corrections.is_empty():
        return lots
    key = ["account_id", "lot"]
    moved = corrections.group_by(key, maintain_order=True).agg(
        pl.col("bought_at", "simulated").first(), moved=pl.col("credits").sum()
    )
    both = lots.join(moved, on=key, how="full", coalesce=True, suffix="_new").with_columns(
        pl.coalesce("bought_at", "bought_at_new").alias("bought_at"),
        pl.coalesce("simulated", "simulated_new").alias("simulated"),
        credits=pl.col("credits").fill_null(0) + pl.col("moved").fill_null(0),
    )
    if (short := both.filter(pl.col("credits") < 0)).height:
        raise CreditsError(
            f"account {short['account_id'][0]}: a correction takes more from {short['lot'][0]} than it has"
        )
    allotment = pl.col("lot") == ALLOTMENT
    # A lot that a correction emptied is no lot; the allotment is listed at 0 too.
    return (
        both.filter(allotment | (pl.col("credits") > 0))
        .select(*LOTS)
        .sort("account_id", ~allotment, "bought_at", "lot")
    )


def _told_apart(
    opened: pl.DataFrame, left: pl.DataFrame, corrections: pl.DataFrame, events: pl.DataFrame
) -> pl.DataFrame:
    """The rows of what a ledger opens with, as what was ``left`` (`LOTS`) and what was corrected. ``left`` and
    ``corrections`` with ``account``."""
    start = events.filter(pl.col("what") == _OPENING).select("account", "date", "part", "piece")
    corrected = set(corrections["account"])
    alone = opened.filter(~pl.col("account").is_in(corrected))
    mine = left.filter(pl.col("account").is_in(corrected), (pl.col("credits") > 0) | (pl.col("lot") == ALLOTMENT))
    columns = {name: pl.col(name) for name in ("number", "lot", "bought_at", "simulated")}
    rows = [alone]
    for entry, lots, more in (("open", mine, {}), ("correction", corrections, {"for_month": pl.col("for_month")})):
        # All that was left stands before all that was corrected.
        numbered = lots.with_row_index("number", offset=len(rows) * 10**8).join(start, on="account")
        rows.append(_rows(numbered, _ADD, entry, pl.col("credits"), **columns, **more))
    return pl.concat(rows)


# ------------------------------------------------------------------------------------------------ rows of the ledger


def _rows(events: pl.DataFrame, order: int, entry: str | pl.Expr, credits: pl.Expr, **columns: pl.Expr) -> pl.DataFrame:
    """``events`` (account, date, part, piece) as `_ROW`, of the allotment unless ``columns`` say otherwise."""
    usual = {
        "last": pl.lit(False), "number": pl.lit(0), "at": pl.lit(None, _MOMENT), "lot": pl.lit(ALLOTMENT),
        "bought_at": pl.lit(None, _MOMENT), "simulated": pl.lit(False), "for_month": pl.lit(None, pl.String),
    }  # fmt: skip
    entry = pl.lit(entry) if isinstance(entry, str) else entry
    own = {"order": pl.lit(order), "entry": entry, "credits": credits}
    return events.with_columns(**usual | own | columns).select(pl.col(c).cast(t) for c, t in _ROW.items())


def _opened(lots: pl.DataFrame, events: pl.DataFrame, pieces: pl.DataFrame) -> pl.DataFrame:
    start = events.filter(pl.col("what") == _OPENING).select("account", "date", "part", "piece")
    names = pieces.select("piece", running="subscription_id")
    carried = lots.join(start, on="account").join(names, on="piece", how="left")
    # The nothing that is left of an allotment is carried over only while its subscription lasts.
    worth = (pl.col("credits") > 0) | (pl.col("subscription_id") == pl.col("running"))
    columns = {name: pl.col(name) for name in ("number", "lot", "bought_at", "simulated")}
    return _rows(carried.filter(worth), _ADD, "open", pl.col("credits"), **columns)


def _boundaries(events: pl.DataFrame) -> pl.DataFrame:
    """What is left expires, as the last act of the piece before; then the grant."""
    cuts = events.with_columns(rest=pl.col("left").shift(1)).filter(pl.col("what") == _BOUNDARY)
    expired = cuts.filter(pl.col("rest") > 0).with_columns(piece=pl.col("piece") - 1)
    return pl.concat(
        [
            _rows(expired, _EXPIRE, "expire", -pl.col("rest"), at=pl.col("at")),
            _rows(cuts.filter(pl.col("allotment") > 0), _GRANT, "grant", pl.col("allotment"), at=pl.col("at")),
        ]
    )


def _added(events: pl.DataFrame, bought: pl.DataFrame) -> pl.DataFrame:
    """Purchases, reported recharges and our own, in the part that begins with them."""
    kinds = bought.select("account", id="purchase_id", kind="kind")
    reported = events.filter(pl.col("what") == _PURCHASE).join(kinds, on=["account", "id"])
    entry = pl.when(pl.col("kind") == "recharge").then(pl.lit("recharge")).otherwise(pl.lit("purchase"))
    own = events.filter(pl.col("packs") > 0).with_columns(part=pl.col("part") + 1)
    hashes = pl.Series("hash", [hashlib.sha256(name.encode()).hexdigest()[:12] for name in own["id"]], pl.String)
    lot = pl.format("recharge-{}-{}", pl.col("at").dt.strftime("%Y%m%dT%H%M%S%.6fZ"), "hash")
    at = {"at": pl.col("at"), "bought_at": pl.col("at")}
    return pl.concat(
        [
            _rows(reported, _ADD, entry, pl.col("bought"), lot=pl.col("id"), **at),
            _rows(
                own.with_columns(hashes),
                _ADD,
                "recharge",
                pl.col("packs") * pl.col("pack"),
                lot=lot,
                simulated=pl.lit(True),
                **at,
            ),
        ]
    )


def _flows(events: pl.DataFrame) -> pl.DataFrame:
    """Credits burned per account, day and part: from the allotment, and from what was bought."""
    key = ["account", "date", "part", "piece"]
    summed = events.group_by(key).agg(pl.col("from_allotment", "from_lots").sum())
    # What a burn takes from the recharge it triggered comes after it.
    after = events.filter(pl.col("from_recharge") > 0).select(
        "account",
        "date",
        pl.col("part") + 1,
        "piece",
        from_allotment=pl.lit(0, pl.Int64),
        from_lots="from_recharge",
    )
    return pl.concat([summed, after]).group_by(key).agg(pl.col("from_allotment", "from_lots").sum()).sort(key)


def _burns_of_allotment(flows: pl.DataFrame) -> pl.DataFrame:
    return _rows(flows.filter(pl.col("from_allotment") > 0), _FROM_ALLOTMENT, "burn", -pl.col("from_allotment"))


def _burns_of_lots(flows: pl.DataFrame, opened: pl.DataFrame, added: pl.DataFrame) -> pl.DataFrame:
    """Flows cut at the ends of the lots, oldest first. Both lie on one axis of credits, account after account: what an
    account took is what its lots gave."""
    flows = flows.filter(pl.col("from_lots") > 0).with_columns(until=pl.col("from_lots").cum_sum())
    lots = (
        pl.concat([opened.filter(pl.col("lot") != ALLOTMENT), added])
        .sort(_ROW_ORDER)
        .select("account", "lot", "bought_at", "simulated", "credits")
        .join(flows.group_by("account").agg(total=pl.col("from_lots").sum()), on="account", maintain_order="left")
        .with_columns(before=pl.col("credits").cum_sum().over("account") - pl.col("credits"))
        .with_columns(used=pl.min_horizontal("credits", pl.col("total") - pl.col("before")))
        .filter(pl.col("used") > 0)
        .with_columns(until=pl.col("used").cum_sum())
    )
    ends = pl.concat([flows["until"], lots["until"]]).unique().sort()
    flow, lot = flows["until"].search_sorted(ends), lots["until"].search_sorted(ends)
    cut = flows.select("account", "date", "part", "piece")[flow].with_columns(
        *lots.select("lot", "bought_at", "simulated")[lot], number=lot, credits=ends - ends.shift(1, fill_value=0)
    )
    columns = {name: pl.col(name) for name in ("number", "lot", "bought_at", "simulated")}
    return _rows(cut, _FROM_LOTS, "burn", -pl.col("credits"), **columns)


def _overage(events: pl.DataFrame) -> pl.DataFrame:
    short = (
        events.filter(pl.col("uncovered") > 0)
        .group_by("account", "date", "piece")
        .agg(pl.col("uncovered").sum(), pl.col("part").max())
    )
    return _rows(short, 0, "overage", pl.col("uncovered"), last=pl.lit(True), lot=pl.lit(OVERAGE))


def _finish(rows: pl.DataFrame, members: pl.DataFrame, pieces: pl.DataFrame) -> pl.DataFrame:
    """Rows in order → `schemas.Credits`: positions, balances as running sums, names."""
    moved = pl.when(pl.col("entry") != "overage").then("credits").otherwise(0)
    allotment = pl.col("lot") == ALLOTMENT
    return DATASETS["credits"].arrange(
        rows.with_columns(
            position=pl.int_range(pl.len(), dtype=pl.Int32).over("account"),
            balance_allotment=pl.when(allotment).then(moved).otherwise(0).cum_sum().over("account"),
            balance_purchased=pl.when(allotment).then(0).otherwise(moved).cum_sum().over("account"),
        )
        .join(members, on="account", how="left")
        .join(pieces.select("piece", "subscription_id"), on="piece", how="left")
    )
