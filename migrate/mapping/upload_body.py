"""Write vectors as NDJSON lines and group the lines into uploads."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import orjson

from migrate.errors import PreconditionError
from migrate.model.canonical import encode_canonical_json
from migrate.model.float_text import encode_exactly, has_twice_rounded
from migrate.model.limits import PIECE_BYTES
from migrate.model.records import Float32Matrix, Vector, VectorId

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One vector, encoded, with its place in the snapshot."""

    row: int  # 0-based number of the point in the whole snapshot
    vector_id: VectorId
    text: bytes  # one JSON object and a newline


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """The journal's record of one upload; its lines may be in another process."""

    first_row: int  # of the first vector
    middle_row: int  # of the vector at which a refused upload is cut in two
    end_row: int  # one past the last vector's row
    vectors: int  # at least 1
    body_bytes: int  # of the encoded body, newlines included
    sha256: str  # of the exact bytes that are sent, in hex
    vector_id: VectorId  # of the first vector


@dataclass(frozen=True, slots=True)
class EncodedUpload:
    """An upload and its body, in pieces of about a megabyte."""

    upload: Upload
    body: list[bytes]


def encode_line(
    vector_id: VectorId, values: Float32Matrix, metadata: bytes, namespace: str | None = None
) -> bytes:
    """One upload line. `values` is one row of a contiguous float32 matrix, shape (dimensions,)."""
    return next(encode_lines([vector_id], values[np.newaxis], [metadata], [namespace]))


def encode_lines(
    vector_ids: Iterable[VectorId],
    values: Float32Matrix,
    metadata: Iterable[bytes],
    namespaces: Iterable[str | None] | None = None,
) -> Iterator[bytes]:
    """One upload line for each vector; `values` is contiguous, of shape (vectors, dimensions).

    `namespaces` None: no vector is in one.

    orjson writes the shortest text that gives back the same float32, straight from the array
    (docs/services.md), except for the value and its negative in `float_text`: those are looked for
    in all vectors at once. NaN would be written as null: `map_values` has refused those rows.
    """
    exactly = has_twice_rounded(values)
    names = repeat(None, len(values)) if namespaces is None else namespaces
    for vector_id, row, fields, name in zip(vector_ids, values, metadata, names, strict=True):
        text = orjson.Fragment(encode_exactly(row)) if exactly else row
        record = {"id": vector_id, "values": text}
        if name is not None:
            record["namespace"] = name
        record["metadata"] = orjson.Fragment(fields)
        yield orjson.dumps(record, option=_OPTIONS)


def encode_vector(vector: Vector) -> bytes:
    """One upload line that puts a vector back as it was read, namespace included."""
    values = orjson.Fragment(encode_exactly(vector.values))
    record: dict[str, object] = {"id": vector.id, "values": values}
    if vector.namespace is not None:
        record["namespace"] = vector.namespace
    if vector.metadata is not None:
        # The canonical encoder also takes lone surrogates, which a service may return.
        record["metadata"] = orjson.Fragment(encode_canonical_json(vector.metadata))
    return orjson.dumps(record, option=_OPTIONS)


def build_upload(
    lines: Iterable[Line],
    *,
    vectors_max: int,
    body_bytes_max: int,
    body_bytes_wanted: int | None = None,
) -> tuple[EncodedUpload | None, Line | None]:
    """The next upload: as many lines, in order, as the limits allow; and the line after them.

    `vectors_max` counts vectors per upload; `body_bytes_max` is bytes of the encoded body,
    newlines included. `body_bytes_wanted` is a smaller limit that a run has learned; a line
    beyond it is sent alone. Reads at most one line more than it takes and returns that line. None
    when there is no line. Raises PreconditionError if one vector alone exceeds `body_bytes_max`.
    """
    wanted = min(body_bytes_max, body_bytes_wanted or body_bytes_max)
    body = _Body()
    for line in lines:
        size = len(line.text)
        if body.rows and body.bytes + size > wanted:
            return body.close(), line
        if size > body_bytes_max:
            raise PreconditionError(
                f"vector '{line.vector_id}' (row {line.row}): {size} B encoded, "
                f"an upload takes {body_bytes_max} B",
                remedy="raise limits.body_bytes (the service takes 100 MB) or shorten the metadata",
            )
        body.add(line)
        if len(body.rows) == vectors_max:
            return body.close(), None
    return (body.close() if body.rows else None), None


class _Body:
    """An upload under construction: its lines are joined and hashed while the cache holds them."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.bytes = 0
        self._vector_id = VectorId("")
        self._digest = hashlib.sha256()
        self._pieces: list[bytes] = []
        self._held: list[bytes] = []
        self._held_bytes = 0

    def add(self, line: Line) -> None:
        if not self.rows:
            self._vector_id = line.vector_id
        self.rows.append(line.row)
        self.bytes += len(line.text)
        self._held.append(line.text)
        self._held_bytes += len(line.text)
        if self._held_bytes >= PIECE_BYTES:
            self._join()

    def _join(self) -> None:
        piece = b"".join(self._held)
        self._digest.update(piece)
        self._pieces.append(piece)
        self._held, self._held_bytes = [], 0

    def close(self) -> EncodedUpload:
        if self._held:
            self._join()
        rows = self.rows
        upload = Upload(
            first_row=rows[0],
            middle_row=rows[len(rows) // 2],
            end_row=rows[-1] + 1,
            vectors=len(rows),
            body_bytes=self.bytes,
            sha256=self._digest.hexdigest(),
            vector_id=self._vector_id,
        )
        return EncodedUpload(upload, self._pieces)
