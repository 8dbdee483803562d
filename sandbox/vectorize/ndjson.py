"""Parses an upload while it arrives; one invalid line refuses the whole upload."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

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
    LINE_BYTES_MAX,
    VECTOR_ID_BYTES_MAX,
    VECTOR_NAMESPACE_BYTES_MAX,
    VECTORS_PER_UPLOAD_MAX,
)
from sandbox.vectorize.metadata import check_metadata
from sandbox.vectorize.values_file import FLOAT32

_MEMBERS = frozenset({"id", "values", "namespace", "metadata"})
_ROWS_PER_BLOCK = 128  # under 1 MB of values: the same warm memory is filled again and again
_LINES_PER_STEP = 256  # at most about 50 ms, with 1536 values a line
_BLANK = re.compile(rb"\s*")  # also many lines of it, in one call

_Line = tuple[str, str | None, bytes | None]  # id, namespace, metadata


@dataclass(frozen=True, slots=True)
class UploadedVector:
    """One line of an upload, checked."""

    id: str
    position: int  # of its values in the index's file
    namespace: str | None
    metadata: bytes | None  # compact JSON


class UploadParser:
    """Parses the body piece by piece, in memory that does not grow with the body.

    `index_id` is the index the values go to. `keep_rows(rows)` receives them block by block,
    copies them and returns the position of the first. With `discard`, lines that cannot be parsed
    are left out without an error.
    """

    def __init__(
        self,
        dimensions: int,
        *,
        index_id: int,
        discard: bool,
        keep_rows: Callable[[NDArray[np.float32]], int],
    ) -> None:
        self.index_id = index_id
        self._reader = _LineReader(dimensions)
        self._discard = discard
        self._keep_rows = keep_rows
        self._block = np.empty((_ROWS_PER_BLOCK, dimensions), FLOAT32)
        self._waiting: list[_Line] = []  # rows of the block
        self._vectors: list[UploadedVector] = []
        self._unfinished: list[bytes] = []  # pieces of the last line
        self._unfinished_bytes = 0
        self._refusal: ServiceError | None = None

    def feed(self, piece: bytes | bytearray) -> None:
        """Parse a piece. After the first invalid line, further pieces are ignored."""
        for _ in self.feed_in_steps(piece):
            pass

    def feed_in_steps(self, piece: bytes | bytearray) -> Iterator[None]:
        """As `feed`, but yields after each group of lines so that others can be answered."""
        start = lines = 0
        while self._refusal is None:
            if not self._unfinished:
                blank = _BLANK.match(piece, start)
                start = start if blank is None else blank.end()
            end = piece.find(b"\n", start)
            if end < 0:
                self._keep_unfinished(piece, start)
                return
            self._read_line(self._finished(bytes(piece[start:end])))
            start = end + 1
            lines += 1
            if lines % _LINES_PER_STEP == 0:
                yield

    def _keep_unfinished(self, piece: bytes | bytearray, start: int) -> None:
        """Keep the beginning of a line; of one that is too long, only as much as shows that."""
        room = LINE_BYTES_MAX + 1 - self._unfinished_bytes
        kept = bytes(piece[start : start + room])
        if kept:
            self._unfinished.append(kept)
            self._unfinished_bytes += len(kept)

    def _finished(self, end: bytes) -> bytes:
        """The whole line."""
        if not self._unfinished:
            return end
        line = b"".join([*self._unfinished, end])
        self._unfinished.clear()
        self._unfinished_bytes = 0
        return line

    def finish(self) -> list[UploadedVector]:
        """Every vector, in order. Raises ServiceError for the first line the service refuses."""
        self._read_line(self._finished(b""))
        self._flush()
        if self._refusal is not None:
            raise self._refusal
        if len(self._vectors) > VECTORS_PER_UPLOAD_MAX:
            raise too_many_vectors(len(self._vectors), VECTORS_PER_UPLOAD_MAX)
        if not self._vectors and not self._discard:
            raise unparsable_upload()
        return self._vectors

    def _read_line(self, line: bytes) -> None:
        if self._refusal is not None or not (line.startswith(b"{") or line.strip()):
            return
        try:
            if len(line) > LINE_BYTES_MAX:
                raise unparsable_upload()
            with np.errstate(over="ignore"):
                self._waiting.append(self._reader.read(line, self._block[len(self._waiting)]))
        except ServiceError as error:
            if not (self._discard and error.code == unparsable_upload().code):
                self._refusal = error
            return
        if len(self._waiting) == _ROWS_PER_BLOCK:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting or self._refusal is not None:
            return
        start = self._keep_rows(self._block[: len(self._waiting)])
        self._vectors += [
            UploadedVector(vector_id, start + row, namespace, metadata)
            for row, (vector_id, namespace, metadata) in enumerate(self._waiting)
        ]
        self._waiting.clear()


class _LineReader:
    """Lines of the usual form go to a fast parser, all others to a strict one."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self._parser = simdjson.Parser()

    def read(self, text: bytes, values: NDArray[np.float32]) -> _Line:
        """Check one line and fill `values` from it."""
        if not _values_are_flat(text):
            return self._read_strictly(text, values)
        try:
            return self._read_fast(text, values)
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError):
            return self._read_strictly(text, values)

    def _read_fast(self, text: bytes, values: NDArray[np.float32]) -> _Line:
        document = self._parser.parse(text)
        if not isinstance(document, simdjson.Object):
            raise unparsable_upload()
        # The parser fails while a reference into its last line exists, so everything is copied.
        known = _MEMBERS.issuperset(document.keys())
        numbers = np.frombuffer(cast(simdjson.Array, document["values"]).as_buffer(of_type="d"))
        given, metadata = document.get("metadata"), None
        if isinstance(given, simdjson.Object):
            metadata = cast(bytes, given.mini)  # bytes, whatever its stub says
        elif given is not None:
            raise unparsable_upload()
        vector_id, namespace = document["id"], document.get("namespace")
        del document, given
        if not known:
            raise unparsable_upload()
        return self._checked(vector_id, numbers, namespace, metadata, values)

    def _read_strictly(self, text: bytes, values: NDArray[np.float32]) -> _Line:
        try:
            record = orjson.loads(text)
            if not isinstance(record, dict) or not _MEMBERS.issuperset(record):
                raise unparsable_upload()
            numbers = _numbers(record["values"])
            metadata = record.get("metadata")
            plain = None if metadata is None else orjson.dumps(metadata)
            return self._checked(record["id"], numbers, record.get("namespace"), plain, values)
        except (ValueError, KeyError, TypeError) as error:
            raise unparsable_upload() from error

    def _checked(
        self,
        vector_id: object,
        numbers: NDArray[np.float64],
        namespace: object,
        metadata: bytes | None,
        values: NDArray[np.float32],
    ) -> _Line:
        if not isinstance(vector_id, str) or not vector_id:
            raise unparsable_upload()
        check_id(vector_id)
        if namespace is not None:
            if not isinstance(namespace, str):
                raise unparsable_upload()
            _check_bytes(namespace, VECTOR_NAMESPACE_BYTES_MAX, namespace_too_long)
        if len(numbers) != self._dimensions:
            raise wrong_width(vector_id, self._dimensions, len(numbers))
        if metadata is not None:
            check_metadata(vector_id, metadata)
        values[:] = numbers
        # A number may be finite as double and beyond float32. The sum of squares is a quick look.
        if not math.isfinite(values.dot(values)) and not np.isfinite(values).all():
            raise unparsable_upload()
        return vector_id, namespace or None, metadata


def check_id(vector_id: str) -> None:
    """Raises ServiceError for a vector id beyond 64 bytes."""
    _check_bytes(vector_id, VECTOR_ID_BYTES_MAX, id_too_long)


def _check_bytes(text: str, size_max: int, refusal: Callable[[int, int], ServiceError]) -> None:
    size = len(text.encode())
    if size > size_max:
        raise refusal(size, size_max)


def _values_are_flat(text: bytes) -> bool:
    """Whether `values` is surely a plain list: the fast parser would flatten a nested one."""
    if text.find(b"[", text.find(b"[") + 1) < 0:
        return True
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
