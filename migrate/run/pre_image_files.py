"""Files of what the target held before the run: a Parquet row per id and key, also if absent."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from migrate.model.canonical import decode_json, encode_canonical_json
from migrate.model.records import KvEntry, Vector, VectorId
from migrate.model.sealed_json import damaged
from migrate.storage.folder import StoredFile
from migrate.storage.hashed_file import hash_open_file
from migrate.storage.parquet.guard import ParquetShape, arrow_damage, open_parquet

PRE_IMAGES_REMEDY = (
    "restore the file from a copy; without it, this run can write nothing more and cannot be "
    "rolled back"
)
_ROW_GROUP_ROWS = 5_000
_GROUP_BYTES = 64 * 1024 * 1024  # of texts and values; a KV value alone may have 25 MiB
_Row = Mapping[str, object]
_Record = TypeVar("_Record")
_VECTORS = pa.schema(
    [
        ("row", pa.int64()),  # of the point that will overwrite it
        ("vector_id", pa.string()),
        ("present", pa.bool_()),
        ("values", pa.list_(pa.float32())),
        ("namespace", pa.string()),
        ("metadata", pa.string()),  # canonical JSON; null when there was none
    ]
)
_KV = pa.schema(
    [
        ("key", pa.string()),
        ("ours", pa.bool_()),  # false: under the run's prefix, but not written by the run
        ("present", pa.bool_()),
        ("value", pa.binary()),
        ("metadata", pa.string()),
        ("expiration", pa.int64()),  # Unix seconds
    ]
)
_EXISTING = pa.schema([("vector_id", pa.string())])


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorPreImage:
    """One target id before the run's first write to it."""

    row: int
    vector_id: VectorId
    former: Vector | None  # None = absent


@dataclass(frozen=True, slots=True, kw_only=True)
class KvPreImage:
    """One KV key before the run's first write to it."""

    key: str
    ours: bool
    former: KvEntry | None  # None = absent, or not `ours` and not read


def write_vector_pre_images(stored: StoredFile, records: Sequence[VectorPreImage]) -> str:
    """Write one part durably; returns its SHA-256."""
    rows = [
        {
            "row": record.row,
            "vector_id": record.vector_id,
            "present": record.former is not None,
            "values": None if record.former is None else record.former.values,
            "namespace": None if record.former is None else record.former.namespace,
            "metadata": None if record.former is None else _encode(record.former.metadata),
        }
        for record in records
    ]
    return _write(stored, rows, _VECTORS)


def write_kv_pre_images(stored: StoredFile, records: Iterable[KvPreImage]) -> str:
    """Write the KV pre-images durably; returns the SHA-256."""
    rows = [
        {
            "key": record.key,
            "ours": record.ours,
            "present": record.former is not None,
            "value": None if record.former is None else record.former.value,
            "metadata": None if record.former is None else _encode(record.former.metadata),
            "expiration": None if record.former is None else record.former.expiration,
        }
        for record in records
    ]
    return _write(stored, rows, _KV)


def write_existing_ids(stored: StoredFile, vector_ids: Iterable[VectorId]) -> str:
    """Write the ids of the target that the run does not write, durably; returns the SHA-256."""
    return _write(stored, [{"vector_id": vector_id} for vector_id in vector_ids], _EXISTING)


def _encode(value: object | None) -> str | None:
    return None if value is None else encode_canonical_json(value).decode()


def _write(stored: StoredFile, rows: Sequence[_Row], schema: pa.Schema) -> str:
    with stored.open_to_write() as file:
        # No dictionaries: a small file could expand to a large table, so our readers refuse them.
        writer = pq.ParquetWriter(
            file, schema, compression="zstd", use_dictionary=False, write_statistics=False
        )
        with writer:
            for group in _groups(rows):
                writer.write_table(pa.Table.from_pylist(list(group), schema))
    return file.sha256


def _groups(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    """The rows in row groups, each small enough to be read whole."""
    start, size = 0, 0
    for position, row in enumerate(rows):
        if position - start == _ROW_GROUP_ROWS or (size and size >= _GROUP_BYTES):
            yield rows[start:position]
            start, size = position, 0
        size += sum(len(value) for value in row.values() if isinstance(value, bytes | str))
    if start < len(rows):
        yield rows[start:]


def read_vector_pre_images(stored: StoredFile, sha256: str) -> Iterator[VectorPreImage]:
    """The records of a part, in row order. Raises ArtefactDamagedError for a changed file."""
    return _read(stored, sha256, _VECTORS, _vector_pre_image)


def _vector_pre_image(row: _Row) -> VectorPreImage:
    vector_id = VectorId(_text(row["vector_id"]))
    former = None
    if row["present"]:
        former = Vector(
            id=vector_id,
            values=np.array(row["values"], np.float32),
            namespace=None if row["namespace"] is None else _text(row["namespace"]),
            metadata=_decode_object(row["metadata"]),
        )
    return VectorPreImage(row=_int(row["row"]), vector_id=vector_id, former=former)


def read_kv_pre_images(stored: StoredFile, sha256: str) -> Iterator[KvPreImage]:
    """The KV records, in key order. Raises ArtefactDamagedError for a changed file."""
    return _read(stored, sha256, _KV, _kv_pre_image)


def _kv_pre_image(row: _Row) -> KvPreImage:
    key, value, metadata = _text(row["key"]), row["value"], row["metadata"]
    former = None
    if row["present"]:
        former = KvEntry(
            key=key,
            value=value if isinstance(value, bytes) else b"",
            metadata=None if metadata is None else decode_json(_text(metadata).encode()),
            expiration=None if row["expiration"] is None else _int(row["expiration"]),
        )
    return KvPreImage(key=key, ours=bool(row["ours"]), former=former)


def read_existing_ids(stored: StoredFile, sha256: str) -> Iterator[VectorId]:
    """The ids that the target held before and that the run does not write."""
    return _read(stored, sha256, _EXISTING, lambda row: VectorId(_text(row["vector_id"])))


def _read(
    stored: StoredFile, sha256: str, schema: pa.Schema, decode: Callable[[_Row], _Record]
) -> Iterator[_Record]:
    if not stored.is_there():
        raise damaged(str(stored), "the file is missing", remedy=PRE_IMAGES_REMEDY)
    shape = ParquetShape(
        schema=schema, rows=None, group_rows_max=_ROW_GROUP_ROWS, groups_full=False
    )
    with stored.open_to_read() as file:
        # Hashed and parsed through one open handle, so that it is the same file.
        if hash_open_file(file)[1] != sha256:
            raise damaged(
                str(stored),
                f"its sha256 is not {sha256}, as the journal says",
                remedy=PRE_IMAGES_REMEDY,
            )
        parquet = open_parquet(file, str(stored), shape)
        for group in range(parquet.num_row_groups):
            with arrow_damage(str(stored)):
                rows = parquet.read_row_group(group, use_threads=False).to_pylist()
                records = [decode(row) for row in rows]
            yield from records


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is missing")
    return value


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError("a number is missing")
    return value


def _decode_object(text: object) -> dict[str, object] | None:
    if text is None:
        return None
    value = decode_json(_text(text).encode())
    if not isinstance(value, dict):
        raise TypeError("metadata that is no object")
    return value
