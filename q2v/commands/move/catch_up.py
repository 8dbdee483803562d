"""`q2v catch-up`: move what has changed in Qdrant since the newest snapshot, deletions included."""

import sys
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypedDict, Unpack

import click

from migrate.errors import ExitCode
from migrate.plan.rules import PlanRules
from migrate.ports import PointSource, Target
from migrate.run.choose.chain import check_decisions
from migrate.run.choose.find import find_parent, find_snapshot
from migrate.run.folder import RunFolder, run_folders
from migrate.runtime import Runtime
from migrate.snapshot.chain.difference import DifferenceReport, describe_difference, take_difference
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.take import SnapshotOptions
from migrate.storage.folder_lock import FolderLock
from migrate.storage.layout import index_of_run
from migrate.upload.removal import kept_removals
from migrate.upload.report import MigrateReport
from migrate.words import counted
from q2v import wiring
from q2v.commands.move.confirm import confirm_write
from q2v.commands.move.migrate import KEPT_SHOWN_MAX, migrate_snapshot
from q2v.executors.options import choose_executor, executor_options
from q2v.invocation import Place
from q2v.options import (
    PLANNING,
    SEAL,
    SOURCE,
    TARGET,
    folder_option,
    json_option,
    max_delete_option,
    takes,
    yes_option,
)
from q2v.output.following import Following, completed, following_snapshot
from q2v.output.progress import open_progress
from q2v.output.refusal_notes import refusal_notes
from q2v.output.render import format_duration, render
from q2v.output.route import UNREAD_VECTORS, Route, configured_target, route_from_snapshot
from q2v.rules.scope import check_snapshot_collection, configured_scope, own_index
from q2v.rules.stages import TOOL, Choices, plan_rules
from q2v.settings import Settings
from q2v.workers import ReaderOpening


class Flags(TypedDict):
    """What the operator typed."""

    snapshot: Path | None
    frozen: bool
    payload_only: bool
    leave_unreadable: bool
    allow_empty: bool
    max_delete: float
    yes: bool
    executor: str
    scheduler: str | None
    folder: Place
    as_json: bool


@takes(
    *SOURCE,
    *TARGET,
    *PLANNING,
    "limits.settle_timeout_s",
    "snapshot.page_points",
    "snapshot.readers",
    SEAL,
)
@click.command("catch-up")
@click.argument("snapshot", required=False, type=click.Path(path_type=Path))
@click.option(
    "--frozen",
    is_flag=True,
    help="The writers are stopped: read everything twice, and prove that the target gets what the "
    "source holds.",
)
@click.option(
    "--payload-only",
    is_flag=True,
    help="For slow lines: read ids and payloads, and vectors only of points that are new or have "
    "another payload. A vector that changed under the same payload is not found; the snapshot and "
    "the report say so, and `q2v reconcile`, which reads every vector, is then the proof.",
)
@click.option(
    "--leave-unreadable",
    is_flag=True,
    help="Leave out points that the source cannot give: the snapshot holds their ids, and the plan "
    "quarantines them.",
)
@click.option("--allow-empty", is_flag=True, help="Go on although the collection has become empty.")
@max_delete_option
@yes_option
@executor_options
@folder_option
@json_option
@click.pass_context
def command(ctx: click.Context, settings: Settings, **flags: Unpack[Flags]) -> None:
    """Move what has changed since SNAPSHOT: additions, changes, deletions.

    SNAPSHOT is by default the newest that the target holds.
    Seals the difference beside the snapshot, then writes it to the target that the snapshot was
    moved to. Run it as often as you like while others write; the last time with --frozen.
    """
    directory, clock = wiring.open_folder(flags["folder"]), wiring.system_clock()
    executor = choose_executor(flags["executor"], flags["scheduler"], directory, settings)
    key = wiring.seal_key(settings)
    options = SnapshotOptions(
        page_points=settings.snapshot.page_points,
        readers=wiring.source_readers(settings),
        leave_unreadable=flags["leave_unreadable"],
        moving=not flags["frozen"],
        payload_only=flags["payload_only"],
        tool=TOOL,
        seal_key=key,
    )
    choices = Choices(allow_empty=flags["allow_empty"], max_delete=flags["max_delete"])
    with (
        open_progress(sys.stderr, clock) as progress,
        executor.machines(progress.say) as machines,
        wiring.open_source(settings, directory, clock=clock, progress=progress) as source,
        wiring.open_target(settings, directory, clock=clock, progress=progress) as target,
        FolderLock(directory),
    ):
        named = wiring.open_named(directory, flags["snapshot"])
        if named is None:
            parent = find_parent(directory, target, configured_scope(settings), key)
        else:
            parent = find_snapshot(directory, named, key)
        executor.check_reached(parent.folder)
        check_snapshot_collection(parent, settings)
        runtime = Runtime(
            clock=clock, progress=progress, reads_in_flight=settings.limits.reads_in_flight
        )
        own = own_index(settings)
        opening = ReaderOpening(
            settings=settings,
            options=options,
            progress=progress,
            recorded=False,
            machines=machines,
        )
        difference = _difference(source, parent, own, opening, runtime)
        found = Snapshot(directory.child(difference.snapshot_id), key)
        route = route_from_snapshot(found, configured_target(settings), clock)
        moved, exit_code = None, _exit_code_held(found, target, plan_rules(settings, choices))
        if exit_code is None:
            progress.say(route.sentence())
            moved = migrate_snapshot(
                found,
                target,
                settings,
                replace(choices, open_machines=partial(nullcontext, machines)),
                runtime,
                folder=directory,
                confirm=lambda plan: confirm_write(
                    plan, route, sure=flags["yes"] or target.is_local
                ),
            )
            exit_code = moved.exit_code
        following = following_snapshot(found, settings)
        advise = partial(completed, folder=directory, settings=settings, snapshot=found.folder)
        notes = []
        if moved is not None:
            notes = [*_notes(found, own), *refusal_notes(moved.refused, advise)]
    show(difference, moved, route, following, exit_code, notes=notes, as_json=flags["as_json"])
    ctx.exit(exit_code)


