"""`q2v archive`: the snapshot chain of a run and all its runs in one file that checks itself."""

import shlex
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TypedDict, Unpack

import click

from migrate.archive.write import ArchiveOptions, ArchiveReport, write_archive
from migrate.errors import UsageError
from migrate.run.choose.find import find_run
from migrate.runtime import Runtime
from migrate.snapshot.folder import snapshot_around
from migrate.storage.folder import StoredFile, WorkFolder
from migrate.storage.folder_lock import FolderLock
from migrate.storage.layout import archive_name
from migrate.storage.local_folder import LocalFolder
from q2v import wiring
from q2v.invocation import Place
from q2v.options import RUN, folder_option, json_option, takes
from q2v.output.progress import open_progress
from q2v.output.render import format_bytes, render
from q2v.rules.scope import configured_index, refuse_idle_index
from q2v.rules.stages import TOOL
from q2v.settings import Settings


class Flags(TypedDict):
    """What the operator typed."""

    run: Path | None
    out: Path | None
    not_final: bool
    folder: Place
    as_json: bool


@takes(*RUN)
@click.command("archive")
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write.  [default: SNAPSHOT-RUN.q2v.tar.zst in --dir; SNAPSHOT-RUN-2 and so "
    "on for a later state of the run]",
)
@click.option(
    "--not-final",
    is_flag=True,
    help="Archive a run as it stands that cannot be archived as final; the archive says so.",
)
@folder_option
@json_option
def command(settings: Settings, **flags: Unpack[Flags]) -> None:
    """Write RUN (default: the newest), its snapshots and all their runs into one file.

    Of a move over several vector indexes it holds the runs into all of them, each of which has to
    be final. The file is read back before it gets its name. `q2v verify FILE` checks it. Asks no
    store.
    """
    refuse_idle_index(settings)
    directory, key = wiring.open_folder(flags["folder"]), wiring.seal_key(settings)
    clock = wiring.system_clock()
    with ExitStack() as opened:
        progress = opened.enter_context(open_progress(sys.stderr, clock))
        opened.enter_context(FolderLock(directory))
        named = wiring.open_named(directory, flags["run"])
        own = configured_index(settings)  # without one the newest run of any index
        run = opened.enter_context(
            closing(find_run(directory, named, key, own=own, read_only=True))
        )
        name = archive_name(run.plan.snapshot_id, run.plan.run_id)
        out = directory.file(name) if flags["out"] is None else wiring.open_file(flags["out"])
        _lock_folder_of(out, directory, opened)
        report = write_archive(
            run,
            out,
            ArchiveOptions(
                tool=TOOL,
                not_final=flags["not_final"],
                numbered=flags["out"] is None,
            ),
            Runtime(clock=clock, progress=progress),
        )
    _show(report, as_json=flags["as_json"])


def _lock_folder_of(out: StoredFile, directory: WorkFolder, opened: ExitStack) -> None:
    """Keep a second q2v from writing the same file; --dir is locked already.

    Raises UsageError for a file in a snapshot: the next archive would hold it.
    """
    folder = out.folder
    here = LocalFolder(folder.path.absolute()) if isinstance(folder, LocalFolder) else None
    owner = snapshot_around(here or folder)
    if owner is not None:
        raise UsageError(
            f"--out {out}: found a folder of snapshot {owner.name}, expected one outside of it",
            remedy="name a file in another folder",
        )
    if here is not None and not here.is_same(directory.local):
        opened.enter_context(FolderLock(here))


def _show(report: ArchiveReport, *, as_json: bool) -> None:
    """The report as JSON or as lines."""
    record = report.record
    chain = [link.snapshot_id for link in record.chain]
    final = "yes" if record.final else f"no: {record.why_not_final}"
    render(
        {
            "path": report.path,
            "bytes": report.bytes,
            "sha256": report.sha256,
            "snapshot_id": record.snapshot_id,
            "run_id": record.run_id,
            "chain": chain,
            "runs": len(record.runs),
            "files": len(record.files),
            "file_bytes": sum(file.bytes for file in record.files),
            "final": record.final,
            "why_not_final": record.why_not_final,
            "reused": report.reused,
            "left_out": report.left_out,
            "verified": True,
        },
        [
            ("archive", report.path),
            ("run", record.run_id),
            ("snapshots", ", ".join(chain)),
            ("runs", len(record.runs)),
            ("files", len(record.files)),
            ("size", format_bytes(report.bytes)),
            ("sha256", report.sha256),
            ("final", final),
            ("verdict", _verdict(report)),
        ],
        as_json=as_json,
        notes=[
            *(
                f"warning: {path} is not part of the move and is left out"
                for path in report.left_out
            ),
            "",
            "next: keep a copy elsewhere; "
            f"`{shlex.join(['q2v', 'verify', report.path])}` checks one at any time",
        ],
    )


def _verdict(report: ArchiveReport) -> str:
    was = "was there already, with these contents" if report.reused else "was read back"
    return f"it {was}, every byte and every digest is as it should be"
