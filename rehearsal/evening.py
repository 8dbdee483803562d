"""The steps that a clock drives: catch up, freeze, decide, switch, go back, restore."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from migrate.errors import PreconditionError
from migrate.model.records import VectorId
from migrate.ports import Target
from migrate.run.folder import RunFolder, run_folders
from migrate.snapshot.folder import Snapshot
from migrate.storage.folder_lock import FolderLock
from migrate.words import counted
from reconcile.gate.criteria import Criterion
from reconcile.rollback.chain import open_chain, roll_back_chain
from reconcile.rollback.later.export import export_later_writes
from reconcile.rollback.report import RollbackReport
from rehearsal.context import INDEX, Context
from rehearsal.crashes import kill_some
from rehearsal.script import NotHeldError, Script, expect
from rehearsal.sync_service import (
    take_the_new_side_away,
    write_to_source,
    write_to_the_new_side,
)

WINDOW_S = 3_600.0  # left when the gate is asked


def catch_up(
    script: Script, context: Context, parent: Snapshot, source: Path, *, turn: int, frozen: bool
) -> Snapshot:
    """Let the sync service write, and move what it has written; returns the end of the chain.

    `turn` counts the catch-ups from 0. With `frozen` nothing writes while the source is read.
    """
    title = "Freeze; the last catch-up reads twice" if frozen else "Others write; catch up"
    with script.step(title) as step:
        step.lines.append(f"the sync service: {write_to_source(source, parent, turn).in_words()}")
        if frozen:
            step.lines.append("then it is stopped")
        kill_some(context, step, "catch-up", *(["--frozen"] if frozen else []))
        caught = context.tool.catch_up(context.runtime, frozen=frozen)
        difference, moved = caught.difference, caught.moved
        step.lines += [
            f"difference {caught.snapshot.manifest.snapshot_id}: {difference.added} added, "
            f"{difference.changed} changed, {difference.deleted} deleted; "
            f"{counted(difference.points, 'point')} now",
            f"run {moved.run_id}: counter {moved.counter}, {counted(moved.requests, 'request')}",
        ]
        expect(caught.snapshot.manifest.moving is not frozen, "the difference says how it was read")
    return caught.snapshot


def gate(script: Script, context: Context, snapshot: Snapshot, *, of_the_corpus: bool) -> None:
    """Ask go or no-go, and expect go but for what only an own collection's owner can say."""
    with script.step("Gate: go or no-go") as step, _opened(context, snapshot) as (run, target):
        with open_chain(run) as chain:
            until_s = context.clock.wall_s() + WINDOW_S
            report = context.tool.gate(chain, target, context.runtime, until_s=until_s)
        for row in report.rows:
            step.lines.append(f"{row.verdict}: {row.criterion.word}: {row.found}")
        failed = {row.criterion for row in report.rows if row.verdict != "pass"}
        if run.unwaived:
            step.lines.append("in the window: no go until the reasons are accepted (--waive)")
            failed.discard(Criterion.POINTS)
        if Criterion.PARITY in failed and not of_the_corpus:
            step.lines.append(
                "in the window: no go until `q2v parity --at WIDTH --min-overlap SHARE` has passed"
            )
            failed.discard(Criterion.PARITY)
        expect(not failed, f"the gate says {report.verdict}")


@dataclass(frozen=True, slots=True)
class NewSide:
    """What the Worker has written after the cutover."""

    ids: tuple[VectorId, ...]


def cut_over(script: Script, context: Context, snapshot: Snapshot) -> NewSide:
    """The Worker switches and writes on the new side; the monitor takes a look."""
    with script.step("Cutover; writes on the new side; a look of the monitor") as step:
        with _opened(context, snapshot) as (run, _):
            ids = write_to_the_new_side(context, run.plan.values.dimensions)
        step.lines.append(
            f"the Worker writes a file of {counted(len(ids), 'chunk')}, its entry, the counter"
        )
        with _opened(context, snapshot) as (run, target):
            report = context.tool.look(run, target, context.runtime)
        looked = report.looked
        step.lines.append(
            f"monitor: {looked.verdict}, {counted(looked.vectors or 0, 'vector')} in "
            f"{counted(looked.files or 0, 'file')}, counter "
            f"{looked.counter}; {looked.as_moved} of {looked.sampled} sampled as they were moved"
        )
        expect(looked.verdict == "consistent", f"the monitor says {looked.why}")
    return NewSide(tuple(ids))


