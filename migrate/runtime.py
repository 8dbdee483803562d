"""What every stage runs with, besides its run and its stores: one small record."""

from dataclasses import dataclass
from typing import Protocol

from migrate.ports import Clock, Progress


class StopCondition(Protocol):
    """Decides before every write whether the work stops here; `run/stop_conditions.py` has one."""

    def check(self) -> None:
        """Raises BudgetExhaustedError when no further write may start."""


class NeverStop:
    """Lets the work run to its end."""

    def check(self) -> None:
        """Return at once."""


NEVER_STOP = NeverStop()


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Time, progress, and the limits on how the work is done; decides nothing that is written."""

    clock: Clock
    progress: Progress
    stop: StopCondition = NEVER_STOP  # checked before every write
    reads_in_flight: int = 1  # requests that read vectors at once; 1 starts no thread
