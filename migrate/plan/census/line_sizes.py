"""The mean size of an upload line beside its metadata, over some lines; pure.

Which lines is decided by the number of each row, so that the mean is the same wherever pages and
parts are cut, and in whatever order they are added.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from migrate.mapping.payload import Mapped
from migrate.mapping.upload_body import encode_line
from migrate.model.records import Float32Matrix
from migrate.plan.census.statistics import CensusPage

LINE_EVERY = 199  # rows, half a hundredth of the encoding; prime, so no pattern of files meets it


@dataclass(slots=True)
class LineSizes:
    """Running sums over the rows whose number is a multiple of `LINE_EVERY`.

    The first row that maps counts too, so that a small collection has a mean.
    """

    lines: int = 0
    bytes: int = 0
    first_row: int | None = None  # the lowest row that maps; None: none does
    first_bytes: int = 0

    def add(self, rows: Sequence[int], page: CensusPage) -> None:
        """Encode some of the vectors that map; `rows` has the row of each point of the page."""
        if not page.mapped:
            return
        for position, vector in page.mapped:
            if rows[position] % LINE_EVERY == 0:
                self.lines += 1
                self.bytes += _line_bytes(page.values, position, vector)
        position, vector = page.mapped[0]
        if self.first_row is None or rows[position] < self.first_row:
            self.first_row = rows[position]
            self.first_bytes = _line_bytes(page.values, position, vector)

    def merge(self, other: "LineSizes") -> None:
        """Add the sums of other rows."""
        self.lines += other.lines
        self.bytes += other.bytes
        if other.first_row is not None and (
            self.first_row is None or other.first_row < self.first_row
        ):
            self.first_row, self.first_bytes = other.first_row, other.first_bytes

    def mean(self) -> float | None:
        """None when nothing maps."""
        if self.first_row is None:
            return None
        if self.first_row % LINE_EVERY == 0:  # it is among the others
            return self.bytes / self.lines
        return (self.bytes + self.first_bytes) / (self.lines + 1)


def _line_bytes(values: Float32Matrix, position: int, vector: Mapped) -> int:
    line = encode_line(vector.vector_id, values[position], vector.metadata, None)
    return len(line) - len(vector.metadata)
