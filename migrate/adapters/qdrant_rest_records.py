"""Take the points out of a REST answer: ids, canonical payloads, float32 vectors.

The text is parsed once by simdjson, which hands out arrays of doubles without a Python object
per number: five times faster than lists. What it refuses though it is JSON (lone surrogates,
integers beyond 64 bits) goes through the slower standard parser, so that nothing is changed.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np
import orjson
import simdjson

from migrate.adapters.qdrant_columns import Floats, Misfit, PageBuilder, Received, Sparse
from migrate.core.canonical import encode_canonical_json
from migrate.core.model import Page, PointId, VectorSpec

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SPARSE_KEYS = {"indices", "values"}
UINT32_MAX = 2**32 - 1


def decode_ids(body: bytes) -> list[PointId]:
    """The ids of a scroll answer; raises ValueError when it is none."""
    return [PointId.parse(record["id"]) for record in _records(_parse(body))]


def decode_points(body: bytes, vectors: Sequence[VectorSpec]) -> Page:
    """The points of a scroll answer; raises ValueError when it is none."""
    page = PageBuilder(vectors)
    for record in _records(_parse(body)):
        page.add(
            PointId.parse(record["id"]),
            _payload(record.get("payload")),
            _vectors(record.get("vector")),
        )
    return page.build()


def _parse(body: bytes) -> object:
    if body.startswith(BYTE_ORDER_MARK):
        raise ValueError("the answer starts with a byte order mark")
    try:
        # A parser of its own, because the elements of its last answer live in its memory.
        return simdjson.Parser().parse(body)
    except (ValueError, RuntimeError):  # RuntimeError: an integer beyond 64 bits
        pass
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deeply for JSON") from error


def _records(answer: object) -> Iterator[Mapping[str, object]]:
    """The records; ValueError when the answer has none, or claims more after an empty page."""
    result = _member(answer, "result")
    points = _member(result, "points")
    if not _is_list(points):
        raise ValueError("the answer's points are no list")
    points = cast(Sequence[object], points)
    if not len(points) and _get(result, "next_page_offset") is not None:
        raise ValueError("the answer is an empty page that is not the last")
    for record in points:
        if not isinstance(record, simdjson.Object | dict) or _get(record, "id") is None:
            raise ValueError("the answer holds a point without id")
        yield cast(Mapping[str, object], record)


def _member(value: object, key: str) -> object:
    if not isinstance(value, simdjson.Object | dict):
        raise ValueError(f"no '{key}' in the answer")  # noqa: TRY004 - bad data, not a bug
    return _get(value, key)


def _get(value: object, key: str) -> object:
    return cast(Mapping[str, object], value).get(key)


def _payload(payload: object) -> bytes:
    if payload is None:
        return b"{}"
    if isinstance(payload, simdjson.Object):
        payload = orjson.loads(payload.mini)
    if not isinstance(payload, dict):
        raise ValueError("a point's payload is no object")  # noqa: TRY004 - bad data, not a bug
    return encode_canonical_json(payload)


def _vectors(vector: object) -> dict[str, Received]:
    if vector is None:
        return {}
    if not isinstance(vector, simdjson.Object | dict):
        return {"": _received(vector)}
    return {
        name: _received(found)
        for name, found in cast(Mapping[str, object], vector).items()
        if found is not None
    }


def _received(vector: object) -> Received:
    found: Floats | Sparse | None
    if isinstance(vector, simdjson.Array | list):
        found = _matrix(vector) if len(vector) and _is_list(vector[0]) else _floats(vector)
    elif isinstance(vector, simdjson.Object | dict):
        found = _sparse(cast(Mapping[str, object], vector))
    else:
        found = None
    return Misfit(_plain(vector)) if found is None else found


def _is_list(value: object) -> bool:
    return isinstance(value, simdjson.Array | list)


def _floats(values: object) -> Floats | None:
    """One row of numbers as float32; None when anything else is among them."""
    if isinstance(values, simdjson.Array):
        try:
            doubles = np.frombuffer(values.as_buffer(of_type="d"), dtype=np.float64)
        except TypeError:
            return None
    elif isinstance(values, list) and all(type(value) in {int, float} for value in values):
        doubles = np.array(values, dtype=np.float64)
    else:
        return None
    with np.errstate(over="ignore"):  # beyond float32 becomes infinity, which mapping reports
        return doubles.astype(np.float32)


def _matrix(rows: Sequence[object]) -> Floats | None:
    """Rows of equal length; None when they are not."""
    found = [_floats(row) if _is_list(row) else None for row in rows]
    lengths = {None if row is None else len(row) for row in found}
    if len(lengths) != 1 or None in lengths:
        return None
    return np.stack(cast(list[Floats], found))


def _sparse(vector: Mapping[str, object]) -> Sparse | None:
    if set(vector) != SPARSE_KEYS:
        return None
    values = _floats(vector["values"])
    indices = _plain(vector["indices"])
    if values is None or not isinstance(indices, list):
        return None
    if not all(type(index) is int and 0 <= index <= UINT32_MAX for index in indices):
        return None
    return np.array(indices, dtype=np.uint32), values


def _plain(value: object) -> object:
    """The same as Python's own lists and dicts."""
    if isinstance(value, simdjson.Array):
        return value.as_list()
    if isinstance(value, simdjson.Object):
        return value.as_dict()
    return value
