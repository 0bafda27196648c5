"""What a source read, made into one day's events: each record once, in its newest version, checked against the contract,
and merged with what the day already held. Pure; the same records in any order give the same frame.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from etl.buckets import COPY_MARK
from etl.ordering import repeated
from etl.schemas import DATASETS, OUTCOMES, AcceptedEvent, without_key
from etl.sources._records import billed_segments

EVENTS = DATASETS["events"]
PLACE = ["raw_sha256", "raw_index"]
# Where a record lay, and what only the merge knows, are no part of what it says.
CONTENT = [c for c in EVENTS.columns if c not in (*PLACE, "vanished")]

_RULES = without_key(AcceptedEvent)
"""Each id is there once by then."""

CONFLICT = "conflicting_versions"
PLACE_MARK = ":"
"""In the id of a record that has none of its own: <raw sha256, 16 digits>:<index>."""


class Normalised(NamedTuple):
    """``events``: every column of `schemas.Events`, sorted. ``duplicates``: rows read that were other copies of a record
    kept, so that rows read = rows of this reading kept + ``duplicates`` (see `normalise`)."""

    events: pl.DataFrame
    duplicates: int


def normalise(
    read: pl.DataFrame, previous: pl.DataFrame | None = None, *, listed: frozenset[str] | None = frozenset()
) -> Normalised:
    """``read`` (`schemas.Events` rows, duplicates allowed) and the partition's rows so far → the partition's rows.

    * A record read twice is kept once: the newest ``updated_at``. Versions that differ without any ``updated_at`` are all
      quarantined as `CONFLICT`, numbered in their ids: nobody can say which is right.
    * A row that breaks `AcceptedEvent` is quarantined under the names of the rules.
    * Against ``previous``: the newest ``updated_at`` wins, and of equals the one just read. What is not listed any more is
      kept and marked ``vanished``, unmarked when it comes back. A body blanked since keeps its computed segments.
    * ``listed``: pages (sha256) of other days that list records of this one too, so what came from them has not vanished.
      None: ``read`` is no whole list, so nothing vanishes for not being there.
    * A record without an id of its own cannot be found again: it is replaced by the new reading, not kept beside it.

    ``normalise(read, normalise(read, previous).events)`` changes nothing. Raises ValidationError if a column is missing.
    """
    rows = read.select(EVENTS.columns)
    once = _once(rows)
    duplicates = rows.height - once.height
    if previous is None or previous.height == 0:
        return Normalised(EVENTS.arrange(_hold_to_contract(once)), duplicates)
    old = EVENTS.filled(previous)
    once, kept = _merge(once, old, listed)
    checked = _hold_to_contract(once)
    return Normalised(EVENTS.arrange(pl.concat([checked, kept])), duplicates)


def counts(frame: pl.DataFrame) -> dict[str, int]:
    """Rows per outcome (each named, 0 included), per ``<outcome>: <reason>``, and how many have vanished."""
    found = dict.fromkeys(OUTCOMES, 0)
    grouped = frame.group_by("outcome", "reason").len().sort("outcome", "reason", nulls_last=True)
    for outcome, reason, rows in grouped.iter_rows():
        found[outcome] += rows
        if reason is not None:
            found[f"{outcome}: {reason}"] = rows
    return found | {"vanished": int(frame["vanished"].sum())}


# ---------------------------------------------------------------------------------------------------------- duplicates


def _once(rows: pl.DataFrame) -> pl.DataFrame:
    """Each (kind, record_id) once. Only rows whose id occurs again are compared, so the usual day costs one hash."""
    key = ["kind", "record_id"]
    hashes = rows.select(key).hash_rows(seed=0)
    again = repeated(hashes)
    if again.is_empty():
        return rows
    suspected = hashes.is_in(again.implode())
    several = rows.filter(suspected)
    several = several.filter(several.select(key).is_duplicated())  # a hash may collide, an id decides
    single = (
        rows.filter(~suspected)
        if several.height == suspected.sum()
        else rows.join(several.select(key).unique(), on=key, how="anti")
    )
    # Equal content, any place: the first place stands for all.
    distinct = several.sort(PLACE).unique(CONTENT, keep="first", maintain_order=True)
    rank = {outcome: i for i, outcome in enumerate(OUTCOMES)}
    ordered = distinct.with_columns(
        rank=pl.col("outcome").replace_strict(rank, return_dtype=pl.Int8), unpriced=pl.col("provider_cost").is_null()
    ).sort(
        "kind", "record_id", "updated_at", "rank", "unpriced", *(c for c in CONTENT if c not in (*key, "updated_at")),
        descending=[False, False, True] + [False] * (len(CONTENT) - 1), nulls_last=True,
    )  # fmt: skip
    timeless = (pl.len().over(key) > 1) & pl.col("updated_at").is_null().all().over(key)
    ordered = ordered.with_columns(timeless=timeless, number=pl.int_range(1, pl.len() + 1).over(key))
    winners = ordered.filter(~pl.col("timeless")).unique(key, keep="first", maintain_order=True)
    conflicts = ordered.filter("timeless").with_columns(
        record_id=pl.col("record_id") + COPY_MARK + pl.col("number").cast(pl.String),
        outcome=pl.lit("quarantined"),
        reason=pl.concat_str(pl.lit(CONFLICT), pl.col("reason"), separator="; ", ignore_nulls=True),
    )
    return pl.concat([single, winners.select(rows.columns), conflicts.select(rows.columns)])


# ------------------------------------------------------------------------------------------------------------ contract


def _hold_to_contract(rows: pl.DataFrame) -> pl.DataFrame:
    """Accepted rows that break a rule of `AcceptedEvent` → quarantined, the rules' names as reason."""
    accepted = pl.col("outcome") == "accepted"
    if _RULES.is_valid(rows.lazy().filter(accepted)):
        return rows
    _, failures = AcceptedEvent.filter(rows.filter(accepted))
    if len(failures) == 0:
        return rows
    details = failures.details()
    rules = [c for c in details.columns if c not in EVENTS.columns]
    broken = details.select(
        "record_id",
        "kind",
        broken=pl.concat_str(
            [pl.when(pl.col(r).cast(pl.String) == "invalid").then(pl.lit(_reason(r))) for r in sorted(rules)],
            separator="; ",
            ignore_nulls=True,
        ),
    )
    joined = rows.join(broken, on=["record_id", "kind"], how="left", maintain_order="left")
    return joined.with_columns(
        outcome=pl.when(pl.col("broken").is_not_null()).then(pl.lit("quarantined")).otherwise("outcome"),
        reason=pl.coalesce("broken", "reason"),
    ).drop("broken")


