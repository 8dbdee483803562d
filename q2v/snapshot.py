"""`q2v snapshot`: the whole collection into sealed Parquet."""

import sys
from pathlib import Path

import click

from migrate.adapters.durable import FolderLock
from migrate.stages import snapshot as stage
from q2v import wiring
from q2v.options import folder_option, json_option, settings_options
from q2v.progress import open_progress
from q2v.render import format_bytes, format_duration, render
from q2v.settings import Settings


@click.command("snapshot")
@click.option(
    "--second-reading",
    type=click.Choice(["digest", "ids"]),
    default="digest",
    show_default=True,
    help="What the second reading compares: whole contents, or ids only.",
)
@click.option("--allow-empty", is_flag=True, help="Take a snapshot of an empty collection.")
@folder_option
@json_option
@settings_options("source", "snapshot")
def command(
    *,
    second_reading: stage.SecondReading,
    allow_empty: bool,
    folder: Path,
    as_json: bool,
    settings: Settings,
) -> None:
    """Copy the configured collection into sealed Parquet parts, and read it twice.

    Goes on with an unsealed snapshot of the same collection. Writes nothing to Qdrant.
    """
    clock = wiring.system_clock()
    options = stage.SnapshotOptions(
        page_points=settings.snapshot.page_points,
        second_reading=second_reading,
        allow_empty=allow_empty,
        tool=wiring.TOOL,
        seal_key=wiring.seal_key(settings),
    )
    with (
        open_progress(sys.stderr, clock) as progress,
        wiring.open_source(settings, clock=clock, progress=progress) as source,
        FolderLock(folder),
    ):
        report = stage.run(source, folder, options, clock=clock, progress=progress)
    show(report, as_json=as_json)


def show(report: stage.SnapshotReport, *, as_json: bool) -> None:
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
        },
        [
            ("snapshot", report.snapshot_id + (" (resumed)" if report.resumed else "")),
            ("path", report.path),
            ("points", report.points),
            ("parts", f"{report.parts} ({format_bytes(report.bytes)})"),
            ("dimensions", str(report.dimensions)),
            ("content root", report.content_root),
            ("took", format_duration(report.seconds)),
        ],
        as_json=as_json,
        notes=["", "next: q2v migrate"],
    )
