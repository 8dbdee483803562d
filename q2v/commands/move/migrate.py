"""`q2v migrate`: write a snapshot to the target, resume the run, or repair drift."""

import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypedDict, Unpack

import click

from migrate.begin import Confirm, begin, confirmed, refuse_without_refused
from migrate.errors import ExitCode
from migrate.mapping.kv_entries import COUNTER_MEANING
from migrate.migrate import migrate
from migrate.plan.saved.agreed import AgreedPlan
from migrate.plan.saved.agreement import check_source
from migrate.run.choose.find import find_snapshot
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot
from migrate.storage.folder import WorkFolder
from migrate.upload.report import MigrateReport, report_dry_run
from migrate.words import subject
from q2v import wiring
from q2v.commands.move.confirm import confirm_write
from q2v.commands.prepare.plan.saving import (
    held_to,
    open_agreed,
    planned,
    planned_source,
)
from q2v.executors.options import choose_executor, executor_options
from q2v.invocation import Place, current_invocation
from q2v.options import (
    PLANNING,
    SEAL,
    TARGET,
    folder_option,
    json_option,
    max_delete_option,
    read_forced,
    takes,
    waive_index_option,
    yes_option,
)
from q2v.output.following import Following, completed, following_snapshot
from q2v.output.forced import forced_document, forced_notes
from q2v.output.progress import open_progress
from q2v.output.refusal_notes import refusal_notes
from q2v.output.render import elsewhere_cells, format_duration, format_reasons, render
from q2v.output.route import Route, configured_target, route_from_snapshot
from q2v.rules.scope import check_snapshot_collection, settings_of_index
from q2v.rules.stages import Choices, plan_rules, write_options
from q2v.settings import Settings
from q2v.workers import open_uploaders

KEPT_SHOWN_MAX = 10


class Flags(TypedDict):
    """What the operator typed."""

    snapshot: Path | None
    dry_run: bool
    into_non_empty: bool
    allow_cast: bool
    allow_empty: bool
    waive: tuple[str, ...]
    waived_indexes: tuple[str, ...]
    force_file: Path | None
    retry_refused: bool
    max_delete: float
    yes: bool
    executor: str
    scheduler: str | None
    folder: Place
    as_json: bool


