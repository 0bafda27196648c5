"""The verbs: render, pdf, publish, mail, operator. What the DAGs and the command line call.

They take the figures as `etl.statement.Statements` gives them and never compute one. One account's trouble stops no
other: every verb does all it can, then reports each account's outcome.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from etl.periods import Month
from etl.settings import ConfigurationError, Resolver, Settings

if TYPE_CHECKING:
    from etl.explain import Explanation
    from etl.lake import Lake, Store
    from etl.operations import Operations
    from etl.statement import Statement, Statements
    from reports.publish import Publisher
    from reports.workers import Here, Letters, Opening, Workers

log = logging.getLogger("tollbook")

# polars, jinja2 and boto3 are imported where they are used: a DAG file and --help import this module.


class Jobs(Protocol):
    """What the verbs stand on; `etl.jobs.Jobs` is one."""

    settings: Settings
    resolve: Resolver
    clock: Callable[[], datetime]

    @property
    def lake(self) -> Lake: ...

    @property
    def statements(self) -> Statements: ...

    def operations(self, month: Month) -> Operations: ...

    def explanations(self) -> Callable[[str, Month], tuple[Explanation, ...]]: ...

    def withheld(self, month: Month, *, mail: bool = False) -> dict[str, str]: ...


class Failed(Exception):
    """At least one account could not be served. The text names each."""


@dataclass(frozen=True)
class Outcome:
    """What a verb did for one account. ``held`` says in sentences what it held back, ``error`` what went wrong."""

    verb: str
    account_id: str
    month: str
    state: str = ""
    revision: int = 0
    where: str = ""
    done: int = 0
    unchanged: int = 0
    held: tuple[str, ...] = ()
    error: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "held": list(self.held)}


@dataclass(frozen=True)
class Letter:
    """An account's mail, written and not sent: its messages, or else what there is to say instead."""

    account_id: str
    letters: Letters | None = None
    recipients: list[str] = field(default_factory=list)
    outcome: Outcome | None = None
    error: Exception | None = None


# ------------------------------------------------------------------------------------------------ verbs of a DAG


def publish_month(jobs: Jobs, month: str) -> str:
    """Publish every account's statement of the month. Returns the month; raises `Failed` after trying all."""
    _finish(Reports(jobs).publish(Month.parse(month)))
    return month


def mail_month(jobs: Jobs, month: str) -> str:
    """Mail the final statements of the month that were not mailed yet. Does nothing without a [mail] section.

    Raises `Failed` when a recipient was refused too: a task's retries then try that one again, and no other.
    """
    if jobs.settings.mail is None:
        log.info("no [mail] section: nothing is mailed")
        return month
    _finish(Reports(jobs).mail(Month.parse(month)))
    return month


def operate(jobs: Jobs, *months: str) -> None:
    """Publish the operator's page of these months. Raises `Failed` after trying all."""
    _finish(outcome for month in months for outcome in Reports(jobs).operator(Month.parse(month)))


def _finish(outcomes: Iterable[Outcome]) -> None:
    failed = []
    for one in outcomes:
        if one.error:
            log.error("%s %s %s: %s", one.verb, one.account_id, one.month, one.error)
            failed.append(f"{one.account_id}: {one.error}")
            continue
        log.info("%s %s %s: %d done, %d unchanged", one.verb, one.account_id, one.month, one.done, one.unchanged)
        for sentence in one.held:
            log.warning("%s: %s", one.account_id, sentence)
        failed += [f"{one.account_id}: {sentence}" for sentence in one.details.get("refused", ())]
    if failed:
        raise Failed(f"{len(failed)} problem(s): " + "; ".join(failed[:5]))


# ------------------------------------------------------------------------------------------------ verbs


