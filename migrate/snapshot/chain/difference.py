"""Read what has changed in a collection since a snapshot, and seal it as a difference.

Every point is read again and compared by digest with the snapshot; only added and changed points
are stored, and the ids of the deleted ones. While others write, that is one reading: each point is
as it was when it was read, and the difference is marked as `moving`. With the writers stopped, a
second reading proves that nothing changed meanwhile; then the difference is a proof for the whole.

With `payload_only`, ids and payloads are read of all points, and vectors only of points that are
new or have another payload (decision 0047). The manifest says so, because a vector that changed
under an unchanged payload is not found.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

from migrate.errors import ForeignStateError, PreconditionError
from migrate.model.canonical import encode_canonical_json
from migrate.model.digest import SetDigest, digest_payloads
from migrate.model.records import Collection, PointId, ShardKey
from migrate.model.stamps import iso_stamp, name_stamp
from migrate.ports import PointSource
from migrate.runtime import Runtime
from migrate.snapshot.agreement import Reading
from migrate.snapshot.begun.part_writing import PartWriting
from migrate.snapshot.begun.state import Range, part_rows
from migrate.snapshot.chain.changes import Change, ChangeKind, write_changes
from migrate.snapshot.chain.range_changes import KnownRows, RangeChanges
from migrate.snapshot.counting import (
    FREEZE,
    check_hidden,
    check_same_keys,
    check_same_sharding,
    disagreement,
    read_again,
    sealed_keys,
)
from migrate.snapshot.folder import Snapshot, newest_stamp
from migrate.snapshot.manifest import SnapshotManifest, encode_manifest
from migrate.snapshot.place import fingerprint, is_place_of, place_of
from migrate.snapshot.ranges import PartReader, RangeReader, Readers, check_unreadable
from migrate.snapshot.take import (
    LISTED_IDS_MAX,
    READINGS_MAX,
    OpenReaders,
    SnapshotOptions,
    if_frozen,
    no_readers,
)
from migrate.storage.folder import WorkFolder
from migrate.storage.layout import CHANGES, DIFFERENCE_BEGUN, MANIFEST, PARTS
from migrate.words import counted

CATCH_UP_FROZEN = "stop the writers (RUNBOOK: freeze), then run `q2v catch-up --frozen` again"


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceReport:
    """What has changed since the parent snapshot."""

    snapshot_id: str  # the parent's when nothing had to be sealed
    path: str
    parent_id: str
    sealed: bool  # False: nothing has changed, and there was nothing to prove
    added: int
    changed: int
    deleted: int
    points: int  # of the whole
    moving: bool
    seconds: float
    payload_only: bool = False  # vectors were read only of new points and of changed payloads
    read_whole: int = 0  # points that were read with their vectors


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of the parent in one range."""

    first: int
    end: int


def take_difference(
    source: PointSource,
    parent: Snapshot,
    options: SnapshotOptions,
    runtime: Runtime,
    *,
    open_readers: OpenReaders = no_readers,
) -> DifferenceReport:
    """Seal what has changed since `parent`, beside it; nothing is sealed when nothing has.

    With `options.moving` the source is read once. Without, it is read twice: the difference proves
    that the whole is what the source held, and is sealed even without a change when the parent
    proves less. With `options.payload_only` vectors are read only of points that are new or have
    another payload; the others are taken to be as in the parent. The caller holds the lock of the
    folder. After a kill the reading begins again. Raises ForeignStateError for another source than
    the parent's, PreconditionError for other vectors and for a source that keeps changing.
    """
    started = runtime.clock.monotonic_s()
    collection = source.read_collection()
    _check_same_source(source, collection, parent)
    folder = _choose_folder(source, collection, parent, runtime)
    reading = _Reading(source, collection, parent, folder, options)
    try:
        with open_readers(folder, collection.vectors, parent.manifest.points) as processes:
            readers = Readers(processes or [reading.reader()] * options.readers)
            found = reading.read(readers, runtime)
        changes = write_changes(folder.file(CHANGES), _all_changes(found))
        is_needed = changes.rows or _proves_more(options, parent)
        manifest = parent.manifest
        if is_needed:
            manifest = replace(reading.manifest(found, runtime), changes=changes)
            folder.file(MANIFEST).create(encode_manifest(manifest, options.seal_key))
            Snapshot(folder, parent.key)  # it is complete, and fits its parent
    finally:
        if not folder.has_file(MANIFEST):
            folder.clear()
    return DifferenceReport(
        snapshot_id=manifest.snapshot_id,
        path=str(folder if is_needed else parent.folder),
        parent_id=parent.manifest.snapshot_id,
        sealed=bool(is_needed),
        added=changes.added,
        changed=changes.changed,
        deleted=changes.deleted,
        points=manifest.points,
        moving=manifest.moving,
        seconds=round(runtime.clock.monotonic_s() - started, 3),
        payload_only=options.payload_only,
        read_whole=sum(one.read_whole for one in found),
    )


