"""A `PointSource` over a Qdrant server: retries, page sizes and order, for both protocols."""

import random
from collections.abc import Callable, Sequence, Sized
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

from migrate.errors import (
    AccessError,
    PreconditionError,
    RemoteUnavailableError,
    UnreadablePointError,
)
from migrate.model.choices import Compression
from migrate.model.pages import take_rows
from migrate.model.records import (
    Collection,
    Page,
    PointId,
    ShardKey,
    ShardKeyCount,
    VectorSpec,
)
from migrate.ports import Clock
from migrate.qdrant.collection import check_description, read_collection
from migrate.qdrant.filters.point_filter import PointFilter
from migrate.qdrant.page_reader import PageReader
from migrate.qdrant.paging import (
    PAGE_BYTES,
    PAYLOAD_BYTES_GUESS,
    PageSize,
    check_order,
    estimate_point_bytes,
)
from migrate.qdrant.retry import (
    CollectionMissing,
    ForeignAnswer,
    PageRefusal,
    PassingFailure,
    RetryPolicy,
)
from migrate.qdrant.sharding.keys import read_shard_keys
from migrate.qdrant.sharding.merged import KeyedTransport
from migrate.qdrant.sharding.shards import Json, is_custom, unseen_cluster
from migrate.qdrant.transport import Transport
from migrate.transport.trust import ClientCertificate

ID_BYTES_GUESS = 64  # of one id in an answer without payload and vectors
NAMES_SHOWN_MAX = 20
# Reads without a consistency factor come from one replica; factors above 1 drop records that
# differ between replicas and so hide points.
CONSISTENCY = "one replica"

# Errors that mean "not permitted" or "not supported" for optional reads.
OPTIONAL_READ_ERRORS = (
    AccessError,
    PreconditionError,
    RemoteUnavailableError,
    CollectionMissing,
    PageRefusal,
)

Answer = TypeVar("Answer")
Content = TypeVar("Content", bound=Sized)


def _keep_quiet(_text: str) -> None:
    """Discard the message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How a server is read: limits of every request, and the function that reports waits."""

    connect_s: float = 10.0
    read_s: float = 70.0  # without a byte; the server's own time-out is 60 s and ends before it
    total_s: float = 120.0  # one request, from sending to the last byte
    body_bytes_max: int = 64 * 1024 * 1024  # of one answer
    page_bytes: int = PAGE_BYTES  # aimed at
    attempts_max: int = 7  # per request
    ca_file: Path | None = None  # PEM of authorities that are trusted besides the usual ones
    client: ClientCertificate | None = None  # that is shown to the server
    grpc_url: str | None = None  # where gRPC has another host, port or scheme
    # The compression that requests announce. A server compresses every answer if the client
    # accepts it, and then spends most of its time on floats, which hardly shrink.
    compression: Compression = "identity"
    filter: PointFilter | None = None  # only points that match are read; None: all
    say: Callable[[str], None] = _keep_quiet
    # Spreads retries; not used for security.
    jitter: random.Random = field(default_factory=random.Random)


