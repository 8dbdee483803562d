"""`q2v rollback`: show what undoing a run means; with --execute, undo it."""

import shlex
import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict, Unpack

import click

from migrate.errors import ExitCode, UsageError
from migrate.mapping.kv_entries import COUNTER_MEANING
from migrate.plan.estimate import LONG_ROLLBACK, is_long_rollback
from migrate.run.choose.find import find_run
from migrate.run.choose.matching import check_named_target, check_same_target, planned_target
from migrate.run.next_step import Situation
from migrate.runtime import Runtime
from migrate.words import counted, subject
from migrate.wrangler.commands import VERSION
from q2v import wiring
from q2v.commands.undo.export_later import export_later, restore_argv
from q2v.invocation import Place
from q2v.options import (
    SEAL,
    TARGET,
    Question,
    confirm_name,
    folder_option,
    json_option,
    read_forced,
    takes,
    yes_option,
)
from q2v.output.advice import advise
from q2v.output.following import Following, following_run, typed_again
from q2v.output.forced import forced_document, forced_notes
from q2v.output.progress import open_progress
from q2v.output.render import Cell, format_duration, render
from q2v.output.route import Route, configured_target, route_from_snapshot
from q2v.rules.scope import own_index, settings_of_run
from q2v.rules.stages import undo_rules
from q2v.settings import Settings
from reconcile.naming import SHOWN_MAX, first_named, named_lines
from reconcile.rollback.chain import open_chain, preview_chain, roll_back_chain
from reconcile.rollback.manifest import RollbackManifest, build_manifest
from reconcile.rollback.report import RollbackReport

_PROMPT = "Type the name of the vector index to undo; anything else writes nothing"
_WHICH_VERSION = (
    "VERSION is the id of the version that ran before the cutover, from the first two lists: each "
    "secret that was put made a version too, so without an id a wrong one may run"
)
_EXPORT = "`q2v rollback --export-later-writes`"


class Flags(TypedDict):
    """What the operator typed."""

    run: Path | None
    execute: bool
    export_later_writes: bool
    force_file: Path | None
    leave_later_writes: bool
    yes: bool
    folder: Place
    as_json: bool


@takes(
    *TARGET,
    "target.metadata_indexes",
    "limits.settle_timeout_s",
    "limits.poll_s",
    "limits.kv_settle_s",
    "limits.reads_in_flight",
    SEAL,
)
@click.command("rollback")
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--execute", is_flag=True, help="Undo the run; without it only report.")
@click.option(
    "--export-later-writes",
    is_flag=True,
    help="Seal what others wrote to the target since RUN, and list the files to embed again; "
    "only reads.",
)
@click.option(
    "--force",
    "force_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of ids and keys to put back although another writer changed them since.",
)
@click.option(
    "--leave-later-writes",
    is_flag=True,
    help="Undo although the target took new ids or keys since; they stay, and Qdrant lacks them.",
)
@yes_option
@folder_option
@json_option
@click.pass_context
def command(ctx: click.Context, settings: Settings, **flags: Unpack[Flags]) -> None:
    """Put the target back to what it was before RUN (default: the newest).

    Without --execute nothing is sent anywhere; the run's target is compared with the settings.
    --execute refuses while the target holds later writes that no export has, unless
    --leave-later-writes. Safe to run again after a crash.
    """
    if flags["export_later_writes"] and flags["execute"]:
        raise UsageError(
            "--export-later-writes with --execute: read the result of an export before anything "
            "is undone",
            remedy="run `q2v rollback --export-later-writes` first, then `q2v rollback --execute`",
        )
    if not flags["execute"]:
        _refuse_without_execute(flags)
    settings = settings_of_run(settings, flags["run"])
    if flags["export_later_writes"]:
        export_later(
            settings, folder=flags["folder"], named_run=flags["run"], as_json=flags["as_json"]
        )
        return
    directory, clock = wiring.open_folder(flags["folder"]), wiring.system_clock()
    forced = read_forced(flags["force_file"])
    not_compared: tuple[str, ...] = ()
    with ExitStack() as stack:
        progress = stack.enter_context(open_progress(sys.stderr, clock))
        stack.enter_context(wiring.lock_folder(directory, settings))
        named = wiring.open_named(directory, flags["run"])
        opened = find_run(directory, named, wiring.seal_key(settings), own=own_index(settings))
        stack.callback(opened.close)
        requests_per_5min = settings.limits.requests_per_5min
        chain = stack.enter_context(open_chain(opened))
        manifest = build_manifest(chain[-1], requests_per_5min=requests_per_5min)
        if flags["execute"]:
            target = stack.enter_context(
                wiring.open_target(settings, directory, clock=clock, progress=progress)
            )
            check_same_target(opened, target)
            question = Question(
                "undoing a run",
                _PROMPT,
                manifest.index,
                said=f"This undoes run {opened.plan.run_id}; without --execute it is shown.",
            )
            confirm_name(question, sure=flags["yes"] or target.is_local)
            report = roll_back_chain(
                chain,
                target,
                undo_rules(settings),
                Runtime(
                    clock=clock, progress=progress, reads_in_flight=settings.limits.reads_in_flight
                ),
                requests_per_5min=requests_per_5min,
                forced=forced,
                leave_later_writes=flags["leave_later_writes"],
            )
        else:
            not_compared = check_named_target(opened, configured_target(settings))
            report = preview_chain(chain, requests_per_5min=requests_per_5min)
        route = route_from_snapshot(opened.snapshot, planned_target(opened), clock)
        is_shown = not flags["execute"] and not report.already_done
        following = following_run(opened, settings, alone=is_shown)
        undo_argv = typed_again(opened, Situation.ROLLING_BACK, settings)
    as_json = flags["as_json"]
    waits_s = undo_rules(settings).conflict_wait_s * len(report.runs or (report.run_id,))
    shown = Shown(
        report=report,
        manifest=manifest,
        undo_argv=undo_argv,
        not_compared=not_compared,
        conflict_waits_s=waits_s,
    )
    show(shown, route, following, as_json=as_json)
    ctx.exit(ExitCode.DRIFT if report.conflicts else ExitCode.DONE)


