"""Longest prefix under wildcards, as one binary search (mission rule 5).

Nested prefixes become disjoint stretches of the number line: a number, filled up with zeros to 15 digits, lies in
exactly one, and that stretch names the row. Groups (one per combination of dimensions that occurs) lie one after the other on one axis.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from etl.ordering import grouped

WIDTH = 10**15
MAX_GROUPS = (2**63 - 1) // WIDTH
"""Combinations of dimensions that fit on one Int64 axis."""


def digits(number: str) -> pl.Expr:
    """E.164 text column → its digits; of a number that retention has cut (`etl.retention`), those that are left. Empty,
    which only the empty prefix matches, for anything else (short codes, names, clients)."""
    found = pl.col(number).str.extract(r"^\+([1-9][0-9]{0,14})(?:#[0-9a-f]*)?$")
    return found.fill_null("")


def dialled(number: pl.Series) -> pl.DataFrame:
    """Numbers → ``position`` (Int64, on the number line) and ``length`` (digits given; 0 for what is no number)."""
    frame = pl.DataFrame({"n": number})
    if frame.select(pl.col("n").str.contains("#", literal=True).any()).item():
        frame = frame.with_columns(n=pl.lit("+") + digits("n"))
    plain = pl.col("n").str.strip_prefix("+")
    length = plain.str.len_bytes().cast(pl.Int64)
    value = plain.cast(pl.Int64, strict=False)
    within = length.clip(1, 15)
    # As many digits as characters: no sign, no space, no zero in front.
    fits = pl.col("n").str.starts_with("+") & length.is_between(1, 15) & (value >= _tens(within - 1))
    return frame.select(
        position=pl.when(fits).then(value * _tens(15 - within)).otherwise(0).fill_null(0),
        length=pl.when(fits).then(length).otherwise(0).fill_null(0),
    )


class Prefixes:
    """Rows of one table, one per key and day (`card.in_force`), to be searched again and again.

    ``exact`` columns must be equal; ``wild`` columns match when equal or when the row's cell is null. Of the matching
    rows the longest prefix wins, then the row with fewer wildcards, then the id, so the answer never depends on order.
    """

    def __init__(self, rows: pl.DataFrame, *, id_column: str, exact: Sequence[str], wild: Sequence[str]) -> None:
        self.rows = rows
        self._terms = rows.select(id_column, "prefix", *exact, *wild).with_row_index("_at")
        self._id, self._exact, self._wild = id_column, exact, wild
        self._groups: dict[tuple, int] = {}
        # One entry a group and prefix: the row of the table, the prefix's length, the entry of the next shorter prefix.
        self._row, self._length, self._shorter = (pl.Series(dtype=pl.Int64) for _ in range(3))
        self._starts, self._best = (pl.Series(dtype=pl.Int64) for _ in range(2))

    def find(self, dimensions: pl.DataFrame, at: pl.DataFrame) -> pl.Series:
        """For each event (its ``exact`` and ``wild`` columns, and `dialled`) the number of the best row; null where none is."""
        group, groups = grouped(dimensions.select(*self._exact, *self._wild))
        known = pl.Series(self._numbered(groups), dtype=pl.Int64)
        if not len(self._starts):
            return _nothing(dimensions.height)
        key = known.gather(group) * WIDTH + at["position"]
        entry = self._best.gather(self._starts.search_sorted(key, side="right").cast(pl.Int64) - 1)
        # The zeros filled up are no digits: +4420 is not within prefix 442000, though it lies at its start.
        while (beyond := (self._length.gather(entry) > at["length"]).fill_null(False)).any():
            entry = self._shorter.gather(entry).zip_with(beyond, entry)
        return self._row.gather(entry)

    def _numbered(self, groups: pl.DataFrame) -> list[int]:
        """The numbers of these groups; those not met before are laid behind the others on the axis."""
        wanted = groups.rows()
        fresh = [n for n, values in enumerate(wanted) if values not in self._groups]
        if len(self._groups) + len(fresh) > MAX_GROUPS:
            raise ValueError(
                f"more than {MAX_GROUPS} combinations of {', '.join((*self._exact, *self._wild))} on one day; {MAX_GROUPS} fit"
            )
        if fresh:
            base, entries = len(self._groups), len(self._row)
            self._groups.update((wanted[n], base + i) for i, n in enumerate(fresh))
            matching = _matching(groups[fresh].with_row_index("_group"), self._terms, self._exact, self._wild, self._id)
            starts, best, shorter = _stretches(matching, len(fresh))
            self._starts = pl.concat([self._starts, starts + base * WIDTH])
            self._best = pl.concat([self._best, best + entries])
            self._shorter = pl.concat([self._shorter, shorter + entries])
            self._row = pl.concat([self._row, matching["_at"].cast(pl.Int64)])
            self._length = pl.concat([self._length, matching["prefix"].str.len_chars().cast(pl.Int64)])
        return [self._groups[values] for values in wanted]


def find(
    events: pl.DataFrame, rows: pl.DataFrame, *, id_column: str, exact: Sequence[str], wild: Sequence[str], number: str
) -> pl.Series:
    """For each event the ``id_column`` of the best row of ``rows`` (`Prefixes`), null where none matches."""
    table = Prefixes(rows, id_column=id_column, exact=exact, wild=wild)
    return rows[id_column].gather(table.find(events, dialled(events[number]))).alias(id_column)


def _matching(
    groups: pl.DataFrame, rows: pl.DataFrame, exact: Sequence[str], wild: Sequence[str], id_column: str
) -> pl.DataFrame:
    """(_group, prefix, _at) of the one best row per group and prefix."""
    renamed = rows.rename({c: f"_{c}" for c in wild})
    joined = groups.join(renamed, on=list(exact)) if exact else groups.join(renamed, how="cross")
    fits = pl.all_horizontal(pl.lit(True), *[pl.col(f"_{c}").is_null() | (pl.col(f"_{c}") == pl.col(c)) for c in wild])
    wildcards = pl.sum_horizontal(pl.lit(0), *[pl.col(f"_{c}").is_null().cast(pl.Int32) for c in wild])
    return (
        joined.filter(fits)
        .with_columns(_wildcards=wildcards)
        .sort("_group", "prefix", "_wildcards", id_column)
        .unique(subset=["_group", "prefix"], keep="first", maintain_order=True)
        .select("_group", "prefix", "_at")
    )


def _stretches(matching: pl.DataFrame, group_count: int) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Sorted start positions on the axis, the row of ``matching`` in force from each (null where no prefix reaches),
    and for each row of ``matching`` the row of the next shorter prefix around it (null where there is none)."""
    length = pl.col("prefix").str.len_bytes().cast(pl.Int64)
    rows = matching.select(
        at=pl.int_range(pl.len(), dtype=pl.Int64),
        group=pl.col("_group").cast(pl.Int64),
        length=length,
        digits=pl.when(length > 0).then(pl.col("prefix")).otherwise(pl.lit("0")).cast(pl.Int64),
    ).with_columns(width=_tens(15 - pl.col("length")))
    begins = pl.col("group") * WIDTH + pl.col("digits") * pl.col("width")
    bounds = pl.concat([
        pl.Series(range(group_count), dtype=pl.Int64) * WIDTH,
        rows.select(begins).to_series(),
        # Where one ends, a shorter one goes on, or none; the last ends where the next group begins.
        rows.select(begins + pl.col("width")).to_series(),
    ])  # fmt: skip
    starts = bounds.filter(bounds < group_count * WIDTH).unique().sort()
    marks = pl.DataFrame({"group": starts // WIDTH, "position": starts % WIDTH})
    inner = rows.select("group", "length", position=pl.col("digits") * pl.col("width"))
    best, shorter = _nothing(len(starts)), _nothing(rows.height)
    for size in rows["length"].unique().sort():  # longer ones lie over shorter ones
        these = rows.filter(length=size).select("group", "digits", "at")
        best = _over(best, marks, these, size)
        around = inner.with_columns(pl.when(pl.col("length") > size).then("position").alias("position"))
        shorter = _over(shorter, around, these, size)
    return starts, best, shorter


def _over(below: pl.Series, marks: pl.DataFrame, rows: pl.DataFrame, size: int) -> pl.Series:
    """``below``, where one of the prefixes of ``size`` digits is around a mark that one's number."""
    asked = marks.select("group", digits=pl.col("position") // 10 ** (15 - size))
    found = asked.join(rows, on=["group", "digits"], how="left", maintain_order="left")["at"]
    return found.zip_with(found.is_not_null(), below)


def _nothing(height: int) -> pl.Series:
    return pl.repeat(None, height, dtype=pl.Int64, eager=True)


def _tens(exponent: pl.Expr) -> pl.Expr:
    """10 to the power of 0 … 15, exact."""
    return pl.lit(pl.Series([10**n for n in range(16)], dtype=pl.Int64)).gather(exponent)
