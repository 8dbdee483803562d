"""Snapshots in a folder: find them, open sealed ones, read their rows.

A snapshot is whole, or a difference to its parent, which lies beside it. Both are read in the same
way: the rows of a difference are those of its parent with the changes applied. So whatever takes a
snapshot takes a chain of them.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from migrate.errors import ArtefactDamagedError, ForeignStateError, UsageError
from migrate.model.hmac_key import SealKey
from migrate.model.sealed_json import damaged
from migrate.snapshot.begun.journal import is_begun
from migrate.snapshot.chain.changes import CHANGES_REMEDY, Change, RowMap, read_changes
from migrate.snapshot.chain.merge import merge_rows
from migrate.snapshot.columns import ROW_GROUP_ROWS
from migrate.snapshot.live_part import LivePart, Rows
from migrate.snapshot.manifest import PartRecord, SnapshotManifest, decode_manifest
from migrate.snapshot.parts import RESTORE_REMEDY, SnapshotRows, cut_rows, read_part, repair_remedy
from migrate.storage.folder import Folder, StoredFile, WorkFolder
from migrate.storage.layout import CHANGES, MANIFEST, PARTS, RUNS, part_name
from migrate.words import counted

_DEPTH_MAX = 6  # of a folder in a snapshot: runs/<run_id>/rollback/later/<export>/parts
MANIFEST_BYTES_MAX = 256 * 1024 * 1024


def part_file(folder: Folder, part: PartRecord) -> StoredFile:
    """The file of a part, in the folder of a snapshot."""
    return folder.child(PARTS).file(part_name(part.ordinal, part.revision))


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part, and the rows of the whole that cannot be read without it."""

    folder: Folder  # of the snapshot that has the part
    part: PartRecord
    remedy: str  # when the part is damaged
    first_row: int
    end_row: int  # after the last row; rows of other parts may lie between the two

    def check(self) -> None:
        """Raises ArtefactDamagedError when the file is missing or not that of the manifest."""
        file = part_file(self.folder, self.part)
        if not file.is_there():
            raise damaged(str(file), "the part is missing", remedy=self.remedy)
        if file.hash() != (self.part.bytes, self.part.sha256):
            raise damaged(str(file), "its bytes do not match the manifest", remedy=self.remedy)


