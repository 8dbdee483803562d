"""A progress display for tests that look at something else."""


class Silence:
    """`ports.Progress` that shows nothing and remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def start(self, what: str, *, total: int | None, unit: str) -> None:
        pass

    def advance(self, count: int) -> None:
        pass

    def say(self, text: str) -> None:
        self.said.append(text)
