"""Where snapshots and runs of a folder stand, read from their files."""

from contextlib import closing, suppress
from typing import get_args

from migrate.errors import ArtefactDamagedError, MigrationError
from migrate.model.hmac_key import SealKey
from migrate.model.sealed_json import damaged
from migrate.run.choose.chain import open_base
from migrate.run.drift_report import journals_compared
from migrate.run.folder import REPORT_BYTES_MAX, RunFolder, read_plan, report_folders, run_folders
from migrate.run.next_step import Finding, Sealing, read_finding
from migrate.snapshot.begun.journal import open_snapshot_journal
from migrate.snapshot.folder import Snapshot, sealed_folders, unsealed_folders
from migrate.snapshot.manifest import SourceScope
from migrate.storage.folder import Folder, WorkFolder
from migrate.storage.layout import REPORT, reconcile_name
from q2v.rules.scope import configured_scope
from q2v.rules.stages import wanted_indexes
from q2v.settings import Settings
from reconcile.gate.record import is_newest_go
from reconcile.report.report import Verdict

ANY = SourceScope(collection=None, filter=None)  # every collection, whole or in part


def last(folders: list[WorkFolder]) -> WorkFolder | None:
    """The last of some folders; None of none."""
    return folders[-1] if folders else None


def newest_run(
    folder: WorkFolder,
    scope: SourceScope = ANY,
    key: SealKey | None = None,
    *,
    own: str | None = None,
) -> WorkFolder | None:
    """The newest run of the points of `scope`; without one, the run a command without RUN takes.

    `own`: only runs into this one of several vector indexes.
    """
    for sealed in reversed(sealed_folders(folder)):
        if scope != ANY:
            found = scope_of(sealed, key, sealed=True)
            if found is not None and not scope.fits(*found):
                continue
        with suppress(MigrationError):
            runs = run_folders(Snapshot(sealed), own)
            if runs:
                return runs[-1]
    return None


def newest_of(
    folder: WorkFolder, than: WorkFolder | None, scope: SourceScope, key: SealKey | None
) -> tuple[Sealing, WorkFolder | None]:
    """The newest snapshot of a scope that is newer than another, and its folder if sealed."""

    def counts(one: WorkFolder) -> bool:
        return than is None or one.name > than.name

    begun = [one for one in unsealed_folders(folder) if counts(one)]
    sealed = [one for one in sealed_folders(folder) if counts(one)]
    for one in sorted([*begun, *sealed], key=str, reverse=True):
        found = scope_of(one, key, sealed=one in sealed)
        if found is None or scope.fits(*found):
            return (Sealing.SEALED, one) if one in sealed else (Sealing.BEGUN, None)
    return Sealing.NONE, None


def scope_of(folder: WorkFolder, key: SealKey | None, *, sealed: bool) -> tuple[str, object] | None:
    """Collection and filter of a snapshot; None when its files cannot be read.

    The command that reads them says why.
    """
    with suppress(MigrationError):
        if sealed:
            manifest = Snapshot(folder, key).manifest
            return manifest.collection, manifest.filter
        entries = open_snapshot_journal(folder).entries
        return (str(entries[0]["collection"]), entries[0].get("filter")) if entries else None
    return None


def readable(folder: WorkFolder, key: SealKey | None) -> Snapshot | None:
    """A sealed snapshot; None when its files cannot be read: its command says why."""
    with suppress(MigrationError):
        return Snapshot(folder, key)
    return None


def is_flattened(snapshot: Snapshot, run: RunFolder) -> bool:
    """Whether a snapshot without a run holds the points of the chain that this run has moved."""
    moved, found = run.snapshot.manifest, snapshot.manifest
    return (
        moved.parent is not None
        and found.parent is None
        and (found.points, found.set_digest) == (moved.points, moved.set_digest)
        and not run_folders(snapshot)
        and run.state().completed
        and not run.state().rollback_opened
    )


def is_base_left(run: RunFolder) -> bool:
    """Whether a run that this one continues from is not rolled back."""
    base = open_base(run)
    if base is None:
        return False
    with closing(base):
        return not base.state().rollback_completed or is_base_left(base)


def is_bound_elsewhere(run: RunFolder, settings: Settings) -> bool:
    """Whether the settings name a vector index that no run of the folder was planned for.

    For the same points, and for a move into one index alone.
    """
    wanted, manifest = settings.target.vector_index, run.snapshot.manifest
    is_divided = bool(settings.target.shards) or run.plan.mapping.own_index is not None
    if is_divided or wanted in {None, run.plan.vector_target["vector_index"]}:
        return False
    if not configured_scope(settings).fits(manifest.collection, manifest.filter):
        return False
    for sealed in sealed_folders(run.snapshot.folder.parent):
        with suppress(MigrationError):  # the command that reads that run says why it cannot
            snapshot = Snapshot(sealed, run.snapshot.key)
            plans = [read_plan(folder, snapshot) for folder in run_folders(snapshot)]
            if any(plan.vector_target["vector_index"] == wanted for plan in plans):
                return False
    return True


def _numbers(run: RunFolder) -> list[int]:
    return sorted(int(name) for name in run.reconciles.names() if name.isdigit())


def is_reconcile_begun(run: RunFolder) -> bool:
    """Whether the newest reconcile has no report; after the begin of a rollback none counts."""
    if run.state().rollback_opened:
        return False
    numbers = _numbers(run)
    return bool(numbers) and not _reconcile(run, numbers[-1]).has_file(REPORT)


def _reconcile(run: RunFolder, number: int) -> Folder:
    return run.reconciles.child(reconcile_name(number))


def newest_verdict(run: RunFolder) -> str | None:
    """Of the newest reconcile that has a report. Raises ArtefactDamagedError."""
    reports = report_folders(run, REPORT)
    if not reports:
        return None
    report = reports[-1].file(REPORT)
    verdict = report.read_json_object(bytes_max=REPORT_BYTES_MAX).get("verdict")
    if verdict not in get_args(Verdict):
        raise damaged(str(report), "it holds no verdict")
    return str(verdict)


def current_finding(run: RunFolder) -> Finding | None:
    """What the newest report says, if the run's journal is as it was then.

    A rollback writes to that journal: after its begin no report counts, and none is opened.
    """
    if run.state().rollback_opened:
        return None
    for number in reversed(_numbers(run)):
        folder = _reconcile(run, number)
        if folder.has_file(REPORT):
            if run.journal.file.hash()[1] not in journals_compared(run, folder):
                return None
            return read_finding(folder.file(REPORT).read_json_object(bytes_max=REPORT_BYTES_MAX))
    return None


def is_index_unasked(run: RunFolder, finding: Finding | None, settings: Settings) -> bool:
    """Whether a metadata index is wanted now that the newest report does not speak of."""
    if finding is None or finding.indexes is None:
        return False
    return bool(wanted_indexes(run.plan, settings).items() - finding.indexes)


def is_go(run: RunFolder) -> bool:
    """Whether the newest gate said go; a record that was changed is no go, and no obstacle here."""
    try:
        return is_newest_go(run)
    except ArtefactDamagedError:
        return False
