"""Read an embedded Qdrant: the folder of one shard, through the engine's own storage code.

Opening a shard is not free of writes: the engine replays its journal, rewrites its settings file
and flushes on closing. Nothing beyond that happens here; points are never touched.
"""

import importlib.metadata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from migrate.adapters.durable import local_io
from migrate.adapters.qdrant_collection import read_vector_specs
from migrate.adapters.qdrant_columns import Floats, Misfit, PageBuilder, Received, count_bytes
from migrate.adapters.qdrant_paging import PageSize, check_order, estimate_point_bytes
from migrate.core.canonical import decode_json, encode_canonical_json
from migrate.core.model import Collection, Page, PointId
from migrate.errors import LocalStorageError, PreconditionError, RunLockedError

SETTINGS = "edge_config.json"
LOCAL_MODE_FILES = ("meta.json", "collection")
VALUE_BYTES = 4
ID_LIMIT_MAX = 100_000  # ids of one answer; bounds the memory of a careless caller
PACKAGE = "qdrant-edge-py"


class EdgeSource:
    """`ports.PointSource` over a shard folder; holds the shard's lock until `close`.

    A shard knows no collection name, so `collection` is believed. Raises PreconditionError for a
    folder that holds no shard, RunLockedError when another process has it open.
    """

    def __init__(self, path: Path, *, collection: str) -> None:
        _check_folder(path)
        self._path = path
        self._name = collection
        self._shard = _load(path)
        self._vectors = self.read_collection().vectors
        self._page_size = PageSize(
            point_bytes=estimate_point_bytes(self._vectors, value_bytes=VALUE_BYTES)
        )

    def identity(self) -> dict[str, str]:
        """The folder and the name the operator gave the collection."""
        return {
            "path": str(self._path.resolve()),
            "collection": self._name,
            "transport": "embedded",
        }

    def read_collection(self) -> Collection:
        """The shard's own settings, in the place REST has them."""
        settings_path = self._path / SETTINGS
        with local_io("reading", settings_path):
            text = settings_path.read_bytes()
        try:
            settings = cast(dict[str, object], decode_json(text))
            vectors = read_vector_specs(settings)
        except (ValueError, AttributeError) as error:
            raise PreconditionError(
                f"{settings_path} does not describe a shard: {error}",
                remedy="open the folder with the qdrant-edge-py version that wrote it",
            ) from error
        return Collection(
            name=self._name,
            vectors=vectors,
            config={"config": {"params": settings}},
            server=f"qdrant-edge {importlib.metadata.version(PACKAGE)}",
            warnings=_warnings(settings),
        )

    def count_points(self) -> int:
        """The exact count."""
        import qdrant_edge  # noqa: PLC0415 - see _load

        with _engine(self._path):
            return int(self._shard.count(qdrant_edge.CountRequest(exact=True)))

    def read_ids(self, start: PointId | None, *, limit: int) -> Sequence[PointId]:
        """At most `limit` ids >= `start`, ascending."""
        records = self._scroll(start, min(limit, ID_LIMIT_MAX), whole=False)
        ids = [PointId.parse(record.id) for record in records]
        check_order(ids, start, where=str(self._path))
        return ids

    def read_points(self, start: PointId | None, *, limit: int) -> Page:
        """At most `limit` whole points >= `start`, ascending."""
        records = self._scroll(start, self._page_size.points(limit), whole=True)
        builder = PageBuilder(self._vectors)
        for record in records:
            builder.add(
                PointId.parse(record.id),
                encode_canonical_json(record.payload or {}),
                _read_vectors(record.vector),
            )
        page = builder.build()
        check_order(page.ids, start, where=str(self._path))
        self._page_size.learn(len(page), count_bytes(page))
        return page

    def close(self) -> None:
        """Give the shard back; harmless when repeated."""
        self._shard.close()

    def _scroll(self, start: PointId | None, limit: int, *, whole: bool) -> list[Any]:
        import qdrant_edge  # noqa: PLC0415 - see _load

        request = qdrant_edge.ScrollRequest(
            offset=start.wire if start is not None else None,
            limit=limit,
            with_payload=whole,
            with_vector=whole,
        )
        with _engine(self._path):
            records, _ = self._shard.scroll(request)
        return cast(list[Any], records)


@contextmanager
def _engine(path: Path) -> Iterator[None]:
    """Translate what the engine says; it raises bare Exceptions, their text is all there is."""
    try:
        yield
    except Exception as error:
        raise LocalStorageError(
            f"the engine cannot read {path}: {error}",
            remedy="check the disk and the folder, then run the same command again",
        ) from error


def _check_folder(path: Path) -> None:
    """Look before loading: the engine makes folders in a place that holds no shard."""
    with local_io("looking for a shard in", path):
        if any(path.glob("segments/*/segment.json")):
            return
        local_mode = all((path / name).exists() for name in LOCAL_MODE_FILES)
    raise PreconditionError(
        f"{path} holds no Qdrant shard (no segments/*/segment.json)"
        + ("; it was written by the Python client's local mode" * local_mode),
        remedy="start a Qdrant server and set source.url"
        if local_mode
        else "set source.path to the folder that holds `segments`",
    )


def _load(path: Path) -> Any:
    """Open the shard. The engine is imported here, so that other sources do not pay for it."""
    import qdrant_edge  # noqa: PLC0415

    try:
        return qdrant_edge.EdgeShard.load(str(path))
    except Exception as error:
        if "WouldBlock" in str(error):
            raise RunLockedError(
                f"{path} is open in another process: the engine allows one at a time",
                remedy="close the program that uses this embedded store, then run again",
            ) from error
        raise PreconditionError(
            f"the engine cannot open {path}: {error}",
            remedy="check that the folder is writable, whole and not from a server before 1.16 "
            "(its storage format is no longer read)",
        ) from error


def _read_vectors(vector: object) -> dict[str, Received]:
    if isinstance(vector, dict):
        return {name: _received(found) for name, found in vector.items()}
    return {} if vector is None else {"": _received(vector)}


def _received(vector: Any) -> Received:
    if not isinstance(vector, list):
        indices = np.array(vector.indices, dtype=np.uint32)
        return indices, np.array(vector.values, dtype=np.float32)
    try:
        values: Floats = np.array(vector, dtype=np.float32)
    except ValueError:  # rows of different lengths
        return Misfit(vector)
    return values


def _warnings(settings: dict[str, object]) -> tuple[str, ...]:
    optimizers = settings.get("optimizers")
    if isinstance(optimizers, dict) and optimizers.get("prevent_unoptimized"):
        return ("prevent_unoptimized is on: points written lately may be invisible",)
    return ()
