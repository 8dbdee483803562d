"""Copy a collection into sealed Parquet parts, and read it twice before saying so.

First the ids are counted and cut into ranges; then each range is read into its part; then
everything is read again and compared by digest. Only a second reading without a difference seals
the snapshot, so points that were added, changed or deleted meanwhile cannot hide.
"""

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from migrate.adapters.disk import disk
from migrate.adapters.durable import (
    file_sha256,
    folder_names,
    is_file,
    make_folder,
    refuse_links,
    remove_file,
    remove_folder,
    write_durably,
)
from migrate.adapters.in_flight import check_wanted, in_order
from migrate.adapters.journal_file import JournalFile
from migrate.adapters.snapshot_folder import (
    JOURNAL,
    MANIFEST,
    PARTS,
    Snapshot,
    part_path,
    unsealed_folders,
)
from migrate.adapters.snapshot_parquet import read_digests, write_part
from migrate.core.canonical import encode_canonical_json
from migrate.core.digest import SetDigest, digest_points
from migrate.core.journal import JOURNAL_FORMAT
from migrate.core.manifest import PartRecord, SnapshotManifest, damaged, encode_manifest
from migrate.core.model import Collection, Page, PointId, VectorKind, VectorSpec
from migrate.core.seal_key import SealKey
from migrate.core.snapshot_state import (
    OPENED,
    PART_SEALED,
    Range,
    SnapshotState,
    fold_snapshot,
    part_rows,
)
from migrate.errors import PreconditionError
from migrate.ports import Clock, PointSource, Progress
from migrate.stages.walk import walk_ids, walk_points

ID_PAGE_POINTS = 10_000  # ids alone are cheap: 20,000 took 0.1 s (contract/qdrant 3.2)
READINGS_MAX = 4  # second readings before a moving source is given up
LISTED_IDS_MAX = 20

