"""The clock, progress and limits that every stage is called with, in one small record."""

from dataclasses import dataclass
from typing import Protocol

from migrate.ports import Clock, Progress


class StopCondition(Protocol):
    """Checked before every write; see `run/stop_conditions.py` for an implementation."""

    def check(self) -> None:
        """Raises BudgetExhaustedError when no further write may start."""


class NeverStop:
    """A StopCondition that never stops the work."""

    def check(self) -> None:
        """Return at once."""


NEVER_STOP = NeverStop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Clock, progress and limits of a stage; they do not affect what is written."""

    clock: Clock
    progress: Progress
    stop: StopCondition = NEVER_STOP  # checked before every write
    reads_in_flight: int = 1  # requests that read vectors at once; 1 starts no thread
