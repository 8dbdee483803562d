"""Restore the target to its state before a run: KV first, then vectors.

Every id and key is compared before it is written. A record that holds neither the content of the
run nor the one before it was changed by another writer: it is a conflict. A conflict is kept and
listed, and is overwritten only if the operator names it.
"""

from collections.abc import Sequence

from migrate.ports import Target
from migrate.run.folder import RunFolder
from migrate.run.journal import Kind
from migrate.runtime import Runtime
from migrate.storage.id_files import read_checked_ids, read_ids, write_ids
from migrate.storage.layout import CONFLICTS
from reconcile.naming import write_named
from reconcile.rollback.consent import LaterFindings, check_later_writes, usable_export
from reconcile.rollback.kv import undo_kv
from reconcile.rollback.manifest import RollbackManifest, check_manifest, write_manifest
from reconcile.rollback.report import Consent, RollbackReport, UndoRules, UndoScope
from reconcile.rollback.vectors import VectorUndo


def preview_rollback(run: RunFolder, manifest: RollbackManifest) -> RollbackReport:
    """What a rollback would do, from the files of the run; nothing, of one that is done.

    Sends no request. Writes the rollback manifest. Raises ArtefactDamagedError when a file that it
    names has changed.
    """
    check_manifest(run, manifest)
    path, _ = write_manifest(run, manifest)
    state = run.state()
    if state.rollback_completed:
        done = RollbackReport(
            run_id=manifest.run_id,
            executed=False,
            already_done=True,
            conflicts=_kept_conflicts(run),
            manifest=path,
            cannot_undo=manifest.cannot_undo,
        )
        _set_counter_apart(run, done, is_explained=state.rollback_counter_kept)
        return done
    return RollbackReport(
        run_id=manifest.run_id,
        executed=False,
        vectors_deleted=manifest.vectors_created,
        vectors_restored=manifest.vectors_overwritten + manifest.vectors_removed,
        kv_deleted=manifest.kv_created,
        kv_restored=manifest.kv_overwritten,
        requests=manifest.requests,
        minutes=manifest.minutes,
        undone_before=_undone_before(run),
        manifest=path,
        cannot_undo=manifest.cannot_undo,
        commands_before=manifest.commands_before,
        commands_after=manifest.commands_after,
    )


def roll_back(
    run: RunFolder,
    manifest: RollbackManifest,
    target: Target,
    rules: UndoRules,
    runtime: Runtime,
    *,
    forced: frozenset[str] = frozenset(),
    leave_later_writes: bool = False,
) -> RollbackReport:
    """Undo the run. Can be repeated after a crash, and after success, when nothing is sent.

    `forced` are ids and keys to restore although another writer changed them; after success only
    the conflicts are compared again. Raises PreconditionError, before any write of this run, when
    ids or keys were added to the target since the run and `leave_later_writes` is false;
    IndeterminateError when the deletions do not become visible in time.
    """
    consent = Consent(forced=forced, leave_later_writes=leave_later_writes)
    found = look_for_later_writes([run], target, rules, runtime, consent=consent)
    scope = UndoScope(forced=forced, written_since=found.written_since)
    report = undo_run(run, manifest, target, rules, runtime, scope=scope)
    found.show_in(report, run)
    return report


def look_for_later_writes(
    runs: Sequence[RunFolder],
    target: Target,
    rules: UndoRules,
    runtime: Runtime,
    *,
    consent: Consent,
) -> LaterFindings:
    """As `check_later_writes`, for those of the runs, newest first, that have pre-images.

    Sends nothing when there is nothing to undo. Before any write of the rollback.
    """
    written = [run for run in runs if run.state().pre_images is not None]
    left = [run for run in written if not _is_done(run, consent.forced)]
    if not any(_has_written(run) for run in left):
        return LaterFindings(export=usable_export(runs[0], runtime))
    leave = consent.leave_later_writes
    return check_later_writes(written, target, rules, runtime, leave=leave)


def _is_done(run: RunFolder, forced: frozenset[str]) -> bool:
    return run.state().rollback_completed and not is_repeated(run, forced)


