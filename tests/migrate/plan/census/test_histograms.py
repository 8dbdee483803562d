"""Histograms count everything once, in the right bin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrate.plan.census.histograms import CHUNKS, METADATA_BYTES, NORMS, NormCounts, count_sizes

SIZES = st.lists(st.integers(1, 20_000), max_size=60)


@given(SIZES)
def test_sizes_are_counted_as_by_hand(sizes: list[int]) -> None:
    pairs = [(size, sizes.count(size)) for size in set(sizes)]
    found = count_sizes("metadata bytes", METADATA_BYTES, pairs)
    ends = [*METADATA_BYTES[1:], 10**9]

    assert list(found.counts) == [
        sum(low <= size < high for size in sizes)
        for low, high in zip(METADATA_BYTES, ends, strict=True)
    ]
    assert (found.lowest, found.highest) == (min(sizes, default=None), max(sizes, default=None))
    assert found.median == (sorted(sizes)[(len(sizes) - 1) // 2] if sizes else None)


def test_files_of_one_chunk_have_a_bin_of_their_own() -> None:
    found = count_sizes("chunks a file", CHUNKS, [(1, 4), (2, 1), (1_001, 2)])

    assert found.counts == (4, 1, 0, 0, 0, 2)


@pytest.mark.parametrize("pages", [1, 3])
def test_norms_are_counted_over_all_pages(pages: int) -> None:
    lengths = [0.2, 0.95, 1.0, 1.005, 1.05, 3.0]
    counts = NormCounts()
    for _ in range(pages):
        counts.add(np.array([[length, 0.0] for length in lengths], dtype=np.float32))
        counts.add(np.empty((0, 2), dtype=np.float32))
    found = counts.histogram()

    assert found.counts == tuple(pages * count for count in (1, 0, 1, 2, 1, 0, 1))
    assert len(found.counts) == len(NORMS)
    assert found.lowest == pytest.approx(0.2)
    assert found.highest == pytest.approx(3.0)


def test_values_whose_squares_are_beyond_float32_have_a_length() -> None:
    counts = NormCounts()
    counts.add(np.array([[3e38, 0.0]], dtype=np.float32))

    assert counts.histogram().highest == pytest.approx(3e38)


def test_nothing_has_no_range() -> None:
    assert NormCounts().histogram().lowest is None
    assert count_sizes("id bytes", (0, 9), []).median is None
