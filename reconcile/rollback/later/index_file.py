"""later.parquet of an export: which vector each point was, and what became of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from migrate.model.digest import DIGEST_BYTES
from migrate.model.records import PointId, VectorId
from migrate.model.sealed_json import damaged
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.manifest import FileRecord
from migrate.snapshot.parts import RESTORE_REMEDY, abandon_writer
from migrate.storage.folder import StoredFile
from migrate.storage.hashed_file import hash_open_file
from migrate.storage.layout import LATER_INDEX
from migrate.storage.parquet_guard import ParquetShape, arrow_damage, open_parquet

ROW_GROUP_ROWS = 50_000
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
    with stored.open_to_write() as file:
        writer = pq.ParquetWriter(
            file, _SCHEMA, compression="zstd", compression_level=1, use_dictionary=False
        )
        try:
            held: list[dict[str, object]] = []
            for vector in vectors:
                held.append(_row(vector))
                rows += 1
                if len(held) == ROW_GROUP_ROWS:
                    writer.write_table(pa.Table.from_pylist(held, schema=_SCHEMA))
                    held = []
            if held:
                writer.write_table(pa.Table.from_pylist(held, schema=_SCHEMA))
            writer.close()
        except BaseException:
            abandon_writer(writer)
            raise
    return FileRecord(name=stored.name, rows=rows, bytes=file.bytes, sha256=file.sha256)


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

    The file is hashed and parsed through one open handle. Raises ArtefactDamagedError.
    """
    expected = file_of(export, LATER_INDEX)
    stored = export.folder.file(LATER_INDEX)
    if not stored.is_there():
        raise damaged(str(stored), "the file is missing", remedy=RESTORE_REMEDY)
    shape = ParquetShape(
        schema=_SCHEMA, rows=expected.rows, group_rows_max=ROW_GROUP_ROWS, groups_full=True
    )
    with stored.open_to_read() as file:
        if hash_open_file(file) != (expected.bytes, expected.sha256):
            raise damaged(str(stored), "not the bytes of the manifest", remedy=RESTORE_REMEDY)
        parquet = open_parquet(file, str(stored), shape)
        for group in range(parquet.num_row_groups):
            with arrow_damage(str(stored)):
                rows = parquet.read_row_group(group, use_threads=False).to_pylist()
                vectors = [_vector(row) for row in rows]
            yield from vectors


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
