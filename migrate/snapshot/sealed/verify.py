"""Check a sealed snapshot, or a chain of them, against its own digests. Reads files only."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from migrate.model.digest import SetDigest, digest_points
from migrate.model.irregular import is_unreadable
from migrate.model.records import ShardKey, name_shard_key
from migrate.model.sealed_json import damaged
from migrate.ports import Progress
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.parts import SnapshotRows
from migrate.words import subject


def verify_points(snapshot: Snapshot, progress: Progress) -> int:
    """Read every point of the whole, compute its digest again, and return the bytes of all parts.

    Of a difference this covers the snapshots before it as well, but for points that it replaces;
    their parts count too.
    Raises ArtefactDamagedError for a part, a point or a set digest that is not as it was sealed,
    and for another file that the manifest names.
    """
    snapshot.check_files()
    names = [spec.name for spec in snapshot.manifest.vectors]
    progress.start("verifying points", total=snapshot.manifest.points, unit="points")
    _check_whole(snapshot, _recomputed(snapshot, snapshot.read(with_vectors=names), progress))
    return sum(part.bytes for link in snapshot.chain for part in link.manifest.parts)


def verify_chain(snapshot: Snapshot, progress: Progress) -> None:
    """As `verify_points` for every snapshot of the chain, replaced points included.

    Each point is read once, where it is stored: the set digests of the differences are taken from
    the digests beside the points, which have been computed again by then.
    """
    stored = sum(part.rows for link in snapshot.chain for part in link.manifest.parts)
    progress.start("verifying points", total=stored, unit="points")
    for link in snapshot.chain:
        names = [spec.name for spec in link.manifest.vectors]
        own = _recomputed(link, link.read_own(with_vectors=names), progress)
        if link.parent is None:
            _check_whole(link, own)
            continue
        for _ in own:
            pass
        _check_whole(link, link.read(with_vectors=()))


def _recomputed(
    snapshot: Snapshot, stored: Iterable[SnapshotRows], progress: Progress
) -> Iterator[SnapshotRows]:
    """The same rows; raises ArtefactDamagedError for a point that does not match its digest."""
    for rows in stored:
        digests = digest_points(rows.page)
        if tuple(digests) != rows.digests:
            bad = _first_other(rows, digests)
            raise damaged(str(snapshot.folder), f"point {bad} does not match its digest")
        yield rows
        progress.advance(len(rows.page))


def _first_other(rows: SnapshotRows, digests: Sequence[bytes]) -> str:
    return next(
        one.text
        for one, digest, kept in zip(rows.page.ids, digests, rows.digests, strict=True)
        if digest != kept
    )


def _check_whole(snapshot: Snapshot, whole: Iterable[SnapshotRows]) -> None:
    """Compare set digest, unreadable points and shard keys of all rows with the manifest."""
    found = SetDigest()
    unreadable: list[str] = []
    by_key: Counter[ShardKey] = Counter()
    for rows in whole:
        by_key.update(rows.page.shard_keys or ())
        found.add(b"".join(rows.digests))
        unreadable += [
            point_id.text
            for point_id, irregular in zip(rows.page.ids, rows.page.irregular, strict=True)
            if is_unreadable(irregular)
        ]
    if found.hexdigest() != snapshot.manifest.set_digest:
        raise damaged(str(snapshot.folder), "the set digest is not that of the manifest")
    if tuple(unreadable) != snapshot.manifest.unreadable:
        raise damaged(
            str(snapshot.folder),
            f"{subject(len(unreadable), 'point', 'is')} marked as unreadable, the manifest names "
            f"{len(snapshot.manifest.unreadable)}",
        )
    for one in snapshot.manifest.shard_keys or ():
        if by_key[one.key] != one.points:
            raise damaged(
                str(snapshot.folder),
                f"{subject(by_key[one.key], 'point', 'is')} under shard key "
                f"{name_shard_key(one.key)}, the "
                f"manifest names {one.points}",
            )
