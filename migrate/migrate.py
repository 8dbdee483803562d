"""Write one planned run into its target: the order of the writes, which is the safety argument.

1. The pre-image of every id and key is durable before the first write: each write can be undone.
2. Every file that decides what a round writes is checked before the round is opened in the journal.
3. An intent is journalled before each upload is sent, and an ack after the answer. An upload
   without an ack is sent again with the same bytes.
4. A KV entry is written only after reading back some of the round's last vectors has proved that
   all of them are processed, so a key never names a vector that readers cannot see.
5. The counter is written after the KV index: a reader that finds it finds a complete one.
6. A catch-up deletes a vector last, when no KV entry names it any more.

A rollback has the reverse order: keys first, vectors after (`reconcile/rollback`).
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

from migrate.errors import PreconditionError
from migrate.plan.metadata_indexes import check_metadata_indexes
from migrate.ports import Target
from migrate.run.folder import RunFolder
from migrate.run.stop_conditions import StopConditions
from migrate.runtime import Runtime
from migrate.upload.kv_index import write_kv_index
from migrate.upload.pre_images import capture_pre_images
from migrate.upload.removal import remove_vectors
from migrate.upload.report import NO_ROUND, MigrateReport, RoundReport, report_run
from migrate.upload.rounds import complete_round, open_round, void_refusals
from migrate.upload.settle import SettleRules
from migrate.upload.share import UploadWorker
from migrate.upload.upload import upload_vectors

OpenUploaders = Callable[[RunFolder], AbstractContextManager[Sequence[UploadWorker]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """How a run is written; the plan decides what is written."""

    settle: SettleRules
    quarantine_cap: int | None = None  # points that may be left out; None: as the plan says
    deadline_s: float | None = None  # no write starts later than this after its round was opened
    metadata_indexes: Mapping[str, str] = field(default_factory=dict)  # property -> type
    snapshot_read: bool = False  # this process has read and checked the whole snapshot
    forced: frozenset[str] = frozenset()  # ids and keys to overwrite although others changed them
    retry_refused: bool = False  # send the refused vectors again


def in_this_process(_run: RunFolder) -> AbstractContextManager[Sequence[UploadWorker]]:
    """Use no other processes: this one sends the uploads one by one."""
    return nullcontext(())


def migrate(
    run: RunFolder,
    target: Target,
    options: WriteOptions,
    runtime: Runtime,
    *,
    open_uploaders: OpenUploaders = in_this_process,
) -> MigrateReport:
    """Write the next round: the full one, a repair of a report's drift, or a retry.

    The caller holds the lock of the snapshot's folder. Safe to repeat after a crash or an error:
    the journal says where to continue. Raises PreconditionError, QuarantineExceededError,
    IndeterminateError, BudgetExhaustedError (deadline, stop file), ArtefactDamagedError, and
    the errors of the target.
    """
    if run.journal.torn_tail:
        runtime.progress.say("the journal's last entry is incomplete after a kill; it is dropped")
    if options.retry_refused:
        void_refusals(run)
    _check_added_indexes(run, target, options, runtime)
    state = run.state()
    done = NO_ROUND
    if not (options.retry_refused and state.completed):
        first = replace(options, retry_refused=False)
        done = _write_round(run, target, first, runtime, open_uploaders)
    if options.retry_refused and state.refused:  # of rounds whose vectors are processed
        retry = _write_round(run, target, options, runtime, open_uploaders)
        done = replace(retry, requests=done.requests + retry.requests)
    return replace(report_run(run, done), forced_unknown=run.unknown_names(options.forced))


def _discard_unwritten(run: RunFolder) -> None:
    """Remove the folder of a run for which nothing was read or written yet: it was refused."""
    state = run.state()
    if state.pre_images is None and not state.pre_image_parts and not state.rounds:
        run.discard()


def _write_round(
    run: RunFolder,
    target: Target,
    options: WriteOptions,
    runtime: Runtime,
    open_uploaders: OpenUploaders,
) -> RoundReport:
    """Capture pre-images, open the round, upload, read back, then KV index and counter."""
    # The uploaders load their libraries while the target is listed.
    with open_uploaders(run) as workers:
        try:
            capture_pre_images(run, target, runtime)
        except PreconditionError:
            _discard_unwritten(run)
            raise
        selection = open_round(
            run,
            snapshot_read=options.snapshot_read,
            forced=options.forced,
            retry_refused=options.retry_refused,
        )
        if selection is None:
            return NO_ROUND
        stop = StopConditions(run.folder, clock=runtime.clock, deadline_s=options.deadline_s)
        runtime = replace(runtime, stop=stop)
        _check_dropped_indexes(run, target, options, runtime)
        uploaded = upload_vectors(
            run,
            target.vectors,
            options.settle,
            runtime,
            only=selection.vectors,
            workers=workers,
            quarantine_cap=options.quarantine_cap,
        )
        requests = sum(worker.requests for worker in workers)
    write_kv_index(run, target.kv, runtime, only=selection.keys, kept=selection.kept)
    remove_vectors(run, target.vectors, options.settle, runtime)
    complete_round(run, runtime.clock)
    return RoundReport(run.state().rounds[-1].kind, uploaded.evidence, requests)


def _check_added_indexes(
    run: RunFolder, target: Target, options: WriteOptions, runtime: Runtime
) -> None:
    """Raises PreconditionError for an index declared since the plan that the target lacks."""
    planned = run.plan.metadata_indexes or {}
    wanted = options.metadata_indexes
    added = {name: kind for name, kind in wanted.items() if planned.get(name) != kind}
    _check_indexes(run, target, added, pause_s=options.settle.poll_s, runtime=runtime)


def _check_dropped_indexes(
    run: RunFolder, target: Target, options: WriteOptions, runtime: Runtime
) -> None:
    """Raises PreconditionError when a metadata index has been dropped since the plan."""
    if not run.state().rounds[-1].processed:
        wanted = options.metadata_indexes
        _check_indexes(run, target, wanted, pause_s=options.settle.poll_s, runtime=runtime)


def _check_indexes(
    run: RunFolder,
    target: Target,
    wanted: Mapping[str, str],
    *,
    pause_s: float,
    runtime: Runtime,
) -> None:
    plan = run.plan
    was_empty = not plan.into_non_empty and plan.base is None
    check_metadata_indexes(
        target.vectors,
        wanted,
        holds_vectors=not was_empty or bool(run.state().vectors_written()),
        pause_s=pause_s,
        clock=runtime.clock,
    )
