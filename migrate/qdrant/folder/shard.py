"""One shard of an embedded Qdrant, open in the engine."""

import importlib.metadata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from migrate.errors import LocalStorageError, PreconditionError, RunLockedError
from migrate.model.records import PointId
from migrate.qdrant import filters
from migrate.qdrant.filters.point_filter import PointFilter

PACKAGE = "qdrant-edge-py"


def load_engine() -> Any:
    """The engine, 14 MB of machine code: loaded only when a store is opened."""
    import qdrant_edge  # noqa: PLC0415 - see above

    return qdrant_edge


def engine_version() -> str:
    """The version of the engine in use."""
    return importlib.metadata.version(PACKAGE)


class EdgeShard:
    """A copy of a shard, held by the engine until `close`. Errors name the original folder."""

    def __init__(self, copy: Path, original: Path, point_filter: PointFilter | None = None) -> None:
        """Raises PreconditionError when the engine cannot open it, UsageError for its filter."""
        self._copy = copy
        self._original = original
        self._filter = None if point_filter is None else filters.encode_for_engine(point_filter)
        self._shard = self._load()

    def _load(self) -> Any:
        """Open the shard."""
        try:
            return load_engine().EdgeShard.load(str(self._copy))
        except Exception as error:
            if "WouldBlock" in str(error):
                raise RunLockedError(
                    f"{self._original}: the copy of this shard is open in another process",
                    remedy="end the other process, then run the same command again",
                ) from error
            raise PreconditionError(
                f"the engine cannot open {self._original}: {self._said(error)}",
                remedy="check that the folder is whole and not from a server before 1.16 "
                "(its storage format is no longer read)",
            ) from error

    def count(self, *, whole: bool = False) -> int:
        """The exact count of the points that match the filter; of all points if `whole`."""
        wanted = None if whole else self._filter
        with self._reading():
            return int(self._shard.count(load_engine().CountRequest(exact=True, filter=wanted)))

    def ids(self, start: PointId | None, limit: int) -> Sequence[PointId]:
        """At most `limit` ids >= `start` that match the filter, as the engine orders them."""
        return [
            PointId.parse(record.id)
            for record in self._scroll(start, limit, payload=False, vectors=False)
        ]

    def records(self, start: PointId | None, limit: int, *, vectors: bool) -> list[Any]:
        """At most `limit` of the engine's records with payload and, if asked, vectors.

        Their ids are >= `start`, and they match the filter.
        """
        return self._scroll(start, limit, payload=True, vectors=vectors)

    def retrieve(self, point_id: PointId, *, vectors: bool) -> list[Any]:
        """The engine's record of this one point, as `records`; reads no other point."""
        with self._reading():
            return cast(list[Any], self._shard.retrieve([point_id.wire], True, vectors))

    def close(self) -> None:
        """Close the shard. Calling it again does nothing."""
        self._shard.close()

    def _scroll(
        self, start: PointId | None, limit: int, *, payload: bool, vectors: bool
    ) -> list[Any]:
        request = load_engine().ScrollRequest(
            offset=start.wire if start is not None else None,
            limit=limit,
            filter=self._filter,
            with_payload=payload,
            with_vector=vectors,
        )
        with self._reading():
            records, _ = self._shard.scroll(request)
        return cast(list[Any], records)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Translate errors of the engine, which raises plain Exceptions with a text."""
        try:
            yield
        except Exception as error:
            raise LocalStorageError(
                f"the engine cannot read {self._original}: {self._said(error)}",
                remedy="check the disk and the folder, then run the same command again",
            ) from error

    def _said(self, error: Exception) -> str:
        return str(error).replace(str(self._copy), str(self._original))
