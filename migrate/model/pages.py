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
    ShardKey,
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
        shard_keys=None if page.shard_keys is None else page.shard_keys[start:end],
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
    return page if len(positions) == len(page) else _reorder(page, positions)


def _reorder(page: Page, positions: Sequence[int]) -> Page:
    return Page(
        ids=tuple(page.ids[position] for position in positions),
        payloads=tuple(page.payloads[position] for position in positions),
        vectors={name: _pick(column, positions) for name, column in page.vectors.items()},
        irregular=tuple(page.irregular[position] for position in positions),
        shard_keys=None
        if page.shard_keys is None
        else tuple(page.shard_keys[position] for position in positions),
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


def merge_pages(pages: Sequence[Page]) -> Page:
    """The rows of all pages, which have the same columns, in the order of their ids."""
    filled = [page for page in pages if len(page)]
    if len(filled) <= 1:
        return filled[0] if filled else pages[0]
    ids = [point_id for page in filled for point_id in page.ids]
    keys = [page.shard_keys for page in filled if page.shard_keys is not None]
    whole = Page(
        ids=tuple(ids),
        payloads=tuple(payload for page in filled for payload in page.payloads),
        vectors={
            name: _join([page.vectors[name] for page in filled]) for name in filled[0].vectors
        },
        irregular=tuple(one for page in filled for one in page.irregular),
        shard_keys=tuple(key for some in keys for key in some) if keys else None,
    )
    return _reorder(whole, sorted(range(len(ids)), key=ids.__getitem__))


def _join(columns: Sequence[VectorColumn]) -> VectorColumn:
    first = columns[0]
    if isinstance(first, DenseColumn):
        dense = [column for column in columns if isinstance(column, DenseColumn)]
        return DenseColumn(
            np.concatenate([column.values for column in dense]),
            np.concatenate([column.present for column in dense]),
        )
    if isinstance(first, MultiColumn):
        multi = [column for column in columns if isinstance(column, MultiColumn)]
        return MultiColumn(tuple(row for column in multi for row in column.rows))
    sparse = [column for column in columns if isinstance(column, SparseColumn)]
    return SparseColumn(tuple(row for column in sparse for row in column.rows))


def unreadable_page(
    point_id: PointId, vectors: Sequence[VectorSpec], shard_key: ShardKey | None = None
) -> Page:
    """A page of one point of which only the id, and its shard key if any, could be read."""
    return Page(
        ids=(point_id,),
        payloads=(b"{}",),
        vectors={spec.name: _absent(spec) for spec in vectors},
        irregular=(UNREADABLE,),
        shard_keys=None if shard_key is None else (shard_key,),
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
