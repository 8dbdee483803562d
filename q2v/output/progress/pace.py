"""How fast a piece of work goes, and how long it will still take."""

from typing import TYPE_CHECKING

from q2v.output.render import format_about, format_bytes

if TYPE_CHECKING:
    from migrate.ports import Clock, Limiter


class Pace:
    """Counts one piece of work after the other.

    The pace is measured while requests may leave: the minutes in which the limiter holds them
    back do not count into it. They come back in what is left, by the limiter's own arithmetic.
    """

    def __init__(self, clock: "Clock") -> None:
        self.total: int | None = None
        self.done = 0  # units, those of former commands too
        self._clock = clock
        self._limiter: Limiter | None = None
        self._requests = self._earlier = self._bytes = 0
        self._started_s = self._held_before_s = 0.0

    def watch(self, limiter: "Limiter") -> None:
        """Requests wait for their turn at `limiter` from now on."""
        self._limiter = limiter
        self._held_before_s = limiter.held_s()

    def start(self, *, total: int | None, requests: int) -> None:
        """A new piece of work of `total` units, and of `requests` spread evenly over them."""
        self.total, self._requests = total, requests
        self.done = self._earlier = self._bytes = 0
        self._started_s, self._held_before_s = self._clock.monotonic_s(), self._held_s()

    def advance(self, count: int, *, bytes_: int, earlier: bool) -> None:
        """`count` more units and `bytes_`; `earlier` ones do not count for the pace."""
        self.done += count
        if self.total is not None:
            # A source that grows while it is read, or an estimate that was too low.
            self.total = max(self.total, self.done)
        if earlier:
            self._earlier += count
        else:
            self._bytes += bytes_

    def remaining_s(self) -> float | None:
        """Seconds until all is done; None when it is not known."""
        fresh, left = self.done - self._earlier, (self.total or 0) - self.done
        if self.total is None or fresh <= 0 or left <= 0:
            return None
        if self._limiter is None or not self._requests:
            return left * self._active_s() / fresh
        request_s = self._active_s() * self.total / (fresh * self._requests)
        requests = -(-left * self._requests // self.total)
        return self._limiter.remaining_s(requests, request_s)

    def words(self, unit: str) -> str:
        """`10.0 vectors/s, 2.1 MB/s, about 4 min left`, as much of it as is known."""
        words = ", ".join(self.rates(unit))
        left_s = self.remaining_s()
        return words if left_s is None else f"{words}, about {format_about(left_s)} left"

    def rates(self, unit: str) -> list[str]:
        """`10.0 vectors/s` and, where bytes are moved, `2.1 MB/s`."""
        active_s = self._active_s()
        per_s = (self.done - self._earlier) / active_s if active_s else 0.0
        rates = [f"{per_s:,.1f} {unit}/s"]
        if self._bytes and active_s:
            rates.append(f"{format_bytes(round(self._bytes / active_s))}/s")
        return rates

    def _active_s(self) -> float:
        held_s = self._held_s() - self._held_before_s
        return max(0.0, self._clock.monotonic_s() - self._started_s - held_s)

    def _held_s(self) -> float:
        return 0.0 if self._limiter is None else self._limiter.held_s()
