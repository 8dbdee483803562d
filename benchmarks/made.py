"""Points that exist nowhere: every one follows from its number, so both sides of a move know it.

The vectors repeat after `POOL`, the payloads do not. A page is put together from bytes that were
encoded once, at the speed of copying memory: a source that is slower than its reader would be
the thing that is measured.
"""

import hashlib
import threading
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import orjson
from qdrant_client import grpc as wire

from migrate.model.records import Float32Matrix

DIMENSIONS = 3_072
REDUCED = 1_536
POOL = 1_000  # different vectors
CHUNKS_PER_FILE = 10
FIRST_ID = 2**21  # ids from here to 2^28 take four bytes each
TEXT = "wörter, die etwas bedeuten könnten; "
TEXT_REPEATED = 28  # about 1.3 kB of JSON in all
_FILE = b"file-0000000"
_HASH = b"0" * 64

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Points:
    """`size` points with ids from `FIRST_ID` on."""

    size: int
    dimensions: int = DIMENSIONS
    text_repeated: int = TEXT_REPEATED
    changed_every: int = 0  # every n-th point has another hash; 0: none

    @cached_property
    def _thread(self) -> threading.local:
        return threading.local()

    @cached_property
    def pool(self) -> Float32Matrix:
        """The different vectors, of unit length, shape (POOL, dimensions)."""
        drawn = np.random.default_rng(1).standard_normal((POOL, self.dimensions))
        unit: Float32Matrix = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
        return unit.astype(np.float32)

    def payload(self, number: int) -> dict[str, object]:
        """The payload of one point."""
        file, index = f"file-{number // CHUNKS_PER_FILE:07d}", number % CHUNKS_PER_FILE
        return {
            "file_id": file,
            "file_name": f"{file}.txt",
            "file_path": f"/drive/{file}.txt",
            "chunk_index": index,
            "chunk_hash": self._hash(number),
            "last_modified": "2026-11-01T12:00:00Z",
            "text": TEXT * self.text_repeated,
        }

    def _hash(self, number: int) -> str:
        is_changed = self.changed_every and number % self.changed_every == 0
        return hashlib.sha256(b"%d changed" % number if is_changed else b"%d" % number).hexdigest()

    def vector_id(self, number: int) -> str:
        """The id in the target, by the default template."""
        payload = self.payload(number)
        return f"{payload['file_id']}_{payload['chunk_index']}"

    @staticmethod
    def number(vector_id: str) -> int:
        """The inverse of `vector_id`."""
        file, _, index = vector_id.removeprefix("file-").partition("_")
        return int(file) * CHUNKS_PER_FILE + int(index)

    def scroll(self, start: int, limit: int, *, whole: bool) -> bytes:
        """A serialized scroll answer: points from number `start` on, ids alone unless `whole`."""
        end = min(self.size, start + limit)
        if start >= end:
            return b""
        numbers = np.arange(start, end)
        rows = self._rows(numbers) if whole else self._bare_rows(numbers)
        return b"".join([rows.data, self._cursor(end)])

    @staticmethod
    def decode(answer: bytes) -> list[tuple[int, dict[str, object], list[float]]]:
        """Number, payload and values of each point of an answer, by the protocol's own messages."""
        return [
            (
                point.id.num - FIRST_ID,
                {
                    key: getattr(value, value.WhichOneof("kind"))
                    for key, value in point.payload.items()
                },
                list(point.vectors.vector.dense.data),
            )
            for point in wire.ScrollResponse.FromString(answer).result
        ]

    def _cursor(self, end: int) -> bytes:
        if end == self.size:
            return b""
        offset = wire.PointId(num=FIRST_ID + end)
        return bytes(wire.ScrollResponse(next_page_offset=offset).SerializeToString())

    def _bare_rows(self, numbers: npt.NDArray[np.int64]) -> Bytes:
        record = wire.RetrievedPoint(id=wire.PointId(num=FIRST_ID))
        template = _framed(record)
        rows = np.tile(template, (len(numbers), 1))
        _put_ids(rows, _find(template, _varint(FIRST_ID)), numbers)
        return rows

    @cached_property
    def _template(self) -> Bytes:
        """One whole record whose id, names, number, hash and vector are still to be put in."""
        record = wire.RetrievedPoint(id=wire.PointId(num=FIRST_ID))
        for key, value in {**self.payload(0), "chunk_hash": _HASH.decode()}.items():
            if isinstance(value, int):
                record.payload[key].integer_value = value
            else:
                record.payload[key].string_value = str(value)
        zeros = np.zeros(self.dimensions, np.float32)
        record.vectors.vector.dense.data.extend(zeros)
        return _framed(record)

    @cached_property
    def _places(self) -> dict[str, list[int]]:
        text = self._template.tobytes()
        index = wire.Value(integer_value=0).SerializeToString()
        marker = b"chunk_index\x12" + bytes([len(index)]) + index
        return {
            "id": [text.index(_varint(FIRST_ID))],
            "file": _all(text, _FILE),
            "index": [text.index(marker) + len(marker) - 1],
            "hash": [text.index(_HASH)],
            "vector": [text.index(bytes(4 * self.dimensions))],
        }

    def _rows(self, numbers: npt.NDArray[np.int64]) -> Bytes:
        rows, places = self._warm_rows(len(numbers)), self._places
        _put_ids(rows, places["id"][0], numbers)
        files = _digits(numbers // CHUNKS_PER_FILE)
        for place in places["file"]:
            rows[:, place + 5 : place + 12] = files
        rows[:, places["index"][0]] = numbers % CHUNKS_PER_FILE
        hashes = "".join(map(self._hash, numbers.tolist())).encode()
        at = places["hash"][0]
        rows[:, at : at + 64] = np.frombuffer(hashes, np.uint8).reshape(-1, 64)
        at, end, pool = places["vector"][0], 0, self.pool.view(np.uint8)
        while end < len(numbers):
            first, start = numbers[end] % POOL, end
            end = min(len(numbers), start + POOL - first)
            rows[start:end, at : at + pool.shape[1]] = pool[first : first + end - start]
        return rows

    def _warm_rows(self, count: int) -> Bytes:
        """`count` records to be filled in, in memory that this thread has used before."""
        held: Bytes | None = getattr(self._thread, "rows", None)
        if held is None or len(held) < count:
            held = self._thread.rows = np.tile(self._template, (count, 1))
        return held[:count]

    def stored(self, vector_id: str, reduced: int) -> bytes:
        """The record that the target should hold under an id, as JSON."""
        number = self.number(vector_id)
        values = self.pool[number % POOL, :reduced].astype(np.float64)
        values = (values / np.sqrt(values @ values)).astype(np.float32)
        record = {"id": vector_id, "values": values, "metadata": self.payload(number)}
        return orjson.dumps(record, option=orjson.OPT_SERIALIZE_NUMPY)


def _framed(record: wire.RetrievedPoint) -> Bytes:
    """The record as a field of a scroll answer."""
    answer = wire.ScrollResponse(result=[record]).SerializeToString()
    return np.frombuffer(answer, np.uint8)


def _varint(number: int) -> bytes:
    """A number as its field is encoded, without the tag."""
    return bytes(wire.PointId(num=number).SerializeToString()[1:])


def _find(template: Bytes, what: bytes) -> int:
    return template.tobytes().index(what)


def _all(text: bytes, what: bytes) -> list[int]:
    found, at = [], text.find(what)
    while at >= 0:
        found.append(at)
        at = text.find(what, at + 1)
    return found


def _put_ids(rows: Bytes, place: int, numbers: npt.NDArray[np.int64]) -> None:
    """As varints of four bytes: seven bits each, the lowest first, and a sign that more follow."""
    ids = numbers + FIRST_ID
    for byte, more in enumerate((0x80, 0x80, 0x80, 0)):
        rows[:, place + byte] = ((ids >> (7 * byte)) & 0x7F) | more


def _digits(numbers: npt.NDArray[np.int64]) -> Bytes:
    """Seven decimal digits of each number, shape (numbers, 7)."""
    powers = 10 ** np.arange(6, -1, -1)
    return (numbers[:, None] // powers % 10 + ord("0")).astype(np.uint8)
