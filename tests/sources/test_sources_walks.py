"""Chains of pages asked a few at a time: nothing lost, nothing twice, and hardly longer than the longest chain."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sources_fake import CHILD, DAY, MAIN, account, message, source, stamp

from etl.sources import Page
from etl.sources._walks import Agenda, Step, drain
from etl.sources.twilio import MAX_PAGES, _pages_left

CHAINS = st.lists(st.integers(1, 30), min_size=1, max_size=25)


def page(name: object, number: int) -> Page:
    return Page("messages", str(name), number, "", b"")


def chain(name: object, pages: int, guess=lambda left: left):
    for number in range(pages):
        left = pages - number - 1
        yield Step(page(name, number), max(guess(left), 1) if left else 0)


def one(walk):
    return iter([walk])


def rounds(agenda: Agenda, lists: int, workers: int) -> tuple[int, Counter]:
    """Time if every answer takes one, and the pages that came."""
    came, time_, alive = Counter(), 0, lists
    while alive:
        taken = [agenda.take() for _ in range(min(workers, alive))]
        time_ += 1
        for walk in taken:
            step = next(walk, None)
            agenda.give(walk, step)
            came[step.page.provider_account, step.page.number] += 1
            alive -= not step.left
    assert agenda.take() is None
    return time_, came


@given(lengths=CHAINS, workers=st.integers(1, 8))
def test_with_right_guesses_nobody_is_faster(lengths, workers):
    agenda = Agenda(((n, one(chain(i, n))) for i, n in enumerate(lengths)), threading.Event())
    took, came = rounds(agenda, len(lengths), workers)
    assert took == max(max(lengths), -(-sum(lengths) // workers))
    assert came == Counter((str(i), k) for i, n in enumerate(lengths) for k in range(n))


@given(lengths=CHAINS, workers=st.integers(1, 8), wrong=st.integers(1, 5))
def test_with_wrong_guesses_nothing_is_lost_and_nobody_waits_while_there_is_something_to_ask(lengths, workers, wrong):
    """Whatever is asked first, it never takes longer than all pages and the longest chain one after the other."""
    walks = (chain(i, n, lambda left: left * 7919 // wrong % 11) for i, n in enumerate(lengths))
    took, came = rounds(Agenda([(1, walks)], threading.Event()), len(lengths), workers)
    assert took <= -(-sum(lengths) // workers) + max(lengths)
    assert came == Counter((str(i), k) for i, n in enumerate(lengths) for k in range(n))


def test_lists_are_opened_one_by_one():
    opened = []
    walks = (opened.append(n) or chain(n, 1) for n in range(10**9))
    agenda = Agenda([(5, walks)], threading.Event())
    assert opened == []
    agenda.take()
    assert opened == [0]


@settings(max_examples=20, deadline=None)
@given(lengths=CHAINS, workers=st.integers(1, 8), grown=st.integers(0, 20))
def test_every_page_comes_once_with_walks_that_a_page_made_known(lengths, workers, grown):
    def growing():
        yield Step(page("root", 0), 0, (chain(f"grown {n}", 1 + n % 3) for n in range(grown)))

    stop = threading.Event()
    lists = [(3, one(growing())), (1, (chain(i, n) for i, n in enumerate(lengths)))]
    came = Counter((p.provider_account, p.number) for p in drain(Agenda(lists, stop), workers, stop, "t"))
    expected = Counter((str(i), k) for i, n in enumerate(lengths) for k in range(n))
    assert came == expected + Counter((f"grown {n}", k) for n in range(grown) for k in range(1 + n % 3)) + Counter([("root", 0)])


def test_a_slow_list_holds_up_no_other():
    stop, free = threading.Event(), threading.Event()

    def slow():
        free.wait(10)
        yield Step(page("slow", 0), 0)

    lists = [(9, one(slow())), (1, (chain(n, 20) for n in range(3)))]
    pages = drain(Agenda(lists, stop), 2, stop, "t")
    first = [next(pages).provider_account for _ in range(60)]
    assert "slow" not in first
    free.set()
    assert [p.provider_account for p in pages] == ["slow"]


def test_a_slow_reader_slows_the_asking():
    stop, asked = threading.Event(), []

    def counted(n):
        for step in chain(n, 1000):
            asked.append(n)
            yield step

    pages = drain(Agenda([(1, map(counted, range(8)))], stop), 3, stop, "t")
    next(pages)
    time.sleep(0.2)
    assert len(asked) <= 1 + 2 * 3 + 3, "read, in the queue, and one in the hand of each worker"
    pages.close()


def test_a_failure_is_raised_and_ends_the_threads_that_wait_for_more():
    stop, before = threading.Event(), threading.active_count()

    def failing():
        time.sleep(0.05)
        raise RuntimeError("no")
        yield

    with pytest.raises(RuntimeError, match="no"):
        list(drain(Agenda([(1, one(failing()))], stop), 4, stop, "t"))
    assert stop.is_set() and threading.active_count() == before


# ------------------------------------------------------------------------------------------------ of the provider


@pytest.mark.parametrize(
    ("pages", "first", "dates", "left"),
    [
        (1, stamp("23:00:00"), (stamp("23:00:00"), stamp("22:00:00")), 22),
        (2, stamp("23:00:00"), (stamp("22:00:00"), stamp("21:00:00")), 21),
        (4, stamp("16:00:00"), (stamp("09:00:00"), stamp("08:00:00")), 4),
        (9, stamp("23:00:00"), (stamp("01:00:00"), stamp("00:00:00")), 1),
        (1, "2026-11-20T23:00:00Z", ("2026-11-20T23:00:00Z", "2026-11-20T20:00:00Z"), 6),
        (1, stamp("02:00:00"), (stamp("02:00:00"), stamp("04:00:00")), 10),  # oldest first: towards the day's end
        (1, stamp("12:00:00"), (stamp("12:00:00"), stamp("12:00:00")), 43_200),  # a page of one second: many more
        (1, stamp("23:59:59"), (stamp("23:59:59"), stamp("23:59:59")), 86_399),
        (3, None, (), 3),
        (3, None, (None, None), 3),
        (3, "soon", ("soon", "later"), 3),
        (7, stamp("10:00:00", DAY.replace(year=2019)), (stamp("10:00:00"), stamp("09:00:00", DAY.replace(year=2019))), 1),
    ],
)
def test_what_is_left_of_a_list(pages, first, dates, left):
    assert _pages_left(pages, first, dates, DAY) == left


def test_no_guess_is_beyond_what_a_list_may_have():
    assert _pages_left(5, stamp("23:59:59"), (stamp("23:59:59"), stamp("23:59:59")), DAY) == MAX_PAGES


def test_lists_that_may_be_long_are_opened_first_and_the_longest_is_asked_first(fake):
    """The long list is found last, and yet does not come last."""
    fake.accounts = [account(MAIN), account(CHILD)]
    fake.put("messages", [message(i, date_sent=stamp(f"{23 - 8 * i:02}:00:00")) for i in range(3)], MAIN)
    fake.put("messages", [message(i, date_sent=stamp(f"{23 - i:02}:00:00")) for i in range(20)], CHILD)
    list(source(fake, concurrency=1, resources=["usage", "numbers", "calls", "messages"], page_size=2).fetch(DAY))
    asked = [
        (r.url.path.split("/")[3][2], r.url.path.split("/")[-1][0], int(r.url.params.get("Page", 0)))
        for r in fake.requests[1:]
    ]
    assert asked[:4] == [("a", "C", 0), ("b", "C", 0), ("a", "M", 0), ("b", "M", 0)]
    assert asked[4:8] == [("b", "M", n) for n in range(1, 5)]
    assert len(asked) == len(set(asked)) == 2 + (2 + 10) + 2 + 2