Result = TypeVar("Result")
SecondReading = Literal["digest", "ids"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOptions:
    """What the operator may choose about a snapshot."""

    page_points: int = 1000  # points asked for per page; the source may give fewer
    second_reading: SecondReading = "digest"
    allow_empty: bool = False
    part_points: int | None = None  # per part; None: by the size of a point
    readers: int = 1  # ranges that are read at once
    tool: str = "q2v"
    seal_key: SealKey | None = None  # the manifest carries an HMAC of it


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotReport:
    """The result of `q2v snapshot`."""

    snapshot_id: str
    path: str
    points: int
    parts: int
    bytes: int  # of all parts
    dimensions: int | dict[str, int]  # one dense vector: its length; several: by name
    set_digest: str
    content_root: str  # for the change ticket: covers every part
    seconds: float
    resumed: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copy:
    """One snapshot being taken: from where, to where, how."""

    source: PointSource
    collection: Collection
    folder: Path
    journal: JournalFile
    options: SnapshotOptions


def run(
    source: PointSource,
    directory: Path,
    options: SnapshotOptions,
    *,
    clock: Clock,
    progress: Progress,
) -> SnapshotReport:
    """Take, or go on taking, a snapshot of the source under `directory`.

    The caller holds the lock of `directory`. Raises PreconditionError for an empty collection
    (unless allowed) and for a source that keeps changing; whatever is raised, running again goes
    on where this one ended.
    """
    started = clock.monotonic_s()
    collection = source.read_collection()
    for warning in collection.warnings:
        progress.say(f"source: {warning}")
    folder, resumed = _choose_folder(source, collection, directory, clock)
    refuse_links(folder, folder / PARTS)  # the parts are cleared of what we do not know
    journal = JournalFile(folder / JOURNAL)
    copy = _Copy(
        source=source, collection=collection, folder=folder, journal=journal, options=options
    )
    try:
        if not journal.entries:
            _open(copy, clock, progress)
        _drop_unsealed_parts(folder, fold_snapshot(journal.entries))
        _write_missing_parts(copy, progress)
        _read_again(copy, progress)
        manifest = _seal(copy, clock)
    finally:
        journal.close()
        if not journal.entries:  # nothing was begun: leave nothing behind
            remove_folder(folder)
    return SnapshotReport(
        snapshot_id=manifest.snapshot_id,
        path=str(folder),
        points=manifest.points,
        parts=len(manifest.parts),
        bytes=sum(part.bytes for part in manifest.parts),
        dimensions=dense_dimensions(manifest.vectors),
        set_digest=manifest.set_digest,
        content_root=manifest.content_root,
        seconds=round(clock.monotonic_s() - started, 3),
        resumed=resumed,
        warnings=collection.warnings,
    )


def dense_dimensions(vectors: tuple[VectorSpec, ...]) -> int | dict[str, int]:
    """The length of the one dense vector, or of each by name."""
    dense = {spec.name: spec.dimensions or 0 for spec in vectors if spec.kind is VectorKind.DENSE}
    return next(iter(dense.values())) if len(dense) == 1 else dense


def _fingerprint(source: PointSource, collection: Collection) -> str:
    # The protocol may differ between two calls (`auto`); the points are the same.
    place = {key: value for key, value in source.identity().items() if key != "transport"}
    content = {
        "source": place,
        "collection": collection.name,
        "vectors": [asdict(spec) for spec in collection.vectors],
    }
    return hashlib.sha256(encode_canonical_json(content)).hexdigest()


def _choose_folder(
    source: PointSource, collection: Collection, directory: Path, clock: Clock
) -> tuple[Path, bool]:
    """The newest unsealed snapshot of the same source, or a new folder."""
    fingerprint = _fingerprint(source, collection)
    for folder in reversed(unsealed_folders(directory)):
        opened = fold_snapshot(JournalFile(folder / JOURNAL).entries).opened
        if opened is not None and opened["fingerprint"] == fingerprint:
            return folder, True
    stamp = datetime.fromtimestamp(clock.wall_s(), UTC).strftime("%Y%m%dT%H%M%SZ")
    ordinal = 0
    while disk().exists(folder := directory / f"{stamp}-{fingerprint[:6]}-{ordinal:02d}"):
        ordinal += 1
    make_folder(folder / PARTS)
    return folder, False


def _open(copy: _Copy, clock: Clock, progress: Progress) -> None:
    """Count the ids, cut them into ranges, and write both down before the first part."""
    count = copy.source.count_points()
    if count == 0 and not copy.options.allow_empty:
        raise PreconditionError(
            f"collection '{copy.collection.name}' holds no points",
            remedy="check the collection's name, or pass --allow-empty",
        )
    rows = copy.options.part_points or part_rows(copy.collection.vectors)
    starts, points = _cut_ranges(copy.source, count, rows, progress)
    copy.journal.append(
        {
            "type": OPENED,
            "format": JOURNAL_FORMAT,
            "fingerprint": _fingerprint(copy.source, copy.collection),
            "collection": copy.collection.name,
            "starts": [[start.text, start.id_type.value] for start in starts],
            "points": points,
            "count_start": count,
            "started_at": _stamp(clock),
        }
    )


def _cut_ranges(
    source: PointSource, count: int, rows: int, progress: Progress
) -> tuple[list[PointId], int]:
    """The first id of every range of `rows` points, and the number of ids."""
    progress.start("counting ids", total=count, unit="points")
    starts: list[PointId] = []
    points = 0
    for ids in walk_ids(source, limit=ID_PAGE_POINTS):
        first = -points % rows
        starts.extend(ids[first::rows])
        points += len(ids)
        progress.advance(len(ids))
    return starts, points


def _drop_unsealed_parts(folder: Path, state: SnapshotState) -> None:
    """Remove what a kill left behind: files that no journal entry vouches for."""
    known = {part_path(folder, ordinal).name for ordinal in state.parts}
    for name in folder_names(folder / PARTS):
        if name not in known:
            remove_file(folder / PARTS / name)


def _write_missing_parts(copy: _Copy, progress: Progress) -> None:
    state = fold_snapshot(copy.journal.entries)
    assert state.opened is not None
    progress.start("reading points", total=int(str(state.opened["points"])), unit="points")
    missing = []
    for span in state.ranges():
        part = state.parts.get(span.ordinal)
        if part is None or not _is_there(copy.folder, part):
            missing.append(span)
        else:
            progress.advance(part.rows, bytes_=part.bytes, earlier=True)
    _write_ranges(copy, missing, progress)


def _is_there(folder: Path, part: PartRecord) -> bool:
    """Whether the file is the one the journal means; a kill may have come between the two."""
    path = part_path(folder, part.ordinal)
    return is_file(path) and file_sha256(path) == (part.bytes, part.sha256)


def _write_ranges(copy: _Copy, spans: Iterable[Range], progress: Progress) -> None:
    """Read ranges into their parts; the journal entry makes each count.

    While one reader waits for an answer or decodes it, another writes: the Parquet writer and
    the hashes run outside of Python's lock.
    """
    work = partial(_write_range, copy)
    with closing(_in_order(work, spans, copy.options.readers)) as parts:
        for _, part in parts:
            copy.journal.append({"type": PART_SEALED, **asdict(part)})
            progress.advance(part.rows, bytes_=part.bytes)


def _in_order(
    work: Callable[[Range], Result], spans: Iterable[Range], readers: int
) -> Generator[tuple[Range, Result], None, None]:
    """One range for each reader, and one more for who is done before the one whose turn it is."""
    return in_order(work, spans, width=2 * readers - 1, threads=readers)


def _write_range(copy: _Copy, span: Range) -> PartRecord:
    ends: list[str] = []

    def pages() -> Iterator[tuple[Page, list[bytes]]]:
        for page in walk_points(copy.source, span.start, span.stop, limit=copy.options.page_points):
            check_wanted()
            if not ends:
                ends.append(page.ids[0].text)
            ends[1:] = [page.ids[-1].text]
            yield page, digest_points(page)

    path = part_path(copy.folder, span.ordinal)
    rows, size, sha256 = write_part(path, pages(), copy.collection.vectors)
    return PartRecord(
        ordinal=span.ordinal,
        rows=rows,
        bytes=size,
        sha256=sha256,
        first_id=ends[0] if ends else "",
        last_id=ends[-1] if ends else "",
    )


def _read_again(copy: _Copy, progress: Progress) -> None:
    """Read everything again until a whole reading finds nothing changed."""
    changed: list[str] = []
    for _ in range(READINGS_MAX):
        state = fold_snapshot(copy.journal.entries)
        total = sum(part.rows for part in state.parts.values())
        progress.start("reading again", total=total, unit="points")
        changed = []
        moved: list[Range] = []
        work = partial(_changed_ids, copy, state.parts)
        with closing(_in_order(work, state.ranges(), copy.options.readers)) as differing:
            for span, ids in differing:
                if ids:
                    changed += ids
                    moved.append(span)
                else:
                    progress.advance(state.parts[span.ordinal].rows)
        _write_ranges(copy, moved, progress)
        if not changed:
            return
        progress.say(f"{len(changed)} points changed while they were read; reading once more")
    shown = ", ".join(changed[:LISTED_IDS_MAX])
    raise PreconditionError(
        f"the source keeps changing: after {READINGS_MAX} readings still {len(changed)} points "
        f"differ, among them {shown}",
        remedy="stop the writers (RUNBOOK: freeze), then run `q2v snapshot` again: it goes on here",
    )


def _changed_ids(copy: _Copy, parts: Mapping[int, PartRecord], span: Range) -> list[str]:
    """The ids of a range that were added, changed or deleted since its part was written."""
    written = _written_digests(copy, parts[span.ordinal])
    differing: list[str] = []
    if copy.options.second_reading == "digest":
        for page in walk_points(copy.source, span.start, span.stop, limit=copy.options.page_points):
            check_wanted()
            for point_id, digest in zip(page.ids, digest_points(page), strict=True):
                if written.pop(point_id, None) != digest:
                    differing.append(point_id.text)
    else:
        for point_id in _ids_between(copy.source, span):
            if written.pop(point_id, None) is None:
                differing.append(point_id.text)
    return differing + [point_id.text for point_id in written]


def _ids_between(source: PointSource, span: Range) -> Iterator[PointId]:
    start = span.start
    while ids := source.read_ids(start, limit=ID_PAGE_POINTS):
        for point_id in ids:
            if span.stop is not None and point_id >= span.stop:
                return
            yield point_id
        start = ids[-1].successor()
        if start is None:
            return


def _written_digests(copy: _Copy, part: PartRecord) -> dict[PointId, bytes]:
    """Id and digest of every row of a part; a few thousand, so a dict is fine.

    The part's own bytes are checked when it is sealed: here it is compared with the source.
    """
    written: dict[PointId, bytes] = {}
    path = part_path(copy.folder, part.ordinal)
    for ids, digests in read_digests(path, part, copy.collection.vectors, check_bytes=False):
        written.update(zip(ids, digests, strict=True))
    return written


def _seal(copy: _Copy, clock: Clock) -> SnapshotManifest:
    """Last checks against the source, then the manifest: from here on the snapshot exists."""
    state = fold_snapshot(copy.journal.entries)
    assert state.opened is not None
    parts = tuple(state.parts[ordinal] for ordinal in sorted(state.parts))
    points = sum(part.rows for part in parts)
    count_end = copy.source.count_points()
    now = copy.source.read_collection()
    if count_end != points or now.vectors != copy.collection.vectors:
        raise PreconditionError(
            f"the source moved: {points} points were read twice, it now counts {count_end}"
            + ("" if now.vectors == copy.collection.vectors else " and has other vectors"),
            remedy="stop the writers (RUNBOOK: freeze), then run `q2v snapshot` again",
        )
    set_digest = SetDigest()
    for part in parts:
        path = part_path(copy.folder, part.ordinal)
        for _, digests in read_digests(path, part, copy.collection.vectors, check_bytes=True):
            set_digest.add(digests)
    if set_digest.count != points:
        raise damaged(str(copy.folder), f"{set_digest.count} digests in {points} rows")
    manifest = SnapshotManifest(
        snapshot_id=copy.folder.name,
        tool=copy.options.tool,
        source=copy.source.identity(),
        collection=copy.collection.name,
        server=copy.collection.server,
        config=copy.collection.config,
        vectors=copy.collection.vectors,
        points=points,
        parts=parts,
        set_digest=set_digest.hexdigest(),
        count_start=int(str(state.opened["count_start"])),
        count_end=count_end,
        second_reading=copy.options.second_reading,
        started_at=str(state.opened["started_at"]),
        sealed_at=_stamp(clock),
    )
    key = copy.options.seal_key
    write_durably(copy.folder / MANIFEST, encode_manifest(manifest, key))
    return Snapshot(copy.folder, key).manifest


def _stamp(clock: Clock) -> str:
    return datetime.fromtimestamp(clock.wall_s(), UTC).isoformat(timespec="seconds")
