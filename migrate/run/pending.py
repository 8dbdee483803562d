"""Which rows of a round are still to be sent, and what refusals have taught about sizes.

A round starts with all rows pending. Each worker cuts its batches from the front of a range of its
own. A batch that was refused comes back as its two halves, which are sent whole: only so can a
batch as large as before be taken once its one bad line has been found.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

ROWS_END = 2**63 - 1  # of a round's rows: how many there are stands in the plan


@dataclass(frozen=True, slots=True)
class RowRange:
    """Rows `first` .. `end` - 1; `whole` ones are half of a refused batch and go as one batch."""

    first: int
    end: int
    whole: bool = False


@dataclass(slots=True)
class PendingRows:
    """The rows of one round without an intent, as ranges in ascending order, none overlapping."""

    ranges: list[RowRange] = field(default_factory=lambda: [RowRange(0, ROWS_END)])

    def take(self, start: int, end: int) -> None:
        """The rows `start` .. `end` - 1 were looked through: what is to be sent has its intent.

        Raises ValueError when they are not pending as one range: some were sent before, or
        belong to two halves.
        """
        found = [one for one in self.ranges if one.first <= start < end <= one.end]
        if not found:
            raise ValueError(f"rows {start} to {end - 1} are not pending as one range")
        (cut,) = found  # they do not overlap
        left = [] if cut.whole else [RowRange(cut.first, start), RowRange(end, cut.end)]
        at = self.ranges.index(cut)
        self.ranges[at : at + 1] = [one for one in left if one.first < one.end]

    def put_back(self, first: int, middle: int, end: int) -> None:
        """A batch was refused: both halves are pending again."""
        if not first < middle < end:
            raise ValueError(f"row {middle} does not part rows {first} to {end - 1}")
        self.ranges += [RowRange(first, middle, whole=True), RowRange(middle, end, whole=True)]
        self.ranges.sort(key=lambda one: one.first)

    def put_back_whole(self, first: int, end: int) -> None:
        """These rows were refused, and are to be sent again as the one upload that they were."""
        self.ranges.append(RowRange(first, end, whole=True))
        self.ranges.sort(key=lambda one: one.first)


def share_out(
    ranges: Sequence[RowRange], *, rows: int, workers: int, starts: Sequence[int]
) -> list[list[RowRange]]:
    """The pending ranges among workers, in row order, each about as many of the first `rows` rows.

    A range is cut only at one of `starts` (the first rows of a snapshot's row groups), so that no
    two workers decode the same rows. Halves of a refused batch stay whole.
    Workers left without rows have an empty list, or none.
    """
    shares: list[list[RowRange]] = [[]]
    total = sum(max(0, min(one.end, rows) - one.first) for one in ranges)
    given = 0
    for one in ranges:
        waiting = RowRange(one.first, min(one.end, rows), whole=one.whole)
        while waiting.first < waiting.end:
            wanted = -(-total * len(shares) // workers) - given  # what the share at hand lacks
            cut = waiting.end
            if len(shares) < workers and not one.whole:
                cut = _nearest(starts, waiting.first + wanted, waiting)
            shares[-1].append(RowRange(waiting.first, cut, whole=one.whole))
            given += cut - waiting.first
            full = cut < waiting.end or given * workers >= total * len(shares)
            waiting = RowRange(cut, waiting.end, whole=one.whole)
            if full and len(shares) < workers:
                shares.append([])
    return shares


def _nearest(starts: Sequence[int], row: int, within: RowRange) -> int:
    """The start that is nearest to a row, or the range's end if no start lies inside."""
    inside = [start for start in starts if within.first < start < within.end]
    return min([*inside, within.end], key=lambda start: abs(start - row))


@dataclass(slots=True)
class UploadSizes:
    """What answers of a run have taught about the size of an upload that the service takes."""

    taken_max: int = 0  # bytes of the largest upload that was taken
    too_large_min: int | None = None  # bytes of the smallest that got a 413; of several vectors

    def note_taken(self, body_bytes: int) -> None:
        """An upload of this size was acknowledged."""
        self.taken_max = max(self.taken_max, body_bytes)

    def note_refused(self, body_bytes: int, count: int, *, too_large: bool) -> None:
        """An upload was refused; one vector that is too large says nothing about the limit."""
        if too_large and count > 1:
            self.too_large_min = min(self.too_large_min or body_bytes, body_bytes)

    @property
    def wanted(self) -> int | None:
        """How large further uploads should be; None: as large as the plan allows.

        Half of what was too large, or the largest that was taken if that is more: a 413 that had
        another cause then costs no more than some smaller uploads.
        """
        if self.too_large_min is None:
            return None
        return max(self.taken_max, self.too_large_min // 2)
