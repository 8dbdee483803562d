"""One collection in memory, behind both Qdrant test servers: points, rules, and a log.

It keeps the server's rules: order by id (integers, then UUIDs), `offset` inclusive and free to be
absent, a null cursor whenever a page came back short.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qdrant_client import models
from qdrant_client.local.payload_filters import check_filter

from migrate.model.records import PointId


@dataclass(frozen=True, slots=True)
class SparseValues:
    """A sparse vector as stored."""

    indices: Sequence[int]
    values: Sequence[float]


Dense = Sequence[float]
Multi = Sequence[Sequence[float]]
AnyVector = Dense | Multi | SparseValues


@dataclass(frozen=True, slots=True)
class StoredPoint:
    """A point as stored. `vectors` by name, "" for the unnamed one; {} for a point without any.

    Values are sent as float32; NaN and infinity go over REST as null, as a server does it.
    """

    id: int | str
    vectors: Mapping[str, AnyVector] = field(default_factory=dict)
    payload: Mapping[str, object] | None = None
    payload_text: str | None = None  # sent over REST as it is, in place of the payload
    shard_key: int | str | None = None  # in a collection with custom sharding

    @property
    def key(self) -> PointId:
        """The id in the server's order."""
        return PointId.parse(self.id)


Points = list[StoredPoint]


class NoShardKeyError(Exception):
    """A request names a shard key that the collection does not have."""

    def __init__(self, key: int | str) -> None:
        shown = f'"{key}"' if isinstance(key, str) else str(key)
        super().__init__(f"Shard key {shown} not found")


