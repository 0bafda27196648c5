"""A proxy before an S3 server that spoils chosen answers, as networks do."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

ANSWERS = {
    "500": (500, "InternalError"),
    "503": (503, "SlowDown"),
    "409": (409, "ConditionalRequestConflict"),
    "expired": (403, "ExpiredToken"),
    "skewed": (403, "RequestTimeTooSkewed"),
    "elsewhere": (301, "PermanentRedirect"),
    "moved": (307, "TemporaryRedirect"),
    "region": (400, "AuthorizationHeaderMalformed"),
}
"""Faults that are an answer of the proxy's own; the server never sees the request."""
FAULTS = (
    *ANSWERS, "reset", "lost", "truncated", "flipped", "half-request", "flipped-request", "hang", "drip", "ignored",
)  # fmt: skip
"""`lost`: the server did it, and nobody hears so. `ignored`: a refused condition is told as kept."""


class Proxy:
    """`choose(method, path)` names the fault for each request, or None. `seen` counts requests.

    `patience` is how many seconds a `hang` lasts, and a `drip` takes altogether.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.patience = 1.0
        self.redirect = "http://127.0.0.1:9/elsewhere"
        self.region: str | None = "eu-west-1"
        self.choose: Callable[[str, str], str | None] = lambda method, path: None
        self.seen: list[tuple[str, str, str | None]] = []

    def once(self, fault: str, method: str, part: str, times: int = 1) -> None:
        """Spoil the first requests of that method whose path contains `part`."""
        left = [times]
        self.seen.clear()

        def choose(found: str, path: str) -> str | None:
            if left[0] and found == method and part in path:
                left[0] -= 1
                return fault
            return None

        self.choose = choose


@contextlib.contextmanager
def faultproxy(endpoint: str) -> Iterator[Proxy]:
    target = urlsplit(endpoint)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args) -> None:
            pass

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = proxy.choose(self.command, self.path)
            proxy.seen.append((self.command, self.path, fault))
            if fault == "reset":
                return self._hang_up()
            if fault == "hang":
                time.sleep(proxy.patience)
                return self._hang_up()
            if fault in ANSWERS:
                status, code = ANSWERS[fault]
                headers = [("Location", proxy.redirect)] if status in (301, 307) else []
                headers += [("x-amz-bucket-region", proxy.region)] if proxy.region else []
                text = f"<Error><Code>{code}</Code><Message>x</Message></Error>"
                return self._answer(status, [*headers, ("Content-Type", "application/xml")], text.encode())
            if fault == "flipped-request" and body:
                body = body[:-1] + bytes([body[-1] ^ 1])
            if fault == "half-request":
                with socket.create_connection((target.hostname, target.port)) as raw:
                    lines = [f"{self.command} {self.path} HTTP/1.1", *(f"{k}: {v}" for k, v in self.headers.items())]
                    raw.sendall("\r\n".join([*lines, "", ""]).encode() + body[: len(body) // 2])
                return self._hang_up()
            upstream = http.client.HTTPConnection(target.hostname, target.port, timeout=30)
            try:
                # the Host header is part of the signature and goes through unchanged
                upstream.request(self.command, self.path, body, dict(self.headers))
                answer = upstream.getresponse()
                data = answer.read()
            finally:
                upstream.close()
            if fault == "lost":
                return self._hang_up()
            headers = [(k, v) for k, v in answer.getheaders() if k.lower() not in ("connection", "transfer-encoding")]
            if fault == "flipped" and data:
                data = data[:-1] + bytes([data[-1] ^ 1])
            if fault == "ignored" and answer.status == 412:
                return self._answer(200, [("ETag", '"0"')], b"")
            self._answer(
                answer.status, headers, data, len(data) // 2 if fault == "truncated" else None, fault == "drip"
            )
            return None

        def _answer(self, status: int, headers: list, data: bytes, cut: int | None = None, drip: bool = False) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() != "content-length" or self.command == "HEAD":
                    self.send_header(name, value)
            if self.command != "HEAD" and status != 204:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                for start in range(0, len(data), len(data) // 10 + 1) if drip else ():
                    self.wfile.write(data[start : start + len(data) // 10 + 1])
                    self.wfile.flush()
                    time.sleep(proxy.patience / 10)
                if not drip:
                    self.wfile.write(data[:cut])
            if cut is not None:
                self._hang_up()

        def _hang_up(self) -> None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _serve

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args) -> None:
            pass  # hanging up is what it is for

    with Server(("127.0.0.1", 0), Handler) as server:
        proxy = Proxy(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
