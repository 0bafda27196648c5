"""Plans, recharges and the rest of the directory: what the files say fits what the generator sends, text by text."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal

import pytest
from sandboxhelp import CLOCK

from sandbox import directory, plans
from sandbox.company import CLINIC, CONTACT_AREAS, CUSTOMERS, HARBOR, LANTERN
from sandbox.traffic import MESSAGE, SECONDS_PER_DAY, Clock, World, clock_at, midnight

DAYS = [date(2026, 3, 1) + timedelta(n) for n in range(253)]


@pytest.fixture(scope="module")
def plain():
    """The world of the command's defaults, in which everything worth showing is met."""
    return World(1)


def burns(world, account):
    """(moment, credits) of each charged text, in order, read off the cards."""
    for day in DAYS:
        texts = world.plan(MESSAGE, account, day)
        for index in range(texts.count):
            card = texts.card(index)
            if card.status != "failed":
                yield texts.start + texts.second(index), 1 if card.kind == "mms" else card.segments


def table(world, clock=CLOCK):
    found = directory.rows(world, clock)
    return {
        name: [dict(zip(directory.HEADERS[name], row, strict=True)) for row in lines] for name, lines in found.items()
    }


def moment(text):
    return int(datetime.fromisoformat(text).timestamp())


def run(world, subscription, purchases):
    """The account's credits text by text, as mission rule 8 has them: (expired at each reset, moments it fell below the
    threshold with the balance then, overage by moment)."""
    below, size = int(subscription["recharge_below"]), int(subscription["recharge_credits"])
    plan = next(p for p in table(world)["plans"] if p["plan_id"] == subscription["plan_id"])
    account = next(a for a in CUSTOMERS if a.account_id == subscription["account_id"])
    anchor = date.fromisoformat(subscription["anchor"])
    resets = [midnight(plans.reset_day(anchor, k)) for k in range(9)]
    bought = sorted((moment(p["bought_at"]), p["credits"]) for p in purchases if p["account_id"] == account.account_id)
    allotment = purchased = 0
    expired, falls, overage = [], [], []
    for at, credits in burns(world, account):
        if at < resets[0]:
            continue
        while len(expired) < len(resets) and at >= resets[len(expired)]:
            expired.append(allotment)
            allotment = plan["credits"]
        while bought and bought[0][0] <= at:
            purchased += bought.pop(0)[1]
        before = allotment + purchased
        of_allotment = min(allotment, credits)
        of_purchased = min(purchased, credits - of_allotment)
        allotment, purchased = allotment - of_allotment, purchased - of_purchased
        if before >= below > allotment + purchased:
            falls.append((at, allotment + purchased))
            if subscription["recharges"] == "simulated":
                purchased += size
        if credits > of_allotment + of_purchased:
            overage.append((at, credits - of_allotment - of_purchased))
    return expired[1:], falls, overage


def of_account(rows, account):
    return next(row for row in rows if row["account_id"] == account.account_id)


@pytest.mark.parametrize("seed", [1, 7])
def test_the_clinics_recharges_are_those_its_texts_set_off(seed):
    world = World(seed)
    told = table(world)
    subscription = of_account(told["subscriptions"], CLINIC)
    recharges = [moment(p["bought_at"]) for p in told["purchases"] if p["kind"] == "recharge"]
    packs = [p for p in told["purchases"] if p["kind"] == "pack"]
    _, falls, overage = run(world, subscription, told["purchases"])
    assert len(recharges) >= 8 and subscription["recharges"] == "observed"
    (declined,) = {at for at, _ in falls} - {at - plans.RECHARGE_SECONDS for at in recharges}
    assert {at - plans.RECHARGE_SECONDS for at in recharges} < {at for at, _ in falls}
    assert midnight(plans.DECLINED) <= declined
    bought = moment(packs[-1]["bought_at"])
    assert bought // SECONDS_PER_DAY - declined // SECONDS_PER_DAY == 2
    assert not [at for at in recharges if declined <= at <= bought]
    assert all(declined < at < bought for at, _ in overage)


def test_one_account_loses_credits_and_one_runs_out(plain):
    told = table(plain)
    harbor, clinic = (of_account(told["subscriptions"], a) for a in (HARBOR, CLINIC))
    expired, falls, overage = run(plain, harbor, told["purchases"])
    assert len(expired) == 7 and sum(e > 100 for e in expired) >= 2 and 0 in expired
    assert falls and not overage, "a simulated recharge comes in time"
    expired, falls, overage = run(plain, clinic, told["purchases"])
    assert 50 < sum(credits for _, credits in overage) < 2_000
    assert sum(e == 0 for e in expired) >= 4


