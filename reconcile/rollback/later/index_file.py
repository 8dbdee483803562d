"""later.parquet of an export: which vector each point was, and what became of it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from migrate.model.digest import DIGEST_BYTES
from migrate.model.records import PointId, VectorId
from migrate.model.sealed_json import damaged
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.manifest import FileRecord
from migrate.snapshot.parts import RESTORE_REMEDY
from migrate.storage.folder import StoredFile
from migrate.storage.layout import LATER_INDEX
from migrate.storage.parquet.row_files import RowFile, read_rows, write_rows

_SCHEMA = pa.schema(
    [
        pa.field("point_id", pa.string(), nullable=False),
        pa.field("point_id_type", pa.string(), nullable=False),
        pa.field("vector_id", pa.string(), nullable=False),
        pa.field("change", pa.string(), nullable=False),  # added | changed | deleted
        pa.field("file", pa.string()),  # null: not known
        pa.field("last_modified", pa.string()),  # the member of the metadata, as JSON
        pa.field("namespace", pa.string()),
        pa.field("length", pa.float64()),  # of the values as read, where they were normalised
        pa.field("digest", pa.binary(DIGEST_BYTES)),  # of the vector as read; null: deleted
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterVector:
    """A vector that others added, changed or deleted since the run."""

    point_id: PointId
    vector_id: VectorId
    change: str  # as in points.py
    file: str | None
    last_modified: str | None = None  # as JSON
    namespace: str | None = None
    length: float | None = None
    digest: bytes | None = None


def write_index(stored: StoredFile, vectors: Iterable[LaterVector]) -> FileRecord:
    """Write the file durably. The same vectors give the same bytes."""
    rows = 0

    def table(some: Sequence[LaterVector]) -> pa.Table:
        nonlocal rows
        rows += len(some)
        return pa.Table.from_pylist([_row(vector) for vector in some], schema=_SCHEMA)

    size, sha256 = write_rows(stored, _SCHEMA, vectors, table)
    return FileRecord(name=stored.name, rows=rows, bytes=size, sha256=sha256)


def _row(vector: LaterVector) -> dict[str, object]:
    return {
        "point_id": vector.point_id.text,
        "point_id_type": vector.point_id.id_type.value,
        "vector_id": vector.vector_id,
        "change": vector.change,
        "file": vector.file,
        "last_modified": vector.last_modified,
        "namespace": vector.namespace,
        "length": vector.length,
        "digest": vector.digest,
    }


def read_index(export: Snapshot) -> Iterator[LaterVector]:
    """The vectors of a sealed export: points in id order, then what was deleted.

    Raises ArtefactDamagedError for another file than the manifest names.
    """
    expected = file_of(export, LATER_INDEX)
    sealed = RowFile(
        rows=expected.rows,
        bytes=expected.bytes,
        sha256=expected.sha256,
        named_by="the manifest",
        remedy=RESTORE_REMEDY,
    )
    stored = export.folder.file(LATER_INDEX)
    return read_rows(stored, _SCHEMA, sealed, lambda table: map(_vector, table.to_pylist()))


def _vector(row: dict[str, object]) -> LaterVector:
    point_id = PointId.from_text(str(row.pop("point_id")), str(row.pop("point_id_type")))
    return LaterVector(point_id=point_id, **row)  # type: ignore[arg-type]  # as in the schema


def file_of(export: Snapshot, name: str) -> FileRecord:
    """The manifest's record of a file beside the parts. Raises ArtefactDamagedError without one."""
    later = export.manifest.later
    for record in () if later is None else later.files:
        if record.name == name:
            return record
    raise damaged(str(export.folder), f"its manifest does not name {name}")
