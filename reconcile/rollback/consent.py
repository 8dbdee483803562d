"""Look for later writes before a rollback, and refuse to go on while they could be lost.

A rollback leaves later writes in the target, but it takes readers back to Qdrant, which lacks them.
So it needs a sealed export of them that is still current, or the operator's consent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from migrate.errors import ArtefactDamagedError, PreconditionError
from migrate.ports import Target
from migrate.run.folder import RunFolder
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot
from migrate.storage.id_files import read_ids
from migrate.storage.layout import FILES_TO_EMBED, FILES_TO_EMBED_JSON, LATER_DELETIONS
from migrate.words import counted
from reconcile.rollback.later.current import Newer, find_newer, read_exported_entries
from reconcile.rollback.later.find import LaterWrites, find_later_writes, write_later_writes
from reconcile.rollback.later.folder import find_export
from reconcile.rollback.later.index_file import read_index
from reconcile.rollback.report import RollbackReport, UndoRules

_NAMED_MAX = 5
_LEAVE = "--leave-later-writes, which keeps them in the target"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterFindings:
    """What was found before a rollback."""

    later: LaterWrites | None = None  # None: nothing was written, or nothing is left to undo
    written_since: bool = False  # others added or removed vectors or keys, as far as is known
    added_file: str = ""
    deleted_file: str = ""
    export: Snapshot | None = None

    def show_in(self, report: RollbackReport, run: RunFolder) -> None:
        """Add it to the report of a rollback."""
        if self.later is not None:
            report.later_writes = len(self.later)
            report.later_writes_file = self.added_file
            deleted = self.later.deleted
            report.later_deletions = None if deleted is None else len(deleted)
            report.later_deletions_file = self.deleted_file
        if self.export is not None:
            show_export(self.export, run, report)
            counter = run.plan.writes.counter_key
            exported = {str(one.vector_id) for one in read_index(self.export)}
            exported |= {one.key for one in read_exported_entries(self.export)}
            kept = (one for one in report.conflicts if one not in exported and one != counter)
            report.not_exported = tuple(kept)


def show_export(export: Snapshot, run: RunFolder, report: RollbackReport) -> None:
    """Name an export of later writes, and the files that it has written, in a report."""
    later = export.manifest.later
    report.later_export = str(export.folder)
    report.later_export_returns = later is not None and later.returns
    report.files_to_embed = run.rollback.address(FILES_TO_EMBED)
    report.files_to_embed_json = run.rollback.address(FILES_TO_EMBED_JSON)


def usable_export(run: RunFolder, runtime: Runtime | None = None) -> Snapshot | None:
    """The newest sealed export of a run; None, said by `runtime`, for one that is damaged."""
    try:
        return find_export(run)
    except ArtefactDamagedError as error:
        if runtime is not None:
            runtime.progress.say(f"the export of later writes cannot be used: {error}")
        return None


def check_later_writes(
    runs: Sequence[RunFolder],
    target: Target,
    rules: UndoRules,
    runtime: Runtime,
    *,
    leave: bool,
) -> LaterFindings:
    """List later writes; `runs` may have written, the newest first. Sends no write.

    Raises PreconditionError unless there are none, a sealed export holds all of them as they are
    now, or `leave` consents to leave them.
    """
    run = runs[0]
    later = find_later_writes(runs, target, runtime)
    added_file, deleted_file = write_later_writes(run, later)
    export = usable_export(run, runtime) if leave else find_export(run)
    if export is not None and not leave:
        newer = find_newer(export, runs, later, target, rules=rules, runtime=runtime)
        if newer:
            raise _not_current(export, newer)
    if export is None and later and not leave:
        raise _not_exported(later, added_file)
    # While a rollback is under way the file holds what was found before it began.
    deletions = run.rollback.file(LATER_DELETIONS)
    is_deleted = deletions.is_there() and bool(read_ids(deletions))
    return LaterFindings(
        later=later,
        written_since=bool(later or later.recreated) or is_deleted or export is not None,
        added_file=added_file,
        deleted_file=deleted_file,
        export=export,
    )


def _not_exported(later: LaterWrites, file: str) -> PreconditionError:
    return PreconditionError(
        f"other writers added {counted(len(later.vectors), 'vector')} and "
        f"{counted(len(later.keys), 'KV key')} to the "
        f"target since the run, among them {_named([*later.vectors, *later.keys])}; a rollback "
        "does not copy them to Qdrant",
        remedy=f"run `q2v rollback --export-later-writes`, which seals all that {file} lists and "
        "every changed vector as a snapshot, then run the same command again; or pass "
        f"{_LEAVE}; nothing has been changed",
    )


def _not_current(export: Snapshot, newer: Newer) -> PreconditionError:
    return PreconditionError(
        f"{counted(len(newer.vectors), 'vector')} and {counted(len(newer.keys), 'KV key')} of "
        "the target were written or "
        f"removed after export {export.manifest.snapshot_id} was made, among them "
        f"{_named([*newer.vectors, *newer.keys])}",
        remedy="stop the writers of the new side, then run `q2v rollback --export-later-writes` "
        f"again; or pass {_LEAVE}; nothing has been changed",
    )


def _named(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:_NAMED_MAX])