def test_periods_keep_their_day_of_the_month():
    resets = [str(plans.reset_day(date(2026, 3, 31), k)) for k in range(12)]
    assert resets == [
        *("2026-03-31", "2026-04-30", "2026-05-31", "2026-06-30", "2026-07-31", "2026-08-31"),
        *("2026-09-30", "2026-10-31", "2026-11-30", "2026-12-31", "2027-01-31", "2027-02-28"),
    ]
    assert plans.reset_day(date(2026, 3, 15), 8) == date(2026, 11, 15)


def test_purchases_appear_as_time_passes(plain):
    whole = table(plain)["purchases"]
    assert [p["bought_at"] for p in whole] == sorted((p["bought_at"] for p in whole), key=moment)
    for today in (date(2026, 3, 31), date(2026, 7, 3), date(2026, 8, 12)):
        so_far = table(plain, clock_at(today, time(15)))["purchases"]
        assert so_far == [p for p in whole if moment(p["bought_at"]) <= midnight(today) + 54_000]
    (goodwill,) = [p for p in whole if p["kind"] == "goodwill"]
    assert (goodwill["price"], goodwill["account_id"]) == ("", "acct_harbor")
    at = moment(goodwill["bought_at"])
    assert goodwill in table(plain, Clock(at))["purchases"] and goodwill not in table(plain, Clock(at - 1))["purchases"]
    offsets = {p["bought_at"][-6:] for p in whole}
    assert offsets == {"+00:00", "-07:00"}
    assert all(Decimal(p["price"]) > 0 for p in whole if p["kind"] != "goodwill")


def test_the_files_agree_with_each_other(plain):
    told = table(plain)
    accounts = {a["account_id"]: a for a in told["accounts"]}
    plan_ids = {p["plan_id"] for p in told["plans"]}
    assert {s["plan_id"] for s in told["subscriptions"]} < plan_ids
    assert {s["account_id"] for s in told["subscriptions"]} == {"acct_harbor", "acct_clinic"}
    assert {p["account_id"] for p in told["purchases"]} < set(accounts)
    (refund,) = told["adjustments"]
    assert Decimal(refund["amount"]) < 0 and refund["account_id"] in accounts
    assert {p["interval"] for p in told["plans"]} == {"month", "year"}
    assert accounts["acct_lantern"]["tax_exempt"] == "all" and not accounts["acct_clinic"]["tax_exempt"]
    own = [n for n in told["numbers"] if n["monthly_price"]]
    assert len(own) == 1 and Decimal(own[0]["monthly_price"]) > 0
    for owner in told["owners"]:
        assert owner["identity"] == (owner["owner_id"] if owner["owner_kind"] == "member" else "")
    places = {p["prefix_e164"]: p["jurisdiction"] for p in told["places"]}
    for account in CUSTOMERS:
        state = accounts[account.account_id]["service_address"].rsplit("-", 1)[0]
        assert places[f"+1{account.area}"] == state
    others = {prefix[2:] for prefix in places} - {a.area for a in CUSTOMERS}
    assert others < set(CONTACT_AREAS) and others
    carriers = {c["prefix_e164"]: c["carrier"] for c in told["carriers"]}
    assert set(carriers.values()) == {"AT&T", "T-Mobile", "Verizon", "US Cellular", "Other"}
    assert len(LANTERN.members) == sum(
        o["account_id"] == "acct_lantern" and bool(o["identity"]) for o in told["owners"]
    )


def test_only_purchases_depend_on_seed_and_clock(plain):
    a, b = table(plain), table(World(7), clock_at(date(2026, 5, 1)))
    assert {name for name in a if a[name] != b[name]} == {"purchases"}
    assert a == table(World(1))


def test_plans_grow_with_the_volume():
    world = World(1, 10_000_000)
    told, by_default = table(world), table(World(1))
    assert plans.factor(world) == 6_000 and plans.factor(World(1, 40)) == plans.factor(World(1)) == 1
    assert plans.factor(World(1, 9_000)) == 10
    for name in ("plans", "subscriptions"):
        for row, plain in zip(told[name], by_default[name], strict=True):
            for column in {"credits", "recharge_below", "recharge_credits"} & set(row):
                assert row[column] == 6_000 * plain[column] < 10**9
    assert 20 < len(told["purchases"]) < 300
