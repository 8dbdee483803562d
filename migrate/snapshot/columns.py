"""The columns of a snapshot's Parquet parts: types, encoding and decoding of rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from migrate.model.digest import DIGEST_BYTES
from migrate.model.records import (
    DenseColumn,
    Float32Matrix,
    MultiColumn,
    Page,
    PointId,
    PointIdType,
    ShardKey,
    SparseColumn,
    VectorColumn,
    VectorKind,
    VectorSpec,
)
from migrate.snapshot.manifest import SNAPSHOT_FORMAT

# 500 rows of 3,072 values are 6 MB. Larger groups are neither smaller on disk nor faster to write
# or to read (docs/services.md), and take more memory: with 1,000, two readers 25 MB each.
ROW_GROUP_ROWS = 500
SHARD_KEY = "shard_key"  # the column of the keys, as JSON: `7` or `"east"`


def vector_column(name: str) -> str:
    """The Parquet column of a vector name."""
    return f"vector.{name}" if name else "vector"


def part_schema(vectors: Sequence[VectorSpec], *, keyed: bool = False) -> pa.Schema:
    """The columns of every part of a snapshot with these vectors; `keyed`: with shard keys."""
    return pa.schema(
        [
            pa.field("point_id", pa.string(), nullable=False),
            pa.field("point_id_type", pa.string(), nullable=False),
            *([pa.field(SHARD_KEY, pa.string(), nullable=False)] if keyed else []),
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


class RowGroup:
    """Collects rows until a row group is full, whatever the size of the pages.

    Dense values are copied into memory that is reused for every group of a part, so that a page
    can be freed at once and no new memory is allocated.
    """

    def __init__(self, vectors: Sequence[VectorSpec], *, keyed: bool = False) -> None:
        """`keyed`: every row has a shard key, else none has."""
        self._vectors = vectors
        self._keyed = keyed
        self._schema = part_schema(vectors, keyed=keyed)
        self._dense = {
            spec.name: _DenseRows(spec.dimensions or 0)
            for spec in vectors
            if spec.kind is VectorKind.DENSE
        }
        self._clear()

    def __len__(self) -> int:
        """Number of rows collected."""
        return len(self._ids)

    @property
    def full(self) -> bool:
        """Whether the group has no room for another row."""
        return len(self) == ROW_GROUP_ROWS

    def add(self, page: Page, digests: Sequence[bytes], start: int) -> int:
        """Add rows of the page from position `start`; return the position after the last one."""
        end = min(len(page), start + ROW_GROUP_ROWS - len(self))
        for spec in self._vectors:
            column = page.vectors[spec.name]
            if isinstance(column, DenseColumn):
                self._dense[spec.name].put(len(self), column, start, end)
            else:
                self._rows[spec.name] += column.rows[start:end]
        self._ids += page.ids[start:end]
        self._payloads += page.payloads[start:end]
        self._irregular += page.irregular[start:end]
        self._digests += digests[start:end]
        if (page.shard_keys is not None) != self._keyed:
            raise ValueError("a part holds points with shard keys, or points without, never both")
        self._shard_keys += (page.shard_keys or ())[start:end]
        return end

    def take(self) -> pa.RecordBatch:
        """The rows collected. Valid until the next `add`: the dense values are not copied."""
        columns = [
            pa.array([point_id.text for point_id in self._ids], pa.string()),
            pa.array([point_id.id_type for point_id in self._ids], pa.string()),
            *([pa.array(self._shard_keys, pa.string())] if self._keyed else []),
            *(self._encode(spec) for spec in self._vectors),
            pa.array(self._payloads, pa.binary()).cast(pa.string()),
            pa.array(self._irregular, pa.binary()).cast(pa.string()),
            pa.array(self._digests, pa.binary(DIGEST_BYTES)),
        ]
        self._clear()
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)

    def _clear(self) -> None:
        self._ids: list[PointId] = []
        self._payloads: list[bytes] = []
        self._irregular: list[bytes | None] = []
        self._digests: list[bytes] = []
        self._shard_keys: list[ShardKey] = []
        self._rows: dict[str, list[Any]] = {spec.name: [] for spec in self._vectors}

    def _encode(self, spec: VectorSpec) -> pa.Array:
        rows = self._rows[spec.name]
        match spec.kind:
            case VectorKind.DENSE:
                return self._dense[spec.name].encode(len(self), _dense_type(spec))
            case VectorKind.MULTI:
                lists = [None if row is None else list(row) for row in rows]
                return pa.array(lists, _vector_type(spec))
            case VectorKind.SPARSE:
                pairs = [
                    None if pair is None else {"indices": pair[0], "values": pair[1]}
                    for pair in rows
                ]
                return pa.array(pairs, _vector_type(spec))


class _DenseRows:
    """Memory for the dense vectors of one name in one row group."""

    def __init__(self, dimensions: int) -> None:
        self._values: Float32Matrix = np.empty((ROW_GROUP_ROWS, dimensions), np.float32)
        self._present: npt.NDArray[np.bool_] = np.empty(ROW_GROUP_ROWS, np.bool_)

    def put(self, at: int, column: DenseColumn, start: int, end: int) -> None:
        self._values[at : at + end - start] = column.values[start:end]
        self._present[at : at + end - start] = column.present[start:end]

    def encode(self, rows: int, kind: pa.DataType) -> pa.Array:
        present = self._present[:rows]
        mask = None if present.all() else pa.array(~present)
        values = pa.array(self._values[:rows].reshape(-1), pa.float32())
        return pa.FixedSizeListArray.from_arrays(values, type=kind, mask=mask)


def decode_rows(table: pa.Table, vectors: Sequence[VectorSpec]) -> tuple[Page, tuple[bytes, ...]]:
    """Decode rows into a page with the named vectors only, and their digests."""
    page = Page(
        ids=_decode_ids(table),
        payloads=tuple(table.column("payload").cast(pa.binary()).to_pylist()),
        vectors={
            spec.name: _decode_column(table.column(vector_column(spec.name)), spec)
            for spec in vectors
        },
        irregular=tuple(table.column("irregular").cast(pa.binary()).to_pylist()),
        shard_keys=tuple(table.column(SHARD_KEY).to_pylist())
        if SHARD_KEY in table.column_names
        else None,
    )
    return page, tuple(table.column("digest").to_pylist())


def _decode_ids(table: pa.Table) -> tuple[PointId, ...]:
    texts = table.column("point_id").to_pylist()
    types = table.column("point_id_type").to_pylist()
    if types.count(PointIdType.UINT64) == len(types):
        return tuple(PointId.from_numbers(list(map(int, texts))))
    return tuple(map(PointId.from_text, texts, types))


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
