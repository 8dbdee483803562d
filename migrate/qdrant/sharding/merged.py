"""Read the points under all shard keys of a collection as one ascending row of ids.

A request that names no key gets one point of an id that is under two keys, and says nothing of the
other. So every key is read by itself, and the answers are merged by id. First the ids of all keys
are asked for; they say which points the page holds. Then each key is asked for just its points of
the page, so that no vector is read twice.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TypeVar

from migrate.errors import PreconditionError, UsageError
from migrate.model.pages import merge_pages, take_before
from migrate.model.records import (
    Page,
    PointId,
    ShardKey,
    ShardKeyCount,
    VectorSpec,
    name_shard_key,
)
from migrate.qdrant.paging import check_order
from migrate.qdrant.retry import PageRefusal, PointRefusal, RetryPolicy
from migrate.qdrant.transport import Transport
from migrate.words import counted

COLLISIONS_NAMED_MAX = 20
# Ids that a key is asked for, beside its share of a page: its ids are not spread evenly.
SPARE_SHARE = 1.25
SPARE_IDS = 8
MORE_MAX = 8  # further requests for the ids of one page

Answer = TypeVar("Answer")
Place = tuple[PointId, ShardKey]


class KeyedTransport:
    """The points under all shard keys; see `migrate.qdrant.transport.Transport`.

    Raises PreconditionError for an id that is under two keys, and for a key that is gone.
    """

    def __init__(
        self, whole: Transport, keys: Sequence[ShardKeyCount], retry: RetryPolicy, collection: str
    ) -> None:
        """`whole` reads the collection without a key. `keys` are all that it has."""
        self.kind = whole.kind
        self.url = whole.url
        self.urls = whole.urls
        self.value_bytes = whole.value_bytes
        self._whole = whole
        self._collection = collection
        self._retry = retry
        self._by_key = {one.key: whole.under_key(one.key) for one in keys}
        points = max(1, sum(one.points for one in keys))
        # How much of a page is a key's, as its last count says. Another share does no harm: the
        # page is then shorter.
        self._shares = {one.key: one.points / points for one in keys}

    def fetch_version(self) -> str | None:
        """See `Transport`."""
        return self._whole.fetch_version()

    def fetch_collection(self) -> dict[str, object]:
        """See `Transport`."""
        return self._whole.fetch_collection()

    def fetch_cluster(self) -> dict[str, object]:
        """See `Transport`."""
        return self._whole.fetch_cluster()

    def fetch_collection_names(self) -> list[str]:
        """See `Transport`."""
        return self._whole.fetch_collection_names()

    def fetch_count(self, *, whole: bool = False) -> int:
        """See `Transport`. Counts all shards, also those of a key that is not known yet."""
        return self._whole.fetch_count(whole=whole)

    def fetch_ids(self, start: PointId | None, limit: int) -> tuple[Sequence[PointId], int]:
        """See `Transport`."""
        places, size = self._fetch_places(start, limit)
        return [point_id for point_id, _ in places], size

    def fetch_points(
        self, start: PointId | None, limit: int, vectors: Sequence[VectorSpec]
    ) -> tuple[Page, int]:
        """See `Transport`."""
        while True:
            places, size = self._fetch_places(start, limit)
            if not places:
                key, transport = next(iter(self._by_key.items()), (None, self._whole))
                page, more = self._ask(key, partial(transport.fetch_points, start, 1, vectors))
                return take_before(page, PointId(0, 0)), size + more
            page, more = self._fetch_page(places, vectors)
            start = places[-1][0].successor()
            if len(page) or start is None:
                return page, size + more
            # Every point of this page was deleted since its id was read.

    def fetch_named(self, ids: Sequence[PointId], vectors: Sequence[VectorSpec]) -> Page:
        """See `Transport`."""
        found = [
            _keyed(self._ask(key, partial(transport.fetch_named, ids, vectors)), key)
            for key, transport in self._by_key.items()
        ]
        page = merge_pages(found)
        self._refuse_collisions(page.ids, page.shard_keys or ())
        return page

    def under_key(self, key: ShardKey) -> Transport:
        """See `Transport`."""
        return self._by_key[key]

    def key_of(self, point_id: PointId) -> ShardKey | None:
        """The shard key of a point; None when there is no such point."""
        places, _ = self._fetch_places(point_id, 1)
        return next((key for found, key in places if found == point_id), None)

    def close(self) -> None:
        """See `Transport`."""
        self._whole.close()

    def _fetch_places(self, start: PointId | None, limit: int) -> tuple[list[Place], int]:
        """At most `limit` ids >= `start` of all keys with the key of each, and the bytes."""
        found: dict[ShardKey, list[PointId]] = {}
        size = 0
        for key in self._by_key:
            asked = min(limit, int(limit * self._shares[key] * SPARE_SHARE) + SPARE_IDS)
            found[key], answer_bytes = self._fetch_ids_under(key, start, asked)
            size += answer_bytes
        ended = {key for key, ids in found.items() if not ids}
        for _ in range(MORE_MAX):
            places, last_key = _known_places(found, ended)
            if last_key is None or len(places) * 2 >= limit:
                break
            # The ids of this key lie together here: it holds more of the page than of the whole.
            after = found[last_key][-1].successor()
            more, answer_bytes = (
                ([], 0)
                if after is None
                else self._fetch_ids_under(last_key, after, limit - len(places))
            )
            size += answer_bytes
            found[last_key] += more
            ended |= set() if more else {last_key}
        places, _ = _known_places(found, ended)
        self._refuse_collisions([one for one, _ in places], [key for _, key in places])
        return places[:limit], size

    def _fetch_ids_under(
        self, key: ShardKey, start: PointId | None, asked: int
    ) -> tuple[list[PointId], int]:
        fetch = partial(self._by_key[key].fetch_ids, start, asked)
        ids, answer_bytes = self._patiently(key, fetch)
        check_order(ids, start, where=self.url)
        return list(ids), answer_bytes

    def _fetch_page(
        self, places: Sequence[Place], vectors: Sequence[VectorSpec]
    ) -> tuple[Page, int]:
        """The points at these places. Ends where an answer ends too early."""
        wanted: dict[ShardKey, list[PointId]] = {}
        for point_id, key in places:
            wanted.setdefault(key, []).append(point_id)
        pages: list[Page] = []
        size = 0
        last = places[-1][0]
        for key, ids in wanted.items():
            page, answer_bytes = self._fetch_under(key, ids, vectors, places)
            check_order(page.ids, ids[0], where=self.url)
            size += answer_bytes
            pages.append(_keyed(page, key))
            if len(page) and page.ids[-1] < ids[-1]:  # an empty answer is the end of the key
                last = min(last, page.ids[-1])
        whole = take_before(merge_pages(pages), last.successor())
        self._refuse_collisions(whole.ids, whole.shard_keys or ())
        return whole, size

    def _fetch_under(
        self,
        key: ShardKey,
        ids: Sequence[PointId],
        vectors: Sequence[VectorSpec],
        places: Sequence[Place],
    ) -> tuple[Page, int]:
        transport = self._by_key[key]
        try:
            return self._ask(key, partial(transport.fetch_points, ids[0], len(ids), vectors))
        except PointRefusal as refusal:
            at = min(refusal.position, len(ids) - 1)
            position = [point_id for point_id, _ in places].index(ids[at])
            raise PointRefusal(str(refusal), position=position, remedy=refusal.remedy) from refusal

    def _refuse_collisions(self, ids: Sequence[PointId], keys: Sequence[ShardKey]) -> None:
        """Raises PreconditionError for an id that is there twice; `ids` are ascending."""
        if len(set(ids)) == len(ids):
            return
        found = [
            (point_id, [key for _, key in group])
            for point_id, group in groupby(zip(ids, keys, strict=True), key=itemgetter(0))
        ]
        raise _collision(self._collection, {one: some for one, some in found if len(some) > 1})

    def _patiently(self, key: ShardKey, fetch: Callable[[], Answer]) -> Answer:
        """Send a small request until it is answered: a page takes many of them."""
        return self._ask(key, partial(self._retry.call, fetch))

    def _ask(self, key: ShardKey | None, fetch: Callable[[], Answer]) -> Answer:
        try:
            return fetch()
        except (PreconditionError, UsageError, PageRefusal) as refusal:
            said = str(refusal).lower()
            if key is None or "shard key" not in said or "not found" not in said:
                raise
            raise PreconditionError(
                f"shard key {name_shard_key(key)} of collection '{self._collection}' was removed "
                f"while it was read: {refusal}",
                remedy="stop the writers (RUNBOOK: freeze), then run the same command again",
            ) from refusal


def _known_places(
    found: Mapping[ShardKey, Sequence[PointId]], ended: Container[ShardKey]
) -> tuple[list[Place], ShardKey | None]:
    """The ids up to which the answers of all keys are known, and the key that ends them.

    `ended`: keys that have no further ids; None: all of them are.
    """
    lasts = [(ids[-1], key) for key, ids in found.items() if key not in ended]
    last, last_key = min(lasts, default=(None, None))
    places = sorted((point_id, key) for key, ids in found.items() for point_id in ids)
    if last is not None:
        places = [place for place in places if place[0] <= last]
    return places, last_key


def _keyed(page: Page, key: ShardKey) -> Page:
    return replace(page, shard_keys=(key,) * len(page))


def _collision(
    collection: str, collisions: Mapping[PointId, Sequence[ShardKey]]
) -> PreconditionError:
    named = [
        f"{point_id.text} (under {' and '.join(map(name_shard_key, keys))})"
        for point_id, keys in list(collisions.items())[:COLLISIONS_NAMED_MAX]
    ]
    more = len(collisions) - len(named)
    shown = ", ".join(named) + f" and {more} more" * bool(more)
    ids = "an id that is" if len(collisions) == 1 else f"{counted(len(collisions), 'id')} that are"
    return PreconditionError(
        f"collection '{collection}' has {ids} under several shard keys: {shown}. A snapshot holds "
        "one point of an id",
        remedy="delete the points that are too many; if all are needed, copy the points of each "
        "key into a collection of its own without custom sharding (docs/sources.md shows how), and "
        "move those collections",
    )
