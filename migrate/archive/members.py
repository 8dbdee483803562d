"""Which files belong into the archive of a run: the snapshot chain that it needs, and all runs."""

from collections.abc import Iterator
from dataclasses import dataclass

from migrate.archive.record import folder_name
from migrate.archive.standing import run_place
from migrate.archive.tar import is_fit_path
from migrate.errors import PreconditionError
from migrate.run.folder import RunFolder
from migrate.snapshot.folder import Snapshot
from migrate.storage.folder import Folder, StoredFile
from migrate.storage.layout import (
    CHANGES,
    DIFFERENCE_BEGUN,
    JOURNAL,
    MANIFEST,
    OPENED_RECORD,
    PARITY,
    PARTS,
    PLAN,
    RECORDS,
    RUNS,
    STOP,
    part_name,
)

_DEPTH_MAX = 8  # folders in the folder of a run; q2v makes two


@dataclass(frozen=True, slots=True)
class Member:
    """A file that belongs into the archive."""

    path: str  # below the folder of the snapshots
    stored: StoredFile


@dataclass(frozen=True, slots=True)
class Members:
    """What belongs into the archive, by path, and what lies beside it and does not."""

    files: tuple[Member, ...]
    left_out: tuple[str, ...]  # paths that q2v does not know, or that no plan belongs to


def list_members(run: RunFolder) -> Members:
    """The files of the chain of a run and of all its runs.

    Of a snapshot these are the files that its manifest names, its journals, and its records of
    `q2v parity`; of a run everything
    in its folder. Names that begin with a dot are files that were being written, and scratch space;
    they and the stop file never belong to it. Raises LocalStorageError for a link or a device.
    """
    top = folder_name(run.plan.snapshot_id, run.plan.run_id)
    files: list[Member] = []
    left_out: list[str] = []
    for member in _of_chain(run.snapshot, left_out):
        if is_fit_path(f"{top}/{member.path}"):
            files.append(member)
        else:
            left_out.append(member.path)
    return Members(tuple(sorted(files, key=lambda one: one.path)), tuple(sorted(left_out)))


def _of_chain(snapshot: Snapshot, left_out: list[str]) -> Iterator[Member]:
    for link in snapshot.chain:
        yield from _of_snapshot(link, left_out)
        for name in link.runs.names():
            place = run_place(link.manifest.snapshot_id, name)
            if link.runs.child(name).has_file(PLAN):
                yield from _of_run(link.runs.child(name), place)
            else:
                left_out.append(place)


def _of_snapshot(link: Snapshot, left_out: list[str]) -> Iterator[Member]:
    """The files of one link without its runs; all that its manifest calls for, there or not."""
    place, manifest = link.manifest.snapshot_id, link.manifest
    named = [MANIFEST, *([] if manifest.changes is None else [CHANGES])]
    begun = (JOURNAL, OPENED_RECORD, DIFFERENCE_BEGUN)
    named += [name for name in begun if link.folder.has_file(name)]
    for name in named:
        yield Member(f"{place}/{name}", link.folder.file(name))
    parts = link.folder.child(PARTS)
    for part in manifest.parts:
        name = part_name(part.ordinal, part.revision)
        yield Member(f"{place}/{PARTS}/{name}", parts.file(name))
    for beside in (PARITY, RECORDS):
        yield from _walk(link.folder.child(beside), f"{place}/{beside}", 1)
    others = set(link.folder.names()) - {*named, PARITY, PARTS, RECORDS, RUNS}
    left_out += [f"{place}/{name}" for name in others if not name.startswith(".")]
    left_out += [f"{place}/{name}" for name in link.unknown_files()]


def _of_run(folder: Folder, place: str) -> Iterator[Member]:
    for member in _walk(folder, place, _DEPTH_MAX):
        if member.path != f"{place}/{STOP}":
            yield member


def _walk(folder: Folder, place: str, depth: int) -> Iterator[Member]:
    """Every file in a folder and the folders in it, but those whose names begin with a dot."""
    if depth == 0:
        raise PreconditionError(
            f"{folder}: more than {_DEPTH_MAX} folders lie in one another in a run",
            remedy="take out of the run's folder what q2v did not write",
        )
    for name in folder.names():
        if name.startswith("."):
            continue
        if folder.has_folder(name):
            yield from _walk(folder.child(name), f"{place}/{name}", depth - 1)
        else:
            yield Member(f"{place}/{name}", folder.file(name))
