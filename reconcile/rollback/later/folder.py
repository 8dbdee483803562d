"""The folders of the exports of a run: `rollback/later/<export>`, each a snapshot of its own."""

from collections.abc import Sequence

from migrate.errors import ArtefactDamagedError, MigrationError
from migrate.model.sealed_json import damaged
from migrate.model.stamps import iso_stamp
from migrate.run.folder import RunFolder
from migrate.run.pre_image_files import VectorPreImage, write_vector_pre_images
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot
from migrate.storage.folder import StoredFile, WorkFolder
from migrate.storage.journal_file import JournalFile
from migrate.storage.journal_lines import JOURNAL_FORMAT
from migrate.storage.layout import (
    JOURNAL,
    LATER,
    MANIFEST,
    PARTS,
    READ,
    listed_name,
    part_name,
)
from reconcile.rollback.later.journal import (
    ExportState,
    Kind,
    apply_entry,
    fold_export,
    why_not_resumed,
)
from reconcile.session import Moment


def find_export(run: RunFolder) -> Snapshot | None:
    """The newest sealed export of a run; None when there is none.

    Raises ArtefactDamagedError and ForeignStateError as `Snapshot`, and for an export of another
    run.
    """
    sealed = [one for one in _exports(run) if one.has_file(MANIFEST)]
    if not sealed:
        return None
    export = Snapshot(sealed[-1], run.snapshot.key)
    later = export.manifest.later
    named = (run.plan.run_id, run.plan.fingerprint)
    if later is None or (later.run_id, later.plan_fingerprint) != named:
        raise damaged(str(export.folder), f"no export of the target of run {run.plan.run_id}")
    return export


def _exports(run: RunFolder) -> list[WorkFolder]:
    """The exports of a run, sealed or not, oldest first."""
    later = run.rollback.child(LATER)
    later.refuse_links()
    found = sorted((number, name) for name in later.names() if (number := _number(run, name)))
    return [later.child(name) for _, name in found]


def _number(run: RunFolder, name: str) -> int:
    """The number of an export of the run; 0 for another name."""
    head, _, tail = name.rpartition("-")
    is_export = head == _stem(run) and tail.isascii() and tail.isdigit()
    return int(tail) if is_export else 0


def _stem(run: RunFolder) -> str:
    return f"{run.plan.run_id}-{LATER}"


class ExportFolder:
    """One export that is not sealed, across its interruptions. The caller holds the lock."""

    def __init__(self, folder: WorkFolder, journal: JournalFile, runtime: Runtime) -> None:
        self.folder = folder
        self._journal = journal
        self._runtime = runtime
        try:
            self.state: ExportState = fold_export(journal.entries)
        except ValueError as error:
            journal.close()
            raise damaged(str(journal.file), str(error), remedy=_remedy(folder)) from error

    @property
    def opened_at(self) -> str:
        """When the export was opened, RFC 3339."""
        assert self.state.opened_at is not None
        return iso_stamp(self.state.opened_at.wall_s)

    def note(self, kind: Kind, **members: object) -> None:
        """Append one entry with the time of both clocks; returns when it is durable."""
        now = _now(self._runtime)
        times = {"wall_s": now.wall_s, "monotonic_s": now.monotonic_s}
        self._journal.append({"type": kind.value, **members, **times})
        apply_entry(self.state, self._journal.entries[-1])

    def write_read(self, records: Sequence[VectorPreImage]) -> dict[str, object]:
        """Write vectors as they were read into the next file; its members for the journal."""
        file = self.read_file(part_name(self.state.files))
        return {"name": file.name, "sha256": write_vector_pre_images(file, records)}

    def read_file(self, name: str) -> StoredFile:
        """A file of vectors as they were read."""
        return self.folder.child(READ).file(name)

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def discard_read(self) -> None:
        """Remove what only an unsealed export needs; after the manifest is written."""
        for ordinal in range(len(self.state.listings)):
            self.folder.remove(listed_name(ordinal))
        self.folder.child(READ).clear()


def open_export(
    run: RunFolder, journals: Sequence[str], runtime: Runtime
) -> tuple[ExportFolder, bool]:
    """The export to continue, or a new one; and whether it is continued.

    `journals`: the states of the journals of the run's chain. What a kill left of a sealed export
    or of one that is not resumed is removed. Raises ArtefactDamagedError.
    """
    number = 0
    for folder in _exports(run):
        number = _number(run, folder.name)
        folder.refuse_links(PARTS, READ)
        if folder.has_file(MANIFEST):
            _tidy(folder)
            continue
        opened = ExportFolder(folder, _open_journal(folder), runtime)
        why_not = why_not_resumed(opened.state, journals, _now(runtime))
        if why_not is None:
            runtime.progress.say(f"resuming export {folder.name}, which was interrupted")
            opened.note(Kind.RESUMED)
            return opened, True
        opened.close()
        if folder.has_file(JOURNAL):
            runtime.progress.say(f"export {folder.name} starts over: {why_not}")
        folder.clear()
        number -= 1
    folder = run.rollback.child(LATER).child(f"{_stem(run)}-{number + 1:02d}")
    folder.child(PARTS).make()
    folder.child(READ).make()
    export = ExportFolder(folder, JournalFile(folder), runtime)
    export.note(Kind.OPENED, format=JOURNAL_FORMAT, journals=list(journals))
    return export, False


def _tidy(folder: WorkFolder) -> None:
    """Remove what a kill after the manifest has left of the reading."""
    if folder.has(READ):
        for name in folder.names():
            if name.startswith(listed_name(0).partition("0")[0]):
                folder.remove(name)
        folder.child(READ).clear()


def _open_journal(folder: WorkFolder) -> JournalFile:
    try:
        return JournalFile(folder)
    except MigrationError as error:
        if isinstance(error, ArtefactDamagedError):
            raise ArtefactDamagedError(str(error), remedy=_remedy(folder)) from error
        raise


def _remedy(folder: WorkFolder) -> str:
    return (
        f"this unfinished export cannot be resumed: delete the folder {folder}, then run "
        "`q2v rollback --export-later-writes` again, which reads everything again"
    )


def _now(runtime: Runtime) -> Moment:
    clock = runtime.clock
    return Moment(round(clock.wall_s(), 3), round(clock.monotonic_s(), 3))
