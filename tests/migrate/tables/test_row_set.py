"""A set of rows says of each row what a set of Python says."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from migrate.tables.row_set import RowSet, mask_of


@st.composite
def divided(draw: st.DrawFn) -> tuple[int, set[int], int]:
    """A number of rows, some of them, and how many go into a batch."""
    points = draw(st.integers(0, 70))
    return (
        points,
        draw(st.sets(st.integers(0, max(points - 1, 0)), max_size=points)),
        draw(st.integers(1, 9)),
    )


@given(divided(), st.integers(0, 80), st.integers(0, 80))
def test_it_holds_every_row_but_those_of_the_batches(
    case: tuple[int, set[int], int], one: int, other: int
) -> None:
    points, left_out, size = case
    rows = sorted(left_out) if points else []
    batches = [np.array(rows[at : at + size], np.int64) for at in range(0, len(rows), size)]

    found = RowSet.all_but(points, batches)

    expected = set(range(points)) - set(rows)
    assert list(found) == sorted(expected)
    assert len(found) == len(expected)
    assert [row in found for row in range(-1, points + 9)] == [
        row in expected for row in range(-1, points + 9)
    ]
    first, end = sorted((min(one, points), min(other, points)))
    for rows_of in (found, frozenset(expected)):
        assert mask_of(rows_of, first, end).tolist() == [
            row in expected for row in range(first, end)
        ]


def test_equal_sets_have_one_hash() -> None:
    batch = np.array([3], np.int64)
    one, other = RowSet.all_but(9, [batch]), RowSet.all_but(9, [batch])

    assert one == other
    assert hash(one) == hash(other)
    assert set(one) == {0, 1, 2, 4, 5, 6, 7, 8}
