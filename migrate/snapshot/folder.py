"""Snapshots on disk: find them, open sealed ones, read their rows."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from migrate.errors import UsageError
from migrate.model.hmac_key import SealKey
from migrate.model.pages import take_rows
from migrate.model.sealed_json import damaged
from migrate.snapshot.columns import ROW_GROUP_ROWS
from migrate.snapshot.manifest import SnapshotManifest, decode_manifest
from migrate.snapshot.parts import SnapshotRows, read_part, repair_remedy
from migrate.storage.disk import disk
from migrate.storage.durable import folder_names, is_file
from migrate.storage.journal_lines import JOURNAL
from migrate.storage.limited_read import read_bounded

MANIFEST = "manifest.json"
PARTS = "parts"
RUNS = "runs"
_DEPTH_MAX = 4  # of a folder in a snapshot: runs/<run_id>/reconcile/<n>
MANIFEST_BYTES_MAX = 256 * 1024 * 1024


def part_path(folder: Path, ordinal: int) -> Path:
    """Where a part lies."""
    return folder / PARTS / f"part-{ordinal:05d}.parquet"


class Snapshot:
    """A sealed snapshot: immutable, every part checked against the manifest before it is read."""

    def __init__(self, folder: Path, key: SealKey | None = None) -> None:
        """Read the manifest; with a key it has to carry the HMAC of that key.

        Raises UsageError when the folder holds no manifest, ArtefactDamagedError when the one it
        holds is not to be believed.
        """
        path = folder / MANIFEST
        if not is_file(path):
            raise UsageError(
                f"{folder}: no sealed snapshot ({MANIFEST} is missing)",
                remedy="run `q2v snapshot` to its end, or name another folder",
            )
        content = read_bounded(path, bytes_max=MANIFEST_BYTES_MAX)
        self.folder = folder
        self.key = key  # its runs are sealed with it too
        self.manifest: SnapshotManifest = decode_manifest(content, where=str(path), key=key)
        if self.manifest.snapshot_id != disk().real_name(folder):
            # Sealed, but for another folder: an older snapshot put in the place of this one.
            raise damaged(
                str(path),
                f"it is the manifest of snapshot {self.manifest.snapshot_id}",
                remedy=f"name the folder {self.manifest.snapshot_id} again, or restore the "
                "manifest from a copy",
            )

    @property
    def runs(self) -> Path:
        """The folder of the runs of this snapshot."""
        return self.folder / RUNS

    def group_starts(self) -> list[int]:
        """The first row of every row group: what is cut there is decoded once."""
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

        Parts outside the range are not opened, and of a part only what holds the range is decoded.
        Raises ArtefactDamagedError for a part that is
        missing, cut, swapped or changed.
        """
        end = self.manifest.points if end_row is None else end_row
        row = 0
        for part in self.manifest.parts:
            part_start, row = row, row + part.rows
            if part.rows == 0 or row <= first_row or part_start >= end:
                continue
            path = part_path(self.folder, part.ordinal)
            if not is_file(path):
                raise damaged(str(path), "the part is missing", remedy=repair_remedy(part))
            for rows in read_part(
                path,
                part,
                self.manifest.vectors,
                with_vectors=with_vectors,
                first_row=part_start,
                wanted=range(first_row, end),
            ):
                yield _cut(rows, first_row, end)

    def unknown_files(self) -> list[str]:
        """Files that the manifest does not name; they are never read."""
        known = {part_path(self.folder, part.ordinal).name for part in self.manifest.parts}
        return [
            f"{PARTS}/{name}" for name in folder_names(self.folder / PARTS) if name not in known
        ]


def _cut(rows: SnapshotRows, first_row: int, end_row: int) -> SnapshotRows:
    start = max(0, first_row - rows.first_row)
    end = min(len(rows.page), end_row - rows.first_row)
    if (start, end) == (0, len(rows.page)):
        return rows
    return SnapshotRows(
        rows.first_row + start, take_rows(rows.page, start, end), rows.digests[start:end]
    )


def sealed_folders(directory: Path) -> list[Path]:
    """Sealed snapshots under a folder, oldest first (ids start with their time)."""
    return [path for path in _folders(directory) if is_file(path / MANIFEST)]


def unsealed_folders(directory: Path) -> list[Path]:
    """Snapshots that were begun and not sealed, oldest first."""
    return [
        path
        for path in _folders(directory)
        if is_file(path / JOURNAL) and not is_file(path / MANIFEST)
    ]


def newest_stamp(directory: Path) -> str:
    """The latest stamp that a snapshot's name starts with; "" before the first snapshot."""
    folders = [*sealed_folders(directory), *unsealed_folders(directory)]
    return max((path.name.partition("-")[0] for path in folders), default="")


def snapshot_around(folder: Path) -> Path | None:
    """The snapshot that this folder is, or lies in; None for a folder of snapshots."""
    for path in (folder, *folder.absolute().parents[:_DEPTH_MAX]):
        begun_or_sealed = is_file(path / MANIFEST) or is_file(path / JOURNAL)
        if begun_or_sealed and disk().exists(path / PARTS):
            return path
    return None


def _folders(directory: Path) -> list[Path]:
    return [directory / name for name in folder_names(directory)]
