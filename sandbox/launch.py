"""Starts a sandbox as a process of its own and stops that process again: for tests and demonstrations."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.company import CUSTOMERS, MAIN


@dataclass(frozen=True)
class Running:
    """A running sandbox."""

    url: str
    pid: int

    @property
    def main(self) -> tuple[str, str]:
        """(SID, token) of the main account."""
        return MAIN.sid, MAIN.token

    @property
    def accounts(self) -> dict[str, tuple[str, str]]:
        """(SID, token) of each customer's sub-account by account_id."""
        return {a.account_id: (a.sid, a.token) for a in CUSTOMERS}


@contextmanager
def launch(*flags: str) -> Iterator[Running]:
    """`with launch("--seed", "7", "--messages-per-day", "300") as box: httpx.get(box.url + ...)`."""
    command = [sys.executable, "-m", "sandbox", "serve", "--host", "127.0.0.1", "--port", "0", *flags]
    root = str(Path(__file__).resolve().parent.parent)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    }
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)  # noqa: S603
    try:
        line = process.stdout.readline()
        if not line.startswith("sandbox ready on "):
            raise RuntimeError(f"the sandbox did not start (exit code {process.poll()}): {line!r}")
        yield Running(line.split()[-1], process.pid)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
