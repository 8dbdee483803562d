"""`q2v decommission`: may the source be taken away?"""

import sys
from contextlib import ExitStack
from pathlib import Path

import click

from migrate.run.choose.find import find_run
from migrate.run.folder import RunFolder, run_folders
from migrate.storage.folder import StoredFile, WorkFolder
from migrate.storage.folder_lock import FolderLock
from migrate.storage.layout import archive_name, newest_archive
from q2v import wiring
from q2v.invocation import Place
from q2v.options import RUN, folder_option, json_option, takes
from q2v.output.advice import advise
from q2v.output.progress import open_progress
from q2v.output.render import Cell, render
from q2v.rules.scope import own_index, refuse_idle_index
from q2v.settings import Settings
from reconcile.decommission import NEVER_DELETE_FIRST, Checklist, check


@takes(*RUN)
@click.command("decommission")
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option(
    "--archive",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file that `q2v archive` wrote.  [default: the newest of RUN in --dir]",
)
@folder_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    settings: Settings,
    *,
    run: Path | None,
    archive: Path | None,
    folder: Place,
    as_json: bool,
) -> None:
    """Say what is still unproven of RUN (default: the newest) before Qdrant is taken away.

    Exit code 0 when the gate said go, a week of `q2v monitor` was consistent and the archive is
    whole; else 5. Reads files only, asks no store, and deletes nothing.
    """
    refuse_idle_index(settings)
    directory, clock = wiring.open_folder(folder), wiring.system_clock()
    with ExitStack() as stack:
        progress = stack.enter_context(open_progress(sys.stderr, clock))
        stack.enter_context(FolderLock(directory))
        chosen = wiring.open_named(directory, run)
        own = own_index(settings, chosen)
        opened = find_run(directory, chosen, wiring.seal_key(settings), own=own)
        stack.callback(opened.close)
        file = _kept(directory, opened) if archive is None else wiring.open_file(archive)
        checklist = check(opened, file, progress, now_s=clock.wall_s())
    show(checklist, as_json=as_json)
    ctx.exit(checklist.exit_code)


def _kept(directory: WorkFolder, run: RunFolder) -> StoredFile:
    """The newest archive of the run; else one of a run of its snapshot into another vector index.

    One archive holds the runs into all of them.
    """
    names, snapshot = directory.names(), run.plan.snapshot_id
    others = [] if run.plan.mapping.shards is None else run_folders(run.snapshot)
    for one in (run.plan.run_id, *(folder.name for folder in others)):
        number = newest_archive(names, snapshot, one)
        if number:
            return directory.file(archive_name(snapshot, one, number))
    return directory.file(archive_name(snapshot, run.plan.run_id))


def show(checklist: Checklist, *, as_json: bool) -> None:
    """The checklist as JSON or as lines."""
    cells: list[tuple[str, Cell]] = [
        ("run", checklist.run_id),
        ("verdict", "done" if checklist.is_done else "not done"),
        *(
            (item.name, f"{'proven' if item.proven else 'UNPROVEN':<8} {item.found}")
            for item in checklist.items
        ),
    ]
    notes = [""]
    notes += [f"{item.name}: {advise(item.do)}" for item in checklist.items if not item.proven]
    if checklist.is_done:
        notes += [f"{why}: {command}" for why, command in checklist.commands]
    else:
        notes.append(NEVER_DELETE_FIRST)
    document: dict[str, object] = {
        "run_id": checklist.run_id,
        "done": checklist.is_done,
        "items": list(checklist.items),
        "commands": [{"why": why, "command": command} for why, command in checklist.commands],
        "exit_code": int(checklist.exit_code),
    }
    render(document, cells, as_json=as_json, notes=notes)
