"""The command line of ``etl``: pull, rate, run, reconcile, close, expire, forget, export, credits, explain, rates,
segments, check.

Exit codes: 0 done · 1 failed · 2 wrong use or configuration · 3 done, but something is held back (unrated, a gap).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from etl.periods import Month

HELP = """From a provider's usage log to a frozen month.

A usual night:  python -m etl run --date 2026-10-31

Load half a year:  python -m etl run --from 2026-05-01 --to 2026-10-31

Close a month:  python -m etl close --month 2026-10, then python -m reports publish --month 2026-10

Usage of any days, as CSV:  python -m etl export --from 2026-10-01 --to 2026-10-31 --by week --view members

What will a new rate card change?  python -m etl rates check new-rates, then python -m etl rates diff config/rates new-rates

Days and months are UTC. Exit codes: 0 done, 1 failed, 2 wrong use or configuration, 3 done but something is held back.
"""

RATES_HELP = """Look at rate cards before they price anything. Asks no provider and no lake, and needs no secrets.

python -m etl rates check new-rates

python -m etl rates diff config/rates new-rates
"""

app = typer.Typer(help=HELP, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
rates = typer.Typer(help=RATES_HELP, no_args_is_help=True)
app.add_typer(rates, name="rates", short_help="Check a rate card, or say what changes between two.")

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
By = Literal["day", "week", "month", "all"]
View = Literal["total", "sent", "received", "members", "inboxes", "campaigns", "lines"]
Format = Literal["csv", "parquet"]
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
            progress.each_day(window, lambda d: jobs.rate_day(d, source), workers)
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
            progress.add(jobs.moved(window, source))
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
def invoice(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The provider's invoice or usage export, .csv or .json")],
    month: Annotated[str, typer.Option("--month", metavar="YYYY-MM", help="The UTC month it is for")],
    source: Annotated[
        str | None, typer.Option("--source", help="Whose it is; needed where the settings have several")
    ] = None,
    provider_account: Annotated[
        list[str] | None,
        typer.Option("--provider-account", metavar="AC…", help="Only this account of the provider's (repeatable)"),
    ] = None,
    agreed: Annotated[
        list[str] | None,
        typer.Option("--agreed", metavar="CATEGORY[=AMOUNT]", help="A fee you expect and no record carries (repeatable)"),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="YYYY-MM-DDTHH:MM", help="When the invoice was made (UTC), if it does not say"),
    ] = None,
    dispute: Annotated[
        Path | None, typer.Option("--dispute", metavar="OUT.csv", help="Write the records behind what is asked too much")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT.csv")] = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """Is the provider's invoice right? Each line against our records and the provider's own daily totals. Changes nothing.

    python -m etl invoice october.csv --month 2026-10 --source twilio

    python -m etl invoice october.csv --month 2026-10 --agreed support-plan=250 --dispute dispute.csv

    Every line is ok, explained (no price yet, a cent of rounding, a fee no record carries) or unexplained.

    by quantity: what the difference in units costs at our average price. by price: the rest. Together: the variance.

    The dispute names records, never numbers or texts. Formats and a worked example: docs/invoice.md

    Exit codes: 0 all ok or explained, 3 something is unexplained, could not be read, or a day is not loaded.
    """
    from etl.periods import Month

    try:
        wanted = Month.parse(month)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    fees, made = tuple(map(_agreed, agreed or ())), _moment(as_of)
    if dispute and not force and dispute.exists():
        raise typer.BadParameter(f"{dispute} is there already: name another file, or add --force")

    def work() -> int:
        from etl import console
        from etl.settings import ConfigurationError

        jobs = _jobs(config, [source] if source else None)
        if source is None and len(jobs.sources) > 1:
            raise ConfigurationError(f"whose invoice is it? --source {' or --source '.join(jobs.sources)}")
        asked = console.Invoiced(
            file, wanted, source or next(iter(jobs.sources)), tuple(provider_account or ()), made, fees, dispute
        )
        return console.invoiced(jobs, asked, as_json=json)

    _command(work, json)


def _agreed(text: str) -> tuple[str, Decimal | None]:
    category, given, amount = text.partition("=")
    if not category or (given and not re.fullmatch(r"-?[0-9]{1,9}(\.[0-9]{1,9})?", amount)):
        raise typer.BadParameter(f"--agreed {text!r}: write CATEGORY or CATEGORY=AMOUNT, such as support-plan=250.00")
    return category.strip().lower().replace(" ", "-"), Decimal(amount) if given else None


def _moment(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        raise typer.BadParameter(f"--as-of {text!r} is not a time such as 2026-11-01T02:00") from None
    return found and (found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC))


@app.command()
def audit(
    date_: Day = None,
    from_: From = None,
    to: To = None,
    month: MonthOption = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also read and hash every version and page kept, and read the pages again")
    ] = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """Does the lake keep its promises? A verdict and a remedy for each, on these days and their months. Changes nothing.

    python -m etl audit --month 2026-10

    Nothing lost, every page kept, everything adds up, credits balance, closed months unchanged: docs/audit.md names all.
    Every night checks the days it loaded in the same way. Exit codes: 0 all ok, 3 something is broken or could not be checked.
    """
    window = _finished(_window(date_, from_, to, month), month)

    def work() -> int:
        from etl import console

        return console.audited(_jobs(config).audit(window, deep=deep), as_json=json)

    _command(work, json)


@app.command()
def night(date_: Day = None, config: Config = None, json: Json = False) -> None:
    """What did the last night do? Its report: records, times, what failed, what is held back and what to do. Changes nothing.

    python -m etl night

    Written by the last task of the nightly DAG into the reports store; with --date the newest night of that UTC day.
    Exit codes: 0 all in order, 1 there is no report, 3 something failed or is held back.
    """
    window = _window(date_, None, None, None) if date_ else [None]

    def work() -> int:
        from etl import console

        return console.night(_jobs(config), window[0], as_json=json)

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
    """Freeze a month, account by account. One that may not close says why, and what to do, and stops no other.

    python -m etl close --month 2026-10

    What holds a month, and what a person may accept: docs/closing.md
    """
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
def accept(
    hold: Annotated[str, typer.Argument(metavar="HOLD", help="Its name: eight digits, as python -m etl close prints them")],
    month: Annotated[str, typer.Option("--month", metavar="YYYY-MM", help="The UTC month it holds")],
    account: Annotated[str, typer.Option("--account", help="The account it holds")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why it is right; kept with it")],
    config: Config = None,
    json: Json = False,
) -> None:
    """What holds this month is right: let it close. Only for what the provider counts or prices, and for days out of bounds.

    python -m etl accept --month 2026-10 --account acct_a 1f3a9c20 --reason "a campaign, ordered by phone"

    The figures are part of the name: when one moves, the month is held again. docs/closing.md
    """
    wanted = _month(month)

    def work() -> int:
        from etl import console

        return console.accepted(_jobs(config).accept(wanted, account, hold, reason), as_json=json)

    _command(work, json)


@app.command()
def reopen(
    month: Annotated[str, typer.Option("--month", metavar="YYYY-MM", help="The closed UTC month")],
    account: Annotated[str, typer.Option("--account", help="The account")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; printed on the statement")],
    config: Config = None,
    json: Json = False,
) -> None:
    """Close a closed month once more as it stands now, as its next revision. The one before stays; corrections vanish.

    python -m etl reopen --month 2026-10 --account acct_a --reason "the wrong rate card until the 12th"

    Usually not needed: what changes is corrected on the statement of the open month. Exit codes: 0 there is a new revision, or
    nothing had changed since the last one; 3 held, as closing would be. docs/closing.md
    """
    wanted = _month(month)

    def work() -> int:
        from etl import console

        return console.reopened(_jobs(config).reopen(wanted, account, reason), as_json=json)

    _command(work, json)


def _month(text: str) -> Month:
    from etl.periods import Month

    try:
        return Month.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@app.command()
def expire(
    date_: Day = None,
    from_: From = None,
    to: To = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Name the days that are due and erase nothing")] = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """Erase what is older than the settings allow: texts and pages as received, later other people's numbers.

    python -m etl expire --dry-run

    Every night does it. Without days: whatever is due. No figure changes. The ages are settings; what stays, and what becomes
    of a day that was fetched again: docs/privacy.md
    """
    window = _window(date_, from_, to, None) if date_ or from_ or to else None

    def work() -> int:
        from etl import console
        from etl.jobs import Jobs

        return console.expired(Jobs.open(config), window, dry_run=dry_run, as_json=json)

    _command(work, json)


@app.command()
def forget(
    number: Annotated[str | None, typer.Argument(metavar="[+NUMBER]", help="A person's number, as E.164")] = None,
    account: Annotated[
        str | None, typer.Option("--account", help="Everybody this account texted and called, instead of one number")
    ] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Erase one person's texts and number from every day, and all pages as received of those days. No figure changes.

    python -m etl forget +15550100123

    Have the provider delete the person's records first: what it still lists comes back with the next night. docs/privacy.md
    """
    if (number is None) == (account is None):
        raise typer.BadParameter("give a number, or --account")
    if number is not None and not re.fullmatch(r"\+[1-9][0-9]{6,14}", number):
        raise typer.BadParameter("give the number as E.164: + and 7 to 15 digits, no spaces")

    def work() -> int:
        from etl import console
        from etl.jobs import Jobs

        return console.rewritten("forget", Jobs.open(config).forget(number=number, account=account), as_json=json)

    _command(work, json)


