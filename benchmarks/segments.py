"""Segments of a million texts: the column function beside DuckDB SQL, a plain Python loop and the Parquet decode.

    python benchmarks/segments.py [--rows 1000000] [--rounds 5] [--seed 1]

All contenders get the same texts in their own native form (a Polars frame, a DuckDB table, a list of strings, a zstd
Parquet file) and return the same totals, so none pays for a conversion. Before the clock starts they are compared row
by row, on these texts, on texts with wide characters around every cut, and on the stored vectors. Rounds are
interleaved; CPU is this process's user and system time over all threads.
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
from pathlib import Path

import duckdb
import polars as pl

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from etl.segments import GSM_BASIC, GSM_EXTENSION, segment_columns, with_segments  # noqa: E402

VECTORS = ROOT / "tests" / "segments" / "vectors.jsonl.gz"

# ------------------------------------------------------------------------------------------------------------------
# Texts
# ------------------------------------------------------------------------------------------------------------------

TEMPLATES = [
    "Your verification code is {0}. It expires in 10 minutes. Do not share it with anyone.",
    "{1}: hi {2}, your order #{0} has shipped and arrives on 04/{3}. Track it: https://ex.am/{0}",
    "Hi {2}, this is {1}. Your appointment is on 04/{3} at {3}:30. Reply C to confirm or R to reschedule. "
    "Msg&data rates may apply. Reply STOP to opt out.",
    "{1} alert: a payment of ${0}.{3} was made with your card ending {0}. Not you? Call us now.",
    "Thanks for your message, {2}! We are out of office and will answer on Monday.",
    "{2}, last chance: {3}% off everything at {1}, this weekend only. Show code SAVE{0} at the till or use it online "
    "at https://ex.am/{0}. Offer ends Sunday at midnight, some items are excluded. Reply STOP to unsubscribe.",
    "OK",
    "Your {1} balance is ${0}.{3}",
]
BRANDS = ["Acme", "Northwind", "Globex", "Initech", "Umbrella Dental", "Contoso Bank"]
NAMES = ["Ana", "John", "Mary", "Sam", "Alexander", "Priya", "Lee", "Fatima"]
TURKISH = (
    "Değerli müşterimiz, siparişiniz kargoya verilmiştir. Şifreniz kimseyle paylaşılmamalıdır. İyi günler dileriz. "
)
CYRILLIC = "Привет, как дела? Встретимся сегодня вечером у метро, я буду ждать тебя около семи часов. "
CHINESE = "您的验证码将在十分钟后失效请勿泄露给他人感谢您使用我们的服务如有疑问请联系客服。"
ACCENTED = "Olá, o seu código já está disponível. Você não precisa responder à mensagem. "
EMOJI = ["😀", "🎉", "🔥", "👍🏽", "🇺🇸", "❤️", "🙏"]
TYPOGRAPHIC = ["’", "“", "”", "–", "…", "™"]


def texts(rows: int, seed: int) -> list[str]:
    """`rows` message texts, the same for the same arguments: half prose, a third templates, the rest foreign."""
    r = random.Random(seed)
    letters = "eeeeetttaaaoooiiinnnsssrrrhhlldduucmmfwypvbgk"
    words = ["".join(r.choices(letters, k=r.choice((1, 2, 3, 3, 4, 4, 5, 6, 7, 9)))) for _ in range(6000)]
    words += ["I'm", "don't", "ok", "see you", "lol", "tomorrow", "thanks"]
    zipf = [1 / (rank + 3) for rank in range(len(words))]
    pool = " ".join(
        w + r.choice(("", "", "", "", "", "", ",", ".", "?", "!")) for w in r.choices(words, weights=zipf, k=600_000)
    )
    last = len(pool) - 2000
    out = []
    for _ in range(rows):
        kind = r.random()
        if kind < 0.36:
            text = r.choice(TEMPLATES).format(
                r.randrange(1000, 9999), r.choice(BRANDS), r.choice(NAMES), r.randrange(10, 29)
            )
        elif kind < 0.88:
            start = r.randrange(last)
            text = pool[start : start + min(int(r.lognormvariate(4.1, 0.75)) + 1, 1500)]
        else:
            source = r.choice((TURKISH, TURKISH, CYRILLIC, CHINESE, ACCENTED, ACCENTED))
            start = r.randrange(len(source))
            text = (source * 5)[start : start + int(r.lognormvariate(3.7, 0.7)) + 1]
        extra = r.random()
        if extra < 0.05:
            text += " " + r.choice(EMOJI) * r.randrange(1, 3)
        elif extra < 0.08:
            text = text.replace("'", "’") + r.choice(TYPOGRAPHIC)
        elif extra < 0.11:
            text += r.choice(GSM_EXTENSION) * r.randrange(1, 4)
        elif extra < 0.15:
            text = text.replace("e", "é", 2)
        elif extra < 0.16:
            text = text.replace(" ", "\n", 3)
        out.append(text)
    return out


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

    values = texts(options.rows, options.seed)
    with gzip.open(VECTORS, "rt", encoding="utf-8") as lines:
        vectors = [json.loads(line) for line in lines]
    check([v["body"] for v in vectors], [(v["encoding"], v["units"], v["segments"]) for v in vectors])
    check(hard_texts(20_000, options.seed))
    check(values)

    frame = pl.DataFrame({"body": values})
    connection = duckdb_table(values)
    size = frame["body"].str.len_bytes()
    facts = frame.select(segment_columns().struct.unnest()).select(
        ucs2=(pl.col("encoding") == "UCS-2").sum(), many=(pl.col("segments") > 1).sum()
    )
    ascii_rows = (size == frame["body"].str.len_chars()).sum()
    rows = options.rows

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bodies.parquet"
        frame.write_parquet(path, compression="zstd")
        totals = (
            pl.col("units").cast(pl.Int64).sum(),
            pl.col("segments").cast(pl.Int64).sum(),
            (pl.col("encoding") == "UCS-2").sum().alias("ucs2"),
        )

        def ours() -> tuple:
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

        def decode() -> int:
            return pl.scan_parquet(path).select(pl.col("body").str.len_bytes().sum()).collect(engine="streaming").item()

        contenders = {
            "column function (Polars, streaming)": ours,
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
        if len({answers[n] for n, run in contenders.items() if run is not decode}) != 1:
            raise SystemExit(f"totals differ: {answers}")
        megabytes = path.stat().st_size // 1_000_000

    base = list(contenders)[0]
    print(
        f"{rows:,} texts, seed {options.seed}: {size.mean():.1f} bytes on average, {ascii_rows / rows:.1%} ASCII, "
        f"{facts['ucs2'][0] / rows:.1%} UCS-2, {facts['many'][0] / rows:.1%} of several segments; "
        f"Parquet {megabytes} MB. Rows compared: {rows + 20_000 + len(vectors):,}, all equal.\n"
        f"{options.rounds} interleaved rounds, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
        f"Polars {pl.__version__}, DuckDB {duckdb.__version__}, Python {sys.version.split()[0]}.\n"
    )
    print("| contender | CPU min, ns a text | CPU median | wall min | wall median | CPU ratio, median (of medians) |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in contenders:
        figures = [f(t[name]) / rows * 1e9 for t in (cpu, wall) for f in (min, statistics.median)]
        # Per round, then the median: what slows one round slows both.
        ratio = statistics.median(a / b for a, b in zip(cpu[name], cpu[base], strict=True))
        of_medians = statistics.median(cpu[name]) / statistics.median(cpu[base])
        print(f"| {name} | " + " | ".join(f"{f:,.0f}" for f in figures) + f" | {ratio:.2f}x ({of_medians:.2f}x) |")


if __name__ == "__main__":
    main()
