"""Read one range of a collection: into its part, or again to find what has changed since.

A range is an independent unit of work (decision 0001): every process that reads it writes the same
bytes.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Literal, Protocol, TypeVar

from migrate.errors import PreconditionError
from migrate.model.digest import digest_points
from migrate.model.irregular import is_unreadable
from migrate.model.records import Page, PointId, ShardKey
from migrate.ports import PointSource
from migrate.snapshot.begun.part_writing import PartWriting, Points
from migrate.snapshot.begun.state import Range, part_rows
from migrate.snapshot.chain.range_changes import (
    KnownRows,
    RangeChanges,
    RangeCompared,
    read_where_changed,
)
from migrate.snapshot.counting import ID_PAGE_POINTS
from migrate.snapshot.folder import part_file
from migrate.snapshot.manifest import UNREADABLE_MAX, PartRecord
from migrate.snapshot.parts import read_digests
from migrate.snapshot.walk import walk_points
from migrate.workers.ordered import in_order, raise_if_cancelled

SecondReading = Literal["digest", "ids"]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences between a part and its range in the source."""

    differing: list[str]  # ids that were added, changed or deleted since the part was written
    digests: bytes  # of the part's rows in id order, DIGEST_BYTES each
    unreadable: list[str] = field(default_factory=list)  # ids of the part's marked rows
    # Rows of the part by shard key; empty where points have none.
    by_key: Counter[ShardKey] = field(default_factory=Counter)


class RangeReader(Protocol):
    """Reads one range at a time. Raises the errors of the source and of the disk."""

    def write(self, span: Range) -> PartRecord:
        """Read the range into its part, durably."""

    def compare(self, span: Range, part: PartRecord) -> Comparison:
        """Read the range and its part again; return the differences."""

    def differ(self, span: Range, known: KnownRows) -> RangeChanges:
        """Read the range, and write what differs from `known` into its part, durably."""

    def recheck(self, span: Range, known: KnownRows) -> list[str]:
        """Read the range again; return the ids of the points that differ from `known`."""

    def cancel(self) -> None:
        """Called by another thread: end the reading at once where that is possible."""


