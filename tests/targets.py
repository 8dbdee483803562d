"""What a plan keeps of every moving row, made from a snapshot as the upload reads it."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

import pyarrow as pa

from migrate.mapping.payload import MappingRules
from migrate.mapping.values import ValueRules
from migrate.model.digest import digest_vectors
from migrate.run.targets import TARGETS_SCHEMA
from migrate.snapshot.folder import Snapshot
from migrate.upload.mapped import read_mapped


def targets_of(
    snapshot: Snapshot,
    mapping: MappingRules,
    values: ValueRules,
    excluded: AbstractSet[int] = frozenset(),
) -> Iterator[pa.Table]:
    """What `create_run` takes."""
    for rows in read_mapped(snapshot, mapping, values, excluded):
        digests = digest_vectors(rows.ids, rows.values, rows.metadata)
        columns = [rows.rows, rows.ids, rows.files, rows.positions, digests]
        yield pa.table(
            [
                pa.array(column, field.type)
                for column, field in zip(columns, TARGETS_SCHEMA, strict=True)
            ],
            schema=TARGETS_SCHEMA,
        )
