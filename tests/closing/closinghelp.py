"""What the tests of closing do to September."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
from statement_made import MIA, SEPTEMBER, at, load_day, on, open_jobs, text

from etl.lake import Partition
from etl.schemas import DATASETS

DAY = date(2026, 9, 20)
WHOLE = ["acme", "bolt", "cove", "kiri"]
"""The accounts that nothing holds in this September; dune has a text nobody has priced."""


def held(jobs, **options) -> dict[str, tuple[str, ...]]:
    """account → why it stays open; empty when it closed."""
    return {c.account_id: c.held for c in jobs.close(SEPTEMBER, **options)}


def configure(settings: Path, old: str, new: str) -> Path:
    content = settings.read_text()
    assert old in content
    settings.write_text(content.replace(old, new))
    return settings


def told(jobs, day: date, *rows: tuple, account: str = "AC1") -> None:
    """The provider's totals of a day (category, count, usage, unit[, cost]), compared with ours."""
    ledger = DATASETS["ledger"]
    made = [
        {"provider_account": account, "category": category, "count": count, "count_unit": "records",
         "usage": Decimal(usage), "usage_unit": unit, "cost": Decimal(*cost or ["0"]), "currency": "USD"}
        for category, count, usage, unit, *cost in rows
    ]  # fmt: skip
    at_day = Partition.of("ledger", date=day, source="twilio")
    frame = ledger.arrange(pl.DataFrame(made, schema=ledger.types))
    jobs.lake.commit(at_day, frame, base=jobs.lake.head(at_day))
    jobs.compare(day, "twilio")


def tell_the_rest(jobs, but: date = DAY) -> None:
    """Every other day compared too; the provider says nothing of them."""
    for day in SEPTEMBER.days:
        if day != but:
            told(jobs, day)


def rewrite(jobs, dataset: str, change, **keys) -> None:
    """Commit other rows to a partition, past the contract that its job would hold them to."""
    at_ = Partition.of(dataset, **keys)
    head = jobs.lake.head(at_)
    jobs.lake.commit(at_, change(jobs.lake.read(head).drop(at_.names)), base=head, inputs=head.inputs, sums=head.sums)


def of_record(record_id: str, column: str, value) -> pl.Expr:
    return pl.when(pl.col("record_id") == record_id).then(pl.lit(value)).otherwise(column).alias(column)


def miscount(jobs, record_id: str = "a4") -> None:
    """The least that breaks a promise to one account: a text whose reported segments are not those billed."""
    rewrite(
        jobs, "events", lambda f: f.with_columns(of_record(record_id, "segments_reported", 9).cast(f.schema["segments"])),
        date=DAY, source="twilio",
    )  # fmt: skip


def late(settings: Path, run_id: str = "late", segments: int = 9, record_id: str = "late"):
    """A text of DAY that arrives after closing; the verbs of that run."""
    jobs = open_jobs(settings, run_id, date(2026, 10, 20))
    load_day(jobs, DAY, [*on(DAY), text(record_id, at(20, "13:00:00"), MIA, segments=segments)])
    jobs.restate([SEPTEMBER])
    return jobs
