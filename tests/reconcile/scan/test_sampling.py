"""A sample is the same for the same seed, and its bound is not too small."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconcile.sampling import Coverage, choose_rows


@pytest.mark.fault("R06")
@given(
    st.integers(0, 60), st.sets(st.integers(0, 59), max_size=20), st.integers(0, 80), st.integers()
)
def test_a_sample_has_its_size_and_leaves_out_what_is_excluded(
    points: int, excluded: set[int], sample: int, seed: int
) -> None:
    left_out = {row for row in excluded if row < points}
    rows = choose_rows(points, left_out, sample=sample, seed=seed)

    assert len(rows) == min(sample, points - len(left_out))
    assert rows <= set(range(points)) - left_out
    assert rows == choose_rows(points, left_out, sample=sample, seed=seed)


@pytest.mark.fault("R06")
def test_another_seed_draws_another_sample() -> None:
    samples = {choose_rows(10_000, set(), sample=50, seed=seed) for seed in range(20)}

    assert len(samples) == 20


def test_every_row_can_be_drawn() -> None:
    drawn = [choose_rows(10, set(), sample=1, seed=seed) for seed in range(200)]

    assert frozenset().union(*drawn) == set(range(10))


@pytest.mark.fault("R06")
@pytest.mark.parametrize(
    ("contents", "checked", "vectors", "bound"),
    [
        ("full", 100, 100, 0.0),
        ("sampled", 300, 1000, 0.01),
        ("sampled", 1, 1000, 1.0),
        ("sampled", 0, 1000, 1.0),
        ("sampled", 0, 0, 0.0),
    ],
)
def test_the_bound_is_three_over_n(contents: str, checked: int, vectors: int, bound: float) -> None:
    coverage = Coverage(contents=contents, checked=checked, vectors=vectors, seed=1)

    assert coverage.bound == pytest.approx(bound)
