"""`q2v reset-target`: empty the target of what runs and an allow list name."""

import shlex
import sys
from contextlib import ExitStack
from pathlib import Path

import click

from migrate.plan.target_shape import FRESH_INDEXES
from migrate.runtime import Runtime
from migrate.words import counted
from q2v import wiring
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
from q2v.output.progress import open_progress
from q2v.output.render import Cell, format_duration, render
from q2v.rules.scope import other_index, own_index
from q2v.rules.stages import undo_rules
from q2v.settings import Settings
from reconcile.reset.reset import ResetReport, ResetRules, open_chains, reset

_PROMPT = "Type the name of the vector index to empty; anything else writes nothing"


@takes(
    *TARGET,
    "limits.poll_s",
    "limits.kv_settle_s",
    "limits.settle_timeout_s",
    "limits.reads_in_flight",
    "mapping.group_key",
    "kv.key_template",
    "kv.counter_key",
    SEAL,
)
@click.command("reset-target")
@click.option("--execute", is_flag=True, help="Do it; without, nothing is written.")
@click.option(
    "--allow",
    "allow_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of ids and keys that may be deleted although others wrote them, one a line.",
)
@yes_option
@folder_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    settings: Settings,
    *,
    execute: bool,
    allow_file: Path | None,
    yes: bool,
    folder: Place,
    as_json: bool,
) -> None:
    """Empty the target for a fresh start: roll back every run in it, then delete what FILE names.

    Without --execute the target is listed and nothing is written. Nothing else is ever deleted:
    what is left is counted, and makes the exit code 4. A new index name needs no deletes at all.
    """
    directory, clock = wiring.open_folder(folder), wiring.system_clock()
    allowed = read_forced(allow_file)
    with ExitStack() as stack:
        progress = stack.enter_context(open_progress(sys.stderr, clock))
        target = stack.enter_context(
            wiring.open_target(settings, directory, clock=clock, progress=progress)
        )
        stack.enter_context(wiring.lock_folder(directory, settings))
        if execute:
            question = Question(
                "emptying a target",
                _PROMPT,
                str(settings.target.vector_index),
                said="This rolls back every run in this target, and deletes what --allow "
                "names; without --execute it is counted.",
            )
            confirm_name(question, sure=yes or target.is_local)
        key = wiring.seal_key(settings)
        report = reset(
            directory,
            stack.enter_context(open_chains(directory, target, key, own=own_index(settings))),
            target,
            ResetRules(
                undo=undo_rules(settings),
                allowed=allowed,
                requests_per_5min=settings.limits.requests_per_5min,
                own=own_index(settings),
                other_index=other_index(settings),
            ),
            Runtime(
                clock=clock, progress=progress, reads_in_flight=settings.limits.reads_in_flight
            ),
            execute=execute,
        )
    show(report, settings, allow_file, as_json=as_json)
    ctx.exit(report.exit_code)


def _again(allow_file: Path | None) -> str:
    """This command with --execute."""
    allowed = [] if allow_file is None else ["--allow", str(allow_file)]
    words = shlex.join(["q2v", "reset-target", "--execute", *allowed])
    return advise(f"`{words}`").replace("`", "")


def _fresh(settings: Settings) -> str:
    """How a fresh target is had without a reset."""
    if settings.target.shards:
        return advise(FRESH_INDEXES)
    return advise(
        "another name for target.vector_index and no target.kv_namespace_id; then `q2v provision`"
    )


def show(
    report: ResetReport, settings: Settings, allow_file: Path | None, *, as_json: bool
) -> None:
    """The reset as JSON or as lines."""
    runs = [run for one in report.rolled_back for run in (one.runs or (one.run_id,))]
    sums = {
        name: sum(getattr(one, name) for one in report.rolled_back)
        for name in ("vectors_deleted", "vectors_restored", "kv_deleted", "kv_restored")
    }
    document: dict[str, object] = {
        "executed": report.executed,
        "vector_index": settings.target.vector_index,
        "kv_namespace": settings.target.kv_namespace_id,
        "runs": runs,
        **sums,
        "allowed": {
            "vectors": report.allowed_vectors,
            "keys": report.allowed_keys,
            "unknown": list(report.unknown),
        },
        "conflicts": report.conflicts,
        "left": {
            "vectors": report.left_vectors,
            "keys": report.left_keys,
            "first": list(report.left_first),
        },
        "requests": report.requests,
        "minutes": report.minutes,
        "exit_code": int(report.exit_code),
    }
    verb = "" if report.executed else "to be "
    cells: list[tuple[str, Cell]] = [
        ("vector index", settings.target.vector_index),
        ("KV namespace", settings.target.kv_namespace_id),
        ("executed", report.executed),
        (f"runs {verb}rolled back", ", ".join(runs) or None),
        (f"vectors {verb}deleted", sums["vectors_deleted"] + report.allowed_vectors),
        (f"vectors {verb}put back", sums["vectors_restored"]),
        (f"KV keys {verb}deleted", sums["kv_deleted"] + report.allowed_keys),
        (f"KV keys {verb}put back", sums["kv_restored"]),
        ("vectors left, of others", report.left_vectors),
        ("KV keys left, of others", report.left_keys),
    ]
    notes = [""]
    if report.left_first:
        notes.append(f"left, among others: {', '.join(report.left_first)}")
    if report.unknown:
        notes.append(f"warning: the allow list names what is not there: {report.unknown[0]}")
    if report.executed:
        notes.append(advise("next: `q2v status`").replace("`", ""))
    else:
        minutes = format_duration(report.minutes * 60)
        cells.append(("takes", f"{counted(report.requests, 'request')}, {minutes}"))
        notes += [
            f"quicker, and nothing is deleted: {_fresh(settings)}",
            "the old index is deleted later with: wrangler vectorize delete "
            f"{settings.target.vector_index}",
            "",
            f"next: {_again(allow_file)}",
        ]
    render(document, cells, as_json=as_json, notes=notes)
