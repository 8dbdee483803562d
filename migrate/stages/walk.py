"""Walk a collection in id order by seeking, so that no server's cursor has to be believed.

The next start is the successor of the last id read; the end is an empty answer. A page that
came back short, or a null cursor, means nothing (contract/qdrant rule 1).
"""

from collections.abc import Iterator

from migrate.core.model import Page, PointId
from migrate.core.pages import take_before
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
) -> Iterator[Page]:
    """Every point with `start` <= id < `stop`, ascending, each once; None leaves an end open.

    `expected` is how many there should be: then the last page is not asked for more than shows
    that they are all, which saves half a page of reading. A wrong guess costs nothing else.
    """
    left = expected or 0
    while True:
        asked = min(limit, left + 1) if left else limit
        page = source.read_points(start, limit=asked)
        if not len(page):
            return
        left = max(0, left - len(page))
        wanted = take_before(page, stop)
        if len(wanted):
            yield wanted
        start = page.ids[-1].successor()
        if len(wanted) < len(page) or start is None or (stop is not None and start >= stop):
            return
