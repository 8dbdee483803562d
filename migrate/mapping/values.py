"""Bring a page's values to the target's dimensions, and find the rows that cannot move.

`reduce = matryoshka` keeps the first n values and renormalises. It runs in double precision with
one rounding at the end, so the result does not depend on the order of summation and digests of
reduced vectors reproduce (docs/services.md).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from migrate.mapping.payload import Quarantined, Reason
from migrate.model.choices import Reduce
from migrate.model.irregular import irregular_vectors
from migrate.model.records import DenseColumn, Float32Matrix, Page


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRules:
    """Which values move, and in which form; frozen into the plan."""

    vector_name: str  # "" for the unnamed vector
    source_dimensions: int
    dimensions: int  # what the target index holds
    reduce: Reduce
    metric: str  # cosine, euclidean, dot-product

    @property
    def is_cut(self) -> bool:
        """Whether fewer dimensions move than the source has."""
        return self.dimensions < self.source_dimensions


@dataclass(frozen=True, slots=True)
class MappedValues:
    """A page's values in target form; rows in `quarantined` are not usable."""

    values: Float32Matrix  # shape (rows, dimensions)
    quarantined: dict[int, Quarantined]  # position in the page -> why


def map_values(page: Page, rules: ValueRules) -> MappedValues:
    """Check and reduce the chosen dense vector of every row of the page."""
    column = page.vectors[rules.vector_name]
    assert isinstance(column, DenseColumn), "the plan chose a dense vector"
    quarantined = _absent_rows(page, column, rules)
    finite = np.isfinite(column.values).all(axis=1)
    for position in np.flatnonzero(column.present & ~finite):
        quarantined[int(position)] = _quarantined(Reason.NON_FINITE, rules, "NaN or infinity")
    usable = column.present & finite
    plain = column.values  # copied only when a row must not be used
    if not usable.all():
        plain = np.where(usable[:, None], plain, np.float32(0))
    values = reduce_values(plain, rules)
    if rules.metric == "cosine" or rules.reduce == "matryoshka":
        for position in np.flatnonzero(usable & ~values.any(axis=1)):
            quarantined[int(position)] = _quarantined(
                Reason.ZERO_VECTOR, rules, f"all of the {rules.dimensions} values are zero"
            )
    return MappedValues(values, quarantined)


def reduce_values(values: Float32Matrix, rules: ValueRules) -> Float32Matrix:
    """The values in target form, shape (rows, `rules.dimensions`), C-contiguous.

    A row whose kept values are all zero stays zero: the caller refuses it.
    """
    if rules.reduce == "none":
        return np.ascontiguousarray(values, dtype=np.float32)
    kept = values[:, : rules.dimensions].astype(np.float64)
    norms = np.sqrt(np.einsum("ij,ij->i", kept, kept))
    norms[norms == 0] = 1.0
    kept /= norms[:, None]
    return kept.astype(np.float32)


def _absent_rows(page: Page, column: DenseColumn, rules: ValueRules) -> dict[int, Quarantined]:
    absent: npt.NDArray[np.intp] = np.flatnonzero(~column.present)
    return {int(position): _absent_row(page, int(position), rules) for position in absent}


def _absent_row(page: Page, position: int, rules: ValueRules) -> Quarantined:
    """Missing, or present in a shape that the collection does not declare."""
    irregular = irregular_vectors(page.irregular[position])
    if irregular is None:
        return _quarantined(Reason.VECTOR_MISSING, rules, "the point has no such vector")
    if b"null" in irregular:
        return _quarantined(Reason.NON_FINITE, rules, "null inside the values")
    return _quarantined(
        Reason.DIM_MISMATCH, rules, f"not the {rules.source_dimensions} values of the collection"
    )


def _quarantined(reason: Reason, rules: ValueRules, detail: str) -> Quarantined:
    return Quarantined(reason=reason, field=f"vector {rules.vector_name!r}", detail=detail)
