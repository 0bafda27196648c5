"""Longest prefix under wildcards, as one binary search (mission rule 5).

Nested prefixes become disjoint stretches of the number line: a number, filled up with zeros to 15 digits, lies in
exactly one, and that stretch names the row. Groups (one per combination of dimensions that occurs) lie one after the other on one axis.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

WIDTH = 10**15
MAX_GROUPS = (2**63 - 1) // WIDTH
"""Combinations of dimensions that fit on one Int64 axis."""


def digits(number: str) -> pl.Expr:
    """E.164 text column → its digits; of a number that retention has cut (`etl.retention`), those that are left. Empty,
    which only the empty prefix matches, for anything else (short codes, names, clients)."""
    found = pl.col(number).str.extract(r"^\+([1-9][0-9]{0,14})(?:#[0-9a-f]*)?$")
    return found.fill_null("")


def find(
    events: pl.DataFrame, rows: pl.DataFrame, *, id_column: str, exact: Sequence[str], wild: Sequence[str], number: str
) -> pl.Series:
    """For each event the ``id_column`` of the best row, null where none matches.

    ``exact`` columns must be equal; ``wild`` columns match when equal or when the row's cell is null. Of the matching
    rows the longest prefix wins, then the row with fewer wildcards, then the id, so the answer never depends on order.
    ``rows`` hold one row per key and day already (`card.in_force`).
    """
    dimensions = [*exact, *wild]
    groups = events.select(dimensions).unique().sort(dimensions, nulls_last=True).with_row_index("_group")
    if groups.height > MAX_GROUPS:
        raise ValueError(f"{groups.height} combinations of {', '.join(dimensions)} on one day; {MAX_GROUPS} fit")
    matching = _matching(groups, rows, exact, wild, id_column)
    starts, best, shorter = _stretches(matching, groups.height)
    keyed = (
        events.select(*dimensions, _digits=digits(number))
        .join(groups, on=dimensions, how="left", nulls_equal=True, maintain_order="left")
        .select(
            key=pl.col("_group").cast(pl.Int64) * WIDTH + pl.col("_digits").str.pad_end(15, "0").cast(pl.Int64),
            length=pl.col("_digits").str.len_chars(),
        )
    )
    row = best.gather(starts.search_sorted(keyed["key"], side="right").cast(pl.Int64) - 1)
    lengths = matching["prefix"].str.len_chars()
    # The zeros filled up are no digits: +4420 is not within prefix 442000, though it lies at its start.
    while (beyond := (lengths.gather(row) > keyed["length"]).fill_null(False)).any():
        row = shorter.gather(row).zip_with(beyond, row)
    return matching[id_column].gather(row).alias(id_column)


def _matching(
    groups: pl.DataFrame, rows: pl.DataFrame, exact: Sequence[str], wild: Sequence[str], id_column: str
) -> pl.DataFrame:
    """(_group, prefix, id) of the one best row per group and prefix."""
    renamed = rows.rename({c: f"_{c}" for c in wild})
    joined = groups.join(renamed, on=list(exact)) if exact else groups.join(renamed, how="cross")
    fits = pl.all_horizontal(pl.lit(True), *[pl.col(f"_{c}").is_null() | (pl.col(f"_{c}") == pl.col(c)) for c in wild])
    wildcards = pl.sum_horizontal(pl.lit(0), *[pl.col(f"_{c}").is_null().cast(pl.Int32) for c in wild])
    return (
        joined.filter(fits)
        .with_columns(_wildcards=wildcards)
        .sort("_group", "prefix", "_wildcards", id_column)
        .unique(subset=["_group", "prefix"], keep="first", maintain_order=True)
        .select("_group", "prefix", id_column)
    )


def _stretches(matching: pl.DataFrame, group_count: int) -> tuple[pl.Series, pl.Series, pl.Series]:
    """Sorted start positions on the axis, the row of ``matching`` in force from each (null where no prefix reaches),
    and for each row of ``matching`` the row of the next shorter prefix around it (null where there is none)."""
    by_group: dict[int, list[tuple[int, int, int]]] = {}
    for row, (group, prefix) in enumerate(matching.select("_group", "prefix").iter_rows()):
        width = 10 ** (15 - len(prefix))
        by_group.setdefault(group, []).append((int(prefix or 0) * width, -width, row))
    starts: list[int] = []
    best: list[int | None] = []
    shorter: list[int | None] = [None] * matching.height

    def mark(position: int, row: int | None) -> None:
        if starts and starts[-1] == position:
            best[-1] = row
        else:
            starts.append(position)
            best.append(row)

    for group in range(group_count):
        base = group * WIDTH
        mark(base, None)
        inside: list[tuple[int, int]] = []  # (end, row) of the prefixes around the current position, longest last

        def leave(until: int, base: int = base, inside: list[tuple[int, int]] = inside) -> None:
            while inside and inside[-1][0] <= until:
                end, _ = inside.pop()
                mark(base + end, inside[-1][1] if inside else None)

        for begin, minus_width, row in sorted(by_group.get(group, ())):
            leave(begin)
            mark(base + begin, row)
            shorter[row] = inside[-1][1] if inside else None
            inside.append((begin - minus_width, row))
        leave(WIDTH)
    return pl.Series(starts, dtype=pl.Int64), pl.Series(best, dtype=pl.Int64), pl.Series(shorter, dtype=pl.Int64)
