"""Digests: one SHA-256 per record in canonical form, and one over a whole set.

A record's fields are typed and length-prefixed, so no two different records give the same input
to the hash. Values are little-endian float32 with -0.0 made +0.0. The digest does not depend on
pages, parts, platform or key order.
"""

import hashlib
import math
import struct
from collections.abc import Sequence

import numpy as np

from migrate.model.canonical import decode_json, encode_canonical_json
from migrate.model.float_text import NEIGHBOUR, SIGN, TWICE_ROUNDED
from migrate.model.records import (
    DenseColumn,
    Float32Matrix,
    MultiColumn,
    Page,
    PointId,
    SparseColumn,
    Vector,
    VectorColumn,
)

DIGEST_BYTES = 32
NO_PAYLOAD_DIGEST = bytes(DIGEST_BYTES)  # equals nothing, itself included
_EXACT_INTEGER_MAX = 2**53
_u64 = struct.Struct("<Q").pack


def _field(tag: bytes, content: bytes) -> bytes:
    return _head(tag, len(content)) + content


def _head(tag: bytes, content_bytes: int) -> bytes:
    return tag + _u64(content_bytes)


def digest_points(page: Page) -> list[bytes]:
    """One digest per point of the page: id, payload and every vector, absent ones included.

    In a collection with custom sharding also the shard key: the same point under another key is
    another point.
    """
    columns = [_Column(name, page.vectors[name]) for name in sorted(page.vectors)]
    digests = []
    for position, (point_id, payload) in enumerate(zip(page.ids, page.payloads, strict=True)):
        name = _point_name(point_id)
        digest = hashlib.sha256(
            # One join instead of one call per field: this runs for every point.
            b"".join((b"q2v point 1\ni", _u64(len(name)), name, b"p", _u64(len(payload)), payload))
        )
        for column in columns:
            column.add(digest, position)
        irregular = page.irregular[position]
        if irregular is not None:
            digest.update(_field(b"x", irregular))
        if page.shard_keys is not None:
            digest.update(_field(b"k", page.shard_keys[position].encode()))
        digests.append(digest.digest())
    return digests


def digest_payloads(page: Page) -> list[bytes]:
    """One digest per point of the page, of its payload alone; NO_PAYLOAD_DIGEST for irregular ones.

    The payload of an irregular point may not be all that the source sent. A shard key counts as a
    part of the payload: a point that moved to another key is read whole.
    """
    payloads: Sequence[bytes] = page.payloads
    if page.shard_keys is not None:  # no payload holds a line break: it is canonical JSON
        keys = map(str.encode, page.shard_keys)
        payloads = [b"\n".join(both) for both in zip(page.payloads, keys, strict=True)]
    return [
        hashlib.sha256(payload).digest() if irregular is None else NO_PAYLOAD_DIGEST
        for payload, irregular in zip(payloads, page.irregular, strict=True)
    ]


def _point_name(point_id: PointId) -> bytes:
    return b"uuid:" + point_id.text.encode() if point_id.rank else b"uint64:%d" % point_id.number


class _Column:
    """Feed the vectors of one name to digests: name, kind, shape, bytes."""

    def __init__(self, name: str, column: VectorColumn) -> None:
        self._name = _field(b"n", name.encode())
        self._column = column
        self._dense_head = b""
        self._present: list[bool] = []
        self._bytes = memoryview(b"")  # of a dense column, row after row
        self._row_bytes = 0
        if isinstance(column, DenseColumn):
            values = _unsigned_zeros(column.values)
            self._row_bytes = values.itemsize * values.shape[1]
            self._dense_head = self._name + _head(b"d", self._row_bytes)
            self._present = column.present.tolist()
            self._bytes = values.reshape(-1).data.cast("B")

    def add(self, digest: "hashlib._Hash", position: int) -> None:
        """The vector of one point."""
        column = self._column
        if not isinstance(column, DenseColumn):
            digest.update(self._name + _encode_vector(column, position))
        elif self._present[position]:
            digest.update(self._dense_head)
            start = position * self._row_bytes
            digest.update(self._bytes[start : start + self._row_bytes])  # not copied
        else:
            digest.update(self._name + b"-")


def _unsigned_zeros(values: Float32Matrix) -> Float32Matrix:
    """The values, contiguous, with +0.0 for -0.0; copied only when there is a -0.0."""
    values = np.ascontiguousarray(values)
    smallest = values.view(np.int32).min(initial=0)  # -0.0 has the sign's bit alone
    return values + np.float32(0) if smallest == np.iinfo(np.int32).min else values


