"""One Parquet part of a snapshot: points in, the same points out, the same bytes every time."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from migrate.adapters.disk import disk
from migrate.adapters.durable import durable_file, file_sha256, hash_open_file, local_io
from migrate.adapters.parquet_guard import (
    GROUP_BYTES_MAX,
    ParquetShape,
    arrow_damage,
    open_parquet,
)
from migrate.core.digest import DIGEST_BYTES
from migrate.core.manifest import SNAPSHOT_FORMAT, PartRecord, damaged
from migrate.core.model import (
    DenseColumn,
    MultiColumn,
    Page,
    PointId,
    SparseColumn,
    VectorColumn,
    VectorKind,
    VectorSpec,
)
from migrate.errors import PreconditionError

# 1,000 rows of 3,072 values are 12 MB: small enough for flat memory, large enough for zstd and
# for reading at full speed (PERFORMANCE section B: no gain from larger groups).
ROW_GROUP_ROWS = 1000
# Below what a reader accepts, because Parquet adds lengths and levels to the values.
_WRITTEN_GROUP_BYTES_MAX = GROUP_BYTES_MAX // 8 * 7


@dataclass(frozen=True, slots=True)
class SnapshotRows:
    """Some consecutive rows of a snapshot."""

    first_row: int  # 0-based number in the whole snapshot
    page: Page
    digests: tuple[bytes, ...]


def vector_column(name: str) -> str:
    """The Parquet column of a vector name."""
    return f"vector.{name}" if name else "vector"


def part_schema(vectors: Sequence[VectorSpec]) -> pa.Schema:
    """The columns of every part of a snapshot with these vectors."""
    return pa.schema(
        [
            pa.field("point_id", pa.string(), nullable=False),
            pa.field("point_id_type", pa.string(), nullable=False),
            *(pa.field(vector_column(spec.name), _vector_type(spec)) for spec in vectors),
            pa.field("payload", pa.string(), nullable=False),
            pa.field("irregular", pa.string()),
            pa.field("digest", pa.binary(DIGEST_BYTES), nullable=False),
        ],
        metadata={b"q2v.format": str(SNAPSHOT_FORMAT).encode()},
    )


def _dense_type(spec: VectorSpec) -> pa.DataType:
    return pa.list_(pa.field("element", pa.float32(), nullable=False), spec.dimensions)


def _vector_type(spec: VectorSpec) -> pa.DataType:
    match spec.kind:
        case VectorKind.DENSE:
            return _dense_type(spec)
        case VectorKind.MULTI:
            return pa.list_(pa.field("element", _dense_type(spec), nullable=False))
        case VectorKind.SPARSE:
            return pa.struct(
                [
                    pa.field("indices", pa.list_(pa.uint32()), nullable=False),
                    pa.field("values", pa.list_(pa.float32()), nullable=False),
                ]
            )


def abandon_writer(writer: pq.ParquetWriter) -> None:
    """Let go of a Parquet file that will not be finished, while it is still open.

    Otherwise the library tries to end it when it is collected, and complains on stderr.
    """
    with suppress(OSError, pa.ArrowException):
        writer.close()
    writer.is_open = False


class PartWriter:
    """Writes one part in row groups of fixed size, however the points arrive."""

    def __init__(self, file: BinaryIO, vectors: Sequence[VectorSpec]) -> None:
        self._vectors = vectors
        self._schema = part_schema(vectors)
        dense = [spec for spec in vectors if spec.kind is VectorKind.DENSE]
        self._writer = pq.ParquetWriter(
            file,
            self._schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=False,
            write_statistics=["point_id"],
            use_byte_stream_split=[f"{vector_column(spec.name)}.list.element" for spec in dense],
        )
        self._held: list[pa.RecordBatch] = []
        self._held_rows = 0
        self.rows = 0

    def add(self, page: Page, digests: Sequence[bytes]) -> None:
        """The next points, in id order."""
        start = 0
        batch = self._encode(page, digests)
        while start < len(batch):
            piece = batch.slice(start, ROW_GROUP_ROWS - self._held_rows)
            self._held.append(piece)
            self._held_rows += len(piece)
            start += len(piece)
            if self._held_rows == ROW_GROUP_ROWS:
                self._write_group()

    def close(self) -> None:
        """Write what is held and the footer."""
        if self._held_rows:
            self._write_group()
        self._writer.close()

    def abandon(self) -> None:
        """Let go of a file that will not be finished, while it is still open."""
        abandon_writer(self._writer)

    def _write_group(self) -> None:
        table = pa.Table.from_batches(self._held, self._schema).combine_chunks()
        if table.nbytes > _WRITTEN_GROUP_BYTES_MAX:
            first = table.column("point_id")[0].as_py()
            raise PreconditionError(
                f"{len(table)} points from {first} on take {table.nbytes:,} B, at most "
                f"{_WRITTEN_GROUP_BYTES_MAX:,} are read back at once",
                remedy="shorten their payloads in the source",
            )
        self._writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
        self.rows += self._held_rows
        self._held, self._held_rows = [], 0

    def _encode(self, page: Page, digests: Sequence[bytes]) -> pa.RecordBatch:
        columns = [
            pa.array([point_id.text for point_id in page.ids], pa.string()),
            pa.array([point_id.id_type.value for point_id in page.ids], pa.string()),
            *(_encode_column(page.vectors[spec.name], spec) for spec in self._vectors),
            pa.array(page.payloads, pa.binary()).cast(pa.string()),
            pa.array(page.irregular, pa.binary()).cast(pa.string()),
            pa.array(digests, pa.binary(DIGEST_BYTES)),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)


def _encode_column(column: VectorColumn, spec: VectorSpec) -> pa.Array:
    match column:
        case DenseColumn():
            mask = None if column.present.all() else pa.array(~column.present)
            values = pa.array(np.ascontiguousarray(column.values).reshape(-1), pa.float32())
            return pa.FixedSizeListArray.from_arrays(values, type=_dense_type(spec), mask=mask)
        case MultiColumn():
            rows = [None if row is None else list(row) for row in column.rows]
            return pa.array(rows, _vector_type(spec))
        case SparseColumn():
            pairs = [
                None if pair is None else {"indices": pair[0], "values": pair[1]}
                for pair in column.rows
            ]
            return pa.array(pairs, _vector_type(spec))


def write_part(
    path: Path, pages: Iterator[tuple[Page, list[bytes]]], vectors: Sequence[VectorSpec]
) -> tuple[int, int, str]:
    """Write one part durably; returns rows, bytes and SHA-256 of the file."""
    with durable_file(path) as file:
        writer = PartWriter(file, vectors)
        try:
            for page, digests in pages:
                writer.add(page, digests)
            writer.close()
        except BaseException:
            writer.abandon()
            raise
    size, sha256 = file_sha256(path)
    return writer.rows, size, sha256


def repair_remedy(part: PartRecord) -> str:
    """What helps when the file of a part is gone or changed."""
    return (
        f"`q2v snapshot --repair-part {part.ordinal}` reads its points from the source again; or "
        "restore the file from a copy"
    )


def read_part(
    path: Path,
    part: PartRecord,
    vectors: Sequence[VectorSpec],
    *,
    with_vectors: Sequence[str],
    first_row: int,
) -> Iterator[SnapshotRows]:
    """The rows of a part, one row group at a time; pages hold the named vectors only.

    The file is hashed and parsed through one open handle, so nobody can change it in between.
    Raises ArtefactDamagedError before the first row when it is not the file of the manifest, or
    is, but not in the shape that we write.
    """
    shape = ParquetShape(
        schema=part_schema(vectors), rows=part.rows, group_rows_max=ROW_GROUP_ROWS, groups_full=True
    )
    wanted = [spec for spec in vectors if spec.name in with_vectors]
    columns = ["point_id", "point_id_type", "payload", "irregular", "digest"]
    columns += [vector_column(spec.name) for spec in wanted]
    with local_io("reading", path), disk().open_to_read(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        if size != part.bytes or hash_open_file(file) != (part.bytes, part.sha256):
            raise damaged(
                str(path),
                f"points {part.first_id} to {part.last_id}: not the bytes of the manifest",
                remedy=repair_remedy(part),
            )
        parquet = open_parquet(file, path, shape)
        row = first_row
        for group in range(parquet.num_row_groups):
            with arrow_damage(path):
                table = parquet.read_row_group(group, columns=columns, use_threads=False)
                rows = _decode(table, wanted, row)
            row += len(rows.page)
            yield rows


def _decode(table: pa.Table, vectors: Sequence[VectorSpec], first_row: int) -> SnapshotRows:
    texts = table.column("point_id").to_pylist()
    types = table.column("point_id_type").to_pylist()
    page = Page(
        ids=tuple(map(PointId.from_text, texts, types)),
        payloads=tuple(table.column("payload").cast(pa.binary()).to_pylist()),
        vectors={
            spec.name: _decode_column(table.column(vector_column(spec.name)), spec)
            for spec in vectors
        },
        irregular=tuple(table.column("irregular").cast(pa.binary()).to_pylist()),
    )
    return SnapshotRows(first_row, page, tuple(table.column("digest").to_pylist()))


def _decode_column(column: pa.ChunkedArray, spec: VectorSpec) -> VectorColumn:
    array = column.combine_chunks()
    match spec.kind:
        case VectorKind.DENSE:
            return _decode_dense(array, spec.dimensions or 0)
        case VectorKind.MULTI:
            shape = (-1, spec.dimensions or 0)
            return MultiColumn(
                tuple(
                    None if row is None else np.array(row, np.float32).reshape(shape)
                    for row in array.to_pylist()
                )
            )
        case VectorKind.SPARSE:
            return SparseColumn(
                tuple(
                    None
                    if row is None
                    else (np.array(row["indices"], np.uint32), np.array(row["values"], np.float32))
                    for row in array.to_pylist()
                )
            )


def _decode_dense(array: pa.FixedSizeListArray, dimensions: int) -> DenseColumn:
    """Zero-copy when every row is present; `.values` ignores the slice's offset, so add it."""
    start, rows = array.offset * dimensions, len(array)
    flat = array.values.slice(start, rows * dimensions).to_numpy(
        zero_copy_only=array.null_count == 0
    )
    values = flat.reshape(rows, dimensions)
    present = array.is_valid().to_numpy(zero_copy_only=False)
    if not present.all():
        values = np.where(present[:, None], values, np.float32(0))
    return DenseColumn(values, present)