class Reports:
    """The verbs, bound to one configuration."""

    def __init__(self, jobs: Jobs, processes: int | None = None) -> None:
        self.jobs = jobs
        self.settings = jobs.settings
        self.processes = processes
        # The lake is read by one thread at a time, whoever waits for what is read.
        self._reading = Lock()

    @cached_property
    def opening(self) -> Opening:
        """How the reports store is opened, its connection resolved: only the process that Airflow started can do that."""
        from reports.workers import Opening

        settings = self.settings.reports
        connection = self.jobs.resolve(settings.store.connection) if settings.store.connection else None
        return Opening(settings.store, self.settings.home, settings, self._today(), connection)

    @cached_property
    def publisher(self) -> Publisher:
        return self.opening.publisher()

    def accounts(self, month: Month, chosen: Iterable[str] | None = None) -> list[str]:
        """Ids of the chosen accounts, or of all that were customers in the month. ConfigurationError for one that is not in
        the directory."""
        known = [account.account_id for account in self.jobs.statements.accounts]
        ours = [account.account_id for account in self.jobs.statements.accounts_of(month)]
        chosen = list(dict.fromkeys(chosen or ours))
        if unknown := set(chosen) - set(known):
            raise ConfigurationError(
                f"unknown account {', '.join(sorted(unknown))}: accounts.csv has {', '.join(known)}"
            )
        return chosen

    def render(self, month: Month, out: Path, accounts: Iterable[str] | None = None) -> Iterator[Outcome]:
        """Write pages and files into a folder, with links that work from disk. Touches no bucket."""
        from reports.workers import Opening

        store = self.settings.reports.store.model_copy(update={"url": str(out.resolve()), "connection": None})
        opening = Opening(store, self.settings.home, _unlinked(self.settings.reports), self._today())
        yield from self._publish("render", month, accounts, opening=opening)

    def pdf(self, month: Month, out: Path, accounts: Iterable[str] | None = None) -> Iterator[Outcome]:
        """Print each account's page into a PDF in a folder, with an installed Chromium. ConfigurationError without one."""
        from reports.paper import Printer

        printer = Printer.found()
        for account_id in self.accounts(month, accounts):
            yield self._guarded("pdf", account_id, month, lambda a: self._pdf(a, month, out, printer))

    def publish(self, month: Month, accounts: Iterable[str] | None = None) -> Iterator[Outcome]:
        """Put pages and files into the reports store, but for an account whose figures break a promise."""
        yield from self._publish("publish", month, accounts, self.jobs.withheld(month))

    def mail(self, month: Month, accounts: Iterable[str] | None = None) -> Iterator[Outcome]:
        """Send each account's final statement to its recipients, each once."""
        from reports.outbox import Outbox
        from reports.smtp import Server

        settings, withheld = self._mail_settings(), self.jobs.withheld(month, mail=True)
        outbox = Outbox(self.jobs.lake)
        chosen = self.accounts(month, accounts)
        with (
            Server(self.jobs.resolve(settings.connection), starttls=settings.starttls) as server,
            self._drawing(chosen) as drawing,
        ):

            def written(account_id: str) -> Letter:
                if account_id in withheld:
                    outcome = Outcome("mail", account_id, str(month), error=f"not mailed: {withheld[account_id]}")
                    return Letter(account_id, outcome=outcome)
                try:
                    return self._written(account_id, month, drawing)
                except Exception as error:  # noqa: BLE001 - it is this account's, and told in its turn
                    return Letter(account_id, error=error)

            # Written several at a time, sent one by one in the order of the accounts.
            for letter in drawing.each(written, chosen):
                yield letter.outcome or self._guarded(
                    "mail", letter.account_id, month, lambda _, one=letter: self._sent(one, month, outbox, server)
                )

    def preview(
        self, month: Month, accounts: Iterable[str] | None = None, *, to: str | None = None, folder: Path | None = None
    ) -> Iterator[Outcome]:
        """Copies of the mails, of months in any state: sent to one address, or written into a folder as .eml. Leaves no
        trace in the outbox."""
        from reports.mail import check_address
        from reports.smtp import Server

        settings = self._mail_settings()
        if to:
            check_address(to)
        server = Server(self.jobs.resolve(settings.connection), starttls=settings.starttls) if to else None
        with server or nullcontext():
            for account_id in self.accounts(month, accounts):
                yield self._guarded("preview", account_id, month, lambda a: self._preview(a, month, to, folder, server))

    def operator(self, month: Month, out: Path | None = None) -> Iterator[Outcome]:
        """Put the operator's page of the month into the reports store, or into a folder. What needs doing is ``held``."""
        from reports.operator import desk
        from reports.publish import Publisher

        publisher = Publisher(_local(out), _unlinked(self.settings.reports)) if out else self.publisher

        def work(_: str) -> Outcome:
            drawn = desk.publish(publisher, self.jobs.operations(month))
            written, kept = drawn.written, drawn.kept
            if drawn.new and drawn.newest != month:  # the newest month's menu does not name this one yet
                again = desk.publish(publisher, self.jobs.operations(drawn.newest))
                written, kept = written + again.written, kept + again.kept
            return Outcome(
                "operator", desk.FOLDER, str(month), drawn.state, 0, drawn.page, written, kept, drawn.todo
            )  # fmt: skip

        yield self._guarded("operator", desk.FOLDER, month, work)

    # -------------------------------------------------------------------------------------------- one account

    def _publish(
        self,
        verb: str,
        month: Month,
        accounts: Iterable[str] | None,
        withheld: Mapping[str, str] = MappingProxyType({}),
        *,
        opening: Opening | None = None,
    ) -> Iterator[Outcome]:
        explain = self.jobs.explanations()

        def work(account_id: str) -> Outcome:
            unexplained: list[str] = []
            done = drawing.publish(
                self._statement(account_id, month), self._explained(explain, account_id, month, unexplained)
            )
            written, kept, failed = done.written, done.kept, []
            waiting, seen = list(done.follow), set()
            while waiting:
                other = waiting.pop(0)
                if other in seen:
                    continue
                seen.add(other)
                try:
                    again = drawing.publish(
                        self._statement(account_id, other), self._explained(explain, account_id, other, unexplained)
                    )
                except Exception as error:  # noqa: BLE001 - the month itself is published, and the others still follow
                    failed.append(f"{other}: {_told(error, account_id)}")
                    continue
                written, kept, waiting = written + again.written, kept + again.kept, [*waiting, *again.follow]
            error = None
            if failed:
                error = (
                    f"{month} was dealt with; months that tell of others were not published again: {'; '.join(failed)}"
                )
            return Outcome(
                verb, account_id, str(month), done.state, done.revision, done.page, written, kept,
                (*done.held, *unexplained), error,
            )  # fmt: skip

        def guarded(account_id: str) -> Outcome:
            if account_id in withheld:
                return Outcome(verb, account_id, str(month), error=f"not published: {withheld[account_id]}")
            return self._guarded(verb, account_id, month, work)

        chosen = self.accounts(month, accounts)
        with self._drawing(chosen, opening) as drawing:
            yield from drawing.each(guarded, chosen)

    def _drawing(self, accounts: list[str], opening: Opening | None = None) -> Here | Workers:
        """Who draws for these accounts, into the reports store unless another one is opened: this process, or several where
        that is quicker."""
        from reports.workers import Here, Workers, count

        workers = count(len(accounts), self.processes)
        if workers:
            return Workers(workers, opening or self.opening)
        return Here(opening.publisher() if opening else self.publisher)

    def _explained(
        self, explain: Callable[[str, Month], tuple[Explanation, ...]], account_id: str, month: Month, held: list[str]
    ) -> Callable[[], tuple[Explanation, ...]]:
        """The explanations of a statement's lines. What goes wrong on the way to them stops no statement: it is ``held``."""

        def given() -> tuple[Explanation, ...]:
            try:
                with self._reading:
                    found = explain(account_id, month)
            except Exception as error:  # noqa: BLE001 - the statement stands without them
                held.append(f"{month} is published without its explanations: {_told(error, account_id)}")
                return ()
            for one in found:
                if not one.sound:
                    held.append(
                        f"{month} line {one.line['position']} does not add up: python -m etl explain --account {account_id} "
                        f"--month {month} --line {one.line['position']}"
                    )
            return found

        return given

    def _pdf(self, account_id: str, month: Month, out: Path, printer) -> Outcome:
        from reports import files, paper
        from reports.model import build

        page, settings = build(self._statement(account_id, month)), self.settings.reports
        made = [file.info() for file in files.make(page, settings.issuer)]
        html = paper.document(page, made, base_url=settings.base_url, contact=settings.contact)
        path, written = paper.print_page(printer, page, html, out)
        return Outcome(
            "pdf", account_id, str(month), page.state, page.revision, str(path), int(written), int(not written)
        )

    def _written(self, account_id: str, month: Month, drawing: Here | Workers) -> Letter:
        settings = self._mail_settings()
        age = (self._today() - month.end).days
        statement = self._statement(account_id, month)
        if age > settings.max_age_days and statement.revision > 1 and statement.closed_at:
            # A month that was opened again is news from then on.
            age = (self._today() - datetime.fromisoformat(statement.closed_at).astimezone(UTC).date()).days
        if age > settings.max_age_days:
            log.info("%s %s ended %d days ago: published, not mailed", account_id, month, age)
            return Letter(account_id, outcome=Outcome("mail", account_id, str(month), details={"too_old": age}))
        recipients = _distinct(statement.account.email_to)
        return Letter(
            account_id, drawing.letters(statement, recipients, settings, self.settings.reports.contact), recipients
        )

    def _sent(self, letter: Letter, month: Month, outbox, server) -> Outcome:
        from reports.mail import NotSendable
        from reports.outbox import Entry
        from reports.smtp import Refused

        if letter.error:
            raise letter.error
        account_id, page = letter.account_id, letter.letters

        def outcome(**more) -> Outcome:
            return Outcome("mail", account_id, str(month), page.state, page.revision, **more)

        if not page.final:
            return outcome(held=(f"{month} is {page.state}: only a final statement is mailed",))
        if not page.published:
            return outcome(
                held=(f"{month} revision {page.revision} is not published: run python -m reports publish first",)
            )
        held, sent, already = [], 0, 0
        if not letter.recipients:
            held.append("accounts.csv names no e-mail address")
        for recipient in letter.recipients:
            entry = Entry(month, account_id, page.revision, recipient)
            with self._reading:
                known = outbox.sent(entry)
            if known:
                already += 1
                continue
            message = page.by_recipient[recipient]
            try:
                if isinstance(message, Exception):
                    raise message
                with self._reading:
                    outbox.intend(entry, message["Message-ID"])
                server.send(message, self._mail_settings().sender, recipient)
            except (NotSendable, Refused) as error:
                held.append(f"not mailed to {_hidden(recipient)}: {_without_addresses(str(error))}")
                continue
            with self._reading:
                outbox.confirm(entry, message["Message-ID"])
            sent += 1
        details = {"refused": held} if letter.recipients and held else {}
        return outcome(done=sent, unchanged=already, held=tuple(held), details=details)

    def _preview(self, account_id: str, month: Month, to: str | None, folder: Path | None, server) -> Outcome:
        from reports.mail import compose
        from reports.model import build

        statement = self._statement(account_id, month)
        page = build(statement)
        settings, links = self._mail_settings(), self.publisher.mail_links(page)
        explained = self.publisher.explanation(page, links)
        written = 0
        for recipient in [to] if to else _distinct(statement.account.email_to):
            message = compose(
                page, recipient, settings, links, contact=self.settings.reports.contact, preview=bool(to),
                explained=explained,
            )  # fmt: skip
            if folder:
                folder.mkdir(parents=True, exist_ok=True)
                name = f"{account_id}_{month}_{written + 1}.eml"
                (folder / name).write_bytes(message.as_bytes())
            else:
                server.send(message, settings.sender, recipient)
            written += 1
        return Outcome("preview", account_id, str(month), page.state, page.revision, str(folder or to), written)

    def _guarded(self, verb: str, account_id: str, month: Month, work: Callable[[str], Outcome]) -> Outcome:
        """The outcome of one account; an error becomes part of it, a wrong configuration does not."""
        try:
            return work(account_id)
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever one account's trouble is, the others are served
            return Outcome(verb, account_id, str(month), error=_told(error, account_id))

    def _statement(self, account_id: str, month: Month) -> Statement:
        with self._reading:
            return self.jobs.statements.load(account_id, month)

    def _mail_settings(self):
        if self.settings.mail is None:
            raise ConfigurationError("nothing can be mailed: the settings have no [mail] section")
        return self.settings.mail

    def _today(self) -> date:
        return self.jobs.clock().astimezone(UTC).date()


