"""Do independent pieces of work several at a time, and hand out the results in their order."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Ending(Exception):  # noqa: N818 - nothing went wrong here
    """The work of others has failed or was stopped: this one need not be brought to its end."""


@contextmanager
def map_in_order(
    work: Callable[[Item, Callable[[], None]], Result], items: Iterable[Item], *, width: int
) -> Iterator[Iterator[Result]]:
    """`work` of every item in the order of the items, at most `width` at once, in threads.

    With a width of 1 no thread is started. At most twice `width` items are taken ahead of the
    result that is handed out. The first error, by the order of items, is raised where its result
    is asked for. When the block ends, nothing new begins and what runs is waited for; its second
    argument then raises Ending, so that long work can look whether it is still wanted.
    """
    if width == 1:
        yield (work(item, _go_on) for item in items)
        return
    ending = threading.Event()

    def look() -> None:
        if ending.is_set():
            raise Ending

    with ThreadPoolExecutor(width) as threads:
        waiting: deque[Future[Result]] = deque()
        try:
            yield _results(threads, lambda item: work(item, look), items, waiting, ahead=2 * width)
        finally:
            ending.set()
            for future in waiting:
                future.cancel()


def _go_on() -> None:
    """Alone, nobody else can fail."""


def _results(
    threads: ThreadPoolExecutor,
    work: Callable[[Item], Result],
    items: Iterable[Item],
    waiting: deque[Future[Result]],
    *,
    ahead: int,
) -> Iterator[Result]:
    for item in items:
        waiting.append(threads.submit(work, item))
        if len(waiting) == ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
