"""Decode the points of a gRPC answer: ids, canonical payloads, float32 vectors.

Both layouts are read: `dense` / `sparse` / `multi_dense` (servers from 1.17) and the older flat
`data` with `vectors_count` or `indices`. Pages that hold only dense vectors take
the fast path of `packed.py`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError, Message

from migrate.model.canonical import encode_finite_json
from migrate.model.records import Page, PointId, VectorKind, VectorSpec
from migrate.qdrant.columns import Nonconforming, PageBuilder, Received
from migrate.qdrant.grpc.deep import strip_deep_payloads
from migrate.qdrant.grpc.messages import wire
from migrate.qdrant.grpc.packed import packed_columns, packed_scroll_response

# gRPC has no unsigned numbers in payloads: the server sends them as doubles, and rounds.
ROUNDED_MIN = 2.0**63
ROUNDED_MAX = 2.0**64
NEXT = "next_page_offset"


def encode_id(point_id: PointId) -> wire.PointId:
    """A point id as a protobuf message."""
    return wire.PointId(uuid=point_id.text) if point_id.rank else wire.PointId(num=point_id.number)


def decode_ids(answer: bytes) -> list[PointId]:
    """The ids of a serialized scroll answer. Raises ValueError for any other bytes."""
    return _ids(_parse(wire.ScrollResponse, answer).result)


class InexactError(ValueError):
    """A payload number that gRPC does not carry as the server stores it."""


def decode_points(answer: bytes, vectors: Sequence[VectorSpec]) -> Page:
    """The points of a serialized scroll answer.

    Raises ValueError for any other bytes, and InexactError for a doubtful payload number.
    """
    page, doubts = decode_page(answer, vectors)
    for doubt in doubts.values():
        raise InexactError(doubt)
    return page


def decode_page(answer: bytes, vectors: Sequence[VectorSpec]) -> tuple[Page, dict[int, str]]:
    """The points of a serialized scroll answer, and the doubts about their payloads.

    The doubts are sentences by position; the payload of such a point is empty. Raises ValueError
    for any other bytes.
    """
    parsed, answer, deep = _parse_deep(packed_scroll_response(), answer)
    points = list(parsed.result)  # iterated three times
    ids = _ids(points)
    payloads, doubts = _payloads(points, ids, deep)
    columns = packed_columns(points, vectors)
    if columns is None:
        return _decode_each(_parse(wire.ScrollResponse, answer), payloads, vectors), doubts
    page = Page(
        ids=tuple(ids),
        payloads=payloads,
        vectors=dict(columns),
        irregular=(None,) * len(ids),
    )
    return page, doubts


def decode_named(answer: bytes, vectors: Sequence[VectorSpec]) -> tuple[Page, dict[int, str]]:
    """As `decode_page`, for a serialized answer to a request for certain ids."""
    message, _, deep = _parse_deep(wire.GetResponse, answer)
    payloads, doubts = _payloads(message.result, _ids(message.result), deep)
    return _decode_each(message, payloads, vectors), doubts


def _payloads(
    points: Sequence[wire.RetrievedPoint], ids: Sequence[PointId], deep: Sequence[int]
) -> tuple[tuple[bytes, ...], dict[int, str]]:
    """Every payload, and the doubts by position. The points in `deep` have no payload."""
    too_deep = {
        position: f"point {ids[position].text}: its payload nests deeper than gRPC carries"
        for position in deep
    }
    try:
        return tuple(map(_payload, points, ids)), too_deep
    except InexactError:  # at least one; the other payloads are decoded below
        pass
    payloads: list[bytes] = []
    doubts = too_deep
    for position, (point, point_id) in enumerate(zip(points, ids, strict=True)):
        try:
            payloads.append(_payload(point, point_id))
        except InexactError as doubt:
            payloads.append(b"{}")
            doubts[position] = str(doubt)
    return tuple(payloads), doubts


def _decode_each(
    answer: wire.ScrollResponse | wire.GetResponse,
    payloads: Sequence[bytes],
    vectors: Sequence[VectorSpec],
) -> Page:
    """The page, decoded vector by vector: any kind, also vectors that fit no column."""
    page = PageBuilder(vectors)
    kinds = {spec.name: spec.kind for spec in vectors}
    for point, payload in zip(answer.result, payloads, strict=True):
        page.add(_id(point), payload, _vectors(point.vectors, kinds))
    return page.build()


def _parse_deep(kind: type[Message], answer: bytes) -> tuple[Any, bytes, list[int]]:
    """The message, the answer that it was read from, and the positions of points too deep to read.

    The payloads of those points have been removed from the answer.
    """
    try:
        return _parse(kind, answer), answer, []
    except ValueError:
        # `kind` has the same fields as the client's own message.
        shallow, deep = strip_deep_payloads(answer, kind)
        if not deep:
            raise
    return _parse(kind, shallow), shallow, deep


def _parse(kind: type[Message], answer: bytes) -> Any:
    """The message. Raises ValueError for other bytes, and for an empty page before the last."""
    try:
        message: Any = kind.FromString(answer)
    except DecodeError as error:
        raise ValueError(f"the answer is no message: {error}") from error
    if kind is not wire.GetResponse and not message.result and message.HasField(NEXT):
        raise ValueError("the answer is an empty page that is not the last")
    return message


def _ids(points: Sequence[wire.RetrievedPoint]) -> list[PointId]:
    numbers = [point.id.num for point in points]
    # A 0 may stand for an id that is no number, so the kind of each id is then checked.
    return PointId.from_numbers(numbers) if all(numbers) else list(map(_id, points))


def _id(point: wire.RetrievedPoint) -> PointId:
    found = point.id
    match found.WhichOneof("point_id_options"):
        case "num":
            return PointId(0, found.num)
        case "uuid":
            return PointId.parse(found.uuid)
        case _:
            raise ValueError("the answer holds a point without id")


def _payload(point: wire.RetrievedPoint, point_id: PointId) -> bytes:
    fields = point.payload
    return encode_finite_json(
        {
            # Most values are text or integers. If both fields are empty, the kind is checked.
            key: (value := fields[key]).string_value
            or value.integer_value
            or _plain(value, point_id, key)
            for key in fields
        }
    )


def _plain(value: wire.Value, point_id: PointId, key: str) -> object:
    kind = value.WhichOneof("kind")
    match kind:
        case "string_value":  # most are
            text: object = value.string_value
            return text
        case None | "null_value":
            return None
        case "double_value":
            return _double(value.double_value, point_id, key)
        case "struct_value":
            fields = value.struct_value.fields
            return {inner: _plain(found, point_id, key) for inner, found in fields.items()}
        case "list_value":
            return [_plain(found, point_id, key) for found in value.list_value.values]
        case _:
            scalar: object = getattr(value, kind)
            return scalar


def _double(value: float, point_id: PointId, key: str) -> float:
    if ROUNDED_MIN <= value <= ROUNDED_MAX:
        raise InexactError(
            f"point {point_id.text}: a number in payload field '{key}' is beyond 2^63, where gRPC "
            "sends integers rounded"
        )
    if not math.isfinite(value):  # last check before JSON encoding
        raise InexactError(f"point {point_id.text}: {value} in payload field '{key}' is no JSON")
    return value


def _vectors(vectors: wire.VectorsOutput, kinds: Mapping[str, VectorKind]) -> dict[str, Received]:
    match vectors.WhichOneof("vectors_options"):
        case "vector":
            found: Mapping[str, wire.VectorOutput] = {"": vectors.vector}
        case "vectors":
            found = vectors.vectors.vectors
        case _:
            return {}
    received = {
        name: _received(vector, kinds.get(name, VectorKind.DENSE)) for name, vector in found.items()
    }
    return {name: vector for name, vector in received.items() if vector is not None}


def _received(vector: wire.VectorOutput, kind: VectorKind) -> Received | None:
    match vector.WhichOneof("vector"):
        case "dense":
            return np.array(vector.dense.data, dtype=np.float32)
        case "sparse":
            indices = np.array(vector.sparse.indices, dtype=np.uint32)
            return indices, np.array(vector.sparse.values, dtype=np.float32)
        case "multi_dense":
            return _matrix([row.data for row in vector.multi_dense.vectors])
        case _:
            return _received_flat(vector, kind)


def _matrix(rows: Sequence[Sequence[float]]) -> Received:
    if len({len(row) for row in rows}) > 1:
        return Nonconforming([list(row) for row in rows])
    return np.array([np.array(row, dtype=np.float32) for row in rows], dtype=np.float32)


def _received_flat(vector: wire.VectorOutput, kind: VectorKind) -> Received | None:
    """A vector in the layout before 1.17, in which an empty message means no vector."""
    values = np.array(vector.data, dtype=np.float32)
    if vector.HasField("indices"):
        return np.array(vector.indices.data, dtype=np.uint32), values
    if kind is VectorKind.SPARSE:
        # An empty sparse vector may come without its empty list of indices.
        return Nonconforming(values.tolist()) if values.size else (values.astype(np.uint32), values)
    if not values.size:
        return None
    if kind is VectorKind.MULTI or vector.HasField("vectors_count"):
        count = max(1, vector.vectors_count)
        if kind is VectorKind.DENSE and count == 1:
            return values
        return (
            values.reshape(count, -1)
            if values.size % count == 0
            else Nonconforming(values.tolist())
        )
    return values
