"""A progress display that shows nothing, for tests of something else."""

from migrate.ports import Limiter


class Silence:
    """`ports.Progress` that shows nothing and keeps the texts of `say` in order."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def start(self, what: str, *, total: int | None, unit: str, requests: int = 0) -> None:
        pass

    def advance(self, count: int, *, bytes_: int = 0, earlier: bool = False) -> None:
        pass

    def watch(self, limiter: Limiter) -> None:
        pass

    def say(self, text: str) -> None:
        self.said.append(text)
