"""Stand-ins for the reports' tests: the jobs a verb is given, and a mail server."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from aiosmtpd.controller import Controller

from etl.lake import Lake, open_store
from etl.settings import Connection, Settings
from etl.statement import Statement

CHROMIUM = Path("/usr/bin/chromium")


@dataclass
class FakeStatements:
    """What `etl.statement.Statements` is to the verbs."""

    given: list[Statement]

    @property
    def accounts(self):
        return tuple(s.account for s in self.given)

    def accounts_of(self, _month):
        return self.accounts

    def load(self, account_id, month):
        for statement in self.given:
            if (statement.account.account_id, statement.month) == (account_id, month):
                return statement
        raise LookupError(f"there is no statement for {month}")


@dataclass
class FakeJobs:
    """What `etl.jobs.Jobs` is to the verbs."""

    settings: Settings
    statements: FakeStatements
    lake: Lake
    connection: Connection = field(default_factory=Connection)

    def resolve(self, name: str) -> Connection:
        return self.connection

    def explanations(self):
        """Made statements have no records: nothing explains them."""
        return lambda _account_id, _month: ()

    @staticmethod
    def clock() -> datetime:
        return datetime(2026, 11, 5, 8, tzinfo=UTC)

    @staticmethod
    def withheld(_month, *, mail: bool = False) -> dict[str, str]:
        return {}


def make_jobs(root: Path, given: list[Statement], *, port: int = 0, mail: dict | None = None, **reports) -> FakeJobs:
    sent_from = {"connection": "mail", "sender": "billing@tollbook.example", "starttls": False}
    settings = Settings(
        lake={"url": str(root / "lake")},
        reports={"store": {"url": str(root / "published")}, "base_url": "https://statements.example.com", **reports},
        sources={"twilio": {"kind": "twilio"}},
        mail=sent_from | (mail or {}),
        directory="directory",
        rates="rates",
        start="2026-05-01",
    )
    clock = lambda: datetime(2026, 11, 5, 8, tzinfo=UTC)  # noqa: E731
    lake = Lake(open_store(root / "lake"), run_id="test", config="0" * 64, code="0" * 64, clock=clock)
    return FakeJobs(settings, FakeStatements(given), lake, Connection(host="127.0.0.1", port=port))


@dataclass
class Catcher:
    """An SMTP server that keeps what it takes and refuses whom it is told to."""

    messages: list[tuple[str, bytes]] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    after_data: str | None = None
    port: int = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if self.after_data:
            return self.after_data
        self.messages += [(address, envelope.content) for address in envelope.rcpt_tos]
        return "250 taken"

    def recipients(self) -> list[str]:
        return sorted(address for address, _ in self.messages)


@contextlib.contextmanager
def listening(handler: Catcher, **options) -> Iterator[int]:
    """Run the catcher on a free loopback port until the block ends; yields the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(handler, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()
