"""The command line of ``reports``: render, pdf, publish, mail, operator, verify.

Exit codes: 0 done · 1 failed · 2 wrong use or configuration · 3 done, but something is held back (not final, refused).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

HELP = """From a statement to what people see: pages, CSV files, e-mail.

Look first:  python -m reports render --month 2026-10 --out out, then open out/ACCOUNT/index.html

After a month is closed:  python -m reports publish --month 2026-10, then python -m reports mail --month 2026-10

See a mail before anyone gets one:  python -m reports mail --month 2026-10 --eml out/mail

What does the month still need?  python -m reports operator --month 2026-10

Do the printed figures follow from the files?  python -m reports verify out/ACCOUNT/2026-10

Figures come from the lake as they are; nothing is computed again. Months are UTC. Everything may be repeated: what is
there already is left alone, and a recipient is mailed once. Exit codes: 0 done, 1 failed, 2 wrong use or configuration,
3 done but something is held back.
"""

app = typer.Typer(help=HELP, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

MonthOption = Annotated[str, typer.Option("--month", metavar="YYYY-MM", help="The UTC month")]
Account = Annotated[list[str] | None, typer.Option("--account", metavar="ID", help="Only this account (repeatable)")]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="Settings file [default: $TOLLBOOK_CONFIG or config/tollbook.toml]"
    ),
]
Processes = Annotated[
    int | None,
    typer.Option(
        "--processes", metavar="N", min=1, show_default=False,
        help="Draw with up to N processes [default: one for each core, at most 8]; few accounts take one",
    ),
]  # fmt: skip
Json = Annotated[bool, typer.Option("--json", help="Print each account's outcome, and the log, as JSON lines")]


def _command(
    verb: str,
    month: str,
    accounts: list[str] | None,
    config: Path | None,
    as_json: bool,
    work: Callable,
    processes: int | None = None,
) -> None:
    from etl.periods import Month

    try:
        wanted = Month.parse(month)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--month") from None
    from reports import console

    run = console.run(verb, config, wanted, accounts, as_json, lambda reports: work(reports, wanted), processes)
    raise typer.Exit(run)


@app.command()
def render(
    month: MonthOption,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write into; made if it is not there")],
    account: Account = None,
    processes: Processes = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Write pages and CSV files into a folder. They open from disk, and nothing is published."""
    _command("render", month, account, config, json, lambda reports, m: reports.render(m, out, account), processes)


@app.command()
def pdf(
    month: MonthOption,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write into; made if it is not there")],
    account: Account = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Print pages into PDF files, to file or to send on paper: ACCOUNT_MONTH_rev-1.pdf.

    Needs Chromium or Chrome on this machine. The same statement gives the same PDF, dated when the month was closed.
    """
    _command("pdf", month, account, config, json, lambda reports, m: reports.pdf(m, out, account))


@app.command()
def publish(
    month: MonthOption,
    account: Account = None,
    processes: Processes = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Put pages and CSV files into the reports store, as estimated until the month is closed.

    A final revision is written once and never again; the month's own page follows what is current.
    """
    _command("publish", month, account, config, json, lambda reports, m: reports.publish(m, account), processes)


@app.command()
def mail(
    month: MonthOption,
    account: Account = None,
    preview: Annotated[
        str | None,
        typer.Option(
            "--preview", metavar="ADDRESS", help="Send copies to this address instead, of months in any state"
        ),
    ] = None,
    eml: Annotated[
        Path | None, typer.Option("--eml", metavar="DIR", help="Write .eml files into a folder instead of sending")
    ] = None,
    processes: Processes = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Send final statements to each account's recipients, each once, however often this runs.

    A statement that is not final or not published is held back (exit code 3); so is one whose recipient the mail server
    refuses, which is tried again by the next run.
    """

    def work(reports, m):
        if preview or eml:
            return reports.preview(m, account, to=preview, folder=eml)
        return reports.mail(m, account)

    _command("mail", month, account, config, json, work, processes)


@app.command()
def operator(
    month: MonthOption,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write into a folder instead of the reports store")
    ] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Publish the operator's page: gaps, quarantine, what has no price, reconciliation, margin, what holds each account.

    It lies below _operator/ and is linked from no customer's page. Exit code 3 while something needs doing.
    """
    _command("operator", month, None, config, json, lambda reports, m: reports.operator(m, out))


@app.command()
def verify(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="A published month, revision or account, or a folder of them, copied from the store"
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print each check as a JSON line")] = False,
) -> None:
    """Recompute a page's figures from the files beside it, without the lake: a second opinion for anybody.

    Each file is compared with its hash and its columns, the CSV files with each other, and every figure of the page with
    the CSV rows it is made from; what cannot be recomputed from them is listed with the reason. Nothing is written.

    Exit codes: 0 all is found again, 2 wrong use, 3 something differs; the lines say what and where.
    """
    from reports import console

    raise typer.Exit(console.verify(folder, json))
