"""Read a collection of the Python client's local mode, from a copy of its SQLite file."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from migrate.errors import PreconditionError, UnreadablePointError
from migrate.model.canonical import encode_canonical_json
from migrate.model.records import Collection, Page, PointId, VectorSpec
from migrate.qdrant import filters
from migrate.qdrant.collection import read_vector_specs
from migrate.qdrant.columns import PageBuilder, count_bytes
from migrate.qdrant.filters.point_filter import PointFilter
from migrate.qdrant.folder.copy import copied_folders, locked
from migrate.qdrant.folder.local_mode.layout import STORAGE, find_local_collection
from migrate.qdrant.folder.local_mode.rows import Rows
from migrate.qdrant.folder.local_mode.vectors import read_vector
from migrate.qdrant.page_reader import LEAVE_OUT
from migrate.qdrant.paging import PAYLOAD_BYTES_GUESS, PageSize, estimate_point_bytes

VALUE_BYTES = 4


class LocalModeSource:
    """`ports.PointSource` over a folder of `QdrantClient(path=...)`; locks it until `close`.

    Raises PreconditionError for a folder without the collection, RunLockedError when a client has
    it open. Points are decoded without unpickling (`pickled.py`).
    """

    def __init__(
        self,
        path: Path,
        *,
        collection: str,
        copies: Path | None,
        say: Callable[[str], None],
        point_filter: PointFilter | None = None,
    ) -> None:
        """`copies` is the folder for the copy; `say` reports a copy that takes a while.

        Only points that match `point_filter` are read; to find them, every payload is read once.
        """
        self._path = path
        self._name = collection
        self._filter = point_filter
        self._stored = find_local_collection(path, collection)
        try:
            self._vectors = read_vector_specs(self._stored.config)
        except ValueError as error:
            raise PreconditionError(
                f"{path} does not describe collection '{collection}': {error}",
                remedy="open the folder with the client that wrote it",
            ) from error
        if self._stored.config.get("sharding_method") == "custom":
            raise PreconditionError(
                f"collection '{collection}' of {path} uses custom sharding, and the client's local "
                "mode keeps no shard keys",
                remedy="copy its points with the client into a collection without custom sharding, "
                "and set source.collection to it",
            )
        self._specs = {spec.name: spec for spec in self._vectors}
        self._page_size = PageSize(
            point_bytes=estimate_point_bytes(self._vectors, value_bytes=VALUE_BYTES)
        )
        self._payload_page_size = PageSize(point_bytes=PAYLOAD_BYTES_GUESS)
        with ExitStack() as stack:
            if self._stored.lock is not None:
                stack.enter_context(locked(self._stored.lock, path))
            (copy,) = stack.enter_context(copied_folders([self._stored.folder], copies, say))
            self._rows = Rows(copy / STORAGE, self._stored.folder)
            stack.callback(self._rows.close)
            self._in_all = len(self._rows.ids)
            if point_filter is not None:
                matches = filters.matcher_for_local_mode(point_filter)
                self._rows.keep(
                    lambda point: matches(
                        point.id,
                        point.payload,
                        {name: stored is not None for name, stored in point.vectors.items()},
                    )
                )
            self._opened = stack.pop_all()

    def kind(self) -> str:
        """What the path was found to be, for people."""
        return f"a folder of the Python client's local mode, with collection '{self._stored.name}'"

    def identity(self) -> dict[str, str]:
        """The folder and the collection."""
        return {
            "path": str(self._path.resolve()),
            "collection": self._name,
            "transport": "local mode",
            **({} if self._filter is None else {"filter": self._filter.text}),
        }

    def urls(self) -> frozenset[str]:
        """None: there is no server."""
        return frozenset()

    def read_collection(self) -> Collection:
        """The collection's settings, in the shape of the REST API."""
        given = {name: value for name, value in self._stored.config.items() if value is not None}
        return Collection(
            name=self._name,
            vectors=self._vectors,
            config={"config": {"params": given}},
            server="qdrant-client, local mode",
        )

    def count_points(self) -> int:
        """The exact count of the points that match the filter."""
        return len(self._rows.ids)

    def count_left_out(self) -> int | None:
        """The exact count of the points that the filter leaves out; None without a filter."""
        return None if self._filter is None else self._in_all - len(self._rows.ids)

    def read_ids(self, start: PointId | None, *, limit: int) -> Sequence[PointId]:
        """At most `limit` ids >= `start`, ascending."""
        return self._rows.from_id(start, limit)

    def read_points(self, start: PointId | None, *, limit: int) -> Page:
        """At most `limit` whole points >= `start`, ascending."""
        return self._read(self._page_size, start, limit, self._vectors)

    def read_payloads(self, start: PointId | None, *, limit: int) -> Page:
        """At most `limit` points >= `start` without vectors, ascending."""
        return self._read(self._payload_page_size, start, limit, ())

    def close(self) -> None:
        """Give the folder back and remove the copy; harmless when repeated."""
        self._opened.close()

    def _read(
        self, size: PageSize, start: PointId | None, limit: int, vectors: Sequence[VectorSpec]
    ) -> Page:
        builder = PageBuilder(vectors)
        for point_id in self._rows.from_id(start, size.points(limit)):
            point = self._rows.read(point_id)
            payload, as_received, why = _payload(point.payload, point_id)
            found = {
                name: read_vector(stored, self._specs.get(name))
                for name, stored in point.vectors.items()
                if vectors and stored is not None
            }
            builder.add(point_id, payload, found, payload_as_received=as_received, payload_why=why)
        page = builder.build()
        size.learn(len(page), count_bytes(page))
        return page


def _payload(
    payload: Mapping[str, object], point_id: PointId
) -> tuple[bytes, str | None, str | None]:
    """The canonical payload; of one that is no JSON `{}`, its text, and the reason."""
    try:
        return encode_canonical_json(payload), None, None
    except ValueError as refusal:
        try:
            return b"{}", json.dumps(payload), str(refusal)
        except (TypeError, ValueError, RecursionError) as error:
            raise UnreadablePointError(
                f"point {point_id.text}: its payload is no JSON: {error}",
                remedy=f"write the point again with the client; or leave the point: {LEAVE_OUT}",
                point_id=point_id.text,
                point_id_type=point_id.id_type.value,
            ) from error