class Snapshot:
    """A sealed snapshot. It is immutable; every part is checked before it is read."""

    def __init__(self, folder: WorkFolder, key: SealKey | None = None) -> None:
        """Read the manifest; with a key it must carry the HMAC of that key.

        Raises UsageError when the folder holds no manifest, ArtefactDamagedError when the
        manifest fails a check or was lost: a snapshot that has runs was sealed.
        """
        file = folder.file(MANIFEST)
        if not file.is_there():
            if _has_runs(folder):
                raise damaged(
                    str(file),
                    "it is missing, and runs of the snapshot lie beside it",
                    remedy=f"{RESTORE_REMEDY}; without it nothing of these runs can be proven or "
                    "taken back",
                )
            raise UsageError(
                f"{folder}: no sealed snapshot ({MANIFEST} is missing)",
                remedy="run `q2v snapshot` until it is complete, or name another folder",
            )
        content = file.read(bytes_max=MANIFEST_BYTES_MAX)
        self.folder = folder
        self.key = key  # the runs of the snapshot are sealed with it too
        self.manifest: SnapshotManifest = decode_manifest(content, where=str(file), key=key)
        if self.manifest.snapshot_id != folder.name:
            # Sealed, but under another name: an older snapshot was moved here.
            raise damaged(
                str(file),
                f"it is the manifest of snapshot {self.manifest.snapshot_id}",
                remedy=f"name the folder {self.manifest.snapshot_id} again, or restore the "
                "manifest from a copy",
            )
        self.parent = self._open_parent()

    def _open_parent(self) -> "Snapshot | None":
        parent_id = self.manifest.parent_id
        if parent_id is None:
            return None
        beside = self.folder.parent
        if not beside.child(parent_id).has_file(MANIFEST):
            raise damaged(
                str(self.folder),
                f"its parent, snapshot {parent_id}, is not beside it",
                remedy=f"move or restore the folder {parent_id} to {beside}",
            )
        parent = Snapshot(beside.child(parent_id), self.key)
        if (parent.manifest.shard_keys is None) != (self.manifest.shard_keys is None):
            raise damaged(str(self.folder), "only one of it and its parent has shard keys")
        if parent.manifest.content_root != self.manifest.parent:
            raise ForeignStateError(
                f"{self.folder}: the parent {parent_id} has content root "
                f"{parent.manifest.content_root}, expected {self.manifest.parent}",
                remedy=f"restore the folder {parent_id} from a copy",
            )
        return parent

    def check_files(self) -> None:
        """Raises ArtefactDamagedError unless the files beside the parts are those of the manifest.

        Only an export of later writes has such files.
        """
        for record in () if self.manifest.later is None else self.manifest.later.files:
            file = self.folder.file(record.name)
            if not file.is_there() or file.hash() != (record.bytes, record.sha256):
                raise damaged(
                    str(file), "not the file that the manifest names", remedy=RESTORE_REMEDY
                )

    def damage_at_sight(self) -> ArtefactDamagedError | None:
        """The error for the first part whose file is missing or has another size, if there is one.

        Parts of the snapshots before this one count too. Reads no content: a part that keeps its
        size is compared when it is read. Files in an object store are not asked for.
        """
        before = None if self.parent is None else self.parent.damage_at_sight()
        if before is not None or self.folder.is_shared:
            return before
        for part in self.manifest.parts:
            file = part_file(self.folder, part)
            if not file.is_there():
                return damaged(str(file), "the part is missing", remedy=self._remedy(part))
            with file.open_to_read() as content:
                size = content.seek(0, io.SEEK_END)
            if size != part.bytes:
                found = f"{counted(size, 'byte')}, the manifest names {part.bytes:,}"
                return damaged(str(file), found, remedy=self._remedy(part))
        return None

    @property
    def runs(self) -> WorkFolder:
        """The folder of the runs of this snapshot."""
        return self.folder.child(RUNS)

    @property
    def chain(self) -> "list[Snapshot]":
        """The whole snapshot, then the differences to it; this one is the last."""
        return [*([] if self.parent is None else self.parent.chain), self]

    def changes(self) -> Iterator[Change]:
        """What became of each point since the parent, in id order; nothing without a parent.

        Raises ArtefactDamagedError.
        """
        if self.manifest.changes is not None:
            yield from read_changes(self.folder.file(CHANGES), self.manifest.changes)

    @cached_property
    def _row_map(self) -> RowMap:
        """Where the rows of a difference lie. Raises ArtefactDamagedError."""
        assert self.parent is not None
        file = str(self.folder.file(CHANGES))
        try:
            found = RowMap(self.changes(), parent_points=self.parent.manifest.points)
        except ValueError as error:
            raise damaged(file, str(error), remedy=CHANGES_REMEDY) from error
        own_rows = sum(part.rows for part in self.manifest.parts)
        if (found.points, found.own_rows) != (self.manifest.points, own_rows):
            raise damaged(
                file,
                f"{counted(found.points, 'point')}, {found.own_rows} of them in parts; the "
                "manifest has "
                f"{self.manifest.points} and {own_rows}",
                remedy=CHANGES_REMEDY,
            )
        return found

    def group_starts(self) -> list[int]:
        """The first row of every row group; ranges cut there decode hardly any group twice."""
        if self.parent is not None:
            starts = self.parent.group_starts()
            return sorted({0, *map(self._row_map.row_of_parent, starts)})
        return [
            row
            for first, part in self._own_parts()
            for row in range(first, first + part.rows, ROW_GROUP_ROWS)
        ]

    def part_starts(self) -> list[int]:
        """The first row of every part; ranges cut there open hardly any part twice."""
        if self.parent is not None:
            starts = self.parent.part_starts()
            return sorted({0, *map(self._row_map.row_of_parent, starts)})
        return [first for first, _ in self._own_parts()]

    def stored_parts(self) -> list[StoredPart]:
        """Every part of the snapshot and of those that it is a difference to."""
        own = self._own_parts()
        if self.parent is None:
            return [
                StoredPart(self.folder, part, self._remedy(part), first, first + part.rows)
                for first, part in own
            ]
        row_of = self._row_map.row_of_parent
        inherited = [
            StoredPart(
                part.folder, part.part, part.remedy, row_of(part.first_row), row_of(part.end_row)
            )
            for part in self.parent.stored_parts()
        ]
        rows = self._row_map.rows_of_own()
        added = [
            StoredPart(
                self.folder,
                part,
                self._remedy(part),
                rows[first],
                rows[first + part.rows - 1] + 1,
            )
            for first, part in own
            if part.rows
        ]
        return [*inherited, *added]

    def live_parts(self) -> Iterator[LivePart]:
        """Every part with rows of this snapshot, each with their numbers.

        Of all parts together these are the rows 0 .. points - 1, each once; in a chain not in
        order. Raises ArtefactDamagedError for a chain whose changes are damaged.
        """
        if self.parent is None:
            for first, part in self._own_parts():
                yield self._live_part(part, np.arange(first, first + part.rows))
            return
        for inherited in self.parent.live_parts():
            rows = self._row_map.rows_of_parent(inherited.rows)
            yield replace(inherited, rows=rows)
        rows = np.array(self._row_map.rows_of_own(), dtype=np.int64)
        for first, part in self._own_parts():
            yield self._live_part(part, rows[first : first + part.rows])

    def _live_part(self, part: PartRecord, rows: Rows) -> LivePart:
        return LivePart(
            file=part_file(self.folder, part),
            part=part,
            vectors=self.manifest.vectors,
            keyed=self.manifest.shard_keys is not None,
            remedy=self._remedy(part),
            rows=rows,
        )

    def read(
        self, *, with_vectors: Sequence[str], first_row: int = 0, end_row: int | None = None
    ) -> Iterator[SnapshotRows]:
        """Rows `first_row` .. `end_row` - 1 in order, with the named vectors.

        Parts outside the range are not opened; of a part only the row groups of the range are
        decoded. Raises ArtefactDamagedError for a part that is missing, cut, swapped or changed.
        """
        points = self.manifest.points
        end = points if end_row is None else min(end_row, points)
        if self.parent is None:
            yield from self._read_own(with_vectors, first_row, end)
            return
        parent = self.parent
        yield from merge_rows(
            self._row_map.stretches(first_row, end),
            parent=lambda first, end: parent.read(
                with_vectors=with_vectors, first_row=first, end_row=end
            ),
            own=lambda first, end: self._read_own(with_vectors, first, end),
        )

    def read_own(self, *, with_vectors: Sequence[str]) -> Iterator[SnapshotRows]:
        """The rows in the parts of this folder; of a difference those that it adds or replaces.

        Raises ArtefactDamagedError as `read`; `first_row` counts the rows of these parts.
        """
        rows = sum(part.rows for part in self.manifest.parts)
        return self._read_own(with_vectors, 0, rows)

    def _own_parts(self) -> list[tuple[int, PartRecord]]:
        """The parts of this folder, each with its first row among them."""
        found: list[tuple[int, PartRecord]] = []
        row = 0
        for part in self.manifest.parts:
            found.append((row, part))
            row += part.rows
        return found

    def _read_own(
        self, with_vectors: Sequence[str], first_row: int, end_row: int
    ) -> Iterator[SnapshotRows]:
        """Rows of the parts of this folder, counted from its first part."""
        for part_start, part in self._own_parts():
            if part.rows == 0 or part_start + part.rows <= first_row or part_start >= end_row:
                continue
            file = part_file(self.folder, part)
            if not file.is_there():
                raise damaged(str(file), "the part is missing", remedy=self._remedy(part))
            for rows in read_part(
                file,
                part,
                self.manifest.vectors,
                with_vectors=with_vectors,
                first_row=part_start,
                remedy=self._remedy(part),
                wanted=range(first_row, end_row),
            ):
                if (rows.page.shard_keys is None) != (self.manifest.shard_keys is None):
                    raise damaged(str(file), "only one of part and manifest has shard keys")
                yield cut_rows(rows, first_row, end_row)

    def _remedy(self, part: PartRecord) -> str:
        if self.manifest.parent is None and not self.manifest.moving:
            return repair_remedy(part, self.manifest.snapshot_id)
        return RESTORE_REMEDY

    def unknown_files(self) -> list[str]:
        """Files that the manifest does not name; they are never read."""
        known = {part_name(part.ordinal, part.revision) for part in self.manifest.parts}
        held = self.folder.child(PARTS).names()
        return [f"{PARTS}/{name}" for name in held if name not in known]


