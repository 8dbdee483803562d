"""Tell the progress of waits: a clock that says until when it waits."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from migrate.ports import Clock


TOLD_S_MIN = 1.0  # shorter waits are not shown


class Waits:
    """Until when the threads of this process wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends_s: list[float] = []

    @contextmanager
    def until(self, end_s: float) -> Iterator[None]:
        """A thread waits until this time of the monotonic clock, while this lasts."""
        with self._lock:
            self._ends_s.append(end_s)
        try:
            yield
        finally:
            with self._lock:
                self._ends_s.remove(end_s)

    def next_end_s(self) -> float | None:
        """When the first of the waits ends; None when nothing waits."""
        with self._lock:
            return min(self._ends_s, default=None)


class ToldClock:
    """A clock whose waits of a second or more can be seen in `waits`."""

    def __init__(self, clock: "Clock") -> None:
        self.waits = Waits()
        self._clock = clock

    def wall_s(self) -> float:
        """See ports.Clock."""
        return self._clock.wall_s()

    def monotonic_s(self) -> float:
        """See ports.Clock."""
        return self._clock.monotonic_s()

    def wait(self, seconds: float) -> None:
        """See ports.Clock."""
        if seconds < TOLD_S_MIN:
            self._clock.wait(seconds)
            return
        with self.waits.until(self.monotonic_s() + seconds):
            self._clock.wait(seconds)


def waits_of(clock: "Clock") -> Waits:
    """Those of a ToldClock; of another clock none are seen."""
    return clock.waits if isinstance(clock, ToldClock) else Waits()
