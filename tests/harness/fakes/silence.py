"""A progress display that shows nothing, for tests of something else."""

import sys

from migrate.ports import Limiter

_MAY_GROW = (
    *("listing", "counting ids", "reading points", "reading again", "reading the source"),
    "reading part",
)


class Silence:
    """`ports.Progress` that shows nothing, and keeps the texts of `say`.

    A piece of work that does more than its total fails the test; only what others add to meanwhile
    may.
    """

    def __init__(self) -> None:
        self.said: list[str] = []
        self._what, self._left = "", 0

    def start(self, what: str, *, total: int | None, unit: str, requests: int = 0) -> None:
        self._what, self._left = what, sys.maxsize if total is None else total

    def advance(self, count: int, *, bytes_: int = 0, earlier: bool = False) -> None:
        self._left -= count
        may_grow = self._what.startswith(_MAY_GROW) or not self._what  # nothing was announced
        assert self._left >= 0 or may_grow, f"{self._what}: more than 100 %"

    def watch(self, limiter: Limiter) -> None:
        pass

    def say(self, text: str) -> None:
        self.said.append(text)
