"""Mail once: what was meant to be sent and what was, per month, account, revision and recipient.

Before a message goes out its *intent* is written, once; after the mail server has taken it, *sent*. Both are create-only
documents in the lake. A recipient with *sent* is never written to again. Killed between the server's answer and *sent*,
the next run sends that one message again, with the same Message-ID; killed anywhere else, nothing is doubled or lost.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass

from etl.lake import Conflict, Lake
from etl.periods import Month


@dataclass(frozen=True)
class Entry:
    """One message to one recipient. The address itself is not stored, only its hash."""

    month: Month
    account_id: str
    revision: int
    recipient: str

    @property
    def folder(self) -> str:
        return f"outbox/month={self.month}/account={self.account_id}/rev={self.revision}"

    @property
    def key(self) -> str:
        return f"{self.folder}/{hashlib.sha256(self.recipient.strip().lower().encode()).hexdigest()[:32]}"


class Outbox:
    """The record of what was mailed, in the lake."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    def sent(self, entry: Entry) -> bool:
        return f"{entry.key}.sent" in self.lake.list_pins(f"{entry.folder}/")

    def intend(self, entry: Entry, message_id: str) -> None:
        """Note that the message is about to be sent. Before anything is handed to a mail server."""
        self._pin(entry.key, entry, message_id)

    def confirm(self, entry: Entry, message_id: str) -> None:
        """Note that the mail server has taken the message."""
        self._pin(f"{entry.key}.sent", entry, message_id)

    def _pin(self, key: str, entry: Entry, message_id: str) -> None:
        document = {
            "month": str(entry.month),
            "account_id": entry.account_id,
            "revision": entry.revision,
            "message_id": message_id,
        }
        with contextlib.suppress(Conflict):  # another run noted it first, in other words (the sender changed)
            self.lake.pin(key, document)
