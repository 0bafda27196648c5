"""``python -m etl check``: what is wrong before a night finds out, each finding with what to do."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from etl.jobs import Jobs
from etl.periods import today
from etl.settings import ConfigurationError

OK, FAILED, WRONG, WARNING = 0, 1, 2, 3


@dataclass(frozen=True)
class Verdict:
    """One thing examined."""

    name: str
    exit_code: int
    finding: str
    remedy: str = ""

    def as_dict(self) -> dict:
        return asdict(self)


def examine(config: Path | None, *, offline: bool = False) -> Iterator[Verdict]:
    """Every check in turn; a broken settings file ends it, anything else does not."""
    try:
        jobs = Jobs.open(config)
    except ConfigurationError as error:
        yield Verdict(
            "settings", WRONG, str(error), "correct the file; config/tollbook.example.toml explains every key"
        )
        return
    yield Verdict("settings", OK, f"{len(jobs.settings.sources)} source(s), lake {jobs.settings.lake.url}")
    yield from _try(
        "directory", lambda: f"{len(jobs.directory.accounts)} account(s), {jobs.directory.numbers.height} number(s)"
    )
    yield from _products(jobs)
    yield from _rates(jobs)
    yield from _taxes(jobs)
    yield from _try("sources", lambda: ", ".join(jobs.sources))
    if offline:
        return
    yield from _stores(jobs)
    yield from _providers(jobs)
    yield from _mail(jobs)
    yield from _try("retention", jobs.kept, "set the connection of retention.key_connection, or leave it out: docs/privacy.md")


def _try(name: str, work: Callable[[], str], remedy: str = "") -> Iterator[Verdict]:
    from etl.lake import StoreError
    from etl.sources import SourceError

    try:
        yield Verdict(name, OK, work())
    except ConfigurationError as error:
        yield Verdict(name, WRONG, str(error), remedy)
    except (StoreError, SourceError, OSError, ValueError) as error:
        yield Verdict(name, FAILED, f"{error}" or type(error).__name__, remedy)


def _rates(jobs: Jobs) -> Iterator[Verdict]:
    from etl.rating.card import gaps

    found = list(
        _try("rate card", lambda: f"{jobs.card.prices.height} price(s), {jobs.card.fees.height} carrier fee(s)")
    )
    yield from found
    if found[0].exit_code == OK:
        for sentence in gaps(jobs.card, jobs.settings.start, today() + timedelta(days=31)):
            yield Verdict(
                "rate card", WARNING, sentence,
                "add the row that follows, unless a shorter prefix is meant to take over or nothing is sold there",
            )  # fmt: skip


def _products(jobs: Jobs) -> Iterator[Verdict]:
    names = ("plans", "subscriptions", "purchases", "adjustments")
    found = list(_try("products", lambda: ", ".join(f"{getattr(jobs.products, n).height} {n}" for n in names)))
    yield from found
    if found[0].exit_code != OK:
        return
    start = jobs.settings.start
    for row in jobs.products.purchases.iter_rows(named=True):
        if row["bought_at"].date() < start:
            yield Verdict(
                "products", WARNING, f"purchase {row['purchase_id']} is older than start = {start}: its credits count nowhere",
                f"enter what was left of it on {start} as a purchase of that day",
            )  # fmt: skip


def _taxes(jobs: Jobs) -> Iterator[Verdict]:
    from etl.taxes import unknown_exemptions, unplaced

    found = list(_try("taxes", lambda: f"{jobs.taxes.versions.height} rule version(s)"))
    yield from found
    if found[0].exit_code != OK:
        return
    accounts, places = jobs.directory.terms, jobs.directory.places["jurisdiction"].unique().to_list()
    for sentence in unplaced(accounts, jobs.taxes, jobs.settings.start, today() + timedelta(days=31), places):
        yield Verdict("taxes", WARNING, sentence, "complete accounts.csv or places.csv, unless no tax is meant")
    for sentence in unknown_exemptions(accounts, jobs.taxes):
        yield Verdict("taxes", WARNING, sentence, "write levels or tax ids of taxes.csv, or all")


def _stores(jobs: Jobs) -> Iterator[Verdict]:
    from etl.lake import probe

    def examine_store(settings) -> str:
        report = probe(jobs.open_store(settings))
        if not report.ok and not settings.single_writer:
            raise ConfigurationError(str(report))
        return f"{report.url}: {report.verdict}"

    remedy = "check url, endpoint_url and the connection's keys; a store without conditional writes needs single_writer"
    yield from _try("lake", lambda: examine_store(jobs.settings.lake), remedy)
    yield from _try("reports bucket", lambda: examine_store(jobs.settings.reports.store), remedy)


def _providers(jobs: Jobs) -> Iterator[Verdict]:
    try:
        sources = jobs.sources
    except ConfigurationError:
        return
    for name, source in sources.items():
        yield from _try(f"source {name}", source.check, "check the connection's login and password, and base_url")


def _mail(jobs: Jobs) -> Iterator[Verdict]:
    mail = jobs.settings.mail
    if mail is None:
        yield Verdict("mail", WARNING, "there is no [mail] section", "add one, or statements are only published")
        return

    def reach() -> str:
        connection = jobs.resolve(mail.connection)
        if not connection.host:
            raise ConfigurationError(f"connection {mail.connection!r} names no host")
        at_once = connection.port == 465 or bool(connection.extra.get("ssl"))
        secure = ssl.create_default_context(cafile=connection.extra.get("cafile"))
        options = {"context": secure} if at_once else {}
        kind = smtplib.SMTP_SSL if at_once else smtplib.SMTP
        with kind(connection.host, connection.port or 587, timeout=10, **options) as server:
            if mail.starttls and not at_once:
                server.starttls(context=secure)
            if connection.login:
                server.login(connection.login, connection.password)
            server.noop()
        return f"{connection.host}:{connection.port or 587} answers"

    yield from _try("mail", reach, "check the SMTP connection; starttls = false only for a server on this machine")
