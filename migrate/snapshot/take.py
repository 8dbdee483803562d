"""Copy a collection into Parquet parts, read it a second time, then seal the snapshot.

First the ids are counted and cut into ranges. Then each range is read into its part. Then
everything is read again and compared by digest. Only a second reading without a difference seals
the snapshot, so points that were added, changed or deleted meanwhile are found.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial

from migrate.errors import ExitCode, PreconditionError
from migrate.model.digest import SetDigest
from migrate.model.hmac_key import SealKey
from migrate.model.records import Collection, PointId, ShardKey, VectorKind, VectorSpec
from migrate.model.sealed_json import damaged
from migrate.model.stamps import iso_stamp, name_stamp
from migrate.ports import Clock, PointSource, Progress
from migrate.qdrant.sharding.keys import name_keys
from migrate.runtime import Runtime
from migrate.snapshot.agreement import Reading
from migrate.snapshot.begun.journal import SnapshotJournal, open_snapshot_journal
from migrate.snapshot.begun.part_writing import PartWriting
from migrate.snapshot.begun.state import (
    OPENED,
    PART_SEALED,
    Range,
    SnapshotState,
    fold_snapshot,
    part_rows,
)
from migrate.snapshot.counting import (
    FREEZE,
    ID_PAGE_POINTS,
    check_counted,
    check_hidden,
    check_same_keys,
    disagreement,
    no_points,
    read_again,
    sealed_keys,
)
from migrate.snapshot.folder import Snapshot, newest_stamp, part_file, unsealed_folders
from migrate.snapshot.manifest import PartRecord, SnapshotManifest, encode_manifest
from migrate.snapshot.parts import read_digests
from migrate.snapshot.place import fingerprint, fingerprints
from migrate.snapshot.ranges import (
    Comparison,
    PartReader,
    RangeReader,
    Readers,
    SecondReading,
    check_unreadable,
)
from migrate.snapshot.walk import walk_ids
from migrate.storage.folder import Folder, WorkFolder
from migrate.storage.journal_lines import JOURNAL_FORMAT
from migrate.storage.layout import MANIFEST, PARTS, part_name
from migrate.words import counted, subject

READINGS_MAX = 4  # second readings of a changing source before the error
LISTED_IDS_MAX = 20

OpenReaders = Callable[
    [Folder, tuple[VectorSpec, ...], int], AbstractContextManager[Sequence[RangeReader]]
]


def no_readers(
    _folder: Folder, _vectors: tuple[VectorSpec, ...], _points: int
) -> AbstractContextManager[Sequence[RangeReader]]:
    """Use no other processes: `take_snapshot` reads with threads of its own."""
    return nullcontext(())


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOptions:
    """The options of a snapshot."""

    page_points: int = 1000  # points requested per page; the source may return fewer
    second_reading: SecondReading = "digest"
    allow_empty: bool = False
    leave_unreadable: bool = False  # store only the id of a point that cannot be read
    moving: bool = False  # read once, while others write; the snapshot then proves nothing
    payload_only: bool = False  # of a difference: see `take_difference`
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
    unreadable: tuple[str, ...]  # ids of the points that are left out

    @property
    def exit_code(self) -> ExitCode:
        """QUARANTINED when points were left out, as by every plan of this snapshot."""
        return ExitCode.QUARANTINED if self.unreadable else ExitCode.DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copy:
    """A snapshot in progress: source, folder, journal and options."""

    source: PointSource
    collection: Collection
    folder: WorkFolder
    journal: SnapshotJournal
    options: SnapshotOptions


@dataclass(slots=True)
class _Found:
    """What the parts of a snapshot hold."""

    set_digest: SetDigest = field(default_factory=SetDigest)
    unreadable: list[str] = field(default_factory=list)  # ids of the points that are left out
    by_key: Counter[ShardKey] = field(default_factory=Counter)  # points by shard key

    def add(self, digests: bytes, unreadable: Iterable[str], by_key: Iterable[ShardKey]) -> None:
        """Add the next points, in id order."""
        self.set_digest.add(digests)
        self.unreadable += unreadable
        self.by_key.update(by_key)
        check_unreadable(len(self.unreadable))


def take_snapshot(
    source: PointSource,
    directory: WorkFolder,
    options: SnapshotOptions,
    runtime: Runtime,
    *,
    open_readers: OpenReaders = no_readers,
) -> SnapshotReport:
    """Take, or continue to take, a snapshot of the source under `directory`.

    `open_readers` returns the readers for a snapshot's folder, its vectors and number of points;
    when it returns none, `options.readers` threads of this process read.

    The caller holds the lock of `directory`. Raises PreconditionError for an empty collection
    (unless allowed) and for a source that keeps changing. After any error, calling it again
    continues where this call ended.
    """
    started = runtime.clock.monotonic_s()
    collection = source.read_collection()
    for warning in collection.warnings:
        runtime.progress.say(f"source: {warning}")
    if collection.shard_keys is not None:
        keys = [one.key for one in collection.shard_keys]
        runtime.progress.say(f"source: {len(keys)} shard keys: {name_keys(keys) or 'none'}")
    folder, resumed = _choose_folder(source, collection, directory, runtime.clock)
    folder.refuse_links(PARTS)  # parts that the journal does not name are removed
    journal = open_snapshot_journal(folder)
    copy = _Copy(
        source=source, collection=collection, folder=folder, journal=journal, options=options
    )
    try:
        points = _points(journal) if journal.entries else _count(copy)
        # Opened early: the readers load their libraries while the ids are counted.
        with open_readers(folder, collection.vectors, points) as processes:
            if not journal.entries:
                _open(copy, points, runtime)
            _drop_unsealed_parts(folder, fold_snapshot(journal.entries))
            readers = Readers(processes or [_reader(copy)] * options.readers)
            _write_missing_parts(copy, readers, runtime.progress)
            read = _read_once if options.moving else _read_again
            found = read(copy, readers, runtime.progress)
        manifest = _seal(copy, found, runtime)
    finally:
        journal.close()
        if not journal.entries and not folder.is_shared:  # nothing was begun: remove the folder
            folder.clear()
    return SnapshotReport(
        snapshot_id=manifest.snapshot_id,
        path=str(folder),
        points=manifest.points,
        parts=len(manifest.parts),
        bytes=sum(part.bytes for part in manifest.parts),
        dimensions=dense_dimensions(manifest.vectors),
        set_digest=manifest.set_digest,
        content_root=manifest.content_root,
        seconds=round(runtime.clock.monotonic_s() - started, 3),
        resumed=resumed,
        warnings=collection.warnings,
        unreadable=manifest.unreadable,
    )


def dense_dimensions(vectors: tuple[VectorSpec, ...]) -> int | dict[str, int]:
    """The dimensions of the only dense vector, or of each dense vector by name."""
    dense = {spec.name: spec.dimensions or 0 for spec in vectors if spec.kind is VectorKind.DENSE}
    return next(iter(dense.values())) if len(dense) == 1 else dense


def _choose_folder(
    source: PointSource, collection: Collection, directory: WorkFolder, clock: Clock
) -> tuple[WorkFolder, bool]:
    """The newest unsealed snapshot of the same source, or a new folder."""
    marks = fingerprints(source, collection)
    for folder in reversed(unsealed_folders(directory)):
        opened = fold_snapshot(open_snapshot_journal(folder).entries).opened
        if opened is not None and opened["fingerprint"] in marks:
            return folder, True
    stamp = name_stamp(clock.wall_s(), after=newest_stamp(directory))
    mark, ordinal = fingerprint(source, collection), 0
    while directory.has(name := f"{stamp}-{mark[:6]}-{ordinal:02d}"):
        ordinal += 1
    folder = directory.child(name)
    folder.child(PARTS).make()
    return folder, False


def _count(copy: _Copy) -> int:
    """The source's count of its points, before anything is read."""
    count = copy.source.count_points()
    if count == 0 and not copy.options.allow_empty:
        raise no_points(copy.source, copy.collection)
    return count