def _refuse_without_execute(flags: Flags) -> None:
    """A preview sends nothing: these flags would have no effect on it."""
    given = {
        "--force": flags["force_file"] is not None,
        "--leave-later-writes": flags["leave_later_writes"],
    }
    if flags["export_later_writes"]:
        given["--yes"] = flags["yes"]
    for flag in [flag for flag, is_given in given.items() if is_given]:
        raise UsageError(
            f"{flag}: this has no effect without --execute",
            remedy=f"leave it out, or pass --execute: `q2v rollback --execute {flag} ...`",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What is shown of a rollback, or of its preview."""

    report: RollbackReport
    manifest: RollbackManifest  # of the first run of the chain: what was there before all of them
    undo_argv: tuple[str, ...]  # the command that undoes it
    not_compared: tuple[str, ...]  # parts of the target that the settings do not name
    conflict_waits_s: float  # the longest waits for what others have changed, of all runs


def show(shown: Shown, route: Route, following: Following, *, as_json: bool) -> None:
    """The report as JSON or as lines."""
    report, manifest = shown.report, shown.manifest
    verb = "" if report.executed else "to be "
    cells: list[tuple[str, Cell]] = [
        ("run", report.run_id),
        ("and those before it", ", ".join(report.runs[1:]) or None),
        *route.cells(),
        ("executed", report.executed),
        (f"vectors {verb}deleted", report.vectors_deleted),
        (f"vectors {verb}restored", report.vectors_restored),
        (f"KV keys {verb}deleted", report.kv_deleted),
        (f"KV keys {verb}restored", report.kv_restored),
        ("conflicts kept", len(report.conflicts)),
        ("counter kept", report.counter_kept or None),
        ("later writes left", report.later_writes if report.executed else None),
        ("later deletions by others", report.later_deletions if report.executed else None),
        ("export of later writes", report.later_export or None),
        ("manifest", report.manifest),
    ]
    former = "absent" if manifest.counter_former is None else manifest.counter_former
    cells.append((f"counter ({manifest.counter_key})", f"{former} before ({COUNTER_MEANING})"))
    notes = []
    if report.already_done:
        notes.append("this run has been rolled back before; nothing was sent")
    if report.undone_before:
        undone = subject(report.undone_before, "vector", "is")
        notes.append(
            f"{undone} undone already, by an attempt that was interrupted: only what is listed "
            "again is compared again"
        )
    if len(report.runs) > 1:
        notes.append(
            f"the figures are sums over these {counted(len(report.runs), 'run')}: a vector or a "
            "key that "
            "several of them wrote counts once for each"
        )
    notes += forced_notes(report.forced_unknown)
    notes += [f"kept: {line}" for line in named_lines(report.differs)]
    if report.counter_kept:
        notes.append(
            advise(
                f"{report.counter_kept} stays as the later writes have set it: no conflict; to put "
                f"back {former}, name it in FILE: `q2v rollback --execute --force FILE`"
            )
        )
    notes += _later_notes(report)
    if not report.executed and not report.already_done:
        cells.append(
            (
                "takes",
                f"{counted(report.requests, 'request')}, {format_duration(report.minutes * 60)}",
            )
        )
        notes.append(
            "longer when others have changed what it undoes: that is read again, after pauses of "
            f"at most {format_duration(shown.conflict_waits_s)} in all"
        )
        if is_long_rollback(report.minutes):
            notes.append(LONG_ROLLBACK)
        if shown.not_compared:
            names = ", ".join(shown.not_compared)
            notes.append(f"not compared, because the settings do not name it: {names}")
        notes += [f"cannot undo: {advise(line)}" for line in report.cannot_undo]
        notes += _wrangler_notes(report)
        following = _next_of_preview(shown, following)
    document = {
        **_document(report),
        "conflict_waits_minutes_max": round(shown.conflict_waits_s / 60, 2),
        "route": route.document(),
        **following.document(),
    }
    shown_cells = [(label, cell) for label, cell in cells if cell is not None]
    blank = [""] if notes else []
    render(document, shown_cells, as_json=as_json, notes=[*blank, *notes, *following.notes()])


def _wrangler_notes(report: RollbackReport) -> list[str]:
    """What is to be typed beside the rollback, each command on a line of its own."""
    heads = (
        "before it, in the folder of the Worker, when readers are on the new side:",
        "after it, to see what is left:",
    )
    notes: list[str] = []
    for head, commands in zip(heads, (report.commands_before, report.commands_after), strict=True):
        if commands:
            notes += ["", head, *(f"  {shlex.join(argv)}" for argv in commands)]
        if any(VERSION in argv for argv in commands):
            notes.append(_WHICH_VERSION)
    return notes


def _next_of_preview(shown: Shown, following: Following) -> Following:
    """The rollback itself, or what it needs first; after a rollback the step of the run."""
    if shown.report.already_done:
        return following
    text = shlex.join(shown.undo_argv)
    if shown.not_compared:
        names = " and ".join(shown.not_compared)
        needed = f"name {names} in the settings, as the run has it; then `{text}` undoes it"
        return replace(following, argv=(), text=needed)
    return replace(following, argv=shown.undo_argv, text=text)


def _later_notes(report: RollbackReport) -> list[str]:
    """What the operator has to know of later writes."""
    notes = []
    if report.later_writes and not report.later_export:
        notes.append(f"not carried back into Qdrant: see {report.later_writes_file}")
    if report.later_deletions:
        notes.append(
            f"removed by others, and perhaps still in Qdrant: see {report.later_deletions_file}"
        )
    if report.later_export and report.later_export_returns:
        restore = shlex.join(restore_argv(report.later_export))
        notes.append(f"to bring the later writes into Qdrant: {restore}")
    if report.later_export:
        notes.append(f"files to embed again: {report.files_to_embed}")
        notes.append(f"every file that the new side changed: {report.files_to_embed_json}")
    for name in report.not_exported[:SHOWN_MAX]:
        notes.append(f"kept, and not in the export: {name}")
    if report.conflicts and (report.not_exported or not report.later_export):
        notes.append(advise(f"what was kept can still be exported: {_EXPORT} seals it"))
    elif not (report.executed or report.already_done or report.later_export):
        notes.append(
            advise(
                "later writes are not looked for here: --execute lists them first, and "
                f"{_EXPORT} seals them"
            )
        )
    return notes


def _document(report: RollbackReport) -> dict[str, object]:
    return {
        "run_id": report.run_id,
        **({"runs": report.runs} if report.runs else {}),
        "executed": report.executed,
        "already_done": report.already_done,
        "vectors_deleted": report.vectors_deleted,
        "vectors_restored": report.vectors_restored,
        "kv_deleted": report.kv_deleted,
        "kv_restored": report.kv_restored,
        "conflicts": report.conflicts,
        "counter_kept": report.counter_kept or None,
        **forced_document(report.forced_unknown),
        "differs": {one: list(what) for one, what in first_named(report.differs).items()},
        "differs_file": report.differs_file,
        "later_writes": report.later_writes,
        "later_writes_file": report.later_writes_file,
        "later_deletions": report.later_deletions,
        "later_deletions_file": report.later_deletions_file,
        "later_export": report.later_export or None,
        "later_export_returns": report.later_export_returns,
        "files_to_embed": report.files_to_embed or None,
        "files_to_embed_json": report.files_to_embed_json or None,
        "not_exported": report.not_exported,
        "requests": report.requests,
        "minutes": report.minutes,
        "manifest": report.manifest,
        "cannot_undo": report.cannot_undo,
        "commands_before": report.commands_before,
        "commands_after": report.commands_after,
    }
