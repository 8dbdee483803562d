"""Undo a run together with the runs that it continues from, the newest first.

A catch-up writes into what an earlier run has written. Its own rollback gives back what that run
left, and the rollback of that run gives back what was there before it: so the whole chain is undone
in the reverse order of its writes.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace

from migrate.ports import Target
from migrate.run.choose.chain import check_is_last, open_base
from migrate.run.folder import RunFolder
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot
from reconcile.rollback.consent import show_export, usable_export
from reconcile.rollback.manifest import RollbackManifest, build_manifest
from reconcile.rollback.report import Consent, RollbackReport, UndoRules, UndoScope
from reconcile.rollback.roll_back import (
    is_repeated,
    look_for_later_writes,
    preview_rollback,
    reopen_rollback,
    undo_run,
)

_SUMMED = (
    "vectors_deleted",
    "vectors_restored",
    "kv_deleted",
    "kv_restored",
    "undone_before",
    "requests",
)


@contextmanager
def open_chain(run: RunFolder) -> Iterator[list[RunFolder]]:
    """This run and those that it continues from, the newest first. Closes all but this one.

    Raises PreconditionError while a later catch-up continues from this run, ForeignStateError when
    a run of the chain is not there.
    """
    check_is_last(run)
    with ExitStack() as stack:
        chain = [run]
        while (base := open_base(chain[-1])) is not None:
            stack.callback(base.close)
            chain.append(base)
        yield chain


def preview_chain(chain: Sequence[RunFolder], *, requests_per_5min: int) -> RollbackReport:
    """What `roll_back_chain` would do, from the files of the runs; sends no request.

    Names the newest export of later writes.
    """
    begun = _begun(chain)
    export = usable_export(begun[0])
    report = _together(
        [preview_rollback(run, _manifest(run, requests_per_5min, export)) for run in begun]
    )
    if export is not None:
        show_export(export, begun[0], report)
    return report


def _begun(chain: Sequence[RunFolder]) -> list[RunFolder]:
    """Without catch-ups that have written nothing yet."""
    return [run for run in chain if run.state().pre_images is not None or len(chain) == 1]


def _manifest(run: RunFolder, requests_per_5min: int, export: Snapshot | None) -> RollbackManifest:
    """What undoes the run; with the export of what is later than the whole chain."""
    manifest = build_manifest(run, requests_per_5min=requests_per_5min)
    if export is None:
        return manifest
    named = {"path": str(export.folder), "content_root": export.manifest.content_root}
    return replace(manifest, later_export=named)


def roll_back_chain(
    chain: Sequence[RunFolder],
    target: Target,
    rules: UndoRules,
    runtime: Runtime,
    *,
    requests_per_5min: int,
    forced: frozenset[str] = frozenset(),
    leave_later_writes: bool = False,
) -> RollbackReport:
    """Undo these runs, the newest first; raises as `roll_back`. Safe to repeat after a crash.

    A catch-up that has written nothing yet is passed over. Later writes are looked for once, beside
    the whole chain, before the first write.
    """
    begun = _begun(chain)
    consent = Consent(forced=forced, leave_later_writes=leave_later_writes)
    found = look_for_later_writes(begun, target, rules, runtime, consent=consent)
    pairs = [(run, _manifest(run, requests_per_5min, found.export)) for run in begun]
    repeated = next((at for at, run in enumerate(begun) if is_repeated(run, forced)), len(begun))
    # It may put back what an earlier run wrote, so that run is undone again, also after a kill.
    for run, manifest in pairs[repeated + 1 :]:
        if not is_repeated(run, forced):
            reopen_rollback(run, manifest)
    reports: list[RollbackReport] = []
    for position, (run, manifest) in enumerate(pairs):
        scope = UndoScope(
            forced=forced,
            written_since=found.written_since,
            older=tuple(begun[position + 1 :]),
        )
        reports.append(undo_run(run, manifest, target, rules, runtime, scope=scope))
    report = _together(reports)
    found.show_in(report, begun[0])
    return report


def _together(reports: Sequence[RollbackReport]) -> RollbackReport:
    """One report for all: that of the newest run, with the sums of all."""
    first = reports[0]
    if len(reports) == 1:
        return first
    names = {field.name for field in fields(first)}
    assert names.issuperset(_SUMMED)
    known = [frozenset(report.forced_unknown) for report in reports]
    return replace(
        first,
        **{name: sum(getattr(report, name) for report in reports) for name in _SUMMED},
        minutes=sum(report.minutes for report in reports),
        already_done=all(report.already_done for report in reports),
        counter_kept=next((one.counter_kept for one in reports if one.counter_kept), ""),
        conflicts=sorted({name for report in reports for name in report.conflicts}),
        differs={name: what for report in reports for name, what in report.differs.items()},
        forced_unknown=tuple(sorted(frozenset.intersection(*known))),
        runs=tuple(report.run_id for report in reports),
    )