def go_back(
    script: Script, context: Context, snapshot: Snapshot, before: str, later: NewSide
) -> None:
    """Undo the whole chain; what the new side has accepted is named, kept, and exported afterwards.

    An export before the rollback would read every vector: more than the budget has left here.

    `before` is the digest of the target before the first write.
    """
    with script.step("Rollback --execute: as before, and what the Worker wrote is kept") as step:
        with _opened(context, snapshot) as (run, target), open_chain(run) as chain:
            try:
                _undo(context, chain, target, leave=False)
            except PreconditionError as error:
                step.lines.append(f"without consent: refused. {error}")
            else:
                raise NotHeldError("the Worker's writes were passed over without being asked")
            report = _undo(context, chain, target, leave=True)
            exported = _export(context, chain, target, later)
        held = {vector_id for vector_id, *_ in context.sandbox.store.read_vectors(INDEX)}
        step.lines += [
            f"{counted(report.vectors_deleted, 'vector')} deleted, {report.vectors_restored} "
            "restored; "
            f"{counted(report.kv_deleted, 'KV key')} deleted, {report.kv_restored} restored",
            f"kept of the Worker, ids and keys: {report.later_writes}; "
            f"{len(report.conflicts)} that it has changed",
            *exported,
        ]
        expect(held.issuperset(later.ids), "a vector of the Worker is gone")
        take_the_new_side_away(context, later.ids)
        after = context.digest()
        step.lines.append(f"state of the target without these: {after[:16]}...")
        expect(after == before, "the target is not what it was before")


def _export(
    context: Context, chain: Sequence[RunFolder], target: Target, later: NewSide
) -> list[str]:
    """Seal what the Worker has written; the lines of the story."""
    rules = context.tool.undo_rules()
    report = export_later_writes(chain, target, rules, context.runtime)
    if report.manifest is None or report.manifest.later is None or report.files is None:
        raise NotHeldError("the export found nothing that is later than the run")
    found = report.manifest.later
    expect(
        found.added == len(later.ids),
        f"the export holds {counted(found.added, 'vector')} of the Worker",
    )
    returns = "return to Qdrant" if found.returns else f"do not return to Qdrant: {found.why_not}"
    return [
        f"export {report.manifest.snapshot_id}: {counted(found.added, 'vector')} added, "
        f"{found.changed} "
        f"changed, {found.deleted} deleted; they {returns}",
        f"files to embed again: {report.files.files}",
    ]


def _undo(
    context: Context, chain: Sequence[RunFolder], target: Target, *, leave: bool
) -> RollbackReport:
    return roll_back_chain(
        chain,
        target,
        context.tool.undo_rules(),
        context.runtime,
        requests_per_5min=context.tool.requests_per_5min,
        leave_later_writes=leave,
    )


def restore(script: Script, context: Context, snapshot: Snapshot) -> None:
    """Write the chain into a new embedded store, and compare it."""
    with script.step("Restore: the chain into a new Qdrant collection") as step:
        report = context.tool.restore(snapshot, context.folder / "restored", context.runtime)
        step.lines.append(
            f"{counted(report.written, 'point')} written, set digest {report.set_digest[:16]}..., "
            f"{'equal' if report.equal else 'not equal'} to the snapshot"
        )
        expect(report.equal, "the restored collection differs from the snapshot")


@contextmanager
def _opened(context: Context, snapshot: Snapshot) -> Iterator[tuple[RunFolder, Target]]:
    """The newest run of a snapshot, and the target."""
    with (
        FolderLock(context.snapshots),
        closing(RunFolder(run_folders(snapshot)[-1], snapshot)) as run,
        context.target() as target,
    ):
        yield run, target