def _open(copy: _Copy, count: int, runtime: Runtime) -> None:
    """Count the ids, cut them into ranges, and journal both before the first part."""
    wanted = copy.source.identity().get("filter")
    rows = copy.options.part_points or part_rows(copy.collection.vectors)
    starts, points = _cut_ranges(copy.source, count, rows, runtime.progress)
    check_counted(copy.source, copy.collection, Reading(count, points), runtime)
    copy.journal.append(
        {
            "type": OPENED,
            "format": JOURNAL_FORMAT,
            "fingerprint": fingerprint(copy.source, copy.collection),
            "collection": copy.collection.name,
            **({} if wanted is None else {"filter": wanted}),
            "starts": [[start.text, start.id_type.value] for start in starts],
            "points": points,
            "count_start": count,
            "started_at": _stamp(runtime.clock),
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


def _drop_unsealed_parts(folder: Folder, state: SnapshotState) -> None:
    """Remove part files of a killed process that have no journal entry.

    Where others may write too, such a part may be about to get its record: it stays.
    """
    if folder.is_shared:
        return
    known = {part_name(ordinal) for ordinal in state.parts}
    parts = folder.child(PARTS)
    for name in parts.names():
        if name not in known:
            parts.remove(name)


def _points(journal: SnapshotJournal) -> int:
    """The number of points, as counted when the snapshot was begun."""
    opened = fold_snapshot(journal.entries).opened
    assert opened is not None
    return int(str(opened["points"]))


def _reader(copy: _Copy) -> PartReader:
    return PartReader(
        copy.source,
        PartWriting(
            copy.folder,
            copy.collection.vectors,
            recorded=True,
            moving=copy.options.moving,
        ),
        page_points=copy.options.page_points,
        second_reading=copy.options.second_reading,
        leave_unreadable=copy.options.leave_unreadable,
    )


def _write_missing_parts(copy: _Copy, readers: Readers, progress: Progress) -> None:
    state = fold_snapshot(copy.journal.entries)
    progress.start("reading points", total=_points(copy.journal), unit="points")
    missing = []
    names = set(copy.folder.child(PARTS).names())
    for span in state.ranges():
        part = state.parts.get(span.ordinal)
        if part is None:
            missing.append(span)
        elif not _is_there(copy.folder, part, names):
            missing.append(_anew(span, part))
        else:
            progress.advance(part.rows, bytes_=part.bytes, earlier=True)
    _write_ranges(copy, readers, missing, progress)


def _anew(span: Range, part: PartRecord) -> Range:
    """The range, to be written again; where no file is replaced it gets another name."""
    return replace(span, revision=part.revision + 1)


def _is_there(folder: Folder, part: PartRecord, names: Set[str]) -> bool:
    """Whether the file is the one of its entry; in a local folder a kill may separate the two.

    `names` are those of the folder of the parts.
    """
    if part_name(part.ordinal, part.revision) not in names:
        return False
    return folder.is_shared or part_file(folder, part).hash() == (part.bytes, part.sha256)


def _write_ranges(
    copy: _Copy, readers: Readers, spans: Iterable[Range], progress: Progress
) -> None:
    """Read ranges into their parts, and journal each part when it is durable."""
    with closing(readers.each(lambda reader, span: reader.write(span), spans)) as parts:
        for _, part in parts:
            copy.journal.append({"type": PART_SEALED, **part.as_json()})
            progress.advance(part.rows, bytes_=part.bytes)


def _read_again(copy: _Copy, readers: Readers, progress: Progress) -> _Found:
    """Read everything again until a whole reading finds no difference."""
    differing: list[str] = []
    for _ in range(READINGS_MAX):
        state = fold_snapshot(copy.journal.entries)
        total = sum(part.rows for part in state.parts.values())
        progress.start("reading again", total=total, unit="points")
        found = _Found()
        differing = []
        moved: list[Range] = []
        work = partial(_compare, state.parts)
        with closing(readers.each(work, state.ranges())) as comparisons:
            for span, comparison in comparisons:
                found.add(comparison.digests, comparison.unreadable, comparison.by_key.elements())
                if comparison.differing:
                    differing += comparison.differing
                    moved.append(_anew(span, state.parts[span.ordinal]))
                else:
                    progress.advance(state.parts[span.ordinal].rows)
        _write_ranges(copy, readers, moved, progress)
        if not differing:
            return found
        progress.say(
            f"{counted(len(differing), 'point')} changed while they were read; reading once more"
        )
    shown = ", ".join(differing[:LISTED_IDS_MAX])
    raise PreconditionError(
        f"the source keeps changing: after {READINGS_MAX} readings still "
        f"{counted(len(differing), 'point')} "
        f"differ, among them {shown}" + if_frozen(copy.collection),
        remedy="stop the writers (RUNBOOK: freeze), then run `q2v snapshot` again: it "
        "continues from here; or, while they go on, take a first snapshot with --moving and "
        "`q2v catch-up` after it",
    )


def _read_once(copy: _Copy, _readers: Readers, _progress: Progress) -> _Found:
    """The same from the parts alone: each point as it was when it was read."""
    found = _Found()
    state = fold_snapshot(copy.journal.entries)
    for span in state.ranges():
        part = state.parts[span.ordinal]
        file = part_file(copy.folder, part)
        for rows in read_digests(file, part, copy.collection.vectors):
            found.add(b"".join(rows.digests), rows.unreadable, rows.shard_keys)
    return found


def if_frozen(collection: Collection) -> str:
    """Likely causes of differing readings other than writers; "" when none is known."""
    if not collection.suspects:
        return ""
    return f"; if nothing writes, the likely cause is {' or '.join(collection.suspects)}"


def _compare(parts: Mapping[int, PartRecord], reader: RangeReader, span: Range) -> Comparison:
    return reader.compare(span, parts[span.ordinal])


def _seal(copy: _Copy, found: _Found, runtime: Runtime) -> SnapshotManifest:
    """Check the source a last time, then write the manifest, which completes the snapshot."""
    state = fold_snapshot(copy.journal.entries)
    assert state.opened is not None
    parts = tuple(state.parts[ordinal] for ordinal in sorted(state.parts))
    points = sum(part.rows for part in parts)
    count_end = copy.source.count_points()
    now = copy.source.read_collection()
    if now.vectors != copy.collection.vectors:
        raise PreconditionError(
            f"the source changed: {subject(points, 'point', 'was')} read twice, it now counts "
            f"{count_end} and "
            "has other vectors",
            remedy=FREEZE,
        )
    if not copy.options.moving:
        check_same_keys(copy.collection, now)
    if count_end != points and not copy.options.moving:
        readings = read_again(copy.source, Reading(count_end, points), runtime)
        raise disagreement(now, readings)
    shard_keys = sealed_keys(now, found.by_key, moving=copy.options.moving)
    check_hidden(now)
    if found.set_digest.count != points:
        raise damaged(
            str(copy.folder),
            f"{counted(found.set_digest.count, 'digest')} in {counted(points, 'row')}",
        )
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
        set_digest=found.set_digest.hexdigest(),
        count_start=int(str(state.opened["count_start"])),
        count_end=count_end,
        second_reading="none" if copy.options.moving else copy.options.second_reading,
        moving=copy.options.moving,
        started_at=str(state.opened["started_at"]),
        sealed_at=_stamp(runtime.clock),
        shards=now.shards,
        unreadable=tuple(found.unreadable),
        shard_keys=shard_keys,
        left_out=copy.source.count_left_out(),
    )
    key = copy.options.seal_key
    try:
        copy.folder.file(MANIFEST).create(encode_manifest(manifest, key))
    except PreconditionError:
        if not copy.folder.is_shared:
            raise
        return _sealed_by_another(copy.folder, manifest, key)
    return Snapshot(copy.folder, key).manifest


def _sealed_by_another(
    folder: WorkFolder, manifest: SnapshotManifest, key: SealKey | None
) -> SnapshotManifest:
    """The manifest of another q2v that was first, and read the same points or moving ones."""
    sealed = Snapshot(folder, key).manifest
    if sealed.content_root != manifest.content_root and not (sealed.moving and manifest.moving):
        raise PreconditionError(
            f"{folder}: another q2v has sealed this snapshot with content root "
            f"{sealed.content_root}, this one read points with {manifest.content_root}",
            remedy="points changed in between: stop the writers (RUNBOOK: freeze), and take a new "
            "snapshot with `q2v snapshot`",
        )
    return sealed


def _stamp(clock: Clock) -> str:
    return iso_stamp(clock.wall_s())
