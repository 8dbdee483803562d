"""Choose the number of points of a page, and check the order of its ids."""

from collections.abc import Sequence

from migrate.errors import ArtefactDamagedError
from migrate.model.records import PointId, VectorKind, VectorSpec

# Of one answer: 300 points of 3,072 values. Twice as much is not faster over a local link and needs
# 15 MB more for each reader.
PAGE_BYTES = 4_000_000
HELD_ANSWERS_MAX = 1_024  # before a size that failed is tried again
PAYLOAD_BYTES_GUESS = 1_000  # per point, until the first page is measured
SPARSE_BYTES_GUESS = 2_000
MULTI_ROWS_GUESS = 32


class PageSize:
    """The number of points that makes a page of about `bytes_target` bytes.

    It follows the sizes of the answers, shrinks when the server refuses or fails, and stays below
    a refused size. It is never below 1.
    """

    def __init__(self, *, point_bytes: int, bytes_target: int = PAGE_BYTES) -> None:
        self._bytes_target = bytes_target
        self._points = max(1, bytes_target // point_bytes)
        self._points_max: int | None = None  # half of what was refused for its size
        self._before: int | None = None  # the size before failures that shrank it
        self._doubling = False  # the failures came from one point: grow back to `_before`
        self._answered = True  # since the last failure
        self._held = 0  # answers until the size may grow
        self._hold = 0  # how many the next failure costs

    @property
    def shrunk(self) -> bool:
        """Whether pages are smaller than they were, because larger ones failed."""
        return self._before is not None

    def points(self, wish: int) -> int:
        """How many points to request when the caller wants `wish`."""
        return max(1, min(wish, self._points))

    def learn(self, points: int, answer_bytes: int) -> None:
        """An answer of `points` points had `answer_bytes` bytes."""
        if not points:
            return
        fitting = max(1, self._bytes_target * points // max(1, answer_bytes))
        ceiling = fitting if self._points_max is None else min(fitting, self._points_max)
        self._points = min(ceiling, self._grown())

    def _grown(self) -> int:
        self._answered = True
        if self._before is not None and self._points >= self._before:
            self._before, self._doubling = None, False
        if self._before is not None and self._doubling:
            return min(self._before, 2 * self._points)
        if self._held:
            self._held -= 1
            return self._points
        return self._points + max(1, self._points // 8)

    def halve(self, asked: int) -> None:
        """Halve the size after `asked` points failed; it grows again later.

        Each time, twice as many answers are needed before the size grows. A server that fails
        beyond some size therefore gets few requests that are too large.
        """
        if self._answered:
            self._held, self._hold = self._hold, min(HELD_ANSWERS_MAX, max(4, 2 * self._hold))
        if self._before is None:
            self._before = self._points
        self._answered = False
        self._points = max(1, asked // 2)

    def blame_point(self) -> None:
        """Note that one point caused the failures, not the size. Grow back from 1 by doubling.

        It starts at 1, because the next point may be unreadable as well and is then found at once.
        """
        self._held = self._hold = 0
        if self._before is None:
            self._before = self._points
        self._points, self._doubling = 1, True

    def refuse(self, asked: int) -> None:
        """Note that the server never answers `asked` points; stay at half of it or below."""
        self._points = self._points_max = max(1, asked // 2)


def estimate_point_bytes(vectors: Sequence[VectorSpec], *, value_bytes: int) -> int:
    """Bytes of one point in an answer that spends `value_bytes` on one float."""
    total = PAYLOAD_BYTES_GUESS
    for spec in vectors:
        if spec.kind is VectorKind.SPARSE or spec.dimensions is None:
            total += SPARSE_BYTES_GUESS
        else:
            rows = MULTI_ROWS_GUESS if spec.kind is VectorKind.MULTI else 1
            total += rows * spec.dimensions * value_bytes
    return total


def check_order(ids: Sequence[PointId], start: PointId | None, *, where: str) -> None:
    """Raise ArtefactDamagedError unless the ids rise strictly and none is below `start`.

    All later steps rely on this order: they would count a repeated id twice and skip a swapped one.
    """
    before = None
    for point_id in ids:
        if before is None:
            if start is not None and point_id < start:
                raise _disorder(where, f"point {point_id.text}, asked to start at {start.text}")
        elif point_id <= before:
            raise _disorder(where, f"point {point_id.text} after point {before.text}")
        before = point_id


def _disorder(where: str, what: str) -> ArtefactDamagedError:
    return ArtefactDamagedError(
        f"{where} answered out of order: {what}",
        remedy="do not trust this server's pages: check its version and cluster state "
        "(`GET /collections/<name>/cluster`), and any proxy between; nothing was sealed",
    )
