"""A mail server of the smallest kind, that says at each step what it is told to: also nothing, or goodbye."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Script:
    """``says``: verb → the answers it gives, one after the other, the last for ever. ``drop`` ends the connection instead of
    an answer, ``hang`` says nothing. The verbs are those of SMTP, CONNECT before the first and END after the message."""

    says: dict[str, list[str]] = field(default_factory=dict)
    extensions: tuple[str, ...] = ("8BITMIME", "SMTPUTF8")
    """Empty: a server that knows HELO alone."""
    taken: list[tuple[list[str], bytes]] = field(default_factory=list)
    """(recipients, bytes) of each message that was answered with 250."""
    heard: list[str] = field(default_factory=list)
    port: int = 0

    def answer(self, verb: str, usual: str) -> str:
        answers = self.says.get(verb)
        if not answers:
            return usual
        return answers.pop(0) if len(answers) > 1 else answers[0]


class _Handler(socketserver.StreamRequestHandler):
    def _say(self, verb: str, usual: str) -> str | None:
        text = self.server.script.answer(verb, usual)
        if text == "hang":
            time.sleep(2)
        if text in ("hang", "drop"):
            self.connection.shutdown(socket.SHUT_RDWR)
            return None
        self.wfile.write(text.replace("\n", "\r\n").encode() + b"\r\n")
        return text

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self._talk()

    def _talk(self) -> None:
        script, recipients = self.server.script, []
        said = self._say("CONNECT", "220 here")
        while said is not None:
            line = self.rfile.readline().decode("utf-8", "replace").strip()
            if not line:
                return
            script.heard.append(line)
            verb = line.split()[0].upper()
            if verb == "EHLO":
                lines = ["here", *script.extensions]
                usual = "\n".join(f"250{'-' if i < len(lines) - 1 else ' '}{text}" for i, text in enumerate(lines))
                said = self._say(verb, usual if script.extensions else "502 what")
            elif verb == "RCPT":
                said = self._say(verb, "250 ok")
                if said and said.startswith("250"):
                    recipients.append(line.split(":", 1)[1].strip(" <>"))
            elif verb == "DATA":
                said = self._say(verb, "354 go on")
                if said and said.startswith("354"):
                    data = b"".join(iter(self.rfile.readline, b".\r\n"))
                    said = self._say("END", "250 taken")
                    if said and said.startswith("250"):
                        script.taken.append((recipients, data))
                    recipients = []
            elif verb == "QUIT":
                self._say(verb, "221 bye")
                return
            else:
                recipients = [] if verb in ("MAIL", "RSET") else recipients
                said = self._say(verb, "250 ok")


@contextlib.contextmanager
def smtp_running(script: Script) -> Iterator[Script]:
    """The server until the block ends; its port is in the script."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads, server.script = True, script
    script.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
