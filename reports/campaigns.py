"""The call campaigns of one month: calls, minutes and answered calls of each, and what they cost.

A campaign's id is its caller-id number: it is shown by its name, or masked where it has none, and is in no type here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from etl.money import round_half_up
from etl.periods import Month
from reports.charges import ZERO, Change, minutes
from reports.naming import presentable

CAMPAIGN_LINES = ("campaign_call", "voice_detection")
"""The charge lines a campaign is charged on."""
SHOWN = 20
"""Rows of the table; more campaigns are one row."""
NO_CAMPAIGN = "No campaign"


@dataclass(frozen=True)
class CampaignRow:
    """One campaign's month. ``seconds`` are billed seconds, ``detected`` the answered calls with AI voice detection;
    ``charge`` is exact, ``amount`` rounded for show. ``change`` compares the amount. ``count``: campaigns in the row, 0
    for calls of none."""

    name: str
    calls: int
    seconds: int
    detected: int
    charge: Decimal
    amount: Decimal
    change: Change
    count: int = 1

    @property
    def minutes(self) -> Decimal:
        return minutes(self.seconds)


def build(
    daily: pl.DataFrame, month: Month, names: Mapping[str, str], currency: str, *, compared: bool
) -> tuple[CampaignRow, ...]:
    """`schemas.Daily` rows with date → a row for every campaign of the month, and of the one before if it is ``compared``
    with that; the dearest first. ``names``: campaign_id → name."""
    now, then = _sums(daily, month)
    then = then if compared else {}
    rows = []
    for key in dict.fromkeys([*now, *then]):
        calls, seconds, detected, charge = now.get(key, _NONE)
        amount = round_half_up(charge, currency)
        was = None if not compared else round_half_up(then.get(key, _NONE)[3], currency)
        change, count = Change(amount, was), int(key is not None)
        rows.append(CampaignRow(_name(key, names), calls, seconds, detected, charge, amount, change, count))
    rows.sort(key=lambda row: (-row.charge, -row.calls, row.name.casefold()))
    if len(rows) > SHOWN:
        rest = rows[SHOWN - 1 :]
        rows = [*rows[: SHOWN - 1], total(rest, f"Other campaigns ({sum(row.count for row in rest)})")]
    return tuple(rows)


def total(rows: list[CampaignRow] | tuple[CampaignRow, ...], name: str) -> CampaignRow:
    """The sum of some rows; its amount adds the rounded amounts."""
    calls, seconds, detected = (sum(getattr(row, what) for row in rows) for what in ("calls", "seconds", "detected"))
    charge, amount = (sum((getattr(row, what) for row in rows), ZERO) for what in ("charge", "amount"))
    befores = [row.change.before for row in rows]
    before = None if None in befores else sum(befores, ZERO)
    return CampaignRow(
        name, calls, seconds, detected, charge, amount, Change(amount, before), sum(row.count for row in rows)
    )


_NONE = (0, 0, 0, ZERO)


def _sums(daily: pl.DataFrame, month: Month) -> tuple[dict[str | None, tuple], dict[str | None, tuple]]:
    """campaign_id → (calls, billed seconds, answered calls with detection, exact charge) of a month and the one before."""
    call, detection = (pl.col("line") == line for line in CAMPAIGN_LINES)
    recent = pl.col("date").is_between((month - 1).first, month.days[-1])
    frame = (
        daily.filter(recent & pl.col("line").is_in(CAMPAIGN_LINES))
        .group_by("campaign_id", (pl.col("date") < month.first).alias("earlier"))
        .agg(
            pl.col("events").filter(call).sum().alias("calls"),
            pl.col("billed_seconds").filter(call).sum().alias("seconds"),
            pl.col("quantity").filter(detection).sum().alias("detected"),
            pl.col("charge").sum(),
        )
        .sort("campaign_id", nulls_last=True)
    )
    found: tuple[dict, dict] = {}, {}
    for campaign_id, earlier, *sums in frame.iter_rows():
        found[earlier][campaign_id] = tuple(sums)
    return found


def _name(campaign_id: str | None, names: Mapping[str, str]) -> str:
    return presentable(names.get(campaign_id) or campaign_id) if campaign_id else NO_CAMPAIGN
