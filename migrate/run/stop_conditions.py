"""Reasons to stop before the next write: a file of the operator, or the end of the window."""

from migrate.errors import BudgetExhaustedError
from migrate.ports import Clock
from migrate.storage.folder import Folder
from migrate.storage.layout import STOP


class StopConditions:
    """Checked before every write; uploads in flight are finished and journalled."""

    def __init__(self, folder: Folder, *, clock: Clock, deadline_s: float | None) -> None:
        """`deadline_s`: seconds from now, by the monotonic clock; None: no limit."""
        self._folder = folder
        self._clock = clock
        self._deadline = None if deadline_s is None else clock.monotonic_s() + deadline_s

    def check(self) -> None:
        """Raises BudgetExhaustedError when it is time to stop."""
        if self._folder.has(STOP):
            address = self._folder.address(STOP)
            raise BudgetExhaustedError(
                f"stop file {address} found; everything sent so far is journalled",
                remedy=f"remove {address} and run the same command again: it continues from here",
            )
        if self._deadline is not None and self._clock.monotonic_s() > self._deadline:
            raise BudgetExhaustedError(
                "the window's time (limits.deadline_s) is used up; everything sent is journalled",
                remedy="run the same command again in the next window: it continues from here",
            )
