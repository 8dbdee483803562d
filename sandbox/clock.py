"""The stand-in's clock; tests put a slower or faster one in its place."""

import time
from typing import Protocol


class SandboxClock(Protocol):
    """Seconds since 1970-01-01 UTC."""

    def now(self) -> float:
        """The present time."""


class WallClock:
    """The machine's clock."""

    def now(self) -> float:
        """The present time."""
        return time.time()
