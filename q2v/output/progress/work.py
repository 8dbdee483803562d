"""One piece of work after the other, in words: how far, why it waits, how long it still takes."""

from typing import TYPE_CHECKING

from migrate.words import of_unit
from q2v.output.progress.pace import Pace
from q2v.output.progress.waits import waits_of
from q2v.output.render import format_about, format_count, format_duration

if TYPE_CHECKING:
    from migrate.ports import Clock, Limiter


class Work:
    """The current piece of work. What it says of itself depends on the clock."""

    def __init__(self, clock: "Clock") -> None:
        self.what, self.unit = "", ""
        self.pace = Pace(clock)
        self._clock = clock
        self._waits = waits_of(clock)
        self._started_s = 0.0

    def start(self, what: str, *, total: int | None, unit: str, requests: int) -> None:
        """A new piece of work of `total` units."""
        self.what, self.unit = what, unit
        self._started_s = self._clock.monotonic_s()
        self.pace.start(total=total, requests=requests)

    def watch(self, limiter: "Limiter") -> None:
        """Requests wait for their turn at `limiter` from now on."""
        self.pace.watch(limiter)

    def announced(self) -> str:
        """The first line of it: `uploading: 10,000 vectors`."""
        total = self.pace.total
        return self.what if total is None else f"{self.what}: {of_unit(total, self.unit)}"

    def state(self) -> str:
        """How far it is, in a whole sentence for logs."""
        total, done = self.pace.total, self.pace.done
        words = self.pace.words(self.unit)
        share = "" if total is None else f" ({done / total:.0%})" if total else " (100%)"
        return f"{self.what}: {self._counted()}{share}, {words}"

    def waits_s(self) -> float | None:
        """Seconds until the first of the waits ends; None while nothing waits."""
        end_s = self._waits.next_end_s()
        return None if end_s is None else max(0.0, end_s - self._clock.monotonic_s())

    def line(self, width: int) -> str:
        """How far it is, in at most `width` columns where that is possible.

        The time left and a wait come first; the pace is left out where there is no room.
        """
        waits_s = self.waits_s()
        needed = [] if waits_s is None else [f"waiting, {round(waits_s)} s to go"]
        left_s = self.pace.remaining_s()
        if left_s is not None:
            needed.append(f"about {format_about(left_s)} left")
        text = ", ".join([f"{self.what} {self._counted()}", *needed])
        if len(text) > width:
            text = ", ".join([f"{self.what} {self._share()}", *needed])
        for more in (*self.pace.rates(self.unit), format_duration(self._elapsed_s())):
            if len(text) + len(more) + 2 <= width:
                text += f", {more}"
        return text

    def ended(self, width: int) -> str:
        """The last line of it: all of it, or how far it came."""
        total, done = self.pace.total, self.pace.done
        how = "ended at " if total is not None and done < total else ""
        took = format_duration(self._elapsed_s())
        text = f"{self.what} {how}{self._counted()}, in {took}"
        return text if len(text) <= width else f"{self.what} {how}{self._share()}, in {took}"

    def _counted(self) -> str:
        total, done = self.pace.total, self.pace.done
        if total is None:
            return of_unit(done, self.unit)
        return f"{format_count(done)} of {of_unit(total, self.unit)}"

    def _share(self) -> str:
        total, done = self.pace.total, self.pace.done
        return f"{done / total:.0%}" if total else format_count(done)

    def _elapsed_s(self) -> float:
        return self._clock.monotonic_s() - self._started_s
