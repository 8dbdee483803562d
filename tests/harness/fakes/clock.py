"""Clocks for tests: one whose time passes only while code waits, one that does not wait."""

from migrate.clock import SystemClock


class VirtualClock:
    """`ports.Clock` without a machine behind it: `wait` advances both clocks and notes the wait."""

    def __init__(self, *, wall_s: float = 1_700_000_000.0) -> None:
        self._wall_s = wall_s
        self._monotonic_s = 0.0
        self.waits: list[float] = []  # every wait asked for, in order

    def wall_s(self) -> float:
        return self._wall_s

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self._wall_s += seconds
        self._monotonic_s += seconds


class ImpatientClock:
    """Real time for deadlines, but waits only noted: for tests of slow sockets."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self.waits: list[float] = []

    def wall_s(self) -> float:
        return self._clock.wall_s()

    def monotonic_s(self) -> float:
        return self._clock.monotonic_s()

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
