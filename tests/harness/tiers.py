"""How much of what repeats a tier runs: rows of cases, and the examples that hypothesis draws.

`make test` runs some of each row, `make check` all. Of the examples that a rule names `make test`
draws a sixth, `make check` a half, and `make faults` four times as many.
"""

from collections.abc import Hashable, Iterable
from math import ceil

import pytest
from hypothesis import settings

SEARCH = "search"
OF_CHECK = f"not {SEARCH}"  # what `make check` runs
EXAMPLES = 50  # of a rule that does not say how many
EXAMPLES_MIN = 5  # in every tier, of a rule with that many


def share_of_examples(marks: str) -> float:
    """Of the examples that a rule names; `marks` is the `-m` with which a tier runs pytest."""
    if marks.startswith(SEARCH):
        return 4
    if "not slow" in marks:
        return 1 / 6
    return 1 / 2 if marks == OF_CHECK else 1  # a test that is run by itself draws all


def examples(count: int) -> int:
    """How many examples the tier that runs draws of a rule that names `count`."""
    return max(ceil(count * settings().max_examples / EXAMPLES), min(count, EXAMPLES_MIN))


def one_in(count: int, cases: Iterable[object]) -> list[pytest.ParameterSet]:
    """The cases in order, of each `count` the first in the quick tier, the others slow.

    A tuple is a case with several parameters. Of a row of kills or of positions the cases that
    `make test` runs lie at equal distances.
    """
    return [
        pytest.param(
            *(case if isinstance(case, tuple) else (case,)),
            marks=() if number % count == 0 else pytest.mark.slow,
        )
        for number, case in enumerate(cases)
    ]


def places_of(kinds: Iterable[Hashable]) -> dict[Hashable, list[int]]:
    """Kind -> the places, counted from 1, at which something of it stands in a row."""
    places: dict[Hashable, list[int]] = {}
    for at, kind in enumerate(kinds, start=1):
        places.setdefault(kind, []).append(at)
    return places


def three_of(places: list[int]) -> set[int]:
    """The first, one in the middle, and the last."""
    return {places[0], places[len(places) // 2], places[-1]}


def three_of_each(kinds: Iterable[Hashable]) -> list[int]:
    """Where `make check` strikes in a row of requests or calls: at three of each kind, in order."""
    return sorted(set[int]().union(*(three_of(places) for places in places_of(kinds).values())))
