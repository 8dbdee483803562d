"""Decode the points of a REST answer: ids, canonical payloads, float32 vectors.

The text is parsed by simdjson, which returns arrays of doubles without a Python object per number:
five times faster than lists. It refuses some JSON (lone surrogates, integers beyond 64 bits), which
the slower standard parser reads without a change. That parser refuses integers of thousands of
digits and nesting of a thousand levels. Such an answer is split by the JSON grammar: the payload in
question is kept as its text, and the other points are read as usual.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

import numpy as np
import orjson
import simdjson

from migrate.model.canonical import encode_canonical_json
from migrate.model.float_text import read_float32
from migrate.model.json_text import DIGITS_MAX, Raw, RefusedJsonError, read_json, read_outline
from migrate.model.records import Page, PointId, VectorSpec
from migrate.qdrant.columns import Floats, Nonconforming, PageBuilder, Received, Sparse
from migrate.qdrant.rest.repeated_keys import encode_repeated, has_repeated, keep_pairs

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Ends every key of a compact text. Within strings both encoders write it alike, so a text and its
# canonical form hold it equally often unless a key was dropped.
KEY_END = b'":'
LEVELS_OF_A_PAGE = 4  # around what a point holds: the answer, its result, the points, the point
SPARSE_KEYS = {"indices", "values"}
UINT32_MAX = 2**32 - 1


def decode_ids(body: bytes) -> list[PointId]:
    """The ids of a scroll answer. Raises ValueError for any other body."""
    return [PointId.parse(record["id"]) for record in _records(_parse(body))]


def decode_points(body: bytes, vectors: Sequence[VectorSpec]) -> Page:
    """The points of a scroll answer. Raises ValueError for any other body."""
    return _decode(body, vectors, LEVELS_OF_A_PAGE)


def decode_named(body: bytes, vectors: Sequence[VectorSpec]) -> Page:
    """The points of an answer to a request for ids. Raises ValueError for any other body."""
    return _decode(body, vectors, LEVELS_OF_A_PAGE - 1)


def _decode(body: bytes, vectors: Sequence[VectorSpec], levels: int) -> Page:
    find = _records if levels == LEVELS_OF_A_PAGE else _named_records
    try:
        return _decode_whole(find(_parse(body)), vectors)
    except ValueError as refusal:
        try:
            outline = read_outline(body.decode(), levels)
            return _decode_by_grammar(find(outline), vectors)
        except ValueError:
            raise refusal from None


def _decode_whole(records: Iterable[Mapping[str, object]], vectors: Sequence[VectorSpec]) -> Page:
    """The page from records of the parser that accepted the answer."""
    page = PageBuilder(vectors)
    for record in records:
        payload, as_received = _payload(record.get("payload"))
        page.add(
            PointId.parse(record["id"]),
            payload,
            _vectors(record.get("vector")),
            payload_as_received=as_received,
        )
    return page.build()


def _decode_by_grammar(
    records: Iterable[Mapping[str, object]], vectors: Sequence[VectorSpec]
) -> Page:
    """The page from the text of each point."""
    page = PageBuilder(vectors)
    for record in records:
        payload, as_received, why = _payload_text(record.get("payload"))
        page.add(
            PointId.parse(_value(record["id"])),
            payload,
            _vectors(_value(record.get("vector"))),
            payload_as_received=as_received,
            payload_why=why,
        )
    return page.build()


def _payload_text(payload: object) -> tuple[bytes, str | None, str | None]:
    """As `_payload`; for a payload that libraries refuse: `{}`, its text, and the reason."""
    text = payload.text if isinstance(payload, Raw) else "null"
    try:
        canonical, as_received = _payload(read_json(text, keep_pairs))
    except RefusedJsonError as refusal:
        if not text.lstrip().startswith("{"):
            raise
        return b"{}", text, str(refusal)
    return canonical, as_received, None


def _value(raw: object) -> object:
    """The value of a member other than the payload."""
    try:
        return json.loads(raw.text) if isinstance(raw, Raw) else None
    except RecursionError as error:
        raise ValueError("nested too deeply for JSON") from error


def _parse(body: bytes) -> object:
    if body.startswith(BYTE_ORDER_MARK):
        raise ValueError("the answer starts with a byte order mark")
    try:
        # A new parser each time, because the elements of an answer are in the parser's memory.
        return simdjson.Parser().parse(body)
    except (ValueError, RuntimeError):  # RuntimeError: an integer beyond 64 bits
        pass
    try:
        return json.loads(body, object_pairs_hook=keep_pairs)
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise ValueError("nested too deeply for JSON") from error
    except ValueError as error:  # Python's text names a function that an operator cannot call
        raise ValueError(f"an integer of more than {DIGITS_MAX} digits") from error


def _records(answer: object) -> Iterator[Mapping[str, object]]:
    """The records. Raises ValueError if there is no list, or the page is empty but not the last."""
    result = _member(answer, "result")
    points = _member(result, "points")
    if not _is_list(points):
        raise ValueError("the answer's points are no list")
    points = cast(Sequence[object], points)
    if not len(points) and _get(result, "next_page_offset") is not None:
        raise ValueError("the answer is an empty page that is not the last")
    yield from _checked(points)


def _named_records(answer: object) -> Iterator[Mapping[str, object]]:
    """The records of an answer to a request for certain ids."""
    result = _member(answer, "result")
    if not _is_list(result):
        raise ValueError("the answer's result is no list")
    return _checked(cast(Sequence[object], result))


def _checked(points: Sequence[object]) -> Iterator[Mapping[str, object]]:
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


def _payload(payload: object) -> tuple[bytes, str | None]:
    """The payload in canonical form, and its text if it holds a key twice.

    The canonical form holds only the last value of such a key, as JSON parsers do.
    """
    if payload is None:
        return b"{}", None
    if isinstance(payload, simdjson.Object):
        text = cast(bytes, cast(object, payload.mini))  # its declared type, str, is wrong
        canonical = encode_canonical_json(orjson.loads(text))
        repeated = text.count(KEY_END) != canonical.count(KEY_END)
        return canonical, text.decode() if repeated else None
    if not isinstance(payload, dict):
        raise ValueError("a point's payload is no object")  # noqa: TRY004 - bad data, not a bug
    canonical = encode_canonical_json(payload)
    return canonical, encode_repeated(payload).decode() if has_repeated(payload) else None


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
        rows = len(vector) and _is_list(vector[0])
        found = _matrix(vector) if rows else _floats(vector)
    elif isinstance(vector, simdjson.Object | dict):
        found = _sparse(cast(Mapping[str, object], vector))
    else:
        found = None
    return Nonconforming(_plain(vector)) if found is None else found


def _is_list(value: object) -> bool:
    return isinstance(value, simdjson.Array | list)


def _floats(values: object) -> Floats | None:
    """One row of numbers as float32; None when it holds anything else."""
    if isinstance(values, simdjson.Array):
        try:
            doubles = np.frombuffer(values.as_buffer(of_type="d"), dtype=np.float64)
        except TypeError:
            return None
    elif isinstance(values, list) and all(type(value) in {int, float} for value in values):
        doubles = np.array(values, dtype=np.float64)
    else:
        return None
    return read_float32(doubles)


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
    """The value as Python's own lists and dicts."""
    if isinstance(value, simdjson.Array):
        return value.as_list()
    if isinstance(value, simdjson.Object):
        return value.as_dict()
    return value
