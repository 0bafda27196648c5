"""September 2026 of tests/statement (five small accounts), closed on 3 October, and what may still arrive for it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from statement_made import MIA, SEPTEMBER, SUPPORT, at, load_day, on, open_jobs, text, write_place

from etl.manifests import closings

OCTOBER, NOVEMBER = SEPTEMBER + 1, SEPTEMBER + 2
THE_20TH = date(2026, 9, 20)
LATE = text("late", at(20, "15:00:00"), SUPPORT, segments=3)


def closed_september(root: Path) -> Path:
    """September closed for every account, October loaded day by day and open; returns the settings file."""
    settings = write_place(root)
    (settings.parent / "rates" / "taxes.csv").write_text(TAXES)
    _accounts_in_seattle(settings)
    jobs = open_jobs(settings)
    for day in SEPTEMBER.days:
        load_day(jobs, day, on(day) if day != date(2026, 9, 6) else [])
    jobs.close(SEPTEMBER)
    for day in OCTOBER.days:
        load_day(jobs, day, [text(f"o{day.day}", at(day.day, month=10), MIA)] if day.day < 4 else [])
    jobs.state(OCTOBER)
    assert set(closings(jobs.lake, SEPTEMBER)) == {"acme", "bolt", "cove", "dune", "kiri"}
    return settings


TAXES = """\
tax_id,level,jurisdiction,name,kind,rate,lines,share,sourcing,compound,valid_from,valid_to,recorded_at,note
levy,state,US-WA,State levy,percent,10,text,,service_address,false,2026-01-01,,2026-01-01,
"""


def _accounts_in_seattle(settings: Path) -> None:
    """Acme pays a tax of 10 % on its texts."""
    file = settings.parent / "directory" / "accounts.csv"
    head, *rows = file.read_text().splitlines()
    places = (f"{row},{'US-WA-SEATTLE' if row.startswith('acme') else ''}" for row in rows)
    file.write_text("\n".join([f"{head},service_address", *places]) + "\n")


def again(jobs, day: date, events: list[dict]) -> None:
    """A night that reads the day again."""
    load_day(jobs, day, events)
    jobs.restate([SEPTEMBER if day.month == 9 else OCTOBER])
