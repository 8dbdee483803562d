"""`q2v rollback --export-later-writes`: seal what others wrote to the target since a run."""

import shlex
import sys
from contextlib import ExitStack
from pathlib import Path

from migrate.run.choose.find import find_run
from migrate.run.choose.matching import check_same_target, planned_target
from migrate.run.folder import RunFolder
from migrate.run.next_step import Situation
from migrate.runtime import Runtime
from migrate.words import subject
from q2v import wiring
from q2v.commands.prove.verify import later_document
from q2v.invocation import Place, current_invocation
from q2v.output.advice import options_for
from q2v.output.following import typed_again
from q2v.output.progress import open_progress
from q2v.output.render import Cell, format_bytes, format_duration, render
from q2v.output.route import Route, route_from_snapshot
from q2v.rules.scope import own_index
from q2v.rules.stages import TOOL, undo_rules
from q2v.settings import Settings
from reconcile.rollback.chain import open_chain
from reconcile.rollback.later.export import LaterReport, export_later_writes

_SHOWN_MAX = 20
_RESTORE = "`q2v restore EXPORT --append`"


def export_later(
    settings: Settings, *, folder: Place, named_run: Path | None, as_json: bool
) -> None:
    """Export the later writes of the named run, or of the newest, and show the result."""
    directory, clock = wiring.open_folder(folder), wiring.system_clock()
    with ExitStack() as stack:
        progress = stack.enter_context(open_progress(sys.stderr, clock))
        stack.enter_context(wiring.lock_folder(directory, settings))
        named = wiring.open_named(directory, named_run)
        opened = find_run(directory, named, wiring.seal_key(settings), own=own_index(settings))
        stack.callback(opened.close)
        chain = stack.enter_context(open_chain(opened))
        target = stack.enter_context(
            wiring.open_target(settings, directory, clock=clock, progress=progress)
        )
        check_same_target(opened, target)
        report = export_later_writes(
            chain,
            target,
            undo_rules(settings),
            Runtime(
                clock=clock, progress=progress, reads_in_flight=settings.limits.reads_in_flight
            ),
            tool=TOOL,
        )
        route = route_from_snapshot(opened.snapshot, planned_target(opened), clock)
        next_argv = _next_argv(report, opened, settings)
    _show(report, route, next_argv, as_json=as_json)


def _next_argv(report: LaterReport, run: RunFolder, settings: Settings) -> list[list[str]]:
    """The commands that follow: the restore of the export, where it can be, and the rollback."""
    later = None if report.manifest is None else report.manifest.later
    commands: list[list[str]] = []
    if later is not None and later.returns and (later.added or later.changed):
        commands.append(restore_argv(str(report.path)))
    if not run.state().rollback_completed:
        commands.append(list(typed_again(run, Situation.ROLLING_BACK, settings)))
    return commands


def restore_argv(export: str) -> list[str]:
    """The command that writes an export into Qdrant, with the flags of this command."""
    invocation = current_invocation()
    options = options_for(
        "restore", str(invocation.snapshots), invocation.settings, invocation.config
    )
    words = _RESTORE.strip("`").split()
    return [export if word == "EXPORT" else word for word in words] + options


def _show(report: LaterReport, route: Route, next_argv: list[list[str]], *, as_json: bool) -> None:
    """The report as JSON or as lines."""
    manifest, files = report.manifest, report.files
    later = None if manifest is None else manifest.later
    parts = () if manifest is None else manifest.parts
    size = sum(part.bytes for part in parts)
    document: dict[str, object] = {
        "run_id": report.run_id,
        "exported": report.path is not None,
        "path": report.path,
        "snapshot_id": None if manifest is None else manifest.snapshot_id,
        "content_root": None if manifest is None else manifest.content_root,
        "points": None if manifest is None else manifest.points,
        "parts": len(parts),
        "bytes": size,
        "later": None if later is None else later_document(later),
        "missing_vectors": report.missing_vectors,
        "normalised": report.normalised,
        "in_namespace": report.in_namespace,
        "files_to_embed_count": None if files is None else files.files,
        "files_to_embed": None if files is None else files.path,
        "files_to_embed_json": None if files is None else files.json_path,
        "without_file": [] if files is None else files.without_file,
        "resumed": report.resumed,
        "seconds": report.seconds,
        "route": route.document(),
        "commands": next_argv,
    }
    cells: list[tuple[str, Cell]] = [("run", report.run_id), *route.cells()]
    if later is None or files is None:
        cells.append(("later writes", "none: nothing was exported"))
    else:
        cells += [
            ("vectors added", later.added),
            ("vectors changed", later.changed),
            ("vectors deleted", "not known" if later.deleted is None else later.deleted),
            ("KV entries", later.kv_entries),
            ("export", f"{report.path} ({format_bytes(size)})"),
            ("returns to Qdrant", f"yes: {_RESTORE}" if later.returns else "no"),
            ("files to embed again", files.files),
        ]
    cells.append(("took", format_duration(report.seconds)))
    render(document, cells, as_json=as_json, notes=["", *_notes(report), *_next(next_argv)])


def _next(next_argv: list[list[str]]) -> list[str]:
    return [f"next: {shlex.join(argv)}" for argv in next_argv]


def _notes(report: LaterReport) -> list[str]:
    later = None if report.manifest is None else report.manifest.later
    files = report.files
    if later is None or files is None:
        return ["nothing in the target is later than the run"]
    notes = [
        "each vector is as it was when it was read; `q2v rollback --execute` compares again",
        f"files to embed again: {files.path}",
        f"every file that the new side changed: {files.json_path}",
    ]
    if later.why_not:
        notes.append(f"no point can be written into the collection: {later.why_not}")
    elif report.missing_vectors:
        names = ", ".join(map(repr, report.missing_vectors))
        notes.append(f"the new side has no vectors {names}: restored points lack them")
    if later.deleted:
        notes.append("no restore removes from Qdrant what the new side has deleted")
    if report.normalised:
        notes.append(
            f"{subject(report.normalised, 'vector', 'was')} brought to length 1, as Qdrant does"
        )
    if report.in_namespace:
        notes.append(
            f"{subject(report.in_namespace, 'vector', 'is')} in another namespace than their "
            "points name, "
            "which only later.parquet keeps"
        )
    notes += [
        f"to embed again, and no file is known: vector {one}"
        for one in files.without_file[:_SHOWN_MAX]
    ]
    more = len(files.without_file) - _SHOWN_MAX
    return [*notes, *([f"and {more} more; --json names all"] if more > 0 else [])]
