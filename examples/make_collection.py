"""Make a small collection, as a sync service would have written it: `make_collection.py FOLDER`.

The texts are chapters of Python's reference, which every Python brings along. Each chapter is a
file, each file has twenty chunks. A chunk is embedded without a model: its words are hashed into 64
dimensions, so that texts with the same words lie near each other. Three more points cannot move.
"""

import hashlib
import math
import pydoc_data.topics
import sys
import uuid
from pathlib import Path

import qdrant_edge as edge

CHAPTERS = (
    "assignment",
    "attribute-access",
    "calls",
    "class",
    "comparisons",
    "execmodel",
    "formatstrings",
    "function",
    "import",
    "sequence-types",
    "string-methods",
    "with",
)
CHUNKS_PER_FILE = 20
CHUNK_CHARACTERS = 120
DIMENSIONS = 64


def main(folder: Path) -> None:
    """Write the collection into `folder`, which must not exist."""
    points = [point for chapter in CHAPTERS for point in chunks_of(chapter)]
    points += points_that_cannot_move()
    folder.mkdir(parents=True)
    vectors = edge.EdgeVectorParams(size=DIMENSIONS, distance=edge.Distance.Cosine)
    shard = edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors=vectors))
    shard.update(edge.UpdateOperation.upsert_points(points))
    shard.flush()
    shard.close()
    print(f"{len(points)} points in {folder}")


def chunks_of(chapter: str) -> list[edge.Point]:
    """The first twenty chunks of a chapter."""
    words = " ".join(pydoc_data.topics.topics[chapter].split())
    texts = [
        words[start : start + CHUNK_CHARACTERS]
        for start in range(0, CHUNKS_PER_FILE * CHUNK_CHARACTERS, CHUNK_CHARACTERS)
    ]
    return [make_point(chapter, number, text) for number, text in enumerate(texts)]


def points_that_cannot_move() -> list[edge.Point]:
    """One without its file, one with an id that is too long, one with too much text."""
    return [
        make_point("", 0, "The sync service wrote no file for this chunk."),
        make_point("minutes-of-the-meeting-" + "x" * 60, 0, "The name of its file is too long."),
        make_point("long-text", 0, "This chunk holds a whole book. " * 400),
    ]


def make_point(file_id: str, chunk_index: int, text: str) -> edge.Point:
    """A point with the payload that the sync service writes; without `file_id` if it is empty."""
    payload = {
        **({"file_id": file_id} if file_id else {}),
        "file_name": f"{file_id}.txt",
        "file_path": f"/reference/{file_id}.txt",
        "chunk_index": chunk_index,
        "chunk_hash": hashlib.sha256(text.encode()).hexdigest(),
        "last_modified": "2026-11-01T08:00:00Z",
        "text": text,
    }
    point_id = uuid.uuid5(uuid.NAMESPACE_URL, f"{file_id}_{chunk_index}")
    return edge.Point(point_id, embed(text), payload)


def embed(text: str) -> list[float]:
    """A vector of length 1: each word adds 1 or -1 to one of the dimensions."""
    values = [0.0] * DIMENSIONS
    for word in text.lower().split():
        digest = hashlib.sha256(word.encode()).digest()
        values[digest[0] % DIMENSIONS] += 1.0 if digest[1] % 2 else -1.0
    length = math.sqrt(sum(value * value for value in values)) or 1.0
    return [value / length for value in values]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
