"""Serve a Qdrant collection that exists nowhere: its points are made as they are asked for."""

import hashlib
import sys
from dataclasses import dataclass, field

import numpy as np
from typing_extensions import override

from migrate.core.model import Float32Matrix, PointId
from tests.servers.qdrant_grpc import grpc_server
from tests.servers.qdrant_points import Points, StoredCollection, StoredPoint

DIMENSIONS = 3_072
POOL = 1_000  # different vectors; the rest repeats them
CHUNKS_PER_FILE = 12
TEXT = "wörter, die etwas bedeuten könnten; "
TEXT_REPEATED = 30  # about 1.1 kB


def _pool(dimensions: int) -> Float32Matrix:
    values = np.random.default_rng(1).standard_normal((POOL, dimensions)).astype(np.float32)
    normalised: Float32Matrix = values / np.linalg.norm(values, axis=1, keepdims=True)
    return normalised


@dataclass(kw_only=True)
class MadeCollection(StoredCollection):
    """`size` points with integer ids; none of them is kept."""

    size: int
    dimensions: int = DIMENSIONS
    text_repeated: int = TEXT_REPEATED
    pool: Float32Matrix = field(init=False)

    def __post_init__(self) -> None:
        self.pool = _pool(self.dimensions)

    @override
    def scroll(self, offset: PointId | None, limit: int) -> tuple[Points, PointId | None]:
        """One page, made now."""
        first = 0 if offset is None else offset.number if offset.rank == 0 else self.size
        end = min(self.size, first + limit)
        cursor = PointId(0, end) if end < self.size else None
        return [self._point(number) for number in range(first, end)], cursor

    def _point(self, number: int) -> StoredPoint:
        file_id, index = f"file-{number // CHUNKS_PER_FILE:07d}", number % CHUNKS_PER_FILE
        payload = {
            "file_id": file_id,
            "file_name": f"{file_id}.txt",
            "file_path": f"/drive/{file_id}.txt",
            "chunk_index": index,
            "chunk_hash": hashlib.sha256(f"{file_id}_{index}".encode()).hexdigest(),
            "last_modified": "2026-11-01T12:00:00Z",
            "text": TEXT * self.text_repeated,
        }
        return StoredPoint(number, {"": self.pool[number % POOL]}, payload)


def main() -> None:
    """Serve until the input ends; the first line on stdout is the address."""
    size, dimensions, text_repeated = map(int, sys.argv[1:])
    vectors: dict[str, object] = {"size": dimensions, "distance": "Cosine"}
    collection = MadeCollection(
        size=size, dimensions=dimensions, text_repeated=text_repeated, vectors=vectors
    )
    collection.points = range(size)  # type: ignore[assignment]  # only ever counted
    with grpc_server(collection) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
