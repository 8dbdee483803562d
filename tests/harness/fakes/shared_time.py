"""One simulated clock for several threads: time passes only while all of them wait."""

import heapq
import threading
from collections.abc import Callable
from itertools import count

HANG_S_MAX = 120.0  # real seconds, far more than any step takes


class AbandonedError(BaseException):
    """Ends the thread of a killed sender after the simulation."""


class SharedTime:
    """`ports.Clock` of all threads of a simulation. One thread runs at a time: the next to wake."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._numbers = count()
        self._sleeping: list[tuple[float, int]] = []  # when it wakes, and its number
        self._awake: int | None = None  # the number that may run
        self._killed_s: dict[int, float] = {}  # by thread
        self._changed = threading.Condition()
        self._abandoned = False
        self._error: BaseException | None = None
        self._threads: list[threading.Thread] = []

    def wall_s(self) -> float:
        return 1_700_000_000.0 + self._now_s

    def monotonic_s(self) -> float:
        return self._now_s

    def wait(self, seconds: float) -> None:
        """Sleep for simulated seconds. A thread that was killed by then never wakes."""
        wakes_s = self._now_s + max(0.0, seconds)
        killed_s = self._killed_s.get(threading.get_ident())
        with self._changed:
            number = next(self._numbers)
            if killed_s is None or wakes_s < killed_s:
                heapq.heappush(self._sleeping, (wakes_s, number))
            self._wake_next()
            self._wait_for(number)

    def start(self, work: Callable[[], None], *, killed_s: float | None = None) -> None:
        """Let a thread begin at the present moment, to be killed at `killed_s`."""
        with self._changed:
            number = next(self._numbers)
            heapq.heappush(self._sleeping, (self._now_s, number))

        def live() -> None:
            if killed_s is not None:
                self._killed_s[threading.get_ident()] = killed_s
            try:
                with self._changed:
                    self._wait_for(number)
                work()
            except AbandonedError:
                return
            except BaseException as error:  # noqa: BLE001 - `run` raises it
                self._error = error
            with self._changed:
                self._wake_next()

        self._threads.append(threading.Thread(target=live, daemon=True))
        self._threads[-1].start()

    def run(self) -> None:
        """Until every thread has ended or was killed. Raises the error of a thread."""
        with self._changed:
            self._wake_next()
            assert self._changed.wait_for(self._is_over, HANG_S_MAX), "a thread hangs"
            self._abandoned = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(HANG_S_MAX)
        if self._error is not None:
            raise self._error

    def _is_over(self) -> bool:
        return self._awake is None

    def _wake_next(self) -> None:
        self._awake = None
        if self._sleeping and self._error is None:
            wakes_s, self._awake = heapq.heappop(self._sleeping)
            self._now_s = max(self._now_s, wakes_s)
        self._changed.notify_all()

    def _wait_for(self, number: int) -> None:
        done = self._changed.wait_for(lambda: self._abandoned or self._awake == number, HANG_S_MAX)
        assert done, "the simulation hangs"
        if self._abandoned:
            raise AbandonedError
