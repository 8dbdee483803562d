"""Repeat a call: the only module that waits between two attempts; their number is bounded.

Built on tenacity. Every wait goes through `ports.Clock` and ends early in a thread of
`workers.ordered` that has been cancelled.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from migrate.ports import Clock
from migrate.workers.ordered import wait_or_cancel

if TYPE_CHECKING:  # it loads asyncio, in 0.06 s; a command that sends no request needs neither
    from tenacity import RetryCallState

Result = TypeVar("Result")
Failure = TypeVar("Failure", bound=Exception)


def doubling(first_s: float, *, times: int, max_s: float = float("inf")) -> Iterator[float]:
    """`times` pauses in seconds, each twice as long as the one before and at most `max_s`."""
    return (min(max_s, first_s * 2**number) for number in range(times))


def polling(every_s: float, *, deadline_s: float, clock: Clock) -> Iterator[float]:
    """Pauses of `every_s` seconds until one would end after `deadline_s` (monotonic)."""
    while clock.monotonic_s() + every_s <= deadline_s:
        yield every_s


def repeat_until(
    read: Callable[[], Result],
    accept: Callable[[Result], bool],
    pauses_s: Iterable[float],
    *,
    clock: Clock,
    before_pause: Callable[[Result, float], object] = lambda *_: None,
) -> Result:
    """The first result that `accept` accepts; the last result when the pauses are used up.

    `read` is called once, and once after each pause. `before_pause` gets the result that was not
    accepted and the seconds until the next call.
    """
    from tenacity import Retrying, retry_if_not_result  # noqa: PLC0415 - see above

    pauses = iter(pauses_s)
    pause_s: float | None = None

    def is_over(_: "RetryCallState") -> bool:
        nonlocal pause_s
        pause_s = next(pauses, None)
        return pause_s is None

    def last_result(state: "RetryCallState") -> Result:
        assert state.outcome is not None
        result: Result = state.outcome.result()
        return result

    def announce(state: "RetryCallState") -> None:
        before_pause(last_result(state), pause_s or 0.0)

    retrying = Retrying(
        retry=retry_if_not_result(accept),
        stop=is_over,
        before_sleep=announce,
        sleep=lambda _: wait_or_cancel(clock, pause_s or 0.0),
        retry_error_callback=last_result,
    )
    return retrying(read)


def refine_until(
    first: Callable[[], Result],
    again: Callable[[Result], Result],
    settled: Callable[[Result | None, Result], bool],
    pauses_s: Iterable[float],
    *,
    clock: Clock,
    before_pause: Callable[[Result, float], object] = lambda *_: None,
) -> Result:
    """As `repeat_until`, with each further result computed from the one before it.

    `settled` gets the result before (None for the first) and the new result.
    """
    before: Result | None = None
    found: Result | None = None

    def read() -> Result:
        nonlocal before, found
        before, found = found, first() if found is None else again(found)
        return found

    return repeat_until(
        read,
        lambda result: settled(before, result),
        pauses_s,
        clock=clock,
        before_pause=before_pause,
    )


def retry_on(
    failure: type[Failure],
    call: Callable[[], Result],
    *,
    attempts_max: int,
    wait_s: Callable[[Failure, int], float],
    clock: Clock,
    before_pause: Callable[[Failure, int, float], object] = lambda *_: None,
) -> Result:
    """The result of `call`, repeated after each `failure`; at most `attempts_max` calls.

    `wait_s` gets the failure and the number of the attempt, 1 for the first; `before_pause` also
    the seconds until the next one. Raises the last failure; other errors are raised at once.
    """
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt  # noqa: PLC0415

    def failure_of(state: "RetryCallState") -> Failure:
        error = state.outcome.exception() if state.outcome else None
        assert isinstance(error, failure)
        return error

    def announce(state: "RetryCallState") -> None:
        assert state.next_action is not None
        before_pause(failure_of(state), state.attempt_number, state.next_action.sleep)

    retrying = Retrying(
        retry=retry_if_exception_type(failure),
        stop=stop_after_attempt(attempts_max),
        wait=lambda state: wait_s(failure_of(state), state.attempt_number),
        before_sleep=announce,
        sleep=partial(wait_or_cancel, clock),
        reraise=True,
    )
    return retrying(call)
