"""The floor of the night: its files decompressed, its events and charges written and read, and nothing computed.

    python -m benchmarks.night.floor DAY LAKE OUT

DAY holds the provider's files, LAKE what a night made of them. In one process: decompress every file; read every events
file and write it again; write every charges file again and read the columns of it that the roll-up needs. Same columns, same
compression as Tollbook's own. What is read only to have something to write is set-up, and not counted.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import polars as pl

from benchmarks.night.common import tell

try:
    from isal import igzip as unpacker
except ImportError:
    import gzip as unpacker

CHUNK = 1 << 20
ROW_GROUP = 122_880
ROLLED_UP = [
    "account_id", "owner_kind", "owner_id", "campaign_id", "line", "direction", "type", "carrier", "registered",
    "rate_id", "caller_place", "callee_place", "currency", "unit", "kind", "quantity", "messages", "segments",
    "billed_seconds", "credits", "charge", "provider_cost", "segments_differ", "vanished", "fee_id", "carrier_fee",
    "detection_rate_id", "detection_charge",
]  # fmt: skip
"""The columns of charges that `etl.rollup` reads."""


def unpacked_bytes(day: Path) -> int:
    """Every file of the day, decompressed and forgotten."""
    size = 0
    for file in sorted(day.glob("*.jsonl.gz")):
        with unpacker.open(file, "rb") as stream:
            while chunk := stream.read(CHUNK):
                size += len(chunk)
    return size


def write(frame: pl.DataFrame, path: Path) -> None:
    frame.write_parquet(path, compression="zstd", compression_level=1, statistics=True, row_group_size=ROW_GROUP)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("day", "lake", "out"):
        parser.add_argument(name, type=Path)
    asked = parser.parse_args()
    shutil.rmtree(asked.out, ignore_errors=True)
    asked.out.mkdir(parents=True)
    steps: dict[str, float] = {}
    setup, mark = 0.0, time.process_time()

    def lap(step: str) -> float:
        nonlocal mark
        spent, mark = time.process_time() - mark, time.process_time()
        steps[step] = steps.get(step, 0.0) + spent
        return spent

    unpacked_bytes(asked.day)
    lap("decompress")
    copy = asked.out / "copy.parquet"
    for file in sorted((asked.lake / "events").rglob("part*.parquet")):
        frame = pl.read_parquet(file, hive_partitioning=False)
        lap("read events")
        write(frame, copy)
        lap("write events")
    for file in sorted((asked.lake / "charges").rglob("part*.parquet")):
        frame = pl.read_parquet(file, hive_partitioning=False)
        setup += lap("set-up")
        write(frame, copy)
        del frame
        lap("write charges")
        pl.read_parquet(copy, columns=ROLLED_UP, hive_partitioning=False)
        lap("read charges")
    tell(steps={k: round(v, 3) for k, v in steps.items()}, setup_cpu=setup, unpacker=unpacker.__name__)


if __name__ == "__main__":
    main()
