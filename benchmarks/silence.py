"""What the stages need besides their stores, when nobody looks."""

from migrate.ports import Limiter


class Silence:
    """Progress that nobody sees."""

    def start(self, what: str, *, total: int | None, unit: str, requests: int = 0) -> None:
        """Say nothing."""

    def advance(self, count: int, *, bytes_: int = 0, earlier: bool = False) -> None:
        """Say nothing."""

    def watch(self, limiter: Limiter) -> None:
        """Look at nothing."""

    def say(self, text: str) -> None:
        """Say nothing."""
