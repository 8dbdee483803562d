"""Walk a collection in id order by seeking, so that no server's cursor has to be believed.

The next start is the successor of the last id read; the end is an empty answer. A page that
came back short, or a null cursor, means nothing (docs/services.md, Qdrant).
"""

from collections.abc import Iterator, Sequence

from migrate.errors import UnreadablePointError
from migrate.model.pages import take_before, unreadable_page
from migrate.model.records import Page, PointId, VectorSpec
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
) -> Iterator[Page]:
    """Every point with `start` <= id < `stop`, ascending, each once; None leaves an end open.

    `expected` is how many there should be: then the last page is not asked for more than shows
    that they are all, which saves half a page of reading. A wrong guess costs nothing else.

    A point that the source cannot give ends the walk with its error, unless `leave_unreadable`
    names the collection's vectors: then it is a row of its own, marked, with nothing but its id.
    """
    left = expected or 0
    while True:
        asked = min(limit, left + 1) if left else limit
        try:
            page = source.read_points(start, limit=asked)
        except UnreadablePointError as error:
            point_id = PointId.from_text(error.point_id, error.point_id_type)
            if stop is not None and point_id >= stop:
                return  # all before it was read, and it belongs to another range
            if leave_unreadable is None:
                raise
            page = unreadable_page(point_id, leave_unreadable)
        if not len(page):
            return
        left = max(0, left - len(page))
        wanted = take_before(page, stop)
        if len(wanted):
            yield wanted
        start = page.ids[-1].successor()
        if len(wanted) < len(page) or start is None or (stop is not None and start >= stop):
            return
