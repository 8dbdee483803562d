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
TEXT = "wörter, die etwas bedeuten könnten; " * 30  # about 1.1 kB


def _pool() -> Float32Matrix:
    values = np.random.default_rng(1).standard_normal((POOL, DIMENSIONS)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@dataclass(kw_only=True)
class MadeCollection(StoredCollection):
    """`size` points with integer ids; none of them is kept."""

    size: int
    pool: Float32Matrix = field(default_factory=_pool)

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
            "text": TEXT,
        }
        return StoredPoint(number, {"": self.pool[number % POOL]}, payload)  # type: ignore[dict-item]  # an array serves as a sequence


def main() -> None:
    """Serve until the input ends; the first line on stdout is the address."""
    size = int(sys.argv[1])
    vectors: dict[str, object] = {"size": DIMENSIONS, "distance": "Cosine"}
    collection = MadeCollection(size=size, vectors=vectors)
    collection.points = range(size)  # type: ignore[assignment]  # only ever counted
    with grpc_server(collection) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
