"""Migrate: choose or plan the run, then pre-images, vectors, KV index, counter."""

import hashlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from migrate.errors import PreconditionError, UsageError
from migrate.mapping.payload import Reason
from migrate.migrate import WriteOptions
from migrate.migrate import migrate as write_run
from migrate.model.stamps import iso_stamp
from migrate.plan.metadata_indexes import check_metadata_indexes
from migrate.plan.quarantine import QuarantinedPoint, encode_quarantine
from migrate.plan.record import NO_TARGETS, RunPlan
from migrate.plan.target_shape import check_index
from migrate.ports import Clock, Progress
from migrate.run.folder import RunFolder, create_run, new_run_id
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot
from migrate.tables.plan_ids import IdTable
from migrate.upload.report import MigrateReport, report_dry_run
from q2v import wiring
from q2v.settings import Settings
from q2v.steps.choosing import choose_run
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
from q2v.wiring import CloudflareTarget

Confirm = Callable[[str], None]  # gets the index name; raises UsageError unless confirmed


def migrate(
    snapshot: Snapshot,
    target: CloudflareTarget,
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
                return replace(
                    report_dry_run(plan, snapshot), seconds=round(clock.monotonic_s() - started, 3)
                )
            confirm(plan.index.name)
            path = create_run(snapshot, plan, encode_quarantine(quarantined), table.targets())
        run, snapshot_read = RunFolder(path, snapshot), True
    else:
        snapshot_read = False
        if dry_run:
            return replace(
                report_dry_run(run.plan, snapshot), seconds=round(clock.monotonic_s() - started, 3)
            )
        confirm(run.plan.index.name)
        _check_waived(choices.waived)
        run.waive(choices.waived)
    options = WriteOptions(
        settle=wiring.settle_rules(settings),
        quarantine_cap=settings.limits.max_quarantine,
        deadline_s=settings.limits.deadline_s,
        metadata_indexes=wiring.wanted_indexes(run.plan, settings),
        snapshot_read=snapshot_read,
        forced=forced,
        retry_refused=choices.retry_refused,
    )
    runtime = Runtime(
        clock=clock, progress=progress, reads_in_flight=settings.limits.reads_in_flight
    )
    uploaders = partial(open_uploaders, settings=settings, folder=folder, progress=progress)
    sent_before = target.budget.taken
    with closing(run):
        report = write_run(run, target, options, runtime, open_uploaders=uploaders)
    return replace(
        report,
        requests=report.requests + target.budget.taken - sent_before,
        seconds=round(clock.monotonic_s() - started, 3),
    )


def _plan(
    snapshot: Snapshot,
    target: CloudflareTarget,
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
