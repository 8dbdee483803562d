"""Long rows of cases: `make test` runs some of them, `make check` all."""

from collections.abc import Iterable

import pytest


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
