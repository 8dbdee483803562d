"""Several pieces of work at a time: results in order, errors in order, nothing left running."""

import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrate.adapters.in_order import Ending, map_in_order


def doubled(item: int, _go_on: Callable[[], None]) -> int:
    return 2 * item


@settings(max_examples=30)
@given(st.lists(st.integers(), max_size=40), st.integers(1, 5))
def test_results_come_in_the_order_of_the_items(items: list[int], width: int) -> None:
    with map_in_order(doubled, items, width=width) as results:
        assert list(results) == [2 * item for item in items]


@pytest.mark.parametrize("width", [1, 3])
def test_the_first_error_by_order_is_raised_after_the_results_before_it(width: int) -> None:
    def work(item: int, _go_on: Callable[[], None]) -> int:
        if item >= 3:
            raise ValueError(item)
        return item

    with map_in_order(work, range(10), width=width) as results:
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ValueError, match=r"^3$"):
            next(results)


def test_alone_no_thread_is_started() -> None:
    names = []

    def work(item: int, _go_on: Callable[[], None]) -> int:
        names.append(threading.current_thread().name)
        return item

    with map_in_order(work, range(3), width=1) as results:
        list(results)

    assert set(names) == {threading.current_thread().name}


def test_no_more_than_twice_the_width_is_taken_ahead() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    with map_in_order(doubled, items(), width=2) as results:
        next(results)
        assert len(taken) == 4


def test_a_block_that_ends_early_tells_the_work_that_nobody_waits_for_it() -> None:
    started, told, never = threading.Event(), threading.Event(), threading.Event()

    def work(item: int, go_on: Callable[[], None]) -> int:
        if item == 0:
            started.wait(10)
            return item
        started.set()
        try:
            for _ in iter(lambda: never.wait(0.001), True):  # until told, or the test hangs
                go_on()
        except Ending:
            told.set()
            raise
        return item

    with map_in_order(work, range(4), width=2) as results:
        assert next(results) == 0

    assert told.is_set()
