"""A snapshot of points as frameworks write them: with an object inside, a list, a null."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from migrate.clock import SystemClock
from migrate.model.canonical import encode_canonical_json
from migrate.model.records import Collection, DenseColumn, Page, PointId, VectorKind, VectorSpec
from migrate.runtime import NoProgress, Runtime
from migrate.snapshot.take import SnapshotOptions, take_snapshot
from migrate.storage.local_folder import LocalFolder

POOL = 1_000  # different vectors
CHUNKS_PER_FILE = 10
TEXT = "wörter, die etwas bedeuten könnten; " * 32  # about 1.9 kB of JSON in all


def write_snapshot(folder: Path, points: int, dimensions: int) -> Path:
    """A sealed snapshot below `folder`, without a server."""
    runtime = Runtime(clock=SystemClock(), progress=NoProgress())
    source = _NestedPoints(points, dimensions)
    options = SnapshotOptions(second_reading="ids")  # nothing changes the points
    return folder / take_snapshot(source, LocalFolder(folder), options, runtime).snapshot_id


def payload(number: int) -> dict[str, object]:
    """The payload of one point."""
    file = f"file-{number // CHUNKS_PER_FILE:07d}"
    return {
        "file_id": file,
        "file_path": f"/drive/{file}.txt",
        "chunk_index": number % CHUNKS_PER_FILE,
        "chunk_hash": f"{number:064x}",
        "text": TEXT,
        "summary": f"what chunk {number} of the file is about",
        "tags": ["invoice", "2026", "draft"],
        "user_id": 7_000_000 + number,
        "note": None,
        "_node_content": '{"hash": "0123456789abcdef", "class": "TextNode"}' * 4,
        "metadata": {
            "source": f"/drive/{file}.pdf",
            "page": number % 40,
            "author": "A. Author",
            "created": "2026-11-01T12:00:00Z",
            "internal": "x" * 40,
        },
    }


class _NestedPoints:
    """`ports.PointSource` of points that follow from their numbers, from 1 on."""

    def __init__(self, size: int, dimensions: int) -> None:
        self._size = size
        self._spec = VectorSpec(
            name="",
            kind=VectorKind.DENSE,
            dimensions=dimensions,
            distance="Cosine",
            datatype="float32",
        )
        drawn = np.random.default_rng(1).standard_normal((POOL, dimensions))
        unit = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
        self._pool = unit.astype(np.float32)

    def identity(self) -> dict[str, str]:
        return {"kind": "made", "collection": "chunks"}

    def urls(self) -> frozenset[str]:
        return frozenset()

    def read_collection(self) -> Collection:
        return Collection(
            name="chunks", vectors=(self._spec,), config={}, server="made", warnings=()
        )

    def count_points(self) -> int:
        return self._size

    def count_left_out(self) -> int | None:
        return None

    def read_ids(self, start: PointId | None, *, limit: int) -> Sequence[PointId]:
        first = 1 if start is None else start.number
        return PointId.from_numbers(range(first, min(self._size + 1, first + limit)))

    def read_points(self, start: PointId | None, *, limit: int) -> Page:
        ids = self.read_ids(start, limit=limit)
        numbers = [one.number for one in ids]
        values = self._pool[[number % POOL for number in numbers]]
        return Page(
            ids=tuple(ids),
            payloads=tuple(encode_canonical_json(payload(number)) for number in numbers),
            vectors={"": DenseColumn(values, np.ones(len(ids), np.bool_))},
            irregular=(None,) * len(ids),
        )

    def read_payloads(self, start: PointId | None, *, limit: int) -> Page:
        return replace(self.read_points(start, limit=limit), vectors={})

    def close(self) -> None:
        pass