@takes("source.collection", "source.filter", *TARGET, *PLANNING, "limits.settle_timeout_s", SEAL)
@click.command("migrate")
@click.argument("snapshot", required=False, type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Do everything but write to the target.")
@click.option(
    "--into-non-empty",
    is_flag=True,
    help="Write into an index that holds vectors; what is overwritten is kept.",
)
@click.option("--allow-cast", is_flag=True, help="Move uint8 or float16 values as float32.")
@click.option("--allow-empty", is_flag=True, help="Migrate an empty snapshot.")
@click.option(
    "--waive",
    multiple=True,
    metavar="REASON",
    help="Quarantined points of this reason do not count as a failure. May be repeated.",
)
@waive_index_option
@click.option(
    "--force",
    "force_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File of ids and keys that a repair overwrites although another writer changed them.",
)
@click.option(
    "--retry-refused",
    is_flag=True,
    help="Send the vectors that the target has refused once more.",
)
@max_delete_option
@yes_option
@executor_options
@folder_option
@json_option
@click.pass_context
def command(ctx: click.Context, settings: Settings, **flags: Unpack[Flags]) -> None:
    """Write SNAPSHOT (default: the newest) to the configured target.

    SNAPSHOT may be a file of `q2v plan --out FILE`: exactly that plan is carried out, or refused
    when source, settings or target have moved since. Of several vector indexes it is the planned
    one.

    Pre-images first, then vectors, then the KV index and the counter. Run it again after a kill to
    resume. Run it again after a reconcile that found drift to repair.
    """
    choices = Choices(
        allow_cast=flags["allow_cast"],
        allow_empty=flags["allow_empty"],
        into_non_empty=flags["into_non_empty"],
        waived=tuple(sorted(set(flags["waive"]))),
        waived_indexes=frozenset(flags["waived_indexes"]),
        retry_refused=flags["retry_refused"],
        forced=read_forced(flags["force_file"]),
        dry_run=flags["dry_run"],
        max_delete=flags["max_delete"],
    )
    directory, clock = wiring.open_folder(flags["folder"]), wiring.system_clock()
    executor = choose_executor(flags["executor"], flags["scheduler"], directory)
    agreed = open_agreed(directory, flags["snapshot"], wiring.seal_key(settings))
    if agreed is not None:
        settings = settings_of_index(
            settings, agreed.plan.target.vector_index, f"flag SNAPSHOT {agreed.where}"
        )
        current_invocation().settings = settings  # what is advised names this index as well
        choices = held_to(agreed, choices, settings)
    with (
        open_progress(sys.stderr, clock) as progress,
        wiring.open_target(settings, directory, clock=clock, progress=progress) as target,
        wiring.lock_folder(directory, settings),
    ):
        named = wiring.open_named(
            directory, flags["snapshot"] if agreed is None else planned(agreed)
        )
        found = find_snapshot(directory, named, wiring.seal_key(settings))
        executor.check_reached(found.folder)
        check_snapshot_collection(found, settings)
        route = route_from_snapshot(found, configured_target(settings), clock)
        if agreed is not None:
            check_source(agreed.plan, planned_source(route, found), agreed.where)
            progress.say(
                f"as planned in {agreed.where}, fingerprint {agreed.plan.fingerprint[:16]}"
            )
        progress.say(route.sentence())
        report = migrate_snapshot(
            found,
            target,
            settings,
            replace(choices, open_machines=partial(executor.machines, progress.say)),
            Runtime(
                clock=clock, progress=progress, reads_in_flight=settings.limits.reads_in_flight
            ),
            folder=directory,
            confirm=lambda plan: confirm_write(plan, route, sure=flags["yes"] or target.is_local),
        )
        following = following_snapshot(found, settings)
    advise = partial(completed, folder=directory, settings=settings, snapshot=found.folder)
    show(report, route, following, advise, agreed=agreed, as_json=flags["as_json"])
    ctx.exit(report.exit_code)


def migrate_snapshot(
    snapshot: Snapshot,
    target: wiring.CloudflareTarget,
    settings: Settings,
    choices: Choices,
    runtime: Runtime,
    *,
    folder: WorkFolder,
    confirm: Confirm = confirmed,
) -> MigrateReport:
    """Begin or continue the run that is due, and write it. The caller holds the lock of `folder`.

    Safe to repeat, whatever was raised.
    """
    started, sent_before = runtime.clock.monotonic_s(), target.budget.taken
    rules = plan_rules(settings, choices)
    if choices.retry_refused:
        refuse_without_refused(snapshot, target, rules)
    begun = begin(
        snapshot,
        target,
        rules,
        runtime,
        namespaces=wiring.open_namespaces(target.http),
        confirm=None if choices.dry_run else confirm,
        open_machines=choices.open_machines,
    )
    if begun.run is None:
        report = report_dry_run(begun.plan, snapshot)
    else:
        uploaders = partial(
            open_uploaders, settings=settings, folder=folder, progress=runtime.progress
        )
        options = replace(write_options(settings, begun.plan, choices), snapshot_read=begun.is_new)
        with closing(begun.run) as run:
            report = migrate(run, target, options, runtime, open_uploaders=uploaders)
        report = replace(report, requests=report.requests + target.budget.taken - sent_before)
    return replace(report, seconds=round(runtime.clock.monotonic_s() - started, 3))


def _unwaived_notes(unwaived: int) -> list[str]:
    """Why a complete migrate does not end with exit 0."""
    if not unwaived:
        return []
    points = subject(unwaived, "point", "is")
    return [f"exit {ExitCode.QUARANTINED:d}: {points} left out for reasons that were not accepted"]


def _kept_notes(kept: tuple[str, ...], advise: Callable[[str], str]) -> list[str]:
    """What a repair has left as another writer made it, and how to overwrite it."""
    if not kept:
        return []
    shown = ", ".join(f"'{one}'" for one in kept[:KEPT_SHOWN_MAX])
    more = f" and {len(kept) - KEPT_SHOWN_MAX} more" if len(kept) > KEPT_SHOWN_MAX else ""
    return [
        f"kept as another writer changed them: {shown}{more}",
        advise(
            "the report's differs.jsonl names what differs; put the ids and keys to overwrite "
            "into a file and run `q2v migrate --force FILE`"
        ),
    ]


def show(
    report: MigrateReport,
    route: Route,
    following: Following,
    advise: Callable[[str], str],
    *,
    agreed: AgreedPlan | None,
    as_json: bool,
) -> None:
    """The report as JSON or as lines."""
    quarantined = sum(report.quarantined.values())
    render(
        {
            "run_id": report.run_id,
            "path": report.path,
            "saved_plan": None
            if agreed is None
            else {"file": agreed.where, "fingerprint": agreed.plan.fingerprint},
            "snapshot_id": report.snapshot_id,
            "route": route.document(),
            "points": report.points,
            "acknowledged": report.acknowledged,
            "quarantined": quarantined,
            "elsewhere": report.elsewhere,
            "quarantined_reasons": report.quarantined,
            "requests": report.requests,
            "mutations": report.mutations,
            "refused_uploads": report.refused_uploads,
            "refused": report.refused,
            "kept": report.kept[:KEPT_SHOWN_MAX],
            "kept_count": len(report.kept),
            **forced_document(report.forced_unknown),
            "kv_entries": report.kv_entries,
            "counter": report.counter,
            "seconds": report.seconds,
            "round": report.round,
            "evidence": report.evidence,
            "dry_run": report.dry_run,
            "exit_code": int(report.exit_code),
            **following.document(),
        },
        [
            ("run", report.run_id),
            ("path", report.path),
            *([] if agreed is None else [("plan", agreed.where)]),
            *route.cells(),
            ("points", report.points),
            *elsewhere_cells(report.elsewhere),
            ("acknowledged", report.acknowledged),
            ("quarantined", format_reasons(report.quarantined)),
            ("KV entries", report.kv_entries),
            ("counter", f"{report.counter:,} ({COUNTER_MEANING})"),
            ("requests", report.requests),
            ("uploads refused", report.refused_uploads),
            ("round", report.round),
            ("evidence", report.evidence),
            ("took", format_duration(report.seconds)),
        ],
        as_json=as_json,
        notes=[
            *refusal_notes(report.refused, advise),
            *_kept_notes(report.kept, advise),
            *forced_notes(report.forced_unknown),
            *_unwaived_notes(report.unwaived),
            *following.notes(),
        ],
    )
