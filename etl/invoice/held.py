"""What we hold of a month in the provider's categories: our records, its daily totals, the numbers. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime
from decimal import Decimal

import polars as pl

from etl.money import MONEY, nanos

FAILED = "failed-message-processing-fee"
WHOLES = ("sms", "mms", "calls", "recordings", FAILED)
"""Categories our records speak of; texts and calls also as ``-inbound`` and ``-outbound``."""

UNITS = {"sms": "segments", "mms": "messages", "calls": "minutes", "recordings": "minutes", FAILED: "messages"}
COUNTED = {"sms": "messages", "mms": "messages", "calls": "calls", "recordings": "recordings", FAILED: "messages"}
"""Category → what one record of it is called."""

TOLERANCE = Decimal("0.01")
EVENTS = (
    "record_id", "kind", "outcome", "provider_account", "direction", "type", "status", "occurred_at", "updated_at",
    "segments", "answered_seconds", "provider_cost", "provider_currency", "vanished",
)  # fmt: skip
"""The columns of `schemas.Events` that an invoice is held against: no body, no party's number."""

_WIDE = pl.Decimal(38, MONEY.scale)
_KEY = ("provider_account", "category")


@dataclass(frozen=True)
class Ours:
    """Our records of one category. The first three are those with a price; money is Decimal, the rest whole."""

    records: int = 0
    quantity: int = 0
    cost: Decimal = Decimal(0)
    unpriced: int = 0
    waiting: int = 0
    """Quantity of the records without a price."""
    late_records: int = 0
    """Of the priced ones, those that came or changed after the invoice was made."""
    late_quantity: int = 0
    late_cost: Decimal = Decimal(0)
    vanished_records: int = 0
    """Priced ones no longer listed at the source, counted apart from the above."""
    vanished_quantity: int = 0
    vanished_cost: Decimal = Decimal(0)
    failed_records: int = 0
    """Failed messages that carry a price all the same, counted apart too."""
    failed_quantity: int = 0
    failed_cost: Decimal = Decimal(0)
    dearest: Decimal = Decimal(0)
    """The highest price of one unit."""
    dearest_record: Decimal = Decimal(0)

    def by_record(self) -> Ours:
        """The same with records as quantity, for an invoice that counts messages."""
        return replace(
            self, quantity=self.records, waiting=self.unpriced, late_quantity=self.late_records,
            vanished_quantity=self.vanished_records, failed_quantity=self.failed_records, dearest=self.dearest_record,
        )  # fmt: skip


_FIGURES = tuple(f.name for f in fields(Ours))


@dataclass(frozen=True)
class Totals:
    """The provider's own daily totals of one category, summed."""

    cost: Decimal
    usage: Decimal | None
    unit: str | None