def _reason(rule: str) -> str:
    """``provider_account|min_length`` → ``provider_account_min_length``: one word, as the other codes."""
    return rule.replace("|", "_")


# --------------------------------------------------------------------------------------------------------------- merge


def _merge(
    new: pl.DataFrame, old: pl.DataFrame, elsewhere: frozenset[str] | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows just read and rows so far → (rows read that stand, rows so far that stand)."""
    key = ["kind", "base"]
    base = pl.col("record_id").str.split_exact(COPY_MARK, 1).struct.field("field_0")
    plain = not (
        new["record_id"].str.contains(COPY_MARK, literal=True).any()
        or old["record_id"].str.contains(COPY_MARK, literal=True).any()
    )
    base = (pl.col("record_id") if plain else base).alias("base")
    new = new.with_columns(base).with_row_index("n")
    old = old.with_columns(base).with_row_index("o")
    copy = pl.col("record_id") != pl.col("base")

    pairs = new.select("n", *key, "updated_at", copy=copy).join(
        old.select("o", *key, "updated_at", "encoding", "segments_computed", copy=copy),
        on=key,
        how="inner",
        suffix="_old",
    )
    older_reading = pairs.filter(
        ~pl.col("copy") & ~pl.col("copy_old") & (pl.col("updated_at_old") > pl.col("updated_at"))
    )
    # The kept row is the newer version; it is listed, so it has not vanished.
    losers = older_reading["n"]
    standing = older_reading["o"]
    listed = pairs["o"].unique()

    kept = old.filter(pl.col("o").is_in(standing.implode())).with_columns(vanished=pl.lit(False))
    unlisted = old.filter(~pl.col("o").is_in(listed.implode()))
    if elsewhere is not None:
        # What has no id of its own cannot be found again: the new reading replaces it.
        named = unlisted.filter(~pl.col("record_id").str.contains(PLACE_MARK, literal=True))
        unlisted = named.with_columns(vanished=~pl.col("raw_sha256").is_in(list(elsewhere)))

    new = new.filter(~pl.col("n").is_in(losers.implode()))
    new = _remember_segments(new, pairs.filter(~pl.col("copy") & ~pl.col("copy_old")))
    columns = EVENTS.columns
    return new.select(columns), pl.concat([kept.select(columns), unlisted.select(columns)])


def _remember_segments(new: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """A body that was blanked since keeps the encoding and the segments counted when it was there."""
    known = pairs.filter(pl.col("segments_computed").is_not_null()).select(
        "n", was_encoding="encoding", was_computed="segments_computed"
    )
    blanked = (pl.col("type") == "sms") & ((pl.col("body") == "") | pl.col("body").is_null())
    wanted = new.filter(blanked).select("n").join(known, on="n", how="inner")
    if wanted.height == 0:
        return new
    return (
        new.join(wanted, on="n", how="left", maintain_order="left")
        .with_columns(
            encoding=pl.coalesce("encoding", "was_encoding"),
            segments_computed=pl.coalesce("segments_computed", "was_computed"),
        )
        .with_columns(billed_segments())
    )
