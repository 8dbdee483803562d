"""Begin a move: open the run to continue, or plan a new run and write its plan.

Nothing is written to the target here. A plan is made from the whole snapshot, checked against the
target, and stored in the run's folder before the first write.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace

import pyarrow as pa

from migrate.cloudflare.kv_namespaces import KvNamespaces, read_kv_namespace
from migrate.errors import PreconditionError, UsageError
from migrate.model.stamps import iso_stamp
from migrate.plan.difference import Comparison
from migrate.plan.make import PlanFindings, check_snapshot, open_id_table
from migrate.plan.metadata_indexes import check_metadata_indexes
from migrate.plan.quarantine import encode_quarantine
from migrate.plan.record import NO_TARGETS, RunPlan
from migrate.plan.rules import PlanRules, check_waived
from migrate.plan.saved.record import PlannedPoints
from migrate.plan.saved.rows import COLUMNS, digest_rows
from migrate.plan.target_shape import check_index
from migrate.ports import Progress, Target
from migrate.run.choose.chain import base_of, choose_base, choose_run
from migrate.run.choose.find import check_is_of_source
from migrate.run.folder import RunFolder, create_catch_up, create_run, new_run_id
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot
from migrate.storage.layout import DIFFERENCE
from migrate.tables.plan_ids import FORMER_COLUMNS, IdTable
from migrate.upload.removal import left_by_refusals
from migrate.words import subject
from migrate.workers.executors import OpenMachines, this_machine

REMOVALS_SHOWN_MAX = 10
Confirm = Callable[[RunPlan], None]  # before the first write; raises UsageError to refuse


def confirmed(_plan: RunPlan) -> None:
    """Accept: the caller has confirmed already."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The run to write. After a dry run there is no run, only its plan."""

    plan: RunPlan
    run: RunFolder | None
    is_new: bool  # the whole snapshot has just been read and checked by this process


def begin_run(
    snapshot: Snapshot,
    target: Target,
    rules: PlanRules,
    runtime: Runtime,
    *,
    namespaces: KvNamespaces | None = None,
    confirm: Confirm = confirmed,
    open_machines: OpenMachines = this_machine,
) -> RunFolder:
    """Return the run of this snapshot to continue or repair, or a new run, for `migrate`.

    The caller holds the lock of the snapshot's folder, and closes the run. `open_machines` gives
    the machines that map the parts of a new run, by default this one alone. Raises
    PreconditionError, QuarantineExceededError, ForeignStateError, UsageError.
    """
    begun = begin(
        snapshot,
        target,
        rules,
        runtime,
        namespaces=namespaces,
        confirm=confirm,
        open_machines=open_machines,
    )
    assert begun.run is not None
    return begun.run


def begin(
    snapshot: Snapshot,
    target: Target,
    rules: PlanRules,
    runtime: Runtime,
    *,
    namespaces: KvNamespaces | None = None,
    confirm: Confirm | None = confirmed,
    open_machines: OpenMachines = this_machine,
) -> Begun:
    """As `begin_run`; without `confirm` it is a dry run: no run folder is written.

    With `namespaces` the KV namespace is looked up before the snapshot is read. `open_machines`
    map the parts of a new run; for one that is continued they are not opened.
    """
    run = choose_run(snapshot, target, rules)
    if run is not None:
        _check_agreed(run, rules)
        if confirm is None:
            run.close()
            return Begun(run.plan, None, is_new=False)
        confirm(run.plan)
        check_waived(rules.waived)
        run.waive(rules.waived)
        return Begun(run.plan, run, is_new=False)
    base = choose_base(snapshot, target, rules)
    rules = _as_before(rules, base)
    own = rules.mapping.own_index
    with (
        open_id_table(snapshot.folder.parent, snapshot.manifest.points, own=own) as table,
        nullcontext() if base is None else closing(base),
    ):
        plan, quarantine = make_plan(
            snapshot,
            target,
            rules,
            table,
            runtime,
            namespaces=namespaces,
            open_machines=open_machines,
        )
        if confirm is None:
            return Begun(plan, None, is_new=True)
        if base is None:
            confirm(plan)
            folder = create_run(snapshot, plan, quarantine, table.targets())
        else:
            _check_index_of(base, plan)
            confirm(plan)
            former = _former_rows(base, table)
            difference = Comparison(table, former, base.vectors, rules.max_delete)
            planned = replace(plan, base=base_of(base))
            folder = create_catch_up(snapshot, planned, quarantine, difference)
    run = RunFolder(folder, snapshot)
    try:
        _announce_removals(run, runtime.progress)
    except BaseException:
        run.close()
        raise
    return Begun(run.plan, run, is_new=True)


def _check_agreed(run: RunFolder, rules: PlanRules) -> None:
    """Raises PreconditionError, the run closed, for a run that is not the one agreed on."""
    if rules.agreed is None:
        return
    plan = run.plan
    try:
        counts = PlannedPoints(
            points=plan.points,
            vectors=plan.vectors,
            files=plan.files,
            quarantined=plan.quarantined,
            rows_sha256=digest_rows(run.targets(COLUMNS)),
        )
        rules.agreed.check_run(plan.index, counts)
    except BaseException:
        run.close()
        raise


def _former_rows(base: RunFolder, table: IdTable) -> Iterator[pa.RecordBatch]:
    """What the index holds by the base and the runs before it: the columns `FORMER_COLUMNS`.

    A vector that the target has refused is written again if it is still wanted. If it is not, what
    the index holds in its place has to go.
    """
    yield from base.targets(FORMER_COLUMNS, excluded=base.refused_rows())
    left = {
        vector_id: digest
        for vector_id, digest in left_by_refusals(base).items()
        if not table.has_vector(vector_id)
    }
    if left:
        columns = {"vector_id": list(left), "digest": list(left.values())}
        yield pa.RecordBatch.from_pydict(columns)


