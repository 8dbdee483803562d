"""The mean size of an upload line beside its metadata, over some lines of each page. Pure."""

from dataclasses import dataclass

from migrate.mapping.upload_body import encode_line
from migrate.plan.census.statistics import CensusPage

LINES_PER_PAGE = 3  # of a page of 256 points or more: less than a hundredth of the encoding


@dataclass(slots=True)
class LineSizes:
    """Running sums."""

    lines: int = 0
    bytes: int = 0

    def add(self, page: CensusPage) -> None:
        """Encode some of the vectors that map: the first, the last, and one in the middle."""
        last = len(page.mapped) - 1
        if last < 0:
            return
        for at in {last * number // (LINES_PER_PAGE - 1) for number in range(LINES_PER_PAGE)}:
            position, vector = page.mapped[at]
            line = encode_line(vector.vector_id, page.values[position], vector.metadata, None)
            self.lines += 1
            self.bytes += len(line) - len(vector.metadata)

    def mean(self) -> float | None:
        """None when nothing maps."""
        return self.bytes / self.lines if self.lines else None
