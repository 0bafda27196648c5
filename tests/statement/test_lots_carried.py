"""What a pack of an earlier month was bought for is known in every month that uses it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from golden_world import FEBRUARY, FILES, MARCH, build, opened

from reports.focus import export as focus
from reports.model import build as page_of

PURCHASES = "directory/purchases.csv"
EARLY = """\
early,beyond,2028-01-20T10:00:00+00:00,pack,6,0.50,USD,
gift,beyond,2028-01-21T10:00:00+00:00,goodwill,2,,,
"""


@pytest.fixture(scope="module")
def quarter(tmp_path_factory):
    return build(tmp_path_factory.mktemp("lots"), files={PURCHASES: FILES[PURCHASES] + EARLY})


def used(jobs, account_id: str, month) -> list[tuple]:
    """(lot, credits, what they are worth, whether that is known) of what FOCUS says was used of packs."""
    frame = focus.frame(page_of(jobs.statements.load(account_id, month)))
    rows = frame.filter((frame["x_Line"] == "credits_used") & (frame["ResourceType"] == "Credit pack"))
    return rows.select("ResourceId", "PricingCurrencyEffectiveCost", "EffectiveCost", "x_CreditPriceKnown").rows()


def test_a_pack_keeps_its_price_over_months(quarter):
    jobs = opened(quarter)
    half, nothing, one = Decimal("0.5"), Decimal(0), Decimal(1)
    assert used(jobs, "beyond", FEBRUARY) == [
        ("early", 6, half, True), ("gift", 2, nothing, True), ("pack-1", 5, one, True),
    ]  # fmt: skip
    stated = jobs.statements.load("beyond", FEBRUARY)
    assert stated.earlier_ledger["lot"].to_list() == ["early", "gift"]
    assert stated.earlier_monthly["rate_id"].to_list() == ["early"]


def test_recharges_of_ours_keep_theirs(quarter):
    jobs = opened(quarter)
    # Two recharges of 20 for 2.00 on one day are charged in one sum; three at once on the next.
    worth = [(int(credits), value) for _, credits, value, known in used(jobs, "twice", FEBRUARY) if known]
    assert worth == [(16, Decimal("1.6")), (4, Decimal("0.4")), (20, Decimal(2)), (36, Decimal("3.6"))]
    march = jobs.statements.load("twice", MARCH)
    (left,) = march.ledger.filter(march.ledger["lot"].str.starts_with("recharge"))["lot"]
    price = page_of(march).details.prices[left]
    assert (price.charge, price.credits) == (6, 60)
