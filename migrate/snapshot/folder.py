"""Snapshots in a folder: find them, open sealed ones, read their rows."""

from collections.abc import Iterator, Sequence

from migrate.errors import UsageError
from migrate.model.hmac_key import SealKey
from migrate.model.pages import take_rows
from migrate.model.sealed_json import damaged
from migrate.snapshot.columns import ROW_GROUP_ROWS
from migrate.snapshot.manifest import SnapshotManifest, decode_manifest
from migrate.snapshot.parts import SnapshotRows, read_part, repair_remedy
from migrate.storage.folder import Folder, StoredFile, WorkFolder
from migrate.storage.layout import JOURNAL, MANIFEST, PARTS, RUNS, part_name

_DEPTH_MAX = 4  # of a folder in a snapshot: runs/<run_id>/reconcile/<n>
MANIFEST_BYTES_MAX = 256 * 1024 * 1024


def part_file(folder: Folder, ordinal: int) -> StoredFile:
    """The file of a part, in the folder of a snapshot."""
    return folder.child(PARTS).file(part_name(ordinal))


class Snapshot:
    """A sealed snapshot. It is immutable; every part is checked before it is read."""

    def __init__(self, folder: WorkFolder, key: SealKey | None = None) -> None:
        """Read the manifest; with a key it must carry the HMAC of that key.

        Raises UsageError when the folder holds no manifest, ArtefactDamagedError when the
        manifest fails a check.
        """
        file = folder.file(MANIFEST)
        if not file.is_there():
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

    @property
    def runs(self) -> WorkFolder:
        """The folder of the runs of this snapshot."""
        return self.folder.child(RUNS)

    def group_starts(self) -> list[int]:
        """The first row of every row group; ranges cut there decode no group twice."""
        starts: list[int] = []
        first = 0
        for part in self.manifest.parts:
            starts += range(first, first + part.rows, ROW_GROUP_ROWS)
            first += part.rows
        return starts

    def read(
        self, *, with_vectors: Sequence[str], first_row: int = 0, end_row: int | None = None
    ) -> Iterator[SnapshotRows]:
        """Rows `first_row` .. `end_row` - 1 in order, with the named vectors.

        Parts outside the range are not opened; of a part only the row groups of the range are
        decoded. Raises ArtefactDamagedError for a part that is missing, cut, swapped or changed.
        """
        end = self.manifest.points if end_row is None else end_row
        row = 0
        for part in self.manifest.parts:
            part_start, row = row, row + part.rows
            if part.rows == 0 or row <= first_row or part_start >= end:
                continue
            file = part_file(self.folder, part.ordinal)
            if not file.is_there():
                raise damaged(str(file), "the part is missing", remedy=repair_remedy(part))
            for rows in read_part(
                file,
                part,
                self.manifest.vectors,
                with_vectors=with_vectors,
                first_row=part_start,
                wanted=range(first_row, end),
            ):
                yield _cut(rows, first_row, end)

    def unknown_files(self) -> list[str]:
        """Files that the manifest does not name; they are never read."""
        known = {part_name(part.ordinal) for part in self.manifest.parts}
        held = self.folder.child(PARTS).names()
        return [f"{PARTS}/{name}" for name in held if name not in known]


def _cut(rows: SnapshotRows, first_row: int, end_row: int) -> SnapshotRows:
    start = max(0, first_row - rows.first_row)
    end = min(len(rows.page), end_row - rows.first_row)
    if (start, end) == (0, len(rows.page)):
        return rows
    return SnapshotRows(
        rows.first_row + start, take_rows(rows.page, start, end), rows.digests[start:end]
    )


def sealed_folders(directory: WorkFolder) -> list[WorkFolder]:
    """Sealed snapshots in a folder, oldest first (ids start with their time)."""
    return [folder for folder in _folders(directory) if folder.has_file(MANIFEST)]


def unsealed_folders(directory: WorkFolder) -> list[WorkFolder]:
    """Snapshots that were begun but not sealed, oldest first."""
    return [
        folder
        for folder in _folders(directory)
        if folder.has_file(JOURNAL) and not folder.has_file(MANIFEST)
    ]


def newest_stamp(directory: WorkFolder) -> str:
    """The latest stamp that a snapshot's name starts with; "" before the first snapshot."""
    folders = [*sealed_folders(directory), *unsealed_folders(directory)]
    return max((folder.name.partition("-")[0] for folder in folders), default="")


def snapshot_around(folder: Folder) -> Folder | None:
    """The snapshot folder that is or contains this folder; None for a folder of snapshots."""
    for _ in range(_DEPTH_MAX + 1):
        begun_or_sealed = folder.has_file(MANIFEST) or folder.has_file(JOURNAL)
        if begun_or_sealed and folder.has(PARTS):
            return folder
        folder = folder.parent
    return None


def _folders(directory: WorkFolder) -> list[WorkFolder]:
    return [directory.child(name) for name in directory.names()]
