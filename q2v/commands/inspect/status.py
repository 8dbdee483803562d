"""`q2v status`: where a run stands, and the exact next command."""

from functools import partial
from pathlib import Path

import click

from migrate.errors import UsageError
from migrate.mapping.kv_entries import COUNTER_MEANING
from migrate.run.choose.find import find_run
from migrate.run.choose.matching import planned_target
from migrate.run.journal import RunState
from migrate.run.refused_vectors import refused_points
from migrate.snapshot.folder import sealed_folders, unsealed_folders
from migrate.storage.durable import is_folder
from migrate.storage.folder import WorkFolder
from migrate.upload.kv_index import counter_value
from q2v import wiring
from q2v.commands.inspect.indexes import show_indexes
from q2v.invocation import Place, absolute
from q2v.options import RUN, folder_option, json_option, takes
from q2v.output.configured import environment_warnings
from q2v.output.following import (
    Following,
    completed,
    following_folder,
    following_run,
    newest_snapshot,
    unless_damaged,
    while_at_work,
)
from q2v.output.refusal_notes import refusal_notes
from q2v.output.render import Cell, elsewhere_cells, format_reasons, render
from q2v.output.route import UNREAD_VECTORS, route_from_snapshot
from q2v.output.standing import newest_verdict
from q2v.rules.scope import own_index, refuse_idle_index
from q2v.settings import Settings

_ELSEWHERE = "no snapshot here: if there is one in another folder, name that folder with --dir"
_MISSING = (
    "this folder does not exist: if there is a snapshot in another one, name that folder with --dir"
)


@takes("target.metadata_indexes", *RUN)
@click.command("status")
@click.argument("run", required=False, type=click.Path(path_type=Path))
@folder_option
@json_option
def command(*, run: Path | None, folder: Place, as_json: bool, settings: Settings) -> None:
    """Say where RUN (default: the newest) stands. Reads files only; asks no store.

    Of a move over several vector indexes: where each of them stands, unless one is named.
    """
    refuse_idle_index(settings)
    directory, key = wiring.open_folder(folder), wiring.seal_key(settings)
    named = wiring.open_named(directory, run)
    if settings.target.shards and settings.target.vector_index is None and named is None:
        show_indexes(directory, absolute(folder), settings, key, as_json=as_json)
        return
    own = own_index(settings, named)
    try:
        opened = find_run(directory, named, key, own=own, read_only=True)
    except UsageError:
        if run is not None:
            raise
        following = following_folder(directory, settings, key)
        newest = newest_snapshot(directory, settings, key)
        following = unless_damaged(following, directory, settings, newest)
        following = while_at_work(following, directory, settings)
        _show_without_run(directory, absolute(folder), following, as_json=as_json)
        return
    state = opened.state()
    verdict = newest_verdict(opened)
    following = unless_damaged(
        following_run(opened, settings), directory, settings, opened.snapshot
    )
    following = while_at_work(following, directory, settings, named and opened.folder)
    acknowledged = state.vectors_acknowledged()
    unchanged = opened.plan.vectors - opened.plan.vectors_to_write  # moved by the run before
    pending = max(0, opened.vectors - unchanged - acknowledged)
    quarantined, refused = opened.quarantined_counts(), refused_points(opened)
    route = route_from_snapshot(opened.snapshot, planned_target(opened), wiring.system_clock())
    counter = None if state.pre_images is None else counter_value(opened)
    document: dict[str, object] = {
        "run_id": opened.plan.run_id,
        "path": str(opened.folder),
        "snapshot_id": opened.plan.snapshot_id,
        "route": route.document(),
        "phase": state.phase,
        "points": opened.plan.points,
        "unchanged": unchanged,
        "pending": pending,
        "acknowledged": acknowledged,
        "quarantined": quarantined,
        "elsewhere": opened.plan.elsewhere,
        "refused": refused,
        "in_doubt": _in_doubt(state),
        "counter": counter,
        "payload_only": opened.snapshot.manifest.payload_only,
        "verdict": verdict,
        "warnings": environment_warnings(),
        **following.document(),
    }
    cells: list[tuple[str, Cell]] = [
        ("run", opened.plan.run_id),
        ("path", str(opened.folder)),
        *route.cells(),
        *([("vectors", UNREAD_VECTORS)] if opened.snapshot.manifest.payload_only else []),
        ("phase", state.phase),
        ("points", opened.plan.points),
        *elsewhere_cells(opened.plan.elsewhere),
        *([("moved by the run before", unchanged)] if opened.plan.base else []),
        ("pending", pending),
        ("acknowledged", acknowledged),
        ("quarantined", format_reasons(quarantined)),
        ("uploads in doubt", _in_doubt(state)),
        ("counter when complete", _counter(counter)),
        ("newest verdict", verdict),
    ]
    advise = partial(
        completed, folder=directory, settings=settings, snapshot=opened.snapshot.folder
    )
    notes = [
        *refusal_notes(refused, advise),
        *following.notes(),
    ]
    render(document, cells, as_json=as_json, notes=notes)
    opened.close()


def _show_without_run(
    directory: WorkFolder, place: str, following: Following, *, as_json: bool
) -> None:
    """Before the first run: is there a snapshot? `place` is the whole path of --dir."""
    sealed, unsealed = sealed_folders(directory), unsealed_folders(directory)
    is_missing = not directory.is_shared and not is_folder(directory.local.path)
    newest = str((sealed or unsealed)[-1]) if sealed or unsealed else None
    phase = "sealed" if sealed else "snapshot begun" if unsealed else "nothing yet"
    render(
        {
            "run_id": None,
            "folder": place,
            "snapshot": newest,
            "phase": phase,
            "warnings": environment_warnings(),
            **following.document(),
        },
        [("folder", place), ("snapshot", newest), ("phase", phase)],
        as_json=as_json,
        notes=[
            *([] if newest else ["", _MISSING if is_missing else _ELSEWHERE]),
            *following.notes(),
        ],
    )


def _counter(counter: int | None) -> str:
    """The number that the run writes; it depends on what the target held before."""
    return "not known yet" if counter is None else f"{counter:,} ({COUNTER_MEANING})"


def _in_doubt(state: RunState) -> int:
    return sum(
        batch.in_doubt
        for round_ in state.rounds
        for batches in round_.batches.values()
        for batch in batches
    )
