"""The mail server: one encrypted connection for all messages of a run."""

from __future__ import annotations

import contextlib
import logging
import smtplib
import ssl
from email.message import EmailMessage
from types import TracebackType

from etl.settings import ConfigurationError, Connection

log = logging.getLogger("tollbook")

TIMEOUT = 30
TOO_LARGE = 552
"""A server that knows the size beforehand says so at the sender already (RFC 1870): that message only, not all."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Refused(Exception):
    """The server will not take this message for this recipient; the others are not affected."""


class Unavailable(Exception):
    """The server cannot be reached, logged into or talked to; no message was taken after this."""


class Server:
    """Connects on the first message. ``starttls`` refuses a server that does not encrypt.

    The connection's extra may name a ``cafile`` to trust, and ``ssl = true`` for a server that encrypts from the first
    byte (usual on port 465).
    """

    def __init__(self, connection: Connection, *, starttls: bool = True, timeout: float = TIMEOUT) -> None:
        self.connection = connection
        self.starttls = starttls
        self.timeout = timeout
        self._smtp: smtplib.SMTP | None = None

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: type | BaseException | TracebackType | None) -> None:
        self._drop()

    def send(self, message: EmailMessage, sender: str, recipient: str) -> None:
        """Hand over one message for one recipient; returns once the server has taken it."""
        smtp = self._connected()
        try:
            smtp.send_message(message, sender, [recipient])
        except smtplib.SMTPRecipientsRefused as error:
            raise Refused(_answer(next(iter(error.recipients.values()), (0, b"")))) from None
        except (smtplib.SMTPDataError, smtplib.SMTPNotSupportedError, UnicodeEncodeError) as error:
            raise Refused(_answer(getattr(error, "args", ()))) from None
        except smtplib.SMTPSenderRefused as error:
            if error.smtp_code == TOO_LARGE:
                raise Refused(_answer(error.args[:2])) from None
            self._drop()
            raise Unavailable(f"the mail server refuses the sender {sender}: {_answer(error.args)}") from None
        except (smtplib.SMTPException, OSError) as error:
            self._drop()
            raise Unavailable(f"the connection to the mail server broke: {error}") from error

    def _connected(self) -> smtplib.SMTP:
        if self._smtp is not None:
            return self._smtp
        host, where = self.connection.host, f"{self.connection.host}:{self.connection.port or 'default port'}"
        if not host:
            raise ConfigurationError("the mail connection names no host")
        implicit = bool(self.connection.extra.get("ssl")) or self.connection.port == 465
        if self.connection.login and not (implicit or self.starttls) and host not in _LOOPBACK:
            raise ConfigurationError(f"mail.starttls is false: the password would travel to {host} in the clear")
        context = ssl.create_default_context(cafile=self.connection.extra.get("cafile"))
        try:
            if implicit:
                smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                    host, self.connection.port or 465, timeout=self.timeout, context=context
                )
            else:
                smtp = smtplib.SMTP(host, self.connection.port or 587, timeout=self.timeout)
                if self.starttls:
                    smtp.starttls(context=context)
            if self.connection.login:
                smtp.login(self.connection.login, self.connection.password)
        except smtplib.SMTPNotSupportedError:
            raise Unavailable(f"{where} does not offer STARTTLS: nothing is sent over an open line") from None
        except smtplib.SMTPAuthenticationError as error:
            raise Unavailable(f"{where} refuses the login: {error.smtp_code}") from None
        except (smtplib.SMTPException, OSError) as error:
            raise Unavailable(f"no mail server at {where}: {error}") from error
        self._smtp = smtp
        return smtp

    def _drop(self) -> None:
        if self._smtp is not None:
            # the server has answered every message by now; how it says goodbye does not matter
            with contextlib.suppress(smtplib.SMTPException, OSError):
                self._smtp.quit()
        self._smtp = None


def _answer(parts: tuple) -> str:
    return " ".join(p.decode("utf-8", "replace") if isinstance(p, bytes) else str(p) for p in parts)
