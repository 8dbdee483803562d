"""Write a collection of a server, over REST.

Over REST and not gRPC, because gRPC has no integers beyond 2^63 - 1 in payloads: it makes floats of
them. The collection is read back over REST too.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial

import orjson
from typing_extensions import override

from migrate.errors import AccessError, PreconditionError
from migrate.model.records import (
    Collection,
    Page,
    PointId,
    ShardKey,
    decode_shard_key,
    name_shard_key,
)
from migrate.ports import Clock, PointSource
from migrate.qdrant.address import ServerAddress
from migrate.qdrant.columns import Received
from migrate.qdrant.rest.source import RestSource, RestTransport
from migrate.qdrant.retry import CollectionMissing, PageRefusal, RetryPolicy
from migrate.qdrant.sharding.keys import read_shard_keys
from migrate.qdrant.source import ServerOptions
from migrate.restore.settings import CollectionSettings
from migrate.restore.target import (
    CollectionTarget,
    CollectionWriter,
    PointsRefused,
    upsert_halving,
    vectors_of,
)


class ServerTarget(CollectionTarget, CollectionWriter):
    """One collection of a server, existing or not."""

    holds_shard_keys = True

    def __init__(
        self,
        url: str,
        *,
        collection: str,
        api_key: str | None,
        clock: Clock,
        options: ServerOptions | None = None,
    ) -> None:
        """Raises UsageError for a url or key that cannot be used."""
        self.name = collection
        self._options = options or ServerOptions()
        self._address = ServerAddress.parse(url)
        self._api_key = api_key
        self._clock = clock
        self._transport = RestTransport(
            self._address,
            collection=collection,
            api_key=api_key,
            clock=clock,
            options=self._options,
        )
        self._retry = RetryPolicy(
            clock=clock,
            attempts_max=self._options.attempts_max,
            jitter=self._options.jitter,
            say=self._options.say,
        )

    @override
    def identity(self) -> dict[str, str]:
        return {"url": self._transport.url, "collection": self.name}

    @override
    def read_collection(self) -> Collection | None:
        if not self._exists():
            return None
        with self.open_source() as source:
            return source.read_collection()

    @override
    def create(self, settings: CollectionSettings) -> None:
        self._write("PUT", "", settings.creation, unless=self._exists)
        if settings.update:
            self._write("PATCH", "", {"params": settings.update})

    @override
    def create_shard_keys(self, keys: Sequence[ShardKey]) -> None:
        for key in keys:
            request = {"shard_key": decode_shard_key(key)}
            try:
                self._write("PUT", "/shards", request, unless=partial(self._has_key, key))
            except PreconditionError as error:
                raise PreconditionError(
                    f"shard key {name_shard_key(key)} cannot be made: {error}",
                    remedy="see what the server says; a server makes shard keys only when it runs "
                    "as a cluster, also with one node",
                ) from error

    def _has_key(self, key: ShardKey) -> bool:
        """An attempt whose answer was lost may have made it."""
        return key in read_shard_keys(self.name, self._transport.fetch_cluster())

    @override
    @contextmanager
    def open_source(self) -> Iterator[PointSource]:
        with closing(
            RestSource(
                self._address,
                collection=self.name,
                api_key=self._api_key,
                clock=self._clock,
                options=self._options,
            )
        ) as source:
            yield source

    @override
    @contextmanager
    def open_writer(self) -> Iterator[CollectionWriter]:
        yield self

    @override
    def create_index(self, field: str, schema: object) -> None:
        self._write("PUT", "/index?wait=true", {"field_name": field, "field_schema": schema})

    @override
    def upsert(self, page: Page) -> Mapping[PointId, str]:
        return upsert_halving(page, self._upsert)

    def close(self) -> None:
        """Close the connections. Calling it again does nothing."""
        self._transport.close()

    def _upsert(self, page: Page) -> None:
        by_key: dict[ShardKey | None, list[dict[str, object]]] = {}
        for position, key in enumerate(page.shard_keys or [None] * len(page)):
            by_key.setdefault(key, []).append(_point(page, position))
        try:
            for key, points in by_key.items():
                selected = {} if key is None else {"shard_key": decode_shard_key(key)}
                self._write("PUT", "/points?wait=true", {"points": points, **selected})
        except (PreconditionError, PageRefusal) as error:
            if isinstance(error.__cause__, CollectionMissing):
                raise
            raise PointsRefused(str(error)) from error

    def _exists(self) -> bool:
        try:
            self._retry.call(self._transport.fetch_collection)
        except CollectionMissing:
            return False
        return True

    def _write(
        self,
        method: str,
        suffix: str,
        request: Mapping[str, object],
        *,
        unless: Callable[[], bool] = lambda: False,
    ) -> None:
        """Send a write until it is answered. `unless` is asked before each attempt."""
        send = partial(self._transport.send_write, method, suffix, request)
        try:
            self._retry.call(lambda: None if unless() else send())
        except AccessError as error:
            raise AccessError(
                str(error),
                remedy="set QDRANT_API_KEY to a key that may create this collection and write to "
                "it, for this command only",
            ) from error
        except CollectionMissing as error:
            raise PreconditionError(
                f"{error}: the collection was deleted meanwhile",
                remedy="run the same command again: it creates the collection and resumes",
            ) from error


def _point(page: Page, position: int) -> dict[str, object]:
    vectors = {name: _vector(found) for name, found in vectors_of(page, position).items()}
    return {
        "id": page.ids[position].wire,
        "vector": vectors[""] if list(vectors) == [""] else vectors,
        "payload": orjson.Fragment(page.payloads[position]),
    }


def _vector(found: Received) -> object:
    if isinstance(found, tuple):
        indices, values = found
        return {"indices": indices, "values": values}
    return found