@dataclass(kw_only=True)
class StoredCollection:
    """A collection that a test server serves. Fields may be changed while it is served.

    `vectors` and `sparse_vectors` are the REST API's own params, for example
    `{"size": 4, "distance": "Dot"}` or `{"a": {...}, "b": {...}}`.
    """

    name: str = "chunks"
    points: Points = field(default_factory=list)
    vectors: dict[str, object] = field(default_factory=dict)
    sparse_vectors: dict[str, object] = field(default_factory=dict)
    info: dict[str, object] = field(default_factory=dict)  # merged into the description
    params: dict[str, object] = field(default_factory=dict)  # merged into config.params
    cluster: dict[str, object] | None = None  # None: not visible
    # Whether requests to create the collection and to write points are taken; see qdrant_writes.py.
    is_writable: bool = False
    is_missing: bool = False  # until it is created
    # Called on every point that is written: whether the server really stores it.
    is_stored: Callable[[StoredPoint], bool] = lambda point: True
    other_names: Sequence[str] = ()  # further collections the server lists
    max_query_limit: int | None = None  # strict mode: a larger limit is refused
    filter_refusal: str | None = None  # what the server says to every filter; None: it takes them
    # Called before every page is listed; may change `points`, as concurrent writers do.
    before_page: Callable[["StoredCollection"], None] | None = None
    # Called on every page about to leave; may drop, repeat or swap points.
    bend_page: Callable[[Points], Points] | None = None
    # Whether a page of whole points cannot be sent; the servers say how they then fail.
    breaks: Callable[[Points], bool] = lambda page: False
    # Asked at every request for points: whether the server is down for it, and fails it.
    is_away: Callable[[], bool] = lambda: False
    refused: int = 0  # requests for points while it was down
    requests: list[str] = field(default_factory=list)  # "POST /path" or "/qdrant.Points/Scroll"
    limits: list[int] = field(default_factory=list)  # of every scroll, refused ones included
    writes: list[str] = field(default_factory=list)  # requests that would have changed something

    def scroll(self, offset: PointId | None, limit: int) -> tuple[Points, PointId | None]:
        """One page and the cursor a server would name."""
        page, cursor, _ = self.scroll_looking_on(offset, limit)
        return page, cursor

    def retrieve(
        self, ids: Sequence[PointId], shard_keys: Sequence[int | str] | None = None
    ) -> Points:
        """The points of these ids that there are."""
        found = {point.key: point for point in self.under(shard_keys)}
        return [found[point_id] for point_id in ids if point_id in found]

    @property
    def is_custom(self) -> bool:
        """Whether the collection has custom sharding."""
        info: Any = self.describe()["config"]
        return bool(info["params"].get("sharding_method") == "custom")

    @property
    def shard_keys(self) -> list[int | str]:
        """All shard keys, as the cluster has them."""
        cluster: dict[str, Any] = self.cluster or {}
        shards = [*cluster.get("local_shards", ()), *cluster.get("remote_shards", ())]
        return [shard["shard_key"] for shard in shards if "shard_key" in shard]

    def under(self, shard_keys: Sequence[int | str] | None) -> Points:
        """The points under these keys, every id once, as a server picks one; None: under all."""
        return list({point.key: point for point in self._all_under(shard_keys)}.values())

    def _all_under(self, shard_keys: Sequence[int | str] | None) -> Points:
        if shard_keys is None:
            return self.points
        for key in shard_keys:
            if key not in self.shard_keys:
                raise NoShardKeyError(key)
        return [point for point in self.points if point.shard_key in shard_keys]

    def scroll_looking_on(
        self,
        offset: PointId | None,
        limit: int,
        wanted: Mapping[str, Any] | None = None,
        shard_keys: Sequence[int | str] | None = None,
    ) -> tuple[Points, PointId | None, Points]:
        """Also what the server looked at: one point more, to name the cursor, and it is whole.

        `wanted` is a filter of the REST API. Without `shard_keys` all keys are read, and of an id
        that is under several of them one point.
        """
        if self.before_page is not None:
            self.before_page(self)
        held = matching(self.under(shard_keys), wanted)
        ordered = sorted(held, key=lambda point: point.key)
        keys = [point.key for point in ordered]
        first = 0 if offset is None else bisect_left(keys, offset)
        found = ordered[first : first + limit + 1]
        page, cursor = found[:limit], found[limit].key if len(found) > limit else None
        if self.bend_page is not None:
            page = self.bend_page(page)
            cursor = None if len(page) < limit else cursor
        return page, cursor, found

    def refuses(self, limit: int) -> str | None:
        """Strict mode's complaint about a page of `limit` points; None when it is allowed."""
        self.limits.append(limit)
        if self.max_query_limit is None or limit <= self.max_query_limit:
            return None
        return f'Limit exceeded {limit} > {self.max_query_limit} for "limit"'

    def count(
        self, wanted: Mapping[str, Any] | None, shard_keys: Sequence[int | str] | None = None
    ) -> int:
        """How many points a filter finds; all without one. An id under two keys counts twice."""
        return len(matching(self._all_under(shard_keys), wanted))

    def describe(self) -> dict[str, object]:
        """The `result` of `GET /collections/{name}`."""
        params: dict[str, object] = {"vectors": self.vectors, "shard_number": 1}
        if self.sparse_vectors:
            params["sparse_vectors"] = self.sparse_vectors
        description: dict[str, object] = {
            "status": "green",
            "optimizer_status": "ok",
            "points_count": len(self.points),
            "segments_count": 1,
            "config": {"params": params | self.params, "optimizer_config": {}},
            "payload_schema": {},
        }
        return description | self.info

    def whole_limits(self) -> list[int]:
        """The limits of the pages that were asked for, without the small questions between."""
        return [limit for limit in self.limits if limit > 1]

    @property
    def names(self) -> list[str]:
        """All collections the server lists."""
        return [*([] if self.is_missing else [self.name]), *self.other_names]

    def served_names(self, method: str) -> list[str]:
        """The collection's name; while it is missing, only for the request that creates it."""
        return [self.name] if not self.is_missing or method == "PUT" else []


def make_keyed(collection: StoredCollection, *keys: int | str) -> None:
    """Give the collection custom sharding with these keys, a shard for each."""
    collection.params["sharding_method"] = "custom"
    collection.cluster = {
        "local_shards": [
            {"shard_id": number, "state": "Active", "shard_key": key}
            for number, key in enumerate(keys, 1)
        ],
        "remote_shards": [],
    }


def matching(points: Points, wanted: Mapping[str, Any] | None) -> Points:
    """The points that a filter finds, as the client's local mode evaluates filters."""
    if not wanted:
        return points
    filter_ = models.Filter.model_validate(wanted)
    return [point for point in points if _matches(point, filter_)]


def _matches(point: StoredPoint, wanted: models.Filter) -> bool:
    payload, point_id = dict(point.payload or {}), point.key.wire
    return check_filter(wanted, payload, point_id, dict.fromkeys(point.vectors, True))


def larger_than(points: int) -> Callable[[Points], bool]:
    """Pages of more points break."""
    return lambda page: len(page) > points


def holding(*ids: int | str) -> Callable[[Points], bool]:
    """Pages with one of these points break."""
    return lambda page: any(point.id in ids for point in page)
