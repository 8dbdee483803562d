"""Compare a range of the source with what a snapshot holds of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from migrate.model.digest import DIGEST_BYTES, digest_points
from migrate.model.irregular import is_unreadable
from migrate.model.pages import take_rows
from migrate.model.records import Page, PointId
from migrate.snapshot.chain.changes import Change, ChangeKind
from migrate.snapshot.manifest import PartRecord


@dataclass(frozen=True, slots=True)
class KnownRows:
    """What a snapshot holds of a range: ids and digests, in id order."""

    first_row: int
    ids: tuple[PointId, ...]
    digests: bytes  # DIGEST_BYTES each

    def digest(self, at: int) -> bytes:
        """The digest of one of them."""
        return self.digests[at * DIGEST_BYTES : (at + 1) * DIGEST_BYTES]


@dataclass(frozen=True, slots=True)
class RangeChanges:
    """What has changed in a range, and the part with its added and changed points."""

    changes: list[Change]
    part: PartRecord | None  # None: no point was added or changed
    digests: bytes  # of every point of the range as it is now, in id order
    unreadable: list[str]  # ids of its points that the source did not give


class RangeCompared:
    """Collects the differences while the pages of a range pass."""

    def __init__(self, known: KnownRows) -> None:
        self._known = known
        self._next = 0  # position in `known`
        self.changes: list[Change] = []
        self.differing: list[tuple[Page, list[bytes]]] = []  # added and changed points
        self.digests: list[bytes] = []
        self.unreadable: list[str] = []

    def compare(self, pages: Iterable[Page]) -> None:
        """Compare the pages of the whole range, which are in id order."""
        for page in pages:
            digests = digest_points(page)
            self.digests += digests
            self.unreadable += [
                point_id.text
                for point_id, irregular in zip(page.ids, page.irregular, strict=True)
                if is_unreadable(irregular)
            ]
            self._keep(page, digests, self._differing_positions(page, digests))
        self._delete_until(len(self._known.ids))

    def _differing_positions(self, page: Page, digests: list[bytes]) -> list[int]:
        known, found = self._known, []
        for position, (point_id, digest) in enumerate(zip(page.ids, digests, strict=True)):
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
