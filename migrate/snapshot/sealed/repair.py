"""Write one damaged part of a sealed snapshot again from the source, or change nothing.

The same points give the same bytes, so the new part is compared with the SHA-256 in the manifest.
A part that differs in one bit is not the sealed one and is not kept.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from migrate.errors import ForeignStateError, PreconditionError, UsageError
from migrate.model.digest import digest_points
from migrate.model.records import Page, PointId
from migrate.ports import PointSource, Progress
from migrate.snapshot.counting import check_same_sharding
from migrate.snapshot.folder import Snapshot, part_file
from migrate.snapshot.manifest import PartRecord
from migrate.snapshot.parts import write_part
from migrate.snapshot.place import is_place_of, place_of
from migrate.snapshot.walk import walk_points
from migrate.storage.layout import PARTS
from migrate.words import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairReport:
    """The result of `q2v snapshot --repair-part`."""

    snapshot_id: str
    path: str  # of the part
    ordinal: int
    points: int
    repaired: bool  # False: the part was not damaged


def repair_part(
    source: PointSource,
    snapshot: Snapshot,
    ordinal: int,
    *,
    page_points: int,
    progress: Progress,
) -> RepairReport:
    """Read the part's ids from the source again; keep the result only if it is the sealed part.

    The caller holds the lock of the snapshots. Raises UsageError when there is no such part,
    ForeignStateError for another source, PreconditionError when the source no longer holds these
    points unchanged; the part is then not replaced.
    """
    part = _part(snapshot, ordinal)
    if snapshot.manifest.parent is not None:
        raise UsageError(
            f"snapshot {snapshot.manifest.snapshot_id} is a difference to "
            f"{snapshot.manifest.parent_id}: its parts are not ranges of the source",
            remedy="restore the part from a copy, or name the whole snapshot with --of",
        )
    file = part_file(snapshot.folder, part)
    whole = file.is_there() and file.hash() == (part.bytes, part.sha256)
    if not whole:
        _check_same_source(source, snapshot)
        _write_again(source, snapshot, part, page_points=page_points, progress=progress)
    return RepairReport(
        snapshot_id=snapshot.manifest.snapshot_id,
        path=str(file),
        ordinal=ordinal,
        points=part.rows,
        repaired=not whole,
    )


def _part(snapshot: Snapshot, ordinal: int) -> PartRecord:
    for part in snapshot.manifest.parts:
        if part.ordinal == ordinal:
            return part
    raise UsageError(
        f"snapshot {snapshot.manifest.snapshot_id} has no part {ordinal}, its parts are 0 to "
        f"{len(snapshot.manifest.parts) - 1}",
        remedy="`q2v verify` names the damaged part",
    )


def _check_same_source(source: PointSource, snapshot: Snapshot) -> None:
    sealed = snapshot.manifest.source
    if not is_place_of(sealed, source):
        raise ForeignStateError(
            f"snapshot {snapshot.manifest.snapshot_id} was read from {place_of(sealed)}, the "
            f"settings name {place_of(source.identity())}",
            remedy="configure the source of the snapshot",
        )
    collection = source.read_collection()
    check_same_sharding(collection, snapshot.manifest)
    vectors = collection.vectors
    if vectors != snapshot.manifest.vectors:
        raise PreconditionError(
            f"the source has vectors {[asdict(spec) for spec in vectors]}, the snapshot "
            f"{[asdict(spec) for spec in snapshot.manifest.vectors]}",
            remedy="restore the part from a copy, or take a new snapshot",
        )


def _write_again(
    source: PointSource,
    snapshot: Snapshot,
    part: PartRecord,
    *,
    page_points: int,
    progress: Progress,
) -> None:
    """Write the part again. Raises before it is replaced when the points give other bytes."""
    snapshot.folder.child(PARTS).refuse_links()
    pages = _pages(source, part, snapshot, page_points=page_points, progress=progress)
    with part_file(snapshot.folder, part).open_to_write() as file:
        rows, size, sha256 = write_part(file, pages, snapshot.manifest.vectors)
        if (rows, size, sha256) != (part.rows, part.bytes, part.sha256):
            raise PreconditionError(
                f"part {part.ordinal}: the source gives {counted(rows, 'point')} from "
                f"{part.first_id} to "
                f"{part.last_id} with sha256 {sha256}, expected {part.rows} "
                f"points with {part.sha256}",
                remedy="they have changed since, or another version of q2v sealed them: restore "
                "the part from a copy, or take a new snapshot; nothing was replaced",
            )


def _pages(
    source: PointSource,
    part: PartRecord,
    snapshot: Snapshot,
    *,
    page_points: int,
    progress: Progress,
) -> Iterator[tuple[Page, list[bytes]]]:
    if not part.rows:
        return
    progress.start(f"reading part {part.ordinal} again", total=part.rows, unit="points")
    stop = _point_id(part.last_id).successor()
    start = _point_id(part.first_id)
    manifest = snapshot.manifest
    for page in walk_points(
        source,
        start,
        stop,
        limit=page_points,
        expected=part.rows,
        leave_unreadable=manifest.vectors if manifest.unreadable else None,
    ):
        yield page, digest_points(page)
        progress.advance(len(page))


def _point_id(text: str) -> PointId:
    return PointId.from_text(text, "uuid" if "-" in text else "uint64")
