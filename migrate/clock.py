"""The machine's clock: the one place that reads time and waits."""

import select
import time


class SystemClock:
    """`ports.Clock` over the operating system."""

    def wall_s(self) -> float:
        """Seconds since 1970-01-01 UTC; may jump."""
        return time.time()

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary start; never runs backwards."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Sleep; zero or less returns at once.

        `select` waits for a duration. `time.sleep` waits until a moment, which fails or lasts for
        ever where a tool that changes the wall clock for a process changes that moment as well.
        """
        if seconds > 0:
            select.select((), (), (), seconds)
