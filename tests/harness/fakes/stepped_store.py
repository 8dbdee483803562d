"""An embedded store whose every touch is a step, at which a fault can strike."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import qdrant_edge
from typing_extensions import override

from migrate.errors import LocalStorageError
from migrate.model.records import Collection, Page, PointId
from migrate.ports import PointSource
from migrate.restore.folder import FolderTarget
from migrate.restore.settings import CollectionSettings
from migrate.restore.target import CollectionWriter
from tests.harness.fakes.steps import NO_SPACE, Fault, Kind, Steps


class SteppedStore(FolderTarget):
    """The engine writes its own files, past the counted disk: so a step is a call of the engine.

    A kill strikes before a call. A disk that is full or broken is what the engine would say of it.
    """

    def __init__(self, path: Path, *, collection: str, steps: Callable[[], Steps]) -> None:
        """`steps` gives those of the present life."""
        super().__init__(path, collection=collection)
        self._steps = steps

    @override
    def read_collection(self) -> Collection | None:
        self._pass(Kind.READ, "describe")
        return super().read_collection()

    @override
    def create(self, settings: CollectionSettings) -> None:
        self._pass(Kind.CREATE, "create")
        super().create(settings)

    @override
    @contextmanager
    def open_source(self) -> Iterator[PointSource]:
        with super().open_source() as source:
            yield _Source(source, self._pass)

    @override
    @contextmanager
    def open_writer(self) -> Iterator[CollectionWriter]:
        with super().open_writer() as writer:
            yield _Writer(writer, self._pass)

    def _pass(self, kind: Kind, what: str) -> None:
        fault = self._steps().pass_(kind, f"store: {what}", unsynced=False)
        if fault is Fault.BROKEN or (fault in NO_SPACE and kind is not Kind.READ):
            raise LocalStorageError(
                f"the engine cannot {what}: {fault}",
                remedy="check the disk, then run the same command again: it resumes",
            )


def stored_indexes(path: Path) -> list[str]:
    """The payload indexes of a store, as the engine names them."""
    shard = qdrant_edge.EdgeShard.load(str(path))
    try:
        return sorted(shard.info().payload_schema)
    finally:
        shard.close()


_Pass = Callable[[Kind, str], None]


class _Source:
    """Counts the reads of points."""

    def __init__(self, source: PointSource, pass_: _Pass) -> None:
        self._source = source
        self._pass = pass_

    def identity(self) -> dict[str, str]:
        return self._source.identity()

    def urls(self) -> frozenset[str]:
        return self._source.urls()

    def read_collection(self) -> Collection:
        return self._source.read_collection()

    def count_points(self) -> int:
        return self._source.count_points()

    def count_left_out(self) -> int | None:
        return self._source.count_left_out()

    def read_ids(self, start: PointId | None, *, limit: int) -> Sequence[PointId]:
        return self._source.read_ids(start, limit=limit)

    def read_points(self, start: PointId | None, *, limit: int) -> Page:
        self._pass(Kind.READ, "read points")
        return self._source.read_points(start, limit=limit)

    def read_payloads(self, start: PointId | None, *, limit: int) -> Page:
        return self._source.read_payloads(start, limit=limit)

    def close(self) -> None:
        self._source.close()


class _Writer(CollectionWriter):
    """Counts the writes."""

    def __init__(self, writer: CollectionWriter, pass_: _Pass) -> None:
        self._writer = writer
        self._pass = pass_

    @override
    def create_index(self, field: str, schema: object) -> None:
        self._pass(Kind.CREATE, "create an index")
        self._writer.create_index(field, schema)

    @override
    def upsert(self, page: Page) -> Mapping[PointId, str]:
        self._pass(Kind.REPLACE, "write points")
        return self._writer.upsert(page)
