"""Write vectors as NDJSON lines and group the lines into uploads."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
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
class Batch:
    """The vectors of one upload, in snapshot order."""

    ordinal: int  # 0-based; names the batch in the journal
    rows: tuple[int, ...]  # ascending; gaps where points stay behind
    vector_ids: tuple[VectorId, ...]  # never empty
    lines: tuple[bytes, ...]

    @property
    def first_row(self) -> int:
        """The first vector's row."""
        return self.rows[0]

    @property
    def end_row(self) -> int:
        """One past the last vector's row."""
        return self.rows[-1] + 1

    @property
    def body_bytes(self) -> int:
        """Size of the encoded body, newlines included."""
        return sum(map(len, self.lines))

    def sha256(self) -> str:
        """Digest of the exact bytes that are sent."""
        digest = hashlib.sha256()
        for line in self.lines:
            digest.update(line)
        return digest.hexdigest()


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


def split_batches(
    lines: Iterable[Line],
    *,
    first_ordinal: int = 0,
    vectors_max: int,
    body_bytes_max: int,
    body_bytes_wanted: int | None = None,
) -> Iterator[Batch]:
    """Group lines, in order, into as few uploads as the limits allow.

    `vectors_max` counts vectors per upload; `body_bytes_max` is bytes of the encoded body,
    newlines included. `body_bytes_wanted` is a smaller limit that a run has learned; a line
    beyond it goes alone. Reads `lines` once, holding one batch in memory. Yields batches numbered
    from `first_ordinal` whose concatenation is the input; never an empty one.
    Raises PreconditionError if one vector alone exceeds `body_bytes_max`.
    """
    ordinal = first_ordinal
    wanted = min(body_bytes_max, body_bytes_wanted or body_bytes_max)
    held: list[Line] = []
    held_bytes = 0
    for line in lines:
        size = len(line.text)
        if size > body_bytes_max:
            raise PreconditionError(
                f"vector '{line.vector_id}' (row {line.row}): {size} B encoded, "
                f"an upload takes {body_bytes_max} B",
                remedy="raise limits.body_bytes (the service takes 100 MB) or shorten the metadata",
            )
        if held and (len(held) == vectors_max or held_bytes + size > wanted):
            yield _batch(ordinal, held)
            ordinal, held, held_bytes = ordinal + 1, [], 0
        held.append(line)
        held_bytes += size
    if held:
        yield _batch(ordinal, held)


def _batch(ordinal: int, lines: Sequence[Line]) -> Batch:
    return Batch(
        ordinal=ordinal,
        rows=tuple(line.row for line in lines),
        vector_ids=tuple(line.vector_id for line in lines),
        lines=tuple(line.text for line in lines),
    )
