"""Read the source again and compare it with the snapshot, point by point."""

from collections.abc import Iterator
from dataclasses import dataclass

from migrate.errors import IndeterminateError
from migrate.model.digest import digest_points
from migrate.model.irregular import is_unreadable
from migrate.model.records import PointId
from migrate.ports import PointSource, Progress
from migrate.snapshot.folder import Snapshot
from migrate.snapshot.manifest import UNREADABLE_MAX
from migrate.snapshot.walk import walk_points
from reconcile.diff import Drift, DriftKind, diff_sorted


@dataclass(frozen=True, slots=True)
class SourceScan:
    """The changes of the source since the snapshot. Ids are in the order of the source."""

    points: int  # read now
    added: tuple[str, ...]  # ids in the source that the snapshot does not hold
    changed: tuple[str, ...]
    deleted: tuple[str, ...]
    unreadable: tuple[
        str, ...
    ] = ()  # the snapshot holds them, but the source does not return them now

    @property
    def moved(self) -> bool:
        """Whether points were added, changed or deleted since the snapshot."""
        return bool(self.added or self.changed or self.deleted)


def scan_source(
    source: PointSource, snapshot: Snapshot, *, page_points: int, progress: Progress
) -> SourceScan:
    """Compare every point by digest, which also finds updates that keep count and ids.

    A point that was unreadable for the snapshot and is unreadable now is no difference; the
    manifest of the snapshot names it. Raises IndeterminateError when more than 1,000 points
    cannot be read.
    """
    progress.start("reading the source", total=snapshot.manifest.points, unit="points")
    points = 0
    left: set[str] = set()  # ids that cannot be read now

    def now() -> Iterator[tuple[PointId, bytes]]:
        nonlocal points
        vectors = snapshot.manifest.vectors
        for page in walk_points(source, None, None, limit=page_points, leave_unreadable=vectors):
            points += len(page)
            progress.advance(len(page))
            if is_unreadable(page.irregular[0]):  # such a point is a page of its own
                left.add(page.ids[0].text)
                _check_left(left)
            yield from zip(page.ids, digest_points(page), strict=True)

    drift = list(diff_sorted(_snapshot_digests(snapshot), now()))
    differing = _texts(drift, DriftKind.MISMATCHED)
    return SourceScan(
        points=points,
        added=_texts(drift, DriftKind.EXTRA),
        changed=tuple(text for text in differing if text not in left),
        deleted=_texts(drift, DriftKind.MISSING),
        unreadable=tuple(text for text in differing if text in left),
    )


def _check_left(left: set[str]) -> None:
    if len(left) > UNREADABLE_MAX:
        raise IndeterminateError(
            f"more than {UNREADABLE_MAX:,} points of the source cannot be read",
            remedy="repair the source (see the log of Qdrant), then run `q2v reconcile` again",
        )


def _snapshot_digests(snapshot: Snapshot) -> Iterator[tuple[PointId, bytes]]:
    for rows in snapshot.read(with_vectors=()):
        yield from zip(rows.page.ids, rows.digests, strict=True)


def _texts(drift: list[Drift[PointId]], kind: DriftKind) -> tuple[str, ...]:
    return tuple(change.key.text for change in drift if change.kind is kind)