def records(events: pl.DataFrame) -> pl.DataFrame:
    """`EVENTS` columns → one row per record and category it is charged in: record_id, provider_account, occurred_at,
    updated_at, status, category, part (with its direction, or null), quantity (segments, messages or started minutes),
    cost, currency, priced, state: ``counted``, ``vanished`` (no longer listed) or ``failed`` (failed, yet it has a
    price).

    What is counted is what `etl.reconcile.ours` counts.
    """
    kept = events.filter(pl.col("outcome") == "accepted")
    message, failed = pl.col("kind") == "message", pl.col("status") == "failed"
    text = message & pl.col("type").is_in(["sms", "mms"])
    answered = (pl.col("kind") == "call") & (pl.col("answered_seconds") > 0)
    priced = pl.col("provider_cost").is_not_null()
    minutes = ((pl.col("answered_seconds") + 59) // 60).fill_null(0)
    per_text = pl.when(pl.col("type") == "sms").then(pl.col("segments").fill_null(0)).otherwise(1)
    state = pl.when("vanished").then(pl.lit("vanished")).otherwise(pl.lit("counted"))
    directed = pl.col("category") + "-" + pl.col("direction")

    def rows(which: pl.Expr, category: pl.Expr, quantity: pl.Expr, **more: pl.Expr) -> pl.DataFrame:
        given = {"cost": pl.col("provider_cost"), "priced": priced, "state": state, "part": directed, **more}
        return (
            kept.filter(which)
            .with_columns(category=category, quantity=quantity.cast(pl.Int64))
            .select(
                "record_id", "provider_account", "occurred_at", "updated_at", "status", "category", "quantity",
                currency="provider_currency", **given,
            )
        )  # fmt: skip

    none, one = pl.lit(None, pl.String), pl.lit(1, pl.Int64)
    return pl.concat(
        [
            rows(text & ~failed, pl.col("type"), per_text),
            rows(answered, pl.lit("calls"), minutes),
            rows(pl.col("kind") == "recording", pl.lit("recordings"), minutes, part=none),
            # The fee of a failed message stands in the provider's totals only, never on the record.
            rows(message & failed, pl.lit(FAILED), one, part=none, priced=pl.lit(True), cost=pl.lit(0).cast(MONEY)),
            rows(text & failed & (pl.col("provider_cost") != 0), pl.col("type"), per_text, state=pl.lit("failed")),
        ]
    )


def tally(events: pl.DataFrame, day: date, as_of: datetime | None = None) -> pl.DataFrame:
    """`EVENTS` columns of one day → date, provider_account, category and the figures of `Ours`, one row for each
    account and category, whole and by direction. ``as_of``: records of later than that are late."""
    found = records(events)
    by_part = found.filter(pl.col("part").is_not_null()).with_columns(category="part")
    late = pl.max_horizontal("occurred_at", "updated_at") > as_of if as_of else pl.lit(False)
    counted = (pl.col("state") == "counted") & pl.col("priced")
    cost, per = nanos(pl.col("cost")), pl.col("quantity")
    sets = {
        "": counted,
        "late_": counted & late.fill_null(False),
        "vanished_": (pl.col("state") == "vanished") & pl.col("priced"),
        "failed_": pl.col("state") == "failed",
    }
    waiting = (pl.col("state") == "counted") & ~pl.col("priced")
    every = pl.concat([found, by_part]).with_columns(
        cost=pl.col("cost").cast(_WIDE),
        # Rounded up: a bound must not be too low.
        _each=pl.when(counted & (per > 0)).then((cost + per - 1) // per),
        _one=pl.when(counted).then(cost),
    )
    sums = {
        f"{prefix}{name}": value
        for prefix, which in sets.items()
        for name, value in (
            ("records", which.sum().cast(pl.Int64)),
            ("quantity", per.filter(which).sum()),
            ("cost", pl.col("cost").filter(which).sum()),
        )
    }
    return (
        every.group_by(*_KEY)
        .agg(
            **sums,
            unpriced=waiting.sum().cast(pl.Int64),
            waiting=per.filter(waiting).sum(),
            dearest=pl.col("_each").max().fill_null(0),
            dearest_record=pl.col("_one").max().fill_null(0),
        )
        .select(pl.lit(day).alias("date"), *_KEY, *_FIGURES)
        .sort(*_KEY)
    )


@dataclass(frozen=True)
class Held:
    """A month as we hold it. ``tallies``: rows of `tally`; ``totals``: `schemas.Ledger` with ``date``; ``numbers``:
    (provider_account, record_id) of every number seen in the month; ``days``: those that are loaded."""

    tallies: pl.DataFrame
    totals: pl.DataFrame
    numbers: pl.DataFrame
    _cache: dict = field(default_factory=dict, compare=False, repr=False)

    def ours(self, account: str | None, start: date, end: date) -> Mapping[str, Ours]:
        """Category → our records of these days (both included), of one provider account or of all."""
        return self._once(("ours", account, start, end), lambda: self._ours(account, start, end))

    def daily(self, account: str | None, start: date, end: date) -> Mapping[str, Totals]:
        """Category → the provider's own daily totals of these days."""
        return self._once(("daily", account, start, end), lambda: self._daily(account, start, end))

    def accounts(self) -> list[str]:
        """Provider accounts that have records."""
        return sorted(self.tallies["provider_account"].drop_nulls().unique())

    def numbers_owned(self, account: str | None) -> int:
        """Different phone numbers seen in the month."""
        return self.numbers.filter(_of(account)).select("record_id").n_unique()

    def reading(self, account: str | None, kind: str) -> str | None:
        """What the days say where there is a carrier fee: is it ``apart`` from the price of our records or
        ``included``? The reading that fits more days; null where neither or both do."""
        days = self._by_day(account, kind).filter(pl.col("fees").abs() > TOLERANCE)
        apart = int(((days["cost"] - days["theirs"]).abs() <= TOLERANCE).sum())
        included = int(((days["cost"] - days["theirs"] - days["fees"]).abs() <= TOLERANCE).sum())
        return None if apart == included else "apart" if apart > included else "included"

    def _once(self, key: tuple, make):
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]

    def _ours(self, account: str | None, start: date, end: date) -> dict[str, Ours]:
        whole = self.tallies.filter(_of(account) & pl.col("date").is_between(start, end)).group_by("category")
        tops = ("dearest", "dearest_record")
        found = whole.agg(pl.col(c).max() if c in tops else pl.col(c).sum() for c in _FIGURES)
        return {
            row.pop("category"): Ours(**{**row, **{c: Decimal(row[c]).scaleb(-MONEY.scale) for c in tops}})
            for row in found.iter_rows(named=True)
        }

    def _daily(self, account: str | None, start: date, end: date) -> dict[str, Totals]:
        found = (
            self.totals.filter(_of(account) & pl.col("date").is_between(start, end) & pl.col("cost").is_not_null())
            .group_by("category")
            .agg(
                pl.col("cost").cast(_WIDE).sum(), pl.col("usage").cast(_WIDE).sum(),
                known=pl.col("usage").is_not_null().all() & (pl.col("usage_unit").n_unique() == 1),
                unit=pl.col("usage_unit").first(),
            )
        )  # fmt: skip
        return {
            row["category"]: Totals(row["cost"], row["usage"] if row["known"] else None, row["unit"])
            for row in found.iter_rows(named=True)
        }

    def _by_day(self, account: str | None, kind: str) -> pl.DataFrame:
        """provider_account, date, cost (our records), theirs (the daily total of ``kind``) and fees."""
        on = ["provider_account", "date"]
        mine = self.tallies.filter(_of(account) & (pl.col("category") == kind)).select(*on, "cost")

        def totals(category: str, name: str) -> pl.DataFrame:
            rows = self.totals.filter(_of(account) & (pl.col("category") == category))
            return rows.select(*on, pl.col("cost").cast(_WIDE).alias(name))

        fees = totals(f"{kind}-messages-carrierfees", "fees")
        joined = mine.join(totals(kind, "theirs"), on=on, how="inner").join(fees, on=on, how="left")
        return joined.with_columns(pl.col("theirs", "fees").fill_null(0))


def _of(account: str | None) -> pl.Expr:
    return pl.lit(True) if account is None else pl.col("provider_account") == account


# ------------------------------------------------------------------------------------------------ dispute


@dataclass(frozen=True)
class Claim:
    """Which of our records stand behind a line that asks for too much."""

    category: str
    start: date
    end: date
    provider_account: str | None
    """None: of every account."""
    lines: tuple[int, ...]
    reason: str
    unit: str
    by_record: bool = False
    """The line counts records, not segments or minutes."""
    only: tuple[str, ...] = ("counted",)
    """States of `records`: ``failed`` alone where the failed messages are what was charged too much."""
    cleared: tuple[str, ...] = ()
    """Parts of the category on whose line both sides agree."""


_DISPUTED = {
    "record_id": pl.String, "occurred_at": pl.String, "category": pl.String, "provider_account": pl.String,
    "quantity": pl.Int64, "unit": pl.String, "our_cost": MONEY, "currency": pl.String, "status": pl.String,
    "invoice_lines": pl.String, "reason": pl.String,
}  # fmt: skip


def dispute(events: pl.DataFrame, day: date, claims: Sequence[Claim]) -> pl.DataFrame:
    """`EVENTS` columns of one day → the records behind the claims, each once, under the first claim that names it:
    record_id, occurred_at (UTC), category, provider_account, quantity, unit, our_cost, currency, status,
    invoice_lines, reason; sorted by time and record."""
    found, chosen = records(events).filter("priced"), []
    for claim in claims:
        if not claim.start <= day <= claim.end:
            continue
        cleared: Collection[str] = claim.cleared
        named = (pl.col("category") == claim.category) | (pl.col("part") == claim.category).fill_null(False)
        which = (
            named & _of(claim.provider_account) & pl.col("state").is_in(list(claim.only))
            & ~pl.col("part").is_in(list(cleared)).fill_null(False)
        )  # fmt: skip
        mine = found.filter(which)
        found = found.join(
            mine.select("record_id", "category", "state"), on=["record_id", "category", "state"], how="anti"
        )
        undelivered = pl.col("status") == "undelivered"
        chosen.append(
            mine.select(
                "record_id", pl.col("occurred_at").dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
                pl.coalesce("part", "category").alias("category"),
                "provider_account", pl.lit(1, pl.Int64).alias("quantity") if claim.by_record else pl.col("quantity"),
                pl.lit(claim.unit).alias("unit"), pl.col("cost").alias("our_cost"), "currency", "status",
                pl.lit(" ".join(map(str, claim.lines))).alias("invoice_lines"),
                reason=pl.when(undelivered.fill_null(False)).then(pl.lit("undelivered, yet charged; "))
                .otherwise(pl.lit("")) + pl.lit(claim.reason),
            ).cast(_DISPUTED)
        )  # fmt: skip
    rows = pl.concat(chosen) if chosen else pl.DataFrame(schema=_DISPUTED)
    return rows.sort("occurred_at", "record_id", "category")
