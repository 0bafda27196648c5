"""What an audit found well, noted by the content it was found in.

The verdict on what a day holds follows from its rows, the directory and our code, and from nothing else. A note names all
of them by their hashes, so it says the same of no other rows: a day that did not change since need not be read again. Notes
hold no finding; where anything is not well there is none. What lies in the store is looked at every time: the log, the
view, the packs of pages.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from datetime import date

from etl.audit.invariants import OK, Result
from etl.directory import Directory
from etl.lake import EXPIRED, Conflict, Lake, NotFound, Version
from etl.lake.model import canonical, sha256

EVERY_TIME = ("log whole", "view is head", "configured", "raw kept")
"""The invariants of a day that its rows do not answer."""


def content(lake: Lake, versions: Iterable[Version], directory: Directory | None, sources: Sequence[str]) -> str:
    """The hash of what a verdict on these versions follows from."""
    return sha256(
        canonical(
            {
                "code": lake.code,
                "directory": directory.fingerprint if directory else "",
                "sources": sorted(sources),
                "versions": sorted((v.partition.path, v.sha256, v.reason == EXPIRED) for v in versions),
            }
        )
    )


def day_key(day: date, found: str) -> str:
    return f"audited/date={day}/{found}"


def once_key(days: Iterable[date], found: str) -> str:
    """Of no record twice over all these days: it stands beside what was found well on the last of them."""
    return f"audited/date={max(days)}/once-{found}"


def read(lake: Lake, key: str) -> list[tuple[str, str]] | None:
    """(invariant, where) of everything that was well; None when nothing is noted."""
    try:
        return [(invariant, where) for invariant, where in lake.get_pin(key)["ok"]]
    except NotFound:
        return None


def write(lake: Lake, key: str, results: Iterable[Result]) -> None:
    """Note ``results``, if all of them are ok. Who came first noted the same."""
    found = list(results)
    if all(result.verdict == OK for result in found):
        with contextlib.suppress(Conflict):
            lake.pin(key, {"ok": [[r.invariant, r.where] for r in found if r.invariant not in EVERY_TIME]})
