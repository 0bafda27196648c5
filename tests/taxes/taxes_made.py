"""Tax rules, usage and accounts made up for tests: one by one with sensible defaults, and at random."""

from __future__ import annotations

import csv
import tempfile
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
from hypothesis import strategies as st

from etl import taxes
from etl.money import MONEY

FIRST = date(2026, 10, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(4)]

BASE_TYPES = {
    "account_id": pl.String, "line": pl.String, "item": pl.String, "direction": pl.String, "type": pl.String,
    "carrier": pl.String, "registered": pl.Boolean, "unit": pl.String, "currency": pl.String, "date": pl.Date,
    "caller_place": pl.String, "callee_place": pl.String, "quantity": pl.Int64, "amount_exact": MONEY,
    "product": pl.Boolean,
}  # fmt: skip
ACCOUNT_TYPES = {
    "account_id": pl.String, "service_address": pl.String, "tax_exempt": pl.List(pl.String), "currency": pl.String
}  # fmt: skip
UNITS = {
    "call": "second",
    "text": "segment",
    "number": "number",
    "subscription": "subscription",
    "adjustment": "adjustment",
}


def rule(tax_id: str = "vat", **given) -> dict:
    """A row of taxes.csv: 10 % of calls and texts in the US."""
    row = {
        "tax_id": tax_id, "level": "federal", "jurisdiction": "US", "name": f"Tax {tax_id}", "kind": "percent",
        "rate": "10", "lines": "call;text", "share": "", "sourcing": "service_address", "compound": "false",
        "valid_from": "2026-01-01", "valid_to": "", "recorded_at": "2026-01-01", "note": "",
    }  # fmt: skip
    assert not set(given) - set(row)
    return row | given


def written(folder: Path, *rules: dict) -> Path:
    with (folder / "taxes.csv").open("w", encoding="utf-8", newline="") as out:
        table = csv.DictWriter(out, taxes.COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rules)
    return folder


def load(*rules: dict) -> taxes.TaxRules:
    with tempfile.TemporaryDirectory() as folder:
        return taxes.load(written(Path(folder), *rules))


def base(amount: str | None = "0", line: str = "text", **given) -> dict:
    """One row of usage: of account acme, in dollars, on the first of October 2026."""
    row = {
        "account_id": "acme", "line": line, "item": None, "direction": "outbound", "type": None, "carrier": None,
        "registered": None, "unit": UNITS[line], "currency": "USD", "date": FIRST, "caller_place": None,
        "callee_place": None, "quantity": 1, "amount_exact": None if amount is None else Decimal(amount),
        "product": False,
    }  # fmt: skip
    assert not set(given) - set(row)
    return row | given


def account(account_id: str = "acme", service_address: str | None = "US-WA-SEATTLE", *exempt: str) -> dict:
    return {
        "account_id": account_id, "service_address": service_address, "tax_exempt": list(exempt), "currency": "USD"
    }  # fmt: skip


