"""Segments of a million texts: the column function beside DuckDB SQL, a plain Python loop and the Parquet decode.

    python benchmarks/segments.py [--rows 1000000] [--rounds 5] [--seed 1]

The texts are the bodies of the reference night (benchmarks/night/workload.py). All contenders get the same ones in their
own native form (Polars frames, a DuckDB table, a list of strings, a zstd Parquet file) and return the same totals, so
none pays for a conversion. The column function runs twice: eagerly, one bucket after the other, as the nightly job
calls it, and in one streaming query. Before the clock starts all are compared row by row, on these texts, on texts with
wide characters around every cut, and on the stored vectors. Rounds are interleaved; CPU is this process's user and
system time over all threads. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import statistics
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.night.workload import messages  # noqa: E402
from etl.segments import GSM_BASIC, GSM_EXTENSION, segment_columns, with_segments  # noqa: E402

VECTORS = ROOT / "tests" / "segments" / "vectors.jsonl.gz"
BUCKET_ROWS = 125_000

# ------------------------------------------------------------------------------------------------------------------
# Texts
# ------------------------------------------------------------------------------------------------------------------


def texts(rows: int, seed: int) -> pl.Series:
    """`rows` bodies of the reference night, the same for the same arguments."""
    rng = np.random.default_rng(seed)
    pieces = [messages(rng, min(250_000, rows - i), date(2026, 3, 15))["body"] for i in range(0, rows, 250_000)]
    return pl.concat(pieces).head(rows).rechunk()


def hard_texts(count: int, seed: int) -> list[str]:
    """Texts with wide characters around the cuts, where dividing is not enough."""
    r = random.Random(seed)
    out = []
    for _ in range(count):
        gsm = r.random() < 0.5
        text = "" if gsm else r.choice("’\x1b中")
        for _ in range(r.randrange(1, 6)):
            text += r.choice("ab é\n") * ((153 if gsm else 67) - r.randrange(5))
            text += r.choice(GSM_EXTENSION if gsm else "😀\U0010ffff") * r.randrange(4)
        out.append(text)
    return out


# ------------------------------------------------------------------------------------------------------------------
# Contenders
# ------------------------------------------------------------------------------------------------------------------

BASIC_SET = frozenset(GSM_BASIC)
EXTENSION_SET = frozenset(GSM_EXTENSION)


def plain(text: str) -> tuple[str, int, int]:
    """The rule as one would write it in Python: look at each character, fill part by part."""
    encoding, single, multi = "GSM-7", 160, 153
    for character in text:
        if character not in BASIC_SET and character not in EXTENSION_SET:
            encoding, single, multi = "UCS-2", 70, 67
            break
    units, segments, used = 0, 1, 0
    for character in text:
        if encoding == "GSM-7":  # noqa: SIM108 (as one would write it)
            cost = 2 if character in EXTENSION_SET else 1
        else:
            cost = 2 if ord(character) > 0xFFFF else 1
        units += cost
        if used + cost > multi:
            segments, used = segments + 1, 0
        used += cost
    return encoding, units, 1 if units <= single else segments


def _class(characters: str) -> str:
    return "".join(f"\\x{{{ord(c):x}}}" for c in characters)


_ASCII_BASIC = _class("".join(c for c in GSM_BASIC if ord(c) < 128))
_ASCII_GSM = _class("".join(c for c in GSM_BASIC + GSM_EXTENSION if ord(c) < 128))
_GSM = _class(GSM_BASIC + GSM_EXTENSION)
_EXTENSION = _class(GSM_EXTENSION)
_ASTRAL = "\\x{10000}-\\x{10ffff}"


def _parts(units: str, single: int, multi: int, wide: str) -> str:
    """SQL of the parts: by division where both bounds agree, else by matching part after part."""
    least = f"({units} + {multi - 1}) // {multi}"
    most = f"least(({units} + {multi - 2}) // {multi - 1}, ({units} + wide + {multi - 1}) // {multi})"
    spelled = f"regexp_replace(regexp_replace(body, '[^{wide}]', 'x', 'g'), '[^x]', 'yx', 'g')"
    filled = f"len(regexp_extract_all({spelled}, '[xy]{{{multi - 1}}}x|[xy]{{1,{multi - 1}}}'))"
    return f"case when {units} <= {single} then 1 when {least} = {most} then {least} else {filled} end"


# Tuned by measuring each step: an ASCII text (as many bytes as characters) meets one class; only the others and those
# with a special character are looked at again; every pattern is a constant, which is worth a third of the time.
DUCKDB = f"""
with a as (select id, body, length(body) as chars, strlen(body) = length(body) as ascii from bodies),
b as (select *, not ascii or regexp_matches(body, '[^{_ASCII_BASIC}]') as special from a),
c as (
  select *, case when not special then false
                 when ascii then regexp_matches(body, '[^{_ASCII_GSM}]')
                 else regexp_matches(body, '[^{_GSM}]') end as ucs2
  from b),
d as (
  select id, body, chars, ucs2,
         case when not special then 0
              when ucs2 then case when ascii then 0 else len(regexp_extract_all(body, '[{_ASTRAL}]')) end
              else chars - length(regexp_replace(body, '[{_EXTENSION}]', '', 'g')) end as wide
  from c)
select id, case when ucs2 then 'UCS-2' else 'GSM-7' end as encoding, (chars + wide)::int as units,
       (case when ucs2 then {_parts("(chars + wide)", 70, 67, _ASTRAL)}
             else {_parts("(chars + wide)", 160, 153, _EXTENSION)} end)::int as segments
