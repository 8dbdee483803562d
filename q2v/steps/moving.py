"""Migrate: choose or plan the run, then pre-images, vectors, KV index, counter."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn

from migrate.errors import ExitCode, PreconditionError, UsageError
from migrate.mapping.payload import Reason
from migrate.model.stamps import iso_stamp
from migrate.plan.metadata_indexes import check_metadata_indexes
from migrate.plan.quarantine import QuarantinedPoint, encode_quarantine
from migrate.plan.record import NO_TARGETS, RunPlan
from migrate.plan.target_shape import check_index
from migrate.ports import Clock, Progress
from migrate.run.folder import RunFolder, create_run, new_run_id
from migrate.run.stop_conditions import StopSigns
from migrate.snapshot.folder import Snapshot
from migrate.tables.plan_ids import IdTable
from migrate.upload import kv_index
from migrate.upload.kv_index import write_kv_index
from migrate.upload.pre_images import capture_pre_images
from migrate.upload.rounds import kept_changes, open_round, void_refusals
from migrate.upload.upload import upload_vectors
from q2v import wiring
from q2v.settings import Settings
from q2v.steps.choosing import choose_run
from q2v.steps.left_behind import RefusedPoint, refused_points
from q2v.steps.planning import (
    Choices,
    check_property_types,
    figure,
    open_id_table,
    plan_snapshot,
    read_kv_namespace,
)
from q2v.steps.uploaders import open_uploaders
from q2v.steps.window import check_window
from q2v.wiring import Target

NOTHING_TO_DO = "nothing to do: the run is complete and no reconcile report lists repairs"
Confirm = Callable[[str], None]  # gets the index name; raises UsageError unless confirmed


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrateReport:
    """The result of `q2v migrate`."""

    run_id: str
    path: str
    snapshot_id: str
    points: int
    acknowledged: int  # points whose vector the target took and has processed
    quarantined: dict[str, int]
    unwaived: int
    requests: int  # of this call, retries included
    mutations: int  # uploads taken, over all rounds
    refused_uploads: int  # uploads refused, over all rounds: what finding bad vectors has cost
    kv_entries: int
    counter: int
    seconds: float
    round: str  # full, repair, retry or none: what this call worked on
    evidence: str  # what proved that the vectors are processed
    refused: tuple[RefusedPoint, ...] = ()  # the first of them
    kept: tuple[str, ...] = ()  # ids and keys that another writer has changed, left as they are
    dry_run: bool = False

    @property
    def exit_code(self) -> ExitCode:
        """4 while changes of others are kept, 3 while quarantined points are not waived."""
        if self.kept:
            return ExitCode.DRIFT
        return ExitCode.QUARANTINED if self.unwaived else ExitCode.DONE


def migrate(
    snapshot: Snapshot,
    target: Target,
    settings: Settings,
    choices: Choices,
    folder: Path,
    *,
    confirm: Confirm,
    dry_run: bool,
    forced: frozenset[str] = frozenset(),
    clock: Clock,
    progress: Progress,
) -> MigrateReport:
    """Bring a snapshot into the target, or go on with it, or repair what drifted.

    A repair keeps what another writer has changed, but for the ids and keys in `forced`. The
    caller holds the lock of `folder`. Whatever is raised, running again goes on.
    """
    started = clock.monotonic_s()
    run = choose_run(snapshot, target, settings, choices)
    if run is None:
        if choices.retry_refused:
            raise UsageError(
                "no run of this snapshot has refused vectors that could be sent again",
                remedy="run `q2v migrate` without --retry-refused",
            )
        with open_id_table(folder, snapshot.manifest.points) as table:
            plan, quarantined = _plan(
                snapshot, target, settings, choices, table, clock=clock, progress=progress
            )
            if dry_run:
                return _dry_report(plan, snapshot, clock.monotonic_s() - started)
            confirm(plan.index.name)
            path = create_run(snapshot, plan, encode_quarantine(quarantined), table.targets())
        run, snapshot_read = RunFolder(path, snapshot), True
    else:
        snapshot_read = False
        if dry_run:
            return _dry_report(run.plan, snapshot, clock.monotonic_s() - started)
        confirm(run.plan.index.name)
        _check_waived(choices.waived)
        run.waive(choices.waived)
    try:
        return _write(
            run,
            target,
            settings,
            choices,
            folder,
            snapshot_read=snapshot_read,
            forced=forced,
            started_s=started,
            clock=clock,
            progress=progress,
        )
    finally:
        run.close()


def _plan(
    snapshot: Snapshot,
    target: Target,
    settings: Settings,
    choices: Choices,
    table: IdTable,
    *,
    clock: Clock,
    progress: Progress,
) -> tuple[RunPlan, tuple[QuarantinedPoint, ...]]:
    """Freeze every decision; `table` then holds what moves. Writes nothing anywhere."""
    index = target.vectors.read_index()
    if index is None:
        _refuse_missing_index(settings)
    namespace_id = target.kv.identity()["kv_namespace"]
    jurisdiction = settings.target.kv_jurisdiction
    read_kv_namespace(wiring.open_namespaces(target.http), namespace_id, jurisdiction)
    values, findings = plan_snapshot(snapshot, settings, choices, table, progress)
    check_index(index, values)
    findings.check_quarantine()
    findings.check_counter_key(settings.kv.counter_key)
    check_property_types(findings, settings)
    check_window(figure(findings, values, settings), settings)
    check_metadata_indexes(
        target.vectors,
        settings.target.metadata_index_types,
        pause_s=settings.limits.poll_s,
        clock=clock,
    )
    _check_waived(choices.waived)
    quarantine = encode_quarantine(findings.quarantined_points)
    return (
        RunPlan(
            run_id=new_run_id(snapshot, clock.wall_s()),
            tool=wiring.TOOL,
            created_at=iso_stamp(clock.wall_s()),
            snapshot_id=snapshot.manifest.snapshot_id,
            content_root=snapshot.manifest.content_root,
            points=findings.points,
            vectors=findings.vectors,
            files=findings.files,
            quarantined=findings.quarantined,
            quarantine_sha256=hashlib.sha256(quarantine).hexdigest(),
            quarantine_cap=findings.quarantine_cap,
            waived=choices.waived,
            changes=findings.changes,
            into_non_empty=choices.into_non_empty,
            vector_target=target.vectors.identity(),
            kv_target=target.kv.identity(),
            index=index,
            mapping=wiring.mapping_rules(settings),
            values=values,
            writes=wiring.write_rules(settings),
            targets=NO_TARGETS,
            metadata_indexes=settings.target.metadata_index_types,
        ),
        findings.quarantined_points,
    )


def _refuse_missing_index(settings: Settings) -> NoReturn:
    raise PreconditionError(
        f"vector index '{settings.target.vector_index}' does not exist",
        remedy="run `q2v provision` first; migrate never creates one",
    )


def _check_waived(waived: tuple[str, ...]) -> None:
    unknown = sorted(set(waived) - {reason.value for reason in Reason})
    if unknown:
        raise UsageError(
            f"unknown reason to waive: {', '.join(unknown)}",
            remedy=f"known are {', '.join(reason.value for reason in Reason)}",
        )


def _check_before_uploads(run: RunFolder, target: Target, settings: Settings, clock: Clock) -> None:
    """The metadata indexes may have been dropped since the plan, or the report to repair by.

    Those that the settings name now are wanted too: `q2v reconcile` asks for them as well.
    """
    if not run.state().rounds[-1].processed:
        check_metadata_indexes(
            target.vectors,
            wiring.wanted_indexes(run.plan, settings),
            pause_s=settings.limits.poll_s,
            clock=clock,
        )


def _dry_report(plan: RunPlan, snapshot: Snapshot, seconds: float) -> MigrateReport:
    return MigrateReport(
        run_id=plan.run_id,
        path=str(snapshot.runs / plan.run_id),
        snapshot_id=plan.snapshot_id,
        points=plan.points,
        acknowledged=0,
        quarantined=plan.quarantined,
        unwaived=plan.unwaived,
        requests=0,
        mutations=0,
        refused_uploads=0,
        kv_entries=0,
        counter=0,
        seconds=round(seconds, 3),
        round="none",
        evidence="dry run: nothing was written",
        dry_run=True,
    )


def _write(
    run: RunFolder,
    target: Target,
    settings: Settings,
    choices: Choices,
    folder: Path,
    *,
    snapshot_read: bool,
    forced: frozenset[str],
    started_s: float,
    clock: Clock,
    progress: Progress,
) -> MigrateReport:
    if run.journal.torn_tail:
        progress.say("the journal's last entry was cut by a kill; it is dropped")
    done = _Done("none", NOTHING_TO_DO, -target.budget.taken)
    if choices.retry_refused:
        void_refusals(run)
    state = run.state()
    waiting = choices.retry_refused and bool(state.refused)
    work = partial(
        _work_on_round,
        run,
        target,
        settings,
        folder,
        snapshot_read=snapshot_read,
        forced=forced,
        clock=clock,
        progress=progress,
    )
    if not state.completed or not choices.retry_refused:
        done = work(done, retry=False)
    if waiting:  # those of rounds whose vectors are processed get a round of their own
        done = work(done, retry=True)
    state = run.state()
    return MigrateReport(
        run_id=run.plan.run_id,
        path=str(run.path),
        snapshot_id=run.plan.snapshot_id,
        points=run.plan.points,
        acknowledged=state.vectors_acknowledged(),
        quarantined=run.quarantined_counts(),
        unwaived=run.unwaived,
        requests=done.requests + target.budget.taken,
        mutations=len(state.vectors_written()),
        refused_uploads=state.vectors_refused(),
        kv_entries=kv_index.entries_written(run),
        counter=kv_index.counter_value(run),
        seconds=round(clock.monotonic_s() - started_s, 3),
        round=done.kind,
        evidence=done.evidence,
        refused=refused_points(run),
        kept=tuple(kept_changes(run)),
    )


@dataclass(frozen=True, slots=True)
class _Done:
    """What a call has done so far."""

    kind: str  # of the round that was worked on
    evidence: str
    requests: int  # of other processes, less what the budget had counted at the start


def _work_on_round(
    run: RunFolder,
    target: Target,
    settings: Settings,
    folder: Path,
    done: _Done,
    *,
    snapshot_read: bool,
    forced: frozenset[str],
    retry: bool,
    clock: Clock,
    progress: Progress,
) -> _Done:
    """Pre-images if they are not complete, then the open or the next round, to its end."""
    # Started before they are needed: they load their libraries while the target is listed.
    with open_uploaders(run, settings, folder, progress=progress) as workers:
        capture_pre_images(
            run,
            target.vectors,
            target.kv,
            reads_in_flight=settings.limits.reads_in_flight,
            clock=clock,
            progress=progress,
        )
        selection = open_round(run, snapshot_read=snapshot_read, forced=forced, retry_refused=retry)
        if selection is None:
            return done
        kind = run.state().rounds[-1].kind
        stop = StopSigns(run.path, clock=clock, deadline_s=settings.limits.deadline_s)
        _check_before_uploads(run, target, settings, clock)
        evidence = upload_vectors(
            run,
            target.vectors,
            only=selection.vectors,
            workers=workers,
            quarantine_cap=settings.limits.max_quarantine,
            stop=stop,
            rules=wiring.settle_rules(settings),
            clock=clock,
            progress=progress,
        ).evidence
        requests = done.requests + sum(worker.requests for worker in workers)
    write_kv_index(
        run,
        target.kv,
        only=selection.keys,
        kept=selection.kept,
        stop=stop,
        clock=clock,
        progress=progress,
    )
    return _Done(kind, evidence, requests)
