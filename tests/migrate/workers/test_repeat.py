"""What is done again, how often, and how long it waits in between."""

import itertools
from collections.abc import Callable

import pytest

from migrate.errors import IndeterminateError
from migrate.workers.repeat import doubling, polling, repeat_until, retry_on
from tests.harness.fakes.clock import VirtualClock


def answers(*results: int) -> Callable[[], int]:
    return iter(results).__next__


def test_an_accepted_result_is_returned_without_a_pause() -> None:
    clock = VirtualClock()

    found = repeat_until(answers(1), lambda result: result == 1, [5.0], clock=clock)

    assert (found, clock.waits) == (1, [])


def test_it_pauses_before_each_further_read_and_stops_at_the_first_accepted_result() -> None:
    clock, paused = VirtualClock(), []

    found = repeat_until(
        answers(1, 2, 3, 4),
        lambda result: result == 3,
        doubling(2.0, times=9),
        clock=clock,
        before_pause=lambda result, pause_s: paused.append((result, pause_s)),
    )

    assert (found, clock.waits) == (3, [2.0, 4.0])
    assert paused == [(1, 2.0), (2, 4.0)]


def test_the_last_result_is_returned_when_no_pause_is_left() -> None:
    clock = VirtualClock()

    found = repeat_until(answers(1, 2, 3), lambda _: False, [1.0, 1.0], clock=clock)

    assert (found, clock.waits) == (3, [1.0, 1.0])


def test_an_error_of_the_read_is_raised_at_once() -> None:
    def fail() -> int:
        raise IndeterminateError("no", remedy="none")

    with pytest.raises(IndeterminateError):
        repeat_until(fail, lambda _: True, [1.0], clock=VirtualClock())


def test_a_failure_is_retried_and_the_last_one_raised() -> None:
    clock, calls, said = VirtualClock(), itertools.count(1), []

    def fail() -> int:
        raise ValueError(f"attempt {next(calls)}")

    with pytest.raises(ValueError, match="attempt 3"):
        retry_on(
            ValueError,
            fail,
            attempts_max=3,
            wait_s=lambda _, attempt: 10.0 * attempt,
            clock=clock,
            before_pause=lambda failure, attempt, pause_s: said.append(
                (str(failure), attempt, pause_s)
            ),
        )

    assert clock.waits == [10.0, 20.0]
    assert said == [("attempt 1", 1, 10.0), ("attempt 2", 2, 20.0)]


def test_another_error_is_not_retried() -> None:
    def fail() -> int:
        raise KeyError

    clock = VirtualClock()
    with pytest.raises(KeyError):
        retry_on(ValueError, fail, attempts_max=3, wait_s=lambda *_: 1.0, clock=clock)
    assert clock.waits == []


def test_pauses_double_up_to_their_maximum() -> None:
    assert list(doubling(2.0, times=4, max_s=10.0)) == [2.0, 4.0, 8.0, 10.0]


def test_polling_never_pauses_beyond_the_deadline() -> None:
    clock = VirtualClock()

    repeat_until(
        lambda: 0, lambda _: False, polling(3.0, deadline_s=10.0, clock=clock), clock=clock
    )

    assert clock.waits == [3.0, 3.0, 3.0]
