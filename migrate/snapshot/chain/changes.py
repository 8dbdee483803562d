"""The changes of a difference snapshot: what became of each point since the parent snapshot.

`changes.parquet` has one row for each point that was added, changed or deleted, in id order. The
added and changed points lie in the parts of the difference, in the same order. `RowMap` turns this
into row numbers: the rows of the parent, with the changes applied, are the rows of the whole.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from migrate.model.digest import DIGEST_BYTES
from migrate.model.records import PointId
from migrate.snapshot.manifest import ChangesRecord
from migrate.storage.folder import StoredFile
from migrate.storage.parquet.row_files import RowFile, read_rows, write_rows

NO_ROW = -1
CHANGES_REMEDY = "restore the file from a copy; without it, the snapshot cannot be read"
_SCHEMA = pa.schema(
    [
        pa.field("point_id", pa.string(), nullable=False),
        pa.field("point_id_type", pa.string(), nullable=False),
        pa.field("change", pa.string(), nullable=False),
        # The row in the parent; of an added point the row that it comes before.
        pa.field("parent_row", pa.int64(), nullable=False),
        pa.field("former", pa.binary(DIGEST_BYTES)),  # digest in the parent; null: added
    ]
)


class ChangeKind(StrEnum):
    """What became of a point."""

    ADDED = "added"
    CHANGED = "changed"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Change:
    """One point that differs from the parent."""

    point_id: PointId
    kind: ChangeKind
    parent_row: int
    former: bytes | None


def write_changes(stored: StoredFile, changes: Iterable[Change]) -> ChangesRecord:
    """Write the changes, which are in id order, durably. The same changes give the same bytes."""
    counts = dict.fromkeys(ChangeKind, 0)

    def table(some: Sequence[Change]) -> pa.Table:
        for change in some:
            counts[change.kind] += 1
        return _table(some)

    size, sha256 = write_rows(stored, _SCHEMA, changes, table)
    return ChangesRecord(
        added=counts[ChangeKind.ADDED],
        changed=counts[ChangeKind.CHANGED],
        deleted=counts[ChangeKind.DELETED],
        bytes=size,
        sha256=sha256,
    )


def _table(changes: Sequence[Change]) -> pa.Table:
    columns = [
        [change.point_id.text for change in changes],
        [change.point_id.id_type.value for change in changes],
        [change.kind.value for change in changes],
        [change.parent_row for change in changes],
        [change.former for change in changes],
    ]
    arrays = [pa.array(column, kind.type) for column, kind in zip(columns, _SCHEMA, strict=True)]
    return pa.table(arrays, schema=_SCHEMA)


def read_changes(stored: StoredFile, expected: ChangesRecord) -> Iterator[Change]:
    """The changes, in id order. Raises ArtefactDamagedError before the first for a changed file."""
    sealed = RowFile(
        rows=expected.rows,
        bytes=expected.bytes,
        sha256=expected.sha256,
        named_by="the manifest",
        remedy=CHANGES_REMEDY,
    )
    return read_rows(stored, _SCHEMA, sealed, _changes)


def _changes(table: pa.Table) -> Iterator[Change]:
    columns = [column.to_pylist() for column in table.columns]
    for text, kind, change, row, former in zip(*columns, strict=True):
        yield Change(PointId.from_text(text, kind), ChangeKind(change), row, former)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive rows of the whole that lie together, in the parent or in the difference."""

    first_row: int  # in the whole
    rows: int
    is_own: bool  # in the parts of the difference; else in the parent
    origin_row: int  # the first of these rows there

    def cut(self, first_row: int, end_row: int) -> "Stretch":
        """The rows of the stretch within `first_row` .. `end_row` - 1 of the whole."""
        first, end = max(first_row, self.first_row), min(end_row, self.first_row + self.rows)
        skipped = first - self.first_row
        return Stretch(first, max(0, end - first), self.is_own, self.origin_row + skipped)


class RowMap:
    """Where each row of the whole lies."""

    def __init__(self, changes: Iterable[Change], *, parent_points: int) -> None:
        """`changes` are in id order. Raises ValueError for rows that are not in the parent."""
        self._stretches: list[Stretch] = []
        self.points = 0  # of the whole
        self.own_rows = 0
        done = 0  # rows of the parent
        for change in changes:
            is_added = change.kind is ChangeKind.ADDED
            end = change.parent_row + (not is_added)
            if not done <= change.parent_row or end > parent_points:
                raise ValueError(f"point {change.point_id.text}: row {change.parent_row}")
            self._append(change.parent_row - done, is_own=False, origin_row=done)
            if change.kind is not ChangeKind.DELETED:
                self._append(1, is_own=True, origin_row=self.own_rows)
                self.own_rows += 1
            done = end
        self._append(parent_points - done, is_own=False, origin_row=done)
        self._starts = [stretch.first_row for stretch in self._stretches]
        parents = [stretch for stretch in self._stretches if not stretch.is_own]
        self._parents = parents
        self._parent_starts = [stretch.origin_row for stretch in parents]

    def _append(self, rows: int, *, is_own: bool, origin_row: int) -> None:
        if not rows:
            return
        last = self._stretches[-1] if self._stretches else None
        if last is not None and last.is_own == is_own and last.origin_row + last.rows == origin_row:
            self._stretches[-1] = Stretch(last.first_row, last.rows + rows, is_own, last.origin_row)
        else:
            self._stretches.append(Stretch(self.points, rows, is_own, origin_row))
        self.points += rows

    def stretches(self, first_row: int, end_row: int) -> list[Stretch]:
        """The stretches of these rows of the whole, in row order."""
        at = max(0, bisect_right(self._starts, first_row) - 1)
        found = []
        while at < len(self._stretches) and self._stretches[at].first_row < end_row:
            cut = self._stretches[at].cut(first_row, end_row)
            if cut.rows:
                found.append(cut)
            at += 1
        return found

    def row_of_parent(self, row: int) -> int:
        """The row of the whole at which the rows of the parent from `row` on begin."""
        at = bisect_right(self._parent_starts, row) - 1
        if at >= 0:
            stretch = self._parents[at]
            if row < stretch.origin_row + stretch.rows:
                return stretch.first_row + row - stretch.origin_row
        return self._parents[at + 1].first_row if at + 1 < len(self._parents) else self.points

    def rows_of_parent(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The row of the whole of each of these rows of the parent; NO_ROW where it has changed.

        NO_ROW among `rows` stays.
        """
        if not self._parents:
            return np.full_like(rows, NO_ROW)
        firsts = np.array([stretch.first_row for stretch in self._parents])
        counts = np.array([stretch.rows for stretch in self._parents])
        starts = np.array(self._parent_starts)
        at = np.searchsorted(starts, rows, side="right") - 1
        within = rows - starts[at]  # of what lies before the first stretch this is negative
        found: npt.NDArray[np.int64] = np.where(
            (at >= 0) & (within < counts[at]), firsts[at] + within, NO_ROW
        )
        return found

    def rows_of_own(self) -> list[int]:
        """The row of the whole of each row of the difference's parts, in order."""
        return [
            stretch.first_row + at
            for stretch in self._stretches
            if stretch.is_own
            for at in range(stretch.rows)
        ]
