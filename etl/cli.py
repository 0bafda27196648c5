"""The command line of ``etl``: pull, rate, run, reconcile, close, segments, check.

Exit codes: 0 done · 1 failed · 2 wrong use or configuration · 3 done, but something is held back (unrated, a gap).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import typer

HELP = """From a provider's usage log to a frozen month.

A usual night:  python -m etl run --date 2026-10-31

Load half a year:  python -m etl run --from 2026-05-01 --to 2026-10-31

Close a month:  python -m etl close --month 2026-10, then python -m reports publish --month 2026-10

Days and months are UTC. Exit codes: 0 done, 1 failed, 2 wrong use or configuration, 3 done but something is held back.
"""

app = typer.Typer(help=HELP, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="Settings file [default: $TOLLBOOK_CONFIG or config/tollbook.toml]"
    ),
]
Day = Annotated[str | None, typer.Option("--date", metavar="YYYY-MM-DD", help="One UTC day")]
From = Annotated[str | None, typer.Option("--from", metavar="YYYY-MM-DD", help="First UTC day of a range")]
To = Annotated[str | None, typer.Option("--to", metavar="YYYY-MM-DD", help="Last UTC day of the range, included")]
MonthOption = Annotated[str | None, typer.Option("--month", metavar="YYYY-MM", help="Every day of one UTC month")]
Source = Annotated[list[str] | None, typer.Option("--source", help="Only this source of the settings (repeatable)")]
Json = Annotated[bool, typer.Option("--json", help="Print what was done, and the log, as JSON lines")]
Workers = Annotated[int, typer.Option("--workers", min=1, max=16, help="Days under way at once")]


def _command(work: Callable[[], int], as_json: bool) -> None:
    """Run a command's work and turn its errors into one line and an exit code."""
    from etl import console

    raise typer.Exit(console.guarded(work, as_json=as_json))


def _window(day: str | None, first: str | None, last: str | None, month: str | None) -> list[date]:
    from etl.periods import Month, days, parse_day

    if sum([day is not None, first is not None or last is not None, month is not None]) != 1:
        raise typer.BadParameter("give one of --date, --from with --to, or --month")
    try:
        if day:
            return [parse_day(day)]
        if month:
            return Month.parse(month).days
        if not (first and last):
            raise typer.BadParameter("--from and --to belong together")
        start, end = parse_day(first), parse_day(last)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if end < start:
        raise typer.BadParameter(f"--to {end} lies before --from {start}")
    return list(days(start, end + timedelta(days=1)))


def _finished(window: list[date], month: str | None) -> list[date]:
    """The days of a running month that are over; a day asked for by name is not dropped but refused later."""
    from etl.periods import today

    over = [d for d in window if d < today()] if month else window
    if not over:
        raise typer.BadParameter(f"no day of {month} is over yet (UTC)")
    return over


def _jobs(config: Path | None, source: list[str] | None = None):
    from etl.jobs import Jobs
    from etl.settings import ConfigurationError

    jobs = Jobs.open(config)
    jobs.check_configuration()
    if unknown := set(source or ()) - set(jobs.sources):
        raise ConfigurationError(
            f"unknown source {', '.join(sorted(unknown))}: the settings have {', '.join(jobs.sources)}"
        )
    return jobs


@app.command()
def pull(
    date_: Day = None,
    from_: From = None,
    to: To = None,
    month: MonthOption = None,
    source: Source = None,
    config: Config = None,
    workers: Workers = 4,
    json: Json = False,
) -> None:
    """Fetch whole UTC days from the provider and keep every page as received. Nothing is billed yet."""
    window = _finished(_window(date_, from_, to, month), month)

    def work() -> int:
        from etl import console

        jobs = _jobs(config, source)
        with console.Progress("pull", len(window), json) as progress:
            progress.each_day(window, lambda d: [jobs.pull(d, s) for s in source or jobs.sources], workers)
        return progress.exit_code()

    _command(work, json)


