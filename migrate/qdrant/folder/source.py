"""Read a collection from its folder, all shards, through the engine's own storage code.

The engine opens copies (`copy.py`), so the folder itself is only read.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from heapq import merge
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np

from migrate.errors import LocalStorageError, PreconditionError, UnreadablePointError
from migrate.model.canonical import decode_json, encode_canonical_json
from migrate.model.records import Collection, Page, PointId, ShardCount, VectorSpec
from migrate.qdrant.collection import Json, read_vector_specs
from migrate.qdrant.columns import Floats, Nonconforming, PageBuilder, Received, count_bytes
from migrate.qdrant.filters.point_filter import PointFilter
from migrate.qdrant.folder.copy import copied
from migrate.qdrant.folder.layout import EMBEDDED_CONFIG, StoredCollection, find_collection
from migrate.qdrant.folder.shard import EdgeShard, engine_version
from migrate.qdrant.page_reader import LEAVE_OUT
from migrate.qdrant.paging import (
    PAYLOAD_BYTES_GUESS,
    PageSize,
    check_order,
    estimate_point_bytes,
)
from migrate.storage.durable import local_io

VALUE_BYTES = 4
ID_LIMIT_MAX = 100_000  # ids of one answer; limits the memory


class EdgeSource:
    """`ports.PointSource` over a folder; holds the locks of its shards until `close`.

    The folder is an embedded store, or a server's folder of one collection, whose shards are read
    together. An embedded store does not hold a name, so `collection` is not checked.
    Raises PreconditionError for a folder that does not hold a whole collection, RunLockedError
    when another process has it open.
    """

    KIND = "a server's folder of a collection"

    def __init__(
        self,
        path: Path,
        *,
        collection: str,
        copies: Path | None = None,
        say: Callable[[str], None] = lambda _: None,
        point_filter: PointFilter | None = None,
    ) -> None:
        """`copies` is the folder for the copies; None: the system's temporary folder.

        `say` reports a copy that takes a while. Only points that match `point_filter` are read.
        """
        self._path = path
        self._name = collection
        self._filter = point_filter
        with ExitStack() as stack:
            self._stored, self._copies = stack.enter_context(self._at_hand(copies, say))
            self._shards: list[EdgeShard] = []
            for copy, original in zip(self._copies, self._stored.shards, strict=True):
                self._shards.append(EdgeShard(copy, original.path, point_filter))
                stack.callback(self._shards[-1].close)
            self._vectors = self.read_collection().vectors
            self._page_size = PageSize(
                point_bytes=estimate_point_bytes(self._vectors, value_bytes=VALUE_BYTES)
            )
            self._payload_page_size = PageSize(point_bytes=PAYLOAD_BYTES_GUESS)
            self._opened = stack.pop_all()

    @contextmanager
    def _at_hand(
        self, copies: Path | None, say: Callable[[str], None]
    ) -> Iterator[tuple[StoredCollection, Sequence[Path]]]:
        """The collection, and for each shard a folder that the engine may write to, in its order.

        The folders are removed at the end of the block.
        """
        stored = find_collection(self._path)
        with copied([shard.path for shard in stored.shards], copies, say) as folders:
            yield stored, folders

    def kind(self) -> str:
        """What the path was found to be, for people."""
        numbers = [shard.number for shard in self._stored.shards]
        if self._stored.config is None:
            return "an embedded store"
        shards = f"shard{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
        return f"{self.KIND}, with {shards}"

    def identity(self) -> dict[str, str]:
        """The folder, and the name that the operator gave the collection."""
        return {
            "path": str(self._path.resolve()),
            "collection": self._name,
            "transport": "embedded",
            **({} if self._filter is None else {"filter": self._filter.text}),
        }

    def urls(self) -> frozenset[str]:
        """None: there is no server."""
        return frozenset()

    def read_collection(self) -> Collection:
        """The collection's settings, in the shape of the REST API."""
        config = self._stored.config
        try:
            params = self._engine_settings() if config is None else cast(Json, config["params"])
            vectors = read_vector_specs(params)
        except (ValueError, AttributeError) as error:
            raise PreconditionError(
                f"{self._path} does not describe a collection: {error}",
                remedy="open the folder with the program and version that wrote it",
            ) from error
        shards = tuple(
            ShardCount(number=folder.number, points=shard.count())
            for folder, shard in zip(self._stored.shards, self._shards, strict=True)
            if folder.number is not None
        )
        return Collection(
            name=self._name,
            vectors=vectors,
            config={"config": {"params": params} if config is None else dict(config)},
            server=f"qdrant-edge {engine_version()}",
            is_name_kept=self._stored.name is not None,
            warnings=(*self._stored.warnings, *_warnings(self._name, self._stored, params)),
            shards=shards,
            suspects=("points that lie in several segments of one shard",),
        )

    def _engine_settings(self) -> Json:
        """The settings in the copy, the only description that an embedded store has."""
        settings_path = self._copies[0] / EMBEDDED_CONFIG
        with local_io("reading", settings_path):
            return cast(Json, decode_json(settings_path.read_bytes()))

    def count_points(self) -> int:
        """The exact count over all shards of the points that match the filter."""
        return sum(shard.count() for shard in self._shards)

    def count_left_out(self) -> int | None:
        """The exact count of the points that the filter leaves out; None without a filter."""
        if self._filter is None:
            return None
        return sum(shard.count(whole=True) for shard in self._shards) - self.count_points()

    def read_ids(self, start: PointId | None, *, limit: int) -> Sequence[PointId]:
        """At most `limit` ids >= `start`, ascending."""
        return [point_id for point_id, _ in self._merged_ids(start, min(limit, ID_LIMIT_MAX))]

    def read_points(self, start: PointId | None, *, limit: int) -> Page:
        """At most `limit` whole points >= `start`, ascending."""
        return self._read_points(self._page_size, start, limit, self._vectors)

    def read_payloads(self, start: PointId | None, *, limit: int) -> Page:
        """At most `limit` points >= `start` without vectors, ascending."""
        return self._read_points(self._payload_page_size, start, limit, ())

    def _read_points(
        self, size: PageSize, start: PointId | None, limit: int, vectors: Sequence[VectorSpec]
    ) -> Page:
        builder = PageBuilder(vectors)
        ids = []
        for point_id, record in self._readable(start, size.points(limit), vectors=bool(vectors)):
            ids.append(point_id)
            builder.add(
                point_id, encode_canonical_json(record.payload or {}), _read_vectors(record.vector)
            )
        check_order(ids, start, where=str(self._path))
        page = builder.build()
        size.learn(len(page), count_bytes(page))
        return page

    def _readable(
        self, start: PointId | None, limit: int, *, vectors: bool
    ) -> list[tuple[PointId, Any]]:
        """As `_records`; fewer records when a later one cannot be read.

        Raises UnreadablePointError if the first one cannot be read: the engine decodes a page as a
        whole, and one damaged payload fails it.
        """
        asked = limit
        while True:  # ends: one point is the last
            try:
                return self._records(start, asked, vectors=vectors)
            except LocalStorageError as error:
                if asked == 1:
                    return self._first_by_id(start, error, vectors=vectors)
                asked //= 2

    def _first_by_id(
        self, start: PointId | None, error: LocalStorageError, *, vectors: bool
    ) -> list[tuple[PointId, Any]]:
        """Read the first point from `start` on by its id: a page of one reads the next one too."""
        for point_id, position in self._merged_ids(start, 1):
            try:
                found = self._shards[position].retrieve(point_id, vectors=vectors)
            except LocalStorageError as alone:
                raise UnreadablePointError(
                    f"point {point_id.text}: {alone}",
                    remedy=f"restore the store from a copy; or leave the point: {LEAVE_OUT}",
                    point_id=point_id.text,
                    point_id_type=point_id.id_type.value,
                ) from alone
            return [(point_id, record) for record in found]
        raise error

    def close(self) -> None:
        """Give the shards back and remove their copies; harmless when repeated."""
        self._opened.close()

    def _merged_ids(self, start: PointId | None, limit: int) -> list[tuple[PointId, int]]:
        """The next ids over all shards with the position of their shard.

        Raises PreconditionError for an id that is in two shards.
        """
        listed = []
        for position, shard in enumerate(self._shards):
            ids = shard.ids(start, limit)
            check_order(ids, start, where=str(self._stored.shards[position].path))
            listed.append([(point_id, position) for point_id in ids])
        merged = list(merge(*listed))
        for (point_id, position), (following, other) in pairwise(merged[: limit + 1]):
            if point_id == following:
                raise self._in_two_shards(point_id, position, other)
        return merged[:limit]

    def _in_two_shards(self, point_id: PointId, first: int, second: int) -> PreconditionError:
        numbers = [self._stored.shards[position].number for position in (first, second)]
        return PreconditionError(
            f"point {point_id.text} is in shard {numbers[0]} and in shard {numbers[1]} of "
            f"{self._path}: nothing shows which of the two is current; the likely cause is a "
            "resharding that did not end",
            remedy="start the server on this folder and let it finish, then read it with "
            "source.url",
        )

    def _records(
        self, start: PointId | None, limit: int, *, vectors: bool
    ) -> list[tuple[PointId, Any]]:
        """The next records over all shards, in order.

        With several shards the ids are read first. Otherwise each shard would read a whole page of
        vectors, of which most would be discarded.
        """
        if len(self._shards) == 1:
            found = self._shards[0].records(start, limit, vectors=vectors)
        else:
            ids = self._merged_ids(start, limit)
            wanted = Counter(position for _, position in ids)
            found = [
                record
                for position, points in wanted.items()
                for record in self._shards[position].records(start, points, vectors=vectors)
            ]
        records = [(PointId.parse(record.id), record) for record in found]
        return sorted(records, key=lambda record: record[0]) if len(self._shards) > 1 else records


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
        return Nonconforming(vector)
    return values


def _warnings(name: str, stored: StoredCollection, params: Json) -> list[str]:
    warnings = []
    if stored.name is not None and stored.name != name:
        warnings.append(f"the store is that of collection '{stored.name}', not of '{name}'")
    optimizers = (
        params.get("optimizers") if stored.config is None else stored.config.get("optimizer_config")
    )
    if isinstance(optimizers, dict) and optimizers.get("prevent_unoptimized"):
        warnings.append("prevent_unoptimized is on: points written lately may be invisible")
    return warnings