def describe_difference(snapshot: Snapshot) -> DifferenceReport:
    """The report of a difference that is sealed already, by its manifest; no vectors were read."""
    manifest = snapshot.manifest
    assert manifest.parent_id is not None, "it is a difference"
    assert manifest.changes is not None, "it is a difference"
    return DifferenceReport(
        snapshot_id=manifest.snapshot_id,
        path=str(snapshot.folder),
        parent_id=manifest.parent_id,
        sealed=True,
        added=manifest.changes.added,
        changed=manifest.changes.changed,
        deleted=manifest.changes.deleted,
        points=manifest.points,
        moving=manifest.moving,
        seconds=0.0,
        payload_only=manifest.payload_only,
    )


def _proves_more(options: SnapshotOptions, parent: Snapshot) -> bool:
    """Whether this reading proves what the parent does not prove."""
    unread = parent.manifest.payload_only and not options.payload_only
    return not options.moving and (parent.manifest.moving or unread)


def _check_same_source(source: PointSource, collection: Collection, parent: Snapshot) -> None:
    sealed = parent.manifest.source
    if not is_place_of(sealed, source) or collection.name != parent.manifest.collection:
        raise ForeignStateError(
            f"snapshot {parent.manifest.snapshot_id} was read from collection "
            f"'{parent.manifest.collection}' of {place_of(sealed)}, the settings name "
            f"'{collection.name}' of {place_of(source.identity())}",
            remedy="configure the source of the snapshot, or name another run",
        )
    if collection.vectors != parent.manifest.vectors:
        raise PreconditionError(
            f"the source has vectors {[asdict(spec) for spec in collection.vectors]}, snapshot "
            f"{parent.manifest.snapshot_id} {[asdict(spec) for spec in parent.manifest.vectors]}",
            remedy="the collection was created again or changed: take a new snapshot with "
            "`q2v snapshot`, and migrate it into a fresh index",
        )
    check_same_sharding(collection, parent.manifest)


def _choose_folder(
    source: PointSource, collection: Collection, parent: Snapshot, runtime: Runtime
) -> WorkFolder:
    """A new folder; what a killed process has left of a difference is removed."""
    directory = parent.folder.parent
    for name in directory.names():
        folder = directory.child(name)
        unfinished = folder.has_file(DIFFERENCE_BEGUN) and not folder.has_file(MANIFEST)
        if unfinished and not directory.is_shared:  # there another machine may work on it
            folder.clear()
    stamp = name_stamp(runtime.clock.wall_s(), after=newest_stamp(directory))
    ordinal = 0
    mark = fingerprint(source, collection)
    while directory.has(name := f"{stamp}-{mark[:6]}-{ordinal:02d}"):
        ordinal += 1
    folder = directory.child(name)
    folder.make()
    begun = {"fingerprint": mark, "parent": parent.manifest.content_root}
    folder.file(DIFFERENCE_BEGUN).create(encode_canonical_json(begun) + b"\n")
    folder.child(PARTS).make()
    return folder


