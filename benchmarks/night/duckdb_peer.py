"""The night in DuckDB SQL: typed Parquet, priced Parquet by day, daily totals. No raw copy, contracts, hashes or log.

    python -m benchmarks.night.duckdb_peer DAY TABLES OUT

Two threads, as the machine of the reference has cores. The statements are those a user who knows DuckDB would write:

* repeated ids are found on two columns, and only their older versions are left out, by row number;
* the longest prefix is one equi-join for each length of prefix, which is as fast here as an ASOF join and needs less memory;
* segments come from regular expressions, and a scan of the characters only where dividing is not enough.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import duckdb

from benchmarks.night.common import (
    CALLS,
    DELIVERED,
    DETECTION_MICROS,
    FLAG,
    GSM_BASIC,
    GSM_EXTENSION,
    MESSAGES,
    MONEY,
    RECORDED_MINUTE_MICROS,
    TEXT,
    TIME,
    WHOLE,
    Totals,
    tell,
)

SQL_TYPES = {TEXT: "VARCHAR", FLAG: "BOOLEAN", WHOLE: "BIGINT", MONEY: "DECIMAL(18,6)", TIME: "TIMESTAMP"}
PARQUET = "format parquet, compression zstd, compression_level 1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("day", "tables", "out"):
        parser.add_argument(name, type=Path)
    asked = parser.parse_args()
    shutil.rmtree(asked.out, ignore_errors=True)
    for folder in ("tmp", "rated"):
        (asked.out / folder).mkdir(parents=True)
    db = duckdb.connect()
    db.execute("set threads = 2; set preserve_insertion_order = false; set timezone = 'UTC'")
    db.execute(f"set temp_directory = '{asked.out}/tmp'")
    for table in ("rate_deck", "carrier_fees", "accounts"):
        db.execute(f"create table {table} as from '{asked.tables}/{table}.parquet'")
    db.execute("create table deck as select row_number() over () - 1 as deck_row, * from rate_deck")

    for kind, fields in (("messages", MESSAGES), ("calls", CALLS)):
        types = ", ".join(f"'{name}': '{SQL_TYPES[kind]}'" for name, kind in fields.items())
        lines = f"read_json('{asked.day}/{kind}-*.jsonl.gz', format = 'newline_delimited', columns = {{{types}}})"
        db.execute(f"copy (from {lines}) to '{asked.out}/{kind}.parquet' ({PARQUET})")

    db.execute(f"copy ({messages(db, asked.out)}) to '{asked.out}/rated/messages' ({PARQUET}, partition_by (date))")
    db.execute(f"copy ({calls(db, asked.out)}) to '{asked.out}/rated/calls' ({PARQUET}, partition_by (date))")
    db.execute(f"copy ({daily(asked.out)}) to '{asked.out}/daily.parquet' (format parquet, compression zstd)")
    sums = ("n", "segments", "billed_seconds", "credits", "charge_micros", "cost_micros", "unrated")
    chosen = ", ".join(f"sum({name})::bigint" for name in sums)
    tell(Totals(*db.execute(f"select {chosen} from '{asked.out}/daily.parquet'").fetchone()))


# ------------------------------------------------------------------------------------------------ parts of statements


def newest(path: str) -> str:
    """Each record once, in its latest version. Whole rows are read once and never sorted or hashed."""
    rows = f"read_parquet('{path}', file_row_number = true)"
    return f"""
        select * exclude (file_row_number) from {rows} where file_row_number not in (
            select file_row_number from {rows}
            where sid in (select sid from '{path}' group by sid having count(*) > 1)
            qualify row_number() over (partition by sid order by date_updated desc, file_row_number) > 1)"""


def priced(db: duckdb.DuckDBPyConnection, kind: str) -> str:
    """Joins that add ``r``, the row of the deck in force with the longest prefix of the number called or texted."""
    lengths = [n for (n,) in db.execute("select distinct length(prefix) from deck order by 1 desc").fetchall()]
    joins = [
        f"""left join deck r{n} on length(r{n}.prefix) = {n} and r{n}.prefix = b."to"[2:{n + 1}]
            and r{n}.direction = b.direction and r{n}.type = {kind} and r{n}.effective_from <= b.date_created::date
            and (r{n}.effective_to is null or r{n}.effective_to > b.date_created::date)"""
        for n in lengths
    ]
    longest = ", ".join(f"r{n}.deck_row" for n in lengths)
    return "\n".join([*joins, f"left join deck r on r.deck_row = coalesce({longest})"])


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def characters(wanted: str, *, none_of: bool = False) -> str:
    """A quoted regular expression of one character."""
    escaped = "".join("\\" + c if c in "\\]^-[" else c for c in wanted)
    return quoted(f"[{'^' if none_of else ''}{escaped}]")


NOT_PLAIN = quoted(r"[^\x20-\x5A\x5F\x61-\x7A\n\r]")
"""Finds what is not one septet of ASCII for certain; most texts have none."""
NOT_GSM = characters(GSM_BASIC + GSM_EXTENSION, none_of=True)
WIDE_GSM, WIDE_UCS = characters(GSM_EXTENSION), quoted(r"[\x{10000}-\x{10FFFF}]")


def scanned(is_wide: str, part: int) -> str:
    """Segments of ``body`` by filling part after part: a wide character takes two places and is never cut."""
    return f"""list_reduce(list_transform(string_split(body, ''), lambda c: 1 + ({is_wide})::int),
        lambda a, w: case when a % 1000 + w > {part} then (a // 1000 + 1) * 1000 + w else a + w end, 1000) // 1000"""


def messages(db: duckdb.DuckDBPyConnection, out: Path) -> str:
    """Each message once with segments, price, fee, credits and charge, without its body."""
    return f"""
    with d as ({newest(f"{out}/messages.parquet")}),
    looked as (select *, body is not null and regexp_matches(body, {NOT_PLAIN}) as special from d),
    told as (select *, case when special then not regexp_matches(body, {NOT_GSM}) else true end as gsm,
        case when not special then 0
             when regexp_matches(body, {NOT_GSM}) then len(regexp_extract_all(body, {WIDE_UCS}))
             else len(regexp_extract_all(body, {WIDE_GSM})) end as wide from looked),
    counted as (select *,
        (case when special then length(body) + wide else coalesce(strlen(body), 0) end)::int as units from told),
    b as (select * exclude (body), case
        when type = 'mms' then 1
        when units <= (case when gsm then 160 else 70 end) then 1
        -- A part holds its whole size or one unit less: only where both counts differ must the characters be scanned.
        when wide > 0 and (units + (case when gsm then 152 else 66 end)) // (case when gsm then 153 else 67 end)
                       <> (units + (case when gsm then 151 else 65 end)) // (case when gsm then 152 else 66 end)
        then case when gsm then {scanned(f"regexp_matches(c, {WIDE_GSM})", 153)} else {scanned("ord(c) > 65535", 67)} end
        else (units + (case when gsm then 152 else 66 end)) // (case when gsm then 153 else 67 end)
        end::int as segments from counted),
    j as (select b.*, r.prefix, coalesce(r.rate_micros, 0) as rate_micros, coalesce(r.credits, 0) as credits_each,
        case when b.direction = 'outbound' then f.fee_micros else 0 end as fee_micros, a.markup_bps
        from b {priced(db, "b.type")}
        left join accounts a on a.account_sid = b.account_sid
        left join carrier_fees f on f.carrier = b.carrier and f.type = b.type and f.registered = b.registered)
    select sid, account_sid, member_id, inbox_id, direction, type, "from", "to", carrier, registered, campaign_id, status,
        date_created, date_updated, date_created::date as date, case when gsm then 'gsm7' else 'ucs2' end as encoding,
        units, segments, prefix, prefix is not null as rated, rate_micros, fee_micros,
        case when status <> 'failed' then segments * credits_each else 0 end as credits,
        case when status <> 'failed'
             then (segments::bigint * (rate_micros + fee_micros) * (10000 + markup_bps) + 5000) // 10000
             else 0 end as charge_micros,
        (-price * 1000000)::bigint as cost_micros
    from j order by date, account_sid, date_created, sid"""


def calls(db: duckdb.DuckDBPyConnection, out: Path) -> str:
    """Each call once with billed seconds, price, credits and charge."""
    extras = (
        f"case when amd then {DETECTION_MICROS} else 0 end + (recording_duration + 59) // 60 * {RECORDED_MINUTE_MICROS}"
    )
    return f"""
    with b as ({newest(f"{out}/calls.parquet")}),
    j as (select b.*, r.prefix, coalesce(r.rate_micros, 0) as rate_micros, coalesce(r.credits, 0) as credits_each,
        a.markup_bps,
        case when answered and r.prefix is not null
             then r.init_sec + (greatest(0, duration - r.init_sec) + r.incr_sec - 1) // r.incr_sec * r.incr_sec
             else 0 end as billed_seconds
        from b {priced(db, "'voice'")}
        left join accounts a on a.account_sid = b.account_sid)
    select sid, account_sid, member_id, inbox_id, direction, case when campaign then 'campaign_call' else 'voice' end as category,
        "from", "to", status, answered, duration, amd, recording_duration, date_created, date_updated,
        date_created::date as date, billed_seconds, prefix, prefix is not null as rated, rate_micros,
        case when status <> 'failed'
             then (billed_seconds + 59) // 60 * credits_each * (case when campaign then 2 else 1 end) else 0 end as credits,
        case when status <> 'failed'
             then (2 * (billed_seconds * rate_micros + 60 * ({extras})) * (10000 + markup_bps) + 600000) // 1200000
             else 0 end as charge_micros,
        (-price * 1000000)::bigint as cost_micros
    from j order by date, account_sid, date_created, sid"""


def daily(out: Path) -> str:
    """Sums by day, account, member or inbox, direction and category."""

    def rows(kind: str, category: str, segments: str, seconds: str) -> str:
        return f"""select date, account_sid, member_id, inbox_id, direction, {category} as category, status,
            {segments} as segments, {seconds} as billed_seconds, credits, charge_micros, cost_micros, rated
            from read_parquet('{out}/rated/{kind}/**/*.parquet', hive_partitioning = true)"""

    delivered = ", ".join(map(quoted, DELIVERED))
    return f"""
    select date, account_sid, member_id, inbox_id, direction, category, count(*) as n,
        count(*) filter (status in ({delivered})) as delivered, sum(segments)::bigint as segments,
        sum(billed_seconds)::bigint as billed_seconds, sum(credits)::bigint as credits,
        sum(charge_micros)::bigint as charge_micros, coalesce(sum(cost_micros), 0)::bigint as cost_micros,
        count(*) filter (not rated) as unrated
    from ({rows("messages", "type", "segments", "0::bigint")}
          union all by name {rows("calls", "category", "0", "billed_seconds")})
    group by all order by all"""


if __name__ == "__main__":
    main()
