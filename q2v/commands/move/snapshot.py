"""`q2v snapshot`: the whole collection into sealed Parquet."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TypedDict, Unpack

import click

from migrate.errors import PreconditionError, UsageError
from migrate.run.choose.find import find_snapshot
from migrate.runtime import Runtime
from migrate.snapshot.chain.flatten import SnapshotSource
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.ranges import SecondReading
from migrate.snapshot.sealed.repair import repair_part
from migrate.snapshot.take import SnapshotOptions, SnapshotReport, take_snapshot
from migrate.storage.folder import WorkFolder
from migrate.storage.folder_lock import FolderLock
from q2v import wiring
from q2v.executors.options import choose_executor, executor_options
from q2v.invocation import Place
from q2v.options import SEAL, SOURCE, folder_option, json_option, takes
from q2v.output.following import Following, completed, following_snapshot
from q2v.output.progress import open_progress
from q2v.output.render import format_bytes, format_duration, render
from q2v.rules.required import refuse_flags
from q2v.rules.scope import check_snapshot_collection
from q2v.rules.stages import TOOL
from q2v.settings import Settings
from q2v.workers import ReaderOpening

SHOWN_MAX = 20  # points that are left out


class Flags(TypedDict):
    """What the operator typed."""

    second_reading: SecondReading
    allow_empty: bool
    leave_unreadable: bool
    moving: bool
    flatten: bool
    repair_part: int | None
    repaired: Path | None
    executor: str
    scheduler: str | None
    folder: Place
    as_json: bool


@takes(*SOURCE, "snapshot.page_points", "snapshot.readers", "target.shards", SEAL)
@click.command("snapshot")
@click.option(
    "--second-reading",
    type=click.Choice(["digest", "ids"]),
    default="digest",
    show_default=True,
    help="What the second reading compares: whole contents, or ids only.",
)
@click.option("--allow-empty", is_flag=True, help="Take a snapshot of an empty collection.")
@click.option(
    "--leave-unreadable",
    is_flag=True,
    help="Leave out points that the source cannot give: the snapshot holds their ids, the plan "
    "quarantines them, and the exit code is 3.",
)
@click.option(
    "--moving",
    is_flag=True,
    help="Read once, while others write to the collection: a first snapshot for `q2v catch-up`, "
    "which proves nothing by itself.",
)
@click.option(
    "--flatten",
    is_flag=True,
    help="Instead: write the newest snapshot and those that it is a difference to as one whole "
    "snapshot; nothing is read from the source.",
)
@click.option(
    "--repair-part",
    type=click.IntRange(min=0),
    metavar="N",
    help="Instead: read damaged part N of the newest sealed snapshot again, and put it in place "
    "only if it has the bytes that were sealed.",
)
@click.option(
    "--of",
    "repaired",
    type=click.Path(path_type=Path),
    help="The snapshot of --repair-part or --flatten, if it is not the newest.",
)
@executor_options
@folder_option
@json_option
@click.pass_context
def command(ctx: click.Context, settings: Settings, **flags: Unpack[Flags]) -> None:
    """Copy the configured collection into sealed Parquet parts, and read it twice.

    Resumes an unsealed snapshot of the same collection. Writes nothing to Qdrant.
    """
    directory = wiring.open_folder(flags["folder"])
    if flags["repair_part"] is not None:
        _refuse_with_repair(settings)
        _repair(flags["repair_part"], directory, settings, flags)
        return
    if flags["flatten"]:
        _refuse_beside(_NOT_OF_A_FLATTENING, "with --flatten")
        _flatten(ctx, directory, settings, flags)
        return
    if flags["repaired"] is not None:
        raise UsageError(
            "--of without --repair-part or --flatten",
            remedy="pass --repair-part N or --flatten, or leave --of out",
        )
    clock = wiring.system_clock()
    executor = choose_executor(flags["executor"], flags["scheduler"], directory, settings)
    options = SnapshotOptions(
        page_points=settings.snapshot.page_points,
        readers=wiring.source_readers(settings),
        second_reading=flags["second_reading"],
        allow_empty=flags["allow_empty"],
        leave_unreadable=flags["leave_unreadable"],
        moving=flags["moving"],
        tool=TOOL,
        seal_key=wiring.seal_key(settings),
    )
    with (
        open_progress(sys.stderr, clock) as progress,
        executor.machines(progress.say) as machines,
        wiring.open_source(settings, directory, clock=clock, progress=progress) as source,
        FolderLock(directory),
    ):
        report = take_snapshot(
            source,
            directory,
            options,
            Runtime(clock=clock, progress=progress),
            open_readers=ReaderOpening(
                settings=settings,
                options=options,
                progress=progress,
                machines=machines,
            ),
        )
        sealed = Snapshot(directory.child(report.snapshot_id), options.seal_key)
        following = following_snapshot(sealed, settings)
    show(report, following, as_json=flags["as_json"])
    ctx.exit(report.exit_code)


_NOT_OF_A_REPAIR = {
    "second_reading": "--second-reading",
    "allow_empty": "--allow-empty",
    "leave_unreadable": "--leave-unreadable",
    "moving": "--moving",
    "flatten": "--flatten",
    "executor": "--executor",
    "scheduler": "--scheduler",
}
_NOT_OF_A_FLATTENING = {name: flag for name, flag in _NOT_OF_A_REPAIR.items() if name != "flatten"}


def _refuse_with_repair(settings: Settings) -> None:
    """A repair reads one part again, once, and puts nothing else in place."""
    why = "with --repair-part"
    refuse_flags(settings, ("snapshot.readers",), why=why)
    _refuse_beside(_NOT_OF_A_REPAIR, why)


def _refuse_beside(flags: dict[str, str], why: str) -> None:
    context = click.get_current_context()
    for name, flag in flags.items():
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise UsageError(f"{flag}: this has no effect {why}", remedy="leave it out")


def _flatten(ctx: click.Context, directory: WorkFolder, settings: Settings, flags: Flags) -> None:
    """Take a snapshot of the chain that ends in a snapshot, in the place of the source."""
    clock, key = wiring.system_clock(), wiring.seal_key(settings)
    with open_progress(sys.stderr, clock) as progress, FolderLock(directory):
        found = find_snapshot(directory, wiring.open_named(directory, flags["repaired"]), key)
        check_snapshot_collection(found, settings)
        if found.manifest.moving:
            raise PreconditionError(
                f"snapshot {found.manifest.snapshot_id} was read while others wrote: it proves "
                "nothing, and neither would a copy of it",
                remedy="stop the writers (RUNBOOK: freeze), run `q2v catch-up --frozen`, then "
                "flatten that",
            )
        if found.manifest.payload_only:
            raise PreconditionError(
                f"snapshot {found.manifest.snapshot_id} was read by `q2v catch-up "
                "--payload-only`: a copy of it would not say that vectors of unchanged "
                "payloads were not read again",
                remedy="stop the writers (RUNBOOK: freeze), run `q2v catch-up --frozen`, which "
                "reads every vector, then flatten that",
            )
        options = SnapshotOptions(allow_empty=True, tool=TOOL, seal_key=key)
        runtime = Runtime(clock=clock, progress=progress)
        report = take_snapshot(SnapshotSource(found), directory, options, runtime)
        following = following_snapshot(found, settings)
    show(report, following, as_json=flags["as_json"])
    ctx.exit(report.exit_code)


def _repair(ordinal: int, directory: WorkFolder, settings: Settings, flags: Flags) -> None:
    clock = wiring.system_clock()
    with (
        open_progress(sys.stderr, clock) as progress,
        wiring.open_source(settings, directory, clock=clock, progress=progress) as source,
        FolderLock(directory),
    ):
        found = wiring.open_named(directory, flags["repaired"])
        snapshot = find_snapshot(directory, found, wiring.seal_key(settings))
        check_snapshot_collection(snapshot, settings)
        report = repair_part(
            source,
            snapshot,
            ordinal,
            page_points=settings.snapshot.page_points,
            progress=progress,
        )
    verify = completed("`q2v verify`", directory, settings, snapshot=snapshot.folder).strip("`")
    render(
        asdict(report),
        [
            ("snapshot", report.snapshot_id),
            ("part", report.path),
            ("points", report.points),
            ("repaired", "yes" if report.repaired else "no: it is as it was sealed"),
        ],
        as_json=flags["as_json"],
        notes=["", f"next: {verify}"],
    )


def show(report: SnapshotReport, following: Following, *, as_json: bool) -> None:
    """The report as JSON or as lines."""
    render(
        {
            "snapshot_id": report.snapshot_id,
            "path": report.path,
            "points": report.points,
            "parts": report.parts,
            "bytes": report.bytes,
            "dimensions": report.dimensions,
            "set_digest": report.set_digest,
            "content_root": report.content_root,
            "seconds": report.seconds,
            "resumed": report.resumed,
            "warnings": report.warnings,
            **following.document(),
            "unreadable": len(report.unreadable),
            "unreadable_points": report.unreadable,
            "exit_code": int(report.exit_code),
        },
        [
            ("snapshot", report.snapshot_id + (" (resumed)" if report.resumed else "")),
            ("path", report.path),
            ("points", report.points),
            ("left out as unreadable", len(report.unreadable)),
            ("parts", f"{report.parts} ({format_bytes(report.bytes)})"),
            ("dimensions", str(report.dimensions)),
            ("content root", report.content_root),
            ("took", format_duration(report.seconds)),
        ],
        as_json=as_json,
        notes=[
            *(f"left out: point {point} cannot be read" for point in report.unreadable[:SHOWN_MAX]),
            *following.notes(),
        ],
    )
