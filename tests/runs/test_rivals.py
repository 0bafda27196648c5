"""Two live attempts of one task: what was computed from older inputs never lands on what was computed from newer ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import httpx
import pytest

from etl.jobs import Jobs
from etl.lake import Partition
from etl.rating import charge

DAY = date(2026, 10, 6)


@pytest.fixture
def restated(provider):
    """Makes the provider change a price, as it does when a day is restated; undone afterwards."""

    def change() -> None:
        rule = {"kind": "change", "account": "acct_harbor", "day": str(DAY), "row": 3, "set": {"price": "-0.50000"}}
        httpx.post(f"{provider.url}/_sandbox/faults", json=rule).raise_for_status()

    yield change
    httpx.delete(f"{provider.url}/_sandbox/faults")


def cost(jobs: Jobs, dataset: str, **keys: str) -> Decimal:
    return jobs.lake.read(jobs.lake.head(Partition.of(dataset, date=DAY, **keys)))["provider_cost"].sum()


def test_a_zombie_s_older_answer_does_not_land(jobs, restated, monkeypatch):
    jobs.run_day(DAY)
    before = cost(jobs, "daily")
    zombie, nightly = Jobs.open(run_id="zombie"), Jobs.open(run_id="nightly")
    zombie.__dict__["card"] = replace(zombie.card, fingerprint="another")  # so that there is something to do
    plain, calls = charge.charges, []

    def slow(*arguments, **options):
        calls.append(1)
        if len(calls) == 1:  # while the zombie holds the old events, the night restates the day
            restated()
            nightly.run_day(DAY)
        return plain(*arguments, **options)

    monkeypatch.setattr(charge, "charges", slow)
    zombie.rate(DAY, "twilio")
    zombie.roll_up(DAY)
    after = cost(jobs, "daily")
    assert after > before
    assert cost(jobs, "charges", source="twilio") == after == cost(nightly, "daily")
    assert len(calls) >= 3, "the zombie was told that its base had moved, and computed again"