def _has_written(run: RunFolder) -> bool:
    """Whether any write of the run may have had an effect; without one nothing is later."""
    state = run.state()
    return bool(state.vectors_written()) or state.may_have_removed() or state.kv_written()


def undo_run(
    run: RunFolder,
    manifest: RollbackManifest,
    target: Target,
    rules: UndoRules,
    runtime: Runtime,
    *,
    scope: UndoScope,
) -> RollbackReport:
    """Undo one run, which may be one of a chain; later writes are not looked for."""
    check_manifest(run, manifest)
    path, sha256 = write_manifest(run, manifest)
    report = RollbackReport(
        run_id=manifest.run_id,
        executed=True,
        manifest=path,
        cannot_undo=manifest.cannot_undo,
        commands_before=manifest.commands_before,
        commands_after=manifest.commands_after,
        forced_unknown=run.unknown_names(scope.forced),
    )
    state = run.state()
    if _is_done(run, scope.forced):
        report.already_done = True
        report.conflicts = _kept_conflicts(run)
        _set_counter_apart(run, report, is_explained=state.rollback_counter_kept)
        return report
    # What was undone before may hold what was there before an earlier run of the chain.
    only = frozenset(_kept_conflicts(run)) if state.rollback_completed else None
    written, removed = state.vectors_written(), state.may_have_removed()
    continues = {} if state.undone is None else {"continues": True}
    run.journal.append({"type": Kind.ROLLBACK_OPENED.value, "manifest_sha256": sha256, **continues})
    undo = VectorUndo(run, target.vectors, report, rules, runtime, scope=scope, only=only)
    if removed:
        undo.restore_removed()
    if state.kv_written():
        undo_kv(run, target.kv, report, rules, runtime, scope=scope, only=only)
    if written:
        undo.undo_batches(written)
    report.differs_file = write_named(run.rollback, report.differs)
    count, conflicts_sha256 = write_ids(run.rollback.file(CONFLICTS), report.conflicts)
    is_explained = scope.written_since or state.rollback_counter_kept
    _set_counter_apart(run, report, is_explained=is_explained)
    run.journal.append(
        {
            "type": Kind.ROLLBACK_COMPLETED.value,
            "conflicts": count,
            "conflicts_sha256": conflicts_sha256,
            **({"counter_kept": True} if report.counter_kept else {}),
        }
    )
    return report


def _set_counter_apart(run: RunFolder, report: RollbackReport, *, is_explained: bool) -> None:
    """A writer that adds or removes vectors sets the counter: that is no conflict to be settled.

    It stays in the file of the conflicts, so that a forced rollback may put it back.
    """
    key = run.plan.writes.counter_key
    if is_explained and key in report.conflicts:
        report.conflicts.remove(key)
        report.counter_kept = key


def is_repeated(run: RunFolder, forced: frozenset[str]) -> bool:
    """Whether a completed rollback is done again, for its conflicts."""
    state = run.state()
    return bool(state.rollback_completed and state.rollback_conflicts and forced)


def _undone_before(run: RunFolder) -> int:
    """Vectors that a rollback has undone that is not complete."""
    undone = run.state().undone
    return 0 if undone is None else undone.vectors_deleted + undone.vectors_restored


def reopen_rollback(run: RunFolder, manifest: RollbackManifest) -> None:
    """Make a rollback start over that is complete or interrupted: its writes may be overwritten."""
    if run.state().rollback_completed or run.state().undone is not None:
        _, sha256 = write_manifest(run, manifest)
        run.journal.append({"type": Kind.ROLLBACK_OPENED.value, "manifest_sha256": sha256})


def _kept_conflicts(run: RunFolder) -> list[str]:
    """The conflicts of a completed rollback.

    The journal of an earlier version has no checksum of the file; then it is read unchecked.
    """
    file = run.rollback.file(CONFLICTS)
    completed = [e for e in run.journal.entries if e["type"] == Kind.ROLLBACK_COMPLETED]
    sha256 = completed[-1].get("conflicts_sha256")
    if sha256 is None and file.is_there():
        return read_ids(file)
    return read_checked_ids(
        file,
        run.state().rollback_conflicts,
        str(sha256),
        remedy="restore the file from a copy; nothing has been sent",
    )