def sealed_folders(directory: WorkFolder) -> list[WorkFolder]:
    """Sealed snapshots in a folder, oldest first (ids start with their time).

    One that has runs and no manifest counts: it was sealed, and reading it says what is missing.
    """
    return [folder for folder in _folders(directory) if _was_sealed(folder)]


def unsealed_folders(directory: WorkFolder) -> list[WorkFolder]:
    """Snapshots that were begun but not sealed, oldest first."""
    return [
        folder for folder in _folders(directory) if is_begun(folder) and not _was_sealed(folder)
    ]


def newest_stamp(directory: WorkFolder) -> str:
    """The latest stamp that a snapshot's name starts with; "" before the first snapshot."""
    folders = [*sealed_folders(directory), *unsealed_folders(directory)]
    return max((folder.name.partition("-")[0] for folder in folders), default="")


def snapshot_around(folder: Folder) -> Folder | None:
    """The outermost snapshot folder that is or contains this folder; None for one of snapshots."""
    found: Folder | None = None
    for _ in range(_DEPTH_MAX + 1):
        begun_or_sealed = folder.has_file(MANIFEST) or is_begun(folder)
        if begun_or_sealed and folder.has(PARTS):
            found = folder  # an export of later writes lies within the snapshot of its run
        folder = folder.parent
    return found


def _was_sealed(folder: Folder) -> bool:
    return folder.has_file(MANIFEST) or _has_runs(folder)


def _has_runs(folder: Folder) -> bool:
    """Whether runs lie under a snapshot; each begins after the snapshot was sealed."""
    return folder.has(RUNS) and folder.has(PARTS)


def _folders(directory: WorkFolder) -> list[WorkFolder]:
    return [directory.child(name) for name in directory.names()]
