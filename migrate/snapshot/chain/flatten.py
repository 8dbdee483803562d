"""Read a sealed snapshot, or a chain of them, as if it were the collection it was read from."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from migrate.model.records import Collection, Page, PointId
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.parts import SnapshotRows, cut_rows


class SnapshotSource:
    """A `ports.PointSource` over a snapshot; use it from one thread.

    Taking a snapshot of it flattens a chain: the parts have the bytes of a fresh snapshot of the
    same points.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._ids: list[PointId] = []
        for rows in snapshot.read(with_vectors=()):
            self._ids += rows.page.ids
        self._rows: Iterator[SnapshotRows] = iter(())
        self._held: SnapshotRows | None = None
        self._next_row = -1  # the row that `_rows` gives next; -1: it has not been begun

    def identity(self) -> dict[str, str]:
        """Where the snapshot was read from."""
        return self._snapshot.manifest.source

    def urls(self) -> frozenset[str]:
        """None: there is no server."""
        return frozenset()

    def read_collection(self) -> Collection:
        """The collection's description, as the snapshot has it."""
        manifest = self._snapshot.manifest
        return Collection(
            name=manifest.collection,
            vectors=manifest.vectors,
            config=manifest.config,
            server=manifest.server,
            shards=manifest.shards,
            shard_keys=manifest.shard_keys,
        )

    def count_points(self) -> int:
        """The number of points."""
        return self._snapshot.manifest.points

    def count_left_out(self) -> int | None:
        """The points that the filter left out when the snapshot was sealed; None without one."""
        return self._snapshot.manifest.left_out

    def read_ids(self, start: PointId | None, *, limit: int) -> Sequence[PointId]:
        """See `PointSource`."""
        first = self._row_of(start)
        return self._ids[first : first + limit]

    def read_points(self, start: PointId | None, *, limit: int) -> Page:
        """See `PointSource`. Pages end where row groups end."""
        row = self._row_of(start)
        if row >= len(self._ids):
            return Page(ids=(), payloads=(), vectors={}, irregular=())
        rows = self._rows_at(row)
        found = cut_rows(rows, row, row + limit)
        self._next_row = row + len(found.page)
        return found.page

    def read_payloads(self, start: PointId | None, *, limit: int) -> Page:
        """See `PointSource`. Pages end where row groups end."""
        row = self._row_of(start)
        for rows in self._snapshot.read(with_vectors=(), first_row=row, end_row=row + limit):
            return rows.page
        return Page(ids=(), payloads=(), vectors={}, irregular=())

    def close(self) -> None:
        """Nothing is open."""

    def _row_of(self, start: PointId | None) -> int:
        return 0 if start is None else bisect_left(self._ids, start)

    def _rows_at(self, row: int) -> SnapshotRows:
        """The rows that hold this one. Reading on from the row before opens no part again."""
        held = self._held
        if row != self._next_row:
            starts = self._snapshot.group_starts()
            first = starts[bisect_right(starts, row) - 1]
            names = [spec.name for spec in self._snapshot.manifest.vectors]
            self._rows = self._snapshot.read(with_vectors=names, first_row=first)
            held = None
        while held is None or held.first_row + len(held.page) <= row:
            held = next(self._rows)
        self._held = held
        return held
