"""Runs the API on a socket of this machine and says when it is ready."""

import os
import socket
from pathlib import Path

import uvicorn

from sandbox.api import Provider, application


class _Announcing(uvicorn.Server):
    """Prints the address once connections are accepted."""

    def __init__(self, config: uvicorn.Config, url: str, ready_file: Path | None) -> None:
        super().__init__(config)
        self._url, self._ready_file = url, ready_file

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self._ready_file is not None:
            draft = self._ready_file.with_name(f"{self._ready_file.name}.{os.getpid()}")
            draft.write_text(self._url.rsplit(":", 1)[1] + "\n", encoding="ascii")
            draft.replace(self._ready_file)
        print(f"sandbox ready on {self._url}", flush=True)


def serve(provider: Provider, host: str, port: int, ready_file: Path | None = None) -> None:
    """Serves until SIGINT or SIGTERM. Port 0 takes a free one; `ready_file` receives the port as text."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    config = uvicorn.Config(
        application(provider),
        access_log=False,
        log_level="critical",
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listener.getsockname()[1]}"
    _Announcing(config, url, ready_file).run(sockets=[listener])
