"""Write an embedded store, through the engine's own storage code."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

import orjson
from typing_extensions import override

from migrate.errors import LocalStorageError, PreconditionError, RunLockedError
from migrate.model.canonical import decode_json
from migrate.model.records import Collection, Page, PointId, ShardKey
from migrate.ports import PointSource
from migrate.qdrant.collection import Json
from migrate.qdrant.columns import Received
from migrate.qdrant.folder.layout import CONFIG, EMBEDDED_CONFIG, find_collection
from migrate.qdrant.folder.shard import load_engine
from migrate.qdrant.folder.source import EdgeSource
from migrate.restore.settings import CollectionSettings
from migrate.restore.target import (
    CollectionTarget,
    CollectionWriter,
    PointsRefused,
    upsert_halving,
    vectors_of,
)
from migrate.storage.disk import disk
from migrate.storage.durable import folder_names, is_file, make_folder, write_durably

# What a creation that was killed may have left.
BEGUN = frozenset({EMBEDDED_CONFIG, "segments", "wal"})
HNSW_DEFAULTS = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000}  # those of a server


class FolderTarget(CollectionTarget):
    """An embedded store in a folder that may not exist yet."""

    holds_shard_keys = False

    def __init__(
        self,
        path: Path,
        *,
        collection: str,
        copies: Path | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`copies` and `say` are those of `EdgeSource`.

        Raises PreconditionError for a folder that holds something other than an embedded store.
        """
        self.name = collection
        self._path = path
        self._copies = copies
        self._say = say
        if disk().is_file(path):
            raise PreconditionError(
                f"{path} is a file; an embedded store is a folder",
                remedy="name a folder in source.path that does not exist yet or is empty",
            )
        if self._exists() and find_collection(path).config is not None:
            raise PreconditionError(
                f"{path} is a server's folder of a collection; only the server may write to it",
                remedy="start the server and set source.url, or name a new folder in source.path",
            )

    @override
    def identity(self) -> dict[str, str]:
        return {"path": str(self._path.absolute()), "collection": self.name}

    @override
    def read_collection(self) -> Collection | None:
        if not self._exists():
            return None
        with self.open_source() as source:
            return source.read_collection()

    @override
    def create(self, settings: CollectionSettings) -> None:
        make_folder(self._path)
        described = orjson.dumps(_engine_settings(settings))
        write_durably(self._path / EMBEDDED_CONFIG, described)
        _open_shard(self._path).close()

    @override
    def create_shard_keys(self, keys: Sequence[ShardKey]) -> None:
        """There are none: `restore_snapshot` refuses points that have a shard key."""

    @override
    @contextmanager
    def open_source(self) -> Iterator[PointSource]:
        with closing(
            EdgeSource(self._path, collection=self.name, copies=self._copies, say=self._say)
        ) as source:
            yield source

    @override
    @contextmanager
    def open_writer(self) -> Iterator[CollectionWriter]:
        shard = _open_shard(self._path)
        try:
            yield _ShardWriter(shard, self._path)
            shard.flush()
        finally:
            shard.close()

    def _exists(self) -> bool:
        """Raises PreconditionError when the folder holds other files."""
        names = set(folder_names(self._path))
        segments = self._path / "segments"
        is_shard = any(is_file(segments / name / "segment.json") for name in folder_names(segments))
        if is_shard or CONFIG in names:
            return True
        if names <= BEGUN:
            return False
        raise PreconditionError(
            f"{self._path} is not empty and holds no embedded store ('{min(names - BEGUN)}')",
            remedy="name a folder in source.path that does not exist yet or is empty",
        )


class _ShardWriter(CollectionWriter):
    """Writes to an open shard."""

    def __init__(self, shard: Any, path: Path) -> None:
        self._shard = shard
        self._path = path

    @override
    def create_index(self, field: str, schema: object) -> None:
        """Only the type is kept: the parameters of an index are left at the engine's defaults."""
        engine = load_engine()
        name = str(cast(Json, schema)["type"] if isinstance(schema, Mapping) else schema)
        kind = getattr(engine.PayloadSchemaType, name.capitalize(), None)
        if kind is None:
            raise PreconditionError(
                f"payload index on '{field}' has type '{name}', which an embedded store has not",
                remedy="restore into a server instead",
            )
        self._shard.update(engine.UpdateOperation.create_field_index(field, kind))

    @override
    def upsert(self, page: Page) -> Mapping[PointId, str]:
        return upsert_halving(page, self._upsert)

    def _upsert(self, page: Page) -> None:
        engine = load_engine()
        try:
            points = [
                engine.Point(
                    page.ids[position].wire,
                    {name: _vector(found) for name, found in vectors_of(page, position).items()},
                    cast(dict[str, Any], decode_json(page.payloads[position])),
                )
                for position in range(len(page))
            ]
            self._shard.update(engine.UpdateOperation.upsert_points(points))
        except Exception as error:  # the engine raises plain Exceptions with a text
            if "IO Error" in str(error):
                raise LocalStorageError(
                    f"the engine cannot write {self._path}: {error}",
                    remedy="check the disk, then run the same command again: it resumes",
                ) from error
            raise PointsRefused(str(error)) from error


def _open_shard(path: Path) -> Any:
    try:
        return load_engine().EdgeShard.load(str(path))
    except Exception as error:
        if "WouldBlock" in str(error):
            raise RunLockedError(
                f"{path} is open in another process: the engine allows one at a time",
                remedy="close the program that uses this store, then run the same command again",
            ) from error
        raise PreconditionError(
            f"the engine cannot open or create {path}: {error}",
            remedy="see what the engine says; remove the folder if nothing in it is needed",
        ) from error


def _engine_settings(settings: CollectionSettings) -> Json:
    """The settings in the form of the engine's file, which ignores what it does not know."""
    given = cast(Mapping[str, Any], settings.creation)
    vectors = given["vectors"]
    unnamed = isinstance(vectors.get("size"), int)
    hnsw = HNSW_DEFAULTS | given.get("hnsw_config", {})
    found = {
        **given,
        "vectors": {
            name: {**params, "hnsw_config": hnsw | params["hnsw_config"]}
            if "hnsw_config" in params
            else params
            for name, params in ({"": vectors} if unnamed else vectors).items()
        },
        "sparse_vectors": {
            name: {**params, **params.get("index", {})}
            for name, params in given["sparse_vectors"].items()
        },
    }
    if "hnsw_config" in given:
        found["hnsw_config"] = hnsw
    if "optimizers_config" in given:
        found["optimizers"] = given["optimizers_config"]
    return found


def _vector(found: Received) -> Any:
    if isinstance(found, tuple):
        indices, values = found
        return load_engine().SparseVector(indices=indices.tolist(), values=values.tolist())
    return found if getattr(found, "ndim", 0) == 1 else cast(Any, found).tolist()
