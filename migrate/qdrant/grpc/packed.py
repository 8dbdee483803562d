"""Read the dense vectors of a gRPC answer as bytes, without a Python number per value.

A packed `repeated float` is encoded as one length and 4 bytes per value, little-endian, the same
as `bytes`. This module declares the client's messages again with the values as bytes, and numpy
reads whole pages of them. For other content (sparse, multi, values sent one by one, another length)
`packed_columns` returns None, and the caller parses the original messages.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from migrate.model.records import DenseColumn, VectorKind, VectorSpec
from migrate.qdrant.grpc.messages import wire

# `dense` holds the values since 1.17, `data` before. Both stay repeated: a sender may cut a packed
# field into several pieces.
PACKED_FIELDS = {("DenseVector", "data"), ("VectorOutput", "data")}
VALUE_BYTES = 4


@cache
def packed_scroll_response() -> type[Message]:
    """The class of a scroll answer with the values of dense vectors as `repeated bytes`."""
    pool = DescriptorPool()
    _add_file(pool, wire.ScrollResponse.DESCRIPTOR.file, set())
    found: type[Message] = GetMessageClass(
        pool.FindMessageTypeByName(wire.ScrollResponse.DESCRIPTOR.full_name)
    )
    return found


def _add_file(pool: DescriptorPool, file: FileDescriptor, added: set[str]) -> None:
    """Add the file to the pool, after the files that it depends on."""
    if file.name in added:
        return
    added.add(file.name)
    for dependency in file.dependencies:
        _add_file(pool, dependency, added)
    declared = FileDescriptorProto()
    file.CopyToProto(declared)
    for message in declared.message_type:
        for field in message.field:
            if (message.name, field.name) in PACKED_FIELDS:
                field.type = FieldDescriptorProto.TYPE_BYTES
                field.ClearField("options")  # bytes cannot be declared as packed
    pool.AddSerializedFile(declared.SerializeToString())


def packed_columns(
    points: Sequence[Any], vectors: Sequence[VectorSpec]
) -> dict[str, DenseColumn] | None:
    """A column for every vector name out of points of the packed class.

    None as soon as anything is not a dense vector of the declared length under a declared name.
    """
    if any(spec.kind is not VectorKind.DENSE for spec in vectors):
        return None
    column = _unnamed_column(points, vectors)
    return {"": column} if column is not None else _columns(points, vectors)


def _columns(points: Sequence[Any], vectors: Sequence[VectorSpec]) -> dict[str, DenseColumn] | None:
    """The columns for any names and any layout of dense vectors."""
    sizes = {spec.name: VALUE_BYTES * (spec.dimensions or 0) for spec in vectors}
    rows: dict[str, list[bytes]] = {name: [] for name in sizes}
    absent: dict[str, list[int]] = {name: [] for name in sizes}
    for position, point in enumerate(points):
        found = _named(point.vectors)
        if not sizes.keys() >= found.keys():
            return None
        for name, size in sizes.items():
            vector = found.get(name)
            if vector is None:
                absent[name].append(position)
                rows[name].append(bytes(size))
                continue
            values = _values(vector)
            if values is None or len(values) != size:
                return None
            rows[name].append(values)
    return {
        spec.name: _column(rows[spec.name], absent[spec.name], spec.dimensions or 0)
        for spec in vectors
    }


def _unnamed_column(points: Sequence[Any], vectors: Sequence[VectorSpec]) -> DenseColumn | None:
    """The column of a collection with one unnamed vector, sent in one piece as since 1.17.

    This is the most frequent case, so the kind of each vector is not checked: another kind has no
    values in this field. Returns None in that case.
    """
    if [spec.name for spec in vectors] != [""]:
        return None
    dimensions = vectors[0].dimensions or 0
    found = [point.vectors.vector.dense.data for point in points]
    rows = [pieces[0] for pieces in found if len(pieces) == 1]
    if len(rows) < len(points) or any(len(row) != VALUE_BYTES * dimensions for row in rows):
        return None
    return _column(rows, (), dimensions)


def _named(vectors: Any) -> Mapping[str, Any]:
    match vectors.WhichOneof("vectors_options"):
        case "vector":
            return {"": vectors.vector}
        case "vectors":
            found: Mapping[str, Any] = vectors.vectors.vectors
            return found
        case _:
            return {}


def _values(vector: Any) -> bytes | None:
    """The values of a dense vector; None for any other."""
    match vector.WhichOneof("vector"):
        case "dense":
            pieces: Sequence[bytes] = vector.dense.data
        case None if not vector.HasField("indices") and not vector.HasField("vectors_count"):
            pieces = vector.data
        case _:
            return None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _column(rows: Sequence[bytes], absent: Sequence[int], dimensions: int) -> DenseColumn:
    values = np.frombuffer(b"".join(rows), dtype="<f4").reshape(len(rows), dimensions)
    present = np.ones(len(rows), dtype=np.bool_)
    present[list(absent)] = False
    return DenseColumn(values.astype(np.float32, copy=False), present)
