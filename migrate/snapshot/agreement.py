"""Classify repeated readings of a count and of the pages when the two disagree."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class Reading:
    """The source's exact count, and the number of ids in its pages read right after."""

    count: int
    ids: int


class Agreement(Enum):
    """The classification of a series of readings."""

    PERMANENT = auto()  # the same two numbers every time, which no writer causes
    ALTERNATING = auto()  # numbers that return after a change: replicas that differ answer
    MOVING = auto()  # anything else: another process is writing or has written


def judge(readings: Sequence[Reading]) -> Agreement:
    """Judge readings in the order in which they were made; the first one disagreed."""
    first = readings[0]
    assert first.count != first.ids, "nothing to judge"
    if len(readings) > 1 and set(readings) == {first}:
        return Agreement.PERMANENT
    counts = [reading.count for reading in readings]
    ids = [reading.ids for reading in readings]
    if _comes_back(counts) or _comes_back(ids):
        return Agreement.ALTERNATING
    return Agreement.MOVING


def _comes_back(numbers: Sequence[int]) -> bool:
    """Whether a number returns after a different one."""
    changes = [number for at, number in enumerate(numbers) if at == 0 or numbers[at - 1] != number]
    return len(set(changes)) < len(changes)
