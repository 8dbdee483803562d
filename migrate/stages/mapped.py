"""Read a snapshot in target form: the one place where rows become vectors.

Plan, pre-images, upload, KV index, reconcile and rollback all read through here, so that they
cannot disagree on what a point becomes.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

from migrate.adapters.id_table import IdTable
from migrate.adapters.snapshot_folder import Snapshot
from migrate.adapters.snapshot_parquet import SnapshotRows
from migrate.core.mapping import Mapped, MappingRules, map_payload
from migrate.core.model import Float32Matrix, PointId, VectorId
from migrate.core.values import ValueRules, map_values


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedRows:
    """Some consecutive rows that move, in snapshot order; the quarantined ones are left out."""

    rows: tuple[int, ...]
    ids: tuple[VectorId, ...]
    files: tuple[str | None, ...]
    positions: tuple[int, ...]  # the chunk's number within its file
    metadata: tuple[bytes, ...]  # compact canonical JSON
    values: Float32Matrix | None  # shape (len(rows), dimensions); None when not asked for


def read_mapped(
    snapshot: Snapshot,
    mapping: MappingRules,
    values: ValueRules | None,
    excluded: AbstractSet[int],
    *,
    first_row: int = 0,
    end_row: int | None = None,
    only_rows: AbstractSet[int] | None = None,
) -> Iterator[MappedRows]:
    """Rows `first_row` .. `end_row` - 1 in target form, without the `excluded` ones.

    `values` None leaves the values unread: ids, files and metadata only. `only_rows` picks single
    rows. The plan has found every row that does not map, so one that fails here is a bug of ours.
    """
    names = () if values is None else (values.vector_name,)
    for rows in snapshot.read(with_vectors=names, first_row=first_row, end_row=end_row):
        kept = [
            position
            for position, row in enumerate(range(rows.first_row, rows.first_row + len(rows.page)))
            if row not in excluded and (only_rows is None or row in only_rows)
        ]
        if kept:
            yield _map_rows(rows, kept, mapping, values)


def _map_rows(
    rows: SnapshotRows, kept: list[int], mapping: MappingRules, values: ValueRules | None
) -> MappedRows:
    page = rows.page
    mapped = [_mapped(page.ids[at], page.payloads[at], mapping) for at in kept]
    matrix = None
    if values is not None:
        whole = map_values(page, values).values
        matrix = whole if len(kept) == len(page) else whole[np.array(kept, np.intp)]
    return MappedRows(
        rows=tuple(rows.first_row + position for position in kept),
        ids=tuple(one.vector_id for one in mapped),
        files=tuple(one.group for one in mapped),
        positions=tuple(one.order for one in mapped),
        metadata=tuple(one.metadata for one in mapped),
        values=matrix,
    )


def _mapped(point_id: PointId, payload: bytes, mapping: MappingRules) -> Mapped:
    outcome = map_payload(point_id, payload, mapping)
    assert isinstance(outcome, Mapped), f"the plan let {point_id} pass: {outcome}"
    return outcome


def fill_id_table(
    table: IdTable, snapshot: Snapshot, mapping: MappingRules, excluded: AbstractSet[int]
) -> None:
    """All target ids of a snapshot with their files, ready for whole-set questions."""
    for rows in read_mapped(snapshot, mapping, None, excluded):
        table.add(rows=rows.rows, vector_ids=rows.ids, files=rows.files, positions=rows.positions)
