"""Compare a range of the source with what a snapshot holds of it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from migrate.model.digest import (
    DIGEST_BYTES,
    NO_PAYLOAD_DIGEST,
    digest_payloads,
    digest_points,
)
from migrate.model.irregular import is_unreadable
from migrate.model.pages import take_rows
from migrate.model.records import Page, PointId, ShardKey
from migrate.snapshot.chain.changes import Change, ChangeKind
from migrate.snapshot.manifest import PartRecord


@dataclass(frozen=True, slots=True)
class KnownRows:
    """What a snapshot holds of a range: ids and digests, in id order."""

    first_row: int
    ids: tuple[PointId, ...]
    digests: bytes  # DIGEST_BYTES each
    # As `digest_payloads`, DIGEST_BYTES each: a point is read whole only when its payload is
    # another. None: every point is read whole.
    payloads: bytes | None = None

    def digest(self, at: int) -> bytes:
        """The digest of one of them."""
        return self.digests[at * DIGEST_BYTES : (at + 1) * DIGEST_BYTES]

    def payload(self, at: int) -> bytes:
        """The digest of the payload of one of them."""
        assert self.payloads is not None
        return self.payloads[at * DIGEST_BYTES : (at + 1) * DIGEST_BYTES]


@dataclass(frozen=True, slots=True)
class UnreadVectors:
    """Consecutive points with the payload that is known, whose vectors were not read."""

    ids: tuple[PointId, ...]
    digests: list[bytes]  # the known ones, of the whole points
    payloads: list[bytes]  # digests
    shard_keys: tuple[ShardKey, ...] | None  # None: the collection has no custom sharding


@dataclass(frozen=True, slots=True)
class RangeChanges:
    """What has changed in a range, and the part with its added and changed points."""

    changes: list[Change]
    part: PartRecord | None  # None: no point was added or changed
    digests: bytes  # of every point of the range as it is now, in id order
    unreadable: list[str]  # ids of its points that the source did not give
    payloads: bytes | None = None  # digests of the payloads, when `KnownRows` has them
    read_whole: int = 0  # points of the range that were read with their vectors
    # Points of the range by shard key, as it is now; empty where points have none.
    by_key: Counter[ShardKey] = field(default_factory=Counter)


class RangeCompared:
    """Collects the differences while the pages of a range pass."""

    def __init__(self, known: KnownRows) -> None:
        self._known = known
        self._next = 0  # position in `known`
        self.changes: list[Change] = []
        self.differing: list[tuple[Page, list[bytes]]] = []  # added and changed points
        self.digests: list[bytes] = []
        self.unreadable: list[str] = []
        self.payloads: list[bytes] = []  # when `known` has them
        self.read_whole = 0
        self.by_key: Counter[ShardKey] = Counter()

    def compare(self, pages: Iterable[Page | UnreadVectors]) -> None:
        """Compare the pages of the whole range, which are in id order."""
        for page in pages:
            self.by_key.update(page.shard_keys or ())
            if isinstance(page, UnreadVectors):
                self.digests += page.digests
                self.payloads += page.payloads
                self._differing_positions(page.ids, page.digests)  # only what was deleted before
                continue
            digests = digest_points(page)
            self.digests += digests
            self.read_whole += len(page)
            if self._known.payloads is not None:
                self.payloads += digest_payloads(page)
            self.unreadable += [
                point_id.text
                for point_id, irregular in zip(page.ids, page.irregular, strict=True)
                if is_unreadable(irregular)
            ]
            self._keep(page, digests, self._differing_positions(page.ids, digests))
        self._delete_until(len(self._known.ids))

    def _differing_positions(self, ids: Sequence[PointId], digests: Sequence[bytes]) -> list[int]:
        known, found = self._known, []
        for position, (point_id, digest) in enumerate(zip(ids, digests, strict=True)):
            end = self._next
            while end < len(known.ids) and known.ids[end] < point_id:
                end += 1
            self._delete_until(end)
            row = known.first_row + end
            if end == len(known.ids) or known.ids[end] != point_id:
                self.changes.append(Change(point_id, ChangeKind.ADDED, row, None))
                found.append(position)
                continue
            former = known.digest(end)
            self._next = end + 1
            if former != digest:
                self.changes.append(Change(point_id, ChangeKind.CHANGED, row, former))
                found.append(position)
        return found

    def _delete_until(self, end: int) -> None:
        """Every known point from the next one to `end` is no longer there."""
        known = self._known
        for at in range(self._next, end):
            row = known.first_row + at
            self.changes.append(Change(known.ids[at], ChangeKind.DELETED, row, known.digest(at)))
        self._next = end

    def _keep(self, page: Page, digests: list[bytes], positions: list[int]) -> None:
        """Keep the points at these positions, those that follow one another together."""
        for _, together in groupby(enumerate(positions), lambda pair: pair[1] - pair[0]):
            run = [position for _, position in together]
            first, end = run[0], run[-1] + 1
            self.differing.append((take_rows(page, first, end), digests[first:end]))


# Points with an unchanged payload that are read whole where they lie between points that have to
# be. Over 10 Mbit/s with 50 ms between request and answer, a request takes as long as the vectors
# of about 4 points of 3,072 dimensions.
BRIDGED_POINTS = 4
ReadWhole = Callable[[PointId, PointId | None, int], Iterator[Page]]  # from, up to before, points


def read_where_changed(
    known: KnownRows, payloads: Iterable[Page], read_whole: ReadWhole
) -> Iterator[Page | UnreadVectors]:
    """The points of a range in id order, with vectors where a payload is not the known one.

    `payloads` are the pages of the range without vectors. New points and irregular ones are read
    whole too. The source may change between the two readings: from the first to the last id of a
    piece that is read whole, that reading holds.
    """
    positions = {point_id: at for at, point_id in enumerate(known.ids)}
    for page in payloads:
        digests = digest_payloads(page)
        found = [positions.get(point_id) for point_id in page.ids]
        changed = [
            at is None or digest == NO_PAYLOAD_DIGEST or known.payload(at) != digest
            for at, digest in zip(found, digests, strict=True)
        ]
        end = 0
        for first, after in _stretches(changed):
            if end < first:
                unread = take_rows(page, end, first)
                yield _unread(known, unread, found[end:first], digests[end:first])
            last = page.ids[after - 1]
            yield from read_whole(page.ids[first], last.successor(), after - first)
            end = after
        if end < len(page):
            unread = take_rows(page, end, len(page))
            yield _unread(known, unread, found[end:], digests[end:])


def _stretches(changed: Sequence[bool]) -> list[tuple[int, int]]:
    """First position, and the one after the last, of the pieces that are read whole."""
    found: list[tuple[int, int]] = []
    for position, is_changed in enumerate(changed):
        if not is_changed:
            continue
        if found and position - found[-1][1] <= BRIDGED_POINTS:
            found[-1] = (found[-1][0], position + 1)
        else:
            found.append((position, position + 1))
    return found


def _unread(
    known: KnownRows, page: Page, positions: Sequence[int | None], payloads: list[bytes]
) -> UnreadVectors:
    digests = [known.digest(at) for at in positions if at is not None]
    return UnreadVectors(page.ids, digests, payloads, page.shard_keys)
