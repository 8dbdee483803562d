"""Run several calls at once and take their results in order; with a width of 1, without a thread.

The first call that fails cancels the others: calls that wait for their turn or before another
attempt (`wait_or_cancel`) end at once, requests in flight by their own deadline. All calls have
ended before the error reaches the caller.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import repeat
from typing import Any, Generic, TypeVar

from migrate.ports import Clock

WAIT_PIECE_S = 0.25  # time between two checks whether a wait has been cancelled

Item = TypeVar("Item")
Result = TypeVar("Result")
_here = threading.local()  # the group that this thread works for
_END = object()


class CancelledError(Exception):
    """This call was cancelled; `in_order` replaces it by the error that cancelled it."""


def raise_if_cancelled() -> None:
    """Raise CancelledError in a thread of an `in_order` that has ended."""
    group: _Group[Any, Any] | None = getattr(_here, "group", None)
    if group is not None and group.stopped.is_set():
        raise CancelledError


def wait_or_cancel(clock: Clock, seconds: float) -> None:
    """As `clock.wait`. Raises CancelledError in a thread of an `in_order` that has ended."""
    if getattr(_here, "group", None) is None:
        clock.wait(seconds)
        return
    remaining_s = seconds
    while remaining_s > 0:
        raise_if_cancelled()
        clock.wait(min(remaining_s, WAIT_PIECE_S))
        remaining_s -= WAIT_PIECE_S
    raise_if_cancelled()


class _Group(Generic[Item, Result]):
    """The threads of one `in_order`, and the error that stopped them."""

    def __init__(self, work: Callable[[Item], Result]) -> None:
        self.stopped = threading.Event()
        self._work = work
        self._lock = threading.Lock()
        self._first: BaseException | None = None

    def join(self) -> None:
        """Make the current thread one of the group."""
        _here.group = self

    def run(self, item: Item) -> Result:
        """Call `work` on the item; an error stops the other calls."""
        try:
            raise_if_cancelled()
            return self._work(item)
        except BaseException as error:
            with self._lock:
                self._first = self._first or error
            self.stopped.set()
            raise

    def take_first(self, pending: deque[tuple[Item, Future[Result]]]) -> tuple[Item, Result]:
        """Wait for the oldest call, remove it from `pending` and return it with its result.

        Raises the error of the call; for a cancelled call, the error that stopped the group.
        """
        item, future = pending[0]
        try:
            result = future.result()
        except CancelledError:
            assert self._first is not None, "only an error cancels calls that are still taken"
            raise self._first from None
        pending.popleft()
        return item, result


def in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    width: int,
    threads: int | None = None,
    on_stop: Callable[[], None] | None = None,
) -> Generator[tuple[Item, Result], None, None]:
    """Each item with its result, in the order of the items, up to `width` of them ahead.

    Items are drawn in the caller's thread; `threads` calls (`width` if not given) run at once.
    Results before a failed call are still yielded. Close the generator to leave early. `on_stop`
    is called when calls are still running at the end.
    """
    if width == 1:
        for item in items:
            yield item, work(item)
        return
    group = _Group(work)
    pending: deque[tuple[Item, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(threads or width, "q2v-in-flight", initializer=group.join)
    try:
        for item in items:
            if group.stopped.is_set():
                break
            pending.append((item, pool.submit(group.run, item)))
            if len(pending) >= width:
                yield group.take_first(pending)
        while pending:
            yield group.take_first(pending)
    finally:
        group.stopped.set()
        if on_stop is not None and any(not future.done() for _, future in pending):
            on_stop()
        pool.shutdown(wait=True, cancel_futures=True)


def ahead(items: Iterator[Item], *, held_max: int) -> Generator[Item, None, None]:
    """The same items, drawn in another thread, up to `held_max` of them in advance."""
    drawn = in_order(lambda _: next(items, _END), repeat(None), width=held_max, threads=1)
    try:
        for _, item in drawn:
            if item is _END:
                return
            yield item  # type: ignore[misc]  # everything but the end is an item
    finally:
        drawn.close()