def _as_before(rules: PlanRules, base: RunFolder | None) -> PlanRules:
    """The rules with what the operator has accepted for the run that a catch-up continues from."""
    if base is None:
        return rules
    accepted = {*rules.waived, *base.plan.waived, *base.state().waived}
    declared = base.plan.metadata_indexes or {}
    return replace(
        rules,
        waived=tuple(sorted(accepted)),
        waived_indexes=rules.waived_indexes
        | {name for name, kind in declared.items() if rules.metadata_indexes.get(name) == kind},
        allow_cast=True,
    )


def _check_index_of(base: RunFolder, plan: RunPlan) -> None:
    """Raises PreconditionError when the index is not the one that the base wrote into."""
    if plan.index != base.plan.index:
        raise PreconditionError(
            f"vector index '{plan.index.name}' was created {plan.index.created_on}, run "
            f"{base.plan.run_id} wrote into one created {base.plan.index.created_on}: the former "
            "index was deleted with everything in it",
            remedy="take a new snapshot with `q2v snapshot` and migrate it",
        )


def _announce_removals(run: RunFolder, progress: Progress) -> None:
    """Name what a catch-up will delete, before it does."""
    difference = run.difference
    if difference is None or not difference.removals:
        return
    shown = ", ".join(f"'{one.vector_id}'" for one in difference.removals[:REMOVALS_SHOWN_MAX])
    progress.say(
        f"{subject(len(difference.removals), 'vector', 'is')} no longer wanted and will be "
        "deleted, among them "
        f"{shown}; {run.folder.address(DIFFERENCE)} names all of them"
    )


def make_plan(
    snapshot: Snapshot,
    target: Target,
    rules: PlanRules,
    table: IdTable,
    runtime: Runtime,
    *,
    namespaces: KvNamespaces | None = None,
    open_machines: OpenMachines = this_machine,
) -> tuple[RunPlan, bytes]:
    """Freeze every decision about a new run. Returns its plan and its quarantine.jsonl.

    The empty `table` then holds the rows that move. Writes nothing to any store. Raises
    PreconditionError when the target is not as the plan needs it, QuarantineExceededError,
    UsageError, also for an export of later writes.
    """
    check_is_of_source(snapshot)
    index = target.vectors.read_index()
    if index is None:
        name = target.vectors.identity()["vector_index"]
        raise PreconditionError(
            f"vector index '{name}' does not exist",
            remedy="run `q2v provision` first; migrate never creates one",
        )
    if namespaces is not None:
        namespace_id = target.kv.identity()["kv_namespace"]
        read_kv_namespace(namespaces, namespace_id, rules.kv_jurisdiction)
    if rules.agreed is not None:
        rules.agreed.check_target(target, index, rules.mapping, rules.writes)
    values, findings = check_snapshot(snapshot, rules, table, runtime, open_machines=open_machines)
    check_index(index, values, keeps_name=rules.mapping.shards is not None)
    if rules.agreed is not None:
        rules.agreed.check_points(findings.counts())
    check_findings(findings, rules)
    if rules.window is not None:
        rules.window.check(rules.window.estimate(findings.load(values, rules.writes)))
    check_metadata_indexes(
        target.vectors,
        rules.metadata_indexes,
        holds_vectors=rules.into_non_empty,
        pause_s=rules.poll_s,
        clock=runtime.clock,
    )
    check_waived(rules.waived)
    quarantine = encode_quarantine(findings.quarantined_points)
    plan = RunPlan(
        run_id=new_run_id(snapshot, runtime.clock.wall_s(), rules.mapping.own_index),
        tool=rules.tool,
        created_at=iso_stamp(runtime.clock.wall_s()),
        snapshot_id=snapshot.manifest.snapshot_id,
        content_root=snapshot.manifest.content_root,
        points=findings.points,
        vectors=findings.vectors,
        files=findings.files,
        quarantined=findings.quarantined,
        quarantine_sha256=hashlib.sha256(quarantine).hexdigest(),
        quarantine_cap=findings.quarantine_cap,
        waived=rules.waived,
        changes=findings.changes,
        into_non_empty=rules.into_non_empty,
        vector_target=target.vectors.identity(),
        kv_target=target.kv.identity(),
        index=index,
        mapping=rules.mapping,
        values=values,
        writes=rules.writes,
        targets=NO_TARGETS,
        metadata_indexes=dict(rules.metadata_indexes),
        elsewhere=findings.elsewhere,
    )
    return plan, quarantine


def check_findings(findings: PlanFindings, rules: PlanRules) -> None:
    """Raises the error of the first finding that forbids a run."""
    findings.check_quarantine()
    findings.check_counter_key(rules.writes.counter_key)
    findings.check_property_types(chosen=rules.indexes_chosen, waived=rules.waived_indexes)
    if findings.namespaces is not None:
        findings.namespaces.check()


def refuse_without_refused(snapshot: Snapshot, target: Target, rules: PlanRules) -> None:
    """Raises UsageError when no run of the snapshot can be retried."""
    run = choose_run(snapshot, target, rules)
    if run is None:
        raise UsageError(
            "no run of this snapshot has refused vectors that could be sent again",
            remedy="run `q2v migrate` without --retry-refused",
        )
    run.close()
