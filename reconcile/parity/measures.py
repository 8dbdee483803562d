"""How much of a ranking another one keeps: one number a query. Pure.

The reference is the exact ranking of the source. A row counts by its score there, not by its
number: among equal neighbours any of them is right.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reconcile.parity.nearest import NO_ROW, Ranking

TOLERANCE = 1e-6  # of a score of 1: float32 sums in another order differ by less
PERSISTENCE = 0.9  # of rank-biased overlap: the first ten places weigh 65 % (Webber et al. 2010)

_Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """Each an array with a number between 0 and 1 for each query; 1 is "as in the source"."""

    overlap: _Numbers  # share of the first `top` that belong to the first `top` of the source
    same_first: _Numbers  # 1 when the first one is the first of the source
    rank_biased: _Numbers  # rank-biased overlap of the whole rankings, extrapolated
    contained: _Numbers  # share of the source's first `top` that are found at all


def measure(reference: Ranking, found: Ranking, *, top: int) -> Measures:
    """Compare what was found for each query with the reference, at the first `top` places.

    A query with fewer than `top` neighbours is measured at as many as there are; with none it
    counts as kept, since nothing can be lost.
    """
    available = np.minimum((reference.rows != NO_ROW).sum(axis=1), top)
    last = np.maximum(available, 1) - 1
    lowest = _with_tolerance(np.take_along_axis(reference.scores, last[:, None], axis=1))
    is_good = (found.rows != NO_ROW) & (found.reference >= lowest)
    highest = _with_tolerance(reference.scores[:, 0])
    first = (found.rows[:, 0] != NO_ROW) & (found.reference[:, 0] >= highest)
    return Measures(
        overlap=_share(is_good[:, :top].sum(axis=1), available),
        same_first=np.where(available == 0, 1.0, first),
        rank_biased=_rank_biased(reference.rows, found.rows),
        contained=_share(is_good.sum(axis=1), available),
    )


def _with_tolerance(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    tolerance = TOLERANCE * np.maximum(np.abs(scores), 1)
    return np.asarray(scores - tolerance, dtype=np.float32)


def _share(count: npt.NDArray[np.int_], available: npt.NDArray[np.int_]) -> _Numbers:
    shares = np.minimum(count, available) / np.maximum(available, 1)
    return np.where(available == 0, 1.0, shares)


def _rank_biased(left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> _Numbers:
    """RBO_EXT of rankings of equal depth (Webber, Moffat, Zobel 2010, formula 32)."""
    return np.array(
        [_rank_biased_of_one(one, other) for one, other in zip(left, right, strict=True)]
    )


def _rank_biased_of_one(left: npt.NDArray[np.int64], right: npt.NDArray[np.int64]) -> float:
    left, right = left[left != NO_ROW], right[right != NO_ROW]
    depth = max(len(left), len(right))
    if depth == 0:
        return 1.0
    _, at_left, at_right = np.intersect1d(left, right, assume_unique=True, return_indices=True)
    # A row is common from the deeper of its two places on.
    common = np.cumsum(np.bincount(np.maximum(at_left, at_right), minlength=depth))
    places = np.arange(1, depth + 1)
    agreement = common / places
    weights = PERSISTENCE**places
    summed = (1 - PERSISTENCE) / PERSISTENCE * float((agreement * weights).sum())
    return summed + float(agreement[-1] * weights[-1])
