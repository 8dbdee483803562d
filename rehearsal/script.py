"""A script of steps, each with an expectation; the first failed expectation ends it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from migrate.errors import MigrationError
from migrate.ports import Clock


@dataclass(slots=True)
class Step:
    """One step of the script."""

    title: str
    held: bool = True
    lines: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(slots=True)
class Script:
    """The steps so far; each step is reported when it ends."""

    tell: Callable[[Step], None]
    clock: Clock
    steps: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """One step; an expectation that fails, or an error, ends the script."""
        step = Step(title)
        started = self.clock.monotonic_s()
        try:
            yield step
        except MigrationError as error:
            step.held = False
            step.lines += [f"stopped: {error}", f"next: {error.remedy}"]
            raise
        except NotHeldError as error:
            step.held = False
            step.lines.append(f"did not hold: {error}")
            raise
        finally:
            step.seconds = round(self.clock.monotonic_s() - started, 2)
            self.steps.append(step)
            self.tell(step)


class NotHeldError(Exception):
    """A step's expectation was not met."""


def expect(holds: bool, what: str) -> None:
    """Raises NotHeldError unless `holds`."""
    if not holds:
        raise NotHeldError(what)
