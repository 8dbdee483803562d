"""What the target held before us, on disk: one Parquet row per id and per key, absent ones too."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from migrate.adapters.disk import disk
from migrate.adapters.durable import (
    durable_file,
    file_sha256,
    hash_open_file,
    is_file,
    local_io,
)
from migrate.core.canonical import decode_json, encode_canonical_json
from migrate.core.manifest import damaged
from migrate.core.model import KvEntry, Vector, VectorId

KV_FILE = "kv.parquet"
EXISTING_FILE = "existing.parquet"
_ROW_GROUP_ROWS = 5_000
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
        ("ours", pa.bool_()),  # false: under our prefix, but nothing this run writes
        ("present", pa.bool_()),
        ("value", pa.binary()),
        ("metadata", pa.string()),
        ("expiration", pa.int64()),  # Unix seconds
    ]
)
_EXISTING = pa.schema([("vector_id", pa.string())])


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorPreImage:
    """One target id before our first write to it."""

    row: int
    vector_id: VectorId
    former: Vector | None  # None = absent


@dataclass(frozen=True, slots=True, kw_only=True)
class KvPreImage:
    """One KV key before our first write to it."""

    key: str
    ours: bool
    former: KvEntry | None  # None = absent, or not ours and not read


def part_name(ordinal: int) -> str:
    """The file of a part of vector pre-images."""
    return f"part-{ordinal:05d}.parquet"


def write_vector_pre_images(path: Path, records: Sequence[VectorPreImage]) -> str:
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
    return _write(path, rows, _VECTORS)


def write_kv_pre_images(path: Path, records: Iterable[KvPreImage]) -> str:
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
    return _write(path, rows, _KV)


def write_existing_ids(path: Path, vector_ids: Iterable[VectorId]) -> str:
    """Write down the ids that were in the target and are none of ours; returns the SHA-256."""
    return _write(path, [{"vector_id": vector_id} for vector_id in vector_ids], _EXISTING)


def _encode(value: object | None) -> str | None:
    return None if value is None else encode_canonical_json(value).decode()


def _write(path: Path, rows: Sequence[Mapping[str, object]], schema: pa.Schema) -> str:
    with durable_file(path) as file:
        table = pa.Table.from_pylist(list(rows), schema)
        pq.write_table(table, file, compression="zstd", row_group_size=_ROW_GROUP_ROWS)
    return file_sha256(path)[1]


def read_vector_pre_images(path: Path, sha256: str) -> Iterator[VectorPreImage]:
    """The records of a part, in row order. Raises ArtefactDamagedError for a changed file."""
    for row in _read(path, sha256):
        former = None
        if row["present"]:
            former = Vector(
                id=VectorId(str(row["vector_id"])),
                values=np.array(row["values"], np.float32),
                namespace=_optional_text(row["namespace"]),
                metadata=_decode_object(row["metadata"]),
            )
        yield VectorPreImage(
            row=_int(row["row"]), vector_id=VectorId(str(row["vector_id"])), former=former
        )


def read_kv_pre_images(path: Path, sha256: str) -> Iterator[KvPreImage]:
    """The KV records, in key order. Raises ArtefactDamagedError for a changed file."""
    for row in _read(path, sha256):
        key, value, metadata = str(row["key"]), row["value"], row["metadata"]
        former = None
        if row["present"]:
            former = KvEntry(
                key=key,
                value=value if isinstance(value, bytes) else b"",
                metadata=None if metadata is None else decode_json(str(metadata).encode()),
                expiration=None if row["expiration"] is None else _int(row["expiration"]),
            )
        yield KvPreImage(key=key, ours=bool(row["ours"]), former=former)


def read_existing_ids(path: Path, sha256: str) -> Iterator[VectorId]:
    """The ids that were there before and are none of ours."""
    for row in _read(path, sha256):
        yield VectorId(str(row["vector_id"]))


def _read(path: Path, sha256: str) -> Iterator[dict[str, object]]:
    if not is_file(path):
        raise damaged(str(path), "the file is missing")
    with local_io("reading", path), disk().open_to_read(path) as file:
        if hash_open_file(file)[1] != sha256:
            raise damaged(str(path), f"its sha256 is not {sha256}, as the journal says")
        file.seek(0)
        parquet = pq.ParquetFile(file, pre_buffer=False)
        for batch in parquet.iter_batches(batch_size=_ROW_GROUP_ROWS):
            yield from batch.to_pylist()


def _optional_text(value: object) -> str | None:
    return None if value is None else str(value)


def _int(value: object) -> int:
    assert isinstance(value, int), "the schema says int64"
    return value


def _decode_object(text: object) -> dict[str, object] | None:
    if text is None:
        return None
    value = decode_json(str(text).encode())
    assert isinstance(value, dict), "metadata is an object"
    return value