@app.command()
def rate(
    date_: Day = None,
    from_: From = None,
    to: To = None,
    month: MonthOption = None,
    source: Source = None,
    config: Config = None,
    workers: Workers = 4,
    json: Json = False,
) -> None:
    """Price what is already in the lake again, after a change of rate card, fees or directory. Asks no provider."""
    window = _finished(_window(date_, from_, to, month), month)

    def work() -> int:
        from etl import console

        jobs = _jobs(config, source)
        with console.Progress("rate", len(window), json) as progress:
            progress.each_day(
                window, lambda d: [*[jobs.rate(d, s) for s in source or jobs.sources], jobs.roll_up(d)], workers
            )
            progress.months(jobs, window)
        return progress.exit_code()

    _command(work, json)


@app.command()
def run(
    date_: Day = None,
    from_: From = None,
    to: To = None,
    month: MonthOption = None,
    source: Source = None,
    config: Config = None,
    workers: Workers = 4,
    json: Json = False,
) -> None:
    """The whole night for one day or many: pull, normalise, rate, roll up, and the statements of the months touched.

    Safe to repeat and to interrupt: a day that did not change is left alone, a day that did is replaced as a whole.
    """
    window = _finished(_window(date_, from_, to, month), month)

    def work() -> int:
        from etl import console

        jobs = _jobs(config, source)
        with console.Progress("run", len(window), json) as progress:
            progress.each_day(window, lambda d: list(jobs.run_day(d, source).done), workers)
            progress.months(jobs, window)
        return progress.exit_code()

    _command(work, json)


@app.command()
def reconcile(
    date_: Day = None,
    from_: From = None,
    to: To = None,
    month: MonthOption = None,
    source: Source = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Compare what the lake holds with the provider's own daily totals: records, segments or minutes, and money."""
    window = _finished(_window(date_, from_, to, month), month)

    def work() -> int:
        from etl import console

        jobs = _jobs(config, source)
        return console.reconciled(jobs, window, source or list(jobs.sources), as_json=json)

    _command(work, json)


@app.command()
def close(
    month: Annotated[str, typer.Option("--month", metavar="YYYY-MM", help="The UTC month to close")],
    account: Annotated[list[str] | None, typer.Option("--account", help="Only this account (repeatable)")] = None,
    on: Annotated[
        str | None, typer.Option("--on", metavar="YYYY-MM-DD", help="The day it is done [default: today]")
    ] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Freeze a month, account by account. One that may not close says why and stops no other."""
    from etl.periods import Month, parse_day

    try:
        wanted, day = Month.parse(month), parse_day(on) if on else None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None

    def work() -> int:
        from etl import console

        jobs = _jobs(config)
        return console.closings(jobs.close(wanted, account, on=day), jobs.loose_ends(wanted), as_json=json)

    _command(work, json)


@app.command()
def segments(
    text: Annotated[str | None, typer.Argument(help="The text to count; quote it. '-' reads standard input.")] = None,
    in_: Annotated[Path | None, typer.Option("--in", metavar="FILE.jsonl", help="Lines with a body")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.jsonl", help="The same lines with the counts")
    ] = None,
    json: Json = False,
) -> None:
    """How many segments is this text, and which characters cost? Or count a whole file of them.

    python -m etl segments "See you at 5 – bring the keys 🙂"
    """

    def work() -> int:
        from etl import console

        return console.segments(text, in_, out, as_json=json)

    if (text is None) == (in_ is None) or (in_ is None) != (out is None):
        raise typer.BadParameter("give a text, or --in with --out")
    _command(work, json)


@app.command()
def check(
    config: Config = None,
    offline: Annotated[bool, typer.Option("--offline", help="Only what needs no connection")] = False,
    json: Json = False,
) -> None:
    """The doctor: settings, directory, rate card, stores, provider and mail; each with what to do. Changes nothing."""

    def work() -> int:
        from etl import console, doctor

        return console.verdicts(doctor.examine(config, offline=offline), as_json=json)

    _command(work, json)


def main() -> None:
    sys.exit(app(prog_name="python -m etl"))