def _told(error: Exception, account_id: str) -> str:
    """What went wrong. What nobody foresaw goes by its type too, and its traceback into the log."""
    from etl.lake import StoreError
    from reports.model import DoesNotAddUp
    from reports.publish import Changed, Damaged
    from reports.smtp import Refused, Unavailable
    from reports.workers import Died

    if isinstance(error, DoesNotAddUp | Changed | Damaged | StoreError | Refused | Unavailable | Died):
        return str(error) or type(error).__name__
    log.error("%s: %s", account_id, type(error).__name__, exc_info=error)
    return f"{type(error).__name__}: {error}"


# ------------------------------------------------------------------------------------------------ stores


def _local(folder: Path) -> Store:
    from etl.lake import open_store as open_

    return open_(folder.resolve())


def _unlinked(settings):
    """The same report settings for a folder on disk: links are relative there."""
    return settings.model_copy(update={"links": "relative"})


def _distinct(addresses: Iterable[str]) -> list[str]:
    """Each address once, in order; upper and lower case are the same address."""
    return list({address.strip().lower(): address.strip() for address in addresses}.values())


def _without_addresses(text: str) -> str:
    """What a server answers, which likes to repeat the address."""
    return re.sub(r"[^\s<>@]+@(?=[^\s<>@])", "…@", text)


def _hidden(address: str) -> str:
    """An address as logs may show it: ``l…@example.com``."""
    name, _, domain = address.partition("@")
    return f"{name[:1]}…@{domain}"
