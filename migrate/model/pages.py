"""Cut pages by position or by id; pick rows; make a page of one unreadable point."""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from migrate.model.irregular import UNREADABLE
from migrate.model.records import (
    DenseColumn,
    MultiColumn,
    Page,
    PointId,
    SparseColumn,
    VectorColumn,
    VectorKind,
    VectorSpec,
)


def take_rows(page: Page, start: int, end: int) -> Page:
    """The rows at positions `start` .. `end` - 1."""
    if start == 0 and end >= len(page):
        return page
    return Page(
        ids=page.ids[start:end],
        payloads=page.payloads[start:end],
        vectors={name: _take(column, start, end) for name, column in page.vectors.items()},
        irregular=page.irregular[start:end],
    )


def _take(column: VectorColumn, start: int, end: int) -> VectorColumn:
    match column:
        case DenseColumn():
            return DenseColumn(column.values[start:end], column.present[start:end])
        case MultiColumn():
            return MultiColumn(column.rows[start:end])
        case SparseColumn():
            return SparseColumn(column.rows[start:end])


def take_positions(page: Page, positions: Sequence[int]) -> Page:
    """The rows at these positions, which are ascending."""
    if len(positions) == len(page):
        return page
    return Page(
        ids=tuple(page.ids[position] for position in positions),
        payloads=tuple(page.payloads[position] for position in positions),
        vectors={name: _pick(column, positions) for name, column in page.vectors.items()},
        irregular=tuple(page.irregular[position] for position in positions),
    )


def _pick(column: VectorColumn, positions: Sequence[int]) -> VectorColumn:
    match column:
        case DenseColumn():
            chosen = np.array(positions, dtype=np.intp)
            return DenseColumn(column.values[chosen], column.present[chosen])
        case MultiColumn():
            return MultiColumn(tuple(column.rows[position] for position in positions))
        case SparseColumn():
            return SparseColumn(tuple(column.rows[position] for position in positions))


def take_before(page: Page, stop: PointId | None) -> Page:
    """The rows with an id below `stop`; all of them for None."""
    if stop is None:
        return page
    return take_rows(page, 0, bisect_left(page.ids, stop))


def unreadable_page(point_id: PointId, vectors: Sequence[VectorSpec]) -> Page:
    """A page of one point of which only the id could be read."""
    return Page(
        ids=(point_id,),
        payloads=(b"{}",),
        vectors={spec.name: _absent(spec) for spec in vectors},
        irregular=(UNREADABLE,),
    )


def _absent(spec: VectorSpec) -> VectorColumn:
    match spec.kind:
        case VectorKind.DENSE:
            zeros = np.zeros((1, spec.dimensions or 0), np.float32)
            return DenseColumn(zeros, np.zeros(1, np.bool_))
        case VectorKind.MULTI:
            return MultiColumn((None,))
        case VectorKind.SPARSE:
            return SparseColumn((None,))
