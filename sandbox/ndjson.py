"""Reads an upload as fast as it is written; one bad line refuses the whole of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import orjson
import simdjson
from numpy.typing import NDArray

from sandbox.errors import (
    ServiceError,
    id_too_long,
    namespace_too_long,
    too_many_vectors,
    unparsable_upload,
    wrong_width,
)
from sandbox.limits import (
    VECTOR_ID_BYTES_MAX,
    VECTOR_NAMESPACE_BYTES_MAX,
    VECTORS_PER_UPLOAD_MAX,
)
from sandbox.metadata import check_metadata
from sandbox.values_file import FLOAT32

_MEMBERS = frozenset({"id", "values", "namespace", "metadata"})
_ROWS_PER_FLUSH = 128  # under 1 MB of values: the same warm memory is filled again and again


@dataclass(frozen=True, slots=True)
class UploadedVector:
    """One line of an upload, checked; its values are at `row` of what `keep_rows` was given."""

    id: str
    row: int  # 0-based
    namespace: str | None
    metadata: bytes | None  # compact JSON


def parse_upload(
    body: bytes | bytearray,
    dimensions: int,
    *,
    discard: bool,
    keep_rows: Callable[[int, NDArray[np.float32]], None],
) -> list[UploadedVector]:
    """Every vector of the body, in order.

    `keep_rows(first_row, rows)` receives the values, block by block; it must copy them.
    With `discard`, lines that cannot be parsed are left out and nobody is told.
    Raises ServiceError for the first line the service would refuse.
    """
    reader = _LineReader(dimensions)
    vectors: list[UploadedVector] = []
    block = np.empty((_ROWS_PER_FLUSH, dimensions), FLOAT32)
    for line in _lines(body):
        filled = len(vectors) % _ROWS_PER_FLUSH
        try:
            vectors.append(reader.read(line, block[filled], row=len(vectors)))
        except ServiceError as error:
            if discard and error.code == unparsable_upload().code:
                continue
            raise
        if filled == _ROWS_PER_FLUSH - 1:
            _flush(block, len(vectors), keep_rows)
    if len(vectors) > VECTORS_PER_UPLOAD_MAX:
        raise too_many_vectors(len(vectors), VECTORS_PER_UPLOAD_MAX)
    if not vectors and not discard:
        raise unparsable_upload()
    rest = len(vectors) % _ROWS_PER_FLUSH
    if rest:
        _flush(block[:rest], len(vectors), keep_rows)
    return vectors


def _lines(body: bytes | bytearray) -> Iterator[bytes]:
    """Lines without their newline, blank ones left out; one line is copied at a time."""
    with memoryview(body) as view:
        start = 0
        while start < len(body):
            end = body.find(b"\n", start)
            end = len(body) if end < 0 else end
            line = view[start:end].tobytes()
            start = end + 1
            if line[:1] == b"{" or line.strip():
                yield line


def _flush(
    block: NDArray[np.float32], rows: int, keep_rows: Callable[[int, NDArray[np.float32]], None]
) -> None:
    if not np.isfinite(block).all():
        raise unparsable_upload()
    keep_rows(rows - len(block), block)


class _LineReader:
    """The fast parser for what uploads look like, and a strict one for everything else."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self._parser = simdjson.Parser()

    def read(self, text: bytes, values: NDArray[np.float32], *, row: int) -> UploadedVector:
        """Check one line and fill `values` from it."""
        if not _values_are_flat(text):
            return self._read_strictly(text, values, row=row)
        try:
            return self._read_fast(text, values, row=row)
        except (ValueError, KeyError, TypeError, RuntimeError):
            return self._read_strictly(text, values, row=row)

    def _read_fast(self, text: bytes, values: NDArray[np.float32], *, row: int) -> UploadedVector:
        document = self._parser.parse(text)
        if not isinstance(document, simdjson.Object):
            raise unparsable_upload()
        # The parser takes no new line while a part of the last one is alive: copy all, keep none.
        members: dict[str, Any] = {
            name: value for name, value in document.items() if name in _MEMBERS
        }
        known = len(members) == len(document)
        numbers = np.frombuffer(members["values"].as_buffer(of_type="d"))
        metadata = members.get("metadata")
        if isinstance(metadata, simdjson.Object):
            metadata = cast(bytes, metadata.mini)  # bytes, whatever its stub says
        elif metadata is not None:
            known = False
        vector_id, namespace = members["id"], members.get("namespace")
        del document, members
        if not known:
            raise unparsable_upload()
        return self._checked(vector_id, numbers, namespace, metadata, values, row=row)

    def _read_strictly(
        self, text: bytes, values: NDArray[np.float32], *, row: int
    ) -> UploadedVector:
        try:
            record = orjson.loads(text)
            if not isinstance(record, dict) or not _MEMBERS.issuperset(record):
                raise unparsable_upload()
            numbers = _numbers(record["values"])
            metadata = record.get("metadata")
            plain = None if metadata is None else orjson.dumps(metadata)
            return self._checked(
                record["id"], numbers, record.get("namespace"), plain, values, row=row
            )
        except (ValueError, KeyError, TypeError) as error:
            raise unparsable_upload() from error

    def _checked(
        self,
        vector_id: object,
        numbers: NDArray[np.float64],
        namespace: object,
        metadata: bytes | None,
        values: NDArray[np.float32],
        *,
        row: int,
    ) -> UploadedVector:
        if not isinstance(vector_id, str) or not vector_id:
            raise unparsable_upload()
        _check_bytes(vector_id, VECTOR_ID_BYTES_MAX, id_too_long)
        if namespace is not None:
            if not isinstance(namespace, str):
                raise unparsable_upload()
            _check_bytes(namespace, VECTOR_NAMESPACE_BYTES_MAX, namespace_too_long)
        if len(numbers) != self._dimensions:
            raise wrong_width(vector_id, self._dimensions, len(numbers))
        if metadata is not None:
            check_metadata(vector_id, metadata)
        with np.errstate(over="ignore"):
            values[:] = numbers
        return UploadedVector(vector_id, row, namespace or None, metadata)


def _check_bytes(text: str, size_max: int, refusal: Callable[[int, int], ServiceError]) -> None:
    size = len(text.encode())
    if size > size_max:
        raise refusal(size, size_max)


def _values_are_flat(text: bytes) -> bool:
    """Whether `values` is surely a plain list: the fast parser would flatten a nested one."""
    name = text.find(b'"values"')
    if name < 0 or text.find(b'"values"', name + 1) >= 0:
        return False
    start = text.find(b"[", name)
    end = text.find(b"]", start)
    return text.find(b"[", start + 1, end) < 0


def _numbers(values: object) -> NDArray[np.float64]:
    if not isinstance(values, list) or not all(type(one) in (int, float) for one in values):
        raise unparsable_upload()
    return np.array(values, np.float64)
