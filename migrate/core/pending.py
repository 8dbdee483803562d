"""Which rows of a round are still to be sent, and what refusals have taught about sizes.

A round starts with all rows pending. A batch is cut from the front of the first range. A batch
that was refused comes back as its two halves, which are sent whole: only so can a batch as large
as before be taken once its one bad line has been found.
"""

from dataclasses import dataclass, field
from http import HTTPStatus

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

    def take(self, first: int, end: int) -> None:
        """A batch of the rows between these two has its intent.

        Ranges before it held nothing to send. Raises ValueError when the batch is not cut from
        one range: its rows were sent before, or belong to two halves.
        """
        while self.ranges and self.ranges[0].end <= first:
            self.ranges.pop(0)
        if not (self.ranges and self.ranges[0].first <= first < end <= self.ranges[0].end):
            raise ValueError(f"rows {first} to {end - 1} are not pending as one range")
        cut = self.ranges.pop(0)
        if not cut.whole and end < cut.end:
            self.ranges.insert(0, RowRange(end, cut.end))

    def put_back(self, first: int, middle: int, end: int) -> None:
        """A batch was refused: both halves are pending again."""
        if not first < middle < end:
            raise ValueError(f"row {middle} does not part rows {first} to {end - 1}")
        self.ranges += [RowRange(first, middle, whole=True), RowRange(middle, end, whole=True)]
        self.ranges.sort(key=lambda one: one.first)


@dataclass(slots=True)
class UploadSizes:
    """What answers of a run have taught about the size of an upload that the service takes."""

    taken_max: int = 0  # bytes of the largest upload that was taken
    too_large_min: int | None = None  # bytes of the smallest that got a 413; of several vectors

    def note_taken(self, body_bytes: int) -> None:
        """An upload of this size was acknowledged."""
        self.taken_max = max(self.taken_max, body_bytes)

    def note_refused(self, status: int, body_bytes: int, count: int) -> None:
        """An upload was refused; a single vector's 413 tells of the vector, not of the limit."""
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and count > 1:
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
