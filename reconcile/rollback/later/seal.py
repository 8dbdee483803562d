"""Seal what an export has read: parts, the index of its vectors, KV entries, the manifest last."""

import heapq
import itertools
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from migrate.model.digest import SetDigest, digest_points
from migrate.model.records import Page, Vector, VectorId, VectorSpec
from migrate.run.folder import RunFolder
from migrate.run.pre_image_files import write_kv_pre_images
from migrate.snapshot.begun.state import part_rows
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.manifest import (
    FileRecord,
    LaterRecord,
    PartRecord,
    SnapshotManifest,
    encode_manifest,
)
from migrate.snapshot.parts import write_part
from migrate.storage.folder import WorkFolder
from migrate.storage.layout import KV_PRE_IMAGES, LATER_INDEX, MANIFEST, PARTS, part_name
from reconcile.rollback.later.entries import LaterEntry
from reconcile.rollback.later.index_file import LaterVector, write_index
from reconcile.rollback.later.points import (
    ADDED,
    CHANGED,
    DELETED,
    LaterPoint,
    PointMaker,
    chosen_spec,
    later_specs,
    page_of,
    read_former,
    why_no_return,
)
from reconcile.rollback.later.reading import LaterReading

PAGE_POINTS = 500  # a row group
SERVER = "Cloudflare Vectorize"


@dataclass(slots=True)
class WrittenPoints:
    """The parts of an export, and what each point was."""

    parts: list[PartRecord] = field(default_factory=list)
    digest: SetDigest = field(default_factory=SetDigest)
    vectors: list[LaterVector] = field(default_factory=list)  # in the order of the points
    elsewhere: int = 0  # of them in a namespace that the payload does not name


@dataclass(frozen=True, slots=True, kw_only=True)
class LaterFound:
    """The later writes of a run; those that are points are in parts."""

    written: WrittenPoints
    deleted: list[LaterVector] | None  # None: not known
    entries: tuple[LaterEntry, ...]

    @property
    def vectors(self) -> list[LaterVector]:
        """Added and changed ones, then those that are gone."""
        return [*self.written.vectors, *(self.deleted or ())]

    @property
    def is_there(self) -> bool:
        """Whether there is any."""
        return bool(self.vectors or self.entries)


def later_points(
    run: RunFolder,
    reading: LaterReading,
    maker: PointMaker,
    wanted: AbstractSet[VectorId],
) -> Iterator[LaterPoint]:
    """Every changed vector, and the `wanted` ones of those added, as points in id order."""
    rows = [row for row, _ in reading.changed()]
    changed = (
        maker.changed(vector, former)
        for (_, vector), former in zip(
            reading.changed(), read_former(run.snapshot, run.plan.mapping, rows), strict=True
        )
    )
    added = (_added(vectors, maker, wanted) for vectors in reading.added())
    return heapq.merge(changed, *added, key=lambda point: point.point_id)


def _added(
    vectors: Iterator[Vector], maker: PointMaker, wanted: AbstractSet[VectorId]
) -> Iterator[LaterPoint]:
    return (maker.added(vector) for vector in vectors if vector.id in wanted)


def write_points(
    folder: WorkFolder, points: Iterator[LaterPoint], specs: tuple[VectorSpec, ...], chosen: str
) -> WrittenPoints:
    """Write the points, which are in id order, into parts, durably."""
    written = WrittenPoints()
    for name in folder.child(PARTS).names():  # of a killed process
        folder.child(PARTS).remove(name)
    for first in points:
        some = itertools.chain([first], itertools.islice(points, part_rows(specs) - 1))
        ordinal, count = len(written.parts), len(written.vectors)
        with folder.child(PARTS).open_to_write(part_name(ordinal)) as file:
            rows, size, sha256 = write_part(file, _pages(some, specs, chosen, written), specs)
        part = PartRecord(
            ordinal=ordinal,
            rows=rows,
            bytes=size,
            sha256=sha256,
            first_id=written.vectors[count].point_id.text,
            last_id=written.vectors[-1].point_id.text,
        )
        written.parts.append(part)
    return written


def _pages(
    points: Iterator[LaterPoint],
    specs: tuple[VectorSpec, ...],
    chosen: str,
    written: WrittenPoints,
) -> Iterator[tuple[Page, list[bytes]]]:
    while some := list(itertools.islice(points, PAGE_POINTS)):
        page = page_of(some, specs, chosen)
        digests = digest_points(page)
        written.digest.add(b"".join(digests))
        written.elsewhere += sum(point.is_elsewhere for point in some)
        written.vectors += [
            LaterVector(
                point_id=point.point_id,
                vector_id=point.vector_id,
                change=point.change,
                file=point.file,
                last_modified=point.last_modified,
                namespace=point.namespace,
                length=point.length,
                digest=point.digest,
            )
            for point in some
        ]
        yield page, digests


def deleted_vectors(run: RunFolder, rows: Sequence[int]) -> Iterator[LaterVector]:
    """The vectors of the run at these rows, which are ascending, as deleted ones."""
    if not rows:
        return
    columns = ["vector_id", "file"]
    batches = run.targets(columns, only=frozenset(rows))
    named = (
        pair
        for batch in batches
        for pair in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    )
    former = read_former(run.snapshot, run.plan.mapping, rows)
    for (vector_id, file), point in zip(named, former, strict=True):
        yield LaterVector(
            point_id=point.point_id, vector_id=VectorId(vector_id), change=DELETED, file=file
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedTimes:
    """When an export was begun and sealed, RFC 3339, and by what."""

    started_at: str
    sealed_at: str
    tool: str


def seal_export(
    run: RunFolder, folder: WorkFolder, found: LaterFound, times: SealedTimes
) -> SnapshotManifest:
    """Write the files beside the parts, then the manifest. Returns it, as it is read back."""
    written, deleted, entries = found.written, found.deleted, found.entries
    index = write_index(folder.file(LATER_INDEX), [*written.vectors, *(deleted or ())])
    kv = folder.file(KV_PRE_IMAGES)
    write_kv_pre_images(kv, entries)
    size, sha256 = kv.hash()
    files = (index, FileRecord(name=kv.name, rows=len(entries), bytes=size, sha256=sha256))
    source, plan = run.snapshot.manifest, run.plan
    changes = [vector.change for vector in written.vectors]
    later = LaterRecord(
        snapshot_id=plan.snapshot_id,
        run_id=plan.run_id,
        plan_fingerprint=plan.fingerprint,
        vector_target=plan.vector_target,
        kv_target=plan.kv_target,
        index_created_on=plan.index.created_on,
        source_dimensions=chosen_spec(run).dimensions or 0,
        dimensions=plan.values.dimensions,
        added=changes.count(ADDED),
        changed=changes.count(CHANGED),
        deleted=None if deleted is None else len(deleted),
        kv_entries=len(entries),
        why_not=why_no_return(run),
        files=files,
    )
    points = len(written.vectors)
    manifest = SnapshotManifest(
        snapshot_id=folder.name,
        tool=times.tool,
        source=plan.vector_target,
        collection=source.collection,
        server=SERVER,
        config=source.config,
        vectors=later_specs(run),
        points=points,
        parts=tuple(written.parts),
        set_digest=written.digest.hexdigest(),
        count_start=points,
        count_end=points,
        second_reading="none",
        moving=True,
        started_at=times.started_at,
        sealed_at=times.sealed_at,
        later=later,
    )
    key = run.snapshot.key
    folder.file(MANIFEST).create(encode_manifest(manifest, key))
    return Snapshot(folder, key).manifest
