"""Undo a run together with the runs that it continues from, the newest first.

A catch-up writes into what an earlier run has written. Its own rollback gives back what that run
left, and the rollback of that run gives back what was there before it: so the whole chain is undone
in the reverse order of its writes.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace

from migrate.ports import Target
from migrate.run.choose import check_is_last, open_base
from migrate.run.folder import RunFolder
from migrate.runtime import Runtime
from reconcile.rollback.manifest import build_manifest
from reconcile.rollback.report import Consent, RollbackReport, UndoRules
from reconcile.rollback.roll_back import (
    is_repeated,
    preview_rollback,
    reopen_rollback,
    undo_run,
)

_SUMMED = ("vectors_deleted", "vectors_restored", "kv_deleted", "kv_restored", "requests")


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
    """What `roll_back_chain` would do, from the files of the runs; sends no request."""
    return _together(
        [
            preview_rollback(run, build_manifest(run, requests_per_5min=requests_per_5min))
            for run in chain
            if run.state().pre_images is not None or len(chain) == 1
        ]
    )


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

    A catch-up that has written nothing yet is passed over.
    """
    begun = [run for run in chain if run.state().pre_images is not None or len(chain) == 1]
    pairs = [(run, build_manifest(run, requests_per_5min=requests_per_5min)) for run in begun]
    repeated = next((at for at, run in enumerate(begun) if is_repeated(run, forced)), len(begun))
    # It may put back what an earlier run wrote, so that run is undone again, also after a kill.
    for run, manifest in pairs[repeated + 1 :]:
        if not is_repeated(run, forced):
            reopen_rollback(run, manifest)
    reports: list[RollbackReport] = []
    for run, manifest in pairs:
        consent = Consent(
            forced=forced,
            leave_later_writes=leave_later_writes,
            kept=frozenset(name for report in reports for name in report.conflicts),
        )
        reports.append(undo_run(run, manifest, target, rules, runtime, consent=consent))
    return _together(reports)


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
        conflicts=sorted({name for report in reports for name in report.conflicts}),
        differs={name: what for report in reports for name, what in report.differs.items()},
        later_writes=max(report.later_writes for report in reports),
        forced_unknown=tuple(sorted(frozenset.intersection(*known))),
        runs=tuple(report.run_id for report in reports),
    )
