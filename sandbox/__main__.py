"""Command line of the sandbox provider: `python -m sandbox --help`."""

import argparse
import json
import sys
from datetime import UTC, date, datetime, time
from pathlib import Path

from sandbox import directory
from sandbox.company import CUSTOMERS, credentials, find
from sandbox.traffic import Clock, World, clock_at

COMMANDS = ("serve", "truth", "directory", "export", "invoice", "credentials")

INTRODUCTION = """\
A provider to practise on: an HTTP server that answers as a communications provider's API (version 2010-04-01) does,
with the traffic of three invented customer companies from 2026-03-01 to --today. The same --seed gives the same bytes.
"""

EXAMPLES = """\
examples
  python -m sandbox serve --port 8010                       serve; stop with Ctrl-C
  python -m sandbox --host 127.0.0.1 --port 0 --ready-file /tmp/port   a free port, written to a file
  python -m sandbox credentials                             SIDs and tokens (invented, the same for every seed)
  python -m sandbox directory --out directory/              accounts.csv, numbers.csv, plans.csv, purchases.csv, ...
  python -m sandbox truth --from 2026-10-01 --to 2026-10-31 --out truth.jsonl
  python -m sandbox export --day 2026-10-06 --format console-csv --out files/
  python -m sandbox invoice --month 2026-10 --out october.csv           what it bills; wrong on purpose with --wrong
  python -m sandbox serve --fault throttle,path=Messages,times=2,retry_after=1

  curl -u SID:TOKEN 'http://127.0.0.1:8010/2010-04-01/Accounts/SID/Messages.json?DateSent%3E=2026-10-06&PageSize=20'

Without a command, `serve` is meant. Faults: python -m sandbox serve --help.
"""


def _world_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", default="1", help="any text; same seed, same data (default 1)")
    parser.add_argument(
        "--today",
        type=date.fromisoformat,
        default=date(2026, 11, 8),
        help="the provider's UTC date (default 2026-11-08)",
    )
    parser.add_argument(
        "--now", help="the provider's exact moment, e.g. 2026-11-08T12:00:00Z (default: noon of --today)"
    )
    parser.add_argument("--messages-per-day", type=int, default=900, help="average of all accounts (default 900)")
    parser.add_argument("--calls-per-day", type=int, default=160, help="call events, average (default 160)")


def build_parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m sandbox", description=INTRODUCTION, epilog=EXAMPLES, formatter_class=raw
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    from sandbox import faults

    serve = commands.add_parser("serve", help="run the HTTP server", epilog=faults.__doc__, formatter_class=raw)
    _world_options(serve)
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=8010, help="0 takes a free port (default 8010)")
    serve.add_argument(
        "--ready-file", type=Path, help="file that receives the port once the server accepts connections"
    )
    serve.add_argument("--latency-ms", type=int, default=0, help="wait so long before each answer")
    serve.add_argument(
        "--max-concurrent", type=int, default=0, help="more requests at a time get 429 (default: no limit)"
    )
    serve.add_argument(
        "--fault", action="append", default=[], metavar="SPEC", help="kind,key=value,...; may be repeated"
    )

    truth = commands.add_parser("truth", help="write the sandbox's own totals by account, day, kind and direction")
    _world_options(truth)
    truth.add_argument("--from", dest="first", type=date.fromisoformat, default=date(2026, 3, 1))
    truth.add_argument("--to", dest="last", type=date.fromisoformat, help="last day, included (default: today)")
    truth.add_argument("--out", type=Path, required=True, help=".jsonl for JSON Lines, .json for an array")
    truth.add_argument("--by-owner", action="store_true", help="also by member, inbox and campaign; walks every row")

    where = commands.add_parser("directory", help="write the customer's directory as CSV files")
    _world_options(where)
    where.add_argument("--out", type=Path, required=True)

    export = commands.add_parser("export", help="write the messages of a day as the provider's export files")
    _world_options(export)
    export.add_argument("--day", type=date.fromisoformat, required=True)
    export.add_argument("--format", choices=("console-csv", "bulkexport"), required=True)
    export.add_argument("--account", action="append", help="SID or account_id (default: all)")
    export.add_argument("--out", type=Path, required=True)

    from sandbox import invoice

    bill = commands.add_parser(
        "invoice", help="write the invoice of a month, line by category", epilog=invoice.WRONGS, formatter_class=raw
    )
    _world_options(bill)
    bill.add_argument("--month", required=True, help="YYYY-MM")
    bill.add_argument("--out", type=Path, required=True, help=".csv, or .json as the API lists usage records")
    bill.add_argument("--by-account", action="store_true", help="each sub-account's lines (default: all in one)")
    bill.add_argument("--daily", action="store_true", help="a line for each day (default: for the month)")
    bill.add_argument("--wrong", action="append", default=[], metavar="SPEC", help="plant an error; may be repeated")

    secrets = commands.add_parser("credentials", help="print account SIDs and tokens")
    secrets.add_argument("--json", action="store_true")
    return parser


def _clock(options: argparse.Namespace) -> Clock:
    if not options.now:
        return clock_at(options.today, time(12))
    found = datetime.fromisoformat(options.now)
    return Clock(int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()))


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or (given[0] not in COMMANDS and given[0] not in ("-h", "--help")):
        given.insert(0, "serve")
    parser = build_parser()
    options = parser.parse_args(given)
    if options.command == "credentials":
        rows = credentials()
        if options.json:
            print(json.dumps(rows, indent=2))
        else:
            for row in rows:
                print(f"{row['account_id']:<14} {row['kind']:<11} {row['sid']} {row['token']}  {row['name']}")
        return 0
    try:
        world = World(options.seed, options.messages_per_day, options.calls_per_day)
        clock = _clock(options)
        accounts = [find(name) for name in getattr(options, "account", None) or ()] or CUSTOMERS
    except (ValueError, KeyError) as error:
        parser.error(str(error))
    if options.command == "directory":
        for path in directory.write(options.out, world, clock):
            print(path)
        return 0
    if options.command == "truth":
        from sandbox import truth

        last = options.last or clock.day
        print(
            truth.write(options.out, truth.lines(world, clock, options.first, last, options.by_owner)),
            "lines",
            options.out,
        )
        return 0
    if options.command == "export":
        from sandbox import export

        path, rows = export.write(world, clock, options.day, options.format, options.out, accounts)
        print(rows, "rows", path)
        return 0
    if options.command == "invoice":
        from sandbox import invoice

        try:
            first = date.fromisoformat(f"{options.month}-01")
            wrong = [invoice.Wrong.parse(text) for text in options.wrong]
        except ValueError as error:
            parser.error(str(error))
        found = invoice.lines(world, clock, first, by_account=options.by_account, daily=options.daily, wrong=wrong)
        print(invoice.write(options.out, found), "lines", options.out)
        return 0
    return _serve(parser, options, world, clock)


def _serve(parser: argparse.ArgumentParser, options: argparse.Namespace, world: World, clock: Clock) -> int:
    from sandbox.api import Provider
    from sandbox.faults import FaultError, build, parse_spec
    from sandbox.server import serve

    provider = Provider(world, clock, options.latency_ms, options.max_concurrent)
    try:
        for spec in options.fault:
            provider.faults.add(build(parse_spec(spec), provider.day_sids))
    except FaultError as error:
        parser.error(f"--fault {spec}: {error}")
    try:
        serve(provider, options.host, options.port, options.ready_file)
    except OSError as error:
        print(f"cannot listen on {options.host}:{options.port}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
