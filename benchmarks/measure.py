"""How the benchmarks measure: ours and its floor in turn, CPU time, medians, and a verdict."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from typing_extensions import override

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Demand:
    """What a figure has to be; None for one that only informs."""

    at_most: float | None = None
    at_least: float | None = None

    def holds(self, value: float, *, slack: float = 0.0) -> bool:
        """Whether the value is within the demand, give or take this share of it."""
        if self.at_most is not None and value > self.at_most * (1 + slack):
            return False
        return self.at_least is None or value >= self.at_least * (1 - slack)

    @override
    def __str__(self) -> str:
        """As in the table of the demands."""
        if self.at_most is not None:
            return f"<= {self.at_most:g}"
        return "informs" if self.at_least is None else f">= {self.at_least:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table: a figure of q2v beside a floor or a peer of the same run."""

    name: str
    ours: float
    unit: str
    against: str  # the floor, or the peer
    theirs: float | None  # in the same unit
    figure: float  # what is demanded of: mostly the ratio of the two
    demand: Demand

    @override
    def __str__(self) -> str:
        """One row."""
        theirs = "" if self.theirs is None else f"{self.theirs:,.2f}"
        verdict = "holds" if self.demand.holds(self.figure) else "DOES NOT HOLD"
        verdict = "" if str(self.demand) == "informs" else verdict
        return (
            f"{self.name:44} {self.ours:10,.2f} {theirs:>10} {self.unit:6} {self.figure:8.2f} "
            f"{self.demand!s:8} {verdict:14} {self.against}"
        )


HEAD = (
    f"{'what':44} {'ours':>10} {'theirs':>10} {'unit':6} {'figure':>8} {'demand':8} {'':14} against"
)


def ratio_line(
    name: str, ours: float, against: str, theirs: float, demand: Demand, *, unit: str = "ms"
) -> Line:
    """A line whose figure is ours over theirs."""
    return Line(
        name=name,
        ours=ours,
        unit=unit,
        against=against,
        theirs=theirs,
        figure=ours / theirs,
        demand=demand,
    )


def faster_line(
    name: str, ours: float, against: str, theirs: float, demand: Demand, *, unit: str = "ms"
) -> Line:
    """A line whose figure is how many times as fast as theirs ours is."""
    line = ratio_line(name, ours, against, theirs, demand, unit=unit)
    return replace(line, figure=theirs / ours)


def cpu_ms(
    *calls: Callable[[], object], rounds: int = ROUNDS, own_memory: bool = False
) -> list[float]:
    """The median CPU time of each call in ms, of all threads of this process, taken in turn.

    With `own_memory` each is called once before it counts: it then finds memory as it has left it
    itself, as in a process that does nothing else, and not as the one before it has.
    """
    return _medians(time.process_time, calls, rounds, own_memory=own_memory)


def wall_ms(*calls: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    """The median wall time of each call in ms, taken in turn."""
    return _medians(time.perf_counter, calls, rounds)


def _medians(
    clock: Callable[[], float],
    calls: Sequence[Callable[[], object]],
    rounds: int,
    *,
    own_memory: bool = False,
) -> list[float]:
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, mine in zip(calls, taken, strict=True):
            if own_memory:
                call()
            started = clock()
            call()
            mine.append((clock() - started) * 1000)
    return [statistics.median(mine) for mine in taken]
