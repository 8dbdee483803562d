"""Walking by seeking: every id once, whatever the server gives out at a time."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from migrate.model.records import UINT64_MAX, UUID_MAX, Page, PointId
from migrate.snapshot.walk import walk_ids, walk_points
from tests.harness.fakes.memory_source import MemorySource

numbers = st.sets(st.integers(0, 60) | st.just(UINT64_MAX), max_size=20)


def source_of(found: set[int], answer_points_max: int = 10**9) -> MemorySource:
    source = MemorySource({number: {} for number in found})
    source.answer_points_max = answer_points_max
    return source


@pytest.mark.fault("S02")
@given(numbers, st.integers(1, 7))
def test_every_id_is_seen_once_in_order(found: set[int], limit: int) -> None:
    pages = list(walk_ids(source_of(found), limit=limit))

    assert [point_id.number for page in pages for point_id in page] == sorted(found)
    assert all(pages)


@pytest.mark.fault("S02", "P06")
@given(
    numbers,
    st.tuples(st.none() | st.integers(0, 60), st.none() | st.integers(0, 60)),
    st.integers(1, 7),
    st.integers(1, 4),
    st.none() | st.integers(0, 30),
)
def test_every_point_between_start_and_stop_is_seen_once(
    found: set[int],
    bounds: tuple[int | None, int | None],
    limit: int,
    answer_points_max: int,
    expected: int | None,
) -> None:
    """A page that comes back short is not the end, and how many were expected changes nothing."""
    start, stop = bounds
    pages = list(
        walk_points(
            source_of(found, answer_points_max),
            None if start is None else PointId(0, start),
            None if stop is None else PointId(0, stop),
            limit=limit,
            expected=expected,
        )
    )

    assert [point_id.number for page in pages for point_id in page.ids] == sorted(
        number
        for number in found
        if (start is None or number >= start) and (stop is None or number < stop)
    )
    assert all(len(page) for page in pages)


@pytest.mark.fault("S02")
def test_a_walk_ends_at_the_last_possible_id() -> None:
    class AtTheEnd(MemorySource):
        """Always answers with the last id there can be, as a looping server would."""

        @override
        def read_ids(self, start: PointId | None, *, limit: int) -> list[PointId]:
            return [PointId(1, UUID_MAX)]

    assert list(walk_ids(AtTheEnd({}), limit=3)) == [[PointId(1, UUID_MAX)]]


def test_each_read_starts_right_after_the_one_before() -> None:
    source = source_of(set(range(0, 50, 10)))
    list(walk_points(source, None, None, limit=2))
    starts = [start for _, start in source.reads]

    assert starts == [None, PointId(0, 11), PointId(0, 31), PointId(0, 41)]
    assert all(one < other for one, other in pairwise(starts[1:]) if one and other)


@pytest.mark.parametrize(
    ("expected", "asked"),
    [
        (None, [6, 6]),
        (8, [6, 3]),  # 6 and 2, and the first one behind them
        (3, [4, 6]),  # more came than expected: whole pages again
    ],
)
def test_the_last_page_of_a_range_is_asked_for_no_more_than_its_rest(
    expected: int | None, asked: list[int]
) -> None:
    class Noting(MemorySource):
        """Keeps how many points each read asked for."""

        @override
        def read_points(self, start: PointId | None, *, limit: int) -> Page:
            limits.append(limit)
            return super().read_points(start, limit=limit)

    limits: list[int] = []
    source = Noting({number: {} for number in range(20)})
    pages = list(walk_points(source, None, PointId(0, 8), limit=6, expected=expected))

    assert sum(map(len, pages)) == 8
    assert limits == asked
