"""Which run is continued, what a run continues from, and which run continues from it."""

import shlex
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace

from migrate.errors import ForeignStateError, PreconditionError
from migrate.plan.record import BaseRun, RunPlan
from migrate.plan.rules import PlanRules
from migrate.plan.target_shape import FRESH_INDEXES
from migrate.ports import Target
from migrate.run.folder import RunFolder, read_plan, run_folders
from migrate.run.next_step import Situation
from migrate.snapshot.folder import Snapshot, sealed_folders
from migrate.storage.folder import WorkFolder
from migrate.storage.layout import RUNS


def choose_run(snapshot: Snapshot, target: Target, rules: PlanRules) -> RunFolder | None:
    """The run to continue; None when a new run is due.

    A run that was rolled back, or one that has written nothing yet and has another plan, is not
    continued; nor is a catch-up that has written nothing yet when the run before it has been
    rolled back since. Raises ForeignStateError for a run with other decisions that is half written,
    or complete while the index holds vectors that must not be written over. Raises
    PreconditionError when a later catch-up has written over what the run wrote.
    """
    _check_shards(snapshot, target, rules)
    runs = run_folders(snapshot, rules.mapping.own_index)
    if not runs:
        return None
    run = RunFolder(runs[-1], snapshot)
    state = run.state()
    if state.rollback_completed:
        return None
    if state.rollback_opened:
        raise PreconditionError(
            f"run {run.plan.run_id} is being rolled back",
            remedy=f"{Situation.ROLLING_BACK.remedy} first",
        )
    different = _differences(run.plan, target, rules)
    begun = state.pre_images is not None or run.plan.into_non_empty == rules.into_non_empty
    if begun and not different and not _is_base_undone(run):
        check_is_last(run)
        return run
    if state.rounds and not state.completed:
        raise ForeignStateError(
            f"run {run.plan.run_id} is half written and has other decisions: "
            f"{'; '.join(different)}",
            remedy="restore the former settings and finish it, or roll it back first",
        )
    if different and not rules.into_non_empty and _holds_its_vectors(run, target):
        run.close()
        raise _other_decisions(run, different, rules)
    return None


def _holds_its_vectors(run: RunFolder, target: Target) -> bool:
    """Whether the target is the index that a complete run has written into, and not empty."""
    return (
        run.state().completed
        and run.plan.vector_target == target.vectors.identity()
        and run.plan.index == target.vectors.read_index()
        and target.vectors.count_vectors() > 0
    )


def _check_shards(snapshot: Snapshot, target: Target, rules: PlanRules) -> None:
    """Raises ForeignStateError for a run of this chain that divides the same files otherwise.

    Runs into several indexes share a KV namespace. With another list or another mapping a file
    could belong to two of them, or to none.
    """
    ours, kv = rules.mapping.shards, target.kv.identity()
    for link in snapshot.chain:
        for folder in run_folders(link):
            plan = read_plan(folder, link)
            theirs = plan.mapping.shards
            if (ours is None and theirs is None) or plan.kv_target != kv:
                continue
            is_own = plan.vector_target == target.vectors.identity() and ours == theirs
            different = [] if is_own else _divided_otherwise(plan, rules)
            if different and _stands(folder, link):
                raise ForeignStateError(
                    f"run {plan.run_id} of snapshot {plan.snapshot_id} has written into the same "
                    f"KV namespace and has other decisions: {'; '.join(different)}",
                    remedy="restore the former settings; another list of indexes is a new move: "
                    "into fresh indexes and a fresh namespace, or after a rollback of every run: "
                    "`q2v rollback --execute` for each index",
                )


def _divided_otherwise(plan: RunPlan, rules: PlanRules) -> list[str]:
    """What the run into another index has decided otherwise, as text with both values."""
    theirs, ours = plan.mapping.shards, rules.mapping.shards
    lists = [", ".join(one.indexes) if one is not None else "none" for one in (theirs, ours)]
    if lists[0] != lists[1]:
        return [f"target.shards {lists[0]}, the settings say {lists[1]}"]
    planned, configured = (
        asdict(replace(one, shards=None)) for one in (plan.mapping, rules.mapping)
    )
    return [
        f"{name} {planned[name]!r}, the settings say {configured[name]!r}"
        for name in planned
        if planned[name] != configured[name]
    ]


def _stands(folder: WorkFolder, snapshot: Snapshot) -> bool:
    """Whether the run in a folder may have written, and is not rolled back."""
    with closing(RunFolder(folder, snapshot, read_only=True)) as run:
        state = run.state()
        return state.pre_images is not None and not state.rollback_completed


def choose_base(snapshot: Snapshot, target: Target, rules: PlanRules) -> RunFolder | None:
    """The newest run of the snapshots before this one that has written to this target.

    A run of this chain that is complete and not rolled back: what it wrote need not be written
    again. Raises PreconditionError when such a run is not complete or another catch-up continues
    from it, ForeignStateError when it was planned with other decisions.
    """
    run = last_written(snapshot.chain[:-1], target)
    if run is not None:
        _check_base(run, target, rules)
    return run


def last_written(chain: Sequence[Snapshot], target: Target) -> RunFolder | None:
    """The newest run of these snapshots that has begun to write to a target and is not undone."""
    here = (target.vectors.identity(), target.kv.identity())
    for snapshot in reversed(chain):
        for folder in reversed(run_folders(snapshot)):
            run = RunFolder(folder, snapshot, read_only=True)
            state = run.state()
            is_here = (run.plan.vector_target, run.plan.kv_target) == here
            if is_here and state.pre_images is not None and not state.rollback_completed:
                return run
            run.close()
    return None


