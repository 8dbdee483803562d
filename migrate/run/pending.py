"""The rows of a round that are still to be sent, and the upload size that the target takes.

A round starts with all rows pending. Each worker cuts batches from the front of its own range. A
refused batch is put back as two halves. Each half is sent as one batch, whatever upload size the
refusals suggest, because the cause may have been one bad line and not the size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

ROWS_END = 2**63 - 1  # above every row number; the plan has the number of rows


@dataclass(frozen=True, slots=True)
class RowRange:
    """Rows `first` .. `end` - 1; a `whole` range is half of a refused batch, sent as one batch."""

    first: int
    end: int
    whole: bool = False


@dataclass(slots=True)
class PendingRows:
    """The rows of one round without an intent, as ascending ranges that do not overlap."""

    ranges: list[RowRange] = field(default_factory=lambda: [RowRange(0, ROWS_END)])

    def take(self, start: int, end: int) -> None:
        """Remove the rows `start` .. `end` - 1: those of them that are sent have an intent now.

        Raises ValueError when they are not pending as one range: some were sent before, or
        belong to two halves.
        """
        found = [rows for rows in self.ranges if rows.first <= start < end <= rows.end]
        if not found:
            raise ValueError(f"rows {start} to {end - 1} are not pending as one range")
        (cut,) = found  # they do not overlap
        left = [] if cut.whole else [RowRange(cut.first, start), RowRange(end, cut.end)]
        at = self.ranges.index(cut)
        self.ranges[at : at + 1] = [rows for rows in left if rows.first < rows.end]

    def put_back(self, first: int, middle: int, end: int) -> None:
        """Put back both halves of a refused batch."""
        if not first < middle < end:
            raise ValueError(f"row {middle} does not split rows {first} to {end - 1}")
        self.ranges += [RowRange(first, middle, whole=True), RowRange(middle, end, whole=True)]
        self.ranges.sort(key=lambda rows: rows.first)

    def put_back_whole(self, first: int, end: int) -> None:
        """Put back refused rows that are sent again as the same single upload."""
        self.ranges.append(RowRange(first, end, whole=True))
        self.ranges.sort(key=lambda rows: rows.first)


def share_out(
    ranges: Sequence[RowRange], *, rows: int, workers: int, starts: Sequence[int]
) -> list[list[RowRange]]:
    """Share the pending ranges of the first `rows` rows out evenly to workers, in row order.

    A range is cut only at one of `starts` (the first rows of a snapshot's row groups), so that no
    two workers decode the same rows. Halves of a refused batch stay whole.
    The result may have fewer lists than workers, and lists may be empty.
    """
    shares: list[list[RowRange]] = [[]]
    total = sum(max(0, min(pending.end, rows) - pending.first) for pending in ranges)
    given = 0
    for pending in ranges:
        waiting = RowRange(pending.first, min(pending.end, rows), whole=pending.whole)
        while waiting.first < waiting.end:
            wanted = -(-total * len(shares) // workers) - given  # rows the current share lacks
            cut = waiting.end
            if len(shares) < workers and not pending.whole:
                cut = _nearest(starts, waiting.first + wanted, waiting)
            shares[-1].append(RowRange(waiting.first, cut, whole=pending.whole))
            given += cut - waiting.first
            full = cut < waiting.end or given * workers >= total * len(shares)
            waiting = RowRange(cut, waiting.end, whole=pending.whole)
            if full and len(shares) < workers:
                shares.append([])
    return shares


def _nearest(starts: Sequence[int], row: int, within: RowRange) -> int:
    """The start that is nearest to a row, or the range's end if no start lies inside."""
    inside = [start for start in starts if within.first < start < within.end]
    return min([*inside, within.end], key=lambda start: abs(start - row))


@dataclass(slots=True)
class UploadSizes:
    """The size of an upload that the service takes, learned from the answers of a run."""

    taken_max: int = 0  # bytes of the largest upload that was taken
    too_large_min: int | None = None  # bytes of the smallest of several vectors that got a 413

    def note_taken(self, body_bytes: int) -> None:
        """Note that an upload of this size was acknowledged."""
        self.taken_max = max(self.taken_max, body_bytes)

    def note_refused(self, body_bytes: int, count: int, *, too_large: bool) -> None:
        """Note a refused upload; a single vector that is too large gives no limit for others."""
        if too_large and count > 1:
            self.too_large_min = min(self.too_large_min or body_bytes, body_bytes)

    @property
    def wanted(self) -> int | None:
        """Bytes of further uploads; None: as large as the plan allows.

        Half of the size that was too large, or the largest size that was taken if that is more: a
        413 for another cause then only makes some uploads smaller.
        """
        if self.too_large_min is None:
            return None
        return max(self.taken_max, self.too_large_min // 2)
