"""How much of what repeats a tier runs: rows of cases, and the examples that hypothesis draws.

`make test` runs some of each row, `make check` all. In a row of kills or faults `make check`
strikes at some steps of each kind, `make faults` at every one. Of the examples that a rule names
`make test` draws a sixth, `make check` a third, and `make faults` four times as many.
"""

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from math import ceil
from typing import TypeVar

import pytest
from hypothesis import settings

SEARCH = "search"
OF_CHECK = f"not {SEARCH}"  # what `make check` runs
EXAMPLES = 50  # of a rule that does not say how many
K = TypeVar("K", bound=Hashable)  # what is of one kind is equal
_OWN = re.compile(r"[0-9a-f]{32}|\d{8}T\d{6}Z(-[0-9a-f]{6}-\d\d)?|\d+")
EXAMPLES_MIN = 5  # in every tier, of a rule with that many


def share_of_examples(marks: str) -> float:
    """Of the examples that a rule names; `marks` is the `-m` with which a tier runs pytest."""
    if marks.startswith(SEARCH):
        return 4
    if "not slow" in marks:
        return 1 / 6
    return 1 / 3 if marks == OF_CHECK else 1  # a test that is run by itself draws all


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


def alike(name: str) -> str:
    """The name without what it does not share with its like: ids, times and numbers."""
    return _OWN.sub("0", name)


def three_of_each(kinds: Sequence[K]) -> list[int]:
    """Of each kind the first, one in the middle and the last; places are counted from 1."""
    return sorted({place for three in _three_of_each(kinds).values() for place in three})


def some_of_each(kinds: Sequence[K], is_write: Callable[[K], bool]) -> list[int]:
    """Where `make check` strikes in a row of steps, of which these are the kinds.

    Of each kind of write at two: the first and the last. Of any other kind at one: by turns at the
    first, one in the middle, or the last. Places are counted from 1.
    """
    chosen = set[int]()
    for number, (kind, three) in enumerate(_three_of_each(kinds).items()):
        chosen |= {three[0], three[2]} if is_write(kind) else {three[number % 3]}
    return sorted(chosen)


def _three_of_each(kinds: Sequence[K]) -> dict[K, tuple[int, int, int]]:
    """Kind -> the first place, one in the middle, and the last; in the order of the first."""
    found: dict[K, list[int]] = {}
    for at, kind in enumerate(kinds, start=1):
        found.setdefault(kind, []).append(at)
    return {kind: (all_[0], all_[len(all_) // 2], all_[-1]) for kind, all_ in found.items()}


def every_one(kinds: Sequence[object]) -> list[int]:
    """Where `make faults` strikes in a row of steps."""
    return list(range(1, len(kinds) + 1))


def struck_at(chosen: Callable[[Sequence[K]], list[int]]) -> pytest.MarkDecorator:
    """A test that strikes at places in a row takes `chosen`, which names them by their kinds."""
    cases = [
        pytest.param(chosen, id="some of each kind"),
        pytest.param(every_one, id="every one", marks=pytest.mark.search),
    ]
    return pytest.mark.parametrize("chosen", cases)
