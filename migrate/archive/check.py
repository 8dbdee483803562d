"""Check the snapshots and runs of a chain against their own digests, wherever they are stored."""

from contextlib import closing

from migrate.model.sealed_json import damaged, unseal_json
from migrate.ports import Progress
from migrate.run.drift_report import CONCLUDED, REPORT_FORMAT
from migrate.run.folder import REPORT_BYTES_MAX, RunFolder, run_folders
from migrate.snapshot.begun.journal import open_snapshot_journal
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.parts import RESTORE_REMEDY
from migrate.snapshot.sealed.verify import verify_chain
from migrate.storage.folder import StoredFile, WorkFolder
from migrate.storage.journal_file import JournalFile
from migrate.storage.layout import GATE, MANIFEST, REPORT, id_file_name


def check_snapshots(snapshot: Snapshot, progress: Progress) -> None:
    """Check the parts, every point and the journals of a whole chain.

    Raises ArtefactDamagedError.
    """
    verify_chain(snapshot, progress)
    for link in snapshot.chain:
        open_snapshot_journal(link.folder)  # it checks the chain of all lines


def check_runs(snapshot: Snapshot) -> int:
    """Check every run of a chain; returns their number.

    Of each run: the plan and its fingerprint, the quarantine list, the journal, the files that the
    plan and the journal name by digest, the journal and files of each reconcile, the rollback
    manifest, the gates, and every other journal. Raises ArtefactDamagedError, or ForeignStateError
    for files of another run.
    """
    count = 0
    for link in snapshot.chain:
        for folder in run_folders(link):
            with closing(RunFolder(folder, link, read_only=True)) as run:
                _check_run(run)
            count += 1
    return count


def _check_run(run: RunFolder) -> None:
    run.check_targets()
    for name, (_, sha256) in run.state().pre_image_parts.items():
        _check_sum(run.pre_images.file(name), sha256)
    for name in run.reconciles.names():
        _check_reconcile(run.reconciles.child(name))
    for name in run.folder.names():
        if run.folder.has_folder(name):
            JournalFile(run.folder.child(name))  # one without a journal is empty
    if run.rollback.has_file(MANIFEST):
        _check_seal(run.rollback.file(MANIFEST))
    gates = run.folder.child(GATE)
    for name in gates.names():
        _check_seal(gates.file(name))


def _check_reconcile(folder: WorkFolder) -> None:
    """One reconcile; of one that has not ended, only the journal can be checked."""
    entries = JournalFile(folder).entries
    if not entries or entries[-1]["type"] != CONCLUDED:
        return
    report = folder.file(REPORT)
    _check_sum(report, entries[-1].get("report_sha256"))
    document = report.read_json_object(bytes_max=REPORT_BYTES_MAX)
    files = document.get("id_files") if document.get("format") == REPORT_FORMAT else None
    for name, record in files.items() if isinstance(files, dict) else ():
        match record:
            case [int(), str() as sha256]:
                _check_sum(folder.file(id_file_name(name)), sha256)
            case _:
                raise damaged(
                    str(report), "it names no sums of its id files", remedy=RESTORE_REMEDY
                )


def _check_seal(file: StoredFile) -> None:
    """The digest that a sealed JSON file has of itself, whatever its format version."""
    version = file.read_json_object(bytes_max=REPORT_BYTES_MAX).get("format")
    if not isinstance(version, int):
        raise damaged(str(file), "it has no format version", remedy=RESTORE_REMEDY)
    content = file.read(bytes_max=REPORT_BYTES_MAX)
    unseal_json(content, where=str(file), format_version=version)


def _check_sum(file: StoredFile, sha256: object) -> None:
    if not file.is_there():
        raise damaged(str(file), "the file is missing", remedy=RESTORE_REMEDY)
    found = file.hash()[1]
    if found != sha256:
        raise damaged(str(file), f"its sha256 is {found}, expected {sha256}", remedy=RESTORE_REMEDY)
