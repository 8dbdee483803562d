"""`q2v restore`: a snapshot back into a Qdrant collection."""

import sys
from pathlib import Path
from typing import TypedDict, Unpack

import click

from migrate.restore.restore import (
    IDS_SHOWN_MAX,
    RestoreOptions,
    RestoreReport,
    restore_snapshot,
)
from migrate.run.choose.find import find_snapshot
from migrate.runtime import Runtime
from migrate.storage.folder_lock import FolderLock
from q2v import wiring
from q2v.invocation import Place
from q2v.options import SEAL, Question, confirm_name, folder_option, json_option, takes, yes_option
from q2v.output.progress import open_progress
from q2v.output.render import format_duration, render
from q2v.settings import Settings


class Flags(TypedDict):
    """What the operator typed."""

    snapshot: Path
    append: bool
    leave_irregular: bool
    dry_run: bool
    yes: bool
    folder: Place
    as_json: bool


@takes(
    "source.url",
    "source.path",
    "source.api_key",
    "source.collection",
    "source.compression",
    "tls.ca_file",
    "tls.client_cert_file",
    "tls.client_key_file",
    SEAL,
)
@click.command("restore")
@click.argument("snapshot", type=click.Path(path_type=Path))
@click.option(
    "--append",
    is_flag=True,
    help="Write into a collection that holds other points; points of the same id are replaced.",
)
@click.option(
    "--leave-irregular",
    is_flag=True,
    help="Leave out points that cannot be written back: they are named, and the exit code is 4.",
)
@click.option("--dry-run", is_flag=True, help="Compare, and write nothing.")
@yes_option
@folder_option
@json_option
@click.pass_context
def command(ctx: click.Context, settings: Settings, **flags: Unpack[Flags]) -> None:
    """Write SNAPSHOT back into a collection of the configured Qdrant, and compare the two.

    SNAPSHOT may be an export of later writes (`q2v rollback --export-later-writes`), with --append.

    The collection is the snapshot's unless --collection names another one. It is created with the
    snapshot's settings. The key needs the right to write. Run it again after a kill to resume.
    """
    options = RestoreOptions(
        append=flags["append"],
        leave_irregular=flags["leave_irregular"],
        dry_run=flags["dry_run"],
    )
    directory, clock = wiring.open_folder(flags["folder"]), wiring.system_clock()
    with open_progress(sys.stderr, clock) as progress, FolderLock(directory):
        named = wiring.open_named(directory, flags["snapshot"])
        key = wiring.seal_key(settings)
        snapshot = find_snapshot(directory, named, key, accepts_later=True)
        with wiring.open_restore_target(
            settings, snapshot, directory, clock=clock, progress=progress
        ) as target:
            report = restore_snapshot(
                snapshot,
                target,
                options,
                Runtime(clock=clock, progress=progress),
                confirm=lambda sentence: _confirm(target.name, sentence, sure=flags["yes"]),
            )
    _show(report, as_json=flags["as_json"])
    ctx.exit(report.exit_code)


def _confirm(name: str, sentence: str, *, sure: bool) -> None:
    """Ask for the collection's name to be typed. Raises UsageError when it is not."""
    question = Question(
        f"{sentence}: this",
        "Type the name of the collection to write to; anything else writes nothing",
        name,
        said=f"This {sentence}.",
    )
    confirm_name(question, sure=sure)


def _show(report: RestoreReport, *, as_json: bool) -> None:
    """The report as JSON or as lines."""
    place = report.target.get("url") or report.target["path"]
    is_dry = report.dry_run
    verdict = "equal to the snapshot" if report.equal else "not equal to the snapshot"
    render(
        {
            "snapshot_id": report.snapshot_id,
            "target": report.target,
            "points": report.points,
            "created": report.created,
            "payload_indexes": report.indexes,
            "already_there": report.already_there,
            "written": report.written,
            "replaced": report.replaced,
            "replaced_points": report.replaced_points,
            "others": report.others,
            "equal": None if is_dry else report.equal,
            "set_digest": report.set_digest or None,
            "unequal": report.unequal,
            "unequal_points": report.unequal_points,
            "refused": report.refused,
            "settings_differ": report.settings_differ,
            "warnings": report.warnings,
            "dry_run": is_dry,
            "seconds": report.seconds,
            "exit_code": int(report.exit_code),
        },
        [
            ("snapshot", report.snapshot_id),
            ("collection", f"{report.target['collection']} of {place}"),
            ("verdict", "nothing was written: --dry-run" if is_dry else verdict),
            ("points", report.points),
            ("already there", report.already_there),
            (
                "to be written" if is_dry else "written",
                report.unequal if is_dry else report.written,
            ),
            ("of these replacing others", report.replaced),
            ("other points there", report.others),
            ("took", format_duration(report.seconds)),
        ],
        as_json=as_json,
        notes=[
            *(f"warning: {warning}" for warning in report.warnings),
            *(f"setting: {text}" for text in report.settings_differ),
            *_replaced_notes(report),
            *([] if is_dry else _unequal_notes(report)),
            "",
            f"next: {_next(report)}",
        ],
    )


def _next(report: RestoreReport) -> str:
    if report.dry_run:
        return "the same command without --dry-run writes"
    if report.unequal:
        return "read above what differs; the same command writes those points again"
    return "let the application read this collection again"


def _replaced_notes(report: RestoreReport) -> list[str]:
    verb = "would replace" if report.dry_run else "replaced"
    notes = [f"{verb}: point {point}" for point in report.replaced_points[:IDS_SHOWN_MAX]]
    more = report.replaced - len(notes)
    return [*notes, *([f"and {more} more; --json names up to 1,000"] if more > 0 else [])]


def _unequal_notes(report: RestoreReport) -> list[str]:
    notes = [
        f"not equal: point {point}"
        + (f": {report.refused[point]}" if point in report.refused else "")
        for point in report.unequal_points[:IDS_SHOWN_MAX]
    ]
    more = report.unequal - len(notes)
    return [*notes, *([f"and {more} more; --json names up to 1,000"] if more > 0 else [])]
