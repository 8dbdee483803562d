"""The clock, progress and limits that every stage is called with, in one small record."""

from dataclasses import dataclass
from typing import Protocol

from migrate.ports import Clock, Limiter, Progress


class StopCondition(Protocol):
    """Checked before every write; see `run/stop_conditions.py` for an implementation."""

    def check(self) -> None:
        """Raises BudgetExhaustedError when no further write may start."""


class NeverStop:
    """A StopCondition that never stops the work."""

    def check(self) -> None:
        """Return at once."""


NEVER_STOP = NeverStop()


class NoProgress:
    """`ports.Progress` that shows nothing."""

    def start(self, what: str, *, total: int | None, unit: str, requests: int = 0) -> None:
        """Show nothing."""

    def advance(self, count: int, *, bytes_: int = 0, earlier: bool = False) -> None:
        """Show nothing."""

    def watch(self, limiter: Limiter) -> None:
        """Show nothing."""

    def say(self, text: str) -> None:
        """Show nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Clock, progress and limits of a stage; they do not affect what is written."""

    clock: Clock
    progress: Progress
    stop: StopCondition = NEVER_STOP  # checked before every write
    reads_in_flight: int = 1  # requests that read vectors at once; 1 starts no thread