class PartReader:
    """A RangeReader in this process. Safe to use from several threads if the source is."""

    def __init__(
        self,
        source: PointSource,
        parts: PartWriting,
        *,
        page_points: int,
        second_reading: SecondReading,
        leave_unreadable: bool = False,
    ) -> None:
        """`parts` is where they go. An unreadable point raises, or is stored as its id."""
        self._source = source
        self._parts = parts
        self._folder = parts.folder
        self._vectors = parts.vectors
        self._page_points = page_points
        self._second_reading = second_reading
        self._left_with = parts.vectors if leave_unreadable else None

    def write(self, span: Range) -> PartRecord:
        """See RangeReader."""

        def pages() -> Points:
            left = 0
            for page in self._pages(span, part_rows(self._vectors)):
                left += sum(map(is_unreadable, page.irregular))
                check_unreadable(left)
                yield page, digest_points(page)

        return self._parts.write(span, pages)

    def compare(self, span: Range, part: PartRecord) -> Comparison:
        """See RangeReader."""
        written, unreadable, by_key = self._written_digests(part)
        if self._second_reading == "digest":
            found = self._found_digests(span, part)
        else:
            ids = list(self._found_ids(span, part))
            # In the usual case the ids are equal; the digests are those that were written.
            found = (
                written if ids == list(written) else {text: written.get(text, b"") for text in ids}
            )
        differing = [text for text, digest in found.items() if written.get(text) != digest]
        differing += [text for text in written if text not in found]
        return Comparison(differing, b"".join(written.values()), unreadable, by_key)

    def differ(self, span: Range, known: KnownRows) -> RangeChanges:
        """See RangeReader."""
        found = self._compare_range(span, known)
        part = None
        if found.differing:
            part = self._parts.write(span, lambda: iter(found.differing))
        return RangeChanges(
            found.changes,
            part,
            b"".join(found.digests),
            found.unreadable,
            None if known.payloads is None else b"".join(found.payloads),
            found.read_whole,
            found.by_key,
        )

    def recheck(self, span: Range, known: KnownRows) -> list[str]:
        """See RangeReader."""
        return [change.point_id.text for change in self._compare_range(span, known).changes]

    def _compare_range(self, span: Range, known: KnownRows) -> RangeCompared:
        found = RangeCompared(known)
        if known.payloads is None:
            found.compare(self._pages(span, len(known.ids)))
            return found

        def read_whole(start: PointId, stop: PointId | None, points: int) -> Iterator[Page]:
            # Not one point more than these: each costs its vectors.
            limit = min(points, self._page_points)
            return self._walk(Range(span.ordinal, start, stop), limit=limit)

        payloads = self._walk(
            span, limit=self._page_points, expected=len(known.ids), with_vectors=False
        )
        found.compare(read_where_changed(known, payloads, read_whole))
        return found

    def cancel(self) -> None:
        """See RangeReader: nothing to do, the threads check for cancellation themselves."""

    def _pages(self, span: Range, expected: int) -> Iterator[Page]:
        return self._walk(span, limit=self._page_points, expected=expected)

    def _walk(
        self, span: Range, *, limit: int, expected: int | None = None, with_vectors: bool = True
    ) -> Iterator[Page]:
        pages = walk_points(
            self._source,
            span.start,
            span.stop,
            limit=limit,
            expected=expected,
            leave_unreadable=self._left_with,
            with_vectors=with_vectors,
        )
        for page in pages:
            raise_if_cancelled()
            yield page

    def _found_digests(self, span: Range, part: PartRecord) -> dict[str, bytes]:
        """Id and digest of every point of a range."""
        return {
            point_id.text: digest
            for page in self._pages(span, part.rows)
            for point_id, digest in zip(page.ids, digest_points(page), strict=True)
        }

    def _found_ids(self, span: Range, part: PartRecord) -> Iterator[str]:
        """Every id of a range."""
        limit = min(ID_PAGE_POINTS, part.rows + 1)  # one more, to show that no id was added
        start = span.start
        while ids := self._source.read_ids(start, limit=limit):
            raise_if_cancelled()
            end = len(ids) if span.stop is None else bisect_left(ids, span.stop)
            yield from [point_id.text for point_id in ids[:end]]
            start = ids[-1].successor()
            if end < len(ids) or start is None:
                return

    def _written_digests(
        self, part: PartRecord
    ) -> tuple[dict[str, bytes], list[str], Counter[ShardKey]]:
        """Id and digest of every row of a part, the ids of the marked ones, rows by shard key.

        A few thousand rows, so a dict is fine.
        """
        file = part_file(self._folder, part)
        written: dict[str, bytes] = {}
        unreadable: list[str] = []
        by_key: Counter[ShardKey] = Counter()
        for rows in read_digests(file, part, self._vectors):
            written.update(zip(rows.ids, rows.digests, strict=True))
            unreadable += rows.unreadable
            by_key.update(rows.shard_keys)
        return written, unreadable, by_key


def check_unreadable(points: int) -> None:
    """Raises PreconditionError when more points are unreadable than a snapshot may leave out."""
    if points > UNREADABLE_MAX:
        raise PreconditionError(
            f"more than {UNREADABLE_MAX:,} points cannot be read from the source",
            remedy="this many unreadable points indicate a server fault: read the server's log and "
            "correct it, then run the same command again",
        )


class Readers:
    """The readers of one snapshot; each works on one range at a time."""

    def __init__(self, readers: Sequence[RangeReader]) -> None:
        """`readers` must not be empty."""
        self._readers = readers
        self._idle: SimpleQueue[RangeReader] = SimpleQueue()
        for reader in readers:
            self._idle.put(reader)

    def each(
        self, work: Callable[[RangeReader, Range], Result], spans: Iterable[Range]
    ) -> Generator[tuple[Range, Result], None, None]:
        """Apply the work to every range by the next free reader; results in order of the ranges."""

        def by_any(span: Range) -> Result:
            reader = self._idle.get()
            try:
                return work(reader, span)
            finally:
                self._idle.put(reader)

        # One range for each reader, and further ones for readers that finish out of order.
        count = len(self._readers)
        return in_order(by_any, spans, width=2 * count - 1, threads=count, on_stop=self._cancel)

    def _cancel(self) -> None:
        for reader in self._readers:
            reader.cancel()
