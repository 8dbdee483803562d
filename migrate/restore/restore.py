"""Write a snapshot back into a Qdrant collection, and compare the two.

No journal is kept. What the collection holds is read and compared by digest, and only points that
are missing or differ are sent. So an interrupted restore continues when it is called again, and a
finished one sends nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from migrate.errors import ExitCode, PreconditionError
from migrate.model.digest import SetDigest, digest_points
from migrate.model.pages import take_positions, take_rows
from migrate.model.records import Collection, Page, PointId, ShardKey
from migrate.ports import PointSource
from migrate.qdrant.columns import count_bytes
from migrate.restore.settings import CollectionSettings, read_settings
from migrate.restore.target import CollectionTarget, check_refused
from migrate.runtime import Runtime
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.manifest import SnapshotManifest, name_scope
from migrate.storage.layout import FILES_TO_EMBED
from migrate.words import counted

PAGE_POINTS = 1_000  # read back at once
BATCH_BYTES = 2_000_000  # of values and payloads; about 8 MB as JSON, a server takes 32
IDS_NAMED_MAX = 1_000
IDS_SHOWN_MAX = 20

Confirm = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreOptions:
    """What the operator decides."""

    append: bool = False  # write into a collection that holds other points
    leave_irregular: bool = False  # restore the others when points cannot be written back
    dry_run: bool = False  # compare, and write nothing


@dataclass(slots=True)
class Comparison:
    """The points of a collection, compared with those of a snapshot."""

    wanted: npt.NDArray[np.bool_]  # by row: missing or different
    digests: SetDigest = field(default_factory=SetDigest)  # of the points with ids of the snapshot
    changed: int = 0  # points with an id of the snapshot and another content
    others: int = 0  # points whose id the snapshot does not have
    misplaced: list[str] = field(default_factory=list)  # ids that are under another shard key
    named: list[str] = field(default_factory=list)  # ids of the changed and other ones, the first
    replaced: list[str] = field(default_factory=list)  # ids of the changed ones, the first 1,000

    def add(self, found: "_Found", sealed: "_Sealed | None") -> None:
        """The next point of the collection; `sealed` is the point of that id in the snapshot."""
        text = found.point_id.text
        if sealed is not None:
            self.digests.add(found.digest)
            self.wanted[sealed.row] = found.digest != sealed.digest
            if found.digest == sealed.digest:
                return
            self.changed += 1
            if len(self.replaced) < IDS_NAMED_MAX:
                self.replaced.append(text)
            if found.shard_key != sealed.shard_key:
                self.misplaced.append(text)
        else:
            self.others += 1
        if len(self.named) < IDS_SHOWN_MAX:
            self.named.append(text)


class _Found(NamedTuple):
    """A point of the collection; a tuple, because one is created for every point."""

    point_id: PointId
    digest: bytes
    shard_key: ShardKey | None


class _Sealed(NamedTuple):
    """A point of the snapshot; a tuple as well."""

    point_id: PointId
    row: int
    digest: bytes
    shard_key: ShardKey | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """What a restore has written, and whether the collection equals the snapshot."""

    snapshot_id: str
    target: dict[str, str]
    points: int  # of the snapshot
    created: bool  # the collection
    indexes: int  # payload indexes of the snapshot
    already_there: int  # points that were equal before
    written: int
    replaced: int  # of those written: points that had another content
    replaced_points: tuple[str, ...]  # their ids, the first 1,000
    others: int  # points of the collection whose id the snapshot does not have
    set_digest: str  # of the collection's points with ids of the snapshot; "" after a dry run
    equal: bool  # it is that of the snapshot, and there are no other points unless `append`
    unequal: int  # points of the snapshot that the collection does not hold as they are
    unequal_points: tuple[str, ...]  # their ids, the first 1,000
    refused: dict[str, str]  # id -> why the collection did not take the point, the first 1,000
    settings_differ: tuple[str, ...]  # settings that the collection has in another way
    warnings: tuple[str, ...]
    dry_run: bool
    seconds: float

    @property
    def exit_code(self) -> ExitCode:
        """DRIFT when the collection is not equal to the snapshot."""
        return ExitCode.DONE if self.equal or self.dry_run else ExitCode.DRIFT


def restore_snapshot(
    snapshot: Snapshot,
    target: CollectionTarget,
    options: RestoreOptions,
    runtime: Runtime,
    *,
    confirm: Confirm = lambda _: None,
) -> RestoreReport:
    """Write the points of a snapshot, or of the whole of a chain, into `target`.

    The collection is created with the settings of the snapshot if it does not exist. `confirm` gets
    a sentence that says what will be written, before the first write, and may raise an error.
    After a kill, call it again. Raises PreconditionError for a collection that holds other points
    (unless `append`) or has other vectors, and for points that cannot be written back (unless
    `leave_irregular`). An export of later writes goes only into a collection that exists.
    """
    started, manifest = runtime.clock.monotonic_s(), snapshot.manifest
    _check_returns(manifest)
    writable = _writable_rows(snapshot, options)
    settings = read_settings(manifest.config)
    found = target.read_collection()
    if found is None and manifest.later is not None:
        raise PreconditionError(
            f"collection '{target.name}' of {_place(target)} does not exist, and {snapshot.folder} "
            "holds only what others wrote to the target after run "
            f"{manifest.later.run_id}",
            remedy="check source.url and source.collection; if the collection is gone, restore "
            f"snapshot {manifest.later.snapshot_id} first",
        )
    _check_sharding(snapshot, target, found)
    if found is None:
        before = Comparison(np.ones(manifest.points, dtype=np.bool_))
    else:
        _check_vectors(snapshot, target, found)
        before = _compare(snapshot, target, runtime, "comparing what is there")
        if not options.append:
            _check_empty(target, before)
        _check_places(target, before)
    rows = np.flatnonzero(before.wanted & writable)
    after, refused, collection = before, dict[PointId, str](), found
    if not options.dry_run:
        if len(rows) or found is None:
            confirm(_sentence(target, before, len(rows), is_new=found is None))
        is_empty = not before.others and not before.changed and bool(before.wanted.all())
        _write_settings(target, settings, found, options, is_empty=is_empty)
        target.create_shard_keys(_missing_keys(manifest, found))
        refused = _write_rows(snapshot, target, rows, runtime)
        after = _compare(snapshot, target, runtime, "reading the collection back")
        collection = target.read_collection()
    unequal = np.flatnonzero(after.wanted)
    digest = "" if options.dry_run else after.digests.hexdigest()
    return RestoreReport(
        snapshot_id=manifest.snapshot_id,
        target=target.identity(),
        points=manifest.points,
        created=found is None and not options.dry_run,
        indexes=len(settings.indexes),
        already_there=manifest.points - int(before.wanted.sum()),
        written=0 if options.dry_run else len(rows) - len(refused),
        replaced=before.changed,
        replaced_points=tuple(before.replaced),
        others=after.others,
        set_digest=digest,
        equal=digest == manifest.set_digest and (options.append or not after.others),
        unequal=len(unequal),
        unequal_points=tuple(_ids_at(snapshot, unequal[:IDS_NAMED_MAX])),
        refused={one.text: why for one, why in islice(refused.items(), IDS_NAMED_MAX)},
        settings_differ=() if collection is None else _differences(settings, collection),
        warnings=_warnings(snapshot, collection),
        dry_run=options.dry_run,
        seconds=round(runtime.clock.monotonic_s() - started, 3),
    )


def _check_returns(manifest: SnapshotManifest) -> None:
    """Raises PreconditionError for later writes that the collection cannot hold."""
    later = manifest.later
    if later is not None and not later.returns:
        raise PreconditionError(
            f"the points of {manifest.snapshot_id} cannot be written into the collection: "
            f"{later.why_not}",
            remedy=f"embed the files again that {FILES_TO_EMBED} names, in the folder "
            f"rollback of run {later.run_id}",
        )


def _writable_rows(snapshot: Snapshot, options: RestoreOptions) -> npt.NDArray[np.bool_]:
    """By row: whether the point can be written back. Raises PreconditionError when one cannot."""
    writable = np.ones(snapshot.manifest.points, dtype=np.bool_)
    for rows in snapshot.read(with_vectors=()):
        for position, irregular in enumerate(rows.page.irregular, rows.first_row):
            writable[position] = irregular is None
    kept = np.flatnonzero(~writable)
    if len(kept) and not options.leave_irregular:
        raise PreconditionError(
            f"{counted(len(kept), 'point')} of snapshot {snapshot.manifest.snapshot_id} cannot "
            "be written "
            "back: the source did not give them, or gave a vector or payload that Qdrant does not "
            f"take ({_shown(list(_ids_at(snapshot, kept[:IDS_SHOWN_MAX])), len(kept))})",
            remedy="pass --leave-irregular to restore the others; the report names these, and the "
            "exit code is 4",
        )
    return writable


def _check_vectors(snapshot: Snapshot, target: CollectionTarget, found: Collection) -> None:
    if found.vectors != snapshot.manifest.vectors:
        raise PreconditionError(
            f"collection '{target.name}' has vectors {[asdict(spec) for spec in found.vectors]}, "
            f"the snapshot {[asdict(spec) for spec in snapshot.manifest.vectors]}",
            remedy="name a collection that does not exist yet with --collection",
        )


def _check_sharding(snapshot: Snapshot, target: CollectionTarget, found: Collection | None) -> None:
    """Points with a shard key go into a collection with custom sharding, and others do not."""
    keyed = snapshot.manifest.shard_keys is not None
    if keyed and not target.holds_shard_keys:
        raise PreconditionError(
            f"the points of snapshot {snapshot.manifest.snapshot_id} are under shard keys, and an "
            "embedded store has none: they would be lost",
            remedy="restore into a server: set source.url",
        )
    if found is not None and keyed != (found.shard_keys is not None):
        has, have = ("has no", "are under shard keys") if keyed else ("uses", "have no shard key")
        raise PreconditionError(
            f"collection '{target.name}' {has} custom sharding, and the points of snapshot "
            f"{snapshot.manifest.snapshot_id} {have}",
            remedy="name a collection that does not exist yet with --collection",
        )


def _check_places(target: CollectionTarget, before: Comparison) -> None:
    """A point that was written under another key would be there twice."""
    if before.misplaced:
        raise PreconditionError(
            f"collection '{target.name}' has {counted(len(before.misplaced), 'point')} of the "
            "snapshot under "
            f"another shard key ({_shown(before.misplaced, len(before.misplaced))})",
            remedy="delete them there, or name a collection that does not exist yet with "
            "--collection",
        )


def _missing_keys(manifest: SnapshotManifest, found: Collection | None) -> list[ShardKey]:
    """The shard keys of the snapshot that the collection does not have, in their order."""
    there = {one.key for one in (found.shard_keys if found is not None else None) or ()}
    return [one.key for one in manifest.shard_keys or () if one.key not in there]


def _check_empty(target: CollectionTarget, before: Comparison) -> None:
    """Points that are equal to the snapshot's were written by an interrupted restore."""
    foreign = before.changed + before.others
    if foreign:
        raise PreconditionError(
            f"collection '{target.name}' is not empty: {before.others} of its points are not in "
            f"the snapshot, {before.changed} have another content "
            f"({_shown(before.named, foreign)})",
            remedy="name a collection that does not exist yet with --collection; with --append the "
            "points of the snapshot are written beside the others, and replace those of the same "
            "id",
        )


