"""Check an archive: every byte, every digest within, and what it says of itself."""

from contextlib import closing
from dataclasses import dataclass

from migrate.archive.check import check_runs, check_snapshots
from migrate.archive.folder import ArchiveFolder
from migrate.archive.frames import is_like_archive
from migrate.archive.open import ARCHIVE_REMEDY, OpenArchive, open_archive
from migrate.archive.record import ArchiveRecord
from migrate.archive.standing import describe_chain, describe_runs, find_obstacle, run_place
from migrate.errors import ArtefactDamagedError, LocalStorageError, UsageError
from migrate.model.hmac_key import SealKey
from migrate.model.sealed_json import damaged
from migrate.ports import Progress
from migrate.run.choose.find import find_run
from migrate.storage.folder import StoredFile
from migrate.storage.layout import ARCHIVE_RECORD


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedArchive:
    """What was checked."""

    record: ArchiveRecord
    bytes: int  # of the file
    sha256: str  # of the file
    runs: int


def verify_archive(stored: StoredFile, key: SealKey | None, progress: Progress) -> VerifiedArchive:
    """Read an archive and nothing else; with a key, all that is sealed has to fit it.

    First every byte is compared with archive.json and with the SHA-256 at the end. Then the chain
    is read from the archive as from a folder: manifests, parts, every point, plans, journals,
    pre-images, reports. Last, what archive.json says of the chain has to follow from it. Raises
    ArtefactDamagedError, which names the damaged member; UsageError for a file that has nothing of
    an archive.
    """
    with stored.open_to_read() as file:
        if not is_like_archive(file):
            raise UsageError(
                f"{stored}: found a file that neither begins nor ends as an archive of q2v, "
                "expected an archive or the folder of a snapshot",
                remedy="name the folder of a snapshot, or a file that `q2v archive` has written",
            )
    with open_archive(stored, key, progress) as opened:
        try:
            runs = _check(opened, key, progress)
        except ArtefactDamagedError as error:
            raise ArtefactDamagedError(str(error), remedy=ARCHIVE_REMEDY) from error
        except (UsageError, LocalStorageError) as error:
            # The bytes are those of archive.json, and a file that belongs to them is not there.
            raise damaged(str(stored), str(error), remedy=ARCHIVE_REMEDY) from error
        return VerifiedArchive(
            record=opened.record, bytes=opened.bytes, sha256=opened.sha256, runs=runs
        )


def _check(opened: OpenArchive, key: SealKey | None, progress: Progress) -> int:
    folder, record = opened.folder, opened.record
    with closing(find_run(folder, _run_folder(folder, record), key, read_only=True)) as run:
        check_snapshots(run.snapshot, progress)
        runs = check_runs(run.snapshot)
        where = folder.address(ARCHIVE_RECORD)
        if describe_chain(run.snapshot) != record.chain:
            raise damaged(where, "it describes another chain of snapshots than the archive holds")
        if tuple(describe_runs(run.snapshot)) != record.runs:
            raise damaged(where, "it describes other runs than the archive holds")
        obstacle = find_obstacle(run) if record.final else None
        if obstacle is not None:
            raise damaged(where, f"it says final, but {obstacle.means}")
    return runs


def _run_folder(folder: ArchiveFolder, record: ArchiveRecord) -> ArchiveFolder:
    found = folder
    for name in run_place(record.snapshot_id, record.run_id).split("/"):
        found = found.child(name)
    return found
