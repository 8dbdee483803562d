"""Parse an upload as fast as it is written; one bad line refuses the whole of it."""

from dataclasses import dataclass

import numpy as np
import orjson
import simdjson

from sandbox.errors import ServiceError, not_parsable, upstream
from sandbox.limits import NAMESPACE_BYTES_MAX, VECTOR_ID_BYTES_MAX, VECTORS_PER_UPLOAD_MAX
from sandbox.metadata import check_metadata

_ESCAPED_SURROGATE = b"\\ud"
_MEMBERS = {"id", "values", "namespace", "metadata"}


@dataclass(frozen=True, slots=True)
class UploadedVector:
    """One line of an upload, checked."""

    id: str
    values: bytes  # little-endian float32
    namespace: str | None
    metadata: bytes | None  # compact JSON


def parse_upload(body: bytes, dimensions: int, *, discard: bool) -> list[UploadedVector]:
    """Every vector of the body. Raises what the service answers for the first bad line.

    With `discard`, lines that cannot be parsed are left out, and nobody is told.
    """
    parser = simdjson.Parser()
    vectors: list[UploadedVector] = []
    for line in body.split(b"\n"):
        if not line.strip():
            continue
        try:
            vectors.append(_parse_line(parser, line, dimensions))
        except ServiceError as error:
            if not (discard and error.code == not_parsable().code):
                raise
    if len(vectors) > VECTORS_PER_UPLOAD_MAX:
        raise upstream(
            40024,
            f"too many vectors in payload; max is {VECTORS_PER_UPLOAD_MAX}, got {len(vectors)}",
        )
    if not vectors and not discard:
        raise not_parsable()
    return vectors


def _parse_line(parser: simdjson.Parser, line: bytes, dimensions: int) -> UploadedVector:
    """The fast way; whatever it stumbles over is looked at again by a strict parser."""
    if _ESCAPED_SURROGATE in line.lower():
        return _parse_strictly(line, dimensions)
    try:
        document = parser.parse(line)
        values = np.frombuffer(document["values"].as_buffer(of_type="d")).astype("<f4")
        metadata = document.get("metadata")
        text = metadata.mini if isinstance(metadata, simdjson.Object) else None
        if text is None and metadata is not None:
            raise not_parsable()
        checked = _checked(
            document["id"],
            values,
            document.get("namespace"),
            None if text is None else orjson.loads(text),
            dimensions,
        )
        unknown = set(document.keys()) - _MEMBERS
        del document, metadata  # the parser is not reused while a part of its document lives
    except (ValueError, KeyError, TypeError, RuntimeError):
        return _parse_strictly(line, dimensions)
    if unknown:
        raise not_parsable()
    return checked


def _parse_strictly(line: bytes, dimensions: int) -> UploadedVector:
    try:
        record = orjson.loads(line)
        values = record["values"]
        if not isinstance(record, dict) or set(record) - _MEMBERS or not _are_numbers(values):
            raise not_parsable()
        return _checked(
            record["id"],
            np.array(values, "<f8").astype("<f4"),
            record.get("namespace"),
            record.get("metadata"),
            dimensions,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise not_parsable() from error


def _are_numbers(values: object) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )


def _checked(
    vector_id: object, values: "np.ndarray", namespace: object, metadata: object, dimensions: int
) -> UploadedVector:
    if not isinstance(vector_id, str) or not vector_id:
        raise not_parsable()
    size = len(vector_id.encode())
    if size > VECTOR_ID_BYTES_MAX:
        raise upstream(40008, f"id too long; max is {VECTOR_ID_BYTES_MAX} bytes, got {size}")
    if namespace is not None and not isinstance(namespace, str):
        raise not_parsable()
    if namespace is not None and len(namespace.encode()) > NAMESPACE_BYTES_MAX:
        raise upstream(40009, f"namespace too long; max is {NAMESPACE_BYTES_MAX} bytes")
    if len(values) != dimensions:
        raise upstream(
            40012,
            f'invalid vector for id="{vector_id}", expected {dimensions} dimensions, '
            f"and got {len(values)}",
        )
    if not np.isfinite(values).all():
        raise not_parsable()
    text = check_metadata(vector_id, metadata)
    return UploadedVector(vector_id, values.tobytes(), namespace or None, text)