from d
"""


def duckdb_table(values: list[str]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(f"set threads = {os.cpu_count()}")
    frame = pl.DataFrame({"body": pl.Series(values, dtype=pl.String)}).with_row_index("id")  # noqa: F841 (read by SQL)
    connection.execute("create table bodies as select id, body from frame")
    return connection


def check(values: list[str], known: list[tuple[str, int, int]] | None = None) -> None:
    """All contenders give the same encoding, units and segments for every row."""
    want = known or [plain(v) for v in values]
    frame = pl.DataFrame({"body": pl.Series(values, dtype=pl.String)})
    ours = with_segments(frame.lazy()).select("encoding", "units", "segments").collect(engine="streaming").rows()
    sql = duckdb_table(values).execute(f"select encoding, units, segments from ({DUCKDB}) order by id").fetchall()
    for name, got in (("column function", ours), ("DuckDB", sql), ("plain loop", [plain(v) for v in values])):
        if got != want:
            row = next(i for i, (a, b) in enumerate(zip(got, want, strict=True)) if a != b)
            raise SystemExit(f"{name} differs: {got[row]} for {want[row]}: {values[row][:80]!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    body = texts(options.rows, options.seed)
    values = body.to_list()
    with gzip.open(VECTORS, "rt", encoding="utf-8") as lines:
        vectors = [json.loads(line) for line in lines]
    check([v["body"] for v in vectors], [(v["encoding"], v["units"], v["segments"]) for v in vectors])
    check(hard_texts(20_000, options.seed))
    check(values)

    frame = body.to_frame("body")
    buckets = [frame.slice(i, BUCKET_ROWS) for i in range(0, len(frame), BUCKET_ROWS)]
    connection = duckdb_table(values)
    size = body.str.len_bytes()
    facts = frame.select(segment_columns().struct.unnest()).select(
        ucs2=(pl.col("encoding") == "UCS-2").sum(), many=(pl.col("segments") > 1).sum()
    )
    ascii_rows = (size == body.str.len_chars()).sum()
    rows = options.rows
    totals = (
        pl.col("units").cast(pl.Int64).sum(),
        pl.col("segments").cast(pl.Int64).sum(),
        (pl.col("encoding") == "UCS-2").sum().alias("ucs2"),
    )

    def eager() -> tuple:
        sums = [b.select(segment_columns().struct.unnest()).select(totals).row(0) for b in buckets]
        return tuple(map(sum, zip(*sums, strict=True)))

    def streaming() -> tuple:
        return with_segments(frame.lazy()).select(totals).collect(engine="streaming").row(0)

    def sql() -> tuple:
        return connection.execute(
            f"select sum(units)::bigint, sum(segments)::bigint, count(*) filter (encoding = 'UCS-2') from ({DUCKDB})"
        ).fetchone()

    def loop() -> tuple:
        units = segments = ucs2 = 0
        for value in values:
            encoding, u, s = plain(value)
            units, segments, ucs2 = units + u, segments + s, ucs2 + (encoding == "UCS-2")
        return units, segments, ucs2

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bodies.parquet"
        frame.write_parquet(path, compression="zstd")
        megabytes = path.stat().st_size // 1_000_000

        def decode() -> int:
            return pl.scan_parquet(path).select(pl.col("body").str.len_bytes().sum()).collect(engine="streaming").item()

        contenders = {
            f"column function, eager, buckets of {BUCKET_ROWS:,}": eager,
            "column function, streaming": streaming,
            "DuckDB, exact SQL": sql,
            "plain Python loop": loop,
            "Parquet decode of the column (zstd)": decode,
        }
        cpu: dict[str, list[float]] = {name: [] for name in contenders}
        wall: dict[str, list[float]] = {name: [] for name in contenders}
        answers = {name: run() for name, run in contenders.items() if run is not loop}  # warm-up
        for number in range(options.rounds):
            # Every other round backwards, so that no contender always follows the same one.
            for name, run in list(contenders.items())[:: 1 if number % 2 == 0 else -1]:
                c, w = time.process_time(), time.perf_counter()
                answers[name] = run()
                cpu[name].append(time.process_time() - c)
                wall[name].append(time.perf_counter() - w)
    if len({answers[name] for name, run in contenders.items() if run is not decode}) != 1:
        raise SystemExit(f"totals differ: {answers}")

    print(
        f"{rows:,} bodies of the reference night, seed {options.seed}: {size.mean():.1f} bytes on average, "
        f"{ascii_rows / rows:.1%} ASCII, {facts['ucs2'][0] / rows:.1%} UCS-2, {facts['many'][0] / rows:.1%} of several "
        f"segments; Parquet {megabytes} MB. Rows compared: {rows + 20_000 + len(vectors):,}, all equal.\n"
        f"{options.rounds} interleaved rounds, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
        f"Polars {pl.__version__}, DuckDB {duckdb.__version__}, Python {sys.version.split()[0]}.\n"
    )
    ours, ours_streaming, *_ = contenders
    print("| contender | CPU s, median | min | wall s, median | CPU x eager column function | CPU x streaming |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in contenders:
        # Ratios per round, then the median: what slows one round slows both.
        ratios = [
            f"{statistics.median(a / b for a, b in zip(cpu[name], cpu[base], strict=True)):.2f}"
            for base in (ours, ours_streaming)
        ]
        figures = [statistics.median(cpu[name]), min(cpu[name]), statistics.median(wall[name])]
        print(f"| {name} | " + " | ".join([f"{f:.3f}" for f in figures] + ratios) + " |")


if __name__ == "__main__":
    main()
