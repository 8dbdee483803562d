"""What each measure says of rankings that were made by hand, and what holds for all of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.parity.measures import measure
from reconcile.parity.nearest import NO_ROW, Ranking

DEPTH = 8
SCORES = {row: 1 - row / 10 for row in range(10)}  # of the source: row 0 is the nearest


def ranking(*rows: int, scores: dict[int, float] = SCORES) -> Ranking:
    """One query's ranking, with the scores of the source."""
    held = [*rows, *[NO_ROW] * (DEPTH - len(rows))]
    reference = np.array([[scores.get(row, -np.inf) for row in held]], dtype=np.float32)
    return Ranking(np.array([held]), reference, reference)


def figures(found: Ranking, reference: Ranking | None = None, top: int = 4) -> list[float]:
    """Overlap, same first, rank-biased overlap and what is contained."""
    measured = measure(reference or ranking(*range(8)), found, top=top)
    numbers = (measured.overlap, measured.same_first, measured.rank_biased, measured.contained)
    return [round(float(one[0]), 3) for one in numbers]


def test_the_same_ranking_keeps_everything() -> None:
    assert figures(ranking(*range(8))) == [1, 1, 1, 1]


def test_neighbours_in_another_order_are_an_overlap_all_the_same() -> None:
    assert figures(ranking(3, 2, 1, 0, 4, 5, 6, 7))[:2] == [1, 0]


def test_half_of_the_first_that_lie_deeper_are_contained() -> None:
    # Agreement by hand: 1, 1, 2/3, 1/2, 4/5, and 1 from the sixth place on.
    assert figures(ranking(0, 1, 4, 5, 2, 3, 6, 7)) == [0.5, 1, 0.923, 1]


def test_nothing_in_common() -> None:
    assert figures(ranking(8, 9)) == [0, 0, 0, 0]


def test_an_equal_score_is_as_good_as_the_row_itself() -> None:
    equal = {0: 1.0, 1: 0.5, 2: 0.5, 3: 0.5, 4: 0.1}
    found = ranking(0, 3, scores=equal)

    assert figures(found, ranking(0, 1, 2, 4, scores=equal), top=2)[0] == 1
    assert figures(ranking(0, 4, scores=equal), ranking(0, 1, 2, 4, scores=equal), top=2)[0] == 0.5


def test_of_fewer_neighbours_than_asked_for_all_count() -> None:
    assert figures(ranking(0, 1), ranking(0, 1)) == [1, 1, 1, 1]
    assert figures(ranking(0), ranking(0, 1))[0] == 0.5


def test_where_there_are_no_neighbours_none_is_lost() -> None:
    assert figures(ranking(), ranking()) == [1, 1, 1, 1]


def test_rank_biased_overlap_is_that_of_its_definition() -> None:
    """By hand, p = 0.9, [a b] and [b a]: agreement 0 then 1."""
    assert figures(ranking(1, 0), ranking(0, 1))[2] == pytest.approx(
        (0.1 / 0.9) * (0.9**2 * 1) + 0.9**2
    )


@given(st.permutations(range(10)), st.integers(1, 8))
def test_every_measure_lies_between_nothing_and_all(order: list[int], top: int) -> None:
    overlap, _, rank_biased, contained = numbers = figures(ranking(*order[:8]), top=top)

    assert all(0 <= one <= 1 for one in numbers)
    assert overlap <= contained
    assert (rank_biased == 1) == (order[:8] == list(range(8)))
