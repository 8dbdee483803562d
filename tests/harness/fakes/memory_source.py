"""A collection in memory with every read counted, and snapshots of it."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from migrate.model.canonical import encode_canonical_json
from migrate.model.records import (
    Collection,
    DenseColumn,
    Page,
    PointId,
    ShardKeyCount,
    VectorKind,
    VectorSpec,
    encode_shard_key,
    order_shard_keys,
)
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.take import SnapshotOptions, SnapshotReport, take_snapshot
from migrate.storage.local_folder import LocalFolder
from tests.harness.fakes.clock import VirtualClock
from tests.harness.fakes.silence import Silence

SMALL_PAGES = SnapshotOptions(page_points=2)
DIMENSIONS = 4
SPEC = VectorSpec(
    name="", kind=VectorKind.DENSE, dimensions=DIMENSIONS, distance="Cosine", datatype="float32"
)


class UnexpectedError(Exception):
    """An error that no code of the tool expects: it ends a command as a kill would."""


class MemorySource:
    """`ports.PointSource` over a dict; `before_read` may change points, or raise."""

    def __init__(
        self,
        points: dict[int, dict[str, object]],
        *,
        dimensions: int = DIMENSIONS,
        unit: bool = False,
    ) -> None:
        """`unit`: values have length 1, as a collection that compares by cosine holds them."""
        self._dimensions = dimensions
        self._unit = unit
        self.points = dict(points)  # u64 id -> payload; the values follow from both
        self.before_read: Callable[[int], None] = lambda number: None
        self.reads: list[tuple[str, PointId | None]] = []  # what was read, from where
        self.name = "points"
        self.specs = (replace(SPEC, dimensions=dimensions),)
        self.warnings: tuple[str, ...] = ()
        self.config: dict[str, object] = {"threshold": 0.2}
        self.answer_points_max = 10**9  # a server may give fewer than asked for
        # With custom sharding: every key, with the ids under it. A point is under one key only.
        self.keys: dict[int | str, set[int]] | None = None

    def identity(self) -> dict[str, str]:
        return {"kind": "memory", "collection": self.name}

    def urls(self) -> frozenset[str]:
        return frozenset()

    def read_collection(self) -> Collection:
        self._note("collection", None)
        return Collection(
            name=self.name,
            vectors=self.specs,
            config=self.config,
            server="memory 1",
            warnings=self.warnings,
            shard_keys=self._counted_keys(),
        )

    def _counted_keys(self) -> tuple[ShardKeyCount, ...] | None:
        if self.keys is None:
            return None
        counted = {
            encode_shard_key(key): len(ids & self.points.keys()) for key, ids in self.keys.items()
        }
        return tuple(
            ShardKeyCount(key=key, points=counted[key]) for key in order_shard_keys(counted)
        )

    def count_points(self) -> int:
        self._note("count", None)
        return len(self.points)

    def count_left_out(self) -> int | None:
        return None

    def read_ids(self, start: PointId | None, *, limit: int) -> Sequence[PointId]:
        self._note("ids", start)
        return self._from(start, limit)

    def read_points(self, start: PointId | None, *, limit: int) -> Page:
        self._note("points", start)
        ids = self._from(start, min(limit, self.answer_points_max))
        page = page_of(self.points, ids, dimensions=self._dimensions, unit=self._unit)
        return self._under_keys(page)

    def _under_keys(self, page: Page) -> Page:
        if self.keys is None:
            return page
        key_of = {one: encode_shard_key(key) for key, ids in self.keys.items() for one in ids}
        return replace(page, shard_keys=tuple(key_of[one.number] for one in page.ids))

    def read_payloads(self, start: PointId | None, *, limit: int) -> Page:
        self._note("payloads", start)
        ids = self._from(start, min(limit, self.answer_points_max))
        page = page_of(self.points, ids, dimensions=self._dimensions)
        return self._under_keys(replace(page, vectors={}))

    def close(self) -> None:
        pass

    def _note(self, what: str, start: PointId | None) -> None:
        self.before_read(len(self.reads))
        self.reads.append((what, start))

    def _from(self, start: PointId | None, limit: int) -> list[PointId]:
        ids = [PointId(0, number) for number in sorted(self.points)]
        first = 0 if start is None else bisect_left(ids, start)
        return ids[first : first + limit]


def page_of(
    points: dict[int, dict[str, object]],
    ids: Sequence[PointId],
    *,
    dimensions: int = DIMENSIONS,
    unit: bool = False,
) -> Page:
    """The page of these ids; further dimensions are zero. `unit`: the values have length 1."""
    values = np.zeros((len(ids), dimensions), np.float32)
    for position, point_id in enumerate(ids):
        values[position, :DIMENSIONS] = values_of(point_id.number, points[point_id.number])
        if unit:
            values[position] /= np.linalg.norm(values[position])
    return Page(
        ids=tuple(ids),
        payloads=tuple(encode_canonical_json(points[point_id.number]) for point_id in ids),
        vectors={
            "": DenseColumn(
                values,
                np.ones(len(ids), np.bool_),
            )
        },
        irregular=(None,) * len(ids),
    )


def values_of(number: int, payload: dict[str, object]) -> list[float]:
    """Values of a point; `shift` in the payload moves them."""
    shift = payload.get("shift", 0)
    assert isinstance(shift, int)
    return [float(number % 97 + 1), float(number % 13), float(shift), 0.5]


def chunk_payloads(count: int, *, files: int = 5) -> dict[int, dict[str, object]]:
    """Points 10, 20, 30, ... that are chunks of `files` files, in order."""
    return {
        10 * number + 10: {
            "file_id": f"file-{number % files}",
            "chunk_index": number // files,
            "chunk_hash": f"{number:064x}",
            "text": f"text {number}",
        }
        for number in range(count)
    }


def take(
    source: MemorySource,
    folder: Path,
    options: SnapshotOptions = SMALL_PAGES,
    *,
    clock: VirtualClock | None = None,
    progress: Silence | None = None,
) -> SnapshotReport:
    """Take a snapshot into the --dir `folder`, or resume one."""
    runtime = Runtime(clock=clock or VirtualClock(), progress=progress or Silence())
    return take_snapshot(source, LocalFolder(folder), options, runtime)


def take_and_open(
    source: MemorySource, folder: Path, options: SnapshotOptions = SMALL_PAGES
) -> Snapshot:
    """A sealed snapshot of the source."""
    return Snapshot(LocalFolder(Path(take(source, folder, options).path)))
