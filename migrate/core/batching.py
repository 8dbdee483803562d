"""Write vectors as NDJSON lines and group the lines into uploads."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from migrate.core.canonical import encode_canonical_json
from migrate.core.model import Float32Matrix, Vector, VectorId
from migrate.errors import PreconditionError

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One vector, encoded, with its place in the snapshot."""

    row: int  # 0-based number of the point in the whole snapshot
    vector_id: VectorId
    text: bytes  # one JSON object and a newline


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What a journal says of one upload; its lines may be in another process."""

    first_row: int  # of the first vector
    middle_row: int  # of the vector at which a refused upload is cut in two
    end_row: int  # one past the last vector's row
    vectors: int  # at least 1
    body_bytes: int  # of the encoded body, newlines included
    sha256: str  # of the exact bytes that are sent, in hex
    vector_id: VectorId  # of the first vector


def encode_line(vector_id: VectorId, values: Float32Matrix, metadata: bytes) -> bytes:
    """One upload line. `values` is one row of a contiguous float32 matrix, shape (dimensions,).

    orjson writes the shortest text that gives back the same float32, straight from the array
    (PERFORMANCE section A). It would write NaN as null: `map_values` has refused those rows.
    """
    record = {"id": vector_id, "values": values, "metadata": orjson.Fragment(metadata)}
    return orjson.dumps(record, option=_OPTIONS)


def encode_vector(vector: Vector) -> bytes:
    """One upload line that puts a vector back as it was read, namespace included."""
    record: dict[str, object] = {"id": vector.id, "values": vector.values}
    if vector.namespace is not None:
        record["namespace"] = vector.namespace
    if vector.metadata is not None:
        # The canonical encoder also takes lone surrogates, which a service may give out.
        record["metadata"] = orjson.Fragment(encode_canonical_json(vector.metadata))
    return orjson.dumps(record, option=_OPTIONS)


def take_lines(
    lines: Iterable[Line],
    *,
    vectors_max: int,
    body_bytes_max: int,
    body_bytes_wanted: int | None = None,
) -> list[Line]:
    """The lines of the next upload: as many, in order, as the limits allow.

    `vectors_max` counts vectors per upload; `body_bytes_max` is bytes of the encoded body,
    newlines included. `body_bytes_wanted` is a smaller limit that a run has learned; a line
    beyond it goes alone. Reads at most one line more than it returns. Empty when there is none.
    Raises PreconditionError if one vector alone exceeds `body_bytes_max`.
    """
    wanted = min(body_bytes_max, body_bytes_wanted or body_bytes_max)
    taken: list[Line] = []
    taken_bytes = 0
    for line in lines:
        size = len(line.text)
        if size > body_bytes_max:
            if taken:
                break  # they go first; this line will be the first of the next upload
            raise PreconditionError(
                f"vector '{line.vector_id}' (row {line.row}): {size} B encoded, "
                f"an upload takes {body_bytes_max} B",
                remedy="raise limits.body_bytes (the service takes 100 MB) or shorten the metadata",
            )
        if taken and taken_bytes + size > wanted:
            break
        taken.append(line)
        taken_bytes += size
        if len(taken) == vectors_max:
            break
    return taken


def describe_upload(lines: Sequence[Line]) -> Upload:
    """What the journal keeps of an upload of these lines; there is at least one."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.text)
    return Upload(
        first_row=lines[0].row,
        middle_row=lines[len(lines) // 2].row,
        end_row=lines[-1].row + 1,
        vectors=len(lines),
        body_bytes=sum(len(line.text) for line in lines),
        sha256=digest.hexdigest(),
        vector_id=lines[0].vector_id,
    )
