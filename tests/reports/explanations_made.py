"""Explanations of made statements: every line with as much below it as a real one has, from no lake."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from etl.explain import CORRECTIONS, PARTS, Check, Explanation, called
from etl.statement import Statement

SHA = "793b9cc5d7f96258f4e6128e8dba71323e80c1f2a4b5d6e7f8091a2b3c4d5e6f"


def of(statement: Statement, *, examples: int = 5) -> tuple[Explanation, ...]:
    """One for each line, in the statement's order."""
    rows = list(statement.lines.iter_rows(named=True))
    return tuple(_one(statement, row, rows, examples) for row in rows)


def _one(statement: Statement, row: dict, rows: list[dict], examples: int) -> Explanation:
    days = statement.month.days
    start = {
        "account_id": statement.account.account_id, "month": statement.month, "line": row,
        "state": "closed", "partitions": tuple(_versions(statement)),
        "checks": (Check("the exact amount, rounded half-up once", row["amount"], row["amount"]),),
    }  # fmt: skip
    if row["section"] in PARTS or row["line"] in ("tax", "rounding"):
        parts = tuple(
            {"position": r["position"], "line": called(r), "amount_exact": r["amount_exact"], "amount": r["amount"]}
            for r in rows
            if r["section"] in ("usage", "tax")
        )
        return Explanation(**start, parts=parts)
    if row["section"] in CORRECTIONS:
        return Explanation(
            **start, below=({"reason": "late", "date": days[0], "records": 1, "charge": row["amount_exact"]},)
        )
    sums = {"records": 1, "quantity": row["quantity"] or 0, "charge": row["amount_exact"], "unrated": 0}
    price = {"price": Decimal("0.0125"), "currency": row["currency"], "prefix": "1", "valid_from": days[0]}
    return Explanation(
        **start,
        rates=({"rate_id": f"plan-{row['line']}-1", **sums, "file": "prices.csv", "row": price, "says": "1 × 0.0125"},),
        days=tuple({"date": day, **sums} for day in days),
        pages=tuple(
            {"date": day, "source": "twilio", "resource": "messages", "records": 9, "pages": 3, "sha256": [SHA] * 3,
             "pages_of_day": 4}
            for day in days
        ),
        records=tuple(
            {"record_id": f"SM{n:032x}", "kind": "message", "direction": "outbound", "type": "sms", "quantity": 1,
             "occurred_at": datetime(days[0].year, days[0].month, 1, n % 24, tzinfo=UTC), "unit": "segment",
             "charge": Decimal("0.0125"), "rate_id": "plan-1", "unrated": 0, "raw_sha256": SHA, "raw_index": n}
            for n in range(examples)
        ),
    )  # fmt: skip


def _versions(statement: Statement):
    month, days = statement.month, statement.month.days
    paths = [f"statement/month={month}", *(f"daily/date={day}" for day in days)]
    paths += [f"{dataset}/date={day}/source=twilio" for dataset in ("charges", "events", "raw") for day in days]
    for path in paths:
        yield {
            "partition": path, "seq": 1, "sha256": SHA, "rows": 9, "run_id": "scheduled__2026-11-01T03:00:00+00:00",
            "recorded_at": "2026-11-01T03:00:00.000000+00:00", "config": SHA, "code": SHA,
        }  # fmt: skip
