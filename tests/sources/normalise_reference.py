"""`normalise` in plain Python, record by record, slowly: what the tests compare with."""

from __future__ import annotations

import polars as pl

from etl.schemas import DATASETS, OUTCOMES

COLUMNS = DATASETS["events"].columns
CONTENT = [c for c in COLUMNS if c not in ("raw_sha256", "raw_index", "vanished")]


def ordering(value):
    return (value is None, 0 if value is None else value)


def newest(versions: list[dict]) -> list[dict]:
    """Versions of one record → the one that counts, or all of them, quarantined, if nobody can say."""
    distinct: dict[tuple, dict] = {}
    for row in sorted(versions, key=lambda r: (r["raw_sha256"], r["raw_index"])):
        distinct.setdefault(tuple(row[c] for c in CONTENT), row)
    rest = [c for c in CONTENT if c not in ("kind", "record_id", "updated_at")]

    def order(row):
        known = row["updated_at"]
        age = (known is None, -known.timestamp() if known else 0)
        return (age, OUTCOMES.index(row["outcome"]), row["provider_cost"] is None, [ordering(row[c]) for c in rest])

    ordered = sorted(distinct.values(), key=order)
    if len(ordered) == 1 or any(r["updated_at"] for r in ordered):
        return [ordered[0]]
    return [
        row
        | {
            "record_id": f"{row['record_id']}#{n}",
            "outcome": "quarantined",
            "reason": "; ".join(["conflicting_versions", *([row["reason"]] if row["reason"] else [])]),
        }
        for n, row in enumerate(ordered, 1)
    ]


def contract(row: dict) -> dict:
    if row["outcome"] != "accepted":
        return row
    broken = []
    if row["occurred_at"] is None:
        broken.append("occurred_at_nullability")
    if row["kind"] == "message":
        if (row["to_number"] is None or row["from_number"] is None) and row["status"] != "failed":
            broken.append("message_has_parties")
        if row["type"] == "sms" and row["status"] != "failed" and row["segments"] is None:
            broken.append("message_has_segments")
    return row | {"outcome": "quarantined", "reason": "; ".join(sorted(broken))} if broken else row


def remember(row: dict, old: dict) -> dict:
    if row["type"] != "sms" or row["body"]:
        return row
    row = row | {c: row[c] if row[c] is not None else old[c] for c in ("encoding", "segments_computed")}
    reported, computed = row["segments_reported"], row["segments_computed"]
    source = "reported" if reported is not None else "computed" if computed is not None else None
    return row | {"segments": reported if reported is not None else computed, "segments_source": source}


def reference(read: list[dict], previous: list[dict]) -> list[dict]:
    groups: dict[tuple, list[dict]] = {}
    for row in read:
        groups.setdefault((row["kind"], row["record_id"]), []).append(row)
    held: dict[tuple, list[dict]] = {}
    for row in previous:
        held.setdefault((row["kind"], row["record_id"].split("#")[0]), []).append(row)
    out = []
    for key, versions in groups.items():
        now = newest(versions)
        then = held.pop(key, [])
        plain = len(now) == 1 and len(then) == 1 and "#" not in now[0]["record_id"] + then[0]["record_id"]
        if plain:
            new, old = now[0], then[0]
            if new["updated_at"] and old["updated_at"] and old["updated_at"] > new["updated_at"]:
                out.append(old | {"vanished": False})
                continue
            now = [remember(new, old)]
        out += [contract(row) for row in now]
    for (_, record_id), rows in held.items():
        if ":" not in record_id:
            out += [row | {"vanished": True} for row in rows]
    return sorted(out, key=place)


def rows_of(frame: pl.DataFrame) -> list[dict]:
    return frame.to_dicts()


def place(row: dict) -> tuple:
    """The order of events: where they lay, kind, id."""
    return row["raw_sha256"], row["raw_index"], row["kind"], row["record_id"]