def _encode_vector(column: MultiColumn | SparseColumn, position: int) -> bytes:
    """One multi or sparse vector: kind, shape, bytes. Absent has its own kind."""
    match column:
        case MultiColumn():
            rows = column.rows[position]
            if rows is None:
                return b"-"
            shape = struct.pack("<QQ", *rows.shape)
            return _field(b"m", shape + (rows + np.float32(0)).tobytes())
        case SparseColumn():
            pair = column.rows[position]
            if pair is None:
                return b"-"
            indices, values = pair
            return _field(b"s", indices.tobytes()) + _field(
                b"v", (values + np.float32(0)).tobytes()
            )


def canonical_values(values: Float32Matrix) -> Float32Matrix:
    """A copy in which values that count as equal have the same bits: both zeros, and two others.

    The two are those of `float_text`: earlier versions wrote the first as a text that services read
    as the second, and runs of those versions are still compared, repaired and rolled back.
    """
    plain = np.ascontiguousarray(values + np.float32(0), dtype=np.float32)
    bits = plain.view(np.uint32)
    bits[bits == NEIGHBOUR] = TWICE_ROUNDED
    bits[bits == (NEIGHBOUR | SIGN)] = TWICE_ROUNDED | SIGN
    return plain


def canonical_metadata(metadata: dict[str, object] | None) -> bytes:
    """Metadata as text in which equal numbers have the same text: 1.0 counts as 1.

    No metadata and empty metadata are the same, as they are in the service.
    """
    return encode_canonical_json(plain_numbers(metadata or {}))


def plain_numbers(value: object) -> object:
    """The JSON value with one text for each number, so that numbers compare by value.

    The service keeps a number as a double and may print it in another way: 1.5e17 as
    150000000000000000, 2**60 as 1152921504606847000. Whole numbers up to 2**53 become integers,
    larger ones the double they stand for. Text, booleans and null stay as they are.
    """
    match value:
        case bool():
            return value
        case int() | float() if abs(value) > _EXACT_INTEGER_MAX:
            return _as_double(value)
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {key: plain_numbers(inner) for key, inner in value.items()}
        case list():
            return [plain_numbers(inner) for inner in value]
        case _:
            return value


def _as_double(value: float) -> object:
    """The nearest double; for a number beyond all doubles, a text that no other value has."""
    try:
        double = float(value)
    except OverflowError:
        double = math.inf if value > 0 else -math.inf
    return double if math.isfinite(double) else {"": f"{double} as a number"}


def digest_vectors(
    ids: Sequence[str],
    values: Float32Matrix,
    metadata: Sequence[bytes],
    namespaces: Sequence[str | None] | None = None,
) -> list[bytes]:
    """One digest per vector of the target: id, values, metadata (JSON text, as sent), namespace.

    `namespaces` None: none of the vectors is in one.
    """
    plain = canonical_values(values)
    digests = [
        _digest_vector(vector_id, plain[position].tobytes(), _metadata_text(metadata[position]))
        for position, vector_id in enumerate(ids)
    ]
    if namespaces is None:
        return digests
    return [_in_namespace(one, name) for one, name in zip(digests, namespaces, strict=True)]


def digest_vector(vector: Vector) -> bytes:
    """The digest of a vector as it was read, comparable with that of `digest_vectors`."""
    metadata = canonical_metadata(vector.metadata)
    values = vector.values.reshape(1, -1)
    return digest_vectors([vector.id], values, [metadata], [vector.namespace])[0]


def _in_namespace(digest: bytes, namespace: str | None) -> bytes:
    """The digest of the same vector in a namespace; "" and None are the default one.

    Two vectors that differ only in their namespace have two digests; so they have in
    `worker/src/verifier/digest.ts`.
    """
    if not namespace:
        return digest
    named = namespace.encode(errors="surrogatepass")
    return hashlib.sha256(b"q2v vector in a namespace 1\n" + digest + named).digest()


def _metadata_text(text: bytes) -> bytes:
    """The canonical text of metadata that is sent as this JSON text."""
    fields = decode_json(text)
    assert isinstance(fields, dict), "metadata is an object"
    return canonical_metadata(fields)


def _digest_vector(vector_id: str, values: bytes, metadata: bytes) -> bytes:
    digest = hashlib.sha256(b"q2v vector 1\n")
    digest.update(_field(b"i", vector_id.encode()))
    digest.update(_field(b"v", values))
    digest.update(_field(b"m", metadata))
    return digest.digest()


class SetDigest:
    """SHA-256 over the digests of a set in id order, added in pieces."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256(b"q2v set 1\n")
        self.count = 0

    def add(self, digests: bytes) -> None:
        """Add the digests of the next records, in id order."""
        count, rest = divmod(len(digests), DIGEST_BYTES)
        assert not rest, "a digest was cut off"
        self._hash.update(digests)
        self.count += count

    def hexdigest(self) -> str:
        """The digest of everything added so far, with its count."""
        final = self._hash.copy()
        final.update(struct.pack("<Q", self.count))
        return final.hexdigest()
