"""`q2v plan`: what would move, what cannot, and what it takes; writes to no store."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TypedDict, Unpack

import click

from migrate.begin import check_findings
from migrate.errors import MigrationError
from migrate.plan.estimate import Estimate
from migrate.plan.make import PlanFindings
from migrate.plan.rules import PlanRules
from migrate.run.next_step import Situation
from migrate.runtime import Runtime
from q2v import wiring
from q2v.commands.prepare.plan import details, screen
from q2v.commands.prepare.plan.document import document
from q2v.commands.prepare.plan.gathering import PlanResult, gather
from q2v.commands.prepare.plan.verdict import judge
from q2v.options import (
    PLANNING,
    SEAL,
    SOURCE,
    TARGET,
    folder_option,
    json_option,
    refuse_flags,
    takes,
    waive_index_option,
)
from q2v.output.advice import advise
from q2v.output.following import Following, following_here, following_snapshot
from q2v.output.progress import open_progress
from q2v.output.render import render
from q2v.settings import Settings

# Before these no run has written anything.
_BEFORE_A_RUN = (
    Situation.NO_SNAPSHOT,
    Situation.NOT_PROVISIONED,
    Situation.SNAPSHOT_BEGUN,
    Situation.SNAPSHOT_SEALED,
    Situation.ROLLED_BACK,
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
    folder: Path
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
@folder_option
@json_option
def command(settings: Settings, **flags: Unpack[Flags]) -> None:
    """Check every point of the source, or of SNAPSHOT, against every limit of the target.

    Writes nothing to either side. The target is read first, when it is configured.
    """
    if flags["snapshot"] is not None:
        why = "with SNAPSHOT: the source is not read"
        refuse_flags(settings, (*SOURCE, "snapshot.page_points"), why=why)
    choices = wiring.Choices(
        allow_cast=flags["allow_cast"],
        allow_empty=flags["allow_empty"],
        waived_indexes=frozenset(flags["waived_indexes"]),
    )
    rules = wiring.plan_rules(settings, choices)
    directory, clock = wiring.open_folder(flags["folder"]), wiring.system_clock()
    with ExitStack() as stack:
        progress = stack.enter_context(open_progress(sys.stderr, clock))
        runtime = Runtime(
            clock=clock, progress=progress, reads_in_flight=settings.limits.reads_in_flight
        )
        named = wiring.open_named(directory, flags["snapshot"])
        result, found = gather(settings, rules, directory, runtime, named)
        is_ready = None if result.target is None else result.target.is_ready
        following = (
            following_here(directory, settings, wiring.seal_key(settings), provisioned=is_ready)
            if found is None
            else following_snapshot(found, settings, provisioned=is_ready)
        )
    failure = _find_failure(result.findings, result.figures, rules)
    show(result, settings, failure, following, flags)
    if failure is not None:
        raise failure


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


def show(
    result: PlanResult,
    settings: Settings,
    failure: MigrationError | None,
    following: Following,
    flags: Flags,
) -> None:
    """The plan as JSON or as lines. After a failure the error says what comes next."""
    is_moved = following.situation not in _BEFORE_A_RUN
    verdict = judge(result, settings, failure, is_moved=is_moved)
    members = {} if failure is not None else following.document()
    values = flags["show_values"]
    notes: list[str] = []
    if not flags["as_json"]:
        notes = [
            *_more(result, settings, flags),
            *(following.notes() if failure is None else []),
        ]
    render(
        {**document(result, settings, verdict, show_values=values), **members},
        screen.rows(result, settings, verdict),
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
        lines.append(f"more: --details ({len(details.notes(result, settings))} notes), --settings")
    if flags["show_settings"]:
        lines += ["", *details.setting_lines(settings)]
    return lines
