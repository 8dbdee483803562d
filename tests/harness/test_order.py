"""What takes long comes first in each process, and nothing is lost or run twice."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.order import spread

Test = tuple[int, int, int]  # file, number in it, weight


def order(files: list[list[int]], pieces: int) -> list[Test]:
    """The order of tests given as the weights of each file's tests."""
    tests = [
        (at, number, weight)
        for at, weights in enumerate(files)
        for number, weight in enumerate(weights)
    ]
    return spread(
        tests, pieces, file_of=lambda one: Path(str(one[0])), weight_of=lambda one: one[2]
    )


@given(st.lists(st.lists(st.sampled_from([0, 0, 1, 60]), max_size=5)), st.integers(1, 6))
def test_every_test_is_there_once_and_slow_files_stay_whole(
    files: list[list[int]], pieces: int
) -> None:
    found = order(files, pieces)

    assert sorted(found) == sorted(order(files, 1))
    for at, weights in enumerate(files):
        if any(weights):
            first = found.index((at, 0, weights[0]))
            assert [one[:2] for one in found[first : first + len(weights)]] == [
                (at, number) for number in range(len(weights))
            ]


@pytest.mark.parametrize("pieces", [2, 4])
def test_each_piece_begins_with_its_share_of_what_takes_long(pieces: int) -> None:
    slow, quick = [[1, 0]] * 8, [[0]] * 64

    found = order([*quick, *slow], pieces)

    size = len(found) // pieces
    for start in range(0, len(found), size):
        weights = [weight for *_, weight in found[start : start + size]]
        assert weights[: 16 // pieces] == [1, 0] * (8 // pieces)
        assert not any(weights[16 // pieces :])
