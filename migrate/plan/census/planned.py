"""What a plan notes of each point that maps: a row of its table. Pure."""

from collections.abc import Mapping, Sequence

import numpy as np

from migrate.mapping.metadata_indexes import look_up, type_of
from migrate.mapping.payload import Mapped
from migrate.model.canonical import decode_json
from migrate.model.digest import digest_vectors
from migrate.model.limits import INDEXED_STRING_BYTES_MAX
from migrate.model.records import Page, PointId
from migrate.plan.census.statistics import CensusPage
from migrate.tables.plan_ids import PlannedRows

# Notes about a row, counted only if the row moves; two of them are followed by a name.
CHANGED, LONG, HASH_DIFFERS = "changed ", "long ", "hash differs"
OTHER_TYPE = "type "  # then the type that was found, a colon, and the property


def planned_rows(
    rows: Sequence[int], page: Page, result: CensusPage, indexes: Mapping[str, str]
) -> PlannedRows:
    """The points of a page that map; `rows` has the row of each point of the page.

    `indexes`: metadata index -> declared type.
    """
    positions = [position for position, _ in result.mapped]
    vectors = [vector for _, vector in result.mapped]
    ids = [vector.vector_id for vector in vectors]
    metadata = [vector.metadata for vector in vectors]
    namespaces = [vector.namespace for vector in vectors]
    values = result.values[np.array(positions, np.intp)]
    return PlannedRows(
        rows=[rows[position] for position in positions],
        vector_ids=ids,
        files=[vector.group for vector in vectors],
        positions=[vector.order for vector in vectors],
        contents=digest_vectors(ids, values, metadata, namespaces),
        points=[encode_point(page.ids[position]) for position in positions],
        metadata_bytes=list(map(len, metadata)),
        notes=[_notes(vector, indexes) for vector in vectors],
        namespaces=namespaces,
    )


def encode_point(point_id: PointId) -> str:
    """The name of a point in the table."""
    return f"{point_id.id_type.value}:{point_id.text}"


def decode_point(text: str) -> PointId:
    """The inverse."""
    id_type, _, name = text.partition(":")
    return PointId.from_text(name, id_type)


def _notes(vector: Mapped, indexes: Mapping[str, str]) -> list[str]:
    notes = [f"{CHANGED}{change}:{name}" for change, name in vector.changes]
    if vector.hash_differs:
        notes.append(HASH_DIFFERS)
    if not indexes:
        return notes
    fields = decode_json(vector.metadata)
    assert isinstance(fields, dict), "metadata is an object"
    for name, declared in indexes.items():
        value = look_up(fields, name)
        found = type_of(value)
        if found != declared:  # most values have the declared type
            notes.append(f"{OTHER_TYPE}{found}:{name}")
        elif isinstance(value, str) and len(value.encode()) > INDEXED_STRING_BYTES_MAX:
            # Only its first 64 bytes are indexed: a filter may match further vectors.
            notes.append(f"{LONG}{name}")
    return notes
