"""Read a difference and its parent as one: rows of the whole, in order."""

from collections.abc import Callable, Iterator, Sequence

from migrate.snapshot.chain.changes import Stretch
from migrate.snapshot.parts import SnapshotRows, cut_rows

ReadRows = Callable[[int, int], Iterator[SnapshotRows]]  # from the first row up to the end row


def merge_rows(
    stretches: Sequence[Stretch], *, parent: ReadRows, own: ReadRows
) -> Iterator[SnapshotRows]:
    """The rows of these stretches, in order, numbered as rows of the whole.

    Each side is read once, from the first row that is needed to the last.
    """
    sides = {False: _Side(parent, stretches), True: _Side(own, stretches, is_own=True)}
    for stretch in stretches:
        for rows in sides[stretch.is_own].take(stretch):
            first_row = stretch.first_row + rows.first_row - stretch.origin_row
            yield SnapshotRows(first_row, rows.page, rows.digests)


class _Side:
    """One ascending reading of the parent or of the difference."""

    def __init__(
        self, read: ReadRows, stretches: Sequence[Stretch], *, is_own: bool = False
    ) -> None:
        wanted = [stretch for stretch in stretches if stretch.is_own is is_own]
        self._held: SnapshotRows | None = None
        self._rows: Iterator[SnapshotRows] = iter(())
        if wanted:
            self._rows = read(wanted[0].origin_row, wanted[-1].origin_row + wanted[-1].rows)

    def take(self, stretch: Stretch) -> Iterator[SnapshotRows]:
        """The rows of a stretch; rows before it, which are replaced or deleted, are skipped."""
        row, end = stretch.origin_row, stretch.origin_row + stretch.rows
        while row < end:
            held = self._held
            if held is None or held.first_row + len(held.page) <= row:
                self._held = next(self._rows)
                continue
            rows = cut_rows(held, row, end)
            row = rows.first_row + len(rows.page)
            yield rows