def _check_base(run: RunFolder, target: Target, rules: PlanRules) -> None:
    state = run.state()
    if state.rollback_opened:
        raise PreconditionError(
            f"run {run.plan.run_id} of snapshot {run.plan.snapshot_id} is being rolled back",
            remedy=f"run `q2v rollback {_quoted(run.folder)} --execute` first",
        )
    if not state.completed:
        raise PreconditionError(
            f"run {run.plan.run_id} of snapshot {run.plan.snapshot_id} is {state.phase}, and a "
            "catch-up continues from a complete run",
            remedy=f"run `q2v migrate {_quoted(run.snapshot.folder)}` first",
        )
    check_decisions(run, target, rules)
    check_is_last(run)


def check_decisions(run: RunFolder, target: Target, rules: PlanRules) -> None:
    """Raises ForeignStateError for a run that was planned with other decisions."""
    different = _differences(run.plan, target, rules)
    if different:
        raise _other_decisions(run, different, rules)


def _other_decisions(
    run: RunFolder, different: Sequence[str], rules: PlanRules
) -> ForeignStateError:
    return ForeignStateError(
        f"run {run.plan.run_id} has other decisions: {'; '.join(different)}",
        remedy="restore the former settings, or migrate into a fresh index and namespace"
        if rules.mapping.shards is None
        else f"restore the former settings, or begin a new move: {FRESH_INDEXES}",
    )


def check_is_last(run: RunFolder) -> None:
    """Raises PreconditionError while a later catch-up continues from this run.

    What this run writes or undoes would then destroy what the catch-up has written.
    """
    later = newest = _later_run(run)
    if later is None or newest is None:
        return
    while (further := _later_run(newest)) is not None:
        newest = further
    raise PreconditionError(
        f"run {later.plan.run_id} of snapshot {later.plan.snapshot_id} continues from run "
        f"{run.plan.run_id}, and is not rolled back",
        remedy=f"name the newest run of its chain, {newest.folder}, or its snapshot; "
        f"`q2v rollback {_quoted(newest.folder)} --execute` undoes the whole chain",
    )


def find_later_run(run: RunFolder) -> RunPlan | None:
    """The plan of a run that continues from this one, has written and is not rolled back."""
    later = _later_run(run)
    return None if later is None else later.plan


def _later_run(run: RunFolder) -> RunFolder | None:
    """The run of `find_later_run`, closed: its folder, plan and state can be read."""
    place = (run.plan.snapshot_id, run.plan.run_id)
    for folder in sealed_folders(run.snapshot.folder.parent):
        if folder.name <= run.snapshot.folder.name or not folder.has(RUNS):
            continue
        snapshot = Snapshot(folder, run.snapshot.key)
        for later in run_folders(snapshot):
            found = RunFolder(later, snapshot, read_only=True)
            found.close()
            base = found.plan.base
            continues = base is not None and (base.snapshot_id, base.run_id) == place
            if continues and found.state().rounds and not found.state().rollback_completed:
                return found
    return None


def _is_base_undone(run: RunFolder) -> bool:
    """Whether this run has written nothing, and the run that it continues from is undone."""
    if run.state().rounds:
        return False
    base = open_base(run)
    if base is None:
        return False
    with closing(base):
        return base.state().rollback_opened


def base_of(run: RunFolder) -> BaseRun:
    """What the plan of a catch-up says of the run that it continues from."""
    plan = run.plan
    return BaseRun(
        snapshot_id=plan.snapshot_id,
        run_id=plan.run_id,
        fingerprint=plan.fingerprint,
        kv_expires_from=plan.created_at if plan.base is None else plan.base.kv_expires_from,
        written=0,
        removed=0,
        bytes=0,
        sha256="",
    )


def open_base(run: RunFolder) -> RunFolder | None:
    """The run that this one continues from; None for a run that wrote everything itself.

    Raises ForeignStateError when it is not the one that the plan names.
    """
    base = run.plan.base
    if base is None:
        return None
    before = next(
        (one for one in run.snapshot.chain if one.manifest.snapshot_id == base.snapshot_id), None
    )
    if before is None or not before.runs.has(base.run_id):
        raise ForeignStateError(
            f"run {run.plan.run_id} continues from run {base.run_id} of snapshot "
            f"{base.snapshot_id}, which is not there",
            remedy="restore the folder of that run from a copy",
        )
    found = RunFolder(before.runs.child(base.run_id), before)
    if found.plan.fingerprint != base.fingerprint:
        found.close()
        raise ForeignStateError(
            f"{found.folder}: the plan has fingerprint {found.plan.fingerprint}, run "
            f"{run.plan.run_id} continues from {base.fingerprint}",
            remedy="restore the folder of that run from a copy",
        )
    return found


def _differences(plan: RunPlan, target: Target, rules: PlanRules) -> list[str]:
    """The decisions of the plan that differ from the settings, as text with both values."""
    planned, configured = (
        {**vectors, **kv, **asdict(mapping), **asdict(writes)}
        for vectors, kv, mapping, writes in (
            (plan.vector_target, plan.kv_target, plan.mapping, plan.writes),
            (
                target.vectors.identity(),
                target.kv.identity(),
                rules.mapping,
                rules.writes,
            ),
        )
    )
    values = plan.values
    planned |= {"vector_name": values.vector_name, "reduce": values.reduce}
    configured |= {
        "vector_name": rules.vector_name,
        "reduce": rules.reduce,
    }
    if rules.dimensions is not None:
        planned["dimensions"] = values.dimensions
        configured["dimensions"] = rules.dimensions
    return [
        f"{name} {planned.get(name)!r}, the settings say {configured.get(name)!r}"
        for name in sorted({*planned, *configured})
        if planned.get(name) != configured.get(name)
    ]


def _quoted(folder: WorkFolder) -> str:
    """The folder as a word of a command; its path may hold blanks."""
    return shlex.quote(str(folder))
