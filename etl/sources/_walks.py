"""Lists whose pages name the next one, walked a few at a time: pages are handed on as they come, and the list that has most
pages left is asked first, because nothing makes a chain shorter than its own length.
"""

from __future__ import annotations

import heapq
import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import count
from typing import NamedTuple

from etl.sources import Page
from etl.sources._http import Stopped

WAKE = 0.2
"""Seconds after which whoever waits looks whether it was stopped."""


class Step(NamedTuple):
    """One page of a list. ``left``: a guess at how many pages follow, 0 only if it was the last. ``more``: walks that this page
    made known."""

    page: Page
    left: int
    more: Iterator[Walk] | None = None


Walk = Iterator[Step]
"""One list: each step asks for its next page."""


class Agenda:
    """What is still to be asked, by pages left. Threads take a walk, make one step, and give it back."""

    def __init__(self, lists: Iterable[tuple[int, Iterator[Walk]]], stop: threading.Event) -> None:
        """``lists``: walks not begun, each kind with a guess at its pages. They are opened one by one, so many cost nothing."""
        self._heap: list[tuple[int, int, Walk | None, Iterator[Walk] | None]] = []
        self._order = count()
        self._under_way = 0
        self._stop = stop
        self._changed = threading.Condition()
        for left, walks in lists:
            self._push(left, None, walks)

    def _push(self, left: int, walk: Walk | None, walks: Iterator[Walk] | None) -> None:
        heapq.heappush(self._heap, (-left, next(self._order), walk, walks))

    def take(self) -> Walk | None:
        """The walk with most pages left; None once all are at their end. Waits while others may bring more. Raises Stopped."""
        with self._changed:
            while not self._stop.is_set():
                while self._heap:
                    left, order, walk, walks = heapq.heappop(self._heap)
                    if walks is not None and (walk := next(walks, None)) is not None:
                        heapq.heappush(self._heap, (left, order, None, walks))
                    if walk is not None:
                        self._under_way += 1
                        return walk
                if not self._under_way:
                    return None
                self._changed.wait(WAKE)
            raise Stopped

    def give(self, walk: Walk, step: Step | None) -> None:
        """Back after a step; None: it had none any more."""
        with self._changed:
            self._under_way -= 1
            if step and step.left:
                self._push(step.left, walk, None)
            if step and step.more is not None:
                self._push(1, None, step.more)
            self._changed.notify_all()

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


def drain(agenda: Agenda, workers: int, stop: threading.Event, name: str) -> Iterator[Page]:
    """Every page, ``workers`` requests at a time. The queue is short: a reader that is slow slows the asking, and memory stays
    flat. The first failure stops all and is raised; so does a reader that leaves."""
    pages: queue.Queue[Page | BaseException | None] = queue.Queue(maxsize=2 * workers)

    def put(item: Page | BaseException | None) -> None:
        while not stop.is_set():
            try:
                return pages.put(item, timeout=WAKE)
            except queue.Full:
                continue
        raise Stopped

    def work() -> None:
        try:
            while (walk := agenda.take()) is not None:
                step = next(walk, None)
                agenda.give(walk, step)  # first, so that the list goes on while its page waits for the reader
                if step:
                    put(step.page)
            put(None)
        except Stopped:
            return
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, who raises it
            with suppress(Stopped):  # somebody else's error is on its way already
                put(error)

    threads = [threading.Thread(target=work, name=f"{name}-{i}", daemon=True) for i in range(workers)]
    for thread in threads:
        thread.start()
    try:
        running = workers
        while running:
            item = pages.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                running -= 1
            else:
                yield item
    finally:
        stop.set()
        agenda.wake()
        for thread in threads:
            thread.join()
