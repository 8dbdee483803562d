"""Calls side by side: results in order, never too many at once, and no thread is left behind."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.clock import SystemClock
from migrate.workers.ordered import (
    CancelledError,
    ahead,
    in_order,
    raise_if_cancelled,
    wait_or_cancel,
)
from tests.harness.fakes.clock import VirtualClock
from tests.harness.tiers import examples

LONG_S = (
    300.0  # no event takes so long, however busy the machine is; a test that waits it out fails
)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


@given(st.integers(0, 30), st.integers(1, 6), st.none() | st.integers(1, 3))
@settings(max_examples=examples(30), deadline=None)
def test_results_come_in_the_order_of_the_items(
    count: int, width: int, threads: int | None
) -> None:
    found = list(in_order(lambda item: item * item, range(count), width=width, threads=threads))

    assert found == [(item, item * item) for item in range(count)]


def test_with_a_width_of_one_everything_happens_here_and_one_by_one() -> None:
    here = threading.current_thread()
    drawn: list[int] = []

    def items() -> Iterator[int]:
        for item in range(3):
            drawn.append(item)
            yield item

    for item, thread in in_order(lambda _: threading.current_thread(), items(), width=1):
        assert (thread, drawn) == (here, list(range(item + 1)))


@pytest.mark.parametrize("width", [2, 5])
def test_as_many_calls_as_the_width_are_under_way_and_never_more(width: int) -> None:
    together = threading.Barrier(width, timeout=LONG_S)
    under_way, most, lock = 0, 0, threading.Lock()

    def work(_: int) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        together.wait()
        with lock:
            under_way -= 1

    assert len(list(in_order(work, range(4 * width), width=width))) == 4 * width
    assert most == width


def test_items_are_drawn_in_the_callers_thread_and_only_as_they_are_needed() -> None:
    here, drawn = threading.current_thread(), []

    def items() -> Iterator[int]:
        for item in range(100):
            assert threading.current_thread() is here
            drawn.append(item)
            yield item

    with closing(in_order(lambda item: item, items(), width=4)) as results:
        assert next(results) == (0, 0)
        assert len(drawn) == 4


class BadError(Exception):
    """The error of a call."""


def test_what_came_before_the_failed_call_is_given_and_nothing_after_it() -> None:
    others = threading.Semaphore(0)

    def work(item: int) -> int:
        if item == 5:
            for _ in range(5):
                assert others.acquire(timeout=LONG_S)
            raise BadError
        others.release()
        return item

    found: list[int] = []
    with pytest.raises(BadError):
        found.extend(item for item, _ in in_order(work, range(100), width=3))
    assert found == list(range(5))


@pytest.mark.parametrize("waiting", [raise_if_cancelled, None])
def test_the_first_error_ends_the_waiting_of_the_others_at_once(
    waiting: Callable[[], None] | None,
) -> None:
    """Also of the ones whose turn would come first: their results would not be waited for."""
    clock, begun = SystemClock(), threading.Barrier(3, timeout=LONG_S)

    def work(item: int) -> None:
        begun.wait()
        if item == 2:
            raise BadError
        if waiting is None:
            wait_or_cancel(clock, LONG_S)
        while waiting is not None:
            waiting()
            clock.wait(0.01)

    started_s = clock.monotonic_s()
    with pytest.raises(BadError):
        list(in_order(work, range(3), width=3))

    assert clock.monotonic_s() - started_s < LONG_S / 3


@pytest.mark.parametrize("error", [KeyboardInterrupt, BadError])
def test_whoever_leaves_early_leaves_no_call_behind(error: type[BaseException]) -> None:
    clock = SystemClock()
    started_s = clock.monotonic_s()

    def work(item: int) -> None:
        if item:
            wait_or_cancel(clock, LONG_S)

    with suppress(error), closing(in_order(work, range(9), width=4)) as results:
        next(results)
        raise error

    assert clock.monotonic_s() - started_s < LONG_S / 3


def test_outside_of_such_a_thread_a_wait_is_a_wait() -> None:
    clock = VirtualClock()
    raise_if_cancelled()
    wait_or_cancel(clock, 60.0)

    assert clock.waits == [60.0]


def test_inside_a_wait_is_as_long_as_asked_for() -> None:
    clock = VirtualClock()
    list(in_order(lambda _: wait_or_cancel(clock, 1.1), range(2), width=2, threads=1))

    assert clock.monotonic_s() == pytest.approx(2.2)


def test_a_thread_draws_ahead_up_to_its_bound_and_in_order() -> None:
    drawn, full = [], threading.Event()

    def items() -> Iterator[int]:
        for item in range(50):
            drawn.append(item)
            if len(drawn) == 6:
                full.set()
            yield item

    with closing(ahead(items(), held_max=6)) as found:
        assert next(found) == 0
        assert full.wait(LONG_S)
        assert list(found) == list(range(1, 50))


def test_an_error_of_what_is_drawn_ahead_comes_at_its_place() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise BadError

    for held_max in (1, 2, 9):
        found: list[int] = []
        with pytest.raises(BadError):
            found.extend(ahead(items(), held_max=held_max))
        assert found == [0, 1, 2]


def test_being_told_to_end_is_never_taken_for_a_result() -> None:
    def work(item: int) -> int:
        if item == 0:
            raise BadError
        raise CancelledError

    with pytest.raises(BadError):
        list(in_order(work, range(3), width=3, threads=1))