@app.command()
def export(
    from_: From = None,
    to: To = None,
    all_time: Annotated[bool, typer.Option("--all-time", help="From go-live to the newest day loaded")] = False,
    account: Annotated[
        list[str] | None, typer.Option("--account", help="Only this account, or 'unassigned' (repeatable)")
    ] = None,
    by: Annotated[By, typer.Option("--by", help="What one row covers; weeks are ISO weeks, 2026-W44")] = "day",
    view: Annotated[View, typer.Option("--view", help="What is counted apart")] = "total",
    format_: Annotated[
        Format | None, typer.Option("--format", help="If not given: as --out is named, else csv", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="If not given: standard output")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE")] = False,
    config: Config = None,
) -> None:
    """Usage of any days as CSV or Parquet: messages, segments, credits, calls and charges, by day, week, month or at once.

    python -m etl export --from 2026-10-01 --to 2026-10-31 > october.csv

    python -m etl export --all-time --by month --view inboxes --account acct_a --out inboxes.parquet

    total, sent and received have a row for every period, also one without usage. The other views add up to total.

    charge is exact. It lacks what is charged by the month: numbers, recording storage, tiers, credit overage, taxes.

    Missing days, and records that have no price yet, are named on standard error: exit code 3. Columns: docs/export.md
    """
    window = _days_asked(from_, to, all_time)
    chosen = format_ or ("parquet" if out and out.suffix == ".parquet" else "csv")
    if chosen == "parquet" and out is None:
        raise typer.BadParameter("a Parquet file needs --out FILE")
    if out and not force and out.exists():
        raise typer.BadParameter(f"{out} is there already: name another file, or add --force")

    def work() -> int:
        from etl import console
        from etl.jobs import Jobs

        asked = console.Export(window, tuple(account or ()), by, view)
        return console.exported(Jobs.open(config), asked, chosen, out)

    _command(work, False)


def _days_asked(first: str | None, last: str | None, all_time: bool) -> tuple[date, date] | None:
    """First and last day of a range that is over; None for all time."""
    from etl.periods import today

    if all_time:
        if first or last:
            raise typer.BadParameter("--all-time is every day there is: leave out --from and --to")
        return None
    if not (first or last):
        raise typer.BadParameter("give --from with --to, or --all-time")
    window = _window(None, first, last, None)
    if window[-1] >= today():
        raise typer.BadParameter(f"{window[-1]} is not over yet (UTC): ask for days to {today() - timedelta(days=1)}")
    return window[0], window[-1]


@app.command()
def credits(
    account: Annotated[str, typer.Option("--account", help="The account")],
    month: Annotated[str, typer.Option("--month", metavar="YYYY-MM", help="One UTC month")],
    config: Config = None,
    json: Json = False,
) -> None:
    """An account's credits of one month: what was granted, bought, burned, lapsed, and the balance after each.

    python -m etl credits --account acct_a --month 2026-10

    Allotment credits lapse on the subscription's anniversary day, bought ones never do.

    Overage is what no credit covered: it is charged in money and changes no balance.
    """
    from etl.periods import Month

    try:
        wanted = Month.parse(month)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None

    def work() -> int:
        from etl import console
        from etl.jobs import Jobs

        return console.credits(Jobs.open(config), account, wanted, as_json=json)

    _command(work, json)


@app.command()
def explain(
    account: Annotated[str, typer.Option("--account", help="The account")],
    month: Annotated[str, typer.Option("--month", metavar="YYYY-MM", help="One UTC month")],
    line: Annotated[
        str | None, typer.Option("--line", metavar="LINE", help="A line's name, such as text, or its number")
    ] = None,
    direction: Annotated[str | None, typer.Option("--direction", help="inbound or outbound")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="sms, mms, …")] = None,
    item: Annotated[str | None, typer.Option("--item", help="The line's item, as the list shows it")] = None,
    records: Annotated[int, typer.Option("--records", min=0, max=1000, help="Example records to show")] = 5,
    config: Config = None,
    json: Json = False,
) -> None:
    """Where does this number come from? A statement line down to prices, days, records and raw pages, added up again.

    python -m etl explain --account acct_a --month 2026-10

    python -m etl explain --account acct_a --month 2026-10 --line text --direction outbound --type sms

    Without --line: the statement's lines by number. Exit code 3: a sum is not what the line says. docs/explain.md
    """
    from etl.periods import Month

    try:
        wanted = Month.parse(month)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if line is None and (direction or type_ or item):
        raise typer.BadParameter("--direction, --type and --item tell lines of one name apart: give --line too")

    def work() -> int:
        from etl import console
        from etl.explain import Key
        from etl.jobs import Jobs

        jobs = Jobs.open(config)
        if line is None:
            return console.statement_lines(jobs, account, wanted, as_json=json)
        key = Key(line, direction, type_, item)
        return console.explained(jobs.explain(account, wanted, key, records), as_json=json)

    _command(work, json)


@rates.command("check")
def rates_check(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="If not given: the rates folder of the settings")
    ] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Every error of prices, carrier fees, tiers and taxes by file and line, and gaps in time as warnings.

    python -m etl rates check new-rates

    Exit codes: 0 usable, 2 not usable, 3 usable but a price lapses and nothing follows.
    """

    def work() -> int:
        from etl import console

        return console.rates_checked(folder, config, as_json=json)

    _command(work, json)


@rates.command("diff")
def rates_diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="Folder of a rate card")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Folder of the one to compare with it")],
    rows: Annotated[
        bool, typer.Option("--rows", help="Also every row that differs, whether or not a price does")
    ] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 3 if a price changes, 0 if none does")
    ] = False,
) -> None:
    """What another rate card charges otherwise, and on which days: prices, carrier fees and tiers, in sentences.

    python -m etl rates diff config/rates new-rates
    """

    def work() -> int:
        from etl import console

        return console.rates_compared(old, new, rows=rows, exit_code=exit_code)

    _command(work, False)


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
