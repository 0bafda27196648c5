"""What all share: which day, what is known of it, the alphabets of GSM 03.38, the fields of the lists, how totals are told.

No heavy import here: what a peer imports counts against it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import NamedTuple

LATE_DAYS = 3
"""The files of a day hold records of so many days before, too."""


@dataclass(frozen=True)
class Workload:
    """Which day: its rows and what they are drawn from."""

    n: int = 1_000_000
    seed: int = 1
    day: date = date(2026, 3, 15)
    shard: int = 250_000
    xdup: float = 0.0

    @property
    def name(self) -> str:
        """A folder's name that says it all."""
        again = f"-xdup{self.xdup}" if self.xdup else ""
        return f"n{self.n}-seed{self.seed}-shard{self.shard}{again}"

    def folder(self, data: Path) -> Path:
        """Where its files lie below the cache ``data``."""
        return data / self.name / self.day.isoformat()


PUBLISHED = {
    Workload(1_000_000): {
        "n": 1_100_000, "segments": 1_333_210, "billed_seconds": 11_298_723, "credits": 3_268_259,
        "charge": 82_082_789_458, "cost": 51_415_133_600, "unrated": 1_248,
    },
    Workload(10_000_000): {
        "n": 11_000_000, "segments": 13_330_227, "billed_seconds": 113_144_373, "credits": 32_749_419,
        "charge": 821_264_049_277, "unrated": 12_176,
    },
    Workload(100_000, 7, date(2026, 4, 2), 20_000, 0.01): {
        "n": 110_000, "segments": 134_022, "credits": 332_157, "charge": 8_368_021_345,
    },
}  # fmt: skip
"""Totals that are known of some days (`Totals`). Those of any other day are the DuckDB peer's."""

GSM_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM_EXTENSION = "\f^{}\\[~]|€"

TEXT, FLAG, WHOLE, MONEY, TIME = "text", "flag", "whole", "money", "time"
MESSAGES = {
    "sid": TEXT, "account_sid": TEXT, "member_id": TEXT, "inbox_id": TEXT, "direction": TEXT, "type": TEXT, "from": TEXT,
    "to": TEXT, "carrier": TEXT, "registered": FLAG, "campaign_id": TEXT, "num_media": WHOLE, "body": TEXT, "status": TEXT,
    "error_code": WHOLE, "price": MONEY, "price_unit": TEXT, "date_created": TIME, "date_updated": TIME,
}  # fmt: skip
CALLS = {
    "sid": TEXT, "account_sid": TEXT, "member_id": TEXT, "inbox_id": TEXT, "direction": TEXT, "from": TEXT, "to": TEXT,
    "status": TEXT, "answered": FLAG, "duration": WHOLE, "campaign": FLAG, "amd": FLAG, "recording_duration": WHOLE,
    "price": MONEY, "price_unit": TEXT, "date_created": TIME, "date_updated": TIME,
}  # fmt: skip
DELIVERED = ("delivered", "received", "completed")

DETECTION_MICROS, RECORDED_MINUTE_MICROS = 7_500, 2_500
"""Of a call, in millionths of a dollar: answering-machine detection, and each begun minute recorded."""


class Totals(NamedTuple):
    """A night in seven numbers. Amounts in millionths of a dollar: ``cost`` is the provider's, ``charge`` ours."""

    n: int
    segments: int
    billed_seconds: int
    credits: int
    charge: int
    cost: int
    unrated: int

    def __str__(self) -> str:
        return (
            f"{self.n:,} records, {self.segments:,} segments, {self.billed_seconds:,} s, {self.credits:,} credits, "
            f"charge {self.charge / 1e6:,.6f}, cost {self.cost / 1e6:,.6f}, {self.unrated:,} unrated"
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which day."""
    default = Workload()
    parser.add_argument("--seed", type=int, default=default.seed, help="another seed makes other records")
    parser.add_argument("--day", type=date.fromisoformat, default=default.day, help="UTC day; another has other prices")
    parser.add_argument("--shard", type=int, default=default.shard, help="records a file")
    parser.add_argument("--xdup", type=float, default=default.xdup, help="share of a file that comes again in the next")


def tell(totals: Totals | None = None, **more) -> None:
    """The last line of a contender's output, which `measure` reads."""
    print(json.dumps({"totals": totals and list(totals), **more}), flush=True)
