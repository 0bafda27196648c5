"""A mail catcher on loopback: accepts every message and keeps it as an .eml file."""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

from aiosmtpd.controller import Controller

from stack.place import free_port


class _Keep:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def handle_DATA(self, server, session, envelope) -> str:
        identity = message_from_bytes(envelope.content)["Message-ID"] or f"no-id-{uuid.uuid4()}"  # as Airflow's own mails
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{identity.strip('<>')}--{envelope.rcpt_tos[0]}")
        (self.folder / f"{name}.eml").write_bytes(envelope.content)
        return "250 kept"


@contextlib.contextmanager
def mailbox(folder: Path) -> Iterator[tuple[str, int]]:
    """Listen on a free loopback port until the block ends; yields host and port."""
    folder.mkdir(parents=True, exist_ok=True)
    controller = Controller(_Keep(folder), hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        yield controller.hostname, controller.port
    finally:
        controller.stop()
