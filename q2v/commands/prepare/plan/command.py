"""`q2v plan`: what would move, what cannot, and what it takes; writes to no store."""

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack

import click

from migrate.begin import check_findings
from migrate.errors import MigrationError
from migrate.plan.estimate import Estimate
from migrate.plan.make import PlanFindings
from migrate.plan.rules import PlanRules
from migrate.provision import TargetState
from migrate.run.next_step import Situation
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot
from migrate.storage.folder import WorkFolder
from migrate.words import counted
from q2v import wiring
from q2v.commands.prepare.plan import details, saving, screen
from q2v.commands.prepare.plan.document import document
from q2v.commands.prepare.plan.gathering import PlanResult, gather
from q2v.commands.prepare.plan.saving import with_plan
from q2v.commands.prepare.plan.verdict import judge
from q2v.executors.options import choose_executor, executor_options
from q2v.invocation import Place
from q2v.options import (
    PLANNING,
    SEAL,
    SOURCE,
    TARGET,
    folder_option,
    json_option,
    takes,
    waive_index_option,
)
from q2v.output.advice import advise
from q2v.output.following import Following, TargetNow, following_here, following_snapshot
from q2v.output.named_files import only_writer
from q2v.output.progress import open_progress
from q2v.output.render import render
from q2v.rules.required import refuse_flags
from q2v.rules.stages import Choices, plan_rules
from q2v.settings import Settings

# Before these no run has written anything.
_BEFORE_A_RUN = (
    Situation.NOT_CONFIGURED,
    Situation.NO_SNAPSHOT,
    Situation.NOT_PROVISIONED,
    Situation.SNAPSHOT_BEGUN,
    Situation.SNAPSHOT_SEALED,
    Situation.ROLLED_BACK,
)


PART_COMPARED = (
    "index or namespace holds 1,000 names or more: `q2v migrate` will compare only that it still "
    "does, and not the names"
)


class Flags(TypedDict):
    """What the operator typed."""

    snapshot: Path | None
    allow_cast: bool
    allow_empty: bool
    waived_indexes: tuple[str, ...]
    show_settings: bool
    show_details: bool
    show_values: bool
    out: Path | None
    executor: str
    scheduler: str | None
    folder: Place
    as_json: bool


@takes(*SOURCE, *TARGET, *PLANNING, "snapshot.page_points", SEAL)
@click.command("plan")
@click.argument("snapshot", required=False, type=click.Path(path_type=Path))
@click.option("--allow-cast", is_flag=True, help="Move uint8 or float16 values as float32.")
@click.option("--allow-empty", is_flag=True, help="Plan an empty collection.")
@waive_index_option
@click.option(
    "--settings",
    "--show-settings",
    "show_settings",
    is_flag=True,
    help="Show every setting with its origin.",
)
@click.option(
    "--details",
    "show_details",
    is_flag=True,
    help="Show notes, examples of transforms, and points that are left out.",
)
@click.option("--show-values", is_flag=True, help="Show values in the examples of transforms.")
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Save the plan; `q2v migrate FILE` carries out exactly this one, or refuses.",
)
@executor_options
@folder_option
@json_option
def command(settings: Settings, **flags: Unpack[Flags]) -> None:
    """Check every point of the source, or of SNAPSHOT, against every limit of the target.

    Writes nothing to either side. The target is read first, when it is configured.
    """
    directory, clock = wiring.open_folder(flags["folder"]), wiring.system_clock()
    executor = choose_executor(flags["executor"], flags["scheduler"], directory)
    if flags["snapshot"] is not None:
        why = "with SNAPSHOT: the source is not read"
        refuse_flags(settings, (*SOURCE, "snapshot.page_points"), why=why)
    out = flags["out"]
    if out is not None:
        saving.refuse_unset_target(settings, out)
        saving.check_files(out)
    choices = Choices(
        saves=out is not None,
        allow_cast=flags["allow_cast"],
        allow_empty=flags["allow_empty"],
        waived_indexes=frozenset(flags["waived_indexes"]),
    )
    rules = plan_rules(settings, choices)
    with ExitStack() as stack:
        progress = stack.enter_context(open_progress(sys.stderr, clock))
        runtime = Runtime(
            clock=clock, progress=progress, reads_in_flight=settings.limits.reads_in_flight
        )
        named = wiring.open_named(directory, flags["snapshot"])
        result, found = gather(settings, rules, directory, runtime, named, executor=executor)
        following = _following(result.target, found, directory, settings)
    failure = _find_failure(result.findings, result.figures, rules)
    show(
        Shown(result, found, failure, following if out is None else with_plan(following, out)),
        settings,
        choices,
        flags,
    )
    if failure is not None:
        raise failure