def frame(bases: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(bases, schema=BASE_TYPES, orient="row")


def accounts_frame(accounts: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(accounts, schema=ACCOUNT_TYPES, orient="row")


def due(
    bases: list[dict], *rules: dict, accounts=None, rounding: str = "per_line", as_of: date | None = None
) -> pl.DataFrame:
    known = accounts_frame([account()] if accounts is None else accounts)
    return taxes.due(frame(bases), load(*rules), known, rounding, as_of)


def detail(bases: list[dict], *rules: dict, accounts=None, as_of: date | None = None) -> pl.DataFrame:
    return taxes.detail(
        frame(bases), load(*rules), accounts_frame([account()] if accounts is None else accounts), as_of
    )


# ------------------------------------------------------------------------------------------------ at random

PLACES = ("US", "US-WA", "US-W", "US-WA-SEATTLE", "US-WASH", "CA", "U", "US-WA-SEATTLE-NORTH")
ADDRESSES = st.sampled_from(["US-WA-SEATTLE", "US-WA-SEATTLE", "US-WA", *PLACES, None])
LINES = tuple(UNITS)
EXEMPTIONS = ("federal", "state", "local", "other", "all", "t1", "t2", "t3")
DECIMALS = st.one_of(
    st.sampled_from(["6.5", "10", "37.6", "9.975", "33.333333333", "0.5", "1", "150", "0.000000001", "0"]),
    st.integers(0, 10**11).map(lambda units: format(Decimal(units).scaleb(-9), "f")),
)
# Halves of a cent, of a nano-unit of tax, refunds, and sizes that make sums large.
AMOUNTS = st.one_of(
    st.sampled_from([Decimal(t) for t in ("0.05", "0.15", "-0.05", "0.000000005", "-0.000000005", "100", "0.1", "0")]),
    st.integers(1, 300).map(lambda units: Decimal(units).scaleb(-2)),
    st.integers(-(10**13), 10**13).map(lambda units: Decimal(units).scaleb(-9)),
    st.none(),
)


@st.composite
def rule_rows(draw) -> list[dict]:
    """Versions of up to four taxes, all valid together: what one tax records at a time does not overlap, and only the
    last tax may be compound."""
    rows = []
    stacked = draw(st.sampled_from([True, True, False]))
    starts = st.tuples(st.sampled_from([-2, -1, 0, 0, 1, 2]), st.sampled_from([0, 0, 1, 2, 5]))
    for n, tax_id in enumerate(("t0", "t1", "t2", "t3")):
        compound = n == 3 and stacked
        versions = draw(st.lists(starts, min_size=n % 2, max_size=3, unique=True))
        taken: dict[int, list] = {}
        for start, recorded in sorted(versions):
            last = taken.setdefault(recorded, [])
            end = draw(st.sampled_from([None, start + 1, start + 3, start + 4]))
            if last and (last[-1] is None or last[-1] > start):
                continue
            last.append(end)
            kind = "percent" if compound else draw(st.sampled_from(["percent", "percent", "per_unit"]))
            lines = draw(st.lists(st.sampled_from(LINES), min_size=2, unique=True))
            rows.append(
                rule(
                    tax_id,
                    level=draw(st.sampled_from(["federal", "state", "local", "other"])),
                    jurisdiction=draw(st.sampled_from(("US", "US", "US-WA", *PLACES))),
                    kind=kind,
                    rate=draw(DECIMALS),
                    lines=";".join(lines),
                    share=draw(st.sampled_from(["", "1", "0.649", "0", "0.333333333", "0.5"])),
                    sourcing=draw(st.sampled_from(taxes.SOURCINGS)),
                    compound=str(compound).lower(),
                    valid_from=str(FIRST + timedelta(days=start)),
                    valid_to="" if end is None else str(FIRST + timedelta(days=end)),
                    recorded_at=str(FIRST + timedelta(days=recorded)),
                )
            )
    return draw(st.permutations(rows))


@st.composite
def _base_row(draw) -> dict:
    line = draw(st.sampled_from(LINES))
    return base(None, line) | {
        "account_id": draw(st.sampled_from(["acme", "blue"])),
        "amount_exact": draw(AMOUNTS),
        "quantity": draw(st.integers(-100, 10_000)),
        "date": draw(st.sampled_from(DAYS)),
        "caller_place": draw(ADDRESSES),
        "callee_place": draw(ADDRESSES),
        "direction": draw(st.sampled_from([None, "inbound", "outbound"])),
        "item": draw(st.sampled_from([None, "goodwill"])),
        "registered": draw(st.sampled_from([None, True])),
        "product": line == "subscription",
    }


@st.composite
def base_rows(draw) -> list[dict]:
    currency = {a: draw(st.sampled_from(["USD", "JPY", "KWD"])) for a in ("acme", "blue")}
    rows = draw(st.lists(_base_row(), min_size=2, max_size=10))
    return [row | {"currency": currency[row["account_id"]]} for row in rows]


@st.composite
def account_rows(draw) -> list[dict]:
    return [
        account(name, draw(ADDRESSES), *draw(st.sampled_from([[], [], []] + [[e] for e in EXEMPTIONS])))
        for name in ("acme", "blue", "idle")
    ]


def typed(rule: dict) -> dict:
    """A row of taxes.csv as the clerk reads it."""
    day = {c: date.fromisoformat(rule[c]) if rule[c] else None for c in ("valid_from", "valid_to", "recorded_at")}
    return rule | day | {
        "rate": Decimal(rule["rate"]),
        "share": Decimal(rule["share"] or 1),
        "lines": rule["lines"].split(";"),
        "compound": rule["compound"] == "true",
    }  # fmt: skip
