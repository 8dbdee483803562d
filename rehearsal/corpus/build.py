"""Fill an embedded Qdrant with the corpus."""

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import orjson

from migrate.clock import SystemClock
from migrate.qdrant.folder.shard import load_engine
from rehearsal.corpus.chunks import split_chunks
from rehearsal.corpus.documents import Document, read_documents
from rehearsal.corpus.embedding import MODEL_DIMENSIONS, embed_texts

COLLECTION = "drive-chunks"
CHUNKS_MAX = 4_100  # four full read-backs of it stay within the budget of five minutes
CHUNKS_PER_FILE_MAX = 160  # files beyond 20 and beyond 100 chunks matter to the KV index
PREVIEW_CHARACTERS = 1_000
_BATCH_POINTS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusReport:
    """The size and digest of a corpus."""

    path: Path
    files: int
    chunks: int
    dimensions: int
    seconds: float
    content_sha256: str  # over ids, payloads and values


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk before it is embedded."""

    point_id: str  # UUIDv5 of "{file_id}_{chunk_index}" in the URL namespace
    text: str
    payload: dict[str, object]


def read_chunks(chunks_max: int | None = None) -> list[Chunk]:
    """The chunks of the corpus, file by file, at most `chunks_max` (default 4,100)."""
    chunks = (chunk for document in _spread(read_documents()) for chunk in _chunks(document))
    return list(islice(chunks, CHUNKS_MAX if chunks_max is None else chunks_max))


def _spread(documents: Sequence[Document]) -> list[Document]:
    """Large files first, then all others in an order that mixes both kinds."""
    by_size = sorted(documents, key=lambda document: (-len(document.text), document.path))
    large, rest = by_size[:8], by_size[8:]
    return large + sorted(rest, key=lambda document: document.file_id)


def _chunks(document: Document) -> Iterator[Chunk]:
    for index, text in enumerate(split_chunks(document.text)[:CHUNKS_PER_FILE_MAX]):
        yield Chunk(
            str(uuid.uuid5(uuid.NAMESPACE_URL, f"{document.file_id}_{index}")),
            text,
            {
                "file_id": document.file_id,
                "file_name": document.name,
                "file_path": document.path,
                "chunk_index": index,
                "chunk_hash": hashlib.sha256(text.encode()).hexdigest(),
                "last_modified": document.last_modified,
                "text": text[:PREVIEW_CHARACTERS],
            },
        )


def build_corpus(
    path: Path, *, chunks_max: int | None = None, dimensions: int = 3072
) -> CorpusReport:
    """Create an embedded Qdrant in `path`: one unnamed cosine vector of `dimensions` per point.

    `path` must be empty or absent. Raises FileExistsError otherwise.
    """
    edge = load_engine()
    started = SystemClock().monotonic_s()
    if path.exists() and any(path.iterdir()):
        raise FileExistsError(f"{path} is not empty; remove it to build the corpus again")
    path.mkdir(parents=True, exist_ok=True)
    chunks = read_chunks(chunks_max)
    label = f"wordllama-{MODEL_DIMENSIONS} projected to {dimensions} (synthetic width)"
    vectors = edge.EdgeVectorParams(size=dimensions, distance=edge.Distance.Cosine)
    shard = edge.EdgeShard.create(str(path), edge.EdgeConfig(vectors=vectors))
    digest = hashlib.sha256()
    for start in range(0, len(chunks), _BATCH_POINTS):
        batch = chunks[start : start + _BATCH_POINTS]
        values = embed_texts([chunk.text for chunk in batch], dimensions)
        points = []
        for chunk, row in zip(batch, values, strict=True):
            payload = {**chunk.payload, "embedding_model": label}
            points.append(edge.Point(uuid.UUID(chunk.point_id), row, payload))
            digest.update(chunk.point_id.encode() + orjson.dumps(payload) + row.tobytes())
        shard.update(edge.UpdateOperation.upsert_points(points))
    shard.flush()
    shard.close()
    return CorpusReport(
        path=path,
        files=len({chunk.payload["file_id"] for chunk in chunks}),
        chunks=len(chunks),
        dimensions=dimensions,
        seconds=round(SystemClock().monotonic_s() - started, 2),
        content_sha256=digest.hexdigest(),
    )