def _difference(
    source: PointSource,
    parent: Snapshot,
    own: str | None,
    opening: ReaderOpening,
    runtime: Runtime,
) -> DifferenceReport:
    """What has changed since `parent`; `parent` itself, where another index moves that one now."""
    if _has_moved_elsewhere(parent, own, opening.options):
        runtime.progress.say(
            f"moving {parent.manifest.snapshot_id}, which a run into another of the vector "
            "indexes moves: no further difference is taken"
        )
        return describe_difference(parent)
    return take_difference(source, parent, opening.options, runtime, open_readers=opening)


def _exit_code_held(snapshot: Snapshot, target: Target, rules: PlanRules) -> ExitCode | None:
    """The exit code when the newest run of a snapshot has moved it to this target; else None.

    QUARANTINED while points are left out for reasons that were not accepted, as of `migrate`.
    Raises ForeignStateError when that run was planned with other decisions.
    """
    runs = run_folders(snapshot, rules.mapping.own_index)
    if not runs:
        return None
    with closing(RunFolder(runs[-1], snapshot, read_only=True)) as run:
        state, here = run.state(), (target.vectors.identity(), target.kv.identity())
        is_here = (run.plan.vector_target, run.plan.kv_target) == here
        if not is_here or not state.completed or state.rollback_opened:
            return None
        check_decisions(run, target, rules)
        return ExitCode.QUARANTINED if run.unwaived else ExitCode.DONE


def _has_moved_elsewhere(parent: Snapshot, own: str | None, options: SnapshotOptions) -> bool:
    """Whether a run into another of several indexes moves this difference, and none into `own`.

    All indexes then get the same points. With --frozen a difference that proves less is not enough.
    """
    if own is None or parent.manifest.parent_id is None or run_folders(parent, own):
        return False
    proves_enough = options.moving or not parent.manifest.moving
    return proves_enough and any(index_of_run(one.name) for one in run_folders(parent))


def _notes(snapshot: Snapshot, own: str | None) -> list[str]:
    """What the newest run of a snapshot has not deleted, because another writer changed it."""
    with closing(RunFolder(run_folders(snapshot, own)[-1], snapshot, read_only=True)) as run:
        kept = kept_removals(run)
    if not kept:
        return []
    shown = ", ".join(f"'{one}'" for one in kept[:KEPT_SHOWN_MAX])
    more = f" and {len(kept) - KEPT_SHOWN_MAX} more" if len(kept) > KEPT_SHOWN_MAX else ""
    return [
        f"not deleted, because another writer changed them: {shown}{more}",
        "`q2v reconcile` names as extra those that no other run of this folder has written; "
        "delete only such ones, with wrangler, when they are not wanted",
    ]


def _cells_of_vectors(difference: DifferenceReport) -> list[tuple[str, str]]:
    """Which vectors were read; nothing when all were."""
    if not difference.payload_only:
        return []
    return [("vectors", f"{counted(difference.read_whole, 'point')} read whole; {UNREAD_VECTORS}")]


def show(
    difference: DifferenceReport,
    moved: MigrateReport | None,
    route: Route,
    following: Following,
    exit_code: ExitCode,
    *,
    notes: Sequence[str],
    as_json: bool,
) -> None:
    """The report as JSON or as lines."""
    seconds = difference.seconds + (0 if moved is None else moved.seconds)
    render(
        {
            "snapshot_id": difference.snapshot_id,
            "parent_id": difference.parent_id,
            "path": difference.path,
            "sealed": difference.sealed,
            "added": difference.added,
            "changed": difference.changed,
            "deleted": difference.deleted,
            "points": difference.points,
            "frozen": not difference.moving,
            "payload_only": difference.payload_only,
            "read_whole": difference.read_whole,
            "run_id": None if moved is None else moved.run_id,
            "acknowledged": None if moved is None else moved.acknowledged,
            "kv_entries": None if moved is None else moved.kv_entries,
            "counter": None if moved is None else moved.counter,
            "quarantined": None if moved is None else sum(moved.quarantined.values()),
            "requests": 0 if moved is None else moved.requests,
            "evidence": None if moved is None else moved.evidence,
            "refused": [] if moved is None else moved.refused,
            "notes": list(notes),
            "seconds": round(seconds, 3),
            "route": route.document(),
            "exit_code": int(exit_code),
            **following.document(),
        },
        [
            *route.cells(),
            ("added", difference.added),
            ("changed", difference.changed),
            ("deleted", difference.deleted),
            ("points now", difference.points),
            ("writers", "running: read once" if difference.moving else "stopped: read twice"),
            *_cells_of_vectors(difference),
            ("run", None if moved is None else moved.run_id),
            ("counter", None if moved is None else moved.counter),
            ("evidence", None if moved is None else moved.evidence),
            ("took", format_duration(seconds)),
        ],
        as_json=as_json,
        notes=[
            *([] if difference.sealed else ["nothing has changed"]),
            *notes,
            *following.notes(),
        ],
    )
