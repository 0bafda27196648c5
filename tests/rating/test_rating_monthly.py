"""What is charged by the month: against a slow reference in plain Python, and worked by hand."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rating_worlds import load_card, price

from etl.money import MONEY
from etl.periods import Month
from etl.rating import monthly, tiers
from etl.schemas import DATASETS

SEPTEMBER = Month(2026, 9)
NANO = Decimal("0.000000001")
ACCOUNTS = pl.DataFrame(
    {"account_id": ["acct_a", "acct_b"], "currency": ["USD", "USD"], "rate_card": ["standard", "other"]}
)
PRICES = [
    price("local-1", line="number", number_class="local", price=Decimal("1.15"), valid_to=date(2026, 9, 11)),
    price("local-2", line="number", number_class="local", price=Decimal("1.25"), valid_from=date(2026, 9, 11)),
    price("free-1", line="number", number_class="tollfree", price=Decimal("2.15")),
    price("local-ca", line="number", number_class="local", prefix="1604", price=Decimal("1.40")),
    price("b-any", rate_card="other", line="number", price=Decimal("0.333333333")),
    price("store", line="recording_storage", price=Decimal("0.0010")),
    price("over", line="credit_overage", price=Decimal("0.04")),
]
CARD = load_card(PRICES)
REGISTER = {
    "number_e164": pl.String, "account_id": pl.String, "owner_kind": pl.String, "owner_id": pl.String,
    "campaign_id": pl.String, "number_class": pl.String, "registered": pl.Boolean, "monthly_price": MONEY,
    "valid_from": pl.Date, "valid_to": pl.Date,
}  # fmt: skip
LISTED = {
    "date": pl.Date, "number_e164": pl.String, "account_id": pl.String, "owner_kind": pl.String, "owner_id": pl.String,
    "campaign_id": pl.String,
}  # fmt: skip


def register(*rows: tuple) -> pl.DataFrame:
    """(number, account, owner, class, own price, from, to) → `Directory.owned_numbers`."""
    full = [(n, a, "member", o, None, c, True, p, f, t) for n, a, o, c, p, f, t in rows]
    return pl.DataFrame(full, schema=REGISTER, orient="row")


def listed(*rows: tuple) -> pl.DataFrame:
    """(day, number, account) → what the provider listed, of nobody."""
    full = [(d, n, a, "unassigned", "unassigned", None) for d, n, a in rows]
    return pl.DataFrame(full, schema=LISTED, orient="row")


def charged(owned: pl.DataFrame, billing: str, until: date = SEPTEMBER.end) -> pl.DataFrame:
    parts = [monthly.numbers(owned, CARD, ACCOUNTS, SEPTEMBER, until, billing)]
    return monthly.monthly(parts, ACCOUNTS, "USD")


# ------------------------------------------------------------------------------------------------ reference


def number_price(card: str | None, number: str, number_class: str | None, day: date) -> tuple[str, Decimal] | None:
    """Longest prefix, then fewer wildcards, by looking at every row."""
    fitting = [
        (len(p["prefix"]), p["number_class"] is not None, p["rate_id"], p["price"])
        for p in PRICES
        if p["line"] == "number"
        and p["rate_card"] == card
        and p["valid_from"] <= day
        and (p["valid_to"] is None or day < p["valid_to"])
        and number.removeprefix("+").startswith(p["prefix"])
        and p["number_class"] in (None, number_class)
    ]
    return max(fitting)[2:] if fitting else None


def reference(register_rows: list, listed_rows: list, billing: str, until: date) -> dict:
    """(account, owner, class, rate) → [numbers, exact charge], number by number and day by day."""
    owned: dict[tuple[str, date], tuple] = {}
    for number, account, owner, number_class, own, start, end in register_rows:
        day = start
        while day < end:
            owned[number, day] = (account, owner, number_class, own)
            day += timedelta(days=1)
    for day, number, account in listed_rows:
        owned.setdefault((number, day), (account, "unassigned", None, None))
    cards = {"acct_a": "standard", "acct_b": "other"}
    lengths: dict[tuple, int] = defaultdict(int)
    last: dict[tuple, tuple] = {}
    for (number, day), (account, owner, number_class, own) in owned.items():
        if billing == "month_end" and day != until - timedelta(days=1):
            continue
        on = SEPTEMBER.days[-1] if billing == "month_end" else day
        found = number_price(cards.get(account), number, number_class, on)
        known = own is not None and account in cards
        rate, unit = ("numbers.csv", own) if known else found or (None, None)
        lengths[number, account, owner, number_class, rate, unit] += 1
        last[number, account] = max(last.get((number, account), (day,)), (day, owner, number_class, rate, unit))
    result: dict[tuple, list] = defaultdict(lambda: [0, Decimal(0)])
    for (number, account, owner, number_class, rate, unit), days in lengths.items():
        entry = result[account, owner, number_class, rate, unit, None if billing == "month_end" else days]
        # Several amounts of one number count it once, with the last of them.
        entry[0] += last[number, account][1:] == (owner, number_class, rate, unit)
        share = Decimal(1) if billing == "month_end" else Decimal(days) / 30
        exact = None if unit is None else (unit * days / 30 if billing == "days" else unit * share)
        entry[1] = None if exact is None or entry[1] is None else entry[1] + exact.quantize(NANO, ROUND_HALF_UP)
    return dict(result)


DAYS = st.integers(0, 30).map(lambda n: SEPTEMBER.first + timedelta(days=n))
NUMBERS = ("+12025550101", "+12025550102", "+16045550103", "+18005550104", "88811")


@st.composite
def worlds(draw):
    rows = []
    for number in NUMBERS:
        cuts = sorted(draw(st.sets(DAYS, min_size=2, max_size=4)))
        for start, end in zip(cuts, cuts[1:], strict=False):
            if draw(st.booleans()):
                owner = draw(st.sampled_from(["ann", "bob"]))
                account = draw(st.sampled_from(["acct_a", "acct_b", "acct_gone"]))
                own = draw(st.sampled_from([None, None, Decimal("9.99")]))
                rows.append((number, account, owner, draw(st.sampled_from(["local", "tollfree"])), own, start, end))
    seen = draw(st.sets(st.tuples(DAYS.filter(lambda d: d < SEPTEMBER.end), st.sampled_from(NUMBERS)), max_size=12))
    until = draw(DAYS.filter(lambda d: d > SEPTEMBER.first) | st.just(SEPTEMBER.end))
    clipped = [(*r[:5], r[5], min(r[6], until)) for r in rows if r[5] < until]
    return clipped, [(d, n, "acct_a") for d, n in sorted(seen) if d < until], until


@given(worlds(), st.sampled_from(["month_end", "days"]), st.randoms())
def test_numbers_cost_what_the_reference_says_in_any_order(world, billing, random) -> None:
    register_rows, listed_rows, until = world
    expected = reference(register_rows, listed_rows, billing, until)
    random.shuffle(register_rows)
    random.shuffle(listed_rows)
    owned = monthly.number_days(listed(*listed_rows), register(*register_rows))
    assert owned.select("number_e164", "date").is_duplicated().sum() == 0
    rows = charged(owned, billing, until)
    found = {
        (r["account_id"], r["owner_id"], r["item"], r["rate_id"], r["unit_price"], r["days"]): [
            r["quantity"],
            r["charge"],
        ]
        for r in rows.iter_rows(named=True)
    }
    assert found == expected
    unrated = rows.filter(pl.col("unrated").is_not_null())
    assert set(unrated["unrated"]) <= {"no account", "no price"}
    assert unrated["charge"].null_count() == unrated.height


# ------------------------------------------------------------------------------------------------ by hand


def test_a_number_released_mid_month_is_free_at_month_end_and_half_by_days() -> None:
    # Owned 1-15 September at 2.15: nothing at month end; 15/30 of 2.15 = 1.075 by days.
    owned = monthly.number_days(
        listed(), register(("+18005550104", "acct_a", "ann", "tollfree", None, date(2026, 9, 1), date(2026, 9, 16)))
    )
    assert charged(owned, "month_end").height == 0
    by_days = charged(owned, "days")
    assert (by_days["days"].item(), by_days["charge"].item()) == (15, Decimal("1.075"))


def test_a_price_change_inside_the_month() -> None:
    # Local: 1.15 for 10 days, 1.25 for 20: 0.383333333 + 0.833333333. At month end the price of the 30th counts: 1.25.
    owned = monthly.number_days(
        listed(), register(("+12025550101", "acct_a", "ann", "local", None, SEPTEMBER.first, SEPTEMBER.end))
    )
    by_days = charged(owned, "days").sort("rate_id")
    assert by_days["charge"].to_list() == [Decimal("0.383333333"), Decimal("0.833333333")]
    assert charged(owned, "month_end")["charge"].to_list() == [Decimal("1.25")]


def test_an_open_month_shows_what_is_owned_on_the_last_day_loaded() -> None:
    number = ("+12025550101", "acct_a", "ann", "local", None, SEPTEMBER.first, date(2026, 9, 9))
    owned = monthly.number_days(listed((date(2026, 9, 8), "+16045550103", "acct_a")), register(number))
    rows = charged(owned, "month_end", until=date(2026, 9, 9))
    assert dict(rows.select("item", "quantity").iter_rows()) == {"local": 1, None: 1}
    assert rows.filter(pl.col("item") == "local")["unit_price"].item() == Decimal("1.25")
    # The other is a number the directory does not list: no class, so only a row for any class could price it.
    assert rows.filter(pl.col("item").is_null())["unrated"].to_list() == ["no price"]


def test_number_lines_are_of_the_last_day_whenever_the_month_is_looked_at() -> None:
    """Taxes are those of that day, and a month half loaded must not be taxed by another."""
    number = ("+12025550101", "acct_a", "ann", "local", Decimal("9.99"), SEPTEMBER.first, SEPTEMBER.end)
    owned = monthly.number_days(listed(), register(number))
    for billing, until, days in (
        ("month_end", SEPTEMBER.end, None),
        ("month_end", date(2026, 9, 9), None),
        ("days", SEPTEMBER.end, 30),
    ):
        (row,) = charged(owned, billing, until).iter_rows(named=True)
        assert {k: v for k, v in row.items() if v is not None} == {
            "account_id": "acct_a", "owner_kind": "member", "owner_id": "ann", "line": "number", "item": "local",
            "date": date(2026, 9, 30), "quantity": 1, "unit": "number", "rate_id": "numbers.csv",
            "unit_price": Decimal("9.99"), "charge": Decimal("9.99"), "currency": "USD", "taxable": True,
        } | ({"days": days} if days else {})  # fmt: skip


def test_a_number_listed_twice_on_a_day_is_one_number_of_the_first() -> None:
    day = date(2026, 9, 8)
    owned = monthly.number_days(
        listed((day, "+12025550101", "acct_b"), (day, "+12025550101", "acct_a"), (day, "+12025550102", "acct_a")),
        register(),
    )
    assert sorted(owned.select("number_e164", "account_id").rows()) == [
        ("+12025550101", "acct_b"),
        ("+12025550102", "acct_a"),
    ]


def recordings(*rows: tuple) -> pl.DataFrame:
    """(id, day, minutes, held until) as charges of kind recording."""
    return pl.DataFrame(
        [("twilio", d, i, "acct_a", "member", "ann", None, u, False, m) for i, d, m, u in rows],
        schema={
            "source": pl.String, "date": pl.Date, "record_id": pl.String, "account_id": pl.String,
            "owner_kind": pl.String, "owner_id": pl.String, "campaign_id": pl.String,
            "held_until": pl.Datetime("us", "UTC"), "vanished": pl.Boolean, "quantity": pl.Int64,
        },
        orient="row",
    )  # fmt: skip


def stored(holdings: pl.DataFrame, month: Month) -> list:
    rows = monthly.monthly([monthly.storage(holdings, CARD, ACCOUNTS, month)], ACCOUNTS, "USD")
    return rows.select("quantity", "charge").rows()


def test_a_recording_costs_in_every_month_it_is_stored() -> None:
    # a: 3 minutes, kept. b: 10 minutes, deleted 1 October 00:00:01. c: 2 minutes, deleted in its own month.
    gone = datetime(2026, 10, 1, 0, 0, 1, tzinfo=UTC)
    september = monthly.held(
        DATASETS["holdings"].empty(),
        recordings(
            ("a", date(2026, 9, 3), 3, None),
            ("b", date(2026, 9, 4), 10, gone),
            ("c", date(2026, 9, 5), 2, datetime(2026, 9, 7, tzinfo=UTC)),
        ),
        SEPTEMBER,
    )
    assert stored(september, SEPTEMBER) == [(15, Decimal("0.015"))]
    october = monthly.held(september, recordings(("d", date(2026, 10, 2), 1, None)), Month(2026, 10))
    assert stored(october, Month(2026, 10)) == [(14, Decimal("0.014"))]
    november = monthly.held(october, recordings(), Month(2026, 11))
    assert sorted(november["record_id"]) == ["a", "d"]
    # Read again, a recording takes the place of what was known of it.
    again = monthly.held(september, recordings(("a", date(2026, 9, 3), 4, None)), SEPTEMBER)
    assert again.filter(pl.col("record_id") == "a")["minutes"].to_list() == [4]


def test_a_recording_deleted_at_midnight_or_listed_no_more_is_not_of_the_month() -> None:
    midnight = datetime(2026, 10, 1, tzinfo=UTC)
    known = recordings(
        ("at midnight", date(2026, 9, 3), 1, midnight),
        ("just after", date(2026, 9, 3), 1, midnight + timedelta(microseconds=1)),
        ("vanished", date(2026, 9, 3), 1, None),
        ("vanished, deleted later", date(2026, 9, 3), 1, midnight + timedelta(days=1)),
        ("kept", date(2026, 9, 3), 1, None),
    ).with_columns(vanished=pl.col("record_id").str.starts_with("vanished"))
    september = monthly.held(DATASETS["holdings"].empty(), known, SEPTEMBER)
    october = monthly.held(september, recordings(), Month(2026, 10))
    assert sorted(october["record_id"]) == ["just after", "kept", "vanished, deleted later"]


def test_storage_is_one_line_an_owner_on_the_last_day() -> None:
    holdings = monthly.held(DATASETS["holdings"].empty(), recordings(("a", date(2026, 9, 3), 3, None)), SEPTEMBER)
    (row,) = monthly.monthly([monthly.storage(holdings, CARD, ACCOUNTS, SEPTEMBER)], ACCOUNTS, "EUR").iter_rows(
        named=True
    )
    assert {k: v for k, v in row.items() if v is not None} == {
        "account_id": "acct_a", "owner_kind": "member", "owner_id": "ann", "line": "recording_storage",
        "date": date(2026, 9, 30), "quantity": 3, "unit": "stored minute", "rate_id": "store",
        "unit_price": Decimal("0.001"), "charge": Decimal("0.003"), "currency": "USD", "taxable": True,
    }  # fmt: skip


def test_overage_is_priced_by_day_and_never_zero_without_a_price() -> None:
    entries = [("acct_a", date(2026, 9, 3), 25), ("acct_a", date(2026, 9, 4), 5), ("acct_b", date(2026, 9, 4), 1)]
    ledger = pl.DataFrame(
        [(a, d, "overage", c) for a, d, c in entries],
        schema={"account_id": pl.String, "date": pl.Date, "entry": pl.String, "credits": pl.Int64},
        orient="row",
    )
    rows = monthly.monthly([monthly.overage(ledger, CARD, ACCOUNTS)], ACCOUNTS, "USD")
    assert rows.filter(pl.col("account_id") == "acct_a").select(
        "owner_kind", "owner_id", "campaign_id", "line", "date", "unit", "rate_id", "unit_price"
    ).rows() == [
        ("unassigned", "unassigned", None, "credit_overage", date(2026, 9, d), "credit", "over", Decimal("0.04"))
        for d in (3, 4)
    ]
    assert rows.select("account_id", "quantity", "charge", "unrated").rows() == [
        ("acct_a", 25, Decimal("1.00"), None),
        ("acct_a", 5, Decimal("0.20"), None),
        ("acct_b", 1, None, "no price"),
    ]


def test_a_charge_too_large_is_refused_and_names_the_account() -> None:
    holdings = monthly.held(DATASETS["holdings"].empty(), recordings(("a", date(2026, 9, 3), 10**15, None)), SEPTEMBER)
    with pytest.raises(ValueError, match="acct_a"):
        stored(holdings, SEPTEMBER)


# ------------------------------------------------------------------------------------------------ ladders, products


LADDER_CARD = load_card(
    [
        price("sms", line="text", type="sms"),
        price("talk", line="call", connection_fee=Decimal("0.5")),
    ]
)
LADDER_CARD = replace(
    LADDER_CARD,
    prices=LADDER_CARD.prices.with_columns(tier_id=pl.col("rate_id").replace({"sms": "steps", "talk": "minutes"})),
)


def laddered(list_amount: str, charged: str, events: int, tier: str = "steps", rate: str = "sms") -> dict:
    """One account, whose days were charged so much, and whose ladder says 1.00 less than the list price."""
    adjustments = pl.DataFrame(
        [("acct_a", tier, "USD", "text", 9, Decimal(list_amount), Decimal(0), Decimal(0), Decimal("-1.00"))],
        schema=tiers.SCHEMA,
        orient="row",
    )
    daily = pl.DataFrame(
        [("acct_a", rate, Decimal(charged), events), ("acct_b", rate, Decimal(7), 1)],
        schema={"account_id": pl.String, "rate_id": pl.String, "charge": MONEY, "events": pl.Int64},
        orient="row",
    )
    return monthly.tiered(adjustments, daily, LADDER_CARD, SEPTEMBER).row(0, named=True)


def test_a_ladder_is_one_line_of_the_account_on_the_last_day_of_the_month() -> None:
    row = laddered("5.00", "5.00", 3)
    assert {k: v for k, v in row.items() if v is not None} == {
        "account_id": "acct_a", "owner_kind": "unassigned", "owner_id": "unassigned", "line": "tier_adjustment",
        "item": "text", "date": date(2026, 9, 30), "quantity": 1, "unit": "adjustment", "rate_id": "steps",
        "charge": Decimal("-1.00"), "currency": "USD", "taxable": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("charged", "events", "unrated"),
    [
        ("5.000000003", 3, None),
        ("4.999999997", 3, None),
        ("5.000000004", 3, "no price"),
        ("4.999999996", 3, "no price"),
    ],
)
def test_days_rated_with_another_card_make_a_ladder_unrated(charged, events, unrated) -> None:
    """Each event was rounded to a billionth: as many billionths may lie between the two sums, and no more."""
    row = laddered("5.00", charged, events)
    assert row["unrated"] == unrated
    assert row["charge"] == (None if unrated else Decimal("-1.00"))


def test_a_ladder_stands_where_no_day_says_what_was_charged() -> None:
    adjustments = pl.DataFrame(
        [("acct_a", "steps", "USD", "text", 9, Decimal(5), Decimal(4), Decimal(0), Decimal(-1))],
        schema=tiers.SCHEMA,
        orient="row",
    )
    nothing = pl.DataFrame(schema={"account_id": pl.String, "rate_id": pl.String, "charge": MONEY, "events": pl.Int64})
    assert monthly.tiered(adjustments, nothing, LADDER_CARD, SEPTEMBER)["charge"].to_list() == [Decimal(-1)]


def test_what_was_charged_with_a_connection_fee_is_not_held_against_the_list_price() -> None:
    assert laddered("5.00", "6.50", 3, "minutes", "talk")["charge"] == Decimal("-1.00")


def test_an_adjustment_is_one_line_as_it_was_entered() -> None:
    given = pl.DataFrame(
        [("acct_a", "adj-1", date(2026, 9, 5), Decimal("-3.25"), "EUR", False, "goodwill")],
        schema={
            "account_id": pl.String, "adjustment_id": pl.String, "date": pl.Date, "amount": MONEY,
            "currency": pl.String, "taxable": pl.Boolean, "reason": pl.String,
        },
        orient="row",
    )  # fmt: skip
    (row,) = monthly.monthly([monthly.adjusted(given)], ACCOUNTS, "USD").iter_rows(named=True)
    assert {k: v for k, v in row.items() if v is not None} == {
        "account_id": "acct_a", "owner_kind": "unassigned", "owner_id": "unassigned", "line": "adjustment",
        "item": "goodwill", "date": date(2026, 9, 5), "quantity": 1, "unit": "adjustment", "rate_id": "adj-1",
        "charge": Decimal("-3.25"), "currency": "EUR", "taxable": False,
    }  # fmt: skip


FEES = {
    "account_id": pl.String, "subscription_id": pl.String, "plan_id": pl.String, "name": pl.String, "date": pl.Date,
    "quantity": pl.Int64, "price": MONEY, "currency": pl.String,
}  # fmt: skip
PACKS = {
    "account_id": pl.String, "purchase_id": pl.String, "kind": pl.String, "bought_at": pl.Datetime("us", "UTC"),
    "credits": pl.Int64, "price": MONEY, "currency": pl.String,
}  # fmt: skip
LEDGER = {
    "account_id": pl.String, "date": pl.Date, "entry": pl.String, "credits": pl.Int64, "simulated": pl.Boolean,
    "subscription_id": pl.String,
}  # fmt: skip
TERMS = {"subscription_id": pl.String, "recharge_credits": pl.Int64, "recharge_price": MONEY}
BOUGHT = (
    "account_id",
    "line",
    "item",
    "date",
    "quantity",
    "unit",
    "rate_id",
    "unit_price",
    "charge",
    "currency",
    "unrated",
)


def sold(fees=(), packs=(), ledger=(), terms=()) -> list[tuple]:
    frames = (
        pl.DataFrame(list(rows), schema=schema, orient="row")
        for rows, schema in ((fees, FEES), (packs, PACKS), (ledger, LEDGER), (terms, TERMS))
    )
    return monthly.monthly([monthly.products(*frames)], ACCOUNTS, "EUR").select(BOUGHT).rows()


def test_a_subscription_costs_its_price_for_each_of_it_and_without_a_price_is_never_free() -> None:
    day = date(2026, 9, 12)
    rows = sold(
        fees=[
            ("acct_a", "sub-1", "team", "Team", day, 3, Decimal("19.99"), "USD"),
            ("acct_b", "sub-2", "team", "Team", day, 1, None, None),
            ("acct_gone", "sub-3", "team", "Team", day, 1, Decimal(1), None),
        ]
    )
    assert rows == [
        (
            "acct_a",
            "subscription",
            "Team",
            day,
            3,
            "subscription",
            "sub-1",
            Decimal("19.99"),
            Decimal("59.97"),
            "USD",
            None,
        ),
        ("acct_b", "subscription", "Team", day, 1, "subscription", "sub-2", None, None, "USD", "no price"),
        ("acct_gone", "subscription", "Team", day, 1, "subscription", "sub-3", Decimal(1), Decimal(1), "EUR", None),
    ]


def test_a_pack_is_charged_on_the_utc_day_it_was_bought() -> None:
    moment = datetime(2026, 9, 12, 23, 59, 59, 999_999, tzinfo=UTC)
    assert sold(packs=[("acct_a", "buy-1", "pack", moment, 500, Decimal("20.00"), "USD")]) == [
        (
            "acct_a",
            "credit_pack",
            "500 credits, pack",
            date(2026, 9, 12),
            1,
            "pack",
            "buy-1",
            Decimal(20),
            Decimal(20),
            "USD",
            None,
        )
    ]


def test_recharges_we_simulated_are_charged_by_the_day_at_the_newest_terms() -> None:
    day, other = date(2026, 9, 12), date(2026, 9, 13)
    rows = sold(
        ledger=[
            ("acct_a", day, "recharge", 2000, True, "sub-1"),
            ("acct_a", day, "recharge", 1000, True, "sub-1"),
            ("acct_a", other, "recharge", 1000, True, "sub-1"),
            # Reported by the provider, so it stands among the packs; and what is no recharge at all.
            ("acct_a", day, "recharge", 1000, False, "sub-1"),
            ("acct_a", day, "burn", -1000, True, "sub-1"),
            ("acct_b", day, "recharge", 1000, True, "sub-2"),
        ],
        terms=[("sub-1", 1000, Decimal(30)), ("sub-1", 1000, Decimal(35)), ("sub-2", 1000, None)],
    )
    item = "1000 credits, recharge (simulated)"
    assert rows == [
        ("acct_a", "credit_pack", item, day, 3, "pack", "sub-1", Decimal(35), Decimal(105), "USD", None),
        ("acct_a", "credit_pack", item, other, 1, "pack", "sub-1", Decimal(35), Decimal(35), "USD", None),
        ("acct_b", "credit_pack", item, day, 1, "pack", "sub-2", None, None, "USD", "no price"),
    ]