class _Reading:
    """Reads the source beside the parent, range by range."""

    def __init__(
        self,
        source: PointSource,
        collection: Collection,
        parent: Snapshot,
        folder: WorkFolder,
        options: SnapshotOptions,
    ) -> None:
        self._source = source
        self._collection = collection
        self._parent = parent
        self._folder = folder
        self._options = options
        self._started_at = ""
        self._count_start = 0

    def reader(self) -> PartReader:
        """A reader in this process."""
        return PartReader(
            self._source,
            PartWriting(
                self._folder,
                self._collection.vectors,
                recorded=False,
                moving=self._options.moving,
            ),
            page_points=self._options.page_points,
            second_reading="digest",
            leave_unreadable=self._options.leave_unreadable,
        )

    def read(self, readers: Readers, runtime: Runtime) -> list[RangeChanges]:
        """The changes of every range; read twice unless `moving`."""
        self._started_at = iso_stamp(runtime.clock.wall_s())
        self._count_start = self._source.count_points()
        spans = self._spans()
        found = self._differ(readers, spans, runtime)
        if not self._options.moving:
            self._prove(readers, spans, found, runtime)
            if self._collection.shard_keys is not None:  # also when nothing is sealed
                check_same_keys(self._collection, self._source.read_collection(), CATCH_UP_FROZEN)
        check_unreadable(sum(len(one.unreadable) for one in found.values()))
        return list(found.values())

    def _spans(self) -> dict[Range, _Rows]:
        """The ranges of the parent's points, as many points in each as in a part."""
        step = self._options.part_points or part_rows(self._collection.vectors)
        starts: list[PointId] = []
        for rows in self._parent.read(with_vectors=()):
            starts += rows.page.ids[-rows.first_row % step :: step]
        bounds = [None, *starts[1:], None]
        points = self._parent.manifest.points
        return {
            Range(ordinal, start, stop): _Rows(ordinal * step, min((ordinal + 1) * step, points))
            for ordinal, (start, stop) in enumerate(pairwise(bounds))
        }

    def _known(self, rows: _Rows) -> KnownRows:
        ids: list[PointId] = []
        digests: list[bytes] = []
        payloads: list[bytes] | None = [] if self._options.payload_only else None
        for some in self._parent.read(with_vectors=(), first_row=rows.first, end_row=rows.end):
            ids += some.page.ids
            digests += some.digests
            if payloads is not None:
                payloads += digest_payloads(some.page)
        return KnownRows(
            rows.first,
            tuple(ids),
            b"".join(digests),
            None if payloads is None else b"".join(payloads),
        )

    def _differ(
        self, readers: Readers, spans: Mapping[Range, _Rows], runtime: Runtime
    ) -> dict[Range, RangeChanges]:
        points = sum(rows.end - rows.first for rows in spans.values())
        runtime.progress.start("reading what has changed", total=points, unit="points")

        def differ(reader: RangeReader, span: Range) -> RangeChanges:
            return reader.differ(span, self._known(spans[span]))

        found = {}
        with closing(readers.each(differ, spans)) as results:
            for span, changes in results:
                found[span] = changes
                runtime.progress.advance(spans[span].end - spans[span].first)
        return found

    def _prove(
        self,
        readers: Readers,
        spans: Mapping[Range, _Rows],
        found: dict[Range, RangeChanges],
        runtime: Runtime,
    ) -> None:
        """Read everything again until nothing differs; `found` is corrected meanwhile."""
        points = self._parent.manifest.points

        def recheck(reader: RangeReader, span: Range) -> list[str]:
            return reader.recheck(span, whole_of(self._known(spans[span]), found[span]))

        differing: list[str] = []
        for _ in range(READINGS_MAX):
            runtime.progress.start("reading again", total=points, unit="points")
            differing, moved = [], {}
            with closing(readers.each(recheck, spans)) as results:
                for span, ids in results:
                    differing += ids
                    if ids:
                        moved[span] = spans[span]
                    runtime.progress.advance(spans[span].end - spans[span].first)
            if not differing:
                return
            runtime.progress.say(
                f"{counted(len(differing), 'point')} changed while they were read; reading once "
                "more"
            )
            found.update(self._differ(readers, moved, runtime))
        shown = ", ".join(differing[:LISTED_IDS_MAX])
        raise PreconditionError(
            f"the source keeps changing: after {READINGS_MAX} readings still {len(differing)} "
            f"points differ, among them {shown}" + if_frozen(self._collection),
            remedy="stop the writers (RUNBOOK: freeze), then run `q2v catch-up --frozen` again; "
            "while they go on, run `q2v catch-up` without --frozen",
        )

    def manifest(self, found: list[RangeChanges], runtime: Runtime) -> SnapshotManifest:
        """The manifest of the difference, without the record of its changes."""
        set_digest = SetDigest()
        for one in found:
            set_digest.add(one.digests)
        count_end = self._source.count_points()
        now = self._source.read_collection()
        by_key: Counter[ShardKey] = Counter()
        for one in found:
            by_key.update(one.by_key)
        if now.vectors != self._collection.vectors:
            raise PreconditionError(
                "the source has other vectors than when the reading began", remedy=FREEZE
            )
        if not self._options.moving:
            check_same_keys(self._collection, now, CATCH_UP_FROZEN)
        if count_end != set_digest.count and not self._options.moving:
            readings = read_again(self._source, Reading(count_end, set_digest.count), runtime)
            raise disagreement(now, readings)
        shard_keys = sealed_keys(now, by_key, moving=self._options.moving)
        check_hidden(now)
        return SnapshotManifest(
            snapshot_id=self._folder.name,
            tool=self._options.tool,
            source=self._source.identity(),
            collection=self._collection.name,
            server=self._collection.server,
            config=self._collection.config,
            vectors=self._collection.vectors,
            points=set_digest.count,
            parts=tuple(one.part for one in found if one.part is not None),
            set_digest=set_digest.hexdigest(),
            count_start=self._count_start,
            count_end=count_end,
            second_reading=self._second_reading(),
            started_at=self._started_at,
            sealed_at=iso_stamp(runtime.clock.wall_s()),
            shards=now.shards,
            unreadable=tuple(text for one in found for text in one.unreadable),
            parent=self._parent.manifest.content_root,
            parent_id=self._parent.manifest.snapshot_id,
            moving=self._options.moving,
            payload_only=self._options.payload_only,
            shard_keys=shard_keys,
            left_out=self._source.count_left_out(),
        )

    def _second_reading(self) -> str:
        """What the manifest says of the second reading."""
        if self._options.moving:
            return "none"
        return "payload" if self._options.payload_only else "digest"


def _all_changes(found: list[RangeChanges]) -> Iterator[Change]:
    for one in found:
        yield from one.changes


def whole_of(known: KnownRows, found: RangeChanges) -> KnownRows:
    """The ids and digests of a range with its changes applied."""
    changed = {change.parent_row: change for change in found.changes if change.former is not None}
    added = [change for change in found.changes if change.kind is ChangeKind.ADDED]
    kept = [
        point_id
        for row, point_id in enumerate(known.ids, start=known.first_row)
        if row not in changed or changed[row].kind is ChangeKind.CHANGED
    ]
    ids = sorted([*kept, *(change.point_id for change in added)])
    return KnownRows(known.first_row, tuple(ids), found.digests, found.payloads)
