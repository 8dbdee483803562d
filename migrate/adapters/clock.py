"""The machine's clock: the one place that reads time and waits."""

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
        """Sleep; nothing to wait for returns at once."""
        if seconds > 0:
            time.sleep(seconds)
