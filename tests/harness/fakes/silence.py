"""A progress display that shows nothing, for tests of something else."""

import sys

from migrate.ports import Limiter


class Silence:
    """`ports.Progress` that shows nothing, and keeps the texts of `say` and what is over 100 %."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.over: set[str] = set()  # pieces of work that did more than their total
        self._what, self._left = "", 0

    def start(self, what: str, *, total: int | None, unit: str, requests: int = 0) -> None:
        self._what, self._left = what, sys.maxsize if total is None else total

    def advance(self, count: int, *, bytes_: int = 0, earlier: bool = False) -> None:
        self._left -= count
        if self._left < 0:
            self.over.add(self._what)

    def watch(self, limiter: Limiter) -> None:
        pass

    def say(self, text: str) -> None:
        self.said.append(text)
