"""Walk a collection in id order by seeking, without relying on the server's cursor.

Each page starts at the successor of the last id read; the end is an empty answer. A short page or a
null cursor does not end the walk (docs/services.md, Qdrant).
"""

from collections.abc import Iterator, Sequence

from migrate.errors import UnreadablePointError
from migrate.model.pages import take_before, unreadable_page
from migrate.model.records import Page, PointId, ShardKey, VectorSpec
from migrate.ports import PointSource


def walk_ids(source: PointSource, *, limit: int) -> Iterator[list[PointId]]:
    """Every id of the collection, ascending, each once."""
    start: PointId | None = None
    while ids := source.read_ids(start, limit=limit):
        yield list(ids)
        start = ids[-1].successor()
        if start is None:
            return


def walk_points(
    source: PointSource,
    start: PointId | None,
    stop: PointId | None,
    *,
    limit: int,
    expected: int | None = None,
    leave_unreadable: Sequence[VectorSpec] | None = None,
    with_vectors: bool = True,
) -> Iterator[Page]:
    """Every point with `start` <= id < `stop`, ascending, each once; a bound of None is open.

    `expected` is the likely number of points: the last page then requests only one point more,
    which saves half a page of reading. A wrong number does no other harm.

    A point that cannot be read ends the walk with its error, unless `leave_unreadable` has the
    collection's vectors: then it becomes a marked row with only its id.
    """
    read = source.read_points if with_vectors else source.read_payloads
    left = expected or 0
    while True:
        asked = min(limit, left + 1) if left else limit
        try:
            page = read(start, limit=asked)
        except UnreadablePointError as error:
            point_id = PointId.from_text(error.point_id, error.point_id_type)
            if stop is not None and point_id >= stop:
                return  # all points before it were read, and this one is of another range
            if leave_unreadable is None:
                raise
            key = None if error.shard_key is None else ShardKey(error.shard_key)
            page = unreadable_page(point_id, leave_unreadable, key)
        if not len(page):
            return
        left = max(0, left - len(page))
        wanted = take_before(page, stop)
        if len(wanted):
            yield wanted
        start = page.ids[-1].successor()
        if len(wanted) < len(page) or start is None or (stop is not None and start >= stop):
            return
