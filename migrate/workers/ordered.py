"""Several calls at once whose results are taken in order; with a width of one, no thread.

The first call that fails stops the others: those that wait for their turn or for another attempt
(`wait_while_wanted`) end at once, those on the wire by their own deadline, and all have ended
before the error reaches the caller.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import repeat
from typing import Any, Generic, TypeVar

from migrate.ports import Clock

WAIT_PIECE_S = 0.25  # after so long a wait looks whether it is still wanted

Item = TypeVar("Item")
Result = TypeVar("Result")
_here = threading.local()  # the group that this thread works for
_END = object()


class NotWantedError(Exception):
    """This call is not wanted any more; never leaves this module's callers."""


def check_wanted() -> None:
    """Raises NotWantedError in a thread of `in_order` whose results nobody takes any more."""
    group: _Group[Any, Any] | None = getattr(_here, "group", None)
    if group is not None and group.stopped.is_set():
        raise NotWantedError


def wait_while_wanted(clock: Clock, seconds: float) -> None:
    """As `clock.wait`; in a thread of `in_order` it ends, as `check_wanted`, when that does."""
    if getattr(_here, "group", None) is None:
        clock.wait(seconds)
        return
    left_s = seconds
    while left_s > 0:
        check_wanted()
        clock.wait(min(left_s, WAIT_PIECE_S))
        left_s -= WAIT_PIECE_S
    check_wanted()


class _Group(Generic[Item, Result]):
    """The threads of one `in_order`, and what stopped them."""

    def __init__(self, work: Callable[[Item], Result]) -> None:
        self.stopped = threading.Event()
        self._work = work
        self._lock = threading.Lock()
        self._first: BaseException | None = None

    def join(self) -> None:
        """This thread works for the group."""
        _here.group = self

    def run(self, item: Item) -> Result:
        """One call; its error stops the others."""
        try:
            check_wanted()
            return self._work(item)
        except BaseException as error:
            with self._lock:
                self._first = self._first or error
            self.stopped.set()
            raise

    def take_first(self, pending: deque[tuple[Item, Future[Result]]]) -> tuple[Item, Result]:
        """The oldest call with its result, taken out of `pending` once it is there.

        Raises what stopped the group, also in place of a call that it cut short.
        """
        item, future = pending[0]
        try:
            result = future.result()
        except NotWantedError:
            assert self._first is not None, "only an error stops calls that are still taken"
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

    Items are drawn in the caller's thread; `threads` of them (`width` if not given) are worked on
    at once. Results that are there before a call fails are still given. Close it to leave early.
    `on_stop` is called when calls that are still under way are not wanted any more.
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
    """The same items, drawn by a thread of its own, up to `held_max` of them before their turn."""
    drawn = in_order(lambda _: next(items, _END), repeat(None), width=held_max, threads=1)
    try:
        for _, item in drawn:
            if item is _END:
                return
            yield item  # type: ignore[misc]  # everything but the end is an item
    finally:
        drawn.close()
