"""How many requests to the verifier may be under way: more after successes, half after failures."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from migrate.workers.ordered import WAIT_PIECE_S, raise_if_cancelled

FIRST = 4


class Lanes:
    """A limit that moves between 1 and `most`. Safe to use from several threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open = float(min(FIRST, most))
        self._taken = 0
        self._changed = threading.Condition()

    @property
    def open(self) -> int:
        """How many requests may be under way now."""
        return int(self._open)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Wait for a lane, and keep it for the block. Raises CancelledError as `in_order` says."""
        with self._changed:
            while self._taken >= self.open:
                self._changed.wait(WAIT_PIECE_S)
                raise_if_cancelled()
            self._taken += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken -= 1
                self._changed.notify()

    def widen(self) -> None:
        """After a request without a failed read: one more, once as many as are open succeeded."""
        with self._changed:
            self._open = min(float(self._most), self._open + 1 / self.open)
            self._changed.notify()

    def narrow(self) -> None:
        """After a failure: half as many."""
        with self._changed:
            self._open = max(1.0, self._open / 2)