class ServerSource:
    """Reads one collection of a server through a `Transport`; see `ports.PointSource`."""

    def __init__(
        self, transport: Transport, *, collection: str, clock: Clock, options: ServerOptions
    ) -> None:
        self._transport = transport
        self._name = collection
        self._options = options
        self._filter = options.filter
        self._retry = RetryPolicy(
            clock=clock,
            attempts_max=options.attempts_max,
            jitter=options.jitter,
            say=options.say,
        )
        self._keyed: KeyedTransport | None = None  # of a collection with custom sharding
        self._vectors: tuple[VectorSpec, ...] | None = None
        self._pages = PageReader(self._retry, self._first_id, where=transport.url)
        self._id_page = PageSize(point_bytes=ID_BYTES_GUESS, bytes_target=options.page_bytes)
        self._point_page: PageSize | None = None
        self._payload_page = PageSize(
            point_bytes=PAYLOAD_BYTES_GUESS, bytes_target=options.page_bytes
        )

    def identity(self) -> dict[str, str]:
        """Address and name of the collection, and how it is read."""
        return {
            "url": self._transport.url,
            "collection": self._name,
            "transport": self._transport.kind,
            "consistency": CONSISTENCY,
            **({} if self._filter is None else {"filter": self._filter.text}),
        }

    def urls(self) -> frozenset[str]:
        """The addresses of both protocols."""
        return self._transport.urls

    def read_collection(self) -> Collection:
        """The collection's description as it is now; with custom sharding each key is counted."""
        info = self._ask(self._fetch_description)
        version = self._ask_if_allowed(self._transport.fetch_version)
        cluster = self._ask_if_allowed(self._transport.fetch_cluster)
        collection = read_collection(self._name, info, version=version, cluster=cluster)
        params = cast(Json, cast(Json, info["config"])["params"])  # `read_collection` has seen them
        keys = self._count_keys(read_shard_keys(self._name, cluster)) if is_custom(params) else None
        self._keyed = (
            None if keys is None else KeyedTransport(self._transport, keys, self._retry, self._name)
        )
        self._vectors = collection.vectors
        unseen = unseen_cluster(params, cluster)
        return replace(collection, warnings=(*collection.warnings, *unseen), shard_keys=keys)

    def _count_keys(self, keys: Sequence[ShardKey]) -> tuple[ShardKeyCount, ...]:
        """The exact number of points under each key that match the filter."""
        return tuple(
            ShardKeyCount(key=key, points=self._ask(self._transport.under_key(key).fetch_count))
            for key in keys
        )

    def _reading(self) -> tuple[Transport, tuple[VectorSpec, ...]]:
        """Where points are read, and their vectors. Reads the description at first."""
        if self._vectors is None:
            self.read_collection()
        assert self._vectors is not None
        return self._keyed or self._transport, self._vectors

    def _fetch_description(self) -> dict[str, object]:
        """The description. One that cannot be read raises PassingFailure and is requested again."""
        info = self._transport.fetch_collection()
        try:
            check_description(info)
        except ValueError as error:
            raise PassingFailure(f"{self._transport.url}: {error}") from error
        return info

    def count_points(self) -> int:
        """The exact count of visible points that match the filter."""
        return self._ask(self._transport.fetch_count)

    def count_left_out(self) -> int | None:
        """The exact count of the points that the filter leaves out; None without a filter."""
        if self._filter is None:
            return None
        return self._ask(partial(self._transport.fetch_count, whole=True)) - self.count_points()

    def read_ids(self, start: PointId | None, *, limit: int) -> Sequence[PointId]:
        """At most `limit` ids >= `start`, ascending."""
        transport, _ = self._reading()
        ids = self._read_page(self._id_page, limit, start, partial(transport.fetch_ids, start))
        check_order(ids, start, where=self._transport.url)
        return ids[:limit]

    def read_points(self, start: PointId | None, *, limit: int) -> Page:
        """At most `limit` whole points >= `start`, ascending."""
        _, vectors = self._reading()
        if self._point_page is None:
            point_bytes = estimate_point_bytes(vectors, value_bytes=self._transport.value_bytes)
            self._point_page = PageSize(
                point_bytes=point_bytes, bytes_target=self._options.page_bytes
            )
        return self._read_points(self._point_page, start, limit, vectors)

    def read_payloads(self, start: PointId | None, *, limit: int) -> Page:
        """At most `limit` points >= `start` without vectors, ascending."""
        return self._read_points(self._payload_page, start, limit, ())

    def _read_points(
        self, size: PageSize, start: PointId | None, limit: int, vectors: Sequence[VectorSpec]
    ) -> Page:
        transport, _ = self._reading()
        try:
            page = self._read_page(
                size,
                limit,
                start,
                lambda asked: transport.fetch_points(start, asked, vectors),
                lambda point_id: transport.fetch_named([point_id], vectors),
            )
        except UnreadablePointError as error:
            page = self._read_under_key(error, vectors)
        check_order(page.ids, start, where=self._transport.url)
        return take_rows(page, 0, limit)

    def _read_under_key(self, error: UnreadablePointError, vectors: Sequence[VectorSpec]) -> Page:
        """As `read_otherwise`, with the shard key of the point if it has one."""
        if self._keyed is None:
            return self.read_otherwise(error, vectors)
        point_id = PointId.from_text(error.point_id, error.point_id_type)
        key = self._ask(partial(self._keyed.key_of, point_id))
        if key is None:  # it was deleted meanwhile
            raise error
        try:
            page = self.read_otherwise(error, vectors)
        except UnreadablePointError as unread:
            unread.shard_key = key
            raise
        return replace(page, shard_keys=(key,))

    def read_otherwise(self, error: UnreadablePointError, vectors: Sequence[VectorSpec]) -> Page:
        """Read a point over another protocol, without vectors if `vectors` is empty.

        This class has no other protocol and raises the error.
        """
        raise error

    def close(self) -> None:
        """Close the connections. Calling it again does nothing."""
        self._transport.close()

    def _read_page(
        self,
        size: PageSize,
        wish: int,
        start: PointId | None,
        fetch: Callable[[int], tuple[Content, int]],
        fetch_alone: Callable[[PointId], Content] | None = None,
    ) -> Content:
        try:
            return self._pages.read(size, wish, fetch, start, fetch_alone)
        except CollectionMissing as missing:
            raise self._missing() from missing

    def _first_id(self, start: PointId | None) -> PointId | None:
        """The first id from `start` on; None if there is none. Sends one small request."""
        transport, _ = self._reading()
        ids, _ = transport.fetch_ids(start, 1)
        return ids[0] if ids else None

    def _ask(self, fetch: Callable[[], Answer]) -> Answer:
        try:
            return self._retry.call(fetch)
        except CollectionMissing as missing:
            raise self._missing() from missing
        except PageRefusal as refusal:
            raise PreconditionError(
                str(refusal), remedy="see what the server says; the same request cannot succeed"
            ) from refusal

    def _ask_if_allowed(self, fetch: Callable[[], Answer]) -> Answer | None:
        """The answer to an optional request; None when it fails.

        The answer of a proxy is not retried here: a proxy that blocks a request always does.
        """
        with suppress(*OPTIONAL_READ_ERRORS):
            return self._retry.call(lambda: _unless_foreign(fetch))
        return None

    def _missing(self) -> PreconditionError:
        names: list[str] | None = None
        with suppress(*OPTIONAL_READ_ERRORS):
            names = sorted(self._retry.call(self._transport.fetch_collection_names))
        what = f"{self._transport.url} has no collection '{self._name}'"
        if names is not None:
            shown = ", ".join(f"'{name}'" for name in names[:NAMES_SHOWN_MAX]) or "none"
            more = f" and {len(names) - NAMES_SHOWN_MAX} more" * (len(names) > NAMES_SHOWN_MAX)
            what += f"; it has {shown}{more}"
        return PreconditionError(what, remedy="correct source.collection (QDRANT_COLLECTION)")


def _unless_foreign(fetch: Callable[[], Answer]) -> Answer | None:
    try:
        return fetch()
    except ForeignAnswer:
        return None
