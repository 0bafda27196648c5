"""Several processes draw at once: each opens the reports store for itself and does one account after another.

The one that starts them reads the lake, asks for credentials and keeps the order; what it hands on is a statement, what
comes back is what became of it. Credentials go through a pipe: neither the command line nor the environment of a worker
has them. A worker that dies takes one account with it; another one is started in its place.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from queue import LifoQueue
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from etl.settings import Connection, MailSettings, ReportSettings, StoreSettings

if TYPE_CHECKING:
    from email.message import EmailMessage

    from polars import DataFrame

    from etl.statement import Statement
    from reports.publish import Explain, Published, Publisher

WORTH = 12
"""Accounts a worker must have to do: starting one costs as much as drawing several."""
MOST = 8
"""Workers there are at most unless somebody asks for more: each takes a few hundred MiB."""
_START = "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); from reports.workers import serve; serve()"
_T = TypeVar("_T")
_R = TypeVar("_R")


class Died(Exception):
    """A worker ended in the middle of its work; the text says how."""


@dataclass(frozen=True)
class Opening:
    """All it takes to open a publisher anywhere: ``connection`` is the resolved one of ``store``, ``today`` dates links."""

    store: StoreSettings
    home: Path
    settings: ReportSettings
    today: date
    connection: Connection | None = field(default=None, repr=False)

    def publisher(self) -> Publisher:
        from etl.lake import open_configured
        from reports.publish import Publisher

        store = open_configured(self.store, self.home, lambda _: self.connection)
        return Publisher(store, self.settings, lambda: self.today)


@dataclass(frozen=True)
class Letters:
    """What is to be mailed of a statement: recipient → the message, or why there is none. Empty unless it is ``final`` and
    ``published``."""

    state: str
    revision: int
    final: bool
    published: bool
    by_recipient: dict[str, EmailMessage | Exception] = field(default_factory=dict)


def letters(
    publisher: Publisher, statement: Statement, recipients: Iterable[str], sender: MailSettings, contact: str | None
) -> Letters:
    """The messages of a statement. `reports.model.DoesNotAddUp` if its figures do not."""
    from reports.mail import NotSendable, compose
    from reports.model import build

    page = build(statement, files=False)
    found = Letters(page.state, page.revision, page.final, page.final and publisher.is_published(page))
    if not found.published:
        return found
    links = publisher.mail_links(page)
    explained = publisher.explanation(page, links)
    made: dict[str, EmailMessage | Exception] = {}
    for recipient in recipients:
        try:
            made[recipient] = compose(page, recipient, sender, links, contact=contact, explained=explained)
        except NotSendable as error:
            made[recipient] = error
    return replace(found, by_recipient=made)


# ------------------------------------------------------------------------------------------------ who does it


def count(accounts: int, asked: int | None = None) -> int:
    """How many workers are worth starting for so many accounts; 0 where one process is as quick."""
    most = asked if asked is not None else min(len(os.sched_getaffinity(0)), MOST)
    workers = min(most, accounts // WORTH)
    return workers if workers > 1 else 0


class Here:
    """The same calls, in this process."""

    width = 1

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def publish(self, statement: Statement, explain: Explain | None = None) -> Published:
        return self.publisher.publish(statement, explain)

    def letters(self, statement: Statement, *rest: Any) -> Letters:
        return letters(self.publisher, statement, *rest)

    def each(self, work: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
        return map(work, items)


class Workers:
    """So many processes. Their calls block, so `each` makes them from threads: what these do besides is theirs to lock."""

    def __init__(self, processes: int, opening: Opening) -> None:
        self.width = processes
        self.opening = opening
        self._idle: LifoQueue[_Worker] = LifoQueue()

    def __enter__(self) -> Workers:
        self._all = [_Worker(self.opening) for _ in range(self.width)]
        for worker in self._all:
            self._idle.put(worker)
        # One more than there are workers: it makes the next account's statement ready.
        self._threads = ThreadPoolExecutor(self.width + 1, thread_name_prefix="reports")
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        for worker in self._all:
            worker.stop(now=kind is not None)
        self._threads.shutdown(wait=True, cancel_futures=True)

    def publish(self, statement: Statement, explain: Explain | None = None) -> Published:
        return self._call(("publish", statement, explain is not None), explain)

    def letters(self, statement: Statement, *rest: Any) -> Letters:
        return self._call(("letters", statement, *rest))

    def each(self, work: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
        """The results in the order of the items, made at most a few ahead of who takes them."""
        left = iter(items)
        begun: deque[Future[_R]] = deque()
        while True:
            for item in left:
                begun.append(self._threads.submit(work, item))
                if len(begun) > 2 * self.width:
                    break
            if not begun:
                return
            yield begun.popleft().result()

    def _call(self, task: tuple, explain: Explain | None = None) -> Any:
        worker = self._idle.get()
        try:
            return worker.call(task, explain)
        finally:
            self._idle.put(worker)


class _Worker:
    """One process, started when it is first needed, and again after it died."""

    def __init__(self, opening: Opening) -> None:
        self.opening = opening
        self._process: subprocess.Popen | None = None
        self._stopped = False
        self._starts = Lock()
        """Held while one is started: whoever breaks off ends it, or comes first."""

    def call(self, task: tuple, explain: Explain | None) -> Any:
        with self._starts:
            if self._stopped:
                raise Died("the work was broken off")
            process = self._process or self._start()
        try:
            _send(process.stdin, task)
            while (answer := pickle.load(process.stdout))[0] == "explain":  # noqa: S301 - what our own process says
                _send(process.stdin, tuple(explain()))
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise self._buried(process) from error
        except BaseException:
            # Its answer was not waited for: it would be taken for that to the next question.
            self._buried(process)
            raise
        if answer[0] == "raised":
            raise answer[1] from _Elsewhere(answer[2])
        return answer[1]

    def stop(self, *, now: bool) -> None:
        with self._starts:
            self._stopped = True
            process = self._process
        if process is None:
            return
        if now:
            process.kill()
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.wait()
        process.stdout.close()

    def _start(self) -> subprocess.Popen:
        # Not what a worker has no use for: it asks Airflow nothing.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
        self._process = process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Each has a core of its own; threads would only get in each other's way.
            env=environment | {"POLARS_MAX_THREADS": "1"},
        )
        _send(process.stdin, [*sys.path])
        _send(process.stdin, self.opening)
        return process

    def _buried(self, process: subprocess.Popen) -> Died:
        process.kill()  # does nothing to one that has ended
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        self._process = None
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        return Died(f"the process that drew it {how}: run it again, with fewer --processes if memory was short")


class _Elsewhere(Exception):
    """The traceback of what was raised in a worker."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _send(pipe: Any, value: Any) -> None:
    _Pickler(pipe, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    pipe.flush()


class _Pickler(pickle.Pickler):
    """Frames go as compressed Arrow: a sixth of the time, and of a pipe's work a thirtieth."""

    def reducer_override(self, value: Any) -> Any:
        if type(value).__module__ != "polars.dataframe.frame":
            return NotImplemented
        stream = io.BytesIO()
        value.write_ipc_stream(stream, compression="lz4")
        return _frame, (stream.getvalue(),)


def _frame(stream: bytes) -> DataFrame:
    import polars as pl

    return pl.read_ipc_stream(stream)


# ------------------------------------------------------------------------------------------------ in the worker


def serve() -> None:
    """Answer what comes in until nothing comes any more."""
    from etl import redaction

    # Who started us decides when it is over; Ctrl-C reaches both.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    redaction.install()
    asked, told = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints must not print into an answer
    with contextlib.suppress(EOFError, BrokenPipeError):
        opening: Opening = pickle.load(asked)  # noqa: S301 - what our own process says
        publisher: Publisher | None = None
        while True:
            verb, statement, *rest = pickle.load(asked)  # noqa: S301
            try:
                if publisher is None:
                    publisher = opening.publisher()
                    gc.freeze()  # what is imported by now stays: it need not be looked through for garbage again
                if verb == "publish":

                    def explain() -> tuple:
                        _send(told, ("explain",))
                        return pickle.load(asked)  # noqa: S301

                    answer = ("done", publisher.publish(statement, explain if rest[0] else None))
                else:
                    answer = ("done", letters(publisher, statement, *rest))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told where it can be said whose it is
                answer = ("raised", _sendable(error), traceback.format_exc())
            _send(told, answer)


def _sendable(error: Exception) -> Exception:
    try:
        found = pickle.loads(pickle.dumps(error))  # noqa: S301
        return error if isinstance(found, type(error)) and str(found) == str(error) else RuntimeError(_said(error))
    except Exception:  # noqa: BLE001 - an exception may be made of anything
        return RuntimeError(_said(error))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