def _sentence(target: CollectionTarget, before: Comparison, rows: int, *, is_new: bool) -> str:
    what = f"writes {counted(rows, 'point')} into "
    what += "the new collection" if is_new else "the existing collection"
    replaced = ""
    if before.changed:
        ids = _shown(before.replaced, before.changed)
        replaced = f", of which {before.changed:,} replace another content ({ids})"
    return f"{what} '{target.name}' of {_place(target)}{replaced}"


def _place(target: CollectionTarget) -> str:
    place = target.identity()
    return place.get("url") or place["path"]


def _write_settings(
    target: CollectionTarget,
    settings: CollectionSettings,
    found: Collection | None,
    options: RestoreOptions,
    *,
    is_empty: bool,
) -> None:
    """Create the collection and its payload indexes. A collection of others is left as it is.

    Also the indexes of a collection that is empty: a kill may have come after its creation.
    """
    if found is None:
        target.create(settings)
    if found is None or is_empty or not options.append:
        existing = {} if found is None else read_settings(found.config).indexes
        with target.open_writer() as writer:
            for name, schema in settings.indexes.items():
                if name not in existing:
                    writer.create_index(name, schema)


def _write_rows(
    snapshot: Snapshot, target: CollectionTarget, rows: npt.NDArray[np.intp], runtime: Runtime
) -> dict[PointId, str]:
    """Write the points at these rows; returns the refused ones, id -> why."""
    refused: dict[PointId, str] = {}
    sent = 0
    runtime.progress.start("writing points", total=len(rows), unit="points")
    if not len(rows):
        return refused
    names = [spec.name for spec in snapshot.manifest.vectors]
    found = snapshot.read(with_vectors=names, first_row=int(rows[0]), end_row=int(rows[-1]) + 1)
    with target.open_writer() as writer:
        for held in found:
            first, end = np.searchsorted(rows, (held.first_row, held.first_row + len(held.page)))
            if first == end:
                continue
            page = take_positions(held.page, (rows[first:end] - held.first_row).tolist())
            batch = max(1, len(page) * BATCH_BYTES // max(1, count_bytes(page)))
            for start in range(0, len(page), batch):
                runtime.stop.check()
                part = take_rows(page, start, start + batch)
                refused |= writer.upsert(part)
                sent += len(part)
                check_refused(refused, taken=sent - len(refused))
                runtime.progress.advance(len(part))
    return refused


def _compare(
    snapshot: Snapshot, target: CollectionTarget, runtime: Runtime, what: str
) -> Comparison:
    """Read the collection and compare it with the snapshot, point by point in id order."""
    points, read = snapshot.manifest.points, 0

    def count(rows: int) -> None:
        nonlocal read
        read += rows
        runtime.progress.advance(rows)

    found = Comparison(np.ones(points, dtype=np.bool_))
    runtime.progress.start(what, total=points, unit="points")
    sealed_points = _sealed_points(snapshot, count)
    sealed = next(sealed_points, None)
    with target.open_source() as source:
        for point in _points(source):
            while sealed is not None and sealed.point_id < point.point_id:
                sealed = next(sealed_points, None)
            is_same = sealed is not None and sealed.point_id == point.point_id
            found.add(point, sealed if is_same else None)
    count(points - read)  # beyond the last point of the collection: they are not there
    return found


def _sealed_points(snapshot: Snapshot, count: Callable[[int], None]) -> Iterator[_Sealed]:
    for rows in snapshot.read(with_vectors=()):
        count(len(rows.page))
        numbers = range(rows.first_row, rows.first_row + len(rows.page))
        yield from map(_Sealed, rows.page.ids, numbers, rows.digests, _keys(rows.page))


def _keys(page: Page) -> Sequence[ShardKey | None]:
    return (None,) * len(page) if page.shard_keys is None else page.shard_keys


def _points(source: PointSource) -> Iterator[_Found]:
    """Every point, in id order."""
    source.read_collection()
    start: PointId | None = None
    while len(page := source.read_points(start, limit=PAGE_POINTS)):
        yield from map(_Found, page.ids, digest_points(page), _keys(page))
        start = page.ids[-1].successor()
        if start is None:
            return


def _ids_at(snapshot: Snapshot, rows: npt.NDArray[np.intp]) -> Iterator[str]:
    """The ids at these rows, which are ascending."""
    if not len(rows):
        return
    first, end = int(rows[0]), int(rows[-1]) + 1
    for held in snapshot.read(with_vectors=(), first_row=first, end_row=end):
        start, stop = np.searchsorted(rows, (held.first_row, held.first_row + len(held.page)))
        for row in rows[start:stop].tolist():
            yield held.page.ids[row - held.first_row].text


def _differences(settings: CollectionSettings, collection: Collection) -> tuple[str, ...]:
    if "payload_schema" not in collection.config:  # an embedded store does not list its indexes
        settings = replace(settings, indexes={})
    return tuple(settings.differences(read_settings(collection.config)))


def _warnings(snapshot: Snapshot, collection: Collection | None) -> tuple[str, ...]:
    moving = "the snapshot was read while others wrote: it may be no state that the source ever had"
    unread = (
        "the snapshot was read by `q2v catch-up --payload-only`: the vectors of unchanged "
        "payloads are those of its parent"
    )
    wanted = snapshot.manifest.filter
    part = f"the snapshot holds a part of the collection: {name_scope(wanted)}"
    is_moving = snapshot.manifest.moving and snapshot.manifest.later is None
    return (
        *([] if wanted is None else [part]),
        *([unread] if snapshot.manifest.payload_only else []),
        *([moving] if is_moving else []),
        *(() if collection is None else collection.warnings),
    )


def _shown(ids: list[str], total: int) -> str:
    more = f" and {total - IDS_SHOWN_MAX} more" if total > IDS_SHOWN_MAX else ""
    return ", ".join(ids[:IDS_SHOWN_MAX]) + more