def _following(
    target: TargetState | None, found: Snapshot | None, directory: WorkFolder, settings: Settings
) -> Following:
    """What comes next for the snapshot that was checked, or else for the source."""
    now = TargetNow(
        provisioned=None if target is None else target.is_ready,
        holds_vectors=target is not None and target.is_late,
    )
    if found is not None:
        return following_snapshot(found, settings, now)
    return following_here(directory, settings, wiring.seal_key(settings), now)


def _find_failure(
    findings: PlanFindings, figures: Estimate, rules: PlanRules
) -> MigrationError | None:
    """What makes a migrate with these findings stop before its first write; None for nothing."""
    try:
        check_findings(findings, rules)
        assert rules.window is not None
        rules.window.check(figures)
    except MigrationError as failure:
        return failure
    return None


@dataclass(frozen=True, slots=True)
class Shown:
    """What was planned, and what comes next."""

    result: PlanResult
    snapshot: Snapshot | None
    failure: MigrationError | None  # of a plan that does not fit
    following: Following


def show(shown: Shown, settings: Settings, choices: Choices, flags: Flags) -> None:
    """Save the plan if it fits and --out says so; show it as JSON or as lines.

    After a failure the error says what comes next.
    """
    result, failure, following = shown.result, shown.failure, shown.following
    is_moved = following.situation not in _BEFORE_A_RUN
    verdict = judge(result, settings, failure, is_moved=is_moved)
    members: dict[str, object] = {} if failure is not None else following.document()
    content = document(result, settings, verdict, show_values=flags["show_values"])
    rows = screen.rows(result, settings, verdict)
    out = flags["out"]
    with only_writer(out):
        left_out = None if out is None else saving.save_left_out(result.findings, out)
        if left_out is not None:
            members["quarantine_file"] = str(left_out)
            rows.append(("left out", str(left_out)))
        if out is not None and failure is None:
            saved = saving.save(
                result, settings, choices, snapshot=shown.snapshot, shown=content, out=out
            )
            members["saved"] = {"file": str(out), "fingerprint": saved.fingerprint}
            rows.append(("saved", f"{out}, fingerprint {saved.fingerprint[:16]}"))
            if saved.target.holds.is_part:
                rows.append(("", PART_COMPARED))
    notes: list[str] = []
    if not flags["as_json"]:
        notes = [
            *_more(result, settings, flags),
            *(following.notes() if failure is None else []),
        ]
    render(
        {**content, **members},
        rows,
        as_json=flags["as_json"],
        notes=notes,
        width=screen.WIDTH,
    )


def _more(result: PlanResult, settings: Settings, flags: Flags) -> list[str]:
    """The details and the settings where they are asked for, else how to ask."""
    lines: list[str] = []
    if flags["show_details"] or flags["show_values"]:
        shown = details.lines(result, settings, show_values=flags["show_values"])
        lines += ["", *map(advise, shown)]
    else:
        notes = counted(len(details.notes(result, settings)), "note")
        lines.append(f"more: --details ({notes}), --settings")
    if flags["show_settings"]:
        lines += ["", *details.setting_lines(settings)]
    return lines
