"""Read rows of a snapshot in target form, with values and metadata, for uploads and comparisons.

`q2v plan` has mapped every row before; it wrote what the other stages need to the run's
`targets.parquet`.
"""

from bisect import bisect_right
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import numpy as np

from migrate.mapping.payload import map_again
from migrate.mapping.rules import MappingRules
from migrate.mapping.values import ValueRules, map_values
from migrate.model.canonical import decode_json
from migrate.model.records import Float32Matrix, Vector, VectorId
from migrate.run.folder import RunFolder
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.parts import SnapshotRows
from migrate.tables.row_set import mask_of


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedRows:
    """Some consecutive rows in snapshot order, without the excluded ones."""

    rows: tuple[int, ...]
    ids: tuple[VectorId, ...]
    files: tuple[str | None, ...]
    positions: tuple[int, ...]  # the chunk's number within its file
    metadata: tuple[bytes, ...]  # compact canonical JSON
    namespaces: tuple[str | None, ...]
    values: Float32Matrix  # shape (len(rows), dimensions)


def read_mapped(
    snapshot: Snapshot,
    mapping: MappingRules,
    values: ValueRules,
    excluded: AbstractSet[int],
    *,
    only: AbstractSet[int] | None = None,
    first_row: int = 0,
    end_row: int | None = None,
) -> Iterator[MappedRows]:
    """Rows `first_row` .. `end_row` - 1 in target form, without the `excluded` ones.

    With `only` no other rows than these; parts without one of them are not read. The plan has found
    every row that does not map, so a failure here is a bug in q2v.
    """
    end = snapshot.manifest.points if end_row is None else end_row
    names = (values.vector_name,)
    for first, stop in _spans(snapshot, only, first_row, end):
        for rows in snapshot.read(with_vectors=names, first_row=first, end_row=stop):
            end_row = rows.first_row + len(rows.page)
            wanted = ~mask_of(excluded, rows.first_row, end_row)
            if only is not None:
                wanted &= mask_of(only, rows.first_row, end_row)
            kept = np.flatnonzero(wanted).tolist()
            if kept:
                yield _map_rows(rows, kept, mapping, values)


def _spans(
    snapshot: Snapshot, only: AbstractSet[int] | None, first_row: int, end_row: int
) -> Iterator[tuple[int, int]]:
    """Row ranges that hold the wanted rows; with `only` one for each part that has some."""
    if only is None:
        yield first_row, end_row
        return
    wanted = sorted(row for row in only if first_row <= row < end_row)
    starts = snapshot.part_starts()
    for _, of_part in groupby(wanted, key=partial(bisect_right, starts)):
        here = list(of_part)
        yield here[0], here[-1] + 1


def read_expected(run: RunFolder, rows: AbstractSet[int]) -> Iterator[tuple[int, Vector]]:
    """These rows of the run as vectors that the target should hold, in row order.

    Only the parts that hold one of them are read.
    """
    plan = run.plan
    for mapped in read_mapped(run.snapshot, plan.mapping, plan.values, frozenset(), only=rows):
        yield from zip(mapped.rows, _vectors(mapped), strict=True)


def _vectors(mapped: MappedRows) -> Iterator[Vector]:
    columns = (mapped.ids, mapped.values, mapped.metadata, mapped.namespaces)
    for vector_id, values, text, namespace in zip(*columns, strict=True):
        metadata = decode_json(text)
        assert isinstance(metadata, dict), "the mapping made it"
        yield Vector(id=vector_id, values=values, namespace=namespace, metadata=metadata)


def _map_rows(
    rows: SnapshotRows, kept: list[int], mapping: MappingRules, values: ValueRules
) -> MappedRows:
    page = rows.page
    keys = page.shard_keys or (None,) * len(page)
    mapped = [map_again(page.ids[at], page.payloads[at], mapping, keys[at]) for at in kept]
    ids, files, positions, metadata, namespaces = zip(*mapped, strict=True)
    whole = map_values(page, values).values
    matrix = whole if len(kept) == len(page) else whole[np.array(kept, np.intp)]
    return MappedRows(
        rows=tuple(rows.first_row + position for position in kept),
        ids=ids,
        files=files,
        positions=positions,
        metadata=metadata,
        namespaces=namespaces,
        values=matrix,
    )
